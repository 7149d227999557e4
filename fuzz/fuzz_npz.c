/* The archive, then the array in it: without a key, and with the key "b". */
#include "drain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_one(const uint8_t *data, size_t size, const char *key)
{
    enum { LIMIT = 1 << 22 };
    unsigned char *npy;
    size_t length;
    iv_table table;
    isovae_error err;
    if (iv_read_npz(data, size, key, LIMIT, &npy, &length, &err) != ISOVAE_OK) return;
    if (length > LIMIT) abort();
    if (iv_read_npy(npy, length, &table, &err) == ISOVAE_OK) {
        drain(&table, 0);
        iv_table_free(&table);
    }
    iv_free(npy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_one(data, size, NULL);
    read_one(data, size, "b");
    return 0;
}
