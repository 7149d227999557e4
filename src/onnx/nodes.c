/* Nodes of a scope: operators by their table, functions of the file opened, `If` decided. */
#include "onnx/scope.h"

#include <string.h>

enum { DEPTH = 16, MOST_NODES = 50000 };

int64_t iv_onnx_opset_of(Onnx__OperatorSetIdProto **sets, size_t n, const char *domain)
{
    for (size_t i = 0; i < n; i++) {
        const char *own = sets[i]->domain == NULL ? "" : sets[i]->domain;
        if (strcmp(own, "ai.onnx") == 0) own = "";
        if (strcmp(own, domain) == 0 && sets[i]->has_version) return sets[i]->version;
    }
    return 0;
}

/* A branch or a body in a scope of its own; outputs by name. */
static isovae_status run_inside(iv_onnx_context *c, iv_onnx_scope *inner,
                                const char *const *outputs, size_t n, iv_onnx_value *out, int depth)
{
    IV_TRY(iv_onnx_mark(c, inner, outputs, n));
    IV_TRY(iv_onnx_run_nodes(c, inner, depth));
    for (size_t i = 0; i < n; i++) {
        const iv_onnx_value *v;
        IV_TRY(iv_onnx_look_up(c, inner, outputs[i], &v));
        out[i] = *v;
    }
    return ISOVAE_OK;
}

static isovae_status run_branch(iv_onnx_context *c, iv_onnx_scope *s, iv_onnx_node *node, int depth)
{
    const iv_onnx_value *test;
    double on;
    iv_onnx_scope inner = {.parent = s, .opset = s->opset};
    const char **names;
    IV_TRY(iv_onnx_input(c, 0, &test));
    if (test->live) return IV_ONNX_REFUSE(c, "which branch is taken depends on the data");
    IV_TRY(iv_onnx_scalar(c, test, &on));
    const Onnx__AttributeProto *a = iv_onnx_attribute(c, on != 0 ? "then_branch" : "else_branch");
    if (a == NULL || a->g == NULL) return IV_ONNX_FAIL(c, "it lacks a branch");
    const Onnx__GraphProto *g = a->g;
    if (g->n_output != node->n_outputs) return IV_ONNX_FAIL(c, "its branches have other outputs");
    IV_TRY(iv_onnx_scope_open(c, &inner, g->node, g->n_node, g->initializer, g->n_initializer, 0));
    IV_TRY(IV_ONNX_NEW(c, names, g->n_output));
    for (size_t i = 0; i < g->n_output; i++) {
        names[i] = g->output[i]->name == NULL ? "" : g->output[i]->name;
    }
    return run_inside(c, &inner, names, g->n_output, node->out, depth + 1);
}

static isovae_status run_function(iv_onnx_context *c, const Onnx__FunctionProto *f, int64_t opset,
                                  iv_onnx_node *node, int depth)
{
    iv_onnx_scope inner = {.opset = iv_onnx_opset_of(f->opset_import, f->n_opset_import, "")};
    const Onnx__NodeProto *caller = c->caller;
    if (inner.opset == 0) inner.opset = opset;
    if (f->n_input < node->n_inputs || f->n_output < node->n_outputs) {
        return IV_ONNX_FAIL(c, "the function has fewer inputs or outputs than are used");
    }
    IV_TRY(iv_onnx_scope_open(c, &inner, f->node, f->n_node, NULL, 0, f->n_input));
    for (size_t i = 0; i < f->n_input; i++) {
        IV_TRY(iv_onnx_declare(c, &inner, f->input[i], IV_ONNX_INPUT, i));
        iv_onnx_entry *e = iv_onnx_place(&inner, f->input[i]);
        const iv_onnx_value *v = iv_onnx_optional(c, i);
        if (v == NULL || e->name == NULL) continue;
        e->value = *v;
        e->state = IV_ONNX_READY;
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

static isovae_status read_inside(iv_onnx_context *c, iv_onnx_scope *s, iv_onnx_node *node,
                                 int depth, bool *inside)
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
        if (proto->input[i][0] != '\0')
            IV_TRY(iv_onnx_look_up(c, s, proto->input[i], &node->in[i]));
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
        iv_onnx_entry *e = iv_onnx_place(s, proto->output[i]);
        if (!node->out[i].live && node->out[i].tensor == NULL) continue; /* not computed */
        e->value = node->out[i];
        e->state = IV_ONNX_READY;
        if (e->value.live && e->value.value >= first) {
            IV_TRY(iv_onnx_rename(c, e->value.value, proto->output[i]));
        }
    }
    return ISOVAE_OK;
}

/* NOLINTNEXTLINE(misc-no-recursion): bounded by DEPTH */
static isovae_status read_node(iv_onnx_context *c, iv_onnx_scope *s, const Onnx__NodeProto *proto,
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
isovae_status iv_onnx_run_nodes(iv_onnx_context *c, iv_onnx_scope *s, int depth)
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
