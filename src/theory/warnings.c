/* What a person should be told about a model: each warning with its number, limit and remedy. A
 * model that is as it should be gets none; notes say what is worth knowing about a good one.
 *
 * An alarm needs its figure beyond both a fixed limit and a few standard errors, and the causes are
 * told apart in this order: a wrong beta shifts E0 of all latents by one factor; else E0 off 1 is
 * undertrained; only where E0 holds do E1 (curvature, bias of the decomposed form) and the
 * distortions (folding) say something of their own. */
#include "theory/summary.h"

#include "base/locale.h"
#include "base/memory.h"
#include "theory/statistics.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FEW_ROWS = 30 };

/* Adam at a constant rate alone leaves E0 some 0.06 off on average. */
static const double e0_limit = 0.07;

void iv_warn_va(iv_analysis *a, const char *code, bool note, double value, double limit,
                const char *format, va_list arguments)
{
    if (a->n_warnings == IV_MOST_WARNINGS) return;
    iv_warning *w = &a->warnings[a->n_warnings++];
    *w = (iv_warning){.value = value, .limit = limit, .note = note};
    (void)snprintf(w->code, sizeof w->code, "%s", code);
    (void)iv_vsnprintf(w->text, sizeof w->text, format, arguments);
}

void iv_warn(iv_analysis *a, const char *code, bool note, double value, double limit,
             const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    iv_warn_va(a, code, note, value, limit, format, arguments);
    va_end(arguments);
}

typedef struct finder {
    iv_analysis *a;
    const iv_warning_facts *facts;
    double gain;  /* nats over linear PCA, or NaN */
    double *room; /* n */
    bool beta_wrong, undertrained, overfitted, folded;
} finder;

static void tell(finder *f, const char *code, bool note, double value, double limit,
                 const char *format, ...) __attribute__((format(printf, 6, 7)));
static void tell(finder *f, const char *code, bool note, double value, double limit,
                 const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    iv_warn_va(f->a, code, note, value, limit, format, arguments);
    va_end(arguments);
}

/* E0 where it counts: on the training rows where they are known, else on the rows of the report. */
static double e0_of(const finder *f, size_t j)
{
    return f->facts->e0 != NULL ? f->facts->e0[j] : f->a->latents[j].stationarity_mean;
}

static double e0_se_of(const finder *f, size_t j)
{
    return f->facts->e0 != NULL ? f->facts->e0_se[j] : f->a->latents[j].stationarity_se;
}

static bool e0_holds(const finder *f, size_t j)
{
    return fabs(e0_of(f, j) - 1) <= fmax(0.05, 4 * e0_se_of(f, j));
}

/* E0 = s + (1 - s) b/beta for a model trained at b, s = E[sigma^2]: b by least squares over the
 * active latents, and the largest factor by which a latent's own b differs from it. */
static bool common_beta(const finder *f, double *common, double *spread)
{
    const iv_analysis *a = f->a;
    double cross = 0, square = 0;
    for (size_t j = 0; j < a->n; j++) {
        if (!a->latents[j].active) continue;
        double rest = 1 - a->latents[j].sigma2_mean;
        double slope = (e0_of(f, j) - a->latents[j].sigma2_mean) * a->beta;
        cross += slope * rest;
        square += slope * slope;
    }
    if (!(square > 0) || !(cross > 0)) return false;
    *common = square / cross;
    *spread = 1;
    for (size_t j = 0; j < a->n; j++) {
        double rest = 1 - a->latents[j].sigma2_mean;
        if (!a->latents[j].active || rest < 0.3) continue; /* a weak latent says little */
        double own = (e0_of(f, j) - a->latents[j].sigma2_mean) * a->beta / rest;
        double factor = own > 0 ? fmax(own / *common, *common / own) : 100;
        *spread = fmax(*spread, factor);
    }
    return true;
}

/* A training history knows its beta; without one all latents must agree on another. */
static void find_wrong_beta(finder *f)
{
    double common, spread;
    const iv_analysis *a = f->a;
    if (a->active == 0 || !common_beta(f, &common, &spread)) return;
    double ratio = fmax(common / a->beta, a->beta / common);
    double known = f->facts->history_beta;
    bool told_otherwise = isfinite(known) && known > 0;
    if (told_otherwise) {
        double off = fmax(known / a->beta, a->beta / known);
        if (off < 1.5 || ratio < 1.5) return;
    } else if (ratio < 2 || spread > 1.3) {
        return;
    }
    f->beta_wrong = true;
    tell(
        f, "wrong_beta", false, common, a->beta,
        "the latents agree on a beta of %.3g, the file says %.3g: every number in units of beta is "
        "off by that factor; give the beta that the model was trained with (docs/theory.md, units "
        "of beta)",
        common, a->beta);
}

/* --- symptoms: what is off on these rows, whatever the cause --- */

typedef struct symptom {
    bool seen;
    double value, limit;
} symptom;

/* Mean of |E0 - 1| over the active latents; `worst` has the largest. Where it is off, `most` tells
 * whether half of the latents are. */
static symptom unstationary(const finder *f, size_t *worst, bool *most)
{
    const iv_analysis *a = f->a;
    symptom s = {.limit = e0_limit};
    double square = 0, *off = f->room;
    size_t m = 0;
    *worst = 0;
    *most = false;
    for (size_t j = 0; j < a->n; j++) {
        if (!a->latents[j].active || isnan(e0_of(f, j))) continue;
        off[m] = fabs(e0_of(f, j) - 1);
        s.value += off[m];
        square += e0_se_of(f, j) * e0_se_of(f, j);
        if (m++ == 0 || off[m - 1] > fabs(e0_of(f, *worst) - 1)) *worst = j;
    }
    if (m == 0) return s;
    s.value /= (double)m;
    s.limit = fmax(e0_limit, 4 * sqrt(square / (double)m));
    s.seen = s.value > s.limit;
    iv_sort_doubles(m, off);
    *most = off[m / 2] > s.limit;
    return s;
}

/* Lost at z = mu: more than PCA's residual and the posterior's width explain. PCA was fitted to
 * these very rows, hence the allowance for their number. */
static symptom lossy(const finder *f)
{
    const iv_analysis *a = f->a;
    double width = 0.5, optimism = 0.02 + 2 * (double)a->active / (double)a->rows;
    for (size_t j = 0; j < a->n; j++) {
        if (a->latents[j].active) width += a->latents[j].sigma2_mean;
    }
    symptom s = {.value = a->distortion.transform - a->distortion.normaliser,
                 .limit = a->pca.residual * (1 + optimism) + a->beta / 2 * width +
                          3 * f->facts->transform_se};
    s.seen = a->pca.comparable && a->active > 0 && a->active <= a->pca.n && a->rows >= FEW_ROWS &&
             s.value > s.limit;
    return s;
}

/* Nats per row by which the ELBO exceeds the exact likelihood of probabilistic PCA with as many
 * components and the same noise. The PCA was fitted to these rows: its parameters' share in that is
 * given back. NaN where the two cannot be compared. */
static double gain_over_pca(const iv_analysis *a, double log_volume)
{
    static const double log_two_pi = 1.8378770664093454836;
    double noise = a->beta / 2, m = (double)a->active, d = (double)a->d;
    double given = m * d / (double)a->rows;
    if (!a->pca.comparable || a->active == 0 || a->active > a->pca.n || isnan(a->elbo_nats) ||
        a->rows < FEW_ROWS || given > 0.5) {
        return (double)NAN;
    }
    double minus_two_log_p = d * log_two_pi + (d - m) * log(noise) + m + a->pca.residual / noise;
    for (size_t i = 0; i < a->active; i++) {
        minus_two_log_p += log(fmax(a->pca.eigenvalues[i], noise));
    }
    return a->elbo_nats + log_volume + 0.5 * minus_two_log_p + given;
}

/* Fewer nats than linear PCA, which the network contains. */
static symptom behind_pca(const finder *f)
{
    symptom s = {.value = -f->gain, .limit = fmax(0.05, 2 * f->a->elbo_se)};
    s.seen = s.value > s.limit;
    return s;
}

/* An encoder that is farther from its optimum than a tenth of what the model gains on PCA and 0.01
 * nats for each latent: a short training can leave the mean of E0 at 1 and single rows off it. */
static symptom encoder_behind(const finder *f)
{
    symptom s = {.value = f->a->encoder_gap_nats,
                 .limit = 0.1 * fmax(f->gain, 0) + 0.01 * (double)f->a->active};
    s.seen = s.value > s.limit; /* never where the gain is not known: the limit is no number then */
    if (isnan(f->gain)) s.seen = false;
    return s;
}

/* --- causes --- */

/* The gap itself, or a smaller one that is beyond doubt together with another symptom on these
 * rows. */
static void find_overfitted(finder *f)
{
    iv_analysis *a = f->a;
    size_t worst;
    bool most;
    double gap = a->validation_gap_nats, limit = fmax(1, 0.1 * a->rate_nats);
    if (f->beta_wrong || a->rows < 5) return;
    bool symptoms = (f->facts->e0 == NULL && unstationary(f, &worst, &most).seen) ||
                    lossy(f).seen || behind_pca(f).seen || encoder_behind(f).seen;
    if (symptoms && !(gap > limit)) limit = fmax(0.1, 2 * f->facts->clipped_gap_se);
    if (!(gap > limit)) return;
    double errors = a->rows < FEW_ROWS ? 5
                    : symptoms         ? 2
                                       : 3; /* of few rows the error is a guess */
    if (!(f->facts->clipped_gap > errors * f->facts->clipped_gap_se)) return;
    f->overfitted = true;
    tell(
        f, "overfitted", false, gap, limit, "validation gap %.2f nats (limit %.2g): %s", gap, limit,
        a->data_is_training_set
            ? "a larger --beta, fewer latents, more data or --weight-decay"
            : "these rows differ from the training data, or the model fits the latter too closely: "
              "fewer latents or more data");
}

/* Folding and short training, told apart: where the transform loss is high but most latents are
 * stationary, two branches of the data share one latent value. */
static void find_undertrained_or_folded(finder *f)
{
    iv_analysis *a = f->a;
    size_t worst;
    bool most;
    if (f->beta_wrong) return;
    symptom e0 = unstationary(f, &worst, &most), loss = lossy(f);
    /* Convolutions lose more than PCA with no fold at all. */
    if (loss.seen && f->facts->convolutional) {
        tell(f, "behind_pca", true, loss.value, loss.limit,
             "transform loss %.3g, where PCA with as many components keeps within %.3g: a larger "
             "network, or more steps, would keep more",
             loss.value, loss.limit);
        loss.seen = false;
    }
    /* On rows that were not trained on, overfitting alone takes these off. */
    if (f->overfitted) {
        loss.seen = false;
        if (f->facts->e0 == NULL) e0.seen = false;
    }
    if ((loss.seen || f->facts->folded) && !(e0.seen && most)) {
        f->folded = true;
        if (!loss.seen) { /* what training saw does not show on these rows */
            tell(f, "folded", false, loss.value, loss.limit,
                 "training ended folded, though the transform loss of these rows is within its "
                 "limit (%.3g, limit %.3g): two branches of the data share one latent value; train "
                 "longer, with another --seed, or with more latents",
                 loss.value, loss.limit);
            return;
        }
        double total = a->pca.residual;
        for (size_t i = 0; i < a->active; i++) total += a->pca.eigenvalues[i];
        if (loss.value > loss.limit + 0.1 * total) { /* rows far out drown a network, too */
            tell(f, "folded", false, loss.value, loss.limit,
                 "transform loss %.3g (limit %.3g; R2 %.2f, PCA %.2f): two branches share one "
                 "latent value: another --seed or --init multimodal; or rows far out kept the "
                 "network from learning: a lower --lr or --scale minmax",
                 loss.value, loss.limit, 1 - loss.value / total, 1 - a->pca.residual / total);
            return;
        }
        tell(f, "folded", false, loss.value, loss.limit,
             "transform loss %.3g (limit %.3g): two branches of the data share one latent value; "
             "train again with another --seed, with --init multimodal, or with more latents",
             loss.value, loss.limit);
        return;
    }
    symptom behind = behind_pca(f), encoder = encoder_behind(f);
    f->undertrained = e0.seen || (!f->overfitted && (behind.seen || encoder.seen));
    if (e0.seen) {
        tell(f, "undertrained", false, e0.value, e0.limit,
             "stationarity is off by %.2f on average (limit %.2g; latent %zu has %.2f instead of "
             "1): train longer (--steps), or with a rate that decays to 0",
             e0.value, e0.limit, worst, e0_of(f, worst));
    } else if (f->undertrained && behind.seen) {
        tell(f, "undertrained", false, behind.value, behind.limit,
             "%.2f nats worse than linear PCA with %zu components and the same noise (limit %.2g): "
             "train longer (--steps), or with a larger network (--arch)",
             behind.value, a->active, behind.limit);
    } else if (f->undertrained) {
        tell(
            f, "undertrained", false, encoder.value, encoder.limit,
            "a better encoder would gain %.2g nats (limit %.2g): train longer (--steps), or with a "
            "larger network (--arch)",
            encoder.value, encoder.limit);
    }
}

static void find_from_e1(finder *f)
{
    iv_analysis *a = f->a;
    double low = 1, high = 1;
    size_t lowest = 0, highest = 0;
    if (f->beta_wrong || f->undertrained) return;
    for (size_t j = 0; j < a->n; j++) {
        const iv_latent_report *l = &a->latents[j];
        if (!l->active || !e0_holds(f, j)) continue;
        if (l->optimality_mean < low) {
            low = l->optimality_mean;
            lowest = j;
        }
        if (l->optimality_mean > high) {
            high = l->optimality_mean;
            highest = j;
        }
    }
    if (high > 1.1 && f->facts->objective == IV_OBJECTIVE_DECOMPOSED) {
        tell(f, "decomposed_bias", false, high, 1.1,
             "optimality of latent %zu is %.2f although its stationarity holds: the bias of the "
             "decomposed objective; --objective conventional has none",
             highest, high);
    }
    if (low < 0.9) {
        tell(f, "curved", true, low, 0.9,
             "latent %zu has optimality %.2f although its stationarity holds: the decoder bends "
             "within the posterior's width; more steps will not change that, a smaller --beta may",
             lowest, low);
    }
}

static void find_collapsed(finder *f)
{
    iv_analysis *a = f->a;
    size_t unused = a->n - a->active;
    if (a->active == 0) {
        tell(
            f, "collapsed", false, (double)unused, 0,
            "no latent carries information: lower --beta, or start annealing lower (--beta-start)");
    } else if (2 * unused > a->n) {
        tell(f, "collapsed", true, (double)unused, 0.5 * (double)a->n,
             "%zu of %zu latents are unused (below 0.05 nats): a smaller --latent-dim would do",
             unused, a->n);
    }
}

static void find_all_active(finder *f)
{
    iv_analysis *a = f->a;
    if (a->active < a->n || a->n + 1 > a->d || f->beta_wrong) return;
    if (a->pca.comparable && a->pca.active_predicted <= a->n) return; /* PCA needs no more either */
    if (a->pca.comparable && a->n + 1 >= a->d) return;
    tell(f, "all_active", false, (double)a->active, (double)a->n,
         "all %zu latents are active: the data may carry more; try a larger --latent-dim", a->n);
}

static void find_no_better_than_pca(finder *f)
{
    iv_analysis *a = f->a;
    static const double limit = 0.02;
    if (!(f->gain <= limit) || f->beta_wrong || f->undertrained || f->overfitted || f->folded)
        return;
    tell(
        f, "no_better_than_pca", true, f->gain, limit,
        "the ELBO is %+.3f nats from the likelihood of linear PCA with %zu components and the same "
        "noise (limit %+.2g): PCA would do for these data",
        f->gain, a->active, limit);
}

/* A beta given by hand may hide directions that stand well above the noise. */
static void find_beta_above_smallest(finder *f)
{
    iv_analysis *a = f->a;
    if (!a->pca.comparable || f->facts->beta_auto || f->beta_wrong || a->rows < FEW_ROWS) return;
    double total = a->pca.residual, lost = 0;
    size_t above = 0;
    for (size_t i = 0; i < a->pca.n && i < a->active; i++) total += a->pca.eigenvalues[i];
    while (above < a->pca.n && a->pca.eigenvalues[above] > a->beta / 2) above++;
    if (a->pca.n - above < 2) return;
    double floor = a->pca.eigenvalues[above + (a->pca.n - above) / 2];
    double smallest = a->beta / 2;
    for (size_t i = above; i < a->pca.n; i++) {
        if (a->pca.eigenvalues[i] <= 4 * floor || a->pca.eigenvalues[i] <= 1e-6 * total) break;
        lost += a->pca.eigenvalues[i];
        smallest = a->pca.eigenvalues[i];
    }
    if (!(total > 0) || lost / total <= 0.1) return;
    tell(f, "beta_above_smallest", false, lost / total, 0.1,
         "%.0f %% of the variance lies in directions below beta/2 = %.3g that stand out of the "
         "noise: a --beta below %.2g would show them",
         100 * lost / total, a->beta / 2, 2 * smallest / 1.105);
}

/* Importance is length along the manifold: 3 times the variance in space has been seen on good
 * models of bent data, thousands of times only where few far rows stretch the latents. */
static void find_stretched(finder *f)
{
    iv_analysis *a = f->a;
    if (!a->pca.comparable || a->active > a->pca.n || a->rows < FEW_ROWS || f->beta_wrong) return;
    double total = a->pca.residual, sum = 0;
    for (size_t i = 0; i < a->active; i++) total += a->pca.eigenvalues[i];
    for (size_t j = 0; j < a->n; j++) {
        if (a->latents[j].active) sum += a->latents[j].variance_y;
    }
    if (!(total > 0) || sum <= 10 * total) return;
    tell(f, "stretched", false, sum / total, 10,
         "variance_y adds up to %.3g times the variance of the data (limit 10): few far rows "
         "stretch "
         "the latents; look for heavy tails or outliers, and do not read the shares",
         sum / total);
}

static void find_degenerate(finder *f)
{
    iv_analysis *a = f->a;
    size_t in_groups = 0, first = a->n, last = 0;
    bool one = true; /* group only */
    double rotation = 0;
    for (size_t j = 0; j < a->n; j++) {
        if (a->latents[j].degenerate_group < 0) continue;
        in_groups++;
        if (first == a->n) first = j;
        if (a->latents[j].degenerate_group != a->latents[first].degenerate_group) one = false;
        last = j;
        rotation = fmax(rotation, a->latents[j].rotation);
    }
    if (in_groups == 0) return;
    if (one && in_groups == a->active) {
        tell(f, "degenerate", true, rotation, 0.1,
             "all %zu active latents are one near-degenerate group (variances within their errors, "
             "or mean |cosine| above 0.1): they can rotate into each other; read them as one",
             in_groups);
        return;
    }
    tell(f, "degenerate", true, rotation, 0.1,
         "%zu latents between %zu and %zu are near-degenerate (variances within their errors, or "
         "mean |cosine| above 0.1): they can rotate into each other; read each group as one",
         in_groups, first, last);
}

/* A limit on time that the user set is no fault; one that met a training in full swing is. */
static void find_cut_short(finder *f)
{
    double steps = (double)f->facts->steps, asked = (double)f->facts->steps_asked;
    if (f->facts->steps_asked == 0) return;
    if (f->facts->cut_short) {
        tell(
            f, "cut_short", false, steps, asked,
            "training was stopped by --max-time at step %.0f of %.0f, before the learning rate had "
            "fallen to its end: give it more time, or fewer --steps",
            steps, asked);
        return;
    }
    tell(f, "cut_short", true, steps, asked,
         "--max-time allowed %.0f of %.0f steps; the learning rate fell to its end over them",
         steps, asked);
}

static void find_few_rows(finder *f)
{
    if (f->a->rows >= FEW_ROWS) return;
    tell(f, "few_rows", true, (double)f->a->rows, FEW_ROWS,
         "only %zu rows were looked at (limit %d): every mean here is uncertain", f->a->rows,
         (int)FEW_ROWS);
}

isovae_status iv_find_warnings(iv_analysis *analysis, const iv_warning_facts *facts,
                               isovae_error *err)
{
    finder f = {.a = analysis, .facts = facts, .gain = gain_over_pca(analysis, facts->log_volume)};
    IV_TRY(IV_NEW(analysis->warnings, IV_MOST_WARNINGS, "the warnings", err));
    IV_TRY(IV_NEW(f.room, analysis->n, "the warnings", err));
    find_wrong_beta(&f);
    find_overfitted(&f);
    find_undertrained_or_folded(&f);
    find_collapsed(&f);
    find_from_e1(&f);
    find_all_active(&f);
    find_beta_above_smallest(&f);
    find_no_better_than_pca(&f);
    find_stretched(&f);
    find_degenerate(&f);
    find_cut_short(&f);
    find_few_rows(&f);
    iv_free(f.room);
    return ISOVAE_OK;
}
