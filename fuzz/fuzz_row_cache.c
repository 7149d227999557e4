/* What stands behind the rows of a kept cache, and the header before them: a file in a folder of
 * its own, found and decoded. */
#include "base/file.h"
#include "base/memory.h"
#include "data/build.h"
#include "data/cache.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input is the meta; rows and header are made to fit it, so that it is decoded. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { HEADER = 1 << 16, KEY = 5, ROWS = 96 };
    static char folder[64];
    char path[128];
    if (folder[0] == '\0') {
        strcpy(folder, "/tmp/isovae-fuzz-XXXXXX");
        if (mkdtemp(folder) == NULL) abort();
    }
    if (size < 1) return 0;
    size_t row = data[0] % 8 + 1, bytes = ROWS / row * row, meta = size - 1;
    struct {
        char magic[16];
        uint64_t order, key, bytes, row_bytes, meta_length, meta_hash, hash;
    } head = {"isovae rows 1\n", 1, KEY, bytes, row, meta, iv_hash64(data + 1, meta, 0), 0};
    head.hash = iv_hash64(&head, sizeof head - sizeof head.hash, 0);
    snprintf(path, sizeof path, "%s/isovae-%016x.rows", folder, KEY);
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    static unsigned char rows[ROWS];
    if (file < 0 || pwrite(file, &head, sizeof head, 0) != (ssize_t)sizeof head ||
        pwrite(file, rows, bytes, HEADER) != (ssize_t)bytes ||
        pwrite(file, data + 1, meta, (off_t)(HEADER + bytes)) != (ssize_t)meta) {
        abort();
    }
    close(file);
    iv_data_options options;
    iv_data_options_init(&options);
    options.cache = folder;
    iv_dataset *found;
    isovae_error err;
    if (iv_cache_find(&options, KEY, &found, &err) == ISOVAE_OK && found != NULL) {
        float x[ROWS];
        for (size_t r = 0; r < found->rows; r++) iv_dataset_row(found, r, x);
        iv_dataset_free(found);
    }
    unlink(path);
    rmdir(folder);
    folder[0] = '\0';
    return 0;
}
