/* A log density for each row (E5, E5', E5'', E6): deterministic, never sampled. Higher is more
 * probable. */
#ifndef IV_THEORY_SCORE_H
#define IV_THEORY_SCORE_H

#include "model/eval.h"
#include "theory/analysis.h"

typedef struct iv_score {
    double log_density; /* the estimate, data units, nats */
    double residual;    /* D(x, Dec(mu)), metric units */
    double latent;      /* KL of the row: the latent part, nats */
    double tail_prob;   /* share of held-out rows with a lower score; NaN without quantiles */
} iv_score;

/* Scores `n_rows` rows of the data (indices; features matched) into out. An ensemble's are the
 * means over its members: of log densities, a geometric mean of the members' densities, which
 * counts a row as improbable that some member finds improbable. */
isovae_status iv_score_rows(const iv_model *model, const iv_dataset *data, const size_t *rows,
                            size_t n_rows, iv_estimate estimate, iv_pool *pool, const char *isa,
                            const iv_progress *progress, iv_score *out,
                            isovae_error *err) ISOVAE_MUST_CHECK;

/* Why a row scores low: contributions that sum to residual/beta (features: weight (x -
 * xhat)^2/beta, or the cross-entropy) and to KL (latents). feature: d doubles, latent: n doubles,
 * nats. Ensembles: means over the members, latents by their rank. */
isovae_status iv_score_explain(const iv_model *model, const iv_dataset *data, size_t row,
                               const char *isa, double *feature, double *latent,
                               isovae_error *err) ISOVAE_MUST_CHECK;

/* mu, sigma (rows x n doubles; either may be NULL) and y for rows of the data. */
isovae_status iv_encode_rows(const iv_model *model, const iv_dataset *data, const size_t *rows,
                             size_t n_rows, iv_pool *pool, const char *isa, double *mu,
                             double *sigma, double *y, isovae_error *err) ISOVAE_MUST_CHECK;
/* Whether the model has isometric coordinates: ISOVAE_ERR_UNSUPPORTED where not. */
isovae_status iv_check_coordinates(const iv_model *model, isovae_error *err) ISOVAE_MUST_CHECK;
/* Data units (bce: probabilities times the scale) from z (rows x n). */
isovae_status iv_decode_rows(const iv_model *model, const double *z, size_t n_rows, iv_pool *pool,
                             const char *isa, double *x, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
