/* Factorisations in double, row-major; over LAPACKE, but for log determinants. */
#ifndef IV_LINALG_LINALG_H
#define IV_LINALG_LINALG_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

/* Eigenvalues (descending) and, if vectors is not NULL, eigenvectors (n x n, row i = vector i) of a
 * symmetric matrix a (n x n, destroyed). */
isovae_status iv_eigen_symmetric(size_t n, double *a, double *values, double *vectors,
                                 isovae_error *err) ISOVAE_MUST_CHECK;

/* log |det A| of a symmetric positive definite n x n matrix (destroyed) by Cholesky; -inf where it
 * is singular or not positive definite. Own code, no allocation. */
double iv_logdet(size_t n, double *a);

/* PCA of rows x d data (float, network units) with feature weights w (NULL: 1): eigenvalues of
 * diag(sqrt w) Cov diag(sqrt w), covariance biased (1/N), descending, into values (up to `count`),
 * *total the trace; vectors (count x d) or NULL. Dense where min(d, rows) <= 2000, else a seeded
 * subspace iteration for `count` components. */
isovae_status iv_pca(const float *x, size_t rows, size_t d, const double *w, size_t count,
                     uint64_t seed, double *values, double *vectors, double *total,
                     isovae_error *err) ISOVAE_MUST_CHECK;

#endif
