#include "base/clock.h"
#include "base/memory.h"
#include "model/file.h"
#include "theory/analysis.h"
#include "train/fit_parts.h"
#include "train/measure.h"
#include "train/plan.h"
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { calibrated_rows = 50000 };

isovae_status iv_fit_model(const iv_dataset *data, const iv_fit_options *options,
                           const iv_fit_plan *plan, iv_model **out, isovae_error *err)
{
    IV_TRY(iv_model_new(out, err));
    iv_model *model = *out;
    iv_dtype dtype = options->precision == IV_PRECISION_F64_REFERENCE ? IV_F64 : IV_F32;
    iv_model_plan network = {.d = plan->d,
                             .n = plan->n,
                             .act = plan->act,
                             .dtype = dtype,
                             .image = {data->height, data->width, data->channels},
                             .draft = plan->draft};
    IV_TRY(iv_model_build_plan(model, plan->arch, &network, err));
    IV_TRY(iv_model_set_metric(model, &plan->metric, err));
    model->noise_floor = plan->noise_floor;
    model->least_variance = plan->noise_least;
    model->denoise = plan->denoise;
    model->beta = plan->beta;
    model->beta_auto = plan->beta_auto;
    model->objective = plan->objective;
    iv_scaling_free(&model->scaling);
    IV_TRY(iv_scaling_copy(&plan->scaling, &model->scaling, err));
    IV_TRY(IV_NEW(model->names, plan->d, "feature names", err));
    for (size_t i = 0; i < plan->d; i++) IV_TRY(iv_strdup(&model->names[i], data->names[i], err));
    model->named = data->named;
    iv_categories_free(&model->categories);
    IV_TRY(iv_categories_copy(&data->categories, &model->categories, err));
    model->height = data->height;
    model->width = data->width;
    model->channels = data->channels;
    iv_free(model->arch);
    model->arch = NULL;
    IV_TRY(iv_strdup(&model->arch, plan->arch, err));
    model->seed = plan->seed;
    model->member = plan->member;
    model->data_hash = data->hash;
    IV_TRY(iv_strdup(&model->data_source, data->source ? data->source : "", err));
    model->validation_fraction = plan->validation;
    model->split_by_column = data->group != NULL;
    model->train_rows = plan->split.n_train;
    model->validation_rows = plan->split.n_validation;
    IV_TRY(iv_strdup(&model->version, ISOVAE_VERSION, err));
    const iv_kernels *k = iv_kernels_get(options->precision, options->isa);
    return iv_strdup(&model->isa, k ? k->isa : "", err);
}

/* Weights of another model of the same shape. */
static isovae_status take_weights(iv_model *model, const char *path, isovae_error *err)
{
    iv_model *from = NULL;
    isovae_status status = iv_model_load(path, &from, err);
    if (status) return status;
    if (from->d != model->d || from->n != model->n || from->learned_at != model->learned_at ||
        from->dtype != model->dtype || strcmp(from->arch ? from->arch : "", model->arch) != 0 ||
        !iv_graph_same(from->encoder, model->encoder) ||
        !iv_graph_same(from->decoder, model->decoder))
        status = iv_fail(
            err, ISOVAE_ERR_ARGUMENT,
            "--init-from %s: its network (%s, %zu features, %zu latents) is not the one to "
            "train (%s, %zu, %zu)",
            path, from->arch ? from->arch : "?", from->d, from->n, model->arch, model->d, model->n);
    else {
        bool all = from->metric.loss == model->metric.loss; /* what the metric learned, too */
        memcpy(model->params, from->params,
               (all ? model->param_elements : model->learned_at) *
                   (model->dtype == IV_F64 ? sizeof(double) : sizeof(float)));
    }
    iv_model_free(from);
    return status;
}

bool iv_fit_folded(const iv_fit_plan *plan, const iv_model *model, const iv_measure *m,
                   double *value, double *limit)
{
    if (plan->metric.loss != IV_LOSS_SSE || m->active == 0 || m->active > plan->n_pca) return false;
    if (strcmp(plan->arch, "linear") == 0) return false; /* a linear map has no branches */
    if (iv_model_convolves(model)) return false;
    *value = m->transform;
    *limit = iv_plan_pca_residual(plan, m->active) + model->beta / 2.0 * (m->active_sigma2 + 0.5);
    return *value > *limit;
}

/* A network that loses this share of the variance more than PCA, on a table with rows far out, has
 * not folded: those rows kept it from learning (docs/theory.md section 5). */
static const double much_behind = 0.1;

bool iv_fit_behind_pca(const iv_fit_plan *plan, const iv_model *model, const iv_measure *m,
                       double *r2, double *pca_r2)
{
    double noise = model->beta / 2.0, width = 0.0;
    size_t count = 0;
    if (plan->metric.loss != IV_LOSS_SSE || !(plan->pca_total > 0.0) || plan->denoise > 0.0)
        return false;
    /* with light tails that is a fold, or a network too small */
    if (!plan->heavy_tails && strcmp(plan->arch, "linear") != 0) return false;
    if (iv_model_convolves(model)) return false;
    if (plan->beta_auto && plan->varying > plan->n) /* what beta would follow beside PCA */
        noise = iv_plan_pca_residual(plan, plan->n) / (double)(plan->varying - plan->n);
    if (plan->beta_auto) noise = fmax(noise, plan->beta / 2.0);
    while (count < plan->n && count < plan->n_pca && plan->pca[count] > 1.105 * noise) {
        width += noise * fmin(1.0, noise / plan->pca[count]);
        count++;
    }
    *r2 = 1.0 - m->transform / plan->pca_total;
    *pca_r2 = 1.0 - (iv_plan_pca_residual(plan, count) + width) / plan->pca_total;
    return *r2 < *pca_r2 - much_behind;
}

static isovae_status begin(iv_trainer *t, uint64_t attempt, isovae_error *err)
{
    const iv_fit_options *options = t->options;
    iv_model *model = t->model;
    t->attempt = attempt;
    IV_TRY(iv_start_weights(model, iv_trainer_seed(t), t->plan->init, err));
    iv_start_noise(model, t->plan->noise_start);
    if (options->init_from && attempt == 0) IV_TRY(take_weights(model, options->init_from, err));
    iv_trainer_start(t, attempt, model->params);
    return ISOVAE_OK;
}

/* Keeps the better of the folded attempts: its weights and beta go into the model at the end. */
static void keep(iv_trainer *t, double value)
{
    size_t size = t->model->param_elements;
    if (!(value < t->kept_value)) return;
    t->kept_value = value;
    t->kept_beta = t->beta;
    t->k->copy_block(1, size, iv_trainer_weights(t), size, t->kept, size, false);
}

static void take_kept(iv_trainer *t)
{
    size_t size = t->model->param_elements;
    t->k->copy_block(1, size, t->kept, size, t->params, size, false);
    t->best_value = INFINITY;
    t->beta = t->kept_beta;
    iv_trainer_finish(t);
}

static isovae_status final_losses(iv_trainer *t, isovae_error *err)
{
    const iv_fit_plan *plan = t->plan;
    iv_model *model = t->model;
    iv_measure m;
    IV_TRY(iv_measure_rows(model, t->k, t->options->pool, t->data, plan->measured, plan->n_measured,
                           plan->seed, &m, err));
    model->train_loss = m.distortion + model->beta * m.kl;
    if (t->validation_rows) {
        const iv_dataset *held =
            t->options->validation_data ? t->options->validation_data : t->data;
        IV_TRY(iv_measure_rows(model, t->k, t->options->pool, held, t->validation_rows,
                               plan->validation_rows, plan->seed, &m, err));
        model->validation_loss = m.distortion + model->beta * m.kl;
    }
    return ISOVAE_OK;
}

/* A model that knows nothing but the mean has the loss D = total variance, KL 0; with learned noise
 * d times minus the log density of a Gaussian, at most as wide as the widest feature. One that ends
 * well above that did not learn, whatever its steps. */
static isovae_status check_learned(const iv_trainer *t, isovae_error *err)
{
    const iv_fit_plan *plan = t->plan;
    const iv_model *model = t->model;
    if (!iv_loss_by_feature(plan->metric.loss)) return ISOVAE_OK;
    double constant = plan->mean_variance * (double)plan->varying;
    double limit = 1.5 * constant;
    if (iv_loss_learned(plan->metric.loss)) {
        double d = (double)model->d;
        constant = 0.5 * d * (log(2.0 * M_PI) + 1.0 + fmax(log(constant / d), 0.0));
        limit = constant + 10.0 * d; /* rows far off can weigh much in a mean of heavy tails */
    }
    if (model->train_loss <= limit) return ISOVAE_OK;
    return iv_fail(
        err, ISOVAE_ERR_DIVERGED,
        "training ended at a loss of %.3g, above the %.3g of a constant: it diverged; try "
        "a lower --lr than %g",
        model->train_loss, constant, t->rate_factor * plan->rate);
}

/* Below this a run is too short to tell folding from too little training. */
static const uint64_t steps_to_judge = 6000;

static void log_again(iv_trainer *t)
{
    if (iv_run_log_again(t->log, iv_trainer_run_number(t), &t->unlogged) == ISOVAE_OK) return;
    iv_run_log_close(t->log);
    t->log = NULL;
}

/* One run from where the trainer stands to its losses. */
static isovae_status run_once(iv_trainer *t, isovae_error *err)
{
    IV_TRY(iv_trainer_run(t, err));
    if (t->begin_again) { /* --max-time: the first steps have shown how many there is time for */
        IV_TRY(begin(t, t->attempt, err));
        log_again(t);
        IV_TRY(iv_trainer_run(t, err));
    }
    iv_trainer_finish(t);
    IV_TRY(final_losses(t, err));
    return check_learned(t, err);
}

/* What is wrong with a run: the kind, and the figures that say so. */
typedef struct verdict {
    bool folded, behind;
    double value, limit; /* of the transform loss */
    double r2, pca_r2;
} verdict;

static verdict judge(const iv_trainer *t, const iv_measure *m)
{
    verdict v = {0};
    v.behind = iv_fit_behind_pca(t->plan, t->model, m, &v.r2, &v.pca_r2);
    v.folded = iv_fit_folded(t->plan, t->model, m, &v.value, &v.limit);
    return v;
}

/* No more starts: the best of the runs in which something was wrong is taken. */
static isovae_status settle(iv_trainer *t, const verdict *v, iv_fit_result *result,
                            isovae_error *err)
{
    double value = v->value, limit = v->limit;
    take_kept(t);
    if (v->behind)
        iv_fit_tell(result,
                    "the model reconstructs worse than PCA with as many components (R2 %.2f, PCA "
                    "%.2f): try %sa lower --lr than %.3g, --scale minmax, which gives rare values "
                    "far out less weight, or --preset anomaly",
                    v->r2, v->pca_r2, t->plan->steps < steps_to_judge ? "more --steps, " : "",
                    t->rate_factor * t->plan->rate);
    else if (t->plan->steps < steps_to_judge)
        iv_fit_tell(
            result,
            "the model is folded, or not trained enough to tell (transform loss %.3g, limit "
            "%.3g): give it more --steps first",
            value, limit);
    else
        iv_fit_tell(result,
                    "the model is folded (transform loss %.3g, limit %.3g): two branches of the "
                    "data share one latent value; try --init multimodal, another --seed or more "
                    "latents",
                    value, limit);
    return final_losses(t, err);
}

/* --max-time for this member: an equal part of what the members before it have left; and were they
 * to leave nothing, enough for a step. */
static double time_share(const iv_trainer *t)
{
    double limit = t->options->max_seconds;
    if (!(limit > 0.0)) return 0.0;
    double left = (limit - t->seconds_before) / (double)(t->plan->members - t->plan->member);
    return fmax(left, 0.01 * limit);
}

/* Trains, and again from another start where the result is folded, or at a lower rate where it
 * diverged at the default one. */
static isovae_status train(iv_trainer *t, iv_fit_result *result, isovae_error *err)
{
    const iv_fit_options *options = t->options;
    const iv_fit_plan *plan = t->plan;
    iv_model *model = t->model;
    bool resumed = false;
    if (options->resume) {
        IV_TRY(iv_checkpoint_read(t, options->resume, &resumed, err));
        if (!resumed)
            iv_fit_tell(result, "no checkpoint %s yet: training from the beginning",
                        options->resume);
    }
    iv_budget_start(&t->budget, time_share(t), t->budget.used, t->budget.began);
    IV_TRY(iv_run_log_open(options->log, options->tensorboard, resumed || plan->member > 0,
                           iv_trainer_run_number(t), t->step, &t->log, err));
    if (!resumed) IV_TRY(begin(t, 0, err));

    bool again = !options->no_restart && !options->init_from;
    for (;;) {
        isovae_status status = run_once(t, err);
        bool last = !again || t->attempt + 1 >= IV_ATTEMPTS;
        if (!last && !iv_budget_room(&t->budget, iv_clock(), status == ISOVAE_ERR_DIVERGED))
            last = true; /* --max-time leaves no room for another start */
        if (status == ISOVAE_ERR_DIVERGED && !last && isnan(options->rate)) {
            double rate = t->rate_factor * plan->rate;
            iv_fit_tell(result, "run %zu diverged at rate %.3g: started again at %.3g",
                        (size_t)t->attempt + 1, rate, 0.2 * rate);
            t->rate_factor *= 0.2;
        } else {
            IV_TRY(status);
            iv_measure m;
            /* on the rows of the PCA where there is one: other rows may lie farther off */
            bool spectrum = plan->n_pca_rows > 0;
            IV_TRY(iv_measure_rows(
                model, t->k, options->pool, t->data, spectrum ? plan->pca_rows : plan->measured,
                spectrum ? plan->n_pca_rows : plan->n_measured, plan->seed, &m, err));
            const verdict v = judge(t, &m);
            model->folded = v.folded;
            if (!v.folded && !v.behind) return ISOVAE_OK;
            keep(t, m.distortion + model->beta * m.kl);
            if (last || plan->steps < steps_to_judge || (v.behind && !isnan(options->rate)))
                return settle(t, &v, result, err);
            if (v.behind) {
                double rate = 0.2 * t->rate_factor * plan->rate;
                iv_fit_tell(result,
                            "run %zu reconstructs worse than PCA with as many components (R2 %.2f, "
                            "PCA %.2f): started again at rate %.3g",
                            (size_t)t->attempt + 1, v.r2, v.pca_r2, rate);
                t->rate_factor *= 0.2;
            } else {
                iv_fit_tell(result,
                            "run %zu folded (transform loss %.3g, limit %.3g): started again from "
                            "another start",
                            (size_t)t->attempt + 1, v.value, v.limit);
            }
        }
        model->restarts++;
        iv_plan_set_steps(t->plan, plan->asked_steps);
        IV_TRY(begin(t, t->attempt + 1, err));
        log_again(t);
    }
}

/* A member of an ensemble has no scores of its own. */
static isovae_status calibrate(const iv_trainer *t, isovae_error *err)
{
    const iv_fit_plan *plan = t->plan;
    const iv_fit_options *options = t->options;
    size_t *rows = NULL, count = 0;
    isovae_status status =
        iv_spread_rows(plan->split.train, plan->split.n_train, calibrated_rows, &rows, &count, err);
    if (plan->members > 1) {
        if (!status)
            status = iv_calibrate_latents(t->model, t->data, rows, count, options->pool,
                                          options->isa, err);
        iv_free(rows);
        return status;
    }
    if (!status)
        status = iv_calibrate(t->model, t->data, rows, count, plan->split.validation,
                              plan->split.n_validation, options->pool, options->isa, err);
    if (!status && options->validation_data && plan->validation_rows)
        status = iv_calibrate_scores(t->model, options->validation_data, t->validation_rows,
                                     plan->validation_rows, options->pool, options->isa, err);
    iv_free(rows);
    return status;
}

/* What --max-time made of the run; and a log that could not be kept. */
static void tell_time(const iv_trainer *t, iv_fit_result *result)
{
    const iv_fit_plan *plan = t->plan;
    iv_model *model = t->model;
    unsigned long long made = t->step, asked = plan->asked_steps;
    if (t->out_of_time || plan->steps < plan->asked_steps) model->steps_asked = asked;
    model->cut_short = t->out_of_time;
    if (t->out_of_time)
        iv_fit_tell(
            result,
            "--max-time was reached at step %llu of %llu, before the learning rate had "
            "fallen to its end: the model is complete, but a longer time, or fewer --steps, "
            "would give a better one",
            made, asked);
    else if (plan->bend_step > 0)
        iv_fit_tell(result,
                    "--max-time: %llu of %llu steps; the steps became slower on the way, so the "
                    "learning rate was let fall sooner",
                    made, asked);
    else if (plan->steps < plan->asked_steps)
        iv_fit_tell(result,
                    "--max-time: %llu of %llu steps, planned from the measured rate; the weights "
                    "are those of --steps %llu",
                    made, asked, (unsigned long long)plan->steps);
    if (t->unlogged.status != ISOVAE_OK)
        iv_fit_tell(result, "the log ended early: %.200s", t->unlogged.message);
}

static void tell_result(const iv_fit_plan *plan, const iv_model *model, iv_fit_result *result)
{
    size_t active = 0;
    for (size_t j = 0; model->active && j < model->n; j++) active += model->active[j];
    bool learned = iv_loss_learned(plan->metric.loss); /* its noise is no one number */
    bool hidden = !learned && plan->n_pca > 0 && plan->pca[0] <= 1.105 * model->beta / 2.0;
    if (active == 0 && hidden)
        iv_fit_tell(result,
                    "no latent is active: beta/2 = %.3g is above the largest variance, %.3g; try a "
                    "smaller --beta",
                    model->beta / 2.0, plan->pca[0]);
    else if (active == 0)
        iv_fit_tell(result,
                    "no latent is active: training collapsed; try a smaller --beta-start, a "
                    "lower --lr or another --seed");
    /* where PCA, too, sees nothing beyond these latents, there is nothing to say */
    double noise = learned ? plan->noise_least : model->beta / 2.0;
    bool more = plan->n_pca <= model->n || plan->pca[model->n] > 1.105 * noise;
    if (active == model->n && more && model->n + 1 < model->d && model->n < plan->varying)
        iv_fit_tell(result,
                    "all %zu latents are active: the data may carry more; try --latent-dim %zu",
                    model->n, 2 * model->n < model->d ? 2 * model->n : model->d - 1);
}

isovae_status iv_fit_member(const iv_dataset *data, const iv_fit_options *options, size_t member,
                            iv_model *const *finished, double *seconds, iv_fit_result *result,
                            iv_model **out, isovae_error *err)
{
    *out = NULL;
    double begun = iv_clock();
    iv_fit_plan plan;
    IV_TRY(iv_fit_plan_member(data, options, member, &plan, result, err));
    iv_model *model = NULL;
    iv_trainer *trainer = NULL;
    isovae_status status = iv_fit_model(data, options, &plan, &model, err);
    if (!status) status = iv_trainer_new(data, options, &plan, model, &trainer, err);
    if (!status) {
        trainer->budget.began = begun;
        trainer->finished = finished;
        trainer->seconds_before = *seconds;
        status = train(trainer, result, err);
        *seconds = trainer->seconds_before + iv_budget_seconds(&trainer->budget, iv_clock());
    }
    if (!status) tell_time(trainer, result);
    if (!status) status = calibrate(trainer, err);
    if (!status) tell_result(&plan, model, result);
    result->steps += trainer ? trainer->step : 0;
    iv_trainer_free(trainer);
    iv_fit_plan_free(&plan);
    if (status) {
        iv_model_free(model);
        return status;
    }
    *out = model;
    return ISOVAE_OK;
}
