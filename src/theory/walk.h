/* Walks along one latent in equal steps of its isometric coordinate y (E3), and how far each step
 * moves the decoded rows. */
#ifndef IV_THEORY_WALK_H
#define IV_THEORY_WALK_H

#include "model/model.h"

/* y_j at mu_j, and back. A latent that is not active has sigma = 1, so y = sqrt(beta/2) mu; so has
 * one without a stored spline. */
double iv_walk_y(const iv_model *m, size_t j, double mu);
double iv_walk_mu(const iv_model *m, size_t j, double y);
/* Standard deviation of y_j over the training rows; of a latent that is not active, over the
 * prior. */
double iv_walk_sd(const iv_model *m, size_t j);

/* length[r] = sqrt((D(a, b) + D(b, a))/2), a and b the rows r - 1 and r of x (rows x d, data units)
 * as the decoder would give them; for small steps the length sqrt(u^T G u), that is the step in y.
 * length[0] is NaN. */
isovae_status iv_step_lengths(const iv_model *model, const double *x, size_t rows, double *length,
                              isovae_error *err) ISOVAE_MUST_CHECK;

#endif
