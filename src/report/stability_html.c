/* The page: the line to quote, two charts with a dot per run, the table of units and that of runs.
 */
#include "report/stability.h"

#include "report/html.h"
#include "report/svg.h"

#include <math.h>
#include <stdio.h>

enum { MOST_UNITS = 40, HEIGHT = 320, TIP = 96 };

typedef struct chart {
    const char *id, *title, *says;
    bool match; /* else importance */
} chart;

static const chart charts[] = {
    {"importance", "Importance in each run",
     "A dot per run: how much of the data varies along the latent (for a group, along its space) "
     "in the runs that found it. Dots on one spot are runs that agree.",
     false},
    {"match", "Match with the central run",
     "A dot per run: |correlation| of y on the common rows with the latent that matches best (for "
     "a "
     "group, the smallest canonical correlation). 1 is the same latent.",
     true},
};

static double value_of(const iv_agreement *a, const chart *kind, size_t r, size_t u)
{
    const iv_agreed_unit *unit = &a->units[u];
    double match = a->unit_match[r * a->n_units + u], sum = 0;
    if (kind->match) return match;
    if (!(match >= a->least)) return (double)NAN;
    for (size_t i = 0; i < unit->n; i++) sum += a->variance[r * a->n + unit->member[i]];
    return sum;
}

static void set_range(const iv_agreement *a, const chart *kind, size_t n, iv_axis *axis)
{
    double lo = kind->match ? 0.95 : INFINITY, hi = kind->match ? 1 : 0;
    for (size_t r = 0; r < a->runs; r++) {
        for (size_t u = 0; u < n; u++) {
            double value = value_of(a, kind, r, u);
            if (isnan(value)) continue;
            lo = fmin(lo, value);
            hi = fmax(hi, value);
        }
    }
    if (kind->match) {
        *axis = (iv_axis){.lo = lo < 0.85 ? 0 : 0.85, .hi = 1};
        return;
    }
    if (!(lo > 0) || !(hi >= lo)) lo = hi = 1;
    *axis = (iv_axis){.lo = lo / 1.5, .hi = hi * 1.5, .log = true};
    iv_axis_nice(axis, 5);
}

static void put_labels(iv_svg *svg, const iv_agreement *a, size_t n)
{
    double room = (svg->right - svg->left) / (double)n;
    size_t every = room >= 26 ? 1 : room >= 13 ? 2 : 5;
    iv_svg_line(svg, "axis", svg->left, svg->bottom, svg->right, svg->bottom);
    for (size_t u = 0; u < n; u += every) {
        iv_text name = {0};
        iv_stability_unit(a, u, &name);
        iv_svg_text(svg, "small", iv_svg_slot(svg, n, u), svg->bottom + 16, IV_MIDDLE,
                    name.data != NULL ? name.data : "");
        if (name.failed) svg->out->failed = true;
        iv_text_free(&name);
    }
    iv_svg_text(svg, "small", (svg->left + svg->right) / 2, svg->bottom + 34, IV_MIDDLE,
                "latents, by importance in the central run");
}

static void draw(const iv_stability_context *c, const chart *kind, double width, bool standalone,
                 const char *key, iv_text *out)
{
    const iv_agreement *a = c->stability->agreement;
    size_t n = a->n_units < MOST_UNITS ? a->n_units : MOST_UNITS;
    iv_legend legend[3] = {{'c', "f1", "a run, claimed latent"},
                           {'c', "off", "a run, latent that is not claimed"},
                           {'d', "limit", "match from which a latent is found"}};
    iv_svg svg;
    iv_svg_open(&svg, out, width, HEIGHT, key, kind->title, kind->says, standalone);
    double used = iv_svg_legend(&svg, legend, kind->match ? 3 : 2);
    set_range(a, kind, n, &svg.y);
    iv_svg_area(&svg, 52, used + 26, width - 8, HEIGHT - 44);
    iv_svg_axis_y(&svg, 5, kind->match ? "match" : "variance of y, log scale");
    double slot = (svg.right - svg.left) / (double)(n > 0 ? n : 1);
    for (size_t u = 0; u < n; u++) {
        for (size_t r = 0; r < a->runs; r++) {
            char tip[TIP], number[40];
            double value = value_of(a, kind, r, u);
            /* side by side over two thirds of the slot, in the order of the seeds */
            double place = a->runs > 1 ? (double)r / (double)(a->runs - 1) - 0.5 : 0;
            if (isnan(value) || (kind->match && r == a->central)) continue;
            iv_svg_number(number, sizeof number, value);
            snprintf(tip, sizeof tip, "seed %llu: %s",
                     (unsigned long long)c->stability->runs[r].seed, number);
            iv_svg_circle(&svg, a->units[u].claimed ? "f1" : "off",
                          iv_svg_slot(&svg, n, u) + place * fmin(slot * 0.66, 90),
                          iv_axis_at(&svg.y, value), 3.5, tip);
        }
    }
    if (kind->match && a->least >= svg.y.lo) {
        double y = iv_axis_at(&svg.y, a->least);
        iv_svg_line(&svg, "limit", svg.left, y, svg.right, y);
    }
    if (n > 0) put_labels(&svg, a, n);
    iv_svg_close(&svg);
}

static void put_chart(const iv_stability_context *c, const chart *kind, iv_text *out)
{
    char key[48];
    iv_text svg = {0};
    iv_page page = {.out = out};
    iv_text_printf(out, "<figure class=\"chart\"><h3>%s</h3><div class=\"draw wide\">",
                   kind->title);
    snprintf(key, sizeof key, "w-%s", kind->id);
    draw(c, kind, 540, false, key, out);
    iv_text_puts(out, "</div><div class=\"draw narrow\">");
    snprintf(key, sizeof key, "n-%s", kind->id);
    draw(c, kind, 350, false, key, out);
    iv_text_puts(out, "</div><figcaption>");
    iv_put_escaped(out, kind->says);
    iv_text_puts(out, "</figcaption><p class=\"get\">");
    draw(c, kind, 720, true, "s", &svg);
    snprintf(key, sizeof key, "stability-%s.svg", kind->id);
    iv_html_download(&page, key, "image/svg+xml", &svg, "SVG", kind->title);
    iv_text_puts(out, "</p></figure>");
    iv_text_free(&svg);
}

static void fixed_cell(iv_text *out, double value, int decimals)
{
    iv_text_puts(out, "<td>");
    iv_put_fixed(out, value, decimals);
    iv_text_puts(out, "</td>");
}

static void put_units(const iv_stability_context *c, iv_text *out)
{
    const iv_agreement *a = c->stability->agreement;
    iv_text_puts(out, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Latents\">"
                      "<table><thead><tr><th scope=\"col\" class=\"text\">latents</th><th scope="
                      "\"col\">found</th><th scope=\"col\">match, mean</th><th scope=\"col\">least"
                      "</th><th scope=\"col\">variance_y</th><th scope=\"col\">SD</th><th scope="
                      "\"col\" class=\"text\">verdict</th></tr></thead><tbody>");
    for (size_t u = 0; u < a->n_units; u++) {
        const iv_agreed_unit *unit = &a->units[u];
        iv_text_printf(out, "<tr%s><th scope=\"row\" class=\"text\">",
                       unit->claimed ? "" : " class=\"off\"");
        iv_stability_unit(a, u, out);
        iv_text_printf(out, "</th><td>%zu of %zu</td>", unit->found, a->runs);
        fixed_cell(out, floor(10000 * unit->match_mean) / 10000, 4);
        fixed_cell(out, floor(10000 * unit->match_min) / 10000, 4);
        iv_text_puts(out, "<td>");
        iv_put_number(out, unit->variance_mean, 4);
        iv_text_puts(out, "</td><td>");
        iv_put_number(out, unit->variance_sd, 2);
        iv_text_printf(out, "</td><td class=\"text\">%s",
                       unit->claimed ? "claimed" : "not claimed");
        if (unit->n > 1) {
            iv_text_printf(
                out,
                "; a group whose latents turn into each other, %zu of its %zu directions "
                "are shared by all runs",
                unit->shared, unit->n);
        }
        iv_text_puts(out, "</td></tr>");
    }
    iv_text_puts(out, "</tbody></table></div>");
}

static void put_runs(const iv_stability_context *c, iv_text *out)
{
    const iv_stability *s = c->stability;
    iv_text_puts(out, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Runs\">"
                      "<table><thead><tr><th scope=\"col\">seed</th><th scope=\"col\">active</th>"
                      "<th scope=\"col\">not found elsewhere</th><th scope=\"col\">beta</th><th "
                      "scope=\"col\">steps</th><th scope=\"col\" class=\"text\"></th></tr></thead>"
                      "<tbody>");
    for (size_t r = 0; r < s->n_runs; r++) {
        const iv_stability_run *run = &s->runs[r];
        iv_text_printf(out, "<tr><td>%llu</td>", (unsigned long long)run->seed);
        if (run->failed) {
            iv_text_puts(out, "<td>-</td><td>-</td><td>-</td><td>-</td><td class=\"text\">");
            iv_put_escaped(out, run->reason);
        } else {
            iv_text_printf(out, "<td>%zu</td><td>%zu</td><td>", run->active,
                           s->agreement->alone[r]);
            iv_put_number(out, run->beta, 4);
            iv_text_puts(out, "</td><td>");
            iv_put_count(out, run->steps);
            iv_text_printf(out, "</td><td class=\"text\">%s%s",
                           r == s->agreement->central ? "the most central run" : "",
                           run->folded ? " folded" : "");
        }
        iv_text_puts(out, "</td></tr>");
    }
    iv_text_puts(out, "</tbody></table></div>");
}

static void put_header(const iv_stability_context *c, iv_text *out)
{
    const iv_stability *s = c->stability;
    const iv_agreement *a = s->agreement;
    size_t claimed = 0;
    for (size_t u = 0; u < a->n_units; u++) claimed += a->units[u].claimed;
    iv_text_puts(out, "<header><p class=\"kicker\"><span><b>isovae</b> stability on ");
    iv_put_escaped(out, c->data->source != NULL ? iv_facts_base(c->data->source) : "memory");
    iv_text_printf(out,
                   "</span><button id=\"theme\" type=\"button\" hidden>Theme</button></p><div "
                   "class=\"mood m%d\"><h1>",
                   claimed > 0 ? 0 : 1);
    iv_stability_quote(a, out);
    iv_text_printf(out, "</h1><p class=\"sub\">%zu runs with seeds %llu to %llu, compared on ",
                   s->n_runs, (unsigned long long)s->runs[0].seed,
                   (unsigned long long)s->runs[s->n_runs - 1].seed);
    iv_put_count(out, s->rows);
    iv_text_printf(out,
                   " %s rows. Latents are numbered as in the most central run, seed %llu.</p></div>"
                   "</header>",
                   s->held_out ? "held-out" : "common",
                   (unsigned long long)s->runs[a->central].seed);
}

isovae_status iv_stability_html(const iv_stability_context *c, iv_text *out, isovae_error *err)
{
    const iv_agreement *a = c->stability->agreement;
    iv_text_puts(out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name="
                      "\"viewport\" content=\"width=device-width,initial-scale=1\"><title>isovae "
                      "stability</title><style>");
    iv_html_style(out);
    iv_text_puts(out, "</style></head><body><div class=\"page\">");
    put_header(c, out);
    iv_text_puts(out, "<ul class=\"warn\">");
    iv_stability_remarks(c, "<li class=\"note\">", "</li>", out);
    iv_text_puts(out, "</ul><main><section><div class=\"pair\">");
    if (a->n_units > 0) {
        for (size_t i = 0; i < 2; i++) put_chart(c, &charts[i], out);
    }
    iv_text_printf(
        out,
        "</div></section><section><h2>Latents</h2><p class=\"lead\">Found: a match of %g "
        "or more. Claimed: found in nine of ten runs.</p>",
        a->least);
    put_units(c, out);
    iv_text_puts(out, "</section><section><h2>Runs</h2>");
    put_runs(c, out);
    iv_text_puts(out,
                 "</section></main><footer><dl><dt>Version</dt><dd>isovae " ISOVAE_VERSION "</dd>");
    if (c->command != NULL) {
        iv_text_puts(out, "<dt>Command</dt><dd><code>");
        iv_put_escaped(out, c->command);
        iv_text_puts(out, "</code></dd>");
    }
    iv_text_puts(out, "<dt>Data</dt><dd>");
    iv_put_escaped(out, c->data->source != NULL ? c->data->source : "memory");
    iv_text_printf(out, " (hash <code>%016llx</code>)</dd></dl></footer></div><script>",
                   (unsigned long long)c->data->hash);
    iv_html_script(out);
    iv_text_puts(out, "</script></body></html>\n");
    return iv_text_check(out, err);
}
