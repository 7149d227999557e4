/* A graph as a list of nodes in JSON, and back. The list may come from anywhere: every name, count
 * and shape is checked, and messages name the node. */
#include "graph/graph.h"

#include "base/memory.h"
#include "graph/node.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Writing. jansson's *_new calls take over what they are given, NULL included, and then fail. */

static json_t *sizes_to_json(const size_t *sizes, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < n; i++) {
        if (json_array_append_new(list, json_integer((json_int_t)sizes[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

static json_t *map_to_json(const int32_t *map, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < n; i++) {
        if (json_array_append_new(list, json_integer(map[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

/* Where the numbers of a convolution's attribute lie, how many there are, and the least one. */
typedef struct conv_numbers {
    size_t *values, n, least;
    bool always; /* written even where it is the least */
} conv_numbers;

static conv_numbers conv_numbers_of(iv_attributes *attributes, iv_attribute_type type)
{
    iv_conv_attributes *conv = &attributes->conv;
    switch (type) {
    case IV_ATTRIBUTE_STRIDE: return (conv_numbers){conv->stride, 2, 1, false};
    case IV_ATTRIBUTE_DILATION: return (conv_numbers){conv->dilation, 2, 1, false};
    case IV_ATTRIBUTE_PADS: return (conv_numbers){conv->pads, 4, 0, false};
    case IV_ATTRIBUTE_OUTPUT_PADDING: return (conv_numbers){conv->output_padding, 2, 0, false};
    case IV_ATTRIBUTE_GROUPS: return (conv_numbers){&conv->groups, 1, 1, false};
    case IV_ATTRIBUTE_KERNEL: return (conv_numbers){conv->kernel, 2, 1, true};
    case IV_ATTRIBUTE_COUNT_INCLUDE_PAD:
        return (conv_numbers){&attributes->count_include_pad, 1, 0, false};
    case IV_ATTRIBUTE_SCALE: return (conv_numbers){attributes->scale, 2, 1, true};
    case IV_ATTRIBUTE_FACTOR: return (conv_numbers){attributes->scale, 1, 1, true};
    case IV_ATTRIBUTE_CONSTANT_FIRST:
        return (conv_numbers){&attributes->constant_first, 1, 0, false};
    case IV_ATTRIBUTE_KEEPDIMS: return (conv_numbers){&attributes->keepdims, 1, 0, false};
    default: return (conv_numbers){NULL, 0, 0, false};
    }
}

static json_t *attribute_to_json(const iv_attributes *attributes, iv_attribute_type type)
{
    iv_attributes copy = *attributes;
    conv_numbers numbers = conv_numbers_of(&copy, type);
    if (numbers.n == 1) return json_integer((json_int_t)numbers.values[0]);
    if (numbers.n > 1) return sizes_to_json(numbers.values, numbers.n);
    switch (type) {
    case IV_ATTRIBUTE_ACT: return json_string(iv_act_name(attributes->act));
    case IV_ATTRIBUTE_PARAMETER: return json_real(attributes->parameter);
    case IV_ATTRIBUTE_AXIS: return json_integer((json_int_t)attributes->axis);
    case IV_ATTRIBUTE_SIZES: return sizes_to_json(attributes->sizes, attributes->n_sizes);
    case IV_ATTRIBUTE_SHAPE: return sizes_to_json(attributes->shape.dim, attributes->shape.rank);
    case IV_ATTRIBUTE_EPS: return json_real(attributes->eps);
    case IV_ATTRIBUTE_FIRST: return json_real(attributes->number[0]);
    case IV_ATTRIBUTE_SECOND: return json_real(attributes->number[1]);
    case IV_ATTRIBUTE_REDUCTION: return json_string(iv_reduce_name(attributes->reduction));
    case IV_ATTRIBUTE_MAP: return map_to_json(attributes->map, attributes->n_map);
    default: break;
    }
    return NULL;
}

/* Has this activation a parameter? */
static bool has_parameter(iv_act act)
{
    return act == IV_ACT_LEAKY_RELU || act == IV_ACT_ELU;
}

/* What says nothing is left out: no activation, the parameter of one that has none, and the
 * defaults of convolutions. */
static bool says_nothing(const iv_attributes *attributes, iv_attribute_type type)
{
    iv_attributes copy = *attributes;
    conv_numbers numbers = conv_numbers_of(&copy, type);
    for (size_t i = 0; i < numbers.n; i++) {
        if (numbers.values[i] != numbers.least) return false;
    }
    if (numbers.n > 0) return !numbers.always;
    if (type == IV_ATTRIBUTE_ACT) return attributes->act == IV_ACT_NONE;
    if (type == IV_ATTRIBUTE_FIRST) return !attributes->given[0];
    if (type == IV_ATTRIBUTE_SECOND) return !attributes->given[1];
    if (type == IV_ATTRIBUTE_AXIS) return attributes->axis == 0;
    if (type == IV_ATTRIBUTE_SIZES) return attributes->n_sizes == 0;
    if (type == IV_ATTRIBUTE_SHAPE) return attributes->shape.rank == 0;
    return type == IV_ATTRIBUTE_PARAMETER && !has_parameter(attributes->act);
}

static bool set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static bool put_attributes(json_t *object, const iv_node *node)
{
    json_t *map = json_object();
    if (map == NULL) return false;
    for (size_t i = 0; i < IV_MAX_ATTRIBUTES; i++) {
        const iv_attribute *attribute = &node->kind->attributes[i];
        if (attribute->type == IV_ATTRIBUTE_END) break;
        if (says_nothing(&node->attributes, attribute->type)) continue;
        if (!set(map, attribute->name, attribute_to_json(&node->attributes, attribute->type))) {
            json_decref(map);
            return false;
        }
    }
    if (json_object_size(map) > 0) return set(object, "attributes", map);
    json_decref(map);
    return true;
}

static bool put_params(json_t *object, const iv_graph *graph, const iv_node *node)
{
    json_t *map = json_object();
    if (map == NULL) return false;
    for (size_t i = 0; i < node->n_params; i++) {
        if (node->params[i] == SIZE_MAX) continue;
        if (!set(map, node->kind->roles[i], json_string(graph->params[node->params[i]].name))) {
            json_decref(map);
            return false;
        }
    }
    if (json_object_size(map) > 0) return set(object, "params", map);
    json_decref(map);
    return true;
}

/* {role: name} of the parameters whose tensors hold raw values. */
static bool put_parametrization(json_t *object, const iv_node *node)
{
    json_t *map = json_object();
    if (map == NULL) return false;
    for (size_t i = 0; i < node->n_params; i++) {
        iv_parametrization p = node->kind->parametrization[i];
        if (p == IV_PARAM_PLAIN || node->params[i] == SIZE_MAX) continue;
        if (!set(map, node->kind->roles[i], json_string(iv_parametrization_name(p)))) {
            json_decref(map);
            return false;
        }
    }
    if (json_object_size(map) > 0) return set(object, "parametrization", map);
    json_decref(map);
    return true;
}

static json_t *names_to_json(const iv_graph *graph, const size_t *values, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < n; i++) {
        if (json_array_append_new(list, json_string(graph->values[values[i]].name)) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

static bool put_node(json_t *object, const iv_graph *graph, const iv_node *node)
{
    if (!set(object, "name", json_string(node->name)) ||
        !set(object, "kind", json_string(node->kind->name)) ||
        !set(object, "inputs", names_to_json(graph, node->inputs, node->n_inputs))) {
        return false;
    }
    bool done = node->n_outputs == 1
                    ? set(object, "output", json_string(graph->values[node->outputs[0]].name))
                    : set(object, "outputs", names_to_json(graph, node->outputs, node->n_outputs));
    return done && put_params(object, graph, node) && put_parametrization(object, node) &&
           put_attributes(object, node);
}

json_t *iv_graph_to_json(const iv_graph *graph)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < graph->n_nodes; i++) {
        json_t *object = json_object();
        if (object == NULL || !put_node(object, graph, &graph->nodes[i]) ||
            json_array_append(list, object) != 0) {
            json_decref(list);
            list = NULL;
        }
        json_decref(object);
    }
    return list;
}

/* Reading. */

enum { MOST_UNITS = 1 << 20 };

typedef struct reader {
    const json_t *nodes;
    size_t index;     /* of the node at hand */
    const char *name; /* its name, for messages */
    iv_param_shape_fn *shape_of;
    void *user;
    iv_graph *graph;
    int32_t *map; /* of the node at hand */
} reader;

/* A string without NUL bytes inside, or NULL. */
static const char *plain_string(const json_t *value)
{
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value)) {
        return NULL;
    }
    return json_string_value(value);
}

static isovae_status read_sizes(const reader *r, const char *key, const json_t *value, size_t most,
                                size_t *sizes, size_t *n, isovae_error *err)
{
    if (!json_is_array(value) || json_array_size(value) == 0 || json_array_size(value) > most) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': attribute '%s' must be a list of 1 to %zu integers", r->name,
                       key, most);
    }
    *n = json_array_size(value);
    for (size_t i = 0; i < *n; i++) {
        const json_t *item = json_array_get(value, i);
        if (!json_is_integer(item) || json_integer_value(item) < 1) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': attribute '%s' must hold positive integers", r->name, key);
        }
        sizes[i] = (size_t)json_integer_value(item);
    }
    return ISOVAE_OK;
}

/* A list of n integers, or one integer that stands for all of them. */
static isovae_status read_conv_numbers(const reader *r, const char *key, const json_t *value,
                                       const conv_numbers *out, isovae_error *err)
{
    if (!json_is_integer(value) &&
        (out->n == 1 || !json_is_array(value) || json_array_size(value) != out->n)) {
        if (out->n == 1) {
            return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': attribute '%s' must be an integer",
                           r->name, key);
        }
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': attribute '%s' must be an integer or a list of %zu integers",
                       r->name, key, out->n);
    }
    for (size_t i = 0; i < out->n; i++) {
        const json_t *item = json_is_array(value) ? json_array_get(value, i) : value;
        if (!json_is_integer(item) || json_integer_value(item) < (json_int_t)out->least ||
            json_integer_value(item) > IV_CONV_LIMIT) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': attribute '%s' must hold integers from %zu to %d", r->name,
                           key, out->least, IV_CONV_LIMIT);
        }
        out->values[i] = (size_t)json_integer_value(item);
    }
    return ISOVAE_OK;
}

/* The list is the reader's until the node is added. */
static isovae_status read_map(reader *r, const char *key, const json_t *value, iv_attributes *out,
                              isovae_error *err)
{
    size_t n = json_array_size(value);
    if (!json_is_array(value) || n == 0 || n > IV_MAP_LIMIT) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': attribute '%s' must be a list of 1 to %d integers", r->name, key,
                       IV_MAP_LIMIT);
    }
    iv_free(r->map);
    r->map = NULL;
    IV_TRY(IV_NEW(r->map, n, "the map of a node", err));
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(value, i);
        if (!json_is_integer(item) || json_integer_value(item) < -1 ||
            json_integer_value(item) > INT32_MAX) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': entry %zu of attribute '%s' must be an integer from -1 on",
                           r->name, i, key);
        }
        r->map[i] = (int32_t)json_integer_value(item);
    }
    out->map = r->map;
    out->n_map = n;
    return ISOVAE_OK;
}

static isovae_status read_number(const reader *r, const char *key, const json_t *value,
                                 iv_attributes *out, size_t which, isovae_error *err)
{
    if (!json_is_number(value) || !isfinite(json_number_value(value))) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': attribute '%s' must be a number",
                       r->name, key);
    }
    out->number[which] = json_number_value(value);
    out->given[which] = true;
    return ISOVAE_OK;
}

static isovae_status read_attribute(reader *r, const iv_attribute *attribute, const json_t *value,
                                    iv_attributes *out, isovae_error *err)
{
    const char *key = attribute->name;
    conv_numbers numbers = conv_numbers_of(out, attribute->type);
    if (numbers.n > 0) return read_conv_numbers(r, key, value, &numbers, err);
    switch (attribute->type) {
    case IV_ATTRIBUTE_ACT:
        if (plain_string(value) == NULL || !iv_act_parse(plain_string(value), &out->act)) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': attribute '%s' must name an activation (relu, silu, ...)",
                           r->name, key);
        }
        return ISOVAE_OK;
    case IV_ATTRIBUTE_PARAMETER:
        if (!json_is_number(value) || !isfinite(json_number_value(value))) {
            return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': attribute '%s' must be a number",
                           r->name, key);
        }
        out->parameter = json_number_value(value);
        return ISOVAE_OK;
    case IV_ATTRIBUTE_AXIS:
        if (!json_is_integer(value) || json_integer_value(value) < 1 ||
            json_integer_value(value) > IV_MAX_RANK) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': attribute '%s' must be an axis from 1 to %d", r->name, key,
                           IV_MAX_RANK);
        }
        out->axis = (size_t)json_integer_value(value);
        return ISOVAE_OK;
    case IV_ATTRIBUTE_SIZES:
        return read_sizes(r, key, value, IV_MAX_PORTS, out->sizes, &out->n_sizes, err);
    case IV_ATTRIBUTE_SHAPE:
        return read_sizes(r, key, value, IV_MAX_RANK, out->shape.dim, &out->shape.rank, err);
    case IV_ATTRIBUTE_EPS:
        if (!json_is_number(value) || !(json_number_value(value) > 0) ||
            !isfinite(json_number_value(value))) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': attribute '%s' must be a number above 0", r->name, key);
        }
        out->eps = json_number_value(value);
        return ISOVAE_OK;
    case IV_ATTRIBUTE_FIRST: return read_number(r, key, value, out, 0, err);
    case IV_ATTRIBUTE_SECOND: return read_number(r, key, value, out, 1, err);
    case IV_ATTRIBUTE_REDUCTION:
        if (plain_string(value) == NULL || !iv_reduce_parse(plain_string(value), &out->reduction)) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': attribute '%s' must name a reduction (sum, mean, max, ...)",
                           r->name, key);
        }
        return ISOVAE_OK;
    case IV_ATTRIBUTE_MAP: return read_map(r, key, value, out, err);
    default: break;
    }
    return iv_fail(err, ISOVAE_ERR_INTERNAL, "node '%s': attribute '%s' has no type", r->name, key);
}

static const iv_attribute *find_attribute(const iv_node_kind *kind, const char *key)
{
    for (size_t i = 0; i < IV_MAX_ATTRIBUTES; i++) {
        if (kind->attributes[i].type == IV_ATTRIBUTE_END) break;
        if (strcmp(kind->attributes[i].name, key) == 0) return &kind->attributes[i];
    }
    return NULL;
}

static isovae_status read_attributes(reader *r, const iv_node_kind *kind, const json_t *object,
                                     iv_attributes *out, isovae_error *err)
{
    json_t *map = json_object_get(object, "attributes"), *value;
    const char *key;
    bool parameter_given = false;
    if (map != NULL && !json_is_object(map)) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': 'attributes' must be an object",
                       r->name);
    }
    json_object_foreach(map, key, value)
    {
        const iv_attribute *attribute = find_attribute(kind, key);
        if (attribute == NULL) {
            IV_TRY(iv_graph_check_name("attribute", key, err));
            return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': %s has no attribute '%s'", r->name,
                           kind->name, key);
        }
        if (attribute->type == IV_ATTRIBUTE_PARAMETER) parameter_given = true;
        IV_TRY(read_attribute(r, attribute, value, out, err));
    }
    for (size_t i = 0; i < IV_MAX_ATTRIBUTES; i++) {
        const iv_attribute *attribute = &kind->attributes[i];
        if (attribute->type != IV_ATTRIBUTE_END && attribute->required &&
            json_object_get(map, attribute->name) == NULL) {
            return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': %s needs the attribute '%s'",
                           r->name, kind->name, attribute->name);
        }
    }
    if (!parameter_given) {
        out->parameter = iv_act_default_parameter(kind->act != IV_ACT_NONE ? kind->act : out->act);
    }
    return ISOVAE_OK;
}

static isovae_status read_params(const reader *r, const iv_node_kind *kind, const json_t *object,
                                 iv_node_spec *spec, isovae_error *err)
{
    json_t *map = json_object_get(object, "params"), *value;
    const char *key;
    if (map != NULL && !json_is_object(map)) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': 'params' must be an object", r->name);
    }
    /* Absent where a file does not name it; a draft makes what it does not name. */
    for (size_t i = 0; r->shape_of != NULL && i < IV_MAX_ROLES; i++) spec->params[i] = "";
    json_object_foreach(map, key, value)
    {
        size_t role = 0;
        while (role < IV_MAX_ROLES && kind->roles[role] != NULL &&
               strcmp(kind->roles[role], key) != 0) {
            role++;
        }
        if (role == IV_MAX_ROLES || kind->roles[role] == NULL) {
            IV_TRY(iv_graph_check_name("role", key, err));
            return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': %s has no parameter '%s'", r->name,
                           kind->name, key);
        }
        spec->params[role] = plain_string(value);
        if (spec->params[role] == NULL || spec->params[role][0] == '\0') {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': parameter '%s' must be the name of a tensor", r->name, key);
        }
    }
    return ISOVAE_OK;
}

/* What a draft says of the parameters to be made: "units", "kernel" and "bias". */
static isovae_status read_draft(const reader *r, const iv_node_kind *kind, const json_t *object,
                                iv_node_spec *spec, isovae_error *err)
{
    const json_t *units = json_object_get(object, "units"), *bias = json_object_get(object, "bias");
    const json_t *kernel = json_object_get(object, "kernel");
    if (r->shape_of != NULL) return ISOVAE_OK; /* check_keys refused them */
    bool fuses = (kind->flags & IV_NODE_FUSES) != 0;
    bool takes_units = fuses || kind->shape == iv_matmul_shape;
    bool takes_kernel = fuses && (kind->flags & IV_NODE_SPATIAL) != 0;
    if ((units != NULL && !takes_units) || (kernel != NULL && !takes_kernel)) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': %s takes no '%s'", r->name, kind->name,
                       units != NULL && !takes_units ? "units" : "kernel");
    }
    if (units != NULL) {
        if (!json_is_integer(units) || json_integer_value(units) < 1 ||
            json_integer_value(units) > MOST_UNITS) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': 'units' must be an integer from 1 to %d", r->name,
                           MOST_UNITS);
        }
        spec->units = (size_t)json_integer_value(units);
    }
    if (kernel != NULL) {
        conv_numbers numbers = conv_numbers_of(&spec->attributes, IV_ATTRIBUTE_KERNEL);
        IV_TRY(read_conv_numbers(r, "kernel", kernel, &numbers, err));
    }
    if (bias == NULL || json_is_true(bias)) return ISOVAE_OK;
    for (size_t i = 0; i < IV_MAX_ROLES && kind->roles[i] != NULL; i++) {
        if (strcmp(kind->roles[i], "bias") != 0 || !kind->optional[i]) continue;
        if (!json_is_false(bias)) break;
        spec->params[i] = "";
        return ISOVAE_OK;
    }
    return iv_fail(err, ISOVAE_ERR_FORMAT,
                   "node '%s': 'bias' must be true, or false where %s can "
                   "do without one",
                   r->name, kind->name);
}

/* Where the list says how a tensor's values are to be read, it must be how this kind reads them. */
static isovae_status check_parametrization(const reader *r, const iv_node_kind *kind,
                                           const json_t *object, isovae_error *err)
{
    json_t *map = json_object_get(object, "parametrization"), *value;
    const char *key;
    if (map != NULL && !json_is_object(map)) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': 'parametrization' must be an object",
                       r->name);
    }
    json_object_foreach(map, key, value)
    {
        bool fits = false;
        const char *name = plain_string(value);
        for (size_t i = 0; i < IV_MAX_ROLES && kind->roles[i] != NULL; i++) {
            if (strcmp(kind->roles[i], key) != 0 || name == NULL) continue;
            fits = strcmp(name, iv_parametrization_name(kind->parametrization[i])) == 0;
        }
        if (!fits) {
            IV_TRY(iv_graph_check_name("role", key, err));
            return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                           "node '%s': the parametrization of '%s' is not one that %s knows",
                           r->name, key, kind->name);
        }
    }
    return ISOVAE_OK;
}

/* Does the node make a value of that name? */
static bool makes(const json_t *node, const char *value)
{
    const char *name = plain_string(json_object_get(node, "output"));
    if (name != NULL && strcmp(name, value) == 0) return true;
    const json_t *list = json_object_get(node, "outputs");
    for (size_t i = 0; i < json_array_size(list); i++) {
        name = plain_string(json_array_get(list, i));
        if (name != NULL && strcmp(name, value) == 0) return true;
    }
    return false;
}

/* Why an input is not there: made later (or by itself: a cycle), or never. */
static isovae_status unknown_input(const reader *r, const char *input, isovae_error *err)
{
    IV_TRY(iv_graph_check_name("value", input, err));
    for (size_t i = r->index; i < json_array_size(r->nodes); i++) {
        const json_t *other = json_array_get(r->nodes, i);
        if (!makes(other, input)) continue;
        const char *name = plain_string(json_object_get(other, "name"));
        IV_TRY(iv_graph_check_name("node", name, err));
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': its input '%s' is made by node '%s', which does not stand "
                       "before it; nodes are listed in order and form no cycle",
                       r->name, input, name);
    }
    return iv_fail(err, ISOVAE_ERR_FORMAT,
                   "node '%s': its input '%s' is neither the graph's input nor made by a node",
                   r->name, input);
}

static isovae_status read_inputs(const reader *r, const json_t *object, iv_node_spec *spec,
                                 isovae_error *err)
{
    const json_t *list = json_object_get(object, "inputs");
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n == 0 || n > IV_MAX_PORTS) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': 'inputs' must be a list of 1 to %d names", r->name,
                       IV_MAX_PORTS);
    }
    spec->n_inputs = n;
    for (size_t i = 0; i < n; i++) {
        const char *name = plain_string(json_array_get(list, i));
        if (name == NULL) {
            return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': input %zu is not a name", r->name,
                           i);
        }
        spec->inputs[i] = iv_graph_find_value(r->graph, name);
        if (spec->inputs[i] == SIZE_MAX) return unknown_input(r, name, err);
    }
    return ISOVAE_OK;
}

static isovae_status read_outputs(const reader *r, const json_t *object, iv_node_spec *spec,
                                  isovae_error *err)
{
    const json_t *one = json_object_get(object, "output"),
                 *list = json_object_get(object, "outputs");
    size_t n = one != NULL ? 1 : json_array_size(list);
    if ((one != NULL) == (list != NULL) || (list != NULL && !json_is_array(list)) || n == 0 ||
        n > IV_MAX_PORTS) {
        return iv_fail(
            err, ISOVAE_ERR_FORMAT,
            "node '%s': it needs either 'output', a name, or 'outputs', a list of 1 to %d "
            "names",
            r->name, IV_MAX_PORTS);
    }
    spec->n_outputs = n;
    for (size_t i = 0; i < n; i++) {
        spec->outputs[i] = plain_string(one != NULL ? one : json_array_get(list, i));
        if (spec->outputs[i] == NULL) {
            return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': output %zu is not a name", r->name,
                           i);
        }
    }
    return ISOVAE_OK;
}

static isovae_status check_keys(const reader *r, json_t *object, isovae_error *err)
{
    static const char *const known[] = {"name",    "kind",   "inputs",     "output",
                                        "outputs", "params", "attributes", "parametrization"};
    static const char *const drafted[] = {"units", "kernel", "bias"};
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            found = found || strcmp(known[i], key) == 0;
        }
        for (size_t i = 0; r->shape_of == NULL && i < sizeof drafted / sizeof drafted[0]; i++) {
            found = found || strcmp(drafted[i], key) == 0;
        }
        if (!found) {
            IV_TRY(iv_graph_check_name("member", key, err));
            return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': a node has no '%s'", r->name, key);
        }
    }
    return ISOVAE_OK;
}

static isovae_status read_node(reader *r, isovae_error *err)
{
    json_t *object = json_array_get(r->nodes, r->index);
    iv_node_spec spec = {0};
    spec.name = r->name = plain_string(json_object_get(object, "name"));
    if (r->name == NULL) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node %zu of the graph is no object with a 'name'",
                       r->index);
    }
    IV_TRY(iv_graph_check_name("node", r->name, err));
    IV_TRY(check_keys(r, object, err));
    spec.kind = plain_string(json_object_get(object, "kind"));
    if (spec.kind == NULL) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': 'kind' is missing or no text", r->name);
    }
    const iv_node_kind *kind = iv_node_kind_find(spec.kind);
    if (kind == NULL) {
        IV_TRY(iv_graph_check_name("kind", spec.kind, err));
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED, "node '%s': the kind '%s' is not known",
                       r->name, spec.kind);
    }
    IV_TRY(read_inputs(r, object, &spec, err));
    IV_TRY(read_outputs(r, object, &spec, err));
    IV_TRY(read_params(r, kind, object, &spec, err));
    IV_TRY(check_parametrization(r, kind, object, err));
    IV_TRY(read_attributes(r, kind, object, &spec.attributes, err));
    IV_TRY(read_draft(r, kind, object, &spec, err));
    return iv_graph_add(r->graph, kind, &spec, r->shape_of, r->user, NULL, err);
}

static isovae_status read_graph(reader *r, const char *input, const iv_shape *input_shape,
                                const char *const *outputs, size_t n_outputs, isovae_error *err)
{
    if (!json_is_array(r->nodes)) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "the nodes of the graph are no list");
    }
    IV_TRY(iv_graph_input(r->graph, input, input_shape, NULL, err));
    for (r->index = 0; r->index < json_array_size(r->nodes); r->index++) IV_TRY(read_node(r, err));
    for (size_t i = 0; i < n_outputs; i++) {
        size_t value = iv_graph_find_value(r->graph, outputs[i]);
        if (value == SIZE_MAX) {
            return iv_fail(err, ISOVAE_ERR_FORMAT, "no node of the graph makes its output '%s'",
                           outputs[i]);
        }
        IV_TRY(iv_graph_output(r->graph, value, err));
    }
    return ISOVAE_OK;
}

bool iv_graph_same(const iv_graph *a, const iv_graph *b)
{
    if (a->n_params != b->n_params) return false;
    for (size_t i = 0; i < a->n_params; i++) {
        if (!iv_shape_equal(&a->params[i].shape, &b->params[i].shape)) return false;
    }
    json_t *first = iv_graph_to_json(a), *second = iv_graph_to_json(b);
    bool same = first != NULL && second != NULL && json_equal(first, second);
    json_decref(first);
    json_decref(second);
    return same;
}

isovae_status iv_graph_from_json(const json_t *nodes, const char *input,
                                 const iv_shape *input_shape, const char *const *outputs,
                                 size_t n_outputs, iv_param_shape_fn *shape_of, void *user,
                                 iv_graph **out, isovae_error *err)
{
    reader r = {.nodes = nodes, .shape_of = shape_of, .user = user};
    *out = NULL;
    IV_TRY(iv_graph_new(&r.graph, err));
    isovae_status status = read_graph(&r, input, input_shape, outputs, n_outputs, err);
    iv_free(r.map);
    if (status != ISOVAE_OK) {
        iv_graph_free(r.graph);
        return status;
    }
    *out = r.graph;
    return ISOVAE_OK;
}
