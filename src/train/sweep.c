/* The trainings of a sweep: the smallest beta as `fit` trains it, then one beta after the other up
 * to the largest, each from the weights of the one before under a learning rate that starts again
 * and falls to 0; at last the cold training of the answer.
 *
 * From small to large, because a latent that is off gets no gradient, and so wakes late: on
 * toy:norm, downwards, the third latent came at beta 0.09 instead of 0.31 and the chords around
 * were off by up to 72 %; upwards all three births were within 0.5 % and the chords within 1 % (16
 * betas, 2,000 steps each). */
#include "train/sweep.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "linalg/linalg.h"
#include "theory/analysis.h"
#include "train/measure.h"
#include "train/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* `extra`: points that a target out of reach may add below the smallest beta. */
enum { default_points = 16, most_points = 200, most_seeds = 100, extra = 12, attempts = 3 };
/* Trainings at the smallest beta before the others, beside the cold one. */
enum { settling = 12 };
/* Steps of a training from a cold start over those of a beta. */
enum { cold_share = 12 };
/* Below this a training is too short to tell folding from too little training (fit.c). */
static const uint64_t steps_to_judge = 6000;
enum { most_pca = 256, most_held = 10000 };
/* The first beta lies so far above the birth of the first latent; the last one this far below the
 * noise that PCA with as many latents leaves. */
static const double above_first = 1.5, below_noise = 4.0;

void iv_sweep_options_init(iv_sweep_options *options)
{
    memset(options, 0, sizeof *options);
    iv_fit_options_init(&options->fit);
    options->target.value = NAN;
    options->beta_from = options->beta_to = NAN;
}

typedef struct work {
    const iv_dataset *data;
    const iv_sweep_options *options;
    iv_sweep *s;
    iv_fit_options fit; /* of the warm trainings */
    iv_fit_plan plan;
    iv_fit_result notes; /* of the plan */
    iv_model *model;
    iv_trainer *trainer;
    size_t *held; /* rows, s->n_held */
    const iv_dataset *held_data;
    double range; /* of the PSNR */
    size_t room;  /* points for which there is room */
    iv_sweep_place at;
    iv_text settings;
    iv_text checkpoint; /* file of the training that runs; no data: none is kept */
    bool resumed;       /* it may be there from before */
    /* progress over all trainings */
    double before, total;
} work;

static void tell(iv_sweep *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void tell(iv_sweep *s, const char *format, ...)
{
    va_list arguments;
    if (s->n_notes == sizeof s->notes / sizeof s->notes[0]) return;
    va_start(arguments, format);
    vsnprintf(s->notes[s->n_notes++].text, sizeof s->notes[0].text, format, arguments);
    va_end(arguments);
}

static bool on_progress(void *user, const iv_progress_info *info)
{
    const work *w = user;
    iv_progress_info all = *info;
    if (info->stage && strcmp(info->stage, "training") == 0) {
        all.stage = "sweep";
        all.done = w->before + info->done;
        all.total = fmax(w->total, all.done);
    }
    return iv_progress_report(&w->options->fit.progress, &all);
}

/* ---- before ---- */

static isovae_status check(const work *w, isovae_error *err)
{
    const iv_sweep_options *o = w->options;
    if (o->points == 1 || o->points > most_points)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--points: from 2 to %d betas make a sweep",
                       (int)most_points);
    if (o->seeds > most_seeds)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--seeds: at most %d", (int)most_seeds);
    if (!isnan(o->beta_from) && !isnan(o->beta_to) && !(o->beta_from > o->beta_to))
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--beta-range: goes from a large to a small beta, such as 1:0.001");
    return ISOVAE_OK;
}

static isovae_status check_target(const work *w, isovae_error *err)
{
    const iv_sweep_target *t = &w->options->target;
    bool ssim = w->plan.metric.loss == IV_LOSS_SSIM;
    if (t->goal == IV_GOAL_PSNR && w->data->height == 0)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--target: psnr is for pictures; use rmse= or r2= for these rows");
    if (t->goal == IV_GOAL_ACTIVE && t->value > (double)w->plan.n)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--target: active=%.0f is more than the %zu latents; raise --latent-dim",
                       t->value, w->plan.n);
    if (t->goal == IV_GOAL_CALIBRATED && ssim && !w->options->no_retrain)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--target: is required with --loss ssim, whose distance has no noise that "
                       "would answer by itself (or --no-retrain for the curve alone)");
    if (ssim && (isnan(w->options->beta_from) || isnan(w->options->beta_to)))
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--beta-range: is required with --loss ssim, such as 0.1:0.0001");
    return ISOVAE_OK;
}

static isovae_status make_plan(work *w, isovae_error *err)
{
    w->fit = w->options->fit;
    w->fit.beta = 1.0;
    w->fit.beta_start = NAN;
    w->fit.beta_floor = w->options->fit.beta_floor;
    w->fit.epochs = w->fit.steps = 0;
    w->fit.checkpoint = w->fit.resume = w->fit.log = w->fit.tensorboard = w->fit.init_from = NULL;
    w->fit.max_seconds = 0.0;
    w->fit.progress = (iv_progress){.call = on_progress, .user = w};
    IV_TRY(iv_fit_plan_make(w->data, &w->fit, &w->plan, &w->notes, err));
    return check_target(w, err);
}

/* All components that a beta within the sweep could tell from noise. */
static isovae_status take_spectrum(work *w, isovae_error *err)
{
    const iv_fit_plan *plan = &w->plan;
    iv_sweep *s = w->s;
    float *x = NULL;
    size_t rows = plan->n_pca_rows, cells, count = plan->d < rows ? plan->d : rows;
    if (rows == 0) return ISOVAE_OK;
    if (count > most_pca) count = most_pca;
    if (!iv_size_mul(rows, plan->d, &cells))
        return iv_fail(err, ISOVAE_ERR_MEMORY, "%zu features are too many", plan->d);
    isovae_status status = IV_NEW(x, cells, "rows", err);
    if (!status) status = IV_NEW(s->pca, count, "eigenvalues", err);
    if (!status) {
        iv_scaling_rows(&plan->scaling, w->data, plan->pca_rows, rows, x);
        status = iv_pca(x, rows, plan->d, plan->scaling.weight, count, plan->seed, s->pca, NULL,
                        &s->pca_total, err);
        s->n_pca = count;
        s->comparable = plan->metric.loss == IV_LOSS_SSE;
    }
    iv_free(x);
    return status;
}

static void default_range(const work *w, double *from, double *to)
{
    const iv_sweep *s = w->s;
    const iv_fit_plan *plan = &w->plan;
    if (s->n_pca == 0) { /* bce: 1 is the plain bound */
        *from = 64.0;
        *to = 0.25;
        return;
    }
    double kept = 0.0, noise = w->options->fit.beta_floor * plan->mean_variance;
    for (size_t j = 0; j < plan->n && j < s->n_pca; j++) kept += s->pca[j];
    *from = 2.0 * s->pca[0] / 1.105 * above_first;
    if (plan->varying > plan->n) {
        double left = (s->pca_total - kept) / (double)(plan->varying - plan->n) / below_noise;
        noise = fmax(noise, left);
    }
    *to = fmin(2.0 * noise, *from / 16.0);
}

/* The betas of the first seed, from its first two on. */
static void extend_grid(iv_sweep *s)
{
    double from = s->runs[0].beta, ratio = s->runs[1].beta / from;
    for (size_t k = 2; k < s->points; k++) s->runs[k].beta = from * pow(ratio, (double)k);
}

static isovae_status make_grid(work *w, isovae_error *err)
{
    const iv_sweep_options *o = w->options;
    iv_sweep *s = w->s;
    double from, to;
    default_range(w, &from, &to);
    if (!isnan(o->beta_from)) from = o->beta_from;
    if (!isnan(o->beta_to)) to = o->beta_to;
    if (!(from > to && to > 0.0 && isfinite(from)))
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--beta-range: %.3g to %.3g leaves nothing to sweep; give it as LARGE:SMALL",
                       from, to);
    w->s->runs[0].beta = from;
    w->s->runs[1].beta = from * pow(to / from, 1.0 / (double)(s->points - 1));
    extend_grid(s);
    return ISOVAE_OK;
}

/* Sum over features of the weighted variance of rows. */
static isovae_status variance_of(const work *w, const iv_dataset *data, const size_t *rows,
                                 size_t n_rows, double *out, isovae_error *err)
{
    const iv_scaling *scaling = &w->plan.scaling;
    size_t d = w->plan.d;
    double *sums = NULL, count = (double)n_rows;
    float *row = NULL;
    isovae_status status = IV_NEW(sums, 2 * d, "column sums", err);
    if (!status) status = IV_NEW(row, d, "a row", err);
    for (size_t r = 0; !status && r < n_rows; r++) {
        iv_scaling_rows(scaling, data, rows + r, 1, row);
        for (size_t i = 0; i < d; i++) {
            sums[i] += (double)row[i];
            sums[d + i] += (double)row[i] * (double)row[i];
        }
    }
    *out = 0.0;
    for (size_t i = 0; !status && i < d; i++) {
        double mean = sums[i] / count;
        *out += scaling->weight[i] * fmax(0.0, sums[d + i] / count - mean * mean);
    }
    iv_free(sums);
    iv_free(row);
    return status;
}

static isovae_status take_held(work *w, isovae_error *err)
{
    const iv_dataset *own = w->options->fit.validation_data;
    w->held_data = own ? own : w->data;
    if (!own)
        return iv_spread_rows(w->plan.split.validation, w->plan.split.n_validation, most_held,
                              &w->held, &w->s->n_held, err);
    size_t *good, found = 0;
    IV_TRY(IV_NEW(good, own->rows, "validation rows", err));
    for (size_t r = 0; r < own->rows; r++)
        if (!own->status || own->status[r] == IV_ROW_OK) good[found++] = r;
    isovae_status status = iv_spread_rows(good, found, most_held, &w->held, &w->s->n_held, err);
    iv_free(good);
    return status;
}

/* R of the PSNR as `report` has it: what unit scaling divides by, the bytes' own, else what the
 * rows have. */
static void take_range(work *w)
{
    const iv_scaling *scaling = &w->plan.scaling;
    const iv_dataset *data = w->held_data;
    const size_t *rows = w->s->n_held ? w->held : w->plan.measured;
    size_t n_rows = w->s->n_held ? w->s->n_held : w->plan.n_measured;
    double low = INFINITY, high = -INFINITY;
    if (scaling->kind == IV_SCALE_UNIT) {
        w->range = scaling->scale[0];
        return;
    }
    for (size_t r = 0; r < n_rows; r++) {
        size_t first = rows[r] * data->cols;
        for (size_t i = first; i < first + data->cols; i++) {
            double x = data->bytes ? (double)data->bytes[i] : (double)data->values[i];
            low = fmin(low, x);
            high = fmax(high, x);
        }
        iv_dataset_use(data, IV_ROWS_TOUCHED, rows + r, 1);
    }
    w->range = data->bytes ? (high > 1 ? 255 : 1) : high > low ? high - low : 1;
}

/* All that decides the figures, an option a line. */
static void write_settings(work *w)
{
    const iv_fit_plan *p = &w->plan;
    const iv_sweep *s = w->s;
    const iv_sweep_options *o = w->options;
    iv_text *t = &w->settings;
    uint64_t held = o->fit.validation_data ? o->fit.validation_data->hash : 0;
    iv_text_printf(t, "DATA %016" PRIx64 "\n--latent-dim %zu\n--loss %s\n--arch %s\n",
                   w->data->hash, p->n, s->loss, p->arch);
    iv_text_printf(t, "--activation %s\n--init %d\n--scale %s\n--objective %d\n",
                   iv_act_name(p->act), (int)p->init, iv_scale_kind_name(p->scale),
                   (int)p->objective);
    iv_text_printf(t, "--batch-size %zu\n--lr %.17g\n--lr-schedule %d\n--weight-decay %.17g\n",
                   p->batch, p->rate, (int)p->schedule, p->weight_decay);
    iv_text_printf(t, "--kl-warmup %.17g\n--validation %.17g %016" PRIx64 "\n--seed %" PRIu64 "\n",
                   p->kl_warmup, p->validation, held, p->seed);
    iv_text_printf(t, "--steps %" PRIu64 "\n--seeds %zu\n--points %zu\n", s->steps, s->seeds,
                   s->points);
    iv_text_printf(t, "--beta-range %.17g:%.17g\n", s->runs[0].beta, s->runs[1].beta);
    /* a target may add points */
    iv_text_printf(t, "--target %s %.17g\n", iv_sweep_goal_name(o->target.goal), o->target.value);
}

static isovae_status prepare(work *w, isovae_error *err)
{
    const iv_sweep_options *o = w->options;
    size_t seeds = o->seeds ? o->seeds : 1, points = o->points ? o->points : default_points;
    IV_TRY(check(w, err));
    IV_TRY(make_plan(w, err));
    const iv_fit_plan *plan = &w->plan;
    w->room = points + extra;
    IV_TRY(iv_sweep_new(seeds, w->room, plan->n, &w->s, err));
    iv_sweep *s = w->s;
    const char *space;
    s->points = points;
    s->d = plan->d;
    s->varying = plan->varying;
    s->n_train = plan->n_measured;
    s->steps = o->steps ? o->steps : (plan->asked_steps + cold_share - 1) / cold_share;
    s->cold_steps = o->steps ? cold_share * o->steps : plan->asked_steps;
    s->seed = plan->seed;
    s->target = o->target;
    s->fixed_beta = plan->metric.loss == IV_LOSS_BCE ? 1.0 : NAN;
    snprintf(s->arch, sizeof s->arch, "%s", plan->arch);
    iv_metric_format(&plan->metric, s->loss, sizeof s->loss);
    iv_unit_names(plan->metric.loss, plan->scale, &space, &s->unit);
    IV_TRY(take_spectrum(w, err));
    IV_TRY(make_grid(w, err));
    IV_TRY(take_held(w, err));
    IV_TRY(variance_of(w, w->data, plan->measured, plan->n_measured, &s->variance, err));
    if (s->n_held) IV_TRY(variance_of(w, w->held_data, w->held, s->n_held, &s->held_variance, err));
    if (w->data->height > 0) take_range(w);
    for (size_t i = 0; i < w->notes.n_notes; i++) tell(s, "%s", w->notes.notes[i].text);
    w->plan.beta_auto = false;
    IV_TRY(iv_fit_model(w->data, &w->fit, plan, &w->model, err));
    iv_plan_set_steps(&w->plan, s->steps);
    IV_TRY(iv_trainer_new(w->data, &w->fit, &w->plan, w->model, &w->trainer, err));
    write_settings(w);
    if (o->state != NULL) {
        iv_text_printf(&w->checkpoint, "%s.ckpt", o->state);
        IV_TRY(iv_text_check(&w->checkpoint, err));
        w->fit.checkpoint = w->checkpoint.data;
    }
    return iv_text_check(&w->settings, err);
}

/* ---- measuring ---- */

static isovae_status measure_side(const work *w, const iv_model *model, const iv_dataset *data,
                                  const size_t *rows, size_t n_rows, iv_measure_detail *detail,
                                  iv_sweep_side *out, iv_measure *m, isovae_error *err)
{
    const iv_kernels *k = w->trainer->k;
    detail->range = w->range;
    /* the same draws for every beta and every seed: the noise of the rows is common */
    IV_TRY(iv_measure_detailed(model, k, w->options->fit.pool, data, rows, n_rows, w->s->seed, m,
                               detail, err));
    *out = (iv_sweep_side){.distortion = m->distortion,
                           .transform = m->transform,
                           .rate = m->kl,
                           .error = detail->error,
                           .psnr = w->range > 0.0 ? detail->psnr : NAN};
    return ISOVAE_OK;
}

static isovae_status measure_point(const work *w, const iv_model *model, iv_sweep_point *p,
                                   isovae_error *err)
{
    size_t n = w->s->n;
    double *room;
    iv_measure m;
    IV_TRY(IV_NEW(room, 3 * n, "latents", err));
    iv_measure_detail detail = {.kl = room, .sigma2 = room + n, .importance = room + 2 * n};
    static const iv_sweep_side none = {NAN, NAN, NAN, NAN, NAN};
    p->beta = model->beta;
    p->held = none;
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

static isovae_status save(work *w, isovae_error *err)
{
    const char *path = w->options->state;
    if (path == NULL) return ISOVAE_OK;
    return iv_sweep_save(w->s, w->model, w->settings.data, &w->at, path, err);
}

/* Where an interrupted sweep left a training unfinished, it goes on. One of other settings is of a
 * training that was finished, or not begun, when the state was written: it says nothing. */
static isovae_status take_checkpoint(work *w, isovae_error *err)
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
static isovae_status train_once(work *w, double beta, isovae_error *err)
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
        tell(w->s, "training at beta %.3g diverged: again at %.3g of the learning rate", beta,
             t->rate_factor);
    }
}

static isovae_status is_folded(const work *w, bool *folded, isovae_error *err)
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
static isovae_status train_first(work *w, size_t run, double beta, isovae_error *err)
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
        tell(s,
             "the training at beta %.3g is folded (two branches of the data share one latent "
             "value), and the curve starts from it; try more --latent-dim or another --seed",
             beta);
    return ISOVAE_OK;
}

/* The cold training is round 0 of the smallest beta. A rate that starts again finds a better model,
 * the less the more often it has: a chain would be the better trained the later, which tilts the
 * curve. The rounds are to spend that beforehand; on MNIST they do not suffice (docs/sweep.md). */
static isovae_status train_smallest(work *w, size_t run, double beta, isovae_error *err)
{
    iv_sweep *s = w->s;
    double before = w->before;
    for (; w->at.rounds <= settling; w->at.rounds++) {
        size_t round = w->at.rounds;
        if (round > 0) {
            w->before = before + (double)s->cold_steps + (double)((round - 1) * s->steps);
            IV_TRY(save(w, err));
            w->plan.seed = stage_seed(s, run, attempts + most_points + extra + round);
            w->plan.beta = w->plan.beta_start = beta;
            iv_plan_set_steps(&w->plan, s->steps);
            IV_TRY(train_once(w, beta, err));
        } else {
            IV_TRY(train_first(w, run, beta, err));
        }
    }
    w->at.rounds = 0;
    return ISOVAE_OK;
}

static isovae_status train_stage(work *w, size_t run, size_t stage, isovae_error *err)
{
    iv_sweep *s = w->s;
    size_t k = s->points - 1 - stage;
    double beta = s->runs[k].beta;
    if (stage == 0) {
        IV_TRY(train_smallest(w, run, beta, err));
    } else {
        w->plan.seed = stage_seed(s, run, attempts + k);
        w->plan.beta = w->plan.beta_start = beta;
        iv_plan_set_steps(&w->plan, s->steps);
        IV_TRY(train_once(w, beta, err));
    }
    return measure_point(w, w->model, &s->runs[run * s->points + k], err);
}

/* The smallest beta does not meet the target: go on below it, by a factor of about 4, while that
 * still helps. */
static bool wants_more(work *w)
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
    extend_grid(s);
    return true;
}

/* Steps before a stage of a run. */
static double steps_until(const iv_sweep *s, size_t run, size_t stage)
{
    double first = (double)s->cold_steps + (double)(settling * s->steps);
    double all = first + (double)((s->points - 1) * s->steps);
    return (double)run * all + (stage > 0 ? first + (double)((stage - 1) * s->steps) : 0.0);
}

/* In the order of the trainings: one seed after the other, each from small to
 * large beta. */
static isovae_status train_all(work *w, isovae_error *err)
{
    iv_sweep *s = w->s;
    for (;;) {
        size_t all = s->seeds * s->points, stage = w->at.done % s->points;
        w->total = steps_until(s, s->seeds, 0);
        if (!w->options->no_retrain) w->total += (double)s->cold_steps;
        if (w->at.done == 1 && wants_more(w)) {
            w->at.done = 0;
            continue;
        }
        if (w->at.done >= all) return ISOVAE_OK;
        w->before = steps_until(s, w->at.done / s->points, stage);
        IV_TRY(train_stage(w, w->at.done / s->points, stage, err));
        w->at.done++;
        IV_TRY(save(w, err));
    }
}

/* ---- the answer, from a cold start ---- */

/* `path`: its checkpoint, or NULL. */
static isovae_status train_cold(work *w, double beta, const char *path, iv_sweep_retrain *out,
                                isovae_error *err)
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
    for (size_t i = 0; i < result.n_notes; i++) tell(s, "%s", result.notes[i].text);
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
static isovae_status retrain(work *w, isovae_error *err)
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

static isovae_status restore(work *w, isovae_error *err)
{
    iv_sweep *s = w->s;
    double first = s->runs[0].beta, second = s->runs[1].beta;
    IV_TRY(
        iv_sweep_restore(s, w->model, w->settings.data, w->room, &w->at, w->options->state, err));
    w->resumed = true;
    s->runs[0].beta = first; /* the grid is this run's, whatever the file says */
    s->runs[1].beta = second;
    extend_grid(s);
    for (size_t i = s->points; i < s->seeds * s->points; i++)
        s->runs[i].beta = s->runs[i % s->points].beta;
    return ISOVAE_OK;
}

/* Where a training is not at its optimum: the point whose coding loss is farthest from E7. Of a
 * quadratic distance and the conventional form alone; below a nat the draws are too few to tell. */
static void tell_undertrained(const work *w)
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
        tell(s,
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
        tell(s,
             "all %zu latents are active at beta %.3g, where PCA counts %zu: the curve is bent by "
             "--latent-dim",
             s->n, last->beta, active);
    if (s->n_train < 5000)
        tell(s, "the curve stands on %zu training rows: slopes are rough below 5,000", s->n_train);
    if (s->n_held == 0)
        tell(s, "no validation rows: the target is judged on the rows of the training");
}

isovae_status iv_sweep_run(const iv_dataset *data, const iv_sweep_options *options, iv_sweep **out,
                           isovae_error *err)
{
    double begun = iv_clock();
    work w = {.data = data, .options = options, .at = {.before = NAN}};
    *out = NULL;
    isovae_status status = prepare(&w, err);
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
