/* Distortion and rate (E7, ELBO), the density estimates, PCA beside the model. */
#include "theory/summary.h"

#include "base/memory.h"
#include "linalg/linalg.h"
#include "theory/statistics.h"

#include <math.h>
#include <string.h>

enum { CLIP_NATS = 20 };

static double mean_of(size_t count, const double *values)
{
    return values != NULL ? iv_moments_of(count, values, 1).mean : (double)NAN;
}

/* A row's bound, by the sampled distortion: for sse -D/beta - KL + normaliser, for bce minus
 * (cross-entropy + KL), else none. */
static double row_elbo(const iv_rows *rows, const iv_model *model, double normaliser, size_t r)
{
    double kl = 0;
    for (size_t j = 0; j < rows->n; j++) {
        kl += iv_kl(rows->mu[r * rows->n + j], rows->logvar[r * rows->n + j]);
    }
    double scale = model->metric.loss == IV_LOSS_BCE ? 1 : model->beta;
    double dropped = rows->dropped != NULL ? rows->dropped[r] : 0;
    return -rows->total[r] / scale - kl + normaliser - dropped;
}

static void elbo_of(const iv_rows *rows, const iv_model *model, double normaliser, double *mean,
                    double *se)
{
    double sum = 0, squares = 0, count = (double)rows->rows;
    for (size_t r = 0; r < rows->rows; r++) sum += row_elbo(rows, model, normaliser, r);
    *mean = sum / count;
    for (size_t r = 0; r < rows->rows; r++) {
        double off = row_elbo(rows, model, normaliser, r) - *mean;
        squares += off * off;
    }
    *se = sqrt(squares / count / count);
}

/* The bound on the training rows, with its standard error: measured where they are at hand, else
 * from the loss that training left in the model. */
static double training_elbo(const iv_summary *s, double normaliser, double *se)
{
    double mean = (double)NAN;
    *se = (double)NAN;
    if (s->train != NULL && s->train->total != NULL) {
        elbo_of(s->train, s->model, normaliser, &mean, se);
    } else if (!s->analysis->data_is_training_set) {
        if (iv_loss_absolute(s->model->metric.loss)) {
            mean = -s->model->train_loss / s->model->beta + normaliser;
        } else if (fabs(s->model->beta - 1) < 1e-12) {
            mean = -s->model->train_loss;
        }
    }
    return mean;
}

/* The gap with no row counted for more than CLIP_NATS below the training mean. A few rows far off
 * make the plain gap larger and its standard error larger still: this one, which is never the
 * larger of the two, is the one to test. */
static isovae_status clipped_gap(iv_summary *s, double normaliser, double train, double train_se,
                                 isovae_error *err)
{
    const iv_rows *rows = s->rows;
    double *below = NULL;
    IV_TRY(IV_NEW(below, rows->rows, "the validation gap", err));
    for (size_t r = 0; r < rows->rows; r++) {
        below[r] = fmin(train - row_elbo(rows, s->model, normaliser, r), CLIP_NATS);
    }
    iv_moments m = iv_moments_of(rows->rows, below, 1);
    s->clipped_gap = m.mean;
    if (isnan(train_se)) { /* the training rows are not at hand: spread as the bulk of these are */
        iv_sort_doubles(rows->rows, below);
        double bulk = (iv_quantile_sorted(rows->rows, below, 0.75) -
                       iv_quantile_sorted(rows->rows, below, 0.25)) /
                      1.349;
        size_t measured = s->model->train_rows < 10000 ? s->model->train_rows : 10000;
        train_se = measured > 0 ? bulk / sqrt((double)measured) : 0;
    }
    s->clipped_gap_se = hypot(m.se, train_se);
    iv_free(below);
    return ISOVAE_OK;
}

/* What a better encoder would gain on these rows: a Newton step in each active mu_j gains
 * 1/2 shift_j^2, one in logvar_j 1/4 (E0_j - 1)^2. */
static double encoder_gap(const iv_rows *rows)
{
    double sum = 0;
    for (size_t r = 0; r < rows->rows; r++) {
        double gain = 0;
        for (size_t i = 0; i < rows->m; i++) {
            size_t at = r * rows->n + rows->active[i];
            double off = rows->e0[at] - 1;
            gain += rows->shift[at] * rows->shift[at] / 2 + off * off / 4;
        }
        sum += fmin(gain, CLIP_NATS);
    }
    return sum / (double)rows->rows;
}

isovae_status iv_summarise_distortion(iv_summary *s, isovae_error *err)
{
    iv_analysis *a = s->analysis;
    const iv_rows *rows = s->rows;
    double half_beta = a->beta / 2, predicted = 0, rate = 0, sum = 0;
    a->distortion.total = mean_of(rows->rows, rows->total);
    a->distortion.coding = mean_of(rows->rows, rows->coding);
    if (s->options->elbo_draws == 0) a->distortion.total = a->distortion.coding = (double)NAN;
    a->distortion.transform = mean_of(rows->rows, rows->transform);
    a->distortion.coding_jacobian = mean_of(rows->rows, rows->coding_jacobian);
    for (size_t j = 0; j < a->n; j++) {
        predicted += half_beta * (1 - a->latents[j].sigma2_mean);
        rate += a->latents[j].kl;
        if (a->latents[j].active) sum += a->latents[j].variance_y;
    }
    a->distortion.coding_predicted = predicted;
    a->distortion.residual = (double)NAN;
    a->distortion.normaliser = s->metric->constant;
    if (!isnan(a->distortion.total)) {
        double distance = a->distortion.total - a->distortion.normaliser;
        a->distortion.residual = fmax(distance - (double)a->active * half_beta, 0);
    }
    a->rate_nats = rate;
    double whole = sum + (isnan(a->distortion.residual) ? 0 : a->distortion.residual);
    for (size_t j = 0; j < a->n; j++) {
        iv_latent_report *l = &a->latents[j];
        l->share = l->active && whole > 0 ? l->variance_y / whole : 0;
    }

    a->encoder_gap_nats = s->clipped_gap = s->clipped_gap_se = (double)NAN;
    if (rows->e0 != NULL && s->options->e0_draws > 0) a->encoder_gap_nats = encoder_gap(rows);
    a->elbo_nats = a->elbo_se = a->train_elbo_nats = a->validation_gap_nats = (double)NAN;
    iv_loss loss = s->model->metric.loss;
    if (s->options->elbo_draws == 0 || loss == IV_LOSS_WEIGHTED || loss == IV_LOSS_SSIM) {
        return ISOVAE_OK;
    }
    double normaliser = iv_e6_normaliser(s->model, s->scaling), train_se;
    elbo_of(rows, s->model, normaliser, &a->elbo_nats, &a->elbo_se);
    a->train_elbo_nats = training_elbo(s, normaliser, &train_se);
    a->validation_gap_nats = a->train_elbo_nats - a->elbo_nats;
    if (!isfinite(a->train_elbo_nats)) return ISOVAE_OK;
    return clipped_gap(s, normaliser, a->train_elbo_nats, train_se, err);
}

static void fill_iwae(iv_analysis *a, const iv_rows *rows, const iv_iwae *iwae)
{
    double sum = 0, squares = 0, ess = 0, count = (double)iwae->rows;
    const double *estimate = rows->estimate[IV_ESTIMATE_ELBO];
    for (size_t i = 0; i < iwae->rows; i++) {
        sum += estimate[iwae->place[i]] - iwae->log_p[i];
        ess += iwae->ess[i];
    }
    for (size_t i = 0; i < iwae->rows; i++) {
        double off = estimate[iwae->place[i]] - iwae->log_p[i] - sum / count;
        squares += off * off;
    }
    a->density.iwae.k = iwae->draws;
    a->density.iwae.rows = iwae->rows;
    a->density.iwae.mean_difference = sum / count;
    a->density.iwae.sd = sqrt(squares / count);
    a->density.iwae.ess = ess / count;
}

isovae_status iv_summarise_density(iv_summary *s, const iv_iwae *iwae, isovae_error *err)
{
    static const double at[5] = {0.01, 0.25, 0.5, 0.75, 0.99};
    iv_analysis *a = s->analysis;
    size_t count = s->rows->rows;
    double *sorted = NULL;
    for (size_t e = 0; e < IV_ESTIMATES; e++) {
        if (e != IV_ESTIMATE_ELBO && a->active == 0)
            continue; /* no manifold to have a density on */
        IV_TRY(IV_NEW(a->density.all[e], count, "the densities", err));
        memcpy(a->density.all[e], s->rows->estimate[e], count * sizeof(double));
    }
    a->density.estimate = IV_ESTIMATE_ELBO;
    a->density.values = a->density.all[IV_ESTIMATE_ELBO];
    a->density.dimension = a->d;
    a->density.absolute = iv_loss_absolute(s->model->metric.loss);
    iv_moments m = iv_moments_of(count, a->density.values, 1);
    a->density.mean = m.mean;
    a->density.sd = sqrt(m.variance);
    IV_TRY(IV_NEW(sorted, count, "the densities", err));
    memcpy(sorted, a->density.values, count * sizeof *sorted);
    iv_sort_doubles(count, sorted);
    for (size_t q = 0; q < 5; q++)
        a->density.quantiles[q] = iv_quantile_sorted(count, sorted, at[q]);
    iv_free(sorted);
    if (iwae != NULL) fill_iwae(a, s->rows, iwae);
    return ISOVAE_OK;
}

/* A million rows say no more about eigenvalues than what fits into a quarter of a gigabyte. */
static size_t pca_rows(size_t rows, size_t d)
{
    size_t most = ((size_t)1 << 26) / d;
    if (d > 2000 && most > 2000) most = 2000;
    if (most < 100) most = 100;
    return rows < most ? rows : most;
}

isovae_status iv_summarise_pca(iv_summary *s, isovae_error *err)
{
    enum { MOST = 256 };
    iv_analysis *a = s->analysis;
    size_t d = a->d, rows = pca_rows(s->rows->rows, d);
    size_t held = d < rows ? d : rows;
    if (held > MOST) held = MOST;
    float *x = NULL;
    size_t *index = NULL;
    double total = 0;
    iv_loss loss = s->model->metric.loss;
    bool comparable = loss == IV_LOSS_SSE || loss == IV_LOSS_NOISE; /* D is quadratic, G constant */
    IV_TRY(IV_NEW(a->pca.eigenvalues, held, "PCA's eigenvalues", err));
    isovae_status status = IV_NEW(x, rows * d, "the rows for PCA", err);
    if (status == ISOVAE_OK) status = IV_NEW(index, rows, "the rows for PCA", err);
    if (status == ISOVAE_OK) {
        for (size_t i = 0; i < rows; i++) index[i] = s->rows->index[i * s->rows->rows / rows];
        iv_scaling_rows(s->scaling, s->data, index, rows, x);
        status = iv_pca(x, rows, d, comparable ? s->weight : NULL, held, s->options->seed,
                        a->pca.eigenvalues, NULL, &total, err);
    }
    iv_free(x);
    iv_free(index);
    if (status != ISOVAE_OK) return status;
    a->pca.n = held;
    a->pca.comparable = comparable;
    a->pca.residual = total;
    for (size_t i = 0; i < held; i++) {
        if (i < a->active) a->pca.residual -= a->pca.eigenvalues[i];
        if (comparable && a->pca.eigenvalues[i] > 1.105 * a->beta / 2) a->pca.active_predicted++;
    }
    a->pca.residual = fmax(a->pca.residual, 0);
    return ISOVAE_OK;
}
