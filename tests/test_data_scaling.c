/* data/: scaling and the split into training and validation rows. */
#include "support_data.h"

#include "data/scaling.h"
#include "data/split.h"

enum { ROWS = 200, COLS = 4 };

/* Columns: spread 1, spread 10, constant 0.1 (not exact in binary), within [0, 1]. */
static iv_dataset *sample(void)
{
    double values[ROWS * COLS];
    iv_dataset *data = NULL;
    for (int r = 0; r < ROWS; r++) {
        double u = (r * 37 % ROWS) / (double)ROWS, w = (r * 73 % ROWS) / (double)ROWS;
        values[r * COLS] = u - 5;
        values[r * COLS + 1] = 10 * w * w;
        values[r * COLS + 2] = 0.1;
        values[r * COLS + 3] = u;
    }
    assert_int_equal(iv_dataset_from_rows(values, ROWS, COLS, NULL, &data, NULL), ISOVAE_OK);
    return data;
}

static size_t every_second(size_t *rows)
{
    for (size_t i = 0; i < ROWS / 2; i++) rows[i] = 2 * i + 1;
    return ROWS / 2;
}

/* Mean, variance (1/N), minimum and maximum of a column over the rows. */
static void moments(const iv_dataset *d, const size_t *rows, size_t n, size_t i, double out[4])
{
    out[0] = out[1] = 0;
    out[2] = INFINITY;
    out[3] = -INFINITY;
    for (size_t r = 0; r < n; r++) {
        double x = (double)d->values[rows[r] * COLS + i];
        out[0] += x / (double)n;
        out[2] = fmin(out[2], x);
        out[3] = fmax(out[3], x);
    }
    for (size_t r = 0; r < n; r++) {
        double x = (double)d->values[rows[r] * COLS + i] - out[0];
        out[1] += x * x / (double)n;
    }
}

static void assert_near(double value, double expected)
{
    if (!(fabs(value - expected) <= 1e-12 * (1 + fabs(expected)))) {
        fail_msg("%.17g, expected %.17g", value, expected);
    }
}

static void test_kinds(void **state)
{
    (void)state;
    iv_dataset *d = sample();
    size_t rows[ROWS], n = every_second(rows);
    for (int kind = IV_SCALE_NONE; kind <= IV_SCALE_MINMAX; kind++) {
        iv_scaling s;
        double variance_sum = 0, m[4];
        assert_int_equal(iv_scaling_fit((iv_scale_kind)kind, d, rows, n, &s, NULL), ISOVAE_OK);
        assert_int_equal(s.kind, kind);
        for (size_t i = 0; i < COLS; i++) {
            moments(d, rows, n, i, m);
            variance_sum += m[1];
        }
        for (size_t i = 0; i < COLS; i++) {
            moments(d, rows, n, i, m);
            double c2 = variance_sum / COLS, shift = 0, scale = 1, weight = 1;
            if (kind == IV_SCALE_NONE) shift = m[0], scale = sqrt(c2), weight = c2;
            if (kind == IV_SCALE_STANDARD) shift = m[0], scale = i == 2 ? 1 : sqrt(m[1]);
            if (kind == IV_SCALE_MINMAX) shift = m[2], scale = i == 2 ? 1 : m[3] - m[2];
            assert_near(s.shift[i], shift);
            assert_near(s.scale[i], scale);
            assert_near(s.weight[i], weight);
        }
        assert_int_equal(s.uniform, kind == IV_SCALE_NONE || kind == IV_SCALE_IDENTITY);
        iv_scaling_free(&s);
    }
    iv_dataset_free(d);
}

static void test_unit(void **state)
{
    scratch *scr = *state;
    iv_dataset *d = sample();
    size_t rows[2] = {0, 1};
    iv_scaling s;
    isovae_error err;
    assert_int_equal(iv_scaling_fit(IV_SCALE_UNIT, d, rows, 2, &s, &err), ISOVAE_ERR_DATA);
    assert_non_null(strstr(err.message, "column 'c1'"));
    iv_dataset_free(d);
    /* bytes: 255, or 1 where they are only 0 and 1 */
    static const struct {
        unsigned char pixels[4];
        double scale;
    } cases[] = {{{0, 255, 3, 4}, 255}, {{0, 1, 1, 0}, 1}};
    for (size_t k = 0; k < 2; k++) {
        iv_text file = {0};
        put_npy(&file, 1, "|u1", "False", "(2, 1, 2)", cases[k].pixels, 4);
        d = must_open(scratch_write(scr, "a.npy", file.data, file.length), NULL);
        assert_int_equal(iv_scaling_fit(IV_SCALE_UNIT, d, rows, 2, &s, NULL), ISOVAE_OK);
        float out[4];
        iv_scaling_rows(&s, d, rows, 2, out);
        for (size_t i = 0; i < 4; i++) {
            assert_true(out[i] == (float)(cases[k].pixels[i] / cases[k].scale));
        }
        assert_true(s.uniform && s.weight[0] == 1 && s.shift[1] == 0);
        iv_scaling_free(&s);
        iv_dataset_free(d);
        iv_text_free(&file);
    }
    const double fine[4] = {0, 1, 0.5, 0.25};
    assert_int_equal(iv_dataset_from_rows(fine, 2, 2, NULL, &d, NULL), ISOVAE_OK);
    assert_int_equal(iv_scaling_fit(IV_SCALE_UNIT, d, rows, 2, &s, NULL), ISOVAE_OK);
    assert_true(s.scale[0] == 1);
    iv_scaling_free(&s);
    iv_dataset_free(d);
}

static void test_round_trip(void **state)
{
    (void)state;
    iv_dataset *d = sample();
    size_t rows[ROWS], n = every_second(rows);
    for (int kind = IV_SCALE_NONE; kind <= IV_SCALE_MINMAX; kind++) {
        iv_scaling fitted, s;
        float single[ROWS * COLS];
        double full[ROWS * COLS];
        assert_int_equal(iv_scaling_fit((iv_scale_kind)kind, d, rows, n, &fitted, NULL), ISOVAE_OK);
        assert_int_equal(iv_scaling_copy(&fitted, &s, NULL), ISOVAE_OK);
        iv_scaling_free(&fitted);
        iv_scaling_rows(&s, d, rows, n, single);
        iv_scaling_rows_f64(&s, d, rows, n, full);
        for (size_t i = 0; i < n * COLS; i++) assert_true(single[i] == (float)full[i]);
        iv_scaling_undo(&s, n, full);
        for (size_t r = 0; r < n; r++) {
            for (size_t i = 0; i < COLS; i++) {
                assert_near(full[r * COLS + i], (double)d->values[rows[r] * COLS + i]);
            }
        }
        iv_scaling_free(&s);
    }
    iv_dataset_free(d);
}

/* The metric is in data units under 'none': no volume; else the product of the scales. */
static void test_log_volume(void **state)
{
    (void)state;
    iv_dataset *d = sample();
    size_t rows[ROWS], n = every_second(rows);
    iv_scaling s;
    double expected = 0;
    assert_int_equal(iv_scaling_fit(IV_SCALE_NONE, d, rows, n, &s, NULL), ISOVAE_OK);
    assert_near(iv_scaling_log_volume(&s), 0);
    iv_scaling_free(&s);
    assert_int_equal(iv_scaling_fit(IV_SCALE_STANDARD, d, rows, n, &s, NULL), ISOVAE_OK);
    for (size_t i = 0; i < COLS; i++) expected += log(s.scale[i]);
    assert_near(iv_scaling_log_volume(&s), expected);
    assert_true(fabs(expected) > 0.1);
    iv_scaling_free(&s);
    iv_dataset_free(d);
}

static void test_one_row(void **state)
{
    (void)state;
    iv_dataset *d = sample();
    const size_t row = 7;
    for (int kind = IV_SCALE_NONE; kind <= IV_SCALE_MINMAX; kind++) {
        iv_scaling s;
        float out[COLS];
        assert_int_equal(iv_scaling_fit((iv_scale_kind)kind, d, &row, 1, &s, NULL), ISOVAE_OK);
        for (size_t i = 0; i < COLS; i++) assert_true(s.scale[i] == 1 && s.weight[i] == 1);
        iv_scaling_rows(&s, d, &row, 1, out);
        for (size_t i = 0; i < COLS; i++) assert_true(kind == IV_SCALE_IDENTITY || out[i] == 0);
        iv_scaling_free(&s);
    }
    iv_scaling s;
    assert_int_equal(iv_scaling_fit(IV_SCALE_NONE, d, &row, 0, &s, NULL), ISOVAE_ERR_DATA);
    iv_dataset_free(d);
}

static void test_names(void **state)
{
    (void)state;
    for (int kind = IV_SCALE_NONE; kind <= IV_SCALE_UNIT; kind++) {
        iv_scale_kind back;
        assert_true(iv_scale_kind_parse(iv_scale_kind_name((iv_scale_kind)kind), &back));
        assert_int_equal(back, kind);
    }
    iv_scale_kind unchanged = IV_SCALE_UNIT;
    assert_false(iv_scale_kind_parse("Standard", &unchanged));
    assert_int_equal(unchanged, IV_SCALE_UNIT);
}

/* ---- split ---- */

/* Every good row in exactly one part, both ascending. */
static void assert_partition(const iv_dataset *d, const iv_split *s)
{
    unsigned char *seen = calloc(d->rows, 1);
    assert_non_null(seen);
    for (size_t i = 0; i < s->n_train; i++) {
        assert_true(i == 0 || s->train[i] > s->train[i - 1]);
        seen[s->train[i]]++;
    }
    for (size_t i = 0; i < s->n_validation; i++) {
        assert_true(i == 0 || s->validation[i] > s->validation[i - 1]);
        seen[s->validation[i]]++;
    }
    for (size_t r = 0; r < d->rows; r++) assert_int_equal(seen[r], d->status[r] == IV_ROW_OK);
    free(seen);
}

static void test_split(void **state)
{
    (void)state;
    iv_dataset *d = sample();
    static const struct {
        double fraction;
        size_t held_out;
    } cases[] = {{0, 0}, {0.1, 20}, {0.5, 100}, {0.123, 25}, {0.999, 199}};
    iv_split s, again, other;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        assert_int_equal(iv_split_rows(d, cases[k].fraction, 1, &s, NULL), ISOVAE_OK);
        assert_int_equal(s.n_validation, cases[k].held_out);
        assert_partition(d, &s);
        iv_split_free(&s);
    }
    assert_int_equal(iv_split_rows(d, 0.5, 1, &s, NULL), ISOVAE_OK);
    assert_int_equal(iv_split_rows(d, 0.5, 1, &again, NULL), ISOVAE_OK);
    assert_int_equal(iv_split_rows(d, 0.5, 2, &other, NULL), ISOVAE_OK);
    assert_memory_equal(s.train, again.train, s.n_train * sizeof *s.train);
    assert_memory_not_equal(s.train, other.train, s.n_train * sizeof *s.train);
    /* not the first half, nor every second row */
    size_t early = 0, even = 0;
    for (size_t i = 0; i < s.n_train; i++) early += s.train[i] < 100, even += s.train[i] % 2 == 0;
    assert_true(early > 30 && early < 70 && even > 30 && even < 70);
    iv_split_free(&s);
    iv_split_free(&again);
    iv_split_free(&other);
    isovae_error err;
    assert_int_equal(iv_split_rows(d, 1, 1, &s, &err), ISOVAE_ERR_ARGUMENT);
    assert_int_equal(iv_split_rows(d, -0.1, 1, &s, &err), ISOVAE_ERR_ARGUMENT);
    assert_int_equal(iv_split_rows(d, NAN, 1, &s, &err), ISOVAE_ERR_ARGUMENT);
    iv_dataset_free(d);
    d = must_open("toy:norm,n=1", NULL); /* a single row trains */
    assert_int_equal(iv_split_rows(d, 0.9, 1, &s, NULL), ISOVAE_OK);
    assert_int_equal(s.n_train, 1);
    iv_split_free(&s);
    iv_dataset_free(d);
}

static void test_split_by(void **state)
{
    scratch *scr = *state;
    iv_data_options options;
    iv_data_options_init(&options);
    options.split_by = "part";
    options.missing_rows = true;
    iv_split s;
    isovae_error err;
    iv_dataset *d =
        must_open(scratch_text(scr, "a.csv", "x,part\n1,0\n2,1\nNA,0\n4,2\n5,0\n6,\n"), &options);
    assert_int_equal(d->cols, 1);
    assert_int_equal(iv_split_rows(d, 0.9, 1, &s, NULL), ISOVAE_OK);
    assert_partition(d, &s);
    assert_int_equal(s.n_train, 2);
    assert_int_equal(s.train[0], 0);
    assert_int_equal(s.train[1], 4);
    assert_int_equal(s.n_validation, 2);
    assert_int_equal(s.validation[0], 1);
    assert_int_equal(s.validation[1], 3);
    iv_split_free(&s);
    iv_dataset_free(d);
    d = must_open(scratch_text(scr, "a.csv", "x,part\n1,1\n2,1\n"), &options);
    assert_int_equal(iv_split_rows(d, 0, 1, &s, &err), ISOVAE_ERR_DATA);
    assert_non_null(strstr(err.message, "--split-by"));
    assert_null(s.train);
    iv_dataset_free(d);
    options.split_by = NULL;
    d = must_open(scratch_text(scr, "a.csv", "x,y\nNA,1\n2,NA\n"), &options);
    assert_int_equal(iv_split_rows(d, 0, 1, &s, &err), ISOVAE_ERR_DATA);
    assert_non_null(strstr(err.message, "no row of the data is complete"));
    iv_dataset_free(d);
}

/* Column 1 takes two values here, column 2 is constant. */
static void test_mixed(void **state)
{
    (void)state;
    iv_dataset *d = sample();
    size_t rows[ROWS], n = every_second(rows);
    double m[4];
    for (size_t r = 0; r < ROWS; r++) d->values[r * COLS + 1] = r % 5 == 0 ? 9 : -1;
    iv_scaling s;
    assert_int_equal(iv_scaling_fit(IV_SCALE_MIXED, d, rows, n, &s, NULL), ISOVAE_OK);
    moments(d, rows, n, 0, m);
    assert_near(s.shift[0], m[0]);
    assert_near(s.scale[0], sqrt(m[1]));
    moments(d, rows, n, 1, m);
    assert_near(s.shift[1], m[0]);
    assert_near(s.scale[1], 5); /* the range of 10 becomes 2 */
    for (size_t i = 0; i < COLS; i++) assert_int_equal(iv_scaling_drops(&s, i), i == 2);
    assert_int_equal(iv_scaling_kept(&s), COLS - 1);
    assert_true(s.weight[2] == 0 && s.scale[2] == 1 && s.shift[2] == (double)0.1f);
    assert_near(iv_scaling_log_volume(&s), log(s.scale[0]) + log(5) + log(s.scale[3]));
    /* changed, it is still 0 to the network, and counted */
    assert_int_equal(iv_scaling_changes(&s, d, 4), 0);
    d->values[4 * COLS + 2] = 77;
    assert_int_equal(iv_scaling_changes(&s, d, 4), 1);
    assert_true(iv_scaling_changes_at(&s, d, 4, 2) && !iv_scaling_changes_at(&s, d, 4, 1));
    assert_true(!iv_scaling_changed(&s, 2, 0.1)); /* as a double, too */
    float x[COLS];
    double wide[COLS];
    size_t row = 4;
    iv_scaling_rows(&s, d, &row, 1, x);
    iv_scaling_rows_f64(&s, d, &row, 1, wide);
    assert_true(x[2] == 0 && wide[2] == 0 && x[0] != 0);
    wide[2] = 5;
    iv_scaling_undo(&s, 1, wide);
    assert_true(wide[2] == (double)0.1f);
    assert_near(wide[1], -1);
    iv_scaling_free(&s);
    for (size_t i = 0; i < ROWS * COLS; i++) d->values[i] = 3;
    assert_int_equal(iv_scaling_fit(IV_SCALE_MIXED, d, rows, n, &s, NULL), ISOVAE_ERR_DATA);
    iv_dataset_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test_setup_teardown(test_unit, scratch_open, scratch_close),
        cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_log_volume),
        cmocka_unit_test(test_one_row),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_split),
        cmocka_unit_test_setup_teardown(test_split_by, scratch_open, scratch_close),
    };
    return cmocka_run_group_tests_name("data_scaling", tests, NULL, NULL);
}
