/* The metrics, one file each; metric.c has the table of them. */
#ifndef IV_METRIC_KINDS_H
#define IV_METRIC_KINDS_H

#include "metric/metric.h"

extern const iv_metric_kind iv_metric_sse;
extern const iv_metric_kind iv_metric_weighted;
extern const iv_metric_kind iv_metric_bce;
extern const iv_metric_kind iv_metric_ssim;

/* Rows that are worked on at once where a number per row is needed in between. */
enum { IV_METRIC_CHUNK = 64 };

/* a(x) of each row (weighted). */
void iv_weighted_factors(const iv_metric *m, size_t rows, const void *x, double *a);

#endif
