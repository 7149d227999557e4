/* What the makers of datasets share (internal to data/). */
#ifndef IV_DATA_BUILD_H
#define IV_DATA_BUILD_H

#include "base/memory.h"
#include "data/dataset.h"

/* An empty dataset with room for its values (or bytes), names and status. */
isovae_status iv_build_new(size_t rows, size_t cols, bool bytes, iv_dataset **out,
                           isovae_error *err) ISOVAE_MUST_CHECK;
/* The same for rows that may go to a row cache, named by `key` where it is kept (options->cache);
 * ends with iv_cache_seal. */
isovae_status iv_build_new_cached(size_t rows, size_t cols, bool bytes,
                                  const iv_data_options *options, uint64_t key, iv_dataset **out,
                                  isovae_error *err) ISOVAE_MUST_CHECK;
size_t iv_build_memory(const iv_data_options *options); /* the limit between the two, in bytes */
/* For built-in sets: an error where the options choose columns. */
isovae_status iv_build_whole(const iv_data_options *options, isovae_error *err) ISOVAE_MUST_CHECK;
uint64_t iv_build_hash(const iv_dataset *data);
/* Copies the names of `columns` (NULL: the first cols), or makes up "c1", ... by column number
 * where names is NULL. */
isovae_status iv_build_names(iv_dataset *data, const char *const *names, const size_t *columns,
                             isovae_error *err) ISOVAE_MUST_CHECK;
/* Finds constant columns, hashes, and puts `note` (may be empty) into the dataset. */
isovae_status iv_build_finish(iv_dataset *data, iv_text *note, isovae_error *err) ISOVAE_MUST_CHECK;
size_t
iv_build_limit(const iv_data_options *options); /* of built-in sets and what HDF5 holds, in bytes */
size_t iv_build_source_limit(const iv_data_options *options); /* of files, packed or not */
/* Reports now and then; ISOVAE_ERR_CANCELLED where the callback says so. */
isovae_status iv_build_progress(const iv_progress *progress, size_t row, size_t rows,
                                isovae_error *err) ISOVAE_MUST_CHECK;

#endif
