#include "model/live.h"

#include "base/memory.h"

isovae_status iv_model_describe(iv_model *model, const iv_dataset *data, const char *arch,
                                isovae_error *err)
{
    IV_TRY(iv_strdup(&model->arch, arch, err));
    IV_TRY(iv_strdup(&model->version, ISOVAE_VERSION, err));
    IV_TRY(iv_strdup(&model->data_source, data->source ? data->source : "memory", err));
    model->height = data->height;
    model->width = data->width;
    model->channels = data->channels;
    model->named = data->named;
    IV_TRY(iv_alloc((void **)&model->names, data->cols, sizeof *model->names, "names of features",
                    err));
    for (size_t i = 0; i < data->cols; i++)
        IV_TRY(iv_strdup(&model->names[i], data->names[i], err));
    return ISOVAE_OK;
}

static isovae_status no_scaling(iv_scaling *s, size_t d, isovae_error *err)
{
    IV_TRY(IV_NEW(s->shift, d, "the scaling", err));
    IV_TRY(IV_NEW(s->scale, d, "the scaling", err));
    IV_TRY(IV_NEW(s->weight, d, "the scaling", err));
    s->kind = IV_SCALE_IDENTITY;
    s->cols = d;
    s->uniform = true;
    for (size_t i = 0; i < d; i++) s->scale[i] = s->weight[i] = 1;
    return ISOVAE_OK;
}

static isovae_status fill(iv_model *model, iv_live *live, const iv_dataset *data,
                          const iv_metric_spec *metric, isovae_error *err)
{
    iv_graph *encoder, *decoder;
    IV_TRY(iv_live_encoder(live, &encoder, err));
    isovae_status status = iv_live_decoder(live, &decoder, err);
    if (status) {
        iv_graph_free(encoder);
        return status;
    }
    IV_TRY(iv_model_set_network(model, encoder, decoder, IV_F32, err));
    IV_TRY(no_scaling(&model->scaling, data->cols, err));
    IV_TRY(iv_model_set_metric(model, metric, err));
    model->own_order = true;
    return iv_model_describe(model, data, "live networks", err);
}

isovae_status iv_model_live(iv_live *live, const iv_dataset *data, const iv_metric_spec *metric,
                            iv_model **out, isovae_error *err)
{
    iv_model *model;
    *out = NULL;
    IV_TRY(iv_model_new(&model, err));
    isovae_status status = fill(model, live, data, metric, err);
    if (status) {
        iv_model_free(model);
        return status;
    }
    *out = model;
    return ISOVAE_OK;
}
