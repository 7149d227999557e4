/* MATLAB files: written here with libmatio and byte by byte, read by the reader; then damaged. */
#include "support_data.h"

#include "data/mat_file.h"
#include "data/reader.h"

#include <matio.h>

/* ---- writing ---- */

static const char *scratch_place(scratch *s, const char *name)
{
    if (s->path[0] != '\0') unlink(s->path);
    snprintf(s->path, sizeof s->path, "%s/%s", s->folder, name);
    return s->path;
}

static mat_t *mat_new(scratch *s, enum mat_ft version)
{
    mat_t *mat = Mat_CreateVer(scratch_place(s, "a.mat"), NULL, version);
    assert_non_null(mat);
    return mat;
}

static void put(mat_t *mat, const char *name, enum matio_classes class, enum matio_types type,
                size_t rows, size_t cols, void *data, int flags, bool packed)
{
    size_t dims[] = {rows, cols};
    matvar_t *var = Mat_VarCreate(name, class, type, 2, dims, data, flags);
    assert_non_null(var);
    assert_int_equal(Mat_VarWrite(mat, var, packed ? MAT_COMPRESSION_ZLIB : MAT_COMPRESSION_NONE),
                     0);
    Mat_VarFree(var);
}

static void put_doubles(mat_t *mat, const char *name, size_t rows, size_t cols, double *data,
                        bool packed)
{
    put(mat, name, MAT_C_DOUBLE, MAT_T_DOUBLE, rows, cols, data, 0, packed);
}

static const char *with_key(const scratch *s, const char *key)
{
    static char spec[256];
    snprintf(spec, sizeof spec, "%s:%s", s->path, key);
    return spec;
}

static void expect(const char *spec, size_t rows, size_t cols, const double *values)
{
    iv_dataset *d = must_open(spec, NULL);
    assert_values(d, rows, cols, values);
    assert_false(d->named);
    iv_dataset_free(d);
}

static double by_columns[] = {1, 2, 3, 0.5, -0.25, 4e10};
static const double by_rows[] = {1, 0.5, 2, -0.25, 3, 4e10};

static const struct {
    enum mat_ft version;
    bool packed;
} forms[] = {
    {MAT_FT_MAT5, false}, {MAT_FT_MAT5, true}, {MAT_FT_MAT73, false}, {MAT_FT_MAT73, true}};
enum { N_FORMS = sizeof forms / sizeof forms[0] };

static void test_columns_become_rows(void **state)
{
    scratch *s = *state;
    double y[] = {1, 0, 1};
    for (size_t i = 0; i < N_FORMS; i++) {
        mat_t *mat = mat_new(s, forms[i].version);
        put_doubles(mat, "y", 3, 1, y, forms[i].packed);
        put_doubles(mat, "X", 3, 2, by_columns, forms[i].packed);
        Mat_Close(mat);
        expect(s->path, 3, 2, by_rows);
        expect(with_key(s, "X"), 3, 2, by_rows);
        expect(with_key(s, "y"), 3, 1, y);
    }
}

/* One matrix; one with more than one row and column; X; else a question. */
static void test_choice(void **state)
{
    scratch *s = *state;
    double y[] = {1, 0, 1};
    char text[] = "abcdef";
    for (size_t i = 0; i < N_FORMS; i++) {
        bool old = forms[i].version == MAT_FT_MAT5;
        mat_t *mat = mat_new(s, forms[i].version);
        put(mat, "remark", MAT_C_CHAR, MAT_T_UINT8, 2, 3, text, 0, forms[i].packed);
        put_doubles(mat, "rates", 3, 2, by_columns, forms[i].packed);
        Mat_Close(mat);
        expect(s->path, 3, 2, by_rows);
        must_fail(with_key(s, "remark"), NULL, ISOVAE_ERR_DATA, "'remark' is of class char",
                  "name a matrix of numbers");
        must_fail(with_key(s, "rate"), NULL, ISOVAE_ERR_ARGUMENT, "there is no",
                  old ? "remark 2x3 char, rates 3x2 double" : "'rate'");

        mat = mat_new(s, forms[i].version);
        put_doubles(mat, "rates", 3, 2, by_columns, forms[i].packed);
        put_doubles(mat, "y", 3, 1, y, forms[i].packed);
        Mat_Close(mat);
        expect(s->path, 3, 2, by_rows);

        mat = mat_new(s, forms[i].version);
        put_doubles(mat, "rates", 3, 2, by_columns, forms[i].packed);
        put_doubles(mat, "sums", 2, 3, by_columns, forms[i].packed);
        Mat_Close(mat);
        must_fail(s->path, NULL, ISOVAE_ERR_ARGUMENT, "rates 3x2", "sums 2x3");

        mat = mat_new(s, forms[i].version);
        put(mat, "remark", MAT_C_CHAR, MAT_T_UINT8, 2, 3, text, 0, forms[i].packed);
        Mat_Close(mat);
        must_fail(s->path, NULL, ISOVAE_ERR_DATA, old ? "no variable is a matrix" : "no array",
                  NULL);
    }
}

static void test_classes(void **state)
{
    scratch *s = *state;
    float f32[] = {1.5f, -2, 3, 4};
    int8_t i8[] = {-128, 127, 0, 1};
    uint8_t u8[] = {255, 0, 7, 1};
    int16_t i16[] = {-32768, 32767, 0, 1};
    uint16_t u16[] = {65535, 0, 7, 1};
    int32_t i32[] = {-8388608, 2, 0, 1};
    uint32_t u32[] = {1u << 31, 0, 7, 1};
    int64_t i64[] = {-(INT64_C(1) << 40), 2, 0, 1};
    uint64_t u64[] = {UINT64_C(1) << 63, 0, 7, 1};
    uint8_t truth[] = {1, 0, 0, 1};
    const struct {
        const char *name;
        enum matio_classes class;
        enum matio_types type;
        void *data;
        int flags;
        double expected[4]; /* by rows */
    } all[] = {{"a", MAT_C_SINGLE, MAT_T_SINGLE, f32, 0, {1.5, 3, -2, 4}},
               {"b", MAT_C_INT8, MAT_T_INT8, i8, 0, {-128, 0, 127, 1}},
               {"c", MAT_C_UINT8, MAT_T_UINT8, u8, 0, {255, 7, 0, 1}},
               {"d", MAT_C_INT16, MAT_T_INT16, i16, 0, {-32768, 0, 32767, 1}},
               {"e", MAT_C_UINT16, MAT_T_UINT16, u16, 0, {65535, 7, 0, 1}},
               {"f", MAT_C_INT32, MAT_T_INT32, i32, 0, {-8388608, 0, 2, 1}},
               {"g", MAT_C_UINT32, MAT_T_UINT32, u32, 0, {0x1p31, 7, 0, 1}},
               {"h", MAT_C_INT64, MAT_T_INT64, i64, 0, {-0x1p40, 0, 2, 1}},
               {"i", MAT_C_UINT64, MAT_T_UINT64, u64, 0, {0x1p63, 7, 0, 1}},
               {"j", MAT_C_UINT8, MAT_T_UINT8, truth, MAT_F_LOGICAL, {1, 0, 0, 1}}};
    for (size_t i = 0; i < N_FORMS; i++) {
        for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
            mat_t *mat = mat_new(s, forms[i].version);
            put(mat, all[k].name, all[k].class, all[k].type, 2, 2, all[k].data, all[k].flags,
                forms[i].packed);
            Mat_Close(mat);
            expect(s->path, 2, 2, all[k].expected);
        }
    }
}

static void test_complex_is_refused(void **state)
{
    scratch *s = *state;
    double re[] = {1, 2, 3, 4}, im[] = {5, 6, 7, 8};
    mat_complex_split_t z = {re, im};
    mat_t *mat = mat_new(s, MAT_FT_MAT5);
    put(mat, "z", MAT_C_DOUBLE, MAT_T_DOUBLE, 2, 2, &z, MAT_F_COMPLEX, false);
    Mat_Close(mat);
    must_fail(s->path, NULL, ISOVAE_ERR_DATA, "z 2x2 complex", NULL);
    must_fail(with_key(s, "z"), NULL, ISOVAE_ERR_DATA, "of class complex", NULL);
}

static void test_sparse(void **state)
{
    scratch *s = *state;
    mat_uint32_t ir[] = {0, 2, 1}, jc[] = {0, 2, 2, 3};
    double values[] = {1.5, -2, 4};
    mat_sparse_t sparse = {
        .nzmax = 3, .ir = ir, .nir = 3, .jc = jc, .njc = 4, .ndata = 3, .data = values};
    const double expected[] = {1.5, 0, 0, 0, 0, 4, -2, 0, 0, 0, 0, 0};
    for (size_t i = 0; i < N_FORMS; i++) {
        mat_t *mat = mat_new(s, forms[i].version);
        put(mat, "S", MAT_C_SPARSE, MAT_T_DOUBLE, 4, 3, &sparse, 0, forms[i].packed);
        Mat_Close(mat);
        expect(s->path, 4, 3, expected);
        expect(with_key(s, "S"), 4, 3, expected);
    }
    /* indices that lead out of the matrix */
    for (size_t i = 0; i < 2; i++) {
        ir[1] = 4;
        mat_t *mat = mat_new(s, forms[i].version);
        put(mat, "S", MAT_C_SPARSE, MAT_T_DOUBLE, 4, 3, &sparse, 0, forms[i].packed);
        Mat_Close(mat);
        must_fail(s->path, NULL, ISOVAE_ERR_DATA, "an index is 4, but must be 0 to 3", NULL);
        ir[1] = 2;
    }
}

/* ---- byte by byte ---- */

typedef struct bytes {
    unsigned char data[1024];
    size_t length;
    bool big;
} bytes;

static void put_word(bytes *b, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        b->data[b->length++] = (unsigned char)(value >> 8 * (b->big ? 3 - i : i));
    }
}

static void put_double(bytes *b, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, 8);
    for (int i = 0; i < 8; i++) {
        b->data[b->length++] = (unsigned char)(bits >> 8 * (b->big ? 7 - i : i));
    }
}

static void header(bytes *b, bool big)
{
    *b = (bytes){.length = 128, .big = big};
    memset(b->data, ' ', 124);
    memcpy(b->data, "MATLAB", 6);
    memcpy(b->data + 124, big ? "\1\0MI" : "\0\1IM", 4);
}

/* What a matrix promises, and what it holds. */
typedef struct matrix {
    uint32_t class, rows, cols, type, value_bytes, n_values;
} matrix;

static void put_matrix(bytes *b, const matrix *m)
{
    size_t tag = b->length;
    put_word(b, 14);
    put_word(b, 0);
    put_word(b, 6), put_word(b, 8), put_word(b, m->class), put_word(b, 0);
    put_word(b, 5), put_word(b, 8), put_word(b, m->rows), put_word(b, m->cols);
    put_word(b, 1 << 16 | 1); /* a name of one byte, within its tag */
    memcpy(b->data + b->length, "X\0\0\0", 4);
    b->length += 4;
    put_word(b, m->type), put_word(b, m->value_bytes);
    for (size_t i = 0; i < m->n_values; i++) put_double(b, (double)i + 0.5);
    size_t end = b->length;
    b->length = tag + 4;
    put_word(b, (uint32_t)(end - tag - 8));
    b->length = end;
}

static const matrix good = {6, 2, 3, 9, 48, 6};

static void refuse(scratch *s, const matrix *m, isovae_status status, const char *piece)
{
    for (int big = 0; big < 2; big++) {
        bytes b;
        header(&b, big == 1);
        put_matrix(&b, m);
        must_fail(scratch_write(s, "a.dat", b.data, b.length), NULL, status, piece, NULL);
    }
}

static void test_either_byte_order(void **state)
{
    scratch *s = *state;
    const double expected[] = {0.5, 2.5, 4.5, 1.5, 3.5, 5.5};
    for (int big = 0; big < 2; big++) {
        bytes b;
        header(&b, big == 1);
        put_matrix(&b, &good);
        expect(scratch_write(s, "any.name", b.data, b.length), 2, 3, expected);
    }
}

static void test_sizes_are_not_believed(void **state)
{
    scratch *s = *state;
    matrix m = good;
    m.rows = 3;
    refuse(s, &m, ISOVAE_ERR_DATA, "not as many values");
    m.rows = 1;
    refuse(s, &m, ISOVAE_ERR_DATA, "not as many values");
    m.rows = 0;
    refuse(s, &m, ISOVAE_ERR_DATA, "no variable is a matrix");
    m = good, m.rows = 0x7fffffff, m.cols = 0x7fffffff;
    refuse(s, &m, ISOVAE_ERR_MEMORY, "larger than the limit");
    m.rows = 0x80000000;
    refuse(s, &m, ISOVAE_ERR_DATA, "no variables");
    m = good, m.value_bytes = 56;
    refuse(s, &m, ISOVAE_ERR_DATA, "cut off");
    m = good, m.type = 14;
    refuse(s, &m, ISOVAE_ERR_DATA, "not as many values");
    m = good, m.type = 7;
    refuse(s, &m, ISOVAE_ERR_DATA, "not as many values");
    m = good, m.class = 5; /* sparse without indices */
    refuse(s, &m, ISOVAE_ERR_DATA, "indices do not fit");
    m = good, m.class = 17;
    refuse(s, &m, ISOVAE_ERR_DATA, "no variables");
    m = good, m.class = 2;
    refuse(s, &m, ISOVAE_ERR_DATA, "X 2x3 struct");
    refuse(s, &(matrix){6, 65536, 65535, 9, 8, 1}, ISOVAE_ERR_MEMORY, "larger than the limit");
}

/* Cut off anywhere and with any byte changed: an error or other values, nothing worse. */
static void test_damage(void **state)
{
    scratch *s = *state;
    double y[] = {1, 0, 1};
    for (size_t i = 0; i < 2; i++) {
        mat_t *mat = mat_new(s, forms[i].version);
        put_doubles(mat, "X", 3, 2, by_columns, forms[i].packed);
        put_doubles(mat, "y", 3, 1, y, forms[i].packed);
        Mat_Close(mat);
        unsigned char block[1024];
        FILE *file = fopen(s->path, "rb");
        assert_non_null(file);
        size_t length = fread(block, 1, sizeof block, file);
        fclose(file);
        assert_true(length > 200 && length < sizeof block);
        size_t read = 0;
        for (size_t cut = 0; cut < 2 * length; cut++) {
            /* of just the size: a byte too far is found */
            size_t size = cut < length ? cut : length;
            unsigned char *copy = malloc(size + 1), *values;
            assert_non_null(copy);
            memcpy(copy, block, size);
            if (cut >= length) copy[cut - length] ^= 0x55;
            iv_table table;
            isovae_error err;
            if (iv_read_mat(copy, size, NULL, 1 << 20, &table, &values, &err) == ISOVAE_OK) {
                read++;
                assert_true(table.rows > 0 && table.cols > 0);
                iv_table_free(&table);
                iv_free(values);
            } else {
                assert_true(err.message[0] != '\0' && err.status != ISOVAE_ERR_INTERNAL);
            }
            free(copy);
        }
        assert_true(read > 0);
    }
}

static void test_limit(void **state)
{
    bytes b;
    (void)state;
    header(&b, false);
    put_matrix(&b, &good);
    iv_table table;
    unsigned char *values;
    isovae_error err;
    assert_int_equal(iv_read_mat(b.data, b.length, "X", 40, &table, &values, &err),
                     ISOVAE_ERR_MEMORY);
    assert_null(values);
    assert_int_equal(iv_read_mat(b.data, 100, "X", 1 << 20, &table, &values, &err),
                     ISOVAE_ERR_DATA);
}

static double sum_of(const iv_dataset *d)
{
    double sum = 0;
    for (size_t i = 0; i < d->rows * d->cols; i++) {
        sum += d->bytes != NULL ? d->bytes[i] : (double)d->values[i];
    }
    return sum;
}

/* As published (ODDS): rows, columns, and the number of outliers. */
static void test_real(void **state)
{
    (void)state;
    const struct {
        const char *x, *y;
        size_t rows, cols, outliers;
    } sets[] = {{"thyroid/thyroid.mat", "thyroid/thyroid.mat:y", 3772, 6, 93},
                {"arrhythmia/arrhythmia.mat", "arrhythmia/arrhythmia.mat:y", 452, 274, 66}};
    char path[512];
    for (size_t i = 0; i < 2; i++) {
        if (real_data(sets[i].x, path, sizeof path) == NULL) skip();
        iv_dataset *d = must_open(path, NULL);
        assert_int_equal(d->rows, sets[i].rows);
        assert_int_equal(d->cols, sets[i].cols);
        if (i == 1) { /* its range */
            float low = 0, high = 0;
            for (size_t k = 0; k < d->rows * d->cols; k++) {
                low = fminf(low, d->values[k]);
                high = fmaxf(high, d->values[k]);
            }
            assert_true(fabsf(low + 242.4f) < 0.05f && high == 780);
        }
        iv_dataset_free(d);
        d = must_open(real_data(sets[i].y, path, sizeof path), NULL);
        assert_int_equal(d->rows, sets[i].rows);
        assert_int_equal(d->cols, 1);
        assert_true(sum_of(d) == (double)sets[i].outliers);
        iv_dataset_free(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_columns_become_rows, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_choice, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_classes, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_complex_is_refused, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_sparse, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_either_byte_order, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_sizes_are_not_believed, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_damage, scratch_open, scratch_close),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_real),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
