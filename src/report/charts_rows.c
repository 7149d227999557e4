/* Charts of rows and of training steps: density, density against the truth, training curves. */
#include "report/chart_kinds.h"
#include "report/csv.h"
#include "theory/statistics.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BINS = 40, MOST_POINTS = 800, MOST_STEPS = 300 };

/* The finite ones of n values sorted into new memory (NULL where out of memory); *count of them. */
static double *sorted_copy(const double *values, size_t n, size_t *count)
{
    double *out = NULL;
    *count = 0;
    if (IV_NEW(out, n, "a chart", NULL) != ISOVAE_OK) return NULL;
    for (size_t i = 0; i < n; i++) {
        if (isfinite(values[i])) out[(*count)++] = values[i];
    }
    iv_sort_doubles(*count, out);
    return out;
}

/* ---- density ---- */

typedef struct histogram {
    double lo, hi;
    size_t count[BINS], most, below, above, n;
} histogram;

/* Between the 0.5 % and 99.5 % quantiles, widened a little; what lies outside is counted apart. */
static bool make_histogram(const iv_analysis *a, histogram *h)
{
    size_t n;
    *h = (histogram){0};
    double *sorted = sorted_copy(a->density.values, a->rows, &n);
    if (sorted == NULL || n == 0) {
        iv_free(sorted);
        return false;
    }
    iv_axis axis = {.lo = sorted[n / 200], .hi = sorted[n - 1 - n / 200]};
    iv_axis_nice(&axis, 8);
    h->lo = axis.lo;
    h->hi = axis.hi;
    h->n = n;
    for (size_t i = 0; i < n; i++) {
        double t = (sorted[i] - h->lo) / (h->hi - h->lo) * BINS;
        if (t < 0) {
            h->below++;
        } else if (t > BINS) {
            h->above++;
        } else {
            size_t bin = t >= BINS ? BINS - 1 : (size_t)t;
            h->count[bin]++;
            if (h->count[bin] > h->most) h->most = h->count[bin];
        }
    }
    iv_free(sorted);
    return true;
}

static bool has_density(const iv_report_context *context, const iv_facts *facts)
{
    (void)facts;
    return context->analysis->density.values != NULL && context->analysis->rows > 1;
}

static void draw_density(const iv_report_context *context, const iv_facts *facts,
                         const iv_canvas *canvas, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    histogram h;
    iv_svg svg;
    (void)facts;
    if (!make_histogram(a, &h)) {
        out->failed = out->failed || a->rows > 0;
        h = (histogram){.lo = 0, .hi = 1, .most = 1};
    }
    iv_svg_open(&svg, out, canvas->width, 280, canvas->key, canvas->title, canvas->alt,
                canvas->standalone);
    svg.x = (iv_axis){.lo = h.lo, .hi = h.hi};
    svg.y = (iv_axis){.lo = 0, .hi = (double)h.most};
    iv_axis_nice(&svg.y, 4);
    iv_svg_area(&svg, 48, 34, canvas->width - 12, 280 - 46);
    iv_svg_axis_y(&svg, 4, "rows");
    double wide = (svg.right - svg.left) / BINS;
    for (size_t i = 0; i < BINS; i++) {
        double y = iv_axis_at(&svg.y, (double)h.count[i]);
        char tip[96];
        double left = h.lo + (h.hi - h.lo) * (double)i / BINS;
        snprintf(tip, sizeof tip, "%.4g to %.4g nats: %zu rows", left, left + (h.hi - h.lo) / BINS,
                 h.count[i]);
        if (h.count[i] > 0) {
            iv_svg_rect(&svg, "f1", svg.left + wide * (double)i + 0.5, y, wide - 1, svg.bottom - y,
                        tip);
        }
    }
    double mean = iv_axis_at(&svg.x, a->density.mean);
    if (mean > svg.left && mean < svg.right) {
        iv_svg_line(&svg, "limit", mean, svg.top, mean, svg.bottom);
        iv_svg_text(&svg, "small limit-t", mean, svg.top - 6, IV_MIDDLE, "mean");
    }
    iv_svg_axis_x(&svg, canvas->width > 500 ? 8 : 5,
                  a->density.absolute ? "log density, nats (right: more probable)"
                                      : "score, nats (right: more probable)");
    iv_svg_close(&svg);
}

static void csv_density(const iv_report_context *context, const iv_facts *facts, iv_text *out)
{
    histogram h;
    (void)facts;
    iv_text_puts(out, "from,to,rows\n");
    if (!make_histogram(context->analysis, &h)) return;
    for (size_t i = 0; i < BINS; i++) {
        iv_csv_number(out, true, h.lo + (h.hi - h.lo) * (double)i / BINS);
        iv_csv_number(out, false, h.lo + (h.hi - h.lo) * (double)(i + 1) / BINS);
        iv_csv_count(out, false, h.count[i]);
        iv_csv_end(out);
    }
}

static void says_density(const iv_report_context *context, const iv_facts *facts, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    const double *q = a->density.quantiles;
    (void)facts;
    iv_text_puts(out, "Half of the rows lie between ");
    iv_put_fixed(out, q[1], 2);
    iv_text_puts(out, " and ");
    iv_put_fixed(out, q[3], 2);
    iv_text_puts(out, " nats, 98 % between ");
    iv_put_fixed(out, q[0], 2);
    iv_text_puts(out, " and ");
    iv_put_fixed(out, q[4], 2);
    iv_text_printf(out, " (estimate: %s); higher = more probable, ",
                   iv_estimate_name(a->density.estimate));
    if (a->density.absolute) {
        iv_text_puts(out, "and a long left tail holds the unusual rows.");
    } else {
        iv_text_puts(out, "but this score only ranks rows and is no absolute density.");
    }
}

const iv_chart_kind iv_chart_density = {
    "density", "How probable the rows are", has_density, draw_density, csv_density, says_density};

/* ---- density against the truth ---- */

static bool has_truth(const iv_report_context *context, const iv_facts *facts)
{
    const iv_analysis *a = context->analysis;
    (void)facts;
    return a->truth.density_known && context->data->truth != NULL &&
           context->data->truth->log_density != NULL && a->density.values != NULL && a->rows > 1;
}

static double true_density(const iv_report_context *context, size_t row)
{
    const iv_analysis *a = context->analysis;
    return context->data->truth->log_density[a->row_index != NULL ? a->row_index[row] : row];
}

/* The estimate may count noise directions that the true density on the manifold does not have; its
 * stated bias tells what constant lies between them. */
static double truth_shift(const iv_report_context *context)
{
    const iv_analysis *a = context->analysis;
    double sum = 0;
    size_t n = 0;
    for (size_t r = 0; r < a->rows; r++) {
        double difference = a->density.values[r] - true_density(context, r);
        if (!isfinite(difference)) continue;
        sum += difference;
        n++;
    }
    double bias = a->truth.density[a->density.estimate].bias_nats;
    if (n == 0 || !isfinite(bias)) return 0;
    return sum / (double)n - bias;
}

static void draw_truth(const iv_report_context *context, const iv_facts *facts,
                       const iv_canvas *canvas, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    size_t n, step = a->rows / MOST_POINTS + 1;
    iv_svg svg;
    (void)facts;
    double side = canvas->width < 440 ? canvas->width : 440, shift = truth_shift(context);
    double *sorted = sorted_copy(a->density.values, a->rows, &n);
    iv_svg_open(&svg, out, canvas->width, side, canvas->key, canvas->title, canvas->alt,
                canvas->standalone);
    iv_axis axis = {.lo = 0, .hi = 1};
    if (sorted == NULL) {
        out->failed = true;
    } else if (n > 0) {
        axis = (iv_axis){.lo = sorted[n / 200], .hi = sorted[n - 1]};
    }
    iv_free(sorted);
    iv_axis_nice(&axis, 5);
    svg.x = svg.y = axis;
    iv_svg_area(&svg, 52, 34, side - 12, side - 46);
    iv_svg_axis_y(&svg, 5, "estimated log density, nats");
    for (size_t r = 0; r < a->rows; r += step) {
        double t = true_density(context, r) + shift, e = a->density.values[r];
        if (!(t >= axis.lo && t <= axis.hi && e >= axis.lo && e <= axis.hi)) continue;
        iv_svg_circle(&svg, "dot", iv_axis_at(&svg.x, t), iv_axis_at(&svg.y, e), 2, NULL);
    }
    iv_svg_line(&svg, "limit", svg.left, svg.bottom, svg.right, svg.top);
    iv_svg_axis_x(&svg, 5, "true log density, nats");
    iv_svg_close(&svg);
}

static void csv_truth(const iv_report_context *context, const iv_facts *facts, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    double shift = truth_shift(context);
    (void)facts;
    iv_text_puts(out, "row,true_log_density,estimated_log_density\n");
    for (size_t r = 0; r < a->rows; r += a->rows / MOST_POINTS + 1) {
        iv_csv_count(out, true, a->row_index != NULL ? a->row_index[r] : r);
        iv_csv_number(out, false, true_density(context, r) + shift);
        iv_csv_number(out, false, a->density.values[r]);
        iv_csv_end(out);
    }
}

static void says_truth(const iv_report_context *context, const iv_facts *facts, iv_text *out)
{
    const iv_density_truth *d =
        &context->analysis->truth.density[context->analysis->density.estimate];
    (void)facts;
    iv_text_puts(out, "Points on the dashed line are rows whose density is estimated exactly; the "
                      "correlation is ");
    iv_put_fixed(out, d->r, 4);
    iv_text_puts(out, " (of the log densities ");
    iv_put_fixed(out, d->r_log, 4);
    iv_text_puts(out, "), the mean error ");
    iv_put_fixed(out, d->bias_nats, 3);
    iv_text_puts(out, " nats with an SD of ");
    iv_put_fixed(out, d->sd_nats, 3);
    iv_text_puts(out, ".");
}

const iv_chart_kind iv_chart_density_truth = {"density-truth", "Estimated against true density",
                                              has_truth,       draw_truth,
                                              csv_truth,       says_truth};

/* ---- training ---- */

static bool has_history(const iv_report_context *context, const iv_facts *facts)
{
    (void)facts;
    return context->model->history != NULL && context->model->n_history > 1;
}

static void widen(double value, double *lo, double *hi)
{
    if (!isfinite(value)) return;
    if (value < *lo) *lo = value;
    if (value > *hi) *hi = value;
}

/* Without the first lines a long fall from the start would flatten the rest; log where it can be.
 */
static void history_range(const iv_model *m, iv_axis *loss, iv_axis *beta)
{
    *loss = (iv_axis){.lo = (double)INFINITY, .hi = -(double)INFINITY};
    *beta = *loss;
    for (size_t i = 0; i < m->n_history; i++) {
        widen(m->history[i].loss, &loss->lo, &loss->hi);
        widen(m->history[i].validation, &loss->lo, &loss->hi);
        widen(m->history[i].beta, &beta->lo, &beta->hi);
    }
    if (!(loss->lo <= loss->hi)) loss->lo = loss->hi = 0;
    if (!(beta->lo <= beta->hi)) beta->lo = beta->hi = 1;
    loss->log = loss->lo > 0 && loss->hi / loss->lo > 4;
    beta->log = beta->lo > 0 && beta->hi / beta->lo > 4;
    iv_axis_nice(loss, 5);
    iv_axis_nice(beta, 2);
    if (!beta->log && beta->lo < 0) beta->lo = 0;
}

/* A line through every `step`-th point of one column, the last one included. */
static void history_path(iv_svg *svg, const iv_model *m, const char *class,
                         double (*get)(const iv_history *), bool gaps)
{
    double x[2 * MOST_STEPS + 2], y[2 * MOST_STEPS + 2];
    size_t n = 0, step = m->n_history / MOST_STEPS + 1;
    for (size_t i = 0; i < m->n_history && n < 2 * MOST_STEPS; i++) {
        double value = get(&m->history[i]);
        if (!gaps && !isfinite(value)) continue;
        if (i % step != 0 && i + 1 != m->n_history && gaps) continue;
        x[n] = iv_axis_at(&svg->x, (double)m->history[i].step);
        y[n++] = iv_axis_at(&svg->y, value);
    }
    iv_svg_path(svg, class, x, y, n);
}

static double get_loss(const iv_history *h)
{
    return h->loss;
}
static double get_validation(const iv_history *h)
{
    return h->validation;
}
static double get_beta(const iv_history *h)
{
    return h->beta;
}

static bool validated(const iv_model *m)
{
    for (size_t i = 0; i < m->n_history; i++) {
        if (isfinite(m->history[i].validation)) return true;
    }
    return false;
}

/* The line with the lowest validation loss, where the last one lies clearly above it; else NULL.
 * Beta falls over the steps, so the loss at an earlier line counts at least as much: the earlier
 * weights would do better still at the final beta. */
static const iv_history *turning_point(const iv_model *m)
{
    const iv_history *lowest = NULL, *last = NULL;
    for (size_t i = 0; i < m->n_history; i++) {
        const iv_history *h = &m->history[i];
        if (!isfinite(h->validation)) continue;
        if (lowest == NULL || h->validation < lowest->validation) lowest = h;
        last = h;
    }
    if (lowest == NULL || lowest->beta < last->beta) return NULL;
    return last->validation - lowest->validation > 0.02 * fabs(lowest->validation) ? lowest : NULL;
}

static void draw_training(const iv_report_context *context, const iv_facts *facts,
                          const iv_canvas *canvas, iv_text *out)
{
    static const iv_legend legend[] = {{'l', "l1", "training loss"},
                                       {'l', "l2", "validation loss"}};
    const iv_model *m = context->model;
    iv_axis loss, beta;
    iv_svg svg;
    (void)facts;
    history_range(m, &loss, &beta);
    /* A beta that never moved needs no panel of its own. */
    bool moved = m->history[0].beta > m->beta * 1.001 || m->history[0].beta < m->beta * 0.999;
    iv_svg_open(&svg, out, canvas->width, moved ? 380 : 274, canvas->key, canvas->title,
                canvas->alt, canvas->standalone);
    double used = iv_svg_legend(&svg, legend, validated(m) ? 2 : 1);
    svg.x = (iv_axis){.lo = 0, .hi = (double)m->history[m->n_history - 1].step};
    if (!(svg.x.hi > 0)) svg.x.hi = 1;
    svg.y = loss;
    iv_svg_area(&svg, 56, used + 26, canvas->width - 24, 228);
    iv_svg_axis_y(&svg, 5, loss.log ? "loss, log scale" : "loss");
    history_path(&svg, m, "l1", get_loss, true);
    history_path(&svg, m, "l2", get_validation, false);
    const iv_history *turn = turning_point(m);
    if (turn != NULL) {
        iv_svg_circle(&svg, "f2", iv_axis_at(&svg.x, (double)turn->step),
                      iv_axis_at(&svg.y, turn->validation), 4, "lowest validation loss");
    }
    if (!moved) {
        iv_svg_axis_x(&svg, canvas->width > 500 ? 8 : 4, "step");
        iv_svg_close(&svg);
        return;
    }
    svg.y = beta;
    iv_svg_area(&svg, 56, 262, canvas->width - 24, 380 - 46);
    iv_svg_axis_y(&svg, 2, beta.log ? "beta, log scale" : "beta");
    history_path(&svg, m, "l3", get_beta, true);
    iv_svg_axis_x(&svg, canvas->width > 500 ? 8 : 4, "step");
    iv_svg_close(&svg);
}

static void csv_training(const iv_report_context *context, const iv_facts *facts, iv_text *out)
{
    const iv_model *m = context->model;
    (void)facts;
    iv_text_puts(out, "step,beta,loss,distortion,kl_nats,validation\n");
    for (size_t i = 0; i < m->n_history; i++) {
        const iv_history *h = &m->history[i];
        iv_csv_count(out, true, (size_t)h->step);
        iv_csv_number(out, false, h->beta);
        iv_csv_number(out, false, h->loss);
        iv_csv_number(out, false, h->distortion);
        iv_csv_number(out, false, h->kl);
        iv_csv_number(out, false, h->validation);
        iv_csv_end(out);
    }
}

static void says_training(const iv_report_context *context, const iv_facts *facts, iv_text *out)
{
    const iv_model *m = context->model;
    const iv_history *last = &m->history[m->n_history - 1], *validation = NULL;
    (void)facts;
    for (size_t i = 0; i < m->n_history; i++) {
        if (isfinite(m->history[i].validation)) validation = &m->history[i];
    }
    iv_text_puts(out, "The loss (distortion + beta times rate) ends at ");
    iv_put_number(out, last->loss, 3);
    if (validation != NULL) {
        iv_text_puts(out, " on the training rows and ");
        iv_put_number(out, validation->validation, 3);
        iv_text_puts(out, " on the validation rows");
    }
    iv_text_puts(out, " after ");
    iv_put_count(out, last->step);
    iv_text_puts(out, " steps; a flat end means a finished training, a gap that widens means "
                      "overfitting.");
    const iv_history *turn = turning_point(m);
    if (turn == NULL) return;
    iv_text_puts(out, " The validation loss was lowest at step ");
    iv_put_count(out, turn->step);
    iv_text_puts(out, " with ");
    iv_put_number(out, turn->validation, 3);
    iv_text_puts(out, ": what came after fits the training rows alone.");
}

const iv_chart_kind iv_chart_training = {"training",    "Loss over the steps", has_history,
                                         draw_training, csv_training,          says_training};
