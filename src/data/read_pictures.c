#include "data/read_pictures.h"

#include "base/memory.h"
#include "base/pool.h"
#include "data/build.h"
#include "data/cache.h"
#include "data/columns.h"
#include "data/picture.h"
#include "data/reader.h"

#include <stdint.h>
#include <string.h>

enum {
    SLOTS_PER_LANE = 32,
    WAVE_BYTES = 1 << 24, /* of files, after which a wave is closed */
    MAX_NAMED = 3
};
static const uint64_t most_pixels = UINT64_C(1) << 40; /* of all pictures together */

/* One picture of a wave. */
typedef struct slot {
    size_t entry;
    unsigned char *bytes, *out; /* out NULL: look at the header alone */
    size_t length;
    iv_picture_info info;
    isovae_error err;
} slot;

typedef struct lane {
    iv_picture_reader *reader;
} lane;

typedef struct job {
    const iv_picture_list *list;
    const iv_data_options *options;
    iv_crop crop;
    size_t height, width, channels; /* wanted; 0 where not known yet */
    size_t lanes, used;
    lane *lane;          /* lanes */
    slot *slots;         /* lanes * SLOTS_PER_LANE, `used` of them */
    unsigned char *good; /* of each entry: its header is readable and its crop fits */
    size_t n_good, first_good;
    uint64_t pixels;
    bool color;
    size_t skipped;
    iv_text skips; /* "a.png (reason), b.png (reason)" */
} job;

static void job_free(job *j)
{
    for (size_t i = 0; j->lane != NULL && i < j->lanes; i++) {
        iv_picture_reader_free(j->lane[i].reader);
    }
    iv_free(j->lane);
    iv_free(j->slots);
    iv_free(j->good);
    iv_text_free(&j->skips);
}

static isovae_status job_new(job *j, isovae_error *err)
{
    j->lanes = iv_pool_threads(j->options->pool);
    IV_TRY(IV_NEW(j->lane, j->lanes, "picture readers", err));
    for (size_t i = 0; i < j->lanes; i++) IV_TRY(iv_picture_reader_new(&j->lane[i].reader, err));
    IV_TRY(IV_NEW(j->slots, j->lanes * SLOTS_PER_LANE, "pictures", err));
    return IV_NEW(j->good, j->list->n, "pictures", err);
}

/* ---- a wave: files are read one after the other, then decoded at once ---- */

static void lane_task(void *argument, size_t task)
{
    job *j = argument;
    for (size_t i = task; i < j->used; i += j->lanes) {
        slot *s = &j->slots[i];
        if (s->err.status != ISOVAE_OK) continue;
        isovae_status status =
            s->out == NULL
                ? iv_picture_peek(j->lane[task].reader, s->bytes, s->length, &s->info, &s->err)
                : iv_picture_read(j->lane[task].reader, s->bytes, s->length, &j->crop, j->height,
                                  j->width, j->channels, s->out, &s->err);
        s->err.status = status;
    }
}

static void clear_wave(job *j)
{
    for (size_t i = 0; i < j->used; i++) iv_free(j->slots[i].bytes);
    j->used = 0;
}

/* Pictures from *next on; `out` is where the first row goes, NULL to look at headers. */
static isovae_status run_wave(job *j, size_t *next, unsigned char *out, isovae_error *err)
{
    size_t bytes = 0, place = 0, row = j->height * j->width * j->channels;
    clear_wave(j);
    while (*next < j->list->n && j->used < j->lanes * SLOTS_PER_LANE && bytes < WAVE_BYTES) {
        slot *s = &j->slots[j->used++];
        *s = (slot){.entry = *next};
        s->err.status = iv_picture_fetch(j->list, *next, &s->bytes, &s->length, &s->err);
        if (out != NULL && j->good[*next]) s->out = out + row * place++;
        bytes += s->length;
        ++*next;
    }
    if (j->list->block != NULL) iv_block_release(j->list->block);
    iv_pool_run(j->options->pool, j->lanes, lane_task, j);
    for (size_t i = 0; i < j->used; i++) {
        isovae_status status = j->slots[i].err.status;
        if (status == ISOVAE_OK || status == ISOVAE_ERR_DATA) continue;
        return iv_fail(err, status, "%s", j->slots[i].err.message); /* out of memory, say */
    }
    return ISOVAE_OK;
}

static isovae_status tell_progress(const job *j, size_t done, isovae_error *err)
{
    /* A wave is a long time: every one is told. */
    const iv_progress *progress = &j->options->progress;
    if (progress->call == NULL || iv_progress_rows(progress, "reading", done, 2 * j->list->n)) {
        return ISOVAE_OK;
    }
    return iv_fail(err, ISOVAE_ERR_CANCELLED, "reading was cancelled");
}

/* ---- the first time: sizes and colors ---- */

static const char *name_of(const job *j, size_t entry, iv_shown *room)
{
    const char *name = j->list->entries[entry].name;
    *room = iv_show(name, strlen(name));
    return room->text;
}

static isovae_status check_shape(job *j, const slot *s, size_t height, size_t width,
                                 isovae_error *err)
{
    const iv_data_options *options = j->options;
    iv_shown name, first;
    if (options->size != NULL) return ISOVAE_OK;
    if (options->want_height > 0) {
        if (height * options->want_width == width * options->want_height) return ISOVAE_OK;
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "%s: %zux%zu pixels are not of the shape of the model's %zux%zu; crop them "
                       "as in the training (--crop), or bring them to its size with --size",
                       name_of(j, s->entry, &name), height, width, options->want_height,
                       options->want_width);
    }
    if (j->n_good == 0) {
        if (height > IV_PICTURE_SIDE || width > IV_PICTURE_SIDE) {
            return iv_fail(err, ISOVAE_ERR_DATA,
                           "%s has %zux%zu pixels, above the side of %d; make them smaller with "
                           "--size",
                           name_of(j, s->entry, &name), height, width, IV_PICTURE_SIDE);
        }
        j->height = height;
        j->width = width;
        return ISOVAE_OK;
    }
    if (height == j->height && width == j->width) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_DATA,
                   "%s has %zux%zu pixels, %s %zux%zu; bring all to one size with --size, such as "
                   "--size 64 (and --crop center to keep their proportions)",
                   name_of(j, s->entry, &name), height, width, name_of(j, j->first_good, &first),
                   j->height, j->width);
}

static isovae_status look_at(job *j, const slot *s, isovae_error *err)
{
    iv_crop cut;
    if (s->err.status != ISOVAE_OK ||
        iv_crop_of(&j->crop, s->info.height, s->info.width, &cut, NULL) != ISOVAE_OK) {
        return ISOVAE_OK; /* the second time says why */
    }
    IV_TRY(check_shape(j, s, cut.height, cut.width, err));
    j->pixels += (uint64_t)s->info.height * s->info.width;
    if (j->pixels > most_pixels) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "the pictures have more than the %llu pixels that are decoded here",
                       (unsigned long long)most_pixels);
    }
    if (j->n_good == 0) j->first_good = s->entry;
    j->good[s->entry] = 1;
    j->n_good++;
    j->color = j->color || s->info.color;
    return ISOVAE_OK;
}

static isovae_status look(job *j, isovae_error *err)
{
    const iv_data_options *options = j->options;
    if (options->size != NULL) IV_TRY(iv_size_parse(options->size, &j->height, &j->width, err));
    if (options->size == NULL && options->want_height > 0) {
        j->height = options->want_height;
        j->width = options->want_width;
    }
    for (size_t next = 0; next < j->list->n;) {
        IV_TRY(tell_progress(j, next, err));
        IV_TRY(run_wave(j, &next, NULL, err));
        for (size_t i = 0; i < j->used; i++) IV_TRY(look_at(j, &j->slots[i], err));
    }
    bool model = options->want_height > 0 && options->want_channels > 0;
    j->channels = options->grey ? 1 : model ? options->want_channels : j->color ? 3 : 1;
    return ISOVAE_OK;
}

/* ---- the second time: pixels ---- */

static isovae_status skip(job *j, size_t entry, const char *reason, isovae_error *err)
{
    iv_shown name;
    if (j->options->strict) {
        return iv_fail(err, ISOVAE_ERR_DATA, "%s: %s (without --strict such files are left out)",
                       name_of(j, entry, &name), reason);
    }
    if (j->skipped++ < MAX_NAMED) {
        iv_text_printf(&j->skips, "%s%s (%s)", j->skipped > 1 ? ", " : "", name_of(j, entry, &name),
                       reason);
    }
    return ISOVAE_OK;
}

/* Why an entry that has no row has none. */
static isovae_status skip_unread(job *j, const slot *s, isovae_error *err)
{
    isovae_error why = s->err;
    iv_crop cut;
    if (why.status == ISOVAE_OK &&
        iv_crop_of(&j->crop, s->info.height, s->info.width, &cut, &why) == ISOVAE_OK) {
        return skip(j, s->entry, "changed while it was read", err);
    }
    return skip(j, s->entry, why.message, err);
}

/* The wave's good rows close ranks behind the *rows before them. */
static isovae_status keep_rows(job *j, iv_dataset *data, size_t *rows, isovae_error *err)
{
    for (size_t i = 0; i < j->used; i++) {
        const slot *s = &j->slots[i];
        if (s->out == NULL) {
            IV_TRY(skip_unread(j, s, err));
            continue;
        }
        if (s->err.status != ISOVAE_OK) {
            IV_TRY(skip(j, s->entry, s->err.message, err));
            continue;
        }
        unsigned char *place = data->bytes + *rows * data->cols;
        if (place != s->out) memmove(place, s->out, data->cols);
        data->ids[*rows] = (char *)(uintptr_t)j->list->entries[s->entry].name; /* until the end */
        ++*rows;
    }
    return ISOVAE_OK;
}

static isovae_status decode_all(job *j, iv_dataset *data, isovae_error *err)
{
    size_t rows = 0;
    for (size_t next = 0; next < j->list->n;) {
        size_t before = rows;
        IV_TRY(tell_progress(j, j->list->n + next, err));
        IV_TRY(run_wave(j, &next, data->bytes + rows * data->cols, err));
        IV_TRY(keep_rows(j, data, &rows, err));
        iv_dataset_use(data, IV_ROWS_PASSED, NULL, rows - before);
    }
    data->rows = rows;
    return ISOVAE_OK;
}

static isovae_status fail_all(job *j, isovae_error *err)
{
    IV_TRY(iv_text_check(&j->skips, err));
    return iv_fail(err, ISOVAE_ERR_DATA,
                   "it holds %zu file%s, none of which can be used as a picture: %s%s", j->list->n,
                   j->list->n == 1 ? "" : "s", j->skips.data != NULL ? j->skips.data : "",
                   j->skipped > MAX_NAMED ? ", ..." : "");
}

/* The names of the rows, copied into one piece: the list goes. */
static isovae_status own_ids(iv_dataset *data, isovae_error *err)
{
    size_t length = 0;
    for (size_t row = 0; row < data->rows; row++) length += strlen(data->ids[row]) + 1;
    char *text;
    IV_TRY(IV_NEW(text, length, "row ids", err));
    data->id_text = text;
    for (size_t row = 0; row < data->rows; row++) {
        size_t n = strlen(data->ids[row]) + 1;
        memcpy(text, data->ids[row], n);
        data->ids[row] = text;
        text += n;
    }
    return ISOVAE_OK;
}

static isovae_status note_skips(job *j, iv_text *note, isovae_error *err)
{
    if (j->skipped == 0) return ISOVAE_OK;
    IV_TRY(iv_text_check(&j->skips, err));
    iv_note_begin(note);
    iv_text_printf(note, "%zu of %zu files left out: %s", j->skipped, j->list->n, j->skips.data);
    if (j->skipped > MAX_NAMED) iv_text_printf(note, " and %zu more", j->skipped - MAX_NAMED);
    return ISOVAE_OK;
}

static isovae_status fill(job *j, iv_dataset *data, iv_text *note, isovae_error *err)
{
    IV_TRY(iv_build_names(data, NULL, NULL, err));
    data->height = j->height;
    data->width = j->width;
    data->channels = j->channels;
    IV_TRY(IV_NEW(data->ids, data->rows, "row ids", err));
    isovae_status status = decode_all(j, data, err);
    if (status == ISOVAE_OK && data->rows == 0) status = fail_all(j, err);
    if (status == ISOVAE_OK) status = own_ids(data, err);
    if (status != ISOVAE_OK) {
        iv_free(data->ids); /* they point into the list */
        data->ids = NULL;
        return status;
    }
    IV_TRY(note_skips(j, note, err));
    IV_TRY(iv_build_finish(data, note, err));
    return iv_cache_seal(data, err);
}

static isovae_status check_options(const iv_data_options *options, isovae_error *err)
{
    if (options->columns != NULL || options->drop != NULL || options->id != NULL ||
        options->split_by != NULL || options->truth_density != NULL ||
        options->categorical != NULL) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "pictures have no columns; --columns, --drop, --id, --split-by, "
                       "--truth-density and --categorical do not apply");
    }
    return ISOVAE_OK;
}

static isovae_status check_cols(const job *j, size_t cols, isovae_error *err)
{
    const iv_data_options *options = j->options;
    if (options->n_want > 0 && options->want_named) {
        return iv_fail(err, ISOVAE_ERR_DATA, "the model takes named columns, not pictures");
    }
    if (options->n_want > 0 && options->n_want != cols) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "pictures of %zux%zux%zu are %zu features, the model takes %zu; use --size, "
                       "--crop and --grey as in its training",
                       j->height, j->width, j->channels, cols, options->n_want);
    }
    return ISOVAE_OK;
}

static isovae_status read_all(job *j, uint64_t key, iv_dataset **out, isovae_error *err)
{
    IV_TRY(job_new(j, err));
    IV_TRY(look(j, err));
    if (j->n_good == 0) { /* say why, by the way of the second time */
        for (size_t next = 0; next < j->list->n;) {
            IV_TRY(run_wave(j, &next, NULL, err));
            for (size_t i = 0; i < j->used; i++) IV_TRY(skip_unread(j, &j->slots[i], err));
        }
        return fail_all(j, err);
    }
    size_t cols = j->height * j->width * j->channels, bytes;
    IV_TRY(check_cols(j, cols, err));
    if (!iv_size_mul(j->n_good, cols, &bytes) ||
        (j->options->max_bytes > 0 && bytes > j->options->max_bytes)) {
        return iv_fail(err, ISOVAE_ERR_DATA, "%zu pictures of %zu bytes are above the limit",
                       j->n_good, cols);
    }
    iv_dataset *data;
    iv_text note = {0};
    IV_TRY(iv_build_new_cached(j->n_good, cols, true, j->options, key, &data, err));
    isovae_status status = fill(j, data, &note, err);
    iv_text_free(&note);
    if (status != ISOVAE_OK) {
        iv_dataset_free(data);
        return status;
    }
    *out = data;
    return ISOVAE_OK;
}

isovae_status iv_read_pictures(const iv_picture_list *list, const iv_data_options *options,
                               uint64_t key, iv_dataset **out, isovae_error *err)
{
    job j = {.list = list, .options = options};
    *out = NULL;
    if (list->n == 0) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "there is no file in it; JPEG or PNG pictures are "
                       "looked for, folders in it are not");
    }
    IV_TRY(check_options(options, err));
    IV_TRY(iv_crop_parse(options->crop != NULL ? options->crop : "none", &j.crop, err));
    isovae_status status = read_all(&j, key, out, err);
    clear_wave(&j);
    job_free(&j);
    return status;
}
