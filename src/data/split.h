/* Which rows train and which validate. Rows with a bad status are in neither. */
#ifndef IV_DATA_SPLIT_H
#define IV_DATA_SPLIT_H

#include "data/dataset.h"

typedef struct iv_split {
    size_t *train, n_train;
    size_t *validation, n_validation; /* both in ascending order */
} iv_split;

/* By the data's group column where it has one, else round(fraction * good rows) rows chosen by the
 * keyed permutation of `seed`; fraction 0 validates on nothing. At least one row trains. */
isovae_status iv_split_rows(const iv_dataset *data, double fraction, uint64_t seed, iv_split *out,
                            isovae_error *err) ISOVAE_MUST_CHECK;
/* Fold k of the same permutation, for the members of an ensemble: fold 0 is the split above, and no
 * row is held out by two folds as long as (fold + 1) * fraction <= 1. */
isovae_status iv_split_fold(const iv_dataset *data, double fraction, size_t fold, uint64_t seed,
                            iv_split *out, isovae_error *err) ISOVAE_MUST_CHECK;
void iv_split_free(iv_split *split);

/* At most `most` of the rows, spread over them in their order: a file may be sorted, so its first
 * rows need not be like the rest. *out is the caller's, to free. */
isovae_status iv_spread_rows(const size_t *rows, size_t n_rows, size_t most, size_t **out,
                             size_t *count, isovae_error *err) ISOVAE_MUST_CHECK;

/* All rows with status ok, in their order; and at most `most` of them, spread. *out likewise. */
isovae_status iv_good_rows(const iv_dataset *data, size_t **out, size_t *count,
                           isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status iv_spread_good_rows(const iv_dataset *data, size_t most, size_t **out, size_t *count,
                                  isovae_error *err) ISOVAE_MUST_CHECK;

#endif
