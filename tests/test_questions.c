/* The public calls that ask a question of many trainings, of two data sets or of a model: their
 * answers in each form, what they refuse, and that they leave nothing behind. */
#include "support_fit.h"

#include <isovae/isovae.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static isovae_context *context;
static isovae_data *data;
static isovae_model *model;
static char folder[] = "/tmp/isovae-questions-XXXXXX";

static isovae_fit_config short_config(void)
{
    isovae_fit_config config;
    isovae_fit_config_init(&config);
    config.latent_dim = 5;
    config.arch = "mlp:16";
    config.steps = short_run() ? 60 : 400;
    config.seed = 3;
    return config;
}

static int open_all(void **state)
{
    (void)state;
    isovae_error err;
    isovae_fit_config config = short_config();
    config.steps = 1500;
    if (mkdtemp(folder) == NULL) return 1;
    ok(isovae_context_new(NULL, &context, &err), &err);
    ok(isovae_data_open(context, "toy:norm,n=1200", NULL, NULL, &data, &err), &err);
    ok(isovae_fit(context, data, &config, &model, &err), &err);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    isovae_model_free(model);
    isovae_data_free(data);
    isovae_context_free(context);
    return rmdir(folder); /* everything in it must be gone */
}

static const char *in_folder(const char *name)
{
    static char path[80];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* The JSON of an answer, after a look at its other forms. */
static json_t *forms_of(isovae_answer *answer, const char *format, bool page)
{
    isovae_error err;
    char *text;
    json_error_t wrong;
    ok(isovae_answer_write(answer, ISOVAE_REPORT_TEXT, &text, &err), &err);
    assert_true(strlen(text) > 50 && strchr(text, '\n') != NULL);
    isovae_string_free(text);
    if (page) {
        ok(isovae_answer_write(answer, ISOVAE_REPORT_HTML, &text, &err), &err);
        assert_non_null(strstr(text, "<html"));
        isovae_string_free(text);
    } else {
        assert_int_equal(isovae_answer_write(answer, ISOVAE_REPORT_HTML, &text, &err),
                         ISOVAE_ERR_UNSUPPORTED);
        assert_null(text);
    }
    assert_int_equal(isovae_answer_write(answer, (isovae_report_form)7, &text, &err),
                     ISOVAE_ERR_ARGUMENT);
    ok(isovae_answer_write(answer, ISOVAE_REPORT_JSON, &text, &err), &err);
    json_t *json = json_loads(text, 0, &wrong);
    isovae_string_free(text);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "format")), format);
    isovae_answer_free(answer);
    return json;
}

static int stop_at_once(void *user, const char *stage, double done, double total)
{
    (void)stage;
    (void)done;
    (void)total;
    return (*(int *)user)-- > 0;
}

/* A context whose calls end at the callback after `calls`, which counts down. */
static isovae_context *stopping(int *calls)
{
    isovae_error err;
    isovae_context_config config;
    isovae_context *out;
    isovae_context_config_init(&config);
    config.progress = stop_at_once;
    config.user = calls;
    ok(isovae_context_new(&config, &out, &err), &err);
    return out;
}

static void sweeps(void **state)
{
    (void)state;
    isovae_error err;
    isovae_fit_config fit = short_config();
    isovae_sweep_config config;
    isovae_answer *answer;
    isovae_model *cold;
    isovae_sweep_config_init(&config);
    assert_true(isnan(config.beta_from) && isnan(config.beta_to));
    config.points = 4;
    config.steps = 30;
    config.target = "active=2";
    ok(isovae_sweep(context, data, &fit, &config, &answer, &cold, &err), &err);
    json_t *json = forms_of(answer, "isovae-sweep/1", true);
    assert_true(json_array_size(json_object_get(json, "curve")) >= 4);
    assert_int_equal(json_integer_value(json_object_get(json, "steps")), 30);
    const json_t *found = json_object_get(json_object_get(json, "answer"), "found");
    assert_int_equal(cold != NULL, json_is_true(found));
    isovae_model_free(cold);
    json_decref(json);

    config.no_retrain = 1;
    config.state = in_folder("state");
    int calls = 6;
    isovae_context *stopped = stopping(&calls);
    assert_int_equal(isovae_sweep(stopped, data, &fit, &config, &answer, &cold, &err),
                     ISOVAE_ERR_CANCELLED);
    assert_null(answer);
    isovae_context_free(stopped);
    ok(isovae_sweep(context, data, &fit, &config, &answer, NULL, &err), &err);
    assert_int_not_equal(access(config.state, F_OK), 0);
    json_decref(forms_of(answer, "isovae-sweep/1", true));

    config.state = NULL;
    const struct {
        const char *target;
        double from, to;
        int quick;
        const char *says;
    } wrong[] = {{"x=1", NAN, NAN, 0, "target"},
                 {NULL, 1, NAN, 0, "beta_from"},
                 {NULL, 1, 2, 0, "beta_from"},
                 {NULL, INFINITY, 1, 0, "beta_from"},
                 {NULL, NAN, NAN, 1, "quick"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        config.target = wrong[i].target;
        config.beta_from = wrong[i].from;
        config.beta_to = wrong[i].to;
        fit.steps = 0;
        fit.quick = wrong[i].quick;
        answer = (isovae_answer *)1;
        assert_int_equal(isovae_sweep(context, data, &fit, &config, &answer, &cold, &err),
                         ISOVAE_ERR_ARGUMENT);
        assert_null(answer);
        if (!strstr(err.message, wrong[i].says)) fail_msg("%s", err.message);
    }
    config.struct_size--;
    assert_int_equal(isovae_sweep(context, data, NULL, &config, &answer, &cold, &err),
                     ISOVAE_ERR_VERSION);
}

static void stabilities(void **state)
{
    (void)state;
    isovae_error err;
    isovae_fit_config fit = short_config();
    isovae_stability_config config;
    isovae_answer *answer;
    isovae_model *central;
    isovae_stability_config_init(&config);
    config.runs = 2;
    config.same_split = 1;
    fit.validation = 0.45;       /* 540 rows: enough to compare on */
    setenv("TMPDIR", folder, 1); /* which must be empty at the end */
    ok(isovae_stability(context, data, &fit, &config, &answer, &central, &err), &err);
    assert_int_equal(isovae_model_latents(central), 5);
    isovae_model_free(central);
    json_t *json = forms_of(answer, "isovae-stability/1", true);
    assert_int_equal(json_integer_value(json_object_get(json, "n_runs")), 2);
    assert_true(json_is_true(json_object_get(json, "held_out"))); /* the same rows */
    json_decref(json);
    int calls = 3;
    isovae_context *stopped = stopping(&calls);
    assert_int_equal(isovae_stability(stopped, data, &fit, &config, &answer, &central, &err),
                     ISOVAE_ERR_CANCELLED);
    assert_true(answer == NULL && central == NULL);
    isovae_context_free(stopped);

    config.folder = folder; /* kept there, and used again */
    ok(isovae_stability(context, data, &fit, &config, &answer, NULL, &err), &err);
    isovae_answer_free(answer);
    calls = 5; /* too few to train anything */
    stopped = stopping(&calls);
    ok(isovae_stability(stopped, data, &fit, &config, &answer, NULL, &err), &err);
    isovae_answer_free(answer);
    isovae_context_free(stopped);
    fit.arch = "mlp:8";
    assert_int_equal(isovae_stability(context, data, &fit, &config, &answer, NULL, &err),
                     ISOVAE_ERR_ARGUMENT);
    assert_int_equal(remove(in_folder("run-3.safetensors")), 0);
    assert_int_equal(remove(in_folder("run-4.safetensors")), 0);
    assert_int_equal(remove(in_folder("options.hash")), 0);

    config.match = 2;
    assert_int_equal(isovae_stability(context, data, &fit, &config, &answer, NULL, &err),
                     ISOVAE_ERR_ARGUMENT);
    config.match = (double)NAN;
    config.runs = 1;
    assert_int_equal(isovae_stability(context, data, &fit, &config, &answer, NULL, &err),
                     ISOVAE_ERR_ARGUMENT);
    config.struct_size = 0;
    assert_int_equal(isovae_stability(context, data, &fit, &config, &answer, NULL, &err),
                     ISOVAE_ERR_VERSION);
    unsetenv("TMPDIR");
}

static void drifts(void **state)
{
    (void)state;
    isovae_error err;
    isovae_data *fresh, *narrow;
    isovae_answer *answer;
    size_t rows = isovae_data_rows(data), cols = isovae_data_cols(data);
    double *values = malloc(rows * cols * sizeof *values);
    assert_non_null(values);
    ok(isovae_sample(context, model, 1, rows, 1, values, &err), &err);
    for (size_t r = 0; r < rows; r++) values[r * cols] += 3;
    ok(isovae_data_from_rows(values, rows, cols, NULL, &fresh, &err), &err);
    ok(isovae_drift(context, model, data, fresh, 0.05, &answer, &err), &err);
    json_t *json = forms_of(answer, "isovae-drift/1", false);
    assert_true(json_is_true(json_object_get(json, "found")));
    json_decref(json);
    isovae_data_free(fresh);
    ok(isovae_data_open(context, "toy:norm,n=500,seed=9", NULL, NULL, &fresh, &err), &err);
    ok(isovae_drift(context, model, data, fresh, 0.001, &answer, &err), &err);
    json = forms_of(answer, "isovae-drift/1", false);
    assert_true(json_is_false(json_object_get(json, "found")));
    json_decref(json);
    for (double alpha = 0; alpha < 2; alpha++)
        assert_int_equal(isovae_drift(context, model, data, fresh, alpha, &answer, &err),
                         ISOVAE_ERR_ARGUMENT);
    ok(isovae_data_from_rows(values, rows, cols - 1, NULL, &narrow, &err), &err);
    assert_int_equal(isovae_drift(context, model, data, narrow, 0.05, &answer, &err),
                     ISOVAE_ERR_DATA);
    assert_null(answer);
    isovae_data_free(narrow);
    isovae_data_free(fresh);
    free(values);
}

/* The parts sum to residual/beta, which moves when one feature is moved. */
static void explanations(void **state)
{
    (void)state;
    isovae_error err;
    size_t cols = isovae_data_cols(data), n = isovae_model_latents(model);
    double *row = malloc(2 * cols * sizeof *row), *feature = malloc(2 * cols * sizeof *feature);
    double *latent = malloc(2 * n * sizeof *latent);
    assert_true(row != NULL && feature != NULL && latent != NULL);
    ok(isovae_sample(context, model, 1, 1, 0, row, &err), &err);
    memcpy(row + cols, row, cols * sizeof *row);
    row[cols + 1] += 2;
    isovae_data *two;
    ok(isovae_data_from_rows(row, 2, cols, NULL, &two, &err), &err);
    ok(isovae_explain(context, model, two, feature, latent, &err), &err);
    size_t largest = 0;
    for (size_t i = 0; i < cols; i++) {
        assert_true(feature[i] >= 0);
        if (feature[cols + i] > feature[cols + largest]) largest = i;
    }
    assert_int_equal(largest, 1);
    assert_true(feature[cols + 1] > feature[1] + 1);
    for (size_t j = 0; j < 2 * n; j++) assert_true(latent[j] >= 0);
    isovae_data_free(two);
    free(row);
    free(feature);
    free(latent);
}

static void pruned(void **state)
{
    (void)state;
    isovae_error err;
    isovae_pruned about;
    isovae_model *small;
    size_t active = isovae_model_active(model);
    assert_true(active < isovae_model_latents(model)); /* else there is nothing to see */
    ok(isovae_prune(context, model, data, &small, &about, &err), &err);
    assert_int_equal(isovae_model_latents(small), active);
    assert_int_equal(about.kept, active);
    assert_int_equal(about.latents, 5);
    assert_true(about.kept_parameters < about.parameters);
    assert_int_equal(about.rows, 1200);
    assert_true(about.change_rms < 0.05 * about.output_sd);
    isovae_model_free(small);
    ok(isovae_prune(context, model, NULL, &small, NULL, &err), &err);
    isovae_model_free(small);
}

static void exported(void **state)
{
    (void)state;
    isovae_error err;
    char *reason, path[80];
    snprintf(path, sizeof path, "%s", in_folder("onnx"));
    isovae_status status = isovae_export_onnx(model, path, &reason, &err);
    if (status == ISOVAE_ERR_UNSUPPORTED) skip(); /* a build without ONNX */
    ok(status, &err);
    assert_null(reason);
    static const char *const files[] = {"encoder", "decoder", "scorer"};
    for (size_t i = 0; i < 3; i++) {
        char file[120];
        snprintf(file, sizeof file, "%s/%s.onnx", path, files[i]);
        assert_int_equal(remove(file), 0);
    }
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(isovae_export_onnx(model, "/proc/nowhere", &reason, &err), ISOVAE_ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sweeps),       cmocka_unit_test(stabilities), cmocka_unit_test(drifts),
        cmocka_unit_test(explanations), cmocka_unit_test(pruned),      cmocka_unit_test(exported),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
