#include "base/watch.h"

#include <stdbool.h>

/* Seconds of a run: below that, meeting may cost more than is shared. */
static const double worth_sharing = 5e-6;

static void enter(iv_watch *watch, iv_watch_mode mode)
{
    watch->mode = mode;
    watch->runs = 0;
    watch->seconds = watch->waited = 0;
}

/* Runs may become longer meanwhile, so time ends it too. */
static const double longest_alone = 1;

static bool has_ended(const iv_watch *watch)
{
    if (watch->mode != IV_ALONE) return watch->runs >= IV_STRETCH;
    return watch->runs >= (size_t)IV_WHILE << watch->confirmed || watch->seconds > longest_alone;
}

void iv_watch_run(iv_watch *watch, double seconds, double waited)
{
    watch->runs++;
    watch->seconds += seconds;
    watch->waited += waited;
    if (!has_ended(watch)) return;
    switch (watch->mode) {
    case IV_TOGETHER: {
        watch->trust = watch->trust > IV_STRETCH ? watch->trust - IV_STRETCH : 0;
        watch->together = watch->seconds;
        bool held_up = watch->waited > watch->seconds / 3;
        bool short_runs = watch->seconds < IV_STRETCH * worth_sharing;
        bool doubt = watch->trust == 0 && (held_up || short_runs);
        if (!doubt) watch->confirmed = 0;
        enter(watch, doubt ? IV_TRIAL : IV_TOGETHER);
        break;
    }
    case IV_TRIAL:
        if (watch->seconds >= watch->together) {
            watch->trust = IV_WHILE;
            watch->confirmed = 0;
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
