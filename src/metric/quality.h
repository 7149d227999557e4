/* How near two pictures are, for people: PSNR, SSIM, MS-SSIM. In double and plain; for reports, not
 * for training. */
#ifndef IV_METRIC_QUALITY_H
#define IV_METRIC_QUALITY_H

#include "metric/metric.h"

typedef struct iv_quality_room iv_quality_room;
typedef struct iv_quality {
    double psnr;    /* 10 log10(R^2 / mean squared error), dB; at most 100 */
    double ssim;    /* mean over windows and channels; NaN where no window fits */
    double ms_ssim; /* mean over channels; NaN where only one scale fits */
} iv_quality;

/* Workspace of one thread for pictures of a shape (any order of channels) with the data range R. */
isovae_status iv_quality_new(const iv_metric_image *image, double range, iv_quality_room **out,
                             isovae_error *err) ISOVAE_MUST_CHECK;
void iv_quality_free(iv_quality_room *room);
/* Scales of MS-SSIM: as often as 11 windows fit after halving, at most 5; 0 where none fits. With
 * fewer than 5 the first weights of Wang, Simoncelli, Bovik 2003 are divided by their sum. */
size_t iv_quality_scales(const iv_quality_room *room);
void iv_quality_of(iv_quality_room *room, const double *x, const double *y, iv_quality *out);

#endif
