#include "onnx/writer.h"

#include "base/file.h"
#include "base/memory.h"

#include <onnx/onnx.pb-c.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are stored little-endian");

enum { IR_VERSION = 8, MOST_INPUTS = 16, NAME = 600 };

typedef struct block {
    struct block *next;
    _Alignas(16) unsigned char bytes[];
} block;

typedef struct list { /* a growing array of pointers */
    void **at;
    size_t n, room;
} list;

struct iv_writer {
    block *blocks;
    isovae_status status;
    isovae_error error;
    list nodes, tensors, inputs, outputs, metadata, attributes; /* those of the last node */
    Onnx__NodeProto *last;
    const char *scope;
    size_t serial;
};

isovae_status iv_writer_new(iv_writer **out, isovae_error *err)
{
    IV_TRY(IV_NEW(*out, 1, "an ONNX file", err));
    (*out)->scope = "";
    return ISOVAE_OK;
}

void iv_writer_free(iv_writer *w)
{
    if (w == NULL) return;
    for (block *b = w->blocks; b != NULL;) {
        block *next = b->next;
        iv_free(b);
        b = next;
    }
    iv_free(w);
}

void iv_writer_fail(iv_writer *w, isovae_status status, const char *format, ...)
{
    char text[400];
    va_list arguments;
    if (w->status != ISOVAE_OK) return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    w->status = iv_fail(&w->error, status, "%s", text);
}

bool iv_writer_ok(const iv_writer *w)
{
    return w->status == ISOVAE_OK;
}

isovae_status iv_writer_status(const iv_writer *w)
{
    return w->status;
}

void iv_writer_scope(iv_writer *w, const char *scope)
{
    w->scope = scope;
}

/* ---- memory ---- */

static void *take(iv_writer *w, size_t count, size_t size)
{
    void *memory = NULL;
    size_t bytes;
    if (w->status != ISOVAE_OK) return NULL;
    if (!iv_size_mul(count, size, &bytes) || !iv_size_add(bytes, sizeof(block) + 1, &bytes)) {
        iv_writer_fail(w, ISOVAE_ERR_MEMORY, "a tensor of %zu elements is too large", count);
        return NULL;
    }
    w->status = iv_alloc(&memory, bytes, 1, "an ONNX file", &w->error);
    if (w->status != ISOVAE_OK) return NULL;
    block *b = memory;
    b->next = w->blocks;
    w->blocks = b;
    return b->bytes;
}

static char *copy_text(iv_writer *w, const char *text)
{
    size_t length = strlen(text);
    char *copy = take(w, length + 1, 1);
    if (copy != NULL) memcpy(copy, text, length + 1);
    return copy;
}

static void add(iv_writer *w, list *l, void *item)
{
    if (item == NULL) return;
    if (l->n == l->room) {
        size_t room = l->room == 0 ? 16 : 2 * l->room;
        void **at = take(w, room, sizeof *at);
        if (at == NULL) return;
        if (l->n > 0) memcpy(at, l->at, l->n * sizeof *at);
        l->at = at;
        l->room = room;
    }
    l->at[l->n++] = item;
}

/* A message of its type's initial state. */
#define MESSAGE(w, pointer, init)                                                                  \
    do {                                                                                           \
        (pointer) = take((w), 1, sizeof *(pointer));                                               \
        if ((pointer) != NULL) init(pointer);                                                      \
    } while (0)

static char *fresh_name(iv_writer *w, const char *what)
{
    char name[NAME];
    snprintf(name, sizeof name, "%.300s%.200s.%zu", w->scope, what, ++w->serial);
    return copy_text(w, name);
}

/* ---- values ---- */

static Onnx__ValueInfoProto *describe(iv_writer *w, const char *name, const iv_shape *shape,
                                      const char *says)
{
    Onnx__ValueInfoProto *value;
    Onnx__TypeProto *type;
    Onnx__TypeProto__Tensor *tensor;
    Onnx__TensorShapeProto *axes;
    MESSAGE(w, value, onnx__value_info_proto__init);
    MESSAGE(w, type, onnx__type_proto__init);
    MESSAGE(w, tensor, onnx__type_proto__tensor__init);
    MESSAGE(w, axes, onnx__tensor_shape_proto__init);
    /* NOLINTNEXTLINE(bugprone-sizeof-expression): of pointers */
    Onnx__TensorShapeProto__Dimension **dims = take(w, 1 + shape->rank, sizeof *dims);
    for (size_t i = 0; i <= shape->rank && w->status == ISOVAE_OK; i++) {
        MESSAGE(w, dims[i], onnx__tensor_shape_proto__dimension__init);
        if (dims[i] == NULL) return NULL;
        dims[i]->value_case = i == 0 ? ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM
                                     : ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        if (i == 0)
            dims[i]->dim_param = copy_text(w, "rows");
        else
            dims[i]->dim_value = (int64_t)shape->dim[i - 1];
    }
    char *own = copy_text(w, name), *doc = says != NULL ? copy_text(w, says) : NULL;
    if (w->status != ISOVAE_OK) return NULL;
    axes->n_dim = 1 + shape->rank;
    axes->dim = dims;
    tensor->has_elem_type = 1;
    tensor->elem_type = IV_TENSOR_FLOAT;
    tensor->shape = axes;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = tensor;
    value->name = own;
    value->type = type;
    value->doc_string = doc;
    return value;
}

const char *iv_writer_input(iv_writer *w, const char *name, const iv_shape *shape)
{
    Onnx__ValueInfoProto *value = describe(w, name, shape, NULL);
    add(w, &w->inputs, value);
    return w->status == ISOVAE_OK ? value->name : "";
}

/* A tensor that some operator gives, and that is no output yet, is renamed. */
static bool rename_tensor(iv_writer *w, const char *tensor, const char *name)
{
    bool made = false;
    for (size_t i = 0; i < w->outputs.n; i++)
        if (strcmp(((Onnx__ValueInfoProto *)w->outputs.at[i])->name, tensor) == 0) return false;
    for (size_t i = 0; i < w->nodes.n; i++) {
        Onnx__NodeProto *node = w->nodes.at[i];
        for (size_t k = 0; k < node->n_output; k++)
            made = made || strcmp(node->output[k], tensor) == 0;
    }
    if (!made) return false;
    char *own = copy_text(w, name);
    char *old = copy_text(w, tensor);
    for (size_t i = 0; own != NULL && old != NULL && i < w->nodes.n; i++) {
        Onnx__NodeProto *node = w->nodes.at[i];
        for (size_t k = 0; k < node->n_output; k++)
            if (strcmp(node->output[k], old) == 0) node->output[k] = own;
        for (size_t k = 0; k < node->n_input; k++)
            if (strcmp(node->input[k], old) == 0) node->input[k] = own;
    }
    return true;
}

void iv_writer_output(iv_writer *w, const char *name, const char *tensor, const iv_shape *shape,
                      const char *says)
{
    if (w->status != ISOVAE_OK) return;
    if (!rename_tensor(w, tensor, name)) {
        (void)iv_writer_op(w, "Identity", tensor, NULL);
        if (w->status == ISOVAE_OK) w->last->output[0] = copy_text(w, name);
    }
    add(w, &w->outputs, describe(w, name, shape, says));
}

void iv_writer_metadata(iv_writer *w, const char *key, const char *value)
{
    Onnx__StringStringEntryProto *entry;
    MESSAGE(w, entry, onnx__string_string_entry_proto__init);
    char *own_key = copy_text(w, key), *own_value = copy_text(w, value);
    if (w->status != ISOVAE_OK) return;
    entry->key = own_key;
    entry->value = own_value;
    add(w, &w->metadata, entry);
}

/* ---- operators ---- */

void iv_writer_ops(iv_writer *w, const char *op, size_t n_in, const char *const *in, size_t n_out,
                   const char **out)
{
    Onnx__NodeProto *node;
    for (size_t i = 0; i < n_out; i++) out[i] = "";
    MESSAGE(w, node, onnx__node_proto__init);
    char **input = take(w, n_in + 1, sizeof *input), **output = take(w, n_out, sizeof *output);
    char *type = copy_text(w, op), *name = fresh_name(w, op);
    if (w->status != ISOVAE_OK) return;
    for (size_t i = 0; i < n_in; i++) input[i] = copy_text(w, in[i]);
    for (size_t i = 0; i < n_out; i++) output[i] = i == 0 ? name : fresh_name(w, op);
    if (w->status != ISOVAE_OK) return;
    node->op_type = type;
    node->name = name;
    node->n_input = n_in;
    node->input = input;
    node->n_output = n_out;
    node->output = output;
    w->last = node;
    w->attributes = (list){0};
    add(w, &w->nodes, node);
    for (size_t i = 0; i < n_out && w->status == ISOVAE_OK; i++) out[i] = output[i];
}

const char *iv_writer_op(iv_writer *w, const char *op, ...)
{
    const char *in[MOST_INPUTS], *out;
    size_t n = 0;
    va_list arguments;
    va_start(arguments, op);
    for (const char *name; n < MOST_INPUTS && (name = va_arg(arguments, const char *)) != NULL;)
        in[n++] = name;
    va_end(arguments);
    iv_writer_ops(w, op, n, in, 1, &out);
    return out;
}

static Onnx__AttributeProto *attribute(iv_writer *w, const char *name, int type)
{
    Onnx__AttributeProto *a;
    MESSAGE(w, a, onnx__attribute_proto__init);
    char *own = copy_text(w, name);
    if (w->status != ISOVAE_OK) return NULL;
    a->name = own;
    a->has_type = 1;
    a->type = (Onnx__AttributeProto__AttributeType)type;
    add(w, &w->attributes, a);
    w->last->attribute = (Onnx__AttributeProto **)w->attributes.at;
    w->last->n_attribute = w->attributes.n;
    return a;
}

void iv_writer_int(iv_writer *w, const char *name, int64_t value)
{
    Onnx__AttributeProto *a = attribute(w, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    if (a == NULL) return;
    a->has_i = 1;
    a->i = value;
}

void iv_writer_ints(iv_writer *w, const char *name, size_t n, const int64_t *values)
{
    int64_t *copy = take(w, n, sizeof *copy);
    Onnx__AttributeProto *a = attribute(w, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    if (a == NULL) return;
    if (n > 0) memcpy(copy, values, n * sizeof *copy);
    a->n_ints = n;
    a->ints = copy;
}

void iv_writer_float(iv_writer *w, const char *name, double value)
{
    Onnx__AttributeProto *a = attribute(w, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    if (a == NULL) return;
    a->has_f = 1;
    a->f = (float)value;
}

void iv_writer_text(iv_writer *w, const char *name, const char *value)
{
    char *copy = copy_text(w, value);
    Onnx__AttributeProto *a = attribute(w, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
    if (a == NULL) return;
    a->has_s = 1;
    a->s = (ProtobufCBinaryData){.len = strlen(value), .data = (uint8_t *)copy};
}

/* ---- constants ---- */

static const char *constant(iv_writer *w, const char *name, iv_tensor_type type,
                            const iv_shape *shape, const void *bytes, size_t length)
{
    Onnx__TensorProto *t;
    MESSAGE(w, t, onnx__tensor_proto__init);
    int64_t *dims = take(w, shape->rank + 1, sizeof *dims);
    char *own = name != NULL ? copy_text(w, name) : fresh_name(w, "const");
    if (w->status != ISOVAE_OK) return "";
    for (size_t i = 0; i < shape->rank; i++) dims[i] = (int64_t)shape->dim[i];
    t->n_dims = shape->rank;
    t->dims = dims;
    t->has_data_type = 1;
    t->data_type = (int32_t)type;
    t->name = own;
    t->has_raw_data = 1;
    t->raw_data = (ProtobufCBinaryData){.len = length, .data = (uint8_t *)bytes};
    add(w, &w->tensors, t);
    return w->status == ISOVAE_OK ? own : "";
}

static size_t elements(iv_writer *w, const iv_shape *shape)
{
    size_t size = 0;
    if (!iv_shape_size(shape, &size)) iv_writer_fail(w, ISOVAE_ERR_MEMORY, "a tensor is too large");
    return size;
}

const char *iv_writer_tensor(iv_writer *w, const char *name, const iv_shape *shape,
                             const double *values)
{
    size_t n = elements(w, shape);
    float *copy = take(w, n, sizeof *copy);
    if (copy == NULL) return "";
    for (size_t i = 0; i < n; i++) copy[i] = (float)values[i];
    return constant(w, name, IV_TENSOR_FLOAT, shape, copy, n * sizeof *copy);
}

const char *iv_writer_tensor_f64(iv_writer *w, const iv_shape *shape, const double *values)
{
    size_t n = elements(w, shape);
    double *copy = take(w, n, sizeof *copy);
    if (copy == NULL) return "";
    memcpy(copy, values, n * sizeof *copy);
    return constant(w, NULL, IV_TENSOR_DOUBLE, shape, copy, n * sizeof *copy);
}

const char *iv_writer_number(iv_writer *w, double value)
{
    return iv_writer_tensor(w, NULL, &(iv_shape){0}, &value);
}

const char *iv_writer_number_f64(iv_writer *w, double value)
{
    return iv_writer_tensor_f64(w, &(iv_shape){0}, &value);
}

const char *iv_writer_whole(iv_writer *w, size_t n, const int64_t *values)
{
    int64_t *copy = take(w, n, sizeof *copy);
    if (copy == NULL) return "";
    if (n > 0) memcpy(copy, values, n * sizeof *copy);
    return constant(w, NULL, IV_TENSOR_INT64, &(iv_shape){1, {n}}, copy, n * sizeof *copy);
}

const char *iv_writer_flags(iv_writer *w, const iv_shape *shape, const bool *values)
{
    size_t n = elements(w, shape);
    uint8_t *copy = take(w, n, 1);
    if (copy == NULL) return "";
    for (size_t i = 0; i < n; i++) copy[i] = values[i] ? 1 : 0;
    return constant(w, NULL, IV_TENSOR_BOOL, shape, copy, n);
}

/* ---- the commonest ---- */

const char *iv_writer_cast(iv_writer *w, const char *tensor, iv_tensor_type to)
{
    const char *out = iv_writer_op(w, "Cast", tensor, NULL);
    iv_writer_int(w, "to", to);
    return out;
}

const char *iv_writer_reshape(iv_writer *w, const char *tensor, int64_t lead, size_t second,
                              const iv_shape *row)
{
    int64_t dims[2 + IV_MAX_RANK] = {lead};
    size_t n = 1;
    if (second > 0) dims[n++] = (int64_t)second;
    for (size_t i = 0; i < row->rank; i++) dims[n++] = (int64_t)row->dim[i];
    return iv_writer_op(w, "Reshape", tensor, iv_writer_whole(w, n, dims), NULL);
}

const char *iv_writer_unsqueeze(iv_writer *w, const char *tensor, int64_t axis)
{
    return iv_writer_op(w, "Unsqueeze", tensor, iv_writer_whole(w, 1, &axis), NULL);
}

const char *iv_writer_sum(iv_writer *w, const char *tensor, size_t n, const int64_t *axes)
{
    const char *out = iv_writer_op(w, "ReduceSum", tensor, iv_writer_whole(w, n, axes), NULL);
    iv_writer_int(w, "keepdims", 0);
    return out;
}

/* ---- the file ---- */

static isovae_status pack(iv_writer *w, const char *path, isovae_error *err)
{
    Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
    Onnx__GraphProto graph = ONNX__GRAPH_PROTO__INIT;
    Onnx__OperatorSetIdProto opset = ONNX__OPERATOR_SET_ID_PROTO__INIT;
    Onnx__OperatorSetIdProto *opsets[1] = {&opset};
    char producer[] = "isovae", version[] = ISOVAE_VERSION, name[] = "isovae", domain[] = "";
    unsigned char *bytes;
    opset.domain = domain;
    opset.has_version = 1;
    opset.version = IV_ONNX_OPSET;
    graph.name = name;
    graph.n_node = w->nodes.n;
    graph.node = (Onnx__NodeProto **)w->nodes.at;
    graph.n_initializer = w->tensors.n;
    graph.initializer = (Onnx__TensorProto **)w->tensors.at;
    graph.n_input = w->inputs.n;
    graph.input = (Onnx__ValueInfoProto **)w->inputs.at;
    graph.n_output = w->outputs.n;
    graph.output = (Onnx__ValueInfoProto **)w->outputs.at;
    model.has_ir_version = 1;
    model.ir_version = IR_VERSION;
    model.n_opset_import = 1;
    model.opset_import = opsets;
    model.producer_name = producer;
    model.producer_version = version;
    model.graph = &graph;
    model.n_metadata_props = w->metadata.n;
    model.metadata_props = (Onnx__StringStringEntryProto **)w->metadata.at;
    size_t length = onnx__model_proto__get_packed_size(&model);
    if (length > INT32_MAX)
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                       "%s: would have %zu bytes, and an ONNX file holds at most 2 GiB", path,
                       length);
    IV_TRY(IV_NEW(bytes, length, "an ONNX file", err));
    (void)onnx__model_proto__pack(&model, bytes);
    isovae_status status = iv_file_write(path, bytes, length, err);
    iv_free(bytes);
    return status;
}

isovae_status iv_writer_save(iv_writer *w, const char *path, isovae_error *err)
{
    if (w->status != ISOVAE_OK) {
        if (err != NULL) *err = w->error;
        return w->status;
    }
    return pack(w, path, err);
}
