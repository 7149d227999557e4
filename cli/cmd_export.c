/* isovae export MODEL --onnx DIR */
#include "cli.h"

#include "onnx/export.h"
#include "theory/rows.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static isovae_status make_folder(const char *path, isovae_error *err)
{
    struct stat info;
    if (mkdir(path, 0777) == 0) return ISOVAE_OK;
    if (errno == EEXIST && stat(path, &info) == 0 && S_ISDIR(info.st_mode)) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_IO, "cannot make folder %s: %s", path,
                   errno == EEXIST ? "a file of that name is there" : strerror(errno));
}

static isovae_status path_of(const char *folder, const char *name, iv_text *path, isovae_error *err)
{
    iv_text_free(path);
    *path = (iv_text){0};
    iv_text_printf(path, "%s/%s", folder, name);
    return iv_text_check(path, err);
}

/* Encoder and decoder of one network, into a folder. */
static isovae_status put_pair(const iv_model *model, const char *folder, isovae_error *err)
{
    iv_text path = {0};
    isovae_status status = make_folder(folder, err);
    if (!status) status = path_of(folder, "encoder.onnx", &path, err);
    if (!status) status = iv_onnx_write_encoder(model, path.data, err);
    if (!status) status = path_of(folder, "decoder.onnx", &path, err);
    if (!status) status = iv_onnx_write_decoder(model, path.data, err);
    iv_text_free(&path);
    return status;
}

/* A scorer that cannot be written is left out, and one of an earlier export taken away. */
static isovae_status put_scorer(cli *c, const iv_model *model, const char *folder, bool *there,
                                isovae_error *err)
{
    iv_onnx_score *scores;
    iv_text path = {0};
    size_t members = iv_model_members(model);
    IV_TRY(IV_NEW(scores, members, "members", err));
    for (size_t k = 0; k < members; k++) {
        const iv_model *member = iv_model_member(model, k);
        scores[k] = (iv_onnx_score){.normaliser = iv_e6_normaliser(member, &member->scaling),
                                    .changed = iv_dropped_cost(member, 1)};
    }
    isovae_status status = path_of(folder, "scorer.onnx", &path, err);
    if (!status) status = iv_onnx_write_scorer(model, scores, path.data, err);
    *there = status == ISOVAE_OK;
    if (status == ISOVAE_ERR_UNSUPPORTED) {
        cli_note(c, "no scorer.onnx: %s", err->message);
        status = ISOVAE_OK;
        if (unlink(path.data) != 0 && errno != ENOENT)
            status = iv_fail(err, ISOVAE_ERR_IO, "cannot remove the earlier %s: %s", path.data,
                             strerror(errno));
    }
    iv_text_free(&path);
    iv_free(scores);
    return status;
}

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
    bool scorer = false;
    if (folder == NULL)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--onnx DIR: say where the ONNX files are to go");
    isovae_status status = cli_open_model(c, c->argument[0], &model, err);
    if (!status) status = make_folder(folder, err);
    if (!status && model->n_more == 0) status = put_pair(model, folder, err);
    for (size_t k = 0; !status && model->n_more > 0 && k < iv_model_members(model); k++) {
        iv_text path = {0};
        iv_text_printf(&path, "%s/member%zu", folder, k);
        status = iv_text_check(&path, err);
        if (!status) status = put_pair(iv_model_member(model, k), path.data, err);
        iv_text_free(&path);
    }
    if (!status) status = put_scorer(c, model, folder, &scorer, err);
    if (!status) status = tell(c, model, folder, scorer, err);
    iv_model_free(model);
    return status;
}
