/* Names in the file: scopes (the graph, bodies of functions, branches), what is needed, and the
 * nodes of a scope read in the order of the file. */
#ifndef IV_ONNX_SCOPE_H
#define IV_ONNX_SCOPE_H

#include "onnx/loader.h"

typedef enum iv_onnx_state {
    IV_ONNX_NOTHING,
    IV_ONNX_INITIALISER, /* not yet read */
    IV_ONNX_INPUT,
    IV_ONNX_MADE, /* by a node that was not yet read */
    IV_ONNX_READY
} iv_onnx_state;

typedef struct iv_onnx_entry {
    const char *name; /* NULL: free place */
    iv_onnx_state state;
    size_t index; /* of the initialiser, the input or the node */
    bool needed;
    iv_onnx_value value; /* READY */
} iv_onnx_entry;

typedef struct iv_onnx_scope {
    struct iv_onnx_scope *parent;
    iv_onnx_entry *entries;
    size_t room; /* a power of two, half of it used at most */
    Onnx__NodeProto **nodes;
    size_t n_nodes;
    bool *needed; /* nodes */
    Onnx__TensorProto **initialisers;
    int64_t opset;
} iv_onnx_scope;

/* Declares initialisers and what nodes make, with room for n_others more. */
isovae_status iv_onnx_scope_open(iv_onnx_context *c, iv_onnx_scope *s, Onnx__NodeProto **nodes,
                                 size_t n_nodes, Onnx__TensorProto **initialisers,
                                 size_t n_initialisers, size_t n_others);
/* `name` must outlive the scope. */
isovae_status iv_onnx_declare(iv_onnx_context *c, iv_onnx_scope *s, const char *name,
                              iv_onnx_state what, size_t index);
/* Its entry, or a free one (name NULL). */
iv_onnx_entry *iv_onnx_place(const iv_onnx_scope *s, const char *name);
/* Marks what the outputs depend on. */
isovae_status iv_onnx_mark(iv_onnx_context *c, iv_onnx_scope *s, const char *const *outputs,
                           size_t n);
/* A value of this or of an outer scope; initialisers are read when they are first asked for. */
isovae_status iv_onnx_look_up(iv_onnx_context *c, iv_onnx_scope *s, const char *name,
                              const iv_onnx_value **out);

/* ---- nodes.c ---- */

/* Reads the nodes that are needed; errors name the node. `depth`: of functions and branches. */
isovae_status iv_onnx_run_nodes(iv_onnx_context *c, iv_onnx_scope *s, int depth);
/* Of a domain; 0: not imported. */
int64_t iv_onnx_opset_of(Onnx__OperatorSetIdProto **sets, size_t n, const char *domain);

#endif
