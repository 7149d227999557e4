/* Models: what the networks compute, order and sign of the latents, isometric coordinates. */
#include "support_model.h"

#include "model/eval.h"

static const char *const references[] = {"models/a_toy_random", "models/b_toy_trained",
                                         "models/c_bce_random", "ppca/beta0.8", "ppca/beta4"};

static void open_file(npz *file, const char *folder, const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_true(npz_open(file, path));
}

static double *zeros_of(size_t n)
{
    double *out = calloc(n, sizeof *out);
    assert_non_null(out);
    return out;
}

/* Encoder on x, decoder on mu. */
typedef struct passed {
    double *mu, *logvar, *out;
} passed;

static passed pass(const iv_model *model, const iv_kernels *k, const double *x, size_t rows)
{
    isovae_error err;
    iv_eval *eval;
    iv_eval_plan plan = {.rows = rows};
    size_t latents = rows * model->n;
    passed p = {zeros_of(latents), zeros_of(latents), zeros_of(rows * model->d)};
    ref_ok(iv_eval_new(model, k, &plan, &eval, &err), &err);
    k->upload(iv_eval_x(eval), x, rows * model->d);
    iv_eval_encode(eval, 0, rows / 2, 0); /* in two ranges */
    iv_eval_encode(eval, rows / 2, rows - rows / 2, 0);
    k->download(p.mu, iv_eval_mu(eval), latents);
    k->download(p.logvar, iv_eval_logvar(eval), latents);
    k->upload(iv_eval_z(eval), p.mu, latents);
    iv_eval_decode(eval, 0, rows, 0);
    k->download(p.out, iv_eval_out(eval), rows * model->d);
    iv_eval_free(eval);
    return p;
}

static void passed_free(passed *p)
{
    free(p->mu);
    free(p->logvar);
    free(p->out);
}

static void forward_of(const char *folder, const iv_model *model, const iv_kernels *k,
                       double tolerance)
{
    npz data, expected;
    open_file(&data, folder, "data.npz");
    open_file(&expected, folder, "expected.npz");
    const npz_array *x = npz_get(&data, "x");
    size_t rows = x->shape[0];
    passed p = pass(model, k, x->values, rows);
    assert_near("mu", p.mu, npz_get(&expected, "mu")->values, rows * model->n, tolerance);
    assert_near("logvar", p.logvar, npz_get(&expected, "logvar")->values, rows * model->n,
                tolerance);
    if (strncmp(folder, "models", 6) == 0) {
        bool bce = model->metric.loss == IV_LOSS_BCE;
        const npz_array *out = npz_get(&expected, bce ? "logits" : "xhat");
        assert_near("out", p.out, out->values, rows * model->d, tolerance);
    }
    passed_free(&p);
    npz_close(&data);
    npz_close(&expected);
}

static void forward(void **state)
{
    (void)state;
    const iv_kernels *f64 = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    const iv_kernels *f32 = iv_kernels_get(IV_PRECISION_F32, NULL);
    for (size_t i = 0; i < sizeof references / sizeof references[0]; i++) {
        bool linear = strncmp(references[i], "ppca", 4) == 0;
        iv_model *model;
        if (!ref_model(references[i], linear ? IV_F64 : IV_F32, &model)) skip();
        forward_of(references[i], model, f64, 1e-12);
        forward_of(references[i], model, f32, 2e-6);
        iv_model_free(model);
    }
}

/* Building by name. */

static void check_param(const iv_graph *graph, const char *name, size_t rank, size_t first,
                        size_t second)
{
    size_t i = iv_graph_find_param(graph, name);
    if (i == SIZE_MAX) fail_msg("no parameter %s", name);
    assert_int_equal(graph->params[i].shape.rank, rank);
    assert_int_equal(graph->params[i].shape.dim[0], first);
    if (rank == 2) assert_int_equal(graph->params[i].shape.dim[1], second);
    assert_int_equal(graph->params[i].offset % 16, 0);
}

static void build(void **state)
{
    (void)state;
    iv_model *model = built("mlp:7,5", 11, 3);
    assert_int_equal(model->d, 11);
    assert_int_equal(model->n, 3);
    assert_string_equal(model->arch, "mlp:7,5");
    assert_int_equal(model->encoder->n_params, 8);
    assert_int_equal(model->decoder->n_params, 6);
    check_param(model->encoder, "enc.fc1.weight", 2, 7, 11);
    check_param(model->encoder, "enc.fc2.weight", 2, 5, 7);
    check_param(model->encoder, "enc.fc2.bias", 1, 5, 0);
    check_param(model->encoder, "enc.mu.weight", 2, 3, 5);
    check_param(model->encoder, "enc.logvar.bias", 1, 3, 0);
    check_param(model->decoder, "dec.fc1.weight", 2, 5, 3);
    check_param(model->decoder, "dec.fc2.weight", 2, 7, 5);
    check_param(model->decoder, "dec.out.weight", 2, 11, 7);
    size_t offset = model->decoder->params[0].offset;
    assert_true(offset >= 7 * 11 + 7 + 5 * 7 + 5 + 2 * (3 * 5 + 3));
    assert_true(model->param_elements > offset);
    for (size_t i = 0; i < model->param_elements; i++) {
        assert_true(((const float *)model->params)[i] == 0);
    }
    iv_model_free(model);
    model = built("linear", 4, 2);
    assert_int_equal(model->encoder->n_params, 4);
    check_param(model->decoder, "dec.out.weight", 2, 4, 2);
    iv_model_free(model);

    static const char *const wrong[] = {"",
                                        "mlp",
                                        "mlp:",
                                        "mlp:0",
                                        "mlp:64,",
                                        "mlp:,64",
                                        "mlp:6x",
                                        "mlp:64 64",
                                        "mlp:-3",
                                        "mlp:65537",
                                        "mlp:99999999999999999",
                                        "linear:3",
                                        "conv",
                                        "mlp:1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        isovae_error err;
        ref_ok(iv_model_new(&model, &err), &err);
        assert_int_equal(iv_model_build(model, wrong[i], 4, 2, IV_ACT_RELU, IV_F32, &err),
                         ISOVAE_ERR_ARGUMENT);
        assert_non_null(strstr(err.message, "--arch"));
        iv_model_free(model);
    }
}

/* Latents in another order. */

static void permutation_of(const char *folder, iv_dtype dtype)
{
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    isovae_error err;
    iv_model *model;
    assert_true(ref_model(folder, dtype, &model));
    npz data;
    open_file(&data, folder, "data.npz");
    const npz_array *x = npz_get(&data, "x");
    size_t rows = x->shape[0], n = model->n, order[8];
    double sign[8];
    for (size_t j = 0; j < n; j++) {
        order[j] = (j + 2) % n;
        sign[j] = j % 2 == 0 ? -1 : 1;
        model->kl_mean[j] = (double)j;
        model->variance_y[j] = 10 + (double)j;
        model->active[j] = j == 2;
    }
    passed before = pass(model, k, x->values, rows);
    ref_ok(iv_model_permute(model, order, sign, &err), &err);
    passed after = pass(model, k, x->values, rows);
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < n; j++) {
            assert_true(after.mu[r * n + j] == sign[j] * before.mu[r * n + order[j]]);
            assert_true(after.logvar[r * n + j] == before.logvar[r * n + order[j]]);
        }
    }
    assert_near("out after permutation", after.out, before.out, rows * model->d, 1e-14);
    for (size_t j = 0; j < n; j++) {
        assert_true(model->kl_mean[j] == (double)order[j]);
        assert_true(model->variance_y[j] == 10 + (double)order[j]);
        assert_int_equal(model->active[j], order[j] == 2);
    }
    passed_free(&before);
    passed_free(&after);
    npz_close(&data);
    iv_model_free(model);
}

static void permutation(void **state)
{
    (void)state;
    iv_model *probe;
    if (!ref_model(references[0], IV_F32, &probe)) skip();
    iv_model_free(probe);
    permutation_of("models/a_toy_random", IV_F32);
    permutation_of("models/c_bce_random", IV_F64);
    permutation_of("ppca/beta0.8", IV_F64);
}

static void permutation_back(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *model = full_model(IV_F32);
    const size_t order[] = {1, 2, 0}, back[] = {2, 0, 1};
    const double sign[] = {-1, 1, -1}, sign_back[] = {-1, -1, 1};
    file_bytes before = bytes_of(model);
    double y = iv_spline_y(&model->splines[1], model->beta, 0.3);
    ref_ok(iv_model_permute(model, order, sign, &err), &err);
    assert_true(fabs(iv_spline_y(&model->splines[0], model->beta, -0.3) + y) < 1e-14);
    ref_ok(iv_model_permute(model, back, sign_back, &err), &err);
    file_bytes after = bytes_of(model);
    same_bytes(before, after);

    const size_t twice[] = {1, 1, 0}, outside[] = {0, 1, 3};
    const double half[] = {1, 0.5, 1};
    assert_int_equal(iv_model_permute(model, twice, sign, &err), ISOVAE_ERR_ARGUMENT);
    assert_int_equal(iv_model_permute(model, outside, sign, &err), ISOVAE_ERR_ARGUMENT);
    assert_int_equal(iv_model_permute(model, order, half, &err), ISOVAE_ERR_ARGUMENT);
    iv_free(before.data);
    iv_free(after.data);
    iv_model_free(model);
}

/* Heads behind a split, and a decoder that begins with an activation. */
static void permutation_unsupported(void **state)
{
    (void)state;
    isovae_error err;
    for (int with_split = 0; with_split < 2; with_split++) {
        iv_graph *encoder, *decoder;
        iv_model *model;
        iv_shape d = {.rank = 1, .dim = {4}}, n = {.rank = 1, .dim = {2}};
        size_t x, z, heads[2], h, out;
        ref_ok(iv_graph_new(&encoder, &err), &err);
        ref_ok(iv_graph_new(&decoder, &err), &err);
        ref_ok(iv_graph_input(encoder, "x", &d, &x, &err), &err);
        ref_ok(iv_graph_input(decoder, "z", &n, &z, &err), &err);
        if (with_split) {
            iv_node_spec split = {.kind = "split",
                                  .name = "split",
                                  .n_inputs = 1,
                                  .inputs = {x},
                                  .n_outputs = 2,
                                  .outputs = {"mu", "logvar"},
                                  .attributes = {.axis = 1, .n_sizes = 2, .sizes = {2, 2}}};
            ref_ok(iv_graph_node(encoder, &split, heads, &err), &err);
        } else {
            iv_node_spec mu = {.kind = "dense",
                               .name = "m",
                               .n_inputs = 1,
                               .inputs = {x},
                               .n_outputs = 1,
                               .outputs = {"mu"},
                               .units = 2};
            iv_node_spec logvar = {.kind = "dense",
                                   .name = "l",
                                   .n_inputs = 1,
                                   .inputs = {x},
                                   .n_outputs = 1,
                                   .outputs = {"logvar"},
                                   .units = 2};
            ref_ok(iv_graph_node(encoder, &mu, &heads[0], &err), &err);
            ref_ok(iv_graph_node(encoder, &logvar, &heads[1], &err), &err);
        }
        iv_node_spec act = {.kind = "silu",
                            .name = "a",
                            .n_inputs = 1,
                            .inputs = {z},
                            .n_outputs = 1,
                            .outputs = {"h"}};
        iv_node_spec last = {.kind = "dense",
                             .name = "o",
                             .n_inputs = 1,
                             .n_outputs = 1,
                             .outputs = {"out"},
                             .units = 4};
        ref_ok(iv_graph_node(decoder, &act, &h, &err), &err);
        last.inputs[0] = h;
        ref_ok(iv_graph_node(decoder, &last, &out, &err), &err);
        ref_ok(iv_graph_output(encoder, heads[0], &err), &err);
        ref_ok(iv_graph_output(encoder, heads[1], &err), &err);
        ref_ok(iv_graph_output(decoder, out, &err), &err);
        ref_ok(iv_model_new(&model, &err), &err);
        ref_ok(iv_model_set_network(model, encoder, decoder, IV_F32, &err), &err);
        const size_t order[] = {1, 0};
        const double sign[] = {1, 1};
        assert_int_equal(iv_model_permute(model, order, sign, &err), ISOVAE_ERR_UNSUPPORTED);
        assert_non_null(strstr(err.message, with_split ? "'mu'" : "'a'"));
        iv_model_free(model);
    }
}

/* Isometric coordinates. */

static void splines_of(const char *folder)
{
    isovae_error err;
    npz file;
    open_file(&file, folder, "expected.npz");
    const npz_array *mu = npz_get(&file, "mu"), *u = npz_get(&file, "spline_u");
    const double *sigma = npz_get(&file, "sigma")->values, *y = npz_get(&file, "y")->values;
    const double *g = npz_get(&file, "spline_g")->values;
    const double *knots = npz_get(&file, "spline_knots")->values;
    const double *importance = npz_get(&file, "importance_integrated")->values;
    iv_model *model;
    assert_true(ref_model(folder, IV_F32, &model));
    size_t rows = mu->shape[0], n = mu->shape[1], padded = u->shape[1];
    double *column = zeros_of(4 * rows);
    double *width = column + rows, *got = width + rows, *want = got + rows;
    for (size_t j = 0; j < n; j++) {
        iv_spline s;
        double mean = 0, square = 0, off = 0, slope = 0;
        for (size_t r = 0; r < rows; r++) {
            column[r] = mu->values[r * n + j];
            width[r] = sigma[r * n + j];
            want[r] = y[r * n + j];
        }
        ref_ok(iv_spline_fit(column, width, rows, &s, &err), &err);
        assert_true((double)s.n == knots[j]);
        assert_near("spline_u", s.u, u->values + j * padded, s.n, 1e-12);
        assert_near("spline_g", s.g, g + j * padded, s.n, 1e-12);
        for (size_t r = 0; r < rows; r++) {
            got[r] = iv_spline_y(&s, model->beta, column[r]);
            mean += got[r] / (double)rows;
            double back = iv_spline_mu(&s, model->beta, got[r]);
            assert_true(fabs(back - column[r]) < 1e-12 * (1 + fabs(column[r])));
            /* rms, with the slope of y by central differences */
            double step = 1e-6, g_here = (iv_spline_y(&s, model->beta, column[r] + step) -
                                          iv_spline_y(&s, model->beta, column[r] - step)) /
                                         (2 * step * sqrt(model->beta / 2));
            off += (1 / width[r] - g_here) * (1 / width[r] - g_here);
            slope += 1 / width[r];
        }
        for (size_t r = 0; r < rows; r++) square += (got[r] - mean) * (got[r] - mean);
        square = square / (double)rows + model->beta / 2;
        assert_near("y", got, want, rows, 1e-12);
        assert_near("importance_integrated", &square, &importance[j], 1, 1e-12);
        double rms = sqrt(off / (double)rows) / (slope / (double)rows);
        assert_true(fabs(s.rms - rms) < 1e-3 * rms + 1e-9);
        iv_spline_free(&s);
    }
    free(column);
    iv_model_free(model);
    npz_close(&file);
}

static void splines(void **state)
{
    (void)state;
    iv_model *probe;
    if (!ref_model(references[0], IV_F32, &probe)) skip();
    iv_model_free(probe);
    for (size_t i = 0; i < 3; i++) splines_of(references[i]);
}

static void spline_edges(void **state)
{
    (void)state;
    isovae_error err;
    iv_spline s;
    double u[] = {-1, 1, 1, 2}, g[] = {1, 3, 5, 5}, beta = 2; /* sqrt(beta/2) = 1 */
    s = (iv_spline){.n = 4, .u = u, .g = g};
    /* By hand: from 0 to 1 the integral of 2 + t; beyond 2 g is 5; below -1 g is 1. */
    assert_true(fabs(iv_spline_y(&s, beta, 1) - 2.5) < 1e-15);
    assert_true(fabs(iv_spline_y(&s, beta, 3) - 12.5) < 1e-14);
    assert_true(fabs(iv_spline_y(&s, beta, -1) + 1.5) < 1e-15);
    assert_true(fabs(iv_spline_y(&s, beta, -3) + 3.5) < 1e-15);
    assert_true(iv_spline_y(&s, beta, 0) == 0);
    for (double t = -4; t < 5; t += 0.0625) {
        double back = iv_spline_mu(&s, beta, iv_spline_y(&s, beta, t));
        assert_true(fabs(back - t) < 1e-13);
    }
    iv_spline_mirror(&s);
    assert_true(u[0] == -2 && u[1] == -1 && u[2] == -1 && u[3] == 1);
    assert_true(g[0] == 5 && g[1] == 5 && g[2] == 3 && g[3] == 1);
    s.n = 3;
    iv_spline_mirror(&s);
    assert_true(u[0] == 1 && u[1] == 1 && u[2] == 2 && g[0] == 3 && g[2] == 5);

    double mu[20] = {0}, sigma[20];
    for (size_t i = 0; i < 20; i++) sigma[i] = i % 2 == 0 ? 0.5 : 0.25;
    ref_ok(iv_spline_fit(mu, sigma, 20, &s, &err), &err); /* no range: one knot */
    assert_int_equal(s.n, 1);
    assert_true(fabs(s.g[0] - 3) < 1e-15);
    assert_true(fabs(s.rms - 1.0 / 3) < 1e-15);
    assert_true(fabs(iv_spline_y(&s, beta, 2) - 6) < 1e-14);
    iv_spline_free(&s);
    for (size_t i = 0; i < 19; i++) mu[i] = (double)(18 - i); /* descending; groups of 10 and 9 */
    ref_ok(iv_spline_fit(mu, sigma, 19, &s, &err), &err);
    assert_int_equal(s.n, 2);
    assert_true(fabs(s.u[0] - 4.5) < 1e-14 && fabs(s.u[1] - 14) < 1e-14);
    assert_true(fabs(s.g[0] - 3) < 1e-15 && fabs(s.g[1] - (5 * 2 + 4 * 4) / 9.0) < 1e-14);
    iv_spline_free(&s);
    assert_int_equal(iv_spline_fit(mu, sigma, 0, &s, &err), ISOVAE_ERR_ARGUMENT);
    sigma[3] = 0;
    assert_int_equal(iv_spline_fit(mu, sigma, 20, &s, &err), ISOVAE_ERR_DIVERGED);
    assert_null(s.u);
    s = (iv_spline){0}; /* not calibrated: y = sqrt(beta/2) mu */
    assert_true(iv_spline_y(&s, 8, 1.5) == 3 && iv_spline_mu(&s, 8, 3) == 1.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward),
        cmocka_unit_test(build),
        cmocka_unit_test(permutation),
        cmocka_unit_test(permutation_back),
        cmocka_unit_test(permutation_unsupported),
        cmocka_unit_test(splines),
        cmocka_unit_test(spline_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
