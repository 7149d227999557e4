/* isovae audit DATA --encoder FILE [--decoder FILE], isovae audit [DATA] --decoder FILE */
#include "cli.h"

#include "base/file.h"
#include "model/file.h"
#include "onnx/vae.h"
#include "report/report.h"
#include "report/values.h"
#include "theory/audit.h"

#include <math.h>
#include <string.h>

/* "LOW:HIGH" */
static isovae_status take_range(const cli *c, cli_slot slot, const char *name, double *low,
                                double *high, isovae_error *err)
{
    const char *text = c->opt[slot].text;
    if (!c->opt[slot].set) return ISOVAE_OK;
    const char *colon = strchr(text, ':');
    if (colon != NULL && iv_parse_double(text, (size_t)(colon - text), low) &&
        iv_parse_double(colon + 1, strlen(colon + 1), high) && isfinite(*low) && isfinite(*high) &&
        *low < *high)
        return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--%s: '%s' is not LOW:HIGH, such as -1:1", name,
                   text);
}

/* "0.485,0.456,0.406" */
static isovae_status take_channels(const cli *c, cli_slot slot, const char *name, double *values,
                                   size_t *n, isovae_error *err)
{
    const char *text = c->opt[slot].text;
    *n = 0;
    if (!c->opt[slot].set) return ISOVAE_OK;
    for (const char *at = text;;) {
        size_t length = strcspn(at, ",");
        if (*n == IV_ONNX_CHANNELS || !iv_parse_double(at, length, &values[*n]) ||
            !isfinite(values[*n]))
            return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                           "--%s: '%s' is not one number, or one for each of at most %d channels",
                           name, text, IV_ONNX_CHANNELS);
        ++*n;
        if (at[length] == '\0') return ISOVAE_OK;
        at += length + 1;
    }
}

static isovae_status take_normalisation(const cli *c, iv_onnx_vae_options *o, isovae_error *err)
{
    size_t means, sds;
    IV_TRY(take_channels(c, OPT_MEAN, "mean", o->mean, &means, err));
    IV_TRY(take_channels(c, OPT_STD, "std", o->sd, &sds, err));
    if (means != sds)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--mean and --std belong together, with as many numbers: (x - mean)/std");
    for (size_t i = 0; i < sds; i++)
        if (!(o->sd[i] > 0))
            return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--std: every number must be above 0");
    o->n_channels = sds;
    return ISOVAE_OK;
}

/* Options that speak of a part that is not there. */
static isovae_status check_parts(const cli *c, isovae_error *err)
{
    static const struct {
        cli_slot slot;
        const char *name;
        bool of_encoder; /* else of the width alone */
    } options[] = {{OPT_MU, "mu", true},
                   {OPT_MEANS_ONLY, "means-only", true},
                   {OPT_LOGVAR, "logvar", false},
                   {OPT_HEAD, "head", false},
                   {OPT_WIDTH_FIRST, "width-first", false},
                   {OPT_BETA, "beta", false},
                   {OPT_LOSS_SCALE, "loss-scale", false},
                   {OPT_KL_SCALE, "kl-scale", false},
                   {OPT_IWAE, "iwae", false},
                   {OPT_OUTPUT, "output", false}};
    bool no_encoder = !c->opt[OPT_ENCODER].set, means_only = c->opt[OPT_MEANS_ONLY].set;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (!c->opt[options[i].slot].set) continue;
        if (no_encoder)
            return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--%s says nothing without --encoder",
                           options[i].name);
        if (means_only && !options[i].of_encoder)
            return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                           "--%s needs the posterior's width, which --means-only leaves out",
                           options[i].name);
    }
    return ISOVAE_OK;
}

/* The same where it was found that the encoder gives no width. */
static isovae_status check_width(const cli *c, const iv_onnx_vae *vae, isovae_error *err)
{
    if (!vae->no_width) return ISOVAE_OK;
    const char *option = c->opt[OPT_BETA].set         ? "beta"
                         : c->opt[OPT_LOSS_SCALE].set ? "loss-scale"
                         : c->opt[OPT_KL_SCALE].set   ? "kl-scale"
                         : c->opt[OPT_IWAE].set       ? "iwae"
                         : c->opt[OPT_OUTPUT].set     ? "output"
                                                      : NULL;
    if (option == NULL) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "--%s needs the posterior's width, and the encoder gives means alone; if the "
                   "file holds it under another name, say --mu NAME --logvar NAME",
                   option);
}

static isovae_status vae_options(const cli *c, iv_onnx_vae_options *o, isovae_error *err)
{
    iv_onnx_vae_options_init(o);
    o->encoder = c->opt[OPT_ENCODER].text;
    o->decoder = c->opt[OPT_DECODER].text;
    o->mu = c->opt[OPT_MU].text;
    o->width = c->opt[OPT_LOGVAR].text;
    o->z = c->opt[OPT_Z].text;
    o->out = c->opt[OPT_RECONSTRUCTION].text;
    o->means_only = c->opt[OPT_MEANS_ONLY].set;
    if (o->encoder == NULL && o->decoder == NULL)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--encoder FILE.onnx is required (with --decoder FILE.onnx, or one file "
                       "with the sampling inside), or --decoder FILE.onnx alone");
    if (o->encoder != NULL && c->n_arguments == 0)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "DATA is missing: only a decoder alone can do without");
    IV_TRY(check_parts(c, err));
    if (o->width != NULL && o->mu == NULL)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--logvar names a tensor beside that of --mu");
    if (c->opt[OPT_HEAD].set) (void)iv_onnx_head_parse(c->opt[OPT_HEAD].text, &o->head);
    o->width_first = c->opt[OPT_WIDTH_FIRST].set;
    if (c->opt[OPT_LAYOUT].set)
        o->layout = strcmp(c->opt[OPT_LAYOUT].text, "NHWC") == 0 ? IV_ONNX_NHWC : IV_ONNX_NCHW;
    IV_TRY(take_range(c, OPT_INPUT_RANGE, "input-range", &o->low, &o->high, err));
    IV_TRY(take_range(c, OPT_OUTPUT_RANGE, "output-range", &o->out_low, &o->out_high, err));
    IV_TRY(take_normalisation(c, o, err));
    return iv_audit_metric(c->opt[OPT_LOSS].set ? c->opt[OPT_LOSS].text : NULL, &o->metric, err);
}

static isovae_status run_audit(cli *c, iv_onnx_vae *vae, const iv_dataset *data, iv_audit *audit,
                               iv_analysis **analysis, isovae_error *err)
{
    iv_audit_options o = {.beta_known = c->opt[OPT_BETA].set,
                          .unknown = vae->no_encoder ? IV_UNKNOWN_ENCODER
                                     : vae->no_width ? IV_UNKNOWN_WIDTH
                                                     : IV_UNKNOWN_NOTHING,
                          .scores = c->opt[OPT_OUTPUT].set};
    iv_analysis_options_init(&o.analysis);
    o.analysis.rows = "all";
    o.analysis.seed = cli_seed(c);
    o.analysis.keep_rows = c->opt[OPT_HTML].set || c->opt[OPT_CSV].set;
    o.analysis.isa = cli_isa(c);
    o.analysis.pool = c->pool;
    o.analysis.progress = cli_progress(c);
    if (c->opt[OPT_IWAE].set) IV_TRY(cli_parse_iwae(c->opt[OPT_IWAE].text, &o.analysis, err));
    if (o.beta_known)
        IV_TRY(iv_audit_beta(c->opt[OPT_BETA].number, c->opt[OPT_LOSS_SCALE].text,
                             c->opt[OPT_KL_SCALE].text, vae->model->d, vae->model->n,
                             &vae->model->beta, err));
    else if (vae->model->metric.loss == IV_LOSS_BCE)
        vae->model->beta = 1;
    return iv_audit_run(vae->model, data, &o, audit, analysis, err);
}

static isovae_status put_out(cli *c, const iv_onnx_vae *vae, const iv_dataset *data,
                             const iv_audit *audit, const iv_analysis *analysis, isovae_error *err)
{
    const char *output = c->opt[OPT_OUTPUT].text;
    cli_report_paths paths = {
        .json = c->opt[OPT_JSON].text, .html = c->opt[OPT_HTML].text, .csv = c->opt[OPT_CSV].text};
    iv_report_context context = {.model = vae->model,
                                 .ensemble = vae->model,
                                 .data = data,
                                 .analysis = analysis,
                                 .audit = audit,
                                 .command = c->typed,
                                 .seed = cli_seed(c),
                                 .color = c->color,
                                 .width = cli_width(stdout),
                                 .pool = c->pool};
    IV_TRY(iv_model_hash(vae->model, &context.model_hash, err));
    if (output != NULL) IV_TRY(iv_model_save(vae->model, output, err));
    return cli_report_put(c, &context, &paths, err);
}

isovae_status cmd_audit(cli *c, isovae_error *err)
{
    iv_onnx_vae_options options;
    iv_onnx_vae vae = {0};
    iv_audit audit = {0};
    iv_dataset *data = NULL;
    iv_analysis *analysis = NULL;
    cli_report_paths paths = {
        .json = c->opt[OPT_JSON].text, .html = c->opt[OPT_HTML].text, .csv = c->opt[OPT_CSV].text};
    IV_TRY(vae_options(c, &options, err));
    IV_TRY(cli_report_places(&paths, err));
    if (c->opt[OPT_OUTPUT].set) IV_TRY(cli_check_writable(c->opt[OPT_OUTPUT].text, err));
    IV_TRY(cli_pool(c, err));
    isovae_status status = ISOVAE_OK;
    if (c->n_arguments > 0) status = cli_open_data(c, c->argument[0], NULL, &data, err);
    if (!status) status = iv_onnx_vae_load(data, &options, &vae, err);
    for (size_t i = 0; !status && i < vae.n_notes; i++) {
        memcpy(audit.notes[i], vae.notes[i], sizeof audit.notes[i]);
        audit.n_notes++;
        cli_note(c, "%s", vae.notes[i]);
    }
    if (!status) status = check_width(c, &vae, err);
    if (!status) status = run_audit(c, &vae, data, &audit, &analysis, err);
    const iv_dataset *rows = audit.draws != NULL ? audit.draws : data;
    if (!status) status = put_out(c, &vae, rows, &audit, analysis, err);
    iv_analysis_free(analysis);
    iv_model_free(vae.model);
    iv_dataset_free(audit.draws);
    iv_dataset_free(data);
    return status;
}
