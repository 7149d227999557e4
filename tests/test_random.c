/* base/random: published vectors, pinned values, distributions, permutations. */
#include "base/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The known answers of the Random123 library for philox4x32-10. */
static void test_philox(void **state)
{
    (void)state;
    const struct {
        uint32_t counter[4], key[2], out[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t out[4];
        iv_philox(cases[i].key, cases[i].counter, out);
        assert_memory_equal(out, cases[i].out, sizeof out);
    }
}

static const iv_key some_key = {.seed = 0x123456789abcdef0,
                                .purpose = IV_PURPOSE_NOISE,
                                .step = 0xab12345678,
                                .row = 0xcd87654321,
                                .draw = 0x123456};

/* Computed from the documented layout by a separate program (with a C library's log, cos and sin,
 * hence the tolerance): seeds must mean the same numbers for ever. */
static void test_pinned(void **state)
{
    (void)state;
    const double expected[] = {-0.3088621288632991, -2.1583976601670947, 0.05348553623453446,
                               0.5927781510349911,  -1.5495878093453794, 0.38238107240310204,
                               -0.7520860997053741, 0.8189399387017489};
    double normals[8], uniforms[2];
    iv_normals_f64(&some_key, 8, normals);
    for (int i = 0; i < 8; i++) assert_true(fabs(normals[i] - expected[i]) < 1e-15);
    iv_uniforms_f64(&some_key, 2, uniforms);
    assert_true(uniforms[0] == 0.7273788354575693);
    assert_true(uniforms[1] == 0.23567845505608165);
}

static void test_f32_is_f64_rounded(void **state)
{
    (void)state;
    for (size_t count = 0; count < 40; count++) {
        float narrow[41];
        double wide[41];
        narrow[count] = 99.0f;
        wide[count] = 99.0;
        iv_normals_f32(&some_key, count, narrow);
        iv_normals_f64(&some_key, count, wide);
        for (size_t i = 0; i < count; i++) assert_true(narrow[i] == (float)wide[i]);
        assert_true(narrow[count] == 99.0f && wide[count] == 99.0); /* nothing behind the end */
        iv_uniforms_f64(&some_key, count, wide);
        assert_true(wide[count] == 99.0);
    }
}

/* Every part of the key counts, each bit of it, and a prefix does not depend on the count. */
static void test_key_parts(void **state)
{
    (void)state;
    double base[4], other[4];
    iv_normals_f64(&some_key, 4, base);
    for (int bit = 0; bit < 64 + 40 + 40 + 24 + 8; bit++) {
        iv_key key = some_key;
        if (bit < 64)
            key.seed ^= UINT64_C(1) << bit;
        else if (bit < 104)
            key.step ^= UINT64_C(1) << (bit - 64);
        else if (bit < 144)
            key.row ^= UINT64_C(1) << (bit - 104);
        else if (bit < 168)
            key.draw ^= UINT32_C(1) << (bit - 144);
        else
            key.purpose = (iv_purpose)((unsigned)key.purpose ^ (1u << (bit - 168)));
        iv_normals_f64(&key, 4, other);
        for (int i = 0; i < 4; i++) assert_true(other[i] != base[i]);
    }
    double longer[1000];
    iv_normals_f64(&some_key, 1000, longer);
    assert_memory_equal(longer, base, sizeof base);
}

/* One key's numbers run on into the next draw, as documented. */
static void test_runs_on(void **state)
{
    (void)state;
    size_t own = 262144;
    double *many = malloc((own + 4) * sizeof *many), next[4];
    assert_non_null(many);
    iv_key key = {.seed = 5, .purpose = IV_PURPOSE_INIT, .draw = 3};
    iv_normals_f64(&key, own + 4, many);
    key.draw = 4;
    iv_normals_f64(&key, 4, next);
    assert_memory_equal(many + own, next, sizeof next);
    free(many);
    /* the carry reaches the high half of the counter */
    key = (iv_key){.seed = 5, .purpose = IV_PURPOSE_INIT, .draw = 0xFFFFFF, .row = 0xFFFFFF};
    many = malloc((own + 4) * sizeof *many);
    assert_non_null(many);
    iv_normals_f64(&key, own + 4, many);
    key.draw = 0;
    key.row = 0x1000000;
    iv_normals_f64(&key, 4, next);
    assert_memory_equal(many + own, next, sizeof next);
    free(many);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Kolmogorov's distance of sorted values from the normal (or uniform) distribution, times sqrt(n);
 * 1.95 is exceeded once in a thousand. The seeds are fixed: this passes always or never. */
static double kolmogorov(const double *sorted, size_t n, int normal)
{
    double worst = 0.0;
    for (size_t i = 0; i < n; i++) {
        double p = normal ? 0.5 * erfc(-sorted[i] / sqrt(2.0)) : sorted[i];
        worst = fmax(worst, fabs(p - (double)i / (double)n));
        worst = fmax(worst, fabs(p - (double)(i + 1) / (double)n));
    }
    return worst * sqrt((double)n);
}

enum { DRAWS = 400000, WIDTH = 10 };

/* As training takes them: ten latents a row, one key a row. */
static void test_normals_distribution(void **state)
{
    (void)state;
    double *x = malloc(DRAWS * sizeof *x);
    assert_non_null(x);
    iv_key key = {.seed = 1, .purpose = IV_PURPOSE_NOISE, .step = 17};
    for (size_t i = 0; i < DRAWS; i += WIDTH) {
        key.row = i / WIDTH;
        iv_normals_f64(&key, WIDTH, x + i);
    }
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0, neighbour = 0, row = 0, squares = 0;
    for (size_t i = 0; i < DRAWS; i++) {
        m1 += x[i];
        m2 += x[i] * x[i];
        m3 += x[i] * x[i] * x[i];
        m4 += x[i] * x[i] * x[i] * x[i];
        if (i > 0) neighbour += x[i] * x[i - 1];
        if (i > 0) squares += (x[i] * x[i] - 1.0) * (x[i - 1] * x[i - 1] - 1.0);
        if (i >= WIDTH) row += x[i] * x[i - WIDTH];
    }
    double n = DRAWS, se = 1.0 / sqrt(n); /* 4 standard errors each */
    assert_true(fabs(m1 / n) < 4 * se);
    assert_true(fabs(m2 / n - 1.0) < 4 * se * sqrt(2.0));
    assert_true(fabs(m3 / n) < 4 * se * sqrt(15.0));
    assert_true(fabs(m4 / n - 3.0) < 4 * se * sqrt(96.0));
    assert_true(fabs(neighbour / n) < 4 * se);
    assert_true(fabs(squares / n) < 4 * se * 2.0);
    assert_true(fabs(row / n) < 4 * se);
    qsort(x, DRAWS, sizeof *x, ascending);
    assert_true(kolmogorov(x, DRAWS, 1) < 1.95);
    assert_true(x[DRAWS - 1] > 4.2 && x[0] < -4.2); /* both tails are there */
    free(x);
}

static void test_uniforms_distribution(void **state)
{
    (void)state;
    double *x = malloc(DRAWS * sizeof *x);
    assert_non_null(x);
    iv_key key = {.seed = 2, .purpose = IV_PURPOSE_TOY};
    for (size_t i = 0; i < DRAWS; i += WIDTH) {
        key.row = i / WIDTH;
        iv_uniforms_f64(&key, WIDTH, x + i);
    }
    for (size_t i = 0; i < DRAWS; i++) assert_true(x[i] > 0.0 && x[i] < 1.0);
    qsort(x, DRAWS, sizeof *x, ascending);
    assert_true(kolmogorov(x, DRAWS, 0) < 1.95);
    free(x);
}

/* ---- permutations ---- */

static void test_permute_is_one(void **state)
{
    (void)state;
    const uint64_t sizes[] = {1,    2,    3,    4,     5,     15,    16,    17,    63,    64,
                              65,   100,  255,  256,   257,   1000,  1023,  1024,  1025,  4095,
                              4096, 4097, 9999, 16384, 16385, 50000, 65536, 65537, 262145};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        uint64_t n = sizes[s];
        unsigned char *seen = calloc((size_t)n, 1);
        assert_non_null(seen);
        iv_key key = {.seed = s, .purpose = IV_PURPOSE_SHUFFLE, .step = s * 3};
        for (uint64_t i = 0; i < n; i++) {
            uint64_t image = iv_permute(&key, n, i);
            assert_true(image < n);
            assert_int_equal(seen[image], 0);
            seen[image] = 1;
        }
        free(seen);
    }
    iv_key key = {.seed = 1, .purpose = IV_PURPOSE_SHUFFLE};
    uint64_t n = UINT64_C(0xFFFFFFFFFFFFFFF0);
    for (uint64_t i = 0; i < 100; i++) {
        assert_true(iv_permute(&key, n, i) < n);
        assert_true(iv_permute(&key, n, i) != iv_permute(&key, n, i + 1));
    }
    assert_int_equal(iv_permute(&key, 0, 0), 0);
}

/* All 24 orders of four things come up equally often: chi-square on 23 degrees, 0.001 at 49.7. */
static void test_permute_uniform_small(void **state)
{
    (void)state;
    enum { TRIALS = 24000 };
    int counts[256] = {0};
    for (uint64_t trial = 0; trial < TRIALS; trial++) {
        iv_key key = {.seed = 9, .purpose = IV_PURPOSE_SHUFFLE, .step = trial};
        unsigned code = 0;
        for (uint64_t i = 0; i < 4; i++) code = code << 2 | (unsigned)iv_permute(&key, 4, i);
        counts[code]++;
    }
    double chi2 = 0.0;
    int orders = 0;
    for (int i = 0; i < 256; i++) {
        if (counts[i] == 0) continue;
        double off = counts[i] - TRIALS / 24.0;
        chi2 += off * off / (TRIALS / 24.0);
        orders++;
    }
    assert_int_equal(orders, 24);
    assert_true(chi2 < 49.7);
}

/* Where index i lands is uniform over epochs, and neighbours land independently. */
static void test_permute_uniform_large(void **state)
{
    (void)state;
    enum { N = 1000, CELLS = 10, EPOCHS = 20000 };
    const uint64_t starts[] = {0, 1, 499, 998};
    for (size_t s = 0; s < 4; s++) {
        double counts[CELLS][CELLS] = {{0}}, chi2 = 0.0;
        for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
            iv_key key = {.seed = 4, .purpose = IV_PURPOSE_SHUFFLE, .step = epoch};
            uint64_t a = iv_permute(&key, N, starts[s]), b = iv_permute(&key, N, starts[s] + 1);
            counts[a * CELLS / N][b * CELLS / N]++;
        }
        for (int i = 0; i < CELLS; i++) {
            for (int j = 0; j < CELLS; j++) {
                /* without replacement: the same cell has one place fewer */
                double p = (N / CELLS) * (double)(N / CELLS - (i == j)) / ((double)N * (N - 1));
                double expected = p * EPOCHS;
                chi2 += (counts[i][j] - expected) * (counts[i][j] - expected) / expected;
            }
        }
        assert_true(chi2 < 148.2); /* 99 degrees, 0.001 */
    }
}

static void test_permute_key(void **state)
{
    (void)state;
    iv_key key = {.seed = 4, .purpose = IV_PURPOSE_SHUFFLE, .step = 8}, other = key;
    other.row = 5;
    other.draw = 6;
    int same = 0, same_step = 0, fixed = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        same += iv_permute(&key, 1000, i) == iv_permute(&other, 1000, i);
        fixed += iv_permute(&key, 1000, i) == i;
    }
    other.step = 9;
    for (uint64_t i = 0; i < 1000; i++) {
        same_step += iv_permute(&key, 1000, i) == iv_permute(&other, 1000, i);
    }
    assert_int_equal(same, 1000); /* row and draw are not used */
    assert_true(same_step < 10 && fixed < 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox),
        cmocka_unit_test(test_pinned),
        cmocka_unit_test(test_f32_is_f64_rounded),
        cmocka_unit_test(test_key_parts),
        cmocka_unit_test(test_runs_on),
        cmocka_unit_test(test_normals_distribution),
        cmocka_unit_test(test_uniforms_distribution),
        cmocka_unit_test(test_permute_is_one),
        cmocka_unit_test(test_permute_uniform_small),
        cmocka_unit_test(test_permute_uniform_large),
        cmocka_unit_test(test_permute_key),
    };
    return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
