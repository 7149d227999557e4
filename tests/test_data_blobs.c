/* data/: the blobs, images with four known factors. */
#include "support_data.h"

#include "data/blobs.h"

enum { FACTORS = IV_BLOBS_FACTORS, SIZE = 32, PIXELS = SIZE * SIZE };

static double dot(const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < PIXELS; i++) sum += a[i] * b[i];
    return sum;
}

/* Central differences of fourth order along each factor. */
static void tangents(const double factor[FACTORS], double out[FACTORS][PIXELS])
{
    static double image[4][PIXELS];
    const double h = 1e-3, steps[4] = {-2, -1, 1, 2}, weights[4] = {1, -8, 8, -1};
    for (size_t j = 0; j < FACTORS; j++) {
        for (size_t k = 0; k < 4; k++) {
            double at[FACTORS];
            memcpy(at, factor, sizeof at);
            at[j] += steps[k] * h;
            iv_blobs_draw(SIZE, at, image[k]);
        }
        for (size_t i = 0; i < PIXELS; i++) {
            out[j][i] = 0;
            for (size_t k = 0; k < 4; k++) out[j][i] += weights[k] * image[k][i] / (12 * h);
        }
    }
}

/* The four tangents are orthogonal and have the lengths that blobs.h says, over all the ranges; the
 * amplitude is the norm. */
static void test_tangents(void **state)
{
    (void)state;
    static double t[FACTORS][PIXELS], image[PIXELS];
    iv_blobs b;
    assert_int_equal(iv_blobs_parse("blobs:", &b, NULL), ISOVAE_OK);
    for (int corner = 0; corner < 81; corner++) {
        double at[FACTORS];
        const double low[FACTORS] = {-b.x, -b.y, b.width_low, b.amplitude_low};
        const double high[FACTORS] = {b.x, b.y, b.width_high, b.amplitude_high};
        for (int j = 0, rest = corner; j < FACTORS; j++, rest /= 3) {
            at[j] = low[j] + (high[j] - low[j]) * (rest % 3) / 2;
        }
        double w = at[2], a = at[3];
        iv_blobs_draw(SIZE, at, image);
        assert_true(fabs(sqrt(dot(image, image)) - a) < 1e-12 * a);
        tangents(at, t);
        const double length[FACTORS] = {a / (sqrt(2) * w), a / (sqrt(2) * w), a / w, 1};
        for (size_t i = 0; i < FACTORS; i++) {
            double norm = sqrt(dot(t[i], t[i]));
            if (fabs(norm / length[i] - 1) > 0.01) {
                fail_msg("corner %d, factor %zu: length %g, expected %g", corner, i, norm,
                         length[i]);
            }
            for (size_t j = 0; j < i; j++) {
                double cosine = dot(t[i], t[j]) / (norm * sqrt(dot(t[j], t[j])));
                if (fabs(cosine) > 2e-3) fail_msg("corner %d: %zu, %zu: %g", corner, i, j, cosine);
            }
        }
    }
}

/* The factors of a large set vary as their closed forms say, independently and unequally. */
static void test_factors(void **state)
{
    (void)state;
    iv_dataset *data = must_open("blobs:n=8000,seed=3", NULL);
    const iv_truth *truth = data->truth;
    assert_true(data->rows == 8000 && data->cols == PIXELS && data->toy && !data->named);
    assert_true(data->height == SIZE && data->width == SIZE && data->channels == 1);
    assert_null(data->bytes);
    assert_int_equal(truth->n_factors, FACTORS);
    assert_string_equal(truth->factor_names[2], "width");
    double mean[FACTORS] = {0}, cov[FACTORS][FACTORS] = {{0}};
    for (size_t r = 0; r < data->rows; r++) {
        for (size_t j = 0; j < FACTORS; j++) mean[j] += truth->factors[r * FACTORS + j] / 8000;
    }
    for (size_t r = 0; r < data->rows; r++) {
        const double *f = truth->factors + r * FACTORS;
        for (size_t i = 0; i < FACTORS; i++) {
            for (size_t j = 0; j < FACTORS; j++) {
                cov[i][j] += (f[i] - mean[i]) * (f[j] - mean[j]) / 8000;
            }
        }
    }
    for (size_t i = 0; i < FACTORS; i++) {
        assert_true(fabs(cov[i][i] / truth->population_variances[i] - 1) < 0.05);
        for (size_t j = 0; j < i; j++) {
            assert_true(fabs(cov[i][j]) < 0.05 * sqrt(cov[i][i] * cov[j][j]));
        }
    }
    for (size_t i = 1; i < FACTORS; i++) {
        assert_true(truth->population_variances[i - 1] > 1.5 * truth->population_variances[i]);
    }
    iv_dataset_free(data);
}

/* The mean squared length of the tangents, as integrated over the rows, times the variance of each
 * factor is the variance that the truth tells. */
static void test_variances(void **state)
{
    (void)state;
    static double t[FACTORS][PIXELS];
    iv_dataset *data = must_open("blobs:n=400,seed=9", NULL);
    iv_blobs b;
    assert_int_equal(iv_blobs_parse("blobs:n=400,seed=9", &b, NULL), ISOVAE_OK);
    double expected[FACTORS], square[FACTORS] = {0};
    iv_blobs_variances(&b, expected);
    /* the inverse of blobs.h: factors from arc lengths, by the row's own image */
    double rms = sqrt((b.amplitude_low * b.amplitude_low + b.amplitude_low * b.amplitude_high +
                       b.amplitude_high * b.amplitude_high) /
                      3);
    double slope = sqrt(3 * expected[0]) / b.x;
    for (size_t r = 0; r < 400; r++) {
        const double *f = data->truth->factors + r * FACTORS;
        const double at[FACTORS] = {f[0] / slope, f[1] / slope, exp(f[2] / rms), f[3]};
        static double image[PIXELS];
        iv_blobs_draw(SIZE, at, image);
        for (size_t i = 0; i < PIXELS; i++) {
            assert_true(fabs(image[i] - (double)data->values[r * PIXELS + i]) < 1e-6);
        }
        tangents(at, t);
        for (size_t j = 0; j < FACTORS; j++) {
            square[j] += dot(t[j], t[j]) / 400 * (j == 2 ? at[2] * at[2] : 1);
        }
    }
    const double octave = log(b.width_high / b.width_low),
                 range = b.amplitude_high - b.amplitude_low;
    const double variance[FACTORS] = {b.x * b.x / 3, b.y * b.y / 3, octave * octave / 12,
                                      range * range / 12};
    for (size_t j = 0; j < FACTORS; j++) {
        assert_true(fabs(square[j] * variance[j] / expected[j] - 1) < 0.12);
    }
    iv_dataset_free(data);
}

/* exp(log density), divided by the density of the factors, is the volume that the tangents span. */
static void test_density(void **state)
{
    (void)state;
    static double t[FACTORS][PIXELS];
    iv_blobs b;
    iv_dataset *data = must_open("blobs:n=20,seed=2", NULL);
    assert_int_equal(iv_blobs_parse("blobs:n=20,seed=2", &b, NULL), ISOVAE_OK);
    double v[FACTORS];
    iv_blobs_variances(&b, v);
    double slope = sqrt(3 * v[0]) / b.x, octave = log(b.width_high / b.width_low);
    double rms = sqrt(12 * v[2]) / octave;
    for (size_t r = 0; r < 20; r++) {
        const double *f = data->truth->factors + r * FACTORS;
        const double at[FACTORS] = {f[0] / slope, f[1] / slope, exp(f[2] / rms), f[3]};
        tangents(at, t);
        double log_p = -log(4 * b.x * b.y * (b.amplitude_high - b.amplitude_low)) -
                       log(octave * at[2]); /* w is log-uniform */
        for (size_t j = 0; j < FACTORS; j++) log_p -= 0.5 * log(dot(t[j], t[j]));
        assert_true(fabs(log_p - data->truth->log_density[r]) < 0.02);
    }
    iv_dataset_free(data);
}

static void test_rows(void **state)
{
    (void)state;
    iv_dataset *few = must_open("blobs:n=3,seed=4", NULL),
               *more = must_open("blobs:seed=4,n=9", NULL);
    assert_memory_equal(few->values, more->values, 3 * PIXELS * sizeof(float));
    iv_dataset *other = must_open("blobs:n=3,seed=5", NULL);
    assert_memory_not_equal(few->values, other->values, 3 * PIXELS * sizeof(float));
    iv_dataset *noisy = must_open("blobs:n=3,seed=4,noise=0.1", NULL);
    double square = 0;
    for (size_t i = 0; i < 3 * PIXELS; i++) {
        double d = (double)noisy->values[i] - (double)few->values[i];
        square += d * d / (3 * PIXELS);
    }
    assert_true(fabs(sqrt(square) - 0.1) < 0.006);
    assert_null(noisy->truth->log_density);
    assert_non_null(few->truth->log_density);
    iv_dataset_free(few);
    iv_dataset_free(more);
    iv_dataset_free(other);
    iv_dataset_free(noisy);
    iv_dataset *usual = must_open("blobs:", NULL);
    assert_true(usual->rows == 20000 && usual->height == 32);
    iv_dataset_free(usual);
}

static void test_bad(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"blobs:n=0", "out of range"},
        {"blobs:n=1.5", "out of range"},
        {"blobs:size=7", "out of range"},
        {"blobs:size=257", "out of range"},
        {"blobs:noise=-1", "out of range"},
        {"blobs:noise=nan", "out of range"},
        {"blobs:width=3", "out of range"},
        {"blobs:width=4:3", "out of range"},
        {"blobs:amplitude=0:1", "out of range"},
        {"blobs:seed=", "out of range"},
        {"blobs:colour=red", "unknown option"},
        {"blobs:20000", "unknown option"},
        {"blobs:n=5,,size=16", "unknown option"},
        {"blobs:width=0.5:3", "narrower than a pixel"},
        {"blobs:x=9", "over the edge"},
        {"blobs:width=2:5", "over the edge"},
        {"blobs:n=999999999999", "above the limit"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        must_fail(bad[i][0], NULL, ISOVAE_ERR_ARGUMENT, bad[i][1], NULL);
    }
    iv_data_options options;
    iv_data_options_init(&options);
    options.columns = "1-3";
    must_fail("blobs:n=5", &options, ISOVAE_ERR_ARGUMENT, "fixed columns", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tangents),  cmocka_unit_test(test_factors),
        cmocka_unit_test(test_variances), cmocka_unit_test(test_density),
        cmocka_unit_test(test_rows),      cmocka_unit_test(test_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
