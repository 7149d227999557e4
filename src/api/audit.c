#include "api/handles.h"
#include "api/report_handle.h"
#include "base/memory.h"
#include "model/file.h"
#include "model/live.h"
#ifdef ISOVAE_ONNX
#include "onnx/vae.h"
#endif

#include <math.h>
#include <stdio.h>
#include <string.h>

void isovae_audit_config_init_(isovae_audit_config *config, size_t struct_size)
{
    memset(config, 0, struct_size);
    config->struct_size = struct_size;
    config->input_low = config->input_high = (double)NAN;
    config->output_low = config->output_high = (double)NAN;
    config->beta = (double)NAN;
}

static void note(iv_audit *audit, const char *text)
{
    if (audit->n_notes == sizeof audit->notes / sizeof audit->notes[0]) return;
    (void)snprintf(audit->notes[audit->n_notes++], sizeof audit->notes[0], "%s", text);
}

/* ---- the networks ---- */

static isovae_status from_functions(isovae_report *report, const iv_dataset *data,
                                    const isovae_audit_config *config, isovae_error *err)
{
    iv_metric_spec metric = {0};
    iv_live_functions functions = {.features = data->cols,
                                   .latents = config->latents,
                                   .convolutional = config->convolutional != 0,
                                   .user = config->networks,
                                   .encode = config->encode,
                                   .decode = config->decode,
                                   .pullback = config->pullback,
                                   .pushforward = config->pushforward};
    if (config->encoder || config->decoder)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "an audit takes files or functions, not one of each");
    if (config->means_only)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "means_only is for files, not for functions");
    IV_TRY(iv_audit_metric(config->loss, &metric, err));
    IV_TRY(iv_live_new(&functions, &report->live, err));
    return iv_model_live(report->live, data, &metric, &report->model, err);
}

#ifdef ISOVAE_ONNX
static isovae_status take_range(double low, double high, const char *name, isovae_error *err)
{
    if ((isnan(low) && isnan(high)) || (isfinite(low) && isfinite(high) && low < high))
        return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--%s: %g to %g is no range, such as -1 to 1", name,
                   low, high);
}

static isovae_status vae_options(const isovae_audit_config *config, iv_onnx_vae_options *o,
                                 isovae_error *err)
{
    iv_onnx_vae_options_init(o);
    o->encoder = config->encoder;
    o->decoder = config->decoder;
    o->mu = config->mu;
    o->width = config->logvar;
    o->z = config->z;
    o->out = config->reconstruction;
    o->width_first = config->width_first != 0;
    o->means_only = config->means_only != 0;
    o->as_is = config->as_is != 0;
    o->low = config->input_low;
    o->high = config->input_high;
    o->out_low = config->output_low;
    o->out_high = config->output_high;
    IV_TRY(take_range(o->low, o->high, "input-range", err));
    IV_TRY(take_range(o->out_low, o->out_high, "output-range", err));
    if (o->width != NULL && o->mu == NULL)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--logvar names a tensor beside that of --mu");
    if (config->head && !iv_onnx_head_parse(config->head, &o->head))
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--head: '%.40s' is not known; give logvar, logsigma, variance or sigma",
                       config->head);
    if (config->layout) {
        bool last = strcmp(config->layout, "NHWC") == 0;
        if (!last && strcmp(config->layout, "NCHW") != 0)
            return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                           "--layout: '%.40s' is not known; give NCHW or NHWC", config->layout);
        o->layout = last ? IV_ONNX_NHWC : IV_ONNX_NCHW;
    }
    if (config->n_channels > IV_ONNX_CHANNELS ||
        (config->n_channels > 0 && (!config->mean || !config->sd)))
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--mean and --std want as many numbers, one or one for each of at most %d "
                       "channels",
                       IV_ONNX_CHANNELS);
    o->n_channels = config->n_channels;
    for (size_t i = 0; i < o->n_channels; i++) {
        o->mean[i] = config->mean[i];
        o->sd[i] = config->sd[i];
        if (!isfinite(o->mean[i]) || !(o->sd[i] > 0) || !isfinite(o->sd[i]))
            return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                           "--mean and --std: numbers, and those of --std above 0");
    }
    return iv_audit_metric(config->loss, &o->metric, err);
}

static isovae_status from_files(isovae_report *report, const iv_dataset *data,
                                const isovae_audit_config *config, iv_unknown *unknown,
                                isovae_error *err)
{
    iv_onnx_vae_options options;
    iv_onnx_vae vae;
    IV_TRY(vae_options(config, &options, err));
    IV_TRY(iv_onnx_vae_load(data, &options, &vae, err));
    report->model = vae.model;
    if (vae.no_width) *unknown = IV_UNKNOWN_WIDTH;
    if (vae.no_encoder) *unknown = IV_UNKNOWN_ENCODER;
    for (size_t i = 0; i < vae.n_notes; i++) note(&report->audit, vae.notes[i]);
    return iv_model_hash(report->model, &report->context.model_hash, err);
}
#else
static isovae_status from_files(isovae_report *report, const iv_dataset *data,
                                const isovae_audit_config *config, iv_unknown *unknown,
                                isovae_error *err)
{
    (void)report, (void)data, (void)config, (void)unknown;
    return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                   "this build reads no ONNX files (build it with -DISOVAE_ONNX=ON)");
}
#endif

/* ---- the audit ---- */

/* Passes cannot fail; a failed function stops the work at its next report of progress. */
typedef struct watch {
    iv_progress progress; /* of the context */
    iv_live *live;        /* may be NULL */
} watch;

static bool go_on(void *user, const iv_progress_info *info)
{
    const watch *w = user;
    if (w->live != NULL && iv_live_failed(w->live)) return false;
    return iv_progress_report(&w->progress, info);
}

static isovae_status run(isovae_context *context, isovae_report *report, const iv_dataset *data,
                         const isovae_audit_config *config, iv_unknown unknown, isovae_error *err)
{
    iv_model *model = report->model;
    watch w = {.progress = iv_context_progress(context), .live = report->live};
    iv_audit_options o = {.beta_known = !isnan(config->beta), .unknown = unknown};
    if (o.beta_known && unknown != IV_UNKNOWN_NOTHING)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--beta says nothing where the posterior's width is not known");
    iv_analysis_options_init(&o.analysis);
    o.analysis.rows = "all";
    o.analysis.seed = config->seed;
    o.analysis.isa = context->isa;
    o.analysis.pool = context->pool;
    o.analysis.progress = (iv_progress){.call = go_on, .user = &w};
    if (config->iwae_draws) o.analysis.iwae_draws = config->iwae_draws;
    if (config->iwae_rows) o.analysis.iwae_rows = config->iwae_rows;
    if (config->no_iwae) o.analysis.iwae_draws = 0;
    if (config->iwae_draws > 1000000)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "iwae_draws: at most 1000000");
    model->beta = 1;
    if (o.beta_known)
        IV_TRY(iv_audit_beta(config->beta, config->loss_scale, config->kl_scale, model->d, model->n,
                             &model->beta, err));
    isovae_status status = iv_audit_run(model, data, &o, &report->audit, &report->analysis, err);
    if (w.live != NULL && iv_live_failed(w.live)) return iv_live_error(w.live, err);
    return status;
}

isovae_status isovae_audit(isovae_context *context, const isovae_data *data,
                           const isovae_audit_config *config, isovae_report **out,
                           isovae_error *err)
{
    isovae_report *report;
    *out = NULL;
    if (!config)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "an audit needs networks: files or functions");
    IV_TRY(iv_check_config("audit", config->struct_size, sizeof *config, err));
    if (!config->encoder && !config->decoder && !config->encode)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "an audit needs networks: files or functions");
    IV_TRY(IV_NEW(report, 1, "a report", err));
    const iv_dataset *set = data ? data->set : NULL;
    iv_unknown unknown = IV_UNKNOWN_NOTHING;
    isovae_status status = ISOVAE_OK;
    if (set == NULL && (config->encoder || config->encode))
        status = iv_fail(err, ISOVAE_ERR_ARGUMENT, "only a decoder alone can do without rows");
    if (!status && config->command) status = iv_strdup(&report->command, config->command, err);
    for (size_t i = 0; i < config->n_notes; i++) note(&report->audit, config->notes[i]);
    if (!status)
        status = config->encode ? from_functions(report, set, config, err)
                                : from_files(report, set, config, &unknown, err);
    if (!status) status = run(context, report, set, config, unknown, err);
    if (status) {
        isovae_report_free(report);
        return status;
    }
    report->context.model = report->context.ensemble = report->model;
    report->context.data = report->audit.draws ? report->audit.draws : set;
    report->context.analysis = report->analysis;
    report->context.audit = &report->audit;
    report->context.command = report->command;
    report->context.seed = config->seed;
    report->context.pool = context->pool;
    *out = report;
    return ISOVAE_OK;
}
