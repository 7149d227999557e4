/* The dense layers through which the latents pass: what may be moved, dropped or folded. */
#include "model/latent_layers.h"

#include "graph/node.h"

#include <stdint.h>
#include <string.h>

isovae_status iv_latents_fixed(const char *what, const char *name, isovae_error *err)
{
    return iv_fail(err, ISOVAE_ERR_UNSUPPORTED, "the latents cannot be moved: %s '%s'", what, name);
}

static bool is_dense(const iv_node *node)
{
    return strcmp(node->kind->name, "dense") == 0;
}

bool iv_node_reads(const iv_node *node, size_t value)
{
    for (size_t i = 0; i < node->n_inputs; i++) {
        if (node->inputs[i] == value) return true;
    }
    return false;
}

static bool has_param(const iv_node *node, size_t param)
{
    for (size_t i = 0; i < node->n_params; i++) {
        if (node->params[i] == param) return true;
    }
    return false;
}

/* One number becomes one number, the same way for each latent. */
static bool is_function(const iv_node *node)
{
    if (node->n_inputs != 1 || node->n_outputs != 1) return false;
    for (size_t i = 0; i < node->n_params; i++)
        if (node->params[i] != SIZE_MAX) return false;
    return node->kind->act != IV_ACT_NONE || node->kind->forward == iv_function_forward ||
           node->kind->operands == 2;
}

isovae_status iv_latent_head(const iv_graph *graph, size_t value, bool through, const iv_node **out,
                             isovae_error *err)
{
    const char *name = graph->values[value].name;
    const iv_node *head = NULL;
    for (size_t steps = 0; steps <= graph->n_nodes; steps++) {
        size_t readers = 0;
        head = NULL;
        for (size_t i = 0; i < graph->n_nodes; i++) {
            const iv_node *node = &graph->nodes[i];
            readers += iv_node_reads(node, value);
            if (node->n_outputs == 1 && node->outputs[0] == value) head = node;
        }
        if (readers > (steps == 0 ? 0 : 1))
            return iv_latents_fixed("the encoder goes on from", name, err);
        if (!through || head == NULL || !is_function(head)) break;
        value = head->inputs[0];
    }
    if (head == NULL || !is_dense(head) ||
        graph->params[head->params[IV_DENSE_WEIGHT]].shape.dim[0] != graph->values[value].size) {
        return iv_latents_fixed("no dense layer of its own gives", name, err);
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const iv_node *node = &graph->nodes[i];
        for (size_t p = 0; node != head && p < head->n_params; p++) {
            if (head->params[p] != SIZE_MAX && has_param(node, head->params[p])) {
                return iv_latents_fixed("weights are shared by", node->name, err);
            }
        }
    }
    *out = head;
    return ISOVAE_OK;
}

isovae_status iv_latent_readers_check(const iv_graph *graph, isovae_error *err)
{
    size_t z = graph->inputs[0];
    for (size_t i = 0; i < graph->n_outputs; i++) {
        if (graph->outputs[i] == z) return iv_latents_fixed("they are", "out", err);
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const iv_node *first = &graph->nodes[i];
        if (!iv_node_reads(first, z)) continue;
        if (!is_dense(first) ||
            graph->params[first->params[IV_DENSE_WEIGHT]].shape.dim[1] != graph->values[z].size) {
            return iv_latents_fixed("a layer that is not dense reads them:", first->name, err);
        }
        for (size_t k = 0; k < graph->n_nodes; k++) {
            const iv_node *node = &graph->nodes[k];
            bool uses = has_param(node, first->params[IV_DENSE_WEIGHT]);
            if (uses && (!is_dense(node) || !iv_node_reads(node, z))) {
                return iv_latents_fixed("weights are shared by", node->name, err);
            }
        }
    }
    return ISOVAE_OK;
}
