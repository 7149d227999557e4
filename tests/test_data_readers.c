/* data/: the binary formats, good and bad. */
#include "support_data.h"

#include "base/file.h"
#include "data/reader.h"

#include <zip.h>

/* ---- .npy ---- */

static void npy_case(scratch *s, int version, const char *descr, const char *order,
                     const char *shape, const void *data, size_t length, size_t rows, size_t cols,
                     const double *expected)
{
    iv_text file = {0};
    put_npy(&file, version, descr, order, shape, data, length);
    iv_dataset *d = must_open(scratch_write(s, "a.npy", file.data, file.length), NULL);
    assert_values(d, rows, cols, expected);
    assert_false(d->named);
    iv_dataset_free(d);
    iv_text_free(&file);
}

static void test_npy_types(void **state)
{
    scratch *s = *state;
    const double six[6] = {1, -2, 3, 4, 5, 6}, plain[6] = {1, 2, 3, 4, 5, 6};
    const float f4[6] = {1, -2, 3, 4, 5, 6};
    npy_case(s, 1, "<f4", "False", "(3, 2)", f4, sizeof f4, 3, 2, six);
    npy_case(s, 2, "<f8", "False", "(2, 3)", six, sizeof six, 2, 3, six);
    npy_case(s, 3, "<f8", "False", "(6,)", six, sizeof six, 6, 1, six);
    const uint16_t f2[4] = {0x3800, 0xC000, 0x7BFF, 0x0001};
    const double halves[4] = {0.5, -2, 65504, 5.9604644775390625e-08};
    npy_case(s, 1, "<f2", "False", "(4, 1)", f2, sizeof f2, 4, 1, halves);
    const unsigned char be_f4[8] = {0x3F, 0x80, 0, 0, 0xC0, 0, 0, 0}; /* 1, -2 */
    npy_case(s, 1, ">f4", "False", "(2,)", be_f4, sizeof be_f4, 2, 1, six);
    const unsigned char be_f8[16] = {0x3F, 0xF0, 0, 0, 0, 0, 0, 0, 0xC0};
    npy_case(s, 1, ">f8", "False", "(2,)", be_f8, sizeof be_f8, 2, 1, six);
    const unsigned char be_i2[4] = {0, 1, 0xFF, 0xFE};
    npy_case(s, 1, ">i2", "False", "(2,)", be_i2, sizeof be_i2, 2, 1, six);
    const int8_t i1[6] = {1, -2, 3, 4, 5, 6};
    npy_case(s, 1, "|i1", "False", "(3, 2)", i1, sizeof i1, 3, 2, six);
    const int16_t i2[6] = {1, -2, 3, 4, 5, 6};
    npy_case(s, 1, "<i2", "False", "(3, 2)", i2, sizeof i2, 3, 2, six);
    const int32_t i4[6] = {1, -2, 3, 4, 5, 6};
    npy_case(s, 1, "<i4", "False", "(3, 2)", i4, sizeof i4, 3, 2, six);
    const int64_t i8[6] = {1, -2, 3, 4, 5, 6};
    npy_case(s, 1, "<i8", "False", "(3L, 2L)", i8, sizeof i8, 3, 2, six);
    const uint16_t u2[6] = {1, 2, 3, 4, 5, 6};
    npy_case(s, 1, "<u2", "False", "(3, 2)", u2, sizeof u2, 3, 2, plain);
    const uint32_t u4[1] = {4294967295u};
    const double big[1] = {4294967295.0}, huge[1] = {18446744073709551615.0};
    npy_case(s, 1, "<u4", "False", "(1, 1)", u4, sizeof u4, 1, 1, big);
    const uint64_t u8[1] = {UINT64_MAX};
    npy_case(s, 1, "<u8", "False", "(1, 1)", u8, sizeof u8, 1, 1, huge);
    const double truth[3] = {0, 1, 1};
    npy_case(s, 1, "|b1", "False", "(3,)", "\0\1\1", 3, 3, 1, truth);
}

static void test_npy_order(void **state)
{
    scratch *s = *state;
    const float stored[6] = {1, 3, 5, 2, 4, 6};
    const double matrix[6] = {1, 2, 3, 4, 5, 6};
    npy_case(s, 1, "<f4", "True", "(3, 2)", stored, sizeof stored, 3, 2, matrix);
    /* a[i, j, k] = 100 i + 10 j + k, first index fastest */
    double cube[24], rows[24];
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 3; j++) {
            for (int k = 0; k < 4; k++) {
                cube[i + 2 * (j + 3 * k)] = 100 * i + 10 * j + k;
                rows[i * 12 + j * 4 + k] = 100 * i + 10 * j + k;
            }
        }
    }
    npy_case(s, 1, "<f8", "True", "(2, 3, 4)", cube, sizeof cube, 2, 12, rows);
    npy_case(s, 1, "<f8", "False", "(2, 3, 2, 2)", rows, sizeof rows, 2, 12, rows);
}

static void test_npy_images(void **state)
{
    scratch *s = *state;
    unsigned char pixels[24];
    double same[24], moved[24];
    for (int i = 0; i < 24; i++) pixels[i] = (unsigned char)(10 * i), same[i] = 10 * i;
    static const struct {
        const char *shape;
        size_t rows, cols, height, width, channels;
    } cases[] = {
        {"(2, 3, 4)", 2, 12, 3, 4, 1},    {"(1, 2, 4, 3)", 1, 24, 2, 4, 3},
        {"(2, 1, 3, 4)", 2, 12, 1, 3, 4}, {"(4, 1, 3, 2)", 4, 6, 3, 2, 1},
        {"(3, 8)", 3, 8, 0, 0, 0},        {"(24,)", 24, 1, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        iv_text file = {0};
        put_npy(&file, 1, "|u1", "False", cases[i].shape, pixels, 24);
        iv_dataset *d = must_open(scratch_write(s, "a.npy", file.data, file.length), NULL);
        assert_non_null(d->bytes);
        assert_null(d->values);
        assert_int_equal(d->height, cases[i].height);
        assert_int_equal(d->width, cases[i].width);
        assert_int_equal(d->channels, cases[i].channels);
        assert_values(d, cases[i].rows, cases[i].cols, same);
        iv_dataset_free(d);
        iv_text_free(&file);
    }
    /* channels first become channels last */
    iv_text file = {0};
    put_npy(&file, 1, "|u1", "False", "(1, 3, 4, 2)", pixels, 24);
    iv_dataset *d = must_open(scratch_write(s, "a.npy", file.data, file.length), NULL);
    assert_int_equal(d->height, 4);
    assert_int_equal(d->width, 2);
    assert_int_equal(d->channels, 3);
    for (int p = 0; p < 8; p++) {
        for (int c = 0; c < 3; c++) moved[p * 3 + c] = 10 * (c * 8 + p);
    }
    assert_values(d, 1, 24, moved);
    iv_dataset_free(d);
    iv_text_free(&file);
}

static void npy_bad(scratch *s, const char *descr, const char *shape, size_t length,
                    const char *piece, const char *other)
{
    static const char zeros[64];
    iv_text file = {0};
    put_npy(&file, 1, descr, "False", shape, zeros, length);
    must_fail(scratch_write(s, "a.npy", file.data, file.length), NULL, ISOVAE_ERR_DATA, piece,
              other);
    iv_text_free(&file);
}

static void test_npy_bad(void **state)
{
    scratch *s = *state;
    npy_bad(s, "<f8", "(2, 4)", 63, "promises 64 bytes", "holds 63");
    npy_bad(s, "<f8", "(2, 3)", 64, "16 bytes follow", NULL);
    npy_bad(s, "<f8", "(4294967296, 4294967296, 4)", 64, "more elements than memory", NULL);
    npy_bad(s, "<f8", "(18446744073709551616,)", 64, "not a list of sizes", NULL);
    npy_bad(s, "<f8", "(1, 1, 1, 1, 8)", 64, "more than 4 axes", NULL);
    npy_bad(s, "<f8", "()", 8, "single number", NULL);
    npy_bad(s, "<f8", "(0, 4)", 0, "empty", NULL);
    npy_bad(s, "<f8", "(4, 0)", 0, "empty", NULL);
    npy_bad(s, "<f8", "(-1, 4)", 64, "not a list of sizes", NULL);
    npy_bad(s, "|O", "(8,)", 64, "'|O'", "never opened");
    npy_bad(s, "<c8", "(8,)", 64, "'<c8'", "real numbers");
    npy_bad(s, "<U4", "(4,)", 64, "'<U4'", NULL);
    must_fail(scratch_write(s, "a.npy", "\x93NUMPY\x09\0\0\0\0\0", 12), NULL, ISOVAE_ERR_DATA,
              "version 9.0", NULL);
    must_fail(scratch_write(s, "a.npy", "\x93NUMPY\x01\0\xFF\xFF{}", 12), NULL, ISOVAE_ERR_DATA,
              "ends inside its header", "65535");
    must_fail(scratch_write(s, "a.npy", "\x93NUMPY\x01\0\x02\0{}", 12), NULL, ISOVAE_ERR_DATA,
              "lacks one of", NULL);
}

static void test_npy_not_finite(void **state)
{
    scratch *s = *state;
    double values[6] = {1, 2, 3, NAN, 5, 6};
    iv_text file = {0};
    put_npy(&file, 1, "<f8", "False", "(3, 2)", values, sizeof values);
    must_fail(scratch_write(s, "a.npy", file.data, file.length), NULL, ISOVAE_ERR_DATA,
              "row 2, column 'c2'", "missing");
    file.length = 0;
    values[3] = INFINITY;
    put_npy(&file, 1, "<f8", "False", "(3, 2)", values, sizeof values);
    must_fail(scratch_write(s, "a.npy", file.data, file.length), NULL, ISOVAE_ERR_DATA,
              "row 2, column 'c2'", "infinite");
    file.length = 0;
    values[3] = 1e300;
    put_npy(&file, 1, "<f8", "False", "(3, 2)", values, sizeof values);
    must_fail(scratch_write(s, "a.npy", file.data, file.length), NULL, ISOVAE_ERR_DATA,
              "row 2, column 'c2'", "single precision");
    iv_text_free(&file);
}

/* ---- truncation ---- */

static void fails_truncated(scratch *s, const char *name, const void *data, size_t length)
{
    for (size_t part = 0; part < 16; part++) {
        const char *path = scratch_write(s, name, data, length * part / 16);
        iv_dataset *d = NULL;
        isovae_error err = {ISOVAE_OK, ""};
        if (iv_dataset_open(path, NULL, &d, &err) == ISOVAE_OK) {
            fail_msg("%s opened with %zu of %zu bytes", name, length * part / 16, length);
        }
        assert_int_equal(err.status, ISOVAE_ERR_DATA);
        assert_non_null(strstr(err.message, path));
        assert_null(strchr(err.message, '\n'));
        assert_true(strlen(err.message) > strlen(path) + 10);
    }
}

static void test_npy_truncated(void **state)
{
    float values[40] = {1};
    iv_text file = {0};
    put_npy(&file, 1, "<f4", "False", "(10, 4)", values, sizeof values);
    fails_truncated(*state, "a.npy", file.data, file.length);
    iv_text_free(&file);
}

/* Floats are images where they lie in [0, 1] and their axes look like it. */
static void test_npy_float_images(void **state)
{
    scratch *s = *state;
    float values[2 * 3 * 2 * 5];
    for (size_t i = 0; i < 60; i++) values[i] = (float)i / 59;
    static const struct {
        const char *shape;
        size_t rows, height, width, channels;
    } cases[] = {
        {"(2, 6, 5)", 2, 6, 5, 1},    {"(2, 3, 2, 5)", 2, 2, 5, 3}, {"(2, 2, 5, 3)", 2, 2, 5, 3},
        {"(2, 2, 3, 5)", 2, 0, 0, 0}, {"(2, 30)", 2, 0, 0, 0},      {"(3, 5, 4, 1)", 3, 5, 4, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        iv_text file = {0};
        put_npy(&file, 1, "<f4", "False", cases[i].shape, values, sizeof values);
        iv_dataset *d = must_open(scratch_write(s, "a.npy", file.data, file.length), NULL);
        assert_true(d->rows == cases[i].rows && d->height == cases[i].height &&
                    d->width == cases[i].width && d->channels == cases[i].channels);
        if (i == 1) { /* channels first: c fastest now */
            assert_true(d->values[1] == values[10] && d->values[2] == values[20]);
        }
        iv_dataset_free(d);
        iv_text_free(&file);
    }
    values[59] = 1.5F; /* no pixel */
    iv_text file = {0};
    put_npy(&file, 1, "<f4", "False", "(2, 6, 5)", values, sizeof values);
    iv_dataset *d = must_open(scratch_write(s, "a.npy", file.data, file.length), NULL);
    assert_true(d->height == 0 && d->cols == 30);
    iv_dataset_free(d);
    iv_text_free(&file);
}

/* ---- .npz ---- */

static void add_member(zip_t *archive, const char *name, const iv_text *content, int method)
{
    zip_source_t *source = zip_source_buffer(archive, content->data, content->length, 0);
    assert_non_null(source);
    zip_int64_t index = zip_file_add(archive, name, source, ZIP_FL_OVERWRITE);
    assert_true(index >= 0);
    assert_int_equal(zip_set_file_compression(archive, (zip_uint64_t)index, method, 0), 0);
}

/* a: (20, 3) of f4, b: (5,) of u1, c: an object, and a text that is no array. */
static const char *write_npz(scratch *s, bool several, int method)
{
    float values[60];
    for (int i = 0; i < 60; i++) values[i] = (float)i;
    iv_text a = {0}, b = {0}, c = {0}, text = {0};
    put_npy(&a, 1, "<f4", "False", "(20, 3)", values, sizeof values);
    put_npy(&b, 1, "|u1", "False", "(5,)", "abcde", 5);
    put_npy(&c, 1, "|O", "False", "(1,)", "\x80\x04N.", 4);
    iv_text_puts(&text, "hello");
    scratch_write(s, "a.npz", "", 0);
    unlink(s->path);
    int code = 0;
    zip_t *archive = zip_open(s->path, ZIP_CREATE, &code);
    assert_non_null(archive);
    add_member(archive, "a.npy", &a, method);
    add_member(archive, "readme.txt", &text, method);
    if (several) {
        add_member(archive, "b.npy", &b, method);
        add_member(archive, "c.npy", &c, method);
    }
    assert_int_equal(zip_close(archive), 0);
    iv_text_free(&a);
    iv_text_free(&b);
    iv_text_free(&c);
    iv_text_free(&text);
    return s->path;
}

static void test_npz(void **state)
{
    scratch *s = *state;
    double expected[60];
    char spec[200];
    for (int i = 0; i < 60; i++) expected[i] = i;
    iv_dataset *d = must_open(write_npz(s, false, ZIP_CM_DEFLATE), NULL);
    assert_values(d, 20, 3, expected);
    iv_dataset_free(d);
    snprintf(spec, sizeof spec, "%s:a", write_npz(s, true, ZIP_CM_STORE));
    d = must_open(spec, NULL);
    assert_values(d, 20, 3, expected);
    assert_string_equal(d->source, spec);
    iv_dataset_free(d);
    must_fail(s->path, NULL, ISOVAE_ERR_DATA, "3 arrays", "a, b, c");
    snprintf(spec, sizeof spec, "%s:d", s->path);
    must_fail(spec, NULL, ISOVAE_ERR_DATA, "no array 'd'", "a, b, c");
    snprintf(spec, sizeof spec, "%s:c", s->path);
    must_fail(spec, NULL, ISOVAE_ERR_DATA, "never opened", NULL);
    snprintf(spec, sizeof spec, "%s:b", s->path);
    d = must_open(spec, NULL);
    assert_int_equal(d->bytes[4], 'e');
    iv_dataset_free(d);
    snprintf(spec, sizeof spec, "%s:b", scratch_text(s, "a.csv", "1,2\n3,4\n"));
    must_fail(spec, NULL, ISOVAE_ERR_ARGUMENT, "no .npz", NULL);
}

static void test_npz_bad(void **state)
{
    scratch *s = *state;
    unsigned char *block;
    size_t length;
    unsigned char *npy;
    size_t npy_length;
    isovae_error err;
    write_npz(s, false, ZIP_CM_DEFLATE);
    assert_int_equal(iv_file_read(s->path, 1 << 20, &block, &length, NULL), ISOVAE_OK);
    fails_truncated(s, "a.npz", block, length);
    scratch_write(s, "a.npz", block, length);
    /* the unpacked size counts against the limit as well */
    assert_int_equal(iv_read_npz(block, length, NULL, 300, &npy, &npy_length, &err),
                     ISOVAE_ERR_DATA);
    assert_non_null(strstr(err.message, "above the limit of 300"));
    assert_int_equal(iv_read_npz(block, length, NULL, 400, &npy, &npy_length, &err), ISOVAE_OK);
    iv_free(npy);
    /* no single changed byte may crash it, or pass as other data */
    iv_dataset *good = must_open(s->path, NULL);
    size_t refused = 0;
    for (size_t i = 0; i < length; i++) {
        block[i] ^= 0x55;
        iv_dataset *d = NULL;
        const char *path = scratch_write(s, "a.npz", block, length);
        if (iv_dataset_open(path, NULL, &d, NULL) != ISOVAE_OK) {
            refused++;
        } else {
            assert_memory_equal(d->values, good->values, 60 * sizeof(float));
        }
        iv_dataset_free(d);
        block[i] ^= 0x55;
    }
    assert_true(refused > length / 3);
    iv_dataset_free(good);
    iv_free(block);
    scratch_write(s, "a.npz", "PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22);
    must_fail(s->path, NULL, ISOVAE_ERR_DATA, "holds no .npy array", NULL);
}

/* ---- IDX and gzip ---- */

static void test_idx(void **state)
{
    scratch *s = *state;
    unsigned char images[16 + 12] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3};
    double expected[12];
    for (int i = 0; i < 12; i++) images[16 + i] = (unsigned char)(20 * i), expected[i] = 20 * i;
    iv_dataset *d = must_open(scratch_write(s, "a.idx", images, sizeof images), NULL);
    assert_values(d, 2, 6, expected);
    assert_int_equal(d->height, 2);
    assert_int_equal(d->width, 3);
    assert_int_equal(d->channels, 1);
    assert_non_null(d->bytes);
    uint64_t hash = d->hash;
    iv_dataset_free(d);
    d = must_open(scratch_gzip(s, "a.idx.gz", images, sizeof images), NULL);
    assert_true(d->hash == hash);
    iv_dataset_free(d);
    images[16] ^= 1;
    d = must_open(scratch_write(s, "a.idx", images, sizeof images), NULL);
    assert_true(d->hash != hash);
    iv_dataset_free(d);
    fails_truncated(s, "a.idx", images, sizeof images);

    const unsigned char i16[] = {0, 0, 11, 1, 0, 0, 0, 2, 0xFF, 0xFE, 1, 0};
    const double i16_values[2] = {-2, 256};
    d = must_open(scratch_write(s, "a.idx", i16, sizeof i16), NULL);
    assert_values(d, 2, 1, i16_values);
    iv_dataset_free(d);
    const unsigned char i32[] = {0, 0, 12, 1, 0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFE};
    d = must_open(scratch_write(s, "a.idx", i32, sizeof i32), NULL);
    assert_values(d, 1, 1, i16_values);
    iv_dataset_free(d);
    const unsigned char i8[] = {0, 0, 9, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0xFE};
    d = must_open(scratch_write(s, "a.idx", i8, sizeof i8), NULL);
    assert_values(d, 1, 1, i16_values);
    iv_dataset_free(d);
    const unsigned char f32[] = {0, 0, 13, 1, 0, 0, 0, 1, 0xC0, 0, 0, 0};
    d = must_open(scratch_write(s, "a.idx", f32, sizeof f32), NULL);
    assert_values(d, 1, 1, i16_values);
    iv_dataset_free(d);
    const unsigned char f64[] = {0, 0, 14, 1, 0, 0, 0, 1, 0xC0, 0, 0, 0, 0, 0, 0, 0};
    d = must_open(scratch_write(s, "a.idx", f64, sizeof f64), NULL);
    assert_values(d, 1, 1, i16_values);
    iv_dataset_free(d);
}

static void test_idx_bad(void **state)
{
    scratch *s = *state;
    const unsigned char promises[] = {0,   0,   8,   4,   255, 255, 255, 255, 255, 255, 255,
                                      255, 255, 255, 255, 255, 255, 255, 255, 255, 1};
    must_fail(scratch_write(s, "a", promises, sizeof promises), NULL, ISOVAE_ERR_DATA,
              "promises more elements", NULL);
    const unsigned char type[] = {0, 0, 7, 1, 0, 0, 0, 1, 5};
    must_fail(scratch_write(s, "a", type, sizeof type), NULL, ISOVAE_ERR_DATA, "element type 0x07",
              NULL);
    const unsigned char rank[] = {0, 0, 8, 0, 0, 0, 0, 1, 5};
    must_fail(scratch_write(s, "a", rank, sizeof rank), NULL, ISOVAE_ERR_DATA, "0 axes", NULL);
    const unsigned char extra[] = {0, 0, 8, 1, 0, 0, 0, 1, 5, 6};
    must_fail(scratch_write(s, "a", extra, sizeof extra), NULL, ISOVAE_ERR_DATA, "1 bytes follow",
              NULL);
    const unsigned char none[] = {0, 0, 8, 1, 0, 0, 0, 0};
    must_fail(scratch_write(s, "a", none, sizeof none), NULL, ISOVAE_ERR_DATA, "empty", NULL);
}

static void test_gzip(void **state)
{
    scratch *s = *state;
    iv_text text = {0};
    for (int i = 0; i < 3000; i++) iv_text_printf(&text, "%d,%d\n", i, i * i % 97);
    iv_dataset *d = must_open(scratch_gzip(s, "a.csv.gz", text.data, text.length), NULL);
    assert_int_equal(d->rows, 3000);
    assert_true(d->values[2 * 2999] == 2999);
    iv_dataset_free(d);

    unsigned char *block, *twice;
    size_t length;
    assert_int_equal(iv_file_read(s->path, 1 << 20, &block, &length, NULL), ISOVAE_OK);
    fails_truncated(s, "a.csv.gz", block, length);
    for (size_t cut = length - 8; cut < length; cut++) { /* the checksum counts */
        must_fail(scratch_write(s, "a.csv.gz", block, cut), NULL, ISOVAE_ERR_DATA, "cut off", NULL);
    }
    /* two members are one file; padding is none; other bytes behind it are damage */
    twice = calloc(2 * length + 3, 1);
    assert_non_null(twice);
    memcpy(twice, block, length);
    memcpy(twice + length, block, length);
    d = must_open(scratch_write(s, "a.csv.gz", twice, 2 * length + 3), NULL);
    assert_int_equal(d->rows, 6000);
    iv_dataset_free(d);
    twice[length] = 'x';
    must_fail(scratch_write(s, "a.csv.gz", twice, length + 1), NULL, ISOVAE_ERR_DATA, "damaged",
              NULL);
    block[length / 2] ^= 0x10;
    must_fail(scratch_write(s, "a.csv.gz", block, length), NULL, ISOVAE_ERR_DATA, "damaged", NULL);
    block[length / 2] ^= 0x10;
    iv_data_options options;
    iv_data_options_init(&options);
    options.max_bytes = text.length - 1;
    must_fail(scratch_write(s, "a.csv.gz", block, length), &options, ISOVAE_ERR_DATA, "limit",
              NULL);
    options.max_bytes = text.length;
    d = must_open(s->path, &options);
    iv_dataset_free(d);
    must_fail(scratch_gzip(s, "a.gz", block, length), NULL, ISOVAE_ERR_DATA, "compressed twice",
              NULL);
    must_fail(scratch_gzip(s, "a.gz", "", 0), NULL, ISOVAE_ERR_DATA, "compressed file is empty",
              NULL);
    free(twice);
    iv_free(block);
    iv_text_free(&text);
}

static void test_other_files(void **state)
{
    scratch *s = *state;
    must_fail(scratch_write(s, "a.npy", "", 0), NULL, ISOVAE_ERR_DATA, "empty", NULL);
    must_fail(scratch_write(s, "a.npy", "\x93NUMPX\1\0\0\0ab", 12), NULL, ISOVAE_ERR_DATA,
              "neither text nor a known", NULL);
    must_fail(scratch_write(s, "a",
                            "\x7F"
                            "ELF\0\1\2\3",
                            8),
              NULL, ISOVAE_ERR_DATA, "neither text nor a known", NULL);
    must_fail(scratch_write(s, "a.mat", "MATLAB 5.0 MAT-file, here", 25), NULL, ISOVAE_ERR_DATA,
              "the MATLAB file is cut off", NULL);
    iv_data_options options;
    iv_data_options_init(&options);
    options.max_bytes = 4;
    iv_dataset *d;
    isovae_error err = {ISOVAE_OK, ""};
    assert_int_not_equal(
        iv_dataset_open(scratch_text(s, "a.csv", "1,2\n3,4\n"), &options, &d, &err), ISOVAE_OK);
    assert_non_null(strstr(err.message, s->path));
    assert_int_equal(iv_dataset_open("/nonexistent/a.csv", NULL, &d, &err), ISOVAE_ERR_IO);
    assert_non_null(strstr(err.message, "/nonexistent/a.csv"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_npy_types, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_npy_order, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_npy_images, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_npy_float_images, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_npy_bad, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_npy_not_finite, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_npy_truncated, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_npz, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_npz_bad, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_idx, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_idx_bad, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_gzip, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_other_files, scratch_open, scratch_close),
    };
    return cmocka_run_group_tests_name("data_readers", tests, NULL, NULL);
}
