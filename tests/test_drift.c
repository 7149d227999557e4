/* Two-sample tests against values by hand and their distributions where nothing has changed; the
 * comparison of data sets through a small model. */
#include "support_fit.h"

#include "base/memory.h"
#include "base/random.h"
#include "theory/drift.h"
#include "theory/two_sample.h"
#include "train/train.h"

#include <math.h>
#include <string.h>

#define NEAR(a, b, limit)                                                                          \
    do {                                                                                           \
        double a_ = (a), b_ = (b);                                                                 \
        if (!(fabs(a_ - b_) <= (limit))) fail_msg("%s = %.9g, not %.9g", #a, a_, b_);              \
    } while (0)

/* ---- the tests themselves ---- */

static void tails(void **state)
{
    (void)state;
    NEAR(iv_normal_two_sided(1.959963985), 0.05, 1e-9);
    NEAR(iv_normal_two_sided(-1), 0.3173105079, 1e-9);
    /* Smirnov 1948, to six places */
    NEAR(iv_kolmogorov_tail(0.5), 0.963945, 1e-6);
    NEAR(iv_kolmogorov_tail(1.0), 0.270000, 1e-6);
    NEAR(iv_kolmogorov_tail(1.358099), 0.05, 1e-6);
    NEAR(iv_kolmogorov_tail(2.0), 0.000671, 1e-6);
    /* both series where they meet */
    NEAR(iv_kolmogorov_tail(1.18 - 1e-9), iv_kolmogorov_tail(1.18 + 1e-9), 1e-8);
    assert_true(iv_kolmogorov_tail(0) == 1 && iv_kolmogorov_tail(40) == 0);
}

static void by_hand(void **state)
{
    (void)state;
    iv_ranked room[8];
    iv_two_sample t;
    const double a[] = {3, 1, 2}, b[] = {5, 4, 6};
    iv_two_sample_of(3, a, 3, b, room, &t);
    /* U = 0, mean 4.5, variance 5.25, continuity 0.5 */
    NEAR(t.p[IV_TEST_SHIFT], iv_normal_two_sided(4 / sqrt(5.25)), 1e-12);
    NEAR(t.distance, 1, 1e-12);
    NEAR(t.shift, 3 / sqrt(2.0 / 3), 1e-12);
    NEAR(t.spread, 1, 1e-12);

    /* ties: 2 three times, 3 three times; U = 3 of 16, variance 16/12 (9 - 48/56) */
    const double c[] = {2, 1, 3, 2}, d[] = {3, 3, 2, 4};
    iv_two_sample_of(4, c, 4, d, room, &t);
    NEAR(t.p[IV_TEST_SHIFT], iv_normal_two_sided(4.5 / sqrt(16.0 / 12 * (9 - 48.0 / 56))), 1e-12);
    NEAR(t.distance, 0.5, 1e-12);
    double root = sqrt(2);
    NEAR(t.p[IV_TEST_SHAPE], iv_kolmogorov_tail((root + 0.12 + 0.11 / root) * 0.5), 1e-12);

    /* spread alone: the same centre, one sample three times as wide */
    const double e[] = {-1, 1, -2, 2}, f[] = {-3.5, 3.5, -6.5, 6.5};
    iv_two_sample_of(4, e, 4, f, room, &t);
    NEAR(t.p[IV_TEST_SHIFT], 1, 1e-12);
    /* distances from 0: 1 1 2 2 against 3.5 3.5 6.5 6.5: U = 0; four ties of two */
    NEAR(t.p[IV_TEST_SPREAD], iv_normal_two_sided(7.5 / sqrt(16.0 / 12 * (9 - 24.0 / 56))), 1e-12);

    const double same[] = {7, 7, 7, 7}, other[] = {8, 8, 8, 8};
    iv_two_sample_of(4, same, 4, same, room, &t);
    assert_true(t.p[0] == 1 && t.p[1] == 1 && t.p[2] == 1 && t.shift == 0 && t.spread == 1);
    iv_two_sample_of(4, same, 4, other, room, &t);
    assert_true(isinf(t.shift) && t.p[IV_TEST_SHIFT] < 0.05);
    iv_two_sample_of(0, same, 4, other, room, &t);
    assert_true(t.p[0] == 1 && t.p[1] == 1 && t.p[2] == 1);
}

/* Where nothing has changed, p is at or below 0.05 in one of twenty cases, and not more often;
 * also where values repeat. */
static void alpha_is_kept(void **state)
{
    (void)state;
    enum { CASES = 2000, N = 60, M = 90 };
    for (int whole = 0; whole < 2; whole++) {
        size_t below[3] = {0, 0, 0};
        double values[N + M];
        iv_ranked room[N + M];
        for (size_t c = 0; c < CASES; c++) {
            iv_two_sample t;
            const iv_key key = {.seed = 3, .purpose = IV_PURPOSE_ANALYSIS, .row = c};
            iv_normals_f64(&key, N + M, values);
            for (size_t i = 0; i < N + M; i++) {
                if (whole) values[i] = round(values[i]);
            }
            iv_two_sample_of(N, values, M, values + N, room, &t);
            for (size_t k = 0; k < 3; k++) below[k] += t.p[k] <= 0.05;
        }
        for (size_t k = 0; k < 3; k++) {
            /* 100 expected, SD 9.7; Kolmogorov-Smirnov is careful where values repeat */
            if (below[k] > 135) fail_msg("test %zu: %zu of 2000 below 0.05", k, below[k]);
            if (below[k] < 65 && !(k == 2 && whole)) fail_msg("test %zu: only %zu", k, below[k]);
        }
    }
}

static void holm_by_hand(void **state)
{
    (void)state;
    isovae_error err;
    const double p[] = {0.01, 0.04, NAN, 0.03, 0.005};
    double adjusted[5];
    ok(iv_holm(5, p, adjusted, &err), &err);
    NEAR(adjusted[4], 0.02, 1e-15);
    NEAR(adjusted[0], 0.03, 1e-15);
    NEAR(adjusted[3], 0.06, 1e-15);
    NEAR(adjusted[1], 0.06, 1e-15); /* not below the one before it */
    assert_true(isnan(adjusted[2]));
    const double large[] = {0.9, 0.8};
    ok(iv_holm(2, large, adjusted, &err), &err);
    assert_true(adjusted[0] == 1 && adjusted[1] == 1);
    ok(iv_holm(0, NULL, adjusted, &err), &err);
}

/* ---- through a model ---- */

enum { D = 16 };

static iv_model *a_model(const char *spec)
{
    isovae_error err;
    iv_fit_options options;
    iv_fit_result result;
    iv_dataset *data = open_data(spec);
    iv_fit_options_init(&options);
    options.latent_dim = 3;
    options.steps = short_run() ? 150 : 1000;
    ok(iv_fit(data, &options, &result, &err), &err);
    iv_dataset_free(data);
    return result.model;
}

static iv_drift *drift_of(const iv_model *model, const iv_dataset *a, const iv_dataset *b,
                          iv_pool *pool)
{
    isovae_error err;
    iv_drift *drift;
    iv_drift_options options = {.alpha = 0.05, .pool = pool};
    ok(iv_drift_between(model, a, b, &options, &drift, &err), &err);
    return drift;
}

static void changes_are_found(void **state)
{
    (void)state;
    iv_model *model = a_model("toy:norm,n=2000");
    iv_dataset *a = open_data("toy:norm,n=1000,seed=11"), *b = open_data("toy:norm,n=1000,seed=12");
    iv_drift *same = drift_of(model, a, b, NULL);
    assert_false(same->found);
    assert_int_equal(same->n_data, D);
    assert_int_equal(same->tests, 3 * (same->n_model + D));
    assert_true(same->items[same->n_model + 4].p_adjusted > 0.05);
    assert_int_equal(same->items[same->n_model + 4].n_behind, 0);
    iv_drift_free(same);

    /* half a standard deviation in one feature */
    double sd = 0;
    for (size_t r = 0; r < b->rows; r++) sd += (double)b->values[r * D + 4] * b->values[r * D + 4];
    sd = sqrt(sd / (double)b->rows);
    for (size_t r = 0; r < b->rows; r++) b->values[r * D + 4] += (float)(0.5 * sd);
    iv_drift *moved = drift_of(model, a, b, NULL);
    assert_true(moved->found);
    for (size_t i = 0; i < D; i++) {
        assert_int_equal(moved->items[moved->n_model + i].found, i == 4);
    }
    const iv_drift_item *feature = &moved->items[moved->n_model + 4];
    NEAR(feature->test.shift, 0.5, 0.15);
    /* the rows leave the manifold: residual and score see it, and say by which feature */
    const iv_drift_item *residual = &moved->items[moved->n_model - 2],
                        *score = &moved->items[moved->n_model - 1];
    assert_int_equal(residual->what, IV_DRIFT_RESIDUAL);
    assert_true(residual->found && score->found);
    assert_true(residual->n_behind > 0 && residual->behind[0].feature == 4);
    assert_true(residual->behind[0].amount > 0 && score->behind[0].amount < 0);

    /* the same numbers with two threads */
    isovae_error err;
    iv_pool *pool;
    ok(iv_pool_new(&pool, 2, &err), &err);
    iv_drift *again = drift_of(model, a, b, pool);
    for (size_t i = 0; i < moved->n_model + moved->n_data; i++) {
        assert_memory_equal(&again->items[i].test, &moved->items[i].test,
                            sizeof again->items[i].test);
        assert_memory_equal(again->items[i].adjusted, moved->items[i].adjusted,
                            sizeof again->items[i].adjusted);
    }
    iv_drift_free(again);
    iv_drift_free(moved);
    iv_pool_free(pool);
    iv_dataset_free(a);
    iv_dataset_free(b);
    iv_model_free(model);
}

/* One factor of the data moves: one latent says so, and the features behind it move it that way. */
static void features_behind_a_latent(void **state)
{
    (void)state;
    if (short_run()) skip();
    iv_model *model = a_model("toy:norm,n=2000");
    iv_dataset *a = open_data("toy:norm,n=2000,seed=11"), *b = open_data("toy:norm,n=2000,seed=12");
    size_t kept = 0; /* rows of the upper half of a factor */
    for (size_t r = 0; r < b->rows; r++) {
        if (b->truth->factors[r * 3 + 2] < 0) continue;
        memmove(b->values + kept * D, b->values + r * D, D * sizeof *b->values);
        kept++;
    }
    b->rows = kept;
    iv_drift *drift = drift_of(model, a, b, NULL);
    size_t found = 0, which = 0;
    for (size_t j = 0; j < drift->n_model - 2; j++) {
        if (!drift->items[j].found) continue;
        found++;
        which = j;
    }
    assert_int_equal(found, 1);
    const iv_drift_item *latent = &drift->items[which];
    assert_true(fabs(latent->test.shift) > 0.5 && latent->n_behind > 0);
    double sum = 0;
    for (size_t i = 0; i < latent->n_behind; i++) sum += latent->behind[i].amount;
    assert_true(sum * latent->test.shift > 0);
    assert_true(fabs(sum) > 0.4 * fabs(latent->test.shift));
    iv_drift_free(drift);
    iv_dataset_free(a);
    iv_dataset_free(b);
    iv_model_free(model);
}

static void rows_of_the_training(void **state)
{
    (void)state;
    iv_model *model = a_model("toy:norm,n=1000");
    iv_dataset *train = open_data("toy:norm,n=1000"), *b = open_data("toy:norm,n=500,seed=12");
    iv_drift *drift = drift_of(model, train, b, NULL);
    assert_true(drift->side[0].held_out && !drift->side[0].trained_on);
    assert_int_equal(drift->side[0].looked, 100);
    assert_int_equal(drift->side[0].rows, 1000);
    assert_false(drift->side[1].held_out);
    iv_drift_free(drift);
    /* where the held-out rows are not known, residual and score would flatter: not tested */
    model->validation_rows = 0;
    drift = drift_of(model, train, b, NULL);
    assert_true(drift->side[0].trained_on);
    assert_false(drift->items[drift->n_model - 1].tested);
    assert_true(isnan(drift->items[drift->n_model - 1].p_adjusted));
    assert_false(drift->items[drift->n_model - 1].found);
    iv_drift_free(drift);

    /* unusable rows: a tenth against none */
    for (size_t r = 0; r < 50; r++) b->status[10 * r] = IV_ROW_MISSING;
    b->bad_rows = 50;
    drift = drift_of(model, train, b, NULL);
    assert_int_equal(drift->n_data, D + 1);
    assert_true(drift->items[drift->n_model + D].found);
    assert_int_equal(drift->side[1].rows, 450);
    iv_drift_free(drift);
    iv_dataset_free(train);
    iv_dataset_free(b);
    iv_model_free(model);
}

static void refusals(void **state)
{
    (void)state;
    isovae_error err;
    iv_drift *drift = NULL;
    iv_model *model = a_model("toy:norm,n=300");
    iv_dataset *a = open_data("toy:norm,n=300,seed=1"), *few = open_data("toy:norm,n=19,seed=2");
    iv_drift_options options = {.alpha = 0.05};
    assert_int_equal(iv_drift_between(model, a, few, &options, &drift, &err), ISOVAE_ERR_DATA);
    assert_non_null(strstr(err.message, "19 usable rows"));
    options.alpha = 1;
    assert_int_equal(iv_drift_between(model, a, a, &options, &drift, &err), ISOVAE_ERR_ARGUMENT);
    options.alpha = NAN;
    assert_int_equal(iv_drift_between(model, a, a, &options, &drift, &err), ISOVAE_ERR_ARGUMENT);
    assert_null(drift);
    iv_dataset_free(a);
    iv_dataset_free(few);
    iv_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tails),
        cmocka_unit_test(by_hand),
        cmocka_unit_test(alpha_is_kept),
        cmocka_unit_test(holm_by_hand),
        cmocka_unit_test(changes_are_found),
        cmocka_unit_test(features_behind_a_latent),
        cmocka_unit_test(rows_of_the_training),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
