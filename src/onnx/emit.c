/* Nodes of the graph, with names taken from the file and their parameters set aside. */
#include "onnx/loader.h"

#include "graph/node.h"

#include <stdio.h>
#include <string.h>

enum { NAME = 160 };

/* Printable, short enough to have something put behind it. */
static void clean(const char *name, char out[NAME])
{
    size_t n = 0;
    for (; name[n] != '\0' && n < NAME - 1; n++) {
        unsigned char byte = (unsigned char)name[n];
        out[n] = (char)(byte < 0x20 || byte == 0x7f ? '_' : byte);
    }
    out[n] = '\0';
}

static void numbered(iv_onnx_context *c, const char *base, char out[NAME + 32])
{
    char text[NAME];
    clean(base, text);
    snprintf(out, NAME + 32, "%s#%zu", text, ++c->serial);
}

static bool shape_of(void *user, const char *name, iv_shape *out)
{
    const iv_onnx_context *c = user;
    for (size_t i = c->n_params; i-- > 0;) {
        if (strcmp(c->params[i].name, name) != 0) continue;
        *out = c->params[i].shape;
        return true;
    }
    return false;
}

isovae_status iv_onnx_emit(iv_onnx_context *c, const iv_onnx_emission *e, size_t *outputs)
{
    char node_name[NAME + 32], values[IV_MAX_PORTS][NAME + 32], params[IV_MAX_ROLES][NAME + 64];
    const Onnx__NodeProto *proto = c->node == NULL ? NULL : c->node->proto;
    const char *base =
        proto == NULL || proto->name == NULL || proto->name[0] == '\0' ? e->kind : proto->name;
    const char *made = proto == NULL || proto->n_output == 0 || proto->output[0][0] == '\0'
                           ? base
                           : proto->output[0];
    const iv_node_kind *kind = iv_node_kind_find(e->kind);
    if (kind == NULL) {
        return iv_fail(c->err, ISOVAE_ERR_INTERNAL, "no node kind '%s'", e->kind);
    }
    numbered(c, base, node_name);
    iv_node_spec spec = {.kind = e->kind,
                         .name = node_name,
                         .n_inputs = e->n_inputs,
                         .n_outputs = e->n_outputs,
                         .attributes = e->attributes};
    for (size_t i = 0; i < e->n_inputs; i++) spec.inputs[i] = e->inputs[i];
    for (size_t i = 0; i < e->n_outputs; i++) {
        numbered(c, made, values[i]);
        spec.outputs[i] = values[i];
    }
    for (size_t i = 0; i < IV_MAX_ROLES && kind->roles[i] != NULL; i++) {
        spec.params[i] = "";
        if (e->params[i].data == NULL) continue;
        snprintf(params[i], sizeof params[i], "%s.%s", node_name, kind->roles[i]);
        IV_TRY(iv_onnx_add_param(c, params[i], &e->params[i].shape, e->params[i].data));
        spec.params[i] = params[i];
    }
    return iv_graph_add(c->graph, kind, &spec, shape_of, c, outputs, c->err);
}

isovae_status iv_onnx_rows(iv_onnx_context *c, const iv_onnx_value *v, const iv_shape *shape,
                           size_t *out)
{
    *out = v->value;
    if (iv_shape_equal(&c->graph->values[v->value].shape, shape)) return ISOVAE_OK;
    /* what was reshaped before: the value that was, or one that was made of it already */
    size_t source = v->value;
    for (size_t i = 0; i < c->graph->n_nodes; i++) {
        const iv_node *node = &c->graph->nodes[i];
        if (strcmp(node->kind->name, "reshape") != 0) continue;
        if (node->outputs[0] == v->value) {
            source = node->inputs[0];
            if (iv_shape_equal(&c->graph->values[source].shape, shape)) {
                *out = source;
                return ISOVAE_OK;
            }
        }
        if (node->inputs[0] == v->value &&
            iv_shape_equal(&c->graph->values[node->outputs[0]].shape, shape)) {
            *out = node->outputs[0];
            return ISOVAE_OK;
        }
    }
    iv_onnx_emission e = {.kind = "reshape",
                          .n_inputs = 1,
                          .n_outputs = 1,
                          .inputs = {source},
                          .attributes = {.shape = *shape}};
    return iv_onnx_emit(c, &e, out);
}

isovae_status iv_onnx_as_is(iv_onnx_context *c, const iv_onnx_value *v, size_t *out)
{
    iv_shape shape;
    IV_TRY(iv_onnx_row_shape(c, &v->dims, &shape));
    return iv_onnx_rows(c, v, &shape, out);
}

iv_onnx_value iv_onnx_made(size_t value, iv_onnx_type type, const iv_onnx_dims *dims)
{
    return (iv_onnx_value){.live = true, .type = type, .dims = *dims, .value = value};
}

/* Nothing taken of an input, filled with zeros, and the constant added. */
isovae_status iv_onnx_enliven(iv_onnx_context *c, const iv_onnx_value *v, iv_onnx_value *out)
{
    if (v->live) {
        *out = *v;
        return ISOVAE_OK;
    }
    iv_onnx_dims dims = v->dims;
    if (dims.batch == IV_ONNX_NO_BATCH) { /* a batch in front of it */
        if (dims.rank == IV_ONNX_RANK) {
            return IV_ONNX_REFUSE(c, "a constant of %d axes cannot take a batch", IV_ONNX_RANK);
        }
        dims = iv_onnx_widened(&dims, dims.rank + 1);
        dims.batch = 0;
        dims.before = 1;
    }
    const double *data;
    size_t n, value;
    int32_t *map;
    IV_TRY(iv_onnx_numbers(c, v, &data, &n));
    iv_shape shape;
    IV_TRY(iv_onnx_row_shape(c, &dims, &shape));
    if (shape.rank == 0) shape = (iv_shape){1, {1}};
    if (n > IV_MAP_LIMIT) {
        return IV_ONNX_REFUSE(c, "a constant of %zu elements where data are expected is too large",
                              n);
    }
    if (c->graph->n_inputs == 0) return IV_ONNX_REFUSE(c, "nothing here depends on an input");
    IV_TRY(IV_ONNX_NEW(c, map, n));
    for (size_t i = 0; i < n; i++) map[i] = -1;
    iv_onnx_emission none = {.kind = "take",
                             .n_inputs = 1,
                             .n_outputs = 1,
                             .inputs = {c->graph->inputs[0]},
                             .attributes = {.shape = shape, .map = map, .n_map = n}};
    IV_TRY(iv_onnx_emit(c, &none, &value));
    iv_onnx_emission add = {.kind = "add", .n_inputs = 1, .n_outputs = 1, .inputs = {value}};
    add.params[0].shape = shape;
    add.params[0].data = data;
    IV_TRY(iv_onnx_emit(c, &add, &value));
    *out = iv_onnx_made(value, v->type == IV_ONNX_BOOL ? IV_ONNX_BOOL : IV_ONNX_FLOAT, &dims);
    return ISOVAE_OK;
}
