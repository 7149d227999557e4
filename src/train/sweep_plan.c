/* What a sweep trains: its betas, from the spectrum of PCA, the rows that are measured, and the
 * settings under which its state can be gone on from. */
#include "train/sweep_work.h"

#include "linalg/linalg.h"
#include "theory/analysis.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { default_points = 16, most_points = 200, most_seeds = 100 };
/* Steps of a training from a cold start over those of a beta. */
enum { cold_share = 12 };
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

void iv_sweep_tell(iv_sweep *s, const char *format, ...)
{
    va_list arguments;
    if (s->n_notes == sizeof s->notes / sizeof s->notes[0]) return;
    va_start(arguments, format);
    vsnprintf(s->notes[s->n_notes++].text, sizeof s->notes[0].text, format, arguments);
    va_end(arguments);
}

static isovae_status check(const iv_sweep_work *w, isovae_error *err)
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

static isovae_status check_target(const iv_sweep_work *w, isovae_error *err)
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

static isovae_status make_plan(iv_sweep_work *w, const iv_progress *progress, isovae_error *err)
{
    w->fit = w->options->fit;
    w->fit.beta = 1.0;
    w->fit.beta_start = NAN;
    w->fit.beta_floor = w->options->fit.beta_floor;
    w->fit.epochs = w->fit.steps = 0;
    w->fit.checkpoint = w->fit.resume = w->fit.log = w->fit.tensorboard = w->fit.init_from = NULL;
    w->fit.max_seconds = 0.0;
    w->fit.progress = *progress;
    IV_TRY(iv_fit_plan_make(w->data, &w->fit, &w->plan, &w->notes, err));
    return check_target(w, err);
}

/* All components that a beta within the sweep could tell from noise. */
static isovae_status take_spectrum(iv_sweep_work *w, isovae_error *err)
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

static void default_range(const iv_sweep_work *w, double *from, double *to)
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

void iv_sweep_extend_grid(iv_sweep *s)
{
    double from = s->runs[0].beta, ratio = s->runs[1].beta / from;
    for (size_t k = 2; k < s->points; k++) s->runs[k].beta = from * pow(ratio, (double)k);
}

static isovae_status make_grid(iv_sweep_work *w, isovae_error *err)
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
    iv_sweep_extend_grid(s);
    return ISOVAE_OK;
}

/* Sum over features of the weighted variance of rows. */
static isovae_status variance_of(const iv_sweep_work *w, const iv_dataset *data, const size_t *rows,
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

static isovae_status take_held(iv_sweep_work *w, isovae_error *err)
{
    const iv_dataset *own = w->options->fit.validation_data;
    w->held_data = own ? own : w->data;
    if (!own)
        return iv_spread_rows(w->plan.split.validation, w->plan.split.n_validation, most_held,
                              &w->held, &w->s->n_held, err);
    return iv_spread_good_rows(own, most_held, &w->held, &w->s->n_held, err);
}

/* R of the PSNR as `report` has it: what unit scaling divides by, the bytes' own, else what the
 * rows have. */
static void take_range(iv_sweep_work *w)
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

static void write_settings(iv_sweep_work *w)
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

isovae_status iv_sweep_prepare(iv_sweep_work *w, const iv_progress *progress, isovae_error *err)
{
    const iv_sweep_options *o = w->options;
    size_t seeds = o->seeds ? o->seeds : 1, points = o->points ? o->points : default_points;
    IV_TRY(check(w, err));
    IV_TRY(make_plan(w, progress, err));
    const iv_fit_plan *plan = &w->plan;
    w->room = points + IV_SWEEP_EXTRA;
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
    for (size_t i = 0; i < w->notes.n_notes; i++) iv_sweep_tell(s, "%s", w->notes.notes[i].text);
    w->plan.beta_auto = false;
    IV_TRY(iv_fit_model(w->data, &w->fit, plan, &w->model, err));
    size_t bytes = w->model->dtype == IV_F64 ? sizeof(double) : sizeof(float);
    IV_TRY(iv_alloc(&w->weights, w->model->param_elements, bytes, "weights", err));
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
