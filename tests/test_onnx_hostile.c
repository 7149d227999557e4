/* What the ONNX reader refuses: a clear error, nothing left behind, bounded memory and time. */
#include "support_onnx.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static const iv_onnx_options F64 = {.dtype = IV_F64};

/* The load fails, and its message holds `words`. */
static void refused(const maker *m, const char *folder, const iv_onnx_options *options,
                    const char *words)
{
    isovae_error err = {ISOVAE_OK, ""};
    iv_onnx_graph *onnx;
    isovae_status status = maker_load(m, folder, options, &onnx, &err);
    assert_int_not_equal(status, ISOVAE_OK);
    assert_null(onnx);
    if (strstr(err.message, words) == NULL) fail_msg("'%s' is not in: %s", words, err.message);
}

static void open_with(maker *m, int64_t opset)
{
    maker_open(m, opset);
    MAKER_INPUT(m, "x", 0, 2, 3);
    maker_output(m, "y");
}

static void test_what_is_not_known(void **state)
{
    (void)state;
    static maker m;
    static const struct {
        int64_t opset;
        const char *op, *words;
    } all[] = {{17, "FooBar", "node 'FooBar_0' (FooBar): operator FooBar is not supported"},
               {17, "Gelu", "from opset 20"},
               {17, "Upsample", "up to opset 9"},
               {3, "Relu", "opset 3"},
               {99, "Relu", "opset 99"},
               {17, "Add", "1 inputs"}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        open_with(&m, all[i].opset);
        maker_node(&m, all[i].op, "x", "y");
        refused(&m, NULL, &F64, all[i].words);
        maker_close(&m);
    }
    open_with(&m, 17);
    maker_node(&m, "Gelu", "x", "y")->domain = maker_text(&m, "com.other");
    refused(&m, NULL, &F64, "com.other");
    maker_close(&m);
}

static void test_names_and_order(void **state)
{
    (void)state;
    static maker m;
    static const struct {
        const char *first[3], *second[3], *words;
    } all[] = {{{"Relu", "b", "a"}, {"Relu", "a", "b"}, "cycle"},
               {{"Relu", "a", "y"}, {"Relu", "x", "a"}, "wrong order"},
               {{"Relu", "x", "a"}, {"Relu", "x", "a"}, "made twice"},
               {{"Relu", "none", "y"}, {"Relu", "x", "a"}, "nothing makes"},
               {{"Relu", "x", "a"}, {"Relu", "x", "b"}, "no tensor 'y'"}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        open_with(&m, 17);
        maker_node(&m, all[i].first[0], all[i].first[1], all[i].first[2]);
        maker_node(&m, all[i].second[0], all[i].second[1], all[i].second[2]);
        if (i == 0) maker_node(&m, "Abs", "a", "y");
        refused(&m, NULL, &F64, all[i].words);
        maker_close(&m);
    }
    open_with(&m, 17);
    maker_node(&m, "Relu", "y", "y"); /* itself */
    refused(&m, NULL, &F64, "cycle");
    maker_close(&m);
}

/* What would mix rows of the batch, and shapes that contradict each other. */
static void test_batch_and_shapes(void **state)
{
    (void)state;
    static maker m;
    static const struct {
        const char *op, *inputs, *attribute;
        int64_t value;
        const char *words;
    } all[] = {{"Concat", "x x", "axis", 0, "batch"},
               {"Softmax", "x", "axis", 0, "batch"},
               {"Gather", "x zero", "axis", 0, "batch"},
               {"ReduceSum", "x zero", "keepdims", 0, "batch"},
               {"Split", "x", "axis", 0, "2 outputs"},
               {"Flatten", "x", "axis", 0, NULL}, /* merges, mixes nothing */
               {"MatMul", "x w", NULL, 0, "cannot be multiplied"},
               {"Add", "x w", NULL, 0, "[B,2,3] and [2,2]"},
               {"Reshape", "x five", NULL, 0, "do not agree"},
               {"Unsqueeze", "x ten", NULL, 0, "axis 10"},
               {"Transpose", "x", "perm", 0, NULL},
               {"Conv", "x w", NULL, 0, "does not go with"},
               {"Slice", "x zero one zero", NULL, 0, "rows of the batch"},
               {"Pad", "x five", NULL, 0, "pads"},
               {"Tile", "x tiles", NULL, 0, "repeats rows"},
               {"Einsum", "x", NULL, 0, "equation"},
               {"Resize", "x - scales", NULL, 0, "out of range"}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        open_with(&m, 13);
        maker_floats(&m, "w", 2, (const int64_t[]){2, 2}, 1);
        maker_floats(&m, "scales", 1, (const int64_t[]){3}, -1);
        MAKER_INTS(&m, "zero", 0);
        MAKER_INTS(&m, "one", 1);
        MAKER_INTS(&m, "ten", 10);
        MAKER_INTS(&m, "five", -1, 5);
        MAKER_INTS(&m, "tiles", 2, 1, 1);
        Onnx__NodeProto *node =
            maker_node(&m, all[i].op, all[i].inputs, strcmp(all[i].op, "Split") ? "y" : "y z");
        if (strcmp(all[i].op, "Split") == 0) {
            maker_int(&m, node, "num_outputs", 3);
        } else if (all[i].attribute != NULL && strcmp(all[i].attribute, "perm") != 0) {
            maker_int(&m, node, all[i].attribute, all[i].value);
        }
        if (all[i].words == NULL) {
            iv_onnx_graph *onnx;
            isovae_error err;
            if (maker_load(&m, NULL, &F64, &onnx, &err) != ISOVAE_OK) fail_msg("%s", err.message);
            iv_onnx_free(onnx);
        } else {
            refused(&m, NULL, &F64, all[i].words);
        }
        maker_close(&m);
    }
}

static void test_tensors(void **state)
{
    (void)state;
    static maker m;
    static const struct {
        int32_t type;
        int64_t dims[2];
        size_t bytes;
        const char *words;
    } all[] = {
        {ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, {1LL << 40, 1LL << 40}, 8, "too large"},
        {ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, {1LL << 28, 1LL << 8}, 8, "its shape says"},
        {ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, {2, 3}, 23, "its shape says"},
        {ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, {-2, -3}, 24, "negative"},
        {ONNX__TENSOR_PROTO__DATA_TYPE__STRING, {2, 3}, 24, "type 8"},
        {77, {2, 3}, 24, "type 77"},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        open_with(&m, 17);
        static const char bytes[32] = {0};
        maker_raw(&m, maker_tensor(&m, "c", all[i].type, 2, all[i].dims), bytes, all[i].bytes);
        maker_node(&m, "Add", "x c", "y");
        refused(&m, NULL, &F64, all[i].words);
        maker_close(&m);
    }
}

static void test_memory_and_work(void **state)
{
    (void)state;
    static maker m;
    iv_onnx_options small = F64;
    small.memory_limit = (size_t)64 << 20;
    small.work_limit = (size_t)1 << 20;
    open_with(&m, 17);
    MAKER_INTS(&m, "shape", 50000, 50000);
    maker_node(&m, "ConstantOfShape", "shape", "c");
    maker_node(&m, "Add", "x c", "y");
    refused(&m, NULL, &F64, "MiB"); /* the default limit */
    refused(&m, NULL, &small, "operations");
    maker_close(&m);
    open_with(&m, 17);
    MAKER_INTS(&m, "shape", 100000, 1000000);
    maker_node(&m, "ConstantOfShape", "shape", "c");
    maker_node(&m, "Add", "x c", "y");
    refused(&m, NULL, &F64, "operations");
    maker_close(&m);
    /* doubling again and again */
    open_with(&m, 17);
    MAKER_INTS(&m, "two", 2);
    maker_floats(&m, "c0", 1, (const int64_t[]){4096}, 1);
    for (int i = 0; i < 40; i++) {
        char from[16], to[16], pair[40];
        snprintf(from, sizeof from, "c%d", i);
        snprintf(to, sizeof to, "c%d", i + 1);
        snprintf(pair, sizeof pair, "%s two", from);
        maker_node(&m, "Tile", pair, to);
    }
    maker_node(&m, "Add", "x c40", "y");
    refused(&m, NULL, &small, "operations");
    maker_close(&m);
    /* a row that repeats itself without end */
    open_with(&m, 17);
    MAKER_INTS(&m, "tiles", 1, 1000000, 1000000);
    maker_node(&m, "Tile", "x tiles", "y");
    refused(&m, NULL, &small, "operations");
    refused(&m, NULL, &F64, "are the most");
    maker_close(&m);
}

static void test_damaged_files(void **state)
{
    (void)state;
    static maker m;
    isovae_error err;
    iv_onnx_graph *onnx;
    unsigned char *data;
    open_with(&m, 17);
    maker_node(&m, "Relu", "x", "y");
    size_t n = maker_pack(&m, &data);
    size_t good = 0;
    for (size_t i = 0; i < n; i++) { /* cut off: most often no message, never a crash */
        if (iv_onnx_load_memory(data, i, "cut.onnx", NULL, &F64, &onnx, &err) == ISOVAE_OK) {
            iv_onnx_free(onnx);
            good++;
        } else {
            assert_non_null(strstr(err.message, "cut.onnx"));
        }
    }
    assert_true(good < n / 4);
    free(data);
    maker_close(&m);
    /* graphs within attributes within nodes, deeper than any stack */
    enum { LEVELS = 20000 };
    unsigned char *deep = malloc(LEVELS * 24), *at = deep + LEVELS * 24;
    assert_non_null(deep);
    size_t length = 0;
    static const unsigned char keys[] = {6 << 3 | 2, 5 << 3 | 2, 1 << 3 | 2};
    for (size_t i = 0; i < 3 * LEVELS; i++) { /* from the inside: g, attribute, node */
        unsigned char head[8], bytes = 0;
        head[bytes++] = keys[i % 3];
        for (size_t left = length; left > 0 || bytes == 1; left >>= 7) {
            head[bytes++] = (unsigned char)((left & 0x7f) | (left >> 7 ? 0x80 : 0));
        }
        at -= bytes;
        memcpy(at, head, bytes);
        length += bytes;
    }
    unsigned char *file = malloc(length + 8);
    assert_non_null(file);
    size_t bytes = 0;
    file[bytes++] = 7 << 3 | 2; /* the graph of the model */
    for (size_t left = length; left > 0; left >>= 7) {
        file[bytes++] = (unsigned char)((left & 0x7f) | (left >> 7 ? 0x80 : 0));
    }
    memcpy(file + bytes, at, length);
    assert_int_equal(
        iv_onnx_load_memory(file, bytes + length, "deep.onnx", NULL, &F64, &onnx, &err),
        ISOVAE_ERR_FORMAT);
    assert_non_null(strstr(err.message, "nested"));
    free(file);
    free(deep);
    /* empty messages, of two bytes each in the file and some hundred in memory */
    enum { MANY = 4 << 20 };
    unsigned char *many = malloc(2 * MANY + 8);
    assert_non_null(many);
    bytes = 0;
    many[bytes++] = 7 << 3 | 2;
    for (size_t left = 2 * MANY; left > 0; left >>= 7) {
        many[bytes++] = (unsigned char)((left & 0x7f) | (left >> 7 ? 0x80 : 0));
    }
    for (size_t i = 0; i < MANY; i++) {
        many[bytes++] = 5 << 3 | 2; /* an initialiser */
        many[bytes++] = 0;
    }
    assert_int_equal(iv_onnx_load_memory(many, bytes, "many.onnx", NULL, &F64, &onnx, &err),
                     ISOVAE_ERR_FORMAT);
    assert_non_null(strstr(err.message, "in memory"));
    free(many);
}

static void write_file(const char *path, size_t floats)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (size_t i = 0; i < floats; i++) {
        float value = (float)i;
        assert_int_equal(fwrite(&value, sizeof value, 1, file), 1);
    }
    fclose(file);
}

static void test_external_data(void **state)
{
    (void)state;
    static maker m;
    char folder[] = "/tmp/isovae-onnx-XXXXXX", model[64], inside[64], outside[64], path[96];
    assert_non_null(mkdtemp(folder));
    snprintf(model, sizeof model, "%s/model", folder);
    snprintf(inside, sizeof inside, "%s/model/w.bin", folder);
    snprintf(outside, sizeof outside, "%s/secret.bin", folder);
    assert_int_equal(mkdir(model, 0700), 0);
    write_file(inside, 8);
    write_file(outside, 8);
    snprintf(path, sizeof path, "%s/leaves", model);
    assert_int_equal(symlink("../secret.bin", path), 0);
    snprintf(path, sizeof path, "%s/stays", model);
    assert_int_equal(symlink("w.bin", path), 0);
    snprintf(path, sizeof path, "%s/up", model);
    assert_int_equal(symlink("..", path), 0);
    snprintf(path, sizeof path, "%s/pipe", model);
    assert_int_equal(mkfifo(path, 0600), 0);
    const struct {
        const char *location, *offset, *length, *words;
    } all[] = {{"w.bin", "4", "24", NULL},
               {"./w.bin", NULL, NULL, NULL},
               {"stays", "8", NULL, NULL},
               {"../secret.bin", NULL, NULL, "beside"},
               {"a/../../secret.bin", NULL, NULL, "beside"},
               {outside, NULL, NULL, "beside"},
               {"", NULL, NULL, "beside"},
               {"leaves", NULL, NULL, "link that leaves"},
               {"up/secret.bin", NULL, NULL, "link that leaves"},
               {"missing", NULL, NULL, "not there"},
               {".", NULL, NULL, "leaves"},
               {"pipe", NULL, NULL, "cannot be read as a file"},
               {"w.bin", "12", NULL, "shorter"},
               {"w.bin", "18446744073709551612", NULL, "contradicts"},
               {"w.bin", "-4", NULL, "contradicts"},
               {"w.bin", "0", "23", "contradicts"},
               {NULL, "0", "24", "contradicts"}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        maker_open(&m, 17);
        MAKER_INPUT(&m, "x", 0, 2, 3);
        maker_output(&m, "y");
        Onnx__TensorProto *t =
            maker_tensor(&m, "w", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 2, (int64_t[]){2, 3});
        t->has_data_location = true;
        t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
        t->external_data = maker_take(&m, 3 * sizeof *t->external_data);
        const char *const keys[] = {"location", "offset", "length"};
        const char *const values[] = {all[i].location, all[i].offset, all[i].length};
        for (size_t k = 0; k < 3; k++) {
            if (values[k] == NULL) continue;
            Onnx__StringStringEntryProto *entry = maker_take(&m, sizeof *entry);
            onnx__string_string_entry_proto__init(entry);
            entry->key = maker_text(&m, keys[k]);
            entry->value = maker_text(&m, values[k]);
            t->external_data[t->n_external_data++] = entry;
        }
        maker_node(&m, "Add", "x w", "y");
        if (all[i].words != NULL) {
            refused(&m, model, &F64, all[i].words);
            refused(&m, NULL, &F64, i >= 12 || i < 3 || i > 6 ? "" : "beside");
        } else {
            unsigned char *data; /* from a file, so that its folder is found */
            size_t n = maker_pack(&m, &data);
            iv_onnx_graph *onnx;
            isovae_error err;
            snprintf(path, sizeof path, "%s/m.onnx", model);
            FILE *file = fopen(path, "wb");
            assert_non_null(file);
            assert_int_equal(fwrite(data, 1, n, file), n);
            fclose(file);
            free(data);
            if (iv_onnx_load(path, &F64, &onnx, &err) != ISOVAE_OK) fail_msg("%s", err.message);
            double *got = onnx_forward(onnx, (const double[]){0, 0, 0, 0, 0, 0});
            for (int k = 0; k < 6; k++) assert_true(got[k] == k + (i == 0 ? 1 : i == 2 ? 2 : 0));
            free(got);
            iv_onnx_free(onnx);
            refused(&m, NULL, &F64, "file of its own");
        }
        maker_close(&m);
    }
    static const char *const names[] = {"model/leaves", "model/stays", "model/up",
                                        "model/pipe",   "model/w.bin", "model/m.onnx",
                                        "secret.bin",   "model",       ""};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        assert_int_equal(remove(path), 0);
    }
}

/* A function that calls itself. */
static void test_recursion(void **state)
{
    (void)state;
    static maker m, body;
    open_with(&m, 17);
    maker_open(&body, 17);
    maker_node(&body, "Mine", "a", "b");
    Onnx__FunctionProto f, *functions[] = {&f};
    char *in[] = {maker_text(&body, "a")}, *out[] = {maker_text(&body, "b")};
    onnx__function_proto__init(&f);
    f.name = maker_text(&body, "Mine");
    f.n_input = f.n_output = f.n_node = 1;
    f.input = in;
    f.output = out;
    f.node = body.nodes;
    m.model.functions = functions;
    m.model.n_functions = 1;
    maker_node(&m, "Mine", "x", "y");
    refused(&m, NULL, &F64, "nested too deep");
    maker_close(&body);
    maker_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_not_known), cmocka_unit_test(test_names_and_order),
        cmocka_unit_test(test_batch_and_shapes),  cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_memory_and_work),   cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_external_data),     cmocka_unit_test(test_recursion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
