/* A MATLAB 5 file: which variable, its parts, and what libmatio then makes of it. The header is put
 * before the input, its byte order by the first byte. */
#include "drain.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { LIMIT = 1 << 20, HEADER = 128 };
    if (size == 0) return 0;
    uint8_t *file = malloc(HEADER + size);
    if (file == NULL) abort();
    memset(file, ' ', HEADER);
    memcpy(file + HEADER - 4, data[0] % 2 == 0 ? "\0\1IM" : "\1\0MI", 4);
    memcpy(file + HEADER, data + 1, size - 1);
    static const char *const names[] = {NULL, "X", "s"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        iv_table table;
        unsigned char *values;
        isovae_error err;
        if (iv_read_mat(file, HEADER + size - 1, names[i], LIMIT, &table, &values, &err) !=
            ISOVAE_OK) {
            if (err.status == ISOVAE_ERR_INTERNAL || err.message[0] == '\0') abort();
            continue;
        }
        drain(&table, 0);
        iv_table_free(&table);
        iv_free(values);
    }
    free(file);
    return 0;
}
