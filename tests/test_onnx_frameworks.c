/* What exporters of Keras and JAX write beside the usual operators: general Einsum, slices as
 * GatherND, operators of TensorFlow, outputs without telling names. Files of these exporters are
 * compared by tests/onnx/frameworks.py. */
#include "support_onnx.h"
#include "support_reference.h"

#include "onnx/vae.h"

#include <math.h>
#include <unistd.h>

static const iv_onnx_options F64 = {.dtype = IV_F64};

static void equation(maker *m, Onnx__NodeProto *node, const char *text)
{
    Onnx__AttributeProto *a = maker_attribute(m, node, "equation");
    a->has_s = true;
    a->s.len = strlen(text);
    a->s.data = (uint8_t *)maker_text(m, text);
}

/* x (N, 2, 2) = a b; c d, w (2, 2) = 1 2; 3 4, v (2) = 1 2 */
static void test_einsum(void **state)
{
    (void)state;
    static maker m;
    static const double x[] = {2, 3, 5, 7};
    static const struct {
        const char *text, *inputs;
        size_t n;
        double want[8];
    } all[] = {{"bij,jk->bik", "x w", 4, {11, 16, 26, 38}},
               {"...j,jk->...k", "x w", 4, {11, 16, 26, 38}},
               {"...ij,...jk->...ik", "x w", 4, {11, 16, 26, 38}},
               {"ki,...ij->...kj", "w x", 4, {12, 17, 26, 37}},
               {"b i j , j -> b i", "x v", 2, {8, 19}},
               {"bii->bi", "x", 2, {2, 7}},
               {"bii->b", "x", 1, {9}},
               {"...ii->...i", "x", 2, {2, 7}},
               {"ii,bij->bj", "w x", 2, {22, 31}},
               {"bij,jk,i->bk", "x w v", 2, {63, 92}},
               {"bij,bkj,jl->bikl", "x x w", 8, {31, 44, 73, 104, 73, 104, 172, 246}},
               {"bij,kj", "x w", 4, {8, 18, 19, 43}},
               {"...i,i", "x v", 2, {8, 19}}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        maker_open(&m, 17);
        MAKER_INPUT(&m, "x", 0, 2, 2);
        maker_output(&m, "y");
        maker_floats(&m, "w", 2, (const int64_t[]){2, 2}, 1);
        maker_floats(&m, "v", 1, (const int64_t[]){2}, 1);
        equation(&m, maker_node(&m, "Einsum", all[i].inputs, "y"), all[i].text);
        iv_onnx_graph *onnx = onnx_load(&m, &F64);
        size_t size = onnx->graph->values[onnx->graph->outputs[0]].size;
        if (size != all[i].n) fail_msg("%s: %zu elements", all[i].text, size);
        onnx_assert_outputs(onnx, x, all[i].want, size, 1e-9);
        iv_onnx_free(onnx);
        maker_close(&m);
    }
}

static void test_einsum_refusals(void **state)
{
    (void)state;
    static maker m;
    static const struct {
        const char *text, *inputs, *words;
    } all[] = {{"bij,jk->bikz", "x w", "equation"},
               {"bij,jk->biik", "x w", "equation"},
               {"bij->bij", "x w", "equation"},
               {"bij,jk,->bi", "x w", "equation"},
               {"bi,jk->bi", "x w", "equation"},
               {"b..ij,jk->bi", "x w", "equation"},
               {"...b...ij,jk->bi", "x w", "equation"},
               {"bij,jk->b-i", "x w", "equation"},
               {"abcdefghi,jk->bi", "x w", "equation"},
               {"bij,jk->ik", "x w", "batch"},
               {"bbj,jk->bk", "x w", "batch"},
               {"iij,jk->bk", "x w", "equation"},
               {"bij,ii->bj", "x t", "different extents"}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        isovae_error err = {ISOVAE_OK, ""};
        iv_onnx_graph *onnx;
        maker_open(&m, 17);
        MAKER_INPUT(&m, "x", 0, 2, 2);
        maker_output(&m, "y");
        maker_floats(&m, "w", 2, (const int64_t[]){2, 2}, 1);
        maker_floats(&m, "t", 2, (const int64_t[]){2, 3}, 1);
        equation(&m, maker_node(&m, "Einsum", all[i].inputs, "y"), all[i].text);
        if (maker_load(&m, NULL, &F64, &onnx, &err) == ISOVAE_OK) fail_msg("%s", all[i].text);
        if (strstr(err.message, all[i].words) == NULL || strstr(err.message, "Einsum_0") == NULL)
            fail_msg("%s: %s", all[i].text, err.message);
        maker_close(&m);
    }
}

/* x (N, 2, 3) turned to (2, N, 3), or (2, 3, N), and picked from. */
static void test_gather_nd(void **state)
{
    (void)state;
    static maker m;
    static const double x[] = {0, 1, 2, 3, 4, 5};
    for (int depth = 1; depth <= 2; depth++) {
        maker_open(&m, 17);
        MAKER_INPUT(&m, "x", 0, 2, 3);
        maker_output(&m, "y");
        Onnx__AttributeProto *perm =
            maker_attribute(&m, maker_node(&m, "Transpose", "x", "t"), "perm");
        int64_t order[2][3] = {{1, 0, 2}, {1, 2, 0}};
        perm->ints = order[depth - 1];
        perm->n_ints = 3;
        static const int64_t which[] = {-1, 0, 1, 2};
        const int64_t dims[] = {4 / depth, depth};
        Onnx__TensorProto *t = maker_tensor(&m, "i", ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 2, dims);
        maker_raw(&m, t, which, depth == 1 ? 3 * sizeof *which : sizeof which);
        if (depth == 1) t->dims[0] = 3;
        maker_node(&m, "GatherND", "t i", "g");
        int64_t back[2][3] = {{1, 0, 2}, {1, 0, 0}};
        perm = maker_attribute(&m, maker_node(&m, "Transpose", "g", "y"), "perm");
        perm->ints = back[depth - 1];
        perm->n_ints = depth == 1 ? 3 : 2;
        iv_onnx_graph *onnx = onnx_load(&m, &F64);
        if (depth == 1)
            onnx_assert_outputs(onnx, x, (const double[]){3, 4, 5, 0, 1, 2, 3, 4, 5}, 9, 1e-9);
        else
            onnx_assert_outputs(onnx, x, (const double[]){3, 5}, 2, 1e-9);
        iv_onnx_free(onnx);
        maker_close(&m);
    }
    static const struct {
        int64_t index[2], dims[2];
        size_t n;
        const char *inputs, *words;
    } all[] = {{{0, 2}, {1, 2}, 2, "t i", "outside"},
               {{-3, 0}, {1, 2}, 2, "t i", "outside"},
               {{0, 0}, {2, 0}, 0, "t i", "0 numbers"},
               {{0, 0}, {1, 2}, 2, "x i", "rows of the batch"},
               {{0, 0}, {1, 2}, 2, "t x", "depends on the data"}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        isovae_error err = {ISOVAE_OK, ""};
        iv_onnx_graph *onnx;
        maker_open(&m, 17);
        MAKER_INPUT(&m, "x", 0, 2, 2);
        maker_output(&m, "y");
        Onnx__AttributeProto *perm =
            maker_attribute(&m, maker_node(&m, "Transpose", "x", "t"), "perm");
        int64_t order[] = {1, 2, 0};
        perm->ints = order;
        perm->n_ints = 3;
        maker_raw(&m, maker_tensor(&m, "i", ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 2, all[i].dims),
                  all[i].index, all[i].n * sizeof(int64_t));
        maker_node(&m, "GatherND", all[i].inputs, "y");
        assert_int_not_equal(maker_load(&m, NULL, &F64, &onnx, &err), ISOVAE_OK);
        if (strstr(err.message, all[i].words) == NULL) fail_msg("%zu: %s", i, err.message);
        maker_close(&m);
    }
}

static void test_functions(void **state)
{
    (void)state;
    static maker m;
    static const double x[] = {-1.5, 0, 0.3, INFINITY, -INFINITY, NAN};
    for (int constant = 0; constant < 2; constant++) {
        maker_open(&m, 17);
        MAKER_INPUT(&m, "x", 0, 6);
        float values[6];
        for (int i = 0; i < 6; i++) values[i] = (float)x[i];
        maker_raw(
            &m,
            maker_tensor(&m, "c", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 1, (const int64_t[]){6}),
            values, sizeof values);
        const char *in = constant ? "c" : "x";
        maker_node(&m, "IsNaN", in, "n");
        maker_node(&m, "IsInf", in, "i");
        maker_int(&m, maker_node(&m, "IsInf", in, "p"), "detect_negative", 0);
        maker_int(&m, maker_node(&m, "IsInf", in, "q"), "detect_positive", 0);
        maker_floats(&m, "one", 1, (const int64_t[]){6}, 0);
        maker_node(&m, "Sub", "x x", "zero"); /* so that the output depends on an input */
        static const char *const pairs[][2] = {{"n", "a"}, {"i", "b"}, {"p", "d"}, {"q", "e"}};
        for (size_t i = 0; i < 4; i++) {
            char text[32];
            snprintf(text, sizeof text, "%s one x", pairs[i][0]);
            maker_node(&m, "Where", text, pairs[i][1]);
            maker_output(&m, pairs[i][1]);
        }
        iv_onnx_graph *onnx = onnx_load(&m, &F64);
        double in_row[] = {-1.5, 0, 0.3, INFINITY, -INFINITY, NAN};
        if (constant)
            for (int i = 0; i < 6; i++) in_row[i] = 7;
        double *got = onnx_forward(onnx, in_row);
        for (int which = 0; which < 4; which++)
            for (int i = 0; i < 6; i++) {
                bool true_here = which == 0   ? i == 5
                                 : which == 1 ? i == 3 || i == 4
                                 : which == 2 ? i == 3
                                              : i == 4;
                double y = got[which * 6 + i], want = true_here ? 1 : in_row[i];
                if (!(y == want || (isnan(y) && isnan(want))))
                    fail_msg("%d, %d: %g, not %g", which, i, y, want);
            }
        free(got);
        iv_onnx_free(onnx);
        maker_close(&m);
    }
    maker_open(&m, 17);
    MAKER_INPUT(&m, "x", 0, 3);
    maker_node(&m, "Erfc", "x", "a");
    maker_node(&m, "Expm1", "x", "b");
    maker_output(&m, "a");
    maker_output(&m, "b");
    iv_onnx_graph *onnx = onnx_load(&m, &F64);
    double want[6];
    for (int i = 0; i < 3; i++) {
        want[i] = erfc(x[i]);
        want[3 + i] = expm1(x[i]);
    }
    onnx_assert_outputs(onnx, x, want, 6, 1e-9);
    iv_onnx_free(onnx);
    maker_close(&m);
}

/* The sampling of keras.io's example, which tf2onnx leaves as TensorFlow's operator. */
static void test_keras_sampling(void **state)
{
    (void)state;
    static maker m;
    maker_open(&m, 17);
    MAKER_INPUT(&m, "x", 0, 2);
    maker_output(&m, "y");
    MAKER_INTS(&m, "zero", 0);
    MAKER_INTS(&m, "two", 2);
    MAKER_INTS(&m, "key", 11);
    maker_node(&m, "Shape", "x", "shape");
    maker_int(&m, maker_node(&m, "Gather", "shape zero", "n"), "axis", 0);
    maker_int(&m, maker_node(&m, "Concat", "n two", "wanted"), "axis", 0);
    maker_node(&m, "StatelessRandomNormalV2", "wanted key key key", "noise");
    maker_node(&m, "Exp", "x", "sigma");
    maker_node(&m, "Mul", "sigma noise", "spread");
    maker_node(&m, "Add", "x spread", "z");
    maker_node(&m, "Neg", "z", "y");
    iv_onnx_options options = F64;
    isovae_error err;
    iv_onnx_graph *onnx;
    assert_int_not_equal(maker_load(&m, NULL, &options, &onnx, &err), ISOVAE_OK);
    assert_non_null(strstr(err.message, "random numbers"));
    options.random_as_mean = true;
    onnx = onnx_load(&m, &options);
    onnx_assert_outputs(onnx, (const double[]){3, -5}, (const double[]){-3, 5}, 2, 1e-9);
    assert_int_equal(onnx->n_samplings, 1);
    assert_string_equal(onnx->samplings[0].mean, "x");
    assert_string_equal(onnx->samplings[0].deviation, "sigma");
    assert_string_equal(onnx->samplings[0].sample, "z");
    iv_onnx_free(onnx);
    maker_close(&m);
}

static void save(const maker *m, char *path)
{
    unsigned char *bytes;
    size_t n = maker_pack(m, &bytes);
    strcpy(path, "/tmp/isovae-frameworks-XXXXXX");
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, bytes, n), n);
    close(file);
    free(bytes);
}

/* Which of two outputs is the width, where the outputs are called Identity. */
static void test_heads_by_layer(void **state)
{
    (void)state;
    static maker m;
    static const struct {
        const char *layers[2], *outputs[2], *width;
        bool by_layer, first;
    } all[] = {{{"net/z_log_var_1/MatMul", "net/z_mean_1/MatMul"}, {"i0", "i1"}, "i0", true, false},
               {{"variational/mu", "variational/logvar"}, {"i0", "i1"}, "i1", true, true},
               {{"a", "b"}, {"variational_std", "variational_mean"}, "variational_std", 0, 0},
               {{"ReadVariableOp_1", "ReadVariableOp_2"}, {"i0", "i1"}, "i1", false, false},
               {{"ReadVariableOp_1", "ReadVariableOp_2"}, {"i0", "i1"}, "i0", false, true}};
    isovae_error err = {ISOVAE_OK, ""};
    iv_dataset *data;
    float rows[6] = {1, 2, 3, 4, 5, 6};
    const iv_data_view view = {.values = rows, .element = IV_VIEW_F32};
    ref_ok(iv_dataset_from_view(&view, 2, 3, &data, &err), &err);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char encoder[64], decoder[64], words[300];
        iv_onnx_vae vae = {0};
        iv_onnx_vae_options options;
        maker_open(&m, 17);
        MAKER_INPUT(&m, "x", 0, 3);
        maker_floats(&m, "w", 2, (const int64_t[]){3, 2}, 1);
        for (int k = 0; k < 2; k++) {
            char made[16];
            snprintf(made, sizeof made, "m%d", k);
            maker_node(&m, "MatMul", "x w", made)->name = maker_text(&m, all[i].layers[k]);
            maker_node(&m, "Identity", made, all[i].outputs[k]);
            maker_output(&m, all[i].outputs[k]);
        }
        save(&m, encoder);
        maker_close(&m);
        maker_open(&m, 17);
        MAKER_INPUT(&m, "z", 0, 2);
        maker_floats(&m, "w", 2, (const int64_t[]){2, 3}, 1);
        maker_node(&m, "MatMul", "z w", "out");
        maker_output(&m, "out");
        save(&m, decoder);
        maker_close(&m);
        iv_onnx_vae_options_init(&options);
        options.encoder = encoder;
        options.decoder = decoder;
        options.width_first = all[i].first;
        ref_ok(iv_onnx_vae_load(data, &options, &vae, &err), &err);
        bool layer = false, order = false, named = false;
        snprintf(words, sizeof words, "'%s'", all[i].width);
        for (size_t k = 0; k < vae.n_notes; k++) {
            const char *at = strstr(vae.notes[k], "by the name of its layer");
            layer = layer || at != NULL;
            order = order || strstr(vae.notes[k], "no name tells") != NULL;
            if (at != NULL) named = strncmp(vae.notes[k], words, strlen(words)) == 0;
            if (strstr(vae.notes[k], "no name tells") != NULL) {
                snprintf(words, sizeof words, "'%s' for the width", all[i].width);
                named = strstr(vae.notes[k], words) != NULL;
            }
        }
        assert_int_equal(layer, all[i].by_layer);
        assert_int_equal(order, i >= 3);
        assert_int_equal(named, i != 2);
        iv_model_free(vae.model);
        unlink(encoder);
        unlink(decoder);
    }
    iv_dataset_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_einsum),         cmocka_unit_test(test_einsum_refusals),
        cmocka_unit_test(test_gather_nd),      cmocka_unit_test(test_functions),
        cmocka_unit_test(test_keras_sampling), cmocka_unit_test(test_heads_by_layer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
