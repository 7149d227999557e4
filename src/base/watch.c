#include "base/watch.h"

#include <stdbool.h>

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
        bool held_up = watch->trust == 0 && watch->waited > watch->seconds / 3;
        enter(watch, held_up ? IV_TRIAL : IV_TOGETHER);
        break;
    }
    case IV_TRIAL:
        if (watch->seconds >= watch->together) watch->trust = IV_WHILE;
        enter(watch, watch->seconds < watch->together ? IV_ALONE : IV_TOGETHER);
        break;
    case IV_ALONE: enter(watch, IV_TOGETHER); break;
    }
}
