#include "theory/audit.h"

#include "base/memory.h"
#include "data/split.h"
#include "theory/partial.h"
#include "theory/rows.h"
#include "theory/score.h"
#include "theory/statistics.h"
#include "theory/summary.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Rows of the first look (beta, widths) and of the reconstruction; a calibration takes more. */
enum { FIRST_ROWS = 256, ERROR_ROWS = 1000, CALIBRATION_ROWS = 20000 };

/* Draws of the first look: many where they cost little, for beta is only as exact as they are (256
 * rows of a curved decoder: 2 % off with 16 draws, 0.5 % with 256). Even: they are antithetic. */
enum { LEAST_DRAWS = 16, MOST_DRAWS = 256, DRAWN_VALUES = 16384 };

static size_t first_draws(size_t d)
{
    size_t draws = DRAWN_VALUES / d / 2 * 2;
    return draws < LEAST_DRAWS ? LEAST_DRAWS : draws > MOST_DRAWS ? MOST_DRAWS : draws;
}

/* A variance or a sigma that is 0 or below was read as 1e-15 (onnx/vae.c). */
static const double least_logvar = -29.0;

typedef struct look {
    iv_audit *audit;
    double *slope, *rest, *sigma2, *gram; /* n, means over rows */
    unsigned char *active;
    size_t n;
} look;

/* ---- beta and widths ---- */

static void find_beta(look *l)
{
    double slopes = 0, rests = 0, square = 0;
    for (size_t j = 0; j < l->n; j++) {
        if (!l->active[j]) continue;
        slopes += l->slope[j];
        rests += l->rest[j];
    }
    l->audit->beta = slopes > 0 && rests > 0 ? slopes / rests : (double)NAN;
    for (size_t j = 0; j < l->n; j++) {
        if (!l->active[j]) continue;
        double off = l->slope[j] / l->rest[j] / l->audit->beta - 1;
        square += l->rest[j] * off * off;
    }
    l->audit->beta_spread = sqrt(square / rests);
}

/* Least squares of log M_jj/(1 - sigma^2) over log sigma^2. */
static void find_width_slope(look *l)
{
    double n = 0, x = 0, y = 0, xx = 0, xy = 0, yy = 0;
    for (size_t j = 0; j < l->n; j++) {
        if (!l->active[j] || !(l->gram[j] > 0) || !(l->rest[j] > 0)) continue;
        double a = log(l->sigma2[j]), b = log(l->gram[j] / l->rest[j]);
        n++;
        x += a;
        y += b;
        xx += a * a;
        xy += a * b;
        yy += b * b;
    }
    double vx = xx / n - (x / n) * (x / n), vy = yy / n - (y / n) * (y / n);
    double cross = xy / n - (x / n) * (y / n);
    if (n < 3 || !(vx > 0.09)) return;
    l->audit->width_slope = cross / vx;
    l->audit->width_r2 = vy > 0 ? cross * cross / (vx * vy) : 0;
}

static void measure_widths(look *l, const iv_rows *rows)
{
    double sum = 0, square = 0, count = 0, floor = 0;
    size_t n = l->n;
    for (size_t j = 0; j < n; j++) {
        double sigma2 = 0, gram = 0, slope = 0;
        for (size_t r = 0; r < rows->rows; r++) {
            double logvar = rows->logvar[r * n + j], s2 = exp(logvar);
            sigma2 += s2;
            gram += rows->norm[r * n + j] / s2;
            slope += (rows->e0[r * n + j] - s2) * rows->beta;
            if (!l->active[j]) continue;
            sum += logvar;
            square += logvar * logvar;
            floor += logvar < least_logvar;
            count++;
        }
        l->sigma2[j] = sigma2 / (double)rows->rows;
        l->gram[j] = gram / (double)rows->rows;
        l->slope[j] = slope / (double)rows->rows;
        l->rest[j] = fmax(1 - l->sigma2[j], 1e-6);
    }
    double mean = sum / count;
    l->audit->width_floor = floor / count;
    l->audit->width_sd = sqrt(fmax(0, square / count - mean * mean));
}

static isovae_status first_look(look *l, iv_model *model, const iv_dataset *data,
                                const size_t *rows, size_t n_rows,
                                const iv_analysis_options *options, isovae_error *err)
{
    size_t *some = NULL, count, n = model->n;
    iv_pass *pass = NULL;
    iv_rows *r = NULL;
    double *room = NULL;
    isovae_status status = iv_spread_rows(rows, n_rows, FIRST_ROWS, &some, &count, err);
    iv_pass_plan plan = {.precision = options->precision,
                         .isa = options->isa,
                         .pool = options->pool,
                         .progress = options->progress,
                         .rows = count,
                         .full_gram = true,
                         .draws = true};
    iv_keyed_draws keyed = {.seed = options->seed, .antithetic = true};
    iv_draws draws = {iv_keyed_draw, &keyed};
    iv_rows_plan rows_plan = {
        .draws = &draws, .e0_draws = first_draws(model->d), .stage = "finding beta"};
    if (!status) status = IV_NEW(room, 4 * n, "the latents", err);
    if (!status) status = iv_pass_new(model, data, &plan, &pass, err);
    if (!status) status = iv_rows_new(pass, some, count, &r, err);
    if (!status) status = iv_rows_set_active(r, model->active, err);
    if (!status) status = iv_rows_evaluate(r, pass, &rows_plan, err);
    if (!status) {
        l->slope = room;
        l->rest = room + n;
        l->sigma2 = room + 2 * n;
        l->gram = room + 3 * n;
        l->active = model->active;
        l->n = n;
        measure_widths(l, r);
        find_beta(l);
        find_width_slope(l);
    }
    iv_rows_free(r);
    iv_pass_free(pass);
    iv_free(room);
    iv_free(some);
    return status;
}

/* ---- whether the networks see the data as they should ---- */

isovae_status iv_audit_reconstruct(iv_audit *audit, const iv_model *model, const iv_dataset *data,
                                   const size_t *rows, size_t n_rows, iv_pool *pool,
                                   const char *isa, isovae_error *err)
{
    enum { AT_ONCE = 200 };
    const iv_scaling *s = &model->scaling;
    size_t n = model->n, d = model->d, count, *some = NULL, cells;
    double *mu = NULL, *xhat = NULL, *x = NULL, *sums = NULL, error = 0, variance = 0;
    IV_TRY(iv_spread_rows(rows, n_rows, ERROR_ROWS, &some, &count, err));
    isovae_status status = ISOVAE_OK;
    if (!iv_size_mul(AT_ONCE, d, &cells))
        status = iv_fail(err, ISOVAE_ERR_MEMORY, "%zu features are too many", d);
    if (!status) status = IV_NEW(mu, AT_ONCE * n, "codes", err);
    if (!status) status = IV_NEW(xhat, cells, "decoded rows", err);
    if (!status) status = IV_NEW(x, cells, "rows", err);
    if (!status) status = IV_NEW(sums, 2 * d, "sums", err);
    for (size_t first = 0; !status && first < count; first += AT_ONCE) {
        size_t now = count - first < AT_ONCE ? count - first : AT_ONCE;
        status = iv_encode_rows(model, data, some + first, now, pool, isa, mu, NULL, NULL, err);
        if (!status) status = iv_decode_rows(model, mu, now, pool, isa, xhat, err);
        if (status) break;
        iv_scaling_rows_f64(s, data, some + first, now, x);
        for (size_t i = 0; i < now * d; i++) {
            double seen = (xhat[i] - s->shift[i % d]) / s->scale[i % d];
            error += (x[i] - seen) * (x[i] - seen);
            sums[i % d] += x[i];
            sums[d + i % d] += x[i] * x[i];
        }
    }
    for (size_t i = 0; !status && i < d; i++) {
        double mean = sums[i] / (double)count;
        variance += fmax(0, sums[d + i] / (double)count - mean * mean);
    }
    audit->rows = count;
    audit->error = error / (double)count;
    audit->mean_error = variance;
    iv_free(some);
    iv_free(mu);
    iv_free(xhat);
    iv_free(x);
    iv_free(sums);
    return status;
}

/* PCA was taken of the rows of the analysis; its share of what is left, of the mean's error. */
void iv_audit_beside_pca(iv_audit *audit, const iv_analysis *a)
{
    double kept = 0, whole = a->pca.residual;
    audit->pca_components = a->n < a->pca.n ? a->n : a->pca.n;
    audit->pca_error = (double)NAN;
    if (a->pca.n == 0) return;
    for (size_t i = 0; i < a->active && i < a->pca.n; i++) whole += a->pca.eigenvalues[i];
    for (size_t i = 0; i < audit->pca_components; i++) kept += a->pca.eigenvalues[i];
    audit->pca_error = audit->mean_error * fmax(0, 1 - kept / whole);
}

/* ---- verdicts ---- */

static void withhold(iv_analysis *a, const char *code)
{
    size_t kept = 0;
    for (size_t i = 0; i < a->n_warnings; i++)
        if (strcmp(a->warnings[i].code, code) != 0) a->warnings[kept++] = a->warnings[i];
    a->n_warnings = kept;
}

/* Linear PCA with as many components keeps more of the data, the noise of beta allowed for. */
static bool behind_pca(const iv_analysis *a, double *error, double *limit)
{
    *error = a->distortion.transform - a->distortion.normaliser;
    *limit = 1.1 * a->pca.residual + a->beta / 2 * (double)a->active;
    return a->active > 0 && a->pca.comparable && a->active <= a->pca.n && *error > *limit;
}

static iv_warning *find_warning(iv_analysis *a, const char *code)
{
    for (size_t i = 0; i < a->n_warnings; i++)
        if (strcmp(a->warnings[i].code, code) == 0) return &a->warnings[i];
    return NULL;
}

/* Beyond what a wrong beta explains: a model that no beta makes optimal is not called good. */
static void find_unsettled(const iv_audit *audit, iv_analysis *a)
{
    double error, limit;
    if (behind_pca(a, &error, &limit)) {
        iv_warn(
            a, "unsettled", false, error, limit,
            "the reconstruction loses %.3g, where PCA with %zu components and the noise of beta "
            "explain %.3g: most likely too little training, or a network that is too small",
            error, a->active, limit);
        return;
    }
    const iv_warning *w = find_warning(a, "undertrained");
    if (w != NULL) {
        iv_warning same = *w; /* iv_warn() may not read what it writes beside */
        iv_warn(a, "unsettled", false, same.value, same.limit,
                "at the beta that fits best (%.3g): %s", audit->beta, same.text);
    }
}

/* With a beta that was told: latents that agree on another one are either of a model that was
 * trained with it, or of one that was hardly trained; PCA tells which. */
static void find_told_beta_wrong(iv_analysis *a)
{
    iv_warning *w = find_warning(a, "wrong_beta");
    double error, limit;
    if (w == NULL) return;
    if (behind_pca(a, &error, &limit)) {
        withhold(a, "wrong_beta");
        withhold(a, "undertrained");
        iv_warn(
            a, "undertrained", false, error, limit,
            "the reconstruction loses %.3g, where PCA with %zu components and the noise of beta "
            "explain %.3g, and the latents are not stationary at the given beta: train longer, "
            "with a rate that decays to 0",
            error, a->active, limit);
        return;
    }
    snprintf(w->text, sizeof w->text,
             "the latents agree on a beta of %.3g, and %.3g was given: the weight or its units are "
             "others (--loss-scale, --kl-scale), or training was short, which looks alike",
             w->value, w->limit);
}

bool iv_audit_misread(const iv_audit *audit, iv_analysis *a)
{
    static const double limit = 0.9;
    double share = audit->error / audit->mean_error;
    if (!(share > limit) || a->active == 0) return false; /* a collapsed one gives the mean */
    a->n_warnings = 0; /* what else was found is about numbers that mean nothing */
    iv_warn(
        a, "misread", false, share, limit,
        "the reconstruction is no better than the mean of the data (%.2f of its error, limit "
        "%.2g): "
        "the networks see other numbers than in training; look at --input-range, --mean and --std, "
        "--layout and the order of the columns",
        share, limit);
    return true;
}

/* Widths that do not answer to the decoder's slopes. */
static bool find_width(const iv_audit *audit, iv_analysis *a)
{
    if (a->active == 0) return false;
    if (audit->width_sd < 1e-3) {
        iv_warn(
            a, "sigma_unused", false, audit->width_sd, 1e-3,
            "the posterior's width is the same for all rows and latents (SD of its log %.2g, limit "
            "0.001): the sigma head is not used, and importance rests on the decoder alone",
            audit->width_sd);
        return true;
    }
    if (audit->width_floor > 0.01) {
        iv_warn(
            a, "width_kind", false, audit->width_floor, 0.01,
            "%.0f %% of the posterior's widths are 0 or below (limit 1 %%), which no variance is: "
            "try --head logvar",
            100 * audit->width_floor);
        return true;
    }
    size_t before = a->n_warnings;
    bool clear = audit->width_r2 > 0.9;
    if (clear && fabs(audit->width_slope + 2) < 0.3)
        iv_warn(
            a, "width_kind", false, audit->width_slope, -1,
            "widths and the decoder's slopes go together as if the width were a standard deviation "
            "(slope %.2f, not -1): try --head sigma or logsigma",
            audit->width_slope);
    else if (clear && fabs(audit->width_slope + 0.5) < 0.15)
        iv_warn(
            a, "width_kind", false, audit->width_slope, -1,
            "widths and the decoder's slopes go together as if the width were a variance (slope "
            "%.2f, not -1): try --head variance or logvar",
            audit->width_slope);
    else if (audit->beta_spread > 0.5)
        iv_warn(
            a, "width_kind", false, audit->beta_spread, 0.5,
            "the latents do not agree on a beta (spread %.0f %%, limit 50 %%): the noise of the "
            "posterior is of another kind, or training was far from its end",
            100 * audit->beta_spread);
    return a->n_warnings > before;
}

/* A width far below what any sensible beta asks for: the noise was never felt. */
static void find_autoencoder(const iv_audit *audit, iv_analysis *a)
{
    double noise = 0, limit = 1e-3;
    if (a->active == 0) return;
    noise = a->distortion.coding / (a->distortion.transform - a->distortion.normaliser);
    if (!(noise < limit)) return;
    (void)audit;
    iv_warn(a, "plain_autoencoder", false, noise, limit,
            "the posterior's noise costs %.2g of the reconstruction error (limit %.2g): a plain "
            "autoencoder; a larger weight of the KL term would make it a VAE",
            noise, limit);
}

static void judge(const iv_audit *audit, iv_analysis *a)
{
    if (audit->beta_known) find_told_beta_wrong(a);
    if (!audit->beta_known) { /* they are about beta as much as about training */
        if (isfinite(audit->beta)) find_unsettled(audit, a);
        withhold(a, "wrong_beta");
        withhold(a, "undertrained");
        withhold(a, "beta_above_smallest");
    }
    if (iv_audit_misread(audit, a)) return; /* of numbers that mean nothing nothing more is said */
    if (!find_width(audit, a)) find_autoencoder(audit, a);
    if (!isfinite(audit->beta))
        iv_warn(
            a, "beta_unknown", false, audit->beta, 0,
            "no beta fits the latents: the decoder does not answer to the noise of the posterior");
    else if (!audit->beta_known)
        iv_warn(a, "beta_unknown", true, audit->beta, 0,
                "beta was not given: %.3g makes the latents' stationarity 1 on average, so whether "
                "training was long enough cannot be told; --beta (with --loss-scale) tells",
                audit->beta);
}

isovae_status iv_audit_metric(const char *loss, iv_metric_spec *out, isovae_error *err)
{
    IV_TRY(iv_metric_parse(loss != NULL ? loss : "sse", out, err));
    if (iv_loss_learned(out->loss))
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--loss: the noise of student is part of a model of our own training");
    return ISOVAE_OK;
}

isovae_status iv_audit_beta(double weight, const char *loss_scale, const char *kl_scale, size_t d,
                            size_t n, double *beta, isovae_error *err)
{
    const char *loss = loss_scale != NULL ? loss_scale : "sum";
    const char *kl = kl_scale != NULL ? kl_scale : "sum";
    bool half = strncmp(loss, "half-", 5) == 0, kl_mean = strcmp(kl, "mean") == 0;
    const char *over = half ? loss + 5 : loss;
    bool mean = strcmp(over, "mean") == 0;
    if (!mean && strcmp(over, "sum") != 0)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--loss-scale: '%.40s' is not known; give sum, mean, half-sum or half-mean",
                       loss);
    if (!kl_mean && strcmp(kl, "sum") != 0)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--kl-scale: '%.40s' is not known; give sum or mean", kl);
    if (!(weight > 0) || !isfinite(weight))
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--beta: %g is not a number above 0", weight);
    *beta = weight * (half ? 2 : 1) * (mean ? (double)d : 1) / (kl_mean ? (double)n : 1);
    return ISOVAE_OK;
}

isovae_status iv_audit_run(iv_model *model, const iv_dataset *data, const iv_audit_options *options,
                           iv_audit *audit, iv_analysis **out, isovae_error *err)
{
    size_t *good = NULL, n_good = 0, *rows = NULL, n_rows = 0;
    const iv_analysis_options *o = &options->analysis;
    look l = {.audit = audit};
    audit->draws = NULL;
    if (options->unknown != IV_UNKNOWN_NOTHING)
        return iv_audit_partial(model, data, options, audit, out, err);
    audit->beta_known = options->beta_known;
    audit->width_slope = audit->width_r2 = audit->beta = (double)NAN;
    *out = NULL;
    isovae_status status = iv_good_rows(data, &good, &n_good, err);
    if (!status && n_good < 2)
        status = iv_fail(err, ISOVAE_ERR_DATA, "an audit needs rows: there are %zu", n_good);
    if (!status) status = iv_spread_rows(good, n_good, CALIBRATION_ROWS, &rows, &n_rows, err);
    /* which latents are active does not depend on beta; coordinates do */
    if (!status) status = iv_calibrate_latents(model, data, rows, n_rows, o->pool, o->isa, err);
    if (!status) status = first_look(&l, model, data, rows, n_rows, o, err);
    if (!status && !options->beta_known && isfinite(audit->beta)) {
        model->beta = audit->beta;
        status = iv_calibrate_latents(model, data, rows, n_rows, o->pool, o->isa, err);
    }
    if (!status)
        status = iv_audit_reconstruct(audit, model, data, rows, n_rows, o->pool, o->isa, err);
    if (!status) status = iv_analyse(model, data, o, out, err);
    if (!status && options->scores)
        status = iv_calibrate_scores(model, data, rows, n_rows, o->pool, o->isa, err);
    if (!status) {
        iv_audit_beside_pca(audit, *out);
        judge(audit, *out);
    } else {
        iv_analysis_free(*out);
        *out = NULL;
    }
    iv_free(rows);
    iv_free(good);
    return status;
}
