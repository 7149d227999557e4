/* NumPy's .npz: a zip archive with one .npy per array. Only the member that was asked for is
 * decompressed, and only as far as its compressed size makes believable. */
#include "data/reader.h"

#include "base/memory.h"

#include <stdint.h>
#include <string.h>
#include <zip.h>

enum { MAX_RATIO = 1032, MAX_KEYS_SHOWN = 12 };

/* Length of a member's key: its name without ".npy"; 0 where it is no array. */
static size_t key_length(const char *name)
{
    size_t n = name != NULL ? strlen(name) : 0;
    return n > 4 && strcmp(name + n - 4, ".npy") == 0 ? n - 4 : 0;
}

static isovae_status fail_with_keys(zip_t *archive, const char *key, isovae_error *err)
{
    iv_text keys = {0};
    size_t count = 0;
    zip_int64_t entries = zip_get_num_entries(archive, 0);
    for (zip_int64_t i = 0; i < entries; i++) {
        const char *name = zip_get_name(archive, (zip_uint64_t)i, 0);
        size_t n = key_length(name);
        if (n == 0) continue;
        if (count < MAX_KEYS_SHOWN) {
            iv_text_printf(&keys, "%s%s", count > 0 ? ", " : "", iv_show(name, n).text);
        }
        count++;
    }
    if (count > MAX_KEYS_SHOWN) iv_text_printf(&keys, " and %zu more", count - MAX_KEYS_SHOWN);
    isovae_status status = iv_text_check(&keys, err);
    if (status == ISOVAE_OK && count == 0) {
        status = iv_fail(err, ISOVAE_ERR_DATA, "the zip archive holds no .npy array");
    } else if (status == ISOVAE_OK && key != NULL) {
        status = iv_fail(err, ISOVAE_ERR_DATA, "there is no array '%s'; the file holds %s",
                         iv_show(key, strlen(key)).text, keys.data);
    } else if (status == ISOVAE_OK) {
        status = iv_fail(err, ISOVAE_ERR_DATA,
                         "the file holds %zu arrays; name one as FILE.npz:KEY, KEY being one of %s",
                         count, keys.data);
    }
    iv_text_free(&keys);
    return status;
}

static isovae_status find_member(zip_t *archive, const char *key, zip_uint64_t *out,
                                 isovae_error *err)
{
    zip_int64_t entries = zip_get_num_entries(archive, 0);
    size_t found = 0;
    for (zip_int64_t i = 0; i < entries; i++) {
        const char *name = zip_get_name(archive, (zip_uint64_t)i, 0);
        size_t n = key_length(name);
        if (n == 0) continue;
        if (key != NULL && (strlen(key) != n || memcmp(key, name, n) != 0)) continue;
        *out = (zip_uint64_t)i;
        found++;
        if (key != NULL) break;
    }
    return found == 1 ? ISOVAE_OK : fail_with_keys(archive, key, err);
}

static isovae_status unpack(zip_file_t *file, size_t size, const iv_block *in, const iv_shown *name,
                            iv_filler *filler, isovae_error *err)
{
    size_t done = 0;
    zip_int64_t got = 0;
    /* The end is asked for, so that the checksum is verified too. */
    do {
        unsigned char *room;
        size_t n;
        iv_filler_put(filler, (size_t)got);
        done += (size_t)got;
        if (done > size) break;
        iv_block_release(in);
        IV_TRY(iv_filler_room(filler, &room, &n, err));
        got = zip_fread(file, room, n);
    } while (got > 0);
    if (got < 0) {
        return iv_fail(err, ISOVAE_ERR_DATA, "member '%s' is damaged: %s", name->text,
                       zip_file_strerror(file));
    }
    if (done != size) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "member '%s' does not unpack to the %zu bytes that it promises", name->text,
                       size);
    }
    return ISOVAE_OK;
}

static isovae_status read_member(zip_t *archive, zip_uint64_t index, const iv_block *in,
                                 const iv_spool *spool, iv_block *out, isovae_error *err)
{
    zip_stat_t stat;
    const char *full = zip_get_name(archive, index, 0);
    iv_shown name = iv_show(full, strlen(full));
    const zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
    if (zip_stat_index(archive, index, 0, &stat) != 0 || (stat.valid & needed) != needed) {
        return iv_fail(err, ISOVAE_ERR_DATA, "member '%s': %s", name.text, zip_strerror(archive));
    }
    if ((stat.valid & ZIP_STAT_ENCRYPTION_METHOD) != 0 && stat.encryption_method != ZIP_EM_NONE) {
        return iv_fail(err, ISOVAE_ERR_DATA, "member '%s' is encrypted", name.text);
    }
    if (stat.comp_method != ZIP_CM_STORE && stat.comp_method != ZIP_CM_DEFLATE) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "member '%s' is packed by method %d; save it with numpy.savez or "
                       "numpy.savez_compressed",
                       name.text, (int)stat.comp_method);
    }
    if (stat.size > spool->limit) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "member '%s' unpacks to %llu bytes, above the limit of %zu", name.text,
                       (unsigned long long)stat.size, spool->limit);
    }
    size_t most;
    if (stat.comp_size > in->length || !iv_size_mul((size_t)stat.comp_size, MAX_RATIO, &most) ||
        stat.size > most) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "member '%s' promises %llu bytes, more than its %llu packed bytes can hold",
                       name.text, (unsigned long long)stat.size,
                       (unsigned long long)stat.comp_size);
    }
    zip_file_t *file = zip_fopen_index(archive, index, 0);
    if (file == NULL) {
        return iv_fail(err, ISOVAE_ERR_DATA, "member '%s': %s", name.text, zip_strerror(archive));
    }
    iv_filler filler = {.spool = spool, .what = "an array of the .npz file"};
    isovae_status status = unpack(file, (size_t)stat.size, in, &name, &filler, err);
    if (status == ISOVAE_OK) status = iv_filler_take(&filler, out, err);
    iv_filler_free(&filler);
    zip_fclose(file);
    return status;
}

isovae_status iv_read_npz(const unsigned char *block, size_t length, const char *key, size_t limit,
                          unsigned char **npy, size_t *npy_length, isovae_error *err)
{
    if (limit > SIZE_MAX - 2) limit = SIZE_MAX - 2;
    const iv_spool spool = {.resident = SIZE_MAX, .limit = limit};
    const iv_block in = {.data = (unsigned char *)(uintptr_t)block, .length = length};
    iv_block out;
    *npy = NULL;
    *npy_length = 0;
    IV_TRY(iv_unpack_npz(&in, key, &spool, &out, err));
    *npy = out.data;
    *npy_length = out.length;
    return ISOVAE_OK;
}

isovae_status iv_unpack_npz(const iv_block *in, const char *key, const iv_spool *spool,
                            iv_block *out, isovae_error *err)
{
    *out = (iv_block){0};
    zip_error_t zip_err;
    zip_error_init(&zip_err);
    isovae_status status;
    zip_source_t *source = zip_source_buffer_create(in->data, in->length, 0, &zip_err);
    zip_t *archive = source != NULL ? zip_open_from_source(source, ZIP_RDONLY, &zip_err) : NULL;
    if (archive == NULL) {
        status = iv_fail(err, ISOVAE_ERR_DATA, "the zip archive cannot be opened: %s",
                         zip_error_strerror(&zip_err));
        if (source != NULL) zip_source_free(source);
        zip_error_fini(&zip_err);
        return status;
    }
    zip_uint64_t index = 0;
    status = find_member(archive, key, &index, err);
    if (status == ISOVAE_OK) {
        status = read_member(archive, index, in, spool, out, err);
    }
    zip_discard(archive);
    zip_error_fini(&zip_err);
    return status;
}
