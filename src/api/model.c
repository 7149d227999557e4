#include "api/handles.h"
#include "base/memory.h"
#include "model/file.h"
#include "theory/scorer.h"

#include <math.h>
#include <string.h>

isovae_status iv_check_config(const char *name, size_t given, size_t known, isovae_error *err)
{
    if (given == known) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_VERSION,
                   "the %s configuration has %zu bytes, this library knows %zu: compile against "
                   "the header of this version and call isovae_%s_config_init",
                   name, given, known, name);
}

isovae_status iv_take_config(const char *name, const void *config, size_t given, size_t first,
                             size_t known, void *out, isovae_error *err)
{
    if (given != first) IV_TRY(iv_check_config(name, given, known, err));
    memcpy(out, config, given);
    return ISOVAE_OK;
}

isovae_status iv_wrap_model(iv_model *model, isovae_model **out, isovae_error *err)
{
    isovae_model *handle;
    *out = NULL;
    isovae_status status = IV_NEW(handle, 1, "a model handle", err);
    if (!status) status = iv_shared_weights_new(iv_model_members(model), &handle->shared, err);
    if (status) {
        iv_free(handle);
        iv_model_free(model);
        return status;
    }
    handle->model = model;
    *out = handle;
    return ISOVAE_OK;
}

isovae_status isovae_model_load(const char *path, isovae_model **out, isovae_error *err)
{
    *out = NULL;
    iv_model *model;
    IV_TRY(iv_model_load(path, &model, err));
    return iv_wrap_model(model, out, err);
}

isovae_status isovae_model_load_memory(const void *bytes, size_t length, isovae_model **out,
                                       isovae_error *err)
{
    *out = NULL;
    iv_model *model;
    IV_TRY(iv_model_read(bytes, length, "the model in memory", &model, NULL, err));
    return iv_wrap_model(model, out, err);
}

isovae_status isovae_model_save(const isovae_model *model, const char *path, isovae_error *err)
{
    return iv_model_save(model->model, path, err);
}

isovae_status isovae_model_save_memory(const isovae_model *model, void **bytes, size_t *length,
                                       isovae_error *err)
{
    unsigned char *written;
    *bytes = NULL;
    IV_TRY(iv_model_write(model->model, NULL, 0, NULL, &written, length, err));
    *bytes = written;
    return ISOVAE_OK;
}

void isovae_bytes_free(void *bytes)
{
    iv_free(bytes);
}

void isovae_model_free(isovae_model *model)
{
    if (!model) return;
    iv_shared_weights_free(model->shared);
    iv_model_free(model->model);
    iv_free(model);
}

size_t isovae_model_features(const isovae_model *model)
{
    return model->model->d;
}
size_t isovae_model_members(const isovae_model *model)
{
    return iv_model_members(model->model);
}
size_t isovae_model_latents(const isovae_model *model)
{
    return model->model->n;
}
double isovae_model_beta(const isovae_model *model)
{
    return model->model->beta;
}

size_t isovae_model_active(const isovae_model *model)
{
    size_t active = 0;
    for (size_t j = 0; model->model->active && j < model->model->n; j++)
        active += model->model->active[j];
    return active;
}

double isovae_model_variance(const isovae_model *model, size_t latent)
{
    const iv_model *m = model->model;
    return m->variance_y && latent < m->n ? m->variance_y[latent] : NAN;
}

const char *isovae_model_feature_name(const isovae_model *model, size_t feature)
{
    const iv_model *m = model->model;
    return m->names && feature < m->d ? m->names[feature] : NULL;
}
double isovae_model_quantile(const isovae_model *model, double p)
{
    return iv_threshold_at(model->model, p);
}
double isovae_tail_prob(const isovae_model *model, double log_density)
{
    return iv_threshold_share(model->model, log_density);
}
