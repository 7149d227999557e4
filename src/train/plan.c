#include "train/plan.h"

#include "base/file.h"
#include "base/memory.h"
#include "linalg/linalg.h"
#include "model/arch.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A latent is counted active above 1.105 beta/2 (KL > 0.05 nats); twice that should survive. */
static const double survives = 2.2;
/* Annealing starts with beta/2 at this share of the smallest variance that must survive: at 0.09
 * all axes of the toy data live, at 0.9 the weakest one dies for good. */
static const double start_share = 0.09;
/* An ensemble's members hold out a fifth of the rows each; more than five of them, less. */
enum { folds = 5 };
/* Learned noise: its rate, the share of the steps for which it stands still at first, the floor for
 * Gaussian noise (as that of beta) and for heavy tails, where near-exact relations between columns
 * are not to be trusted (docs/theory.md section 7). */
static const double noise_rate = 1e-2, noise_stands = 0.05;
static const double gaussian_floor = 0.005, student_floor = 0.1;
/* Kurtosis above which a table has heavy tails: small networks then train at a fifth of their rate
 * (docs/theory.md section 5). A Gaussian has 3, flags of one row in a thousand 1,000. */
static const double heavy_tails = 50.0;
enum { most_pca_rows = 5000, measured_rows = 10000, most_draft = 1 << 20 };

void iv_fit_options_init(iv_fit_options *options)
{
    memset(options, 0, sizeof *options);
    options->beta = NAN;
    options->beta_start = NAN;
    options->rate = NAN;
    options->validation = NAN;
    options->beta_floor = 0.005;
    options->noise_floor = NAN;
    options->noise_start = NAN;
    options->noise = -1;
    options->activation = -1;
    options->scale = -1;
}

void iv_fit_tell(iv_fit_result *result, const char *format, ...)
{
    size_t room = sizeof result->notes / sizeof result->notes[0];
    if (result->n_notes == room) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(result->notes[result->n_notes++].text, sizeof result->notes[0].text, format,
              arguments);
    va_end(arguments);
}

static isovae_status bad(isovae_error *err, const char *option, const char *what)
{
    return iv_fail(err, ISOVAE_ERR_ARGUMENT, "%s: %s", option, what);
}

/* The widest layer named in "mlp:400,64"; 0 where there is none. */
static size_t widest_layer(const char *arch)
{
    size_t widest = 0;
    const char *at = strchr(arch, ':');
    while (at && *++at) {
        unsigned long long width = strtoull(at, NULL, 10);
        if (width > widest) widest = (size_t)width;
        at = strchr(at, ',');
    }
    return widest;
}

static isovae_status check_options(const iv_fit_options *o, isovae_error *err)
{
    if (!isnan(o->beta) && !(o->beta > 0.0 && isfinite(o->beta)))
        return bad(err, "--beta", "must be a number above 0, or auto");
    if (!isnan(o->beta_start) && !(o->beta_start > 0.0 && isfinite(o->beta_start)))
        return bad(err, "--beta-start", "must be a number above 0");
    if (!isnan(o->beta) && !isnan(o->beta_start) && o->beta_start < o->beta)
        return bad(err, "--beta-start", "must not be below --beta: beta is annealed from above");
    if (!(o->beta_floor > 0.0 && o->beta_floor < 1.0))
        return bad(err, "--beta-floor",
                   "must lie between 0 and 1 (a share of the feature variance)");
    if (!isnan(o->noise_floor) && !(o->noise_floor > 0.0 && o->noise_floor <= 1.0))
        return bad(err, "--noise-floor",
                   "must lie above 0 and at most be 1 (a share of the feature variance)");
    if (!isnan(o->noise_start) && !(o->noise_start > 0.0 && o->noise_start <= 1.0))
        return bad(err, "--noise-start",
                   "must lie above 0 and at most be 1 (a share of the feature variance)");
    if (!(o->denoise >= 0.0 && o->denoise <= 100.0))
        return bad(err, "--denoise", "must lie in 0..100 (standard deviations)");
    if (!(o->kl_warmup >= 0.0 && o->kl_warmup <= 1.0))
        return bad(err, "--kl-warmup", "must lie in 0..1 (a share of the steps)");
    if (!isnan(o->rate) && !(o->rate > 0.0 && o->rate <= 1.0))
        return bad(err, "--lr", "must lie above 0 and at most be 1");
    if (!(o->weight_decay >= 0.0 && o->weight_decay < 10.0))
        return bad(err, "--weight-decay", "must lie in 0..10");
    if (o->rate_warmup > 1000000000)
        return bad(err, "--lr-warmup", "must be at most 1000000000 steps");
    if (!isnan(o->validation) && !(o->validation >= 0.0 && o->validation < 1.0))
        return bad(err, "--validation", "a fraction must lie in 0 to below 1");
    if (o->epochs && o->steps) return bad(err, "--steps", "give --steps or --epochs, not both");
    if (o->ensemble > IV_MAX_MEMBERS) return bad(err, "--ensemble", "has at most 64 members");
    if (o->ensemble > 1 && o->init_from)
        return bad(err, "--init-from",
                   "the members of an ensemble must not start from the same weights: leave one of "
                   "--init-from and --ensemble out");
    if (o->batch_size > 1000000) return bad(err, "--batch-size", "must be at most 1000000");
    return ISOVAE_OK;
}

/* The weights of the features in D; those of learned noise are not known yet. */
static const double *weights_of(const iv_fit_plan *plan)
{
    return iv_loss_learned(plan->metric.loss) ? NULL : plan->scaling.weight;
}

/* Sums over the training rows, a feature each, of a row x in network units and, of tables, of
 * y = x - centre, where the centre is the first row: of fourth powers about 0 little would be left.
 */
typedef struct moments {
    double *x, *x2, *y, *y2, *y3, *y4, *centre;
} moments;

static void add_tails(const moments *m, size_t d, const float *row)
{
    for (size_t i = 0; i < d; i++) {
        double y = (double)row[i] - m->centre[i], y2 = y * y;
        m->y[i] += y;
        m->y2[i] += y2;
        m->y3[i] += y2 * y;
        m->y4[i] += y2 * y2;
    }
}

/* Fourth central moment of a feature over the square of its variance, both weighted by `square`. */
static void add_tail(const moments *m, size_t i, double count, double square, double *fourth,
                     double *second)
{
    double mean = m->y[i] / count, y2 = m->y2[i] / count, y3 = m->y3[i] / count;
    double variance = y2 - mean * mean;
    *fourth += square * (m->y4[i] / count - 4 * mean * y3 + 6 * mean * mean * y2 -
                         3 * mean * mean * mean * mean);
    *second += square * variance * variance;
}

/* Variances and tails of the training rows in metric units (network units for learned noise). */
static isovae_status measure_variances(const iv_dataset *data, iv_fit_plan *plan, isovae_error *err)
{
    double *room = NULL;
    float *row = NULL;
    size_t d = plan->d;
    isovae_status status = IV_NEW(room, 7 * d, "column sums", err);
    if (!status) status = IV_NEW(row, d, "a row", err);
    if (!status) {
        const moments m = {room,         room + d,     room + 2 * d, room + 3 * d,
                           room + 4 * d, room + 5 * d, room + 6 * d};
        for (size_t r = 0; r < plan->split.n_train; r++) {
            iv_scaling_rows(&plan->scaling, data, plan->split.train + r, 1, row);
            for (size_t i = 0; i < d; i++) {
                m.x[i] += (double)row[i];
                m.x2[i] += (double)row[i] * (double)row[i];
                if (r == 0) m.centre[i] = (double)row[i];
            }
            if (data->height == 0) add_tails(&m, d, row);
        }
        double total = 0.0, count = (double)plan->split.n_train, fourth = 0.0, second = 0.0;
        for (size_t i = 0; i < d; i++) {
            double mean = m.x[i] / count, variance = m.x2[i] / count - mean * mean;
            double weight = weights_of(plan) ? weights_of(plan)[i] : 1.0;
            if (variance > 1e-12 * (1.0 + mean * mean)) {
                plan->varying++;
                total += weight * variance;
                add_tail(&m, i, count, weight * weight, &fourth, &second);
            }
        }
        plan->mean_variance = plan->varying ? total / (double)plan->varying : 0.0;
        plan->tails = second > 0.0 ? fourth / second : 0.0;
    }
    iv_free(room);
    iv_free(row);
    return status;
}

/* The PCA spectrum that says which variances must survive. */
static isovae_status measure_spectrum(const iv_dataset *data, iv_fit_plan *plan, isovae_error *err)
{
    IV_TRY(iv_spread_rows(plan->split.train, plan->split.n_train, most_pca_rows, &plan->pca_rows,
                          &plan->n_pca_rows, err));
    size_t rows = plan->n_pca_rows, cells;
    float *x = NULL;
    isovae_status status = ISOVAE_OK;
    if (!iv_size_mul(rows, plan->d, &cells))
        return iv_fail(err, ISOVAE_ERR_MEMORY, "%zu features are too many", plan->d);
    plan->n_pca = plan->n < plan->d ? plan->n + 1 : plan->d;
    if (plan->n_pca > rows) plan->n_pca = rows;
    if (!(status = IV_NEW(x, cells, "rows", err)) &&
        !(status = IV_NEW(plan->pca, plan->n_pca, "eigenvalues", err))) {
        iv_scaling_rows(&plan->scaling, data, plan->pca_rows, rows, x);
        status = iv_pca(x, rows, plan->d, weights_of(plan), plan->n_pca, plan->seed, plan->pca,
                        NULL, &plan->pca_total, err);
    }
    iv_free(x);
    return status;
}

double iv_plan_pca_residual(const iv_fit_plan *plan, size_t count)
{
    double residual = plan->pca_total;
    for (size_t j = 0; j < count && j < plan->n_pca; j++) residual -= plan->pca[j];
    return fmax(residual, 0.0);
}

/* What --loss ssim needs: pictures with room for its windows, a beta, and the range of the data in
 * network units: 1 for unit-scaled bytes, else what the training rows have, unless it was given. */
static isovae_status check_ssim(const iv_dataset *data, const iv_fit_options *options,
                                const iv_fit_plan *plan, isovae_error *err)
{
    iv_metric_image image = {
        .height = data->height, .width = data->width, .channels = data->channels};
    IV_TRY(iv_metric_image_fits(&image, plan->d, err));
    if (isnan(options->beta))
        return bad(
            err, "--beta",
            "is required with --loss ssim, whose distance has no noise that it could follow: "
            "give a number (0.0001 keeps much detail, 0.001 less)");
    if (plan->scale != IV_SCALE_UNIT && plan->scale != IV_SCALE_IDENTITY)
        return bad(err, "--scale",
                   "--loss ssim compares pictures as they are: use unit or identity");
    return ISOVAE_OK;
}

static isovae_status set_ssim_range(const iv_dataset *data, iv_fit_plan *plan, isovae_error *err)
{
    float *row = NULL, low = INFINITY, high = -INFINITY;
    if (plan->metric.range > 0) return ISOVAE_OK;
    plan->metric.range = 1;
    if (plan->scale == IV_SCALE_UNIT) return ISOVAE_OK;
    IV_TRY(IV_NEW(row, plan->d, "a row", err));
    for (size_t r = 0; r < plan->split.n_train; r++) {
        iv_scaling_rows(&plan->scaling, data, plan->split.train + r, 1, row);
        for (size_t i = 0; i < plan->d; i++) {
            low = row[i] < low ? row[i] : low;
            high = row[i] > high ? row[i] : high;
        }
    }
    iv_free(row);
    if (data->bytes != NULL)
        plan->metric.range = high > 1 ? 255 : 1;
    else if (high > low)
        plan->metric.range = (double)high - (double)low;
    return ISOVAE_OK;
}

/* The smallest variance that must survive noise of at least `noise`; where the noise follows the
 * residual, raised to what as many components of PCA leave per feature. 0: none. */
static double smallest_survivor(const iv_fit_plan *plan, bool follows, double *noise)
{
    double smallest = 0.0;
    if (follows && plan->varying > plan->n) {
        double discarded = iv_plan_pca_residual(plan, plan->n);
        *noise = fmax(*noise, discarded / (double)(plan->varying - plan->n));
    }
    for (size_t j = 0; j < plan->n && j < plan->n_pca; j++)
        if (plan->pca[j] > survives * *noise) smallest = plan->pca[j];
    return smallest;
}

/* What --loss and --noise ask for together. */
static isovae_status take_metric(const iv_fit_options *options, iv_fit_plan *plan,
                                 isovae_error *err)
{
    IV_TRY(iv_metric_parse(options->loss ? options->loss : "sse", &plan->metric, err));
    if (options->noise == 1 && plan->metric.loss == IV_LOSS_SSE) plan->metric.loss = IV_LOSS_NOISE;
    bool learned = iv_loss_learned(plan->metric.loss);
    if (options->noise == 1 && !learned)
        return bad(err, "--noise",
                   "feature goes with --loss sse (or student, which has it anyway)");
    if (options->noise == 0 && learned)
        return bad(err, "--noise", "common: this --loss learns noise per feature; leave one out");
    if (!isnan(options->noise_floor) && !learned)
        return bad(err, "--noise-floor", "needs --noise feature or --loss student");
    if (!isnan(options->noise_start) && !learned)
        return bad(err, "--noise-start", "needs --noise feature or --loss student");
    if (learned && !isnan(options->beta) && (options->beta < 1 || options->beta > 1))
        return bad(err, "--beta",
                   "is 1 with --noise feature and --loss student, whose distance is minus a log "
                   "density already: leave it out, the noise is learned");
    if (learned)
        plan->noise_floor = !isnan(options->noise_floor)           ? options->noise_floor
                            : plan->metric.loss == IV_LOSS_STUDENT ? student_floor
                                                                   : gaussian_floor;
    plan->denoise = options->denoise;
    return ISOVAE_OK;
}

/* Learned noise starts where the noise of beta would (plan_beta): well below the smallest variance
 * that must survive, but not below its floor; or where it is told to. */
static void plan_noise(iv_fit_plan *plan, double start_at)
{
    if (!iv_loss_learned(plan->metric.loss)) return;
    double variance = plan->mean_variance > 0.0 ? plan->mean_variance : 1.0;
    plan->noise_least = plan->noise_floor * variance;
    plan->noise_at_once = !isnan(start_at);
    if (plan->noise_at_once) {
        plan->noise_start = fmax(plan->noise_least, start_at * variance);
        return;
    }
    double noise = plan->noise_least, smallest = smallest_survivor(plan, true, &noise);
    plan->noise_start = fmax(plan->noise_least, start_share * smallest);
}

void iv_plan_choose_beta(iv_fit_plan *plan, const iv_fit_options *options)
{
    bool squared = iv_loss_by_feature(plan->metric.loss) && !iv_loss_learned(plan->metric.loss);
    plan->beta_auto = isnan(options->beta) && squared;
    if (!plan->beta_auto) {
        plan->beta = isnan(options->beta) ? 1.0 : options->beta;
    } else {
        double variance = plan->mean_variance > 0.0 ? plan->mean_variance : 1.0;
        plan->beta = 2.0 * options->beta_floor * variance;
    }
    plan->beta_start = plan->beta;
    plan->beta_cap = plan->beta;
    if (squared) {
        double noise = plan->beta / 2.0;
        double smallest = smallest_survivor(plan, plan->beta_auto, &noise);
        double start = 2.0 * start_share * smallest;
        if (start > plan->beta_start) plan->beta_start = start;
        plan->beta_cap = fmax(plan->beta_start, 3.0 * noise);
    }
    if (!isnan(options->beta_start)) {
        plan->beta_start = fmax(options->beta_start, plan->beta);
        plan->beta_cap = fmax(plan->beta_cap, plan->beta_start);
    }
}

/* A name, or a file that describes a network: then its name without the folder. */
static isovae_status take_arch(const char *arch, iv_fit_plan *plan, isovae_error *err)
{
    static const char ending[] = ".json";
    size_t length = strlen(arch), tail = sizeof ending - 1;
    if (length > tail && strcmp(arch + length - tail, ending) == 0) {
        unsigned char *text;
        isovae_status status = iv_file_read(arch, most_draft, &text, &length, err);
        if (status != ISOVAE_OK) return iv_fail_prefix(err, status, "--arch");
        plan->draft = (char *)text;
        if (strlen(plan->draft) != length)
            return iv_fail(err, ISOVAE_ERR_FORMAT, "--arch: %s: there is a NUL byte in it", arch);
        const char *slash = strrchr(arch, '/');
        if (slash) arch = slash + 1;
    }
    if (strlen(arch) >= sizeof plan->arch) return bad(err, "--arch", "too long a name");
    strcpy(plan->arch, arch);
    return ISOVAE_OK;
}

isovae_status iv_fit_plan_make(const iv_dataset *data, const iv_fit_options *options,
                               iv_fit_plan *plan, iv_fit_result *notes, isovae_error *err)
{
    return iv_fit_plan_member(data, options, 0, plan, notes, err);
}

/* The share of the rows that a run, or each member of an ensemble, holds out. A file or a column
 * gives all members the same rows, else each has a fold of its own. */
static double held_out_share(const iv_fit_options *options)
{
    size_t members = options->ensemble;
    if (options->validation_data) return 0.0;
    if (!isnan(options->validation)) return options->validation;
    if (members < 2) return 0.1;
    return members <= folds ? 1.0 / folds : 1.0 / (double)members;
}

isovae_status iv_fit_plan_member(const iv_dataset *data, const iv_fit_options *options,
                                 size_t member, iv_fit_plan *plan, iv_fit_result *notes,
                                 isovae_error *err)
{
    memset(plan, 0, sizeof *plan);
    IV_TRY(check_options(options, err));
    plan->member = member;
    plan->members = options->ensemble > 1 ? options->ensemble : 1;
    bool image = data->height > 0;
    size_t good = data->rows - data->bad_rows;
    if (good < 2)
        return iv_fail(err, ISOVAE_ERR_DATA, "%s: %zu usable row%s: training needs at least 2",
                       data->source, good, good == 1 ? "" : "s");

    plan->d = data->cols;
    size_t most = plan->d > 1 ? plan->d - 1 : 1;
    plan->n = options->latent_dim ? options->latent_dim : image ? 32 : 10;
    if (!options->latent_dim && plan->n > most) plan->n = most;
    if (plan->n > plan->d)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--latent-dim: %zu latents for %zu features; at most %zu make sense",
                       plan->n, plan->d, plan->d);
    IV_TRY(take_metric(options, plan, err));
    plan->objective = options->objective;
    plan->init = options->init;
    plan->seed = options->seed;
    const char *arch = options->arch ? options->arch : image ? "mlp:400" : "mlp:64,64";
    IV_TRY(take_arch(arch, plan, err));
    plan->act = options->activation >= 0              ? (iv_act)options->activation
                : options->init == IV_INIT_MULTIMODAL ? IV_ACT_TANH
                                                      : IV_ACT_SILU;

    /* scaling */
    bool bce = plan->metric.loss == IV_LOSS_BCE, ssim = plan->metric.loss == IV_LOSS_SSIM;
    bool weighted = plan->metric.loss == IV_LOSS_WEIGHTED || (ssim && data->bytes == NULL);
    plan->scale = options->scale >= 0 ? (iv_scale_kind)options->scale
                  : bce               ? IV_SCALE_UNIT
                  : weighted          ? IV_SCALE_IDENTITY
                  : data->toy         ? IV_SCALE_NONE
                  : image             ? IV_SCALE_UNIT
                                      : IV_SCALE_STANDARD;
    if ((weighted || ssim) && plan->scale == IV_SCALE_NONE) plan->scale = IV_SCALE_IDENTITY;
    if (bce && plan->scale != IV_SCALE_UNIT && plan->scale != IV_SCALE_MINMAX)
        return bad(err, "--scale", "--loss bce needs values in 0..1: use unit or minmax");
    if (ssim) IV_TRY(check_ssim(data, options, plan, err));

    /* rows */
    plan->validation = held_out_share(options);
    if (data->group == NULL && plan->validation * (double)plan->members > 1.0 + 1e-9)
        return bad(err, "--validation",
                   "the members of an ensemble hold out different rows, so the share of each is at "
                   "most 1 / --ensemble");
    isovae_status status =
        iv_split_fold(data, plan->validation, member, plan->seed, &plan->split, err);
    if (status) goto fail;
    if (plan->split.n_train < 2) {
        status =
            iv_fail(err, ISOVAE_ERR_DATA, "%s: %zu row%s left for training: it needs at least 2",
                    data->source, plan->split.n_train, plan->split.n_train == 1 ? "" : "s");
        goto fail;
    }
    if ((status = iv_spread_rows(plan->split.train, plan->split.n_train, measured_rows,
                                 &plan->measured, &plan->n_measured, err)))
        goto fail;
    if ((status = iv_scaling_fit(plan->scale, data, plan->split.train, plan->split.n_train,
                                 &plan->scaling, err)))
        goto fail;
    if (ssim && (status = set_ssim_range(data, plan, err))) goto fail;
    if ((status = measure_variances(data, plan, err))) goto fail;
    if (plan->varying == 0) {
        status =
            iv_fail(err, ISOVAE_ERR_DATA,
                    "%s: every column is constant on the training rows: there is nothing to learn",
                    data->source);
        goto fail;
    }
    if (!bce && !ssim && (status = measure_spectrum(data, plan, err))) goto fail;
    iv_plan_choose_beta(plan, options);
    plan_noise(plan, options->noise_start);

    /* Pictures have no rows far out, and other distances than squares hardly heed them. */
    bool squares = plan->metric.loss == IV_LOSS_SSE || plan->metric.loss == IV_LOSS_NOISE;
    plan->hold_gradient = squares && !image;
    plan->heavy_tails = plan->hold_gradient && plan->tails > heavy_tails;

    /* steps */
    size_t rows = plan->split.n_train;
    /* Small networks are quick: twice the rows a step halve the noise of sigma. */
    size_t widest = widest_layer(plan->arch);
    bool drafted = plan->draft || iv_arch_is_preset(plan->arch);
    plan->batch = options->batch_size ? options->batch_size
                  : drafted           ? 64
                  : widest <= 128     ? 400
                                      : 200;
    if (plan->batch > rows) {
        if (options->batch_size)
            iv_fit_tell(
                notes,
                "the batch is all %zu training rows: --batch-size %zu is more than there are", rows,
                options->batch_size);
        plan->batch = rows;
    }
    uint64_t per_epoch = (rows + plan->batch - 1) / plan->batch;
    uint64_t least = options->quick ? 2000 : 12000, epochs = options->quick ? 4 : 20;
    uint64_t steps = options->steps               ? options->steps
                     : options->epochs            ? options->epochs * per_epoch
                     : epochs * per_epoch > least ? epochs * per_epoch
                                                  : least;
    double of_preset = iv_arch_preset_rate(plan->arch);
    plan->rate = !isnan(options->rate)       ? options->rate
                 : of_preset > 0             ? of_preset
                 : widest <= 128 && !drafted ? (plan->heavy_tails && widest > 0 ? 2e-3 : 1e-2)
                                             : 1e-3;
    plan->schedule = options->schedule_set ? options->schedule : IV_SCHEDULE_COSINE;
    plan->weight_decay = options->weight_decay;
    plan->kl_warmup = options->kl_warmup;
    plan->rate_warmup = options->rate_warmup;
    bool falls_to_0 = plan->schedule == IV_SCHEDULE_COSINE || plan->schedule == IV_SCHEDULE_LINEAR;
    plan->patience = falls_to_0 ? 0 : options->patience ? options->patience : 20;
    bool asked = options->checkpoint_every || options->checkpoint_seconds > 0.0;
    plan->checkpoint_every = asked ? options->checkpoint_every : 2000;
    plan->checkpoint_seconds = asked ? options->checkpoint_seconds : 600.0;

    size_t held_out = options->validation_data
                          ? options->validation_data->rows - options->validation_data->bad_rows
                          : plan->split.n_validation;
    plan->validation_rows = held_out < 5000 ? held_out : 5000;
    plan->asked_steps = steps;
    iv_plan_set_steps(plan, steps);
    return ISOVAE_OK;
fail:
    iv_fit_plan_free(plan);
    return status;
}

void iv_fit_plan_free(iv_fit_plan *plan)
{
    iv_split_free(&plan->split);
    iv_scaling_free(&plan->scaling);
    iv_free(plan->measured);
    iv_free(plan->draft);
    plan->draft = NULL;
    iv_free(plan->pca_rows);
    iv_free(plan->pca);
    plan->measured = plan->pca_rows = NULL;
    plan->pca = NULL;
}

static uint64_t line_every(const iv_fit_plan *plan, uint64_t steps)
{
    /* Validation costs a third of training per row; keep it below five per cent of the time. */
    double lines = 100.0;
    if (plan->validation_rows)
        lines = 0.15 * (double)steps * (double)plan->batch / (double)plan->validation_rows;
    lines = fmin(100.0, fmax(10.0, lines));
    return (uint64_t)ceil((double)steps / lines);
}

void iv_plan_set_steps(iv_fit_plan *plan, uint64_t steps)
{
    plan->line_every = line_every(plan, steps);
    plan->steps = steps;
    plan->bend_step = 0;
    plan->bend_done = 0.0;
}

void iv_plan_bend(iv_fit_plan *plan, uint64_t now, uint64_t steps)
{
    plan->bend_done = iv_plan_done(plan, now);
    plan->bend_step = now;
    plan->line_every = line_every(plan, steps);
    plan->steps = steps;
}

double iv_plan_done(const iv_fit_plan *plan, uint64_t step)
{
    if (plan->bend_step == 0) return (double)step / (double)plan->steps;
    double part =
        ((double)step - (double)plan->bend_step) / (double)(plan->steps - plan->bend_step);
    return plan->bend_done + (1.0 - plan->bend_done) * part;
}

double iv_plan_rate(const iv_fit_plan *plan, uint64_t step)
{
    double done = iv_plan_done(plan, step), rate = plan->rate;
    if (step < plan->rate_warmup) rate *= ((double)step + 1.0) / (double)plan->rate_warmup;
    switch (plan->schedule) {
    case IV_SCHEDULE_COSINE: return rate * 0.5 * (1.0 + cos(M_PI * done));
    case IV_SCHEDULE_STEP: return rate * (done < 0.6 ? 1.0 : done < 0.85 ? 0.1 : 0.01);
    case IV_SCHEDULE_LINEAR: return rate * fmin(1.0, 2.0 * (1.0 - done));
    case IV_SCHEDULE_CONSTANT: break;
    }
    return rate;
}

double iv_plan_beta(const iv_fit_plan *plan, uint64_t step)
{
    double done = 2.0 * iv_plan_done(plan, step);
    if (done >= 1.0) return plan->beta;
    return plan->beta_start * pow(plan->beta / plan->beta_start, done);
}

double iv_plan_noise_rate(const iv_fit_plan *plan, uint64_t step)
{
    if (!plan->noise_at_once && iv_plan_done(plan, step) < noise_stands) return 0.0;
    return noise_rate * (iv_plan_rate(plan, step) / plan->rate);
}

double iv_plan_noise_least(const iv_fit_plan *plan, uint64_t step)
{
    double done = 2.0 * iv_plan_done(plan, step);
    if (plan->noise_at_once || done >= 1.0) return plan->noise_least;
    return plan->noise_start * pow(plan->noise_least / plan->noise_start, done);
}

double iv_plan_kl_weight(const iv_fit_plan *plan, uint64_t step)
{
    double warm = plan->kl_warmup * (double)plan->steps;
    return (double)step < warm ? ((double)step + 1.0) / (warm + 1.0) : 1.0;
}

bool iv_plan_beta_stands(const iv_fit_plan *plan, uint64_t step)
{
    if (!plan->beta_auto && !(plan->beta_start > plan->beta)) return true;
    return iv_plan_done(plan, step) >= (plan->beta_auto ? 0.75 : 0.5);
}
