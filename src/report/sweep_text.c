/* The sweep for a terminal: the answer, how good the curve is, one line per beta. */
#include "report/facts.h"
#include "report/sweep.h"

#include "base/file.h"

#include <math.h>

/* ---- the answer in words, for all forms ---- */

void iv_sweep_put_value(const iv_sweep *s, double value, iv_text *out)
{
    switch (s->target.goal) {
    case IV_GOAL_CALIBRATED:
        iv_text_puts(out, "residual variance over beta/2 ");
        iv_put_fixed(out, exp(value), 3);
        return;
    case IV_GOAL_PSNR:
        iv_text_puts(out, "PSNR ");
        iv_put_fixed(out, value, 2);
        iv_text_puts(out, " dB");
        return;
    case IV_GOAL_RMSE:
        iv_text_puts(out, "RMSE ");
        iv_put_number(out, value, 4);
        return;
    case IV_GOAL_R2:
        iv_text_puts(out, "R2 ");
        iv_put_fixed(out, value, 4);
        return;
    case IV_GOAL_RATE:
        iv_text_puts(out, "rate ");
        iv_put_fixed(out, value, 3);
        iv_text_puts(out, " nats");
        return;
    default: iv_text_printf(out, "%.0f active", value);
    }
}

static void put_target(const iv_sweep *s, iv_text *out)
{
    if (s->target.goal == IV_GOAL_CALIBRATED) {
        iv_text_puts(out, "the calibrated rule");
    } else {
        char number[40];
        iv_text_printf(out, "%s=", iv_sweep_goal_name(s->target.goal));
        iv_format_double(number, sizeof number, s->target.value, 6);
        iv_text_puts(out, number);
    }
}

void iv_sweep_verdict(const iv_sweep *s, iv_text *out)
{
    if (!s->found) {
        iv_text_puts(out, "no beta of this sweep meets ");
        put_target(s, out);
        if (isfinite(s->best)) {
            iv_text_puts(out, ": nearest is ");
            iv_sweep_put_value(s, s->best, out);
            iv_text_puts(out, " at beta ");
            iv_put_number(out, s->best_beta, 3);
        }
        return;
    }
    iv_text_puts(out, "beta ");
    iv_put_number(out, s->beta, 4);
    iv_text_printf(out,
                   s->active == 1 ? " with %zu active latent answers "
                                  : " with %zu active latents answers ",
                   s->active);
    put_target(s, out);
    if (s->at_floor) iv_text_puts(out, " (the residual stays below beta/2 all the way)");
    if (s->n_retrains == 0) {
        iv_text_puts(out, ", by the curve alone");
    } else if (s->reached) {
        iv_text_puts(out, "; a cold training agrees");
    } else {
        iv_text_puts(out, " on the curve, but a cold training does not reach it");
    }
}

/* ---- lines ---- */

static void label(iv_text *out, const char *name)
{
    iv_text_printf(out, "%-12s", name);
}

static void line_data(const iv_sweep_report *r, iv_text *out)
{
    const iv_sweep *s = r->sweep;
    label(out, "data");
    iv_put_clean(out, r->data->source ? iv_facts_base(r->data->source) : "data in memory", 40,
                 true);
    iv_text_puts(out, ": measured on ");
    iv_put_count(out, s->n_train);
    iv_text_puts(out, " training and ");
    iv_put_count(out, s->n_held);
    iv_text_printf(out, " validation rows\n");
    label(out, "sweep");
    iv_text_printf(out, "%zu betas, %.4g to %.3g, %s", s->points, s->mean[0].beta,
                   s->mean[s->points - 1].beta, s->arch);
    iv_text_printf(out, ", %zu latents, loss %s, ", s->n, s->loss);
    iv_put_count(out, s->steps);
    iv_text_printf(out, " steps twice each");
    if (s->seeds > 1) iv_text_printf(out, ", %zu seeds", s->seeds);
    iv_text_puts(out, "\n");
}

static void line_slope(const iv_sweep *s, iv_text *out)
{
    label(out, "slope");
    if (s->chord_middle == 0) {
        iv_text_puts(out, "too few betas between 20 and 80 % of the rate to judge\n");
        return;
    }
    iv_text_puts(out, "chords of the curve are within ");
    iv_put_fixed(out, 100 * s->chord_worst, 1);
    iv_text_puts(out, " % of -beta (mean ");
    iv_put_fixed(out, 100 * s->chord_mean, 1);
    iv_text_printf(out, " %%) over its middle, %zu of them\n", s->chord_middle);
}

/* The latents that PCA predicts within the sweep, seen over predicted. */
static void line_births(const iv_sweep *s, iv_text *out)
{
    size_t shown = 0, seen = 0;
    label(out, "latents");
    for (size_t j = 0; j < s->n; j++) seen += isfinite(s->births[j].seen) ? 1 : 0;
    if (seen == 0) {
        iv_text_puts(out, "none appears within this range of beta\n");
        return;
    }
    iv_text_printf(out, seen == 1 ? "%zu appears, at beta" : "%zu appear, at beta", seen);
    for (size_t j = 0; j < s->n && shown < 5; j++) {
        const iv_sweep_birth *b = &s->births[j];
        if (!isfinite(b->seen)) continue;
        iv_text_puts(out, shown++ ? ", " : " ");
        iv_put_number(out, b->seen, 3);
        if (!isfinite(b->predicted)) continue;
        iv_text_puts(out, " (PCA ");
        iv_put_number(out, b->predicted, 3);
        iv_text_puts(out, ")");
    }
    iv_text_puts(out, shown < seen ? ", ...\n" : "\n");
}

static void line_cold(const iv_sweep *s, iv_text *out)
{
    for (size_t i = 0; i < s->n_retrains; i++) {
        const iv_sweep_retrain *r = &s->retrains[i];
        label(out, "cold");
        iv_text_puts(out, "beta ");
        iv_put_number(out, r->beta, 4);
        iv_text_puts(out, ": ");
        iv_sweep_put_value(s, r->value, out);
        iv_text_puts(out, " (curve ");
        if (s->target.goal == IV_GOAL_CALIBRATED)
            iv_put_fixed(out, exp(r->predicted), 3);
        else
            iv_put_number(out, r->predicted, 4);
        iv_text_puts(out, "), loss ");
        iv_text_printf(out, "%+.2f nats from the curve's", r->loss_gap);
        if (i + 1 < s->n_retrains) iv_text_puts(out, "; again");
        iv_text_puts(out, "\n");
    }
}

/* ---- the table ---- */

static const char *quality_name(const iv_sweep *s)
{
    return isfinite(s->mean[0].train.psnr) ? "PSNR" : "R2";
}

static double quality(const iv_sweep *s, const iv_sweep_point *p)
{
    const iv_sweep_side *side = s->n_held ? &p->held : &p->train;
    if (isfinite(side->psnr)) return side->psnr;
    return 1.0 - side->error / (s->n_held ? s->held_variance : s->variance);
}

static void cell(iv_text *out, int width, double value, int digits)
{
    iv_text t = {0};
    iv_put_number(&t, value, digits);
    if (t.failed) out->failed = true;
    iv_text_printf(out, "%*s", width, t.data ? t.data : "");
    iv_text_free(&t);
}

static void cell_fixed(iv_text *out, int width, double value, int decimals)
{
    iv_text t = {0};
    iv_put_fixed(&t, value, decimals);
    if (t.failed) out->failed = true;
    iv_text_printf(out, "%*s", width, t.data ? t.data : "");
    iv_text_free(&t);
}

static void table(const iv_sweep *s, iv_text *out)
{
    iv_text_printf(out, "%9s%12s%8s%12s%8s%9s%8s%5s%11s\n", "beta", "distortion", "rate",
                   "validation", "rate", quality_name(s), "active", s->comparable ? "PCA" : "",
                   "slope/beta");
    for (size_t k = 0; k < s->points; k++) {
        const iv_sweep_point *p = &s->mean[k];
        double d, r;
        size_t predicted;
        iv_sweep_linear(s, p->beta, &d, &r, &predicted);
        cell(out, 9, p->beta, 3);
        cell(out, 12, p->train.curve.distortion, 4);
        cell_fixed(out, 8, p->train.curve.rate, 2);
        cell(out, 12, p->held.curve.distortion, 4);
        cell_fixed(out, 8, p->held.curve.rate, 2);
        cell_fixed(out, 9, quality(s, p), isfinite(p->train.psnr) ? 2 : 4);
        cell_fixed(out, 8, p->active, s->seeds > 1 ? 1 : 0);
        if (s->comparable)
            iv_text_printf(out, "%5zu", predicted);
        else
            iv_text_puts(out, "     ");
        if (k > 0) {
            const iv_sweep_chord *c = &s->chords[k - 1];
            cell_fixed(out, 10, c->train / c->expected, 3);
            iv_text_puts(out, c->middle ? "*" : "");
        }
        iv_text_puts(out, "\n");
    }
    iv_text_printf(out,
                   "  distortion in %s, rate in nats; slope/beta: of the chord to the beta above, "
                   "1 at the optimum (* the middle)\n",
                   s->unit);
}

isovae_status iv_sweep_text(const iv_sweep_report *report, iv_text *out, isovae_error *err)
{
    const iv_sweep *s = report->sweep;
    bool good = s->found && (s->reached || s->n_retrains == 0);
    if (report->color) iv_text_puts(out, good ? "\033[1;32m" : "\033[1;33m");
    iv_sweep_verdict(s, out);
    if (report->color) iv_text_puts(out, "\033[0m");
    iv_text_puts(out, "\n\n");
    line_data(report, out);
    line_slope(s, out);
    line_births(s, out);
    line_cold(s, out);
    if (report->output) {
        label(out, "model");
        iv_put_clean(out, report->output, 0, true);
        iv_text_puts(out, "\n");
    }
    iv_text_puts(out, "\n");
    table(s, out);
    for (size_t i = 0; i < s->n_notes; i++) {
        iv_text_puts(out, i == 0 ? "\n  - " : "  - ");
        iv_put_clean(out, s->notes[i].text, 0, true);
        iv_text_puts(out, "\n");
    }
    return iv_text_check(out, err);
}
