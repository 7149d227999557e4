/* One picture, decoded to several sizes: two bytes of options, then the file. */
#include "base/memory.h"
#include "data/picture.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const iv_crop crops[] = {{.kind = IV_CROP_NONE},
                                    {.kind = IV_CROP_CENTER},
                                    {.kind = IV_CROP_RECTANGLE, .height = 3, .width = 2, .top = 1}};
    unsigned char out[32 * 32 * 3 + 1];
    iv_picture_reader *reader;
    iv_picture_info info;
    isovae_error err;
    if (size < 2) return 0;
    size_t height = 1 + data[0] % 32, width = 1 + data[1] % 32, channels = data[0] & 32 ? 3 : 1;
    const iv_crop *crop = &crops[data[1] / 32 % 3];
    if (iv_picture_reader_new(&reader, &err) != ISOVAE_OK) abort();
    isovae_status seen = iv_picture_peek(reader, data + 2, size - 2, &info, &err);
    if (seen != ISOVAE_OK && err.message[0] == '\0') abort();
    /* A header may promise a large picture: the fuzzer has better to do than to clear memory. */
    if (seen == ISOVAE_OK && info.height * info.width <= 1 << 18) {
        size_t used = height * width * channels;
        memset(out, 0xA5, sizeof out);
        isovae_status status =
            iv_picture_read(reader, data + 2, size - 2, crop, height, width, channels, out, &err);
        if (status != ISOVAE_OK && (err.status != status || err.message[0] == '\0')) abort();
        if (out[used] != 0xA5) abort();
    }
    iv_picture_reader_free(reader);
    return 0;
}
