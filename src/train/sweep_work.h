/* A sweep that runs. sweep_plan.c says what is trained, sweep.c trains it. */
#ifndef IV_TRAIN_SWEEP_WORK_H
#define IV_TRAIN_SWEEP_WORK_H

#include "base/memory.h"
#include "train/sweep.h"
#include "train/trainer.h"

/* `extra`: points that a target out of reach may add below the smallest beta. */
enum { IV_SWEEP_EXTRA = 12 };

typedef struct iv_sweep_work {
    const iv_dataset *data;
    const iv_sweep_options *options;
    iv_sweep *s;
    iv_fit_options fit; /* of the warm trainings */
    iv_fit_plan plan;
    iv_fit_result notes; /* of the plan */
    iv_model *model;     /* its weights between trainings: those that the next one starts from */
    void *weights;       /* room for a copy of them, model->dtype */
    iv_trainer *trainer;
    size_t *held; /* rows, s->n_held */
    const iv_dataset *held_data;
    double range; /* of the PSNR */
    size_t room;  /* points for which there is room */
    iv_sweep_place at;
    iv_text settings;   /* all that decides the figures, an option a line */
    iv_text checkpoint; /* file of the training that runs; no data: none is kept */
    bool resumed;       /* it may be there from before */
    /* progress over all trainings */
    double before, total;
} iv_sweep_work;

/* Fills a work of which data, options and `at` are set: all that is there before the first
 * training. On failure, too, sweep.c gives back what it holds. */
isovae_status iv_sweep_prepare(iv_sweep_work *work, const iv_progress *progress,
                               isovae_error *err) ISOVAE_MUST_CHECK;
/* The betas of the first seed, from its first two on. */
void iv_sweep_extend_grid(iv_sweep *sweep);
/* Adds a note; those past the room for them are dropped. */
void iv_sweep_tell(iv_sweep *sweep, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
