/* J^T G J: the executor hands out the columns x_j of the Jacobian for a few rows at a time, the
 * metric applies G, and the products are summed in double. */
#include "theory/gram.h"

#include <math.h>
#include <string.h>

/* Four sums side by side, so that a strict compiler may keep them in one register. */
double iv_gram_dot(size_t n, const double *a, const double *b)
{
    double s[4] = {0, 0, 0, 0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (size_t l = 0; l < 4; l++) s[l] += a[i + l] * b[i + l];
    }
    double rest = 0;
    for (; i < n; i++) rest += a[i] * b[i];
    return (s[0] + s[1]) + (s[2] + s[3]) + rest;
}

/* Two columns against two: each number loaded serves twice. */
static void dot_2x2(size_t n, const double *a0, const double *a1, const double *b0,
                    const double *b1, double out[4])
{
    double s00[4] = {0}, s01[4] = {0}, s10[4] = {0}, s11[4] = {0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (size_t l = 0; l < 4; l++) {
            s00[l] += a0[i + l] * b0[i + l];
            s01[l] += a0[i + l] * b1[i + l];
            s10[l] += a1[i + l] * b0[i + l];
            s11[l] += a1[i + l] * b1[i + l];
        }
    }
    double r00 = 0, r01 = 0, r10 = 0, r11 = 0;
    for (; i < n; i++) {
        r00 += a0[i] * b0[i];
        r01 += a0[i] * b1[i];
        r10 += a1[i] * b0[i];
        r11 += a1[i] * b1[i];
    }
    out[0] = (s00[0] + s00[1]) + (s00[2] + s00[3]) + r00;
    out[1] = (s01[0] + s01[1]) + (s01[2] + s01[3]) + r01;
    out[2] = (s10[0] + s10[1]) + (s10[2] + s10[3]) + r10;
    out[3] = (s11[0] + s11[1]) + (s11[2] + s11[3]) + r11;
}

/* gram_jk = sum_i a_j,i b_k,i for k >= j, mirrored. Rows of a and b are `stride` apart. The value
 * of an element does not depend on the pairing: both routines add in the same order. */
static void gram_of(size_t n, size_t d, const double *a, const double *b, size_t stride,
                    double *gram)
{
    for (size_t j = 0; j < n; j += 2) {
        for (size_t k = j; k < n; k += 2) {
            const double *aj = a + j * stride, *bk = b + k * stride;
            if (j + 1 < n && k + 1 < n) {
                double out[4];
                dot_2x2(d, aj, aj + stride, bk, bk + stride, out);
                gram[j * n + k] = out[0];
                gram[j * n + k + 1] = out[1];
                gram[(j + 1) * n + k] = out[2];
                gram[(j + 1) * n + k + 1] = out[3];
            } else {
                for (size_t p = j; p < n && p < j + 2; p++) {
                    for (size_t q = k; q < n && q < k + 2; q++) {
                        gram[p * n + q] = iv_gram_dot(d, a + p * stride, b + q * stride);
                    }
                }
            }
        }
    }
    for (size_t j = 0; j < n; j++) {
        for (size_t k = 0; k < j; k++) gram[j * n + k] = gram[k * n + j];
    }
}

static void make_finite(size_t n, double *gram)
{
    for (size_t i = 0; i < n * n; i++) {
        if (!isfinite(gram[i])) gram[i] = 0; /* overflow far from the data; transform tells it */
    }
}

typedef struct consumer {
    iv_lane *lane;
    const double *logvar; /* of the chunk */
} consumer;

/* d xhat / d logit = p (1 - p) for bce. */
static void output_slope(iv_lane *lane, size_t first, size_t rows)
{
    const iv_pass *pass = lane->pass;
    size_t count = rows * pass->d;
    pass->k->download(lane->slope, iv_at(pass->k, lane->xhat, first * pass->d), count);
    for (size_t i = 0; i < count; i++) {
        double e = exp(-fabs(lane->slope[i]));
        lane->slope[i] = e / ((1 + e) * (1 + e));
    }
}

static void add_loadings(iv_lane *lane, const double *logvar, size_t first, size_t rows)
{
    const iv_pass *pass = lane->pass;
    size_t n = pass->n, d = pass->d;
    bool logits = pass->eval->metric->kind->logits;
    if (logits) output_slope(lane, first, rows);
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < n; j++) {
            double sigma = exp(logvar[(first + r) * n + j] / 2);
            const double *column = lane->j + (j * rows + r) * d;
            double *sum = lane->loading + j * d, *square = lane->loading_square + j * d;
            for (size_t i = 0; i < d; i++) {
                double v = sigma * column[i] * (logits ? lane->slope[r * d + i] : 1);
                sum[i] += v;
                square[i] += v * v;
            }
        }
    }
}

/* Columns times the scale of each feature, in place: S J. */
static void scale_columns(size_t columns, size_t d, const double *scale, double *j)
{
    for (size_t c = 0; c < columns; c++) {
        for (size_t i = 0; i < d; i++) j[c * d + i] *= scale[i];
    }
}

static void consume(void *user, size_t first_row, size_t rows, size_t columns, const void *jacobian,
                    size_t stride)
{
    const consumer *c = user;
    iv_lane *lane = c->lane;
    const iv_pass *pass = lane->pass;
    const iv_kernels *k = pass->k;
    size_t n = columns, d = pass->d, first = first_row - lane->slot, block = rows * d;
    pass->eval->metric->kind->apply_g(pass->eval->metric, lane->index, rows,
                                      iv_at(k, lane->xhat, first * d), columns, jacobian, stride,
                                      lane->g_jacobian, block);
    for (size_t j = 0; j < columns; j++) {
        k->download(lane->j + j * block, iv_at(k, jacobian, j * stride), block);
        k->download(lane->gj + j * block, iv_at(k, lane->g_jacobian, j * block), block);
    }
    for (size_t r = 0; r < rows; r++) {
        double *gram = lane->gram + (first + r) * n * n;
        if (pass->full_gram) {
            gram_of(n, d, lane->j + r * d, lane->gj + r * d, block, gram);
        } else {
            for (size_t j = 0; j < n; j++) {
                size_t at = j * block + r * d;
                gram[j * n + j] = iv_gram_dot(d, lane->j + at, lane->gj + at);
            }
        }
        make_finite(n, gram);
    }
    if (pass->loadings) add_loadings(lane, c->logvar, first, rows);
    if (pass->data_gram) {
        scale_columns(columns * rows, d, pass->scaling->scale, lane->j);
        for (size_t r = 0; r < rows; r++) {
            double *gram = lane->gram_data + (first + r) * n * n;
            gram_of(n, d, lane->j + r * d, lane->j + r * d, block, gram);
            make_finite(n, gram);
        }
    }
}

void iv_lane_gram(iv_lane *lane, size_t count, const double *logvar)
{
    iv_pass *pass = lane->pass;
    size_t n = pass->n, d = pass->d;
    pass->k->copy_block(count, d, iv_lane_out(lane), d, lane->xhat, d, false);
    iv_metric_row_factor(pass->eval->metric, count, lane->xhat, lane->factor);
    memset(lane->gram, 0, count * n * n * sizeof *lane->gram);
    consumer c = {.lane = lane, .logvar = logvar};
    iv_exec_jacobian(pass->eval->decoder, pass->eval->params, pass->model->out, lane->slot, count,
                     lane->index, lane->jacobian, pass->tile, consume, &c);
}
