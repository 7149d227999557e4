#include "data/columns.h"

#include "data/reader.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SHOWN = 8 };

static int compare_text(const char *a, size_t a_length, const char *b)
{
    size_t b_length = strlen(b), n = a_length < b_length ? a_length : b_length;
    int order = memcmp(a, b, n);
    if (order != 0) return order;
    return a_length < b_length ? -1 : a_length > b_length ? 1 : 0;
}

static int compare_entries(const void *a, const void *b)
{
    const iv_name_entry *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    if (order != 0) return order;
    return x->index < y->index ? -1 : x->index > y->index ? 1 : 0;
}

isovae_status iv_name_index_new(const char *const *names, size_t n, iv_name_index *out,
                                isovae_error *err)
{
    *out = (iv_name_index){0};
    IV_TRY(IV_NEW(out->entries, n, "index of column names", err));
    for (size_t i = 0; i < n; i++) out->entries[i] = (iv_name_entry){names[i], i};
    qsort(out->entries, n, sizeof *out->entries, compare_entries);
    out->n = n;
    return ISOVAE_OK;
}

size_t iv_name_index_find(const iv_name_index *index, const char *name, size_t length)
{
    size_t low = 0, high = index->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_text(name, length, index->entries[middle].name) > 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low < index->n && compare_text(name, length, index->entries[low].name) == 0) {
        return index->entries[low].index;
    }
    return IV_NO_COLUMN;
}

void iv_name_index_free(iv_name_index *index)
{
    iv_free(index->entries);
    *index = (iv_name_index){0};
}

static isovae_status rename_column(char **name, iv_text *text, isovae_error *err)
{
    char *copy;
    IV_TRY(iv_text_check(text, err));
    IV_TRY(iv_strdup(&copy, text->data, err));
    iv_free(*name);
    *name = copy;
    return ISOVAE_OK;
}

/* The names that repeat an earlier one get a suffix that no name of the file has. */
static isovae_status rename_repeated(char **names, size_t n, const iv_name_index *index,
                                     iv_text *text, isovae_error *err)
{
    for (size_t first = 0; first < n;) {
        size_t after = first + 1, suffix = 2;
        const char *base = index->entries[first].name;
        while (after < n && strcmp(index->entries[after].name, base) == 0) after++;
        for (size_t i = first + 1; i < after; i++) {
            do {
                text->length = 0;
                iv_text_printf(text, "%s.%zu", base, suffix++);
                IV_TRY(iv_text_check(text, err));
            } while (iv_name_index_find(index, text->data, text->length) != IV_NO_COLUMN);
            /* The entry keeps its place: later groups sort after it whatever its name becomes. */
            size_t column = index->entries[i].index;
            char *old = names[column], *copy;
            IV_TRY(iv_strdup(&copy, text->data, err));
            names[column] = copy;
            index->entries[i].name = base;
            iv_free(old);
        }
        first = after;
    }
    return ISOVAE_OK;
}

isovae_status iv_names_make_unique(char **names, size_t n, isovae_error *err)
{
    iv_text text = {0};
    iv_name_index index = {0};
    isovae_status status = ISOVAE_OK;
    for (size_t i = 0; i < n && status == ISOVAE_OK; i++) {
        if (names[i][0] != '\0') continue;
        text.length = 0;
        iv_text_printf(&text, "c%zu", i + 1);
        status = rename_column(&names[i], &text, err);
    }
    if (status == ISOVAE_OK) {
        status = iv_name_index_new((const char *const *)names, n, &index, err);
    }
    if (status == ISOVAE_OK) status = rename_repeated(names, n, &index, &text, err);
    iv_name_index_free(&index);
    iv_text_free(&text);
    return status;
}

void iv_columns_list(iv_text *text, const char *const *names, const size_t *columns, size_t n,
                     size_t most)
{
    for (size_t i = 0; i < n && i < most; i++) {
        const char *name = names[columns != NULL ? columns[i] : i];
        iv_text_printf(text, "%s%s", i > 0 ? ", " : "", iv_show(name, strlen(name)).text);
    }
    if (n > most) iv_text_printf(text, " and %zu more", n - most);
}

void iv_note_begin(iv_text *note)
{
    if (note->length > 0) iv_text_puts(note, "; ");
}

/* The columns as selection sees them. */
typedef struct column_set {
    const char *const *names;
    size_t cols;
    bool named;
    iv_name_index index;
} column_set;

static bool parse_number(const char *text, size_t length, size_t *out)
{
    size_t value = 0;
    if (length == 0) return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        if (!iv_size_mul(value, 10, &value)) return false;
        if (!iv_size_add(value, (size_t)(text[i] - '0'), &value)) return false;
    }
    *out = value;
    return true;
}

static isovae_status fail_no_column(const column_set *set, const char *option, const char *text,
                                    size_t length, isovae_error *err)
{
    iv_shown shown = iv_show(text, length);
    size_t number;
    if (!set->named) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "%s: there is no column '%s'; the columns have no names, use numbers from 1 "
                       "to %zu",
                       option, shown.text, set->cols);
    }
    if (parse_number(text, length, &number)) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "%s: there is no column '%s'; there are %zu, counted from 1", option,
                       shown.text, set->cols);
    }
    iv_text list = {0};
    iv_columns_list(&list, set->names, NULL, set->cols, MAX_SHOWN);
    isovae_status status = iv_text_check(&list, err);
    if (status == ISOVAE_OK) {
        status =
            iv_fail(err, ISOVAE_ERR_ARGUMENT, "%s: there is no column '%s'; the columns are %s",
                    option, shown.text, list.data);
    }
    iv_text_free(&list);
    return status;
}

/* A name, or else a number from 1. */
static size_t find_column(const column_set *set, const char *text, size_t length)
{
    size_t number, found = iv_name_index_find(&set->index, text, length);
    if (found != IV_NO_COLUMN) return found;
    if (parse_number(text, length, &number) && number >= 1 && number <= set->cols) {
        return number - 1;
    }
    return IV_NO_COLUMN;
}

static isovae_status find_one(const column_set *set, const char *option, const char *text,
                              size_t *out, isovae_error *err)
{
    *out = IV_NO_COLUMN;
    if (text == NULL) return ISOVAE_OK;
    *out = find_column(set, text, strlen(text));
    if (*out == IV_NO_COLUMN) return fail_no_column(set, option, text, strlen(text), err);
    return ISOVAE_OK;
}

/* The columns of a list such as 1-4,age,"a, b"; each at most once. */
typedef struct column_list {
    size_t *columns;
    size_t n;
    unsigned char *seen; /* cols */
} column_list;

static isovae_status list_add(column_list *list, const column_set *set, const char *option,
                              size_t column, isovae_error *err)
{
    if (list->seen[column]) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "%s: column '%s' is named twice", option,
                       iv_show(set->names[column], strlen(set->names[column])).text);
    }
    list->seen[column] = 1;
    list->columns[list->n++] = column;
    return ISOVAE_OK;
}

static isovae_status list_add_item(column_list *list, const column_set *set, const char *option,
                                   const char *text, size_t length, bool quoted, isovae_error *err)
{
    size_t column = find_column(set, text, length), low, high;
    if (column != IV_NO_COLUMN) return list_add(list, set, option, column, err);
    const char *dash = quoted || length == 0 ? NULL : memchr(text, '-', length);
    if (dash != NULL && parse_number(text, (size_t)(dash - text), &low) &&
        parse_number(dash + 1, length - (size_t)(dash + 1 - text), &high)) {
        if (low < 1 || low > high || high > set->cols) {
            return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                           "%s: '%s' is not a range of columns from 1 to %zu", option,
                           iv_show(text, length).text, set->cols);
        }
        for (size_t i = low; i <= high; i++) IV_TRY(list_add(list, set, option, i - 1, err));
        return ISOVAE_OK;
    }
    return fail_no_column(set, option, text, length, err);
}

static isovae_status parse_list(const column_set *set, const char *option, const char *text,
                                column_list *list, isovae_error *err)
{
    /* A name that itself holds commas, given as it is. */
    size_t whole = iv_name_index_find(&set->index, text, strlen(text));
    if (whole != IV_NO_COLUMN) return list_add(list, set, option, whole, err);
    const char *at = text;
    for (;;) {
        while (*at == ' ') at++;
        bool quoted = *at == '"';
        const char *start = quoted ? ++at : at, *end;
        if (quoted) {
            end = strchr(at, '"');
            if (end == NULL) {
                return iv_fail(err, ISOVAE_ERR_ARGUMENT, "%s: a quotation mark is not closed",
                               option);
            }
            at = end + 1;
            while (*at == ' ') at++;
        } else {
            at += strcspn(at, ",");
            end = at;
            while (end > start && end[-1] == ' ') end--;
        }
        if (*at != ',' && *at != '\0') {
            return iv_fail(err, ISOVAE_ERR_ARGUMENT, "%s: a comma is missing after '%s'", option,
                           iv_show(start, (size_t)(end - start)).text);
        }
        if (end == start) {
            return iv_fail(err, ISOVAE_ERR_ARGUMENT, "%s: the list '%s' has an empty entry", option,
                           iv_show(text, strlen(text)).text);
        }
        IV_TRY(list_add_item(list, set, option, start, (size_t)(end - start), quoted, err));
        if (*at == '\0') return ISOVAE_OK;
        at++;
    }
}

static isovae_status list_open(const column_set *set, const char *option, const char *text,
                               column_list *list, isovae_error *err)
{
    *list = (column_list){0};
    isovae_status status = IV_NEW(list->columns, set->cols, "columns", err);
    if (status == ISOVAE_OK) status = IV_NEW(list->seen, set->cols, "columns", err);
    if (status == ISOVAE_OK && text != NULL) status = parse_list(set, option, text, list, err);
    return status;
}

static void list_free(column_list *list)
{
    iv_free(list->columns);
    iv_free(list->seen);
}

static isovae_status special_columns(const column_set *set, const iv_data_options *options,
                                     const column_list *columns, iv_selection *out,
                                     isovae_error *err)
{
    IV_TRY(find_one(set, "--id", options->id, &out->id, err));
    IV_TRY(find_one(set, "--split-by", options->split_by, &out->group, err));
    IV_TRY(find_one(set, "--truth-density", options->truth_density, &out->density, err));
    /* No such column: the labels lie elsewhere in the file. */
    if (options->labels != NULL) {
        out->labels = find_column(set, options->labels, strlen(options->labels));
        if (out->labels != IV_NO_COLUMN && columns->seen[out->labels]) {
            return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                           "column '%s' cannot be a feature (--columns) and serve --labels at once",
                           iv_show(options->labels, strlen(options->labels)).text);
        }
    }
    const size_t special[3] = {out->id, out->group, out->density};
    const char *option[3] = {"--id", "--split-by", "--truth-density"};
    for (size_t i = 0; i < 3; i++) {
        if (special[i] == IV_NO_COLUMN) continue;
        const char *name = set->names[special[i]];
        if (columns->seen[special[i]]) {
            return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                           "column '%s' cannot be a feature (--columns) and serve %s at once",
                           iv_show(name, strlen(name)).text, option[i]);
        }
        for (size_t k = 0; k < i; k++) {
            if (special[k] != special[i]) continue;
            return iv_fail(err, ISOVAE_ERR_ARGUMENT, "column '%s' cannot serve %s and %s at once",
                           iv_show(name, strlen(name)).text, option[k], option[i]);
        }
    }
    return ISOVAE_OK;
}

static isovae_status choose(const column_set *set, const iv_data_options *options,
                            const column_list *columns, const column_list *drop, iv_selection *out,
                            isovae_error *err)
{
    IV_TRY(IV_NEW(out->columns, set->cols, "columns", err));
    size_t candidates = options->columns != NULL ? columns->n : set->cols;
    for (size_t i = 0; i < candidates; i++) {
        size_t column = options->columns != NULL ? columns->columns[i] : i;
        if (drop->seen[column] || column == out->id || column == out->group ||
            column == out->density || column == out->labels) {
            continue;
        }
        out->columns[out->n++] = column;
    }
    out->chosen = options->columns != NULL;
    if (out->n == 0) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "no column is left as a feature (of %zu)",
                       set->cols);
    }
    return ISOVAE_OK;
}

static isovae_status fail_missing(const iv_data_options *options, const size_t *missing, size_t n,
                                  isovae_error *err)
{
    iv_text list = {0};
    iv_columns_list(&list, options->want, missing, n, MAX_SHOWN);
    isovae_status status = iv_text_check(&list, err);
    if (status == ISOVAE_OK) {
        status =
            iv_fail(err, ISOVAE_ERR_DATA, "%zu of the model's %zu features %s not in the data: %s",
                    n, options->n_want, n == 1 ? "is" : "are", list.data);
    }
    iv_text_free(&list);
    return status;
}

/* Reorders the chosen columns to the model's features by name. */
static isovae_status match_names(const column_set *set, const iv_data_options *options,
                                 iv_selection *out, iv_text *note, isovae_error *err)
{
    iv_name_index index = {0};
    const char **names = NULL;
    size_t *columns = NULL, *missing = NULL, *extra = NULL, n_missing = 0, n_extra = 0;
    unsigned char *used = NULL;
    isovae_status status = IV_NEW(names, out->n, "column names", err);
    if (status == ISOVAE_OK) status = IV_NEW(columns, options->n_want, "columns", err);
    if (status == ISOVAE_OK) status = IV_NEW(missing, options->n_want, "columns", err);
    if (status == ISOVAE_OK) status = IV_NEW(extra, out->n, "columns", err);
    if (status == ISOVAE_OK) status = IV_NEW(used, out->n, "columns", err);
    if (status == ISOVAE_OK) {
        for (size_t i = 0; i < out->n; i++) names[i] = set->names[out->columns[i]];
        status = iv_name_index_new(names, out->n, &index, err);
    }
    if (status == ISOVAE_OK) {
        for (size_t i = 0; i < options->n_want; i++) {
            const char *want = options->want[i];
            size_t at = iv_name_index_find(&index, want, strlen(want));
            if (at == IV_NO_COLUMN) {
                missing[n_missing++] = i;
            } else {
                columns[i] = out->columns[at];
                used[at] = 1;
            }
        }
        for (size_t i = 0; i < out->n; i++) {
            if (!used[i]) extra[n_extra++] = out->columns[i];
        }
        if (n_missing > 0) status = fail_missing(options, missing, n_missing, err);
    }
    if (status == ISOVAE_OK) {
        if (n_extra > 0) {
            iv_note_begin(note);
            iv_text_printf(note, "%zu column%s not used by the model: ", n_extra,
                           n_extra == 1 ? " is" : "s are");
            iv_columns_list(note, set->names, extra, n_extra, MAX_SHOWN);
        }
        iv_free(out->columns);
        out->columns = columns;
        columns = NULL;
        out->n = options->n_want;
        out->chosen = true;
    }
    iv_name_index_free(&index);
    iv_free(names);
    iv_free(columns);
    iv_free(missing);
    iv_free(extra);
    iv_free(used);
    return status;
}

static isovae_status match_model(const column_set *set, const iv_data_options *options,
                                 iv_selection *out, iv_text *note, isovae_error *err)
{
    if (options->want_named && set->named && options->want != NULL) {
        return match_names(set, options, out, note, err);
    }
    if (out->n != options->n_want) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "the data have %zu feature column%s, the model takes %zu; choose them with "
                       "--columns or --drop",
                       out->n, out->n == 1 ? "" : "s", options->n_want);
    }
    if (options->want_named) {
        iv_note_begin(note);
        iv_text_printf(note, "the data have no column names: taken as the model's features in "
                             "their order");
    }
    return ISOVAE_OK;
}

/* --categorical: a list, or "auto". */
static isovae_status mark_categories(const column_set *set, const iv_data_options *options,
                                     iv_selection *out, isovae_error *err)
{
    column_list list = {0};
    const char *text = options->categorical;
    if (text == NULL) return ISOVAE_OK;
    out->categorical_auto =
        strcmp(text, "auto") == 0 && iv_name_index_find(&set->index, text, 4) == IV_NO_COLUMN;
    if (out->categorical_auto) return ISOVAE_OK;
    isovae_status status = list_open(set, "--categorical", text, &list, err);
    if (status == ISOVAE_OK) {
        out->categorical = list.seen;
        list.seen = NULL;
    }
    list_free(&list);
    return status;
}

isovae_status iv_columns_select(const char *const *names, size_t cols, bool named,
                                const iv_data_options *options, iv_selection *out, iv_text *note,
                                isovae_error *err)
{
    *out = (iv_selection){
        .id = IV_NO_COLUMN, .group = IV_NO_COLUMN, .density = IV_NO_COLUMN, .labels = IV_NO_COLUMN};
    column_set set = {.names = names, .cols = cols, .named = named};
    column_list columns = {0}, drop = {0};
    isovae_status status = iv_name_index_new(names, cols, &set.index, err);
    if (status == ISOVAE_OK) status = list_open(&set, "--columns", options->columns, &columns, err);
    if (status == ISOVAE_OK) status = list_open(&set, "--drop", options->drop, &drop, err);
    if (status == ISOVAE_OK) status = special_columns(&set, options, &columns, out, err);
    if (status == ISOVAE_OK) status = choose(&set, options, &columns, &drop, out, err);
    if (status == ISOVAE_OK) status = mark_categories(&set, options, out, err);
    if (status == ISOVAE_OK && options->n_want > 0) {
        status = match_model(&set, options, out, note, err);
    }
    list_free(&columns);
    list_free(&drop);
    iv_name_index_free(&set.index);
    if (status != ISOVAE_OK) iv_selection_free(out);
    return status;
}

void iv_selection_free(iv_selection *selection)
{
    iv_free(selection->categorical);
    iv_free(selection->columns);
    *selection = (iv_selection){
        .id = IV_NO_COLUMN, .group = IV_NO_COLUMN, .density = IV_NO_COLUMN, .labels = IV_NO_COLUMN};
}
