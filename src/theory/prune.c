/* Which latents go, the means that stay, and what the outputs say to it. */
#include "theory/prune.h"

#include "base/memory.h"
#include "data/split.h"
#include "theory/score.h"

#include <math.h>

enum { MOST_ROWS = 10000, ROWS_AT_ONCE = 500 };

/* A knot is the mean of a group of rows of nearly equal number. */
static double stored_mean(const iv_spline *spline)
{
    double sum = 0.0;
    for (size_t i = 0; i < spline->n; i++) sum += spline->u[i];
    return spline->n > 0 ? sum / (double)spline->n : 0.0;
}

/* Both decoders on the means of some rows at a time. */
static isovae_status compare(const iv_model *model, const double *mu, const unsigned char *keep,
                             iv_pool *pool, const char *isa, iv_pruned *out, isovae_error *err)
{
    size_t n = model->n, d = model->d, kept = out->kept, room;
    double *x = NULL, *y = NULL, *z = NULL, *mean = NULL, *square = NULL, change = 0.0;
    if (!iv_size_mul(ROWS_AT_ONCE, d, &room))
        return iv_fail(err, ISOVAE_ERR_MEMORY, "%zu features are too many", d);
    isovae_status status = IV_NEW(x, room, "decoded rows", err);
    if (!status) status = IV_NEW(y, room, "decoded rows", err);
    if (!status) status = IV_NEW(z, ROWS_AT_ONCE * kept, "codes", err);
    if (!status) status = IV_NEW(mean, d, "sums of features", err);
    if (!status) status = IV_NEW(square, d, "sums of features", err);
    out->change_most = 0.0;
    for (size_t first = 0; !status && first < out->rows; first += ROWS_AT_ONCE) {
        size_t left = out->rows - first, count = left < ROWS_AT_ONCE ? left : ROWS_AT_ONCE, to = 0;
        for (size_t i = 0; i < count * n; i++)
            if (keep[i % n]) z[to++] = mu[first * n + i];
        status = iv_decode_rows(model, mu + first * n, count, pool, isa, x, err);
        if (!status) status = iv_decode_rows(out->model, z, count, pool, isa, y, err);
        for (size_t i = 0; !status && i < count * d; i++) {
            double off = fabs(y[i] - x[i]);
            change += off * off;
            out->change_most = fmax(out->change_most, off);
            mean[i % d] += x[i];
            square[i % d] += x[i] * x[i];
        }
    }
    double rows = (double)out->rows, variance = 0.0;
    for (size_t i = 0; !status && i < d; i++)
        variance += fmax(0.0, square[i] / rows - (mean[i] / rows) * (mean[i] / rows));
    out->change_rms = sqrt(change / rows / (double)d);
    out->output_sd = sqrt(variance / (double)d);
    iv_free(x);
    iv_free(y);
    iv_free(z);
    iv_free(mean);
    iv_free(square);
    return status;
}

isovae_status iv_prune(const iv_model *model, const iv_dataset *data, iv_pool *pool,
                       const char *isa, iv_pruned *out, isovae_error *err)
{
    size_t n = model->n, cells, *rows = NULL;
    double *mean = NULL, *mu = NULL;
    *out = (iv_pruned){.latents = n,
                       .elements = model->param_elements,
                       .change_rms = NAN,
                       .change_most = NAN,
                       .output_sd = NAN};
    for (size_t j = 0; j < n; j++) out->kept += model->active[j] != 0;
    isovae_status status = IV_NEW(mean, n, "means of latents", err);
    for (size_t j = 0; !status && j < n; j++) mean[j] = stored_mean(&model->splines[j]);
    if (!status && data != NULL)
        status = iv_spread_good_rows(data, MOST_ROWS, &rows, &out->rows, err);
    if (!status && !iv_size_mul(out->rows, n, &cells))
        status = iv_fail(err, ISOVAE_ERR_MEMORY, "%zu latents are too many", n);
    if (!status && out->rows > 0) {
        status = IV_NEW(mu, cells, "codes", err);
        if (!status)
            status = iv_encode_rows(model, data, rows, out->rows, pool, isa, mu, NULL, NULL, err);
        for (size_t j = 0; !status && j < n; j++) {
            double sum = 0.0;
            for (size_t r = 0; r < out->rows; r++) sum += mu[r * n + j];
            mean[j] = sum / (double)out->rows;
        }
    }
    if (!status) status = iv_model_prune(model, model->active, mean, &out->model, err);
    if (!status) out->kept_elements = out->model->param_elements;
    if (!status && out->rows > 0) status = compare(model, mu, model->active, pool, isa, out, err);
    if (status) {
        iv_model_free(out->model);
        out->model = NULL;
    }
    iv_free(rows);
    iv_free(mu);
    iv_free(mean);
    return status;
}
