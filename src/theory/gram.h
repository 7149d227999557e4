/* The Jacobian of the decoder and what is taken from it: J^T G J per row, loadings. */
#ifndef IV_THEORY_GRAM_H
#define IV_THEORY_GRAM_H

#include "theory/pass.h"

/* With the decoder's forward pass standing at mu: lane->xhat, lane->gram (and gram_data), and,
 * where the plan asks for loadings, the sums of sigma_j x_j and of their squares added to the
 * lane's (for bce x_j is the derivative of the probability, not of the logit). logvar: count x n.
 */
void iv_lane_gram(iv_lane *lane, size_t count, const double *logvar);

#endif
