/* Reconstructions and traversals of image models. */
#include "report/html.h"
#include "report/image.h"

#include <math.h>
#include <stdio.h>

enum { PICTURES = 10, STEPS = 13, MOST_WALKS = 12, MOST_BYTES = 12000000 };

static isovae_status reconstructions(const iv_page *p, isovae_error *err)
{
    size_t count = p->a->rows < PICTURES ? p->a->rows : PICTURES, rows[PICTURES];
    iv_picture sheet;
    if (count == 0) return ISOVAE_OK;
    IV_TRY(iv_reconstruction_picture(p->context, &p->facts, count, &sheet, rows, err));
    iv_text_puts(p->out, "<figure><h3>Reconstructions</h3><img class=\"pixels\" src=\"");
    isovae_status status = iv_put_png(p->out, &sheet, err);
    iv_text_printf(p->out,
                   "\" width=\"%zu\" height=\"%zu\" alt=\"%zu inputs above their "
                   "reconstructions, from the least to the most probable row\">",
                   sheet.width, sheet.height, count);
    iv_free(sheet.pixels);
    iv_text_puts(p->out, "<figcaption>Above the inputs, below what the decoder makes of their code "
                         "mu; from left to right from the least to the most probable row");
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

/* Strongest active latents, and one that is off to compare with, as far as the page may grow. */
static size_t choose(const iv_page *p, size_t *ranks)
{
    size_t n = 0, size = p->a->d * STEPS, most = size > 0 ? MOST_BYTES / size : 0;
    if (most > MOST_WALKS) most = MOST_WALKS;
    for (size_t j = 0; j < p->a->n && n < most; j++) {
        if (p->a->latents[j].active) ranks[n++] = j;
    }
    for (size_t j = 0; j < p->a->n && n > 0; j++) {
        if (!p->a->latents[j].active) {
            ranks[n++] = j;
            break;
        }
    }
    return n;
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

static void walk(const iv_page *p, size_t rank, size_t row, size_t n, const double *even)
{
    const iv_latent_report *l = &p->a->latents[rank];
    char step[64], label[96];
    iv_text_printf(p->out, "<div class=\"walk\"><div class=\"name\"><b>Latent %zu</b>", rank);
    if (l->active) {
        iv_text_puts(p->out, "<br>");
        iv_put_fixed(p->out, 100 * l->share, 1);
        iv_text_puts(p->out, " % of importance");
        if (isfinite(even[0]) && isfinite(even[1])) {
            iv_text_puts(p->out, "<br>steps ");
            iv_put_fixed(p->out, even[0], 2);
            iv_text_puts(p->out, " to ");
            iv_put_fixed(p->out, even[1], 2);
        }
    } else {
        iv_text_puts(p->out, "<br>not active");
    }
    iv_text_puts(p->out, "</div>");
    snprintf(step, sizeof step, "calc(var(--k)*100%%/%d)", STEPS - 1);
    snprintf(label, sizeof label, "where latent %zu acts", rank);
    window(p, "map", row, n, 1, 1, "0", label);
    snprintf(label, sizeof label, "latent %zu at the slider's place", rank);
    window(p, "tile", row, n, STEPS, 1, step, label);
    snprintf(label, sizeof label, "latent %zu from -3 to +3 standard deviations of y", rank);
    window(p, "strip", row, n, STEPS, STEPS, "0", label);
    iv_text_puts(p->out, "</div>");
}

static isovae_status sheets(const iv_page *p, const size_t *ranks, size_t n, double *even,
                            isovae_error *err)
{
    iv_picture sheet;
    IV_TRY(iv_traverse_picture(p->context, &p->facts, ranks, n, STEPS, &sheet, even, err));
    iv_text_puts(p->out, "<style>.walks .tile,.walks .strip{background-image:url(");
    isovae_status status = iv_put_png(p->out, &sheet, err);
    iv_free(sheet.pixels);
    if (status != ISOVAE_OK) return status;
    IV_TRY(iv_loading_picture(p->context, &p->facts, ranks, n, &sheet, err));
    iv_text_puts(p->out, ")}.walks .map{background-image:url(");
    status = iv_put_png(p->out, &sheet, err);
    iv_free(sheet.pixels);
    iv_text_puts(p->out, ")}</style>");
    return status;
}

static isovae_status traversals(const iv_page *p, isovae_error *err)
{
    size_t ranks[MOST_WALKS + 1], n = choose(p, ranks);
    double even[2 * (MOST_WALKS + 1)];
    if (n == 0) return ISOVAE_OK;
    iv_text_puts(
        p->out,
        "<h3 class=\"spaced\">Traversals</h3><p class=\"lead\">Each row moves one latent, the "
        "strongest first, in equal steps of y from -3 to +3 standard deviations, the "
        "others at rest. Left: where it acts (blue brightens, orange darkens); next "
        "the image at the slider's place.</p>");
    IV_TRY(sheets(p, ranks, n, even, err));
    iv_text_printf(p->out,
                   "<div class=\"walks\" style=\"--k:%d\"><div class=\"step\" hidden><label "
                   "for=\"walk\">Step along y</label><input id=\"walk\" type=\"range\" min=\"0\" "
                   "max=\"%d\" value=\"%d\"><output for=\"walk\"></output></div>",
                   STEPS - 1, STEPS - 1, STEPS - 1);
    for (size_t i = 0; i < n; i++) walk(p, ranks[i], i, n, even + 2 * i);
    iv_text_puts(p->out, "</div><p class=\"key\">steps: smallest and largest distance between "
                         "neighbouring images in the metric, over the length that y gives it; 1 "
                         "throughout where the coordinates are isometric.");
    if (!p->a->latents[ranks[n - 1]].active) {
        iv_text_puts(p->out, " The last row is a latent that is not active: nothing should move.");
    }
    iv_text_puts(p->out, "</p>");
    return ISOVAE_OK;
}

isovae_status iv_html_images(const iv_page *p, isovae_error *err)
{
    IV_TRY(reconstructions(p, err));
    return traversals(p, err);
}
