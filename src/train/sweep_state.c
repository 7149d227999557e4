/* What a sweep has finished: a model file with the weights that it goes on from, and the figures of
 * each beta beside them. */
#include "base/file.h"
#include "base/memory.h"
#include "model/file.h"
#include "train/sweep.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

static const char kind[] = "isovae-sweep-state/2";
static const size_t largest = (size_t)1 << 34;

/* Where the i-th beta lies: seeds one after the other, each from small to large beta. */
static size_t place(size_t i, size_t points)
{
    return i / points * points + (points - 1 - i % points);
}

/* Points with figures after so many trainings, two a point. */
static size_t points_of(size_t done)
{
    return done / 2 + done % 2;
}

/* The numbers of a point in their order in the file. */
static size_t numbers_of(iv_sweep_point *p, size_t n, size_t i, double **out)
{
    double *fixed[] = {&p->beta,
                       &p->train.distortion,
                       &p->train.transform,
                       &p->train.rate,
                       &p->train.error,
                       &p->train.psnr,
                       &p->held.distortion,
                       &p->held.transform,
                       &p->held.rate,
                       &p->held.error,
                       &p->held.psnr,
                       &p->active,
                       &p->coding_predicted,
                       &p->train.arrived.distortion,
                       &p->train.arrived.rate,
                       &p->held.arrived.distortion,
                       &p->held.arrived.rate};
    size_t count = sizeof fixed / sizeof(double *);
    if (i < count)
        *out = fixed[i];
    else if (i < count + n)
        *out = p->kl + (i - count);
    else
        *out = p->importance + (i - count - n);
    return count + 2 * n;
}

/* As one text: JSON has no NaN, and 17 digits keep a double exactly. */
static json_t *point_text(iv_sweep_point *p, size_t n)
{
    iv_text text = {0};
    double *value;
    size_t count = numbers_of(p, n, 0, &value);
    for (size_t i = 0; i < count; i++) {
        char number[40];
        numbers_of(p, n, i, &value);
        iv_format_double(number, sizeof number, *value, 17);
        if (i) iv_text_puts(&text, " ");
        iv_text_puts(&text, number);
    }
    json_t *out = text.failed ? NULL : json_string(text.data);
    iv_text_free(&text);
    return out;
}

static bool read_point(const char *text, iv_sweep_point *p, size_t n)
{
    double *value;
    size_t count = numbers_of(p, n, 0, &value);
    for (size_t i = 0; i < count; i++) {
        size_t length = strcspn(text, " ");
        numbers_of(p, n, i, &value);
        if (!iv_parse_double(text, length, value)) return false;
        text += length;
        if (*text == ' ') text++;
    }
    return *text == '\0' && p->beta > 0.0 && isfinite(p->beta);
}

isovae_status iv_sweep_save(const iv_sweep *sweep, const iv_model *model, const char *settings,
                            const iv_sweep_place *at, const char *path, isovae_error *err)
{
    unsigned char *bytes = NULL;
    size_t length = 0;
    char number[40];
    iv_format_double(number, sizeof number, at->before, 17);
    json_t *state = json_object(), *rows = json_array();
    bool good = state && rows;
    for (size_t i = 0; good && i < points_of(at->done); i++)
        good = json_array_append_new(
                   rows, point_text(&sweep->runs[place(i, sweep->points)], sweep->n)) == 0;
    good = good && json_object_set_new(state, "format", json_string(kind)) == 0 &&
           json_object_set_new(state, "settings", json_string(settings)) == 0 &&
           json_object_set_new(state, "before", json_string(number)) == 0 &&
           json_object_set_new(state, "attempt", json_integer((json_int_t)at->attempt)) == 0 &&
           json_object_set_new(state, "done", json_integer((json_int_t)at->done)) == 0 &&
           json_object_set_new(state, "points", json_integer((json_int_t)sweep->points)) == 0;
    if (good)
        good = json_object_set_new(state, "rows", rows) == 0;
    else
        json_decref(rows);
    isovae_status status = ISOVAE_OK;
    if (!good) status = iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for the sweep's state");
    if (!status) status = iv_model_write(model, NULL, 0, state, &bytes, &length, err);
    if (!status) status = iv_file_write(path, bytes, length, err);
    json_decref(state);
    iv_free(bytes);
    return status;
}

/* Names the first line in which the settings differ. */
static isovae_status same_settings(const char *mine, const char *saved, const char *path,
                                   isovae_error *err)
{
    while (*mine != '\0' || *saved != '\0') {
        size_t a = strcspn(mine, "\n"), b = strcspn(saved, "\n");
        if (a != b || strncmp(mine, saved, a) != 0) {
            size_t name = strcspn(mine, " \n");
            return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                           "--resume %s: was made with another %.*s; resume with the options (and "
                           "the data) of the first run, or delete it to begin anew",
                           path, (int)(name < 40 ? name : 40), *mine ? mine : "set of options");
        }
        mine += a + (mine[a] == '\n');
        saved += b + (saved[b] == '\n');
    }
    return ISOVAE_OK;
}

static isovae_status take(iv_sweep *sweep, iv_model *model, const iv_model *saved,
                          const json_t *state, const char *settings, size_t most,
                          iv_sweep_place *at, const char *path, isovae_error *err)
{
    const char *format = json_string_value(json_object_get(state, "format"));
    const char *theirs = json_string_value(json_object_get(state, "settings"));
    const json_t *rows = json_object_get(state, "rows");
    json_int_t points = json_integer_value(json_object_get(state, "points"));
    if (!format || strcmp(format, kind) != 0 || !theirs)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--resume %s: is not the state of a sweep; name the .sweep file that an "
                       "interrupted one left",
                       path);
    IV_TRY(same_settings(settings, theirs, path, err));
    json_int_t done = json_integer_value(json_object_get(state, "done"));
    json_int_t attempt = json_integer_value(json_object_get(state, "attempt"));
    const char *text = json_string_value(json_object_get(state, "before"));
    double before = NAN;
    size_t count = json_array_size(rows);
    bool good = text && iv_parse_double(text, strlen(text), &before) &&
                points >= (json_int_t)sweep->points && (uint64_t)points <= most &&
                json_is_array(rows) && done >= 0 && attempt >= 0 && attempt <= 1000 &&
                count <= (size_t)points * sweep->seeds && done / 2 <= (json_int_t)count &&
                count == points_of((size_t)done) &&
                saved->param_elements == model->param_elements && saved->dtype == model->dtype &&
                iv_graph_same(saved->encoder, model->encoder) &&
                iv_graph_same(saved->decoder, model->decoder);
    for (size_t i = 0; good && i < count; i++) {
        text = json_string_value(json_array_get(rows, i));
        good = text && read_point(text, &sweep->runs[place(i, (size_t)points)], sweep->n);
    }
    if (!good)
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "--resume %s: its contents do not fit together; delete it to begin anew",
                       path);
    memcpy(model->params, saved->params,
           model->param_elements * (model->dtype == IV_F64 ? sizeof(double) : sizeof(float)));
    sweep->points = (size_t)points;
    *at = (iv_sweep_place){(size_t)done, (size_t)attempt, before};
    return ISOVAE_OK;
}

isovae_status iv_sweep_restore(iv_sweep *sweep, iv_model *model, const char *settings, size_t most,
                               iv_sweep_place *at, const char *path, isovae_error *err)
{
    struct stat about;
    unsigned char *bytes = NULL;
    size_t length = 0;
    iv_model *saved = NULL;
    json_t *state = NULL;
    *at = (iv_sweep_place){.before = NAN};
    if (stat(path, &about) != 0 && errno == ENOENT) return ISOVAE_OK;
    isovae_status status = iv_file_read(path, largest, &bytes, &length, err);
    if (!status) status = iv_model_read(bytes, length, path, &saved, &state, err);
    if (!status) status = take(sweep, model, saved, state, settings, most, at, path, err);
    json_decref(state);
    iv_model_free(saved);
    iv_free(bytes);
    return status;
}
