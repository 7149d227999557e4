/* D(x, xhat) = a(x) S(x, xhat) with S = sum_i w_i (x_i - xhat_i)^2 and a = c0 + c1 |x|^2 or its
 * inverse; a belongs to the first argument, |x| is the plain norm (w is not in it).
 * G(x) = a(x) diag(w). */
#include "metric/kinds.h"

/* a(x) from |x|^2, and its derivative in |x|^2 */
static double factor_of(const iv_metric *m, double norm)
{
    double q = m->c0 + m->c1 * norm;
    return m->inverse ? 1 / q : q;
}

static double factor_slope(const iv_metric *m, double norm)
{
    double q = m->c0 + m->c1 * norm;
    return m->inverse ? -m->c1 / (q * q) : m->c1;
}

/* The next chunk of rows, and where it begins in elements. */
static size_t chunk_of(size_t rows, size_t first)
{
    return rows - first < IV_METRIC_CHUNK ? rows - first : IV_METRIC_CHUNK;
}

void iv_weighted_factors(const iv_metric *m, size_t rows, const void *x, double *a)
{
    m->k->norm_rows(rows, m->d, x, a);
    for (size_t r = 0; r < rows; r++) a[r] = factor_of(m, a[r]);
}

static void value(const iv_metric *m, size_t lane, size_t rows, const void *x, const void *xhat,
                  double *out)
{
    (void)lane;
    m->k->sse_rows(rows, m->d, x, xhat, m->weight, out);
    for (size_t first = 0; first < rows; first += IV_METRIC_CHUNK) {
        double a[IV_METRIC_CHUNK];
        size_t count = chunk_of(rows, first);
        iv_weighted_factors(m, count, iv_at(m->k, x, first * m->d), a);
        for (size_t r = 0; r < count; r++) out[first + r] *= a[r];
    }
}

/* dD/dxhat = a(x) 2 w (xhat - x) */
static void gradient(const iv_metric *m, size_t lane, size_t rows, const void *x, const void *xhat,
                     double factor, void *g)
{
    (void)lane;
    for (size_t first = 0; first < rows; first += IV_METRIC_CHUNK) {
        double a[IV_METRIC_CHUNK];
        size_t count = chunk_of(rows, first), at = first * m->d;
        iv_weighted_factors(m, count, iv_at(m->k, x, at), a);
        m->k->sse_gradient(count, m->d, iv_at(m->k, x, at), iv_at(m->k, xhat, at), m->weight, a,
                           factor, iv_at(m->k, g, at), false);
    }
}

/* In the first argument: dD/dxhat = a(xhat) 2 w (xhat - xbreve) + S(xhat, xbreve) a' 2 xhat, with
 * a' the slope in |xhat|^2. */
static void pair_gradient(const iv_metric *m, size_t lane, size_t rows, const void *xhat,
                          const void *xbreve, double factor, void *g_hat, void *g_breve)
{
    (void)lane;
    for (size_t first = 0; first < rows; first += IV_METRIC_CHUNK) {
        double a[IV_METRIC_CHUNK], slope[IV_METRIC_CHUNK], distance[IV_METRIC_CHUNK];
        size_t count = chunk_of(rows, first), at = first * m->d;
        const void *hat = iv_at(m->k, xhat, at), *breve = iv_at(m->k, xbreve, at);
        m->k->norm_rows(count, m->d, hat, a);
        m->k->sse_rows(count, m->d, hat, breve, m->weight, distance);
        for (size_t r = 0; r < count; r++) {
            slope[r] = factor * distance[r] * factor_slope(m, a[r]) * 2;
            a[r] = factor_of(m, a[r]);
        }
        m->k->sse_gradient(count, m->d, breve, hat, m->weight, a, factor, iv_at(m->k, g_hat, at),
                           true);
        m->k->scale_rows(count, m->d, slope, hat, iv_at(m->k, g_hat, at), true);
        m->k->sse_gradient(count, m->d, hat, breve, m->weight, a, factor, iv_at(m->k, g_breve, at),
                           false);
    }
}

static void apply_g(const iv_metric *m, size_t lane, size_t rows, const void *xhat, size_t blocks,
                    const void *v, size_t stride, void *gv, size_t gv_stride)
{
    (void)lane;
    for (size_t first = 0; first < rows; first += IV_METRIC_CHUNK) {
        double a[IV_METRIC_CHUNK];
        size_t count = chunk_of(rows, first), at = first * m->d;
        iv_weighted_factors(m, count, iv_at(m->k, xhat, at), a);
        for (size_t b = 0; b < blocks; b++) {
            void *to = iv_at(m->k, gv, b * gv_stride + at);
            m->k->scale_columns(count, m->d, m->weight, iv_at(m->k, v, b * stride + at), to);
            m->k->scale_rows(count, m->d, a, to, to, false);
        }
    }
}

const iv_metric_kind iv_metric_weighted = {
    .name = "weighted",
    .loss = IV_LOSS_WEIGHTED,
    .gaussian = false,
    .logits = false,
    .value = value,
    .gradient = gradient,
    .pair_value = value,
    .pair_gradient = pair_gradient,
    .apply_g = apply_g,
};
