/* The safetensors container: 8 bytes of header length, a JSON header, raw tensors (docs/format.md,
 * "Bytes" to "Header"). Nothing here knows what a model is. */
#ifndef IV_MODEL_SAFETENSORS_H
#define IV_MODEL_SAFETENSORS_H

#include "graph/graph.h"

/* Bytes of an element. */
size_t iv_dtype_size(iv_dtype dtype);

typedef struct iv_tensor {
    const char *name;
    iv_dtype dtype;
    iv_shape shape;
    size_t size;      /* elements: the product of the shape */
    const void *data; /* packed, little-endian; read: into the file's bytes, of any alignment */
} iv_tensor;

/* No NaN or infinity in it. */
bool iv_tensor_finite(const iv_tensor *tensor);
/* Some element is below 0. */
bool iv_tensor_negative(const iv_tensor *tensor);

typedef struct iv_safetensors {
    json_t *header;   /* owns the names */
    json_t *metadata; /* borrowed from it: object of strings, or NULL */
    size_t n;
    iv_tensor *tensors; /* by name */
} iv_safetensors;

/* Looks through `length` bytes, which must outlive `out`. Every length, shape and offset is
 * checked; the tensors cover the data exactly. `name` is for messages. ISOVAE_ERR_FORMAT, _MEMORY.
 */
isovae_status iv_safetensors_read(const unsigned char *bytes, size_t length, const char *name,
                                  iv_safetensors *out, isovae_error *err) ISOVAE_MUST_CHECK;
void iv_safetensors_free(iv_safetensors *file);
const iv_tensor *iv_safetensors_find(const iv_safetensors *file, const char *name);

/* The bytes of a file (iv_free) with these tensors and `metadata`, an object of strings, to which
 * the checksum is added. Equal input gives equal bytes whatever the order of the tensors. */
isovae_status iv_safetensors_write(const iv_tensor *tensors, size_t n, const json_t *metadata,
                                   unsigned char **bytes, size_t *length,
                                   isovae_error *err) ISOVAE_MUST_CHECK;

/* JSON text that is one object, no key twice. `what` names the text in messages about file `name`.
 */
isovae_status iv_json_load(const char *text, size_t length, const char *name, const char *what,
                           json_t **out, isovae_error *err) ISOVAE_MUST_CHECK;

/* Is there a checksum where iv_safetensors_write puts it, and is it right? Both fail with
 * ISOVAE_ERR_FORMAT otherwise. `checksum` may be NULL. */
isovae_status iv_safetensors_verify(const unsigned char *bytes, size_t length, const char *name,
                                    uint64_t *checksum, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
