/* The verdict in one line, what was compared, a line for all that the model sees and for each
 * feature that has changed. */
#include "report/drift.h"

#include "report/facts.h"

#include <math.h>
#include <string.h>

enum { MOST_LATENTS = 20, MOST_FEATURES = 10, NAME = 16, BEHIND = 3 };

typedef struct page {
    const iv_drift_context *c;
    const iv_drift *d;
    iv_text *out;
} page;

static void style(const page *p, const char *code)
{
    if (p->c->color) iv_text_printf(p->out, "\x1b[%sm", code);
}

static void and_then(iv_text *text, size_t done, size_t all)
{
    if (done > 0) iv_text_puts(text, done + 1 == all ? " and " : ", ");
}

static bool found(const page *p, iv_drift_what what)
{
    for (size_t i = 0; i < p->d->n_model + p->d->n_data; i++) {
        if (p->d->items[i].what == what && p->d->items[i].found) return true;
    }
    return false;
}

static void put_verdict(const page *p)
{
    const iv_drift *d = p->d;
    style(p, d->found ? "1;31" : "1;32");
    if (!d->found) {
        iv_text_printf(p->out, "no change found (alpha %g, %zu tests)\n", d->alpha, d->tests);
        style(p, "0");
        return;
    }
    static const iv_drift_what kinds[] = {IV_DRIFT_LATENT, IV_DRIFT_RESIDUAL, IV_DRIFT_SCORE,
                                          IV_DRIFT_FEATURE, IV_DRIFT_UNUSABLE};
    size_t all = 0, done = 0;
    for (size_t k = 0; k < 5; k++) all += found(p, kinds[k]);
    iv_text_puts(p->out, "the data have changed: ");
    for (size_t k = 0; k < 5; k++) {
        if (!found(p, kinds[k])) continue;
        and_then(p->out, done++, all);
        switch (kinds[k]) {
        case IV_DRIFT_LATENT:
            iv_text_printf(p->out, "%zu of %zu latents", d->found_latents, d->n_model - 2);
            break;
        case IV_DRIFT_RESIDUAL: iv_text_puts(p->out, "the residual"); break;
        case IV_DRIFT_SCORE: iv_text_puts(p->out, "the score"); break;
        case IV_DRIFT_FEATURE:
            iv_text_printf(p->out, "%zu of %zu features", d->found_features, p->c->model->d);
            break;
        case IV_DRIFT_UNUSABLE: iv_text_puts(p->out, "the share of unusable rows"); break;
        }
    }
    iv_text_printf(p->out, " (alpha %g)\n", d->alpha);
    style(p, "0");
}

static void put_side(const page *p, size_t s)
{
    const iv_drift_side *side = &p->d->side[s];
    const char *source = p->c->data[s]->source;
    iv_text_printf(p->out, "  %-11s ", s == 0 ? "reference" : "new");
    iv_put_count(p->out, side->rows);
    iv_text_puts(p->out, " rows of ");
    iv_put_clean(p->out, source != NULL ? iv_facts_base(source) : "memory", 40, true);
    if (side->bad_rows > 0) {
        iv_text_puts(p->out, ", unusable: ");
        iv_put_count(p->out, side->bad_rows);
    }
    if (side->held_out) {
        iv_text_puts(p->out, "\n              (trained on by the model, which sees the ");
        iv_put_count(p->out, side->looked);
        iv_text_puts(p->out, " held-out ones alone)");
    } else if (side->trained_on) {
        iv_text_puts(
            p->out, "\n              (trained on by the model: residual and score are not tested)");
    } else if (side->looked < side->rows) {
        iv_text_puts(p->out, "; compared: ");
        iv_put_count(p->out, side->looked);
    }
    iv_text_puts(p->out, "\n");
}

/* Right-aligned; takes the text. */
static void cell(const page *p, size_t width, iv_text *value)
{
    size_t used = value->data != NULL ? iv_code_points(value->data, value->length) : 0;
    if (value->failed) p->out->failed = true;
    iv_text_printf(p->out, "%*s%s", used < width ? (int)(width - used) : 0, "",
                   value->data != NULL ? value->data : "");
    iv_text_free(value);
}

static void cell_number(const page *p, size_t width, double value, int digits)
{
    iv_text t = {0};
    if (isinf(value)) {
        iv_text_puts(&t, value > 0 ? "inf" : "-inf");
    } else {
        iv_put_number(&t, value, digits);
    }
    cell(p, width, &t);
}

static void cell_signed(const page *p, size_t width, double value)
{
    iv_text t = {0};
    if (isnan(value)) {
        iv_text_puts(&t, "-");
    } else {
        iv_text_printf(&t, "%+.2f", fabs(value) < 0.005 ? 0 : value);
    }
    cell(p, width, &t);
}

static void put_name(const page *p, const iv_drift_item *item)
{
    iv_text t = {0};
    if (item->what == IV_DRIFT_LATENT) {
        iv_text_printf(&t, "latent %zu", item->index);
    } else if (item->what == IV_DRIFT_FEATURE) {
        if (p->c->model->names != NULL) {
            iv_put_clean(&t, p->c->model->names[item->index], NAME, true);
        } else {
            iv_text_printf(&t, "feature %zu", item->index + 1);
        }
    } else {
        iv_text_puts(&t, iv_drift_what_name(item->what));
    }
    if (t.failed) p->out->failed = true;
    size_t used = t.data != NULL ? iv_code_points(t.data, t.length) : 0;
    iv_text_printf(p->out, "%s%*s", t.data != NULL ? t.data : "",
                   used < NAME ? (int)(NAME - used) : 0, "");
    iv_text_free(&t);
}

static void put_found_by(const page *p, const iv_drift_item *item)
{
    size_t done = 0;
    for (int t = 0; t < IV_TWO_SAMPLE_TESTS; t++) {
        if (!(item->adjusted[t] <= p->d->alpha)) continue;
        iv_text_printf(p->out, "%s%s", done++ > 0 ? "," : "  ",
                       iv_two_sample_name((iv_two_sample_test)t));
    }
    for (size_t i = 0; i < item->n_behind && i < BEHIND; i++) {
        iv_text_puts(p->out, i > 0 ? ", " : "; ");
        if (p->c->model->names != NULL) {
            iv_put_clean(p->out, p->c->model->names[item->behind[i].feature], NAME, true);
        } else {
            iv_text_printf(p->out, "feature %zu", item->behind[i].feature + 1);
        }
        iv_text_printf(p->out, " %+.2g", item->behind[i].amount);
    }
}

static void put_row(const page *p, const iv_drift_item *item)
{
    const iv_two_sample *t = &item->test;
    style(p, item->found ? "1" : "0");
    iv_text_puts(p->out, item->found ? "* " : "  ");
    put_name(p, item);
    cell_number(p, 11, t->mean[0], 4);
    cell_number(p, 11, t->mean[1], 4);
    cell_signed(p, 9, t->shift);
    cell_number(p, 8, t->spread, 3);
    if (item->tested) {
        iv_text_printf(p->out, "%9.2g", item->p_adjusted);
    } else {
        iv_text_puts(p->out, "        -");
    }
    put_found_by(p, item);
    style(p, "0");
    iv_text_puts(p->out, "\n");
}

static void put_head(const page *p)
{
    style(p, "1");
    iv_text_printf(p->out, "  %-*s%11s%11s%9s%8s%9s  %s\n", (int)NAME, "", "reference", "new",
                   "shift", "spread", "p", "found by; features behind it");
    style(p, "0");
}

static void put_model(const page *p)
{
    size_t hidden = 0, shown = 0, hidden_found = 0;
    put_head(p);
    for (size_t i = p->d->n_model - 2; i < p->d->n_model; i++) put_row(p, &p->d->items[i]);
    for (size_t i = 0; i + 2 < p->d->n_model; i++) {
        if (shown < MOST_LATENTS) {
            put_row(p, &p->d->items[i]);
            shown++;
        } else {
            hidden++;
            hidden_found += p->d->items[i].found;
        }
    }
    if (hidden > 0) {
        iv_text_printf(p->out, "  %zu more latents, %zu of them changed\n", hidden, hidden_found);
    }
}

/* The most certain first. */
static const iv_drift_item *next_feature(const page *p, double after, size_t *from)
{
    const iv_drift_item *best = NULL;
    size_t place = 0;
    for (size_t i = p->d->n_model; i < p->d->n_model + p->d->n_data; i++) {
        const iv_drift_item *item = &p->d->items[i];
        bool later = item->p_adjusted > after || (!(item->p_adjusted < after) && i > *from);
        if (!item->found || !later) continue;
        if (best == NULL || item->p_adjusted < best->p_adjusted) {
            best = item;
            place = i;
        }
    }
    *from = place;
    return best;
}

static void put_features(const page *p)
{
    double after = -1;
    size_t from = 0, shown = 0, all = 0;
    for (size_t i = p->d->n_model; i < p->d->n_model + p->d->n_data; i++) {
        all += p->d->items[i].found;
    }
    if (all == 0) {
        iv_text_puts(p->out, "  no single feature has changed\n");
        return;
    }
    while (shown < MOST_FEATURES) {
        const iv_drift_item *item = next_feature(p, after, &from);
        if (item == NULL) break;
        put_row(p, item);
        after = item->p_adjusted;
        shown++;
    }
    if (all > shown) iv_text_printf(p->out, "  %zu more have changed\n", all - shown);
}

isovae_status iv_drift_text(const iv_drift_context *context, iv_text *out, isovae_error *err)
{
    page p = {.c = context, .d = context->drift, .out = out};
    put_verdict(&p);
    iv_text_puts(out, "\n");
    put_side(&p, 0);
    put_side(&p, 1);
    iv_text_puts(out, "\n");
    put_model(&p);
    put_features(&p);
    iv_text_puts(out,
                 "\n  shift in SDs of the reference, spread as a ratio of SDs; score: higher = more"
                 " probable.\n  p: smallest of three tests (Mann-Whitney of the values and of their"
                 " distances from the\n  median, Kolmogorov-Smirnov), corrected for all of them;"
                 " rows are taken as independent.\n  Behind a latent: its shift by feature, in SDs;"
                 " behind residual and score: their change by feature.\n");
    return iv_text_check(out, err);
}
