/* What the commands share: the parsed command line, messages, progress, results. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "options.h"

#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "data/dataset.h"
#include "model/model.h"
#include "train/train.h"

#include <stdio.h>

/* Exit codes; README and the man pages list them. */
enum {
    CLI_EXIT_OK = 0,
    CLI_EXIT_NO = 1, /* the answer is no */
    CLI_EXIT_USAGE = 2,
    CLI_EXIT_INPUT = 3,    /* bad input or model file */
    CLI_EXIT_SYSTEM = 4,   /* out of memory, I/O */
    CLI_EXIT_TRAINING = 5, /* diverged, or did not reach what was asked */
    CLI_EXIT_INTERRUPTED = 130
};
int cli_exit_code(isovae_status status);

typedef struct cli cli;
typedef isovae_status cli_run(cli *c, isovae_error *err);

typedef struct cli_command {
    unsigned bit;
    const char *name;
    const char *arguments;   /* "DATA -o MODEL" */
    const char *summary;     /* one line */
    const char *description; /* paragraphs, separated by an empty line */
    const char *examples;    /* lines "command<TAB>what it does" */
    size_t least, most;      /* positional arguments */
    cli_run *run;
} cli_command;
extern const cli_command cli_commands[];
extern const size_t cli_n_commands;
const cli_command *cli_find_command(const char *name); /* or NULL */

typedef struct cli_bar {
    bool shown; /* a line stands on the terminal */
    double started, last, first_done, last_done;
    char stage[32];
    int tenths; /* last tenth told as a line */
} cli_bar;

struct cli {
    const cli_command *command;
    cli_value opt[OPT_SLOTS];
    char *argument[CLI_MAX_ARGUMENTS];
    size_t n_arguments;
    char *typed; /* the command line as one shell-quoted line */
    bool quiet, verbose;
    bool color;    /* of standard output */
    bool terminal; /* standard error is one */
    iv_pool *pool;
    cli_bar bar;
    bool answer_is_no; /* success with exit code 1: drift was found */
    iv_text held; /* remarks on the data, told once the work has begun: a refusal is one line */
};

/* ---- console.c ---- */

isovae_status cli_start(cli *c, int argc, char **argv, isovae_error *err) ISOVAE_MUST_CHECK;
/* A line on standard error, "isovae fit: ...": a note is silent with -q, a detail needs -v. */
void cli_note(cli *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cli_hold(cli *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cli_tell_held(cli *c);
void cli_detail(cli *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cli_complain(cli *c, const char *message);
/* The callback to hand to long work; cancels it after Ctrl-C. */
iv_progress cli_progress(cli *c);
void cli_bar_clear(cli *c);
void cli_catch_interrupt(void);
bool cli_interrupted(void);
/* Text to standard output, nothing before the work has succeeded; the close is checked. */
isovae_status cli_print(const iv_text *text, isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status cli_close_output(isovae_error *err) ISOVAE_MUST_CHECK;
size_t cli_width(FILE *stream);

/* ---- inputs.c ---- */

/* The pool of --threads, made once. */
isovae_status cli_pool(cli *c, isovae_error *err) ISOVAE_MUST_CHECK;
const char *cli_isa(const cli *c);
uint64_t cli_seed(const cli *c);
/* Data options from the command line; with a model, its features are wanted. */
isovae_status cli_data_options(cli *c, const iv_model *model, iv_data_options *out,
                               isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status cli_open_data(cli *c, const char *spec, const iv_model *model, iv_dataset **out,
                            isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status cli_open_model(cli *c, const char *path, iv_model **out,
                             isovae_error *err) ISOVAE_MUST_CHECK;
/* The network that --member chooses from an ensemble (borrowed), which is said; else the model. */
isovae_status cli_member(cli *c, const iv_model *model, const iv_model **out,
                         isovae_error *err) ISOVAE_MUST_CHECK;

/* ---- output.c ---- */

/* Columns of a result. A column of texts has values NULL; missing numbers are NaN. */
typedef struct cli_column {
    char *name;
    bool whole; /* integers */
    double *values;
    const char **texts; /* the strings are borrowed */
    bool label;         /* names the row: left out of .npy, as texts are */
} cli_column;

typedef struct cli_sheet {
    const char *kind;   /* "isovae-score/1", for JSON */
    const char *remark; /* likewise, may be NULL */
    size_t rows, n_columns;
    cli_column *columns;
} cli_sheet;

isovae_status cli_sheet_new(cli_sheet *sheet, const char *kind, size_t rows, size_t columns,
                            isovae_error *err) ISOVAE_MUST_CHECK;
/* Names the column and gives it its array. */
isovae_status cli_sheet_numbers(cli_sheet *sheet, size_t column, bool whole, isovae_error *err,
                                const char *name, ...)
    __attribute__((format(printf, 5, 6))) ISOVAE_MUST_CHECK;
isovae_status cli_sheet_texts(cli_sheet *sheet, size_t column, const char *name,
                              isovae_error *err) ISOVAE_MUST_CHECK;
/* The ids of the data, or row numbers from 1, as column 0 "id". */
isovae_status cli_sheet_ids(cli_sheet *sheet, const iv_dataset *data,
                            isovae_error *err) ISOVAE_MUST_CHECK;
void cli_sheet_free(cli_sheet *sheet);

typedef enum cli_format {
    CLI_FORMAT_CSV,
    CLI_FORMAT_JSON,
    CLI_FORMAT_NPY,
    CLI_FORMAT_PNG
} cli_format;
/* By the suffix of -o (CSV without one); fails early where the suffix or the place will not do. */
isovae_status cli_output_format(cli *c, bool pictures, cli_format *out,
                                isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status cli_sheet_write(cli *c, const cli_sheet *sheet, cli_format format,
                              isovae_error *err) ISOVAE_MUST_CHECK;
/* Whether a file can be made at `path`, found out by making one beside it. */
isovae_status cli_check_writable(const char *path, isovae_error *err) ISOVAE_MUST_CHECK;

/* ---- summary.c ---- */

/* beta as other programs count it, a line each. */
void cli_tell_beta(iv_text *text, const iv_model *model);
/* A word of a path or argument, quoted for the shell where it needs it. */
void cli_quote(iv_text *text, const char *word);
void cli_count_text(iv_text *text, uint64_t count); /* 12,000 */

/* ---- help.c ---- */

void cli_help_overview(iv_text *text);
void cli_help_command(iv_text *text, const cli_command *command, size_t width);
/* Hidden generators: troff for a command (NULL: the overview), bash completion, docs/defaults.md.
 */
void cli_help_man(iv_text *text, const cli_command *command);
void cli_help_bash(iv_text *text);
void cli_help_defaults(iv_text *text);

/* ---- the commands ---- */

cli_run cmd_demo, cmd_fit, cmd_report, cmd_score, cmd_encode, cmd_decode, cmd_sample, cmd_traverse,
    cmd_info, cmd_stability, cmd_drift, cmd_sweep, cmd_prune, cmd_audit, cmd_export;

/* What stability and sweep share with fit: options that exclude each
 * other, the options but for the data, and --validation (a share into the
 * options, or a file whose features are matched to those of the data). */
isovae_status cli_fit_pairs(const cli *c, isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status cli_fit_options(cli *c, const iv_dataset *data, iv_fit_options *o,
                              isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status cli_open_validation(cli *c, const iv_dataset *data, iv_fit_options *o,
                                  iv_dataset **validation, isovae_error *err) ISOVAE_MUST_CHECK;
/* The pieces that demo shares with fit and report. */
isovae_status cli_fit_to_file(cli *c, const char *spec, const char *output,
                              isovae_error *err) ISOVAE_MUST_CHECK;
typedef struct cli_report_paths {
    const char *json, *html, *csv; /* each may be NULL */
    bool quiet_text;               /* no text report */
} cli_report_paths;
/* Whether --json, --html and --csv can be written, and writing them. */
struct iv_report_context;
isovae_status cli_report_places(const cli_report_paths *paths, isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status cli_report_put(cli *c, const struct iv_report_context *context,
                             const cli_report_paths *paths, isovae_error *err) ISOVAE_MUST_CHECK;
/* --iwae K[,ROWS] */
struct iv_analysis_options;
isovae_status cli_parse_iwae(const char *text, struct iv_analysis_options *options,
                             isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status cli_report_files(cli *c, const char *model_path, const char *spec,
                               const cli_report_paths *paths, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
