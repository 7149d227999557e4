/* Charts with one place per latent: importance, optimality, rate, cosines. */
#include "report/chart_kinds.h"
#include "report/csv.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_LATENTS = 40, MOST_CELLS = 24, LABEL = 80 };

size_t iv_chart_latents(const iv_analysis *analysis)
{
    return analysis->n < MOST_LATENTS ? analysis->n : MOST_LATENTS;
}

static bool always(const iv_report_context *context, const iv_facts *facts)
{
    (void)facts;
    return context->analysis->n > 0;
}

/* What needs a posterior's width. */
static bool has_width(const iv_report_context *context, const iv_facts *facts)
{
    return always(context, facts) && context->analysis->unknown == IV_UNKNOWN_NOTHING;
}

static double smaller(double a, double b)
{
    return b < a ? b : a;
}
static double larger(double a, double b)
{
    return b > a ? b : a;
}

/* "latent 3: 0.167" */
static void tip_text(char *out, size_t size, const char *what, size_t rank, double value)
{
    char number[40];
    iv_svg_number(number, sizeof number, value);
    snprintf(out, size, "latent %zu: %s %s", rank, what, number);
}

/* ---- importance ---- */

static double true_variance(const iv_analysis *a, size_t rank)
{
    for (size_t i = 0; a->truth.known && i < a->truth.n_factors; i++) {
        if (a->truth.latent[i] == rank) return a->truth.variances[i];
    }
    return (double)NAN;
}

static double pca_value(const iv_analysis *a, size_t rank)
{
    return a->pca.comparable && rank < a->pca.n ? a->pca.eigenvalues[rank] : (double)NAN;
}

/* From below the noise floor to above the largest; a PCA eigenvalue far below has no bar. */
static void importance_range(const iv_report_context *context, size_t n, iv_axis *axis)
{
    const iv_analysis *a = context->analysis;
    double floor = isfinite(a->beta) ? a->beta / 2 : 0;
    double lo = floor > 0 ? floor : (double)INFINITY, hi = floor;
    for (size_t j = 0; j < n; j++) {
        double v = a->latents[j].variance_y, p = pca_value(a, j);
        if (v > 0) lo = smaller(lo, v);
        hi = larger(hi, v + a->latents[j].variance_y_se);
        hi = larger(hi, p);
        if (p > floor / 10) lo = smaller(lo, p);
    }
    if (!(hi > 0)) hi = 1;
    if (!(floor > 0)) lo = larger(smaller(lo, hi), hi * 1e-6); /* no floor: six decades at most */
    *axis = (iv_axis){.lo = lo / 1.5, .hi = hi * 1.15, .log = true};
    iv_axis_nice(axis, 5);
}

static void importance_marks(iv_svg *svg, const iv_analysis *a, size_t n)
{
    double slot = (svg->right - svg->left) / (double)n, bar = smaller(slot * 0.36, 26);
    for (size_t j = 0; j < n; j++) {
        const iv_latent_report *l = &a->latents[j];
        char tip[LABEL];
        double x = iv_svg_slot(svg, n, j), y = iv_axis_at(&svg->y, l->variance_y);
        double p = pca_value(a, j), truth = true_variance(a, j);
        double left = isnan(p) ? x - bar / 2 : x - bar - 1;
        tip_text(tip, sizeof tip, "variance_y", j, l->variance_y);
        bool seen = l->variance_y > svg->y.lo;
        if (seen) iv_svg_rect(svg, l->active ? "f1" : "off", left, y, bar, svg->bottom - y, tip);
        if (seen && l->variance_y > l->variance_y_se) {
            iv_svg_line(svg, "bar", left + bar / 2,
                        iv_axis_at(&svg->y, l->variance_y - l->variance_y_se), left + bar / 2,
                        iv_axis_at(&svg->y, l->variance_y + l->variance_y_se));
        }
        if (p > svg->y.lo) {
            tip_text(tip, sizeof tip, "PCA eigenvalue", j, p);
            y = iv_axis_at(&svg->y, p);
            iv_svg_rect(svg, "f2", x + 1, y, bar, svg->bottom - y, tip);
        }
        if (truth > svg->y.lo) {
            tip_text(tip, sizeof tip, "true variance", j, truth);
            iv_svg_diamond(svg, "ring", left + bar / 2, iv_axis_at(&svg->y, truth), 5, tip);
        }
    }
}

static void draw_importance(const iv_report_context *context, const iv_facts *facts,
                            const iv_canvas *canvas, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    size_t n = iv_chart_latents(a), entries = 0;
    iv_legend legend[4];
    iv_svg svg;
    char label[160];
    (void)facts;
    legend[entries++] = (iv_legend){'b', "f1", "variance_y of the latent"};
    if (a->pca.comparable) legend[entries++] = (iv_legend){'b', "f2", "PCA eigenvalue"};
    if (a->truth.known && a->truth.n_factors > 0) {
        legend[entries++] = (iv_legend){'r', "ring", "true variance"};
    }
    bool floor = isfinite(a->beta);
    if (floor) legend[entries++] = (iv_legend){'d', "limit", "noise floor, beta/2"};
    iv_svg_open(&svg, out, canvas->width, 340, canvas->key, canvas->title, canvas->alt,
                canvas->standalone);
    double used = iv_svg_legend(&svg, legend, entries);
    importance_range(context, n, &svg.y);
    iv_svg_area(&svg, 52, used + 26, canvas->width - 8, 340 - 44);
    snprintf(label, sizeof label, "%s, log scale", a->unit != NULL ? a->unit : "metric units");
    iv_svg_axis_y(&svg, 6, label);
    importance_marks(&svg, a, n);
    if (floor) {
        double floor_y = iv_axis_at(&svg.y, a->beta / 2);
        iv_svg_line(&svg, "limit", svg.left, floor_y, svg.right, floor_y);
    }
    iv_svg_slots_x(&svg, n, "latent, by importance");
    iv_svg_close(&svg);
}

static void csv_importance(const iv_report_context *context, const iv_facts *facts, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    (void)facts;
    iv_text_puts(out, "latent,variance_y,variance_y_se,importance,pca_eigenvalue,true_variance,"
                      "noise_floor\n");
    for (size_t j = 0; j < a->n; j++) {
        iv_csv_count(out, true, j);
        iv_csv_number(out, false, a->latents[j].variance_y);
        iv_csv_number(out, false, a->latents[j].variance_y_se);
        iv_csv_number(out, false, a->latents[j].importance);
        iv_csv_number(out, false, j < a->pca.n ? a->pca.eigenvalues[j] : (double)NAN);
        iv_csv_number(out, false, true_variance(a, j));
        iv_csv_number(out, false, a->beta / 2);
        iv_csv_end(out);
    }
}

static void says_importance(const iv_report_context *context, const iv_facts *facts, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    const char *hold = a->active == 1 ? "it holds" : "together they hold";
    bool floor = isfinite(a->beta);
    if (a->active == 0) {
        iv_text_puts(out, floor ? "No bar rises above the noise floor: no latent carries "
                                  "information."
                                : "No latent moves the decoder's output.");
        return;
    }
    if (floor) {
        iv_text_printf(out, a->active == 1 ? "%zu latent rises" : "%zu latents rise", a->active);
        iv_text_printf(out, " above the noise floor of %.3g; %s ", a->beta / 2, hold);
    } else {
        iv_text_printf(out, a->active == 1 ? "%zu latent moves" : "%zu latents move", a->active);
        iv_text_printf(out, " the decoder's output; %s ", hold);
    }
    iv_put_fixed(out, 100 * facts->share, 1);
    iv_text_puts(out, a->unknown == IV_UNKNOWN_ENCODER ? " % of importance"
                                                       : " % of importance and residual");
    if (a->pca.comparable && a->pca.n > 0) {
        double ratio = a->latents[0].variance_y / a->pca.eigenvalues[0];
        iv_text_puts(out, ", and the first is ");
        iv_put_fixed(out, ratio, 2);
        iv_text_puts(out, " times PCA's first eigenvalue.");
    } else {
        iv_text_puts(out, ".");
    }
}

const iv_chart_kind iv_chart_importance = {"importance",   "Variance along each latent",
                                           always,         draw_importance,
                                           csv_importance, says_importance};

/* ---- optimality ---- */

static void optimality_range(const iv_analysis *a, size_t n, iv_axis *axis)
{
    double lo = 0.9, hi = 1.1;
    for (size_t j = 0; j < n; j++) {
        const iv_latent_report *l = &a->latents[j];
        double sd = isnan(l->optimality_sd) ? 0 : l->optimality_sd;
        lo = smaller(lo, smaller(l->optimality_mean - sd, l->stationarity_mean));
        hi = larger(hi, larger(l->optimality_mean + sd, l->stationarity_mean));
    }
    /* One wild latent must not flatten the rest. */
    *axis = (iv_axis){.lo = larger(lo, -0.5), .hi = smaller(hi, 3)};
    iv_axis_nice(axis, 5);
}

/* Between the ends of the axis, so that marks stay inside. */
static double inside(const iv_axis *axis, double value)
{
    return iv_axis_at(axis, smaller(larger(value, axis->lo), axis->hi));
}

static void draw_optimality(const iv_report_context *context, const iv_facts *facts,
                            const iv_canvas *canvas, iv_text *out)
{
    static const iv_legend legend[] = {{'c', "f1", "optimality (bar: SD over rows)"},
                                       {'o', "ring", "stationarity"},
                                       {'d', "limit", "optimum"}};
    const iv_analysis *a = context->analysis;
    size_t n = iv_chart_latents(a);
    iv_svg svg;
    (void)facts;
    iv_svg_open(&svg, out, canvas->width, 280, canvas->key, canvas->title, canvas->alt,
                canvas->standalone);
    double used = iv_svg_legend(&svg, legend, 3);
    optimality_range(a, n, &svg.y);
    iv_svg_area(&svg, 44, used + 12, canvas->width - 8, 280 - 44);
    iv_svg_axis_y(&svg, 5, NULL);
    double one = iv_axis_at(&svg.y, 1), slot = (svg.right - svg.left) / (double)n;
    iv_svg_line(&svg, "limit", svg.left, one, svg.right, one);
    double apart = smaller(slot / 5, 8), r = smaller(larger(slot / 4, 2), 4.5);
    for (size_t j = 0; j < n; j++) {
        const iv_latent_report *l = &a->latents[j];
        char tip[LABEL];
        double x = iv_svg_slot(&svg, n, j), sd = l->optimality_sd;
        if (isfinite(l->optimality_mean)) {
            tip_text(tip, sizeof tip, "optimality", j, l->optimality_mean);
            iv_svg_line(&svg, "w1", x - apart, inside(&svg.y, l->optimality_mean - sd), x - apart,
                        inside(&svg.y, l->optimality_mean + sd));
            iv_svg_circle(&svg, "f1", x - apart, inside(&svg.y, l->optimality_mean), r, tip);
        }
        if (isfinite(l->stationarity_mean)) {
            tip_text(tip, sizeof tip, "stationarity", j, l->stationarity_mean);
            iv_svg_circle(&svg, "ring", x + apart, inside(&svg.y, l->stationarity_mean), r - 0.5,
                          tip);
        }
    }
    iv_svg_slots_x(&svg, n, "latent");
    iv_svg_close(&svg);
}

static void csv_optimality(const iv_report_context *context, const iv_facts *facts, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    (void)facts;
    iv_text_puts(out, "latent,optimality_mean,optimality_sd,stationarity_mean,stationarity_se,"
                      "norm_mean,norm_sd\n");
    for (size_t j = 0; j < a->n; j++) {
        const iv_latent_report *l = &a->latents[j];
        iv_csv_count(out, true, j);
        iv_csv_number(out, false, l->optimality_mean);
        iv_csv_number(out, false, l->optimality_sd);
        iv_csv_number(out, false, l->stationarity_mean);
        iv_csv_number(out, false, l->stationarity_se);
        iv_csv_number(out, false, l->norm_mean);
        iv_csv_number(out, false, l->norm_sd);
        iv_csv_end(out);
    }
}

static void says_optimality(const iv_report_context *context, const iv_facts *facts, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    size_t worst = 0;
    double off = -1;
    for (size_t j = 0; j < a->n; j++) {
        double d = fabs(a->latents[j].optimality_mean - 1);
        if ((a->latents[j].active || a->active == 0) && d > off) {
            off = d;
            worst = j;
        }
    }
    iv_text_puts(out, "At the optimum every dot and ring lies on the line at 1; ");
    if (off >= 0) {
        iv_text_printf(out, "the active latent farthest from it is %zu with an optimality of ",
                       worst);
        iv_put_fixed(out, a->latents[worst].optimality_mean, 2);
        iv_text_puts(out, " and a stationarity of ");
        iv_put_fixed(out, a->latents[worst].stationarity_mean, 2);
    } else {
        iv_text_puts(out, "their mean is ");
        iv_put_fixed(out, facts->optimality, 2);
    }
    iv_text_puts(out, ". Rings on the line with dots below mean that the decoder bends; rings off "
                      "the line mean unfinished training.");
}

const iv_chart_kind iv_chart_optimality = {"optimality",   "Optimality and stationarity",
                                           has_width,      draw_optimality,
                                           csv_optimality, says_optimality};

/* ---- rate ---- */

static void draw_rate(const iv_report_context *context, const iv_facts *facts,
                      const iv_canvas *canvas, iv_text *out)
{
    static const iv_legend legend[] = {{'b', "f1", "active"}, {'b', "off", "not active"}};
    const iv_analysis *a = context->analysis;
    size_t n = iv_chart_latents(a);
    iv_svg svg;
    (void)facts;
    iv_svg_open(&svg, out, canvas->width, 260, canvas->key, canvas->title, canvas->alt,
                canvas->standalone);
    double used = iv_svg_legend(&svg, legend, a->active < a->n ? 2 : 1), hi = 0.1;
    for (size_t j = 0; j < n; j++) hi = larger(hi, a->latents[j].kl);
    svg.y = (iv_axis){.lo = 0, .hi = hi};
    iv_axis_nice(&svg.y, 5);
    iv_svg_area(&svg, 40, used + 26, canvas->width - 8, 260 - 44);
    iv_svg_axis_y(&svg, 5, "nats a row");
    double bar = smaller((svg.right - svg.left) / (double)n * 0.6, 40);
    for (size_t j = 0; j < n; j++) {
        char tip[LABEL];
        double y = iv_axis_at(&svg.y, a->latents[j].kl);
        tip_text(tip, sizeof tip, "KL in nats", j, a->latents[j].kl);
        iv_svg_rect(&svg, a->latents[j].active ? "f1" : "off", iv_svg_slot(&svg, n, j) - bar / 2, y,
                    bar, svg.bottom - y, tip);
    }
    iv_svg_slots_x(&svg, n, "latent");
    iv_svg_close(&svg);
}

static void csv_rate(const iv_report_context *context, const iv_facts *facts, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    (void)facts;
    iv_text_puts(out, "latent,kl_nats,active\n");
    for (size_t j = 0; j < a->n; j++) {
        iv_csv_count(out, true, j);
        iv_csv_number(out, false, a->latents[j].kl);
        iv_csv_count(out, false, a->latents[j].active);
        iv_csv_end(out);
    }
}

static void says_rate(const iv_report_context *context, const iv_facts *facts, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    (void)facts;
    iv_text_puts(out, "A row is coded in ");
    iv_put_fixed(out, a->rate_nats, 2);
    iv_text_puts(out, " nats (");
    iv_put_fixed(out, a->rate_nats / log(2), 2);
    iv_text_puts(out, " bits); a latent counts as active above 0.05 nats.");
}

const iv_chart_kind iv_chart_rate = {
    "rate", "Information in each latent", has_width, draw_rate, csv_rate, says_rate};

/* ---- cosines ---- */

static bool has_cosines(const iv_report_context *context, const iv_facts *facts)
{
    (void)facts;
    return context->analysis->active > 1 && context->analysis->cosine != NULL;
}

/* Places in latents[] of the active ones, at most MOST_CELLS. */
static size_t active_latents(const iv_analysis *a, size_t *out)
{
    size_t n = 0;
    for (size_t j = 0; j < a->n && n < MOST_CELLS; j++) {
        if (a->latents[j].active) out[n++] = j;
    }
    return n;
}

/* Opacity of a cell; never so strong that its number cannot be read. */
static double shade(double cosine)
{
    return 0.7 * smaller(cosine / 0.5, 1);
}

/* The scale beneath the map. */
static void cosine_key(iv_svg *svg, double left, double y)
{
    static const double at[] = {0, 0.1, 0.2, 0.3, 0.4, 0.5};
    for (size_t i = 0; i < 6; i++) {
        char text[16];
        double x = left + 36 * (double)i;
        snprintf(text, sizeof text, i == 5 ? "0.5+" : i == 0 ? "0" : "0.%zu", i);
        iv_text_printf(svg->out,
                       "<rect class=\"bg\" x=\"%.1f\" y=\"%.1f\" width=\"36\" height=\"10\"/>"
                       "<rect class=\"f1\" x=\"%.1f\" y=\"%.1f\" width=\"36\" height=\"10\" "
                       "fill-opacity=\"%.2f\"/>",
                       x, y, x, y, shade(at[i]));
        iv_svg_text(svg, "small", x + 18, y + 23, IV_MIDDLE, text);
    }
}

static void draw_cosines(const iv_report_context *context, const iv_facts *facts,
                         const iv_canvas *canvas, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    size_t place[MOST_CELLS], n = active_latents(a, place);
    iv_svg svg;
    (void)facts;
    double cell = smaller((smaller(canvas->width, 460) - 34) / (double)n, 64), left = 28, top = 24;
    double height = top + cell * (double)n + 44;
    iv_svg_open(&svg, out, canvas->width, height, canvas->key, canvas->title, canvas->alt,
                canvas->standalone);
    for (size_t i = 0; i < n; i++) {
        char text[24];
        double middle = cell * ((double)i + 0.5);
        snprintf(text, sizeof text, "%zu", place[i]);
        iv_svg_text(&svg, "small", left - 8, top + middle + 4, IV_END, text);
        iv_svg_text(&svg, "small", left + middle, top - 8, IV_MIDDLE, text);
        for (size_t k = 0; k < n; k++) {
            double c = a->cosine[place[i] * a->n + place[k]];
            double x = left + cell * (double)k + 0.5, y = top + cell * (double)i + 0.5;
            iv_svg_rect(&svg, "bg", x, y, cell - 1, cell - 1, NULL);
            if (i == k || !isfinite(c)) continue;
            iv_text_printf(out,
                           "<rect class=\"f1\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                           "height=\"%.1f\" fill-opacity=\"%.3f\"><title>latents %zu and %zu: "
                           "%.3f</title></rect>",
                           x, y, cell - 1, cell - 1, shade(c), place[i], place[k], c);
            if (cell >= 30) {
                snprintf(text, sizeof text, cell >= 42 ? "%.3f" : "%.2f", c);
                iv_svg_text(&svg, shade(c) > 0.52 ? "small over" : "small on", x + (cell - 1) / 2,
                            y + (cell - 1) / 2 + 4, IV_MIDDLE, text);
            }
        }
    }
    cosine_key(&svg, left, top + cell * (double)n + 10);
    iv_svg_close(&svg);
}

static void csv_cosines(const iv_report_context *context, const iv_facts *facts, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    size_t place[MOST_CELLS], n = active_latents(a, place);
    (void)facts;
    iv_text_puts(out, "latent,other,mean_abs_cosine\n");
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < n; k++) {
            if (i == k) continue;
            iv_csv_count(out, true, place[i]);
            iv_csv_count(out, false, place[k]);
            iv_csv_number(out, false, a->cosine[place[i] * a->n + place[k]]);
            iv_csv_end(out);
        }
    }
}

static void says_cosines(const iv_report_context *context, const iv_facts *facts, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    (void)facts;
    iv_text_puts(out, "Faint cells are pairs of latents that move the data in directions at right "
                      "angles, as PCA axes do; the mean |cosine| is ");
    iv_put_fixed(out, a->orthogonality.mean_abs_cosine, 3);
    iv_text_puts(out, ", the largest ");
    iv_put_fixed(out, a->orthogonality.max_abs_cosine, 3);
    if (a->unknown == IV_UNKNOWN_NOTHING) {
        iv_text_puts(out, ", and what is lost to it ");
        iv_put_number(out, a->orthogonality.cost_nats, 2);
        iv_text_puts(out, " nats a row");
    }
    iv_text_puts(out, ".");
}

const iv_chart_kind iv_chart_cosines = {
    "cosines", "Angles between latents", has_cosines, draw_cosines, csv_cosines, says_cosines};
