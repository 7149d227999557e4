#include "theory/agreement.h"

#include "base/memory.h"
#include "theory/match.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* A latent has turned into another where that one's match correlates with it by so much more than
 * the two do within the run: 0.2, an angle of 12 degrees; 0.1 where their variances are equal
 * within two joint SDs over the runs. They are one unit where it is so in a quarter of the
 * runs, unless their variances differ and each is found in nine of ten runs by itself. */
static const double turned_far = 0.2, turned_near = 0.1, turned_share = 0.25;
static const double claimed_share = 0.9;

typedef struct work {
    size_t runs, rows;
    const iv_agreement_run *run;
    double **y;      /* per run: standardised */
    double **within; /* per run: n x n correlations */
    double **cross;  /* per run: central's n x run's n */
    size_t *match;   /* runs x n of the central run */
    iv_agreement *a;
} work;

static size_t most_active(const work *w)
{
    size_t most = 0;
    for (size_t r = 0; r < w->runs; r++) most = w->run[r].n > most ? w->run[r].n : most;
    return most;
}

static isovae_status standardise(work *w, isovae_error *err)
{
    IV_TRY(IV_NEW(w->y, w->runs, "coordinates of the runs", err));
    IV_TRY(IV_NEW(w->within, w->runs, "correlations", err));
    IV_TRY(IV_NEW(w->cross, w->runs, "correlations", err));
    for (size_t r = 0; r < w->runs; r++) {
        size_t n = w->run[r].n, cells;
        if (!iv_size_mul(w->rows, n, &cells)) {
            return iv_fail(err, ISOVAE_ERR_MEMORY, "%zu rows of %zu latents are too many", w->rows,
                           n);
        }
        IV_TRY(IV_NEW(w->y[r], cells, "coordinates of the runs", err));
        IV_TRY(IV_NEW(w->within[r], n * n, "correlations", err));
        if (cells > 0) memcpy(w->y[r], w->run[r].y, cells * sizeof *w->y[r]);
        iv_standardise(w->rows, n, w->y[r]);
        iv_correlations(w->rows, w->y[r], n, w->y[r], n, w->within[r]);
    }
    return ISOVAE_OK;
}

/* The best assignment of the latents of run i to those of run k; the sum of |correlation|. */
static isovae_status match_runs(const work *w, size_t i, size_t k, double *cross, double *cost,
                                size_t *match, double *sum, isovae_error *err)
{
    size_t n = w->run[i].n, m = w->run[k].n;
    iv_correlations(w->rows, w->y[i], n, w->y[k], m, cross);
    for (size_t c = 0; c < n * m; c++) cost[c] = -fabs(cross[c]);
    IV_TRY(iv_assign(n, m, cost, match, err));
    *sum = 0;
    for (size_t j = 0; j < n; j++) {
        if (match[j] != SIZE_MAX) *sum -= cost[j * m + match[j]];
    }
    return ISOVAE_OK;
}

/* The run that agrees best with the others, the first of equals. */
static isovae_status find_central(work *w, isovae_error *err)
{
    size_t most = most_active(w), *match = NULL;
    double *cross = NULL, *cost = NULL, *agrees = NULL;
    isovae_status status = IV_NEW(cross, most * most, "correlations", err);
    if (status == ISOVAE_OK) status = IV_NEW(cost, most * most, "correlations", err);
    if (status == ISOVAE_OK) status = IV_NEW(match, most, "correlations", err);
    if (status == ISOVAE_OK) status = IV_NEW(agrees, w->runs, "correlations", err);
    for (size_t i = 0; i < w->runs && status == ISOVAE_OK; i++) {
        for (size_t k = i + 1; k < w->runs && status == ISOVAE_OK; k++) {
            size_t larger = w->run[i].n > w->run[k].n ? w->run[i].n : w->run[k].n;
            double sum = 0;
            status = match_runs(w, i, k, cross, cost, match, &sum, err);
            if (larger > 0) sum /= (double)larger;
            agrees[i] += sum;
            agrees[k] += sum;
        }
    }
    w->a->central = 0;
    for (size_t i = 1; i < w->runs && status == ISOVAE_OK; i++) {
        size_t best = w->a->central;
        bool first_alive = w->run[best].n == 0 && w->run[i].n > 0;
        if (first_alive || agrees[i] > agrees[best] + 1e-12) w->a->central = i;
    }
    iv_free(cross);
    iv_free(cost);
    iv_free(match);
    iv_free(agrees);
    return status;
}

static isovae_status match_all(work *w, isovae_error *err)
{
    iv_agreement *a = w->a;
    size_t n = a->n, centre = a->central;
    double *cost = NULL, sum;
    isovae_status status = IV_NEW(cost, n * most_active(w), "correlations", err);
    if (status == ISOVAE_OK) status = IV_NEW(w->match, w->runs * n, "matches", err);
    for (size_t r = 0; r < w->runs && status == ISOVAE_OK; r++) {
        size_t m = w->run[r].n, *match = w->match + r * n;
        status = IV_NEW(w->cross[r], n * m, "correlations", err);
        if (status == ISOVAE_OK) {
            status = match_runs(w, centre, r, w->cross[r], cost, match, &sum, err);
        }
        for (size_t j = 0; j < n && status == ISOVAE_OK; j++) {
            bool has = match[j] != SIZE_MAX;
            a->match[r * n + j] = has ? fabs(w->cross[r][j * m + match[j]]) : 0;
            a->variance[r * n + j] = has ? w->run[r].variance[match[j]] : (double)NAN;
        }
    }
    iv_free(cost);
    return status;
}

/* Mean and SD (n - 1) over the runs whose match is good enough; minimum and mean of the matches
 * over the runs other than the central one. */
typedef struct over_runs {
    double match_mean, match_min, variance_mean, variance_sd;
    size_t found;
} over_runs;

static over_runs summarise(const iv_agreement *a, const double *match, size_t stride,
                           const double *variance)
{
    over_runs o = {.match_min = 1};
    double sum = 0, squares = 0;
    for (size_t r = 0; r < a->runs; r++) {
        double value = match[r * stride];
        bool found = value >= a->least;
        if (r != a->central) {
            o.match_mean += value / (double)(a->runs - 1);
            o.match_min = fmin(o.match_min, value);
        }
        if (!found) continue;
        o.found++;
        sum += variance[r];
    }
    if (a->runs == 1) o.match_mean = 1;
    o.variance_mean = o.found > 0 ? sum / (double)o.found : (double)NAN;
    for (size_t r = 0; r < a->runs; r++) {
        double off = variance[r] - o.variance_mean;
        if (match[r * stride] >= a->least) squares += off * off;
    }
    o.variance_sd = o.found > 1 ? sqrt(squares / (double)(o.found - 1)) : (double)NAN;
    return o;
}

static void fill_latents(work *w, double *column)
{
    iv_agreement *a = w->a;
    for (size_t j = 0; j < a->n; j++) {
        for (size_t r = 0; r < a->runs; r++) column[r] = a->variance[r * a->n + j];
        over_runs o = summarise(a, a->match + j, a->n, column);
        a->latents[j] = (iv_agreed_latent){.latent = w->run[a->central].latent[j],
                                           .match_mean = o.match_mean,
                                           .match_min = o.match_min,
                                           .variance_mean = o.variance_mean,
                                           .variance_sd = o.variance_sd,
                                           .found = o.found,
                                           .unit = j};
    }
}

/* ---- groups ---- */

static double spread_over_runs(const iv_agreement *a, size_t j, double *mean)
{
    double sum = 0, squares = 0;
    size_t count = 0;
    for (size_t r = 0; r < a->runs; r++) {
        double v = a->variance[r * a->n + j];
        if (isnan(v)) continue;
        sum += v;
        squares += v * v;
        count++;
    }
    *mean = sum / (double)count;
    double variance = squares / (double)count - *mean * *mean;
    return count > 1 ? sqrt(fmax(variance, 0) * (double)count / (double)(count - 1)) : 0;
}

/* Share of the other runs in which i and j have turned into each other. */
static double share_turned(const work *w, size_t i, size_t j, double limit)
{
    const iv_agreement *a = w->a;
    size_t n = a->n, turned = 0;
    if (a->runs < 2) return 0;
    double own = fabs(w->within[a->central][i * n + j]);
    for (size_t r = 0; r < a->runs; r++) {
        size_t m = w->run[r].n, to_i = w->match[r * n + i], to_j = w->match[r * n + j];
        if (r == a->central || to_i == SIZE_MAX || to_j == SIZE_MAX) continue;
        double off = fmin(fabs(w->cross[r][i * m + to_j]), fabs(w->cross[r][j * m + to_i]));
        turned += off - own > limit;
    }
    return (double)turned / (double)(a->runs - 1);
}

static bool claimed(const iv_agreement *a, size_t found)
{
    return a->runs > 1 && (double)found >= claimed_share * (double)a->runs;
}

static size_t root_of(const iv_agreement *a, size_t j)
{
    while (a->latents[j].unit != j) j = a->latents[j].unit;
    return j;
}

/* Unites latents that turn into each other; latents[].unit becomes the first of each. */
static void unite(const work *w)
{
    iv_agreement *a = w->a;
    for (size_t i = 0; i < a->n; i++) {
        double mean_i, sd_i = spread_over_runs(a, i, &mean_i);
        for (size_t j = i + 1; j < a->n; j++) {
            double mean_j, sd_j = spread_over_runs(a, j, &mean_j);
            bool near = fabs(mean_i - mean_j) <= 2 * hypot(sd_i, sd_j);
            double share = share_turned(w, i, j, near ? turned_near : turned_far);
            a->latents[i].turned = fmax(a->latents[i].turned, share);
            a->latents[j].turned = fmax(a->latents[j].turned, share);
            if (share < turned_share) continue;
            if (!near && claimed(a, a->latents[i].found) && claimed(a, a->latents[j].found))
                continue;
            size_t p = root_of(a, i), q = root_of(a, j);
            a->latents[p > q ? p : q].unit = p > q ? q : p;
        }
    }
    for (size_t j = 0; j < a->n; j++) a->latents[j].unit = root_of(a, j);
}

static void pick(size_t p, const double *all, size_t stride, const size_t *rows, const size_t *cols,
                 double *out)
{
    for (size_t i = 0; i < p; i++) {
        for (size_t j = 0; j < p; j++) out[i * p + j] = all[rows[i] * stride + cols[j]];
    }
}

/* The smallest canonical correlation between the unit and its matches in run r; 0 where a member
 * has none. */
static isovae_status unit_match(const work *w, const iv_agreed_unit *unit, size_t r, double *out,
                                size_t *shared, isovae_error *err)
{
    const iv_agreement *a = w->a;
    size_t p = unit->n, n = a->n, m = w->run[r].n;
    size_t *theirs = NULL;
    double *room = NULL;
    *out = 0;
    *shared = 0;
    if (p == 1) {
        *out = a->match[r * n + unit->member[0]];
        *shared = *out >= a->least;
        return ISOVAE_OK;
    }
    for (size_t i = 0; i < p; i++) {
        if (w->match[r * n + unit->member[i]] == SIZE_MAX) return ISOVAE_OK;
    }
    isovae_status status = IV_NEW(theirs, p, "a group", err);
    if (status == ISOVAE_OK) status = IV_NEW(room, 3 * p * p + p, "a group", err);
    if (status == ISOVAE_OK) {
        double *one = room, *other = one + p * p, *between = other + p * p,
               *values = between + p * p;
        for (size_t i = 0; i < p; i++) theirs[i] = w->match[r * n + unit->member[i]];
        pick(p, w->within[a->central], n, unit->member, unit->member, one);
        pick(p, w->within[r], m, theirs, theirs, other);
        pick(p, w->cross[r], m, unit->member, theirs, between);
        status = iv_canonical(p, one, other, between, values, err);
        if (status == ISOVAE_OK) *out = values[p - 1];
        while (status == ISOVAE_OK && *shared < p && values[*shared] >= a->least) ++*shared;
    }
    iv_free(theirs);
    iv_free(room);
    return status;
}

static isovae_status fill_unit(const work *w, size_t u, double *column, isovae_error *err)
{
    iv_agreement *a = w->a;
    iv_agreed_unit *unit = &a->units[u];
    unit->shared = unit->n;
    for (size_t r = 0; r < a->runs; r++) {
        size_t shared = 0;
        IV_TRY(unit_match(w, unit, r, &a->unit_match[r * a->n_units + u], &shared, err));
        if (shared < unit->shared) unit->shared = shared;
        column[r] = 0;
        for (size_t i = 0; i < unit->n; i++) column[r] += a->variance[r * a->n + unit->member[i]];
    }
    over_runs o = summarise(a, a->unit_match + u, a->n_units, column);
    unit->match_mean = o.match_mean;
    unit->match_min = o.match_min;
    unit->variance_mean = o.variance_mean;
    unit->variance_sd = o.variance_sd;
    unit->found = o.found;
    unit->claimed = claimed(a, o.found);
    return ISOVAE_OK;
}

/* Units in the order of the strongest member, which is that of the central run's latents. */
static isovae_status make_units(work *w, double *column, isovae_error *err)
{
    iv_agreement *a = w->a;
    for (size_t j = 0; j < a->n; j++) a->n_units += a->latents[j].unit == j;
    IV_TRY(IV_NEW(a->units, a->n_units, "units", err));
    IV_TRY(IV_NEW(a->unit_match, a->runs * a->n_units, "units", err));
    size_t u = 0;
    for (size_t j = 0; j < a->n; j++) {
        if (a->latents[j].unit != j) continue;
        iv_agreed_unit *unit = &a->units[u++];
        IV_TRY(IV_NEW(unit->member, a->n, "units", err));
        for (size_t i = j; i < a->n; i++) {
            if (a->latents[i].unit == j) unit->member[unit->n++] = i;
        }
    }
    for (u = 0; u < a->n_units; u++) {
        IV_TRY(fill_unit(w, u, column, err));
        for (size_t i = 0; i < a->units[u].n; i++) a->latents[a->units[u].member[i]].unit = u;
    }
    for (size_t r = 0; r < a->runs; r++) {
        size_t told = 0;
        a->active[r] = w->run[r].n;
        for (u = 0; u < a->n_units; u++) {
            if (a->unit_match[r * a->n_units + u] >= a->least) told += a->units[u].n;
        }
        a->alone[r] = a->active[r] - told;
    }
    return ISOVAE_OK;
}

static isovae_status fill(work *w, isovae_error *err)
{
    iv_agreement *a = w->a;
    double *column = NULL;
    IV_TRY(standardise(w, err));
    IV_TRY(find_central(w, err));
    a->n = w->run[a->central].n;
    IV_TRY(IV_NEW(a->latents, a->n, "latents", err));
    IV_TRY(IV_NEW(a->match, a->runs * a->n, "matches", err));
    IV_TRY(IV_NEW(a->variance, a->runs * a->n, "matches", err));
    IV_TRY(IV_NEW(a->active, a->runs, "runs", err));
    IV_TRY(IV_NEW(a->alone, a->runs, "runs", err));
    IV_TRY(match_all(w, err));
    IV_TRY(IV_NEW(column, a->runs, "runs", err));
    fill_latents(w, column);
    unite(w);
    isovae_status status = make_units(w, column, err);
    iv_free(column);
    return status;
}

isovae_status iv_agree(size_t runs, size_t rows, const iv_agreement_run *run, double least,
                       iv_agreement **out, isovae_error *err)
{
    iv_agreement *a = NULL;
    if (runs == 0 || rows < 3 || !(least > 0 && least <= 1)) {
        return iv_fail(
            err, ISOVAE_ERR_ARGUMENT,
            "to compare runs there must be one or more, on 3 rows or more, and the least "
            "match in (0, 1]");
    }
    IV_TRY(IV_NEW(a, 1, "the comparison of runs", err));
    a->runs = runs;
    a->rows = rows;
    a->least = least;
    work w = {.runs = runs, .rows = rows, .run = run, .a = a};
    isovae_status status = fill(&w, err);
    for (size_t r = 0; r < runs; r++) {
        if (w.y != NULL) iv_free(w.y[r]);
        if (w.within != NULL) iv_free(w.within[r]);
        if (w.cross != NULL) iv_free(w.cross[r]);
    }
    iv_free(w.y);
    iv_free(w.within);
    iv_free(w.cross);
    iv_free(w.match);
    if (status != ISOVAE_OK) {
        iv_agreement_free(a);
        return status;
    }
    *out = a;
    return ISOVAE_OK;
}

void iv_agreement_free(iv_agreement *a)
{
    if (a == NULL) return;
    for (size_t u = 0; a->units != NULL && u < a->n_units; u++) iv_free(a->units[u].member);
    iv_free(a->latents);
    iv_free(a->units);
    iv_free(a->match);
    iv_free(a->unit_match);
    iv_free(a->variance);
    iv_free(a->active);
    iv_free(a->alone);
    iv_free(a);
}
