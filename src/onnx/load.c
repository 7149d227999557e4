/* From the file to the graph: names are looked up in scopes (the graph, bodies of functions,
 * branches), only what the outputs need is read, in the order of the file. */
#include "onnx/loader.h"

#include "base/file.h"
#include "graph/node.h"
#include "onnx/finish.h"

#include <stdio.h>
#include <string.h>

enum { DEPTH = 16, MOST_NODES = 50000, OPSET_LEAST = 7, OPSET_KNOWN = 21, OPSET_MOST = 25 };

/* ---- names ---- */

typedef enum state { NOTHING, INITIALISER, INPUT, MADE, READY } state;

typedef struct entry {
    const char *name; /* NULL: free place */
    state state;
    size_t index; /* of the initialiser, the input or the node */
    bool needed;
    iv_onnx_value value; /* READY */
} entry;

typedef struct scope {
    struct scope *parent;
    entry *entries;
    size_t room; /* a power of two, half of it used at most */
    Onnx__NodeProto **nodes;
    size_t n_nodes;
    bool *needed; /* nodes */
    Onnx__TensorProto **initialisers;
    int64_t opset;
} scope;

static entry *place(const scope *s, const char *name)
{
    size_t at = (size_t)iv_hash64(name, strlen(name), 0) & (s->room - 1);
    while (s->entries[at].name != NULL && strcmp(s->entries[at].name, name) != 0) {
        at = (at + 1) & (s->room - 1);
    }
    return &s->entries[at];
}

/* `name` must outlive the scope. */
static isovae_status declare(iv_onnx_context *c, scope *s, const char *name, state what,
                             size_t index)
{
    entry *e = place(s, name);
    if (name[0] == '\0') return ISOVAE_OK;
    if (e->name != NULL) {
        if (e->state == INPUT && what == INITIALISER) { /* old files list both */
            e->state = what;
            e->index = index;
            return ISOVAE_OK;
        }
        return IV_ONNX_FAIL(c, "the tensor '%.200s' is made twice", name);
    }
    *e = (entry){.name = name, .state = what, .index = index};
    return ISOVAE_OK;
}

static isovae_status scope_open(iv_onnx_context *c, scope *s, Onnx__NodeProto **nodes,
                                size_t n_nodes, Onnx__TensorProto **initialisers,
                                size_t n_initialisers, size_t n_others)
{
    size_t names = n_initialisers + n_others;
    for (size_t i = 0; i < n_nodes; i++) names += nodes[i]->n_output;
    IV_TRY(iv_onnx_work(c, names * 64));
    s->room = 16;
    while (s->room / 2 <= names) s->room *= 2;
    s->nodes = nodes;
    s->n_nodes = n_nodes;
    s->initialisers = initialisers;
    IV_TRY(IV_ONNX_NEW(c, s->entries, s->room));
    IV_TRY(IV_ONNX_NEW(c, s->needed, n_nodes));
    for (size_t i = 0; i < n_initialisers; i++) {
        const char *name = initialisers[i]->name;
        if (name != NULL) IV_TRY(declare(c, s, name, INITIALISER, i));
    }
    for (size_t i = 0; i < n_nodes; i++) {
        for (size_t j = 0; j < nodes[i]->n_output; j++) {
            IV_TRY(declare(c, s, nodes[i]->output[j], MADE, i));
        }
    }
    return ISOVAE_OK;
}

/* ---- what is needed ---- */

typedef struct stack {
    size_t *nodes, n;
} stack;

static void need(const scope *s, stack *open, const char *name)
{
    entry *e = place(s, name);
    if (e->name == NULL) return; /* of an outer scope, or an error when it is read */
    e->needed = true;
    if (e->state != MADE || s->needed[e->index]) return;
    s->needed[e->index] = true;
    open->nodes[open->n++] = e->index;
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as messages are nested, which is bounded */
static void need_inputs(const scope *s, stack *open, const Onnx__NodeProto *node)
{
    for (size_t i = 0; i < node->n_input; i++) need(s, open, node->input[i]);
    for (size_t i = 0; i < node->n_attribute; i++) {
        const Onnx__GraphProto *g = node->attribute[i]->g;
        for (size_t k = 0; g != NULL && k < g->n_node; k++) need_inputs(s, open, g->node[k]);
        for (size_t k = 0; g != NULL && k < g->n_output; k++) {
            if (g->output[k]->name != NULL) need(s, open, g->output[k]->name);
        }
    }
}

static isovae_status mark(iv_onnx_context *c, scope *s, const char *const *outputs, size_t n)
{
    stack open = {0};
    IV_TRY(IV_ONNX_NEW(c, open.nodes, s->n_nodes + 1));
    for (size_t i = 0; i < n; i++) {
        need(s, &open, outputs[i]);
        while (open.n > 0) need_inputs(s, &open, s->nodes[open.nodes[--open.n]]);
    }
    return ISOVAE_OK;
}

/* ---- nodes ---- */

static isovae_status run_nodes(iv_onnx_context *c, scope *s, int depth);

static isovae_status look_up(iv_onnx_context *c, scope *s, const char *name,
                             const iv_onnx_value **out)
{
    for (; s != NULL; s = s->parent) {
        entry *e = place(s, name);
        if (e->name == NULL) continue;
        if (e->state == INITIALISER) {
            IV_TRY(iv_onnx_tensor_read(c, s->initialisers[e->index], &e->value));
            e->state = READY;
        }
        if (e->state == READY) {
            *out = &e->value;
            return ISOVAE_OK;
        }
        return IV_ONNX_FAIL(c,
                            "it reads '%.200s' before that is made: the nodes form a cycle, or "
                            "stand in the wrong order",
                            name);
    }
    return IV_ONNX_FAIL(c, "it reads '%.200s', which nothing makes", name);
}

/* A branch or a body in a scope of its own; outputs by name. */
static isovae_status run_inside(iv_onnx_context *c, scope *inner, const char *const *outputs,
                                size_t n, iv_onnx_value *out, int depth)
{
    IV_TRY(mark(c, inner, outputs, n));
    IV_TRY(run_nodes(c, inner, depth));
    for (size_t i = 0; i < n; i++) {
        const iv_onnx_value *v;
        IV_TRY(look_up(c, inner, outputs[i], &v));
        out[i] = *v;
    }
    return ISOVAE_OK;
}

static isovae_status run_branch(iv_onnx_context *c, scope *s, iv_onnx_node *node, int depth)
{
    const iv_onnx_value *test;
    double on;
    scope inner = {.parent = s, .opset = s->opset};
    const char **names;
    IV_TRY(iv_onnx_input(c, 0, &test));
    if (test->live) return IV_ONNX_REFUSE(c, "which branch is taken depends on the data");
    IV_TRY(iv_onnx_scalar(c, test, &on));
    const Onnx__AttributeProto *a = iv_onnx_attribute(c, on != 0 ? "then_branch" : "else_branch");
    if (a == NULL || a->g == NULL) return IV_ONNX_FAIL(c, "it lacks a branch");
    const Onnx__GraphProto *g = a->g;
    if (g->n_output != node->n_outputs) return IV_ONNX_FAIL(c, "its branches have other outputs");
    IV_TRY(scope_open(c, &inner, g->node, g->n_node, g->initializer, g->n_initializer, 0));
    IV_TRY(IV_ONNX_NEW(c, names, g->n_output));
    for (size_t i = 0; i < g->n_output; i++) {
        names[i] = g->output[i]->name == NULL ? "" : g->output[i]->name;
    }
    return run_inside(c, &inner, names, g->n_output, node->out, depth + 1);
}

static int64_t opset_of(Onnx__OperatorSetIdProto **sets, size_t n, const char *domain)
{
    for (size_t i = 0; i < n; i++) {
        const char *own = sets[i]->domain == NULL ? "" : sets[i]->domain;
        if (strcmp(own, "ai.onnx") == 0) own = "";
        if (strcmp(own, domain) == 0 && sets[i]->has_version) return sets[i]->version;
    }
    return 0;
}

static isovae_status run_function(iv_onnx_context *c, const Onnx__FunctionProto *f, int64_t opset,
                                  iv_onnx_node *node, int depth)
{
    scope inner = {.opset = opset_of(f->opset_import, f->n_opset_import, "")};
    const Onnx__NodeProto *caller = c->caller;
    if (inner.opset == 0) inner.opset = opset;
    if (f->n_input < node->n_inputs || f->n_output < node->n_outputs) {
        return IV_ONNX_FAIL(c, "the function has fewer inputs or outputs than are used");
    }
    IV_TRY(scope_open(c, &inner, f->node, f->n_node, NULL, 0, f->n_input));
    for (size_t i = 0; i < f->n_input; i++) {
        IV_TRY(declare(c, &inner, f->input[i], INPUT, i));
        entry *e = place(&inner, f->input[i]);
        const iv_onnx_value *v = iv_onnx_optional(c, i);
        if (v == NULL || e->name == NULL) continue;
        e->value = *v;
        e->state = READY;
    }
    /* attributes of nodes inside may refer to those of the call */
    c->caller = node->proto;
    isovae_status status = run_inside(c, &inner, (const char *const *)f->output, node->n_outputs,
                                      node->out, depth + 1);
    c->caller = caller;
    return status;
}

static const Onnx__FunctionProto *function_of(const Onnx__ModelProto *model, const char *domain,
                                              const char *op)
{
    for (size_t i = 0; i < model->n_functions; i++) {
        const Onnx__FunctionProto *f = model->functions[i];
        const char *own = f->domain == NULL ? "" : f->domain;
        if (f->name != NULL && strcmp(f->name, op) == 0 && strcmp(own, domain) == 0) return f;
    }
    return NULL;
}

static isovae_status read_operator(iv_onnx_context *c, iv_onnx_node *node)
{
    const char *op = node->proto->op_type;
    const iv_onnx_operator_row *other;
    const iv_onnx_operator_row *row = iv_onnx_find_operator(op, node->opset, &other);
    if (row == NULL && other != NULL) {
        return IV_ONNX_REFUSE(
            c, "operator %s is not supported in opset %lld, only %s opset %lld", op,
            (long long)node->opset, node->opset < other->since ? "from" : "up to",
            (long long)(node->opset < other->since ? other->since : other->until));
    }
    if (row == NULL) {
        return IV_ONNX_REFUSE(c,
                              "operator %.100s is not supported (docs/onnx.md lists those that "
                              "are)",
                              op);
    }
    if (node->n_inputs < row->min_inputs || node->n_inputs > row->max_inputs ||
        node->n_outputs == 0 || node->n_outputs > row->max_outputs) {
        return IV_ONNX_FAIL(c, "%zu inputs and %zu outputs are not what %s has", node->n_inputs,
                            node->n_outputs, op);
    }
    return row->read(c, node);
}

static isovae_status read_inside(iv_onnx_context *c, scope *s, iv_onnx_node *node, int depth,
                                 bool *inside)
{
    const Onnx__NodeProto *proto = node->proto;
    const char *op = proto->op_type == NULL ? "" : proto->op_type;
    const char *domain = proto->domain == NULL ? "" : proto->domain;
    size_t first = c->graph->n_values;
    if (strcmp(domain, "ai.onnx") == 0) domain = "";
    if (depth > DEPTH) return IV_ONNX_FAIL(c, "functions or branches are nested too deep");
    if (++c->nodes > MOST_NODES)
        return IV_ONNX_REFUSE(c, "the file has more than %d nodes", MOST_NODES);
    node->n_outputs = proto->n_output;
    /* NOLINTNEXTLINE(bugprone-sizeof-expression): of pointers */
    IV_TRY(IV_ONNX_NEW(c, node->in, node->n_inputs));
    IV_TRY(IV_ONNX_NEW(c, node->out, node->n_outputs));
    for (size_t i = 0; i < node->n_inputs; i++) {
        if (proto->input[i][0] != '\0') IV_TRY(look_up(c, s, proto->input[i], &node->in[i]));
    }
    while (node->n_inputs > 0 && node->in[node->n_inputs - 1] == NULL) node->n_inputs--;
    const Onnx__FunctionProto *f = function_of(c->model, domain, op);
    if (f != NULL) {
        *inside = true;
        IV_TRY(run_function(c, f, s->opset, node, depth));
    } else if (domain[0] != '\0') {
        return IV_ONNX_REFUSE(c, "operator %.100s of the domain '%.100s' is not supported", op,
                              domain);
    } else if (strcmp(op, "If") == 0) {
        *inside = true;
        IV_TRY(run_branch(c, s, node, depth));
    } else {
        IV_TRY(read_operator(c, node));
    }
    for (size_t i = 0; i < node->n_outputs; i++) {
        if (proto->output[i][0] == '\0') continue;
        entry *e = place(s, proto->output[i]);
        if (!node->out[i].live && node->out[i].tensor == NULL) continue; /* not computed */
        e->value = node->out[i];
        e->state = READY;
        if (e->value.live && e->value.value >= first) {
            IV_TRY(iv_onnx_rename(c, e->value.value, proto->output[i]));
        }
    }
    return ISOVAE_OK;
}

/* NOLINTNEXTLINE(misc-no-recursion): bounded by DEPTH */
static isovae_status read_node(iv_onnx_context *c, scope *s, const Onnx__NodeProto *proto,
                               int depth, bool *inside)
{
    iv_onnx_node node = {.proto = proto, .opset = s->opset, .n_inputs = proto->n_input};
    const iv_onnx_node *outer = c->node;
    c->node = &node;
    isovae_status status = read_inside(c, s, &node, depth, inside);
    c->node = outer;
    return status;
}

/* NOLINTNEXTLINE(misc-no-recursion): bounded by DEPTH */
static isovae_status run_nodes(iv_onnx_context *c, scope *s, int depth)
{
    for (size_t i = 0; i < s->n_nodes; i++) {
        const Onnx__NodeProto *proto = s->nodes[i];
        bool inside = false;
        if (!s->needed[i]) continue;
        size_t told = c->told;
        isovae_status status = read_node(c, s, proto, depth, &inside);
        if (status == ISOVAE_OK) continue;
        if (inside && c->told != told) return status; /* the node inside is named already */
        c->told++;
        const char *name = proto->name == NULL ? "" : proto->name;
        const char *made = proto->n_output == 0 ? "" : proto->output[0];
        return iv_fail_prefix(c->err, status, "node '%.150s'%s%.100s%s (%.60s)", name,
                              name[0] == '\0' ? " (without a name, it makes '" : "",
                              name[0] == '\0' ? made : "", name[0] == '\0' ? "')" : "",
                              proto->op_type == NULL ? "" : proto->op_type);
    }
    return ISOVAE_OK;
}

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
static isovae_status find_batch(iv_onnx_context *c, const scope *s)
{
    const Onnx__GraphProto *g = c->model->graph;
    bool free_batch = false;
    for (size_t i = 0; i < g->n_input; i++) {
        const char *name = g->input[i]->name;
        const entry *e = name == NULL ? NULL : place(s, name);
        if (e == NULL || e->name == NULL || e->state != INPUT) continue;
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

static isovae_status add_input(iv_onnx_context *c, entry *e, const iv_onnx_cut *cut)
{
    const Onnx__ValueInfoProto *info = info_of(c->model->graph, e->name);
    const Onnx__TypeProto__Tensor *type = info == NULL ? NULL : tensor_type(info);
    iv_shape shape;
    if (cut != NULL && cut->known) {
        shape = cut->shape;
    } else if (!shape_in_file(info, &shape)) {
        if (e->state == INPUT && info != NULL && cut == NULL) {
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
    e->state = READY;
    return ISOVAE_OK;
}

static isovae_status set_inputs(iv_onnx_context *c, scope *s, const char *const *outputs, size_t n)
{
    const iv_onnx_options *o = c->options;
    const Onnx__GraphProto *g = c->model->graph;
    for (size_t i = 0; i < o->n_inputs; i++) {
        entry *e = place(s, o->inputs[i].name);
        if (e->name == NULL) {
            return IV_ONNX_FAIL(c, "there is no tensor '%.150s' to be an input", o->inputs[i].name);
        }
        if (e->state == MADE) e->state = INPUT;
    }
    IV_TRY(mark(c, s, outputs, n));
    for (size_t i = 0; i < o->n_inputs; i++) {
        IV_TRY(add_input(c, place(s, o->inputs[i].name), &o->inputs[i]));
    }
    for (size_t i = 0; i < g->n_input; i++) {
        entry *e = g->input[i]->name == NULL ? NULL : place(s, g->input[i]->name);
        if (e == NULL || e->name == NULL || e->state != INPUT) continue;
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
    *opset = opset_of(c->model->opset_import, c->model->n_opset_import, "");
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
    scope s = {0};
    IV_TRY(opset_check(c, opset));
    s.opset = *opset;
    if (g->n_sparse_initializer > 0) {
        return IV_ONNX_REFUSE(c, "it has sparse initialisers, which are not supported");
    }
    IV_TRY(iv_graph_new(&c->graph, c->err));
    IV_TRY(scope_open(c, &s, g->node, g->n_node, g->initializer, g->n_initializer, g->n_input));
    for (size_t i = 0; i < g->n_input; i++) {
        const char *name = g->input[i]->name;
        if (name == NULL) continue;
        entry *e = place(&s, name);
        if (e->name == NULL) IV_TRY(declare(c, &s, name, INPUT, i));
    }
    IV_TRY(find_batch(c, &s));
    IV_TRY(set_inputs(c, &s, outputs, n));
    for (size_t i = 0; i < n; i++) {
        const entry *e = place(&s, outputs[i]);
        if (e->name == NULL) {
            return IV_ONNX_FAIL(c, "there is no tensor '%.150s' to be an output", outputs[i]);
        }
    }
    IV_TRY(run_nodes(c, &s, 0));
    for (size_t i = 0; i < n; i++) {
        const iv_onnx_value *v;
        IV_TRY(look_up(c, &s, outputs[i], &v));
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
