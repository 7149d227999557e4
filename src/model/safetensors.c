#include "model/safetensors.h"

#include "base/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are stored little-endian");

enum { LENGTH_BYTES = 8, DIGITS = 16 };
static const size_t max_header = (size_t)256 << 20;
static const char prefix[] = "{\"__metadata__\":{\"checksum\":\"";
static const char zeros[] = "0000000000000000";
#define PREFIX_LENGTH (sizeof prefix - 1)
#define CHECKSUM_AT (LENGTH_BYTES + PREFIX_LENGTH)

size_t iv_dtype_size(iv_dtype dtype)
{
    return dtype == IV_F64 ? sizeof(double) : sizeof(float);
}

static double element(const iv_tensor *tensor, size_t i)
{
    double wide;
    float narrow;
    const unsigned char *at =
        (const unsigned char *)tensor->data + i * iv_dtype_size(tensor->dtype);
    if (tensor->dtype == IV_F64) {
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
    memcpy(&narrow, at, sizeof narrow);
    return (double)narrow;
}

bool iv_tensor_finite(const iv_tensor *tensor)
{
    for (size_t i = 0; i < tensor->size; i++) {
        if (!isfinite(element(tensor, i))) return false;
    }
    return true;
}

bool iv_tensor_negative(const iv_tensor *tensor)
{
    for (size_t i = 0; i < tensor->size; i++) {
        if (element(tensor, i) < 0) return true;
    }
    return false;
}

isovae_status iv_json_load(const char *text, size_t length, const char *name, const char *what,
                           json_t **out, isovae_error *err)
{
    json_error_t error;
    *out = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(*out)) return ISOVAE_OK;
    if (*out != NULL) {
        json_decref(*out);
        *out = NULL;
        return iv_fail(err, ISOVAE_ERR_FORMAT, "%s: %s is JSON, but not an object", name, what);
    }
    /* The library leaves the message empty where memory for its own buffers was refused. */
    if (json_error_code(&error) == json_error_out_of_memory || error.text[0] == '\0') {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "%s: out of memory for %s", name, what);
    }
    return iv_fail(err, ISOVAE_ERR_FORMAT, "%s: %s is not JSON (at its byte %d)", name, what,
                   error.position);
}

/* Length of the header, checked against the file. */
static isovae_status header_length(const unsigned char *bytes, size_t length, const char *name,
                                   size_t *out, isovae_error *err)
{
    uint64_t header = 0;
    if (length < LENGTH_BYTES) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "%s: %zu bytes are too few for a .safetensors file; it is damaged or "
                       "something else",
                       name, length);
    }
    memcpy(&header, bytes, LENGTH_BYTES);
    if (header > length - LENGTH_BYTES || header > max_header || header < 2) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "%s: not a .safetensors file, or cut short (it claims a header of %" PRIu64
                       " bytes in a file of %zu)",
                       name, header, length);
    }
    *out = (size_t)header;
    return ISOVAE_OK;
}

/* One tensor's entry. */

static isovae_status bad_tensor(const char *name, const char *tensor, const char *what,
                                isovae_error *err)
{
    return iv_fail(err, ISOVAE_ERR_FORMAT, "%s: tensor '%.100s' %s", name, tensor, what);
}

static bool to_size(const json_t *value, size_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = (size_t)json_integer_value(value);
    return true;
}

static bool read_dtype(const json_t *value, iv_dtype *out)
{
    const char *text = json_string_value(value);
    if (text == NULL) return false;
    if (strcmp(text, "F32") == 0) {
        *out = IV_F32;
    } else if (strcmp(text, "F64") == 0) {
        *out = IV_F64;
    } else {
        return false;
    }
    return true;
}

static bool read_shape(const json_t *value, iv_shape *out, size_t *size)
{
    size_t rank = json_array_size(value);
    if (!json_is_array(value) || rank < 1 || rank > IV_MAX_RANK) return false;
    *out = (iv_shape){.rank = rank};
    for (size_t i = 0; i < rank; i++) {
        if (!to_size(json_array_get(value, i), &out->dim[i]) || out->dim[i] == 0) return false;
    }
    return iv_shape_size(out, size);
}

static isovae_status read_tensor(const char *key, const json_t *entry, const unsigned char *data,
                                 size_t data_length, const char *name, iv_tensor *out,
                                 isovae_error *err)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    size_t begin, end, bytes;
    out->name = key;
    if (!read_dtype(json_object_get(entry, "dtype"), &out->dtype)) {
        return bad_tensor(name, key, "has a type other than F32 and F64", err);
    }
    if (!read_shape(json_object_get(entry, "shape"), &out->shape, &out->size) ||
        !iv_size_mul(out->size, iv_dtype_size(out->dtype), &bytes)) {
        return bad_tensor(name, key, "has a shape that is none (1 to 7 positive dimensions)", err);
    }
    if (json_array_size(offsets) != 2 || !to_size(json_array_get(offsets, 0), &begin) ||
        !to_size(json_array_get(offsets, 1), &end) || begin > end || end > data_length) {
        return bad_tensor(name, key, "lies outside the file", err);
    }
    if (end - begin != bytes) {
        return bad_tensor(name, key, "has a shape that does not fit its length", err);
    }
    out->data = data + begin;
    return ISOVAE_OK;
}

static int by_place(const void *a, const void *b)
{
    const iv_tensor *p = a, *q = b;
    const unsigned char *x = p->data, *y = q->data;
    return x < y ? -1 : x > y;
}

static int by_name(const void *a, const void *b)
{
    const iv_tensor *p = a, *q = b;
    return strcmp(p->name, q->name);
}

/* One behind the other, from the first byte of the data to the last. (None is empty.) */
static isovae_status check_cover(const iv_safetensors *file, const unsigned char *data,
                                 size_t data_length, const char *name, isovae_error *err)
{
    size_t at = 0;
    for (size_t i = 0; i < file->n; i++) {
        const iv_tensor *t = &file->tensors[i];
        if ((const unsigned char *)t->data != data + at) {
            return bad_tensor(name, t->name, "overlaps another or follows a gap", err);
        }
        at += t->size * iv_dtype_size(t->dtype);
    }
    if (at != data_length) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "%s: %zu bytes behind the last tensor belong to none", name,
                       data_length - at);
    }
    return ISOVAE_OK;
}

static isovae_status read_entries(iv_safetensors *file, const unsigned char *data,
                                  size_t data_length, const char *name, isovae_error *err)
{
    const char *key;
    json_t *entry;
    IV_TRY(IV_NEW(file->tensors, json_object_size(file->header), "the list of tensors", err));
    json_object_foreach(file->header, key, entry)
    {
        if (strcmp(key, "__metadata__") != 0) {
            IV_TRY(read_tensor(key, entry, data, data_length, name, &file->tensors[file->n], err));
            file->n++;
            continue;
        }
        const char *field;
        json_t *value;
        if (!json_is_object(entry)) {
            return iv_fail(err, ISOVAE_ERR_FORMAT, "%s: __metadata__ is not an object", name);
        }
        json_object_foreach(entry, field, value)
        {
            if (!json_is_string(value)) {
                return iv_fail(err, ISOVAE_ERR_FORMAT, "%s: metadata '%.100s' is not a string",
                               name, field);
            }
        }
        file->metadata = entry;
    }
    qsort(file->tensors, file->n, sizeof *file->tensors, by_place);
    IV_TRY(check_cover(file, data, data_length, name, err));
    qsort(file->tensors, file->n, sizeof *file->tensors, by_name);
    return ISOVAE_OK;
}

isovae_status iv_safetensors_read(const unsigned char *bytes, size_t length, const char *name,
                                  iv_safetensors *out, isovae_error *err)
{
    iv_safetensors file = {0};
    size_t header;
    *out = file;
    IV_TRY(header_length(bytes, length, name, &header, err));
    IV_TRY(iv_json_load((const char *)bytes + LENGTH_BYTES, header, name, "the header",
                        &file.header, err));
    size_t begin = LENGTH_BYTES + header;
    isovae_status status = read_entries(&file, bytes + begin, length - begin, name, err);
    if (status != ISOVAE_OK) {
        iv_safetensors_free(&file);
        return status;
    }
    *out = file;
    return ISOVAE_OK;
}

void iv_safetensors_free(iv_safetensors *file)
{
    json_decref(file->header);
    iv_free(file->tensors);
    *file = (iv_safetensors){0};
}

const iv_tensor *iv_safetensors_find(const iv_safetensors *file, const char *name)
{
    iv_tensor key = {.name = name};
    return file->n == 0 ? NULL : bsearch(&key, file->tensors, file->n, sizeof key, by_name);
}

/* The checksum. */

static isovae_status checksum_of(const unsigned char *bytes, size_t length, uint64_t *out,
                                 isovae_error *err)
{
    XXH3_state_t *state = XXH3_createState();
    if (state == NULL) return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for the checksum");
    bool ok = XXH3_64bits_reset(state) == XXH_OK &&
              XXH3_64bits_update(state, bytes, CHECKSUM_AT) == XXH_OK &&
              XXH3_64bits_update(state, zeros, DIGITS) == XXH_OK &&
              XXH3_64bits_update(state, bytes + CHECKSUM_AT + DIGITS,
                                 length - CHECKSUM_AT - DIGITS) == XXH_OK;
    *out = XXH3_64bits_digest(state);
    (void)XXH3_freeState(state);
    return ok ? ISOVAE_OK : iv_fail(err, ISOVAE_ERR_INTERNAL, "the checksum could not be taken");
}

isovae_status iv_safetensors_verify(const unsigned char *bytes, size_t length, const char *name,
                                    uint64_t *checksum, isovae_error *err)
{
    size_t header;
    uint64_t sum;
    char text[DIGITS + 1];
    IV_TRY(header_length(bytes, length, name, &header, err));
    if (header < PREFIX_LENGTH + DIGITS ||
        memcmp(bytes + LENGTH_BYTES, prefix, PREFIX_LENGTH) != 0) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "%s: not a model written by isovae (its header has no checksum), or damaged",
                       name);
    }
    IV_TRY(checksum_of(bytes, length, &sum, err));
    (void)snprintf(text, sizeof text, "%016" PRIx64, sum);
    if (memcmp(text, bytes + CHECKSUM_AT, DIGITS) != 0) {
        return iv_fail(
            err, ISOVAE_ERR_FORMAT,
            "%s: the checksum is %.16s but should be %s; the file was damaged or changed "
            "after it was written: use a copy, or train again",
            name, (const char *)bytes + CHECKSUM_AT, text);
    }
    if (checksum != NULL) *checksum = sum;
    return ISOVAE_OK;
}

/* Writing. */

/* Wide elements first, so that every tensor is aligned to its own. */
static int by_width_and_name(const void *a, const void *b)
{
    const iv_tensor *p = a, *q = b;
    if (p->dtype != q->dtype) return p->dtype == IV_F64 ? -1 : 1;
    return strcmp(p->name, q->name);
}

static json_t *entry_of(const iv_tensor *tensor, size_t begin, size_t end)
{
    json_t *entry = json_object(), *shape = json_array(), *offsets = json_array();
    int bad = 0;
    for (size_t i = 0; i < tensor->shape.rank; i++) {
        bad |= json_array_append_new(shape, json_integer((json_int_t)tensor->shape.dim[i]));
    }
    bad |= json_array_append_new(offsets, json_integer((json_int_t)begin));
    bad |= json_array_append_new(offsets, json_integer((json_int_t)end));
    bad |= json_object_set_new(entry, "data_offsets", offsets);
    bad |=
        json_object_set_new(entry, "dtype", json_string(tensor->dtype == IV_F64 ? "F64" : "F32"));
    bad |= json_object_set_new(entry, "shape", shape);
    if (bad == 0) return entry;
    json_decref(entry);
    return NULL;
}

/* Entries of the sorted tensors, and the length of the data. */
static isovae_status make_entries(const iv_tensor *sorted, size_t n, json_t *entries,
                                  size_t *data_length, isovae_error *err)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        size_t bytes, end;
        if (sorted[i].size == 0) {
            return iv_fail(err, ISOVAE_ERR_INTERNAL, "tensor '%.100s' is empty", sorted[i].name);
        }
        if (!iv_size_mul(sorted[i].size, iv_dtype_size(sorted[i].dtype), &bytes) ||
            !iv_size_add(at, bytes, &end)) {
            return iv_fail(err, ISOVAE_ERR_MEMORY, "tensor '%.100s' is too large", sorted[i].name);
        }
        if (json_object_get(entries, sorted[i].name) != NULL) {
            return iv_fail(err, ISOVAE_ERR_INTERNAL, "two tensors are named '%.100s'",
                           sorted[i].name);
        }
        if (json_object_set_new(entries, sorted[i].name, entry_of(&sorted[i], at, end)) != 0) {
            return iv_fail(err, ISOVAE_ERR_MEMORY,
                           "tensor '%.100s' cannot be described (no memory, or its name is not "
                           "UTF-8)",
                           sorted[i].name);
        }
        at = end;
    }
    *data_length = at;
    return ISOVAE_OK;
}

/* The members of `object` behind what stands in `text` already, and its closing brace. */
static void append_members(iv_text *text, const json_t *object)
{
    char *members = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
    if (members == NULL) {
        text->failed = true;
        return;
    }
    if (json_object_size(object) > 0) iv_text_puts(text, ",");
    iv_text_puts(text, members + 1);
    free(members);
}

static isovae_status assemble(const iv_text *header, const iv_tensor *sorted, size_t n,
                              size_t data_length, unsigned char **out, size_t *length,
                              isovae_error *err)
{
    unsigned char *bytes;
    size_t total;
    if (!iv_size_add(LENGTH_BYTES + header->length, data_length, &total)) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "the file is too large");
    }
    IV_TRY(IV_NEW(bytes, total, "the bytes of the model file", err));
    uint64_t header_bytes = header->length, sum;
    memcpy(bytes, &header_bytes, LENGTH_BYTES);
    memcpy(bytes + LENGTH_BYTES, header->data, header->length);
    unsigned char *at = bytes + LENGTH_BYTES + header->length;
    for (size_t i = 0; i < n; i++) {
        size_t size = sorted[i].size * iv_dtype_size(sorted[i].dtype);
        memcpy(at, sorted[i].data, size);
        at += size;
    }
    isovae_status status = checksum_of(bytes, total, &sum, err);
    if (status != ISOVAE_OK) {
        iv_free(bytes);
        return status;
    }
    char text[DIGITS + 1];
    (void)snprintf(text, sizeof text, "%016" PRIx64, sum);
    memcpy(bytes + CHECKSUM_AT, text, DIGITS);
    *out = bytes;
    *length = total;
    return ISOVAE_OK;
}

static isovae_status write_sorted(const iv_tensor *sorted, size_t n, const json_t *metadata,
                                  json_t *entries, iv_text *header, unsigned char **bytes,
                                  size_t *length, isovae_error *err)
{
    size_t data_length = 0;
    if (entries == NULL) return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for the header");
    IV_TRY(make_entries(sorted, n, entries, &data_length, err));
    iv_text_puts(header, prefix);
    iv_text_puts(header, zeros);
    iv_text_puts(header, "\"");
    append_members(header, metadata);
    append_members(header, entries);
    while (!header->failed && header->length % LENGTH_BYTES != 0) iv_text_puts(header, " ");
    IV_TRY(iv_text_check(header, err));
    if (header->length > max_header) {
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                       "the model's description takes %zu bytes, more than a model file may have",
                       header->length);
    }
    return assemble(header, sorted, n, data_length, bytes, length, err);
}

isovae_status iv_safetensors_write(const iv_tensor *tensors, size_t n, const json_t *metadata,
                                   unsigned char **bytes, size_t *length, isovae_error *err)
{
    iv_tensor *sorted;
    iv_text header = {0};
    *bytes = NULL;
    *length = 0;
    IV_TRY(IV_NEW(sorted, n, "the list of tensors", err));
    if (n > 0) memcpy(sorted, tensors, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_width_and_name);
    json_t *entries = json_object();
    isovae_status status = write_sorted(sorted, n, metadata, entries, &header, bytes, length, err);
    json_decref(entries);
    iv_text_free(&header);
    iv_free(sorted);
    return status;
}
