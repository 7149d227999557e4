#include "report/charts.h"

#include "report/chart_kinds.h"

#include <string.h>

static const iv_chart_kind *const charts[] = {
    &iv_chart_importance, &iv_chart_optimality,    &iv_chart_rate,     &iv_chart_cosines,
    &iv_chart_density,    &iv_chart_density_truth, &iv_chart_training,
};

size_t iv_n_charts(void)
{
    return sizeof charts / sizeof(const iv_chart_kind *);
}

const iv_chart_kind *iv_chart(size_t i)
{
    return charts[i];
}

const iv_chart_kind *iv_chart_find(const char *id)
{
    for (size_t i = 0; i < iv_n_charts(); i++) {
        if (strcmp(charts[i]->id, id) == 0) return charts[i];
    }
    return NULL;
}

void iv_chart_draw(const iv_chart_kind *chart, const iv_report_context *context,
                   const iv_facts *facts, double width, bool standalone, const char *key,
                   iv_text *out)
{
    iv_text alt = {0};
    chart->says(context, facts, &alt);
    if (alt.failed) out->failed = true;
    const iv_canvas canvas = {.width = width,
                              .standalone = standalone,
                              .key = key,
                              .title = chart->title,
                              .alt = alt.data != NULL ? alt.data : ""};
    chart->draw(context, facts, &canvas, out);
    iv_text_free(&alt);
}

void iv_chart_standalone(const iv_chart_kind *chart, const iv_report_context *context,
                         const iv_facts *facts, iv_text *out)
{
    iv_text_puts(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    iv_chart_draw(chart, context, facts, 696, true, chart->id, out);
    iv_text_puts(out, "\n");
}
