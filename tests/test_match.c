/* Assignment against every permutation, canonical correlations against rotations and a case by
 * hand, and what runs with known latents agree on. */
#include "support_fit.h"

#include "base/random.h"
#include "theory/agreement.h"
#include "theory/match.h"

#include <math.h>
#include <string.h>

static void normals(uint64_t seed, size_t count, double *out)
{
    const iv_key key = {.seed = seed, .purpose = IV_PURPOSE_ANALYSIS};
    for (size_t i = 0; i < count; i += 1000) {
        iv_key part = key;
        part.row = i / 1000;
        iv_normals_f64(&part, count - i < 1000 ? count - i : 1000, out + i);
    }
}

/* ---- assignment ---- */

static double best_by_trial(size_t rows, size_t cols, const double *cost, unsigned used, size_t row,
                            size_t left)
{
    double best = INFINITY;
    if (left == 0) return 0;
    if (row == rows) return INFINITY;
    if (rows - row > left) best = best_by_trial(rows, cols, cost, used, row + 1, left);
    for (size_t c = 0; c < cols; c++) {
        if ((used & 1u << c) != 0) continue;
        double rest = best_by_trial(rows, cols, cost, used | 1u << c, row + 1, left - 1);
        best = fmin(best, cost[row * cols + c] + rest);
    }
    return best;
}

static void assignment_is_the_best(void **state)
{
    (void)state;
    isovae_error err;
    for (size_t rows = 1; rows <= 6; rows++) {
        for (size_t cols = 1; cols <= 6; cols++) {
            double cost[36], total = 0;
            size_t match[6], pairs = 0;
            unsigned seen = 0;
            normals(10 * rows + cols, 36, cost);
            ok(iv_assign(rows, cols, cost, match, &err), &err);
            for (size_t r = 0; r < rows; r++) {
                if (match[r] == SIZE_MAX) continue;
                assert_true(match[r] < cols);
                assert_int_equal(seen & 1u << match[r], 0);
                seen |= 1u << match[r];
                total += cost[r * cols + match[r]];
                pairs++;
            }
            assert_int_equal(pairs, rows < cols ? rows : cols);
            double best = best_by_trial(rows, cols, cost, 0, 0, pairs);
            assert_true(fabs(total - best) < 1e-12);
        }
    }
}

static void assignment_at_the_edges(void **state)
{
    (void)state;
    isovae_error err;
    size_t match[2] = {7, 7};
    const double cost[4] = {NAN, -1, -2, NAN};
    ok(iv_assign(2, 0, NULL, match, &err), &err);
    assert_true(match[0] == SIZE_MAX && match[1] == SIZE_MAX);
    ok(iv_assign(0, 2, NULL, match, &err), &err);
    ok(iv_assign(2, 2, cost, match, &err), &err); /* NaN is 0 */
    assert_true(match[0] == 1 && match[1] == 0);
    /* greedy would take -10 and pay 0 for the rest: -10 against -18 */
    const double greedy[4] = {-10, -9, -9, 0};
    ok(iv_assign(2, 2, greedy, match, &err), &err);
    assert_true(match[0] == 1 && match[1] == 0);
}

/* ---- correlations ---- */

static void correlations_by_hand(void **state)
{
    (void)state;
    isovae_error err;
    double a[8] = {1, 5, 2, 5, 3, 5, 4, 5}, b[4] = {2, 1, 4, 3}, c[2], out[2];
    iv_standardise(4, 2, a);
    iv_standardise(4, 1, b);
    iv_correlations(4, a, 2, b, 1, c);
    assert_true(fabs(c[0] - 0.6) < 1e-12); /* 3/5 by hand */
    assert_true(c[1] == 0);                /* a constant */
    /* uncorrelated within each side: singular values of the cross matrix, here 0.8 and 0.3 */
    const double one[4] = {1, 0, 0, 1}, cross[4] = {0, 0.3, 0.8, 0};
    ok(iv_canonical(2, one, one, cross, out, &err), &err);
    assert_true(fabs(out[0] - 0.8) < 1e-12 && fabs(out[1] - 0.3) < 1e-12);
    /* x and (x + e)/sqrt 2: rho^2 = (R' S^-1 R) for one variable against two would need them; with
     * one each it is |correlation| */
    const double single = 1, half = -0.5;
    ok(iv_canonical(1, &single, &single, &half, out, &err), &err);
    assert_true(fabs(out[0] - 0.5) < 1e-12);
    /* a direction without variance: one variable twice */
    const double twice[4] = {1, 1, 1, 1}, to_twice[4] = {1, 1, 0, 0};
    ok(iv_canonical(2, one, twice, to_twice, out, &err), &err);
    assert_true(fabs(out[0] - 1) < 1e-9 && fabs(out[1]) < 1e-6);
}

/* ---- runs ---- */

enum { ROWS = 400, RUNS = 6 };

typedef struct made {
    double y[RUNS][ROWS * 4], variance[RUNS][4];
    size_t latent[RUNS][4];
    iv_agreement_run run[RUNS];
    double source[ROWS * 4];
} made;

/* Four sources with standard deviations 3, 2, 1, 1; the runs have them in their own way. */
static void fill(made *m)
{
    static const double sd[] = {3, 2, 1, 1};
    normals(5, (size_t)ROWS * 4, m->source);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t j = 0; j < 4; j++) m->source[r * 4 + j] *= sd[j];
    }
    for (size_t i = 0; i < RUNS; i++) {
        m->run[i] = (iv_agreement_run){4, m->latent[i], m->y[i], m->variance[i]};
        for (size_t j = 0; j < 4; j++) {
            m->latent[i][j] = j;
            m->variance[i][j] = sd[j] * sd[j] * (1 + 0.01 * (double)i);
        }
    }
}

/* Column `to` of run i is column `from` of the sources, times `factor`. */
static void take(made *m, size_t i, size_t to, size_t from, double factor)
{
    for (size_t r = 0; r < ROWS; r++) {
        m->y[i][r * m->run[i].n + to] = factor * m->source[r * 4 + from];
    }
}

static void turn(made *m, size_t i, size_t a, size_t b, double angle)
{
    for (size_t r = 0; r < ROWS; r++) {
        double x = m->source[r * 4 + a], y = m->source[r * 4 + b];
        m->y[i][r * 4 + a] = cos(angle) * x + sin(angle) * y;
        m->y[i][r * 4 + b] = -sin(angle) * x + cos(angle) * y;
    }
}

static void runs_that_agree(void **state)
{
    (void)state;
    made *m = calloc(1, sizeof *m);
    isovae_error err;
    iv_agreement *a;
    assert_non_null(m);
    fill(m);
    for (size_t i = 0; i < RUNS; i++) {
        for (size_t j = 0; j < 4; j++) take(m, i, j, j, i % 2 == 0 ? 1 : -1);
        turn(m, i, 2, 3, 0.5 * (double)i); /* equal variances: any rotation is as good */
    }
    ok(iv_agree(RUNS, ROWS, m->run, 0.9, &a, &err), &err);
    assert_int_equal(a->n, 4);
    assert_int_equal(a->n_units, 3);
    for (size_t u = 0; u < 2; u++) {
        assert_int_equal(a->units[u].n, 1);
        assert_int_equal(a->units[u].found, RUNS);
        assert_true(a->units[u].claimed && a->units[u].match_min > 1 - 1e-9);
        assert_int_equal(a->latents[u].latent, u);
    }
    /* variances 9, 9.09, ..., 9.45: mean 9.225, SD 0.09 sqrt(3.5) */
    assert_true(fabs(a->units[0].variance_mean - 9.225) < 1e-9);
    assert_true(fabs(a->units[0].variance_sd - 0.09 * sqrt(3.5)) < 1e-9);
    assert_int_equal(a->units[2].n, 2);
    assert_int_equal(a->units[2].shared, 2);
    assert_true(a->units[2].claimed && a->units[2].match_min > 1 - 1e-6);
    assert_true(a->latents[2].match_min < 0.9); /* apart they are not found everywhere */
    assert_int_equal(a->latents[2].unit, 2);
    assert_int_equal(a->latents[3].unit, 2);
    iv_agreement_free(a);

    /* far apart in variance, turned by a little in all runs: each stands alone */
    for (size_t i = 0; i < RUNS; i++) {
        for (size_t j = 0; j < 4; j++) take(m, i, j, j, 1);
        m->variance[i][3] = 0.1;
        if (i > 0) turn(m, i, 2, 3, 0.3);
    }
    ok(iv_agree(RUNS, ROWS, m->run, 0.9, &a, &err), &err);
    assert_int_equal(a->n_units, 4);
    iv_agreement_free(a);
    free(m);
}

static void runs_that_differ(void **state)
{
    (void)state;
    made *m = calloc(1, sizeof *m);
    isovae_error err;
    iv_agreement *a;
    assert_non_null(m);
    fill(m);
    /* run 0 failed; runs 1 to 5 have sources 0 and 1 in other places; source 2 is in three of
     * them; run 5 has a latent of its own */
    m->run[0].n = 0;
    for (size_t i = 1; i < RUNS; i++) {
        m->run[i].n = i <= 3 ? 3 : i == 5 ? 3 : 2;
        take(m, i, 0, i % 2, -2);
        take(m, i, 1, 1 - i % 2, 1);
        if (i <= 3) take(m, i, 2, 2, 1);
        if (i == 5) take(m, i, 2, 3, 1);
    }
    ok(iv_agree(RUNS, ROWS, m->run, 0.9, &a, &err), &err);
    assert_true(a->central >= 1 && a->central <= 3);
    assert_int_equal(a->n, 3);
    assert_int_equal(a->n_units, 3);
    assert_int_equal(a->units[0].found, 5);
    assert_int_equal(a->units[2].found, 3);
    assert_false(a->units[0].claimed); /* five of six */
    assert_false(a->units[2].claimed);
    assert_true(a->units[2].match_min == 0);
    assert_int_equal(a->active[0], 0);
    assert_int_equal(a->alone[5], 1);
    assert_int_equal(a->alone[4], 0);
    iv_agreement_free(a);

    ok(iv_agree(1, ROWS, m->run, 0.9, &a, &err), &err); /* nothing but the failed one */
    assert_int_equal(a->n, 0);
    iv_agreement_free(a);
    assert_int_equal(iv_agree(0, ROWS, m->run, 0.9, &a, &err), ISOVAE_ERR_ARGUMENT);
    assert_int_equal(iv_agree(2, ROWS, m->run, 0, &a, &err), ISOVAE_ERR_ARGUMENT);
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(assignment_is_the_best), cmocka_unit_test(assignment_at_the_edges),
        cmocka_unit_test(correlations_by_hand),   cmocka_unit_test(runs_that_agree),
        cmocka_unit_test(runs_that_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
