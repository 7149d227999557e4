/* isovae sweep DATA: which beta, how many latents. */
#include "cli.h"

#include "base/file.h"
#include "model/file.h"
#include "report/sweep.h"
#include "report/values.h"
#include "train/sweep.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

/* LARGE:SMALL */
static isovae_status parse_range(const char *text, iv_sweep_options *o, isovae_error *err)
{
    size_t length = strcspn(text, ":");
    const char *rest = text + length;
    bool good = *rest == ':' && iv_parse_double(text, length, &o->beta_from) &&
                iv_parse_double(rest + 1, strlen(rest + 1), &o->beta_to);
    if (good && isfinite(o->beta_from) && o->beta_to > 0 && o->beta_from > o->beta_to)
        return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "--beta-range: '%.80s' is not LARGE:SMALL, two numbers above 0 such as 1:0.001",
                   text);
}

static isovae_status fill(cli *c, iv_sweep_options *o, isovae_error *err)
{
    const cli_value *v = c->opt;
    iv_sweep_options_init(o);
    IV_TRY(cli_fit_options(c, NULL, &o->fit, err));
    o->steps = o->fit.steps;
    o->fit.steps = 0;
    o->fit.resume = NULL;
    if (o->steps && o->fit.quick)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--quick and --steps exclude each other");
    if (o->steps > 100000000)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--steps: at most 100000000 per beta");
    if (v[OPT_SPLIT_BY].set && v[OPT_VALIDATION].set)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--split-by and --validation exclude each other");
    if (v[OPT_NO_RETRAIN].set && v[OPT_OUTPUT].set)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--no-retrain and -o exclude each other: the model that -o writes is the "
                       "cold training's");
    o->points = (size_t)v[OPT_POINTS].count;
    o->seeds = (size_t)v[OPT_SEEDS].count;
    o->no_retrain = v[OPT_NO_RETRAIN].set;
    if (v[OPT_TARGET].set) IV_TRY(iv_sweep_target_parse(v[OPT_TARGET].text, &o->target, err));
    if (v[OPT_BETA_RANGE].set) IV_TRY(parse_range(v[OPT_BETA_RANGE].text, o, err));
    return ISOVAE_OK;
}

/* Files are looked at first: hours of training should not end at a folder that is not there. */
static isovae_status check_places(const cli *c, isovae_error *err)
{
    const char *model = c->opt[OPT_OUTPUT].text, *json = c->opt[OPT_JSON].text;
    if (model != NULL && strcmp(model, "-") == 0)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "-o: a model is written to a file, not to '-'");
    if (model != NULL) IV_TRY(cli_check_writable(model, err));
    if (json != NULL && strcmp(json, "-") != 0) IV_TRY(cli_check_writable(json, err));
    if (c->opt[OPT_HTML].text != NULL) IV_TRY(cli_check_writable(c->opt[OPT_HTML].text, err));
    return ISOVAE_OK;
}

/* Where the state goes: --resume, else beside the first output; nowhere without one. */
static isovae_status state_path(const cli *c, iv_text *out, isovae_error *err)
{
    static const cli_slot outputs[] = {OPT_OUTPUT, OPT_JSON, OPT_HTML};
    if (c->opt[OPT_RESUME].set) {
        iv_text_puts(out, c->opt[OPT_RESUME].text);
        return iv_text_check(out, err);
    }
    for (size_t i = 0; i < 3; i++) {
        const char *path = c->opt[outputs[i]].text;
        if (path == NULL || strcmp(path, "-") == 0) continue;
        iv_text_printf(out, "%s.sweep", path);
        return iv_text_check(out, err);
    }
    return ISOVAE_OK;
}

static void tell_way_on(cli *c, const char *state)
{
    if (state == NULL || access(state, R_OK) != 0) {
        cli_note(c, state == NULL ? "interrupted; without -o, --json or --html (or --resume) "
                                    "nothing is kept"
                                  : "interrupted before the first beta was finished; nothing was "
                                    "written");
        return;
    }
    iv_text line = {0};
    iv_text_puts(&line, c->typed);
    if (!c->opt[OPT_RESUME].set) {
        iv_text_puts(&line, " --resume ");
        cli_quote(&line, state);
    }
    if (!line.failed) {
        cli_bar_clear(c);
        fprintf(stderr, "isovae sweep: what is finished is in %s; to go on:\n  %s\n", state,
                line.data);
    }
    iv_text_free(&line);
}

/* ---- results ---- */

static isovae_status json_text(const iv_sweep_report *report, iv_text *out, isovae_error *err)
{
    json_t *root = NULL;
    IV_TRY(iv_sweep_json(report, &root, err));
    return iv_json_text(root, out, err);
}

static isovae_status write_results(cli *c, const iv_sweep_report *report, isovae_error *err)
{
    const char *json = c->opt[OPT_JSON].text, *html = c->opt[OPT_HTML].text;
    bool print_json = json != NULL && strcmp(json, "-") == 0;
    isovae_status status = ISOVAE_OK;
    iv_text text = {0};
    if (report->output != NULL) status = iv_model_save(report->sweep->model, report->output, err);
    if (status == ISOVAE_OK && html != NULL) {
        status = iv_sweep_html(report, &text, err);
        if (status == ISOVAE_OK) status = iv_file_write(html, text.data, text.length, err);
        iv_text_free(&text);
    }
    if (status == ISOVAE_OK && json != NULL) {
        status = json_text(report, &text, err);
        if (status == ISOVAE_OK)
            status = print_json ? cli_print(&text, err)
                                : iv_file_write(json, text.data, text.length, err);
        iv_text_free(&text);
    }
    if (status == ISOVAE_OK && !print_json && !c->quiet) {
        status = iv_sweep_text(report, &text, err);
        if (status == ISOVAE_OK) status = cli_print(&text, err);
        iv_text_free(&text);
    }
    return status;
}

/* Exit status 5 where the answer is not what was asked for. */
static isovae_status judge(const iv_sweep *s, isovae_error *err)
{
    iv_text verdict = {0};
    if (s->found && (s->reached || s->n_retrains == 0)) return ISOVAE_OK;
    iv_sweep_verdict(s, &verdict);
    isovae_status status = iv_text_check(&verdict, err);
    if (status == ISOVAE_OK)
        status = iv_fail(err, ISOVAE_ERR_DIVERGED, "%s%s", verdict.data,
                         s->found ? "" : "; more --latent-dim, more --steps or a wider --arch may");
    iv_text_free(&verdict);
    return status;
}

static isovae_status run(cli *c, iv_sweep_options *options, const char *state, iv_dataset **data,
                         iv_dataset **validation, iv_sweep **sweep, isovae_error *err)
{
    IV_TRY(cli_open_data(c, c->argument[0], NULL, data, err));
    IV_TRY(cli_open_validation(c, *data, &options->fit, validation, err));
    options->state = state;
    options->resume = c->opt[OPT_RESUME].set;
    isovae_status status = iv_sweep_run(*data, options, sweep, err);
    if (status == ISOVAE_ERR_CANCELLED) tell_way_on(c, state);
    IV_TRY(status);
    iv_sweep_report report = {.sweep = *sweep,
                              .data = *data,
                              .command = c->typed,
                              .output = (*sweep)->model != NULL ? c->opt[OPT_OUTPUT].text : NULL,
                              .color = c->color};
    IV_TRY(write_results(c, &report, err));
    if (state != NULL) unlink(state); /* it has served */
    return judge(*sweep, err);
}

isovae_status cmd_sweep(cli *c, isovae_error *err)
{
    iv_sweep_options options;
    iv_dataset *data = NULL, *validation = NULL;
    iv_sweep *sweep = NULL;
    iv_text state = {0};
    IV_TRY(cli_pool(c, err));
    IV_TRY(fill(c, &options, err));
    IV_TRY(check_places(c, err));
    isovae_status status = state_path(c, &state, err);
    if (status == ISOVAE_OK) status = run(c, &options, state.data, &data, &validation, &sweep, err);
    iv_sweep_free(sweep);
    iv_dataset_free(data);
    iv_dataset_free(validation);
    iv_text_free(&state);
    return status;
}
