/* D(x, xhat) = 1 - SSIM(x, xhat): 11 x 11 Gaussian windows of sigma 1.5 inside the picture,
 * averaged over windows and channels (Wang, Bovik, Sheikh, Simoncelli 2004); C1 = (0.01 R)^2, C2 =
 * (0.03 R)^2. Symmetric in its arguments. At x
 *
 *   u^T G u = mean over windows of  mean(u)^2/(2 mean(x)^2 + C1) + var(u)/(2 var(x) + C2)
 *
 * which the kernel applies as G V = D o V + F^T((b - c) o F V), F the window average. */
#include "metric/kinds.h"

static void *room(const iv_metric *m, size_t lane)
{
    return iv_at(m->k, m->scratch, lane * m->scratch_size);
}

static void value(const iv_metric *m, size_t lane, size_t rows, const void *x, const void *xhat,
                  double *out)
{
    m->k->ssim_rows(&m->ssim, rows, x, xhat, room(m, lane), out);
}

static void gradient(const iv_metric *m, size_t lane, size_t rows, const void *x, const void *xhat,
                     double factor, void *g)
{
    m->k->ssim_gradient(&m->ssim, rows, x, xhat, factor, room(m, lane), NULL, g);
}

static void pair_gradient(const iv_metric *m, size_t lane, size_t rows, const void *xhat,
                          const void *xbreve, double factor, void *g_hat, void *g_breve)
{
    m->k->ssim_gradient(&m->ssim, rows, xhat, xbreve, factor, room(m, lane), g_hat, g_breve);
}

static void apply_g(const iv_metric *m, size_t lane, size_t rows, const void *xhat, size_t blocks,
                    const void *v, size_t stride, void *gv, size_t gv_stride)
{
    m->k->ssim_metric(&m->ssim, rows, xhat, blocks, v, stride, room(m, lane), gv, gv_stride);
}

const iv_metric_kind iv_metric_ssim = {
    .name = "ssim",
    .loss = IV_LOSS_SSIM,
    .gaussian = false,
    .logits = false,
    .value = value,
    .gradient = gradient,
    .pair_value = value,
    .pair_gradient = pair_gradient,
    .apply_g = apply_g,
};
