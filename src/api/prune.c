#include "theory/prune.h"
#include "api/handles.h"

isovae_status isovae_prune(isovae_context *context, const isovae_model *model,
                           const isovae_data *data, isovae_model **out, isovae_pruned *about,
                           isovae_error *err)
{
    const iv_dataset *set = NULL;
    iv_pruned p = {0};
    *out = NULL;
    if (data) IV_TRY(iv_match_features(model, data, &set, err));
    IV_TRY(iv_prune(model->model, set, context->pool, context->isa, &p, err));
    if (about)
        *about = (isovae_pruned){.latents = p.latents,
                                 .kept = p.kept,
                                 .parameters = p.elements,
                                 .kept_parameters = p.kept_elements,
                                 .rows = p.rows,
                                 .change_rms = p.change_rms,
                                 .change_most = p.change_most,
                                 .output_sd = p.output_sd};
    return iv_wrap_model(p.model, out, err);
}
