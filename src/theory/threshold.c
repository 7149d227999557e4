/* Held-out scores as a distribution, from the quantiles that the model stores. */
#include "theory/scorer.h"

#include <math.h>

double iv_threshold_at(const iv_model *model, double p)
{
    const double *q = model->quantiles;
    size_t n = model->n_quantiles;
    if (n == 0 || q == NULL || !(p >= 0 && p <= 1)) return (double)NAN;
    double place = p * (double)(n - 1);
    size_t low = (size_t)place;
    if (low + 1 >= n) return q[n - 1];
    return q[low] + (place - (double)low) * (q[low + 1] - q[low]);
}

double iv_threshold_share(const iv_model *model, double log_density)
{
    const double *q = model->quantiles;
    size_t n = model->n_quantiles;
    if (n == 0 || q == NULL || isnan(log_density)) return (double)NAN;
    if (log_density <= q[0]) return 0;
    if (log_density >= q[n - 1]) return 1;
    size_t low = 0, high = n - 1; /* q[low] < log_density <= q[high] */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (q[middle] < log_density) {
            low = middle;
        } else {
            high = middle;
        }
    }
    double within = (log_density - q[low]) / (q[high] - q[low]);
    return ((double)low + within) / (double)(n - 1);
}
