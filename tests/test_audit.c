/* isovae audit against PyTorch and ONNX Runtime: small VAEs of tests/onnx/make_vaes.py, with the
 * outputs, Jacobians, optimality and beta that a computation in Python gave for them. */
#include "onnx/vae.h"
#include "support_data.h"
#include "support_npz.h"
#include "theory/audit.h"
#include "theory/rows.h"
#include "theory/score.h"

enum { SHOWN = 16, ROWS = 256, CODES = 8 };

typedef struct fixture {
    const char *name, *data, *loss;
    bool whole;
    double low, high, mean, sd; /* NaN, NaN, 0, 0: as they are */
} fixture;

static const fixture fixtures[] = {
    {"mlp", "table", "sse", false, NAN, NAN, 0, 0},
    {"whole", "table", "sse", true, NAN, NAN, 0, 0},
    {"sigma", "table", "sse", false, NAN, NAN, 0, 0},
    {"conv", "grey", "sse", false, NAN, NAN, 0, 0},
    {"attention", "grey", "sse", false, NAN, NAN, 0.3, 0.25},
    {"nhwc", "colour", "sse", false, -1, 1, 0, 0},
    {"bce", "grey", "bce", false, NAN, NAN, 0, 0},
    {"bce_plain", "grey", "bce", false, NAN, NAN, 0, 0},
    {"short", "table", "sse", false, NAN, NAN, 0, 0},
    {"autoencoder", "table", "sse", false, NAN, NAN, 0, 0},
    {"constant", "table", "sse", false, NAN, NAN, 0, 0},
    {"collapsed", "table", "sse", false, NAN, NAN, 0, 0},
};
enum { GOOD = 8 }; /* the first ones: well trained, read aright */

/* A fixture opened: its model, data and reference; the paths are what the options point to. */
typedef struct opened {
    char data_path[200], encoder[200], decoder[200];
    iv_onnx_vae_options options;
    iv_dataset *data;
    iv_onnx_vae vae;
    npz reference;
    iv_audit audit;
    iv_analysis *analysis;
} opened;

static const fixture *of(const char *name)
{
    for (size_t i = 0; i < sizeof fixtures / sizeof fixtures[0]; i++)
        if (strcmp(fixtures[i].name, name) == 0) return &fixtures[i];
    fail_msg("no fixture '%s'", name);
    return NULL;
}

static void prepare(opened *o, const fixture *f)
{
    char path[200];
    isovae_error err = {0};
    iv_data_options data = {.header = -1};
    memset(o, 0, sizeof *o);
    snprintf(o->data_path, sizeof o->data_path, "tests/onnx/%s.npy", f->data);
    snprintf(o->encoder, sizeof o->encoder, "tests/onnx/%s%s.onnx", f->name,
             f->whole ? "" : "_enc");
    if (strcmp(f->name, "bce_plain") == 0) strcpy(o->encoder, "tests/onnx/bce_enc.onnx");
    snprintf(o->decoder, sizeof o->decoder, "tests/onnx/%s_dec.onnx", f->name);
    snprintf(path, sizeof path, "tests/onnx/%s.npz", f->name);
    assert_true(npz_open_path(&o->reference, path));
    if (iv_dataset_open(o->data_path, &data, &o->data, &err)) fail_msg("%s", err.message);
    iv_onnx_vae_options_init(&o->options);
    o->options.encoder = o->encoder;
    o->options.decoder = f->whole ? NULL : o->decoder;
    o->options.low = f->low;
    o->options.high = f->high;
    if (f->sd > 0) {
        o->options.n_channels = 1;
        o->options.mean[0] = f->mean;
        o->options.sd[0] = f->sd;
    }
    if (iv_metric_parse(f->loss, &o->options.metric, &err)) fail_msg("%s", err.message);
}

static void load(opened *o)
{
    isovae_error err = {0};
    if (iv_onnx_vae_load(o->data, &o->options, &o->vae, &err)) fail_msg("%s", err.message);
}

static const double *numbers(const opened *o)
{
    return npz_get(&o->reference, "numbers")->values; /* true beta, found beta, three errors */
}

/* beta 0: not known */
static void audit(opened *o, double beta)
{
    isovae_error err = {0};
    iv_audit_options options = {.beta_known = beta > 0};
    iv_analysis_options_init(&options.analysis);
    options.analysis.rows = "all";
    if (beta > 0) o->vae.model->beta = beta;
    if (iv_audit_run(o->vae.model, o->data, &options, &o->audit, &o->analysis, &err))
        fail_msg("%s", err.message);
}

static void shut(opened *o)
{
    iv_analysis_free(o->analysis);
    iv_model_free(o->vae.model);
    iv_dataset_free(o->data);
    npz_close(&o->reference);
    memset(o, 0, sizeof *o);
}

static const iv_warning *told(const opened *o, const char *code)
{
    for (size_t i = 0; i < o->analysis->n_warnings; i++)
        if (strcmp(o->analysis->warnings[i].code, code) == 0) return &o->analysis->warnings[i];
    return NULL;
}

static void assert_told(const opened *o, const char *what, const char *code)
{
    if (told(o, code) == NULL) {
        for (size_t i = 0; i < o->analysis->n_warnings; i++)
            print_message("  %s: %s\n", o->analysis->warnings[i].code,
                          o->analysis->warnings[i].text);
        fail_msg("%s: there is no '%s'", what, code);
    }
}

static void assert_not_told(const opened *o, const char *what, const char *code)
{
    const iv_warning *w = told(o, code);
    if (w != NULL) fail_msg("%s: %s", what, w->text);
}

/* ---- what the networks give ---- */

static void outputs_agree_with_onnx_runtime(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fixtures / sizeof fixtures[0]; i++) {
        opened o;
        isovae_error err = {0};
        size_t rows[SHOWN];
        if (strcmp(fixtures[i].name, "collapsed") == 0) continue; /* its mu are all rounding */
        double mu[SHOWN * CODES], sigma[SHOWN * CODES], *xhat;
        prepare(&o, &fixtures[i]);
        load(&o);
        const iv_model *m = o.vae.model;
        const iv_scaling *s = &m->scaling;
        assert_true(m->n <= CODES);
        for (size_t r = 0; r < SHOWN; r++) rows[r] = r;
        assert_int_equal(iv_encode_rows(m, o.data, rows, SHOWN, NULL, NULL, mu, sigma, NULL, &err),
                         0);
        for (size_t k = 0; k < SHOWN * m->n; k++) sigma[k] = 2 * log(sigma[k]);
        assert_near(fixtures[i].name, mu, npz_get(&o.reference, "mu")->values, SHOWN * m->n, 1e-5);
        assert_near(fixtures[i].name, sigma, npz_get(&o.reference, "logvar")->values, SHOWN * m->n,
                    1e-5);
        xhat = calloc(SHOWN * m->d, sizeof *xhat);
        assert_non_null(xhat);
        assert_int_equal(iv_decode_rows(m, mu, SHOWN, NULL, NULL, xhat, &err), 0);
        for (size_t k = 0; k < SHOWN * m->d; k++)
            xhat[k] = (xhat[k] - s->shift[k % m->d]) / s->scale[k % m->d];
        assert_int_equal(npz_get(&o.reference, "xhat")->count, SHOWN * m->d);
        assert_near(fixtures[i].name, xhat, npz_get(&o.reference, "xhat")->values, SHOWN * m->d,
                    1e-5);
        free(xhat);
        shut(&o);
    }
}

static void jacobians_agree_with_pytorch(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOOD; i++) {
        opened o;
        isovae_error err = {0};
        size_t rows[SHOWN];
        unsigned char all[CODES];
        double gram[SHOWN * CODES];
        iv_pass *pass = NULL;
        iv_rows *r = NULL;
        prepare(&o, &fixtures[i]);
        load(&o);
        iv_pass_plan plan = {.rows = SHOWN, .jacobian = true, .full_gram = true};
        iv_rows_plan rows_plan = {0};
        memset(all, 1, sizeof all);
        for (size_t k = 0; k < SHOWN; k++) rows[k] = k;
        assert_int_equal(iv_pass_new(o.vae.model, o.data, &plan, &pass, &err), 0);
        assert_int_equal(iv_rows_new(pass, rows, SHOWN, &r, &err), 0);
        assert_int_equal(iv_rows_set_active(r, all, &err), 0);
        if (iv_rows_evaluate(r, pass, &rows_plan, &err)) fail_msg("%s", err.message);
        for (size_t k = 0; k < SHOWN * r->n; k++)
            gram[k] = r->norm[k] * r->beta / 2 / exp(r->logvar[k]);
        assert_near(fixtures[i].name, gram, npz_get(&o.reference, "gram")->values, SHOWN * r->n,
                    1e-4);
        iv_rows_free(r);
        iv_pass_free(pass);
        shut(&o);
    }
}

/* ---- beta, optimality, the check ---- */

static void optimality_and_errors_agree_with_python(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOOD; i++) {
        opened o;
        double e1[CODES], kl[CODES];
        prepare(&o, &fixtures[i]);
        load(&o);
        const double *n = numbers(&o);
        audit(&o, n[0]);
        for (size_t j = 0; j < o.analysis->n; j++) {
            e1[o.analysis->latents[j].index] = o.analysis->latents[j].optimality_mean;
            kl[o.analysis->latents[j].index] = o.analysis->latents[j].kl;
        }
        size_t latents = o.analysis->n;
        assert_near(fixtures[i].name, e1, npz_get(&o.reference, "optimality")->values, latents,
                    1e-3);
        assert_near(fixtures[i].name, kl, npz_get(&o.reference, "kl")->values, latents, 1e-4);
        assert_int_equal(o.audit.rows, ROWS);
        assert_near("error", &o.audit.error, &n[2], 1, 1e-4);
        assert_near("error of the mean", &o.audit.mean_error, &n[3], 1, 1e-4);
        if (o.vae.model->metric.loss == IV_LOSS_SSE)
            assert_near("error of PCA", &o.audit.pca_error, &n[4], 1, 1e-3);
        shut(&o);
    }
}

static void beta_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOOD; i++) {
        opened o;
        prepare(&o, &fixtures[i]);
        load(&o);
        const double *n = numbers(&o);
        audit(&o, 0);
        print_message("%-12s beta %.4g; found %.4g, spread %.3f; in Python %.4g\n",
                      fixtures[i].name, n[0], o.audit.beta, o.audit.beta_spread, n[1]);
        assert_near(fixtures[i].name, &o.audit.beta, &n[0], 1, 0.1);
        assert_near(fixtures[i].name, &o.audit.beta, &n[1], 1, 0.03);
        assert_true(o.audit.beta_spread < 0.1);
        assert_true(o.analysis->beta == o.audit.beta);
        shut(&o);
    }
}

/* ---- verdicts ---- */

static const char *const verdicts[] = {"misread",    "sigma_unused",     "width_kind",
                                       "unsettled",  "collapsed",        "undertrained",
                                       "wrong_beta", "plain_autoencoder"};

static void good_models_get_no_verdict(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOOD; i++) {
        for (int known = 0; known < 2; known++) {
            opened o;
            prepare(&o, &fixtures[i]);
            load(&o);
            audit(&o, known ? numbers(&o)[0] : 0);
            for (size_t k = 0; k < sizeof verdicts / sizeof verdicts[0]; k++)
                assert_not_told(&o, fixtures[i].name, verdicts[k]);
            /* a note on good models, too; these are straight */
            if (strcmp(fixtures[i].name, "sigma") == 0 || strcmp(fixtures[i].name, "whole") == 0)
                assert_not_told(&o, fixtures[i].name, "curved");
            if (known)
                assert_not_told(&o, fixtures[i].name, "beta_unknown");
            else
                assert_told(&o, fixtures[i].name, "beta_unknown");
            shut(&o);
        }
    }
}

static void a_wrong_range_or_layout_is_seen(void **state)
{
    (void)state;
    opened o;
    prepare(&o, of("nhwc"));
    o.options.low = 0; /* 0 to 255 in place of -1 to 1 */
    o.options.high = 255;
    load(&o);
    audit(&o, 0);
    assert_told(&o, "0:255 for -1:1", "misread");
    shut(&o);

    prepare(&o, of("nhwc"));
    o.options.layout = IV_ONNX_NCHW;
    load(&o);
    audit(&o, 0);
    print_message("NCHW for NHWC: error %.3g of %.3g\n", o.audit.error, o.audit.mean_error);
    assert_told(&o, "NCHW for NHWC", "misread");
    shut(&o);

    prepare(&o, of("mlp"));
    o.options.low = -4;
    o.options.high = 4;
    load(&o);
    audit(&o, 0);
    assert_told(&o, "another range", "misread");
    shut(&o);

    prepare(&o, of("mlp"));
    o.options.n_channels = 1;
    o.options.mean[0] = 3;
    o.options.sd[0] = 0.2;
    load(&o);
    audit(&o, 0);
    assert_told(&o, "another mean and sd", "misread");
    shut(&o);
}

static void a_head_of_another_kind_is_seen(void **state)
{
    (void)state;
    static const struct {
        const char *name, *what;
        iv_onnx_head head;
        const char *says;
    } wrong[] = {
        {"sigma", "sigma read as logvar", IV_ONNX_HEAD_LOGVAR, "do not agree"},
        {"sigma", "sigma read as variance", IV_ONNX_HEAD_VARIANCE, "try --head sigma or logsigma"},
        {"mlp", "logvar read as variance", IV_ONNX_HEAD_VARIANCE, "0 or below"},
        {"conv", "logvar read as variance", IV_ONNX_HEAD_VARIANCE, "0 or below"},
        {"mlp", "logvar read as logsigma", IV_ONNX_HEAD_LOGSIGMA, "try --head variance or logvar"},
        {"mlp", "logvar read as sigma", IV_ONNX_HEAD_SIGMA, "0 or below"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        opened o;
        prepare(&o, of(wrong[i].name));
        o.options.head = wrong[i].head;
        load(&o);
        audit(&o, 0);
        print_message("%s: slope %.2f, r2 %.2f, spread %.2f, floor %.2f\n", wrong[i].what,
                      o.audit.width_slope, o.audit.width_r2, o.audit.beta_spread,
                      o.audit.width_floor);
        assert_told(&o, wrong[i].what, "width_kind");
        assert_non_null(strstr(told(&o, "width_kind")->text, wrong[i].says));
        shut(&o);
    }
}

static void too_little_training_is_not_called_fine(void **state)
{
    (void)state;
    opened o;
    prepare(&o, of("short"));
    load(&o);
    audit(&o, 0);
    assert_told(&o, "30 steps, beta unknown", "unsettled");
    assert_not_told(&o, "30 steps, beta unknown", "undertrained");
    shut(&o);

    prepare(&o, of("short"));
    load(&o);
    audit(&o, numbers(&o)[0]);
    assert_told(&o, "30 steps, beta known", "undertrained");
    shut(&o);
}

/* A model that is as it should be, and a beta that is not. */
static void a_wrong_beta_is_seen(void **state)
{
    (void)state;
    opened o;
    prepare(&o, of("mlp"));
    load(&o);
    audit(&o, numbers(&o)[0] / 8); /* the weight of a mean over features taken for that of a sum */
    assert_told(&o, "mean taken for sum", "wrong_beta");
    shut(&o);
}

static void other_verdicts(void **state)
{
    (void)state;
    static const char *const seen[][2] = {{"autoencoder", "plain_autoencoder"},
                                          {"constant", "sigma_unused"},
                                          {"conv", "curved"},
                                          {"collapsed", "collapsed"},
                                          {"collapsed", "beta_unknown"}};
    for (size_t i = 0; i < sizeof seen / sizeof seen[0]; i++) {
        opened o;
        prepare(&o, of(seen[i][0]));
        load(&o);
        audit(&o, 0);
        assert_told(&o, seen[i][0], seen[i][1]);
        assert_not_told(&o, seen[i][0], "undertrained"); /* with no beta nobody can tell */
        shut(&o);
    }
}

/* ---- how the files are read ---- */

static void a_sigmoid_is_cut(void **state)
{
    (void)state;
    opened o;
    prepare(&o, of("bce"));
    load(&o);
    assert_true(o.vae.sigmoid_cut);
    assert_false(o.vae.logit_of_output);
    shut(&o);
    prepare(&o, of("bce_plain"));
    load(&o);
    assert_false(o.vae.sigmoid_cut);
    assert_true(o.vae.logit_of_output);
    shut(&o);
}

static void refusals_name_the_way_out(void **state)
{
    (void)state;
    static const struct {
        const char *name, *mu, *width, *data, *says;
    } cases[] = {
        {"mlp", "nothing", "logvar", "table", "nothing"},
        {"mlp", "mu", NULL, "table", "--mu NAME --logvar NAME"},
        {"mlp", NULL, NULL, "grey", "--size"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        opened o;
        isovae_error err = {0};
        fixture f = *of(cases[i].name);
        f.data = cases[i].data;
        prepare(&o, &f);
        o.options.mu = cases[i].mu;
        o.options.width = cases[i].width;
        assert_int_not_equal(iv_onnx_vae_load(o.data, &o.options, &o.vae, &err), 0);
        assert_null(o.vae.model);
        if (strstr(err.message, cases[i].says) == NULL)
            fail_msg("'%s' is not in '%s'", cases[i].says, err.message);
        shut(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_agree_with_onnx_runtime),
        cmocka_unit_test(jacobians_agree_with_pytorch),
        cmocka_unit_test(optimality_and_errors_agree_with_python),
        cmocka_unit_test(beta_is_found),
        cmocka_unit_test(good_models_get_no_verdict),
        cmocka_unit_test(a_wrong_range_or_layout_is_seen),
        cmocka_unit_test(a_head_of_another_kind_is_seen),
        cmocka_unit_test(too_little_training_is_not_called_fine),
        cmocka_unit_test(a_wrong_beta_is_seen),
        cmocka_unit_test(other_verdicts),
        cmocka_unit_test(a_sigmoid_is_cut),
        cmocka_unit_test(refusals_name_the_way_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
