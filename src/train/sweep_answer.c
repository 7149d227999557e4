/* What the curve says: slopes, births of latents, the beta that meets a target. */
#include "base/file.h"
#include "base/memory.h"
#include "train/sweep.h"

#include <math.h>
#include <string.h>

static const double active_nats = 0.05;
/* A Gaussian latent with a KL of 0.05 nats has this times beta/2 (THEORY 3, "Active"). */
static const double active_ratio = 1.105;

/* ---- targets ---- */

static const char *const goal_names[IV_GOALS] = {"calibrated", "psnr", "rmse",
                                                 "r2",         "rate", "active"};

const char *iv_sweep_goal_name(iv_sweep_goal goal)
{
    return goal_names[goal];
}

static bool in_range(iv_sweep_goal goal, double value)
{
    switch (goal) {
    case IV_GOAL_PSNR: return value > 0 && value < 100;
    case IV_GOAL_R2: return value > 0 && value < 1;
    case IV_GOAL_ACTIVE: return value >= 1 && value == floor(value) && value <= 1e6;
    default: return value > 0 && isfinite(value);
    }
}

isovae_status iv_sweep_target_parse(const char *text, iv_sweep_target *out, isovae_error *err)
{
    size_t length = strcspn(text, "=");
    for (int g = IV_GOAL_PSNR; g < IV_GOALS && text[length] == '='; g++) {
        const char *number = text + length + 1;
        double value = NAN;
        if (strlen(goal_names[g]) != length || strncmp(text, goal_names[g], length) != 0) continue;
        if (!iv_parse_double(number, strlen(number), &value) ||
            !in_range((iv_sweep_goal)g, value)) {
            return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--target: '%.80s': %s", text,
                           g == IV_GOAL_R2       ? "r2 lies between 0 and 1"
                           : g == IV_GOAL_ACTIVE ? "active is a whole number from 1"
                           : g == IV_GOAL_PSNR   ? "psnr lies between 0 and 100 dB"
                                                 : "wants a number above 0");
        }
        *out = (iv_sweep_target){.goal = (iv_sweep_goal)g, .value = value};
        return ISOVAE_OK;
    }
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "--target: '%.80s' is none of psnr=DB, rmse=X, r2=X, rate=NATS, active=N", text);
}

double iv_sweep_tolerance(const iv_sweep_target *target)
{
    switch (target->goal) {
    case IV_GOAL_CALIBRATED: return 0.05;
    case IV_GOAL_PSNR: return 0.3;
    case IV_GOAL_RMSE: return 0.03 * target->value;
    case IV_GOAL_R2: return 0.01;
    case IV_GOAL_RATE: return fmax(0.1, 0.02 * target->value);
    default: return 0.0;
    }
}

/* ---- room ---- */

static void lend_cells(iv_sweep_point *points, size_t count, size_t n, double **cells)
{
    for (size_t i = 0; i < count; i++) {
        points[i].kl = *cells;
        points[i].importance = *cells + n;
        *cells += 2 * n;
    }
}

isovae_status iv_sweep_new(size_t seeds, size_t points, size_t n, iv_sweep **out, isovae_error *err)
{
    iv_sweep *s;
    size_t runs, rows, cells;
    *out = NULL;
    if (!iv_size_mul(seeds, points, &runs) || !iv_size_add(runs, 2 * points, &rows) ||
        !iv_size_add(rows, IV_SWEEP_RETRAINS, &rows) || !iv_size_mul(rows, 2 * n, &cells))
        return iv_fail(err, ISOVAE_ERR_MEMORY, "a sweep of %zu x %zu trainings is too large", seeds,
                       points);
    IV_TRY(IV_NEW(s, 1, "a sweep", err));
    s->seeds = seeds;
    s->points = points;
    s->n = n;
    isovae_status status = IV_NEW(s->runs, runs, "a sweep", err);
    if (!status) status = IV_NEW(s->mean, points, "a sweep", err);
    if (!status) status = IV_NEW(s->sd, points, "a sweep", err);
    if (!status) status = IV_NEW(s->cells, cells, "a sweep", err);
    if (!status) status = IV_NEW(s->births, n, "a sweep", err);
    if (!status) status = IV_NEW(s->chords, points, "a sweep", err);
    if (status) {
        iv_sweep_free(s);
        return status;
    }
    double *at = s->cells;
    lend_cells(s->runs, runs, n, &at);
    lend_cells(s->mean, points, n, &at);
    lend_cells(s->sd, points, n, &at);
    for (size_t i = 0; i < IV_SWEEP_RETRAINS; i++) lend_cells(&s->retrains[i].point, 1, n, &at);
    *out = s;
    return ISOVAE_OK;
}

void iv_sweep_free(iv_sweep *s)
{
    if (!s) return;
    iv_free(s->runs);
    iv_free(s->mean);
    iv_free(s->sd);
    iv_free(s->cells);
    iv_free(s->births);
    iv_free(s->chords);
    iv_free(s->pca);
    iv_model_free(s->model);
    iv_free(s);
}

/* ---- the curve of equal training ---- */

static iv_sweep_side *side_of(iv_sweep_point *p, bool held)
{
    return held ? &p->held : &p->train;
}

/* From one beta to the next larger one the curve goes as the pair of trainings does that start from
 * the same weights: the one that arrived there and the own one of the smaller beta. Distortion is
 * summed from the smallest beta on and rate from the largest, each from where it is small. */
static void find_curve(iv_sweep_point *run, size_t points, bool held)
{
    for (size_t k = points; k-- > 0;) {
        iv_sweep_side *here = side_of(&run[k], held);
        here->curve = (iv_sweep_spot){here->distortion, here->rate};
        if (k + 1 == points) continue;
        const iv_sweep_side *below = side_of(&run[k + 1], held);
        here->curve.distortion =
            below->curve.distortion + (here->arrived.distortion - below->distortion);
    }
    for (size_t k = 1; k < points; k++) {
        iv_sweep_side *here = side_of(&run[k], held);
        const iv_sweep_side *above = side_of(&run[k - 1], held);
        here->curve.rate = above->curve.rate + (here->rate - above->arrived.rate);
    }
}

/* ---- means and SDs over seeds ---- */

enum { fixed = 16 }; /* numbers of a point but for its latents */

static void numbers(iv_sweep_point *p, double *out[fixed])
{
    double *all[fixed] = {&p->train.distortion,
                          &p->train.transform,
                          &p->train.rate,
                          &p->train.error,
                          &p->train.psnr,
                          &p->held.distortion,
                          &p->held.transform,
                          &p->held.rate,
                          &p->held.error,
                          &p->held.psnr,
                          &p->active,
                          &p->coding_predicted,
                          &p->train.curve.distortion,
                          &p->train.curve.rate,
                          &p->held.curve.distortion,
                          &p->held.curve.rate};
    memcpy(out, all, sizeof all);
}

static double *number(iv_sweep_point *p, size_t n, size_t i)
{
    double *all[fixed];
    if (i >= fixed + n) return p->importance + (i - fixed - n);
    if (i >= fixed) return p->kl + (i - fixed);
    numbers(p, all);
    return all[i];
}

static void average(iv_sweep *s)
{
    double seeds = (double)s->seeds;
    for (size_t k = 0; k < s->points; k++) {
        s->mean[k].beta = s->sd[k].beta = s->runs[k].beta;
        for (size_t i = 0; i < fixed + 2 * s->n; i++) {
            double sum = 0.0, squares = 0.0;
            for (size_t r = 0; r < s->seeds; r++)
                sum += *number(&s->runs[r * s->points + k], s->n, i);
            for (size_t r = 0; r < s->seeds; r++) {
                double gap = *number(&s->runs[r * s->points + k], s->n, i) - sum / seeds;
                squares += gap * gap;
            }
            *number(&s->mean[k], s->n, i) = sum / seeds;
            *number(&s->sd[k], s->n, i) = s->seeds > 1 ? sqrt(squares / (seeds - 1)) : NAN;
        }
    }
}

/* ---- births ---- */

/* ln beta at which the latent of this rank has 0.05 nats, from the two largest betas where it has
 * more: KL is linear in ln beta from its birth on (1/2 ln(lambda / (beta/2)) for Gaussian data),
 * so the line through them finds the birth where a line to the zero before it would be late. Never
 * outside the bracket of trained betas. */
static double birth(const iv_sweep_point *points, size_t n_points, size_t rank, size_t *place)
{
    size_t k = 0;
    while (k < n_points && !(points[k].kl[rank] > active_nats)) k++;
    *place = k;
    if (k == n_points || k == 0) return NAN;
    double at = log(points[k].beta), above = points[k].kl[rank] - active_nats, slope = 0.5;
    if (k + 1 < n_points) {
        double rise =
            (points[k + 1].kl[rank] - points[k].kl[rank]) / (at - log(points[k + 1].beta));
        if (rise > 0.1 && rise < 2.0) slope = rise;
    }
    return fmin(at + above / slope, log(points[k - 1].beta));
}

static void find_births(iv_sweep *s)
{
    for (size_t j = 0; j < s->n; j++) {
        iv_sweep_birth *b = &s->births[j];
        double sum = 0.0, squares = 0.0;
        size_t place, all = 0;
        *b = (iv_sweep_birth){.predicted = NAN, .seen = NAN, .lo = NAN, .hi = NAN, .sd = NAN};
        if (s->comparable && j < s->n_pca && s->pca[j] > 1e-9 * s->pca[0])
            b->predicted = 2.0 * s->pca[j] / active_ratio;
        for (size_t r = 0; r < s->seeds; r++) {
            double at = birth(s->runs + r * s->points, s->points, j, &place);
            if (r == 0 && !isnan(at)) {
                b->lo = s->runs[place].beta;
                b->hi = s->runs[place - 1].beta;
            }
            if (isnan(at)) continue;
            all++;
            sum += at;
            squares += at * at;
        }
        if (all == 0) continue;
        double mean = sum / (double)all;
        b->seen = exp(mean);
        if (all > 1)
            b->sd = sqrt(fmax(0.0, squares - (double)all * mean * mean) / (double)(all - 1));
    }
}

/* ---- slopes ---- */

static double chord(const iv_sweep_spot *a, const iv_sweep_spot *b)
{
    double nats = b->rate - a->rate;
    return nats > 1e-6 ? (a->distortion - b->distortion) / nats : NAN;
}

static void find_chords(iv_sweep *s)
{
    double most = 0.0, sum = 0.0, worst = 0.0;
    s->chord_middle = 0;
    for (size_t k = 0; k < s->points; k++) most = fmax(most, s->mean[k].train.curve.rate);
    for (size_t k = 0; k + 1 < s->points; k++) {
        const iv_sweep_point *a = &s->mean[k], *b = &s->mean[k + 1];
        iv_sweep_chord *c = &s->chords[k];
        c->expected = (a->beta - b->beta) / log(a->beta / b->beta);
        c->train = chord(&a->train.curve, &b->train.curve);
        c->held = chord(&a->held.curve, &b->held.curve);
        double low = fmin(a->train.curve.rate, b->train.curve.rate);
        double high = fmax(a->train.curve.rate, b->train.curve.rate);
        c->middle = most > 0.0 && low >= 0.2 * most && high <= 0.8 * most;
        if (!c->middle) continue;
        double off = isnan(c->train) ? INFINITY : fabs(c->train / c->expected - 1.0);
        s->chord_middle++;
        sum += off;
        worst = fmax(worst, off);
    }
    s->chord_mean = s->chord_middle ? sum / (double)s->chord_middle : NAN;
    s->chord_worst = s->chord_middle ? worst : NAN;
}

void iv_sweep_summarise(iv_sweep *s)
{
    for (size_t r = 0; r < s->seeds; r++) {
        find_curve(s->runs + r * s->points, s->points, false);
        find_curve(s->runs + r * s->points, s->points, true);
    }
    average(s);
    find_births(s);
    find_chords(s);
}

void iv_sweep_linear(const iv_sweep *s, double beta, double *distortion, double *rate,
                     size_t *active)
{
    double noise = beta / 2.0, kept = 0.0;
    *rate = 0.0;
    *active = 0;
    *distortion = s->pca_total;
    for (size_t j = 0; j < s->n_pca; j++) {
        *active += s->pca[j] > active_ratio * noise;
        if (j >= s->n || s->pca[j] <= noise) continue;
        kept += s->pca[j] - noise;
        *rate += 0.5 * log(s->pca[j] / noise);
    }
    *distortion -= kept;
}

/* ---- the answer ---- */

double iv_sweep_value(const iv_sweep *s, const iv_sweep_point *p)
{
    const iv_sweep_side *side = s->n_held ? &p->held : &p->train;
    switch (s->target.goal) {
    case IV_GOAL_CALIBRATED:
        if (!isnan(s->fixed_beta)) return log(s->fixed_beta / p->beta);
        return log(2.0 * p->train.distortion / ((double)s->varying * p->beta));
    case IV_GOAL_PSNR: return side->psnr;
    case IV_GOAL_RMSE: return sqrt(fmax(0.0, side->error) / (double)s->d);
    case IV_GOAL_R2: return 1.0 - side->error / (s->n_held ? s->held_variance : s->variance);
    case IV_GOAL_RATE: return side->rate;
    default: return p->active;
    }
}

/* The scale of beta on which the goal's value is nearly straight: squared error grows with beta
 * itself, rate and decibels with its logarithm. */
static double scale(const iv_sweep *s, double beta)
{
    bool squared = s->target.goal == IV_GOAL_R2 || s->target.goal == IV_GOAL_RMSE;
    return squared ? beta : log(beta);
}

static double unscale(const iv_sweep *s, double value)
{
    bool squared = s->target.goal == IV_GOAL_R2 || s->target.goal == IV_GOAL_RMSE;
    return squared ? value : exp(value);
}

/* The pair of neighbours around beta, and how far it is from the first to the second, 0..1. */
static size_t pair_at(const iv_sweep *s, double beta, double *share)
{
    size_t k = 0;
    while (k + 2 < s->points && s->mean[k + 1].beta > beta) k++;
    double from = scale(s, s->mean[k].beta), to = scale(s, s->mean[k + 1].beta);
    *share = fmin(fmax((scale(s, beta) - from) / (to - from), 0.0), 1.0);
    return k;
}

double iv_sweep_value_at(const iv_sweep *s, double beta)
{
    double t;
    size_t k = pair_at(s, beta, &t);
    double a = iv_sweep_value(s, &s->mean[k]), b = iv_sweep_value(s, &s->mean[k + 1]);
    if (s->target.goal == IV_GOAL_ACTIVE) { /* those that were born by then */
        size_t born = 0;
        for (size_t j = 0; j < s->n; j++)
            born += s->births[j].seen >= beta || s->mean[0].kl[j] > active_nats;
        return (double)born;
    }
    return a + t * (b - a);
}

/* The optimum's loss, min (D + beta R), has the slope R in beta: between neighbours the cubic with
 * those values and slopes. A straight line would lie below the curve by more than trainings
 * differ. */
double iv_sweep_loss_at(const iv_sweep *s, double beta)
{
    double unused;
    size_t k = pair_at(s, beta, &unused);
    const iv_sweep_point *a = &s->mean[k + 1], *b = &s->mean[k];
    double width = b->beta - a->beta, t = fmin(fmax((beta - a->beta) / width, 0.0), 1.0);
    double la = a->train.distortion + a->beta * a->train.rate;
    double lb = b->train.distortion + b->beta * b->train.rate;
    double t2 = t * t, t3 = t2 * t;
    return (2 * t3 - 3 * t2 + 1) * la + (t3 - 2 * t2 + t) * width * a->train.rate +
           (3 * t2 - 2 * t3) * lb + (t3 - t2) * width * b->train.rate;
}

double iv_sweep_slope_at(const iv_sweep *s, double beta)
{
    double t;
    size_t k = pair_at(s, beta, &t);
    if (s->target.goal == IV_GOAL_ACTIVE) return 0.0;
    return (iv_sweep_value(s, &s->mean[k]) - iv_sweep_value(s, &s->mean[k + 1])) /
           log(s->mean[k].beta / s->mean[k + 1].beta);
}

/* Does the value satisfy the target, going down from large beta? */
static double excess(const iv_sweep *s, double value)
{
    switch (s->target.goal) {
    case IV_GOAL_CALIBRATED: return value; /* the residual fills the noise */
    case IV_GOAL_RMSE: return s->target.value - value;
    default: return value - s->target.value;
    }
}

bool iv_sweep_meets(const iv_sweep *s, double value)
{
    if (s->target.goal == IV_GOAL_CALIBRATED)
        return fabs(value) <= s->tolerance || (s->at_floor && value <= s->tolerance);
    return fabs(value - s->target.value) <= s->tolerance;
}

/* Halfway, in ln beta, between the birth of the last latent wanted and of the next. */
static void answer_active(iv_sweep *s)
{
    size_t wanted = (size_t)s->target.value;
    double low = s->mean[s->points - 1].beta, high = s->mean[0].beta;
    s->best = s->mean[s->points - 1].active;
    s->best_beta = low;
    if (wanted > s->n) return;
    const iv_sweep_birth *last = &s->births[wanted - 1];
    bool always = s->mean[0].kl[wanted - 1] > active_nats;
    if (isnan(last->seen) && !always) return;
    if (!always) high = last->seen;
    if (wanted < s->n) {
        if (!isnan(s->births[wanted].seen))
            low = s->births[wanted].seen;
        else if (s->mean[0].kl[wanted] > active_nats)
            return; /* more are there from the beginning */
    }
    if (!(low < high)) return;
    s->beta = sqrt(low * high);
    s->found = true;
}

/* Calibrated: beta/2 above the residual at large beta, below it at small. */
static void answer_crossing(iv_sweep *s)
{
    double near = INFINITY;
    for (size_t k = 0; k < s->points; k++) {
        double value = iv_sweep_value(s, &s->mean[k]), now = excess(s, value);
        if (fabs(now) < near) {
            near = fabs(now);
            s->best = value;
            s->best_beta = s->mean[k].beta;
        }
        if (!(now >= 0.0)) continue;
        s->found = true;
        s->beta = s->mean[k].beta;
        if (k > 0) {
            double before = excess(s, iv_sweep_value(s, &s->mean[k - 1]));
            double t = before / (before - now); /* before < 0 <= now */
            s->beta = unscale(s, scale(s, s->mean[k - 1].beta) * (1.0 - t) +
                                     scale(s, s->mean[k].beta) * t);
        }
        return;
    }
    if (s->target.goal != IV_GOAL_CALIBRATED) return;
    s->found = s->at_floor = true;
    s->beta = s->mean[s->points - 1].beta;
}

void iv_sweep_answer(iv_sweep *s)
{
    s->found = s->at_floor = false;
    s->beta = s->best = s->best_beta = NAN;
    s->active = s->pca_active = 0;
    s->tolerance = iv_sweep_tolerance(&s->target);
    if (s->target.goal == IV_GOAL_ACTIVE)
        answer_active(s);
    else
        answer_crossing(s);
    if (!s->found) return;
    iv_sweep_target kept = s->target;
    double d, r;
    s->target.goal = IV_GOAL_ACTIVE;
    s->active = (size_t)iv_sweep_value_at(s, s->beta);
    s->target = kept;
    iv_sweep_linear(s, s->beta, &d, &r, &s->pca_active);
}
