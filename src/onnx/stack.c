#include "onnx/stack.h"

#include "base/memory.h"
#include "graph/node.h"
#include "model/safetensors.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { NAME = 300 };

isovae_status iv_stack_node(iv_stack *s, const char *kind, size_t input,
                            const iv_attributes *attributes, const char *output, size_t *out)
{
    char name[NAME], value[NAME + 8];
    snprintf(name, sizeof name, "%sisovae.%s%zu", s->prefix, kind, ++s->serial);
    snprintf(value, sizeof value, "%s.out", name);
    iv_node_spec spec = {.kind = kind,
                         .name = name,
                         .n_inputs = 1,
                         .inputs = {input},
                         .n_outputs = 1,
                         .outputs = {output != NULL ? output : value}};
    if (attributes != NULL) spec.attributes = *attributes;
    for (size_t i = 0; i < IV_MAX_ROLES; i++) spec.params[i] = "";
    return iv_graph_node(s->graph, &spec, out, s->err);
}

/* What a node gives that is no output yet: two outputs may be one tensor of the file. */
static bool may_rename(const iv_graph *graph, size_t value)
{
    for (size_t i = 0; i < graph->n_inputs; i++)
        if (graph->inputs[i] == value) return false;
    for (size_t i = 0; i < graph->n_outputs; i++)
        if (graph->outputs[i] == value) return false;
    return true;
}

static isovae_status rename_value(iv_stack *s, size_t value, const char *name)
{
    char *own;
    IV_TRY(iv_strdup(&own, name, s->err));
    iv_free(s->graph->values[value].name);
    s->graph->values[value].name = own;
    return ISOVAE_OK;
}

isovae_status iv_stack_shape(iv_stack *s, size_t input, const iv_shape *shape, const char *name,
                             size_t *out)
{
    *out = input;
    if (iv_shape_equal(&s->graph->values[input].shape, shape)) {
        if (name == NULL) return ISOVAE_OK;
        if (may_rename(s->graph, input)) return rename_value(s, input, name);
    }
    iv_attributes attributes = {.shape = *shape};
    return iv_stack_node(s, "reshape", input, &attributes, name, out);
}

typedef struct source {
    const iv_graph *graph;
    const char *prefix;
} source;

static bool shape_of(void *user, const char *name, iv_shape *out)
{
    const source *from = user;
    size_t skip = strlen(from->prefix), param = SIZE_MAX;
    if (strncmp(name, from->prefix, skip) == 0)
        param = iv_graph_find_param(from->graph, name + skip);
    if (param == SIZE_MAX) return false;
    *out = from->graph->params[param].shape;
    return true;
}

static const iv_node *maker_of(const iv_graph *graph, size_t value)
{
    for (size_t i = graph->n_nodes; i-- > 0;) {
        for (size_t k = 0; k < graph->nodes[i].n_outputs; k++)
            if (graph->nodes[i].outputs[k] == value) return &graph->nodes[i];
    }
    return NULL;
}

static size_t readers_of(const iv_graph *graph, size_t value)
{
    size_t n = 0;
    for (size_t i = 0; i < graph->n_nodes; i++)
        for (size_t k = 0; k < graph->nodes[i].n_inputs; k++)
            n += graph->nodes[i].inputs[k] == value;
    return n;
}

/* The node whose sigmoid is the last thing that happens to output 0, or NULL. */
static const iv_node *last_sigmoid(const iv_graph *graph)
{
    size_t value = graph->outputs[0];
    for (size_t steps = 0; steps <= graph->n_nodes; steps++) {
        const iv_node *node = maker_of(graph, value);
        if (node == NULL || readers_of(graph, value) > (value == graph->outputs[0] ? 0 : 1))
            return NULL;
        const char *kind = node->kind->name;
        if (strcmp(kind, "sigmoid") == 0) return node;
        bool fuses = (node->kind->flags & IV_NODE_FUSES) != 0;
        if (fuses && node->attributes.act == IV_ACT_SIGMOID) return node;
        if (strcmp(kind, "reshape") != 0 && strcmp(kind, "flatten") != 0 &&
            strcmp(kind, "transpose") != 0)
            return NULL;
        value = node->inputs[0];
    }
    return NULL;
}

static isovae_status add(iv_stack *s, const iv_graph *from, size_t place, bool without_act,
                         size_t *map)
{
    const iv_node *node = &from->nodes[place];
    char name[NAME], values[IV_MAX_PORTS][NAME], params[IV_MAX_ROLES][NAME];
    source where = {.graph = from, .prefix = s->prefix};
    size_t outputs[IV_MAX_PORTS];
    snprintf(name, sizeof name, "%s%.250s", s->prefix, node->name);
    iv_node_spec spec = {.kind = node->kind->name,
                         .name = name,
                         .n_inputs = node->n_inputs,
                         .n_outputs = node->n_outputs,
                         .attributes = node->attributes};
    if (without_act) spec.attributes.act = IV_ACT_NONE;
    for (size_t i = 0; i < node->n_inputs; i++) spec.inputs[i] = map[node->inputs[i]];
    for (size_t i = 0; i < node->n_outputs; i++) {
        snprintf(values[i], NAME, "%s%.250s", s->prefix, from->values[node->outputs[i]].name);
        spec.outputs[i] = values[i];
    }
    for (size_t i = 0; i < IV_MAX_ROLES; i++) {
        spec.params[i] = "";
        if (i >= node->n_params || node->params[i] == SIZE_MAX) continue;
        snprintf(params[i], NAME, "%s%.250s", s->prefix, from->params[node->params[i]].name);
        spec.params[i] = params[i];
    }
    IV_TRY(iv_graph_node_shaped(s->graph, &spec, shape_of, &where, outputs, s->err));
    for (size_t i = 0; i < node->n_outputs; i++) map[node->outputs[i]] = outputs[i];
    return ISOVAE_OK;
}

isovae_status iv_stack_network(iv_stack *s, const iv_onnx_graph *network, size_t input, bool cut,
                               bool *was_cut, size_t *outputs)
{
    const iv_graph *from = network->graph;
    const iv_node *sigmoid = cut ? last_sigmoid(from) : NULL;
    size_t *map, taken;
    *was_cut = sigmoid != NULL;
    if (from->n_inputs != 1)
        return iv_fail(s->err, ISOVAE_ERR_UNSUPPORTED,
                       "a network with one input is wanted, this one has %zu", from->n_inputs);
    IV_TRY(IV_NEW(map, from->n_values, "values of a network", s->err));
    isovae_status status =
        iv_stack_shape(s, input, &from->values[from->inputs[0]].shape, NULL, &taken);
    map[from->inputs[0]] = taken;
    for (size_t i = 0; status == ISOVAE_OK && from->nodes != NULL && i < from->n_nodes; i++) {
        const iv_node *node = &from->nodes[i];
        bool alone = sigmoid != NULL && node == sigmoid && strcmp(node->kind->name, "sigmoid") == 0;
        if (alone)
            map[sigmoid->outputs[0]] = map[sigmoid->inputs[0]];
        else
            status = add(s, from, i, node == sigmoid, map);
    }
    for (size_t i = 0; status == ISOVAE_OK && i < from->n_outputs; i++)
        outputs[i] = map[from->outputs[i]];
    iv_free(map);
    return status;
}

void iv_stack_params(const iv_graph *graph, const char *prefix, const iv_onnx_graph *network,
                     void *params)
{
    size_t skip = strlen(prefix), element = iv_dtype_size(network->dtype);
    for (size_t i = 0; i < graph->n_params; i++) {
        const iv_param *to = &graph->params[i];
        if (strncmp(to->name, prefix, skip) != 0) continue;
        size_t at = iv_graph_find_param(network->graph, to->name + skip);
        if (at == SIZE_MAX) continue;
        const iv_param *from = &network->graph->params[at];
        memcpy((char *)params + to->offset * element,
               (const char *)network->params + from->offset * element, to->size * element);
    }
}
