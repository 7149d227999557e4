/* isovae prune MODEL [DATA] -o MODEL */
#include "cli.h"

#include "model/file.h"
#include "theory/prune.h"

static void tell(const iv_pruned *p, iv_text *text)
{
    iv_text_printf(text, "latents      %zu -> %zu\n", p->latents, p->kept);
    iv_text_puts(text, "parameters   ");
    cli_count_text(text, p->elements);
    iv_text_puts(text, " -> ");
    cli_count_text(text, p->kept_elements);
    iv_text_puts(text, "\n");
    if (p->rows == 0) return;
    iv_text_printf(text,
                   "Dec(mu)      changed by %.2g on average (root mean square), %.2g at most, on ",
                   p->change_rms, p->change_most);
    cli_count_text(text, p->rows);
    iv_text_printf(text, " rows; it varies by %.2g\n", p->output_sd);
}

isovae_status cmd_prune(cli *c, isovae_error *err)
{
    const char *path = c->opt[OPT_OUTPUT].text;
    iv_model *model = NULL;
    iv_dataset *data = NULL;
    iv_pruned pruned = {0};
    iv_text text = {0};
    if (path == NULL)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "-o: say where the smaller model is to go");
    IV_TRY(cli_check_writable(path, err));
    IV_TRY(cli_pool(c, err));
    isovae_status status = cli_open_model(c, c->argument[0], &model, err);
    if (!status && c->n_arguments > 1) status = cli_open_data(c, c->argument[1], model, &data, err);
    if (!status) status = iv_prune(model, data, c->pool, cli_isa(c), &pruned, err);
    if (!status) status = iv_model_save(pruned.model, path, err);
    if (!status) {
        if (pruned.kept == pruned.latents)
            cli_note(c, "all %zu latents are active: nothing was dropped", pruned.latents);
        tell(&pruned, &text);
        if (!c->quiet) status = cli_print(&text, err);
    }
    iv_text_free(&text);
    iv_model_free(pruned.model);
    iv_dataset_free(data);
    iv_model_free(model);
    return status;
}
