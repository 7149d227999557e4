/* The text report: a verdict, ten lines of figures, a table of latents, warnings. */
#include "report/facts.h"
#include "report/labels.h"
#include "report/noise.h"

#include <math.h>
#include <string.h>

enum { SHOWN_LATENTS = 10, LABEL = 14 };

typedef struct page {
    const iv_report_context *context;
    const iv_analysis *a;
    iv_facts facts;
    size_t width;
    iv_text *out;
} page;

static void style(const page *p, const char *code)
{
    if (p->context->color) iv_text_printf(p->out, "\x1b[%sm", code);
}

/* `text` broken at blanks; lines after the first are indented by `indent`. The first one starts at
 * column `column`. */
static void put_wrapped(const page *p, const char *text, size_t column, size_t indent)
{
    const char *word = text;
    bool first = true;
    while (*word != '\0') {
        size_t length = strcspn(word, " "), wide = iv_code_points(word, length);
        if (!first && column + 1 + wide > p->width) {
            iv_text_printf(p->out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (!first) {
            iv_text_puts(p->out, " ");
            column++;
        }
        iv_text_append(p->out, word, length);
        column += wide;
        first = false;
        word += length;
        while (*word == ' ') word++;
    }
    iv_text_puts(p->out, "\n");
}

/* A labelled line; takes the text and frees it. */
static void line(const page *p, const char *label, iv_text *value)
{
    style(p, "2");
    iv_text_printf(p->out, "  %-*s", LABEL - 2, label);
    style(p, "0");
    if (value->failed) p->out->failed = true;
    put_wrapped(p, value->data != NULL ? value->data : "", LABEL, LABEL);
    iv_text_free(value);
}

/* First of all whether the networks see the data as they should. */
static void line_check(const page *p)
{
    iv_text t = {0};
    iv_facts_check(p->context, &t);
    line(p, "check", &t);
}

static void line_beta(const page *p)
{
    iv_text t = {0};
    iv_facts_beta(p->context, &t);
    line(p, "beta", &t);
}

static void line_jacobian(const page *p)
{
    iv_text t = {0};
    iv_facts_jacobian(p->context, &t);
    line(p, "Jacobian", &t);
}

static void line_rows(const page *p)
{
    iv_text t = {0};
    const char *source = p->context->data->source;
    if (p->a->unknown == IV_UNKNOWN_ENCODER) {
        iv_text_puts(&t, source != NULL ? source : "draws");
    } else {
        iv_put_count(&t, p->a->rows);
        if (strcmp(p->a->row_set, "all") != 0) iv_text_printf(&t, " %s", p->a->row_set);
        iv_text_puts(&t, " rows of ");
        iv_put_clean(&t, source != NULL ? iv_facts_base(source) : "memory", 40, true);
    }
    if (p->facts.image) {
        iv_text_printf(&t, ", %zux%zu images", p->facts.height, p->facts.width);
    } else {
        iv_text_puts(&t, ", ");
        iv_put_count(&t, p->a->d);
        iv_text_puts(&t, " features");
    }
    if (p->a->bad_rows > 0) {
        iv_text_puts(&t, "; left out for missing values: ");
        iv_put_count(&t, p->a->bad_rows);
    }
    line(p, "rows", &t);
}

static void line_model(const page *p)
{
    iv_text t = {0};
    const iv_model *m = p->context->model;
    iv_text_printf(&t, "%zu latents, ", p->a->n);
    if (m->arch != NULL) {
        iv_put_clean(&t, m->arch, 24, true);
        iv_text_puts(&t, ", ");
    }
    iv_text_puts(&t, p->facts.loss);
    if (p->a->unknown == IV_UNKNOWN_NOTHING)
        iv_text_printf(&t, ", beta %.4g, %s", p->a->beta,
                       m->objective == IV_OBJECTIVE_DECOMPOSED ? "decomposed" : "conventional");
    if (m->steps > 0) {
        iv_text_puts(&t, ", ");
        iv_put_count(&t, m->steps);
        iv_text_puts(&t, " steps");
    }
    line(p, "model", &t);
}

static void line_importance(const page *p)
{
    iv_text t = {0};
    if (p->a->active == 0) {
        iv_text_puts(&t, "no active latent");
    } else {
        iv_text_printf(&t, p->a->active == 1 ? "1 latent holds " : "%zu latents hold ",
                       p->a->active);
        iv_put_fixed(&t, 100 * p->facts.share, 1);
        iv_text_puts(&t, " %");
        if (p->a->unknown != IV_UNKNOWN_ENCODER) {
            iv_text_puts(&t, ", residual ");
            iv_put_number(&t, p->a->distortion.residual, 3);
        }
        if (p->a->pca.comparable && p->a->unknown != IV_UNKNOWN_ENCODER) {
            iv_text_printf(&t, " (PCA with %zu: ", p->a->active);
            /* Rounding is not variance. */
            double left = p->a->pca.residual;
            iv_put_number(&t, left < 1e-9 * p->facts.variance ? 0 : left, 3);
            iv_text_puts(&t, ")");
        }
    }
    line(p, "importance", &t);
}

static void line_optimality(const page *p)
{
    iv_text t = {0};
    iv_put_fixed(&t, p->facts.optimality, 2);
    iv_text_puts(&t, " +- ");
    iv_put_fixed(&t, p->facts.optimality_sd, 2);
    iv_text_puts(&t, "; stationarity ");
    iv_put_fixed(&t, p->facts.stationarity, 3);
    iv_text_puts(&t, " (1 = optimal)");
    if (p->a->active > 1) {
        iv_text_puts(&t, "; |cosine| ");
        iv_put_fixed(&t, p->a->orthogonality.mean_abs_cosine, 3);
    }
    line(p, "optimality", &t);
}

static void line_distortion(const page *p)
{
    iv_text t = {0};
    iv_put_number(&t, p->a->distortion.total, 3);
    iv_text_puts(&t, ": transform ");
    iv_put_number(&t, p->a->distortion.transform, 3);
    iv_text_puts(&t, ", coding ");
    iv_put_number(&t, p->a->distortion.coding, 4);
    iv_text_puts(&t, " (predicted ");
    iv_put_number(&t, p->a->distortion.coding_predicted, 4);
    iv_text_puts(&t, ")");
    line(p, "distortion", &t);
}

static void line_rate(const page *p)
{
    iv_text t = {0};
    iv_put_fixed(&t, p->a->rate_nats, 2);
    iv_text_puts(&t, " nats a row");
    if (!isnan(p->a->elbo_nats)) {
        iv_text_puts(&t, "; elbo ");
        iv_put_fixed(&t, p->a->elbo_nats, 2);
        iv_text_puts(&t, " +- ");
        iv_put_fixed(&t, p->a->elbo_se, 2);
    }
    if (!isnan(p->a->validation_gap_nats)) {
        iv_text_puts(&t, "; validation gap ");
        iv_put_fixed(&t, p->a->validation_gap_nats, 2);
        iv_text_puts(&t, " nats");
    }
    line(p, "rate", &t);
}

static void line_density(const page *p)
{
    iv_text t = {0};
    const char *name = iv_estimate_name(p->a->density.estimate);
    iv_put_fixed(&t, p->a->density.mean, 2);
    iv_text_puts(&t, " a row, SD ");
    iv_put_fixed(&t, p->a->density.sd, 2);
    if (p->a->density.absolute) {
        iv_text_printf(&t, " nats (%s, %zu dim.; higher = more probable)", name,
                       p->a->density.dimension);
    } else {
        iv_text_printf(&t, " (%s; ranks only: higher = more probable)", name);
    }
    line(p, p->a->density.absolute ? "log density" : "score", &t);
}

/* How the members of an ensemble agree. */
static void line_members(const page *p)
{
    const iv_model *all = p->context->ensemble;
    iv_members_report m;
    iv_text t = {0};
    iv_members_of(all, &m);
    iv_text_printf(&t, "%zu, this is member %zu; active %zu", m.n, p->context->model->member,
                   m.least_active);
    if (m.most_active > m.least_active) iv_text_printf(&t, " to %zu", m.most_active);
    if (isfinite(m.elbo_mean)) {
        iv_text_puts(&t, "; elbo ");
        iv_put_fixed(&t, m.elbo_mean, 2);
        iv_text_puts(&t, ", SD ");
        iv_put_fixed(&t, m.elbo_sd, 2);
        iv_text_puts(&t, m.held_out ? " (each on the rows that it held out)"
                                    : " (on their training rows)");
    }
    line(p, "members", &t);
}

static void line_noise(const page *p)
{
    iv_text t = {0}, tails = {0};
    iv_noise_line(p->context, &t);
    line(p, "noise", &t);
    if (!p->a->noise.tails) return;
    iv_tails_line(p->context, &tails);
    line(p, "tails", &tails);
}

static void line_pictures(const page *p)
{
    iv_text t = {0};
    const iv_image_quality *q = &p->a->image_quality;
    iv_text_puts(&t, "PSNR ");
    iv_put_fixed(&t, q->psnr_db, 2);
    iv_text_puts(&t, " dB");
    if (!isnan(q->ssim)) {
        iv_text_puts(&t, ", SSIM ");
        iv_put_fixed(&t, q->ssim, 4);
    }
    if (!isnan(q->ms_ssim)) {
        iv_text_printf(&t, ", MS-SSIM (%zu scales) ", q->scales);
        iv_put_fixed(&t, q->ms_ssim, 4);
    }
    iv_text_puts(&t, " of Dec(mu)");
    line(p, "pictures", &t);
}

static void line_truth(const page *p)
{
    iv_text t = {0};
    const iv_density_truth *d = &p->a->truth.density[p->a->density.estimate];
    if (p->a->truth.known && p->a->truth.n_factors > 0) {
        iv_text_puts(&t, "variance_y / true");
        for (size_t i = 0; i < p->a->truth.n_factors && i < 6; i++) {
            iv_text_puts(&t, " ");
            iv_put_fixed(&t, p->a->truth.ratio[i], 3);
        }
        if (p->a->truth.n_factors > 6) iv_text_puts(&t, " ...");
    }
    if (p->a->truth.density_known) {
        if (t.length > 0) iv_text_puts(&t, "; ");
        iv_text_puts(&t, "density r ");
        iv_put_fixed(&t, d->r, 4);
        iv_text_puts(&t, ", log ");
        iv_put_fixed(&t, d->r_log, 4);
    }
    line(p, "truth", &t);
}

/* Right-aligned in `width` columns; takes the text and frees it. */
static void cell(const page *p, int width, iv_text *value)
{
    if (value->failed) p->out->failed = true;
    iv_text_printf(p->out, "%*s", width, value->data != NULL ? value->data : "");
    iv_text_free(value);
}

static void cell_fixed(const page *p, int width, double value, int decimals)
{
    iv_text t = {0};
    iv_put_fixed(&t, value, decimals);
    cell(p, width, &t);
}

static double pca_beside(const page *p, size_t rank)
{
    return rank < p->a->pca.n ? p->a->pca.eigenvalues[rank] : (double)NAN;
}

/* What stands between share and PCA: nats and optimality, or of parts of a model the column of the
 * Jacobian. */
static void middle_cells(const page *p, const iv_latent_report *l)
{
    if (p->a->unknown == IV_UNKNOWN_NOTHING) {
        cell_fixed(p, 7, l->kl, 2);
        cell_fixed(p, 6, l->optimality_mean, 2);
        iv_text_puts(p->out, " +- ");
        cell_fixed(p, 4, l->optimality_sd, 2);
        return;
    }
    iv_text length = {0};
    iv_put_number(&length, sqrt(l->column_square), 3);
    cell(p, 8, &length);
    cell_fixed(p, 6, 100 * l->column_cv, 0);
    iv_text_puts(p->out, "%");
    cell_fixed(p, 9, l->column_straight, 2);
}

static void table_row(const page *p, size_t rank, int decimals, int pca_decimals)
{
    const iv_latent_report *l = &p->a->latents[rank];
    iv_text moves = {0};
    iv_text_printf(p->out, "%7zu", rank);
    /* Neighbours that can rotate into each other carry the same letter. */
    char letter = iv_facts_letter(p->context, &p->facts, rank);
    iv_text_printf(p->out, "%c", letter != '\0' ? letter : ' ');
    cell_fixed(p, 10, l->variance_y, decimals);
    cell_fixed(p, 7, 100 * l->share, 1);
    iv_text_puts(p->out, "%");
    middle_cells(p, l);
    cell_fixed(p, 9, pca_beside(p, rank), pca_decimals);
    size_t used = p->a->unknown == IV_UNKNOWN_NOTHING ? 58 : 61,
           room = p->width > used + 8 ? p->width - used : 8;
    iv_facts_moves(p->context, &p->facts, rank, 3, room, &moves);
    if (moves.length > 0) iv_text_printf(p->out, "  %s", moves.data);
    if (moves.failed) p->out->failed = true;
    iv_text_free(&moves);
    iv_text_puts(p->out, "\n");
}

static void put_table(const page *p)
{
    double variance[SHOWN_LATENTS], pca[SHOWN_LATENTS];
    size_t shown = 0, hidden_active = 0;
    bool groups = false;
    /* A latent that is off says nothing by itself: those are counted, not listed. */
    while (shown < p->a->n && shown < SHOWN_LATENTS && p->a->latents[shown].active) {
        variance[shown] = p->a->latents[shown].variance_y;
        pca[shown] = pca_beside(p, shown);
        groups = groups || iv_facts_letter(p->context, &p->facts, shown) != '\0';
        shown++;
    }
    for (size_t j = shown; j < p->a->n; j++) hidden_active += p->a->latents[j].active;
    if (shown > 0) {
        int decimals = iv_decimals(variance, shown, 4, 6);
        int pca_decimals = iv_decimals(pca, shown, 4, 6);
        style(p, "1");
        bool whole = p->a->unknown == IV_UNKNOWN_NOTHING;
        iv_text_printf(p->out, "%7s %10s%8s%s%9s  %s\n", "latent", "variance_y", "share",
                       whole ? "   nats  optimality  " : "  length varies straight",
                       p->a->pca.comparable ? "PCA" : "PCA*",
                       p->facts.image ? "at row,col" : "moves most");
        style(p, "0");
        for (size_t j = 0; j < shown; j++) table_row(p, j, decimals, pca_decimals);
    }
    iv_text t = {0};
    if (hidden_active > 0) iv_text_printf(&t, "%zu more active; ", hidden_active);
    size_t off = p->a->n - shown - hidden_active;
    if (off > 0) iv_text_printf(&t, "%zu not active; ", off);
    iv_text_puts(&t, p->a->pca.comparable ? "variance_y and PCA in " : "variance_y in ");
    iv_text_puts(&t, p->a->unit != NULL ? p->a->unit : "metric units");
    if (p->a->unknown == IV_UNKNOWN_ENCODER) {
        bool given = isfinite(p->context->audit->data_variance);
        iv_text_puts(&t, given ? "; PCA of the data" : "; PCA of Dec(z)");
    }
    if (groups) iv_text_puts(&t, "; same letter: may rotate into each other");
    if (!p->a->pca.comparable && p->a->pca.n > 0) {
        iv_text_puts(&t, "; * plain PCA of the inputs, not comparable in scale");
    }
    iv_text_printf(p->out, "  ");
    if (t.failed) p->out->failed = true;
    put_wrapped(p, t.data != NULL ? t.data : "", 2, 2);
    iv_text_free(&t);
}

static void put_warnings(const page *p)
{
    for (size_t i = 0; i < p->a->n_warnings; i++) {
        iv_text t = {0};
        if (i == 0) iv_text_puts(p->out, "\n");
        style(p, p->a->warnings[i].note ? "2" : "1;33");
        iv_text_puts(p->out, p->a->warnings[i].note ? "  - " : "  ! ");
        style(p, "0");
        iv_put_clean(&t, p->a->warnings[i].text, 0, true);
        if (t.failed) p->out->failed = true;
        put_wrapped(p, t.data != NULL ? t.data : "", 4, 4);
        iv_text_free(&t);
    }
}

/* Broken between its two halves where it is too long for one line. */
static void put_verdict(const page *p, iv_text *verdict)
{
    char *text = verdict->data, *half = text != NULL ? strstr(text, "; ") : NULL;
    if (text == NULL) return;
    if (half != NULL && iv_code_points(text, verdict->length) > p->width) {
        iv_text_append(p->out, text, (size_t)(half + 1 - text));
        iv_text_puts(p->out, "\n");
        text = half + 2;
    }
    put_wrapped(p, text, 0, 0);
}

isovae_status iv_report_text(const iv_report_context *context, iv_text *out, isovae_error *err)
{
    page p = {.context = context, .a = context->analysis, .out = out};
    iv_text verdict = {0};
    p.width = context->width == 0 ? 80 : context->width < 60 ? 60 : context->width;
    if (p.width > 120) p.width = 120;
    iv_facts_of(context, &p.facts);
    iv_mood mood = iv_facts_verdict(context, &p.facts, &verdict);
    style(&p, mood == IV_MOOD_GOOD ? "1;32" : mood == IV_MOOD_BAD ? "1;31" : "1;33");
    put_verdict(&p, &verdict);
    style(&p, "0");
    if (verdict.failed) out->failed = true;
    iv_text_free(&verdict);
    iv_text_puts(out, "\n");
    if (context->audit != NULL) line_check(&p);
    line_rows(&p);
    line_model(&p);
    if (p.a->unknown != IV_UNKNOWN_NOTHING) {
        line_importance(&p);
        line_jacobian(&p);
    } else {
        if (context->audit != NULL) line_beta(&p);
        line_importance(&p);
        line_optimality(&p);
        line_distortion(&p);
        line_rate(&p);
        line_density(&p);
    }
    if (context->ensemble != NULL && context->ensemble->n_more > 0) line_members(&p);
    if (p.a->noise.n > 0) line_noise(&p);
    if (p.a->image_quality.rows > 0) line_pictures(&p);
    if (p.a->truth.known || p.a->truth.density_known) line_truth(&p);
    iv_text_puts(out, "\n");
    put_table(&p);
    iv_labels_text(context, p.width, out);
    put_warnings(&p);
    return iv_text_check(out, err);
}
