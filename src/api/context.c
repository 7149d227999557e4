#include "api/handles.h"
#include "base/memory.h"
#include "kernels/kernels.h"

#include <string.h>

void isovae_context_config_init_(isovae_context_config *config, size_t struct_size)
{
    memset(config, 0, struct_size);
    config->struct_size = struct_size;
}

isovae_status isovae_context_new(const isovae_context_config *config, isovae_context **out,
                                 isovae_error *err)
{
    *out = NULL;
    if (config) IV_TRY(iv_check_config("context", config->struct_size, sizeof *config, err));
    const char *isa = config ? config->isa : NULL;
    if (!iv_kernels_get(IV_PRECISION_F32, isa))
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "%s: '%.40s' is not known, or not had by this processor",
                       isa ? "isa" : "ISOVAE_ISA", isa ? isa : iv_kernels_pinned());
    isovae_context *context;
    IV_TRY(IV_NEW(context, 1, "a context", err));
    isovae_status status = iv_pool_new(&context->pool, config ? config->threads : 0, err);
    if (!status && isa) status = iv_strdup(&context->isa, isa, err);
    if (status) {
        isovae_context_free(context);
        return status;
    }
    if (config) {
        context->progress = config->progress;
        context->user = config->user;
    }
    *out = context;
    return ISOVAE_OK;
}

void isovae_context_free(isovae_context *context)
{
    if (!context) return;
    iv_pool_free(context->pool);
    iv_free(context->isa);
    iv_free(context);
}

static bool forward_progress(void *user, const iv_progress_info *info)
{
    const isovae_context *context = user;
    return context->progress(context->user, info->stage, info->done, info->total) != 0;
}

iv_progress iv_context_progress(isovae_context *context)
{
    iv_progress progress = {.call = context->progress ? forward_progress : NULL, .user = context};
    return progress;
}
