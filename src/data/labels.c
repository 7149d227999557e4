#include "data/labels.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/build.h"
#include "data/one_hot.h"
#include "data/source.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_NUMBERED_CLASSES = 20, MOST_CLASSES = 1000 };

void iv_labels_free(iv_labels *labels)
{
    if (labels == NULL) return;
    for (size_t i = 0; labels->classes != NULL && i < labels->n_classes; i++) {
        iv_free(labels->classes[i]);
    }
    iv_free(labels->classes);
    iv_free(labels->value);
    iv_free(labels->source);
    iv_free(labels);
}

static isovae_status labels_new(size_t rows, iv_labels **out, isovae_error *err)
{
    IV_TRY(IV_NEW(*out, 1, "labels", err));
    (*out)->rows = rows;
    isovae_status status = IV_NEW((*out)->value, rows, "labels", err);
    if (status != ISOVAE_OK) {
        iv_free(*out);
        *out = NULL;
    }
    return status;
}

static isovae_status finish(iv_labels *labels, isovae_status status, iv_labels **out)
{
    if (status == ISOVAE_OK) {
        *out = labels;
    } else {
        iv_labels_free(labels);
    }
    return status;
}

/* ---- numbers ---- */

static int compare_numbers(const void *a, const void *b)
{
    double p = *(const double *)a, q = *(const double *)b;
    return p < q ? -1 : p > q;
}

/* The distinct values, ascending, where they are few and whole; else 0. */
static size_t few_whole(const double *values, size_t n, double distinct[MOST_NUMBERED_CLASSES])
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(values[i])) continue;
        if (values[i] != floor(values[i]) || fabs(values[i]) > 1e15) return 0;
        if (found > 0 && bsearch(&values[i], distinct, found, sizeof *distinct, compare_numbers)) {
            continue;
        }
        if (found == MOST_NUMBERED_CLASSES) return 0;
        distinct[found++] = values[i];
        qsort(distinct, found, sizeof *distinct, compare_numbers);
    }
    return found;
}

static isovae_status number_classes(iv_labels *labels, const double *distinct, size_t n,
                                    isovae_error *err)
{
    IV_TRY(IV_NEW(labels->classes, n, "classes", err));
    labels->n_classes = n;
    for (size_t i = 0; i < n; i++) {
        char text[40];
        iv_format_double(text, sizeof text, distinct[i], 17);
        IV_TRY(iv_strdup(&labels->classes[i], text, err));
    }
    for (size_t r = 0; r < labels->rows; r++) {
        if (isnan(labels->value[r])) continue;
        const double *at =
            bsearch(&labels->value[r], distinct, n, sizeof *distinct, compare_numbers);
        labels->value[r] = (double)(at - distinct);
    }
    return ISOVAE_OK;
}

isovae_status iv_labels_from_numbers(const double *values, size_t n, iv_labels **out,
                                     isovae_error *err)
{
    double distinct[MOST_NUMBERED_CLASSES];
    iv_labels *labels;
    *out = NULL;
    IV_TRY(labels_new(n, &labels, err));
    for (size_t i = 0; i < n; i++) {
        labels->value[i] = isfinite(values[i]) ? values[i] : (double)NAN;
    }
    size_t classes = few_whole(labels->value, n, distinct);
    isovae_status status = classes > 0 ? number_classes(labels, distinct, classes, err) : ISOVAE_OK;
    return finish(labels, status, out);
}

/* ---- words ---- */

static isovae_status copy_classes(iv_labels *labels, char *const *classes, size_t n,
                                  isovae_error *err)
{
    if (n > MOST_CLASSES) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "the labels have %zu different values, more than the %d that classes may be",
                       n, MOST_CLASSES);
    }
    IV_TRY(IV_NEW(labels->classes, n, "classes", err));
    labels->n_classes = n;
    for (size_t i = 0; i < n; i++) IV_TRY(iv_strdup(&labels->classes[i], classes[i], err));
    return ISOVAE_OK;
}

isovae_status iv_labels_from_codes(const double *codes, size_t n, char *const *classes,
                                   size_t n_classes, iv_labels **out, isovae_error *err)
{
    iv_labels *labels;
    *out = NULL;
    IV_TRY(labels_new(n, &labels, err));
    isovae_status status = copy_classes(labels, classes, n_classes, err);
    for (size_t i = 0; i < n && status == ISOVAE_OK; i++) {
        labels->value[i] = codes[i] >= 0 ? codes[i] : (double)NAN;
        if (codes[i] >= 0 && !(codes[i] < (double)n_classes && codes[i] == floor(codes[i]))) {
            status = iv_fail(err, ISOVAE_ERR_DATA,
                             "the labels are damaged: row %zu has the code %g, of %zu classes",
                             i + 1, codes[i], n_classes);
        }
    }
    return finish(labels, status, out);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_absent(const char *text)
{
    return text == NULL || iv_csv_missing_word((iv_slice){.data = text, .length = strlen(text)});
}

isovae_status iv_labels_from_texts(char *const *texts, size_t n, iv_labels **out, isovae_error *err)
{
    char **sorted;
    double *codes = NULL;
    size_t used = 0, classes = 0;
    *out = NULL;
    IV_TRY(IV_NEW(sorted, n, "classes", err));
    for (size_t i = 0; i < n; i++) {
        if (!is_absent(texts[i])) sorted[used++] = texts[i];
    }
    qsort(sorted, used, sizeof *sorted, compare_texts);
    for (size_t i = 0; i < used; i++) {
        if (classes == 0 || strcmp(sorted[classes - 1], sorted[i]) != 0) {
            sorted[classes++] = sorted[i];
        }
    }
    isovae_status status = IV_NEW(codes, n, "labels", err);
    for (size_t i = 0; i < n && status == ISOVAE_OK; i++) {
        codes[i] = -1;
        if (is_absent(texts[i])) continue;
        char **at = bsearch(&texts[i], sorted, classes, sizeof *sorted, compare_texts);
        codes[i] = (double)(at - sorted);
    }
    if (status == ISOVAE_OK) status = iv_labels_from_codes(codes, n, sorted, classes, out, err);
    iv_free(sorted);
    iv_free(codes);
    return status;
}

/* ---- a column of a table ---- */

/* All values of one column: of words by `hot`, else numbers. */
static isovae_status read_column(iv_source *s, size_t column, iv_one_hot *hot, double *values,
                                 isovae_error *err)
{
    iv_table *table = &s->table;
    size_t *slots, row_bytes = s->block.length / table->rows, passed = 0;
    iv_slice cell = {0};
    isovae_status status = IV_NEW(slots, table->cols, "columns", err);
    for (size_t j = 0; status == ISOVAE_OK && j < table->cols; j++) slots[j] = IV_SLOT_NONE;
    if (status == ISOVAE_OK) slots[column] = hot != NULL ? IV_SLOT_TEXT(0) : 0;
    const iv_request request = {.slots = slots, .columns = &column, .n = hot == NULL};
    for (size_t r = 0; r < table->rows && status == ISOVAE_OK; r++) {
        status = iv_table_next(table, &request, &values[r], &cell, err);
        if (status == ISOVAE_OK && hot != NULL) {
            status = iv_one_hot_value(hot, 0, cell, &values[r], err);
        }
        passed += row_bytes;
        if (passed >= s->release) {
            iv_block_release(&s->block);
            passed = 0;
        }
    }
    iv_free(slots);
    return status;
}

static isovae_status column_of_words(iv_source *s, size_t column, const unsigned char *words,
                                     double *values, iv_labels **out, isovae_error *err)
{
    const char *name = s->table.names != NULL ? s->table.names[column] : "label";
    const char **names = NULL;
    iv_one_hot hot = {0};
    iv_selection selection = {.columns = &column, .n = 1};
    isovae_status status = IV_NEW(names, s->table.cols, "columns", err);
    if (status == ISOVAE_OK) {
        names[column] = name;
        selection.categorical = (unsigned char *)(uintptr_t)words; /* only read */
        status =
            iv_one_hot_new(&s->table, &s->block, s->release, names, &selection, NULL, &hot, err);
    }
    if (status == ISOVAE_OK) status = read_column(s, column, &hot, values, err);
    if (status == ISOVAE_OK) {
        const iv_category *c = &hot.categories.list[0];
        status = iv_labels_from_codes(values, s->table.rows, c->values, c->n, out, err);
    }
    iv_one_hot_free(&hot);
    iv_free(names);
    return status;
}

static isovae_status labels_of_column(iv_source *s, size_t column, iv_labels **out,
                                      isovae_error *err)
{
    iv_table *table = &s->table;
    unsigned char *words = NULL;
    double *values = NULL;
    bool text = false;
    isovae_status status = IV_NEW(values, table->rows, "labels", err);
    if (status == ISOVAE_OK && table->is_text) {
        status = IV_NEW(words, table->cols, "columns", err);
        if (status == ISOVAE_OK) {
            status = iv_csv_text_columns(table, &s->block, s->release, words, err);
        }
        text = status == ISOVAE_OK && words[column];
        for (size_t j = 0; text && j < table->cols; j++) words[j] = j == column;
    }
    if (status == ISOVAE_OK) {
        if (text) {
            status = column_of_words(s, column, words, values, out, err);
        } else {
            status = read_column(s, column, NULL, values, err);
            if (status == ISOVAE_OK) {
                status = iv_labels_from_numbers(values, table->rows, out, err);
            }
        }
    }
    iv_free(values);
    iv_free(words);
    return status;
}

/* By name, else by number from 1; without either the only one. */
static isovae_status find_column(const iv_table *table, const char *name, size_t *out,
                                 isovae_error *err)
{
    double number = 0;
    for (size_t j = 0; name != NULL && table->names != NULL && j < table->cols; j++) {
        *out = j;
        if (strcmp(table->names[j], name) == 0) return ISOVAE_OK;
    }
    if (name != NULL && iv_parse_double(name, strlen(name), &number) && number >= 1 &&
        number <= (double)table->cols && number == floor(number)) {
        *out = (size_t)number - 1;
        return ISOVAE_OK;
    }
    *out = 0;
    if (name == NULL && table->cols == 1) return ISOVAE_OK;
    if (name == NULL) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "there are %zu columns; labels are one: name it, as in FILE.csv:COLUMN",
                       table->cols);
    }
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "there is no column '%s' (%zu columns), nor a file of that name",
                   iv_show(name, strlen(name)).text, table->cols);
}

/* ---- from a spec ---- */

bool iv_labels_is_file(const char *labels)
{
    struct stat info;
    if (stat(labels, &info) == 0) return S_ISREG(info.st_mode);
    const char *colon = strrchr(labels, ':');
    char *path;
    if (colon == NULL || colon == labels ||
        iv_strndup(&path, labels, (size_t)(colon - labels), NULL) != ISOVAE_OK) {
        return false;
    }
    bool is_file = stat(path, &info) == 0 && S_ISREG(info.st_mode);
    iv_free(path);
    return is_file;
}

/* `key`: which part of the source, or NULL. */
static isovae_status read_labels(iv_source *s, const char *key, const iv_data_options *options,
                                 iv_labels **out, isovae_error *err)
{
    size_t column = 0;
    IV_TRY(iv_source_unpack(s, err));
    if (iv_source_is_hdf5(s)) {
        return iv_h5_labels(s->block.data, s->block.length, key, iv_build_limit(options), out, err);
    }
    bool arrays = iv_source_is_zip(s) || iv_is_mat(s->block.data, s->block.length);
    s->key = arrays ? key : NULL;
    IV_TRY(iv_source_table(s, options, err));
    IV_TRY(find_column(&s->table, arrays ? NULL : key, &column, err));
    return labels_of_column(s, column, out, err);
}

static isovae_status no_table(const char *data_spec, const char *labels, isovae_error *err)
{
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "'%s' is no file, and %s has no columns that can be read twice; give the labels "
                   "as a file",
                   iv_show(labels, strlen(labels)).text, data_spec);
}

static isovae_status open_once(const char *data_spec, const char *labels, bool own,
                               const iv_data_options *options, bool *headless, iv_labels **out,
                               isovae_error *err)
{
    const char *spec = own ? labels : data_spec;
    struct stat info;
    iv_source s;
    isovae_status status = iv_source_new(spec, options, &s, err);
    if (status == ISOVAE_OK && !own && (stat(s.path, &info) != 0 || !S_ISREG(info.st_mode))) {
        status = no_table(data_spec, labels, err);
    } else if (status == ISOVAE_OK) {
        const char *key = own ? s.key : labels;
        status = iv_block_read(s.path, &s.spool, &s.block, err);
        if (status == ISOVAE_OK) {
            status = read_labels(&s, key, options, out, err);
            if (status != ISOVAE_OK) status = iv_fail_prefix(err, status, "%s", spec);
        }
    }
    *headless = s.table.is_text && s.table.names == NULL;
    iv_source_free(&s);
    return status;
}

isovae_status iv_labels_open(const char *data_spec, const char *labels,
                             const iv_data_options *options, size_t rows, iv_labels **out,
                             isovae_error *err)
{
    bool own = iv_labels_is_file(labels), headless;
    iv_data_options usual = *options;
    if (own) usual.header = -1;
    *out = NULL;
    isovae_status status = open_once(data_spec, labels, own, &usual, &headless, out, err);
    /* A column of words with a word above it does not show which of them is the name. */
    if (status == ISOVAE_OK && own && headless && *out != NULL && (*out)->rows == rows + 1) {
        usual.header = 1;
        iv_labels_free(*out);
        *out = NULL;
        status = open_once(data_spec, labels, own, &usual, &headless, out, err);
    }
    if (status == ISOVAE_OK && *out != NULL && (*out)->rows != rows) {
        status = iv_fail(err, ISOVAE_ERR_DATA, "%s has labels for %zu rows, the data have %zu",
                         labels, (*out)->rows, rows);
    }
    if (status == ISOVAE_OK) status = iv_strdup(&(*out)->source, labels, err);
    if (status == ISOVAE_OK) return ISOVAE_OK;
    iv_labels_free(*out);
    *out = NULL;
    return iv_fail_prefix(err, status, "--labels");
}
