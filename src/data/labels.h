/* What is known of each row besides its features: a class or a number. For reports, never for
 * training. */
#ifndef IV_DATA_LABELS_H
#define IV_DATA_LABELS_H

#include "data/dataset.h"

typedef struct iv_labels {
    size_t rows;
    double *value;    /* rows: a number, or the place of the class; NaN where there is none */
    size_t n_classes; /* 0: the labels are numbers */
    char **classes;   /* n_classes */
    char *source;     /* what was asked for, and where it lies, for messages */
} iv_labels;

/* Labels of the rows of `data_spec` (as given to iv_dataset_open): a column of its table, by name
 * or number; what stands beside the matrix in its file (obs/NAME or NAME of an .h5ad, another array
 * of an .npz, .mat or HDF5 file); or FILE, FILE:KEY where that is a file: one column of CSV (KEY:
 * which), an array with one value a row, IDX. Words are classes, and so are whole numbers of at
 * most 20 values; other numbers are numbers. As many as the data have `rows`, else an error. */
isovae_status iv_labels_open(const char *data_spec, const char *labels,
                             const iv_data_options *options, size_t rows, iv_labels **out,
                             isovae_error *err) ISOVAE_MUST_CHECK;
void iv_labels_free(iv_labels *labels);
/* Whether `labels` is a file or in one of its own, and so no column of the data. */
bool iv_labels_is_file(const char *labels);

/* The makers; n values or texts (NULL: none). Classes of texts ascend by their bytes; codes are
 * places in `classes`, which are copied, NaN or negative where there is none. */
isovae_status iv_labels_from_numbers(const double *values, size_t n, iv_labels **out,
                                     isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status iv_labels_from_texts(char *const *texts, size_t n, iv_labels **out,
                                   isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status iv_labels_from_codes(const double *codes, size_t n, char *const *classes,
                                   size_t n_classes, iv_labels **out,
                                   isovae_error *err) ISOVAE_MUST_CHECK;

/* Of an HDF5 file (read_h5_labels.c): a dataset, or a column of an AnnData's obs. */
isovae_status iv_h5_labels(const unsigned char *block, size_t length, const char *path,
                           size_t limit, iv_labels **out, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
