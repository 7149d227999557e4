#include "data/store.h"

#include "base/file.h"
#include "base/locale.h"
#include "data/block.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HEADER = 1 << 16, /* a multiple of every page size */
    AROUND = 1 << 21, /* the most that the system maps around a page that is touched */
    LEAST_BUDGET = 1 << 18
};

typedef struct header {
    char magic[16];
    uint64_t order; /* 1, as this machine writes it */
    uint64_t key, bytes, row_bytes, meta_length, meta_hash;
    uint64_t hash; /* of what stands before */
} header;
static const char magic[16] = "isovae rows 1\n";

struct iv_store {
    int descriptor;
    bool kept; /* in a folder, under a name */
    unsigned char *map;
    size_t mapped, bytes, row_bytes, budget;
    atomic_size_t touched;
    uint64_t key;
    char *part, *path; /* NULL without a folder; part also once it is complete */
};

static isovae_status fail_system(isovae_error *err, const char *name, const char *doing, int number)
{
    char text[128];
    return iv_fail(err, ISOVAE_ERR_IO, "%s: %s: %s", name, doing,
                   iv_error_text(number, text, sizeof text));
}

void iv_store_free(iv_store *store)
{
    if (store == NULL) return;
    if (store->map != NULL) munmap(store->map, store->mapped);
    if (store->part != NULL) unlink(store->part); /* before the lock goes with the descriptor */
    if (store->descriptor >= 0) close(store->descriptor);
    iv_free(store->part);
    iv_free(store->path);
    iv_free(store);
}

static isovae_status store_new(size_t bytes, size_t row_bytes, size_t resident, uint64_t key,
                               iv_store **out, isovae_error *err)
{
    iv_store *store;
    size_t whole;
    *out = NULL;
    if (!iv_size_add(bytes, HEADER, &whole) || whole > (size_t)PTRDIFF_MAX) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "the rows take too many bytes: %zu", bytes);
    }
    IV_TRY(IV_NEW(store, 1, "the row cache", err));
    store->descriptor = -1;
    store->bytes = bytes;
    store->row_bytes = row_bytes;
    store->mapped = whole;
    store->key = key;
    store->budget = resident / 4 > LEAST_BUDGET ? resident / 4 : LEAST_BUDGET;
    *out = store;
    return ISOVAE_OK;
}

static isovae_status map(iv_store *store, bool writable, const char *name, isovae_error *err)
{
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    void *at = mmap(NULL, store->mapped, protection, MAP_SHARED, store->descriptor, 0);
    if (at == MAP_FAILED) return fail_system(err, name, "mapping the row cache", errno);
    store->map = at;
    return ISOVAE_OK;
}

/* ---- kept caches ---- */

static isovae_status name_files(iv_store *store, const char *folder, isovae_error *err)
{
    iv_text part = {0}, path = {0};
    iv_text_printf(&part, "%s/isovae-%016llx.part", folder, (unsigned long long)store->key);
    iv_text_printf(&path, "%s/isovae-%016llx.rows", folder, (unsigned long long)store->key);
    isovae_status status = iv_text_check(&part, err);
    if (status == ISOVAE_OK) status = iv_text_check(&path, err);
    if (status == ISOVAE_OK) status = iv_strdup(&store->part, part.data, err);
    if (status == ISOVAE_OK) status = iv_strdup(&store->path, path.data, err);
    iv_text_free(&part);
    iv_text_free(&path);
    return status;
}

/* Opens and locks the part. Where another process writes the same one, *descriptor is -1. */
static isovae_status open_part(const char *part, int *descriptor, isovae_error *err)
{
    *descriptor = -1;
    int file = open(part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (file < 0) return fail_system(err, part, "cannot be made (--cache)", errno);
    struct stat opened, named;
    if (flock(file, LOCK_EX | LOCK_NB) != 0 || fstat(file, &opened) != 0 ||
        stat(part, &named) != 0 || opened.st_ino != named.st_ino || !S_ISREG(opened.st_mode)) {
        close(file); /* in use, or completed between the opening and the lock */
        return ISOVAE_OK;
    }
    *descriptor = file;
    return ISOVAE_OK;
}

static isovae_status open_kept(iv_store *store, const char *folder, isovae_error *err)
{
    struct stat info;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) {
        return fail_system(err, folder, "the folder cannot be made (--cache)", errno);
    }
    if (stat(folder, &info) == 0 && !S_ISDIR(info.st_mode)) {
        return iv_fail(err, ISOVAE_ERR_IO, "%s: this is no folder (--cache)", folder);
    }
    IV_TRY(name_files(store, folder, err));
    IV_TRY(open_part(store->part, &store->descriptor, err));
    if (store->descriptor < 0) { /* another's part: not ours to remove, write one without a name */
        iv_free(store->part);
        iv_free(store->path);
        store->part = store->path = NULL;
        return iv_temporary_file(folder, &store->descriptor, err);
    }
    store->kept = true;
    if (ftruncate(store->descriptor, 0) != 0) {
        return fail_system(err, store->part, "emptying", errno);
    }
    return ISOVAE_OK;
}

isovae_status iv_store_new(size_t bytes, size_t row_bytes, size_t resident, const char *folder,
                           uint64_t key, iv_store **out, isovae_error *err)
{
    iv_store *store;
    *out = NULL;
    IV_TRY(store_new(bytes, row_bytes, resident, key, &store, err));
    isovae_status status = folder != NULL ? open_kept(store, folder, err)
                                          : iv_temporary_file(NULL, &store->descriptor, err);
    if (status == ISOVAE_OK) {
        /* Reserved now: a full disk met while the mapping is written would kill the process. */
        int number = posix_fallocate(store->descriptor, 0, (off_t)store->mapped);
        if (number != 0) {
            char text[128];
            status = iv_fail(err, ISOVAE_ERR_IO,
                             "a row cache of %zu bytes finds no room (%s); name a folder that has "
                             "with --cache or TMPDIR, or raise --memory",
                             store->mapped, iv_error_text(number, text, sizeof text));
        }
    }
    if (status == ISOVAE_OK) status = map(store, true, "the row cache", err);
    if (status != ISOVAE_OK) {
        iv_store_free(store);
        return status;
    }
    *out = store;
    return ISOVAE_OK;
}

static bool write_at(int descriptor, const void *data, size_t length, size_t at)
{
    const unsigned char *from = data;
    while (length > 0) {
        ssize_t put = pwrite(descriptor, from, length < INT_MAX ? length : INT_MAX, (off_t)at);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return false;
        from += put;
        at += (size_t)put;
        length -= (size_t)put;
    }
    return true;
}

static bool read_at(int descriptor, void *data, size_t length, size_t at)
{
    unsigned char *to = data;
    while (length > 0) {
        ssize_t got = pread(descriptor, to, length < INT_MAX ? length : INT_MAX, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        to += got;
        at += (size_t)got;
        length -= (size_t)got;
    }
    return true;
}

isovae_status iv_store_seal(iv_store *store, size_t bytes, const void *meta, size_t meta_length,
                            isovae_error *err)
{
    if (mprotect(store->map, store->mapped, PROT_READ) != 0) {
        return fail_system(err, "the row cache", "protecting", errno);
    }
    store->bytes = bytes;
    if (!store->kept) return ISOVAE_OK;
    header head = {.order = 1,
                   .key = store->key,
                   .bytes = bytes,
                   .row_bytes = store->row_bytes,
                   .meta_length = meta_length,
                   .meta_hash = iv_hash64(meta, meta_length, 0)};
    memcpy(head.magic, magic, sizeof magic);
    head.hash = iv_hash64(&head, offsetof(header, hash), 0);
    /* Rows that were left out make the end of the file free; the mapping there is not read again.
     */
    if (ftruncate(store->descriptor, (off_t)(HEADER + bytes)) != 0 ||
        !write_at(store->descriptor, meta, meta_length, HEADER + bytes) ||
        !write_at(store->descriptor, &head, sizeof head, 0) || fsync(store->descriptor) != 0 ||
        rename(store->part, store->path) != 0) {
        return fail_system(err, store->part, "completing the row cache", errno);
    }
    iv_free(store->part);
    store->part = NULL; /* nothing is left to remove */
    return ISOVAE_OK;
}

static bool fits(const header *head, uint64_t key, const struct stat *info)
{
    size_t end;
    if (memcmp(head->magic, magic, sizeof magic) != 0 || head->order != 1 || head->key != key ||
        head->hash != iv_hash64(head, offsetof(header, hash), 0)) {
        return false;
    }
    return head->row_bytes > 0 && head->bytes > 0 && head->bytes % head->row_bytes == 0 &&
           iv_size_add(head->bytes, HEADER, &end) && iv_size_add(end, head->meta_length, &end) &&
           info->st_size >= 0 && (uintmax_t)info->st_size == end;
}

isovae_status iv_store_find(const char *folder, uint64_t key, size_t resident, iv_store **out,
                            unsigned char **meta, size_t *meta_length, isovae_error *err)
{
    header head;
    struct stat info;
    iv_text path = {0};
    *out = NULL;
    *meta = NULL;
    iv_text_printf(&path, "%s/isovae-%016llx.rows", folder, (unsigned long long)key);
    isovae_status status = iv_text_check(&path, err);
    int file = status == ISOVAE_OK ? open(path.data, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    bool there = file >= 0 && fstat(file, &info) == 0 && S_ISREG(info.st_mode) &&
                 read_at(file, &head, sizeof head, 0) && fits(&head, key, &info);
    iv_text_free(&path);
    iv_store *store = NULL;
    if (there) status = IV_NEW(*meta, (size_t)head.meta_length, "a row cache", err);
    if (there && status == ISOVAE_OK) {
        there = read_at(file, *meta, (size_t)head.meta_length, (size_t)(HEADER + head.bytes)) &&
                iv_hash64(*meta, (size_t)head.meta_length, 0) == head.meta_hash;
    }
    if (there && status == ISOVAE_OK) {
        status = store_new((size_t)head.bytes, (size_t)head.row_bytes, resident, key, &store, err);
    }
    if (store != NULL) {
        store->descriptor = file;
        file = -1;
        status = map(store, false, "the row cache", err);
    }
    if (file >= 0) close(file);
    if (status != ISOVAE_OK || !there) {
        iv_store_free(store);
        iv_free(*meta);
        *meta = NULL;
        return status;
    }
    *meta_length = (size_t)head.meta_length;
    *out = store;
    return ISOVAE_OK;
}

/* ---- use ---- */

unsigned char *iv_store_rows(iv_store *store)
{
    return store->map + HEADER;
}

size_t iv_store_bytes(const iv_store *store)
{
    return store->bytes;
}

size_t iv_store_row_bytes(const iv_store *store)
{
    return store->row_bytes;
}

void iv_store_passed(iv_store *store, size_t bytes)
{
    size_t before = atomic_fetch_add_explicit(&store->touched, bytes, memory_order_relaxed);
    if (before + bytes < store->budget || before >= store->budget) return; /* one thread's turn */
    (void)madvise(store->map, store->mapped, MADV_DONTNEED); /* shared: nothing written is lost */
    atomic_store_explicit(&store->touched, 0, memory_order_relaxed);
}

/* Tells the system about the pages of a row, widened to multiples of `unit`. */
static void advise(const iv_store *store, size_t row, size_t unit, int advice)
{
    size_t begin = HEADER + row * store->row_bytes, end = begin + store->row_bytes;
    begin = begin / unit * unit;
    end = (end + unit - 1) / unit * unit;
    if (end > store->mapped) end = store->mapped;
    (void)madvise(store->map + begin, end - begin, advice);
}

void iv_store_use(iv_store *store, iv_row_use use, const size_t *rows, size_t n)
{
    if (use == IV_ROWS_PASSED) {
        iv_store_passed(store, n * store->row_bytes);
        return;
    }
    bool wanted = use == IV_ROWS_WANTED;
    long page = sysconf(_SC_PAGESIZE);
    size_t unit = wanted && page > 0 ? (size_t)page : AROUND;
    for (size_t i = 0; i < n; i++) {
        advise(store, rows[i], unit, wanted ? MADV_WILLNEED : MADV_DONTNEED);
    }
}
