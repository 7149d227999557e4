/* Models without their collapsed latents: the same outputs, the same of all else. */
#include "support_model.h"

#include "model/eval.h"
#include "theory/prune.h"

enum { ROWS = 7 };

static double *number(iv_model *model, const iv_graph *graph, const char *name, size_t at)
{
    size_t param = iv_graph_find_param(graph, name);
    assert_true(param != SIZE_MAX && at < graph->params[param].size);
    return (double *)model->params + graph->params[param].offset + at;
}

/* Latent 1 of 3 has mu 0.37 for every row. */
static iv_model *collapsed(void)
{
    iv_model *model = full_model(IV_F64);
    const iv_graph *e = model->encoder;
    size_t width = e->params[iv_graph_find_param(e, "enc.mu.weight")].shape.dim[1];
    for (size_t i = 0; i < width; i++) *number(model, e, "enc.mu.weight", width + i) = 0;
    *number(model, e, "enc.mu.bias", 1) = 0.37;
    return model;
}

/* mu, logvar (ROWS x n) and Dec(mu) (ROWS x d). */
static void pass(const iv_model *model, double *mu, double *logvar, double *out)
{
    isovae_error err;
    iv_eval *eval;
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    double x[ROWS * 6];
    for (size_t i = 0; i < ROWS * 6; i++) x[i] = wave(i);
    ref_ok(iv_eval_new(model, k, &(iv_eval_plan){.rows = ROWS}, &eval, &err), &err);
    k->upload(iv_eval_x(eval), x, ROWS * model->d);
    iv_eval_encode(eval, 0, ROWS, 0);
    k->download(mu, iv_eval_mu(eval), ROWS * model->n);
    k->download(logvar, iv_eval_logvar(eval), ROWS * model->n);
    k->upload(iv_eval_z(eval), mu, ROWS * model->n);
    iv_eval_decode(eval, 0, ROWS, 0);
    k->download(out, iv_eval_out(eval), ROWS * model->d);
    iv_eval_free(eval);
}

static void outputs_stay(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *model = collapsed(), *small;
    const unsigned char keep[3] = {1, 0, 1};
    const double mean[3] = {9, 0.37, 9}; /* of those that stay, it does not count */
    ref_ok(iv_model_prune(model, keep, mean, &small, &err), &err);
    assert_true(small->n == 2 && small->d == model->d);
    assert_true(small->param_elements <=
                model->param_elements); /* layers begin at multiples of 16 */
    double mu[2][ROWS * 3], logvar[2][ROWS * 3], out[2][ROWS * 6];
    pass(model, mu[0], logvar[0], out[0]);
    pass(small, mu[1], logvar[1], out[1]);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t j = 0; j < 2; j++) {
            assert_true(mu[1][2 * r + j] == mu[0][3 * r + 2 * j]);
            assert_true(logvar[1][2 * r + j] == logvar[0][3 * r + 2 * j]);
        }
    }
    for (size_t i = 0; i < ROWS * 6; i++) assert_true(fabs(out[1][i] - out[0][i]) < 1e-14);
    iv_model_free(small);

    const double wrong[3] = {0, 0, 0}; /* the mean matters */
    ref_ok(iv_model_prune(model, keep, wrong, &small, &err), &err);
    pass(small, mu[1], logvar[1], out[1]);
    double most = 0;
    for (size_t i = 0; i < ROWS * 6; i++) most = fmax(most, fabs(out[1][i] - out[0][i]));
    assert_true(most > 1e-3);
    iv_model_free(small);
    iv_model_free(model);
}

static void what_is_known_moves_along(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *model = collapsed(), *small, *read;
    const unsigned char keep[3] = {1, 0, 1};
    const double mean[3] = {0, 0.37, 0};
    ref_ok(iv_model_prune(model, keep, mean, &small, &err), &err);
    for (size_t j = 0; j < 2; j++) {
        assert_true(small->active[j] == 1);
        assert_true(small->kl_mean[j] == model->kl_mean[2 * j]);
        assert_true(small->variance_y[j] == model->variance_y[2 * j]);
        assert_true(small->splines[j].n == model->splines[2 * j].n);
        assert_true(small->splines[j].u[0] == model->splines[2 * j].u[0]);
    }
    assert_true(small->beta == model->beta && small->n_quantiles == model->n_quantiles);
    assert_string_equal(small->names[3], model->names[3]);
    assert_string_equal(small->arch, model->arch);
    unsigned char *bytes;
    size_t length;
    ref_ok(iv_model_write(small, NULL, 0, NULL, &bytes, &length, &err), &err);
    ref_ok(iv_model_read(bytes, length, "small", &read, NULL, &err), &err);
    assert_true(read->n == 2);
    iv_free(bytes);
    iv_model_free(read);
    iv_model_free(small);
    iv_model_free(model);
}

static void all_and_none(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *model = collapsed(), *same;
    const unsigned char all[3] = {1, 1, 1}, none[3] = {0, 0, 0};
    const double mean[3] = {0, 0, 0};
    double mu[2][ROWS * 3], logvar[2][ROWS * 3], out[2][ROWS * 6];
    ref_ok(iv_model_prune(model, all, mean, &same, &err), &err);
    pass(model, mu[0], logvar[0], out[0]);
    pass(same, mu[1], logvar[1], out[1]);
    assert_memory_equal(out[0], out[1], sizeof out[0]);
    iv_model_free(same);
    assert_int_equal(iv_model_prune(model, none, mean, &same, &err), ISOVAE_ERR_DATA);
    assert_null(same);
    iv_model_free(model);
}

/* A decoder whose first layer has no bias gets one; convolutions behind it do not mind. */
static void other_networks(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *model = built("linear", 6, 3), *small;
    ref_identity_scaling(model);
    const iv_graph *e = model->encoder;
    float *p = model->params;
    for (size_t i = 0; i < model->param_elements; i++) p[i] = (float)wave(i);
    size_t mu = iv_graph_find_param(e, "enc.mu.weight"),
           bias = iv_graph_find_param(e, "enc.mu.bias");
    for (size_t i = 0; i < 6; i++) p[e->params[mu].offset + i] = 0;
    p[e->params[bias].offset] = -2;
    const unsigned char keep[3] = {0, 1, 1};
    const double mean[3] = {-2, 0, 0};
    double code[2][ROWS * 3], logvar[2][ROWS * 3], out[2][ROWS * 6];
    ref_ok(iv_model_prune(model, keep, mean, &small, &err), &err);
    pass(model, code[0], logvar[0], out[0]);
    pass(small, code[1], logvar[1], out[1]);
    for (size_t i = 0; i < ROWS * 6; i++) assert_true(fabs(out[1][i] - out[0][i]) < 1e-5);
    iv_model_free(small);
    iv_model_free(model);
}

static void what_cannot_be(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *model = collapsed(), *other = collapsed(), *small;
    const unsigned char keep[3] = {1, 0, 1};
    const double mean[3] = {0, 0, 0};
    ref_ok(iv_model_join(model, &other, 1, &err), &err);
    assert_int_equal(iv_model_prune(model, keep, mean, &small, &err), ISOVAE_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "ensemble"));
    iv_model_free(model);
}

/* The change on rows is that of the outputs, and the means are those of the rows. */
static void change_is_measured(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *model = collapsed();
    iv_dataset *data;
    iv_data_options options;
    iv_data_options_init(&options);
    ref_ok(iv_dataset_open("toy:norm,n=300", &options, &data, &err), &err);
    iv_pruned pruned;
    assert_int_equal(iv_prune(model, data, NULL, NULL, &pruned, &err),
                     ISOVAE_ERR_DATA); /* 16 columns */
    iv_dataset_free(data);
    double values[50 * 6];
    for (size_t i = 0; i < 50 * 6; i++) values[i] = wave(i);
    ref_ok(iv_dataset_from_rows(values, 50, 6, NULL, &data, &err), &err);
    ref_ok(iv_prune(model, data, NULL, NULL, &pruned, &err), &err);
    assert_true(pruned.rows == 50 && pruned.latents == 3 && pruned.kept == 2);
    assert_true(pruned.change_rms < 1e-6 && pruned.change_most < 1e-5);
    assert_true(pruned.output_sd > 0.01);
    iv_model_free(pruned.model);
    ref_ok(iv_prune(model, NULL, NULL, NULL, &pruned, &err),
           &err); /* the mean of the knots is another */
    assert_true(pruned.rows == 0 && isnan(pruned.change_rms));
    iv_model_free(pruned.model);
    iv_dataset_free(data);
    iv_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_stay),   cmocka_unit_test(what_is_known_moves_along),
        cmocka_unit_test(all_and_none),   cmocka_unit_test(other_networks),
        cmocka_unit_test(what_cannot_be), cmocka_unit_test(change_is_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
