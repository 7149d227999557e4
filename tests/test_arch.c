/* Networks for pictures, and networks from drafts: sizes, the order of channels, gradients, starts,
 * threads, files; drafts that are wrong; transpose. */
#include "support_graph.h"
#include "support_model.h"

#include "base/pool.h"
#include "base/random.h"
#include "data/dataset.h"
#include "model/arch.h"
#include "model/eval.h"
#include "model/objective.h"
#include "train/train.h"
#include "train/trainer.h"

#include <unistd.h>

static const char *const presets[] = {"conv64", "conv-small"};

static iv_model *planned(const char *arch, const iv_model_plan *plan)
{
    isovae_error err;
    iv_model *model;
    ref_ok(iv_model_new(&model, &err), &err);
    ref_ok(iv_model_build_plan(model, arch, plan, &err), &err);
    ref_identity_scaling(model);
    model->height = plan->image.height;
    model->width = plan->image.width;
    model->channels = plan->image.channels;
    return model;
}

static iv_model_plan plan_of(iv_arch_image image, size_t n, const char *draft, iv_dtype dtype)
{
    return (iv_model_plan){.d = image.height * image.width * image.channels,
                           .n = n,
                           .act = IV_ACT_SILU,
                           .dtype = dtype,
                           .image = image,
                           .draft = draft};
}

static size_t parameters_of(const iv_model *model)
{
    size_t sum = 0;
    for (size_t i = 0; i < model->encoder->n_params; i++)
        if (!model->encoder->params[i].buffer) sum += model->encoder->params[i].size;
    for (size_t i = 0; i < model->decoder->n_params; i++)
        if (!model->decoder->params[i].buffer) sum += model->decoder->params[i].size;
    return sum;
}

/* Runs a graph on random rows, as training does; every value must vary, and stay of a size that
 * further layers can work with. */
static void check_spread(const iv_model *model, const iv_graph *graph, const char *what)
{
    enum { ROWS = 4 };
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F32, NULL);
    isovae_error err;
    iv_exec *exec;
    void *params;
    iv_exec_plan plan = {.rows = ROWS, .reverse = true, .training = true};
    ref_ok(iv_exec_new(graph, k, &plan, &exec, &err), &err);
    ref_ok(k->alloc(&params, model->param_elements, "parameters", &err), &err);
    k->upload_f32(params, model->params, model->param_elements);
    size_t size = ROWS * graph->values[graph->inputs[0]].size;
    double *x = noises(size, 3);
    k->upload(iv_exec_value(exec, graph->inputs[0]), x, size);
    iv_exec_prepare_all(exec, params);
    iv_exec_forward(exec, params, 0, ROWS, 0);
    for (size_t v = 0; v < graph->n_values; v++) {
        size = ROWS * graph->values[v].size;
        double *y = download(k, iv_exec_value(exec, v), size), sum = 0, squares = 0;
        for (size_t i = 0; i < size; i++) {
            sum += y[i];
            squares += y[i] * y[i];
        }
        double mean = sum / (double)size, variance = squares / (double)size - mean * mean;
        if (!(variance > 1e-6 && variance < 10))
            fail_msg("%s: '%s' has variance %g", what, graph->values[v].name, variance);
        free(y);
    }
    free(x);
    k->release(params);
    iv_exec_free(exec);
}

static void presets_fit_pictures_of_any_size(void **state)
{
    (void)state;
    static const iv_arch_image images[] = {{28, 28, 1}, {64, 64, 3}, {45, 37, 3}, {5, 4, 1},
                                           {1, 1, 1},   {32, 20, 1}, {2, 9, 2},   {3, 200, 4}};
    isovae_error err;
    for (size_t p = 0; p < 2; p++) {
        for (size_t i = 0; i < sizeof images / sizeof images[0]; i++) {
            char what[64];
            iv_model_plan plan = plan_of(images[i], 4, NULL, IV_F32);
            (void)snprintf(what, sizeof what, "%s at %zux%zux%zu", presets[p], images[i].height,
                           images[i].width, images[i].channels);
            iv_model *model = planned(presets[p], &plan);
            assert_int_equal(model->d, plan.d);
            assert_int_equal(model->n, 4);
            assert_int_equal(model->encoder->values[model->mu].size, 4);
            assert_int_equal(model->encoder->values[model->logvar].size, 4);
            assert_int_equal(model->decoder->values[model->out].size, plan.d);
            assert_string_equal(model->arch, presets[p]);
            ref_ok(iv_start_weights(model, 5, IV_INIT_DEFAULT, &err), &err);
            /* the one pixel of a lone random row may vary as little as it likes */
            if (plan.d > 1) {
                check_spread(model, model->encoder, what);
                check_spread(model, model->decoder, what);
            }
            iv_model_free(model);
        }
    }
}

static void parameters_are_counted_by_hand(void **state)
{
    (void)state;
    iv_model_plan plan = plan_of((iv_arch_image){64, 64, 3}, 256, NULL, IV_F32);
    iv_model *model = planned("conv64", &plan);
    size_t convs = 3 * (5 * 5 * 64 * 64 + 64), gdns = 4 * (64 * 64 + 64), features = 64 * 4 * 4;
    size_t encoder =
        9 * 9 * 3 * 64 + 64 + convs + gdns + (features * 8192 + 8192) + 2 * (8192 * 256 + 256);
    size_t decoder =
        (256 * 8192 + 8192) + (8192 * features + features) + convs + gdns + 9 * 9 * 64 * 3 + 3;
    assert_int_equal(parameters_of(model), encoder + decoder);
    assert_in_range(encoder + decoder, 23700000, 24000000);
    iv_model_free(model);

    plan = plan_of((iv_arch_image){28, 28, 1}, 10, NULL, IV_F32); /* 28, 14, 7, 3 */
    model = planned("conv-small", &plan);
    convs = 4 * 4 * (32 + 32 * 64 + 64 * 128);
    size_t norms = 2 * (32 + 64 + 128), deepest = 128 * 3 * 3;
    encoder = convs + norms + 2 * (deepest * 10 + 10);
    decoder = deepest * 10 + deepest + convs + norms + 1;
    assert_int_equal(parameters_of(model), encoder + decoder);
    iv_model_free(model);
}

#define DRAFT(pictures, encoder, decoder)                                                          \
    "{\"format\": \"isovae-arch/1\", \"pictures\": " pictures ", \"encoder\": [" encoder           \
    "], \"decoder\": [" decoder "]}"
#define NODE(name, kind, input, output, rest)                                                      \
    "{\"name\": \"" name "\", \"kind\": \"" kind "\", \"inputs\": [\"" input                       \
    "\"], \"output\": \"" output "\"" rest "}"
#define LATENTS ", \"units\": \"latents\""
#define FEATURES ", \"units\": \"features\""
#define HEADS(from)                                                                                \
    NODE("m", "dense", from, "mu", LATENTS) ", " NODE("l", "dense", from, "logvar", LATENTS)

static void set_param(iv_model *model, const iv_graph *graph, const char *name,
                      const double *values)
{
    size_t i = iv_graph_find_param(graph, name);
    assert_true(i != SIZE_MAX);
    memcpy((double *)model->params + graph->params[i].offset, values,
           graph->params[i].size * sizeof *values);
}

/* mu of one row, and what the decoder makes of z (NULL: of mu). Both in f64. */
static void run_row(const iv_model *model, const double *x, const double *z, double *mu,
                    double *out)
{
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    isovae_error err;
    iv_eval *eval;
    iv_eval_plan plan = {.rows = 1};
    ref_ok(iv_eval_new(model, k, &plan, &eval, &err), &err);
    k->upload(iv_eval_x(eval), x, model->d);
    iv_eval_encode(eval, 0, 1, 0);
    k->download(mu, iv_eval_mu(eval), model->n);
    k->upload(iv_eval_z(eval), z == NULL ? mu : z, model->n);
    iv_eval_decode(eval, 0, 1, 0);
    k->download(out, iv_eval_out(eval), model->d);
    iv_eval_free(eval);
}

static void channels_keep_their_order(void **state)
{
    (void)state;
    static const char through[] = DRAFT(
        "true",
        NODE("f", "flatten", "image", "mu", "") ", " NODE("g", "flatten", "image", "logvar", ""),
        NODE("r", "reshape", "z", "image", ", \"attributes\": {\"shape\": [3, 2, 4]}"));
    static const char one_channel[] = DRAFT(
        "true",
        NODE("f", "flatten", "image", "mu", "") ", " NODE("g", "flatten", "image", "logvar", ""),
        NODE("r", "reshape", "z", "image", ", \"attributes\": {\"shape\": [1, 6, 4]}"));
    static const char pick[] = DRAFT(
        "true",
        NODE("c", "conv", "image", "c1",
             ", \"units\": 1, \"kernel\": 1, \"bias\": false") ", " NODE("f", "flatten", "c1", "mu",
                                                                         "") ", " NODE("g",
                                                                                       "flatten",
                                                                                       "c1",
                                                                                       "logvar",
                                                                                       ""),
        NODE("r", "reshape", "z", "z1", ", \"attributes\": {\"shape\": [1, 2, 4]}") ", " NODE(
            "d", "conv", "z1", "image", ", \"units\": 3, \"kernel\": [1, 1]"));
    enum { H = 2, W = 4, C = 3, D = H * W * C };
    double x[D], mu[D], out[D];
    for (size_t i = 0; i < D; i++) x[i] = (double)i + 1;

    iv_model_plan plan = plan_of((iv_arch_image){H, W, C}, D, through, IV_F64);
    iv_model *model = planned("t.json", &plan);
    run_row(model, x, NULL, mu, out);
    for (size_t c = 0; c < C; c++)
        for (size_t p = 0; p < H * W; p++) assert_true(mu[c * H * W + p] == x[p * C + c]);
    assert_memory_equal(out, x, sizeof x);
    iv_model_free(model);

    plan = plan_of((iv_arch_image){6, 4, 1}, D, one_channel, IV_F64);
    model = planned("t.json", &plan);
    run_row(model, x, NULL, mu, out);
    assert_memory_equal(mu, x, sizeof x);
    assert_memory_equal(out, x, sizeof x);
    iv_model_free(model);

    plan = plan_of((iv_arch_image){H, W, C}, H * W, pick, IV_F64);
    model = planned("t.json", &plan);
    set_param(model, model->encoder, "c.weight", (double[]){0, 1, 0});
    set_param(model, model->decoder, "d.weight", (double[]){10, 0, 1000});
    set_param(model, model->decoder, "d.bias", (double[]){0, 7, 0});
    run_row(model, x, NULL, mu, out);
    for (size_t p = 0; p < H * W; p++) {
        assert_true(mu[p] == x[p * C + 1]);
        assert_true(out[p * C] == 10 * mu[p] && out[p * C + 1] == 7 &&
                    out[p * C + 2] == 1000 * mu[p]);
    }
    iv_model_free(model);
}

/* A small network with most of what pictures need, a residual sum and a shared weight among it. */
static const char mixed_draft[] = DRAFT(
    "true",
    NODE("c1", "conv", "image", "a1", ", \"units\": 4, \"kernel\": 3, \"attributes\": {\"stride\": 2, \"pads\": 1}") ", " NODE(
        "g1", "gdn", "a1", "a2",
        "") ", " NODE("c2", "conv", "a2", "a3",
                      ", \"units\": 4, \"kernel\": 3, \"attributes\": "
                      "{\"pads\": 1, \"activation\": "
                      "\"silu\"}") ", "
                                   "{\"name\": \"s\", \"kind\": \"add\", "
                                   "\"inputs\": [\"a2\", \"a3\"], "
                                   "\"output\": \"a4\"}, " NODE(
                                       "t", "transpose", "a4", "a5",
                                       ", \"attributes\": {\"perm\": [2, "
                                       "3, 1]}") ", " NODE("f", "flatten", "a5", "a6",
                                                           "") ", " HEADS("a6"),
    NODE("d1", "dense", "z", "b1", ", \"units\": 36, \"attributes\": {\"activation\": \"tanh\"}") ", " NODE("r", "reshape", "b1", "b2", ", \"attributes\": {\"shape\": [4, 3, 3]}") ", " NODE(
        "n", "batch_norm", "b2", "b3",
        "") ", " NODE("e1", "conv", "b3", "b4",
                      ", \"units\": 4, \"kernel\": 3, \"attributes\": {\"pads\": 1}, \"params\": "
                      "{\"weight\": "
                      "\"both\"}") ", " NODE("e2", "conv", "b4", "b5",
                                             ", \"attributes\": {\"pads\": 1}, \"params\": "
                                             "{\"weight\": \"both\"}") ", " NODE("g2",
                                                                                 "gdn_inverse",
                                                                                 "b5", "b6",
                                                                                 "") ", " NODE("u",
                                                                                               "con"
                                                                                               "v_"
                                                                                               "tra"
                                                                                               "nsp"
                                                                                               "os"
                                                                                               "e",
                                                                                               "b6",
                                                                                               "ima"
                                                                                               "ge",
                                                                                               ", "
                                                                                               "\"u"
                                                                                               "nit"
                                                                                               "s\""
                                                                                               ": "
                                                                                               "2, "
                                                                                               "\"k"
                                                                                               "ern"
                                                                                               "el"
                                                                                               "\":"
                                                                                               " 3,"
                                                                                               " \""
                                                                                               "att"
                                                                                               "rib"
                                                                                               "ute"
                                                                                               "s\""
                                                                                               ": "
                                                                                               "{\""
                                                                                               "str"
                                                                                               "ide"
                                                                                               "\":"
                                                                                               " 2,"
                                                                                               " \""
                                                                                               "pad"
                                                                                               "s\""
                                                                                               ": "
                                                                                               "1, "
                                                                                               "\"o"
                                                                                               "utp"
                                                                                               "ut_"
                                                                                               "pad"
                                                                                               "din"
                                                                                               "g\""
                                                                                               ": "
                                                                                               "[0,"
                                                                                               " 1]"
                                                                                               "}"));
enum { MIX_H = 5, MIX_W = 6, MIX_C = 2, MIX_N = 3 };

static iv_model *mixed_model(iv_dtype dtype)
{
    isovae_error err;
    iv_model_plan plan = plan_of((iv_arch_image){MIX_H, MIX_W, MIX_C}, MIX_N, mixed_draft, dtype);
    iv_model *model = planned("mixed.json", &plan);
    ref_ok(iv_metric_parse("sse", &model->metric, &err), &err);
    ref_ok(iv_start_weights(model, 3, IV_INIT_DEFAULT, &err), &err);
    return model;
}

typedef struct fixed_batch {
    const iv_kernels *k;
    const double *x, *eps;
    size_t d, n;
} fixed_batch;

static void fill_fixed(void *user, size_t first, size_t count, void *x, void *eps, size_t stride)
{
    const fixed_batch *b = user;
    (void)stride;
    b->k->upload(x, b->x + first * b->d, count * b->d);
    b->k->upload(eps, b->eps + first * b->n, count * b->n);
}

static void check_differences(const iv_model *model, iv_objective_kind kind, size_t rows)
{
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    isovae_error err;
    iv_objective *objective;
    iv_objective_config config = {
        .kind = kind, .rows = rows, .draws = 1, .gradient = true, .training = true};
    void *at, *grads;
    size_t size = model->param_elements;
    ref_ok(iv_objective_new(model, k, &config, &objective, &err), &err);
    ref_ok(k->alloc(&at, size, "parameters", &err), &err);
    ref_ok(k->alloc(&grads, size, "gradients", &err), &err);
    double *x = noises(rows * model->d, 9), *eps = noises(rows * model->n, 10);
    fixed_batch batch = {.k = k, .x = x, .eps = eps, .d = model->d, .n = model->n};
    iv_objective_call call = {.rows = rows,
                              .distortion_weight = 1.3,
                              .kl_weight = 0.7,
                              .fill = fill_fixed,
                              .user = &batch};
    iv_objective_means means;
    k->upload(at, model->params, size);
    iv_objective_gradient(objective, at, grads, &call, &means);
    double *gradient = download(k, grads, size), *moved = numbers(size);
    for (uint64_t direction = 0; direction < 3; direction++) {
        const double step = 1e-6;
        double slope = 0, sum = 0, loss[2];
        double *way = noises(model->trained_elements, 20 + direction);
        for (size_t i = 0; i < model->trained_elements; i++) {
            slope += gradient[i] * way[i];
            sum += fabs(gradient[i] * way[i]);
        }
        for (size_t side = 0; side < 2; side++) {
            memcpy(moved, model->params, size * sizeof *moved);
            for (size_t i = 0; i < model->trained_elements; i++)
                moved[i] += (side == 0 ? step : -step) * way[i];
            k->upload(at, moved, size);
            iv_objective_value(objective, at, false, &call, &means);
            loss[side] = means.loss;
        }
        double difference = (loss[0] - loss[1]) / (2 * step);
        if (!(sum > 0 && fabs(difference - slope) <= 1e-7 * sum))
            fail_msg("objective %d: slope %.12g, difference %.12g", (int)kind, slope, difference);
        free(way);
    }
    free(gradient);
    free(moved);
    free(x);
    free(eps);
    k->release(at);
    k->release(grads);
    iv_objective_free(objective);
}

static void gradient_is_the_difference(void **state)
{
    (void)state;
    iv_model *model = mixed_model(IV_F64);
    size_t both = iv_graph_find_param(model->decoder, "both");
    assert_true(both != SIZE_MAX);
    assert_int_equal(iv_graph_find_param(model->decoder, "e2.weight"), SIZE_MAX);
    assert_true(iv_graph_find_param(model->decoder, "e2.bias") != SIZE_MAX);
    check_differences(model, IV_OBJECTIVE_CONVENTIONAL, 5);
    check_differences(model, IV_OBJECTIVE_DECOMPOSED, 5);
    iv_model_free(model);
}

/* 60 pictures of 9 x 8 in an IDX file. */
static iv_dataset *pictures(char *path)
{
    enum { N = 60, H = 9, W = 8 };
    static unsigned char bytes[16 + N * H * W] = {0, 0, 8, 3, 0, 0, 0, N, 0, 0, 0, H, 0, 0, 0, W};
    uint64_t seed = 1;
    for (size_t i = 0; i < N; i++) {
        double a = noise(&seed), b = noise(&seed);
        for (size_t p = 0; p < H * W; p++)
            bytes[16 + i * H * W + p] =
                (unsigned char)(127 + 60 * a * sin((double)(p % W)) + 60 * b * cos((double)p / W));
    }
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, bytes, sizeof bytes), sizeof bytes);
    close(file);
    isovae_error err;
    iv_data_options options;
    iv_dataset *data;
    iv_data_options_init(&options);
    ref_ok(iv_dataset_open(path, &options, &data, &err), &err);
    assert_int_equal(data->height, H);
    return data;
}

static void threads_give_the_same_bytes(void **state)
{
    (void)state;
    static const size_t threads[] = {1, 2, 4};
    char path[] = "/tmp/isovae-test-XXXXXX";
    isovae_error err;
    iv_dataset *data = pictures(path);
    file_bytes first = {0};
    for (size_t i = 0; i < 3; i++) {
        iv_fit_options options;
        iv_fit_options_init(&options);
        options.latent_dim = 3;
        options.arch = "conv-small";
        options.steps = 40; /* the running statistics have to arrive */
        options.batch_size = 21;
        ref_ok(iv_pool_new(&options.pool, threads[i], &err), &err);
        iv_fit_result result;
        ref_ok(iv_fit(data, &options, &result, &err), &err);
        assert_string_equal(result.model->arch, "conv-small");
        file_bytes bytes = bytes_of(result.model);
        if (i == 0) {
            first = bytes;
        } else {
            same_bytes(bytes, first);
            iv_free(bytes.data);
        }
        iv_model_free(result.model);
        iv_pool_free(options.pool);
    }
    iv_free(first.data);
    iv_dataset_free(data);
    unlink(path);
}

/* Written and read, it gives the same numbers; so it does with its latents in another order. */
static void check_copies(iv_model *model)
{
    size_t d = model->d, n = model->n, order[8];
    assert_true(n <= 8);
    double *x = noises(d, 31), *z = noises(n, 32), sign[8], moved[8];
    double *mu[3], *out[3];
    for (size_t i = 0; i < 3; i++) {
        mu[i] = numbers(n);
        out[i] = numbers(d);
    }
    isovae_error err;
    run_row(model, x, z, mu[0], out[0]);
    file_bytes bytes = bytes_of(model);
    iv_model *read = model_of(bytes);
    iv_free(bytes.data);
    assert_true(iv_graph_same(read->encoder, model->encoder));
    assert_true(iv_graph_same(read->decoder, model->decoder));
    assert_false(iv_graph_same(read->decoder, model->encoder));
    run_row(read, x, z, mu[1], out[1]);
    assert_memory_equal(mu[0], mu[1], n * sizeof(double));
    assert_memory_equal(out[0], out[1], d * sizeof(double));
    for (size_t j = 0; j < n; j++) {
        order[j] = n - 1 - j;
        sign[j] = j % 2 == 0 ? -1 : 1;
        moved[j] = sign[j] * z[order[j]];
    }
    ref_ok(iv_model_permute(read, order, sign, &err), &err);
    run_row(read, x, moved, mu[2], out[2]);
    for (size_t j = 0; j < n; j++) assert_true(mu[2][j] == sign[j] * mu[0][order[j]]);
    assert_near("permuted", out[2], out[0], d, 1e-12);
    iv_model_free(read);
    for (size_t i = 0; i < 3; i++) {
        free(mu[i]);
        free(out[i]);
    }
    free(x);
    free(z);
}

static void files_and_permutations_keep_the_function(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *model = mixed_model(IV_F32);
    check_copies(model);
    iv_model_free(model);
    for (size_t p = 0; p < 2; p++) {
        iv_model_plan plan = plan_of((iv_arch_image){9, 7, 2}, 5, NULL, IV_F32);
        model = planned(presets[p], &plan);
        ref_ok(iv_start_weights(model, 8, IV_INIT_DEFAULT, &err), &err);
        check_copies(model);
        iv_model_free(model);
    }
}

/* Drafts that are wrong. */

static void refused(const char *draft, iv_arch_image image, isovae_status status, const char *says)
{
    isovae_error err = {0};
    iv_model *model;
    ref_ok(iv_model_new(&model, &err), &err);
    iv_model_plan plan = plan_of(image, 3, draft, IV_F32);
    if (image.height == 0) plan.d = 6;
    isovae_status got = iv_model_build_plan(model, "some.json", &plan, &err);
    if (got != status || strstr(err.message, says) == NULL ||
        strncmp(err.message, "--arch: some.json: ", 19) != 0)
        fail_msg("%s\nstatus %d, wanted %d; '%s' does not say '%s'", draft, (int)got, (int)status,
                 err.message, says);
    assert_null(model->encoder);
    iv_model_free(model);
}

#define OUT NODE("o", "dense", "z", "out", FEATURES)
#define FIRST(rest) DRAFT("false", NODE("a", "dense", "x", "h", rest) ", " HEADS("h"), OUT)

static void wrong_drafts_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *draft, *says;
    } tables[] = {
        {"", "line 1: '[' or '{' expected"},
        {"[", "line 1: "},
        {"{\"format\": \"isovae-arch/1\", \"format\": 1}", "duplicate object key"},
        {"{\n\"format\":\n\x01}", "line 3: "},
        {"[]", "\"format\": \"isovae-arch/1\""},
        {"{}", "\"format\": \"isovae-arch/1\""},
        {"{\"format\": \"isovae-arch/2\"}", "\"format\": \"isovae-arch/1\""},
        {"{\"format\": \"isovae-arch/1\"}", "'encoder' must be a list"},
        {"{\"format\": \"isovae-arch/1\", \"encoder\": []}", "'decoder' must be a list"},
        {"{\"format\": \"isovae-arch/1\", \"encoder\": {}, \"decoder\": []}",
         "'encoder' must be a list"},
        {"{\"format\": \"isovae-arch/1\", \"layers\": []}", "a member 'layers'"},
        {"{\"format\": \"isovae-arch/1\", \"lay\\ners\": []}", "control character"},
        {"{\"format\": \"isovae-arch/1\", \"pictures\": 1}", "'pictures' must be true or false"},
        {DRAFT("false", "", OUT), "encoder: no node of the graph makes its output 'mu'"},
        {DRAFT("false", NODE("m", "dense", "x", "mu", LATENTS), OUT),
         "encoder: no node of the graph makes its output 'logvar'"},
        {DRAFT("false", HEADS("x"), ""), "decoder: no node of the graph makes its output 'out'"},
        {DRAFT("false", "3", OUT), "encoder: node 0 of the graph"},
        {DRAFT("false", "{\"name\": 3}", OUT), "encoder: node 0 of the graph"},
        {DRAFT("false", "{\"name\": \"a\"}", OUT), "node 'a': 'kind'"},
        {DRAFT("false", NODE("a", "dance", "x", "h", ""), OUT),
         "node 'a': the kind 'dance' is not known"},
        {FIRST(", \"unit\": 3"), "node 'a': a node has no 'unit'"},
        {FIRST(""), "node 'a': dense needs at least one unit ('units')"},
        {FIRST(", \"units\": 0"), "node 'a': 'units' must be an integer from 1"},
        {FIRST(", \"units\": -4"), "node 'a': 'units' must be an integer from 1"},
        {FIRST(", \"units\": 3.5"), "node 'a': 'units' must be an integer from 1"},
        {FIRST(", \"units\": 99999999"), "node 'a': 'units' must be an integer from 1"},
        {FIRST(", \"units\": 99999999999999999999"), "line 1: "},
        {FIRST(", \"units\": \"many\""), "node 'a': 'units' must be a number, \"latents\""},
        {FIRST(", \"units\": 3, \"kernel\": 3"), "node 'a': dense takes no 'kernel'"},
        {FIRST(", \"units\": 3, \"bias\": 1"), "node 'a': 'bias' must be true, or false"},
        {FIRST(", \"units\": 3, \"attributes\": {\"activation\": \"shy\"}"),
         "node 'a': attribute 'activation' must name an activation"},
        {FIRST(", \"units\": 3, \"attributes\": {\"stride\": 2}"),
         "node 'a': dense has no attribute 'stride'"},
        {FIRST(", \"units\": 3, \"params\": {\"weight\": 2}"), "node 'a': parameter 'weight'"},
        {FIRST(", \"units\": 3, \"params\": {\"wait\": \"w\"}"), "has no parameter 'wait'"},
        {DRAFT("false", NODE("a", "relu", "x", "h", ", \"units\": 3") ", " HEADS("h"), OUT),
         "node 'a': relu takes no 'units'"},
        {DRAFT("false", NODE("a", "relu", "x", "h", ", \"bias\": false") ", " HEADS("h"), OUT),
         "node 'a': 'bias' must be true, or false where"},
        {DRAFT("false", NODE("a", "relu", "h", "h", "") ", " HEADS("h"), OUT),
         "node 'a': its input 'h' is made by node 'a', which does not stand before it"},
        {DRAFT("false", NODE("a", "relu", "h2", "h", "") ", " NODE("b", "relu", "h", "h2", ""),
               OUT),
         "node 'a': its input 'h2' is made by node 'b', which does not stand before it"},
        {DRAFT("false", HEADS("y"), OUT), "node 'm': its input 'y' is neither"},
        {DRAFT("false", NODE("m", "relu", "x", "h", "") ", " HEADS("h"), OUT),
         "node 'm': there is a node of that name already"},
        {DRAFT("false", NODE("a", "relu", "x", "mu", "") ", " HEADS("x"), OUT),
         "node 'm': there is a value 'mu' already"},
        {DRAFT("false", NODE("a", "relu", "x", "x", "") ", " HEADS("x"), OUT),
         "there is a value 'x' already"},
        {DRAFT("false",
               NODE("a", "relu", "x", "mu", "") ", " NODE("l", "dense", "x", "logvar", LATENTS),
               OUT),
         "encoder: 'mu' comes out as 6; 3 numbers a row are wanted"},
        {DRAFT("false", HEADS("x"), NODE("o", "dense", "z", "out", ", \"units\": 7")),
         "decoder: 'out' comes out as 7; 6 numbers a row are wanted"},
        {DRAFT("false", HEADS("x"),
               NODE("o", "dense", "z", "h", ", \"units\": 1048576") ", " NODE(
                   "p", "dense", "h", "i", ", \"units\": 1048576") ", " NODE("q", "dense", "i",
                                                                             "out", FEATURES)),
         "with 'p.weight' the network has more than 1073741824 parameters"},
        {DRAFT(
             "false", HEADS("x"),
             NODE("r", "reshape", "z", "h", ", \"attributes\": {\"shape\": [3, 1, 1]}") ", " NODE(
                 "u", "upsample_nearest", "h", "i",
                 ", \"attributes\": {\"scale\": [6000, 6000]}") ", " NODE("p",
                                                                          "global_average_pool",
                                                                          "i", "j",
                                                                          "") ", " NODE("f",
                                                                                        "flatten",
                                                                                        "j", "k",
                                                                                        "") ","
                                                                                            " " NODE(
                                                                                                "q",
                                                                                                "de"
                                                                                                "ns"
                                                                                                "e",
                                                                                                "k",
                                                                                                "ou"
                                                                                                "t",
                                                                                                FEATURES)),
         "one row makes more than 67108864 numbers on its way to 'i' (decoder)"},
    };
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        isovae_status status =
            strstr(tables[i].says, "is not known") ? ISOVAE_ERR_UNSUPPORTED : ISOVAE_ERR_FORMAT;
        refused(tables[i].draft, (iv_arch_image){0}, status, tables[i].says);
    }
    refused(DRAFT("true", HEADS("image"), OUT), (iv_arch_image){0}, ISOVAE_ERR_ARGUMENT,
            "the data are none");

#define FLAT NODE("f", "flatten", "image", "h", "") ", " HEADS("h")
#define CONV(rest) DRAFT("true", NODE("c", "conv", "image", "c1", rest) ", " FLAT, OUT)
    static const struct {
        const char *draft, *says;
    } images[] = {
        {DRAFT("true", HEADS("image"), OUT), "node 'm': dense takes rows of one axis, not 2x4x5"},
        {CONV(""), "node 'c': kernel is 0"},
        {CONV(", \"kernel\": 3"), "node 'c': a convolution needs one output channel"},
        {CONV(", \"units\": 3, \"kernel\": 0"), "node 'c': attribute 'kernel' must hold integers"},
        {CONV(", \"units\": 3, \"kernel\": [3]"), "node 'c': attribute 'kernel' must be"},
        {CONV(", \"units\": 3, \"kernel\": \"3\""), "node 'c': attribute 'kernel' must be"},
        {CONV(", \"units\": 3, \"kernel\": [7, 3], \"attributes\": {\"pads\": 1}"),
         "node 'c': a kernel that spans 7 does not fit into the height 4 with 2 of padding"},
        {CONV(", \"units\": 3, \"kernel\": 3, \"attributes\": {\"groups\": 2}"), "node 'c': "},
        {DRAFT("true", FLAT, OUT), "decoder: no node makes the output 'image'"},
        {DRAFT("true", FLAT,
               NODE("a", "dense", "z", "out", FEATURES) ", " NODE("b", "relu", "out", "image", "")),
         "decoder: 'out' is made from 'image' by itself"},
        {DRAFT("true", FLAT, NODE("a", "dense", "z", "image", FEATURES)), "decoder: "},
        {DRAFT("true", FLAT,
               NODE("a", "dense", "z", "h", FEATURES) ", " NODE(
                   "r", "reshape", "h", "image", ", \"attributes\": {\"shape\": [2, 5, 4]}")),
         "decoder: 'image' comes out as 2x5x4, the pictures are 2x4x5"},
        {DRAFT("true", FLAT,
               NODE("a", "dense", "z", "h",
                    FEATURES) ", " NODE("dec.rows", "reshape", "h", "image",
                                        ", \"attributes\": {\"shape\": [2, 4, 5]}")),
         "node 'dec.rows': there is a node of that name already"},
    };
    for (size_t i = 0; i < sizeof images / sizeof images[0]; i++)
        refused(images[i].draft, (iv_arch_image){4, 5, 2}, ISOVAE_ERR_FORMAT, images[i].says);

    char *deep = malloc(40001);
    assert_non_null(deep);
    memset(deep, '[', 40000);
    deep[40000] = '\0';
    refused(deep, (iv_arch_image){0}, ISOVAE_ERR_FORMAT, "depth");
    free(deep);
}

static void presets_want_pictures(void **state)
{
    (void)state;
    for (size_t p = 0; p < 2; p++) {
        isovae_error err;
        iv_model *model;
        iv_model_plan plan = {.d = 5, .n = 2, .act = IV_ACT_SILU, .dtype = IV_F32};
        ref_ok(iv_model_new(&model, &err), &err);
        assert_int_equal(iv_model_build_plan(model, presets[p], &plan, &err), ISOVAE_ERR_ARGUMENT);
        assert_non_null(strstr(err.message, presets[p]));
        assert_non_null(strstr(err.message, "pictures"));
        iv_model_free(model);
    }
}

/* transpose */

static void next_permutation(size_t *perm, size_t rank, size_t index)
{
    size_t left[IV_MAX_RANK];
    for (size_t i = 0; i < rank; i++) left[i] = i + 1;
    for (size_t i = 0; i < rank; i++) {
        size_t at = index % (rank - i);
        index /= rank - i;
        perm[i] = left[at];
        memmove(left + at, left + at + 1, (rank - i - 1 - at) * sizeof *left);
    }
}

/* Index in the input of element `at` of the output. */
static size_t source(const iv_shape *in, const size_t *perm, size_t at)
{
    size_t stride[IV_MAX_RANK], size = 1, from = 0;
    for (size_t i = in->rank; i-- > 0;) {
        stride[i] = size;
        size *= in->dim[i];
    }
    for (size_t i = in->rank; i-- > 0;) {
        size_t axis = perm[i] - 1;
        from += at % in->dim[axis] * stride[axis];
        at /= in->dim[axis];
    }
    return from;
}

/* x -> [conv 1x1 ->] transpose [-> conv 1x1]: the convolutions are identities, and let what is
 * between lie channels last. */
static iv_graph *transposed(const iv_shape *shape, const size_t *perm, bool before, bool behind)
{
    isovae_error err;
    iv_graph *graph;
    size_t value;
    ref_ok(iv_graph_new(&graph, &err), &err);
    ref_ok(iv_graph_input(graph, "x", shape, &value, &err), &err);
    for (size_t i = 0; i < 3; i++) {
        static const char *const names[] = {"before", "t", "y"};
        if ((i == 0 && !before) || (i == 2 && !behind)) continue;
        iv_node_spec spec = {.kind = i == 1 ? "transpose" : "conv",
                             .name = names[i],
                             .n_inputs = 1,
                             .inputs = {value},
                             .n_outputs = 1,
                             .outputs = {names[i]},
                             .params = {NULL, ""},
                             .units = graph->values[value].shape.dim[0],
                             .attributes = {.conv = {.kernel = {1, 1}}}};
        if (i == 1) {
            spec.attributes.n_sizes = shape->rank;
            memcpy(spec.attributes.sizes, perm, shape->rank * sizeof *perm);
        }
        ref_ok(iv_graph_node(graph, &spec, &value, &err), &err);
    }
    ref_ok(iv_graph_output(graph, value, &err), &err);
    return graph;
}

static void check_transpose(const iv_shape *shape, const size_t *perm, bool before, bool behind)
{
    enum { ROWS = 3, TANGENTS = 2 };
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    iv_graph *graph = transposed(shape, perm, before, behind);
    const iv_exec_plan plan = {
        .rows = ROWS, .reverse = true, .tangents = TANGENTS, .tangent_rows = ROWS * TANGENTS};
    net n = net_open(graph, k, &plan);
    for (size_t i = 0; i < graph->n_params; i++) {
        size_t side = graph->params[i].shape.dim[0];
        double *eye = numbers(side * side);
        for (size_t c = 0; c < side; c++) eye[c * side + c] = 1;
        net_set_param(&n, graph->params[i].name, eye);
        free(eye);
    }
    const char *last = behind ? "y" : "t";
    size_t size = graph->values[0].size;
    double *x = noises(ROWS * size, 1), *u = noises(ROWS * size, 2),
           *v = noises(TANGENTS * ROWS * size, 3);
    net_set(&n, "x", x);
    net_forward(&n);
    double *y = net_get(&n, last);
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < size; i++)
            assert_true(y[r * size + i] == x[r * size + source(shape, perm, i)]);

    size_t out = net_value(&n, last);
    k->upload(iv_exec_tangent_value(n.exec, 0, 0), v, TANGENTS * ROWS * size);
    iv_exec_tangent(n.exec, n.params, 0, ROWS, TANGENTS, 0);
    double *jv = download(k, iv_exec_tangent_value(n.exec, out, 0), TANGENTS * ROWS * size);
    for (size_t r = 0; r < TANGENTS * ROWS; r++)
        for (size_t i = 0; i < size; i++)
            assert_true(jv[r * size + i] == v[r * size + source(shape, perm, i)]);

    net_seed(&n, last, u);
    net_reverse(&n);
    double *jtu = net_gradient(&n, "x");
    double left = 0, right = 0;
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t i = 0; i < size; i++) {
            assert_true(jtu[r * size + source(shape, perm, i)] == u[r * size + i]);
            left += jv[r * size + i] * u[r * size + i];
            right += v[r * size + i] * jtu[r * size + i];
        }
    }
    assert_true(fabs(left - right) < 1e-12 * (double)(ROWS * size));
    free(x);
    free(u);
    free(v);
    free(y);
    free(jv);
    free(jtu);
    net_close(&n);
    iv_graph_free(graph);
}

static void transpose_moves_axes(void **state)
{
    (void)state;
    static const size_t dims[5] = {3, 4, 2, 5, 1};
    size_t count = 1;
    for (size_t rank = 1; rank <= 5; rank++) {
        iv_shape shape = {.rank = rank};
        memcpy(shape.dim, dims, rank * sizeof *dims);
        count *= rank;
        for (size_t p = 0; p < count; p++) {
            size_t perm[IV_MAX_RANK];
            next_permutation(perm, rank, p);
            for (size_t sides = 0; sides < (rank == 3 ? 4 : 1); sides++)
                check_transpose(&shape, perm, sides & 1, sides & 2);
        }
    }
}

/* Both readers of one value: the second adds its gradient to the first's. */
static void transpose_accumulates(void **state)
{
    (void)state;
    static const char draft[] =
        "[" NODE("t", "transpose", "x", "a", ", \"attributes\": {\"perm\": [2, 1]}") ", " NODE(
            "s", "transpose", "x", "b",
            ", \"attributes\": {\"perm\": [2, 1]}") ", "
                                                    "{\"name\": \"p\", \"kind\": \"add\", "
                                                    "\"inputs\": [\"a\", \"b\"], \"output\": "
                                                    "\"y\"}]";
    static const char *const outputs[] = {"y"};
    isovae_error err;
    iv_graph *graph;
    json_t *nodes = json_loads(draft, 0, NULL);
    assert_non_null(nodes);
    ref_ok(iv_graph_from_json(nodes, "x", &(iv_shape){2, {3, 4}}, outputs, 1, NULL, NULL, &graph,
                              &err),
           &err);
    json_decref(nodes);
    const iv_exec_plan plan = {.rows = 2, .reverse = true};
    net n = net_open(graph, iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL), &plan);
    double *x = noises(24, 1), *u = noises(24, 2);
    net_set(&n, "x", x);
    net_forward(&n);
    net_seed(&n, "y", u);
    net_reverse(&n);
    double *g = net_gradient(&n, "x");
    for (size_t r = 0; r < 2; r++)
        for (size_t i = 0; i < 3; i++)
            for (size_t j = 0; j < 4; j++)
                assert_true(g[r * 12 + i * 4 + j] == 2 * u[r * 12 + j * 3 + i]);
    free(x);
    free(u);
    free(g);
    net_close(&n);
    iv_graph_free(graph);
}

static void transpose_checks_its_axes(void **state)
{
    (void)state;
    static const struct {
        iv_shape shape;
        size_t n, perm[IV_MAX_RANK];
    } wrong[] = {
        {{2, {3, 4}}, 1, {1}},    {{2, {3, 4}}, 3, {1, 2, 3}},
        {{2, {3, 4}}, 2, {1, 1}}, {{2, {3, 4}}, 2, {0, 1}},
        {{2, {3, 4}}, 2, {2, 3}}, {{6, {1, 2, 1, 2, 1, 2}}, 6, {6, 5, 4, 3, 2, 1}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        isovae_error err;
        iv_graph *graph;
        size_t value;
        ref_ok(iv_graph_new(&graph, &err), &err);
        ref_ok(iv_graph_input(graph, "x", &wrong[i].shape, &value, &err), &err);
        iv_node_spec spec = {.kind = "transpose",
                             .name = "t",
                             .n_inputs = 1,
                             .inputs = {value},
                             .n_outputs = 1,
                             .outputs = {"y"},
                             .attributes = {.n_sizes = wrong[i].n}};
        memcpy(spec.attributes.sizes, wrong[i].perm, sizeof wrong[i].perm);
        assert_int_equal(iv_graph_node(graph, &spec, &value, &err), ISOVAE_ERR_FORMAT);
        assert_non_null(strstr(err.message, "node 't': 'perm' must name each axis"));
        iv_graph_free(graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presets_fit_pictures_of_any_size),
        cmocka_unit_test(parameters_are_counted_by_hand),
        cmocka_unit_test(presets_want_pictures),
        cmocka_unit_test(channels_keep_their_order),
        cmocka_unit_test(gradient_is_the_difference),
        cmocka_unit_test(threads_give_the_same_bytes),
        cmocka_unit_test(files_and_permutations_keep_the_function),
        cmocka_unit_test(wrong_drafts_are_refused),
        cmocka_unit_test(transpose_moves_axes),
        cmocka_unit_test(transpose_accumulates),
        cmocka_unit_test(transpose_checks_its_axes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
