/* Networks whose batch norm needs the whole batch: the objective by segments, the running
 * statistics in the optimiser, in checkpoints and in the model file. */
#include "support_fit.h"
#include "support_model.h"

#include "base/random.h"
#include "graph/node.h"
#include "model/eval.h"
#include "model/objective.h"
#include "train/trainer.h"

#include <math.h>
#include <unistd.h>

enum { D = 36, N = 3 };

static size_t add(iv_graph *graph, const char *kind, const char *name, size_t input,
                  const char *output, size_t units, const iv_attributes *attributes)
{
    isovae_error err;
    size_t value;
    iv_node_spec spec = {.kind = kind,
                         .name = name,
                         .n_inputs = 1,
                         .inputs = {input},
                         .n_outputs = 1,
                         .outputs = {output},
                         .units = units};
    if (attributes != NULL) spec.attributes = *attributes;
    ref_ok(iv_graph_node(graph, &spec, &value, &err), &err);
    return value;
}

/* x -> dense -> 4x3x3 -> batch norm -> leaky relu -> gdn -> dense -> batch norm -> silu -> heads;
 * z -> dense -> 4x3x3 -> gdn_inverse -> batch norm -> dense. */
static iv_model *network(iv_dtype dtype)
{
    isovae_error err;
    iv_model *model;
    iv_graph *e, *d;
    size_t v, mu, logvar;
    const iv_attributes image = {.shape = {3, {4, 3, 3}}};
    ref_ok(iv_graph_new(&e, &err), &err);
    ref_ok(iv_graph_input(e, "x", &(iv_shape){1, {D}}, &v, &err), &err);
    v = add(e, "dense", "enc.first", v, "e0", D, NULL);
    v = add(e, "reshape", "enc.image", v, "e1", 0, &image);
    v = add(e, "batch_norm", "enc.bn1", v, "e2", 0, NULL);
    v = add(e, "leaky_relu", "enc.act1", v, "e3", 0, NULL);
    v = add(e, "gdn", "enc.gdn", v, "e4", 0, NULL);
    v = add(e, "flatten", "enc.flat", v, "e5", 0, NULL);
    v = add(e, "dense", "enc.second", v, "e6", 10, NULL);
    v = add(e, "batch_norm", "enc.bn2", v, "e7", 0, NULL);
    v = add(e, "silu", "enc.act2", v, "e8", 0, NULL);
    mu = add(e, "dense", "enc.mu", v, "mu", N, NULL);
    logvar = add(e, "dense", "enc.logvar", v, "logvar", N, NULL);
    ref_ok(iv_graph_output(e, mu, &err), &err);
    ref_ok(iv_graph_output(e, logvar, &err), &err);

    ref_ok(iv_graph_new(&d, &err), &err);
    ref_ok(iv_graph_input(d, "z", &(iv_shape){1, {N}}, &v, &err), &err);
    v = add(d, "dense", "dec.first", v, "d0", D, NULL);
    v = add(d, "reshape", "dec.image", v, "d1", 0, &image);
    v = add(d, "gdn_inverse", "dec.gdn", v, "d2", 0, NULL);
    v = add(d, "batch_norm", "dec.bn", v, "d3", 0, NULL);
    v = add(d, "flatten", "dec.flat", v, "d4", 0, NULL);
    v = add(d, "dense", "dec.out", v, "out", D, NULL);
    ref_ok(iv_graph_output(d, v, &err), &err);

    ref_ok(iv_model_new(&model, &err), &err);
    ref_ok(iv_model_set_network(model, e, d, dtype, &err), &err);
    ref_ok(iv_strdup(&model->arch, "test", &err), &err);
    ref_ok(iv_start_weights(model, 5, IV_INIT_DEFAULT, &err), &err);
    ref_identity_scaling(model);
    ref_ok(iv_metric_parse("sse", &model->metric, &err), &err);
    model->beta = 0.1;
    return model;
}

static const iv_param *param_of(const iv_model *model, const char *name)
{
    const iv_graph *graphs[] = {model->encoder, model->decoder};
    for (size_t g = 0; g < 2; g++) {
        size_t i = iv_graph_find_param(graphs[g], name);
        if (i != SIZE_MAX) return &graphs[g]->params[i];
    }
    fail_msg("no parameter %s", name);
    return NULL;
}

static double number_at(const iv_model *model, size_t i)
{
    return model->dtype == IV_F64 ? ((const double *)model->params)[i]
                                  : (double)((const float *)model->params)[i];
}

/* A batch in memory, its objective and parameters. */
typedef struct bench {
    const iv_model *model;
    const iv_kernels *k;
    iv_objective *objective;
    void *params, *grads;
    size_t rows, draws;
    double *x, *eps;
    iv_objective_call call;
} bench;

static void fill(void *user, size_t first, size_t count, void *x, void *eps, size_t stride)
{
    const bench *b = user;
    b->k->upload(x, b->x + first * D, count * D);
    for (size_t draw = 0; draw < b->draws; draw++)
        b->k->upload(iv_at(b->k, eps, draw * stride), b->eps + (draw * b->rows + first) * N,
                     count * N);
}

static void open_bench(bench *b, const iv_model *model, iv_precision precision,
                       iv_objective_kind kind, size_t rows, size_t draws, bool training,
                       iv_pool *pool)
{
    isovae_error err;
    *b = (bench){.model = model,
                 .k = iv_kernels_get(precision, NULL),
                 .rows = rows,
                 .draws = draws,
                 .x = calloc(rows * D, sizeof(double)),
                 .eps = calloc(draws * rows * N, sizeof(double))};
    assert_true(b->x != NULL && b->eps != NULL);
    iv_key key = {.seed = 8, .purpose = IV_PURPOSE_TOY};
    iv_normals_f64(&key, rows * D, b->x);
    key.purpose = IV_PURPOSE_NOISE;
    iv_normals_f64(&key, draws * rows * N, b->eps);
    iv_objective_config config = {.kind = kind,
                                  .rows = rows,
                                  .draws = draws,
                                  .gradient = true,
                                  .training = training,
                                  .pool = pool};
    ref_ok(iv_objective_new(model, b->k, &config, &b->objective, &err), &err);
    ref_ok(b->k->alloc(&b->params, model->param_elements, "parameters", &err), &err);
    ref_ok(b->k->alloc(&b->grads, model->param_elements, "gradients", &err), &err);
    for (size_t i = 0; i < model->param_elements; i++) {
        double value = number_at(model, i);
        b->k->upload(iv_at(b->k, b->params, i), &value, 1);
    }
    b->call = (iv_objective_call){
        .rows = rows, .distortion_weight = 1.3, .kl_weight = 0.7, .fill = fill, .user = b};
}

static void close_bench(bench *b)
{
    iv_objective_free(b->objective);
    b->k->release(b->params);
    b->k->release(b->grads);
    free(b->x);
    free(b->eps);
}

static double *fetch(const bench *b, const void *vector)
{
    double *out = calloc(b->model->param_elements, sizeof *out);
    assert_non_null(out);
    b->k->download(out, vector, b->model->param_elements);
    return out;
}

/* Value, gradient and running statistics have the same bytes for any number of threads. */
static void threads_do_not_matter(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *model = network(IV_F32);
    for (int kind = 0; kind < 2; kind++) {
        for (size_t draws = 1; draws <= 2; draws++) {
            double *first[2] = {NULL, NULL}, loss = 0;
            static const size_t threads[] = {1, 2, 3, 4};
            for (size_t i = 0; i < 4; i++) {
                iv_pool *pool;
                bench b;
                iv_objective_means means;
                ref_ok(iv_pool_new(&pool, threads[i], &err), &err);
                open_bench(&b, model, IV_PRECISION_F32, (iv_objective_kind)kind, 37, draws, true,
                           pool);
                iv_objective_gradient(b.objective, b.params, b.grads, &b.call, &means);
                iv_objective_update_buffers(b.objective, b.params);
                double *got[2] = {fetch(&b, b.grads), fetch(&b, b.params)};
                for (size_t v = 0; v < 2; v++) {
                    if (i == 0) {
                        first[v] = got[v];
                        continue;
                    }
                    assert_memory_equal(first[v], got[v], model->param_elements * sizeof(double));
                    free(got[v]);
                }
                if (i == 0) loss = means.loss;
                assert_memory_equal(&loss, &means.loss, sizeof loss);
                close_bench(&b);
                iv_pool_free(pool);
            }
            free(first[0]);
            free(first[1]);
        }
    }
    iv_model_free(model);
}

/* dL/dp along random directions against central differences, through the statistics (training) and
 * with the running ones. */
static void check_differences(const iv_model *model, iv_objective_kind kind, size_t draws,
                              bool training)
{
    bench b;
    iv_objective_means means;
    open_bench(&b, model, IV_PRECISION_F64_REFERENCE, kind, 11, draws, training, NULL);
    iv_objective_gradient(b.objective, b.params, b.grads, &b.call, &means);
    double *gradient = fetch(&b, b.grads), *params = fetch(&b, b.params);
    double *direction = calloc(model->param_elements, sizeof(double)),
           *moved = calloc(model->param_elements, sizeof(double));
    assert_true(direction != NULL && moved != NULL);
    for (size_t i = model->trained_elements; i < model->param_elements; i++)
        assert_true(gradient[i] == 0);
    iv_key key = {.seed = 21, .purpose = IV_PURPOSE_SAMPLE};
    const double step = 1e-6;
    for (key.row = 0; key.row < 3; key.row++) {
        double slope = 0, size = 0, loss[2];
        iv_normals_f64(&key, model->trained_elements, direction); /* buffers stay */
        for (size_t i = 0; i < model->param_elements; i++) {
            slope += gradient[i] * direction[i];
            size += fabs(gradient[i] * direction[i]);
        }
        for (size_t side = 0; side < 2; side++) {
            for (size_t i = 0; i < model->param_elements; i++)
                moved[i] = params[i] + (side == 0 ? step : -step) * direction[i];
            b.k->upload(b.params, moved, model->param_elements);
            iv_objective_value(b.objective, b.params, false, &b.call, &means);
            loss[side] = means.loss;
        }
        double difference = (loss[0] - loss[1]) / (2 * step);
        if (!(fabs(difference - slope) <= 1e-8 * size))
            fail_msg("objective %d, %zu draws, training %d: slope %.12g, difference %.12g",
                     (int)kind, draws, training, slope, difference);
    }
    free(gradient);
    free(params);
    free(direction);
    free(moved);
    close_bench(&b);
}

static void gradient_is_the_difference(void **state)
{
    (void)state;
    iv_model *model = network(IV_F64);
    for (int kind = 0; kind < 2; kind++) {
        for (size_t draws = 1; draws <= 2; draws++) {
            check_differences(model, (iv_objective_kind)kind, draws, true);
            check_differences(model, (iv_objective_kind)kind, draws, false);
        }
    }
    iv_model_free(model);
}

/* y (rows x out) = x W^T + b, by hand. */
static double *dense_of(const iv_model *model, const char *name, const double *x, size_t rows,
                        size_t in, size_t out)
{
    char weight[64], bias[64];
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    size_t w = param_of(model, weight)->offset, c = param_of(model, bias)->offset;
    double *y = calloc(rows * out, sizeof *y);
    assert_non_null(y);
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < out; j++) {
            y[r * out + j] = number_at(model, c + j);
            for (size_t i = 0; i < in; i++)
                y[r * out + j] += number_at(model, w + j * in + i) * x[r * in + i];
        }
    }
    return y;
}

/* Running mean and variance after one step, from values as rows x 4 channels x 9 pixels. */
static void check_running(const char *name, const iv_model *model, const double *params,
                          const double *values, size_t rows)
{
    enum { CHANNELS = 4, PIXELS = 9 };
    char mean_name[64], var_name[64];
    snprintf(mean_name, sizeof mean_name, "%s.mean", name);
    snprintf(var_name, sizeof var_name, "%s.var", name);
    size_t at_mean = param_of(model, mean_name)->offset, at_var = param_of(model, var_name)->offset;
    for (size_t c = 0; c < CHANNELS; c++) {
        double sum = 0, square = 0, count = (double)(rows * PIXELS);
        for (size_t i = 0; i < rows * PIXELS; i++)
            sum += values[(i / PIXELS * CHANNELS + c) * PIXELS + i % PIXELS];
        double mean = sum / count;
        for (size_t i = 0; i < rows * PIXELS; i++)
            square += pow(values[(i / PIXELS * CHANNELS + c) * PIXELS + i % PIXELS] - mean, 2);
        double want_mean = 0.9 * number_at(model, at_mean + c) + 0.1 * mean;
        double want_var = 0.9 * number_at(model, at_var + c) + 0.1 * square / (count - 1);
        if (!(fabs(params[at_mean + c] - want_mean) <= 1e-14) ||
            !(fabs(params[at_var + c] - want_var) <= 1e-13 * want_var))
            fail_msg("%s, channel %zu: %.17g, %.17g; expected %.17g, %.17g", name, c,
                     params[at_mean + c], params[at_var + c], want_mean, want_var);
    }
}

/* The encoder's are those of x W^T + b; the decoder's (at z, with an inverse GDN between) of
 * Dec(mu) and Dec(z) together in the decomposed objective. */
static void running_statistics_are_those_of_the_batch(void **state)
{
    (void)state;
    enum { ROWS = 21 };
    isovae_error err;
    iv_model *model = network(IV_F64);
    double *raw = model->params; /* something other than 0 and 1 to start from */
    raw[param_of(model, "enc.bn1.mean")->offset] = 0.3;
    raw[param_of(model, "dec.bn.var")->offset + 1] = 2.5;
    for (int kind = 0; kind < 2; kind++) {
        bench b;
        iv_objective_means means;
        open_bench(&b, model, IV_PRECISION_F64_REFERENCE, (iv_objective_kind)kind, ROWS, 1, true,
                   NULL);
        iv_objective_gradient(b.objective, b.params, b.grads, &b.call, &means);
        iv_objective_update_buffers(b.objective, b.params);
        double *params = fetch(&b, b.params);
        double *e = dense_of(model, "enc.first", b.x, ROWS, D, D);
        check_running("enc.bn1", model, params, e, ROWS);
        free(e);

        /* mu and logvar by the encoder's own pass, z from them */
        iv_exec *exec;
        iv_exec_plan plan = {.rows = ROWS, .training = true};
        ref_ok(iv_exec_new(model->encoder, b.k, &plan, &exec, &err), &err);
        for (size_t i = 0; i < model->param_elements; i++) /* as before the step */
            b.k->upload(iv_at(b.k, b.params, i), &raw[i], 1);
        iv_exec_prepare_all(exec, b.params);
        b.k->upload(iv_exec_value(exec, model->encoder->inputs[0]), b.x, ROWS * D);
        iv_exec_forward(exec, b.params, 0, ROWS, 0);
        double z[2 * ROWS * N], logvar[ROWS * N];
        b.k->download(z, iv_exec_value(exec, model->mu), ROWS * N);
        b.k->download(logvar, iv_exec_value(exec, model->logvar), ROWS * N);
        iv_exec_free(exec);
        size_t blocks = kind == IV_OBJECTIVE_DECOMPOSED ? 2 : 1;
        for (size_t i = 0; i < ROWS * N; i++)
            z[(blocks - 1) * ROWS * N + i] = z[i] + exp(logvar[i] / 2) * b.eps[i];
        double *d = dense_of(model, "dec.first", z, blocks * ROWS, N, D);
        size_t beta = param_of(model, "dec.gdn.beta")->offset,
               gamma = param_of(model, "dec.gdn.gamma")->offset;
        for (size_t i = 0; i < blocks * ROWS * 9; i++) {
            double *pixel = d + i / 9 * D + i % 9, squares[4], s[4];
            for (size_t c = 0; c < 4; c++) squares[c] = pixel[9 * c] * pixel[9 * c];
            for (size_t c = 0; c < 4; c++) {
                s[c] = pow(raw[beta + c], 2) + IV_PARAM_FLOOR;
                for (size_t j = 0; j < 4; j++)
                    s[c] += (pow(raw[gamma + 4 * c + j], 2) + IV_PARAM_FLOOR) * squares[j];
            }
            for (size_t c = 0; c < 4; c++) pixel[9 * c] *= sqrt(s[c]);
        }
        check_running("dec.bn", model, params, d, blocks * ROWS);
        free(d);
        free(params);
        close_bench(&b);
    }
    iv_model_free(model);
}

/* What a file keeps: buffers, raw values, the parametrization by name. */
static void file_keeps_buffers(void **state)
{
    (void)state;
    iv_model *model = network(IV_F32), *again;
    float *raw = model->params;
    raw[param_of(model, "enc.bn2.var")->offset + 3] = 0.25F;
    raw[param_of(model, "dec.bn.mean")->offset] = -7;
    file_bytes bytes = bytes_of(model);
    again = model_of(bytes);
    assert_int_equal(again->trained_elements, model->trained_elements);
    assert_int_equal(again->param_elements, model->param_elements);
    assert_memory_equal(again->params, model->params, model->param_elements * sizeof(float));
    assert_true(param_of(again, "dec.bn.mean")->buffer);
    assert_false(param_of(again, "dec.bn.weight")->buffer);
    assert_true(param_of(again, "dec.bn.mean")->offset >= model->trained_elements);
    assert_int_equal(param_of(again, "dec.gdn.gamma")->parametrization, IV_PARAM_SQUARE);
    file_bytes second = bytes_of(again);
    same_bytes(bytes, second);
    static const char want[] = "\\\"parametrization\\\":{\\\"beta\\\":\\\"square\\\"";
    size_t at = 0;
    while (at + sizeof want < bytes.length && memcmp(bytes.data + at, want, strlen(want)) != 0)
        at++;
    assert_true(at + sizeof want < bytes.length);
    iv_model_free(again);
    iv_free(second.data);
    iv_free(bytes.data);

    raw[param_of(model, "enc.bn2.var")->offset + 3] = -0.25F;
    bytes = bytes_of(model);
    isovae_error err;
    assert_int_equal(iv_model_read(bytes.data, bytes.length, "forged", &again, NULL, &err),
                     ISOVAE_ERR_FORMAT);
    assert_non_null(strstr(err.message, "negative"));
    iv_free(bytes.data);
    iv_model_free(model);
}

/* Options under which the trainer below runs, and the plan they make. */
static iv_fit_options options_of(size_t steps, double decay)
{
    iv_fit_options o;
    iv_fit_options_init(&o);
    o.latent_dim = N;
    o.beta = 0.1;
    o.steps = steps;
    o.batch_size = 50;
    o.rate = 3e-3;
    o.weight_decay = decay;
    o.validation = 0.2;
    return o;
}

static iv_dataset *waves(size_t rows)
{
    isovae_error err;
    double *x = calloc(rows * D, sizeof *x);
    assert_non_null(x);
    iv_key key = {.seed = 31, .purpose = IV_PURPOSE_TOY};
    for (size_t r = 0; r < rows; r++) {
        double s[2];
        key.row = r;
        iv_normals_f64(&key, 2, s);
        for (size_t i = 0; i < D; i++)
            x[r * D + i] = s[0] * sin(0.3 * (double)i) + 0.5 * s[1] * cos(0.7 * (double)i);
    }
    iv_dataset *data;
    ref_ok(iv_dataset_from_rows(x, rows, D, NULL, &data, &err), &err);
    free(x);
    return data;
}

typedef struct session {
    iv_fit_options options;
    iv_fit_plan plan;
    iv_model *model;
    iv_trainer *trainer;
} session;

static void open_session(session *s, const iv_dataset *data, const iv_fit_options *options)
{
    isovae_error err;
    iv_fit_result notes = {0};
    s->options = *options;
    ref_ok(iv_fit_plan_make(data, &s->options, &s->plan, &notes, &err), &err);
    s->model = network(IV_F32);
    iv_scaling_free(&s->model->scaling);
    ref_ok(iv_scaling_copy(&s->plan.scaling, &s->model->scaling, &err), &err);
    ref_ok(iv_trainer_new(data, &s->options, &s->plan, s->model, &s->trainer, &err), &err);
    iv_trainer_start(s->trainer, 0, s->model->params);
}

static void close_session(session *s)
{
    iv_trainer_free(s->trainer);
    iv_fit_plan_free(&s->plan);
    iv_model_free(s->model);
}

static float *trained(const iv_dataset *data, const iv_fit_options *options, size_t *size)
{
    isovae_error err;
    session s;
    open_session(&s, data, options);
    ref_ok(iv_trainer_run(s.trainer, &err), &err);
    iv_trainer_finish(s.trainer);
    *size = s.model->param_elements;
    float *params = calloc(*size, sizeof *params);
    assert_non_null(params);
    memcpy(params, s.model->params, *size * sizeof *params);
    close_session(&s);
    return params;
}

/* Same bytes from the whole trainer at 1, 2 and 4 threads; the loss falls; and validation, which
 * uses the running statistics, comes out near the training loss. */
static void training_is_the_same_for_any_threads(void **state)
{
    (void)state;
    isovae_error err;
    iv_dataset *data = waves(600);
    for (int kind = 0; kind < 2; kind++) {
        float *first = NULL;
        static const size_t threads[] = {1, 2, 4};
        for (size_t i = 0; i < 3; i++) {
            iv_fit_options options = options_of(short_run() ? 20 : 150, 0);
            options.objective = (iv_objective_kind)kind;
            ref_ok(iv_pool_new(&options.pool, threads[i], &err), &err);
            size_t size;
            float *got = trained(data, &options, &size);
            if (first == NULL) {
                first = got;
            } else {
                assert_memory_equal(first, got, size * sizeof *got);
                free(got);
            }
            iv_pool_free(options.pool);
        }
        free(first);
    }
    session s;
    iv_fit_options options = options_of(600, 0);
    if (!short_run()) {
        open_session(&s, data, &options);
        ref_ok(iv_trainer_run(s.trainer, &err), &err);
        const iv_history *last = &s.model->history[s.model->n_history - 1];
        assert_true(last->validation < 0.5 * s.plan.mean_variance * (double)s.plan.varying);
        if (!(last->validation < 1.5 * last->loss + 0.2))
            fail_msg("training loss %g, validation %g", last->loss, last->validation);
        close_session(&s);
    }
    iv_dataset_free(data);
}

/* Weight decay shrinks weights, not the running statistics: after one step those are the same. */
static void optimiser_leaves_buffers_alone(void **state)
{
    (void)state;
    iv_dataset *data = waves(300);
    size_t size;
    iv_fit_options plain = options_of(1, 0), heavy = options_of(1, 5);
    float *a = trained(data, &plain, &size), *b = trained(data, &heavy, &size);
    iv_model *model = network(IV_F32);
    size_t from = model->trained_elements;
    assert_true(from < size);
    assert_memory_equal(a + from, b + from, (size - from) * sizeof *a);
    assert_memory_not_equal(a, b, from * sizeof *a);
    assert_memory_not_equal(a + from, (float *)model->params + from, (size - from) * sizeof *a);
    free(a);
    free(b);
    iv_model_free(model);
    iv_dataset_free(data);
}

/* Gone on from a checkpoint, a run ends in the same bytes. */
static void resumed_runs_end_in_the_same_bytes(void **state)
{
    (void)state;
    isovae_error err;
    iv_dataset *data = waves(400);
    char path[] = "/tmp/isovae-test-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    iv_fit_options options = options_of(80, 0);
    size_t size;
    float *whole = trained(data, &options, &size);

    options.checkpoint = path;
    options.checkpoint_every = 33;
    session s;
    open_session(&s, data, &options); /* writes at 33 and at 66 */
    ref_ok(iv_trainer_run(s.trainer, &err), &err);
    close_session(&s);
    open_session(&s, data, &options);
    bool found;
    ref_ok(iv_checkpoint_read(s.trainer, path, &found, &err), &err);
    assert_true(found && s.trainer->step == 66);
    ref_ok(iv_trainer_run(s.trainer, &err), &err);
    iv_trainer_finish(s.trainer);
    assert_memory_equal(whole, s.model->params, size * sizeof *whole);
    close_session(&s);

    unlink(path);
    free(whole);
    iv_dataset_free(data);
}

/* The whole d_conv reference: convolutions and batch norm in inference form. */
static void reference_network(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *model;
    if (!ref_model("models/d_conv", IV_F64, &model)) skip();
    npz data, expected;
    assert_true(npz_open(&data, "models/d_conv/data.npz"));
    assert_true(npz_open(&expected, "models/d_conv/expected.npz"));
    const npz_array *x = npz_get(&data, "x");
    size_t rows = x->shape[0];
    iv_eval *eval;
    iv_eval_plan plan = {.rows = rows};
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    ref_ok(iv_eval_new(model, k, &plan, &eval, &err), &err);
    k->upload(iv_eval_x(eval), x->values, rows * model->d);
    iv_eval_encode(eval, 0, rows, 0);
    double *mu = calloc(rows * 3, sizeof *mu), *out = calloc(rows * 256, sizeof *out);
    assert_true(mu != NULL && out != NULL);
    k->download(mu, iv_eval_mu(eval), rows * 3);
    assert_near("mu", mu, npz_get(&expected, "mu")->values, rows * 3, 1e-12);
    k->upload(iv_eval_z(eval), mu, rows * 3);
    iv_eval_decode(eval, 0, rows, 0);
    k->download(out, iv_eval_out(eval), rows * 256);
    assert_near("xhat", out, npz_get(&expected, "xhat")->values, rows * 256, 1e-12);
    free(mu);
    free(out);
    iv_eval_free(eval);
    npz_close(&data);
    npz_close(&expected);
    iv_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(gradient_is_the_difference),
        cmocka_unit_test(running_statistics_are_those_of_the_batch),
        cmocka_unit_test(file_keeps_buffers),
        cmocka_unit_test(training_is_the_same_for_any_threads),
        cmocka_unit_test(optimiser_leaves_buffers_alone),
        cmocka_unit_test(resumed_runs_end_in_the_same_bytes),
        cmocka_unit_test(reference_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
