/* Rows scored, encoded and decoded for a service: one scorer per thread over a shared model, every
 * byte of memory taken when it is made. The numbers are those of score.h, to the last bit. Scores
 * of an ensemble are means over its members; encode and decode are member 0's. */
#ifndef IV_THEORY_SCORER_H
#define IV_THEORY_SCORER_H

#include "base/progress.h"
#include "model/eval.h"
#include "theory/analysis.h"

typedef struct iv_scorer iv_scorer;

typedef struct iv_scorer_plan {
    iv_estimate estimate;   /* of iv_scorer_score */
    size_t batch;           /* rows of one pass; 0: 64; large models lower it */
    const char *isa;        /* NULL: the best */
    const iv_eval *weights; /* packed weights to share (of the same isa), or NULL: own ones */
    /* Likewise of members 1 and up of an ensemble, as many as it has, or NULL. */
    iv_eval *const *more_weights;
} iv_scorer_plan;

/* Borrows the model (and `weights`), which must outlive the scorer. */
isovae_status iv_scorer_new(const iv_model *model, const iv_scorer_plan *plan, iv_scorer **out,
                            isovae_error *err) ISOVAE_MUST_CHECK;
void iv_scorer_free(iv_scorer *scorer);
size_t iv_scorer_features(const iv_scorer *scorer);
size_t iv_scorer_latents(const iv_scorer *scorer);

/* The packed weights that scorers of this instruction set share; release with iv_eval_free. */
isovae_status iv_scorer_weights(const iv_model *model, const char *isa, iv_eval **out,
                                isovae_error *err) ISOVAE_MUST_CHECK;

/* Rows where they lie in the caller's memory: value i of row r stands at r * row_stride + i *
 * column_stride bytes, of any alignment. */
typedef struct iv_row_view {
    const void *values;
    iv_dtype dtype;
    size_t rows;
    ptrdiff_t row_stride, column_stride;
} iv_row_view;

/* `status` (rows of iv_row_status) may be NULL; a row with a NaN or infinity in it gets NaN
 * results, the others are not touched by it. `progress` is asked between passes; cancelled: the
 * passes that were done stand, the rest is left as it was. */

/* Log density of each row, as iv_score_rows gives it. */
isovae_status iv_scorer_score(iv_scorer *scorer, const iv_row_view *rows, double *log_density,
                              unsigned char *status, const iv_progress *progress,
                              isovae_error *err) ISOVAE_MUST_CHECK;
/* rows x n each, any may be NULL; y as in iv_encode_rows. */
isovae_status iv_scorer_encode(iv_scorer *scorer, const iv_row_view *rows, double *mu,
                               double *sigma, double *y, unsigned char *status,
                               const iv_progress *progress, isovae_error *err) ISOVAE_MUST_CHECK;
/* `z` has n columns; values: rows x d in data units, as iv_decode_rows gives them. */
isovae_status iv_scorer_decode(iv_scorer *scorer, const iv_row_view *z, double *values,
                               unsigned char *status, const iv_progress *progress,
                               isovae_error *err) ISOVAE_MUST_CHECK;

/* The model's held-out scores as a distribution: the score below which the share p of them lies
 * (linear between the stored quantiles), and the share below a score. NaN without quantiles, for p
 * outside [0, 1] and for a score that is NaN. */
double iv_threshold_at(const iv_model *model, double p);
double iv_threshold_share(const iv_model *model, double log_density);

#endif
