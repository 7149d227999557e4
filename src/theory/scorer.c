/* See scorer.h. A scorer is one lane of an analysis pass (pass.h), whose pieces do the work, so the
 * numbers are those of iv_score_rows; what differs is that rows come from the caller's memory, that
 * results go there at once, and that nothing is allocated on the way. */
#include "theory/scorer.h"

#include "base/memory.h"
#include "theory/formulas.h"
#include "theory/gram.h"
#include "theory/pass.h"
#include "theory/rows.h"

#include <math.h>
#include <string.h>

enum { DEFAULT_BATCH = 64 };

struct iv_scorer {
    const iv_model *model;
    iv_estimate estimate;
    iv_pass *pass;
    iv_lane *lane;
    size_t n, d, m, batch;
    size_t *active;    /* m */
    double normaliser; /* of E6 */
    /* Of one pass: the rows that can be used stand one behind the other in the workspace. */
    size_t *place;       /* batch: which row of the pass each of them is */
    float *x;            /* batch x d, network units */
    double *z;           /* batch x n */
    double *mu, *logvar; /* batch x n */
    double *transform;   /* batch */
    double *dropped;     /* batch: nats for changed values of dropped columns; NULL: none is */
    /* An ensemble: a scorer for each further member, and room for its scores of one pass. */
    size_t n_more;
    iv_scorer **more;
    double *member_scores; /* batch */
    /* The diagonal of J^T G J, for E6: never the whole matrix, never all of G J. */
    double *diagonal; /* batch x n */
    void *jacobian;   /* n x tile x d, backend */
    void *g_jacobian; /* n x tile x d, backend: G J */
};

/* ---- Making one ---- */

static isovae_status kernels_of(const char *isa, const iv_kernels **k, isovae_error *err)
{
    *k = iv_kernels_get(IV_PRECISION_F32, isa);
    if (*k != NULL) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "isa: '%.40s' is not known or not supported by this processor; give baseline, "
                   "avx2 or avx512, or nothing for the best",
                   isa != NULL ? isa : iv_kernels_pinned());
}

isovae_status iv_scorer_weights(const iv_model *model, const char *isa, iv_eval **out,
                                isovae_error *err)
{
    *out = NULL;
    const iv_kernels *k;
    IV_TRY(kernels_of(isa, &k, err));
    unsigned before = iv_fp_enter();
    isovae_status status = iv_eval_new(model, k, &(iv_eval_plan){.rows = 1}, out, err);
    iv_fp_leave(before);
    return status;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static isovae_status make_room(iv_scorer *s, isovae_error *err)
{
    size_t n = s->n, d = s->d, batch = s->batch, tile = s->pass->tile;
    const iv_kernels *k = s->pass->k;
    static const char what[] = "a scorer";
    IV_TRY(IV_NEW(s->place, batch, what, err));
    IV_TRY(IV_NEW(s->x, batch * d, what, err));
    IV_TRY(IV_NEW(s->z, batch * n, what, err));
    IV_TRY(IV_NEW(s->mu, batch * n, what, err));
    IV_TRY(IV_NEW(s->logvar, batch * n, what, err));
    IV_TRY(IV_NEW(s->transform, batch, what, err));
    if (iv_scaling_kept(s->pass->scaling) < d) IV_TRY(IV_NEW(s->dropped, batch, what, err));
    if (s->estimate != IV_ESTIMATE_ELBO) return ISOVAE_OK;
    IV_TRY(IV_NEW(s->diagonal, batch * n, what, err));
    size_t columns = iv_exec_jacobian_buffer(s->pass->eval->decoder, s->model->out, tile);
    IV_TRY(k->alloc(&s->jacobian, columns, what, err));
    return k->alloc(&s->g_jacobian, s->n * tile * d, what, err);
}

static isovae_status find_active(iv_scorer *s, isovae_error *err)
{
    IV_TRY(IV_NEW(s->active, s->n, "the active set", err));
    for (size_t j = 0; s->model->active != NULL && j < s->n; j++) {
        if (s->model->active[j]) s->active[s->m++] = j;
    }
    return iv_check_estimate(s->model, s->estimate, err);
}

static isovae_status make(iv_scorer *s, const iv_scorer_plan *plan, isovae_error *err)
{
    IV_TRY(find_active(s, err));
    iv_pass_plan pass = {.precision = IV_PRECISION_F32,
                         .isa = plan->isa,
                         .rows = plan->batch > 0 ? plan->batch : DEFAULT_BATCH,
                         .full_gram = s->estimate != IV_ESTIMATE_ELBO,
                         .tangents = true,
                         .weights = plan->weights};
    IV_TRY(iv_pass_new(s->model, NULL, &pass, &s->pass, err));
    s->lane = &s->pass->lanes[0];
    s->batch = s->pass->chunk;
    s->normaliser = iv_e6_normaliser(s->model, s->pass->scaling);
    return make_room(s, err);
}

static isovae_status make_one(const iv_model *model, const iv_scorer_plan *plan, iv_scorer **out,
                              isovae_error *err)
{
    iv_scorer *s;
    *out = NULL;
    IV_TRY(IV_NEW(s, 1, "a scorer", err));
    s->model = model;
    s->estimate = plan->estimate;
    s->n = model->n;
    s->d = model->d;
    unsigned before = iv_fp_enter();
    isovae_status status = make(s, plan, err);
    iv_fp_leave(before);
    if (status != ISOVAE_OK) {
        iv_scorer_free(s);
        return status;
    }
    *out = s;
    return ISOVAE_OK;
}

/* Members have as many features and latents, so their passes are as long. */
static isovae_status make_members(iv_scorer *s, const iv_scorer_plan *plan, isovae_error *err)
{
    size_t n = s->model->n_more;
    if (n == 0) return ISOVAE_OK;
    IV_TRY(IV_NEW(s->member_scores, s->batch, "a scorer", err));
    IV_TRY(iv_alloc((void **)&s->more, n, sizeof(void *), "a scorer", err));
    for (size_t k = 0; k < n; k++) {
        iv_scorer_plan member = *plan;
        member.weights = plan->more_weights != NULL ? plan->more_weights[k] : NULL;
        IV_TRY(make_one(s->model->more[k], &member, &s->more[k], err));
        s->n_more++;
        if (s->more[k]->batch == s->batch) continue;
        return iv_fail(err, ISOVAE_ERR_INTERNAL, "members of an ensemble with unequal passes");
    }
    return ISOVAE_OK;
}

isovae_status iv_scorer_new(const iv_model *model, const iv_scorer_plan *plan, iv_scorer **out,
                            isovae_error *err)
{
    *out = NULL;
    const iv_kernels *k;
    iv_scorer *s;
    IV_TRY(kernels_of(plan->isa, &k, err));
    IV_TRY(iv_check_estimate(model, plan->estimate, err));
    IV_TRY(make_one(model, plan, &s, err));
    isovae_status status = make_members(s, plan, err);
    if (status != ISOVAE_OK) {
        iv_scorer_free(s);
        return status;
    }
    *out = s;
    return ISOVAE_OK;
}

void iv_scorer_free(iv_scorer *scorer)
{
    if (scorer == NULL) return;
    for (size_t k = 0; k < scorer->n_more; k++) iv_scorer_free(scorer->more[k]);
    iv_free((void *)scorer->more);
    if (scorer->jacobian != NULL) scorer->pass->k->release(scorer->jacobian);
    if (scorer->g_jacobian != NULL) scorer->pass->k->release(scorer->g_jacobian);
    iv_pass_free(scorer->pass);
    void *host[] = {scorer->active,  scorer->place,        scorer->x,         scorer->z,
                    scorer->mu,      scorer->logvar,       scorer->transform, scorer->diagonal,
                    scorer->dropped, scorer->member_scores};
    for (size_t i = 0; i < sizeof host / sizeof *host; i++) iv_free(host[i]);
    iv_free(scorer);
}

size_t iv_scorer_features(const iv_scorer *scorer)
{
    return scorer->d;
}

size_t iv_scorer_latents(const iv_scorer *scorer)
{
    return scorer->n;
}

/* ---- Rows in ---- */

static double value_at(const unsigned char *at, iv_dtype dtype)
{
    double wide;
    float narrow;
    if (dtype == IV_F64) {
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
    memcpy(&narrow, at, sizeof narrow);
    return (double)narrow;
}

/* Into network units as iv_scaling_rows does it; false where a value is not finite. */
static inline bool scale_row(const iv_scaling *s, size_t d, const unsigned char *at,
                             ptrdiff_t stride, iv_dtype dtype, float *out)
{
    unsigned finite = 1;
    for (size_t i = 0; i < d; i++) {
        double value = value_at(at + (ptrdiff_t)i * stride, dtype);
        finite &= (unsigned)(isfinite(value) != 0);
        out[i] = (float)((value - s->shift[i]) / s->scale[i]);
    }
    return finite != 0;
}

/* Constant strides for rows without gaps, so that the loop over a row can be vectorised. */
static bool load_row(const iv_scaling *s, size_t d, const iv_row_view *view,
                     const unsigned char *at, float *out)
{
    ptrdiff_t stride = view->column_stride;
    if (view->dtype == IV_F32) {
        return stride == (ptrdiff_t)sizeof(float) ? scale_row(s, d, at, sizeof(float), IV_F32, out)
                                                  : scale_row(s, d, at, stride, IV_F32, out);
    }
    return stride == (ptrdiff_t)sizeof(double) ? scale_row(s, d, at, sizeof(double), IV_F64, out)
                                               : scale_row(s, d, at, stride, IV_F64, out);
}

/* Dropped columns are 0 to the network; what a row pays for those that it changes. */
static double drop_columns(const iv_scorer *s, const iv_row_view *view, const unsigned char *at,
                           float *x)
{
    const iv_scaling *scaling = s->pass->scaling;
    size_t changes = 0;
    for (size_t i = 0; i < s->d; i++) {
        if (!iv_scaling_drops(scaling, i)) continue;
        double value = value_at(at + (ptrdiff_t)i * view->column_stride, view->dtype);
        changes += iv_scaling_changed(scaling, i, value);
        x[i] = 0;
    }
    return iv_dropped_cost(s->model, changes);
}

/* Latents as they are. */
static bool load_latents(size_t n, const iv_row_view *view, const unsigned char *at, double *out)
{
    bool finite = true;
    for (size_t j = 0; j < n; j++) {
        out[j] = value_at(at + (ptrdiff_t)j * view->column_stride, view->dtype);
        finite = finite && isfinite(out[j]);
    }
    return finite;
}

static unsigned char why_not(size_t columns, const iv_row_view *view, const unsigned char *at)
{
    for (size_t i = 0; i < columns; i++) {
        if (isnan(value_at(at + (ptrdiff_t)i * view->column_stride, view->dtype))) {
            return IV_ROW_MISSING;
        }
    }
    return IV_ROW_NOT_FINITE;
}

/* Rows [first, first + count) of the view into x (or z, for latents); returns how many can be used.
 * `status`: of these rows, or NULL. */
static size_t load(iv_scorer *s, const iv_row_view *view, size_t first, size_t count, bool latents,
                   unsigned char *status)
{
    size_t used = 0;
    for (size_t r = 0; r < count; r++) {
        const unsigned char *at =
            (const unsigned char *)view->values + (ptrdiff_t)(first + r) * view->row_stride;
        bool usable = latents ? load_latents(s->n, view, at, s->z + used * s->n)
                              : load_row(s->pass->scaling, s->d, view, at, s->x + used * s->d);
        if (usable && !latents && s->dropped != NULL) {
            s->dropped[used] = drop_columns(s, view, at, s->x + used * s->d);
        }
        if (status != NULL) {
            status[r] = usable ? IV_ROW_OK : why_not(latents ? s->n : s->d, view, at);
        }
        if (usable) s->place[used++] = r;
    }
    return used;
}

static void set_nan(size_t count, double *values)
{
    for (size_t i = 0; values != NULL && i < count; i++) values[i] = (double)NAN;
}

/* ---- The work on one pass ---- */

/* |x_j|^2_G of a few rows. */
static void add_diagonal(void *user, size_t first, size_t rows, size_t columns,
                         const void *jacobian, size_t stride)
{
    iv_scorer *s = user;
    const iv_kernels *k = s->pass->k;
    const iv_metric *metric = s->pass->eval->metric;
    size_t d = s->d, block = rows * d;
    const void *xhat = iv_at(k, iv_lane_out(s->lane), first * d);
    metric->kind->apply_g(metric, 0, rows, xhat, columns, jacobian, stride, s->g_jacobian, block);
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < columns; j++) {
            double value;
            k->gram(1, d, iv_at(k, jacobian, j * stride + r * d), d,
                    iv_at(k, s->g_jacobian, j * block + r * d), d, true, &value);
            s->diagonal[(first + r) * s->n + j] = isfinite(value) ? value : 0;
        }
    }
}

static double density_of(const iv_scorer *s, const iv_row_in *row, size_t r)
{
    const iv_lane *lane = s->lane;
    double *scratch = lane->scratch, dropped = s->dropped != NULL ? s->dropped[r] : 0;
    if (s->estimate == IV_ESTIMATE_ELBO) {
        double coding = iv_coding_jacobian(s->n, row->logvar, s->diagonal + r * s->n, 1);
        return iv_minus_loss(row, coding) + s->normaliser - dropped;
    }
    double volume = iv_lane_volume(lane, row, r) - dropped;
    switch (s->estimate) {
    case IV_ESTIMATE_POSTERIOR: return iv_density_posterior(row) + volume;
    case IV_ESTIMATE_LOGDET: return iv_density_logdet(row, scratch) + volume;
    default: return iv_density_laplace(row, scratch) + volume;
    }
}

/* What the estimate needs of the decoder's Jacobian at mu. E5 asks for it only where the metric and
 * data units have different volumes. */
static void differentiate(iv_scorer *s, size_t count)
{
    iv_eval *eval = s->pass->eval;
    iv_lane *lane = s->lane;
    if (s->estimate == IV_ESTIMATE_ELBO) {
        iv_exec_jacobian(eval->decoder, eval->params, s->model->out, 0, count, 0, s->jacobian,
                         s->pass->tile, add_diagonal, s);
    } else if (s->estimate == IV_ESTIMATE_POSTERIOR && lane->gram_data == NULL) {
        iv_metric_row_factor(eval->metric, count, iv_lane_out(lane), lane->factor);
    } else {
        iv_lane_gram(lane, count, s->logvar);
    }
}

static void encode_pass(iv_scorer *s, size_t count)
{
    s->pass->k->upload_f32(iv_lane_x(s->lane), s->x, count * s->d);
    iv_lane_encode(s->lane, count, s->mu, s->logvar);
}

static void score_pass(iv_scorer *s, size_t count, double *log_density)
{
    encode_pass(s, count);
    iv_lane_decode(s->lane, count, s->mu);
    iv_lane_distance(s->lane, count, s->transform);
    differentiate(s, count);
    for (size_t r = 0; r < count; r++) {
        iv_row_in row = {.n = s->n,
                         .m = s->m,
                         .active = s->active,
                         .beta = s->model->beta,
                         .mu = s->mu + r * s->n,
                         .logvar = s->logvar + r * s->n,
                         .transform = s->transform[r]};
        if (s->lane->gram != NULL) row.gram = s->lane->gram + r * s->n * s->n;
        log_density[s->place[r]] = fmax(density_of(s, &row, r), -1e300);
    }
}

static void decode_pass(iv_scorer *s, size_t count, double *values)
{
    size_t d = s->d;
    double *x = s->lane->stage;
    iv_lane_decode(s->lane, count, s->z);
    iv_lane_data(s->lane, count, x);
    for (size_t r = 0; r < count; r++) {
        memcpy(values + s->place[r] * d, x + r * d, d * sizeof *x);
    }
}

/* ---- The calls: pass after pass, in our floating-point state; callbacks run in the caller's ----
 */

static isovae_status may_go_on(const iv_progress *progress, const char *stage, size_t done,
                               size_t rows, isovae_error *err)
{
    if (done == 0 || iv_progress_rows(progress, stage, done, rows)) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_CANCELLED, "cancelled during %s, after %zu of %zu rows", stage,
                   done, rows);
}

/* One pass of one network; returns false where no row of it could be used. */
static bool score_rows(iv_scorer *s, const iv_row_view *rows, size_t first, size_t count,
                       double *log_density, unsigned char *status)
{
    size_t used = load(s, rows, first, count, false, status);
    if (used < count) set_nan(count, log_density);
    if (used > 0) score_pass(s, used, log_density);
    return used > 0;
}

/* The mean over the members, summed in their order as iv_score_rows does. */
static void average_members(iv_scorer *s, const iv_row_view *rows, size_t first, size_t count,
                            double *log_density)
{
    for (size_t k = 0; k < s->n_more; k++) {
        score_rows(s->more[k], rows, first, count, s->member_scores, NULL);
        for (size_t r = 0; r < count; r++) log_density[r] += s->member_scores[r];
    }
    for (size_t r = 0; r < count; r++) log_density[r] /= (double)(1 + s->n_more);
}

isovae_status iv_scorer_score(iv_scorer *s, const iv_row_view *rows, double *log_density,
                              unsigned char *status, const iv_progress *progress, isovae_error *err)
{
    for (size_t first = 0; first < rows->rows; first += s->batch) {
        IV_TRY(may_go_on(progress, "scoring", first, rows->rows, err));
        size_t count = smaller(rows->rows - first, s->batch);
        unsigned before = iv_fp_enter();
        bool some = score_rows(s, rows, first, count, log_density + first,
                               status != NULL ? status + first : NULL);
        if (some && s->n_more > 0) average_members(s, rows, first, count, log_density + first);
        iv_fp_leave(before);
    }
    return ISOVAE_OK;
}

static void put_latents(const iv_scorer *s, size_t used, double *mu, double *sigma, double *y)
{
    size_t n = s->n;
    for (size_t r = 0; r < used; r++) {
        size_t to = s->place[r] * n, from = r * n;
        for (size_t j = 0; j < n; j++) {
            double m = s->mu[from + j];
            if (mu != NULL) mu[to + j] = m;
            if (sigma != NULL) sigma[to + j] = exp(s->logvar[from + j] / 2);
            if (y != NULL) y[to + j] = iv_spline_y(&s->model->splines[j], s->model->beta, m);
        }
    }
}

isovae_status iv_scorer_encode(iv_scorer *s, const iv_row_view *rows, double *mu, double *sigma,
                               double *y, unsigned char *status, const iv_progress *progress,
                               isovae_error *err)
{
    size_t n = s->n;
    if (y != NULL && (s->model->splines == NULL || s->model->splines[0].n == 0)) {
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                       "the model holds no isometric coordinates (it was not calibrated on its "
                       "training data); ask for mu instead of y");
    }
    for (size_t first = 0; first < rows->rows; first += s->batch) {
        IV_TRY(may_go_on(progress, "encoding", first, rows->rows, err));
        size_t count = smaller(rows->rows - first, s->batch);
        double *part[3] = {mu, sigma, y};
        for (size_t i = 0; i < 3; i++) {
            if (part[i] != NULL) part[i] += first * n;
        }
        unsigned before = iv_fp_enter();
        size_t used = load(s, rows, first, count, false, status != NULL ? status + first : NULL);
        for (size_t i = 0; i < 3 && used < count; i++) set_nan(count * n, part[i]);
        if (used > 0) {
            encode_pass(s, used);
            put_latents(s, used, part[0], part[1], part[2]);
        }
        iv_fp_leave(before);
    }
    return ISOVAE_OK;
}

isovae_status iv_scorer_decode(iv_scorer *s, const iv_row_view *z, double *values,
                               unsigned char *status, const iv_progress *progress,
                               isovae_error *err)
{
    for (size_t first = 0; first < z->rows; first += s->batch) {
        IV_TRY(may_go_on(progress, "decoding", first, z->rows, err));
        size_t count = smaller(z->rows - first, s->batch);
        double *part = values + first * s->d;
        unsigned before = iv_fp_enter();
        size_t used = load(s, z, first, count, true, status != NULL ? status + first : NULL);
        if (used < count) set_nan(count * s->d, part);
        if (used > 0) decode_pass(s, used, part);
        iv_fp_leave(before);
    }
    return ISOVAE_OK;
}
