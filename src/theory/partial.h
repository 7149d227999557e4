/* An audit where parts are missing. What rests on the posterior's width (beta, optimality, rate,
 * densities) does not exist then; what the decoder's Jacobian says does:
 *
 *   importance_j = E[M_jj] Var(mu_j), M = J^T G J, the bound; integrated, y_j with
 *   dy_j/dmu_j = E[sqrt(M_jj) | mu_j] in place of sqrt(beta/2)/sigma_j (E3), to which it tends at
 *   an optimum, and variance_y = Var(y_j), without beta/2;
 *   and the spectrum of C^(1/2) E[M] C^(1/2), C = Cov(mu), which does not ask how the latents lie.
 *
 * All three are the variances of PCA for a linear decoder whose columns are at right angles. An
 * active latent has an importance above a thousandth of the largest, and a hundred-thousandth of
 * the variance of the data. */
#ifndef IV_THEORY_PARTIAL_H
#define IV_THEORY_PARTIAL_H

#include "theory/audit.h"
#include "theory/summary.h"

/* model->encoder must give a logvar of 0 throughout (IV_UNKNOWN_WIDTH), and anything where it is
 * the encoder that is missing. Sets the model's beta to 2, in whose units y is as above, its active
 * set and its splines; else as iv_audit_run, which calls it. `data` may be NULL without encoder. */
isovae_status iv_audit_partial(iv_model *model, const iv_dataset *data,
                               const iv_audit_options *options, iv_audit *audit, iv_analysis **out,
                               isovae_error *err) ISOVAE_MUST_CHECK;

/* Of audit.c: the errors of Dec(mu) and of the mean on some of the rows; that of PCA, from the
 * analysis; whether the networks see other numbers than in training (then nothing else is told). */
isovae_status iv_audit_reconstruct(iv_audit *audit, const iv_model *model, const iv_dataset *data,
                                   const size_t *rows, size_t n_rows, iv_pool *pool,
                                   const char *isa, isovae_error *err) ISOVAE_MUST_CHECK;
void iv_audit_beside_pca(iv_audit *audit, const iv_analysis *a);
bool iv_audit_misread(const iv_audit *audit, iv_analysis *a);

#endif
