/* TensorBoard event files: a record per step with scalars by tag. */
#ifndef IV_TRAIN_EVENTS_H
#define IV_TRAIN_EVENTS_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct iv_events iv_events;

typedef struct iv_scalar {
    const char *tag;
    double value; /* one that is not finite is left out */
} iv_scalar;

/* A new event file in `folder`, which is made where absent. `wall` is the time of day in seconds;
 * it names the file and stands in its first record. */
isovae_status iv_events_open(const char *folder, double wall, iv_events **out,
                             isovae_error *err) ISOVAE_MUST_CHECK;
void iv_events_close(iv_events *events);
/* From `step` on, what earlier files of the folder say is void (TensorBoard purges it): a run that
 * begins, begins again or is resumed. */
isovae_status iv_events_begin(iv_events *events, double wall, uint64_t step,
                              isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status iv_events_add(iv_events *events, double wall, uint64_t step, const iv_scalar *scalars,
                            size_t n, isovae_error *err) ISOVAE_MUST_CHECK;

/* CRC-32C (Castagnoli) of a block. */
uint32_t iv_crc32c(const void *data, size_t length);

#endif
