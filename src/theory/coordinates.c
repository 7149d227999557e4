/* Isometric coordinates of rows (E3), and how well 1/sigma_j is a function of mu_j on them. */
#include "theory/summary.h"

#include "base/memory.h"

#include <math.h>

/* The spline's g(t): linear between knots, constant outside. */
static double slope_at(const iv_spline *s, double t)
{
    if (s->n == 0) return 1;
    if (t <= s->u[0]) return s->g[0];
    for (size_t i = 1; i < s->n; i++) {
        if (t <= s->u[i]) {
            double share = (t - s->u[i - 1]) / (s->u[i] - s->u[i - 1]);
            return s->g[i - 1] + share * (s->g[i] - s->g[i - 1]);
        }
    }
    return s->g[s->n - 1];
}

/* RMS(1/sigma - g(mu)) / mean(1/sigma) */
static double misfit(const iv_spline *s, const double *mu, const double *sigma, size_t rows)
{
    double mean = 0, square = 0;
    for (size_t r = 0; r < rows; r++) {
        double off = 1 / sigma[r] - slope_at(s, mu[r]);
        mean += 1 / sigma[r];
        square += off * off;
    }
    return sqrt(square / (double)rows) / (mean / (double)rows);
}

isovae_status iv_rows_coordinates(const iv_rows *rows, const iv_model *model, double *y,
                                  double *rms, isovae_error *err)
{
    size_t n = rows->n, count = rows->rows;
    double *mu = NULL;
    IV_TRY(IV_NEW(mu, 2 * count, "isometric coordinates", err));
    double *sigma = mu + count;
    isovae_status status = ISOVAE_OK;
    for (size_t j = 0; j < n; j++) {
        iv_spline fitted = {0};
        for (size_t r = 0; r < count; r++) {
            mu[r] = rows->mu[r * n + j];
            sigma[r] = exp(rows->logvar[r * n + j] / 2);
        }
        const iv_spline *spline = &fitted;
        if (model->splines != NULL && model->splines[j].n > 0) {
            spline = &model->splines[j];
        } else {
            status = iv_spline_fit(mu, sigma, count, &fitted, err);
            if (status != ISOVAE_OK) break;
        }
        for (size_t r = 0; r < count; r++) y[r * n + j] = iv_spline_y(spline, rows->beta, mu[r]);
        rms[j] = misfit(spline, mu, sigma, count);
        iv_spline_free(&fitted);
    }
    iv_free(mu);
    return status;
}
