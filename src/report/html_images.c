/* Reconstructions, samples and traversals of image models. */
#include "report/html.h"
#include "report/image.h"

#include <math.h>
#include <stdio.h>

enum { PICTURES = 10, SAMPLE_ROWS = 2, STEPS = 13, MOST_WALKS = 12, MOST_BYTES = 6000000 };

static isovae_status reconstructions(const iv_page *p, isovae_error *err)
{
    size_t count = p->a->rows < PICTURES ? p->a->rows : PICTURES, rows[PICTURES];
    iv_picture sheet;
    if (count == 0) return ISOVAE_OK;
    IV_TRY(iv_reconstruction_picture(p->context, &p->facts, count, &sheet, rows, err));
    iv_text_puts(p->out, "<figure><h3>Reconstructions</h3><img class=\"pixels\" src=\"");
    isovae_status status = iv_put_png(p->out, &sheet, err);
    bool ordered = p->a->density.values != NULL;
    iv_text_printf(p->out,
                   "\" width=\"%zu\" height=\"%zu\" alt=\"%zu inputs above their "
                   "reconstructions%s\">",
                   sheet.width, sheet.height, count,
                   ordered ? ", from the least to the most probable row" : "");
    iv_free(sheet.pixels);
    iv_text_puts(p->out, "<figcaption>Above the inputs, below what the decoder makes of their code "
                         "mu");
    if (ordered)
        iv_text_puts(p->out, "; from left to right from the least to the most probable row");
    if (p->a->density.values != NULL) {
        iv_text_puts(p->out, " (");
        iv_put_fixed(p->out, p->a->density.values[rows[0]], 1);
        iv_text_puts(p->out, " to ");
        iv_put_fixed(p->out, p->a->density.values[rows[count - 1]], 1);
        iv_text_puts(p->out, " nats)");
    }
    iv_text_puts(p->out, ". What is lost between them is the reconstruction loss, ");
    iv_put_number(p->out, p->a->distortion.transform, 3);
    iv_text_puts(p->out, " a row.</figcaption></figure>");
    return status;
}

static isovae_status samples(const iv_page *p, isovae_error *err)
{
    iv_picture sheet;
    isovae_status status =
        iv_sample_picture(p->context, &p->facts, SAMPLE_ROWS, PICTURES, &sheet, err);
    if (status == ISOVAE_OK) {
        iv_text_puts(p->out,
                     "<figure class=\"spaced\"><h3>Samples</h3><img class=\"pixels\" src=\"");
        status = iv_put_png(p->out, &sheet, err);
        iv_text_printf(p->out,
                       "\" width=\"%zu\" height=\"%zu\" alt=\"%d images decoded from the prior\">"
                       "<figcaption>Decoded from draws of the prior: what the model takes for "
                       "images of this kind. They have no noise; the first %d of <code>isovae "
                       "sample</code> with seed %llu.</figcaption></figure>",
                       sheet.width, sheet.height, SAMPLE_ROWS * PICTURES, SAMPLE_ROWS * PICTURES,
                       (unsigned long long)p->context->seed);
    }
    iv_free(sheet.pixels);
    return status;
}

/* ---- traversals ---- */

/* What is shown: ranks in order, and which of them is the strongest, the middle and a collapsed one
 * (SIZE_MAX: none). */
typedef struct walks {
    size_t n, rank[MOST_WALKS + 2];
    size_t strongest, middle, collapsed;
} walks;

/* The strongest active latents as far as the page may grow, the one in the middle of the active
 * ones, and one that is off to compare with. */
static void choose(const iv_page *p, walks *w)
{
    size_t size = p->a->d * STEPS, most = size > 0 ? MOST_BYTES / size : 0, active = 0;
    *w = (walks){.strongest = SIZE_MAX, .middle = SIZE_MAX, .collapsed = SIZE_MAX};
    if (most > MOST_WALKS) most = MOST_WALKS;
    for (size_t j = 0; j < p->a->n; j++) active += p->a->latents[j].active;
    for (size_t j = 0, seen = 0; j < p->a->n; j++) {
        if (!p->a->latents[j].active) {
            if (w->collapsed == SIZE_MAX) w->collapsed = j;
            continue;
        }
        if (seen == 0) w->strongest = j;
        bool middle = active > 2 && seen == active / 2;
        if (middle) w->middle = j;
        if (seen++ < most || middle) w->rank[w->n++] = j;
    }
    if (w->n > 0 && w->collapsed != SIZE_MAX) w->rank[w->n++] = w->collapsed;
}

/* A window on image (column k or all columns, row) of a sheet. */
static void window(const iv_page *p, const char *class, size_t row, size_t n, size_t columns,
                   size_t across, const char *column, const char *label)
{
    double down = n > 1 ? 100.0 * (double)row / (double)(n - 1) : 0;
    iv_text_printf(p->out,
                   "<div class=\"%s\" role=\"img\" aria-label=\"%s\" style=\"aspect-ratio:%zu/%zu;"
                   "background-size:%zu%% %zu%%;background-position:%s %.4f%%\"></div>",
                   class, label, p->facts.width * across, p->facts.height, 100 * columns / across,
                   100 * n, column, down);
}

static void name(const iv_page *p, const walks *w, size_t rank, double step)
{
    const iv_latent_report *l = &p->a->latents[rank];
    const char *title = rank == w->strongest ? "the strongest"
                        : rank == w->middle  ? "a middle one"
                                             : NULL;
    iv_text_printf(p->out, "<div class=\"name\"><b>Latent %zu</b>", rank);
    if (!l->active) title = "collapsed: not active";
    if (title != NULL) iv_text_printf(p->out, "<br><i>%s</i>", title);
    if (l->active) {
        iv_text_puts(p->out, "<br>");
        iv_put_fixed(p->out, 100 * l->share, 1);
        iv_text_puts(p->out, " % of importance");
    }
    iv_text_puts(p->out, "<br>step in y ");
    iv_put_number(p->out, step, 3);
    iv_text_puts(p->out, "</div>");
}

/* The measured length of each step, under the gap between its two images. */
static void put_lengths(const iv_page *p, const double *lengths)
{
    iv_text_puts(p->out, "<ol class=\"far\" aria-label=\"measured length of each step\">");
    for (size_t k = 1; k < STEPS; k++) {
        iv_text_puts(p->out, "<li>");
        iv_put_number(p->out, lengths[k], 3);
        iv_text_puts(p->out, "</li>");
    }
    iv_text_puts(p->out, "</ol>");
}

static void walk(const iv_page *p, const walks *w, size_t row, const double *lengths)
{
    size_t rank = w->rank[row], n = w->n;
    char step[64], label[96];
    iv_text_puts(p->out, "<div class=\"walk\">");
    name(p, w, rank, lengths[0]);
    snprintf(step, sizeof step, "calc(var(--k)*100%%/%d)", STEPS - 1);
    snprintf(label, sizeof label, "pixels that latent %zu moves, either way", rank);
    window(p, "map rms", row, n, 1, 1, "0", label);
    snprintf(label, sizeof label, "where latent %zu brightens and darkens", rank);
    window(p, "map mean", row, n, 1, 1, "0", label);
    snprintf(label, sizeof label, "latent %zu at the slider's place", rank);
    window(p, "tile", row, n, STEPS, 1, step, label);
    snprintf(label, sizeof label, "latent %zu from -3 to +3 standard deviations of y", rank);
    iv_text_puts(p->out, "<div class=\"path\">");
    window(p, "strip", row, n, STEPS, STEPS, "0", label);
    put_lengths(p, lengths);
    iv_text_puts(p->out, "</div></div>");
}

static isovae_status put_map(const iv_page *p, const walks *w, bool rms, isovae_error *err)
{
    iv_picture sheet;
    isovae_status status =
        iv_loading_picture(p->context, &p->facts, w->rank, w->n, rms, &sheet, err);
    if (status == ISOVAE_OK) {
        iv_text_printf(p->out, ".walks .%s{background-image:url(", rms ? "rms" : "mean");
        status = iv_put_png(p->out, &sheet, err);
        iv_text_puts(p->out, ")}");
    }
    iv_free(sheet.pixels);
    return status;
}

static isovae_status sheets(const iv_page *p, const walks *w, double *lengths, isovae_error *err)
{
    iv_picture sheet;
    IV_TRY(iv_traverse_picture(p->context, &p->facts, w->rank, w->n, STEPS, &sheet, lengths, err));
    iv_text_puts(p->out, "<style>.walks .tile,.walks .strip{background-image:url(");
    isovae_status status = iv_put_png(p->out, &sheet, err);
    iv_free(sheet.pixels);
    if (status != ISOVAE_OK) return status;
    iv_text_puts(p->out, ")}");
    IV_TRY(put_map(p, w, true, err));
    IV_TRY(put_map(p, w, false, err));
    iv_text_puts(p->out, "</style>");
    return ISOVAE_OK;
}

static isovae_status traversals(const iv_page *p, isovae_error *err)
{
    walks w;
    double lengths[STEPS * (MOST_WALKS + 2)];
    choose(p, &w);
    if (w.n == 0) return ISOVAE_OK;
    iv_text_puts(
        p->out,
        "<h3 class=\"spaced\">Traversals</h3><p class=\"lead\">Each row moves one latent, the "
        "strongest first, in equal steps of y from -3 to +3 standard deviations, the others at "
        "rest. Left: which pixels it moves, either way (violet, root mean square over the rows), "
        "and on the mean (blue brightens, orange darkens); next the image at the slider's "
        "place.</p>");
    IV_TRY(sheets(p, &w, lengths, err));
    iv_text_printf(p->out,
                   "<div class=\"walks\" style=\"--k:%d\"><div class=\"step\" hidden><label "
                   "for=\"walk\">Step along y</label><input id=\"walk\" type=\"range\" min=\"0\" "
                   "max=\"%d\" value=\"%d\"><output for=\"walk\"></output></div>",
                   STEPS - 1, STEPS - 1, STEPS - 1);
    for (size_t i = 0; i < w.n; i++) walk(p, &w, i, lengths + STEPS * i);
    iv_text_puts(p->out, "</div><p class=\"key\">The numbers under the images are the measured "
                         "distances between neighbours, the square root of the metric's distance: "
                         "where the coordinates are isometric each is the step in y (of a "
                         "latent near the noise, beta/2, that times the root of 1 - "
                         "sigma\xC2\xB2).");
    if (w.collapsed != SIZE_MAX) {
        iv_text_puts(p->out, " The last row is a latent that is not active: nothing should move.");
    }
    iv_text_puts(p->out, "</p>");
    return ISOVAE_OK;
}

isovae_status iv_html_images(const iv_page *p, isovae_error *err)
{
    /* without a width it is not known whether codes lie as the prior says */
    if (p->a->unknown != IV_UNKNOWN_ENCODER) IV_TRY(reconstructions(p, err));
    if (p->a->unknown != IV_UNKNOWN_WIDTH) IV_TRY(samples(p, err));
    return traversals(p, err);
}
