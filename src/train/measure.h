/* Means over rows of a trained model, by one keyed draw per row: what tells folding, and what the
 * model file keeps for the validation gap. */
#ifndef IV_TRAIN_MEASURE_H
#define IV_TRAIN_MEASURE_H

#include "base/pool.h"
#include "data/dataset.h"
#include "model/model.h"

typedef struct iv_measure {
    double transform;  /* E D(x, Dec(mu)) */
    double distortion; /* E D(x, Dec(z)) */
    double kl;
    size_t active;        /* latents with mean KL above 0.05 nats */
    double active_sigma2; /* sum over them of E sigma^2 */
} iv_measure;

/* What a sweep asks for beside: where reconstructions lie, and each latent. */
typedef struct iv_measure_detail {
    double range;       /* in: R of the PSNR, data units */
    double error;       /* E sum_i w_i (x_i - Dec(mu)_i)^2, the scaling's weights: D for sse */
    double psnr;        /* mean over rows of 10 log10(R^2 / mean squared error), at most 100 dB */
    double *kl;         /* n each, the caller's: mean KL, */
    double *sigma2;     /* E sigma^2, */
    double *importance; /* beta/2 E sigma^-2 (E4, bound) */
} iv_measure_detail;

isovae_status iv_measure_detailed(const iv_model *model, const iv_kernels *k, iv_pool *pool,
                                  const iv_dataset *data, const size_t *rows, size_t n_rows,
                                  uint64_t seed, iv_measure *out, iv_measure_detail *detail,
                                  isovae_error *err) ISOVAE_MUST_CHECK;

isovae_status iv_measure_rows(const iv_model *model, const iv_kernels *k, iv_pool *pool,
                              const iv_dataset *data, const size_t *rows, size_t n_rows,
                              uint64_t seed, iv_measure *out, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
