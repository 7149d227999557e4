/* A sweep of beta: each trained from the weights of the one before, and what the rate-distortion
 * curve answers: which beta, how many latents (docs/sweep.md). Distortion is in the
 * metric's squared units, rate in nats, both means over rows. */
#ifndef IV_TRAIN_SWEEP_H
#define IV_TRAIN_SWEEP_H

#include "train/train.h"

/* What the chosen beta must reach. */
typedef enum iv_sweep_goal {
    IV_GOAL_CALIBRATED = 0, /* beta/2 = E D(x, Dec(z)) / d_eff, the residual variance per feature */
    IV_GOAL_PSNR = 1,       /* of Dec(mu), dB; pictures only */
    IV_GOAL_RMSE = 2,       /* sqrt(error / d), metric units */
    IV_GOAL_R2 = 3,         /* 1 - error / variance */
    IV_GOAL_RATE = 4,       /* nats */
    IV_GOAL_ACTIVE = 5,     /* latents with a mean KL above 0.05 nats on training rows */
    IV_GOALS = 6
} iv_sweep_goal;
const char *iv_sweep_goal_name(iv_sweep_goal goal);

typedef struct iv_sweep_target {
    iv_sweep_goal goal;
    double value; /* NaN: calibrated */
} iv_sweep_target;
/* "psnr=25", "active=3"; ISOVAE_ERR_ARGUMENT names --target. */
isovae_status iv_sweep_target_parse(const char *text, iv_sweep_target *out,
                                    isovae_error *err) ISOVAE_MUST_CHECK;

typedef struct iv_sweep_options {
    iv_fit_options fit; /* what each training is told; its beta, steps, checkpoint, resume and log
                           are not looked at */
    iv_sweep_target target;
    size_t points; /* betas; 0: 16 */
    size_t steps;  /* of a training, two a beta; 0: a twelfth of what `fit` would take */
    size_t seeds;  /* 0: 1 */
    double beta_from, beta_to; /* largest and smallest; NaN: from the PCA spectrum */
    bool no_retrain;           /* no cold training of the chosen beta */
    const char *state;         /* file for what is finished, or NULL */
    bool resume;               /* go on from it, where it is there */
} iv_sweep_options;
void iv_sweep_options_init(iv_sweep_options *options);

typedef struct iv_sweep_spot {
    double distortion, rate;
} iv_sweep_spot;

/* Means over rows: transform D(x, Dec(mu)), distortion D(x, Dec(z)), rate KL. */
typedef struct iv_sweep_side {
    double distortion, transform, rate;
    double error;          /* of Dec(mu), in the scaling's weights: the transform for sse */
    double psnr;           /* NaN where the rows are no pictures */
    iv_sweep_spot arrived; /* of the beta's first training, from the weights of the beta before */
    iv_sweep_spot curve;   /* on the curve of equal training; iv_sweep_summarise */
} iv_sweep_side;

/* One beta of one seed, or a mean or SD over seeds. */
typedef struct iv_sweep_point {
    double beta;
    iv_sweep_side train, held; /* held: NaN without validation rows */
    double active;             /* latents; whole for one seed */
    double coding_predicted;   /* beta/2 sum (1 - sigma^2) (E7), beside distortion - transform */
    double *kl, *importance;   /* n, by descending kl; borrowed from iv_sweep.cells */
} iv_sweep_point;

/* Between neighbouring betas b1 > b2 on the curve: -(D1 - D2) / (R1 - R2) beside
 * (b1 - b2) / ln(b1 / b2). */
typedef struct iv_sweep_chord {
    double expected, train, held;
    bool middle; /* both rates within 20 to 80 % of the largest */
} iv_sweep_chord;

/* The beta at which the (rank + 1)th latent appears: its mean KL passes 0.05 nats. */
typedef struct iv_sweep_birth {
    double predicted; /* 2 lambda / 1.105; NaN where PCA has no such component or no say */
    double seen;      /* mean over seeds (of ln beta); NaN: not within the sweep */
    double lo, hi;    /* the betas around it that were trained (first seed) */
    double sd;        /* of ln beta over seeds; NaN for one */
} iv_sweep_birth;

/* A cold training of a chosen beta, and the same figures from the curve. */
typedef struct iv_sweep_retrain {
    double beta, value; /* of the goal */
    double predicted;   /* value on the curve at that beta */
    double loss_gap;    /* (D + beta KL, cold minus curve) / beta, nats; training rows */
    iv_sweep_point point;
} iv_sweep_retrain;
enum { IV_SWEEP_RETRAINS = 3 };

typedef struct iv_sweep {
    /* what was trained */
    size_t n, d, varying, n_train, n_held; /* rows that were measured */
    size_t seeds, points;
    uint64_t steps, cold_steps;
    char arch[128], loss[64];
    const char *unit; /* of distortion: "squared data units", ... */
    uint64_t seed;
    double variance;      /* of the training rows, summed over features, metric units */
    double held_variance; /* of the validation rows */
    double fixed_beta;    /* bce: the calibrated beta is 1 whatever the data; else NaN */

    /* the curve, by descending beta */
    iv_sweep_point *runs; /* seeds x points */
    iv_sweep_point *mean, *sd;
    double *cells;

    /* beside it */
    bool comparable; /* PCA has the metric's scale (sse) */
    size_t n_pca;
    double *pca, pca_total;
    iv_sweep_birth *births;         /* n */
    iv_sweep_chord *chords;         /* points - 1 */
    double chord_mean, chord_worst; /* |ratio - 1| over the middle; NaN without */
    size_t chord_middle;

    /* the answer */
    iv_sweep_target target;
    bool found;    /* the curve reaches the target */
    bool at_floor; /* calibrated: the residual stays below the smallest beta */
    bool reached;  /* and the cold training does, within: */
    double tolerance;
    double beta;       /* the answer */
    size_t active;     /* latents at it */
    size_t pca_active; /* PCA's count there */
    double best;       /* value nearest to the target on the curve, at: */
    double best_beta;
    size_t n_retrains;
    iv_sweep_retrain retrains[IV_SWEEP_RETRAINS];
    iv_model *model; /* of the last cold training, or NULL */
    double seconds;
    size_t n_notes;
    iv_fit_note notes[16];
} iv_sweep;

/* Trains and answers. ISOVAE_ERR_CANCELLED leaves the state file behind; a target that is not
 * reached is no error here (found, reached). */
isovae_status iv_sweep_run(const iv_dataset *data, const iv_sweep_options *options, iv_sweep **out,
                           isovae_error *err) ISOVAE_MUST_CHECK;
void iv_sweep_free(iv_sweep *sweep);

/* ---- sweep_answer.c: numbers from numbers ---- */

/* Room for seeds x points betas of n latents. */
isovae_status iv_sweep_new(size_t seeds, size_t points, size_t n, iv_sweep **out,
                           isovae_error *err) ISOVAE_MUST_CHECK;
/* Fills the curves of runs, then mean, sd, births, chords. */
void iv_sweep_summarise(iv_sweep *sweep);
/* What the goal looks at: on validation rows where there are any (active: training). Calibrated:
 * ln(2 E D / (d_eff beta)) on training rows, which is 0 where the rule holds. */
double iv_sweep_value(const iv_sweep *sweep, const iv_sweep_point *point);
/* The value on the mean curve at any beta within it. */
double iv_sweep_value_at(const iv_sweep *sweep, double beta);
/* D + beta KL on training rows likewise. */
double iv_sweep_loss_at(const iv_sweep *sweep, double beta);
/* d value / d ln beta there; 0 for active. */
double iv_sweep_slope_at(const iv_sweep *sweep, double beta);
/* Looks for the largest beta that meets the target: found, at_floor, beta, active, best. */
void iv_sweep_answer(iv_sweep *sweep);
/* Within what of the target a cold training counts as there, and whether `value` is. */
double iv_sweep_tolerance(const iv_sweep_target *target);
bool iv_sweep_meets(const iv_sweep *sweep, double value);
/* Optimum of a linear model: PCA's reverse water-filling; count of lambda above 1.105 beta/2. */
void iv_sweep_linear(const iv_sweep *sweep, double beta, double *distortion, double *rate,
                     size_t *active);

/* ---- sweep_state.c ---- */

/* How far a sweep is. */
typedef struct iv_sweep_place {
    size_t done;    /* trainings, two a beta */
    size_t attempt; /* of the next, where it is the first of a seed and folded before */
    double before;  /* the target's value at the last smallest beta that did not meet it, or NaN */
} iv_sweep_place;

/* The points of the sweep that are trained and the weights it goes on from. `settings` says what
 * made them. */
isovae_status iv_sweep_save(const iv_sweep *sweep, const iv_model *model, const char *settings,
                            const iv_sweep_place *at, const char *path,
                            isovae_error *err) ISOVAE_MUST_CHECK;
/* *at is its beginning where there is no such file. `most`: points for which sweep->runs has room.
 */
isovae_status iv_sweep_restore(iv_sweep *sweep, iv_model *model, const char *settings, size_t most,
                               iv_sweep_place *at, const char *path,
                               isovae_error *err) ISOVAE_MUST_CHECK;

#endif
