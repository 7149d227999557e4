/* A network as nodes in order: a DAG over values, with parameters beside it (so weights can be
 * shared). This header is the description; exec.h runs it in its three passes.
 *
 * A shape is that of one row: the batch is axis 0 of every value and not stored, so `axis`
 * attributes (counted with the batch, as in ONNX) start at 1. */
#ifndef IV_GRAPH_GRAPH_H
#define IV_GRAPH_GRAPH_H

#include "kernels/kernels.h"

#include <jansson.h>

enum { IV_MAX_RANK = 7, IV_MAX_PORTS = 8, IV_MAX_ROLES = 4 };

typedef struct iv_shape {
    size_t rank;
    size_t dim[IV_MAX_RANK];
} iv_shape;
/* Product of the dims; false on overflow. Rank 0 is 1. */
bool iv_shape_size(const iv_shape *shape, size_t *out);
bool iv_shape_equal(const iv_shape *a, const iv_shape *b);
/* "12x4x4" for messages, "1" for rank 0; returns `text`. */
enum { IV_SHAPE_TEXT = 160 };
const char *iv_shape_text(const iv_shape *shape, char text[IV_SHAPE_TEXT]);

typedef struct iv_node_kind iv_node_kind;

/* conv, conv_transpose: height, then width. Zero in kernel (the weight says), stride, dilation and
 * groups stands for the default. */
enum { IV_CONV_LIMIT = 65535 }; /* of each of these numbers, and of height and width */
typedef struct iv_conv_attributes {
    size_t kernel[2], stride[2], dilation[2];
    size_t pads[4];           /* top, left, bottom, right, as in ONNX */
    size_t output_padding[2]; /* conv_transpose */
    size_t groups;
} iv_conv_attributes;

typedef struct iv_attributes {
    iv_act act;       /* dense, conv: fused activation; activation nodes: which */
    double parameter; /* of the activation (slope, alpha); iv_graph_node: 0 is the default */
    size_t axis;      /* concat, split: counted with the batch (1 = first axis of a row) */
    size_t n_sizes;
    size_t sizes[IV_MAX_PORTS]; /* split: extents of the outputs along axis; transpose: perm */
    iv_shape shape;             /* reshape: row shape of the output */
    double eps;                 /* normalisations: added to the variance; 0: 1e-5 */
    size_t scale[2];            /* upsampling: of height and width; pixel_shuffle: the first */
    size_t count_include_pad;   /* average_pool: 1: padding counts as elements; 0 */
    iv_conv_attributes conv;
    /* Numbers by which a kind is told more: those of a function (clip: min, max), the constant
     * operand of arithmetic, the fill of take. What is not given has the kind's default. */
    double number[2];
    bool given[2];
    size_t constant_first; /* 1: the constant operand stands before the input */
    size_t keepdims;       /* reduce: 1: reduced axes stay, with extent 1 */
    iv_reduce reduction;
    /* take: of each output element (along the axis; axis 0: of the row) the input's, or -1. A node
     * has its own copy; the builder's is read while the node is added. */
    const int32_t *map;
    size_t n_map;
    struct iv_live *live; /* live: the functions behind it (live.h), borrowed; in no file */
} iv_attributes;
enum { IV_MAP_LIMIT = 1 << 22 }; /* entries of a map */

typedef struct iv_node {
    char *name;
    const iv_node_kind *kind;
    size_t n_inputs, n_outputs, n_params;
    size_t inputs[IV_MAX_PORTS], outputs[IV_MAX_PORTS]; /* values */
    size_t params[IV_MAX_ROLES]; /* parameters, by the kind's roles; SIZE_MAX absent */
    iv_attributes attributes;
} iv_node;

typedef struct iv_value {
    char *name;
    iv_shape shape;
    size_t size; /* elements of a row */
} iv_value;

/* What a node computes with is the effective value of a parameter; what is stored and trained is
 * the raw one. Square keeps the effective value positive, with a gradient everywhere:
 * effective = raw^2 + IV_PARAM_FLOOR (param.c, docs/format.md). */
typedef enum iv_parametrization { IV_PARAM_PLAIN = 0, IV_PARAM_SQUARE = 1 } iv_parametrization;
#define IV_PARAM_FLOOR 0x1p-20

typedef struct iv_param {
    char *name;
    iv_shape shape; /* dense weight (out, in), y = x W^T + b */
    size_t size;
    size_t offset; /* in elements, into the model's one parameter vector; multiple of 16 */
    iv_parametrization parametrization;
    bool buffer;       /* stored with the parameters, but not trained (running statistics) */
    bool not_negative; /* a file that holds a negative one is refused */
} iv_param;

/* A raw value with that effective one (the nearest that there is). */
double iv_param_raw(iv_parametrization parametrization, double effective);
/* Effective values of n raw ones; and a gradient in effective values turned into one in raw ones.
 */
void iv_param_effective(const iv_kernels *k, iv_parametrization parametrization, size_t n,
                        const void *raw, void *effective);
void iv_param_chain(const iv_kernels *k, iv_parametrization parametrization, size_t n,
                    const void *raw, void *gradient);
const char *iv_parametrization_name(iv_parametrization parametrization);

typedef struct iv_graph {
    size_t n_nodes, n_values, n_params;
    iv_node *nodes;
    iv_value *values;
    iv_param *params;
    size_t n_inputs, n_outputs;
    size_t inputs[IV_MAX_PORTS], outputs[IV_MAX_PORTS];
    size_t param_elements; /* where the last parameter ends: the parameter vector is as long or
                              longer */
} iv_graph;

isovae_status iv_graph_new(iv_graph **out, isovae_error *err) ISOVAE_MUST_CHECK;
void iv_graph_free(iv_graph *graph);

/* Building. Values are made by iv_graph_input and by nodes; names are unique within a graph. */
isovae_status iv_graph_input(iv_graph *graph, const char *name, const iv_shape *shape,
                             size_t *value, isovae_error *err) ISOVAE_MUST_CHECK;
/* Adds a node of `kind`; output shapes follow from the kind's shape rule. `param_names` (NULL: the
 * node's name, a dot, the role) and `weight_shape_hint` belong to kinds with parameters: `units` is
 * the output width of dense, and the output channels of conv and conv_transpose (whose kernel is in
 * the attributes). An existing parameter of that name is shared if its shape agrees. */
typedef struct iv_node_spec {
    const char *kind, *name;
    size_t n_inputs;
    size_t inputs[IV_MAX_PORTS];
    size_t n_outputs;
    const char *outputs[IV_MAX_PORTS];
    const char *params[IV_MAX_ROLES]; /* by role; NULL: default name; "" : absent (no bias) */
    size_t units;
    iv_attributes attributes;
} iv_node_spec;
isovae_status iv_graph_node(iv_graph *graph, const iv_node_spec *spec, size_t *outputs,
                            isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status iv_graph_output(iv_graph *graph, size_t value, isovae_error *err) ISOVAE_MUST_CHECK;
/* The same; the shapes of parameters that are not there yet come from `shape_of`, as constants'
 * must. */
typedef bool iv_param_shape_fn(void *user, const char *name, iv_shape *out);
isovae_status iv_graph_node_shaped(iv_graph *graph, const iv_node_spec *spec,
                                   iv_param_shape_fn *shape_of, void *user, size_t *outputs,
                                   isovae_error *err) ISOVAE_MUST_CHECK;
/* SIZE_MAX where there is none of that name. */
size_t iv_graph_find_value(const iv_graph *graph, const char *name);
size_t iv_graph_find_param(const iv_graph *graph, const char *name);

/* Lays the parameters out one behind the other from `base`, each at a multiple of 16 elements;
 * returns the end. */
size_t iv_graph_layout(iv_graph *graph, size_t base);
/* The same for what is trained alone, or the buffers alone: so the trained part of several graphs
 * is one run of elements. param_elements grows to the end where that is beyond it. */
size_t iv_graph_layout_part(iv_graph *graph, size_t base, bool buffers);

/* Merges each dense, conv or conv_transpose with the activation node behind it where nothing else
 * reads the value between them: one pass over memory less. The graph computes the same; the value
 * between is gone, so value indices change (look them up by name again). */
void iv_graph_fuse(iv_graph *graph);

/* The list of nodes as JSON, and back: [{"name", "kind", "inputs", "output" | "outputs",
 * "params": {role: name}, "attributes": {...}}]. Reading checks every name, shape and count. The
 * shapes of parameters come from `shape_of` (the tensors of the file). */
json_t *iv_graph_to_json(const iv_graph *graph);
/* The same nodes under the same names, with parameters of the same shapes. False also where memory
 * is short. */
bool iv_graph_same(const iv_graph *a, const iv_graph *b);
/* Without `shape_of` the list is a draft of a network to be: what parameters it needs follows from
 * the kinds ("bias": false leaves the optional one of that name out, "units" is the width of dense
 * and the channels of convolutions, "kernel" the latter's extent). */
isovae_status iv_graph_from_json(const json_t *nodes, const char *input,
                                 const iv_shape *input_shape, const char *const *outputs,
                                 size_t n_outputs, iv_param_shape_fn *shape_of, void *user,
                                 iv_graph **out, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
