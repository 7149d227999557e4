/* What a model keeps of its training rows: the active set, isometric coordinates, importance, the
 * order and signs of its latents, and the quantiles of its scores. */
#include "theory/score.h"

#include "base/memory.h"
#include "data/split.h"
#include "theory/statistics.h"
#include "theory/summary.h"

#include <math.h>
#include <string.h>

enum { LOADING_ROWS = 4000, QUANTILES = 1001, QUANTILE_ROWS = 100000 };

/* Rows that the signs of latents are found on: fewer where the loadings of one are large (256
 * latents of pictures of 12,288 values would take a quarter of an hour), as a sign needs few. */
static size_t loading_rows(size_t n, size_t d)
{
    enum { LEAST = 200 };
    const double most = 6.4e8; /* numbers */
    double rows = most / ((double)n * (double)d);
    return rows > LOADING_ROWS ? LOADING_ROWS : rows < LEAST ? LEAST : (size_t)rows;
}

typedef struct found {
    double *kl, *variance_y, *rms, *y, *sign; /* n; y: rows x n */
    unsigned char *active;
    size_t *order;
    iv_spline *splines;
} found;

static void free_found(found *f, size_t n)
{
    for (size_t j = 0; f->splines != NULL && j < n; j++) iv_spline_free(&f->splines[j]);
    iv_free(f->kl);
    iv_free(f->variance_y);
    iv_free(f->rms);
    iv_free(f->y);
    iv_free(f->sign);
    iv_free(f->active);
    iv_free(f->order);
    iv_free(f->splines);
}

static isovae_status make_found(found *f, size_t rows, size_t n, isovae_error *err)
{
    IV_TRY(IV_NEW(f->kl, n, "the calibration", err));
    IV_TRY(IV_NEW(f->variance_y, n, "the calibration", err));
    IV_TRY(IV_NEW(f->rms, n, "the calibration", err));
    IV_TRY(IV_NEW(f->sign, n, "the calibration", err));
    IV_TRY(IV_NEW(f->active, n, "the calibration", err));
    IV_TRY(IV_NEW(f->order, n, "the calibration", err));
    IV_TRY(IV_NEW(f->splines, n, "the calibration", err));
    return IV_NEW(f->y, 2 * rows, "the calibration", err);
}

static isovae_status fit_splines(const iv_rows *rows, found *f, isovae_error *err)
{
    size_t n = rows->n, count = rows->rows;
    double *mu = f->y, *sigma = f->y + count;
    for (size_t j = 0; j < n; j++) {
        for (size_t r = 0; r < count; r++) {
            mu[r] = rows->mu[r * n + j];
            sigma[r] = exp(rows->logvar[r * n + j] / 2);
        }
        IV_TRY(iv_spline_fit(mu, sigma, count, &f->splines[j], err));
        for (size_t r = 0; r < count; r++) mu[r] = iv_spline_y(&f->splines[j], rows->beta, mu[r]);
        f->variance_y[j] = iv_moments_of(count, mu, 1).variance + rows->beta / 2;
    }
    return ISOVAE_OK;
}

/* Signs that make the largest loading of each latent positive, from a part of the rows. */
static isovae_status find_signs(const iv_model *model, const iv_dataset *data, const size_t *rows,
                                size_t n_rows, iv_pool *pool, const char *isa, found *f,
                                isovae_error *err)
{
    size_t count, d = model->d, *some = NULL;
    double *loadings = NULL;
    iv_pass *pass = NULL;
    iv_rows *r = NULL;
    isovae_status status =
        iv_spread_rows(rows, n_rows, loading_rows(model->n, d), &some, &count, err);
    iv_pass_plan plan = {.precision = IV_PRECISION_F32,
                         .isa = isa,
                         .pool = pool,
                         .rows = count,
                         .jacobian = true,
                         .loadings = true};
    if (status == ISOVAE_OK) status = IV_NEW(loadings, 2 * d, "the loadings", err);
    if (status == ISOVAE_OK) status = iv_pass_new(model, data, &plan, &pass, err);
    if (status == ISOVAE_OK) status = iv_rows_new(pass, some, count, &r, err);
    if (status == ISOVAE_OK) status = iv_rows_set_active(r, f->active, err);
    if (status == ISOVAE_OK) {
        status = iv_rows_evaluate(r, pass, &(iv_rows_plan){.stage = "calibration"}, err);
    }
    for (size_t j = 0; j < model->n && status == ISOVAE_OK; j++) {
        size_t largest = 0;
        iv_loadings_of(r, pass->scaling, j, 1, loadings, loadings + d);
        /* Compared in metric units, as the report does. */
        for (size_t i = 0; i < d; i++) {
            loadings[i] *= sqrt(pass->weight[i]) / pass->scaling->scale[i];
            if (fabs(loadings[i]) > fabs(loadings[largest])) largest = i;
        }
        f->sign[j] = loadings[largest] < 0 ? -1 : 1;
    }
    iv_rows_free(r);
    iv_pass_free(pass);
    iv_free(some);
    iv_free(loadings);
    return status;
}

/* Moves what was found into the model, still in the order of its latents. */
static void store(iv_model *model, found *f)
{
    for (size_t j = 0; j < model->n; j++) {
        model->active[j] = f->active[j];
        model->kl_mean[j] = f->kl[j];
        model->variance_y[j] = f->variance_y[j];
        iv_spline_free(&model->splines[j]);
        model->splines[j] = f->splines[j];
        f->splines[j] = (iv_spline){0};
    }
}

/* By importance, the largest loading of each positive. A network whose latents cannot be moved
 * keeps its order. */
static isovae_status sort_latents(iv_model *model, found *f, isovae_error *err)
{
    isovae_error ignored;
    double *sign = f->kl; /* in the new order; kl is in the model */
    IV_TRY(iv_order_latents(model->n, f->variance_y, f->order, err));
    for (size_t j = 0; j < model->n; j++) sign[j] = f->sign[f->order[j]];
    isovae_status status = iv_model_permute(model, f->order, sign, &ignored);
    if (status == ISOVAE_ERR_UNSUPPORTED) return ISOVAE_OK;
    if (status != ISOVAE_OK && err != NULL) *err = ignored;
    return status;
}

static isovae_status find_all(iv_model *model, const iv_dataset *data, const size_t *rows,
                              size_t n_rows, iv_pool *pool, const char *isa, isovae_error *err)
{
    size_t n = model->n;
    found f = {0};
    iv_pass *pass = NULL;
    iv_rows *r = NULL;
    iv_pass_plan plan = {.precision = IV_PRECISION_F32, .isa = isa, .pool = pool, .rows = n_rows};
    isovae_status status = make_found(&f, n_rows, n, err);
    if (status == ISOVAE_OK) status = iv_pass_new(model, data, &plan, &pass, err);
    if (status == ISOVAE_OK) status = iv_rows_new(pass, rows, n_rows, &r, err);
    if (status == ISOVAE_OK) {
        iv_rows_mean_kl(r, f.kl);
        for (size_t j = 0; j < n; j++) f.active[j] = f.kl[j] > 0.05;
        status = fit_splines(r, &f, err);
    }
    iv_rows_free(r);
    iv_pass_free(pass);
    /* Signs cost a pass with the Jacobian: not where no latent will be turned. */
    if (status == ISOVAE_OK && !model->own_order)
        status = find_signs(model, data, rows, n_rows, pool, isa, &f, err);
    if (status == ISOVAE_OK) store(model, &f);
    if (status == ISOVAE_OK && !model->own_order) status = sort_latents(model, &f, err);
    free_found(&f, n);
    return status;
}

/* Scores as at most QUANTILES ascending numbers; sorts `values`. */
static isovae_status store_quantiles(iv_model *model, double *values, size_t count,
                                     isovae_error *err)
{
    size_t kept = count < QUANTILES ? count : QUANTILES;
    double *quantiles;
    IV_TRY(IV_NEW(quantiles, kept, "the scores", err));
    iv_sort_doubles(count, values);
    for (size_t i = 0; i < kept; i++) {
        double at = kept > 1 ? (double)i / (double)(kept - 1) : 0.5;
        quantiles[i] = iv_quantile_sorted(count, values, at);
    }
    iv_free(model->quantiles);
    model->quantiles = quantiles;
    model->n_quantiles = kept;
    return ISOVAE_OK;
}

/* At most `most` of the rows, scored into new memory. */
static isovae_status scores_of(const iv_model *model, const iv_dataset *data, const size_t *rows,
                               size_t n_rows, size_t most, iv_pool *pool, const char *isa,
                               double **values, size_t *count, isovae_error *err)
{
    size_t *some = NULL;
    iv_score *scores = NULL;
    *values = NULL;
    isovae_status status = iv_spread_rows(rows, n_rows, most, &some, count, err);
    if (status == ISOVAE_OK) status = IV_NEW(scores, *count, "the scores", err);
    if (status == ISOVAE_OK) status = IV_NEW(*values, *count, "the scores", err);
    if (status == ISOVAE_OK) {
        status = iv_score_rows(model, data, some, *count, IV_ESTIMATE_ELBO, pool, isa, NULL, scores,
                               err);
    }
    for (size_t i = 0; i < *count && status == ISOVAE_OK; i++) (*values)[i] = scores[i].log_density;
    iv_free(some);
    iv_free(scores);
    return status;
}

isovae_status iv_calibrate_scores(iv_model *model, const iv_dataset *data, const size_t *rows,
                                  size_t n_rows, iv_pool *pool, const char *isa, isovae_error *err)
{
    double *values = NULL;
    size_t count = 0;
    isovae_status status =
        scores_of(model, data, rows, n_rows, QUANTILE_ROWS, pool, isa, &values, &count, err);
    if (status == ISOVAE_OK) status = store_quantiles(model, values, count, err);
    iv_free(values);
    return status;
}

/* The scores that member k gives to the rows that it held out, behind those in `values`. */
static isovae_status add_fold(const iv_model *model, const iv_dataset *data, size_t k,
                              iv_pool *pool, const char *isa, double **values, size_t *count,
                              isovae_error *err)
{
    const iv_model *member = iv_model_member(model, k);
    iv_model alone = *member; /* a view: member 0 without the others */
    iv_split split;
    double *scores = NULL, *all = NULL;
    size_t found = 0;
    alone.n_more = 0;
    IV_TRY(iv_split_fold(data, member->validation_fraction, member->member, member->seed, &split,
                         err));
    isovae_status status =
        scores_of(&alone, data, split.validation, split.n_validation,
                  QUANTILE_ROWS / iv_model_members(model), pool, isa, &scores, &found, err);
    iv_split_free(&split);
    if (status == ISOVAE_OK) status = IV_NEW(all, *count + found, "the scores", err);
    if (status == ISOVAE_OK) {
        if (*count > 0) memcpy(all, *values, *count * sizeof *all);
        if (found > 0) memcpy(all + *count, scores, found * sizeof *all);
        iv_free(*values);
        *values = all;
        *count += found;
    }
    iv_free(scores);
    return status;
}

isovae_status iv_calibrate_folds(iv_model *model, const iv_dataset *data, iv_pool *pool,
                                 const char *isa, isovae_error *err)
{
    double *values = NULL;
    size_t count = 0;
    isovae_status status = ISOVAE_OK;
    for (size_t k = 0; k < iv_model_members(model) && status == ISOVAE_OK; k++) {
        status = add_fold(model, data, k, pool, isa, &values, &count, err);
    }
    if (status == ISOVAE_OK) status = store_quantiles(model, values, count, err);
    iv_free(values);
    return status;
}

isovae_status iv_calibrate_latents(iv_model *model, const iv_dataset *data, const size_t *rows,
                                   size_t n_rows, iv_pool *pool, const char *isa, isovae_error *err)
{
    if (n_rows == 0) {
        return iv_fail(err, ISOVAE_ERR_DATA, "no training row to calibrate the model on");
    }
    return find_all(model, data, rows, n_rows, pool, isa, err);
}

isovae_status iv_calibrate(iv_model *model, const iv_dataset *data, const size_t *rows,
                           size_t n_rows, const size_t *held_out, size_t n_held_out, iv_pool *pool,
                           const char *isa, isovae_error *err)
{
    IV_TRY(iv_calibrate_latents(model, data, rows, n_rows, pool, isa, err));
    if (n_held_out > 0) {
        return iv_calibrate_scores(model, data, held_out, n_held_out, pool, isa, err);
    }
    return iv_calibrate_scores(model, data, rows, n_rows, pool, isa, err);
}
