/* Scorers (a model in a service): the same bits as the calls on whole data sets, rows of any
 * layout, bad rows, the floating-point state, memory, threads, cancellation. */
#include "support_fit.h"
#include "support_model.h"

#include "theory/rows.h"
#include "theory/score.h"
#include "theory/scorer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

/* ---- Allocations, counted and refused ---- */

static atomic_size_t allocations;
static size_t until_failure = SIZE_MAX; /* that still succeed */

static bool granted(void)
{
    allocations++;
    if (until_failure == SIZE_MAX) return true;
    if (until_failure == 0) return false;
    until_failure--;
    return true;
}

/* Takes the place of the C library's, behind iv_alloc. */
void *aligned_alloc(size_t alignment, size_t size)
{
    void *out;
    return granted() && posix_memalign(&out, alignment, size) == 0 ? out : NULL;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* The others too, where no sanitizer needs to be there first. */
#if defined(__GLIBC__) && !defined(SANITIZED)
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}
void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}
void *realloc(void *memory, size_t size)
{
    allocations++;
    return __libc_realloc(memory, size);
}
#endif

/* ---- Models and rows ---- */

enum { ROWS = 150, CASES = 8, ENSEMBLE = 7, WIDEST = 128 };
static const char *const estimates[IV_ESTIMATES] = {"elbo", "posterior", "logdet", "laplace"};

typedef struct example {
    size_t d, n;
    iv_model *inner;     /* what the file was written from */
    isovae_model *model; /* read back from memory */
    isovae_data *data;
    iv_dataset *set;
    float *rows; /* ROWS x d */
} example;

static void fill(iv_model *model)
{
    iv_graph *graphs[2] = {model->encoder, model->decoder};
    for (size_t g = 0; g < 2; g++) {
        for (size_t i = 0; i < graphs[g]->n_params; i++) {
            const iv_param *p = &graphs[g]->params[i];
            double in = p->shape.rank == 2 ? (double)p->shape.dim[1] : 4;
            for (size_t k = 0; k < p->size; k++) {
                ((float *)model->params)[p->offset + k] = (float)(1.5 * wave(k + i) / sqrt(in));
            }
        }
    }
}

/* As full_calibration, for any number of latents. */
static void calibrate(iv_model *model)
{
    isovae_error err;
    double mu[60], sigma[60];
    for (size_t j = 0; j < model->n; j++) {
        model->active[j] = j % 5 != 1;
        model->kl_mean[j] = 1.5 / (double)(j + 1);
        model->variance_y[j] = 2.0 / (double)(j + 3);
        for (size_t r = 0; r < 60; r++) {
            mu[r] = wave(r + j);
            sigma[r] = 0.2 + 0.1 / (double)(j + 1) + 0.02 * mu[r];
        }
        ref_ok(iv_spline_fit(mu, sigma, 60, &model->splines[j], &err), &err);
    }
    model->n_quantiles = 5;
    ref_ok(IV_NEW(model->quantiles, 5, "quantiles", &err), &err);
    for (size_t i = 0; i < 5; i++) model->quantiles[i] = -10.0 / (double)(i + 1);
}

static iv_model *make(const char *arch, size_t d, size_t n, iv_act act, const char *loss,
                      bool uneven)
{
    isovae_error err;
    iv_model *model;
    ref_ok(iv_model_new(&model, &err), &err);
    ref_ok(iv_model_build(model, arch, d, n, act, IV_F32, &err), &err);
    fill(model);
    iv_metric_spec spec;
    ref_ok(iv_metric_parse(loss, &spec, &err), &err);
    ref_ok(iv_model_set_metric(model, &spec, &err), &err);
    for (size_t i = 0; i < model->learned_elements; i++)
        ((float *)model->params)[model->learned_at + i] =
            (float)(i < d ? wave(i) / 2 : 1 + wave(i));
    ref_identity_scaling(model);
    model->beta = model->learned_elements > 0 ? 1 : 0.05;
    if (model->learned_elements > 0) model->noise_floor = 0.1, model->least_variance = 0.05;
    if (model->metric.loss != IV_LOSS_BCE) {
        model->scaling.kind = uneven ? IV_SCALE_STANDARD : IV_SCALE_NONE;
        model->scaling.uniform = !uneven;
        for (size_t i = 0; i < d; i++) {
            model->scaling.shift[i] = wave(i) / 4;
            model->scaling.scale[i] = uneven ? 1.5 + wave(i + 3) : 0.75;
            model->scaling.weight[i] = uneven ? 1 : 0.75 * 0.75;
        }
    }
    ref_ok(IV_NEW(model->names, d, "names", &err), &err);
    for (size_t i = 0; i < d; i++) {
        char name[24];
        (void)snprintf(name, sizeof name, "f%zu", i);
        model->names[i] = copy(name);
    }
    calibrate(model);
    return model;
}

/* An ensemble whose members differ in their weights, in scaling, and in which columns they drop. */
static iv_model *make_ensemble(void)
{
    isovae_error err;
    iv_model *member[3];
    for (size_t k = 0; k < 3; k++) {
        iv_model *m = member[k] = make("mlp:20,12", 12, 4, IV_ACT_SILU, "student", true);
        float *params = m->params;
        for (size_t i = 0; i < m->learned_at; i++) {
            params[i] = (float)(params[i] + 0.1 * wave(i + 7 * k));
        }
        m->scaling.kind = IV_SCALE_MIXED;
        m->scaling.weight[k] = 0;
        m->scaling.scale[k] = 1;
        m->scaling.shift[k] = 0.5;
        m->scaling.scale[5] += 0.2 * (double)k;
        m->beta = 1;
        m->train_rows = 99;
        m->member = k;
        if (k > 0) m->n_quantiles = 0;
    }
    ok(iv_model_join(member[0], member + 1, 2, &err), &err);
    return member[0];
}

static example cases[CASES];

static void open_example(example *c, iv_model *inner)
{
    isovae_error err;
    c->inner = inner;
    c->d = inner->d;
    c->n = inner->n;
    file_bytes b = bytes_of(inner);
    ok(isovae_model_load_memory(b.data, b.length, &c->model, &err), &err);
    memset(b.data, 0x5a, b.length); /* the model kept nothing of them */
    iv_free(b.data);
    c->rows = malloc(ROWS * c->d * sizeof *c->rows);
    double *wide = malloc(ROWS * c->d * sizeof *wide);
    assert_true(c->rows != NULL && wide != NULL);
    for (size_t i = 0; i < ROWS * c->d; i++) {
        double value = wave(i) + 0.3 * wave(i / 7 + 5);
        if (inner->metric.loss == IV_LOSS_BCE) value = fabs(wave(i));
        c->rows[i] = (float)value;
        wide[i] = (double)c->rows[i];
    }
    for (size_t i = 0; i < c->d; i++) {
        /* One row so far off that single precision overflows on the way. */
        if (iv_loss_absolute(inner->metric.loss)) {
            c->rows[3 * c->d + i] = 3e37f;
            wide[3 * c->d + i] = (double)3e37f;
        }
    }
    ok(isovae_data_from_rows(wide, ROWS, c->d, NULL, &c->data, &err), &err);
    ok(iv_dataset_from_rows(wide, ROWS, c->d, NULL, &c->set, &err), &err);
    free(wide);
}

static int open_all(void **state)
{
    (void)state;
    open_example(&cases[0], full_model(IV_F32)); /* weighted, uneven scale */
    open_example(&cases[1], make("mlp:32,24", 16, 3, IV_ACT_SILU, "sse", false));
    open_example(&cases[2], make("mlp:24", 40, 7, IV_ACT_RELU, "bce", false));
    open_example(&cases[3],
                 make("mlp:48", 50, 40, IV_ACT_TANH, "sse", true)); /* two tangent tiles */
    open_example(&cases[4], full_model(IV_F64));
    open_example(&cases[5], make("mlp:32,24", 16, 3, IV_ACT_SILU, "sse:feature", true));
    open_example(&cases[6], make("mlp:32,24", 70, 4, IV_ACT_SILU, "student", true));
    open_example(&cases[ENSEMBLE], make_ensemble());
    for (size_t i = 0; i < cases[ENSEMBLE].d; i++) assert_true(fabs(cases[ENSEMBLE].rows[i]) < 10);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        isovae_model_free(cases[i].model);
        isovae_data_free(cases[i].data);
        iv_dataset_free(cases[i].set);
        iv_model_free(cases[i].inner);
        free(cases[i].rows);
    }
    return 0;
}

static isovae_scorer *scorer_of(const example *c, const char *estimate, size_t batch,
                                const char *isa)
{
    isovae_error err;
    isovae_scorer *scorer;
    isovae_scorer_config config;
    isovae_scorer_config_init(&config);
    config.estimate = estimate;
    config.batch = batch;
    config.isa = isa;
    ok(isovae_scorer_new(c->model, &config, &scorer, &err), &err);
    return scorer;
}

static void score(isovae_scorer *scorer, const float *rows, size_t count, double *out)
{
    isovae_error err;
    ok(isovae_scorer_score(scorer, rows, ISOVAE_F32, count, 0, 0, out, NULL, &err), &err);
}

static void assert_same(const double *a, const double *b, size_t count, const char *what)
{
    for (size_t i = 0; i < count; i++) {
        if (memcmp(&a[i], &b[i], sizeof *a) != 0) {
            fail_msg("%s: number %zu: %.17g is not %.17g", what, i, a[i], b[i]);
        }
    }
}

/* ---- The same bits ---- */

static void equals_score(void **state)
{
    (void)state;
    isovae_error err;
    isovae_context *context;
    static const size_t batches[] = {0, 1, 7, 1000};
    double expected[ROWS], got[ROWS];
    ok(isovae_context_new(NULL, &context, &err), &err);
    for (size_t i = 0; i < CASES; i++) {
        const example *c = &cases[i];
        size_t index[ROWS];
        iv_score scores[ROWS];
        for (size_t r = 0; r < ROWS; r++) index[r] = r;
        for (size_t e = 0; e < IV_ESTIMATES; e++) {
            ok(iv_score_rows(c->inner, c->set, index, ROWS, (iv_estimate)e, NULL, NULL, NULL,
                             scores, &err),
               &err);
            for (size_t r = 0; r < ROWS; r++) expected[r] = scores[r].log_density;
            for (size_t b = 0; b < 4; b++) {
                isovae_scorer *scorer = scorer_of(c, estimates[e], batches[b], NULL);
                score(scorer, c->rows, ROWS, got);
                assert_same(expected, got, ROWS, estimates[e]);
                for (size_t r = 0; r < 40; r++) score(scorer, c->rows + r * c->d, 1, &got[r]);
                assert_same(expected, got, 40, "row by row");
                isovae_scorer_free(scorer);
            }
        }
        ok(isovae_score(context, c->model, c->data, expected, &err), &err);
        isovae_scorer *scorer = scorer_of(c, NULL, 0, NULL);
        score(scorer, c->rows, ROWS, got);
        assert_same(expected, got, ROWS, "isovae_score");
        for (size_t r = 0; r < ROWS; r++) assert_true(isfinite(got[r]));
        isovae_scorer_free(scorer);
    }
    isovae_context_free(context);
}

/* Every instruction set of this machine, several scorers at once on one model. */
static void equals_score_pinned(void **state)
{
    (void)state;
    static const char *const isas[] = {"baseline", "avx2", "avx512"};
    isovae_error err;
    double expected[ROWS], got[ROWS], first[ROWS];
    const example *c = &cases[1];
    for (size_t i = 0; i < 3; i++) {
        if (iv_kernels_get(IV_PRECISION_F32, isas[i]) == NULL) continue;
        isovae_context_config config;
        isovae_context *context;
        isovae_context_config_init(&config);
        config.isa = isas[i];
        config.threads = 1;
        ok(isovae_context_new(&config, &context, &err), &err);
        ok(isovae_score(context, c->model, c->data, expected, &err), &err);
        isovae_context_free(context);
        for (size_t r = 0; r < ROWS; r++) { /* rounding apart, they agree */
            if (i == 0) first[r] = expected[r];
            assert_true(fabs(expected[r] - first[r]) <= 1e-4 * (1 + fabs(first[r])));
        }
        isovae_scorer *one = scorer_of(c, NULL, 0, isas[i]), *two = scorer_of(c, NULL, 3, isas[i]);
        score(one, c->rows, ROWS, got);
        assert_same(expected, got, ROWS, isas[i]);
        isovae_scorer_free(one); /* what they share stays */
        score(two, c->rows, ROWS, got);
        assert_same(expected, got, ROWS, isas[i]);
        isovae_scorer_free(two);
    }
}

static void equals_encode_decode(void **state)
{
    (void)state;
    isovae_error err;
    isovae_context *context;
    ok(isovae_context_new(NULL, &context, &err), &err);
    for (size_t i = 0; i < CASES; i++) {
        const example *c = &cases[i];
        size_t n = c->n, d = c->d;
        double *mu = malloc(ROWS * n * sizeof *mu), *sigma = malloc(ROWS * n * sizeof *mu);
        double *y = malloc(ROWS * n * sizeof *y), *expected = malloc(ROWS * (n + d) * sizeof *mu);
        double *x = malloc(ROWS * d * sizeof *x);
        assert_true(mu != NULL && sigma != NULL && y != NULL && expected != NULL && x != NULL);
        isovae_scorer *s = scorer_of(c, NULL, 16, NULL);
        ok(isovae_scorer_encode(s, c->rows, ISOVAE_F32, ROWS, 0, 0, mu, sigma, y, NULL, &err),
           &err);
        ok(isovae_encode(context, c->model, c->data, 0, expected, &err), &err);
        assert_same(expected, mu, ROWS * n, "mu");
        ok(isovae_encode(context, c->model, c->data, 1, expected, &err), &err);
        assert_same(expected, y, ROWS * n, "y");
        size_t index[ROWS];
        for (size_t r = 0; r < ROWS; r++) index[r] = r;
        ok(iv_encode_rows(c->inner, c->set, index, ROWS, NULL, NULL, NULL, expected, NULL, &err),
           &err);
        assert_same(expected, sigma, ROWS * n, "sigma");
        /* Only what is asked for. */
        memset(y, 0x5a, sizeof *y);
        ok(isovae_scorer_encode(s, c->rows, ISOVAE_F32, 1, 0, 0, NULL, y + n, NULL, NULL, &err),
           &err);
        assert_same(sigma, y + n, n, "sigma alone");

        for (size_t k = 0; k < ROWS * n; k++) mu[k] = (double)(float)(2 * wave(k));
        ok(isovae_decode(context, c->model, mu, ROWS, expected, &err), &err);
        ok(isovae_scorer_decode(s, mu, ISOVAE_F64, ROWS, 0, 0, x, NULL, &err), &err);
        assert_same(expected, x, ROWS * d, "decode");
        float *z = malloc(ROWS * n * sizeof *z); /* column by column */
        assert_non_null(z);
        for (size_t r = 0; r < ROWS; r++) {
            for (size_t j = 0; j < n; j++) z[j * ROWS + r] = (float)mu[r * n + j];
        }
        memset(x, 0, ROWS * d * sizeof *x);
        ok(isovae_scorer_decode(s, z, ISOVAE_F32, ROWS, sizeof *z, ROWS * sizeof *z, x, NULL, &err),
           &err);
        assert_same(expected, x, ROWS * d, "decode of columns");
        isovae_scorer_free(s);
        free(mu);
        free(sigma);
        free(y);
        free(expected);
        free(x);
        free(z);
    }
    isovae_context_free(context);
}

/* ---- Rows of any layout ---- */

static void layouts(void **state)
{
    (void)state;
    isovae_error err;
    double expected[ROWS], got[ROWS];
    for (size_t i = 0; i < CASES; i++) {
        const example *c = &cases[i];
        size_t d = c->d;
        isovae_scorer *s = scorer_of(c, NULL, 20, NULL);
        score(s, c->rows, ROWS, expected);

        double *wide = malloc(ROWS * d * sizeof *wide);
        unsigned char *bytes = malloc(ROWS * (d * 12 + 5) + 1);
        assert_true(wide != NULL && bytes != NULL);
        for (size_t k = 0; k < ROWS * d; k++) wide[k] = (double)c->rows[k];
        ok(isovae_scorer_score(s, wide, ISOVAE_F64, ROWS, 0, 0, got, NULL, &err), &err);
        assert_same(expected, got, ROWS, "doubles");

        ptrdiff_t row = (ptrdiff_t)(d * sizeof(float));
        ok(isovae_scorer_score(s, c->rows + (ROWS - 1) * d, ISOVAE_F32, ROWS, -row, 0, got, NULL,
                               &err),
           &err);
        for (size_t r = 0; r < ROWS; r++) assert_same(&expected[ROWS - 1 - r], &got[r], 1, "back");

        float *columns = (float *)(void *)wide;
        for (size_t r = 0; r < ROWS; r++) {
            for (size_t k = 0; k < d; k++) columns[(d - 1 - k) * ROWS + r] = c->rows[r * d + k];
        }
        ok(isovae_scorer_score(s, columns + (d - 1) * ROWS, ISOVAE_F32, ROWS, sizeof(float),
                               -(ptrdiff_t)(ROWS * sizeof(float)), got, NULL, &err),
           &err);
        assert_same(expected, got, ROWS, "columns, the last one first");

        /* Doubles in records of 12 bytes, at odd addresses. */
        for (size_t r = 0; r < ROWS; r++) {
            for (size_t k = 0; k < d; k++) {
                double value = (double)c->rows[r * d + k];
                memcpy(bytes + 1 + r * (d * 12 + 5) + k * 12, &value, sizeof value);
            }
        }
        ok(isovae_scorer_score(s, bytes + 1, ISOVAE_F64, ROWS, (ptrdiff_t)(d * 12 + 5), 12, got,
                               NULL, &err),
           &err);
        assert_same(expected, got, ROWS, "records");

        free(wide);
        free(bytes);
        isovae_scorer_free(s);
    }
}

/* Doubles are scaled before they are rounded: a large common offset does not cost digits. */
static void wide_rows_keep_their_digits(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *inner = make("mlp:8", 4, 2, IV_ACT_SILU, "sse", false);
    double near[4] = {0.1, -0.2, 0.3, 0.4}, far[4], expected, got, rounded;
    float narrow[4];
    example c = {.d = 4};
    for (size_t round = 0; round < 2; round++) {
        file_bytes b = bytes_of(inner);
        ok(isovae_model_load_memory(b.data, b.length, &c.model, &err), &err);
        iv_free(b.data);
        isovae_scorer *s = scorer_of(&c, NULL, 0, NULL);
        const double *row = round == 0 ? near : far;
        ok(isovae_scorer_score(s, row, ISOVAE_F64, 1, 0, 0, round == 0 ? &expected : &got, NULL,
                               &err),
           &err);
        for (size_t i = 0; i < 4; i++) narrow[i] = (float)far[i];
        if (round == 1) score(s, narrow, 1, &rounded);
        isovae_scorer_free(s);
        isovae_model_free(c.model);
        for (size_t i = 0; i < 4; i++) {
            inner->scaling.shift[i] += 1e6;
            far[i] = near[i] + 1e6;
        }
    }
    assert_true(fabs(got - expected) < 1e-5);
    assert_true(fabs(rounded - expected) > 1e-3);
    iv_model_free(inner);
}

/* ---- Rows that cannot be used ---- */

static void bad_rows(void **state)
{
    (void)state;
    isovae_error err;
    const example *c = &cases[1];
    size_t d = c->d, n = c->n;
    float *rows = malloc(ROWS * d * sizeof *rows);
    double expected[ROWS], got[ROWS], mu[ROWS * 3], mu_expected[ROWS * 3];
    unsigned char row_status[ROWS];
    assert_non_null(rows);
    isovae_scorer *s = scorer_of(c, NULL, 10, NULL);
    score(s, c->rows, ROWS, expected);
    ok(isovae_scorer_encode(s, c->rows, ISOVAE_F32, ROWS, 0, 0, mu_expected, NULL, NULL, NULL,
                            &err),
       &err);
    memcpy(rows, c->rows, ROWS * d * sizeof *rows);
    rows[2 * d] = NAN;
    rows[5 * d + d - 1] = INFINITY;
    rows[6 * d + 1] = -INFINITY;
    rows[6 * d + 4] = NAN;
    for (size_t r = 20; r < 30; r++) rows[r * d + r % d] = NAN; /* a whole pass */
    ok(isovae_scorer_score(s, rows, ISOVAE_F32, ROWS, 0, 0, got, row_status, &err), &err);
    ok(isovae_scorer_encode(s, rows, ISOVAE_F32, ROWS, 0, 0, mu, NULL, NULL, NULL, &err), &err);
    for (size_t r = 0; r < ROWS; r++) {
        bool missing = r == 2 || r == 6 || (r >= 20 && r < 30);
        int why = missing ? ISOVAE_ROW_MISSING : r == 5 ? ISOVAE_ROW_NOT_FINITE : ISOVAE_ROW_OK;
        assert_int_equal(row_status[r], why);
        if (why != ISOVAE_ROW_OK) {
            assert_true(isnan(got[r]) && isnan(mu[r * n]) && isnan(mu[r * n + n - 1]));
        } else {
            assert_same(&expected[r], &got[r], 1, "beside a bad row");
            assert_same(mu_expected + r * n, mu + r * n, n, "beside a bad row");
        }
    }
    /* One bad row alone; without a status; and no row at all. */
    ok(isovae_scorer_score(s, rows + 2 * d, ISOVAE_F32, 1, 0, 0, got, NULL, &err), &err);
    assert_true(isnan(got[0]));
    ok(isovae_scorer_score(s, NULL, ISOVAE_F32, 0, 0, 0, NULL, NULL, &err), &err);
    double z[6] = {0, 1, NAN, 0, 1, 2}, x[32], x_expected[16];
    ok(isovae_scorer_decode(s, z, ISOVAE_F64, 2, 0, 0, x, row_status, &err), &err);
    ok(isovae_scorer_decode(s, z + 3, ISOVAE_F64, 1, 0, 0, x_expected, NULL, &err), &err);
    assert_int_equal(row_status[0], ISOVAE_ROW_MISSING);
    assert_int_equal(row_status[1], ISOVAE_ROW_OK);
    assert_true(isnan(x[0]) && isnan(x[15]));
    assert_same(x_expected, x + 16, 16, "decode beside a bad row");
    isovae_scorer_free(s);
    free(rows);
}

/* ---- What a host process must not notice ---- */

static void floating_point_state(void **state)
{
    (void)state;
#if defined(__SSE2__)
    isovae_error err;
    for (size_t i = 0; i < CASES; i++) {
        const example *c = &cases[i];
        isovae_scorer *s = scorer_of(c, NULL, 0, NULL);
        double expected[ROWS], got[ROWS], mu[40], mu_got[40], x[WIDEST];
        score(s, c->rows, ROWS, expected);
        ok(isovae_scorer_encode(s, c->rows, ISOVAE_F32, 1, 0, 0, mu, NULL, NULL, NULL, &err), &err);
        /* Towards zero, upwards, traps on everything, flags raised before, our own mode already. */
        static const unsigned modes[] = {0x7f80, 0x5f80, 0x0000, 0x6000, 0x1fbf, 0x9fc0};
        unsigned usual = _mm_getcsr();
        for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
            isovae_status status[3];
            unsigned after[3];
            memset(got, 0, sizeof got);
            _mm_setcsr(modes[m]);
            status[0] = isovae_scorer_score(s, c->rows, ISOVAE_F32, ROWS, 0, 0, got, NULL, &err);
            after[0] = _mm_getcsr();
            status[1] = isovae_scorer_encode(s, c->rows, ISOVAE_F32, 1, 0, 0, mu_got, NULL, NULL,
                                             NULL, &err);
            after[1] = _mm_getcsr();
            status[2] = isovae_scorer_decode(s, mu_got, ISOVAE_F64, 1, 0, 0, x, NULL, &err);
            after[2] = _mm_getcsr();
            _mm_setcsr(usual);
            for (size_t k = 0; k < 3; k++) {
                assert_int_equal(status[k], ISOVAE_OK);
                assert_int_equal(after[k], modes[m]);
            }
            assert_same(expected, got, ROWS, "in another mode");
            assert_same(mu, mu_got, c->n, "mu in another mode");
        }
        isovae_scorer_free(s);
    }
#else
    skip();
#endif
}

static void no_allocation(void **state)
{
    (void)state;
    isovae_error err;
    for (size_t i = 0; i < CASES; i++) {
        const example *c = &cases[i];
        for (size_t e = 0; e < IV_ESTIMATES; e++) {
            double out[ROWS], latents[3 * 40], x[WIDEST];
            unsigned char row_status[ROWS];
            size_t before = allocations;
            isovae_scorer *s = scorer_of(c, estimates[e], 0, NULL);
            assert_true(allocations > before); /* they are counted */
            before = allocations;
            for (size_t r = 0; r < 20; r++) {
                const float *row = c->rows + r * c->d;
                isovae_status status =
                    isovae_scorer_score(s, row, ISOVAE_F32, 1, 0, 0, out, row_status, &err);
                status |=
                    isovae_scorer_score(s, c->rows, ISOVAE_F32, ROWS, 0, 0, out, row_status, &err);
                status |= isovae_scorer_encode(s, row, ISOVAE_F32, 1, 0, 0, latents, latents + 40,
                                               latents + 80, NULL, &err);
                status |= isovae_scorer_decode(s, latents, ISOVAE_F64, 1, 0, 0, x, NULL, &err);
                assert_int_equal(status, ISOVAE_OK);
            }
            assert_int_equal(allocations - before, 0);
            isovae_scorer_free(s);
        }
    }
}

/* Scores of an ensemble are means; a row that changes dropped columns pays log(99 + 1) for each. */
static void ensembles(void **state)
{
    (void)state;
    isovae_error err;
    const example *c = &cases[ENSEMBLE];
    double mean[ROWS] = {0}, one[ROWS], all[ROWS];
    assert_int_equal(isovae_model_members(c->model), 3);
    assert_int_equal(isovae_model_members(cases[0].model), 1);
    for (size_t k = 0; k < 3; k++) {
        iv_model alone = *iv_model_member(c->inner, k);
        iv_scorer *s;
        alone.n_more = 0;
        ok(iv_scorer_new(&alone, &(iv_scorer_plan){.batch = 0}, &s, &err), &err);
        iv_row_view view = {.values = c->rows,
                            .dtype = IV_F32,
                            .rows = ROWS,
                            .row_stride = (ptrdiff_t)(c->d * sizeof(float)),
                            .column_stride = sizeof(float)};
        ok(iv_scorer_score(s, &view, one, NULL, NULL, &err), &err);
        iv_scorer_free(s);
        for (size_t r = 0; r < ROWS; r++) mean[r] += one[r];
    }
    for (size_t r = 0; r < ROWS; r++) mean[r] /= 3;
    isovae_scorer *s = scorer_of(c, NULL, 0, NULL);
    score(s, c->rows, ROWS, all);
    assert_same(mean, all, ROWS, "the mean over members");

    float row[12] = {0.5f, 0.5f, 0.5f};
    double at_ease, costly;
    score(s, row, 1, &at_ease);
    row[1] = 7; /* constant to member 1, a column like others to the rest */
    score(s, row, 1, &costly);
    isovae_scorer_free(s);
    double wide[24] = {0.5, 0.5, 0.5};
    for (size_t i = 0; i < 12; i++) wide[12 + i] = (double)row[i];
    iv_dataset *set;
    ok(iv_dataset_from_rows(wide, 2, 12, NULL, &set, &err), &err);
    iv_model alone = *iv_model_member(c->inner, 1);
    iv_score scores[2];
    size_t index[2] = {0, 1};
    alone.n_more = 0;
    ok(iv_score_rows(&alone, set, index, 2, IV_ESTIMATE_ELBO, NULL, NULL, NULL, scores, &err),
       &err);
    assert_true(fabs(scores[0].log_density - scores[1].log_density - log(100)) < 1e-9);
    assert_true(memcmp(&scores[0].residual, &scores[1].residual, sizeof(double)) == 0);
    double feature[12], latent[4], sum = 0;
    ok(iv_score_explain(&alone, set, 1, NULL, feature, latent, &err), &err);
    assert_true(fabs(feature[1] - log(100)) < 1e-12);
    ok(iv_score_rows(c->inner, set, index, 2, IV_ESTIMATE_ELBO, NULL, NULL, NULL, scores, &err),
       &err);
    assert_true(memcmp(&scores[1].log_density, &costly, sizeof costly) == 0);
    assert_true(costly < at_ease);
    ok(iv_score_explain(c->inner, set, 1, NULL, feature, latent, &err), &err);
    for (size_t j = 0; j < 4; j++) sum += latent[j];
    assert_true(fabs(sum - scores[1].latent) < 1e-9);
    iv_dataset_free(set);

    /* densities on the manifold have no mean where its dimensions differ */
    iv_model *second = c->inner->more[0];
    second->active[0] = 0;
    assert_int_equal(iv_check_estimate(c->inner, IV_ESTIMATE_LOGDET, &err), ISOVAE_ERR_ARGUMENT);
    assert_int_equal(iv_check_estimate(c->inner, IV_ESTIMATE_ELBO, &err), ISOVAE_OK);
    second->active[0] = 1;
    assert_int_equal(iv_check_estimate(c->inner, IV_ESTIMATE_LOGDET, &err), ISOVAE_OK);
}

/* Making one fails at each of its allocations in turn: it says so, and nothing leaks. */
static void memory_runs_out(void **state)
{
    (void)state;
    for (size_t e = 0; e < IV_ESTIMATES; e += 2) {
        static const size_t some[] = {0, 1, ENSEMBLE};
        for (size_t k = 0; k < 3; k++) {
            size_t i = some[k];
            file_bytes b = bytes_of(cases[i].inner);
            isovae_model *model;
            isovae_error err;
            ok(isovae_model_load_memory(b.data, b.length, &model, &err), &err);
            iv_free(b.data);
            isovae_scorer_config config;
            isovae_scorer_config_init(&config);
            config.estimate = estimates[e];
            size_t n = 0;
            for (isovae_status status = ISOVAE_ERR_MEMORY; status != ISOVAE_OK; n++) {
                isovae_scorer *s;
                err.message[0] = '\0';
                until_failure = n;
                status = isovae_scorer_new(model, &config, &s, &err);
                until_failure = SIZE_MAX;
                if (status == ISOVAE_OK) {
                    double out;
                    score(s, cases[i].rows, 1, &out);
                    assert_true(isfinite(out));
                } else {
                    assert_int_equal(status, ISOVAE_ERR_MEMORY);
                    assert_null(s);
                    assert_true(strlen(err.message) > 0);
                }
                isovae_scorer_free(s);
            }
            assert_true(n > 20);
            isovae_model_free(model);
        }
    }
}

/* ---- Threads ---- */

typedef struct worker {
    const example *c;
    const double *expected;
    unsigned seed;
    size_t wrong;
} worker;

static void *work(void *argument)
{
    worker *w = argument;
    isovae_scorer *s = NULL;
    isovae_scorer_config config;
    isovae_scorer_config_init(&config);
    config.isa = w->seed % 2 == 0 ? NULL : "baseline"; /* made while others make and score */
    if (isovae_scorer_new(w->c->model, &config, &s, NULL) != ISOVAE_OK) {
        w->wrong = SIZE_MAX;
        return NULL;
    }
    unsigned key = w->seed * 2654435761u + 1;
    for (size_t i = 0; i < 300; i++) {
        key = key * 1664525u + 1013904223u;
        size_t row = (key >> 8) % ROWS, count = 1 + (key >> 4) % 3;
        double out[3];
        if (row + count > ROWS) count = ROWS - row;
        isovae_status status = isovae_scorer_score(s, w->c->rows + row * w->c->d, ISOVAE_F32, count,
                                                   0, 0, out, NULL, NULL);
        if (status != ISOVAE_OK ||
            memcmp(out, w->expected + (w->seed % 2) * ROWS + row, count * sizeof *out) != 0) {
            w->wrong++;
        }
    }
    isovae_scorer_free(s);
    return NULL;
}

static void race(const example *from)
{
    enum { THREADS = 8 };
    isovae_error err;
    double expected[2 * ROWS];
    isovae_scorer *best = scorer_of(from, NULL, 0, NULL);
    isovae_scorer *baseline = scorer_of(from, NULL, 0, "baseline");
    score(best, from->rows, ROWS, expected);
    score(baseline, from->rows, ROWS, expected + ROWS);
    isovae_scorer_free(best);
    isovae_scorer_free(baseline);
    /* A model of its own, so that the threads race to pack its weights. */
    example c = *from;
    file_bytes b = bytes_of(c.inner);
    ok(isovae_model_load_memory(b.data, b.length, &c.model, &err), &err);
    iv_free(b.data);
    pthread_t threads[THREADS];
    worker workers[THREADS];
    for (unsigned t = 0; t < THREADS; t++) {
        workers[t] = (worker){.c = &c, .expected = expected, .seed = t};
        assert_int_equal(pthread_create(&threads[t], NULL, work, &workers[t]), 0);
    }
    for (size_t t = 0; t < THREADS; t++) {
        assert_int_equal(pthread_join(threads[t], NULL), 0);
        assert_int_equal(workers[t].wrong, 0);
    }
    isovae_model_free(c.model);
}

static void many_threads(void **state)
{
    (void)state;
    race(&cases[1]);
    race(&cases[ENSEMBLE]);
}

/* ---- Cancelling, and what is refused ---- */

typedef struct stopper {
    size_t calls, most;
    double done, total;
} stopper;

static int stop(void *user, const char *stage, double done, double total)
{
    stopper *s = user;
    assert_string_equal(stage, "scoring");
    s->done = done;
    s->total = total;
    return ++s->calls < s->most;
}

static void cancellation(void **state)
{
    (void)state;
    isovae_error err;
    stopper user = {.most = 3};
    isovae_scorer_config config;
    isovae_scorer_config_init(&config);
    config.batch = 10;
    config.progress = stop;
    config.user = &user;
    isovae_scorer *s;
    double expected[ROWS], got[ROWS];
    ok(isovae_scorer_new(cases[1].model, &config, &s, &err), &err);
    for (size_t r = 0; r < ROWS; r++) got[r] = -77;
    assert_int_equal(isovae_scorer_score(s, cases[1].rows, ISOVAE_F32, ROWS, 0, 0, got, NULL, &err),
                     ISOVAE_ERR_CANCELLED);
    assert_non_null(strstr(err.message, "30 of 150 rows"));
    assert_true(user.done == 30 && user.total == ROWS);
    user.most = SIZE_MAX;
    user.calls = 0;
    score(s, cases[1].rows, ROWS, expected); /* it can be used again */
    assert_int_equal(user.calls, 14);
    assert_same(expected, got, 30, "before the end");
    for (size_t r = 30; r < ROWS; r++) assert_true(got[r] == -77);
    user.calls = 0;
    score(s, cases[1].rows, 10, got); /* a single pass never asks */
    assert_int_equal(user.calls, 0);
    isovae_scorer_free(s);
}

static void refused(const example *c, const isovae_scorer_config *config, isovae_status why,
                    const char *word)
{
    isovae_error err;
    isovae_scorer *s = (isovae_scorer *)&err;
    assert_int_equal(isovae_scorer_new(c->model, config, &s, &err), why);
    assert_null(s);
    if (strstr(err.message, word) == NULL) fail_msg("'%s' is not in: %s", word, err.message);
}

static void errors(void **state)
{
    (void)state;
    isovae_error err;
    isovae_scorer_config config;
    isovae_scorer_config_init(&config);
    config.estimate = "best";
    refused(&cases[1], &config, ISOVAE_ERR_ARGUMENT, "'best'");
    config.estimate = NULL;
    config.isa = "mmx";
    refused(&cases[1], &config, ISOVAE_ERR_ARGUMENT, "'mmx'");
    config.isa = NULL;
    config.struct_size--;
    refused(&cases[1], &config, ISOVAE_ERR_VERSION, "bytes");

    iv_model *inner = make("mlp:8", 4, 2, IV_ACT_SILU, "sse", false);
    for (size_t j = 0; j < 2; j++) {
        inner->active[j] = 0;
        iv_spline_free(&inner->splines[j]);
    }
    inner->n_quantiles = 0;
    iv_free(inner->quantiles);
    inner->quantiles = NULL;
    file_bytes b = bytes_of(inner);
    example c = {0};
    ok(isovae_model_load_memory(b.data, b.length, &c.model, &err), &err);
    isovae_model *none;
    assert_int_equal(isovae_model_load_memory(b.data, b.length - 1, &none, &err),
                     ISOVAE_ERR_FORMAT);
    iv_free(b.data);
    isovae_scorer_config_init(&config);
    config.estimate = "laplace";
    refused(&c, &config, ISOVAE_ERR_ARGUMENT, "no active latent");
    isovae_scorer *s = scorer_of(&c, NULL, 0, NULL);
    const float row[4] = {0};
    double out[4];
    score(s, row, 1, out);
    assert_true(isfinite(out[0]));
    assert_int_equal(isovae_scorer_encode(s, row, ISOVAE_F32, 1, 0, 0, NULL, NULL, out, NULL, &err),
                     ISOVAE_ERR_UNSUPPORTED);
    assert_int_equal(isovae_scorer_score(s, row, (isovae_dtype)2, 1, 0, 0, out, NULL, &err),
                     ISOVAE_ERR_ARGUMENT);
    assert_int_equal(isovae_scorer_score(s, NULL, ISOVAE_F32, 1, 0, 0, out, NULL, &err),
                     ISOVAE_ERR_ARGUMENT);
    assert_int_equal(isovae_scorer_score(s, NULL, ISOVAE_F32, 1, 0, 0, out, NULL, NULL),
                     ISOVAE_ERR_ARGUMENT);
    isovae_scorer_free(s);
    isovae_scorer_free(NULL);
    assert_true(isnan(isovae_model_quantile(c.model, 0.5)));
    assert_true(isnan(isovae_tail_prob(c.model, 0)));
    isovae_model_free(c.model);
    iv_model_free(inner);
}

static void thresholds_and_names(void **state)
{
    (void)state;
    const isovae_model *model = cases[0].model; /* quantiles -10, -5, -10/3, -2.5, -2 */
    assert_true(isovae_model_quantile(model, 0) == -10);
    assert_true(isovae_model_quantile(model, 1) == -2);
    assert_true(fabs(isovae_model_quantile(model, 0.125) + 7.5) < 1e-12);
    assert_true(isnan(isovae_model_quantile(model, -0.01)));
    assert_true(isnan(isovae_model_quantile(model, 1.01)));
    assert_true(isnan(isovae_model_quantile(model, (double)NAN)));
    for (size_t i = 0; i <= 100; i++) {
        double p = (double)i / 100, score_at = isovae_model_quantile(model, p);
        assert_true(fabs(isovae_tail_prob(model, score_at) - p) < 1e-12);
        double off = -12 + 0.13 * (double)i;
        assert_true(isovae_tail_prob(model, off) == iv_threshold_share(cases[0].inner, off));
    }
    assert_true(isnan(isovae_tail_prob(model, (double)NAN)));
    assert_string_equal(isovae_model_feature_name(model, 0), "age");
    assert_string_equal(isovae_model_feature_name(model, 5), "x6");
    assert_null(isovae_model_feature_name(model, 6));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_score),
        cmocka_unit_test(equals_score_pinned),
        cmocka_unit_test(equals_encode_decode),
        cmocka_unit_test(layouts),
        cmocka_unit_test(wide_rows_keep_their_digits),
        cmocka_unit_test(bad_rows),
        cmocka_unit_test(floating_point_state),
        cmocka_unit_test(ensembles),
        cmocka_unit_test(no_allocation),
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(many_threads),
        cmocka_unit_test(cancellation),
        cmocka_unit_test(errors),
        cmocka_unit_test(thresholds_and_names),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
