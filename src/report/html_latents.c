/* The page's table of latents, and what each of them moves. */
#include "report/html.h"

#include <math.h>
#include <stdio.h>

enum { SHOWN_ROWS = 40, SHOWN_PROFILES = 12 };

/* <td data-v="...">value</td>; the raw value sorts. */
static void open_cell(const iv_page *p, double value)
{
    if (isfinite(value)) {
        iv_text_printf(p->out, "<td data-v=\"%.9g\">", value);
    } else {
        iv_text_puts(p->out, "<td data-v=\"\">");
    }
}

static void cell(const iv_page *p, double value, int decimals)
{
    open_cell(p, value);
    iv_put_fixed(p->out, value, decimals);
    iv_text_puts(p->out, "</td>");
}

static void cell_pm(const iv_page *p, double value, double spread, int decimals)
{
    open_cell(p, value);
    iv_put_fixed(p->out, value, decimals);
    iv_text_puts(p->out, " <span class=\"pm\">\xC2\xB1 ");
    iv_put_fixed(p->out, spread, decimals);
    iv_text_puts(p->out, "</span></td>");
}

static void table_head(const iv_page *p, const char *class)
{
    iv_text_printf(
        p->out,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table of "
        "latents\"><table class=\"%s\"><thead><tr><th scope=\"col\">latent</th>"
        "<th scope=\"col\">variance_y</th><th scope=\"col\">share</th>"
        "%s<th scope=\"col\">%s</th><th scope=\"col\" class=\"text\">moves most</th></tr>"
        "</thead><tbody>",
        class,
        p->a->unknown == IV_UNKNOWN_NOTHING
            ? "<th scope=\"col\">nats</th><th scope=\"col\">optimality</th>"
              "<th scope=\"col\">stationarity</th><th scope=\"col\">sigma\xC2\xB2</th>"
            : "<th scope=\"col\">length</th><th scope=\"col\">varies</th>"
              "<th scope=\"col\">straight</th><th scope=\"col\">|cosine|</th>",
        p->a->pca.comparable ? "PCA" : "PCA*");
}

static void table_row(const iv_page *p, size_t rank, int decimals, int pca_decimals)
{
    const iv_latent_report *l = &p->a->latents[rank];
    iv_text moves = {0};
    double share = l->share < 0 ? 0 : l->share > 1 ? 1 : l->share;
    double pca = rank < p->a->pca.n ? p->a->pca.eigenvalues[rank] : (double)NAN;
    iv_text_printf(p->out, "<tr%s><th scope=\"row\" data-v=\"%zu\">%zu",
                   l->active ? "" : " class=\"off\"", rank, rank);
    char letter = iv_facts_letter(p->context, &p->facts, rank);
    if (letter != '\0') iv_text_printf(p->out, "<sup>%c</sup>", letter);
    iv_text_puts(p->out, "</th>");
    cell_pm(p, l->variance_y, l->variance_y_se, decimals);
    open_cell(p, l->share);
    iv_put_fixed(p->out, 100 * l->share, 1);
    iv_text_printf(p->out,
                   " %%<span class=\"share\" aria-hidden=\"true\"><i style=\"width:%.1f%%\">"
                   "</i></span></td>",
                   100 * (isnan(share) ? 0 : share));
    if (p->a->unknown == IV_UNKNOWN_NOTHING) {
        cell(p, l->kl, 2);
        cell_pm(p, l->optimality_mean, l->optimality_sd, 2);
        cell_pm(p, l->stationarity_mean, l->stationarity_se, 3);
        cell(p, l->sigma2_mean, 3);
    } else {
        open_cell(p, sqrt(l->column_square));
        iv_put_number(p->out, sqrt(l->column_square), 3);
        iv_text_puts(p->out, "</td>");
        open_cell(p, l->column_cv);
        iv_put_fixed(p->out, 100 * l->column_cv, 0);
        iv_text_puts(p->out, " %</td>");
        cell(p, l->column_straight, 2);
        cell(p, l->rotation, 3);
    }
    cell(p, pca, pca_decimals);
    iv_text_puts(p->out, "<td class=\"text\">");
    iv_facts_moves(p->context, &p->facts, rank, 3, 60, &moves);
    iv_put_escaped(p->out, moves.data != NULL ? moves.data : "");
    if (moves.failed) p->out->failed = true;
    iv_text_free(&moves);
    iv_text_puts(p->out, "</td></tr>");
}

static void table_tail(const iv_page *p)
{
    iv_text_puts(p->out, "</tbody></table></div>");
}

static int decimals_of(const iv_page *p, size_t n, bool pca)
{
    double values[SHOWN_ROWS];
    for (size_t j = 0; j < n; j++) {
        values[j] = !pca              ? p->a->latents[j].variance_y
                    : j < p->a->pca.n ? p->a->pca.eigenvalues[j]
                                      : (double)NAN;
    }
    return iv_decimals(values, n, 4, 6);
}

void iv_html_latents(const iv_page *p)
{
    size_t shown = 0;
    bool groups = false;
    while (shown < p->a->n && shown < SHOWN_ROWS && p->a->latents[shown].active) {
        groups = groups || iv_facts_letter(p->context, &p->facts, shown) != '\0';
        shown++;
    }
    int decimals = decimals_of(p, shown, false), pca_decimals = decimals_of(p, shown, true);
    if (shown > 0) {
        table_head(p, "sort full");
        for (size_t j = 0; j < shown; j++) table_row(p, j, decimals, pca_decimals);
        table_tail(p);
    }
    if (shown < p->a->n) {
        iv_text_printf(p->out, "<details><summary>%zu more latents%s</summary>", p->a->n - shown,
                       shown == p->a->active ? ", none of them active" : "");
        table_head(p, "full");
        for (size_t j = shown; j < p->a->n && j < shown + 256; j++) {
            table_row(p, j, decimals, pca_decimals);
        }
        table_tail(p);
        iv_text_puts(p->out, "</details>");
    }
    iv_text_puts(p->out,
                 "<p class=\"key\">variance_y: variance along the latent, the analogue of a "
                 "PCA eigenvalue, in ");
    iv_put_escaped(p->out, p->a->unit != NULL ? p->a->unit : "metric units");
    iv_text_puts(p->out,
                 " (\xC2\xB1 standard error). share: of the sum over active latents and the "
                 "residual.");
    iv_text_puts(p->out, p->a->unknown == IV_UNKNOWN_NOTHING
                             ? " optimality and stationarity: 1 at the optimum (\xC2\xB1 SD over "
                               "rows, \xC2\xB1 standard error)."
                             : " length: of the latent's column of the Jacobian (root mean "
                               "square); varies: its SD over the rows by its mean; straight: the "
                               "part of the column that is the same for all rows; |cosine|: mean "
                               "of the worst pair.");
    if (p->facts.image) {
        iv_text_puts(p->out,
                     " moves most: row,column, counted from 0, where brightness rises (+) and "
                     "falls (-) most.");
    } else {
        iv_text_puts(p->out, " moves most: + rises, - falls, ~ both ways over the data.");
    }
    if (groups) {
        iv_text_puts(p->out, " Latents with the same letter have nearly equal variances or oblique "
                             "axes and may rotate into each other: read them as one group.");
    }
    if (!p->a->pca.comparable && p->a->pca.n > 0) {
        iv_text_puts(p->out, " * plain PCA of the inputs: its scale cannot be compared with "
                             "variance_y.");
    }
    iv_text_puts(p->out, "</p>");
}

static void profile(const iv_page *p, size_t rank)
{
    const iv_latent_report *l = &p->a->latents[rank];
    char key[48], title[48];
    iv_text alt = {0}, moves = {0}, svg = {0}, csv = {0};
    snprintf(key, sizeof key, "profile-%zu", rank);
    snprintf(title, sizeof title, "Latent %zu: features it moves", rank);
    iv_facts_moves(p->context, &p->facts, rank, 3, 90, &moves);
    iv_text_puts(&alt, "Moves most: ");
    iv_text_puts(&alt, moves.data != NULL ? moves.data : "nothing");
    iv_canvas canvas = {
        .width = 350, .key = key, .title = title, .alt = alt.data != NULL ? alt.data : ""};
    iv_text_printf(p->out, "<figure><h3>Latent %zu <span>\xC2\xB7 ", rank);
    iv_put_fixed(p->out, 100 * l->share, 1);
    iv_text_puts(p->out, " % of importance</span></h3><div class=\"draw\">");
    iv_draw_profile(p->context, &p->facts, rank, &canvas, p->out);
    iv_text_puts(p->out, "</div><figcaption>");
    iv_put_escaped(p->out, canvas.alt);
    iv_text_puts(p->out, ".</figcaption><p class=\"get\">");
    canvas.standalone = true;
    canvas.width = 480;
    iv_draw_profile(p->context, &p->facts, rank, &canvas, &svg);
    iv_profile_csv(p->context, &p->facts, rank, &csv);
    snprintf(key, sizeof key, "profile-%zu.svg", rank);
    iv_html_download(p, key, "image/svg+xml", &svg, "SVG", title);
    snprintf(key, sizeof key, "profile-%zu.csv", rank);
    iv_html_download(p, key, "text/csv", &csv, "CSV", title);
    iv_text_puts(p->out, "</p></figure>");
    iv_text_free(&alt);
    iv_text_free(&moves);
    iv_text_free(&svg);
    iv_text_free(&csv);
}

void iv_html_profiles(const iv_page *p)
{
    iv_text_puts(p->out, "<div class=\"profiles\">");
    for (size_t j = 0, shown = 0; j < p->a->n && shown < SHOWN_PROFILES; j++) {
        if (!p->a->latents[j].active || p->a->latents[j].n_top == 0) continue;
        profile(p, j);
        shown++;
    }
    iv_text_puts(p->out, "</div>");
    if (p->a->active > SHOWN_PROFILES) {
        iv_text_printf(p->out,
                       "<p class=\"key\">The %d strongest of %zu active latents are "
                       "shown.</p>",
                       SHOWN_PROFILES, p->a->active);
    }
}
