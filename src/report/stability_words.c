/* The sentences that all forms of the comparison share. */
#include "report/stability.h"

#include "report/facts.h"

#include <math.h>

typedef bool wanted_fn(const iv_agreement *a, const iv_agreed_unit *unit);

/* "0-2,5" from "0", "1", "2", "5": the next rank of a list that is written from left to right. */
typedef struct ranks {
    iv_text *out;
    size_t first, last, count, told;
} ranks;

static void end_ranks(ranks *r)
{
    if (r->count == 0) return;
    iv_text_printf(r->out, r->told++ > 0 ? ",%zu" : "%zu", r->first);
    if (r->last > r->first) iv_text_printf(r->out, "-%zu", r->last);
    r->count = 0;
}

static void add_rank(ranks *r, size_t rank)
{
    if (r->count > 0 && rank != r->last + 1) end_ranks(r);
    if (r->count++ == 0) r->first = rank;
    r->last = rank;
}

void iv_stability_unit(const iv_agreement *a, size_t unit, iv_text *out)
{
    const iv_agreed_unit *u = &a->units[unit];
    ranks r = {.out = out};
    for (size_t i = 0; i < u->n; i++) add_rank(&r, a->latents[u->member[i]].latent);
    end_ranks(&r);
}

static bool everywhere(const iv_agreement *a, const iv_agreed_unit *u)
{
    return u->claimed && u->found == a->runs;
}

static bool nearly(const iv_agreement *a, const iv_agreed_unit *u)
{
    return u->claimed && u->found < a->runs;
}

/* "latents 0-2 and the group 3-4"; returns how many latents these are. */
static size_t put_units(const iv_agreement *a, wanted_fn *wanted, iv_text *out)
{
    size_t singles = 0, groups = 0, latents = 0;
    ranks r = {.out = out};
    for (size_t u = 0; u < a->n_units; u++) {
        if (!wanted(a, &a->units[u])) continue;
        singles += a->units[u].n == 1;
        groups += a->units[u].n > 1;
        latents += a->units[u].n;
    }
    if (singles > 0) iv_text_puts(out, singles == 1 ? "latent " : "latents ");
    for (size_t u = 0; u < a->n_units; u++) {
        if (!wanted(a, &a->units[u]) || a->units[u].n > 1) continue;
        add_rank(&r, a->latents[a->units[u].member[0]].latent);
    }
    end_ranks(&r);
    if (singles > 0 && groups > 0) iv_text_puts(out, " and ");
    if (groups > 0) iv_text_puts(out, groups == 1 ? "the group " : "the groups ");
    for (size_t u = 0, done = 0; u < a->n_units; u++) {
        if (!wanted(a, &a->units[u]) || a->units[u].n == 1) continue;
        iv_text_puts(out, done++ > 0 ? " and " : "");
        iv_stability_unit(a, u, out);
    }
    return latents;
}

static double least_match(const iv_agreement *a, wanted_fn *wanted)
{
    double least = 1;
    for (size_t u = 0; u < a->n_units; u++) {
        if (wanted(a, &a->units[u])) least = fmin(least, a->units[u].match_min);
    }
    return least;
}

void iv_stability_quote(const iv_agreement *a, iv_text *out)
{
    size_t in_all = 0, in_most = 0;
    for (size_t u = 0; u < a->n_units; u++) {
        in_all += everywhere(a, &a->units[u]);
        in_most += nearly(a, &a->units[u]);
    }
    if (a->runs == 1) {
        iv_text_puts(out, "one run alone: nothing to compare");
    } else if (in_all > 0) {
        size_t latents = put_units(a, everywhere, out);
        iv_text_printf(out, " %s found in %zu of %zu runs (match ", latents == 1 ? "is" : "are",
                       a->runs, a->runs);
        /* never more than what was reached */
        iv_put_fixed(out, floor(1000 * least_match(a, everywhere)) / 1000, 3);
        iv_text_puts(out, " or more)");
    } else if (in_most > 0) {
        size_t least = a->runs;
        for (size_t u = 0; u < a->n_units; u++) {
            if (nearly(a, &a->units[u]) && a->units[u].found < least) least = a->units[u].found;
        }
        size_t latents = put_units(a, nearly, out);
        iv_text_printf(out, " %s found in %zu or more of %zu runs", latents == 1 ? "is" : "are",
                       least, a->runs);
    } else {
        iv_text_printf(out, "no latent is found in nine of ten of the %zu runs", a->runs);
    }
}

void iv_stability_remarks(const iv_stability_context *context, const char *before,
                          const char *after, iv_text *out)
{
    const iv_stability *s = context->stability;
    const iv_agreement *a = s->agreement;
    size_t in_all = 0, alone = 0, folded = 0, given = 0;
    for (size_t u = 0; u < a->n_units; u++) in_all += everywhere(a, &a->units[u]);
    for (size_t u = 0; u < a->n_units; u++) {
        const iv_agreed_unit *unit = &a->units[u];
        bool quoted = everywhere(a, unit) || (in_all == 0 && nearly(a, unit));
        if (quoted || a->runs == 1) continue;
        iv_text_puts(out, before);
        iv_text_puts(out, unit->n > 1 ? "group " : "latent ");
        iv_stability_unit(a, u, out);
        iv_text_printf(out, ": found in %zu of %zu runs%s", unit->found, a->runs,
                       unit->claimed ? "" : ", not claimed");
        iv_text_puts(out, after);
    }
    for (size_t u = 0; u < a->n_units; u++) {
        if (a->units[u].n == 1) continue;
        iv_text_puts(out, before);
        iv_stability_unit(a, u, out);
        iv_text_puts(out, ": these turn into each other from run to run, so the space that they "
                          "span is the unit, not each of them");
        iv_text_puts(out, after);
    }
    for (size_t r = 0; r < a->runs; r++) {
        alone += a->alone[r] > 0;
        folded += s->runs[r].folded;
        if (s->runs[r].n > 0) given = s->runs[r].n;
    }
    if (given > a->n) {
        size_t off = given - a->n;
        iv_text_puts(out, before);
        iv_text_printf(out, "%zu of %zu latents %s not active and %s not claimed", off, given,
                       off == 1 ? "is" : "are", off == 1 ? "is" : "are");
        iv_text_puts(out, after);
    }
    if (alone > 0) {
        iv_text_puts(out, before);
        iv_text_printf(out, "in %zu run%s there are active latents that are not found elsewhere",
                       alone, alone == 1 ? "" : "s");
        iv_text_puts(out, after);
    }
    if (folded > 0) {
        iv_text_puts(out, before);
        iv_text_printf(out,
                       "%zu run%s folded: two branches of the data share one latent value; try "
                       "--init multimodal or more latents",
                       folded, folded == 1 ? " is" : "s are");
        iv_text_puts(out, after);
    }
    if (s->failed > 0) {
        iv_text_puts(out, before);
        iv_text_printf(out, "%zu run%s diverged, and count%s as having found nothing", s->failed,
                       s->failed == 1 ? "" : "s", s->failed == 1 ? "s" : "");
        iv_text_puts(out, after);
    }
}
