/* Which columns of a table become features, and which name rows, split them or tell their truth. */
#ifndef IV_DATA_COLUMNS_H
#define IV_DATA_COLUMNS_H

#include "base/memory.h"
#include "data/dataset.h"

#include <stdbool.h>
#include <stddef.h>

#define IV_NO_COLUMN ((size_t)-1)

/* Names to numbers in logarithmic time. Borrows the names. */
typedef struct iv_name_entry {
    const char *name;
    size_t index;
} iv_name_entry;
typedef struct iv_name_index {
    iv_name_entry *entries; /* sorted by name, then index */
    size_t n;
} iv_name_index;
isovae_status iv_name_index_new(const char *const *names, size_t n, iv_name_index *out,
                                isovae_error *err) ISOVAE_MUST_CHECK;
size_t iv_name_index_find(const iv_name_index *index, const char *name, size_t length);
void iv_name_index_free(iv_name_index *index);

/* Makes repeated names different in place ("a", "a.2", "a.3"); empty ones become "c7". */
isovae_status iv_names_make_unique(char **names, size_t n, isovae_error *err) ISOVAE_MUST_CHECK;

typedef struct iv_selection {
    size_t *columns; /* n: features, in order */
    size_t n;
    size_t id, group, density, labels; /* IV_NO_COLUMN where there is none */
    bool chosen;                       /* the user or the model said which columns */
    unsigned char *categorical;        /* a flag for each column of the table, or NULL */
    bool categorical_auto;             /* all that are not numbers */
} iv_selection;

/* The features among `cols` named columns: those of --columns (default: all) less those of --drop
 * and of --id, --split-by, --truth-density and --labels; then, where a model is applied, what it
 * wants, in its order. Categories (--categorical) are marked, whether chosen or not. `named` is
 * false where `names` were made up ("c1", ...). Appends remarks to `note`. */
isovae_status iv_columns_select(const char *const *names, size_t cols, bool named,
                                const iv_data_options *options, iv_selection *out, iv_text *note,
                                isovae_error *err) ISOVAE_MUST_CHECK;
void iv_selection_free(iv_selection *selection);

/* Appends "a, b, c and 4 more": up to `most` of the names of `columns`. */
void iv_columns_list(iv_text *text, const char *const *names, const size_t *columns, size_t n,
                     size_t most);
/* Starts a new remark: "; " where there is one already. */
void iv_note_begin(iv_text *note);

#endif
