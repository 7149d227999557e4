/* From a data spec to a dataset: the file, its format by content, the columns, the rows. */
#include "data/dataset.h"

#include "base/file.h"
#include "data/blobs.h"
#include "data/build.h"
#include "data/cache.h"
#include "data/columns.h"
#include "data/read_pictures.h"
#include "data/reader.h"
#include "data/toy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_TEXT_COLUMNS_SHOWN = 8, LEAST_RELEASE = 1 << 18 };

/* A source while it is being read: `block` is what the table looks into. */
typedef struct source {
    char *path;
    const char *key; /* of an .npz, or NULL */
    iv_block block;
    iv_spool spool;
    size_t release;     /* bytes of a mapped block after which its pages are given back */
    uint64_t cache_key; /* names a kept row cache */
    iv_table table;
} source;

static void replace_block(source *s, iv_block block)
{
    iv_block_free(&s->block);
    s->block = block;
}

/* "FILE:KEY" where FILE:KEY is no file itself, but FILE is. */
static isovae_status split_spec(const char *spec, source *s, isovae_error *err)
{
    struct stat info;
    const char *colon = strrchr(spec, ':');
    IV_TRY(iv_strdup(&s->path, spec, err));
    if (colon == NULL || colon == spec || strcmp(spec, "-") == 0 || stat(spec, &info) == 0) {
        return ISOVAE_OK;
    }
    size_t at = (size_t)(colon - spec);
    s->path[at] = '\0';
    if (stat(s->path, &info) == 0) {
        s->key = s->path + at + 1;
    } else {
        s->path[at] = ':';
    }
    return ISOVAE_OK;
}

static bool starts_with(const source *s, const char *magic, size_t length)
{
    return s->block.length >= length && memcmp(s->block.data, magic, length) == 0;
}

static bool is_zip(const source *s)
{
    return starts_with(s, "PK\x03\x04", 4) || starts_with(s, "PK\x05\x06", 4);
}

/* By content: .gz and .npz are unpacked, then the table is opened over the block. */
static isovae_status open_table(source *s, const iv_data_options *options, isovae_error *err)
{
    iv_block unpacked;
    if (is_zip(s)) {
        IV_TRY(iv_unpack_npz(&s->block, s->key, &s->spool, &unpacked, err));
        replace_block(s, unpacked);
        return iv_read_npy(s->block.data, s->block.length, &s->table, err);
    }
    if (s->key != NULL) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "':%s' asks for an array by name, but this is no .npz", s->key);
    }
    const unsigned char *data = s->block.data;
    size_t length = s->block.length;
    if (starts_with(s, "\x93NUMPY", 6)) return iv_read_npy(data, length, &s->table, err);
    if (starts_with(s, "\x89HDF", 4)) {
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED, "HDF5 files cannot be read yet; save as .npy");
    }
    if (starts_with(s, "MATLAB 5.0 MAT", 14)) {
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                       "MATLAB files cannot be read yet; save as .npy or .csv");
    }
    if (starts_with(s, "\xff\xd8\xff", 3) || starts_with(s, "\x89PNG", 4)) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "this is one picture; name the folder or zip archive that holds them all");
    }
    if (starts_with(s, "\0\0", 2)) return iv_read_idx(data, length, &s->table, err);
    size_t release = s->block.mapped > 0 ? s->release : 0;
    return iv_read_csv_mapped(data, length, options->header, release, &s->table, err);
}

/* Where the first row holds text in feature columns, all of them are named at once. */
static isovae_status check_text_columns(const iv_table *table, const char *const *names,
                                        const iv_selection *selection, isovae_error *err)
{
    unsigned char *is_text = NULL;
    size_t *columns = NULL, n = 0;
    iv_slice first = {0};
    isovae_status status = IV_NEW(is_text, table->cols, "columns", err);
    if (status == ISOVAE_OK) status = IV_NEW(columns, selection->n, "columns", err);
    if (status == ISOVAE_OK) status = iv_csv_text_cells(table, is_text, &first, err);
    for (size_t i = 0; i < selection->n && status == ISOVAE_OK; i++) {
        if (is_text[selection->columns[i]]) columns[n++] = selection->columns[i];
    }
    if (status == ISOVAE_OK && n > 0 && n < selection->n) {
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
        status = iv_text_check(&list, err);
        if (status == ISOVAE_OK) {
            status = iv_fail(
                err, ISOVAE_ERR_DATA,
                "line %zu: %zu column%s no number%s (%s); leave %s out with --drop %s, or "
                "let a column name the rows with --id%s",
                table->csv.data_line, n, n == 1 ? " holds" : "s hold", n == 1 ? "" : "s", list.data,
                n == 1 ? "it" : "them", list.data,
                table->names != NULL ? "" : " (if line 1 names the columns, say so with --header)");
        }
        iv_text_free(&list);
    }
    iv_free(is_text);
    iv_free(columns);
    return status;
}

/* The request: features first, then the columns that serve another end. */
typedef struct plan {
    const iv_selection *selection;
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
}

static size_t plan_add(plan *p, size_t column)
{
    if (column == IV_NO_COLUMN) return IV_NO_COLUMN;
    p->columns[p->request.n] = column;
    p->slots[column] = p->request.n;
    return p->request.n++;
}

static isovae_status plan_new(const iv_table *table, const iv_selection *selection, plan *p,
                              isovae_error *err)
{
    *p = (plan){.selection = selection, .id = IV_NO_COLUMN};
    IV_TRY(IV_NEW(p->slots, table->cols, "columns", err));
    IV_TRY(IV_NEW(p->columns, selection->n + 3, "columns", err));
    IV_TRY(IV_NEW(p->numbers, selection->n + 3, "a row", err));
    for (size_t j = 0; j < table->cols; j++) p->slots[j] = IV_SLOT_NONE;
    for (size_t i = 0; i < selection->n; i++) plan_add(p, selection->columns[i]);
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

/* The current row, checked, into the dataset. */
static isovae_status store_row(const iv_table *table, const char *const *names, const plan *p,
                               bool missing_rows, iv_dataset *data, size_t row, isovae_error *err)
{
    size_t checked = data->cols + (p->group != IV_NO_COLUMN) + (p->density != IV_NO_COLUMN);
    iv_row_status row_status = IV_ROW_OK;
    for (size_t k = 0; k < checked; k++) {
        if (isfinite((float)p->numbers[k])) continue;
        if (!missing_rows) return fail_value(table, names, p->columns[k], p->numbers[k], err);
        row_status = isnan(p->numbers[k]) ? IV_ROW_MISSING : IV_ROW_NOT_FINITE;
        if (row_status == IV_ROW_MISSING) break;
    }
    data->status[row] = (unsigned char)row_status;
    if (row_status == IV_ROW_OK) {
        size_t start = row * data->cols;
        if (data->bytes != NULL) {
            for (size_t i = 0; i < data->cols; i++) {
                data->bytes[start + i] = (unsigned char)p->numbers[i];
            }
        } else {
            for (size_t i = 0; i < data->cols; i++) data->values[start + i] = (float)p->numbers[i];
        }
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
    iv_table *table = &s->table;
    /* Bytes as they lie in the file: nothing can be missing. */
    if (data->bytes != NULL && p->request.n == data->cols && contiguous(table, p->selection)) {
        size_t part = s->release / data->cols + 1;
        for (size_t row = 0; row < data->rows; row += part) {
            size_t rows = data->rows - row < part ? data->rows - row : part;
            memcpy(data->bytes + row * data->cols, table->array.data + row * data->cols,
                   rows * data->cols);
            iv_dataset_use(data, IV_ROWS_PASSED, NULL, rows);
            iv_block_release(&s->block);
        }
        return iv_build_progress(&options->progress, 0, data->rows, err);
    }
    size_t row_bytes = s->block.length / table->rows, passed = 0;
    for (size_t row = 0; row < table->rows; row++) {
        iv_slice label = {0};
        IV_TRY(iv_table_next(table, &p->request, p->numbers, &label, err));
        IV_TRY(store_row(table, names, p, options->missing_rows, data, row, err));
        IV_TRY(store_id(p, label, data, row, err));
        iv_dataset_use(data, IV_ROWS_PASSED, NULL, 1);
        passed += row_bytes;
        if (passed >= s->release) {
            iv_block_release(&s->block);
            passed = 0;
        }
        IV_TRY(iv_build_progress(&options->progress, row, table->rows, err));
    }
    return ISOVAE_OK;
}

static isovae_status prepare(iv_dataset *data, const iv_table *table, const char *const *names,
                             const iv_selection *selection, isovae_error *err)
{
    IV_TRY(iv_build_names(data, names, selection->columns, err));
    data->named = table->names != NULL;
    if (selection->id != IV_NO_COLUMN) IV_TRY(IV_NEW(data->ids, data->rows, "row ids", err));
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

static isovae_status build(source *s, const char *const *names, const iv_selection *selection,
                           const iv_data_options *options, iv_text *note, iv_dataset **out,
                           isovae_error *err)
{
    iv_table *table = &s->table;
    bool bytes = !table->is_text && table->array.element == IV_ELEMENT_U8;
    iv_dataset *data;
    plan p;
    if (table->is_text) IV_TRY(check_text_columns(table, names, selection, err));
    IV_TRY(
        iv_build_new_cached(table->rows, selection->n, bytes, options, s->cache_key, &data, err));
    isovae_status status = prepare(data, table, names, selection, err);
    if (status == ISOVAE_OK) {
        status = plan_new(table, selection, &p, err);
        if (status == ISOVAE_OK) status = fill_rows(s, names, &p, options, data, err);
        plan_free(&p);
    }
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

static isovae_status select_and_build(source *s, const iv_data_options *options, iv_dataset **out,
                                      isovae_error *err)
{
    char **made_up = NULL;
    if (s->table.names == NULL) IV_TRY(made_up_names(s->table.cols, &made_up, err));
    const char *const *names = (const char *const *)(made_up != NULL ? made_up : s->table.names);
    iv_selection selection = {0};
    iv_text note = {0};
    isovae_status status = iv_columns_select(names, s->table.cols, s->table.names != NULL, options,
                                             &selection, &note, err);
    if (status == ISOVAE_OK) {
        status = build(s, names, &selection, options, &note, out, err);
        iv_selection_free(&selection);
    }
    iv_text_free(&note);
    if (made_up != NULL) iv_free(made_up[0]);
    iv_free(made_up);
    return status;
}

static isovae_status check_no_pictures(const iv_data_options *options, isovae_error *err)
{
    const char *name = options->size != NULL   ? "--size"
                       : options->crop != NULL ? "--crop"
                       : options->grey         ? "--grey"
                       : options->strict       ? "--strict"
                                               : NULL;
    if (name == NULL) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "%s is for a folder or zip archive of JPEG and PNG pictures, which this is not",
                   name);
}

static isovae_status open_zip_of_pictures(source *s, const iv_data_options *options,
                                          iv_dataset **out, isovae_error *err)
{
    iv_picture_list list;
    IV_TRY(iv_picture_list_zip(&s->block, &list, err));
    isovae_status status =
        list.n > 0 ? iv_read_pictures(&list, options, s->cache_key, out, err)
                   : iv_fail(err, ISOVAE_ERR_DATA,
                             "the zip archive holds no .npy array and no picture (JPEG, PNG)");
    iv_picture_list_free(&list);
    return status;
}

static isovae_status open_block(source *s, const iv_data_options *options, iv_dataset **out,
                                isovae_error *err)
{
    iv_block unpacked;
    if (s->block.length == 0) return iv_fail(err, ISOVAE_ERR_DATA, "the file is empty");
    if (starts_with(s, "\x1f\x8b", 2)) {
        IV_TRY(iv_unpack_gzip(&s->block, &s->spool, &unpacked, err));
        replace_block(s, unpacked);
        if (s->block.length == 0) {
            return iv_fail(err, ISOVAE_ERR_DATA, "the compressed file is empty");
        }
        if (starts_with(s, "\x1f\x8b", 2)) {
            return iv_fail(err, ISOVAE_ERR_DATA, "the file is compressed twice; unpack it once");
        }
    }
    if (is_zip(s) && s->key == NULL && !iv_zip_has_arrays(&s->block)) {
        return open_zip_of_pictures(s, options, out, err);
    }
    IV_TRY(check_no_pictures(options, err));
    IV_TRY(open_table(s, options, err));
    return select_and_build(s, options, out, err);
}

static isovae_status open_folder(source *s, const iv_data_options *options, iv_dataset **out,
                                 isovae_error *err)
{
    iv_picture_list list;
    IV_TRY(iv_picture_list_folder(s->path, &list, err));
    uint64_t key = iv_hash64(&list.key, sizeof list.key, s->cache_key);
    isovae_status status = iv_cache_find(options, key, out, err);
    if (status == ISOVAE_OK && *out == NULL) {
        status = iv_read_pictures(&list, options, key, out, err);
        if (status != ISOVAE_OK) status = iv_fail_prefix(err, status, "%s", s->path);
    }
    iv_picture_list_free(&list);
    return status;
}

static isovae_status open_source(source *s, const char *spec, const iv_data_options *options,
                                 iv_dataset **out, isovae_error *err)
{
    bool standard = strcmp(spec, "-") == 0;
    struct stat info;
    s->cache_key = iv_cache_key(spec, options);
    if (!standard && stat(s->path, &info) == 0) {
        if (S_ISDIR(info.st_mode)) return open_folder(s, options, out, err);
        if (S_ISREG(info.st_mode)) {
            s->cache_key = iv_cache_key_file(s->cache_key, s->path, &info);
            IV_TRY(iv_cache_find(options, s->cache_key, out, err));
            if (*out != NULL) return ISOVAE_OK;
        }
    }
    IV_TRY(iv_block_read(s->path, &s->spool, &s->block, err)); /* names the file by itself */
    isovae_status status = open_block(s, options, out, err);
    if (status == ISOVAE_OK) return ISOVAE_OK;
    return iv_fail_prefix(err, status, "%s", standard ? "stdin" : spec);
}

static isovae_status open_file(const char *spec, const iv_data_options *options, iv_dataset **out,
                               isovae_error *err)
{
    source s = {.spool = {.resident = iv_build_memory(options) / 4,
                          .limit = iv_build_source_limit(options)}};
    s.release = s.spool.resident > LEAST_RELEASE ? s.spool.resident : LEAST_RELEASE;
    isovae_status status = split_spec(spec, &s, err);
    if (status == ISOVAE_OK) status = open_source(&s, spec, options, out, err);
    iv_table_free(&s.table);
    iv_block_free(&s.block);
    iv_free(s.path);
    return status;
}

/* A built-in set for a model: the same features in the same order, or nothing. */
static isovae_status match_built_in(const iv_dataset *data, const iv_data_options *options,
                                    isovae_error *err)
{
    iv_selection selection;
    iv_text note = {0};
    if (options->n_want == 0) return ISOVAE_OK;
    isovae_status status = iv_columns_select((const char *const *)data->names, data->cols,
                                             data->named, options, &selection, &note, err);
    iv_text_free(&note);
    if (status != ISOVAE_OK) return status;
    bool same = selection.n == data->cols;
    for (size_t i = 0; same && i < selection.n; i++) same = selection.columns[i] == i;
    iv_selection_free(&selection);
    if (same) return ISOVAE_OK;
    return iv_fail(
        err, ISOVAE_ERR_DATA,
        "the model takes some of the built-in set's features, or in another order: it was "
        "not trained on such a set");
}

static bool is_built_in(const char *spec)
{
    return strncmp(spec, "toy:", 4) == 0 || strncmp(spec, "blobs:", 6) == 0;
}

static isovae_status open_built_in(const char *spec, const iv_data_options *options,
                                   iv_dataset **out, isovae_error *err)
{
    iv_text note = {0};
    isovae_status status = check_no_pictures(options, err);
    if (status == ISOVAE_OK) {
        status = spec[0] == 't' ? iv_toy_open(spec, options, out, err)
                                : iv_blobs_open(spec, options, out, err);
    }
    if (status == ISOVAE_OK) status = match_built_in(*out, options, err);
    if (status == ISOVAE_OK) status = iv_build_finish(*out, &note, err);
    iv_text_free(&note);
    if (status != ISOVAE_OK) status = iv_fail_prefix(err, status, "%s", spec);
    return status;
}

isovae_status iv_dataset_open(const char *spec, const iv_data_options *options, iv_dataset **out,
                              isovae_error *err)
{
    iv_data_options usual;
    iv_data_options_init(&usual);
    if (options == NULL) options = &usual;
    *out = NULL;
    iv_dataset *data = NULL;
    isovae_status status = is_built_in(spec) ? open_built_in(spec, options, &data, err)
                                             : open_file(spec, options, &data, err);
    if (status == ISOVAE_OK) status = iv_strdup(&data->source, spec, err);
    if (status != ISOVAE_OK) {
        iv_dataset_free(data);
        return status;
    }
    *out = data;
    return ISOVAE_OK;
}
