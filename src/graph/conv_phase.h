/* Inside of conv.c and conv_weight.c: one product of a convolution. */
#ifndef IV_GRAPH_CONV_PHASE_H
#define IV_GRAPH_CONV_PHASE_H

#include "graph/conv.h"

typedef struct iv_phase_axis {
    ptrdiff_t first; /* output position of window t: first + t step + 0 .. width - 1 */
    size_t step, width;
    size_t tap; /* the kernel's tap of window tap j: tap + j tap_step */
    ptrdiff_t tap_step;
} iv_phase_axis;

typedef struct iv_phase {
    iv_gather gather; /* of one part's channels */
    iv_phase_axis axis[2];
    size_t channels; /* of the output, in one part */
    size_t pixels;   /* windows */
    size_t k, n;     /* n: channels, times the phases where they are merged */
} iv_phase;

bool iv_conv_merged(const iv_conv *conv, bool up);
size_t iv_conv_phases(const iv_conv *conv, bool up);
void iv_conv_phase(const iv_conv *conv, bool up, size_t index, iv_phase *phase);

/* Elements of the packed weights of one part, and where those of the first one start. A merged
 * phase has one piece for each row of taps. */
size_t iv_conv_packed(const iv_kernels *k, const iv_conv *conv, bool up, const iv_phase *phase);
size_t iv_conv_packed_start(const iv_conv *conv, bool up);

size_t iv_conv_ld(size_t k);
/* Rows of a tile of columns so that it, and the results of it, stay in the second cache. */
size_t iv_conv_tile_rows(size_t ld, size_t n);

/* Images worked on together: small ones fill a tile, and stay in the second cache. */
size_t iv_conv_group(size_t rows, size_t pixels, size_t image_size);

/* Rows first .. first + count - 1 of the columns of a run of images, `pixels` windows each. */
void iv_conv_columns(const iv_kernels *k, const iv_gather *g, size_t pixels, size_t image_size,
                     size_t first, size_t count, const void *source, void *columns);

size_t iv_conv_weight_work(const iv_conv *conv);

#endif
