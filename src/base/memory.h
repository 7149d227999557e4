/* Checked sizes and memory. Every size that comes from outside passes through here. */
#ifndef IV_BASE_MEMORY_H
#define IV_BASE_MEMORY_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

/* *out = a * b (a + b); false, with *out untouched, where that overflows. */
bool iv_size_mul(size_t a, size_t b, size_t *out);
bool iv_size_add(size_t a, size_t b, size_t *out);

/* Zeroed memory for `count` things of `size` bytes, aligned to 64 bytes; count 0 gives a valid
 * pointer too. `*out` is NULL on failure. `what` names the thing in the message. Release with
 * iv_free. */
isovae_status iv_alloc(void **out, size_t count, size_t size, const char *what,
                       isovae_error *err) ISOVAE_MUST_CHECK;
void iv_free(void *memory); /* NULL is fine */

/* IV_NEW(p, n, "what", err): typed form of iv_alloc for a pointer variable p. */
#define IV_NEW(pointer, count, what, err)                                                          \
    iv_alloc((void **)&(pointer), (count), sizeof *(pointer), (what), (err))

isovae_status iv_strdup(char **out, const char *text, isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status iv_strndup(char **out, const char *text, size_t length,
                         isovae_error *err) ISOVAE_MUST_CHECK;

/* A growing byte string (for JSON, SVG, HTML and text output): NUL-terminated whenever length > 0.
 * Errors are sticky: after a failed append `failed` is set, later appends do nothing, and the
 * caller checks once at the end. Zero-initialise; release with iv_text_free. */
typedef struct iv_text {
    char *data;
    size_t length, capacity;
    bool failed;
} iv_text;
void iv_text_append(iv_text *text, const char *data, size_t length);
void iv_text_puts(iv_text *text, const char *string);
void iv_text_printf(iv_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
isovae_status iv_text_check(const iv_text *text, isovae_error *err) ISOVAE_MUST_CHECK;
void iv_text_free(iv_text *text);

#endif
