/* Principal components of rows x d data: the covariance, its dual or a subspace of it, whichever is
 * smallest. */
#include "linalg/linalg.h"

#include "base/memory.h"
#include "base/random.h"

#include <lapacke.h>
#include <math.h>
#include <string.h>

enum { DENSE = 2000, BLOCK = 256, OVERSAMPLE = 10, ITERATIONS = 7 };

typedef struct centred {
    const float *x;
    size_t rows, d;
    double *mean, *root; /* d: mean, and sqrt of the weight */
} centred;

static isovae_status centred_new(const float *x, size_t rows, size_t d, const double *w,
                                 centred *out, isovae_error *err)
{
    *out = (centred){.x = x, .rows = rows, .d = d};
    IV_TRY(IV_NEW(out->mean, d, "column means", err));
    isovae_status status = IV_NEW(out->root, d, "feature weights", err);
    if (status != ISOVAE_OK) return status; /* the caller frees */
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < d; i++) out->mean[i] += (double)x[r * d + i];
    }
    for (size_t i = 0; i < d; i++) {
        out->mean[i] /= (double)rows;
        out->root[i] = w != NULL ? sqrt(w[i]) : 1;
    }
    return ISOVAE_OK;
}

static void centred_free(centred *c)
{
    iv_free(c->mean);
    iv_free(c->root);
}

/* Rows [first, first + count), centred and weighted, one behind the other. */
static void centred_rows(const centred *c, size_t first, size_t count, double *out)
{
    for (size_t r = 0; r < count; r++) {
        const float *x = c->x + (first + r) * c->d;
        for (size_t i = 0; i < c->d; i++) {
            out[r * c->d + i] = ((double)x[i] - c->mean[i]) * c->root[i];
        }
    }
}

/* Both triangles of a symmetric n x n matrix from LAPACK's packed square form. */
static isovae_status unpack_symmetric(size_t n, const double *packed, double *full,
                                      isovae_error *err)
{
    lapack_int info =
        LAPACKE_dtfttr_work(LAPACK_COL_MAJOR, 'N', 'L', (lapack_int)n, packed, full, (lapack_int)n);
    if (info != 0) {
        return iv_fail(err, ISOVAE_ERR_INTERNAL, "LAPACK dtfttr failed (info %ld)", (long)info);
    }
    /* Column-major lower is row-major upper. */
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++) full[i * n + j] = full[j * n + i];
    }
    return ISOVAE_OK;
}

/* C (d x d) = sum over rows of x x^T / rows. dsfrk is LAPACK's rank-k update: as fast as the matrix
 * product beneath it, and it needs half the memory. */
static isovae_status covariance(const centred *c, double *full, isovae_error *err)
{
    size_t d = c->d;
    double *packed = NULL, *block = NULL;
    isovae_status status = IV_NEW(packed, d * (d + 1) / 2, "a covariance", err);
    if (status == ISOVAE_OK) status = IV_NEW(block, BLOCK * d, "a block of rows", err);
    for (size_t first = 0; status == ISOVAE_OK && first < c->rows; first += BLOCK) {
        size_t count = c->rows - first < BLOCK ? c->rows - first : BLOCK;
        centred_rows(c, first, count, block);
        lapack_int info =
            LAPACKE_dsfrk_work(LAPACK_COL_MAJOR, 'N', 'L', 'N', (lapack_int)d, (lapack_int)count,
                               1 / (double)c->rows, block, (lapack_int)d, 1, packed);
        if (info != 0) {
            status =
                iv_fail(err, ISOVAE_ERR_INTERNAL, "LAPACK dsfrk failed (info %ld)", (long)info);
        }
    }
    if (status == ISOVAE_OK) status = unpack_symmetric(d, packed, full, err);
    iv_free(packed);
    iv_free(block);
    return status;
}

/* Largest component positive, as everywhere where a sign is free. */
static void fix_sign(size_t d, double *vector)
{
    size_t largest = 0;
    for (size_t i = 1; i < d; i++) {
        if (fabs(vector[i]) > fabs(vector[largest])) largest = i;
    }
    if (vector[largest] < 0) {
        for (size_t i = 0; i < d; i++) vector[i] = -vector[i];
    }
}

static isovae_status pca_primal(const centred *c, size_t count, double *values, double *vectors,
                                isovae_error *err)
{
    size_t d = c->d;
    double *full = NULL, *all = NULL, *v = NULL;
    isovae_status status = IV_NEW(full, d * d, "a covariance", err);
    if (status == ISOVAE_OK) status = IV_NEW(all, d, "eigenvalues", err);
    if (status == ISOVAE_OK && vectors != NULL) status = IV_NEW(v, d * d, "eigenvectors", err);
    if (status == ISOVAE_OK) status = covariance(c, full, err);
    if (status == ISOVAE_OK) status = iv_eigen_symmetric(d, full, all, v, err);
    for (size_t i = 0; status == ISOVAE_OK && i < count; i++) {
        values[i] = i < d ? fmax(all[i], 0) : 0;
        if (vectors == NULL) continue;
        if (i < d) {
            memcpy(vectors + i * d, v + i * d, d * sizeof *v);
            fix_sign(d, vectors + i * d);
        } else {
            memset(vectors + i * d, 0, d * sizeof *v);
        }
    }
    iv_free(full);
    iv_free(all);
    iv_free(v);
    return status;
}

/* Fewer rows than features: the rows' own Gram matrix has the same non-zero eigenvalues. */
static isovae_status pca_dual(const centred *c, size_t count, double *values, double *vectors,
                              isovae_error *err)
{
    size_t d = c->d, rows = c->rows;
    double *x = NULL, *packed = NULL, *gram = NULL, *all = NULL, *u = NULL;
    isovae_status status = IV_NEW(x, rows * d, "centred rows", err);
    if (status == ISOVAE_OK) status = IV_NEW(packed, rows * (rows + 1) / 2, "a Gram matrix", err);
    if (status == ISOVAE_OK) status = IV_NEW(gram, rows * rows, "a Gram matrix", err);
    if (status == ISOVAE_OK) status = IV_NEW(all, rows, "eigenvalues", err);
    if (status == ISOVAE_OK && vectors != NULL) {
        status = IV_NEW(u, rows * rows, "eigenvectors", err);
    }
    if (status == ISOVAE_OK) {
        centred_rows(c, 0, rows, x);
        lapack_int info =
            LAPACKE_dsfrk_work(LAPACK_COL_MAJOR, 'N', 'L', 'T', (lapack_int)rows, (lapack_int)d,
                               1 / (double)rows, x, (lapack_int)d, 0, packed);
        if (info != 0) {
            status =
                iv_fail(err, ISOVAE_ERR_INTERNAL, "LAPACK dsfrk failed (info %ld)", (long)info);
        }
    }
    if (status == ISOVAE_OK) status = unpack_symmetric(rows, packed, gram, err);
    if (status == ISOVAE_OK) status = iv_eigen_symmetric(rows, gram, all, u, err);
    for (size_t i = 0; status == ISOVAE_OK && i < count; i++) {
        values[i] = i < rows ? fmax(all[i], 0) : 0;
        if (vectors == NULL) continue;
        double *v = vectors + i * d, square = 0;
        memset(v, 0, d * sizeof *v);
        if (i >= rows || values[i] <= 1e-12 * all[0]) continue; /* no direction left */
        for (size_t r = 0; r < rows; r++) {
            double weight = u[i * rows + r];
            for (size_t k = 0; k < d; k++) v[k] += weight * x[r * d + k];
        }
        for (size_t k = 0; k < d; k++) square += v[k] * v[k];
        for (size_t k = 0; k < d; k++) v[k] /= sqrt(square);
        fix_sign(d, v);
    }
    iv_free(x);
    iv_free(packed);
    iv_free(gram);
    iv_free(all);
    iv_free(u);
    return status;
}

/* y (d x p) = C q for q (d x p), one block of rows at a time. */
static void covariance_times(const centred *c, size_t p, const double *q, double *block, double *t,
                             double *y)
{
    size_t d = c->d;
    memset(y, 0, d * p * sizeof *y);
    for (size_t first = 0; first < c->rows; first += BLOCK) {
        size_t count = c->rows - first < BLOCK ? c->rows - first : BLOCK;
        centred_rows(c, first, count, block);
        memset(t, 0, count * p * sizeof *t);
        for (size_t i = 0; i < d; i++) {
            for (size_t r = 0; r < count; r++) {
                double value = block[r * d + i];
                for (size_t k = 0; k < p; k++) t[r * p + k] += value * q[i * p + k];
            }
        }
        for (size_t i = 0; i < d; i++) {
            for (size_t r = 0; r < count; r++) {
                double value = block[r * d + i] / (double)c->rows;
                for (size_t k = 0; k < p; k++) y[i * p + k] += value * t[r * p + k];
            }
        }
    }
}

/* Orthonormal columns of q (d x p, row-major) in place. */
static isovae_status orthonormalise(size_t d, size_t p, double *q, double *tau, isovae_error *err)
{
    lapack_int info =
        LAPACKE_dgeqrf(LAPACK_ROW_MAJOR, (lapack_int)d, (lapack_int)p, q, (lapack_int)p, tau);
    if (info == 0) {
        info = LAPACKE_dorgqr(LAPACK_ROW_MAJOR, (lapack_int)d, (lapack_int)p, (lapack_int)p, q,
                              (lapack_int)p, tau);
    }
    if (info != 0) {
        return iv_fail(err,
                       info <= LAPACK_WORK_MEMORY_ERROR ? ISOVAE_ERR_MEMORY : ISOVAE_ERR_INTERNAL,
                       "LAPACK QR failed (info %ld)", (long)info);
    }
    return ISOVAE_OK;
}

/* Subspace iteration from a keyed start, then the eigenvalues of C within the subspace. */
static isovae_status pca_subspace(const centred *c, size_t count, uint64_t seed, double *values,
                                  double *vectors, isovae_error *err)
{
    size_t d = c->d, limit = d < c->rows ? d : c->rows;
    size_t p = count + OVERSAMPLE < limit ? count + OVERSAMPLE : limit;
    double *q = NULL, *y = NULL, *block = NULL, *t = NULL, *tau = NULL, *small = NULL, *all = NULL,
           *rotation = NULL;
    isovae_status status = IV_NEW(q, d * p, "a subspace", err);
    if (status == ISOVAE_OK) status = IV_NEW(y, d * p, "a subspace", err);
    if (status == ISOVAE_OK) status = IV_NEW(block, BLOCK * d, "a block of rows", err);
    if (status == ISOVAE_OK) status = IV_NEW(t, BLOCK * p, "a block of rows", err);
    if (status == ISOVAE_OK) status = IV_NEW(tau, p, "a subspace", err);
    if (status == ISOVAE_OK) status = IV_NEW(small, p * p, "a subspace", err);
    if (status == ISOVAE_OK) status = IV_NEW(rotation, p * p, "a subspace", err);
    if (status == ISOVAE_OK) status = IV_NEW(all, p, "eigenvalues", err);
    for (size_t i = 0; status == ISOVAE_OK && i < d; i++) {
        iv_key key = {.seed = seed, .purpose = IV_PURPOSE_PCA, .row = i};
        iv_normals_f64(&key, p, q + i * p);
    }
    if (status == ISOVAE_OK) status = orthonormalise(d, p, q, tau, err);
    for (size_t step = 0; status == ISOVAE_OK && step < ITERATIONS; step++) {
        covariance_times(c, p, q, block, t, y);
        memcpy(q, y, d * p * sizeof *q);
        status = orthonormalise(d, p, q, tau, err);
    }
    if (status == ISOVAE_OK) {
        covariance_times(c, p, q, block, t, y);
        for (size_t i = 0; i < d; i++) {
            for (size_t j = 0; j < p; j++) {
                for (size_t k = 0; k < p; k++) small[j * p + k] += q[i * p + j] * y[i * p + k];
            }
        }
        status = iv_eigen_symmetric(p, small, all, rotation, err);
    }
    for (size_t i = 0; status == ISOVAE_OK && i < count; i++) {
        values[i] = i < p ? fmax(all[i], 0) : 0;
        if (vectors == NULL) continue;
        double *v = vectors + i * d;
        memset(v, 0, d * sizeof *v);
        if (i >= p) continue;
        for (size_t k = 0; k < d; k++) {
            for (size_t j = 0; j < p; j++) v[k] += q[k * p + j] * rotation[i * p + j];
        }
        fix_sign(d, v);
    }
    iv_free(q);
    iv_free(y);
    iv_free(block);
    iv_free(t);
    iv_free(tau);
    iv_free(small);
    iv_free(all);
    iv_free(rotation);
    return status;
}

static double trace(const centred *c)
{
    double sum = 0;
    for (size_t r = 0; r < c->rows; r++) {
        for (size_t i = 0; i < c->d; i++) {
            double v = ((double)c->x[r * c->d + i] - c->mean[i]) * c->root[i];
            sum += v * v;
        }
    }
    return sum / (double)c->rows;
}

isovae_status iv_pca(const float *x, size_t rows, size_t d, const double *w, size_t count,
                     uint64_t seed, double *values, double *vectors, double *total,
                     isovae_error *err)
{
    if (rows == 0 || d == 0) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "PCA needs at least one row and one column");
    }
    centred c;
    isovae_status status = centred_new(x, rows, d, w, &c, err);
    if (status == ISOVAE_OK) {
        *total = trace(&c);
        if (d <= rows && d <= DENSE) {
            status = pca_primal(&c, count, values, vectors, err);
        } else if (rows <= DENSE) {
            status = pca_dual(&c, count, values, vectors, err);
        } else if (d <= DENSE) {
            status = pca_primal(&c, count, values, vectors, err);
        } else {
            status = pca_subspace(&c, count, seed, values, vectors, err);
        }
    }
    centred_free(&c);
    return status;
}
