/* isovae stability DATA */
#include "cli.h"

#include "base/file.h"
#include "report/stability.h"
#include "report/values.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

enum { DEFAULT_RUNS = 10 };

/* The folder of --runs; without it one that is named by what is in it, so that the same command
 * finds it again. */
static isovae_status make_folder(const cli *c, const iv_dataset *data, const iv_fit_options *fit,
                                 iv_text *folder, isovae_error *err)
{
    struct stat info;
    if (c->opt[OPT_RUNS].set) {
        iv_text_puts(folder, c->opt[OPT_RUNS].text);
    } else {
        uint64_t hash = 0;
        IV_TRY(iv_stability_fingerprint(data, fit, &hash, err));
        iv_text_printf(folder, "isovae-stability-%08llx",
                       (unsigned long long)((hash ^ hash >> 32) & 0xffffffff));
    }
    IV_TRY(iv_text_check(folder, err));
    if (mkdir(folder->data, 0777) == 0) return ISOVAE_OK;
    int number = errno;
    if (number == EEXIST && stat(folder->data, &info) == 0 && S_ISDIR(info.st_mode)) {
        return ISOVAE_OK;
    }
    return iv_fail(err, ISOVAE_ERR_IO, "%s: cannot make this folder: %s", folder->data,
                   strerror(number));
}

/* The model of the most central run, as it stands in the folder. */
static isovae_status copy_central(const iv_stability *s, const char *folder, const char *output,
                                  isovae_error *err)
{
    iv_text path = {0};
    unsigned char *bytes = NULL;
    size_t length = 0;
    isovae_status status =
        iv_stability_path(folder, s->runs[s->agreement->central].seed, false, &path, err);
    if (status == ISOVAE_OK)
        status = iv_file_read(path.data, (size_t)1 << 34, &bytes, &length, err);
    if (status == ISOVAE_OK) status = iv_file_write(output, bytes, length, err);
    iv_free(bytes);
    iv_text_free(&path);
    return status;
}

static isovae_status write_json(const iv_stability_context *context, iv_text *text,
                                isovae_error *err)
{
    json_t *root = NULL;
    IV_TRY(iv_stability_json(context, &root, err));
    return iv_json_text(root, text, err);
}

static isovae_status tell(cli *c, const iv_stability_context *context, isovae_error *err)
{
    const char *json = c->opt[OPT_JSON].text, *html = c->opt[OPT_HTML].text;
    bool printed = json != NULL && strcmp(json, "-") == 0;
    iv_text text = {0};
    isovae_status status = ISOVAE_OK;
    if (html != NULL) {
        status = iv_stability_html(context, &text, err);
        if (status == ISOVAE_OK) status = iv_file_write(html, text.data, text.length, err);
        iv_text_free(&text);
    }
    if (status == ISOVAE_OK && json != NULL) {
        status = write_json(context, &text, err);
        if (status == ISOVAE_OK && !printed) {
            status = iv_file_write(json, text.data, text.length, err);
        }
        if (status == ISOVAE_OK && printed) status = cli_print(&text, err);
        iv_text_free(&text);
    }
    if (status == ISOVAE_OK && !printed && !c->quiet) {
        status = iv_stability_text(context, &text, err);
        if (status == ISOVAE_OK) status = cli_print(&text, err);
        iv_text_free(&text);
    }
    return status;
}

static isovae_status check_options(cli *c, iv_stability_options *o, isovae_error *err)
{
    const char *files[] = {c->opt[OPT_OUTPUT].text, c->opt[OPT_JSON].text, c->opt[OPT_HTML].text};
    IV_TRY(cli_fit_pairs(c, err));
    o->runs = c->opt[OPT_SEEDS].set ? (size_t)c->opt[OPT_SEEDS].count : DEFAULT_RUNS;
    o->least = c->opt[OPT_MATCH].set ? c->opt[OPT_MATCH].number : 0.9;
    if (o->runs < 2 || o->runs > IV_STABILITY_MOST_RUNS) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--seeds: %zu is not a number of runs from 2 to %d", o->runs,
                       (int)IV_STABILITY_MOST_RUNS);
    }
    if (!(o->least > 0)) return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--match: must be above 0");
    if (files[0] != NULL && strcmp(files[0], "-") == 0) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "-o: a model is written to a file, not to '-'");
    }
    for (size_t i = 0; i < 3; i++) {
        if (files[i] == NULL || (i == 1 && strcmp(files[i], "-") == 0)) continue;
        IV_TRY(cli_check_writable(files[i], err));
    }
    return ISOVAE_OK;
}

/* What to type to go on: the same command. */
static void tell_way_on(cli *c, const char *folder)
{
    cli_bar_clear(c);
    fprintf(stderr, "isovae stability: what is done is in %s; to go on:\n  %s\n", folder, c->typed);
}

static isovae_status run_all(cli *c, iv_stability_options *options, iv_dataset **data,
                             iv_dataset **validation, iv_stability **s, iv_text *folder,
                             isovae_error *err)
{
    const char *output = c->opt[OPT_OUTPUT].text;
    iv_stability_context context = {.command = c->typed, .color = c->color};
    IV_TRY(cli_fit_options(c, NULL, &options->fit, err));
    IV_TRY(cli_open_data(c, c->argument[0], NULL, data, err));
    IV_TRY(cli_open_validation(c, *data, &options->fit, validation, err));
    if (c->opt[OPT_SAME_SPLIT].set) {
        double *group = NULL;
        IV_TRY(iv_stability_same_split(*data, &options->fit, &group, err));
        if (group != NULL) (*data)->group = group;
    }
    IV_TRY(make_folder(c, *data, &options->fit, folder, err));
    options->folder = folder->data;
    isovae_status status = iv_stability_make(*data, options, s, err);
    if (status == ISOVAE_ERR_CANCELLED) tell_way_on(c, folder->data);
    IV_TRY(status);
    if ((*s)->kept > 0) {
        cli_note(c, "note: %zu of %zu runs were in %s from before", (*s)->kept, (*s)->n_runs,
                 folder->data);
    }
    if (output != NULL) IV_TRY(copy_central(*s, folder->data, output, err));
    context.data = *data;
    context.stability = *s;
    context.width = cli_width(stdout);
    IV_TRY(tell(c, &context, err));
    if (!c->opt[OPT_RUNS].set) iv_stability_clean(*s, folder->data);
    return ISOVAE_OK;
}

isovae_status cmd_stability(cli *c, isovae_error *err)
{
    iv_stability_options options;
    iv_dataset *data = NULL, *validation = NULL;
    iv_stability *s = NULL;
    iv_text folder = {0};
    memset(&options, 0, sizeof options);
    IV_TRY(check_options(c, &options, err));
    IV_TRY(cli_pool(c, err));
    isovae_status status = run_all(c, &options, &data, &validation, &s, &folder, err);
    iv_stability_free(s);
    iv_dataset_free(data);
    iv_dataset_free(validation);
    iv_text_free(&folder);
    return status;
}
