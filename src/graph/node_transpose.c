/* transpose: the axes of a row in another order; axis i of the output is axis perm[i] of the input,
 * both counted with the batch, as in ONNX. */
#include "graph/node.h"

isovae_status iv_transpose_shape(iv_node_shapes *shapes, isovae_error *err)
{
    const iv_shape *in = shapes->inputs[0];
    const iv_attributes *a = shapes->attributes;
    bool used[IV_MAX_RANK + 1] = {false};
    bool fits = a->n_sizes == in->rank;
    for (size_t i = 0; fits && i < a->n_sizes; i++) {
        fits = a->sizes[i] >= 1 && a->sizes[i] <= in->rank && !used[a->sizes[i]];
        if (fits) used[a->sizes[i]] = true;
    }
    if (!fits || in->rank > IV_REORDER_AXES - 1) {
        char text[IV_SHAPE_TEXT];
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': 'perm' must name each axis of rows of %s once, from 1 (at most "
                       "%d axes)",
                       shapes->name, iv_shape_text(in, text), IV_REORDER_AXES - 1);
    }
    shapes->outputs[0].rank = in->rank;
    for (size_t i = 0; i < in->rank; i++) shapes->outputs[0].dim[i] = in->dim[a->sizes[i] - 1];
    return ISOVAE_OK;
}

/* Distances between neighbours along each axis of a value, as it lies. */
static void strides_of(const iv_shape *shape, bool last, ptrdiff_t *strides)
{
    ptrdiff_t size = 1;
    if (last && shape->rank == 3) { /* C, H, W lying as H, W, C */
        strides[0] = 1;
        strides[2] = (ptrdiff_t)shape->dim[0];
        strides[1] = strides[2] * (ptrdiff_t)shape->dim[2];
        return;
    }
    for (size_t i = shape->rank; i-- > 0;) {
        strides[i] = size;
        size *= (ptrdiff_t)shape->dim[i];
    }
}

/* One row after the other; where both sides lie alike, one copy of all. */
static void transpose(const iv_node_call *call, bool backwards, size_t rows, const void *x, void *y,
                      bool accumulate)
{
    const iv_kernels *k = call->kernels;
    const iv_shape *in = &call->graph->values[call->node->inputs[0]].shape;
    const iv_shape *out = &call->graph->values[call->node->outputs[0]].shape;
    ptrdiff_t of_in[IV_MAX_RANK], of_out[IV_MAX_RANK];
    size_t size = call->in_size[0];
    strides_of(in, call->in_last[0], of_in);
    strides_of(out, call->out_last[0], of_out);
    iv_reorder p = {.rank = in->rank};
    bool alike = true;
    for (size_t i = 0; i < in->rank; i++) {
        ptrdiff_t a = of_in[call->node->attributes.sizes[i] - 1], b = of_out[i];
        p.extent[i] = out->dim[i];
        p.from[i] = backwards ? b : a;
        p.to[i] = backwards ? a : b;
        alike = alike && (a == b || out->dim[i] == 1);
    }
    if (alike || in->rank == 0) {
        k->copy_block(1, rows * size, x, rows * size, y, rows * size, accumulate);
        return;
    }
    for (size_t r = 0; r < rows; r++)
        k->reorder(&p, iv_at(k, x, r * size), iv_at(k, y, r * size), accumulate);
}

void iv_transpose_forward(const iv_node_call *call)
{
    transpose(call, false, call->rows, call->in[0], call->out[0], false);
}

void iv_transpose_reverse(const iv_node_call *call)
{
    if (call->grad_in[0] == NULL) return;
    transpose(call, true, call->rows, call->grad_out[0], call->grad_in[0], call->accumulate[0]);
}

void iv_transpose_tangent(const iv_node_call *call)
{
    transpose(call, false, call->tangents * call->rows, call->tangent_in[0], call->tangent_out[0],
              false);
}
