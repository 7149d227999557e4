/* An event file is a row of records (TFRecord): length (8 bytes), its masked CRC-32C (4), the
 * record, its masked CRC-32C; little-endian. A record is an Event in protobuf's wire format:
 *
 *   Event       1 wall_time (double), 2 step (varint), 3 file_version (string), 5 Summary,
 *               7 SessionLog
 *   Summary     1 Value, repeated;  Value  1 tag (string), 2 simple_value (float)
 *   SessionLog  1 status (varint; 1 is START)
 */
#include "train/events.h"

#include "base/locale.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORD = 4096, FRAME = 12 + 4, MOST_FILES = 1000 };

struct iv_events {
    int descriptor;
    char *path;
};

uint32_t iv_crc32c(const void *data, size_t length)
{
    const unsigned char *bytes = data;
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (UINT32_C(0x82F63B78) & -(crc & 1));
    }
    return ~crc;
}

/* The mask keeps a CRC of data that hold CRCs from being trivial. */
static uint32_t masked(const void *data, size_t length)
{
    uint32_t crc = iv_crc32c(data, length);
    return (crc >> 15 | crc << 17) + UINT32_C(0xa282ead8);
}

/* ---- a record ---- */

typedef struct record {
    unsigned char data[RECORD];
    size_t length;
    bool full;
} record;

static void put(record *r, const void *data, size_t length)
{
    if (r->full || length > sizeof r->data - r->length) {
        r->full = true;
        return;
    }
    memcpy(r->data + r->length, data, length);
    r->length += length;
}

static void put_fixed(record *r, uint64_t value, size_t bytes)
{
    unsigned char out[8];
    for (size_t i = 0; i < bytes; i++) out[i] = (unsigned char)(value >> 8 * i);
    put(r, out, bytes);
}

static void put_varint(record *r, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) put_fixed(r, (value & 0x7f) | 0x80, 1);
    put_fixed(r, value, 1);
}

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
static void put_key(record *r, unsigned field, unsigned wire)
{
    put_varint(r, field << 3 | wire);
}

static void put_bytes(record *r, unsigned field, const void *data, size_t length)
{
    put_key(r, field, BYTES);
    put_varint(r, length);
    put(r, data, length);
}

static void put_double(record *r, unsigned field, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(r, field, FIXED64);
    put_fixed(r, bits, 8);
}

static void put_float(record *r, unsigned field, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(r, field, FIXED32);
    put_fixed(r, bits, 4);
}

/* ---- the file ---- */

static isovae_status fail_io(isovae_error *err, const char *path, const char *doing)
{
    char text[128];
    return iv_fail(err, ISOVAE_ERR_IO, "%s: %s: %s", path, doing,
                   iv_error_text(errno, text, sizeof text));
}

/* Frame and record in one write, so that a reader sees whole records only. */
static isovae_status write_record(iv_events *events, const record *r, isovae_error *err)
{
    record whole = {.length = 0};
    if (r->full || r->length > sizeof whole.data - FRAME)
        return iv_fail(err, ISOVAE_ERR_INTERNAL, "%s: a record is too long", events->path);
    put_fixed(&whole, r->length, 8);
    put_fixed(&whole, masked(whole.data, 8), 4);
    put(&whole, r->data, r->length);
    put_fixed(&whole, masked(r->data, r->length), 4);
    for (size_t done = 0; done < whole.length;) {
        ssize_t wrote = write(events->descriptor, whole.data + done, whole.length - done);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return fail_io(err, events->path, "writing");
        done += (size_t)wrote;
    }
    return ISOVAE_OK;
}

static isovae_status make_file(iv_events *events, const char *folder, double wall,
                               isovae_error *err)
{
    iv_text path = {0};
    for (unsigned i = 0; i < MOST_FILES; i++) {
        iv_text_free(&path);
        iv_text_printf(&path, "%s/events.out.tfevents.%010.0f.isovae.%03u", folder, floor(wall), i);
        isovae_status status = iv_text_check(&path, err);
        if (status != ISOVAE_OK) {
            iv_text_free(&path);
            return status;
        }
        events->descriptor =
            open(path.data, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
        if (events->descriptor >= 0 || errno != EEXIST) break;
    }
    isovae_status status = events->descriptor < 0 ? fail_io(err, path.data, "cannot be made")
                                                  : iv_strdup(&events->path, path.data, err);
    iv_text_free(&path);
    return status;
}

isovae_status iv_events_open(const char *folder, double wall, iv_events **out, isovae_error *err)
{
    static const char version[] = "brain.Event:2";
    record r = {.length = 0};
    iv_events *events;
    *out = NULL;
    struct stat about;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return fail_io(err, folder, "the folder cannot be made");
    if (stat(folder, &about) == 0 && !S_ISDIR(about.st_mode))
        return iv_fail(err, ISOVAE_ERR_IO, "%s: is no folder, where event files go", folder);
    IV_TRY(IV_NEW(events, 1, "an event file", err));
    events->descriptor = -1;
    isovae_status status = make_file(events, folder, wall, err);
    put_double(&r, 1, wall);
    put_bytes(&r, 3, version, strlen(version));
    if (status == ISOVAE_OK) status = write_record(events, &r, err);
    if (status != ISOVAE_OK) {
        iv_events_close(events);
        return status;
    }
    *out = events;
    return ISOVAE_OK;
}

void iv_events_close(iv_events *events)
{
    if (events == NULL) return;
    if (events->descriptor >= 0) close(events->descriptor);
    iv_free(events->path);
    iv_free(events);
}

isovae_status iv_events_begin(iv_events *events, double wall, uint64_t step, isovae_error *err)
{
    record r = {.length = 0}, session = {.length = 0};
    put_double(&r, 1, wall);
    put_key(&r, 2, VARINT);
    put_varint(&r, step);
    put_key(&session, 1, VARINT);
    put_varint(&session, 1);
    put_bytes(&r, 7, session.data, session.length);
    return write_record(events, &r, err);
}

isovae_status iv_events_add(iv_events *events, double wall, uint64_t step, const iv_scalar *scalars,
                            size_t n, isovae_error *err)
{
    record r = {.length = 0}, summary = {.length = 0};
    for (size_t i = 0; i < n; i++) {
        record value = {.length = 0};
        if (!isfinite(scalars[i].value)) continue;
        put_bytes(&value, 1, scalars[i].tag, strlen(scalars[i].tag));
        put_float(&value, 2, (float)scalars[i].value);
        if (value.full) summary.full = true;
        put_bytes(&summary, 1, value.data, value.length);
    }
    put_double(&r, 1, wall);
    put_key(&r, 2, VARINT);
    put_varint(&r, step);
    put_bytes(&r, 5, summary.data, summary.length);
    if (summary.full) r.full = true;
    return write_record(events, &r, err);
}
