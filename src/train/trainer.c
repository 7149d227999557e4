#include "train/trainer.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Auto beta: weight of a new batch in the running residual. */
static const double follow_share = 0.02;
/* Earlier weights are taken only where they validate better by this many nats: a choice among the
 * near equal ones at the end of a decaying rate is a choice by the noise of the validation rows,
 * and biases sigma by up to 1 %. */
static const double worth_going_back = 0.02;
/* A gradient longer than so many times the median of those before it is cut to that length
 * (hold_gradient). Of data without far rows hardly one is, once the first steps are made; the
 * median moves by at most this share a step. */
static const double longest = 4.0, norm_share = 0.02;
/* The step number under which validation draws its noise: beyond any training step. */
static const uint64_t validation_step = ((uint64_t)1 << 40) - 1;
enum { validation_batch = 512, adam_block = 16384 };

static isovae_status vector_new(const iv_trainer *t, void **out, isovae_error *err)
{
    return t->k->alloc(out, t->model->param_elements, "a parameter vector", err);
}

isovae_status iv_trainer_new(const iv_dataset *data, const iv_fit_options *options,
                             iv_fit_plan *plan, iv_model *model, iv_trainer **out,
                             isovae_error *err)
{
    *out = NULL;
    const iv_kernels *k = iv_kernels_get(options->precision, options->isa);
    if (!k)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "the instruction set '%s' is not known or not had here",
                       options->isa ? options->isa : "");
    iv_trainer *t;
    IV_TRY(IV_NEW(t, 1, "the trainer", err));
    t->data = data;
    t->options = options;
    t->plan = plan;
    t->model = model;
    t->k = k;
    isovae_status status = ISOVAE_OK;
    iv_objective_config config = {.kind = plan->objective,
                                  .rows = plan->batch,
                                  .gradient = true,
                                  .training = true,
                                  .denoise = plan->denoise,
                                  .pool = options->pool};
    if ((status = iv_objective_new(model, t->k, &config, &t->objective, err))) goto fail;
    if (model->learned_elements) {
        iv_metric_use use = iv_model_metric_use(model, 1);
        if ((status = iv_metric_new(&model->metric, k, &use, &t->limits, err))) goto fail;
    }
    if (plan->validation_rows) {
        config.denoise = 0;
        config.rows =
            plan->validation_rows < validation_batch ? plan->validation_rows : validation_batch;
        config.gradient = config.training = false;
        if ((status = iv_objective_new(model, t->k, &config, &t->validator, err))) goto fail;
        if (options->validation_data)
            status = iv_spread_good_rows(options->validation_data, plan->validation_rows,
                                         &t->validation_rows, &(size_t){0}, err);
        else
            status = iv_spread_rows(plan->split.validation, plan->split.n_validation,
                                    plan->validation_rows, &t->validation_rows, &(size_t){0}, err);
        if (status) goto fail;
    }
    size_t room = plan->batch > validation_batch ? plan->batch : validation_batch, x_size;
    if (!iv_size_mul(room, plan->d, &x_size)) {
        status = iv_fail(err, ISOVAE_ERR_MEMORY, "--batch-size %zu is too large for %zu features",
                         plan->batch, plan->d);
        goto fail;
    }
    if ((status = IV_NEW(t->order, room, "rows of a batch", err))) goto fail;
    if ((status = IV_NEW(t->x, x_size, "a batch", err))) goto fail;
    size_t blocks = model->trained_elements / adam_block + 1;
    if ((status = IV_NEW(t->squares, blocks, "the gradient's norm", err))) goto fail;
    if ((status = vector_new(t, &t->params, err))) goto fail;
    if ((status = vector_new(t, &t->grads, err))) goto fail;
    if ((status = vector_new(t, &t->moment1, err))) goto fail;
    if ((status = vector_new(t, &t->moment2, err))) goto fail;
    if ((status = vector_new(t, &t->best, err))) goto fail;
    if ((status = vector_new(t, &t->kept, err))) goto fail;
    t->kept_value = INFINITY;
    t->rate_factor = 1.0;
    if (plan->members > 1)
        snprintf(t->stage, sizeof t->stage, "member %zu of %zu", plan->member + 1, plan->members);
    else
        snprintf(t->stage, sizeof t->stage, "training");
    *out = t;
    return ISOVAE_OK;
fail:
    iv_trainer_free(t);
    return status;
}

void iv_trainer_free(iv_trainer *t)
{
    if (!t) return;
    iv_objective_free(t->objective);
    iv_objective_free(t->validator);
    iv_metric_free(t->limits);
    iv_run_log_close(t->log);
    iv_free(t->validation_rows);
    iv_free(t->order);
    iv_free(t->x);
    iv_free(t->squares);
    void *vectors[] = {t->params, t->grads, t->moment1, t->moment2, t->best, t->kept};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        if (vectors[i]) t->k->release(vectors[i]);
    iv_free(t);
}

uint64_t iv_trainer_seed(const iv_trainer *t)
{
    return t->plan->seed + t->attempt * UINT64_C(0x9E3779B97F4A7C15) +
           t->plan->member * UINT64_C(0xD1B54A32D192ED03);
}

void iv_trainer_start(iv_trainer *t, uint64_t attempt, const void *from)
{
    const iv_kernels *k = t->k;
    size_t size = t->model->param_elements;
    if (t->model->dtype == IV_F32)
        k->upload_f32(t->params, from, size);
    else
        k->upload(t->params, from, size);
    k->fill(size, 0.0, t->moment1);
    k->fill(size, 0.0, t->moment2);
    k->fill(size, 0.0, t->grads);
    t->attempt = attempt;
    t->step = 0;
    t->beta = t->plan->beta_start;
    t->norm = 0.0;
    t->follow = NAN;
    t->best_value = INFINITY;
    t->best_step = 0;
    t->stale = 0;
    t->sum_loss = t->sum_distortion = t->sum_kl = 0.0;
    t->sum_steps = t->noise_steps = 0;
    t->model->n_history = 0;
}

/* Draws of one slice of a batch. */
static void noise(iv_trainer *t, uint64_t step, size_t first, size_t count, void *eps)
{
    iv_key key = {.seed = iv_trainer_seed(t), .purpose = IV_PURPOSE_NOISE, .step = step};
    t->k->normals(&key, count, t->order + first, t->plan->n, eps);
}

/* For --denoise. */
static void blur_training(void *user, size_t first, size_t count, void *noise)
{
    iv_trainer *t = user;
    iv_key key = {.seed = iv_trainer_seed(t), .purpose = IV_PURPOSE_INPUT, .step = t->step};
    t->k->normals(&key, count, t->order + first, t->plan->d, noise);
}

static void fill_training(void *user, size_t first, size_t count, void *x, void *eps, size_t stride)
{
    (void)stride;
    iv_trainer *t = user;
    const iv_split *split = &t->plan->split;
    iv_key key = {.seed = iv_trainer_seed(t), .purpose = IV_PURPOSE_SHUFFLE};
    uint64_t place = t->step * t->plan->batch + first; /* in the endless row of epochs */
    key.step = place / split->n_train;
    iv_shuffle shuffle = iv_shuffle_new(&key, split->n_train);
    for (size_t i = first; i < first + count; i++, place++) {
        if (place / split->n_train != key.step) {
            key.step = place / split->n_train;
            shuffle = iv_shuffle_new(&key, split->n_train);
        }
        t->order[i] = split->train[iv_shuffle_at(&shuffle, place % split->n_train)];
    }
    float *staged = t->x + first * t->plan->d;
    iv_scaling_rows(&t->plan->scaling, t->data, t->order + first, count, staged);
    t->k->upload_f32(x, staged, count * t->plan->d);
    noise(t, t->step, first, count, eps);
}

typedef struct validation_fill {
    iv_trainer *t;
    size_t start;
} validation_fill;

static void fill_validation(void *user, size_t first, size_t count, void *x, void *eps,
                            size_t stride)
{
    (void)stride;
    validation_fill *v = user;
    iv_trainer *t = v->t;
    const iv_dataset *data = t->options->validation_data ? t->options->validation_data : t->data;
    memcpy(t->order + first, t->validation_rows + v->start + first, count * sizeof(size_t));
    float *staged = t->x + first * t->plan->d;
    iv_scaling_rows(&t->plan->scaling, data, t->order + first, count, staged);
    t->k->upload_f32(x, staged, count * t->plan->d);
    noise(t, validation_step, first, count, eps);
}

/* D + beta KL on the validation rows, and its parts, always under the same draws; NaN without them.
 */
static iv_objective_means validate(iv_trainer *t)
{
    size_t total = t->plan->validation_rows;
    iv_objective_means sum = {.loss = 0.0};
    for (size_t start = 0; start < total; start += validation_batch) {
        size_t rows = total - start < validation_batch ? total - start : validation_batch;
        validation_fill v = {.t = t, .start = start};
        iv_objective_call call = {.rows = rows,
                                  .distortion_weight = 1.0,
                                  .kl_weight = t->beta,
                                  .fill = fill_validation,
                                  .user = &v};
        iv_objective_means means;
        iv_objective_value(t->validator, t->params, start > 0, &call, &means);
        sum.loss += means.loss * (double)rows;
        sum.distortion += means.distortion * (double)rows;
        sum.kl += means.kl * (double)rows;
    }
    sum.loss = total ? sum.loss / (double)total : NAN;
    sum.distortion = total ? sum.distortion / (double)total : NAN;
    sum.kl = total ? sum.kl / (double)total : NAN;
    return sum;
}

static size_t adam_blocks(const iv_trainer *t)
{
    return (t->model->trained_elements + adam_block - 1) / adam_block;
}

/* Elements of a block, from *start on. */
static size_t block_of(const iv_trainer *t, size_t task, size_t *start)
{
    *start = task * adam_block;
    size_t size = t->model->trained_elements - *start;
    return size > adam_block ? adam_block : size;
}

typedef struct update {
    iv_trainer *t;
    iv_adam adam;
} update;

static void adam_task(void *argument, size_t task)
{
    update *u = argument;
    const iv_kernels *k = u->t->k;
    size_t start, size = block_of(u->t, task, &start);
    unsigned fp = iv_fp_enter();
    k->adam(size, &u->adam, iv_at(k, u->t->params, start), iv_at(k, u->t->grads, start),
            iv_at(k, u->t->moment1, start), iv_at(k, u->t->moment2, start));
    iv_fp_leave(fp);
}

static void squares_task(void *argument, size_t task)
{
    iv_trainer *t = argument;
    size_t start, size = block_of(t, task, &start);
    unsigned fp = iv_fp_enter();
    t->squares[task] = t->k->sum_squares(size, iv_at(t->k, t->grads, start));
    iv_fp_leave(fp);
}

/* Rows a hundred SDs out: where one is in the batch, the gradient is hundreds of times longer than
 * in the batches between. Such a step moves the weights of all inputs at once, by what is far too
 * much for that row, whose KL then explodes, and Adam's second moments remember it for a thousand
 * steps in which nothing else is learned. So no gradient may be much longer than the usual one. */
static void hold_gradient(iv_trainer *t)
{
    const iv_kernels *k = t->k;
    size_t blocks = adam_blocks(t);
    double sum = 0.0;
    if (!t->plan->hold_gradient) return;
    iv_pool_run(t->options->pool, blocks, squares_task, t);
    for (size_t i = 0; i < blocks; i++) sum += t->squares[i];
    double norm = sqrt(sum);
    if (!(norm > 0.0) || !isfinite(norm)) return;
    if (!(t->norm > 0.0)) t->norm = norm;
    double factor = longest * t->norm / norm;
    if (factor < 1.0)
        k->scale_rows(1, t->model->trained_elements, &factor, t->grads, t->grads, false);
    double share = 1.0 + fmax(norm_share, 1.0 / ((double)t->step + 1.0));
    t->norm = norm > t->norm ? t->norm * share : t->norm / share;
}

/* What the metric learns: the same Adam at a rate of its own, without decay, then back into its
 * limits. */
static void learn_metric(iv_trainer *t)
{
    const iv_fit_plan *plan = t->plan;
    const iv_kernels *k = t->k;
    size_t at = t->model->learned_at;
    double rate = t->rate_factor * iv_plan_noise_rate(plan, t->step);
    if (!t->limits) return;
    unsigned fp = iv_fp_enter();
    if (rate > 0.0) {
        iv_adam adam = {
            .rate = rate, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .step = ++t->noise_steps};
        k->adam(t->model->learned_elements, &adam, iv_at(k, t->params, at), iv_at(k, t->grads, at),
                iv_at(k, t->moment1, at), iv_at(k, t->moment2, at));
    }
    double least = iv_plan_noise_least(plan, t->step + 1);
    iv_metric_limit(t->limits, 0.5 * log(least), iv_at(k, t->params, at));
    iv_fp_leave(fp);
}

static double current_beta(const iv_trainer *t)
{
    const iv_fit_plan *plan = t->plan;
    double annealed = iv_plan_beta(plan, t->step);
    if (!plan->beta_auto) return annealed;
    double followed = isnan(t->follow) ? plan->beta_cap : t->follow;
    followed = fmax(plan->beta, fmin(followed, plan->beta_cap));
    return fmax(followed, annealed);
}

static isovae_status add_line(iv_trainer *t, double validation, double rate, isovae_error *err)
{
    iv_model *model = t->model;
    if ((model->n_history & (model->n_history - 1)) == 0) { /* grow at powers of two */
        iv_history *more;
        IV_TRY(IV_NEW(more, model->n_history ? 2 * model->n_history : 1, "the history", err));
        if (model->n_history) memcpy(more, model->history, model->n_history * sizeof *more);
        iv_free(model->history);
        model->history = more;
    }
    double steps = (double)t->sum_steps;
    model->history[model->n_history++] = (iv_history){.step = t->step,
                                                      .beta = t->beta,
                                                      .rate = rate,
                                                      .loss = t->sum_loss / steps,
                                                      .distortion = t->sum_distortion / steps,
                                                      .kl = t->sum_kl / steps,
                                                      .validation = validation};
    t->sum_loss = t->sum_distortion = t->sum_kl = 0.0;
    t->sum_steps = 0;
    return ISOVAE_OK;
}

uint64_t iv_trainer_run_number(const iv_trainer *t)
{
    return t->plan->member * IV_ATTEMPTS + t->attempt;
}

/* The line just added to the history, into the logs. A log that cannot be written ends; training
 * goes on. */
static void log_line(iv_trainer *t, const iv_objective_means *validation, double now)
{
    const iv_history *h = &t->model->history[t->model->n_history - 1];
    double window = now - t->line_seconds, steps = (double)(t->step - t->line_step);
    double speed = window > 0.0 ? steps / window : NAN;
    t->line_seconds = now;
    t->line_step = t->step;
    if (!t->log) return;
    double batch = (double)t->plan->batch;
    const iv_log_line line = {.run = iv_trainer_run_number(t),
                              .step = t->step,
                              .epoch = (double)t->step * batch / (double)t->plan->split.n_train,
                              .seconds = iv_budget_seconds(&t->budget, now),
                              .loss = h->loss,
                              .distortion = h->distortion,
                              .kl = h->kl,
                              .validation_loss = validation->loss,
                              .validation_distortion = validation->distortion,
                              .validation_kl = validation->kl,
                              .learning_rate = h->rate,
                              .beta = h->beta,
                              .steps_per_second = speed,
                              .rows_per_second = speed * batch};
    if (iv_run_log_add(t->log, &line, &t->unlogged) == ISOVAE_OK) return;
    iv_run_log_close(t->log);
    t->log = NULL;
}

/* Tells of the first step, of the last, and about ten times a second between; the clock decides
 * what is shown, never what is computed. */
static bool tell_progress(iv_trainer *t, const iv_objective_means *means, double now)
{
    bool last = t->step == t->plan->steps;
    if (!last && now - t->seconds_reported < 0.1) return true;
    t->seconds_reported = now;
    const iv_model *model = t->model;
    iv_progress_info info = {
        .stage = t->stage,
        .done = (double)t->step,
        .total = (double)t->plan->steps,
        .unit = "steps",
        .rows = (double)t->plan->batch,
        .loss = means->distortion + t->beta * means->kl,
        .rate_nats = means->kl,
        .distortion = means->distortion,
        .beta = t->beta,
        .validation = model->n_history ? model->history[model->n_history - 1].validation : NAN};
    return iv_progress_report(&t->options->progress, &info);
}

/* Notes a validation; true where training should stop early. */
static bool judge(iv_trainer *t, double validation)
{
    if (isnan(validation) || !iv_plan_beta_stands(t->plan, t->step)) return false;
    if (iv_plan_kl_weight(t->plan, t->step) < 1.0) return false;
    if (validation < t->best_value) {
        t->best_value = validation;
        t->best_step = t->step;
        t->stale = 0;
        t->k->copy_block(1, t->model->param_elements, t->params, t->model->param_elements, t->best,
                         t->model->param_elements, false);
        return false;
    }
    return t->plan->patience && ++t->stale >= t->plan->patience;
}

/* --max-time. True where the attempt must begin anew, with the plan's new number of steps. */
static bool mind_time(iv_trainer *t, double now)
{
    uint64_t steps = t->plan->steps;
    switch (iv_budget_look(&t->budget, now, t->step, &steps)) {
    case IV_BUDGET_GO: break;
    case IV_BUDGET_AGAIN:
        iv_plan_set_steps(t->plan, steps);
        t->begin_again = true;
        break;
    case IV_BUDGET_BEND: iv_plan_bend(t->plan, t->step, steps); break;
    case IV_BUDGET_OUT: t->out_of_time = true; break;
    }
    return t->begin_again;
}

static bool checkpoint_due(const iv_trainer *t, double now)
{
    const iv_fit_plan *plan = t->plan;
    if (plan->checkpoint_every && t->step % plan->checkpoint_every == 0) return true;
    return plan->checkpoint_seconds > 0.0 && now - t->seconds_saved >= plan->checkpoint_seconds;
}

isovae_status iv_trainer_run(iv_trainer *t, isovae_error *err)
{
    iv_fit_plan *plan = t->plan;
    const char *checkpoint = t->options->checkpoint;
    size_t blocks = adam_blocks(t);
    double now = iv_clock();
    t->seconds_saved = t->line_seconds = now;
    t->seconds_reported = -HUGE_VAL; /* the first step is told, however quick the run is */
    t->line_step = t->step;
    t->begin_again = t->out_of_time = false;
    iv_budget_attempt(&t->budget, t->step, plan->asked_steps, plan->bend_step > 0, now);
    while (t->step < plan->steps) {
        double rate = t->rate_factor * iv_plan_rate(plan, t->step);
        t->beta = current_beta(t);
        iv_objective_call call = {.rows = plan->batch,
                                  .distortion_weight = 1.0 / t->beta,
                                  .kl_weight = iv_plan_kl_weight(plan, t->step),
                                  .fill = fill_training,
                                  .blur = blur_training,
                                  .user = t};
        iv_objective_means means;
        iv_objective_gradient(t->objective, t->params, t->grads, &call, &means);
        if (!isfinite(means.loss))
            return iv_fail(err, ISOVAE_ERR_DIVERGED,
                           "training diverged at step %llu (loss %g): try a lower --lr than %g, or "
                           "--scale standard if the features differ much in size",
                           (unsigned long long)t->step, means.loss, t->rate_factor * plan->rate);
        hold_gradient(t);
        update u = {.t = t,
                    .adam = {.rate = rate,
                             .beta1 = 0.9,
                             .beta2 = 0.999,
                             .epsilon = 1e-8,
                             .weight_decay = plan->weight_decay,
                             .step = t->step + 1}};
        iv_pool_run(t->options->pool, blocks, adam_task, &u);
        learn_metric(t);
        iv_objective_update_buffers(t->objective, t->params);

        double residual = 2.0 * means.distortion / (double)plan->varying;
        if (isnan(t->follow))
            t->follow = residual;
        else if (!iv_plan_beta_stands(plan, t->step))
            t->follow += follow_share * (residual - t->follow);
        t->sum_loss += means.distortion + t->beta * means.kl;
        t->sum_distortion += means.distortion;
        t->sum_kl += means.kl;
        t->sum_steps++;
        t->step++;

        now = iv_clock();
        if (mind_time(t, now)) return ISOVAE_OK;
        bool stop = t->out_of_time;
        if (t->step % plan->line_every == 0 || t->step == plan->steps || stop) {
            const iv_objective_means validation = validate(t);
            IV_TRY(add_line(t, validation.loss, rate, err));
            log_line(t, &validation, now);
            stop = judge(t, validation.loss) || stop;
        }
        if (checkpoint && t->step < plan->steps && !stop && checkpoint_due(t, now)) {
            IV_TRY(iv_checkpoint_write(t, checkpoint, err));
            t->seconds_saved = now;
        }
        if (!tell_progress(t, &means, now)) {
            if (checkpoint) IV_TRY(iv_checkpoint_write(t, checkpoint, err));
            return iv_fail(err, ISOVAE_ERR_CANCELLED, "stopped at step %llu of %llu",
                           (unsigned long long)t->step, (unsigned long long)plan->steps);
        }
        if (stop) break;
    }
    return ISOVAE_OK;
}

const void *iv_trainer_weights(const iv_trainer *t)
{
    const iv_model *model = t->model;
    if (!isfinite(t->best_value) || model->n_history == 0) return t->params;
    double last = model->history[model->n_history - 1].validation;
    return t->best_value < last - worth_going_back * t->beta ? t->best : t->params;
}

void iv_trainer_finish(iv_trainer *t)
{
    iv_model *model = t->model;
    const void *from = iv_trainer_weights(t);
    if (model->dtype == IV_F32)
        t->k->download_f32(model->params, from, model->param_elements);
    else
        t->k->download(model->params, from, model->param_elements);
    model->beta = t->beta;
    model->steps = t->step;
}
