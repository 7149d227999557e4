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
} pass;

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
    e->metric->kind->value(e->metric, count, x_at, out_at, p->transform + start);
    k->normals(&key, count, p->rows + start, n, z_at); /* the noise, then z in its place */
    k->sample(count * n, mu_at, logvar_at, model->logvar_lo, model->logvar_hi, z_at, z_at);
    iv_eval_decode(e, first, count, lane);
    e->metric->kind->value(e->metric, count, x_at, out_at, p->distortion + start);
    iv_fp_leave(fp);
}

static void summarise(const pass *p, const iv_model *model, iv_measure *out)
{
    size_t rows = p->n_rows, n = model->n;
    for (size_t r = 0; r < rows; r++) {
        out->transform += p->transform[r] / (double)rows;
        out->distortion += p->distortion[r] / (double)rows;
    }
    for (size_t j = 0; j < n; j++) {
        double kl = 0.0, sigma2_sum = 0.0;
        for (size_t r = 0; r < rows; r++) {
            double mu = p->mu[r * n + j];
            double logvar = fmin(fmax(p->logvar[r * n + j], model->logvar_lo), model->logvar_hi);
            double sigma2 = exp(logvar);
            kl += 0.5 * (mu * mu + sigma2 - logvar - 1.0);
            sigma2_sum += sigma2;
        }
        kl /= (double)rows;
        out->kl += kl;
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
    for (p.wave = 0; p.wave * chunk_rows < n_rows; p.wave += lanes)
        iv_pool_run(pool, lanes, chunk_task, &p);
    summarise(&p, model, out);
done:
    iv_eval_free(p.eval);
    iv_free(p.transform);
    iv_free(p.distortion);
    iv_free(p.mu);
    iv_free(p.logvar);
    iv_free(p.x);
    return status;
}
