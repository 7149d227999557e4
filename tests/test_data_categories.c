/* data/: columns of words as features; comments and decimal commas of text. */
#include "support_data.h"

#include "data/categories.h"
#include "data/one_hot.h"

static const char colors[] = "size,color,weight,shape\n"
                             "1,red,10,round\n"
                             "2,blue,20,flat\n"
                             "3,\"deep \"\"sea\"\", dark\",30,round\n"
                             "4,blue,40,flat\n";

static iv_data_options with(const char *categorical)
{
    iv_data_options options;
    iv_data_options_init(&options);
    options.categorical = categorical;
    return options;
}

/* The values ascend, whatever the order of the rows; other columns keep their places. */
static void test_words_become_features(void **state)
{
    static const char *const names[] = {"size",       "color=blue", "color=deep \"sea\", dark",
                                        "color=red",  "weight",     "shape=flat",
                                        "shape=round"};
    static const double values[] = {1, 0, 0, 1, 10, 0, 1, 2, 1, 0, 0, 20, 1, 0,
                                    3, 0, 1, 0, 30, 0, 1, 4, 1, 0, 0, 40, 1, 0};
    const char *path = scratch_text(*state, "a.csv", colors);
    static const char *const lists[] = {"color,shape", "2,4", "shape, color", "auto"};
    for (size_t i = 0; i < 4; i++) {
        iv_data_options options = with(lists[i]);
        iv_dataset *d = must_open(path, &options);
        assert_values(d, 4, 7, values);
        for (size_t k = 0; k < 7; k++) assert_string_equal(d->names[k], names[k]);
        assert_string_equal(d->note, "2 columns of words became 5 features: color (3), shape (2)");
        assert_int_equal(d->categories.n, 2);
        assert_int_equal(d->categories.list[1].first, 5);
        assert_int_equal(d->categories.list[1].n, 2);
        assert_string_equal(d->categories.list[1].column, "shape");
        iv_dataset_free(d);
    }
}

/* Numbers may be words, and words may be left out or name the rows. */
static void test_choice_of_columns(void **state)
{
    static const double values[] = {1, 0, 10, 0, 1, 20, 0, 1, 30};
    const char *path = scratch_text(*state, "a.csv", "7,10,x\n8,20,y\n8,30,z\n");
    iv_data_options options = with("1");
    options.id = "3";
    iv_dataset *d = must_open(path, &options);
    assert_values(d, 3, 3, values);
    assert_false(d->named);
    assert_string_equal(d->names[1], "c1=8");
    assert_string_equal(d->ids[2], "z");
    iv_dataset_free(d);
    options = with("auto");
    options.drop = "3";
    d = must_open(path, &options);
    assert_int_equal(d->cols, 2);
    assert_int_equal(d->categories.n, 0);
    iv_dataset_free(d);
    options.categorical = "1,4";
    must_fail(path, &options, ISOVAE_ERR_ARGUMENT, "--categorical", "'4'");
    options.categorical = "1,1";
    must_fail(path, &options, ISOVAE_ERR_ARGUMENT, "--categorical", "twice");
}

/* A column that turns out to hold words only later is one of words. */
static void test_auto_looks_at_all_rows(void **state)
{
    const char *path = scratch_text(*state, "a.csv", "a,b\n1,2\n3,4\nfive,none\n6,7\n");
    iv_data_options options = with("auto");
    options.missing_rows = true; /* "none" is no word where numbers are meant */
    iv_dataset *d = must_open(path, &options);
    assert_int_equal(d->cols, 5);
    assert_string_equal(d->names[3], "a=five");
    assert_string_equal(d->names[4], "b");
    assert_int_equal(d->bad_rows, 1);
    iv_dataset_free(d);
}

static iv_data_options as_model(const iv_dataset *d)
{
    iv_data_options options;
    iv_data_options_init(&options);
    options.want = (const char *const *)d->names;
    options.n_want = d->cols;
    options.want_named = d->named;
    options.want_categories = &d->categories;
    return options;
}

/* Later data: other order, other columns, values that are new or absent. */
static void test_later_data(void **state)
{
    static const double values[] = {5, 1, 0, 0, 50, 0, 0, 6, 0, 0, 0, 60, 0, 1};
    iv_data_options options = with("auto");
    iv_dataset *d = must_open(scratch_text(*state, "a.csv", colors), &options);
    options = as_model(d);
    const char *path = scratch_text(*state, "b.csv",
                                    "shape,extra,weight,color,size\n"
                                    "oval,1,50,blue,5\nround,2,60,green,6\n");
    iv_dataset *later = must_open(path, &options);
    assert_values(later, 2, 7, values);
    assert_non_null(strstr(later->note, "1 column is not used by the model: extra"));
    assert_non_null(strstr(
        later->note, "1 row has in 'color' a value that the model has not seen ('green'): zeros"));
    assert_non_null(strstr(later->note, "'shape' a value that the model has not seen ('oval')"));
    assert_int_equal(later->categories.n, 2);
    iv_dataset_free(later);

    path = scratch_text(*state, "b.csv", "shape,weight,size\nround,1,2\n");
    must_fail(path, &options, ISOVAE_ERR_DATA, "not in the data: color", NULL);
    path = scratch_text(*state, "b.csv", "shape,weight,size,color\nround,1,2,\nflat,1,2,red\n");
    must_fail(path, &options, ISOVAE_ERR_DATA, "line 2, column 'color': the value is missing",
              NULL);
    options.missing_rows = true;
    later = must_open(path, &options);
    assert_int_equal(later->bad_rows, 1);
    assert_int_equal(later->status[0], IV_ROW_MISSING);
    iv_dataset_free(later);
    /* the features themselves, as decode writes them */
    path = scratch_text(*state, "b.csv",
                        "shape=round,shape=flat,color=blue,color=red,\"color=deep \"\"sea\"\", "
                        "dark\",size,weight\n0.1,0.9,1,0,0,7,8\n");
    later = must_open(path, &options);
    static const double features[] = {7, 1, 0, 0, 8, 0.9, 0.1};
    assert_values(later, 1, 7, features);
    iv_dataset_free(later);
    iv_dataset_free(d);
}

/* Without names the columns are those of the training, in their order. */
static void test_later_data_without_names(void **state)
{
    static const double values[] = {0, 1, 0, 9, 0, 0, 0, 8};
    iv_data_options options = with("1");
    iv_dataset *d = must_open(scratch_text(*state, "a.csv", "x,1\ny,2\nz,3\n"), &options);
    options = as_model(d);
    iv_dataset *later = must_open(scratch_text(*state, "b.csv", "y,9\nw,8\n"), &options);
    assert_values(later, 2, 4, values);
    iv_dataset_free(later);
    must_fail(scratch_text(*state, "b.csv", "y,9,1\n"), &options, ISOVAE_ERR_DATA,
              "the data have 3 feature columns, the model takes 2", NULL);
    iv_dataset_free(d);
}

static void test_too_many(void **state)
{
    scratch *s = *state;
    iv_text text = {0};
    iv_data_options options = with("a");
    for (size_t n = IV_MOST_CATEGORIES; n <= IV_MOST_CATEGORIES + 1; n++) {
        text.length = 0;
        iv_text_puts(&text, "a,b\n");
        /* also many that are there already */
        for (size_t i = 0; i < 3 * n; i++) iv_text_printf(&text, "w%zu,%zu\n", i * 3 % n, i);
        const char *path = scratch_write(s, "a.csv", text.data, text.length);
        if (n > IV_MOST_CATEGORIES) {
            must_fail(path, &options, ISOVAE_ERR_DATA, "column 'a': more than 1000 different",
                      "--id");
        } else {
            iv_dataset *d = must_open(path, &options);
            assert_int_equal(d->cols, n + 1);
            double sum = 0;
            for (size_t i = 0; i < d->rows; i++) {
                for (size_t k = 0; k < n; k++) sum += (double)d->values[i * (n + 1) + k];
            }
            assert_true(sum == (double)d->rows); /* one 1 in each row */
            iv_dataset_free(d);
        }
    }
    text.length = 0;
    iv_text_puts(&text, "a,b\n");
    for (size_t i = 0; i < IV_LONGEST_CATEGORY + 1; i++) iv_text_puts(&text, "w");
    iv_text_puts(&text, ",1\n");
    must_fail(scratch_write(s, "a.csv", text.data, text.length), &options, ISOVAE_ERR_DATA,
              "257 bytes of text are no category", "--drop");
    iv_text_free(&text);
}

static void test_refused(void **state)
{
    scratch *s = *state;
    iv_text npy = {0};
    const double values[] = {1, 2};
    iv_data_options options = with("1");
    put_npy(&npy, 1, "<f8", "False", "(2, 1)", values, sizeof values);
    must_fail(scratch_write(s, "a.npy", npy.data, npy.length), &options, ISOVAE_ERR_ARGUMENT,
              "--categorical is for CSV", NULL);
    iv_text_free(&npy);
    must_fail("toy:norm,n=9", &options, ISOVAE_ERR_ARGUMENT, "--categorical", NULL);
    must_fail(scratch_text(s, "a.csv", "a,b\n,1\n?,2\n"), &options, ISOVAE_ERR_DATA,
              "column 'a' is missing in all rows", NULL);
    must_fail(scratch_text(s, "a.csv", "a,b\nx,1\n,2\n"), &options, ISOVAE_ERR_DATA,
              "line 3, column 'a': the value is missing", NULL);
    must_fail(scratch_text(s, "a.csv", "a,b,c\nx,1,u\ny,2,v\n"), &options, ISOVAE_ERR_DATA,
              "1 column holds no number (c)", "--categorical");
}

/* A kept row cache holds the categories too. */
static void test_cache(void **state)
{
    scratch *s = *state;
    iv_text text = {0};
    char folder[80], path[400];
    iv_text_puts(&text, "a,b\n");
    for (int i = 0; i < 3000; i++) iv_text_printf(&text, "w%d,%d\n", i % 100, i);
    scratch_write(s, "a.csv", text.data, text.length);
    iv_text_free(&text);
    snprintf(folder, sizeof folder, "%s-cache", s->folder);
    char command[200];
    snprintf(command, sizeof command, "mkdir '%s'", folder);
    assert_int_equal(system(command), 0);
    iv_data_options options = with("a");
    iv_dataset *plain = must_open(s->path, &options);
    options.memory = 1 << 20;
    options.cache = folder;
    for (int i = 0; i < 2; i++) {
        iv_dataset *d = must_open(s->path, &options);
        assert_non_null(d->store);
        assert_true(d->hash == plain->hash);
        assert_int_equal(d->categories.n, 1);
        assert_int_equal(d->categories.list[0].n, 100);
        assert_string_equal(d->categories.list[0].values[99], "w99");
        assert_string_equal(d->note, plain->note);
        iv_dataset_free(d);
    }
    options.categorical = "1"; /* another key */
    iv_dataset *d = must_open(s->path, &options);
    assert_true(d->hash == plain->hash);
    iv_dataset_free(d);
    snprintf(path, sizeof path, "test $(ls '%s' | wc -l) = 2 && rm -r '%s'", folder, folder);
    assert_int_equal(system(path), 0);
    iv_dataset_free(plain);
}

static void test_comments(void **state)
{
    static const double values[] = {1, 2, 3, 4};
    static const char *const texts[] = {"# one, \"two\na,b\n1,2\n3,4\n", "#\n# x\r\n1,2\n3,4\n",
                                        "\xef\xbb\xbf# x\n#\ty\n1;2\n3;4\n",
                                        "# only blanks here\n1 2\n3 4\n"};
    for (size_t i = 0; i < 4; i++) {
        iv_dataset *d = must_open(scratch_text(*state, "a.csv", texts[i]), NULL);
        assert_values(d, 2, 2, values);
        iv_dataset_free(d);
    }
    iv_dataset *d = must_open(scratch_text(*state, "a.csv", "#a,b\n1,2\n3,4\n"), NULL);
    assert_string_equal(d->names[0], "#a"); /* a name */
    iv_dataset_free(d);
    must_fail(scratch_text(*state, "a.csv", "# a\n# b"), NULL, ISOVAE_ERR_DATA, "no data", NULL);
    must_fail(scratch_text(*state, "a.csv", "# a\n1,2\n3,x\n"), NULL, ISOVAE_ERR_DATA,
              "line 3, column 2", NULL);
}

static void test_decimal_commas(void **state)
{
    static const char *const texts[] = {"1,5;2\n2,5;3\n", "a;b\n1;2\n1;2,5\n", "a;b\n1,5;2\n2;3\n",
                                        "a,b\n1,\"2,5\"\n2,3\n", "1,5 2,5\n3,5 4,5\n"};
    for (size_t i = 0; i < 5; i++) {
        must_fail(scratch_text(*state, "a.csv", texts[i]), NULL, ISOVAE_ERR_DATA, "is not a number",
                  "decimals are written with a point");
    }
}

/* The counts are those that are told of this file everywhere. */
static void test_kdd(void **state)
{
    (void)state;
    char path[512];
    if (real_data("kddcup99/kddcup.data_10_percent.gz", path, sizeof path) == NULL) skip();
    iv_data_options options = with("2,3,4");
    options.drop = "42";
    iv_dataset *d = must_open(path, &options);
    assert_int_equal(d->rows, 494021);
    assert_int_equal(d->cols, 118);
    assert_string_equal(d->names[1], "c2=icmp");
    double sums[3] = {0};
    for (size_t r = 0; r < d->rows; r++) {
        for (size_t i = 0; i < 3; i++) sums[i] += (double)d->values[r * d->cols + 1 + i];
    }
    assert_true(sums[0] == 283602 && sums[1] == 190065 && sums[2] == 20354);
    iv_dataset_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_words_become_features, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_choice_of_columns, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_auto_looks_at_all_rows, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_later_data, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_later_data_without_names, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_too_many, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_refused, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_cache, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_comments, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_decimal_commas, scratch_open, scratch_close),
        cmocka_unit_test(test_kdd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
