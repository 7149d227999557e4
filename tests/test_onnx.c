/* The ONNX reader: what becomes of operators, batches and constants. Beside other runtimes it is
 * compared by tests/onnx/compare.py. */
#include "support_onnx.h"

#include "graph/node.h"

#include <math.h>

static const iv_onnx_options F64 = {.dtype = IV_F64};

static void test_layers_are_merged(void **state)
{
    (void)state;
    static maker m;
    maker_open(&m, 17);
    MAKER_INPUT(&m, "x", 0, 3);
    maker_floats(&m, "w", 2, (const int64_t[]){2, 3}, -1);
    maker_floats(&m, "b", 1, (const int64_t[]){2}, 1);
    maker_floats(&m, "v", 2, (const int64_t[]){2, 2}, 0.5F);
    maker_int(&m, maker_node(&m, "Gemm", "x w b", "h"), "transB", 1);
    maker_node(&m, "Relu", "h", "r");
    maker_node(&m, "MatMul", "r v", "p");
    maker_node(&m, "Add", "p b", "q");
    maker_node(&m, "Sigmoid", "q", "s");
    maker_node(&m, "Mul", "q s", "y");
    maker_output(&m, "y");
    iv_onnx_graph *onnx = onnx_load(&m, &F64);
    assert_int_equal(onnx->graph->n_nodes, 2);
    assert_int_equal(onnx->graph->nodes[0].attributes.act, IV_ACT_RELU);
    assert_string_equal(onnx->graph->nodes[1].kind->name, "dense");
    /* h = (1, 0, -1) x + 1 and (-2, -3, -4) x + 2 */
    const double x[] = {2, 5, -7}, h[] = {2 + 7 + 1, -4 - 15 + 28 + 2};
    double want[2];
    for (int i = 0; i < 2; i++) {
        double q = h[0] * (1 + 0.5 * i) + h[1] * (2 + 0.5 * i) + 1 + i;
        want[i] = q / (1 + exp(-q));
    }
    onnx_assert_outputs(onnx, x, want, 2, 1e-6);
    assert_string_equal(onnx->input_names[0], "x");
    assert_string_equal(onnx->output_names[0], "y");
    assert_string_equal(onnx->graph->values[onnx->graph->outputs[0]].name, "y");
    assert_string_equal(onnx->output_ops[0], "Mul");
    assert_string_equal(onnx->output_sources[0], "q");
    assert_int_equal(onnx->fixed_batch, 0);
    iv_onnx_free(onnx);
    maker_close(&m);
}

/* x [N, 2, 3] -> [N, 6] by Shape, Gather, Concat and Reshape. */
static void batch_from_shape(maker *m, int64_t batch)
{
    maker_open(m, 17);
    MAKER_INPUT(m, "x", batch, 2, 3);
    MAKER_INTS(m, "zero", 0);
    MAKER_INTS(m, "open", -1);
    MAKER_INTS(m, "back", 0, 3, 2);
    maker_node(m, "Shape", "x", "shape");
    maker_int(m, maker_node(m, "Gather", "shape zero", "n"), "axis", 0);
    maker_int(m, maker_node(m, "Concat", "n open", "target"), "axis", 0);
    maker_node(m, "Reshape", "x target", "flat");
    maker_node(m, "Neg", "flat", "minus");
    maker_node(m, "Reshape", "minus back", "y");
    maker_output(m, "y");
}

static void test_batch_in_shapes(void **state)
{
    (void)state;
    static maker m;
    for (int64_t batch = 0; batch < 4; batch++) {
        batch_from_shape(&m, batch);
        iv_onnx_graph *onnx = onnx_load(&m, &F64);
        const iv_shape *row = &onnx->graph->values[onnx->graph->outputs[0]].shape;
        assert_true(iv_shape_equal(row, &(iv_shape){2, {3, 2}}));
        assert_int_equal(onnx->fixed_batch, batch);
        const double x[] = {1, 2, 3, 4, 5, 6}, want[] = {-1, -2, -3, -4, -5, -6};
        onnx_assert_outputs(onnx, x, want, 6, 1e-6);
        iv_onnx_free(onnx);
        maker_close(&m);
    }
}

/* A reshape that names the exported batch, and a constant with a row for each of it. */
static void test_fixed_batch(void **state)
{
    (void)state;
    static maker m;
    isovae_error err;
    iv_onnx_graph *onnx;
    for (int differ = 0; differ < 2; differ++) {
        maker_open(&m, 17);
        MAKER_INPUT(&m, "x", 2, 4);
        MAKER_INTS(&m, "target", 2, 2, 2);
        const int64_t dims[] = {2, 2, 2};
        const float values[] = {1, 2, 3, 4, 1, 2, 3, differ ? 5 : 4};
        Onnx__TensorProto *t = maker_tensor(&m, "c", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 3, dims);
        maker_raw(&m, t, values, sizeof values);
        maker_node(&m, "Reshape", "x target", "r");
        maker_node(&m, "Add", "r c", "y");
        maker_output(&m, "y");
        if (differ) {
            assert_int_equal(maker_load(&m, NULL, &F64, &onnx, &err), ISOVAE_ERR_UNSUPPORTED);
            assert_non_null(strstr(err.message, "exported"));
        } else {
            const double x[] = {0, 10, 20, 30}, want[] = {1, 12, 23, 34};
            onnx = onnx_load(&m, &F64);
            onnx_assert_outputs(onnx, x, want, 4, 1e-6);
            iv_onnx_free(onnx);
        }
        maker_close(&m);
    }
}

/* [N, 2, 3] seen as [2, N, 3], as [N 2, 3], and back. */
static void test_batch_moves(void **state)
{
    (void)state;
    static maker m;
    const int64_t turn[] = {1, 0, 2};
    maker_open(&m, 17);
    MAKER_INPUT(&m, "x", 0, 2, 3);
    maker_floats(&m, "w", 2, (const int64_t[]){3, 2}, 0);
    maker_floats(&m, "s", 3, (const int64_t[]){2, 1, 2}, 10);
    MAKER_INTS(&m, "merged", -1, 2);
    MAKER_INTS(&m, "back", -1, 2, 2);
    for (int i = 0; i < 2; i++) {
        Onnx__NodeProto *node = maker_node(&m, "Transpose", i == 0 ? "x" : "b", i == 0 ? "a" : "d");
        Onnx__AttributeProto *perm = maker_attribute(&m, node, "perm");
        perm->n_ints = 3;
        perm->ints = maker_take(&m, sizeof turn);
        memcpy(perm->ints, turn, sizeof turn);
        if (i == 0) {
            maker_node(&m, "MatMul", "a w", "p"); /* [2, N, 2] */
            maker_node(&m, "Add", "p s", "b");
        }
    }
    maker_node(&m, "Reshape", "d merged", "e"); /* [N 2, 2] */
    maker_node(&m, "Neg", "e", "f");
    maker_node(&m, "Reshape", "f back", "y");
    maker_output(&m, "y");
    maker_output(&m, "b");
    iv_onnx_graph *onnx = onnx_load(&m, &F64);
    /* rows of sums 6 and 15, plus 1, 11, 21, 31 */
    const double x[] = {1, 2, 3, 4, 5, 6}, want[] = {-7, -17, -36, -46, 7, 17, 36, 46};
    onnx_assert_outputs(onnx, x, want, 8, 1e-6);
    assert_int_equal(onnx->n_notes, 1); /* that "b" has the batch on axis 1 */
    assert_non_null(strstr(onnx->notes[0], "[2,B,2]"));
    iv_onnx_free(onnx);
    maker_close(&m);
}

/* The same numbers in every kind of element, in bytes and in the typed fields. */
static void test_kinds_of_tensors(void **state)
{
    (void)state;
    static maker m;
    static const int64_t three = 3;
    const uint16_t half[] = {0x3c00, 0xc100, 0x0001}; /* 1, -2.5, 2^-24 */
    const uint16_t brain[] = {0x3f80, 0xc020, 0x3380};
    const double wide[] = {1, -2.5, 0x1p-24};
    const float plain[] = {1, -2.5F, 0x1p-24F};
    const int64_t i64[] = {1, -2, 3};
    const int32_t i32[] = {1, -2, 3};
    const uint8_t u8[] = {1, 254, 3};
    const int8_t i8[] = {1, -2, 3};
    enum { FLOATS = 4, ALL = 8 };
    const struct {
        int32_t type;
        const void *data;
        size_t bytes;
        double second;
    } kinds[ALL] = {{ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16, half, sizeof half, -2.5},
                    {ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16, brain, sizeof brain, -2.5},
                    {ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE, wide, sizeof wide, -2.5},
                    {ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, plain, sizeof plain, -2.5},
                    {ONNX__TENSOR_PROTO__DATA_TYPE__INT64, i64, sizeof i64, -2},
                    {ONNX__TENSOR_PROTO__DATA_TYPE__INT32, i32, sizeof i32, -2},
                    {ONNX__TENSOR_PROTO__DATA_TYPE__UINT8, u8, sizeof u8, 254},
                    {ONNX__TENSOR_PROTO__DATA_TYPE__INT8, i8, sizeof i8, -2}};
    for (size_t k = 0; k < ALL; k++) {
        for (int typed = 0; typed < 2; typed++) {
            maker_open(&m, 17);
            MAKER_INPUT(&m, "x", 0, 3);
            Onnx__TensorProto *t = maker_tensor(&m, "c", kinds[k].type, 1, &three);
            if (!typed) {
                maker_raw(&m, t, kinds[k].data, kinds[k].bytes);
            } else if (k == 2) {
                t->n_double_data = 3;
                t->double_data = maker_take(&m, sizeof wide);
                memcpy(t->double_data, wide, sizeof wide);
            } else if (k == 3) {
                t->n_float_data = 3;
                t->float_data = maker_take(&m, sizeof plain);
                memcpy(t->float_data, plain, sizeof plain);
            } else if (k == 4) {
                t->n_int64_data = 3;
                t->int64_data = maker_take(&m, sizeof i64);
                memcpy(t->int64_data, i64, sizeof i64);
            } else {
                t->n_int32_data = 3;
                t->int32_data = maker_take(&m, 3 * sizeof *t->int32_data);
                for (int i = 0; i < 3; i++) {
                    t->int32_data[i] = k == 0   ? half[i]
                                       : k == 1 ? brain[i]
                                       : k == 6 ? u8[i]
                                                : i32[i];
                }
            }
            maker_int(&m, maker_node(&m, "Cast", "c", "f"), "to",
                      ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE);
            maker_node(&m, "Add", "x f", "y");
            maker_output(&m, "y");
            iv_onnx_graph *onnx = onnx_load(&m, &F64);
            const double x[] = {0, 0, 0};
            const double want[] = {1, kinds[k].second, k < FLOATS ? 0x1p-24 : 3};
            double *got = onnx_forward(onnx, x);
            for (int i = 0; i < 3; i++) assert_true(got[i] == want[i]);
            free(got);
            iv_onnx_free(onnx);
            maker_close(&m);
        }
    }
}

/* A three-dimensional convolution, which is made of windows and a matrix. */
static void test_volumes(void **state)
{
    (void)state;
    static maker m;
    static const char *const ops[] = {"Conv", "ConvTranspose"};
    for (int transposed = 0; transposed < 2; transposed++) {
        maker_open(&m, 13);
        MAKER_INPUT(&m, "x", 0, 1, 2, 2, 3);
        maker_floats(&m, "w", 5, (const int64_t[]){1, 1, 2, 1, 2}, 1);
        maker_node(&m, ops[transposed], "x w", "y");
        maker_output(&m, "y");
        iv_onnx_graph *onnx = onnx_load(&m, &F64);
        double x[12], want[36] = {0};
        for (int i = 0; i < 12; i++) x[i] = i * i + 1;
        size_t n = 0;
        if (!transposed) { /* out (1, 2, 2) */
            for (int h = 0; h < 2; h++) {
                for (int w = 0; w < 2; w++) {
                    for (int t = 0; t < 4; t++) {
                        want[n] += (t + 1) * x[t / 2 * 6 + h * 3 + w + t % 2];
                    }
                    n++;
                }
            }
        } else { /* out (3, 2, 4) */
            n = 24;
            for (int i = 0; i < 12; i++) {
                for (int t = 0; t < 4; t++) {
                    want[(i / 6 + t / 2) * 8 + i / 3 % 2 * 4 + i % 3 + t % 2] += (t + 1) * x[i];
                }
            }
        }
        assert_int_equal(onnx->graph->values[onnx->graph->outputs[0]].size, n);
        onnx_assert_outputs(onnx, x, want, n, 1e-6);
        iv_onnx_free(onnx);
        maker_close(&m);
    }
}

/* z = mu + exp(logvar / 2) noise inside a file: told, cut, or taken at its mean. */
static void sampling(maker *m)
{
    maker_open(m, 17);
    MAKER_INPUT(m, "x", 0, 2);
    maker_floats(m, "two", 0, NULL, 0);
    maker_node(m, "Neg", "x", "mu");
    maker_node(m, "Exp", "x", "sigma");
    maker_node(m, "RandomNormalLike", "sigma", "eps");
    maker_node(m, "Mul", "sigma eps", "noise");
    maker_node(m, "Add", "noise mu", "z");
    maker_node(m, "Sub", "z two", "out");
    maker_output(m, "out");
    maker_output(m, "mu");
}

static void test_sampling(void **state)
{
    (void)state;
    static maker m;
    isovae_error err;
    iv_onnx_graph *onnx;
    const double x[] = {3, 5};
    sampling(&m);
    assert_int_equal(maker_load(&m, NULL, &F64, &onnx, &err), ISOVAE_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "RandomNormalLike_2"));
    assert_non_null(strstr(err.message, "random numbers"));

    iv_onnx_options part = F64;
    part.random_as_mean = true;
    onnx = onnx_load(&m, &part);
    onnx_assert_outputs(onnx, x, (const double[]){-4, -6, -3, -5}, 4, 1e-6);
    assert_int_equal(onnx->n_notes, 1);
    iv_onnx_free(onnx);

    part = F64;
    part.n_outputs = 2;
    part.outputs[0] = "sigma";
    part.outputs[1] = "mu";
    onnx = onnx_load(&m, &part);
    onnx_assert_outputs(onnx, x, (const double[]){exp(3), exp(5), -3, -5}, 4, 1e-6);
    assert_int_equal(onnx->n_samplings, 1);
    assert_string_equal(onnx->samplings[0].op, "RandomNormalLike");
    assert_string_equal(onnx->samplings[0].noise, "eps");
    assert_string_equal(onnx->samplings[0].deviation, "sigma");
    assert_string_equal(onnx->samplings[0].mean, "mu");
    assert_string_equal(onnx->samplings[0].sample, "z");
    iv_onnx_free(onnx);

    /* the decoder: its input's shape is found by running the shapes up to it */
    part = F64;
    part.n_inputs = part.n_outputs = 1;
    part.inputs[0].name = "z";
    part.outputs[0] = "out";
    onnx = onnx_load(&m, &part);
    assert_true(
        iv_shape_equal(&onnx->graph->values[onnx->graph->inputs[0]].shape, &(iv_shape){1, {2}}));
    onnx_assert_outputs(onnx, x, (const double[]){2, 4}, 2, 1e-6);
    iv_onnx_free(onnx);
    part.inputs[0].known = true;
    part.inputs[0].shape = (iv_shape){1, {5}};
    onnx = onnx_load(&m, &part);
    assert_int_equal(onnx->graph->values[onnx->graph->outputs[0]].size, 5);
    iv_onnx_free(onnx);

    part.outputs[0] = "mu";
    assert_int_equal(maker_load(&m, NULL, &part, &onnx, &err), ISOVAE_ERR_FORMAT);
    assert_non_null(strstr(err.message, "'x'"));
    maker_close(&m);
}

static void test_outputs_of_all_sorts(void **state)
{
    (void)state;
    static maker m;
    maker_open(&m, 17);
    MAKER_INPUT(&m, "x", 0, 2);
    maker_floats(&m, "c", 2, (const int64_t[]){1, 2}, 1);
    maker_node(&m, "Identity", "x", "same");
    maker_node(&m, "Abs", "x", "a");
    maker_node(&m, "Identity", "a", "b");
    maker_output(&m, "same"); /* the input */
    maker_output(&m, "a");
    maker_output(&m, "b"); /* twice */
    maker_output(&m, "c"); /* constant */
    iv_onnx_graph *onnx = onnx_load(&m, &F64);
    onnx_assert_outputs(onnx, (const double[]){-3, 4}, (const double[]){-3, 4, 3, 4, 3, 4, 1, 2}, 8,
                        1e-6);
    assert_non_null(strstr(onnx->notes[0], "whatever the input"));
    assert_string_equal(onnx->output_ops[2], "Abs"); /* behind an Identity */
    assert_string_equal(onnx->output_sources[2], "x");
    assert_string_equal(onnx->output_ops[3], "");
    iv_onnx_free(onnx);
    maker_close(&m);
}

/* A function of the file with an attribute that refers to the call's, and a branch. */
static void test_functions_and_branches(void **state)
{
    (void)state;
    static maker m, body, yes, no;
    maker_open(&m, 17);
    MAKER_INPUT(&m, "x", 0, 2);
    maker_open(&body, 17);
    Onnx__NodeProto *leaky = maker_node(&body, "LeakyRelu", "in", "out");
    maker_attribute(&body, leaky, "alpha")->ref_attr_name = maker_text(&body, "slope");
    Onnx__FunctionProto f, *functions[] = {&f};
    char *in[] = {maker_text(&body, "in")}, *out[] = {maker_text(&body, "out")};
    onnx__function_proto__init(&f);
    f.name = maker_text(&body, "Mine");
    f.domain = maker_text(&body, "here");
    f.n_input = f.n_output = f.n_node = 1;
    f.input = in;
    f.output = out;
    f.node = body.nodes;
    m.model.functions = functions;
    m.model.n_functions = 1;
    Onnx__NodeProto *call = maker_node(&m, "Mine", "x", "y");
    call->domain = maker_text(&m, "here");
    Onnx__AttributeProto *slope = maker_attribute(&m, call, "slope");
    slope->has_f = true;
    slope->f = 0.5F;
    /* if the row has 2 elements: minus y, else y */
    maker_open(&yes, 17);
    maker_node(&yes, "Neg", "y", "r");
    maker_output(&yes, "r");
    maker_open(&no, 17);
    maker_node(&no, "Missing", "y", "r");
    maker_output(&no, "r");
    MAKER_INTS(&m, "one", 1);
    MAKER_INTS(&m, "two", 2);
    maker_node(&m, "Shape", "x", "shape");
    maker_node(&m, "Gather", "shape one", "n");
    maker_node(&m, "Equal", "n two", "test");
    Onnx__NodeProto *branch = maker_node(&m, "If", "test", "z");
    maker_attribute(&m, branch, "then_branch")->g = &yes.graph;
    maker_attribute(&m, branch, "else_branch")->g = &no.graph;
    maker_output(&m, "z");
    iv_onnx_graph *onnx = onnx_load(&m, &F64);
    onnx_assert_outputs(onnx, (const double[]){-4, 3}, (const double[]){2, -3}, 2, 1e-6);
    iv_onnx_free(onnx);
    maker_close(&no);
    maker_close(&yes);
    maker_close(&body);
    maker_close(&m);
}

static void test_single_precision(void **state)
{
    (void)state;
    static maker m;
    const iv_onnx_options options = {.dtype = IV_F32};
    maker_open(&m, 17);
    MAKER_INPUT(&m, "x", 0, 2);
    maker_floats(&m, "w", 2, (const int64_t[]){2, 2}, 0.25F);
    maker_node(&m, "MatMul", "x w", "y");
    maker_output(&m, "y");
    iv_onnx_graph *onnx = onnx_load(&m, &options);
    const float *weight = (const float *)onnx->params + onnx->graph->params[0].offset;
    assert_true(weight[0] == 1 && weight[1] == 1.5F && weight[2] == 1.25F && weight[3] == 1.75F);
    iv_onnx_free(onnx);
    maker_close(&m);
    size_t n = 0;
    while (iv_onnx_operator(n) != NULL) n++;
    assert_true(n > 80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers_are_merged),
        cmocka_unit_test(test_batch_in_shapes),
        cmocka_unit_test(test_fixed_batch),
        cmocka_unit_test(test_batch_moves),
        cmocka_unit_test(test_kinds_of_tensors),
        cmocka_unit_test(test_volumes),
        cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_outputs_of_all_sorts),
        cmocka_unit_test(test_functions_and_branches),
        cmocka_unit_test(test_single_precision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
