/* A model on a backend. Parameters go up in the backend's own precision: f64 from f32 exactly. */
#include "model/eval.h"

#include "base/memory.h"

static isovae_status upload_params(iv_eval *eval, isovae_error *err)
{
    const iv_model *model = eval->model;
    const iv_kernels *k = eval->k;
    IV_TRY(k->alloc(&eval->params, model->param_elements, "the parameters", err));
    if (model->dtype == IV_F64) {
        k->upload(eval->params, model->params, model->param_elements);
    } else {
        k->upload_f32(eval->params, model->params, model->param_elements);
    }
    return ISOVAE_OK;
}

static isovae_status make_parts(iv_eval *eval, const iv_eval_plan *plan, isovae_error *err)
{
    const iv_model *model = eval->model;
    const iv_kernels *k = eval->k;
    const iv_eval *weights = plan->weights;
    if (weights != NULL && (weights->model != model || weights->k != k || plan->encoder_reverse ||
                            plan->decoder_reverse)) {
        return iv_fail(err, ISOVAE_ERR_INTERNAL, "weights shared between unlike workspaces");
    }
    iv_metric_use use = iv_model_metric_use(model, eval->lanes);
    IV_TRY(iv_metric_new(&model->metric, k, &use, &eval->metric, err));
    if (weights != NULL) {
        eval->weights = weights;
        eval->params = weights->params;
    } else {
        IV_TRY(upload_params(eval, err));
    }
    iv_metric_settle(eval->metric, iv_at(k, eval->params, model->learned_at));
    iv_exec_plan encoder = {.rows = plan->rows,
                            .reverse = plan->encoder_reverse,
                            .lanes = eval->lanes,
                            .weights = weights != NULL ? weights->encoder : NULL};
    iv_exec_plan decoder = {.rows = plan->rows,
                            .reverse = plan->decoder_reverse,
                            .tangent_rows = plan->tangents > 0 ? plan->tangent_rows : 0,
                            .tangents = plan->tangents,
                            .lanes = eval->lanes,
                            .weights = weights != NULL ? weights->decoder : NULL};
    IV_TRY(iv_exec_new(model->encoder, k, &encoder, &eval->encoder, err));
    IV_TRY(iv_exec_new(model->decoder, k, &decoder, &eval->decoder, err));
    if (weights != NULL) return ISOVAE_OK;
    iv_exec_prepare_all(eval->encoder, eval->params);
    iv_exec_prepare_all(eval->decoder, eval->params);
    return ISOVAE_OK;
}

isovae_status iv_eval_new(const iv_model *model, const iv_kernels *k, const iv_eval_plan *plan,
                          iv_eval **out, isovae_error *err)
{
    *out = NULL;
    iv_eval *eval;
    IV_TRY(IV_NEW(eval, 1, "a workspace", err));
    eval->model = model;
    eval->k = k;
    eval->rows = plan->rows;
    eval->lanes = plan->lanes == 0 ? 1 : plan->lanes;
    isovae_status status = make_parts(eval, plan, err);
    if (status != ISOVAE_OK) {
        iv_eval_free(eval);
        return status;
    }
    *out = eval;
    return ISOVAE_OK;
}

void iv_eval_free(iv_eval *eval)
{
    if (eval == NULL) return;
    iv_exec_free(eval->encoder);
    iv_exec_free(eval->decoder);
    iv_metric_free(eval->metric);
    if (eval->params != NULL && eval->weights == NULL) eval->k->release(eval->params);
    iv_free(eval);
}

void iv_eval_encode(iv_eval *eval, size_t first, size_t count, size_t lane)
{
    iv_exec_forward(eval->encoder, eval->params, first, count, lane);
}

void iv_eval_decode(iv_eval *eval, size_t first, size_t count, size_t lane)
{
    iv_exec_forward(eval->decoder, eval->params, first, count, lane);
}

void *iv_eval_x(const iv_eval *eval)
{
    return iv_exec_value(eval->encoder, eval->model->encoder->inputs[0]);
}

void *iv_eval_mu(const iv_eval *eval)
{
    return iv_exec_value(eval->encoder, eval->model->mu);
}

void *iv_eval_logvar(const iv_eval *eval)
{
    return iv_exec_value(eval->encoder, eval->model->logvar);
}

void *iv_eval_z(const iv_eval *eval)
{
    return iv_exec_value(eval->decoder, eval->model->decoder->inputs[0]);
}

void *iv_eval_out(const iv_eval *eval)
{
    return iv_exec_value(eval->decoder, eval->model->out);
}
