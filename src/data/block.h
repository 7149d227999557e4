/* Blocks of bytes from files and archives: in memory, or above a limit in a file that is mapped, so
 * that a block may be larger than memory. What is mapped was a regular file of the user's (which
 * must not be shortened meanwhile) or a temporary file without a name. */
#ifndef IV_DATA_BLOCK_H
#define IV_DATA_BLOCK_H

#include "base/memory.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct iv_block {
    unsigned char *data; /* length bytes and one NUL behind them; only read */
    size_t length;
    size_t mapped; /* bytes of the mapping, 0 for memory */
} iv_block;
void iv_block_free(iv_block *block);

/* Where blocks may lie. */
typedef struct iv_spool {
    size_t resident;    /* larger ones go to a file */
    size_t limit;       /* none may be larger */
    const char *folder; /* of temporary files; NULL: TMPDIR, else /var/tmp */
} iv_spool;

/* A file, or "-" for standard input. Messages name the file. */
isovae_status iv_block_read(const char *path, const iv_spool *spool, iv_block *out,
                            isovae_error *err) ISOVAE_MUST_CHECK;

/* A block of unknown length, written from the front: ask for room, fill some of it, say how much;
 * at last take the block. Zero-initialise and set spool; free after failure and success alike. */
typedef struct iv_filler {
    const iv_spool *spool;
    const char *what; /* for messages: "the compressed file" */
    unsigned char *data;
    size_t length, capacity; /* in memory now */
    size_t written;          /* in the file before it */
    int descriptor;          /* of the file, plus 1 */
} iv_filler;
isovae_status iv_filler_room(iv_filler *filler, unsigned char **room, size_t *size,
                             isovae_error *err) ISOVAE_MUST_CHECK;
void iv_filler_put(iv_filler *filler, size_t size);
isovae_status iv_filler_take(iv_filler *filler, iv_block *out, isovae_error *err) ISOVAE_MUST_CHECK;
void iv_filler_free(iv_filler *filler);

/* Mapped pages between the two are given back to the system; they come again when read. For
 * mappings of files alone. */
void iv_pages_release(const void *from, const void *to);

/* All pages of a mapped block; nothing for one in memory. */
void iv_block_release(const iv_block *block);

/* A new file without a name in `folder` (NULL: TMPDIR, else /var/tmp), which ends with its
 * descriptor. */
isovae_status iv_temporary_file(const char *folder, int *descriptor,
                                isovae_error *err) ISOVAE_MUST_CHECK;
/* All of it, or an error that tells of a full disk. */
isovae_status iv_descriptor_write(int descriptor, const void *data, size_t length,
                                  isovae_error *err) ISOVAE_MUST_CHECK;

#endif
