/* The networks of the benchmark, with weights and data that every contender shares. Weights are the
 * library's ordinary start: the speed does not depend on them but for how many ReLU units are on
 * (about half of them here). */
#include "bench.h"

#include "base/memory.h"
#include "base/random.h"
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void make_model(bench_net *net, const char *arch, const iv_model_plan *plan,
                       const char *loss, double beta)
{
    isovae_error err = {0};
    iv_model *model;
    bench_must(iv_model_new(&model, &err), &err);
    bench_must(iv_model_build_plan(model, arch, plan, &err), &err);
    bench_must(iv_metric_parse(loss, &model->metric, &err), &err);
    bench_must(iv_start_weights(model, 1, IV_INIT_DEFAULT, &err), &err);
    model->beta = beta;
    memset(model->active, 1, model->n);
    net->model = model;
}

/* Noise and latents, all keyed: the same in every process. */
static void make_draws(bench_net *net)
{
    isovae_error err = {0};
    size_t n = net->model->n;
    float *row;
    bench_must(IV_NEW(net->eps, net->batch * n, "noise", &err), &err);
    bench_must(IV_NEW(net->z, net->z_rows * n, "latents", &err), &err);
    bench_must(IV_NEW(row, n, "latents", &err), &err);
    iv_key key = {.seed = 2, .purpose = IV_PURPOSE_NOISE};
    for (size_t r = 0; r < net->batch; r++) {
        key.row = r;
        iv_normals_f32(&key, n, net->eps + r * n);
    }
    key.purpose = IV_PURPOSE_ANALYSIS;
    for (size_t r = 0; r < net->z_rows; r++) {
        key.row = r;
        iv_normals_f32(&key, n, row);
        for (size_t j = 0; j < n; j++) net->z[r * n + j] = (double)row[j];
    }
    iv_free(row);
}

static void make_data(bench_net *net, const double *values)
{
    isovae_error err = {0};
    size_t d = net->model->d;
    bench_must(iv_dataset_from_rows(values, net->rows, d, NULL, &net->data, &err), &err);
    bench_must(IV_NEW(net->x, net->rows * d, "data", &err), &err);
    for (size_t i = 0; i < net->rows * d; i++) net->x[i] = (float)values[i];
    make_draws(net);
}

static bench_net vector_net(const char *name, size_t batch)
{
    return (bench_net){.name = name,
                       .batch = batch,
                       .rate = 1e-3,
                       .rows = BENCH_ROWS,
                       .z_rows = BENCH_JACOBIAN_ROWS,
                       .check_rows = BENCH_JACOBIAN_ROWS};
}

static void make_toy(bench_net *net)
{
    isovae_error err = {0};
    iv_data_options options;
    iv_dataset *toy;
    double *values;
    *net = vector_net("toy", 100);
    iv_model_plan plan = {.d = 16, .n = 3, .act = IV_ACT_SILU, .dtype = IV_F32};
    make_model(net, "mlp:128,128", &plan, "sse", 0.1);
    iv_data_options_init(&options);
    bench_must(iv_dataset_open("toy:norm,n=10000", &options, &toy, &err), &err);
    bench_must(IV_NEW(values, BENCH_ROWS * toy->cols, "data", &err), &err);
    for (size_t i = 0; i < BENCH_ROWS * toy->cols; i++) values[i] = (double)toy->values[i];
    make_data(net, values);
    iv_free(values);
    iv_dataset_free(toy);
}

/* Four in five pixels are 0, as in pictures of digits; the others are spread over (0, 1). */
static void make_mnist(bench_net *net)
{
    isovae_error err = {0};
    double *values;
    size_t d = 784;
    *net = vector_net("mnist", 128);
    iv_model_plan plan = {.d = d, .n = 20, .act = IV_ACT_RELU, .dtype = IV_F32};
    make_model(net, "mlp:400", &plan, "bce", 1.0);
    bench_must(IV_NEW(values, BENCH_ROWS * d, "data", &err), &err);
    iv_key key = {.seed = 3, .purpose = IV_PURPOSE_TOY};
    for (size_t r = 0; r < BENCH_ROWS; r++) {
        double *row = values + r * d;
        key.row = r;
        iv_uniforms_f64(&key, d, row);
        for (size_t i = 0; i < d; i++) row[i] = row[i] < 0.8 ? 0 : (double)(float)(5 * row[i] - 4);
    }
    make_data(net, values);
    iv_free(values);
}

/* Pictures of 64 x 64 x 3 in [0, 1]: a slanted wave in each channel. */
static void make_pictures(bench_net *net, const char *name, size_t n, double beta)
{
    enum { SIDE = 64, CHANNELS = 3, D = SIDE * SIDE * CHANNELS };
    isovae_error err = {0};
    *net = (bench_net){.name = name,
                       .batch = 64,
                       .rate = 1e-4,
                       .rows = BENCH_PICTURES,
                       .z_rows = BENCH_PICTURE_JACOBIANS,
                       .check_rows = BENCH_PICTURE_CHECKS};
    iv_model_plan plan = {.d = D, .n = n, .dtype = IV_F32, .image = {SIDE, SIDE, CHANNELS}};
    make_model(net, name, &plan, "sse", beta);
    bench_must(IV_NEW(net->x, net->rows * D, "data", &err), &err);
    iv_key key = {.seed = 4, .purpose = IV_PURPOSE_TOY};
    for (size_t r = 0; r < net->rows; r++) {
        double wave[3 * CHANNELS]; /* turns across, down and at the corner */
        key.row = r;
        iv_uniforms_f64(&key, 3 * CHANNELS, wave);
        for (size_t i = 0; i < D; i++) {
            const double *w = wave + i % CHANNELS * 3;
            double across = (double)(i / CHANNELS % SIDE) / SIDE,
                   down = (double)(i / CHANNELS / SIDE) / SIDE;
            double turns = 3 * w[0] * across + 3 * w[1] * down + w[2];
            net->x[r * D + i] = (float)(0.5 + 0.5 * sin(6.283185307179586 * turns));
        }
    }
    make_draws(net);
}

const bench_net *bench_net_of(bench *b, const char *work)
{
    if (strncmp(work, "mnist", 5) == 0) return &b->mnist;
    if (strncmp(work, "conv64", 6) == 0) {
        if (b->conv64.model == NULL) make_pictures(&b->conv64, "conv64", 256, 0.12288);
        return &b->conv64;
    }
    if (strncmp(work, "conv-small", 10) == 0) {
        if (b->conv_small.model == NULL) make_pictures(&b->conv_small, "conv-small", 64, 0.12288);
        return &b->conv_small;
    }
    return &b->toy; /* "score" is the toy's */
}

void bench_make_nets(bench *b)
{
    make_toy(&b->toy);
    make_mnist(&b->mnist);
}

static void free_net(bench_net *net)
{
    iv_model_free(net->model);
    iv_dataset_free(net->data);
    iv_free(net->x);
    iv_free(net->eps);
    iv_free(net->z);
}

void bench_free_nets(bench *b)
{
    free_net(&b->toy);
    free_net(&b->mnist);
    free_net(&b->conv64);
    free_net(&b->conv_small);
}

/* ---- for the other contenders ---- */

typedef struct writer {
    FILE *file;
    json_t *list;
    size_t elements;
} writer;

static void put(writer *w, const char *name, const float *values, size_t rows, size_t cols)
{
    isovae_error err = {.message = "cannot write the shared numbers"};
    if (fwrite(values, sizeof *values, rows * cols, w->file) != rows * cols) bench_die(&err);
    json_array_append_new(w->list, json_pack("{s:s, s:I, s:I, s:I}", "name", name, "offset",
                                             (json_int_t)w->elements, "rows", (json_int_t)rows,
                                             "cols", (json_int_t)cols));
    w->elements += rows * cols;
}

/* Weights are (out, in), those of convolutions with the rest of their axes behind; what has one
 * axis is one row. */
static void put_graph(writer *w, const iv_model *model, const iv_graph *graph)
{
    for (size_t i = 0; i < graph->n_params; i++) {
        const iv_param *p = &graph->params[i];
        size_t rows = p->shape.rank >= 2 ? p->shape.dim[0] : 1;
        put(w, p->name, (const float *)model->params + p->offset, rows, p->size / rows);
    }
}

static void export_net(const bench_net *net, const char *folder)
{
    isovae_error err = {0};
    char path[4200];
    size_t n = net->model->n, d = net->model->d;
    float *z;
    (void)snprintf(path, sizeof path, "%s/%s.f32", folder, net->name);
    writer w = {.file = fopen(path, "wb"), .list = json_array()};
    if (w.file == NULL) {
        (void)snprintf(err.message, sizeof err.message, "cannot write %.900s", path);
        bench_die(&err);
    }
    bench_must(IV_NEW(z, net->z_rows * n, "latents", &err), &err);
    for (size_t i = 0; i < net->z_rows * n; i++) z[i] = (float)net->z[i];
    put_graph(&w, net->model, net->model->encoder);
    put_graph(&w, net->model, net->model->decoder);
    put(&w, "x", net->x, net->rows, d);
    put(&w, "eps", net->eps, net->batch, n);
    put(&w, "z", z, net->z_rows, n);
    iv_free(z);
    fclose(w.file);
    json_t *all = json_pack("{s:s, s:f, s:I, s:o}", "name", net->name, "beta", net->model->beta,
                            "batch", (json_int_t)net->batch, "arrays", w.list);
    (void)snprintf(path, sizeof path, "%s/%s.json", folder, net->name);
    json_dump_file(all, path, JSON_INDENT(1));
    json_decref(all);
}

static void export_fit(const char *folder)
{
    isovae_error err = {0};
    char path[4200];
    iv_data_options options;
    iv_dataset *toy;
    iv_data_options_init(&options);
    bench_must(iv_dataset_open("toy:norm,n=50000", &options, &toy, &err), &err);
    (void)snprintf(path, sizeof path, "%s/fit.f32", folder);
    writer w = {.file = fopen(path, "wb"), .list = json_array()};
    if (w.file == NULL) {
        (void)snprintf(err.message, sizeof err.message, "cannot write %.900s", path);
        bench_die(&err);
    }
    put(&w, "x", toy->values, toy->rows, toy->cols);
    fclose(w.file);
    iv_dataset_free(toy);
    json_t *recipe = bench_fit_recipe("toy:norm,n=50000");
    json_object_set_new(recipe, "arrays", w.list);
    (void)snprintf(path, sizeof path, "%s/fit.json", folder);
    json_dump_file(recipe, path, JSON_INDENT(1));
    json_decref(recipe);
}

void bench_export(bench *b, const char *folder)
{
    export_net(&b->toy, folder);
    export_net(&b->mnist, folder);
    export_net(bench_net_of(b, "conv64"), folder);
    export_net(bench_net_of(b, "conv-small"), folder);
    export_fit(folder);
}
