/* Networks written as ONNX and read again: the same outputs for all kinds of nodes. */
#include "support_model.h"

#include "model/eval.h"
#include "onnx/export.h"
#include "onnx/onnx.h"
#include "onnx/write_net.h"
#include "theory/prune.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ROWS = 5, MOST = 1024 };

static char path[64];

static void with_path(void)
{
    strcpy(path, "/tmp/isovae-onnx-write-XXXXXX");
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
}

/* Direction d of the input, the same for all rows. */
static double direction(size_t d, size_t i)
{
    return (double)(float)wave(7 * i + 3 * d + 2);
}

/* A graph's output `which` at the same rows, in double; with d >= 0 its tangents along direction d.
 */
static void values(const iv_graph *graph, iv_dtype dtype, const void *params, size_t which, int d,
                   double *out)
{
    isovae_error err;
    iv_exec *exec;
    void *memory;
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    double x[ROWS * MOST];
    size_t size = graph->values[graph->inputs[0]].size;
    assert_true(size <= MOST);
    for (size_t i = 0; i < ROWS * size; i++) x[i] = wave(i) + 0.0137; /* none is 0 */
    ref_ok(k->alloc(&memory, graph->param_elements + 1, "parameters", &err), &err);
    if (dtype == IV_F64)
        k->upload(memory, params, graph->param_elements);
    else
        k->upload_f32(memory, params, graph->param_elements);
    const iv_exec_plan plan = {.rows = ROWS, .tangents = d >= 0, .tangent_rows = d >= 0 ? ROWS : 0};
    const size_t output = graph->outputs[which], n = ROWS * graph->values[output].size;
    ref_ok(iv_exec_new(graph, k, &plan, &exec, &err), &err);
    k->upload(iv_exec_value(exec, graph->inputs[0]), x, ROWS * size);
    iv_exec_prepare_all(exec, memory);
    iv_exec_forward(exec, memory, 0, ROWS, 0);
    if (d >= 0) {
        for (size_t i = 0; i < ROWS * size; i++) x[i] = direction((size_t)d, i % size);
        k->upload(iv_exec_tangent_value(exec, graph->inputs[0], 0), x, ROWS * size);
        iv_exec_tangent(exec, memory, 0, ROWS, 1, 0);
        k->download(out, iv_exec_tangent_value(exec, output, 0), n);
    } else {
        k->download(out, iv_exec_value(exec, output), n);
    }
    iv_exec_free(exec);
    k->release(memory);
}

/* The graph's tangents along two directions, rows x 2 x out, as a second output. False: it has
 * none, or is written with operators that the reader lacks (tests/onnx/derivatives.py compares
 * them). */
static bool put_tangents(iv_net *net, const char *x, const iv_shape *shape, const char *text)
{
    const iv_graph *graph = net->graph;
    iv_shape both = {.rank = shape->rank + 1, .dim = {2}}, out = {2, {2}};
    size_t size = graph->values[graph->inputs[0]].size;
    double d[2 * MOST];
    if (strstr(text, "max_pool") != NULL) return false;
    for (size_t i = 0; i < shape->rank; i++) both.dim[i + 1] = shape->dim[i];
    for (size_t i = 0; i < 2 * size; i++) d[i] = direction(i / size, i % size);
    const char *t = iv_writer_op(net->w, "Mul", x, iv_writer_number(net->w, 0), NULL);
    t = iv_writer_op(net->w, "Add", iv_writer_unsqueeze(net->w, t, 1),
                     iv_writer_tensor(net->w, NULL, &both, d), NULL);
    iv_net_tangents(net, 2, iv_net_fold(net, t, shape));
    t = net->tangent[graph->outputs[0]];
    if (t == NULL) return false;
    out.dim[1] = graph->values[graph->outputs[0]].size;
    t = iv_net_unfold(net, t, &(iv_shape){1, {out.dim[1]}});
    iv_writer_output(net->w, "slopes", t, &out, NULL);
    return true;
}

static void agree(const char *text, const char *what, const double *own, const double *other,
                  size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(own[i]));
    assert_true(most > 0);
    for (size_t i = 0; i < n; i++)
        if (!(fabs(own[i] - other[i]) <= 2e-6 * most))
            fail_msg("%s of %s: %g, %g", what, text, own[i], other[i]);
}

/* Nodes as JSON from "x" (of `shape`) to "out": built, given parameters, written, read, compared;
 * and the derivatives, likewise. */
static void goes_round(const char *text, iv_shape shape)
{
    isovae_error err;
    iv_graph *graph;
    iv_writer *w;
    iv_net net;
    iv_onnx_graph *back;
    double own[ROWS * MOST], other[2 * ROWS * MOST], part[ROWS * MOST];
    const char *const names[1] = {"out"};
    json_t *nodes = json_loads(text, 0, NULL);
    assert_non_null(nodes);
    ref_ok(iv_graph_from_json(nodes, "x", &shape, names, 1, NULL, NULL, &graph, &err), &err);
    json_decref(nodes);
    size_t elements = iv_graph_layout(graph, 0);
    float *params = calloc(elements + 1, sizeof *params);
    for (size_t i = 0; i < elements; i++) params[i] = (float)(0.4 * wave(3 * i + 1));
    for (size_t p = 0; p < graph->n_params; p++)
        for (size_t i = 0; graph->params[p].not_negative && i < graph->params[p].size; i++)
            params[graph->params[p].offset + i] = 0.5f + 0.1f * (float)i;
    iv_model model = {.dtype = IV_F32, .params = params};
    ref_ok(iv_writer_new(&w, &err), &err);
    ref_ok(iv_net_new(w, &model, graph, "net/", &net, &err), &err);
    const char *x = iv_writer_input(w, "x", &shape);
    iv_net_forward(&net, x);
    /* a copy, as an output takes its tensor's name over, and derivatives may read that */
    iv_writer_output(w, "out", iv_writer_op(w, "Identity", net.value[graph->outputs[0]], NULL),
                     &graph->values[graph->outputs[0]].shape, NULL);
    bool slopes = put_tangents(&net, x, &shape, text);
    with_path();
    ref_ok(iv_writer_save(w, path, &err), &err);
    ref_ok(iv_onnx_load(path, &(iv_onnx_options){.dtype = IV_F32}, &back, &err), &err);
    unlink(path);
    assert_int_equal(back->opset, IV_ONNX_OPSET);
    assert_true(strncmp(back->producer, "isovae", 6) == 0);
    size_t n = graph->values[graph->outputs[0]].size;
    assert_int_equal(back->graph->values[back->graph->outputs[0]].size, n);
    assert_true(n <= MOST);
    values(graph, IV_F32, params, 0, -1, own);
    values(back->graph, IV_F32, back->params, 0, -1, other);
    agree(text, "outputs", own, other, ROWS * n);
    if (slopes) {
        values(back->graph, IV_F32, back->params, 1, -1, other);
        for (int d = 0; d < 2; d++) {
            values(graph, IV_F32, params, 0, d, own);
            for (size_t i = 0; i < ROWS * n; i++)
                part[i] = other[(i / n * 2 + (size_t)d) * n + i % n];
            agree(text, "derivatives", own, part, ROWS * n);
        }
    }
    iv_onnx_free(back);
    iv_net_free(&net);
    iv_writer_free(w);
    iv_graph_free(graph);
    free(params);
}

static void one(const char *kind, const char *rest, iv_shape shape)
{
    char text[500];
    snprintf(text, sizeof text,
             "[{\"name\":\"n\",\"kind\":\"%s\",\"inputs\":[\"x\"],\"output\":\"out\"%s}]", kind,
             rest);
    goes_round(text, shape);
}

static void functions(void **state)
{
    (void)state;
    static const char *const kinds[] = {
        "relu",        "leaky_relu", "elu",  "silu",     "gelu",         "softplus",
        "sigmoid",     "tanh",       "exp",  "abs",      "negate",       "square",
        "reciprocal",  "erf",        "sin",  "cos",      "sign",         "ceil",
        "selu",        "celu",       "mish", "softsign", "hard_sigmoid", "hard_swish",
        "log_sigmoid", "gelu_tanh"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        one(kinds[i], "", (iv_shape){1, {7}});
    one("clip", ",\"attributes\":{\"min\":-0.3,\"max\":0.4}", (iv_shape){1, {7}});
    one("clip", ",\"attributes\":{\"max\":0.4}", (iv_shape){1, {7}});
}

static void operands(void **state)
{
    (void)state;
    static const char *const kinds[] = {"add",     "subtract", "multiply", "divide",
                                        "minimum", "maximum",  "less",     "greater_or_equal"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char text[600];
        one(kinds[i], ",\"attributes\":{\"value\":0.37,\"constant_first\":1}", (iv_shape){1, {7}});
        snprintf(text, sizeof text,
                 "[{\"name\":\"a\",\"kind\":\"reduce\",\"inputs\":[\"x\"],\"output\":\"s\","
                 "\"attributes\":{\"function\":\"mean\",\"axes\":[1]}},"
                 "{\"name\":\"b\",\"kind\":\"%s\",\"inputs\":[\"x\",\"s\"],\"output\":\"out\"}]",
                 kinds[i]);
        goes_round(text, (iv_shape){2, {3, 4}});
    }
    goes_round("[{\"name\":\"a\",\"kind\":\"transpose\",\"inputs\":[\"x\"],\"output\":\"t\","
               "\"attributes\":{\"perm\":[2,1]}},"
               "{\"name\":\"b\",\"kind\":\"matmul\",\"inputs\":[\"x\",\"t\"],\"output\":\"out\"}]",
               (iv_shape){2, {3, 4}});
}

static void moves(void **state)
{
    (void)state;
    one("take", ",\"attributes\":{\"map\":[3,-1,0,5],\"axis\":1,\"fill\":0.5}", (iv_shape){1, {6}});
    one("take", ",\"attributes\":{\"map\":[1,-1,0],\"axis\":2}", (iv_shape){3, {2, 3, 2}});
    one("take", ",\"attributes\":{\"map\":[11,-1,4,4],\"shape\":[2,2]}", (iv_shape){2, {3, 4}});
    one("reshape", ",\"attributes\":{\"shape\":[2,6]}", (iv_shape){2, {3, 4}});
    one("flatten", "", (iv_shape){3, {2, 3, 2}});
    one("transpose", ",\"attributes\":{\"perm\":[3,1,2]}", (iv_shape){3, {2, 3, 4}});
    static const char *const sums[] = {"sum", "mean", "prod",       "sum_square",
                                       "l1",  "l2",   "log_sum_exp"};
    for (size_t i = 0; i < sizeof sums / sizeof sums[0]; i++) {
        char rest[100];
        snprintf(rest, sizeof rest,
                 ",\"attributes\":{\"function\":\"%s\",\"axes\":[2],\"keepdims\":1}", sums[i]);
        one("reduce", rest, (iv_shape){2, {3, 4}});
        snprintf(rest, sizeof rest, ",\"attributes\":{\"function\":\"%s\",\"axes\":[1,3]}",
                 sums[i]);
        one("reduce", rest, (iv_shape){3, {2, 3, 2}});
    }
    goes_round("[{\"name\":\"a\",\"kind\":\"split\",\"inputs\":[\"x\"],\"outputs\":[\"p\",\"q\"],"
               "\"attributes\":{\"sizes\":[1,5]}},"
               "{\"name\":\"b\",\"kind\":\"concat\",\"inputs\":[\"q\",\"p\",\"q\"],"
               "\"output\":\"out\"}]",
               (iv_shape){1, {6}});
}

static void layers(void **state)
{
    (void)state;
    one("dense", ",\"units\":5,\"attributes\":{\"activation\":\"silu\"}", (iv_shape){1, {6}});
    one("dense", ",\"units\":5,\"bias\":false", (iv_shape){1, {6}});
    one("conv",
        ",\"units\":4,\"kernel\":3,\"attributes\":{\"stride\":2,\"pads\":[1,0,2,1],"
        "\"groups\":2,\"activation\":\"leaky_relu\"}",
        (iv_shape){3, {2, 7, 6}});
    one("conv_transpose",
        ",\"units\":2,\"kernel\":[4,3],\"attributes\":{\"stride\":2,\"pads\":1,"
        "\"output_padding\":1}",
        (iv_shape){3, {3, 4, 3}});
    one("batch_norm", "", (iv_shape){3, {3, 4, 3}});
    one("batch_norm", "", (iv_shape){1, {6}});
    one("layer_norm", "", (iv_shape){2, {3, 4}});
    one("layer_norm", ",\"attributes\":{\"axis\":2}", (iv_shape){2, {3, 4}});
    one("group_norm", ",\"attributes\":{\"groups\":2}", (iv_shape){3, {4, 3, 2}});
    one("gdn", "", (iv_shape){3, {3, 4, 3}});
    one("gdn_inverse", "", (iv_shape){1, {6}});
    one("softmax", "", (iv_shape){3, {3, 4, 3}});
    one("log_softmax", ",\"attributes\":{\"axis\":2}", (iv_shape){2, {3, 4}});
}

static void pictures(void **state)
{
    (void)state;
    iv_shape shape = {3, {4, 6, 4}};
    one("max_pool", ",\"attributes\":{\"kernel\":3,\"stride\":2,\"pads\":1}", shape);
    one("average_pool", ",\"attributes\":{\"kernel\":3,\"stride\":2,\"pads\":1}", shape);
    one("average_pool",
        ",\"attributes\":{\"kernel\":3,\"stride\":2,\"pads\":1,\"count_include_pad\":1}", shape);
    one("global_average_pool", "", shape);
    one("upsample_nearest", ",\"attributes\":{\"scale\":[2,3]}", shape);
    one("upsample_bilinear", ",\"attributes\":{\"scale\":2}", shape);
    one("pixel_shuffle", ",\"attributes\":{\"factor\":2}", shape);
}

/* A decoder whose derivative cannot be written has no scorer, and no file is left. */
static void refusals(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *model = full_model(IV_F32);
    iv_onnx_score score = {0};
    with_path();
    unlink(path);
    model->metric.loss = IV_LOSS_WEIGHTED;
    assert_int_equal(iv_onnx_write_scorer(model, &score, path, &err), ISOVAE_ERR_UNSUPPORTED);
    assert_true(access(path, F_OK) != 0);
    assert_int_equal(iv_onnx_write_encoder(model, "/nonexistent/encoder.onnx", &err),
                     ISOVAE_ERR_IO);
    iv_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(functions), cmocka_unit_test(operands),
                                       cmocka_unit_test(moves),     cmocka_unit_test(layers),
                                       cmocka_unit_test(pictures),  cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
