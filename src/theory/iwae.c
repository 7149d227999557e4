/* The importance-weighted estimate of log p(x): log of the mean over K draws from the posterior of
 *
 *   w = p(x | z) N(z; 0, I) / N(z; mu, sigma^2),  log p(x | z) = -D(x, Dec(z))/beta + normaliser
 *
 * and its effective sample size (sum w)^2 / sum w^2. The check on E6; like E6 it is no absolute
 * density where the metric has no normaliser. */
#include "theory/rows.h"

#include "base/memory.h"

#include <math.h>

typedef struct work {
    const iv_rows *rows;
    const iv_draws *draws;
    iv_iwae *iwae;
    size_t *index;       /* of the chosen rows, in the dataset */
    double *mu, *logvar; /* of the chosen rows */
    double *weights;     /* chosen rows x draws: log w without the normaliser */
    double normaliser;
} work;

/* log N(z; 0, I) - log N(z; mu, sigma^2) */
static double log_prior_ratio(size_t n, const double *mu, const double *logvar, const double *eps)
{
    double sum = 0;
    for (size_t j = 0; j < n; j++) {
        double z = mu[j] + exp(logvar[j] / 2) * eps[j];
        sum += 0.5 * (eps[j] * eps[j] - z * z + logvar[j]);
    }
    return sum;
}

static void finish(const work *w, size_t place)
{
    const double *weights = w->weights + place * w->iwae->draws;
    double most = weights[0], sum = 0, squares = 0;
    for (size_t k = 1; k < w->iwae->draws; k++) most = fmax(most, weights[k]);
    for (size_t k = 0; k < w->iwae->draws; k++) {
        double v = exp(weights[k] - most);
        sum += v;
        squares += v * v;
    }
    double dropped = w->rows->dropped != NULL ? w->rows->dropped[w->iwae->place[place]] : 0;
    w->iwae->log_p[place] = most + log(sum / (double)w->iwae->draws) + w->normaliser - dropped;
    w->iwae->ess[place] = sum * sum / squares;
}

static void iwae_chunk(void *user, iv_lane *lane, size_t first, size_t count)
{
    const work *w = user;
    size_t n = w->rows->n, draws = w->iwae->draws;
    iv_lane_load(lane, w->index + first, count);
    iv_lane_posterior(lane, count, w->mu + first * n, w->logvar + first * n);
    for (size_t draw = 0; draw < draws; draw++) {
        for (size_t r = 0; r < count; r++) {
            w->draws->call(w->draws->user, w->index[first + r], draw, n, lane->eps_host + r * n);
        }
        iv_lane_sample(lane, count);
        iv_lane_distance(lane, count, lane->row);
        for (size_t r = 0; r < count; r++) {
            size_t place = first + r;
            w->weights[place * draws + draw] =
                -lane->row[r] / w->rows->beta + log_prior_ratio(n, w->mu + place * n,
                                                                w->logvar + place * n,
                                                                lane->eps_host + r * n);
        }
    }
    for (size_t r = 0; r < count; r++) finish(w, first + r);
}

static isovae_status make_room(work *w, size_t rows, size_t draws, isovae_error *err)
{
    size_t n = w->rows->n;
    IV_TRY(IV_NEW(w->iwae, 1, "the importance-weighted estimate", err));
    *w->iwae = (iv_iwae){.rows = rows, .draws = draws};
    IV_TRY(IV_NEW(w->iwae->place, rows, "the importance-weighted estimate", err));
    IV_TRY(IV_NEW(w->iwae->log_p, rows, "the importance-weighted estimate", err));
    IV_TRY(IV_NEW(w->iwae->ess, rows, "the importance-weighted estimate", err));
    IV_TRY(IV_NEW(w->index, rows, "the importance-weighted estimate", err));
    IV_TRY(IV_NEW(w->mu, rows * n, "the importance-weighted estimate", err));
    IV_TRY(IV_NEW(w->logvar, rows * n, "the importance-weighted estimate", err));
    return IV_NEW(w->weights, rows * draws, "the importance-weighted estimate", err);
}

isovae_status iv_iwae_new(const iv_rows *rows, iv_pass *pass, const iv_draws *draws, size_t n_draws,
                          size_t n_rows, iv_iwae **out, isovae_error *err)
{
    *out = NULL;
    size_t n = rows->n;
    if (n_rows > rows->rows) n_rows = rows->rows;
    if (n_draws == 0 || n_rows == 0) return ISOVAE_OK;
    work w = {
        .rows = rows, .draws = draws, .normaliser = iv_e6_normaliser(pass->model, pass->scaling)};
    isovae_status status = make_room(&w, n_rows, n_draws, err);
    if (status == ISOVAE_OK) {
        for (size_t i = 0; i < n_rows; i++) {
            size_t place = i * rows->rows / n_rows; /* spread over the rows */
            w.iwae->place[i] = place;
            w.index[i] = rows->index[place];
            for (size_t j = 0; j < n; j++) {
                w.mu[i * n + j] = rows->mu[place * n + j];
                w.logvar[i * n + j] = rows->logvar[place * n + j];
            }
        }
        status = iv_pass_run(pass, "importance weighting", n_rows, iwae_chunk, NULL, &w, err);
    }
    iv_free(w.index);
    iv_free(w.mu);
    iv_free(w.logvar);
    iv_free(w.weights);
    if (status != ISOVAE_OK) {
        iv_iwae_free(w.iwae);
        return status;
    }
    *out = w.iwae;
    return ISOVAE_OK;
}

void iv_iwae_free(iv_iwae *iwae)
{
    if (iwae == NULL) return;
    iv_free(iwae->place);
    iv_free(iwae->log_p);
    iv_free(iwae->ess);
    iv_free(iwae);
}
