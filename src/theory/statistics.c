#include "theory/statistics.h"

#include "base/memory.h"
#include "base/order.h"

#include <math.h>
#include <stdlib.h>

iv_moments iv_moments_of(size_t count, const double *values, size_t stride)
{
    iv_moments m = {.mean = (double)NAN, (double)NAN, (double)NAN, (double)NAN};
    if (count == 0) return m;
    double n = (double)count, sum = 0, m2 = 0, m4 = 0;
    for (size_t i = 0; i < count; i++) sum += values[i * stride];
    m.mean = sum / n;
    for (size_t i = 0; i < count; i++) {
        double off = values[i * stride] - m.mean, square = off * off;
        m2 += square;
        m4 += square * square;
    }
    m.variance = m2 / n;
    m.se = sqrt(m.variance / n);
    m.variance_se = sqrt(fmax(m4 / n - m.variance * m.variance, 0) / n);
    return m;
}

double iv_pearson(size_t count, const double *a, size_t stride_a, const double *b, size_t stride_b)
{
    iv_moments ma = iv_moments_of(count, a, stride_a), mb = iv_moments_of(count, b, stride_b);
    if (!(ma.variance > 0) || !(mb.variance > 0)) return 0;
    double sa = sqrt(ma.variance), sb = sqrt(mb.variance), sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += ((a[i * stride_a] - ma.mean) / sa) * ((b[i * stride_b] - mb.mean) / sb);
    }
    return sum / (double)count;
}

void iv_mid_ranks(size_t count, const double *values, size_t stride, iv_ranked *room, double *ranks)
{
    for (size_t i = 0; i < count; i++) room[i] = (iv_ranked){values[i * stride], i};
    iv_sort_ranked(count, room);
    for (size_t first = 0; first < count;) {
        size_t end = first + 1;
        while (end < count && !(room[end].value > room[first].value)) end++;
        double rank = 0.5 * (double)(first + end - 1);
        for (size_t i = first; i < end; i++) ranks[room[i].place] = rank;
        first = end;
    }
}

isovae_status iv_spearman(size_t count, const double *a, size_t stride_a, const double *b,
                          size_t stride_b, double *out, isovae_error *err)
{
    iv_ranked *room = NULL;
    double *ranks = NULL;
    isovae_status status = IV_NEW(room, count, "ranks", err);
    if (status == ISOVAE_OK) status = IV_NEW(ranks, 2 * count, "ranks", err);
    if (status == ISOVAE_OK) {
        iv_mid_ranks(count, a, stride_a, room, ranks);
        iv_mid_ranks(count, b, stride_b, room, ranks + count);
        *out = iv_pearson(count, ranks, 1, ranks + count, 1);
    }
    iv_free(room);
    iv_free(ranks);
    return status;
}

static int compare_doubles(const void *a, const void *b)
{
    double p = *(const double *)a, q = *(const double *)b;
    return p < q ? -1 : p > q;
}

void iv_sort_doubles(size_t count, double *values)
{
    qsort(values, count, sizeof *values, compare_doubles);
}

double iv_quantile_sorted(size_t count, const double *sorted, double q)
{
    if (count == 0) return (double)NAN;
    double place = q * (double)(count - 1);
    size_t low = (size_t)place;
    if (low + 1 >= count) return sorted[count - 1];
    return sorted[low] + (place - (double)low) * (sorted[low + 1] - sorted[low]);
}
