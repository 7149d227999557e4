#include "base/watch.h"

/* Seconds of a run: below that, meeting may cost more than is shared. */
static const double worth_sharing = 2e-5;
/* A stretch in which so much was waited for needs no further proof. */
static const double long_wait = 2e-3;

static void enter(iv_watch *watch, iv_watch_mode mode)
{
    watch->mode = mode;
    watch->runs = watch->helped = 0;
    watch->seconds = watch->waited = 0;
}

static bool is_held_up(const iv_watch *watch)
{
    return watch->waited > watch->seconds / 3;
}

static bool has_ended(const iv_watch *watch)
{
    switch (watch->mode) {
    case IV_TOGETHER:
        if (watch->trust == 0 && watch->waited > long_wait && is_held_up(watch)) return true;
        break;
    case IV_ALONE: return watch->seconds > IV_ALONE_SECONDS * (double)(1u << watch->confirmed);
    case IV_TRIAL: break;
    }
    return watch->runs >= IV_STRETCH;
}

void iv_watch_run(iv_watch *watch, double seconds, double waited, bool helped)
{
    watch->runs++;
    watch->helped += helped;
    watch->seconds += seconds;
    watch->waited += waited;
    if (!has_ended(watch)) return;
    double each = watch->seconds / (double)watch->runs;
    switch (watch->mode) {
    case IV_TOGETHER: {
        watch->trust = watch->trust > watch->runs ? watch->trust - watch->runs : 0;
        watch->together = each;
        bool missed = watch->helped < watch->runs / 2;
        bool doubt = watch->trust == 0 && (is_held_up(watch) || missed || each < worth_sharing);
        watch->good = doubt ? 0 : watch->good + watch->seconds;
        if (watch->good > IV_GOOD_SECONDS) watch->confirmed = 0;
        enter(watch, doubt ? IV_TRIAL : IV_TOGETHER);
        break;
    }
    case IV_TRIAL:
        if (each >= watch->together) {
            watch->trust = IV_TRUST;
            enter(watch, IV_TOGETHER);
        } else {
            enter(watch, IV_ALONE);
        }
        break;
    case IV_ALONE:
        if (watch->confirmed < IV_MOST_CONFIRMED) watch->confirmed++;
        enter(watch, IV_TOGETHER);
        break;
    }
}
