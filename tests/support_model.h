/* Models made up for tests: one with every field in use, and its file's bytes. */
#ifndef SUPPORT_MODEL_H
#define SUPPORT_MODEL_H

#include "support_reference.h"

#include "model/file.h"

#include <math.h>

static inline iv_model *built(const char *arch, size_t d, size_t n)
{
    isovae_error err;
    iv_model *model;
    ref_ok(iv_model_new(&model, &err), &err);
    ref_ok(iv_model_build(model, arch, d, n, IV_ACT_SILU, IV_F32, &err), &err);
    return model;
}

/* A small model with every field in use. */
static inline double wave(size_t i)
{
    return sin(1.3 * (double)i + 0.7 * (double)(i * i % 13));
}

static inline char *copy(const char *text)
{
    char *out;
    assert_int_equal(iv_strdup(&out, text, NULL), ISOVAE_OK);
    return out;
}

static inline void full_calibration(iv_model *model)
{
    isovae_error err;
    double mu[100], sigma[100];
    for (size_t j = 0; j < model->n; j++) {
        model->active[j] = j != 1;
        model->kl_mean[j] = 1.5 / (double)(j + 1);
        model->variance_y[j] = 2.0 / (double)(j + 3);
        for (size_t r = 0; r < 100; r++) {
            mu[r] = wave(r + j);
            sigma[r] = 0.1 + 0.05 * (double)j + 0.02 * mu[r];
        }
        ref_ok(iv_spline_fit(mu, sigma, 40 + 10 * j, &model->splines[j], &err), &err);
    }
    model->n_quantiles = 5;
    ref_ok(IV_NEW(model->quantiles, 5, "quantiles", &err), &err);
    for (size_t i = 0; i < 5; i++) model->quantiles[i] = -10.0 / (double)(i + 1);
}

static inline iv_model *full_model(iv_dtype dtype)
{
    isovae_error err;
    iv_model *model;
    ref_ok(iv_model_new(&model, &err), &err);
    ref_ok(iv_model_build(model, "mlp:4", 6, 3, IV_ACT_LEAKY_RELU, dtype, &err), &err);
    for (size_t i = 0; i < model->encoder->n_params + model->decoder->n_params; i++) {
        const iv_param *p = i < model->encoder->n_params
                                ? &model->encoder->params[i]
                                : &model->decoder->params[i - model->encoder->n_params];
        for (size_t k = p->offset; k < p->offset + p->size; k++) {
            if (dtype == IV_F64) {
                ((double *)model->params)[k] = wave(k);
            } else {
                ((float *)model->params)[k] = (float)wave(k);
            }
        }
    }
    ref_identity_scaling(model);
    model->scaling.kind = IV_SCALE_STANDARD;
    model->scaling.uniform = false;
    for (size_t i = 0; i < model->d; i++) {
        model->scaling.shift[i] = wave(i) / 3;
        model->scaling.scale[i] = 1 + 1 / (double)(i + 3);
    }
    ref_ok(iv_metric_parse("weighted:0.1,0.7", &model->metric, &err), &err);
    model->beta = 1.0 / 3;
    model->beta_auto = true;
    model->objective = IV_OBJECTIVE_DECOMPOSED;
    ref_ok(IV_NEW(model->names, model->d, "names", &err), &err);
    static const char *const names[] = {"age",
                                        "\"quoted\", \\",
                                        ("gr\xc3\xb6\xc3\x9f"
                                         "e"),
                                        "",
                                        "tab\there",
                                        "x6"};
    for (size_t i = 0; i < model->d; i++) model->names[i] = copy(names[i]);
    model->named = true;
    model->height = 1;
    model->width = 2;
    model->channels = 3;
    model->seed = UINT64_MAX;
    model->steps = 12000;
    model->data_hash = UINT64_C(0xfedcba9876543210);
    model->data_source = copy("table.csv");
    model->validation_fraction = 0.1;
    model->train_rows = 90;
    model->validation_rows = 10;
    model->version = copy("0.1.0");
    model->isa = copy("avx512");
    model->n_history = 2;
    ref_ok(IV_NEW(model->history, 2, "history", &err), &err);
    model->history[0] = (iv_history){100, 0.5, 1e-2, 3.25, 3, 0.1 + 0.2, (double)NAN};
    model->history[1] = (iv_history){200, 0.25, 1e-3, 2.25, 2, 0.4, 2.5};
    model->restarts = 1;
    model->folded = true;
    model->train_loss = 2.125;
    full_calibration(model);
    return model;
}

typedef struct file_bytes {
    unsigned char *data;
    size_t length;
} file_bytes;

static inline file_bytes bytes_of(const iv_model *model)
{
    isovae_error err;
    file_bytes b;
    ref_ok(iv_model_write(model, NULL, 0, NULL, &b.data, &b.length, &err), &err);
    return b;
}

static inline iv_model *model_of(file_bytes b)
{
    isovae_error err;
    iv_model *model;
    ref_ok(iv_model_read(b.data, b.length, "test", &model, NULL, &err), &err);
    return model;
}

static inline void same_bytes(file_bytes a, file_bytes b)
{
    assert_int_equal(a.length, b.length);
    assert_memory_equal(a.data, b.data, a.length);
}

#endif
