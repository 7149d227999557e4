/* What several trainings on the same data agree on: latents matched across runs by their isometric
 * coordinates y on common rows. A latent is found in a run that has one of its own with
 * |correlation| of at least `least`. Latents that turn into each other from run to run (their
 * variances are nearly equal, so that any rotation is as good) are one unit, and what is compared
 * is the space that they span, by canonical correlations. */
#ifndef IV_THEORY_AGREEMENT_H
#define IV_THEORY_AGREEMENT_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

/* One run: its active latents alone. A run that failed has n 0 and finds nothing. */
typedef struct iv_agreement_run {
    size_t n;
    const size_t *latent;   /* n: rank in its model */
    const double *y;        /* rows x n */
    const double *variance; /* n: Var(y) + beta/2 on the common rows */
} iv_agreement_run;

/* Of the central run, whose latents are the names of the units. */
typedef struct iv_agreed_latent {
    size_t latent;                     /* rank in the central run's model */
    double match_mean, match_min;      /* |correlation| over the other runs; 0 where none is left */
    double variance_mean, variance_sd; /* over the runs that found it (SD with n - 1) */
    size_t found;                      /* runs, the central one among them */
    double turned;                     /* largest share of the other runs in which it has turned
                                          into some other latent */
    size_t unit;
} iv_agreed_latent;

typedef struct iv_agreed_unit {
    size_t n;
    size_t *member; /* n: places in latents[], ascending */
    /* Of a group: the smallest canonical correlation; and the sum of the variances. Of a single
     * latent: as above. */
    double match_mean, match_min, variance_mean, variance_sd;
    size_t found;
    size_t shared; /* directions, of n, that every other run has: canonical correlations of `least`
                      or more */
    bool claimed;  /* in at least nine of ten runs */
} iv_agreed_unit;

typedef struct iv_agreement {
    size_t runs, rows, central;
    double least;
    size_t n; /* active latents of the central run */
    iv_agreed_latent *latents;
    size_t n_units;
    iv_agreed_unit *units; /* in the order of their strongest latents */
    double *match;      /* runs x n: |correlation| of the best assignment, 0 where there is none */
    double *unit_match; /* runs x n_units */
    double *variance;   /* runs x n: of the latent that matches, NaN where none does */
    size_t *active;     /* runs: active latents */
    size_t *alone;      /* runs: those that belong to no unit that was found there */
} iv_agreement;

/* `least` in (0, 1]; at least one run with active latents, else all is empty (n 0). */
isovae_status iv_agree(size_t runs, size_t rows, const iv_agreement_run *run, double least,
                       iv_agreement **out, isovae_error *err) ISOVAE_MUST_CHECK;
void iv_agreement_free(iv_agreement *agreement);

#endif
