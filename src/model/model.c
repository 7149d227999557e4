/* A model's life: defaults, the layout of its parameters, release. */
#include "model/model.h"

#include "base/memory.h"
#include "graph/live.h"
#include "graph/node.h"
#include "model/safetensors.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

isovae_status iv_model_new(iv_model **out, isovae_error *err)
{
    *out = NULL;
    iv_model *model;
    IV_TRY(IV_NEW(model, 1, "a model", err));
    model->logvar_lo = -30;
    model->logvar_hi = 20;
    model->metric = (iv_metric_spec){.loss = IV_LOSS_SSE};
    model->beta = 1;
    model->train_loss = (double)NAN;
    model->validation_loss = (double)NAN;
    *out = model;
    return ISOVAE_OK;
}

void iv_model_free(iv_model *model)
{
    if (model == NULL) return;
    for (size_t j = 0; model->splines != NULL && j < model->n; j++) {
        iv_spline_free(&model->splines[j]);
    }
    for (size_t i = 0; model->names != NULL && i < model->d; i++) iv_free(model->names[i]);
    iv_graph_free(model->encoder);
    iv_graph_free(model->decoder);
    iv_scaling_free(&model->scaling);
    iv_categories_free(&model->categories);
    iv_free(model->params);
    iv_free((void *)model->names);
    iv_free(model->arch);
    iv_free(model->data_source);
    iv_free(model->version);
    iv_free(model->isa);
    iv_free(model->history);
    iv_free(model->active);
    iv_free(model->kl_mean);
    iv_free(model->variance_y);
    iv_free(model->splines);
    iv_free(model->quantiles);
    for (size_t k = 0; model->more != NULL && k < model->n_more; k++) iv_model_free(model->more[k]);
    iv_free((void *)model->more);
    iv_free(model);
}

isovae_status iv_model_join(iv_model *first, iv_model *const *more, size_t n, isovae_error *err)
{
    if (n == 0) return ISOVAE_OK;
    if (n >= IV_MAX_MEMBERS || first->n_more > 0) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "an ensemble has 2 to %d members, not %zu",
                       IV_MAX_MEMBERS, n + 1);
    }
    for (size_t k = 0; k < n; k++) {
        if (more[k]->d == first->d && more[k]->n == first->n && more[k]->n_more == 0 &&
            more[k]->metric.loss == first->metric.loss) {
            continue;
        }
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "member %zu of the ensemble is not like member 0: features, latents and "
                       "loss must agree",
                       k + 1);
    }
    IV_TRY(iv_alloc((void **)&first->more, n, sizeof(void *), "an ensemble", err));
    for (size_t k = 0; k < n; k++) first->more[k] = more[k];
    first->n_more = n;
    return ISOVAE_OK;
}

static bool is_output(const iv_graph *graph, size_t value)
{
    for (size_t i = 0; i < graph->n_outputs; i++) {
        if (graph->outputs[i] == value) return true;
    }
    return false;
}

static isovae_status find_output(const iv_graph *graph, const char *network, const char *name,
                                 size_t *out, isovae_error *err)
{
    size_t value = iv_graph_find_value(graph, name);
    if (value == SIZE_MAX || !is_output(graph, value)) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "the %s has no output '%s'; an encoder gives 'mu' and 'logvar', a decoder "
                       "gives 'out'",
                       network, name);
    }
    *out = value;
    return ISOVAE_OK;
}

/* One parameter vector and one file hold both networks, so names must differ. */
static isovae_status check_names(const iv_graph *encoder, const iv_graph *decoder,
                                 isovae_error *err)
{
    for (size_t i = 0; i < decoder->n_params; i++) {
        if (iv_graph_find_param(encoder, decoder->params[i].name) != SIZE_MAX) {
            return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                           "encoder and decoder both have a parameter '%s'; sharing between them "
                           "is not supported: rename one",
                           decoder->params[i].name);
        }
    }
    return ISOVAE_OK;
}

static isovae_status check_sizes(const iv_model *model, isovae_error *err)
{
    const iv_graph *encoder = model->encoder, *decoder = model->decoder;
    size_t d = encoder->values[encoder->inputs[0]].size, n = encoder->values[model->mu].size;
    size_t logvar = encoder->values[model->logvar].size;
    size_t z = decoder->values[decoder->inputs[0]].size, out = decoder->values[model->out].size;
    if (d == 0 || n == 0) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "the model has %zu features and %zu latents; both must be at least 1", d, n);
    }
    if (logvar != n || z != n) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "sizes disagree: 'mu' has %zu elements, 'logvar' %zu, the decoder's input "
                       "%zu; all three must be the number of latents",
                       n, logvar, z);
    }
    if (out != d) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "the encoder reads %zu features and the decoder writes %zu; they must agree",
                       d, out);
    }
    return ISOVAE_OK;
}

isovae_status iv_model_set_network(iv_model *model, iv_graph *encoder, iv_graph *decoder,
                                   iv_dtype dtype, isovae_error *err)
{
    if (model->encoder != NULL || model->decoder != NULL) {
        iv_graph_free(encoder);
        iv_graph_free(decoder);
        return iv_fail(err, ISOVAE_ERR_INTERNAL, "the model has a network already");
    }
    model->encoder = encoder; /* from here on iv_model_free releases them */
    model->decoder = decoder;
    model->dtype = dtype;
    if (encoder->n_inputs != 1 || decoder->n_inputs != 1) {
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                       "encoder and decoder must have one input each, not %zu and %zu",
                       encoder->n_inputs, decoder->n_inputs);
    }
    IV_TRY(find_output(encoder, "encoder", "mu", &model->mu, err));
    IV_TRY(find_output(encoder, "encoder", "logvar", &model->logvar, err));
    IV_TRY(find_output(decoder, "decoder", "out", &model->out, err));
    IV_TRY(check_names(encoder, decoder, err));
    IV_TRY(check_sizes(model, err));
    size_t d = encoder->values[encoder->inputs[0]].size, n = encoder->values[model->mu].size;

    encoder->param_elements = decoder->param_elements = 0;
    size_t end = iv_graph_layout_part(encoder, 0, false);
    model->trained_elements = end = iv_graph_layout_part(decoder, end, false);
    end = iv_graph_layout_part(decoder, iv_graph_layout_part(encoder, end, true), true);
    size_t element = dtype == IV_F64 ? sizeof(double) : sizeof(float);
    IV_TRY(iv_alloc(&model->params, end, element, "the parameters", err));
    model->param_elements = model->learned_at = end;
    IV_TRY(IV_NEW(model->active, n, "the active set", err));
    IV_TRY(IV_NEW(model->kl_mean, n, "the mean KL of the latents", err));
    IV_TRY(IV_NEW(model->variance_y, n, "the importance of the latents", err));
    IV_TRY(IV_NEW(model->splines, n, "the isometric coordinates", err));
    model->d = d;
    model->n = n;
    return ISOVAE_OK;
}

isovae_status iv_model_set_metric(iv_model *model, const iv_metric_spec *spec, isovae_error *err)
{
    size_t element = iv_dtype_size(model->dtype), size = iv_metric_learned(spec, model->d), total;
    void *params;
    if (!iv_size_add(model->learned_at, size, &total)) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "%zu features are too many", model->d);
    }
    if (total != model->param_elements) {
        IV_TRY(iv_alloc(&params, total, element, "the parameters", err));
        memcpy(params, model->params, model->learned_at * element);
        iv_free(model->params);
        model->params = params;
    }
    model->metric = *spec;
    model->param_elements = total;
    model->learned_elements = size;
    return ISOVAE_OK;
}

/* Vector `which` of what the metric learns. */
static double learned_number(const iv_model *model, size_t which, size_t feature)
{
    size_t at = model->learned_at + which * model->d + feature;
    return model->dtype == IV_F64 ? ((const double *)model->params)[at]
                                  : (double)((const float *)model->params)[at];
}

void iv_model_settle(const iv_model *model, iv_metric *metric)
{
    for (size_t i = 0; i < model->learned_elements; i++) {
        metric->learned[i] = learned_number(model, i / model->d, i % model->d);
    }
    if (model->learned_elements > 0) metric->kind->settle(metric);
}

double iv_model_noise_s(const iv_model *model, size_t feature)
{
    return model->learned_elements > 0 ? exp(learned_number(model, 0, feature)) : (double)NAN;
}

double iv_model_noise_nu(const iv_model *model, size_t feature)
{
    return model->learned_elements > model->d ? exp(learned_number(model, 1, feature)) : INFINITY;
}

iv_metric_image iv_model_image(const iv_model *model)
{
    const iv_shape *shape = &model->decoder->values[model->out].shape;
    if (shape->rank == 3) {
        return (iv_metric_image){.height = shape->dim[1],
                                 .width = shape->dim[2],
                                 .channels = shape->dim[0],
                                 .planar = true};
    }
    return (iv_metric_image){
        .height = model->height, .width = model->width, .channels = model->channels};
}

iv_metric_use iv_model_metric_use(const iv_model *model, size_t lanes)
{
    return (iv_metric_use){.d = model->d,
                           .weight = model->scaling.cols == model->d ? model->scaling.weight : NULL,
                           .image = iv_model_image(model),
                           .lanes = lanes};
}

static bool convolves(const iv_graph *graph)
{
    for (size_t i = 0; i < graph->n_nodes; i++)
        if (strncmp(graph->nodes[i].kind->name, "conv", 4) == 0 ||
            (graph->nodes[i].attributes.live != NULL &&
             iv_live_convolutional(graph->nodes[i].attributes.live)))
            return true;
    return false;
}

bool iv_model_convolves(const iv_model *model)
{
    return convolves(model->encoder) || convolves(model->decoder);
}
