#include "theory/match.h"

#include "base/memory.h"
#include "linalg/linalg.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* ---- assignment ---- */

typedef struct assignment {
    size_t rows, cols; /* rows <= cols */
    size_t stride_r, stride_c;
    const double *cost;
    double *row_price, *col_price, *slack;
    size_t *owner; /* of a column: its row + 1, 0 where free; column 0 is a place for the new row */
    size_t *before; /* column from which this one was reached */
    bool *done;
} assignment;

static double reduced(const assignment *a, size_t row, size_t col)
{
    double cost = a->cost[(row - 1) * a->stride_r + (col - 1) * a->stride_c];
    return (isnan(cost) ? 0 : cost) - a->row_price[row] - a->col_price[col];
}

/* Brings `row` in: a shortest path of reduced costs from it to a free column, along which the
 * pairs then change. Rows and columns count from 1. */
static void bring_in(assignment *a, size_t row)
{
    size_t at = 0;
    a->owner[0] = row;
    for (size_t c = 0; c <= a->cols; c++) {
        a->slack[c] = INFINITY;
        a->done[c] = false;
    }
    do {
        size_t next = 0;
        double step = INFINITY;
        a->done[at] = true;
        for (size_t c = 1; c <= a->cols; c++) {
            if (a->done[c]) continue;
            double cost = reduced(a, a->owner[at], c);
            if (cost < a->slack[c]) {
                a->slack[c] = cost;
                a->before[c] = at;
            }
            if (next == 0 || a->slack[c] < step) {
                step = a->slack[c];
                next = c;
            }
        }
        for (size_t c = 0; c <= a->cols; c++) {
            if (a->done[c]) {
                a->row_price[a->owner[c]] += step;
                a->col_price[c] -= step;
            } else {
                a->slack[c] -= step;
            }
        }
        at = next;
    } while (a->owner[at] != 0);
    while (at != 0) {
        size_t from = a->before[at];
        a->owner[at] = a->owner[from];
        at = from;
    }
}

isovae_status iv_assign(size_t rows, size_t cols, const double *cost, size_t *match,
                        isovae_error *err)
{
    for (size_t r = 0; r < rows; r++) match[r] = SIZE_MAX;
    if (rows == 0 || cols == 0) return ISOVAE_OK;
    bool turned = rows > cols;
    assignment a = {.rows = turned ? cols : rows,
                    .cols = turned ? rows : cols,
                    .stride_r = turned ? 1 : cols,
                    .stride_c = turned ? cols : 1,
                    .cost = cost};
    isovae_status status = IV_NEW(a.row_price, a.rows + 1, "an assignment", err);
    if (status == ISOVAE_OK) status = IV_NEW(a.col_price, a.cols + 1, "an assignment", err);
    if (status == ISOVAE_OK) status = IV_NEW(a.slack, a.cols + 1, "an assignment", err);
    if (status == ISOVAE_OK) status = IV_NEW(a.owner, a.cols + 1, "an assignment", err);
    if (status == ISOVAE_OK) status = IV_NEW(a.before, a.cols + 1, "an assignment", err);
    if (status == ISOVAE_OK) status = IV_NEW(a.done, a.cols + 1, "an assignment", err);
    if (status == ISOVAE_OK) {
        for (size_t r = 1; r <= a.rows; r++) bring_in(&a, r);
        for (size_t c = 1; c <= a.cols; c++) {
            if (a.owner[c] == 0) continue;
            if (turned) {
                match[c - 1] = a.owner[c] - 1;
            } else {
                match[a.owner[c] - 1] = c - 1;
            }
        }
    }
    iv_free(a.row_price);
    iv_free(a.col_price);
    iv_free(a.slack);
    iv_free(a.owner);
    iv_free(a.before);
    iv_free(a.done);
    return status;
}

/* ---- correlations ---- */

void iv_standardise(size_t count, size_t n, double *values)
{
    for (size_t j = 0; j < n; j++) {
        double sum = 0, squares = 0, largest = 0;
        for (size_t r = 0; r < count; r++) sum += values[r * n + j];
        double mean = sum / (double)count;
        for (size_t r = 0; r < count; r++) {
            double off = values[r * n + j] - mean;
            largest = fmax(largest, fabs(values[r * n + j]));
            squares += off * off;
        }
        /* what rounding leaves of a constant is not variation */
        double length = sqrt(squares);
        bool varies = length > 1e-12 * largest * sqrt((double)count);
        for (size_t r = 0; r < count; r++) {
            double *v = &values[r * n + j];
            *v = varies ? (*v - mean) / length : 0;
        }
    }
}

void iv_correlations(size_t count, const double *a, size_t na, const double *b, size_t nb,
                     double *out)
{
    for (size_t i = 0; i < na * nb; i++) out[i] = 0;
    for (size_t r = 0; r < count; r++) {
        for (size_t i = 0; i < na; i++) {
            double left = a[r * na + i];
            for (size_t j = 0; j < nb; j++) out[i * nb + j] += left * b[r * nb + j];
        }
    }
}

/* white (p x p): rows are directions w with w^T S w = 1, S the correlation matrix of the p columns;
 * 0 for a direction without variance. `s` is destroyed. */
static isovae_status whiten(size_t p, double *s, double *values, double *white, isovae_error *err)
{
    IV_TRY(iv_eigen_symmetric(p, s, values, white, err));
    for (size_t k = 0; k < p; k++) {
        double scale = values[k] > 1e-9 * (double)p ? 1 / sqrt(values[k]) : 0;
        for (size_t i = 0; i < p; i++) white[k * p + i] *= scale;
    }
    return ISOVAE_OK;
}

/* out = a b^T or a b, p x p */
static void product(size_t p, const double *a, const double *b, bool turned, double *out)
{
    for (size_t i = 0; i < p; i++) {
        for (size_t j = 0; j < p; j++) {
            double sum = 0;
            for (size_t k = 0; k < p; k++) {
                sum += a[i * p + k] * (turned ? b[j * p + k] : b[k * p + j]);
            }
            out[i * p + j] = sum;
        }
    }
}

isovae_status iv_canonical(size_t p, const double *one, const double *other, const double *between,
                           double *out, isovae_error *err)
{
    size_t square = p * p;
    double *room = NULL;
    IV_TRY(IV_NEW(room, 4 * square + p, "correlations", err));
    double *s = room, *white_one = s + square, *white_other = white_one + square,
           *cross = white_other + square, *values = cross + square;
    memcpy(s, one, square * sizeof *s);
    isovae_status status = whiten(p, s, values, white_one, err);
    memcpy(s, other, square * sizeof *s);
    if (status == ISOVAE_OK) status = whiten(p, s, values, white_other, err);
    if (status == ISOVAE_OK) {
        /* K = W between W'^T; its singular values are the correlations */
        product(p, white_one, between, false, s);
        product(p, s, white_other, true, cross);
        product(p, cross, cross, true, s);
        status = iv_eigen_symmetric(p, s, values, NULL, err);
    }
    for (size_t k = 0; k < p && status == ISOVAE_OK; k++) {
        out[k] = fmin(sqrt(fmax(values[k], 0)), 1);
    }
    iv_free(room);
    return status;
}
