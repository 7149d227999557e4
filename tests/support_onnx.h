/* For tests of the ONNX reader: models made through protobuf-c and packed into bytes. */
#ifndef SUPPORT_ONNX_H
#define SUPPORT_ONNX_H

#include "support_graph.h"

#include "onnx/onnx.h"

#include <math.h>
#include <onnx/onnx.pb-c.h>
#include <stdio.h>

enum { MAKER_MOST = 256 };

/* A model in the making; all that it points to lives in `blocks`. */
typedef struct maker {
    Onnx__ModelProto model;
    Onnx__GraphProto graph;
    Onnx__OperatorSetIdProto opset, *opsets[1];
    Onnx__NodeProto *nodes[MAKER_MOST];
    Onnx__TensorProto *tensors[MAKER_MOST];
    Onnx__ValueInfoProto *inputs[8], *outputs[8];
    void *blocks[8 * MAKER_MOST];
    size_t n_blocks;
} maker;

static inline void *maker_take(maker *m, size_t size)
{
    void *block = calloc(1, size);
    assert_non_null(block);
    assert_true(m->n_blocks < sizeof m->blocks / sizeof m->blocks[0]);
    return m->blocks[m->n_blocks++] = block;
}

static inline char *maker_text(maker *m, const char *text)
{
    char *copy = maker_take(m, strlen(text) + 1);
    memcpy(copy, text, strlen(text));
    return copy;
}

static inline void maker_open(maker *m, int64_t opset)
{
    memset(m, 0, sizeof *m);
    onnx__model_proto__init(&m->model);
    onnx__graph_proto__init(&m->graph);
    onnx__operator_set_id_proto__init(&m->opset);
    m->opset.has_version = true;
    m->opset.version = opset;
    m->opsets[0] = &m->opset;
    m->model.opset_import = m->opsets;
    m->model.n_opset_import = 1;
    m->model.graph = &m->graph;
    m->model.has_ir_version = true;
    m->model.ir_version = 8;
    m->graph.node = m->nodes;
    m->graph.initializer = m->tensors;
    m->graph.input = m->inputs;
    m->graph.output = m->outputs;
}

static inline void maker_close(maker *m)
{
    for (size_t i = 0; i < m->n_blocks; i++) free(m->blocks[i]);
}

/* A float tensor of those dims; 0 behind the last. */
static inline Onnx__ValueInfoProto *maker_info(maker *m, const char *name, const int64_t *dims,
                                               size_t n)
{
    Onnx__ValueInfoProto *info = maker_take(m, sizeof *info);
    Onnx__TypeProto *type = maker_take(m, sizeof *type);
    Onnx__TypeProto__Tensor *tensor = maker_take(m, sizeof *tensor);
    Onnx__TensorShapeProto *shape = maker_take(m, sizeof *shape);
    onnx__value_info_proto__init(info);
    onnx__type_proto__init(type);
    onnx__type_proto__tensor__init(tensor);
    onnx__tensor_shape_proto__init(shape);
    info->name = maker_text(m, name);
    info->type = type;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = tensor;
    tensor->has_elem_type = true;
    tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->shape = shape;
    shape->n_dim = n;
    shape->dim = maker_take(m, (n + 1) * sizeof *shape->dim);
    for (size_t i = 0; i < n; i++) {
        Onnx__TensorShapeProto__Dimension *dim = maker_take(m, sizeof *dim);
        onnx__tensor_shape_proto__dimension__init(dim);
        if (dims[i] > 0) {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            dim->dim_value = dims[i];
        } else {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            dim->dim_param = maker_text(m, "N");
        }
        shape->dim[i] = dim;
    }
    return info;
}

/* Extents from the first; 0: free (the batch). */
#define MAKER_INPUT(m, name, ...)                                                                  \
    do {                                                                                           \
        const int64_t maker_dims[] = {__VA_ARGS__};                                                \
        (m)->inputs[(m)->graph.n_input++] =                                                        \
            maker_info((m), (name), maker_dims, sizeof maker_dims / sizeof maker_dims[0]);         \
    } while (0)

static inline void maker_output(maker *m, const char *name)
{
    m->outputs[m->graph.n_output++] = maker_info(m, name, NULL, 0);
}

/* Names one after the other with blanks between them; "-" is an absent input. */
static inline char **maker_names(maker *m, const char *names, size_t *n)
{
    char **list = maker_take(m, 64 * sizeof *list);
    *n = 0;
    while (*names != '\0') {
        size_t length = strcspn(names, " ");
        char *name = maker_take(m, length + 1);
        memcpy(name, names, length);
        if (strcmp(name, "-") == 0) name[0] = '\0';
        list[(*n)++] = name;
        names += length + (names[length] == ' ');
    }
    return list;
}

static inline Onnx__NodeProto *maker_node(maker *m, const char *op, const char *inputs,
                                          const char *outputs)
{
    Onnx__NodeProto *node = maker_take(m, sizeof *node);
    char name[64];
    onnx__node_proto__init(node);
    node->op_type = maker_text(m, op);
    snprintf(name, sizeof name, "%s_%zu", op, m->graph.n_node);
    node->name = maker_text(m, name);
    node->input = maker_names(m, inputs, &node->n_input);
    node->output = maker_names(m, outputs, &node->n_output);
    node->attribute = maker_take(m, 8 * sizeof *node->attribute);
    assert_true(m->graph.n_node < MAKER_MOST);
    m->nodes[m->graph.n_node++] = node;
    return node;
}

static inline Onnx__AttributeProto *maker_attribute(maker *m, Onnx__NodeProto *node,
                                                    const char *name)
{
    Onnx__AttributeProto *a = maker_take(m, sizeof *a);
    onnx__attribute_proto__init(a);
    a->name = maker_text(m, name);
    node->attribute[node->n_attribute++] = a;
    return a;
}

static inline void maker_int(maker *m, Onnx__NodeProto *node, const char *name, int64_t value)
{
    Onnx__AttributeProto *a = maker_attribute(m, node, name);
    a->has_i = true;
    a->i = value;
}

static inline Onnx__TensorProto *maker_tensor(maker *m, const char *name, int32_t type, size_t n,
                                              const int64_t *dims)
{
    Onnx__TensorProto *t = maker_take(m, sizeof *t);
    onnx__tensor_proto__init(t);
    t->name = maker_text(m, name);
    t->has_data_type = true;
    t->data_type = type;
    t->n_dims = n;
    t->dims = maker_take(m, (n + 1) * sizeof *t->dims);
    for (size_t i = 0; i < n; i++) t->dims[i] = dims[i];
    m->tensors[m->graph.n_initializer++] = t;
    return t;
}

static inline void maker_raw(maker *m, Onnx__TensorProto *t, const void *data, size_t bytes)
{
    t->has_raw_data = true;
    t->raw_data.len = bytes;
    t->raw_data.data = maker_take(m, bytes + 1);
    memcpy(t->raw_data.data, data, bytes);
}

/* A list of integers as an initialiser. */
#define MAKER_INTS(m, name, ...)                                                                   \
    do {                                                                                           \
        const int64_t maker_values[] = {__VA_ARGS__};                                              \
        const int64_t maker_n = sizeof maker_values / sizeof maker_values[0];                      \
        Onnx__TensorProto *maker_t =                                                               \
            maker_tensor((m), (name), ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 1, &maker_n);          \
        maker_raw((m), maker_t, maker_values, sizeof maker_values);                                \
    } while (0)

/* Floats 1, 1 + step, ... of that shape. */
static inline void maker_floats(maker *m, const char *name, size_t n, const int64_t *dims,
                                float step)
{
    Onnx__TensorProto *t = maker_tensor(m, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, n, dims);
    size_t count = 1;
    for (size_t i = 0; i < n; i++) count *= (size_t)dims[i];
    float *values = maker_take(m, (count + 1) * sizeof *values);
    for (size_t i = 0; i < count; i++) values[i] = 1 + (float)i * step;
    maker_raw(m, t, values, count * sizeof *values);
}

/* *data is released with free. */
static inline size_t maker_pack(const maker *m, unsigned char **data)
{
    size_t n = onnx__model_proto__get_packed_size(&m->model);
    *data = calloc(1, n + 1);
    assert_non_null(*data);
    assert_int_equal(onnx__model_proto__pack(&m->model, *data), n);
    return n;
}

static inline isovae_status maker_load(const maker *m, const char *folder,
                                       const iv_onnx_options *options, iv_onnx_graph **out,
                                       isovae_error *err)
{
    unsigned char *data;
    size_t n = maker_pack(m, &data);
    isovae_status status = iv_onnx_load_memory(data, n, "made.onnx", folder, options, out, err);
    free(data);
    return status;
}

/* The same of a model that must load. */
static inline iv_onnx_graph *onnx_load(const maker *m, const iv_onnx_options *options)
{
    isovae_error err = {ISOVAE_OK, ""};
    iv_onnx_graph *onnx;
    if (maker_load(m, NULL, options, &onnx, &err) != ISOVAE_OK) fail_msg("%s", err.message);
    return onnx;
}

/* Outputs of one row, one behind the other, in f64; released with free. */
static inline double *onnx_forward(const iv_onnx_graph *onnx, const double *in)
{
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    const iv_exec_plan plan = {.rows = 1};
    net n = net_open(onnx->graph, k, &plan);
    size_t total = 0, at = 0;
    assert_int_equal(onnx->dtype, IV_F64);
    k->upload(n.params, onnx->params, onnx->graph->param_elements);
    iv_exec_prepare_all(n.exec, n.params);
    for (size_t i = 0; i < onnx->graph->n_inputs; i++) {
        size_t size = onnx->graph->values[onnx->graph->inputs[i]].size;
        k->upload(iv_exec_value(n.exec, onnx->graph->inputs[i]), in, size);
        in += size;
    }
    iv_exec_forward(n.exec, n.params, 0, 1, 0);
    for (size_t i = 0; i < onnx->graph->n_outputs; i++) {
        total += onnx->graph->values[onnx->graph->outputs[i]].size;
    }
    double *out = numbers(total);
    for (size_t i = 0; i < onnx->graph->n_outputs; i++) {
        size_t value = onnx->graph->outputs[i], size = onnx->graph->values[value].size;
        k->download(out + at, iv_exec_value(n.exec, value), size);
        at += size;
    }
    net_close(&n);
    return out;
}

/* The first n of them; tolerance: relative to 1 + |want|. */
static inline void onnx_assert_outputs(const iv_onnx_graph *onnx, const double *in,
                                       const double *want, size_t n, double tolerance)
{
    double *got = onnx_forward(onnx, in);
    for (size_t i = 0; i < n; i++) {
        if (!(fabs(got[i] - want[i]) <= tolerance * (1 + fabs(want[i])))) {
            fail_msg("element %zu is %g, not %g", i, got[i], want[i]);
        }
    }
    free(got);
}

#endif
