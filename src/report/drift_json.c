#include "report/drift.h"

#include "report/values.h"

static json_t *side(const iv_drift_context *c, size_t s)
{
    const iv_drift_side *d = &c->drift->side[s];
    json_t *o = json_object();
    bool ok = iv_json_put(o, "data", iv_json_string(c->data[s]->source)) &&
              iv_json_put(o, "data_hash", iv_json_hash(c->data[s]->hash)) &&
              iv_json_put(o, "rows", iv_json_count(d->rows)) &&
              iv_json_put(o, "unusable_rows", iv_json_count(d->bad_rows)) &&
              iv_json_put(o, "model_rows", iv_json_count(d->looked)) &&
              iv_json_put(o, "feature_rows", iv_json_count(c->drift->feature_rows[s])) &&
              iv_json_put(o, "held_out", json_boolean(d->held_out)) &&
              iv_json_put(o, "trained_on", json_boolean(d->trained_on));
    return iv_json_done(o, ok);
}

static const char *feature_name(const iv_drift_context *c, size_t feature)
{
    return c->model->names != NULL ? c->model->names[feature] : NULL;
}

static json_t *behind(const iv_drift_context *c, const iv_drift_item *item)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t i = 0; i < item->n_behind && ok; i++) {
        json_t *o = json_object();
        const iv_drift_part *part = &item->behind[i];
        ok = iv_json_put(o, "feature", iv_json_string(feature_name(c, part->feature))) &&
             iv_json_put(o, "amount", iv_json_number(part->amount));
        ok = iv_json_append(array, o) && ok;
    }
    return iv_json_done(array, ok);
}

static json_t *tests(const iv_drift_item *item)
{
    json_t *o = json_object();
    bool ok = o != NULL;
    for (int t = 0; t < IV_TWO_SAMPLE_TESTS && ok; t++) {
        json_t *test = json_object();
        ok = iv_json_put(test, "p", iv_json_number(item->test.p[t])) &&
             iv_json_put(test, "adjusted", iv_json_number(item->adjusted[t]));
        ok = iv_json_put(o, iv_two_sample_name((iv_two_sample_test)t), test) && ok;
    }
    return iv_json_done(o, ok);
}

static json_t *item_json(const iv_drift_context *c, const iv_drift_item *item)
{
    const iv_two_sample *t = &item->test;
    json_t *o = json_object();
    bool ok = iv_json_put(o, "what", json_string(iv_drift_what_name(item->what)));
    if (item->what == IV_DRIFT_LATENT) {
        ok = ok && iv_json_put(o, "latent", iv_json_count(item->index));
    } else if (item->what == IV_DRIFT_FEATURE) {
        ok = ok && iv_json_put(o, "feature", iv_json_string(feature_name(c, item->index)));
    }
    ok = ok && iv_json_put(o, "found", json_boolean(item->found)) &&
         iv_json_put(o, "tested", json_boolean(item->tested)) &&
         iv_json_put(o, "p_adjusted", iv_json_number(item->p_adjusted)) &&
         iv_json_put(o, "mean_reference", iv_json_number(t->mean[0])) &&
         iv_json_put(o, "mean_new", iv_json_number(t->mean[1])) &&
         iv_json_put(o, "sd_reference", iv_json_number(t->sd[0])) &&
         iv_json_put(o, "sd_new", iv_json_number(t->sd[1])) &&
         iv_json_put(o, "shift_sd", iv_json_number(t->shift)) &&
         iv_json_put(o, "spread_ratio", iv_json_number(t->spread)) &&
         iv_json_put(o, "distance", iv_json_number(t->distance)) &&
         iv_json_put(o, "tests", tests(item)) && iv_json_put(o, "behind", behind(c, item));
    return iv_json_done(o, ok);
}

static json_t *provenance(const iv_drift_context *c)
{
    json_t *o = json_object();
    bool ok = iv_json_put(o, "version", json_string(ISOVAE_VERSION)) &&
              iv_json_put(o, "command", iv_json_string(c->command)) &&
              iv_json_put(o, "model_hash", iv_json_hash(c->model_hash));
    return iv_json_done(o, ok);
}

isovae_status iv_drift_json(const iv_drift_context *context, json_t **out, isovae_error *err)
{
    const iv_drift *drift = context->drift;
    json_t *root = json_object(), *model = json_array(), *data = json_array();
    bool ok = iv_json_put(root, "format", json_string("isovae-drift/1")) &&
              iv_json_put(root, "provenance", provenance(context)) &&
              iv_json_put(root, "reference", side(context, 0)) &&
              iv_json_put(root, "new", side(context, 1)) &&
              iv_json_put(root, "alpha", iv_json_number(drift->alpha)) &&
              iv_json_put(root, "tests", iv_json_count(drift->tests)) &&
              iv_json_put(root, "found", json_boolean(drift->found)) &&
              iv_json_put(root, "found_latents", iv_json_count(drift->found_latents)) &&
              iv_json_put(root, "found_features", iv_json_count(drift->found_features));
    for (size_t i = 0; i < drift->n_model + drift->n_data && ok; i++) {
        ok =
            iv_json_append(i < drift->n_model ? model : data, item_json(context, &drift->items[i]));
    }
    ok = iv_json_put(root, "model", model) && ok;
    ok = iv_json_put(root, "features", data) && ok;
    if (!ok) {
        json_decref(root);
        return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for the JSON report");
    }
    *out = root;
    return ISOVAE_OK;
}
