#include "base/memory.h"
#include "base/random.h"
#include "graph/node.h"
#include "train/trainer.h"

#include <math.h>
#include <string.h>

static void store(iv_model *model, size_t at, double value)
{
    if (model->dtype == IV_F64)
        ((double *)model->params)[at] = value;
    else
        ((float *)model->params)[at] = (float)value;
}

static bool reads_input(const iv_graph *graph, const iv_node *node)
{
    for (size_t i = 0; i < node->n_inputs; i++)
        for (size_t j = 0; j < graph->n_inputs; j++)
            if (node->inputs[i] == graph->inputs[j]) return true;
    return false;
}

/* Kinds that begin at fixed values: normalisations, GDN. */
static void start_fixed(iv_model *model, const iv_graph *graph, const iv_node *node)
{
    for (size_t role = 0; role < node->n_params; role++) {
        if (node->params[role] == SIZE_MAX) continue;
        const iv_param *param = &graph->params[node->params[role]];
        for (size_t i = 0; i < param->size; i++) {
            double effective = node->kind->start(graph, node, role, i);
            store(model, param->offset + i, iv_param_raw(param->parametrization, effective));
        }
    }
}

/* Terms of a sum that makes one output. Of a transposed convolution, whose weights are (in, out, h,
 * w), those taps that meet an input: one in stride x stride. */
static double fan_in(const iv_graph *graph, const iv_node *node, const iv_param *weight)
{
    double taps = (double)weight->size / (double)weight->shape.dim[0];
    if (strcmp(node->kind->name, "matmul") == 0 && !node->attributes.constant_first)
        return (double)weight->shape.dim[weight->shape.rank < 2 ? 0 : weight->shape.rank - 2];
    if (strcmp(node->kind->name, "conv_transpose") != 0) return taps;
    const iv_conv_attributes *conv = &node->attributes.conv;
    double in = (double)graph->values[node->inputs[0]].shape.dim[0] / (double)conv->groups;
    taps = in * (double)(weight->shape.dim[2] * weight->shape.dim[3]) /
           (double)(conv->stride[0] * conv->stride[1]);
    return taps > 1 ? taps : 1;
}

/* `salt` keeps the encoder's and the decoder's numbers apart. */
static isovae_status start_graph(iv_model *model, const iv_graph *graph, uint64_t seed,
                                 uint64_t salt, iv_init init, double first_bias_sd,
                                 isovae_error *err)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const iv_node *node = &graph->nodes[i];
        if (node->kind->start != NULL) {
            start_fixed(model, graph, node);
            continue;
        }
        if (node->n_params == 0 || node->params[0] == SIZE_MAX) continue;
        const iv_param *weight = &graph->params[node->params[0]];
        size_t out = weight->shape.dim[0], in = weight->size / out;
        bool first = init == IV_INIT_MULTIMODAL && reads_input(graph, node) &&
                     strcmp(node->name, "dec.out") != 0;
        double bound = 1.0 / sqrt(fan_in(graph, node, weight)), gain = first ? 2.0 : 1.0;
        const iv_param *bias = node->n_params > 1 && node->params[1] != SIZE_MAX
                                   ? &graph->params[node->params[1]]
                                   : NULL;
        size_t most = bias != NULL && bias->size > in ? bias->size : in;
        double *draws;
        IV_TRY(IV_NEW(draws, most, "random weights", err));
        iv_key key = {.seed = seed, .purpose = IV_PURPOSE_INIT, .step = salt + node->params[0]};
        for (size_t row = 0; row < out; row++) {
            key.row = row;
            iv_uniforms_f64(&key, in, draws);
            for (size_t j = 0; j < in; j++)
                store(model, weight->offset + row * in + j, gain * bound * (2.0 * draws[j] - 1.0));
        }
        if (bias != NULL) {
            key.row = out;
            if (first)
                iv_normals_f64(&key, bias->size, draws);
            else
                iv_uniforms_f64(&key, bias->size, draws);
            for (size_t j = 0; j < bias->size; j++)
                store(model, bias->offset + j,
                      first ? first_bias_sd * draws[j] : bound * (2.0 * draws[j] - 1.0));
        }
        iv_free(draws);
    }
    return ISOVAE_OK;
}

void iv_start_noise(iv_model *model, double variance)
{
    for (size_t i = 0; i < model->learned_elements; i++)
        store(model, model->learned_at + i, i < model->d ? 0.5 * log(variance) : log(4.0));
}

isovae_status iv_start_weights(iv_model *model, uint64_t seed, iv_init init, isovae_error *err)
{
    IV_TRY(start_graph(model, model->encoder, seed, 0, init, 0.5, err));
    return start_graph(model, model->decoder, seed, 1u << 20, init, 1.0, err);
}
