/* Building a graph: everything is checked before anything is added, so that a refused node leaves
 * the graph as it was. */
#include "graph/graph.h"

#include "base/memory.h"
#include "graph/node.h"

#include <stdint.h>
#include <string.h>

/* Names are looked up by going through the list; the limit keeps a hostile file from making that
 * slow. Known networks have a few hundred nodes. */
enum { MAX_NODES = 4096, MAX_NAME = 255, PARAM_ALIGNMENT = 16 };

isovae_status iv_graph_new(iv_graph **out, isovae_error *err)
{
    return IV_NEW(*out, 1, "a graph", err);
}

static void free_node(iv_node *node)
{
    iv_free(node->name);
    iv_free((void *)(uintptr_t)node->attributes.map);
}

void iv_graph_free(iv_graph *graph)
{
    if (graph == NULL) return;
    for (size_t i = 0; i < graph->n_nodes; i++) free_node(&graph->nodes[i]);
    for (size_t i = 0; i < graph->n_values; i++) iv_free(graph->values[i].name);
    for (size_t i = 0; i < graph->n_params; i++) iv_free(graph->params[i].name);
    iv_free(graph->nodes);
    iv_free(graph->values);
    iv_free(graph->params);
    iv_free(graph);
}

size_t iv_graph_find_value(const iv_graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->n_values; i++) {
        if (strcmp(graph->values[i].name, name) == 0) return i;
    }
    return SIZE_MAX;
}

size_t iv_graph_find_param(const iv_graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->n_params; i++) {
        if (strcmp(graph->params[i].name, name) == 0) return i;
    }
    return SIZE_MAX;
}

isovae_status iv_graph_check_name(const char *what, const char *name, isovae_error *err)
{
    if (name == NULL || name[0] == '\0') {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "a %s of the graph has no name", what);
    }
    size_t length = strlen(name);
    if (length > MAX_NAME) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "the %s name '%.40s...' has %zu bytes; %d are the most", what, name, length,
                       MAX_NAME);
    }
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "a %s name holds the control character %d at byte %zu", what,
                           (unsigned char)name[i], i);
        }
    }
    return ISOVAE_OK;
}

/* Room of a list of n: powers of two, so that it follows from n alone. */
static size_t capacity_of(size_t n)
{
    size_t capacity = n == 0 ? 0 : 8;
    while (capacity < n) capacity *= 2;
    return capacity;
}

static isovae_status reserve(void **list, size_t n, size_t more, size_t size, const char *what,
                             isovae_error *err)
{
    size_t wanted = capacity_of(n + more);
    if (wanted == capacity_of(n)) return ISOVAE_OK;
    void *grown;
    IV_TRY(iv_alloc(&grown, wanted, size, what, err));
    if (n > 0) memcpy(grown, *list, n * size);
    iv_free(*list);
    *list = grown;
    return ISOVAE_OK;
}

/* Dims at least 1, the product representable. */
static isovae_status check_shape(const char *what, const char *name, const iv_shape *shape,
                                 size_t *size, isovae_error *err)
{
    char text[IV_SHAPE_TEXT];
    if (shape->rank > IV_MAX_RANK) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "%s '%s' has %zu axes; %d are the most", what, name,
                       shape->rank, IV_MAX_RANK);
    }
    for (size_t i = 0; i < shape->rank; i++) {
        if (shape->dim[i] == 0) {
            return iv_fail(err, ISOVAE_ERR_FORMAT, "%s '%s' is empty: its shape is %s", what, name,
                           iv_shape_text(shape, text));
        }
    }
    /* An eighth of the address space for one row or parameter leaves room for bytes and padding. */
    if (!iv_shape_size(shape, size) || *size > PTRDIFF_MAX / 64) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "%s '%s' is too large: its shape is %s", what, name,
                       iv_shape_text(shape, text));
    }
    return ISOVAE_OK;
}

isovae_status iv_graph_input(iv_graph *graph, const char *name, const iv_shape *shape,
                             size_t *value, isovae_error *err)
{
    size_t size;
    IV_TRY(iv_graph_check_name("value", name, err));
    IV_TRY(check_shape("input", name, shape, &size, err));
    if (graph->n_inputs == IV_MAX_PORTS) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "input '%s' is one too many: a graph has at most %d",
                       name, IV_MAX_PORTS);
    }
    if (iv_graph_find_value(graph, name) != SIZE_MAX) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "input '%s': there is a value of that name already",
                       name);
    }
    IV_TRY(reserve((void **)&graph->values, graph->n_values, 1, sizeof *graph->values,
                   "values of a graph", err));
    char *copy;
    IV_TRY(iv_strdup(&copy, name, err));
    graph->values[graph->n_values] = (iv_value){.name = copy, .shape = *shape, .size = size};
    graph->inputs[graph->n_inputs++] = graph->n_values;
    if (value != NULL) *value = graph->n_values;
    graph->n_values++;
    return ISOVAE_OK;
}

isovae_status iv_graph_output(iv_graph *graph, size_t value, isovae_error *err)
{
    if (value >= graph->n_values) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "output %zu of the graph is none of its %zu values",
                       value, graph->n_values);
    }
    if (graph->n_outputs == IV_MAX_PORTS) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "output '%s' is one too many: a graph has at most %d",
                       graph->values[value].name, IV_MAX_PORTS);
    }
    for (size_t i = 0; i < graph->n_outputs; i++) {
        if (graph->outputs[i] == value) {
            return iv_fail(err, ISOVAE_ERR_FORMAT, "output '%s' is named twice",
                           graph->values[value].name);
        }
    }
    graph->outputs[graph->n_outputs++] = value;
    return ISOVAE_OK;
}

/* What a node brings with it, complete before the graph is touched. */
typedef struct addition {
    const iv_node_spec *spec;
    const iv_node_kind *kind;
    iv_attributes attributes;
    iv_node_shapes shapes;
    size_t n_roles;
    char names[IV_MAX_ROLES][2 * MAX_NAME]; /* of its parameters */
    size_t params[IV_MAX_ROLES];            /* existing ones, SIZE_MAX: new or absent */
    size_t n_new;
    size_t param_sizes[IV_MAX_ROLES], output_sizes[IV_MAX_PORTS];
} addition;

static isovae_status check_ports(const iv_graph *graph, const iv_node_kind *kind,
                                 const iv_node_spec *spec, isovae_error *err)
{
    IV_TRY(iv_graph_check_name("node", spec->name, err));
    if (graph->n_nodes >= MAX_NODES) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s' is one too many: a graph has at most %d",
                       spec->name, MAX_NODES);
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        if (strcmp(graph->nodes[i].name, spec->name) == 0) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': there is a node of that name already", spec->name);
        }
    }
    if (spec->n_inputs < kind->min_inputs || spec->n_inputs > kind->max_inputs) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': %s takes %zu to %zu inputs, not %zu",
                       spec->name, kind->name, kind->min_inputs, kind->max_inputs, spec->n_inputs);
    }
    if (spec->n_outputs < kind->min_outputs || spec->n_outputs > kind->max_outputs) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': %s has %zu to %zu outputs, not %zu",
                       spec->name, kind->name, kind->min_outputs, kind->max_outputs,
                       spec->n_outputs);
    }
    for (size_t i = 0; i < spec->n_inputs; i++) {
        if (spec->inputs[i] >= graph->n_values) {
            return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': input %zu is no value of the graph",
                           spec->name, i);
        }
    }
    for (size_t i = 0; i < spec->n_outputs; i++) {
        IV_TRY(iv_graph_check_name("value", spec->outputs[i], err));
        bool taken = iv_graph_find_value(graph, spec->outputs[i]) != SIZE_MAX;
        for (size_t j = 0; j < i; j++) {
            if (strcmp(spec->outputs[i], spec->outputs[j]) == 0) taken = true;
        }
        if (taken) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': there is a value '%s' already; each value is made once",
                           spec->name, spec->outputs[i]);
        }
    }
    return ISOVAE_OK;
}

static isovae_status find_params(const iv_graph *graph, iv_param_shape_fn *shape_of, void *user,
                                 addition *add, isovae_error *err)
{
    const iv_node_spec *spec = add->spec;
    for (size_t i = 0; i < add->n_roles; i++) {
        const char *role = add->kind->roles[i];
        char *name = add->names[i];
        add->params[i] = SIZE_MAX;
        if (spec->params[i] == NULL && add->kind->operands > 0 &&
            (add->kind->buffer[i] || spec->n_inputs >= add->kind->operands)) {
            continue;
        }
        if (spec->params[i] == NULL) {
            size_t at = strlen(spec->name);
            if (at + 1 + strlen(role) > MAX_NAME) {
                return iv_fail(err, ISOVAE_ERR_FORMAT,
                               "node '%s': the name is too long to name its '%s' after it",
                               spec->name, role);
            }
            memcpy(name, spec->name, at);
            name[at] = '.';
            memcpy(name + at + 1, role, strlen(role) + 1);
        } else if (spec->params[i][0] == '\0') {
            if (!add->kind->optional[i]) {
                return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': %s needs the parameter '%s'",
                               spec->name, add->kind->name, role);
            }
            continue;
        } else {
            IV_TRY(iv_graph_check_name("parameter", spec->params[i], err));
            memcpy(name, spec->params[i], strlen(spec->params[i]) + 1);
        }
        for (size_t j = 0; j < i; j++) {
            if (add->shapes.present[j] && strcmp(name, add->names[j]) == 0) {
                return iv_fail(err, ISOVAE_ERR_FORMAT,
                               "node '%s': parameter '%s' stands for both '%s' and '%s'",
                               spec->name, name, add->kind->roles[j], role);
            }
        }
        add->shapes.present[i] = true;
        add->params[i] = iv_graph_find_param(graph, name);
        if (add->params[i] != SIZE_MAX) {
            const iv_param *shared = &graph->params[add->params[i]];
            if (shared->buffer != add->kind->buffer[i] ||
                shared->parametrization != add->kind->parametrization[i]) {
                return iv_fail(err, ISOVAE_ERR_FORMAT,
                               "node '%s': its '%s' cannot share the parameter '%s', which is used "
                               "in another way elsewhere",
                               spec->name, role, name);
            }
            add->shapes.known[i] = true;
            add->shapes.params[i] = graph->params[add->params[i]].shape;
        } else {
            add->n_new++;
            if (shape_of != NULL) {
                if (!shape_of(user, name, &add->shapes.params[i])) {
                    return iv_fail(err, ISOVAE_ERR_FORMAT,
                                   "node '%s': there is no tensor '%s' for its '%s'", spec->name,
                                   name, role);
                }
                size_t size;
                IV_TRY(check_shape("tensor", name, &add->shapes.params[i], &size, err));
                add->shapes.known[i] = true;
            }
        }
    }
    return ISOVAE_OK;
}

/* Runs the kind's rule and holds what it wants against what is there. */
static isovae_status infer_shapes(const iv_graph *graph, addition *add, isovae_error *err)
{
    const iv_node_spec *spec = add->spec;
    iv_node_shapes *shapes = &add->shapes;
    iv_shape given[IV_MAX_ROLES];
    memcpy(given, shapes->params, sizeof given);
    for (size_t i = 0; i < spec->n_inputs; i++) {
        shapes->inputs[i] = &graph->values[spec->inputs[i]].shape;
    }
    IV_TRY(add->kind->shape(shapes, err));
    for (size_t i = 0; i < add->n_roles; i++) {
        if (!shapes->present[i]) continue;
        if (shapes->known[i] && !iv_shape_equal(&given[i], &shapes->params[i])) {
            char a[IV_SHAPE_TEXT], b[IV_SHAPE_TEXT];
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': its %s '%s' is %s, but must be %s to fit the rest",
                           spec->name, add->kind->roles[i], add->names[i],
                           iv_shape_text(&given[i], a), iv_shape_text(&shapes->params[i], b));
        }
        IV_TRY(
            check_shape("parameter", add->names[i], &shapes->params[i], &add->param_sizes[i], err));
    }
    for (size_t i = 0; i < spec->n_outputs; i++) {
        IV_TRY(check_shape("value", spec->outputs[i], &shapes->outputs[i], &add->output_sizes[i],
                           err));
    }
    return ISOVAE_OK;
}

static size_t round_up(size_t n)
{
    return (n + PARAM_ALIGNMENT - 1) / PARAM_ALIGNMENT * PARAM_ALIGNMENT;
}

/* Copies of the names that the graph will own, and of the map of a take. */
typedef struct names {
    char *node, *outputs[IV_MAX_PORTS], *params[IV_MAX_ROLES];
    int32_t *map;
} names;

/* Cannot fail: names are copied and room is there. */
static void commit(iv_graph *graph, const addition *add, const names *own, size_t *outputs)
{
    const iv_node_spec *spec = add->spec;
    iv_node *node = &graph->nodes[graph->n_nodes++];
    *node = (iv_node){.name = own->node,
                      .kind = add->kind,
                      .n_inputs = spec->n_inputs,
                      .n_outputs = spec->n_outputs,
                      .n_params = add->n_roles,
                      .attributes = add->attributes};
    node->attributes.map = own->map;
    for (size_t i = 0; i < spec->n_inputs; i++) node->inputs[i] = spec->inputs[i];
    for (size_t i = 0; i < spec->n_outputs; i++) {
        graph->values[graph->n_values] = (iv_value){
            .name = own->outputs[i], .shape = add->shapes.outputs[i], .size = add->output_sizes[i]};
        node->outputs[i] = graph->n_values++;
        if (outputs != NULL) outputs[i] = node->outputs[i];
    }
    for (size_t i = 0; i < IV_MAX_ROLES; i++) node->params[i] = SIZE_MAX;
    for (size_t i = 0; i < add->n_roles; i++) {
        node->params[i] = add->params[i];
        if (!add->shapes.present[i] || add->params[i] != SIZE_MAX) continue;
        graph->params[graph->n_params] =
            (iv_param){.name = own->params[i],
                       .shape = add->shapes.params[i],
                       .size = add->param_sizes[i],
                       .offset = graph->param_elements,
                       .parametrization = add->kind->parametrization[i],
                       .buffer = add->kind->buffer[i],
                       .not_negative = add->kind->not_negative[i]};
        graph->param_elements += round_up(add->param_sizes[i]);
        node->params[i] = graph->n_params++;
    }
}

/* The part that needs memory: room in the lists, and copies of the names. */
static isovae_status copy_names(iv_graph *graph, const addition *add, names *own, isovae_error *err)
{
    const iv_node_spec *spec = add->spec;
    IV_TRY(reserve((void **)&graph->nodes, graph->n_nodes, 1, sizeof *graph->nodes,
                   "nodes of a graph", err));
    IV_TRY(reserve((void **)&graph->values, graph->n_values, spec->n_outputs, sizeof *graph->values,
                   "values of a graph", err));
    IV_TRY(reserve((void **)&graph->params, graph->n_params, add->n_new, sizeof *graph->params,
                   "parameters of a graph", err));
    IV_TRY(iv_strdup(&own->node, spec->name, err));
    if (add->attributes.n_map > 0) {
        IV_TRY(IV_NEW(own->map, add->attributes.n_map, "the map of a node", err));
        memcpy(own->map, add->attributes.map, add->attributes.n_map * sizeof *own->map);
    }
    for (size_t i = 0; i < spec->n_outputs; i++) {
        IV_TRY(iv_strdup(&own->outputs[i], spec->outputs[i], err));
    }
    for (size_t i = 0; i < add->n_roles; i++) {
        if (add->shapes.present[i] && add->params[i] == SIZE_MAX) {
            IV_TRY(iv_strdup(&own->params[i], add->names[i], err));
        }
    }
    return ISOVAE_OK;
}

isovae_status iv_graph_add(iv_graph *graph, const iv_node_kind *kind, const iv_node_spec *spec,
                           iv_param_shape_fn *shape_of, void *user, size_t *outputs,
                           isovae_error *err)
{
    addition add = {.spec = spec, .kind = kind, .attributes = spec->attributes};
    add.shapes = (iv_node_shapes){.name = spec->name,
                                  .n_inputs = spec->n_inputs,
                                  .n_outputs = spec->n_outputs,
                                  .attributes = &add.attributes,
                                  .units = spec->units};
    if (kind->act != IV_ACT_NONE) add.attributes.act = kind->act;
    if (kind->shape != iv_take_shape) { /* nobody else keeps one */
        add.attributes.map = NULL;
        add.attributes.n_map = 0;
    }
    while (add.n_roles < IV_MAX_ROLES && kind->roles[add.n_roles] != NULL) add.n_roles++;
    IV_TRY(check_ports(graph, kind, spec, err));
    IV_TRY(find_params(graph, shape_of, user, &add, err));
    IV_TRY(infer_shapes(graph, &add, err));
    size_t total = graph->param_elements;
    for (size_t i = 0; i < add.n_roles; i++) {
        if (add.shapes.present[i] && add.params[i] == SIZE_MAX &&
            (!iv_size_add(total, round_up(add.param_sizes[i]), &total) ||
             total > PTRDIFF_MAX / 64)) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': with its parameters the graph has too many to address",
                           spec->name);
        }
    }
    names own = {0};
    isovae_status status = copy_names(graph, &add, &own, err);
    if (status != ISOVAE_OK) {
        iv_free(own.node);
        iv_free(own.map);
        for (size_t i = 0; i < IV_MAX_PORTS; i++) iv_free(own.outputs[i]);
        for (size_t i = 0; i < IV_MAX_ROLES; i++) iv_free(own.params[i]);
        return status;
    }
    commit(graph, &add, &own, outputs);
    return ISOVAE_OK;
}

isovae_status iv_graph_node(iv_graph *graph, const iv_node_spec *spec, size_t *outputs,
                            isovae_error *err)
{
    return iv_graph_node_shaped(graph, spec, NULL, NULL, outputs, err);
}

isovae_status iv_graph_node_shaped(iv_graph *graph, const iv_node_spec *spec,
                                   iv_param_shape_fn *shape_of, void *user, size_t *outputs,
                                   isovae_error *err)
{
    const iv_node_kind *kind = iv_node_kind_find(spec->kind == NULL ? "" : spec->kind);
    if (kind == NULL) {
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED, "node '%s': the kind '%s' is not known",
                       spec->name == NULL ? "" : spec->name, spec->kind == NULL ? "" : spec->kind);
    }
    iv_node_spec filled = *spec;
    iv_act act = kind->act == IV_ACT_NONE ? spec->attributes.act : kind->act;
    if (filled.attributes.parameter == 0 && act < IV_ACT_COUNT) {
        filled.attributes.parameter = iv_act_default_parameter(act);
    }
    return iv_graph_add(graph, kind, &filled, shape_of, user, outputs, err);
}

size_t iv_graph_layout(iv_graph *graph, size_t base)
{
    graph->param_elements = 0;
    return iv_graph_layout_part(graph, iv_graph_layout_part(graph, base, false), true);
}

size_t iv_graph_layout_part(iv_graph *graph, size_t base, bool buffers)
{
    size_t at = round_up(base);
    for (size_t i = 0; i < graph->n_params; i++) {
        if (graph->params[i].buffer != buffers) continue;
        graph->params[i].offset = at;
        at += round_up(graph->params[i].size);
    }
    if (at > graph->param_elements) graph->param_elements = at;
    return at;
}

size_t iv_graph_only_reader(const iv_graph *graph, size_t value)
{
    size_t reader = SIZE_MAX;
    for (size_t i = 0; i < graph->n_outputs; i++) {
        if (graph->outputs[i] == value) return SIZE_MAX;
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        for (size_t j = 0; j < graph->nodes[i].n_inputs; j++) {
            if (graph->nodes[i].inputs[j] != value) continue;
            if (reader != SIZE_MAX) return SIZE_MAX;
            reader = i;
        }
    }
    return reader;
}

static void renumber(size_t *indices, size_t n, size_t removed)
{
    for (size_t i = 0; i < n; i++) {
        if (indices[i] > removed) indices[i]--;
    }
}

static void remove_value(iv_graph *graph, size_t value)
{
    iv_free(graph->values[value].name);
    memmove(&graph->values[value], &graph->values[value + 1],
            (graph->n_values - value - 1) * sizeof *graph->values);
    graph->n_values--;
    renumber(graph->inputs, graph->n_inputs, value);
    renumber(graph->outputs, graph->n_outputs, value);
    for (size_t i = 0; i < graph->n_nodes; i++) {
        renumber(graph->nodes[i].inputs, graph->nodes[i].n_inputs, value);
        renumber(graph->nodes[i].outputs, graph->nodes[i].n_outputs, value);
    }
}

void iv_graph_absorb(iv_graph *graph, size_t node, size_t reader)
{
    size_t between = graph->nodes[node].outputs[0];
    graph->nodes[node].outputs[0] = graph->nodes[reader].outputs[0];
    free_node(&graph->nodes[reader]);
    memmove(&graph->nodes[reader], &graph->nodes[reader + 1],
            (graph->n_nodes - reader - 1) * sizeof *graph->nodes);
    graph->n_nodes--;
    remove_value(graph, between);
}

void iv_graph_fuse(iv_graph *graph)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        iv_node *node = &graph->nodes[i];
        if (!(node->kind->flags & IV_NODE_FUSES) || node->attributes.act != IV_ACT_NONE) continue;
        size_t j = iv_graph_only_reader(graph, node->outputs[0]);
        if (j == SIZE_MAX || graph->nodes[j].kind->act == IV_ACT_NONE) continue;
        node->attributes.act = graph->nodes[j].attributes.act;
        node->attributes.parameter = graph->nodes[j].attributes.parameter;
        iv_graph_absorb(graph, i, j);
    }
}
