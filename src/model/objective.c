#include "model/objective.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

struct iv_objective {
    const iv_model *model;
    const iv_kernels *k;
    iv_metric *metric;
    iv_exec *encoder, *decoder;
    iv_objective_kind kind;
    iv_pool *pool;
    size_t rows, draws, slices, d, n;
    size_t hat_blocks; /* 1 where Dec(mu) is decoded too: block 0 of the decoder's rows */
    void *eps;         /* draws x rows x n */
    void *clean;       /* rows x d: the rows without noise; NULL: the encoder sees them */
    double denoise;
    double *learned;          /* gradients of what the metric learns */
    void *g_mu, *g_logvar;    /* rows x n, one draw's share; only with several draws */
    double *hat, *breve, *kl; /* rows; draws x rows; rows */
};

isovae_status iv_objective_new(const iv_model *model, const iv_kernels *k,
                               const iv_objective_config *config, iv_objective **out,
                               isovae_error *err)
{
    *out = NULL;
    iv_objective *o;
    IV_TRY(IV_NEW(o, 1, "the objective", err));
    o->model = model;
    o->k = k;
    o->kind = config->kind;
    o->pool = config->pool;
    o->rows = config->rows;
    o->draws = config->draws ? config->draws : 1;
    o->slices = iv_pool_threads(config->pool);
    o->d = model->d;
    o->n = model->n;
    o->hat_blocks = config->kind == IV_OBJECTIVE_DECOMPOSED ? 1 : 0;

    isovae_status status = ISOVAE_OK;
    size_t blocks = o->draws + o->hat_blocks, decoder_rows, draw_rows, eps_size;
    if (!iv_size_mul(blocks, o->rows, &decoder_rows) ||
        !iv_size_mul(o->draws, o->rows, &draw_rows) || !iv_size_mul(draw_rows, o->n, &eps_size)) {
        status = iv_fail(err, ISOVAE_ERR_MEMORY, "a batch of %zu rows and %zu draws is too large",
                         o->rows, o->draws);
        goto fail;
    }
    iv_exec_plan plan = {.rows = o->rows,
                         .reverse = config->gradient,
                         .lanes = o->slices,
                         .training = config->training};
    if ((status = iv_exec_new(model->encoder, k, &plan, &o->encoder, err))) goto fail;
    plan.rows = decoder_rows;
    if ((status = iv_exec_new(model->decoder, k, &plan, &o->decoder, err))) goto fail;
    iv_metric_use use = iv_model_metric_use(model, o->slices);
    if ((status = iv_metric_new(&model->metric, k, &use, &o->metric, err))) goto fail;
    if ((status = k->alloc(&o->eps, eps_size, "the noise of a batch", err))) goto fail;
    if (config->gradient && o->draws > 1) {
        if ((status = k->alloc(&o->g_mu, o->rows * o->n, "gradients of the heads", err))) goto fail;
        if ((status = k->alloc(&o->g_logvar, o->rows * o->n, "gradients of the heads", err)))
            goto fail;
    }
    o->denoise = config->denoise;
    if (o->denoise > 0 &&
        (status = k->alloc(&o->clean, o->rows * o->d, "the rows of a batch", err)))
        goto fail;
    if (config->gradient && model->learned_elements > 0 &&
        (status = IV_NEW(o->learned, model->learned_elements, "gradients of the noise", err)))
        goto fail;
    if ((status = IV_NEW(o->hat, o->rows, "losses", err))) goto fail;
    if ((status = IV_NEW(o->breve, draw_rows, "losses", err))) goto fail;
    if ((status = IV_NEW(o->kl, o->rows, "losses", err))) goto fail;
    *out = o;
    return ISOVAE_OK;
fail:
    iv_objective_free(o);
    return status;
}

void iv_objective_free(iv_objective *o)
{
    if (!o) return;
    iv_exec_free(o->encoder);
    iv_exec_free(o->decoder);
    iv_metric_free(o->metric);
    if (o->eps) o->k->release(o->eps);
    if (o->clean) o->k->release(o->clean);
    iv_free(o->learned);
    if (o->g_mu) o->k->release(o->g_mu);
    if (o->g_logvar) o->k->release(o->g_logvar);
    iv_free(o->hat);
    iv_free(o->breve);
    iv_free(o->kl);
    iv_free(o);
}

/* One batch on its way through the phases. */
typedef struct batch {
    iv_objective *o;
    const void *params;
    void *grads; /* NULL: value only */
    const iv_objective_call *call;
    size_t encoder_tasks; /* tasks below this belong to the encoder, */
    size_t network_tasks; /* those below this to the decoder, the others to the metric */

    /* Where the network has several segments: the stage that all slices are in. */
    iv_exec *exec;
    size_t segment;
    bool reverse;
} batch;

static void prepare_task(void *argument, size_t task)
{
    batch *b = argument;
    if (task < b->encoder_tasks)
        iv_exec_prepare(b->o->encoder, b->params, task);
    else
        iv_exec_prepare(b->o->decoder, b->params, task - b->encoder_tasks);
}

/* Place of a row of a block in an array of `width` elements a row; the blocks of a batch lie behind
 * one another without a gap, so the parameter gradients see one run of rows. */
static void *block_at(const batch *b, void *base, size_t block, size_t first, size_t width)
{
    return iv_at(b->o->k, base, (block * b->call->rows + first) * width);
}

/* dL/dDec for every block of the slice's rows. */
static void decoder_seeds(const batch *b, const void *x, size_t first, size_t count, size_t lane)
{
    iv_objective *o = b->o;
    const iv_metric_kind *metric = o->metric->kind;
    void *out = iv_exec_value(o->decoder, o->model->out);
    void *g_out = iv_exec_gradient(o->decoder, o->model->out);
    double rows = (double)b->call->rows, weight = b->call->distortion_weight;
    double per_draw = weight / (rows * (double)o->draws);
    if (o->hat_blocks) {
        void *hat = block_at(b, out, 0, first, o->d), *g_hat = block_at(b, g_out, 0, first, o->d);
        metric->gradient(o->metric, lane, count, x, hat, weight / rows, g_hat);
        for (size_t draw = 0; draw < o->draws; draw++)
            metric->pair_gradient(o->metric, lane, count, hat,
                                  block_at(b, out, draw + 1, first, o->d), per_draw, g_hat,
                                  block_at(b, g_out, draw + 1, first, o->d));
    } else {
        for (size_t draw = 0; draw < o->draws; draw++)
            metric->gradient(o->metric, lane, count, x, block_at(b, out, draw, first, o->d),
                             per_draw, block_at(b, g_out, draw, first, o->d));
    }
}

/* dL/dmu and dL/dlogvar from the decoder's input gradients and the KL term. */
static void heads_seeds(const batch *b, size_t first, size_t count)
{
    iv_objective *o = b->o;
    const iv_kernels *k = o->k;
    const iv_model *model = o->model;
    size_t n = o->n, cells = count * n;
    const void *mu = iv_at(k, iv_exec_value(o->encoder, model->mu), first * n);
    const void *logvar = iv_at(k, iv_exec_value(o->encoder, model->logvar), first * n);
    void *g_z = iv_exec_gradient(o->decoder, model->decoder->inputs[0]);
    void *g_mu = iv_at(k, iv_exec_gradient(o->encoder, model->mu), first * n);
    void *g_logvar = iv_at(k, iv_exec_gradient(o->encoder, model->logvar), first * n);
    double kl_weight = b->call->kl_weight / (double)b->call->rows;
    for (size_t draw = 0; draw < o->draws; draw++) {
        const void *eps = block_at(b, o->eps, draw, first, n);
        const void *g_draw = block_at(b, g_z, draw + o->hat_blocks, first, n);
        if (draw == 0) {
            const void *g_hat = o->hat_blocks ? block_at(b, g_z, 0, first, n) : NULL;
            k->heads_reverse(cells, mu, logvar, model->logvar_lo, model->logvar_hi, eps, g_draw,
                             g_hat, kl_weight, g_mu, g_logvar);
        } else {
            void *more_mu = iv_at(k, o->g_mu, first * n),
                 *more_logvar = iv_at(k, o->g_logvar, first * n);
            k->heads_reverse(cells, mu, logvar, model->logvar_lo, model->logvar_hi, eps, g_draw,
                             NULL, 0.0, more_mu, more_logvar);
            k->add(cells, g_mu, more_mu, g_mu);
            k->add(cells, g_logvar, more_logvar, g_logvar);
        }
    }
}

/* The rows that D is taken to. */
static void *x_at(const batch *b, size_t first)
{
    const iv_objective *o = b->o;
    void *input = iv_exec_value(o->encoder, o->model->encoder->inputs[0]);
    return iv_at(o->k, o->clean ? o->clean : input, first * o->d);
}

static void fill_rows(const batch *b, size_t first, size_t count)
{
    const iv_objective *o = b->o;
    size_t d = o->d, cells = count * d;
    void *x = x_at(b, first);
    b->call->fill(b->call->user, first, count, x, block_at(b, o->eps, 0, first, o->n),
                  b->call->rows * o->n);
    if (!o->clean) return;
    void *seen = iv_exec_value(o->encoder, o->model->encoder->inputs[0]);
    seen = iv_at(o->k, seen, first * d);
    b->call->blur(b->call->user, first, count, seen);
    o->k->scale_rows(1, cells, &o->denoise, seen, seen, false);
    o->k->add(cells, x, seen, seen);
}

/* From mu and logvar: KL, and the decoder's input. */
static void latent_rows(const batch *b, size_t first, size_t count)
{
    iv_objective *o = b->o;
    const iv_kernels *k = o->k;
    const iv_model *model = o->model;
    size_t n = o->n;
    void *mu = iv_at(k, iv_exec_value(o->encoder, model->mu), first * n);
    void *logvar = iv_at(k, iv_exec_value(o->encoder, model->logvar), first * n);
    k->kl_rows(count, n, mu, logvar, model->logvar_lo, model->logvar_hi, o->kl + first);

    void *z = iv_exec_value(o->decoder, model->decoder->inputs[0]);
    if (o->hat_blocks) k->copy_block(count, n, mu, n, block_at(b, z, 0, first, n), n, false);
    for (size_t draw = 0; draw < o->draws; draw++)
        k->sample(count * n, mu, logvar, model->logvar_lo, model->logvar_hi,
                  block_at(b, o->eps, draw, first, n),
                  block_at(b, z, draw + o->hat_blocks, first, n));
}

/* From the decoder's output: distances, and where wanted their gradients. */
static void loss_rows(const batch *b, size_t first, size_t count, size_t lane)
{
    iv_objective *o = b->o;
    const iv_metric_kind *metric = o->metric->kind;
    size_t rows = b->call->rows, d = o->d;
    void *out = iv_exec_value(o->decoder, o->model->out), *x = x_at(b, first);
    void *hat = block_at(b, out, 0, first, d);
    if (o->hat_blocks) metric->value(o->metric, lane, count, x, hat, o->hat + first);
    for (size_t draw = 0; draw < o->draws; draw++) {
        void *breve = block_at(b, out, draw + o->hat_blocks, first, d);
        double *value = o->breve + draw * rows + first;
        if (o->hat_blocks)
            metric->pair_value(o->metric, lane, count, hat, breve, value);
        else
            metric->value(o->metric, lane, count, x, breve, value);
    }

    if (b->grads) decoder_seeds(b, x, first, count, lane);
}

static void slice_task(void *argument, size_t slice)
{
    batch *b = argument;
    iv_objective *o = b->o;
    size_t rows = b->call->rows, blocks = o->draws + o->hat_blocks;
    size_t first = rows * slice / o->slices, count = rows * (slice + 1) / o->slices - first;
    if (count == 0) return;
    unsigned fp = iv_fp_enter();
    fill_rows(b, first, count);
    iv_exec_forward(o->encoder, b->params, first, count, slice);
    latent_rows(b, first, count);
    for (size_t block = 0; block < blocks; block++)
        iv_exec_forward(o->decoder, b->params, block * rows + first, count, slice);
    loss_rows(b, first, count, slice);
    if (b->grads) {
        for (size_t block = 0; block < blocks; block++)
            iv_exec_reverse(o->decoder, b->params, block * rows + first, count, true, slice);
        heads_seeds(b, first, count);
        iv_exec_reverse(o->encoder, b->params, first, count, false, slice);
    }
    iv_fp_leave(fp);
}

/* The same in stages, for networks in segments (exec.h): every slice passes a segment before any
 * passes the next, and between them the batch is summed up. */
static void stage_task(void *argument, size_t slice)
{
    batch *b = argument;
    iv_objective *o = b->o;
    bool encoder = b->exec == o->encoder, last = b->segment + 1 == iv_exec_segments(b->exec);
    size_t rows = b->call->rows, blocks = encoder ? 1 : o->draws + o->hat_blocks;
    size_t first = rows * slice / o->slices, count = rows * (slice + 1) / o->slices - first;
    if (count == 0) return;
    unsigned fp = iv_fp_enter();
    if (!b->reverse && b->segment == 0) {
        if (encoder)
            fill_rows(b, first, count);
        else
            latent_rows(b, first, count);
    }
    if (b->reverse && encoder && last) heads_seeds(b, first, count);
    for (size_t block = 0; block < blocks; block++) {
        size_t from = block * rows + first;
        if (b->reverse)
            iv_exec_reverse_segment(b->exec, b->params, b->segment, from, count, !encoder, slice);
        else
            iv_exec_forward_segment(b->exec, b->params, b->segment, from, count, slice);
    }
    if (!b->reverse && !encoder && last) loss_rows(b, first, count, slice);
    iv_fp_leave(fp);
}

static void statistics_task(void *argument, size_t task)
{
    batch *b = argument;
    iv_objective *o = b->o;
    size_t blocks = b->exec == o->encoder ? 1 : o->draws + o->hat_blocks;
    unsigned fp = iv_fp_enter();
    iv_exec_statistics(b->exec, b->params, b->segment + b->reverse, b->reverse,
                       b->call->rows * blocks, task);
    iv_fp_leave(fp);
}

static void run_network(batch *b, iv_exec *exec, bool reverse)
{
    iv_objective *o = b->o;
    size_t segments = iv_exec_segments(exec);
    size_t rows = b->call->rows * (exec == o->encoder ? 1 : o->draws + o->hat_blocks);
    b->exec = exec;
    b->reverse = reverse;
    for (size_t s = 0; s < segments; s++) {
        b->segment = reverse ? segments - 1 - s : s;
        if (s > 0) {
            iv_pool_run(o->pool, iv_exec_statistics_tasks(exec, rows), statistics_task, b);
            unsigned fp = iv_fp_enter();
            iv_exec_settle(exec, b->params, b->segment + reverse, reverse, rows);
            iv_fp_leave(fp);
        }
        iv_pool_run(o->pool, o->slices, stage_task, b);
    }
}

static void run_stages(batch *b)
{
    iv_objective *o = b->o;
    run_network(b, o->encoder, false);
    run_network(b, o->decoder, false);
    if (!b->grads) return;
    run_network(b, o->decoder, true);
    run_network(b, o->encoder, true);
}

/* Gradients of what the metric learns, a block of columns over the whole batch. */
static void learn_task(const batch *b, size_t task)
{
    iv_objective *o = b->o;
    const iv_metric *m = o->metric;
    size_t rows = b->call->rows, first = task * IV_METRIC_COLUMNS, columns = o->d - first;
    if (columns > IV_METRIC_COLUMNS) columns = IV_METRIC_COLUMNS;
    double weight = b->call->distortion_weight / (double)rows, per_draw = weight / (double)o->draws;
    void *out = iv_exec_value(o->decoder, o->model->out), *x = x_at(b, 0);
    void *hat = block_at(b, out, 0, 0, o->d);
    for (size_t p = 0; p < m->kind->n_learned; p++)
        for (size_t i = 0; i < columns; i++) o->learned[p * o->d + first + i] = 0.0;
    if (o->hat_blocks) m->kind->learn(m, rows, first, columns, x, hat, weight, false, o->learned);
    for (size_t draw = 0; draw < o->draws; draw++)
        m->kind->learn(m, rows, first, columns, o->hat_blocks ? hat : x,
                       block_at(b, out, draw + o->hat_blocks, 0, o->d), per_draw, o->hat_blocks > 0,
                       o->learned);
}

static void gradient_task(void *argument, size_t task)
{
    batch *b = argument;
    iv_objective *o = b->o;
    unsigned fp = iv_fp_enter();
    if (task < b->encoder_tasks)
        iv_exec_param_gradient(o->encoder, b->params, b->grads, b->call->rows, task);
    else if (task >= b->network_tasks)
        learn_task(b, task - b->network_tasks);
    else
        iv_exec_param_gradient(o->decoder, b->params, b->grads,
                               b->call->rows * (o->draws + o->hat_blocks), task - b->encoder_tasks);
    iv_fp_leave(fp);
}

static double mean(const double *values, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) sum += values[i];
    return count ? sum / (double)count : NAN;
}

static void run(batch *b, bool same_params, iv_objective_means *means)
{
    iv_objective *o = b->o;
    size_t rows = b->call->rows;
    if (!same_params) {
        unsigned fp = iv_fp_enter();
        iv_metric_settle(o->metric, iv_at(o->k, b->params, o->model->learned_at));
        iv_fp_leave(fp);
        b->encoder_tasks = iv_exec_prepare_tasks(o->encoder);
        iv_pool_run(o->pool, b->encoder_tasks + iv_exec_prepare_tasks(o->decoder), prepare_task, b);
    }
    if (iv_exec_segments(o->encoder) == 1 && iv_exec_segments(o->decoder) == 1)
        iv_pool_run(o->pool, o->slices, slice_task, b);
    else
        run_stages(b);
    if (b->grads) {
        size_t learned = o->model->learned_elements;
        size_t blocks = learned ? (o->d + IV_METRIC_COLUMNS - 1) / IV_METRIC_COLUMNS : 0;
        b->encoder_tasks = iv_exec_param_tasks(o->encoder);
        b->network_tasks = b->encoder_tasks + iv_exec_param_tasks(o->decoder);
        iv_pool_run(o->pool, b->network_tasks + blocks, gradient_task, b);
        if (learned) o->k->upload(iv_at(o->k, b->grads, o->model->learned_at), o->learned, learned);
    }
    means->kl = mean(o->kl, rows);
    double sampled = mean(o->breve, o->draws * rows);
    means->transform = o->hat_blocks ? mean(o->hat, rows) : NAN;
    means->coding = o->hat_blocks ? sampled : NAN;
    means->distortion = o->hat_blocks ? means->transform + sampled : sampled;
    means->loss = b->call->distortion_weight * means->distortion + b->call->kl_weight * means->kl;
}

void iv_objective_value(iv_objective *objective, const void *params, bool same_params,
                        const iv_objective_call *call, iv_objective_means *means)
{
    batch b = {.o = objective, .params = params, .call = call};
    run(&b, same_params, means);
}

void iv_objective_gradient(iv_objective *objective, const void *params, void *grads,
                           const iv_objective_call *call, iv_objective_means *means)
{
    batch b = {.o = objective, .params = params, .grads = grads, .call = call};
    run(&b, false, means);
}

void iv_objective_update_buffers(const iv_objective *objective, void *params)
{
    iv_exec_update_buffers(objective->encoder, params);
    iv_exec_update_buffers(objective->decoder, params);
}
