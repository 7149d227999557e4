/* The model against known truth: which latent found which factor, and its density against the true
 * one. */
#include "theory/summary.h"

#include "base/memory.h"
#include "theory/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double log_pi = 1.1447298858494001741;

/* Factors of these rows by decreasing variance. */
static isovae_status fill_variances(const double *factors, const iv_truth *truth, iv_summary *s,
                                    size_t *factor_order, isovae_error *err)
{
    iv_analysis *a = s->analysis;
    size_t m = truth->n_factors, count = s->rows->rows;
    double *variances = NULL;
    IV_TRY(IV_NEW(variances, m, "the factors", err));
    for (size_t f = 0; f < m; f++) {
        variances[f] = iv_moments_of(count, factors + f, m).variance;
    }
    isovae_status status = iv_order_latents(m, variances, factor_order, err);
    for (size_t f = 0; f < m && status == ISOVAE_OK; f++) {
        a->truth.variances[f] = variances[factor_order[f]];
        status = iv_strdup(&a->truth.names[f], truth->factor_names[factor_order[f]], err);
    }
    iv_free(variances);
    return status;
}

/* The pairs of factor and latent in decreasing order of |correlation|, each used once. */
static void match(size_t m, size_t n, double *correlation, size_t *latent)
{
    for (size_t f = 0; f < m; f++) latent[f] = SIZE_MAX;
    for (size_t step = 0; step < m && step < n; step++) {
        size_t best_f = 0, best_j = 0;
        double best = -1;
        for (size_t f = 0; f < m; f++) {
            for (size_t j = 0; j < n; j++) {
                if (correlation[f * n + j] > best) {
                    best = correlation[f * n + j];
                    best_f = f;
                    best_j = j;
                }
            }
        }
        latent[best_f] = best_j;
        for (size_t j = 0; j < n; j++) correlation[best_f * n + j] = -2;
        for (size_t f = 0; f < m; f++) correlation[f * n + best_j] = -2;
    }
}

/* Importance in data units over the factor's variance; only where one number takes the metric's
 * squared units to the data's. */
static double unit_ratio(const iv_summary *s)
{
    const iv_scaling *scaling = s->scaling;
    if (!iv_loss_by_feature(s->model->metric.loss)) return (double)NAN;
    if (iv_scaling_kept(scaling) < scaling->cols) return (double)NAN;
    double first = scaling->scale[0] * scaling->scale[0] / s->weight[0];
    for (size_t i = 1; i < scaling->cols; i++) {
        double ratio = scaling->scale[i] * scaling->scale[i] / s->weight[i];
        if (fabs(ratio - first) > 1e-9 * first) return (double)NAN;
    }
    return first;
}

static isovae_status fill_factors(iv_summary *s, const iv_truth *truth, isovae_error *err)
{
    iv_analysis *a = s->analysis;
    size_t m = truth->n_factors, n = a->n, count = s->rows->rows;
    double *factors = NULL, *correlation = NULL;
    size_t *order = NULL;
    a->truth.n_factors = m;
    IV_TRY(IV_NEW(a->truth.variances, m, "the factors", err));
    IV_TRY(IV_NEW(a->truth.ratio, m, "the factors", err));
    IV_TRY(IV_NEW(a->truth.names, m, "the factors", err));
    IV_TRY(IV_NEW(a->truth.latent, m, "the factors", err));
    IV_TRY(IV_NEW(a->truth.spearman, m, "the factors", err));
    isovae_status status = IV_NEW(factors, count * m, "the factors", err);
    if (status == ISOVAE_OK) status = IV_NEW(correlation, m * n, "the factors", err);
    if (status == ISOVAE_OK) status = IV_NEW(order, m, "the factors", err);
    if (status == ISOVAE_OK) {
        for (size_t r = 0; r < count; r++) {
            memcpy(factors + r * m, truth->factors + s->rows->index[r] * m, m * sizeof *factors);
        }
        status = fill_variances(factors, truth, s, order, err);
    }
    if (status == ISOVAE_OK) {
        for (size_t f = 0; f < m; f++) {
            for (size_t j = 0; j < n; j++) {
                correlation[f * n + j] =
                    fabs(iv_pearson(count, factors + order[f], m, s->y + a->latents[j].index, n));
            }
        }
        match(m, n, correlation, a->truth.latent);
    }
    double unit = unit_ratio(s);
    for (size_t f = 0; f < m && status == ISOVAE_OK; f++) {
        size_t j = a->truth.latent[f];
        a->truth.ratio[f] = a->truth.spearman[f] = (double)NAN;
        if (j == SIZE_MAX) continue;
        a->truth.ratio[f] = a->latents[j].variance_y * unit / a->truth.variances[f];
        status = iv_spearman(count, factors + order[f], m, s->y + a->latents[j].index, n,
                             &a->truth.spearman[f], err);
    }
    iv_free(factors);
    iv_free(correlation);
    iv_free(order);
    return status;
}

/* Densities are compared up to a factor: the largest of each becomes 1. */
static double density_correlation(size_t count, const double *log_a, const double *log_b,
                                  double *room)
{
    double most_a = log_a[0], most_b = log_b[0];
    for (size_t r = 1; r < count; r++) {
        most_a = fmax(most_a, log_a[r]);
        most_b = fmax(most_b, log_b[r]);
    }
    for (size_t r = 0; r < count; r++) {
        room[r] = exp(log_a[r] - most_a);
        room[count + r] = exp(log_b[r] - most_b);
    }
    return iv_pearson(count, room, 1, room + count, 1);
}

/* In all d dimensions the truth is the density on the manifold times the model's noise of variance
 * beta/2 (metric units) in the other directions, at no offset. */
static void true_density(const iv_summary *s, iv_estimate estimate, double *log_p)
{
    const iv_truth *truth = s->data->truth;
    const iv_rows *rows = s->rows;
    size_t m = truth->factors != NULL && truth->n_factors > 0 ? truth->n_factors : rows->m;
    for (size_t r = 0; r < rows->rows; r++) log_p[r] = truth->log_density[rows->index[r]];
    if (estimate != IV_ESTIMATE_ELBO) return;
    double noise = -0.5 * ((double)rows->d - (double)m) * (log_pi + log(rows->beta)) -
                   iv_log_volume(s->scaling, s->weight);
    for (size_t r = 0; r < rows->rows; r++) log_p[r] += noise - rows->volume[r];
}

static isovae_status fill_density(iv_summary *s, isovae_error *err)
{
    iv_analysis *a = s->analysis;
    size_t count = s->rows->rows, finite = 0;
    double *truth = NULL, *estimate = NULL, *volume = NULL, *room = NULL;
    isovae_status status = IV_NEW(truth, count, "the true density", err);
    if (status == ISOVAE_OK) status = IV_NEW(estimate, count, "the true density", err);
    if (status == ISOVAE_OK) status = IV_NEW(volume, count, "the true density", err);
    if (status == ISOVAE_OK) status = IV_NEW(room, 2 * count, "the true density", err);
    for (size_t e = 0; e < IV_ESTIMATES && status == ISOVAE_OK; e++) {
        iv_density_truth *out = &a->truth.density[e];
        *out = (iv_density_truth){(double)NAN, (double)NAN, (double)NAN,
                                  (double)NAN, (double)NAN, (double)NAN};
        if (a->density.all[e] == NULL) continue;
        true_density(s, (iv_estimate)e, truth);
        finite = 0;
        for (size_t r = 0; r < count; r++) { /* rows at the edge of a support have log p = -inf */
            if (!isfinite(truth[r])) continue;
            truth[finite] = truth[r];
            volume[finite] = s->rows->volume[r];
            estimate[finite++] = a->density.all[e][r];
        }
        if (finite < 2) continue;
        out->r = density_correlation(finite, truth, estimate, room);
        out->r_log = iv_pearson(finite, truth, 1, estimate, 1);
        for (size_t r = 0; r < finite; r++) room[r] = estimate[r] - truth[r];
        iv_moments off = iv_moments_of(finite, room, 1);
        /* Off the manifold the noise of student is no Gaussian of variance beta/2. */
        bool absolute = e == IV_ESTIMATE_ELBO
                            ? a->density.absolute && s->model->metric.loss != IV_LOSS_STUDENT
                            : iv_loss_by_feature(s->model->metric.loss);
        if (absolute) {
            out->bias_nats = off.mean;
            out->sd_nats = sqrt(off.variance);
        }
        /* elbo is in G's volume, and so was its truth; the others are in that of the data */
        for (size_t r = 0; r < finite; r++) {
            if (e == IV_ESTIMATE_ELBO) {
                truth[r] += volume[r];
            } else {
                estimate[r] -= volume[r];
            }
        }
        out->r_uncorrected = density_correlation(finite, truth, estimate, room);
        out->r_log_uncorrected = iv_pearson(finite, truth, 1, estimate, 1);
    }
    iv_free(truth);
    iv_free(estimate);
    iv_free(volume);
    iv_free(room);
    return status;
}

isovae_status iv_summarise_truth(iv_summary *s, isovae_error *err)
{
    const iv_truth *truth = s->data->truth;
    iv_analysis *a = s->analysis;
    if (truth == NULL) return ISOVAE_OK;
    a->truth.known = truth->factors != NULL && truth->n_factors > 0;
    a->truth.density_known = truth->log_density != NULL;
    if (a->truth.known) IV_TRY(fill_factors(s, truth, err));
    return a->truth.density_known ? fill_density(s, err) : ISOVAE_OK;
}
