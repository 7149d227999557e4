#include "api/handles.h"
#include "base/memory.h"
#include "model/file.h"
#include "report/report.h"
#include "theory/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Indices of the rows that can be used. */
static isovae_status usable_rows(const iv_dataset *set, size_t **rows, size_t *count,
                                 isovae_error *err)
{
    IV_TRY(IV_NEW(*rows, set->rows, "row indices", err));
    *count = 0;
    for (size_t r = 0; r < set->rows; r++)
        if (!set->status || set->status[r] == IV_ROW_OK) (*rows)[(*count)++] = r;
    return ISOVAE_OK;
}

isovae_status isovae_score(isovae_context *context, const isovae_model *model,
                           const isovae_data *data, double *log_density, isovae_error *err)
{
    const iv_dataset *set;
    IV_TRY(iv_match_features(model, data, &set, err));
    size_t *rows = NULL, count = 0;
    iv_score *scores = NULL;
    iv_progress progress = iv_context_progress(context);
    isovae_status status = usable_rows(set, &rows, &count, err);
    if (!status) status = IV_NEW(scores, count, "scores", err);
    if (!status)
        status = iv_score_rows(model->model, set, rows, count, IV_ESTIMATE_ELBO, context->pool,
                               context->isa, &progress, scores, err);
    if (!status) {
        for (size_t r = 0; r < set->rows; r++) log_density[r] = NAN;
        for (size_t i = 0; i < count; i++) log_density[rows[i]] = scores[i].log_density;
    }
    iv_free(rows);
    iv_free(scores);
    return status;
}

isovae_status isovae_encode(isovae_context *context, const isovae_model *model,
                            const isovae_data *data, int isometric, double *latents,
                            isovae_error *err)
{
    const iv_dataset *set;
    IV_TRY(iv_match_features(model, data, &set, err));
    size_t *rows = NULL, count = 0, n = model->model->n;
    double *compact = NULL;
    isovae_status status = usable_rows(set, &rows, &count, err);
    if (!status) status = IV_NEW(compact, count * n, "latents", err);
    if (!status)
        status = iv_encode_rows(model->model, set, rows, count, context->pool, context->isa,
                                isometric ? NULL : compact, NULL, isometric ? compact : NULL, err);
    if (!status) {
        for (size_t i = 0; i < set->rows * n; i++) latents[i] = NAN;
        for (size_t i = 0; i < count; i++)
            memcpy(latents + rows[i] * n, compact + i * n, n * sizeof *latents);
    }
    iv_free(rows);
    iv_free(compact);
    return status;
}

isovae_status isovae_decode(isovae_context *context, const isovae_model *model,
                            const double *latents, size_t rows, double *values, isovae_error *err)
{
    return iv_decode_rows(model->model, latents, rows, context->pool, context->isa, values, err);
}

/* The analysis with default options, and what a report of it needs. */
static isovae_status analyse(isovae_context *context, const isovae_model *model,
                             const isovae_data *data, iv_analysis **analysis,
                             iv_report_context *report, isovae_error *err)
{
    const iv_dataset *set;
    IV_TRY(iv_match_features(model, data, &set, err));
    iv_analysis_options options;
    iv_analysis_options_init(&options);
    options.pool = context->pool;
    options.isa = context->isa;
    options.progress = iv_context_progress(context);
    options.keep_rows = true;
    IV_TRY(iv_analyse(model->model, set, &options, analysis, err));
    *report = (iv_report_context){.model = model->model,
                                  .ensemble = model->model,
                                  .data = set,
                                  .analysis = *analysis,
                                  .seed = options.seed,
                                  .pool = context->pool};
    return iv_model_hash(model->model, &report->model_hash, err);
}

isovae_status isovae_report_json(isovae_context *context, const isovae_model *model,
                                 const isovae_data *data, char **out, isovae_error *err)
{
    *out = NULL;
    iv_analysis *analysis = NULL;
    iv_report_context report;
    json_t *json = NULL;
    isovae_status status = analyse(context, model, data, &analysis, &report, err);
    if (!status) status = iv_report_json(&report, &json, err);
    if (!status) {
        char *text = json_dumps(json, JSON_INDENT(2));
        if (text)
            status = iv_strdup(out, text, err);
        else
            status = iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for the report");
        free(text);
    }
    json_decref(json);
    iv_analysis_free(analysis);
    return status;
}

isovae_status isovae_report_html(isovae_context *context, const isovae_model *model,
                                 const isovae_data *data, char **out, isovae_error *err)
{
    *out = NULL;
    iv_analysis *analysis = NULL;
    iv_report_context report;
    iv_text page = {0};
    isovae_status status = analyse(context, model, data, &analysis, &report, err);
    if (!status) status = iv_report_html(&report, &page, err);
    if (!status) status = iv_text_check(&page, err);
    if (!status) status = iv_strndup(out, page.data, page.length, err);
    iv_text_free(&page);
    iv_analysis_free(analysis);
    return status;
}

void isovae_string_free(char *string)
{
    iv_free(string);
}
