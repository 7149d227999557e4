#include "train/stability.h"
#include "api/answer.h"
#include "model/file.h"
#include "report/stability.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void isovae_stability_config_init_(isovae_stability_config *config, size_t struct_size)
{
    memset(config, 0, struct_size);
    config->struct_size = struct_size;
    if (struct_size == sizeof *config) config->match = NAN;
}

static isovae_status translate(isovae_context *context, const isovae_fit_config *fit,
                               const isovae_stability_config *config, const iv_dataset *data,
                               iv_stability_options *o, isovae_error *err)
{
    *o = (iv_stability_options){.runs = 10, .least = 0.9};
    IV_TRY(iv_take_fit_config(context, fit, data, &o->fit, err));
    if (!config) return ISOVAE_OK;
    IV_TRY(iv_check_config("stability", config->struct_size, sizeof *config, err));
    if (config->runs) o->runs = config->runs;
    if (!isnan(config->match)) o->least = config->match;
    o->folder = config->folder;
    if (o->runs < 2 || o->runs > IV_STABILITY_MOST_RUNS)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "runs: %zu is not a number from 2 to %d", o->runs,
                       (int)IV_STABILITY_MOST_RUNS);
    if (!(o->least > 0 && o->least <= 1))
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "match: %g is not above 0 and at most 1",
                       o->least);
    return ISOVAE_OK;
}

/* A folder of our own below TMPDIR. */
static isovae_status make_folder(iv_text *path, isovae_error *err)
{
    const char *base = getenv("TMPDIR");
    iv_text_printf(path, "%s/isovae-stability-XXXXXX", base && *base ? base : "/tmp");
    IV_TRY(iv_text_check(path, err));
    if (mkdtemp(path->data)) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_IO, "%s: cannot make this folder: %s", path->data,
                   strerror(errno));
}

/* The folder of make_folder with the files that the runs left there. */
static void remove_folder(const char *path)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;
    if (!folder) return;
    while ((entry = readdir(folder))) {
        iv_text file = {0};
        iv_text_printf(&file, "%s/%s", path, entry->d_name);
        if (!file.failed && entry->d_name[0] != '.') unlink(file.data);
        iv_text_free(&file);
    }
    closedir(folder);
    rmdir(path);
}

static isovae_status tell(const iv_stability *s, const iv_dataset *data, isovae_answer **out,
                          isovae_error *err)
{
    const iv_stability_context context = {.data = data, .stability = s};
    iv_text text = {0}, html = {0};
    json_t *json = NULL;
    isovae_status status = iv_stability_text(&context, &text, err);
    if (!status) status = iv_stability_html(&context, &html, err);
    if (!status) status = iv_stability_json(&context, &json, err);
    if (!status) return iv_answer_new(&text, json, &html, out, err);
    iv_text_free(&text);
    iv_text_free(&html);
    return status;
}

/* The model of the run that agrees best with the others, as it stands in the folder. */
static isovae_status load_central(const iv_stability *s, const char *folder, isovae_model **out,
                                  isovae_error *err)
{
    iv_text path = {0};
    isovae_status status =
        iv_stability_path(folder, s->runs[s->agreement->central].seed, false, &path, err);
    if (!status) status = isovae_model_load(path.data, out, err);
    iv_text_free(&path);
    return status;
}

static isovae_status make(const iv_dataset *data, const iv_stability_options *options,
                          isovae_answer **out, isovae_model **model, isovae_error *err)
{
    iv_stability *s;
    IV_TRY(iv_stability_make(data, options, &s, err));
    isovae_status status = tell(s, data, out, err);
    if (!status && model) status = load_central(s, options->folder, model, err);
    if (status) {
        isovae_answer_free(*out);
        *out = NULL;
    }
    iv_stability_free(s);
    return status;
}

isovae_status isovae_stability(isovae_context *context, const isovae_data *data,
                               const isovae_fit_config *fit, const isovae_stability_config *config,
                               isovae_answer **out, isovae_model **model, isovae_error *err)
{
    iv_stability_options options;
    iv_dataset split = *data->set; /* the same rows, and which of them are held out */
    double *group = NULL;
    iv_text folder = {0};
    *out = NULL;
    if (model) *model = NULL;
    IV_TRY(translate(context, fit, config, data->set, &options, err));
    isovae_status status = ISOVAE_OK;
    if (config && config->same_split)
        status = iv_stability_same_split(data->set, &options.fit, &group, err);
    if (group) split.group = group;
    bool own = options.folder == NULL;
    if (!status && own) {
        status = make_folder(&folder, err);
        options.folder = folder.data;
        own = !status;
    }
    if (!status) status = make(&split, &options, out, model, err);
    if (own && options.folder) remove_folder(options.folder);
    iv_text_free(&folder);
    iv_free(group);
    return status;
}
