/* The training loop and its whole state, which a checkpoint holds. */
#ifndef IV_TRAIN_TRAINER_H
#define IV_TRAIN_TRAINER_H

#include "model/objective.h"
#include "train/budget.h"
#include "train/measure.h"
#include "train/plan.h"
#include "train/run_log.h"

typedef struct iv_trainer {
    const iv_dataset *data;
    const iv_fit_options *options;
    iv_fit_plan *plan; /* its number of steps changes under --max-time */
    iv_model *model;   /* borrowed: graphs, settings, history; its params are filled at the end */
    const iv_kernels *k;
    iv_objective *objective, *validator;
    size_t *validation_rows; /* in the data, or in options->validation_data */

    /* Workspace of a step. */
    size_t *order;     /* rows of the batch */
    float *x;          /* batch x d: staging before the upload */
    iv_metric *limits; /* knows the limits of what the metric learns; NULL: it learns nothing */
    void *grads;
    double *squares;         /* of the gradient, by block */
    double seconds_reported; /* when progress was last told, monotonic clock */
    double seconds_saved;    /* likewise, the last checkpoint */
    double line_seconds;     /* likewise, the last line of the history, made at step: */
    uint64_t line_step;

    /* Members of the ensemble that are finished (borrowed): a checkpoint holds them, too. */
    iv_model *const *finished;
    char stage[64]; /* of progress: "training", or which member */

    iv_budget budget;
    bool begin_again; /* the run stopped to begin anew with as many steps as there is time for */
    bool out_of_time; /* it stopped before its schedule had ended */
    iv_run_log *log;  /* owned; NULL: none */
    isovae_error unlogged; /* why the log ended early */

    /* What a checkpoint holds, beside the model. */
    void *params, *moment1, *moment2; /* parameter vectors */
    void *best;                       /* at the lowest validation loss */
    void *kept;                       /* of the best earlier attempt that folded */
    double kept_value, kept_beta;
    double seconds_before; /* of training the members before this one */
    uint64_t step;
    uint64_t attempt;   /* 0, 1, 2: starts again where folded */
    double rate_factor; /* on the plan's rate: below 1 after a run that diverged */
    double beta;        /* in force at the last step */
    double norm;   /* about the median of the gradient's norm so far; 0 before the first step */
    double follow; /* auto beta: 2 E D / d_eff, smoothed; NaN before the first step */
    double best_value;
    uint64_t best_step;
    uint64_t stale;                          /* validations since the best */
    double sum_loss, sum_distortion, sum_kl; /* since the last line of the history */
    uint64_t sum_steps;
    uint64_t noise_steps; /* that the metric has learned for */
} iv_trainer;

isovae_status iv_trainer_new(const iv_dataset *data, const iv_fit_options *options,
                             iv_fit_plan *plan, iv_model *model, iv_trainer **out,
                             isovae_error *err) ISOVAE_MUST_CHECK;
void iv_trainer_free(iv_trainer *trainer);

/* Fresh weights and counters for attempt `attempt`; weights from `from` (a parameter vector of the
 * model's dtype on the host) where it is not NULL. */
void iv_trainer_start(iv_trainer *trainer, uint64_t attempt, const void *from);
/* Seed of the noise, the order and the weights of an attempt. */
uint64_t iv_trainer_seed(const iv_trainer *trainer);
/* Under which it stands in logs: the attempts of all members, counted through. */
enum { IV_ATTEMPTS = 3 };
uint64_t iv_trainer_run_number(const iv_trainer *trainer);

/* Trains from the current step to the end of the plan, or of the time (budget.h; `begin_again` asks
 * for a fresh start of the attempt under the plan's new number of steps). ISOVAE_ERR_CANCELLED
 * after writing the checkpoint; ISOVAE_ERR_DIVERGED where the loss is no longer finite. */
isovae_status iv_trainer_run(iv_trainer *trainer, isovae_error *err) ISOVAE_MUST_CHECK;

/* The weights to keep: the last, or the best by validation where those are better by more than
 * noise. Backend memory, borrowed. */
const void *iv_trainer_weights(const iv_trainer *trainer);
/* Copies them into the model's params. */
void iv_trainer_finish(iv_trainer *trainer);

/* fit.c: the settings of the plan and the provenance, into a fresh model with its network. On
 * failure *out may hold a part of it: free it all the same. */
isovae_status iv_fit_model(const iv_dataset *data, const iv_fit_options *options,
                           const iv_fit_plan *plan, iv_model **out,
                           isovae_error *err) ISOVAE_MUST_CHECK;

/* Two branches of the data on one latent value: what is lost at z = mu is more than PCA's residual
 * with as many latents and what the posterior's width explains (docs/theory.md section 5). The
 * measure is of the PCA's rows where there are any. */
bool iv_fit_folded(const iv_fit_plan *plan, const iv_model *model, const iv_measure *m,
                   double *value, double *limit);

/* R2 of Dec(mu) more than a tenth below that of PCA with as many components as would be active: the
 * network has not learned. Likewise of the PCA's rows; of sse alone, and of tables with heavy tails
 * or linear networks: elsewhere it may as well have folded. */
bool iv_fit_behind_pca(const iv_fit_plan *plan, const iv_model *model, const iv_measure *m,
                       double *r2, double *pca_r2);

/* checkpoint.c */
isovae_status iv_checkpoint_write(const iv_trainer *trainer, const char *path,
                                  isovae_error *err) ISOVAE_MUST_CHECK;
/* *found is false where there is no such file. Refuses a checkpoint of other data or options. */
isovae_status iv_checkpoint_read(iv_trainer *trainer, const char *path, bool *found,
                                 isovae_error *err) ISOVAE_MUST_CHECK;
/* The members of an ensemble that were finished when it was written, `*n` of them, at most
 * IV_MAX_MEMBERS, the caller's to free; none where there is no such file. */
isovae_status iv_checkpoint_members(const char *path, iv_model **out, size_t *n,
                                    isovae_error *err) ISOVAE_MUST_CHECK;

/* start.c: kinds with a fixed start (normalisations, GDN) get it; weights of every dense node,
 * uniform in +-1/sqrt(fan in), keyed by (seed, parameter); multimodal: first layers with weights
 * twice that and normal biases of SD 0.5 (encoder) and 1 (decoder), which spreads the first units
 * over the modes of the data. */
isovae_status iv_start_weights(iv_model *model, uint64_t seed, iv_init init,
                               isovae_error *err) ISOVAE_MUST_CHECK;
/* Learned noise: s^2 = `variance` everywhere, nu = 4. */
void iv_start_noise(iv_model *model, double variance);

#endif
