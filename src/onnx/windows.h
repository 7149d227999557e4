/* Windows of convolutions and pools over one to three spatial axes. */
#ifndef IV_ONNX_WINDOWS_H
#define IV_ONNX_WINDOWS_H

#include "onnx/loader.h"

enum { IV_ONNX_SPATIAL = 3 };

typedef struct iv_onnx_windows {
    size_t rank;
    size_t in[IV_ONNX_SPATIAL], kernel[IV_ONNX_SPATIAL], out[IV_ONNX_SPATIAL];
    size_t stride[IV_ONNX_SPATIAL], dilation[IV_ONNX_SPATIAL];
    size_t before[IV_ONNX_SPATIAL], after[IV_ONNX_SPATIAL]; /* padding */
    bool same, upper; /* auto_pad says SAME, with the odd one behind */
} iv_onnx_windows;

/* Attributes of the node; `in` and `kernel` are given. Padding by auto_pad is filled in for
 * convolutions and pools (not transposed ones), `out` with `ceil` or without. */
isovae_status iv_onnx_windows_read(iv_onnx_context *c, iv_onnx_windows *w);
isovae_status iv_onnx_windows_out(iv_onnx_context *c, iv_onnx_windows *w, bool ceil);

/* Of a live value [B, C, ..spatial..] (B may be merged with T): images = T C, and for each the
 * source of tap k at place p, at map[k places + p]; -1: padding. `transposed`: of a transposed
 * convolution, from its output back. */
isovae_status iv_onnx_windows_map(iv_onnx_context *c, const iv_onnx_windows *w, bool transposed,
                                  int64_t **map, size_t *taps, size_t *places);
/* Rows of (images, taps, places) from those of v by that map. */
isovae_status iv_onnx_windows_take(iv_onnx_context *c, const iv_onnx_value *v,
                                   const iv_onnx_windows *w, bool transposed, double fill,
                                   iv_onnx_value *out, size_t *taps, size_t *places);
/* [B, C, ..] with one to three spatial axes, the batch first: checks, and fills rank and in. */
isovae_status iv_onnx_windows_input(iv_onnx_context *c, const iv_onnx_value *v, iv_onnx_windows *w);

#endif
