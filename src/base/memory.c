#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 }; /* a cache line, and the widest vector */

bool iv_size_mul(size_t a, size_t b, size_t *out)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product)) return false;
    *out = product;
    return true;
}

bool iv_size_add(size_t a, size_t b, size_t *out)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return false;
    *out = sum;
    return true;
}

isovae_status iv_alloc(void **out, size_t count, size_t size, const char *what, isovae_error *err)
{
    size_t bytes, rounded;
    *out = NULL;
    /* PTRDIFF_MAX: beyond it the difference of two pointers into the block has no value. */
    if (!iv_size_mul(count, size, &bytes) || !iv_size_add(bytes, ALIGNMENT - 1, &rounded) ||
        rounded > (size_t)PTRDIFF_MAX) {
        return iv_fail(err, ISOVAE_ERR_MEMORY,
                       "%s: %zu items of %zu bytes are more than this machine can address", what,
                       count, size);
    }
    rounded = rounded / ALIGNMENT * ALIGNMENT;
    if (rounded == 0) rounded = ALIGNMENT;
    void *memory = aligned_alloc(ALIGNMENT, rounded);
    if (memory == NULL) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory: %zu bytes for %s were refused",
                       bytes, what);
    }
    memset(memory, 0, rounded);
    *out = memory;
    return ISOVAE_OK;
}

void iv_free(void *memory)
{
    free(memory);
}

isovae_status iv_strndup(char **out, const char *text, size_t length, isovae_error *err)
{
    *out = NULL;
    size_t bytes;
    if (!iv_size_add(length, 1, &bytes)) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "a text of %zu bytes cannot be copied", length);
    }
    void *copy;
    IV_TRY(iv_alloc(&copy, bytes, 1, "a copy of a text", err));
    if (length > 0) memcpy(copy, text, length); /* the NUL behind it is there: zeroed memory */
    *out = copy;
    return ISOVAE_OK;
}

isovae_status iv_strdup(char **out, const char *text, isovae_error *err)
{
    return iv_strndup(out, text, strlen(text), err);
}
