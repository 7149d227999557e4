/* isovae audit where parts are missing: an encoder of means alone, a decoder alone. Numbers against
 * linear decoders, whose answer is known, and against differences of the networks' outputs. */
#include "onnx/vae.h"
#include "report/report.h"
#include "support_data.h"
#include "support_model.h"
#include "support_npz.h"
#include "theory/audit.h"
#include "theory/sample.h"
#include "theory/score.h"

enum { ROWS = 256, MOST_CODES = 8, MOST_FEATURES = 64 };

/* ---- linear decoders ---- */

static float *param_of(iv_model *m, iv_graph *graph, const char *name)
{
    size_t p = iv_graph_find_param(graph, name);
    assert_int_not_equal(p, SIZE_MAX);
    return (float *)m->params + graph->params[p].offset;
}

/* x = W z + b with W given by rows of d; mu = A x, logvar 0. */
static iv_model *linear(size_t d, size_t n, const float *w, const float *a)
{
    iv_model *m = built("linear", d, n);
    ref_identity_scaling(m);
    m->own_order = true;
    memcpy(param_of(m, m->decoder, "dec.out.weight"), w, d * n * sizeof *w);
    for (size_t i = 0; i < d; i++) param_of(m, m->decoder, "dec.out.bias")[i] = 0.5F * (float)i - 1;
    if (a != NULL) memcpy(param_of(m, m->encoder, "enc.mu.weight"), a, d * n * sizeof *a);
    return m;
}

static iv_analysis *analyse(iv_model *m, const iv_dataset *data, iv_unknown unknown,
                            iv_audit *audit)
{
    isovae_error err = {0};
    iv_analysis *a = NULL;
    iv_audit_options options = {.unknown = unknown};
    iv_analysis_options_init(&options.analysis);
    options.analysis.rows = "all";
    options.analysis.seed = 7;
    memset(audit, 0, sizeof *audit);
    if (iv_audit_run(m, data, &options, audit, &a, &err)) fail_msg("%s", err.message);
    return a;
}

static const iv_warning *told(const iv_analysis *a, const char *code)
{
    for (size_t i = 0; i < a->n_warnings; i++)
        if (strcmp(a->warnings[i].code, code) == 0) return &a->warnings[i];
    return NULL;
}

static void assert_nothing_of_sigma(const iv_analysis *a)
{
    const double absent[] = {a->beta,
                             a->beta_estimate,
                             a->rate_nats,
                             a->elbo_nats,
                             a->elbo_se,
                             a->validation_gap_nats,
                             a->encoder_gap_nats,
                             a->distortion.total,
                             a->distortion.coding,
                             a->distortion.coding_predicted,
                             a->density.mean,
                             a->orthogonality.cost_nats};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) assert_true(isnan(absent[i]));
    for (size_t j = 0; j < a->n; j++) {
        const iv_latent_report *l = &a->latents[j];
        const double of_latent[] = {l->kl,
                                    l->sigma2_mean,
                                    l->norm_mean,
                                    l->norm_sd,
                                    l->optimality_mean,
                                    l->optimality_sd,
                                    l->stationarity_mean,
                                    l->stationarity_se};
        for (size_t i = 0; i < sizeof of_latent / sizeof of_latent[0]; i++)
            assert_true(isnan(of_latent[i]));
    }
    for (int e = 0; e < IV_ESTIMATES; e++) assert_null(a->density.all[e]);
    assert_null(a->density.values);
    assert_null(a->sigma);
    static const char *const codes[] = {"undertrained", "wrong_beta",        "beta_unknown",
                                        "unsettled",    "plain_autoencoder", "sigma_unused"};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) assert_null(told(a, codes[i]));
}

/* Columns of lengths 1, 3, 2 and 0 at right angles: importance 9, 4, 1, one collapsed. */
static void a_linear_decoder_alone_has_its_lengths(void **state)
{
    (void)state;
    enum { D = 5, N = 4 };
    float w[D * N] = {0};
    iv_audit audit;
    w[0 * N + 0] = 1;
    w[1 * N + 1] = 3;
    w[2 * N + 2] = -2;
    iv_model *m = linear(D, N, w, NULL);
    iv_analysis *a = analyse(m, NULL, IV_UNKNOWN_ENCODER, &audit);
    static const size_t index[N] = {1, 2, 0, 3};
    static const double square[N] = {9, 4, 1, 0}, spectrum[N] = {9, 4, 1, 0};
    assert_int_equal(a->rows, 1000);
    assert_int_equal(a->active, 3);
    assert_near("spectrum", a->jacobian.spectrum, spectrum, N, 1e-5);
    for (size_t j = 0; j < N; j++) {
        const iv_latent_report *l = &a->latents[j];
        double variance = 0, mean = 0;
        assert_int_equal(l->index, index[j]);
        assert_int_equal(l->active, j < 3);
        assert_near("column", &l->column_square, &square[j], 1, 1e-5);
        assert_near("importance", &l->importance, &square[j], 1, 1e-5); /* Var z = 1 */
        for (size_t r = 0; r < a->rows; r++) mean += a->mu[r * N + j] / (double)a->rows;
        for (size_t r = 0; r < a->rows; r++) {
            double off = a->mu[r * N + j] - mean;
            variance += square[j] * off * off / (double)a->rows;
        }
        if (j < 3) { /* a straight decoder: y is z times the length */
            assert_near("variance_y", &l->variance_y, &variance, 1, 1e-4);
            assert_true(fabs(variance / square[j] - 1) < 0.15);
            assert_true(l->column_cv < 1e-3 && l->column_straight > 0.9999);
        } else {
            assert_true(l->variance_y < 1e-12);
        }
    }
    assert_true(a->orthogonality.max_abs_cosine < 1e-6);
    assert_nothing_of_sigma(a);
    assert_non_null(told(a, "no_encoder"));
    assert_null(told(a, "curved"));
    assert_null(told(a, "oblique"));
    assert_true(isnan(audit.data_variance));
    assert_non_null(audit.draws);

    /* the draws are those of isovae sample with that seed */
    double x[3 * D], drawn[3 * D];
    isovae_error err = {0};
    assert_int_equal(iv_sample_rows(m, 7, 3, false, NULL, NULL, x, &err), 0);
    for (size_t i = 0; i < 3 * D; i++) drawn[i] = (double)audit.draws->values[i];
    assert_near("draws", drawn, x, 3 * D, 1e-6);
    iv_dataset_free(audit.draws);
    iv_analysis_free(a);
    iv_model_free(m);
}

/* Two columns at 45 degrees: (2, 0) and (1, 1). W^T W = (4 2; 2 2): 3 +- sqrt 5. */
static void oblique_columns_have_a_spectrum_of_their_own(void **state)
{
    (void)state;
    static const float w[3 * 2] = {2, 1, 0, 1, 0, 0};
    iv_audit audit;
    iv_model *m = linear(3, 2, w, NULL);
    iv_analysis *a = analyse(m, NULL, IV_UNKNOWN_ENCODER, &audit);
    const double spectrum[2] = {3 + sqrt(5), 3 - sqrt(5)}, cosine = sqrt(0.5);
    assert_near("spectrum", a->jacobian.spectrum, spectrum, 2, 1e-5);
    assert_near("cosine", &a->orthogonality.mean_abs_cosine, &cosine, 1, 1e-5);
    const iv_warning *w_oblique = told(a, "oblique");
    assert_non_null(w_oblique);
    assert_near("told", &w_oblique->value, &cosine, 1, 1e-5);
    iv_dataset_free(audit.draws);
    iv_analysis_free(a);
    iv_model_free(m);
}

/* The spectrum does not ask in which axes the latents lie: PCA of Dec(mu), here of the data. */
static void a_linear_autoencoder_has_the_spectrum_of_pca(void **state)
{
    (void)state;
    enum { D = 3, N = 2, COUNT = 500 };
    /* mu = A x, x = W mu + b on a plane; A W = 1 with oblique columns of W */
    static const float w[D * N] = {2, 1, 0, 1, 0, 0}, inverse[N * D] = {0.5F, -0.5F, 0, 0, 1, 0};
    double x[COUNT * D], mu[COUNT * N], cov[3] = {0}, mean[2] = {0};
    isovae_error err = {0};
    iv_dataset *data;
    iv_audit audit;
    iv_model *m = linear(D, N, w, inverse);
    for (size_t r = 0; r < COUNT; r++) {
        double u = sin(0.7 * (double)r), v = 0.5 * cos(1.9 * (double)(r * r % 101));
        x[r * D] = 2 * u + v;
        x[r * D + 1] = v;
        x[r * D + 2] = 0.01 * sin((double)r);
        mu[r * N] = u;
        mu[r * N + 1] = v;
    }
    for (size_t i = 0; i < D; i++) param_of(m, m->decoder, "dec.out.bias")[i] = 0;
    for (size_t r = 0; r < COUNT; r++)
        for (size_t j = 0; j < N; j++) mean[j] += mu[r * N + j] / COUNT;
    for (size_t r = 0; r < COUNT; r++) {
        double u = mu[r * N] - mean[0], v = mu[r * N + 1] - mean[1];
        cov[0] += u * u / COUNT;
        cov[1] += u * v / COUNT;
        cov[2] += v * v / COUNT;
    }
    assert_int_equal(iv_dataset_from_rows(x, COUNT, D, NULL, &data, &err), 0);
    iv_analysis *a = analyse(m, data, IV_UNKNOWN_WIDTH, &audit);
    assert_null(audit.draws);
    assert_near("spectrum", a->jacobian.spectrum, a->pca.eigenvalues, N, 1e-3);
    const double importance[2] = {4 * cov[0], 2 * cov[2]}; /* |w_j|^2 Var(mu_j) */
    for (size_t j = 0; j < N; j++)
        assert_near("importance", &a->latents[j].importance, &importance[a->latents[j].index], 1,
                    1e-4);
    const double lost = 1e-4 * 0.5; /* the third column */
    assert_near("residual", &a->distortion.residual, &lost, 1, 0.05);
    assert_near("error", &audit.error, &lost, 1, 0.05);
    assert_nothing_of_sigma(a);
    assert_non_null(told(a, "no_width"));
    assert_null(told(a, "misread"));
    /* signed change of x for one SD of the code */
    const iv_latent_report *first = &a->latents[0];
    const double moved = 2 * sqrt(cov[0]);
    assert_int_equal(first->index, 0);
    assert_int_equal(first->top[0].feature, 0);
    assert_near("loading", &first->top[0].mean, &moved, 1, 1e-3);
    iv_dataset_free(data);
    iv_analysis_free(a);
    iv_model_free(m);
}

static void a_dead_decoder_is_collapsed(void **state)
{
    (void)state;
    static const float w[3 * 2] = {0};
    iv_audit audit;
    iv_model *m = linear(3, 2, w, NULL);
    iv_analysis *a = analyse(m, NULL, IV_UNKNOWN_ENCODER, &audit);
    assert_int_equal(a->active, 0);
    assert_non_null(told(a, "collapsed"));
    assert_false(told(a, "collapsed")->note);
    assert_null(told(a, "curved"));
    iv_dataset_free(audit.draws);
    iv_analysis_free(a);
    iv_model_free(m);
}

/* ---- networks from files, against differences ---- */

typedef struct opened {
    char data_path[80], encoder[80], decoder[80];
    iv_onnx_vae_options options;
    iv_dataset *data;
    iv_onnx_vae vae;
    iv_audit audit;
    iv_analysis *analysis;
} opened;

/* encoder or data NULL: none */
static void prepare(opened *o, const char *encoder, const char *decoder, const char *data)
{
    isovae_error err = {0};
    iv_data_options data_options = {.header = -1};
    memset(o, 0, sizeof *o);
    iv_onnx_vae_options_init(&o->options);
    snprintf(o->data_path, sizeof o->data_path, "tests/onnx/%s.npy", data != NULL ? data : "");
    snprintf(o->encoder, sizeof o->encoder, "tests/onnx/%s.onnx", encoder != NULL ? encoder : "");
    snprintf(o->decoder, sizeof o->decoder, "tests/onnx/%s.onnx", decoder);
    if (encoder != NULL) o->options.encoder = o->encoder;
    o->options.decoder = o->decoder;
    if (data != NULL && iv_dataset_open(o->data_path, &data_options, &o->data, &err))
        fail_msg("%s", err.message);
}

static void load_and_analyse(opened *o)
{
    isovae_error err = {0};
    if (iv_onnx_vae_load(o->data, &o->options, &o->vae, &err)) fail_msg("%s", err.message);
    iv_unknown unknown = o->vae.no_encoder ? IV_UNKNOWN_ENCODER
                         : o->vae.no_width ? IV_UNKNOWN_WIDTH
                                           : IV_UNKNOWN_NOTHING;
    o->analysis = analyse(o->vae.model, o->data, unknown, &o->audit);
}

static void shut(opened *o)
{
    iv_analysis_free(o->analysis);
    iv_model_free(o->vae.model);
    iv_dataset_free(o->audit.draws);
    iv_dataset_free(o->data);
}

/* Of squared lengths of columns by central differences at codes z, network units: their means
 * (n), those of the products (n x n), mean |cosine|, variation and straightness. */
typedef struct measured {
    double gram[MOST_CODES * MOST_CODES], cosine[MOST_CODES * MOST_CODES];
    double cv[MOST_CODES], straight[MOST_CODES];
} measured;

static void measure(const iv_model *m, const double *z, size_t rows, measured *out)
{
    enum { AT_ONCE = 2 * MOST_CODES };
    const double h = 0.003;
    size_t n = m->n, d = m->d;
    double codes[AT_ONCE * MOST_CODES], x[AT_ONCE * MOST_FEATURES];
    double column[MOST_CODES][MOST_FEATURES], mean[MOST_CODES][MOST_FEATURES] = {{0}};
    double length[MOST_CODES] = {0};
    isovae_error err = {0};
    assert_true(n <= MOST_CODES && d <= MOST_FEATURES);
    memset(out, 0, sizeof *out);
    for (size_t r = 0; r < rows; r++) {
        double lengths[MOST_CODES];
        for (size_t k = 0; k < 2 * n; k++) {
            memcpy(codes + k * n, z + r * n, n * sizeof *codes);
            codes[k * n + k / 2] += k % 2 ? -h : h;
        }
        assert_int_equal(iv_decode_rows(m, codes, 2 * n, NULL, NULL, x, &err), 0);
        for (size_t j = 0; j < n; j++)
            for (size_t i = 0; i < d; i++)
                column[j][i] =
                    (x[2 * j * d + i] - x[(2 * j + 1) * d + i]) / (2 * h * m->scaling.scale[i]);
        for (size_t j = 0; j < n; j++) {
            double square = 0;
            for (size_t i = 0; i < d; i++) {
                square += column[j][i] * column[j][i];
                mean[j][i] += column[j][i] / (double)rows;
            }
            lengths[j] = sqrt(square);
            length[j] += lengths[j] / (double)rows;
        }
        for (size_t j = 0; j < n; j++) {
            for (size_t k = 0; k < n; k++) {
                double dot = 0;
                for (size_t i = 0; i < d; i++) dot += column[j][i] * column[k][i];
                out->gram[j * n + k] += dot / (double)rows;
                out->cosine[j * n + k] += fabs(dot / lengths[j] / lengths[k]) / (double)rows;
            }
        }
    }
    for (size_t j = 0; j < n; j++) {
        double square = out->gram[j * n + j], straight = 0;
        for (size_t i = 0; i < d; i++) straight += mean[j][i] * mean[j][i];
        out->cv[j] = sqrt(square / length[j] / length[j] - 1);
        out->straight[j] = straight / square;
    }
}

/* Everything that the analysis says of the Jacobian; covariance: n x n. */
static void assert_measured(const char *name, const iv_analysis *a, const measured *m,
                            const double *covariance)
{
    size_t n = a->n, active = 0;
    double trace = 0, squares = 0, sum = 0, sum_squares = 0, product[MOST_CODES * MOST_CODES];
    for (size_t j = 0; j < n; j++) {
        const iv_latent_report *l = &a->latents[j];
        size_t i = l->index;
        double importance = m->gram[i * n + i] * covariance[i * n + i];
        if (!l->active) continue;
        active++;
        assert_near(name, &l->column_square, &m->gram[i * n + i], 1, 3e-3);
        assert_near(name, &l->importance, &importance, 1, 3e-3);
        assert_near(name, &l->column_straight, &m->straight[i], 1, 3e-3);
        assert_true(fabs(l->column_cv - m->cv[i]) < 3e-3);
        for (size_t k = 0; k < n; k++)
            if (k != j && a->latents[k].active)
                assert_true(fabs(a->cosine[j * n + k] - m->cosine[i * n + a->latents[k].index]) <
                            2e-3);
        /* integrated beside the bound, which holds for Gaussian codes (uniform ones: 12/pi^2 times)
         */
        assert_true(l->variance_y < 1.3 * l->importance && l->variance_y > 0.3 * l->importance);
    }
    assert_true(active > 0 && active == a->active);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < n; k++) {
            product[i * n + k] = 0;
            for (size_t j = 0; j < n; j++)
                product[i * n + k] += covariance[i * n + j] * m->gram[j * n + k];
        }
    }
    for (size_t i = 0; i < n; i++) {
        trace += product[i * n + i];
        for (size_t k = 0; k < n; k++) squares += product[i * n + k] * product[k * n + i];
        sum += a->jacobian.spectrum[i];
        sum_squares += a->jacobian.spectrum[i] * a->jacobian.spectrum[i];
    }
    assert_near(name, &sum, &trace, 1, 3e-3);
    assert_near(name, &sum_squares, &squares, 1, 4e-3);
}

static void means_alone_agree_with_differences(void **state)
{
    (void)state;
    static const char *const names[][3] = {{"autoencoder_enc", "autoencoder_dec", "table"},
                                           {"mlp_enc", "mlp_dec", "table"},
                                           {"conv_enc", "conv_dec", "grey"}};
    for (size_t f = 0; f < sizeof names / sizeof names[0]; f++) {
        opened o;
        measured m;
        isovae_error err = {0};
        size_t rows[ROWS];
        double mu[ROWS * MOST_CODES], covariance[MOST_CODES * MOST_CODES] = {0};
        prepare(&o, names[f][0], names[f][1], names[f][2]);
        o.options.means_only = true;
        load_and_analyse(&o);
        assert_true(o.vae.no_width && !o.vae.no_encoder);
        size_t n = o.vae.model->n;
        for (size_t r = 0; r < ROWS; r++) rows[r] = r;
        assert_int_equal(
            iv_encode_rows(o.vae.model, o.data, rows, ROWS, NULL, NULL, mu, NULL, NULL, &err), 0);
        for (size_t j = 0; j < n; j++) {
            for (size_t k = 0; k < n; k++) {
                double a = 0, b = 0, ab = 0;
                for (size_t r = 0; r < ROWS; r++) {
                    a += mu[r * n + j] / ROWS;
                    b += mu[r * n + k] / ROWS;
                    ab += mu[r * n + j] * mu[r * n + k] / ROWS;
                }
                covariance[j * n + k] = ab - a * b;
            }
        }
        measure(o.vae.model, mu, ROWS, &m);
        assert_measured(names[f][0], o.analysis, &m, covariance);
        assert_nothing_of_sigma(o.analysis);
        assert_non_null(told(o.analysis, "no_width"));
        assert_true(o.analysis->distortion.residual == o.analysis->distortion.transform);
        assert_near("error", &o.audit.error, &o.analysis->distortion.transform, 1, 1e-4);
        assert_true(o.audit.error < 0.5 * o.audit.mean_error);
        shut(&o);
    }
}

static void a_decoder_alone_agrees_with_differences(void **state)
{
    (void)state;
    for (int with_data = 0; with_data < 2; with_data++) {
        opened o;
        measured m;
        double covariance[MOST_CODES * MOST_CODES] = {0};
        prepare(&o, NULL, "mlp_dec", with_data ? "table" : NULL);
        load_and_analyse(&o);
        assert_true(o.vae.no_encoder);
        const iv_analysis *a = o.analysis;
        size_t n = a->n, d = a->d;
        double *z = calloc(a->rows * n, sizeof *z), mean = 0, theirs = 0;
        assert_non_null(z);
        for (size_t r = 0; r < a->rows; r++)
            for (size_t j = 0; j < n; j++) z[r * n + a->latents[j].index] = a->mu[r * n + j];
        for (size_t j = 0; j < n; j++) covariance[j * n + j] = 1;
        measure(o.vae.model, z, a->rows, &m);
        assert_measured("mlp_dec", a, &m, covariance);
        assert_nothing_of_sigma(a);
        assert_null(a->transform_rows);
        assert_true(isnan(a->distortion.transform));
        assert_int_equal(o.audit.draws->rows, a->rows);
        /* variances and means, network units being those of the data */
        double drawn = 0, given = 0, apart = 0;
        for (size_t i = 0; i < d; i++) {
            double sums[4] = {0};
            for (size_t r = 0; r < a->rows; r++) {
                sums[0] += o.audit.draws->values[r * d + i];
                sums[1] += pow(o.audit.draws->values[r * d + i], 2);
            }
            mean = sums[0] / (double)a->rows;
            drawn += sums[1] / (double)a->rows - mean * mean;
            for (size_t r = 0; with_data && r < o.data->rows; r++) {
                sums[2] += o.data->values[r * d + i];
                sums[3] += pow(o.data->values[r * d + i], 2);
            }
            theirs = with_data ? sums[2] / (double)o.data->rows : 0;
            given += with_data ? sums[3] / (double)o.data->rows - theirs * theirs : 0;
            apart += (mean - theirs) * (mean - theirs);
        }
        assert_near("variance", &o.audit.variance, &drawn, 1, 1e-4);
        if (with_data) {
            apart = sqrt(apart / given);
            assert_near("that of the data", &o.audit.data_variance, &given, 1, 1e-4);
            assert_near("means apart", &o.audit.mean_distance, &apart, 1, 1e-3);
            assert_null(told(a, "misread"));
            assert_null(told(a, "prior_mismatch"));
        } else {
            assert_true(isnan(o.audit.data_variance) && isnan(o.audit.mean_distance));
        }
        free(z);
        shut(&o);
    }
}

/* Pictures of a decoder alone have their shape from the network. */
static void pictures_of_a_decoder_alone(void **state)
{
    (void)state;
    opened o;
    prepare(&o, NULL, "conv_dec", NULL);
    load_and_analyse(&o);
    assert_int_equal(o.audit.draws->height, 8);
    assert_int_equal(o.audit.draws->width, 8);
    assert_int_equal(o.audit.draws->channels, 1);
    shut(&o);
    prepare(&o, NULL, "nhwc_dec", NULL);
    load_and_analyse(&o);
    assert_int_equal(o.audit.draws->height, 8);
    assert_int_equal(o.audit.draws->channels, 3);
    shut(&o);
}

static void other_numbers_are_seen(void **state)
{
    (void)state;
    opened o;
    prepare(&o, NULL, "mlp_dec", "table");
    o.options.n_channels = 1;
    o.options.mean[0] = 5;
    o.options.sd[0] = 1;
    load_and_analyse(&o);
    assert_non_null(told(o.analysis, "misread"));
    shut(&o);
    prepare(&o, "autoencoder_enc", "autoencoder_dec", "table");
    o.options.means_only = true;
    o.options.low = -4;
    o.options.high = 4;
    load_and_analyse(&o);
    assert_non_null(told(o.analysis, "misread"));
    shut(&o);
    prepare(&o, "collapsed_enc", "collapsed_dec", "table");
    o.options.means_only = true;
    load_and_analyse(&o);
    assert_int_equal(o.analysis->active, 0);
    assert_non_null(told(o.analysis, "collapsed"));
    shut(&o);
}

/* An encoder that holds a width is not read without it unless that is asked for. */
static void a_width_is_not_overlooked(void **state)
{
    (void)state;
    isovae_error err = {0};
    opened o;
    prepare(&o, "mlp_enc", "mlp_dec", "table");
    o.options.mu = "mu";
    assert_int_not_equal(iv_onnx_vae_load(o.data, &o.options, &o.vae, &err), 0);
    assert_non_null(strstr(err.message, "--means-only"));
    shut(&o);
    prepare(&o, "mlp_enc", "mlp_dec", "table");
    o.options.mu = "mu";
    o.options.means_only = true;
    load_and_analyse(&o);
    assert_true(o.vae.no_width);
    shut(&o);
    prepare(&o, "mlp_enc", "mlp_dec", NULL);
    assert_int_not_equal(iv_onnx_vae_load(NULL, &o.options, &o.vae, &err), 0);
    assert_null(o.vae.model);
    shut(&o);
}

/* The same bytes for any number of threads. */
static void threads_do_not_matter(void **state)
{
    (void)state;
    isovae_error err = {0};
    opened one, three;
    iv_pool *pool = NULL;
    assert_int_equal(iv_pool_new(&pool, 3, &err), 0);
    prepare(&one, "mlp_enc", "mlp_dec", "table");
    one.options.means_only = true;
    load_and_analyse(&one);
    prepare(&three, "mlp_enc", "mlp_dec", "table");
    three.options.means_only = true;
    assert_int_equal(iv_onnx_vae_load(three.data, &three.options, &three.vae, &err), 0);
    iv_audit_options options = {.unknown = IV_UNKNOWN_WIDTH};
    iv_analysis_options_init(&options.analysis);
    options.analysis.pool = pool;
    assert_int_equal(
        iv_audit_run(three.vae.model, three.data, &options, &three.audit, &three.analysis, &err),
        0);
    size_t n = one.analysis->n;
    assert_memory_equal(one.analysis->jacobian.spectrum, three.analysis->jacobian.spectrum,
                        n * sizeof(double));
    for (size_t j = 0; j < n; j++)
        assert_memory_equal(&one.analysis->latents[j].variance_y,
                            &three.analysis->latents[j].variance_y, sizeof(double));
    shut(&one);
    shut(&three);
    iv_pool_free(pool);
}

/* A text of the report names what is missing; JSON has nulls. */
static void reports_tell_what_is_missing(void **state)
{
    (void)state;
    isovae_error err = {0};
    for (int alone = 0; alone < 2; alone++) {
        opened o;
        iv_text text = {0}, page = {0};
        json_t *json = NULL;
        prepare(&o, alone ? NULL : "autoencoder_enc", "autoencoder_dec", "table");
        o.options.means_only = !alone;
        load_and_analyse(&o);
        iv_report_context context = {.model = o.vae.model,
                                     .ensemble = o.vae.model,
                                     .data = alone ? o.audit.draws : o.data,
                                     .analysis = o.analysis,
                                     .audit = &o.audit};
        assert_int_equal(iv_report_text(&context, &text, &err), 0);
        assert_int_equal(iv_report_html(&context, &page, &err), 0);
        assert_int_equal(iv_report_json(&context, &json, &err), 0);
        assert_non_null(strstr(text.data, alone ? "there is no encoder" : "gives no width"));
        assert_non_null(strstr(text.data, "straight"));
        assert_null(strstr(text.data, "nan"));
        assert_null(strstr(text.data, "rate  "));
        assert_null(strstr(text.data, "at its optimum ("));
        assert_null(strstr(page.data, "nan"));
        assert_null(strstr(page.data, "id=\"optimum\""));
        static const char *const nulls[] = {"beta",      "objective", "rate_nats",
                                            "elbo_nats", "density",   "beta_estimate"};
        for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++)
            assert_true(json_is_null(json_object_get(json, nulls[i])));
        json_t *audit = json_object_get(json, "audit");
        assert_string_equal(json_string_value(json_object_get(audit, "unknown")),
                            alone ? "encoder" : "width");
        assert_int_equal(json_is_object(json_object_get(audit, "draws")), alone);
        json_t *latent = json_array_get(json_object_get(json, "latents"), 0);
        assert_true(json_is_null(json_object_get(latent, "kl_nats")));
        assert_true(json_is_null(json_object_get(latent, "optimality_mean")));
        assert_true(json_is_real(json_object_get(latent, "importance")));
        assert_true(
            json_is_real(json_object_get(json_object_get(latent, "column"), "square_mean")));
        json_decref(json);
        iv_text_free(&text);
        iv_text_free(&page);
        shut(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_linear_decoder_alone_has_its_lengths),
        cmocka_unit_test(oblique_columns_have_a_spectrum_of_their_own),
        cmocka_unit_test(a_linear_autoencoder_has_the_spectrum_of_pca),
        cmocka_unit_test(a_dead_decoder_is_collapsed),
        cmocka_unit_test(means_alone_agree_with_differences),
        cmocka_unit_test(a_decoder_alone_agrees_with_differences),
        cmocka_unit_test(pictures_of_a_decoder_alone),
        cmocka_unit_test(other_numbers_are_seen),
        cmocka_unit_test(a_width_is_not_overlooked),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(reports_tell_what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
