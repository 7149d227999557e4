/* The formulas of docs/theory.md for one row, on plain arrays of doubles. `gram` is M = J^T G J
 * (n x n) at the row's mu, sigma^2 = exp(logvar), `active` lists the m latents that count. */
#ifndef IV_THEORY_FORMULAS_H
#define IV_THEORY_FORMULAS_H

#include <stdbool.h>
#include <stddef.h>

/* Estimates of log density; also the names of --estimate. */
typedef enum iv_estimate {
    IV_ESTIMATE_ELBO = 0,      /* E6, coding term from the Jacobian */
    IV_ESTIMATE_POSTERIOR = 1, /* E5 */
    IV_ESTIMATE_LOGDET = 2,    /* E5' */
    IV_ESTIMATE_LAPLACE = 3,   /* E5'' */
    IV_ESTIMATES = 4
} iv_estimate;
const char *iv_estimate_name(iv_estimate estimate);
bool iv_estimate_parse(const char *text, iv_estimate *out);

typedef struct iv_row_in {
    size_t n, m;
    const size_t *active; /* m */
    double beta;
    const double *mu, *logvar; /* n */
    const double *gram;        /* n x n */
    double transform;          /* D(x, Dec(mu)) */
} iv_row_in;

/* KL of latent j: 1/2 (mu^2 + sigma^2 - logvar - 1), without cancellation near the prior. */
double iv_kl(double mu, double logvar);
/* norm_j = (2/beta) sigma_j^2 M_jj; E1 is norm_j + sigma_j^2. */
double iv_norm(double beta, double logvar, double gram_jj);

/* sum_j sigma_j^2 M_jj over all latents: the coding term of E6 from the Jacobian. `stride` is the
 * distance of diagonal elements (n + 1 in a matrix). */
double iv_coding_jacobian(size_t n, const double *logvar, const double *gram, size_t stride);
/* -(D + coding)/beta - KL over all latents: E6 without the normaliser. */
double iv_minus_loss(const iv_row_in *row, double coding);

/* In the volume of G, over active latents; `scratch` is m x m. */
double iv_density_posterior(const iv_row_in *row);                /* E5 */
double iv_density_logdet(const iv_row_in *row, double *scratch);  /* E5' */
double iv_density_laplace(const iv_row_in *row, double *scratch); /* E5'' */
/* -L/beta where the optimum holds: sum over active of (-mu^2/2 + log sigma) - D/beta. */
double iv_minus_loss_at_optimum(const iv_row_in *row);

/* logdet of M + shift I over active latents, finite also where M is singular. */
double iv_active_logdet(const iv_row_in *row, double shift, double *scratch);
/* cosine_jk = M_jk / sqrt(M_jj M_kk) (E2); 0 where a column vanishes. */
double iv_cosine(size_t n, const double *gram, size_t j, size_t k);
/* -(1/2) logdet of the matrix of cosines over active latents: nats lost to rotation (E2). */
double iv_cosine_cost(const iv_row_in *row, double *scratch);

#endif
