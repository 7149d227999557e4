/* Draws from the prior, decoded. */
#ifndef IV_THEORY_SAMPLE_H
#define IV_THEORY_SAMPLE_H

#include "base/pool.h"
#include "model/model.h"

/* n_rows x d in data units. Row r depends on the seed and r alone. With `noise` the decoder's, too:
 * a Gaussian of variance beta/2 in the metric, what a metric has learned, a draw of 0 or 1 for bce;
 * ISOVAE_ERR_UNSUPPORTED for metrics that have none. */
isovae_status iv_sample_rows(const iv_model *model, uint64_t seed, size_t n_rows, bool noise,
                             iv_pool *pool, const char *isa, double *x,
                             isovae_error *err) ISOVAE_MUST_CHECK;
/* Whether there is noise to draw. */
isovae_status iv_sample_noise_known(const iv_model *model, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
