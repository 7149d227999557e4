/* isovae_audit of functions: a network that isovae reads from ONNX files stands in for the
 * caller's, so an audit of the files must say the same. */
#include "base/memory.h"
#include "model/eval.h"
#include "model/live.h"
#include "onnx/vae.h"
#include "support_data.h"

#include <jansson.h>

enum { MOST = 512 };

/* The networks of a file, in doubles. */
typedef struct networks {
    iv_model *model;
    iv_eval *eval;
    size_t n, d, calls, fail_at, nan_at; /* fail_at, nan_at: number of a call; 0: none */
    unsigned state;                      /* floating-point state seen in calls */
} networks;

static int next(networks *w, double *out)
{
    unsigned state = iv_fp_enter();
    iv_fp_leave(state);
    w->state = state;
    w->calls++;
    if (w->calls == w->fail_at) return 1;
    if (w->calls == w->nan_at) out[0] = (double)NAN;
    return 0;
}

static int encode(void *user, size_t rows, const double *x, double *mu, double *logvar)
{
    networks *w = user;
    const iv_kernels *k = w->eval->k;
    assert_true(rows <= MOST);
    k->upload(iv_eval_x(w->eval), x, rows * w->d);
    iv_eval_encode(w->eval, 0, rows, 0);
    k->download(mu, iv_eval_mu(w->eval), rows * w->n);
    k->download(logvar, iv_eval_logvar(w->eval), rows * w->n);
    return next(w, mu);
}

static void at(networks *w, size_t rows, const double *z)
{
    assert_true(rows <= MOST);
    w->eval->k->upload(iv_eval_z(w->eval), z, rows * w->n);
    iv_eval_decode(w->eval, 0, rows, 0);
}

static int decode(void *user, size_t rows, const double *z, double *out)
{
    networks *w = user;
    at(w, rows, z);
    w->eval->k->download(out, iv_eval_out(w->eval), rows * w->d);
    return next(w, out);
}

static int pullback(void *user, size_t rows, const double *z, const double *g, double *out)
{
    networks *w = user;
    const iv_model *m = w->model;
    at(w, rows, z);
    w->eval->k->upload(iv_exec_gradient(w->eval->decoder, m->out), g, rows * w->d);
    iv_exec_reverse(w->eval->decoder, w->eval->params, 0, rows, true, 0);
    w->eval->k->download(out, iv_exec_gradient(w->eval->decoder, m->decoder->inputs[0]),
                         rows * w->n);
    return next(w, out);
}

static int pushforward(void *user, size_t rows, const double *z, size_t tangents, const double *v,
                       double *out)
{
    networks *w = user;
    const iv_model *m = w->model;
    const iv_kernels *k = w->eval->k;
    iv_exec *exec = w->eval->decoder;
    at(w, rows, z);
    for (size_t t = 0; t < tangents; t++) {
        k->upload(iv_exec_tangent_value(exec, m->decoder->inputs[0], 0), v + t * rows * w->n,
                  rows * w->n);
        iv_exec_tangent(exec, w->eval->params, 0, rows, 1, 0);
        k->download(out + t * rows * w->d, iv_exec_tangent_value(exec, m->out, 0), rows * w->d);
    }
    return next(w, out);
}

typedef struct opened {
    isovae_context *context;
    isovae_data *data;
    networks w;
    isovae_audit_config config;
} opened;

static void open_all(opened *o, const char *name, const char *file, const char *loss)
{
    isovae_error err = {0};
    iv_onnx_vae_options options;
    iv_onnx_vae vae;
    iv_dataset *set;
    iv_data_options data = {.header = -1};
    char encoder[100], decoder[100];
    isovae_context_config context;
    memset(o, 0, sizeof *o);
    isovae_context_config_init(&context);
    context.threads = 2;
    if (isovae_context_new(&context, &o->context, &err)) fail_msg("%s", err.message);
    if (isovae_data_open(o->context, file, NULL, NULL, &o->data, &err)) fail_msg("%s", err.message);
    if (iv_dataset_open(file, &data, &set, &err)) fail_msg("%s", err.message);
    snprintf(encoder, sizeof encoder, "tests/onnx/%s_enc.onnx", name);
    snprintf(decoder, sizeof decoder, "tests/onnx/%s_dec.onnx", name);
    iv_onnx_vae_options_init(&options);
    options.encoder = encoder;
    options.decoder = decoder;
    if (iv_metric_parse(loss, &options.metric, &err)) fail_msg("%s", err.message);
    if (iv_onnx_vae_load(set, &options, &vae, &err)) fail_msg("%s", err.message);
    iv_dataset_free(set);
    iv_eval_plan plan = {
        .rows = MOST, .decoder_reverse = true, .tangents = 1, .tangent_rows = MOST};
    o->w = (networks){.model = vae.model, .n = vae.model->n, .d = vae.model->d};
    if (iv_eval_new(vae.model, iv_kernels_get(IV_PRECISION_F32, NULL), &plan, &o->w.eval, &err))
        fail_msg("%s", err.message);
    isovae_audit_config_init(&o->config);
    o->config.latents = o->w.n;
    o->config.encode = encode;
    o->config.decode = decode;
    o->config.pullback = pullback;
    o->config.pushforward = pushforward;
    o->config.networks = &o->w;
    o->config.loss = loss;
    o->config.iwae_rows = 100;
}

static void shut(opened *o)
{
    iv_eval_free(o->w.eval);
    iv_model_free(o->w.model);
    isovae_data_free(o->data);
    isovae_context_free(o->context);
}

static json_t *json_of(isovae_report *report)
{
    isovae_error err = {0};
    char *text;
    if (isovae_report_write(report, ISOVAE_REPORT_JSON, &text, &err)) fail_msg("%s", err.message);
    json_t *json = json_loads(text, 0, NULL);
    isovae_string_free(text);
    assert_non_null(json);
    return json;
}

static json_t *audited(opened *o, const isovae_audit_config *config)
{
    isovae_error err = {0};
    isovae_report *report;
    if (isovae_audit(o->context, o->data, config, &report, &err)) fail_msg("%s", err.message);
    json_t *json = json_of(report);
    for (int form = ISOVAE_REPORT_TEXT; form <= ISOVAE_REPORT_HTML; form++) {
        char *text;
        if (isovae_report_write(report, (isovae_report_form)form, &text, &err))
            fail_msg("%s", err.message);
        isovae_string_free(text);
    }
    isovae_report_free(report);
    return json;
}

static void near(const char *what, json_t *a, json_t *b)
{
    if (json_is_null(a) && json_is_null(b)) return;
    double x = json_number_value(a), y = json_number_value(b);
    if (!(fabs(x - y) <= 1e-4 * fabs(y) + 1e-7)) fail_msg("%s: %.9g live, %.9g file", what, x, y);
}

static void functions_say_what_files_say(void **state)
{
    (void)state;
    static const struct {
        const char *name, *data, *loss;
    } all[] = {{"mlp", "tests/onnx/table.npy", "sse"}};
    static const char *const numbers[] = {"optimality_mean", "norm_mean",         "importance",
                                          "variance_y",      "stationarity_mean", "kl_nats"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        opened o;
        open_all(&o, all[i].name, all[i].data, all[i].loss);
        isovae_audit_config files;
        isovae_audit_config_init(&files);
        files.encoder = "tests/onnx/mlp_enc.onnx";
        files.decoder = "tests/onnx/mlp_dec.onnx";
        files.iwae_rows = 100;
        for (int known = 0; known < 2; known++) {
            files.beta = o.config.beta = known ? 0.05 : (double)NAN;
            files.loss_scale = o.config.loss_scale = "mean";
            json_t *live = audited(&o, &o.config), *file = audited(&o, &files);
            near("beta", json_object_get(live, "beta"), json_object_get(file, "beta"));
            near("elbo", json_object_get(live, "elbo_nats"), json_object_get(file, "elbo_nats"));
            json_t *a = json_object_get(live, "latents"), *b = json_object_get(file, "latents");
            assert_int_equal(json_array_size(a), o.w.n);
            for (size_t j = 0; j < o.w.n; j++)
                for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++)
                    near(numbers[k], json_object_get(json_array_get(a, j), numbers[k]),
                         json_object_get(json_array_get(b, j), numbers[k]));
            if (known)
                assert_true(fabs(json_number_value(json_object_get(live, "beta")) - 0.4) < 1e-12);
            json_decref(live);
            json_decref(file);
        }
        unsigned host = iv_fp_enter();
        iv_fp_leave(host);
        assert_int_equal(o.w.state & ~0x3fu, host & ~0x3fu); /* status flags aside */
        shut(&o);
    }
}

static void refuse(opened *o, isovae_status status, const char *text)
{
    isovae_error err = {0};
    isovae_report *report;
    isovae_status got = isovae_audit(o->context, o->data, &o->config, &report, &err);
    if (got != status || strstr(err.message, text) == NULL)
        fail_msg("status %d, '%s', where '%s' was expected", (int)got, err.message, text);
    assert_null(report);
}

static void a_failed_function_ends_the_audit(void **state)
{
    (void)state;
    opened o;
    open_all(&o, "mlp", "tests/onnx/table.npy", "sse");
    json_decref(audited(&o, &o.config));
    size_t all = o.w.calls;
    for (size_t i = 1; i < all / 2; i += 1 + i / 3) { /* each stage of the audit, and beyond */
        o.w.calls = 0;
        o.w.fail_at = i;
        refuse(&o, ISOVAE_ERR_DATA, "the caller's function failed");
        assert_int_equal(o.w.calls, i); /* none is called after it */
        o.w.calls = o.w.fail_at = 0;
        o.w.nan_at = i;
        refuse(&o, ISOVAE_ERR_DATA, "not finite");
        assert_int_equal(o.w.calls, i);
        o.w.nan_at = 0;
    }
    shut(&o);
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    opened o;
    open_all(&o, "mlp", "tests/onnx/table.npy", "sse");
    o.config.pullback = NULL;
    refuse(&o, ISOVAE_ERR_ARGUMENT, "pullback");
    o.config.pullback = pullback;
    o.config.latents = 0;
    refuse(&o, ISOVAE_ERR_ARGUMENT, "latents");
    o.config.latents = o.w.n;
    o.config.encoder = "tests/onnx/mlp_enc.onnx";
    refuse(&o, ISOVAE_ERR_ARGUMENT, "files or functions");
    o.config.encoder = NULL;
    o.config.means_only = 1;
    refuse(&o, ISOVAE_ERR_ARGUMENT, "means_only");
    o.config.means_only = 0;
    o.config.loss = "student";
    refuse(&o, ISOVAE_ERR_ARGUMENT, "student");
    o.config.loss = "sse";
    o.config.beta = 1;
    o.config.loss_scale = "average";
    refuse(&o, ISOVAE_ERR_ARGUMENT, "loss-scale");
    o.config.loss_scale = NULL;
    o.config.kl_scale = "average";
    refuse(&o, ISOVAE_ERR_ARGUMENT, "kl-scale");
    o.config.kl_scale = NULL;
    o.config.beta = -1;
    refuse(&o, ISOVAE_ERR_ARGUMENT, "beta");
    o.config.beta = (double)NAN;
    o.config.encode = NULL;
    refuse(&o, ISOVAE_ERR_ARGUMENT, "needs networks");
    o.config.encoder = "tests/onnx/absent.onnx";
    refuse(&o, ISOVAE_ERR_IO, "absent.onnx");
    o.config.encoder = "tests/onnx/mlp_enc.onnx";
    o.config.head = "width";
    refuse(&o, ISOVAE_ERR_ARGUMENT, "head");
    shut(&o);
}

static void a_live_node_is_in_no_file(void **state)
{
    (void)state;
    isovae_error err = {0};
    iv_graph *graph = NULL;
    static const char *const outputs[] = {"out"};
    iv_shape shape = {1, {3}};
    json_t *nodes = json_loads(
        "[{\"name\": \"a\", \"kind\": \"live\", \"inputs\": [\"z\"], \"output\": \"out\"}]", 0,
        NULL);
    assert_non_null(nodes);
    assert_int_equal(iv_graph_from_json(nodes, "z", &shape, outputs, 1, NULL, NULL, &graph, &err),
                     ISOVAE_ERR_FORMAT);
    assert_non_null(strstr(err.message, "no file"));
    json_decref(nodes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_say_what_files_say),
        cmocka_unit_test(a_failed_function_ends_the_audit),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(a_live_node_is_in_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
