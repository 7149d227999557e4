/* log |det A| by Cholesky: own code, so that a library that only runs models needs no LAPACK, and
 * one code, so that both give the same bytes. */
#include "linalg/linalg.h"

#include <math.h>

/* Four sums side by side, so that a strict compiler may keep them in one register. */
static double dot(size_t n, const double *a, const double *b)
{
    double s[4] = {0, 0, 0, 0}, rest = 0;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (size_t l = 0; l < 4; l++) s[l] += a[i + l] * b[i + l];
    }
    for (; i < n; i++) rest += a[i] * b[i];
    return (s[0] + s[1]) + (s[2] + s[3]) + rest;
}

/* In place on the lower triangle, row by row; the product of the pivots squared is det A. */
double iv_logdet(size_t n, double *a)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double *row_i = a + i * n;
        for (size_t j = 0; j < i; j++) {
            const double *row_j = a + j * n;
            row_i[j] = (row_i[j] - dot(j, row_i, row_j)) / row_j[j];
        }
        double pivot = row_i[i] - dot(i, row_i, row_i);
        if (!(pivot > 0) || !isfinite(pivot)) return -(double)INFINITY;
        row_i[i] = sqrt(pivot);
        sum += log(pivot);
    }
    return sum;
}
