/* Made-up analyses for the report's tests: no training, every number from a formula, so that the
 * expected text never moves. */
#ifndef SUPPORT_REPORT_H
#define SUPPORT_REPORT_H

#include "report/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct sample {
    iv_model model;
    iv_dataset data;
    iv_analysis a;
    iv_report_context context;
    void *owned[4096];
    size_t n_owned;
} sample;

static void *keep(sample *s, void *memory)
{
    if (memory == NULL || s->n_owned == sizeof s->owned / sizeof *s->owned) abort();
    s->owned[s->n_owned++] = memory;
    return memory;
}
static double *doubles(sample *s, size_t n)
{
    return keep(s, calloc(n, sizeof(double)));
}
static char *words(sample *s, const char *text)
{
    return keep(s, strdup(text));
}

/* A fixed sequence in (-1, 1) without any library. */
static double wobble(uint64_t i)
{
    uint64_t h = (i + 1) * UINT64_C(0x9E3779B97F4A7C15);
    h ^= h >> 29;
    h *= UINT64_C(0xBF58476D1CE4E5B9);
    h ^= h >> 32;
    return (double)(h >> 11) / 4503599627370496.0 - 1.0;
}
static double bell(uint64_t i) /* near enough to normal, variance 1 */
{
    double sum = 0;
    for (uint64_t k = 0; k < 12; k++) sum += wobble(i * 12 + k);
    return sum / 2;
}

static int by_share(const void *a, const void *b)
{
    double x = ((const iv_loading *)a)->share, y = ((const iv_loading *)b)->share;
    return (x < y) - (x > y);
}

static void finish_loadings(iv_latent_report *l, size_t d)
{
    iv_loading *all = calloc(d, sizeof *all);
    double total = 0;
    if (all == NULL) abort();
    for (size_t i = 0; i < d; i++) total += l->loading_rms[i] * l->loading_rms[i];
    for (size_t i = 0; i < d; i++) {
        double rms = l->loading_rms[i];
        all[i] = (iv_loading){i, l->loading_mean[i], rms * rms / total,
                              rms > 0 ? fabs(l->loading_mean[i]) / rms : 0};
    }
    qsort(all, d, sizeof *all, by_share);
    l->n_top = d < IV_TOP_LOADINGS ? d : IV_TOP_LOADINGS;
    memcpy(l->top, all, l->n_top * sizeof *all);
    free(all);
}

/* rows x n codes and densities that belong together. */
static void fill_rows(sample *s, size_t rows)
{
    iv_analysis *a = &s->a;
    size_t n = a->n;
    double ln2pi = 1.8378770664093453, sum = 0, square = 0;
    a->rows = rows;
    a->row_index = keep(s, calloc(rows, sizeof(size_t)));
    a->mu = doubles(s, rows * n);
    a->sigma = doubles(s, rows * n);
    a->y = doubles(s, rows * n);
    a->transform_rows = doubles(s, rows);
    for (int e = 0; e < IV_ESTIMATES; e++) a->density.all[e] = doubles(s, rows);
    for (size_t r = 0; r < rows; r++) {
        double density = 0;
        a->row_index[r] = r;
        for (size_t j = 0; j < n; j++) {
            double sigma2 = a->latents[j].sigma2_mean;
            double mu = sqrt(1 - sigma2 < 0 ? 0 : 1 - sigma2) * bell(r * n + j);
            a->mu[r * n + j] = mu;
            a->sigma[r * n + j] = sqrt(sigma2);
            a->y[r * n + j] = sqrt(a->beta / 2 / sigma2) * mu;
            if (a->latents[j].active) {
                density += -0.5 * mu * mu - 0.5 * ln2pi - 0.5 * log(a->beta / 2 / sigma2);
            }
        }
        a->transform_rows[r] = 0.05 * fabs(bell(7 * rows + r));
        for (int e = 0; e < IV_ESTIMATES; e++) {
            a->density.all[e][r] = density + 0.02 * e + 0.05 * bell(9 * rows + r * 4 + (size_t)e);
        }
        sum += a->density.all[0][r];
        square += a->density.all[0][r] * a->density.all[0][r];
    }
    a->density.values = a->density.all[0];
    a->density.mean = sum / (double)rows;
    a->density.sd = sqrt(square / (double)rows - a->density.mean * a->density.mean);
}

static void sample_history(sample *s, size_t lines, double from, double to)
{
    iv_history *h = keep(s, calloc(lines, sizeof *h));
    for (size_t i = 0; i < lines; i++) {
        double t = (double)(i + 1) / (double)lines, ease = exp(-7 * t);
        h[i].step = (i + 1) * 100;
        h[i].beta = t < 0.5 ? s->model.beta * pow(10, 1 - 2 * t) : s->model.beta;
        h[i].rate = 0.005 * (1 + cos(3.14159265 * t));
        h[i].distortion = to * 0.6 + (from - to) * ease * (1 + 0.05 * wobble(i));
        h[i].kl = 6.3 * (1 - ease);
        h[i].loss = h[i].distortion + to * 0.4 * (1 + 0.03 * wobble(i + 900));
        h[i].validation = i % 4 == 3 ? h[i].loss * 1.02 : (double)NAN;
    }
    s->model.history = h;
    s->model.n_history = lines;
}

/* A table of 16 named features, 8 latents of which 3 are active; truth known. */
static void sample_table(sample *s, size_t rows)
{
    static const char *const names[16] = {"inlet temperature",
                                          "outlet temperature",
                                          "flow",
                                          "pressure",
                                          "pump speed",
                                          "vibration x",
                                          "vibration y",
                                          "vibration z",
                                          "oil level",
                                          "oil temperature",
                                          "current",
                                          "voltage",
                                          "humidity",
                                          "ambient",
                                          "valve <A&B>",
                                          "\"load\", 5 min"};
    static const double variance[8] = {2.6614, 0.66893, 0.16731, 0.005, 0.005, 0.005, 0.005, 0.005};
    const size_t n = 8, d = 16;
    memset(s, 0, sizeof *s);
    iv_model *m = &s->model;
    iv_analysis *a = &s->a;
    m->d = a->d = s->data.cols = d;
    m->n = a->n = n;
    m->beta = a->beta = 0.01;
    a->beta_estimate = 0.01003;
    m->arch = words(s, "mlp:64,64");
    m->steps = 12000;
    m->named = s->data.named = true;
    m->names = keep(s, calloc(d, sizeof(char *)));
    for (size_t i = 0; i < d; i++) m->names[i] = words(s, names[i]);
    s->data.names = m->names;
    s->data.rows = rows;
    s->data.source = words(s, "data/readings & more.csv");
    s->data.hash = UINT64_C(0x0123456789abcdef);
    a->row_set = "validation";
    a->data_is_training_set = true;
    a->unit = "squared data units";
    a->space = "data";
    a->active = 3;
    a->latents = keep(s, calloc(n, sizeof *a->latents));
    a->distortion.residual = 0.0131;
    double total = a->distortion.residual;
    for (size_t j = 0; j < 3; j++) total += variance[j];
    for (size_t j = 0; j < n; j++) {
        iv_latent_report *l = &a->latents[j];
        l->index = j;
        l->active = j < 3;
        l->variance_y = variance[j] - (j < 3 ? 0 : 1e-6 * (double)j);
        l->variance_y_se = variance[j] * (j < 3 ? 0.02 : 1e-4);
        l->importance = l->variance_y * (j < 3 ? 1.004 : 1);
        l->importance_se = l->variance_y_se * 0.9;
        l->share = l->active ? l->variance_y / total : 0;
        l->degenerate_group = -1;
        l->sigma2_mean = a->beta / 2 / variance[j];
        l->kl = l->active ? -0.5 * log(l->sigma2_mean) : 0.0002;
        l->norm_mean = l->active ? 1 - l->sigma2_mean - 0.001 : 0.0003;
        l->norm_sd = l->active ? 0.018 + 0.004 * (double)j : 0.0002;
        l->optimality_mean = l->active ? 0.999 + 0.003 * wobble(j) : 1.0002;
        l->optimality_sd = l->active ? 0.018 + 0.004 * (double)j : 0.003;
        l->stationarity_mean = 1 + 0.004 * wobble(20 + j);
        l->stationarity_se = 0.002;
        l->spline_rms = 0.011;
        l->rotation = l->active ? 0.009 : 0;
        l->loading_mean = doubles(s, d);
        l->loading_rms = doubles(s, d);
        for (size_t i = 0; i < d; i++) {
            double v = wobble(100 + j * d + i);
            l->loading_rms[i] = fabs(v * v * v) * sqrt(l->variance_y);
            l->loading_mean[i] = v * v * v * sqrt(l->variance_y) * (i % 5 == 4 ? 0.3 : 0.97);
        }
        finish_loadings(l, d);
    }
    a->orthogonality.mean_abs_cosine = 0.0078;
    a->orthogonality.max_abs_cosine = 0.0093;
    a->orthogonality.cost_nats = 0.00031;
    a->cosine = doubles(s, n * n);
    for (size_t j = 0; j < n; j++) {
        for (size_t k = 0; k < n; k++) {
            size_t low = j < k ? j : k, high = j < k ? k : j;
            a->cosine[j * n + k] = j == k ? 1 : 0.008 + 0.002 * wobble(low * n + high);
        }
    }
    a->distortion.transform = 0.0132;
    a->distortion.coding = 0.01491;
    a->distortion.coding_jacobian = 0.01493;
    a->distortion.coding_predicted = 0.01496;
    a->distortion.total = 0.0281;
    a->rate_nats = 6.3107;
    a->elbo_nats = -3.2213;
    a->elbo_se = 0.0212;
    a->train_elbo_nats = -3.19;
    a->validation_gap_nats = 0.0313;
    a->pca.n = d;
    a->pca.eigenvalues = doubles(s, d);
    for (size_t i = 0; i < d; i++) {
        a->pca.eigenvalues[i] = i < 3 ? variance[i] * 1.0007 : 0.0021 / (1 + 0.2 * (double)i);
    }
    a->pca.active_predicted = 3;
    a->pca.residual = 0.0129;
    a->pca.comparable = true;
    fill_rows(s, rows);
    a->density.estimate = IV_ESTIMATE_ELBO;
    a->density.dimension = d;
    a->density.absolute = true;
    static const double quantiles[5] = {-8.51, -3.83, -2.91, -2.24, -1.60};
    memcpy(a->density.quantiles, quantiles, sizeof quantiles);
    a->density.iwae.k = 64;
    a->density.iwae.rows = 1000;
    a->density.iwae.mean_difference = -0.002;
    a->density.iwae.sd = 0.006;
    a->density.iwae.ess = 61.2;

    iv_truth *truth = keep(s, calloc(1, sizeof *truth));
    truth->log_density = doubles(s, rows);
    for (size_t r = 0; r < rows; r++) truth->log_density[r] = a->density.all[0][r] + 0.03 * bell(r);
    s->data.truth = truth;
    a->truth.known = a->truth.density_known = true;
    a->truth.n_factors = 3;
    a->truth.variances = doubles(s, 3);
    a->truth.ratio = doubles(s, 3);
    a->truth.spearman = doubles(s, 3);
    a->truth.latent = keep(s, calloc(3, sizeof(size_t)));
    a->truth.names = keep(s, calloc(3, sizeof(char *)));
    for (size_t i = 0; i < 3; i++) {
        static const char *const factor[3] = {"s3", "s2", "s1"};
        a->truth.variances[i] = variance[i] * 0.9985;
        a->truth.ratio[i] = 1.0015 + 0.001 * (double)i;
        a->truth.spearman[i] = 0.9996 - 0.0003 * (double)i;
        a->truth.latent[i] = i;
        a->truth.names[i] = words(s, factor[i]);
    }
    for (int e = 0; e < IV_ESTIMATES; e++) {
        a->truth.density[e] =
            (iv_density_truth){0.9995 - 0.001 * e, 0.9998 - 0.001 * e, 0.004 * e - 0.003, 0.03,
                               0.96 - 0.001 * e,   0.97 - 0.001 * e};
    }
    sample_history(s, 120, 3.5, 0.09);
    s->context = (iv_report_context){.model = m,
                                     .data = &s->data,
                                     .analysis = a,
                                     .command = "isovae report m.safetensors 'readings & more.csv'",
                                     .model_hash = UINT64_C(0xfedcba9876543210),
                                     .seed = 0};
}

/* 28 x 28 pictures, 20 latents of which 14 are active, bce: no density, PCA not comparable. */
static void sample_image(sample *s, size_t rows)
{
    const size_t n = 20, d = 784, active = 14;
    memset(s, 0, sizeof *s);
    iv_model *m = &s->model;
    iv_analysis *a = &s->a;
    m->d = a->d = s->data.cols = d;
    m->n = a->n = n;
    m->beta = a->beta = 1;
    a->beta_estimate = 0.97;
    m->metric.loss = IV_LOSS_BCE;
    m->height = m->width = s->data.height = s->data.width = 28;
    m->channels = s->data.channels = 1;
    m->arch = words(s, "mlp:400");
    m->steps = 4690;
    s->data.rows = rows;
    s->data.source = words(s, "t10k-images-idx3-ubyte.gz");
    s->data.bytes = keep(s, calloc(rows, d));
    for (size_t r = 0; r < rows; r++) {
        double cx = 14 + 5 * wobble(2 * r), cy = 14 + 5 * wobble(2 * r + 1);
        for (size_t i = 0; i < d; i++) {
            double dx = (double)(i % 28) - cx, dy = (double)(i / 28) - cy;
            double ring = hypot(dx, dy) - 6;
            s->data.bytes[r * d + i] = (unsigned char)(255 * exp(-ring * ring / 4));
        }
    }
    a->image_quality = (iv_image_quality){.rows = rows,
                                          .psnr_db = 21.437,
                                          .ssim = 0.87654,
                                          .ms_ssim = 0.96543,
                                          .scales = 2,
                                          .range = 255};
    a->row_set = "all";
    a->unit = "squared logits";
    a->space = "logits";
    a->active = active;
    a->latents = keep(s, calloc(n, sizeof *a->latents));
    a->distortion.residual = 76;
    double total = a->distortion.residual;
    for (size_t j = 0; j < active; j++) total += 55 * pow(0.75, (double)j);
    for (size_t j = 0; j < n; j++) {
        iv_latent_report *l = &a->latents[j];
        double variance = j < active ? 55 * pow(0.75, (double)j) : 0.5;
        l->index = j;
        l->active = j < active;
        l->variance_y = variance;
        l->variance_y_se = 0.02 * variance;
        l->importance = 1.06 * variance;
        l->importance_se = 0.02 * variance;
        l->share = l->active ? variance / total : 0;
        l->degenerate_group = j == 5 || j == 6 ? 0 : -1;
        l->sigma2_mean = 0.5 / variance;
        l->kl = l->active ? -0.5 * log(l->sigma2_mean) : 0.001;
        l->optimality_mean = l->active ? 0.9 + 0.03 * wobble(j) : 1;
        l->optimality_sd = l->active ? 0.2 : 0.01;
        l->norm_mean = l->optimality_mean - l->sigma2_mean;
        l->norm_sd = l->optimality_sd;
        l->stationarity_mean = 1 + 0.01 * wobble(40 + j);
        l->stationarity_se = 0.004;
        l->spline_rms = 0.1;
        l->rotation = l->active ? 0.12 : 0;
        l->loading_mean = doubles(s, d);
        l->loading_rms = doubles(s, d);
        for (size_t i = 0; i < d; i++) {
            double x = (double)(i % 28) / 28, y = (double)(i / 28) / 28;
            double wave =
                sin(3.1 * x * (1 + (double)(j % 4))) * cos(3.1 * y * (1 + (double)(j / 4)));
            double window = exp(-8 * ((x - 0.5) * (x - 0.5) + (y - 0.5) * (y - 0.5)));
            l->loading_mean[i] = 60 * wave * window;
            l->loading_rms[i] = 60 * window * (0.2 + 0.8 * fabs(wave));
        }
        finish_loadings(l, d);
    }
    a->orthogonality.mean_abs_cosine = 0.084;
    a->orthogonality.max_abs_cosine = 0.31;
    a->orthogonality.cost_nats = 0.9;
    a->cosine = doubles(s, n * n);
    for (size_t j = 0; j < n; j++) {
        for (size_t k = 0; k < n; k++) {
            size_t low = j < k ? j : k, high = j < k ? k : j;
            a->cosine[j * n + k] = j == k ? 1 : 0.15 * fabs(bell(low * n + high));
        }
    }
    a->distortion.transform = 76.1;
    a->distortion.coding = 5.9;
    a->distortion.coding_jacobian = 5.8;
    a->distortion.coding_predicted = 6.3;
    a->distortion.total = 81.9;
    a->rate_nats = 25.2;
    a->elbo_nats = -105.6;
    a->elbo_se = 0.3;
    a->validation_gap_nats = 1.4;
    a->pca.n = 40;
    a->pca.eigenvalues = doubles(s, 40);
    for (size_t i = 0; i < 40; i++) a->pca.eigenvalues[i] = 5.1 * pow(0.87, (double)i);
    a->pca.residual = 20;
    fill_rows(s, rows);
    a->density.estimate = IV_ESTIMATE_ELBO;
    a->density.dimension = d;
    static const double quantiles[5] = {-171, -120, -104, -88, -61};
    memcpy(a->density.quantiles, quantiles, sizeof quantiles);
    a->n_warnings = 2;
    a->warnings = keep(s, calloc(2, sizeof *a->warnings));
    snprintf(a->warnings[0].code, sizeof a->warnings[0].code, "overfitted");
    a->warnings[0].value = 1.4;
    a->warnings[0].limit = 1;
    snprintf(a->warnings[0].text, sizeof a->warnings[0].text,
             "validation gap 1.4 nats (limit 1): use fewer latents or more data, or stop earlier");
    snprintf(a->warnings[1].code, sizeof a->warnings[1].code, "degenerate");
    a->warnings[1].value = 2;
    a->warnings[1].note = true;
    snprintf(a->warnings[1].text, sizeof a->warnings[1].text,
             "latents 5 and 6 have variances within 2 standard errors (27.1 and 27.0): they may "
             "rotate into each other; read them as one plane");
    sample_history(s, 47, 550, 107);
    s->context = (iv_report_context){.model = m,
                                     .data = &s->data,
                                     .analysis = a,
                                     .command = "isovae report mnist.safetensors t10k",
                                     .model_hash = 1,
                                     .seed = 3};
}

static void sample_free(sample *s)
{
    while (s->n_owned > 0) free(s->owned[--s->n_owned]);
}

#endif
