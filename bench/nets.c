/* The two networks of the benchmark, with weights and data that every contender shares. Weights are
 * the library's ordinary start: the speed does not depend on them but for how many ReLU units are
 * on (about half of them here). */
#include "bench.h"

#include "base/memory.h"
#include "base/random.h"
#include "train/trainer.h"

#include <stdio.h>
#include <string.h>

static void make_model(bench_net *net, const char *arch, size_t d, size_t n, iv_act act,
                       const char *loss, double beta)
{
    isovae_error err = {0};
    iv_model *model;
    bench_must(iv_model_new(&model, &err), &err);
    bench_must(iv_model_build(model, arch, d, n, act, IV_F32, &err), &err);
    bench_must(iv_metric_parse(loss, &model->metric, &err), &err);
    bench_must(iv_start_weights(model, 1, IV_INIT_DEFAULT, &err), &err);
    model->beta = beta;
    memset(model->active, 1, n);
    net->model = model;
}

/* Rows of data, noise and latents, all keyed: the same in every process. */
static void make_data(bench_net *net, const double *values)
{
    isovae_error err = {0};
    size_t d = net->model->d, n = net->model->n;
    bench_must(iv_dataset_from_rows(values, BENCH_ROWS, d, NULL, &net->data, &err), &err);
    bench_must(IV_NEW(net->x, BENCH_ROWS * d, "data", &err), &err);
    bench_must(IV_NEW(net->eps, net->batch * n, "noise", &err), &err);
    bench_must(IV_NEW(net->z, BENCH_JACOBIAN_ROWS * n, "latents", &err), &err);
    for (size_t i = 0; i < BENCH_ROWS * d; i++) net->x[i] = (float)values[i];
    iv_key key = {.seed = 2, .purpose = IV_PURPOSE_NOISE};
    for (size_t r = 0; r < net->batch; r++) {
        key.row = r;
        iv_normals_f32(&key, n, net->eps + r * n);
    }
    key.purpose = IV_PURPOSE_ANALYSIS;
    for (size_t r = 0; r < BENCH_JACOBIAN_ROWS; r++) {
        float row[64];
        key.row = r;
        iv_normals_f32(&key, n, row);
        for (size_t j = 0; j < n; j++) net->z[r * n + j] = (double)row[j];
    }
}

static void make_toy(bench_net *net)
{
    isovae_error err = {0};
    iv_data_options options;
    iv_dataset *toy;
    double *values;
    *net = (bench_net){.name = "toy", .batch = 100};
    make_model(net, "mlp:128,128", 16, 3, IV_ACT_SILU, "sse", 0.1);
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
    *net = (bench_net){.name = "mnist", .batch = 128};
    make_model(net, "mlp:400", d, 20, IV_ACT_RELU, "bce", 1.0);
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

/* Weights are (out, in), biases one row. */
static void put_graph(writer *w, const iv_model *model, const iv_graph *graph)
{
    for (size_t i = 0; i < graph->n_params; i++) {
        const iv_param *p = &graph->params[i];
        size_t rows = p->shape.rank == 2 ? p->shape.dim[0] : 1;
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
    bench_must(IV_NEW(z, BENCH_JACOBIAN_ROWS * n, "latents", &err), &err);
    for (size_t i = 0; i < BENCH_JACOBIAN_ROWS * n; i++) z[i] = (float)net->z[i];
    put_graph(&w, net->model, net->model->encoder);
    put_graph(&w, net->model, net->model->decoder);
    put(&w, "x", net->x, BENCH_ROWS, d);
    put(&w, "eps", net->eps, net->batch, n);
    put(&w, "z", z, BENCH_JACOBIAN_ROWS, n);
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

void bench_export(const bench *b, const char *folder)
{
    export_net(&b->toy, folder);
    export_net(&b->mnist, folder);
    export_fit(folder);
}
