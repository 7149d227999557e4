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

void iv_watch_run(iv_watch *watch, double seconds, double waited)
{
    watch->runs++;
    watch->seconds += seconds;
    watch->waited += waited;
    if (watch->runs < (watch->mode == IV_ALONE ? IV_WHILE : IV_STRETCH)) return;
    switch (watch->mode) {
    case IV_TOGETHER: {
        watch->trust = watch->trust > IV_STRETCH ? watch->trust - IV_STRETCH : 0;
        watch->together = watch->seconds;
        bool held_up = watch->waited > watch->seconds / 3;
        bool short_runs = watch->seconds < IV_STRETCH * worth_sharing;
        bool doubt = watch->trust == 0 && (held_up || short_runs);
        enter(watch, doubt ? IV_TRIAL : IV_TOGETHER);
        break;
    }
    case IV_TRIAL:
        if (watch->seconds >= watch->together) watch->trust = IV_WHILE;
        enter(watch, watch->seconds < watch->together ? IV_ALONE : IV_TOGETHER);
        break;
    case IV_ALONE: enter(watch, IV_TOGETHER); break;
    }
}
