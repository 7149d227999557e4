/* What a learned metric says of each feature: the scale of its noise, its tails, and beside them
 * the spread of the residuals that the noise stands for. */
#include "theory/summary.h"

#include "base/memory.h"

#include <math.h>

isovae_status iv_summarise_noise(iv_summary *s, isovae_error *err)
{
    iv_analysis *a = s->analysis;
    const iv_model *m = s->model;
    if (m->learned_elements == 0) return ISOVAE_OK;
    IV_TRY(IV_NEW(a->noise.features, a->d, "the noise of the features", err));
    a->noise.n = a->d;
    a->noise.tails = m->metric.loss == IV_LOSS_STUDENT;
    a->noise.floor = m->noise_floor;
    a->noise.heavy_limit = 10;
    for (size_t i = 0; i < a->d; i++) {
        iv_feature_noise *f = &a->noise.features[i];
        double s_scaled = iv_model_noise_s(m, i), scale = s->scaling->scale[i];
        double draws = (double)s->rows->rows * (double)s->options->elbo_draws;
        *f = (iv_feature_noise){.s = s_scaled * scale,
                                .s_scaled = s_scaled,
                                .nu = iv_model_noise_nu(m, i),
                                .residual_sd = (double)NAN,
                                /* single precision, and a last step of the rate's size */
                                .at_floor = s_scaled * s_scaled <= 1.01 * m->least_variance};
        if (s->rows->residual != NULL && draws > 0) {
            f->residual_sd = sqrt(s->rows->residual[i] / draws) * scale;
        }
        a->noise.at_floor += f->at_floor;
        a->noise.heavy += f->nu < a->noise.heavy_limit;
    }
    return ISOVAE_OK;
}
