/* Everything that is written from the tables of commands and options: help, man pages, completion,
 * and the table of defaults. */
#include "cli.h"

#include "train/preset.h"

#include <string.h>

static const char *const exit_codes[][2] = {
    {"0", "done"},
    {"1", "the answer is no"},
    {"2", "the command line is wrong"},
    {"3", "a data or model file cannot be used"},
    {"4", "out of memory, or the system refused a read or write"},
    {"5", "training diverged or did not reach what was asked"},
    {"130", "interrupted; fit has then written a checkpoint"},
};
enum { N_EXIT_CODES = sizeof exit_codes / sizeof exit_codes[0] };

/* Puts `string` in lines of at most `width`, each but the first after `indent` blanks; `at` is the
 * column where the first begins. A newline in the string begins a new line. */
static void wrap(iv_text *text, const char *string, size_t at, size_t indent, size_t width)
{
    while (*string != '\0') {
        size_t word = strcspn(string, " \n");
        if (at > indent && at + 1 + word > width) {
            iv_text_printf(text, "\n%*s", (int)indent, "");
            at = indent;
        } else if (at > indent) {
            iv_text_puts(text, " ");
            at++;
        }
        iv_text_append(text, string, word);
        at += word;
        string += word;
        while (*string == ' ') string++;
        if (*string == '\n') {
            while (*string == '\n') {
                iv_text_puts(text, "\n");
                string++;
            }
            iv_text_printf(text, "%*s", (int)indent, "");
            at = indent;
        }
    }
    iv_text_puts(text, "\n");
}

void cli_help_overview(iv_text *text)
{
    iv_text_puts(text, "isovae: variational autoencoders, trained and explained in numbers\n\n"
                       "usage: isovae COMMAND [options]\n\n");
    for (size_t i = 0; i < cli_n_commands; i++) {
        iv_text_printf(text, "  %-10s %-14s %s\n", cli_commands[i].name, cli_commands[i].arguments,
                       cli_commands[i].summary);
    }
    iv_text_puts(text, "  help       [COMMAND]      this list, or the options of a command\n"
                       "  version                   the version\n\n"
                       "Start with:\n"
                       "  isovae demo\n"
                       "  isovae fit table.csv -o m.safetensors\n"
                       "  isovae report m.safetensors table.csv --html report.html\n");
}

/* "-o, --output MODEL"; choices are shown as they are. */
static void put_synopsis(iv_text *text, const cli_option *option)
{
    if (option->letter != 0) {
        iv_text_printf(text, "-%c, ", option->letter);
    } else {
        iv_text_puts(text, "    ");
    }
    iv_text_printf(text, "--%s", option->name);
    if (option->implied != NULL) {
        iv_text_printf(text, "[=%s]", option->argument);
    } else if (option->argument != NULL) {
        iv_text_printf(text, " %s", option->argument);
    }
}

/* Which groups of options to tell: all, those of the command alone, or those that it shares. */
typedef enum share { EVERY, OWN, SHARED } share;

/* Calls `put` for each option of the command, groups together, in the order of the table. */
static void each_option(iv_text *text, unsigned command, size_t width, share which,
                        void (*heading)(iv_text *, const char *),
                        void (*put)(iv_text *, const cli_option *, size_t))
{
    const char *seen[16];
    size_t n_seen = 0;
    for (size_t i = 0; i < cli_n_options; i++) {
        bool known = (cli_options[i].commands & command) == 0;
        for (size_t g = 0; g < n_seen; g++) known = known || seen[g] == cli_options[i].group;
        if (known || n_seen == 16) continue;
        seen[n_seen++] = cli_options[i].group;
        bool shared = strcmp(cli_options[i].group, "General") == 0 ||
                      strcmp(cli_options[i].group, "Data") == 0;
        if (which != EVERY && shared != (which == SHARED)) continue;
        heading(text, cli_options[i].group);
        for (size_t k = i; k < cli_n_options; k++) {
            if ((cli_options[k].commands & command) != 0 &&
                cli_options[k].group == cli_options[i].group) {
                put(text, &cli_options[k], width);
            }
        }
    }
}

static void plain_heading(iv_text *text, const char *group)
{
    iv_text_printf(text, "\n%s:\n", group);
}

static void plain_option(iv_text *text, const cli_option *option, size_t width)
{
    enum { COLUMN = 28 };
    size_t start = text->length;
    iv_text_puts(text, "  ");
    put_synopsis(text, option);
    size_t used = text->length - start;
    if (used + 1 >= COLUMN) {
        iv_text_printf(text, "\n%*s", COLUMN, "");
    } else {
        iv_text_printf(text, "%*s", (int)(COLUMN - used), "");
    }
    iv_text help = {0};
    iv_text_puts(&help, option->help);
    if (option->fallback != NULL) iv_text_printf(&help, " [%s]", option->fallback);
    if (help.failed) {
        text->failed = true;
    } else {
        wrap(text, help.data, COLUMN, COLUMN, width);
    }
    iv_text_free(&help);
}

/* "--steps 600 | 2000 | 10000", by the size of the data; one value where it does not matter. */
static void preset_row(iv_text *text, const iv_preset_row *row, const char *bar)
{
    bool same = true;
    for (size_t s = 1; s < IV_PRESET_SIZES; s++) {
        same = same && strcmp(row->value[s], row->value[0]) == 0;
    }
    iv_text_printf(text, "--%s %s", row->option, row->value[0]);
    for (size_t s = 1; s < IV_PRESET_SIZES && !same; s++) {
        iv_text_printf(text, "%s%s", bar, row->value[s]);
    }
}

static void preset_sizes(iv_text *text, const char *bar)
{
    for (size_t s = 0; s < IV_PRESET_SIZES; s++) {
        iv_text_printf(text, "%s%s", s > 0 ? bar : "", iv_preset_size_name((iv_preset_size)s));
    }
}

static void plain_presets(iv_text *text, size_t width)
{
    for (size_t i = 0; i < iv_n_presets; i++) {
        iv_text line = {0};
        iv_text_printf(text, "\n--preset %s (%s) is:\n", iv_presets[i].name, iv_presets[i].summary);
        for (size_t r = 0; r < iv_presets[i].n_rows; r++) {
            iv_text_puts(text, "  ");
            preset_row(text, &iv_presets[i].rows[r], " | ");
            iv_text_puts(text, "\n");
        }
        iv_text_puts(&line, "where it depends on the size: ");
        preset_sizes(&line, " | ");
        iv_text_puts(text, "  ");
        if (line.failed) text->failed = true;
        wrap(text, line.data != NULL ? line.data : "", 2, 2, width);
        iv_text_free(&line);
    }
}

void cli_help_command(iv_text *text, const cli_command *command, size_t width)
{
    if (width == 0 || width > 100) width = width == 0 ? 80 : 100;
    if (width < 60) width = 60;
    iv_text_printf(text, "isovae %s: %s\n\nusage: isovae %s %s%s[options]\n\n", command->name,
                   command->summary, command->name, command->arguments,
                   *command->arguments != '\0' ? " " : "");
    wrap(text, command->description, 0, 0, width);
    iv_text_puts(text, "\nExamples:\n");
    for (const char *at = command->examples; *at != '\0';) {
        size_t line = strcspn(at, "\n"), words = strcspn(at, "\t\n");
        if (words < line) {
            iv_text_printf(text, "  # %.*s\n", (int)(line - words - 1), at + words + 1);
        }
        iv_text_printf(text, "  %.*s\n", (int)words, at);
        at += line;
        if (*at == '\n') at++;
    }
    each_option(text, command->bit, width, EVERY, plain_heading, plain_option);
    if (command->bit == CLI_FIT) plain_presets(text, width);
    iv_text_puts(text, "\nThe default stands in brackets. Exit status: ");
    for (size_t i = 0; i < N_EXIT_CODES; i++) {
        iv_text_printf(text, "%s%s", i > 0 ? ", " : "", exit_codes[i][0]);
    }
    iv_text_printf(text, "; see 'man isovae'.\n");
}

/* ---- man pages ---- */

/* Changes with the version, never with the clock: the pages are compared byte for byte. */
static const char man_date[] = "2026-11-24";

static void troff(iv_text *text, const char *string)
{
    for (bool start = true; *string != '\0'; string++) {
        if (string[0] == '\n' && string[1] == '\n') {
            iv_text_puts(text, "\n.PP\n");
            string++;
            start = true;
            continue;
        }
        if (start && (*string == '.' || *string == '\'')) iv_text_puts(text, "\\&");
        if (*string == '-') {
            iv_text_puts(text, "\\-");
        } else if (*string == '\\') {
            iv_text_puts(text, "\\e");
        } else {
            iv_text_append(text, string, 1);
        }
        start = *string == '\n';
    }
}

static void man_heading(iv_text *text, const char *group)
{
    iv_text_puts(text, ".SS ");
    troff(text, group);
    iv_text_puts(text, "\n");
}

static void man_option(iv_text *text, const cli_option *option, size_t width)
{
    (void)width;
    iv_text_puts(text, ".TP\n");
    if (option->letter != 0) iv_text_printf(text, "\\fB\\-%c\\fR, ", option->letter);
    iv_text_puts(text, "\\fB\\-\\-");
    troff(text, option->name);
    iv_text_puts(text, "\\fR");
    if (option->argument != NULL) {
        iv_text_puts(text, option->implied != NULL ? "[=\\fI" : " \\fI");
        troff(text, option->argument);
        iv_text_puts(text, option->implied != NULL ? "\\fR]" : "\\fR");
    }
    iv_text_puts(text, "\n");
    troff(text, option->help);
    iv_text_puts(text, "\n");
    if (option->fallback != NULL) {
        iv_text_puts(text, "Default: ");
        troff(text, option->fallback);
        iv_text_puts(text, ".\n");
    }
}

static void man_presets(iv_text *text)
{
    iv_text_puts(text, ".SH PRESETS\n");
    for (size_t i = 0; i < iv_n_presets; i++) {
        iv_text line = {0};
        for (size_t r = 0; r < iv_presets[i].n_rows; r++) {
            if (r > 0) iv_text_puts(&line, ", ");
            preset_row(&line, &iv_presets[i].rows[r], " | ");
        }
        iv_text_puts(&line, ". Where it depends on the size: ");
        preset_sizes(&line, " | ");
        iv_text_printf(text, ".TP\n\\fB%s\\fR\n", iv_presets[i].name);
        troff(text, iv_presets[i].summary);
        iv_text_puts(text, ": ");
        if (line.failed) text->failed = true;
        troff(text, line.data != NULL ? line.data : "");
        iv_text_puts(text, ".\n");
        iv_text_free(&line);
    }
}

static void man_start(iv_text *text, const char *page, const char *summary)
{
    iv_text_puts(text, ".\\\" Written by 'isovae help --man'; do not edit.\n.TH \"");
    for (const char *at = page; *at != '\0'; at++) {
        char letter = *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at;
        if (letter == '-') {
            iv_text_puts(text, "\\-");
        } else {
            iv_text_append(text, &letter, 1);
        }
    }
    iv_text_printf(text, "\" 1 \"%s\" \"isovae %s\" \"isovae\"\n.SH NAME\n", man_date,
                   ISOVAE_VERSION);
    troff(text, page);
    iv_text_puts(text, " \\- ");
    troff(text, summary);
    iv_text_puts(text, "\n");
}

static void man_exit_codes(iv_text *text)
{
    iv_text_puts(text, ".SH EXIT STATUS\n");
    for (size_t i = 0; i < N_EXIT_CODES; i++) {
        iv_text_printf(text, ".TP\n\\fB%s\\fR\n", exit_codes[i][0]);
        troff(text, exit_codes[i][1]);
        iv_text_puts(text, "\n");
    }
}

static void man_overview(iv_text *text)
{
    man_start(text, "isovae", "variational autoencoders, trained and explained in numbers");
    iv_text_puts(text, ".SH SYNOPSIS\n.B isovae\n.I COMMAND\n[options]\n.SH DESCRIPTION\n");
    troff(text,
          "isovae does for VAEs what an eigenvalue plot does for PCA. It trains a VAE and tells in "
          "numbers what it learned: how important each latent is, like a PCA eigenvalue, and which "
          "features it moves; how probable a data point is, in nats; how far the model is from the "
          "optimum that theory predicts; and coordinates in which distances are distances in the "
          "data.\n\n"
          "Results go to standard output or to the file named by -o; progress and messages go to "
          "standard error. Files are written whole or not at all.");
    iv_text_puts(text, "\n.SH COMMANDS\n");
    for (size_t i = 0; i < cli_n_commands; i++) {
        iv_text_printf(text, ".TP\n\\fBisovae\\-%s\\fR(1)\n", cli_commands[i].name);
        troff(text, cli_commands[i].summary);
        iv_text_puts(text, "\n");
    }
    iv_text_puts(text, ".TP\n\\fBisovae help\\fR [\\fICOMMAND\\fR]\nthe list of commands, or the "
                       "options of one\n.TP\n\\fBisovae version\\fR\nthe version\n");
    iv_text_puts(text, ".SH EXAMPLES\n.EX\nisovae demo\nisovae fit table.csv \\-o m.safetensors\n"
                       "isovae report m.safetensors table.csv \\-\\-html report.html\n"
                       "isovae score m.safetensors new.csv \\-o scores.csv\n.EE\n");
    man_exit_codes(text);
    iv_text_puts(text,
                 ".SH ENVIRONMENT\n.TP\n\\fBNO_COLOR\\fR\nWhere it is set and not empty, output "
                 "has no colours.\n.TP\n\\fBISOVAE_ISA\\fR\nThe instruction set to compute with "
                 "where \\fB\\-\\-isa\\fR does not say: baseline, avx2 or avx512.\n");
    iv_text_puts(text, ".SH SEE ALSO\n");
    for (size_t i = 0; i < cli_n_commands; i++) {
        iv_text_printf(text, ".BR isovae\\-%s (1)%s\n", cli_commands[i].name,
                       i + 1 < cli_n_commands ? "," : "");
    }
}

void cli_help_man(iv_text *text, const cli_command *command)
{
    if (command == NULL) {
        man_overview(text);
        return;
    }
    char page[48];
    snprintf(page, sizeof page, "isovae-%s", command->name);
    man_start(text, page, command->summary);
    iv_text_printf(text, ".SH SYNOPSIS\n\\fBisovae %s\\fR ", command->name);
    troff(text, command->arguments);
    iv_text_puts(text, " [options]\n.SH DESCRIPTION\n");
    troff(text, command->description);
    iv_text_puts(text, "\n.SH OPTIONS\n");
    each_option(text, command->bit, 0, EVERY, man_heading, man_option);
    if (command->bit == CLI_FIT) man_presets(text);
    iv_text_puts(text, ".SH EXAMPLES\n");
    for (const char *at = command->examples; *at != '\0';) {
        size_t line = strcspn(at, "\n"), words = strcspn(at, "\t\n");
        char piece[256];
        snprintf(piece, sizeof piece, "%.*s", (int)words, at);
        iv_text_puts(text, ".TP\n.B ");
        troff(text, piece);
        snprintf(piece, sizeof piece, "%.*s", words < line ? (int)(line - words - 1) : 0,
                 words < line ? at + words + 1 : at);
        iv_text_puts(text, "\n");
        troff(text, *piece != '\0' ? piece : "\\&");
        iv_text_puts(text, "\n");
        at += line;
        if (*at == '\n') at++;
    }
    man_exit_codes(text);
    iv_text_puts(text, ".SH SEE ALSO\n.BR isovae (1)\n");
}

/* ---- completion ---- */

/* Words that complete an argument: those of a choice. */
static void bash_choices(iv_text *text)
{
    for (size_t i = 0; i < cli_n_options; i++) {
        const cli_option *option = &cli_options[i];
        if (option->kind != CLI_CHOICE) continue;
        bool repeated = false;
        for (size_t k = 0; k < i; k++) repeated |= strcmp(cli_options[k].name, option->name) == 0;
        if (repeated) continue;
        iv_text_printf(text, "        --%s) words=\"", option->name);
        for (const char *at = option->argument; *at != '\0'; at++) {
            iv_text_append(text, *at == '|' ? " " : at, 1);
        }
        iv_text_puts(text, "\" ;;\n");
    }
}

void cli_help_bash(iv_text *text)
{
    iv_text_puts(text,
                 "# bash completion for isovae. Written by 'isovae help --bash'; do not edit.\n"
                 "_isovae() {\n"
                 "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
                 "    local command=${COMP_WORDS[1]} words=\n"
                 "    COMPREPLY=()\n"
                 "    if ((COMP_CWORD == 1)); then\n"
                 "        words=\"help version");
    for (size_t i = 0; i < cli_n_commands; i++) iv_text_printf(text, " %s", cli_commands[i].name);
    iv_text_puts(text, "\"\n"
                       "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
                       "        return\n"
                       "    fi\n"
                       "    case $before in\n"
                       "        help) words=\"");
    for (size_t i = 0; i < cli_n_commands; i++) {
        iv_text_printf(text, "%s%s", i > 0 ? " " : "", cli_commands[i].name);
    }
    iv_text_puts(text, "\" ;;\n");
    bash_choices(text);
    iv_text_puts(text, "        --loss) words=\"sse bce weighted:down weighted:up\" ;;\n"
                       "        --activation) words=\"silu tanh relu leaky_relu elu gelu softplus "
                       "sigmoid\" ;;\n"
                       "    esac\n"
                       "    if [[ -z $words && $current == -* ]]; then\n"
                       "        case $command in\n");
    for (size_t i = 0; i < cli_n_commands; i++) {
        iv_text_printf(text, "            %s) words=\"", cli_commands[i].name);
        bool first = true;
        for (size_t k = 0; k < cli_n_options; k++) {
            if ((cli_options[k].commands & cli_commands[i].bit) == 0) continue;
            iv_text_printf(text, "%s--%s", first ? "" : " ", cli_options[k].name);
            first = false;
        }
        iv_text_puts(text, "\" ;;\n");
    }
    iv_text_puts(text, "        esac\n"
                       "    fi\n"
                       "    if [[ -n $words ]]; then\n"
                       "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
                       "    elif [[ $before == toy && $current == : ]]; then\n"
                       "        COMPREPLY=(norm mix mixa ramp tri)\n"
                       "    elif [[ $before == : && ${COMP_WORDS[COMP_CWORD-2]} == toy ]]; then\n"
                       "        mapfile -t COMPREPLY < <(compgen -W \"norm mix mixa ramp tri\" -- "
                       "\"$current\")\n"
                       "    else\n"
                       "        mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
                       "    fi\n"
                       "}\n"
                       "complete -o filenames -F _isovae isovae\n");
}

/* ---- docs/defaults.md ---- */

/* | would end a cell of the table. */
static void markdown(iv_text *text, const char *string)
{
    for (; *string != '\0'; string++) {
        if (*string == '|') {
            iv_text_puts(text, "\\|");
        } else {
            iv_text_append(text, string, 1);
        }
    }
}

static void markdown_heading(iv_text *text, const char *group)
{
    iv_text_printf(text, "\n### %s\n\n| option | default | what it is |\n|---|---|---|\n", group);
}

static void markdown_option(iv_text *text, const cli_option *option, size_t width)
{
    (void)width;
    iv_text_printf(text, "| `--%s%s", option->name, option->implied != NULL ? "[=" : "");
    if (option->argument != NULL) {
        iv_text_puts(text, option->implied != NULL ? "" : " ");
        markdown(text, option->argument);
        if (option->implied != NULL) iv_text_puts(text, "]");
    }
    iv_text_puts(text, "`");
    if (option->letter != 0) iv_text_printf(text, ", `-%c`", option->letter);
    iv_text_puts(text, " | ");
    markdown(text, option->fallback != NULL ? option->fallback : "");
    iv_text_puts(text, " | ");
    markdown(text, option->help);
    iv_text_puts(text, " |\n");
}

static void markdown_presets(iv_text *text)
{
    for (size_t i = 0; i < iv_n_presets; i++) {
        iv_text_printf(text, "\n### --preset %s\n\n%s. What is given besides counts.\n\n| option |",
                       iv_presets[i].name, iv_presets[i].summary);
        preset_sizes(text, " | ");
        iv_text_puts(text, " |\n|---|---|---|---|---|\n");
        for (size_t r = 0; r < iv_presets[i].n_rows; r++) {
            const iv_preset_row *row = &iv_presets[i].rows[r];
            iv_text_printf(text, "| `--%s` |", row->option);
            for (size_t s = 0; s < IV_PRESET_SIZES; s++)
                iv_text_printf(text, " %s |", row->value[s]);
            iv_text_puts(text, "\n");
        }
    }
}

void cli_help_defaults(iv_text *text)
{
    iv_text_puts(
        text,
        "# Defaults\n\n"
        "<!-- Written by 'isovae help --defaults'; do not edit. -->\n\n"
        "`isovae fit table.csv -o m.safetensors` alone is meant to give a good model. This is what "
        "it "
        "does, from the same table that the command reads.\n\n"
        "What lies behind the less obvious ones:\n\n"
        "- **beta auto.** For a sum of squared errors the model is a Gaussian decoder with noise "
        "variance beta/2, so beta/2 follows the mean squared error per feature of the sampled "
        "reconstruction, which is the maximum-likelihood noise (constant features are not "
        "counted). It "
        "does not fall below `--beta-floor` times the mean feature variance, for else noiseless "
        "data "
        "would drive it to 0. Latents whose variance is below beta/2 switch off.\n"
        "- **Learned noise.** `--noise feature` and `--loss student` learn the noise of each "
        "feature "
        "beside the network, at a rate of 0.01 that falls as the network's does. It starts well "
        "below the variances that must survive and stands still for the first 5 % of the steps "
        "(with `--noise-start` it starts there and learns at once), and does not fall below its "
        "floor, `--noise-floor` times the mean feature variance in scaled "
        "units: 0.005 for Gaussian noise, as for beta; 0.1 for student, where near-exact relations "
        "between columns are not to be trusted.\n"
        "- **Annealed from above.** Beta starts higher and falls to its value over the first half "
        "of "
        "the steps. The start is taken from the PCA spectrum so that beta/2 stays below the "
        "variances "
        "that must survive: from too high a start a weak axis collapses and does not come back.\n"
        "- **10 latents, 32 for images.** Spare latents switch off in the conventional objective, "
        "so "
        "their number is an upper limit. Where all are active the data carry more, and `fit` says "
        "so.\n"
        "- **Scaling.** Tables mix units, so each feature is divided by its standard deviation; "
        "image "
        "values go to [0, 1]; the built-in sets are taken as they are, like PCA. The scaling is a "
        "weight "
        "in the metric and is stored in the model: densities, reconstructions and loadings come "
        "back in "
        "data units.\n"
        "- **Rate 0.01 with cosine decay to 0.** High rates and the decay to 0 matter most for how "
        "closely the optimality conditions are met. Networks wider than 128 units get 0.001. "
        "Tables with heavy tails (sums of squares; a kurtosis above 50, the mean over the columns "
        "where they are standardised) get 0.002: at 0.01 rows a hundred standard deviations out "
        "keep the network from learning anything. For the same reason no gradient of such a loss "
        "on "
        "a table is longer than 4 times the usual one (docs/theory.md, section 5).\n"
        "- **Restarts.** A run of a network of dense layers whose transform loss stays above "
        "what PCA reaches with as many components has folded two branches of the data on one "
        "latent value. It starts again from another start, twice at most, and says so; so does "
        "any run at the default rate that diverged or, of a table with heavy tails or a linear "
        "network, loses a tenth of the variance more than PCA does, at a fifth of it. Runs of "
        "under 6,000 steps "
        "are too short to call folded and are not restarted for that. `--no-restart` forbids it "
        "all.\n");
    const cli_command *fit = cli_find_command("fit");
    iv_text_puts(text, "\n## isovae fit\n");
    each_option(text, fit->bit, 0, OWN, markdown_heading, markdown_option);
    markdown_presets(text);
    for (size_t i = 0; i < cli_n_commands; i++) {
        if (&cli_commands[i] == fit) continue;
        iv_text_printf(text, "\n## isovae %s\n", cli_commands[i].name);
        each_option(text, cli_commands[i].bit, 0, OWN, markdown_heading, markdown_option);
    }
    iv_text_puts(text, "\n## Shared by the commands\n\nData options belong to every command that "
                       "reads data.\n");
    each_option(text, fit->bit, 0, SHARED, markdown_heading, markdown_option);
    iv_text_puts(
        text,
        "\n## Beta in other programs\n\n"
        "Beta belongs to D + beta KL with D summed over features and averaged over rows; d is "
        "the number of features, n that of latents. `fit` and `info` print these for the "
        "model at hand.\n\n"
        "| the other program minimises | beta here |\n|---|---|\n"
        "| 1/2 SSE + b KL | 2 b |\n"
        "| MSE (mean over features) + b KL | d b |\n"
        "| l MSE (mean over features) + KL | d / l |\n"
        "| SSE + b KL averaged over latents | b / n |\n"
        "| MSE + b KL, both averaged | d b / n |\n"
        "| BCE summed + b KL | b |\n"
        "| BCE averaged over features + b KL | d b |\n"
        "| a Gaussian decoder of fixed variance s^2, KL weighted with b | 2 s^2 b |\n"
        "| the same on inputs multiplied by c | c^2 times |\n");
}
