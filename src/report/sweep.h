/* A sweep (train/sweep.h) in its three forms. */
#ifndef IV_REPORT_SWEEP_H
#define IV_REPORT_SWEEP_H

#include "base/memory.h"
#include "train/sweep.h"

#include <jansson.h>

typedef struct iv_sweep_report {
    const iv_sweep *sweep;
    const iv_dataset *data;
    const char *command; /* as typed; may be NULL */
    const char *output;  /* the model file that was written, or NULL */
    bool color;          /* text: terminal colours */
} iv_sweep_report;

/* Ten lines for a person and a table of the betas. */
isovae_status iv_sweep_text(const iv_sweep_report *report, iv_text *out,
                            isovae_error *err) ISOVAE_MUST_CHECK;
/* "isovae-sweep/1" (docs/sweep.schema.json). A new reference. */
isovae_status iv_sweep_json(const iv_sweep_report *report, json_t **out,
                            isovae_error *err) ISOVAE_MUST_CHECK;
/* One self-contained page. */
isovae_status iv_sweep_html(const iv_sweep_report *report, iv_text *out,
                            isovae_error *err) ISOVAE_MUST_CHECK;

/* What the answer is, in one plain sentence. */
void iv_sweep_verdict(const iv_sweep *sweep, iv_text *out);
/* The goal's value in words: "psnr 24.9 dB"; calibrated: "beta/2 over the residual 1.01". */
void iv_sweep_put_value(const iv_sweep *sweep, double value, iv_text *out);

#endif
