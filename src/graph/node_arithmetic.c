/* Arithmetic on two operands, and comparisons: y = f(a, b) elementwise, operands repeated as in
 * numpy (broadcast.h). In reverse g_a = sum over a's repeated axes of f_a g; t_y = f_a t_a + f_b
 * t_b. Scratch: the operands spread, a derivative, and a tangent spread. */
#include "graph/broadcast.h"

#include <math.h>

isovae_status iv_arithmetic_shape(iv_node_shapes *shapes, isovae_error *err)
{
    if (shapes->attributes->given[0] && !isfinite(shapes->attributes->number[0])) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': its 'value' is not finite",
                       shapes->name);
    }
    return iv_operands_shape(shapes, 2, &shapes->outputs[0], err);
}

static bool has_slope(iv_binary f)
{
    return f < IV_BINARY_EQUAL;
}

size_t iv_arithmetic_scratch(const iv_graph *graph, const iv_node *node, bool tangent)
{
    iv_binary f = node->kind->binary;
    bool simple = f == IV_BINARY_ADD || f == IV_BINARY_MULTIPLY;
    if (simple && iv_operands_plain(graph, node)) return 0;
    return iv_operand_part(graph->values[node->outputs[0]].size) * (tangent ? 4 : 3);
}

/* Part i of the scratch memory: operand 0, operand 1, derivative, tangent. */
static void *room(const iv_node_call *call, size_t i)
{
    return iv_at(call->kernels, call->scratch, i * call->rows * iv_operand_part(call->out_size[0]));
}

typedef struct pair {
    iv_operands operands;
    iv_full of[2];
} pair;

static pair operands_of(const iv_node_call *call)
{
    pair p = {.operands = iv_operands_of(call->node)};
    for (size_t i = 0; i < 2; i++) {
        const void *x = p.operands.constant[i] ? NULL : call->in[p.operands.index[i]];
        p.of[i] = iv_operand_full(call, &p.operands, i, call->rows, x, room(call, i));
    }
    return p;
}

void iv_arithmetic_forward(const iv_node_call *call)
{
    pair p = operands_of(call);
    size_t rows = call->rows, n = call->out_size[0];
    if (p.of[0].ld != 0 && p.of[1].ld != 0) { /* one long row */
        n *= rows;
        rows = 1;
    }
    call->kernels->binary(call->node->kind->binary, rows, n, p.of[0].at, p.of[0].ld, p.of[1].at,
                          p.of[1].ld, call->out[0]);
}

/* The derivative in operand `which`, as large as the output; NULL where it is 1. */
static const void *slope(const iv_node_call *call, const pair *p, size_t which)
{
    iv_binary f = call->node->kind->binary;
    if (f == IV_BINARY_ADD) return NULL;
    if (f == IV_BINARY_MULTIPLY && p->of[1 - which].ld != 0) return p->of[1 - which].at;
    call->kernels->binary_slope(f, (unsigned)which, call->rows, call->out_size[0], p->of[0].at,
                                p->of[0].ld, p->of[1].at, p->of[1].ld, room(call, 2));
    return room(call, 2);
}

void iv_arithmetic_reverse(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    iv_binary f = call->node->kind->binary;
    size_t elements = call->rows * call->out_size[0];
    pair p = {.operands = iv_operands_of(call->node)};
    if (f != IV_BINARY_ADD && has_slope(f)) p = operands_of(call);
    for (size_t i = 0; i < 2; i++) {
        if (p.operands.constant[i]) continue;
        size_t input = p.operands.index[i];
        void *gx = call->grad_in[input];
        bool accumulate = call->accumulate[input];
        if (gx == NULL) continue;
        if (!has_slope(f)) {
            if (!accumulate) k->fill(call->rows * call->in_size[input], 0, gx);
            continue;
        }
        iv_spread s = iv_spread_of(call, input, call->rows);
        const void *d = slope(call, &p, i);
        if (d == NULL) {
            iv_spread_sum(k, &s, call->grad_out[0], gx, accumulate);
        } else if (iv_is_spread(&s)) {
            k->multiply(elements, d, call->grad_out[0], room(call, 2));
            iv_spread_sum(k, &s, room(call, 2), gx, accumulate);
        } else if (accumulate) {
            k->multiply_add(elements, d, call->grad_out[0], gx);
        } else {
            k->multiply(elements, d, call->grad_out[0], gx);
        }
    }
}

static void tangent_of(const iv_node_call *call, const pair *p, size_t which, bool written)
{
    const iv_kernels *k = call->kernels;
    size_t input = p->operands.index[which], rows = call->rows, n = rows * call->out_size[0];
    const void *d = slope(call, p, which);
    for (size_t t = 0; t < call->tangents; t++) {
        void *y = iv_at(k, call->tangent_out[0], t * n);
        const void *v = iv_at(k, call->tangent_in[input], t * rows * call->in_size[input]);
        v = iv_operand_full(call, &p->operands, which, rows, v, room(call, 3)).at;
        if (d == NULL && written)
            k->add(n, y, v, y);
        else if (d == NULL)
            k->copy_block(1, n, v, n, y, n, false);
        else if (written)
            k->multiply_add(n, d, v, y);
        else
            k->multiply(n, d, v, y);
    }
}

void iv_arithmetic_tangent(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    iv_binary f = call->node->kind->binary;
    size_t elements = call->tangents * call->rows * call->out_size[0];
    bool written = false;
    if (!has_slope(f)) {
        k->fill(elements, 0, call->tangent_out[0]);
        return;
    }
    if (f == IV_BINARY_ADD && iv_operands_plain(call->graph, call->node) &&
        call->tangent_in[0] != NULL && call->tangent_in[1] != NULL) {
        k->add(elements, call->tangent_in[0], call->tangent_in[1], call->tangent_out[0]);
        return;
    }
    pair p = {.operands = iv_operands_of(call->node)};
    if (f != IV_BINARY_ADD) p = operands_of(call);
    for (size_t i = 0; i < 2; i++) {
        if (p.operands.constant[i] || call->tangent_in[p.operands.index[i]] == NULL) continue;
        tangent_of(call, &p, i, written);
        written = true;
    }
}
