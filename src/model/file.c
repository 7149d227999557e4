/* The model file as bytes: the JSON of file_encode.c and file_decode.c in a safetensors container
 * with format, checksum and, in checkpoints, what the trainer adds. */
#include "model/file.h"

#include "base/file.h"
#include "base/memory.h"
#include "model/file_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t max_file = (size_t)1 << 40;

/* Writing. */

static void add_params(const iv_model *model, const iv_graph *graph, iv_tensor *list, size_t *n)
{
    for (size_t i = 0; i < graph->n_params; i++) {
        const iv_param *p = &graph->params[i];
        list[(*n)++] = (iv_tensor){
            .name = p->name,
            .dtype = model->dtype,
            .shape = p->shape,
            .size = p->size,
            .data = (const unsigned char *)model->params + p->offset * iv_dtype_size(model->dtype),
        };
    }
}

/* What the metric learns: tensors of d numbers. */
static void add_learned(const iv_model *model, iv_tensor *list, size_t *n)
{
    size_t vectors, element = iv_dtype_size(model->dtype);
    const char *const *names = iv_metric_learned_names(&model->metric, &vectors);
    for (size_t p = 0; p < vectors; p++) {
        size_t at = model->learned_at + p * model->d;
        list[(*n)++] = (iv_tensor){.name = names[p],
                                   .dtype = model->dtype,
                                   .shape = {.rank = 1, .dim = {model->d}},
                                   .size = model->d,
                                   .data = (const unsigned char *)model->params + at * element};
    }
}

static bool is_learned(const iv_model *model, const char *tensor)
{
    size_t vectors;
    const char *const *names = iv_metric_learned_names(&model->metric, &vectors);
    for (size_t p = 0; p < vectors; p++) {
        if (strcmp(names[p], tensor) == 0) return true;
    }
    return false;
}

static isovae_status make_metadata(const iv_model *model, bool checkpoint, const json_t *extra,
                                   json_t *metadata, isovae_error *err)
{
    json_t *json;
    char format[32];
    IV_TRY(iv_model_to_json(model, &json, err));
    size_t flags = JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17);
    char *model_text = json_dumps(json, flags);
    char *extra_text = extra != NULL ? json_dumps(extra, flags) : NULL;
    json_decref(json);
    (void)snprintf(format, sizeof format, "%s%d", IV_MODEL_FORMAT, IV_MODEL_FORMAT_VERSION);
    int bad = json_object_set_new(metadata, "format", json_string(format));
    bad |= json_object_set_new(metadata, "isovae",
                               model_text != NULL ? json_string(model_text) : NULL);
    if (checkpoint) {
        bad |= json_object_set_new(metadata, "checkpoint",
                                   extra == NULL        ? json_string("{}")
                                   : extra_text != NULL ? json_string(extra_text)
                                                        : NULL);
    }
    free(model_text);
    free(extra_text);
    return bad == 0 ? ISOVAE_OK
                    : iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for the model's description");
}

static isovae_status write_file(const iv_model *model, const iv_extra_tensor *extra, size_t n_extra,
                                json_t *metadata, unsigned char **bytes, size_t *length,
                                isovae_error *err)
{
    iv_tensor *list;
    size_t n = 0;
    IV_TRY(IV_NEW(
        list, model->encoder->n_params + model->decoder->n_params + IV_METRIC_MAX_LEARNED + n_extra,
        "the list of tensors", err));
    add_params(model, model->encoder, list, &n);
    add_params(model, model->decoder, list, &n);
    add_learned(model, list, &n);
    for (size_t i = 0; i < n; i++) {
        if (iv_tensor_finite(&list[i])) continue;
        isovae_status status = iv_fail(err, ISOVAE_ERR_DIVERGED,
                                       "parameter '%s' is not finite, so the model is not saved: "
                                       "train with a lower --lr",
                                       list[i].name);
        iv_free(list);
        return status;
    }
    for (size_t i = 0; i < n_extra; i++) {
        list[n++] = (iv_tensor){.name = extra[i].name,
                                .dtype = extra[i].dtype,
                                .shape = {.rank = 1, .dim = {extra[i].size}},
                                .size = extra[i].size,
                                .data = extra[i].data};
    }
    isovae_status status = iv_safetensors_write(list, n, metadata, bytes, length, err);
    iv_free(list);
    return status;
}

isovae_status iv_model_write(const iv_model *model, const iv_extra_tensor *extra, size_t n_extra,
                             const json_t *extra_metadata, unsigned char **bytes, size_t *length,
                             isovae_error *err)
{
    *bytes = NULL;
    *length = 0;
    json_t *metadata = json_object();
    if (metadata == NULL) return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for the header");
    bool checkpoint = n_extra > 0 || extra_metadata != NULL;
    isovae_status status = make_metadata(model, checkpoint, extra_metadata, metadata, err);
    if (status == ISOVAE_OK) {
        status = write_file(model, extra, n_extra, metadata, bytes, length, err);
    }
    json_decref(metadata);
    return status;
}

isovae_status iv_model_save(const iv_model *model, const char *path, isovae_error *err)
{
    unsigned char *bytes;
    size_t length;
    IV_TRY(iv_model_write(model, NULL, 0, NULL, &bytes, &length, err));
    isovae_status status = iv_file_write(path, bytes, length, err);
    iv_free(bytes);
    return status;
}

isovae_status iv_model_hash(const iv_model *model, uint64_t *out, isovae_error *err)
{
    unsigned char *bytes;
    size_t length;
    IV_TRY(iv_model_write(model, NULL, 0, NULL, &bytes, &length, err));
    isovae_status status = iv_safetensors_verify(bytes, length, "the model", out, err);
    iv_free(bytes);
    return status;
}

/* Reading. */

/* "isovae-model/N" */
static isovae_status check_format(const iv_safetensors *file, const char *name, isovae_error *err)
{
    const char *format = json_string_value(json_object_get(file->metadata, "format"));
    size_t length = strlen(IV_MODEL_FORMAT);
    unsigned long version = 0;
    if (format == NULL || strncmp(format, IV_MODEL_FORMAT, length) != 0) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "%s: not an isovae model (metadata 'format' is %s)",
                       name, format == NULL ? "missing" : "another");
    }
    const char *p = format + length;
    for (; *p >= '0' && *p <= '9' && version < 1000000; p++) {
        version = version * 10 + (unsigned long)(*p - '0');
    }
    if (*p != '\0' || version == 0) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "%s: metadata 'format' is '%.40s', which is no version", name, format);
    }
    if (version > IV_MODEL_FORMAT_VERSION) {
        return iv_fail(err, ISOVAE_ERR_VERSION,
                       "%s: written in format %s; this isovae (%s) reads up to %s%d: update isovae",
                       name, format, ISOVAE_VERSION, IV_MODEL_FORMAT, IV_MODEL_FORMAT_VERSION);
    }
    return ISOVAE_OK;
}

/* Metadata `key`, JSON text of an object; NULL with ISOVAE_OK where it is missing. */
static isovae_status parse_metadata(const iv_safetensors *file, const char *key, const char *name,
                                    json_t **out, isovae_error *err)
{
    const json_t *value = json_object_get(file->metadata, key);
    char what[64];
    *out = NULL;
    if (value == NULL) return ISOVAE_OK;
    (void)snprintf(what, sizeof what, "metadata '%s'", key);
    return iv_json_load(json_string_value(value), json_string_length(value), name, what, out, err);
}

/* A model's file holds its parameters and nothing else. */
static isovae_status check_extra(const iv_model *model, const iv_safetensors *file,
                                 const char *name, isovae_error *err)
{
    for (size_t i = 0; i < file->n; i++) {
        const char *tensor = file->tensors[i].name;
        if (iv_graph_find_param(model->encoder, tensor) == SIZE_MAX &&
            iv_graph_find_param(model->decoder, tensor) == SIZE_MAX && !is_learned(model, tensor)) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "%s: tensor '%.100s' is no parameter of the network", name, tensor);
        }
    }
    return ISOVAE_OK;
}

static isovae_status read_parts(const iv_safetensors *file, const char *name, iv_model **out,
                                json_t **checkpoint, isovae_error *err)
{
    json_t *json;
    IV_TRY(check_format(file, name, err));
    IV_TRY(parse_metadata(file, "isovae", name, &json, err));
    if (json == NULL) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "%s: metadata 'isovae' is missing", name);
    }
    isovae_status status = iv_model_from_json(json, file, name, out, err);
    json_decref(json);
    IV_TRY(status);
    status = parse_metadata(file, "checkpoint", name, checkpoint, err);
    if (status == ISOVAE_OK && *checkpoint == NULL) status = check_extra(*out, file, name, err);
    if (status != ISOVAE_OK) {
        iv_model_free(*out);
        *out = NULL;
    }
    return status;
}

isovae_status iv_model_read(const unsigned char *bytes, size_t length, const char *name,
                            iv_model **out, json_t **checkpoint, isovae_error *err)
{
    iv_safetensors file;
    json_t *extra = NULL;
    *out = NULL;
    if (checkpoint != NULL) *checkpoint = NULL;
    IV_TRY(iv_safetensors_verify(bytes, length, name, NULL, err));
    IV_TRY(iv_safetensors_read(bytes, length, name, &file, err));
    isovae_status status = read_parts(&file, name, out, &extra, err);
    iv_safetensors_free(&file);
    if (status == ISOVAE_OK && checkpoint != NULL) {
        *checkpoint = extra;
    } else {
        json_decref(extra);
    }
    return status;
}

isovae_status iv_model_load(const char *path, iv_model **out, isovae_error *err)
{
    unsigned char *bytes;
    size_t length;
    *out = NULL;
    IV_TRY(iv_file_read(path, max_file, &bytes, &length, err));
    isovae_status status = iv_model_read(bytes, length, path, out, NULL, err);
    iv_free(bytes);
    return status;
}

isovae_status iv_model_read_tensor(const unsigned char *bytes, size_t length, const char *name,
                                   iv_dtype dtype, size_t size, void *out, isovae_error *err)
{
    iv_safetensors file;
    IV_TRY(iv_safetensors_read(bytes, length, "the checkpoint", &file, err));
    const iv_tensor *tensor = iv_safetensors_find(&file, name);
    isovae_status status = ISOVAE_OK;
    if (tensor == NULL || tensor->dtype != dtype || tensor->size != size) {
        status = iv_fail(err, ISOVAE_ERR_FORMAT,
                         "the checkpoint's tensor '%.100s' is missing or not %zu elements of %s",
                         name, size, dtype == IV_F64 ? "F64" : "F32");
    } else {
        memcpy(out, tensor->data, size * iv_dtype_size(dtype));
    }
    iv_safetensors_free(&file);
    return status;
}
