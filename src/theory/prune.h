/* A model without its collapsed latents: what none of them told is not computed any more. */
#ifndef IV_THEORY_PRUNE_H
#define IV_THEORY_PRUNE_H

#include "base/pool.h"
#include "data/dataset.h"
#include "model/model.h"

typedef struct iv_pruned {
    iv_model *model; /* release with iv_model_free */
    size_t latents, kept;
    size_t elements, kept_elements; /* of parameters */
    /* Dec(mu) of the pruned model against the old one's on the rows, data units: root mean square
     * and largest difference, and beside them the root mean square of Dec(mu) around its mean over
     * rows. NaN without rows. */
    size_t rows;
    double change_rms, change_most, output_sd;
} iv_pruned;

/* Drops the latents that are not active (mean KL on the training rows at most 0.05 nats). The mean
 * of each goes into the decoder's biases: over the good rows of `data`, or, where that is NULL, as
 * the calibration stored it. At most 10,000 rows are looked at. A model whose latents are all
 * active is copied. */
isovae_status iv_prune(const iv_model *model, const iv_dataset *data, iv_pool *pool,
                       const char *isa, iv_pruned *out, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
