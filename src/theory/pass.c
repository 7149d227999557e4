/* See pass.h: allocation, waves of chunks, and the small pieces of a chunk's work. */
#include "theory/pass.h"

#include "base/memory.h"

#include <float.h>
#include <math.h>

enum {
    CHUNK_MIN = 16,
    CHUNK_MAX = 256,
    TILE_ELEMENTS = 1 << 17,
    CHUNK_ELEMENTS = 1 << 17,
    MAX_TANGENTS = 32
};

static size_t clamp(size_t value, size_t lo, size_t hi)
{
    return value < lo ? lo : value > hi ? hi : value;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Nothing but the model's shape decides the sizes, so that the threads cannot; rows that do not
 * fill a chunk need no room for one. */
static void plan_sizes(iv_pass *pass, size_t rows)
{
    size_t n = pass->n, d = pass->d;
    pass->chunk = clamp(CHUNK_ELEMENTS / larger(d, n * n), CHUNK_MIN, CHUNK_MAX);
    if (rows > 0 && rows < pass->chunk) pass->chunk = rows;
    pass->tile = clamp(TILE_ELEMENTS / larger(n * d, 1), 1, pass->chunk);
}

/* J^T S^2 J is a multiple of J^T G J where all features are scaled and weighted alike; bce's
 * and ssim's densities stay in G's volume. Learned weights are never taken for alike. */
static bool needs_data_gram(const iv_pass *pass)
{
    const iv_scaling *s = pass->scaling;
    if (iv_loss_learned(pass->model->metric.loss)) return true;
    if (!iv_loss_by_feature(pass->model->metric.loss)) return false;
    if (iv_scaling_kept(s) < s->cols) return true;
    for (size_t i = 1; i < s->cols; i++) {
        double ratio = s->weight[i] / (s->scale[i] * s->scale[i]);
        double first = s->weight[0] / (s->scale[0] * s->scale[0]);
        if (fabs(ratio - first) > 1e-13 * first) return true;
    }
    return false;
}

static isovae_status make_identity(iv_scaling *s, size_t d, isovae_error *err)
{
    *s = (iv_scaling){.kind = IV_SCALE_IDENTITY, .cols = d, .uniform = true};
    IV_TRY(IV_NEW(s->shift, d, "a scaling", err));
    IV_TRY(IV_NEW(s->scale, d, "a scaling", err));
    IV_TRY(IV_NEW(s->weight, d, "a scaling", err));
    for (size_t i = 0; i < d; i++) s->scale[i] = s->weight[i] = 1;
    return ISOVAE_OK;
}

static isovae_status device(const iv_pass *pass, void **out, size_t elements, isovae_error *err)
{
    return pass->k->alloc(out, elements, "a chunk of the analysis", err);
}

static isovae_status host(double **out, size_t count, isovae_error *err)
{
    return IV_NEW(*out, count, "a chunk of the analysis", err);
}

static isovae_status make_jacobian(iv_pass *pass, iv_lane *lane, isovae_error *err)
{
    size_t n = pass->n, d = pass->d, chunk = pass->chunk, tile = pass->tile;
    IV_TRY(device(pass, &lane->jacobian, n * tile * d, err));
    IV_TRY(device(pass, &lane->g_jacobian, n * tile * d, err));
    IV_TRY(host(&lane->gram, chunk * n * n, err));
    IV_TRY(host(&lane->factor, chunk, err));
    IV_TRY(host(&lane->scratch, n * n, err));
    if (pass->data_gram) IV_TRY(host(&lane->gram_data, chunk * n * n, err));
    if (pass->full_gram) IV_TRY(host(&lane->abs_cosine, n * n, err));
    if (pass->full_gram) IV_TRY(host(&lane->gram_sum, n * n, err));
    if (pass->loadings) {
        IV_TRY(host(&lane->loading, n * d, err));
        IV_TRY(host(&lane->loading_square, n * d, err));
        IV_TRY(host(&lane->slope, tile * d, err));
        IV_TRY(host(&lane->column, d, err));
    }
    return ISOVAE_OK;
}

static isovae_status make_lane(iv_pass *pass, iv_lane *lane, isovae_error *err)
{
    size_t n = pass->n, d = pass->d, chunk = pass->chunk;
    IV_TRY(device(pass, &lane->xhat, chunk * d, err));
    IV_TRY(device(pass, &lane->mu, chunk * n, err));
    IV_TRY(device(pass, &lane->logvar, chunk * n, err));
    IV_TRY(device(pass, &lane->eps, chunk * n, err));
    if (pass->k->dtype == IV_F32) {
        IV_TRY(IV_NEW(lane->stage_f32, chunk * d, "a chunk of the analysis", err));
    }
    IV_TRY(host(&lane->stage, chunk * larger(d, n), err));
    IV_TRY(host(&lane->eps_host, chunk * n, err));
    IV_TRY(host(&lane->gz, chunk * n, err));
    IV_TRY(host(&lane->g_mu, chunk * n, err));
    IV_TRY(host(&lane->row, chunk, err));
    if (pass->draws) IV_TRY(device(pass, &lane->sink, chunk * d, err));
    if (pass->draws && pass->model->learned_elements > 0) {
        IV_TRY(host(&lane->residual, d, err));
    }
    return pass->jacobian ? make_jacobian(pass, lane, err) : ISOVAE_OK;
}

static isovae_status make_pass(iv_pass *pass, const iv_pass_plan *plan, isovae_error *err)
{
    const iv_model *model = pass->model;
    pass->scaling = &model->scaling;
    if (model->scaling.cols != model->d) {
        IV_TRY(make_identity(&pass->identity, model->d, err));
        pass->scaling = &pass->identity;
    }
    pass->data_gram = pass->full_gram && needs_data_gram(pass);
    if (pass->data_gram) {
        double *scale = NULL;
        IV_TRY(device(pass, &pass->scale, pass->d, err));
        IV_TRY(host(&scale, pass->d, err));
        for (size_t i = 0; i < pass->d; i++) {
            scale[i] = iv_scaling_drops(pass->scaling, i) ? 0 : pass->scaling->scale[i];
        }
        pass->k->upload(pass->scale, scale, pass->d);
        iv_free(scale);
    }
    plan_sizes(pass, plan->rows);
    if (plan->rows > 0) {
        pass->n_lanes = clamp((plan->rows + pass->chunk - 1) / pass->chunk, 1, pass->n_lanes);
    }
    size_t tangents = clamp(pass->n, 1, MAX_TANGENTS);
    iv_eval_plan eval = {.rows = pass->n_lanes * pass->chunk,
                         .lanes = pass->n_lanes,
                         .decoder_reverse = plan->draws,
                         .tangents = pass->jacobian || plan->tangents ? tangents : 0,
                         .tangent_rows = pass->tile * tangents,
                         .weights = plan->weights};
    IV_TRY(iv_eval_new(model, pass->k, &eval, &pass->eval, err));
    IV_TRY(host(&pass->weight, pass->d, err));
    iv_metric_diagonal(pass->eval->metric, pass->scaling->weight, pass->weight);
    IV_TRY(IV_NEW(pass->lanes, pass->n_lanes, "the lanes of the analysis", err));
    for (size_t i = 0; i < pass->n_lanes; i++) {
        pass->lanes[i] = (iv_lane){.pass = pass, .index = i, .slot = i * pass->chunk};
        IV_TRY(make_lane(pass, &pass->lanes[i], err));
    }
    return ISOVAE_OK;
}

isovae_status iv_pass_new(const iv_model *model, const iv_dataset *data, const iv_pass_plan *plan,
                          iv_pass **out, isovae_error *err)
{
    *out = NULL;
    const iv_kernels *k = iv_kernels_get(plan->precision, plan->isa);
    if (k == NULL) {
        return iv_fail(
            err, ISOVAE_ERR_ARGUMENT,
            "the instruction set '%.40s' is not known or not supported by this processor",
            plan->isa != NULL ? plan->isa : "");
    }
    if (data != NULL && data->cols != model->d) {
        return iv_fail(
            err, ISOVAE_ERR_DATA,
            "%s has %zu columns, the model wants %zu features; choose them with --columns",
            data->source != NULL ? data->source : "the data", data->cols, model->d);
    }
    iv_pass *pass;
    IV_TRY(IV_NEW(pass, 1, "the analysis", err));
    pass->model = model;
    pass->data = data;
    pass->k = k;
    pass->pool = plan->pool;
    pass->progress = plan->progress;
    pass->n = model->n;
    pass->d = model->d;
    pass->n_lanes = iv_pool_threads(plan->pool);
    pass->jacobian = plan->jacobian || plan->full_gram || plan->loadings;
    pass->full_gram = plan->full_gram;
    pass->loadings = plan->loadings;
    pass->draws = plan->draws;
    isovae_status status = make_pass(pass, plan, err);
    if (status != ISOVAE_OK) {
        iv_pass_free(pass);
        return status;
    }
    *out = pass;
    return ISOVAE_OK;
}

static void free_lane(const iv_kernels *k, iv_lane *lane)
{
    void *device_memory[] = {lane->xhat, lane->sink,     lane->mu,        lane->logvar,
                             lane->eps,  lane->jacobian, lane->g_jacobian};
    void *host_memory[] = {lane->stage_f32,  lane->stage,    lane->column,   lane->gram,
                           lane->gram_data,  lane->factor,   lane->eps_host, lane->gz,
                           lane->g_mu,       lane->row,      lane->scratch,  lane->slope,
                           lane->abs_cosine, lane->gram_sum, lane->loading,  lane->loading_square,
                           lane->residual};
    for (size_t i = 0; i < sizeof device_memory / sizeof *device_memory; i++) {
        if (device_memory[i] != NULL) k->release(device_memory[i]);
    }
    for (size_t i = 0; i < sizeof host_memory / sizeof *host_memory; i++) iv_free(host_memory[i]);
}

void iv_pass_free(iv_pass *pass)
{
    if (pass == NULL) return;
    for (size_t i = 0; pass->lanes != NULL && i < pass->n_lanes; i++) {
        free_lane(pass->k, &pass->lanes[i]);
    }
    iv_free(pass->lanes);
    iv_eval_free(pass->eval);
    iv_free(pass->weight);
    if (pass->scale != NULL) pass->k->release(pass->scale);
    iv_free(pass->identity.shift);
    iv_free(pass->identity.scale);
    iv_free(pass->identity.weight);
    iv_free(pass);
}

typedef struct wave {
    iv_pass *pass;
    iv_pass_chunk *chunk;
    void *user;
    size_t first, rows; /* first row of the wave; rows in all */
} wave;

static void run_lane(void *argument, size_t task)
{
    const wave *w = argument;
    size_t chunk = w->pass->chunk, first = w->first + task * chunk;
    size_t count = w->rows - first < chunk ? w->rows - first : chunk;
    unsigned before = iv_fp_enter();
    w->chunk(w->user, &w->pass->lanes[task], first, count);
    iv_fp_leave(before);
}

isovae_status iv_pass_run(iv_pass *pass, const char *stage, size_t rows, iv_pass_chunk *chunk,
                          iv_pass_merge *merge, void *user, isovae_error *err)
{
    size_t per_wave = pass->n_lanes * pass->chunk;
    for (size_t first = 0; first < rows; first += per_wave) {
        wave w = {.pass = pass, .chunk = chunk, .user = user, .first = first, .rows = rows};
        size_t left = rows - first;
        size_t tasks = left < per_wave ? (left + pass->chunk - 1) / pass->chunk : pass->n_lanes;
        iv_pool_run(pass->pool, tasks, run_lane, &w);
        for (size_t i = 0; merge != NULL && i < tasks; i++) merge(user, &pass->lanes[i]);
        size_t done = left < per_wave ? rows : first + per_wave;
        if (!iv_progress_rows(&pass->progress, stage, done, rows)) {
            return iv_fail(err, ISOVAE_ERR_CANCELLED, "cancelled during %s", stage);
        }
    }
    return ISOVAE_OK;
}

void *iv_lane_x(const iv_lane *lane)
{
    const iv_pass *pass = lane->pass;
    return iv_at(pass->k, iv_eval_x(pass->eval), lane->slot * pass->d);
}

void *iv_lane_out(const iv_lane *lane)
{
    const iv_pass *pass = lane->pass;
    return iv_at(pass->k, iv_eval_out(pass->eval), lane->slot * pass->d);
}

static void *lane_z(const iv_lane *lane)
{
    const iv_pass *pass = lane->pass;
    return iv_at(pass->k, iv_eval_z(pass->eval), lane->slot * pass->n);
}

void iv_lane_load(iv_lane *lane, const size_t *rows, size_t count)
{
    const iv_pass *pass = lane->pass;
    if (pass->k->dtype == IV_F32) {
        iv_scaling_rows(pass->scaling, pass->data, rows, count, lane->stage_f32);
        pass->k->upload_f32(iv_lane_x(lane), lane->stage_f32, count * pass->d);
    } else {
        iv_scaling_rows_f64(pass->scaling, pass->data, rows, count, lane->stage);
        pass->k->upload(iv_lane_x(lane), lane->stage, count * pass->d);
    }
}

/* An input far beyond the training data can overflow single precision on its way. Such a row keeps
 * its place at the far end instead of spreading NaN. */
static void make_finite(size_t count, double limit, double *values)
{
    for (size_t i = 0; i < count; i++) {
        if (isnan(values[i]) || values[i] > limit) {
            values[i] = limit;
        } else if (values[i] < -limit) {
            values[i] = -limit;
        }
    }
}

void iv_lane_encode(iv_lane *lane, size_t count, double *mu, double *logvar)
{
    const iv_pass *pass = lane->pass;
    size_t elements = count * pass->n;
    iv_eval_encode(pass->eval, lane->slot, count, lane->index);
    pass->k->download(mu, iv_at(pass->k, iv_eval_mu(pass->eval), lane->slot * pass->n), elements);
    pass->k->download(logvar, iv_at(pass->k, iv_eval_logvar(pass->eval), lane->slot * pass->n),
                      elements);
    make_finite(elements, 1e30, mu);
    for (size_t i = 0; i < elements; i++) {
        double value = isnan(logvar[i]) ? pass->model->logvar_hi : logvar[i];
        logvar[i] = fmin(fmax(value, pass->model->logvar_lo), pass->model->logvar_hi);
    }
}

void iv_lane_decode(iv_lane *lane, size_t count, const double *z)
{
    const iv_pass *pass = lane->pass;
    pass->k->upload(lane_z(lane), z, count * pass->n);
    iv_eval_decode(pass->eval, lane->slot, count, lane->index);
}

void iv_lane_posterior(iv_lane *lane, size_t count, const double *mu, const double *logvar)
{
    const iv_pass *pass = lane->pass;
    pass->k->upload(lane->mu, mu, count * pass->n);
    pass->k->upload(lane->logvar, logvar, count * pass->n);
}

void iv_lane_sample(iv_lane *lane, size_t count)
{
    const iv_pass *pass = lane->pass;
    size_t elements = count * pass->n;
    pass->k->upload(lane->eps, lane->eps_host, elements);
    pass->k->sample(elements, lane->mu, lane->logvar, pass->model->logvar_lo,
                    pass->model->logvar_hi, lane->eps, lane_z(lane));
    iv_eval_decode(pass->eval, lane->slot, count, lane->index);
}

void iv_lane_data(const iv_lane *lane, size_t count, double *x)
{
    const iv_pass *pass = lane->pass;
    size_t elements = count * pass->d;
    if (pass->eval->metric->kind->logits) {
        pass->k->act_forward(IV_ACT_SIGMOID, 0, elements, iv_lane_out(lane), lane->xhat);
        pass->k->download(x, lane->xhat, elements);
    } else {
        pass->k->download(x, iv_lane_out(lane), elements);
    }
    iv_scaling_undo(pass->scaling, count, x);
}

/* What stands for a distance that overflowed: the squared length of the row itself, in double; with
 * the weights of G. */
static double far_distance(iv_lane *lane, size_t row)
{
    const iv_pass *pass = lane->pass;
    double sum = 0;
    pass->k->download(lane->stage, iv_at(pass->k, iv_lane_x(lane), row * pass->d), pass->d);
    for (size_t i = 0; i < pass->d; i++) {
        double x = isfinite(lane->stage[i]) ? lane->stage[i] : (double)FLT_MAX;
        sum += pass->weight[i] * x * x;
    }
    return fmin(sum + pass->eval->metric->constant, 1e300);
}

void iv_lane_distance(iv_lane *lane, size_t count, double *out)
{
    const iv_pass *pass = lane->pass;
    pass->eval->metric->kind->value(pass->eval->metric, lane->index, count, iv_lane_x(lane),
                                    iv_lane_out(lane), out);
    for (size_t r = 0; r < count; r++) {
        if (!isfinite(out[r])) out[r] = far_distance(lane, r);
    }
}
