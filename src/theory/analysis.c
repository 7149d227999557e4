/* The whole analysis: which rows, two passes over them, the summaries. */
#include "theory/analysis.h"

#include "base/memory.h"
#include "data/split.h"
#include "theory/statistics.h"
#include "theory/summary.h"

#include <math.h>
#include <string.h>

enum { TRAIN_ROWS = 5000 };
/* Streams of keyed draws. */
enum { STREAM_ROWS = 0, STREAM_IWAE = 1 };

void iv_analysis_options_init(iv_analysis_options *options)
{
    *options = (iv_analysis_options){.rows = "auto",
                                     .e0_draws = 16,
                                     .elbo_draws = 8,
                                     .iwae_draws = 64,
                                     .iwae_rows = 1000,
                                     .keep_rows = true,
                                     .precision = IV_PRECISION_F32};
}

/* --- which rows --- */

typedef struct choice {
    size_t *rows, n_rows;   /* to report on */
    size_t *train, n_train; /* training rows beside them, at most TRAIN_ROWS */
} choice;

static bool split_is_known(const iv_model *model, const iv_dataset *data)
{
    return model->split_by_column ? data->group != NULL : model->validation_fraction > 0;
}

static isovae_status needs_training_data(const char *rows, const iv_dataset *data,
                                         isovae_error *err)
{
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "--rows %s: %s is not the data that the model was trained on, so it has no such "
                   "rows; use --rows all",
                   rows, data->source != NULL ? data->source : "this");
}

/* One part of the training data, by the same split as in training. */
static isovae_status split_rows(const iv_model *model, const iv_dataset *data, bool want_train,
                                choice *out, isovae_error *err)
{
    iv_split split;
    IV_TRY(iv_split_fold(data, model->split_by_column ? 0 : model->validation_fraction,
                         model->member, model->seed, &split, err));
    const size_t *rows = want_train ? split.train : split.validation;
    size_t count = want_train ? split.n_train : split.n_validation;
    isovae_status status = iv_spread_rows(rows, count, count, &out->rows, &out->n_rows, err);
    if (status == ISOVAE_OK && !want_train) {
        status =
            iv_spread_rows(split.train, split.n_train, TRAIN_ROWS, &out->train, &out->n_train, err);
    }
    iv_split_free(&split);
    return status;
}

static isovae_status choose_rows(iv_analysis *a, const iv_model *model, const iv_dataset *data,
                                 const char *rows, choice *out, isovae_error *err)
{
    bool automatic = rows == NULL || strcmp(rows, "auto") == 0;
    bool train = !automatic && strcmp(rows, "train") == 0;
    bool validation = !automatic && strcmp(rows, "validation") == 0;
    if (!automatic && !train && !validation && strcmp(rows, "all") != 0) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--rows: '%.40s' is not known; give all, train or validation", rows);
    }
    if ((train || validation) && !a->data_is_training_set) {
        return needs_training_data(rows, data, err);
    }
    bool split = a->data_is_training_set && split_is_known(model, data);
    if (validation && !split) {
        return iv_fail(
            err, ISOVAE_ERR_ARGUMENT,
            "--rows validation: the model was trained without validation rows from these "
            "data; use --rows all");
    }
    if (validation || (automatic && split && model->validation_rows > 0)) {
        a->row_set = "validation";
        IV_TRY(split_rows(model, data, false, out, err));
    } else if (train) {
        a->row_set = "training";
        IV_TRY(split ? split_rows(model, data, true, out, err)
                     : iv_good_rows(data, &out->rows, &out->n_rows, err));
    } else {
        a->row_set = "all";
        IV_TRY(iv_good_rows(data, &out->rows, &out->n_rows, err));
    }
    if (out->n_rows == 0) {
        return iv_fail(err, ISOVAE_ERR_DATA, "%s has no complete row to analyse",
                       data->source != NULL ? data->source : "the data");
    }
    return ISOVAE_OK;
}

/* --- names of units --- */

void iv_unit_names(iv_loss loss, iv_scale_kind scale, const char **space, const char **unit)
{
    if (loss == IV_LOSS_BCE) {
        *space = "logits";
        *unit = "nats of cross-entropy";
        return;
    }
    if (loss == IV_LOSS_SSIM) {
        *space = scale == IV_SCALE_UNIT ? "unit" : "data";
        *unit = "units of 1 - SSIM";
        return;
    }
    bool weighted = loss == IV_LOSS_WEIGHTED;
    bool learned = iv_loss_learned(loss);
    switch (scale) {
    case IV_SCALE_STANDARD:
        *space = "standardised";
        *unit = weighted ? "weighted squared standard deviations" : "squared standard deviations";
        break;
    case IV_SCALE_MIXED:
        *space = "mixed";
        *unit = weighted ? "weighted squared scaled units" : "squared scaled units";
        break;
    case IV_SCALE_MINMAX:
        *space = "min-max";
        *unit = weighted ? "weighted squared ranges" : "squared ranges";
        break;
    case IV_SCALE_UNIT:
        *space = "unit";
        *unit = weighted ? "weighted squared units of the range 0 to 1"
                         : "squared units of the range 0 to 1";
        break;
    case IV_SCALE_NONE:
    case IV_SCALE_IDENTITY:
        *space = "data";
        *unit = weighted ? "weighted squared data units" : "squared data units";
        break;
    }
    if (learned) *unit = "nats: half squares of the noise's scale";
}

/* --- the passes --- */

typedef struct parts {
    iv_pass *pass;
    iv_rows *rows, *train;
    iv_iwae *iwae;
    double *y, *spline_rms;
    size_t *order;
    double *e0, *e0_se; /* n, of the training rows, in the order of latents[] */
    choice choice;
} parts;

static void free_parts(parts *p)
{
    iv_iwae_free(p->iwae);
    iv_rows_free(p->rows);
    iv_rows_free(p->train);
    iv_pass_free(p->pass);
    iv_free(p->y);
    iv_free(p->spline_rms);
    iv_free(p->order);
    iv_free(p->e0);
    iv_free(p->e0_se);
    iv_free(p->choice.rows);
    iv_free(p->choice.train);
}

/* The stored active set, so that one row is treated like a million; in a model that has none, what
 * these rows say. */
static isovae_status set_active(iv_rows *rows, const iv_model *model, isovae_error *err)
{
    bool stored = model->active != NULL && model->splines != NULL && model->splines[0].n > 0;
    if (stored) return iv_rows_set_active(rows, model->active, err);
    double *kl = NULL;
    unsigned char *active = NULL;
    isovae_status status = IV_NEW(kl, rows->n, "the active set", err);
    if (status == ISOVAE_OK) status = IV_NEW(active, rows->n, "the active set", err);
    if (status == ISOVAE_OK) {
        iv_rows_mean_kl(rows, kl);
        for (size_t j = 0; j < rows->n; j++) active[j] = kl[j] > 0.05;
        status = iv_rows_set_active(rows, active, err);
    }
    iv_free(kl);
    iv_free(active);
    return status;
}

static isovae_status run_passes(parts *p, const iv_model *model, const iv_dataset *data,
                                const iv_analysis_options *options, isovae_error *err)
{
    iv_pass_plan plan = {.precision = options->precision,
                         .isa = options->isa,
                         .pool = options->pool,
                         .progress = options->progress,
                         .rows = p->choice.n_rows > p->choice.n_train ? p->choice.n_rows
                                                                      : p->choice.n_train,
                         .full_gram = true,
                         .loadings = true,
                         .draws = options->e0_draws + options->elbo_draws > 0};
    IV_TRY(iv_pass_new(model, data, &plan, &p->pass, err));
    IV_TRY(iv_rows_new(p->pass, p->choice.rows, p->choice.n_rows, &p->rows, err));
    IV_TRY(set_active(p->rows, model, err));

    iv_keyed_draws keyed = {.seed = options->seed, .stream = STREAM_ROWS, .antithetic = true};
    iv_draws draws = {iv_keyed_draw, &keyed};
    iv_rows_plan rows_plan = {.draws = &draws,
                              .e0_draws = options->e0_draws,
                              .mean_draws = options->elbo_draws,
                              .stage = "analysis"};
    IV_TRY(iv_rows_evaluate(p->rows, p->pass, &rows_plan, err));
    if (p->choice.n_train > 0) {
        IV_TRY(iv_rows_new(p->pass, p->choice.train, p->choice.n_train, &p->train, err));
        IV_TRY(iv_rows_set_active(p->train, model->active, err));
        rows_plan.stage = "training rows";
        IV_TRY(iv_rows_evaluate(p->train, p->pass, &rows_plan, err));
    }
    if (options->iwae_draws > 0) {
        iv_keyed_draws other = {.seed = options->seed, .stream = STREAM_IWAE, .antithetic = false};
        iv_draws iwae_draws = {iv_keyed_draw, &other};
        IV_TRY(iv_iwae_new(p->rows, p->pass, &iwae_draws, options->iwae_draws, options->iwae_rows,
                           &p->iwae, err));
    }
    size_t n = model->n;
    IV_TRY(IV_NEW(p->y, p->choice.n_rows * n, "isometric coordinates", err));
    IV_TRY(IV_NEW(p->spline_rms, n, "isometric coordinates", err));
    IV_TRY(IV_NEW(p->order, n, "the order of the latents", err));
    return iv_rows_coordinates(p->rows, model, p->y, p->spline_rms, err);
}

/* --- the report --- */

isovae_status iv_summarise_rows(iv_summary *s, isovae_error *err)
{
    iv_analysis *a = s->analysis;
    const iv_rows *rows = s->rows;
    size_t count = rows->rows, n = a->n;
    IV_TRY(IV_NEW(a->row_index, count, "the rows", err));
    IV_TRY(IV_NEW(a->transform_rows, count, "the rows", err));
    memcpy(a->row_index, rows->index, count * sizeof *a->row_index);
    memcpy(a->transform_rows, rows->transform, count * sizeof *a->transform_rows);
    if (!s->options->keep_rows) return ISOVAE_OK;
    IV_TRY(IV_NEW(a->mu, count * n, "the rows", err));
    if (a->unknown == IV_UNKNOWN_NOTHING) IV_TRY(IV_NEW(a->sigma, count * n, "the rows", err));
    IV_TRY(IV_NEW(a->y, count * n, "the rows", err));
    for (size_t r = 0; r < count; r++) {
        for (size_t j = 0; j < n; j++) {
            size_t from = r * n + s->order[j];
            a->mu[r * n + j] = rows->mu[from];
            if (a->sigma != NULL) a->sigma[r * n + j] = exp(rows->logvar[from] / 2);
            a->y[r * n + j] = s->y[from];
        }
    }
    return ISOVAE_OK;
}

static isovae_status training_e0(parts *p, const iv_analysis_options *options, isovae_error *err)
{
    if (p->train == NULL || p->train->e0 == NULL || options->e0_draws == 0) return ISOVAE_OK;
    size_t n = p->train->n;
    IV_TRY(IV_NEW(p->e0, n, "stationarity", err));
    IV_TRY(IV_NEW(p->e0_se, n, "stationarity", err));
    for (size_t j = 0; j < n; j++) {
        iv_moments m = iv_moments_of(p->train->rows, p->train->e0 + p->order[j], n);
        p->e0[j] = m.mean;
        p->e0_se[j] = m.se;
    }
    return ISOVAE_OK;
}

double iv_log_volume(const iv_scaling *scaling, const double *weight)
{
    double sum = 0;
    for (size_t i = 0; i < scaling->cols; i++) {
        if (!iv_scaling_drops(scaling, i)) sum += log(scaling->scale[i] / sqrt(weight[i]));
    }
    return sum;
}

static isovae_status warn(iv_analysis *a, parts *p, const iv_summary *summary, isovae_error *err)
{
    const iv_model *model = summary->model;
    const iv_analysis_options *options = summary->options;
    IV_TRY(training_e0(p, options, err));
    iv_warning_facts facts = {.loss = model->metric.loss,
                              .objective = model->objective,
                              .beta_auto = model->beta_auto,
                              .history_beta = model->n_history > 0
                                                  ? model->history[model->n_history - 1].beta
                                                  : (double)NAN,
                              .folded = model->folded,
                              .convolutional = iv_model_convolves(model),
                              .steps = model->steps,
                              .steps_asked = model->steps_asked,
                              .cut_short = model->cut_short,
                              .transform_se = iv_moments_of(a->rows, p->rows->transform, 1).se,
                              .clipped_gap = summary->clipped_gap,
                              .clipped_gap_se = summary->clipped_gap_se,
                              .log_volume = iv_log_volume(p->pass->scaling, p->pass->weight),
                              .e0 = p->e0,
                              .e0_se = p->e0_se};
    return iv_find_warnings(a, &facts, err);
}

static isovae_status analyse(iv_analysis *a, parts *p, const iv_model *model,
                             const iv_dataset *data, const iv_analysis_options *options,
                             isovae_error *err)
{
    a->d = model->d;
    a->n = model->n;
    a->beta = model->beta;
    a->bad_rows = data->bad_rows;
    a->data_is_training_set = data->hash == model->data_hash && model->data_hash != 0;
    IV_TRY(choose_rows(a, model, data, options->rows, &p->choice, err));
    a->rows = p->choice.n_rows;
    IV_TRY(run_passes(p, model, data, options, err));
    iv_unit_names(model->metric.loss, p->pass->scaling->kind, &a->space, &a->unit);
    iv_summary summary = {.model = model,
                          .data = data,
                          .scaling = p->pass->scaling,
                          .metric = p->pass->eval->metric,
                          .weight = p->pass->weight,
                          .options = options,
                          .rows = p->rows,
                          .train = p->train,
                          .y = p->y,
                          .spline_rms = p->spline_rms,
                          .order = p->order,
                          .analysis = a};
    IV_TRY(iv_summarise_latents(&summary, err));
    IV_TRY(iv_summarise_distortion(&summary, err));
    IV_TRY(iv_summarise_density(&summary, p->iwae, err));
    IV_TRY(iv_summarise_pca(&summary, err));
    IV_TRY(iv_summarise_noise(&summary, err));
    IV_TRY(iv_summarise_quality(&summary, p->pass, err));
    IV_TRY(iv_summarise_truth(&summary, err));
    IV_TRY(iv_summarise_labels(&summary, err));
    IV_TRY(iv_summarise_rows(&summary, err));
    return warn(a, p, &summary, err);
}

isovae_status iv_analyse(const iv_model *model, const iv_dataset *data,
                         const iv_analysis_options *options, iv_analysis **out, isovae_error *err)
{
    *out = NULL;
    iv_analysis *a;
    parts p = {0};
    IV_TRY(IV_NEW(a, 1, "the analysis", err));
    isovae_status status = analyse(a, &p, model, data, options, err);
    free_parts(&p);
    if (status != ISOVAE_OK) {
        iv_analysis_free(a);
        return status;
    }
    *out = a;
    return ISOVAE_OK;
}

void iv_analysis_free(iv_analysis *a)
{
    if (a == NULL) return;
    for (size_t j = 0; a->latents != NULL && j < a->n; j++) {
        iv_free(a->latents[j].loading_mean);
        iv_free(a->latents[j].loading_rms);
    }
    for (size_t e = 0; e < IV_ESTIMATES; e++) iv_free(a->density.all[e]);
    for (size_t f = 0; a->truth.names != NULL && f < a->truth.n_factors; f++) {
        iv_free(a->truth.names[f]);
    }
    iv_free(a->latents);
    iv_free(a->cosine);
    iv_free(a->noise.features);
    iv_free(a->jacobian.spectrum);
    iv_free(a->pca.eigenvalues);
    iv_free(a->row_index);
    iv_free(a->mu);
    iv_free(a->sigma);
    iv_free(a->y);
    iv_free(a->transform_rows);
    iv_free(a->labels.rows_of);
    iv_free(a->labels.latents);
    iv_free(a->warnings);
    iv_free(a->truth.variances);
    iv_free(a->truth.ratio);
    iv_free((void *)a->truth.names);
    iv_free(a->truth.latent);
    iv_free(a->truth.spearman);
    iv_free(a);
}
