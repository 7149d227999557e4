#include "api/handles.h"
#include "base/file.h"
#include "base/memory.h"
#include "model/file.h"
#include "train/train.h"

#include <math.h>
#include <string.h>

static isovae_status wrap(iv_model *model, isovae_model **out, isovae_error *err)
{
    isovae_status status = IV_NEW(*out, 1, "a model handle", err);
    if (status)
        iv_model_free(model);
    else
        (*out)->model = model;
    return status;
}

void isovae_fit_config_init_(isovae_fit_config *config, size_t struct_size)
{
    memset(config, 0, struct_size);
    config->struct_size = struct_size;
    config->beta = NAN;
    config->learning_rate = NAN;
    config->validation = NAN;
}

static isovae_status translate(const isovae_fit_config *config, iv_fit_options *options,
                               isovae_error *err)
{
    if (config->struct_size != sizeof *config)
        return iv_fail(
            err, ISOVAE_ERR_VERSION,
            "the fit configuration has %zu bytes, this library knows %zu: compile against the "
            "header of this version and call isovae_fit_config_init",
            config->struct_size, sizeof *config);
    options->latent_dim = config->latent_dim;
    options->beta = config->beta;
    options->loss = config->loss;
    options->arch = config->arch;
    options->steps = config->steps;
    options->epochs = config->epochs;
    options->batch_size = config->batch_size;
    options->rate = config->learning_rate;
    options->validation = config->validation;
    options->seed = config->seed;
    if (config->objective) {
        if (strcmp(config->objective, "decomposed") == 0)
            options->objective = IV_OBJECTIVE_DECOMPOSED;
        else if (strcmp(config->objective, "conventional") != 0)
            return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                           "objective: '%s' is neither conventional nor decomposed",
                           config->objective);
    }
    iv_act act;
    if (config->activation) {
        if (!iv_act_parse(config->activation, &act))
            return iv_fail(err, ISOVAE_ERR_ARGUMENT, "activation: '%s' is not known",
                           config->activation);
        options->activation = (int)act;
    }
    iv_scale_kind scale;
    if (config->scale) {
        if (!iv_scale_kind_parse(config->scale, &scale))
            return iv_fail(err, ISOVAE_ERR_ARGUMENT, "scale: '%s' is not known", config->scale);
        options->scale = (int)scale;
    }
    return ISOVAE_OK;
}

isovae_status isovae_fit(isovae_context *context, const isovae_data *data,
                         const isovae_fit_config *config, isovae_model **out, isovae_error *err)
{
    *out = NULL;
    iv_fit_options options;
    iv_fit_options_init(&options);
    if (config) IV_TRY(translate(config, &options, err));
    options.pool = context->pool;
    options.isa = context->isa;
    options.progress = iv_context_progress(context);
    iv_fit_result result;
    IV_TRY(iv_fit(data->set, &options, &result, err));
    return wrap(result.model, out, err);
}

isovae_status isovae_model_load(const char *path, isovae_model **out, isovae_error *err)
{
    *out = NULL;
    iv_model *model;
    IV_TRY(iv_model_load(path, &model, err));
    return wrap(model, out, err);
}

isovae_status isovae_model_load_memory(const void *bytes, size_t length, isovae_model **out,
                                       isovae_error *err)
{
    *out = NULL;
    iv_model *model;
    IV_TRY(iv_model_read(bytes, length, "the model in memory", &model, NULL, err));
    return wrap(model, out, err);
}

isovae_status isovae_model_save(const isovae_model *model, const char *path, isovae_error *err)
{
    return iv_model_save(model->model, path, err);
}

void isovae_model_free(isovae_model *model)
{
    if (!model) return;
    iv_model_free(model->model);
    iv_free(model);
}

size_t isovae_model_features(const isovae_model *model)
{
    return model->model->d;
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
