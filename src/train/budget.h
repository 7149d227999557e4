/* --max-time: how many steps fit into the time that is left. The clock decides how many steps are
 * made and when a file is written; what a step computes never depends on it. */
#ifndef IV_TRAIN_BUDGET_H
#define IV_TRAIN_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

typedef struct iv_budget {
    double limit; /* seconds of training, over all sessions; 0: none */
    double used;  /* by earlier sessions of a run that was resumed */
    double began; /* clock when this session began */

    double attempt_began; /* seconds() when the attempt did */
    double looked;        /* clock and step of the last look */
    uint64_t looked_step;
    uint64_t start_step; /* of this session and attempt */
    bool warm;           /* the first steps, which are slower, are behind */
    bool planned;        /* the number of steps has been settled by the measured rate */
    bool again;          /* the attempt begins anew with that number */
    bool bent;           /* it has been changed on the way */
    uint64_t asked;      /* steps that there would be without a limit */
} iv_budget;

typedef enum iv_budget_word {
    IV_BUDGET_GO,
    IV_BUDGET_AGAIN, /* *steps do fit: begin this attempt anew with so many */
    IV_BUDGET_BEND,  /* the rate has fallen (or risen again): end at *steps, the schedule bent to
                      * reach  its end there */
    IV_BUDGET_OUT    /* the time is over */
} iv_budget_word;

/* A session begins (with the limit and the seconds used before); an attempt begins or goes on at
 * `step` of the `asked` ones, its schedule bent already or not. */
void iv_budget_start(iv_budget *b, double limit, double used, double now);
void iv_budget_attempt(iv_budget *b, uint64_t step, uint64_t asked, bool bent, double now);
/* Seconds of training so far, over all sessions. */
double iv_budget_seconds(const iv_budget *b, double now);
/* After each step: `step` of `*steps` are made. */
iv_budget_word iv_budget_look(iv_budget *b, double now, uint64_t step, uint64_t *steps);
/* Whether there is time for another attempt as long as this one; after a divergence, which comes
 * early, for one that is worth its name. */
bool iv_budget_room(const iv_budget *b, double now, bool diverged);

#endif
