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

typedef struct tensor_list {
    iv_tensor *list;
    size_t n;
    char **names; /* those that carry a member's prefix, owned */
    size_t n_names;
} tensor_list;

static void free_list(tensor_list *t)
{
    for (size_t i = 0; i < t->n_names; i++) iv_free(t->names[i]);
    iv_free((void *)t->names);
    iv_free(t->list);
}

static isovae_status prefixed(tensor_list *t, const char *prefix, const char *name,
                              const char **out, isovae_error *err)
{
    iv_text text = {0};
    *out = name;
    if (*prefix == '\0') return ISOVAE_OK;
    iv_text_printf(&text, "%s%s", prefix, name);
    isovae_status status = iv_text_check(&text, err);
    if (status == ISOVAE_OK) status = iv_strdup(&t->names[t->n_names], text.data, err);
    if (status == ISOVAE_OK) *out = t->names[t->n_names++];
    iv_text_free(&text);
    return status;
}

static isovae_status add_tensor(tensor_list *t, const char *prefix, iv_tensor tensor,
                                isovae_error *err)
{
    IV_TRY(prefixed(t, prefix, tensor.name, &tensor.name, err));
    t->list[t->n++] = tensor;
    if (iv_tensor_finite(&tensor)) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_DIVERGED,
                   "parameter '%s' is not finite, so the model is not saved: train with a lower "
                   "--lr",
                   tensor.name);
}

static isovae_status add_params(const iv_model *model, const iv_graph *graph, const char *prefix,
                                tensor_list *t, isovae_error *err)
{
    const unsigned char *params = model->params;
    for (size_t i = 0; i < graph->n_params; i++) {
        const iv_param *p = &graph->params[i];
        iv_tensor tensor = {.name = p->name,
                            .dtype = model->dtype,
                            .shape = p->shape,
                            .size = p->size,
                            .data = params + p->offset * iv_dtype_size(model->dtype)};
        IV_TRY(add_tensor(t, prefix, tensor, err));
    }
    return ISOVAE_OK;
}

/* What the metric learns: tensors of d numbers. */
static isovae_status add_learned(const iv_model *model, const char *prefix, tensor_list *t,
                                 isovae_error *err)
{
    size_t vectors, element = iv_dtype_size(model->dtype);
    const unsigned char *params = model->params;
    const char *const *names = iv_metric_learned_names(&model->metric, &vectors);
    for (size_t p = 0; p < vectors; p++) {
        iv_tensor tensor = {.name = names[p],
                            .dtype = model->dtype,
                            .shape = {.rank = 1, .dim = {model->d}},
                            .size = model->d,
                            .data = params + (model->learned_at + p * model->d) * element};
        IV_TRY(add_tensor(t, prefix, tensor, err));
    }
    return ISOVAE_OK;
}

/* The parameters of all members, with room for `extra` tensors behind them. */
static isovae_status list_tensors(const iv_model *model, size_t extra, tensor_list *t,
                                  isovae_error *err)
{
    size_t count = 0, members = iv_model_members(model);
    for (size_t k = 0; k < members; k++) {
        const iv_model *m = iv_model_member(model, k);
        count += m->encoder->n_params + m->decoder->n_params + IV_METRIC_MAX_LEARNED;
    }
    IV_TRY(IV_NEW(t->list, count + extra, "the list of tensors", err));
    IV_TRY(iv_alloc((void **)&t->names, count, sizeof *t->names, "names of tensors", err));
    for (size_t k = 0; k < members; k++) {
        const iv_model *m = iv_model_member(model, k);
        char prefix[IV_MEMBER_PREFIX];
        iv_member_prefix(k, prefix);
        IV_TRY(add_params(m, m->encoder, prefix, t, err));
        IV_TRY(add_params(m, m->decoder, prefix, t, err));
        IV_TRY(add_learned(m, prefix, t, err));
    }
    return ISOVAE_OK;
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
    tensor_list t = {0};
    isovae_status status = list_tensors(model, n_extra, &t, err);
    for (size_t i = 0; i < n_extra && status == ISOVAE_OK; i++) {
        t.list[t.n++] = (iv_tensor){.name = extra[i].name,
                                    .dtype = extra[i].dtype,
                                    .shape = {.rank = 1, .dim = {extra[i].size}},
                                    .size = extra[i].size,
                                    .data = extra[i].data};
    }
    if (status == ISOVAE_OK) {
        status = iv_safetensors_write(t.list, t.n, metadata, bytes, length, err);
    }
    free_list(&t);
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

/* The member that a tensor's name belongs to, and the name of its parameter. */
static const iv_model *owner_of(const iv_model *model, const char **tensor)
{
    if (model->n_more == 0 || !iv_member_prefixed(*tensor)) return model;
    for (size_t k = 1; k < iv_model_members(model); k++) {
        char prefix[IV_MEMBER_PREFIX];
        iv_member_prefix(k, prefix);
        if (strncmp(*tensor, prefix, strlen(prefix)) != 0) continue;
        *tensor += strlen(prefix);
        return iv_model_member(model, k);
    }
    return model;
}

/* A model's file holds its parameters and nothing else. */
static isovae_status check_extra(const iv_model *model, const iv_safetensors *file,
                                 const char *name, isovae_error *err)
{
    for (size_t i = 0; i < file->n; i++) {
        const char *tensor = file->tensors[i].name;
        const iv_model *owner = owner_of(model, &tensor);
        if (iv_graph_find_param(owner->encoder, tensor) == SIZE_MAX &&
            iv_graph_find_param(owner->decoder, tensor) == SIZE_MAX && !is_learned(owner, tensor)) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "%s: tensor '%.100s' is no parameter of the network", name,
                           file->tensors[i].name);
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
