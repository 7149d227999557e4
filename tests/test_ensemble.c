/* Ensembles from data to scores: folds, the same bytes for any number of threads and across
 * interruptions in any member, time shared, held-out scores; mixed scaling and presets in a fit. */
#include "support_fit.h"

#include "base/file.h"
#include "base/memory.h"
#include "model/file.h"
#include "theory/rows.h"
#include "theory/score.h"
#include "train/plan.h"
#include "train/preset.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static iv_fit_options small(size_t members, size_t steps)
{
    iv_fit_options options;
    iv_fit_options_init(&options);
    options.latent_dim = 3;
    options.steps = steps;
    options.arch = "mlp:16";
    options.batch_size = 100;
    options.ensemble = members;
    return options;
}

static iv_model *fit(const iv_dataset *data, const iv_fit_options *options)
{
    isovae_error err;
    iv_fit_result result;
    ok(iv_fit(data, options, &result, &err), &err);
    return result.model;
}

static void same_bytes(const iv_model *a, const iv_model *b)
{
    isovae_error err;
    unsigned char *x, *y;
    size_t n, m;
    ok(iv_model_write(a, NULL, 0, NULL, &x, &n, &err), &err);
    ok(iv_model_write(b, NULL, 0, NULL, &y, &m, &err), &err);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    iv_free(x);
    iv_free(y);
}

static void folds_share_no_row(void **state)
{
    (void)state;
    isovae_error err;
    iv_dataset *data = open_data("toy:norm,n=503");
    unsigned char held[503] = {0};
    size_t all = 0;
    for (size_t k = 0; k < 5; k++) {
        iv_split split;
        ok(iv_split_fold(data, 0.2, k, 7, &split, &err), &err);
        assert_int_equal(split.n_train + split.n_validation, 503);
        for (size_t i = 0; i < split.n_validation; i++) held[split.validation[i]]++;
        all += split.n_validation;
        if (k == 0) { /* the split of a single run */
            iv_split one;
            ok(iv_split_rows(data, 0.2, 7, &one, &err), &err);
            assert_int_equal(one.n_validation, split.n_validation);
            assert_memory_equal(one.validation, split.validation,
                                one.n_validation * sizeof *one.validation);
            iv_split_free(&one);
        }
        iv_split_free(&split);
    }
    assert_int_equal(all, 503);
    for (size_t r = 0; r < 503; r++) assert_int_equal(held[r], 1);
    iv_dataset_free(data);
}

static void members_differ_and_threads_do_not_matter(void **state)
{
    (void)state;
    isovae_error err;
    iv_dataset *data = open_data("toy:norm,n=1000");
    iv_fit_options options = small(3, 200), two = options;
    iv_model *first = fit(data, &options);
    ok(iv_pool_new(&two.pool, 3, &err), &err);
    iv_model *second = fit(data, &two);
    same_bytes(first, second);
    iv_pool_free(two.pool);
    assert_int_equal(iv_model_members(first), 3);
    for (size_t k = 0; k < 3; k++) {
        const iv_model *m = iv_model_member(first, k);
        assert_int_equal(m->member, k);
        assert_int_equal(m->train_rows, 800);
        assert_int_equal(m->validation_rows, 200);
        assert_true(isfinite(m->validation_loss));
        if (k == 0) continue;
        assert_memory_not_equal(m->params, first->params, m->param_elements * sizeof(float));
        assert_true(m->scaling.shift[0] != first->scaling.shift[0]); /* other rows */
        assert_int_equal(m->n_quantiles, 0);
    }
    /* member 0 is what a single run with a fifth held out would be */
    iv_fit_options single = small(1, 200);
    single.validation = 0.2;
    iv_model *alone = fit(data, &single);
    assert_memory_equal(alone->params, first->params, first->param_elements * sizeof(float));
    iv_model_free(alone);
    iv_model_free(second);
    iv_model_free(first);
    iv_dataset_free(data);
}

/* The stored scores are those that members give to the rows that they held out. */
static void scores_are_of_held_out_rows(void **state)
{
    (void)state;
    isovae_error err;
    iv_dataset *data = open_data("toy:norm,n=500");
    iv_fit_options options = small(2, 150);
    iv_model *model = fit(data, &options);
    double low = INFINITY, high = -INFINITY;
    for (size_t k = 0; k < 2; k++) {
        iv_model alone = *iv_model_member(model, k);
        iv_split split;
        iv_score scores[200];
        alone.n_more = 0;
        ok(iv_split_fold(data, 0.2, k, 0, &split, &err), &err);
        assert_int_equal(split.n_validation, 100);
        ok(iv_score_rows(&alone, data, split.validation, 100, IV_ESTIMATE_ELBO, NULL, NULL, NULL,
                         scores, &err),
           &err);
        for (size_t i = 0; i < 100; i++) {
            low = fmin(low, scores[i].log_density);
            high = fmax(high, scores[i].log_density);
        }
        iv_split_free(&split);
    }
    assert_int_equal(model->n_quantiles, 200);
    assert_true(model->quantiles[0] == low && model->quantiles[199] == high);
    iv_model_free(model);

    /* rows that all hold out have the mean of all */
    iv_dataset *other = open_data("toy:norm,n=60,seed=5");
    options.validation_data = other;
    model = fit(data, &options);
    size_t rows[60];
    iv_score scores[60];
    for (size_t i = 0; i < 60; i++) rows[i] = i;
    ok(iv_score_rows(model, other, rows, 60, IV_ESTIMATE_ELBO, NULL, NULL, NULL, scores, &err),
       &err);
    low = INFINITY;
    for (size_t i = 0; i < 60; i++) low = fmin(low, scores[i].log_density);
    assert_int_equal(model->n_quantiles, 60);
    assert_true(model->quantiles[0] == low);
    assert_int_equal(model->train_rows, 500);
    iv_model_free(model);
    iv_dataset_free(other);
    iv_dataset_free(data);
}

static bool stop_at_second(void *user, const iv_progress_info *info)
{
    size_t *told = user;
    if (strncmp(info->stage, "member ", 7) != 0) return true;
    return ++*told < 2;
}

/* Cancelled at the second word of every session (the first is of its first step), and gone on with,
 * until it is through. */
static void resumed_runs_end_in_the_same_bytes(void **state)
{
    (void)state;
    isovae_error err;
    iv_dataset *data = open_data("toy:norm,n=600");
    char checkpoint[] = "/tmp/isovae-test-XXXXXX";
    int file = mkstemp(checkpoint);
    assert_true(file >= 0);
    close(file);
    unlink(checkpoint);
    iv_fit_options options = small(3, short_run() ? 40 : 300);
    options.loss = "student"; /* what the metric learns goes along */
    options.scale = IV_SCALE_MIXED;
    options.schedule = IV_SCHEDULE_LINEAR;
    options.schedule_set = true;
    options.rate_warmup = 20;
    iv_model *whole = fit(data, &options);

    size_t told = 0, sessions = 0;
    options.checkpoint = options.resume = checkpoint;
    options.checkpoint_every = 17;
    options.progress = (iv_progress){.call = stop_at_second, .user = &told};
    iv_fit_result result;
    isovae_status status;
    do {
        told = 0;
        status = iv_fit(data, &options, &result, &err);
        if (status != ISOVAE_OK) assert_int_equal(status, ISOVAE_ERR_CANCELLED);
        assert_true(sessions++ < 100);
        if (sessions == 2) { /* other options are refused, whatever member it stands at */
            iv_fit_options other = options;
            iv_fit_result none;
            other.ensemble = 2;
            assert_int_equal(iv_fit(data, &other, &none, &err), ISOVAE_ERR_ARGUMENT);
            assert_non_null(strstr(err.message, "--ensemble"));
            other = options;
            other.rate_warmup = 21;
            assert_int_equal(iv_fit(data, &other, &none, &err), ISOVAE_ERR_ARGUMENT);
            assert_non_null(strstr(err.message, "--lr-warmup"));
        }
    } while (status != ISOVAE_OK);
    assert_true(sessions > 3); /* each member was stopped */
    same_bytes(whole, result.model);
    iv_model_free(result.model);
    iv_model_free(whole);
    unlink(checkpoint);
    iv_dataset_free(data);
}

static void time_is_shared(void **state)
{
    (void)state;
    isovae_error err;
    iv_dataset *data = open_data("toy:norm,n=600");
    iv_fit_options options = small(3, 100000000);
    options.max_seconds = 0.9;
    iv_fit_result result;
    ok(iv_fit(data, &options, &result, &err), &err);
    for (size_t k = 0; k < 3; k++) {
        const iv_model *m = iv_model_member(result.model, k);
        assert_true(m->steps > 0 && m->steps_asked == 100000000);
    }
    assert_true(result.seconds < 30); /* the machine may be busy */
    bool told = false;
    for (size_t i = 0; i < result.n_notes; i++) {
        /* members that are told the same share a note, as on a slow machine all three */
        told = told || strstr(result.notes[i].text, ": --max-time") != NULL;
    }
    assert_true(told);
    iv_model_free(result.model);
    iv_dataset_free(data);
}

static void options_are_checked(void **state)
{
    (void)state;
    isovae_error err;
    iv_fit_result result;
    iv_dataset *data = open_data("toy:norm,n=200");
    iv_fit_options options = small(65, 10);
    assert_int_equal(iv_fit(data, &options, &result, &err), ISOVAE_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "--ensemble"));
    options.ensemble = 3;
    options.validation = 0.4;
    assert_int_equal(iv_fit(data, &options, &result, &err), ISOVAE_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "--validation"));
    options.validation = NAN;
    options.init_from = "m.safetensors";
    assert_int_equal(iv_fit(data, &options, &result, &err), ISOVAE_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "--init-from"));
    /* more members than five folds hold out less each */
    iv_fit_plan plan;
    iv_fit_result notes = {0};
    options = small(10, 10);
    ok(iv_fit_plan_member(data, &options, 9, &plan, &notes, &err), &err);
    assert_int_equal(plan.split.n_validation, 20);
    iv_fit_plan_free(&plan);
    iv_dataset_free(data);
}

/* ---- Mixed scaling and the preset ---- */

enum { ROWS = 400, COLS = 5 };

/* Two related columns, one with outliers, a flag, a constant, and one that is free. */
static iv_dataset *table(void)
{
    static const char *const names[COLS] = {"a", "b", "flag", "constant", "free"};
    static double values[ROWS * COLS];
    iv_dataset *data;
    isovae_error err;
    for (size_t r = 0; r < ROWS; r++) {
        double u = sin(12.9 * (double)r), v = sin(78.2 * (double)r + 1);
        double *row = values + r * COLS;
        row[0] = 5 * u;
        row[1] = 2 * u + 0.1 * v + (r % 40 == 0 ? 6 : 0);
        row[2] = u > 0.2;
        row[3] = 0.1;
        row[4] = v;
    }
    ok(iv_dataset_from_rows(values, ROWS, COLS, names, &data, &err), &err);
    return data;
}

static void dropped_columns_are_out_of_the_network(void **state)
{
    (void)state;
    isovae_error err;
    iv_dataset *data = table(), *changed;
    for (int learned = 0; learned < 2; learned++) {
        iv_fit_options options = small(1, 150);
        options.scale = IV_SCALE_MIXED;
        options.latent_dim = 2;
        options.loss = learned ? "student" : "sse";
        iv_model *model = fit(data, &options);
        assert_int_equal(iv_scaling_kept(&model->scaling), COLS - 1);
        double rows[3 * COLS], x[2 * 2] = {0.3, -0.2, 1, 1}, decoded[2 * COLS];
        for (size_t i = 0; i < 3 * COLS; i++) rows[i] = (double)data->values[i % COLS];
        rows[COLS + 3] = 0.2;
        rows[2 * COLS + 3] = -1e6; /* how far off does not matter */
        ok(iv_dataset_from_rows(rows, 3, COLS, NULL, &changed, &err), &err);
        size_t index[3] = {0, 1, 2};
        for (int e = 0; e < IV_ESTIMATES; e++) {
            iv_score s[3];
            isovae_status status =
                iv_score_rows(model, changed, index, 3, (iv_estimate)e, NULL, NULL, NULL, s, &err);
            if (e != IV_ESTIMATE_ELBO && status == ISOVAE_ERR_ARGUMENT) continue;
            ok(status, &err);
            double cost = log((double)model->train_rows + 1);
            assert_true(isfinite(s[0].log_density));
            assert_true(fabs(s[0].log_density - s[1].log_density - cost) < 1e-9);
            assert_true(s[1].log_density == s[2].log_density);
        }
        ok(iv_decode_rows(model, x, 2, NULL, NULL, decoded, &err), &err);
        assert_true(decoded[3] == (double)0.1f && decoded[COLS + 3] == (double)0.1f);

        /* a set without the column has the same densities but for what it cannot have */
        iv_analysis_options analysis;
        iv_analysis *a;
        iv_analysis_options_init(&analysis);
        analysis.rows = "all";
        ok(iv_analyse(model, data, &analysis, &a, &err), &err);
        assert_true(isfinite(a->elbo_nats) && isfinite(a->density.mean));
        for (size_t j = 0; j < a->n; j++) assert_true(a->latents[j].loading_rms[3] == 0);
        iv_analysis_free(a);
        iv_dataset_free(changed);
        iv_model_free(model);
    }
    iv_dataset_free(data);
}

static void presets(void **state)
{
    (void)state;
    isovae_error err;
    iv_dataset *data = table(), *large = open_data("toy:norm,n=20000");
    iv_fit_options o;
    iv_fit_options_init(&o);
    assert_int_equal(iv_preset_apply("none", data, &o, &err), ISOVAE_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "anomaly"));
    ok(iv_preset_apply("anomaly", data, &o, &err), &err);
    assert_string_equal(o.loss, "student");
    assert_string_equal(o.arch, "mlp:64,64");
    assert_true(o.noise_floor == 0.1 && o.denoise == 0.3 && o.weight_decay == 0.01);
    assert_true(o.rate == 0.002 && o.steps == 600 && o.batch_size == 64 && o.rate_warmup == 50);
    assert_int_equal(o.scale, IV_SCALE_MIXED);
    assert_int_equal(o.schedule, IV_SCHEDULE_LINEAR);
    assert_int_equal(o.ensemble, 3);
    assert_int_equal(o.latent_dim, COLS - 1); /* 8 are more than there are columns */
    iv_fit_options_init(&o);
    ok(iv_preset_apply("anomaly", large, &o, &err), &err);
    assert_int_equal(o.steps, 10000);
    assert_int_equal(o.latent_dim, 8);
    /* every value of the table is one that can be set, on data of every size */
    for (size_t i = 0; i < iv_n_presets; i++) {
        for (size_t r = 0; r < iv_presets[i].n_rows; r++) {
            for (size_t s = 0; s < IV_PRESET_SIZES; s++) {
                assert_non_null(iv_presets[i].rows[r].value[s]);
            }
        }
    }

    /* and it finds what it is made for */
    iv_fit_options_init(&o);
    ok(iv_preset_apply("anomaly", data, &o, &err), &err);
    if (short_run()) o.steps = 100;
    iv_model *model = fit(data, &o);
    double rows[2 * COLS];
    iv_dataset *odd;
    for (size_t i = 0; i < 2 * COLS; i++) rows[i] = (double)data->values[COLS + i % COLS];
    rows[COLS + 1] += 20;
    ok(iv_dataset_from_rows(rows, 2, COLS, NULL, &odd, &err), &err);
    size_t index[2] = {0, 1};
    iv_score s[2];
    ok(iv_score_rows(model, odd, index, 2, IV_ESTIMATE_ELBO, NULL, NULL, NULL, s, &err), &err);
    assert_true(s[0].tail_prob > 0.05);
    assert_true(s[1].log_density < s[0].log_density - 3 && s[1].tail_prob < 0.01);
    iv_dataset_free(odd);
    iv_model_free(model);
    iv_dataset_free(large);
    iv_dataset_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folds_share_no_row),
        cmocka_unit_test(members_differ_and_threads_do_not_matter),
        cmocka_unit_test(scores_are_of_held_out_rows),
        cmocka_unit_test(resumed_runs_end_in_the_same_bytes),
        cmocka_unit_test(time_is_shared),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(dropped_columns_are_out_of_the_network),
        cmocka_unit_test(presets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
