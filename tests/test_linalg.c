/* Factorisations: eigenvalues of known matrices, PCA by its three ways against each other. */
#include "base/memory.h"
#include "base/random.h"
#include "linalg/linalg.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance))
        fail_msg("%.17g and %.17g differ by more than %g", a, b, tolerance);
}

static void *take(size_t count, size_t size)
{
    void *p;
    assert_int_equal(iv_alloc(&p, count, size, "a test", NULL), ISOVAE_OK);
    return p;
}

static void normals(uint64_t seed, size_t count, double *out)
{
    iv_key key = {.seed = seed, .purpose = IV_PURPOSE_TOY};
    iv_normals_f64(&key, count, out);
}

static void eigen_known(void **state)
{
    (void)state;
    /* 2 on the diagonal, -1 beside it: 2 - 2 cos(k pi/(n + 1)) */
    enum { N = 7 };
    double a[N * N] = {0}, values[N], vectors[N * N];
    for (size_t i = 0; i < N; i++) {
        a[i * N + i] = 2;
        if (i > 0) a[i * N + i - 1] = a[(i - 1) * N + i] = -1;
    }
    assert_int_equal(iv_eigen_symmetric(N, a, values, vectors, NULL), ISOVAE_OK);
    for (size_t k = 0; k < N; k++) {
        near(values[k], 2 - 2 * cos((double)(N - k) * 3.14159265358979323846 / (N + 1)), 1e-14);
        for (size_t i = 0; i < N; i++) { /* A v = value v */
            double av = 2 * vectors[k * N + i];
            if (i > 0) av -= vectors[k * N + i - 1];
            if (i + 1 < N) av -= vectors[k * N + i + 1];
            near(av, values[k] * vectors[k * N + i], 1e-14);
        }
    }
    double again[N * N] = {0}, alone[N];
    for (size_t i = 0; i < N; i++) {
        again[i * N + i] = 2;
        if (i > 0) again[i * N + i - 1] = again[(i - 1) * N + i] = -1;
    }
    assert_int_equal(iv_eigen_symmetric(N, again, alone, NULL, NULL), ISOVAE_OK);
    for (size_t k = 0; k < N; k++) near(alone[k], values[k], 1e-14);
}

static void eigen_refuses(void **state)
{
    (void)state;
    double a[4] = {1, (double)NAN, 0, 1}, values[2];
    isovae_error err;
    assert_int_equal(iv_eigen_symmetric(2, a, values, NULL, &err), ISOVAE_ERR_DATA);
    assert_non_null(strstr(err.message, "not finite"));
}

/* A = B B^T + I of any size: log det A is the sum of the logs of its eigenvalues. */
static void check_logdet(size_t n)
{
    double *b = take(n * n, sizeof *b), *a = take(n * n, sizeof *a), *copy = take(n * n, sizeof *a);
    double *values = take(n, sizeof *values), sum = 0;
    normals(n, n * n, b);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            double s = i == j;
            for (size_t k = 0; k < n; k++) s += b[i * n + k] * b[j * n + k] / (double)n;
            a[i * n + j] = copy[i * n + j] = s;
        }
    }
    assert_int_equal(iv_eigen_symmetric(n, copy, values, NULL, NULL), ISOVAE_OK);
    for (size_t i = 0; i < n; i++) sum += log(values[i]);
    near(iv_logdet(n, a), sum, 1e-11 * (double)n);
    iv_free(b);
    iv_free(a);
    iv_free(copy);
    iv_free(values);
}

static void logdet(void **state)
{
    (void)state;
    check_logdet(1);
    check_logdet(5);
    check_logdet(47);
    check_logdet(48);
    check_logdet(49);
    check_logdet(90);
    double singular[4] = {1, 1, 1, 1}, negative[4] = {1, 2, 2, 1};
    assert_true(isinf(iv_logdet(2, singular)) && iv_logdet(2, (double[]){1, 1, 1, 1}) < 0);
    assert_true(isinf(iv_logdet(2, negative)));
    near(iv_logdet(0, NULL), 0, 0);
    double *large = take(60 * 60, sizeof *large); /* all zero */
    assert_true(isinf(iv_logdet(60, large)));
    iv_free(large);
}

/* rows x d numbers with column SDs 1, 1/2, 1/3, ... and column means of their number */
static float *table(size_t rows, size_t d)
{
    float *x = take(rows * d, sizeof *x);
    double *row = take(d, sizeof *row);
    for (size_t r = 0; r < rows; r++) {
        normals(1000 + r, d, row);
        for (size_t i = 0; i < d; i++) x[r * d + i] = (float)(row[i] / (double)(i + 1) + (double)i);
    }
    iv_free(row);
    return x;
}

static void pca_two_columns(void **state)
{
    (void)state;
    const float x[] = {1, 0, -1, 0, 0, 2, 0, -2};
    const double w[] = {4, 1};
    double values[3], vectors[6], total;
    assert_int_equal(iv_pca(x, 4, 2, NULL, 3, 0, values, vectors, &total, NULL), ISOVAE_OK);
    near(values[0], 2, 1e-15);
    near(values[1], 0.5, 1e-15);
    near(values[2], 0, 0); /* more asked for than there are */
    near(total, 2.5, 1e-15);
    near(vectors[0], 0, 1e-15);
    near(vectors[1], 1, 1e-15);
    assert_int_equal(iv_pca(x, 4, 2, w, 2, 0, values, NULL, &total, NULL), ISOVAE_OK);
    near(values[0], 2, 1e-15);
    near(values[1], 2, 1e-15);
    near(total, 4, 1e-15);
}

/* Few rows take the way over the rows' Gram matrix. Its eigenvalues are those of the covariance:
 * checked by C v = value v, with C applied row by row. */
static void pca_dual(void **state)
{
    (void)state;
    enum { ROWS = 30, D = 50, COUNT = 5 };
    float *x = table(ROWS, D);
    double values[ROWS], *vectors = take(COUNT * D, sizeof *vectors), total, sum = 0, mean[D] = {0};
    assert_int_equal(iv_pca(x, ROWS, D, NULL, ROWS, 0, values, NULL, &total, NULL), ISOVAE_OK);
    for (size_t i = 0; i < ROWS; i++) sum += values[i];
    near(sum, total, 1e-13);
    near(values[ROWS - 1], 0, 1e-13);
    assert_int_equal(iv_pca(x, ROWS, D, NULL, COUNT, 0, values, vectors, &total, NULL), ISOVAE_OK);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t i = 0; i < D; i++) mean[i] += (double)x[r * D + i] / ROWS;
    }
    for (size_t k = 0; k < COUNT; k++) {
        double cv[D] = {0};
        const double *v = vectors + k * D;
        for (size_t r = 0; r < ROWS; r++) {
            double dot = 0;
            for (size_t i = 0; i < D; i++) dot += ((double)x[r * D + i] - mean[i]) * v[i];
            for (size_t i = 0; i < D; i++) {
                cv[i] += ((double)x[r * D + i] - mean[i]) * dot / ROWS;
            }
        }
        for (size_t i = 0; i < D; i++) near(cv[i], values[k] * v[i], 1e-13);
    }
    iv_free(vectors);
    iv_free(x);
}

/* Above 2,000 both ways: the leading values of a subspace iteration against what the columns' own
 * variances say (the columns are independent but for sampling noise), and C v = value v. */
static void pca_subspace(void **state)
{
    (void)state;
    enum { ROWS = 2010, D = 2005, COUNT = 3 };
    float *x = take((size_t)ROWS * D, sizeof *x);
    double basis[3][ROWS], values[COUNT], total, *vectors = take(COUNT * D, sizeof *vectors);
    /* Rank three: columns i mod 3 = k carry basis k times SD 5, 3 and 1, normalised per group. */
    for (size_t k = 0; k < 3; k++) normals(7 + k, ROWS, basis[k]);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t i = 0; i < D; i++) {
            double sd = (double[]){5, 3, 1}[i % 3];
            x[r * D + i] = (float)(basis[i % 3][r] * sd / 10);
        }
    }
    assert_int_equal(iv_pca(x, ROWS, D, NULL, COUNT, 9, values, vectors, &total, NULL), ISOVAE_OK);
    near(values[0] + values[1] + values[2], total, 1e-9 * total);
    assert_true(values[0] > values[1] && values[1] > values[2] && values[2] > 0);
    for (size_t i = 3; i < D; i++) near(vectors[i], vectors[i % 3], 1e-7);
    double again[COUNT];
    assert_int_equal(iv_pca(x, ROWS, D, NULL, COUNT, 9, again, NULL, &total, NULL), ISOVAE_OK);
    assert_memory_equal(values, again, sizeof again);
    iv_free(vectors);
    iv_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eigen_known), cmocka_unit_test(eigen_refuses),
        cmocka_unit_test(logdet),      cmocka_unit_test(pca_two_columns),
        cmocka_unit_test(pca_dual),    cmocka_unit_test(pca_subspace),
    };
    return cmocka_run_group_tests_name("linalg", tests, NULL, NULL);
}
