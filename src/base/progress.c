#include "base/progress.h"

bool iv_progress_report(const iv_progress *progress, const iv_progress_info *info)
{
    if (progress == NULL || progress->call == NULL) return true;
    return progress->call(progress->user, info);
}
