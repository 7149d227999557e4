/* Operands of elementwise nodes (arithmetic, where): inputs, or constants (parameters of optional
 * roles, or one number), each repeated to the shape of the output as in numpy: axes are aligned
 * from the last one on, and extent 1 or none is repeated. Constants are spread over one row of the
 * output when the weights are prepared, inputs in scratch memory where they are smaller. */
#ifndef IV_GRAPH_BROADCAST_H
#define IV_GRAPH_BROADCAST_H

#include "graph/node.h"

enum { IV_MAX_OPERANDS = 3 };

/* Where each operand comes from: a constant's index is its role (SIZE_MAX: the number "value"), an
 * input's the input. */
typedef struct iv_operands {
    size_t n;
    bool constant[IV_MAX_OPERANDS];
    size_t index[IV_MAX_OPERANDS];
} iv_operands;
iv_operands iv_operands_of(const iv_node *node);

/* The shape rule's: inputs and constants counted, the shapes brought together into *out. */
isovae_status iv_operands_shape(iv_node_shapes *shapes, size_t operands, iv_shape *out,
                                isovae_error *err) ISOVAE_MUST_CHECK;
/* out = what a and b are repeated to; false where an axis does not agree. */
bool iv_broadcast_shape(const iv_shape *a, const iv_shape *b, iv_shape *out);

/* How an input is spread over the output: axes merged into runs that are all repeated or all not,
 * the batch first. */
typedef struct iv_spread {
    size_t rank;
    size_t extent[IV_MAX_RANK + 1]; /* in the output */
    bool repeated[IV_MAX_RANK + 1];
    size_t in_size, out_size; /* of all rows */
} iv_spread;
iv_spread iv_spread_of(const iv_node_call *call, size_t input, size_t rows);
/* Is it smaller than the output? */
bool iv_is_spread(const iv_spread *s);
/* x = the sum of y over the repeated axes, or x += */
void iv_spread_sum(const iv_kernels *k, const iv_spread *s, const void *y, void *x,
                   bool accumulate);

/* An operand as large as the output: `ld` elements from row to row, 0 for a constant. An input is
 * itself (at x), or spread into `room` (rows of the output). */
typedef struct iv_full {
    const void *at;
    size_t ld;
} iv_full;
iv_full iv_operand_full(const iv_node_call *call, const iv_operands *operands, size_t position,
                        size_t rows, const void *x, void *room);
/* Elements of a row of scratch: parts start at cache lines. */
size_t iv_operand_part(size_t size);
/* Is every operand an input as large as the output? */
bool iv_operands_plain(const iv_graph *graph, const iv_node *node);

/* Callbacks of all such kinds. */
size_t iv_constants_prepared(const iv_kernels *kernels, const iv_graph *graph, const iv_node *node,
                             bool reverse);
size_t iv_constants_parts(const iv_node *node, bool reverse);
void iv_constants_prepare(const iv_node_call *call, size_t task);

#endif
