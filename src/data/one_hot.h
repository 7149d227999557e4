/* From the columns of a text table to features, where some of them are categories (internal to
 * data/). */
#ifndef IV_DATA_ONE_HOT_H
#define IV_DATA_ONE_HOT_H

#include "data/columns.h"
#include "data/reader.h"

enum { IV_MOST_CATEGORIES = 1000, IV_LONGEST_CATEGORY = 256 };

typedef struct iv_one_hot {
    size_t n;         /* chosen columns */
    size_t *feature;  /* n: the first feature of each */
    size_t *category; /* n: which of `categories`, or IV_NO_COLUMN for a number */
    size_t features;  /* in all */
    bool found;       /* the categories are of these data, not a model's */
    iv_categories categories;
    size_t *unknown; /* of each category: rows with a value that it does not have, */
    char **example;  /* and the first such value */
} iv_one_hot;
void iv_one_hot_free(iv_one_hot *h);

/* What a model with categories wants of a table's own columns: the numbers by name and each
 * category by its column. False where the table has none of those columns but may have the features
 * themselves. `want` (iv_free) points into the options. */
isovae_status iv_one_hot_wants(const iv_data_options *options, const iv_table *table,
                               const char ***want, size_t *n_want, bool *reduced,
                               isovae_error *err) ISOVAE_MUST_CHECK;

/* The layout of the chosen columns: the model's categories (`known`), or those that `selection`
 * marks, whose values are collected from all rows. The table stands at its first row afterwards. */
isovae_status iv_one_hot_new(iv_table *table, const iv_block *block, size_t release,
                             const char *const *names, const iv_selection *selection,
                             const iv_categories *known, iv_one_hot *out,
                             isovae_error *err) ISOVAE_MUST_CHECK;

/* Number of the value of chosen column k: NaN where it is missing, -1 where it is unknown, which is
 * counted. */
isovae_status iv_one_hot_value(iv_one_hot *h, size_t k, iv_slice cell, double *out,
                               isovae_error *err) ISOVAE_MUST_CHECK;
/* Appends what was found or unknown. */
isovae_status iv_one_hot_note(const iv_one_hot *h, iv_text *note,
                              isovae_error *err) ISOVAE_MUST_CHECK;

/* The name of feature i of category c; into a fresh string. */
isovae_status iv_one_hot_name(const iv_category *c, size_t i, char **out,
                              isovae_error *err) ISOVAE_MUST_CHECK;

#endif
