/* Columns that hold words: each becomes one feature for each of its values, 1 where the row has
 * that value and 0 else. */
#ifndef IV_DATA_CATEGORIES_H
#define IV_DATA_CATEGORIES_H

#include "base/status.h"

#include <stddef.h>

typedef struct iv_category {
    size_t first;  /* its features are first to first + n - 1, called COLUMN=VALUE */
    size_t n;      /* at least 1 */
    char *column;  /* what the table calls it */
    char **values; /* n, different, ascending by their bytes */
} iv_category;

typedef struct iv_categories {
    size_t n;
    iv_category *list; /* ascending by `first` */
} iv_categories;

isovae_status iv_categories_copy(const iv_categories *from, iv_categories *out,
                                 isovae_error *err) ISOVAE_MUST_CHECK;
void iv_categories_free(iv_categories *categories);

/* Which value a text is; SIZE_MAX where none. */
size_t iv_category_find(const iv_category *category, const char *text, size_t length);

/* Whether they are what is said above, for rows of d features. */
int iv_categories_fit(const iv_categories *categories, size_t d);

#endif
