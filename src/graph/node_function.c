/* Functions of one number as nodes: abs, log, erf, clip and so on; y = f(x) elementwise. The kind
 * says which, the attributes hold its numbers. */
#include "graph/node.h"

#include <math.h>

isovae_status iv_function_shape(iv_node_shapes *shapes, isovae_error *err)
{
    const iv_attributes *a = shapes->attributes;
    for (size_t i = 0; i < 2; i++) {
        if (a->given[i] && !isfinite(a->number[i])) {
            return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': its numbers must be finite",
                           shapes->name);
        }
    }
    shapes->outputs[0] = *shapes->inputs[0];
    return ISOVAE_OK;
}

size_t iv_function_scratch(const iv_graph *graph, const iv_node *node, bool tangent)
{
    (void)tangent;
    return graph->values[node->outputs[0]].size;
}

typedef struct numbers {
    double p[2];
} numbers;

static numbers numbers_of(const iv_node *node)
{
    numbers n;
    for (size_t i = 0; i < 2; i++)
        n.p[i] = node->attributes.given[i] ? node->attributes.number[i] : node->kind->numbers[i];
    return n;
}

void iv_function_forward(const iv_node_call *call)
{
    numbers n = numbers_of(call->node);
    call->kernels->function(call->node->kind->function, n.p, call->rows * call->in_size[0],
                            call->in[0], call->out[0]);
}

void iv_function_reverse(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    numbers n = numbers_of(call->node);
    size_t elements = call->rows * call->in_size[0];
    if (call->grad_in[0] == NULL) return;
    k->function_slope(call->node->kind->function, n.p, elements, call->in[0], call->scratch);
    if (call->accumulate[0])
        k->multiply_add(elements, call->scratch, call->grad_out[0], call->grad_in[0]);
    else
        k->multiply(elements, call->scratch, call->grad_out[0], call->grad_in[0]);
}

void iv_function_tangent(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    numbers n = numbers_of(call->node);
    size_t elements = call->rows * call->in_size[0];
    k->function_slope(call->node->kind->function, n.p, elements, call->in[0], call->scratch);
    for (size_t t = 0; t < call->tangents; t++) {
        k->multiply(elements, iv_at(k, call->tangent_in[0], t * elements), call->scratch,
                    iv_at(k, call->tangent_out[0], t * elements));
    }
}
