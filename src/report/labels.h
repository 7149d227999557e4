/* How well the latents tell the labels, in the four forms of the report. Where there are no labels
 * nothing is written. */
#ifndef IV_REPORT_LABELS_H
#define IV_REPORT_LABELS_H

#include "report/html.h"

/* A table of at most ten active latents; `width` of the terminal. */
void iv_labels_text(const iv_report_context *context, size_t width, iv_text *out);
/* {source, kind, rows, chance, classes[], latents[]}; NULL where memory ran out. */
json_t *iv_labels_json(const iv_report_context *context);
void iv_labels_csv(const iv_report_context *context, iv_text *out);
void iv_labels_html(const iv_page *page);

#endif
