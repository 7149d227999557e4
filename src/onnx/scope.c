#include "onnx/scope.h"

#include "base/file.h"

#include <string.h>

iv_onnx_entry *iv_onnx_place(const iv_onnx_scope *s, const char *name)
{
    size_t at = (size_t)iv_hash64(name, strlen(name), 0) & (s->room - 1);
    while (s->entries[at].name != NULL && strcmp(s->entries[at].name, name) != 0) {
        at = (at + 1) & (s->room - 1);
    }
    return &s->entries[at];
}

isovae_status iv_onnx_declare(iv_onnx_context *c, iv_onnx_scope *s, const char *name,
                              iv_onnx_state what, size_t index)
{
    iv_onnx_entry *e = iv_onnx_place(s, name);
    if (name[0] == '\0') return ISOVAE_OK;
    if (e->name != NULL) {
        if (e->state == IV_ONNX_INPUT && what == IV_ONNX_INITIALISER) { /* old files list both */
            e->state = what;
            e->index = index;
            return ISOVAE_OK;
        }
        return IV_ONNX_FAIL(c, "the tensor '%.200s' is made twice", name);
    }
    *e = (iv_onnx_entry){.name = name, .state = what, .index = index};
    return ISOVAE_OK;
}

isovae_status iv_onnx_scope_open(iv_onnx_context *c, iv_onnx_scope *s, Onnx__NodeProto **nodes,
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
        if (name != NULL) IV_TRY(iv_onnx_declare(c, s, name, IV_ONNX_INITIALISER, i));
    }
    for (size_t i = 0; i < n_nodes; i++) {
        for (size_t j = 0; j < nodes[i]->n_output; j++) {
            IV_TRY(iv_onnx_declare(c, s, nodes[i]->output[j], IV_ONNX_MADE, i));
        }
    }
    return ISOVAE_OK;
}

/* ---- what is needed ---- */

typedef struct stack {
    size_t *nodes, n;
} stack;

static void need(const iv_onnx_scope *s, stack *open, const char *name)
{
    iv_onnx_entry *e = iv_onnx_place(s, name);
    if (e->name == NULL) return; /* of an outer scope, or an error when it is read */
    e->needed = true;
    if (e->state != IV_ONNX_MADE || s->needed[e->index]) return;
    s->needed[e->index] = true;
    open->nodes[open->n++] = e->index;
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as messages are nested, which is bounded */
static void need_inputs(const iv_onnx_scope *s, stack *open, const Onnx__NodeProto *node)
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

isovae_status iv_onnx_mark(iv_onnx_context *c, iv_onnx_scope *s, const char *const *outputs,
                           size_t n)
{
    stack open = {0};
    IV_TRY(IV_ONNX_NEW(c, open.nodes, s->n_nodes + 1));
    for (size_t i = 0; i < n; i++) {
        need(s, &open, outputs[i]);
        while (open.n > 0) need_inputs(s, &open, s->nodes[open.nodes[--open.n]]);
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_look_up(iv_onnx_context *c, iv_onnx_scope *s, const char *name,
                              const iv_onnx_value **out)
{
    for (; s != NULL; s = s->parent) {
        iv_onnx_entry *e = iv_onnx_place(s, name);
        if (e->name == NULL) continue;
        if (e->state == IV_ONNX_INITIALISER) {
            IV_TRY(iv_onnx_tensor_read(c, s->initialisers[e->index], &e->value));
            e->state = IV_ONNX_READY;
        }
        if (e->state == IV_ONNX_READY) {
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
