/* Whether two threads are worth it. On a machine whose processors are busy with others' work, a
 * worker that is put aside in the middle of a task makes the caller wait, and two threads can be
 * slower than one; and the smallest works are done before a worker has come. So a pool watches
 * itself: where the caller waits for more than a third of the time, or runs take a few
 * microseconds, it tries a stretch of runs alone, and stays alone for a while if that was faster,
 * twice as long each time that it is so again. What is computed does not depend on it. */
#ifndef IV_BASE_WATCH_H
#define IV_BASE_WATCH_H

#include <stddef.h>

enum { IV_STRETCH = 64, IV_WHILE = 1024, IV_MOST_CONFIRMED = 6 }; /* runs; doublings */
typedef enum iv_watch_mode { IV_TOGETHER = 0, IV_TRIAL, IV_ALONE } iv_watch_mode;

typedef struct iv_watch {
    iv_watch_mode mode;     /* how the next run is to be made; all zero to begin with */
    size_t runs;            /* in this mode */
    size_t trust;           /* runs together before waiting is looked at again */
    unsigned confirmed;     /* how often alone proved faster, without a break */
    double seconds, waited; /* of the stretch */
    double together;        /* seconds of the last stretch together */
} iv_watch;

/* Counts a run that took `seconds`, of which the caller waited `waited`, and decides at the end of
 * a stretch. */
void iv_watch_run(iv_watch *watch, double seconds, double waited);

#endif
