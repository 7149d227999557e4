/* Images of one Gaussian blob with known factors: I = a g / |g|, g = exp(-r^2 / (2 w^2)) around
 * (x, y). a is the image's L2 norm, so dI/da is orthogonal to the derivatives by x, y and w (those
 * of a function of unit norm), and these are orthogonal to each other by symmetry:
 *   |dI/dx| = |dI/dy| = a / (sqrt(2) w),  |dI/dw| = a / w,  |dI/da| = 1.
 * The factors are independent: x, y and a uniform, w log-uniform. In the truth they are arc
 * lengths, to first order: x and y times the root mean square of a / (sqrt(2) w), log w times that
 * of a, and a itself, so that their variances are in the pixels' squared units. */
#ifndef IV_DATA_BLOBS_H
#define IV_DATA_BLOBS_H

#include "data/dataset.h"

enum { IV_BLOBS_FACTORS = 4 }; /* x, y, width, amplitude */

typedef struct iv_blobs {
    size_t n, size; /* images, side in pixels */
    uint64_t seed;
    double x, y;                  /* pixels to either side of the middle */
    double width_low, width_high; /* pixels */
    double amplitude_low, amplitude_high;
    double noise; /* standard deviation of each pixel */
} iv_blobs;
/* "blobs:[n=20000][,size=32][,seed=0][,x=R][,y=R][,width=A:B][,amplitude=A:B][,noise=SD]"; lengths
 * are in pixels and by default in proportion to the size. */
isovae_status iv_blobs_parse(const char *spec, iv_blobs *out, isovae_error *err) ISOVAE_MUST_CHECK;
/* One image, size x size, row by row. factor: x, y (from the middle), width, amplitude. */
void iv_blobs_draw(size_t size, const double factor[IV_BLOBS_FACTORS], double *out);
/* Of the factors as the truth has them. */
void iv_blobs_variances(const iv_blobs *blobs, double out[IV_BLOBS_FACTORS]);

/* Row r depends on the spec and r alone. Sets everything but note, source and hash. */
isovae_status iv_blobs_open(const char *spec, const iv_data_options *options, iv_dataset **out,
                            isovae_error *err) ISOVAE_MUST_CHECK;

#endif
