/* Activations as nodes of their own: relu, leaky_relu, elu, silu, gelu, softplus, sigmoid, tanh,
 * exp; y = act(x) elementwise. The kind says which, the attributes hold the parameter. */
#include "graph/node.h"

#include <math.h>

bool iv_node_rectified(const iv_graph *graph, size_t value)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const iv_node *node = &graph->nodes[i];
        if (node->outputs[0] != value) continue;
        return node->kind->act == IV_ACT_RELU || node->attributes.act == IV_ACT_RELU;
    }
    return false;
}

isovae_status iv_activation_shape(iv_node_shapes *shapes, isovae_error *err)
{
    if (!isfinite(shapes->attributes->parameter)) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': the activation's parameter is not finite", shapes->name);
    }
    shapes->outputs[0] = *shapes->inputs[0];
    return ISOVAE_OK;
}

size_t iv_activation_scratch(const iv_graph *graph, const iv_node *node, bool tangent)
{
    return tangent ? graph->values[node->outputs[0]].size : 0;
}

void iv_activation_forward(const iv_node_call *call)
{
    const iv_attributes *attributes = &call->node->attributes;
    call->kernels->act_forward(attributes->act, attributes->parameter,
                               call->rows * call->in_size[0], call->in[0], call->out[0]);
}

void iv_activation_reverse(const iv_node_call *call)
{
    const iv_attributes *attributes = &call->node->attributes;
    if (call->grad_in[0] == NULL) return;
    call->kernels->act_reverse(attributes->act, attributes->parameter,
                               call->rows * call->in_size[0], call->in[0], call->grad_out[0],
                               call->grad_in[0], call->accumulate[0]);
}

/* act'(x) once, then times each tangent */
void iv_activation_tangent(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    const iv_attributes *attributes = &call->node->attributes;
    size_t elements = call->rows * call->in_size[0];
    k->act_derivative(attributes->act, attributes->parameter, elements, call->in[0], call->scratch);
    for (size_t t = 0; t < call->tangents; t++) {
        k->multiply(elements, iv_at(k, call->tangent_in[0], t * elements), call->scratch,
                    iv_at(k, call->tangent_out[0], t * elements));
    }
}
