/* The dataset itself: making, hashing and freeing it; rows from memory. */
#include "data/dataset.h"

#include "base/file.h"
#include "data/build.h"
#include "data/columns.h"
#include "data/one_hot.h"
#include "data/reader.h"
#include "data/store.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_CONSTANT_SHOWN = 5, PROGRESS_ROWS = 8192 };

void iv_data_options_init(iv_data_options *options)
{
    *options = (iv_data_options){.header = -1};
}

size_t iv_build_limit(const iv_data_options *options)
{
    const uint64_t usual = UINT64_C(8) << 30;
    if (options->max_bytes > 0) return options->max_bytes;
    return usual > SIZE_MAX ? SIZE_MAX : (size_t)usual;
}

size_t iv_build_source_limit(const iv_data_options *options)
{
    const uint64_t usual = UINT64_C(1) << 40;
    if (options->max_bytes > 0) return options->max_bytes;
    return usual > SIZE_MAX / 2 ? SIZE_MAX / 2 : (size_t)usual;
}

isovae_status iv_build_progress(const iv_progress *progress, size_t row, size_t rows,
                                isovae_error *err)
{
    if (row % PROGRESS_ROWS != 0 || progress->call == NULL) return ISOVAE_OK;
    if (iv_progress_rows(progress, "reading", row, rows)) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_CANCELLED, "reading was cancelled");
}

size_t iv_build_memory(const iv_data_options *options)
{
    const uint64_t most = UINT64_C(8) << 30;
    if (options->memory > 0) return options->memory;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    uint64_t half = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page / 2 : most;
    if (half > most) half = most;
    return half > SIZE_MAX ? SIZE_MAX : (size_t)half;
}

/* Memory, or where that is more than the limit of `options` a row cache. */
static isovae_status take_rows(iv_dataset *data, bool bytes, const iv_data_options *options,
                               uint64_t key, isovae_error *err)
{
    size_t cells = data->rows * data->cols, size, row;
    if (!iv_size_mul(cells, bytes ? 1 : sizeof *data->values, &size) || size > SIZE_MAX / 2) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "%zu rows of %zu columns are too many", data->rows,
                       data->cols);
    }
    if (options == NULL || size <= iv_build_memory(options)) {
        return bytes ? IV_NEW(data->bytes, cells, "data", err)
                     : IV_NEW(data->values, cells, "data", err);
    }
    row = size / data->rows;
    IV_TRY(
        iv_store_new(size, row, iv_build_memory(options), options->cache, key, &data->store, err));
    data->store_use = iv_store_use;
    if (bytes) {
        data->bytes = iv_store_rows(data->store);
    } else {
        data->values = (float *)(void *)iv_store_rows(data->store);
    }
    return ISOVAE_OK;
}

isovae_status iv_build_new_cached(size_t rows, size_t cols, bool bytes,
                                  const iv_data_options *options, uint64_t key, iv_dataset **out,
                                  isovae_error *err)
{
    iv_dataset *data;
    size_t cells;
    *out = NULL;
    if (!iv_size_mul(rows, cols, &cells)) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "%zu rows of %zu columns are too many", rows, cols);
    }
    IV_TRY(IV_NEW(data, 1, "dataset", err));
    data->rows = rows;
    data->cols = cols;
    isovae_status status = take_rows(data, bytes, options, key, err);
    if (status == ISOVAE_OK) status = IV_NEW(data->names, cols, "column names", err);
    if (status == ISOVAE_OK) status = IV_NEW(data->status, rows, "row status", err);
    if (status != ISOVAE_OK) {
        iv_dataset_free(data);
        return status;
    }
    *out = data;
    return ISOVAE_OK;
}

isovae_status iv_build_new(size_t rows, size_t cols, bool bytes, iv_dataset **out,
                           isovae_error *err)
{
    return iv_build_new_cached(rows, cols, bytes, NULL, 0, out, err);
}

isovae_status iv_build_names(iv_dataset *data, const char *const *names, const size_t *columns,
                             isovae_error *err)
{
    data->named = names != NULL;
    for (size_t i = 0; i < data->cols; i++) {
        size_t column = columns != NULL ? columns[i] : i;
        char made_up[32];
        snprintf(made_up, sizeof made_up, "c%zu", column + 1);
        IV_TRY(iv_strdup(&data->names[i], names != NULL ? names[column] : made_up, err));
    }
    return ISOVAE_OK;
}

/* Columns with one value over all good rows. A row leaves the search the sooner, the fewer
 * candidates are left. */
static isovae_status note_constants(const iv_dataset *data, iv_text *note, isovae_error *err)
{
    size_t *candidates, n = data->cols, first = 0;
    while (first < data->rows && data->status[first] != IV_ROW_OK) first++;
    if (data->rows - data->bad_rows < 2) return ISOVAE_OK;
    IV_TRY(IV_NEW(candidates, n, "columns", err));
    for (size_t i = 0; i < n; i++) candidates[i] = i;
    for (size_t row = first + 1; row < data->rows && n > 0; row++) {
        size_t kept = 0, a = first * data->cols, b = row * data->cols;
        if (data->status[row] != IV_ROW_OK) continue;
        for (size_t k = 0; k < n; k++) {
            size_t i = candidates[k];
            bool same = data->bytes != NULL ? data->bytes[a + i] == data->bytes[b + i]
                                            : data->values[a + i] == data->values[b + i];
            if (same) candidates[kept++] = i;
        }
        n = kept;
        iv_dataset_use(data, IV_ROWS_PASSED, NULL, 1);
    }
    if (n > 0) {
        iv_note_begin(note);
        if (data->height > 0) {
            iv_text_printf(note, "%zu of %zu pixels %s constant", n, data->cols,
                           n == 1 ? "is" : "are");
        } else {
            iv_text_printf(note, "%zu constant column%s: ", n, n == 1 ? "" : "s");
            iv_columns_list(note, (const char *const *)data->names, candidates, n,
                            MAX_CONSTANT_SHOWN);
        }
    }
    iv_free(candidates);
    return ISOVAE_OK;
}

static void cells_passed(void *data, size_t bytes)
{
    const iv_dataset *of = data;
    if (of->store != NULL) iv_store_passed(of->store, bytes);
}

isovae_status iv_build_whole(const iv_data_options *options, isovae_error *err)
{
    if (options->columns == NULL && options->drop == NULL && options->id == NULL &&
        options->split_by == NULL && options->truth_density == NULL && options->categorical == NULL)
        return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "the built-in sets have fixed columns; --columns, --drop, --id, --split-by, "
                   "--truth-density and --categorical do not apply");
}

/* XXH3 chained over shape, names, status and contents. */
uint64_t iv_build_hash(const iv_dataset *data)
{
    const uint64_t shape[6] = {data->rows,  data->cols,     data->height,
                               data->width, data->channels, data->bytes != NULL};
    size_t size = data->rows * data->cols * (data->bytes != NULL ? 1 : sizeof *data->values);
    const void *cells = data->bytes != NULL ? (const void *)data->bytes : data->values;
    uint64_t hash = iv_hash64(shape, sizeof shape, 0);
    for (size_t i = 0; i < data->cols; i++) {
        hash = iv_hash64(data->names[i], strlen(data->names[i]) + 1, hash);
    }
    hash = iv_hash64(data->status, data->rows, hash);
    return iv_hash64_parts(cells, size, hash, cells_passed, (void *)(uintptr_t)data);
}

isovae_status iv_build_finish(iv_dataset *data, iv_text *note, isovae_error *err)
{
    data->bad_rows = 0;
    for (size_t row = 0; row < data->rows; row++) data->bad_rows += data->status[row] != IV_ROW_OK;
    if (data->bad_rows > 0) {
        iv_note_begin(note);
        iv_text_printf(note, "%zu of %zu rows have missing or infinite values and are left out",
                       data->bad_rows, data->rows);
    }
    IV_TRY(note_constants(data, note, err));
    IV_TRY(iv_text_check(note, err));
    if (note->length > 0) IV_TRY(iv_strndup(&data->note, note->data, note->length, err));
    data->hash = iv_build_hash(data);
    return ISOVAE_OK;
}

static double view_value(const iv_data_view *view, size_t row, size_t i)
{
    const unsigned char *at = view->values;
    float narrow;
    double wide;
    at += (ptrdiff_t)row * view->row_stride + (ptrdiff_t)i * view->column_stride;
    if (view->element == IV_VIEW_U8) return (double)*at;
    if (view->element == IV_VIEW_F64) {
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
    memcpy(&narrow, at, sizeof narrow);
    return (double)narrow;
}

/* The bytes of a view, row by row where they lie together. */
static void fill_bytes(iv_dataset *data, const iv_data_view *view)
{
    for (size_t row = 0; row < data->rows; row++) {
        const unsigned char *from = view->values;
        unsigned char *to = data->bytes + row * data->cols;
        from += (ptrdiff_t)row * view->row_stride;
        if (view->column_stride == 1) {
            memcpy(to, from, data->cols);
            continue;
        }
        for (size_t i = 0; i < data->cols; i++) to[i] = from[(ptrdiff_t)i * view->column_stride];
    }
}

static isovae_status fill_values(iv_dataset *data, const iv_data_view *view, isovae_error *err)
{
    for (size_t row = 0; row < data->rows; row++) {
        for (size_t i = 0; i < data->cols; i++) {
            double value = view_value(view, row, i);
            float single = (float)value;
            if (!isfinite(single)) {
                const char *name = data->names[i];
                return iv_fail(err, ISOVAE_ERR_DATA, "row %zu, column '%s': the value is %s",
                               row + 1, iv_show(name, strlen(name)).text,
                               isnan(value) ? "missing (NaN)" : "not finite in single precision");
            }
            data->values[row * data->cols + i] = single;
        }
    }
    return ISOVAE_OK;
}

/* Features of a column of words: zeros, and at most one 1. */
static isovae_status check_words(const iv_dataset *data, const iv_category *c, isovae_error *err)
{
    for (size_t row = 0; row < data->rows; row++) {
        const float *at = data->values + row * data->cols + c->first;
        size_t ones = 0, zeros = 0;
        for (size_t i = 0; i < c->n; i++) {
            ones += at[i] == 1.0f;
            zeros += at[i] == 0.0f;
        }
        if (ones <= 1 && ones + zeros == c->n) continue;
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "row %zu: the %zu features of column '%s' are not zeros with at most one 1",
                       row + 1, c->n, iv_show(c->column, strlen(c->column)).text);
    }
    return ISOVAE_OK;
}

/* Before the values: their messages name columns. */
static isovae_status name_words(iv_dataset *data, const iv_categories *categories,
                                isovae_error *err)
{
    if (categories == NULL || categories->n == 0) return ISOVAE_OK;
    if (data->bytes != NULL || data->height > 0) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "pictures and bytes have no columns of words");
    }
    if (!iv_categories_fit(categories, data->cols)) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "columns of words must stand in the order of their features, within the %zu "
                       "columns, with different values that ascend by their bytes",
                       data->cols);
    }
    size_t column = 0, k = 0;
    for (size_t i = 0; i < data->cols; column++) { /* made-up names count columns, not features */
        const iv_category *c =
            k < categories->n && categories->list[k].first == i ? &categories->list[k++] : NULL;
        for (size_t last = i + (c != NULL ? c->n : 1), j = 0; i < last; i++, j++) {
            char made_up[32];
            if (c == NULL && data->named) continue;
            snprintf(made_up, sizeof made_up, "c%zu", column + 1);
            iv_free(data->names[i]);
            data->names[i] = NULL;
            IV_TRY(c != NULL ? iv_one_hot_name(c, j, &data->names[i], err)
                             : iv_strdup(&data->names[i], made_up, err));
        }
    }
    return iv_categories_copy(categories, &data->categories, err);
}

static isovae_status fill_from_view(iv_dataset *data, const iv_data_view *view, isovae_error *err)
{
    iv_text note = {0};
    isovae_status status = ISOVAE_OK;
    IV_TRY(iv_build_names(data, view->names, NULL, err));
    IV_TRY(iv_strdup(&data->source, "memory", err));
    data->height = view->height;
    data->width = view->height > 0 ? view->width : 0;
    data->channels = view->height > 0 ? view->channels : 0;
    IV_TRY(name_words(data, view->categories, err));
    if (data->bytes != NULL) {
        fill_bytes(data, view);
    } else {
        IV_TRY(fill_values(data, view, err));
    }
    for (size_t k = 0; k < data->categories.n && status == ISOVAE_OK; k++) {
        status = check_words(data, &data->categories.list[k], err);
    }
    if (status == ISOVAE_OK) status = iv_build_finish(data, &note, err);
    iv_text_free(&note);
    return status;
}

/* Whether height x width x channels are the columns. */
static bool picture_fits(const iv_data_view *view, size_t cols)
{
    size_t values;
    return view->height == 0 || (iv_size_mul(view->height, view->width, &values) &&
                                 iv_size_mul(values, view->channels, &values) && values == cols);
}

isovae_status iv_dataset_from_view(const iv_data_view *view, size_t rows, size_t cols,
                                   iv_dataset **out, isovae_error *err)
{
    iv_dataset *data;
    *out = NULL;
    if (rows == 0 || cols == 0) {
        return iv_fail(err, ISOVAE_ERR_DATA, "data need at least one row and one column");
    }
    if (!picture_fits(view, cols)) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "rows of %zu values are no pictures of %zu x %zu x %zu (height, width, "
                       "channels)",
                       cols, view->height, view->width, view->channels);
    }
    IV_TRY(iv_build_new(rows, cols, view->element == IV_VIEW_U8, &data, err));
    isovae_status status = fill_from_view(data, view, err);
    if (status != ISOVAE_OK) {
        iv_dataset_free(data);
        return status;
    }
    *out = data;
    return ISOVAE_OK;
}

isovae_status iv_dataset_from_rows(const double *values, size_t rows, size_t cols,
                                   const char *const *names, iv_dataset **out, isovae_error *err)
{
    ptrdiff_t element = (ptrdiff_t)sizeof *values;
    iv_data_view view = {.values = values,
                         .row_stride = (ptrdiff_t)cols * element,
                         .column_stride = element,
                         .names = names};
    return iv_dataset_from_view(&view, rows, cols, out, err);
}

static void free_strings(char **strings, size_t n)
{
    if (strings == NULL) return;
    for (size_t i = 0; i < n; i++) iv_free(strings[i]);
    iv_free(strings);
}

static void free_truth(iv_truth *truth)
{
    if (truth == NULL) return;
    free_strings(truth->factor_names, truth->n_factors);
    iv_free(truth->factors);
    iv_free(truth->population_variances);
    iv_free(truth->log_density);
    iv_free(truth);
}

void iv_dataset_free(iv_dataset *data)
{
    if (data == NULL) return;
    if (data->store != NULL) {
        iv_store_free(data->store);
    } else {
        iv_free(data->values);
        iv_free(data->bytes);
    }
    free_strings(data->names, data->cols);
    iv_categories_free(&data->categories);
    if (data->id_text != NULL) {
        iv_free(data->ids);
        iv_free(data->id_text);
    } else {
        free_strings(data->ids, data->rows);
    }
    iv_free(data->status);
    iv_free(data->group);
    iv_free(data->source);
    iv_free(data->note);
    free_truth(data->truth);
    iv_free(data);
}

void iv_dataset_row(const iv_dataset *data, size_t row, float *out)
{
    size_t start = row * data->cols;
    if (data->bytes != NULL) {
        for (size_t i = 0; i < data->cols; i++) out[i] = (float)data->bytes[start + i];
    } else {
        memcpy(out, data->values + start, data->cols * sizeof *out);
    }
    iv_dataset_use(data, IV_ROWS_TOUCHED, &row, 1);
}
