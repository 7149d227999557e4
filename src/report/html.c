/* The report as one self-contained page. */
#include "report/html.h"
#include "report/noise.h"

#include "report/image.h"
#include "report/labels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void iv_html_download(const iv_page *p, const char *file, const char *type, const iv_text *content,
                      const char *label, const char *what)
{
    if (content->failed) p->out->failed = true;
    if (content->data == NULL) return;
    iv_text_printf(p->out, "<a download=\"%s\" href=\"data:%s;base64,", file, type);
    iv_put_base64(p->out, (const unsigned char *)content->data, content->length);
    iv_text_printf(p->out, "\" aria-label=\"%s as %s\">%s</a>", what, label, label);
}

void iv_html_chart(const iv_page *p, const iv_chart_kind *chart, double width, const char *class)
{
    iv_text says = {0}, svg = {0}, csv = {0};
    char key[64];
    if (!chart->exists(p->context, &p->facts)) return;
    iv_text_printf(p->out, "<figure class=\"chart %s\"><h3>%s</h3><div class=\"draw wide\">", class,
                   chart->title);
    snprintf(key, sizeof key, "w-%s", chart->id);
    iv_chart_draw(chart, p->context, &p->facts, width, false, key, p->out);
    iv_text_puts(p->out, "</div><div class=\"draw narrow\">");
    snprintf(key, sizeof key, "n-%s", chart->id);
    iv_chart_draw(chart, p->context, &p->facts, 350, false, key, p->out);
    iv_text_puts(p->out, "</div><div class=\"says\"><figcaption>");
    chart->says(p->context, &p->facts, &says);
    if (says.failed) p->out->failed = true;
    iv_put_escaped(p->out, says.data != NULL ? says.data : "");
    iv_text_puts(p->out, "</figcaption><p class=\"get\">");
    iv_chart_standalone(chart, p->context, &p->facts, &svg);
    chart->csv(p->context, &p->facts, &csv);
    snprintf(key, sizeof key, "%s.svg", chart->id);
    iv_html_download(p, key, "image/svg+xml", &svg, "SVG", chart->title);
    snprintf(key, sizeof key, "%s.csv", chart->id);
    iv_html_download(p, key, "text/csv", &csv, "CSV", chart->title);
    iv_text_puts(p->out, "</p></div></figure>");
    iv_text_free(&says);
    iv_text_free(&svg);
    iv_text_free(&csv);
}

/* ---- top of the page ---- */

static void put_sub(const iv_page *p)
{
    const iv_model *m = p->context->model;
    iv_text_puts(p->out, "<p class=\"sub\">");
    iv_put_count(p->out, p->a->rows);
    if (strcmp(p->a->row_set, "all") != 0) iv_text_printf(p->out, " %s", p->a->row_set);
    iv_text_puts(p->out, " rows, ");
    if (p->facts.image) {
        iv_text_printf(p->out, "%zu\xC3\x97%zu images", p->facts.height, p->facts.width);
    } else {
        iv_put_count(p->out, p->a->d);
        iv_text_puts(p->out, " features");
    }
    iv_text_printf(p->out, "; %zu latents, ", p->a->n);
    if (m->arch != NULL) {
        iv_put_escaped(p->out, m->arch);
        iv_text_puts(p->out, ", ");
    }
    iv_text_puts(p->out, p->facts.loss);
    if (p->a->unknown == IV_UNKNOWN_NOTHING)
        iv_text_printf(p->out, ", beta %.4g, %s objective", p->a->beta,
                       m->objective == IV_OBJECTIVE_DECOMPOSED ? "decomposed" : "conventional");
    if (m->steps > 0) {
        iv_text_puts(p->out, ", ");
        iv_put_count(p->out, m->steps);
        iv_text_puts(p->out, " steps");
    }
    if (p->a->bad_rows > 0) {
        iv_text_puts(p->out, "; left out for missing values: ");
        iv_put_count(p->out, p->a->bad_rows);
        iv_text_puts(p->out, " rows");
    }
    iv_text_puts(p->out, "</p>");
}

static void put_header(const iv_page *p)
{
    const char *source = p->context->data->source;
    iv_text verdict = {0};
    iv_mood mood = iv_facts_verdict(p->context, &p->facts, &verdict);
    iv_text_puts(p->out, "<header><p class=\"kicker\"><span><b>isovae</b> report on ");
    iv_put_escaped(p->out, source != NULL ? iv_facts_base(source) : "data in memory");
    iv_text_printf(p->out,
                   "</span><button id=\"theme\" type=\"button\" hidden>Theme</button>"
                   "</p><div class=\"mood m%d\"><h1>",
                   (int)mood);
    /* "+-" is for terminals. */
    char *rest = verdict.data, *mark;
    while (rest != NULL && (mark = strstr(rest, "+-")) != NULL) {
        *mark = '\0';
        iv_put_escaped(p->out, rest);
        iv_text_puts(p->out, "\xC2\xB1");
        rest = mark + 2;
    }
    iv_put_escaped(p->out, rest != NULL ? rest : "");
    if (verdict.failed) p->out->failed = true;
    iv_text_free(&verdict);
    iv_text_puts(p->out, "</h1>");
    put_sub(p);
    iv_text_puts(p->out, "</div></header>");
}

/* What an audit says before all else. */
static void put_audit(const iv_page *p)
{
    const iv_audit *audit = p->context->audit;
    iv_text check = {0}, beta = {0};
    if (audit == NULL) return;
    bool whole = p->a->unknown == IV_UNKNOWN_NOTHING;
    iv_facts_check(p->context, &check);
    if (whole)
        iv_facts_beta(p->context, &beta);
    else
        iv_facts_jacobian(p->context, &beta);
    iv_text_puts(p->out, "<p class=\"key\"><b>Check.</b> ");
    iv_put_escaped(p->out, check.data != NULL ? check.data : "");
    iv_text_printf(p->out, "</p><p class=\"key\"><b>%s.</b> ", whole ? "beta" : "Jacobian");
    iv_put_escaped(p->out, beta.data != NULL ? beta.data : "");
    iv_text_puts(p->out, "</p>");
    for (size_t i = 0; i < audit->n_notes; i++) {
        iv_text_puts(p->out, "<p class=\"key\"><b>Read.</b> ");
        iv_put_escaped(p->out, audit->notes[i]);
        iv_text_puts(p->out, "</p>");
    }
    if (check.failed || beta.failed) p->out->failed = true;
    iv_text_free(&check);
    iv_text_free(&beta);
}

static void card(const iv_page *p, const char *name, iv_text *value, iv_text *note)
{
    iv_text_printf(p->out, "<div><dt>%s</dt><dd><div class=\"big\">", name);
    iv_text_puts(p->out, value->data != NULL ? value->data : "-");
    iv_text_puts(p->out, "</div><div class=\"note\">");
    iv_text_puts(p->out, note->data != NULL ? note->data : "");
    iv_text_puts(p->out, "</div></dd></div>");
    if (value->failed || note->failed) p->out->failed = true;
    iv_text_free(value);
    iv_text_free(note);
}

static void picture_card(const iv_page *p)
{
    const iv_image_quality *q = &p->a->image_quality;
    iv_text v = {0}, n = {0};
    iv_put_fixed(&v, q->psnr_db, 2);
    iv_text_puts(&v, "<i> dB</i>");
    iv_text_puts(&n, "PSNR of Dec(mu)");
    if (!isnan(q->ssim)) {
        iv_text_puts(&n, "; SSIM ");
        iv_put_fixed(&n, q->ssim, 4);
    }
    if (!isnan(q->ms_ssim)) {
        iv_text_printf(&n, "; MS-SSIM (%zu scales) ", q->scales);
        iv_put_fixed(&n, q->ms_ssim, 4);
    }
    card(p, "Pictures", &v, &n);
}

/* Of parts of a model: what rests on the decoder's Jacobian alone. */
static void put_partial_cards(const iv_page *p)
{
    iv_text v = {0}, n = {0};
    iv_text_puts(p->out, "<dl class=\"cards\">");
    iv_text_printf(&v, "%zu of %zu", p->a->active, p->a->n);
    iv_text_puts(&n, "move the output: importance above 0.001 of the largest");
    card(p, "Active latents", &v, &n);
    iv_put_number(&v, p->a->active > 0 ? p->a->jacobian.spectrum[0] : (double)NAN, 3);
    iv_text_puts(&n, "largest of the Jacobian's spectrum");
    if (p->a->pca.n > 0 && p->a->pca.comparable) {
        iv_text_puts(&n, "; of PCA ");
        iv_put_number(&n, p->a->pca.eigenvalues[0], 3);
    }
    card(p, "Spectrum", &v, &n);
    iv_put_fixed(&v, p->a->jacobian.straight, 2);
    iv_text_puts(&n, "1 for a linear decoder; lengths of columns vary by ");
    iv_put_fixed(&n, 100 * p->a->jacobian.cv, 0);
    iv_text_puts(&n, " %");
    card(p, "Straightness", &v, &n);
    iv_put_fixed(&v, p->a->orthogonality.mean_abs_cosine, 3);
    iv_text_puts(&n, "mean |cosine| of columns, largest ");
    iv_put_fixed(&n, p->a->orthogonality.max_abs_cosine, 3);
    card(p, "Angles", &v, &n);
    if (p->a->unknown == IV_UNKNOWN_WIDTH) {
        iv_put_number(&v, p->a->distortion.transform, 3);
        iv_text_puts(&n, "of Dec(mu) a row");
        card(p, "Reconstruction", &v, &n);
    }
    if (p->a->image_quality.rows > 0) picture_card(p);
    iv_text_puts(p->out, "</dl>");
}

static void put_cards(const iv_page *p)
{
    iv_text v = {0}, n = {0};
    if (p->a->unknown != IV_UNKNOWN_NOTHING) {
        put_partial_cards(p);
        return;
    }
    iv_text_puts(p->out, "<dl class=\"cards\">");
    iv_text_printf(&v, "%zu of %zu", p->a->active, p->a->n);
    if (p->a->pca.comparable) {
        iv_text_printf(&n, "PCA predicts %zu", p->a->pca.active_predicted);
    } else {
        iv_text_puts(&n, "KL above 0.05 nats");
    }
    card(p, "Active latents", &v, &n);
    iv_put_fixed(&v, 100 * p->facts.share, 1);
    iv_text_puts(&v, " %");
    iv_text_puts(&n, "held by them; residual ");
    iv_put_number(&n, p->a->distortion.residual, 3);
    card(p, "Importance", &v, &n);
    iv_put_fixed(&v, p->facts.optimality, 2);
    iv_text_puts(&v, "<i> \xC2\xB1 ");
    iv_put_fixed(&v, p->facts.optimality_sd, 2);
    iv_text_puts(&v, "</i>");
    iv_text_puts(&n, "1 at the optimum; stationarity ");
    iv_put_fixed(&n, p->facts.stationarity, 3);
    card(p, "Optimality", &v, &n);
    iv_put_fixed(&v, p->a->density.mean, 2);
    iv_text_puts(&n, p->a->density.absolute ? "nats a row, mean; higher = more probable"
                                            : "a row, mean; ranks only, higher = more probable");
    card(p, p->a->density.absolute ? "Log density" : "Score", &v, &n);
    iv_put_fixed(&v, p->a->rate_nats, 2);
    iv_text_puts(&n, "nats a row");
    if (!isnan(p->a->elbo_nats)) {
        iv_text_puts(&n, "; elbo ");
        iv_put_fixed(&n, p->a->elbo_nats, 2);
        iv_text_puts(&n, " \xC2\xB1 ");
        iv_put_fixed(&n, p->a->elbo_se, 2);
    }
    card(p, "Rate", &v, &n);
    iv_put_fixed(&v, p->a->validation_gap_nats, 2);
    iv_text_puts(&n, isnan(p->a->validation_gap_nats) ? "no training bound to compare with"
                                                      : "nats a row, training minus these");
    card(p, "Validation gap", &v, &n);
    if (p->a->image_quality.rows > 0) picture_card(p);
    iv_text_puts(p->out, "</dl>");
}

static void put_warnings(const iv_page *p)
{
    if (p->a->n_warnings == 0) {
        iv_text_puts(p->out, "<p class=\"calm\">No warnings.</p>");
        return;
    }
    iv_text_puts(p->out, "<ul class=\"warn\" aria-label=\"Warnings and notes\">");
    for (size_t i = 0; i < p->a->n_warnings; i++) {
        iv_text_puts(p->out, p->a->warnings[i].note ? "<li class=\"note\"><b>Note.</b> "
                                                    : "<li><b>Warning.</b> ");
        iv_put_escaped(p->out, p->a->warnings[i].text);
        iv_text_puts(p->out, "</li>");
    }
    iv_text_puts(p->out, "</ul>");
}

/* ---- sections ---- */

static void open_section(const iv_page *p, const char *id, const char *title, const char *lead)
{
    iv_text_printf(p->out, "<section id=\"%s\"><h2>%s</h2><p class=\"lead\">%s</p>", id, title,
                   lead);
}

static void chart(const iv_page *p, const char *id, double width, const char *class)
{
    const iv_chart_kind *kind = iv_chart_find(id);
    if (kind != NULL) iv_html_chart(p, kind, width, class);
}

static void number_row(const iv_page *p, const char *name, double measured, double predicted,
                       int digits, const char *meaning)
{
    iv_text_printf(p->out, "<tr><th scope=\"row\" class=\"text\">%s</th><td>", name);
    iv_put_number(p->out, measured, digits);
    iv_text_puts(p->out, "</td><td>");
    if (!isnan(predicted)) iv_put_number(p->out, predicted, digits);
    iv_text_printf(p->out, "</td><td class=\"text\">%s</td></tr>", meaning);
}

static void put_distortion(const iv_page *p)
{
    double none = (double)NAN;
    iv_text_puts(p->out, "<figure><h3>Distortion</h3><div class=\"scroll\" tabindex=\"0\" role="
                         "\"region\" aria-label=\"Distortion\"><table><thead><tr><th scope=\"col\" "
                         "class=\"text\">part</th><th scope=\"col\">measured</th><th scope=\"col\">"
                         "predicted</th><th scope=\"col\" class=\"text\">meaning</th></tr></thead>"
                         "<tbody>");
    number_row(p, "total", p->a->distortion.total, none, 4, "of a decoded noisy code");
    number_row(p, "transform", p->a->distortion.transform, none, 4,
               "of the decoded mean code: the reconstruction");
    number_row(p, "coding", p->a->distortion.coding, p->a->distortion.coding_predicted, 4,
               "added by the code's noise; predicted beta/2 \xCE\xA3(1 - sigma\xC2\xB2)");
    number_row(p, "residual", p->a->distortion.residual,
               !p->a->pca.comparable                           ? none
               : p->a->pca.residual < 1e-9 * p->facts.variance ? 0 /* rounding */
                                                               : p->a->pca.residual,
               4,
               p->a->pca.comparable ? "what no latent holds; beside it what PCA leaves"
                                    : "what no latent holds");
    double ratio = p->a->distortion.coding / p->a->distortion.coding_predicted;
    iv_text_puts(p->out, "</tbody></table></div><figcaption>Measured coding loss is ");
    iv_put_fixed(p->out, ratio, 3);
    iv_text_puts(p->out, " times the prediction; 1 means that rate and distortion trade as theory "
                         "says.</figcaption></figure>");
}

static void put_truth(const iv_page *p)
{
    if (p->a->truth.known && p->a->truth.n_factors > 0) {
        iv_text_puts(p->out,
                     "<figure><h3>Factors</h3><div class=\"scroll\" tabindex=\"0\" role="
                     "\"region\" aria-label=\"True factors\"><table><thead><tr><th scope="
                     "\"col\" class=\"text\">factor</th><th scope=\"col\">true variance</th>"
                     "<th scope=\"col\">latent</th><th scope=\"col\">variance_y / true</th>"
                     "<th scope=\"col\">rank correlation</th></tr></thead><tbody>");
        int decimals = iv_decimals(p->a->truth.variances, p->a->truth.n_factors, 4, 6);
        for (size_t i = 0; i < p->a->truth.n_factors; i++) {
            iv_text_puts(p->out, "<tr><th scope=\"row\" class=\"text\">");
            iv_put_escaped(p->out, p->a->truth.names != NULL ? p->a->truth.names[i] : "");
            iv_text_puts(p->out, "</th><td>");
            iv_put_fixed(p->out, p->a->truth.variances[i], decimals);
            iv_text_printf(p->out, "</td><td>%zu</td><td>", p->a->truth.latent[i]);
            iv_put_fixed(p->out, p->a->truth.ratio[i], 3);
            iv_text_puts(p->out, "</td><td>");
            iv_put_fixed(p->out, p->a->truth.spearman[i], 4);
            iv_text_puts(p->out, "</td></tr>");
        }
        iv_text_puts(p->out, "</tbody></table></div><figcaption>Each true factor beside the latent "
                             "that follows it; a ratio of 1 means that the model measures its "
                             "variance right.</figcaption></figure>");
    }
    if (!p->a->truth.density_known) return;
    iv_text_puts(p->out,
                 "<figure><h3>Density estimates</h3><div class=\"scroll\" tabindex=\"0\" role="
                 "\"region\" aria-label=\"Density estimates\"><table><thead><tr><th scope="
                 "\"col\" class=\"text\">estimate</th><th scope=\"col\">r</th><th scope="
                 "\"col\">r, log</th><th scope=\"col\">bias, nats</th><th scope=\"col\">SD, "
                 "nats</th></tr></thead><tbody>");
    for (int e = 0; e < IV_ESTIMATES; e++) {
        const iv_density_truth *d = &p->a->truth.density[e];
        iv_text_printf(p->out, "<tr><th scope=\"row\" class=\"text\">%s</th><td>",
                       iv_estimate_name((iv_estimate)e));
        iv_put_fixed(p->out, d->r, 4);
        iv_text_puts(p->out, "</td><td>");
        iv_put_fixed(p->out, d->r_log, 4);
        iv_text_puts(p->out, "</td><td>");
        iv_put_fixed(p->out, d->bias_nats, 3);
        iv_text_puts(p->out, "</td><td>");
        iv_put_fixed(p->out, d->sd_nats, 3);
        iv_text_puts(p->out, "</td></tr>");
    }
    iv_text_puts(p->out,
                 "</tbody></table></div><figcaption>How well each estimate follows the true "
                 "density: r is the correlation of the densities, then of their logarithms."
                 "</figcaption></figure>");
}

static void put_iwae(const iv_page *p)
{
    if (p->a->density.iwae.k == 0) return;
    iv_text_puts(p->out, "<p class=\"key\">Check: against the importance-weighted estimate with ");
    iv_text_printf(p->out, "%zu draws on ", p->a->density.iwae.k);
    iv_put_count(p->out, p->a->density.iwae.rows);
    iv_text_puts(p->out, " rows the estimate differs by ");
    iv_put_fixed(p->out, p->a->density.iwae.mean_difference, 3);
    iv_text_puts(p->out, " \xC2\xB1 ");
    iv_put_fixed(p->out, p->a->density.iwae.sd, 3);
    iv_text_puts(p->out, " nats (mean, SD over rows); effective sample size ");
    iv_put_number(p->out, p->a->density.iwae.ess, 3);
    iv_text_puts(p->out, ".</p>");
}

static void put_footer(const iv_page *p)
{
    iv_text_puts(p->out, "<footer><dl><dt>Version</dt><dd>isovae " ISOVAE_VERSION "</dd>");
    if (p->context->command != NULL) {
        iv_text_puts(p->out, "<dt>Command</dt><dd><code>");
        iv_put_escaped(p->out, p->context->command);
        iv_text_puts(p->out, "</code></dd>");
    }
    iv_text_puts(p->out, "<dt>Data</dt><dd>");
    iv_put_escaped(p->out, p->context->data->source != NULL ? p->context->data->source : "memory");
    iv_text_printf(p->out, " (hash <code>%016llx</code>)</dd>",
                   (unsigned long long)p->context->data->hash);
    iv_text_printf(p->out,
                   "<dt>Model</dt><dd>hash <code>%016llx</code></dd><dt>Seed</dt><dd>%llu</dd>"
                   "</dl>",
                   (unsigned long long)p->context->model_hash,
                   (unsigned long long)p->context->seed);
    iv_text_puts(p->out, "<p>Information is in nats; importance and distortion in ");
    iv_put_escaped(p->out, p->a->unit != NULL ? p->a->unit : "metric units");
    iv_text_puts(p->out, ".</p></footer>");
}

static isovae_status put_body(const iv_page *p, isovae_error *err)
{
    iv_text_puts(p->out,
                 "<main id=\"main\"><section id=\"importance\"><h2>Importance</h2><p class="
                 "\"lead\">Read it as an eigenvalue plot: how much of the data varies along "
                 "each latent.</p>");
    chart(p, "importance", 680, "beside");
    iv_text_puts(p->out, "</section>");
    open_section(p, "latents", "Latents", "Every latent in order of its variance.");
    iv_html_latents(p);
    iv_text_puts(p->out, "</section>");
    if (p->facts.image) {
        open_section(p, "images", "Images",
                     "What the model keeps of an image, and what each latent "
                     "does to it.");
        IV_TRY(iv_html_images(p, err));
        iv_text_puts(p->out, "</section>");
    } else if (p->a->active > 0) {
        open_section(
            p, "features", "What each latent moves",
            "Change of each feature, in its own units, when the latent moves by one standard "
            "deviation of y; pale bars go both ways over the data.");
        iv_html_profiles(p);
        iv_text_puts(p->out, "</section>");
    }
    if (p->a->truth.known || p->a->truth.density_known) {
        open_section(p, "truth", "Against the known truth",
                     "These data come with their truth: the "
                     "model is held against it.");
        iv_text_puts(p->out, "<div class=\"pair\">");
        put_truth(p);
        iv_text_puts(p->out, "</div></section>");
    }
    iv_labels_html(p);
    if (p->a->unknown != IV_UNKNOWN_NOTHING) {
        open_section(p, "angles", "Angles",
                     "Directions in which the latents move the data, from the decoder's Jacobian.");
        chart(p, "cosines", 540, "");
        iv_text_puts(p->out, "</section></main>");
        return ISOVAE_OK;
    }
    open_section(p, "optimum", "Is the model at its optimum?",
                 "At the optimum every latent meets the same equations, whatever the data.");
    iv_text_puts(p->out, "<div class=\"pair\">");
    chart(p, "optimality", 540, "");
    chart(p, "cosines", 540, "");
    chart(p, "rate", 540, "");
    put_distortion(p);
    iv_text_puts(p->out, "</div></section>");
    if (p->a->noise.n > 0) {
        open_section(p, "noise", "Noise of each feature",
                     "What the model takes for noise, learned with the network.");
        iv_noise_html(p->context, p->out);
        iv_text_puts(p->out, "</section>");
    }
    open_section(p, "density", p->a->density.absolute ? "Density" : "Score",
                 p->a->density.absolute ? "A log density for every row, in the units of the data."
                                        : "A score for every row that ranks them.");
    iv_text_puts(p->out, "<div class=\"pair\">");
    chart(p, "density", 540, "");
    chart(p, "density-truth", 540, "");
    iv_text_puts(p->out, "</div>");
    put_iwae(p);
    iv_text_puts(p->out, "</section>");
    if (p->context->model->n_history > 1) {
        open_section(p, "training", "Training", "How the model came here.");
        chart(p, "training", 680, "beside");
        iv_text_puts(p->out, "</section>");
    }
    iv_text_puts(p->out, "</main>");
    return ISOVAE_OK;
}

static void put_nav(const iv_page *p)
{
    iv_text_puts(p->out, "<nav aria-label=\"Sections\"><a href=\"#importance\">Importance</a>"
                         "<a href=\"#latents\">Latents</a>");
    if (p->facts.image) {
        iv_text_puts(p->out, "<a href=\"#images\">Images</a>");
    } else if (p->a->active > 0) {
        iv_text_puts(p->out, "<a href=\"#features\">Features</a>");
    }
    if (p->a->truth.known || p->a->truth.density_known) {
        iv_text_puts(p->out, "<a href=\"#truth\">Truth</a>");
    }
    if (p->a->labels.of != NULL) iv_text_puts(p->out, "<a href=\"#labels\">Labels</a>");
    if (p->a->unknown != IV_UNKNOWN_NOTHING) {
        iv_text_puts(p->out, "<a href=\"#angles\">Angles</a></nav>");
        return;
    }
    iv_text_puts(p->out, "<a href=\"#optimum\">Optimum</a>");
    if (p->a->noise.n > 0) iv_text_puts(p->out, "<a href=\"#noise\">Noise</a>");
    iv_text_printf(p->out, "<a href=\"#density\">%s</a>",
                   p->a->density.absolute ? "Density" : "Score");
    if (p->context->model->n_history > 1)
        iv_text_puts(p->out, "<a href=\"#training\">Training</a>");
    iv_text_puts(p->out, "</nav>");
}

isovae_status iv_report_html(const iv_report_context *context, iv_text *out, isovae_error *err)
{
    iv_page page = {.context = context, .a = context->analysis, .out = out};
    const char *source = context->data->source;
    iv_facts_of(context, &page.facts);
    iv_text_puts(out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name="
                      "\"viewport\" content=\"width=device-width,initial-scale=1\"><title>isovae "
                      "report: ");
    iv_put_escaped(out, source != NULL ? iv_facts_base(source) : "data in memory");
    iv_text_puts(out, "</title><style>");
    iv_html_style(out);
    iv_text_puts(out, "</style></head><body><a class=\"skip\" href=\"#main\">Skip to the report</a>"
                      "<div class=\"page\">");
    put_header(&page);
    put_audit(&page);
    put_cards(&page);
    put_warnings(&page);
    put_nav(&page);
    IV_TRY(put_body(&page, err));
    put_footer(&page);
    iv_text_puts(out, "</div><script>");
    iv_html_script(out);
    iv_text_puts(out, "</script></body></html>\n");
    return iv_text_check(out, err);
}
