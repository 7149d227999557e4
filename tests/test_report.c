/* The report: text against a golden file, JSON against its schema, CSV, charts and the page for
 * structure and escaping. The analyses are made up (support_report.h), so nothing here trains. */
#include "support_report.h"

#include "base/file.h"
#include "report/charts.h"
#include "report/facts.h"
#include "report/image.h"
#include "report/svg.h"

#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static isovae_error err;

static void assert_ok(isovae_status status)
{
    if (status != ISOVAE_OK) fail_msg("%s", err.message);
}

static size_t count_of(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part)) n++;
    return n;
}

static size_t widest_line(const char *text)
{
    size_t widest = 0;
    while (*text != '\0') {
        size_t length = strcspn(text, "\n"), wide = iv_code_points(text, length);
        if (wide > widest) widest = wide;
        text += length + (text[length] == '\n');
    }
    return widest;
}

/* Tests run in the root of the repository. */
static char *read_expected(const char *name)
{
    char path[256];
    unsigned char *bytes;
    size_t length;
    snprintf(path, sizeof path, "tests/expected/%s", name);
    assert_ok(iv_file_read(path, 1 << 20, &bytes, &length, &err));
    return (char *)bytes;
}

/* A folder of its own under the temporary one. */
static void make_folder(char *path, size_t size)
{
    const char *base = getenv("TMPDIR");
    snprintf(path, size, "%s/isovae-report-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(path));
}

static void remove_folder(const char *path)
{
    char command[600];
    snprintf(command, sizeof command, "rm -r '%s'", path);
    assert_int_equal(system(command), 0);
}

/* ---- words ---- */

static void test_numbers(void **state)
{
    iv_text t = {0};
    (void)state;
    iv_put_count(&t, 0);
    iv_text_puts(&t, " ");
    iv_put_count(&t, 1234567);
    iv_text_puts(&t, " ");
    iv_put_number(&t, 0.0149563, 3);
    iv_text_puts(&t, " ");
    iv_put_number(&t, 123456.7, 3);
    iv_text_puts(&t, " ");
    iv_put_number(&t, (double)NAN, 3);
    iv_text_puts(&t, " ");
    iv_put_fixed(&t, -0.001, 2);
    iv_text_puts(&t, " ");
    iv_put_fixed(&t, -0.01, 2);
    iv_text_puts(&t, " ");
    iv_put_number(&t, 2e-7, 3);
    assert_string_equal(t.data, "0 1,234,567 0.0150 123457 - 0.00 -0.01 2e-07");
    iv_text_free(&t);
    assert_int_equal(iv_decimals((const double[]){2.661, 0.669, 0.167}, 3, 4, 6), 3);
    assert_int_equal(iv_decimals((const double[]){123.4, (double)NAN}, 2, 4, 6), 1);
}

static void test_clean_and_escape(void **state)
{
    iv_text t = {0};
    (void)state;
    iv_put_clean(&t, "a\x1b[31m\xff\xc3\xa9", 0, true);
    assert_string_equal(t.data, "a?[31m?\xc3\xa9");
    iv_text_free(&t);
    iv_put_clean(&t, "abcdefgh", 4, true);
    assert_string_equal(t.data, "abc~");
    iv_text_free(&t);
    iv_put_escaped(&t, "<b a=\"1\" c='2'>&\x01\xed\xa0\x80");
    assert_string_equal(t.data, "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;\xEF\xBF\xBD"
                                "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    iv_text_free(&t);
}

/* ---- text ---- */

static void text_of(const sample *s, iv_text *out)
{
    assert_ok(iv_report_text(&s->context, out, &err));
}

static void test_text_golden(void **state)
{
    sample s;
    iv_text t = {0};
    (void)state;
    sample_table(&s, 2000);
    text_of(&s, &t);
    iv_text_puts(&t, "\n");
    sample_free(&s);
    sample_image(&s, 500);
    text_of(&s, &t);
    sample_free(&s);
    char *expected = read_expected("report_small.txt");
    if (strcmp(t.data, expected) != 0) print_error("the report is now:\n%s", t.data);
    assert_string_equal(t.data, expected);
    iv_free(expected);
    iv_text_free(&t);
}

static void test_text_width_and_colour(void **state)
{
    sample s;
    iv_text t = {0};
    (void)state;
    sample_image(&s, 100);
    text_of(&s, &t);
    assert_true(widest_line(t.data) <= 80);
    assert_null(strchr(t.data, '\x1b'));
    iv_text_free(&t);
    s.context.color = true;
    text_of(&s, &t);
    assert_non_null(strchr(t.data, '\x1b'));
    iv_text_free(&t);
    s.context.color = false;
    s.context.width = 60;
    text_of(&s, &t);
    assert_true(count_of(t.data, "\n") > 10);
    iv_text_free(&t);
    sample_free(&s);
}

static void warn(sample *s, const char *code, double value, double limit)
{
    iv_warning *w = keep(s, calloc(1, sizeof *w));
    snprintf(w->code, sizeof w->code, "%s", code);
    snprintf(w->text, sizeof w->text, "%s %g (limit %g): do something", code, value, limit);
    w->value = value;
    w->limit = limit;
    s->a.warnings = w;
    s->a.n_warnings = 1;
}

static void assert_verdict(const sample *s, const char *part, iv_mood mood)
{
    iv_text t = {0};
    iv_facts f;
    iv_facts_of(&s->context, &f);
    iv_mood found = iv_facts_verdict(&s->context, &f, &t);
    if (strstr(t.data, part) == NULL) fail_msg("'%s' is not in '%s'", part, t.data);
    assert_int_equal(found, mood);
    iv_text_free(&t);
}

static void test_verdicts(void **state)
{
    sample s;
    (void)state;
    sample_table(&s, 50);
    assert_verdict(&s,
                   "3 of 8 latents carry information; the model is at its optimum (optimality "
                   "1.00 +- 0.02).",
                   IV_MOOD_GOOD);
    warn(&s, "all_active", 3, 3);
    assert_verdict(&s, "at its optimum", IV_MOOD_CAUTION);
    s.a.warnings->note = true;
    assert_verdict(&s, "at its optimum", IV_MOOD_GOOD);
    warn(&s, "undertrained", 0.4, 0.05);
    assert_verdict(&s, "training stopped short", IV_MOOD_BAD);
    warn(&s, "folded", 0.4, 0.05);
    assert_verdict(&s, "folded", IV_MOOD_BAD);
    warn(&s, "overfitted", 4.1, 1);
    assert_verdict(&s, "gap 4.1 nats", IV_MOOD_BAD);
    warn(&s, "wrong_beta", 0.01, 0.1);
    assert_verdict(&s, "agree on a beta of 0.01, not on the file's 0.1", IV_MOOD_BAD);
    s.a.n_warnings = 0;
    for (size_t j = 0; j < 3; j++) s.a.latents[j].optimality_mean = 0.8;
    assert_verdict(&s, "bends within the posterior's width", IV_MOOD_CAUTION);
    s.model.objective = IV_OBJECTIVE_DECOMPOSED;
    for (size_t j = 0; j < 3; j++) s.a.latents[j].optimality_mean = 1.2;
    assert_verdict(&s, "bias of the decomposed objective", IV_MOOD_CAUTION);
    for (size_t j = 0; j < 3; j++) s.a.latents[j].stationarity_mean = 0.7;
    assert_verdict(&s, "off its optimum", IV_MOOD_BAD);
    s.a.active = 0;
    for (size_t j = 0; j < 3; j++) s.a.latents[j].active = false;
    assert_verdict(&s, "No latent carries information", IV_MOOD_BAD);
    sample_free(&s);
}

static void test_moves(void **state)
{
    sample s;
    iv_text t = {0};
    iv_facts f;
    (void)state;
    sample_table(&s, 50);
    iv_latent_report *l = &s.a.latents[0];
    l->top[0] = (iv_loading){2, 1, 0.5, 1};
    l->top[1] = (iv_loading){3, -1, 0.3, 0.9};
    l->top[2] = (iv_loading){13, 0.1, 0.15, 0.1};
    l->top[3] = (iv_loading){12, 0.1, 0.05, 0.9};
    iv_facts_of(&s.context, &f);
    iv_facts_moves(&s.context, &f, 0, 3, 40, &t);
    assert_string_equal(t.data, "+flow -pressure ~ambient");
    iv_text_free(&t);
    iv_facts_moves(&s.context, &f, 0, 3, 12, &t);
    assert_string_equal(t.data, "+flow");
    iv_text_free(&t);
    sample_free(&s);
}

/* ---- JSON ---- */

static const json_t *at(const json_t *o, const char *key)
{
    const json_t *value = json_object_get(o, key);
    if (value == NULL) fail_msg("no key '%s'", key);
    return value;
}

static void assert_keys(const json_t *o, const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++) at(o, keys[i]);
    assert_int_equal(json_object_size(o), n);
}
#define ASSERT_KEYS(o, ...)                                                                        \
    do {                                                                                           \
        static const char *const keys[] = {__VA_ARGS__};                                           \
        assert_keys((o), keys, sizeof keys / sizeof *keys);                                        \
    } while (0)

static void test_json(void **state)
{
    sample s;
    json_t *j = NULL;
    (void)state;
    sample_table(&s, 100);
    s.a.validation_gap_nats = (double)NAN;
    s.a.latents[7].norm_sd = (double)INFINITY;
    s.context.seed = UINT64_MAX;
    s.data.source = words(&s, "bad\xff name");
    assert_ok(iv_report_json(&s.context, &j, &err));
    ASSERT_KEYS(j, "format", "provenance", "n_samples", "input_dim", "latent_dim", "active_dim",
                "loss", "beta", "beta_estimate", "objective", "space", "unit", "latents",
                "orthogonality", "distortion", "rate_nats", "elbo_nats", "elbo_se",
                "validation_gap_nats", "density", "pca", "image_quality", "warnings", "truth");
    assert_string_equal(json_string_value(at(j, "format")), "isovae-report/1");
    const json_t *p = at(j, "provenance");
    ASSERT_KEYS(p, "version", "command", "seed", "model_hash", "data_hash", "data", "split", "rows",
                "rows_left_out");
    assert_string_equal(json_string_value(at(p, "model_hash")), "fedcba9876543210");
    assert_string_equal(json_string_value(at(p, "data_hash")), "0123456789abcdef");
    assert_string_equal(json_string_value(at(p, "seed")), "18446744073709551615");
    assert_string_equal(json_string_value(at(p, "data")), "bad\xEF\xBF\xBD name");
    assert_string_equal(json_string_value(at(p, "split")), "validation");
    assert_true(json_is_null(at(j, "validation_gap_nats")));
    assert_int_equal(json_integer_value(at(j, "active_dim")), 3);
    const json_t *latents = at(j, "latents"), *l = json_array_get(latents, 0);
    assert_int_equal(json_array_size(latents), 8);
    ASSERT_KEYS(l, "index", "active", "importance", "importance_se", "variance_y", "variance_y_se",
                "share", "degenerate_group", "kl_nats", "sigma2_mean", "norm_mean", "norm_sd",
                "optimality_mean", "optimality_sd", "stationarity_mean", "stationarity_se",
                "isometry_rms", "rotation", "loadings");
    assert_true(json_real_value(at(l, "variance_y")) == s.a.latents[0].variance_y);
    assert_true(json_is_null(at(l, "degenerate_group")));
    assert_true(json_is_null(at(json_array_get(latents, 7), "norm_sd")));
    assert_int_equal(json_array_size(at(l, "loadings")), IV_TOP_LOADINGS);
    ASSERT_KEYS(json_array_get(at(l, "loadings"), 0), "feature", "column", "mean", "share",
                "sign_consistency");
    ASSERT_KEYS(at(j, "distortion"), "total", "transform", "coding", "coding_predicted",
                "residual");
    const json_t *d = at(j, "density");
    ASSERT_KEYS(d, "estimator", "absolute", "dimension", "mean", "sd", "quantiles", "iwae");
    assert_true(json_real_value(at(at(d, "quantiles"), "0.5")) == -2.91);
    ASSERT_KEYS(at(d, "iwae"), "k", "rows", "mean_difference", "sd", "ess");
    assert_int_equal(json_array_size(at(at(j, "pca"), "eigenvalues")), 16);
    const json_t *t = at(j, "truth");
    ASSERT_KEYS(t, "variances", "ratio", "factors", "density");
    ASSERT_KEYS(at(t, "density"), "posterior", "logdet", "laplace", "elbo");
    assert_true(json_real_value(at(at(at(t, "density"), "elbo"), "r")) == 0.9995);
    assert_true(json_real_value(at(at(at(t, "density"), "elbo"), "r_uncorrected")) == 0.96);
    json_decref(j);
    s.a.truth.known = s.a.truth.density_known = false;
    assert_ok(iv_report_json(&s.context, &j, &err));
    assert_null(json_object_get(j, "truth"));
    json_decref(j);
    sample_free(&s);
}

static void assert_letters(const sample *s, bool shown, const char *first)
{
    iv_text t = {0};
    assert_ok(iv_report_text(&s->context, &t, &err));
    assert_true((strstr(t.data, "same letter") != NULL) == shown);
    assert_non_null(strstr(t.data, first));
    iv_text_free(&t);
    assert_ok(iv_report_html(&s->context, &t, &err));
    assert_true((strstr(t.data, "same letter") != NULL) == shown);
    assert_true((strstr(t.data, "<sup>a</sup>") != NULL) == shown);
    iv_text_free(&t);
}

/* A letter on every row would tell nothing: one group of all active latents has none in tables. */
static void test_groups_and_notes(void **state)
{
    sample s;
    json_t *j = NULL;
    (void)state;
    sample_table(&s, 60);
    warn(&s, "all_active", 3, 3);
    assert_letters(&s, false, "\n      1  ");
    s.a.latents[1].degenerate_group = s.a.latents[2].degenerate_group = 0;
    assert_letters(&s, true, "\n      1a ");
    s.a.latents[0].degenerate_group = 0;
    assert_letters(&s, false, "\n      1  ");
    assert_ok(iv_report_json(&s.context, &j, &err));
    const json_t *l = json_array_get(at(j, "latents"), 1), *w = at(j, "warnings");
    assert_true(json_is_integer(at(l, "degenerate_group"))); /* by definition, letter or not */
    ASSERT_KEYS(json_array_get(w, 0), "code", "value", "limit", "text", "note");
    assert_true(json_is_false(at(json_array_get(w, 0), "note")));
    json_decref(j);
    s.a.warnings->note = true;
    assert_ok(iv_report_json(&s.context, &j, &err));
    assert_true(json_is_true(at(json_array_get(at(j, "warnings"), 0), "note")));
    json_decref(j);
    s.a.latents[2].degenerate_group = 1;
    assert_letters(&s, true, "\n      2b ");
    sample_free(&s);
}

static void test_json_pictures(void **state)
{
    sample s;
    json_t *j = NULL;
    (void)state;
    sample_image(&s, 60);
    assert_ok(iv_report_json(&s.context, &j, &err));
    const json_t *q = json_object_get(j, "image_quality");
    assert_true(json_number_value(json_object_get(q, "psnr_db")) == 21.437);
    assert_true(json_number_value(json_object_get(q, "ssim")) == 0.87654);
    assert_true(json_number_value(json_object_get(q, "ms_ssim")) == 0.96543);
    assert_int_equal(json_integer_value(json_object_get(q, "ms_ssim_scales")), 2);
    assert_int_equal(json_integer_value(json_object_get(q, "rows")), 60);
    assert_true(json_number_value(json_object_get(q, "data_range")) == 255);
    json_decref(j);
    s.a.image_quality.ms_ssim = s.a.image_quality.ssim = (double)NAN; /* pictures too small */
    assert_ok(iv_report_json(&s.context, &j, &err));
    assert_true(json_is_null(json_object_get(json_object_get(j, "image_quality"), "ssim")));
    json_decref(j);
    s.a.image_quality.rows = 0;
    assert_ok(iv_report_json(&s.context, &j, &err));
    assert_true(json_is_null(json_object_get(j, "image_quality")));
    json_decref(j);
    sample_free(&s);
}

/* With Python's validator, where there is one; the keys are checked above in any case. */
static void test_json_schema(void **state)
{
    (void)state;
    assert_int_equal(access("docs/report.schema.json", R_OK), 0);
    if (system("python3 -c 'import jsonschema' >/dev/null 2>&1") != 0) skip();
    char folder[300], path[400], command[1000];
    make_folder(folder, sizeof folder);
    for (int kind = 0; kind < 3; kind++) {
        sample s;
        json_t *j = NULL;
        if (kind == 1) {
            sample_image(&s, 60);
        } else {
            sample_table(&s, 60);
        }
        if (kind == 2) { /* only the density is known */
            s.a.truth.known = false;
            s.a.truth.n_factors = 0;
            s.a.elbo_nats = s.a.beta_estimate = (double)NAN;
            s.a.density.iwae.k = 0;
            s.context.command = NULL;
        }
        assert_ok(iv_report_json(&s.context, &j, &err));
        snprintf(path, sizeof path, "%s/report.json", folder);
        assert_int_equal(json_dump_file(j, path, 0), 0);
        snprintf(
            command, sizeof command,
            "python3 -c 'import json, sys, jsonschema; s = json.load(open(sys.argv[1])); "
            "jsonschema.validate(json.load(open(sys.argv[2])), s)' docs/report.schema.json '%s'",
            path);
        assert_int_equal(system(command), 0);
        json_decref(j);
        sample_free(&s);
    }
    remove_folder(folder);
}

/* ---- CSV and SVG ---- */

static char *read_file(const char *folder, const char *name)
{
    char path[600];
    unsigned char *bytes;
    size_t length;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(iv_file_read(path, 1 << 24, &bytes, &length, &err));
    return (char *)bytes;
}

static void test_csv(void **state)
{
    sample s;
    char folder[300];
    (void)state;
    make_folder(folder, sizeof folder);
    sample_table(&s, 40);
    s.data.ids = keep(&s, calloc(40, sizeof(char *)));
    for (size_t i = 0; i < 40; i++) s.data.ids[i] = words(&s, "id, \"1\"");
    assert_ok(iv_report_csv(&s.context, folder, &err));
    char *text = read_file(folder, "latents.csv");
    assert_int_equal(count_of(text, "\n"), 9);
    assert_non_null(strstr(text, "\n0,0,1,2.6614,"));
    assert_null(strstr(text, "nan"));
    iv_free(text);
    text = read_file(folder, "loadings.csv");
    assert_int_equal(count_of(text, "\n"), 8 * 16 + 1);
    assert_non_null(strstr(text, "0,\"\"\"load\"\", 5 min\",15,"));
    iv_free(text);
    text = read_file(folder, "rows.csv");
    assert_int_equal(count_of(text, "\n"), 41);
    assert_int_equal(strncmp(text, "row,id,log_density_elbo,", 24), 0);
    assert_non_null(strstr(text, ",log_density_true,residual,"));
    assert_non_null(strstr(text, "\n39,\"id, \"\"1\"\"\","));
    iv_free(text);
    text = read_file(folder, "history.csv");
    assert_non_null(strstr(text, ",\n")); /* no validation on most lines */
    iv_free(text);
    static const char *const others[] = {"cosines.csv",          "pca.csv",
                                         "chart-importance.svg", "chart-importance.csv",
                                         "chart-training.svg",   "chart-density-truth.csv"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        text = read_file(folder, others[i]);
        assert_true(strlen(text) > 40);
        iv_free(text);
    }
    if (system("xmllint --version >/dev/null 2>&1") == 0) {
        char command[700];
        snprintf(command, sizeof command, "xmllint --noout '%s'/*.svg", folder);
        assert_int_equal(system(command), 0);
    }
    remove_folder(folder);
    assert_int_equal(iv_report_csv(&s.context, "/nowhere/at/all", &err), ISOVAE_ERR_IO);
    assert_non_null(strstr(err.message, "/nowhere/at/all"));
    sample_free(&s);
}

static void test_axis(void **state)
{
    double ticks[IV_MAX_TICKS];
    iv_axis a = {.lo = -8.7, .hi = -1.2, .from = 0, .to = 100};
    (void)state;
    iv_axis_nice(&a, 5);
    assert_true(a.lo == -10 && a.hi == 0);
    assert_int_equal(iv_axis_ticks(&a, 5, ticks), 6);
    assert_true(ticks[0] == -10 && ticks[5] == 0 && !signbit(ticks[5]));
    assert_true(fabs(iv_axis_at(&a, -5) - 50) < 1e-12);
    a = (iv_axis){.lo = 0.0013, .hi = 3.1, .from = 100, .to = 0, .log = true};
    iv_axis_nice(&a, 5);
    assert_true(fabs(a.lo - 0.001) < 1e-12 && fabs(a.hi - 5) < 1e-12);
    size_t n = iv_axis_ticks(&a, 5, ticks);
    assert_int_equal(n, 4); /* 0.001 0.01 0.1 1 */
    assert_true(fabs(ticks[3] - 1) < 1e-12);
    a = (iv_axis){.lo = 2, .hi = 2}; /* a single value */
    iv_axis_nice(&a, 5);
    assert_true(a.lo < 2 && a.hi > 2);
    a = (iv_axis){.lo = (double)NAN, .hi = (double)NAN};
    iv_axis_nice(&a, 5);
    assert_true(isfinite(a.lo) && a.hi > a.lo);
}

/* ---- the page ---- */

static void page_of(const sample *s, iv_text *out)
{
    assert_ok(iv_report_html(&s->context, out, &err));
}

/* As a number of the page, that is; base64 may spell anything. */
static void assert_no_nan(const char *html)
{
    static const char *const forms[] = {">nan", "\"nan", " nan", ">-nan", ":nan", ">inf", "\"inf"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) assert_null(strstr(html, forms[i]));
}

/* Nothing that a browser would have to fetch. */
static void assert_self_contained(const char *html)
{
    assert_null(strstr(html, "src=\"http"));
    assert_null(strstr(html, "href=\"http"));
    assert_null(strstr(html, "url(http"));
    assert_null(strstr(html, "@import"));
    assert_int_equal(count_of(html, "http"), count_of(html, "http://www.w3.org/2000/svg"));
}

static void assert_balanced(const char *html)
{
    static const char *const names[] = {"section", "figure", "table", "svg", "dl", "details", "ul"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char open[24], open_attr[24], shut[24];
        snprintf(open, sizeof open, "<%s>", names[i]);
        snprintf(open_attr, sizeof open_attr, "<%s ", names[i]);
        snprintf(shut, sizeof shut, "</%s>", names[i]);
        assert_int_equal(count_of(html, open) + count_of(html, open_attr), count_of(html, shut));
    }
}

static void test_page_table(void **state)
{
    sample s;
    iv_text t = {0};
    (void)state;
    sample_table(&s, 300);
    s.model.names[8] = words(&s, "<script>alert(1)</script>");
    s.data.source = words(&s, "x\"><img src=x onerror=alert(1)>.csv");
    warn(&s, "x", 1, 2);
    snprintf(s.a.warnings->text, sizeof s.a.warnings->text, "<i>5 & 6</i>");
    page_of(&s, &t);
    assert_null(strstr(t.data, "<script>alert"));
    assert_null(strstr(t.data, "<img"));
    assert_non_null(strstr(t.data, "&lt;script&gt;alert(1)"));
    assert_non_null(strstr(t.data, "&lt;i&gt;5 &amp; 6&lt;/i&gt;"));
    assert_no_nan(t.data);
    assert_self_contained(t.data);
    assert_balanced(t.data);
    assert_non_null(strstr(t.data, "download=\"importance.svg\""));
    assert_int_equal(count_of(t.data, "download=\"profile-"), 6);
    assert_int_equal(count_of(t.data, "role=\"img\" aria-labelledby=\"w-"), 7);
    iv_text_free(&t);
    sample_free(&s);
}

static void test_page_of_little(void **state)
{
    sample s;
    iv_text t = {0};
    (void)state;
    sample_table(&s, 60); /* nothing active, no truth, no history, no rows kept */
    for (size_t j = 0; j < 8; j++) {
        s.a.latents[j].active = false;
        s.a.latents[j].loading_mean = s.a.latents[j].loading_rms = NULL;
        s.a.latents[j].stationarity_mean = (double)NAN;
        s.a.latents[j].optimality_mean = j == 3 ? (double)NAN : 1;
    }
    s.a.active = 0;
    s.a.truth.known = s.a.truth.density_known = false;
    s.a.mu = s.a.sigma = s.a.y = s.a.density.values = NULL;
    s.a.cosine = NULL;
    s.a.pca.n = 0;
    s.model.n_history = 0;
    page_of(&s, &t);
    assert_balanced(t.data);
    assert_no_nan(t.data);
    assert_non_null(strstr(t.data, "No latent carries information"));
    iv_text_free(&t);
    text_of(&s, &t);
    iv_text_free(&t);
    sample_free(&s);
}

/* ---- pictures ---- */

static void test_png(void **state)
{
    unsigned char pixels[2 * 3 * 3], back[2 * 3 * 3], *bytes;
    size_t length;
    png_image image;
    (void)state;
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (unsigned char)(i * 13);
    assert_ok(iv_png_encode(pixels, 2, 3, 3, &bytes, &length, &err));
    memset(&image, 0, sizeof image);
    image.version = PNG_IMAGE_VERSION;
    assert_true(png_image_begin_read_from_memory(&image, bytes, length));
    assert_int_equal(image.width, 3);
    assert_int_equal(image.height, 2);
    image.format = PNG_FORMAT_RGB;
    assert_true(png_image_finish_read(&image, NULL, back, 0, NULL));
    assert_memory_equal(back, pixels, sizeof pixels);
    iv_free(bytes);
    assert_int_equal(iv_png_encode(pixels, 2, 3, 2, &bytes, &length, &err), ISOVAE_ERR_UNSUPPORTED);
    assert_int_equal(iv_png_encode(pixels, 0, 3, 1, &bytes, &length, &err), ISOVAE_ERR_UNSUPPORTED);
}

static void test_base64(void **state)
{
    static const char *const cases[][2] = {
        {"", NULL}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        iv_text t = {0};
        iv_put_base64(&t, (const unsigned char *)cases[i][0], strlen(cases[i][0]));
        if (cases[i][1] == NULL) {
            assert_int_equal(t.length, 0);
        } else {
            assert_string_equal(t.data, cases[i][1]);
        }
        iv_text_free(&t);
    }
    iv_text t = {0};
    unsigned char block[1000] = {0}; /* across the inner buffer */
    iv_put_base64(&t, block, sizeof block);
    assert_int_equal(t.length, 1336);
    iv_text_free(&t);
}

/* A linear decoder of 6 x 8 pictures: latent 0 brightens the left half, latent 1 the right one,
 * each column of length 2 sqrt(24); latent 2 does nothing. */
enum { H = 6, W = 8, N = 3 };

static void linear_images(sample *s, iv_model **model, iv_dataset **data)
{
    double values[20 * H * W];
    size_t rows[20];
    for (size_t r = 0; r < 20; r++) {
        rows[r] = r;
        for (size_t i = 0; i < H * W; i++) {
            values[r * H * W + i] = 0.5 + 0.01 * (double)r * (i % W < W / 2 ? 1 : -1);
        }
    }
    assert_ok(iv_dataset_from_rows(values, 20, H * W, NULL, data, &err));
    assert_ok(iv_model_new(model, &err));
    iv_model *m = *model;
    assert_ok(iv_model_build(m, "linear", H * W, N, IV_ACT_NONE, IV_F32, &err));
    assert_ok(iv_scaling_fit(IV_SCALE_IDENTITY, *data, rows, 20, &m->scaling, &err));
    m->beta = 0.5;
    m->height = H;
    m->width = W;
    m->channels = 1;
    m->logvar_lo = -20;
    m->logvar_hi = 20;
    const iv_graph *g = m->decoder;
    const iv_param *weight = &g->params[iv_graph_find_param(g, "dec.out.weight")];
    const iv_param *bias = &g->params[iv_graph_find_param(g, "dec.out.bias")];
    float *params = m->params;
    for (size_t i = 0; i < H * W; i++) {
        params[weight->offset + i * N + (i % W < W / 2 ? 0 : 1)] = 0.1f;
        params[bias->offset + i] = 0.5f;
    }
    memset(s, 0, sizeof *s);
    iv_analysis *a = &s->a;
    a->d = H * W;
    a->n = N;
    a->active = 2;
    a->beta = m->beta;
    a->row_set = "all";
    a->latents = keep(s, calloc(N, sizeof *a->latents));
    for (size_t j = 0; j < N; j++) {
        iv_latent_report *l = &a->latents[j];
        l->index = j;
        l->active = j < 2;
        /* dy/dmu = sqrt(beta/2)/sigma equals the column's length 0.1 sqrt(24) */
        l->sigma2_mean = l->active ? m->beta / 2 / (0.01 * 24) : 1;
        l->variance_y = l->active ? 0.24 * 0.25 + m->beta / 2 : m->beta / 2;
        l->share = l->active ? 0.4 : 0;
        l->degenerate_group = -1;
        l->loading_mean = doubles(s, H * W);
        for (size_t i = 0; l->active && i < H * W; i++) {
            l->loading_mean[i] = (i % W < W / 2) == (j == 0) ? 0.1 : 0;
        }
        l->loading_rms = l->loading_mean;
    }
    fill_rows(s, 20);
    for (size_t r = 0; r < 20; r++) {
        a->density.values[r] = (double)r;
        a->mu[r * N] = 0.2 * (double)r - 2;
    }
    for (size_t i = 0; i < 20 * N; i++) a->y[i] = i / N % 2 == 0 ? 0.245 : -0.245;
    s->context = (iv_report_context){.model = m, .data = *data, .analysis = a};
}

static void test_traversal(void **state)
{
    sample s;
    iv_model *m;
    iv_dataset *data;
    iv_picture sheet;
    iv_facts facts;
    double lengths[5 * N];
    const size_t ranks[N] = {0, 1, 2};
    (void)state;
    linear_images(&s, &m, &data);
    iv_facts_of(&s.context, &facts);
    assert_true(facts.image);
    assert_ok(iv_traverse_picture(&s.context, &facts, ranks, N, 5, &sheet, lengths, &err));
    assert_int_equal(sheet.height, N * H);
    assert_int_equal(sheet.width, 5 * W);
    assert_int_equal(sheet.channels, 1);
    /* Isometric: a step of y is as long in the pictures; the idle latent does not move. */
    double sd = sqrt(0.24 * 0.25);
    for (size_t j = 0; j < 2; j++) {
        assert_true(fabs(lengths[5 * j] - 1.5 * sd) < 1e-12);
        for (size_t k = 1; k < 5; k++)
            assert_true(fabs(lengths[5 * j + k] / lengths[5 * j] - 1) < 1e-4);
    }
    assert_true(lengths[10] > 0.7); /* 1.5 sqrt(beta/2) */
    for (size_t k = 1; k < 5; k++) assert_true(lengths[10 + k] == 0);
    for (size_t j = 0; j < N; j++) {
        for (size_t k = 0; k < 5; k++) {
            double rise = 3 * sd * ((double)k - 2) / 2 / sqrt(24);
            unsigned char left = sheet.pixels[(j * H + 1) * sheet.width + k * W + 1];
            unsigned char right = sheet.pixels[(j * H + 4) * sheet.width + k * W + 6];
            assert_true(fabs(left - 255 * (0.5 + (j == 0 ? rise : 0))) <= 1.01);
            assert_true(fabs(right - 255 * (0.5 + (j == 1 ? rise : 0))) <= 1.01);
        }
    }
    iv_free(sheet.pixels);
    iv_model_free(m);
    iv_dataset_free(data);
    sample_free(&s);
}

static void test_page_image(void **state)
{
    sample s;
    iv_model *m;
    iv_dataset *data;
    iv_facts facts;
    iv_picture sheet;
    iv_text t = {0};
    size_t rows[3];
    (void)state;
    linear_images(&s, &m, &data);
    iv_facts_of(&s.context, &facts);
    assert_ok(iv_reconstruction_picture(&s.context, &facts, 3, &sheet, rows, &err));
    assert_int_equal(rows[0], 0);
    assert_int_equal(rows[1], 9);
    assert_int_equal(rows[2], 19);
    assert_int_equal(sheet.height, 2 * H);
    assert_int_equal(sheet.width, 3 * W);
    assert_int_equal(sheet.pixels[2 * W], (int)(255 * 0.69 + 0.5)); /* row 19, its left half */
    for (size_t i = 0; i < 3; i++) {
        double back = 255 * (0.5 + 0.1 * s.a.mu[rows[i] * N]);
        assert_true(fabs(sheet.pixels[H * sheet.width + i * W] - back) <= 1.01);
    }
    iv_free(sheet.pixels);
    iv_facts_moves(&s.context, &facts, 1, 3, 40, &t);
    assert_string_equal(t.data, "+1,5"); /* the first place of the plateau */
    iv_text_free(&t);
    page_of(&s, &t);
    assert_self_contained(t.data);
    assert_balanced(t.data);
    assert_no_nan(t.data);
    assert_int_equal(count_of(t.data, "data:image/png;base64,"), 5);
    assert_int_equal(count_of(t.data, "class=\"walk\""), 3); /* two active ones, one that is off */
    assert_non_null(strstr(t.data, "type=\"range\""));
    assert_int_equal(count_of(t.data, "<i>the strongest</i>"), 1);
    assert_int_equal(count_of(t.data, "<i>a middle one</i>"), 0); /* of two there is none */
    assert_int_equal(count_of(t.data, "<i>collapsed: not active</i>"), 1);
    assert_int_equal(count_of(t.data, "<ol class=\"far\""), 3);
    assert_int_equal(count_of(t.data, "<li>0.122</li>"), 2 * 12); /* sqrt(0.24 * 0.25) / 2 */
    assert_int_equal(count_of(t.data, "step in y 0.122"), 2);
    assert_non_null(strstr(t.data, "<h3>Samples</h3>"));
    iv_text_free(&t);
    iv_model_free(m);
    iv_dataset_free(data);
    sample_free(&s);
}

/* The strongest, a middle and a collapsed latent are shown even where not all fit. */
static void test_walks(void **state)
{
    sample s;
    iv_model *m;
    iv_dataset *data;
    iv_text t = {0};
    (void)state;
    linear_images(&s, &m, &data);
    iv_latent_report first = s.a.latents[0], off = s.a.latents[2];
    iv_latent_report *many = keep(&s, calloc(40, sizeof *many));
    for (size_t j = 0; j < 40; j++) many[j] = j < 30 ? first : off;
    s.a.latents = many;
    s.a.n = 40;
    s.a.active = 30;
    s.a.y = s.a.mu = NULL;
    s.a.cosine = doubles(&s, 40 * 40);
    page_of(&s, &t);
    assert_int_equal(count_of(t.data, "class=\"walk\""), 14);
    const char *middle = strstr(t.data, "<b>Latent 15</b><br><i>a middle one</i>");
    assert_non_null(middle);
    assert_non_null(strstr(t.data, "<b>Latent 0</b><br><i>the strongest</i>"));
    assert_non_null(strstr(middle, "<b>Latent 30</b><br><i>collapsed"));
    assert_null(strstr(t.data, "<b>Latent 14</b>"));
    iv_text_free(&t);
    iv_model_free(m);
    iv_dataset_free(data);
    sample_free(&s);
}

static void test_maps_and_samples(void **state)
{
    sample s;
    iv_model *m;
    iv_dataset *data;
    iv_facts facts;
    iv_picture sheet, again;
    const size_t ranks[2] = {0, 2};
    (void)state;
    linear_images(&s, &m, &data);
    iv_facts_of(&s.context, &facts);
    double *mean = doubles(&s, H * W), *rms = doubles(&s, H * W);
    mean[0] = -0.3;
    rms[0] = rms[9] = 0.4;
    rms[10] = 0.2;
    s.a.latents[0].loading_mean = mean;
    s.a.latents[0].loading_rms = rms;
    assert_ok(iv_loading_picture(&s.context, &facts, ranks, 2, false, &sheet, &err));
    assert_int_equal(sheet.height, 2 * H);
    assert_true(sheet.pixels[0] == 190 && sheet.pixels[2] == 16); /* falls: orange */
    assert_true(sheet.pixels[9 * 3] == 250); /* both ways: nothing on the mean */
    iv_free(sheet.pixels);
    assert_ok(iv_loading_picture(&s.context, &facts, ranks, 2, true, &sheet, &err));
    assert_true(sheet.pixels[0] == 74 && sheet.pixels[1] == 20);
    assert_memory_equal(sheet.pixels, sheet.pixels + 27, 3);
    assert_int_equal(sheet.pixels[30], 162); /* half of the way from 250 to 74 */
    assert_true(sheet.pixels[3] == 250 &&
                sheet.pixels[H * W * 3] == 250); /* the latent that is off */
    iv_free(sheet.pixels);

    s.context.seed = 5;
    assert_ok(iv_sample_picture(&s.context, &facts, 2, 3, &sheet, &err));
    assert_ok(iv_sample_picture(&s.context, &facts, 1, 3, &again, &err));
    assert_true(sheet.height == 2 * H && sheet.width == 3 * W);
    assert_memory_equal(sheet.pixels, again.pixels, H * 3 * W); /* keyed by the row */
    assert_memory_not_equal(sheet.pixels, sheet.pixels + H * 3 * W, H * 3 * W);
    iv_free(again.pixels);
    s.context.seed = 6;
    assert_ok(iv_sample_picture(&s.context, &facts, 1, 3, &again, &err));
    assert_memory_not_equal(sheet.pixels, again.pixels, H * 3 * W);
    iv_free(again.pixels);
    iv_free(sheet.pixels);
    iv_model_free(m);
    iv_dataset_free(data);
    sample_free(&s);
}

static void test_overfitting_shows(void **state)
{
    sample s;
    iv_facts facts;
    iv_text t = {0};
    (void)state;
    sample_table(&s, 50);
    iv_facts_of(&s.context, &facts);
    const iv_chart_kind *chart = iv_chart_find("training");
    chart->says(&s.context, &facts, &t);
    assert_null(strstr(t.data, "lowest"));
    iv_text_free(&t);
    iv_history *h = s.model.history;
    for (size_t i = 80; i < s.model.n_history; i++) h[i].validation = 0.2 + 0.001 * (double)i;
    h[79].validation = 0.05;
    chart->says(&s.context, &facts, &t);
    assert_non_null(strstr(t.data, "The validation loss was lowest at step 8,000 with 0.0500"));
    iv_text_free(&t);
    iv_chart_draw(chart, &s.context, &facts, 680, false, "k", &t);
    assert_non_null(strstr(t.data, "lowest validation loss"));
    iv_text_free(&t);
    h[79].beta = 0.5 * s.model.beta; /* a smaller beta: its loss cannot be compared */
    chart->says(&s.context, &facts, &t);
    assert_null(strstr(t.data, "lowest"));
    iv_text_free(&t);
    sample_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walks),
        cmocka_unit_test(test_maps_and_samples),
        cmocka_unit_test(test_overfitting_shows),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_clean_and_escape),
        cmocka_unit_test(test_text_golden),
        cmocka_unit_test(test_text_width_and_colour),
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_pictures),
        cmocka_unit_test(test_json_schema),
        cmocka_unit_test(test_groups_and_notes),
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_axis),
        cmocka_unit_test(test_page_table),
        cmocka_unit_test(test_page_of_little),
        cmocka_unit_test(test_png),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_traversal),
        cmocka_unit_test(test_page_image),
    };
    return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
