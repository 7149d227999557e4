/* Training: from rows to a fitted model (docs/theory.md section 5, docs/defaults.md). */
#ifndef IV_TRAIN_TRAIN_H
#define IV_TRAIN_TRAIN_H

#include "base/pool.h"
#include "base/progress.h"
#include "data/dataset.h"
#include "data/split.h"
#include "model/model.h"

typedef enum iv_schedule {
    IV_SCHEDULE_COSINE = 0,
    IV_SCHEDULE_STEP = 1,
    IV_SCHEDULE_CONSTANT = 2,
    IV_SCHEDULE_LINEAR = 3 /* constant for half of the steps, then down to 0 in a line */
} iv_schedule;
typedef enum iv_init { IV_INIT_DEFAULT = 0, IV_INIT_MULTIMODAL = 1 } iv_init;

/* Everything `isovae fit` can be told. Zero, NaN or NULL means "the default of the table". */
typedef struct iv_fit_options {
    size_t latent_dim;  /* 0: 10 for tables (at most d - 1), 32 for images */
    double beta;        /* NaN: auto */
    double beta_floor;  /* auto: lower limit as a share of the mean feature variance; 0.005 */
    double beta_start;  /* NaN: from the PCA spectrum; equal to beta: no annealing */
    double kl_warmup;   /* share of the steps over which the KL weight grows from 0; 0 */
    const char *loss;   /* "sse", "bce", "weighted:...", "student" */
    int noise;          /* of sse: 0 common, 1 learned per feature; -1: common */
    double noise_floor; /* of learned noise: its variance is at least this share of the features'
                           mean variance. NaN: 0.005, student 0.1 */
    double noise_start; /* of learned noise: its variance starts at this share of the features', and
                           learns at once; NaN: where annealing would start, and stands a while */
    double denoise;     /* SD of noise on the encoder's input, in scaled units; 0 */
    iv_objective_kind objective;
    const char *arch;     /* NULL: mlp:64,64, or mlp:400 for images */
    int activation;       /* iv_act, or -1: silu */
    size_t epochs, steps; /* one of them, or both 0 */
    size_t batch_size;    /* 0: 400 for MLPs whose widest layer is at most 128, else 200 */
    double rate;          /* NaN: 1e-2 for MLPs whose widest layer is at most 128 (2e-3 for sse of
                             tables with heavy tails), else 1e-3 */
    iv_schedule schedule; /* -1 in `schedule_set` false: cosine */
    bool schedule_set;
    size_t rate_warmup; /* steps over which the rate grows to its value in a line; 0 */
    double weight_decay;
    uint64_t seed;
    double validation;                 /* fraction; NaN: 0.1; ensemble: of each member, a fifth */
    const iv_dataset *validation_data; /* --validation FILE, features matched; or NULL */
    iv_init init;
    int scale;               /* iv_scale_kind, or -1: standard, unit for images, none for toy: */
    size_t patience;         /* early stop, in validations without gain; 0: 20 where it applies */
    const char *checkpoint;  /* path written every checkpoint_every steps and on cancel, or NULL */
    size_t checkpoint_every; /* steps; with checkpoint_seconds 0, too: 2000 steps or 10 minutes */
    double checkpoint_seconds; /* or so many seconds, whichever comes first */
    double max_seconds;        /* of training, over all sessions of a resumed run; 0: no limit */
    const char *log;           /* JSON lines while training (run_log.h), or NULL */
    const char *tensorboard;   /* folder for an event file, or NULL */
    const char *resume;        /* checkpoint to go on from, or NULL */
    const char *init_from;     /* model whose weights are the start, or NULL */
    bool no_restart;           /* do not start again where folded */
    bool quick;                /* fewer steps where neither steps nor epochs are given */
    size_t ensemble;           /* members; 0 and 1: one network. Each holds out another fold */
    const char *isa;
    iv_precision precision;
    iv_pool *pool;
    iv_progress progress;
} iv_fit_options;
void iv_fit_options_init(iv_fit_options *options);

typedef struct iv_fit_note {
    char text[256];
} iv_fit_note;

typedef struct iv_fit_result {
    iv_model *model; /* calibrated; latents sorted, signs fixed */
    double seconds;
    uint64_t steps; /* of all members */
    bool cancelled; /* a checkpoint was written if asked for */
    size_t n_notes; /* what the user should know: restarts, all latents active, ... */
    iv_fit_note notes[16];
} iv_fit_result;

/* Checks the options against the data (errors name the option), trains, calibrates. On
 * ISOVAE_ERR_CANCELLED the checkpoint, if any, is written. */
isovae_status iv_fit(const iv_dataset *data, const iv_fit_options *options, iv_fit_result *result,
                     isovae_error *err) ISOVAE_MUST_CHECK;

#endif
