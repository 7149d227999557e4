/* An HDF5 file in memory, read with suspicion (internal to data/).
 *
 * libhdf5 keeps state of the process, and Debian's serial build of it is not made for threads: so
 * every use of it in this library stands between iv_h5_enter and iv_h5_leave, which hold one lock
 * for the process, the only one of its kind here. While it is held HDF5 prints nothing and loads no
 * plugins; both settings are put back. A program that calls HDF5 itself must not do so at the same
 * time from another thread, unless its libhdf5 is a thread-safe one.
 *
 * What is refused: links other than hard ones (so no file outside is opened, and no cycle),
 * external storage, virtual layouts, filters other than deflate, shuffle, fletcher32 and szip, and
 * sizes that the bytes of the file cannot hold. */
#ifndef IV_DATA_HDF5_FILE_H
#define IV_DATA_HDF5_FILE_H

#include "data/reader.h"

#include <hdf5.h>

typedef struct iv_h5 {
    hid_t file;
    size_t length; /* bytes of the file */
    size_t limit;  /* bytes that may be taken for one array */
    const unsigned char *block;
    /* what was set before */
    H5E_auto2_t report;
    void *report_data;
    unsigned plugins;
} iv_h5;

/* Takes the lock and opens the block, which must stay until iv_h5_leave. On failure the lock is
 * free again. */
isovae_status iv_h5_enter(const unsigned char *block, size_t length, size_t limit, iv_h5 *out,
                          isovae_error *err) ISOVAE_MUST_CHECK;
void iv_h5_leave(iv_h5 *h5);

/* Any id, also a bad one. */
void iv_h5_drop(hid_t id);
/* ISOVAE_ERR_DATA: "'PATH' cannot be read ... (HDF5: ...)", with HDF5's own reason where the call
 * before this one is the one that failed. */
isovae_status iv_h5_fail(const char *path, isovae_error *err);

/* The object at a path ("raw/X") by hard links alone; released with iv_h5_drop. */
isovae_status iv_h5_find(const iv_h5 *h5, const char *path, hid_t *out,
                         isovae_error *err) ISOVAE_MUST_CHECK;
/* Whether there is one, of whatever kind. */
bool iv_h5_has(const iv_h5 *h5, const char *path);
bool iv_h5_is_dataset(hid_t id);
bool iv_h5_is_group(hid_t id);

enum { IV_H5_MAX_RANK = 32 };
typedef struct iv_h5_shape {
    size_t rank, dim[IV_H5_MAX_RANK], count;
} iv_h5_shape;
/* Shape of a dataset after all checks above; elements of `size` bytes. */
isovae_status iv_h5_check(const iv_h5 *h5, hid_t set, const char *path, size_t size,
                          iv_h5_shape *out, isovae_error *err) ISOVAE_MUST_CHECK;
/* What elements of a numeric dataset become in memory; false where it is none. `memory` is an id
 * that needs no release. */
bool iv_h5_number(hid_t set, iv_element *element, hid_t *memory);
/* A whole dataset of checked shape as `memory` elements of `size` bytes, into fresh memory. */
isovae_status iv_h5_read(hid_t set, const char *path, const iv_h5_shape *shape, hid_t memory,
                         size_t size, void **out, isovae_error *err) ISOVAE_MUST_CHECK;

/* A text attribute of at most size - 1 bytes; false where there is no such. */
bool iv_h5_text_attribute(hid_t id, const char *name, char *out, size_t size);

/* read_h5ad.c: a group that holds a sparse matrix (csr or csc) as a table. */
bool iv_h5_is_sparse(hid_t group);
isovae_status iv_h5_sparse(const iv_h5 *h5, hid_t group, const char *path, iv_table *out,
                           isovae_error *err) ISOVAE_MUST_CHECK;
/* The n texts (whole numbers as text) of a dataset of one axis, or of one member of its compound
 * elements (NULL: index, _index); *out NULL where it holds no such. A failure may leave some: the
 * caller frees. */
isovae_status iv_h5_texts(const iv_h5 *h5, hid_t set, const char *path, const char *member,
                          size_t n, char ***out, isovae_error *err) ISOVAE_MUST_CHECK;
/* Names of the columns and ids of the rows of an AnnData matrix, where the file has them. */
isovae_status iv_h5_annotate(const iv_h5 *h5, const char *path, iv_table *table,
                             isovae_error *err) ISOVAE_MUST_CHECK;

#endif
