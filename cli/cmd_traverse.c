/* isovae traverse MODEL [DATA]: equal steps of the isometric coordinate y along each latent. */
#include "cli.h"

#include "base/file.h"
#include "report/report.h"
#include "theory/score.h"

#include <math.h>
#include <string.h>

enum { LATENT, POINT, Y, MU, DISTANCE, FEATURES };
static const double reach = 3; /* standard deviations of y to either side */

/* How many latents: --latents, else the active ones, at most 10. Own models are sorted, so the
 * strongest come first. */
static size_t count_latents(const cli *c, const iv_model *model)
{
    size_t active = 0;
    if (c->opt[OPT_LATENTS].set) {
        return c->opt[OPT_LATENTS].count < model->n ? (size_t)c->opt[OPT_LATENTS].count : model->n;
    }
    for (size_t j = 0; j < model->n; j++) active += model->active[j];
    return active < 10 ? active : 10;
}

/* Length of the step from x to x_next in the metric's units. */
static double step_length(const iv_model *model, const double *x, const double *next)
{
    const iv_scaling *s = &model->scaling;
    double sum = 0;
    for (size_t i = 0; i < model->d; i++) {
        double difference = (next[i] - x[i]) / s->scale[i];
        sum += s->weight[i] * difference * difference;
    }
    return sqrt(sum);
}

/* The point from which the traversals start: 0, or the codes of a row of the data. */
static isovae_status start_point(cli *c, const iv_model *model, double *base, isovae_error *err)
{
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
        status = iv_encode_rows(model, data, &row, 1, c->pool, cli_isa(c), base, NULL, NULL, err);
    }
    iv_dataset_free(data);
    return status;
}

/* Latent coordinates of all points: latents * points rows of n. */
static void lay_points(const iv_model *model, const double *base, size_t latents, size_t points,
                       double *z, double *y)
{
    for (size_t j = 0; j < latents; j++) {
        double sd = sqrt(fmax(model->variance_y[j] - model->beta / 2, 0));
        for (size_t p = 0; p < points; p++) {
            size_t at = j * points + p;
            double share = points > 1 ? 2.0 * (double)p / (double)(points - 1) - 1 : 0;
            memcpy(z + at * model->n, base, model->n * sizeof *base);
            y[at] = reach * sd * share;
            z[at * model->n + j] = iv_spline_mu(&model->splines[j], model->beta, y[at]);
        }
    }
}

static isovae_status fill_sheet(cli_sheet *sheet, const iv_model *model, size_t points,
                                const double *z, const double *y, const double *x,
                                isovae_error *err)
{
    static const char *const names[] = {"latent", "point", "y", "mu", "distance"};
    for (size_t i = 0; i < sheet->n_columns; i++) {
        IV_TRY(cli_sheet_numbers(sheet, i, i <= POINT, err, "%s",
                                 i < FEATURES ? names[i] : model->names[i - FEATURES]));
    }
    for (size_t at = 0; at < sheet->rows; at++) {
        size_t j = at / points, p = at % points;
        const double *here = x + at * model->d;
        sheet->columns[LATENT].values[at] = (double)j;
        sheet->columns[POINT].values[at] = (double)p;
        sheet->columns[Y].values[at] = y[at];
        sheet->columns[MU].values[at] = z[at * model->n + j];
        sheet->columns[DISTANCE].values[at] =
            p > 0 ? step_length(model, here - model->d, here) : NAN;
        for (size_t i = 0; i < model->d; i++) sheet->columns[FEATURES + i].values[at] = here[i];
    }
    return ISOVAE_OK;
}

static isovae_status traverse_table(cli *c, const iv_model *model, size_t latents, size_t points,
                                    cli_format format, isovae_error *err)
{
    size_t rows = 0, cells = 0, out_cells = 0;
    double *base = NULL, *z = NULL, *y = NULL, *x = NULL;
    cli_sheet sheet = {0};
    if (!iv_size_mul(latents, points, &rows) || !iv_size_mul(rows, model->n, &cells) ||
        !iv_size_mul(rows, model->d, &out_cells)) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "--points: %zu are too many", points);
    }
    isovae_status status = IV_NEW(base, model->n, "a code", err);
    if (status == ISOVAE_OK) status = IV_NEW(z, cells, "codes", err);
    if (status == ISOVAE_OK) status = IV_NEW(y, rows, "codes", err);
    if (status == ISOVAE_OK) status = IV_NEW(x, out_cells, "decoded rows", err);
    if (status == ISOVAE_OK) status = start_point(c, model, base, err);
    if (status == ISOVAE_OK) {
        lay_points(model, base, latents, points, z, y);
        status = iv_decode_rows(model, z, rows, c->pool, cli_isa(c), x, err);
    }
    if (status == ISOVAE_OK) {
        status = cli_sheet_new(&sheet, "isovae-traversal/1", rows, FEATURES + model->d, err);
    }
    if (status == ISOVAE_OK) status = fill_sheet(&sheet, model, points, z, y, x, err);
    if (status == ISOVAE_OK) status = cli_sheet_write(c, &sheet, format, err);
    cli_sheet_free(&sheet);
    iv_free(base);
    iv_free(z);
    iv_free(y);
    iv_free(x);
    return status;
}

static isovae_status traverse_images(cli *c, const iv_model *model, size_t latents, size_t points,
                                     isovae_error *err)
{
    unsigned char *pixels = NULL, *bytes = NULL;
    size_t height, width, channels, length;
    iv_report_context context;
    if (model->height == 0) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "-o: %s was not trained on images; use .csv, .json or .npy", c->argument[0]);
    }
    memset(&context, 0, sizeof context);
    context.model = model;
    context.pool = c->pool;
    IV_TRY(iv_traverse_sheet(&context, latents, points, &pixels, &height, &width, &channels, err));
    isovae_status status = iv_png_encode(pixels, height, width, channels, &bytes, &length, err);
    if (status == ISOVAE_OK) {
        status = iv_file_write(c->opt[OPT_OUTPUT].text, bytes, length, err);
    }
    iv_free(pixels);
    iv_free(bytes);
    return status;
}

isovae_status cmd_traverse(cli *c, isovae_error *err)
{
    iv_model *model = NULL;
    cli_format format;
    size_t points = c->opt[OPT_POINTS].set ? (size_t)c->opt[OPT_POINTS].count : 7;
    IV_TRY(cli_output_format(c, true, &format, err));
    IV_TRY(cli_pool(c, err));
    isovae_status status = cli_open_model(c, c->argument[0], &model, err);
    if (status == ISOVAE_OK &&
        (model->splines == NULL || model->variance_y == NULL || model->active == NULL)) {
        status = iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                         "%s: the model holds no isometric coordinates", c->argument[0]);
    }
    if (status == ISOVAE_OK) {
        size_t latents = count_latents(c, model);
        if (latents == 0) {
            cli_note(c, "note: no latent is active; nothing to traverse (--latents N shows some)");
        }
        status = format == CLI_FORMAT_PNG && latents > 0
                     ? traverse_images(c, model, latents, points, err)
                     : traverse_table(c, model, latents, points, format, err);
    }
    iv_model_free(model);
    return status;
}
