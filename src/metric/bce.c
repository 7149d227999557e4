/* Cross-entropy of x in [0, 1] under sigmoid(l), l the decoder's logits; plain against the data,
 * with the entropy of the first argument subtracted in the pair. G in logits: diag(p (1 - p)/2), p
 * = sigmoid(l). All from logits, so nothing is 0/0 where p saturates. */
#include "metric/kinds.h"

static void value(const iv_metric *m, size_t rows, const void *x, const void *logits, double *out)
{
    m->k->bce_rows(rows, m->d, x, logits, out);
}

static void gradient(const iv_metric *m, size_t rows, const void *x, const void *logits,
                     double factor, void *g)
{
    m->k->bce_gradient(rows, m->d, x, logits, factor, g, false);
}

static void pair_value(const iv_metric *m, size_t rows, const void *hat, const void *breve,
                       double *out)
{
    m->k->bce_pair_rows(rows, m->d, hat, breve, out);
}

static void pair_gradient(const iv_metric *m, size_t rows, const void *hat, const void *breve,
                          double factor, void *g_hat, void *g_breve)
{
    m->k->bce_pair_gradient(rows, m->d, hat, breve, factor, g_hat, g_breve, true, false);
}

static void apply_g(const iv_metric *m, size_t rows, const void *logits, size_t blocks,
                    const void *v, size_t stride, void *gv, size_t gv_stride)
{
    m->k->bce_metric(rows * m->d, logits, blocks, v, stride, gv, gv_stride);
}

const iv_metric_kind iv_metric_bce = {
    .name = "bce",
    .loss = IV_LOSS_BCE,
    .gaussian = false,
    .logits = true,
    .value = value,
    .gradient = gradient,
    .pair_value = pair_value,
    .pair_gradient = pair_gradient,
    .apply_g = apply_g,
};
