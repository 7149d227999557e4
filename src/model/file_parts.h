/* The two halves of the model's JSON (docs/format.md); file.c has the file around it. */
#ifndef IV_MODEL_FILE_PARTS_H
#define IV_MODEL_FILE_PARTS_H

#include "model/file.h"
#include "model/safetensors.h"

#define IV_MODEL_FORMAT "isovae-model/"
enum { IV_MODEL_FORMAT_VERSION = 1 };

/* A new reference. ISOVAE_ERR_DIVERGED where a number that must be one is not. */
isovae_status iv_model_to_json(const iv_model *model, json_t **out,
                               isovae_error *err) ISOVAE_MUST_CHECK;

/* The network with its parameters from `tensors`, and everything else. `file` is for messages. */
isovae_status iv_model_from_json(const json_t *json, const iv_safetensors *tensors,
                                 const char *file, iv_model **out,
                                 isovae_error *err) ISOVAE_MUST_CHECK;

#endif
