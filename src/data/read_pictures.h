/* Pictures of a list as a dataset of bytes. */
#ifndef IV_DATA_READ_PICTURES_H
#define IV_DATA_READ_PICTURES_H

#include "data/dataset.h"
#include "data/picture_list.h"

/* Rows are the pictures in the list's order, less those that cannot be used, which the note counts
 * (with options->strict the first is an error); ids are their names. Reads every picture twice:
 * once for size and color, so that memory is taken once and no more than there are pixels, then to
 * decode. `key` names a kept row cache. Sets all but source. */
isovae_status iv_read_pictures(const iv_picture_list *list, const iv_data_options *options,
                               uint64_t key, iv_dataset **out, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
