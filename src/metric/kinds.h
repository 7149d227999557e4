/* The metrics, one file each; metric.c has the table of them. */
#ifndef IV_METRIC_KINDS_H
#define IV_METRIC_KINDS_H

#include "metric/metric.h"

extern const iv_metric_kind iv_metric_sse;
extern const iv_metric_kind iv_metric_weighted;
extern const iv_metric_kind iv_metric_bce;
extern const iv_metric_kind iv_metric_ssim;
extern const iv_metric_kind iv_metric_noise;
extern const iv_metric_kind iv_metric_student;

/* sum_i w_i (x_i - xhat_i)^2, for metrics that are that up to a constant. */
void iv_sse_gradient(const iv_metric *m, size_t lane, size_t rows, const void *x, const void *xhat,
                     double factor, void *g);
void iv_sse_pair_gradient(const iv_metric *m, size_t lane, size_t rows, const void *xhat,
                          const void *xbreve, double factor, void *g_hat, void *g_breve);
/* GV = diag(w) V */
void iv_sse_apply_g(const iv_metric *m, size_t lane, size_t rows, const void *xhat, size_t blocks,
                    const void *v, size_t stride, void *gv, size_t gv_stride);

/* Rows that are worked on at once where a number per row is needed in between. */
enum { IV_METRIC_CHUNK = 64 };

/* a(x) of each row (weighted). */
void iv_weighted_factors(const iv_metric *m, size_t rows, const void *x, double *a);

/* Learned metrics: whether feature i counts. */
static inline bool iv_metric_counts(const iv_metric *m, size_t i)
{
    return m->dropped == NULL || !m->dropped[i];
}

#endif
