#include "base/progress.h"

#include <math.h>

bool iv_progress_report(const iv_progress *progress, const iv_progress_info *info)
{
    if (progress == NULL || progress->call == NULL) return true;
    return progress->call(progress->user, info);
}

bool iv_progress_rows(const iv_progress *progress, const char *stage, size_t done, size_t total)
{
    const double none = (double)NAN;
    iv_progress_info info = {.stage = stage,
                             .done = (double)done,
                             .total = (double)total,
                             .unit = "rows",
                             .loss = none,
                             .rate_nats = none,
                             .distortion = none,
                             .beta = none,
                             .validation = none};
    return iv_progress_report(progress, &info);
}
