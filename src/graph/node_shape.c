/* Nodes that move data and compute nothing: concat, split, reshape, flatten. */
#include "graph/node.h"

#include "base/memory.h"

/* Product of the dims from `from` on. */
static size_t inner_size(const iv_shape *shape, size_t from)
{
    size_t size = 1;
    for (size_t i = from; i < shape->rank; i++) size *= shape->dim[i];
    return size;
}

static isovae_status check_axis(const iv_node_shapes *shapes, isovae_error *err)
{
    size_t axis = shapes->attributes->axis, rank = shapes->inputs[0]->rank;
    if (axis >= 1 && axis <= rank) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_FORMAT,
                   "node '%s': axis %zu does not fit rows of %zu axes (1 is the first behind the "
                   "batch)",
                   shapes->name, axis, rank);
}

isovae_status iv_concat_shape(iv_node_shapes *shapes, isovae_error *err)
{
    if (shapes->attributes->axis == 0) shapes->attributes->axis = 1;
    IV_TRY(check_axis(shapes, err));
    size_t axis = shapes->attributes->axis - 1;
    iv_shape out = *shapes->inputs[0];
    for (size_t i = 1; i < shapes->n_inputs; i++) {
        iv_shape other = *shapes->inputs[i];
        size_t extent = axis < other.rank ? other.dim[axis] : 0;
        if (axis < other.rank) other.dim[axis] = out.dim[axis];
        if (!iv_shape_equal(&out, &other)) {
            char a[IV_SHAPE_TEXT], b[IV_SHAPE_TEXT];
            return iv_fail(
                err, ISOVAE_ERR_FORMAT,
                "node '%s': cannot concat %s and %s along axis %zu: the other axes differ",
                shapes->name, iv_shape_text(shapes->inputs[0], a),
                iv_shape_text(shapes->inputs[i], b), axis + 1);
        }
        if (!iv_size_add(out.dim[axis], extent, &out.dim[axis])) {
            return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': the result of concat is too large",
                           shapes->name);
        }
    }
    shapes->outputs[0] = out;
    return ISOVAE_OK;
}

isovae_status iv_split_shape(iv_node_shapes *shapes, isovae_error *err)
{
    iv_attributes *attributes = shapes->attributes;
    if (attributes->axis == 0) attributes->axis = 1;
    IV_TRY(check_axis(shapes, err));
    const iv_shape *in = shapes->inputs[0];
    size_t axis = attributes->axis - 1, sum = 0, n = shapes->n_outputs;
    if (attributes->n_sizes == 0) { /* equal parts */
        attributes->n_sizes = n;
        for (size_t i = 0; i < n; i++) attributes->sizes[i] = in->dim[axis] / n;
    }
    for (size_t i = 0; i < n && i < attributes->n_sizes; i++) {
        shapes->outputs[i] = *in;
        shapes->outputs[i].dim[axis] = attributes->sizes[i];
        if (!iv_size_add(sum, attributes->sizes[i], &sum)) sum = in->dim[axis] + 1;
    }
    if (attributes->n_sizes != n || sum != in->dim[axis]) {
        char text[IV_SHAPE_TEXT];
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': the %zu sizes of split must be one per output (%zu) and sum to "
                       "the extent of axis %zu of %s",
                       shapes->name, attributes->n_sizes, n, axis + 1, iv_shape_text(in, text));
    }
    return ISOVAE_OK;
}

/* Concat and split are the same copies in opposite directions: the whole is `outer` x `total`, part
 * i is a block of columns of it. */
typedef struct parts {
    size_t outer, total, n, columns[IV_MAX_PORTS];
} parts;

static parts parts_of(const iv_node_call *call, const size_t *values, size_t n, size_t rows)
{
    parts p = {.outer = rows, .n = n};
    bool last = call->in_last[0];
    size_t axis = call->node->attributes.axis - 1;
    if (last) axis = axis == 0 ? 2 : axis - 1; /* C, H, W lie as H, W, C */
    for (size_t i = 0; i < n; i++) {
        iv_shape shape = iv_layout_physical(&call->graph->values[values[i]].shape, last);
        p.columns[i] = inner_size(&shape, axis);
        p.total += p.columns[i];
        if (i == 0) p.outer *= inner_size(&shape, 0) / p.columns[0];
    }
    return p;
}

/* The whole from its parts; a part that is NULL is zero. */
static void join(const iv_kernels *k, const parts *p, const void *const *part, void *whole)
{
    size_t at = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (part[i] == NULL) k->fill(p->outer * p->total, 0, whole);
    }
    for (size_t i = 0; i < p->n; i++) {
        if (part[i] != NULL) {
            k->copy_block(p->outer, p->columns[i], part[i], p->columns[i], iv_at(k, whole, at),
                          p->total, false);
        }
        at += p->columns[i];
    }
}

/* The parts from the whole; one that is NULL is not wanted. */
static void cut(const iv_kernels *k, const parts *p, const void *whole, void *const *part,
                const bool *accumulate)
{
    size_t at = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (part[i] != NULL) {
            k->copy_block(p->outer, p->columns[i], iv_at(k, whole, at), p->total, part[i],
                          p->columns[i], accumulate != NULL && accumulate[i]);
        }
        at += p->columns[i];
    }
}

void iv_concat_forward(const iv_node_call *call)
{
    parts p = parts_of(call, call->node->inputs, call->node->n_inputs, call->rows);
    join(call->kernels, &p, call->in, call->out[0]);
}

void iv_concat_reverse(const iv_node_call *call)
{
    parts p = parts_of(call, call->node->inputs, call->node->n_inputs, call->rows);
    cut(call->kernels, &p, call->grad_out[0], call->grad_in, call->accumulate);
}

void iv_concat_tangent(const iv_node_call *call)
{
    parts p = parts_of(call, call->node->inputs, call->node->n_inputs, call->tangents * call->rows);
    join(call->kernels, &p, call->tangent_in, call->tangent_out[0]);
}

void iv_split_forward(const iv_node_call *call)
{
    parts p = parts_of(call, call->node->outputs, call->node->n_outputs, call->rows);
    cut(call->kernels, &p, call->in[0], call->out, NULL);
}

void iv_split_reverse(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    parts p = parts_of(call, call->node->outputs, call->node->n_outputs, call->rows);
    if (call->grad_in[0] == NULL) return;
    if (!call->accumulate[0]) {
        join(k, &p, (const void *const *)call->grad_out, call->grad_in[0]);
        return;
    }
    size_t at = 0;
    for (size_t i = 0; i < p.n; i++) {
        if (call->grad_out[i] != NULL) {
            k->copy_block(p.outer, p.columns[i], call->grad_out[i], p.columns[i],
                          iv_at(k, call->grad_in[0], at), p.total, true);
        }
        at += p.columns[i];
    }
}

void iv_split_tangent(const iv_node_call *call)
{
    parts p =
        parts_of(call, call->node->outputs, call->node->n_outputs, call->tangents * call->rows);
    cut(call->kernels, &p, call->tangent_in[0], call->tangent_out, NULL);
}

isovae_status iv_reshape_shape(iv_node_shapes *shapes, isovae_error *err)
{
    size_t in, out;
    const iv_shape *shape = &shapes->attributes->shape;
    if (!iv_shape_size(shapes->inputs[0], &in) || !iv_shape_size(shape, &out) || in != out) {
        char a[IV_SHAPE_TEXT], b[IV_SHAPE_TEXT];
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': rows of %s cannot be reshaped to %s: the numbers of elements "
                       "differ",
                       shapes->name, iv_shape_text(shapes->inputs[0], a), iv_shape_text(shape, b));
    }
    shapes->outputs[0] = *shape;
    return ISOVAE_OK;
}

isovae_status iv_flatten_shape(iv_node_shapes *shapes, isovae_error *err)
{
    shapes->attributes->shape = (iv_shape){1, {1}};
    if (!iv_shape_size(shapes->inputs[0], &shapes->attributes->shape.dim[0])) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': the input is too large", shapes->name);
    }
    shapes->outputs[0] = shapes->attributes->shape;
    return ISOVAE_OK;
}

size_t iv_reshape_scratch(const iv_graph *graph, const iv_node *node, bool tangent)
{
    const iv_value *in = &graph->values[node->inputs[0]], *out = &graph->values[node->outputs[0]];
    (void)tangent;
    return in->shape.rank == 3 && out->shape.rank == 3 ? in->size : 0;
}

/* A reshape keeps the logical order of elements: a copy where both sides lie in it, and where one
 * is channels last the copy brings it there. Of two, one after the other. */
static void reshape(const iv_node_call *call, bool backwards, size_t rows, const void *x, void *y,
                    bool accumulate)
{
    const iv_kernels *k = call->kernels;
    const iv_shape *from = &call->graph->values[call->node->inputs[0]].shape;
    const iv_shape *to = &call->graph->values[call->node->outputs[0]].shape;
    bool from_last = call->in_last[0], to_last = call->out_last[0];
    size_t n = rows * call->in_size[0];
    if (backwards) {
        const iv_shape *swap = from;
        from = to;
        to = swap;
        from_last = call->out_last[0];
        to_last = call->in_last[0];
    }
    if (from_last == to_last && (!from_last || iv_shape_equal(from, to))) {
        k->copy_block(1, n, x, n, y, n, accumulate);
    } else if (!to_last) {
        iv_layout_to_logical(k, from, rows, x, y, accumulate);
    } else if (!from_last) {
        iv_layout_to_last(k, to, rows, x, y, accumulate);
    } else {
        iv_layout_to_logical(k, from, rows, x, call->scratch, false);
        iv_layout_to_last(k, to, rows, call->scratch, y, accumulate);
    }
}

void iv_reshape_forward(const iv_node_call *call)
{
    reshape(call, false, call->rows, call->in[0], call->out[0], false);
}

void iv_reshape_reverse(const iv_node_call *call)
{
    if (call->grad_in[0] == NULL) return;
    reshape(call, true, call->rows, call->grad_out[0], call->grad_in[0], call->accumulate[0]);
}

void iv_reshape_tangent(const iv_node_call *call)
{
    reshape(call, false, call->tangents * call->rows, call->tangent_in[0], call->tangent_out[0],
            false);
}
