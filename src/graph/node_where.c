/* where: y = a where the condition is not 0, else b; operands repeated as in numpy (broadcast.h).
 * What is chosen has derivative 1, the rest and the condition 0. */
#include "graph/broadcast.h"

enum { CONDITION, A, B, OPERANDS };

isovae_status iv_where_shape(iv_node_shapes *shapes, isovae_error *err)
{
    return iv_operands_shape(shapes, OPERANDS, &shapes->outputs[0], err);
}

/* The condition spread, a and b (or their tangents) spread, and a gradient. */
size_t iv_where_scratch(const iv_graph *graph, const iv_node *node, bool tangent)
{
    (void)tangent;
    return OPERANDS * iv_operand_part(graph->values[node->outputs[0]].size);
}

static void *room(const iv_node_call *call, size_t i)
{
    return iv_at(call->kernels, call->scratch, i * call->rows * iv_operand_part(call->out_size[0]));
}

static iv_full operand(const iv_node_call *call, const iv_operands *o, size_t i)
{
    const void *x = o->constant[i] ? NULL : call->in[o->index[i]];
    return iv_operand_full(call, o, i, call->rows, x, room(call, i));
}

void iv_where_forward(const iv_node_call *call)
{
    iv_operands o = iv_operands_of(call->node);
    iv_full c = operand(call, &o, CONDITION), a = operand(call, &o, A), b = operand(call, &o, B);
    call->kernels->where(call->rows, call->out_size[0], c.at, c.ld, a.at, a.ld, b.at, b.ld,
                         call->out[0]);
}

void iv_where_reverse(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    iv_operands o = iv_operands_of(call->node);
    iv_full c = operand(call, &o, CONDITION);
    size_t n = call->out_size[0];
    for (size_t i = 0; i < OPERANDS; i++) {
        if (o.constant[i] || call->grad_in[o.index[i]] == NULL) continue;
        size_t input = o.index[i];
        void *gx = call->grad_in[input];
        if (i == CONDITION) {
            if (!call->accumulate[input]) k->fill(call->rows * call->in_size[input], 0, gx);
            continue;
        }
        iv_spread s = iv_spread_of(call, input, call->rows);
        const void *g = call->grad_out[0];
        k->where(call->rows, n, c.at, c.ld, i == A ? g : NULL, n, i == B ? g : NULL, n,
                 room(call, A));
        iv_spread_sum(k, &s, room(call, A), gx, call->accumulate[input]);
    }
}

void iv_where_tangent(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    iv_operands o = iv_operands_of(call->node);
    iv_full c = operand(call, &o, CONDITION);
    size_t rows = call->rows, n = call->out_size[0];
    for (size_t t = 0; t < call->tangents; t++) {
        const void *v[OPERANDS] = {NULL};
        for (size_t i = A; i < OPERANDS; i++) {
            if (o.constant[i] || call->tangent_in[o.index[i]] == NULL) continue;
            size_t input = o.index[i];
            const void *x = iv_at(k, call->tangent_in[input], t * rows * call->in_size[input]);
            v[i] = iv_operand_full(call, &o, i, rows, x, room(call, i)).at;
        }
        k->where(rows, n, c.at, c.ld, v[A], n, v[B], n,
                 iv_at(k, call->tangent_out[0], t * rows * n));
    }
}
