/* Progress and cancellation of long work, as one callback. */
#ifndef IV_BASE_PROGRESS_H
#define IV_BASE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct iv_progress_info {
    const char *stage;  /* "training", "analysis", "reading", ... */
    double done, total; /* in units of `unit`; total 0 where unknown */
    const char *unit;   /* "steps", "rows", ... */
    double rows;        /* rows in one unit (a batch); 0 where that says nothing */
    double loss, rate_nats, distortion, beta, validation; /* training only, NaN elsewhere */
} iv_progress_info;

/* Called now and then from the thread that runs the work. Return false to cancel: the work then
 * ends with ISOVAE_ERR_CANCELLED. */
typedef bool iv_progress_fn(void *user, const iv_progress_info *info);

typedef struct iv_progress {
    iv_progress_fn *call; /* may be NULL */
    void *user;
} iv_progress;

bool iv_progress_report(const iv_progress *progress, const iv_progress_info *info); /* NULL: true */
/* Work that counts rows and trains nothing. */
bool iv_progress_rows(const iv_progress *progress, const char *stage, size_t done, size_t total);

#endif
