/* isovae encode MODEL DATA */
#include "cli.h"

#include "data/split.h"
#include "theory/score.h"

#include <math.h>
#include <string.h>

/* Columns mu (or y) and, on request, sigma; rows without values stay NaN. */
static isovae_status fill(const cli *c, cli_sheet *sheet, const iv_dataset *data, size_t n,
                          const size_t *rows, size_t n_rows, const double *code,
                          const double *sigma, isovae_error *err)
{
    const char *name = c->opt[OPT_ISOMETRIC].set ? "y" : "mu";
    IV_TRY(cli_sheet_ids(sheet, data, err));
    for (size_t i = 1; i < sheet->n_columns; i++) {
        bool is_sigma = i > n;
        size_t j = is_sigma ? i - 1 - n : i - 1;
        const double *from = is_sigma ? sigma : code;
        IV_TRY(cli_sheet_numbers(sheet, i, false, err, "%s%zu", is_sigma ? "sigma" : name, j));
        double *values = sheet->columns[i].values;
        for (size_t r = 0; r < sheet->rows; r++) values[r] = NAN;
        for (size_t k = 0; from != NULL && k < n_rows; k++) values[rows[k]] = from[k * n + j];
    }
    return ISOVAE_OK;
}

static isovae_status encode(cli *c, const iv_model *model, const iv_dataset *data,
                            cli_format format, isovae_error *err)
{
    size_t *rows = NULL, n_rows = 0, cells = 0;
    double *code = NULL, *sigma = NULL;
    bool isometric = c->opt[OPT_ISOMETRIC].set, with_sigma = c->opt[OPT_SIGMA].set;
    cli_sheet sheet = {0};
    isovae_status status = iv_good_rows(data, &rows, &n_rows, err);
    if (status == ISOVAE_OK && !iv_size_mul(n_rows, model->n, &cells)) {
        status = iv_fail(err, ISOVAE_ERR_MEMORY, "%zu rows are too many", n_rows);
    }
    if (status == ISOVAE_OK) status = IV_NEW(code, cells, "codes", err);
    if (status == ISOVAE_OK && with_sigma) status = IV_NEW(sigma, cells, "codes", err);
    if (status == ISOVAE_OK) {
        status = iv_encode_rows(model, data, rows, n_rows, c->pool, cli_isa(c),
                                isometric ? NULL : code, sigma, isometric ? code : NULL, err);
    }
    if (status == ISOVAE_OK) {
        status = cli_sheet_new(&sheet, "isovae-codes/1", data->rows,
                               1 + model->n * (with_sigma ? 2 : 1), err);
    }
    if (status == ISOVAE_OK) {
        status = fill(c, &sheet, data, model->n, rows, n_rows, code, sigma, err);
    }
    if (status == ISOVAE_OK) status = cli_sheet_write(c, &sheet, format, err);
    cli_sheet_free(&sheet);
    iv_free(rows);
    iv_free(code);
    iv_free(sigma);
    return status;
}

isovae_status cmd_encode(cli *c, isovae_error *err)
{
    iv_model *model = NULL;
    const iv_model *member = NULL;
    iv_dataset *data = NULL;
    cli_format format;
    IV_TRY(cli_output_format(c, false, &format, err));
    IV_TRY(cli_pool(c, err));
    isovae_status status = cli_open_model(c, c->argument[0], &model, err);
    if (status == ISOVAE_OK) status = cli_open_data(c, c->argument[1], model, &data, err);
    if (status == ISOVAE_OK) status = cli_member(c, model, &member, err);
    if (status == ISOVAE_OK) status = encode(c, member, data, format, err);
    iv_dataset_free(data);
    iv_model_free(model);
    return status;
}
