/* The trainings of a sweep: the smallest beta as `fit` trains it, then one beta after the other up
 * to the largest, each from the weights of the one before under a learning rate that starts again
 * and falls to 0; at last the cold training of the answer.
 *
 * From small to large, because a latent that is off gets no gradient, and so wakes late: on
 * toy:norm, downwards, the third latent came at beta 0.09 instead of 0.31 and the chords around
 * were off by up to 72 %; upwards all three births were within 0.5 % and the chords within 1 % (16
 * betas, 2,000 steps each).
 *
 * Along such a chain later networks are the better trained, which tilts the curve (MNIST: chords up
 * to 20 % off). So each beta is trained twice: from the weights M of the beta before, which gives
 * the weights M' that go on, and again from M', with the noise and the order of rows of the next
 * beta's first training, which starts from M', too. These two differ in beta alone; each chord is
 * between such a pair (sweep_answer.c). */
#include "train/sweep_work.h"

#include "base/clock.h"
#include "train/measure.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { attempts = 3 };
/* Below this a training is too short to tell folding from too little training (fit.c). */
static const uint64_t steps_to_judge = 6000;

static bool on_progress(void *user, const iv_progress_info *info)
{
    const iv_sweep_work *w = user;
    iv_progress_info all = *info;
    if (info->stage && strcmp(info->stage, "training") == 0) {
        all.stage = "sweep";
        all.done = w->before + info->done;
        all.total = fmax(w->total, all.done);
    }
    return iv_progress_report(&w->options->fit.progress, &all);
}

/* ---- measuring ---- */

static isovae_status measure_side(const iv_sweep_work *w, const iv_model *model,
                                  const iv_dataset *data, const size_t *rows, size_t n_rows,
                                  iv_measure_detail *detail, iv_sweep_side *out, iv_measure *m,
                                  isovae_error *err)
{
    const iv_kernels *k = w->trainer->k;
    detail->range = w->range;
    /* the same draws for every beta and every seed: the noise of the rows is common */
    IV_TRY(iv_measure_detailed(model, k, w->options->fit.pool, data, rows, n_rows, w->s->seed, m,
                               detail, err));
    out->distortion = m->distortion;
    out->transform = m->transform;
    out->rate = m->kl;
    out->error = detail->error;
    out->psnr = w->range > 0.0 ? detail->psnr : NAN;
    return ISOVAE_OK;
}

static isovae_status measure_point(const iv_sweep_work *w, const iv_model *model, iv_sweep_point *p,
                                   isovae_error *err)
{
    size_t n = w->s->n;
    double *room;
    iv_measure m;
    IV_TRY(IV_NEW(room, 3 * n, "latents", err));
    iv_measure_detail detail = {.kl = room, .sigma2 = room + n, .importance = room + 2 * n};
    static const iv_sweep_spot nowhere = {NAN, NAN};
    static const iv_sweep_side none = {NAN, NAN, NAN, NAN, NAN, {NAN, NAN}, {NAN, NAN}};
    p->beta = model->beta;
    p->train.curve = p->held.curve = nowhere;
    if (w->s->n_held == 0) p->held = none;
    isovae_status status = ISOVAE_OK;
    if (w->s->n_held)
        status =
            measure_side(w, model, w->held_data, w->held, w->s->n_held, &detail, &p->held, &m, err);
    if (!status)
        status = measure_side(w, model, w->data, w->plan.measured, w->plan.n_measured, &detail,
                              &p->train, &m, err);
    if (!status) {
        p->active = (double)m.active;
        p->coding_predicted = 0.0;
        for (size_t j = 0; j < n; j++)
            p->coding_predicted += model->beta / 2.0 * (1.0 - detail.sigma2[j]);
        for (size_t i = 0; i < n; i++) { /* by descending KL */
            size_t best = i;
            for (size_t j = i + 1; j < n; j++)
                if (detail.kl[j] > detail.kl[best]) best = j;
            p->kl[i] = detail.kl[best];
            p->importance[i] = detail.importance[best];
            detail.kl[best] = detail.kl[i];
            detail.importance[best] = detail.importance[i];
        }
    }
    iv_free(room);
    return status;
}

/* ---- the trainings ---- */

static uint64_t stage_seed(const iv_sweep *s, size_t run, size_t k)
{
    return s->seed + run * UINT64_C(0xD1B54A32D192ED03) + k * UINT64_C(0x8CB92BA72F3D8DD7);
}

static isovae_status save(iv_sweep_work *w, isovae_error *err)
{
    const char *path = w->options->state;
    if (path == NULL) return ISOVAE_OK;
    return iv_sweep_save(w->s, w->model, w->settings.data, &w->at, path, err);
}

/* Where an interrupted sweep left a training unfinished, it goes on. One of other settings is of a
 * training that was finished, or not begun, when the state was written: it says nothing. */
static isovae_status take_checkpoint(iv_sweep_work *w, isovae_error *err)
{
    bool found = false;
    if (!w->resumed || w->checkpoint.data == NULL) return ISOVAE_OK;
    w->resumed = false;
    isovae_status status = iv_checkpoint_read(w->trainer, w->checkpoint.data, &found, err);
    if (status != ISOVAE_ERR_ARGUMENT) return status;
    iv_trainer_start(w->trainer, 0, w->model->params);
    return ISOVAE_OK;
}

/* One training from where the model's weights are; again at a lower rate where it diverges. */
static isovae_status train_once(iv_sweep_work *w, double beta, isovae_error *err)
{
    iv_trainer *t = w->trainer;
    t->rate_factor = 1.0;
    for (int tries = 0;; tries++) {
        iv_trainer_start(t, 0, w->model->params);
        IV_TRY(take_checkpoint(w, err));
        iv_budget_start(&t->budget, 0.0, 0.0, iv_clock());
        isovae_status status = iv_trainer_run(t, err);
        if (status == ISOVAE_ERR_CANCELLED) return status;
        if (w->checkpoint.data != NULL) unlink(w->checkpoint.data);
        if (status == ISOVAE_OK) iv_trainer_finish(t);
        if (status != ISOVAE_ERR_DIVERGED || tries == 2) return status;
        t->rate_factor *= 0.3;
        iv_sweep_tell(w->s, "training at beta %.3g diverged: again at %.3g of the learning rate",
                      beta, t->rate_factor);
    }
}

static isovae_status is_folded(const iv_sweep_work *w, bool *folded, isovae_error *err)
{
    const iv_fit_plan *plan = &w->plan;
    bool spectrum = plan->n_pca_rows > 0;
    iv_measure m;
    double value, limit;
    IV_TRY(iv_measure_rows(w->model, w->trainer->k, w->options->fit.pool, w->data,
                           spectrum ? plan->pca_rows : plan->measured,
                           spectrum ? plan->n_pca_rows : plan->n_measured, w->s->seed, &m, err));
    *folded = iv_fit_folded(plan, w->model, &m, &value, &limit);
    return ISOVAE_OK;
}

/* The smallest beta, from a cold start, as `fit` does it: annealed from above, begun again from
 * other weights where it folds. */
static isovae_status train_smallest(iv_sweep_work *w, size_t run, double beta, isovae_error *err)
{
    iv_sweep *s = w->s;
    w->fit.beta = beta;
    bool folded = true;
    for (size_t attempt = w->at.attempt; attempt < attempts && folded; attempt++) {
        w->at.attempt = attempt;
        if (attempt > 0) IV_TRY(save(w, err));
        w->plan.seed = stage_seed(s, run, attempt);
        iv_plan_choose_beta(&w->plan, &w->fit);
        iv_plan_set_steps(&w->plan, s->cold_steps);
        IV_TRY(iv_start_weights(w->model, w->plan.seed, w->plan.init, err));
        IV_TRY(train_once(w, beta, err));
        IV_TRY(is_folded(w, &folded, err));
        if (w->plan.steps < steps_to_judge || w->options->fit.no_restart) break;
    }
    w->at.attempt = 0;
    if (folded && s->cold_steps >= steps_to_judge)
        iv_sweep_tell(
            s,
            "the training at beta %.3g is folded (two branches of the data share one latent "
            "value), and the curve starts from it; try more --latent-dim or another --seed",
            beta);
    return ISOVAE_OK;
}

static size_t weight_bytes(const iv_model *model)
{
    return model->param_elements * (model->dtype == IV_F64 ? sizeof(double) : sizeof(float));
}

/* A training of `steps` from the weights at hand. The pair of a chord has the same key. */
static isovae_status train_warm(iv_sweep_work *w, size_t run, size_t chord, double beta,
                                isovae_error *err)
{
    w->plan.seed = stage_seed(w->s, run, attempts + chord);
    w->plan.beta = w->plan.beta_start = beta;
    iv_plan_set_steps(&w->plan, w->s->steps);
    return train_once(w, beta, err);
}

/* Two trainings a beta, from the smallest on: the one that arrives there, whose weights go on, and
 * one more from its weights, whose figures are the beta's. */
static isovae_status train_next(iv_sweep_work *w, size_t run, size_t stage, bool again,
                                isovae_error *err)
{
    iv_sweep *s = w->s;
    iv_sweep_point *p = &s->runs[run * s->points + s->points - 1 - stage];
    iv_model *model = w->model;
    double beta = s->runs[s->points - 1 - stage].beta;
    if (again) {
        memcpy(w->weights, model->params, weight_bytes(model));
        isovae_status status = train_warm(w, run, stage + 1, beta, err);
        if (!status) status = measure_point(w, model, p, err);
        memcpy(model->params, w->weights, weight_bytes(model));
        return status;
    }
    IV_TRY(stage == 0 ? train_smallest(w, run, beta, err) : train_warm(w, run, stage, beta, err));
    IV_TRY(measure_point(w, model, p, err));
    p->train.arrived = (iv_sweep_spot){p->train.distortion, p->train.rate};
    p->held.arrived = (iv_sweep_spot){p->held.distortion, p->held.rate};
    return ISOVAE_OK;
}

/* The smallest beta does not meet the target: go on below it, by a factor of about 4, while that
 * still helps. */
static bool wants_more(iv_sweep_work *w)
{
    iv_sweep *s = w->s;
    size_t k = s->points - 1;
    if (s->target.goal == IV_GOAL_CALIBRATED) return false;
    double value = iv_sweep_value(s, &s->runs[k]);
    double wanted = s->target.value, gain = value - w->at.before;
    bool rmse = s->target.goal == IV_GOAL_RMSE;
    if (rmse ? value <= wanted : value >= wanted) return false;
    if (!isnan(w->at.before) && !(rmse ? gain < 0.0 : gain > 0.0)) return false;
    w->at.before = value;
    double ratio = s->runs[0].beta / s->runs[1].beta;
    size_t more = (size_t)ceil(log(4.0) / log(ratio));
    if (more > w->room - s->points) more = w->room - s->points;
    if (more == 0) return false;
    s->points += more;
    iv_sweep_extend_grid(s);
    return true;
}

/* Steps before a training of a run. */
static double steps_until(const iv_sweep *s, size_t run, size_t training)
{
    double steps = (double)s->steps, cold = (double)s->cold_steps;
    double all = cold + (double)(2 * s->points - 1) * steps;
    return (double)run * all + (training > 0 ? cold + (double)(training - 1) * steps : 0.0);
}

/* In the order of the trainings: one seed after the other, each from small to large beta. */
static isovae_status train_all(iv_sweep_work *w, isovae_error *err)
{
    iv_sweep *s = w->s;
    for (;;) {
        size_t each = 2 * s->points, run = w->at.done / each, training = w->at.done % each;
        w->total = steps_until(s, s->seeds, 0);
        if (!w->options->no_retrain) w->total += (double)s->cold_steps;
        if (w->at.done == 2 && wants_more(w)) {
            w->at.done = 0;
            continue;
        }
        if (run >= s->seeds) return ISOVAE_OK;
        w->before = steps_until(s, run, training);
        IV_TRY(train_next(w, run, training / 2, training % 2 == 1, err));
        w->at.done++;
        IV_TRY(save(w, err));
    }
}

/* ---- the answer, from a cold start ---- */

/* `path`: its checkpoint, or NULL. */
static isovae_status train_cold(iv_sweep_work *w, double beta, const char *path,
                                iv_sweep_retrain *out, isovae_error *err)
{
    iv_sweep *s = w->s;
    iv_fit_options cold = w->options->fit;
    iv_fit_result result;
    cold.beta = beta;
    cold.beta_start = NAN;
    cold.epochs = 0;
    cold.steps = (size_t)s->cold_steps;
    cold.checkpoint = cold.resume = cold.log = cold.tensorboard = cold.init_from = NULL;
    cold.max_seconds = 0.0;
    cold.progress = w->fit.progress;
    cold.checkpoint = path;
    cold.resume = w->options->resume && path != NULL && access(path, R_OK) == 0 ? path : NULL;
    IV_TRY(iv_fit(w->data, &cold, &result, err));
    if (path != NULL) unlink(path);
    iv_model_free(s->model);
    s->model = result.model;
    for (size_t i = 0; i < result.n_notes; i++) iv_sweep_tell(s, "%s", result.notes[i].text);
    IV_TRY(measure_point(w, s->model, &out->point, err));
    out->beta = beta;
    out->value = iv_sweep_value(s, &out->point);
    out->predicted = iv_sweep_value_at(s, beta);
    double loss = out->point.train.distortion + beta * out->point.train.rate;
    out->loss_gap = (loss - iv_sweep_loss_at(s, beta)) / beta;
    return ISOVAE_OK;
}

/* Trains the answer cold and, where it misses the target by more than the tolerance, again at the
 * beta to which the curve's slope points from there. */
static isovae_status retrain(iv_sweep_work *w, isovae_error *err)
{
    iv_sweep *s = w->s;
    double beta = s->beta, wanted = s->target.goal == IV_GOAL_CALIBRATED ? 0.0 : s->target.value;
    w->before = w->total - (double)s->cold_steps;
    while (s->n_retrains < IV_SWEEP_RETRAINS && !s->reached) {
        iv_sweep_retrain *r = &s->retrains[s->n_retrains];
        w->total = w->before + (double)s->cold_steps;
        iv_text path = {0};
        if (w->options->state != NULL)
            iv_text_printf(&path, "%s.cold%zu.ckpt", w->options->state, s->n_retrains);
        isovae_status status = iv_text_check(&path, err);
        if (status == ISOVAE_OK) status = train_cold(w, beta, path.data, r, err);
        iv_text_free(&path);
        IV_TRY(status);
        s->n_retrains++;
        s->beta = beta;
        s->active = (size_t)r->point.active;
        s->reached = iv_sweep_meets(s, r->value);
        w->before += (double)s->cold_steps;
        double slope = iv_sweep_slope_at(s, beta), step = (wanted - r->value) / slope;
        if (s->reached || !isfinite(step)) break;
        beta *= exp(fmin(fmax(step, -0.7), 0.7));
    }
    double d, rate;
    iv_sweep_linear(s, s->beta, &d, &rate, &s->pca_active);
    return ISOVAE_OK;
}

static isovae_status restore(iv_sweep_work *w, isovae_error *err)
{
    iv_sweep *s = w->s;
    double first = s->runs[0].beta, second = s->runs[1].beta;
    IV_TRY(
        iv_sweep_restore(s, w->model, w->settings.data, w->room, &w->at, w->options->state, err));
    w->resumed = true;
    s->runs[0].beta = first; /* the grid is this run's, whatever the file says */
    s->runs[1].beta = second;
    iv_sweep_extend_grid(s);
    for (size_t i = s->points; i < s->seeds * s->points; i++)
        s->runs[i].beta = s->runs[i % s->points].beta;
    return ISOVAE_OK;
}

/* Where a training is not at its optimum: the point whose coding loss is farthest from E7. Of a
 * quadratic distance and the conventional form alone; below a nat the draws are too few to tell. */
static void tell_undertrained(const iv_sweep_work *w)
{
    iv_sweep *s = w->s;
    double worst = 0.2;
    const iv_sweep_point *at = NULL;
    if (w->plan.metric.loss != IV_LOSS_SSE || w->plan.objective != IV_OBJECTIVE_CONVENTIONAL)
        return;
    for (size_t k = 0; k < s->points; k++) {
        const iv_sweep_point *p = &s->mean[k];
        double ratio = (p->train.distortion - p->train.transform) / p->coding_predicted;
        if (!(p->train.rate >= 1.0) || !(fabs(ratio - 1.0) > worst)) continue;
        worst = fabs(ratio - 1.0);
        at = p;
    }
    if (at != NULL)
        iv_sweep_tell(
            s,
            "at beta %.3g the coding loss is %.2f times what it is at the optimum: more --steps "
            "would make the curve true there",
            at->beta, (at->train.distortion - at->train.transform) / at->coding_predicted);
}

static void tell_curve(iv_sweep *s)
{
    const iv_sweep_point *last = &s->mean[s->points - 1];
    double d, r;
    size_t active;
    iv_sweep_linear(s, last->beta, &d, &r, &active);
    if (last->active >= (double)s->n && active > s->n && s->n + 1 < s->d)
        iv_sweep_tell(
            s,
            "all %zu latents are active at beta %.3g, where PCA counts %zu: the curve is bent by "
            "--latent-dim",
            s->n, last->beta, active);
    if (s->n_train < 5000)
        iv_sweep_tell(s, "the curve stands on %zu training rows: slopes are rough below 5,000",
                      s->n_train);
    if (s->n_held == 0)
        iv_sweep_tell(s, "no validation rows: the target is judged on the rows of the training");
}

isovae_status iv_sweep_run(const iv_dataset *data, const iv_sweep_options *options, iv_sweep **out,
                           isovae_error *err)
{
    double begun = iv_clock();
    iv_sweep_work w = {.data = data, .options = options, .at = {.before = NAN}};
    *out = NULL;
    const iv_progress progress = {.call = on_progress, .user = &w};
    isovae_status status = iv_sweep_prepare(&w, &progress, err);
    if (!status && options->state && options->resume) status = restore(&w, err);
    if (!status) status = save(&w, err); /* from now on there is something to go on from */
    if (!status) status = train_all(&w, err);
    if (!status) {
        iv_sweep_summarise(w.s);
        iv_sweep_answer(w.s);
        tell_curve(w.s);
        tell_undertrained(&w);
        bool answers = w.s->found && !options->no_retrain && isfinite(w.s->beta);
        if (answers) status = retrain(&w, err);
    }
    iv_trainer_free(w.trainer);
    iv_model_free(w.model);
    iv_fit_plan_free(&w.plan);
    iv_free(w.weights);
    iv_free(w.held);
    iv_text_free(&w.settings);
    iv_text_free(&w.checkpoint);
    if (status) {
        iv_sweep_free(w.s);
        return status;
    }
    w.s->seconds = iv_clock() - begun;
    *out = w.s;
    return ISOVAE_OK;
}
