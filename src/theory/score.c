/* Scores of rows: one decoder pass at z = mu, with the Jacobian; nothing is drawn. */
#include "theory/score.h"

#include "base/memory.h"
#include "theory/rows.h"
#include "theory/scorer.h"

#include <math.h>
#include <string.h>

static isovae_status check_estimate(const iv_model *model, iv_estimate estimate, isovae_error *err)
{
    if ((size_t)estimate >= IV_ESTIMATES) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--estimate: give elbo, posterior, logdet or laplace");
    }
    if (estimate == IV_ESTIMATE_ELBO) return ISOVAE_OK;
    for (size_t j = 0; model->active != NULL && j < model->n; j++) {
        if (model->active[j]) return ISOVAE_OK;
    }
    return iv_fail(
        err, ISOVAE_ERR_ARGUMENT,
        "--estimate %s: the model has no active latent, so there is no manifold to have a "
        "density on; use --estimate elbo",
        iv_estimate_name(estimate));
}

isovae_status iv_score_rows(const iv_model *model, const iv_dataset *data, const size_t *rows,
                            size_t n_rows, iv_estimate estimate, iv_pool *pool, const char *isa,
                            const iv_progress *progress, iv_score *out, isovae_error *err)
{
    IV_TRY(check_estimate(model, estimate, err));
    if (n_rows == 0) return ISOVAE_OK;
    iv_pass_plan plan = {.precision = IV_PRECISION_F32,
                         .isa = isa,
                         .pool = pool,
                         .rows = n_rows,
                         .jacobian = true,
                         .full_gram = estimate != IV_ESTIMATE_ELBO};
    if (progress != NULL) plan.progress = *progress;
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
        out[i] = (iv_score){
            .log_density = r->estimate[estimate][i], .residual = r->transform[i], .latent = kl};
        /* The stored quantiles are of E6. */
        out[i].tail_prob = estimate == IV_ESTIMATE_ELBO
                               ? iv_threshold_share(model, out[i].log_density)
                               : (double)NAN;
    }
    iv_rows_free(r);
    iv_pass_free(pass);
    return status;
}

/* softplus(l) - x l, without overflow */
static double cross_entropy(double x, double logit)
{
    return fmax(logit, 0) + log1p(exp(-fabs(logit))) - x * logit;
}

typedef struct explained {
    const iv_rows *rows;
    double *feature, *latent;
} explained;

static void explain_chunk(void *user, iv_lane *lane, size_t first, size_t count)
{
    const explained *e = user;
    const iv_pass *pass = lane->pass;
    const iv_metric *metric = pass->eval->metric;
    size_t d = pass->d, n = pass->n;
    double factor = 1;
    (void)first;
    iv_lane_load(lane, e->rows->index, count);
    iv_lane_decode(lane, count, e->rows->mu);
    iv_metric_row_factor(metric, 1, iv_lane_x(lane), &factor);
    pass->k->download(e->feature, iv_lane_x(lane), d);
    pass->k->download(lane->stage, iv_lane_out(lane), d);
    for (size_t j = 0; j < n; j++) e->latent[j] = iv_kl(e->rows->mu[j], e->rows->logvar[j]);
    if (metric->kind->parts != NULL) {
        metric->kind->parts(metric, e->feature, lane->stage, e->feature);
        return;
    }
    for (size_t i = 0; i < d; i++) {
        double x = e->feature[i], out = lane->stage[i], off = x - out;
        e->feature[i] = (metric->kind->logits ? cross_entropy(x, out)
                                              : factor * pass->scaling->weight[i] * off * off) /
                        e->rows->beta;
    }
}

isovae_status iv_score_explain(const iv_model *model, const iv_dataset *data, size_t row,
                               const char *isa, double *feature, double *latent, isovae_error *err)
{
    if (row >= data->rows) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "row %zu does not exist: there are %zu, from 0",
                       row, data->rows);
    }
    if (model->metric.loss == IV_LOSS_SSIM) {
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                       "--explain: the distance of loss ssim is no sum over pixels, so none has a "
                       "share of it");
    }
    iv_pass_plan plan = {.precision = IV_PRECISION_F32, .isa = isa, .rows = 1};
    iv_pass *pass = NULL;
    iv_rows *rows = NULL;
    isovae_status status = iv_pass_new(model, data, &plan, &pass, err);
    if (status == ISOVAE_OK) status = iv_rows_new(pass, &row, 1, &rows, err);
    if (status == ISOVAE_OK) {
        explained e = {.rows = rows, .feature = feature, .latent = latent};
        status = iv_pass_run(pass, "explaining", 1, explain_chunk, NULL, &e, err);
    }
    iv_rows_free(rows);
    iv_pass_free(pass);
    return status;
}
