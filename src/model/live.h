/* A model whose networks are functions of the caller (graph/live.h). */
#ifndef IV_MODEL_LIVE_H
#define IV_MODEL_LIVE_H

#include "data/dataset.h"
#include "graph/live.h"
#include "model/model.h"

/* For rows of `data` as they are; it keeps the order of its latents. Borrows `live`, and cannot be
 * saved. */
isovae_status iv_model_live(iv_live *live, const iv_dataset *data, const iv_metric_spec *metric,
                            iv_model **out, isovae_error *err) ISOVAE_MUST_CHECK;

/* Source, feature names and the shape of pictures are those of the data, `arch` what people read.
 */
isovae_status iv_model_describe(iv_model *model, const iv_dataset *data, const char *arch,
                                isovae_error *err) ISOVAE_MUST_CHECK;

#endif
