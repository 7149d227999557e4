/* Training: options and their messages, the recipe on small data, the same bytes for any number of
 * threads and across interruptions. ISOVAE_TEST_SHORT=1 (sanitizers) takes fewer steps. */
#include "support_fit.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "linalg/linalg.h"
#include "model/file.h"
#include "theory/score.h"
#include "train/plan.h"
#include "train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static iv_fit_options quick(size_t steps)
{
    iv_fit_options options;
    iv_fit_options_init(&options);
    options.latent_dim = 3;
    options.beta = 0.003;
    options.steps = steps;
    return options;
}

static void expect_refused(const iv_dataset *data, const iv_fit_options *options,
                           isovae_status status, const char *says)
{
    isovae_error err = {0};
    iv_fit_result result;
    assert_int_equal(iv_fit(data, options, &result, &err), status);
    if (strstr(err.message, says) == NULL) fail_msg("'%s' does not say '%s'", err.message, says);
}

static void options_are_checked(void **state)
{
    (void)state;
    iv_dataset *data = open_data("toy:norm,n=300");
    iv_fit_options o = quick(10);
    o.beta = 0;
    expect_refused(data, &o, ISOVAE_ERR_ARGUMENT, "--beta");
    o = quick(10);
    o.beta = -1;
    expect_refused(data, &o, ISOVAE_ERR_ARGUMENT, "--beta");
    o = quick(10);
    o.beta_start = 0.001;
    expect_refused(data, &o, ISOVAE_ERR_ARGUMENT, "--beta-start");
    o = quick(10);
    o.latent_dim = 17;
    expect_refused(data, &o, ISOVAE_ERR_ARGUMENT, "--latent-dim");
    o = quick(10);
    o.rate = -1;
    expect_refused(data, &o, ISOVAE_ERR_ARGUMENT, "--lr");
    o = quick(10);
    o.epochs = 3;
    expect_refused(data, &o, ISOVAE_ERR_ARGUMENT, "--steps");
    o = quick(10);
    o.validation = 1;
    expect_refused(data, &o, ISOVAE_ERR_ARGUMENT, "--validation");
    o = quick(10);
    o.loss = "absolute";
    expect_refused(data, &o, ISOVAE_ERR_ARGUMENT, "--loss");
    o = quick(10);
    o.arch = "mlp:0";
    expect_refused(data, &o, ISOVAE_ERR_ARGUMENT, "--arch");
    o = quick(10);
    o.loss = "bce"; /* toy values are not in 0..1 */
    expect_refused(data, &o, ISOVAE_ERR_DATA, "[0, 1]");
    o = quick(10);
    o.isa = "mmx";
    expect_refused(data, &o, ISOVAE_ERR_ARGUMENT, "mmx");
    iv_dataset_free(data);
    data = open_data("toy:norm,n=1");
    o = quick(10);
    expect_refused(data, &o, ISOVAE_ERR_DATA, "at least 2");
    iv_dataset_free(data);
}

static void schedules(void **state)
{
    (void)state;
    iv_fit_plan plan = {.steps = 1000, .rate = 0.01, .beta = 0.003, .beta_start = 0.03};
    assert_true(fabs(iv_plan_rate(&plan, 0) - 0.01) < 1e-15);
    assert_true(fabs(iv_plan_rate(&plan, 500) - 0.005) < 1e-12);
    assert_true(iv_plan_rate(&plan, 999) < 1e-7);
    assert_true(fabs(iv_plan_beta(&plan, 0) - 0.03) < 1e-15);
    assert_true(fabs(iv_plan_beta(&plan, 250) - 0.003 * sqrt(10)) < 1e-12);
    assert_true(iv_plan_beta(&plan, 500) == 0.003);
    plan.schedule = IV_SCHEDULE_CONSTANT;
    assert_true(iv_plan_rate(&plan, 999) == 0.01);
    plan.schedule = IV_SCHEDULE_LINEAR;
    plan.rate_warmup = 50;
    assert_true(fabs(iv_plan_rate(&plan, 0) - 0.01 / 50) < 1e-15);
    assert_true(fabs(iv_plan_rate(&plan, 24) - 0.005) < 1e-15);
    assert_true(iv_plan_rate(&plan, 49) == 0.01 && iv_plan_rate(&plan, 500) == 0.01);
    assert_true(fabs(iv_plan_rate(&plan, 750) - 0.005) < 1e-15);
    assert_true(iv_plan_rate(&plan, 999) < 3e-5 && iv_plan_rate(&plan, 999) > 0);
    plan.rate_warmup = 0;
    plan.schedule = IV_SCHEDULE_CONSTANT;
    plan.kl_warmup = 0.1;
    assert_true(iv_plan_kl_weight(&plan, 0) < 0.02 && iv_plan_kl_weight(&plan, 100) == 1);
}

static void start_of_beta_lies_below_the_weakest_axis(void **state)
{
    (void)state;
    isovae_error err;
    iv_dataset *data = open_data("toy:norm,n=20000");
    iv_fit_options options = quick(10);
    iv_fit_plan plan;
    iv_fit_result notes = {0};
    ok(iv_fit_plan_make(data, &options, &plan, &notes, &err), &err);
    assert_true(fabs(plan.beta_start - 0.03) < 0.002); /* 0.18 times 1/6 */
    iv_fit_plan_free(&plan);
    options.beta = NAN;
    ok(iv_fit_plan_make(data, &options, &plan, &notes, &err), &err);
    assert_true(plan.beta_auto);
    assert_true(fabs(plan.beta - 2 * 0.005 * 3.5 / 16) < 1e-4);
    iv_fit_plan_free(&plan);
    iv_dataset_free(data);
}

typedef struct stopper {
    double at; /* steps done at which to cancel; negative: never */
} stopper;

static bool stop_at(void *user, const iv_progress_info *info)
{
    const stopper *s = user;
    return strcmp(info->stage, "training") != 0 || s->at < 0 || info->done < s->at;
}

static void model_bytes(const iv_model *model, unsigned char **bytes, size_t *length)
{
    isovae_error err;
    ok(iv_model_write(model, NULL, 0, NULL, bytes, length, &err), &err);
}

static void threads_give_the_same_bytes(void **state)
{
    (void)state;
    isovae_error err;
    iv_dataset *data = open_data("toy:mixa,n=3000");
    unsigned char *first = NULL;
    size_t first_length = 0;
    static const size_t threads[] = {1, 2, 4};
    for (size_t i = 0; i < 3; i++) {
        iv_fit_options options = quick(short_run() ? 60 : 400);
        options.beta = NAN;
        options.latent_dim = 5;
        ok(iv_pool_new(&options.pool, threads[i], &err), &err);
        iv_fit_result result;
        ok(iv_fit(data, &options, &result, &err), &err);
        unsigned char *bytes;
        size_t length;
        model_bytes(result.model, &bytes, &length);
        if (first == NULL) {
            first = bytes;
            first_length = length;
        } else {
            assert_int_equal(length, first_length);
            assert_memory_equal(bytes, first, length);
            iv_free(bytes);
        }
        iv_model_free(result.model);
        iv_pool_free(options.pool);
    }
    iv_free(first);
    iv_dataset_free(data);
}

static void resumed_runs_end_in_the_same_bytes(void **state)
{
    (void)state;
    isovae_error err;
    iv_dataset *data = open_data("toy:norm,n=2000");
    char checkpoint[] = "/tmp/isovae-test-XXXXXX";
    int file = mkstemp(checkpoint);
    assert_true(file >= 0);
    close(file);
    unlink(checkpoint);
    iv_fit_options options = quick(short_run() ? 120 : 1500);
    options.validation = 0.2;
    options.beta = NAN; /* follows the residual: state of its own */
    options.checkpoint_every = 37;
    iv_fit_result result;
    ok(iv_fit(data, &options, &result, &err), &err);
    unsigned char *whole, *parts;
    size_t whole_length, parts_length;
    model_bytes(result.model, &whole, &whole_length);
    iv_model_free(result.model);

    /* Cancelled whenever progress is told (every tenth of a second) until it is through. */
    stopper s = {.at = 0};
    options.checkpoint = checkpoint;
    options.resume = checkpoint;
    options.progress = (iv_progress){.call = stop_at, .user = &s};
    isovae_status status = ISOVAE_ERR_CANCELLED;
    size_t stops = 0;
    while (status == ISOVAE_ERR_CANCELLED && stops < 100) {
        if (stops == 5) s.at = -1;
        status = iv_fit(data, &options, &result, &err);
        stops += status == ISOVAE_ERR_CANCELLED;
    }
    ok(status, &err);
    model_bytes(result.model, &parts, &parts_length);
    assert_int_equal(parts_length, whole_length);
    assert_memory_equal(parts, whole, whole_length);
    assert_true(stops > 0);
    iv_model_free(result.model);

    /* Another option is named. */
    options.batch_size = 64;
    expect_refused(data, &options, ISOVAE_ERR_ARGUMENT, "--batch-size");
    unlink(checkpoint);
    iv_free(whole);
    iv_free(parts);
    iv_dataset_free(data);
}

static void divergence_is_told(void **state)
{
    (void)state;
    double rows[8][2] = {{1e30, 1}, {-1e30, 2}, {1e30, 3}, {-1e30, 4},
                         {0, 5},    {1, 6},     {2, 7},    {3, 8}};
    isovae_error err;
    iv_dataset *data;
    ok(iv_dataset_from_rows(&rows[0][0], 8, 2, NULL, &data, &err), &err);
    iv_fit_options options = quick(2000);
    options.latent_dim = 1;
    options.beta = 1e-30;
    options.scale = IV_SCALE_IDENTITY;
    options.rate = 1;
    expect_refused(data, &options, ISOVAE_ERR_DIVERGED, "--lr");
    iv_dataset_free(data);
}

/* A table of eight columns of three factors, and of eight flags that one row in a thousand has, or
 * eight sizes that a few rows have most of. */
static iv_dataset *far_rows(size_t rows, bool sizes)
{
    enum { columns = 16 };
    isovae_error err;
    iv_dataset *data;
    iv_key key = {.seed = 7, .purpose = IV_PURPOSE_TOY};
    double *values = malloc(rows * columns * sizeof *values), draws[columns];
    assert_non_null(values);
    for (size_t r = 0; r < rows; r++) {
        key.row = r;
        iv_normals_f64(&key, columns, draws);
        for (size_t i = 0; i < columns; i++) {
            double flag = r % 1000 == 100 * i - 700 ? 1.0 : 0.0, size = exp(4 * draws[i]);
            double far = sizes ? size : flag;
            values[r * columns + i] = i < 8 ? draws[i % 3] + 0.2 * draws[i] : far;
        }
    }
    ok(iv_dataset_from_rows(values, rows, columns, NULL, &data, &err), &err);
    free(values);
    return data;
}

static void expect_rate(const iv_dataset *data, const iv_fit_options *options, double rate,
                        double least_tails, double most_tails)
{
    isovae_error err;
    iv_fit_plan plan;
    iv_fit_result notes = {0};
    ok(iv_fit_plan_make(data, options, &plan, &notes, &err), &err);
    if (!(plan.tails > least_tails && plan.tails < most_tails)) fail_msg("kurtosis %g", plan.tails);
    if (!(fabs(plan.rate - rate) < 1e-12)) fail_msg("rate %g, not %g", plan.rate, rate);
    iv_fit_plan_free(&plan);
}

/* Tables with rows far out get a lower rate where none is given and the distance is squared. */
static void heavy_tails_lower_the_rate(void **state)
{
    (void)state;
    iv_dataset *flags = far_rows(3000, false), *toy = open_data("toy:mix,n=3000");
    iv_fit_options options = quick(10);
    /* flags of kurtosis 1000 and Gaussian columns, half and half, up to who trains */
    expect_rate(flags, &options, 0.002, 350, 750);
    expect_rate(toy, &options, 0.01, 1, 4);
    options.scale = IV_SCALE_MINMAX; /* rare flags then count little */
    expect_rate(flags, &options, 0.01, 2, 50);
    options.scale = -1;
    options.rate = 0.005;
    expect_rate(flags, &options, 0.005, 350, 750);
    options.rate = NAN;
    options.loss = "student";
    options.beta = NAN;
    expect_rate(flags, &options, 0.01, 350, 750);
    iv_dataset_free(flags);
    iv_dataset_free(toy);
}

/* Also at a high rate such a table is learned; where nothing is, that is told, with what to do. */
static void heavy_tails_are_learned(void **state)
{
    (void)state;
    isovae_error err;
    iv_dataset *data = far_rows(3000, true);
    iv_fit_options options = quick(short_run() ? 50 : 3000);
    options.latent_dim = 10;
    options.beta = NAN;
    options.rate = 0.01;
    options.no_restart = true;
    iv_fit_result result;
    ok(iv_fit(data, &options, &result, &err), &err);
    double share = result.model->train_loss / 16;
    if (!short_run() && !(share < 0.3)) fail_msg("loss: %g of the variance", share);
    iv_model_free(result.model);

    options.rate = 1e-6;
    options.steps = 10;
    ok(iv_fit(data, &options, &result, &err), &err);
    bool told = false;
    for (size_t i = 0; i < result.n_notes; i++) {
        told = told || (strstr(result.notes[i].text, "worse than PCA") != NULL &&
                        strstr(result.notes[i].text, "--preset anomaly") != NULL);
    }
    assert_true(told);
    iv_model_free(result.model);
    iv_dataset_free(data);
}

/* A file may be sorted: its first rows must not stand for all where only a part is measured. */
static void sorted_rows_are_measured_throughout(void **state)
{
    (void)state;
    enum { rows = 22000 };
    double *values = malloc(2 * rows * sizeof *values);
    assert_non_null(values);
    for (size_t r = 0; r < rows; r++) {
        values[2 * r] = r < rows / 2 ? 0.01 * (double)(r % 7) : (double)(r % 101);
        values[2 * r + 1] = r < rows / 2 ? 0.01 * (double)(r % 5) : (double)(r % 13);
    }
    isovae_error err;
    iv_dataset *data;
    ok(iv_dataset_from_rows(values, rows, 2, NULL, &data, &err), &err);
    free(values);
    iv_fit_options options = quick(20);
    options.latent_dim = 1;
    iv_fit_result result;
    ok(iv_fit(data, &options, &result, &err), &err);
    double ratio = result.model->train_loss / result.model->validation_loss;
    if (!(ratio > 0.8 && ratio < 1.25)) fail_msg("losses differ by a factor of %g", ratio);
    iv_model_free(result.model);
    iv_dataset_free(data);
}

/* Gaussian data of 16 dimensions: a linear VAE from a random start reaches probabilistic PCA. */
static void linear_vae_reaches_ppca(void **state)
{
    (void)state;
    if (short_run()) skip();
    enum { rows = 20000, d = 16, n = 4 };
    static const double variances[n] = {6, 3, 1.5, 0.8};
    const double beta = 0.4; /* noise 0.2 */
    isovae_error err;
    double *x = calloc((size_t)rows * d, sizeof *x);
    assert_non_null(x);
    double mix[d * d];
    iv_key key = {.seed = 3, .purpose = IV_PURPOSE_TOY, .step = 9};
    iv_normals_f64(&key, d * d, mix);
    for (size_t i = 0; i < d; i++) { /* Gram-Schmidt */
        for (size_t j = 0; j <= i; j++) {
            double dot = 0;
            for (size_t c = 0; c < d; c++) dot += mix[i * d + c] * mix[j * d + c];
            for (size_t c = 0; c < d && j < i; c++) mix[i * d + c] -= dot * mix[j * d + c];
            if (j == i) {
                for (size_t c = 0; c < d; c++) mix[i * d + c] /= sqrt(dot);
            }
        }
    }
    for (size_t r = 0; r < rows; r++) {
        double draws[d];
        key.row = r + 1;
        iv_normals_f64(&key, d, draws);
        for (size_t i = 0; i < d; i++) {
            double sd = sqrt(i < n ? variances[i] : beta / 2);
            for (size_t c = 0; c < d; c++) x[r * d + c] += draws[i] * sd * mix[i * d + c];
        }
    }
    iv_dataset *data;
    ok(iv_dataset_from_rows(x, rows, d, NULL, &data, &err), &err);
    iv_fit_options options;
    iv_fit_options_init(&options);
    options.latent_dim = n;
    options.beta = beta;
    options.arch = "linear";
    options.scale = IV_SCALE_NONE;
    options.steps = 6000;
    options.validation = 0;
    options.seed = 1;
    ok(iv_pool_new(&options.pool, 2, &err), &err);
    iv_fit_result result;
    ok(iv_fit(data, &options, &result, &err), &err);

    float *xf = calloc((size_t)rows * d, sizeof *xf);
    assert_non_null(xf);
    for (size_t i = 0; i < (size_t)rows * d; i++) xf[i] = (float)x[i];
    double values[d], vectors[d * d], total;
    ok(iv_pca(xf, rows, d, NULL, d, 0, values, vectors, &total, &err), &err);
    for (size_t j = 0; j < n; j++) {
        double ratio = result.model->variance_y[j] / values[j];
        if (!(fabs(ratio - 1) <= 0.02))
            fail_msg("latent %zu: variance_y / eigenvalue %.4f", j, ratio);
    }
    /* log N(x; mean, W W^T + beta/2 I), row by row */
    size_t chosen[500];
    iv_score scores[500];
    for (size_t r = 0; r < 500; r++) chosen[r] = r * 37;
    ok(iv_score_rows(result.model, data, chosen, 500, IV_ESTIMATE_ELBO, options.pool, NULL, NULL,
                     scores, &err),
       &err);
    double mean[d] = {0}, difference = 0;
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < d; c++) mean[c] += x[r * d + c] / rows;
    }
    for (size_t r = 0; r < 500; r++) {
        double log_p = -0.5 * d * log(2 * M_PI);
        for (size_t j = 0; j < d; j++) {
            double along = 0, variance = j < n ? values[j] : beta / 2;
            for (size_t c = 0; c < d; c++) {
                along += vectors[j * d + c] * (x[chosen[r] * d + c] - mean[c]);
            }
            log_p -= 0.5 * (along * along / variance + log(variance));
        }
        difference += fabs(scores[r].log_density - log_p) / 500;
    }
    print_message("linear VAE: mean |log density - exact| %.4f nats\n", difference);
    assert_true(difference <= 0.05);
    iv_model_free(result.model);
    iv_pool_free(options.pool);
    iv_dataset_free(data);
    free(x);
    free(xf);
}

static void toy_norm_reaches_the_optimum(void **state)
{
    (void)state;
    if (short_run()) skip();
    isovae_error err;
    iv_dataset *data = open_data("toy:norm,n=20000");
    iv_fit_options options = quick(4000);
    ok(iv_pool_new(&options.pool, 2, &err), &err);
    iv_fit_result result;
    ok(iv_fit(data, &options, &result, &err), &err);
    iv_model *model = result.model;
    static const double truth[3] = {8.0 / 3, 2.0 / 3, 1.0 / 6};
    for (size_t j = 0; j < 3; j++) {
        assert_true(model->active[j]);
        assert_true(fabs(model->variance_y[j] / truth[j] - 1) < 0.05);
    }
    assert_false(model->folded);
    assert_true(model->restarts == 0);
    assert_true(fabs(model->train_loss - 0.0319) < 0.001);
    assert_true(model->n_history >= 10);
    iv_model_free(model);

    /* auto: beta stands in the last quarter, at the floor for data without noise */
    options.beta = NAN;
    options.latent_dim = 5;
    options.steps = 2000;
    ok(iv_fit(data, &options, &result, &err), &err);
    model = result.model;
    for (size_t i = 3 * model->n_history / 4; i < model->n_history; i++) {
        assert_true(model->history[i].beta == model->beta);
    }
    assert_true(fabs(model->beta / (2 * 0.005 * 3.5 / 16) - 1) < 0.03);
    iv_model_free(model);
    iv_pool_free(options.pool);
    iv_dataset_free(data);
}

/* With a validation file the stored quantiles are of its rows: other data, other scores. */
static void quantiles_come_from_the_validation_file(void **state)
{
    (void)state;
    isovae_error err;
    iv_dataset *data = open_data("toy:norm,n=1000"), *held = open_data("toy:norm,n=200,var=1:4:9");
    iv_fit_options options = quick(short_run() ? 60 : 600);
    options.validation_data = held;
    iv_fit_result result;
    ok(iv_fit(data, &options, &result, &err), &err);
    size_t rows[200];
    iv_score scores[200];
    double lowest = INFINITY, highest = -INFINITY;
    for (size_t r = 0; r < 200; r++) rows[r] = r;
    ok(iv_score_rows(result.model, held, rows, 200, IV_ESTIMATE_ELBO, NULL, NULL, NULL, scores,
                     &err),
       &err);
    for (size_t r = 0; r < 200; r++) {
        lowest = fmin(lowest, scores[r].log_density);
        highest = fmax(highest, scores[r].log_density);
    }
    assert_true(result.model->n_quantiles == 200);
    assert_true(result.model->quantiles[0] == lowest);
    assert_true(result.model->quantiles[199] == highest);
    iv_model_free(result.model);
    iv_dataset_free(data);
    iv_dataset_free(held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(schedules),
        cmocka_unit_test(start_of_beta_lies_below_the_weakest_axis),
        cmocka_unit_test(threads_give_the_same_bytes),
        cmocka_unit_test(resumed_runs_end_in_the_same_bytes),
        cmocka_unit_test(divergence_is_told),
        cmocka_unit_test(heavy_tails_lower_the_rate),
        cmocka_unit_test(heavy_tails_are_learned),
        cmocka_unit_test(quantiles_come_from_the_validation_file),
        cmocka_unit_test(sorted_rows_are_measured_throughout),
        cmocka_unit_test(toy_norm_reaches_the_optimum),
        cmocka_unit_test(linear_vae_reaches_ppca),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
