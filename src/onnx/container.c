#include "onnx/container.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

/* ---- memory: each block is preceded by its size ---- */

enum { HEAD = 16 };

static void *take(void *user, size_t size)
{
    iv_onnx_file *file = user;
    size_t total;
    if (!iv_size_add(size, HEAD, &total) || total > file->limit - file->used) {
        file->over = true;
        return NULL;
    }
    unsigned char *block = malloc(total);
    if (block == NULL) return NULL;
    memcpy(block, &total, sizeof total);
    file->used += total;
    return block + HEAD;
}

static void give(void *user, void *block)
{
    iv_onnx_file *file = user;
    size_t total;
    if (block == NULL) return;
    unsigned char *start = (unsigned char *)block - HEAD;
    memcpy(&total, start, sizeof total);
    file->used -= total;
    free(start);
}

/* ---- nesting: protobuf-c recurses as deep as the file says ---- */

typedef struct reader {
    const unsigned char *at, *end;
} reader;

static bool read_varint(reader *r, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (r->at == r->end) return false;
        unsigned char byte = *r->at++;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return true;
    }
    return false;
}

static bool skip(reader *r, size_t n)
{
    if ((size_t)(r->end - r->at) < n) return false;
    r->at += n;
    return true;
}

static const ProtobufCFieldDescriptor *field_of(const ProtobufCMessageDescriptor *message,
                                                uint64_t number)
{
    for (unsigned i = 0; i < message->n_fields; i++) {
        if (message->fields[i].id == number) return &message->fields[i];
    }
    return NULL;
}

typedef enum walked { WALKED, DAMAGED, TOO_DEEP } walked;

/* NOLINTNEXTLINE(misc-no-recursion): this is what bounds it */
static walked walk(const ProtobufCMessageDescriptor *message, reader r, int depth)
{
    if (depth > IV_ONNX_NESTING) return TOO_DEEP;
    while (r.at < r.end) {
        uint64_t key, length;
        if (!read_varint(&r, &key)) return DAMAGED;
        switch (key & 7) {
        case 0:
            if (!read_varint(&r, &length)) return DAMAGED;
            break;
        case 1:
            if (!skip(&r, 8)) return DAMAGED;
            break;
        case 5:
            if (!skip(&r, 4)) return DAMAGED;
            break;
        case 2: {
            if (!read_varint(&r, &length)) return DAMAGED;
            if (length > (size_t)(r.end - r.at)) return DAMAGED;
            const ProtobufCFieldDescriptor *field = field_of(message, key >> 3);
            if (field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE) {
                walked inner = walk(field->descriptor, (reader){r.at, r.at + length}, depth + 1);
                if (inner != WALKED) return inner;
            }
            r.at += length;
            break;
        }
        default: return DAMAGED;
        }
    }
    return WALKED;
}

isovae_status iv_onnx_unpack(const unsigned char *data, size_t length, const char *name,
                             iv_onnx_file *file, isovae_error *err)
{
    /* A message of a few bytes takes some hundred in memory; a packed integer eight. */
    enum { BASE = 16 << 20, FACTOR = 16 };
    *file = (iv_onnx_file){.limit = SIZE_MAX / 2};
    size_t limit;
    if (iv_size_mul(length, FACTOR, &limit) && iv_size_add(limit, BASE, &limit)) {
        file->limit = limit;
    }
    file->allocator = (ProtobufCAllocator){take, give, file};
    walked result = walk(&onnx__model_proto__descriptor, (reader){data, data + length}, 0);
    if (result == TOO_DEEP) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "%s: messages are nested more than %d deep; no exporter writes such a file",
                       name, IV_ONNX_NESTING);
    }
    if (result == WALKED) {
        file->model = onnx__model_proto__unpack(&file->allocator, length, data);
    }
    if (file->model == NULL) {
        if (file->over) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "%s: its %zu bytes unfold to more than %zu in memory; no exporter "
                           "writes such a file",
                           name, length, file->limit);
        }
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "%s: this is no ONNX file, or it is damaged (the protobuf message ends or "
                       "breaks off)",
                       name);
    }
    if (file->model->graph == NULL) {
        iv_onnx_file_close(file);
        return iv_fail(err, ISOVAE_ERR_FORMAT, "%s: no ONNX file: it holds no graph", name);
    }
    return ISOVAE_OK;
}

void iv_onnx_file_close(iv_onnx_file *file)
{
    if (file->model != NULL) onnx__model_proto__free_unpacked(file->model, &file->allocator);
    file->model = NULL;
}
