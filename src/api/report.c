#include "api/handles.h"
#include "api/report_handle.h"
#include "base/memory.h"
#include "data/labels.h"
#include "model/file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void isovae_report_config_init_(isovae_report_config *config, size_t struct_size)
{
    memset(config, 0, struct_size);
    config->struct_size = struct_size;
}

/* The struct of the first header, which had no labels. */
enum { FIRST_SIZE = offsetof(isovae_report_config, labels) };

static isovae_status translate(const isovae_report_config *config, const iv_model *model,
                               iv_analysis_options *options, isovae_error *err)
{
    if (config->rows) options->rows = config->rows;
    if (config->iwae_draws) options->iwae_draws = config->iwae_draws;
    if (config->iwae_rows) options->iwae_rows = config->iwae_rows;
    if (config->no_iwae) options->iwae_draws = 0;
    if (config->iwae_draws > 1000000)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "iwae_draws: at most 1000000");
    if (config->member >= iv_model_members(model))
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "member: %zu of a model that has %zu, from 0",
                       config->member, iv_model_members(model));
    return ISOVAE_OK;
}

/* The caller's labels for the rows of the data. */
static isovae_status take_labels(const isovae_report_config *config, size_t rows, iv_labels **out,
                                 isovae_error *err)
{
    const char *name = config->label_name ? config->label_name : "labels";
    if (!config->labels) return ISOVAE_OK;
    isovae_status status =
        config->label_classes
            ? iv_labels_from_codes(config->labels, rows,
                                   (char *const *)(uintptr_t)config->label_classes, /* only read */
                                   config->n_label_classes, out, err)
            : iv_labels_from_numbers(config->labels, rows, out, err);
    if (!status) status = iv_strdup(&(*out)->source, name, err);
    return status ? iv_fail_prefix(err, status, "%s", name) : ISOVAE_OK;
}

isovae_status isovae_report_new(isovae_context *context, const isovae_model *model,
                                const isovae_data *data, const isovae_report_config *config,
                                isovae_report **out, isovae_error *err)
{
    const iv_dataset *set;
    iv_analysis_options options;
    isovae_report *report;
    isovae_report_config all = {0};
    *out = NULL;
    IV_TRY(iv_match_features(model, data, &set, err));
    iv_analysis_options_init(&options);
    options.pool = context->pool;
    options.isa = context->isa;
    options.progress = iv_context_progress(context);
    options.keep_rows = true; /* pictures of the page */
    if (config)
        IV_TRY(iv_take_config("report", config, config->struct_size, FIRST_SIZE, sizeof all, &all,
                              err));
    IV_TRY(translate(&all, model->model, &options, err));
    const iv_model *member = iv_model_member(model->model, all.member);
    IV_TRY(IV_NEW(report, 1, "a report", err));
    isovae_status status = take_labels(&all, set->rows, &report->labels, err);
    options.labels = report->labels;
    if (!status && all.command) status = iv_strdup(&report->command, all.command, err);
    if (!status) status = iv_analyse(member, set, &options, &report->analysis, err);
    report->context = (iv_report_context){.model = member,
                                          .ensemble = model->model,
                                          .data = set,
                                          .analysis = report->analysis,
                                          .command = report->command,
                                          .seed = options.seed,
                                          .pool = context->pool};
    if (!status) status = iv_model_hash(model->model, &report->context.model_hash, err);
    if (status) {
        isovae_report_free(report);
        return status;
    }
    *out = report;
    return ISOVAE_OK;
}

void isovae_report_free(isovae_report *report)
{
    if (!report) return;
    iv_analysis_free(report->analysis);
    iv_labels_free(report->labels);
    iv_dataset_free(report->audit.draws);
    iv_model_free(report->model);
    iv_live_free(report->live);
    iv_free(report->command);
    iv_free(report);
}

static isovae_status write_json(const iv_report_context *context, char **out, isovae_error *err)
{
    json_t *json = NULL;
    IV_TRY(iv_report_json(context, &json, err));
    char *text = json_dumps(json, JSON_INDENT(2));
    json_decref(json);
    if (!text) return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for the report");
    isovae_status status = iv_strdup(out, text, err);
    free(text);
    return status;
}

isovae_status isovae_report_write(isovae_report *report, isovae_report_form form, char **out,
                                  isovae_error *err)
{
    iv_text text = {0};
    isovae_status status = ISOVAE_OK;
    *out = NULL;
    switch (form) {
    case ISOVAE_REPORT_JSON: return write_json(&report->context, out, err);
    case ISOVAE_REPORT_TEXT: status = iv_report_text(&report->context, &text, err); break;
    case ISOVAE_REPORT_HTML: status = iv_report_html(&report->context, &text, err); break;
    default:
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "form %d of a report is not known", (int)form);
    }
    if (report->live && iv_live_failed(report->live)) status = iv_live_error(report->live, err);
    if (!status) status = iv_text_check(&text, err);
    if (!status) status = iv_strndup(out, text.data, text.length, err);
    iv_text_free(&text);
    return status;
}

void isovae_report_loadings(const isovae_report *report, double *mean, double *rms)
{
    const iv_analysis *a = report->analysis;
    for (size_t j = 0; j < a->n; j++) {
        const iv_latent_report *l = &a->latents[j]; /* in the order of these rows */
        size_t at = l->index * a->d;
        for (size_t i = 0; i < a->d; i++) {
            if (mean) mean[at + i] = l->active ? l->loading_mean[i] : NAN;
            if (rms) rms[at + i] = l->active ? l->loading_rms[i] : NAN;
        }
    }
}

/* The two that make a report of one form. */
static isovae_status write_once(isovae_context *context, const isovae_model *model,
                                const isovae_data *data, isovae_report_form form, char **out,
                                isovae_error *err)
{
    isovae_report *report;
    *out = NULL;
    IV_TRY(isovae_report_new(context, model, data, NULL, &report, err));
    isovae_status status = isovae_report_write(report, form, out, err);
    isovae_report_free(report);
    return status;
}

isovae_status isovae_report_json(isovae_context *context, const isovae_model *model,
                                 const isovae_data *data, char **out, isovae_error *err)
{
    return write_once(context, model, data, ISOVAE_REPORT_JSON, out, err);
}

isovae_status isovae_report_html(isovae_context *context, const isovae_model *model,
                                 const isovae_data *data, char **out, isovae_error *err)
{
    return write_once(context, model, data, ISOVAE_REPORT_HTML, out, err);
}

void isovae_string_free(char *string)
{
    iv_free(string);
}
