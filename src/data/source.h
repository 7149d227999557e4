/* A file while it is being read: which one, what in it, its bytes, its format by content (internal
 * to data/). */
#ifndef IV_DATA_SOURCE_H
#define IV_DATA_SOURCE_H

#include "data/dataset.h"
#include "data/reader.h"

/* `block` is what the table looks into. */
typedef struct iv_source {
    char *path;
    const char *key; /* in an .npz, .mat or HDF5 file, or NULL; borrowed, or in path */
    iv_block block;
    iv_spool spool;
    size_t release;     /* bytes of a mapped block after which its pages are given back */
    uint64_t cache_key; /* names a kept row cache */
    iv_table table;
} iv_source;

/* "FILE", or "FILE:KEY" where FILE:KEY is no file itself, but FILE is. Freed also on failure. */
isovae_status iv_source_new(const char *spec, const iv_data_options *options, iv_source *out,
                            isovae_error *err) ISOVAE_MUST_CHECK;
void iv_source_free(iv_source *s);

/* Whether the block begins so; whether it is a zip archive, or HDF5 (also behind a block of the
 * writer's own, as MATLAB 7.3 has one). */
bool iv_source_starts(const iv_source *s, const char *magic, size_t length);
bool iv_source_is_zip(const iv_source *s);
bool iv_source_is_hdf5(const iv_source *s);
void iv_source_replace(iv_source *s, iv_block block);

/* The bytes of the path, without gzip's packing; messages do not name the file. */
isovae_status iv_source_unpack(iv_source *s, isovae_error *err) ISOVAE_MUST_CHECK;
/* The table in them: .npz, .mat and HDF5 are unpacked, then the table is opened over the block. */
isovae_status iv_source_table(iv_source *s, const iv_data_options *options,
                              isovae_error *err) ISOVAE_MUST_CHECK;

#endif
