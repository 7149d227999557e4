/* gzip: inflated into a block whose growth is bounded, so that a small file cannot fill memory. */
#include "data/reader.h"

#include <limits.h>
#include <stdint.h>
#include <zlib.h>

enum { SHOWN = 1 << 18 }; /* bytes that zlib is shown at once */

static isovae_status inflate_all(z_stream *z, const iv_block *in, iv_filler *filler,
                                 isovae_error *err)
{
    const unsigned char *block = in->data;
    size_t given = 0, length = in->length; /* given: bytes of the block that zlib has been shown */
    for (;;) {
        if (z->avail_in == 0 && given < length) {
            size_t n = length - given < SHOWN ? length - given : SHOWN;
            iv_block_release(in);
            z->next_in = (unsigned char *)(uintptr_t)(block + given); /* zlib only reads it */
            z->avail_in = (unsigned)n;
            given += n;
        }
        unsigned char *room;
        size_t n;
        IV_TRY(iv_filler_room(filler, &room, &n, err));
        if (n > UINT_MAX) n = UINT_MAX;
        z->next_out = room;
        z->avail_out = (unsigned)n;
        int code = inflate(z, Z_NO_FLUSH);
        iv_filler_put(filler, n - z->avail_out);
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
            if (z->avail_out > 0 && z->avail_in == 0 && given == length) {
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

isovae_status iv_unpack_gzip(const iv_block *in, const iv_spool *spool, iv_block *out,
                             isovae_error *err)
{
    iv_filler filler = {.spool = spool, .what = "the compressed file"};
    z_stream z = {0};
    *out = (iv_block){0};
    if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory while decompressing");
    }
    isovae_status status = inflate_all(&z, in, &filler, err);
    inflateEnd(&z);
    if (status == ISOVAE_OK) status = iv_filler_take(&filler, out, err);
    iv_filler_free(&filler);
    return status;
}

isovae_status iv_read_gzip(const unsigned char *block, size_t length, size_t limit,
                           unsigned char **out, size_t *out_length, isovae_error *err)
{
    if (limit > SIZE_MAX - 2) limit = SIZE_MAX - 2;
    const iv_spool spool = {.resident = SIZE_MAX, .limit = limit};
    const iv_block in = {.data = (unsigned char *)(uintptr_t)block, .length = length};
    iv_block unpacked;
    *out = NULL;
    *out_length = 0;
    IV_TRY(iv_unpack_gzip(&in, &spool, &unpacked, err));
    *out = unpacked.data;
    *out_length = unpacked.length;
    return ISOVAE_OK;
}
