/* Symmetric eigenproblems. Matrices are symmetric, so LAPACK's column-major
 * order is ours with the triangles exchanged, and no transposed copy is made. */
#include "linalg/linalg.h"

#include "base/memory.h"

#include <lapacke.h>
#include <limits.h>
#include <math.h>
#include <string.h>

isovae_status iv_eigen_symmetric(size_t n, double *a, double *values, double *vectors,
                                 isovae_error *err)
{
    if (n == 0) return ISOVAE_OK;
    if (n > 30000) {
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                       "the eigenvalues of a %zu x %zu matrix are beyond this build (limit 30000)",
                       n, n);
    }
    for (size_t i = 0; i < n * n; i++) {
        if (!isfinite(a[i])) {
            return iv_fail(err, ISOVAE_ERR_DATA,
                           "element %zu, %zu of a symmetric matrix is not finite; no eigenvalues",
                           i / n, i % n);
        }
    }
    /* dsyevd leaves the vectors in a: column k (contiguous) belongs to the k-th smallest value. */
    lapack_int info = LAPACKE_dsyevd(LAPACK_COL_MAJOR, vectors != NULL ? 'V' : 'N', 'L',
                                     (lapack_int)n, a, (lapack_int)n, values);
    if (info == LAPACK_WORK_MEMORY_ERROR) {
        return iv_fail(err, ISOVAE_ERR_MEMORY,
                       "no memory for the eigenvalues of a %zu x %zu matrix", n, n);
    }
    if (info != 0) {
        return iv_fail(err, ISOVAE_ERR_INTERNAL, "LAPACK dsyevd failed (info %ld)", (long)info);
    }
    for (size_t i = 0, j = n - 1; i < j; i++, j--) {
        double swap = values[i];
        values[i] = values[j];
        values[j] = swap;
    }
    if (vectors != NULL) {
        for (size_t i = 0; i < n; i++) {
            memcpy(vectors + i * n, a + (n - 1 - i) * n, n * sizeof *a);
        }
    }
    return ISOVAE_OK;
}
