/* Stationarity in sigma (E0), and the mean distances of the sampled reconstructions.
 *
 *   E0_j = sigma_j^2 + (sigma_j/beta) E[ eps_j g_j(z) ],  g = dD/dz at z = mu + sigma eps,
 *
 * D being D(x, .) for a model of the conventional form and D(xhat, .) for one of the decomposed
 * form. With M = J^T G J as a control variate (its expectation is known) the same mean has a
 * smaller spread:
 *
 *   E0_j = sigma_j^2 + (sigma_j/beta) ( 2 M_jj sigma_j
 *            + E[ eps_j ( g_j(z) - g_j(mu) - 2 sum_k M_jk sigma_k eps_k ) ] )
 *
 * The same passes give stationarity in mu: shift_j = sigma_j (mu_j + E[dD/dmu_j]/beta) is how far,
 * in posterior standard deviations, a Newton step would move mu_j (the curvature there is
 * 1/sigma_j^2), and 1/2 shift_j^2 the nats that it would gain. Antithetic draws take most of the
 * noise out of it. */
#include "theory/rows.h"

#include <math.h>
#include <string.h>

static bool is_decomposed(const iv_pass *pass)
{
    return pass->model->objective == IV_OBJECTIVE_DECOMPOSED;
}

/* dD/dz at the decoder's current z, count x n doubles. */
static void gradient_in_z(iv_lane *lane, size_t count, double *out)
{
    iv_pass *pass = lane->pass;
    const iv_kernels *k = pass->k;
    const iv_metric *metric = pass->eval->metric;
    iv_exec *decoder = pass->eval->decoder;
    size_t n = pass->n, d = pass->d;
    void *g = iv_at(k, iv_exec_gradient(decoder, pass->model->out), lane->slot * d);
    if (is_decomposed(pass)) {
        metric->kind->pair_gradient(metric, lane->index, count, lane->xhat, iv_lane_out(lane), 1,
                                    lane->sink, g);
    } else {
        metric->kind->gradient(metric, lane->index, count, iv_lane_x(lane), iv_lane_out(lane), 1,
                               g);
    }
    iv_exec_reverse(decoder, pass->eval->params, lane->slot, count, true, lane->index);
    size_t input = pass->model->decoder->inputs[0];
    k->download(out, iv_at(k, iv_exec_gradient(decoder, input), lane->slot * n), count * n);
}

/* Adds eps_j g_j(z), and the same less the control variate, to a row's sums. */
static void add_row(size_t n, const double *gram, const double *logvar, const double *eps,
                    const double *g, const double *g_mu, double *plain, double *controlled)
{
    double scaled[64];
    size_t held = n <= 64 ? n : 0;
    for (size_t k = 0; k < held; k++) scaled[k] = exp(logvar[k] / 2) * eps[k];
    for (size_t j = 0; j < n; j++) {
        double linear = 0;
        for (size_t k = 0; k < n; k++) {
            linear += gram[j * n + k] * (held > 0 ? scaled[k] : exp(logvar[k] / 2) * eps[k]);
        }
        plain[j] += eps[j] * g[j];
        controlled[j] += eps[j] * (g[j] - g_mu[j] - 2 * linear);
    }
}

/* The decomposed form sees mu through Dec(mu), too: dD(x, xhat)/dmu and, through the first argument
 * of D(xhat, xbreve), what the draws left in the sink. */
static void add_gradient_at_mu(iv_lane *lane, const double *mu, size_t count, double draws,
                               double *out)
{
    iv_pass *pass = lane->pass;
    const iv_kernels *k = pass->k;
    iv_exec *decoder = pass->eval->decoder;
    size_t n = pass->n, d = pass->d;
    void *g = iv_at(k, iv_exec_gradient(decoder, pass->model->out), lane->slot * d);
    iv_lane_decode(lane, count, mu);
    pass->eval->metric->kind->gradient(pass->eval->metric, lane->index, count, iv_lane_x(lane),
                                       iv_lane_out(lane), 1, g);
    k->axpy(count * d, 1 / draws, lane->sink, g);
    iv_exec_reverse(decoder, pass->eval->params, lane->slot, count, true, lane->index);
    k->download(
        lane->gz,
        iv_at(k, iv_exec_gradient(decoder, pass->model->decoder->inputs[0]), lane->slot * n),
        count * n);
    for (size_t i = 0; i < count * n; i++) out[i] += draws * lane->gz[i];
}

static void one_draw(iv_lane *lane, const iv_draw_work *work, size_t first, size_t count,
                     size_t draw)
{
    iv_rows *rows = work->rows;
    const iv_rows_plan *plan = work->plan;
    const iv_metric *metric = lane->pass->eval->metric;
    size_t n = rows->n;
    for (size_t r = 0; r < count; r++) {
        plan->draws->call(plan->draws->user, rows->index[first + r], draw, n,
                          lane->eps_host + r * n);
    }
    iv_lane_sample(lane, count);
    if (draw < plan->mean_draws) {
        iv_lane_distance(lane, count, lane->row);
        for (size_t r = 0; r < count; r++) rows->total[first + r] += lane->row[r];
        metric->kind->pair_value(metric, lane->index, count, lane->xhat, iv_lane_out(lane),
                                 lane->row);
        for (size_t r = 0; r < count; r++) rows->coding[first + r] += fmin(lane->row[r], 1e300);
        if (lane->residual != NULL) {
            lane->pass->k->residual_columns(count, lane->pass->d, iv_lane_x(lane),
                                            iv_lane_out(lane), lane->pass->d, lane->residual);
        }
    }
    if (draw < plan->e0_draws) {
        gradient_in_z(lane, count, lane->gz);
        for (size_t i = 0; i < count * n; i++) rows->shift[first * n + i] += lane->gz[i];
        for (size_t r = 0; r < count; r++) {
            add_row(n, lane->gram + r * n * n, rows->logvar + (first + r) * n,
                    lane->eps_host + r * n, lane->gz + r * n, lane->g_mu + r * n,
                    rows->e0_plain + (first + r) * n, rows->e0 + (first + r) * n);
        }
    }
}

/* From sums over draws to E0. */
static void finish_row(const iv_rows *rows, size_t place, const double *gram, double draws)
{
    size_t n = rows->n;
    for (size_t j = 0; j < n; j++) {
        double sigma = exp(rows->logvar[place * n + j] / 2), square = sigma * sigma;
        double *plain = rows->e0_plain + place * n + j, *controlled = rows->e0 + place * n + j;
        *plain = square + sigma / rows->beta * (*plain / draws);
        *controlled =
            square + sigma / rows->beta * (2 * gram[j * n + j] * sigma + *controlled / draws);
        double *shift = rows->shift + place * n + j;
        *shift = sigma * (rows->mu[place * n + j] + *shift / draws / rows->beta);
    }
}

void iv_lane_draws(iv_lane *lane, const iv_draw_work *work, size_t first, size_t count)
{
    iv_rows *rows = work->rows;
    const iv_rows_plan *plan = work->plan;
    size_t n = rows->n;
    if (is_decomposed(lane->pass)) {
        memset(lane->g_mu, 0, count * n * sizeof *lane->g_mu); /* D(xhat, .) is least at xhat */
        lane->pass->k->fill(count * lane->pass->d, 0, lane->sink);
    } else {
        gradient_in_z(lane, count, lane->g_mu); /* the decoder stands at mu */
    }
    iv_lane_posterior(lane, count, rows->mu + first * n, rows->logvar + first * n);
    size_t draws = plan->e0_draws > plan->mean_draws ? plan->e0_draws : plan->mean_draws;
    for (size_t draw = 0; draw < draws; draw++) one_draw(lane, work, first, count, draw);
    if (is_decomposed(lane->pass) && plan->e0_draws > 0) {
        add_gradient_at_mu(lane, rows->mu + first * n, count, (double)plan->e0_draws,
                           rows->shift + first * n);
    }
    for (size_t r = 0; r < count; r++) {
        if (plan->mean_draws > 0) {
            rows->total[first + r] /= (double)plan->mean_draws;
            rows->coding[first + r] /= (double)plan->mean_draws;
        }
        if (plan->e0_draws > 0) {
            finish_row(rows, first + r, lane->gram + r * n * n, (double)plan->e0_draws);
        }
    }
}
