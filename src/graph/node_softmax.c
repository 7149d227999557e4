/* softmax and log_softmax over one axis of a row:
 *
 *   y_i = exp(x_i) / sum_j exp(x_j), the largest x taken off first; its Jacobian is symmetric:
 *   g_x = y (g - sum_j g_j y_j), and t_y the same from t.
 *   log: y_i = x_i - log sum_j exp(x_j); g_x = g - exp(y) sum_j g_j, t_y = t - sum_j exp(y_j) t_j
 */
#include "graph/node.h"

isovae_status iv_softmax_shape(iv_node_shapes *shapes, isovae_error *err)
{
    if (shapes->attributes->axis == 0) shapes->attributes->axis = 1;
    if (shapes->attributes->axis > shapes->inputs[0]->rank) {
        char text[IV_SHAPE_TEXT];
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': rows of %s have no axis %zu",
                       shapes->name, iv_shape_text(shapes->inputs[0], text),
                       shapes->attributes->axis);
    }
    shapes->outputs[0] = *shapes->inputs[0];
    return ISOVAE_OK;
}

typedef struct extent {
    size_t outer, channels, inner;
} extent;

static extent extent_of(const iv_node_call *call, size_t rows)
{
    const iv_shape *shape = &call->graph->values[call->node->inputs[0]].shape;
    iv_shape lies = iv_layout_physical(shape, call->in_last[0]);
    size_t axis = call->node->attributes.axis - 1;
    if (call->in_last[0]) axis = (axis + lies.rank - 1) % lies.rank; /* C, H, W to H, W, C */
    extent e = {rows, lies.dim[axis], 1};
    for (size_t i = 0; i < axis; i++) e.outer *= lies.dim[i];
    for (size_t i = axis + 1; i < lies.rank; i++) e.inner *= lies.dim[i];
    return e;
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

void iv_log_softmax_forward(const iv_node_call *call)
{
    extent e = extent_of(call, call->rows);
    call->kernels->log_softmax(e.outer, e.channels, e.inner, call->in[0], call->out[0]);
}

void iv_log_softmax_reverse(const iv_node_call *call)
{
    extent e = extent_of(call, call->rows);
    if (call->grad_in[0] == NULL) return;
    call->kernels->log_softmax_reverse(e.outer, e.channels, e.inner, call->out[0],
                                       call->grad_out[0], call->grad_in[0], call->accumulate[0]);
}

void iv_log_softmax_tangent(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    extent e = extent_of(call, call->rows);
    size_t n = call->rows * call->in_size[0];
    for (size_t t = 0; t < call->tangents; t++)
        k->log_softmax_tangent(e.outer, e.channels, e.inner, call->out[0],
                               iv_at(k, call->tangent_in[0], t * n),
                               iv_at(k, call->tangent_out[0], t * n));
}
