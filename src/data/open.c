/* From a data spec to a dataset: the file, its format by content, and who reads it. */
#include "data/dataset.h"

#include "base/file.h"
#include "data/blobs.h"
#include "data/build.h"
#include "data/cache.h"
#include "data/columns.h"
#include "data/read_pictures.h"
#include "data/read_table.h"
#include "data/source.h"
#include "data/toy.h"

#include <string.h>
#include <sys/stat.h>

static isovae_status check_no_pictures(const iv_data_options *options, isovae_error *err)
{
    const char *name = options->size != NULL   ? "--size"
                       : options->crop != NULL ? "--crop"
                       : options->grey         ? "--grey"
                       : options->strict       ? "--strict"
                                               : NULL;
    if (name == NULL) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "%s is for a folder or zip archive of JPEG and PNG pictures, which this is not",
                   name);
}

static isovae_status open_zip_of_pictures(iv_source *s, const iv_data_options *options,
                                          iv_dataset **out, isovae_error *err)
{
    iv_picture_list list;
    IV_TRY(iv_picture_list_zip(&s->block, &list, err));
    isovae_status status =
        list.n > 0 ? iv_read_pictures(&list, options, s->cache_key, out, err)
                   : iv_fail(err, ISOVAE_ERR_DATA,
                             "the zip archive holds no .npy array and no picture (JPEG, PNG)");
    iv_picture_list_free(&list);
    return status;
}

static isovae_status open_block(iv_source *s, const iv_data_options *options, iv_dataset **out,
                                isovae_error *err)
{
    IV_TRY(iv_source_unpack(s, err));
    if (iv_source_is_zip(s) && s->key == NULL && !iv_zip_has_arrays(&s->block)) {
        return open_zip_of_pictures(s, options, out, err);
    }
    IV_TRY(check_no_pictures(options, err));
    IV_TRY(iv_source_table(s, options, err));
    IV_TRY(iv_table_settle_image(&s->table, &s->block, err));
    return iv_read_table(&s->table, &s->block, s->release, options, s->cache_key, out, err);
}

static isovae_status open_folder(iv_source *s, const iv_data_options *options, iv_dataset **out,
                                 isovae_error *err)
{
    iv_picture_list list;
    IV_TRY(iv_picture_list_folder(s->path, &list, err));
    uint64_t key = iv_hash64(&list.key, sizeof list.key, s->cache_key);
    isovae_status status = iv_cache_find(options, key, out, err);
    if (status == ISOVAE_OK && *out == NULL) {
        status = iv_read_pictures(&list, options, key, out, err);
        if (status != ISOVAE_OK) status = iv_fail_prefix(err, status, "%s", s->path);
    }
    iv_picture_list_free(&list);
    return status;
}

static isovae_status open_source(iv_source *s, const char *spec, const iv_data_options *options,
                                 iv_dataset **out, isovae_error *err)
{
    bool standard = strcmp(spec, "-") == 0;
    struct stat info;
    s->cache_key = iv_cache_key(spec, options);
    if (!standard && stat(s->path, &info) == 0) {
        if (S_ISDIR(info.st_mode)) return open_folder(s, options, out, err);
        if (S_ISREG(info.st_mode)) {
            s->cache_key = iv_cache_key_file(s->cache_key, s->path, &info);
            IV_TRY(iv_cache_find(options, s->cache_key, out, err));
            if (*out != NULL) return ISOVAE_OK;
        }
    }
    IV_TRY(iv_block_read(s->path, &s->spool, &s->block, err)); /* names the file by itself */
    isovae_status status = open_block(s, options, out, err);
    if (status == ISOVAE_OK) return ISOVAE_OK;
    return iv_fail_prefix(err, status, "%s", standard ? "stdin" : spec);
}

static isovae_status open_file(const char *spec, const iv_data_options *options, iv_dataset **out,
                               isovae_error *err)
{
    iv_source s;
    isovae_status status = iv_source_new(spec, options, &s, err);
    if (status == ISOVAE_OK) status = open_source(&s, spec, options, out, err);
    iv_source_free(&s);
    return status;
}

/* A built-in set for a model: the same features in the same order, or nothing. */
static isovae_status match_built_in(const iv_dataset *data, const iv_data_options *options,
                                    isovae_error *err)
{
    iv_selection selection;
    iv_text note = {0};
    if (options->n_want == 0) return ISOVAE_OK;
    isovae_status status = iv_columns_select((const char *const *)data->names, data->cols,
                                             data->named, options, &selection, &note, err);
    iv_text_free(&note);
    if (status != ISOVAE_OK) return status;
    bool same = selection.n == data->cols;
    for (size_t i = 0; same && i < selection.n; i++) same = selection.columns[i] == i;
    iv_selection_free(&selection);
    if (same) return ISOVAE_OK;
    return iv_fail(
        err, ISOVAE_ERR_DATA,
        "the model takes some of the built-in set's features, or in another order: it was "
        "not trained on such a set");
}

static bool is_built_in(const char *spec)
{
    return strncmp(spec, "toy:", 4) == 0 || strncmp(spec, "blobs:", 6) == 0;
}

static isovae_status open_built_in(const char *spec, const iv_data_options *options,
                                   iv_dataset **out, isovae_error *err)
{
    iv_text note = {0};
    isovae_status status = check_no_pictures(options, err);
    if (status == ISOVAE_OK) {
        status = spec[0] == 't' ? iv_toy_open(spec, options, out, err)
                                : iv_blobs_open(spec, options, out, err);
    }
    if (status == ISOVAE_OK) status = match_built_in(*out, options, err);
    if (status == ISOVAE_OK) status = iv_build_finish(*out, &note, err);
    iv_text_free(&note);
    if (status != ISOVAE_OK) status = iv_fail_prefix(err, status, "%s", spec);
    return status;
}

isovae_status iv_dataset_open(const char *spec, const iv_data_options *options, iv_dataset **out,
                              isovae_error *err)
{
    iv_data_options usual;
    iv_data_options_init(&usual);
    if (options == NULL) options = &usual;
    *out = NULL;
    iv_dataset *data = NULL;
    isovae_status status = is_built_in(spec) ? open_built_in(spec, options, &data, err)
                                             : open_file(spec, options, &data, err);
    if (status == ISOVAE_OK) status = iv_strdup(&data->source, spec, err);
    if (status != ISOVAE_OK) {
        iv_dataset_free(data);
        return status;
    }
    *out = data;
    return ISOVAE_OK;
}
