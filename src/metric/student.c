/* Student's t for each feature, its width and its tails learned (docs/theory.md section 2):
 *
 *   D(x, xhat) = sum_i (nu_i + 1)/2 log(1 + r_i^2/(nu_i s_i^2)) + log s_i + (1/2) log(pi nu_i)
 *                      + log Gamma(nu_i/2) - log Gamma((nu_i + 1)/2),      r = x - xhat,
 *   G = diag((nu_i + 1)/(2 nu_i s_i^2)),
 *
 * that is minus a log density, at beta 1. The parameters are log s_i and, behind them, log nu_i. G
 * is that at r = 0, so E1 is approximate where the tails are heavy. The pair D(xhat, xbreve) of the
 * decomposed form leaves the normaliser out, for that would count twice. */
#include "metric/kinds.h"

#include <math.h>

static const double log_pi = 1.1447298858494001741;

/* lgamma itself writes to a global variable. */
static double log_gamma(double x)
{
    int sign;
    return lgamma_r(x, &sign);
}

/* psi(x), x > 0: up to 10 by psi(x) = psi(x + 1) - 1/x, then its asymptotic series (Abramowitz and
 * Stegun 6.3.18), whose first term left out is below 1e-15 there. */
static double digamma(double x)
{
    double below = 0;
    while (x < 10) {
        below += 1 / x;
        x += 1;
    }
    double i = 1 / (x * x);
    double series =
        i * (1.0 / 12 -
             i * (1.0 / 120 -
                  i * (1.0 / 252 - i * (1.0 / 240 - i * (1.0 / 132 - i * (691.0 / 32760))))));
    return log(x) - 0.5 / x - series - below;
}

static double log_s(const iv_metric *m, size_t i)
{
    return m->learned[i];
}

static double nu_of(const iv_metric *m, size_t i)
{
    return exp(m->learned[m->d + i]);
}

static double normaliser(double nu, double s_log)
{
    return s_log + 0.5 * (log_pi + log(nu)) + log_gamma(nu / 2) - log_gamma((nu + 1) / 2);
}

static void diagonal(const iv_metric *m, double *out)
{
    for (size_t i = 0; i < m->d; i++) {
        double nu = nu_of(m, i);
        out[i] = iv_metric_counts(m, i) ? (nu + 1) / (2 * nu) * exp(-2 * log_s(m, i)) : 0;
    }
}

static void settle(iv_metric *m)
{
    size_t d = m->d;
    const iv_kernels *k = m->k;
    double sum = 0;
    for (size_t i = 0; i < d; i++) {
        if (iv_metric_counts(m, i)) sum += normaliser(nu_of(m, i), log_s(m, i));
    }
    m->constant = sum;
    diagonal(m, m->stage);
    k->upload(m->weight, m->stage, d);
    for (size_t i = 0; i < d; i++) {
        m->stage[i] = iv_metric_counts(m, i) ? exp(-2 * log_s(m, i)) / nu_of(m, i) : 0;
    }
    k->upload(m->inner, m->stage, d);
    for (size_t i = 0; i < d; i++) m->stage[i] = (nu_of(m, i) + 1) / 2;
    k->upload(m->outer, m->stage, d);
}

static void value(const iv_metric *m, size_t lane, size_t rows, const void *x, const void *xhat,
                  double *out)
{
    (void)lane;
    m->k->student_rows(rows, m->d, x, xhat, m->inner, m->outer, out);
    for (size_t r = 0; r < rows; r++) out[r] += m->constant;
}

static void pair_value(const iv_metric *m, size_t lane, size_t rows, const void *xhat,
                       const void *xbreve, double *out)
{
    (void)lane;
    m->k->student_rows(rows, m->d, xhat, xbreve, m->inner, m->outer, out);
}

static void gradient(const iv_metric *m, size_t lane, size_t rows, const void *x, const void *xhat,
                     double factor, void *g)
{
    (void)lane;
    m->k->student_gradient(rows, m->d, x, xhat, m->inner, m->outer, factor, g, false);
}

/* Symmetric in its arguments: the gradient in the first is that in the second, exchanged. */
static void pair_gradient(const iv_metric *m, size_t lane, size_t rows, const void *xhat,
                          const void *xbreve, double factor, void *g_hat, void *g_breve)
{
    (void)lane;
    m->k->student_gradient(rows, m->d, xbreve, xhat, m->inner, m->outer, factor, g_hat, true);
    m->k->student_gradient(rows, m->d, xhat, xbreve, m->inner, m->outer, factor, g_breve, false);
}

/* With u = r^2/(nu s^2), and psi the derivative of log Gamma:
 *   dD/d log s  = 1 - (nu + 1) u/(1 + u)
 *   dD/d log nu = nu/2 (log(1 + u) + psi(nu/2) - psi((nu + 1)/2)) - (nu + 1)/2 u/(1 + u) + 1/2
 * of which the pair has only the parts with u. */
static void learn(const iv_metric *m, size_t rows, size_t first, size_t columns, const void *x,
                  const void *xhat, double factor, bool pair, double *g)
{
    double share[IV_METRIC_COLUMNS] = {0}, logs[IV_METRIC_COLUMNS] = {0};
    const iv_kernels *k = m->k;
    double own = pair ? 0 : (double)rows;
    k->student_columns(rows, columns, iv_at(k, x, first), iv_at(k, xhat, first), m->d,
                       iv_at(k, m->inner, first), share, logs);
    for (size_t i = 0; i < columns; i++) {
        if (!iv_metric_counts(m, first + i)) continue;
        double nu = nu_of(m, first + i);
        double free = own > 0 ? nu * (digamma(nu / 2) - digamma((nu + 1) / 2)) + 1 : 0;
        g[first + i] += factor * (own - (nu + 1) * share[i]);
        g[m->d + first + i] += factor * 0.5 * (own * free + nu * logs[i] - (nu + 1) * share[i]);
    }
}

static void parts(const iv_metric *m, const double *x, const double *xhat, double *out)
{
    for (size_t i = 0; i < m->d; i++) {
        double z = (x[i] - xhat[i]) * exp(-log_s(m, i)), nu = nu_of(m, i);
        out[i] = iv_metric_counts(m, i) ? (nu + 1) / 2 * log1p(z * z / nu) : 0;
    }
}

static const char *const names[] = {"metric.log_s", "metric.log_nu"};

const iv_metric_kind iv_metric_student = {
    .name = "student",
    .loss = IV_LOSS_STUDENT,
    .gaussian = false,
    .logits = false,
    .n_learned = 2,
    .learned_names = names,
    .settle = settle,
    .learn = learn,
    .parts = parts,
    .diagonal = diagonal,
    .value = value,
    .gradient = gradient,
    .pair_value = pair_value,
    .pair_gradient = pair_gradient,
    .apply_g = iv_sse_apply_g,
};
