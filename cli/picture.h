/* Results as pictures. */
#ifndef CLI_PICTURE_H
#define CLI_PICTURE_H

#include "cli.h"

#include "report/plate.h"

/* Data units shown black and white: the range of bytes, [0, 1], or that of the `n` values where it
 * is wider. */
void cli_tone(const iv_model *model, const double *x, size_t n, double *lo, double *hi);
/* To the file of -o, as PNG. */
isovae_status cli_picture_write(const cli *c, const iv_picture *picture,
                                isovae_error *err) ISOVAE_MUST_CHECK;

#endif
