/* What one latent does to the features of a table: diverging bars. */
#include "report/chart_kinds.h"
#include "report/csv.h"

#include <math.h>
#include <stdio.h>

void iv_draw_profile(const iv_report_context *context, const iv_facts *facts, size_t rank,
                     const iv_canvas *canvas, iv_text *out)
{
    const iv_latent_report *l = &context->analysis->latents[rank];
    iv_svg svg;
    double row = 22, top = 6, most = 0, height = top + row * (double)l->n_top + 24;
    (void)facts;
    iv_svg_open(&svg, out, canvas->width, height, canvas->key, canvas->title, canvas->alt,
                canvas->standalone);
    for (size_t i = 0; i < l->n_top; i++) most = fmax(most, fabs(l->top[i].mean));
    if (!(most > 0)) most = 1;
    double name_width = canvas->width * 0.38, room = canvas->width - name_width - 8;
    size_t letters = (size_t)(name_width / 6.6);
    double zero = name_width + 8 + room / 2, reach = room / 2 - 44;
    for (size_t i = 0; i < l->n_top; i++) {
        const iv_loading *t = &l->top[i];
        iv_text name = {0}, cut = {0}, tip = {0};
        char number[40];
        double y = top + row * (double)i, length = reach * fabs(t->mean) / most;
        iv_facts_feature(context, t->feature, &name);
        iv_put_clean(&cut, name.data != NULL ? name.data : "", letters, false);
        iv_svg_number(number, sizeof number, t->mean);
        iv_text_printf(&tip, "%s: %s, share %.1f %%, sign consistency %.2f",
                       name.data != NULL ? name.data : "", number, 100 * t->share, t->sign);
        if (name.failed || cut.failed || tip.failed) out->failed = true;
        iv_svg_text(&svg, "on", name_width, y + 15, IV_END, cut.data != NULL ? cut.data : "");
        iv_text_printf(out, "<g%s>", iv_facts_mixed(t) ? " opacity=\".5\"" : "");
        iv_svg_rect(&svg, t->mean < 0 ? "f2" : "f1", t->mean < 0 ? zero - length : zero, y + 4,
                    length, row - 8, tip.data);
        iv_text_puts(out, "</g>");
        snprintf(number, sizeof number, "%.3g", t->mean);
        iv_svg_text(&svg, "small", t->mean < 0 ? zero - length - 4 : zero + length + 4, y + 15,
                    t->mean < 0 ? IV_END : IV_START, number);
        iv_text_free(&name);
        iv_text_free(&cut);
        iv_text_free(&tip);
    }
    iv_svg_line(&svg, "axis", zero, top, zero, height - 22);
    iv_svg_text(&svg, "small", zero - 8, height - 6, IV_END, "falls");
    iv_svg_text(&svg, "small", zero + 8, height - 6, IV_START, "rises");
    iv_svg_close(&svg);
}

void iv_profile_csv(const iv_report_context *context, const iv_facts *facts, size_t rank,
                    iv_text *out)
{
    const iv_latent_report *l = &context->analysis->latents[rank];
    (void)facts;
    iv_text_puts(out, "latent,feature,mean,share,sign_consistency\n");
    for (size_t i = 0; i < l->n_top; i++) {
        iv_text name = {0};
        iv_facts_feature(context, l->top[i].feature, &name);
        if (name.failed) out->failed = true;
        iv_csv_count(out, true, rank);
        iv_csv_text(out, false, name.data != NULL ? name.data : "");
        iv_csv_number(out, false, l->top[i].mean);
        iv_csv_number(out, false, l->top[i].share);
        iv_csv_number(out, false, l->top[i].sign);
        iv_csv_end(out);
        iv_text_free(&name);
    }
}
