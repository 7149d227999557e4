/* Built-in data with known truth (docs/theory.md section 4): three independent factors along three
 * orthonormal directions of R^16. */
#ifndef IV_DATA_TOY_H
#define IV_DATA_TOY_H

#include "data/dataset.h"

enum { IV_TOY_FACTORS = 3, IV_TOY_COLS = 16 };

typedef enum iv_toy_kind {
    IV_TOY_NORM,
    IV_TOY_MIX,
    IV_TOY_MIXA,
    IV_TOY_RAMP,
    IV_TOY_TRI
} iv_toy_kind;
bool iv_toy_kind_parse(const char *text, size_t length, iv_toy_kind *out);

/* Exact mean and standard deviation of axis j (0, 1, 2) in its raw form. */
void iv_toy_raw_moments(iv_toy_kind kind, size_t axis, double *mean, double *sd);
/* Exact log density of factor j, standardised and scaled to `variance`, at s; -inf outside of the
 * support. */
double iv_toy_log_density(iv_toy_kind kind, size_t axis, double variance, double s);
/* The three directions, the same for every seed, size and machine to rounding. */
void iv_toy_directions(double out[IV_TOY_FACTORS][IV_TOY_COLS]);

/* "toy:KIND[,n=50000][,seed=0][,var=1:1:4]". Row r depends on kind, seed, var and r alone. Sets
 * everything but note and hash. */
isovae_status iv_toy_open(const char *spec, const iv_data_options *options, iv_dataset **out,
                          isovae_error *err) ISOVAE_MUST_CHECK;

#endif
