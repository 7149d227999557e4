/* The elementwise kernels: activations against correctly rounded values and, in single precision,
 * in units of the last place over the whole range; the rest against the f64 reference, whose
 * gradients are checked against differences; and every kernel for not minding where in an array an
 * element lies. */
#include "support_kernels.h"

#include <float.h>

static const iv_kernels *reference(void)
{
    return iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
}

/* ---- activations ---- */

static void activations_far_out(void **state)
{
    (void)state;
    zip_t *archive = open_reference("nodes/activations_far_out.npz");
    if (!archive) skip();
    size_t n, checked = 0;
    double *x = read_doubles(archive, "x", &n);
    double *y = must_alloc(n * sizeof *y);
    for (int act = IV_ACT_RELU; act < IV_ACT_COUNT; act++) {
        for (int slope = 0; slope < 2; slope++) {
            char key[64];
            size_t count;
            snprintf(key, sizeof key, "%sy_%s", slope ? "d" : "", iv_act_name((iv_act)act));
            char member[80];
            snprintf(member, sizeof member, "%s.npy", key);
            if (zip_name_locate(archive, member, 0) < 0) continue;
            double *exact = read_doubles(archive, key, &count);
            assert_int_equal(count, n);
            double parameter = iv_act_default_parameter((iv_act)act);
            if (slope)
                reference()->act_derivative((iv_act)act, parameter, n, x, y);
            else
                reference()->act_forward((iv_act)act, parameter, n, x, y);
            double limit = act == IV_ACT_GELU ? 1e-12 : 1e-14;
            for (size_t i = 0; i < n; i++) {
                if (!(fabs(y[i] - exact[i]) <= limit * fabs(exact[i]) + 4 * 0x1p-1074))
                    fail_msg("%s(%.17g) = %.17g, exact %.17g", key, x[i], y[i], exact[i]);
            }
            free(exact);
            checked++;
        }
    }
    assert_true(checked >= 12);
    free(x);
    free(y);
    zip_close(archive);
}

/* Values of every size: each exponent, both signs, the ends, and the range that matters densely. */
static float *sweep(size_t *n)
{
    static const float special[] = {0.0f,     -0.0f,  INFINITY, -INFINITY, NAN,     FLT_MAX,
                                    -FLT_MAX, 600.0f, -600.0f,  88.7228f,  -87.33f, -103.9f,
                                    -104.1f,  1e-45f, -1e-45f,  FLT_MIN,   -FLT_MIN};
    const size_t specials = sizeof special / sizeof *special, bits = 60000, dense = 240000;
    float *x = must_alloc((specials + bits + dense) * sizeof *x);
    memcpy(x, special, sizeof special);
    *n = specials;
    for (size_t i = 0; i < bits; i++) {
        uint32_t u = (uint32_t)(i * 71581u + 12345u);
        memcpy(x + *n, &u, 4);
        if (!isnan(x[*n])) (*n)++;
    }
    for (size_t i = 0; i < dense; i++)
        x[(*n)++] = (float)(i % 3 == 0 ? 110 * draw() : i % 3 == 1 ? 15 * draw() : 2 * draw());
    return x;
}

/* Bounds in ULP of the result. A slope that passes through zero is measured near it against its
 * terms, of size 1/4. */
static const struct {
    iv_act act;
    double forward, slope;
} ulp_bounds[] = {
    {IV_ACT_NONE, 0, 0}, {IV_ACT_RELU, 0, 0}, {IV_ACT_LEAKY_RELU, 1, 1}, {IV_ACT_ELU, 3, 2},
    {IV_ACT_SILU, 4, 6}, {IV_ACT_GELU, 6, 6}, {IV_ACT_SOFTPLUS, 3, 4},   {IV_ACT_SIGMOID, 4, 6},
    {IV_ACT_TANH, 4, 6}, {IV_ACT_EXP, 2, 2},
};

static void activations_in_ulps(void **state)
{
    (void)state;
    random_state = 21;
    size_t n;
    float *x = sweep(&n), *y = must_alloc(n * sizeof *y);
    double *wide = must_alloc(n * sizeof *wide), *exact = must_alloc(n * sizeof *exact);
    for (size_t i = 0; i < n; i++) wide[i] = (double)x[i];
    const iv_kernels *t;
    for (size_t number = 1; (t = table_number(number)); number++) {
        for (size_t a = 0; a < sizeof ulp_bounds / sizeof *ulp_bounds; a++) {
            iv_act act = ulp_bounds[a].act;
            double parameter = act == IV_ACT_LEAKY_RELU ? 0.125 : 1;
            for (int slope = 0; slope < 2; slope++) {
                double bound = slope ? ulp_bounds[a].slope : ulp_bounds[a].forward, worst = 0;
                size_t at = 0;
                if (slope) {
                    t->act_derivative(act, parameter, n, x, y);
                    reference()->act_derivative(act, parameter, n, wide, exact);
                } else {
                    t->act_forward(act, parameter, n, x, y);
                    reference()->act_forward(act, parameter, n, wide, exact);
                }
                for (size_t i = 0; i < n; i++) {
                    bool crossing =
                        slope && fabsf(x[i]) < 4 && (act == IV_ACT_SILU || act == IV_ACT_GELU);
                    /* x times a factor below the normal range has the factor's granularity */
                    double floor = act == IV_ACT_SILU || act == IV_ACT_GELU ? 0x1p-119 : 0;
                    double e = ulps((double)y[i], exact[i], crossing ? 0.25 : floor);
                    if (!(e <= worst)) {
                        worst = e;
                        at = i;
                    }
                }
                /* The f32 reference is the formula in float, without care for the far tail. */
                if (number == 1) continue;
                if (getenv("ISOVAE_TEST_VERBOSE"))
                    print_message("%-8s %-10s %-7s %.2f ULP at %.9g\n", t->isa, iv_act_name(act),
                                  slope ? "slope" : "", worst, (double)x[at]);
                if (!(worst <= bound))
                    fail_msg("%s: %s%s of %.9g is %.9g, exact %.17g: %.2f ULP, bound %g", t->isa,
                             iv_act_name(act), slope ? "'" : "", (double)x[at], (double)y[at],
                             exact[at], worst, bound);
            }
        }
    }
    free(x);
    free(y);
    free(wide);
    free(exact);
}

/* Infinities and NaN in every table. */
static void activations_at_the_ends(void **state)
{
    (void)state;
    static const struct {
        iv_act act;
        double below, above, slope_below, slope_above;
    } ends[] = {{IV_ACT_NONE, -INFINITY, INFINITY, 1, 1},
                {IV_ACT_RELU, 0, INFINITY, 0, 1},
                {IV_ACT_LEAKY_RELU, -INFINITY, INFINITY, 0.5, 1},
                {IV_ACT_ELU, -0.5, INFINITY, 0, 1},
                {IV_ACT_SILU, 0, INFINITY, 0, 1},
                {IV_ACT_GELU, 0, INFINITY, 0, 1},
                {IV_ACT_SOFTPLUS, 0, INFINITY, 0, 1},
                {IV_ACT_SIGMOID, 0, 1, 0, 0},
                {IV_ACT_TANH, -1, 1, 0, 0},
                {IV_ACT_EXP, 0, INFINITY, 0, INFINITY}};
    const double x[3] = {-INFINITY, INFINITY, NAN};
    const iv_kernels *t;
    for (size_t number = 0; (t = table_number(number)); number++) {
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
            void *xt = typed(t, x, 3), *yt = must_alloc(3 * t->size);
            t->act_forward(ends[i].act, 0.5, 3, xt, yt);
            double *y = untyped(t, yt, 3);
            assert_true(y[0] == ends[i].below);
            assert_true(y[1] == ends[i].above);
            assert_true(isnan(y[2]));
            free(y);
            t->act_derivative(ends[i].act, 0.5, 3, xt, yt);
            y = untyped(t, yt, 3);
            assert_true(y[0] == ends[i].slope_below);
            assert_true(y[1] == ends[i].slope_above);
            assert_true(isnan(y[2]) || ends[i].act == IV_ACT_NONE);
            free(y);
            free(xt);
            free(yt);
        }
    }
}

/* ---- every elementwise kernel as one call on whole arrays, to compare tables and places ---- */

enum { INPUTS = 5, OUTPUTS = 2 };

typedef struct call {
    const char *name;
    int kind;
    double tolerance; /* f32 against f64, relative to 1 + |value| */
} call;

enum {
    ADD,
    AXPY,
    MULTIPLY,
    MULTIPLY_ADD,
    COPY,
    COPY_ADD,
    REVERSE,
    REVERSE_ADD,
    SAMPLE,
    HEADS,
    HEADS_HAT,
    SSE_GRADIENT,
    SSE_GRADIENT_W,
    SCALE_ROWS,
    SCALE_ROWS_ADD,
    SCALE_COLUMNS,
    BCE_GRADIENT,
    BCE_PAIR_GRADIENT,
    BCE_METRIC,
    ADAM,
    COLUMN_SUMS,
    FILL
};

static const call calls[] = {{"add", ADD, 1e-6},
                             {"axpy", AXPY, 1e-6},
                             {"multiply", MULTIPLY, 1e-6},
                             {"multiply_add", MULTIPLY_ADD, 1e-6},
                             {"copy_block", COPY, 0},
                             {"copy_block +=", COPY_ADD, 1e-6},
                             {"act_reverse", REVERSE, 1e-6},
                             {"act_reverse +=", REVERSE_ADD, 1e-6},
                             {"sample", SAMPLE, 1e-6},
                             {"heads_reverse", HEADS, 2e-6},
                             {"heads_reverse with g_hat", HEADS_HAT, 2e-6},
                             {"sse_gradient", SSE_GRADIENT, 1e-6},
                             {"sse_gradient, weights", SSE_GRADIENT_W, 1e-6},
                             {"scale_rows", SCALE_ROWS, 1e-6},
                             {"scale_rows +=", SCALE_ROWS_ADD, 1e-6},
                             {"scale_columns", SCALE_COLUMNS, 1e-6},
                             {"bce_gradient", BCE_GRADIENT, 1e-6},
                             {"bce_pair_gradient", BCE_PAIR_GRADIENT, 1e-6},
                             {"bce_metric", BCE_METRIC, 1e-6},
                             {"adam", ADAM, 1e-6},
                             {"column_sums", COLUMN_SUMS, 1e-6},
                             {"fill", FILL, 1e-6}};

/* Runs a call on one row of n elements: inputs in[], outputs out[] (which start with values). */
static void run_call(const iv_kernels *t, int kind, size_t n, const void *const in[INPUTS],
                     void *const out[OUTPUTS])
{
    const double row = 0.75;
    iv_adam adam = {.rate = 0.01,
                    .beta1 = 0.9,
                    .beta2 = 0.999,
                    .epsilon = 1e-8,
                    .weight_decay = 0.1,
                    .step = 3};
    switch (kind) {
    case ADD: t->add(n, in[0], in[1], out[0]); break;
    case AXPY: t->axpy(n, 0.3, in[0], out[0]); break;
    case MULTIPLY: t->multiply(n, in[0], in[1], out[0]); break;
    case MULTIPLY_ADD: t->multiply_add(n, in[0], in[1], out[0]); break;
    case COPY: t->copy_block(1, n, in[0], n, out[0], n, false); break;
    case COPY_ADD: t->copy_block(1, n, in[0], n, out[0], n, true); break;
    case REVERSE: t->act_reverse(IV_ACT_SILU, 0, n, in[0], in[1], out[0], false); break;
    case REVERSE_ADD: t->act_reverse(IV_ACT_TANH, 0, n, in[0], in[1], out[0], true); break;
    case SAMPLE: t->sample(n, in[0], in[1], -2, 1.5, in[2], out[0]); break;
    case HEADS:
    case HEADS_HAT:
        t->heads_reverse(n, in[0], in[1], -2, 1.5, in[2], in[3], kind == HEADS ? NULL : in[4], 0.4,
                         out[0], out[1]);
        break;
    case SSE_GRADIENT: t->sse_gradient(1, n, in[0], in[1], NULL, NULL, 0.7, out[0], true); break;
    case SSE_GRADIENT_W:
        t->sse_gradient(1, n, in[0], in[1], in[2], &row, 0.7, out[0], false);
        break;
    case SCALE_ROWS: t->scale_rows(1, n, &row, in[0], out[0], false); break;
    case SCALE_ROWS_ADD: t->scale_rows(1, n, &row, in[0], out[0], true); break;
    case SCALE_COLUMNS: t->scale_columns(1, n, in[1], in[0], out[0]); break;
    case BCE_GRADIENT: t->bce_gradient(1, n, in[0], in[1], 0.7, out[0], true); break;
    case BCE_PAIR_GRADIENT:
        t->bce_pair_gradient(1, n, in[0], in[1], 0.7, out[0], out[1], false, true);
        break;
    case BCE_METRIC: t->bce_metric(n, in[0], 1, in[1], n, out[0], n); break;
    case ADAM: { /* the second moment is never negative */
        void *v = must_alloc(n * t->size);
        t->multiply(n, in[1], in[1], v);
        t->adam(n, &adam, out[0], in[0], out[1], v);
        free(v);
        break;
    }
    case COLUMN_SUMS: t->column_sums(1, n, in[0], n, out[0], true); break;
    case FILL: t->fill(n, 1.1, out[0]); break;
    default: fail();
    }
}

static void elementwise_against_f64(void **state)
{
    (void)state;
    random_state = 22;
    enum { N = 1003 };
    double *in[INPUTS], *out[OUTPUTS], *expected[OUTPUTS];
    for (int i = 0; i < INPUTS; i++) in[i] = random_values(N, 3);
    for (int i = 0; i < OUTPUTS; i++) out[i] = random_values(N, 1);
    for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
        for (int i = 0; i < OUTPUTS; i++) expected[i] = untyped(reference(), out[i], N);
        run_call(reference(), calls[c].kind, N, (const void *const *)in, (void *const *)expected);
        const iv_kernels *t;
        for (size_t number = 1; (t = table_number(number)); number++) {
            void *tin[INPUTS], *tout[OUTPUTS];
            for (int i = 0; i < INPUTS; i++) tin[i] = typed(t, in[i], N);
            for (int i = 0; i < OUTPUTS; i++) tout[i] = typed(t, out[i], N);
            run_call(t, calls[c].kind, N, (const void *const *)tin, tout);
            for (int o = 0; o < OUTPUTS; o++) {
                double *y = untyped(t, tout[o], N);
                for (size_t i = 0; i < N; i++) {
                    double e = fabs(y[i] - expected[o][i]);
                    if (!(e <= calls[c].tolerance * (1 + fabs(expected[o][i]))))
                        fail_msg("%s %s: %s, output %d, element %zu: %.9g, f64 %.17g", t->name,
                                 t->isa, calls[c].name, o, i, y[i], expected[o][i]);
                }
                free(y);
            }
            for (int i = 0; i < INPUTS; i++) free(tin[i]);
            for (int i = 0; i < OUTPUTS; i++) free(tout[i]);
        }
        for (int i = 0; i < OUTPUTS; i++) free(expected[i]);
    }
    for (int i = 0; i < INPUTS; i++) free(in[i]);
    for (int i = 0; i < OUTPUTS; i++) free(out[i]);
}

/* Any piece of an array gives the bytes that the whole gives there. */
static void place_does_not_matter(void **state)
{
    (void)state;
    random_state = 23;
    enum { N = 133 };
    double *in[INPUTS], *out[OUTPUTS];
    for (int i = 0; i < INPUTS; i++) in[i] = random_values(N, 3);
    for (int i = 0; i < OUTPUTS; i++) out[i] = random_values(N, 1);
    const size_t count = sizeof calls / sizeof *calls;
    const iv_kernels *t;
    for (size_t number = 0; (t = table_number(number)); number++) {
        void *tin[INPUTS];
        for (int i = 0; i < INPUTS; i++) tin[i] = typed(t, in[i], N);
        for (size_t c = 0; c < count; c++) {
            void *whole[OUTPUTS];
            for (int i = 0; i < OUTPUTS; i++) whole[i] = typed(t, out[i], N);
            run_call(t, calls[c].kind, N, (const void *const *)tin, whole);
            for (size_t from = 0; from < 40; from += 3) {
                for (size_t n = 1; n <= 40; n += n < 18 ? 1 : 5) {
                    const void *pin[INPUTS];
                    void *pout[OUTPUTS];
                    for (int i = 0; i < INPUTS; i++) pin[i] = iv_at(t, tin[i], from);
                    for (int i = 0; i < OUTPUTS; i++) pout[i] = typed(t, out[i] + from, n);
                    run_call(t, calls[c].kind, n, pin, pout);
                    for (int i = 0; i < OUTPUTS; i++) {
                        if (memcmp(pout[i], iv_at(t, whole[i], from), n * t->size) != 0)
                            fail_msg("%s %s: %s: %zu elements from %zu: other bytes", t->name,
                                     t->isa, calls[c].name, n, from);
                        free(pout[i]);
                    }
                }
            }
            for (int i = 0; i < OUTPUTS; i++) free(whole[i]);
        }
        for (int act = 0; act < IV_ACT_COUNT; act++) {
            void *whole[OUTPUTS] = {must_alloc(N * t->size), must_alloc(N * t->size)};
            t->act_forward((iv_act)act, 0.5, N, tin[0], whole[0]);
            t->act_derivative((iv_act)act, 0.5, N, tin[0], whole[1]);
            for (size_t i = 0; i < N; i++) {
                double one[OUTPUTS];
                t->act_forward((iv_act)act, 0.5, 1, iv_at(t, tin[0], i), one);
                assert_memory_equal(one, iv_at(t, whole[0], i), t->size);
                t->act_derivative((iv_act)act, 0.5, 1, iv_at(t, tin[0], i), one);
                assert_memory_equal(one, iv_at(t, whole[1], i), t->size);
            }
            free(whole[0]);
            free(whole[1]);
        }
        for (int i = 0; i < INPUTS; i++) free(tin[i]);
    }
    for (int i = 0; i < INPUTS; i++) free(in[i]);
    for (int i = 0; i < OUTPUTS; i++) free(out[i]);
}

/* Where only plain arithmetic is done, the instruction set changes no byte. */
static void adam_has_the_reference_bytes(void **state)
{
    (void)state;
    random_state = 24;
    enum { N = 77 };
    double *g = random_values(N, 1), *w = random_values(N, 1);
    const iv_kernels *t, *scalar = table_number(1);
    iv_adam adam = {.rate = 0.01, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .step = 1};
    float *results[4] = {NULL};
    for (size_t number = 1; (t = table_number(number)); number++) {
        void *tg = typed(t, g, N), *tw = typed(t, w, N);
        float *m = calloc(N, sizeof *m), *v = calloc(N, sizeof *v);
        assert_true(m && v);
        for (adam.step = 1; adam.step <= 20; adam.step++) t->adam(N, &adam, tw, tg, m, v);
        results[number - 1] = tw;
        assert_memory_equal(results[0], tw, N * scalar->size);
        free(tg);
        free(m);
        free(v);
    }
    /* With a constant gradient each step is the rate, against the gradient's sign. */
    for (size_t i = 0; i < N; i++)
        assert_true(fabs((double)results[0][i] - (w[i] - copysign(20 * 0.01, g[i]))) < 1e-5);
    for (int i = 0; i < 4; i++) free(results[i]);
    free(g);
    free(w);
}

/* ---- sums over rows ---- */

enum { SSE, SSE_W, NORM, BCE, ENTROPY, BCE_PAIR, KL, KL_ABOVE, KL_WIDE, STUDENT, ROW_SUMS };

static void row_sum(const iv_kernels *t, int kind, size_t rows, size_t d, const void *x,
                    const void *y, const void *w, double *value)
{
    switch (kind) {
    case SSE: t->sse_rows(rows, d, x, y, NULL, value); break;
    case SSE_W: t->sse_rows(rows, d, x, y, w, value); break;
    case NORM: t->norm_rows(rows, d, y, value); break;
    case BCE: t->bce_rows(rows, d, x, y, value); break;
    case ENTROPY: t->entropy_rows(rows, d, x, value); break;
    case BCE_PAIR: t->bce_pair_rows(rows, d, w, y, value); break;
    case KL: t->kl_rows(rows, d, w, y, -3, 2, value); break;
    case KL_ABOVE: t->kl_rows(rows, d, w, y, 0.5, 2, value); break; /* zero is outside */
    case KL_WIDE: t->kl_rows(rows, d, w, y, -300, 80, value); break;
    case STUDENT: t->student_rows(rows, d, x, y, w, w, value); break;
    default: fail();
    }
}

/* Single precision against f64, relative to the value itself: all terms of all these sums are
 * positive. And a row gives the same bytes alone. */
static void row_sums(void **state)
{
    (void)state;
    random_state = 25;
    static const size_t widths[] = {1, 2, 3, 5, 8, 15, 16, 17, 20, 31, 33, 64, 784};
    enum { ROWS = 5 };
    for (size_t s = 0; s < sizeof widths / sizeof *widths; s++) {
        size_t d = widths[s], n = ROWS * d;
        double *x = random_values(n, 1), *y = random_values(n, 8), *w = random_values(n, 1);
        for (size_t i = 0; i < n; i++) {
            x[i] = fabs(x[i]);
            if (i % 5 == 1) x[i] = (double)(float)(1e-5 * x[i]);
            if (i % 7 == 3) x[i] = 0;
            if (i % 13 == 12) y[i] = -150;
            if (i % 7 == 5) x[i] = 1;
            w[i] = fabs(w[i]) + 0.125;
            if (i % 3 == 0) w[i] = (double)(float)(y[i] * (1 + 0.01 * draw())); /* close logits */
            if (i % 11 == 0) y[i] = (double)(float)(0.001 * draw());
        }
        for (int kind = 0; kind < ROW_SUMS; kind++) {
            double *weights = untyped(reference(), w, n);
            if (kind == SSE_W || kind == STUDENT)
                for (size_t i = 0; i < n; i++) weights[i] = fabs(weights[i]);
            double exact[ROWS], value[ROWS], alone;
            row_sum(reference(), kind, ROWS, d, x, y, weights, exact);
            const iv_kernels *t;
            for (size_t number = 1; (t = table_number(number)); number++) {
                void *tx = typed(t, x, n), *ty = typed(t, y, n), *tw = typed(t, weights, n);
                row_sum(t, kind, ROWS, d, tx, ty, tw, value);
                for (size_t r = 0; r < ROWS; r++) {
                    double limit = kind == BCE && number == 1 ? 1e-5 : 1e-6;
                    if (!(fabs(value[r] - exact[r]) <= limit * fabs(exact[r]) + 1e-12))
                        fail_msg("%s %s: sum %d over %zu, row %zu: %.9g, f64 %.17g", t->name,
                                 t->isa, kind, d, r, value[r], exact[r]);
                    row_sum(t, kind, 1, d, iv_at(t, tx, r * d), iv_at(t, ty, r * d),
                            kind == SSE_W || kind == STUDENT ? tw : iv_at(t, tw, r * d), &alone);
                    assert_memory_equal(&alone, &value[r], sizeof alone);
                }
                free(tx);
                free(ty);
                free(tw);
            }
            free(weights);
        }
        free(x);
        free(y);
        free(w);
    }
}

static void sums_of_squares_and_columns(void **state)
{
    (void)state;
    random_state = 26;
    enum { ROWS = 37, COLS = 530 };
    double *x = random_values(ROWS * COLS, 2), *start = random_values(COLS, 1);
    const iv_kernels *t;
    for (size_t number = 0; (t = table_number(number)); number++) {
        void *tx = typed(t, x, ROWS * COLS), *ty = typed(t, start, COLS);
        double squares = 0;
        for (size_t i = 0; i < ROWS * COLS; i++) squares += x[i] * x[i];
        assert_true(fabs(t->sum_squares(ROWS * COLS, tx) - squares) <= 1e-12 * squares);
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            t->upload(ty, start, COLS);
            t->column_sums(ROWS, COLS - 1, tx, COLS, ty, accumulate);
            double *y = untyped(t, ty, COLS);
            for (size_t j = 0; j < COLS - 1; j++) {
                double sum = accumulate ? start[j] : 0;
                for (size_t r = 0; r < ROWS; r++) sum += x[r * COLS + j];
                assert_true(fabs(y[j] - sum) <= (t->dtype == IV_F32 ? 1e-6 : 1e-13) * 40);
            }
            assert_true(y[COLS - 1] == start[COLS - 1]);
            free(y);
        }
        double bad[40] = {0};
        bad[33] = NAN;
        void *tb = typed(t, bad, 40);
        assert_true(isnan(t->sum_squares(40, tb)));
        free(tb);
        free(tx);
        free(ty);
    }
    free(x);
    free(start);
}

/* ---- gradients of the f64 reference against central differences ---- */

static double central(const double *at, double h, double (*f)(double, const double *), int which)
{
    double moved[4];
    memcpy(moved, at, sizeof moved);
    moved[which] = at[which] + h;
    double up = f(0, moved);
    moved[which] = at[which] - h;
    return (up - f(0, moved)) / (2 * h);
}

static double one_sse(double unused, const double *v)
{
    (void)unused;
    double value;
    reference()->sse_rows(1, 1, v, v + 1, v + 2, &value);
    return value;
}

static double one_bce(double unused, const double *v)
{
    (void)unused;
    double value;
    reference()->bce_rows(1, 1, v, v + 1, &value);
    return value;
}

static double one_pair(double unused, const double *v)
{
    (void)unused;
    double value;
    reference()->bce_pair_rows(1, 1, v, v + 1, &value);
    return value;
}

/* g_z z + kl_weight KL as a function of (mu, logvar), g_z = 0.7, eps = v[2], kl_weight = v[3] */
static double one_head(double unused, const double *v)
{
    (void)unused;
    double z, kl;
    reference()->sample(1, v, v + 1, -20, 20, v + 2, &z);
    reference()->kl_rows(1, 1, v, v + 1, -20, 20, &kl);
    return 0.7 * z + v[3] * kl;
}

static void gradients(void **state)
{
    (void)state;
    random_state = 27;
    const iv_kernels *t = reference();
    const double h = 1e-5, limit = 1e-8;
    for (int trial = 0; trial < 200; trial++) {
        double v[4] = {0.5 + 0.5 * draw(), 4 * draw(), 1 + 0.5 * draw(), 0.3}, g, g2, seven = 0.7;
        t->sse_gradient(1, 1, v, v + 1, v + 2, NULL, 1, &g, false);
        assert_true(fabs(g - central(v, h, one_sse, 1)) < limit * 10);
        t->bce_gradient(1, 1, v, v + 1, 1, &g, false);
        assert_true(fabs(g - central(v, h, one_bce, 1)) < limit);
        v[0] = v[1] + draw() * (trial % 2 ? 3 : 0.01);
        t->bce_pair_gradient(1, 1, v, v + 1, 1, &g, &g2, false, false);
        assert_true(fabs(g - central(v, h, one_pair, 0)) < limit);
        assert_true(fabs(g2 - central(v, h, one_pair, 1)) < limit);
        v[2] = draw();
        t->heads_reverse(1, v, v + 1, -20, 20, v + 2, &seven, NULL, v[3], &g, &g2);
        assert_true(fabs(g - central(v, h, one_head, 0)) < limit);
        assert_true(fabs(g2 - central(v, h, one_head, 1)) < limit * 10);
        /* the metric of bce: half the second derivative in the logit */
        double one = 1, direct, p = 1 / (1 + exp(-v[1]));
        t->bce_metric(1, v + 1, 1, &one, 1, &direct, 1);
        assert_true(fabs(direct - 0.5 * p * (1 - p)) < 1e-15);
    }
}

/* Beyond its limits the log variance only gets the gradient that leads back. */
static void clipped_log_variance(void **state)
{
    (void)state;
    const double mu[4] = {0, 0, 0, 0}, logvar[4] = {9, 9, -9, -9}, eps[4] = {1, -1, 1, -1},
                 g_z[4] = {50, 50, 50, 50};
    const iv_kernels *t;
    for (size_t number = 0; (t = table_number(number)); number++) {
        void *m = typed(t, mu, 4), *l = typed(t, logvar, 4), *e = typed(t, eps, 4),
             *g = typed(t, g_z, 4), *gm = must_alloc(4 * t->size), *gl = must_alloc(4 * t->size);
        t->heads_reverse(4, m, l, -1, 1, e, g, NULL, 1, gm, gl);
        double *y = untyped(t, gl, 4);
        assert_true(y[0] > 1);  /* too wide, and the step goes down: kept */
        assert_true(y[1] == 0); /* would widen further */
        assert_true(y[2] == 0);
        assert_true(y[3] < -1);
        double kl;
        t->kl_rows(1, 4, m, l, -1, 1, &kl);
        assert_true(fabs(kl - (exp(1) - 1 - 1) - (exp(-1) + 1 - 1)) < 1e-6);
        void *lost[] = {m, l, e, g, gm, gl, y};
        for (size_t i = 0; i < sizeof lost / sizeof *lost; i++) free(lost[i]);
    }
}

/* ---- the rest ---- */

static void names_of_activations(void **state)
{
    (void)state;
    for (int i = 0; i < IV_ACT_COUNT; i++) {
        iv_act act = IV_ACT_COUNT;
        assert_true(iv_act_parse(iv_act_name((iv_act)i), &act));
        assert_int_equal(act, i);
    }
    iv_act act = IV_ACT_TANH;
    assert_false(iv_act_parse("Tanh", &act));
    assert_int_equal(act, IV_ACT_TANH);
    assert_true(iv_act_default_parameter(IV_ACT_LEAKY_RELU) == 0.01);
    assert_true(iv_act_default_parameter(IV_ACT_ELU) == 1);
    assert_true(iv_act_default_parameter(IV_ACT_SILU) == 0);
}

static void flush_to_zero(void **state)
{
    (void)state;
#if defined(__SSE2__) || defined(__aarch64__)
    volatile float small = 1e-30f, tiny;
    tiny = small * 1e-10f;
    assert_true(tiny != 0);
    unsigned before = iv_fp_enter();
    tiny = small * 1e-10f;
    assert_true(tiny == 0);
    unsigned inner = iv_fp_enter(); /* nested: the inner one leaves it on */
    iv_fp_leave(inner);
    tiny = small * 1e-10f;
    assert_true(tiny == 0);
    iv_fp_leave(before);
    tiny = small * 1e-10f;
    assert_true(tiny != 0);
#else
    skip();
#endif
}

static void memory_and_copies(void **state)
{
    (void)state;
    const iv_kernels *t;
    isovae_error err;
    for (size_t number = 0; (t = table_number(number)); number++) {
        void *p;
        assert_int_equal(t->alloc(&p, 100, "a tensor", &err), ISOVAE_OK);
        assert_int_equal((uintptr_t)p % 64, 0);
        float x[5] = {1, -2, 0.5f, 1e-3f, 7}, y[5];
        t->upload_f32(iv_at(t, p, 3), x, 5);
        t->download_f32(y, iv_at(t, p, 3), 5);
        assert_memory_equal(x, y, sizeof x);
        double zero[3];
        t->download(zero, p, 3);
        assert_true(zero[0] == 0 && zero[1] == 0 && zero[2] == 0);
        t->release(p);
        assert_int_equal(t->alloc(&p, SIZE_MAX / 2, "a tensor", &err), ISOVAE_ERR_MEMORY);
        assert_null(p);
    }
}

/* Normals of many rows are those of each row alone, to the last bit, in every table. */
static void normals_of_rows(void **state)
{
    (void)state;
    enum { ROWS = 37, MOST = 70 };
    size_t row[ROWS];
    for (size_t i = 0; i < ROWS; i++) row[i] = i * 7919 + (i % 3) * 0x3000000000u;
    iv_key key = {
        .seed = 0xABCDEF0123456789u, .purpose = IV_PURPOSE_NOISE, .step = 12345678901u, .draw = 3};
    float *expected = must_alloc((size_t)ROWS * MOST * sizeof *expected);
    double *wide = must_alloc((size_t)ROWS * MOST * sizeof *wide);
    const iv_kernels *t;
    for (size_t n = 1; n <= MOST; n++) {
        size_t rows = 1 + n * 11 % ROWS;
        for (size_t r = 0; r < rows; r++) {
            key.row = row[r];
            iv_normals_f32(&key, n, expected + r * n);
        }
        for (size_t i = 0; i < rows * n; i++) wide[i] = expected[i];
        for (size_t number = 0; (t = table_number(number)); number++) {
            void *out = typed(t, wide, rows * n), *want = typed(t, wide, rows * n);
            t->fill(rows * n, 0, out);
            t->normals(&key, rows, row, n, out);
            if (memcmp(out, want, rows * n * t->size) != 0)
                fail_msg("%s %s: normals of %zu rows of %zu", t->name, t->isa, rows, n);
            free(out);
            free(want);
        }
    }
    free(expected);
    free(wide);
}

/* Gram matrices against long double. */
static void gram_matrices(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 4, 5, 8, 9, 16, 17, 21};
    const iv_kernels *t;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t d = 1; d < 90; d += 1 + d / 6) {
            size_t n = sizes[i], stride = d + i % 3, b_stride = d + d % 2;
            double *a = random_values(n * stride, 1), *b = random_values(n * b_stride, 1);
            for (size_t number = 0; (t = table_number(number)); number++) {
                void *at = typed(t, a, n * stride), *bt = typed(t, b, n * b_stride);
                double full[21 * 21], diagonal[21 * 21];
                t->gram(n, d, at, stride, bt, b_stride, false, full);
                t->gram(n, d, at, stride, bt, b_stride, true, diagonal);
                for (size_t j = 0; j < n; j++) {
                    for (size_t k = j; k < n; k++) {
                        long double sum = 0, size = 0;
                        for (size_t q = 0; q < d; q++) {
                            long double term =
                                (long double)a[j * stride + q] * (long double)b[k * b_stride + q];
                            sum += term;
                            size += fabsl(term);
                        }
                        assert_true(fabsl(full[j * n + k] - sum) <= (d + 2) * 0x1p-53L * size);
                        assert_true(full[k * n + j] == full[j * n + k]);
                    }
                    double alone;
                    t->gram(1, d, iv_at(t, at, j * stride), d, iv_at(t, bt, j * b_stride), d, true,
                            &alone);
                    assert_true(diagonal[j * n + j] == full[j * n + j]);
                    assert_true(alone == full[j * n + j]);
                }
                free(at);
                free(bt);
            }
            free(a);
            free(b);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normals_of_rows),
        cmocka_unit_test(gram_matrices),
        cmocka_unit_test(activations_far_out),
        cmocka_unit_test(activations_in_ulps),
        cmocka_unit_test(activations_at_the_ends),
        cmocka_unit_test(elementwise_against_f64),
        cmocka_unit_test(place_does_not_matter),
        cmocka_unit_test(adam_has_the_reference_bytes),
        cmocka_unit_test(row_sums),
        cmocka_unit_test(sums_of_squares_and_columns),
        cmocka_unit_test(gradients),
        cmocka_unit_test(clipped_log_variance),
        cmocka_unit_test(names_of_activations),
        cmocka_unit_test(flush_to_zero),
        cmocka_unit_test(memory_and_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
