/* From a table to a dataset: the columns, then row after row. */
#include "data/read_table.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/build.h"
#include "data/cache.h"
#include "data/columns.h"
#include "data/one_hot.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_TEXT_COLUMNS_SHOWN = 8 };

/* A table while it is being read. */
typedef struct source {
    iv_table *table;
    const iv_block *block;
    size_t release;
    uint64_t cache_key;
} source;

static isovae_status fail_text_columns(const iv_table *table, const char *const *names,
                                       const size_t *columns, size_t n, isovae_error *err)
{
    iv_text list = {0};
    for (size_t i = 0; i < n && i < MAX_TEXT_COLUMNS_SHOWN; i++) {
        if (table->names != NULL) {
            const char *name = names[columns[i]];
            iv_text_printf(&list, "%s%s", i > 0 ? "," : "", iv_show(name, strlen(name)).text);
        } else {
            iv_text_printf(&list, "%s%zu", i > 0 ? "," : "", columns[i] + 1);
        }
    }
    if (n > MAX_TEXT_COLUMNS_SHOWN) iv_text_puts(&list, ",...");
    isovae_status status = iv_text_check(&list, err);
    if (status == ISOVAE_OK) {
        status = iv_fail(
            err, ISOVAE_ERR_DATA,
            "line %zu: %zu column%s no number%s (%s); leave %s out with --drop %s, "
            "make features of the words with --categorical, or let a column name the "
            "rows with --id%s",
            table->csv.data_line, n, n == 1 ? " holds" : "s hold", n == 1 ? "" : "s", list.data,
            n == 1 ? "it" : "them", list.data,
            table->names != NULL ? "" : " (if line 1 names the columns, say so with --header)");
    }
    iv_text_free(&list);
    return status;
}

/* Where the first row holds text in feature columns, all of them are named at once. */
static isovae_status check_text_columns(const iv_table *table, const char *const *names,
                                        const iv_selection *selection, const iv_one_hot *hot,
                                        isovae_error *err)
{
    unsigned char *is_text = NULL;
    size_t *columns = NULL, n = 0;
    iv_slice first = {0};
    isovae_status status = IV_NEW(is_text, table->cols, "columns", err);
    if (status == ISOVAE_OK) status = IV_NEW(columns, selection->n, "columns", err);
    if (status == ISOVAE_OK) status = iv_csv_text_cells(table, is_text, &first, err);
    for (size_t i = 0; i < selection->n && status == ISOVAE_OK; i++) {
        if (is_text[selection->columns[i]] && hot->category[i] == IV_NO_COLUMN) {
            columns[n++] = selection->columns[i];
        }
    }
    if (status == ISOVAE_OK && n > 0 && n < selection->n) {
        if (iv_csv_decimal_comma(table, first)) {
            status = iv_fail(err, ISOVAE_ERR_DATA,
                             "line %zu: '%s' is not a number; decimals are written with a point",
                             table->csv.data_line, iv_show(first.data, first.length).text);
        } else {
            status = fail_text_columns(table, names, columns, n, err);
        }
    }
    iv_free(is_text);
    iv_free(columns);
    return status;
}

/* The request: features first, then the columns that serve another end. */
typedef struct plan {
    const iv_selection *selection;
    iv_one_hot *hot;
    iv_slice *texts; /* cells: of the id, then of each category */
    iv_request request;
    size_t *slots, *columns;
    double *numbers;
    size_t group, density, id; /* places in numbers, or IV_NO_COLUMN */
    bool label;                /* the id comes as text */
} plan;

static void plan_free(plan *p)
{
    iv_free(p->slots);
    iv_free(p->columns);
    iv_free(p->numbers);
    iv_free(p->texts);
}

static size_t plan_add(plan *p, size_t column)
{
    if (column == IV_NO_COLUMN) return IV_NO_COLUMN;
    p->columns[p->request.n] = column;
    p->slots[column] = p->request.n;
    return p->request.n++;
}

static isovae_status plan_new(const iv_table *table, const iv_selection *selection, iv_one_hot *hot,
                              plan *p, isovae_error *err)
{
    *p = (plan){.selection = selection, .hot = hot, .id = IV_NO_COLUMN};
    IV_TRY(IV_NEW(p->texts, hot->categories.n + 1, "cells", err));
    IV_TRY(IV_NEW(p->slots, table->cols, "columns", err));
    IV_TRY(IV_NEW(p->columns, selection->n + 3, "columns", err));
    IV_TRY(IV_NEW(p->numbers, selection->n + 3, "a row", err));
    for (size_t j = 0; j < table->cols; j++) p->slots[j] = IV_SLOT_NONE;
    for (size_t i = 0; i < selection->n; i++) {
        plan_add(p, selection->columns[i]);
        if (hot->category[i] != IV_NO_COLUMN) {
            p->slots[selection->columns[i]] = IV_SLOT_TEXT(1 + hot->category[i]);
        }
    }
    p->group = plan_add(p, selection->group);
    p->density = plan_add(p, selection->density);
    if (selection->id != IV_NO_COLUMN && table->is_text) {
        p->slots[selection->id] = IV_SLOT_LABEL;
        p->label = true;
    } else {
        p->id = plan_add(p, selection->id);
    }
    p->request.slots = p->slots;
    p->request.columns = p->columns;
    return ISOVAE_OK;
}

static isovae_status fail_value(const iv_table *table, const char *const *names, size_t column,
                                double value, isovae_error *err)
{
    char place[40];
    iv_table_place(table, place, sizeof place);
    iv_shown name = iv_show(names[column], strlen(names[column]));
    if (isnan(value)) {
        return iv_fail(
            err, ISOVAE_ERR_DATA,
            "%s, column '%s': the value is missing; fill it in, leave the column out with "
            "--drop, or skip such rows with --missing row",
            place, name.text);
    }
    return iv_fail(
        err, ISOVAE_ERR_DATA,
        "%s, column '%s': the value is %s; correct it, or skip such rows with --missing row", place,
        name.text, isinf(value) ? "infinite" : "beyond the range of single precision");
}

static isovae_status store_id(const plan *p, iv_slice label, iv_dataset *data, size_t row,
                              isovae_error *err)
{
    if (p->label) return iv_slice_copy(label, &data->ids[row], err);
    if (p->id == IV_NO_COLUMN) return ISOVAE_OK;
    char text[40];
    iv_format_double(text, sizeof text, p->numbers[p->id], 15);
    return iv_strdup(&data->ids[row], text, err);
}

static void store_features(const plan *p, iv_dataset *data, size_t row)
{
    const iv_one_hot *hot = p->hot;
    size_t start = row * data->cols;
    if (data->bytes != NULL) {
        for (size_t i = 0; i < data->cols; i++) {
            data->bytes[start + i] = (unsigned char)p->numbers[i];
        }
        return;
    }
    if (hot->categories.n == 0) {
        for (size_t i = 0; i < data->cols; i++) data->values[start + i] = (float)p->numbers[i];
        return;
    }
    for (size_t k = 0; k < hot->n; k++) { /* values are zero before */
        size_t at = start + hot->feature[k];
        if (hot->category[k] == IV_NO_COLUMN) {
            data->values[at] = (float)p->numbers[k];
        } else if (p->numbers[k] >= 0) {
            data->values[at + (size_t)p->numbers[k]] = 1;
        }
    }
}

/* The current row, checked, into the dataset. */
static isovae_status store_row(const iv_table *table, const char *const *names, const plan *p,
                               bool missing_rows, iv_dataset *data, size_t row, isovae_error *err)
{
    size_t checked = p->hot->n + (p->group != IV_NO_COLUMN) + (p->density != IV_NO_COLUMN);
    iv_row_status row_status = IV_ROW_OK;
    for (size_t k = 0; k < checked; k++) {
        if (isfinite((float)p->numbers[k])) continue;
        if (!missing_rows) return fail_value(table, names, p->columns[k], p->numbers[k], err);
        row_status = isnan(p->numbers[k]) ? IV_ROW_MISSING : IV_ROW_NOT_FINITE;
        if (row_status == IV_ROW_MISSING) break;
    }
    data->status[row] = (unsigned char)row_status;
    if (row_status == IV_ROW_OK) {
        store_features(p, data, row);
    }
    if (p->group != IV_NO_COLUMN && row_status == IV_ROW_OK) {
        data->group[row] = p->numbers[p->group];
    }
    if (p->density != IV_NO_COLUMN) {
        double density = p->numbers[p->density];
        if (row_status == IV_ROW_OK && !(density > 0)) {
            char place[40];
            iv_table_place(table, place, sizeof place);
            return iv_fail(err, ISOVAE_ERR_DATA,
                           "%s: the true density is %g, but must be positive (--truth-density)",
                           place, density);
        }
        data->truth->log_density[row] = row_status == IV_ROW_OK ? log(density) : NAN;
    }
    return ISOVAE_OK;
}

static bool contiguous(const iv_table *table, const iv_selection *selection)
{
    if (selection->n != table->cols || table->row_stride != table->cols) return false;
    for (size_t i = 0; i < selection->n; i++) {
        if (selection->columns[i] != i || table->offsets[i] != i) return false;
    }
    return true;
}

static isovae_status fill_rows(source *s, const char *const *names, plan *p,
                               const iv_data_options *options, iv_dataset *data, isovae_error *err)
{
    iv_table *table = s->table;
    /* Bytes as they lie in the file: nothing can be missing. */
    if (data->bytes != NULL && p->request.n == data->cols && contiguous(table, p->selection)) {
        size_t part = s->release / data->cols + 1;
        for (size_t row = 0; row < data->rows; row += part) {
            size_t rows = data->rows - row < part ? data->rows - row : part;
            memcpy(data->bytes + row * data->cols, table->array.data + row * data->cols,
                   rows * data->cols);
            iv_dataset_use(data, IV_ROWS_PASSED, NULL, rows);
            iv_block_release(s->block);
        }
        return iv_build_progress(&options->progress, 0, data->rows, err);
    }
    size_t row_bytes = s->block->length / table->rows, passed = 0;
    for (size_t row = 0; row < table->rows; row++) {
        IV_TRY(iv_table_next(table, &p->request, p->numbers, p->texts, err));
        for (size_t k = 0; p->hot->categories.n > 0 && k < p->hot->n; k++) {
            if (p->hot->category[k] == IV_NO_COLUMN) continue;
            const iv_slice cell = p->texts[1 + p->hot->category[k]];
            IV_TRY(iv_one_hot_value(p->hot, k, cell, &p->numbers[k], err));
        }
        IV_TRY(store_row(table, names, p, options->missing_rows, data, row, err));
        IV_TRY(store_id(p, p->texts[0], data, row, err));
        iv_dataset_use(data, IV_ROWS_PASSED, NULL, 1);
        passed += row_bytes;
        if (passed >= s->release) {
            iv_block_release(s->block);
            passed = 0;
        }
        IV_TRY(iv_build_progress(&options->progress, row, table->rows, err));
    }
    return ISOVAE_OK;
}

static isovae_status name_features(iv_dataset *data, const char *const *names,
                                   const iv_selection *selection, const iv_one_hot *hot,
                                   isovae_error *err)
{
    if (hot->categories.n == 0) return iv_build_names(data, names, selection->columns, err);
    for (size_t k = 0; k < hot->n; k++) {
        char **to = &data->names[hot->feature[k]];
        if (hot->category[k] == IV_NO_COLUMN) {
            IV_TRY(iv_strdup(to, names[selection->columns[k]], err));
            continue;
        }
        const iv_category *c = &hot->categories.list[hot->category[k]];
        for (size_t i = 0; i < c->n; i++) IV_TRY(iv_one_hot_name(c, i, &to[i], err));
    }
    return iv_categories_copy(&hot->categories, &data->categories, err);
}

static isovae_status prepare(iv_dataset *data, iv_table *table, const char *const *names,
                             const iv_selection *selection, const iv_one_hot *hot,
                             isovae_error *err)
{
    IV_TRY(name_features(data, names, selection, hot, err));
    data->named = table->names != NULL;
    if (selection->id != IV_NO_COLUMN) {
        IV_TRY(IV_NEW(data->ids, data->rows, "row ids", err));
    } else { /* the file's own, where it has some */
        data->ids = table->ids;
        table->ids = NULL;
    }
    if (selection->group != IV_NO_COLUMN) IV_TRY(IV_NEW(data->group, data->rows, "groups", err));
    if (selection->density != IV_NO_COLUMN) {
        IV_TRY(IV_NEW(data->truth, 1, "truth", err));
        data->truth->density_only = true;
        IV_TRY(IV_NEW(data->truth->log_density, data->rows, "true densities", err));
    }
    /* All pixels in their order: still an image. */
    bool whole = selection->n == table->cols;
    for (size_t i = 0; whole && i < selection->n; i++) whole = selection->columns[i] == i;
    if (whole) {
        data->height = table->height;
        data->width = table->width;
        data->channels = table->channels;
    }
    return ISOVAE_OK;
}

/* A sparse matrix can promise any number of zeros, and here they take room. */
static isovae_status check_dense_size(const iv_table *table, const iv_selection *selection,
                                      const iv_data_options *options, isovae_error *err)
{
    size_t bytes, limit = iv_build_limit(options);
    if (iv_size_mul(table->rows, selection->n, &bytes) &&
        iv_size_mul(bytes, sizeof(float), &bytes) && bytes <= limit) {
        return ISOVAE_OK;
    }
    return iv_fail(err, ISOVAE_ERR_MEMORY,
                   "%zu rows of %zu sparse columns are more than the limit of %zu bytes once their "
                   "zeros are written out; choose columns with --columns",
                   table->rows, selection->n, limit);
}

static isovae_status build(source *s, const char *const *names, const iv_selection *selection,
                           iv_one_hot *hot, const iv_data_options *options, iv_text *note,
                           iv_dataset **out, isovae_error *err)
{
    iv_table *table = s->table;
    bool bytes = !table->is_text && !table->is_sparse && table->array.element == IV_ELEMENT_U8;
    iv_dataset *data;
    plan p;
    if (table->is_text) IV_TRY(check_text_columns(table, names, selection, hot, err));
    if (table->is_sparse) IV_TRY(check_dense_size(table, selection, options, err));
    IV_TRY(
        iv_build_new_cached(table->rows, hot->features, bytes, options, s->cache_key, &data, err));
    isovae_status status = prepare(data, table, names, selection, hot, err);
    if (status == ISOVAE_OK) {
        status = plan_new(table, selection, hot, &p, err);
        if (status == ISOVAE_OK) status = fill_rows(s, names, &p, options, data, err);
        plan_free(&p);
    }
    if (status == ISOVAE_OK) status = iv_one_hot_note(hot, note, err);
    if (status == ISOVAE_OK) status = iv_build_finish(data, note, err);
    if (status == ISOVAE_OK) status = iv_cache_seal(data, err);
    if (status != ISOVAE_OK) {
        iv_dataset_free(data);
        return status;
    }
    *out = data;
    return ISOVAE_OK;
}

/* Names made up where the table has none; they are the dataset's "c1", "c2", ... */
static isovae_status made_up_names(size_t cols, char ***out, isovae_error *err)
{
    char **names, *text;
    size_t width = 24;
    *out = NULL;
    IV_TRY(IV_NEW(names, cols, "column names", err));
    isovae_status status = iv_alloc((void **)&text, cols, width, "column names", err);
    if (status != ISOVAE_OK) {
        iv_free(names);
        return status;
    }
    for (size_t i = 0; i < cols; i++) {
        names[i] = text + i * width;
        snprintf(names[i], width, "c%zu", i + 1);
    }
    *out = names;
    return ISOVAE_OK;
}

/* The columns, which of them are words, and then the rows. */
static isovae_status select_and_build(source *s, const char *const *names,
                                      const iv_data_options *options, iv_text *note,
                                      iv_dataset **out, isovae_error *err)
{
    iv_table *table = s->table;
    iv_data_options reduced = *options;
    iv_selection selection;
    const char **want;
    iv_one_hot hot;
    bool by_column;
    if (options->categorical != NULL && !table->is_text) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--categorical is for CSV: arrays hold numbers and no words");
    }
    IV_TRY(iv_one_hot_wants(options, table, &want, &reduced.n_want, &by_column, err));
    if (by_column) {
        reduced.want = want;
    } else {
        reduced.n_want = options->n_want;
    }
    isovae_status status = iv_columns_select(names, table->cols, table->names != NULL, &reduced,
                                             &selection, note, err);
    iv_free(want);
    if (status != ISOVAE_OK) return status;
    status = iv_one_hot_new(table, s->block, s->release, names, &selection,
                            by_column ? options->want_categories : NULL, &hot, err);
    if (status == ISOVAE_OK) {
        status = build(s, names, &selection, &hot, options, note, out, err);
        iv_one_hot_free(&hot);
    }
    iv_selection_free(&selection);
    return status;
}

isovae_status iv_read_table(iv_table *table, const iv_block *block, size_t release,
                            const iv_data_options *options, uint64_t key, iv_dataset **out,
                            isovae_error *err)
{
    source s = {.table = table, .block = block, .release = release, .cache_key = key};
    char **made_up = NULL;
    if (table->names == NULL) IV_TRY(made_up_names(table->cols, &made_up, err));
    const char *const *names = (const char *const *)(made_up != NULL ? made_up : table->names);
    iv_text note = {0};
    isovae_status status = select_and_build(&s, names, options, &note, out, err);
    iv_text_free(&note);
    if (made_up != NULL) iv_free(made_up[0]);
    iv_free(made_up);
    return status;
}
