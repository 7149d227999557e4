/* Every quantity of the reference values (shared/reference, computed by an independent program)
 * from the same rows, weights and draws, in f64 and in the fast f32 kernels; exact equalities of
 * probabilistic PCA; identities that hold on any model; scaling; threads. */
#include "support_reference.h"

#include "base/pool.h"
#include "base/random.h"
#include "data/dataset.h"
#include "data/scaling.h"
#include "linalg/linalg.h"
#include "theory/analysis.h"
#include "theory/gram.h"
#include "theory/rows.h"
#include "theory/score.h"
#include "theory/scorer.h"
#include "theory/statistics.h"
#include "theory/summary.h"

#include <math.h>

static const double log_pi = 1.1447298858494001741;

static void ok(isovae_status status, const isovae_error *err)
{
    if (status != ISOVAE_OK) fail_msg("status %d: %s", (int)status, err->message);
}

static double *take(size_t count)
{
    double *p;
    isovae_error err;
    ok(IV_NEW(p, count, "a test", &err), &err);
    return p;
}

/* A reference model with its rows, draws and expected values, evaluated. */
typedef struct bench {
    iv_model *model;
    iv_dataset *data;
    npz inputs, expected;
    const double *eps; /* draws x rows x n */
    size_t draws, rows, n, d;
    size_t *index;
    iv_pass *pass;
    iv_rows *all, *first; /* by all draws, by the first one */
    iv_iwae *iwae;        /* draws 0 to 7 */
    double *gram;         /* rows x n x n */
    double *scratch;
    bool f32;
} bench;

static void stored_draw(void *user, size_t row, size_t draw, size_t n, double *eps)
{
    const bench *b = user;
    memcpy(eps, b->eps + (draw * b->rows + row) * n, n * sizeof *eps);
}

static void gram_chunk(void *user, iv_lane *lane, size_t first, size_t count)
{
    bench *b = user;
    iv_lane_load(lane, b->index + first, count);
    iv_lane_decode(lane, count, b->all->mu + first * b->n);
    iv_lane_gram(lane, count, b->all->logvar + first * b->n);
    memcpy(b->gram + first * b->n * b->n, lane->gram, count * b->n * b->n * sizeof *lane->gram);
}

static iv_rows *evaluated(bench *b, size_t draws)
{
    isovae_error err;
    iv_rows *rows;
    iv_draws from = {stored_draw, b};
    iv_rows_plan plan = {.draws = &from, .e0_draws = draws, .mean_draws = draws, .stage = "test"};
    ok(iv_rows_new(b->pass, b->index, b->rows, &rows, &err), &err);
    double *kl = take(b->n);
    unsigned char active[16];
    iv_rows_mean_kl(rows, kl);
    for (size_t j = 0; j < b->n; j++) active[j] = kl[j] > 0.05;
    iv_free(kl);
    ok(iv_rows_set_active(rows, active, &err), &err);
    ok(iv_rows_evaluate(rows, b->pass, &plan, &err), &err);
    return rows;
}

static bool bench_open(bench *b, const char *folder, const char *file, const char *metric,
                       iv_precision precision, iv_objective_kind objective)
{
    isovae_error err;
    char name[256];
    memset(b, 0, sizeof *b);
    b->f32 = precision != IV_PRECISION_F64_REFERENCE;
    bool linear = strncmp(folder, "ppca", 4) == 0;
    if (!ref_model(folder, linear ? IV_F64 : IV_F32, &b->model)) return false;
    b->model->objective = objective;
    if (metric != NULL) ok(iv_metric_parse(metric, &b->model->metric, &err), &err);
    (void)snprintf(name, sizeof name, "%s/data.npz", folder);
    if (!npz_open(&b->inputs, name)) return false;
    (void)snprintf(name, sizeof name, "%s/%s", folder, file);
    if (!npz_open(&b->expected, name)) return false;
    const npz_array *x = npz_get(&b->inputs, "x"), *eps = npz_get(&b->inputs, "eps");
    b->eps = eps->values;
    b->draws = eps->shape[0];
    b->rows = x->shape[0];
    b->n = b->model->n;
    b->d = b->model->d;
    ok(iv_dataset_from_rows(x->values, b->rows, b->d, NULL, &b->data, &err), &err);
    ok(IV_NEW(b->index, b->rows, "a test", &err), &err);
    for (size_t r = 0; r < b->rows; r++) b->index[r] = r;
    iv_pass_plan plan = {
        .precision = precision, .full_gram = true, .loadings = true, .draws = true};
    ok(iv_pass_new(b->model, b->data, &plan, &b->pass, &err), &err);
    b->all = evaluated(b, b->draws);
    b->first = evaluated(b, 1);
    b->gram = take(b->rows * b->n * b->n);
    b->scratch = take(b->rows * (b->d + b->n * b->n));
    ok(iv_pass_run(b->pass, "test", b->rows, gram_chunk, NULL, b, &err), &err);
    iv_draws from = {stored_draw, b};
    ok(iv_iwae_new(b->all, b->pass, &from, 8, b->rows, &b->iwae, &err), &err);
    return true;
}

static void bench_close(bench *b)
{
    iv_iwae_free(b->iwae);
    iv_rows_free(b->all);
    iv_rows_free(b->first);
    iv_pass_free(b->pass);
    iv_dataset_free(b->data);
    iv_model_free(b->model);
    npz_close(&b->inputs);
    npz_close(&b->expected);
    iv_free(b->index);
    iv_free(b->gram);
    iv_free(b->scratch);
}

static void check(const bench *b, const char *name, const double *got, size_t count, double in_f64,
                  double in_f32)
{
    const npz_array *want = npz_find(&b->expected, name);
    if (want == NULL) return; /* not every file has every quantity; the counts below see to it */
    if (want->count != count) fail_msg("%s: %zu values, expected %zu", name, count, want->count);
    assert_near(name, got, want->values, count, b->f32 ? in_f32 : in_f64);
}

static iv_row_in row_of(const bench *b, size_t r)
{
    return (iv_row_in){.n = b->n,
                       .m = b->all->m,
                       .active = b->all->active,
                       .beta = b->model->beta,
                       .mu = b->all->mu + r * b->n,
                       .logvar = b->all->logvar + r * b->n,
                       .gram = b->gram + r * b->n * b->n,
                       .transform = b->all->transform[r]};
}

/* Encoder, KL, distances, losses, Gram matrix and what follows from them row by row. */
static void check_rows(bench *b, double d_tolerance, double norm_f32)
{
    size_t n = b->n, rows = b->rows, elements = rows * n;
    double beta = b->model->beta, *v = b->scratch;
    check(b, "mu", b->all->mu, elements, 1e-12, 1e-6);
    check(b, "logvar", b->all->logvar, elements, 1e-12, 1e-6);
    for (size_t i = 0; i < elements; i++) v[i] = exp(b->all->logvar[i] / 2);
    check(b, "sigma", v, elements, 1e-12, 1e-6);
    for (size_t i = 0; i < elements; i++) v[i] = iv_kl(b->all->mu[i], b->all->logvar[i]);
    check(b, "kl", v, elements, 1e-12, 1e-6);
    /* In f32 D of model b is a small difference of large numbers. */
    check(b, "D_x_xhat", b->all->transform, rows, d_tolerance, 3e-5);
    check(b, "D_x_xbreve", b->first->total, rows, d_tolerance, 1e-5);
    check(b, "D_x_xbreve_mean", b->all->total, rows, d_tolerance, 1e-5);
    check(b, "coding_sampled", b->all->coding, rows, d_tolerance, 1e-5);

    double *kl = v + elements;
    for (size_t r = 0; r < rows; r++) {
        kl[r] = 0;
        for (size_t j = 0; j < n; j++) kl[r] += v[r * n + j];
    }
    for (size_t r = 0; r < rows; r++) v[r] = b->first->total[r] + beta * kl[r];
    check(b, "loss_conventional", v, rows, 1e-12, 3e-6);
    for (size_t r = 0; r < rows; r++) {
        v[r] = b->first->transform[r] + b->first->coding[r] + beta * kl[r];
    }
    check(b, "loss_decomposed", v, rows, 1e-12, 3e-6);

    if (npz_get(&b->expected, "gram")->count == n * n) {
        for (size_t r = 0; r < rows; r++) check(b, "gram", b->gram + r * n * n, n * n, 1e-12, 1e-6);
    } else {
        check(b, "gram", b->gram, elements * n, 1e-12, 1e-6);
    }
    check(b, "norm", b->all->norm, elements, 1e-12, norm_f32);
    for (size_t i = 0; i < elements; i++) v[i] = b->all->norm[i] + exp(b->all->logvar[i]);
    check(b, "optimality", v, elements, 1e-12, norm_f32);
    for (size_t i = 0; i < elements; i++) v[i] = b->all->norm[i] * beta / 2;
    check(b, "coding_jacobian", v, elements, 1e-12, norm_f32);
    for (size_t r = 0; r < rows; r++) {
        v[r] = 0;
        for (size_t j = 0; j < n; j++) v[r] += beta / 2 * (1 - exp(b->all->logvar[r * n + j]));
    }
    check(b, "coding_predicted", v, rows, 1e-12, 1e-6);
}

/* Cosines of active latents; of those that are off they are noise. */
static void check_cosines(bench *b)
{
    size_t n = b->n;
    const npz_array *want = npz_get(&b->expected, "cosine");
    double worst = 0;
    for (size_t r = 0; r < b->rows; r++) {
        const double *expected = want->values + (want->count == n * n ? 0 : r * n * n);
        for (size_t p = 0; p < b->all->m; p++) {
            for (size_t q = 0; q < b->all->m; q++) {
                size_t j = b->all->active[p], k = b->all->active[q];
                double off = iv_cosine(n, b->gram + r * n * n, j, k) - expected[j * n + k];
                worst = fmax(worst, fabs(off));
            }
        }
    }
    if (worst > (b->f32 ? 1e-5 : 1e-12)) fail_msg("cosine: off by %g", worst);
}

static void check_densities(bench *b)
{
    size_t n = b->n, rows = b->rows;
    double beta = b->model->beta, *v = b->scratch;
    const npz_array *active = npz_get(&b->expected, "active");
    size_t m = 0;
    for (size_t j = 0; j < n; j++) {
        if (active->values[j] > 0.5) assert_int_equal(b->all->active[m++], j);
    }
    assert_int_equal(m, b->all->m);
    /* The reference gives E5 and E5' in the volume of G. */
    for (size_t r = 0; r < rows; r++) {
        v[r] = b->all->estimate[IV_ESTIMATE_POSTERIOR][r] - b->all->volume[r];
    }
    check(b, "e5", v, rows, 1e-12, 1e-6);
    for (size_t r = 0; r < rows; r++) {
        v[r] = b->all->estimate[IV_ESTIMATE_LOGDET][r] - b->all->volume[r];
    }
    check(b, "e5_logdet", v, rows, 1e-12, 1e-6);
    for (size_t r = 0; r < rows; r++) {
        v[r] = b->all->estimate[IV_ESTIMATE_LAPLACE][r] - b->all->volume[r];
    }
    check(b, "e5_logdet_regularised", v, rows, 1e-12, 1e-6);

    double normaliser = iv_e6_normaliser(b->model, &b->model->scaling);
    for (size_t r = 0; r < rows; r++) v[r] = b->all->estimate[IV_ESTIMATE_ELBO][r] - normaliser;
    check(b, "minus_loss_over_beta_jacobian", v, rows, 1e-12, 1e-6);
    check(b, "e6_jacobian", b->all->estimate[IV_ESTIMATE_ELBO], rows, 1e-12, 1e-6);
    for (size_t r = 0; r < rows; r++) {
        iv_row_in row = row_of(b, r);
        row.transform = b->all->total[r];
        v[r] = iv_minus_loss(&row, 0);
    }
    check(b, "minus_loss_over_beta_sampled", v, rows, 1e-12, 1e-6);
    for (size_t r = 0; r < rows; r++) v[r] += normaliser;
    check(b, "e6_sampled", v, rows, 1e-12, 1e-6);
    for (size_t r = 0; r < rows; r++) {
        iv_row_in row = row_of(b, r);
        v[r] = iv_minus_loss_at_optimum(&row) + normaliser;
    }
    check(b, "e6_at_optimum", v, rows, 1e-12, 1e-6);
    check(b, "iw_log_p", b->iwae->log_p, rows, 1e-12, 2e-6);
    check(b, "iw_ess", b->iwae->ess, rows, 1e-10, 1e-4);

    /* E5 - E5' = 1/2 sum log norm + 1/2 logdet(cosines), exactly, on any model. */
    double room[256];
    for (size_t r = 0; r < rows; r++) {
        iv_row_in row = row_of(b, r);
        double sum = -iv_cosine_cost(&row, room);
        for (size_t i = 0; i < row.m; i++) {
            size_t j = row.active[i];
            sum += 0.5 * log(iv_norm(beta, row.logvar[j], row.gram[j * n + j]));
        }
        double difference = iv_density_posterior(&row) - iv_density_logdet(&row, room);
        if (fabs(difference - sum) > 1e-11) fail_msg("E5 - E5' is %g, not %g", difference, sum);
    }
}

static void check_e0(bench *b, double f32)
{
    check(b, b->model->objective == IV_OBJECTIVE_DECOMPOSED ? "e0_decomposed" : "e0_conventional",
          b->all->e0_plain, b->rows * b->n, 1e-11, f32);
}

static void check_coordinates(bench *b)
{
    size_t n = b->n, rows = b->rows;
    isovae_error err;
    double *y = take(rows * n), rms[16], v[16];
    ok(iv_rows_coordinates(b->all, b->model, y, rms, &err), &err);
    check(b, "y", y, rows * n, 1e-12, 1e-6);
    for (size_t j = 0; j < n; j++) v[j] = iv_moments_of(rows, y + j, n).variance;
    check(b, "variance_y", v, n, npz_find(&b->expected, "y") ? 1e-12 : 1e-9, 1e-6);
    for (size_t j = 0; j < n; j++) v[j] += b->model->beta / 2;
    check(b, "importance_integrated", v, n, npz_find(&b->expected, "y") ? 1e-12 : 1e-9, 1e-6);
    for (size_t j = 0; j < n; j++) {
        v[j] = 0;
        for (size_t r = 0; r < rows; r++) {
            v[j] += b->model->beta / 2 * exp(-b->all->logvar[r * n + j]) / (double)rows;
        }
    }
    check(b, "importance_bound", v, n, 1e-12, 1e-6);
    iv_free(y);
    const npz_array *pca = npz_find(&b->expected, "pca_eigenvalues");
    if (pca != NULL) {
        double *values = take(b->d), total;
        ok(iv_pca(b->data->values, rows, b->d, NULL, b->d, 0, values, NULL, &total, &err), &err);
        assert_near("pca_eigenvalues", values, pca->values, b->d, 1e-12);
        iv_free(values);
    }
}

static void check_model(const char *folder, const char *file, const char *metric,
                        double d_tolerance, double norm_f32)
{
    for (int f32 = 0; f32 < 2; f32++) {
        bench b;
        iv_precision precision = f32 ? IV_PRECISION_F32 : IV_PRECISION_F64_REFERENCE;
        bool linear = strncmp(folder, "ppca", 4) == 0;
        if (f32 && linear) continue;
        if (!bench_open(&b, folder, file, metric, precision, IV_OBJECTIVE_CONVENTIONAL)) skip();
        check_rows(&b, d_tolerance, norm_f32);
        check_cosines(&b);
        check_densities(&b);
        check_coordinates(&b);
        check_e0(&b, 3e-6);
        bench_close(&b);
        if (!bench_open(&b, folder, file, metric, precision, IV_OBJECTIVE_DECOMPOSED)) skip();
        check_e0(&b, 3e-6);
        bench_close(&b);
    }
}

static void toy_random(void **state)
{
    (void)state;
    check_model("models/a_toy_random", "expected.npz", NULL, 1e-12, 1e-6);
}

static void toy_weighted_down(void **state)
{
    (void)state;
    check_model("models/a_toy_random", "expected_weighted_down.npz", "weighted:down", 1e-12, 1e-6);
}

static void toy_weighted_up(void **state)
{
    (void)state;
    check_model("models/a_toy_random", "expected_weighted_up.npz", "weighted:up", 1e-12, 1e-6);
}

static void toy_trained(void **state)
{
    (void)state;
    check_model("models/b_toy_trained", "expected.npz", NULL, 1e-11, 2e-6);
}

static void bce_random(void **state)
{
    (void)state;
    check_model("models/c_bce_random", "expected.npz", NULL, 1e-12, 1e-6);
}

/* Convolutions, batch norm with running statistics, transposed convolutions. */
static void conv_trained(void **state)
{
    (void)state;
    check_model("models/d_conv", "expected.npz", NULL, 1e-12, 2e-6);
}

static void ppca_all_active(void **state)
{
    (void)state;
    check_model("ppca/beta0.8", "expected.npz", NULL, 1e-12, 1e-6);
}

static void ppca_one_off(void **state)
{
    (void)state;
    check_model("ppca/beta4", "expected.npz", NULL, 1e-12, 1e-6);
}

/* At the exact optimum of a linear VAE: optimality 1, importance = eigenvalue, E6 and every
 * importance-weighted estimate = log p, E5'' = log p on the manifold. */
static void check_exact(const char *folder)
{
    bench b;
    if (!bench_open(&b, folder, "expected.npz", NULL, IV_PRECISION_F64_REFERENCE,
                    IV_OBJECTIVE_CONVENTIONAL)) {
        skip();
    }
    size_t n = b.n, rows = b.rows;
    double *v = b.scratch;
    for (size_t i = 0; i < rows * n; i++) {
        double e1 = b.all->norm[i] + exp(b.all->logvar[i]);
        if (fabs(e1 - 1) > 1e-12) fail_msg("optimality %.17g", e1);
    }
    const double *log_p = npz_get(&b.expected, "log_p_exact")->values;
    const double *manifold = npz_get(&b.expected, "log_p_manifold")->values;
    assert_near("E6", b.all->estimate[IV_ESTIMATE_ELBO], log_p, rows, 1e-12);
    assert_near("E5''", b.all->estimate[IV_ESTIMATE_LAPLACE], manifold, rows, 1e-12);
    assert_near("importance weighted", b.iwae->log_p, log_p, rows, 1e-12);
    const double *eigenvalues = npz_get(&b.expected, "eigenvalues")->values;
    for (size_t j = 0; j < n; j++) {
        double mean = 0;
        for (size_t r = 0; r < rows; r++) mean += exp(-b.all->logvar[r * n + j]) / (double)rows;
        v[j] = b.model->beta / 2 * mean;
        if (eigenvalues[j] < b.model->beta / 2) v[j] = eigenvalues[j]; /* off: it has beta/2 */
    }
    assert_near("importance", v, eigenvalues, n, 1e-10);
    for (size_t r = 0; r < rows; r++) {
        v[r] = b.all->estimate[IV_ESTIMATE_POSTERIOR][r] - manifold[r];
    }
    assert_near("bias of E5", v, npz_get(&b.expected, "bias_e5")->values, rows, 1e-12);
    for (size_t r = 0; r < rows; r++) v[r] = b.all->estimate[IV_ESTIMATE_LOGDET][r] - manifold[r];
    assert_near("bias of E5'", v, npz_get(&b.expected, "bias_e5_logdet")->values, rows, 1e-12);
    /* Here the control variate is exact: E0 is 1 whatever the draws. */
    for (size_t i = 0; i < rows * n; i++) {
        double e0 = b.all->e0[i];
        if (fabs(e0 - 1) > 1e-12) fail_msg("E0 with the control variate: %.17g", e0);
    }
    bench_close(&b);
}

static void ppca_exact(void **state)
{
    (void)state;
    check_exact("ppca/beta0.8");
    check_exact("ppca/beta4");
}

/* The control variate leaves the expectation and takes out most of the spread. */
static void control_variate(void **state)
{
    (void)state;
    bench b;
    if (!bench_open(&b, "models/b_toy_trained", "expected.npz", NULL, IV_PRECISION_F64_REFERENCE,
                    IV_OBJECTIVE_CONVENTIONAL)) {
        skip();
    }
    for (size_t i = 0; i < b.all->m; i++) {
        size_t j = b.all->active[i];
        iv_moments plain = iv_moments_of(b.rows, b.all->e0_plain + j, b.n);
        iv_moments controlled = iv_moments_of(b.rows, b.all->e0 + j, b.n);
        assert_true(controlled.se < plain.se / 4);
        assert_true(fabs(controlled.mean - plain.mean) < 4 * plain.se);
        assert_true(fabs(controlled.mean - 1) < 0.02);
    }
    bench_close(&b);
}

/* The loss of each row, by all draws, with mu_j or logvar_j moved by `h`. */
static void moved_loss(bench *b, size_t j, bool of_mu, double h, double *loss)
{
    isovae_error err;
    iv_rows *rows;
    iv_draws from = {stored_draw, b};
    iv_rows_plan plan = {.draws = &from, .mean_draws = b->draws, .stage = "test"};
    unsigned char active[16] = {0};
    ok(iv_rows_new(b->pass, b->index, b->rows, &rows, &err), &err);
    for (size_t r = 0; r < b->rows; r++) *((of_mu ? rows->mu : rows->logvar) + r * b->n + j) += h;
    ok(iv_rows_set_active(rows, active, &err), &err);
    ok(iv_rows_evaluate(rows, b->pass, &plan, &err), &err);
    for (size_t r = 0; r < b->rows; r++) {
        loss[r] = b->model->objective == IV_OBJECTIVE_DECOMPOSED
                      ? rows->transform[r] + rows->coding[r]
                      : rows->total[r];
        for (size_t k = 0; k < b->n; k++) {
            loss[r] += b->model->beta * iv_kl(rows->mu[r * b->n + k], rows->logvar[r * b->n + k]);
        }
    }
    iv_rows_free(rows);
}

/* E0 - 1 = (2/beta) dL/dlogvar and shift = (sigma/beta) dL/dmu, row by row, against differences. */
static void derivatives(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        bench b;
        const char *folder = i < 2 ? "models/a_toy_random" : "models/c_bce_random";
        if (!bench_open(&b, folder, "expected.npz", NULL, IV_PRECISION_F64_REFERENCE,
                        i % 2 ? IV_OBJECTIVE_DECOMPOSED : IV_OBJECTIVE_CONVENTIONAL)) {
            skip();
        }
        const double h = 1e-6, beta = b.model->beta;
        double *low = take(b.rows), *high = take(b.rows), *got = take(b.rows);
        for (size_t j = 0; j < b.n; j++) {
            moved_loss(&b, j, false, -h, low);
            moved_loss(&b, j, false, h, high);
            for (size_t r = 0; r < b.rows; r++) {
                low[r] = (high[r] - low[r]) / (2 * h);
                got[r] = beta / 2 * (b.all->e0_plain[r * b.n + j] - 1);
            }
            assert_near("dL/dlogvar", got, low, b.rows, 1e-7);
            moved_loss(&b, j, true, -h, low);
            moved_loss(&b, j, true, h, high);
            for (size_t r = 0; r < b.rows; r++) {
                low[r] = (high[r] - low[r]) / (2 * h);
                got[r] = beta * b.all->shift[r * b.n + j] / exp(b.all->logvar[r * b.n + j] / 2);
            }
            assert_near("dL/dmu", got, low, b.rows, 1e-7);
        }
        iv_free(low);
        iv_free(high);
        iv_free(got);
        bench_close(&b);
    }
}

/* The keyed, antithetic draws of the report agree with the given ones in the mean. */
static void keyed_draws(void **state)
{
    (void)state;
    iv_keyed_draws keyed = {.seed = 3, .stream = 1, .antithetic = true};
    double a[3], b[3], c[3], again[3];
    iv_keyed_draw(&keyed, 7, 4, 3, a);
    iv_keyed_draw(&keyed, 7, 5, 3, b);
    iv_keyed_draw(&keyed, 7, 6, 3, c);
    iv_keyed_draw(&keyed, 7, 4, 3, again);
    for (size_t j = 0; j < 3; j++) {
        assert_true(a[j] == -b[j] && a[j] != c[j] && a[j] == again[j]);
    }
}

/* --- whole analyses --- */

static iv_analysis *analysed(const iv_model *model, const iv_dataset *data, iv_precision precision,
                             iv_pool *pool)
{
    isovae_error err;
    iv_analysis_options options;
    iv_analysis *a;
    iv_analysis_options_init(&options);
    options.precision = precision;
    options.pool = pool;
    options.iwae_rows = 50;
    ok(iv_analyse(model, data, &options, &a, &err), &err);
    return a;
}

/* Model b as data with known truth. */
static bool toy_bench(iv_model **model, iv_dataset **data, npz *inputs)
{
    isovae_error err;
    if (!ref_model("models/b_toy_trained", IV_F32, model)) return false;
    if (!npz_open(inputs, "models/b_toy_trained/data.npz")) return false;
    const npz_array *x = npz_get(inputs, "x"), *s = npz_get(inputs, "s");
    ok(iv_dataset_from_rows(x->values, x->shape[0], x->shape[1], NULL, data, &err), &err);
    iv_truth *truth;
    ok(IV_NEW(truth, 1, "a test", &err), &err);
    (*data)->truth = truth;
    truth->n_factors = 3;
    ok(IV_NEW(truth->factor_names, 3, "a test", &err), &err);
    for (size_t f = 0; f < 3; f++) {
        ok(iv_strdup(&truth->factor_names[f], (const char *[]){"s1", "s2", "s3"}[f], &err), &err);
    }
    ok(IV_NEW(truth->factors, s->count, "a test", &err), &err);
    memcpy(truth->factors, s->values, s->count * sizeof(double));
    ok(IV_NEW(truth->log_density, x->shape[0], "a test", &err), &err);
    memcpy(truth->log_density, npz_get(inputs, "log_p_true")->values, x->shape[0] * sizeof(double));
    return true;
}

static bool has_warning(const iv_analysis *a, const char *code)
{
    for (size_t i = 0; i < a->n_warnings; i++) {
        if (strcmp(a->warnings[i].code, code) == 0) return true;
    }
    return false;
}

static void assert_no_alarm(const iv_analysis *a)
{
    for (size_t i = 0; i < a->n_warnings; i++) {
        if (!a->warnings[i].note) fail_msg("%s: %s", a->warnings[i].code, a->warnings[i].text);
    }
}

static void analysis_of_toy(void **state)
{
    (void)state;
    iv_model *model;
    iv_dataset *data;
    npz inputs;
    if (!toy_bench(&model, &data, &inputs)) skip();
    iv_analysis *a = analysed(model, data, IV_PRECISION_F32, NULL);
    assert_int_equal(a->rows, 200);
    assert_int_equal(a->active, 3);
    assert_int_equal(a->n, 5);
    assert_string_equal(a->row_set, "all");
    assert_string_equal(a->space, "data");
    assert_false(a->data_is_training_set);
    assert_no_alarm(a);
    double shares = 0;
    for (size_t j = 0; j < 5; j++) {
        const iv_latent_report *l = &a->latents[j];
        assert_true(l->active == (j < 3));
        if (j > 0) assert_true(l->variance_y <= a->latents[j - 1].variance_y);
        shares += l->share;
        assert_true(fabs(l->optimality_mean - 1) < 0.02);
        assert_true(fabs(l->stationarity_mean - 1) < 5 * l->stationarity_se + 0.02);
        assert_true(l->n_top == IV_TOP_LOADINGS);
        for (size_t i = 1; i < l->n_top; i++) assert_true(l->top[i].share <= l->top[i - 1].share);
        double sum = 0;
        for (size_t i = 0; i < a->d; i++) sum += l->loading_rms[i] * l->loading_rms[i];
        if (j < 3) { /* the columns have length 1 in y, so the loadings have that of sd(y) */
            double var = l->variance_y - a->beta / 2;
            assert_true(fabs(sum - var) < 0.03 * var);
        }
        assert_int_equal(l->degenerate_group, -1);
    }
    npz expected;
    assert_true(npz_open(&expected, "models/b_toy_trained/expected.npz"));
    for (size_t j = 0; j < 5; j++) {
        const iv_latent_report *l = &a->latents[j];
        const npz_array *norm = npz_get(&expected, "norm");
        double mean = iv_moments_of(200, norm->values + l->index, 5).mean;
        assert_near("importance", &l->importance,
                    npz_get(&expected, "importance_bound")->values + l->index, 1, 2e-6);
        assert_near("variance_y", &l->variance_y,
                    npz_get(&expected, "importance_integrated")->values + l->index, 1, 2e-6);
        if (l->active) assert_near("norm", &l->norm_mean, &mean, 1, 2e-6);
    }
    npz_close(&expected);
    assert_true(shares > 0.99 && shares <= 1 + 1e-12);
    assert_true(fabs(a->beta_estimate / a->beta - 1) < 0.02);
    assert_true(fabs(a->distortion.coding / a->distortion.coding_predicted - 1) < 0.05);
    assert_true(a->orthogonality.mean_abs_cosine < 0.02);
    assert_true(a->orthogonality.max_abs_cosine >= a->orthogonality.mean_abs_cosine);
    assert_true(a->orthogonality.cost_nats >= 0 && a->orthogonality.cost_nats < 0.005);
    assert_int_equal(a->pca.active_predicted, 3);
    assert_true(a->pca.residual < 1e-6);
    assert_true(fabs(a->density.iwae.mean_difference) < 0.05);
    assert_true(a->density.iwae.ess > 30 && a->density.iwae.ess <= 64);
    assert_int_equal(a->density.iwae.rows, 50);

    assert_true(a->truth.known && a->truth.density_known);
    assert_int_equal(a->truth.n_factors, 3);
    for (size_t f = 0; f < 3; f++) {
        assert_int_equal(a->truth.latent[f], f);
        assert_true(fabs(a->truth.spearman[f]) > 0.998);
        assert_true(fabs(a->truth.ratio[f] - 1) < 0.03);
    }
    assert_string_equal(a->truth.names[0], "s3"); /* the largest variance first */
    for (size_t e = 0; e < IV_ESTIMATES; e++) {
        assert_true(a->truth.density[e].r > 0.999 && a->truth.density[e].r_log > 0.999);
        assert_true(fabs(a->truth.density[e].bias_nats) < 0.02);
        assert_true(a->truth.density[e].sd_nats < 0.06);
    }
    iv_analysis_free(a);
    iv_dataset_free(data);
    iv_model_free(model);
    npz_close(&inputs);
}

/* With a weighted metric the step from G's volume to that of the data is (3/2) log a(x), row by
 * row; what is told of the densities without it leaves it out. */
static void volume_correction(void **state)
{
    (void)state;
    iv_model *model;
    iv_dataset *data;
    npz inputs;
    isovae_error err;
    if (!toy_bench(&model, &data, &inputs)) skip();
    iv_analysis *a = analysed(model, data, IV_PRECISION_F32, NULL);
    for (size_t e = 0; e < IV_ESTIMATES; e++) {
        const iv_density_truth *d = &a->truth.density[e];
        assert_true(fabs(d->r_uncorrected - d->r) < 1e-12); /* one weight for all rows */
        assert_true(fabs(d->r_log_uncorrected - d->r_log) < 1e-12);
    }
    iv_analysis_free(a);
    ok(iv_metric_parse("weighted:down", &model->metric, &err), &err);
    a = analysed(model, data, IV_PRECISION_F32, NULL);
    double estimate[200], truth[200];
    for (size_t e = 0; e < IV_ESTIMATES; e++) {
        for (size_t r = 0; r < 200; r++) {
            double square = 0;
            for (size_t i = 0; i < data->cols; i++) {
                square += pow(npz_get(&inputs, "x")->values[r * data->cols + i], 2);
            }
            estimate[r] = a->density.all[e][r];
            if (e != IV_ESTIMATE_ELBO) estimate[r] -= 1.5 * log(2.0 / 3 + 2 * square / 21);
            truth[r] = data->truth->log_density[a->row_index[r]];
        }
        double r_log = iv_pearson(200, truth, 1, estimate, 1);
        /* a is taken of the row; the last digits are those of f32 rows far out */
        assert_true(fabs(a->truth.density[e].r_log_uncorrected - r_log) < 2e-4);
        assert_true(fabs(a->truth.density[e].r_log - r_log) > 0.01);
    }
    iv_analysis_free(a);
    iv_dataset_free(data);
    iv_model_free(model);
    npz_close(&inputs);
}

/* Rows of the distribution that model b was trained on: normal factors of variance 1/6, 2/3 and 8/3
 * along its three directions. */
static iv_dataset *toy_rows(size_t rows, uint64_t seed)
{
    static const double variance[] = {1.0 / 6, 2.0 / 3, 8.0 / 3};
    isovae_error err;
    iv_dataset *data;
    npz inputs;
    assert_true(npz_open(&inputs, "models/b_toy_trained/data.npz"));
    const double *directions = npz_get(&inputs, "directions")->values;
    double *x = take(rows * 16);
    for (size_t r = 0; r < rows; r++) {
        double s[3];
        iv_normals_f64(&(iv_key){.seed = seed, .purpose = IV_PURPOSE_TOY, .row = r}, 3, s);
        for (size_t i = 0; i < 48; i++) {
            x[r * 16 + i % 16] += s[i / 16] * sqrt(variance[i / 16]) * directions[i];
        }
    }
    ok(iv_dataset_from_rows(x, rows, 16, NULL, &data, &err), &err);
    iv_free(x);
    npz_close(&inputs);
    return data;
}

static void same_analysis(const iv_analysis *a, const iv_analysis *b)
{
    size_t n = a->n, rows = a->rows;
    for (size_t j = 0; j < n; j++) {
        const iv_latent_report *p = &a->latents[j], *q = &b->latents[j];
        assert_memory_equal(p->loading_mean, q->loading_mean, a->d * sizeof(double));
        assert_memory_equal(p->loading_rms, q->loading_rms, a->d * sizeof(double));
        assert_memory_equal(&p->importance, &q->importance,
                            offsetof(iv_latent_report, n_top) -
                                offsetof(iv_latent_report, importance));
    }
    for (size_t e = 0; e < IV_ESTIMATES; e++) {
        assert_memory_equal(a->density.all[e], b->density.all[e], rows * sizeof(double));
    }
    assert_memory_equal(a->cosine, b->cosine, n * n * sizeof(double));
    assert_memory_equal(&a->distortion, &b->distortion, sizeof a->distortion);
    assert_memory_equal(a->y, b->y, rows * n * sizeof(double));
    assert_memory_equal(&a->density.iwae, &b->density.iwae, sizeof a->density.iwae);
    assert_memory_equal(&a->elbo_nats, &b->elbo_nats, sizeof a->elbo_nats);
}

/* 1, 2 and 4 threads; 1300 rows, so that several chunks run beside each other. */
static void threads(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *model;
    iv_dataset *data;
    if (!ref_model("models/b_toy_trained", IV_F32, &model)) skip();
    data = toy_rows(1300, 5);
    iv_analysis *one = analysed(model, data, IV_PRECISION_F32, NULL);
    for (size_t count = 2; count <= 4; count += 2) {
        iv_pool *pool;
        ok(iv_pool_new(&pool, count, &err), &err);
        iv_analysis *other = analysed(model, data, IV_PRECISION_F32, pool);
        same_analysis(one, other);
        iv_analysis_free(other);
        iv_pool_free(pool);
    }
    iv_analysis_free(one);
    iv_dataset_free(data);
    iv_model_free(model);
}

/* --- scaling --- */

/* The network of a model with features in units of their own: x = shift + scale x', which moves
 * into the first and last layer, so that the same data give the same function. */
static void absorb_scaling(iv_model *model, const double *shift, const double *scale)
{
    float *params = model->params;
    size_t d = model->d;
    for (size_t i = 0; i < model->encoder->n_params; i++) {
        const iv_param *w = &model->encoder->params[i];
        if (w->shape.rank != 2 || w->shape.dim[1] != d) continue;
        const iv_param *b = &model->encoder->params[i + 1];
        for (size_t o = 0; o < w->shape.dim[0]; o++) {
            double sum = (double)params[b->offset + o];
            for (size_t k = 0; k < d; k++) {
                sum += (double)params[w->offset + o * d + k] * shift[k];
                params[w->offset + o * d + k] *= (float)scale[k];
            }
            params[b->offset + o] = (float)sum;
        }
    }
    for (size_t i = 0; i < model->decoder->n_params; i++) {
        const iv_param *w = &model->decoder->params[i];
        if (w->shape.rank != 2 || w->shape.dim[0] != d) continue;
        const iv_param *b = &model->decoder->params[i + 1];
        size_t cols = w->shape.dim[1];
        for (size_t o = 0; o < d; o++) {
            for (size_t k = 0; k < cols; k++) {
                params[w->offset + o * cols + k] /= (float)scale[o];
            }
            params[b->offset + o] = (params[b->offset + o] - (float)shift[o]) / (float)scale[o];
        }
    }
}

/* A model of standardised data with metric weight 1 in x' is the model of x with weights 1/scale^2.
 * The same model with identity scaling and those weights must give the same densities in data
 * units, and different scalings of the same metric the same numbers throughout. */
static void scaling_volume(void **state)
{
    (void)state;
    iv_model *plain, *scaled;
    npz inputs;
    isovae_error err;
    iv_dataset *data;
    if (!ref_model("models/a_toy_random", IV_F32, &plain)) skip();
    if (!ref_model("models/a_toy_random", IV_F32, &scaled)) skip();
    if (!npz_open(&inputs, "models/a_toy_random/data.npz")) skip();
    const npz_array *x = npz_get(&inputs, "x");
    ok(iv_dataset_from_rows(x->values, x->shape[0], 16, NULL, &data, &err), &err);
    double shift[16], scale[16];
    for (size_t i = 0; i < 16; i++) {
        shift[i] = 0.25 * (double)(i % 3); /* powers of two: absorbed without rounding */
        scale[i] = (double[]){0.5, 1, 2, 4}[i % 4];
    }
    absorb_scaling(scaled, shift, scale);
    scaled->scaling.kind = IV_SCALE_STANDARD;
    for (size_t i = 0; i < 16; i++) {
        scaled->scaling.shift[i] = shift[i];
        scaled->scaling.scale[i] = scale[i];
        plain->scaling.weight[i] = 1 / (scale[i] * scale[i]);
    }
    scaled->scaling.uniform = plain->scaling.uniform = false;
    iv_analysis *a = analysed(plain, data, IV_PRECISION_F64_REFERENCE, NULL);
    iv_analysis *b = analysed(scaled, data, IV_PRECISION_F64_REFERENCE, NULL);
    assert_string_equal(b->space, "standardised");
    for (size_t e = 0; e < IV_ESTIMATES; e++) {
        assert_near(iv_estimate_name((iv_estimate)e), b->density.all[e], a->density.all[e], a->rows,
                    1e-5); /* the biases were rounded to single precision */
    }
    for (size_t j = 0; j < a->n; j++) {
        assert_near("loadings", b->latents[j].loading_rms, a->latents[j].loading_rms, 16, 1e-5);
        assert_near("importance", &b->latents[j].importance, &a->latents[j].importance, 1, 1e-5);
    }
    assert_near("elbo", &b->elbo_nats, &a->elbo_nats, 1, 1e-5);
    assert_near("pca", b->pca.eigenvalues, a->pca.eigenvalues, 16, 1e-6);
    iv_analysis_free(b);
    /* Metric x 4 and beta x 4 is the same model: all densities stay, importance is 4 times. */
    for (size_t i = 0; i < 16; i++) plain->scaling.weight[i] *= 4;
    plain->beta *= 4;
    b = analysed(plain, data, IV_PRECISION_F64_REFERENCE, NULL);
    for (size_t e = 0; e < IV_ESTIMATES; e++) {
        assert_near(iv_estimate_name((iv_estimate)e), b->density.all[e], a->density.all[e], a->rows,
                    1e-11);
    }
    double four = 4 * a->latents[0].variance_y;
    assert_near("variance_y", &b->latents[0].variance_y, &four, 1, 1e-11);
    assert_near("elbo", &b->elbo_nats, &a->elbo_nats, 1, 1e-11);
    iv_analysis_free(a);
    iv_analysis_free(b);
    iv_dataset_free(data);
    iv_model_free(plain);
    iv_model_free(scaled);
    npz_close(&inputs);
}

/* --- calibration and scores --- */

static void calibrated(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *model;
    iv_dataset *data;
    size_t rows[900], held[100];
    if (!ref_model("models/b_toy_trained", IV_F32, &model)) skip();
    data = toy_rows(1000, 2);
    for (size_t r = 0; r < 1000; r++) *(r < 900 ? &rows[r] : &held[r - 900]) = r;
    double *before = take(1000 * 5), *after = take(1000 * 5), *y = take(900 * 5);
    ok(iv_encode_rows(model, data, rows, 900, NULL, NULL, before, NULL, NULL, &err), &err);
    assert_int_equal(iv_encode_rows(model, data, rows, 900, NULL, NULL, NULL, NULL, y, &err),
                     ISOVAE_ERR_UNSUPPORTED);
    iv_analysis *unsorted = analysed(model, data, IV_PRECISION_F32, NULL);

    ok(iv_calibrate(model, data, rows, 900, held, 100, NULL, NULL, &err), &err);
    for (size_t j = 0; j < 5; j++) {
        assert_int_equal(model->active[j], j < 3);
        if (j > 0) assert_true(model->variance_y[j] <= model->variance_y[j - 1]);
        assert_true(model->splines[j].n == 32);
    }
    assert_int_equal(model->n_quantiles, 100);
    for (size_t i = 1; i < 100; i++) assert_true(model->quantiles[i] >= model->quantiles[i - 1]);

    /* The same function, with latents moved and mirrored. */
    ok(iv_encode_rows(model, data, rows, 900, NULL, NULL, after, NULL, y, &err), &err);
    iv_analysis *a = analysed(model, data, IV_PRECISION_F32, NULL);
    for (size_t j = 0; j < 5; j++) {
        size_t old = unsorted->latents[j].index;
        assert_int_equal(a->latents[j].index, j);
        double sign = after[j] * before[old] < 0 ? -1 : 1;
        for (size_t r = 0; r < 900; r++) {
            assert_true(after[r * 5 + j] == sign * before[r * 5 + old]);
        }
        assert_true(a->latents[j].top[0].mean > 0 || !a->latents[j].active);
        /* y grows with mu, and has the variance that the model holds. */
        iv_moments m = iv_moments_of(900, y + j, 5);
        assert_true(fabs(m.variance + model->beta / 2 - model->variance_y[j]) <
                    1e-9 * model->variance_y[j]);
        if (a->latents[j].active) assert_true(iv_pearson(900, y + j, 5, after + j, 5) > 0.99);
    }
    double difference = a->elbo_nats - unsorted->elbo_nats;
    assert_true(fabs(difference) < 0.1); /* the draws meet other latents */

    /* Again: nothing changes any more. */
    double quantiles[100];
    memcpy(quantiles, model->quantiles, sizeof quantiles);
    memcpy(before, after, 900 * 5 * sizeof *after);
    ok(iv_calibrate(model, data, rows, 900, held, 100, NULL, NULL, &err), &err);
    ok(iv_encode_rows(model, data, rows, 900, NULL, NULL, after, NULL, NULL, &err), &err);
    assert_memory_equal(before, after, 900 * 5 * sizeof *after);
    assert_memory_equal(quantiles, model->quantiles, sizeof quantiles);
    iv_analysis_free(a);
    iv_analysis_free(unsorted);
    iv_free(before);
    iv_free(after);
    iv_free(y);
    iv_dataset_free(data);
    iv_model_free(model);
}

static void scores(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *model;
    iv_dataset *data;
    enum { ROWS = 300 };
    size_t rows[ROWS];
    iv_score score[ROWS], other[ROWS];
    if (!ref_model("models/b_toy_trained", IV_F32, &model)) skip();
    data = toy_rows(300, 4);
    for (size_t r = 0; r < ROWS; r++) rows[r] = r;
    ok(iv_calibrate(model, data, rows, ROWS, NULL, 0, NULL, NULL, &err), &err);
    ok(iv_score_rows(model, data, rows, ROWS, IV_ESTIMATE_ELBO, NULL, NULL, NULL, score, &err),
       &err);
    iv_analysis *a = analysed(model, data, IV_PRECISION_F32, NULL);
    double tail = 0;
    for (size_t r = 0; r < ROWS; r++) {
        /* Only the diagonal is computed here; the report computes all of J^T G J. */
        assert_true(fabs(score[r].log_density - a->density.values[r]) < 1e-9);
        assert_true(score[r].tail_prob >= 0 && score[r].tail_prob <= 1);
        tail += score[r].tail_prob / ROWS;
    }
    assert_true(fabs(tail - 0.5) < 0.01);
    /* One row alone, and the rows in another order, score as in company. */
    size_t back[ROWS];
    for (size_t r = 0; r < ROWS; r++) back[r] = ROWS - 1 - r;
    ok(iv_score_rows(model, data, back, ROWS, IV_ESTIMATE_ELBO, NULL, NULL, NULL, other, &err),
       &err);
    for (size_t r = 0; r < ROWS; r++) {
        assert_memory_equal(&other[r], &score[ROWS - 1 - r], sizeof other[r]);
    }
    ok(iv_score_rows(model, data, rows + 17, 1, IV_ESTIMATE_ELBO, NULL, NULL, NULL, other, &err),
       &err);
    assert_memory_equal(&other[0], &score[17], sizeof other[0]);
    for (size_t e = 1; e < IV_ESTIMATES; e++) {
        ok(iv_score_rows(model, data, rows, ROWS, (iv_estimate)e, NULL, NULL, NULL, other, &err),
           &err);
        for (size_t r = 0; r < ROWS; r++) {
            assert_true(fabs(other[r].log_density - a->density.all[e][r]) < 1e-9);
            assert_true(isnan(other[r].tail_prob));
        }
    }
    /* The parts of an explanation add up. */
    double feature[16], latent[5], sum = 0, kl = 0;
    ok(iv_score_explain(model, data, 17, NULL, feature, latent, &err), &err);
    for (size_t i = 0; i < 16; i++) sum += feature[i];
    for (size_t j = 0; j < 5; j++) kl += latent[j];
    assert_true(fabs(sum - score[17].residual / model->beta) < 1e-4 * (sum + 1e-3));
    assert_true(fabs(kl - score[17].latent) < 1e-9 * kl);
    assert_int_equal(iv_score_explain(model, data, ROWS, NULL, feature, latent, &err),
                     ISOVAE_ERR_ARGUMENT);
    iv_analysis_free(a);
    iv_dataset_free(data);
    iv_model_free(model);
}

/* Ever farther rows score ever lower, and never infinite or NaN, up to the largest floats. */
static void far_rows(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *model;
    iv_dataset *data;
    enum { ROWS = 40 };
    double *x = take(ROWS * 16);
    size_t rows[ROWS];
    iv_score score[ROWS];
    if (!ref_model("models/b_toy_trained", IV_F32, &model)) skip();
    for (size_t r = 0; r < ROWS; r++) {
        rows[r] = r;
        for (size_t i = 0; i < 16; i++) {
            double direction = (i * 7 + 3) % 5 < 2 ? 1 : -0.6;
            x[r * 16 + i] = direction * pow(10, (double)r - 1.5);
        }
    }
    ok(iv_dataset_from_rows(x, ROWS, 16, NULL, &data, &err), &err);
    for (size_t e = 0; e < 1; e++) {
        ok(iv_score_rows(model, data, rows, ROWS, (iv_estimate)e, NULL, NULL, NULL, score, &err),
           &err);
        for (size_t r = 0; r < ROWS; r++) {
            assert_true(isfinite(score[r].log_density));
            if (r > 2) assert_true(score[r].log_density < score[r - 1].log_density);
        }
    }
    iv_analysis *a = analysed(model, data, IV_PRECISION_F32, NULL);
    for (size_t e = 0; e < IV_ESTIMATES; e++) {
        for (size_t r = 0; r < ROWS && a->density.all[e] != NULL; r++) {
            assert_true(isfinite(a->density.all[e][r]));
        }
    }
    iv_analysis_free(a);
    iv_dataset_free(data);
    iv_model_free(model);
    iv_free(x);
}

static void tail_probability(void **state)
{
    (void)state;
    double q[] = {-4, -2, -1, 0, 1};
    iv_model model = {.n_quantiles = 5, .quantiles = q};
    assert_true(iv_threshold_share(&model, -5) == 0);
    assert_true(iv_threshold_share(&model, 2) == 1);
    assert_true(fabs(iv_threshold_share(&model, -1) - 0.5) < 1e-15);
    assert_true(fabs(iv_threshold_share(&model, -3) - 0.125) < 1e-15);
    assert_true(isnan(iv_threshold_share(&model, (double)NAN)));
    model.n_quantiles = 0;
    assert_true(isnan(iv_threshold_share(&model, 0)));
}

static void decoded(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *model;
    npz expected;
    if (!ref_model("models/c_bce_random", IV_F32, &model)) skip();
    if (!npz_open(&expected, "models/c_bce_random/expected.npz")) skip();
    const npz_array *mu = npz_get(&expected, "mu"), *xhat = npz_get(&expected, "xhat");
    double *x = take(xhat->count);
    ok(iv_decode_rows(model, mu->values, mu->shape[0], NULL, NULL, x, &err), &err);
    assert_near("probabilities", x, xhat->values, xhat->count, 1e-6);
    iv_free(x);
    npz_close(&expected);
    iv_model_free(model);
}

/* --- which rows --- */

static void row_sets(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *model;
    iv_dataset *data;
    if (!ref_model("models/b_toy_trained", IV_F32, &model)) skip();
    data = toy_rows(400, 4);
    iv_analysis_options options;
    iv_analysis *a;
    iv_analysis_options_init(&options);
    options.iwae_draws = 0;
    options.rows = "validation";
    assert_int_equal(iv_analyse(model, data, &options, &a, &err), ISOVAE_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "--rows"));
    options.rows = "some";
    assert_int_equal(iv_analyse(model, data, &options, &a, &err), ISOVAE_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "--rows"));

    model->data_hash = data->hash;
    model->validation_fraction = 0.25;
    model->validation_rows = 100;
    model->seed = 3;
    size_t rows[400];
    for (size_t r = 0; r < 400; r++) rows[r] = r;
    ok(iv_calibrate(model, data, rows, 400, NULL, 0, NULL, NULL, &err), &err);
    const char *const sets[] = {"auto", "all", "train", "validation"};
    const size_t counts[] = {100, 400, 300, 100};
    for (size_t i = 0; i < 4; i++) {
        options.rows = sets[i];
        ok(iv_analyse(model, data, &options, &a, &err), &err);
        assert_int_equal(a->rows, counts[i]);
        assert_true(a->data_is_training_set);
        assert_true(isfinite(a->validation_gap_nats) == (counts[i] == 100));
        if (counts[i] == 100) assert_true(fabs(a->validation_gap_nats) < 0.6);
        assert_int_equal(a->density.iwae.k, 0);
        iv_analysis_free(a);
    }
    iv_dataset_free(data);
    iv_model_free(model);
}

/* --- warnings --- */

typedef struct made {
    iv_analysis a;
    iv_latent_report latents[5];
    double eigenvalues[16], cosine[25];
    iv_warning_facts facts;
} made;

/* As a good model of the toy data looks: three of five latents active. */
static void make_good(made *m)
{
    memset(m, 0, sizeof *m);
    m->a = (iv_analysis){.rows = 5000,
                         .d = 16,
                         .n = 5,
                         .active = 3,
                         .beta = 0.003,
                         .row_set = "all",
                         .latents = m->latents,
                         .cosine = m->cosine};
    static const double variance[] = {2.667, 0.667, 0.167};
    for (size_t j = 0; j < 5; j++) {
        iv_latent_report *l = &m->latents[j];
        l->active = j < 3;
        l->degenerate_group = -1;
        l->sigma2_mean = j < 3 ? 0.0015 / variance[j] : 1;
        l->variance_y = j < 3 ? variance[j] : 0.0015;
        l->kl = j < 3 ? 3 : 0;
        l->norm_mean = 1 - l->sigma2_mean;
        l->optimality_mean = l->stationarity_mean = 1.003;
        l->stationarity_se = 0.002;
    }
    m->a.distortion.transform = 0.0002;
    m->a.distortion.total = 0.0047;
    m->a.rate_nats = 9;
    m->a.elbo_nats = 30;
    m->a.elbo_se = 0.02;
    m->a.validation_gap_nats = 0.05;
    m->a.encoder_gap_nats = 0.005;
    m->a.pca.comparable = true;
    m->a.pca.n = 16;
    m->a.pca.eigenvalues = m->eigenvalues;
    memcpy(m->eigenvalues, variance, sizeof variance);
    m->a.pca.active_predicted = 3;
    m->facts = (iv_warning_facts){.loss = IV_LOSS_SSE,
                                  .history_beta = (double)NAN,
                                  .clipped_gap = 0.05,
                                  .clipped_gap_se = 0.02};
}

static bool alarm_says(made *m, const char *code, const char *part)
{
    isovae_error err;
    bool found = false;
    m->a.n_warnings = 0;
    ok(iv_find_warnings(&m->a, &m->facts, &err), &err);
    for (size_t i = 0; i < m->a.n_warnings; i++) {
        const iv_warning *w = &m->a.warnings[i];
        found = found || (strcmp(code, w->code) == 0 && strstr(w->text, part) != NULL);
    }
    iv_free(m->a.warnings);
    return found;
}

static bool only_alarm(made *m, const char *code)
{
    isovae_error err;
    size_t alarms = 0;
    m->a.n_warnings = 0;
    ok(iv_find_warnings(&m->a, &m->facts, &err), &err);
    for (size_t i = 0; i < m->a.n_warnings; i++) {
        assert_true(strlen(m->a.warnings[i].text) > 20);
        alarms += !m->a.warnings[i].note;
    }
    bool there = code == NULL || has_warning(&m->a, code);
    if (code == NULL ? alarms != 0 : !there)
        print_message("%s: not as expected\n", code ? code : "good");
    for (size_t i = 0; i < m->a.n_warnings; i++) {
        if (code == NULL && !m->a.warnings[i].note) print_message("%s\n", m->a.warnings[i].text);
        if (code != NULL && !m->a.warnings[i].note && strcmp(code, m->a.warnings[i].code) != 0) {
            print_message("%s also: %s\n", code, m->a.warnings[i].text);
            there = false;
        }
    }
    iv_free(m->a.warnings);
    return code == NULL ? alarms == 0 : there;
}

static void warnings(void **state)
{
    (void)state;
    made m;
    make_good(&m);
    assert_true(only_alarm(&m, NULL));

    make_good(&m);
    m.latents[0].stationarity_mean = 0.8;
    m.latents[1].stationarity_mean = 0.7;
    assert_true(only_alarm(&m, "undertrained"));
    for (size_t j = 0; j < 3; j++) m.latents[j].stationarity_se = 0.1; /* within the errors */
    assert_true(only_alarm(&m, NULL));

    make_good(&m);
    m.a.elbo_nats = 20; /* linear PCA has 26.7 */
    assert_true(only_alarm(&m, "undertrained"));
    make_good(&m);
    m.a.encoder_gap_nats = 0.5; /* more than a tenth of 30 - 26.7 */
    assert_true(only_alarm(&m, "undertrained"));

    make_good(&m);
    m.a.validation_gap_nats = m.facts.clipped_gap = 4.1;
    assert_true(only_alarm(&m, "overfitted"));
    m.facts.clipped_gap_se = 2;
    assert_true(only_alarm(&m, NULL));

    make_good(&m); /* the file's beta times 10: E0 and E1 of the active fall to a tenth */
    m.a.beta *= 10;
    for (size_t j = 0; j < 3; j++) {
        double s = m.latents[j].sigma2_mean;
        m.latents[j].stationarity_mean = m.latents[j].optimality_mean = s + 0.1 * (1 - s);
    }
    assert_true(only_alarm(&m, "wrong_beta"));
    m.facts.history_beta = 0.03; /* training knows that it was this beta: not trained enough */
    assert_true(only_alarm(&m, "undertrained"));
    m.facts.history_beta = 0.003;
    assert_true(only_alarm(&m, "wrong_beta"));
    m.facts.history_beta = (double)NAN;
    m.latents[1].stationarity_mean = 0.6; /* the latents disagree */
    assert_true(only_alarm(&m, "undertrained"));

    make_good(&m);
    m.a.distortion.transform = 0.0025;
    assert_true(only_alarm(&m, "folded"));
    m.facts.convolutional = true; /* which has its reasons to lose more than PCA: a note */
    assert_true(only_alarm(&m, NULL));
    m.facts.convolutional = false;
    m.eigenvalues[5] = 0.1; /* unless PCA loses as much */
    m.a.pca.residual = 0.1;
    m.a.distortion.transform = 0.1005;
    assert_true(only_alarm(&m, NULL));

    make_good(&m);
    m.facts.objective = IV_OBJECTIVE_DECOMPOSED;
    m.latents[2].optimality_mean = 1.2;
    assert_true(only_alarm(&m, "decomposed_bias"));

    make_good(&m);
    m.latents[2].optimality_mean = 0.85;
    assert_true(only_alarm(&m, NULL));
    assert_true(only_alarm(&m, "curved"));

    make_good(&m);
    for (size_t j = 0; j < 3; j++) m.latents[j].active = false;
    m.a.active = 0;
    assert_true(only_alarm(&m, "collapsed"));

    make_good(&m);
    m.a.n = 3;
    assert_true(only_alarm(&m, NULL)); /* all active, but PCA sees no more than three either */
    m.a.pca.active_predicted = 5;
    assert_true(only_alarm(&m, "all_active"));
    m.a.pca.comparable = false;
    assert_true(only_alarm(&m, "all_active"));

    make_good(&m);
    for (size_t i = 3; i < 16; i++) m.eigenvalues[i] = 1e-4;
    m.a.beta = 1.5;
    m.a.active = 1;
    m.latents[1].active = m.latents[2].active = false;
    m.a.pca.residual = 0.667 + 0.167 + 13e-4;
    m.a.distortion.transform = m.a.pca.residual;
    assert_true(only_alarm(&m, "beta_above_smallest"));
    m.facts.beta_auto = true;
    assert_true(only_alarm(&m, NULL));

    make_good(&m);
    m.latents[0].degenerate_group = m.latents[1].degenerate_group = 0;
    assert_true(only_alarm(&m, NULL));
    assert_true(only_alarm(&m, "degenerate"));
    assert_true(alarm_says(&m, "degenerate", "2 latents between 0 and 1 are near-degenerate"));
    m.latents[2].degenerate_group = 0;
    assert_true(alarm_says(&m, "degenerate", "all 3 active latents are one near-degenerate group"));
    m.latents[2].degenerate_group = 1;
    assert_true(alarm_says(&m, "degenerate", "3 latents between 0 and 2 are near-degenerate"));
}

/* --- statistics --- */

static void statistics(void **state)
{
    (void)state;
    const double a[] = {1, 2, 3, 4, 10}, b[] = {2, 1, 3, 3, 20};
    iv_moments m = iv_moments_of(5, a, 1);
    assert_true(fabs(m.mean - 4) < 1e-15 && fabs(m.variance - 10) < 1e-14);
    assert_true(fabs(m.se - sqrt(2)) < 1e-14);
    assert_true(fabs(m.variance_se - sqrt((278.8 - 100) / 5)) < 1e-12);
    isovae_error err;
    double rho;
    ok(iv_spearman(5, a, 1, b, 1, &rho, &err), &err);
    /* ranks 0 1 2 3 4 and 1 0 2.5 2.5 4: mean 2, covariance 8.5/5, variances 2 and 9.5/5 */
    assert_true(fabs(rho - 8.5 / sqrt(10 * 9.5)) < 1e-14);
    assert_true(iv_pearson(5, a, 1, (const double[]){3, 3, 3, 3, 3}, 1) == 0);
    assert_true(fabs(iv_pearson(5, a, 1, (const double[]){-1, -2, -3, -4, -10}, 1) + 1) < 1e-15);
    assert_true(fabs(iv_quantile_sorted(5, a, 0.875) - 7) < 1e-15);
    assert_true(iv_quantile_sorted(5, a, 1) == 10 && iv_quantile_sorted(5, a, 0) == 1);
    (void)log_pi;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(toy_random),        cmocka_unit_test(toy_weighted_down),
        cmocka_unit_test(toy_weighted_up),   cmocka_unit_test(toy_trained),
        cmocka_unit_test(volume_correction), cmocka_unit_test(bce_random),
        cmocka_unit_test(conv_trained),      cmocka_unit_test(ppca_all_active),
        cmocka_unit_test(ppca_one_off),      cmocka_unit_test(ppca_exact),
        cmocka_unit_test(derivatives),       cmocka_unit_test(control_variate),
        cmocka_unit_test(keyed_draws),       cmocka_unit_test(analysis_of_toy),
        cmocka_unit_test(threads),           cmocka_unit_test(scaling_volume),
        cmocka_unit_test(calibrated),        cmocka_unit_test(scores),
        cmocka_unit_test(far_rows),          cmocka_unit_test(tail_probability),
        cmocka_unit_test(decoded),           cmocka_unit_test(row_sets),
        cmocka_unit_test(warnings),          cmocka_unit_test(statistics),
    };
    return cmocka_run_group_tests_name("theory", tests, NULL, NULL);
}
