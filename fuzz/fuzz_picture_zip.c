/* An archive of pictures: its list, then every member. */
#include "data/picture.h"
#include "data/picture_list.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const iv_block block = {.data = (unsigned char *)(uintptr_t)data, .length = size};
    iv_picture_list list;
    isovae_error err;
    (void)iv_zip_has_arrays(&block);
    if (iv_picture_list_zip(&block, &list, &err) != ISOVAE_OK) {
        if (err.message[0] == '\0') abort();
        return 0;
    }
    iv_picture_reader *reader;
    if (iv_picture_reader_new(&reader, &err) != ISOVAE_OK) abort();
    for (size_t i = 0; i < list.n && i < 64; i++) {
        unsigned char *bytes;
        size_t length;
        iv_picture_info info;
        if (iv_picture_fetch(&list, i, &bytes, &length, &err) != ISOVAE_OK) {
            if (bytes != NULL || err.message[0] == '\0') abort();
            continue;
        }
        if (iv_picture_peek(reader, bytes, length, &info, &err) == ISOVAE_OK &&
            (info.height == 0 || info.width == 0)) {
            abort();
        }
        iv_free(bytes);
    }
    iv_picture_reader_free(reader);
    iv_picture_list_free(&list);
    return 0;
}
