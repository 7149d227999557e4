/* One training repeated with other seeds, and what its runs agree on (theory/agreement.h). Each run
 * is kept in a folder as soon as it is done, with its checkpoint before that, so that what was
 * stopped goes on where it stopped. */
#ifndef IV_TRAIN_STABILITY_H
#define IV_TRAIN_STABILITY_H

#include "base/memory.h"
#include "theory/agreement.h"
#include "train/train.h"

enum { IV_STABILITY_MOST_RUNS = 1000 };

typedef struct iv_stability_options {
    iv_fit_options fit; /* seed: that of the first run, the others count up from it; progress: told
                         * over all runs; checkpoint, resume, log, tensorboard, init_from: unused */
    size_t runs;        /* 1 .. IV_STABILITY_MOST_RUNS */
    const char *folder; /* is there; receives run-SEED.safetensors and options.hash */
    double least;       /* |correlation| from which a latent counts as found */
} iv_stability_options;

typedef struct iv_stability_run {
    uint64_t seed;
    bool failed; /* diverged; `reason` says how */
    bool kept;   /* was there from before */
    char reason[160];
    size_t n, active;
    double beta;
    uint64_t steps;
    size_t restarts;
    bool folded;
    size_t *latent; /* active: ranks */
    double *y;      /* rows x active: on the common rows */
    double *variance;
} iv_stability_run;

typedef struct iv_stability {
    size_t n_runs, kept, failed;
    iv_stability_run *runs;
    size_t rows,
        *row; /* the common rows: held-out ones where all runs have the same, else of all */
    bool held_out;
    iv_agreement *agreement;
} iv_stability;

/* What the runs depend on, but for their number and the first seed: data, options, version,
 * instruction set. */
isovae_status iv_stability_fingerprint(const iv_dataset *data, const iv_fit_options *fit,
                                       uint64_t *out, isovae_error *err) ISOVAE_MUST_CHECK;
/* The path of a run's model, or of its checkpoint. */
isovae_status iv_stability_path(const char *folder, uint64_t seed, bool checkpoint, iv_text *out,
                                isovae_error *err) ISOVAE_MUST_CHECK;

/* Which rows the first run holds out, as a column of the data would say it (iv_dataset.group), so
 * that all runs hold out the same. *group (iv_free) is NULL where it is so anyway. */
isovae_status iv_stability_same_split(const iv_dataset *data, const iv_fit_options *fit,
                                      double **group, isovae_error *err) ISOVAE_MUST_CHECK;

/* ISOVAE_ERR_ARGUMENT where the folder holds runs of other data or options; ISOVAE_ERR_DIVERGED
 * where every run did; ISOVAE_ERR_CANCELLED leaves what is done in the folder. */
isovae_status iv_stability_make(const iv_dataset *data, const iv_stability_options *options,
                                iv_stability **out, isovae_error *err) ISOVAE_MUST_CHECK;
void iv_stability_free(iv_stability *stability);
/* Removes from the folder what iv_stability_make put there, and the folder where it is then empty.
 */
void iv_stability_clean(const iv_stability *stability, const char *folder);

#endif
