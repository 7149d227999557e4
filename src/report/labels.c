#include "report/labels.h"
#include "report/values.h"

#include "data/labels.h"
#include "report/csv.h"

#include <math.h>

enum { SHOWN_LATENTS = 10, SHOWN_ROWS = 256, CLASS_WIDTH = 32 };

static bool of_classes(const iv_analysis *a)
{
    return a->labels.of->n_classes > 0;
}

static const char *class_name(const iv_analysis *a, size_t rank)
{
    const iv_label_match *m = &a->labels.latents[rank];
    return m->class < a->labels.of->n_classes ? a->labels.of->classes[m->class] : NULL;
}

/* "bulk_labels: 10 classes, 700 rows; a latent that knows nothing: 0.013" */
static void put_summary(const iv_analysis *a, iv_text *out, void put(iv_text *, const char *))
{
    put(out, a->labels.of->source);
    if (of_classes(a)) {
        iv_text_printf(out, ": %zu classes, ", a->labels.present);
    } else {
        iv_text_puts(out, ": numbers, ");
    }
    iv_put_count(out, a->labels.rows);
    iv_text_puts(out, a->labels.rows == 1 ? " row" : " rows");
    if (a->labels.rows < a->rows) {
        iv_text_puts(out, " (");
        iv_put_count(out, a->rows - a->labels.rows);
        iv_text_puts(out, " without a label)");
    }
    iv_text_puts(out, "; by chance ");
    iv_put_number(out, a->labels.chance, 2);
}

/* ---- text ---- */

static void put_plain(iv_text *out, const char *text)
{
    iv_put_clean(out, text, 40, true);
}

static void style(const iv_report_context *context, iv_text *out, const char *code)
{
    if (context->color) iv_text_printf(out, "\x1b[%sm", code);
}

static void text_cell(iv_text *out, int width, double value)
{
    iv_text t = {0};
    iv_put_fixed(&t, value, 3);
    if (t.failed) out->failed = true;
    iv_text_printf(out, "%*s", width, t.data != NULL ? t.data : "");
    iv_text_free(&t);
}

void iv_labels_text(const iv_report_context *context, size_t width, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    if (a->labels.of == NULL) return;
    size_t room = width > 40 ? width - 36 : 8, hidden = 0;
    iv_text_puts(out, "\n");
    style(context, out, "2");
    iv_text_puts(out, "  labels      ");
    style(context, out, "0");
    put_summary(a, out, put_plain);
    iv_text_puts(out, "\n");
    style(context, out, "1");
    iv_text_printf(out, "%7s %10s%s\n", "latent", of_classes(a) ? "eta^2" : "R^2",
                   of_classes(a) ? "   AUROC  best told class" : "");
    style(context, out, "0");
    for (size_t j = 0, shown = 0; j < a->n; j++) {
        const iv_label_match *m = &a->labels.latents[j];
        if (!a->latents[j].active) continue;
        if (shown++ >= SHOWN_LATENTS) {
            hidden++;
            continue;
        }
        iv_text_printf(out, "%7zu ", j);
        text_cell(out, 10, m->share);
        if (of_classes(a)) {
            const char *name = class_name(a, j);
            text_cell(out, 8, m->auroc);
            if (name != NULL) {
                iv_text_puts(out, "  ");
                iv_put_clean(out, name, room < CLASS_WIDTH ? room : CLASS_WIDTH, true);
                iv_text_puts(out, m->low ? " (low y)" : " (high y)");
            }
        }
        iv_text_puts(out, "\n");
    }
    if (hidden > 0) iv_text_printf(out, "  %zu more active\n", hidden);
}

/* ---- JSON ---- */

static json_t *class_json(const iv_analysis *a, size_t c)
{
    return json_pack("{s:o, s:I}", "name", iv_json_string(a->labels.of->classes[c]), "rows",
                     (json_int_t)a->labels.rows_of[c]);
}

static json_t *latent_json(const iv_analysis *a, size_t rank)
{
    const iv_label_match *m = &a->labels.latents[rank];
    json_t *o =
        json_pack("{s:I, s:b}", "latent", (json_int_t)rank, "active", (int)a->latents[rank].active);
    bool ok = json_object_set_new(o, of_classes(a) ? "eta2" : "r2", iv_json_number(m->share)) == 0;
    if (ok && of_classes(a)) {
        const char *best = class_name(a, rank);
        ok = json_object_set_new(o, "auroc", iv_json_number(m->auroc)) == 0 &&
             json_object_set_new(o, "class", iv_json_string(best)) == 0 &&
             json_object_set_new(
                 o, "side", best == NULL ? json_null() : json_string(m->low ? "low" : "high")) == 0;
    }
    return iv_json_done(o, ok);
}

json_t *iv_labels_json(const iv_report_context *context)
{
    const iv_analysis *a = context->analysis;
    json_t *classes = json_array(), *latents = json_array();
    bool ok = true;
    for (size_t c = 0; ok && c < a->labels.of->n_classes; c++) {
        ok = json_array_append_new(classes, class_json(a, c)) == 0;
    }
    for (size_t j = 0; ok && j < a->n; j++) {
        ok = json_array_append_new(latents, latent_json(a, j)) == 0;
    }
    if (!ok) {
        json_decref(classes);
        json_decref(latents);
        return NULL;
    }
    return json_pack(
        "{s:o, s:s, s:I, s:o, s:o, s:o}", "source", iv_json_string(a->labels.of->source), "kind",
        of_classes(a) ? "classes" : "numbers", "rows", (json_int_t)a->labels.rows, "chance",
        iv_json_number(a->labels.chance), "classes", classes, "latents", latents);
}

/* ---- CSV and HTML ---- */

void iv_labels_csv(const iv_report_context *context, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    if (a->labels.of == NULL) return;
    iv_text_puts(out, of_classes(a) ? "rank,active,eta2,auroc,class,side\n" : "rank,active,r2\n");
    for (size_t j = 0; j < a->n; j++) {
        const iv_label_match *m = &a->labels.latents[j];
        iv_csv_count(out, true, j);
        iv_csv_count(out, false, a->latents[j].active);
        iv_csv_number(out, false, m->share);
        if (of_classes(a)) {
            const char *best = class_name(a, j);
            iv_csv_number(out, false, m->auroc);
            iv_csv_text(out, false, best != NULL ? best : "");
            iv_csv_text(out, false, best == NULL ? "" : m->low ? "low" : "high");
        }
        iv_csv_end(out);
    }
}

void iv_labels_html(const iv_page *p)
{
    const iv_analysis *a = p->a;
    if (a->labels.of == NULL) return;
    iv_text_puts(p->out, "<section id=\"labels\"><h2>Labels</h2><p class=\"lead\">How well each "
                         "latent tells what is known of the rows, in ");
    put_summary(a, p->out, iv_put_escaped);
    iv_text_puts(p->out,
                 ".</p><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Labels\">"
                 "<table><thead><tr><th scope=\"col\">latent</th><th scope=\"col\">");
    iv_text_puts(p->out, of_classes(a) ? "eta\xC2\xB2</th><th scope=\"col\">AUROC</th><th "
                                         "scope=\"col\" class=\"text\">best told class</th></tr>"
                                       : "R\xC2\xB2</th></tr>");
    iv_text_puts(p->out, "</thead><tbody>");
    for (size_t j = 0, shown = 0; j < a->n && shown < SHOWN_ROWS; j++) {
        const iv_label_match *m = &a->labels.latents[j];
        if (!a->latents[j].active) continue;
        shown++;
        iv_text_printf(p->out, "<tr><th scope=\"row\">%zu</th><td>", j);
        iv_put_fixed(p->out, m->share, 3);
        if (of_classes(a)) {
            const char *best = class_name(a, j);
            iv_text_puts(p->out, "</td><td>");
            iv_put_fixed(p->out, m->auroc, 3);
            iv_text_puts(p->out, "</td><td class=\"text\">");
            if (best != NULL) {
                iv_put_escaped(p->out, best);
                iv_text_puts(p->out, m->low ? " (low y)" : " (high y)");
            }
        }
        iv_text_puts(p->out, "</td></tr>");
    }
    iv_text_puts(p->out, "</tbody></table></div><p class=\"key\">");
    iv_text_puts(p->out,
                 of_classes(a)
                     ? "eta\xC2\xB2: share of the variance of y that lies between the classes. "
                       "AUROC: of the class that y tells best against the rest, among those with "
                       "at least 5 rows; 0.5 is chance, 1 tells it always."
                     : "R\xC2\xB2: share of the labels' variance that a line in y explains.");
    iv_text_puts(p->out, "</p></section>");
}
