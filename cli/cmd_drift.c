/* isovae drift MODEL REFERENCE NEW */
#include "cli.h"

#include "base/file.h"
#include "model/file.h"
#include "report/drift.h"
#include "report/values.h"

#include <string.h>

static isovae_status json_of(const iv_drift_context *context, iv_text *text, isovae_error *err)
{
    json_t *root = NULL;
    IV_TRY(iv_drift_json(context, &root, err));
    return iv_json_text(root, text, err);
}

static isovae_status tell(cli *c, const iv_drift_context *context, isovae_error *err)
{
    const char *json = c->opt[OPT_JSON].text;
    bool printed = json != NULL && strcmp(json, "-") == 0;
    iv_text text = {0};
    isovae_status status = ISOVAE_OK;
    if (json != NULL) {
        status = json_of(context, &text, err);
        if (status == ISOVAE_OK && !printed) {
            status = iv_file_write(json, text.data, text.length, err);
        }
        if (status == ISOVAE_OK && printed) status = cli_print(&text, err);
        iv_text_free(&text);
    }
    if (status == ISOVAE_OK && !printed && !c->quiet) {
        status = iv_drift_text(context, &text, err);
        if (status == ISOVAE_OK) status = cli_print(&text, err);
        iv_text_free(&text);
    }
    return status;
}

isovae_status cmd_drift(cli *c, isovae_error *err)
{
    const char *json = c->opt[OPT_JSON].text;
    iv_model *model = NULL;
    iv_dataset *reference = NULL, *fresh = NULL;
    iv_drift *drift = NULL;
    iv_drift_context context = {.command = c->typed, .color = c->color};
    iv_drift_options options = {.alpha = c->opt[OPT_ALPHA].set ? c->opt[OPT_ALPHA].number : 0.05};
    if (json != NULL && strcmp(json, "-") != 0) IV_TRY(cli_check_writable(json, err));
    if (!(options.alpha > 0 && options.alpha < 1)) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--alpha: %g does not lie between 0 and 1",
                       options.alpha);
    }
    IV_TRY(cli_pool(c, err));
    options.isa = cli_isa(c);
    options.pool = c->pool;
    options.progress = cli_progress(c);
    isovae_status status = cli_open_model(c, c->argument[0], &model, err);
    if (status == ISOVAE_OK) status = iv_model_hash(model, &context.model_hash, err);
    if (status == ISOVAE_OK) status = cli_open_data(c, c->argument[1], model, &reference, err);
    if (status == ISOVAE_OK) status = cli_open_data(c, c->argument[2], model, &fresh, err);
    if (status == ISOVAE_OK) {
        status = iv_drift_between(model, reference, fresh, &options, &drift, err);
    }
    if (status == ISOVAE_OK) {
        context.model = model;
        context.data[0] = reference;
        context.data[1] = fresh;
        context.drift = drift;
        context.width = cli_width(stdout);
        status = tell(c, &context, err);
    }
    if (status == ISOVAE_OK) c->answer_is_no = drift->found;
    iv_drift_free(drift);
    iv_dataset_free(fresh);
    iv_dataset_free(reference);
    iv_model_free(model);
    return status;
}
