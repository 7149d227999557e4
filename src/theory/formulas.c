/* See formulas.h; numbers E1 to E6 as in docs/theory.md. */
#include "theory/formulas.h"

#include "linalg/linalg.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const double log_two_pi = 1.8378770664093454836;

static const char *const estimate_names[IV_ESTIMATES] = {"elbo", "posterior", "logdet", "laplace"};

const char *iv_estimate_name(iv_estimate estimate)
{
    return (size_t)estimate < IV_ESTIMATES ? estimate_names[estimate] : "unknown";
}

bool iv_estimate_parse(const char *text, iv_estimate *out)
{
    for (size_t i = 0; i < IV_ESTIMATES; i++) {
        if (strcmp(text, estimate_names[i]) == 0) {
            *out = (iv_estimate)i;
            return true;
        }
    }
    return false;
}

double iv_kl(double mu, double logvar)
{
    return 0.5 * (mu * mu + (expm1(logvar) - logvar));
}

double iv_norm(double beta, double logvar, double gram_jj)
{
    return 2 / beta * exp(logvar) * gram_jj;
}

double iv_coding_jacobian(size_t n, const double *logvar, const double *gram, size_t stride)
{
    double sum = 0;
    for (size_t j = 0; j < n; j++) sum += exp(logvar[j]) * gram[j * stride];
    return sum;
}

double iv_minus_loss(const iv_row_in *row, double coding)
{
    double kl = 0;
    for (size_t j = 0; j < row->n; j++) kl += iv_kl(row->mu[j], row->logvar[j]);
    return -(row->transform + coding) / row->beta - kl;
}

/* E5: sum_j [log N(mu_j; 0, 1) + log sigma_j] + (m/2) log(2/beta) */
double iv_density_posterior(const iv_row_in *row)
{
    double sum = 0;
    for (size_t i = 0; i < row->m; i++) {
        size_t j = row->active[i];
        sum += -0.5 * row->mu[j] * row->mu[j] - 0.5 * log_two_pi + 0.5 * row->logvar[j];
    }
    return sum + 0.5 * (double)row->m * log(2 / row->beta);
}

static double copy_active(const iv_row_in *row, double shift, double *out)
{
    double trace = 0;
    for (size_t a = 0; a < row->m; a++) {
        for (size_t b = 0; b < row->m; b++) {
            out[a * row->m + b] = row->gram[row->active[a] * row->n + row->active[b]];
        }
        trace += out[a * row->m + a];
        out[a * row->m + a] += shift;
    }
    return trace;
}

/* A singular J^T G J would make the density infinite. The smallest length that rounding leaves
 * meaningful takes the place of none at all. */
double iv_active_logdet(const iv_row_in *row, double shift, double *scratch)
{
    (void)copy_active(row, shift, scratch);
    double value = iv_logdet(row->m, scratch);
    double tiny = 1e-14;
    for (int i = 0; i < 7 && !isfinite(value); i++) {
        double trace = copy_active(row, shift, scratch);
        if (!isfinite(trace)) break;
        for (size_t a = 0; a < row->m; a++) {
            scratch[a * row->m + a] += tiny * (trace / (double)row->m) + 1e-30;
        }
        value = iv_logdet(row->m, scratch);
        tiny *= 100;
    }
    return isfinite(value) ? value : 0;
}

/* E5': log N(mu; 0, I) - 1/2 logdet(J^T G J) */
double iv_density_logdet(const iv_row_in *row, double *scratch)
{
    double sum = 0;
    for (size_t i = 0; i < row->m; i++) {
        double mu = row->mu[row->active[i]];
        sum += -0.5 * mu * mu - 0.5 * log_two_pi;
    }
    return sum - 0.5 * iv_active_logdet(row, 0, scratch);
}

/* E5'': -1/2 sum mu^2/(1 - sigma^2) - (m/2) log 2 pi - 1/2 logdet(J^T G J + (beta/2) I).
 * A latent that is active in general may be off in one row (sigma near 1, mu near 0), and far from
 * the data sigma may pass 1: 1 - sigma^2 is kept from vanishing. */
double iv_density_laplace(const iv_row_in *row, double *scratch)
{
    static const double least = 0.01;
    double sum = 0;
    for (size_t i = 0; i < row->m; i++) {
        size_t j = row->active[i];
        double rest = fmax(-expm1(row->logvar[j]), least);
        sum += -0.5 * row->mu[j] * row->mu[j] / rest - 0.5 * log_two_pi;
    }
    return sum - 0.5 * iv_active_logdet(row, row->beta / 2, scratch);
}

double iv_minus_loss_at_optimum(const iv_row_in *row)
{
    double sum = 0;
    for (size_t i = 0; i < row->m; i++) {
        size_t j = row->active[i];
        sum += -0.5 * row->mu[j] * row->mu[j] + 0.5 * row->logvar[j];
    }
    return sum - row->transform / row->beta;
}

double iv_cosine(size_t n, const double *gram, size_t j, size_t k)
{
    double length = sqrt(gram[j * n + j]) * sqrt(gram[k * n + k]);
    return length > DBL_MIN && isfinite(length) ? gram[j * n + k] / length : 0;
}

double iv_cosine_cost(const iv_row_in *row, double *scratch)
{
    for (size_t a = 0; a < row->m; a++) {
        for (size_t b = 0; b < row->m; b++) {
            scratch[a * row->m + b] =
                a == b ? 1 : iv_cosine(row->n, row->gram, row->active[a], row->active[b]);
        }
    }
    double value = iv_logdet(row->m, scratch);
    return isfinite(value) ? -0.5 * value : 20; /* two latents move the output alike here */
}
