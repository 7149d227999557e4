/* Whether data have changed, as a model sees them: two-sample tests of each active latent's y, of
 * the residual D(x, Dec(mu)), of the score (E6), of each feature, and of the share of rows that
 * cannot be used. Holm's correction within the model's part (latents, residual, score) and within
 * the data's part (features, unusable rows), each at half of alpha, so that many features do not
 * drown few latents; all together, data that have not changed raise an alarm with a chance of at
 * most alpha. */
#ifndef IV_THEORY_DRIFT_H
#define IV_THEORY_DRIFT_H

#include "base/pool.h"
#include "base/progress.h"
#include "data/dataset.h"
#include "model/model.h"
#include "theory/two_sample.h"

enum { IV_DRIFT_PARTS = 5, IV_DRIFT_LEAST_ROWS = 20 };

typedef enum iv_drift_what {
    IV_DRIFT_LATENT,
    IV_DRIFT_RESIDUAL,
    IV_DRIFT_SCORE,
    IV_DRIFT_FEATURE,
    IV_DRIFT_UNUSABLE /* rows with missing or infinite values */
} iv_drift_what;
const char *iv_drift_what_name(iv_drift_what what);

/* A feature behind a change. */
typedef struct iv_drift_part {
    size_t feature;
    double amount; /* latent: of its shift, in reference SDs of y, by the loadings; residual: of the
                      change of its mean, metric units; score: the same over -beta, nats */
} iv_drift_part;

typedef struct iv_drift_item {
    iv_drift_what what;
    size_t index; /* latent (rank) or feature, else 0 */
    bool tested;  /* else p and adjusted are NaN (`note` of iv_drift says why) */
    iv_two_sample test;
    double adjusted[IV_TWO_SAMPLE_TESTS]; /* to be compared with alpha */
    double p_adjusted;                    /* the smallest of them */
    bool found;
    size_t n_behind; /* 0 where the item has not changed, and for features */
    iv_drift_part behind[IV_DRIFT_PARTS];
} iv_drift_item;

typedef struct iv_drift_side {
    size_t rows, bad_rows; /* rows that can be used, and the others */
    size_t looked;         /* at so many, spread over the rows, by the model */
    bool held_out;         /* the data are the model's training data: its held-out rows alone */
    bool trained_on;       /* likewise, but the held-out rows are not known */
} iv_drift_side;

typedef struct iv_drift {
    double alpha;
    iv_drift_side side[2]; /* reference, new */
    size_t feature_rows[2];
    size_t n_model, n_data; /* items[0..n_model-1]: latents, residual, score; then the others */
    size_t tests;
    iv_drift_item *items;
    bool found;
    size_t found_latents, found_features;
} iv_drift;

typedef struct iv_drift_options {
    double alpha;     /* in (0, 1) */
    size_t most_rows; /* looked at, of each side; 0: 50,000 */
    const char *isa;
    iv_pool *pool; /* may be NULL */
    iv_progress progress;
} iv_drift_options;

/* Both sets have their features matched to the model's. At least IV_DRIFT_LEAST_ROWS usable rows
 * each, else ISOVAE_ERR_DATA. */
isovae_status iv_drift_between(const iv_model *model, const iv_dataset *reference,
                               const iv_dataset *fresh, const iv_drift_options *options,
                               iv_drift **out, isovae_error *err) ISOVAE_MUST_CHECK;
void iv_drift_free(iv_drift *drift);

/* drift_features.c: the tests of all features into items[0..d-1], from the listed rows. */
isovae_status iv_drift_features(const iv_dataset *const data[2], size_t *const rows[2],
                                const size_t n_rows[2], const iv_drift_options *options,
                                iv_drift_item *items, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
