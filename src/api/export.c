#include "api/export.h"
#include "api/handles.h"
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

static isovae_status put_scorer(const iv_model *model, const char *folder, iv_text *reason,
                                isovae_error *err)
{
    iv_onnx_score *scores;
    iv_text path = {0};
    isovae_error why = {.status = ISOVAE_OK}; /* the caller's may be NULL */
    size_t members = iv_model_members(model);
    IV_TRY(IV_NEW(scores, members, "members", err));
    for (size_t k = 0; k < members; k++) {
        const iv_model *member = iv_model_member(model, k);
        scores[k] = (iv_onnx_score){.normaliser = iv_e6_normaliser(member, &member->scaling),
                                    .changed = iv_dropped_cost(member, 1)};
    }
    isovae_status status = path_of(folder, "scorer.onnx", &path, err);
    if (!status) status = iv_onnx_write_scorer(model, scores, path.data, &why);
    if (status == ISOVAE_ERR_UNSUPPORTED) {
        iv_text_puts(reason, why.message);
        status = iv_text_check(reason, err);
        if (!status && unlink(path.data) != 0 && errno != ENOENT)
            status = iv_fail(err, ISOVAE_ERR_IO, "cannot remove the earlier %s: %s", path.data,
                             strerror(errno));
    } else if (status && why.status) {
        status = iv_fail(err, status, "%s", why.message);
    }
    iv_text_free(&path);
    iv_free(scores);
    return status;
}

isovae_status iv_export_folder(const iv_model *model, const char *folder, iv_text *reason,
                               isovae_error *err)
{
    isovae_status status = make_folder(folder, err);
    if (!status && model->n_more == 0) status = put_pair(model, folder, err);
    for (size_t k = 0; !status && model->n_more > 0 && k < iv_model_members(model); k++) {
        iv_text path = {0};
        iv_text_printf(&path, "%s/member%zu", folder, k);
        status = iv_text_check(&path, err);
        if (!status) status = put_pair(iv_model_member(model, k), path.data, err);
        iv_text_free(&path);
    }
    if (!status) status = put_scorer(model, folder, reason, err);
    return status;
}

isovae_status isovae_export_onnx(const isovae_model *model, const char *folder, char **reason,
                                 isovae_error *err)
{
    iv_text why = {0};
    if (reason) *reason = NULL;
    isovae_status status = iv_export_folder(model->model, folder, &why, err);
    if (!status && reason && why.length > 0) status = iv_strdup(reason, why.data, err);
    iv_text_free(&why);
    return status;
}
