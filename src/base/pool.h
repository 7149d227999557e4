/* A pthread pool owned by its creator. It never decides a result: tasks are numbered, write to
 * disjoint places, and any thread may run any of them. */
#ifndef IV_BASE_POOL_H
#define IV_BASE_POOL_H

#include "base/status.h"

#include <stddef.h>

typedef struct iv_pool iv_pool;
typedef void iv_task(void *argument, size_t task);

/* `threads` counts the calling thread; 0 means one per available processor. Threads start at the
 * first run, and anew in a child process after fork. */
isovae_status iv_pool_new(iv_pool **out, size_t threads, isovae_error *err) ISOVAE_MUST_CHECK;
void iv_pool_free(iv_pool *pool);
size_t iv_pool_threads(const iv_pool *pool); /* 1 for NULL */

/* Runs task(argument, i) for i = 0..count-1 and returns when all are done. A NULL pool runs them
 * in the caller. Waiting threads spin briefly, then block. Not re-entrant. */
void iv_pool_run(iv_pool *pool, size_t count, iv_task *task, void *argument);

#endif
