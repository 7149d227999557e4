/* Inside of src/onnx: what a tensor of the file is while the graph is being made.
 *
 * A tensor is constant (computed here, at load) or live (it depends on the graph's inputs). The
 * batch is one factor in the extent of one axis: mostly axis 0, whole ([B, 3, 8, 8]), but a
 * transpose moves it and a reshape may merge it with others ([B T, D]). A row of a live tensor is
 * what is left without that factor, in the order of the axes. Reshaping changes no row, so it makes
 * no node: a node is made where an operator needs rows of another shape than they have.
 *
 * Sizes computed from the batch (Shape, Gather, Mul ...) are integers k + b B. */
#ifndef IV_ONNX_LOADER_H
#define IV_ONNX_LOADER_H

#include "onnx/container.h"
#include "onnx/onnx.h"

#include "base/memory.h"

#include <stdint.h>

enum { IV_ONNX_RANK = 8 };
#define IV_ONNX_NO_BATCH SIZE_MAX
#define IV_ONNX_ROW_LIMIT ((size_t)1 << 31) /* elements of a row */

typedef enum iv_onnx_type { IV_ONNX_FLOAT, IV_ONNX_INT, IV_ONNX_BOOL } iv_onnx_type;

typedef struct iv_onnx_dims {
    size_t rank;
    size_t dim[IV_ONNX_RANK]; /* of the batch's axis: what stands beside the batch, 1 mostly */
    size_t batch;             /* that axis, or IV_ONNX_NO_BATCH (constants only) */
    size_t before;            /* the part of dim[batch] that is slower than the batch */
} iv_onnx_dims;

/* Of constants. Never changed once made. */
typedef struct iv_onnx_tensor {
    size_t n;
    double *f;  /* FLOAT */
    int64_t *i; /* INT, BOOL */
    int64_t *b; /* INT: multiples of the batch; NULL: none */
} iv_onnx_tensor;

typedef struct iv_onnx_value {
    bool live;
    iv_onnx_type type; /* live: BOOL is 0 or 1 as a float; INT does not occur */
    bool wide;         /* FLOAT: double in the file; else constants are rounded to float */
    iv_onnx_dims dims;
    const iv_onnx_tensor *tensor; /* constants */
    size_t value;                 /* live: of the graph; its shape may differ from dims */
} iv_onnx_value;

typedef struct iv_onnx_param {
    char *name;
    iv_shape shape;
    const double *data;
} iv_onnx_param;

typedef struct iv_onnx_node {
    const Onnx__NodeProto *proto;
    int64_t opset;
    size_t n_inputs, n_outputs;
    const iv_onnx_value **in; /* NULL: absent */
    iv_onnx_value *out;       /* to be filled; those that the file leaves nameless may stay */
} iv_onnx_node;

typedef struct iv_onnx_context {
    const char *folder; /* where external data may lie; NULL: nowhere */
    const iv_onnx_options *options;
    const Onnx__ModelProto *model;
    isovae_error *err;
    iv_graph *graph;
    size_t fixed;                  /* batch that the file is made for; 0: free */
    const iv_onnx_node *node;      /* being read */
    const Onnx__NodeProto *caller; /* of the function that is being read, for its attributes */
    size_t serial, nodes, told;    /* names given, nodes read, errors named */
    size_t memory, work;           /* taken, done */
    size_t memory_limit, work_limit;

    void **blocks; /* all memory but the graph's */
    size_t n_blocks, room_blocks;
    iv_onnx_param *params;
    size_t n_params, room_params;
    char **notes; /* each iv_strdup'ed */
    size_t n_notes, room_notes;
} iv_onnx_context;

#define IV_ONNX_FAIL(context, ...) iv_fail((context)->err, ISOVAE_ERR_FORMAT, __VA_ARGS__)
#define IV_ONNX_REFUSE(context, ...) iv_fail((context)->err, ISOVAE_ERR_UNSUPPORTED, __VA_ARGS__)

/* ---- context.c ---- */

/* Zeroed memory that lives as long as the context. */
isovae_status iv_onnx_take(iv_onnx_context *c, void **out, size_t count, size_t size);
#define IV_ONNX_NEW(context, pointer, count)                                                       \
    iv_onnx_take((context), (void **)&(pointer), (count), sizeof *(pointer))
/* Counts work before it is done. */
isovae_status iv_onnx_work(iv_onnx_context *c, size_t elements);
isovae_status iv_onnx_note(iv_onnx_context *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* `data` lives as long as the context. */
isovae_status iv_onnx_add_param(iv_onnx_context *c, const char *name, const iv_shape *shape,
                                const double *data);
void iv_onnx_context_free(iv_onnx_context *c);

/* ---- attributes.c: of the node that is being read ---- */

const Onnx__AttributeProto *iv_onnx_attribute(const iv_onnx_context *c, const char *name);
isovae_status iv_onnx_get_int(iv_onnx_context *c, const char *name, int64_t otherwise,
                              int64_t *out);
isovae_status iv_onnx_get_float(iv_onnx_context *c, const char *name, double otherwise,
                                double *out);
/* *n = 0 where it is absent. */
isovae_status iv_onnx_get_ints(iv_onnx_context *c, const char *name, const int64_t **out,
                               size_t *n);
/* A copy; NULL where it is absent. */
isovae_status iv_onnx_get_string(iv_onnx_context *c, const char *name, char **out);
/* From an attribute or a constant input (opsets differ): *n = 0 and *out NULL where absent. */
isovae_status iv_onnx_list(iv_onnx_context *c, const char *attribute, size_t input,
                           const int64_t **out, size_t *n);

/* The input; an error where it is absent. */
isovae_status iv_onnx_input(iv_onnx_context *c, size_t index, const iv_onnx_value **out);
/* NULL where it is absent. */
const iv_onnx_value *iv_onnx_optional(const iv_onnx_context *c, size_t index);
/* Integers of a constant (without the batch in them); numbers of one, floats or not. */
isovae_status iv_onnx_ints(iv_onnx_context *c, const iv_onnx_value *v, const int64_t **out,
                           size_t *n);
isovae_status iv_onnx_numbers(iv_onnx_context *c, const iv_onnx_value *v, const double **out,
                              size_t *n);
isovae_status iv_onnx_scalar(iv_onnx_context *c, const iv_onnx_value *v, double *out);
/* An axis counted from the end where negative. */
isovae_status iv_onnx_axis(iv_onnx_context *c, int64_t axis, size_t rank, size_t *out);

/* ---- tensor.c ---- */

isovae_status iv_onnx_tensor_read(iv_onnx_context *c, const Onnx__TensorProto *proto,
                                  iv_onnx_value *out);
/* A constant with room for its elements; *f or *i is where they go. */
isovae_status iv_onnx_new_float(iv_onnx_context *c, const iv_onnx_dims *dims, bool wide,
                                iv_onnx_value *out, double **f);
isovae_status iv_onnx_new_int(iv_onnx_context *c, const iv_onnx_dims *dims, iv_onnx_type type,
                              bool batch, iv_onnx_value *out, int64_t **i, int64_t **b);
/* Elements of one row, checked. */
isovae_status iv_onnx_count(iv_onnx_context *c, const iv_onnx_dims *dims, size_t *out);

/* ---- dims.c ---- */

typedef struct iv_onnx_form {
    int64_t k, b; /* k + b B */
} iv_onnx_form;

/* The elements of constant integers, the batch with them. */
isovae_status iv_onnx_forms(iv_onnx_context *c, const iv_onnx_value *v, iv_onnx_form **out,
                            size_t *n);
iv_onnx_dims iv_onnx_dims_of(size_t rank, const size_t *dim); /* without batch */
bool iv_onnx_dims_equal(const iv_onnx_dims *a, const iv_onnx_dims *b);
/* "[B,3,8,8]" */
enum { IV_ONNX_DIMS_TEXT = 256 };
const char *iv_onnx_dims_text(const iv_onnx_dims *dims, char text[IV_ONNX_DIMS_TEXT]);
/* What Shape says of an axis: with the exported batch where that is fixed. */
iv_onnx_form iv_onnx_extent(const iv_onnx_context *c, const iv_onnx_dims *dims, size_t axis);
/* Shape of a row: the axes in order, that of the batch only where something is merged with it. */
isovae_status iv_onnx_row_shape(iv_onnx_context *c, const iv_onnx_dims *dims, iv_shape *out);
/* Where that axis is in the row; an error for the batch's own. `doing`: "softmax over". */
isovae_status iv_onnx_row_axis(iv_onnx_context *c, const iv_onnx_dims *dims, size_t axis,
                               const char *doing, size_t *out);
/* Dims after a reshape to `target` (no -1 and 0 left in it). */
isovae_status iv_onnx_reshaped(iv_onnx_context *c, const iv_onnx_dims *from, size_t rank,
                               const iv_onnx_form *target, iv_onnx_dims *out);
/* Both with axes added in front to one rank, and what they broadcast to. */
isovae_status iv_onnx_broadcast(iv_onnx_context *c, const iv_onnx_dims *a, const iv_onnx_dims *b,
                                iv_onnx_dims *out);
/* Axes of extent 1 in front. */
iv_onnx_dims iv_onnx_widened(const iv_onnx_dims *dims, size_t rank);

/* ---- move.c: values whose elements move; constants at once, live ones by a node ---- */

isovae_status iv_onnx_reshape(iv_onnx_context *c, const iv_onnx_value *v, size_t rank,
                              const iv_onnx_form *target, iv_onnx_value *out);
isovae_status iv_onnx_transpose(iv_onnx_context *c, const iv_onnx_value *v, const size_t *perm,
                                iv_onnx_value *out);
/* Element r of a row of the result is element map[r] of that of v, or `fill` where that is -1. */
isovae_status iv_onnx_pick(iv_onnx_context *c, const iv_onnx_value *v, const iv_onnx_dims *dims,
                           const int64_t *map, double fill, iv_onnx_value *out);
/* The same axis by axis: maps[i] has extents[i] entries; NULL: the axis stays as it is. Axes in
 * front are added by giving v with them. */
isovae_status iv_onnx_pick_axes(iv_onnx_context *c, const iv_onnx_value *v, const size_t *extents,
                                const int64_t *const *maps, double fill, iv_onnx_value *out);
isovae_status iv_onnx_concat(iv_onnx_context *c, size_t n, const iv_onnx_value *const *parts,
                             size_t axis, iv_onnx_value *out);

/* ---- fold.c: constants ---- */

typedef enum iv_onnx_op2 {
    IV_ONNX_ADD,
    IV_ONNX_SUB,
    IV_ONNX_MUL,
    IV_ONNX_DIV,
    IV_ONNX_POW,
    IV_ONNX_MIN,
    IV_ONNX_MAX,
    IV_ONNX_MOD,
    IV_ONNX_FMOD,
    IV_ONNX_EQUAL,
    IV_ONNX_LESS,
    IV_ONNX_LESS_EQUAL,
    IV_ONNX_GREATER,
    IV_ONNX_GREATER_EQUAL,
    IV_ONNX_AND,
    IV_ONNX_OR,
    IV_ONNX_XOR
} iv_onnx_op2;
isovae_status iv_onnx_fold2(iv_onnx_context *c, iv_onnx_op2 op, const iv_onnx_value *a,
                            const iv_onnx_value *b, iv_onnx_value *out);
typedef double iv_onnx_function(double x, double alpha, double beta);
isovae_status iv_onnx_fold1(iv_onnx_context *c, iv_onnx_function *f, double alpha, double beta,
                            const iv_onnx_value *v, iv_onnx_value *out);
isovae_status iv_onnx_fold_where(iv_onnx_context *c, const iv_onnx_value *test,
                                 const iv_onnx_value *a, const iv_onnx_value *b,
                                 iv_onnx_value *out);
isovae_status iv_onnx_cast(iv_onnx_context *c, const iv_onnx_value *v, int64_t type,
                           iv_onnx_value *out);
typedef enum iv_onnx_sum {
    IV_ONNX_SUM,
    IV_ONNX_MEAN,
    IV_ONNX_REDUCE_MAX,
    IV_ONNX_REDUCE_MIN,
    IV_ONNX_PROD,
    IV_ONNX_SUM_SQUARE,
    IV_ONNX_L1,
    IV_ONNX_L2,
    IV_ONNX_LOG_SUM_EXP
} iv_onnx_sum;
/* `axes`: true for those that go (they stay with extent 1). */
isovae_status iv_onnx_fold_reduce(iv_onnx_context *c, iv_onnx_sum op, const iv_onnx_value *v,
                                  const bool *axes, iv_onnx_value *out);
/* (.., m, k) (.., k, n), leading axes equal. */
isovae_status iv_onnx_fold_matmul(iv_onnx_context *c, const iv_onnx_value *a,
                                  const iv_onnx_value *b, iv_onnx_value *out);

/* ---- emit.c: nodes of the graph ---- */

typedef struct iv_onnx_emission {
    const char *kind;
    size_t n_inputs, n_outputs;
    size_t inputs[IV_MAX_PORTS];
    iv_attributes attributes;
    struct {
        iv_shape shape;
        const double *data; /* NULL: absent; lives as long as the context */
    } params[IV_MAX_ROLES];
} iv_onnx_emission;
isovae_status iv_onnx_emit(iv_onnx_context *c, const iv_onnx_emission *e, size_t *outputs);
/* Gives a value of the graph the name that it has in the file, where that is free and usable. */
isovae_status iv_onnx_rename(iv_onnx_context *c, size_t value, const char *name);
/* A live value of the graph with rows of that shape (reshaped if need be). */
isovae_status iv_onnx_rows(iv_onnx_context *c, const iv_onnx_value *v, const iv_shape *shape,
                           size_t *out);
/* With rows shaped as dims say. */
isovae_status iv_onnx_as_is(iv_onnx_context *c, const iv_onnx_value *v, size_t *out);
/* A constant as a live value: the same in each row. */
isovae_status iv_onnx_enliven(iv_onnx_context *c, const iv_onnx_value *v, iv_onnx_value *out);
iv_onnx_value iv_onnx_made(size_t value, iv_onnx_type type, const iv_onnx_dims *dims);

/* ---- compute.c: values that are computed; constants folded, live ones by a node ---- */

isovae_status iv_onnx_binary(iv_onnx_context *c, iv_onnx_op2 op, const iv_onnx_value *a,
                             const iv_onnx_value *b, iv_onnx_value *out);
/* `kind`: of the graph, NULL where it has none. */
isovae_status iv_onnx_unary(iv_onnx_context *c, iv_onnx_function *f, const char *kind, double alpha,
                            double beta, const iv_onnx_value *v, iv_onnx_value *out);
isovae_status iv_onnx_where(iv_onnx_context *c, const iv_onnx_value *test, const iv_onnx_value *a,
                            const iv_onnx_value *b, iv_onnx_value *out);
isovae_status iv_onnx_reduce(iv_onnx_context *c, iv_onnx_sum op, const iv_onnx_value *v,
                             const bool *axes, bool keep, iv_onnx_value *out);
isovae_status iv_onnx_matmul(iv_onnx_context *c, const iv_onnx_value *left,
                             const iv_onnx_value *right, iv_onnx_value *out);
/* Over one axis. */
isovae_status iv_onnx_softmax(iv_onnx_context *c, const iv_onnx_value *v, size_t axis, bool log,
                              iv_onnx_value *out);
isovae_status iv_onnx_number(iv_onnx_context *c, double number, iv_onnx_value *out); /* rank 0 */
/* A constant spread to those dims (whose batch axis must be 1 in it), as doubles. */
isovae_status iv_onnx_spread(iv_onnx_context *c, const iv_onnx_value *v, const iv_onnx_dims *dims,
                             const double **out);

/* ---- operators.c: the table ---- */

typedef isovae_status iv_onnx_reader(iv_onnx_context *c, iv_onnx_node *node);
typedef struct iv_onnx_operator_row {
    const char *name;
    int64_t since, until;                       /* opsets, both included; 0: no end */
    size_t min_inputs, max_inputs, max_outputs; /* SIZE_MAX: any */
    iv_onnx_reader *read;
} iv_onnx_operator_row;
/* NULL: not known; *other is then a row of that name for other opsets, or NULL. */
const iv_onnx_operator_row *iv_onnx_find_operator(const char *name, int64_t opset,
                                                  const iv_onnx_operator_row **other);
bool iv_onnx_is_random(const char *op);

iv_onnx_reader iv_onnx_read_constant;
iv_onnx_reader iv_onnx_read_constant_of_shape;
iv_onnx_reader iv_onnx_read_identity;
iv_onnx_reader iv_onnx_read_dropout;
iv_onnx_reader iv_onnx_read_cast;
iv_onnx_reader iv_onnx_read_shape;
iv_onnx_reader iv_onnx_read_size;
iv_onnx_reader iv_onnx_read_reshape;
iv_onnx_reader iv_onnx_read_flatten;
iv_onnx_reader iv_onnx_read_squeeze;
iv_onnx_reader iv_onnx_read_unsqueeze;
iv_onnx_reader iv_onnx_read_transpose;
iv_onnx_reader iv_onnx_read_concat;
iv_onnx_reader iv_onnx_read_split;
iv_onnx_reader iv_onnx_read_slice;
iv_onnx_reader iv_onnx_read_gather;
iv_onnx_reader iv_onnx_read_gather_nd;
iv_onnx_reader iv_onnx_read_expand;
iv_onnx_reader iv_onnx_read_tile;
iv_onnx_reader iv_onnx_read_pad;
iv_onnx_reader iv_onnx_read_range;
iv_onnx_reader iv_onnx_read_depth_to_space;
iv_onnx_reader iv_onnx_read_space_to_depth;
iv_onnx_reader iv_onnx_read_trilu;
iv_onnx_reader iv_onnx_read_random;
iv_onnx_reader iv_onnx_read_eye_like;
iv_onnx_reader iv_onnx_read_binary;
iv_onnx_reader iv_onnx_read_variadic;
iv_onnx_reader iv_onnx_read_mod;
iv_onnx_reader iv_onnx_read_unary;
iv_onnx_reader iv_onnx_read_clip;
iv_onnx_reader iv_onnx_read_erfc;
iv_onnx_reader iv_onnx_read_expm1;
iv_onnx_reader iv_onnx_read_gelu;
iv_onnx_reader iv_onnx_read_prelu;
iv_onnx_reader iv_onnx_read_where;
iv_onnx_reader iv_onnx_read_reduce;
iv_onnx_reader iv_onnx_read_softmax;
iv_onnx_reader iv_onnx_read_logical_not;
iv_onnx_reader iv_onnx_read_is_inf;
iv_onnx_reader iv_onnx_read_is_nan;
iv_onnx_reader iv_onnx_read_gemm;
iv_onnx_reader iv_onnx_read_matmul;
iv_onnx_reader iv_onnx_read_einsum;
iv_onnx_reader iv_onnx_read_conv;
iv_onnx_reader iv_onnx_read_conv_transpose;
iv_onnx_reader iv_onnx_read_pool;
iv_onnx_reader iv_onnx_read_global_pool;
iv_onnx_reader iv_onnx_read_batch_norm;
iv_onnx_reader iv_onnx_read_instance_norm;
iv_onnx_reader iv_onnx_read_group_norm;
iv_onnx_reader iv_onnx_read_layer_norm;
iv_onnx_reader iv_onnx_read_resize;
iv_onnx_reader iv_onnx_read_upsample;

#endif
