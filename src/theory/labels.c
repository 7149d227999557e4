#include "theory/labels.h"

#include "base/memory.h"
#include "theory/statistics.h"

#include <math.h>
#include <string.h>

double iv_label_r2(size_t count, const double *x, size_t stride, const double *label)
{
    iv_moments mx = iv_moments_of(count, x, stride), my = iv_moments_of(count, label, 1);
    if (!(mx.variance > 0) || !(my.variance > 0)) return (double)NAN;
    double r = iv_pearson(count, x, stride, label, 1);
    return r * r;
}

double iv_label_eta2(size_t count, const double *x, size_t stride, const size_t *label, size_t n,
                     double *room)
{
    double *rows = room, *sums = room + n, between = 0;
    size_t there = 0;
    iv_moments m = iv_moments_of(count, x, stride);
    memset(room, 0, 2 * n * sizeof *room);
    for (size_t i = 0; i < count; i++) {
        rows[label[i]]++;
        sums[label[i]] += x[i * stride] - m.mean;
    }
    for (size_t c = 0; c < n; c++) {
        if (!(rows[c] > 0)) continue;
        between += sums[c] * sums[c] / rows[c];
        there++;
    }
    if (there < 2 || !(m.variance > 0)) return (double)NAN;
    return fmin(between / ((double)count * m.variance), 1);
}

double iv_label_chance(size_t count, size_t classes)
{
    double free = classes > 0 ? (double)classes - 1 : 1;
    return count > 1 ? fmin(free / ((double)count - 1), 1) : (double)NAN;
}

isovae_status iv_label_auroc(size_t count, const double *x, size_t stride, const size_t *label,
                             size_t n, double *auroc, isovae_error *err)
{
    iv_ranked *room = NULL;
    double *ranks = NULL, *rows = NULL;
    isovae_status status = IV_NEW(room, count, "ranks", err);
    if (status == ISOVAE_OK) status = IV_NEW(ranks, count, "ranks", err);
    if (status == ISOVAE_OK) status = IV_NEW(rows, n, "rows of the classes", err);
    if (status == ISOVAE_OK) {
        iv_mid_ranks(count, x, stride, room, ranks);
        for (size_t c = 0; c < n; c++) auroc[c] = 0;
        for (size_t i = 0; i < count; i++) {
            auroc[label[i]] += ranks[i];
            rows[label[i]]++;
        }
        for (size_t c = 0; c < n; c++) {
            double in = rows[c], out = (double)count - in;
            auroc[c] =
                in > 0 && out > 0 ? (auroc[c] - in * (in - 1) / 2) / (in * out) : (double)NAN;
        }
    }
    iv_free(room);
    iv_free(ranks);
    iv_free(rows);
    return status;
}

size_t iv_label_best(size_t count, size_t n, const size_t *rows_of, const double *auroc)
{
    size_t best = n;
    for (size_t c = 0; c < n; c++) {
        if (rows_of[c] < IV_LEAST_CLASS || count - rows_of[c] < IV_LEAST_CLASS) continue;
        if (isnan(auroc[c])) continue;
        /* Of two classes each tells the other; the rarer one is then the one to name. */
        double gain = best == n ? 1 : fabs(auroc[c] - 0.5) - fabs(auroc[best] - 0.5);
        if (gain > 1e-12 || (gain > -1e-12 && rows_of[c] < rows_of[best])) best = c;
    }
    return best;
}
