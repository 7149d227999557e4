/* The sweep as one self-contained page. */
#include "report/facts.h"
#include "report/html.h"
#include "report/svg.h"
#include "report/sweep.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct page {
    const iv_sweep_report *report;
    const iv_sweep *s;
    iv_text *out;
} page;

/* One line of a chart over the betas. */
typedef double value_fn(const iv_sweep *s, size_t k);
typedef struct series {
    const char *class, *dot; /* dot NULL: no marks */
    const char *name;
    value_fn *value, *sd;
} series;

static void range_of(const iv_sweep *s, value_fn *value, bool positive, iv_axis *axis)
{
    for (size_t k = 0; k < s->points; k++) {
        double v = value(s, k);
        if (!isfinite(v) || (positive && !(v > 0))) continue;
        if (!(v >= axis->lo)) axis->lo = v;
        if (!(v <= axis->hi)) axis->hi = v;
    }
}

static void draw_series(iv_svg *svg, const iv_sweep *s, const series *line, value_fn *across)
{
    double x[512] = {0}, y[512] = {0};
    size_t n = s->points < 512 ? s->points : 512;
    char tip[96];
    for (size_t k = 0; k < n; k++) {
        double v = fmin(fmax(line->value(s, k), svg->y.lo), svg->y.hi);
        if (isnan(line->value(s, k))) v = (double)NAN; /* fmin would pass over it */
        x[k] = iv_axis_at(&svg->x, across(s, k));
        y[k] = svg->y.log && !(v > 0) ? (double)NAN : iv_axis_at(&svg->y, v);
    }
    iv_svg_path(svg, line->class, x, y, n);
    for (size_t k = 0; line->dot != NULL && k < n; k++) {
        double v = line->value(s, k), sd = line->sd != NULL ? line->sd(s, k) : (double)NAN;
        if (sd > 0 && (!svg->y.log || v > sd))
            iv_svg_line(svg, "bar", x[k], iv_axis_at(&svg->y, v - sd), x[k],
                        iv_axis_at(&svg->y, v + sd));
        snprintf(tip, sizeof tip, "beta %.3g: %.4g", s->mean[k].beta, v);
        iv_svg_circle(svg, line->dot, x[k], y[k], 3.5, tip);
    }
}

/* A chart: lines over a common axis, one mark at the answer. */
typedef struct chart {
    const char *id, *title, *says, *x_label, *y_label;
    value_fn *across;
    bool x_log, y_log;
    double y_lo, y_hi; /* NaN: by the lines */
    const series *lines;
    size_t n;
    double mark_x; /* a vertical line, or NaN */
} chart;

static void draw_chart(const page *p, const chart *c, double width, const char *key)
{
    iv_legend legend[8];
    iv_svg svg;
    const double height = 330;
    size_t entries = 0;
    for (size_t i = 0; i < c->n; i++)
        if (c->lines[i].name != NULL && entries < 7)
            legend[entries++] = (iv_legend){strcmp(c->lines[i].class, "limit") == 0 ? 'd' : 'l',
                                            c->lines[i].class, c->lines[i].name};
    iv_svg_open(&svg, p->out, width, height, key, c->title, c->says, false);
    double used = iv_svg_legend(&svg, legend, entries);
    svg.x = (iv_axis){.lo = NAN, .hi = NAN, .log = c->x_log};
    svg.y = (iv_axis){.lo = NAN, .hi = NAN, .log = c->y_log};
    range_of(p->s, c->across, c->x_log, &svg.x);
    for (size_t i = 0; i < c->n; i++) range_of(p->s, c->lines[i].value, c->y_log, &svg.y);
    if (!isnan(c->y_lo)) svg.y.lo = c->y_lo;
    if (!isnan(c->y_hi)) svg.y.hi = c->y_hi;
    iv_axis_nice(&svg.x, 6);
    iv_axis_nice(&svg.y, 5);
    iv_svg_area(&svg, 56, used + 26, width - 14, height - 44);
    iv_svg_axis_y(&svg, 5, c->y_label);
    if (c->mark_x >= svg.x.lo && c->mark_x <= svg.x.hi) {
        double x = iv_axis_at(&svg.x, c->mark_x);
        iv_svg_line(&svg, "limit", x, svg.top, x, svg.bottom);
        bool right = x > (svg.left + svg.right) / 2;
        iv_svg_text(&svg, "small limit-t", right ? x - 4 : x + 4, svg.top + 11,
                    right ? IV_END : IV_START, "answer");
    }
    for (size_t i = 0; i < c->n; i++) draw_series(&svg, p->s, &c->lines[i], c->across);
    iv_svg_axis_x(&svg, width > 500 ? 8 : 4, c->x_label);
    iv_svg_close(&svg);
}

static void put_chart(const page *p, const chart *c)
{
    char key[64];
    iv_text_printf(p->out, "<figure class=\"chart\"><h3>%s</h3><div class=\"draw wide\">",
                   c->title);
    snprintf(key, sizeof key, "w-%s", c->id);
    draw_chart(p, c, 540, key);
    iv_text_puts(p->out, "</div><div class=\"draw narrow\">");
    snprintf(key, sizeof key, "n-%s", c->id);
    draw_chart(p, c, 350, key);
    iv_text_puts(p->out, "</div><figcaption>");
    iv_put_escaped(p->out, c->says);
    iv_text_puts(p->out, "</figcaption></figure>");
}

/* ---- what is drawn ---- */

static double get_beta(const iv_sweep *s, size_t k)
{
    return s->mean[k].beta;
}
static double get_rate(const iv_sweep *s, size_t k)
{
    return s->mean[k].train.curve.rate;
}
static double get_distortion(const iv_sweep *s, size_t k)
{
    return s->mean[k].train.curve.distortion;
}
static double get_distortion_sd(const iv_sweep *s, size_t k)
{
    return s->sd[k].train.curve.distortion;
}
/* At the training's rate, so that both share an axis: along the slope -beta. */
static double get_held(const iv_sweep *s, size_t k)
{
    const iv_sweep_point *p = &s->mean[k];
    return p->held.curve.distortion + p->beta * (p->held.curve.rate - p->train.curve.rate);
}
static double get_slope(const iv_sweep *s, size_t k)
{
    return k == 0 ? (double)NAN : s->chords[k - 1].train / s->chords[k - 1].expected;
}
static double get_slope_held(const iv_sweep *s, size_t k)
{
    return k == 0 ? (double)NAN : s->chords[k - 1].held / s->chords[k - 1].expected;
}
static double get_active(const iv_sweep *s, size_t k)
{
    return s->mean[k].active;
}
static double get_active_sd(const iv_sweep *s, size_t k)
{
    return s->sd[k].active;
}
static double get_linear_active(const iv_sweep *s, size_t k)
{
    double d, r;
    size_t active;
    iv_sweep_linear(s, s->mean[k].beta, &d, &r, &active);
    return s->comparable ? (double)(active < s->n ? active : s->n) : (double)NAN;
}
/* The linear optimum's distortion at the training's rate. */
static double get_linear(const iv_sweep *s, size_t k)
{
    double lo = 1e-12 * s->mean[s->points - 1].beta, hi = 1e3 * s->mean[0].beta, d = NAN, r;
    size_t active;
    if (!s->comparable) return (double)NAN;
    for (int i = 0; i < 200; i++) {
        double beta = sqrt(lo * hi);
        iv_sweep_linear(s, beta, &d, &r, &active);
        if (r > s->mean[k].train.curve.rate)
            lo = beta;
        else
            hi = beta;
    }
    return d;
}
static double quality(const iv_sweep_side *side, double variance)
{
    return isfinite(side->psnr) ? side->psnr : 1.0 - side->error / variance;
}
static double get_quality(const iv_sweep *s, size_t k)
{
    return quality(&s->mean[k].train, s->variance);
}
static double get_quality_held(const iv_sweep *s, size_t k)
{
    return s->n_held ? quality(&s->mean[k].held, s->held_variance) : (double)NAN;
}

static double answer_rate(const iv_sweep *s)
{
    for (size_t k = 1; s->found && k < s->points; k++) {
        const iv_sweep_point *a = &s->mean[k - 1], *b = &s->mean[k];
        if (!(s->beta <= a->beta && s->beta >= b->beta)) continue;
        double t = log(a->beta / s->beta) / log(a->beta / b->beta);
        return a->train.curve.rate + t * (b->train.curve.rate - a->train.curve.rate);
    }
    return (double)NAN;
}

static void put_charts(const page *p)
{
    const iv_sweep *s = p->s;
    bool held = s->n_held > 0;
    const series rd[] = {
        {"l1", "f1", "training rows", get_distortion, get_distortion_sd},
        {"l2", NULL, held ? "validation rows" : NULL, held ? get_held : get_distortion, NULL},
        {"l3", NULL, s->comparable ? "optimum of a linear model (PCA)" : NULL,
         s->comparable ? get_linear : get_distortion, NULL}};
    const series slope[] = {{"l1", "f1", "training rows", get_slope, NULL},
                            {"l2", NULL, "validation rows", get_slope_held, NULL}};
    const series active[] = {{"l1", "f1", "active latents", get_active, get_active_sd},
                             {"l2", NULL, "PCA's count", get_linear_active, NULL}};
    const series good[] = {{"l1", "f1", "training rows", get_quality, NULL},
                           {"l2", "f2", "validation rows", get_quality_held, NULL}};
    bool pictures = isfinite(s->mean[0].train.psnr);
    double none = (double)NAN, answer = s->found ? s->beta : none;
    char unit[160];
    snprintf(unit, sizeof unit, "%s, log scale", s->unit);
    const chart charts[] = {
        {.id = "rd",
         .title = "Distortion over rate",
         .says = "Each point is a beta, as if all were trained equally long. At the optimum the "
                 "curve falls with the slope -beta. The validation line is at the rate of the "
                 "training rows; where it leaves the other, "
                 "the model fits what is not there in new rows.",
         .x_label = "rate, nats",
         .y_label = unit,
         .across = get_rate,
         .y_log = true,
         .y_lo = none,
         .y_hi = none,
         .lines = rd,
         .n = s->comparable ? 3 : 2,
         .mark_x = answer_rate(s)},
        {.id = "slope",
         .title = "Slope of the curve over -beta",
         .says = "Chords between neighbouring betas b1 > b2 over -(b1 - b2)/ln(b1/b2): 1 where "
                 "each training reached its optimum; a chord in which a latent appears lies off.",
         .x_label = "beta, log scale (the smaller of the two)",
         .y_label = "chord / expected",
         .across = get_beta,
         .x_log = true,
         .y_lo = 0.7,
         .y_hi = 1.3,
         .lines = slope,
         .n = held ? 2 : 1,
         .mark_x = answer},
        {.id = "active",
         .title = "Active latents",
         .says =
             "Latents with a mean KL above 0.05 nats; PCA's count is of eigenvalues above 1.105 "
             "beta/2, at most the model's latents.",
         .x_label = "beta, log scale",
         .y_label = "latents",
         .across = get_beta,
         .x_log = true,
         .y_lo = 0,
         .y_hi = none,
         .lines = active,
         .n = s->comparable ? 2 : 1,
         .mark_x = answer},
        {.id = "quality",
         .title = pictures ? "PSNR of reconstructions" : "R2 of reconstructions",
         .says = "Of Dec(mu), the decoded mean code, against the rows.",
         .x_label = "beta, log scale",
         .y_label = pictures ? "dB" : "1 - error / variance",
         .across = get_beta,
         .x_log = true,
         .y_lo = none,
         .y_hi = none,
         .lines = good,
         .n = held ? 2 : 1,
         .mark_x = answer}};
    iv_text_puts(p->out, "<div class=\"pair\">");
    for (size_t i = 0; i < sizeof charts / sizeof charts[0]; i++) put_chart(p, &charts[i]);
    iv_text_puts(p->out, "</div>");
}

/* ---- latents in the order in which they appear ---- */

static void draw_births(const page *p, size_t n, double width, const char *key)
{
    static const iv_legend legend[] = {{'c', "f1", "seen"},
                                       {'r', "ring", "2 lambda / 1.105 (PCA)"}};
    const iv_sweep *s = p->s;
    iv_svg svg;
    char tip[96];
    iv_svg_open(&svg, p->out, width, 330, key, "Where each latent appears",
                "The beta at which each latent passes 0.05 nats", false);
    double used = iv_svg_legend(&svg, legend, s->comparable ? 2 : 1);
    svg.y = (iv_axis){.lo = s->mean[s->points - 1].beta, .hi = s->mean[0].beta, .log = true};
    iv_axis_nice(&svg.y, 5);
    iv_svg_area(&svg, 56, used + 26, width - 14, 330 - 44);
    iv_svg_axis_y(&svg, 5, "beta, log scale");
    for (size_t j = 0; j < n; j++) {
        const iv_sweep_birth *b = &s->births[j];
        double x = iv_svg_slot(&svg, n, j);
        if (b->predicted >= svg.y.lo && b->predicted <= svg.y.hi) {
            snprintf(tip, sizeof tip, "latent %zu: predicted %.3g", j, b->predicted);
            iv_svg_diamond(&svg, "ring", x, iv_axis_at(&svg.y, b->predicted), 6, tip);
        }
        if (!isfinite(b->seen)) continue;
        if (b->sd > 0)
            iv_svg_line(&svg, "bar", x, iv_axis_at(&svg.y, b->seen * exp(-b->sd)), x,
                        iv_axis_at(&svg.y, b->seen * exp(b->sd)));
        snprintf(tip, sizeof tip, "latent %zu: seen %.3g", j, b->seen);
        iv_svg_circle(&svg, "f1", x, iv_axis_at(&svg.y, b->seen), 4, tip);
    }
    iv_svg_slots_x(&svg, n, "latent, in the order of appearance");
    iv_svg_close(&svg);
}

static void number_cell(const page *p, double value, int digits)
{
    iv_text_puts(p->out, "<td>");
    iv_put_number(p->out, value, digits);
    iv_text_puts(p->out, "</td>");
}

static void put_births(const page *p)
{
    const iv_sweep *s = p->s;
    size_t n = 0;
    for (size_t j = 0; j < s->n; j++)
        if (isfinite(s->births[j].seen) || s->births[j].predicted > s->mean[s->points - 1].beta)
            n = j + 1;
    iv_text_puts(p->out, "<section id=\"latents\"><h2>The latents</h2><p class=\"lead\">As beta "
                         "falls, latents appear one after the other; for Gaussian data at 2 lambda "
                         "/ 1.105, lambda the PCA eigenvalue.</p>");
    if (n == 0) {
        iv_text_puts(p->out, "<p>None appears within this sweep.</p></section>");
        return;
    }
    iv_text_puts(p->out, "<div class=\"pair\"><figure><div class=\"draw wide\">");
    draw_births(p, n, 540, "w-births");
    iv_text_puts(p->out, "</div><div class=\"draw narrow\">");
    draw_births(p, n, 350, "n-births");
    iv_text_puts(
        p->out,
        "</div></figure><figure><div class=\"scroll\" tabindex=\"0\" role=\"region\" "
        "aria-label=\"Latents\"><table><thead><tr><th scope=\"col\">latent</th><th scope="
        "\"col\">appears at beta</th><th scope=\"col\">predicted</th><th scope=\"col\">seen "
        "/ predicted</th></tr></thead><tbody>");
    for (size_t j = 0; j < n; j++) {
        const iv_sweep_birth *b = &s->births[j];
        iv_text_printf(p->out, "<tr><td>%zu</td>", j);
        number_cell(p, b->seen, 3);
        number_cell(p, b->predicted, 3);
        number_cell(p, b->seen / b->predicted, 3);
        iv_text_puts(p->out, "</tr>");
    }
    iv_text_puts(p->out, "</tbody></table></div></figure></div></section>");
}

/* ---- the rest ---- */

static void card(const page *p, const char *name, const char *value, const char *note)
{
    iv_text_printf(p->out, "<div><dt>%s</dt><dd><div class=\"big\">", name);
    iv_put_escaped(p->out, value);
    iv_text_puts(p->out, "</div><div class=\"note\">");
    iv_put_escaped(p->out, note);
    iv_text_puts(p->out, "</div></dd></div>");
}

static void put_cards(const page *p)
{
    const iv_sweep *s = p->s;
    char value[64], note[128];
    iv_text_puts(p->out, "<dl class=\"cards\">");
    snprintf(value, sizeof value, "%.3g", s->beta);
    snprintf(note, sizeof note, "%s", s->at_floor ? "the smallest of the sweep" : "D + beta KL");
    card(p, "Beta", s->found ? value : "-", note);
    snprintf(value, sizeof value, "%zu of %zu", s->active, s->n);
    snprintf(note, sizeof note, "PCA counts %zu", s->pca_active);
    card(p, "Latents", s->found ? value : "-", s->found && s->comparable ? note : "");
    if (s->chord_middle > 0) {
        snprintf(value, sizeof value, "%.1f %%", 100 * s->chord_worst);
        snprintf(note, sizeof note, "largest of %zu chords off -beta", s->chord_middle);
        card(p, "Slope", value, note);
    }
    if (s->n_retrains > 0) {
        const iv_sweep_retrain *r = &s->retrains[s->n_retrains - 1];
        snprintf(value, sizeof value, "%+.2f", r->loss_gap);
        card(p, "Cold training", value, "nats of loss from the curve's");
    }
    iv_text_puts(p->out, "</dl>");
}

static void put_cold(const page *p)
{
    const iv_sweep *s = p->s;
    if (s->n_retrains == 0) return;
    iv_text_puts(p->out, "<section id=\"cold\"><h2>From a cold start</h2><p class=\"lead\">The "
                         "chosen beta, trained again from the beginning, against the curve.</p>"
                         "<ul>");
    for (size_t i = 0; i < s->n_retrains; i++) {
        const iv_sweep_retrain *r = &s->retrains[i];
        iv_text_puts(p->out, "<li>beta ");
        iv_put_number(p->out, r->beta, 4);
        iv_text_puts(p->out, ": ");
        iv_sweep_put_value(s, r->value, p->out);
        iv_text_puts(p->out, "; on the curve: ");
        iv_sweep_put_value(s, r->predicted, p->out);
        iv_text_printf(p->out, "; loss %+.3f nats from the curve's; %.0f latents active</li>",
                       r->loss_gap, r->point.active);
    }
    iv_text_puts(p->out, "</ul></section>");
}

static void put_table(const page *p)
{
    const iv_sweep *s = p->s;
    iv_text_puts(
        p->out, "<section id=\"betas\"><h2>Every beta</h2><div class=\"scroll\" tabindex=\"0\" "
                "role=\"region\" aria-label=\"Every beta\"><table><thead><tr><th scope=\"col\">beta"
                "</th><th scope=\"col\">distortion</th><th scope=\"col\">rate</th><th scope="
                "\"col\">validation distortion</th><th scope=\"col\">rate</th><th scope=\"col\">R2"
                "</th><th scope=\"col\">PSNR</th><th scope=\"col\">active</th><th scope=\"col\">"
                "coding / predicted</th><th scope=\"col\">slope / -beta</th></tr></thead><tbody>");
    for (size_t k = 0; k < s->points; k++) {
        const iv_sweep_point *x = &s->mean[k];
        const iv_sweep_side *side = s->n_held ? &x->held : &x->train;
        iv_text_puts(p->out, "<tr>");
        number_cell(p, x->beta, 3);
        number_cell(p, x->train.curve.distortion, 4);
        number_cell(p, x->train.curve.rate, 4);
        number_cell(p, x->held.curve.distortion, 4);
        number_cell(p, x->held.curve.rate, 4);
        number_cell(p, 1 - side->error / (s->n_held ? s->held_variance : s->variance), 4);
        number_cell(p, side->psnr, 4);
        iv_text_puts(p->out, "<td>");
        iv_put_fixed(p->out, x->active, s->seeds > 1 ? 1 : 0);
        iv_text_puts(p->out, "</td>");
        number_cell(p,
                    x->active > 0 ? (x->train.distortion - x->train.transform) / x->coding_predicted
                                  : (double)NAN,
                    3);
        number_cell(p, get_slope(s, k), 3);
        iv_text_puts(p->out, "</tr>");
    }
    iv_text_puts(p->out, "</tbody></table></div><p class=\"key\">Distortion in ");
    iv_put_escaped(p->out, s->unit);
    iv_text_puts(p->out, ", rate in nats, both means over rows, as if every beta were "
                         "trained equally long; R2, PSNR, active latents and coding are of the "
                         "beta's own training.</p></section>");
}

static void put_footer(const page *p)
{
    iv_text_puts(p->out, "<footer><dl><dt>Version</dt><dd>isovae " ISOVAE_VERSION "</dd>");
    if (p->report->command != NULL) {
        iv_text_puts(p->out, "<dt>Command</dt><dd><code>");
        iv_put_escaped(p->out, p->report->command);
        iv_text_puts(p->out, "</code></dd>");
    }
    iv_text_puts(p->out, "<dt>Data</dt><dd>");
    iv_put_escaped(p->out,
                   p->report->data->source != NULL ? p->report->data->source : "data in memory");
    iv_text_printf(p->out,
                   " (hash <code>%016llx</code>)</dd><dt>Seed</dt><dd>%llu</dd></dl></footer>",
                   (unsigned long long)p->report->data->hash, (unsigned long long)p->s->seed);
}

isovae_status iv_sweep_html(const iv_sweep_report *report, iv_text *out, isovae_error *err)
{
    const iv_sweep *s = report->sweep;
    const page p = {.report = report, .s = s, .out = out};
    const char *source = report->data->source ? iv_facts_base(report->data->source) : "data";
    iv_text verdict = {0};
    bool good = s->found && (s->reached || s->n_retrains == 0);
    iv_text_puts(out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name="
                      "\"viewport\" content=\"width=device-width,initial-scale=1\"><title>isovae "
                      "sweep: ");
    iv_put_escaped(out, source);
    iv_text_puts(out, "</title><style>");
    iv_html_style(out);
    iv_text_puts(out,
                 "</style></head><body><a class=\"skip\" href=\"#main\">Skip to the curve</a>"
                 "<div class=\"page\"><header><p class=\"kicker\"><span><b>isovae</b> sweep of ");
    iv_put_escaped(out, source);
    iv_text_printf(out,
                   "</span><button id=\"theme\" type=\"button\" hidden>Theme</button></p><div "
                   "class=\"mood m%d\"><h1>",
                   good ? 0 : 1);
    iv_sweep_verdict(s, &verdict);
    if (verdict.failed) out->failed = true;
    iv_put_escaped(out, verdict.data != NULL ? verdict.data : "");
    iv_text_free(&verdict);
    iv_text_puts(out, "</h1><p class=\"sub\">");
    iv_put_count(out, s->n_train);
    iv_text_puts(out, " training and ");
    iv_put_count(out, s->n_held);
    iv_text_printf(out, " validation rows measured; %zu betas, ", s->points);
    iv_put_count(out, s->steps);
    iv_text_puts(out, " steps each, ");
    iv_put_escaped(out, s->arch);
    iv_text_printf(out, ", %zu latents, loss %s%s</p></div></header>", s->n, s->loss,
                   s->seeds > 1 ? ", means over seeds" : "");
    put_cards(&p);
    if (s->n_notes > 0) {
        iv_text_puts(out, "<ul class=\"warn\" aria-label=\"Notes\">");
        for (size_t i = 0; i < s->n_notes; i++) {
            iv_text_puts(out, "<li class=\"note\"><b>Note.</b> ");
            iv_put_escaped(out, s->notes[i].text);
            iv_text_puts(out, "</li>");
        }
        iv_text_puts(out, "</ul>");
    }
    iv_text_puts(out, "<main id=\"main\"><section id=\"curve\"><h2>The curve</h2><p class=\"lead\">"
                      "What a nat buys, from large beta to small.</p>");
    put_charts(&p);
    iv_text_puts(out, "</section>");
    put_births(&p);
    put_cold(&p);
    put_table(&p);
    iv_text_puts(out, "</main>");
    put_footer(&p);
    iv_text_puts(out, "</div><script>");
    iv_html_script(out);
    iv_text_puts(out, "</script></body></html>\n");
    return iv_text_check(out, err);
}
