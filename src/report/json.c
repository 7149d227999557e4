/* The report as JSON, "isovae-report/1" (docs/report.schema.json). A number that does not exist is
 * null. Failed allocations are noticed once: a NULL value stays NULL upwards through `put`. */
#include "report/facts.h"
#include "report/labels.h"
#include "report/noise.h"

#include <math.h>
#include <stdio.h>

static bool put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0; /* NULL object or value: -1 */
}

static bool append(json_t *array, json_t *value)
{
    return json_array_append_new(array, value) == 0;
}

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *count(size_t value)
{
    return json_integer((json_int_t)value);
}

/* Beyond the range of JSON integers as most readers take them: decimal text. */
static json_t *wide_count(uint64_t value)
{
    if (value <= (uint64_t)INT64_MAX) return json_integer((json_int_t)value);
    iv_text text = {0};
    iv_text_printf(&text, "%llu", (unsigned long long)value);
    json_t *string = text.failed ? NULL : json_string(text.data);
    iv_text_free(&text);
    return string;
}

static json_t *hash(uint64_t value)
{
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)value);
    return json_string(text);
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

static json_t *numbers(const double *values, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) {
        if (!append(array, number(values[i]))) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* `ok` false: the object is dropped. */
static json_t *done(json_t *object, bool ok)
{
    if (ok) return object;
    json_decref(object);
    return NULL;
}

static json_t *provenance(const iv_report_context *context)
{
    json_t *o = json_object();
    bool ok = put(o, "version", json_string(ISOVAE_VERSION));
    ok = ok && put(o, "command", string(context->command));
    ok = ok && put(o, "seed", wide_count(context->seed));
    ok = ok && put(o, "model_hash", hash(context->model_hash));
    ok = ok && put(o, "data_hash", hash(context->data->hash));
    ok = ok && put(o, "data", string(context->data->source));
    ok = ok && put(o, "split", string(context->analysis->row_set));
    ok = ok && put(o, "rows", count(context->analysis->rows));
    ok = ok && put(o, "rows_left_out", count(context->analysis->bad_rows));
    return done(o, ok);
}

static json_t *loading(const iv_report_context *context, const iv_loading *l)
{
    json_t *o = json_object();
    iv_text name = {0};
    iv_facts_feature(context, l->feature, &name);
    bool ok = !name.failed && put(o, "feature", string(name.data != NULL ? name.data : ""));
    ok = ok && put(o, "column", count(l->feature));
    ok = ok && put(o, "mean", number(l->mean));
    ok = ok && put(o, "share", number(l->share));
    ok = ok && put(o, "sign_consistency", number(l->sign));
    iv_text_free(&name);
    return done(o, ok);
}

static json_t *latent(const iv_report_context *context, const iv_latent_report *l)
{
    json_t *o = json_object(), *loadings = json_array();
    bool ok = put(o, "index", count(l->index));
    ok = ok && put(o, "active", json_boolean(l->active));
    ok = ok && put(o, "importance", number(l->importance));
    ok = ok && put(o, "importance_se", number(l->importance_se));
    ok = ok && put(o, "variance_y", number(l->variance_y));
    ok = ok && put(o, "variance_y_se", number(l->variance_y_se));
    ok = ok && put(o, "share", number(l->share));
    ok = ok && put(o, "degenerate_group",
                   l->degenerate_group >= 0 ? json_integer(l->degenerate_group) : json_null());
    ok = ok && put(o, "kl_nats", number(l->kl));
    ok = ok && put(o, "sigma2_mean", number(l->sigma2_mean));
    ok = ok && put(o, "norm_mean", number(l->norm_mean));
    ok = ok && put(o, "norm_sd", number(l->norm_sd));
    ok = ok && put(o, "optimality_mean", number(l->optimality_mean));
    ok = ok && put(o, "optimality_sd", number(l->optimality_sd));
    ok = ok && put(o, "stationarity_mean", number(l->stationarity_mean));
    ok = ok && put(o, "stationarity_se", number(l->stationarity_se));
    ok = ok && put(o, "isometry_rms", number(l->spline_rms));
    ok = ok && put(o, "rotation", number(l->rotation));
    for (size_t i = 0; ok && i < l->n_top; i++) ok = append(loadings, loading(context, &l->top[i]));
    if (ok) {
        ok = put(o, "loadings", loadings);
    } else {
        json_decref(loadings);
    }
    return done(o, ok);
}

static json_t *latents(const iv_report_context *context)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t j = 0; ok && j < context->analysis->n; j++) {
        ok = append(array, latent(context, &context->analysis->latents[j]));
    }
    return done(array, ok);
}

static json_t *orthogonality(const iv_analysis *a)
{
    json_t *o = json_object();
    bool ok = put(o, "mean_abs_cosine", number(a->orthogonality.mean_abs_cosine));
    ok = ok && put(o, "max_abs_cosine", number(a->orthogonality.max_abs_cosine));
    ok = ok && put(o, "cost_nats", number(a->orthogonality.cost_nats));
    return done(o, ok);
}

static json_t *distortion(const iv_analysis *a)
{
    json_t *o = json_object();
    bool ok = put(o, "total", number(a->distortion.total));
    ok = ok && put(o, "transform", number(a->distortion.transform));
    ok = ok && put(o, "coding", number(a->distortion.coding));
    ok = ok && put(o, "coding_predicted", number(a->distortion.coding_predicted));
    if (ok && a->noise.n > 0) ok = put(o, "normaliser", number(a->distortion.normaliser));
    ok = ok && put(o, "residual", number(a->distortion.residual));
    return done(o, ok);
}

static json_t *iwae(const iv_analysis *a)
{
    if (a->density.iwae.k == 0) return json_null();
    json_t *o = json_object();
    bool ok = put(o, "k", count(a->density.iwae.k));
    ok = ok && put(o, "rows", count(a->density.iwae.rows));
    ok = ok && put(o, "mean_difference", number(a->density.iwae.mean_difference));
    ok = ok && put(o, "sd", number(a->density.iwae.sd));
    ok = ok && put(o, "ess", number(a->density.iwae.ess));
    return done(o, ok);
}

static json_t *density(const iv_analysis *a)
{
    static const char *const at[] = {"0.01", "0.25", "0.5", "0.75", "0.99"};
    json_t *o = json_object(), *q = json_object();
    bool ok = put(o, "estimator", json_string(iv_estimate_name(a->density.estimate)));
    ok = ok && put(o, "absolute", json_boolean(a->density.absolute));
    ok = ok && put(o, "dimension", count(a->density.dimension));
    ok = ok && put(o, "mean", number(a->density.mean));
    ok = ok && put(o, "sd", number(a->density.sd));
    for (size_t i = 0; ok && i < 5; i++) ok = put(q, at[i], number(a->density.quantiles[i]));
    if (ok) {
        ok = put(o, "quantiles", q);
    } else {
        json_decref(q);
    }
    ok = ok && put(o, "iwae", iwae(a));
    return done(o, ok);
}

static json_t *pca(const iv_analysis *a)
{
    json_t *o = json_object();
    bool ok = put(o, "eigenvalues", numbers(a->pca.eigenvalues, a->pca.n));
    ok = ok && put(o, "comparable", json_boolean(a->pca.comparable));
    ok = ok && put(o, "active_predicted",
                   a->pca.comparable ? count(a->pca.active_predicted) : json_null());
    ok = ok && put(o, "residual", number(a->pca.residual));
    return done(o, ok);
}

static json_t *image_quality(const iv_analysis *a)
{
    const iv_image_quality *q = &a->image_quality;
    if (q->rows == 0) return json_null();
    json_t *o = json_object();
    bool ok = put(o, "psnr_db", number(q->psnr_db));
    ok = ok && put(o, "ssim", number(q->ssim));
    ok = ok && put(o, "ms_ssim", number(q->ms_ssim));
    ok = ok && put(o, "ms_ssim_scales", count(q->scales));
    ok = ok && put(o, "data_range", number(q->range));
    ok = ok && put(o, "rows", count(q->rows));
    return done(o, ok);
}

static json_t *warning(const iv_warning *w)
{
    json_t *o = json_object();
    bool ok = put(o, "code", string(w->code));
    ok = ok && put(o, "value", number(w->value));
    ok = ok && put(o, "limit", number(w->limit));
    ok = ok && put(o, "text", string(w->text));
    ok = ok && put(o, "note", json_boolean(w->note));
    return done(o, ok);
}

static json_t *warnings(const iv_analysis *a)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t i = 0; ok && i < a->n_warnings; i++) ok = append(array, warning(&a->warnings[i]));
    return done(array, ok);
}

static json_t *factor(const iv_analysis *a, size_t i)
{
    json_t *o = json_object();
    bool ok = put(o, "name", string(a->truth.names != NULL ? a->truth.names[i] : NULL));
    ok = ok && put(o, "latent", count(a->truth.latent[i]));
    ok = ok && put(o, "spearman", number(a->truth.spearman[i]));
    return done(o, ok);
}

static json_t *factors(const iv_analysis *a)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t i = 0; ok && i < a->truth.n_factors; i++) ok = append(array, factor(a, i));
    return done(array, ok);
}

static json_t *density_truth(const iv_density_truth *d)
{
    json_t *o = json_object();
    bool ok = put(o, "r", number(d->r));
    ok = ok && put(o, "r_log", number(d->r_log));
    ok = ok && put(o, "bias_nats", number(d->bias_nats));
    ok = ok && put(o, "sd_nats", number(d->sd_nats));
    return done(o, ok);
}

static json_t *densities(const iv_analysis *a)
{
    if (!a->truth.density_known) return json_null();
    json_t *o = json_object();
    bool ok = o != NULL;
    for (int e = 0; ok && e < IV_ESTIMATES; e++) {
        ok = put(o, iv_estimate_name((iv_estimate)e), density_truth(&a->truth.density[e]));
    }
    return done(o, ok);
}

static json_t *truth(const iv_analysis *a)
{
    json_t *o = json_object();
    size_t n = a->truth.known ? a->truth.n_factors : 0;
    bool ok = put(o, "variances", numbers(a->truth.variances, n));
    ok = ok && put(o, "ratio", numbers(a->truth.ratio, n));
    ok = ok && put(o, "factors", n > 0 ? factors(a) : json_array());
    ok = ok && put(o, "density", densities(a));
    return done(o, ok);
}

static json_t *ensemble(const iv_report_context *context)
{
    const iv_model *all = context->ensemble;
    iv_members_report m;
    json_t *o = json_object(), *members = json_array();
    bool ok = members != NULL;
    iv_members_of(all, &m);
    for (size_t k = 0; ok && k < m.n; k++) {
        const iv_model *one = iv_model_member(all, k);
        size_t active = 0;
        for (size_t j = 0; j < one->n; j++) active += one->active[j];
        json_t *member = json_object();
        ok = put(member, "active_dim", count(active));
        ok = ok && put(member, "elbo_nats", number(iv_stored_elbo(one, m.held_out)));
        ok = append(members, done(member, ok));
    }
    ok = put(o, "members", done(members, ok)) && ok;
    ok = ok && put(o, "member", count(context->model->member));
    ok = ok && put(o, "held_out", json_boolean(m.held_out));
    ok = ok && put(o, "elbo_mean", number(m.elbo_mean));
    ok = ok && put(o, "elbo_sd", number(m.elbo_sd));
    return done(o, ok);
}

isovae_status iv_report_json(const iv_report_context *context, json_t **out, isovae_error *err)
{
    const iv_analysis *a = context->analysis;
    const iv_model *m = context->model;
    json_t *o = json_object();
    bool ok = put(o, "format", json_string("isovae-report/1"));
    ok = ok && put(o, "provenance", provenance(context));
    ok = ok && put(o, "n_samples", count(a->rows));
    ok = ok && put(o, "input_dim", count(a->d));
    ok = ok && put(o, "latent_dim", count(a->n));
    ok = ok && put(o, "active_dim", count(a->active));
    ok = ok && put(o, "loss", json_string(iv_facts_loss(m)));
    ok = ok && put(o, "beta", number(a->beta));
    ok = ok && put(o, "beta_estimate", number(a->beta_estimate));
    ok = ok &&
         put(o, "objective",
             json_string(m->objective == IV_OBJECTIVE_DECOMPOSED ? "decomposed" : "conventional"));
    ok = ok && put(o, "space", string(a->space));
    ok = ok && put(o, "unit", string(a->unit));
    ok = ok && put(o, "latents", latents(context));
    ok = ok && put(o, "orthogonality", orthogonality(a));
    ok = ok && put(o, "distortion", distortion(a));
    ok = ok && put(o, "rate_nats", number(a->rate_nats));
    ok = ok && put(o, "elbo_nats", number(a->elbo_nats));
    ok = ok && put(o, "elbo_se", number(a->elbo_se));
    ok = ok && put(o, "validation_gap_nats", number(a->validation_gap_nats));
    ok = ok && put(o, "density", density(a));
    ok = ok && put(o, "pca", pca(a));
    if (ok && a->noise.n > 0) ok = put(o, "noise", iv_noise_json(context));
    ok = ok && put(o, "image_quality", image_quality(a));
    ok = ok && put(o, "warnings", warnings(a));
    if (ok && a->labels.of != NULL) ok = put(o, "labels", iv_labels_json(context));
    if (ok && context->ensemble != NULL && context->ensemble->n_more > 0) {
        ok = put(o, "ensemble", ensemble(context));
    }
    if (ok && (a->truth.known || a->truth.density_known)) ok = put(o, "truth", truth(a));
    if (!ok) {
        json_decref(o);
        return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory: the JSON report could not be built");
    }
    *out = o;
    return ISOVAE_OK;
}
