/* The report as a folder of CSV files and charts. */
#include "report/csv.h"
#include "report/noise.h"

#include "base/file.h"
#include "base/locale.h"
#include "report/charts.h"
#include "report/facts.h"
#include "report/labels.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

static void separator(iv_text *out, bool first)
{
    if (!first) iv_text_puts(out, ",");
}

void iv_csv_text(iv_text *out, bool first, const char *value)
{
    separator(out, first);
    if (value[strcspn(value, ",\"\r\n")] == '\0') {
        iv_text_puts(out, value);
        return;
    }
    iv_text_puts(out, "\"");
    for (const char *c = value; *c != '\0'; c++) {
        if (*c == '"') iv_text_puts(out, "\"");
        iv_text_append(out, c, 1);
    }
    iv_text_puts(out, "\"");
}

void iv_csv_number(iv_text *out, bool first, double value)
{
    char text[40];
    separator(out, first);
    if (isnan(value)) return;
    iv_format_double(text, sizeof text, value, 9);
    iv_text_puts(out, text);
}

void iv_csv_count(iv_text *out, bool first, size_t value)
{
    separator(out, first);
    iv_text_printf(out, "%zu", value);
}

void iv_csv_end(iv_text *out)
{
    iv_text_puts(out, "\n");
}

static void latents_csv(const iv_report_context *context, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    iv_text_puts(out, "rank,index,active,variance_y,variance_y_se,importance,importance_se,share,"
                      "degenerate_group,kl_nats,sigma2_mean,norm_mean,norm_sd,optimality_mean,"
                      "optimality_sd,stationarity_mean,stationarity_se,isometry_rms,rotation,"
                      "pca_eigenvalue");
    bool columns = a->unknown != IV_UNKNOWN_NOTHING;
    iv_text_puts(out, columns ? ",column_square,column_cv,column_straight\n" : "\n");
    for (size_t j = 0; j < a->n; j++) {
        const iv_latent_report *l = &a->latents[j];
        iv_csv_count(out, true, j);
        iv_csv_count(out, false, l->index);
        iv_csv_count(out, false, l->active);
        const double values[] = {l->variance_y,
                                 l->variance_y_se,
                                 l->importance,
                                 l->importance_se,
                                 l->share,
                                 l->degenerate_group >= 0 ? (double)l->degenerate_group
                                                          : (double)NAN,
                                 l->kl,
                                 l->sigma2_mean,
                                 l->norm_mean,
                                 l->norm_sd,
                                 l->optimality_mean,
                                 l->optimality_sd,
                                 l->stationarity_mean,
                                 l->stationarity_se,
                                 l->spline_rms,
                                 l->rotation,
                                 j < a->pca.n ? a->pca.eigenvalues[j] : (double)NAN,
                                 l->column_square,
                                 l->column_cv,
                                 l->column_straight};
        size_t count = sizeof values / sizeof *values - (columns ? 0 : 3);
        for (size_t i = 0; i < count; i++) {
            iv_csv_number(out, false, values[i]);
        }
        iv_csv_end(out);
    }
}

static void loadings_csv(const iv_report_context *context, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    iv_text_puts(out, "rank,feature,column,mean,rms,sign_consistency\n");
    for (size_t j = 0; j < a->n; j++) {
        const iv_latent_report *l = &a->latents[j];
        if (l->loading_mean == NULL || l->loading_rms == NULL) continue;
        for (size_t i = 0; i < a->d; i++) {
            iv_text name = {0};
            double rms = l->loading_rms[i];
            iv_facts_feature(context, i, &name);
            if (name.failed) out->failed = true;
            iv_csv_count(out, true, j);
            iv_csv_text(out, false, name.data != NULL ? name.data : "");
            iv_csv_count(out, false, i);
            iv_csv_number(out, false, l->loading_mean[i]);
            iv_csv_number(out, false, rms);
            iv_csv_number(out, false, rms > 0 ? fabs(l->loading_mean[i]) / rms : (double)NAN);
            iv_csv_end(out);
            iv_text_free(&name);
        }
    }
}

static void row_columns(const iv_analysis *a, iv_text *out, const char *stem, const double *values)
{
    for (size_t j = 0; values != NULL && j < a->n; j++) iv_text_printf(out, ",%s_%zu", stem, j);
}

static void row_cells(const iv_analysis *a, iv_text *out, size_t row, const double *values)
{
    for (size_t j = 0; values != NULL && j < a->n; j++) {
        iv_csv_number(out, false, values[row * a->n + j]);
    }
}

static void rows_csv(const iv_report_context *context, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    char *const *ids = context->data->ids;
    const double *true_density =
        context->data->truth != NULL ? context->data->truth->log_density : NULL;
    iv_text_puts(out, ids != NULL ? "row,id" : "row");
    for (int e = 0; e < IV_ESTIMATES; e++) {
        if (a->density.all[e] != NULL) {
            iv_text_printf(out, ",log_density_%s", iv_estimate_name((iv_estimate)e));
        }
    }
    if (true_density != NULL) iv_text_puts(out, ",log_density_true");
    if (a->transform_rows != NULL) iv_text_puts(out, ",residual");
    row_columns(a, out, "mu", a->mu);
    row_columns(a, out, "sigma", a->sigma);
    row_columns(a, out, "y", a->y);
    iv_csv_end(out);
    for (size_t r = 0; r < a->rows; r++) {
        size_t place = a->row_index != NULL ? a->row_index[r] : r;
        iv_csv_count(out, true, place);
        if (ids != NULL) iv_csv_text(out, false, ids[place] != NULL ? ids[place] : "");
        for (int e = 0; e < IV_ESTIMATES; e++) {
            if (a->density.all[e] != NULL) iv_csv_number(out, false, a->density.all[e][r]);
        }
        if (true_density != NULL) iv_csv_number(out, false, true_density[place]);
        if (a->transform_rows != NULL) iv_csv_number(out, false, a->transform_rows[r]);
        row_cells(a, out, r, a->mu);
        row_cells(a, out, r, a->sigma);
        row_cells(a, out, r, a->y);
        iv_csv_end(out);
    }
}

static void cosines_csv(const iv_report_context *context, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    iv_text_puts(out, "latent");
    for (size_t j = 0; j < a->n; j++) iv_text_printf(out, ",%zu", j);
    iv_csv_end(out);
    for (size_t j = 0; a->cosine != NULL && j < a->n; j++) {
        iv_csv_count(out, true, j);
        for (size_t k = 0; k < a->n; k++) iv_csv_number(out, false, a->cosine[j * a->n + k]);
        iv_csv_end(out);
    }
}

static void pca_csv(const iv_report_context *context, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    iv_text_puts(out, "component,eigenvalue\n");
    for (size_t i = 0; i < a->pca.n; i++) {
        iv_csv_count(out, true, i);
        iv_csv_number(out, false, a->pca.eigenvalues[i]);
        iv_csv_end(out);
    }
}

static void history_csv(const iv_report_context *context, iv_text *out)
{
    const iv_model *m = context->model;
    iv_text_puts(out, "step,beta,learning_rate,loss,distortion,kl_nats,validation\n");
    for (size_t i = 0; i < m->n_history; i++) {
        const iv_history *h = &m->history[i];
        iv_csv_count(out, true, (size_t)h->step);
        iv_csv_number(out, false, h->beta);
        iv_csv_number(out, false, h->rate);
        iv_csv_number(out, false, h->loss);
        iv_csv_number(out, false, h->distortion);
        iv_csv_number(out, false, h->kl);
        iv_csv_number(out, false, h->validation);
        iv_csv_end(out);
    }
}

static isovae_status save(const char *folder, const char *name, const iv_text *text,
                          isovae_error *err)
{
    iv_text path = {0};
    IV_TRY(iv_text_check(text, err));
    iv_text_printf(&path, "%s/%s", folder, name);
    isovae_status status = iv_text_check(&path, err);
    if (status == ISOVAE_OK) status = iv_file_write(path.data, text->data, text->length, err);
    iv_text_free(&path);
    return status;
}

static isovae_status save_charts(const iv_report_context *context, const char *folder,
                                 isovae_error *err)
{
    iv_facts facts;
    iv_facts_of(context, &facts);
    isovae_status status = ISOVAE_OK;
    for (size_t i = 0; status == ISOVAE_OK && i < iv_n_charts(); i++) {
        const iv_chart_kind *chart = iv_chart(i);
        if (!chart->exists(context, &facts)) continue;
        iv_text svg = {0}, csv = {0}, name = {0};
        iv_chart_standalone(chart, context, &facts, &svg);
        chart->csv(context, &facts, &csv);
        iv_text_printf(&name, "chart-%s.svg", chart->id);
        status = iv_text_check(&name, err);
        if (status == ISOVAE_OK) status = save(folder, name.data, &svg, err);
        if (status == ISOVAE_OK) {
            memcpy(name.data + name.length - 3, "csv", 3);
            status = save(folder, name.data, &csv, err);
        }
        iv_text_free(&svg);
        iv_text_free(&csv);
        iv_text_free(&name);
    }
    return status;
}

isovae_status iv_report_csv(const iv_report_context *context, const char *folder, isovae_error *err)
{
    static const struct {
        const char *name;
        void (*write)(const iv_report_context *context, iv_text *out);
    } files[] = {{"latents.csv", latents_csv}, {"loadings.csv", loadings_csv},
                 {"rows.csv", rows_csv},       {"cosines.csv", cosines_csv},
                 {"pca.csv", pca_csv},         {"history.csv", history_csv},
                 {"labels.csv", iv_labels_csv}};
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) {
        char text[128];
        int number = errno;
        return iv_fail(err, ISOVAE_ERR_IO, "%s: the folder cannot be made: %s; choose another one",
                       folder, iv_error_text(number, text, sizeof text));
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        iv_text text = {0};
        if (files[i].write == iv_labels_csv && context->analysis->labels.of == NULL) continue;
        files[i].write(context, &text);
        isovae_status status = save(folder, files[i].name, &text, err);
        iv_text_free(&text);
        if (status != ISOVAE_OK) return status;
    }
    if (context->analysis->noise.n > 0) {
        iv_text text = {0};
        iv_noise_csv(context, &text);
        isovae_status status = save(folder, "noise.csv", &text, err);
        iv_text_free(&text);
        IV_TRY(status);
    }
    return save_charts(context, folder, err);
}
