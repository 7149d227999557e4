/* Readers: each turns one block of memory into a table of cells, without trusting a byte of it.
 *
 * A table does not hold values. It knows how many rows and columns there are, what the columns are
 * called, and hands out the rows one after the other, so that only what is asked for is converted.
 * The block must outlive the table. */
#ifndef IV_DATA_READER_H
#define IV_DATA_READER_H

#include "data/block.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Element types of binary arrays. */
typedef enum iv_element {
    IV_ELEMENT_F16,
    IV_ELEMENT_F32,
    IV_ELEMENT_F64,
    IV_ELEMENT_I8,
    IV_ELEMENT_I16,
    IV_ELEMENT_I32,
    IV_ELEMENT_I64,
    IV_ELEMENT_U8,
    IV_ELEMENT_U16,
    IV_ELEMENT_U32,
    IV_ELEMENT_U64,
    IV_ELEMENT_BOOL
} iv_element;
size_t iv_element_size(iv_element element);

enum { IV_MAX_RANK = 4 };

/* A dense array inside a block; its bytes may lie at any alignment. */
typedef struct iv_array {
    iv_element element;
    bool big_endian;
    bool fortran; /* first index fastest */
    size_t rank;  /* 1 to IV_MAX_RANK; axis 0 counts the rows */
    size_t shape[IV_MAX_RANK];
    const unsigned char *data;
} iv_array;

/* Delimited text inside a block. */
typedef struct iv_csv {
    const char *text;
    size_t length;
    char separator;           /* ',', ';', tab, or ' ' for runs of blanks */
    char newline;             /* '\n', or '\r' where the text has no other */
    size_t start, start_line; /* behind the comments at its head */
    size_t first_line; /* line of the first record, whose fields the others are counted against */
    size_t data_at, data_line; /* where the first row begins */
    size_t at, line;           /* where the next row begins */
    size_t record_line;        /* line of the row handed out last */
    size_t release;            /* of a mapped block: bytes after which pages are given back */
} iv_csv;

/* A sparse matrix by rows (CSR), owned by the table. */
typedef struct iv_sparse {
    size_t *start;  /* rows + 1 */
    size_t *column; /* start[rows]: below cols; one that comes twice in a row is summed */
    double *value;
} iv_sparse;

typedef struct iv_table {
    size_t rows, cols;
    char **names;                   /* cols, all different; NULL where the block names none */
    char **ids;                     /* rows; NULL where the block has none */
    size_t height, width, channels; /* height 0: no image */
    bool unit_image;                /* an image only if all values lie in [0, 1]: not known yet */
    bool is_text;
    iv_array array;    /* for !is_text */
    size_t *offsets;   /* element offset of each column within a row */
    size_t row_stride; /* in elements */
    size_t next_row;
    iv_csv csv; /* for is_text */
    bool is_sparse;
    iv_sparse sparse; /* for is_sparse */
} iv_table;
void iv_table_free(iv_table *table);

/* A piece of text inside the block; `escaped` where it holds doubled quotes. */
typedef struct iv_slice {
    const char *data;
    size_t length;
    bool quoted, escaped;
} iv_slice;

/* What is wanted of each row: slots[j] is the place in `numbers` for column j, IV_SLOT_NONE, or
 * IV_SLOT_TEXT(i) for a column whose cell becomes texts[i], as text (text tables only). */
#define IV_SLOT_NONE ((size_t)-1)
#define IV_SLOT_TEXT(i) ((size_t)-2 - (i))
#define IV_SLOT_LABEL IV_SLOT_TEXT(0)
typedef struct iv_request {
    const size_t *slots;   /* cols of the table */
    const size_t *columns; /* n: the column of each place */
    size_t n;
} iv_request;

/* The next row into numbers (request->n); a missing value is NaN. Call `rows` times. */
isovae_status iv_table_next(iv_table *table, const iv_request *request, double *numbers,
                            iv_slice *texts, isovae_error *err) ISOVAE_MUST_CHECK;
/* "line 17" or "row 17" of the row handed out last, into a buffer of 40 bytes or more. */
void iv_table_place(const iv_table *table, char *buffer, size_t size);

/* Rows and columns of an array: rank 1 is one column, ranks 3 and 4 are flattened; bytes of rank 3
 * and 4 are images (n, h, w), (n, h, w, c) or, where only that makes sense, (n, c, h, w); floats
 * and truth values likewise, where an axis looks like channels and all values lie in [0, 1]. */
isovae_status iv_table_from_array(const iv_array *array, iv_table *out,
                                  isovae_error *err) ISOVAE_MUST_CHECK;
/* Looks at all values where that decides whether these are images; to be called before any row is
 * read. `block` is what the array lies in. */
isovae_status iv_table_settle_image(iv_table *table, const iv_block *block,
                                    isovae_error *err) ISOVAE_MUST_CHECK;
/* rows * ... * element size, checked; false on overflow. */
bool iv_array_bytes(const iv_array *array, size_t *out);
/* The element at an index into the array's data. */
double iv_array_value(const iv_array *array, size_t index);

isovae_status iv_read_npy(const unsigned char *block, size_t length, iv_table *out,
                          isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status iv_read_idx(const unsigned char *block, size_t length, iv_table *out,
                          isovae_error *err) ISOVAE_MUST_CHECK;
/* header: 1 the first line names the columns, 0 it does not, -1 look. */
isovae_status iv_read_csv(const unsigned char *block, size_t length, int header, iv_table *out,
                          isovae_error *err) ISOVAE_MUST_CHECK;

/* The same over a mapped block of which no more than about `release` bytes stay in memory. */
isovae_status iv_read_csv_mapped(const unsigned char *block, size_t length, int header,
                                 size_t release, iv_table *out,
                                 isovae_error *err) ISOVAE_MUST_CHECK;

/* The .npy block of one member (key NULL: the only one) into memory released with iv_free. */
isovae_status iv_read_npz(const unsigned char *block, size_t length, const char *key, size_t limit,
                          unsigned char **npy, size_t *npy_length,
                          isovae_error *err) ISOVAE_MUST_CHECK;
/* A dataset of an HDF5 file: rows first, images as with iv_table_from_array; or a matrix of an
 * AnnData file (.h5ad), dense or sparse, with its names and ids. `path` ("group/dataset", "X",
 * "layers/NAME", "layer=NAME") NULL: the AnnData's X, or the only one there is. `values` is what a
 * dense table looks into (NULL for a sparse one), released with iv_free. Calls HDF5 under a lock
 * (hdf5_file.h). */
isovae_status iv_read_hdf5(const unsigned char *block, size_t length, const char *path,
                           size_t limit, iv_table *out, unsigned char **values,
                           isovae_error *err) ISOVAE_MUST_CHECK;
/* start, column: as a file has them, n values. Checks them against rows x cols. */
isovae_status iv_sparse_check(const int64_t *start, size_t n_start, const int64_t *index, size_t n,
                              size_t rows, size_t cols, isovae_error *err) ISOVAE_MUST_CHECK;
/* A variable of a MATLAB 5 file (also 6 and 7; 7.3 is HDF5), by name; NULL: X, or the only matrix
 * of numbers, or the only one with more than one row and column. Rows first, as with
 * iv_table_from_array; dense or sparse, `values` as above. */
bool iv_is_mat(const unsigned char *block, size_t length);
isovae_status iv_read_mat(const unsigned char *block, size_t length, const char *name, size_t limit,
                          iv_table *out, unsigned char **values,
                          isovae_error *err) ISOVAE_MUST_CHECK;
/* Inflates all members; refuses to grow beyond `limit` bytes. Released with iv_free. */
isovae_status iv_read_gzip(const unsigned char *block, size_t length, size_t limit,
                           unsigned char **out, size_t *out_length,
                           isovae_error *err) ISOVAE_MUST_CHECK;
/* The same two into blocks that may lie in a file. */
isovae_status iv_unpack_npz(const iv_block *in, const char *key, const iv_spool *spool,
                            iv_block *out, isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status iv_unpack_gzip(const iv_block *in, const iv_spool *spool, iv_block *out,
                             isovae_error *err) ISOVAE_MUST_CHECK;

/* The part of iv_table_next that is for text tables. */
isovae_status iv_csv_next(iv_table *table, const iv_request *request, double *numbers,
                          iv_slice *texts, isovae_error *err) ISOVAE_MUST_CHECK;
/* Back to the first row. */
void iv_csv_rewind(iv_table *table);
/* Whether the text of a category says that there is none: empty, ?, NA, NaN, null. */
bool iv_csv_missing_word(iv_slice cell);
/* Which columns hold a cell that is neither a number nor missing, in any row, as one flag per
 * column; pages of a mapped block are given back now and then. Ends at the first row. */
isovae_status iv_csv_text_columns(iv_table *table, const iv_block *block, size_t release,
                                  unsigned char *is_text, isovae_error *err) ISOVAE_MUST_CHECK;
/* Text tables: which cells of the first row are neither a number nor missing, as one flag per
 * column, and the first such cell. */
isovae_status iv_csv_text_cells(const iv_table *table, unsigned char *is_text, iv_slice *first,
                                isovae_error *err) ISOVAE_MUST_CHECK;
/* Whether a cell that is no number looks like decimals with a comma: "1,5", or "5 2" where commas
 * separate ("1,5 2,5"). */
bool iv_csv_decimal_comma(const iv_table *table, iv_slice cell);
/* A copy of a slice without its quoting. */
isovae_status iv_slice_copy(iv_slice slice, char **out, isovae_error *err) ISOVAE_MUST_CHECK;

/* Text for a message: at most 40 bytes, printable, never cut inside a UTF-8 character. */
typedef struct iv_shown {
    char text[48];
} iv_shown;
iv_shown iv_show(const char *text, size_t length);

#endif
