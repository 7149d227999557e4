/* The two halves of the model's JSON (docs/format.md); file.c has the file around it. */
#ifndef IV_MODEL_FILE_PARTS_H
#define IV_MODEL_FILE_PARTS_H

#include "model/file.h"
#include "model/safetensors.h"

#define IV_MODEL_FORMAT "isovae-model/"
enum { IV_MODEL_FORMAT_VERSION = 1 };

/* What goes before the names of the tensors of member k: "" for member 0, else "member1.". */
enum { IV_MEMBER_PREFIX = 32 };
void iv_member_prefix(size_t k, char out[IV_MEMBER_PREFIX]);
/* Whether a name begins like that, which no parameter of an ensemble may. */
bool iv_member_prefixed(const char *name);

/* A new reference. ISOVAE_ERR_DIVERGED where a number that must be one is not. */
isovae_status iv_model_to_json(const iv_model *model, json_t **out,
                               isovae_error *err) ISOVAE_MUST_CHECK;

/* The network with its parameters from `tensors`, and everything else. `file` is for messages. */
isovae_status iv_model_from_json(const json_t *json, const iv_safetensors *tensors,
                                 const char *file, iv_model **out,
                                 isovae_error *err) ISOVAE_MUST_CHECK;

#endif
