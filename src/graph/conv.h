/* The arithmetic of conv and conv_transpose, which are one linear map and its transpose.
 *
 * The map goes from a big image (H, W, C: what a convolution reads) to a small one (what it
 * writes); both kinds keep the weight as (small channels, big channels / groups, kh, kw). "Down" is
 * the convolution: forward of conv, data gradient of conv_transpose. "Up" is its transpose: data
 * gradient of conv, forward of conv_transpose. Each is a product: rows are output pixels, columns
 * output channels, and the sum runs over the window of an output pixel in the source, which is read
 * where it lies (conv_source.c). Up, the output pixels that are alike modulo the stride see the
 * same taps of the kernel: one product for each such phase, nothing is scattered and no zero is
 * multiplied. */
#ifndef IV_GRAPH_CONV_H
#define IV_GRAPH_CONV_H

#include "graph/node.h"

typedef struct iv_conv {
    size_t big[2], small[2]; /* height, width */
    size_t big_channels, small_channels;
    size_t kernel[2], stride[2], dilation[2], pad[2]; /* top, left */
    size_t big_each, small_each;                      /* channels of a group */
    /* Groups are joined into `parts` products of `joined` groups each (zeros between them), so that
     * those of few channels fill a vector: up to 16 times the multiplications, in the lanes that
     * would lie idle. NaN and infinities can spread among the groups that are joined. */
    size_t joined, parts;
} iv_conv;

/* By its input and output shapes; `transposed`: the input is the small image. */
void iv_conv_geometry(const iv_conv_attributes *attributes, const iv_shape *in, const iv_shape *out,
                      bool transposed, iv_conv *conv);

/* Packed weights of one direction: elements, and their making from `weight`. A bias, which may be
 * NULL, is laid out with them. */
size_t iv_conv_pack_size(const iv_kernels *k, const iv_conv *conv, bool up);
void iv_conv_pack(const iv_kernels *k, const iv_conv *conv, bool up, const void *weight,
                  const void *bias, void *packed);

/* One pass over `images` images. `packed` and `bias` as packed before; act as in iv_product, slope
 * laid out like `to`. */
typedef struct iv_conv_run {
    const iv_conv *conv;
    bool up;
    size_t images;
    const void *from;
    void *to;
    bool from_last, to_last; /* physical order */
    const void *packed;
    const void *bias; /* NULL: none */
    iv_act act;
    double act_parameter;
    void *slope; /* NULL: not wanted */
    bool accumulate;
    void *work;
} iv_conv_run;
void iv_conv_apply(const iv_kernels *k, const iv_conv_run *run);

/* Weight gradient, sum over images and small pixels p of big[window of p] small[p], into the taps
 * (part by part, in the order of the kernel) [first, end) of `grad`. */
typedef struct iv_conv_weight_run {
    const iv_conv *conv;
    size_t images;
    const void *big, *small;
    bool big_last, small_last;
    void *grad;
    bool accumulate;
    size_t first, end; /* of parts * kernel[0] * kernel[1] */
    void *work;
} iv_conv_weight_run;
void iv_conv_weight_gradient(const iv_kernels *k, const iv_conv_weight_run *run);

/* Elements of `work` that any of the above needs. */
size_t iv_conv_work_size(const iv_conv *conv);

#endif
