#include "theory/two_sample.h"

#include "base/memory.h"
#include "theory/statistics.h"

#include <math.h>
#include <stdbool.h>

const char *iv_two_sample_name(iv_two_sample_test test)
{
    static const char *const names[] = {"shift", "spread", "shape"};
    return (size_t)test < IV_TWO_SAMPLE_TESTS ? names[test] : "?";
}

double iv_kolmogorov_tail(double lambda)
{
    static const double pi = 3.14159265358979323846;
    double sum = 0;
    if (!(lambda > 0)) return 1;
    if (lambda < 1.18) { /* the theta function's other form, which converges here */
        for (int k = 1; k <= 20; k++) {
            double odd = (2 * k - 1) * pi / lambda;
            sum += exp(-odd * odd / 8);
        }
        return fmax(1 - sqrt(2 * pi) / lambda * sum, 0);
    }
    for (int k = 1; k <= 20; k++) {
        double term = exp(-2 * (double)k * (double)k * lambda * lambda);
        sum += k % 2 == 1 ? term : -term;
    }
    return fmin(2 * sum, 1);
}

double iv_normal_two_sided(double z)
{
    return erfc(fabs(z) * 0.70710678118654752440);
}

static void put(size_t n, const double *a, size_t m, const double *b, double centre, bool far,
                iv_ranked *room)
{
    for (size_t i = 0; i < n + m; i++) {
        double value = i < n ? a[i] : b[i - n];
        room[i] = (iv_ranked){far ? fabs(value - centre) : value, i};
    }
    iv_sort_ranked(n + m, room);
}

/* From the sorted values of both; `distance` may be NULL. */
static double rank_test(size_t n, size_t m, const iv_ranked *room, double *distance)
{
    double rank_sum = 0, ties = 0, seen_a = 0, seen_b = 0, most = 0;
    double na = (double)n, nb = (double)m, all = na + nb;
    for (size_t first = 0; first < n + m;) {
        size_t end = first;
        double from_a = 0;
        while (end < n + m && !(room[end].value > room[first].value)) {
            from_a += room[end].place < n;
            end++;
        }
        double tied = (double)(end - first);
        rank_sum += from_a * 0.5 * (double)(first + 1 + end);
        ties += tied * (tied * tied - 1);
        seen_a += from_a;
        seen_b += tied - from_a;
        most = fmax(most, fabs(seen_a / na - seen_b / nb));
        first = end;
    }
    if (distance != NULL) *distance = most;
    double u = rank_sum - na * (na + 1) / 2;
    double variance = na * nb / 12 * (all + 1 - ties / (all * (all - 1)));
    if (!(variance > 1e-9 * na * nb)) return 1; /* all equal */
    return iv_normal_two_sided(fmax(fabs(u - na * nb / 2) - 0.5, 0) / sqrt(variance));
}

void iv_two_sample_of(size_t n, const double *a, size_t m, const double *b, iv_ranked *room,
                      iv_two_sample *out)
{
    iv_moments first = iv_moments_of(n, a, 1), second = iv_moments_of(m, b, 1);
    *out = (iv_two_sample){.n = {n, m},
                           .mean = {first.mean, second.mean},
                           .sd = {sqrt(first.variance), sqrt(second.variance)},
                           .p = {1, 1, 1}};
    /* the spread of equal values is rounding */
    if (out->sd[0] <= 1e-12 * fabs(first.mean)) out->sd[0] = 0;
    if (out->sd[1] <= 1e-12 * fabs(second.mean)) out->sd[1] = 0;
    double off = second.mean - first.mean;
    out->shift = off == 0 ? 0 : off / out->sd[0];
    out->spread = out->sd[1] == out->sd[0] ? 1 : out->sd[1] / out->sd[0];
    if (n == 0 || m == 0) return;
    put(n, a, m, b, 0, false, room);
    out->p[IV_TEST_SHIFT] = rank_test(n, m, room, &out->distance);
    double pooled = (double)n * ((double)m / (double)(n + m)), root = sqrt(pooled);
    /* Stephens' correction of the limit for small samples */
    out->p[IV_TEST_SHAPE] = iv_kolmogorov_tail((root + 0.12 + 0.11 / root) * out->distance);
    double median = 0.5 * (room[(n + m - 1) / 2].value + room[(n + m) / 2].value);
    put(n, a, m, b, median, true, room);
    out->p[IV_TEST_SPREAD] = rank_test(n, m, room, NULL);
}

isovae_status iv_holm(size_t n, const double *p, double *adjusted, isovae_error *err)
{
    iv_ranked *order = NULL;
    size_t tests = 0;
    IV_TRY(IV_NEW(order, n, "p values", err));
    for (size_t i = 0; i < n; i++) {
        adjusted[i] = (double)NAN;
        if (!isnan(p[i])) order[tests++] = (iv_ranked){p[i], i};
    }
    iv_sort_ranked(tests, order);
    double most = 0;
    for (size_t k = 0; k < tests; k++) {
        most = fmax(most, fmin((double)(tests - k) * order[k].value, 1));
        adjusted[order[k].place] = most;
    }
    iv_free(order);
    return ISOVAE_OK;
}
