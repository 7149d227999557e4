/* Networks that are computed elsewhere: functions of the caller stand behind a node of kind "live",
 * so that all that is known of own networks can be asked of them. Such a node has no parameters and
 * is in no file. */
#ifndef IV_GRAPH_LIVE_H
#define IV_GRAPH_LIVE_H

#include "graph/graph.h"

/* All in doubles, rows one behind the other; each returns 0, or else has failed. */
typedef struct iv_live_functions {
    size_t features, latents;
    bool convolutional; /* they hold convolutions (iv_model_convolves) */
    void *user;
    /* x (rows x features) -> mu, logvar (rows x latents) */
    int (*encode)(void *user, size_t rows, const double *x, double *mu, double *logvar);
    /* z (rows x latents) -> out (rows x features) */
    int (*decode)(void *user, size_t rows, const double *z, double *out);
    /* g (rows x features) -> J^T g (rows x latents), J that of decode at each row's z */
    int (*pullback)(void *user, size_t rows, const double *z, const double *g, double *out);
    /* v (tangents x rows x latents) -> J v (tangents x rows x features) */
    int (*pushforward)(void *user, size_t rows, const double *z, size_t tangents, const double *v,
                       double *out);
} iv_live_functions;

typedef struct iv_live iv_live;

/* Nodes borrow it. The functions are called by one thread at a time, in the floating-point state of
 * the thread that made it. */
isovae_status iv_live_new(const iv_live_functions *functions, iv_live **out,
                          isovae_error *err) ISOVAE_MUST_CHECK;
void iv_live_free(iv_live *live);

/* Passes of a graph cannot fail: after a first failure (a function's own, or a value that is not
 * finite) no function is called any more and all results are 0, until somebody asks. */
bool iv_live_failed(iv_live *live);
/* That first failure, or ISOVAE_OK. */
isovae_status iv_live_error(iv_live *live, isovae_error *err);

/* "x" -> "mu", "logvar", and "z" -> "out", a node each. */
isovae_status iv_live_encoder(iv_live *live, iv_graph **out, isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status iv_live_decoder(iv_live *live, iv_graph **out, isovae_error *err) ISOVAE_MUST_CHECK;
bool iv_live_convolutional(const iv_live *live);

#endif
