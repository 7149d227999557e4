/* Inside of the conv*.c files: one product of a convolution, and its left operand. */
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

/* Elements of the packed weights of one part, and where those of the first one start. */
size_t iv_conv_packed(const iv_kernels *k, const iv_phase *phase);
size_t iv_conv_packed_start(const iv_conv *conv, bool up);

size_t iv_conv_ld(size_t k);
/* Rows of a tile of columns so that it, and the results of it, stay in the second cache; and of one
 * that needs no columns. */
enum { IV_CONV_TILE = 504 };
size_t iv_conv_tile_rows(size_t ld, size_t n);

/* Images worked on together: small ones fill a tile, and stay in the second cache. */
size_t iv_conv_group(size_t rows, size_t pixels, size_t image_size);

/* The images that a product reads, and how their windows become its left operand: in place, from
 * images with zeros around them, or gathered into columns where the taps of a row of a window do
 * not lie together. */
typedef struct iv_source {
    size_t side[2], channels; /* of an image */
    bool in_place;
    ptrdiff_t origin[2]; /* of the frame in the image, not above 0 */
    size_t frame[2];     /* height and width with the zeros, in place */
    size_t image;        /* elements from one image to the next, where windows are read */
} iv_source;

/* Windows on the small image (up) or the big one. `thin`: products have too few columns for windows
 * in place (IV_PRODUCT_THIN). */
iv_source iv_conv_source(const iv_conv *conv, bool up, bool thin);
/* Elements that iv_conv_load needs for so many images. */
size_t iv_conv_source_work(const iv_source *source, size_t images);
/* Images as their windows are read: as they lie, or turned and framed in `work`. */
const void *iv_conv_load(const iv_kernels *k, const iv_source *source, size_t images,
                         const void *from, bool last, void *work);
/* In place: where windows first .. first + count - 1 of a run of images start, and how far apart
 * the runs of a window are. */
void iv_conv_starts(const iv_source *source, const iv_phase *phase, size_t first, size_t count,
                    uint32_t *starts);
size_t iv_conv_run_step(const iv_source *source, const iv_phase *phase);
/* The same windows as rows of `columns`, of images not in place. */
void iv_conv_columns(const iv_kernels *k, const iv_source *source, const iv_phase *phase,
                     size_t first, size_t count, const void *images, void *columns);

size_t iv_conv_weight_work(const iv_conv *conv);

#endif
