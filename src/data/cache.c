#include "data/cache.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/build.h"
#include "data/store.h"

#include <string.h>

/* ---- the key ---- */

static uint64_t add_text(uint64_t key, const char *text)
{
    uint64_t there = text != NULL;
    key = iv_hash64(&there, sizeof there, key);
    return text != NULL ? iv_hash64(text, strlen(text) + 1, key) : key;
}

uint64_t iv_cache_key(const char *spec, const iv_data_options *options)
{
    const uint64_t numbers[] = {2, /* of this list; another one makes other keys */
                                options->missing_rows,
                                (uint64_t)(options->header + 1),
                                options->grey,
                                options->strict,
                                options->n_want,
                                options->want_named,
                                options->want_height,
                                options->want_width,
                                options->want_channels};
    uint64_t key = iv_hash64(numbers, sizeof numbers, 0);
    key = add_text(key, spec);
    key = add_text(key, options->columns);
    key = add_text(key, options->drop);
    key = add_text(key, options->id);
    key = add_text(key, options->split_by);
    key = add_text(key, options->truth_density);
    key = add_text(key, options->categorical);
    key = add_text(key, options->labels);
    const iv_categories *c = options->want_categories;
    for (size_t i = 0; c != NULL && i < c->n; i++) {
        const uint64_t place[] = {c->list[i].first, c->list[i].n};
        key = iv_hash64(place, sizeof place, add_text(key, c->list[i].column));
        for (size_t k = 0; k < c->list[i].n; k++) key = add_text(key, c->list[i].values[k]);
    }
    key = add_text(key, options->size);
    key = add_text(key, options->crop);
    for (size_t i = 0; i < options->n_want && options->want != NULL; i++) {
        key = add_text(key, options->want[i]);
    }
    return key;
}

uint64_t iv_cache_key_file(uint64_t key, const char *name, const struct stat *info)
{
    const uint64_t numbers[] = {(uint64_t)info->st_size, (uint64_t)info->st_mtim.tv_sec,
                                (uint64_t)info->st_mtim.tv_nsec, (uint64_t)info->st_ino};
    return iv_hash64(numbers, sizeof numbers, add_text(key, name));
}

/* ---- what stands behind the rows: numbers and counted strings, one behind the other ---- */

enum { N_NUMBERS = 12 };

static void put_number(iv_text *text, uint64_t number)
{
    iv_text_append(text, (const char *)&number, sizeof number);
}

static void put_bytes(iv_text *text, const void *data, size_t length)
{
    put_number(text, length);
    if (length > 0) iv_text_append(text, data, length);
}

static void put_strings(iv_text *text, char **strings, size_t n)
{
    for (size_t i = 0; strings != NULL && i < n; i++) {
        put_bytes(text, strings[i], strlen(strings[i]));
    }
}

static void encode(const iv_dataset *data, iv_text *text)
{
    const iv_truth *truth = data->truth;
    put_number(text, data->rows);
    put_number(text, data->cols);
    put_number(text, data->bytes != NULL);
    put_number(text, data->named);
    put_number(text, data->height);
    put_number(text, data->width);
    put_number(text, data->channels);
    put_number(text, data->hash);
    put_number(text, data->ids != NULL);
    put_number(text, data->group != NULL);
    put_number(text, truth != NULL && truth->log_density != NULL);
    put_number(text, data->categories.n);
    put_bytes(text, data->status, data->rows);
    if (data->group != NULL) put_bytes(text, data->group, data->rows * sizeof *data->group);
    if (truth != NULL && truth->log_density != NULL) {
        put_bytes(text, truth->log_density, data->rows * sizeof *truth->log_density);
    }
    const char *note = data->note != NULL ? data->note : "";
    put_bytes(text, note, strlen(note));
    put_strings(text, data->names, data->cols);
    put_strings(text, data->ids, data->rows);
    for (size_t i = 0; i < data->categories.n; i++) {
        const iv_category *c = &data->categories.list[i];
        put_number(text, c->first);
        put_number(text, c->n);
        put_bytes(text, c->column, strlen(c->column));
        put_strings(text, c->values, c->n);
    }
}

typedef struct meta {
    const unsigned char *at;
    size_t left;
    bool bad;
} meta;

static uint64_t take_number(meta *m)
{
    uint64_t number = 0;
    if (m->bad || m->left < sizeof number) {
        m->bad = true;
        return 0;
    }
    memcpy(&number, m->at, sizeof number);
    m->at += sizeof number;
    m->left -= sizeof number;
    return number;
}

static const char *take_bytes(meta *m, size_t *length)
{
    uint64_t n = take_number(m);
    if (m->bad || n > m->left) {
        m->bad = true;
        *length = 0;
        return "";
    }
    const char *data = (const char *)m->at;
    *length = (size_t)n;
    m->at += n;
    m->left -= (size_t)n;
    return data;
}

static void take_exactly(meta *m, void *out, size_t length)
{
    size_t n;
    const char *data = take_bytes(m, &n);
    if (n != length) m->bad = true;
    if (!m->bad) memcpy(out, data, length);
}

static isovae_status take_strings(meta *m, char **strings, size_t n, isovae_error *err)
{
    for (size_t i = 0; i < n; i++) {
        size_t length;
        const char *data = take_bytes(m, &length);
        IV_TRY(iv_strndup(&strings[i], data, length, err));
    }
    return ISOVAE_OK;
}

static isovae_status take_categories(meta *m, uint64_t promised, iv_dataset *data,
                                     isovae_error *err)
{
    iv_categories *all = &data->categories;
    size_t n = promised <= data->cols ? (size_t)promised : 0, at = 0;
    if (n != promised) m->bad = true;
    if (m->bad || n == 0) return ISOVAE_OK;
    IV_TRY(IV_NEW(all->list, n, "categories", err));
    all->n = n;
    for (size_t i = 0; i < n; i++) {
        iv_category *c = &all->list[i];
        uint64_t first = take_number(m), values = take_number(m);
        if (m->bad || first < at || first >= data->cols || values > data->cols - first) {
            m->bad = true;
            return ISOVAE_OK;
        }
        c->first = (size_t)first;
        at = (size_t)(first + values);
        IV_TRY(take_strings(m, &c->column, 1, err));
        IV_TRY(IV_NEW(c->values, (size_t)values, "categories", err));
        c->n = (size_t)values;
        IV_TRY(take_strings(m, c->values, c->n, err));
    }
    if (!iv_categories_fit(all, data->cols)) m->bad = true;
    return ISOVAE_OK;
}

/* Into `data`, which holds what was taken also on failure; m->bad says that the meta is none. */
static isovae_status decode(meta *m, iv_store *store, iv_dataset *data, isovae_error *err)
{
    uint64_t n[N_NUMBERS];
    for (size_t i = 0; i < N_NUMBERS; i++) n[i] = take_number(m);
    bool bytes = n[2] != 0;
    size_t row_bytes = 0, all = 0, pixels = 0;
    if (m->bad || n[0] == 0 || n[1] == 0 || n[0] > m->left || n[1] > m->left / 8 ||
        !iv_size_mul((size_t)n[1], bytes ? 1 : sizeof *data->values, &row_bytes) ||
        row_bytes != iv_store_row_bytes(store) || !iv_size_mul((size_t)n[0], row_bytes, &all) ||
        all != iv_store_bytes(store) || !iv_size_mul((size_t)n[4], (size_t)n[5], &pixels) ||
        !iv_size_mul(pixels, (size_t)n[6], &pixels) || (n[4] != 0 && pixels != n[1])) {
        m->bad = true;
        return ISOVAE_OK;
    }
    data->rows = (size_t)n[0];
    data->cols = (size_t)n[1];
    if (bytes) {
        data->bytes = iv_store_rows(store);
    } else {
        data->values = (float *)(void *)iv_store_rows(store);
    }
    data->named = n[3] != 0;
    data->height = (size_t)n[4];
    data->width = (size_t)n[5];
    data->channels = (size_t)n[6];
    IV_TRY(IV_NEW(data->status, data->rows, "row status", err));
    take_exactly(m, data->status, data->rows);
    if (n[9] != 0) {
        IV_TRY(IV_NEW(data->group, data->rows, "groups", err));
        take_exactly(m, data->group, data->rows * sizeof *data->group);
    }
    if (n[10] != 0) {
        IV_TRY(IV_NEW(data->truth, 1, "truth", err));
        data->truth->density_only = true;
        IV_TRY(IV_NEW(data->truth->log_density, data->rows, "true densities", err));
        take_exactly(m, data->truth->log_density, data->rows * sizeof(double));
    }
    size_t length;
    const char *note = take_bytes(m, &length);
    if (length > 0) IV_TRY(iv_strndup(&data->note, note, length, err));
    IV_TRY(IV_NEW(data->names, data->cols, "column names", err));
    IV_TRY(take_strings(m, data->names, data->cols, err));
    if (n[8] != 0) {
        IV_TRY(IV_NEW(data->ids, data->rows, "row ids", err));
        IV_TRY(take_strings(m, data->ids, data->rows, err));
    }
    IV_TRY(take_categories(m, n[11], data, err));
    for (size_t row = 0; row < data->rows; row++) data->bad_rows += data->status[row] != IV_ROW_OK;
    data->hash = n[7];
    if (!m->bad && m->left != 0) m->bad = true;
    return ISOVAE_OK;
}

isovae_status iv_cache_find(const iv_data_options *options, uint64_t key, iv_dataset **out,
                            isovae_error *err)
{
    iv_store *store;
    unsigned char *bytes;
    size_t length = 0;
    *out = NULL;
    if (options->cache == NULL) return ISOVAE_OK;
    IV_TRY(
        iv_store_find(options->cache, key, iv_build_memory(options), &store, &bytes, &length, err));
    if (store == NULL) return ISOVAE_OK;
    iv_dataset *data;
    meta m = {.at = bytes, .left = length};
    isovae_status status = IV_NEW(data, 1, "dataset", err);
    if (status != ISOVAE_OK) {
        iv_store_free(store);
    } else {
        data->store = store;
        data->store_use = iv_store_use;
        status = decode(&m, store, data, err);
        /* The rows too are what they were: reading them once is cheaper than making them. */
        if (status == ISOVAE_OK && !m.bad && iv_build_hash(data) != data->hash) m.bad = true;
    }
    iv_free(bytes);
    if (status != ISOVAE_OK || m.bad) {
        iv_dataset_free(data);
        return status;
    }
    *out = data;
    return ISOVAE_OK;
}

isovae_status iv_cache_seal(iv_dataset *data, isovae_error *err)
{
    iv_text text = {0};
    if (data->store == NULL) return ISOVAE_OK;
    encode(data, &text);
    isovae_status status = iv_text_check(&text, err);
    if (status == ISOVAE_OK) {
        status = iv_store_seal(data->store, data->rows * iv_store_row_bytes(data->store), text.data,
                               text.length, err);
    }
    iv_text_free(&text);
    return status;
}
