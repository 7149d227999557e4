/* What `isovae stability` says: text, JSON (isovae-stability/1, docs/stability.schema.json), and a
 * page. */
#ifndef IV_REPORT_STABILITY_H
#define IV_REPORT_STABILITY_H

#include "base/memory.h"
#include "train/stability.h"

#include <jansson.h>

typedef struct iv_stability_context {
    const iv_dataset *data;
    const iv_stability *stability;
    const char *command; /* as typed; may be NULL */
    bool color;
    size_t width; /* of the terminal; 0: 80 */
} iv_stability_context;

/* The line to quote: "latents 0-2 are found in 10 of 10 runs (match 0.998 or more)". */
void iv_stability_quote(const iv_agreement *agreement, iv_text *out);
/* The latents of a unit: "3", "1-2", "1,4". */
void iv_stability_unit(const iv_agreement *agreement, size_t unit, iv_text *out);
/* What that line leaves unsaid, a sentence each between `before` and `after`. Nothing in them needs
 * escaping. */
void iv_stability_remarks(const iv_stability_context *context, const char *before,
                          const char *after, iv_text *out);

isovae_status iv_stability_text(const iv_stability_context *context, iv_text *out,
                                isovae_error *err) ISOVAE_MUST_CHECK;
/* A new reference. */
isovae_status iv_stability_json(const iv_stability_context *context, json_t **out,
                                isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status iv_stability_html(const iv_stability_context *context, iv_text *out,
                                isovae_error *err) ISOVAE_MUST_CHECK;
#endif
