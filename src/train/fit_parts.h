/* What iv_fit (ensemble.c) is made of: one network trained, or one of several. */
#ifndef IV_TRAIN_FIT_PARTS_H
#define IV_TRAIN_FIT_PARTS_H

#include "train/train.h"

/* Trains member `member` (0 where there is but one) after the `finished` ones, `member` of them,
 * which checkpoints carry along; options->resume is its own. `seconds`: of training before it, in;
 * and with it, out, over all sessions. A member of an ensemble comes without scores. */
isovae_status iv_fit_member(const iv_dataset *data, const iv_fit_options *options, size_t member,
                            iv_model *const *finished, double *seconds, iv_fit_result *result,
                            iv_model **out, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
