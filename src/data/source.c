#include "data/source.h"

#include "base/memory.h"
#include "data/build.h"

#include <string.h>
#include <sys/stat.h>

enum { LEAST_RELEASE = 1 << 18 };

void iv_source_replace(iv_source *s, iv_block block)
{
    iv_block_free(&s->block);
    s->block = block;
}

/* "FILE:KEY" where FILE:KEY is no file itself, but FILE is. */
static isovae_status split_spec(const char *spec, iv_source *s, isovae_error *err)
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

bool iv_source_starts(const iv_source *s, const char *magic, size_t length)
{
    return s->block.length >= length && memcmp(s->block.data, magic, length) == 0;
}

bool iv_source_is_zip(const iv_source *s)
{
    return iv_source_starts(s, "PK\x03\x04", 4) || iv_source_starts(s, "PK\x05\x06", 4);
}

bool iv_source_is_hdf5(const iv_source *s)
{
    static const char magic[] = "\x89HDF\r\n\x1a\n";
    enum { LENGTH = 8, FIRST = 512, LAST = 1 << 16 };
    if (iv_source_starts(s, magic, LENGTH)) return true;
    for (size_t at = FIRST; at <= LAST && at + LENGTH <= s->block.length; at *= 2) {
        if (memcmp(s->block.data + at, magic, LENGTH) == 0) return true;
    }
    return false;
}

isovae_status iv_source_table(iv_source *s, const iv_data_options *options, isovae_error *err)
{
    iv_block unpacked;
    if (iv_source_is_zip(s)) {
        IV_TRY(iv_unpack_npz(&s->block, s->key, &s->spool, &unpacked, err));
        iv_source_replace(s, unpacked);
        return iv_read_npy(s->block.data, s->block.length, &s->table, err);
    }
    bool mat = iv_is_mat(s->block.data, s->block.length);
    if (mat || iv_source_is_hdf5(s)) {
        unsigned char *values;
        IV_TRY((mat ? iv_read_mat : iv_read_hdf5)(s->block.data, s->block.length, s->key,
                                                  iv_build_limit(options), &s->table, &values,
                                                  err));
        iv_source_replace(s, (iv_block){.data = values}); /* NULL for a sparse one */
        return ISOVAE_OK;
    }
    if (s->key != NULL) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "':%s' asks for an array by name, but this is no .npz, .mat or HDF5 file",
                       s->key);
    }
    const unsigned char *data = s->block.data;
    size_t length = s->block.length;
    if (iv_source_starts(s, "\x93NUMPY", 6)) return iv_read_npy(data, length, &s->table, err);
    if (iv_source_starts(s, "\xff\xd8\xff", 3) || iv_source_starts(s, "\x89PNG", 4)) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "this is one picture; name the folder or zip archive that holds them all");
    }
    if (iv_source_starts(s, "\0\0", 2)) return iv_read_idx(data, length, &s->table, err);
    size_t release = s->block.mapped > 0 ? s->release : 0;
    return iv_read_csv_mapped(data, length, options->header, release, &s->table, err);
}

isovae_status iv_source_new(const char *spec, const iv_data_options *options, iv_source *out,
                            isovae_error *err)
{
    *out = (iv_source){.spool = {.resident = iv_build_memory(options) / 4,
                                 .limit = iv_build_source_limit(options)}};
    out->release = out->spool.resident > LEAST_RELEASE ? out->spool.resident : LEAST_RELEASE;
    return split_spec(spec, out, err);
}

void iv_source_free(iv_source *s)
{
    iv_table_free(&s->table);
    iv_block_free(&s->block);
    iv_free(s->path);
    *s = (iv_source){0};
}

isovae_status iv_source_unpack(iv_source *s, isovae_error *err)
{
    iv_block unpacked;
    if (s->block.length == 0) return iv_fail(err, ISOVAE_ERR_DATA, "the file is empty");
    if (!iv_source_starts(s, "\x1f\x8b", 2)) return ISOVAE_OK;
    IV_TRY(iv_unpack_gzip(&s->block, &s->spool, &unpacked, err));
    iv_source_replace(s, unpacked);
    if (s->block.length == 0) {
        return iv_fail(err, ISOVAE_ERR_DATA, "the compressed file is empty");
    }
    if (iv_source_starts(s, "\x1f\x8b", 2)) {
        return iv_fail(err, ISOVAE_ERR_DATA, "the file is compressed twice; unpack it once");
    }
    return ISOVAE_OK;
}
