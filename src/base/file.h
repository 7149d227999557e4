/* Files: read whole under a limit, replaced whole or not at all; numbers without the locale. */
#ifndef IV_BASE_FILE_H
#define IV_BASE_FILE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes of a file (regular, pipe or "-" for standard input) into memory released with iv_free;
 * one NUL is put behind them. A file above `limit` bytes is refused before memory is taken. */
isovae_status iv_file_read(const char *path, size_t limit, unsigned char **data, size_t *length,
                           isovae_error *err) ISOVAE_MUST_CHECK;

/* Writes to a temporary file beside `path`, syncs, renames over `path`; on failure `path` is as it
 * was and the temporary file is gone. Where `path` is not a regular file (/dev/stdout, a pipe) it
 * is written directly. */
isovae_status iv_file_write(const char *path, const void *data, size_t length,
                            isovae_error *err) ISOVAE_MUST_CHECK;

/* XXH3, 64 bits, of a block; the hash of model files and data. */
uint64_t iv_hash64(const void *data, size_t length, uint64_t seed);
/* The same number, block after block; `passed` is told the bytes of each. */
uint64_t iv_hash64_parts(const void *data, size_t length, uint64_t seed,
                         void passed(void *user, size_t bytes), void *user);

/* Whether `text` (length bytes) is `word` (lower case), its ASCII letters in any case. */
bool iv_same_word(const char *text, size_t length, const char *word);
/* Decimal text to double whatever the locale; false where `text` (length bytes, no surrounding
 * blanks) is not wholly a number. "nan", "inf" parse as such. */
bool iv_parse_double(const char *text, size_t length, double *out);
/* Shortest of "%.Ng" that keeps `digits` significant digits, '.' as the point whatever the locale;
 * buffer of 32 bytes or more. Returns its length. */
size_t iv_format_double(char *buffer, size_t size, double value, int digits);

#endif
