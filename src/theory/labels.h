/* How well one coordinate tells a label (docs/report.md). `x` is strided; nothing is NaN. */
#ifndef IV_THEORY_LABELS_H
#define IV_THEORY_LABELS_H

#include "base/order.h"
#include "base/status.h"

#include <stddef.h>

enum { IV_LEAST_CLASS = 5 }; /* rows that a class needs for its AUROC to be told */

/* Numbers: the squared correlation, the share of their variance that a line in x explains. NaN
 * where one of the two is constant. */
double iv_label_r2(size_t count, const double *x, size_t stride, const double *label);

/* Classes 0 to n - 1: eta^2 = sum_c n_c (mean_c - mean)^2 / sum (x - mean)^2, the share of the
 * variance of x that lies between them; `room` takes 2 n doubles. NaN where x is constant or there
 * are fewer than two classes. */
double iv_label_eta2(size_t count, const double *x, size_t stride, const size_t *label, size_t n,
                     double *room);

/* What is expected of x that knows nothing: 1/(count - 1) of r2, (classes - 1)/(count - 1) of eta2.
 */
double iv_label_chance(size_t count, size_t classes);

/* Each class against the rest: the chance that x is higher in a row of the class than in another
 * row, equal values counting one half, A_c = (R_c - n_c (n_c - 1)/2) / (n_c (count - n_c)), R_c the
 * sum of its rows' mid-ranks from 0 (Mann and Whitney's U over its largest value). Into auroc (n);
 * NaN for a class that holds no row, or all. */
isovae_status iv_label_auroc(size_t count, const double *x, size_t stride, const size_t *label,
                             size_t n, double *auroc, isovae_error *err) ISOVAE_MUST_CHECK;

/* The class that x tells best, by |A_c - 1/2|, of those with IV_LEAST_CLASS rows or more within and
 * without, the rarer of two that are told alike; n where there is none. */
size_t iv_label_best(size_t count, size_t n, const size_t *rows_of, const double *auroc);

#endif
