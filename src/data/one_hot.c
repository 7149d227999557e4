#include "data/one_hot.h"

#include "base/file.h"
#include "base/memory.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

void iv_one_hot_free(iv_one_hot *h)
{
    for (size_t i = 0; h->example != NULL && i < h->categories.n; i++) iv_free(h->example[i]);
    iv_free(h->example);
    iv_free(h->unknown);
    iv_free(h->feature);
    iv_free(h->category);
    iv_categories_free(&h->categories);
    *h = (iv_one_hot){0};
}

isovae_status iv_one_hot_name(const iv_category *c, size_t i, char **out, isovae_error *err)
{
    iv_text text = {0};
    iv_text_printf(&text, "%s=%s", c->column, c->values[i]);
    isovae_status status = iv_text_check(&text, err);
    if (status == ISOVAE_OK) status = iv_strdup(out, text.data, err);
    iv_text_free(&text);
    return status;
}

/* ---- what a model wants ---- */

isovae_status iv_one_hot_wants(const iv_data_options *options, const iv_table *table,
                               const char ***want, size_t *n_want, bool *reduced, isovae_error *err)
{
    const iv_categories *known = options->want_categories;
    *want = NULL;
    *n_want = 0;
    *reduced = known != NULL && known->n > 0 && table->is_text && options->want != NULL;
    if (!*reduced) return ISOVAE_OK;
    if (table->names != NULL && options->want_named) {
        iv_name_index index;
        size_t found = 0;
        IV_TRY(iv_name_index_new((const char *const *)table->names, table->cols, &index, err));
        for (size_t i = 0; i < known->n; i++) {
            const char *column = known->list[i].column;
            found += iv_name_index_find(&index, column, strlen(column)) != IV_NO_COLUMN;
        }
        iv_name_index_free(&index);
        *reduced = found > 0;
        if (!*reduced) return ISOVAE_OK;
    }
    IV_TRY(IV_NEW(*want, options->n_want, "columns", err));
    size_t c = 0;
    for (size_t i = 0; i < options->n_want;) {
        if (c < known->n && known->list[c].first == i) {
            (*want)[(*n_want)++] = known->list[c].column;
            i += known->list[c++].n;
        } else {
            (*want)[(*n_want)++] = options->want[i++];
        }
    }
    return ISOVAE_OK;
}

/* ---- collecting ---- */

/* The bytes of a cell without its quoting: inside the block, or in `room`. */
static isovae_status cell_text(iv_slice cell, iv_text *room, const char **text, size_t *length,
                               isovae_error *err)
{
    *text = cell.data;
    *length = cell.length;
    if (!cell.escaped) return ISOVAE_OK;
    room->length = 0;
    for (size_t i = 0; i < cell.length; i++) {
        iv_text_append(room, cell.data + i, 1);
        if (cell.data[i] == '"') i++; /* the second of two */
    }
    *text = room->data;
    *length = room->length;
    return iv_text_check(room, err);
}

static isovae_status add_value(iv_category *c, const char *text, size_t length, const char *place,
                               isovae_error *err)
{
    iv_shown column = iv_show(c->column, strlen(c->column));
    if (iv_category_find(c, text, length) != SIZE_MAX) return ISOVAE_OK;
    if (length > IV_LONGEST_CATEGORY) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "%s, column '%s': %zu bytes of text are no category (%d at most); leave the "
                       "column out with --drop",
                       place, column.text, length, IV_LONGEST_CATEGORY);
    }
    if (c->n == IV_MOST_CATEGORIES) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "%s, column '%s': more than %d different values are too many categories; "
                       "leave the column out with --drop, or let it name the rows with --id",
                       place, column.text, IV_MOST_CATEGORIES);
    }
    char *copy;
    IV_TRY(iv_strndup(&copy, text, length, err));
    size_t at = c->n++;
    for (; at > 0 && strcmp(c->values[at - 1], copy) > 0; at--) c->values[at] = c->values[at - 1];
    c->values[at] = copy;
    return ISOVAE_OK;
}

/* A pass over all rows. */
static isovae_status collect(iv_table *table, const iv_block *block, size_t release,
                             const size_t *columns, iv_categories *out, isovae_error *err)
{
    size_t *slots = NULL, row_bytes = block->length / table->rows, passed = 0;
    iv_slice *cells = NULL;
    iv_text room = {0};
    char place[40];
    isovae_status status = IV_NEW(slots, table->cols, "columns", err);
    if (status == ISOVAE_OK) status = IV_NEW(cells, out->n, "cells", err);
    for (size_t j = 0; status == ISOVAE_OK && j < table->cols; j++) slots[j] = IV_SLOT_NONE;
    for (size_t i = 0; status == ISOVAE_OK && columns != NULL && i < out->n; i++)
        slots[columns[i]] = IV_SLOT_TEXT(i);
    const iv_request request = {.slots = slots};
    for (size_t row = 0; row < table->rows && status == ISOVAE_OK; row++) {
        status = iv_table_next(table, &request, NULL, cells, err);
        if (status == ISOVAE_OK) iv_table_place(table, place, sizeof place);
        for (size_t i = 0; i < out->n && status == ISOVAE_OK; i++) {
            const char *text;
            size_t length;
            if (iv_csv_missing_word(cells[i])) continue;
            status = cell_text(cells[i], &room, &text, &length, err);
            if (status == ISOVAE_OK) status = add_value(&out->list[i], text, length, place, err);
        }
        passed += row_bytes;
        if (passed >= release) {
            iv_block_release(block);
            passed = 0;
        }
    }
    iv_csv_rewind(table);
    iv_text_free(&room);
    iv_free(slots);
    iv_free(cells);
    return status;
}

/* Fills `columns` (the table's, one for each category) beside the categories. */
static isovae_status prepare(const char *const *names, const iv_selection *selection,
                             const unsigned char *marked, size_t **columns, iv_categories *out,
                             isovae_error *err)
{
    size_t n = 0;
    for (size_t k = 0; k < selection->n; k++) n += marked[selection->columns[k]] != 0;
    if (n == 0) return ISOVAE_OK;
    IV_TRY(IV_NEW(*columns, n, "columns", err));
    IV_TRY(IV_NEW(out->list, n, "categories", err));
    for (size_t k = 0; k < selection->n; k++) {
        size_t column = selection->columns[k];
        if (!marked[column]) continue;
        iv_category *c = &out->list[out->n];
        (*columns)[out->n++] = column;
        c->first = k; /* the chosen column, until the sizes are known */
        IV_TRY(iv_strdup(&c->column, names[column], err));
        IV_TRY(IV_NEW(c->values, IV_MOST_CATEGORIES, "categories", err));
    }
    return ISOVAE_OK;
}

static isovae_status find_categories(iv_table *table, const iv_block *block, size_t release,
                                     const char *const *names, const iv_selection *selection,
                                     iv_categories *out, isovae_error *err)
{
    unsigned char *marked;
    size_t *columns = NULL;
    IV_TRY(IV_NEW(marked, table->cols, "columns", err));
    isovae_status status = ISOVAE_OK;
    if (selection->categorical_auto) {
        status = iv_csv_text_columns(table, block, release, marked, err);
    } else {
        memcpy(marked, selection->categorical, table->cols);
    }
    if (status == ISOVAE_OK) status = prepare(names, selection, marked, &columns, out, err);
    if (status == ISOVAE_OK && out->n > 0) {
        status = collect(table, block, release, columns, out, err);
    }
    for (size_t i = 0; i < out->n && status == ISOVAE_OK; i++) {
        const char *column = out->list[i].column;
        if (out->list[i].n > 0) continue;
        status = iv_fail(err, ISOVAE_ERR_DATA,
                         "column '%s' is missing in all rows; leave it out "
                         "with --drop",
                         iv_show(column, strlen(column)).text);
    }
    iv_free(marked);
    iv_free(columns);
    return status;
}

static isovae_status make(iv_table *table, const iv_block *block, size_t release,
                          const char *const *names, const iv_selection *selection,
                          const iv_categories *known, iv_one_hot *h, isovae_error *err)
{
    bool find = known == NULL && (selection->categorical_auto || selection->categorical != NULL);
    h->n = selection->n;
    IV_TRY(IV_NEW(h->feature, h->n, "columns", err));
    IV_TRY(IV_NEW(h->category, h->n, "columns", err));
    if (known != NULL) IV_TRY(iv_categories_copy(known, &h->categories, err));
    if (find) {
        IV_TRY(find_categories(table, block, release, names, selection, &h->categories, err));
    }
    iv_categories *all = &h->categories;
    IV_TRY(IV_NEW(h->unknown, all->n, "categories", err));
    IV_TRY(IV_NEW(h->example, all->n, "categories", err));
    size_t at = 0, c = 0;
    for (size_t k = 0; k < h->n; k++) {
        h->feature[k] = at;
        h->category[k] = IV_NO_COLUMN;
        if (c < all->n && all->list[c].first == (find ? k : at)) {
            all->list[c].first = at;
            h->category[k] = c;
            at += all->list[c++].n; /* at most 1000 for a column */
        } else {
            at++;
        }
    }
    h->features = at;
    h->found = find;
    return ISOVAE_OK;
}

isovae_status iv_one_hot_new(iv_table *table, const iv_block *block, size_t release,
                             const char *const *names, const iv_selection *selection,
                             const iv_categories *known, iv_one_hot *out, isovae_error *err)
{
    *out = (iv_one_hot){0};
    isovae_status status = make(table, block, release, names, selection, known, out, err);
    if (status != ISOVAE_OK) iv_one_hot_free(out);
    return status;
}

isovae_status iv_one_hot_value(iv_one_hot *h, size_t k, iv_slice cell, double *out,
                               isovae_error *err)
{
    size_t c = h->category[k], length;
    const char *text;
    iv_text room = {0};
    if (iv_csv_missing_word(cell)) {
        *out = (double)NAN;
        return ISOVAE_OK;
    }
    isovae_status status = cell_text(cell, &room, &text, &length, err);
    if (status == ISOVAE_OK) {
        size_t at = iv_category_find(&h->categories.list[c], text, length);
        *out = at == SIZE_MAX ? -1 : (double)at;
        if (at == SIZE_MAX && h->unknown[c]++ == 0) {
            status = iv_strndup(&h->example[c], text, length, err);
        }
    }
    iv_text_free(&room);
    return status;
}

isovae_status iv_one_hot_note(const iv_one_hot *h, iv_text *note, isovae_error *err)
{
    enum { MOST_SHOWN = 8 };
    size_t n = h->categories.n, features = 0;
    for (size_t i = 0; i < n; i++) features += h->categories.list[i].n;
    if (h->found && n > 0) {
        iv_note_begin(note);
        iv_text_printf(note, "%zu column%s of words became %zu features: ", n, n == 1 ? "" : "s",
                       features);
        for (size_t i = 0; i < n && i < MOST_SHOWN; i++) {
            const char *column = h->categories.list[i].column;
            iv_text_printf(note, "%s%s (%zu)", i > 0 ? ", " : "",
                           iv_show(column, strlen(column)).text, h->categories.list[i].n);
        }
        if (n > MOST_SHOWN) iv_text_printf(note, " and %zu more", n - MOST_SHOWN);
    }
    for (size_t i = 0; i < n; i++) {
        const char *column = h->categories.list[i].column, *value = h->example[i];
        if (h->unknown[i] == 0) continue;
        iv_note_begin(note);
        iv_text_printf(note,
                       "%zu row%s in '%s' a value that the model has not seen ('%s'%s): zeros",
                       h->unknown[i], h->unknown[i] == 1 ? " has" : "s have",
                       iv_show(column, strlen(column)).text, iv_show(value, strlen(value)).text,
                       h->unknown[i] == 1 ? "" : " first");
    }
    return iv_text_check(note, err);
}
