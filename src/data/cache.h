/* What a kept row cache holds beside its rows, and what it must agree with. */
#ifndef IV_DATA_CACHE_H
#define IV_DATA_CACHE_H

#include "data/dataset.h"

#include <sys/stat.h>

/* Of a source and of all options that decide rows, names or remarks: name, size and time of change
 * of the file, or of each picture of a folder (chained by iv_cache_key_file). */
uint64_t iv_cache_key(const char *spec, const iv_data_options *options);
uint64_t iv_cache_key_file(uint64_t key, const char *name, const struct stat *info);

/* The dataset of a complete cache that is not damaged, or *out NULL. */
isovae_status iv_cache_find(const iv_data_options *options, uint64_t key, iv_dataset **out,
                            isovae_error *err) ISOVAE_MUST_CHECK;
/* Ends the writing of a dataset in a store; with --cache the cache becomes complete. The dataset is
 * finished (iv_build_finish). Does nothing for one in memory. */
isovae_status iv_cache_seal(iv_dataset *data, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
