#include "theory/walk.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

static bool has_spline(const iv_model *m, size_t j)
{
    bool active = m->active == NULL || m->active[j];
    return active && m->splines != NULL && m->splines[j].n > 0;
}

double iv_walk_y(const iv_model *m, size_t j, double mu)
{
    if (has_spline(m, j)) return iv_spline_y(&m->splines[j], m->beta, mu);
    return sqrt(m->beta / 2) * mu;
}

double iv_walk_mu(const iv_model *m, size_t j, double y)
{
    if (has_spline(m, j)) return iv_spline_mu(&m->splines[j], m->beta, y);
    return y / sqrt(m->beta / 2);
}

double iv_walk_sd(const iv_model *m, size_t j)
{
    double spread = has_spline(m, j) && m->variance_y != NULL ? m->variance_y[j] - m->beta / 2 : 0;
    return sqrt(spread > 0 ? spread : m->beta / 2);
}

/* A row in the decoder's own units: network units, for bce logits. */
static void to_network(const iv_model *m, const double *x, double *out)
{
    const iv_scaling *s = &m->scaling;
    const double least = 1e-7;
    for (size_t i = 0; i < m->d; i++) {
        double shift = s->shift != NULL ? s->shift[i] : 0;
        double v = (x[i] - shift) / (s->scale != NULL ? s->scale[i] : 1);
        if (m->metric.loss == IV_LOSS_BCE) {
            v = fmin(fmax(v, least), 1 - least);
            v = log(v / (1 - v));
        }
        out[i] = v;
    }
}

static isovae_status measure(const iv_metric *metric, const iv_model *m, const double *x,
                             size_t rows, double *length, isovae_error *err)
{
    const iv_kernels *k = metric->k;
    double *host;
    void *pair = NULL;
    IV_TRY(IV_NEW(host, m->d, "a row", err));
    isovae_status status = k->alloc(&pair, 2 * m->d, "two rows", err);
    for (size_t r = 0; status == ISOVAE_OK && r < rows; r++) {
        void *now = iv_at(k, pair, r % 2 * m->d), *before = iv_at(k, pair, (r + 1) % 2 * m->d);
        double there, back;
        to_network(m, x + r * m->d, host);
        k->upload(now, host, m->d);
        length[r] = NAN;
        if (r == 0) continue;
        metric->kind->pair_value(metric, 0, 1, before, now, &there);
        metric->kind->pair_value(metric, 0, 1, now, before, &back);
        length[r] = sqrt(fmax(0.5 * (there + back), 0));
    }
    if (pair != NULL) k->release(pair);
    iv_free(host);
    return status;
}

isovae_status iv_step_lengths(const iv_model *m, const double *x, size_t rows, double *length,
                              isovae_error *err)
{
    iv_metric *metric;
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    iv_metric_use use = iv_model_metric_use(m, 1);
    IV_TRY(iv_metric_new(&m->metric, k, &use, &metric, err));
    iv_model_settle(m, metric);
    isovae_status status = measure(metric, m, x, rows, length, err);
    iv_metric_free(metric);
    return status;
}
