/* The kinds of charts, for the table in charts.c. */
#ifndef IV_REPORT_CHART_KINDS_H
#define IV_REPORT_CHART_KINDS_H

#include "report/charts.h"
#include "report/svg.h"

extern const iv_chart_kind iv_chart_importance, iv_chart_optimality, iv_chart_rate,
    iv_chart_cosines, iv_chart_density, iv_chart_density_truth, iv_chart_training;

/* Latents that a chart shows: all, at most 40. */
size_t iv_chart_latents(const iv_analysis *analysis);

#endif
