#include "report/stability.h"

#include "report/facts.h"

#include <math.h>
#include <string.h>

enum { MOST_UNITS = 30, MOST_FAILED = 3 };

static void style(const iv_stability_context *c, iv_text *out, const char *code)
{
    if (c->color) iv_text_printf(out, "\x1b[%sm", code);
}

static void cell(iv_text *out, size_t width, iv_text *value)
{
    size_t used = value->data != NULL ? iv_code_points(value->data, value->length) : 0;
    if (value->failed) out->failed = true;
    iv_text_printf(out, "%*s%s", used < width ? (int)(width - used) : 0, "",
                   value->data != NULL ? value->data : "");
    iv_text_free(value);
}

static void cell_fixed(iv_text *out, size_t width, double value, int decimals)
{
    iv_text t = {0};
    iv_put_fixed(&t, value, decimals);
    cell(out, width, &t);
}

static void cell_number(iv_text *out, size_t width, double value)
{
    iv_text t = {0};
    iv_put_number(&t, value, 4);
    cell(out, width, &t);
}

/* Downwards: 0.9996 is not 1. */
static double down(double match)
{
    return floor(10000 * match) / 10000;
}

static void unit_row(const iv_stability_context *c, size_t u, iv_text *out)
{
    const iv_agreement *a = c->stability->agreement;
    const iv_agreed_unit *unit = &a->units[u];
    iv_text name = {0};
    iv_stability_unit(a, u, &name);
    style(c, out, unit->claimed ? "0" : "2");
    iv_text_puts(out, unit->claimed ? "* " : "  ");
    cell(out, 8, &name);
    iv_text_printf(out, "%6zu/%zu", unit->found, a->runs);
    cell_fixed(out, 10, down(unit->match_mean), 4);
    cell_fixed(out, 9, down(unit->match_min), 4);
    cell_number(out, 13, unit->variance_mean);
    iv_text sd = {0};
    if (!isnan(unit->variance_sd)) {
        iv_text_puts(&sd, " +- ");
        iv_put_number(&sd, unit->variance_sd, 2);
    }
    if (sd.failed) out->failed = true;
    if (unit->n > 1) {
        iv_text_printf(out, "%-14s  group, %zu of %zu directions shared; apart",
                       sd.data != NULL ? sd.data : "", unit->shared, unit->n);
        for (size_t i = 0; i < unit->n && i < 4; i++) {
            iv_text_puts(out, i > 0 ? ", " : " ");
            iv_put_fixed(out, a->latents[unit->member[i]].match_mean, 2);
        }
        if (unit->n > 4) iv_text_puts(out, ", ...");
    } else if (sd.data != NULL) {
        iv_text_puts(out, sd.data);
    }
    iv_text_free(&sd);
    style(c, out, "0");
    iv_text_puts(out, "\n");
}

static void put_head(const iv_stability_context *c, iv_text *out)
{
    const iv_stability *s = c->stability;
    const char *source = c->data->source;
    size_t trained = s->n_runs - s->failed;
    iv_text_printf(out, "\n  %zu runs of ", s->n_runs);
    iv_put_clean(out, source != NULL ? iv_facts_base(source) : "memory", 40, true);
    iv_text_printf(out, ", seeds %llu-%llu; compared on ", (unsigned long long)s->runs[0].seed,
                   (unsigned long long)s->runs[s->n_runs - 1].seed);
    iv_put_count(out, s->rows);
    iv_text_printf(out, " %s rows by |correlation| of y\n  active latents",
                   s->held_out ? "held-out" : "common");
    for (size_t r = 0; r < s->n_runs && r < 20; r++) {
        if (s->runs[r].failed) {
            iv_text_puts(out, " -");
        } else {
            iv_text_printf(out, " %zu", s->runs[r].active);
        }
    }
    if (s->n_runs > 20) iv_text_puts(out, " ...");
    if (trained > 0) {
        iv_text_printf(out, "; latents are numbered as in the most central run, seed %llu",
                       (unsigned long long)s->runs[s->agreement->central].seed);
    }
    iv_text_puts(out, "\n\n");
}

isovae_status iv_stability_text(const iv_stability_context *c, iv_text *out, isovae_error *err)
{
    const iv_stability *s = c->stability;
    const iv_agreement *a = s->agreement;
    size_t claimed = 0, shown = a->n_units < MOST_UNITS ? a->n_units : MOST_UNITS;
    for (size_t u = 0; u < a->n_units; u++) claimed += a->units[u].claimed;
    style(c, out, claimed > 0 ? "1;32" : "1;33");
    iv_stability_quote(a, out);
    style(c, out, "0");
    iv_text_puts(out, "\n");
    put_head(c, out);
    if (shown > 0) {
        style(c, out, "1");
        iv_text_puts(out, "   latent     found     match    least   variance_y\n");
        style(c, out, "0");
    }
    for (size_t u = 0; u < shown; u++) unit_row(c, u, out);
    if (a->n_units > shown) iv_text_printf(out, "  %zu more\n", a->n_units - shown);
    iv_text_puts(out, "\n");
    if (a->n_units > 0) {
        iv_text_printf(out,
                       "  match: mean and least over the other runs; found: match of %g or more; * "
                       "claimed: in nine of ten runs\n",
                       a->least);
    }
    iv_stability_remarks(c, "  - ", "\n", out);
    for (size_t r = 0, told = 0; r < s->n_runs && told < MOST_FAILED; r++) {
        if (!s->runs[r].failed) continue;
        iv_text_printf(out, "  ! seed %llu: ", (unsigned long long)s->runs[r].seed);
        iv_put_clean(out, s->runs[r].reason, 0, true);
        iv_text_puts(out, "\n");
        told++;
    }
    return iv_text_check(out, err);
}
