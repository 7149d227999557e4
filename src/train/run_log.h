/* The course of a run while it trains: JSON lines and TensorBoard events (docs/runs.md). Neither
 * enters the model. */
#ifndef IV_TRAIN_RUN_LOG_H
#define IV_TRAIN_RUN_LOG_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct iv_log_line {
    uint64_t run, step; /* run: 0, 1, 2: starts again where folded or diverged */
    double epoch, seconds;
    double loss, distortion, kl; /* means over the batches since the line before */
    double validation_loss, validation_distortion, validation_kl; /* NaN: none */
    double learning_rate, beta, steps_per_second, rows_per_second;
} iv_log_line;

typedef struct iv_run_log iv_run_log;

/* Either name may be NULL. A run that begins empties the file of lines; one that goes on
 * (`resumed`, at `step` of `run`) keeps the lines up to there and drops those that it will write
 * again. */
isovae_status iv_run_log_open(const char *lines, const char *events_folder, bool resumed,
                              uint64_t run, uint64_t step, iv_run_log **out,
                              isovae_error *err) ISOVAE_MUST_CHECK;
void iv_run_log_close(iv_run_log *log);
/* Run `run` begins, or begins anew, at step 0: what stood there of it is dropped. */
isovae_status iv_run_log_again(iv_run_log *log, uint64_t run, isovae_error *err) ISOVAE_MUST_CHECK;
/* Each line is written at once. */
isovae_status iv_run_log_add(iv_run_log *log, const iv_log_line *line,
                             isovae_error *err) ISOVAE_MUST_CHECK;

#endif
