/* The first byte chooses whether a header is looked for, and which column is read as text. */
#include "drain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    iv_table table;
    isovae_error err;
    iv_slice first;
    unsigned char *is_text;
    if (size == 0) return 0;
    int header = (int)(data[0] % 3) - 1;
    size_t label = data[0] / 3;
    if (iv_read_csv(data + 1, size - 1, header, &table, &err) != ISOVAE_OK) return 0;
    if (IV_NEW(is_text, table.cols, "flags", &err) != ISOVAE_OK) abort();
    const iv_block block = {.data = (unsigned char *)(uintptr_t)(data + 1), .length = size - 1};
    if (iv_csv_text_columns(&table, &block, 64, is_text, &err) != ISOVAE_OK &&
        err.message[0] == '\0') {
        abort();
    }
    if (iv_csv_text_cells(&table, is_text, &first, &err) == ISOVAE_OK) drain(&table, label);
    iv_free(is_text);
    iv_table_free(&table);
    return 0;
}
