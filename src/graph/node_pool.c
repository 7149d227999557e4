/* max_pool, average_pool, global_average_pool over height and width.
 *
 * Window o along an axis covers the pixels o stride - pad .. + kernel - 1; what lies in the padding
 * is no candidate for the maximum, and counts for the mean only with count_include_pad. A window
 * that would reach beyond the padding is left out. max_pool saves which tap each maximum came from.
 * All but the maximum are linear, so their tangent is the forward pass of the tangent. */
#include "graph/node.h"

static isovae_status bad_window(const iv_node_shapes *shapes, isovae_error *err)
{
    char text[IV_SHAPE_TEXT];
    return iv_fail(err, ISOVAE_ERR_FORMAT,
                   "node '%s': windows of this kernel, stride and padding do not fit rows of %s: "
                   "the kernel must be given and at most %d, each pad smaller than it, and the "
                   "padded image no smaller",
                   shapes->name, iv_shape_text(shapes->inputs[0], text), IV_CONV_LIMIT);
}

static isovae_status check_spatial(const iv_node_shapes *shapes, isovae_error *err)
{
    char text[IV_SHAPE_TEXT];
    if (shapes->inputs[0]->rank == 3) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_FORMAT,
                   "node '%s': rows must have three axes (channels, height, width), not %s",
                   shapes->name, iv_shape_text(shapes->inputs[0], text));
}

isovae_status iv_pool_shape(iv_node_shapes *shapes, isovae_error *err)
{
    iv_conv_attributes *conv = &shapes->attributes->conv;
    IV_TRY(check_spatial(shapes, err));
    iv_shape out = *shapes->inputs[0];
    for (size_t i = 0; i < 2; i++) {
        size_t size = out.dim[1 + i], kernel = conv->kernel[i];
        size_t before = conv->pads[i], after = conv->pads[2 + i];
        if (conv->stride[i] == 0) conv->stride[i] = 1;
        if (kernel == 0 || kernel > IV_CONV_LIMIT || before >= kernel || after >= kernel ||
            size > IV_CONV_LIMIT || size + before + after < kernel) {
            return bad_window(shapes, err);
        }
        out.dim[1 + i] = (size + before + after - kernel) / conv->stride[i] + 1;
    }
    /* the number of a tap is kept as an element of the network, exact up to 2^24 */
    if (conv->kernel[0] * conv->kernel[1] > (size_t)1 << 24) return bad_window(shapes, err);
    if (shapes->attributes->count_include_pad > 1) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': count_include_pad must be 0 or 1",
                       shapes->name);
    }
    shapes->outputs[0] = out;
    return ISOVAE_OK;
}

isovae_status iv_global_pool_shape(iv_node_shapes *shapes, isovae_error *err)
{
    iv_conv_attributes *conv = &shapes->attributes->conv;
    IV_TRY(check_spatial(shapes, err));
    for (size_t i = 0; i < 2; i++) conv->kernel[i] = shapes->inputs[0]->dim[1 + i];
    return iv_pool_shape(shapes, err);
}

size_t iv_max_pool_saved(const iv_graph *graph, const iv_node *node)
{
    return graph->values[node->outputs[0]].size;
}

size_t iv_max_pool_scratch(const iv_graph *graph, const iv_node *node, bool tangent)
{
    return tangent ? 0 : iv_max_pool_saved(graph, node);
}

/* Channels first is images of one channel. */
static iv_pooling pooling_of(const iv_node_call *call, size_t rows, size_t *images)
{
    const iv_shape *in = &call->graph->values[call->node->inputs[0]].shape;
    const iv_shape *out = &call->graph->values[call->node->outputs[0]].shape;
    const iv_conv_attributes *conv = &call->node->attributes.conv;
    bool last = call->in_last[0];
    *images = last ? rows : rows * in->dim[0];
    iv_pooling p = {.channels = last ? in->dim[0] : 1,
                    .count_padding = call->node->attributes.count_include_pad != 0};
    for (size_t i = 0; i < 2; i++) {
        p.in[i] = in->dim[1 + i];
        p.out[i] = out->dim[1 + i];
        p.kernel[i] = conv->kernel[i];
        p.stride[i] = conv->stride[i];
        p.pad[i] = conv->pads[i];
    }
    return p;
}

/* What a transposed pass adds to. */
static void clear(const iv_node_call *call)
{
    if (!call->accumulate[0])
        call->kernels->fill(call->rows * call->in_size[0], 0, call->grad_in[0]);
}

void iv_max_pool_forward(const iv_node_call *call)
{
    size_t images;
    iv_pooling p = pooling_of(call, call->rows, &images);
    /* kept for derivatives only */
    void *taps = call->saved != NULL ? call->saved : call->scratch;
    call->kernels->max_pool(images, &p, call->in[0], call->out[0], taps);
}

void iv_max_pool_reverse(const iv_node_call *call)
{
    size_t images;
    iv_pooling p = pooling_of(call, call->rows, &images);
    if (call->grad_in[0] == NULL) return;
    clear(call);
    call->kernels->max_pool_follow(images, &p, call->saved, call->grad_out[0], call->grad_in[0],
                                   true);
}

void iv_max_pool_tangent(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    size_t images;
    iv_pooling p = pooling_of(call, call->rows, &images);
    for (size_t t = 0; t < call->tangents; t++)
        k->max_pool_follow(images, &p, call->saved,
                           iv_at(k, call->tangent_in[0], t * call->rows * call->in_size[0]),
                           iv_at(k, call->tangent_out[0], t * call->rows * call->out_size[0]),
                           false);
}

void iv_average_pool_forward(const iv_node_call *call)
{
    size_t images;
    iv_pooling p = pooling_of(call, call->rows, &images);
    call->kernels->average_pool(images, &p, call->in[0], call->out[0]);
}

void iv_average_pool_reverse(const iv_node_call *call)
{
    size_t images;
    iv_pooling p = pooling_of(call, call->rows, &images);
    if (call->grad_in[0] == NULL) return;
    clear(call);
    call->kernels->average_pool_spread(images, &p, call->grad_out[0], call->grad_in[0]);
}

void iv_average_pool_tangent(const iv_node_call *call)
{
    size_t images;
    iv_pooling p = pooling_of(call, call->tangents * call->rows, &images);
    call->kernels->average_pool(images, &p, call->tangent_in[0], call->tangent_out[0]);
}
