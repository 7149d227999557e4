#include "api/handles.h"
#include "base/memory.h"
#include "data/split.h"
#include "theory/sample.h"
#include "theory/score.h"

#include <math.h>
#include <string.h>

isovae_status isovae_score(isovae_context *context, const isovae_model *model,
                           const isovae_data *data, double *log_density, isovae_error *err)
{
    const iv_dataset *set;
    IV_TRY(iv_match_features(model, data, &set, err));
    size_t *rows = NULL, count = 0;
    iv_score *scores = NULL;
    iv_progress progress = iv_context_progress(context);
    isovae_status status = iv_good_rows(set, &rows, &count, err);
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
    isovae_status status = iv_good_rows(set, &rows, &count, err);
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

isovae_status isovae_explain(isovae_context *context, const isovae_model *model,
                             const isovae_data *data, double *feature, double *latent,
                             isovae_error *err)
{
    const iv_model *m = model->model;
    const iv_dataset *set;
    iv_progress progress = iv_context_progress(context);
    IV_TRY(iv_match_features(model, data, &set, err));
    for (size_t r = 0; r < set->rows; r++) {
        if (!iv_progress_rows(&progress, "explaining", r, set->rows))
            return iv_fail(err, ISOVAE_ERR_CANCELLED, "cancelled");
        IV_TRY(
            iv_score_explain(m, set, r, context->isa, feature + r * m->d, latent + r * m->n, err));
    }
    return ISOVAE_OK;
}

isovae_status isovae_from_isometric(const isovae_model *model, const double *y, size_t rows,
                                    double *latents, isovae_error *err)
{
    const iv_model *m = model->model;
    IV_TRY(iv_check_coordinates(m, err));
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < m->n; j++)
            latents[r * m->n + j] = iv_spline_mu(&m->splines[j], m->beta, y[r * m->n + j]);
    return ISOVAE_OK;
}

isovae_status isovae_sample(isovae_context *context, const isovae_model *model, uint64_t seed,
                            size_t rows, int noise, double *values, isovae_error *err)
{
    return iv_sample_rows(model->model, seed, rows, noise != 0, context->pool, context->isa, values,
                          err);
}
