#include "drain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { LIMIT = 1 << 20 };
    unsigned char *unpacked;
    size_t length;
    isovae_error err;
    if (iv_read_gzip(data, size, LIMIT, &unpacked, &length, &err) != ISOVAE_OK) return 0;
    if (length > LIMIT) abort();
    iv_free(unpacked);
    return 0;
}
