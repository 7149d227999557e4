/* Tables as datasets. */
#ifndef IV_DATA_READ_TABLE_H
#define IV_DATA_READ_TABLE_H

#include "data/dataset.h"
#include "data/reader.h"

/* The features and other columns that `options` choose, all rows. `block` is what the table looks
 * into; of a mapped one no more than about `release` bytes stay in memory. `key` names a kept row
 * cache. Sets all but source. */
isovae_status iv_read_table(iv_table *table, const iv_block *block, size_t release,
                            const iv_data_options *options, uint64_t key, iv_dataset **out,
                            isovae_error *err) ISOVAE_MUST_CHECK;

#endif
