/* See rows.h. Two passes: the encoder over all rows (which decides the active set), then the
 * decoder with its Jacobian at each row's mu. */
#include "theory/rows.h"

#include "base/memory.h"
#include "base/random.h"
#include "theory/gram.h"

#include <math.h>
#include <string.h>

static const double log_pi = 1.1447298858494001741;

void iv_keyed_draw(void *user, size_t row, size_t draw, size_t n, double *eps)
{
    const iv_keyed_draws *keyed = user;
    size_t drawn = keyed->antithetic ? draw / 2 : draw;
    iv_key key = {.seed = keyed->seed,
                  .purpose = IV_PURPOSE_ANALYSIS,
                  .step = keyed->stream,
                  .row = row,
                  .draw = (uint32_t)drawn};
    iv_normals_f64(&key, n, eps);
    if (keyed->antithetic && draw % 2 == 1) {
        for (size_t j = 0; j < n; j++) eps[j] = -eps[j];
    }
}

double iv_e6_normaliser(const iv_model *model, const iv_scaling *scaling)
{
    if (iv_loss_learned(model->metric.loss)) { /* D has its own normaliser, in network units */
        double sum = 0;
        for (size_t i = 0; i < scaling->cols; i++) sum += log(scaling->scale[i]);
        return -sum;
    }
    if (model->metric.loss != IV_LOSS_SSE) return 0;
    return -0.5 * (double)iv_scaling_kept(scaling) * (log_pi + log(model->beta)) -
           iv_scaling_log_volume(scaling);
}

double iv_dropped_cost(const iv_model *model, size_t changes)
{
    return changes == 0 ? 0 : (double)changes * log((double)model->train_rows + 1);
}

static size_t active_of(const iv_model *model)
{
    size_t active = 0;
    for (size_t j = 0; model->active != NULL && j < model->n; j++) active += model->active[j];
    return active;
}

isovae_status iv_check_estimate(const iv_model *model, iv_estimate estimate, isovae_error *err)
{
    if ((size_t)estimate >= IV_ESTIMATES) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "estimate: give elbo, posterior, logdet or laplace");
    }
    if (estimate == IV_ESTIMATE_ELBO) return ISOVAE_OK;
    for (size_t k = 0; k < iv_model_members(model); k++) {
        size_t active = active_of(iv_model_member(model, k));
        if (active == 0) {
            return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                           "estimate %s: the model has no active latent, so there is no manifold "
                           "to have a density on; use elbo",
                           iv_estimate_name(estimate));
        }
        if (active == active_of(model)) continue;
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "estimate %s: the members have not as many active latents each, and "
                       "densities on manifolds of different dimensions have no mean; use elbo",
                       iv_estimate_name(estimate));
    }
    return ISOVAE_OK;
}

static isovae_status take(double **out, size_t rows, size_t columns, isovae_error *err)
{
    size_t count;
    if (!iv_size_mul(rows, columns, &count)) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "%zu rows of %zu numbers are too many", rows,
                       columns);
    }
    return IV_NEW(*out, count, "the results of the rows", err);
}

static void encode_chunk(void *user, iv_lane *lane, size_t first, size_t count)
{
    iv_rows *rows = user;
    iv_lane_load(lane, rows->index + first, count);
    iv_lane_encode(lane, count, rows->mu + first * rows->n, rows->logvar + first * rows->n);
}

isovae_status iv_rows_new(iv_pass *pass, const size_t *index, size_t n_rows, iv_rows **out,
                          isovae_error *err)
{
    *out = NULL;
    iv_rows *rows;
    IV_TRY(IV_NEW(rows, 1, "the rows", err));
    *rows = (iv_rows){
        .rows = n_rows, .n = pass->n, .d = pass->d, .index = index, .beta = pass->model->beta};
    isovae_status status = take(&rows->mu, n_rows, rows->n, err);
    if (status == ISOVAE_OK) status = take(&rows->logvar, n_rows, rows->n, err);
    if (status == ISOVAE_OK && iv_scaling_kept(pass->scaling) < rows->d) {
        status = take(&rows->dropped, n_rows, 1, err);
        for (size_t r = 0; r < n_rows && status == ISOVAE_OK; r++) {
            rows->dropped[r] = iv_dropped_cost(
                pass->model, iv_scaling_changes(pass->scaling, pass->data, index[r]));
        }
    }
    if (status == ISOVAE_OK) {
        status = iv_pass_run(pass, "encoding", n_rows, encode_chunk, NULL, rows, err);
    }
    if (status != ISOVAE_OK) {
        iv_rows_free(rows);
        return status;
    }
    *out = rows;
    return ISOVAE_OK;
}

void iv_rows_free(iv_rows *rows)
{
    if (rows == NULL) return;
    double *arrays[] = {
        rows->dropped, rows->mu,          rows->logvar,     rows->transform, rows->coding_jacobian,
        rows->norm,    rows->e0,          rows->e0_plain,   rows->total,     rows->coding,
        rows->volume,  rows->cosine_cost, rows->abs_cosine, rows->loading,   rows->loading_square,
        rows->shift,   rows->residual,    rows->gram};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) iv_free(arrays[i]);
    for (size_t i = 0; i < IV_ESTIMATES; i++) iv_free(rows->estimate[i]);
    iv_free(rows->active);
    iv_free(rows);
}

void iv_rows_mean_kl(const iv_rows *rows, double *kl)
{
    for (size_t j = 0; j < rows->n; j++) kl[j] = 0;
    for (size_t r = 0; r < rows->rows; r++) {
        for (size_t j = 0; j < rows->n; j++) {
            kl[j] += iv_kl(rows->mu[r * rows->n + j], rows->logvar[r * rows->n + j]);
        }
    }
    for (size_t j = 0; j < rows->n; j++) kl[j] /= (double)rows->rows;
}

isovae_status iv_rows_set_active(iv_rows *rows, const unsigned char *active, isovae_error *err)
{
    if (rows->active == NULL) IV_TRY(IV_NEW(rows->active, rows->n, "the active set", err));
    rows->m = 0;
    for (size_t j = 0; j < rows->n; j++) {
        if (active[j]) rows->active[rows->m++] = j;
    }
    return ISOVAE_OK;
}

typedef struct work {
    iv_rows *rows;
    iv_draw_work draws;
    double normaliser; /* of E6 */
} work;

double iv_lane_volume(const iv_lane *lane, const iv_row_in *row, size_t r)
{
    const iv_pass *pass = lane->pass;
    if (!iv_loss_by_feature(pass->model->metric.loss)) return 0;
    if (lane->gram_data == NULL) { /* weight/scale^2 is the same for all features, none dropped */
        const iv_scaling *s = pass->scaling;
        double ratio = s->weight[0] / (s->scale[0] * s->scale[0]);
        return 0.5 * (double)row->m * log(ratio * lane->factor[r]);
    }
    iv_row_in data = *row;
    data.gram = lane->gram_data + r * row->n * row->n;
    return 0.5 * iv_active_logdet(row, 0, lane->scratch) -
           0.5 * iv_active_logdet(&data, 0, lane->scratch);
}

static void add_cosines(iv_lane *lane, size_t n, const double *gram)
{
    for (size_t j = 0; j < n; j++) {
        for (size_t k = 0; k < j; k++) {
            double c = fabs(iv_cosine(n, gram, j, k));
            lane->abs_cosine[j * n + k] += c;
            lane->abs_cosine[k * n + j] += c;
        }
    }
}

static void finish_row(const work *w, iv_lane *lane, size_t place, size_t r)
{
    iv_rows *rows = w->rows;
    size_t n = rows->n;
    iv_row_in row = {.n = n,
                     .m = rows->m,
                     .active = rows->active,
                     .beta = rows->beta,
                     .mu = rows->mu + place * n,
                     .logvar = rows->logvar + place * n,
                     .gram = lane->gram + r * n * n,
                     .transform = rows->transform[place]};
    double coding = iv_coding_jacobian(n, row.logvar, row.gram, n + 1);
    double dropped = rows->dropped != NULL ? rows->dropped[place] : 0;
    rows->coding_jacobian[place] = coding;
    rows->estimate[IV_ESTIMATE_ELBO][place] =
        fmax(iv_minus_loss(&row, coding) + w->normaliser - dropped, -1e300);
    for (size_t j = 0; j < n; j++) {
        rows->norm[place * n + j] = iv_norm(rows->beta, row.logvar[j], row.gram[j * n + j]);
    }
    if (rows->volume == NULL) return;
    double volume = iv_lane_volume(lane, &row, r) - dropped;
    rows->volume[place] = volume;
    rows->estimate[IV_ESTIMATE_POSTERIOR][place] =
        fmax(iv_density_posterior(&row) + volume, -1e300);
    rows->estimate[IV_ESTIMATE_LOGDET][place] =
        fmax(iv_density_logdet(&row, lane->scratch) + volume, -1e300);
    rows->estimate[IV_ESTIMATE_LAPLACE][place] =
        fmax(iv_density_laplace(&row, lane->scratch) + volume, -1e300);
    rows->cosine_cost[place] = iv_cosine_cost(&row, lane->scratch);
    add_cosines(lane, n, row.gram);
    for (size_t i = 0; i < n * n; i++) lane->gram_sum[i] += row.gram[i];
}

static void evaluate_chunk(void *user, iv_lane *lane, size_t first, size_t count)
{
    const work *w = user;
    iv_rows *rows = w->rows;
    size_t n = rows->n, d = rows->d;
    const double *mu = rows->mu + first * n, *logvar = rows->logvar + first * n;
    iv_lane_load(lane, rows->index + first, count);
    iv_lane_decode(lane, count, mu);
    iv_lane_distance(lane, count, rows->transform + first);
    if (rows->norm == NULL) return;
    if (lane->abs_cosine != NULL) {
        memset(lane->abs_cosine, 0, n * n * sizeof *lane->abs_cosine);
        memset(lane->gram_sum, 0, n * n * sizeof *lane->gram_sum);
    }
    if (lane->loading != NULL) {
        memset(lane->loading, 0, n * d * sizeof *lane->loading);
        memset(lane->loading_square, 0, n * d * sizeof *lane->loading_square);
    }
    if (lane->residual != NULL) memset(lane->residual, 0, d * sizeof *lane->residual);
    iv_lane_gram(lane, count, logvar);
    for (size_t r = 0; r < count; r++) finish_row(w, lane, first + r, r);
    if (rows->e0 != NULL) iv_lane_draws(lane, &w->draws, first, count);
}

static void add_to(size_t count, double *sum, const double *part)
{
    for (size_t i = 0; i < count; i++) sum[i] += part[i];
}

static void merge_chunk(void *user, iv_lane *lane)
{
    const work *w = user;
    iv_rows *rows = w->rows;
    size_t n = rows->n, d = rows->d;
    if (rows->abs_cosine != NULL) {
        add_to(n * n, rows->abs_cosine, lane->abs_cosine);
        add_to(n * n, rows->gram, lane->gram_sum);
    }
    if (rows->loading != NULL) {
        add_to(n * d, rows->loading, lane->loading);
        add_to(n * d, rows->loading_square, lane->loading_square);
    }
    if (rows->residual != NULL) add_to(d, rows->residual, lane->residual);
}

static isovae_status make_room(iv_rows *rows, const iv_pass *pass, const iv_rows_plan *plan,
                               isovae_error *err)
{
    size_t n = rows->n, count = rows->rows;
    IV_TRY(take(&rows->transform, count, 1, err));
    if (!pass->jacobian) return ISOVAE_OK;
    IV_TRY(take(&rows->coding_jacobian, count, 1, err));
    IV_TRY(take(&rows->norm, count, n, err));
    IV_TRY(take(&rows->estimate[IV_ESTIMATE_ELBO], count, 1, err));
    if (pass->full_gram) {
        IV_TRY(take(&rows->estimate[IV_ESTIMATE_POSTERIOR], count, 1, err));
        IV_TRY(take(&rows->estimate[IV_ESTIMATE_LOGDET], count, 1, err));
        IV_TRY(take(&rows->estimate[IV_ESTIMATE_LAPLACE], count, 1, err));
        IV_TRY(take(&rows->volume, count, 1, err));
        IV_TRY(take(&rows->cosine_cost, count, 1, err));
        IV_TRY(take(&rows->abs_cosine, n, n, err));
        IV_TRY(take(&rows->gram, n, n, err));
    }
    if (pass->loadings) {
        IV_TRY(take(&rows->loading, n, rows->d, err));
        IV_TRY(take(&rows->loading_square, n, rows->d, err));
    }
    if (pass->draws && plan->draws != NULL) {
        IV_TRY(take(&rows->e0, count, n, err));
        IV_TRY(take(&rows->e0_plain, count, n, err));
        IV_TRY(take(&rows->shift, count, n, err));
        IV_TRY(take(&rows->total, count, 1, err));
        IV_TRY(take(&rows->coding, count, 1, err));
        if (pass->model->learned_elements > 0) IV_TRY(take(&rows->residual, rows->d, 1, err));
    }
    return ISOVAE_OK;
}

isovae_status iv_rows_evaluate(iv_rows *rows, iv_pass *pass, const iv_rows_plan *plan,
                               isovae_error *err)
{
    if (rows->active == NULL || rows->transform != NULL) {
        return iv_fail(err, ISOVAE_ERR_INTERNAL, "rows evaluated twice or without an active set");
    }
    IV_TRY(make_room(rows, pass, plan, err));
    work w = {.rows = rows,
              .draws = {.rows = rows, .plan = plan},
              .normaliser = iv_e6_normaliser(pass->model, pass->scaling)};
    return iv_pass_run(pass, plan->stage, rows->rows, evaluate_chunk, merge_chunk, &w, err);
}
