/* For the tests of data/: files in a temporary folder, opening, and expected failures. */
#ifndef SUPPORT_DATA_H
#define SUPPORT_DATA_H

#include "base/memory.h"
#include "data/dataset.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

/* One file at a time: each write replaces it. */
typedef struct scratch {
    char folder[64], path[128];
} scratch;

static inline int scratch_open(void **state)
{
    scratch *s = calloc(1, sizeof *s);
    if (s == NULL) return -1;
    strcpy(s->folder, "/tmp/isovae-test-XXXXXX");
    if (mkdtemp(s->folder) == NULL) return -1;
    *state = s;
    return 0;
}

static inline int scratch_close(void **state)
{
    scratch *s = *state;
    if (s->path[0] != '\0') unlink(s->path);
    int code = rmdir(s->folder);
    free(s);
    return code;
}

static inline const char *scratch_write(scratch *s, const char *name, const void *data,
                                        size_t length)
{
    if (s->path[0] != '\0') unlink(s->path);
    snprintf(s->path, sizeof s->path, "%s/%s", s->folder, name);
    FILE *file = fopen(s->path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
    return s->path;
}

static inline const char *scratch_text(scratch *s, const char *name, const char *text)
{
    return scratch_write(s, name, text, strlen(text));
}

static inline const char *scratch_gzip(scratch *s, const char *name, const void *data,
                                       size_t length)
{
    if (s->path[0] != '\0') unlink(s->path);
    snprintf(s->path, sizeof s->path, "%s/%s", s->folder, name);
    gzFile file = gzopen(s->path, "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, data, (unsigned)length), (int)length);
    assert_int_equal(gzclose(file), Z_OK);
    return s->path;
}

static inline iv_dataset *must_open(const char *spec, const iv_data_options *options)
{
    iv_dataset *data = NULL;
    isovae_error err = {ISOVAE_OK, ""};
    isovae_status status = iv_dataset_open(spec, options, &data, &err);
    if (status != ISOVAE_OK) fail_msg("%s", err.message);
    assert_non_null(data);
    return data;
}

/* Opening fails with `status`, in one line that begins with the spec and holds both pieces. */
static inline void must_fail(const char *spec, const iv_data_options *options, isovae_status status,
                             const char *piece, const char *other)
{
    iv_dataset *data = (iv_dataset *)1;
    isovae_error err = {ISOVAE_OK, ""};
    isovae_status got = iv_dataset_open(spec, options, &data, &err);
    if (got == ISOVAE_OK) fail_msg("'%s' opened; expected a failure with '%s'", spec, piece);
    if (got != status || err.status != status || strstr(err.message, piece) == NULL ||
        (other != NULL && strstr(err.message, other) == NULL) ||
        strncmp(err.message, spec, strlen(spec)) != 0 || strchr(err.message, '\n') != NULL) {
        fail_msg("status %d (expected %d): \"%s\" should hold '%s' and '%s'", (int)got, (int)status,
                 err.message, piece, other != NULL ? other : "");
    }
    assert_null(data);
    assert_int_equal(iv_dataset_open(spec, options, &data, NULL), status);
}

/* `rows` x `cols` values follow, as doubles. */
static inline void assert_values(const iv_dataset *data, size_t rows, size_t cols,
                                 const double *expected)
{
    assert_int_equal(data->rows, rows);
    assert_int_equal(data->cols, cols);
    float *row = malloc(cols * sizeof *row);
    assert_non_null(row);
    for (size_t r = 0; r < rows; r++) {
        iv_dataset_row(data, r, row);
        for (size_t i = 0; i < cols; i++) {
            float want = (float)expected[r * cols + i];
            if (row[i] != want) {
                fail_msg("row %zu, column %zu: %g, expected %g", r, i, (double)row[i],
                         (double)want);
            }
        }
    }
    free(row);
}

/* Appends a .npy block to `out`: `order` is "True" or "False", as in fortran_order. */
static inline void put_npy(iv_text *out, int version, const char *descr, const char *order,
                           const char *shape, const void *data, size_t length)
{
    char header[256];
    int n =
        snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }   \n",
                 descr, order, shape);
    assert_true(n > 0 && n < (int)sizeof header);
    const char size[4] = {(char)n, (char)(n >> 8), 0, 0};
    const char lead[2] = {(char)version, 0};
    iv_text_append(out, "\x93NUMPY", 6);
    iv_text_append(out, lead, 2);
    iv_text_append(out, size, version == 1 ? 2 : 4);
    iv_text_append(out, header, (size_t)n);
    iv_text_append(out, data, length);
    assert_false(out->failed);
}

/* "FOLDER/name" of the real data, or NULL where they are absent. */
static inline const char *real_data(const char *name, char *buffer, size_t size)
{
    const char *folder = getenv("ISOVAE_DATA");
    if (folder == NULL || folder[0] == '\0') folder = "../shared/data";
    snprintf(buffer, size, "%s/%s", folder, name);
    char path[512];
    snprintf(path, sizeof path, "%s", buffer);
    char *colon = strrchr(path, ':');
    if (colon != NULL) *colon = '\0';
    return access(path, R_OK) == 0 ? buffer : NULL;
}

#endif
