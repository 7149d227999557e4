/* data/: delimited text, good and bad; column selection; ids, groups, densities, missing values. */
#include "support_data.h"

#include <locale.h>

static iv_data_options usual(void)
{
    iv_data_options options;
    iv_data_options_init(&options);
    return options;
}

static void assert_names(const iv_dataset *data, const char *joined)
{
    iv_text text = {0};
    for (size_t i = 0; i < data->cols; i++) iv_text_printf(&text, "%s|", data->names[i]);
    assert_string_equal(text.data, joined);
    iv_text_free(&text);
}

/* Opens a text and compares values and names; `names` NULL where the text names nothing. */
static void csv_case(scratch *s, const char *text, const iv_data_options *options, size_t rows,
                     size_t cols, const double *expected, const char *names)
{
    iv_dataset *d = must_open(scratch_text(s, "a.csv", text), options);
    assert_values(d, rows, cols, expected);
    assert_int_equal(d->named, names != NULL);
    if (names != NULL) assert_names(d, names);
    iv_dataset_free(d);
}

static const double six[6] = {1, 2, 3, 4, 5, 6};

static void test_separators(void **state)
{
    scratch *s = *state;
    csv_case(s, "1,2,3\n4,5,6\n", NULL, 2, 3, six, NULL);
    csv_case(s, "1,2,3\n4,5,6", NULL, 2, 3, six, NULL);
    csv_case(s, "1;2;3\n4;5;6\n", NULL, 2, 3, six, NULL);
    csv_case(s, "1\t2\t3\n4\t5\t6\n", NULL, 2, 3, six, NULL);
    csv_case(s, "  1 2   3\n4\t5 6  \n", NULL, 2, 3, six, NULL);
    csv_case(s, "1 , 2,\t3\r\n 4,5 ,6\r\n", NULL, 2, 3, six, NULL);
    csv_case(s, "1,2,3\r4,5,6\r", NULL, 2, 3, six, NULL);
    csv_case(s, "\n\n1,2,3\n  \n4,5,6\n\n\n", NULL, 2, 3, six, NULL);
    csv_case(s,
             "\xEF\xBB\xBF"
             "1,2,3\n4,5,6\n",
             NULL, 2, 3, six, NULL);
    csv_case(s, "1\n2\n3\n4\n5\n6\n", NULL, 6, 1, six, NULL);
    csv_case(s, "\"1\",\" 2 \",3\n4,\"5\",\"6\"\n", NULL, 2, 3, six, NULL);
    csv_case(s, "1e0,+2,.3e1\n4.,5.0,60E-1\n", NULL, 2, 3, six, NULL);
    csv_case(s, "1,2,3,4,5,6\n", NULL, 1, 6, six, NULL);
}

static void test_headers(void **state)
{
    scratch *s = *state;
    iv_data_options options = usual();
    csv_case(s, "a,b,c\n1,2,3\n4,5,6\n", NULL, 2, 3, six, "a|b|c|");
    csv_case(s, "\"a \"\"x\"\"\",\"b,c\",\"d\ne\"\n1,2,3\n4,5,6\n", NULL, 2, 3, six,
             "a \"x\"|b,c|d\ne|");
    csv_case(s, "a,,a\n1,2,3\n4,5,6\n", NULL, 2, 3, six, "a|c2|a.2|");
    csv_case(s, "a,a.2,a\n1,2,3\n4,5,6\n", NULL, 2, 3, six, "a|a.2|a.3|");
    csv_case(s, "a b c\n1 2 3\n4 5 6\n", NULL, 2, 3, six, "a|b|c|");
    options.header = 1;
    csv_case(s, "10,11,12\n1,2,3\n4,5,6\n", &options, 2, 3, six, "10|11|12|");
    options.header = 0;
    must_fail(scratch_text(s, "a.csv", "a,b\n1,2\n"), &options, ISOVAE_ERR_DATA, "line 1, column 1",
              "'a' is not a number");
    /* a gap below a name is a header too; a number above makes none */
    options = usual();
    options.missing_rows = true;
    iv_dataset *d = must_open(scratch_text(s, "a.csv", "a,b\n,\n1,2\n"), &options);
    assert_int_equal(d->rows, 2);
    assert_names(d, "a|b|");
    iv_dataset_free(d);
    must_fail(scratch_text(s, "a.csv", "a,7\n1,2\n"), NULL, ISOVAE_ERR_DATA, "line 1", "--drop 1");
    must_fail(scratch_text(s, "a.csv", "a,b\n"), NULL, ISOVAE_ERR_DATA, "no rows below", NULL);
}

static void test_locale(void **state)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "C.UTF-8"};
    for (size_t i = 0; i < 4 && setlocale(LC_ALL, names[i]) == NULL; i++) continue;
    const double values[2] = {1.5, 2.25};
    csv_case(*state, "1.5;2.25\n", NULL, 1, 2, values, NULL);
    setlocale(LC_ALL, "C");
}

static void test_bad_text(void **state)
{
    scratch *s = *state;
    must_fail(scratch_text(s, "a.csv", "\n \n\n"), NULL, ISOVAE_ERR_DATA, "no data", NULL);
    must_fail(scratch_text(s, "a.csv", "\xEF\xBB\xBF"), NULL, ISOVAE_ERR_DATA, "empty", NULL);
    must_fail(scratch_text(s, "a.csv", "x,age\n1,2\n\n3,abc\n"), NULL, ISOVAE_ERR_DATA,
              "line 4, column 'age': 'abc' is not a number", "--drop");
    must_fail(scratch_text(s, "a.csv", "1,2\n3,4\n5,6x\n"), NULL, ISOVAE_ERR_DATA,
              "line 3, column 2: '6x'", NULL);
    must_fail(scratch_text(s, "a.csv", "1,2,3\n4,5\n6,7,8\n"), NULL, ISOVAE_ERR_DATA,
              "line 2 has 2 fields where line 1 has 3", NULL);
    must_fail(scratch_text(s, "a.csv", "1,2,3\n4,5,6\n6,7,8,9\n"), NULL, ISOVAE_ERR_DATA,
              "line 3 has more than 3 fields", NULL);
    must_fail(scratch_text(s, "a.csv", "1,2,3\n4,x\n6,7,8\n"), NULL, ISOVAE_ERR_DATA,
              "line 2 has 2 fields", NULL);
    must_fail(scratch_text(s, "a.csv", "1,2\n3,\"4\n5,6\n"), NULL, ISOVAE_ERR_DATA, "line 2",
              "never closed");
    must_fail(scratch_text(s, "a.csv", "1,2\n3,\"4\"5\n"), NULL, ISOVAE_ERR_DATA, "line 2",
              "follows a closing quotation mark");
    must_fail(scratch_text(s, "a.csv", "1,5;2,5\n3,5;4,5\n"), NULL, ISOVAE_ERR_DATA, "'1,5'",
              "decimals are written with a point");
    must_fail(scratch_write(s, "a.csv",
                            "\xFF\xFE"
                            "1\0,\0",
                            6),
              NULL, ISOVAE_ERR_DATA, "UTF-16", NULL);
    must_fail(scratch_text(s, "a.csv", "country,x,city\nDE,1,Ulm\nFR,2,Nice\n"), NULL,
              ISOVAE_ERR_DATA, "line 2: 2 columns hold no numbers (country,city)",
              "--drop country,city");
    must_fail(scratch_text(s, "a.csv", "1,tcp,2\n3,udp,4\n"), NULL, ISOVAE_ERR_DATA,
              "line 1: 1 column holds no number (2)", "--id (if line 1 names the columns");
    /* a first line that promises a table no file of this size can hold */
    iv_text wide = {0};
    for (int i = 0; i < 200000; i++) iv_text_puts(&wide, "1,");
    iv_text_puts(&wide, "1\n");
    for (int i = 0; i < 200000; i++) iv_text_puts(&wide, "1\n");
    must_fail(scratch_write(s, "a.csv", wide.data, wide.length), NULL, ISOVAE_ERR_DATA,
              "line 2 has 1 field where line 1 has 200001", NULL);
    iv_text_free(&wide);
}

static void test_bad_values(void **state)
{
    scratch *s = *state;
    static const char *const words[] = {"", "NA", "nan", "NaN", "?", "null", "N/A", "\"\"", "None"};
    char text[64];
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        snprintf(text, sizeof text, "x,y\n1,2\n3,%s\n5,6\n", words[i]);
        must_fail(scratch_text(s, "a.csv", text), NULL, ISOVAE_ERR_DATA, "line 3, column 'y'",
                  "missing");
    }
    must_fail(scratch_text(s, "a.csv", "x,y\n1,2\n-inf,3\n"), NULL, ISOVAE_ERR_DATA,
              "line 3, column 'x'", "infinite");
    must_fail(scratch_text(s, "a.csv", "x,y\n1,2\n1,1e39\n"), NULL, ISOVAE_ERR_DATA,
              "line 3, column 'y'", "single precision");
    iv_data_options options = usual();
    options.missing_rows = true;
    const double kept[8] = {1, 2, 0, 0, 5, 6, 0, 0};
    iv_dataset *d = must_open(scratch_text(s, "a.csv", "x,y\n1,2\n3,NA\n5,6\ninf,7\n"), &options);
    assert_values(d, 4, 2, kept);
    assert_int_equal(d->bad_rows, 2);
    assert_int_equal(d->status[0], IV_ROW_OK);
    assert_int_equal(d->status[1], IV_ROW_MISSING);
    assert_int_equal(d->status[3], IV_ROW_NOT_FINITE);
    assert_non_null(strstr(d->note, "2 of 4 rows"));
    iv_dataset_free(d);
    must_fail(scratch_text(s, "a.csv", "x,y\n1,2\n3,abc\n"), &options, ISOVAE_ERR_DATA,
              "line 3, column 'y': 'abc'", NULL);
}

static void test_notes(void **state)
{
    scratch *s = *state;
    iv_dataset *d = must_open(scratch_text(s, "a.csv", "a,b,c\n1,2,0\n1,3,0\n1,2,0\n"), NULL);
    assert_string_equal(d->note, "2 constant columns: a, c");
    iv_dataset_free(d);
    d = must_open(scratch_text(s, "a.csv", "a,b\n1,2\n"), NULL); /* one row: nothing to say */
    assert_int_equal(d->rows, 1);
    assert_null(d->note);
    iv_dataset_free(d);
}

/* ---- columns ---- */

static const char table[] = "id,a,b,c,g,p\n"
                            "r1,1,2,3,0,0.5\n"
                            "\"r 2\",4,5,6,1,0.25\n";

static void test_columns(void **state)
{
    scratch *s = *state;
    iv_data_options options = usual();
    const double b_a[4] = {2, 1, 5, 4}, abc[6] = {1, 2, 3, 4, 5, 6}, a_c[4] = {1, 3, 4, 6};
    options.columns = "b,a";
    csv_case(s, table, &options, 2, 2, b_a, "b|a|");
    options.columns = "2-4";
    csv_case(s, table, &options, 2, 3, abc, "a|b|c|");
    options.columns = " a , 3-4";
    csv_case(s, table, &options, 2, 3, abc, "a|b|c|");
    options.drop = "b";
    csv_case(s, table, &options, 2, 2, a_c, "a|c|");
    options.columns = NULL;
    options.drop = "id,3,5-6";
    csv_case(s, table, &options, 2, 2, a_c, "a|c|");
    options = usual();
    options.columns = "\"a,1\",b";
    csv_case(s, "\"a,1\",b,c\n1,3,0\n4,6,0\n", &options, 2, 2, a_c, "a,1|b|");
    options.columns = "a,1";
    const double only[2] = {1, 4};
    csv_case(s, "\"a,1\",b,c\n1,3,0\n4,6,0\n", &options, 2, 1, only, "a,1|");
    options.columns = "1,3";
    csv_case(s, "1,2,3\n4,5,6\n", &options, 2, 2, a_c, NULL);
}

/* A name that looks like a range or a number is a name first. */
static void test_columns_named_like_numbers(void **state)
{
    iv_data_options options = usual();
    const double expected[4] = {1, 3, 4, 6};
    options.columns = "2-3,1";
    options.header = 1;
    csv_case(*state, "x,2-3,1\n9,1,3\n9,4,6\n", &options, 2, 2, expected, "2-3|1|");
}

static void bad_columns(scratch *s, const char *columns, const char *drop, const char *piece,
                        const char *other)
{
    iv_data_options options = usual();
    options.columns = columns;
    options.drop = drop;
    must_fail(scratch_text(s, "a.csv", table), &options, ISOVAE_ERR_ARGUMENT, piece, other);
}

static void test_bad_columns(void **state)
{
    scratch *s = *state;
    bad_columns(s, "a,zz", NULL, "--columns: there is no column 'zz'", "id, a, b, c");
    bad_columns(s, NULL, "zz", "--drop: there is no column 'zz'", NULL);
    bad_columns(s, "0", NULL, "'0'", "counted from 1");
    bad_columns(s, "7", NULL, "'7'", "there are 6");
    bad_columns(s, "2-9", NULL, "'2-9'", "from 1 to 6");
    bad_columns(s, "4-2", NULL, "'4-2'", NULL);
    bad_columns(s, "a,2", NULL, "'a' is named twice", NULL);
    bad_columns(s, "a,,b", NULL, "empty entry", NULL);
    bad_columns(s, "", NULL, "empty entry", NULL);
    bad_columns(s, "\"a", NULL, "not closed", NULL);
    bad_columns(s, "\"a\"b", NULL, "comma is missing", NULL);
    bad_columns(s, "a", "a", "no column is left", NULL);
    bad_columns(s, "99999999999999999999999", NULL, "no column '9999", NULL);
    iv_data_options options = usual();
    options.columns = "a";
    must_fail(scratch_text(s, "a.csv", "1,2\n"), &options, ISOVAE_ERR_ARGUMENT,
              "the columns have no names", "1 to 2");
    options.id = "1";
    options.columns = "1-2";
    must_fail(scratch_text(s, "a.csv", "1,2\n"), &options, ISOVAE_ERR_ARGUMENT, "at once", "--id");
    options = usual();
    options.id = "g";
    options.split_by = "g";
    must_fail(scratch_text(s, "a.csv", table), &options, ISOVAE_ERR_ARGUMENT, "at once",
              "--split-by");
}

static void test_special_columns(void **state)
{
    scratch *s = *state;
    iv_data_options options = usual();
    options.id = "id";
    options.split_by = "g";
    options.truth_density = "6";
    iv_dataset *d = must_open(scratch_text(s, "a.csv", table), &options);
    assert_values(d, 2, 3, six);
    assert_names(d, "a|b|c|");
    assert_string_equal(d->ids[0], "r1");
    assert_string_equal(d->ids[1], "r 2");
    assert_true(d->group[0] == 0 && d->group[1] == 1);
    assert_true(d->truth->density_only);
    assert_int_equal(d->truth->n_factors, 0);
    assert_true(d->truth->log_density[0] == log(0.5) && d->truth->log_density[1] == log(0.25));
    uint64_t hash = d->hash;
    iv_dataset_free(d);
    /* the hash is that of the features, whatever stands beside them */
    options = usual();
    options.columns = "a,b,c";
    d = must_open(s->path, &options);
    assert_true(d->hash == hash);
    assert_null(d->ids);
    assert_null(d->truth);
    assert_null(d->group);
    iv_dataset_free(d);
    options.columns = "a,c,b";
    d = must_open(s->path, &options);
    assert_true(d->hash != hash);
    iv_dataset_free(d);

    options = usual();
    options.truth_density = "p";
    must_fail(scratch_text(s, "a.csv", "a,p\n1,0.5\n2,0\n"), &options, ISOVAE_ERR_DATA, "line 3",
              "must be positive");
    must_fail(scratch_text(s, "a.csv", "a,p\n1,0.5\n2,\n"), &options, ISOVAE_ERR_DATA,
              "line 3, column 'p'", "missing");
    options.truth_density = "q";
    must_fail(s->path, &options, ISOVAE_ERR_ARGUMENT, "--truth-density: there is no column 'q'",
              NULL);
    /* ids of a binary table are its numbers */
    const double rows[4] = {17, 1, 18, 2}, values[2] = {1, 2};
    iv_text file = {0};
    put_npy(&file, 1, "<f8", "False", "(2, 2)", rows, sizeof rows);
    options = usual();
    options.id = "1";
    d = must_open(scratch_write(s, "a.npy", file.data, file.length), &options);
    assert_values(d, 2, 1, values);
    assert_string_equal(d->ids[1], "18");
    assert_string_equal(d->names[0], "c2");
    iv_dataset_free(d);
    iv_text_free(&file);
}

static void test_byte_columns(void **state)
{
    scratch *s = *state;
    iv_text file = {0};
    unsigned char pixels[12];
    for (int i = 0; i < 12; i++) pixels[i] = (unsigned char)i;
    put_npy(&file, 1, "|u1", "False", "(2, 2, 3)", pixels, sizeof pixels);
    iv_data_options options = usual();
    options.columns = "6,1";
    const double expected[4] = {5, 0, 11, 6};
    iv_dataset *d = must_open(scratch_write(s, "a.npy", file.data, file.length), &options);
    assert_values(d, 2, 2, expected);
    assert_int_equal(d->height, 0); /* no image any more */
    assert_non_null(d->bytes);
    iv_dataset_free(d);
    options = usual();
    options.split_by = "6";
    d = must_open(s->path, &options);
    assert_int_equal(d->cols, 5);
    assert_true(d->group[0] == 5 && d->group[1] == 11);
    assert_int_equal(d->bytes[5], 6);
    iv_dataset_free(d);
    iv_text_free(&file);
}

/* ---- what a model wants ---- */

static void test_want(void **state)
{
    scratch *s = *state;
    static const char *const want[] = {"c", "a", "b"};
    iv_data_options options = usual();
    options.want = want;
    options.n_want = 3;
    options.want_named = true;
    const double expected[6] = {3, 1, 2, 6, 4, 5};
    iv_dataset *d =
        must_open(scratch_text(s, "a.csv", table), &options); /* ids are text: ignored */
    assert_values(d, 2, 3, expected);
    assert_names(d, "c|a|b|");
    assert_non_null(strstr(d->note, "3 columns are not used by the model: id, g, p"));
    iv_dataset_free(d);
    must_fail(scratch_text(s, "a.csv", "a,b,d\n1,2,3\n"), &options, ISOVAE_ERR_DATA,
              "1 of the model's 3 features is not in the data: c", NULL);
    must_fail(scratch_text(s, "a.csv", "x,y,z\n1,2,3\n"), &options, ISOVAE_ERR_DATA,
              "3 of the model's 3 features are not in the data: c, a, b", NULL);
    /* without names the number must agree, and the order is a matter of trust */
    d = must_open(scratch_text(s, "a.csv", "1,2,3\n4,5,6\n"), &options);
    assert_values(d, 2, 3, six);
    assert_non_null(strstr(d->note, "no column names"));
    iv_dataset_free(d);
    must_fail(scratch_text(s, "a.csv", "1,2\n4,5\n"), &options, ISOVAE_ERR_DATA,
              "2 feature columns, the model takes 3", NULL);
    options.want_named = false;
    must_fail(scratch_text(s, "a.csv", "a,b\n4,5\n"), &options, ISOVAE_ERR_DATA,
              "2 feature columns, the model takes 3", "--columns");
    d = must_open(scratch_text(s, "a.csv", "u,v,w\n1,2,3\n4,5,6\n"), &options);
    assert_values(d, 2, 3, six);
    iv_dataset_free(d);
}

static void test_from_rows(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c"};
    double values[6] = {1, 2, 3, 4, 5, 6};
    iv_dataset *d;
    isovae_error err;
    assert_int_equal(iv_dataset_from_rows(values, 2, 3, names, &d, &err), ISOVAE_OK);
    assert_values(d, 2, 3, six);
    assert_names(d, "a|b|c|");
    assert_true(d->named);
    uint64_t hash = d->hash;
    iv_dataset_free(d);
    assert_int_equal(iv_dataset_from_rows(values, 2, 3, NULL, &d, &err), ISOVAE_OK);
    assert_names(d, "c1|c2|c3|");
    assert_false(d->named);
    assert_true(d->hash != hash);
    iv_dataset_free(d);
    values[4] = NAN;
    assert_int_equal(iv_dataset_from_rows(values, 2, 3, names, &d, &err), ISOVAE_ERR_DATA);
    assert_non_null(strstr(err.message, "row 2, column 'b'"));
    assert_null(d);
    assert_int_equal(iv_dataset_from_rows(values, 0, 3, names, &d, &err), ISOVAE_ERR_DATA);
}

static bool stop_at_once(void *user, const iv_progress_info *info)
{
    ++*(int *)user;
    assert_string_equal(info->stage, "reading");
    return false;
}

static void test_cancel(void **state)
{
    int calls = 0;
    iv_data_options options = usual();
    options.progress = (iv_progress){stop_at_once, &calls};
    must_fail(scratch_text(*state, "a.csv", table + 0), &options, ISOVAE_ERR_DATA, "--drop id",
              NULL);
    options.drop = "id";
    must_fail(scratch_text(*state, "a.csv", table), &options, ISOVAE_ERR_CANCELLED, "cancelled",
              NULL);
    must_fail("toy:norm,n=10", &(iv_data_options){.header = -1, .progress = options.progress},
              ISOVAE_ERR_CANCELLED, "cancelled", NULL);
    assert_true(calls > 0);
}

/* Every prefix of a good text opens or fails with a line; nothing leaks or is read beyond. */
static void test_prefixes(void **state)
{
    scratch *s = *state;
    for (size_t n = 0; n < sizeof table; n++) {
        iv_data_options options = usual();
        options.id = "1";
        iv_dataset *d = NULL;
        isovae_error err = {ISOVAE_OK, ""};
        const char *path = scratch_write(s, "a.csv", table, n);
        if (iv_dataset_open(path, &options, &d, &err) != ISOVAE_OK) {
            assert_true(strlen(err.message) > strlen(path) + 2);
        }
        iv_dataset_free(d);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, scratch_open, scratch_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_separators),   CASE(test_headers),
        CASE(test_locale),       CASE(test_bad_text),
        CASE(test_bad_values),   CASE(test_notes),
        CASE(test_columns),      CASE(test_columns_named_like_numbers),
        CASE(test_bad_columns),  CASE(test_special_columns),
        CASE(test_byte_columns), CASE(test_want),
        CASE(test_from_rows),    CASE(test_cancel),
        CASE(test_prefixes),
    };
    return cmocka_run_group_tests_name("data_csv", tests, NULL, NULL);
}
