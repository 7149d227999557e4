/* The pictures of a folder or zip archive, by name: what there is, and their bytes one by one. */
#ifndef IV_DATA_PICTURE_LIST_H
#define IV_DATA_PICTURE_LIST_H

#include "data/block.h"

#include <stdint.h>

enum {
    IV_PICTURE_BYTES = 1 << 27, /* of one file or member */
    IV_PICTURE_FILES = 10000000
};

typedef struct iv_picture_entry {
    const char *name;
    uint64_t index; /* in the archive */
} iv_picture_entry;

typedef struct iv_picture_list {
    size_t n;
    iv_picture_entry *entries; /* in the order of the bytes of their names */
    char *text;                /* the names, one behind the other, each with its NUL */
    char *folder;              /* or NULL */
    void *archive;             /* or NULL; reads in the block, which must stay */
    const iv_block *block;
    uint64_t key; /* of names, sizes and times of a folder's files */
} iv_picture_list;

/* All regular files of a folder (not of those in it) but hidden ones; all members of an archive but
 * folders, hidden ones and those of __MACOSX. Errors: more than IV_PICTURE_FILES; members that
 * overlap or that promise more bytes than their packed ones can hold (ISOVAE_ERR_DATA). */
isovae_status iv_picture_list_folder(const char *path, iv_picture_list *out,
                                     isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status iv_picture_list_zip(const iv_block *block, iv_picture_list *out,
                                  isovae_error *err) ISOVAE_MUST_CHECK;
void iv_picture_list_free(iv_picture_list *list);

/* The bytes of one (iv_free). What is wrong with it alone is ISOVAE_ERR_DATA, without its name. One
 * thread at a time. */
isovae_status iv_picture_fetch(const iv_picture_list *list, size_t i, unsigned char **bytes,
                               size_t *length, isovae_error *err) ISOVAE_MUST_CHECK;

/* Whether a zip archive holds .npy arrays (then it is an .npz); false where it cannot be opened. */
bool iv_zip_has_arrays(const iv_block *block);

#endif
