/* The dataset: rows of features in memory, with their names, ids and, where known, their truth. */
#ifndef IV_DATA_DATASET_H
#define IV_DATA_DATASET_H

#include "base/progress.h"
#include "base/status.h"
#include "data/categories.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct iv_pool;
struct iv_store;

/* How rows of a row cache are read. */
typedef enum iv_row_use {
    IV_ROWS_WANTED,  /* these will be read soon */
    IV_ROWS_TOUCHED, /* these have been read, here and there */
    IV_ROWS_PASSED   /* n rows have been read, in their order */
} iv_row_use;

typedef enum iv_row_status {
    IV_ROW_OK = 0,
    IV_ROW_MISSING = 1,   /* a value was missing; only with missing_rows */
    IV_ROW_NOT_FINITE = 2 /* a value was infinite; only with missing_rows */
} iv_row_status;

/* What is known exactly about synthetic rows (docs/theory.md section 4), or told by a column. */
typedef struct iv_truth {
    size_t n_factors;             /* 0 where only the density is known */
    char **factor_names;          /* n_factors */
    double *factors;              /* rows x n_factors, or NULL */
    double *population_variances; /* n_factors, or NULL */
    double *log_density;          /* rows: of the density on the manifold, nats */
    bool density_only;            /* true where it came from --truth-density */
} iv_truth;

typedef struct iv_dataset {
    size_t rows, cols;
    float *values;        /* rows x cols, row-major, as read (before any scaling); NULL for bytes */
    unsigned char *bytes; /* rows x cols where the file held bytes (images), else NULL */
    char **names;         /* cols; "c1", "c2", ... where the file has none */
    bool named;           /* the names came from the file */
    iv_categories categories; /* columns of words, whose values are features; n 0: none */
    char **ids;               /* rows: from --id, the names of pictures or the file; else NULL */
    char *id_text;            /* where all ids lie, or NULL where each is its own */
    unsigned char *status;    /* rows, iv_row_status; values of a bad row are 0 */
    size_t bad_rows;
    double *group;                  /* rows: value of the --split-by column, else NULL */
    size_t height, width, channels; /* images, flattened h, w, c (c fastest); height 0 else */
    char *source;                   /* what was opened, for messages and provenance */
    uint64_t hash;                  /* of shape, names and contents */
    struct iv_store *store;         /* where values or bytes lie, NULL: in memory of their own */
    /* Of the store. A pointer, so that what only runs models links no row cache. */
    void (*store_use)(struct iv_store *store, iv_row_use use, const size_t *rows, size_t n);
    bool toy;        /* a built-in set: scaling none is the default */
    iv_truth *truth; /* NULL where unknown */
    char *note;      /* remarks for the user ("3 constant columns: a, b, c"), or NULL */
} iv_dataset;

typedef struct iv_data_options {
    const char *columns;       /* "1-16" or "a,b,c" or NULL: all numeric columns */
    const char *drop;          /* likewise, or NULL */
    const char *id;            /* column that names the rows, or NULL */
    const char *split_by;      /* column that tells training (0) from validation (not 0) rows */
    const char *truth_density; /* column with the true density, or NULL */
    const char *categorical;   /* columns of words, one-hot: "2-4", "a,b", "auto" (all that are not
                                * numbers), or NULL; text tables only */
    const char *labels;        /* column that is left out where there is one of that name or number
                                * (data/labels.h reads it), or NULL */
    bool missing_rows;         /* give a row with a missing value a status instead of failing */
    int header;                /* 1 there is a header line, 0 none, -1 look */
    size_t max_bytes;          /* refuse larger inputs; 0: 1 TiB, built-in sets and what
                                * HDF5 files hold 8 GiB */
    /* When a model is applied to data: the features it wants, in its order. Named data are matched
     * by name and reordered; unnamed data are taken as they stand if their number agrees. */
    const char *const *want;
    size_t n_want;
    bool want_named;                      /* the model was trained on named columns */
    const iv_categories *want_categories; /* which of the features are columns of words, or NULL */
    size_t want_height, want_width, want_channels; /* of a model of images, else 0 */
    /* Pictures (docs/data.md): "64" or "64x48"; "none", "center" or "H,W,TOP,LEFT"; NULL: as they
     * are. */
    const char *size, *crop;
    bool grey;     /* luma alone; else RGB where any picture has color */
    bool strict;   /* a picture that cannot be used is an error; else it is left out and noted */
    size_t memory; /* more bytes of rows than this lie in a row cache; 0: half of the machine's
                    * memory, at most 8 GiB */
    const char *cache;    /* folder where row caches are kept, or NULL: temporary ones */
    struct iv_pool *pool; /* decodes pictures; NULL: the caller alone */
    iv_progress progress;
} iv_data_options;
void iv_data_options_init(iv_data_options *options);

/* Opens a data spec: "toy:norm,n=50000,seed=1", "blobs:n=20000,size=32", FILE (format found by
 * content), "FILE.npz:KEY", "FILE.h5:PATH", "FILE.h5ad:layers/NAME", a folder or zip of pictures,
 * "-" for CSV on standard input. Errors name file, line and column. */
isovae_status iv_dataset_open(const char *spec, const iv_data_options *options, iv_dataset **out,
                              isovae_error *err) ISOVAE_MUST_CHECK;
/* From memory: copies rows x cols doubles; names may be NULL. For the library's callers and tests.
 */
isovae_status iv_dataset_from_rows(const double *values, size_t rows, size_t cols,
                                   const char *const *names, iv_dataset **out,
                                   isovae_error *err) ISOVAE_MUST_CHECK;
/* Rows where they lie in the caller's memory: value i of row r stands at r * row_stride + i *
 * column_stride bytes, of any alignment. Bytes stay bytes. */
typedef enum iv_view_element { IV_VIEW_F64 = 0, IV_VIEW_F32 = 1, IV_VIEW_U8 = 2 } iv_view_element;
typedef struct iv_data_view {
    const void *values;
    iv_view_element element;
    ptrdiff_t row_stride, column_stride;
    const char *const *names;        /* cols, or NULL */
    size_t height, width, channels;  /* of pictures, channels fastest; height 0: they are none */
    const iv_categories *categories; /* columns of words, which name their features; or NULL */
} iv_data_view;
/* The same from a view: a copy. */
isovae_status iv_dataset_from_view(const iv_data_view *view, size_t rows, size_t cols,
                                   iv_dataset **out, isovae_error *err) ISOVAE_MUST_CHECK;
void iv_dataset_free(iv_dataset *data);

/* To be called by whoever reads values or bytes directly: rows that lie in a row cache then come in
 * time and do not stay in memory. IV_ROWS_PASSED needs no `rows`. */
static inline void iv_dataset_use(const iv_dataset *data, iv_row_use use, const size_t *rows,
                                  size_t n)
{
    if (data->store != NULL) data->store_use(data->store, use, rows, n);
}

/* Row `row` as floats (bytes become 0..255), cols values into `out`. */
void iv_dataset_row(const iv_dataset *data, size_t row, float *out);

#endif
