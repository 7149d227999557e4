/* Learned noise (--noise feature, --loss student) through the whole of isovae: the exact case, the
 * file, training with all that must not change its bytes, what it finds on data with known noise,
 * and the report. ISOVAE_TEST_SHORT=1 (sanitizers) leaves the long fits out. */
#include "support_fit.h"
#include "support_model.h"

#include "base/random.h"
#include "report/report.h"
#include "theory/analysis.h"
#include "theory/rows.h"
#include "theory/score.h"
#include "train/train.h"

#include <math.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

/* ---- the exact case ---- */

static double *param(iv_model *model, const char *name)
{
    const iv_graph *graphs[2] = {model->encoder, model->decoder};
    for (size_t g = 0; g < 2; g++) {
        size_t i = iv_graph_find_param(graphs[g], name);
        if (i != SIZE_MAX) return (double *)model->params + graphs[g]->params[i].offset;
    }
    fail_msg("no parameter %s", name);
    return NULL;
}

/* One latent, x' = w z + b + noise of SD s_i. With M = J^T G J the posterior is exact at
 * sigma^2 = 1/(1 + 2 M), mu = sigma^2 sum w (x' - b)/s^2, and the bound is the log density. */
static void linear_model_is_exact(void **state)
{
    enum { D = 4, ROWS = 30 };
    static const double w[D] = {0.8, -1.5, 0.3, 0.0}, b[D] = {0.1, 0, -0.2, 0.5};
    static const double s[D] = {0.3, 0.7, 1.2, 0.05}, scale[D] = {2, 0.5, 10, 1};
    (void)state;
    isovae_error err;
    iv_model *model;
    ok(iv_model_new(&model, &err), &err);
    ok(iv_model_build(model, "linear", D, 1, IV_ACT_NONE, IV_F64, &err), &err);
    ref_identity_scaling(model);
    model->scaling.kind = IV_SCALE_STANDARD;
    model->scaling.uniform = false;
    ok(iv_model_set_metric(model, &(iv_metric_spec){.loss = IV_LOSS_NOISE}, &err), &err);
    double gram = 0, square = 0, log_s = 0;
    for (size_t i = 0; i < D; i++) {
        gram += w[i] * w[i] / (2 * s[i] * s[i]);
        square += w[i] * w[i] * scale[i] * scale[i];
        log_s += log(s[i] * scale[i]);
    }
    double sigma2 = 1 / (1 + 2 * gram);
    for (size_t i = 0; i < D; i++) {
        model->scaling.scale[i] = scale[i];
        model->scaling.shift[i] = (double)i - 1;
        ((double *)model->params)[model->learned_at + i] = log(s[i]);
        param(model, "dec.out.weight")[i] = w[i];
        param(model, "dec.out.bias")[i] = b[i];
        param(model, "enc.mu.weight")[i] = sigma2 * w[i] / (s[i] * s[i]);
        param(model, "enc.mu.bias")[0] -= sigma2 * w[i] * b[i] / (s[i] * s[i]);
        assert_true(fabs(iv_model_noise_s(model, i) - s[i]) < 1e-12);
    }
    param(model, "enc.logvar.bias")[0] = log(sigma2);

    double x[ROWS * D], want[ROWS], manifold[ROWS];
    for (size_t r = 0; r < ROWS; r++) {
        double cross = 0, squares = 0;
        for (size_t i = 0; i < D; i++) {
            double shift = model->scaling.shift[i]; /* data are kept in single precision */
            x[r * D + i] = (double)(float)(2 * wave(r * D + i) * scale[i] + shift);
            double off = ((x[r * D + i] - shift) / scale[i] - b[i]) / s[i];
            cross += w[i] * off / s[i];
            squares += off * off;
        }
        /* N(x'; b, w w^T + diag(s^2)) by the determinant lemma, then data units */
        want[r] =
            -0.5 * (D * log(2 * M_PI) + log(1 + 2 * gram) + squares - sigma2 * cross * cross) -
            log_s;
        /* and on the line w: a normal of variance |S w|^2 (1 + 1/(2 M)) in data units */
        double mu = sigma2 * cross, z = mu / (1 - sigma2);
        manifold[r] = -0.5 * (z * z * (1 - sigma2) + log(2 * M_PI) + log(square / (1 - sigma2)));
    }
    iv_dataset *data;
    ok(iv_dataset_from_rows(x, ROWS, D, NULL, &data, &err), &err);
    iv_pass_plan plan = {.precision = IV_PRECISION_F64_REFERENCE, .full_gram = true, .draws = true};
    iv_pass *pass;
    iv_rows *rows;
    iv_iwae *iwae;
    size_t index[ROWS];
    for (size_t r = 0; r < ROWS; r++) index[r] = r;
    ok(iv_pass_new(model, data, &plan, &pass, &err), &err);
    ok(iv_rows_new(pass, index, ROWS, &rows, &err), &err);
    ok(iv_rows_set_active(rows, (const unsigned char *)"\1", &err), &err);
    iv_keyed_draws keyed = {.seed = 3, .antithetic = true};
    iv_draws draws = {iv_keyed_draw, &keyed};
    iv_rows_plan evaluate = {.draws = &draws, .e0_draws = 4, .mean_draws = 4, .stage = "test"};
    ok(iv_rows_evaluate(rows, pass, &evaluate, &err), &err);
    ok(iv_iwae_new(rows, pass, &draws, 3, ROWS, &iwae, &err), &err);
    for (size_t r = 0; r < ROWS; r++) {
        assert_true(fabs(rows->estimate[IV_ESTIMATE_ELBO][r] - want[r]) < 1e-9);
        assert_true(fabs(iwae->log_p[r] - want[r]) < 1e-9);
        assert_true(fabs(rows->estimate[IV_ESTIMATE_LAPLACE][r] - manifold[r]) < 1e-9);
        assert_true(fabs(rows->norm[r] + sigma2 - 1) < 1e-12);
        assert_true(fabs(rows->e0[r] - 1) < 1e-9);
    }
    iv_iwae_free(iwae);
    iv_rows_free(rows);
    iv_pass_free(pass);
    iv_dataset_free(data);
    iv_model_free(model);
}

/* ---- the file ---- */

static iv_model *stored_model(const char *loss, iv_dtype dtype)
{
    isovae_error err;
    iv_metric_spec spec;
    iv_model *model = full_model(dtype);
    ok(iv_metric_parse(loss, &spec, &err), &err);
    ok(iv_model_set_metric(model, &spec, &err), &err);
    model->beta = 1;
    model->noise_floor = 0.1;
    model->least_variance = 0.0875;
    model->denoise = 0.3;
    for (size_t i = 0; i < model->learned_elements; i++) {
        double value = i < model->d ? wave(i) : 1 + wave(i);
        if (dtype == IV_F64) {
            ((double *)model->params)[model->learned_at + i] = value;
        } else {
            ((float *)model->params)[model->learned_at + i] = (float)value;
        }
    }
    return model;
}

static void files(void **state)
{
    static const char *const losses[] = {"sse:feature", "student"};
    (void)state;
    for (size_t t = 0; t < 4; t++) {
        iv_model *model = stored_model(losses[t % 2], t < 2 ? IV_F32 : IV_F64);
        file_bytes first = bytes_of(model);
        iv_model *read = model_of(first);
        file_bytes second = bytes_of(read);
        same_bytes(first, second);
        assert_int_equal(read->metric.loss, model->metric.loss);
        assert_int_equal(read->param_elements, model->param_elements);
        assert_true(read->noise_floor == 0.1 && read->least_variance == 0.0875);
        assert_true(read->denoise == 0.3);
        for (size_t i = 0; i < model->d; i++) {
            assert_true(iv_model_noise_s(read, i) == iv_model_noise_s(model, i));
            assert_true(iv_model_noise_nu(read, i) == iv_model_noise_nu(model, i));
        }
        iv_free(first.data);
        iv_free(second.data);
        iv_model_free(read);
        iv_model_free(model);
    }
    iv_model *plain = full_model(IV_F32);
    file_bytes b = bytes_of(plain);
    assert_null(memmem(b.data, b.length, "noise", 5)); /* other models say nothing of it */
    assert_null(memmem(b.data, b.length, "denoise", 7));
    iv_free(b.data);
    iv_model_free(plain);
}

static void refuse(file_bytes b, const char *says)
{
    isovae_error err = {0};
    iv_model *model;
    assert_int_equal(iv_model_read(b.data, b.length, "m.safetensors", &model, NULL, &err),
                     ISOVAE_ERR_FORMAT);
    assert_null(model);
    if (strstr(err.message, says) == NULL) fail_msg("'%s' does not say '%s'", err.message, says);
    iv_free(b.data);
}

/* `from` becomes `to`, of the same length, under a right checksum. */
static file_bytes forged(const iv_model *model, const char *from, const char *to)
{
    file_bytes b = bytes_of(model);
    char digits[17];
    assert_int_equal(strlen(from), strlen(to));
    unsigned char *at = memmem(b.data, b.length, from, strlen(from));
    assert_non_null(at);
    memcpy(at, to, strlen(to));
    memset(b.data + 37, '0', 16);
    (void)snprintf(digits, sizeof digits, "%016llx",
                   (unsigned long long)XXH3_64bits(b.data, b.length));
    memcpy(b.data + 37, digits, 16);
    return b;
}

static void bad_files(void **state)
{
    (void)state;
    iv_model *model = stored_model("student", IV_F32);
    float *learned = (float *)model->params + model->learned_at;
    const struct {
        size_t at;
        float value;
        const char *says;
    } numbers[] = {{2, 41, "out of range"},
                   {2, -41, "out of range"},
                   {model->d + 1, -0.1F, "out of range"},
                   {model->d + 1, 7, "out of range"}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        float was = learned[numbers[i].at];
        learned[numbers[i].at] = numbers[i].value;
        refuse(bytes_of(model), numbers[i].says);
        learned[numbers[i].at] = was;
    }
    model->beta = 0.5;
    refuse(bytes_of(model), "'beta'");
    model->beta = 1;
    model->noise_floor = 2;
    refuse(bytes_of(model), "'floor'");
    model->noise_floor = 0.1;
    model->least_variance = -1;
    refuse(bytes_of(model), "'least_variance'");
    model->least_variance = 0.1;
    refuse(forged(model, "\"metric.log_nu\"", "\"metric.log_ny\""), "metric.log_nu");
    refuse(forged(model, "\\\"noise\\\"", "\\\"nojse\\\""), "'noise'");
    refuse(forged(model, "\\\"denoise\\\":0.", "\\\"denoise\\\":-."), "");
    /* A model that learns less has a tensor too many. */
    refuse(forged(model, "\\\"student\\\"", "\\\"ssim:12\\\""), "metric.log_");
    learned[0] = NAN;
    isovae_error err;
    file_bytes b;
    assert_int_equal(iv_model_write(model, NULL, 0, NULL, &b.data, &b.length, &err),
                     ISOVAE_ERR_DIVERGED);
    iv_model_free(model);
}

/* ---- training ---- */

static iv_fit_options options_of(const char *loss, size_t steps)
{
    iv_fit_options o;
    iv_fit_options_init(&o);
    o.loss = loss;
    o.steps = steps;
    o.latent_dim = 3;
    return o;
}

static iv_model *fitted(const iv_dataset *data, const iv_fit_options *options)
{
    isovae_error err;
    iv_fit_result result;
    ok(iv_fit(data, options, &result, &err), &err);
    return result.model;
}

static void expect_refused(const iv_dataset *data, const iv_fit_options *options, const char *says)
{
    isovae_error err = {0};
    iv_fit_result result;
    assert_int_equal(iv_fit(data, options, &result, &err), ISOVAE_ERR_ARGUMENT);
    if (strstr(err.message, says) == NULL) fail_msg("'%s' does not say '%s'", err.message, says);
}

static void options_are_checked(void **state)
{
    (void)state;
    iv_dataset *data = open_data("toy:norm,n=300");
    iv_fit_options o = options_of("student", 10);
    o.beta = 0.5;
    expect_refused(data, &o, "--beta");
    o = options_of("student", 10);
    o.noise = 0;
    expect_refused(data, &o, "--noise");
    o = options_of("weighted:up", 10);
    o.noise = 1;
    expect_refused(data, &o, "--noise");
    o = options_of("sse", 10);
    o.noise_floor = 0.1;
    expect_refused(data, &o, "--noise-floor");
    o = options_of("student", 10);
    o.noise_floor = 0;
    expect_refused(data, &o, "--noise-floor");
    o = options_of("sse", 10);
    o.noise_start = 0.5;
    expect_refused(data, &o, "--noise-start");
    o = options_of("student", 10);
    o.noise_start = 1.5;
    expect_refused(data, &o, "--noise-start");
    o = options_of("sse", 10);
    o.denoise = -1;
    expect_refused(data, &o, "--denoise");
    o = options_of("student", 10); /* what is the case anyway may be said */
    o.noise = 1;
    o.beta = 1;
    iv_model_free(fitted(data, &o));
    iv_dataset_free(data);
}

static void same_model_bytes(const iv_model *a, const iv_model *b)
{
    file_bytes first = bytes_of(a), second = bytes_of(b);
    same_bytes(first, second);
    iv_free(first.data);
    iv_free(second.data);
}

static void threads_give_the_same_bytes(void **state)
{
    static const char *const losses[] = {"student", "sse:feature"};
    (void)state;
    iv_dataset *data = open_data("toy:mixa,n=2000");
    for (size_t t = 0; t < 4; t++) {
        iv_model *first = NULL;
        for (size_t threads = 1; threads <= 4; threads += threads == 1 ? 1 : 2) {
            isovae_error err;
            iv_fit_options o = options_of(losses[t % 2], short_run() ? 40 : 200);
            o.denoise = t == 1 ? 0 : 0.2;
            o.objective = t < 2 ? IV_OBJECTIVE_CONVENTIONAL : IV_OBJECTIVE_DECOMPOSED;
            ok(iv_pool_new(&o.pool, threads, &err), &err);
            iv_model *model = fitted(data, &o);
            assert_true(model->denoise == o.denoise && model->beta == 1);
            if (first == NULL) {
                first = model;
            } else {
                same_model_bytes(first, model);
                iv_model_free(model);
            }
            iv_pool_free(o.pool);
        }
        iv_model_free(first);
    }
    iv_dataset_free(data);
}

static bool stop_at_once(void *user, const iv_progress_info *info)
{
    size_t *left = user;
    if (strcmp(info->stage, "training") != 0 || *left == 0) return true;
    (*left)--;
    return false;
}

static void resumed_runs_end_in_the_same_bytes(void **state)
{
    (void)state;
    iv_dataset *data = open_data("toy:norm,n=1500");
    char checkpoint[] = "/tmp/isovae-test-XXXXXX";
    int file = mkstemp(checkpoint);
    assert_true(file >= 0);
    close(file);
    unlink(checkpoint);
    iv_fit_options o = options_of("student", short_run() ? 200 : 1500);
    o.denoise = 0.1;
    iv_model *whole = fitted(data, &o), *parts = NULL;

    size_t left = 4, stops = 0;
    o.checkpoint = o.resume = checkpoint;
    o.checkpoint_every = 11;
    o.progress = (iv_progress){.call = stop_at_once, .user = &left};
    while (parts == NULL) {
        isovae_error err;
        iv_fit_result result;
        isovae_status status = iv_fit(data, &o, &result, &err);
        if (status == ISOVAE_ERR_CANCELLED) {
            stops++;
            continue;
        }
        ok(status, &err);
        parts = result.model;
    }
    assert_int_equal(stops, 4);
    same_model_bytes(whole, parts);
    o.denoise = 0;
    expect_refused(data, &o, "--denoise");
    o.denoise = 0.1;
    o.noise_floor = 0.2;
    expect_refused(data, &o, "--noise-floor");
    unlink(checkpoint);

    /* --init-from takes over what the metric learned, too; nothing moves nu in the first steps. */
    isovae_error err;
    char path[] = "/tmp/isovae-test-XXXXXX";
    file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    ok(iv_model_save(whole, path, &err), &err);
    iv_fit_options again = options_of("student", 1);
    again.init_from = path;
    iv_model *from = fitted(data, &again);
    for (size_t i = 0; i < from->d; i++) {
        assert_true(iv_model_noise_nu(from, i) == iv_model_noise_nu(whole, i));
        assert_true(fabs(iv_model_noise_nu(from, i) - 4) > 1e-6);
    }
    iv_model_free(from);
    again.loss = "sse"; /* the network alone */
    from = fitted(data, &again);
    assert_int_equal(from->param_elements, whole->learned_at);
    iv_model_free(from);
    unlink(path);
    iv_model_free(whole);
    iv_model_free(parts);
    iv_dataset_free(data);
}

/* ---- data with known noise ---- */

enum { COLUMNS = 12, FACTORS = 2 };

/* x = W z + noise; columns below COLUMNS/2 Gaussian of SD s, the others t with scale s and nu. */
static iv_dataset *noisy_data(size_t rows, uint64_t seed, const double *s, const double *nu)
{
    double *x = calloc(rows * COLUMNS, sizeof *x);
    assert_non_null(x);
    for (size_t r = 0; r < rows; r++) {
        double z[FACTORS], normal[COLUMNS], uniform[2 * COLUMNS];
        iv_key key = {.seed = seed, .purpose = IV_PURPOSE_TOY, .row = r};
        iv_normals_f64(&key, FACTORS, z);
        key.draw = 1;
        iv_normals_f64(&key, COLUMNS, normal);
        key.draw = 2;
        iv_uniforms_f64(&key, 2 * COLUMNS, uniform);
        for (size_t i = 0; i < COLUMNS; i++) {
            double u = uniform[2 * i], t = cos(2 * M_PI * uniform[2 * i + 1]);
            double e = nu[i] > 0 ? sqrt(nu[i] * (pow(u, -2 / nu[i]) - 1)) * t : normal[i];
            for (size_t j = 0; j < FACTORS; j++) {
                x[r * COLUMNS + i] += 1.2 * wave(5 * i + 17 * j + 2) * z[j];
            }
            x[r * COLUMNS + i] += s[i] * e;
        }
    }
    isovae_error err;
    iv_dataset *data;
    ok(iv_dataset_from_rows(x, rows, COLUMNS, NULL, &data, &err), &err);
    free(x);
    return data;
}

static const double gaussian_s[COLUMNS] = {0.15, 0.2, 0.3, 0.4, 0.5, 0.6,
                                           0.7,  0.2, 0.3, 0.4, 0.5, 0.9};
static const double no_tails[COLUMNS] = {0};

static void noise_of_features_is_found(void **state)
{
    (void)state;
    if (short_run()) skip();
    iv_dataset *data = noisy_data(8000, 1, gaussian_s, no_tails);
    iv_fit_options o = options_of("sse", 4000);
    o.noise = 1;
    o.latent_dim = FACTORS;
    o.scale = IV_SCALE_IDENTITY;
    iv_model *model = fitted(data, &o);
    for (size_t i = 0; i < COLUMNS; i++) {
        double s = iv_model_noise_s(model, i), want = gaussian_s[i];
        if (!(fabs(s / want - 1) < 0.04)) fail_msg("s %zu: %g for %g", i, s, want);
    }
    iv_model_free(model);
    iv_dataset_free(data);

    /* Without noise all are at the floor, and the latents are found. */
    data = open_data("toy:norm,n=8000");
    o.scale = -1;
    o.latent_dim = 4;
    model = fitted(data, &o);
    for (size_t i = 0; i < model->d; i++) {
        double s = iv_model_noise_s(model, i);
        assert_true(fabs(s * s / model->least_variance - 1) < 1e-4);
    }
    for (size_t j = 0; j < 3; j++) assert_true(model->active[j]);
    iv_model_free(model);
    iv_dataset_free(data);
}

static const double tail_s[COLUMNS] = {0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.4, 0.4, 0.4, 0.4, 0.5, 0.5};
static const double tail_nu[COLUMNS] = {0, 0, 0, 0, 0, 0, 2, 2.5, 3, 3, 4, 4};

static double mean_score(const iv_model *model, const iv_dataset *data)
{
    isovae_error err;
    size_t *rows = calloc(data->rows, sizeof *rows);
    iv_score *scores = calloc(data->rows, sizeof *scores);
    double sum = 0;
    assert_true(rows != NULL && scores != NULL);
    for (size_t r = 0; r < data->rows; r++) rows[r] = r;
    ok(iv_score_rows(model, data, rows, data->rows, IV_ESTIMATE_ELBO, NULL, NULL, NULL, scores,
                     &err),
       &err);
    for (size_t r = 0; r < data->rows; r++) sum += scores[r].log_density;
    free(rows);
    free(scores);
    return sum / (double)data->rows;
}

/* s within 12 %; nu within 35 % (a VAE's posterior narrows the residuals of heavy columns),
 * Gaussian columns above 12. And the held-out density is far above that of Gaussian noise. */
static void tails_are_found(void **state)
{
    (void)state;
    if (short_run()) skip();
    iv_dataset *data = noisy_data(8000, 2, tail_s, tail_nu);
    iv_dataset *held_out = noisy_data(2000, 3, tail_s, tail_nu);
    iv_fit_options o = options_of("student", 4000);
    o.latent_dim = FACTORS;
    o.noise_floor = 0.005;
    o.scale = IV_SCALE_IDENTITY;
    iv_model *student = fitted(data, &o);
    for (size_t i = 0; i < COLUMNS; i++) {
        double s = iv_model_noise_s(student, i), nu = iv_model_noise_nu(student, i);
        if (!(fabs(s / tail_s[i] - 1) < 0.12)) fail_msg("s %zu: %g for %g", i, s, tail_s[i]);
        if (tail_nu[i] > 0 ? !(fabs(nu / tail_nu[i] - 1) < 0.35) : !(nu > 12)) {
            fail_msg("nu %zu: %g for %g", i, nu, tail_nu[i]);
        }
    }
    o.loss = "sse";
    o.noise = 1;
    iv_model *feature = fitted(data, &o);
    o.noise = 0;
    o.noise_floor = NAN;
    iv_model *common = fitted(data, &o);
    double by_student = mean_score(student, held_out), by_feature = mean_score(feature, held_out);
    double by_common = mean_score(common, held_out);
    if (!(by_student > by_feature + 0.5 && by_student > by_common + 0.5)) {
        fail_msg("%g, %g, %g", by_student, by_feature, by_common);
    }
    iv_model_free(student);
    iv_model_free(feature);
    iv_model_free(common);
    iv_dataset_free(data);
    iv_dataset_free(held_out);
}

/* --noise-start: the noise begins there, and learns from the first step on (by 0.01 in log s). */
static void noise_starts_where_told(void **state)
{
    (void)state;
    iv_dataset *data = noisy_data(600, 2, tail_s, tail_nu);
    iv_fit_options o = options_of("student", 1);
    o.noise_start = 0.5;
    o.scale = IV_SCALE_STANDARD;
    iv_model *model = fitted(data, &o);
    for (size_t i = 0; i < COLUMNS; i++) {
        double off = log(iv_model_noise_s(model, i) / sqrt(0.5));
        if (!(fabs(fabs(off) - 0.01) < 1e-4)) fail_msg("s %zu starts %g off", i, off);
    }
    iv_model_free(model);
    iv_dataset_free(data);
}

/* ---- the report ---- */

static void report(void **state)
{
    (void)state;
    isovae_error err;
    iv_dataset *data = noisy_data(600, 2, tail_s, tail_nu);
    iv_fit_options o = options_of("student", 150);
    iv_model *model = fitted(data, &o);
    iv_analysis_options options;
    iv_analysis_options_init(&options);
    options.iwae_draws = 0;
    iv_analysis *a;
    ok(iv_analyse(model, data, &options, &a, &err), &err);
    assert_int_equal(a->noise.n, COLUMNS);
    assert_true(a->noise.tails && a->noise.floor == 0.1 && a->density.absolute);
    size_t heavy = 0, at_floor = 0;
    for (size_t i = 0; i < COLUMNS; i++) {
        const iv_feature_noise *f = &a->noise.features[i];
        assert_true(f->s == iv_model_noise_s(model, i) * model->scaling.scale[i]);
        assert_true(f->s_scaled == iv_model_noise_s(model, i));
        assert_true(f->nu == iv_model_noise_nu(model, i));
        assert_true(f->residual_sd > 0 && f->residual_sd < 100 * f->s);
        heavy += f->nu < 10;
        at_floor += f->at_floor;
    }
    assert_int_equal(a->noise.heavy, heavy);
    assert_int_equal(a->noise.at_floor, at_floor);
    assert_true(heavy > 0);
    /* What the distances are made of. */
    assert_true(a->distortion.residual >= 0);
    double residual = a->distortion.total - a->distortion.normaliser - 0.5 * (double)a->active;
    assert_true(fabs(a->distortion.residual - fmax(residual, 0)) < 1e-9);

    iv_report_context context = {.model = model, .data = data, .analysis = a, .width = 100};
    iv_text text = {0}, page = {0};
    json_t *json;
    ok(iv_report_text(&context, &text, &err), &err);
    assert_non_null(strstr(text.data, "  noise       s from "));
    assert_non_null(strstr(text.data, "  tails       heavy (nu below 10) in "));
    ok(iv_report_html(&context, &page, &err), &err);
    assert_non_null(strstr(page.data, "id=\"noise\""));
    assert_non_null(strstr(page.data, "heavy tails"));
    ok(iv_report_json(&context, &json, &err), &err);
    const json_t *noise = json_object_get(json, "noise");
    assert_string_equal(json_string_value(json_object_get(json, "loss")), "student");
    assert_int_equal(json_integer_value(json_object_get(noise, "heavy")), heavy);
    const json_t *feature = json_array_get(json_object_get(noise, "features"), 3);
    assert_true(json_real_value(json_object_get(feature, "s")) == a->noise.features[3].s);
    assert_true(json_real_value(json_object_get(feature, "nu")) == a->noise.features[3].nu);
    if (system("python3 -c 'import jsonschema' >/dev/null 2>&1") == 0) {
        char path[] = "/tmp/isovae-test-XXXXXX", command[400];
        int file = mkstemp(path);
        assert_true(file >= 0);
        close(file);
        assert_int_equal(json_dump_file(json, path, 0), 0);
        (void)snprintf(
            command, sizeof command,
            "python3 -c 'import json, sys, jsonschema; s = json.load(open(sys.argv[1])); "
            "jsonschema.validate(json.load(open(sys.argv[2])), s)' "
            "docs/report.schema.json '%s'",
            path);
        assert_int_equal(system(command), 0);
        unlink(path);
    }
    json_decref(json);
    iv_text_free(&text);
    iv_text_free(&page);
    iv_analysis_free(a);
    iv_model_free(model);
    iv_dataset_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_model_is_exact),
        cmocka_unit_test(files),
        cmocka_unit_test(bad_files),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(threads_give_the_same_bytes),
        cmocka_unit_test(resumed_runs_end_in_the_same_bytes),
        cmocka_unit_test(noise_of_features_is_found),
        cmocka_unit_test(tails_are_found),
        cmocka_unit_test(noise_starts_where_told),
        cmocka_unit_test(report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
