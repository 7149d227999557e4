/* softmax over axis 1, at every pixel: y_i = exp(x_i) / sum_j exp(x_j), the largest x taken off
 * first. Its Jacobian is symmetric: g_x = y (g - sum_j g_j y_j), and t_y the same from t. */
#include "graph/node.h"

isovae_status iv_softmax_shape(iv_node_shapes *shapes, isovae_error *err)
{
    if (shapes->attributes->axis == 0) shapes->attributes->axis = 1;
    if (shapes->inputs[0]->rank == 0 || shapes->attributes->axis != 1) {
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                       "node '%s': softmax over axis %zu is not supported, only axis 1 (the first "
                       "behind the batch)",
                       shapes->name, shapes->attributes->axis);
    }
    shapes->outputs[0] = *shapes->inputs[0];
    return ISOVAE_OK;
}

typedef struct extent {
    size_t outer, channels, inner;
} extent;

static extent extent_of(const iv_node_call *call, size_t rows)
{
    size_t channels = call->graph->values[call->node->inputs[0]].shape.dim[0];
    size_t pixels = call->in_size[0] / channels;
    if (call->in_last[0]) return (extent){rows * pixels, channels, 1};
    return (extent){rows, channels, pixels};
}

void iv_softmax_forward(const iv_node_call *call)
{
    extent e = extent_of(call, call->rows);
    call->kernels->softmax(e.outer, e.channels, e.inner, call->in[0], call->out[0]);
}

void iv_softmax_reverse(const iv_node_call *call)
{
    extent e = extent_of(call, call->rows);
    if (call->grad_in[0] == NULL) return;
    call->kernels->softmax_reverse(e.outer, e.channels, e.inner, call->out[0], call->grad_out[0],
                                   call->grad_in[0], call->accumulate[0]);
}

void iv_softmax_tangent(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    extent e = extent_of(call, call->rows);
    size_t n = call->rows * call->in_size[0];
    for (size_t t = 0; t < call->tangents; t++)
        k->softmax_reverse(e.outer, e.channels, e.inner, call->out[0],
                           iv_at(k, call->tangent_in[0], t * n),
                           iv_at(k, call->tangent_out[0], t * n), false);
}
