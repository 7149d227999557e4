#include "api/handles.h"
#include "train/train.h"

#include <math.h>
#include <string.h>

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
    IV_TRY(iv_check_config("fit", config->struct_size, sizeof *config, err));
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
    return iv_wrap_model(result.model, out, err);
}
