#include "drain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    iv_table table;
    isovae_error err;
    if (iv_read_npy(data, size, &table, &err) == ISOVAE_OK) {
        drain(&table, 0);
        iv_table_free(&table);
    }
    return 0;
}
