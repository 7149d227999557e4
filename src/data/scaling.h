/* Scaling x = shift + scale x' between data units and the network's units x', and the weight with
 * which each feature enters the metric: D(x, xhat) = sum weight_i (x'_i - xhat'_i)^2.
 *
 *   none      shift = mean, scale = c for all features (c^2 = mean variance), weight = c^2: the
 *             metric is SSE in data units, c is there for the optimiser's sake only
 *   identity  shift 0, scale 1, weight 1 (metrics that look at x itself: weighted, ssim)
 *   standard  shift = mean, scale = SD, weight 1        (constant feature: scale 1, weight 1)
 *   minmax    shift = min, scale = max - min, weight 1  (likewise)
 *   unit      shift 0, scale 255 for bytes, 1 for values already in [0, 1], weight 1
 */
#ifndef IV_DATA_SCALING_H
#define IV_DATA_SCALING_H

#include "data/dataset.h"

typedef enum iv_scale_kind {
    IV_SCALE_NONE = 0,
    IV_SCALE_IDENTITY = 1,
    IV_SCALE_STANDARD = 2,
    IV_SCALE_MINMAX = 3,
    IV_SCALE_UNIT = 4
} iv_scale_kind;

typedef struct iv_scaling {
    iv_scale_kind kind;
    size_t cols;
    double *shift, *scale, *weight; /* cols each */
    bool uniform;                   /* every scale and every weight is the same */
} iv_scaling;

const char *iv_scale_kind_name(iv_scale_kind kind);
bool iv_scale_kind_parse(const char *text, iv_scale_kind *out);

/* From the given rows of the data (sums in double). */
isovae_status iv_scaling_fit(iv_scale_kind kind, const iv_dataset *data, const size_t *rows,
                             size_t n_rows, iv_scaling *out, isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status iv_scaling_copy(const iv_scaling *from, iv_scaling *out,
                              isovae_error *err) ISOVAE_MUST_CHECK;
void iv_scaling_free(iv_scaling *scaling);

/* Rows of the data into network units: out[r * cols + i] = (x - shift_i) / scale_i. */
void iv_scaling_rows(const iv_scaling *scaling, const iv_dataset *data, const size_t *rows,
                     size_t n_rows, float *out);
void iv_scaling_rows_f64(const iv_scaling *scaling, const iv_dataset *data, const size_t *rows,
                         size_t n_rows, double *out);
/* Network units back to data units, in place. */
void iv_scaling_undo(const iv_scaling *scaling, size_t n_rows, double *values);
/* sum_i log(scale_i / sqrt(weight_i)): log p(x in data units) = log p(x in metric units) - this
 * (E6). Constant features count like the others. */
double iv_scaling_log_volume(const iv_scaling *scaling);

#endif
