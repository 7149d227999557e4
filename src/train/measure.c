#include "train/measure.h"

#include "base/memory.h"
#include "base/random.h"
#include "model/eval.h"

#include <math.h>

enum { chunk_rows = 256 };
static const double active_nats = 0.05;

typedef struct pass {
    iv_eval *eval;
    const iv_dataset *data;
    const size_t *rows;
    size_t n_rows;
    uint64_t seed;
    size_t wave;                                  /* first chunk of those that run at once */
    double *transform, *distortion, *mu, *logvar; /* rows; rows; rows x n; rows x n */
    float *x;                                     /* lanes x chunk x d */
    double *error, *square; /* rows, or NULL: weighted and mean squared error of Dec(mu) */
    double *xhat;           /* lanes x d */
} pass;

/* Row r's reconstruction against it, in the metric's weights and in data units. */
static void row_errors(const pass *p, const float *x, const void *out_at, size_t r, size_t lane)
{
    const iv_eval *e = p->eval;
    const iv_scaling *scaling = &e->model->scaling;
    size_t d = e->model->d;
    bool logits = e->model->metric.loss == IV_LOSS_BCE;
    double *xhat = p->xhat + lane * d, error = 0.0, square = 0.0;
    e->k->download(xhat, out_at, d);
    for (size_t i = 0; i < d; i++) {
        double y = logits ? 1.0 / (1.0 + exp(-xhat[i])) : xhat[i], gap = (double)x[i] - y;
        error += scaling->weight[i] * gap * gap;
        square += scaling->scale[i] * scaling->scale[i] * gap * gap;
    }
    p->error[r] = error;
    p->square[r] = square / (double)d;
}

static void chunk_task(void *argument, size_t lane)
{
    pass *p = argument;
    iv_eval *e = p->eval;
    const iv_kernels *k = e->k;
    const iv_model *model = e->model;
    size_t start = (p->wave + lane) * chunk_rows, d = model->d, n = model->n;
    if (start >= p->n_rows) return;
    size_t count = p->n_rows - start < chunk_rows ? p->n_rows - start : chunk_rows;
    size_t first = lane * chunk_rows; /* this lane's rows of the workspace */
    unsigned fp = iv_fp_enter();

    float *x = p->x + first * d;
    iv_scaling_rows(&model->scaling, p->data, p->rows + start, count, x);
    iv_key key = {.seed = p->seed, .purpose = IV_PURPOSE_ANALYSIS};
    void *x_at = iv_at(k, iv_eval_x(e), first * d), *z_at = iv_at(k, iv_eval_z(e), first * n);
    void *mu_at = iv_at(k, iv_eval_mu(e), first * n),
         *logvar_at = iv_at(k, iv_eval_logvar(e), first * n);
    void *out_at = iv_at(k, iv_eval_out(e), first * d);
    k->upload_f32(x_at, x, count * d);
    iv_eval_encode(e, first, count, lane);
    k->download(p->mu + start * n, mu_at, count * n);
    k->download(p->logvar + start * n, logvar_at, count * n);
    k->copy_block(count, n, mu_at, n, z_at, n, false);
    iv_eval_decode(e, first, count, lane);
    e->metric->kind->value(e->metric, lane, count, x_at, out_at, p->transform + start);
    for (size_t r = 0; p->error && r < count; r++)
        row_errors(p, x + r * d, iv_at(k, out_at, r * d), start + r, lane);
    k->normals(&key, count, p->rows + start, n, z_at); /* the noise, then z in its place */
    k->sample(count * n, mu_at, logvar_at, model->logvar_lo, model->logvar_hi, z_at, z_at);
    iv_eval_decode(e, first, count, lane);
    e->metric->kind->value(e->metric, lane, count, x_at, out_at, p->distortion + start);
    iv_fp_leave(fp);
}

static void summarise_errors(const pass *p, iv_measure_detail *detail)
{
    double rows = (double)p->n_rows;
    detail->error = detail->psnr = 0.0;
    for (size_t r = 0; r < p->n_rows; r++) {
        double psnr = 10.0 * log10(detail->range * detail->range / p->square[r]);
        detail->error += p->error[r] / rows;
        detail->psnr += (psnr < 100.0 ? psnr : 100.0) / rows;
    }
}

static void summarise(const pass *p, const iv_model *model, iv_measure *out,
                      iv_measure_detail *detail)
{
    size_t rows = p->n_rows, n = model->n;
    for (size_t r = 0; r < rows; r++) {
        out->transform += p->transform[r] / (double)rows;
        out->distortion += p->distortion[r] / (double)rows;
    }
    for (size_t j = 0; j < n; j++) {
        double kl = 0.0, sigma2_sum = 0.0, inverse = 0.0;
        for (size_t r = 0; r < rows; r++) {
            double mu = p->mu[r * n + j];
            double logvar = fmin(fmax(p->logvar[r * n + j], model->logvar_lo), model->logvar_hi);
            double sigma2 = exp(logvar);
            kl += 0.5 * (mu * mu + sigma2 - logvar - 1.0);
            sigma2_sum += sigma2;
            inverse += 1.0 / sigma2;
        }
        kl /= (double)rows;
        out->kl += kl;
        if (detail) {
            detail->kl[j] = kl;
            detail->sigma2[j] = sigma2_sum / (double)rows;
            detail->importance[j] = model->beta / 2.0 * inverse / (double)rows;
        }
        if (kl > active_nats) {
            out->active++;
            out->active_sigma2 += sigma2_sum / (double)rows;
        }
    }
}

isovae_status iv_measure_rows(const iv_model *model, const iv_kernels *k, iv_pool *pool,
                              const iv_dataset *data, const size_t *rows, size_t n_rows,
                              uint64_t seed, iv_measure *out, isovae_error *err)
{
    return iv_measure_detailed(model, k, pool, data, rows, n_rows, seed, out, NULL, err);
}

isovae_status iv_measure_detailed(const iv_model *model, const iv_kernels *k, iv_pool *pool,
                                  const iv_dataset *data, const size_t *rows, size_t n_rows,
                                  uint64_t seed, iv_measure *out, iv_measure_detail *detail,
                                  isovae_error *err)
{
    *out = (iv_measure){0};
    size_t lanes = iv_pool_threads(pool);
    pass p = {.data = data, .rows = rows, .n_rows = n_rows, .seed = seed};
    iv_eval_plan plan = {.rows = lanes * chunk_rows, .lanes = lanes};
    isovae_status status;
    if ((status = iv_eval_new(model, k, &plan, &p.eval, err))) goto done;
    if ((status = IV_NEW(p.transform, n_rows, "losses", err))) goto done;
    if ((status = IV_NEW(p.distortion, n_rows, "losses", err))) goto done;
    if ((status = IV_NEW(p.mu, n_rows * model->n, "latents", err))) goto done;
    if ((status = IV_NEW(p.logvar, n_rows * model->n, "latents", err))) goto done;
    if ((status = IV_NEW(p.x, plan.rows * model->d, "a batch", err))) goto done;
    if (detail) {
        if ((status = IV_NEW(p.error, n_rows, "errors", err))) goto done;
        if ((status = IV_NEW(p.square, n_rows, "errors", err))) goto done;
        if ((status = IV_NEW(p.xhat, lanes * model->d, "a row", err))) goto done;
    }
    for (p.wave = 0; p.wave * chunk_rows < n_rows; p.wave += lanes)
        iv_pool_run(pool, lanes, chunk_task, &p);
    summarise(&p, model, out, detail);
    if (detail) summarise_errors(&p, detail);
done:
    iv_eval_free(p.eval);
    iv_free(p.transform);
    iv_free(p.distortion);
    iv_free(p.mu);
    iv_free(p.logvar);
    iv_free(p.x);
    iv_free(p.error);
    iv_free(p.square);
    iv_free(p.xhat);
    return status;
}
