/* One training step: noise, forward, backward and Adam on a batch; and the trainer's own loop,
 * which shuffles, gathers and scales rows as well. */
#include "bench.h"

#include "base/memory.h"
#include "base/random.h"
#include "model/objective.h"
#include "train/trainer.h"

#include <math.h>
#include <string.h>

enum { ADAM_BLOCK = 16384 };

typedef struct step {
    bench *b;
    const bench_net *net;
    iv_objective *objective;
    void *params, *grads, *moment1, *moment2;
    size_t *rows; /* batch: the numbers under which noise is drawn */
    uint64_t number;
    bool fixed; /* the shared noise and the first batch, for checks */
    double loss;
} step;

static void reset(step *s)
{
    const iv_kernels *k = s->b->k;
    size_t size = s->net->model->param_elements;
    k->upload_f32(s->params, s->net->model->params, size);
    k->fill(size, 0, s->moment1);
    k->fill(size, 0, s->moment2);
    s->number = 0;
}

void *bench_step_start(bench *b, const char *name)
{
    isovae_error err = {0};
    step *s;
    bench_must(IV_NEW(s, 1, "a step", &err), &err);
    s->b = b;
    s->net = bench_net_of(b, name);
    const iv_model *model = s->net->model;
    iv_objective_config config = {.kind = IV_OBJECTIVE_CONVENTIONAL,
                                  .rows = s->net->batch,
                                  .draws = 1,
                                  .gradient = true,
                                  .training = true,
                                  .pool = b->pool};
    bench_must(iv_objective_new(model, b->k, &config, &s->objective, &err), &err);
    void **vectors[] = {&s->params, &s->grads, &s->moment1, &s->moment2};
    for (size_t i = 0; i < 4; i++) {
        bench_must(b->k->alloc(vectors[i], model->param_elements, "a vector", &err), &err);
    }
    bench_must(IV_NEW(s->rows, s->net->batch, "rows", &err), &err);
    reset(s);
    return s;
}

static void fill(void *user, size_t first, size_t count, void *x, void *eps, size_t stride)
{
    step *s = user;
    const bench_net *net = s->net;
    size_t d = net->model->d, n = net->model->n, batches = net->rows / net->batch;
    size_t start = s->fixed ? 0 : (size_t)(s->number % batches) * net->batch;
    (void)stride;
    s->b->k->upload_f32(x, net->x + (start + first) * d, count * d);
    if (s->fixed) {
        s->b->k->upload_f32(eps, net->eps + first * n, count * n);
        return;
    }
    iv_key key = {.seed = 5, .purpose = IV_PURPOSE_NOISE, .step = s->number};
    for (size_t i = first; i < first + count; i++) s->rows[i] = start + i;
    s->b->k->normals(&key, count, s->rows + first, n, eps);
}

typedef struct update {
    step *s;
    iv_adam adam;
} update;

static void adam_task(void *argument, size_t task)
{
    const update *u = argument;
    const step *s = u->s;
    const iv_kernels *k = s->b->k;
    size_t start = task * ADAM_BLOCK, size = s->net->model->trained_elements - start;
    if (size > ADAM_BLOCK) size = ADAM_BLOCK;
    unsigned fp = iv_fp_enter();
    k->adam(size, &u->adam, iv_at(k, s->params, start), iv_at(k, s->grads, start),
            iv_at(k, s->moment1, start), iv_at(k, s->moment2, start));
    iv_fp_leave(fp);
}

static iv_objective_call call_of(step *s)
{
    return (iv_objective_call){.rows = s->net->batch,
                               .distortion_weight = 1.0 / s->net->model->beta,
                               .kl_weight = 1.0,
                               .fill = fill,
                               .user = s};
}

void bench_step_once(void *state)
{
    step *s = state;
    iv_objective_call call = call_of(s);
    iv_objective_means means;
    iv_objective_gradient(s->objective, s->params, s->grads, &call, &means);
    s->loss = means.loss;
    update u = {.s = s,
                .adam = {.rate = s->net->rate,
                         .beta1 = 0.9,
                         .beta2 = 0.999,
                         .epsilon = 1e-8,
                         .step = ++s->number}};
    size_t blocks = (s->net->model->trained_elements + ADAM_BLOCK - 1) / ADAM_BLOCK;
    iv_pool_run(s->b->pool, blocks, adam_task, &u);
    iv_objective_update_buffers(s->objective, s->params);
}

/* The loss and the length of its gradient at the shared weights, and the loss after three steps. */
json_t *bench_step_check(void *state)
{
    step *s = state;
    iv_objective_call call = call_of(s);
    iv_objective_means means;
    s->fixed = true;
    reset(s);
    iv_objective_gradient(s->objective, s->params, s->grads, &call, &means);
    double loss = means.loss;
    double length = sqrt(s->b->k->sum_squares(s->net->model->trained_elements, s->grads));
    for (int i = 0; i < 3; i++) bench_step_once(s);
    iv_objective_value(s->objective, s->params, false, &call, &means);
    s->fixed = false;
    reset(s);
    return json_pack("{s:f, s:f, s:f}", "loss", loss, "gradient", length, "loss_after_3",
                     means.loss);
}

void bench_step_stop(void *state)
{
    step *s = state;
    void *vectors[] = {s->params, s->grads, s->moment1, s->moment2};
    for (size_t i = 0; i < 4; i++) s->b->k->release(vectors[i]);
    iv_objective_free(s->objective);
    iv_free(s->rows);
    iv_free(s);
}

/* ---- the trainer's loop ---- */

typedef struct train {
    iv_fit_options options;
    iv_fit_plan plan;
    iv_fit_result notes;
    iv_model *model;
    iv_trainer *trainer;
} train;

void *bench_train_start(bench *b, const char *name)
{
    isovae_error err = {0};
    bool toy = strcmp(name, "toy-train") == 0;
    const bench_net *net = toy ? &b->toy : &b->mnist;
    train *t;
    bench_must(IV_NEW(t, 1, "training", &err), &err);
    iv_fit_options_init(&t->options);
    t->options.latent_dim = net->model->n;
    t->options.arch = net->model->arch;
    t->options.activation = toy ? IV_ACT_SILU : IV_ACT_RELU;
    t->options.loss = toy ? "sse" : "bce";
    t->options.beta = t->options.beta_start = net->model->beta;
    t->options.batch_size = net->batch;
    t->options.steps = BENCH_TRAIN_STEPS;
    t->options.rate = 1e-3;
    t->options.schedule = IV_SCHEDULE_CONSTANT;
    t->options.schedule_set = true;
    t->options.validation = 0;
    t->options.isa = b->isa;
    t->options.pool = b->pool;
    bench_must(iv_fit_plan_make(net->data, &t->options, &t->plan, &t->notes, &err), &err);
    bench_must(iv_model_new(&t->model, &err), &err);
    iv_act act = toy ? IV_ACT_SILU : IV_ACT_RELU;
    bench_must(iv_model_build(t->model, t->plan.arch, t->plan.d, t->plan.n, act, IV_F32, &err),
               &err);
    t->model->metric = t->plan.metric;
    t->model->beta = t->plan.beta;
    bench_must(iv_scaling_copy(&t->plan.scaling, &t->model->scaling, &err), &err);
    bench_must(iv_start_weights(t->model, 1, IV_INIT_DEFAULT, &err), &err);
    bench_must(iv_trainer_new(net->data, &t->options, &t->plan, t->model, &t->trainer, &err), &err);
    t->plan.steps = 0;
    iv_trainer_start(t->trainer, 0, t->model->params);
    return t;
}

void bench_train_once(void *state)
{
    train *t = state;
    isovae_error err = {0};
    t->plan.steps += BENCH_TRAIN_STEPS;
    t->plan.line_every = t->plan.steps;
    bench_must(iv_trainer_run(t->trainer, &err), &err);
}

void bench_train_stop(void *state)
{
    train *t = state;
    iv_trainer_free(t->trainer);
    iv_model_free(t->model);
    iv_fit_plan_free(&t->plan);
    iv_free(t);
}
