/* The report in its four forms, from one analysis. */
#ifndef IV_REPORT_REPORT_H
#define IV_REPORT_REPORT_H

#include "base/memory.h"
#include "theory/analysis.h"
#include "theory/audit.h"

#include <jansson.h>

typedef struct iv_report_context { /* cli.h names it */
    const iv_model *model;
    const iv_model *ensemble; /* that it is a member of; NULL: none */
    const iv_dataset *data;
    const iv_analysis *analysis;
    const iv_audit *audit; /* of networks that were trained elsewhere; NULL: our own model */
    const char *command;   /* as typed, for provenance; may be NULL */
    uint64_t model_hash;
    uint64_t seed;
    bool color;   /* text: terminal colours */
    size_t width; /* text: terminal width, 0: 80 */
    iv_pool *pool;
} iv_report_context;

/* Ten lines for a person, then a table of at most ten latents. */
isovae_status iv_report_text(const iv_report_context *context, iv_text *out,
                             isovae_error *err) ISOVAE_MUST_CHECK;
/* "isovae-report/1" (docs/report.schema.json). A new reference. */
isovae_status iv_report_json(const iv_report_context *context, json_t **out,
                             isovae_error *err) ISOVAE_MUST_CHECK;
/* latents.csv, loadings.csv, rows.csv, cosines.csv, pca.csv, history.csv, noise.csv where noise is
 * learned, labels.csv where there are labels, and every chart as SVG and CSV, into a folder (made
 * where absent). */
isovae_status iv_report_csv(const iv_report_context *context, const char *folder,
                            isovae_error *err) ISOVAE_MUST_CHECK;
/* One self-contained page. */
isovae_status iv_report_html(const iv_report_context *context, iv_text *out,
                             isovae_error *err) ISOVAE_MUST_CHECK;

/* A grey or RGB image (8 bit) as PNG bytes (release with iv_free). */
isovae_status iv_png_encode(const unsigned char *pixels, size_t height, size_t width,
                            size_t channels, unsigned char **bytes, size_t *length,
                            isovae_error *err) ISOVAE_MUST_CHECK;

#endif
