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

/* Length of the step between two points in data units, in the metric; for small steps that of y
 * (docs/theory.md section 2: G). For bce the mean of the two divergences. */
static double step_length(const iv_model *model, const double *x, const double *next)
{
    if (model->metric.loss == IV_LOSS_SSIM) return iv_ssim_length(model, x, next);
    const iv_scaling *s = &model->scaling;
    double sum = 0, square = 0;
    for (size_t i = 0; i < model->d; i++) {
        double a = (x[i] - s->shift[i]) / s->scale[i], b = (next[i] - s->shift[i]) / s->scale[i];
        if (model->metric.loss == IV_LOSS_BCE) {
            const double least = 1e-7;
            a = fmin(fmax(a, least), 1 - least);
            b = fmin(fmax(b, least), 1 - least);
            sum += 0.5 * (a - b) * log(a * (1 - b) / (b * (1 - a)));
        } else {
            sum += s->weight[i] * (a - b) * (a - b);
            square += 0.5 * (a * a + b * b);
        }
    }
    if (model->metric.loss == IV_LOSS_WEIGHTED) {
        double factor = model->metric.c0 + model->metric.c1 * square;
        sum *= model->metric.inverse ? 1 / factor : factor;
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

/* ---- as a picture ---- */

/* Data units to 0..255: bytes as they are, values of [0, 1] by 255, others by their range. */
static void tone(const iv_model *model, const double *x, size_t n, double *lo, double *hi)
{
    *lo = 0;
    *hi = model->scaling.kind == IV_SCALE_UNIT ? model->scaling.scale[0] : 1;
    if (model->scaling.kind == IV_SCALE_UNIT) return;
    for (size_t i = 0; i < n; i++) {
        if (x[i] < *lo) *lo = x[i];
        if (x[i] > *hi) *hi = x[i];
    }
}

/* One row of `points` images per latent. One channel or three are drawn. */
static isovae_status write_picture(cli *c, const iv_model *model, size_t latents, size_t points,
                                   const double *x, isovae_error *err)
{
    size_t channels = model->channels >= 3 ? 3 : 1, height, width, size, length = 0;
    unsigned char *pixels = NULL, *bytes = NULL;
    double lo, hi;
    if (!iv_size_mul(latents, model->height, &height) ||
        !iv_size_mul(points, model->width, &width) || !iv_size_mul(height, width, &size) ||
        !iv_size_mul(size, channels, &size)) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "--points: %zu are too many", points);
    }
    IV_TRY(IV_NEW(pixels, size, "a sheet of images", err));
    tone(model, x, latents * points * model->d, &lo, &hi);
    for (size_t i = 0; i < size; i++) {
        size_t channel = i % channels, column = i / channels % width, row = i / channels / width;
        size_t image = row / model->height * points + column / model->width;
        size_t pixel = (row % model->height * model->width + column % model->width);
        double value = x[image * model->d + pixel * model->channels + channel];
        value = 255 * (value - lo) / (hi - lo);
        pixels[i] = (unsigned char)(fmin(fmax(value, 0), 255) + 0.5);
    }
    isovae_status status = iv_png_encode(pixels, height, width, channels, &bytes, &length, err);
    if (status == ISOVAE_OK) {
        status = iv_file_write(c->opt[OPT_OUTPUT].text, bytes, length, err);
    }
    iv_free(pixels);
    iv_free(bytes);
    return status;
}

/* ---- the work ---- */

static isovae_status traverse(cli *c, const iv_model *model, size_t latents, size_t points,
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
    if (status == ISOVAE_OK && format == CLI_FORMAT_PNG) {
        status = write_picture(c, model, latents, points, x, err);
    } else if (status == ISOVAE_OK) {
        status = cli_sheet_new(&sheet, "isovae-traversal/1", rows, FEATURES + model->d, err);
        if (status == ISOVAE_OK) status = fill_sheet(&sheet, model, points, z, y, x, err);
        if (status == ISOVAE_OK) status = cli_sheet_write(c, &sheet, format, err);
    }
    cli_sheet_free(&sheet);
    iv_free(base);
    iv_free(z);
    iv_free(y);
    iv_free(x);
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
    if (status == ISOVAE_OK && format == CLI_FORMAT_PNG && model->height == 0) {
        status =
            iv_fail(err, ISOVAE_ERR_ARGUMENT,
                    "-o: %s was not trained on images; use .csv, .json or .npy", c->argument[0]);
    }
    if (status == ISOVAE_OK) {
        size_t latents = count_latents(c, model);
        if (latents == 0) {
            status =
                iv_fail(err, ISOVAE_ERR_DATA,
                        "%s: no latent is active, so there is nothing to traverse; --latents N "
                        "shows some all the same",
                        c->argument[0]);
        } else {
            status = traverse(c, model, latents, points, format, err);
        }
    }
    iv_model_free(model);
    return status;
}
