/* dense: y = act(x W^T + b), W (out, in), b (out) or absent.
 *
 * Prepared: W^T packed for the forward and tangent passes; behind it, with a reverse pass, W packed
 * for the gradient of x. Saved: act' at the value before the activation, where y does not tell it.
 */
#include "graph/node.h"

#include <math.h>

enum { WEIGHT = 0, BIAS = 1 };

isovae_status iv_dense_shape(iv_node_shapes *shapes, isovae_error *err)
{
    const iv_shape *in = shapes->inputs[0];
    char text[IV_SHAPE_TEXT];
    if (shapes->attributes->act < IV_ACT_NONE || shapes->attributes->act >= IV_ACT_COUNT) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': the activation is not known",
                       shapes->name);
    }
    if (!isfinite(shapes->attributes->parameter)) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': the activation's parameter is not finite", shapes->name);
    }
    if (in->rank != 1) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': dense takes rows of one axis, not %s; put a flatten before it",
                       shapes->name, iv_shape_text(in, text));
    }
    size_t out = shapes->units;
    if (shapes->known[WEIGHT]) {
        if (shapes->params[WEIGHT].rank != 2) {
            return iv_fail(
                err, ISOVAE_ERR_FORMAT,
                "node '%s': the weight of dense has two axes (out, in), not the shape %s",
                shapes->name, iv_shape_text(&shapes->params[WEIGHT], text));
        }
        out = shapes->params[WEIGHT].dim[0];
    }
    if (out == 0) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': dense needs at least one unit ('units')",
                       shapes->name);
    }
    shapes->params[WEIGHT] = (iv_shape){2, {out, in->dim[0]}};
    shapes->params[BIAS] = (iv_shape){1, {out}};
    shapes->outputs[0] = (iv_shape){1, {out}};
    return ISOVAE_OK;
}

/* The derivative of relu, and of leaky relu with a positive slope, follows from the sign of y. */
bool iv_keeps_slope(const iv_node *node)
{
    switch (node->attributes.act) {
    case IV_ACT_NONE:
    case IV_ACT_RELU: return false;
    case IV_ACT_LEAKY_RELU: return !(node->attributes.parameter > 0);
    default: return true;
    }
}

static size_t width_in(const iv_graph *graph, const iv_node *node)
{
    return graph->values[node->inputs[0]].size;
}

static size_t width_out(const iv_graph *graph, const iv_node *node)
{
    return graph->values[node->outputs[0]].size;
}

size_t iv_dense_saved(const iv_graph *graph, const iv_node *node)
{
    return iv_keeps_slope(node) ? width_out(graph, node) : 0;
}

size_t iv_dense_scratch(const iv_graph *graph, const iv_node *node, bool tangent)
{
    if (!tangent) return 0;
    size_t size = 0;
    if (node->attributes.act != IV_ACT_NONE && !iv_keeps_slope(node))
        size += width_out(graph, node);
    if (iv_node_rectified(graph, node->inputs[0])) size += width_in(graph, node) + 1;
    return size;
}

/* Where the second pack starts: at a cache line. */
static size_t reverse_offset(const iv_kernels *k, size_t in, size_t out)
{
    return (k->pack_size(in, out) + 15) / 16 * 16;
}

size_t iv_dense_prepared(const iv_kernels *kernels, const iv_graph *graph, const iv_node *node,
                         bool reverse)
{
    size_t in = width_in(graph, node), out = width_out(graph, node);
    size_t size = reverse_offset(kernels, in, out);
    return reverse ? size + kernels->pack_size(out, in) : size;
}

size_t iv_dense_prepare_parts(const iv_node *node, bool reverse)
{
    (void)node;
    return reverse ? 2 : 1;
}

void iv_dense_prepare(const iv_node_call *call, size_t part)
{
    const iv_kernels *k = call->kernels;
    size_t in = call->in_size[0], out = call->out_size[0];
    if (part == 0) {
        k->pack(in, out, call->params[WEIGHT], in, true, call->prepared);
    } else {
        k->pack(out, in, call->params[WEIGHT], in, false,
                iv_at(k, call->prepared, reverse_offset(k, in, out)));
    }
}

void iv_dense_forward(const iv_node_call *call)
{
    size_t in = call->in_size[0], out = call->out_size[0];
    iv_product p = {.m = call->rows,
                    .n = out,
                    .k = in,
                    .a = call->in[0],
                    .lda = in,
                    .b_transposed = true,
                    .ldb = in,
                    .packed = call->prepared,
                    .c = call->out[0],
                    .ldc = out,
                    .bias = call->params[BIAS],
                    .act = call->node->attributes.act,
                    .act_parameter = call->node->attributes.parameter,
                    .slope = call->saved};
    call->kernels->product(&p);
}

/* g_y becomes g_pre in its place, where param_gradient finds it; then g_x = g_pre W. */
void iv_dense_reverse(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    const iv_attributes *attributes = &call->node->attributes;
    size_t in = call->in_size[0], out = call->out_size[0];
    if (iv_keeps_slope(call->node)) {
        k->multiply(call->rows * out, call->grad_out[0], call->saved, call->grad_out[0]);
    } else if (attributes->act != IV_ACT_NONE) { /* y has the sign that tells the slope */
        k->act_reverse(attributes->act, attributes->parameter, call->rows * out, call->out[0],
                       call->grad_out[0], call->grad_out[0], false);
    }
    if (call->grad_in[0] == NULL) return;
    iv_product p = {.m = call->rows,
                    .n = in,
                    .k = out,
                    .a = call->grad_out[0],
                    .lda = out,
                    .ldb = in,
                    .packed = iv_at(k, call->prepared, reverse_offset(k, in, out)),
                    .c = call->grad_in[0],
                    .ldc = in,
                    .accumulate = call->accumulate[0]};
    k->product(&p);
}

/* Output rows in a block: some 200,000 operations or more, at most 16 blocks, whole tiles. */
size_t iv_dense_param_blocks(const iv_graph *graph, const iv_node *node, size_t role, size_t rows)
{
    size_t in = width_in(graph, node), out = width_out(graph, node);
    if (role == BIAS) return 1;
    double each = 2.0 * (double)rows * (double)in;
    double wanted = each * (double)out / 200e3;
    size_t blocks = wanted >= 16 ? 16 : wanted <= 1 ? 1 : (size_t)wanted;
    size_t most = (out + 15) / 16;
    return blocks < most ? blocks : most;
}

/* First output row of a block; blocks start at multiples of 16 where there are that many rows. */
static size_t block_start(size_t out, size_t block, size_t blocks)
{
    size_t tiles = (out + 15) / 16;
    size_t start = blocks <= tiles ? (block * tiles / blocks) * 16 : block * out / blocks;
    return start < out ? start : out;
}

/* dW = g_pre^T x, db = column sums of g_pre */
void iv_dense_param_gradient(const iv_node_call *call, size_t role, void *grad, bool accumulate,
                             size_t block, size_t blocks)
{
    const iv_kernels *k = call->kernels;
    size_t in = call->in_size[0], out = call->out_size[0];
    size_t first = block_start(out, block, blocks);
    size_t count = block_start(out, block + 1, blocks) - first;
    const void *g = iv_at(k, call->grad_out[0], first);
    if (count == 0) return;
    if (role == BIAS) {
        k->column_sums(call->rows, count, g, out, iv_at(k, grad, first), accumulate);
        return;
    }
    iv_product p = {.m = count,
                    .n = in,
                    .k = call->rows,
                    .a = g,
                    .lda = out,
                    .a_transposed = true,
                    .b = call->in[0],
                    .ldb = in,
                    .c = iv_at(k, grad, first * in),
                    .ldc = in,
                    .accumulate = accumulate};
    k->product(&p);
}

/* t_y = act'(pre) (t_x W^T), one product for all tangents of all rows. Behind a relu half of t_x,
 * or more, is zero: the tangents of a row have their zeros in the same places. */
void iv_dense_tangent(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    const iv_attributes *attributes = &call->node->attributes;
    size_t in = call->in_size[0], out = call->out_size[0];
    const void *slope = NULL;
    if (iv_keeps_slope(call->node)) {
        slope = call->saved;
    } else if (attributes->act != IV_ACT_NONE) {
        k->act_derivative(attributes->act, attributes->parameter, call->rows * out, call->out[0],
                          call->scratch);
        slope = call->scratch;
    }
    iv_product p = {.m = call->tangents * call->rows,
                    .n = out,
                    .k = in,
                    .a = call->tangent_in[0],
                    .lda = in,
                    .b_transposed = true,
                    .ldb = in,
                    .packed = call->prepared,
                    .c = call->tangent_out[0],
                    .ldc = out,
                    .scale = slope,
                    .scale_rows = call->rows};
    if (iv_node_rectified(call->graph, call->node->inputs[0])) {
        void *lists = iv_at(k, call->scratch, slope == call->scratch ? call->rows * out : 0);
        k->product_masked(&p, call->rows, call->in[0], lists);
    } else {
        k->product(&p);
    }
}
