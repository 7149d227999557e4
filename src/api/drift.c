#include "theory/drift.h"
#include "api/answer.h"
#include "model/file.h"
#include "report/drift.h"

isovae_status isovae_drift(isovae_context *context, const isovae_model *model,
                           const isovae_data *reference, const isovae_data *fresh, double alpha,
                           isovae_answer **out, isovae_error *err)
{
    iv_drift_context report = {.model = model->model};
    const iv_drift_options options = {.alpha = alpha,
                                      .isa = context->isa,
                                      .pool = context->pool,
                                      .progress = iv_context_progress(context)};
    iv_drift *drift = NULL;
    iv_text text = {0};
    json_t *json = NULL;
    *out = NULL;
    if (!(alpha > 0 && alpha < 1))
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "alpha: %g does not lie between 0 and 1", alpha);
    IV_TRY(iv_match_features(model, reference, &report.data[0], err));
    IV_TRY(iv_match_features(model, fresh, &report.data[1], err));
    IV_TRY(iv_model_hash(model->model, &report.model_hash, err));
    IV_TRY(iv_drift_between(model->model, reference->set, fresh->set, &options, &drift, err));
    report.drift = drift;
    isovae_status status = iv_drift_text(&report, &text, err);
    if (!status) status = iv_drift_json(&report, &json, err);
    if (status) {
        iv_text_free(&text);
    } else {
        status = iv_answer_new(&text, json, NULL, out, err);
    }
    iv_drift_free(drift);
    return status;
}
