/* Whether two threads are worth it. On a machine whose processors are busy with others' work, a
 * worker that is put aside in the middle of a task makes the caller wait, and two threads can be
 * slower than one; and the smallest works are done before a worker has come. So a pool watches
 * itself: where the caller waits for more than a third of the time, where runs take a few
 * microseconds, or where no worker comes (the system has put it on the caller's own processor,
 * say), it tries a stretch of runs alone, and stays alone for a while if that was faster, twice as
 * long each time that it is so again. Workers sleep meanwhile, and are placed anew when they are
 * woken. What is computed does not depend on it. */
#ifndef IV_BASE_WATCH_H
#define IV_BASE_WATCH_H

#include <stdbool.h>
#include <stddef.h>

/* Runs of a stretch, and those for which togetherness is trusted once alone was slower; doublings.
 */
enum { IV_STRETCH = 64, IV_TRUST = 4096, IV_MOST_CONFIRMED = 6 };
#define IV_ALONE_SECONDS 0.02 /* alone at first */
#define IV_GOOD_SECONDS 0.05  /* together without doubt, and what was is forgotten */

typedef enum iv_watch_mode { IV_TOGETHER = 0, IV_TRIAL, IV_ALONE } iv_watch_mode;

typedef struct iv_watch {
    iv_watch_mode mode;     /* how the next run is to be made; all zero to begin with */
    size_t runs, helped;    /* in this mode; those in which a worker took part */
    size_t trust;           /* runs together before waiting is looked at again */
    unsigned confirmed;     /* how often alone proved faster, one time after the other */
    double seconds, waited; /* of the stretch */
    double good;            /* seconds together since the last doubt */
    double together;        /* seconds of a run in the last stretch together */
} iv_watch;

/* Counts a run that took `seconds`, of which the caller waited `waited`; `helped`: a worker took
 * part. Decides at the end of a stretch. */
void iv_watch_run(iv_watch *watch, double seconds, double waited, bool helped);

#endif
