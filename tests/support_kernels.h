/* What the kernel tests share: arrays of random values, comparison in units in the last place, and
 * arrays out of the reference archives. */
#ifndef SUPPORT_KERNELS_H
#define SUPPORT_KERNELS_H

#include "kernels/kernels.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>
#include <zip.h>

/* A small generator (splitmix64); `draw` gives values in (-1, 1). */
static uint64_t random_state = 1;

static inline uint64_t draw_bits(void)
{
    uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline size_t draw_below(size_t n)
{
    return (size_t)(draw_bits() % n);
}

static inline double draw(void)
{
    return (double)(int64_t)draw_bits() * 0x1p-63;
}

static inline void *must_alloc(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    assert_non_null(p);
    return p;
}

/* n values scale * (-1, 1) that single precision holds exactly */
static inline double *random_values(size_t n, double scale)
{
    double *x = must_alloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (double)(float)(scale * draw());
    return x;
}

/* The same values in the type of a table, in memory that ends where they end. */
static inline void *typed(const iv_kernels *k, const double *x, size_t n)
{
    void *y = must_alloc(n * k->size);
    k->upload(y, x, n);
    return y;
}

static inline double *untyped(const iv_kernels *k, const void *x, size_t n)
{
    double *y = must_alloc(n * sizeof *y);
    k->download(y, x, n);
    return y;
}

/* Distance between y and the exact value in units of the last place of a float near `exact`. */
static inline double ulps(double y, double exact, double smallest)
{
    if (y == exact || (isnan(y) && isnan(exact))) return 0;
    double a = fmax(fabs(exact), smallest);
    if (isnan(y) || isnan(exact) || isinf(y)) {
        /* beyond the range infinity is right, and just below it one rounding away */
        bool same_sign = signbit(y) == signbit(exact);
        return isinf(y) && same_sign && a > 3.4028234e38 ? 0 : INFINITY;
    }
    int e = ilogb(fmax(a, 0x1p-126));
    return fabs(y - exact) / ldexp(1, e - 23);
}

/* The tables of this machine: 0 and 1 are the references; NULL ends. */
static inline const iv_kernels *table_number(size_t i)
{
    static const char *const isas[] = {"baseline", "avx2", "avx512"};
    if (i == 0) return iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    if (i == 1) return iv_kernels_get(IV_PRECISION_F32_REFERENCE, NULL);
    for (size_t j = 0; j < 3; j++) {
        const iv_kernels *k = iv_kernels_get(IV_PRECISION_F32, isas[j]);
        if (k && i-- == 2) return k;
    }
    return NULL;
}

/* A file of the reference data, beside the data folder; NULL (the caller skips) where absent. */
static inline zip_t *open_reference(const char *path)
{
    const char *data = getenv("ISOVAE_DATA");
    char name[4096];
    snprintf(name, sizeof name, "%s/../reference/%s", data ? data : "../shared/data", path);
    zip_t *archive = zip_open(name, ZIP_RDONLY, NULL);
    if (!archive && !data) { /* run from inside the build folder */
        snprintf(name, sizeof name, "../../shared/reference/%s", path);
        archive = zip_open(name, ZIP_RDONLY, NULL);
    }
    return archive;
}

/* The doubles of member `key`; *n is their number. */
static inline double *read_doubles(zip_t *archive, const char *key, size_t *n)
{
    char member[128];
    unsigned char head[10];
    zip_stat_t stat;
    snprintf(member, sizeof member, "%s.npy", key);
    assert_int_equal(zip_stat(archive, member, 0, &stat), 0);
    zip_file_t *file = zip_fopen(archive, member, 0);
    assert_non_null(file);
    assert_int_equal(zip_fread(file, head, 10), 10);
    assert_memory_equal(head, "\x93NUMPY\x01", 7);
    size_t length = (size_t)head[8] | (size_t)head[9] << 8;
    char *header = must_alloc(length + 1);
    assert_int_equal(zip_fread(file, header, length), (zip_int64_t)length);
    header[length] = 0;
    assert_non_null(strstr(header, "'<f8'"));
    size_t bytes = (size_t)stat.size - 10 - length;
    double *x = must_alloc(bytes);
    assert_int_equal(zip_fread(file, x, bytes), (zip_int64_t)bytes);
    zip_fclose(file);
    free(header);
    *n = bytes / sizeof *x;
    return x;
}

#endif
