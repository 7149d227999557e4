/* One job at a time: the caller opens it, works on it beside the workers that join, closes it when
 * no task is left, and waits for those that joined. A worker that wakes too late finds the job
 * closed and goes back to sleep, so on a busy machine the caller never waits for a thread that did
 * nothing.
 *
 * While work comes quickly nobody takes a lock. `job` is odd while a job is open; a worker counts
 * itself into `joined` and then looks whether the job still is, the caller closes it and then looks
 * whether somebody joined: whichever comes first, one of them sees the other (all four accesses are
 * sequentially consistent). A job's fields are written while none is open and none joined, and read
 * by those who joined. The lock and its conditions are for sleeping alone, in the same manner: who
 * goes to sleep says so before looking a last time. */
#include "base/pool.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/watch.h"

#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { SPINS = 2000, MAX_THREADS = 1024 };

struct iv_pool {
    size_t threads; /* the caller included */
    size_t started; /* workers that run now */
    pid_t owner;    /* the process they run in */
    pthread_t *workers;

    iv_task *task; /* the job: these four by the protocol above */
    void *argument;
    size_t count;
    fenv_t environment;
    atomic_size_t next; /* the next task to claim */

    _Alignas(64) atomic_uint_fast64_t job; /* odd: open */
    _Alignas(64) atomic_size_t joined;     /* workers on it */
    atomic_size_t helped;                  /* of all jobs so far: how often one took part */
    _Alignas(64) atomic_size_t sleepers;   /* workers that sleep, or are about to */
    atomic_bool waiting;                   /* the caller sleeps, or is about to */
    atomic_bool stop;
    pthread_mutex_t lock; /* for the conditions */
    pthread_cond_t work, done;
    iv_watch watch; /* the caller's alone */
};

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void claim_tasks(iv_pool *pool, size_t count, iv_task *task, void *argument)
{
    for (;;) {
        size_t i = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (i >= count) return;
        task(argument, i);
    }
}

static void leave_job(iv_pool *pool)
{
    if (atomic_fetch_sub(&pool->joined, 1) == 1 && atomic_load(&pool->waiting)) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_signal(&pool->done);
        pthread_mutex_unlock(&pool->lock);
    }
}

/* Joins the job, if it still is open, and works until it has no tasks left. */
static void join_job(iv_pool *pool, uint_fast64_t job)
{
    atomic_fetch_add(&pool->joined, 1);
    if (atomic_load(&pool->job) == job) {
        /* Rounding and flush-to-zero as in the caller: which thread runs a task must not show. */
        fesetenv(&pool->environment);
        atomic_fetch_add_explicit(&pool->helped, 1, memory_order_relaxed);
        claim_tasks(pool, pool->count, pool->task, pool->argument);
    }
    leave_job(pool);
}

/* Until there is another job than the one seen: awake for a moment, then asleep. */
static void await_job(iv_pool *pool, uint_fast64_t seen)
{
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load_explicit(&pool->job, memory_order_acquire) != seen) return;
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleepers, 1);
    while (!atomic_load(&pool->stop) && atomic_load(&pool->job) == seen) {
        pthread_cond_wait(&pool->work, &pool->lock);
    }
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->lock);
}

static void *worker_main(void *memory)
{
    iv_pool *pool = memory;
    while (!atomic_load(&pool->stop)) {
        uint_fast64_t job = atomic_load_explicit(&pool->job, memory_order_acquire);
        if (job % 2 == 1) join_job(pool, job);
        await_job(pool, job);
    }
    return NULL;
}

static bool init_locks(iv_pool *pool)
{
    if (pthread_mutex_init(&pool->lock, NULL) != 0) return false;
    if (pthread_cond_init(&pool->work, NULL) != 0) goto no_work;
    if (pthread_cond_init(&pool->done, NULL) != 0) goto no_done;
    return true;
no_done:
    pthread_cond_destroy(&pool->work);
no_work:
    pthread_mutex_destroy(&pool->lock);
    return false;
}

static size_t available_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        int count = CPU_COUNT(&set);
        if (count > 0) return (size_t)count;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (size_t)online : 1;
}

isovae_status iv_pool_new(iv_pool **out, size_t threads, isovae_error *err)
{
    *out = NULL;
    if (threads > MAX_THREADS) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "%zu threads asked for; at most %d are possible",
                       threads, MAX_THREADS);
    }
    if (threads == 0) threads = available_processors();
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    iv_pool *pool;
    IV_TRY(IV_NEW(pool, 1, "the thread pool", err));
    pthread_t *workers;
    isovae_status status = IV_NEW(workers, threads, "the thread pool", err);
    if (status == ISOVAE_OK && !init_locks(pool)) {
        status = iv_fail(err, ISOVAE_ERR_MEMORY, "the system refused the locks of the thread pool");
    }
    if (status != ISOVAE_OK) {
        iv_free(workers);
        iv_free(pool);
        return status;
    }
    pool->threads = threads;
    pool->workers = workers;
    pool->owner = getpid();
    atomic_init(&pool->job, 0);
    atomic_init(&pool->joined, 0);
    atomic_init(&pool->helped, 0);
    atomic_init(&pool->next, 0);
    atomic_init(&pool->sleepers, 0);
    atomic_init(&pool->waiting, false);
    atomic_init(&pool->stop, false);
    *out = pool;
    return ISOVAE_OK;
}

/* In a child process the workers are gone and the locks may be held by none: begin anew. */
static void notice_fork(iv_pool *pool)
{
    pid_t here = getpid();
    if (pool->owner == here) return;
    pool->owner = here;
    pool->started = 0;
    pool->watch = (iv_watch){.mode = IV_TOGETHER};
    atomic_store(&pool->job, 0);
    atomic_store(&pool->joined, 0);
    atomic_store(&pool->sleepers, 0);
    atomic_store(&pool->waiting, false);
    atomic_store(&pool->stop, false);
    if (!init_locks(pool)) pool->threads = 1; /* the caller alone needs no locks */
}

/* Workers leave signals to the host's own threads. Where the system refuses a thread, those that
 * run do the work, and the next run asks again. */
static void start_workers(iv_pool *pool)
{
    if (pool->started + 1 >= pool->threads) return;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->started + 1 < pool->threads) {
        if (pthread_create(&pool->workers[pool->started], NULL, worker_main, pool) != 0) break;
        pool->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void iv_pool_free(iv_pool *pool)
{
    if (pool == NULL) return;
    if (pool->owner == getpid()) {
        atomic_store(&pool->stop, true);
        atomic_fetch_add(&pool->job, 2);
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->lock);
        for (size_t i = 0; i < pool->started; i++) pthread_join(pool->workers[i], NULL);
        pthread_cond_destroy(&pool->done);
        pthread_cond_destroy(&pool->work);
        pthread_mutex_destroy(&pool->lock);
    }
    iv_free(pool->workers);
    iv_free(pool);
}

size_t iv_pool_threads(const iv_pool *pool)
{
    return pool != NULL ? pool->threads : 1;
}

static void wait_for_workers(iv_pool *pool)
{
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load(&pool->joined) == 0) return;
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->waiting, true);
    while (atomic_load(&pool->joined) != 0) pthread_cond_wait(&pool->done, &pool->lock);
    atomic_store(&pool->waiting, false);
    pthread_mutex_unlock(&pool->lock);
}

static void run_alone(size_t count, iv_task *task, void *argument)
{
    for (size_t i = 0; i < count; i++) task(argument, i);
}

void iv_pool_run(iv_pool *pool, size_t count, iv_task *task, void *argument)
{
    if (pool != NULL && count > 1 && pool->threads > 1) {
        notice_fork(pool);
        if (pool->threads > 1) start_workers(pool);
    }
    if (pool == NULL || count < 2 || pool->threads < 2 || pool->started == 0) {
        run_alone(count, task, argument);
        return;
    }
    double begun = iv_clock();
    if (pool->watch.mode != IV_TOGETHER) {
        run_alone(count, task, argument);
        iv_watch_run(&pool->watch, iv_clock() - begun, 0, false);
        return;
    }
    size_t helped = atomic_load_explicit(&pool->helped, memory_order_relaxed);
    pool->task = task;
    pool->argument = argument;
    pool->count = count;
    fegetenv(&pool->environment);
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_fetch_add(&pool->job, 1);
    if (atomic_load(&pool->sleepers) > 0) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->lock);
    }

    claim_tasks(pool, count, task, argument);

    atomic_fetch_add(&pool->job, 1);
    double done = iv_clock();
    wait_for_workers(pool);
    double ended = iv_clock();
    bool was_helped = atomic_load_explicit(&pool->helped, memory_order_relaxed) != helped;
    iv_watch_run(&pool->watch, ended - begun, ended - done, was_helped);
}
