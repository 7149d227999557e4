/* gzip: inflated into one block whose growth is bounded, so that a small file cannot fill memory.
 */
#include "data/reader.h"

#include "base/memory.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>

/* Deflate cannot shrink by more than this factor. */
enum { MAX_RATIO = 1032 };

/* The last four bytes tell the size modulo 2^32: a hint, believed no further than possible. */
static size_t first_capacity(const unsigned char *block, size_t length, size_t limit)
{
    size_t hint = 65536, most;
    if (length >= 18) {
        const unsigned char *p = block + length - 4;
        hint = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
    }
    if (iv_size_mul(length, MAX_RATIO, &most) && hint > most) hint = most;
    if (hint < 256) hint = 256;
    return hint < limit ? hint : limit;
}

typedef struct growing {
    unsigned char *data;
    size_t length, capacity;
} growing;

static isovae_status grow(growing *g, size_t limit, isovae_error *err)
{
    unsigned char *bigger;
    size_t capacity;
    if (g->capacity >= limit) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "the compressed file holds more than the limit of %zu bytes", limit);
    }
    if (!iv_size_mul(g->capacity, 2, &capacity) || capacity > limit) capacity = limit;
    IV_TRY(IV_NEW(bigger, capacity + 1, "decompressed data", err));
    memcpy(bigger, g->data, g->length);
    iv_free(g->data);
    g->data = bigger;
    g->capacity = capacity;
    return ISOVAE_OK;
}

static isovae_status inflate_all(z_stream *z, const unsigned char *block, size_t length,
                                 size_t limit, growing *g, isovae_error *err)
{
    size_t given = 0; /* bytes of the block that zlib has been shown */
    for (;;) {
        if (z->avail_in == 0 && given < length) {
            size_t n = length - given < UINT_MAX ? length - given : UINT_MAX;
            z->next_in = (unsigned char *)(uintptr_t)(block + given); /* zlib only reads it */
            z->avail_in = (unsigned)n;
            given += n;
        }
        size_t room = g->capacity - g->length;
        size_t n = room < UINT_MAX ? room : UINT_MAX;
        z->next_out = g->data + g->length;
        z->avail_out = (unsigned)n;
        int code = inflate(z, Z_NO_FLUSH);
        g->length += n - z->avail_out;
        if (code == Z_STREAM_END) {
            size_t left = length - given + z->avail_in;
            const unsigned char *rest = block + (length - left);
            size_t zeros = 0;
            while (zeros < left && rest[zeros] == 0) zeros++;
            if (zeros == left) return ISOVAE_OK; /* the end, or padding of a tape */
            if (left < 2 || rest[0] != 0x1f || rest[1] != 0x8b || inflateReset(z) != Z_OK) {
                return iv_fail(err, ISOVAE_ERR_DATA,
                               "the gzip file is damaged: %zu unknown bytes follow its end", left);
            }
        } else if (code == Z_MEM_ERROR) {
            return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory while decompressing");
        } else if (code == Z_OK || code == Z_BUF_ERROR) {
            if (z->avail_out == 0 && g->length == g->capacity) {
                IV_TRY(grow(g, limit, err));
            } else if (z->avail_in == 0 && given == length) {
                return iv_fail(
                    err, ISOVAE_ERR_DATA,
                    "the gzip file is cut off: it ends after %zu bytes, in the middle of "
                    "its data",
                    length);
            }
        } else {
            return iv_fail(err, ISOVAE_ERR_DATA, "the gzip file is damaged: %s",
                           z->msg != NULL ? z->msg : "it cannot be decompressed");
        }
    }
}

isovae_status iv_read_gzip(const unsigned char *block, size_t length, size_t limit,
                           unsigned char **out, size_t *out_length, isovae_error *err)
{
    *out = NULL;
    *out_length = 0;
    if (limit > SIZE_MAX - 1) limit = SIZE_MAX - 1;
    growing g = {.capacity = first_capacity(block, length, limit)};
    IV_TRY(IV_NEW(g.data, g.capacity + 1, "decompressed data", err));
    z_stream z = {0};
    isovae_status status;
    if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) {
        status = iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory while decompressing");
    } else {
        status = inflate_all(&z, block, length, limit, &g, err);
        inflateEnd(&z);
    }
    if (status != ISOVAE_OK) {
        iv_free(g.data);
        return status;
    }
    g.data[g.length] = 0;
    *out = g.data;
    *out_length = g.length;
    return ISOVAE_OK;
}
