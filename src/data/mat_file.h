/* MATLAB 5 files, read with suspicion (internal to data/).
 *
 * A file is a header of 128 bytes and elements, each a variable, deflated or not. libmatio reads
 * the values, but it believes what a file says of sizes and of what lies in what. So it gets to see
 * one variable alone, unpacked, whose parts have been found to fill it and to have the sizes that
 * its shape asks for. Variables that are no matrices of numbers never reach it. */
#ifndef IV_DATA_MAT_FILE_H
#define IV_DATA_MAT_FILE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IV_MAT_HEADER = 128, IV_MAT_MAX_RANK = 8, IV_MAT_MAX_NAME = 64 };

/* Classes of variables, by their numbers in the file. */
typedef enum iv_mat_class {
    IV_MAT_SPARSE = 5,
    IV_MAT_DOUBLE = 6,
    IV_MAT_UINT64 = 15, /* 6 to 15 are numbers */
    IV_MAT_OPAQUE = 17
} iv_mat_class;

/* What a variable's head says. */
typedef struct iv_mat_variable {
    const unsigned char *element; /* in the file, with its tag */
    size_t length;
    bool packed;
    unsigned class;
    bool is_complex, logical, readable; /* readable: the head is as the format wants it */
    size_t rank, dim[IV_MAT_MAX_RANK];
    char name[IV_MAT_MAX_NAME]; /* longer ones are cut */
} iv_mat_variable;

/* Whether its elements are numbers, real ones; and a name for the class, for messages. */
bool iv_mat_is_numbers(const iv_mat_variable *v);
const char *iv_mat_class_name(const iv_mat_variable *v);

/* Whether the header is one; the other calls want that. */
isovae_status iv_mat_check(const unsigned char *block, size_t length,
                           isovae_error *err) ISOVAE_MUST_CHECK;
/* The variable at *at (begins as IV_MAT_HEADER), which moves on; *more false at the end. Fails
 * where the file is cut off. */
isovae_status iv_mat_next(const unsigned char *block, size_t length, size_t *at,
                          iv_mat_variable *out, bool *more, isovae_error *err) ISOVAE_MUST_CHECK;

/* A checked, unpacked copy of one variable as a file of its own: a descriptor that the caller
 * closes. `limit` bounds its bytes and those of its values in memory. */
isovae_status iv_mat_extract(const unsigned char *block, const iv_mat_variable *v, size_t limit,
                             int *descriptor, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
