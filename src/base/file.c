#include "base/file.h"

#include "base/locale.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

static isovae_status fail_system(isovae_error *err, const char *path, const char *doing, int number)
{
    char text[128];
    return iv_fail(err, ISOVAE_ERR_IO, "%s: %s: %s", path, doing,
                   iv_error_text(number, text, sizeof text));
}

uint64_t iv_hash64(const void *data, size_t length, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, length, seed);
}

uint64_t iv_hash64_parts(const void *data, size_t length, uint64_t seed,
                         void passed(void *user, size_t bytes), void *user)
{
    enum { PART = 1 << 18 };
    XXH3_state_t *state = XXH3_createState();
    if (state == NULL) return iv_hash64(data, length, seed);
    XXH3_64bits_reset_withSeed(state, seed);
    for (size_t at = 0; at < length; at += PART) {
        size_t part = length - at < PART ? length - at : PART;
        XXH3_64bits_update(state, (const unsigned char *)data + at, part);
        passed(user, part);
    }
    uint64_t hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return hash;
}

/* ---- reading ---- */

static isovae_status fail_limit(isovae_error *err, const char *path, size_t limit)
{
    return iv_fail(err, ISOVAE_ERR_DATA, "%s: larger than the %zu bytes that are read here", path,
                   limit);
}

/* Reads `descriptor` to its end into *data, which has room for `capacity` bytes and grows. */
static isovae_status read_all(int descriptor, const char *path, size_t limit, size_t capacity,
                              unsigned char **data, size_t *length, isovae_error *err)
{
    IV_TRY(IV_NEW(*data, capacity, path, err));
    size_t used = 0;
    for (;;) {
        if (used == capacity) { /* a pipe, or a file that grew */
            size_t larger;
            unsigned char *grown;
            if (!iv_size_mul(capacity, 2, &larger)) larger = SIZE_MAX;
            IV_TRY(IV_NEW(grown, larger, path, err));
            memcpy(grown, *data, used);
            iv_free(*data);
            *data = grown;
            capacity = larger;
        }
        size_t room = capacity - used;
        ssize_t got = read(descriptor, *data + used, room < INT_MAX ? room : INT_MAX);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_system(err, path, "reading", errno);
        if (got == 0) break;
        used += (size_t)got;
        if (used > limit) return fail_limit(err, path, limit);
    }
    if (used == capacity) return iv_fail(err, ISOVAE_ERR_INTERNAL, "%s: no room for the end", path);
    (*data)[used] = '\0';
    *length = used;
    return ISOVAE_OK;
}

isovae_status iv_file_read(const char *path, size_t limit, unsigned char **data, size_t *length,
                           isovae_error *err)
{
    *data = NULL;
    *length = 0;
    bool standard = strcmp(path, "-") == 0;
    const char *name = standard ? "standard input" : path;
    int descriptor = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return fail_system(err, name, "cannot be opened", errno);

    isovae_status status = ISOVAE_OK;
    size_t capacity = 65536;
    struct stat info;
    if (fstat(descriptor, &info) != 0) {
        status = fail_system(err, name, "cannot be examined", errno);
    } else if (S_ISDIR(info.st_mode)) {
        status = iv_fail(err, ISOVAE_ERR_IO, "%s: this is a folder, not a file", name);
    } else if (S_ISREG(info.st_mode) && info.st_size > 0) {
        if ((uintmax_t)info.st_size > limit || (uintmax_t)info.st_size >= SIZE_MAX - 1) {
            status = fail_limit(err, name, limit);
        } else {
            capacity = (size_t)info.st_size + 2; /* the NUL, and a place where the end is seen */
        }
    }
    if (status == ISOVAE_OK) {
        status = read_all(descriptor, name, limit, capacity, data, length, err);
    }
    if (!standard) close(descriptor);
    if (status != ISOVAE_OK) {
        iv_free(*data);
        *data = NULL;
    }
    return status;
}

/* ---- writing ---- */

/* 0, or the errno of what failed. */
static int write_all(int descriptor, const unsigned char *data, size_t length)
{
    while (length > 0) {
        ssize_t put = write(descriptor, data, length < INT_MAX ? length : INT_MAX);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return errno;
        data += put;
        length -= (size_t)put;
    }
    return 0;
}

/* The open descriptor that /dev/stdout, /dev/stderr, /dev/fd/N names, or -1. Opening such a name
 * anew would start at the beginning of the file that the shell has appended to so far. */
static int named_descriptor(const char *path)
{
    if (strcmp(path, "/dev/stdout") == 0) return STDOUT_FILENO;
    if (strcmp(path, "/dev/stderr") == 0) return STDERR_FILENO;
    if (strncmp(path, "/dev/fd/", 8) != 0) return -1;
    int number = 0;
    const char *digit = path + 8;
    for (; *digit >= '0' && *digit <= '9' && number < 100000; digit++) {
        number = number * 10 + (*digit - '0');
    }
    return *digit == '\0' && digit > path + 8 ? number : -1;
}

static isovae_status write_direct(const char *path, const void *data, size_t length,
                                  isovae_error *err)
{
    int named = named_descriptor(path);
    int descriptor = named >= 0 ? named : open(path, O_WRONLY | O_CLOEXEC);
    if (descriptor < 0) return fail_system(err, path, "cannot be opened for writing", errno);
    int failed = write_all(descriptor, data, length);
    if (named < 0 && close(descriptor) != 0 && failed == 0) failed = errno;
    return failed != 0 ? fail_system(err, path, "writing", failed) : ISOVAE_OK;
}

/* A new file in the folder of `path`, its name in `name`; -1 and errno on failure. */
static int open_temporary(const char *path, char *name, size_t size)
{
    const char *slash = strrchr(path, '/');
    int folder = slash != NULL ? (int)(slash - path) + 1 : 0;
    for (int attempt = 0; attempt < 1000; attempt++) {
        int length =
            snprintf(name, size, "%.*s.isovae-%ld-%d.tmp", folder, path, (long)getpid(), attempt);
        if (length < 0 || (size_t)length >= size) {
            errno = ENAMETOOLONG;
            return -1;
        }
        int descriptor = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor >= 0 || errno != EEXIST) return descriptor;
    }
    return -1;
}

/* Makes the rename last through a power cut. The new file is in place by then, so a file system
 * that cannot sync folders is no failure. */
static void sync_folder(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t length = slash != NULL ? (size_t)(slash - path) + 1 : 0;
    if (length >= sizeof folder) return;
    memcpy(folder, path, length);
    folder[length] = '\0';
    int descriptor = open(length > 0 ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return;
    (void)fsync(descriptor);
    close(descriptor);
}

/* Puts a file with these bytes in the place of `path`; `info` is of the file there, NULL for none.
 */
static isovae_status write_replacing(const char *path, const struct stat *info, const void *data,
                                     size_t length, isovae_error *err)
{
    char name[PATH_MAX];
    int descriptor = open_temporary(path, name, sizeof name);
    if (descriptor < 0) return fail_system(err, path, "its folder cannot be written to", errno);
    const char *doing = "writing";
    int failed = write_all(descriptor, data, length);
    if (failed == 0 && info != NULL && fchmod(descriptor, info->st_mode & 07777) != 0)
        failed = errno;
    if (failed == 0 && fsync(descriptor) != 0 && errno != EINVAL && errno != ENOTSUP)
        failed = errno;
    if (close(descriptor) != 0 && failed == 0) failed = errno;
    if (failed == 0 && rename(name, path) != 0) {
        failed = errno;
        doing = "the new file cannot take this name";
    }
    if (failed != 0) {
        unlink(name);
        return fail_system(err, path, doing, failed);
    }
    sync_folder(path);
    return ISOVAE_OK;
}

isovae_status iv_file_write(const char *path, const void *data, size_t length, isovae_error *err)
{
    struct stat info;
    if (path[0] == '\0') return iv_fail(err, ISOVAE_ERR_IO, "the name of the output file is empty");
    if (named_descriptor(path) >= 0) return write_direct(path, data, length, err);
    if (stat(path, &info) != 0) {
        if (errno != ENOENT) return fail_system(err, path, "cannot be written", errno);
        return write_replacing(path, NULL, data, length, err);
    }
    if (S_ISDIR(info.st_mode)) {
        return iv_fail(err, ISOVAE_ERR_IO, "%s: this is a folder; name a file in it", path);
    }
    if (!S_ISREG(info.st_mode)) return write_direct(path, data, length, err);
    if (access(path, W_OK) != 0) return fail_system(err, path, "cannot be written", errno);
    char target[PATH_MAX]; /* a link stays a link: the file that it names is replaced */
    if (realpath(path, target) == NULL) return fail_system(err, path, "cannot be written", errno);
    return write_replacing(target, &info, data, length, err);
}
