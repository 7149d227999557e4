/* J^T G J: the executor hands out the columns x_j of the Jacobian for a few rows at a time, the
 * metric applies G, and the kernels sum the products in double. */
#include "theory/gram.h"

#include <math.h>
#include <string.h>

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

static void add_loadings(iv_lane *lane, const double *logvar, size_t first, size_t rows,
                         const void *jacobian, size_t stride)
{
    const iv_pass *pass = lane->pass;
    size_t n = pass->n, d = pass->d;
    bool logits = pass->eval->metric->kind->logits;
    if (logits) output_slope(lane, first, rows);
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < n; j++) {
            double sigma = exp(logvar[(first + r) * n + j] / 2);
            const double *column = lane->column;
            pass->k->download(lane->column, iv_at(pass->k, jacobian, j * stride + r * d), d);
            double *sum = lane->loading + j * d, *square = lane->loading_square + j * d;
            for (size_t i = 0; i < d; i++) {
                double v = sigma * column[i] * (logits ? lane->slope[r * d + i] : 1);
                sum[i] += v;
                square[i] += v * v;
            }
        }
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
    pass->eval->metric->kind->apply_g(pass->eval->metric, rows, iv_at(k, lane->xhat, first * d),
                                      columns, jacobian, stride, lane->g_jacobian, block);
    for (size_t r = 0; r < rows; r++) {
        double *gram = lane->gram + (first + r) * n * n;
        k->gram(n, d, iv_at(k, jacobian, r * d), stride, iv_at(k, lane->g_jacobian, r * d), block,
                !pass->full_gram, gram);
        make_finite(n, gram);
    }
    if (pass->loadings) add_loadings(lane, c->logvar, first, rows, jacobian, stride);
    for (size_t j = 0; pass->data_gram && j < columns; j++) { /* S J */
        k->scale_columns(rows, d, pass->scale, iv_at(k, jacobian, j * stride),
                         iv_at(k, lane->g_jacobian, j * block));
    }
    for (size_t r = 0; pass->data_gram && r < rows; r++) {
        const void *scaled = iv_at(k, lane->g_jacobian, r * d);
        double *gram = lane->gram_data + (first + r) * n * n;
        k->gram(n, d, scaled, block, scaled, block, false, gram);
        make_finite(n, gram);
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
