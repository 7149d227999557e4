/* Operands that are inputs or constants, repeated to the shape of the output. */
#include "graph/broadcast.h"

#include <stdint.h>

static iv_operands arrange(size_t n, const bool *present, bool number, bool constant_first)
{
    iv_operands o = {.n = n};
    size_t input = 0;
    for (size_t i = 0; i < n; i++) {
        if (n == 2) { /* one role, or a number, on either side */
            o.constant[i] = (present[0] || number) && i == (constant_first ? 0 : 1);
            o.index[i] = o.constant[i] ? (present[0] ? 0 : SIZE_MAX) : input++;
        } else { /* a role for each operand */
            o.constant[i] = present[i];
            o.index[i] = present[i] ? i : input++;
        }
    }
    return o;
}

iv_operands iv_operands_of(const iv_node *node)
{
    bool present[IV_MAX_ROLES] = {false};
    for (size_t i = 0; i < node->n_params; i++) present[i] = node->params[i] != SIZE_MAX;
    return arrange(node->kind->operands, present, node->attributes.given[0],
                   node->attributes.constant_first != 0);
}

bool iv_broadcast_shape(const iv_shape *a, const iv_shape *b, iv_shape *out)
{
    iv_shape y = a->rank >= b->rank ? *a : *b;
    for (size_t i = 0; i < y.rank; i++) { /* from the last axis */
        size_t p = i < a->rank ? a->dim[a->rank - 1 - i] : 1;
        size_t q = i < b->rank ? b->dim[b->rank - 1 - i] : 1;
        if (p != q && p != 1 && q != 1) return false;
        y.dim[y.rank - 1 - i] = p == 1 ? q : p;
    }
    *out = y;
    return true;
}

isovae_status iv_operands_shape(iv_node_shapes *shapes, size_t operands, iv_shape *out,
                                isovae_error *err)
{
    const iv_attributes *a = shapes->attributes;
    size_t n = shapes->n_inputs + (a->given[0] ? 1 : 0);
    for (size_t i = 0; i < IV_MAX_ROLES; i++) {
        if (!shapes->present[i]) continue;
        if (!shapes->known[i]) {
            return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                           "node '%s': a network to be trained has no constant tensors; give a "
                           "number as its 'value', or an input",
                           shapes->name);
        }
        n++;
    }
    if (n != operands) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': it takes %zu operands, inputs and constants together, not %zu",
                       shapes->name, operands, n);
    }
    if (a->constant_first > 1 || (a->constant_first == 1 && shapes->n_inputs == operands)) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': 'constant_first' must be 0 or 1, and 0 without a constant",
                       shapes->name);
    }
    iv_operands o = arrange(operands, shapes->present, a->given[0], a->constant_first != 0);
    iv_shape y = {0};
    for (size_t i = 0; i < o.n; i++) {
        if (o.index[i] == SIZE_MAX) continue;
        const iv_shape *shape =
            o.constant[i] ? &shapes->params[o.index[i]] : shapes->inputs[o.index[i]];
        if (!iv_broadcast_shape(&y, shape, &y)) {
            char text_a[IV_SHAPE_TEXT], text_b[IV_SHAPE_TEXT];
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': %s and %s do not go together: counted from the last one, "
                           "each axis must agree or be 1",
                           shapes->name, iv_shape_text(&y, text_a), iv_shape_text(shape, text_b));
        }
    }
    *out = y;
    return ISOVAE_OK;
}

static iv_spread make_spread(const iv_shape *small, const iv_shape *large, bool last, size_t rows)
{
    iv_shape in = *large, out = iv_layout_physical(large, last);
    for (size_t i = 0; i < large->rank; i++) {
        size_t missing = large->rank - small->rank;
        in.dim[i] = i < missing ? 1 : small->dim[i - missing];
    }
    in = iv_layout_physical(&in, last);
    iv_spread s = {.rank = 1, .extent = {rows}, .in_size = rows, .out_size = rows};
    for (size_t i = 0; i < out.rank; i++) {
        bool repeated = in.dim[i] != out.dim[i];
        s.in_size *= in.dim[i];
        s.out_size *= out.dim[i];
        if (repeated == s.repeated[s.rank - 1]) {
            s.extent[s.rank - 1] *= out.dim[i];
        } else {
            s.extent[s.rank] = out.dim[i];
            s.repeated[s.rank++] = repeated;
        }
    }
    return s;
}

iv_spread iv_spread_of(const iv_node_call *call, size_t input, size_t rows)
{
    const iv_graph *graph = call->graph;
    return make_spread(&graph->values[call->node->inputs[input]].shape,
                       &graph->values[call->node->outputs[0]].shape, call->out_last[0], rows);
}

bool iv_is_spread(const iv_spread *s)
{
    return s->rank > 1;
}

/* y = `count` times its first `size` elements; short ones by doubling, for a call costs more. */
static void repeat(const iv_kernels *k, size_t count, size_t size, void *y)
{
    enum { SHORT = 64 };
    size_t done = 1;
    while (done < count && done * size < SHORT) {
        size_t n = count - done < done ? count - done : done;
        k->copy_block(1, n * size, y, n * size, iv_at(k, y, done * size), n * size, false);
        done += n;
    }
    size_t block = done * size, blocks = count / done, rest = (count - blocks * done) * size;
    if (blocks > 1) k->copy_block(blocks - 1, block, y, 0, iv_at(k, y, block), block, false);
    if (rest > 0) k->copy_block(1, rest, y, rest, iv_at(k, y, blocks * block), rest, false);
}

/* y = x with the repeated axes filled; x of in_size, y of out_size elements below this level. */
static void expand(const iv_kernels *k, const iv_spread *s, size_t level, size_t in_size,
                   size_t out_size, const void *x, void *y)
{
    if (level == s->rank || (level + 1 == s->rank && !s->repeated[level])) {
        k->copy_block(1, out_size, x, out_size, y, out_size, false);
        return;
    }
    size_t extent = s->extent[level], inner_out = out_size / extent;
    if (s->repeated[level]) {
        expand(k, s, level + 1, in_size, inner_out, x, y);
        repeat(k, extent, inner_out, y);
        return;
    }
    size_t inner_in = in_size / extent;
    for (size_t i = 0; i < extent; i++) {
        expand(k, s, level + 1, inner_in, inner_out, iv_at(k, x, i * inner_in),
               iv_at(k, y, i * inner_out));
    }
}

/* The transpose of expand: x = the sum of y over the repeated axes, or x +=. */
static void reduce(const iv_kernels *k, const iv_spread *s, size_t level, size_t in_size,
                   size_t out_size, const void *y, void *x, bool accumulate)
{
    if (level == s->rank || (level + 1 == s->rank && !s->repeated[level])) {
        k->copy_block(1, out_size, y, out_size, x, out_size, accumulate);
        return;
    }
    size_t extent = s->extent[level], inner_out = out_size / extent;
    if (s->repeated[level]) {
        if (level + 2 >= s->rank) { /* nothing repeated further in */
            k->column_sums(extent, inner_out, y, inner_out, x, accumulate);
            return;
        }
        for (size_t i = 0; i < extent; i++) {
            reduce(k, s, level + 1, in_size, inner_out, iv_at(k, y, i * inner_out), x,
                   accumulate || i > 0);
        }
        return;
    }
    size_t inner_in = in_size / extent;
    for (size_t i = 0; i < extent; i++) {
        reduce(k, s, level + 1, inner_in, inner_out, iv_at(k, y, i * inner_out),
               iv_at(k, x, i * inner_in), accumulate);
    }
}

void iv_spread_sum(const iv_kernels *k, const iv_spread *s, const void *y, void *x, bool accumulate)
{
    reduce(k, s, 0, s->in_size, s->out_size, y, x, accumulate);
}

size_t iv_operand_part(size_t size)
{
    return (size + 15) / 16 * 16;
}

bool iv_operands_plain(const iv_graph *graph, const iv_node *node)
{
    size_t size = graph->values[node->outputs[0]].size;
    for (size_t i = 0; i < node->n_inputs; i++) {
        if (graph->values[node->inputs[i]].size != size) return false;
    }
    return node->n_inputs == node->kind->operands;
}

iv_full iv_operand_full(const iv_node_call *call, const iv_operands *operands, size_t position,
                        size_t rows, const void *x, void *room)
{
    const iv_kernels *k = call->kernels;
    size_t part = iv_operand_part(call->out_size[0]);
    if (operands->constant[position]) {
        size_t before = 0;
        for (size_t i = 0; i < position; i++) before += operands->constant[i] ? 1 : 0;
        return (iv_full){iv_at(k, call->prepared, before * part), 0};
    }
    iv_spread s = iv_spread_of(call, operands->index[position], rows);
    if (!iv_is_spread(&s)) return (iv_full){x, call->out_size[0]};
    expand(k, &s, 0, s.in_size, s.out_size, x, room);
    return (iv_full){room, call->out_size[0]};
}

static size_t n_constants(const iv_operands *operands)
{
    size_t n = 0;
    for (size_t i = 0; i < operands->n; i++) n += operands->constant[i] ? 1 : 0;
    return n;
}

/* A row for each constant, and one to turn round. */
size_t iv_constants_prepared(const iv_kernels *kernels, const iv_graph *graph, const iv_node *node,
                             bool reverse)
{
    (void)kernels;
    (void)reverse;
    iv_operands operands = iv_operands_of(node);
    size_t n = n_constants(&operands);
    return n == 0 ? 0 : (n + 1) * iv_operand_part(graph->values[node->outputs[0]].size);
}

size_t iv_constants_parts(const iv_node *node, bool reverse)
{
    (void)reverse;
    iv_operands operands = iv_operands_of(node);
    return n_constants(&operands) > 0 ? 1 : 0;
}

void iv_constants_prepare(const iv_node_call *call, size_t task)
{
    (void)task;
    const iv_kernels *k = call->kernels;
    const iv_shape *out = &call->graph->values[call->node->outputs[0]].shape;
    iv_operands operands = iv_operands_of(call->node);
    size_t part = iv_operand_part(call->out_size[0]), n = 0;
    void *room = iv_at(k, call->prepared, n_constants(&operands) * part);
    for (size_t i = 0; i < operands.n; i++) {
        if (!operands.constant[i]) continue;
        void *to = iv_at(k, call->prepared, n++ * part);
        if (operands.index[i] == SIZE_MAX) {
            k->fill(call->out_size[0], call->node->attributes.number[0], to);
            continue;
        }
        size_t role = operands.index[i];
        const iv_shape *shape = &call->graph->params[call->node->params[role]].shape;
        iv_spread s = make_spread(shape, out, false, 1);
        expand(k, &s, 0, s.in_size, s.out_size, call->params[role], call->out_last[0] ? room : to);
        if (call->out_last[0]) iv_layout_to_last(k, out, 1, room, to, false);
    }
}
