/* isovae score MODEL DATA */
#include "cli.h"

#include "data/split.h"
#include "theory/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What the numbers are; only sums of squared errors and learned noise have an absolute density
 * (docs/theory.md, E6). */
static const char *remark_of(const iv_model *model)
{
    return iv_loss_absolute(model->metric.loss)
               ? "log_density in nats, in data units: higher = more probable"
               : "log_density ranks only, it is no absolute density: higher = more probable";
}

enum { ID, LOG_DENSITY, RESIDUAL, LATENT, TAIL_PROB, FLAG, STATUS, WHY, N_COLUMNS };

static const char *status_text(const iv_dataset *data, size_t row, double log_density)
{
    unsigned char status = data->status != NULL ? data->status[row] : IV_ROW_OK;
    if (status == IV_ROW_MISSING) return "missing";
    if (status == IV_ROW_NOT_FINITE) return "not_finite";
    return isfinite(log_density) ? "ok" : "out_of_range";
}

/* Rows without a score keep NaN. */
static isovae_status fill_numbers(cli_sheet *sheet, const iv_dataset *data, const size_t *rows,
                                  size_t n, const iv_score *scores, double fpr, isovae_error *err)
{
    static const char *const names[] = {"id",        "log_density", "residual", "latent",
                                        "tail_prob", "flag",        "status"};
    IV_TRY(cli_sheet_ids(sheet, data, err));
    for (size_t i = LOG_DENSITY; i <= FLAG; i++) {
        IV_TRY(cli_sheet_numbers(sheet, i, i == FLAG, err, "%s", names[i]));
        for (size_t r = 0; r < sheet->rows; r++) sheet->columns[i].values[r] = i == FLAG ? 0 : NAN;
    }
    IV_TRY(cli_sheet_texts(sheet, STATUS, names[STATUS], err));
    for (size_t k = 0; k < n; k++) {
        size_t r = rows[k];
        sheet->columns[LOG_DENSITY].values[r] = scores[k].log_density;
        sheet->columns[RESIDUAL].values[r] = scores[k].residual;
        sheet->columns[LATENT].values[r] = scores[k].latent;
        sheet->columns[TAIL_PROB].values[r] = scores[k].tail_prob;
        sheet->columns[FLAG].values[r] = scores[k].tail_prob < fpr;
    }
    for (size_t r = 0; r < sheet->rows; r++) {
        sheet->columns[STATUS].texts[r] =
            status_text(data, r, sheet->columns[LOG_DENSITY].values[r]);
    }
    return ISOVAE_OK;
}

/* ---- --explain ---- */

typedef struct part {
    double nats;
    size_t index;
    bool latent;
} part;

static int by_nats(const void *a, const void *b)
{
    const part *p = a, *q = b;
    if (p->nats != q->nats) return p->nats < q->nats ? 1 : -1;
    if (p->latent != q->latent) return p->latent ? 1 : -1;
    return p->index < q->index ? -1 : p->index > q->index;
}

/* "pressure 12.3; latent 0 3.1": the largest contributions of a row, in nats. */
static isovae_status explain_row(cli *c, const iv_model *model, const iv_dataset *data, size_t row,
                                 size_t most, double *cost, part *parts, char **out,
                                 isovae_error *err)
{
    iv_text text = {0};
    IV_TRY(iv_score_explain(model, data, row, cli_isa(c), cost, cost + model->d, err));
    size_t n = model->d + model->n;
    for (size_t i = 0; i < n; i++) {
        bool latent = i >= model->d;
        parts[i] = (part){cost[i], latent ? i - model->d : i, latent};
    }
    qsort(parts, n, sizeof *parts, by_nats);
    for (size_t i = 0; i < most && i < n; i++) {
        if (i > 0) iv_text_puts(&text, "; ");
        if (parts[i].latent) {
            iv_text_printf(&text, "latent %zu %.3g", parts[i].index, parts[i].nats);
        } else {
            iv_text_printf(&text, "%s %.3g", model->names[parts[i].index], parts[i].nats);
        }
    }
    isovae_status status = iv_text_check(&text, err);
    if (status == ISOVAE_OK) status = iv_strdup(out, text.data != NULL ? text.data : "", err);
    iv_text_free(&text);
    return status;
}

/* `why` holds a text per row, NULL where there is nothing to explain. */
static isovae_status explain(cli *c, const iv_model *model, const iv_dataset *data,
                             cli_sheet *sheet, char **why, isovae_error *err)
{
    double *cost = NULL;
    part *parts = NULL;
    size_t least = SIZE_MAX, flagged = 0, n = model->d + model->n;
    const double *score = sheet->columns[LOG_DENSITY].values;
    const double *flag = sheet->columns[FLAG].values;
    isovae_status status = IV_NEW(cost, n, "contributions", err);
    if (status == ISOVAE_OK) status = IV_NEW(parts, n, "contributions", err);
    for (size_t r = 0; r < sheet->rows; r++) {
        if (isnan(score[r])) continue;
        if (least == SIZE_MAX || score[r] < score[least]) least = r;
        flagged += flag[r] != 0;
    }
    for (size_t r = 0; r < sheet->rows && status == ISOVAE_OK; r++) {
        if (isnan(score[r]) || !(flag[r] != 0 || (flagged == 0 && r == least))) continue;
        if (cli_interrupted()) {
            status = iv_fail(err, ISOVAE_ERR_CANCELLED, "interrupted");
            break;
        }
        status = explain_row(c, model, data, r, (size_t)c->opt[OPT_EXPLAIN].count, cost, parts,
                             &why[r], err);
    }
    if (status == ISOVAE_OK) status = cli_sheet_texts(sheet, WHY, "why", err);
    for (size_t r = 0; r < sheet->rows && status == ISOVAE_OK; r++) {
        sheet->columns[WHY].texts[r] = why[r];
    }
    iv_free(cost);
    iv_free(parts);
    return status;
}

/* ---- the work ---- */

static isovae_status score(cli *c, const iv_model *model, const iv_dataset *data,
                           iv_estimate estimate, cli_format format, isovae_error *err)
{
    size_t *rows = NULL, n = 0;
    iv_score *scores = NULL;
    char **why = NULL;
    cli_sheet sheet = {0};
    bool explaining = c->opt[OPT_EXPLAIN].set;
    double fpr = c->opt[OPT_FPR].set ? c->opt[OPT_FPR].number : 0.01;
    iv_progress progress = cli_progress(c);

    isovae_status status = iv_good_rows(data, &rows, &n, err);
    if (status == ISOVAE_OK) status = IV_NEW(scores, n, "scores", err);
    if (status == ISOVAE_OK) {
        status = iv_score_rows(model, data, rows, n, estimate, c->pool, cli_isa(c), &progress,
                               scores, err);
    }
    if (status == ISOVAE_OK) {
        status = cli_sheet_new(&sheet, "isovae-score/1", data->rows,
                               explaining ? N_COLUMNS : N_COLUMNS - 1, err);
    }
    sheet.remark = remark_of(model);
    if (status == ISOVAE_OK) status = fill_numbers(&sheet, data, rows, n, scores, fpr, err);
    if (status == ISOVAE_OK && explaining) {
        status = IV_NEW(why, data->rows, "explanations", err);
        if (status == ISOVAE_OK) status = explain(c, model, data, &sheet, why, err);
    }
    if (status == ISOVAE_OK) status = cli_sheet_write(c, &sheet, format, err);
    if (status == ISOVAE_OK) {
        cli_note(c, "%s", remark_of(model));
        if (n > 0 && isnan(scores[0].tail_prob)) {
            cli_note(c,
                     "note: the model holds no scores of held-out rows: tail_prob is empty and no "
                     "row is flagged");
        }
    }
    for (size_t r = 0; why != NULL && r < data->rows; r++) iv_free(why[r]);
    iv_free(why);
    iv_free(rows);
    iv_free(scores);
    cli_sheet_free(&sheet);
    return status;
}

isovae_status cmd_score(cli *c, isovae_error *err)
{
    iv_model *model = NULL;
    iv_dataset *data = NULL;
    cli_format format;
    iv_estimate estimate = IV_ESTIMATE_ELBO;
    if (c->opt[OPT_ESTIMATE].set && !iv_estimate_parse(c->opt[OPT_ESTIMATE].text, &estimate)) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--estimate: '%s' is unknown",
                       c->opt[OPT_ESTIMATE].text);
    }
    IV_TRY(cli_output_format(c, false, &format, err));
    IV_TRY(cli_pool(c, err));
    isovae_status status = cli_open_model(c, c->argument[0], &model, err);
    if (status == ISOVAE_OK) status = cli_open_data(c, c->argument[1], model, &data, err);
    if (status == ISOVAE_OK) status = score(c, model, data, estimate, format, err);
    iv_dataset_free(data);
    iv_model_free(model);
    return status;
}
