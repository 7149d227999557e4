/* What a node kind is: one row of iv_node_table (node_table.c), its callbacks in one file.
 *
 * Callbacks see a range of rows: every pointer already stands at the range's first row, values and
 * gradients are rows x size without gaps. They are called by several threads at once on different
 * ranges, so they keep nothing but what they write behind the pointers of the call. */
#ifndef IV_GRAPH_NODE_H
#define IV_GRAPH_NODE_H

#include "graph/graph.h"

/* Shapes, as far as known when a node is added. The rule checks them and completes `outputs`,
 * `params` and the defaults of `attributes`. */
typedef struct iv_node_shapes {
    const char *name; /* of the node, for messages */
    size_t n_inputs, n_outputs;
    const iv_shape *inputs[IV_MAX_PORTS];
    iv_attributes *attributes;
    size_t units;               /* of the builder: output width where the parameters are new */
    bool present[IV_MAX_ROLES]; /* the node has that parameter */
    bool known[IV_MAX_ROLES];   /* ... and its shape stands in params; else the rule makes it */
    iv_shape params[IV_MAX_ROLES];
    iv_shape outputs[IV_MAX_PORTS];
} iv_node_shapes;

typedef struct iv_node_call {
    const iv_kernels *kernels;
    const iv_graph *graph;
    const iv_node *node;
    size_t rows;
    size_t in_size[IV_MAX_PORTS], out_size[IV_MAX_PORTS]; /* elements of a row */
    const void *in[IV_MAX_PORTS];
    void *out[IV_MAX_PORTS];
    void *saved; /* rows x kind->saved elements; NULL in a workspace without derivatives */
    const void *params[IV_MAX_ROLES]; /* NULL: absent */
    void *prepared;                   /* what prepare left, of the whole node */
    void *scratch; /* rows x kind->scratch elements (tangents: tangents x rows) */
    bool training; /* a whole-batch node in its training form: the rows are a batch of its own */
    double *state; /* kind->state numbers of the node in this workspace */
    void *work;    /* kind->work elements, of this thread alone; also in param_gradient */

    /* The physical order of a value of rank 3 (C, H, W), its gradient and its tangents: H, W, C
     * where set ("channels last"), else as the shape says. Only nodes with IV_NODE_SPATIAL,
     * IV_NODE_EITHER or IV_NODE_ELEMENTWISE ever see one set (layout.c). */
    bool in_last[IV_MAX_PORTS], out_last[IV_MAX_PORTS];

    /* Reverse and param_gradient. grad_out NULL: zero. Reverse may overwrite grad_out, and
     * param_gradient finds it as reverse left it. grad_in NULL: not wanted. Inputs are to be worked
     * on in order: where one value is two inputs, the first writes and the second accumulates. */
    void *grad_out[IV_MAX_PORTS];
    void *grad_in[IV_MAX_PORTS];
    bool accumulate[IV_MAX_PORTS];

    /* Tangent: [tangents][rows][size]; tangent_in NULL: zero (at least one is not). */
    size_t tangents;
    const void *tangent_in[IV_MAX_PORTS];
    void *tangent_out[IV_MAX_PORTS];
} iv_node_call;

enum {
    IV_NODE_WHOLE_BATCH = 1, /* in a training workspace it needs sums over all rows (batch norm) */
    /* How a kind treats the physical order of its spatial values. Without any of these it needs
     * all of them in logical order. */
    IV_NODE_SPATIAL = 2,     /* takes either order on each in- and output; channels last is best */
    IV_NODE_EITHER = 4,      /* takes either order on each in- and output; does not care */
    IV_NODE_ELEMENTWISE = 8, /* the same order on all in- and outputs; does not care which */

    IV_NODE_FUSES = 16 /* takes the activation behind it into its own attributes */
};

/* What sums over the batch are for. */
typedef enum iv_batch_pass { IV_BATCH_FORWARD, IV_BATCH_REVERSE } iv_batch_pass;

/* Attributes as JSON has them: where they lie in iv_attributes follows from the type. */
typedef enum iv_attribute_type {
    IV_ATTRIBUTE_END = 0,
    IV_ATTRIBUTE_ACT,       /* name of an activation -> act */
    IV_ATTRIBUTE_PARAMETER, /* number -> parameter */
    IV_ATTRIBUTE_AXIS,      /* integer >= 1 -> axis */
    IV_ATTRIBUTE_SIZES,     /* list of positive integers -> sizes */
    IV_ATTRIBUTE_SHAPE,     /* list of positive integers -> shape */
    IV_ATTRIBUTE_EPS,       /* number above 0 -> eps */
    /* of convolutions, pools and groups: a list of two (pads: four) integers, or one that stands
       for all of them */
    IV_ATTRIBUTE_STRIDE,
    IV_ATTRIBUTE_DILATION,
    IV_ATTRIBUTE_PADS,
    IV_ATTRIBUTE_OUTPUT_PADDING,
    IV_ATTRIBUTE_KERNEL,
    IV_ATTRIBUTE_GROUPS,            /* one integer */
    IV_ATTRIBUTE_COUNT_INCLUDE_PAD, /* 0 or 1 */
    IV_ATTRIBUTE_SCALE,             /* two integers, or one for both */
    IV_ATTRIBUTE_FACTOR,            /* one integer -> scale[0] */
    IV_ATTRIBUTE_FIRST,             /* number -> number[0], given[0] */
    IV_ATTRIBUTE_SECOND,            /* number -> number[1], given[1] */
    IV_ATTRIBUTE_CONSTANT_FIRST,    /* 0 or 1 */
    IV_ATTRIBUTE_KEEPDIMS,          /* 0 or 1 */
    IV_ATTRIBUTE_REDUCTION,         /* name -> reduction */
    IV_ATTRIBUTE_MAP                /* list of integers from -1 on -> map */
} iv_attribute_type;

typedef struct iv_attribute {
    const char *name;
    iv_attribute_type type;
    bool required;
} iv_attribute;

enum { IV_MAX_ATTRIBUTES = 8 };

struct iv_node_kind {
    const char *name, *onnx;
    unsigned flags;
    iv_act act; /* of an activation node, else IV_ACT_NONE */
    iv_function function;
    double numbers[2]; /* defaults of attributes.number, where not given */
    iv_binary binary;
    /* Kinds that take constants for inputs: inputs and constants together. Optional roles are
     * absent unless named; of matmul's, "weight" is there where an input is missing. */
    size_t operands;
    size_t min_inputs, max_inputs, min_outputs, max_outputs;
    const char *roles[IV_MAX_ROLES]; /* NULL behind the last */
    bool optional[IV_MAX_ROLES];
    bool buffer[IV_MAX_ROLES], not_negative[IV_MAX_ROLES]; /* as in iv_param */
    iv_parametrization parametrization[IV_MAX_ROLES];
    iv_attribute attributes[IV_MAX_ATTRIBUTES];

    isovae_status (*shape)(iv_node_shapes *shapes, isovae_error *err);

    /* Elements; each may be NULL for none. `rows` is the capacity of the batch. */
    size_t (*saved)(const iv_graph *graph, const iv_node *node);                 /* per row */
    size_t (*scratch)(const iv_graph *graph, const iv_node *node, bool tangent); /* per row */
    /* Of a thread, however many the rows. */
    size_t (*work)(const iv_kernels *kernels, const iv_graph *graph, const iv_node *node);
    size_t (*prepared)(const iv_kernels *kernels, const iv_graph *graph, const iv_node *node,
                       bool reverse);
    size_t (*prepare_parts)(const iv_node *node, bool reverse);
    void (*prepare)(const iv_node_call *call, size_t part);

    void (*forward)(const iv_node_call *call);
    void (*reverse)(const iv_node_call *call);
    /* The gradient of one parameter over all rows, cut into blocks by output. Any number of blocks
     * must do, and give the same bytes; param_blocks says how many are worth it (NULL: 1). */
    size_t (*param_blocks)(const iv_graph *graph, const iv_node *node, size_t role, size_t rows);
    void (*param_gradient)(const iv_node_call *call, size_t role, void *grad, bool accumulate,
                           size_t block, size_t blocks);
    void (*tangent)(const iv_node_call *call);

    /* Where training begins, effective value of one element; NULL: by its fan (start.c). */
    double (*start)(const iv_graph *graph, const iv_node *node, size_t role, size_t element);

    size_t (*state)(const iv_graph *graph, const iv_node *node); /* numbers in call->state */

    /* Whole-batch nodes. Before forward (reverse) of a training workspace, reduce gives `sums`
     * numbers for a few rows, the executor adds those of all rows, and settle gets the total with
     * call->rows the whole batch. After the step, update moves the running statistics, which lie at
     * `buffers` (by role). */
    size_t (*sums)(const iv_graph *graph, const iv_node *node);
    void (*reduce)(const iv_node_call *call, iv_batch_pass pass, double *sums);
    void (*settle)(const iv_node_call *call, iv_batch_pass pass, const double *sums);
    void (*update)(const iv_node_call *call, void *const *buffers);
};

/* Rows of a parameter's first axis that belong to a block, as elements [*first, *first + *count):
 * how param_gradient must cut where the parametrization is not plain. */
void iv_param_block(const iv_param *param, size_t block, size_t blocks, size_t *first,
                    size_t *count);

/* NULL where there is none of that name. */
const iv_node_kind *iv_node_kind_find(const char *name);

/* Shared by graph.c and graph_json.c: adds a node with attributes taken as they are; shapes of new
 * parameters come from `shape_of` where that is given, else from the kind's rule. */
isovae_status iv_graph_add(iv_graph *graph, const iv_node_kind *kind, const iv_node_spec *spec,
                           iv_param_shape_fn *shape_of, void *user, size_t *outputs,
                           isovae_error *err) ISOVAE_MUST_CHECK;
/* Refuses the empty name, control characters and more than 255 bytes. `what`: "node", "value". */
isovae_status iv_graph_check_name(const char *what, const char *name,
                                  isovae_error *err) ISOVAE_MUST_CHECK;

/* The only node that reads `value`, or SIZE_MAX where there is none, more than one, or the caller.
 */
size_t iv_graph_only_reader(const iv_graph *graph, size_t value);
/* `node` (of one output) takes over the output of `reader`, the only reader of its own; the value
 * between them and `reader` are gone, so indices change. */
void iv_graph_absorb(iv_graph *graph, size_t node, size_t reader);

/* Whether `value` comes from a relu: where it is zero, so are its tangents. */
bool iv_node_rectified(const iv_graph *graph, size_t value);

/* Copies (or adds) `rows` rows of (C, H, W) from the logical order to channels last, and back. A
 * shape of another rank, or of one channel or pixel, has one order only: plain copies. */
void iv_layout_to_last(const iv_kernels *k, const iv_shape *shape, size_t rows, const void *x,
                       void *y, bool accumulate);
void iv_layout_to_logical(const iv_kernels *k, const iv_shape *shape, size_t rows, const void *x,
                          void *y, bool accumulate);
/* The axes of a row in the order in which they lie in memory. */
iv_shape iv_layout_physical(const iv_shape *shape, bool last);

/* The slope of a fused activation is kept in the saved state where it does not follow from the sign
 * of the output. */
bool iv_keeps_slope(const iv_node *node);

/* dense */
isovae_status iv_dense_shape(iv_node_shapes *shapes, isovae_error *err);
size_t iv_dense_saved(const iv_graph *graph, const iv_node *node);
size_t iv_dense_scratch(const iv_graph *graph, const iv_node *node, bool tangent);
size_t iv_dense_prepared(const iv_kernels *kernels, const iv_graph *graph, const iv_node *node,
                         bool reverse);
size_t iv_dense_prepare_parts(const iv_node *node, bool reverse);
void iv_dense_prepare(const iv_node_call *call, size_t part);
void iv_dense_forward(const iv_node_call *call);
void iv_dense_reverse(const iv_node_call *call);
size_t iv_dense_param_blocks(const iv_graph *graph, const iv_node *node, size_t role, size_t rows);
void iv_dense_param_gradient(const iv_node_call *call, size_t role, void *grad, bool accumulate,
                             size_t block, size_t blocks);
void iv_dense_tangent(const iv_node_call *call);

/* conv, conv_transpose */
isovae_status iv_conv_shape(iv_node_shapes *shapes, isovae_error *err);
isovae_status iv_conv_transpose_shape(iv_node_shapes *shapes, isovae_error *err);
size_t iv_conv_saved(const iv_graph *graph, const iv_node *node);
size_t iv_conv_scratch(const iv_graph *graph, const iv_node *node, bool tangent);
size_t iv_conv_work(const iv_kernels *kernels, const iv_graph *graph, const iv_node *node);
size_t iv_conv_prepared(const iv_kernels *kernels, const iv_graph *graph, const iv_node *node,
                        bool reverse);
size_t iv_conv_prepare_parts(const iv_node *node, bool reverse);
void iv_conv_prepare(const iv_node_call *call, size_t part);
void iv_conv_forward(const iv_node_call *call);
void iv_conv_reverse(const iv_node_call *call);
size_t iv_conv_param_blocks(const iv_graph *graph, const iv_node *node, size_t role, size_t rows);
void iv_conv_param_gradient(const iv_node_call *call, size_t role, void *grad, bool accumulate,
                            size_t block, size_t blocks);
void iv_conv_tangent(const iv_node_call *call);

/* activations */
isovae_status iv_activation_shape(iv_node_shapes *shapes, isovae_error *err);
size_t iv_activation_scratch(const iv_graph *graph, const iv_node *node, bool tangent);
void iv_activation_forward(const iv_node_call *call);
void iv_activation_reverse(const iv_node_call *call);
void iv_activation_tangent(const iv_node_call *call);

/* functions of one number */
isovae_status iv_function_shape(iv_node_shapes *shapes, isovae_error *err);
size_t iv_function_scratch(const iv_graph *graph, const iv_node *node, bool tangent);
void iv_function_forward(const iv_node_call *call);
void iv_function_reverse(const iv_node_call *call);
void iv_function_tangent(const iv_node_call *call);

/* arithmetic on two operands, comparisons; where (node_arithmetic.c, node_where.c) */
isovae_status iv_arithmetic_shape(iv_node_shapes *shapes, isovae_error *err);
size_t iv_arithmetic_scratch(const iv_graph *graph, const iv_node *node, bool tangent);
void iv_arithmetic_forward(const iv_node_call *call);
void iv_arithmetic_reverse(const iv_node_call *call);
void iv_arithmetic_tangent(const iv_node_call *call);
isovae_status iv_where_shape(iv_node_shapes *shapes, isovae_error *err);
size_t iv_where_scratch(const iv_graph *graph, const iv_node *node, bool tangent);
void iv_where_forward(const iv_node_call *call);
void iv_where_reverse(const iv_node_call *call);
void iv_where_tangent(const iv_node_call *call);

/* matmul */
isovae_status iv_matmul_shape(iv_node_shapes *shapes, isovae_error *err);
size_t iv_matmul_prepared(const iv_kernels *kernels, const iv_graph *graph, const iv_node *node,
                          bool reverse);
size_t iv_matmul_parts(const iv_node *node, bool reverse);
void iv_matmul_prepare(const iv_node_call *call, size_t part);
void iv_matmul_forward(const iv_node_call *call);
void iv_matmul_reverse(const iv_node_call *call);
void iv_matmul_param_gradient(const iv_node_call *call, size_t role, void *grad, bool accumulate,
                              size_t block, size_t blocks);
void iv_matmul_tangent(const iv_node_call *call);

/* reduce */
isovae_status iv_reduce_shape(iv_node_shapes *shapes, isovae_error *err);
void iv_reduce_forward(const iv_node_call *call);
void iv_reduce_reverse(const iv_node_call *call);
void iv_reduce_tangent(const iv_node_call *call);
const char *iv_reduce_name(iv_reduce reduction);
bool iv_reduce_parse(const char *name, iv_reduce *out);

/* take */
isovae_status iv_take_shape(iv_node_shapes *shapes, isovae_error *err);
void iv_take_forward(const iv_node_call *call);
void iv_take_reverse(const iv_node_call *call);
void iv_take_tangent(const iv_node_call *call);

/* concat, split, reshape, flatten */
isovae_status iv_concat_shape(iv_node_shapes *shapes, isovae_error *err);
void iv_concat_forward(const iv_node_call *call);
void iv_concat_reverse(const iv_node_call *call);
void iv_concat_tangent(const iv_node_call *call);
isovae_status iv_split_shape(iv_node_shapes *shapes, isovae_error *err);
void iv_split_forward(const iv_node_call *call);
void iv_split_reverse(const iv_node_call *call);
void iv_split_tangent(const iv_node_call *call);
isovae_status iv_reshape_shape(iv_node_shapes *shapes, isovae_error *err);
isovae_status iv_flatten_shape(iv_node_shapes *shapes, isovae_error *err);
size_t iv_reshape_scratch(const iv_graph *graph, const iv_node *node, bool tangent);
void iv_reshape_forward(const iv_node_call *call);
void iv_reshape_reverse(const iv_node_call *call);
void iv_reshape_tangent(const iv_node_call *call);
isovae_status iv_transpose_shape(iv_node_shapes *shapes, isovae_error *err);
void iv_transpose_forward(const iv_node_call *call);
void iv_transpose_reverse(const iv_node_call *call);
void iv_transpose_tangent(const iv_node_call *call);

/* batch_norm, layer_norm, group_norm */
isovae_status iv_norm_eps(iv_node_shapes *shapes, isovae_error *err);
isovae_status iv_batch_norm_shape(iv_node_shapes *shapes, isovae_error *err);
size_t iv_batch_norm_prepared(const iv_kernels *kernels, const iv_graph *graph, const iv_node *node,
                              bool reverse);
size_t iv_batch_norm_state(const iv_graph *graph, const iv_node *node);
size_t iv_batch_norm_sums(const iv_graph *graph, const iv_node *node);
size_t iv_batch_norm_parts(const iv_node *node, bool reverse);
void iv_batch_norm_prepare(const iv_node_call *call, size_t task);
void iv_batch_norm_reduce(const iv_node_call *call, iv_batch_pass pass, double *sums);
void iv_batch_norm_settle(const iv_node_call *call, iv_batch_pass pass, const double *sums);
void iv_batch_norm_update(const iv_node_call *call, void *const *buffers);
void iv_batch_norm_forward(const iv_node_call *call);
void iv_batch_norm_reverse(const iv_node_call *call);
void iv_batch_norm_param_gradient(const iv_node_call *call, size_t role, void *grad,
                                  bool accumulate, size_t block, size_t blocks);
void iv_batch_norm_tangent(const iv_node_call *call);
double iv_batch_norm_start(const iv_graph *graph, const iv_node *node, size_t role, size_t element);
isovae_status iv_layer_norm_shape(iv_node_shapes *shapes, isovae_error *err);
isovae_status iv_group_norm_shape(iv_node_shapes *shapes, isovae_error *err);
size_t iv_group_norm_saved(const iv_graph *graph, const iv_node *node);
size_t iv_group_norm_scratch(const iv_graph *graph, const iv_node *node, bool tangent);
size_t iv_group_norm_prepared(const iv_kernels *kernels, const iv_graph *graph, const iv_node *node,
                              bool reverse);
size_t iv_group_norm_state(const iv_graph *graph, const iv_node *node);
size_t iv_group_norm_parts(const iv_node *node, bool reverse);
void iv_group_norm_prepare(const iv_node_call *call, size_t task);
void iv_group_norm_forward(const iv_node_call *call);
void iv_group_norm_reverse(const iv_node_call *call);
void iv_group_norm_param_gradient(const iv_node_call *call, size_t role, void *grad,
                                  bool accumulate, size_t block, size_t blocks);
void iv_group_norm_tangent(const iv_node_call *call);
double iv_group_norm_start(const iv_graph *graph, const iv_node *node, size_t role, size_t element);

/* gdn, gdn_inverse */
isovae_status iv_gdn_shape(iv_node_shapes *shapes, isovae_error *err);
size_t iv_gdn_size(const iv_graph *graph, const iv_node *node);
size_t iv_gdn_scratch(const iv_graph *graph, const iv_node *node, bool tangent);
size_t iv_gdn_state(const iv_graph *graph, const iv_node *node);
size_t iv_gdn_work(const iv_kernels *kernels, const iv_graph *graph, const iv_node *node);
size_t iv_gdn_prepared(const iv_kernels *kernels, const iv_graph *graph, const iv_node *node,
                       bool reverse);
size_t iv_gdn_prepare_parts(const iv_node *node, bool reverse);
void iv_gdn_prepare(const iv_node_call *call, size_t task);
void iv_gdn_forward(const iv_node_call *call);
void iv_gdn_inverse_forward(const iv_node_call *call);
void iv_gdn_reverse(const iv_node_call *call);
size_t iv_gdn_param_blocks(const iv_graph *graph, const iv_node *node, size_t role, size_t rows);
void iv_gdn_param_gradient(const iv_node_call *call, size_t role, void *grad, bool accumulate,
                           size_t block, size_t blocks);
void iv_gdn_tangent(const iv_node_call *call);
double iv_gdn_start(const iv_graph *graph, const iv_node *node, size_t role, size_t element);

/* max_pool, average_pool, global_average_pool */
isovae_status iv_pool_shape(iv_node_shapes *shapes, isovae_error *err);
isovae_status iv_global_pool_shape(iv_node_shapes *shapes, isovae_error *err);
size_t iv_max_pool_saved(const iv_graph *graph, const iv_node *node);
size_t iv_max_pool_scratch(const iv_graph *graph, const iv_node *node, bool tangent);
void iv_max_pool_forward(const iv_node_call *call);
void iv_max_pool_reverse(const iv_node_call *call);
void iv_max_pool_tangent(const iv_node_call *call);
void iv_average_pool_forward(const iv_node_call *call);
void iv_average_pool_reverse(const iv_node_call *call);
void iv_average_pool_tangent(const iv_node_call *call);

/* upsample_nearest, upsample_bilinear, pixel_shuffle */
isovae_status iv_upsample_shape(iv_node_shapes *shapes, isovae_error *err);
isovae_status iv_shuffle_shape(iv_node_shapes *shapes, isovae_error *err);
void iv_nearest_forward(const iv_node_call *call);
void iv_nearest_reverse(const iv_node_call *call);
void iv_nearest_tangent(const iv_node_call *call);
void iv_bilinear_forward(const iv_node_call *call);
void iv_bilinear_reverse(const iv_node_call *call);
void iv_bilinear_tangent(const iv_node_call *call);
void iv_shuffle_forward(const iv_node_call *call);
void iv_shuffle_reverse(const iv_node_call *call);
void iv_shuffle_tangent(const iv_node_call *call);

/* live */
isovae_status iv_live_shape(iv_node_shapes *shapes, isovae_error *err);
void iv_live_forward(const iv_node_call *call);
void iv_live_reverse(const iv_node_call *call);
void iv_live_tangent(const iv_node_call *call);

/* softmax */
isovae_status iv_softmax_shape(iv_node_shapes *shapes, isovae_error *err);
void iv_softmax_forward(const iv_node_call *call);
void iv_softmax_reverse(const iv_node_call *call);
void iv_softmax_tangent(const iv_node_call *call);
void iv_log_softmax_forward(const iv_node_call *call);
void iv_log_softmax_reverse(const iv_node_call *call);
void iv_log_softmax_tangent(const iv_node_call *call);

#endif
