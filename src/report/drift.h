/* What `isovae drift` says, as text and as JSON (isovae-drift/1, docs/drift.schema.json). */
#ifndef IV_REPORT_DRIFT_H
#define IV_REPORT_DRIFT_H

#include "base/memory.h"
#include "theory/drift.h"

#include <jansson.h>

typedef struct iv_drift_context {
    const iv_model *model;
    const iv_dataset *data[2]; /* reference, new */
    const iv_drift *drift;
    const char *command; /* as typed; may be NULL */
    uint64_t model_hash;
    bool color;
    size_t width; /* of the terminal; 0: 80 */
} iv_drift_context;

isovae_status iv_drift_text(const iv_drift_context *context, iv_text *out,
                            isovae_error *err) ISOVAE_MUST_CHECK;
/* A new reference. */
isovae_status iv_drift_json(const iv_drift_context *context, json_t **out,
                            isovae_error *err) ISOVAE_MUST_CHECK;

#endif
