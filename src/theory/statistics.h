/* Means, spreads and correlations of strided columns, summed in double in the order of the rows. */
#ifndef IV_THEORY_STATISTICS_H
#define IV_THEORY_STATISTICS_H

#include "base/order.h"
#include "base/status.h"

#include <stddef.h>

typedef struct iv_moments {
    double mean, variance; /* biased (1/N) */
    double se;             /* of the mean: SD/sqrt(N) */
    double variance_se;    /* of the variance, from the fourth moment */
} iv_moments;
iv_moments iv_moments_of(size_t count, const double *values, size_t stride);

/* Pearson's correlation; 0 where one of the two is constant. */
double iv_pearson(size_t count, const double *a, size_t stride_a, const double *b, size_t stride_b);
/* Spearman's: Pearson's of the ranks, equal values sharing their mean rank. */
isovae_status iv_spearman(size_t count, const double *a, size_t stride_a, const double *b,
                          size_t stride_b, double *out, isovae_error *err) ISOVAE_MUST_CHECK;
/* Ranks from 0, equal values sharing their mean rank; `room` takes `count` items. */
void iv_mid_ranks(size_t count, const double *values, size_t stride, iv_ranked *room,
                  double *ranks);
/* Ascending order in place, and the value at share q of a sorted array (linear between places). */
void iv_sort_doubles(size_t count, double *values);
double iv_quantile_sorted(size_t count, const double *sorted, double q);

#endif
