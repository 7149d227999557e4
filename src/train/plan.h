/* What a fit will do: the options with every default filled in and checked against the data
 * (docs/defaults.md is this file in words). */
#ifndef IV_TRAIN_PLAN_H
#define IV_TRAIN_PLAN_H

#include "train/train.h"

typedef struct iv_fit_plan {
    size_t n, d, batch;
    uint64_t steps;       /* to be made: those asked for, or as many as --max-time allows */
    uint64_t asked_steps; /* by --steps, --epochs or the default */
    double rate;
    iv_schedule schedule;
    uint64_t rate_warmup;
    double weight_decay, kl_warmup;
    iv_metric_spec metric;
    iv_objective_kind objective;
    char arch[128]; /* its name */
    char *draft;    /* the text of an architecture file, or NULL */
    iv_act act;
    iv_init init;
    iv_scale_kind scale;
    uint64_t seed;
    size_t member, members; /* of an ensemble: which is trained, of how many; else 0 of 1 */
    double validation;
    size_t patience;           /* 0: no early stop */
    size_t checkpoint_every;   /* steps; 0: by time alone */
    double checkpoint_seconds; /* 0: by steps alone */
    uint64_t line_every;       /* steps between two lines of the history (and two validations) */
    size_t validation_rows;    /* how many of them a validation looks at */
    /* Where --max-time changed `steps` on the way: the schedules were `bend_done` through at
     * bend_step, and go from there to their end at `steps`. 0 and 0: never. */
    uint64_t bend_step;
    double bend_done;

    iv_split split;
    size_t *measured, n_measured; /* training rows that the losses are measured on at the end */
    iv_scaling scaling;
    size_t varying;       /* d_eff: features whose variance is not 0 */
    double mean_variance; /* of those, in metric units */
    double tails;         /* their kurtosis, weighted by squared variances in metric units */
    double noise_floor;   /* of a learned metric, as a share; and the variance of the noise, */
    double noise_least;   /* network units: at least this, */
    double noise_start;   /* at first this, and not below a line from it to `noise_least` */
    bool noise_at_once;   /* no such line, nor does it stand at first: --noise-start */
    bool hold_gradient;   /* no step by a gradient much longer than the usual one: tables and sse */
    bool heavy_tails;     /* such a table whose `tails` are heavy */
    double denoise;       /* SD of noise on the encoder's input, network units */
    size_t n_pca;
    double *pca;      /* largest eigenvalues of training rows, metric units (n_pca of them) */
    double pca_total; /* trace */
    size_t *pca_rows, n_pca_rows; /* the training rows of the PCA; none with bce */

    bool beta_auto;
    double beta;       /* given, or (auto) the floor */
    double beta_start; /* where annealing begins, >= beta */
    double beta_cap;   /* auto: beta never follows the residual above this */
} iv_fit_plan;

isovae_status iv_fit_plan_make(const iv_dataset *data, const iv_fit_options *options,
                               iv_fit_plan *plan, iv_fit_result *notes,
                               isovae_error *err) ISOVAE_MUST_CHECK;
/* The plan of one member of an ensemble. */
isovae_status iv_fit_plan_member(const iv_dataset *data, const iv_fit_options *options,
                                 size_t member, iv_fit_plan *plan, iv_fit_result *notes,
                                 isovae_error *err) ISOVAE_MUST_CHECK;
void iv_fit_plan_free(iv_fit_plan *plan);

/* Appends a note for the user (dropped when there is no more room). */
void iv_fit_tell(iv_fit_result *result, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What PCA discards with `count` components, count <= n + 1; metric units. */
double iv_plan_pca_residual(const iv_fit_plan *plan, size_t count);

/* Beta and its annealing (docs/theory.md section 5), from the beta, floor and start of the options:
 * beta/2 starts well below the smallest variance that must survive. */
void iv_plan_choose_beta(iv_fit_plan *plan, const iv_fit_options *options);
/* Another number of steps: from the beginning, where all is as if so many had been asked for; or
 * from step `now` on. */
void iv_plan_set_steps(iv_fit_plan *plan, uint64_t steps);
void iv_plan_bend(iv_fit_plan *plan, uint64_t now, uint64_t steps);
/* How far the schedules are at step t, 0..1. */
double iv_plan_done(const iv_fit_plan *plan, uint64_t step);
/* Learning rate of step t in 0..steps-1. */
double iv_plan_rate(const iv_fit_plan *plan, uint64_t step);
/* The annealed lower bound of beta at step t: geometric from beta_start to beta over the first half
 * of the steps. */
double iv_plan_beta(const iv_fit_plan *plan, uint64_t step);
/* Learned noise (docs/theory.md section 2). It stands at noise_start for the first steps, until the
 * network has begun to follow the data; then it learns at its own rate (0 before), and its least
 * variance falls geometrically to noise_least over the first half of the steps. */
double iv_plan_noise_rate(const iv_fit_plan *plan, uint64_t step);
double iv_plan_noise_least(const iv_fit_plan *plan, uint64_t step);
/* Weight of the KL term in 0..1 during --kl-warmup. */
double iv_plan_kl_weight(const iv_fit_plan *plan, uint64_t step);
/* Whether beta has its final value: auto follows the residual until three quarters of the steps,
 * annealing ends half-way. */
bool iv_plan_beta_stands(const iv_fit_plan *plan, uint64_t step);

#endif
