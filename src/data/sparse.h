/* Sparse matrices as files hold them (internal to data/). */
#ifndef IV_DATA_SPARSE_H
#define IV_DATA_SPARSE_H

#include "data/reader.h"

/* Compressed rows or columns: start has one more value than the major axis, index and value one for
 * each entry. */
typedef struct iv_sparse_parts {
    int64_t *start, *index;
    double *value;
    size_t n_start, n_index, n_value;
} iv_sparse_parts;
void iv_sparse_parts_free(iv_sparse_parts *parts);

/* By rows, in the order of the file within a row, of parts that iv_sparse_check has seen; columns:
 * they are compressed columns. What was taken is in `out` also on failure. */
isovae_status iv_sparse_by_rows(const iv_sparse_parts *parts, bool columns, size_t rows,
                                size_t cols, iv_sparse *out, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
