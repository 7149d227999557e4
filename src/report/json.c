/* The report as JSON, "isovae-report/1" (docs/report.schema.json). A number that does not exist is
 * null. Failed allocations are noticed once: a NULL value stays NULL upwards through iv_json_put.
 */
#include "report/facts.h"
#include "report/labels.h"
#include "report/noise.h"
#include "report/values.h"

#include <math.h>

static json_t *provenance(const iv_report_context *context)
{
    json_t *o = json_object();
    bool ok = iv_json_put(o, "version", json_string(ISOVAE_VERSION));
    ok = ok && iv_json_put(o, "command", iv_json_string(context->command));
    ok = ok && iv_json_put(o, "seed", iv_json_seed(context->seed));
    ok = ok && iv_json_put(o, "model_hash", iv_json_hash(context->model_hash));
    ok = ok && iv_json_put(o, "data_hash", iv_json_hash(context->data->hash));
    ok = ok && iv_json_put(o, "data", iv_json_string(context->data->source));
    ok = ok && iv_json_put(o, "split", iv_json_string(context->analysis->row_set));
    ok = ok && iv_json_put(o, "rows", iv_json_count(context->analysis->rows));
    ok = ok && iv_json_put(o, "rows_left_out", iv_json_count(context->analysis->bad_rows));
    return iv_json_done(o, ok);
}

static json_t *loading(const iv_report_context *context, const iv_loading *l)
{
    json_t *o = json_object();
    iv_text name = {0};
    iv_facts_feature(context, l->feature, &name);
    bool ok = !name.failed &&
              iv_json_put(o, "feature", iv_json_string(name.data != NULL ? name.data : ""));
    ok = ok && iv_json_put(o, "column", iv_json_count(l->feature));
    ok = ok && iv_json_put(o, "mean", iv_json_number(l->mean));
    ok = ok && iv_json_put(o, "share", iv_json_number(l->share));
    ok = ok && iv_json_put(o, "sign_consistency", iv_json_number(l->sign));
    iv_text_free(&name);
    return iv_json_done(o, ok);
}

/* Of the decoder's Jacobian, where parts of the model are missing. */
static json_t *column(const iv_latent_report *l)
{
    json_t *o = json_object();
    bool ok = iv_json_put(o, "square_mean", iv_json_number(l->column_square));
    ok = ok && iv_json_put(o, "length_cv", iv_json_number(l->column_cv));
    ok = ok && iv_json_put(o, "straight", iv_json_number(l->column_straight));
    return iv_json_done(o, ok);
}

static json_t *latent(const iv_report_context *context, const iv_latent_report *l)
{
    json_t *o = json_object(), *loadings = json_array();
    bool ok = iv_json_put(o, "index", iv_json_count(l->index));
    ok = ok && iv_json_put(o, "active", json_boolean(l->active));
    ok = ok && iv_json_put(o, "importance", iv_json_number(l->importance));
    ok = ok && iv_json_put(o, "importance_se", iv_json_number(l->importance_se));
    ok = ok && iv_json_put(o, "variance_y", iv_json_number(l->variance_y));
    ok = ok && iv_json_put(o, "variance_y_se", iv_json_number(l->variance_y_se));
    ok = ok && iv_json_put(o, "share", iv_json_number(l->share));
    ok = ok &&
         iv_json_put(o, "degenerate_group",
                     l->degenerate_group >= 0 ? json_integer(l->degenerate_group) : json_null());
    ok = ok && iv_json_put(o, "kl_nats", iv_json_number(l->kl));
    ok = ok && iv_json_put(o, "sigma2_mean", iv_json_number(l->sigma2_mean));
    ok = ok && iv_json_put(o, "norm_mean", iv_json_number(l->norm_mean));
    ok = ok && iv_json_put(o, "norm_sd", iv_json_number(l->norm_sd));
    ok = ok && iv_json_put(o, "optimality_mean", iv_json_number(l->optimality_mean));
    ok = ok && iv_json_put(o, "optimality_sd", iv_json_number(l->optimality_sd));
    ok = ok && iv_json_put(o, "stationarity_mean", iv_json_number(l->stationarity_mean));
    ok = ok && iv_json_put(o, "stationarity_se", iv_json_number(l->stationarity_se));
    ok = ok && iv_json_put(o, "isometry_rms", iv_json_number(l->spline_rms));
    ok = ok && iv_json_put(o, "rotation", iv_json_number(l->rotation));
    if (ok && context->analysis->unknown != IV_UNKNOWN_NOTHING)
        ok = iv_json_put(o, "column", column(l));
    for (size_t i = 0; ok && i < l->n_top; i++)
        ok = iv_json_append(loadings, loading(context, &l->top[i]));
    if (ok) {
        ok = iv_json_put(o, "loadings", loadings);
    } else {
        json_decref(loadings);
    }
    return iv_json_done(o, ok);
}

static json_t *latents(const iv_report_context *context)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t j = 0; ok && j < context->analysis->n; j++) {
        ok = iv_json_append(array, latent(context, &context->analysis->latents[j]));
    }
    return iv_json_done(array, ok);
}

static json_t *orthogonality(const iv_analysis *a)
{
    json_t *o = json_object();
    bool ok = iv_json_put(o, "mean_abs_cosine", iv_json_number(a->orthogonality.mean_abs_cosine));
    ok = ok && iv_json_put(o, "max_abs_cosine", iv_json_number(a->orthogonality.max_abs_cosine));
    ok = ok && iv_json_put(o, "cost_nats", iv_json_number(a->orthogonality.cost_nats));
    return iv_json_done(o, ok);
}

static json_t *distortion(const iv_analysis *a)
{
    json_t *o = json_object();
    bool ok = iv_json_put(o, "total", iv_json_number(a->distortion.total));
    ok = ok && iv_json_put(o, "transform", iv_json_number(a->distortion.transform));
    ok = ok && iv_json_put(o, "coding", iv_json_number(a->distortion.coding));
    ok = ok && iv_json_put(o, "coding_predicted", iv_json_number(a->distortion.coding_predicted));
    if (ok && a->noise.n > 0)
        ok = iv_json_put(o, "normaliser", iv_json_number(a->distortion.normaliser));
    ok = ok && iv_json_put(o, "residual", iv_json_number(a->distortion.residual));
    return iv_json_done(o, ok);
}

static json_t *iwae(const iv_analysis *a)
{
    if (a->density.iwae.k == 0) return json_null();
    json_t *o = json_object();
    bool ok = iv_json_put(o, "k", iv_json_count(a->density.iwae.k));
    ok = ok && iv_json_put(o, "rows", iv_json_count(a->density.iwae.rows));
    ok = ok && iv_json_put(o, "mean_difference", iv_json_number(a->density.iwae.mean_difference));
    ok = ok && iv_json_put(o, "sd", iv_json_number(a->density.iwae.sd));
    ok = ok && iv_json_put(o, "ess", iv_json_number(a->density.iwae.ess));
    return iv_json_done(o, ok);
}

static json_t *density(const iv_analysis *a)
{
    static const char *const at[] = {"0.01", "0.25", "0.5", "0.75", "0.99"};
    if (a->density.values == NULL) return json_null();
    json_t *o = json_object(), *q = json_object();
    bool ok = iv_json_put(o, "estimator", json_string(iv_estimate_name(a->density.estimate)));
    ok = ok && iv_json_put(o, "absolute", json_boolean(a->density.absolute));
    ok = ok && iv_json_put(o, "dimension", iv_json_count(a->density.dimension));
    ok = ok && iv_json_put(o, "mean", iv_json_number(a->density.mean));
    ok = ok && iv_json_put(o, "sd", iv_json_number(a->density.sd));
    for (size_t i = 0; ok && i < 5; i++)
        ok = iv_json_put(q, at[i], iv_json_number(a->density.quantiles[i]));
    if (ok) {
        ok = iv_json_put(o, "quantiles", q);
    } else {
        json_decref(q);
    }
    ok = ok && iv_json_put(o, "iwae", iwae(a));
    return iv_json_done(o, ok);
}

static json_t *pca(const iv_analysis *a)
{
    json_t *o = json_object();
    bool ok = iv_json_put(o, "eigenvalues", iv_json_numbers(a->pca.eigenvalues, a->pca.n));
    ok = ok && iv_json_put(o, "comparable", json_boolean(a->pca.comparable));
    ok = ok &&
         iv_json_put(o, "active_predicted",
                     a->pca.comparable && isfinite(a->beta) ? iv_json_count(a->pca.active_predicted)
                                                            : json_null());
    ok = ok && iv_json_put(o, "residual", iv_json_number(a->pca.residual));
    return iv_json_done(o, ok);
}

static json_t *image_quality(const iv_analysis *a)
{
    const iv_image_quality *q = &a->image_quality;
    if (q->rows == 0) return json_null();
    json_t *o = json_object();
    bool ok = iv_json_put(o, "psnr_db", iv_json_number(q->psnr_db));
    ok = ok && iv_json_put(o, "ssim", iv_json_number(q->ssim));
    ok = ok && iv_json_put(o, "ms_ssim", iv_json_number(q->ms_ssim));
    ok = ok && iv_json_put(o, "ms_ssim_scales", iv_json_count(q->scales));
    ok = ok && iv_json_put(o, "data_range", iv_json_number(q->range));
    ok = ok && iv_json_put(o, "rows", iv_json_count(q->rows));
    return iv_json_done(o, ok);
}

static json_t *warning(const iv_warning *w)
{
    json_t *o = json_object();
    bool ok = iv_json_put(o, "code", iv_json_string(w->code));
    ok = ok && iv_json_put(o, "value", iv_json_number(w->value));
    ok = ok && iv_json_put(o, "limit", iv_json_number(w->limit));
    ok = ok && iv_json_put(o, "text", iv_json_string(w->text));
    ok = ok && iv_json_put(o, "note", json_boolean(w->note));
    return iv_json_done(o, ok);
}

static json_t *warnings(const iv_analysis *a)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t i = 0; ok && i < a->n_warnings; i++)
        ok = iv_json_append(array, warning(&a->warnings[i]));
    return iv_json_done(array, ok);
}

static json_t *factor(const iv_analysis *a, size_t i)
{
    json_t *o = json_object();
    bool ok =
        iv_json_put(o, "name", iv_json_string(a->truth.names != NULL ? a->truth.names[i] : NULL));
    ok = ok && iv_json_put(o, "latent", iv_json_count(a->truth.latent[i]));
    ok = ok && iv_json_put(o, "spearman", iv_json_number(a->truth.spearman[i]));
    return iv_json_done(o, ok);
}

static json_t *factors(const iv_analysis *a)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t i = 0; ok && i < a->truth.n_factors; i++) ok = iv_json_append(array, factor(a, i));
    return iv_json_done(array, ok);
}

static json_t *density_truth(const iv_density_truth *d)
{
    json_t *o = json_object();
    bool ok = iv_json_put(o, "r", iv_json_number(d->r));
    ok = ok && iv_json_put(o, "r_log", iv_json_number(d->r_log));
    ok = ok && iv_json_put(o, "bias_nats", iv_json_number(d->bias_nats));
    ok = ok && iv_json_put(o, "sd_nats", iv_json_number(d->sd_nats));
    ok = ok && iv_json_put(o, "r_uncorrected", iv_json_number(d->r_uncorrected));
    ok = ok && iv_json_put(o, "r_log_uncorrected", iv_json_number(d->r_log_uncorrected));
    return iv_json_done(o, ok);
}

static json_t *densities(const iv_analysis *a)
{
    if (!a->truth.density_known) return json_null();
    json_t *o = json_object();
    bool ok = o != NULL;
    for (int e = 0; ok && e < IV_ESTIMATES; e++) {
        ok = iv_json_put(o, iv_estimate_name((iv_estimate)e), density_truth(&a->truth.density[e]));
    }
    return iv_json_done(o, ok);
}

static json_t *truth(const iv_analysis *a)
{
    json_t *o = json_object();
    size_t n = a->truth.known ? a->truth.n_factors : 0;
    bool ok = iv_json_put(o, "variances", iv_json_numbers(a->truth.variances, n));
    ok = ok && iv_json_put(o, "ratio", iv_json_numbers(a->truth.ratio, n));
    ok = ok && iv_json_put(o, "factors", n > 0 ? factors(a) : json_array());
    ok = ok && iv_json_put(o, "density", densities(a));
    return iv_json_done(o, ok);
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
        ok = iv_json_put(member, "active_dim", iv_json_count(active));
        ok =
            ok && iv_json_put(member, "elbo_nats", iv_json_number(iv_stored_elbo(one, m.held_out)));
        ok = iv_json_append(members, iv_json_done(member, ok));
    }
    ok = iv_json_put(o, "members", iv_json_done(members, ok)) && ok;
    ok = ok && iv_json_put(o, "member", iv_json_count(context->model->member));
    ok = ok && iv_json_put(o, "held_out", json_boolean(m.held_out));
    ok = ok && iv_json_put(o, "elbo_mean", iv_json_number(m.elbo_mean));
    ok = ok && iv_json_put(o, "elbo_sd", iv_json_number(m.elbo_sd));
    return iv_json_done(o, ok);
}

static json_t *jacobian(const iv_analysis *a)
{
    json_t *o = json_object();
    bool ok = iv_json_put(o, "spectrum", iv_json_numbers(a->jacobian.spectrum, a->n));
    ok = ok && iv_json_put(o, "length_cv", iv_json_number(a->jacobian.cv));
    ok = ok && iv_json_put(o, "straight", iv_json_number(a->jacobian.straight));
    return iv_json_done(o, ok);
}

static json_t *draws(const iv_audit *audit)
{
    json_t *o = json_object();
    bool ok = iv_json_put(o, "variance", iv_json_number(audit->variance));
    ok = ok && iv_json_put(o, "data_variance", iv_json_number(audit->data_variance));
    ok = ok && iv_json_put(o, "mean_distance", iv_json_number(audit->mean_distance));
    return iv_json_done(o, ok);
}

static json_t *audit(const iv_audit *audit, const iv_analysis *a)
{
    static const char *const unknown[] = {
        [IV_UNKNOWN_WIDTH] = "width", [IV_UNKNOWN_ENCODER] = "encoder"};
    json_t *o = json_object(), *check = json_object(), *notes = json_array();
    bool ok = notes != NULL;
    for (size_t i = 0; ok && i < audit->n_notes; i++)
        ok = iv_json_append(notes, iv_json_string(audit->notes[i]));
    ok = iv_json_put(o, "notes", iv_json_done(notes, ok)) && ok;
    bool put = iv_json_put(check, "error", iv_json_number(audit->error));
    put = put && iv_json_put(check, "mean", iv_json_number(audit->mean_error));
    put = put && iv_json_put(check, "pca", iv_json_number(audit->pca_error));
    put = put && iv_json_put(check, "pca_components", iv_json_count(audit->pca_components));
    put = put && iv_json_put(check, "rows", iv_json_count(audit->rows));
    ok = iv_json_put(o, "reconstruction", iv_json_done(check, put)) && ok && put;
    ok = ok && iv_json_put(o, "beta_known", json_boolean(audit->beta_known));
    ok = ok && iv_json_put(o, "beta_estimate", iv_json_number(audit->beta));
    ok = ok && iv_json_put(o, "beta_spread", iv_json_number(audit->beta_spread));
    ok = ok && iv_json_put(o, "width_slope", iv_json_number(audit->width_slope));
    if (a->unknown == IV_UNKNOWN_NOTHING) return iv_json_done(o, ok);
    ok = ok && iv_json_put(o, "unknown", json_string(unknown[a->unknown]));
    ok = ok && iv_json_put(o, "jacobian", jacobian(a));
    if (ok && a->unknown == IV_UNKNOWN_ENCODER) ok = iv_json_put(o, "draws", draws(audit));
    return iv_json_done(o, ok);
}

isovae_status iv_report_json(const iv_report_context *context, json_t **out, isovae_error *err)
{
    const iv_analysis *a = context->analysis;
    const iv_model *m = context->model;
    json_t *o = json_object();
    bool ok = iv_json_put(o, "format", json_string("isovae-report/1"));
    ok = ok && iv_json_put(o, "provenance", provenance(context));
    if (ok && context->audit != NULL) ok = iv_json_put(o, "audit", audit(context->audit, a));
    ok = ok && iv_json_put(o, "n_samples", iv_json_count(a->rows));
    ok = ok && iv_json_put(o, "input_dim", iv_json_count(a->d));
    ok = ok && iv_json_put(o, "latent_dim", iv_json_count(a->n));
    ok = ok && iv_json_put(o, "active_dim", iv_json_count(a->active));
    ok = ok && iv_json_put(o, "loss", json_string(iv_facts_loss(m)));
    ok = ok && iv_json_put(o, "beta", iv_json_number(a->beta));
    ok = ok && iv_json_put(o, "beta_estimate", iv_json_number(a->beta_estimate));
    const char *objective = m->objective == IV_OBJECTIVE_DECOMPOSED ? "decomposed" : "conventional";
    if (a->unknown != IV_UNKNOWN_NOTHING) objective = NULL;
    ok = ok && iv_json_put(o, "objective", iv_json_string(objective));
    ok = ok && iv_json_put(o, "space", iv_json_string(a->space));
    ok = ok && iv_json_put(o, "unit", iv_json_string(a->unit));
    ok = ok && iv_json_put(o, "latents", latents(context));
    ok = ok && iv_json_put(o, "orthogonality", orthogonality(a));
    ok = ok && iv_json_put(o, "distortion", distortion(a));
    ok = ok && iv_json_put(o, "rate_nats", iv_json_number(a->rate_nats));
    ok = ok && iv_json_put(o, "elbo_nats", iv_json_number(a->elbo_nats));
    ok = ok && iv_json_put(o, "elbo_se", iv_json_number(a->elbo_se));
    ok = ok && iv_json_put(o, "validation_gap_nats", iv_json_number(a->validation_gap_nats));
    ok = ok && iv_json_put(o, "density", density(a));
    ok = ok && iv_json_put(o, "pca", pca(a));
    if (ok && a->noise.n > 0) ok = iv_json_put(o, "noise", iv_noise_json(context));
    ok = ok && iv_json_put(o, "image_quality", image_quality(a));
    ok = ok && iv_json_put(o, "warnings", warnings(a));
    if (ok && a->labels.of != NULL) ok = iv_json_put(o, "labels", iv_labels_json(context));
    if (ok && context->ensemble != NULL && context->ensemble->n_more > 0) {
        ok = iv_json_put(o, "ensemble", ensemble(context));
    }
    if (ok && (a->truth.known || a->truth.density_known)) ok = iv_json_put(o, "truth", truth(a));
    if (!ok) {
        json_decref(o);
        return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory: the JSON report could not be built");
    }
    *out = o;
    return ISOVAE_OK;
}
