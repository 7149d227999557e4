/* isovae export MODEL --onnx DIR */
#include "cli.h"

#include "api/export.h"

static isovae_status tell(const cli *c, const iv_model *model, const char *folder, bool scorer,
                          isovae_error *err)
{
    iv_text text = {0};
    isovae_status status = ISOVAE_OK;
    const char *in = model->n_more > 0 ? "member*/" : "";
    bool y = model->splines != NULL && model->splines[0].n > 0;
    iv_text_printf(&text, "%s/%sencoder.onnx   x (rows, %zu) -> mu, logvar%s (rows, %zu)\n", folder,
                   in, model->d, y ? ", y" : "", model->n);
    iv_text_printf(&text, "%s/%sdecoder.onnx   z (rows, %zu) -> x (rows, %zu)\n", folder, in,
                   model->n, model->d);
    if (scorer)
        iv_text_printf(&text, "%s/scorer.onnx    x (rows, %zu) -> log_density (rows)\n", folder,
                       model->d);
    if (!c->quiet) status = cli_print(&text, err);
    iv_text_free(&text);
    return status;
}

isovae_status cmd_export(cli *c, isovae_error *err)
{
    const char *folder = c->opt[OPT_ONNX].text;
    iv_model *model = NULL;
    iv_text reason = {0};
    if (folder == NULL)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--onnx DIR: say where the ONNX files are to go");
    isovae_status status = cli_open_model(c, c->argument[0], &model, err);
    if (!status) status = iv_export_folder(model, folder, &reason, err);
    if (!status && reason.length > 0) cli_note(c, "no scorer.onnx: %s", reason.data);
    if (!status) status = tell(c, model, folder, reason.length == 0, err);
    iv_text_free(&reason);
    iv_model_free(model);
    return status;
}
