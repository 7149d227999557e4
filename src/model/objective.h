/* The objective and its gradient (docs/theory.md section 1), averaged over the rows of a batch:
 *
 *   conventional   w_D E_z[ D(x, Dec(z)) ]                          + w_KL KL
 *   decomposed     w_D ( D(x, Dec(mu)) + E_z[ D(Dec(mu), Dec(z)) ] ) + w_KL KL
 *
 * E_z is the mean over `draws` points z = mu + sigma eps whose eps the caller fills in. With
 * draws = 2n and eps = +-sqrt(n) e_j it is exact for a linear decoder with sse.
 *
 * Rows are cut into slices for the pool's threads; parameter gradients are cut by output. The bytes
 * of every result are the same for any number of threads. */
#ifndef IV_MODEL_OBJECTIVE_H
#define IV_MODEL_OBJECTIVE_H

#include "base/pool.h"
#include "graph/exec.h"
#include "model/model.h"

typedef struct iv_objective iv_objective;

typedef struct iv_objective_config {
    iv_objective_kind kind;
    size_t rows;    /* capacity of a batch */
    size_t draws;   /* of z per row; 0: 1 */
    bool gradient;  /* room for the reverse pass */
    bool training;  /* batch norm by the statistics of the batch, not the running ones; all decoded
                       blocks (Dec(mu) and each draw) are one batch */
    iv_pool *pool;  /* may be NULL */
    double denoise; /* SD of noise on what the encoder sees; D is to the rows without it. 0: none */
} iv_objective_config;

/* Fills rows [first, first + count) of the batch: x (count x d, network units) and, for each draw
 * k, eps + k * draw_stride elements (count x n). Backend memory; called from the pool's threads. */
typedef void iv_objective_fill(void *user, size_t first, size_t count, void *x, void *eps,
                               size_t draw_stride);

/* Standard normals for the encoder's input of rows [first, first + count), count x d. */
typedef void iv_objective_blur(void *user, size_t first, size_t count, void *noise);

typedef struct iv_objective_call {
    size_t rows;
    double distortion_weight, kl_weight;
    iv_objective_fill *fill;
    iv_objective_blur *blur; /* needed where the objective was made with denoise */
    void *user;
} iv_objective_call;

/* Means over the rows, summed in double in the order of the rows, without the weights. */
typedef struct iv_objective_means {
    double transform;  /* D(x, Dec(mu)); decomposed only, else NaN */
    double coding;     /* decomposed: E D(Dec(mu), Dec(z)); conventional: NaN */
    double distortion; /* transform + coding, or E D(x, Dec(z)) */
    double kl;
    double loss; /* weighted sum */
} iv_objective_means;

/* Borrows the model's graphs and settings; not its parameters, which come with each call. */
isovae_status iv_objective_new(const iv_model *model, const iv_kernels *k,
                               const iv_objective_config *config, iv_objective **out,
                               isovae_error *err) ISOVAE_MUST_CHECK;
void iv_objective_free(iv_objective *objective);

/* The value alone. `params` is a parameter vector in backend memory. Where the parameters have not
 * changed since the last call, `same_params` saves the packing. */
void iv_objective_value(iv_objective *objective, const void *params, bool same_params,
                        const iv_objective_call *call, iv_objective_means *means);
/* Value and gradient; grads (a parameter vector) is overwritten where parameters are. */
void iv_objective_gradient(iv_objective *objective, const void *params, void *grads,
                           const iv_objective_call *call, iv_objective_means *means);
/* After a step of a training objective: the running statistics in `params` move towards those of
 * its last batch. Nothing where the model has none. */
void iv_objective_update_buffers(const iv_objective *objective, void *params);

#endif
