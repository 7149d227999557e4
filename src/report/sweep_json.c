/* The sweep as JSON, "isovae-sweep/1" (docs/sweep.schema.json). A number that does not exist is
 * null. Failed allocations are noticed once: a NULL value stays NULL upwards through `put`. */
#include "report/facts.h"
#include "report/sweep.h"

#include <math.h>
#include <stdio.h>

static bool put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static bool append(json_t *array, json_t *value)
{
    return json_array_append_new(array, value) == 0;
}

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *count(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* Names and paths may hold bytes that are no UTF-8. */
static json_t *string(const char *value)
{
    iv_text text = {0};
    if (value == NULL) return json_null();
    iv_text_puts(&text, "");
    iv_put_clean(&text, value, 0, false);
    json_t *out = text.failed ? NULL : json_stringn(text.data, text.length);
    iv_text_free(&text);
    return out;
}

static json_t *done(json_t *object, bool ok)
{
    if (ok) return object;
    json_decref(object);
    return NULL;
}

static json_t *numbers(const double *values, size_t n)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t i = 0; ok && i < n; i++) ok = append(array, number(values[i]));
    return done(array, ok);
}

static json_t *provenance(const iv_sweep_report *r)
{
    char text[24];
    json_t *o = json_object();
    bool ok = put(o, "version", json_string(ISOVAE_VERSION));
    ok = ok && put(o, "command", string(r->command));
    snprintf(text, sizeof text, "%llu", (unsigned long long)r->sweep->seed);
    ok = ok &&
         put(o, "seed",
             r->sweep->seed <= (uint64_t)INT64_MAX ? count(r->sweep->seed) : json_string(text));
    snprintf(text, sizeof text, "%016llx", (unsigned long long)r->data->hash);
    ok = ok && put(o, "data_hash", json_string(text));
    ok = ok && put(o, "data", string(r->data->source));
    ok = ok && put(o, "rows_training", count(r->sweep->n_train));
    ok = ok && put(o, "rows_validation", count(r->sweep->n_held));
    return done(o, ok);
}

/* `sd` may be NULL, or hold NaN. */
static json_t *side(const iv_sweep_side *s, const iv_sweep_side *sd, double variance)
{
    json_t *o = json_object();
    bool ok = put(o, "distortion", number(s->distortion));
    ok = ok && put(o, "transform", number(s->transform));
    ok = ok && put(o, "rate_nats", number(s->rate));
    ok = ok && put(o, "r2", number(1.0 - s->error / variance));
    ok = ok && put(o, "psnr_db", number(s->psnr));
    if (sd != NULL) {
        ok = ok && put(o, "distortion_sd", number(sd->distortion));
        ok = ok && put(o, "rate_nats_sd", number(sd->rate));
        ok = ok && put(o, "r2_sd", number(sd->error / variance));
        ok = ok && put(o, "psnr_db_sd", number(sd->psnr));
    }
    return done(o, ok);
}

static json_t *point(const iv_sweep *s, const iv_sweep_point *p, const iv_sweep_point *sd)
{
    double distortion, rate;
    size_t active;
    iv_sweep_linear(s, p->beta, &distortion, &rate, &active);
    json_t *o = json_object(), *linear = json_null();
    bool ok = put(o, "beta", number(p->beta));
    ok = ok && put(o, "active", number(p->active));
    if (sd != NULL) ok = ok && put(o, "active_sd", number(sd->active));
    ok = ok && put(o, "active_pca", s->comparable ? count(active) : json_null());
    ok = ok && put(o, "training", side(&p->train, sd ? &sd->train : NULL, s->variance));
    ok = ok &&
         put(o, "validation",
             s->n_held ? side(&p->held, sd ? &sd->held : NULL, s->held_variance) : json_null());
    ok = ok && put(o, "coding", number(p->train.distortion - p->train.transform));
    ok = ok && put(o, "coding_predicted", number(p->coding_predicted));
    if (s->comparable) {
        linear = json_object();
        ok = ok && put(linear, "distortion", number(distortion));
        ok = ok && put(linear, "rate_nats", number(rate));
    }
    ok = put(o, "linear", linear) && ok;
    ok = ok && put(o, "kl_nats", numbers(p->kl, s->n));
    ok = ok && put(o, "importance", numbers(p->importance, s->n));
    return done(o, ok);
}

static json_t *curve(const iv_sweep *s)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t k = 0; ok && k < s->points; k++)
        ok = append(array, point(s, &s->mean[k], &s->sd[k]));
    return done(array, ok);
}

static json_t *slopes(const iv_sweep *s)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t k = 0; ok && k + 1 < s->points; k++) {
        const iv_sweep_chord *c = &s->chords[k];
        json_t *o = json_object();
        bool good = put(o, "beta_large", number(s->mean[k].beta));
        good = good && put(o, "beta_small", number(s->mean[k + 1].beta));
        good = good && put(o, "expected", number(-c->expected));
        good = good && put(o, "training", number(-c->train));
        good = good && put(o, "validation", number(-c->held));
        good = good && put(o, "middle", json_boolean(c->middle));
        ok = append(array, done(o, good));
    }
    return done(array, ok);
}

static json_t *slope_check(const iv_sweep *s)
{
    json_t *o = json_object();
    bool ok = put(o, "chords", count(s->chord_middle));
    ok = ok && put(o, "mean_error", number(s->chord_mean));
    ok = ok && put(o, "worst_error", number(s->chord_worst));
    return done(o, ok);
}

static json_t *latents(const iv_sweep *s)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t j = 0; ok && j < s->n; j++) {
        const iv_sweep_birth *b = &s->births[j];
        double between[2] = {b->hi, b->lo};
        json_t *o = json_object();
        bool good = put(o, "rank", count(j));
        good = good && put(o, "beta_predicted", number(b->predicted));
        good = good && put(o, "beta_seen", number(b->seen));
        good = good && put(o, "between", isfinite(b->lo) ? numbers(between, 2) : json_null());
        good = good && put(o, "log_beta_sd", number(b->sd));
        ok = append(array, done(o, good));
    }
    return done(array, ok);
}

/* Of the calibrated rule: residual variance over beta/2. */
static json_t *goal_value(const iv_sweep *s, double value)
{
    return number(s->target.goal == IV_GOAL_CALIBRATED ? exp(value) : value);
}

static json_t *trainings(const iv_sweep *s)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t i = 0; ok && i < s->n_retrains; i++) {
        const iv_sweep_retrain *r = &s->retrains[i];
        json_t *o = json_object();
        bool good = put(o, "value", goal_value(s, r->value));
        good = good && put(o, "value_of_curve", goal_value(s, r->predicted));
        good = good && put(o, "loss_gap_nats", number(r->loss_gap));
        good = good && put(o, "point", point(s, &r->point, NULL));
        ok = append(array, done(o, good));
    }
    return done(array, ok);
}

static json_t *answer(const iv_sweep_report *r)
{
    const iv_sweep *s = r->sweep;
    json_t *o = json_object(), *target = json_object(), *nearest = json_object();
    iv_text words = {0};
    iv_sweep_verdict(s, &words);
    bool ok = put(target, "goal", json_string(iv_sweep_goal_name(s->target.goal)));
    ok = ok && put(target, "value", number(s->target.value));
    ok = ok && put(target, "tolerance", number(s->tolerance));
    ok = put(o, "target", target) && ok;
    ok = ok && put(nearest, "beta", number(s->best_beta));
    ok = ok && put(nearest, "value", goal_value(s, s->best));
    ok = put(o, "nearest", nearest) && ok;
    ok = ok && put(o, "found", json_boolean(s->found));
    ok = ok && put(o, "at_smallest_beta", json_boolean(s->at_floor));
    ok = ok && put(o, "beta", number(s->beta));
    ok = ok && put(o, "active", s->found ? count(s->active) : json_null());
    ok = ok && put(o, "active_pca", s->found && s->comparable ? count(s->pca_active) : json_null());
    ok = ok && put(o, "reached", s->n_retrains ? json_boolean(s->reached) : json_null());
    ok = ok && put(o, "trainings", trainings(s));
    ok = ok && put(o, "model", string(r->output));
    ok = ok && put(o, "text", words.failed ? NULL : string(words.data));
    iv_text_free(&words);
    return done(o, ok);
}

static json_t *pca(const iv_sweep *s)
{
    json_t *o = json_object();
    bool ok = put(o, "eigenvalues", numbers(s->pca, s->n_pca));
    ok = ok && put(o, "total", s->n_pca ? number(s->pca_total) : json_null());
    ok = ok && put(o, "comparable", json_boolean(s->comparable));
    return done(o, ok);
}

static json_t *notes(const iv_sweep *s)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t i = 0; ok && i < s->n_notes; i++) ok = append(array, string(s->notes[i].text));
    return done(array, ok);
}

isovae_status iv_sweep_json(const iv_sweep_report *report, json_t **out, isovae_error *err)
{
    const iv_sweep *s = report->sweep;
    json_t *o = json_object();
    bool ok = put(o, "format", json_string("isovae-sweep/1"));
    ok = ok && put(o, "provenance", provenance(report));
    ok = ok && put(o, "input_dim", count(s->d));
    ok = ok && put(o, "latent_dim", count(s->n));
    ok = ok && put(o, "arch", string(s->arch));
    ok = ok && put(o, "loss", json_string(s->loss));
    ok = ok && put(o, "unit", json_string(s->unit));
    ok = ok && put(o, "variance", number(s->variance));
    ok = ok && put(o, "seeds", count(s->seeds));
    ok = ok && put(o, "steps", count(s->steps));
    ok = ok && put(o, "cold_steps", count(s->cold_steps));
    ok = ok && put(o, "answer", answer(report));
    ok = ok && put(o, "curve", curve(s));
    ok = ok && put(o, "slopes", slopes(s));
    ok = ok && put(o, "slope_check", slope_check(s));
    ok = ok && put(o, "latents", latents(s));
    ok = ok && put(o, "pca", pca(s));
    ok = ok && put(o, "notes", notes(s));
    if (!ok) {
        json_decref(o);
        return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory: the JSON report could not be built");
    }
    *out = o;
    return ISOVAE_OK;
}
