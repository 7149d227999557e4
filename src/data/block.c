#include "data/block.h"

#include "base/locale.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIRST_ROOM = 1 << 16, FILE_ROOM = 1 << 20 };

static isovae_status fail_system(isovae_error *err, const char *name, const char *doing, int number)
{
    char text[128];
    return iv_fail(err, ISOVAE_ERR_IO, "%s: %s: %s", name, doing,
                   iv_error_text(number, text, sizeof text));
}

void iv_block_free(iv_block *block)
{
    if (block->mapped > 0) {
        munmap(block->data, block->mapped);
    } else {
        iv_free(block->data);
    }
    *block = (iv_block){0};
}

static size_t page_size(void)
{
    long size = sysconf(_SC_PAGESIZE);
    return size > 0 ? (size_t)size : 4096;
}

void iv_pages_release(const void *from, const void *to)
{
    uintptr_t page = page_size();
    uintptr_t begin = ((uintptr_t)from + page - 1) / page * page, end = (uintptr_t)to / page * page;
    if (end > begin) (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void iv_block_release(const iv_block *block)
{
    if (block->mapped > 0) iv_pages_release(block->data, block->data + block->length);
}

isovae_status iv_temporary_file(const char *folder, int *descriptor, isovae_error *err)
{
    char name[PATH_MAX];
    if (folder == NULL || folder[0] == '\0') folder = getenv("TMPDIR");
    if (folder == NULL || folder[0] == '\0') folder = "/var/tmp";
    int length = snprintf(name, sizeof name, "%s/isovae-XXXXXX", folder);
    if (length < 0 || (size_t)length >= sizeof name) {
        return fail_system(err, folder, "the folder of temporary files", ENAMETOOLONG);
    }
    int file = mkostemp(name, O_CLOEXEC);
    if (file < 0) {
        return fail_system(err, folder, "no temporary file can be made there (set TMPDIR)", errno);
    }
    unlink(name); /* it ends with its descriptor, whatever happens */
    *descriptor = file;
    return ISOVAE_OK;
}

isovae_status iv_descriptor_write(int descriptor, const void *data, size_t length,
                                  isovae_error *err)
{
    const unsigned char *at = data;
    while (length > 0) {
        ssize_t put = write(descriptor, at, length < INT_MAX ? length : INT_MAX);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) {
            return fail_system(err, "a temporary file", "writing (TMPDIR names its folder)", errno);
        }
        at += put;
        length -= (size_t)put;
    }
    return ISOVAE_OK;
}

/* The file over reserved zeros, of which one at least is left behind it: the NUL. */
static isovae_status map_file(int descriptor, const char *name, size_t length, iv_block *out,
                              isovae_error *err)
{
    size_t page = page_size(), whole;
    if (!iv_size_add(length, 2 * page, &whole)) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "%s: too large for this machine", name);
    }
    whole = whole / page * page;
    void *at = mmap(NULL, whole, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return fail_system(err, name, "mapping", errno);
    if (length > 0 &&
        mmap(at, length, PROT_READ, MAP_PRIVATE | MAP_FIXED, descriptor, 0) == MAP_FAILED) {
        int number = errno;
        munmap(at, whole);
        return fail_system(err, name, "mapping", number);
    }
    *out = (iv_block){.data = at, .length = length, .mapped = whole};
    return ISOVAE_OK;
}

/* ---- filling ---- */

static isovae_status fail_limit(const iv_filler *filler, isovae_error *err)
{
    return iv_fail(err, ISOVAE_ERR_DATA, "%s holds more than the limit of %zu bytes", filler->what,
                   filler->spool->limit);
}

static isovae_status grow(iv_filler *filler, size_t capacity, isovae_error *err)
{
    unsigned char *bigger;
    IV_TRY(IV_NEW(bigger, capacity + 1, filler->what, err)); /* and the NUL */
    if (filler->data != NULL) memcpy(bigger, filler->data, filler->length);
    iv_free(filler->data);
    filler->data = bigger;
    filler->capacity = capacity;
    return ISOVAE_OK;
}

/* What is in memory goes to the file. */
static isovae_status spill(iv_filler *filler, isovae_error *err)
{
    if (filler->descriptor == 0) {
        int descriptor;
        IV_TRY(iv_temporary_file(filler->spool->folder, &descriptor, err));
        filler->descriptor = descriptor + 1;
    }
    IV_TRY(iv_descriptor_write(filler->descriptor - 1, filler->data, filler->length, err));
    filler->written += filler->length;
    filler->length = 0;
    return ISOVAE_OK;
}

isovae_status iv_filler_room(iv_filler *filler, unsigned char **room, size_t *size,
                             isovae_error *err)
{
    const iv_spool *spool = filler->spool;
    if (filler->written + filler->length > spool->limit) return fail_limit(filler, err);
    if (filler->length == filler->capacity) {
        if (filler->descriptor == 0 && filler->capacity < spool->resident) {
            size_t capacity;
            if (!iv_size_mul(filler->capacity, 2, &capacity)) capacity = SIZE_MAX - 1;
            if (capacity < FIRST_ROOM) capacity = FIRST_ROOM;
            if (capacity > spool->resident) capacity = spool->resident;
            if (capacity - 1 > spool->limit) capacity = spool->limit + 1; /* one shows the excess */
            IV_TRY(grow(filler, capacity, err));
        } else {
            if (filler->length > 0) IV_TRY(spill(filler, err));
            if (filler->capacity < FIRST_ROOM) IV_TRY(grow(filler, FILE_ROOM, err));
        }
    }
    *room = filler->data + filler->length;
    *size = filler->capacity - filler->length;
    return ISOVAE_OK;
}

void iv_filler_put(iv_filler *filler, size_t size)
{
    filler->length += size;
}

isovae_status iv_filler_take(iv_filler *filler, iv_block *out, isovae_error *err)
{
    if (filler->written + filler->length > filler->spool->limit) return fail_limit(filler, err);
    if (filler->descriptor > 0) {
        IV_TRY(spill(filler, err));
        return map_file(filler->descriptor - 1, filler->what, filler->written, out, err);
    }
    if (filler->data == NULL) IV_TRY(grow(filler, 0, err));
    filler->data[filler->length] = '\0';
    *out = (iv_block){.data = filler->data, .length = filler->length};
    filler->data = NULL;
    return ISOVAE_OK;
}

void iv_filler_free(iv_filler *filler)
{
    iv_free(filler->data);
    if (filler->descriptor > 0) close(filler->descriptor - 1);
    *filler = (iv_filler){0};
}

/* ---- reading ---- */

static isovae_status fill_from(int descriptor, const char *name, iv_filler *filler,
                               isovae_error *err)
{
    for (;;) {
        unsigned char *room;
        size_t size;
        IV_TRY(iv_filler_room(filler, &room, &size, err));
        ssize_t got = read(descriptor, room, size < INT_MAX ? size : INT_MAX);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_system(err, name, "reading", errno);
        if (got == 0) return ISOVAE_OK;
        iv_filler_put(filler, (size_t)got);
    }
}

static isovae_status read_open(int descriptor, const char *name, const iv_spool *spool,
                               iv_block *out, isovae_error *err)
{
    struct stat info;
    iv_filler filler = {.spool = spool, .what = name};
    if (fstat(descriptor, &info) != 0) return fail_system(err, name, "cannot be examined", errno);
    if (S_ISDIR(info.st_mode)) {
        return iv_fail(err, ISOVAE_ERR_IO, "%s: this is a folder, not a file", name);
    }
    isovae_status status = ISOVAE_OK;
    if (S_ISREG(info.st_mode) && info.st_size > 0) {
        if ((uintmax_t)info.st_size > spool->limit) {
            return iv_fail(err, ISOVAE_ERR_DATA, "%s: larger than the %zu bytes that are read here",
                           name, spool->limit);
        }
        if ((uintmax_t)info.st_size > spool->resident) {
            return map_file(descriptor, name, (size_t)info.st_size, out, err);
        }
        status = grow(&filler, (size_t)info.st_size + 1, err); /* a place where the end is seen */
    }
    if (status == ISOVAE_OK) status = fill_from(descriptor, name, &filler, err);
    if (status == ISOVAE_OK) status = iv_filler_take(&filler, out, err);
    iv_filler_free(&filler);
    return status;
}

isovae_status iv_block_read(const char *path, const iv_spool *spool, iv_block *out,
                            isovae_error *err)
{
    bool standard = strcmp(path, "-") == 0;
    const char *name = standard ? "standard input" : path;
    *out = (iv_block){0};
    int descriptor = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return fail_system(err, name, "cannot be opened", errno);
    isovae_status status = read_open(descriptor, name, spool, out, err);
    if (!standard) close(descriptor);
    return status;
}
