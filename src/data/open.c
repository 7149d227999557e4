/* From a data spec to a dataset: the file, its format by content, and who reads it. */
#include "data/dataset.h"

#include "base/file.h"
#include "data/blobs.h"
#include "data/build.h"
#include "data/cache.h"
#include "data/columns.h"
#include "data/read_pictures.h"
#include "data/read_table.h"
#include "data/reader.h"
#include "data/toy.h"

#include <string.h>
#include <sys/stat.h>

enum { LEAST_RELEASE = 1 << 18 };

/* A source while it is being read: `block` is what the table looks into. */
typedef struct source {
    char *path;
    const char *key; /* in an .npz, .mat or HDF5 file, or NULL */
    iv_block block;
    iv_spool spool;
    size_t release;     /* bytes of a mapped block after which its pages are given back */
    uint64_t cache_key; /* names a kept row cache */
    iv_table table;
} source;

static void replace_block(source *s, iv_block block)
{
    iv_block_free(&s->block);
    s->block = block;
}

/* "FILE:KEY" where FILE:KEY is no file itself, but FILE is. */
static isovae_status split_spec(const char *spec, source *s, isovae_error *err)
{
    struct stat info;
    const char *colon = strrchr(spec, ':');
    IV_TRY(iv_strdup(&s->path, spec, err));
    if (colon == NULL || colon == spec || strcmp(spec, "-") == 0 || stat(spec, &info) == 0) {
        return ISOVAE_OK;
    }
    size_t at = (size_t)(colon - spec);
    s->path[at] = '\0';
    if (stat(s->path, &info) == 0) {
        s->key = s->path + at + 1;
    } else {
        s->path[at] = ':';
    }
    return ISOVAE_OK;
}

static bool starts_with(const source *s, const char *magic, size_t length)
{
    return s->block.length >= length && memcmp(s->block.data, magic, length) == 0;
}

static bool is_zip(const source *s)
{
    return starts_with(s, "PK\x03\x04", 4) || starts_with(s, "PK\x05\x06", 4);
}

/* Also behind a block of the writer's own, as MATLAB 7.3 has one. */
static bool is_hdf5(const source *s)
{
    static const char magic[] = "\x89HDF\r\n\x1a\n";
    enum { LENGTH = 8, FIRST = 512, LAST = 1 << 16 };
    if (starts_with(s, magic, LENGTH)) return true;
    for (size_t at = FIRST; at <= LAST && at + LENGTH <= s->block.length; at *= 2) {
        if (memcmp(s->block.data + at, magic, LENGTH) == 0) return true;
    }
    return false;
}

/* By content: .npz, .mat and HDF5 are unpacked, then the table is opened over the block. */
static isovae_status open_table(source *s, const iv_data_options *options, isovae_error *err)
{
    iv_block unpacked;
    if (is_zip(s)) {
        IV_TRY(iv_unpack_npz(&s->block, s->key, &s->spool, &unpacked, err));
        replace_block(s, unpacked);
        return iv_read_npy(s->block.data, s->block.length, &s->table, err);
    }
    bool mat = iv_is_mat(s->block.data, s->block.length);
    if (mat || is_hdf5(s)) {
        unsigned char *values;
        IV_TRY((mat ? iv_read_mat : iv_read_hdf5)(s->block.data, s->block.length, s->key,
                                                  iv_build_limit(options), &s->table, &values,
                                                  err));
        replace_block(s, (iv_block){.data = values}); /* NULL for a sparse one */
        return ISOVAE_OK;
    }
    if (s->key != NULL) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "':%s' asks for an array by name, but this is no .npz, .mat or HDF5 file",
                       s->key);
    }
    const unsigned char *data = s->block.data;
    size_t length = s->block.length;
    if (starts_with(s, "\x93NUMPY", 6)) return iv_read_npy(data, length, &s->table, err);
    if (starts_with(s, "\xff\xd8\xff", 3) || starts_with(s, "\x89PNG", 4)) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "this is one picture; name the folder or zip archive that holds them all");
    }
    if (starts_with(s, "\0\0", 2)) return iv_read_idx(data, length, &s->table, err);
    size_t release = s->block.mapped > 0 ? s->release : 0;
    return iv_read_csv_mapped(data, length, options->header, release, &s->table, err);
}

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

static isovae_status open_zip_of_pictures(source *s, const iv_data_options *options,
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

static isovae_status open_block(source *s, const iv_data_options *options, iv_dataset **out,
                                isovae_error *err)
{
    iv_block unpacked;
    if (s->block.length == 0) return iv_fail(err, ISOVAE_ERR_DATA, "the file is empty");
    if (starts_with(s, "\x1f\x8b", 2)) {
        IV_TRY(iv_unpack_gzip(&s->block, &s->spool, &unpacked, err));
        replace_block(s, unpacked);
        if (s->block.length == 0) {
            return iv_fail(err, ISOVAE_ERR_DATA, "the compressed file is empty");
        }
        if (starts_with(s, "\x1f\x8b", 2)) {
            return iv_fail(err, ISOVAE_ERR_DATA, "the file is compressed twice; unpack it once");
        }
    }
    if (is_zip(s) && s->key == NULL && !iv_zip_has_arrays(&s->block)) {
        return open_zip_of_pictures(s, options, out, err);
    }
    IV_TRY(check_no_pictures(options, err));
    IV_TRY(open_table(s, options, err));
    IV_TRY(iv_table_settle_image(&s->table, &s->block, err));
    return iv_read_table(&s->table, &s->block, s->release, options, s->cache_key, out, err);
}

static isovae_status open_folder(source *s, const iv_data_options *options, iv_dataset **out,
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

static isovae_status open_source(source *s, const char *spec, const iv_data_options *options,
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
    source s = {.spool = {.resident = iv_build_memory(options) / 4,
                          .limit = iv_build_source_limit(options)}};
    s.release = s.spool.resident > LEAST_RELEASE ? s.spool.resident : LEAST_RELEASE;
    isovae_status status = split_spec(spec, &s, err);
    if (status == ISOVAE_OK) status = open_source(&s, spec, options, out, err);
    iv_table_free(&s.table);
    iv_block_free(&s.block);
    iv_free(s.path);
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
