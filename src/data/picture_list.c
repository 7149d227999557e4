#include "data/picture_list.h"

#include "base/file.h"
#include "base/locale.h"
#include "data/cache.h"
#include "data/reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

enum { MAX_RATIO = 1032 }; /* of deflate */

void iv_picture_list_free(iv_picture_list *list)
{
    if (list->archive != NULL) zip_discard(list->archive);
    iv_free(list->entries);
    iv_free(list->text);
    iv_free(list->folder);
    *list = (iv_picture_list){0};
}

/* ---- collecting names ---- */

typedef struct collector {
    iv_text text;
    iv_text indices; /* of uint64_t */
    size_t n;
} collector;

static void collector_free(collector *c)
{
    iv_text_free(&c->text);
    iv_text_free(&c->indices);
}

static isovae_status collect(collector *c, const char *name, uint64_t index, isovae_error *err)
{
    if (c->n == IV_PICTURE_FILES) {
        return iv_fail(err, ISOVAE_ERR_DATA, "more than the %d files that are read here",
                       IV_PICTURE_FILES);
    }
    iv_text_append(&c->text, name, strlen(name) + 1);
    iv_text_append(&c->indices, (const char *)&index, sizeof index);
    c->n++;
    return ISOVAE_OK;
}

static int by_name(const void *a, const void *b)
{
    const iv_picture_entry *one = a, *other = b;
    int order = strcmp(one->name, other->name);
    if (order != 0) return order;
    return one->index < other->index ? -1 : one->index > other->index;
}

/* The names move into the list; the collector is empty then. */
static isovae_status sort_into(collector *c, iv_picture_list *list, isovae_error *err)
{
    IV_TRY(iv_text_check(&c->text, err));
    IV_TRY(iv_text_check(&c->indices, err));
    IV_TRY(IV_NEW(list->entries, c->n, "names of pictures", err));
    IV_TRY(IV_NEW(list->text, c->text.length + 1, "names of pictures", err));
    if (c->n > 0) memcpy(list->text, c->text.data, c->text.length);
    const char *name = list->text;
    for (size_t i = 0; i < c->n; i++) {
        list->entries[i].name = name;
        memcpy(&list->entries[i].index, c->indices.data + i * sizeof(uint64_t), sizeof(uint64_t));
        name += strlen(name) + 1;
    }
    list->n = c->n;
    qsort(list->entries, list->n, sizeof *list->entries, by_name);
    return ISOVAE_OK;
}

/* ---- folders ---- */

static isovae_status scan_folder(DIR *folder, const char *path, collector *c, isovae_error *err)
{
    for (;;) {
        struct stat info;
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (entry == NULL) {
            char text[128];
            if (errno == 0) return ISOVAE_OK;
            return iv_fail(err, ISOVAE_ERR_IO, "%s: reading the folder: %s", path,
                           iv_error_text(errno, text, sizeof text));
        }
        if (entry->d_name[0] == '.') continue;
        if (fstatat(dirfd(folder), entry->d_name, &info, 0) != 0 || !S_ISREG(info.st_mode))
            continue;
        IV_TRY(collect(c, entry->d_name, 0, err));
    }
}

isovae_status iv_picture_list_folder(const char *path, iv_picture_list *out, isovae_error *err)
{
    collector c = {0};
    *out = (iv_picture_list){0};
    DIR *folder = opendir(path);
    if (folder == NULL) {
        char text[128];
        return iv_fail(err, ISOVAE_ERR_IO, "%s: the folder cannot be opened: %s", path,
                       iv_error_text(errno, text, sizeof text));
    }
    isovae_status status = scan_folder(folder, path, &c, err);
    if (status == ISOVAE_OK) status = sort_into(&c, out, err);
    if (status == ISOVAE_OK) status = iv_strdup(&out->folder, path, err);
    for (size_t i = 0; i < out->n && status == ISOVAE_OK; i++) {
        struct stat info;
        if (fstatat(dirfd(folder), out->entries[i].name, &info, 0) != 0) continue;
        out->key = iv_cache_key_file(out->key, out->entries[i].name, &info);
    }
    closedir(folder);
    collector_free(&c);
    if (status != ISOVAE_OK) iv_picture_list_free(out);
    return status;
}

static isovae_status fetch_file(const iv_picture_list *list, const char *name,
                                unsigned char **bytes, size_t *length, isovae_error *err)
{
    iv_text path = {0};
    iv_text_printf(&path, "%s/%s", list->folder, name);
    isovae_status status = iv_text_check(&path, err);
    struct stat info;
    if (status == ISOVAE_OK && stat(path.data, &info) == 0 && info.st_size > IV_PICTURE_BYTES) {
        status = iv_fail(err, ISOVAE_ERR_DATA, "larger than %d bytes", IV_PICTURE_BYTES);
    }
    if (status == ISOVAE_OK) status = iv_file_read(path.data, IV_PICTURE_BYTES, bytes, length, err);
    if (status == ISOVAE_ERR_IO) status = iv_fail(err, ISOVAE_ERR_DATA, "cannot be read");
    iv_text_free(&path);
    return status;
}

/* ---- archives ---- */

static zip_t *open_zip(const iv_block *block, isovae_error *err)
{
    zip_error_t zip_err;
    zip_error_init(&zip_err);
    zip_source_t *source = zip_source_buffer_create(block->data, block->length, 0, &zip_err);
    zip_t *archive = source != NULL ? zip_open_from_source(source, ZIP_RDONLY, &zip_err) : NULL;
    if (archive == NULL) {
        iv_set_error(err, ISOVAE_ERR_DATA, "the zip archive cannot be opened: %s",
                     zip_error_strerror(&zip_err));
        if (source != NULL) zip_source_free(source);
    }
    zip_error_fini(&zip_err);
    return archive;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), n = strlen(end);
    return length >= n && strcmp(text + length - n, end) == 0;
}

bool iv_zip_has_arrays(const iv_block *block)
{
    zip_t *archive = open_zip(block, NULL);
    if (archive == NULL) return false;
    bool found = false;
    zip_int64_t entries = zip_get_num_entries(archive, 0);
    for (zip_int64_t i = 0; i < entries && !found; i++) {
        const char *name = zip_get_name(archive, (zip_uint64_t)i, 0);
        found = name != NULL && ends_with(name, ".npy");
    }
    zip_discard(archive);
    return found;
}

static bool is_picture_name(const char *name)
{
    const char *slash = strrchr(name, '/');
    const char *last = slash != NULL ? slash + 1 : name;
    return *last != '\0' && *last != '.' && strncmp(name, "__MACOSX/", 9) != 0;
}

static isovae_status scan_zip(zip_t *archive, size_t length, collector *c, isovae_error *err)
{
    zip_uint64_t packed = 0;
    zip_int64_t entries = zip_get_num_entries(archive, 0);
    for (zip_int64_t i = 0; i < entries; i++) {
        zip_stat_t stat;
        const char *name = zip_get_name(archive, (zip_uint64_t)i, 0);
        if (name == NULL || !is_picture_name(name)) continue;
        if (zip_stat_index(archive, (zip_uint64_t)i, 0, &stat) == 0 &&
            (stat.valid & ZIP_STAT_COMP_SIZE) != 0) {
            /* No two members share bytes in an honest archive. */
            if (stat.comp_size > length || packed > length - stat.comp_size) {
                return iv_fail(err, ISOVAE_ERR_DATA,
                               "the members of the archive overlap: it is made to grow without end "
                               "when unpacked, or damaged");
            }
            packed += stat.comp_size;
        }
        IV_TRY(collect(c, name, (uint64_t)i, err));
    }
    return ISOVAE_OK;
}

isovae_status iv_picture_list_zip(const iv_block *block, iv_picture_list *out, isovae_error *err)
{
    collector c = {0};
    *out = (iv_picture_list){.block = block};
    out->archive = open_zip(block, err);
    if (out->archive == NULL) return ISOVAE_ERR_DATA;
    isovae_status status = scan_zip(out->archive, block->length, &c, err);
    if (status == ISOVAE_OK) status = sort_into(&c, out, err);
    collector_free(&c);
    if (status != ISOVAE_OK) iv_picture_list_free(out);
    return status;
}

static isovae_status unpack(zip_t *archive, uint64_t index, unsigned char *data, size_t size,
                            isovae_error *err)
{
    size_t done = 0;
    zip_int64_t got = 0;
    zip_file_t *file = zip_fopen_index(archive, index, 0);
    if (file == NULL) return iv_fail(err, ISOVAE_ERR_DATA, "%s", zip_strerror(archive));
    /* One byte past the end is asked for, so that the checksum is verified too. */
    while (done <= size && (got = zip_fread(file, data + done, size + 1 - done)) > 0) {
        done += (size_t)got;
    }
    zip_fclose(file);
    if (got < 0) return iv_fail(err, ISOVAE_ERR_DATA, "damaged in the archive");
    if (done != size) return iv_fail(err, ISOVAE_ERR_DATA, "not of the size that it promises");
    return ISOVAE_OK;
}

static isovae_status fetch_member(zip_t *archive, uint64_t index, unsigned char **bytes,
                                  size_t *length, isovae_error *err)
{
    const zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
    zip_stat_t stat;
    if (zip_stat_index(archive, index, 0, &stat) != 0 || (stat.valid & needed) != needed) {
        return iv_fail(err, ISOVAE_ERR_DATA, "%s", zip_strerror(archive));
    }
    if ((stat.valid & ZIP_STAT_ENCRYPTION_METHOD) != 0 && stat.encryption_method != ZIP_EM_NONE) {
        return iv_fail(err, ISOVAE_ERR_DATA, "encrypted");
    }
    if (stat.comp_method != ZIP_CM_STORE && stat.comp_method != ZIP_CM_DEFLATE) {
        return iv_fail(err, ISOVAE_ERR_DATA, "packed by a method that is not read here");
    }
    if (stat.size > IV_PICTURE_BYTES) {
        return iv_fail(err, ISOVAE_ERR_DATA, "larger than %d bytes", IV_PICTURE_BYTES);
    }
    if (stat.size / MAX_RATIO > stat.comp_size) {
        return iv_fail(err, ISOVAE_ERR_DATA, "promises more bytes than it can hold");
    }
    IV_TRY(IV_NEW(*bytes, (size_t)stat.size + 1, "a picture", err));
    isovae_status status = unpack(archive, index, *bytes, (size_t)stat.size, err);
    if (status != ISOVAE_OK) {
        iv_free(*bytes);
        *bytes = NULL;
        return status;
    }
    *length = (size_t)stat.size;
    return ISOVAE_OK;
}

isovae_status iv_picture_fetch(const iv_picture_list *list, size_t i, unsigned char **bytes,
                               size_t *length, isovae_error *err)
{
    *bytes = NULL;
    *length = 0;
    if (list->archive != NULL) {
        return fetch_member(list->archive, list->entries[i].index, bytes, length, err);
    }
    return fetch_file(list, list->entries[i].name, bytes, length, err);
}
