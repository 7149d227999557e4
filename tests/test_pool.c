/* base/pool: every task once, nesting of forms, fork, signals, floating-point environment. */
#include "base/pool.h"

#include "base/memory.h"
#include "base/watch.h"

#include <fenv.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZER 1
#endif
#endif

static iv_pool *new_pool(size_t threads)
{
    iv_pool *pool;
    isovae_error err;
    if (iv_pool_new(&pool, threads, &err) != ISOVAE_OK) fail_msg("%s", err.message);
    return pool;
}

static void add_one(void *argument, size_t task)
{
    ((int *)argument)[task]++; /* not atomic: one thread a task, and the caller reads afterwards */
}

enum { MOST = 2000 };

static void check_runs(iv_pool *pool, size_t runs)
{
    static const size_t counts[] = {0, 1, 2, 3, 7, 64, MOST};
    int done[MOST];
    for (size_t run = 0; run < runs; run++) {
        size_t count = counts[run % 7];
        memset(done, 0, sizeof done);
        iv_pool_run(pool, count, add_one, done);
        for (size_t i = 0; i < MOST; i++) assert_int_equal(done[i], i < count);
    }
}

static void test_every_task_once(void **state)
{
    (void)state;
    check_runs(NULL, 14);
    for (size_t threads = 1; threads <= 8; threads++) {
        iv_pool *pool = new_pool(threads);
        assert_int_equal(iv_pool_threads(pool), threads);
        check_runs(pool, 300);
        iv_pool_free(pool);
    }
    assert_int_equal(iv_pool_threads(NULL), 1);
    iv_pool_free(NULL);
}

/* Workers that went to sleep between the runs wake again. */
static void test_after_sleep(void **state)
{
    (void)state;
    iv_pool *pool = new_pool(3);
    for (int i = 0; i < 20; i++) {
        check_runs(pool, 7);
        usleep(2000);
    }
    iv_pool_free(pool);
}

static void test_never_run_and_refused(void **state)
{
    (void)state;
    iv_pool *pool = new_pool(0); /* one per processor */
    assert_true(iv_pool_threads(pool) >= 1);
    iv_pool_free(pool);
    isovae_error err;
    assert_int_equal(iv_pool_new(&pool, 1000000, &err), ISOVAE_ERR_ARGUMENT);
    assert_null(pool);
    assert_non_null(strstr(err.message, "1000000"));
}

typedef struct meeting {
    atomic_int here;
    atomic_int met;
} meeting;

/* Returns early only where another thread is in a task of the same run. */
static void meet(void *argument, size_t task)
{
    meeting *m = argument;
    (void)task;
    atomic_fetch_add(&m->here, 1);
    for (int i = 0; i < 2000 && atomic_load(&m->here) < 2; i++) usleep(1000);
    if (atomic_load(&m->here) >= 2) atomic_fetch_add(&m->met, 1);
}

static void test_really_parallel(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        /* A new pool each time: one that was kept waiting may try its next runs alone. */
        iv_pool *pool = new_pool(2);
        meeting m = {0};
        iv_pool_run(pool, 2, meet, &m);
        assert_int_equal(atomic_load(&m.met), 2);
        iv_pool_free(pool);
    }
}

/* A caller never waits for a thread that took no task: with a task that ends in the caller alone
 * the run is over although the other worker is busy elsewhere. Here: uneven tasks still all end. */
static void uneven(void *argument, size_t task)
{
    if (task % 16 == 0) usleep(500);
    add_one(argument, task);
}

static void test_uneven_tasks(void **state)
{
    (void)state;
    iv_pool *pool = new_pool(4);
    for (int run = 0; run < 20; run++) {
        int done[64] = {0};
        iv_pool_run(pool, 64, uneven, done);
        for (int i = 0; i < 64; i++) assert_int_equal(done[i], 1);
    }
    iv_pool_free(pool);
}

/* Threads of two pools, each with its own caller, do not disturb each other. */
static void *drive(void *argument)
{
    check_runs(argument, 200);
    return NULL;
}

static void test_two_pools(void **state)
{
    (void)state;
    iv_pool *a = new_pool(2), *b = new_pool(3);
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, drive, a), 0);
    drive(b);
    pthread_join(other, NULL);
    iv_pool_free(a);
    iv_pool_free(b);
}

static void run_in_child(iv_pool *pool)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int done[100] = {0}, wrong = 0;
        meeting m = {0};
        alarm(60);
        for (int run = 0; run < 50; run++) iv_pool_run(pool, 100, add_one, done);
        for (int i = 0; i < 100; i++) wrong += done[i] != 50;
        if (iv_pool_threads(pool) > 1) {
            /* there are threads again; a busy machine's pool may run alone for a while */
            for (int tries = 0; tries < 20 && atomic_load(&m.met) != 2; tries++) {
                m = (meeting){0};
                iv_pool_run(pool, 2, meet, &m);
            }
            wrong += atomic_load(&m.met) != 2;
        }
        iv_pool_free(pool);
        _exit(wrong != 0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_fork(void **state)
{
    (void)state;
#ifdef THREAD_SANITIZER
    skip(); /* it does not support threads in a forked child */
#endif
    iv_pool *pool = new_pool(3);
    run_in_child(pool); /* before the first run */
    for (int i = 0; i < 10; i++) {
        check_runs(pool, 7);
        run_in_child(pool);
    }
    check_runs(pool, 7); /* the parent's threads are as before */
    /* freed in a child that never ran anything */
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(60);
        iv_pool_free(pool);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    iv_pool_free(pool);
}

typedef struct environment_seen {
    atomic_int here;
    int mode[2];
    int blocked[2];
} environment_seen;

static void look(void *argument, size_t task)
{
    environment_seen *seen = argument;
    atomic_fetch_add(&seen->here, 1);
    for (int i = 0; i < 2000 && atomic_load(&seen->here) < 2; i++) usleep(1000);
    seen->mode[task] = fegetround();
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    seen->blocked[task] = sigismember(&mask, SIGINT);
}

static void test_environment(void **state)
{
    (void)state;
    int shared = 0;
    for (int turn = 0; turn < 8 && shared < 4; turn++) {
        iv_pool *pool = new_pool(2); /* one that was kept waiting may try its next runs alone */
        check_runs(pool, 7);         /* the worker starts in the default environment */
        int mode = turn % 2 ? FE_UPWARD : FE_DOWNWARD;
        environment_seen seen = {0};
        fesetround(mode);
        iv_pool_run(pool, 2, look, &seen);
        int after = fegetround();
        fesetround(FE_TONEAREST);
        assert_int_equal(after, mode);
        assert_int_equal(seen.mode[0], mode);
        assert_int_equal(seen.mode[1], mode);
        shared += seen.blocked[0] + seen.blocked[1] == 1; /* the worker's, not the caller's */
        iv_pool_free(pool);
    }
    assert_int_equal(shared, 4);
}

/* Runs of these times until the mode changes; how many they were, `most` at most. */
static size_t runs_until_change(iv_watch *watch, double seconds, double waited, bool helped,
                                size_t most)
{
    iv_watch_mode mode = watch->mode;
    size_t runs = 0;
    while (runs < most && watch->mode == mode) {
        iv_watch_run(watch, seconds, waited, helped);
        runs++;
    }
    return runs;
}

static void test_watch(void **state)
{
    (void)state;
    const double run = 3e-5, held = 1.5e-5; /* waited for half of the time */
    iv_watch watch = {0};
    /* little waiting: together for ever */
    assert_int_equal(runs_until_change(&watch, run, run * 0.3, true, 5000), 5000);
    /* held up, and alone is faster: alone for a while, then another chance */
    watch = (iv_watch){0};
    assert_int_equal(runs_until_change(&watch, run, held, true, 5000), IV_STRETCH);
    assert_int_equal(watch.mode, IV_TRIAL);
    assert_int_equal(runs_until_change(&watch, run * 0.9, 0, false, 5000), IV_STRETCH);
    assert_int_equal(watch.mode, IV_ALONE);
    assert_int_equal(runs_until_change(&watch, 3e-4, 0, false, 5000), 67); /* 0.02 s */
    assert_int_equal(watch.mode, IV_TOGETHER);
    /* and so again, though some stretches went well: alone for twice as long */
    iv_watch again = watch;
    assert_int_equal(runs_until_change(&again, run, 0, true, 3 * IV_STRETCH), 3 * IV_STRETCH);
    assert_int_equal(runs_until_change(&again, run, held, true, 5000), IV_STRETCH);
    assert_int_equal(runs_until_change(&again, run * 0.9, 0, false, 5000), IV_STRETCH);
    assert_int_equal(again.mode, IV_ALONE);
    assert_int_equal(runs_until_change(&again, 3e-4, 0, false, 5000), 134);
    /* after a good while together it begins with the short time again */
    assert_int_equal(runs_until_change(&again, run, 0, true, 2000), 2000);
    assert_int_equal(again.confirmed, 0);
    /* held up, but alone is slower: together, and not asked again for a while */
    assert_int_equal(runs_until_change(&watch, run, held, true, 5000), IV_STRETCH);
    assert_int_equal(runs_until_change(&watch, run * 1.1, 0, false, 5000), IV_STRETCH);
    assert_int_equal(watch.mode, IV_TOGETHER);
    assert_int_equal(runs_until_change(&watch, run, held, true, 5000), IV_TRUST);
    assert_int_equal(watch.mode, IV_TRIAL);
    /* one long wait is enough */
    watch = (iv_watch){0};
    assert_int_equal(runs_until_change(&watch, 4e-3, 3.9e-3, true, 5000), 1);
    assert_int_equal(watch.mode, IV_TRIAL);
    /* very short runs are tried alone too */
    watch = (iv_watch){0};
    assert_int_equal(runs_until_change(&watch, 2e-6, 0, true, 5000), IV_STRETCH);
    assert_int_equal(watch.mode, IV_TRIAL);
    assert_int_equal(runs_until_change(&watch, 1e-6, 0, false, 5000), IV_STRETCH);
    assert_int_equal(watch.mode, IV_ALONE);
    /* nobody comes: the same */
    watch = (iv_watch){0};
    assert_int_equal(runs_until_change(&watch, run, 0, false, 5000), IV_STRETCH);
    assert_int_equal(watch.mode, IV_TRIAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_task_once),
        cmocka_unit_test(test_after_sleep),
        cmocka_unit_test(test_never_run_and_refused),
        cmocka_unit_test(test_really_parallel),
        cmocka_unit_test(test_uneven_tasks),
        cmocka_unit_test(test_two_pools),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_watch),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
