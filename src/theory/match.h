/* Which latent of one model is which of another: best assignment on |correlation|, and canonical
 * correlations where a group of latents can only be compared as a whole. */
#ifndef IV_THEORY_MATCH_H
#define IV_THEORY_MATCH_H

#include "base/status.h"

#include <stddef.h>

/* The assignment of least total cost of a rows x cols matrix, min(rows, cols) pairs (Kuhn's
 * Hungarian method in the form with shortest augmenting paths, O(rows^2 cols)). match[r]: the
 * column of row r, or SIZE_MAX where there are fewer columns than rows. A cost that is no number
 * counts as 0. */
isovae_status iv_assign(size_t rows, size_t cols, const double *cost, size_t *match,
                        isovae_error *err) ISOVAE_MUST_CHECK;

/* Columns of `values` (count x n) with mean 0 and length 1, in place; constant ones become 0. */
void iv_standardise(size_t count, size_t n, double *values);
/* out (na x nb) = a^T b: correlations, where both are standardised (count x na, count x nb). */
void iv_correlations(size_t count, const double *a, size_t na, const double *b, size_t nb,
                     double *out);

/* Canonical correlations (Hotelling 1936) between two sets of p variables, from their correlations
 * (p x p each): within the one, within the other, and between them. Descending in out (p); all 1
 * where both span the same space. A direction in which a set does not vary has correlation 0. */
isovae_status iv_canonical(size_t p, const double *one, const double *other, const double *between,
                           double *out, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
