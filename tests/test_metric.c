/* Metrics against the reference values and, in both arguments, against central differences. */
#include "support_backend.h"

#include "metric/metric.h"

#include <math.h>

enum { BLOCKS = 4 };

static const iv_kernels *tables[3];
static const double tolerances[] = {1e-12, 3e-6, 3e-6};

static int setup(void **state)
{
    (void)state;
    tables[0] = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    tables[1] = iv_kernels_get(IV_PRECISION_F32_REFERENCE, NULL);
    tables[2] = iv_kernels_get(IV_PRECISION_F32, NULL);
    return 0;
}

static iv_metric *metric_of(const char *text, const iv_kernels *k, size_t d, const double *weight)
{
    iv_metric_spec spec;
    iv_metric *metric;
    isovae_error err;
    assert_int_equal(iv_metric_parse(text, &spec, &err), ISOVAE_OK);
    assert_int_equal(
        iv_metric_new(&spec, k, &(iv_metric_use){.d = d, .weight = weight}, &metric, &err),
        ISOVAE_OK);
    return metric;
}

/* Learned noise of no pattern: s from 0.4 to 2.2, nu from 1 to 30. */
static void learn_something(iv_metric *m)
{
    double learned[IV_METRIC_MAX_LEARNED * 16];
    assert_true(m->d <= 16);
    for (size_t i = 0; i < m->d; i++) {
        learned[i] = -0.9 + 1.7 * (double)(i * 5 % 7) / 6;
        learned[m->d + i] = log(30.0) * (double)(i * 3 % 5) / 4;
    }
    void *vector = NULL;
    assert_int_equal(m->k->alloc(&vector, 2 * m->d, "a test", NULL), ISOVAE_OK);
    m->k->upload(vector, learned, 2 * m->d);
    iv_metric_settle(m, vector);
    m->k->release(vector);
}

/* GV at `at`, in blocks that stand apart, against GV of the file (rows, 4, d). */
static void check_g(const iv_metric *m, const npz *file, const double *at, size_t rows, size_t d,
                    double tolerance)
{
    const iv_kernels *k = m->k;
    size_t stride = rows * d + 3, gv_stride = rows * d + 7;
    const npz_array *v = npz_get(file, "V"), *want = npz_get(file, "GV");
    double *blocks = calloc(BLOCKS * stride, sizeof(double));
    double *expected = calloc(BLOCKS * gv_stride, sizeof(double));
    assert_non_null(blocks);
    assert_non_null(expected);
    assert_int_equal(v->count, rows * BLOCKS * d);
    for (size_t b = 0; b < BLOCKS; b++) {
        for (size_t r = 0; r < rows; r++) {
            memcpy(blocks + b * stride + r * d, v->values + (r * BLOCKS + b) * d,
                   d * sizeof(double));
            memcpy(expected + b * gv_stride + r * d, want->values + (r * BLOCKS + b) * d,
                   d * sizeof(double));
        }
    }
    void *x = up(k, at, rows * d), *from = up(k, blocks, BLOCKS * stride);
    void *to = up(k, NULL, BLOCKS * gv_stride);
    m->kind->apply_g(m, 0, rows, x, BLOCKS, from, stride, to, gv_stride);
    check(k, "GV", to, expected, BLOCKS * gv_stride, tolerance);
    k->release(x);
    k->release(from);
    free(blocks);
    free(expected);
}

/* The pair of xhat, xbreve gives D(x, xhat) again where D(x, .) is no cross-entropy: so g_x of the
 * files is the pair's gradient in its first argument. */
static void run_distance(const char *text, const char *name, const iv_kernels *k, double tolerance)
{
    npz file;
    if (!npz_open(&file, name)) skip();
    const npz_array *x = npz_get(&file, "x"), *w = npz_find(&file, "w");
    const double *xhat = npz_get(&file, "xhat")->values, *value = npz_get(&file, "value")->values;
    const double *g_x = npz_get(&file, "g_x")->values, *g_xhat = npz_get(&file, "g_xhat")->values;
    size_t rows = x->shape[0], d = x->shape[1], n = rows * d;
    iv_metric *m = metric_of(text, k, d, w != NULL ? w->values : NULL);
    void *a = up(k, x->values, n), *b = up(k, xhat, n);
    double *got = calloc(rows, sizeof *got);
    assert_non_null(got);

    m->kind->value(m, 0, rows, a, b, got);
    assert_near("value", got, value, rows, tolerance);
    m->kind->pair_value(m, 0, rows, a, b, got);
    assert_near("pair value", got, value, rows, tolerance);

    double *expected = calloc(n, sizeof *expected);
    assert_non_null(expected);
    void *g = up(k, NULL, n);
    for (size_t i = 0; i < n; i++) expected[i] = 0.375 * g_xhat[i];
    m->kind->gradient(m, 0, rows, a, b, 0.375, g);
    check(k, "g_xhat", g, expected, n, tolerance);

    void *g_hat = up(k, x->values, n), *g_breve = up(k, x->values, n); /* g_hat is added to */
    m->kind->pair_gradient(m, 0, rows, a, b, 0.375, g_hat, g_breve);
    check(k, "pair g_breve", g_breve, expected, n, tolerance);
    for (size_t i = 0; i < n; i++) expected[i] = x->values[i] + 0.375 * g_x[i];
    check(k, "pair g_hat", g_hat, expected, n, tolerance);
    free(expected);

    check_g(m, &file, x->values, rows, d, tolerance);
    iv_metric_row_factor(m, rows, a, got);
    if (m->kind->loss == IV_LOSS_WEIGHTED) {
        assert_near("a", got, npz_get(&file, "a")->values, rows, tolerance);
    } else {
        for (size_t r = 0; r < rows; r++) assert_true(got[r] == 1);
    }
    free(got);
    k->release(a);
    k->release(b);
    iv_metric_free(m);
    npz_close(&file);
}

static void distances(void **state)
{
    static const char *const cases[][2] = {{"sse", "metrics/sse.npz"},
                                           {"sse", "metrics/sse_features.npz"},
                                           {"weighted:down", "metrics/weighted_down.npz"},
                                           {"weighted:up", "metrics/weighted_up.npz"}};
    (void)state;
    for (size_t t = 0; t < 3; t++) {
        for (size_t i = 0; i < 4; i++) {
            run_distance(cases[i][0], cases[i][1], tables[t], tolerances[t]);
        }
    }
}

static void run_bce(const iv_kernels *k, double tolerance)
{
    npz file;
    if (!npz_open(&file, "metrics/bce.npz")) skip();
    const npz_array *x = npz_get(&file, "x"), *logits = npz_get(&file, "logits");
    const npz_array *hat = npz_get(&file, "logits_hat"), *breve = npz_get(&file, "logits_breve");
    double *g_breve = npz_get(&file, "g_breve")->values;
    size_t rows = x->shape[0], d = x->shape[1], n = rows * d;
    iv_metric *m = metric_of("bce", k, d, NULL);
    void *a = up(k, x->values, n), *b = up(k, logits->values, n);
    void *h = up(k, hat->values, n), *br = up(k, breve->values, n);
    double *got = calloc(rows, sizeof *got);
    assert_non_null(got);
    m->kind->value(m, 0, rows, a, b, got);
    assert_near("bce value", got, npz_get(&file, "value")->values, rows, tolerance);
    m->kind->pair_value(m, 0, rows, h, br, got);
    assert_near("bce pair", got, npz_get(&file, "pair_distance")->values, rows, tolerance);
    free(got);

    void *g = up(k, NULL, n), *to_hat = up(k, NULL, n), *to_breve = up(k, x->values, n);
    m->kind->gradient(m, 0, rows, a, b, 1, g);
    check(k, "bce g_logits", g, npz_get(&file, "g_logits")->values, n, tolerance);
    m->kind->pair_gradient(m, 0, rows, h, br, 0.5, to_hat, to_breve);
    m->kind->pair_gradient(m, 0, rows, h, br, 0.5, to_hat,
                           to_breve); /* half and half; breve: half */
    check(k, "bce g_hat", to_hat, npz_get(&file, "g_hat_distance")->values, n, tolerance);
    for (size_t i = 0; i < n; i++) g_breve[i] /= 2;
    check(k, "bce g_breve", to_breve, g_breve, n, tolerance);
    check_g(m, &file, logits->values, rows, d, tolerance);
    k->release(a);
    k->release(b);
    k->release(h);
    k->release(br);
    iv_metric_free(m);
    npz_close(&file);
}

static void bce(void **state)
{
    (void)state;
    for (size_t t = 0; t < 3; t++) run_bce(tables[t], tolerances[t]);
}

/* Some numbers without a pattern, in (-1, 1). */
static double wave(size_t i)
{
    return sin(1.7 * (double)i + 0.3 * (double)(i * i % 11));
}

typedef void value_fn(const iv_metric *m, size_t lane, size_t rows, const void *x, const void *y,
                      double *value);

/* The derivative of sum of value in element `at` of one argument, by central differences. */
static double difference(const iv_metric *m, value_fn *f, size_t rows, double *x, double *y,
                         double *at)
{
    const double step = 1e-6;
    double *plus = calloc(2 * rows, sizeof *plus), *minus = plus + rows, sum = 0, was = *at;
    assert_non_null(plus);
    *at = was + step; /* f64 backend memory is plain doubles in host memory here */
    f(m, 0, rows, x, y, plus);
    *at = was - step;
    f(m, 0, rows, x, y, minus);
    *at = was;
    for (size_t r = 0; r < rows; r++) sum += plus[r] - minus[r];
    free(plus);
    return sum / (2 * step);
}

/* The same in a learned parameter. */
static double learned_difference(iv_metric *m, value_fn *f, size_t rows, double *x, double *y,
                                 size_t at)
{
    const double step = 1e-6;
    double *plus = calloc(2 * rows, sizeof *plus), *minus = plus + rows, sum = 0;
    double was = m->learned[at];
    assert_non_null(plus);
    m->learned[at] = was + step;
    m->kind->settle(m);
    f(m, 0, rows, x, y, plus);
    m->learned[at] = was - step;
    m->kind->settle(m);
    f(m, 0, rows, x, y, minus);
    m->learned[at] = was;
    m->kind->settle(m);
    for (size_t r = 0; r < rows; r++) sum += plus[r] - minus[r];
    free(plus);
    return sum / (2 * step);
}

static void run_differences(const char *text, bool weights)
{
    enum { ROWS = 70, D = 3 }; /* more rows than one chunk of the weighted metric */
    const iv_kernels *k = tables[0];
    double w[] = {0.5, 2, 1.25}, x[ROWS * D], y[ROWS * D], data[ROWS * D];
    double g[ROWS * D], hat[ROWS * D] = {0}, breve[ROWS * D];
    iv_metric *m = metric_of(text, k, D, weights ? w : NULL);
    learn_something(m);
    for (size_t i = 0; i < ROWS * D; i++) {
        x[i] = 1.5 * wave(i);
        y[i] = 1.5 * wave(i + 1000);
        data[i] = m->kind->logits ? 0.5 + 0.5 * wave(i + 2000) : x[i];
    }
    m->kind->gradient(m, 0, ROWS, data, y, 1, g);
    m->kind->pair_gradient(m, 0, ROWS, x, y, 1, hat, breve);
    for (size_t i = 0; i < ROWS * D; i += 13) {
        double want = difference(m, m->kind->value, ROWS, data, y, &y[i]);
        assert_true(fabs(g[i] - want) < 1e-7 * (1 + fabs(want)));
        want = difference(m, m->kind->pair_value, ROWS, x, y, &x[i]);
        assert_true(fabs(hat[i] - want) < 1e-7 * (1 + fabs(want)));
        want = difference(m, m->kind->pair_value, ROWS, x, y, &y[i]);
        assert_true(fabs(breve[i] - want) < 1e-7 * (1 + fabs(want)));
    }
    /* What is learned: of the value, and of the pair. */
    double slopes[2 * D] = {0}, pair[2 * D] = {0};
    if (m->kind->learn != NULL) {
        m->kind->learn(m, ROWS, 0, 2, data, y, 0.5, false, slopes); /* in two blocks of columns, */
        m->kind->learn(m, ROWS, 2, 1, data, y, 0.5, false, slopes);
        m->kind->learn(m, ROWS, 0, D, data, y, 0.5, false, slopes); /* and added to */
        m->kind->learn(m, ROWS, 0, D, x, y, 1, true, pair);
    }
    for (size_t i = 0; i < iv_metric_learned(&(iv_metric_spec){.loss = m->kind->loss}, D); i++) {
        double want = learned_difference(m, m->kind->value, ROWS, data, y, i);
        assert_true(fabs(slopes[i] - want) < 1e-7 * (1 + fabs(want)));
        want = learned_difference(m, m->kind->pair_value, ROWS, x, y, i);
        assert_true(fabs(pair[i] - want) < 1e-7 * (1 + fabs(want)));
    }
    /* G of all rows at once, in two blocks, is that of each row alone. */
    double v[2 * ROWS * D + 5], gv[2 * ROWS * D], one[D];
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) v[i] = wave(i + 3000);
    m->kind->apply_g(m, 0, ROWS, x, 2, v, ROWS * D + 5, gv, ROWS * D);
    for (size_t b = 0; b < 2; b++) {
        for (size_t r = 0; r < ROWS; r++) {
            m->kind->apply_g(m, 0, 1, x + r * D, 1, v + b * (ROWS * D + 5) + r * D, D, one, D);
            assert_memory_equal(one, gv + (b * ROWS + r) * D, sizeof one);
        }
    }
    iv_metric_free(m);
}

static void differences(void **state)
{
    (void)state;
    run_differences("sse", false);
    run_differences("sse", true);
    run_differences("weighted:down", true);
    run_differences("weighted:up", false);
    run_differences("weighted:inverse,0.5,2", true);
    run_differences("bce", false);
    run_differences("sse:feature", false);
    run_differences("student", false);
}

/* G is half the second derivative: D(x, x + u) ~ u^T G u for a small u. */
static void curvature(void **state)
{
    static const char *const texts[] = {"sse", "weighted:down", "weighted:up",
                                        "bce", "sse:feature",   "student"};
    enum { D = 5 };
    (void)state;
    for (size_t t = 0; t < 6; t++) {
        double x[D], y[D], u[D], gu[D], value, w[D] = {1, 2, 3, 4, 5}, form = 0;
        iv_metric *m = metric_of(texts[t], tables[0], D, t < 3 ? w : NULL);
        learn_something(m);
        for (size_t i = 0; i < D; i++) {
            x[i] = 2 * wave(i);
            u[i] = 1e-4 * wave(i + 50);
            y[i] = x[i] + u[i];
        }
        m->kind->apply_g(m, 0, 1, x, 1, u, D, gu, D);
        m->kind->pair_value(m, 0, 1, x, y, &value);
        for (size_t i = 0; i < D; i++) form += u[i] * gu[i];
        assert_true(fabs(value - form) < 1e-3 * form);
        iv_metric_free(m);
    }
}

/* Learned metrics against their formulas, in every precision. */
static void learned_values(void **state)
{
    static const char *const texts[] = {"sse:feature", "student"};
    enum { ROWS = 5, D = 11 };
    double learned[2][2 * D];
    (void)state;
    for (size_t t = 0; t < 6; t++) {
        const iv_kernels *k = tables[t / 2];
        double tolerance = tolerances[t / 2], x[ROWS * D], y[ROWS * D], w[D], part[D];
        double value[ROWS], want[ROWS], g[ROWS * D], slope[ROWS * D];
        bool student = t % 2 == 1;
        iv_metric *m = metric_of(texts[t % 2], k, D, NULL);
        learn_something(m);
        for (size_t i = 0; i < ROWS * D; i++) {
            x[i] = (double)(float)(3 * wave(i));
            y[i] = (double)(float)(i % 9 == 4 ? 300 * wave(i + 7) : 3 * wave(i + 77));
        }
        for (size_t r = 0; r < ROWS; r++) {
            want[r] = 0;
            for (size_t i = 0; i < D; i++) {
                double s = exp(m->learned[i]), nu = student ? exp(m->learned[D + i]) : 0;
                double e = y[r * D + i] - x[r * D + i], u = e * e / (nu * s * s);
                if (student) {
                    want[r] += (nu + 1) / 2 * log1p(u) + log(s) + 0.5 * log(M_PI * nu) +
                               lgamma(nu / 2) - lgamma((nu + 1) / 2);
                    slope[r * D + i] = 0.5 * (nu + 1) * e / (nu * s * s) / (1 + u);
                    w[i] = (nu + 1) / (2 * nu * s * s);
                } else {
                    want[r] += e * e / (2 * s * s) + log(s) + 0.5 * log(2 * M_PI);
                    slope[r * D + i] = 0.5 * e / (s * s);
                    w[i] = 1 / (2 * s * s);
                }
            }
        }
        void *a = up(k, x, ROWS * D), *b = up(k, y, ROWS * D), *to = up(k, NULL, ROWS * D);
        m->kind->value(m, 0, ROWS, a, b, value);
        assert_near("value", value, want, ROWS, tolerance);
        m->kind->gradient(m, 0, ROWS, a, b, 0.5, to);
        k->download(g, to, ROWS * D);
        assert_near("gradient", g, slope, ROWS * D, tolerance);
        double *sums = learned[t % 2], again[2 * D] = {0};
        if (t < 2) memset(sums, 0, 2 * D * sizeof *sums);
        m->kind->learn(m, ROWS, 0, D, a, b, 0.5, false, t < 2 ? sums : again);
        if (t >= 2) assert_near("learn", again, sums, m->kind->n_learned * D, tolerance);
        /* G, its diagonal, and the parts of D that are no constant */
        m->kind->apply_g(m, 0, ROWS, a, 1, b, ROWS * D, to, ROWS * D);
        k->download(g, to, ROWS * D);
        for (size_t i = 0; i < ROWS * D; i++) slope[i] = w[i % D] * y[i];
        assert_near("G", g, slope, ROWS * D, tolerance);
        iv_metric_diagonal(m, NULL, part);
        assert_near("diagonal", part, w, D, 1e-12);
        m->kind->parts(m, x, y, part);
        value[0] = m->constant;
        for (size_t i = 0; i < D; i++) value[0] += part[i];
        assert_near("parts", value, want, 1, 1e-12);
        k->release(a);
        k->release(b);
        k->release(to);
        iv_metric_free(m);
    }
}

/* exp(-D) integrates to 1: with r = tan t the tails are in the sum. */
static void learned_densities(void **state)
{
    static const char *const texts[] = {"sse:feature", "student"};
    enum { STEPS = 20000, D = 1 };
    (void)state;
    for (size_t t = 0; t < 2; t++) {
        iv_metric *m = metric_of(texts[t], tables[0], D, NULL);
        double *x = calloc(2 * STEPS, sizeof *x), *value = x + STEPS, zero[STEPS] = {0}, sum = 0;
        assert_non_null(x);
        m->learned[0] = log(0.3);
        if (t == 1) m->learned[1] = log(2.5);
        m->kind->settle(m);
        for (size_t i = 0; i < STEPS; i++) x[i] = tan(M_PI * (((double)i + 0.5) / STEPS - 0.5));
        m->kind->value(m, 0, STEPS, zero, x, value);
        for (size_t i = 0; i < STEPS; i++) sum += exp(-value[i]) * (1 + x[i] * x[i]) * M_PI / STEPS;
        assert_true(fabs(sum - 1) < 1e-6);
        free(x);
        iv_metric_free(m);
    }
}

static void learned_limits(void **state)
{
    enum { D = 3 };
    (void)state;
    for (size_t t = 0; t < 3; t++) {
        const iv_kernels *k = tables[t];
        iv_metric *m = metric_of("student", k, D, NULL);
        double v[2 * D] = {-9, -1, 90, -0.5, 2, 50}, want[2 * D];
        void *vector = up(k, v, 2 * D);
        iv_metric_limit(m, -2, vector);
        double limited[] = {-2, -1, 40, 0, 2, log(1000.0)};
        memcpy(want, limited, sizeof want);
        check(k, "limits", vector, want, 2 * D, 1e-7);
        iv_metric_free(m);
    }
}

static void specifications(void **state)
{
    static const char *const good[] = {"sse",
                                       "bce",
                                       "weighted:down",
                                       "weighted:up",
                                       "weighted:0.1,0.2",
                                       "weighted:inverse,3,1e-05",
                                       "weighted:0.3333333333333333,0",
                                       "ssim",
                                       "ssim:1",
                                       "ssim:0.25",
                                       "sse:feature",
                                       "student"};
    static const char *const wrong[] = {"",
                                        "SSE",
                                        "sse ",
                                        "weighted",
                                        "weighted:",
                                        "weighted:1",
                                        "weighted:a,b",
                                        "weighted:0,1",
                                        "weighted:1,-1",
                                        "weighted:nan,1",
                                        "weighted:1,inf",
                                        "weighted:1,2,3",
                                        "weighted:inverse",
                                        "weighted:inverse,1",
                                        "ssim:",
                                        "ssim:0",
                                        "ssim:-1",
                                        "ssim:inf",
                                        "ssim:1,2",
                                        "sse:",
                                        "sse:common",
                                        "student:4"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        iv_metric_spec spec;
        char text[128];
        assert_int_equal(iv_metric_parse(good[i], &spec, NULL), ISOVAE_OK);
        iv_metric_format(&spec, text, sizeof text);
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        iv_metric_spec spec;
        isovae_error err;
        assert_int_equal(iv_metric_parse(wrong[i], &spec, &err), ISOVAE_ERR_ARGUMENT);
        assert_non_null(strstr(err.message, "--loss"));
    }
}

static isovae_status new_of(const iv_metric_spec *spec, const double *weight, iv_metric **out,
                            isovae_error *err)
{
    return iv_metric_new(spec, tables[0], &(iv_metric_use){.d = 2, .weight = weight}, out, err);
}

static void refusals(void **state)
{
    (void)state;
    iv_metric_spec sse = {.loss = IV_LOSS_SSE}, bce_spec = {.loss = IV_LOSS_BCE};
    iv_metric *m;
    isovae_error err;
    double ones[] = {1, 1}, twos[] = {2, 1}, zero[] = {0, 0}, less[] = {1, -1},
           bad[] = {1, (double)NAN};
    assert_int_equal(new_of(&sse, zero, &m, &err), ISOVAE_ERR_ARGUMENT);
    assert_null(m);
    assert_int_equal(new_of(&sse, less, &m, &err), ISOVAE_ERR_ARGUMENT);
    assert_int_equal(new_of(&sse, bad, &m, &err), ISOVAE_ERR_ARGUMENT);
    assert_int_equal(new_of(&bce_spec, twos, &m, &err), ISOVAE_ERR_ARGUMENT);
    assert_int_equal(new_of(&bce_spec, ones, &m, &err), ISOVAE_OK);
    assert_null(m->weight);
    iv_metric_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances),      cmocka_unit_test(bce),
        cmocka_unit_test(differences),    cmocka_unit_test(curvature),
        cmocka_unit_test(learned_values), cmocka_unit_test(learned_densities),
        cmocka_unit_test(learned_limits), cmocka_unit_test(specifications),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
