/* upsample_nearest, upsample_bilinear by whole factors, pixel_shuffle: all linear, so each is one
 * function and its transpose.
 *
 * nearest:  y[c, s h + i, s w + j] = x[c, h, w]
 * bilinear: pixel centres at halves, edges clamped (align_corners false)
 * shuffle:  y[c, f h + i, f w + j] = x[f^2 c + f i + j, h, w] (DepthToSpace, mode CRD) */
#include "graph/node.h"

#include "base/memory.h"

static isovae_status check_image(const iv_node_shapes *shapes, isovae_error *err)
{
    char text[IV_SHAPE_TEXT];
    const size_t *scale = shapes->attributes->scale;
    if (shapes->inputs[0]->rank != 3) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': rows must have three axes (channels, height, width), not %s",
                       shapes->name, iv_shape_text(shapes->inputs[0], text));
    }
    for (size_t i = 0; i < 2; i++) {
        if (scale[i] == 0 || scale[i] > IV_CONV_LIMIT) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': the factor of enlargement must be 1 to %d", shapes->name,
                           IV_CONV_LIMIT);
        }
    }
    return ISOVAE_OK;
}

static isovae_status enlarge(iv_node_shapes *shapes, iv_shape *out, isovae_error *err)
{
    for (size_t i = 0; i < 2; i++) {
        if (!iv_size_mul(out->dim[1 + i], shapes->attributes->scale[i], &out->dim[1 + i])) {
            return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': the enlarged image is too large",
                           shapes->name);
        }
    }
    shapes->outputs[0] = *out;
    return ISOVAE_OK;
}

isovae_status iv_upsample_shape(iv_node_shapes *shapes, isovae_error *err)
{
    IV_TRY(check_image(shapes, err));
    iv_shape out = *shapes->inputs[0];
    return enlarge(shapes, &out, err);
}

isovae_status iv_shuffle_shape(iv_node_shapes *shapes, isovae_error *err)
{
    size_t *scale = shapes->attributes->scale;
    scale[1] = scale[0];
    IV_TRY(check_image(shapes, err));
    iv_shape out = *shapes->inputs[0];
    if (out.dim[0] % (scale[0] * scale[0]) != 0) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': %zu channels are no multiple of the factor's square, %zu",
                       shapes->name, out.dim[0], scale[0] * scale[0]);
    }
    out.dim[0] /= scale[0] * scale[0];
    return enlarge(shapes, &out, err);
}

static void push(iv_reorder *order, size_t extent, size_t from, size_t to)
{
    size_t i = order->rank++;
    order->extent[i] = extent;
    order->from[i] = (ptrdiff_t)from;
    order->to[i] = (ptrdiff_t)to;
}

/* Copies within the pixel rows of the input, all of which follow one another. */
static iv_reorder nearest_order(const iv_node_call *call, size_t rows)
{
    const iv_shape *in = &call->graph->values[call->node->inputs[0]].shape;
    const size_t *s = call->node->attributes.scale;
    size_t c = in->dim[0], h = in->dim[1], w = in->dim[2], wide = w * s[1];
    iv_reorder a = {0};
    if (call->in_last[0]) {
        push(&a, rows * h, w * c, s[0] * wide * c);
        push(&a, s[0], 0, wide * c);
        push(&a, w, c, s[1] * c);
        push(&a, s[1], 0, c);
        push(&a, c, 1, 1);
    } else {
        push(&a, rows * c * h, w, s[0] * wide);
        push(&a, s[0], 0, wide);
        push(&a, s[1], 0, 1);
        push(&a, w, 1, s[1]);
    }
    return a;
}

static iv_reorder shuffle_order(const iv_node_call *call, size_t rows)
{
    const iv_shape *in = &call->graph->values[call->node->inputs[0]].shape;
    size_t f = call->node->attributes.scale[0], c = in->dim[0] / (f * f), h = in->dim[1],
           w = in->dim[2], wide = f * w;
    iv_reorder a = {0};
    if (call->in_last[0]) {
        push(&a, rows * h, w * c * f * f, f * wide * c);
        push(&a, w, c * f * f, f * c);
        push(&a, f, f, wide * c);
        push(&a, f, 1, c);
        push(&a, c, f * f, 1);
    } else {
        push(&a, rows * c, f * f * h * w, f * h * wide);
        push(&a, f, f * h * w, wide);
        push(&a, f, h * w, 1);
        push(&a, h, w, f * wide);
        push(&a, w, 1, f);
    }
    return a;
}

static iv_reorder transposed(iv_reorder order)
{
    for (size_t i = 0; i < order.rank; i++) {
        ptrdiff_t swap = order.from[i];
        order.from[i] = order.to[i];
        order.to[i] = swap;
    }
    return order;
}

void iv_nearest_forward(const iv_node_call *call)
{
    iv_reorder order = nearest_order(call, call->rows);
    call->kernels->reorder(&order, call->in[0], call->out[0], false);
}

void iv_nearest_reverse(const iv_node_call *call)
{
    if (call->grad_in[0] == NULL) return;
    iv_reorder order = transposed(nearest_order(call, call->rows));
    if (!call->accumulate[0])
        call->kernels->fill(call->rows * call->in_size[0], 0, call->grad_in[0]);
    call->kernels->reorder(&order, call->grad_out[0], call->grad_in[0], true);
}

void iv_nearest_tangent(const iv_node_call *call)
{
    iv_reorder order = nearest_order(call, call->tangents * call->rows);
    call->kernels->reorder(&order, call->tangent_in[0], call->tangent_out[0], false);
}

void iv_shuffle_forward(const iv_node_call *call)
{
    iv_reorder order = shuffle_order(call, call->rows);
    call->kernels->reorder(&order, call->in[0], call->out[0], false);
}

void iv_shuffle_reverse(const iv_node_call *call)
{
    if (call->grad_in[0] == NULL) return;
    iv_reorder order = transposed(shuffle_order(call, call->rows));
    call->kernels->reorder(&order, call->grad_out[0], call->grad_in[0], call->accumulate[0]);
}

void iv_shuffle_tangent(const iv_node_call *call)
{
    iv_reorder order = shuffle_order(call, call->tangents * call->rows);
    call->kernels->reorder(&order, call->tangent_in[0], call->tangent_out[0], false);
}

/* Channels first is images of one channel. */
static iv_pooling bilinear_of(const iv_node_call *call, size_t rows, size_t *images)
{
    const iv_shape *in = &call->graph->values[call->node->inputs[0]].shape;
    const size_t *s = call->node->attributes.scale;
    bool last = call->in_last[0];
    *images = last ? rows : rows * in->dim[0];
    return (iv_pooling){.channels = last ? in->dim[0] : 1,
                        .in = {in->dim[1], in->dim[2]},
                        .out = {in->dim[1] * s[0], in->dim[2] * s[1]}};
}

void iv_bilinear_forward(const iv_node_call *call)
{
    size_t images;
    iv_pooling p = bilinear_of(call, call->rows, &images);
    call->kernels->bilinear(images, &p, call->in[0], call->out[0], false);
}

void iv_bilinear_reverse(const iv_node_call *call)
{
    size_t images;
    iv_pooling p = bilinear_of(call, call->rows, &images);
    if (call->grad_in[0] == NULL) return;
    if (!call->accumulate[0])
        call->kernels->fill(call->rows * call->in_size[0], 0, call->grad_in[0]);
    call->kernels->bilinear(images, &p, call->grad_out[0], call->grad_in[0], true);
}

void iv_bilinear_tangent(const iv_node_call *call)
{
    size_t images;
    iv_pooling p = bilinear_of(call, call->tangents * call->rows, &images);
    call->kernels->bilinear(images, &p, call->tangent_in[0], call->tangent_out[0], false);
}
