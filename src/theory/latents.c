/* The table of latents: importance both ways (E4), optimality (E0, E1), loadings, orthogonality
 * (E2), near-degenerate groups. */
#include "theory/summary.h"

#include "base/memory.h"
#include "base/order.h"
#include "theory/statistics.h"

#include <math.h>

isovae_status iv_order_latents(size_t n, const double *variance_y, size_t *order, isovae_error *err)
{
    iv_ranked *room;
    IV_TRY(IV_NEW(room, n, "the order of the latents", err));
    for (size_t j = 0; j < n; j++) room[j] = (iv_ranked){-variance_y[j], j};
    iv_sort_ranked(n, room);
    for (size_t j = 0; j < n; j++) order[j] = room[j].place;
    iv_free(room);
    return ISOVAE_OK;
}

/* d xhat/d y_j = (sigma_j/sqrt(beta/2)) x_j; the rows hold the sums of sigma_j x_j in network
 * units. */
void iv_loadings_of(const iv_rows *rows, const iv_scaling *scaling, size_t j, double sd_y,
                    double *mean, double *rms)
{
    double unit = sd_y / sqrt(rows->beta / 2), count = (double)rows->rows;
    for (size_t i = 0; i < rows->d; i++) {
        mean[i] = unit * scaling->scale[i] * rows->loading[j * rows->d + i] / count;
        rms[i] = unit * scaling->scale[i] * sqrt(rows->loading_square[j * rows->d + i] / count);
        if (iv_scaling_drops(scaling, i)) mean[i] = rms[i] = 0;
    }
}

/* Shares are taken in the metric's units, where features may be compared with each other. */
static double metric_square(const iv_summary *s, const double *rms, size_t i)
{
    double in_network = rms[i] / s->scaling->scale[i];
    return s->weight[i] * in_network * in_network;
}

static void fill_top(const iv_summary *s, size_t d, iv_latent_report *l)
{
    double total = 0;
    for (size_t i = 0; i < d; i++) total += metric_square(s, l->loading_rms, i);
    l->n_top = 0;
    for (size_t i = 0; i < d; i++) {
        double rms = l->loading_rms[i], mean = l->loading_mean[i];
        iv_loading entry = {.feature = i,
                            .mean = mean,
                            .share = total > 0 ? metric_square(s, l->loading_rms, i) / total : 0,
                            .sign = rms > 0 ? fmin(fabs(mean) / rms, 1) : 0};
        size_t place = l->n_top;
        while (place > 0 && l->top[place - 1].share < entry.share) place--;
        if (place == IV_TOP_LOADINGS) continue;
        if (l->n_top < IV_TOP_LOADINGS) l->n_top++;
        for (size_t k = l->n_top - 1; k > place; k--) l->top[k] = l->top[k - 1];
        l->top[place] = entry;
    }
}

static void fill_latent(const iv_summary *s, size_t j, iv_latent_report *l)
{
    const iv_rows *rows = s->rows;
    size_t n = rows->n, count = rows->rows;
    double half_beta = rows->beta / 2;
    iv_moments y = iv_moments_of(count, s->y + j, n);
    l->variance_y = y.variance + half_beta;
    l->variance_y_se = y.variance_se;

    double sum = 0, squares = 0, kl = 0, sigma2 = 0;
    for (size_t r = 0; r < count; r++) {
        double inverse = exp(-rows->logvar[r * n + j]);
        sum += inverse;
        squares += inverse * inverse;
        sigma2 += exp(rows->logvar[r * n + j]);
        kl += iv_kl(rows->mu[r * n + j], rows->logvar[r * n + j]);
    }
    double mean = sum / (double)count;
    l->importance = half_beta * mean;
    l->importance_se =
        half_beta * sqrt(fmax(squares / (double)count - mean * mean, 0) / (double)count);
    l->kl = kl / (double)count;
    l->sigma2_mean = sigma2 / (double)count;

    iv_moments norm = iv_moments_of(count, rows->norm + j, n);
    l->norm_mean = norm.mean;
    l->norm_sd = sqrt(norm.variance);
    double e1 = 0, e1_square = 0;
    for (size_t r = 0; r < count; r++) e1 += rows->norm[r * n + j] + exp(rows->logvar[r * n + j]);
    l->optimality_mean = e1 / (double)count;
    for (size_t r = 0; r < count; r++) {
        double off = rows->norm[r * n + j] + exp(rows->logvar[r * n + j]) - l->optimality_mean;
        e1_square += off * off;
    }
    l->optimality_sd = sqrt(e1_square / (double)count);

    l->stationarity_mean = l->stationarity_se = (double)NAN;
    if (rows->e0 != NULL && s->options->e0_draws > 0) {
        iv_moments e0 = iv_moments_of(count, rows->e0 + j, n);
        l->stationarity_mean = e0.mean;
        l->stationarity_se = e0.se;
    }
    l->spline_rms = s->spline_rms[j];
    iv_loadings_of(rows, s->scaling, j, sqrt(y.variance), l->loading_mean, l->loading_rms);
    fill_top(s, rows->d, l);
}

static void fill_cosines(iv_summary *s)
{
    iv_analysis *a = s->analysis;
    size_t n = a->n, pairs = 0;
    double sum = 0, most = 0;
    for (size_t j = 0; j < n; j++) {
        for (size_t k = 0; k < n; k++) {
            double c =
                j == k ? 1
                       : s->rows->abs_cosine[s->order[j] * n + s->order[k]] / (double)s->rows->rows;
            a->cosine[j * n + k] = c;
            if (j == k || !a->latents[j].active || !a->latents[k].active) continue;
            a->latents[j].rotation = fmax(a->latents[j].rotation, c);
            sum += c;
            most = fmax(most, c);
            pairs++;
        }
    }
    a->orthogonality.mean_abs_cosine = pairs > 0 ? sum / (double)pairs : 0;
    a->orthogonality.max_abs_cosine = most;
    a->orthogonality.cost_nats = iv_moments_of(s->rows->rows, s->rows->cosine_cost, 1).mean;
}

/* Neighbours among the active whose variances lie within two joint standard errors, or whose mean
 * |cosine| is above 0.1, can rotate into each other. */
static void fill_groups(iv_analysis *a)
{
    int groups = 0;
    iv_latent_report *before = NULL;
    size_t before_rank = 0;
    for (size_t j = 0; j < a->n; j++) a->latents[j].degenerate_group = -1;
    for (size_t j = 0; j < a->n; j++) {
        iv_latent_report *l = &a->latents[j];
        if (!l->active) continue;
        if (before != NULL) {
            double joint = hypot(l->variance_y_se, before->variance_y_se);
            bool close = fabs(before->variance_y - l->variance_y) <= 2 * joint;
            if (close || a->cosine[before_rank * a->n + j] > 0.1) {
                if (before->degenerate_group < 0) before->degenerate_group = groups++;
                l->degenerate_group = before->degenerate_group;
            }
        }
        before = l;
        before_rank = j;
    }
}

/* The beta for which E1, (2/beta) E[sigma^2 M_jj] + E[sigma^2] = 1, holds best over the active
 * latents: least squares in 1/beta. */
static double best_beta(const iv_analysis *a)
{
    double cross = 0, square = 0;
    for (size_t j = 0; j < a->n; j++) {
        const iv_latent_report *l = &a->latents[j];
        if (!l->active) continue;
        double slope = l->norm_mean * a->beta;
        cross += slope * (1 - l->sigma2_mean);
        square += slope * slope;
    }
    return square > 0 && cross > 0 ? square / cross : (double)NAN;
}

isovae_status iv_summarise_latents(iv_summary *s, isovae_error *err)
{
    iv_analysis *a = s->analysis;
    size_t n = s->rows->n, d = s->rows->d;
    double *variance_y = NULL;
    IV_TRY(IV_NEW(a->latents, n, "the table of latents", err));
    IV_TRY(IV_NEW(a->cosine, n * n, "the cosines", err));
    for (size_t j = 0; j < n; j++) {
        IV_TRY(IV_NEW(a->latents[j].loading_mean, d, "the loadings", err));
        IV_TRY(IV_NEW(a->latents[j].loading_rms, d, "the loadings", err));
    }
    IV_TRY(IV_NEW(variance_y, n, "the order of the latents", err));
    for (size_t j = 0; j < n; j++) {
        variance_y[j] = iv_moments_of(s->rows->rows, s->y + j, n).variance;
    }
    isovae_status status = iv_order_latents(n, variance_y, s->order, err);
    iv_free(variance_y);
    if (status != ISOVAE_OK) return status;
    for (size_t j = 0; j < n; j++) {
        iv_latent_report *l = &a->latents[j];
        l->index = s->order[j];
        for (size_t i = 0; i < s->rows->m; i++) l->active |= s->rows->active[i] == l->index;
        fill_latent(s, l->index, l);
    }
    a->active = s->rows->m;
    fill_cosines(s);
    fill_groups(a);
    a->beta_estimate = best_beta(a);
    return ISOVAE_OK;
}
