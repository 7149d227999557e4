/* Sparse matrices as files hold them: checked, and brought to rows. */
#include "data/sparse.h"

#include "base/memory.h"

#include <string.h>

isovae_status iv_sparse_check(const int64_t *start, size_t n_start, const int64_t *index, size_t n,
                              size_t rows, size_t cols, isovae_error *err)
{
    if (n_start - 1 != rows || start[0] != 0) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "the sparse matrix is damaged: 'indptr' has %zu values and begins at %lld; "
                       "%zu rows need %zu, from 0",
                       n_start, (long long)start[0], rows, rows + 1);
    }
    for (size_t r = 0; r < rows; r++) {
        if (start[r + 1] < start[r] || (uint64_t)start[r + 1] > n) {
            return iv_fail(err, ISOVAE_ERR_DATA,
                           "the sparse matrix is damaged: 'indptr' goes from %lld to %lld at row "
                           "%zu, of %zu values",
                           (long long)start[r], (long long)start[r + 1], r + 1, n);
        }
    }
    if ((uint64_t)start[rows] != n) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "the sparse matrix is damaged: 'indptr' ends at %lld, 'indices' has %zu "
                       "values",
                       (long long)start[rows], n);
    }
    for (size_t k = 0; k < n; k++) {
        if ((uint64_t)index[k] >= cols) { /* a negative one, too */
            return iv_fail(err, ISOVAE_ERR_DATA,
                           "the sparse matrix is damaged: an index is %lld, but must be 0 to %zu",
                           (long long)index[k], cols - 1);
        }
    }
    return ISOVAE_OK;
}

isovae_status iv_sparse_by_rows(const iv_sparse_parts *p, bool columns, size_t rows, size_t cols,
                                iv_sparse *out, isovae_error *err)
{
    size_t n = p->n_value, major = columns ? cols : rows;
    IV_TRY(IV_NEW(out->start, rows + 1, "the sparse matrix", err));
    IV_TRY(IV_NEW(out->column, n, "the sparse matrix", err));
    IV_TRY(IV_NEW(out->value, n, "the sparse matrix", err));
    if (!columns) {
        for (size_t r = 0; r <= rows; r++) out->start[r] = (size_t)p->start[r];
        for (size_t k = 0; k < n; k++) out->column[k] = (size_t)p->index[k];
        memcpy(out->value, p->value, n * sizeof *out->value);
        return ISOVAE_OK;
    }
    for (size_t k = 0; k < n; k++) out->start[(size_t)p->index[k] + 1]++;
    for (size_t r = 0; r < rows; r++) out->start[r + 1] += out->start[r];
    for (size_t j = 0; j < major; j++) {
        for (size_t k = (size_t)p->start[j]; k < (size_t)p->start[j + 1]; k++) {
            size_t at = out->start[p->index[k]]++;
            out->column[at] = j;
            out->value[at] = p->value[k];
        }
    }
    for (size_t r = rows; r > 0; r--) out->start[r] = out->start[r - 1];
    out->start[0] = 0;
    return ISOVAE_OK;
}

void iv_sparse_parts_free(iv_sparse_parts *parts)
{
    iv_free(parts->start);
    iv_free(parts->index);
    iv_free(parts->value);
    *parts = (iv_sparse_parts){0};
}
