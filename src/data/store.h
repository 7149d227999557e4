/* The row cache: rows that do not fit in memory lie in a file that is mapped. Its pages belong to
 * the system's file cache; those that this process has touched are given back now and then, so that
 * its own memory stays bounded however many rows there are.
 *
 * The file has no name and ends with its process, or, in a folder that the user keeps (--cache), is
 * called isovae-KEY.part until it is complete and isovae-KEY.rows then:
 *   64 KiB   header: magic, key, sizes, hash of what follows the rows, hash of the header
 *   rows     as in memory
 *   meta     what else belongs to the data (cache.c)
 * A part that a killed process left is overwritten by the next one. */
#ifndef IV_DATA_STORE_H
#define IV_DATA_STORE_H

#include "base/memory.h"
#include "data/dataset.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct iv_store iv_store;

/* Room for `bytes` of rows, reserved on the disk, all zero; `folder` NULL: without a name. At most
 * about `resident` bytes of it stay with the process. */
isovae_status iv_store_new(size_t bytes, size_t row_bytes, size_t resident, const char *folder,
                           uint64_t key, iv_store **out, isovae_error *err) ISOVAE_MUST_CHECK;
/* A complete cache of that key, with its meta (iv_free), or *out NULL where there is none. */
isovae_status iv_store_find(const char *folder, uint64_t key, size_t resident, iv_store **out,
                            unsigned char **meta, size_t *meta_length,
                            isovae_error *err) ISOVAE_MUST_CHECK;
void iv_store_free(iv_store *store); /* NULL is fine; removes a part */

unsigned char *iv_store_rows(iv_store *store);
size_t iv_store_bytes(const iv_store *store);
size_t iv_store_row_bytes(const iv_store *store);
/* Rows are written; the first `bytes` of them count. With a folder the cache becomes complete. */
isovae_status iv_store_seal(iv_store *store, size_t bytes, const void *meta, size_t meta_length,
                            isovae_error *err) ISOVAE_MUST_CHECK;

/* `bytes` of the rows have been read or written: pages are given back when that is due, also while
 * other threads read. */
void iv_store_passed(iv_store *store, size_t bytes);
/* The store's part of iv_dataset_use; any thread. */
void iv_store_use(iv_store *store, iv_row_use use, const size_t *rows, size_t n);

#endif
