#include "report/facts.h"

#include <math.h>
#include <string.h>

const char *iv_facts_loss(const iv_model *model)
{
    switch (model->metric.loss) {
    case IV_LOSS_SSE: return "sse";
    case IV_LOSS_WEIGHTED: return "weighted";
    case IV_LOSS_BCE: return "bce";
    case IV_LOSS_SSIM: return "ssim";
    case IV_LOSS_NOISE: return "sse:feature";
    case IV_LOSS_STUDENT: return "student";
    }
    return "sse";
}

static bool one_group(const iv_analysis *a)
{
    int group = -1;
    for (size_t j = 0; j < a->n; j++) {
        const iv_latent_report *l = &a->latents[j];
        if (!l->active) continue;
        if (l->degenerate_group < 0 || (group >= 0 && l->degenerate_group != group)) return false;
        group = l->degenerate_group;
    }
    return group >= 0;
}

void iv_facts_of(const iv_report_context *context, iv_facts *out)
{
    const iv_analysis *a = context->analysis;
    const iv_model *m = context->model;
    double mean = 0, square = 0, stationarity = 0;
    size_t n = 0;
    *out = (iv_facts){
        .loss = iv_facts_loss(m), .variance_y_floor = a->beta / 2, .one_group = one_group(a)};
    for (size_t j = 0; j < a->n; j++) {
        const iv_latent_report *l = &a->latents[j];
        if (l->active) {
            out->share += l->share;
            out->variance += l->variance_y;
        } else if (a->active > 0) {
            continue;
        }
        double sd = isnan(l->optimality_sd) ? 0 : l->optimality_sd;
        mean += l->optimality_mean;
        square += l->optimality_mean * l->optimality_mean + sd * sd;
        stationarity += l->stationarity_mean;
        n++;
    }
    double count = n > 0 ? (double)n : (double)NAN;
    out->optimality = mean / count;
    double variance = square / count - out->optimality * out->optimality;
    out->optimality_sd = variance > 0 ? sqrt(variance) : (isnan(variance) ? (double)NAN : 0);
    out->stationarity = stationarity / count;
    out->pca_smallest = a->pca.n > 0 ? a->pca.eigenvalues[a->pca.n - 1] : (double)NAN;
    out->height = m->height > 0 ? m->height : context->data->height;
    out->width = m->height > 0 ? m->width : context->data->width;
    out->channels = m->height > 0 ? m->channels : context->data->channels;
    if (out->channels == 0) out->channels = 1;
    out->image =
        out->height > 1 && out->width > 1 && out->height * out->width * out->channels == a->d;
}

const iv_warning *iv_facts_warning(const iv_analysis *analysis, const char *code)
{
    for (size_t i = 0; i < analysis->n_warnings; i++) {
        if (strcmp(analysis->warnings[i].code, code) == 0 && !analysis->warnings[i].note)
            return &analysis->warnings[i];
    }
    return NULL;
}

/* "1.00 +- 0.02" */
static void put_optimality(iv_text *out, const iv_facts *f)
{
    iv_text_puts(out, "optimality ");
    iv_put_fixed(out, f->optimality, 2);
    iv_text_puts(out, " +- ");
    iv_put_fixed(out, f->optimality_sd, 2);
}

/* Off 1 by more than this is worth a word; the limit is that of the default training's spread. */
static bool near_one(double value)
{
    return fabs(value - 1) <= 0.05;
}

static void check_draws(const iv_audit *audit, iv_text *out)
{
    if (!isfinite(audit->data_variance)) {
        iv_text_puts(out,
                     "no data were given: nothing to hold Dec(z) against; its total variance ");
        iv_put_number(out, audit->variance, 3);
        return;
    }
    iv_text_puts(out, "the mean of Dec(z) is ");
    iv_put_fixed(out, audit->mean_distance, 2);
    iv_text_puts(out, " SD of the data off theirs; its total variance ");
    iv_put_number(out, audit->variance, 3);
    iv_text_puts(out, ", that of the data ");
    iv_put_number(out, audit->data_variance, 3);
}

void iv_facts_check(const iv_report_context *context, iv_text *out)
{
    const iv_audit *audit = context->audit;
    if (context->analysis->unknown == IV_UNKNOWN_ENCODER) {
        check_draws(audit, out);
        return;
    }
    iv_text_puts(out, "squared error ");
    iv_put_number(out, audit->error, 3);
    iv_text_puts(out, " a row of Dec(mu); of the mean of the data ");
    iv_put_number(out, audit->mean_error, 3);
    iv_text_printf(out, ", of PCA with %zu ", audit->pca_components);
    iv_put_number(out, audit->pca_error, 3);
}

void iv_facts_jacobian(const iv_report_context *context, iv_text *out)
{
    enum { SHOWN = 6 };
    const iv_analysis *a = context->analysis;
    size_t shown = a->n < SHOWN ? a->n : SHOWN;
    iv_text_puts(out, "spectrum");
    for (size_t i = 0; i < shown && a->jacobian.spectrum != NULL; i++) {
        iv_text_puts(out, " ");
        iv_put_number(out, a->jacobian.spectrum[i], 3);
    }
    if (shown < a->n) iv_text_puts(out, " ...");
    if (a->active > 1) {
        iv_text_puts(out, "; |cosine| ");
        iv_put_fixed(out, a->orthogonality.mean_abs_cosine, 3);
    }
    if (a->active == 0) return;
    iv_text_puts(out, "; lengths of columns vary by ");
    iv_put_fixed(out, 100 * a->jacobian.cv, 0);
    iv_text_puts(out, " %, straight ");
    iv_put_fixed(out, a->jacobian.straight, 2);
    iv_text_puts(out, " (1 = a linear decoder)");
}

void iv_facts_beta(const iv_report_context *context, iv_text *out)
{
    const iv_audit *audit = context->audit;
    if (!isfinite(audit->beta)) {
        iv_text_puts(out, "no beta fits the active latents");
    } else {
        iv_put_number(out, audit->beta, 3);
        iv_text_puts(out, audit->beta_known ? " fits the active latents best, "
                                            : " estimated from the active latents, ");
        iv_text_puts(out, "spread over them ");
        iv_put_fixed(out, 100 * audit->beta_spread, 0);
        iv_text_puts(out, " %");
    }
    if (audit->beta_known || !isfinite(audit->beta)) {
        iv_text_puts(out, audit->beta_known ? "; given " : "; taken ");
        iv_put_number(out, context->analysis->beta, 3);
    }
}

/* Networks that were not read as they were meant: no figure means much then. */
static bool put_misread(const iv_analysis *a, iv_text *out, iv_mood *mood)
{
    static const struct {
        const char *code, *text;
        iv_mood mood;
    } verdicts[] = {
        {"misread",
         "but the networks do not reconstruct these data, so nothing below means anything.",
         IV_MOOD_BAD},
        {"width_kind", "but the posterior's width is none of the kind that it was taken for.",
         IV_MOOD_BAD},
        {"sigma_unused", "but the posterior's width is the same everywhere: it was not learned.",
         IV_MOOD_CAUTION},
        {"plain_autoencoder",
         "but the noise of the posterior costs nothing: a plain autoencoder, no VAE.",
         IV_MOOD_CAUTION},
    };
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++) {
        if (iv_facts_warning(a, verdicts[i].code) == NULL) continue;
        iv_text_puts(out, verdicts[i].text);
        *mood = verdicts[i].mood;
        return true;
    }
    return false;
}

/* Without a beta that was told, what the latents say of it is all that can be said; it is not
 * called good where anything else looks like too little training. */
static iv_mood put_agreement(const iv_report_context *context, iv_text *out)
{
    const iv_audit *audit = context->audit;
    if (!isfinite(audit->beta)) {
        iv_text_puts(out, "no beta fits them: the decoder does not answer to their noise.");
        return IV_MOOD_BAD;
    }
    if (iv_facts_warning(context->analysis, "unsettled") != NULL) {
        iv_text_puts(out, "but whatever beta was, training looks too short (about ");
        iv_put_number(out, audit->beta, 3);
        iv_text_puts(out, ", spread ");
        iv_put_fixed(out, 100 * audit->beta_spread, 0);
        iv_text_puts(out, " %).");
        return IV_MOOD_BAD;
    }
    bool agree = audit->beta_spread <= 0.1;
    iv_text_puts(out, agree ? "they agree on a beta of "
                            : "they do not quite agree on one beta (about ");
    iv_put_number(out, audit->beta, 3);
    iv_text_puts(out, agree ? " (spread " : ", spread ");
    iv_put_fixed(out, 100 * audit->beta_spread, 0);
    iv_text_puts(out, " %); whether training was long enough only a known beta can tell.");
    return agree ? IV_MOOD_GOOD : IV_MOOD_CAUTION;
}

/* What E0 and E1 say together (docs/theory.md, under E1). */
static iv_mood put_optimum(const iv_report_context *context, const iv_facts *f, iv_text *out)
{
    if (context->audit != NULL && !context->audit->beta_known) return put_agreement(context, out);
    bool settled = isnan(f->stationarity) || near_one(f->stationarity);
    if (settled && near_one(f->optimality)) {
        iv_text_puts(out, "the model is at its optimum (");
        put_optimality(out, f);
        iv_text_puts(out, ").");
        return IV_MOOD_GOOD;
    }
    if (!settled || isnan(f->stationarity)) {
        iv_text_puts(out, "the model is off its optimum (");
        put_optimality(out, f);
        iv_text_puts(out, ", stationarity ");
        iv_put_fixed(out, f->stationarity, 2);
        iv_text_puts(out, "; both should be 1).");
        return IV_MOOD_BAD;
    }
    iv_text_puts(out, "training has settled (stationarity ");
    iv_put_fixed(out, f->stationarity, 2);
    if (context->model->metric.loss == IV_LOSS_STUDENT) {
        iv_text_puts(out, "); heavy tails and a decoder that bends take the other off 1 (");
    } else if (f->optimality > 1.1 && context->model->objective == IV_OBJECTIVE_DECOMPOSED) {
        iv_text_puts(out, ") with the bias of the decomposed objective (");
    } else {
        iv_text_puts(out, ") where the decoder bends within the posterior's width (");
    }
    put_optimality(out, f);
    iv_text_puts(out, ").");
    return IV_MOOD_CAUTION;
}

/* Of parts of a model: how many latents move the output. Nothing is called good or at its optimum
 * that cannot be told. */
static iv_mood put_partial(const iv_report_context *context, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    iv_mood mood = IV_MOOD_CAUTION;
    if (a->active == 0) {
        iv_text_puts(out, "No latent moves the decoder's output: the model has collapsed.");
        return IV_MOOD_BAD;
    }
    if (a->active < a->n)
        iv_text_printf(out, "%zu of %zu latents move the decoder's output; ", a->active, a->n);
    else
        iv_text_printf(out,
                       a->n == 1 ? "The one latent moves the decoder's output; "
                                 : "All %zu latents move the decoder's output; ",
                       a->n);
    if (put_misread(a, out, &mood)) return mood;
    iv_text_puts(out, a->unknown == IV_UNKNOWN_WIDTH
                          ? "without the posterior's width whether the model is at its optimum "
                            "cannot be told."
                          : "of the model's fit to data and of its optimum nothing can be told "
                            "without an encoder.");
    return mood;
}

iv_mood iv_facts_verdict(const iv_report_context *context, const iv_facts *facts, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    const iv_warning *warning;
    if (a->unknown != IV_UNKNOWN_NOTHING) return put_partial(context, out);
    if (a->active == 0) {
        iv_text_puts(out, "No latent carries information: the model has collapsed.");
        return IV_MOOD_BAD;
    }
    if (a->active < a->n) {
        iv_text_printf(out, "%zu of %zu latents %s information", a->active, a->n,
                       a->active == 1 ? "carries" : "carry");
    } else {
        iv_text_printf(out,
                       a->n == 1 ? "The one latent carries information"
                                 : "All %zu latents carry information",
                       a->n);
    }
    iv_text_puts(out, "; ");
    iv_mood misread;
    if (context->audit != NULL && put_misread(a, out, &misread)) return misread;
    warning = iv_facts_warning(a, "wrong_beta");
    if (warning != NULL) {
        iv_text_printf(out,
                       "they agree on a beta of %.3g, not on the %s %.3g, so nothing in "
                       "units of beta holds.",
                       warning->value, context->audit != NULL ? "given" : "file's", warning->limit);
        return IV_MOOD_BAD;
    }
    if (iv_facts_warning(a, "folded") != NULL) {
        iv_text_puts(out, "the map is folded: unlike rows share one latent value, so neither order "
                          "nor density can be trusted.");
        return IV_MOOD_BAD;
    }
    if (iv_facts_warning(a, "undertrained") != NULL) {
        iv_text_puts(out, "training stopped short of the optimum (");
        put_optimality(out, facts);
        iv_text_puts(out, "; 1 is the optimum).");
        return IV_MOOD_BAD;
    }
    warning = iv_facts_warning(a, "overfitted");
    if (warning != NULL) {
        iv_text_puts(out, "the model fits its training rows better than others (gap ");
        iv_put_number(out, warning->value, 2);
        iv_text_puts(out, " nats a row).");
        return IV_MOOD_BAD;
    }
    iv_mood mood = put_optimum(context, facts, out);
    for (size_t i = 0; i < a->n_warnings; i++) {
        if (!a->warnings[i].note && mood == IV_MOOD_GOOD) mood = IV_MOOD_CAUTION;
    }
    return mood;
}

char iv_facts_letter(const iv_report_context *context, const iv_facts *facts, size_t rank)
{
    int group = context->analysis->latents[rank].degenerate_group;
    if (group < 0 || facts->one_group) return '\0';
    return (char)('a' + group % 26);
}

bool iv_facts_mixed(const iv_loading *l)
{
    return l->sign < 0.5;
}

void iv_facts_feature(const iv_report_context *context, size_t feature, iv_text *out)
{
    const iv_model *m = context->model;
    char *const *names = m->names != NULL ? m->names : context->data->names;
    if (names != NULL && feature < context->analysis->d && names[feature] != NULL) {
        iv_text_puts(out, names[feature]);
    } else {
        iv_text_printf(out, "x%zu", feature + 1);
    }
}

/* Mean signed loading of a 3 x 3 neighbourhood, all channels. */
static double smooth(const iv_facts *f, const double *loading, size_t row, size_t column)
{
    double sum = 0;
    for (size_t r = row > 0 ? row - 1 : 0; r <= row + 1 && r < f->height; r++) {
        for (size_t c = column > 0 ? column - 1 : 0; c <= column + 1 && c < f->width; c++) {
            for (size_t k = 0; k < f->channels; k++) {
                sum += loading[(r * f->width + c) * f->channels + k];
            }
        }
    }
    return sum;
}

static void put_places(const iv_facts *f, const double *loading, iv_text *out)
{
    double high = 0, low = 0;
    size_t at_high = 0, at_low = 0;
    if (f->width == 0) return;
    for (size_t i = 0; i < f->height * f->width; i++) {
        double value = smooth(f, loading, i / f->width, i % f->width);
        if (value > high) {
            high = value;
            at_high = i;
        }
        if (value < low) {
            low = value;
            at_low = i;
        }
    }
    /* A side that is a tenth of the other is noise. */
    if (high > 0 && high >= -low / 10) {
        iv_text_printf(out, "+%zu,%zu", at_high / f->width, at_high % f->width);
    }
    if (low < 0 && -low >= high / 10) {
        iv_text_printf(out, "%s-%zu,%zu", high >= -low / 10 ? " " : "", at_low / f->width,
                       at_low % f->width);
    }
}

void iv_facts_moves(const iv_report_context *context, const iv_facts *facts, size_t rank,
                    size_t items, size_t columns, iv_text *out)
{
    const iv_latent_report *l = &context->analysis->latents[rank];
    size_t left = columns;
    if (!l->active) return;
    if (facts->image && l->loading_mean != NULL) {
        put_places(facts, l->loading_mean, out);
        return;
    }
    /* Only what counts beside the first, and each name cut to its part of the room. */
    size_t shown = 0;
    while (shown < l->n_top && shown < items &&
           (shown == 0 || l->top[shown].share >= 0.2 * l->top[0].share)) {
        shown++;
    }
    while (shown > 1 && columns / shown < 10) shown--;
    size_t part = shown > 1 && columns / shown >= 10 ? columns / shown - 2 : columns;
    for (size_t i = 0; i < shown; i++) {
        iv_text name = {0};
        iv_facts_feature(context, l->top[i].feature, &name);
        if (name.failed) out->failed = true;
        size_t length = name.data != NULL ? iv_code_points(name.data, name.length) : 0;
        size_t room = i + 1 == shown && left > part ? left - 2 : part;
        if (length > room) length = room;
        if (length + 2 > left && i > 0) {
            iv_text_free(&name);
            break;
        }
        iv_text_puts(out, i > 0 ? " " : "");
        iv_text_puts(out, iv_facts_mixed(&l->top[i]) ? "~" : l->top[i].mean < 0 ? "-" : "+");
        iv_put_clean(out, name.data != NULL ? name.data : "", length, true);
        left -= length + 2 < left ? length + 2 : left;
        iv_text_free(&name);
    }
}
