/* isovae decode MODEL CODES and isovae sample MODEL: latent coordinates to data. */
#include "picture.h"

#include "data/split.h"
#include "theory/sample.h"
#include "theory/score.h"

#include <math.h>
#include <string.h>

/* Rows of x (rows x d) as a table with the features' names; bad rows of `codes` keep NaN. */
static isovae_status write_rows(cli *c, const iv_model *model, const double *x, size_t n_rows,
                                const size_t *place, size_t rows, const char *kind,
                                cli_format format, isovae_error *err)
{
    cli_sheet sheet = {0};
    isovae_status status = cli_sheet_new(&sheet, kind, rows, model->d, err);
    for (size_t i = 0; i < model->d && status == ISOVAE_OK; i++) {
        status = cli_sheet_numbers(&sheet, i, false, err, "%s", model->names[i]);
        if (status != ISOVAE_OK) break;
        double *values = sheet.columns[i].values;
        for (size_t r = 0; r < rows; r++) values[r] = NAN;
        for (size_t k = 0; k < n_rows; k++) {
            values[place != NULL ? place[k] : k] = x[k * model->d + i];
        }
    }
    if (status == ISOVAE_OK) status = cli_sheet_write(c, &sheet, format, err);
    cli_sheet_free(&sheet);
    return status;
}

/* ---- decode ---- */

/* The codes are data like any other; their columns are those that encode writes. */
static isovae_status open_codes(cli *c, const iv_model *model, const char *spec, iv_dataset **codes,
                                isovae_error *err)
{
    iv_data_options options;
    char **names = NULL;
    IV_TRY(cli_data_options(c, NULL, &options, err));
    isovae_status status = IV_NEW(names, model->n, "names of the latents", err);
    for (size_t j = 0; j < model->n && status == ISOVAE_OK; j++) {
        char name[40];
        snprintf(name, sizeof name, "%s%zu", c->opt[OPT_ISOMETRIC].set ? "y" : "mu", j);
        status = iv_strdup(&names[j], name, err);
    }
    if (status == ISOVAE_OK) {
        options.want = (const char *const *)names;
        options.n_want = model->n;
        options.want_named = true;
        status = iv_dataset_open(spec, &options, codes, err);
    }
    for (size_t j = 0; names != NULL && j < model->n; j++) iv_free(names[j]);
    iv_free(names);
    if (status == ISOVAE_OK && (*codes)->cols != model->n) {
        status = iv_fail(err, ISOVAE_ERR_DATA, "%s: %zu columns for the %zu latents of the model",
                         spec, (*codes)->cols, model->n);
    }
    return status;
}

static void take_code(const iv_model *model, const iv_dataset *codes, size_t row, bool isometric,
                      float *room, double *z)
{
    iv_dataset_row(codes, row, room);
    for (size_t j = 0; j < model->n; j++) {
        z[j] = (double)room[j];
        if (isometric) z[j] = iv_spline_mu(&model->splines[j], model->beta, z[j]);
    }
}

static isovae_status decode(cli *c, const iv_model *model, const iv_dataset *codes,
                            cli_format format, isovae_error *err)
{
    bool isometric = c->opt[OPT_ISOMETRIC].set;
    size_t *rows = NULL, n = 0, cells = 0, out_cells = 0;
    double *z = NULL, *x = NULL;
    float *room = NULL;
    if (isometric && model->splines == NULL) {
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED, "%s: the model holds no isometric coordinates",
                       c->argument[0]);
    }
    isovae_status status = iv_good_rows(codes, &rows, &n, err);
    if (status == ISOVAE_OK &&
        !(iv_size_mul(n, model->n, &cells) && iv_size_mul(n, model->d, &out_cells))) {
        status = iv_fail(err, ISOVAE_ERR_MEMORY, "%zu rows are too many", n);
    }
    if (status == ISOVAE_OK) status = IV_NEW(z, cells, "codes", err);
    if (status == ISOVAE_OK) status = IV_NEW(x, out_cells, "decoded rows", err);
    if (status == ISOVAE_OK) status = IV_NEW(room, model->n, "a code", err);
    if (status == ISOVAE_OK) {
        for (size_t k = 0; k < n; k++) {
            take_code(model, codes, rows[k], isometric, room, z + k * model->n);
        }
        status = iv_decode_rows(model, z, n, c->pool, cli_isa(c), x, err);
    }
    if (status == ISOVAE_OK) {
        status = write_rows(c, model, x, n, rows, codes->rows, "isovae-rows/1", format, err);
    }
    iv_free(rows);
    iv_free(z);
    iv_free(x);
    iv_free(room);
    return status;
}

isovae_status cmd_decode(cli *c, isovae_error *err)
{
    iv_model *model = NULL;
    const iv_model *member = NULL;
    iv_dataset *codes = NULL;
    cli_format format;
    IV_TRY(cli_output_format(c, false, &format, err));
    IV_TRY(cli_pool(c, err));
    isovae_status status = cli_open_model(c, c->argument[0], &model, err);
    if (status == ISOVAE_OK) status = open_codes(c, model, c->argument[1], &codes, err);
    if (status == ISOVAE_OK) status = cli_member(c, model, &member, err);
    if (status == ISOVAE_OK) status = decode(c, member, codes, format, err);
    iv_dataset_free(codes);
    iv_model_free(model);
    return status;
}

/* ---- sample ---- */

enum { IMAGES_A_ROW = 10 };

/* Ten images a row, the last row filled up with white. */
static isovae_status write_images(cli *c, const iv_model *m, double *x, size_t rows,
                                  isovae_error *err)
{
    iv_sheet sheet = {.columns = rows < IMAGES_A_ROW ? rows : IMAGES_A_ROW,
                      .height = m->height,
                      .width = m->width,
                      .channels = m->channels};
    size_t cells;
    double *all = NULL;
    const char **names = NULL;
    iv_picture picture = {0};
    sheet.rows = (rows + sheet.columns - 1) / sheet.columns;
    if (!iv_size_mul(sheet.rows * sheet.columns, m->d, &cells)) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "-n: %zu images are too many", rows);
    }
    cli_tone(m, x, rows * m->d, &sheet.lo, &sheet.hi);
    isovae_status status = IV_NEW(all, cells, "a sheet of images", err);
    if (status == ISOVAE_OK) status = IV_NEW(names, sheet.rows, "a sheet of images", err);
    if (status == ISOVAE_OK) {
        for (size_t i = 0; i < cells; i++) all[i] = i < rows * m->d ? x[i] : sheet.hi;
        for (size_t i = 0; i < sheet.rows; i++) names[i] = "";
        sheet.images = all;
        sheet.names = names;
        status = iv_sheet_draw(&sheet, &picture, err);
    }
    if (status == ISOVAE_OK) status = cli_picture_write(c, &picture, err);
    iv_free(all);
    iv_free(names);
    iv_free(picture.pixels);
    return status;
}

static isovae_status sample(cli *c, const iv_model *model, size_t rows, cli_format format,
                            isovae_error *err)
{
    size_t out_cells = 0;
    double *x = NULL;
    if (!iv_size_mul(rows, model->d, &out_cells)) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "-n: %zu rows are too many", rows);
    }
    isovae_status status = IV_NEW(x, out_cells, "samples", err);
    if (status == ISOVAE_OK) {
        status = iv_sample_rows(model, cli_seed(c), rows, c->opt[OPT_NOISE].set, c->pool,
                                cli_isa(c), x, err);
    }
    if (status == ISOVAE_OK && format == CLI_FORMAT_PNG) {
        status = write_images(c, model, x, rows, err);
    } else if (status == ISOVAE_OK) {
        status = write_rows(c, model, x, rows, NULL, rows, "isovae-rows/1", format, err);
    }
    iv_free(x);
    return status;
}

isovae_status cmd_sample(cli *c, isovae_error *err)
{
    iv_model *model = NULL;
    const iv_model *member = NULL;
    cli_format format;
    size_t rows = c->opt[OPT_COUNT].set ? (size_t)c->opt[OPT_COUNT].count : 10;
    IV_TRY(cli_output_format(c, true, &format, err));
    IV_TRY(cli_pool(c, err));
    isovae_status status = cli_open_model(c, c->argument[0], &model, err);
    if (status == ISOVAE_OK && c->opt[OPT_NOISE].set) {
        status = iv_sample_noise_known(model, err);
        if (status != ISOVAE_OK) status = iv_fail_prefix(err, status, "--noise");
    }
    if (status == ISOVAE_OK && format == CLI_FORMAT_PNG && model->height == 0) {
        status =
            iv_fail(err, ISOVAE_ERR_ARGUMENT,
                    "-o: %s was not trained on images; use .csv, .json or .npy", c->argument[0]);
    }
    if (status == ISOVAE_OK) status = cli_member(c, model, &member, err);
    if (status == ISOVAE_OK) status = sample(c, member, rows, format, err);
    iv_model_free(model);
    return status;
}
