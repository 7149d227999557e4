/* One picture, JPEG or PNG, from bytes that are not trusted to pixels of a wanted size.
 *
 * What is converted, and how: 16-bit PNG to 8 bits (the samples are taken as they are encoded);
 * palettes to their colours; alpha over black, in the encoded values, v a / 255; colour to grey by
 * luma, (299 R + 587 G + 114 B) / 1000; grey among colour to R = G = B. A PNG that states another
 * gamma is brought to sRGB by libpng. Orientation tags are not looked at. What is refused: CMYK
 * JPEG (without its profile the colours would be guesses), anything cut off or damaged, pictures
 * above IV_PICTURE_PIXELS. Errors are ISOVAE_ERR_DATA with a short reason that does not name the
 * picture, or ISOVAE_ERR_MEMORY. */
#ifndef IV_DATA_PICTURE_H
#define IV_DATA_PICTURE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    IV_PICTURE_PIXELS = 1 << 26, /* of one picture, before anything is decoded */
    IV_PICTURE_SIDE = 1024       /* of what is made from it */
};

typedef struct iv_picture_info {
    bool jpeg; /* else PNG */
    size_t height, width;
    bool color; /* a PNG with a palette counts as color */
} iv_picture_info;

typedef enum iv_crop_kind { IV_CROP_NONE, IV_CROP_CENTER, IV_CROP_RECTANGLE } iv_crop_kind;
typedef struct iv_crop {
    iv_crop_kind kind;               /* center: the largest square, the odd line left at the end */
    size_t height, width, top, left; /* of a rectangle */
} iv_crop;
/* "none", "center", "H,W,TOP,LEFT". */
isovae_status iv_crop_parse(const char *text, iv_crop *out, isovae_error *err) ISOVAE_MUST_CHECK;
/* The rectangle that is taken from a picture; an error where one reaches over its edge. */
isovae_status iv_crop_of(const iv_crop *crop, size_t height, size_t width, iv_crop *out,
                         isovae_error *err) ISOVAE_MUST_CHECK;
/* "64" (a square) or "64x48" (height x width). */
isovae_status iv_size_parse(const char *text, size_t *height, size_t *width,
                            isovae_error *err) ISOVAE_MUST_CHECK;

/* The workspace of one thread. */
typedef struct iv_picture_reader iv_picture_reader;
isovae_status iv_picture_reader_new(iv_picture_reader **out, isovae_error *err) ISOVAE_MUST_CHECK;
void iv_picture_reader_free(iv_picture_reader *reader);

/* Format and size from the first bytes; nothing is decoded. */
isovae_status iv_picture_peek(iv_picture_reader *reader, const unsigned char *bytes, size_t length,
                              iv_picture_info *out, isovae_error *err) ISOVAE_MUST_CHECK;
/* Decodes, crops, converts and resizes into height x width x channels (1 or 3) bytes. */
isovae_status iv_picture_read(iv_picture_reader *reader, const unsigned char *bytes, size_t length,
                              const iv_crop *crop, size_t height, size_t width, size_t channels,
                              unsigned char *out, isovae_error *err) ISOVAE_MUST_CHECK;

/* ---- resample.c ---- */

/* Resizing of one axis: output i is the mean of inputs j with triangle weights
 * w = max(0, 1 - |j + 1/2 - (i + 1/2) s| / max(1, s)), s = inputs / outputs, that sum to 1: linear
 * interpolation where the picture grows, and antialiased by a triangle as wide as the reduction
 * where it shrinks. */
typedef struct iv_resample_axis {
    size_t inputs, outputs, taps;
    size_t *first; /* outputs: the first input that counts */
    float *weight; /* outputs x taps */
} iv_resample_axis;
isovae_status iv_resample_axis_set(iv_resample_axis *axis, size_t inputs, size_t outputs,
                                   isovae_error *err) ISOVAE_MUST_CHECK;
void iv_resample_axis_free(iv_resample_axis *axis);
/* rows.inputs x columns.inputs x channels bytes to outputs likewise, rounded to the nearest byte;
 * `line` has room for columns.inputs * channels floats. */
void iv_resample(const iv_resample_axis *rows, const iv_resample_axis *columns, size_t channels,
                 const unsigned char *in, float *line, unsigned char *out);

#endif
