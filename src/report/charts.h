/* The charts of a report: one row of a table each. */
#ifndef IV_REPORT_CHARTS_H
#define IV_REPORT_CHARTS_H

#include "report/facts.h"

typedef struct iv_canvas {
    double width;
    bool standalone;
    const char *key, *title, *alt;
} iv_canvas;

typedef struct iv_chart_kind {
    const char *id, *title;
    bool (*exists)(const iv_report_context *context, const iv_facts *facts);
    /* canvas: pixels wide; see iv_svg_open for the rest. */
    void (*draw)(const iv_report_context *context, const iv_facts *facts, const iv_canvas *canvas,
                 iv_text *out);
    void (*csv)(const iv_report_context *context, const iv_facts *facts, iv_text *out);
    /* One sentence that says what to see (plain text). */
    void (*says)(const iv_report_context *context, const iv_facts *facts, iv_text *out);
} iv_chart_kind;

size_t iv_n_charts(void);
const iv_chart_kind *iv_chart(size_t i);
const iv_chart_kind *iv_chart_find(const char *id); /* NULL where there is none */
/* The picture with its sentence as description, `width` pixels wide. */
void iv_chart_draw(const iv_chart_kind *chart, const iv_report_context *context,
                   const iv_facts *facts, double width, bool standalone, const char *key,
                   iv_text *out);
/* A file of its own, 720 pixels wide, light and dark by the viewer's preference. */
void iv_chart_standalone(const iv_chart_kind *chart, const iv_report_context *context,
                         const iv_facts *facts, iv_text *out);

/* Signed loadings of one latent as diverging bars, strongest first (tables). */
void iv_draw_profile(const iv_report_context *context, const iv_facts *facts, size_t rank,
                     const iv_canvas *canvas, iv_text *out);
void iv_profile_csv(const iv_report_context *context, const iv_facts *facts, size_t rank,
                    iv_text *out);

#endif
