/* isovae report MODEL DATA */
#include "cli.h"

#include "base/file.h"
#include "data/labels.h"
#include "model/file.h"
#include "report/report.h"
#include "report/values.h"
#include "theory/analysis.h"

#include <string.h>
#include <sys/stat.h>

/* --iwae K[,ROWS] */
isovae_status cli_parse_iwae(const char *text, iv_analysis_options *options, isovae_error *err)
{
    char draws[24];
    uint64_t k = 0, rows = options->iwae_rows;
    size_t length = strcspn(text, ",");
    bool good = length < sizeof draws;
    if (good) {
        memcpy(draws, text, length);
        draws[length] = '\0';
        good = cli_parse_count(draws, &k) && k <= 1000000;
    }
    if (good && text[length] == ',') good = cli_parse_count(text + length + 1, &rows);
    if (!good) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--iwae: '%s' is not K or K,ROWS in whole numbers (64,1000; 0: none)", text);
    }
    options->iwae_draws = (size_t)k;
    options->iwae_rows = (size_t)rows;
    return ISOVAE_OK;
}

static isovae_status analyse(cli *c, const iv_model *model, const iv_dataset *data,
                             const iv_labels *labels, bool keep_rows, iv_analysis **out,
                             isovae_error *err)
{
    iv_analysis_options options;
    iv_analysis_options_init(&options);
    if (c->opt[OPT_ROWS].set) options.rows = c->opt[OPT_ROWS].text;
    options.seed = cli_seed(c);
    if (c->opt[OPT_IWAE].set) IV_TRY(cli_parse_iwae(c->opt[OPT_IWAE].text, &options, err));
    options.keep_rows = keep_rows;
    options.labels = labels;
    options.isa = cli_isa(c);
    options.pool = c->pool;
    options.progress = cli_progress(c);
    return iv_analyse(model, data, &options, out, err);
}

/* The JSON as text, with a newline at its end. */
static isovae_status json_text(const iv_report_context *context, iv_text *out, isovae_error *err)
{
    json_t *root = NULL;
    IV_TRY(iv_report_json(context, &root, err));
    return iv_json_text(root, out, err);
}

static isovae_status write_files(cli *c, const iv_report_context *context,
                                 const cli_report_paths *paths, isovae_error *err)
{
    isovae_status status = ISOVAE_OK;
    iv_text text = {0};
    if (paths->json != NULL && strcmp(paths->json, "-") != 0) {
        status = json_text(context, &text, err);
        if (status == ISOVAE_OK) status = iv_file_write(paths->json, text.data, text.length, err);
        iv_text_free(&text);
    }
    if (status == ISOVAE_OK && paths->html != NULL) {
        status = iv_report_html(context, &text, err);
        if (status == ISOVAE_OK) status = iv_text_check(&text, err);
        if (status == ISOVAE_OK) status = iv_file_write(paths->html, text.data, text.length, err);
        iv_text_free(&text);
    }
    if (status == ISOVAE_OK && paths->csv != NULL) status = iv_report_csv(context, paths->csv, err);
    if (status == ISOVAE_OK && paths->html != NULL) cli_detail(c, "%s written", paths->html);
    return status;
}

static isovae_status print_report(const iv_report_context *context, const cli_report_paths *paths,
                                  isovae_error *err)
{
    iv_text text = {0};
    isovae_status status = ISOVAE_OK;
    if (paths->json != NULL && strcmp(paths->json, "-") == 0) {
        status = json_text(context, &text, err);
    } else if (!paths->quiet_text) {
        status = iv_report_text(context, &text, err);
    }
    if (status == ISOVAE_OK) status = cli_print(&text, err);
    iv_text_free(&text);
    return status;
}

isovae_status cli_report_put(cli *c, const iv_report_context *context,
                             const cli_report_paths *paths, isovae_error *err)
{
    IV_TRY(write_files(c, context, paths, err));
    return print_report(context, paths, err);
}

/* Places are looked at first: a long analysis should not end at a folder that is not there. */
isovae_status cli_report_places(const cli_report_paths *paths, isovae_error *err)
{
    struct stat info;
    if (paths->json != NULL && strcmp(paths->json, "-") != 0) {
        IV_TRY(cli_check_writable(paths->json, err));
    }
    if (paths->html != NULL) IV_TRY(cli_check_writable(paths->html, err));
    if (paths->csv != NULL && stat(paths->csv, &info) == 0 && !S_ISDIR(info.st_mode)) {
        return iv_fail(err, ISOVAE_ERR_IO, "%s: is not a folder; --csv wants one", paths->csv);
    }
    return ISOVAE_OK;
}

/* --labels, for the rows of the data. */
static isovae_status open_labels(cli *c, const char *spec, const iv_model *model,
                                 const iv_dataset *data, iv_labels **out, isovae_error *err)
{
    iv_data_options options;
    const char *labels = c->opt[OPT_LABELS].text;
    if (labels == NULL) return ISOVAE_OK;
    IV_TRY(cli_data_options(c, model, &options, err));
    return iv_labels_open(spec, labels, &options, data->rows, out, err);
}

isovae_status cli_report_files(cli *c, const char *model_path, const char *spec,
                               const cli_report_paths *paths, isovae_error *err)
{
    iv_model *model = NULL;
    const iv_model *member = NULL;
    iv_dataset *data = NULL;
    iv_labels *labels = NULL;
    iv_analysis *analysis = NULL;
    iv_report_context context;
    memset(&context, 0, sizeof context);
    IV_TRY(cli_report_places(paths, err));
    IV_TRY(cli_pool(c, err));
    isovae_status status = cli_open_model(c, model_path, &model, err);
    if (status == ISOVAE_OK) status = cli_open_data(c, spec, model, &data, err);
    if (status == ISOVAE_OK) status = cli_member(c, model, &member, err);
    if (status == ISOVAE_OK) status = open_labels(c, spec, model, data, &labels, err);
    if (status == ISOVAE_OK) status = iv_model_hash(model, &context.model_hash, err);
    if (status == ISOVAE_OK) {
        bool keep = paths->html != NULL || paths->csv != NULL;
        status = analyse(c, member, data, labels, keep, &analysis, err);
    }
    if (status == ISOVAE_OK) {
        context.model = member;
        context.ensemble = model;
        context.data = data;
        context.analysis = analysis;
        context.command = c->typed;
        context.seed = cli_seed(c);
        context.color = c->color;
        context.width = cli_width(stdout);
        context.pool = c->pool;
        status = cli_report_put(c, &context, paths, err);
    }
    iv_analysis_free(analysis);
    iv_labels_free(labels);
    iv_dataset_free(data);
    iv_model_free(model);
    return status;
}

isovae_status cmd_report(cli *c, isovae_error *err)
{
    cli_report_paths paths = {
        .json = c->opt[OPT_JSON].text, .html = c->opt[OPT_HTML].text, .csv = c->opt[OPT_CSV].text};
    return cli_report_files(c, c->argument[0], c->argument[1], &paths, err);
}
