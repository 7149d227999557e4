/* A network's nodes as ONNX operators, and their derivatives along directions of its input. */
#ifndef IV_ONNX_WRITE_NET_H
#define IV_ONNX_WRITE_NET_H

#include "model/model.h"
#include "onnx/writer.h"

typedef struct iv_net {
    iv_writer *w;
    const iv_model *model;
    const iv_graph *graph;
    const char *scope;    /* before the names of parameters: "encoder/" */
    const char **value;   /* graph->n_values: tensors (rows, ...) */
    const char **before;  /* graph->n_nodes: of nodes with a fused activation, what it reads */
    const char **param;   /* graph->n_params: effective values, put into the file once */
    const char **tangent; /* graph->n_values: (rows * tangents, ...), NULL: zero */
    size_t tangents;
} iv_net;

isovae_status iv_net_new(iv_writer *w, const iv_model *model, const iv_graph *graph,
                         const char *scope, iv_net *out, isovae_error *err) ISOVAE_MUST_CHECK;
void iv_net_free(iv_net *net);
/* All nodes; the input's tensor (rows, size) must be what the graph takes. */
void iv_net_forward(iv_net *net, const char *input);
/* Behind that: from the input's `n` tangents (rows * n, ...) those of every value. The writer fails
 * with ISOVAE_ERR_UNSUPPORTED, and a reason, where a node's derivative cannot be written. */
void iv_net_tangents(iv_net *net, size_t n, const char *input);

/* ---- between the files of this part ---- */

/* A node's outputs from its inputs. `linear`: of a node that is affine in its inputs the part
 * without constants, which is its derivative; fused activations are left out. */
typedef void iv_emit_fn(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                        const char **out);
iv_emit_fn *iv_emit_of(const iv_node *node); /* NULL: cannot be written */

size_t iv_net_role(const iv_node *node, size_t role); /* parameter or SIZE_MAX */
const char *iv_net_param(iv_net *net, size_t param);
/* Its effective values; released with iv_free. NULL where the writer has failed. */
double *iv_net_numbers(iv_net *net, size_t param);
const iv_shape *iv_net_shape(const iv_net *net, size_t value);
const char *iv_net_activation(iv_net *net, iv_act act, double parameter, const char *x);
double iv_net_number(const iv_node *node, size_t i); /* of a function, given or not */

/* Tangents (rows * n, ...) as (rows, n, ...), and back; slope (rows, ...) times tangents. */
const char *iv_net_unfold(iv_net *net, const char *t, const iv_shape *shape);
const char *iv_net_fold(iv_net *net, const char *t, const iv_shape *shape);
const char *iv_net_times(iv_net *net, const char *slope, const char *t, const iv_shape *shape);
/* Of a node whose outputs each depend on several elements: its derivative; t[i] is NULL where an
 * input does not move. NULL: the node is not of that sort. */
typedef void iv_tangent_fn(iv_net *net, const iv_node *node, const char *const *t,
                           const char **out);
iv_tangent_fn *iv_net_mixed_tangent(const iv_node *node);
/* The two operands of a matmul with the axes that ONNX's MatMul wants. */
void iv_net_matrices(iv_net *net, const iv_node *node, const char *const *in, const char **x,
                     iv_shape *shape);

/* Operands of arithmetic and where: tensors, and where they are inputs, which one. */
typedef struct iv_net_operand {
    bool constant;
    size_t input; /* place among the node's inputs */
    size_t param; /* SIZE_MAX: the node's number */
} iv_net_operand;
void iv_net_operands(const iv_node *node, iv_net_operand *out);
/* A tensor of rows of `shape` with axes of 1 behind the batch until it has `rank`. */
const char *iv_net_pad(iv_net *net, const char *tensor, const iv_shape *shape, size_t rank);
const char *iv_net_operand_tensor(iv_net *net, const iv_node *node, const iv_net_operand *o,
                                  const char *input);

#endif
