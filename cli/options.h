/* The options of all commands: one table, from which come parsing, --help, the man pages, the shell
 * completion and docs/defaults.md. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One bit per command. */
enum {
    CLI_DEMO = 1 << 0,
    CLI_FIT = 1 << 1,
    CLI_REPORT = 1 << 2,
    CLI_SCORE = 1 << 3,
    CLI_ENCODE = 1 << 4,
    CLI_DECODE = 1 << 5,
    CLI_SAMPLE = 1 << 6,
    CLI_TRAVERSE = 1 << 7,
    CLI_INFO = 1 << 8,
    CLI_STABILITY = 1 << 9,
    CLI_DRIFT = 1 << 10,
    CLI_SWEEP = 1 << 11,
    CLI_PRUNE = 1 << 12,
    CLI_AUDIT = 1 << 13,
    CLI_EXPORT = 1 << 14
};

/* A place for the value of each option. Two rows of the table may share one, where the same name
 * means slightly different things to different commands. */
typedef enum cli_slot {
    OPT_OUTPUT,
    OPT_LATENT_DIM,
    OPT_BETA,
    OPT_BETA_FLOOR,
    OPT_BETA_START,
    OPT_KL_WARMUP,
    OPT_LOSS,
    OPT_OBJECTIVE,
    OPT_ARCH,
    OPT_ACTIVATION,
    OPT_EPOCHS,
    OPT_STEPS,
    OPT_BATCH_SIZE,
    OPT_LR,
    OPT_LR_SCHEDULE,
    OPT_LR_WARMUP,
    OPT_WEIGHT_DECAY,
    OPT_INIT,
    OPT_SCALE,
    OPT_ENSEMBLE,
    OPT_PRESET,
    OPT_MEMBER,
    OPT_VALIDATION,
    OPT_SPLIT_BY,
    OPT_PATIENCE,
    OPT_NO_RESTART,
    OPT_QUICK,
    OPT_RESUME,
    OPT_CHECKPOINT_EVERY,
    OPT_MAX_TIME,
    OPT_LOG,
    OPT_TENSORBOARD,
    OPT_INIT_FROM,
    OPT_COLUMNS,
    OPT_DROP,
    OPT_CATEGORICAL,
    OPT_LABELS,
    OPT_ID,
    OPT_MISSING,
    OPT_HEADER,
    OPT_NO_HEADER,
    OPT_SIZE,
    OPT_CROP,
    OPT_GREY,
    OPT_STRICT,
    OPT_MEMORY,
    OPT_CACHE,
    OPT_TRUTH_DENSITY,
    OPT_JSON,
    OPT_HTML,
    OPT_CSV,
    OPT_ROWS,
    OPT_IWAE,
    OPT_ESTIMATE,
    OPT_NOISE_FLOOR,
    OPT_NOISE_START,
    OPT_DENOISE,
    OPT_FPR,
    OPT_EXPLAIN,
    OPT_ISOMETRIC,
    OPT_SIGMA,
    OPT_COUNT,
    OPT_NOISE,
    OPT_ROW,
    OPT_LATENTS,
    OPT_RANGE,
    OPT_ALPHA,
    OPT_SEEDS,
    OPT_MATCH,
    OPT_SAME_SPLIT,
    OPT_RUNS,
    OPT_TARGET,
    OPT_POINTS,
    OPT_BETA_RANGE,
    OPT_NO_RETRAIN,
    OPT_ENCODER,
    OPT_DECODER,
    OPT_MU,
    OPT_LOGVAR,
    OPT_Z,
    OPT_RECONSTRUCTION,
    OPT_HEAD,
    OPT_WIDTH_FIRST,
    OPT_MEANS_ONLY,
    OPT_LAYOUT,
    OPT_INPUT_RANGE,
    OPT_OUTPUT_RANGE,
    OPT_MEAN,
    OPT_STD,
    OPT_LOSS_SCALE,
    OPT_KL_SCALE,
    OPT_ONNX,
    OPT_SEED,
    OPT_THREADS,
    OPT_ISA,
    OPT_QUIET,
    OPT_VERBOSE,
    OPT_HELP,
    OPT_SLOTS
} cli_slot;

/* What an argument must be. */
typedef enum cli_kind {
    CLI_FLAG,     /* takes no argument */
    CLI_TEXT,     /* anything but nothing */
    CLI_CHOICE,   /* one of the words of `argument`, which are separated by | */
    CLI_COUNT,    /* a whole number from 1 */
    CLI_NATURAL,  /* a whole number from 0 */
    CLI_POSITIVE, /* a finite number above 0 */
    CLI_NOT_NEGATIVE,
    CLI_SHARE,    /* from 0 up to and including 1 */
    CLI_AUTO,     /* "auto" or a finite number above 0 */
    CLI_DURATION, /* 90s, 30m, 1h30m: seconds in `number` */
    CLI_EVERY     /* a whole number from 1 in `count`, or a duration in `number` */
} cli_kind;

typedef struct cli_option {
    cli_slot slot;
    const char *name; /* without the dashes */
    char letter;      /* or 0 */
    cli_kind kind;
    const char *argument; /* its name in the help, or the words of a choice; NULL for a flag */
    const char *implied;  /* value of the bare option where its argument may be left out, or NULL */
    const char *fallback; /* the default, in words; NULL where there is none to tell */
    const char *help;
    unsigned commands;
    const char *group; /* heading in the help */
} cli_option;

/* The value of an option, as given. */
typedef struct cli_value {
    bool set;
    char *text;    /* owned */
    double number; /* NaN for "auto" */
    uint64_t count;
} cli_value;

extern const cli_option cli_options[];
extern const size_t cli_n_options;

enum { CLI_MAX_ARGUMENTS = 4 };

/* Parses argv[1..] (argv[0] is the command's name) for the command with bit `command`. Values and
 * positional arguments are copies: release with cli_values_free. Fails with ISOVAE_ERR_ARGUMENT. */
isovae_status cli_parse(unsigned command, int argc, char **argv, cli_value values[OPT_SLOTS],
                        char *arguments[CLI_MAX_ARGUMENTS], size_t *n_arguments,
                        isovae_error *err) ISOVAE_MUST_CHECK;
void cli_values_free(cli_value values[OPT_SLOTS], char *arguments[CLI_MAX_ARGUMENTS]);

/* The candidate nearest to `word` in spelling, or NULL where none is near. */
const char *cli_nearest(const char *word, const char *const *candidates, size_t n);

/* Numbers with units d, h, m, s, each at most once and in that order: "1h30m", "90s", "0.5h". Above
 * 0 and at most 10 years. */
bool cli_parse_duration(const char *text, double *seconds);

/* Whole number in decimal digits alone, at most 2^64 - 1. */
bool cli_parse_count(const char *text, uint64_t *out);

#endif
