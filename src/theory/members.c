/* How the members of an ensemble agree, from what the model stores. */
#include "theory/rows.h"

#include <math.h>

static size_t active_of(const iv_model *model)
{
    size_t active = 0;
    for (size_t j = 0; model->active != NULL && j < model->n; j++) active += model->active[j];
    return active;
}

double iv_stored_elbo(const iv_model *model, bool held_out)
{
    double loss = held_out ? model->validation_loss : model->train_loss;
    if (model->metric.loss == IV_LOSS_BCE) return fabs(model->beta - 1) < 1e-12 ? -loss : NAN;
    if (!iv_loss_absolute(model->metric.loss)) return (double)NAN;
    return -loss / model->beta + iv_e6_normaliser(model, &model->scaling);
}

void iv_members_of(const iv_model *ensemble, iv_members_report *out)
{
    double sum = 0, squares = 0;
    *out = (iv_members_report){.n = iv_model_members(ensemble), .held_out = true};
    for (size_t k = 0; k < out->n; k++) {
        const iv_model *m = iv_model_member(ensemble, k);
        size_t active = active_of(m);
        if (k == 0 || active < out->least_active) out->least_active = active;
        if (active > out->most_active) out->most_active = active;
        if (!isfinite(m->validation_loss)) out->held_out = false;
    }
    for (size_t k = 0; k < out->n; k++) {
        sum += iv_stored_elbo(iv_model_member(ensemble, k), out->held_out);
    }
    out->elbo_mean = sum / (double)out->n;
    for (size_t k = 0; k < out->n; k++) {
        double off = iv_stored_elbo(iv_model_member(ensemble, k), out->held_out) - out->elbo_mean;
        squares += off * off;
    }
    out->elbo_sd = out->n > 1 ? sqrt(squares / (double)(out->n - 1)) : (double)NAN;
}
