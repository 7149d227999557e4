/* The sweep as JSON, "isovae-sweep/1" (docs/sweep.schema.json). A number that does not exist is
 * null. Failed allocations are noticed once: a NULL value stays NULL upwards through iv_json_put.
 */
#include "report/sweep.h"
#include "report/values.h"

#include <math.h>

static json_t *provenance(const iv_sweep_report *r)
{
    json_t *o = json_object();
    bool ok = iv_json_put(o, "version", json_string(ISOVAE_VERSION));
    ok = ok && iv_json_put(o, "command", iv_json_string(r->command));
    ok = ok && iv_json_put(o, "seed", iv_json_seed(r->sweep->seed));
    ok = ok && iv_json_put(o, "data_hash", iv_json_hash(r->data->hash));
    ok = ok && iv_json_put(o, "data", iv_json_string(r->data->source));
    ok = ok && iv_json_put(o, "rows_training", iv_json_count(r->sweep->n_train));
    ok = ok && iv_json_put(o, "rows_validation", iv_json_count(r->sweep->n_held));
    return iv_json_done(o, ok);
}

/* `sd` may be NULL, or hold NaN. */
static json_t *side(const iv_sweep_side *s, const iv_sweep_side *sd, double variance)
{
    json_t *o = json_object();
    bool ok = iv_json_put(o, "distortion", iv_json_number(s->distortion));
    ok = ok && iv_json_put(o, "transform", iv_json_number(s->transform));
    ok = ok && iv_json_put(o, "rate_nats", iv_json_number(s->rate));
    ok = ok && iv_json_put(o, "curve_distortion", iv_json_number(s->curve.distortion));
    ok = ok && iv_json_put(o, "curve_rate_nats", iv_json_number(s->curve.rate));
    ok = ok && iv_json_put(o, "r2", iv_json_number(1.0 - s->error / variance));
    ok = ok && iv_json_put(o, "psnr_db", iv_json_number(s->psnr));
    if (sd != NULL) {
        ok = ok && iv_json_put(o, "distortion_sd", iv_json_number(sd->distortion));
        ok = ok && iv_json_put(o, "rate_nats_sd", iv_json_number(sd->rate));
        ok = ok && iv_json_put(o, "curve_distortion_sd", iv_json_number(sd->curve.distortion));
        ok = ok && iv_json_put(o, "curve_rate_nats_sd", iv_json_number(sd->curve.rate));
        ok = ok && iv_json_put(o, "r2_sd", iv_json_number(sd->error / variance));
        ok = ok && iv_json_put(o, "psnr_db_sd", iv_json_number(sd->psnr));
    }
    return iv_json_done(o, ok);
}

static json_t *point(const iv_sweep *s, const iv_sweep_point *p, const iv_sweep_point *sd)
{
    double distortion, rate;
    size_t active;
    iv_sweep_linear(s, p->beta, &distortion, &rate, &active);
    json_t *o = json_object(), *linear = json_null();
    bool ok = iv_json_put(o, "beta", iv_json_number(p->beta));
    ok = ok && iv_json_put(o, "active", iv_json_number(p->active));
    if (sd != NULL) ok = ok && iv_json_put(o, "active_sd", iv_json_number(sd->active));
    ok = ok && iv_json_put(o, "active_pca", s->comparable ? iv_json_count(active) : json_null());
    ok = ok && iv_json_put(o, "training", side(&p->train, sd ? &sd->train : NULL, s->variance));
    ok = ok && iv_json_put(o, "validation",
                           s->n_held ? side(&p->held, sd ? &sd->held : NULL, s->held_variance)
                                     : json_null());
    ok = ok && iv_json_put(o, "coding", iv_json_number(p->train.distortion - p->train.transform));
    ok = ok && iv_json_put(o, "coding_predicted", iv_json_number(p->coding_predicted));
    if (s->comparable) {
        linear = json_object();
        ok = ok && iv_json_put(linear, "distortion", iv_json_number(distortion));
        ok = ok && iv_json_put(linear, "rate_nats", iv_json_number(rate));
    }
    ok = iv_json_put(o, "linear", linear) && ok;
    ok = ok && iv_json_put(o, "kl_nats", iv_json_numbers(p->kl, s->n));
    ok = ok && iv_json_put(o, "importance", iv_json_numbers(p->importance, s->n));
    return iv_json_done(o, ok);
}

static json_t *curve(const iv_sweep *s)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t k = 0; ok && k < s->points; k++)
        ok = iv_json_append(array, point(s, &s->mean[k], &s->sd[k]));
    return iv_json_done(array, ok);
}

static json_t *slopes(const iv_sweep *s)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t k = 0; ok && k + 1 < s->points; k++) {
        const iv_sweep_chord *c = &s->chords[k];
        json_t *o = json_object();
        bool good = iv_json_put(o, "beta_large", iv_json_number(s->mean[k].beta));
        good = good && iv_json_put(o, "beta_small", iv_json_number(s->mean[k + 1].beta));
        good = good && iv_json_put(o, "expected", iv_json_number(-c->expected));
        good = good && iv_json_put(o, "training", iv_json_number(-c->train));
        good = good && iv_json_put(o, "validation", iv_json_number(-c->held));
        good = good && iv_json_put(o, "middle", json_boolean(c->middle));
        ok = iv_json_append(array, iv_json_done(o, good));
    }
    return iv_json_done(array, ok);
}

static json_t *slope_check(const iv_sweep *s)
{
    json_t *o = json_object();
    bool ok = iv_json_put(o, "chords", iv_json_count(s->chord_middle));
    ok = ok && iv_json_put(o, "mean_error", iv_json_number(s->chord_mean));
    ok = ok && iv_json_put(o, "worst_error", iv_json_number(s->chord_worst));
    return iv_json_done(o, ok);
}

static json_t *latents(const iv_sweep *s)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t j = 0; ok && j < s->n; j++) {
        const iv_sweep_birth *b = &s->births[j];
        double between[2] = {b->hi, b->lo};
        json_t *o = json_object();
        bool good = iv_json_put(o, "rank", iv_json_count(j));
        good = good && iv_json_put(o, "beta_predicted", iv_json_number(b->predicted));
        good = good && iv_json_put(o, "beta_seen", iv_json_number(b->seen));
        good = good && iv_json_put(o, "between",
                                   isfinite(b->lo) ? iv_json_numbers(between, 2) : json_null());
        good = good && iv_json_put(o, "log_beta_sd", iv_json_number(b->sd));
        ok = iv_json_append(array, iv_json_done(o, good));
    }
    return iv_json_done(array, ok);
}

/* Of the calibrated rule: residual variance over beta/2. */
static json_t *goal_value(const iv_sweep *s, double value)
{
    return iv_json_number(s->target.goal == IV_GOAL_CALIBRATED ? exp(value) : value);
}

static json_t *trainings(const iv_sweep *s)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t i = 0; ok && i < s->n_retrains; i++) {
        const iv_sweep_retrain *r = &s->retrains[i];
        json_t *o = json_object();
        bool good = iv_json_put(o, "value", goal_value(s, r->value));
        good = good && iv_json_put(o, "value_of_curve", goal_value(s, r->predicted));
        good = good && iv_json_put(o, "loss_gap_nats", iv_json_number(r->loss_gap));
        good = good && iv_json_put(o, "point", point(s, &r->point, NULL));
        ok = iv_json_append(array, iv_json_done(o, good));
    }
    return iv_json_done(array, ok);
}

static json_t *answer(const iv_sweep_report *r)
{
    const iv_sweep *s = r->sweep;
    json_t *o = json_object(), *target = json_object(), *nearest = json_object();
    iv_text words = {0};
    iv_sweep_verdict(s, &words);
    bool ok = iv_json_put(target, "goal", json_string(iv_sweep_goal_name(s->target.goal)));
    ok = ok && iv_json_put(target, "value", iv_json_number(s->target.value));
    ok = ok && iv_json_put(target, "tolerance", iv_json_number(s->tolerance));
    ok = iv_json_put(o, "target", target) && ok;
    ok = ok && iv_json_put(nearest, "beta", iv_json_number(s->best_beta));
    ok = ok && iv_json_put(nearest, "value", goal_value(s, s->best));
    ok = iv_json_put(o, "nearest", nearest) && ok;
    ok = ok && iv_json_put(o, "found", json_boolean(s->found));
    ok = ok && iv_json_put(o, "at_smallest_beta", json_boolean(s->at_floor));
    ok = ok && iv_json_put(o, "beta", iv_json_number(s->beta));
    ok = ok && iv_json_put(o, "active", s->found ? iv_json_count(s->active) : json_null());
    ok = ok && iv_json_put(o, "active_pca",
                           s->found && s->comparable ? iv_json_count(s->pca_active) : json_null());
    ok = ok && iv_json_put(o, "reached", s->n_retrains ? json_boolean(s->reached) : json_null());
    ok = ok && iv_json_put(o, "trainings", trainings(s));
    ok = ok && iv_json_put(o, "model", iv_json_string(r->output));
    ok = ok && iv_json_put(o, "text", words.failed ? NULL : iv_json_string(words.data));
    iv_text_free(&words);
    return iv_json_done(o, ok);
}

static json_t *pca(const iv_sweep *s)
{
    json_t *o = json_object();
    bool ok = iv_json_put(o, "eigenvalues", iv_json_numbers(s->pca, s->n_pca));
    ok = ok && iv_json_put(o, "total", s->n_pca ? iv_json_number(s->pca_total) : json_null());
    ok = ok && iv_json_put(o, "comparable", json_boolean(s->comparable));
    return iv_json_done(o, ok);
}

static json_t *notes(const iv_sweep *s)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t i = 0; ok && i < s->n_notes; i++)
        ok = iv_json_append(array, iv_json_string(s->notes[i].text));
    return iv_json_done(array, ok);
}

isovae_status iv_sweep_json(const iv_sweep_report *report, json_t **out, isovae_error *err)
{
    const iv_sweep *s = report->sweep;
    json_t *o = json_object();
    bool ok = iv_json_put(o, "format", json_string("isovae-sweep/1"));
    ok = ok && iv_json_put(o, "provenance", provenance(report));
    ok = ok && iv_json_put(o, "input_dim", iv_json_count(s->d));
    ok = ok && iv_json_put(o, "latent_dim", iv_json_count(s->n));
    ok = ok && iv_json_put(o, "arch", iv_json_string(s->arch));
    ok = ok && iv_json_put(o, "loss", json_string(s->loss));
    ok = ok && iv_json_put(o, "unit", json_string(s->unit));
    ok = ok && iv_json_put(o, "variance", iv_json_number(s->variance));
    ok = ok && iv_json_put(o, "seeds", iv_json_count(s->seeds));
    ok = ok && iv_json_put(o, "steps", iv_json_count(s->steps));
    ok = ok && iv_json_put(o, "cold_steps", iv_json_count(s->cold_steps));
    ok = ok && iv_json_put(o, "answer", answer(report));
    ok = ok && iv_json_put(o, "curve", curve(s));
    ok = ok && iv_json_put(o, "slopes", slopes(s));
    ok = ok && iv_json_put(o, "slope_check", slope_check(s));
    ok = ok && iv_json_put(o, "latents", latents(s));
    ok = ok && iv_json_put(o, "pca", pca(s));
    ok = ok && iv_json_put(o, "notes", notes(s));
    if (!ok) {
        json_decref(o);
        return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory: the JSON report could not be built");
    }
    *out = o;
    return ISOVAE_OK;
}
