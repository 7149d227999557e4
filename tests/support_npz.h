/* Reference values for tests: all arrays of an .npz file as doubles, by name.
 *
 *     npz file;
 *     if (!npz_open(&file, "nodes/dense.npz")) skip();   // below reference/, beside ISOVAE_DATA
 *     const npz_array *x = npz_get(&file, "x");          // fails the test where it is missing
 *     x->values[i], x->count, x->rank, x->shape[0..rank-1]
 *     npz_close(&file);
 *
 * <f8, <f4, <i8 and <i4 are read, C order only. A damaged file fails the test. */
#ifndef SUPPORT_NPZ_H
#define SUPPORT_NPZ_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zip.h>

enum { NPZ_MAX_RANK = 8, NPZ_MAX_ARRAYS = 128 };

typedef struct npz_array {
    char name[80];
    size_t rank, shape[NPZ_MAX_RANK], count;
    double *values;
} npz_array;

typedef struct npz {
    size_t n;
    npz_array arrays[NPZ_MAX_ARRAYS];
} npz;

/* "REFERENCE/name": $ISOVAE_DATA/../reference, by default ../shared/reference seen from the
 * repository root, or from a folder one or two levels below it. */
static inline const char *reference_path(const char *name, char path[1024])
{
    const char *data = getenv("ISOVAE_DATA");
    const char *tries[] = {data, "../shared/data", "../../shared/data", "../../../shared/data"};
    path[0] = '\0';
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        if (tries[i] == NULL) continue;
        snprintf(path, 1024, "%s/../reference/%s", tries[i], name);
        if (data != NULL || access(path, R_OK) == 0) break;
    }
    return path;
}

static inline double npz_number(const unsigned char *p, char type, size_t size)
{
    if (type == 'f' && size == 8) {
        double v;
        memcpy(&v, p, sizeof v);
        return v;
    }
    if (type == 'f' && size == 4) {
        float v;
        memcpy(&v, p, sizeof v);
        return (double)v;
    }
    if (type == 'i' && size == 8) {
        int64_t v;
        memcpy(&v, p, sizeof v);
        return (double)v;
    }
    if (type == 'i' && size == 4) {
        int32_t v;
        memcpy(&v, p, sizeof v);
        return (double)v;
    }
    fail_msg("array type %c%zu is not read here", type, size);
    return 0;
}

/* One .npy block: magic, version, header length, a Python dictionary, the numbers. */
static inline void npz_parse(npz_array *array, const unsigned char *block, size_t length)
{
    assert_true(length > 12 && memcmp(block, "\x93NUMPY", 6) == 0);
    size_t start = block[6] == 1 ? 10 : 12, header = (size_t)block[8] | (size_t)block[9] << 8;
    if (block[6] != 1) header |= (size_t)block[10] << 16 | (size_t)block[11] << 24;
    assert_true(header < length - start);
    char *text = calloc(1, header + 1);
    assert_non_null(text);
    memcpy(text, block + start, header);
    const char *descr = strstr(text, "'descr'"), *shape = strstr(text, "'shape'");
    assert_non_null(descr);
    assert_non_null(shape);
    assert_non_null(strstr(text, "'fortran_order': False"));
    descr = strchr(descr, '<'); /* '<f8' */
    assert_non_null(descr);
    char type = descr[1];
    size_t size = (size_t)strtoul(descr + 2, NULL, 10);
    shape = strchr(shape, '(');
    assert_non_null(shape);
    array->rank = 0;
    array->count = 1;
    for (char *end; *++shape != ')' && *shape != '\0'; shape = end - 1) {
        while (*shape == ' ' || *shape == ',') shape++;
        if (*shape == ')') break;
        assert_true(array->rank < NPZ_MAX_RANK);
        array->shape[array->rank] = (size_t)strtoul(shape, &end, 10);
        assert_true(end != shape);
        array->count *= array->shape[array->rank++];
    }
    free(text);
    assert_true(size > 0 && array->count == (length - start - header) / size);
    array->values = calloc(array->count + 1, sizeof *array->values);
    assert_non_null(array->values);
    for (size_t i = 0; i < array->count; i++) {
        array->values[i] = npz_number(block + start + header + i * size, type, size);
    }
}

/* Any .npz by its path; false where there is no such file. */
static inline bool npz_open_path(npz *file, const char *path)
{
    file->n = 0;
    if (access(path, R_OK) != 0) return false;
    int code = 0;
    zip_t *zip = zip_open(path, ZIP_RDONLY, &code);
    if (zip == NULL) fail_msg("%s: libzip error %d", path, code);
    zip_int64_t members = zip_get_num_entries(zip, 0);
    assert_true(members > 0 && members <= NPZ_MAX_ARRAYS);
    for (zip_int64_t i = 0; i < members; i++) {
        zip_stat_t info;
        assert_int_equal(zip_stat_index(zip, (zip_uint64_t)i, 0, &info), 0);
        npz_array *array = &file->arrays[file->n++];
        size_t length = strlen(info.name);
        assert_true(length > 4 && length - 4 < sizeof array->name);
        snprintf(array->name, sizeof array->name, "%.*s", (int)length - 4, info.name); /* no .npy */
        unsigned char *block = malloc(info.size + 1);
        assert_non_null(block);
        zip_file_t *member = zip_fopen_index(zip, (zip_uint64_t)i, 0);
        assert_non_null(member);
        assert_int_equal(zip_fread(member, block, info.size), info.size);
        zip_fclose(member);
        npz_parse(array, block, info.size);
        free(block);
    }
    zip_close(zip);
    return true;
}

/* A file of the reference; false where the reference is absent, and then the test is to skip(). */
static inline bool npz_open(npz *file, const char *name)
{
    char path[1024];
    return npz_open_path(file, reference_path(name, path));
}

/* NULL where there is none of that name. */
static inline const npz_array *npz_find(const npz *file, const char *name)
{
    for (size_t i = 0; i < file->n; i++) {
        if (strcmp(file->arrays[i].name, name) == 0) return &file->arrays[i];
    }
    return NULL;
}

static inline const npz_array *npz_get(const npz *file, const char *name)
{
    const npz_array *array = npz_find(file, name);
    if (array == NULL) fail_msg("the file has no array '%s'", name);
    return array;
}

static inline void npz_close(npz *file)
{
    for (size_t i = 0; i < file->n; i++) free(file->arrays[i].values);
    file->n = 0;
}

/* Largest |got - want| / largest |want| against a tolerance; prints both norms' place on failure.
 */
static inline void assert_near(const char *what, const double *got, const double *want, size_t n,
                               double tolerance)
{
    double scale = 0, worst = -1;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        double size = want[i] < 0 ? -want[i] : want[i];
        double difference = got[i] < want[i] ? want[i] - got[i] : got[i] - want[i];
        if (size > scale) scale = size;
        if (!(difference <= worst)) { /* NaN counts as worst */
            worst = difference;
            at = i;
        }
        if (difference != difference) break;
    }
    if (n > 0 && !(worst <= tolerance * scale)) {
        fail_msg("%s: element %zu of %zu is %.17g, expected %.17g: %.3g of the largest (%.3g), "
                 "limit %.3g",
                 what, at, n, got[at], want[at], worst / scale, scale, tolerance);
    }
}

#endif
