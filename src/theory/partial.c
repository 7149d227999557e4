/* See partial.h. */
#include "theory/partial.h"

#include "base/memory.h"
#include "base/random.h"
#include "data/split.h"
#include "linalg/linalg.h"
#include "theory/score.h"
#include "theory/statistics.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Draws that stand for rows: fewer where rows are large. */
enum { DRAWS = 1000, LEAST_DRAWS = 64, DRAWN_NUMBERS = 1 << 25, AT_ONCE = 200, FEW_ROWS = 30 };

/* What is active has an importance above a share of the largest, and of the variance of the data
 * where that is known. */
static const double least_share = 1e-3, least_of_data = 1e-5;

typedef struct work {
    iv_model *model;
    const iv_dataset *rows_of; /* the rows that are analysed: the data, or decoded draws */
    const iv_dataset *data;    /* the user's, or NULL */
    const iv_audit_options *options;
    iv_audit *audit;
    iv_analysis *a;
    iv_pass *pass;
    iv_rows *rows;
    size_t *good, n_good;
    double *codes; /* of the draws, rows x n; NULL: the encoder's */
    double *y, *rms, *importance, *covariance;
    size_t *order;
    unsigned char *active;
} work;

/* ---- draws in place of rows ---- */

static size_t draws_of(size_t d)
{
    size_t draws = DRAWN_NUMBERS / d;
    return draws < LEAST_DRAWS ? LEAST_DRAWS : draws > DRAWS ? DRAWS : draws;
}

/* The first rows of `isovae sample` with that seed, and their z. */
static isovae_status make_draws(work *w, isovae_error *err)
{
    const iv_model *m = w->model;
    const iv_analysis_options *o = &w->options->analysis;
    size_t count = draws_of(m->d), cells;
    double *x = NULL;
    char source[60];
    iv_dataset *draws = NULL;
    if (!iv_size_mul(count, m->d, &cells))
        return iv_fail(err, ISOVAE_ERR_MEMORY, "%zu features are too many", m->d);
    isovae_status status = IV_NEW(x, cells, "the draws", err);
    if (!status) status = IV_NEW(w->codes, count * m->n, "the draws", err);
    for (size_t r = 0; !status && r < count; r++) {
        iv_key key = {.seed = o->seed, .purpose = IV_PURPOSE_SAMPLE, .row = r};
        iv_normals_f64(&key, m->n, w->codes + r * m->n);
    }
    for (size_t first = 0; !status && first < count; first += AT_ONCE) {
        size_t now = count - first < AT_ONCE ? count - first : AT_ONCE;
        status =
            iv_decode_rows(m, w->codes + first * m->n, now, o->pool, o->isa, x + first * m->d, err);
    }
    for (size_t i = 0; !status && i < cells; i++) {
        if (!isfinite(x[i]))
            status = iv_fail(err, ISOVAE_ERR_DATA,
                             "the decoder gives numbers that are not finite for z ~ N(0, I)");
    }
    iv_data_view view = {.values = x,
                         .row_stride = (ptrdiff_t)(m->d * sizeof *x),
                         .column_stride = sizeof *x,
                         .names = (const char *const *)m->names,
                         .height = m->height,
                         .width = m->width,
                         .channels = m->channels};
    if (!status) status = iv_dataset_from_view(&view, count, m->d, &draws, err);
    iv_free(x);
    if (status) return status;
    w->audit->draws = draws;
    w->rows_of = draws;
    draws->named = m->named;
    iv_free(draws->source);
    draws->source = NULL;
    snprintf(source, sizeof source, "%zu draws of z from N(0, I)", count);
    return iv_strdup(&draws->source, source, err);
}

/* Means and total variance of some rows, network units. */
static isovae_status moments(const work *w, const iv_dataset *data, double *mean, double *variance,
                             isovae_error *err)
{
    size_t d = w->model->d, count = 0, *good = NULL, *some = NULL, n_good = 0;
    double *x = NULL, *square = NULL;
    isovae_status status = iv_good_rows(data, &good, &n_good, err);
    if (!status && n_good < 2)
        status = iv_fail(err, ISOVAE_ERR_DATA, "an audit needs rows: there are %zu", n_good);
    if (!status) status = iv_spread_rows(good, n_good, draws_of(d), &some, &count, err);
    if (!status) status = IV_NEW(x, d, "a row", err);
    if (!status) status = IV_NEW(square, d, "the moments of the data", err);
    memset(mean, 0, d * sizeof *mean);
    for (size_t r = 0; !status && r < count; r++) {
        iv_scaling_rows_f64(&w->model->scaling, data, some + r, 1, x);
        for (size_t i = 0; i < d; i++) {
            mean[i] += x[i];
            square[i] += x[i] * x[i];
        }
    }
    *variance = 0;
    for (size_t i = 0; !status && i < d; i++) {
        mean[i] /= (double)count;
        *variance += fmax(0, square[i] / (double)count - mean[i] * mean[i]);
    }
    iv_free(good);
    iv_free(some);
    iv_free(x);
    iv_free(square);
    return status;
}

static isovae_status beside_data(work *w, isovae_error *err)
{
    iv_audit *audit = w->audit;
    size_t d = w->model->d, room;
    double *mean = NULL;
    if (!iv_size_mul(2, d, &room))
        return iv_fail(err, ISOVAE_ERR_MEMORY, "%zu features are too many", d);
    isovae_status status = IV_NEW(mean, room, "the moments of the draws", err);
    audit->data_variance = audit->mean_distance = (double)NAN;
    if (!status) status = moments(w, w->rows_of, mean, &audit->variance, err);
    if (!status && w->data != NULL) {
        status = moments(w, w->data, mean + d, &audit->data_variance, err);
        double sum = 0;
        for (size_t i = 0; i < d; i++) sum += (mean[i] - mean[d + i]) * (mean[i] - mean[d + i]);
        if (audit->data_variance > 0) audit->mean_distance = sqrt(sum / audit->data_variance);
    }
    iv_free(mean);
    return status;
}

/* ---- what the Jacobian says ---- */

static isovae_status evaluate(work *w, isovae_error *err)
{
    const iv_analysis_options *o = &w->options->analysis;
    size_t n = w->model->n, cells;
    iv_pass_plan plan = {.precision = o->precision,
                         .isa = o->isa,
                         .pool = o->pool,
                         .progress = o->progress,
                         .rows = w->n_good,
                         .full_gram = true,
                         .loadings = true};
    IV_TRY(IV_NEW(w->active, n, "the active set", err));
    IV_TRY(iv_pass_new(w->model, w->rows_of, &plan, &w->pass, err));
    IV_TRY(iv_rows_new(w->pass, w->good, w->n_good, &w->rows, err));
    if (w->codes != NULL) memcpy(w->rows->mu, w->codes, w->n_good * n * sizeof *w->codes);
    /* with no latent active: densities are not asked for */
    IV_TRY(iv_rows_set_active(w->rows, w->active, err));
    IV_TRY(iv_rows_evaluate(w->rows, w->pass, &(iv_rows_plan){.stage = "analysis"}, err));
    if (!iv_size_mul(w->n_good, n, &cells))
        return iv_fail(err, ISOVAE_ERR_MEMORY, "%zu rows are too many", w->n_good);
    IV_TRY(IV_NEW(w->y, cells, "isometric coordinates", err));
    IV_TRY(IV_NEW(w->rms, n, "isometric coordinates", err));
    IV_TRY(IV_NEW(w->order, n, "the order of the latents", err));
    IV_TRY(IV_NEW(w->importance, n, "the importance of the latents", err));
    return IV_NEW(w->covariance, n * n, "the covariance of the codes", err);
}

/* That of the codes; of draws it is known. */
static isovae_status find_covariance(work *w, isovae_error *err)
{
    size_t n = w->model->n, count = w->n_good;
    double *c = w->covariance, *mean = NULL;
    for (size_t j = 0; j < n && w->codes != NULL; j++) c[j * n + j] = 1;
    if (w->codes != NULL) return ISOVAE_OK;
    IV_TRY(IV_NEW(mean, n, "the mean of the codes", err));
    for (size_t j = 0; j < n; j++) mean[j] = iv_moments_of(count, w->rows->mu + j, n).mean;
    for (size_t r = 0; r < count; r++) {
        const double *mu = w->rows->mu + r * n;
        for (size_t j = 0; j < n; j++)
            for (size_t k = 0; k <= j; k++) c[j * n + k] += (mu[j] - mean[j]) * (mu[k] - mean[k]);
    }
    for (size_t j = 0; j < n; j++)
        for (size_t k = 0; k <= j; k++) c[k * n + j] = c[j * n + k] /= (double)count;
    iv_free(mean);
    return ISOVAE_OK;
}

/* out = a b^T, all n x n. */
static void multiply(size_t n, const double *a, const double *b, double *out)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++) sum += a[i * n + k] * b[j * n + k];
            out[i * n + j] = sum;
        }
    }
}

/* C = V^T L V with vectors as rows of V: that of R M R^T, R = L^(1/2) V. */
static isovae_status find_spectrum(work *w, isovae_error *err)
{
    size_t n = w->model->n, size = n * n; /* the covariance is that large */
    double *room = NULL, *gram, *root, *product;
    IV_TRY(IV_NEW(w->a->jacobian.spectrum, n, "the spectrum", err));
    IV_TRY(IV_NEW(room, 3 * size, "the spectrum", err));
    gram = room;
    root = room + size;
    product = room + 2 * size;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            gram[i * n + j] =
                (w->rows->gram[i * n + j] + w->rows->gram[j * n + i]) / 2 / (double)w->n_good;
    memcpy(product, w->covariance, size * sizeof *product);
    isovae_status status = iv_eigen_symmetric(n, product, w->a->jacobian.spectrum, root, err);
    for (size_t i = 0; !status && i < n; i++)
        for (size_t j = 0; j < n; j++) root[i * n + j] *= sqrt(fmax(w->a->jacobian.spectrum[i], 0));
    if (!status) {
        multiply(n, root, gram, product); /* M is symmetric */
        multiply(n, product, root, gram);
        status = iv_eigen_symmetric(n, gram, w->a->jacobian.spectrum, NULL, err);
    }
    for (size_t i = 0; !status && i < n; i++)
        w->a->jacobian.spectrum[i] = fmax(w->a->jacobian.spectrum[i], 0);
    iv_free(room);
    return status;
}

/* beta 2 and sigma 1 make the norm of E1 that of the column. */
static double column_square(const work *w, size_t row, size_t j)
{
    return w->rows->norm[row * w->rows->n + j];
}

static isovae_status find_active(work *w, isovae_error *err)
{
    size_t n = w->model->n;
    double most = 0;
    for (size_t j = 0; j < n; j++) {
        double mean = iv_moments_of(w->n_good, w->rows->norm + j, n).mean;
        w->importance[j] = mean * w->covariance[j * n + j];
        most = fmax(most, w->importance[j]);
    }
    double data = w->codes == NULL ? w->audit->mean_error : w->audit->data_variance;
    double least = fmax(least_share * most, isfinite(data) ? least_of_data * data : 0);
    for (size_t j = 0; j < n; j++) {
        w->active[j] = w->importance[j] > least;
        w->model->active[j] = w->active[j];
    }
    return iv_rows_set_active(w->rows, w->active, err);
}

/* y_j from the length of the column, by splines that are those of the model from now on. */
static isovae_status find_coordinates(work *w, isovae_error *err)
{
    size_t n = w->model->n, count = w->n_good;
    double *mu = NULL;
    IV_TRY(IV_NEW(mu, 2 * count, "isometric coordinates", err));
    double *inverse = mu + count;
    isovae_status status = ISOVAE_OK;
    for (size_t j = 0; !status && j < n; j++) {
        double mean = iv_moments_of(count, w->rows->norm + j, n).mean;
        double floor = fmax(1e-12 * mean, 1e-30); /* a column of zeros has no inverse */
        for (size_t r = 0; r < count; r++) {
            mu[r] = w->rows->mu[r * n + j];
            inverse[r] = 1 / sqrt(fmax(column_square(w, r, j), floor));
        }
        iv_spline *spline = &w->model->splines[j];
        iv_spline_free(spline);
        status = iv_spline_fit(mu, inverse, count, spline, err);
        for (size_t r = 0; !status && r < count; r++)
            w->y[r * n + j] = iv_spline_y(spline, w->model->beta, mu[r]);
        w->rms[j] = spline->rms;
    }
    iv_free(mu);
    return status;
}

/* ---- the report ---- */

static void scale_loadings(iv_latent_report *l, size_t d, double factor)
{
    for (size_t i = 0; i < d; i++) {
        l->loading_mean[i] *= factor;
        l->loading_rms[i] *= factor;
    }
    for (size_t i = 0; i < l->n_top; i++) l->top[i].mean *= factor;
}

/* iv_summarise_latents has read a sigma of 1: what it made of it goes, what the Jacobian says
 * comes. Its loadings are E[x_j] sd(y_j); those here E[x_j] sd(mu_j). */
static void fill_latent(const work *w, const iv_summary *s, iv_latent_report *l)
{
    size_t n = w->model->n, j = l->index, d = w->model->d, count = w->n_good;
    const double *weight = s->weight, none = (double)NAN;
    iv_moments y = iv_moments_of(count, w->y + j, n);
    iv_moments square = iv_moments_of(count, w->rows->norm + j, n);
    double variance = w->covariance[j * n + j], length = 0, straight = 0, all = 0;
    l->kl = l->sigma2_mean = l->norm_mean = l->norm_sd = none;
    l->optimality_mean = l->optimality_sd = l->stationarity_mean = l->stationarity_se = none;
    l->variance_y = y.variance;
    l->importance = w->importance[j];
    l->importance_se = square.se * variance;
    l->column_square = square.mean;
    for (size_t r = 0; r < count; r++) length += sqrt(column_square(w, r, j)) / (double)count;
    l->column_cv = length > 0 ? sqrt(fmax(square.mean / (length * length) - 1, 0)) : none;
    for (size_t i = 0; i < d; i++) {
        double mean = w->rows->loading[j * d + i] / (double)count;
        straight += weight[i] * mean * mean;
        all += weight[i] * w->rows->loading_square[j * d + i] / (double)count;
    }
    l->column_straight = all > 0 ? fmin(straight / all, 1) : none;
    if (y.variance > 0) scale_loadings(l, d, sqrt(variance / y.variance));
}

static void fill_shares(work *w)
{
    iv_analysis *a = w->a;
    double sum = 0, cv = 0, straight = 0, weights = 0, none = (double)NAN;
    iv_moments transform = iv_moments_of(w->n_good, w->rows->transform, 1);
    bool codes_known = a->unknown == IV_UNKNOWN_WIDTH;
    a->distortion.total = a->distortion.coding = a->distortion.coding_jacobian = none;
    a->distortion.coding_predicted = none;
    a->distortion.transform = codes_known ? transform.mean : none;
    a->distortion.residual = codes_known ? transform.mean - a->distortion.normaliser : none;
    a->rate_nats = a->elbo_nats = a->elbo_se = a->train_elbo_nats = a->validation_gap_nats = none;
    a->encoder_gap_nats = a->beta_estimate = a->orthogonality.cost_nats = none;
    a->beta = none;
    for (size_t j = 0; j < a->n; j++) {
        const iv_latent_report *l = &a->latents[j];
        if (!l->active) continue;
        sum += l->variance_y;
        weights += l->importance;
        cv += l->importance * l->column_cv;
        straight += l->importance * l->column_straight;
    }
    if (codes_known) sum += a->distortion.residual;
    for (size_t j = 0; j < a->n; j++) {
        iv_latent_report *l = &a->latents[j];
        l->share = l->active && sum > 0 ? l->variance_y / sum : 0;
        w->model->variance_y[l->index] = l->variance_y;
    }
    a->jacobian.cv = cv / weights;
    a->jacobian.straight = straight / weights;
    a->density.mean = a->density.sd = none;
    for (size_t i = 0; i < 5; i++) a->density.quantiles[i] = none;
}

/* PCA of the data, where there are some, else of the draws. */
static isovae_status beside_pca(work *w, iv_summary *s, isovae_error *err)
{
    size_t *good = NULL, n_good = 0;
    if (w->data == NULL || w->codes == NULL) return iv_summarise_pca(s, err);
    IV_TRY(iv_good_rows(w->data, &good, &n_good, err));
    iv_rows seen = {.rows = n_good, .n = w->rows->n, .d = w->rows->d, .index = good};
    iv_summary of_data = *s;
    of_data.data = w->data;
    of_data.rows = &seen;
    isovae_status status = iv_summarise_pca(&of_data, err);
    iv_free(good);
    return status;
}

static isovae_status summarise(work *w, isovae_error *err)
{
    iv_analysis *a = w->a;
    iv_summary s = {.model = w->model,
                    .data = w->rows_of,
                    .scaling = w->pass->scaling,
                    .metric = w->pass->eval->metric,
                    .weight = w->pass->weight,
                    .options = &w->options->analysis,
                    .rows = w->rows,
                    .y = w->y,
                    .spline_rms = w->rms,
                    .order = w->order,
                    .analysis = a};
    iv_unit_names(w->model->metric.loss, w->pass->scaling->kind, &a->space, &a->unit);
    a->distortion.normaliser = s.metric->constant;
    IV_TRY(iv_summarise_latents(&s, err));
    for (size_t j = 0; j < a->n; j++) fill_latent(w, &s, &a->latents[j]);
    fill_shares(w);
    IV_TRY(find_spectrum(w, err));
    IV_TRY(beside_pca(w, &s, err));
    if (a->unknown == IV_UNKNOWN_WIDTH) IV_TRY(iv_summarise_quality(&s, w->pass, err));
    IV_TRY(iv_summarise_rows(&s, err));
    if (a->unknown == IV_UNKNOWN_ENCODER) { /* Dec(z) against itself */
        iv_free(a->transform_rows);
        a->transform_rows = NULL;
    }
    return ISOVAE_OK;
}

/* ---- verdicts ---- */

static void find_other_rows(const work *w)
{
    const iv_audit *audit = w->audit;
    double ratio = audit->variance / audit->data_variance;
    if (w->codes == NULL || w->data == NULL) return;
    if (audit->mean_distance > 1) {
        iv_warn(w->a, "misread", false, audit->mean_distance, 1,
                "the mean of Dec(z) is %.2f SD of the data off theirs (limit 1): the decoder "
                "gives other numbers than these; look at --output-range, --input-range, "
                "--mean and --std, --layout and the order of the columns",
                audit->mean_distance);
    } else if (ratio < 0.5 || ratio > 2) {
        iv_warn(w->a, "prior_mismatch", true, ratio, ratio < 1 ? 0.5 : 2,
                "Dec(z) of draws of N(0, I) varies %.2f times as much as the data (limits 0.5 "
                "and 2): the codes of the data may have another distribution",
                ratio);
    }
}

static void find_collapsed(iv_analysis *a)
{
    size_t unused = a->n - a->active;
    if (a->active == 0)
        iv_warn(a, "collapsed", false, (double)unused, 0,
                "no latent moves the decoder's output: the model has collapsed");
    else if (2 * unused > a->n)
        iv_warn(a, "collapsed", true, (double)unused, 0.5 * (double)a->n,
                "%zu of %zu latents hardly move the decoder's output (importance below %.2g of the "
                "largest): fewer would do",
                unused, a->n, least_share);
}

/* Without beta it is not known what its noise may cost. */
static void find_behind_pca(iv_analysis *a)
{
    double lost = a->distortion.residual, limit = 1.1 * a->pca.residual;
    if (!a->pca.comparable || a->active == 0 || a->active > a->pca.n || !(lost > limit)) return;
    iv_warn(
        a, "behind_pca", true, lost, limit,
        "the reconstruction loses %.3g, PCA with %zu components %.3g (limit 1.1 times that): too "
        "little training, a network that is too small, or the price of the noise of a beta that is "
        "not known",
        lost, a->active, a->pca.residual);
}

static void find_bent(iv_analysis *a)
{
    double cosine = a->orthogonality.max_abs_cosine, straight = a->jacobian.straight;
    if (a->active > 1 && cosine > 0.1)
        iv_warn(
            a, "oblique", true, cosine, 0.1,
            "columns of the Jacobian are not at right angles (mean |cosine| of a pair up to %.2f, "
            "limit 0.1): the importances of single latents do not add up; read the spectrum",
            cosine);
    if (a->active > 0 && straight < 0.5)
        iv_warn(
            a, "curved", true, straight, 0.5,
            "the columns of the Jacobian keep %.0f %% of themselves over the rows (limit 50 %%): "
            "the decoder bends, and importance is length along the bent manifold, not variance in "
            "space",
            100 * straight);
    if (a->rows < FEW_ROWS)
        iv_warn(a, "few_rows", true, (double)a->rows, FEW_ROWS,
                "only %zu rows were looked at (limit %d): every mean here is uncertain", a->rows,
                (int)FEW_ROWS);
}

static void judge(work *w)
{
    iv_analysis *a = w->a;
    bool draws = w->codes != NULL;
    if (draws || !iv_audit_misread(w->audit, a)) { /* else nothing more is said */
        find_other_rows(w);
        find_collapsed(a);
        if (!draws) find_behind_pca(a);
        find_bent(a);
    }
    if (a->unknown == IV_UNKNOWN_WIDTH)
        iv_warn(a, "no_width", true, (double)NAN, (double)NAN,
                "not known, as the encoder gives no width: sigma, beta, optimality, "
                "stationarity, rate, elbo, log densities, and any verdict that needs them; "
                "--mu NAME --logvar NAME read a width");
    else
        iv_warn(a, "no_encoder", true, (double)NAN, (double)NAN,
                "not known, as there is no encoder: codes and reconstructions of rows, beta, "
                "optimality, stationarity, rate, elbo, log densities, and any verdict that "
                "needs them; --encoder FILE tells more");
}

static isovae_status run(work *w, isovae_error *err)
{
    const iv_analysis_options *o = &w->options->analysis;
    iv_analysis *a = w->a;
    if (w->options->unknown == IV_UNKNOWN_ENCODER) {
        IV_TRY(make_draws(w, err));
        IV_TRY(beside_data(w, err));
    } else {
        w->rows_of = w->data;
    }
    IV_TRY(iv_good_rows(w->rows_of, &w->good, &w->n_good, err));
    if (w->n_good < 2)
        return iv_fail(err, ISOVAE_ERR_DATA, "an audit needs rows: there are %zu", w->n_good);
    *a = (iv_analysis){.rows = w->n_good,
                       .bad_rows = w->rows_of->bad_rows,
                       .d = w->model->d,
                       .n = w->model->n,
                       .row_set = "all",
                       .unknown = w->options->unknown,
                       .beta = w->model->beta};
    IV_TRY(IV_NEW(a->warnings, IV_MOST_WARNINGS, "the warnings", err));
    if (w->codes == NULL)
        IV_TRY(iv_audit_reconstruct(w->audit, w->model, w->data, w->good, w->n_good, o->pool,
                                    o->isa, err));
    IV_TRY(evaluate(w, err));
    IV_TRY(find_covariance(w, err));
    IV_TRY(find_active(w, err));
    IV_TRY(find_coordinates(w, err));
    IV_TRY(summarise(w, err));
    if (w->codes == NULL) iv_audit_beside_pca(w->audit, a);
    judge(w);
    return ISOVAE_OK;
}

isovae_status iv_audit_partial(iv_model *model, const iv_dataset *data,
                               const iv_audit_options *options, iv_audit *audit, iv_analysis **out,
                               isovae_error *err)
{
    work w = {.model = model, .data = data, .options = options, .audit = audit};
    *out = NULL;
    model->beta = 2;
    audit->beta = audit->beta_spread = audit->width_slope = (double)NAN;
    audit->error = audit->mean_error = audit->pca_error = (double)NAN;
    IV_TRY(IV_NEW(w.a, 1, "the analysis", err));
    isovae_status status = run(&w, err);
    iv_rows_free(w.rows);
    iv_pass_free(w.pass);
    iv_free(w.good);
    iv_free(w.codes);
    iv_free(w.y);
    iv_free(w.rms);
    iv_free(w.importance);
    iv_free(w.covariance);
    iv_free(w.order);
    iv_free(w.active);
    if (status) {
        iv_analysis_free(w.a);
        return status;
    }
    *out = w.a;
    return ISOVAE_OK;
}
