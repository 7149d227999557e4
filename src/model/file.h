/* The model file: one .safetensors file (docs/format.md). A checkpoint is the same with more
 * tensors and a section of its own in the metadata. */
#ifndef IV_MODEL_FILE_H
#define IV_MODEL_FILE_H

#include "model/model.h"

#include <jansson.h>

/* Extra tensors and metadata that go along (checkpoints): host arrays, written as they are. */
typedef struct iv_extra_tensor {
    const char *name;
    iv_dtype dtype;
    size_t size;
    void *data;
} iv_extra_tensor;

/* The bytes of the file (release with iv_free). Equal models give equal bytes. `extra_metadata` may
 * be NULL; it is stored under the key "checkpoint". */
isovae_status iv_model_write(const iv_model *model, const iv_extra_tensor *extra, size_t n_extra,
                             const json_t *extra_metadata, unsigned char **bytes, size_t *length,
                             isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status iv_model_save(const iv_model *model, const char *path,
                            isovae_error *err) ISOVAE_MUST_CHECK;

/* From bytes: every length, name and shape is checked against what is there, and the checksum over
 * the whole file. `name` is for messages. With `checkpoint` non-NULL the extra metadata (a new
 * reference, or NULL) is handed out, and extra tensors are found with iv_model_read_tensor. */
isovae_status iv_model_read(const unsigned char *bytes, size_t length, const char *name,
                            iv_model **out, json_t **checkpoint,
                            isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status iv_model_load(const char *path, iv_model **out, isovae_error *err) ISOVAE_MUST_CHECK;
/* Copies the tensor `name` of exactly `size` elements of `dtype` out of the file's bytes. */
isovae_status iv_model_read_tensor(const unsigned char *bytes, size_t length, const char *name,
                                   iv_dtype dtype, size_t size, void *out,
                                   isovae_error *err) ISOVAE_MUST_CHECK;
/* Hash of the file's content (the checksum), as it stands in a file written from this model. */
isovae_status iv_model_hash(const iv_model *model, uint64_t *out,
                            isovae_error *err) ISOVAE_MUST_CHECK;

#endif
