/* Opening what a command works on, with the options that say how. */
#include "cli.h"

#include "base/file.h"
#include "data/labels.h"
#include "kernels/kernels.h"
#include "model/file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

isovae_status cli_pool(cli *c, isovae_error *err)
{
    if (c->pool != NULL) return ISOVAE_OK;
    const cli_value *threads = &c->opt[OPT_THREADS];
    if (threads->set && threads->count > 1024) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--threads: %llu is more than the 1024 allowed",
                       (unsigned long long)threads->count);
    }
    if (iv_kernels_get(IV_PRECISION_F32, cli_isa(c)) == NULL) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "%s: '%.40s' is no instruction set that this build and processor have",
                       cli_isa(c) != NULL ? "--isa" : "ISOVAE_ISA",
                       cli_isa(c) != NULL ? cli_isa(c) : iv_kernels_pinned());
    }
    return iv_pool_new(&c->pool, threads->set ? (size_t)threads->count : 0, err);
}

const char *cli_isa(const cli *c)
{
    return c->opt[OPT_ISA].text;
}

uint64_t cli_seed(const cli *c)
{
    return c->opt[OPT_SEED].count;
}

/* "500MB", "2GB", "64M", "1000000": bytes, the units in powers of 1024. */
static isovae_status parse_memory(const char *text, size_t *out, isovae_error *err)
{
    static const char units[] = "KMGT";
    size_t digits = strspn(text, "0123456789.");
    const char *unit = text + digits;
    double value = 0, factor = 1;
    bool fine = digits > 0 && iv_parse_double(text, digits, &value);
    const char *at = *unit != '\0' ? strchr(units, *unit & ~0x20) : NULL;
    if (at != NULL) {
        for (const char *u = units; u <= at; u++) factor *= 1024;
        unit++;
    }
    if (strcmp(unit, "B") == 0 || strcmp(unit, "iB") == 0) unit++, unit += *unit == 'B';
    if (fine && *unit == '\0' && value * factor >= 1 << 20 && value * factor <= 1e15) {
        *out = (size_t)(value * factor);
        return ISOVAE_OK;
    }
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "--memory: '%s' is no size from 1MB, such as 500MB or 2GB", text);
}

isovae_status cli_data_options(cli *c, const iv_model *model, iv_data_options *out,
                               isovae_error *err)
{
    if (c->opt[OPT_HEADER].set && c->opt[OPT_NO_HEADER].set) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--header and --no-header exclude each other");
    }
    iv_data_options_init(out);
    out->columns = c->opt[OPT_COLUMNS].text;
    out->drop = c->opt[OPT_DROP].text;
    out->id = c->opt[OPT_ID].text;
    out->split_by = c->opt[OPT_SPLIT_BY].text;
    out->truth_density = c->opt[OPT_TRUTH_DENSITY].text;
    if (c->opt[OPT_LABELS].set && !iv_labels_is_file(c->opt[OPT_LABELS].text)) {
        out->labels = c->opt[OPT_LABELS].text;
    }
    out->categorical = c->opt[OPT_CATEGORICAL].text;
    out->missing_rows = c->opt[OPT_MISSING].set && strcmp(c->opt[OPT_MISSING].text, "row") == 0;
    out->header = c->opt[OPT_HEADER].set ? 1 : c->opt[OPT_NO_HEADER].set ? 0 : -1;
    out->size = c->opt[OPT_SIZE].text;
    out->crop = c->opt[OPT_CROP].text;
    out->grey = c->opt[OPT_GREY].set;
    out->strict = c->opt[OPT_STRICT].set;
    out->cache = c->opt[OPT_CACHE].text;
    if (c->opt[OPT_MEMORY].set) IV_TRY(parse_memory(c->opt[OPT_MEMORY].text, &out->memory, err));
    IV_TRY(cli_pool(c, err));
    out->pool = c->pool;
    if (model != NULL) {
        out->want_height = model->height;
        out->want_width = model->width;
        out->want_channels = model->channels;
        out->want = (const char *const *)model->names;
        out->n_want = model->d;
        out->want_named = model->named;
        out->want_categories = &model->categories;
        out->categorical = NULL; /* the model knows */
    }
    out->progress = cli_progress(c);
    return ISOVAE_OK;
}

isovae_status cli_open_data(cli *c, const char *spec, const iv_model *model, iv_dataset **out,
                            isovae_error *err)
{
    iv_data_options options;
    IV_TRY(cli_data_options(c, model, &options, err));
    IV_TRY(iv_dataset_open(spec, &options, out, err));
    const iv_dataset *data = *out;
    cli_detail(c, "%s: %zu rows, %zu features", spec, data->rows, data->cols);
    if (data->note != NULL && *data->note != '\0') cli_hold(c, "%s: %s", spec, data->note);
    return ISOVAE_OK;
}

isovae_status cli_open_model(cli *c, const char *path, iv_model **out, isovae_error *err)
{
    static const size_t largest = (size_t)1 << 34; /* of a model file, as in iv_model_load */
    unsigned char *bytes = NULL;
    size_t length = 0;
    json_t *checkpoint = NULL;
    isovae_status status = iv_file_read(path, largest, &bytes, &length, err);
    if (status == ISOVAE_OK) status = iv_model_read(bytes, length, path, out, &checkpoint, err);
    iv_free(bytes);
    if (status != ISOVAE_OK) return status;
    if (checkpoint != NULL) {
        json_decref(checkpoint);
        cli_hold(c,
                 "%s is a checkpoint of a training that has not ended; 'isovae fit' goes on from "
                 "it with --resume",
                 path);
    }
    cli_detail(c, "%s: %zu features, %zu latents, %s", path, (*out)->d, (*out)->n,
               (*out)->arch != NULL ? (*out)->arch : "network");
    return ISOVAE_OK;
}

isovae_status cli_member(cli *c, const iv_model *model, const iv_model **out, isovae_error *err)
{
    size_t members = iv_model_members(model);
    uint64_t k = c->opt[OPT_MEMBER].set ? c->opt[OPT_MEMBER].count : 0;
    if (k >= members) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--member: the model has %zu member%s, 0%s",
                       members, members == 1 ? "" : "s", members == 1 ? "" : " to N - 1");
    }
    *out = iv_model_member(model, (size_t)k);
    if (members > 1) {
        cli_hold(c, "an ensemble of %zu: this is about member %llu%s", members,
                 (unsigned long long)k, c->opt[OPT_MEMBER].set ? "" : " (--member K for another)");
    }
    return ISOVAE_OK;
}
