/* The parts of the HTML page. */
#ifndef IV_REPORT_HTML_H
#define IV_REPORT_HTML_H

#include "report/charts.h"

typedef struct iv_page {
    const iv_report_context *context;
    const iv_analysis *a;
    iv_facts facts;
    iv_text *out;
} iv_page;

void iv_html_style(iv_text *out);  /* content of <style> */
void iv_html_script(iv_text *out); /* content of <script> */

/* A chart in both widths, its sentence, and its downloads. `width` is that of the wide one; a class
 * "beside" puts the sentence beside it where there is room. */
void iv_html_chart(const iv_page *page, const iv_chart_kind *chart, double width,
                   const char *class);
/* <a download> with the content in it. */
void iv_html_download(const iv_page *page, const char *file, const char *type,
                      const iv_text *content, const char *label, const char *what);

void iv_html_latents(const iv_page *page);  /* the table */
void iv_html_profiles(const iv_page *page); /* features that each latent moves */
isovae_status iv_html_images(const iv_page *page, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
