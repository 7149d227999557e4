#include "report/stability.h"

#include "report/values.h"

static json_t *run_json(const iv_stability_run *run, const iv_agreement *a, size_t r)
{
    json_t *o = json_object();
    bool ok = iv_json_put(o, "seed", iv_json_seed(run->seed)) &&
              iv_json_put(o, "failed", json_boolean(run->failed)) &&
              iv_json_put(o, "reason", run->failed ? iv_json_string(run->reason) : json_null()) &&
              iv_json_put(o, "active", iv_json_count(run->active)) &&
              iv_json_put(o, "not_elsewhere", iv_json_count(a->alone[r])) &&
              iv_json_put(o, "beta", run->failed ? json_null() : iv_json_number(run->beta)) &&
              iv_json_put(o, "steps", iv_json_count((size_t)run->steps)) &&
              iv_json_put(o, "restarts", iv_json_count(run->restarts)) &&
              iv_json_put(o, "folded", json_boolean(run->folded));
    return iv_json_done(o, ok);
}

static json_t *column(size_t runs, const double *values, size_t stride)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t r = 0; r < runs && ok; r++) {
        ok = iv_json_append(array, iv_json_number(values[r * stride]));
    }
    return iv_json_done(array, ok);
}

static json_t *latent_json(const iv_agreement *a, size_t j)
{
    const iv_agreed_latent *l = &a->latents[j];
    json_t *o = json_object();
    bool ok = iv_json_put(o, "latent", iv_json_count(l->latent)) &&
              iv_json_put(o, "unit", iv_json_count(l->unit)) &&
              iv_json_put(o, "match_mean", iv_json_number(l->match_mean)) &&
              iv_json_put(o, "match_min", iv_json_number(l->match_min)) &&
              iv_json_put(o, "found", iv_json_count(l->found)) &&
              iv_json_put(o, "variance_y_mean", iv_json_number(l->variance_mean)) &&
              iv_json_put(o, "variance_y_sd", iv_json_number(l->variance_sd)) &&
              iv_json_put(o, "turned", iv_json_number(l->turned)) &&
              iv_json_put(o, "match", column(a->runs, a->match + j, a->n)) &&
              iv_json_put(o, "variance_y", column(a->runs, a->variance + j, a->n));
    return iv_json_done(o, ok);
}

static json_t *unit_json(const iv_agreement *a, size_t u)
{
    const iv_agreed_unit *unit = &a->units[u];
    json_t *o = json_object(), *members = json_array();
    bool ok = members != NULL;
    for (size_t i = 0; i < unit->n && ok; i++) {
        ok = iv_json_append(members, iv_json_count(a->latents[unit->member[i]].latent));
    }
    ok = iv_json_put(o, "latents", members) && ok;
    ok = ok && iv_json_put(o, "claimed", json_boolean(unit->claimed)) &&
         iv_json_put(o, "found", iv_json_count(unit->found)) &&
         iv_json_put(o, "directions_shared", iv_json_count(unit->shared)) &&
         iv_json_put(o, "match_mean", iv_json_number(unit->match_mean)) &&
         iv_json_put(o, "match_min", iv_json_number(unit->match_min)) &&
         iv_json_put(o, "variance_y_mean", iv_json_number(unit->variance_mean)) &&
         iv_json_put(o, "variance_y_sd", iv_json_number(unit->variance_sd)) &&
         iv_json_put(o, "match", column(a->runs, a->unit_match + u, a->n_units));
    return iv_json_done(o, ok);
}

static json_t *provenance(const iv_stability_context *c)
{
    json_t *o = json_object();
    bool ok = iv_json_put(o, "version", json_string(ISOVAE_VERSION)) &&
              iv_json_put(o, "command", iv_json_string(c->command)) &&
              iv_json_put(o, "data", iv_json_string(c->data->source)) &&
              iv_json_put(o, "data_hash", iv_json_hash(c->data->hash));
    return iv_json_done(o, ok);
}

isovae_status iv_stability_json(const iv_stability_context *c, json_t **out, isovae_error *err)
{
    const iv_stability *s = c->stability;
    const iv_agreement *a = s->agreement;
    iv_text quote = {0};
    json_t *root = json_object(), *runs = json_array(), *latents = json_array(),
           *units = json_array();
    iv_stability_quote(a, &quote);
    bool ok = !quote.failed && iv_json_put(root, "format", json_string("isovae-stability/1")) &&
              iv_json_put(root, "provenance", provenance(c)) &&
              iv_json_put(root, "summary", iv_json_string(quote.data)) &&
              iv_json_put(root, "n_runs", iv_json_count(s->n_runs)) &&
              iv_json_put(root, "failed", iv_json_count(s->failed)) &&
              iv_json_put(root, "rows", iv_json_count(s->rows)) &&
              iv_json_put(root, "held_out", json_boolean(s->held_out)) &&
              iv_json_put(root, "least_match", iv_json_number(a->least)) &&
              iv_json_put(root, "central_seed", iv_json_seed(s->runs[a->central].seed));
    for (size_t r = 0; r < s->n_runs && ok; r++) {
        ok = iv_json_append(runs, run_json(&s->runs[r], a, r));
    }
    for (size_t u = 0; u < a->n_units && ok; u++) ok = iv_json_append(units, unit_json(a, u));
    for (size_t j = 0; j < a->n && ok; j++) ok = iv_json_append(latents, latent_json(a, j));
    ok = iv_json_put(root, "units", units) && ok;
    ok = iv_json_put(root, "latents", latents) && ok;
    ok = iv_json_put(root, "runs", runs) && ok;
    iv_text_free(&quote);
    if (!ok) {
        json_decref(root);
        return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for the JSON report");
    }
    *out = root;
    return ISOVAE_OK;
}
