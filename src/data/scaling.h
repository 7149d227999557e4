/* Scaling x = shift + scale x' between data units and the network's units x', and the weight with
 * which each feature enters the metric: D(x, xhat) = sum weight_i (x'_i - xhat'_i)^2.
 *
 *   none      shift = mean, scale = c for all features (c^2 = mean variance), weight = c^2: the
 *             metric is SSE in data units, c is there for the optimiser's sake only
 *   identity  shift 0, scale 1, weight 1 (metrics that look at x itself: weighted, ssim)
 *   standard  shift = mean, scale = SD, weight 1        (constant feature: scale 1, weight 1)
 *   minmax    shift = min, scale = max - min, weight 1  (likewise)
 *   unit      shift 0, scale 255 for bytes, 1 for values already in [0, 1], weight 1
 *   mixed     shift = mean, scale = SD, of two-valued features half their range, weight 1; a
 *             feature that is constant on these rows is dropped: weight 0, shift its value, scale 1
 *
 * A dropped feature is 0 to the network whatever its value, and in data units it is its shift
 * whatever the network says. */
#ifndef IV_DATA_SCALING_H
#define IV_DATA_SCALING_H

#include "data/dataset.h"

typedef enum iv_scale_kind {
    IV_SCALE_NONE = 0,
    IV_SCALE_IDENTITY = 1,
    IV_SCALE_STANDARD = 2,
    IV_SCALE_MINMAX = 3,
    IV_SCALE_UNIT = 4,
    IV_SCALE_MIXED = 5
} iv_scale_kind;

typedef struct iv_scaling {
    iv_scale_kind kind;
    size_t cols;
    double *shift, *scale, *weight; /* cols each */
    bool uniform;                   /* every scale and every weight is the same */
} iv_scaling;

const char *iv_scale_kind_name(iv_scale_kind kind);
bool iv_scale_kind_parse(const char *text, iv_scale_kind *out);

/* Whether feature i is dropped, and how many there are that are not. */
static inline bool iv_scaling_drops(const iv_scaling *scaling, size_t i)
{
    return scaling->kind == IV_SCALE_MIXED && !(scaling->weight[i] > 0);
}
size_t iv_scaling_kept(const iv_scaling *scaling);
/* Whether a dropped feature has another value than it had on the rows of the fit; values are
 * compared as floats, which data are. */
static inline bool iv_scaling_changed(const iv_scaling *scaling, size_t i, double value)
{
    return iv_scaling_drops(scaling, i) && (float)value != (float)scaling->shift[i];
}
/* Whether a row of the data changes that dropped feature, and how many it changes. */
bool iv_scaling_changes_at(const iv_scaling *scaling, const iv_dataset *data, size_t row, size_t i);
size_t iv_scaling_changes(const iv_scaling *scaling, const iv_dataset *data, size_t row);

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
 * (E6). Constant features count like the others, dropped ones do not. */
double iv_scaling_log_volume(const iv_scaling *scaling);

#endif
