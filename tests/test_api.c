/* The public calls around a fit: arrays of any layout, configurations old and new, notes, models in
 * memory, samples, isometric coordinates and their inverse, one report in its forms. */
#include "support_fit.h"

#include "train/train.h"

#include <isovae/isovae.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROWS = 300, COLS = 4 };
static double table[ROWS * COLS];
static isovae_context *context;
static isovae_data *data;
static isovae_model *model;

static double wave(size_t i)
{
    return sin((double)i * 12.9898) * 43758.5453 - floor(sin((double)i * 12.9898) * 43758.5453);
}

/* Two directions and some noise. */
static void fill_table(void)
{
    for (size_t r = 0; r < ROWS; r++) {
        double a = 6 * wave(7 * r) - 3, b = 2 * wave(7 * r + 1) - 1;
        for (size_t i = 0; i < COLS; i++)
            table[r * COLS + i] = a * (double)(i + 1) + b * (i % 2 ? 1 : -1) +
                                  0.1 * wave(7 * r + 2 + i) + 5 * (double)i;
    }
}

static isovae_fit_config short_config(void)
{
    isovae_fit_config config;
    isovae_fit_config_init(&config);
    config.latent_dim = 2;
    config.arch = "mlp:16";
    config.steps = 300;
    config.scale = "none";
    config.seed = 3;
    return config;
}

static int open_all(void **state)
{
    (void)state;
    isovae_error err;
    isovae_fit_config config = short_config();
    fill_table();
    ok(isovae_context_new(NULL, &context, &err), &err);
    ok(isovae_data_from_rows(table, ROWS, COLS, NULL, &data, &err), &err);
    ok(isovae_fit(context, data, &config, &model, &err), &err);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    isovae_model_free(model);
    isovae_data_free(data);
    isovae_context_free(context);
    return 0;
}

/* The bytes of a model, to compare models by; the caller's to free. */
static void *bytes_of(const isovae_model *m, size_t *length)
{
    isovae_error err;
    void *bytes;
    ok(isovae_model_save_memory(m, &bytes, length, &err), &err);
    return bytes;
}

static void assert_same_model(const isovae_model *a, const isovae_model *b)
{
    size_t n, m;
    void *x = bytes_of(a, &n), *y = bytes_of(b, &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    isovae_bytes_free(x);
    isovae_bytes_free(y);
}

static void arrays_of_any_layout(void **state)
{
    (void)state;
    isovae_error err;
    static double columns[COLS * ROWS];
    static unsigned char odd[1 + sizeof(float) * ROWS * COLS];
    double expected[ROWS], got[ROWS];
    ok(isovae_score(context, model, data, expected, &err), &err);
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < COLS; i++) {
            float value = (float)table[r * COLS + i];
            columns[i * ROWS + (ROWS - 1 - r)] = table[r * COLS + i];
            memcpy(odd + 1 + (r * COLS + i) * sizeof value, &value, sizeof value);
        }
    const ptrdiff_t step = sizeof(double);
    isovae_data *other;
    /* column by column, from the last row up */
    ok(isovae_data_from_array(columns + ROWS - 1, ISOVAE_F64, ROWS, COLS, -step, ROWS * step, NULL,
                              &other, &err),
       &err);
    ok(isovae_score(context, model, other, got, &err), &err);
    assert_memory_equal(expected, got, sizeof got);
    isovae_data_free(other);
    ok(isovae_data_from_array(odd + 1, ISOVAE_F32, ROWS, COLS, 0, 0, NULL, &other, &err), &err);
    assert_int_equal(isovae_data_rows(other), ROWS);
    assert_int_equal(isovae_data_cols(other), COLS);
    ok(isovae_score(context, model, other, got, &err), &err);
    assert_memory_equal(expected, got, sizeof got);
    isovae_data_free(other);
}

static void arrays_with_names_and_pictures(void **state)
{
    (void)state;
    isovae_error err;
    isovae_data *other = data;
    isovae_rows_config config;
    isovae_rows_config_init(&config);
    static const char *const names[] = {"a", "b", "c", "d"};
    config.names = names;
    double bad[COLS] = {1, 2, 3, (double)NAN};
    assert_int_equal(isovae_data_from_array(bad, ISOVAE_F64, 1, COLS, 0, 0, &config, &other, &err),
                     ISOVAE_ERR_DATA);
    assert_null(other);
    assert_non_null(strstr(err.message, "row 1, column 'd'"));
    bad[3] = 1e300;
    assert_int_equal(isovae_data_from_array(bad, ISOVAE_F64, 1, COLS, 0, 0, &config, &other, &err),
                     ISOVAE_ERR_DATA);
    assert_non_null(strstr(err.message, "single precision"));

    config.height = 2;
    config.width = 2;
    config.channels = 1;
    ok(isovae_data_from_array(table, ISOVAE_F64, ROWS, COLS, 0, 0, &config, &other, &err), &err);
    isovae_data_free(other);
    config.channels = 3;
    assert_int_equal(
        isovae_data_from_array(table, ISOVAE_F64, ROWS, COLS, 0, 0, &config, &other, &err),
        ISOVAE_ERR_DATA);
    assert_non_null(strstr(err.message, "2 x 2 x 3"));
    config.width = SIZE_MAX; /* a product that wraps around */
    assert_int_equal(
        isovae_data_from_array(table, ISOVAE_F64, ROWS, COLS, 0, 0, &config, &other, &err),
        ISOVAE_ERR_DATA);
    config.struct_size--;
    assert_int_equal(
        isovae_data_from_array(table, ISOVAE_F64, ROWS, COLS, 0, 0, &config, &other, &err),
        ISOVAE_ERR_VERSION);
    assert_int_equal(
        isovae_data_from_array(table, (isovae_dtype)7, ROWS, COLS, 0, 0, NULL, &other, &err),
        ISOVAE_ERR_ARGUMENT);
    assert_int_equal(isovae_data_from_array(table, ISOVAE_F64, 0, COLS, 0, 0, NULL, &other, &err),
                     ISOVAE_ERR_DATA);
}

/* Bytes stay bytes: pictures of them are scaled by 255, as those of a file. */
static void arrays_of_bytes(void **state)
{
    (void)state;
    isovae_error err;
    static unsigned char pixels[ROWS * COLS], turned[COLS * ROWS];
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < COLS; i++) {
            pixels[r * COLS + i] = (unsigned char)(255 * wave(11 * r + i / 2));
            turned[i * ROWS + r] = pixels[r * COLS + i];
        }
    isovae_rows_config rows;
    isovae_rows_config_init(&rows);
    rows.height = rows.width = 2;
    rows.channels = 1;
    isovae_data *plain, *other;
    isovae_model *a, *b;
    isovae_fit_config config = short_config();
    config.scale = NULL;
    ok(isovae_data_from_array(pixels, ISOVAE_U8, ROWS, COLS, 0, 0, &rows, &plain, &err), &err);
    ok(isovae_data_from_array(turned, ISOVAE_U8, ROWS, COLS, 1, ROWS, &rows, &other, &err), &err);
    ok(isovae_fit(context, plain, &config, &a, &err), &err);
    ok(isovae_fit(context, other, &config, &b, &err), &err);
    assert_same_model(a, b);
    double mu[COLS], back[COLS], largest = 0;
    memset(mu, 0, sizeof mu);
    ok(isovae_decode(context, a, mu, 1, back, &err), &err);
    for (size_t i = 0; i < COLS; i++) largest = fmax(largest, back[i]);
    assert_true(largest > 2 && largest < 255); /* in the data's units */
    isovae_model_free(a);
    isovae_model_free(b);
    isovae_data_free(plain);
    isovae_data_free(other);
    isovae_scorer *scorer;
    ok(isovae_scorer_new(model, NULL, &scorer, &err), &err);
    assert_int_equal(isovae_scorer_score(scorer, pixels, ISOVAE_U8, 1, 0, 0, mu, NULL, &err),
                     ISOVAE_ERR_ARGUMENT);
    isovae_scorer_free(scorer);
}

/* A column of words is that of a file: the same features, and it stands in the model. */
static void columns_of_words(void **state)
{
    (void)state;
    isovae_error err;
    static const char *const values[] = {"blue", "red"};
    static const char *const names[] = {"x", "unread", "unread", "y"};
    isovae_category word = {.first = 1, .n = 2, .column = "colour", .values = values};
    static double rows[ROWS * COLS];
    for (size_t r = 0; r < ROWS; r++) {
        memcpy(rows + r * COLS, table + r * COLS, COLS * sizeof *rows);
        rows[r * COLS + 1] = r % 3 == 0;
        rows[r * COLS + 2] = r % 3 == 1; /* the others have a value that is not known */
    }
    isovae_rows_config config;
    isovae_rows_config_init(&config);
    config.names = names;
    config.categories = &word;
    config.n_categories = 1;
    isovae_data *words;
    isovae_model *other;
    isovae_fit_config fit = short_config();
    ok(isovae_data_from_array(rows, ISOVAE_F64, ROWS, COLS, 0, 0, &config, &words, &err), &err);
    ok(isovae_fit(context, words, &fit, &other, &err), &err);
    assert_string_equal(isovae_model_feature_name(other, 0), "x");
    assert_string_equal(isovae_model_feature_name(other, 1), "colour=blue");
    assert_string_equal(isovae_model_feature_name(other, 2), "colour=red");
    size_t length;
    char *bytes = bytes_of(other, &length);
    assert_non_null(memmem(bytes, length, "categories", strlen("categories")));
    isovae_bytes_free(bytes);
    isovae_model_free(other);
    isovae_data_free(words);

    config.names = NULL; /* made-up names count columns */
    ok(isovae_data_from_array(rows, ISOVAE_F64, ROWS, COLS, 0, 0, &config, &words, &err), &err);
    isovae_data_free(words);
    config.struct_size = offsetof(isovae_rows_config, categories); /* the first header's */
    ok(isovae_data_from_array(rows, ISOVAE_F64, ROWS, COLS, 0, 0, &config, &words, &err), &err);
    isovae_data_free(words);
    config.struct_size = sizeof config;

    rows[COLS + 1] = 1; /* both */
    assert_int_equal(
        isovae_data_from_array(rows, ISOVAE_F64, ROWS, COLS, 0, 0, &config, &words, &err),
        ISOVAE_ERR_DATA);
    assert_non_null(strstr(err.message, "row 2: the 2 features of column 'colour'"));
    rows[COLS + 1] = 0.5;
    rows[COLS + 2] = 0;
    assert_int_equal(
        isovae_data_from_array(rows, ISOVAE_F64, ROWS, COLS, 0, 0, &config, &words, &err),
        ISOVAE_ERR_DATA);
    rows[COLS + 1] = 0;
    static const char *const repeated[] = {"red", "red"}, *const absent[] = {"red", NULL};
    for (int i = 0; i < 5; i++) {
        isovae_category wrong = word;
        if (i == 0) wrong.first = 3;
        if (i == 1) wrong.n = 0;
        if (i == 2) wrong.values = repeated;
        if (i == 3) wrong.values = absent;
        if (i == 4) wrong.column = NULL;
        config.categories = &wrong;
        assert_int_equal(
            isovae_data_from_array(rows, ISOVAE_F64, ROWS, COLS, 0, 0, &config, &words, &err),
            ISOVAE_ERR_ARGUMENT);
        assert_null(words);
    }
    static unsigned char bytes4[COLS] = {0, 1, 0, 0};
    config.categories = &word;
    assert_int_equal(
        isovae_data_from_array(bytes4, ISOVAE_U8, 1, COLS, 0, 0, &config, &words, &err),
        ISOVAE_ERR_ARGUMENT);
}

/* A program of the first header gives a struct that ends with the seed. */
static void configurations_old_and_new(void **state)
{
    (void)state;
    isovae_error err;
    isovae_fit_config config = short_config();
    isovae_model *other;
    config.struct_size = offsetof(isovae_fit_config, preset);
    config.preset = "not read";
    ok(isovae_fit(context, data, &config, &other, &err), &err);
    assert_same_model(model, other);
    isovae_model_free(other);
    config.struct_size--;
    assert_int_equal(isovae_fit(context, data, &config, &other, &err), ISOVAE_ERR_VERSION);
    config.struct_size = sizeof config + 1;
    assert_int_equal(isovae_fit(context, data, &config, &other, &err), ISOVAE_ERR_VERSION);

    struct {
        isovae_fit_config config;
        char guard[8];
    } guarded;
    memset(&guarded, 0x5a, sizeof guarded);
    isovae_fit_config_init_(&guarded.config, offsetof(isovae_fit_config, preset));
    assert_int_equal(*(unsigned char *)&guarded.config.preset, 0x5a); /* not written beyond */
    assert_true(isnan(guarded.config.beta));
    isovae_fit_config_init(&guarded.config);
    assert_null(guarded.config.preset);
    assert_true(isnan(guarded.config.denoise));
    assert_int_equal(guarded.guard[0], 0x5a);
}

/* Each field reaches the training: its model differs, or is refused where it must be. */
static void fields_reach_the_training(void **state)
{
    (void)state;
    isovae_error err;
    static const char *const what[] = {"beta_floor", "beta_start", "kl_warmup",   "denoise",
                                       "decay",      "warmup",     "lr_schedule", "init",
                                       "ensemble",   "noise",      "floor",       "noise_start"};
    for (size_t i = 0; i < sizeof what / sizeof what[0]; i++) {
        isovae_fit_config config = short_config();
        isovae_model *other;
        if (i == 0) config.beta_floor = 0.3;
        if (i == 1) config.beta_start = 9;
        if (i == 2) config.kl_warmup = 0.5;
        if (i == 3) config.denoise = 0.5;
        if (i == 4) config.weight_decay = 0.5;
        if (i == 5) config.lr_warmup = 100;
        if (i == 6) config.lr_schedule = "linear";
        if (i == 7) config.init = "multimodal";
        if (i == 8) config.ensemble = 2;
        if (i >= 9) config.noise = "feature";
        if (i == 10) config.noise_floor = 0.5;
        if (i == 11) config.noise_start = 1;
        ok(isovae_fit(context, data, &config, &other, &err), &err);
        size_t n, m;
        void *a = bytes_of(model, &n), *b = bytes_of(other, &m);
        if (n == m && memcmp(a, b, n) == 0) fail_msg("%s changes nothing", what[i]);
        assert_int_equal(isovae_model_members(other), i == 8 ? 2 : 1);
        isovae_bytes_free(a);
        isovae_bytes_free(b);
        isovae_model_free(other);
    }
}

static void wrong_fields(void **state)
{
    (void)state;
    isovae_error err;
    static const struct {
        const char *says;
    } cases[] = {{"lr_schedule: 'x' is none of cosine, step, constant, linear"},
                 {"init: 'x' is none of default, multimodal"},
                 {"noise: 'x' is none of common, feature"},
                 {"objective: 'x' is none of conventional, decomposed"},
                 {"'x' is not known"},
                 {"steps or epochs"},
                 {"quick"},
                 {"max_seconds"},
                 {"--denoise"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        isovae_fit_config config = short_config();
        isovae_model *other = model;
        if (i == 0) config.lr_schedule = "x";
        if (i == 1) config.init = "x";
        if (i == 2) config.noise = "x";
        if (i == 3) config.objective = "x";
        if (i == 4) config.preset = "x";
        if (i == 5) config.epochs = 2;
        if (i == 6) config.quick = 1;
        if (i == 7) config.max_seconds = -1;
        if (i == 8) config.denoise = -1;
        assert_int_equal(isovae_fit(context, data, &config, &other, &err), ISOVAE_ERR_ARGUMENT);
        assert_null(other);
        if (strstr(err.message, cases[i].says) == NULL)
            fail_msg("'%s' lacks '%s'", err.message, cases[i].says);
    }
}

typedef struct heard {
    size_t notes;
    char last[300];
} heard;

static void hear(void *user, const char *text)
{
    heard *h = user;
    h->notes++;
    snprintf(h->last, sizeof h->last, "%s", text);
}

static void preset_and_notes(void **state)
{
    (void)state;
    isovae_error err;
    heard h = {0};
    isovae_model *other;
    isovae_fit_config config;
    isovae_fit_config_init(&config);
    config.preset = "anomaly";
    config.steps = 60;
    config.batch_size = ROWS + 1; /* which a note tells */
    config.note = hear;
    config.note_user = &h;
    ok(isovae_fit(context, data, &config, &other, &err), &err);
    assert_int_equal(isovae_model_members(other), 3);
    assert_int_equal(isovae_model_latents(other), COLS - 1);
    assert_true(h.notes > 0);
    isovae_model_free(other);
    config.ensemble = 1; /* what is given besides counts */
    config.latent_dim = 2;
    ok(isovae_fit(context, data, &config, &other, &err), &err);
    assert_int_equal(isovae_model_members(other), 1);
    assert_int_equal(isovae_model_latents(other), 2);
    isovae_model_free(other);
}

static void models_in_memory(void **state)
{
    (void)state;
    isovae_error err;
    size_t length;
    char *bytes = bytes_of(model, &length);
    isovae_model *other;
    ok(isovae_model_load_memory(bytes, length, &other, &err), &err);
    assert_same_model(model, other);
    isovae_model_free(other);
    bytes[length / 2] = (char)(bytes[length / 2] ^ 1);
    assert_int_equal(isovae_model_load_memory(bytes, length, &other, &err), ISOVAE_ERR_FORMAT);
    isovae_bytes_free(bytes);
    isovae_bytes_free(NULL);
}

static void isometric_and_back(void **state)
{
    (void)state;
    isovae_error err;
    size_t n = isovae_model_latents(model);
    double *mu = malloc(ROWS * n * sizeof *mu), *y = malloc(ROWS * n * sizeof *y);
    assert_true(mu != NULL && y != NULL);
    ok(isovae_encode(context, model, data, 0, mu, &err), &err);
    ok(isovae_encode(context, model, data, 1, y, &err), &err);
    double apart = 0;
    for (size_t i = 0; i < ROWS * n; i++) apart = fmax(apart, fabs(mu[i] - y[i]));
    assert_true(apart > 0.1); /* they are not the same coordinates */
    ok(isovae_from_isometric(model, y, ROWS, y, &err), &err);
    for (size_t i = 0; i < ROWS * n; i++)
        assert_true(fabs(mu[i] - y[i]) < 1e-9 * (1 + fabs(mu[i])));
    free(mu);
    free(y);
}

static void samples(void **state)
{
    (void)state;
    isovae_error err;
    static double x[ROWS * COLS], again[ROWS * COLS], noisy[ROWS * COLS];
    ok(isovae_sample(context, model, 5, ROWS, 0, x, &err), &err);
    ok(isovae_sample(context, model, 5, 10, 0, again, &err), &err);
    assert_memory_equal(x, again, 10 * COLS * sizeof *x); /* a row does not depend on the others */
    ok(isovae_sample(context, model, 6, ROWS, 0, again, &err), &err);
    assert_memory_not_equal(x, again, sizeof x);
    ok(isovae_sample(context, model, 5, ROWS, 1, noisy, &err), &err);
    double squares = 0, half_beta = isovae_model_beta(model) / 2;
    for (size_t i = 0; i < ROWS * COLS; i++) squares += pow(noisy[i] - x[i], 2);
    squares /= ROWS * COLS;
    assert_true(fabs(squares / half_beta - 1) < 5 * sqrt(2.0 / (ROWS * COLS)));

    isovae_fit_config config = short_config();
    config.loss = "weighted:1,0.1";
    config.scale = NULL;
    config.beta = 0.1;
    isovae_model *other;
    ok(isovae_fit(context, data, &config, &other, &err), &err);
    ok(isovae_sample(context, other, 5, 3, 0, x, &err), &err);
    assert_int_equal(isovae_sample(context, other, 5, 3, 1, x, &err), ISOVAE_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "weighted"));
    isovae_model_free(other);
}

/* Rows held out by the caller, weights to start from, a checkpoint to go on from. */
static int stop_late(void *user, const char *stage, double done, double total)
{
    (void)user;
    return strcmp(stage, "training") != 0 || done < total / 2;
}

static void other_starts(void **state)
{
    (void)state;
    isovae_error err;
    static char folder[] = "/tmp/isovae-api-XXXXXX";
    char path[64];
    isovae_data *held_out, *narrow;
    isovae_model *other, *again;
    assert_non_null(mkdtemp(folder));
    isovae_fit_config config = short_config();
    ok(isovae_data_from_rows(table, 50, COLS, NULL, &held_out, &err), &err);
    ok(isovae_data_from_rows(table, 50, COLS - 1, NULL, &narrow, &err), &err);
    config.validation_data = held_out;
    ok(isovae_fit(context, data, &config, &other, &err), &err);
    size_t n;
    char *bytes = bytes_of(other, &n); /* all rows of the data train, and others validate */
    assert_non_null(memmem(bytes, n, "validation_fraction\\\":0.0,", 26));
    assert_null(memmem(bytes, n, "validation_loss\\\":null", 23));
    isovae_bytes_free(bytes);
    isovae_model_free(other);
    config.validation = 0.2;
    assert_int_equal(isovae_fit(context, data, &config, &other, &err), ISOVAE_ERR_ARGUMENT);
    config.validation = (double)NAN;
    config.validation_data = narrow;
    assert_int_equal(isovae_fit(context, data, &config, &other, &err), ISOVAE_ERR_DATA);
    assert_non_null(strstr(err.message, "3 columns"));
    config.validation_data = NULL;

    snprintf(path, sizeof path, "%s/model", folder);
    ok(isovae_model_save(model, path, &err), &err);
    config.steps = 1;
    config.beta = isovae_model_beta(model);
    for (int i = 0; i < 2; i++) { /* a network that has not learned knows less than half */
        config.init_from = i == 1 ? path : NULL;
        ok(isovae_fit(context, data, &config, &other, &err), &err);
        double share = isovae_model_variance(other, 0) / isovae_model_variance(model, 0);
        assert_true(i == 1 ? fabs(share - 1) < 0.5 : share < 0.5);
        isovae_model_free(other);
    }
    assert_int_equal(remove(path), 0);

    config = short_config();
    config.checkpoint = path;
    isovae_context_config stopping;
    isovae_context *stopped;
    isovae_context_config_init(&stopping);
    stopping.progress = stop_late;
    ok(isovae_context_new(&stopping, &stopped, &err), &err);
    assert_int_equal(isovae_fit(stopped, data, &config, &other, &err), ISOVAE_ERR_CANCELLED);
    assert_int_equal(access(path, R_OK), 0);
    ok(isovae_fit(context, data, &config, &again, &err), &err);
    assert_same_model(model, again);
    assert_int_not_equal(access(path, R_OK), 0); /* it has served */
    isovae_model_free(again);
    isovae_context_free(stopped);
    isovae_data_free(held_out);
    isovae_data_free(narrow);
    assert_int_equal(rmdir(folder), 0);
}

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *json = json_loads(text, 0, &error);
    if (json == NULL) fail_msg("%s", error.text);
    return json;
}

static void reports(void **state)
{
    (void)state;
    isovae_error err;
    isovae_report *report;
    isovae_report_config config;
    char *text, *once;
    ok(isovae_report_new(context, model, data, NULL, &report, &err), &err);
    ok(isovae_report_write(report, ISOVAE_REPORT_TEXT, &text, &err), &err);
    assert_non_null(strstr(text, "30 validation rows"));
    isovae_string_free(text);
    ok(isovae_report_write(report, ISOVAE_REPORT_HTML, &text, &err), &err);
    assert_non_null(strstr(text, "<html"));
    isovae_string_free(text);
    ok(isovae_report_write(report, ISOVAE_REPORT_JSON, &text, &err), &err);
    ok(isovae_report_json(context, model, data, &once, &err), &err);
    assert_string_equal(text, once);
    isovae_string_free(once);
    assert_int_equal(isovae_report_write(report, (isovae_report_form)9, &once, &err),
                     ISOVAE_ERR_ARGUMENT);

    /* The largest loading that the JSON has is one of the table's, in the model's order. */
    double mean[2 * COLS], rms[2 * COLS];
    isovae_report_loadings(report, mean, rms);
    isovae_report_loadings(report, NULL, NULL);
    json_t *json = parse(text), *latent = json_array_get(json_object_get(json, "latents"), 0);
    json_t *top = json_array_get(json_object_get(latent, "loadings"), 0);
    size_t j = (size_t)json_integer_value(json_object_get(latent, "index"));
    double value = json_number_value(json_object_get(top, "mean"));
    bool found = false;
    for (size_t i = 0; i < COLS; i++) {
        found = found || fabs(mean[j * COLS + i] - value) < 1e-9 * fabs(value);
        assert_true(rms[j * COLS + i] >= fabs(mean[j * COLS + i]) * (1 - 1e-9));
    }
    assert_true(found);
    json_decref(json);
    isovae_string_free(text);
    isovae_report_free(report);
    isovae_report_free(NULL);

    isovae_report_config_init(&config);
    config.rows = "train";
    config.no_iwae = 1;
    config.command = "a test";
    ok(isovae_report_new(context, model, data, &config, &report, &err), &err);
    ok(isovae_report_write(report, ISOVAE_REPORT_JSON, &text, &err), &err);
    json = parse(text);
    assert_int_equal(json_integer_value(json_object_get(json, "n_samples")), 270);
    assert_true(json_is_null(json_object_get(json_object_get(json, "density"), "iwae")));
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(json, "provenance"), "command")),
        "a test");
    json_decref(json);
    isovae_string_free(text);
    isovae_report_free(report);

    config.member = 1;
    report = (isovae_report *)1;
    assert_int_equal(isovae_report_new(context, model, data, &config, &report, &err),
                     ISOVAE_ERR_ARGUMENT);
    assert_null(report);
    config.member = 0;
    config.rows = "some";
    assert_int_equal(isovae_report_new(context, model, data, &config, &report, &err),
                     ISOVAE_ERR_ARGUMENT);
    config.struct_size++;
    assert_int_equal(isovae_report_new(context, model, data, &config, &report, &err),
                     ISOVAE_ERR_VERSION);
}

static json_t *labels_of(const isovae_report_config *config)
{
    isovae_error err;
    isovae_report *report;
    char *text;
    ok(isovae_report_new(context, model, data, config, &report, &err), &err);
    ok(isovae_report_write(report, ISOVAE_REPORT_JSON, &text, &err), &err);
    isovae_report_free(report);
    json_t *json = parse(text), *labels = json_object_get(json, "labels");
    assert_non_null(labels);
    json_incref(labels);
    json_decref(json);
    isovae_string_free(text);
    return labels;
}

static double best_of(const json_t *labels, const char *key)
{
    double best = 0;
    size_t i;
    json_t *latent;
    json_array_foreach(json_object_get(labels, "latents"), i, latent) best =
        fmax(best, json_number_value(json_object_get(latent, key)));
    return best;
}

static void labels(void **state)
{
    (void)state;
    isovae_error err;
    isovae_report *report;
    static double numbers[ROWS], codes[ROWS];
    static const char *const classes[] = {"left", "right"};
    for (size_t r = 0; r < ROWS; r++) {
        double a = 6 * wave(7 * r) - 3;
        numbers[r] = r % 10 == 0 ? (double)NAN : a;
        codes[r] = r % 10 == 0 ? -1 : a > 0;
    }
    isovae_report_config config;
    isovae_report_config_init(&config);
    config.rows = "all";
    config.no_iwae = 1;
    config.labels = numbers;
    json_t *told = labels_of(&config);
    assert_string_equal(json_string_value(json_object_get(told, "source")), "labels");
    assert_string_equal(json_string_value(json_object_get(told, "kind")), "numbers");
    assert_int_equal(json_integer_value(json_object_get(told, "rows")), ROWS - ROWS / 10);
    assert_true(best_of(told, "r2") > 0.9);
    json_decref(told);
    config.labels = codes;
    config.label_classes = classes;
    config.n_label_classes = 2;
    config.label_name = "side";
    told = labels_of(&config);
    assert_string_equal(json_string_value(json_object_get(told, "source")), "side");
    assert_string_equal(json_string_value(json_object_get(told, "kind")), "classes");
    assert_true(best_of(told, "auroc") > 0.95);
    json_decref(told);
    codes[3] = 2;
    assert_int_equal(isovae_report_new(context, model, data, &config, &report, &err),
                     ISOVAE_ERR_DATA);
    assert_non_null(strstr(err.message, "side: "));
    config.struct_size = offsetof(isovae_report_config, labels); /* the first header's */
    ok(isovae_report_new(context, model, data, &config, &report, &err), &err);
    isovae_report_free(report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_of_any_layout),
        cmocka_unit_test(arrays_with_names_and_pictures),
        cmocka_unit_test(arrays_of_bytes),
        cmocka_unit_test(columns_of_words),
        cmocka_unit_test(configurations_old_and_new),
        cmocka_unit_test(fields_reach_the_training),
        cmocka_unit_test(wrong_fields),
        cmocka_unit_test(preset_and_notes),
        cmocka_unit_test(models_in_memory),
        cmocka_unit_test(other_starts),
        cmocka_unit_test(isometric_and_back),
        cmocka_unit_test(samples),
        cmocka_unit_test(reports),
        cmocka_unit_test(labels),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
