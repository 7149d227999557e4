/* Networks put one behind the other in one graph. */
#ifndef IV_ONNX_STACK_H
#define IV_ONNX_STACK_H

#include "onnx/onnx.h"

typedef struct iv_stack {
    iv_graph *graph;    /* grows */
    const char *prefix; /* of names that come from files: "enc.", "dec." */
    size_t serial;
    isovae_error *err;
} iv_stack;

/* A node with one in- and output of its own, named by its kind, or `output` where that is given. */
isovae_status iv_stack_node(iv_stack *s, const char *kind, size_t input,
                            const iv_attributes *attributes, const char *output,
                            size_t *out) ISOVAE_MUST_CHECK;
/* The value in that shape: itself, or a reshape of it; with a `name` it is called that from now on.
 */
isovae_status iv_stack_shape(iv_stack *s, size_t input, const iv_shape *shape, const char *name,
                             size_t *out) ISOVAE_MUST_CHECK;
/* All nodes of a loaded network whose (one) input is `input`; outputs in its order. A last sigmoid,
 * alone or behind moves of elements, is left out with `cut`, and *was_cut tells. */
isovae_status iv_stack_network(iv_stack *s, const iv_onnx_graph *network, size_t input, bool cut,
                               bool *was_cut, size_t *outputs) ISOVAE_MUST_CHECK;
/* Copies the parameters of `network` into those of `graph` that have its names with the prefix. */
void iv_stack_params(const iv_graph *graph, const char *prefix, const iv_onnx_graph *network,
                     void *params);

#endif
