/* Pictures that are put together: images on a white ground, enlarged by whole factors, with labels
 * in a bitmap font. */
#ifndef IV_REPORT_PLATE_H
#define IV_REPORT_PLATE_H

#include "report/image.h"

enum { IV_LETTER_WIDTH = 6, IV_LETTER_HEIGHT = 9 }; /* pixels, the gap included */

/* A white picture; release its pixels with iv_free. */
isovae_status iv_plate_new(iv_picture *out, size_t height, size_t width, size_t channels,
                           isovae_error *err) ISOVAE_MUST_CHECK;
/* Copies `from` (as many channels as `plate`, or one, which then is grey) to (x, y), every pixel
 * `zoom` times as large; what lies outside is cut off. */
void iv_plate_image(iv_picture *plate, size_t x, size_t y, size_t zoom, const iv_picture *from);
/* Black text from (x, y), its upper left corner; what lies outside is cut off. Letters: a-z
 * (capitals as small ones), digits and . , : - + = % / ( ); others are left blank. */
void iv_plate_text(iv_picture *plate, size_t x, size_t y, const char *text);
size_t iv_plate_text_width(const char *text);

/* Rows of images with a name before each row, a head over each column and a number under each gap
 * between two neighbours. */
typedef struct iv_sheet {
    size_t rows, columns;
    size_t height, width,
        channels;             /* of an image, channels fastest: 1, or 3 and more (the first 3) */
    const double *images;     /* rows x columns x height x width x channels */
    double lo, hi;            /* shown black and white */
    const char *title;        /* over all, may be NULL */
    const char *const *names; /* rows; lines separated by \n */
    const char *const *heads; /* columns, may be NULL */
    const double *between;    /* rows x columns: number k stands between k - 1 and k; or NULL */
} iv_sheet;
isovae_status iv_sheet_draw(const iv_sheet *sheet, iv_picture *out,
                            isovae_error *err) ISOVAE_MUST_CHECK;

#endif
