/* D(x, xhat) = sum_i w_i (x_i - xhat_i)^2, G = diag(w). */
#include "metric/kinds.h"

static void value(const iv_metric *m, size_t lane, size_t rows, const void *x, const void *xhat,
                  double *out)
{
    (void)lane;
    m->k->sse_rows(rows, m->d, x, xhat, m->weight, out);
}

void iv_sse_gradient(const iv_metric *m, size_t lane, size_t rows, const void *x, const void *xhat,
                     double factor, void *g)
{
    (void)lane;
    m->k->sse_gradient(rows, m->d, x, xhat, m->weight, NULL, factor, g, false);
}

/* Symmetric in its arguments: the gradient in the first is that in the second, exchanged. */
void iv_sse_pair_gradient(const iv_metric *m, size_t lane, size_t rows, const void *xhat,
                          const void *xbreve, double factor, void *g_hat, void *g_breve)
{
    (void)lane;
    m->k->sse_gradient(rows, m->d, xbreve, xhat, m->weight, NULL, factor, g_hat, true);
    m->k->sse_gradient(rows, m->d, xhat, xbreve, m->weight, NULL, factor, g_breve, false);
}

void iv_sse_apply_g(const iv_metric *m, size_t lane, size_t rows, const void *xhat, size_t blocks,
                    const void *v, size_t stride, void *gv, size_t gv_stride)
{
    (void)lane;
    (void)xhat;
    for (size_t b = 0; b < blocks; b++) {
        m->k->scale_columns(rows, m->d, m->weight, iv_at(m->k, v, b * stride),
                            iv_at(m->k, gv, b * gv_stride));
    }
}

const iv_metric_kind iv_metric_sse = {
    .name = "sse",
    .loss = IV_LOSS_SSE,
    .gaussian = true,
    .logits = false,
    .value = value,
    .gradient = iv_sse_gradient,
    .pair_value = value,
    .pair_gradient = iv_sse_pair_gradient,
    .apply_g = iv_sse_apply_g,
};
