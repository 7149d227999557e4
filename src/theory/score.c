/* Scores of rows: one decoder pass at z = mu, with the Jacobian; nothing is drawn. */
#include "theory/score.h"

#include "base/memory.h"
#include "theory/rows.h"
#include "theory/scorer.h"

#include <math.h>
#include <string.h>

/* How far all members are. */
typedef struct members_progress {
    const iv_progress *whole;
    size_t member, members;
} members_progress;

static bool tell_member(void *user, const iv_progress_info *info)
{
    const members_progress *p = user;
    iv_progress_info all = *info;
    all.done += (double)p->member * info->total;
    all.total *= (double)p->members;
    return iv_progress_report(p->whole, &all);
}

/* The scores of one network are added to those in `out`. */
static isovae_status add_scores(const iv_model *model, const iv_dataset *data, const size_t *rows,
                                size_t n_rows, iv_estimate estimate, iv_pool *pool, const char *isa,
                                const iv_progress *progress, iv_score *out, isovae_error *err)
{
    iv_pass_plan plan = {.precision = IV_PRECISION_F32,
                         .isa = isa,
                         .pool = pool,
                         .progress = *progress,
                         .rows = n_rows,
                         .jacobian = true,
                         .full_gram = estimate != IV_ESTIMATE_ELBO};
    iv_pass *pass = NULL;
    iv_rows *r = NULL;
    isovae_status status = iv_pass_new(model, data, &plan, &pass, err);
    if (status == ISOVAE_OK) status = iv_rows_new(pass, rows, n_rows, &r, err);
    if (status == ISOVAE_OK) status = iv_rows_set_active(r, model->active, err);
    if (status == ISOVAE_OK) {
        status = iv_rows_evaluate(r, pass, &(iv_rows_plan){.stage = "scoring"}, err);
    }
    for (size_t i = 0; i < n_rows && status == ISOVAE_OK; i++) {
        double kl = 0;
        for (size_t j = 0; j < r->n; j++) kl += iv_kl(r->mu[i * r->n + j], r->logvar[i * r->n + j]);
        out[i].log_density += r->estimate[estimate][i];
        out[i].residual += r->transform[i];
        out[i].latent += kl;
    }
    iv_rows_free(r);
    iv_pass_free(pass);
    return status;
}

isovae_status iv_score_rows(const iv_model *model, const iv_dataset *data, const size_t *rows,
                            size_t n_rows, iv_estimate estimate, iv_pool *pool, const char *isa,
                            const iv_progress *progress, iv_score *out, isovae_error *err)
{
    size_t members = iv_model_members(model);
    members_progress told = {.whole = progress, .members = members};
    iv_progress each = {0};
    if (progress != NULL) each = (iv_progress){.call = tell_member, .user = &told};
    IV_TRY(iv_check_estimate(model, estimate, err));
    if (n_rows == 0) return ISOVAE_OK;
    memset(out, 0, n_rows * sizeof *out);
    for (told.member = 0; told.member < members; told.member++) {
        IV_TRY(add_scores(iv_model_member(model, told.member), data, rows, n_rows, estimate, pool,
                          isa, &each, out, err));
    }
    for (size_t i = 0; i < n_rows; i++) {
        out[i].log_density /= (double)members;
        out[i].residual /= (double)members;
        out[i].latent /= (double)members;
        /* The stored quantiles are of E6. */
        out[i].tail_prob = estimate == IV_ESTIMATE_ELBO
                               ? iv_threshold_share(model, out[i].log_density)
                               : (double)NAN;
    }
    return ISOVAE_OK;
}

/* softplus(l) - x l, without overflow */
static double cross_entropy(double x, double logit)
{
    return fmax(logit, 0) + log1p(exp(-fabs(logit))) - x * logit;
}

typedef struct explained {
    const iv_rows *rows;
    double *room, *feature, *latent; /* d, d, n */
} explained;

static void explain_chunk(void *user, iv_lane *lane, size_t first, size_t count)
{
    const explained *e = user;
    const iv_pass *pass = lane->pass;
    const iv_metric *metric = pass->eval->metric;
    size_t d = pass->d, n = pass->n;
    double factor = 1, dropped = iv_dropped_cost(pass->model, 1);
    (void)first;
    iv_lane_load(lane, e->rows->index, count);
    iv_lane_decode(lane, count, e->rows->mu);
    iv_metric_row_factor(metric, 1, iv_lane_x(lane), &factor);
    pass->k->download(e->room, iv_lane_x(lane), d);
    pass->k->download(lane->stage, iv_lane_out(lane), d);
    for (size_t j = 0; j < n; j++) e->latent[j] += iv_kl(e->rows->mu[j], e->rows->logvar[j]);
    if (metric->kind->parts != NULL) metric->kind->parts(metric, e->room, lane->stage, e->room);
    for (size_t i = 0; i < d; i++) {
        if (iv_scaling_changes_at(pass->scaling, pass->data, e->rows->index[0], i)) {
            e->feature[i] += dropped;
        }
        if (metric->kind->parts != NULL) {
            e->feature[i] += e->room[i];
            continue;
        }
        double x = e->room[i], out = lane->stage[i], off = x - out;
        e->feature[i] += (metric->kind->logits ? cross_entropy(x, out)
                                               : factor * pass->scaling->weight[i] * off * off) /
                         e->rows->beta;
    }
}

/* One network's contributions are added. */
static isovae_status explain_with(const iv_model *model, const iv_dataset *data, size_t row,
                                  const char *isa, explained *e, isovae_error *err)
{
    iv_pass_plan plan = {.precision = IV_PRECISION_F32, .isa = isa, .rows = 1};
    iv_pass *pass = NULL;
    iv_rows *rows = NULL;
    isovae_status status = iv_pass_new(model, data, &plan, &pass, err);
    if (status == ISOVAE_OK) status = iv_rows_new(pass, &row, 1, &rows, err);
    if (status == ISOVAE_OK) {
        e->rows = rows;
        status = iv_pass_run(pass, "explaining", 1, explain_chunk, NULL, e, err);
    }
    iv_rows_free(rows);
    iv_pass_free(pass);
    return status;
}

isovae_status iv_score_explain(const iv_model *model, const iv_dataset *data, size_t row,
                               const char *isa, double *feature, double *latent, isovae_error *err)
{
    size_t members = iv_model_members(model), d = model->d, n = model->n;
    if (row >= data->rows) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "row %zu does not exist: there are %zu, from 0",
                       row, data->rows);
    }
    if (model->metric.loss == IV_LOSS_SSIM) {
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                       "--explain: the distance of loss ssim is no sum over pixels, so none has a "
                       "share of it");
    }
    double *room;
    IV_TRY(IV_NEW(room, d, "an explanation", err));
    memset(feature, 0, d * sizeof *feature);
    memset(latent, 0, n * sizeof *latent);
    explained e = {.room = room, .feature = feature, .latent = latent};
    isovae_status status = ISOVAE_OK;
    for (size_t k = 0; k < members && status == ISOVAE_OK; k++) {
        status = explain_with(iv_model_member(model, k), data, row, isa, &e, err);
    }
    for (size_t i = 0; i < d; i++) feature[i] /= (double)members;
    for (size_t j = 0; j < n; j++) latent[j] /= (double)members;
    iv_free(room);
    return status;
}
