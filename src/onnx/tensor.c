/* Tensors of the file as constants. External data are read from inside the model's folder alone. */
#include "onnx/loader.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef Onnx__TensorProto tensor_proto;

isovae_status iv_onnx_count(iv_onnx_context *c, const iv_onnx_dims *dims, size_t *out)
{
    *out = 1;
    for (size_t i = 0; i < dims->rank; i++) {
        if (!iv_size_mul(*out, dims->dim[i], out) || *out > PTRDIFF_MAX / 64) {
            char text[IV_ONNX_DIMS_TEXT];
            return IV_ONNX_FAIL(c, "a tensor of shape %s is too large",
                                iv_onnx_dims_text(dims, text));
        }
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_new_float(iv_onnx_context *c, const iv_onnx_dims *dims, bool wide,
                                iv_onnx_value *out, double **f)
{
    iv_onnx_tensor *t;
    IV_TRY(IV_ONNX_NEW(c, t, 1));
    IV_TRY(iv_onnx_count(c, dims, &t->n));
    IV_TRY(IV_ONNX_NEW(c, t->f, t->n));
    *out = (iv_onnx_value){.type = IV_ONNX_FLOAT, .wide = wide, .dims = *dims, .tensor = t};
    *f = t->f;
    return ISOVAE_OK;
}

isovae_status iv_onnx_new_int(iv_onnx_context *c, const iv_onnx_dims *dims, iv_onnx_type type,
                              bool batch, iv_onnx_value *out, int64_t **i, int64_t **b)
{
    iv_onnx_tensor *t;
    IV_TRY(IV_ONNX_NEW(c, t, 1));
    IV_TRY(iv_onnx_count(c, dims, &t->n));
    IV_TRY(IV_ONNX_NEW(c, t->i, t->n));
    if (batch) IV_TRY(IV_ONNX_NEW(c, t->b, t->n));
    *out = (iv_onnx_value){.type = type, .dims = *dims, .tensor = t};
    *i = t->i;
    if (b != NULL) *b = t->b;
    return ISOVAE_OK;
}

/* ---- kinds of elements ---- */

static size_t width_of(int32_t type)
{
    switch (type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE:
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT64:
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT64: return 8;
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT32:
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT32: return 4;
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16:
    case ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16:
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT16:
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT16: return 2;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT8:
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT8:
    case ONNX__TENSOR_PROTO__DATA_TYPE__BOOL: return 1;
    default: return 0;
    }
}

static bool is_float(int32_t type)
{
    return type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT ||
           type == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE ||
           type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16 ||
           type == ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16;
}

static double from_half(uint16_t bits)
{
    int exponent = bits >> 10 & 31;
    uint32_t fraction = bits & 1023, out = (uint32_t)(bits >> 15) << 31;
    float value;
    if (exponent == 0) { /* zero and subnormal: fraction x 2^-24 */
        value = (float)fraction * 0x1p-24f;
        return bits >> 15 ? -(double)value : (double)value;
    }
    out |= (exponent == 31 ? 255u : (uint32_t)(exponent + 112)) << 23 | fraction << 13;
    memcpy(&value, &out, sizeof value);
    return (double)value;
}

static double from_bfloat(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return (double)value;
}

/* Little-endian bytes, as the format says. */
static uint64_t load(const unsigned char *at, size_t width)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < width; i++) bits |= (uint64_t)at[i] << (8 * i);
    return bits;
}

static double float_of(int32_t type, uint64_t bits)
{
    if (type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16) return from_half((uint16_t)bits);
    if (type == ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16) return from_bfloat((uint16_t)bits);
    if (type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT) {
        uint32_t narrow = (uint32_t)bits;
        float f;
        memcpy(&f, &narrow, sizeof f);
        return (double)f;
    }
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

static int64_t int_of(int32_t type, uint64_t bits)
{
    switch (type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT32: return (int32_t)(uint32_t)bits;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT16: return (int16_t)(uint16_t)bits;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT8: return (int8_t)(uint8_t)bits;
    case ONNX__TENSOR_PROTO__DATA_TYPE__BOOL: return bits != 0;
    default: return (int64_t)bits;
    }
}

static void decode(int32_t type, const unsigned char *raw, size_t n, double *f, int64_t *i)
{
    size_t width = width_of(type);
    for (size_t k = 0; k < n; k++) {
        uint64_t bits = load(raw + k * width, width);
        if (f != NULL)
            f[k] = float_of(type, bits);
        else
            i[k] = int_of(type, bits);
    }
}

/* ---- elements in typed fields ---- */

static isovae_status typed(iv_onnx_context *c, const tensor_proto *proto, size_t n, double *f,
                           int64_t *i)
{
    int32_t type = proto->data_type;
    size_t there;
    if (type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT) {
        there = proto->n_float_data;
        for (size_t k = 0; k < n && k < there; k++) f[k] = (double)proto->float_data[k];
    } else if (type == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE) {
        there = proto->n_double_data;
        for (size_t k = 0; k < n && k < there; k++) f[k] = proto->double_data[k];
    } else if (type == ONNX__TENSOR_PROTO__DATA_TYPE__INT64) {
        there = proto->n_int64_data;
        for (size_t k = 0; k < n && k < there; k++) i[k] = proto->int64_data[k];
    } else if (type == ONNX__TENSOR_PROTO__DATA_TYPE__UINT32 ||
               type == ONNX__TENSOR_PROTO__DATA_TYPE__UINT64) {
        there = proto->n_uint64_data;
        for (size_t k = 0; k < n && k < there; k++) i[k] = (int64_t)proto->uint64_data[k];
    } else {
        there = proto->n_int32_data;
        for (size_t k = 0; k < n && k < there; k++) {
            uint64_t bits = (uint32_t)proto->int32_data[k];
            if (f != NULL)
                f[k] = float_of(type, bits);
            else
                i[k] = int_of(type, bits);
        }
    }
    if (there == n) return ISOVAE_OK;
    return IV_ONNX_FAIL(c, "tensor '%s' holds %zu elements, but its shape says %zu",
                        proto->name == NULL ? "" : proto->name, there, n);
}

/* ---- elements in another file ---- */

/* Whether `path` (absolute, without links) is below `folder`. */
static bool is_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    if (n == 1 && folder[0] == '/') return true;
    return strncmp(path, folder, n) == 0 && path[n] == '/';
}

/* The file itself, however it is reached; *where is allocated by realpath. */
static isovae_status open_external(iv_onnx_context *c, const char *tensor, const char *location,
                                   int *descriptor)
{
    char *folder = NULL, *path = NULL, *joined = NULL;
    isovae_status status = ISOVAE_OK;
    size_t n = strlen(location);
    *descriptor = -1;
    bool upwards = location[0] == '/' || n == 0;
    for (const char *part = location; part != NULL;) { /* "..", as a whole part */
        if (strncmp(part, "..", 2) == 0 && (part[2] == '\0' || part[2] == '/')) upwards = true;
        part = strchr(part, '/');
        if (part != NULL) part++;
    }
    if (upwards) {
        return IV_ONNX_FAIL(c,
                            "tensor '%s' is said to lie in '%.200s'; external data must lie beside "
                            "the model or below its folder",
                            tensor, location);
    }
    if (c->folder == NULL) {
        return IV_ONNX_FAIL(c,
                            "tensor '%s' lies in a file of its own ('%.200s'), which is not "
                            "read here",
                            tensor, location);
    }
    size_t room = strlen(c->folder) + n + 2;
    IV_TRY(iv_alloc((void **)&joined, room, 1, "a path", c->err));
    (void)snprintf(joined, room, "%s/%s", c->folder, location);
    folder = realpath(c->folder, NULL);
    path = realpath(joined, NULL);
    if (folder == NULL || path == NULL) {
        status = iv_fail(c->err, ISOVAE_ERR_IO,
                         "tensor '%s' lies in '%.200s', which is not there; it belongs beside the "
                         "model",
                         tensor, location);
    } else if (!is_below(path, folder)) {
        status = IV_ONNX_FAIL(c,
                              "tensor '%s' lies in '%.200s', a link that leaves the model's "
                              "folder; put the file itself there",
                              tensor, location);
    } else {
        struct stat info;
        *descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (*descriptor < 0 || fstat(*descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
            status = iv_fail(c->err, ISOVAE_ERR_IO,
                             "tensor '%s' lies in '%.200s', which cannot be read as a file", tensor,
                             location);
            if (*descriptor >= 0) close(*descriptor);
            *descriptor = -1;
        }
    }
    free(folder);
    free(path);
    iv_free(joined);
    return status;
}

static bool parse_size(const char *text, size_t *out)
{
    size_t value = 0, n = strlen(text);
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        if (!iv_size_mul(value, 10, &value)) return false;
        if (!iv_size_add(value, (size_t)(text[i] - '0'), &value)) return false;
    }
    *out = value;
    return n > 0;
}

static isovae_status external(iv_onnx_context *c, const tensor_proto *proto, size_t n, double *f,
                              int64_t *i)
{
    enum { PART = 1 << 16 };
    const char *name = proto->name == NULL ? "" : proto->name, *location = NULL;
    size_t offset = 0, length = 0, bytes, end;
    bool has_length = false, good = true;
    for (size_t k = 0; k < proto->n_external_data; k++) {
        const Onnx__StringStringEntryProto *entry = proto->external_data[k];
        if (entry->key == NULL || entry->value == NULL) continue;
        if (strcmp(entry->key, "location") == 0) location = entry->value;
        if (strcmp(entry->key, "offset") == 0) good = good && parse_size(entry->value, &offset);
        if (strcmp(entry->key, "length") == 0) {
            good = good && parse_size(entry->value, &length);
            has_length = true;
        }
    }
    size_t width = width_of(proto->data_type);
    good = good && iv_size_mul(n, width, &bytes) && iv_size_add(offset, bytes, &end) &&
           end <= INT64_MAX && (!has_length || length == bytes);
    if (location == NULL || !good) {
        return IV_ONNX_FAIL(c,
                            "tensor '%s': where its external data lie (location, offset, "
                            "length) is not said, or contradicts its shape",
                            name);
    }
    int descriptor;
    IV_TRY(open_external(c, name, location, &descriptor));
    struct stat info;
    isovae_status status = ISOVAE_OK;
    unsigned char *part = NULL;
    if (fstat(descriptor, &info) != 0 || info.st_size < 0 || (uintmax_t)info.st_size < end) {
        status = IV_ONNX_FAIL(c,
                              "tensor '%s' lies in '%.200s' up to byte %zu, but that file is "
                              "shorter",
                              name, location, end);
    }
    if (status == ISOVAE_OK) status = iv_alloc((void **)&part, PART, 1, "a buffer", c->err);
    for (size_t done = 0; status == ISOVAE_OK && done < n;) {
        size_t count = PART / width < n - done ? PART / width : n - done, got = 0;
        while (got < count * width) {
            ssize_t more = pread(descriptor, part + got, count * width - got,
                                 (off_t)(offset + done * width + got));
            if (more < 0 && errno == EINTR) continue;
            if (more <= 0) {
                status = iv_fail(c->err, ISOVAE_ERR_IO, "tensor '%s': reading '%.200s' failed",
                                 name, location);
                break;
            }
            got += (size_t)more;
        }
        if (status != ISOVAE_OK) break;
        decode(proto->data_type, part, count, f == NULL ? NULL : f + done,
               i == NULL ? NULL : i + done);
        done += count;
    }
    iv_free(part);
    close(descriptor);
    return status;
}

isovae_status iv_onnx_tensor_read(iv_onnx_context *c, const tensor_proto *proto, iv_onnx_value *out)
{
    const char *name = proto->name == NULL ? "" : proto->name;
    size_t width = width_of(proto->data_type), n, bytes;
    if (width == 0) {
        return IV_ONNX_REFUSE(c,
                              "tensor '%s' has elements of type %d; floats (16, 32, 64 bits), "
                              "integers and booleans are read",
                              name, (int)proto->data_type);
    }
    if (proto->n_dims > IV_ONNX_RANK) {
        return IV_ONNX_REFUSE(c, "tensor '%s' has %zu axes; %d are the most", name, proto->n_dims,
                              IV_ONNX_RANK);
    }
    if (proto->segment != NULL) {
        return IV_ONNX_REFUSE(c, "tensor '%s' is stored in segments, which no exporter does", name);
    }
    size_t dim[IV_ONNX_RANK];
    for (size_t i = 0; i < proto->n_dims; i++) {
        if (proto->dims[i] < 0) return IV_ONNX_FAIL(c, "tensor '%s' has a negative extent", name);
        dim[i] = (size_t)proto->dims[i];
    }
    iv_onnx_dims dims = iv_onnx_dims_of(proto->n_dims, dim);
    IV_TRY(iv_onnx_count(c, &dims, &n));
    if (!iv_size_mul(n, width, &bytes)) bytes = SIZE_MAX;
    bool outside = proto->has_data_location &&
                   proto->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    bool raw = !outside && proto->has_raw_data && (n == 0 || proto->raw_data.len > 0);
    /* before memory is taken for what is not there */
    size_t most = proto->n_float_data + proto->n_double_data + proto->n_int32_data +
                  proto->n_int64_data + proto->n_uint64_data;
    if ((raw && proto->raw_data.len != bytes) || (!raw && !outside && n > most)) {
        return IV_ONNX_FAIL(c, "tensor '%s' holds %zu %s, but its shape says %zu", name,
                            raw ? proto->raw_data.len : most, raw ? "bytes" : "elements",
                            raw ? bytes : n);
    }
    double *f = NULL;
    int64_t *i = NULL;
    if (is_float(proto->data_type)) {
        bool wide = proto->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE;
        IV_TRY(iv_onnx_new_float(c, &dims, wide, out, &f));
    } else {
        bool truth = proto->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__BOOL;
        IV_TRY(iv_onnx_new_int(c, &dims, truth ? IV_ONNX_BOOL : IV_ONNX_INT, false, out, &i, NULL));
    }
    if (outside) return external(c, proto, n, f, i);
    if (!raw) return typed(c, proto, n, f, i);
    decode(proto->data_type, proto->raw_data.data, n, f, i);
    return ISOVAE_OK;
}
