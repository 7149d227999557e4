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

isovae_status iv_measure_rows(const iv_model *model, const iv_kernels *k, iv_pool *pool,
                              const iv_dataset *data, const size_t *rows, size_t n_rows,
                              uint64_t seed, iv_measure *out, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
