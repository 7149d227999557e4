/* iv_text, the growing byte string of base/memory.h. */
#include "base/locale.h"
#include "base/memory.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Room for `more` bytes and a NUL behind what is there; doubles, so that appending stays linear. */
static bool reserve(iv_text *text, size_t more)
{
    size_t needed, capacity = text->capacity > 0 ? text->capacity : 64;
    if (text->failed || !iv_size_add(text->length, more, &needed) ||
        !iv_size_add(needed, 1, &needed)) {
        text->failed = true;
        return false;
    }
    if (needed <= text->capacity) return true;
    while (capacity < needed) {
        if (!iv_size_mul(capacity, 2, &capacity)) capacity = needed;
    }
    char *data = realloc(text->data, capacity);
    if (data == NULL) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void iv_text_append(iv_text *text, const char *data, size_t length)
{
    if (!reserve(text, length)) return;
    if (length > 0) memcpy(text->data + text->length, data, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void iv_text_puts(iv_text *text, const char *string)
{
    iv_text_append(text, string, strlen(string));
}

void iv_text_printf(iv_text *text, const char *format, ...)
{
    va_list first, second;
    va_start(first, format);
    va_copy(second, first);
    if (reserve(text, 128)) { /* most pieces fit at once */
        int length =
            iv_vsnprintf(text->data + text->length, text->capacity - text->length, format, first);
        if (length < 0) {
            text->failed = true;
        } else if ((size_t)length < text->capacity - text->length) {
            text->length += (size_t)length;
        } else if (reserve(text, (size_t)length)) {
            iv_vsnprintf(text->data + text->length, (size_t)length + 1, format, second);
            text->length += (size_t)length;
        }
        if (text->data != NULL) text->data[text->length] = '\0';
    }
    va_end(second);
    va_end(first);
}

isovae_status iv_text_check(const iv_text *text, isovae_error *err)
{
    if (!text->failed) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory: a text of %zu bytes could not grow",
                   text->length);
}

void iv_text_free(iv_text *text)
{
    free(text->data);
    memset(text, 0, sizeof *text);
}
