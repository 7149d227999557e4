#include "report/svg.h"

#include "report/facts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- axes ---- */

double iv_axis_at(const iv_axis *axis, double value)
{
    double t;
    if (axis->log) {
        t = log(value / axis->lo) / log(axis->hi / axis->lo);
    } else {
        t = (value - axis->lo) / (axis->hi - axis->lo);
    }
    return axis->from + t * (axis->to - axis->from);
}

/* The next of 1, 2, 5 times a power of ten at or above (below) `value`. */
static double round_up(double value)
{
    double power = pow(10, floor(log10(value) + 1e-9));
    static const double steps[] = {1, 2, 5, 10};
    for (size_t i = 0; i < 4; i++) {
        if (value <= steps[i] * power * (1 + 1e-9)) return steps[i] * power;
    }
    return 10 * power;
}

static double round_down(double value)
{
    double power = pow(10, floor(log10(value) + 1e-9));
    static const double steps[] = {5, 2, 1};
    for (size_t i = 0; i < 3; i++) {
        if (value >= steps[i] * power * (1 - 1e-9)) return steps[i] * power;
    }
    return power;
}

static double linear_step(const iv_axis *axis, size_t wanted)
{
    double raw = (axis->hi - axis->lo) / (double)(wanted > 0 ? wanted : 1);
    return round_up(raw);
}

void iv_axis_nice(iv_axis *axis, size_t ticks)
{
    if (!(axis->hi > axis->lo)) { /* one value, or none */
        double middle = isfinite(axis->lo) ? axis->lo : 0;
        axis->lo = axis->log ? middle / 2 : middle - (middle != 0 ? fabs(middle) / 2 : 1);
        axis->hi = axis->log ? middle * 2 : middle + (middle != 0 ? fabs(middle) / 2 : 1);
    }
    if (axis->log) {
        axis->lo = round_down(axis->lo);
        axis->hi = round_up(axis->hi);
        return;
    }
    double step = linear_step(axis, ticks);
    axis->lo = floor(axis->lo / step + 1e-9) * step;
    axis->hi = ceil(axis->hi / step - 1e-9) * step;
}

static size_t log_ticks(const iv_axis *axis, size_t wanted, double *out)
{
    static const double all[] = {1, 2, 5};
    int first = (int)floor(log10(axis->lo) + 1e-9), last = (int)ceil(log10(axis->hi) - 1e-9);
    int decades = last - first, skip = 1;
    size_t inner = decades <= 2 ? 3 : 1, n = 0;
    while (wanted > 0 && decades / skip > (int)wanted) skip++;
    for (int k = first; k <= last; k += skip) {
        for (size_t i = 0; i < inner; i++) {
            double tick = all[i] * pow(10, k);
            if (tick < axis->lo * (1 - 1e-9) || tick > axis->hi * (1 + 1e-9)) continue;
            if (n < IV_MAX_TICKS) out[n++] = tick;
        }
    }
    return n;
}

size_t iv_axis_ticks(const iv_axis *axis, size_t wanted, double *out)
{
    size_t n = 0;
    if (!(axis->hi > axis->lo) || (axis->log && !(axis->lo > 0))) return 0;
    if (axis->log) return log_ticks(axis, wanted, out);
    double step = linear_step(axis, wanted);
    double first = ceil(axis->lo / step - 1e-9);
    for (; n < IV_MAX_TICKS; n++) {
        double tick = (first + (double)n) * step;
        if (tick > axis->hi + 1e-9 * step) break;
        out[n] = fabs(tick) < 1e-12 * step ? 0 : tick;
    }
    return n;
}

void iv_svg_number(char *out, size_t size, double value)
{
    double large = fabs(value);
    iv_text text = {0};
    if (large != 0 && (large < 1e-4 || large >= 1e6)) {
        iv_text_printf(&text, "%.3g", value);
    } else if (large >= 1000 && large == floor(large)) {
        iv_text_puts(&text, value < 0 ? "-" : "");
        iv_put_count(&text, (uint64_t)large);
    } else {
        iv_text_printf(&text, "%.4g", value);
    }
    snprintf(out, size, "%s", text.data != NULL ? text.data : "");
    iv_text_free(&text);
}

/* ---- style ---- */

typedef struct palette {
    const char *paper, *ink, *soft, *grid, *s1, *s2, *s3, *alert, *over;
} palette;

/* Text in ink or soft has a contrast of 4.5 or more with the paper in both; `over` is for text on
 * a strong shade of s1. */
static const palette light = {"#ffffff", "#1c2127", "#56606b", "#e4e8ec", "#2b6ca3",
                              "#c4701f", "#3a7d55", "#b23a2a", "#1c2127"};
static const palette dark = {"#161a1f", "#e8ebee", "#a3adb8", "#2d343c", "#6fa8dc",
                             "#e3a15c", "#7cc297", "#f08a77", "#0d1116"};
static const palette page = {"var(--paper)", "var(--ink)",   "var(--soft)",
                             "var(--grid)",  "var(--s1)",    "var(--s2)",
                             "var(--s3)",    "var(--alert)", "var(--over)"};

static void put_rules(iv_text *out, const palette *p)
{
    iv_text_printf(out,
                   ".ivc text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,"
                   "sans-serif;font-variant-numeric:tabular-nums;fill:%s}"
                   ".ivc .strong{fill:%s;font-weight:600}.ivc .head{fill:%s;font-size:15px;"
                   "font-weight:600}.ivc .small{font-size:11px}.ivc .on{fill:%s}"
                   ".ivc .paper{fill:%s}.ivc .over{fill:%s}",
                   p->soft, p->ink, p->ink, p->ink, p->paper, p->over);
    iv_text_printf(out,
                   ".ivc .grid{stroke:%s;stroke-width:1}.ivc .axis{stroke:%s;stroke-width:1}"
                   ".ivc .bg{fill:%s}.ivc .f1{fill:%s}.ivc .f2{fill:%s}.ivc .f3{fill:%s}"
                   ".ivc .off{fill:%s;fill-opacity:.35}.ivc .dot{fill:%s;fill-opacity:.3}",
                   p->grid, p->soft, p->grid, p->s1, p->s2, p->s3, p->s1, p->s1);
    iv_text_printf(out,
                   ".ivc .l1,.ivc .l2,.ivc .l3{fill:none;stroke-width:2;stroke-linejoin:round}"
                   ".ivc .l1{stroke:%s}.ivc .l2{stroke:%s}.ivc .l3{stroke:%s}"
                   ".ivc .w1{stroke:%s;stroke-width:1.5}.ivc .w3{stroke:%s;stroke-width:1.5}"
                   ".ivc .bar{stroke:%s;stroke-width:1.5}"
                   ".ivc .limit{fill:none;stroke:%s;stroke-width:1.5;stroke-dasharray:5 4}"
                   ".ivc .limit-t{fill:%s}.ivc .ring{fill:%s;stroke:%s;stroke-width:2}",
                   p->s1, p->s2, p->s3, p->s1, p->s3, p->ink, p->alert, p->alert, p->paper, p->s3);
}

void iv_svg_page_rules(iv_text *out)
{
    put_rules(out, &page);
}

/* ---- pictures ---- */

/* Room around a standalone picture, and for its title. */
enum { PAD = 12, HEAD = 34 };

void iv_svg_open(iv_svg *svg, iv_text *out, double width, double height, const char *key,
                 const char *title, const char *alt, bool standalone)
{
    double across = standalone ? width + 2 * PAD : width;
    double total = standalone ? height + HEAD + PAD : height;
    *svg = (iv_svg){.out = out, .width = width, .height = height};
    iv_text_printf(out,
                   "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"ivc\" width=\"%.0f\" "
                   "height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" "
                   "aria-labelledby=\"%s-t %s-d\"><title id=\"%s-t\">",
                   across, total, across, total, key, key, key);
    iv_put_escaped(out, title);
    iv_text_printf(out, "</title><desc id=\"%s-d\">", key);
    iv_put_escaped(out, alt);
    iv_text_puts(out, "</desc>");
    if (standalone) {
        iv_text_puts(out, "<style>");
        put_rules(out, &light);
        iv_text_puts(out, "@media(prefers-color-scheme:dark){");
        put_rules(out, &dark);
        iv_text_puts(out, "}</style><rect class=\"paper\" width=\"100%\" height=\"100%\"/>");
    }
    iv_text_printf(out, "<g%s>", standalone ? " transform=\"translate(12 34)\"" : "");
    if (standalone) iv_svg_text(svg, "head", 2, -10, IV_START, title);
}

void iv_svg_close(iv_svg *svg)
{
    iv_text_puts(svg->out, "</g></svg>");
}

void iv_svg_area(iv_svg *svg, double left, double top, double right, double bottom)
{
    svg->left = left;
    svg->top = top;
    svg->right = right;
    svg->bottom = bottom;
    svg->x.from = left;
    svg->x.to = right;
    svg->y.from = bottom;
    svg->y.to = top;
}

void iv_svg_axis_y(iv_svg *svg, size_t wanted, const char *label)
{
    double ticks[IV_MAX_TICKS];
    size_t n = iv_axis_ticks(&svg->y, wanted, ticks);
    for (size_t i = 0; i < n; i++) {
        char text[40];
        double y = iv_axis_at(&svg->y, ticks[i]);
        iv_svg_number(text, sizeof text, ticks[i]);
        iv_svg_line(svg, "grid", svg->left, y, svg->right, y);
        iv_svg_text(svg, "small", svg->left - 6, y + 4, IV_END, text);
    }
    if (label != NULL) iv_svg_text(svg, "small", 2, svg->top - 10, IV_START, label);
}

void iv_svg_axis_x(iv_svg *svg, size_t wanted, const char *label)
{
    double ticks[IV_MAX_TICKS];
    size_t n = iv_axis_ticks(&svg->x, wanted, ticks);
    iv_svg_line(svg, "axis", svg->left, svg->bottom, svg->right, svg->bottom);
    for (size_t i = 0; i < n; i++) {
        char text[40];
        double x = iv_axis_at(&svg->x, ticks[i]);
        iv_svg_number(text, sizeof text, ticks[i]);
        iv_svg_line(svg, "axis", x, svg->bottom, x, svg->bottom + 4);
        iv_svg_text(svg, "small", x, svg->bottom + 17, IV_MIDDLE, text);
    }
    if (label != NULL) {
        iv_svg_text(svg, "small", (svg->left + svg->right) / 2, svg->bottom + 35, IV_MIDDLE, label);
    }
}

double iv_svg_slot(const iv_svg *svg, size_t n, size_t i)
{
    return svg->left + (svg->right - svg->left) * ((double)i + 0.5) / (double)n;
}

void iv_svg_slots_x(iv_svg *svg, size_t n, const char *label)
{
    double room = (svg->right - svg->left) / (double)n;
    size_t every = room >= 18 ? 1 : room >= 9 ? 2 : room >= 4 ? 5 : 10;
    iv_svg_line(svg, "axis", svg->left, svg->bottom, svg->right, svg->bottom);
    for (size_t i = 0; i < n; i++) {
        char text[24];
        if (i % every != 0) continue;
        snprintf(text, sizeof text, "%zu", i);
        iv_svg_text(svg, "small", iv_svg_slot(svg, n, i), svg->bottom + 16, IV_MIDDLE, text);
    }
    if (label != NULL) {
        iv_svg_text(svg, "small", (svg->left + svg->right) / 2, svg->bottom + 34, IV_MIDDLE, label);
    }
}

static void close_mark(iv_svg *svg, const char *element, const char *tip)
{
    if (tip == NULL) {
        iv_text_puts(svg->out, "/>");
        return;
    }
    iv_text_puts(svg->out, "><title>");
    iv_put_escaped(svg->out, tip);
    iv_text_printf(svg->out, "</title></%s>", element);
}

void iv_svg_rect(iv_svg *svg, const char *class, double x, double y, double width, double height,
                 const char *tip)
{
    if (!isfinite(x + y + width + height) || width < 0 || height < 0) return;
    iv_text_printf(svg->out,
                   "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"", class,
                   x, y, width, height);
    close_mark(svg, "rect", tip);
}

void iv_svg_line(iv_svg *svg, const char *class, double x1, double y1, double x2, double y2)
{
    if (!isfinite(x1 + y1 + x2 + y2)) return;
    iv_text_printf(svg->out, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>",
                   class, x1, y1, x2, y2);
}

void iv_svg_circle(iv_svg *svg, const char *class, double x, double y, double r, const char *tip)
{
    if (!isfinite(x + y + r)) return;
    iv_text_printf(svg->out, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"", class, x, y,
                   r);
    close_mark(svg, "circle", tip);
}

void iv_svg_diamond(iv_svg *svg, const char *class, double x, double y, double r, const char *tip)
{
    if (!isfinite(x + y + r)) return;
    iv_text_printf(svg->out, "<path class=\"%s\" d=\"M%.1f %.1fL%.1f %.1fL%.1f %.1fL%.1f %.1fZ\"",
                   class, x, y - r, x + r, y, x, y + r, x - r, y);
    close_mark(svg, "path", tip);
}

void iv_svg_path(iv_svg *svg, const char *class, const double *x, const double *y, size_t n)
{
    bool down = false;
    iv_text_printf(svg->out, "<path class=\"%s\" d=\"", class);
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]) || !isfinite(y[i])) {
            down = false;
            continue;
        }
        iv_text_printf(svg->out, "%s%.1f %.1f", down ? "L" : "M", x[i], y[i]);
        down = true;
    }
    iv_text_puts(svg->out, "\"/>");
}

void iv_svg_text(iv_svg *svg, const char *class, double x, double y, iv_anchor anchor,
                 const char *text)
{
    static const char *const names[] = {"start", "middle", "end"};
    if (!isfinite(x + y)) return;
    iv_text_printf(svg->out, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", class,
                   x, y, names[anchor]);
    iv_put_escaped(svg->out, text);
    iv_text_puts(svg->out, "</text>");
}

static void legend_mark(iv_svg *svg, const iv_legend *entry, double x, double y)
{
    switch (entry->mark) {
    case 'l':
    case 'd': iv_svg_line(svg, entry->class, x, y - 4, x + 18, y - 4); break;
    case 'c':
    case 'o': iv_svg_circle(svg, entry->class, x + 9, y - 4, 4, NULL); break;
    case 'r': iv_svg_diamond(svg, entry->class, x + 9, y - 4, 5, NULL); break;
    default: iv_svg_rect(svg, entry->class, x + 4, y - 10, 11, 11, NULL); break;
    }
}

double iv_svg_legend(iv_svg *svg, const iv_legend *entries, size_t n)
{
    double x = 2, y = 14;
    for (size_t i = 0; i < n; i++) {
        /* 6.4 pixels a letter is what this size takes in the common fonts. */
        double wide = 24 + 6.4 * (double)iv_code_points(entries[i].text, strlen(entries[i].text));
        if (x > 2 && x + wide > svg->width) {
            x = 2;
            y += 18;
        }
        legend_mark(svg, &entries[i], x, y);
        iv_svg_text(svg, "leg", x + 24, y, IV_START, entries[i].text);
        x += wide + 14;
    }
    return y + 8;
}
