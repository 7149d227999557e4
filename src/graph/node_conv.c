/* conv: y = act(x * W + b), W (out, in / groups, kh, kw); conv_transpose: its transpose, W (in,
 * out / groups, kh, kw). Cross-correlation, zero outside of the image, as in PyTorch and ONNX.
 *
 * Prepared: the weight packed for the forward and tangent passes; behind it, with a reverse pass,
 * for the gradient of x. Saved: the value before the activation, where y does not tell enough. */
#include "graph/conv.h"

#include "base/memory.h"

#include <math.h>

enum { WEIGHT = 0, BIAS = 1 };

static isovae_status check_numbers(const iv_node_shapes *shapes, const iv_conv_attributes *conv,
                                   isovae_error *err)
{
    const struct {
        const char *name;
        const size_t *values;
        size_t n, least;
    } all[] = {{"kernel", conv->kernel, 2, 1},
               {"stride", conv->stride, 2, 1},
               {"dilation", conv->dilation, 2, 1},
               {"pads", conv->pads, 4, 0},
               {"output_padding", conv->output_padding, 2, 0},
               {"groups", &conv->groups, 1, 1}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        for (size_t j = 0; j < all[i].n; j++) {
            size_t value = all[i].values[j];
            if (value >= all[i].least && value <= IV_CONV_LIMIT) continue;
            return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': %s is %zu, but must be %zu to %d",
                           shapes->name, all[i].name, value, all[i].least, IV_CONV_LIMIT);
        }
    }
    return ISOVAE_OK;
}

/* Kernel and output channels, from the weight if it is known, else from the builder. */
static isovae_status complete(iv_node_shapes *shapes, bool transposed, size_t *channels,
                              isovae_error *err)
{
    iv_conv_attributes *conv = &shapes->attributes->conv;
    char text[IV_SHAPE_TEXT];
    for (size_t i = 0; i < 2; i++) {
        if (conv->stride[i] == 0) conv->stride[i] = 1;
        if (conv->dilation[i] == 0) conv->dilation[i] = 1;
    }
    if (conv->groups == 0) conv->groups = 1;
    *channels = shapes->units;
    if (shapes->known[WEIGHT]) {
        const iv_shape *weight = &shapes->params[WEIGHT];
        if (weight->rank != 4) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': the weight of a convolution has four axes (%s, height, "
                           "width), not the shape %s",
                           shapes->name, transposed ? "in, out / groups" : "out, in / groups",
                           iv_shape_text(weight, text));
        }
        conv->kernel[0] = weight->dim[2];
        conv->kernel[1] = weight->dim[3];
        *channels = weight->dim[transposed ? 1 : 0];
        if (transposed && !iv_size_mul(*channels, conv->groups, channels)) *channels = 0;
    }
    IV_TRY(check_numbers(shapes, conv, err));
    if (*channels == 0) {
        return iv_fail(
            err, ISOVAE_ERR_FORMAT,
            "node '%s': a convolution needs one output channel or more ('units'), and not "
            "more than can be addressed",
            shapes->name);
    }
    return ISOVAE_OK;
}

/* Output extent of axis i. */
static isovae_status extent_of(const iv_node_shapes *shapes, bool transposed, size_t i, size_t in,
                               size_t *out, isovae_error *err)
{
    static const char *const side[] = {"height", "width"};
    const iv_conv_attributes *conv = &shapes->attributes->conv;
    if (in > IV_CONV_LIMIT) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': the %s of its input is %zu; convolutions take up to %d",
                       shapes->name, side[i], in, IV_CONV_LIMIT);
    }
    size_t window = conv->dilation[i] * (conv->kernel[i] - 1) + 1;
    size_t pads = conv->pads[i] + conv->pads[i + 2];
    if (!transposed) {
        if (in + pads < window) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': a kernel that spans %zu does not fit into the %s %zu with "
                           "%zu of padding",
                           shapes->name, window, side[i], in, pads);
        }
        *out = (in + pads - window) / conv->stride[i] + 1;
    } else {
        size_t most = conv->stride[i] > conv->dilation[i] ? conv->stride[i] : conv->dilation[i];
        if (conv->output_padding[i] >= most) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': output_padding %zu must be smaller than stride or dilation "
                           "(%zu)",
                           shapes->name, conv->output_padding[i], most);
        }
        size_t full = (in - 1) * conv->stride[i] + window + conv->output_padding[i];
        if (full <= pads) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': pads take away %zu of the %s %zu, and nothing is left",
                           shapes->name, pads, side[i], full);
        }
        *out = full - pads;
    }
    if (*out > IV_CONV_LIMIT) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': the %s of its output would be %zu; convolutions make up to %d",
                       shapes->name, side[i], *out, IV_CONV_LIMIT);
    }
    return ISOVAE_OK;
}

static isovae_status shape_rule(iv_node_shapes *shapes, bool transposed, isovae_error *err)
{
    const iv_shape *in = shapes->inputs[0];
    const iv_attributes *attributes = shapes->attributes;
    const iv_conv_attributes *conv = &attributes->conv;
    char text[IV_SHAPE_TEXT];
    size_t channels;
    if (attributes->act < IV_ACT_NONE || attributes->act >= IV_ACT_COUNT) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': the activation is not known",
                       shapes->name);
    }
    if (!isfinite(attributes->parameter)) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': the activation's parameter is not finite", shapes->name);
    }
    if (in->rank != 3) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': a convolution takes rows of channels x height x width, not %s; "
                       "put a reshape before it",
                       shapes->name, iv_shape_text(in, text));
    }
    IV_TRY(complete(shapes, transposed, &channels, err));
    if (!transposed && (conv->output_padding[0] != 0 || conv->output_padding[1] != 0)) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': output_padding belongs to conv_transpose", shapes->name);
    }
    if (in->dim[0] % conv->groups != 0 || channels % conv->groups != 0) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': %zu groups do not divide its %zu input and %zu output channels",
                       shapes->name, conv->groups, in->dim[0], channels);
    }
    iv_shape out = {3, {channels}};
    for (size_t i = 0; i < 2; i++)
        IV_TRY(extent_of(shapes, transposed, i, in->dim[i + 1], &out.dim[i + 1], err));
    size_t small = transposed ? in->dim[0] : channels, big = transposed ? channels : in->dim[0];
    shapes->params[WEIGHT] =
        (iv_shape){4, {small, big / conv->groups, conv->kernel[0], conv->kernel[1]}};
    shapes->params[BIAS] = (iv_shape){1, {channels}};
    shapes->outputs[0] = out;
    return ISOVAE_OK;
}

isovae_status iv_conv_shape(iv_node_shapes *shapes, isovae_error *err)
{
    return shape_rule(shapes, false, err);
}

isovae_status iv_conv_transpose_shape(iv_node_shapes *shapes, isovae_error *err)
{
    return shape_rule(shapes, true, err);
}

static bool is_transposed(const iv_node *node)
{
    return node->kind->shape == iv_conv_transpose_shape;
}

static iv_conv geometry(const iv_graph *graph, const iv_node *node)
{
    iv_conv conv;
    iv_conv_geometry(&node->attributes.conv, &graph->values[node->inputs[0]].shape,
                     &graph->values[node->outputs[0]].shape, is_transposed(node), &conv);
    return conv;
}

size_t iv_conv_saved(const iv_graph *graph, const iv_node *node)
{
    return iv_keeps_slope(node) ? graph->values[node->outputs[0]].size : 0;
}

size_t iv_conv_scratch(const iv_graph *graph, const iv_node *node, bool tangent)
{
    bool slope = tangent && node->attributes.act != IV_ACT_NONE && !iv_keeps_slope(node);
    return slope ? graph->values[node->outputs[0]].size : 0;
}

size_t iv_conv_work(const iv_kernels *kernels, const iv_graph *graph, const iv_node *node)
{
    (void)kernels;
    iv_conv conv = geometry(graph, node);
    return iv_conv_work_size(&conv);
}

size_t iv_conv_prepared(const iv_kernels *kernels, const iv_graph *graph, const iv_node *node,
                        bool reverse)
{
    iv_conv conv = geometry(graph, node);
    bool up = is_transposed(node);
    size_t size = iv_conv_pack_size(kernels, &conv, up);
    return reverse ? size + iv_conv_pack_size(kernels, &conv, !up) : size;
}

size_t iv_conv_prepare_parts(const iv_node *node, bool reverse)
{
    (void)node;
    return reverse ? 2 : 1;
}

void iv_conv_prepare(const iv_node_call *call, size_t part)
{
    const iv_kernels *k = call->kernels;
    iv_conv conv = geometry(call->graph, call->node);
    bool up = is_transposed(call->node);
    if (part == 0) {
        iv_conv_pack(k, &conv, up, call->params[WEIGHT], call->params[BIAS], call->prepared);
    } else {
        iv_conv_pack(k, &conv, !up, call->params[WEIGHT], NULL,
                     iv_at(k, call->prepared, iv_conv_pack_size(k, &conv, up)));
    }
}

/* Of one channel or one pixel, both orders are the same. */
static bool lies_last(const iv_node_call *call, size_t value, bool flag)
{
    const iv_shape *shape = &call->graph->values[value].shape;
    return flag || shape->dim[0] == 1 || shape->dim[1] * shape->dim[2] == 1;
}

static bool in_last(const iv_node_call *call)
{
    return lies_last(call, call->node->inputs[0], call->in_last[0]);
}

static bool out_last(const iv_node_call *call)
{
    return lies_last(call, call->node->outputs[0], call->out_last[0]);
}

void iv_conv_forward(const iv_node_call *call)
{
    iv_conv conv = geometry(call->graph, call->node);
    iv_conv_run run = {.conv = &conv,
                       .up = is_transposed(call->node),
                       .images = call->rows,
                       .from = call->in[0],
                       .to = call->out[0],
                       .from_last = in_last(call),
                       .to_last = out_last(call),
                       .packed = call->prepared,
                       .bias = call->params[BIAS],
                       .act = call->node->attributes.act,
                       .act_parameter = call->node->attributes.parameter,
                       .slope = call->saved,
                       .work = call->work};
    iv_conv_apply(call->kernels, &run);
}

/* g_y becomes g_pre in its place, where param_gradient finds it; then back through the map. */
void iv_conv_reverse(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    const iv_attributes *attributes = &call->node->attributes;
    size_t elements = call->rows * call->out_size[0];
    if (iv_keeps_slope(call->node)) {
        k->multiply(elements, call->grad_out[0], call->saved, call->grad_out[0]);
    } else if (attributes->act != IV_ACT_NONE) { /* y has the sign that tells the slope */
        k->act_reverse(attributes->act, attributes->parameter, elements, call->out[0],
                       call->grad_out[0], call->grad_out[0], false);
    }
    if (call->grad_in[0] == NULL) return;
    iv_conv conv = geometry(call->graph, call->node);
    bool up = is_transposed(call->node);
    iv_conv_run run = {.conv = &conv,
                       .up = !up,
                       .images = call->rows,
                       .from = call->grad_out[0],
                       .to = call->grad_in[0],
                       .from_last = out_last(call),
                       .to_last = in_last(call),
                       .packed = iv_at(k, call->prepared, iv_conv_pack_size(k, &conv, up)),
                       .accumulate = call->accumulate[0],
                       .work = call->work};
    iv_conv_apply(k, &run);
}

/* Rows of the kernel, of all parts: what the weight gradient is cut by. */
static size_t kernel_rows(const iv_conv *conv)
{
    return conv->parts * conv->kernel[0];
}

/* Some rows of the kernel in a block: a hundred rows of the product or more, and enough sums that
 * going through the images once more for them does not show (conv_weight.c); two million operations
 * or more, at most 16 blocks. */
size_t iv_conv_param_blocks(const iv_graph *graph, const iv_node *node, size_t role, size_t rows)
{
    if (role == BIAS) return 1;
    iv_conv conv = geometry(graph, node);
    double work = 2.0 * (double)rows * (double)(conv.small[0] * conv.small[1]) *
                  (double)graph->params[node->params[WEIGHT]].size;
    size_t each = conv.kernel[1] * conv.joined * conv.big_each; /* rows of the product */
    size_t sums = each * conv.joined * conv.small_each;
    size_t by_rows = (96 + each - 1) / each, by_sums = 40960 / sums;
    size_t most = kernel_rows(&conv) / (by_rows > by_sums ? by_rows : by_sums);
    size_t wanted = work >= 32e6 ? 16 : (size_t)(work / 2e6);
    if (wanted > most) wanted = most;
    return wanted == 0 ? 1 : wanted;
}

/* First tap of a block: whole rows, unless there are more blocks than rows. */
static size_t block_start(const iv_conv *conv, size_t block, size_t blocks)
{
    size_t rows = kernel_rows(conv), kw = conv->kernel[1];
    return blocks <= rows ? rows * block / blocks * kw : rows * kw * block / blocks;
}

/* Sums over images and pixels; of values in logical order by way of channels last. */
static void bias_gradient(const iv_node_call *call, void *grad, bool accumulate)
{
    const iv_kernels *k = call->kernels;
    const iv_shape *shape = &call->graph->values[call->node->outputs[0]].shape;
    size_t channels = shape->dim[0], pixels = shape->dim[1] * shape->dim[2];
    if (out_last(call)) {
        k->column_sums(call->rows * pixels, channels, call->grad_out[0], channels, grad,
                       accumulate);
        return;
    }
    for (size_t r = 0; r < call->rows; r++) {
        const void *g = iv_at(k, call->grad_out[0], r * channels * pixels);
        iv_layout_to_last(k, shape, 1, g, call->work, false);
        k->column_sums(pixels, channels, call->work, channels, grad, accumulate || r > 0);
    }
}

void iv_conv_param_gradient(const iv_node_call *call, size_t role, void *grad, bool accumulate,
                            size_t block, size_t blocks)
{
    iv_conv conv = geometry(call->graph, call->node);
    if (role == BIAS) {
        if (block == 0) bias_gradient(call, grad, accumulate);
        return;
    }
    bool transposed = is_transposed(call->node);
    iv_conv_weight_run run = {.conv = &conv,
                              .images = call->rows,
                              .big = transposed ? call->grad_out[0] : call->in[0],
                              .small = transposed ? call->in[0] : call->grad_out[0],
                              .big_last = transposed ? out_last(call) : in_last(call),
                              .small_last = transposed ? in_last(call) : out_last(call),
                              .grad = grad,
                              .accumulate = accumulate,
                              .first = block_start(&conv, block, blocks),
                              .end = block_start(&conv, block + 1, blocks),
                              .work = call->work};
    iv_conv_weight_gradient(call->kernels, &run);
}

/* t_y = act'(pre) (t_x * W), one run for all tangents of all rows */
void iv_conv_tangent(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    const iv_attributes *attributes = &call->node->attributes;
    size_t elements = call->rows * call->out_size[0];
    iv_conv conv = geometry(call->graph, call->node);
    iv_conv_run run = {.conv = &conv,
                       .up = is_transposed(call->node),
                       .images = call->tangents * call->rows,
                       .from = call->tangent_in[0],
                       .to = call->tangent_out[0],
                       .from_last = in_last(call),
                       .to_last = out_last(call),
                       .packed = call->prepared,
                       .work = call->work};
    iv_conv_apply(k, &run);
    if (attributes->act == IV_ACT_NONE) return;
    const void *slope = call->saved;
    if (!iv_keeps_slope(call->node)) {
        k->act_derivative(attributes->act, attributes->parameter, elements, call->out[0],
                          call->scratch);
        slope = call->scratch;
    }
    for (size_t t = 0; t < call->tangents; t++) {
        void *y = iv_at(k, call->tangent_out[0], t * elements);
        k->multiply(elements, y, slope, y);
    }
}
