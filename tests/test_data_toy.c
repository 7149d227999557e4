/* data/: the built-in sets: densities, moments, what the seed and the size change. */
#include "support_data.h"

#include "base/file.h"
#include "data/reader.h"
#include "data/toy.h"

static const char *const kinds[] = {"norm", "mix", "mixa", "ramp", "tri"};
static const double variances[3] = {1.0 / 6, 2.0 / 3, 8.0 / 3};

/* All numbers of one array of the reference file. */
static double *reference(const unsigned char *block, size_t length, const char *kind,
                         const char *name, size_t *count)
{
    char key[64];
    unsigned char *npy;
    size_t npy_length;
    iv_table table;
    isovae_error err;
    snprintf(key, sizeof key, "%s_%s", kind, name);
    if (iv_read_npz(block, length, key, 1 << 24, &npy, &npy_length, &err) != ISOVAE_OK ||
        iv_read_npy(npy, npy_length, &table, &err) != ISOVAE_OK) {
        fail_msg("%s", err.message);
    }
    double *out = calloc(table.rows * table.cols, sizeof *out);
    size_t *columns = calloc(table.cols, sizeof *columns);
    assert_true(out != NULL && columns != NULL);
    for (size_t i = 0; i < table.cols; i++) columns[i] = i;
    iv_request request = {.columns = columns, .n = table.cols};
    for (size_t row = 0; row < table.rows; row++) {
        assert_int_equal(iv_table_next(&table, &request, out + row * table.cols, NULL, &err),
                         ISOVAE_OK);
    }
    *count = table.rows * table.cols;
    free(columns);
    iv_table_free(&table);
    iv_free(npy);
    return out;
}

static void assert_near(double value, double expected, double tolerance, const char *what)
{
    if (!(fabs(value - expected) <= tolerance)) {
        fail_msg("%s: %.17g, expected %.17g +- %g", what, value, expected, tolerance);
    }
}

static void test_against_reference(void **state)
{
    (void)state;
    char path[512];
    unsigned char *block;
    size_t length, n, m;
    if (real_data("../reference/toy.npz", path, sizeof path) == NULL) skip();
    assert_int_equal(iv_file_read(path, 1 << 26, &block, &length, NULL), ISOVAE_OK);
    for (size_t k = 0; k < 5; k++) {
        iv_toy_kind kind;
        assert_true(iv_toy_kind_parse(kinds[k], strlen(kinds[k]), &kind));
        double *s = reference(block, length, kinds[k], "s", &n);
        double *log_p = reference(block, length, kinds[k], "log_p", &m);
        assert_int_equal(n, 3000);
        assert_int_equal(m, n);
        for (size_t i = 0; i < n; i++) {
            size_t axis = i / 1000;
            assert_near(iv_toy_log_density(kind, axis, variances[axis], s[i]), log_p[i],
                        1e-12 * (1 + fabs(log_p[i])), kinds[k]);
        }
        double *mean = reference(block, length, kinds[k], "raw_mean", &n);
        double *sd = reference(block, length, kinds[k], "raw_sd", &m);
        for (size_t axis = 0; axis < 3; axis++) {
            double a, b;
            iv_toy_raw_moments(kind, axis, &a, &b);
            assert_near(a, mean[axis], 1e-14, "raw mean");
            assert_near(b, sd[axis], 1e-14, "raw SD");
        }
        free(s);
        free(log_p);
        free(mean);
        free(sd);
    }
    iv_free(block);
}

/* Integral, mean and variance of each density by the midpoint rule: needs no reference. */
static void test_densities_integrate(void **state)
{
    (void)state;
    enum { STEPS = 200000 };
    for (size_t k = 0; k < 5; k++) {
        for (size_t axis = 0; axis < 3; axis++) {
            double variance = 0.5 + (double)axis, sum = 0, first = 0, second = 0;
            double width = 9 * sqrt(variance), h = 2 * width / STEPS;
            for (int i = 0; i < STEPS; i++) {
                double s = -width + (i + 0.5) * h;
                double p = exp(iv_toy_log_density((iv_toy_kind)k, axis, variance, s)) * h;
                sum += p;
                first += p * s;
                second += p * s * s;
            }
            assert_near(sum, 1, 1e-4, kinds[k]);
            assert_near(first, 0, 1e-4 * sqrt(variance), kinds[k]);
            assert_near(second, variance, 2e-4 * variance, kinds[k]);
        }
    }
}

/* The rows follow the stated density: moments, and the mean log density against the entropy. */
static void test_rows(void **state)
{
    (void)state;
    for (size_t k = 0; k < 5; k++) {
        char spec[64];
        snprintf(spec, sizeof spec, "toy:%s,n=40000,seed=3", kinds[k]);
        iv_dataset *d = must_open(spec, NULL);
        assert_int_equal(d->rows, 40000);
        assert_int_equal(d->cols, 16);
        assert_true(d->toy && d->named);
        assert_null(d->ids);
        assert_null(d->note);
        assert_string_equal(d->source, spec);
        assert_string_equal(d->names[0], "x1");
        assert_string_equal(d->names[15], "x16");
        const iv_truth *t = d->truth;
        assert_int_equal(t->n_factors, 3);
        assert_string_equal(t->factor_names[2], "s3");
        assert_false(t->density_only);
        double direction[3][16], entropy = 0, mean_log = 0, worst = 0;
        iv_toy_directions(direction);
        for (size_t j = 0; j < 3; j++) {
            double mean = 0, square = 0, cross = 0, fourth = 0;
            size_t other = (j + 1) % 3;
            assert_near(t->population_variances[j], variances[j], 1e-15, "population variance");
            for (size_t r = 0; r < d->rows; r++) {
                double s = t->factors[3 * r + j];
                mean += s;
                square += s * s;
                fourth += s * s * s * s;
                cross += s * t->factors[3 * r + other];
            }
            double n = (double)d->rows;
            mean /= n, square /= n, cross /= n, fourth /= n;
            assert_near(mean, 0, 5 * sqrt(variances[j] / n), "sample mean");
            assert_near(square, variances[j], 5 * sqrt((fourth - square * square) / n), "variance");
            assert_near(cross, 0, 5 * sqrt(variances[j] * variances[other] / n), "covariance");
            for (int i = 0; i < 20000; i++) { /* -E log p */
                double width = 9 * sqrt(variances[j]), h = 2 * width / 20000;
                double l =
                    iv_toy_log_density((iv_toy_kind)k, j, variances[j], -width + (i + 0.5) * h);
                if (isfinite(l)) entropy -= exp(l) * l * h;
            }
        }
        for (size_t r = 0; r < d->rows; r++) {
            double log_p = 0;
            for (size_t j = 0; j < 3; j++) {
                double s = t->factors[3 * r + j];
                log_p += iv_toy_log_density((iv_toy_kind)k, j, variances[j], s);
            }
            /* at the edge of a support the density of the raw draw is the accurate one */
            if (t->log_density[r] > -12) assert_near(t->log_density[r], log_p, 1e-8, "log density");
            mean_log += t->log_density[r];
            for (size_t i = 0; i < 16; i++) {
                double x = 0;
                for (size_t j = 0; j < 3; j++) x += t->factors[3 * r + j] * direction[j][i];
                worst = fmax(worst, fabs(x - (double)d->values[16 * r + i]));
            }
        }
        assert_true(worst < 1e-6);
        assert_near(mean_log / (double)d->rows, -entropy, 0.04, "mean log density");
        iv_dataset_free(d);
    }
}

static void test_directions(void **state)
{
    (void)state;
    double v[3][16];
    iv_toy_directions(v);
    for (size_t j = 0; j < 3; j++) {
        for (size_t k = 0; k < 3; k++) {
            double dot = 0;
            for (size_t i = 0; i < 16; i++) dot += v[j][i] * v[k][i];
            assert_near(dot, j == k, 1e-15 * 4, "orthonormal");
        }
    }
}

static void test_seed_and_size(void **state)
{
    (void)state;
    for (size_t k = 0; k < 5; k++) {
        char spec[64];
        snprintf(spec, sizeof spec, "toy:%s,n=100", kinds[k]);
        iv_dataset *a = must_open(spec, NULL);
        snprintf(spec, sizeof spec, "toy:%s,seed=0,n=250", kinds[k]);
        iv_dataset *b = must_open(spec, NULL);
        snprintf(spec, sizeof spec, "toy:%s,n=100,seed=1", kinds[k]);
        iv_dataset *c = must_open(spec, NULL);
        assert_memory_equal(a->values, b->values, 1600 * sizeof(float));
        assert_memory_equal(a->truth->factors, b->truth->factors, 300 * sizeof(double));
        size_t same = 0;
        for (size_t i = 0; i < 1600; i++) same += a->values[i] == c->values[i];
        assert_true(same < 5);
        assert_true(a->hash != b->hash && a->hash != c->hash);
        iv_dataset_free(a);
        iv_dataset_free(b);
        iv_dataset_free(c);
    }
    /* other variances scale the same draws */
    iv_dataset *a = must_open("toy:mix,n=50", NULL), *b = must_open("toy:mix,n=50,var=1:1:4", NULL);
    for (size_t i = 0; i < 150; i++) {
        double ratio = sqrt((i % 3 == 2 ? 4.0 : 1.0) / variances[i % 3]);
        assert_near(b->truth->factors[i], ratio * a->truth->factors[i], 1e-13, "scaled factor");
    }
    assert_near(b->truth->population_variances[2], 4, 0, "variance");
    iv_dataset_free(a);
    iv_dataset_free(b);
    a = must_open("toy:norm", NULL);
    assert_int_equal(a->rows, 50000);
    iv_dataset_free(a);
}

static void test_bad_specs(void **state)
{
    (void)state;
    must_fail("toy:", NULL, ISOVAE_ERR_ARGUMENT, "norm, mix, mixa, ramp and tri", NULL);
    must_fail("toy:norm2", NULL, ISOVAE_ERR_ARGUMENT, "'norm2'", NULL);
    must_fail("toy:norm,rows=5", NULL, ISOVAE_ERR_ARGUMENT, "'rows=5'", "n=ROWS, seed=NUMBER");
    must_fail("toy:norm,", NULL, ISOVAE_ERR_ARGUMENT, "unknown option", NULL);
    must_fail("toy:norm,n", NULL, ISOVAE_ERR_ARGUMENT, "unknown option 'n'", NULL);
    must_fail("toy:norm,n=0", NULL, ISOVAE_ERR_ARGUMENT, "n=0", NULL);
    must_fail("toy:norm,n=1e3", NULL, ISOVAE_ERR_ARGUMENT, "n=1e3", NULL);
    must_fail("toy:norm,n=999999999999", NULL, ISOVAE_ERR_ARGUMENT, "limit", NULL);
    must_fail("toy:norm,n=99999999999999999999999", NULL, ISOVAE_ERR_ARGUMENT, "n=9999", NULL);
    must_fail("toy:norm,seed=-1", NULL, ISOVAE_ERR_ARGUMENT, "seed=-1", NULL);
    must_fail("toy:norm,var=1:2", NULL, ISOVAE_ERR_ARGUMENT, "var=1:2", NULL);
    must_fail("toy:norm,var=1:2:3:4", NULL, ISOVAE_ERR_ARGUMENT, "var=", NULL);
    must_fail("toy:norm,var=1:0:3", NULL, ISOVAE_ERR_ARGUMENT, "var=", NULL);
    must_fail("toy:norm,var=1:nan:3", NULL, ISOVAE_ERR_ARGUMENT, "var=", NULL);
    iv_data_options options;
    iv_data_options_init(&options);
    options.columns = "1-3";
    must_fail("toy:norm", &options, ISOVAE_ERR_ARGUMENT, "fixed columns", NULL);
}

static void test_model_features(void **state)
{
    (void)state;
    iv_dataset *d = must_open("toy:norm,n=5", NULL);
    const char *want[16];
    iv_data_options options;
    iv_data_options_init(&options);
    for (size_t i = 0; i < 16; i++) want[i] = d->names[i];
    options.want = want;
    options.n_want = 16;
    options.want_named = true;
    iv_dataset_free(must_open("toy:tri,n=5", &options));
    want[3] = "age";
    must_fail("toy:tri,n=5", &options, ISOVAE_ERR_DATA, "not in the data: age", NULL);
    options.n_want = 2;
    must_fail("toy:tri,n=5", &options, ISOVAE_ERR_DATA, "not trained on such a set", NULL);
    iv_dataset_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_reference),
        cmocka_unit_test(test_densities_integrate),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_directions),
        cmocka_unit_test(test_seed_and_size),
        cmocka_unit_test(test_bad_specs),
        cmocka_unit_test(test_model_features),
    };
    return cmocka_run_group_tests_name("data_toy", tests, NULL, NULL);
}
