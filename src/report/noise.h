/* Learned noise in the four forms of the report. */
#ifndef IV_REPORT_NOISE_H
#define IV_REPORT_NOISE_H

#include "report/facts.h"

/* "0.21 (c0) to 0.87 (c5) ..."; "heavy (nu below 10) in 3 of 12 features: c6 2.1 ...". */
void iv_noise_line(const iv_report_context *context, iv_text *out);
void iv_tails_line(const iv_report_context *context, iv_text *out);
json_t *iv_noise_json(const iv_report_context *context); /* a new reference; NULL: no memory */
void iv_noise_csv(const iv_report_context *context, iv_text *out);
void iv_noise_html(const iv_report_context *context, iv_text *out); /* a table */

#endif
