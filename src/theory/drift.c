#include "theory/drift.h"

#include "base/memory.h"
#include "data/split.h"
#include "theory/rows.h"
#include "theory/statistics.h"
#include "theory/summary.h"

#include <math.h>
#include <string.h>

enum { MOST_ROWS = 50000, LEAST_FEATURE_ROWS = 2000 };
static const double small_part = 0.1;    /* of the largest: parts below are not told */
static const double feature_cells = 4e7; /* of each side: pictures are looked at on fewer rows */

const char *iv_drift_what_name(iv_drift_what what)
{
    static const char *const names[] = {"latent", "residual", "score", "feature", "unusable rows"};
    return names[what];
}

/* What the model says of one side. */
typedef struct seen {
    const iv_model *model;
    const iv_dataset *data;
    iv_pass *pass;
    iv_rows *rows;
    double *y;        /* rows x n */
    double *residual; /* d: mean of weight (x - xhat)^2 in network units, per feature */
    double *lanes;    /* n_lanes x d: sums of the current chunks */
    float *x;         /* n_lanes x d: a row */
    double *xhat;     /* n_lanes x chunk x d */
} seen;

/* ---- rows ---- */

/* Rows for the model. A model is kinder to rows that it was trained on, so of its training data
 * only the held-out ones tell what others are to be compared with. */
static isovae_status model_rows(const iv_model *model, const iv_dataset *data, size_t most,
                                iv_drift_side *side, size_t **rows, size_t *n, isovae_error *err)
{
    bool by_column = model->split_by_column && data->group != NULL;
    bool by_share = !model->split_by_column && model->validation_fraction > 0;
    side->trained_on = model->data_hash == data->hash;
    side->held_out = side->trained_on && (by_column || by_share) && model->validation_rows > 0;
    if (side->held_out) {
        iv_split split;
        IV_TRY(iv_split_rows(data, by_column ? 0 : model->validation_fraction, model->seed, &split,
                             err));
        isovae_status status =
            iv_spread_rows(split.validation, split.n_validation, most, rows, n, err);
        iv_split_free(&split);
        IV_TRY(status);
        side->trained_on = false;
        return ISOVAE_OK;
    }
    size_t *all = NULL, n_all = 0;
    isovae_status status = iv_good_rows(data, &all, &n_all, err);
    if (status == ISOVAE_OK) status = iv_spread_rows(all, n_all, most, rows, n, err);
    iv_free(all);
    return status;
}

static isovae_status check_rows(const iv_dataset *data, size_t n, bool held_out, isovae_error *err)
{
    if (n >= IV_DRIFT_LEAST_ROWS) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_DATA, "%s: %zu usable %srow%s: a comparison needs %d or more",
                   data->source != NULL ? data->source : "data", n, held_out ? "held-out " : "",
                   n == 1 ? "" : "s", (int)IV_DRIFT_LEAST_ROWS);
}

/* ---- the model's view ---- */

/* Sums of the squared error of each feature over the rows of a chunk. */
static void residual_chunk(void *user, iv_lane *lane, size_t first, size_t count)
{
    seen *s = user;
    const iv_pass *pass = lane->pass;
    size_t d = pass->d, n = pass->n;
    double *sums = s->lanes + lane->index * d, *xhat = s->xhat + lane->index * pass->chunk * d;
    float *x = s->x + lane->index * d;
    iv_lane_decode(lane, count, s->rows->mu + first * n);
    iv_lane_data(lane, count, xhat);
    memset(sums, 0, d * sizeof *sums);
    for (size_t r = 0; r < count; r++) {
        iv_dataset_row(pass->data, s->rows->index[first + r], x);
        for (size_t i = 0; i < d; i++) {
            double off = ((double)x[i] - xhat[r * d + i]) / pass->scaling->scale[i];
            sums[i] += pass->scaling->weight[i] * off * off;
        }
    }
}

static void merge_residual(void *user, iv_lane *lane)
{
    seen *s = user;
    size_t d = lane->pass->d;
    for (size_t i = 0; i < d; i++) s->residual[i] += s->lanes[lane->index * d + i];
}

static isovae_status look(seen *s, const size_t *index, size_t n_rows, bool loadings,
                          const iv_drift_options *options, isovae_error *err)
{
    const iv_model *model = s->model;
    iv_pass_plan plan = {.precision = IV_PRECISION_F32,
                         .isa = options->isa,
                         .pool = options->pool,
                         .progress = options->progress,
                         .rows = n_rows,
                         .jacobian = true,
                         .loadings = loadings};
    double *rms = NULL;
    IV_TRY(iv_pass_new(model, s->data, &plan, &s->pass, err));
    size_t d = s->pass->d, lanes = s->pass->n_lanes;
    IV_TRY(iv_rows_new(s->pass, index, n_rows, &s->rows, err));
    IV_TRY(iv_rows_set_active(s->rows, model->active, err));
    IV_TRY(iv_rows_evaluate(s->rows, s->pass,
                            &(iv_rows_plan){.stage = loadings ? "reference" : "new rows"}, err));
    IV_TRY(IV_NEW(s->y, n_rows * model->n, "isometric coordinates", err));
    IV_TRY(IV_NEW(rms, model->n, "isometric coordinates", err));
    isovae_status status = iv_rows_coordinates(s->rows, model, s->y, rms, err);
    iv_free(rms);
    IV_TRY(status);
    IV_TRY(IV_NEW(s->residual, d, "residuals", err));
    IV_TRY(IV_NEW(s->lanes, lanes * d, "residuals", err));
    IV_TRY(IV_NEW(s->x, lanes * d, "residuals", err));
    IV_TRY(IV_NEW(s->xhat, lanes * s->pass->chunk * d, "residuals", err));
    IV_TRY(iv_pass_run(s->pass, "residuals", n_rows, residual_chunk, merge_residual, s, err));
    for (size_t i = 0; i < d; i++) s->residual[i] /= (double)n_rows;
    return ISOVAE_OK;
}

static void free_seen(seen *s)
{
    iv_rows_free(s->rows);
    iv_pass_free(s->pass);
    iv_free(s->y);
    iv_free(s->residual);
    iv_free(s->lanes);
    iv_free(s->x);
    iv_free(s->xhat);
}

/* Finite values of a column of `stride`; returns how many. */
static size_t finite_values(size_t rows, const double *from, size_t stride, double *out)
{
    size_t n = 0;
    for (size_t r = 0; r < rows; r++) {
        if (isfinite(from[r * stride])) out[n++] = from[r * stride];
    }
    return n;
}

typedef struct column_pair {
    const double *values[2];
    size_t stride;
} column_pair;

static isovae_status model_items(const iv_drift *drift, const seen both[2], iv_drift_item *items,
                                 isovae_error *err)
{
    const iv_rows *ref = both[0].rows, *fresh = both[1].rows;
    double *a = NULL, *b = NULL;
    iv_ranked *room = NULL;
    isovae_status status = IV_NEW(a, ref->rows, "a column", err);
    if (status == ISOVAE_OK) status = IV_NEW(b, fresh->rows, "a column", err);
    if (status == ISOVAE_OK) status = IV_NEW(room, ref->rows + fresh->rows, "a column", err);
    bool kind = drift->side[0].trained_on || drift->side[1].trained_on;
    for (size_t i = 0; i < drift->n_model && status == ISOVAE_OK; i++) {
        bool latent = i < ref->m, residual = i == ref->m;
        size_t j = latent ? ref->active[i] : 0;
        iv_drift_item *item = &items[i];
        column_pair p = {.stride = latent ? ref->n : 1};
        for (size_t s = 0; s < 2; s++) {
            p.values[s] = latent     ? both[s].y + j
                          : residual ? both[s].rows->transform
                                     : both[s].rows->estimate[IV_ESTIMATE_ELBO];
        }
        item->what = latent ? IV_DRIFT_LATENT : residual ? IV_DRIFT_RESIDUAL : IV_DRIFT_SCORE;
        item->index = j;
        item->tested = latent || !kind;
        size_t n = finite_values(ref->rows, p.values[0], p.stride, a);
        size_t m = finite_values(fresh->rows, p.values[1], p.stride, b);
        iv_two_sample_of(n, a, m, b, room, &item->test);
    }
    iv_free(a);
    iv_free(b);
    iv_free(room);
    return status;
}

/* ---- what is behind it ---- */

static void add_part(iv_drift_item *item, size_t feature, double amount)
{
    size_t place = item->n_behind;
    while (place > 0 && fabs(item->behind[place - 1].amount) < fabs(amount)) place--;
    if (place == IV_DRIFT_PARTS) return;
    if (item->n_behind < IV_DRIFT_PARTS) item->n_behind++;
    for (size_t k = item->n_behind - 1; k > place; k--) item->behind[k] = item->behind[k - 1];
    item->behind[place] = (iv_drift_part){feature, amount};
}

/* y_j moves by sum_i w_i L_ij dx_i / sum_i w_i L_ij^2, L_ij = E[d xhat_i/d y_j]: columns of the
 * Jacobian are orthogonal (E2), so each coordinate follows its own loadings. */
static void behind_latent(const seen *ref, const iv_drift_item *features, iv_drift_item *item)
{
    const iv_rows *rows = ref->rows;
    const iv_scaling *scaling = ref->pass->scaling;
    const double *loading = rows->loading + item->index * rows->d;
    double unit = 1 / (sqrt(rows->beta / 2) * (double)rows->rows), square = 0;
    for (size_t i = 0; i < rows->d; i++) {
        square += scaling->weight[i] * loading[i] * loading[i] * unit * unit;
    }
    if (!(square > 0) || !(item->test.sd[0] > 0)) return;
    for (size_t i = 0; i < rows->d; i++) {
        const iv_two_sample *t = &features[i].test;
        double moved = (t->mean[1] - t->mean[0]) / scaling->scale[i];
        add_part(item, i,
                 scaling->weight[i] * loading[i] * unit * moved / square / item->test.sd[0]);
    }
}

static void behind_residual(const seen both[2], double unit, iv_drift_item *item)
{
    for (size_t i = 0; i < both[0].rows->d; i++) {
        add_part(item, i, unit * (both[1].residual[i] - both[0].residual[i]));
    }
}

static void explain(const seen both[2], const iv_drift_item *features, double alpha,
                    iv_drift_item *item)
{
    if (!item->found) return;
    switch (item->what) {
    case IV_DRIFT_LATENT: /* features are told for where it has gone, not for its shape */
        if (item->adjusted[IV_TEST_SHIFT] <= alpha) behind_latent(&both[0], features, item);
        break;
    case IV_DRIFT_RESIDUAL: behind_residual(both, 1, item); break;
    case IV_DRIFT_SCORE: behind_residual(both, -1 / both[0].rows->beta, item); break;
    case IV_DRIFT_FEATURE:
    case IV_DRIFT_UNUSABLE: break;
    }
    while (item->n_behind > 1 && fabs(item->behind[item->n_behind - 1].amount) <
                                     small_part * fabs(item->behind[0].amount)) {
        item->n_behind--;
    }
}

/* ---- the verdict ---- */

/* Holm within items[0..n-1], at half of alpha: p values times 2. */
static isovae_status correct(iv_drift *drift, iv_drift_item *items, size_t n, isovae_error *err)
{
    size_t tests = n * IV_TWO_SAMPLE_TESTS;
    double *p = NULL;
    IV_TRY(IV_NEW(p, 2 * tests, "p values", err));
    for (size_t t = 0; t < tests; t++) {
        const iv_drift_item *item = &items[t / IV_TWO_SAMPLE_TESTS];
        p[t] = item->tested ? item->test.p[t % IV_TWO_SAMPLE_TESTS] : (double)NAN;
        if (!isnan(p[t])) drift->tests++;
    }
    isovae_status status = iv_holm(tests, p, p + tests, err);
    for (size_t t = 0; t < tests && status == ISOVAE_OK; t++) {
        iv_drift_item *item = &items[t / IV_TWO_SAMPLE_TESTS];
        double adjusted = fmin(2 * p[tests + t], 1);
        item->adjusted[t % IV_TWO_SAMPLE_TESTS] = isnan(p[t]) ? (double)NAN : adjusted;
        if (t % IV_TWO_SAMPLE_TESTS == 0) item->p_adjusted = item->adjusted[0];
        item->p_adjusted = fmin(item->p_adjusted, item->adjusted[t % IV_TWO_SAMPLE_TESTS]);
        item->found = item->tested && item->p_adjusted <= drift->alpha;
    }
    iv_free(p);
    return status;
}

/* A row is usable or not: one test, of two shares. */
static isovae_status unusable_item(const iv_drift *drift, iv_drift_item *item, isovae_error *err)
{
    double *values = NULL;
    iv_ranked *room = NULL;
    size_t n[2], all;
    for (size_t s = 0; s < 2; s++) n[s] = drift->side[s].rows + drift->side[s].bad_rows;
    all = n[0] + n[1];
    isovae_status status = IV_NEW(values, all, "rows", err);
    if (status == ISOVAE_OK) status = IV_NEW(room, all, "rows", err);
    if (status == ISOVAE_OK) {
        for (size_t r = 0; r < drift->side[0].bad_rows; r++) values[r] = 1;
        for (size_t r = 0; r < drift->side[1].bad_rows; r++) values[n[0] + r] = 1;
        iv_two_sample_of(n[0], values, n[1], values + n[0], room, &item->test);
        item->test.p[IV_TEST_SPREAD] = item->test.p[IV_TEST_SHAPE] = (double)NAN;
        item->what = IV_DRIFT_UNUSABLE;
        item->tested = true;
    }
    iv_free(values);
    iv_free(room);
    return status;
}

static isovae_status verdict(iv_drift *drift, const seen both[2], isovae_error *err)
{
    iv_drift_item *features = drift->items + drift->n_model;
    IV_TRY(correct(drift, drift->items, drift->n_model, err));
    IV_TRY(correct(drift, features, drift->n_data, err));
    for (size_t i = 0; i < drift->n_model + drift->n_data; i++) {
        iv_drift_item *item = &drift->items[i];
        explain(both, features, drift->alpha, item);
        drift->found = drift->found || item->found;
        drift->found_latents += item->found && item->what == IV_DRIFT_LATENT;
        drift->found_features += item->found && item->what == IV_DRIFT_FEATURE;
    }
    return ISOVAE_OK;
}

static isovae_status compare(iv_drift *drift, seen both[2], size_t *rows[2], size_t *features[2],
                             const iv_drift_options *options, isovae_error *err)
{
    const iv_dataset *const data[2] = {both[0].data, both[1].data};
    size_t d = both[0].model->d, n[2], n_features[2];
    size_t most = options->most_rows > 0 ? options->most_rows : MOST_ROWS;
    size_t most_features = (size_t)(feature_cells / (double)d);
    if (most_features < LEAST_FEATURE_ROWS) most_features = LEAST_FEATURE_ROWS;
    if (most_features > most) most_features = most;
    for (size_t s = 0; s < 2; s++) {
        size_t *all = NULL;
        iv_drift_side *side = &drift->side[s];
        IV_TRY(iv_good_rows(data[s], &all, &side->rows, err));
        side->bad_rows = data[s]->rows - side->rows;
        isovae_status status = check_rows(data[s], side->rows, false, err);
        if (status == ISOVAE_OK) {
            status =
                iv_spread_rows(all, side->rows, most_features, &features[s], &n_features[s], err);
        }
        iv_free(all);
        IV_TRY(status);
        drift->feature_rows[s] = n_features[s];
        IV_TRY(model_rows(both[s].model, data[s], most, side, &rows[s], &n[s], err));
        side->looked = n[s];
        IV_TRY(check_rows(data[s], n[s], side->held_out, err));
    }
    for (size_t s = 0; s < 2; s++) IV_TRY(look(&both[s], rows[s], n[s], s == 0, options, err));
    bool unusable = drift->side[0].bad_rows + drift->side[1].bad_rows > 0;
    drift->n_model = both[0].rows->m + 2;
    drift->n_data = d + unusable;
    IV_TRY(IV_NEW(drift->items, drift->n_model + drift->n_data, "the comparison", err));
    IV_TRY(model_items(drift, both, drift->items, err));
    IV_TRY(
        iv_drift_features(data, features, n_features, options, drift->items + drift->n_model, err));
    if (unusable) IV_TRY(unusable_item(drift, &drift->items[drift->n_model + d], err));
    return verdict(drift, both, err);
}

isovae_status iv_drift_between(const iv_model *model, const iv_dataset *reference,
                               const iv_dataset *fresh, const iv_drift_options *options,
                               iv_drift **out, isovae_error *err)
{
    size_t *rows[2] = {NULL, NULL}, *features[2] = {NULL, NULL};
    seen both[2] = {{.model = model, .data = reference}, {.model = model, .data = fresh}};
    iv_drift *drift = NULL;
    if (!(options->alpha > 0 && options->alpha < 1)) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--alpha: %g does not lie between 0 and 1",
                       options->alpha);
    }
    if (reference->cols != model->d || fresh->cols != model->d) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "the model has %zu features, the data have %zu and %zu", model->d,
                       reference->cols, fresh->cols);
    }
    IV_TRY(IV_NEW(drift, 1, "the comparison", err));
    drift->alpha = options->alpha;
    isovae_status status = compare(drift, both, rows, features, options, err);
    for (size_t s = 0; s < 2; s++) {
        free_seen(&both[s]);
        iv_free(rows[s]);
        iv_free(features[s]);
    }
    if (status != ISOVAE_OK) {
        iv_drift_free(drift);
        return status;
    }
    *out = drift;
    return ISOVAE_OK;
}

void iv_drift_free(iv_drift *drift)
{
    if (drift == NULL) return;
    iv_free(drift->items);
    iv_free(drift);
}
