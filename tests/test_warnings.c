/* The report tells a good model from an undertrained, an overfitted, a folded one and one whose
 * file names a wrong beta, and does not say of the good one what it says of them. */
#include "support_fit.h"

#include "base/memory.h"
#include "base/random.h"
#include "theory/analysis.h"
#include "train/train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static iv_pool *pool;

static iv_model *fit(const iv_dataset *data, size_t n, double beta, size_t steps, double validation)
{
    isovae_error err;
    iv_fit_options options;
    iv_fit_result result;
    iv_fit_options_init(&options);
    options.latent_dim = n;
    options.beta = beta;
    options.steps = steps;
    options.validation = validation;
    options.scale = IV_SCALE_NONE;
    options.pool = pool;
    ok(iv_fit(data, &options, &result, &err), &err);
    return result.model;
}

static iv_analysis *analyse(const iv_model *model, const iv_dataset *data)
{
    isovae_error err;
    iv_analysis_options options;
    iv_analysis *analysis;
    iv_analysis_options_init(&options);
    options.pool = pool;
    options.iwae_draws = 0;
    ok(iv_analyse(model, data, &options, &analysis, &err), &err);
    for (size_t i = 0; i < analysis->n_warnings; i++) {
        const iv_warning *w = &analysis->warnings[i];
        print_message("    %s: %.4g (limit %.4g) %s\n", w->code, w->value, w->limit, w->text);
    }
    return analysis;
}

static bool says(const iv_analysis *analysis, const char *code)
{
    for (size_t i = 0; i < analysis->n_warnings; i++) {
        if (strcmp(analysis->warnings[i].code, code) == 0) return true;
    }
    return false;
}

static const char *const faults[] = {"undertrained", "overfitted", "folded", "wrong_beta"};

/* Exactly the named one of the faults (NULL: none of them). */
static void expect_fault(const iv_model *model, const iv_dataset *data, const char *fault)
{
    iv_analysis *analysis = analyse(model, data);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        bool expected = fault != NULL && strcmp(fault, faults[i]) == 0;
        if (says(analysis, faults[i]) != expected) {
            fail_msg("'%s' is %s", faults[i], expected ? "not said" : "said, and not true");
        }
    }
    iv_analysis_free(analysis);
}

static void good_models_are_left_in_peace(void **state)
{
    (void)state;
    if (short_run()) skip();
    static const char *const sets[] = {"toy:norm,n=20000", "toy:mixa,n=20000"};
    for (size_t i = 0; i < 2; i++) {
        iv_dataset *data = open_data(sets[i]), *other = open_data("toy:norm,n=4000,seed=77");
        iv_model *model = fit(data, i == 0 ? 3 : 6, 0.003, 6000, 0.1);
        expect_fault(model, data, NULL);
        if (i == 0) expect_fault(model, other, NULL);
        iv_model_free(model);
        iv_dataset_free(data);
        iv_dataset_free(other);
    }
}

static void undertrained(void **state)
{
    (void)state;
    if (short_run()) skip();
    iv_dataset *data = open_data("toy:norm,n=20000");
    iv_model *model = fit(data, 3, 0.003, 300, 0.1);
    expect_fault(model, data, "undertrained");
    iv_model_free(model);
    iv_dataset_free(data);
}

/* Gaussian rows without any structure: 200 of them can be learned by heart with 16 latents. */
static iv_dataset *noise_rows(size_t rows, uint64_t seed)
{
    enum { d = 20 };
    isovae_error err;
    iv_dataset *data;
    iv_key key = {.seed = seed, .purpose = IV_PURPOSE_TOY};
    double *x = calloc(rows * d, sizeof *x);
    assert_non_null(x);
    for (key.row = 0; key.row < rows; key.row++) iv_normals_f64(&key, d, x + key.row * d);
    ok(iv_dataset_from_rows(x, rows, d, NULL, &data, &err), &err);
    free(x);
    return data;
}

static void overfitted(void **state)
{
    (void)state;
    if (short_run()) skip();
    iv_dataset *data = noise_rows(200, 1), *other = noise_rows(4000, 2);
    iv_model *model = fit(data, 16, 0.1, 6000, 0);
    expect_fault(model, other, "overfitted");
    iv_model_free(model);
    iv_dataset_free(data);
    iv_dataset_free(other);
}

static void wrong_beta(void **state)
{
    (void)state;
    if (short_run()) skip();
    iv_dataset *data = open_data("toy:norm,n=20000");
    iv_model *model = fit(data, 3, 0.003, 6000, 0.1);
    double beta = model->beta;
    model->beta = 10 * beta;
    expect_fault(model, data, "wrong_beta");
    model->beta = beta / 10;
    expect_fault(model, data, "wrong_beta");
    model->beta = beta;
    expect_fault(model, data, NULL);
    iv_model_free(model);
    iv_dataset_free(data);
}

/* ---- folded: the encoder sees |s_1| ---- */

typedef struct shapes {
    const iv_graph *graph;
    size_t d;
} shapes;

static bool shape_of(void *user, const char *name, iv_shape *out)
{
    const shapes *s = user;
    *out = (iv_shape){.rank = 2, .dim = {2 * 3, s->d}};
    if (strcmp(name, "fold.in") == 0) return true;
    *out = (iv_shape){.rank = 2, .dim = {s->d, 2 * 3}};
    if (strcmp(name, "fold.out") == 0) return true;
    *out = (iv_shape){.rank = 1, .dim = {s->d}};
    if (strcmp(name, "fold.shift") == 0) return true;
    size_t param = iv_graph_find_param(s->graph, name);
    if (param == SIZE_MAX) return false;
    *out = s->graph->params[param].shape;
    return true;
}

static iv_graph *graph_from(const json_t *nodes, const char *input, size_t size,
                            const char *const *outputs, size_t n_outputs, const shapes *known)
{
    isovae_error err;
    iv_graph *graph;
    iv_shape shape = {.rank = 1, .dim = {size}};
    ok(iv_graph_from_json(nodes, input, &shape, outputs, n_outputs, shape_of,
                          (void *)(uintptr_t)known, &graph, &err),
       &err);
    return graph;
}

static void copy_params(const iv_model *from, const iv_graph *old, iv_model *to,
                        const iv_graph *new)
{
    for (size_t i = 0; i < old->n_params; i++) {
        const iv_param *target = &new->params[iv_graph_find_param(new, old->params[i].name)];
        memcpy((float *)to->params + target->offset,
               (const float *)from->params + old->params[i].offset, target->size * sizeof(float));
    }
}

/* The model with x -> |s_1| v_1 + s_2 v_2 + s_3 v_3 before its encoder, made of a dense node, relu
 * and another dense node; `axes` are the v_j (3 x d). */
static iv_model *fold(const iv_model *model, const double *axes)
{
    isovae_error err;
    size_t d = model->d;
    static const char *const heads[] = {"mu", "logvar"}, *const result[] = {"out"};
    shapes encoder_shapes = {.graph = model->encoder, .d = d};
    shapes decoder_shapes = {.graph = model->decoder, .d = d};
    json_t *old = iv_graph_to_json(model->encoder), *decoder = iv_graph_to_json(model->decoder);
    json_t *nodes = json_loads(
        "[{\"name\":\"fold.1\",\"kind\":\"dense\",\"inputs\":[\"x\"],\"output\":\"fold.a\","
        "\"params\":{\"weight\":\"fold.in\"}},"
        "{\"name\":\"fold.2\",\"kind\":\"relu\",\"inputs\":[\"fold.a\"],\"output\":\"fold.b\"},"
        "{\"name\":\"fold.3\",\"kind\":\"dense\",\"inputs\":[\"fold.b\"],\"output\":\"folded\","
        "\"params\":{\"weight\":\"fold.out\",\"bias\":\"fold.shift\"}}]",
        0, NULL);
    assert_non_null(nodes);
    json_array_set_new(json_object_get(json_array_get(old, 0), "inputs"), 0, json_string("folded"));
    json_array_extend(nodes, old);
    iv_model *folded;
    ok(iv_model_new(&folded, &err), &err);
    ok(iv_model_set_network(folded, graph_from(nodes, "x", d, heads, 2, &encoder_shapes),
                            graph_from(decoder, "z", model->n, result, 1, &decoder_shapes), IV_F32,
                            &err),
       &err);
    copy_params(model, model->encoder, folded, folded->encoder);
    copy_params(model, model->decoder, folded, folded->decoder);
    float *params = folded->params;
    size_t in = iv_graph_find_param(folded->encoder, "fold.in");
    size_t out = iv_graph_find_param(folded->encoder, "fold.out");
    float *w_in = params + folded->encoder->params[in].offset;
    float *w_out = params + folded->encoder->params[out].offset;
    for (size_t j = 0; j < 3; j++) {
        for (size_t i = 0; i < d; i++) {
            float v = (float)axes[j * d + i];
            w_in[(2 * j) * d + i] = v;
            w_in[(2 * j + 1) * d + i] = -v;
            w_out[i * 6 + 2 * j] = v;
            w_out[i * 6 + 2 * j + 1] = j == 0 ? v : -v; /* |s_1|; s_2, s_3 as they are */
        }
    }
    iv_scaling_free(&folded->scaling);
    ok(iv_scaling_copy(&model->scaling, &folded->scaling, &err), &err);
    /* |s_1| is meant about 0, so the data go in unshifted, and what the old network is shifted by
     * goes into the biases at both ends */
    size_t shift = iv_graph_find_param(folded->encoder, "fold.shift");
    size_t last = iv_graph_find_param(folded->decoder, "dec.out.bias");
    float *b_in = params + folded->encoder->params[shift].offset;
    float *b_out = params + folded->decoder->params[last].offset;
    for (size_t i = 0; i < d; i++) {
        float by = (float)(model->scaling.shift[i] / model->scaling.scale[i]);
        b_in[i] = -by;
        b_out[i] += by;
        folded->scaling.shift[i] = 0;
    }
    folded->metric = model->metric;
    folded->beta = model->beta;
    ok(IV_NEW(folded->names, d, "names", &err), &err);
    for (size_t i = 0; i < d; i++) ok(iv_strdup(&folded->names[i], model->names[i], &err), &err);
    json_decref(nodes);
    json_decref(old);
    json_decref(decoder);
    return folded;
}

static void folded(void **state)
{
    (void)state;
    if (short_run()) skip();
    isovae_error err;
    iv_dataset *data = open_data("toy:norm,n=20000");
    size_t d = data->cols, rows = data->rows;
    double axes[3 * 16] = {0}, square[3] = {0};
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < 3; j++) {
            double s = data->truth->factors[r * 3 + j];
            square[j] += s * s;
            for (size_t i = 0; i < d; i++) axes[j * d + i] += s * (double)data->values[r * d + i];
        }
    }
    for (size_t j = 0; j < 3; j++) {
        for (size_t i = 0; i < d; i++) axes[j * d + i] /= square[j];
    }
    double *seen = calloc(rows * d, sizeof *seen); /* what the encoder sees of each row */
    assert_non_null(seen);
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < 3; j++) {
            double s = data->truth->factors[r * 3 + j];
            for (size_t i = 0; i < d; i++)
                seen[r * d + i] += (j == 0 ? fabs(s) : s) * axes[j * d + i];
        }
    }
    iv_dataset *half;
    ok(iv_dataset_from_rows(seen, rows, d, NULL, &half, &err), &err);
    iv_model *model = fit(half, 3, 0.003, 6000, 0.1), *twisted = fold(model, axes);
    iv_analysis *analysis = analyse(twisted, data);
    assert_true(says(analysis, "folded"));
    iv_analysis_free(analysis);
    iv_model_free(model);
    iv_model_free(twisted);
    iv_dataset_free(half);
    iv_dataset_free(data);
    free(seen);
}

static int start(void **state)
{
    (void)state;
    isovae_error err;
    return iv_pool_new(&pool, 2, &err) == ISOVAE_OK ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    iv_pool_free(pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_models_are_left_in_peace),
        cmocka_unit_test(undertrained),
        cmocka_unit_test(overfitted),
        cmocka_unit_test(wrong_beta),
        cmocka_unit_test(folded),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
