/* What stands behind the public handles. This folder is the top of the library: it checks arguments
 * and calls the layers below, nothing else. */
#ifndef IV_API_HANDLES_H
#define IV_API_HANDLES_H

#include "base/pool.h"
#include "base/progress.h"
#include "data/dataset.h"
#include "model/eval.h"
#include "train/train.h"

/* Packed weights of a model for each instruction set that a scorer asked for: made once, shared by
 * all its scorers, kept as long as the model. */
typedef struct iv_shared_weights iv_shared_weights;

struct isovae_context {
    iv_pool *pool;
    char *isa;
    isovae_progress_fn *progress;
    void *user;
};
struct isovae_data {
    iv_dataset *set;
};
struct isovae_model {
    iv_model *model;
    iv_shared_weights *shared; /* the one thing that changes; behind a lock */
};

isovae_status iv_shared_weights_new(size_t members, iv_shared_weights **out,
                                    isovae_error *err) ISOVAE_MUST_CHECK;
void iv_shared_weights_free(iv_shared_weights *shared);

/* The public handle of a model; takes it over, also on failure. */
isovae_status iv_wrap_model(iv_model *model, isovae_model **out,
                            isovae_error *err) ISOVAE_MUST_CHECK;

/* Whether the caller's configuration ("scorer") is the one that this library knows. */
isovae_status iv_check_config(const char *name, size_t given, size_t known,
                              isovae_error *err) ISOVAE_MUST_CHECK;

/* The caller's configuration, of this header (`known` bytes) or the first one (`first` bytes), over
 * what stands in `out`. */
isovae_status iv_take_config(const char *name, const void *config, size_t given, size_t first,
                             size_t known, void *out, isovae_error *err) ISOVAE_MUST_CHECK;

/* What a training is told by the configuration (NULL: the defaults), for these data, with the
 * context's threads and progress. Texts are borrowed from it. */
isovae_status iv_take_fit_config(isovae_context *context, const isovae_fit_config *config,
                                 const iv_dataset *data, iv_fit_options *out,
                                 isovae_error *err) ISOVAE_MUST_CHECK;

/* The context's callback in the form that the layers below take. */
iv_progress iv_context_progress(isovae_context *context);

/* The data, after a check that its columns are the model's features in their order. Borrowed. */
isovae_status iv_match_features(const isovae_model *model, const isovae_data *data,
                                const iv_dataset **out, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
