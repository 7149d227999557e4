/* From the file to the graph: its inputs, its batch, and what is wanted of it. */
#include "base/file.h"
#include "onnx/finish.h"
#include "onnx/scope.h"

#include <stdio.h>
#include <string.h>

enum { OPSET_LEAST = 7, OPSET_KNOWN = 21, OPSET_MOST = 25 };

/* ---- inputs and outputs ---- */

static const Onnx__TypeProto__Tensor *tensor_type(const Onnx__ValueInfoProto *info)
{
    const Onnx__TypeProto *type = info->type;
    return type != NULL && type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE
               ? type->tensor_type
               : NULL;
}

static const Onnx__ValueInfoProto *info_of(const Onnx__GraphProto *g, const char *name)
{
    for (size_t i = 0; i < g->n_input; i++) {
        if (g->input[i]->name != NULL && strcmp(g->input[i]->name, name) == 0) return g->input[i];
    }
    for (size_t i = 0; i < g->n_value_info; i++) {
        if (g->value_info[i]->name != NULL && strcmp(g->value_info[i]->name, name) == 0) {
            return g->value_info[i];
        }
    }
    return NULL;
}

static int64_t extent_of(const Onnx__TensorShapeProto__Dimension *dim)
{
    return dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE ? dim->dim_value
                                                                                   : 0;
}

/* The shape of a row as the file says it; false where it does not. */
static bool shape_in_file(const Onnx__ValueInfoProto *info, iv_shape *out)
{
    const Onnx__TypeProto__Tensor *type = info == NULL ? NULL : tensor_type(info);
    if (type == NULL || type->shape == NULL || type->shape->n_dim == 0 ||
        type->shape->n_dim > IV_MAX_RANK + 1) {
        return false;
    }
    *out = (iv_shape){.rank = type->shape->n_dim - 1};
    for (size_t i = 0; i < out->rank; i++) {
        int64_t extent = extent_of(type->shape->dim[i + 1]);
        if (extent <= 0) return false;
        out->dim[i] = (size_t)extent;
    }
    return true;
}

/* The batch that the file's own inputs are fixed to. */
static isovae_status find_batch(iv_onnx_context *c, const iv_onnx_scope *s)
{
    const Onnx__GraphProto *g = c->model->graph;
    bool free_batch = false;
    for (size_t i = 0; i < g->n_input; i++) {
        const char *name = g->input[i]->name;
        const iv_onnx_entry *e = name == NULL ? NULL : iv_onnx_place(s, name);
        if (e == NULL || e->name == NULL || e->state != IV_ONNX_INPUT) continue;
        const Onnx__TypeProto__Tensor *type = tensor_type(g->input[i]);
        if (type == NULL || type->shape == NULL || type->shape->n_dim == 0) continue;
        int64_t extent = extent_of(type->shape->dim[0]);
        if (extent <= 0) {
            free_batch = true;
        } else if (c->fixed != 0 && c->fixed != (size_t)extent) {
            return IV_ONNX_REFUSE(c,
                                  "its inputs have batches of %zu and %lld: axis 0 of each must be "
                                  "the batch",
                                  c->fixed, (long long)extent);
        } else if (extent <= INT32_MAX) {
            c->fixed = (size_t)extent;
        }
    }
    if (free_batch) c->fixed = 0;
    return ISOVAE_OK;
}

static isovae_status discover(iv_onnx_context *c, const char *name, iv_shape *out);

static isovae_status add_input(iv_onnx_context *c, iv_onnx_entry *e, const iv_onnx_cut *cut)
{
    const Onnx__ValueInfoProto *info = info_of(c->model->graph, e->name);
    const Onnx__TypeProto__Tensor *type = info == NULL ? NULL : tensor_type(info);
    iv_shape shape;
    if (cut != NULL && cut->known) {
        shape = cut->shape;
    } else if (!shape_in_file(info, &shape)) {
        if (e->state == IV_ONNX_INPUT && info != NULL && cut == NULL) {
            return IV_ONNX_REFUSE(
                c,
                "input '%.150s': the file leaves the extents of its axes open, or "
                "it has no batch axis; say what shape a row has",
                e->name);
        }
        IV_TRY(discover(c, e->name, &shape));
    }
    if (shape.rank > IV_MAX_RANK)
        return IV_ONNX_REFUSE(c, "input '%.150s' has too many axes", e->name);
    size_t value, size;
    if (!iv_shape_size(&shape, &size) || size > IV_ONNX_ROW_LIMIT) {
        return IV_ONNX_REFUSE(c, "input '%.150s' has too many elements", e->name);
    }
    char safe[256];
    snprintf(safe, sizeof safe, "%s", e->name);
    IV_TRY(iv_graph_input(c->graph, safe, &shape, &value, c->err));
    iv_onnx_dims dims = {.rank = shape.rank + 1, .dim = {1}, .batch = 0, .before = 1};
    for (size_t i = 0; i < shape.rank; i++) dims.dim[i + 1] = shape.dim[i];
    int32_t kind = type != NULL && type->has_elem_type ? type->elem_type
                                                       : ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    bool truth = kind == ONNX__TENSOR_PROTO__DATA_TYPE__BOOL;
    bool floats = kind == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT ||
                  kind == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE ||
                  kind == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16 ||
                  kind == ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16;
    if (!floats && !truth) {
        IV_TRY(iv_onnx_note(
            c, "input '%.150s' is of integers in the file; here it takes any number", e->name));
    }
    e->value = iv_onnx_made(value, truth ? IV_ONNX_BOOL : IV_ONNX_FLOAT, &dims);
    e->state = IV_ONNX_READY;
    return ISOVAE_OK;
}

static isovae_status set_inputs(iv_onnx_context *c, iv_onnx_scope *s, const char *const *outputs,
                                size_t n)
{
    const iv_onnx_options *o = c->options;
    const Onnx__GraphProto *g = c->model->graph;
    for (size_t i = 0; i < o->n_inputs; i++) {
        iv_onnx_entry *e = iv_onnx_place(s, o->inputs[i].name);
        if (e->name == NULL) {
            return IV_ONNX_FAIL(c, "there is no tensor '%.150s' to be an input", o->inputs[i].name);
        }
        if (e->state == IV_ONNX_MADE) e->state = IV_ONNX_INPUT;
    }
    IV_TRY(iv_onnx_mark(c, s, outputs, n));
    for (size_t i = 0; i < o->n_inputs; i++) {
        IV_TRY(add_input(c, iv_onnx_place(s, o->inputs[i].name), &o->inputs[i]));
    }
    for (size_t i = 0; i < g->n_input; i++) {
        iv_onnx_entry *e = g->input[i]->name == NULL ? NULL : iv_onnx_place(s, g->input[i]->name);
        if (e == NULL || e->name == NULL || e->state != IV_ONNX_INPUT) continue;
        if (o->n_inputs == 0) {
            if (e->needed || o->n_outputs == 0) IV_TRY(add_input(c, e, NULL));
        } else if (e->needed) {
            return IV_ONNX_FAIL(c,
                                "the outputs that are wanted depend on the input '%.150s' also, "
                                "which is not among those to be given",
                                e->name);
        }
    }
    return ISOVAE_OK;
}

static isovae_status opset_check(iv_onnx_context *c, int64_t *opset)
{
    *opset = iv_onnx_opset_of(c->model->opset_import, c->model->n_opset_import, "");
    if (*opset == 0) *opset = 1; /* as the format says of files without one */
    if (*opset < OPSET_LEAST || *opset > OPSET_MOST) {
        return iv_fail(c->err, ISOVAE_ERR_VERSION,
                       "it is of opset %lld; %d to %d can be read: export it again with one of "
                       "these",
                       (long long)*opset, OPSET_LEAST, OPSET_MOST);
    }
    if (*opset <= OPSET_KNOWN) return ISOVAE_OK;
    return iv_onnx_note(c, "opset %lld is newer than those that were checked (up to %d)",
                        (long long)*opset, OPSET_KNOWN);
}

/* Reads what the outputs need; their values in *out. */
static isovae_status read_graph(iv_onnx_context *c, const char *const *outputs, size_t n,
                                iv_onnx_value *out, int64_t *opset)
{
    const Onnx__GraphProto *g = c->model->graph;
    iv_onnx_scope s = {0};
    IV_TRY(opset_check(c, opset));
    s.opset = *opset;
    if (g->n_sparse_initializer > 0) {
        return IV_ONNX_REFUSE(c, "it has sparse initialisers, which are not supported");
    }
    IV_TRY(iv_graph_new(&c->graph, c->err));
    IV_TRY(iv_onnx_scope_open(c, &s, g->node, g->n_node, g->initializer, g->n_initializer,
                              g->n_input));
    for (size_t i = 0; i < g->n_input; i++) {
        const char *name = g->input[i]->name;
        if (name == NULL) continue;
        iv_onnx_entry *e = iv_onnx_place(&s, name);
        if (e->name == NULL) IV_TRY(iv_onnx_declare(c, &s, name, IV_ONNX_INPUT, i));
    }
    IV_TRY(find_batch(c, &s));
    IV_TRY(set_inputs(c, &s, outputs, n));
    for (size_t i = 0; i < n; i++) {
        const iv_onnx_entry *e = iv_onnx_place(&s, outputs[i]);
        if (e->name == NULL) {
            return IV_ONNX_FAIL(c, "there is no tensor '%.150s' to be an output", outputs[i]);
        }
    }
    IV_TRY(iv_onnx_run_nodes(c, &s, 0));
    for (size_t i = 0; i < n; i++) {
        const iv_onnx_value *v;
        IV_TRY(iv_onnx_look_up(c, &s, outputs[i], &v));
        out[i] = *v;
    }
    return ISOVAE_OK;
}

static void open_context(iv_onnx_context *c, const iv_onnx_options *options, isovae_error *err)
{
    *c = (iv_onnx_context){
        .options = options,
        .err = err,
        .memory_limit = options->memory_limit != 0 ? options->memory_limit : (size_t)8 << 30,
        .work_limit = options->work_limit != 0 ? options->work_limit : (size_t)1 << 33};
}

/* The shape of a tensor inside, from a reading up to it. */
static isovae_status discover(iv_onnx_context *c, const char *name, iv_shape *out)
{
    iv_onnx_options options = *c->options;
    iv_onnx_context inner;
    iv_onnx_value v;
    int64_t opset;
    const char *outputs[] = {name};
    options.n_inputs = 0;
    options.n_outputs = 1;
    options.outputs[0] = name;
    options.random_as_mean = true;
    open_context(&inner, &options, c->err);
    inner.model = c->model;
    inner.folder = c->folder;
    isovae_status status = read_graph(&inner, outputs, 1, &v, &opset);
    if (status == ISOVAE_OK && (v.dims.batch != 0 || v.dims.dim[0] != 1)) {
        status = IV_ONNX_REFUSE(c, "its batch is not alone on axis 0; give the shape of a row");
    }
    if (status == ISOVAE_OK) status = iv_onnx_row_shape(c, &v.dims, out);
    if (status != ISOVAE_OK) {
        iv_fail_prefix(c->err, status, "finding the shape of '%.150s'", name);
    }
    iv_onnx_context_free(&inner);
    return status;
}

static isovae_status load_model(iv_onnx_context *c, iv_onnx_graph **out)
{
    const iv_onnx_options *o = c->options;
    const Onnx__GraphProto *g = c->model->graph;
    const char *outputs[IV_MAX_PORTS];
    iv_onnx_value values[IV_MAX_PORTS];
    size_t n = o->n_outputs != 0 ? o->n_outputs : g->n_output;
    int64_t opset;
    if (n == 0 || n > IV_MAX_PORTS || o->n_inputs > IV_MAX_PORTS) {
        return IV_ONNX_REFUSE(c, "it has %zu outputs; name 1 to %d of them", n, IV_MAX_PORTS);
    }
    for (size_t i = 0; i < n; i++) {
        outputs[i] = o->n_outputs != 0 ? o->outputs[i] : g->output[i]->name;
        if (outputs[i] == NULL || outputs[i][0] == '\0') {
            return IV_ONNX_FAIL(c, "an output has no name");
        }
    }
    IV_TRY(read_graph(c, outputs, n, values, &opset));
    return iv_onnx_finish(c, outputs, n, values, opset, out);
}

isovae_status iv_onnx_load_memory(const void *data, size_t length, const char *name,
                                  const char *folder, const iv_onnx_options *options,
                                  iv_onnx_graph **out, isovae_error *err)
{
    iv_onnx_file file;
    iv_onnx_context c;
    *out = NULL;
    IV_TRY(iv_onnx_unpack(data, length, name, &file, err));
    open_context(&c, options, err);
    c.folder = folder;
    c.model = file.model;
    isovae_status status = load_model(&c, out);
    if (status != ISOVAE_OK) iv_fail_prefix(err, status, "%s", name);
    iv_onnx_context_free(&c);
    iv_onnx_file_close(&file);
    return status;
}

isovae_status iv_onnx_load(const char *path, const iv_onnx_options *options, iv_onnx_graph **out,
                           isovae_error *err)
{
    unsigned char *data;
    size_t length, limit = options->file_limit != 0 ? options->file_limit : (size_t)1 << 31;
    char *folder;
    iv_onnx_file file;
    iv_onnx_context c;
    *out = NULL;
    IV_TRY(iv_file_read(path, limit, &data, &length, err));
    isovae_status status = iv_onnx_unpack(data, length, path, &file, err);
    iv_free(data);
    if (status != ISOVAE_OK) return status;
    const char *slash = strrchr(path, '/');
    size_t n = slash == NULL ? 0 : (size_t)(slash - path);
    status = slash == NULL ? iv_strdup(&folder, ".", err)
                           : iv_strndup(&folder, path, n == 0 ? 1 : n, err);
    if (status == ISOVAE_OK) {
        open_context(&c, options, err);
        c.folder = folder;
        c.model = file.model;
        status = load_model(&c, out);
        if (status != ISOVAE_OK) iv_fail_prefix(err, status, "%s", path);
        iv_onnx_context_free(&c);
        iv_free(folder);
    }
    iv_onnx_file_close(&file);
    return status;
}
