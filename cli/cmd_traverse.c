/* isovae traverse MODEL [DATA]: equal steps of the isometric coordinate y along each latent. */
#include "picture.h"

#include "base/file.h"
#include "theory/score.h"
#include "theory/walk.h"

#include <math.h>
#include <string.h>

enum { LATENT, POINT, Y, MU, DISTANCE, FEATURES };
enum { MOST_LATENTS = 65536, NAME_ROOM = 96, HEAD_ROOM = 24 };

/* What is asked for, and what comes of it: latents x points rows. */
typedef struct walk {
    const iv_model *model;
    size_t *latents, n_latents, points;
    double range;
    bool in_y;    /* the range is in y, not in standard deviations */
    double *base; /* n: mu where the walks cross */
    double *step; /* n_latents: length of a step in y */
    double *z, *y, *x, *distance;
} walk;

/* ---- options ---- */

static bool read_number(const char **text, size_t *out)
{
    size_t value = 0, digits = 0;
    for (; **text >= '0' && **text <= '9' && digits < 9; ++*text, digits++)
        value = 10 * value + (size_t)(**text - '0');
    *out = value;
    return digits > 0;
}

/* "0-9,12": counts and, where `out` is not NULL, stores. */
static bool read_list(const char *text, size_t *out, size_t *n)
{
    for (*n = 0;;) {
        size_t first, last;
        if (!read_number(&text, &first)) return false;
        last = first;
        if (*text == '-') {
            text++;
            if (!read_number(&text, &last) || last < first) return false;
        }
        if (last - first >= MOST_LATENTS - *n) return false;
        for (size_t j = first; j <= last; j++, ++*n) {
            if (out != NULL) out[*n] = j;
        }
        if (*text == '\0') return true;
        if (*text++ != ',') return false;
    }
}

/* Models are sorted by importance: latent 0 is the strongest. */
static isovae_status take_latents(const cli *c, walk *w, isovae_error *err)
{
    const cli_value *given = &c->opt[OPT_LATENTS];
    const iv_model *m = w->model;
    if (given->set) {
        if (!read_list(given->text, NULL, &w->n_latents)) {
            return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                           "--latents: '%s' is not a list of latents such as 0-9 or 0,3,17",
                           given->text);
        }
        IV_TRY(IV_NEW(w->latents, w->n_latents, "a list of latents", err));
        (void)read_list(given->text, w->latents, &w->n_latents);
        for (size_t i = 0; i < w->n_latents; i++) {
            if (w->latents[i] < m->n) continue;
            return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                           "--latents: there is no latent %zu; %s has %zu, counted from 0",
                           w->latents[i], c->argument[0], m->n);
        }
        return ISOVAE_OK;
    }
    IV_TRY(IV_NEW(w->latents, m->n, "a list of latents", err));
    for (size_t j = 0; j < m->n && w->n_latents < 10; j++) {
        if (m->active[j]) w->latents[w->n_latents++] = j;
    }
    if (w->n_latents > 0) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_DATA,
                   "%s: no latent is active, so there is nothing to traverse; --latents 0-4 shows "
                   "some all the same",
                   c->argument[0]);
}

/* "3", "3sd" or "0.5y" */
static isovae_status take_range(const cli *c, walk *w, isovae_error *err)
{
    const cli_value *given = &c->opt[OPT_RANGE];
    w->range = 3;
    if (!given->set) return ISOVAE_OK;
    size_t length = strlen(given->text);
    if (length > 1 && given->text[length - 1] == 'y') {
        w->in_y = true;
        length--;
    } else if (length > 2 && strcmp(given->text + length - 2, "sd") == 0) {
        length -= 2;
    }
    if (iv_parse_double(given->text, length, &w->range) && isfinite(w->range) && w->range > 0)
        return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "--range: '%s' is not a number above 0, alone or with sd or y behind it",
                   given->text);
}

/* The point where the walks cross: 0, or the code of a row of the data. */
static isovae_status take_base(cli *c, walk *w, isovae_error *err)
{
    const iv_model *model = w->model;
    IV_TRY(IV_NEW(w->base, model->n, "a code", err));
    if (c->n_arguments < 2) {
        if (c->opt[OPT_ROW].set) {
            return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--row needs DATA to take the row from");
        }
        return ISOVAE_OK;
    }
    iv_dataset *data = NULL;
    size_t row = c->opt[OPT_ROW].set ? (size_t)c->opt[OPT_ROW].count - 1 : 0;
    isovae_status status = cli_open_data(c, c->argument[1], model, &data, err);
    if (status == ISOVAE_OK && row >= data->rows) {
        status = iv_fail(err, ISOVAE_ERR_ARGUMENT, "--row: %zu, but %s has %zu rows", row + 1,
                         c->argument[1], data->rows);
    }
    if (status == ISOVAE_OK && data->status != NULL && data->status[row] != IV_ROW_OK) {
        status = iv_fail(err, ISOVAE_ERR_DATA, "--row: row %zu of %s has a missing value", row + 1,
                         c->argument[1]);
    }
    if (status == ISOVAE_OK) {
        status =
            iv_encode_rows(model, data, &row, 1, c->pool, cli_isa(c), w->base, NULL, NULL, err);
    }
    iv_dataset_free(data);
    return status;
}

/* ---- the walk ---- */

static void lay_points(walk *w)
{
    const iv_model *m = w->model;
    for (size_t i = 0; i < w->n_latents; i++) {
        size_t j = w->latents[i];
        double reach = w->in_y ? w->range : w->range * iv_walk_sd(m, j);
        double centre = iv_walk_y(m, j, w->base[j]);
        w->step[i] = w->points > 1 ? 2 * reach / (double)(w->points - 1) : 0;
        for (size_t p = 0; p < w->points; p++) {
            size_t at = i * w->points + p;
            memcpy(w->z + at * m->n, w->base, m->n * sizeof *w->base);
            w->y[at] = centre + (w->points > 1 ? w->step[i] * (double)p - reach : 0);
            w->z[at * m->n + j] = iv_walk_mu(m, j, w->y[at]);
        }
    }
}

static isovae_status make_walk(cli *c, walk *w, isovae_error *err)
{
    const iv_model *m = w->model;
    size_t rows, cells, out_cells;
    if (!iv_size_mul(w->n_latents, w->points, &rows) || !iv_size_mul(rows, m->n, &cells) ||
        !iv_size_mul(rows, m->d, &out_cells)) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "--steps: %zu are too many", w->points);
    }
    IV_TRY(IV_NEW(w->step, w->n_latents, "steps", err));
    IV_TRY(IV_NEW(w->z, cells, "codes", err));
    IV_TRY(IV_NEW(w->y, rows, "codes", err));
    IV_TRY(IV_NEW(w->distance, rows, "distances", err));
    IV_TRY(IV_NEW(w->x, out_cells, "decoded rows", err));
    lay_points(w);
    IV_TRY(iv_decode_rows(m, w->z, rows, c->pool, cli_isa(c), w->x, err));
    for (size_t i = 0; i < w->n_latents; i++) {
        IV_TRY(iv_step_lengths(m, w->x + i * w->points * m->d, w->points,
                               w->distance + i * w->points, err));
    }
    return ISOVAE_OK;
}

static void free_walk(walk *w)
{
    iv_free(w->latents);
    iv_free(w->base);
    iv_free(w->step);
    iv_free(w->z);
    iv_free(w->y);
    iv_free(w->x);
    iv_free(w->distance);
}

/* ---- as numbers ---- */

static isovae_status fill_sheet(cli_sheet *sheet, const walk *w, isovae_error *err)
{
    static const char *const names[] = {"latent", "point", "y", "mu", "distance"};
    const iv_model *m = w->model;
    for (size_t i = 0; i < sheet->n_columns; i++) {
        IV_TRY(cli_sheet_numbers(sheet, i, i <= POINT, err, "%s",
                                 i < FEATURES ? names[i] : m->names[i - FEATURES]));
    }
    for (size_t at = 0; at < sheet->rows; at++) {
        size_t j = w->latents[at / w->points];
        sheet->columns[LATENT].values[at] = (double)j;
        sheet->columns[POINT].values[at] = (double)(at % w->points);
        sheet->columns[Y].values[at] = w->y[at];
        sheet->columns[MU].values[at] = w->z[at * m->n + j];
        sheet->columns[DISTANCE].values[at] = w->distance[at];
        for (size_t i = 0; i < m->d; i++)
            sheet->columns[FEATURES + i].values[at] = w->x[at * m->d + i];
    }
    return ISOVAE_OK;
}

static isovae_status write_numbers(cli *c, const walk *w, cli_format format, isovae_error *err)
{
    cli_sheet sheet = {0};
    isovae_status status = cli_sheet_new(&sheet, "isovae-traversal/1", w->n_latents * w->points,
                                         FEATURES + w->model->d, err);
    if (status == ISOVAE_OK) status = fill_sheet(&sheet, w, err);
    if (status == ISOVAE_OK) status = cli_sheet_write(c, &sheet, format, err);
    cli_sheet_free(&sheet);
    return status;
}

/* ---- as a picture ---- */

/* The names of rows and columns: "latent 0 / var 12.3 / dy 0.41", "-2 sd". */
static void label(const walk *w, char (*names)[NAME_ROOM], char (*heads)[HEAD_ROOM])
{
    const iv_model *m = w->model;
    for (size_t i = 0; i < w->n_latents; i++) {
        size_t j = w->latents[i];
        if (m->active[j]) {
            snprintf(names[i], NAME_ROOM, "latent %zu\nvar %.3g\ndy %.3g", j, m->variance_y[j],
                     w->step[i]);
        } else {
            snprintf(names[i], NAME_ROOM, "latent %zu\ncollapsed\ndy %.3g", j, w->step[i]);
        }
    }
    for (size_t p = 0; p < w->points; p++) {
        double share = w->points > 1 ? 2.0 * (double)p / (double)(w->points - 1) - 1 : 0;
        snprintf(heads[p], HEAD_ROOM, "%s%.3g%s", share > 0 ? "+" : "", share * w->range,
                 w->in_y ? "y" : "sd");
    }
}

static isovae_status draw(const walk *w, char (*names)[NAME_ROOM], char (*heads)[HEAD_ROOM],
                          const char **pointers, iv_picture *out, isovae_error *err)
{
    const iv_model *m = w->model;
    iv_sheet sheet = {.rows = w->n_latents,
                      .columns = w->points,
                      .height = m->height,
                      .width = m->width,
                      .channels = m->channels,
                      .images = w->x,
                      .title = "below: measured length of each step (dy where isometric)",
                      .names = pointers,
                      .heads = pointers + w->n_latents,
                      .between = w->distance};
    label(w, names, heads);
    for (size_t i = 0; i < w->n_latents; i++) pointers[i] = names[i];
    for (size_t p = 0; p < w->points; p++) pointers[w->n_latents + p] = heads[p];
    cli_tone(m, w->x, w->n_latents * w->points * m->d, &sheet.lo, &sheet.hi);
    return iv_sheet_draw(&sheet, out, err);
}

static isovae_status write_picture(cli *c, const walk *w, isovae_error *err)
{
    char(*names)[NAME_ROOM] = NULL, (*heads)[HEAD_ROOM] = NULL;
    const char **pointers = NULL;
    iv_picture picture = {0};
    isovae_status status = IV_NEW(names, w->n_latents, "labels", err);
    if (status == ISOVAE_OK) status = IV_NEW(heads, w->points, "labels", err);
    if (status == ISOVAE_OK) status = IV_NEW(pointers, w->n_latents + w->points, "labels", err);
    if (status == ISOVAE_OK) status = draw(w, names, heads, pointers, &picture, err);
    if (status == ISOVAE_OK) status = cli_picture_write(c, &picture, err);
    iv_free(names);
    iv_free(heads);
    iv_free(pointers);
    iv_free(picture.pixels);
    return status;
}

/* ---- the work ---- */

static isovae_status traverse(cli *c, const iv_model *model, cli_format format, isovae_error *err)
{
    walk w = {.model = model,
              .points = c->opt[OPT_STEPS].set ? (size_t)c->opt[OPT_STEPS].count : 7};
    isovae_status status = take_latents(c, &w, err);
    if (status == ISOVAE_OK) status = take_range(c, &w, err);
    if (status == ISOVAE_OK) status = take_base(c, &w, err);
    if (status == ISOVAE_OK) status = make_walk(c, &w, err);
    if (status == ISOVAE_OK && format == CLI_FORMAT_PNG) {
        status = write_picture(c, &w, err);
    } else if (status == ISOVAE_OK) {
        status = write_numbers(c, &w, format, err);
    }
    free_walk(&w);
    return status;
}

isovae_status cmd_traverse(cli *c, isovae_error *err)
{
    iv_model *model = NULL;
    const iv_model *member = NULL;
    cli_format format;
    IV_TRY(cli_output_format(c, true, &format, err));
    IV_TRY(cli_pool(c, err));
    isovae_status status = cli_open_model(c, c->argument[0], &model, err);
    if (status == ISOVAE_OK &&
        (model->splines == NULL || model->variance_y == NULL || model->active == NULL)) {
        status = iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                         "%s: the model holds no isometric coordinates", c->argument[0]);
    }
    if (status == ISOVAE_OK && format == CLI_FORMAT_PNG && model->height == 0) {
        status =
            iv_fail(err, ISOVAE_ERR_ARGUMENT,
                    "-o: %s was not trained on images; use .csv, .json or .npy", c->argument[0]);
    }
    if (status == ISOVAE_OK) status = cli_member(c, model, &member, err);
    if (status == ISOVAE_OK) status = traverse(c, member, format, err);
    iv_model_free(model);
    return status;
}
