/* What the tests of whole fits share. */
#ifndef SUPPORT_FIT_H
#define SUPPORT_FIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "data/dataset.h"

#include <stdbool.h>
#include <stdlib.h>

/* Under the sanitizers: fewer steps, and no whole fits. */
static inline bool short_run(void)
{
    return getenv("ISOVAE_TEST_SHORT") != NULL;
}

static inline void ok(isovae_status status, const isovae_error *err)
{
    if (status != ISOVAE_OK) fail_msg("%s", err->message);
}

static inline iv_dataset *open_data(const char *spec)
{
    isovae_error err;
    iv_data_options options;
    iv_dataset *data;
    iv_data_options_init(&options);
    ok(iv_dataset_open(spec, &options, &data, &err), &err);
    return data;
}

#endif
