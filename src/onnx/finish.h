/* The end of a load: what was read becomes the caller's. */
#ifndef IV_ONNX_FINISH_H
#define IV_ONNX_FINISH_H

#include "onnx/loader.h"

/* Merges what the graph can do in one node: constants added behind dense and convolutions as their
 * bias, x sigmoid(x) as silu, activations (iv_graph_fuse). */
void iv_onnx_fuse(iv_graph *graph);
/* Takes graph and notes out of the context. */
isovae_status iv_onnx_finish(iv_onnx_context *c, const char *const *outputs, size_t n,
                             const iv_onnx_value *values, int64_t opset,
                             iv_onnx_graph **out) ISOVAE_MUST_CHECK;

#endif
