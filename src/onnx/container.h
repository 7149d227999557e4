/* The file as protobuf-c gives it, within bounds. */
#ifndef IV_ONNX_CONTAINER_H
#define IV_ONNX_CONTAINER_H

#include "base/status.h"

#include <onnx/onnx.pb-c.h>
#include <stdbool.h>
#include <stddef.h>

/* Messages inside messages that are followed; a graph within a node (If) takes three. */
enum { IV_ONNX_NESTING = 48 };

typedef struct iv_onnx_file {
    Onnx__ModelProto *model;
    size_t used, limit; /* bytes that protobuf-c holds */
    bool over;
    ProtobufCAllocator allocator;
} iv_onnx_file;

/* Unpacks `data`, which is no longer needed then. `file` must stay where it is until it is closed.
 */
isovae_status iv_onnx_unpack(const unsigned char *data, size_t length, const char *name,
                             iv_onnx_file *file, isovae_error *err) ISOVAE_MUST_CHECK;
void iv_onnx_file_close(iv_onnx_file *file);

#endif
