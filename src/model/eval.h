/* A workspace in which a model is run: its parameters in a backend's precision, and an exec for
 * encoder and decoder each. Everything that evaluates a model goes through one. */
#ifndef IV_MODEL_EVAL_H
#define IV_MODEL_EVAL_H

#include "graph/exec.h"
#include "model/model.h"

typedef struct iv_eval {
    const iv_model *model;
    const iv_kernels *k;
    iv_exec *encoder, *decoder;
    iv_metric *metric;
    void *params;                  /* backend copy of the parameter vector */
    const struct iv_eval *weights; /* where params are borrowed from, or NULL */
    size_t rows;                   /* capacity */
    size_t lanes;
} iv_eval;

typedef struct iv_eval_plan {
    size_t rows;  /* capacity of encoder and decoder */
    size_t lanes; /* concurrent ranges; 0: 1 */
    bool encoder_reverse, decoder_reverse;
    size_t tangents;     /* of the decoder: tile of tangents; 0 none */
    size_t tangent_rows; /* rows in a tangent tile */
    /* Parameters and packed weights are those of this one (same model and kernels, neither made for
     * a reverse pass; it must outlive the new one); NULL: own copies. So many threads share one
     * set. */
    const iv_eval *weights;
} iv_eval_plan;

isovae_status iv_eval_new(const iv_model *model, const iv_kernels *k, const iv_eval_plan *plan,
                          iv_eval **out, isovae_error *err) ISOVAE_MUST_CHECK;
void iv_eval_free(iv_eval *eval);

/* Convenience passes on rows [first, first + count) of the workspace, x in network units already in
 * iv_eval_x: encoder; decoder on the z in iv_eval_z. */
void iv_eval_encode(iv_eval *eval, size_t first, size_t count, size_t lane);
void iv_eval_decode(iv_eval *eval, size_t first, size_t count, size_t lane);
void *iv_eval_x(const iv_eval *eval);      /* encoder input, rows x d */
void *iv_eval_mu(const iv_eval *eval);     /* rows x n */
void *iv_eval_logvar(const iv_eval *eval); /* rows x n, not clipped */
void *iv_eval_z(const iv_eval *eval);      /* decoder input, rows x n */
void *iv_eval_out(const iv_eval *eval);    /* decoder output, rows x d (bce: logits) */

#endif
