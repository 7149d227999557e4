/* Gaussian noise of its own size in each feature, learned (docs/theory.md section 2):
 *
 *   D(x, xhat) = sum_i r_i^2/(2 s_i^2) + log s_i + (1/2) log 2 pi,  r = x - xhat,
 *   G = diag(1/(2 s_i^2)),
 *
 * that is minus a log density, at beta 1. The parameters are log s_i. The pair D(xhat, xbreve) of
 * the decomposed form leaves the normaliser out, for that would count twice. */
#include "metric/kinds.h"

#include <math.h>

static const double half_log_two_pi = 0.91893853320467274178;

/* weight = 1/(2 s^2), constant = sum of the normalisers. */
static void settle(iv_metric *m)
{
    double sum = 0;
    for (size_t i = 0; i < m->d; i++) {
        bool counts = iv_metric_counts(m, i);
        m->stage[i] = counts ? 0.5 * exp(-2 * m->learned[i]) : 0;
        sum += counts ? m->learned[i] + half_log_two_pi : 0;
    }
    m->constant = sum;
    m->k->upload(m->weight, m->stage, m->d);
}

static void value(const iv_metric *m, size_t lane, size_t rows, const void *x, const void *xhat,
                  double *out)
{
    (void)lane;
    m->k->sse_rows(rows, m->d, x, xhat, m->weight, out);
    for (size_t r = 0; r < rows; r++) out[r] += m->constant;
}

static void pair_value(const iv_metric *m, size_t lane, size_t rows, const void *xhat,
                       const void *xbreve, double *out)
{
    (void)lane;
    m->k->sse_rows(rows, m->d, xhat, xbreve, m->weight, out);
}

/* dD/d log s_i = 1 - r_i^2/s_i^2 */
static void learn(const iv_metric *m, size_t rows, size_t first, size_t columns, const void *x,
                  const void *xhat, double factor, bool pair, double *g)
{
    double squares[IV_METRIC_COLUMNS] = {0};
    m->k->residual_columns(rows, columns, iv_at(m->k, x, first), iv_at(m->k, xhat, first), m->d,
                           squares);
    for (size_t i = 0; i < columns; i++) {
        double own = pair ? 0 : (double)rows;
        if (!iv_metric_counts(m, first + i)) continue;
        g[first + i] += factor * (own - squares[i] * exp(-2 * m->learned[first + i]));
    }
}

static void parts(const iv_metric *m, const double *x, const double *xhat, double *out)
{
    for (size_t i = 0; i < m->d; i++) {
        double z = (x[i] - xhat[i]) * exp(-m->learned[i]);
        out[i] = iv_metric_counts(m, i) ? 0.5 * z * z : 0;
    }
}

static void diagonal(const iv_metric *m, double *out)
{
    for (size_t i = 0; i < m->d; i++) {
        out[i] = iv_metric_counts(m, i) ? 0.5 * exp(-2 * m->learned[i]) : 0;
    }
}

static const char *const names[] = {"metric.log_s"};

const iv_metric_kind iv_metric_noise = {
    .name = "sse:feature",
    .loss = IV_LOSS_NOISE,
    .gaussian = true,
    .logits = false,
    .n_learned = 1,
    .learned_names = names,
    .settle = settle,
    .learn = learn,
    .parts = parts,
    .diagonal = diagonal,
    .value = value,
    .gradient = iv_sse_gradient,
    .pair_value = pair_value,
    .pair_gradient = iv_sse_pair_gradient,
    .apply_g = iv_sse_apply_g,
};
