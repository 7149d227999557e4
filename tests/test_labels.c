/* Labels: the measures against cases worked out by hand and other formulas, and the readers. */
#include "support_data.h"

#include "data/labels.h"
#include "theory/labels.h"

#include <hdf5.h>
#include <matio.h>

static void near(double value, double expected)
{
    if (!(fabs(value - expected) < 1e-12)) fail_msg("%.17g, expected %.17g", value, expected);
}

/* ---- measures ---- */

static void test_r2(void **state)
{
    /* x: mean 2, deviations -1 0 1; label: mean 7/3, deviations -4/3 -1/3 5/3: r^2 = 3^2/(2 14/3)
     */
    static const double x[] = {1, 2, 3}, label[] = {1, 2, 4}, same[] = {5, 5, 5};
    static const double strided[] = {1, 9, 2, 9, 3, 9}, line[] = {7, 4, 1};
    (void)state;
    near(iv_label_r2(3, x, 1, label), 27.0 / 28.0);
    near(iv_label_r2(3, strided, 2, label), 27.0 / 28.0);
    near(iv_label_r2(3, x, 1, line), 1);
    assert_true(isnan(iv_label_r2(3, x, 1, same)));
    assert_true(isnan(iv_label_r2(3, same, 1, x)));
}

static void test_eta2(void **state)
{
    /* means 2 and 6 of all 4: between 2 (2^2 + 2^2) = 16, within 1 + 1 + 1 + 1 = 4 */
    static const double x[] = {1, 3, 5, 7}, same[] = {2, 2, 2, 2};
    static const size_t two[] = {0, 0, 1, 1}, one[] = {1, 1, 1, 1}, split[] = {0, 1, 1, 0};
    static const size_t gap[] = {0, 0, 3, 3};
    double room[8];
    (void)state;
    near(iv_label_eta2(4, x, 1, two, 2, room), 0.8);
    near(iv_label_eta2(4, x, 1, gap, 4, room), 0.8);
    near(iv_label_eta2(4, x, 1, split, 2, room), 0);
    assert_true(isnan(iv_label_eta2(4, x, 1, one, 2, room)));
    assert_true(isnan(iv_label_eta2(4, same, 1, two, 2, room)));
    near(iv_label_chance(101, 5), 0.04);
    near(iv_label_chance(101, 0), 0.01);
}

static void test_auroc(void **state)
{
    static const double x[] = {1, 2, 3, 4}, tied[] = {1, 2, 2, 3}, same[] = {2, 2, 2, 2};
    static const size_t apart[] = {0, 0, 1, 1}, mixed[] = {0, 1, 0, 1}, one[] = {0, 0, 0, 0};
    double a[2];
    isovae_error err;
    (void)state;
    assert_int_equal(iv_label_auroc(4, x, 1, apart, 2, a, &err), ISOVAE_OK);
    near(a[0], 0), near(a[1], 1);
    /* pairs (2 > 1) (2 < 3) (4 > 1) (4 > 3): 3 of 4 */
    assert_int_equal(iv_label_auroc(4, x, 1, mixed, 2, a, &err), ISOVAE_OK);
    near(a[0], 0.25), near(a[1], 0.75);
    /* (2 > 1) (2 = 2) (3 > 1) (3 > 2): 3.5 of 4 */
    assert_int_equal(iv_label_auroc(4, tied, 1, mixed, 2, a, &err), ISOVAE_OK);
    near(a[0], 0.125), near(a[1], 0.875);
    assert_int_equal(iv_label_auroc(4, same, 1, mixed, 2, a, &err), ISOVAE_OK);
    near(a[0], 0.5), near(a[1], 0.5);
    assert_int_equal(iv_label_auroc(4, x, 1, one, 2, a, &err), ISOVAE_OK);
    assert_true(isnan(a[0]) && isnan(a[1]));
}

/* Against all pairs, and against the regression on indicators (the mean of the class, each row). */
static void test_other_formulas(void **state)
{
    enum { N = 400, K = 5 };
    static double x[N];
    static size_t label[N];
    double a[K], room[2 * K], sum[K] = {0}, of[K] = {0}, mean = 0, within = 0, total = 0;
    uint64_t seed = 7;
    isovae_error err;
    (void)state;
    for (size_t i = 0; i < N; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        label[i] = (size_t)(seed >> 40) % K;
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        x[i] = (double)(seed >> 58) + 5.0 * (double)label[i]; /* many are equal */
        mean += x[i] / N;
        sum[label[i]] += x[i];
        of[label[i]]++;
    }
    for (size_t i = 0; i < N; i++) {
        double off = x[i] - sum[label[i]] / of[label[i]];
        within += off * off;
        total += (x[i] - mean) * (x[i] - mean);
    }
    assert_true(fabs(iv_label_eta2(N, x, 1, label, K, room) - (1 - within / total)) < 1e-10);
    assert_int_equal(iv_label_auroc(N, x, 1, label, K, a, &err), ISOVAE_OK);
    for (size_t c = 0; c < K; c++) {
        double won = 0, pairs = 0;
        for (size_t i = 0; i < N; i++) {
            for (size_t k = 0; k < N; k++) {
                if (label[i] != c || label[k] == c) continue;
                won += x[i] > x[k] ? 1 : x[i] == x[k] ? 0.5 : 0;
                pairs++;
            }
        }
        near(a[c], won / pairs);
    }
}

static void test_best(void **state)
{
    static const double auroc[] = {0.9, 0.05, NAN, 0.7}, none[] = {NAN, NAN};
    static const double alike[] = {0.3, 0.7};
    static const size_t rare[] = {10, 90}, common[] = {90, 10};
    static const size_t rows[] = {10, 10, 0, 80}, few[] = {96, 4, 0, 0}, nobody[] = {0, 100};
    (void)state;
    assert_int_equal(iv_label_best(100, 4, rows, auroc), 1);
    assert_int_equal(iv_label_best(100, 4, few, auroc), 4); /* four rows within, or without */
    assert_int_equal(iv_label_best(100, 2, nobody, none), 2);
    assert_int_equal(iv_label_best(100, 2, rare, alike), 0);
    assert_int_equal(iv_label_best(100, 2, common, alike), 1);
}

/* ---- readers ---- */

static iv_labels *must_label(const char *data, const char *spec, size_t rows)
{
    iv_data_options options;
    iv_labels *labels = NULL;
    isovae_error err = {ISOVAE_OK, ""};
    iv_data_options_init(&options);
    if (iv_labels_open(data, spec, &options, rows, &labels, &err) != ISOVAE_OK) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(labels->rows, rows);
    assert_string_equal(labels->source, spec);
    return labels;
}

static void must_not_label(const char *data, const char *spec, size_t rows, isovae_status status,
                           const char *piece)
{
    iv_data_options options;
    iv_labels *labels = (iv_labels *)1;
    isovae_error err = {ISOVAE_OK, ""};
    iv_data_options_init(&options);
    isovae_status got = iv_labels_open(data, spec, &options, rows, &labels, &err);
    if (got != status || strstr(err.message, piece) == NULL ||
        strncmp(err.message, "--labels: ", 10) != 0) {
        fail_msg("%d '%s': expected %d and '%s'", got, err.message, status, piece);
    }
    assert_null(labels);
}

static void classes_are(const iv_labels *labels, size_t n, const char *const *classes,
                        const double *codes)
{
    assert_int_equal(labels->n_classes, n);
    for (size_t i = 0; i < n; i++) assert_string_equal(labels->classes[i], classes[i]);
    for (size_t r = 0; r < labels->rows; r++) {
        assert_true(codes[r] < 0 ? isnan(labels->value[r]) : labels->value[r] == codes[r]);
    }
}

static void test_columns(void **state)
{
    static const char *const colors[] = {"blue", "red"}, *const codes[] = {"0", "2"};
    static const double of_color[] = {1, 0, -1, 1}, of_code[] = {1, 1, 0, -1};
    const char *path = scratch_text(*state, "a.csv",
                                    "size,color,code,\"a, b\",id\n1.5,red,2,7,a\n2,blue,2,7,b\n"
                                    "3,,0,7,c\n4,red,,7,d\n");
    iv_labels *labels = must_label(path, "color", 4);
    classes_are(labels, 2, colors, of_color);
    iv_labels_free(labels);
    labels = must_label(path, "3", 4);
    classes_are(labels, 2, codes, of_code);
    iv_labels_free(labels);
    labels = must_label(path, "size", 4);
    assert_int_equal(labels->n_classes, 0);
    assert_true(labels->value[0] == 1.5 && labels->value[3] == 4);
    iv_labels_free(labels);
    labels = must_label(path, "a, b", 4);
    assert_int_equal(labels->n_classes, 1);
    iv_labels_free(labels);
    must_not_label(path, "colour", 4, ISOVAE_ERR_ARGUMENT, "no column 'colour'");
    must_not_label(path, "6", 4, ISOVAE_ERR_ARGUMENT, "no column '6'");
    must_not_label(path, "color", 5, ISOVAE_ERR_DATA, "labels for 4 rows, the data have 5");
    must_not_label("toy:norm", "color", 5, ISOVAE_ERR_ARGUMENT, "give the labels as a file");
    must_not_label("-", "color", 5, ISOVAE_ERR_ARGUMENT, "give the labels as a file");
}

/* The label is no feature, whether a model is applied or not. */
static void test_left_out(void **state)
{
    static const double values[] = {1, 2, 3, 4}, part[] = {2, 4};
    const char *path = scratch_text(*state, "a.csv", "1,x,2\n3,y,4\n");
    iv_data_options options;
    iv_data_options_init(&options);
    options.labels = "2";
    iv_dataset *d = must_open(path, &options);
    assert_values(d, 2, 2, values);
    iv_dataset_free(d);
    options.drop = "1,2";
    d = must_open(path, &options);
    assert_values(d, 2, 1, part);
    iv_dataset_free(d);
    options.labels = "elsewhere";
    options.drop = "1";
    options.columns = "3";
    d = must_open(path, &options);
    assert_values(d, 2, 1, part);
    iv_dataset_free(d);
    options.labels = "3";
    must_fail(path, &options, ISOVAE_ERR_ARGUMENT, "--labels", "--columns");
}

static void test_files(void **state)
{
    scratch *s = *state;
    static const char *const words[] = {"a", "b"}, *const bytes[] = {"3", "7"};
    static const double of_words[] = {1, 0, 1}, of_bytes[] = {1, 0, 0};
    iv_labels *labels;
    const char *const texts[] = {"b\na\nb\n", "label\nb\na\nb\n", "\"b\"\na\n b \n"};
    for (size_t i = 0; i < 3; i++) {
        labels = must_label("absent.csv", scratch_text(s, "l.csv", texts[i]), 3);
        classes_are(labels, 2, words, of_words);
        iv_labels_free(labels);
    }
    char spec[300];
    snprintf(spec, sizeof spec, "%s:kind", scratch_text(s, "l.csv", "n,kind\n1,b\n2,a\n3,b\n"));
    labels = must_label("absent.csv", spec, 3);
    classes_are(labels, 2, words, of_words);
    iv_labels_free(labels);
    must_not_label("absent.csv", s->path, 3, ISOVAE_ERR_ARGUMENT, "there are 2 columns");
    labels = must_label("x", scratch_write(s, "l.idx", "\0\0\10\1\0\0\0\3\7\3\3", 11), 3);
    classes_are(labels, 2, bytes, of_bytes);
    iv_labels_free(labels);
    labels = must_label("x", scratch_gzip(s, "l.gz", "\0\0\10\1\0\0\0\3\7\3\3", 11), 3);
    classes_are(labels, 2, bytes, of_bytes);
    iv_labels_free(labels);
    must_not_label("x", s->path, 4, ISOVAE_ERR_DATA, "labels for 3 rows, the data have 4");
    iv_text npy = {0};
    const double values[] = {0.5, 1, 2};
    put_npy(&npy, 1, "<f8", "False", "(3,)", values, sizeof values);
    labels = must_label("x", scratch_write(s, "l.npy", npy.data, npy.length), 3);
    assert_int_equal(labels->n_classes, 0);
    assert_true(labels->value[0] == 0.5);
    iv_labels_free(labels);
    iv_text_free(&npy);
}

/* Whole numbers of few values are classes, others are numbers. */
static void test_kinds(void **state)
{
    double values[42];
    isovae_error err;
    (void)state;
    for (size_t n = 20; n <= 21; n++) {
        iv_labels *labels;
        for (size_t i = 0; i < 42; i++) values[i] = -(double)(i % n);
        assert_int_equal(iv_labels_from_numbers(values, 42, &labels, &err), ISOVAE_OK);
        assert_int_equal(labels->n_classes, n == 20 ? 20 : 0);
        if (n == 20) {
            assert_string_equal(labels->classes[0], "-19");
            assert_true(labels->value[0] == 19);
        }
        iv_labels_free(labels);
    }
    iv_labels *labels;
    char *classes[] = {"a", "b"};
    const double codes[] = {1, 2};
    assert_int_equal(iv_labels_from_codes(codes, 2, classes, 2, &labels, &err), ISOVAE_ERR_DATA);
    assert_null(labels);
    assert_non_null(strstr(err.message, "row 2 has the code 2, of 2 classes"));
}

static void test_beside_a_matrix(void **state)
{
    scratch *s = *state;
    static const char *const classes[] = {"0", "1"};
    static const double of_rows[] = {1, 0, 1};
    double x[] = {1, 2, 3, 4, 5, 6}, y[] = {1, 0, 1};
    size_t dims[] = {3, 2}, vector[] = {3, 1};
    scratch_text(s, "a.mat", "");
    mat_t *mat = Mat_CreateVer(s->path, NULL, MAT_FT_MAT5);
    matvar_t *v = Mat_VarCreate("X", MAT_C_DOUBLE, MAT_T_DOUBLE, 2, dims, x, 0);
    Mat_VarWrite(mat, v, MAT_COMPRESSION_ZLIB);
    Mat_VarFree(v);
    v = Mat_VarCreate("y", MAT_C_DOUBLE, MAT_T_DOUBLE, 2, vector, y, 0);
    Mat_VarWrite(mat, v, MAT_COMPRESSION_ZLIB);
    Mat_VarFree(v);
    Mat_Close(mat);
    char spec[300];
    snprintf(spec, sizeof spec, "%s:X", s->path);
    const char *const data[] = {s->path, spec};
    for (size_t i = 0; i < 2; i++) {
        iv_labels *labels = must_label(data[i], "y", 3);
        classes_are(labels, 2, classes, of_rows);
        iv_labels_free(labels);
        must_not_label(data[i], "z", 3, ISOVAE_ERR_ARGUMENT, "no variable 'z'");
        must_not_label(data[i], "X", 3, ISOVAE_ERR_ARGUMENT, "there are 2 columns");
    }
    snprintf(spec, sizeof spec, "%s:y", s->path);
    iv_labels *labels = must_label("other", spec, 3);
    classes_are(labels, 2, classes, of_rows);
    iv_labels_free(labels);
}

/* ---- HDF5 ---- */

static void put(hid_t at, const char *name, hid_t type, hsize_t n, const void *values)
{
    hid_t space = H5Screate_simple(1, &n, NULL);
    hid_t set = H5Dcreate2(at, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(set);
    H5Sclose(space);
}

/* The three layouts of a categorical column, texts, numbers and truth values. */
static void test_obs(void **state)
{
    scratch *s = *state;
    typedef struct row {
        int8_t kind;
        float depth;
    } row;
    static const char *const names[] = {"B cell", "T cell"}, *const words[] = {"x", "z"};
    static const char *const truth[] = {"0", "1"};
    static const double codes[] = {1, -1, 0}, of_words[] = {1, 0, 1}, of_truth[] = {1, 0, 1};
    const int8_t kind[] = {1, -1, 0}, wrong[] = {1, 2, 0}, yes[] = {1, 0, 1};
    const char *const free_words[] = {"z", "x", "z"};
    const float depth[] = {0.5f, 1.5f, 2.5f};
    for (int layout = 0; layout < 3; layout++) {
        scratch_text(s, "a.h5ad", "");
        hid_t file = H5Fcreate(s->path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
        hid_t text = H5Tcopy(H5T_C_S1), fixed = H5Tcopy(H5T_C_S1), obs = -1, group;
        H5Tset_size(text, H5T_VARIABLE);
        H5Tset_size(fixed, 8);
        hid_t boolean = H5Tenum_create(H5T_NATIVE_INT8);
        for (int8_t i = 0; i < 2; i++) H5Tenum_insert(boolean, i == 0 ? "FALSE" : "TRUE", &i);
        if (layout == 0) {
            const row rows[] = {{1, 0.5f}, {-1, 1.5f}, {0, 2.5f}};
            hid_t type = H5Tcreate(H5T_COMPOUND, sizeof(row));
            H5Tinsert(type, "kind", HOFFSET(row, kind), H5T_NATIVE_INT8);
            H5Tinsert(type, "depth", HOFFSET(row, depth), H5T_NATIVE_FLOAT);
            put(file, "obs", type, 3, rows);
            H5Tclose(type);
            group = H5Gcreate2(file, "uns", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
            put(group, "kind_categories", fixed, 2, "B cell\0\0T cell\0");
            H5Gclose(group);
        } else {
            obs = H5Gcreate2(file, "obs", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
            if (layout == 1) {
                put(obs, "kind", H5T_NATIVE_INT8, 3, kind);
                group = H5Gcreate2(obs, "__categories", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
                put(group, "kind", text, 2, names);
            } else {
                group = H5Gcreate2(obs, "kind", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
                put(group, "codes", H5T_NATIVE_INT8, 3, kind);
                put(group, "categories", text, 2, names);
            }
            H5Gclose(group);
            group = H5Gcreate2(obs, "wrong", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
            put(group, "codes", H5T_NATIVE_INT8, 3, wrong);
            put(group, "categories", text, 2, names);
            H5Gclose(group);
            put(obs, "depth", H5T_NATIVE_FLOAT, 3, depth);
            put(obs, "word", text, 3, free_words);
            put(obs, "yes", boolean, 3, yes);
            H5Gclose(obs);
        }
        H5Tclose(text);
        H5Tclose(fixed);
        H5Tclose(boolean);
        H5Fclose(file);
        static const char *const specs[] = {"kind", "obs/kind", "/obs/kind"};
        for (size_t i = 0; i < 3; i++) {
            iv_labels *labels = must_label(s->path, specs[i], 3);
            classes_are(labels, 2, names, codes);
            iv_labels_free(labels);
        }
        iv_labels *labels = must_label(s->path, "depth", 3);
        assert_int_equal(labels->n_classes, 0);
        assert_true(labels->value[2] == 2.5);
        iv_labels_free(labels);
        must_not_label(s->path, "other", 3, ISOVAE_ERR_ARGUMENT, "no 'other'");
        must_not_label(s->path, s->path, 3, ISOVAE_ERR_ARGUMENT, "name the labels");
        if (layout == 0) continue;
        labels = must_label(s->path, "word", 3);
        classes_are(labels, 2, words, of_words);
        iv_labels_free(labels);
        labels = must_label(s->path, "yes", 3);
        classes_are(labels, 2, truth, of_truth);
        iv_labels_free(labels);
        must_not_label(s->path, "wrong", 3, ISOVAE_ERR_DATA, "has the code 2, of 2 classes");
        must_not_label(s->path, "obs", 3, ISOVAE_ERR_ARGUMENT, "group without labels");
    }
}

static void test_real(void **state)
{
    char path[512], labels_path[512];
    (void)state;
    if (real_data("pbmc68k_reduced/10x_pbmc68k_reduced.h5ad", path, sizeof path) == NULL) skip();
    static const char *const specs[] = {"/obs/bulk_labels", "louvain"};
    for (size_t i = 0; i < 2; i++) {
        iv_labels *labels = must_label(path, specs[i], 700);
        assert_int_equal(labels->n_classes, i == 0 ? 10 : 11);
        if (i == 0) assert_string_equal(labels->classes[0], "CD4+/CD25 T Reg");
        for (size_t r = 0; r < 700; r++) assert_false(isnan(labels->value[r]));
        iv_labels_free(labels);
    }
    if (real_data("mnist/t10k-labels-idx1-ubyte.gz", labels_path, sizeof labels_path) == NULL)
        skip();
    iv_labels *labels = must_label("x", labels_path, 10000);
    size_t sevens = 0;
    for (size_t r = 0; r < 10000; r++) sevens += labels->value[r] == 7;
    assert_int_equal(labels->n_classes, 10);
    assert_int_equal(sevens, 1028);
    iv_labels_free(labels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_r2),
        cmocka_unit_test(test_eta2),
        cmocka_unit_test(test_auroc),
        cmocka_unit_test(test_other_formulas),
        cmocka_unit_test(test_best),
        cmocka_unit_test_setup_teardown(test_columns, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_left_out, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_files, scratch_open, scratch_close),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test_setup_teardown(test_beside_a_matrix, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_obs, scratch_open, scratch_close),
        cmocka_unit_test(test_real),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
