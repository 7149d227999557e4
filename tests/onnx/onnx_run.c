/* Runs an ONNX file by isovae's graph, for comparison with other runtimes (tests/onnx/compare.py).
 *
 *   onnx_run [-i NAME]... [-o NAME]... [-m] [-c] [-p f32|f32-reference|f64] MODEL ROWS [IN [OUT]]
 *
 * IN: doubles, input after input, each ROWS x its row; OUT: the same of the outputs. -i and -o cut a
 * part out of the file, -m takes random nodes as their mean. -c checks the tangent pass against
 * differences and the reverse pass against the tangent, in f64, and prints both deviations. */
#include "base/memory.h"
#include "graph/exec.h"
#include "graph/node.h"
#include "onnx/onnx.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fail(const char *message)
{
    fprintf(stderr, "%s\n", message);
    exit(1);
}

#define MUST(call)                                                                                 \
    do {                                                                                           \
        isovae_error must_err = {ISOVAE_OK, ""}, *err = &must_err;                                 \
        if ((call) != ISOVAE_OK) fail(must_err.message);                                           \
    } while (0)

static double *numbers(size_t n)
{
    double *values = calloc(n + 1, sizeof *values);
    if (values == NULL) fail("out of memory");
    return values;
}

static size_t total(const iv_graph *g, const size_t *values, size_t n, size_t rows)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += rows * g->values[values[i]].size;
    return sum;
}

static void *upload(const iv_kernels *k, const double *from, size_t n)
{
    void *memory;
    MUST(k->alloc(&memory, n, "numbers", err));
    k->upload(memory, from, n);
    return memory;
}

typedef struct machine {
    const iv_graph *g;
    const iv_kernels *k;
    iv_exec *exec;
    const void *params;
    size_t rows;
} machine;

static void forward(const machine *m, const double *in, double *out)
{
    for (size_t i = 0; i < m->g->n_inputs; i++) {
        size_t n = m->rows * m->g->values[m->g->inputs[i]].size;
        m->k->upload(iv_exec_value(m->exec, m->g->inputs[i]), in, n);
        in += n;
    }
    iv_exec_forward(m->exec, m->params, 0, m->rows, 0);
    for (size_t i = 0; i < m->g->n_outputs; i++) {
        size_t n = m->rows * m->g->values[m->g->outputs[i]].size;
        m->k->download(out, iv_exec_value(m->exec, m->g->outputs[i]), n);
        out += n;
    }
}

static double next(unsigned *state)
{
    *state = *state * 1664525U + 1013904223U;
    return (double)(*state >> 8) / (double)(1 << 23) - 1;
}

/* <J v, u> by differences, tangents and the reverse pass. */
static void check(const machine *m, const double *in)
{
    const iv_graph *g = m->g;
    size_t n_in = total(g, g->inputs, g->n_inputs, m->rows);
    size_t n_out = total(g, g->outputs, g->n_outputs, m->rows), at = 0;
    double *v = numbers(n_in), *u = numbers(n_out), *x = numbers(n_in), *y[2], *t = numbers(n_out);
    unsigned state = 1;
    const double h = 1e-6;
    for (size_t i = 0; i < n_in; i++) v[i] = next(&state);
    for (size_t i = 0; i < n_out; i++) u[i] = next(&state);
    for (int side = 0; side < 2; side++) {
        y[side] = numbers(n_out);
        for (size_t i = 0; i < n_in; i++) x[i] = in[i] + (side == 0 ? -h : h) * v[i];
        forward(m, x, y[side]);
    }
    forward(m, in, t);
    for (size_t i = 0; i < g->n_inputs; i++) {
        size_t n = m->rows * g->values[g->inputs[i]].size;
        m->k->upload(iv_exec_tangent_value(m->exec, g->inputs[i], 0), v + at, n);
        at += n;
    }
    iv_exec_tangent(m->exec, m->params, 0, m->rows, 1, 0);
    at = 0;
    for (size_t i = 0; i < g->n_outputs; i++) {
        size_t n = m->rows * g->values[g->outputs[i]].size;
        m->k->download(t + at, iv_exec_tangent_value(m->exec, g->outputs[i], 0), n);
        m->k->upload(iv_exec_gradient(m->exec, g->outputs[i]), u + at, n);
        at += n;
    }
    iv_exec_reverse(m->exec, m->params, 0, m->rows, true, 0);
    double worst = 0, scale = 1e-3, by_tangent = 0, by_reverse = 0, sizes = 1e-6;
    for (size_t i = 0; i < n_out; i++) {
        if (fabs(t[i]) > scale) scale = fabs(t[i]);
    }
    for (size_t i = 0; i < n_out; i++) {
        double d = (y[1][i] - y[0][i]) / (2 * h), off = fabs(d - t[i]) / scale;
        if (!(off <= worst)) worst = off;
        by_tangent += t[i] * u[i];
        sizes += fabs(t[i] * u[i]);
    }
    at = 0;
    for (size_t i = 0; i < g->n_inputs; i++) {
        size_t n = m->rows * g->values[g->inputs[i]].size;
        m->k->download(x, iv_exec_gradient(m->exec, g->inputs[i]), n);
        for (size_t k = 0; k < n; k++) by_reverse += x[k] * v[at + k];
        at += n;
    }
    printf("tangent %.3g reverse %.3g\n", worst, fabs(by_tangent - by_reverse) / sizes);
    free(v);
    free(u);
    free(x);
    free(t);
    free(y[0]);
    free(y[1]);
}

int main(int argc, char **argv)
{
    iv_onnx_options options = {.dtype = IV_F64};
    iv_precision precision = IV_PRECISION_F32;
    bool checks = false;
    int option;
    while ((option = getopt(argc, argv, "i:o:mcp:")) != -1) {
        if (option == 'i' && options.n_inputs < IV_MAX_PORTS) {
            options.inputs[options.n_inputs++].name = optarg;
        } else if (option == 'o' && options.n_outputs < IV_MAX_PORTS) {
            options.outputs[options.n_outputs++] = optarg;
        } else if (option == 'm') {
            options.random_as_mean = true;
        } else if (option == 'c') {
            checks = true;
        } else if (option == 'p') {
            precision = strcmp(optarg, "f64") == 0   ? IV_PRECISION_F64_REFERENCE
                        : strcmp(optarg, "f32") == 0 ? IV_PRECISION_F32
                                                     : IV_PRECISION_F32_REFERENCE;
        } else {
            fail("onnx_run: bad option");
        }
    }
    if (argc - optind < 2) fail("onnx_run [options] MODEL ROWS [IN [OUT]]");
    iv_onnx_graph *onnx;
    MUST(iv_onnx_load(argv[optind], &options, &onnx, err));
    const iv_graph *g = onnx->graph;
    size_t rows = strtoul(argv[optind + 1], NULL, 10);
    char text[IV_SHAPE_TEXT];
    for (size_t i = 0; i < g->n_inputs; i++) {
        printf("input %s %s\n", onnx->input_names[i],
               iv_shape_text(&g->values[g->inputs[i]].shape, text));
    }
    for (size_t i = 0; i < g->n_outputs; i++) {
        printf("output %s %s\n", onnx->output_names[i],
               iv_shape_text(&g->values[g->outputs[i]].shape, text));
    }
    for (size_t i = 0; i < onnx->n_samplings; i++) {
        const iv_onnx_sampling *s = &onnx->samplings[i];
        printf("sampling %s: %s = %s + %s * %s\n", s->op, s->sample == NULL ? "?" : s->sample,
               s->mean == NULL ? "?" : s->mean, s->deviation == NULL ? "?" : s->deviation, s->noise);
    }
    for (size_t i = 0; i < onnx->n_notes; i++) printf("note %s\n", onnx->notes[i]);
    if (argc - optind == 2) { /* the nodes, to look at */
        for (size_t i = 0; i < g->n_nodes; i++) {
            printf("node %s %s ->", g->nodes[i].name, g->nodes[i].kind->name);
            for (size_t j = 0; j < g->nodes[i].n_outputs; j++) {
                const iv_value *v = &g->values[g->nodes[i].outputs[j]];
                printf(" %s %s", v->name, iv_shape_text(&v->shape, text));
            }
            printf("\n");
        }
        return 0;
    }
    const iv_kernels *k = iv_kernels_get(precision, NULL);
    const iv_exec_plan plan = {
        .rows = rows, .reverse = checks, .tangent_rows = checks ? rows : 0, .tangents = checks};
    machine m = {.g = g, .k = k, .rows = rows};
    m.params = upload(k, onnx->params, g->param_elements);
    MUST(iv_exec_new(g, k, &plan, &m.exec, err));
    iv_exec_prepare_all(m.exec, m.params);
    size_t n_in = total(g, g->inputs, g->n_inputs, rows);
    size_t n_out = total(g, g->outputs, g->n_outputs, rows);
    double *in = numbers(n_in), *out = numbers(n_out);
    FILE *file = fopen(argv[optind + 2], "rb");
    if (file == NULL || fread(in, sizeof *in, n_in, file) != n_in || fgetc(file) != EOF) {
        fail("onnx_run: the inputs have another size");
    }
    fclose(file);
    forward(&m, in, out);
    if (argc - optind > 3) {
        file = fopen(argv[optind + 3], "wb");
        if (file == NULL || fwrite(out, sizeof *out, n_out, file) != n_out) fail("cannot write");
        if (fclose(file) != 0) fail("cannot write");
    }
    if (checks) check(&m, in);
    free(in);
    free(out);
    k->release((void *)(uintptr_t)m.params);
    iv_exec_free(m.exec);
    iv_onnx_free(onnx);
    return 0;
}
