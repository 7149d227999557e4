/* data/: files as others publish them; skipped where they are absent (ISOVAE_DATA). */
#include "support_data.h"

static double mean_of_bytes(const iv_dataset *d)
{
    double sum = 0;
    for (size_t i = 0; i < d->rows * d->cols; i++) sum += d->bytes[i];
    return sum / (double)(d->rows * d->cols);
}

static void test_mnist(void **state)
{
    (void)state;
    char path[512];
    if (real_data("mnist/train-images-idx3-ubyte.gz", path, sizeof path) == NULL) skip();
    iv_dataset *d = must_open(path, NULL);
    assert_int_equal(d->rows, 60000);
    assert_int_equal(d->cols, 784);
    assert_true(d->height == 28 && d->width == 28 && d->channels == 1);
    assert_string_equal(d->note, "67 of 784 pixels are constant");
    /* the mean of MNIST that everybody subtracts: 0.1307 of 255 */
    assert_true(fabs(mean_of_bytes(d) / 255 - 0.1307) < 5e-5);
    iv_dataset_free(d);
    if (real_data("mnist/t10k-labels-idx1-ubyte.gz", path, sizeof path) == NULL) skip();
    d = must_open(path, NULL);
    assert_int_equal(d->rows, 10000);
    assert_int_equal(d->cols, 1);
    assert_int_equal(d->height, 0);
    size_t sevens = 0;
    for (size_t i = 0; i < d->rows; i++) sevens += d->bytes[i] == 7;
    assert_int_equal(sevens, 1028);
    iv_dataset_free(d);
}

static void test_csv_with_density(void **state)
{
    (void)state;
    char path[512];
    if (real_data("radogaga_toy/toy.csv.gz", path, sizeof path) == NULL) skip();
    iv_data_options options;
    iv_data_options_init(&options);
    options.columns = "1-16";
    options.truth_density = "17";
    options.id = "18";
    iv_dataset *d = must_open(path, &options);
    assert_int_equal(d->rows, 10000);
    assert_int_equal(d->cols, 16);
    assert_false(d->named);
    assert_null(d->note);
    double low = 0, high = 0, least = INFINITY, most = -INFINITY;
    size_t group[3] = {0};
    for (size_t r = 0; r < d->rows; r++) {
        for (size_t i = 0; i < 16; i++) {
            low = fmin(low, (double)d->values[16 * r + i]);
            high = fmax(high, (double)d->values[16 * r + i]);
        }
        least = fmin(least, d->truth->log_density[r]);
        most = fmax(most, d->truth->log_density[r]);
        assert_int_equal(strlen(d->ids[r]), 1);
        group[d->ids[r][0] - '0']++;
    }
    assert_true(fabs(low + 9.8217) < 1e-4 && fabs(high - 18.0828) < 1e-4);
    assert_true(fabs(exp(least) - 1.363e-07) < 1e-10 && fabs(exp(most) - 0.02112) < 1e-5);
    assert_true(group[0] == 3333 && group[1] == 3333 && group[2] == 3334);
    iv_dataset_free(d);
}

static void test_npz_images(void **state)
{
    (void)state;
    char path[512];
    if (real_data("freyfaces/freyfaces.npz:faces", path, sizeof path) == NULL) skip();
    iv_dataset *d = must_open(path, NULL);
    assert_int_equal(d->rows, 1965);
    assert_true(d->height == 28 && d->width == 20 && d->channels == 1);
    unsigned char low = 255, high = 0;
    for (size_t i = 0; i < d->rows * d->cols; i++) {
        if (d->bytes[i] < low) low = d->bytes[i];
        if (d->bytes[i] > high) high = d->bytes[i];
    }
    assert_true(low == 8 && high == 238);
    iv_dataset_free(d);
}

static void test_npz_table(void **state)
{
    (void)state;
    char path[512];
    if (real_data("kddcup99/kdd_cup.npz", path, sizeof path) == NULL) skip();
    iv_data_options options;
    iv_data_options_init(&options);
    options.split_by = "119";
    iv_dataset *d = must_open(path, &options);
    assert_int_equal(d->rows, 494021);
    assert_int_equal(d->cols, 118);
    size_t ones = 0;
    for (size_t r = 0; r < d->rows; r++) ones += d->group[r] == 1;
    assert_int_equal(ones, 97278);
    iv_dataset_free(d);
}

static void test_mixed_csv(void **state)
{
    (void)state;
    char path[512];
    if (real_data("kddcup99/kddcup.data_10_percent.gz", path, sizeof path) == NULL) skip();
    must_fail(path, NULL, ISOVAE_ERR_DATA, "4 columns hold no numbers", "--drop 2,3,4,42");
    iv_data_options options;
    iv_data_options_init(&options);
    options.drop = "2-4";
    options.id = "42";
    iv_dataset *d = must_open(path, &options);
    assert_int_equal(d->rows, 494021);
    assert_int_equal(d->cols, 38);
    size_t normal = 0;
    for (size_t r = 0; r < d->rows; r++) normal += strcmp(d->ids[r], "normal.") == 0;
    assert_int_equal(normal, 97278);
    iv_dataset_free(d);
}

static void test_other_formats(void **state)
{
    (void)state;
    char path[512];
    if (real_data("dsprites/dsprites_subset.npz", path, sizeof path) == NULL) skip();
    must_fail(path, NULL, ISOVAE_ERR_DATA, "5 arrays", "imgs");
    if (real_data("dsprites/dsprites_subset.npz:metadata", path, sizeof path) == NULL) skip();
    must_fail(path, NULL, ISOVAE_ERR_DATA, "never opened", NULL);
    if (real_data("dsprites/dsprites_subset.npz:imgs", path, sizeof path) == NULL) skip();
    iv_dataset *d = must_open(path, NULL);
    assert_true(d->height == 64 && d->width == 64 && d->bytes != NULL);
    iv_dataset_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mnist),      cmocka_unit_test(test_csv_with_density),
        cmocka_unit_test(test_npz_images), cmocka_unit_test(test_npz_table),
        cmocka_unit_test(test_mixed_csv),  cmocka_unit_test(test_other_formats),
    };
    return cmocka_run_group_tests_name("data_real", tests, NULL, NULL);
}
