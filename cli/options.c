/* Parsing over popt. popt only splits the words into options, arguments and the rest; values are
 * checked here, by the table, and never depend on the locale. */
#include "options.h"

#include "base/file.h"
#include "base/memory.h"

#include <math.h>
#include <popt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 96, MAX_WORD = 64 };

bool cli_parse_count(const char *text, uint64_t *out)
{
    uint64_t value = 0;
    if (*text == '\0') return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') return false;
        uint64_t digit = (uint64_t)(*text - '0');
        if (value > (UINT64_MAX - digit) / 10) return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

bool cli_parse_duration(const char *text, double *seconds)
{
    static const char units[] = "dhms";
    static const double lengths[] = {86400, 3600, 60, 1};
    double sum = 0;
    size_t next = 0; /* unit that may come */
    while (*text != '\0') {
        double value;
        size_t length = strspn(text, "0123456789.");
        const char *unit = text[length] != '\0' ? strchr(units + next, text[length]) : NULL;
        if (length == 0 || unit == NULL || !iv_parse_double(text, length, &value)) return false;
        next = (size_t)(unit - units) + 1;
        sum += value * lengths[next - 1];
        text += length + 1;
    }
    *seconds = sum;
    return sum > 0 && sum <= 3650.0 * 86400;
}

/* Edits (insert, delete, replace, swap of neighbours) that turn a into b. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows[3][MAX_WORD + 1];
    size_t n = strlen(a), m = strlen(b);
    if (n > MAX_WORD || m > MAX_WORD) return MAX_WORD;
    for (size_t j = 0; j <= m; j++) rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = rows[i % 3], *before = rows[(i - 1) % 3], *earlier = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = before[j - 1] + (a[i - 1] != b[j - 1]);
            if (before[j] + 1 < best) best = before[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                earlier[j - 2] + 1 < best) {
                best = earlier[j - 2] + 1;
            }
            now[j] = best;
        }
    }
    return rows[n % 3][m];
}

const char *cli_nearest(const char *word, const char *const *candidates, size_t n)
{
    const char *nearest = NULL;
    size_t least = MAX_WORD;
    for (size_t i = 0; i < n; i++) {
        char start[MAX_WORD + 1];
        size_t length = strlen(candidates[i]), given = strlen(word);
        size_t distance = edit_distance(word, candidates[i]);
        size_t allowed = length < 4 ? 1 : length < 7 ? 2 : 3;
        /* the beginning of a long word counts as near: --latnt for --latent-dim */
        if (given >= 4 && given < length && given < MAX_WORD) {
            for (size_t more = 0; more < 2; more++) {
                snprintf(start, sizeof start, "%.*s", (int)(given + more), candidates[i]);
                size_t to_start = edit_distance(word, start) + 1;
                if (to_start <= 2 && to_start < distance) distance = to_start;
            }
        }
        if (distance <= allowed && distance < least) {
            least = distance;
            nearest = candidates[i];
        }
    }
    return nearest;
}

static bool is_choice(const char *words, const char *text)
{
    size_t length = strlen(text);
    for (const char *at = words; at != NULL; at = strchr(at, '|')) {
        if (*at == '|') at++;
        if (strncmp(at, text, length) == 0 && (at[length] == '|' || at[length] == '\0')) {
            return length > 0;
        }
    }
    return false;
}

/* "conventional|decomposed" as "conventional, decomposed". */
static void list_words(const char *words, char *out, size_t size)
{
    size_t used = 0;
    for (const char *at = words; *at != '\0' && used + 3 < size; at++) {
        if (*at == '|') {
            out[used++] = ',';
            out[used++] = ' ';
        } else {
            out[used++] = *at;
        }
    }
    out[used] = '\0';
}

static isovae_status check_value(const cli_option *option, cli_value *value, isovae_error *err)
{
    const char *text = value->text;
    const char *wants = NULL;
    char words[128];
    bool is_number = iv_parse_double(text, strlen(text), &value->number) && isfinite(value->number);
    switch (option->kind) {
    case CLI_FLAG: break;
    case CLI_TEXT:
        if (*text == '\0') wants = "something that is not empty";
        break;
    case CLI_CHOICE:
        if (!is_choice(option->argument, text)) {
            list_words(option->argument, words, sizeof words);
            return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--%s: '%s' is none of %s", option->name, text,
                           words);
        }
        break;
    case CLI_COUNT:
        if (!cli_parse_count(text, &value->count) || value->count < 1) {
            wants = "a whole number from 1";
        }
        break;
    case CLI_NATURAL:
        if (!cli_parse_count(text, &value->count)) wants = "a whole number from 0";
        break;
    case CLI_POSITIVE:
        if (!is_number || value->number <= 0) wants = "a number above 0";
        break;
    case CLI_NOT_NEGATIVE:
        if (!is_number || value->number < 0) wants = "a number from 0";
        break;
    case CLI_SHARE:
        if (!is_number || value->number < 0 || value->number > 1) wants = "a number from 0 to 1";
        break;
    case CLI_DURATION:
        if (!cli_parse_duration(text, &value->number)) {
            wants = "a time such as 90s, 30m or 1h30m";
        }
        break;
    case CLI_EVERY:
        value->number = 0;
        if (cli_parse_count(text, &value->count) && value->count >= 1) break;
        value->count = 0;
        if (!cli_parse_duration(text, &value->number)) {
            wants = "a whole number of steps from 1, or a time such as 90s, 10m or 1h";
        }
        break;
    case CLI_AUTO:
        if (strcmp(text, "auto") == 0) {
            value->number = NAN;
        } else if (!is_number || value->number <= 0) {
            wants = "'auto' or a number above 0";
        }
        break;
    }
    if (wants == NULL) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--%s: '%s' is not %s", option->name, text, wants);
}

/* ---- errors ---- */

static const char *command_with_option(const char *name, unsigned command)
{
    static const struct {
        unsigned bit;
        const char *name;
    } commands[] = {
        {CLI_FIT, "fit"},           {CLI_REPORT, "report"}, {CLI_SCORE, "score"},
        {CLI_ENCODE, "encode"},     {CLI_DECODE, "decode"}, {CLI_SAMPLE, "sample"},
        {CLI_TRAVERSE, "traverse"}, {CLI_INFO, "info"},     {CLI_PRUNE, "prune"},
        {CLI_AUDIT, "audit"},       {CLI_DEMO, "demo"},     {CLI_STABILITY, "stability"},
        {CLI_DRIFT, "drift"},       {CLI_EXPORT, "export"}};
    for (size_t c = 0; c < sizeof commands / sizeof commands[0]; c++) {
        if (commands[c].bit == command) continue;
        for (size_t i = 0; i < cli_n_options; i++) {
            if ((cli_options[i].commands & commands[c].bit) != 0 &&
                strcmp(cli_options[i].name, name) == 0) {
                return commands[c].name;
            }
        }
    }
    return NULL;
}

static isovae_status unknown_option(unsigned command, const char *given, isovae_error *err)
{
    const char *names[MAX_ROWS];
    size_t n = 0;
    char word[MAX_WORD];
    size_t dashes = strspn(given, "-");
    size_t length = strcspn(given + dashes, "=");
    if (length >= sizeof word) length = sizeof word - 1;
    memcpy(word, given + dashes, length);
    word[length] = '\0';

    for (size_t i = 0; i < cli_n_options && n < MAX_ROWS; i++) {
        if ((cli_options[i].commands & command) != 0) names[n++] = cli_options[i].name;
    }
    const char *nearest = dashes == 2 || length > 1 ? cli_nearest(word, names, n) : NULL;
    const char *elsewhere = dashes == 2 ? command_with_option(word, command) : NULL;
    if (elsewhere != NULL) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "there is no option '--%s' here; it belongs to 'isovae %s'", word,
                       elsewhere);
    }
    if (nearest != NULL) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "unknown option '%.*s%s'; did you mean '--%s'?",
                       (int)dashes, given, word, nearest);
    }
    return iv_fail(err, ISOVAE_ERR_ARGUMENT, "unknown option '%.*s%s'; --help lists them",
                   (int)dashes, given, word);
}

static const cli_option *find_row(unsigned command, const char *given)
{
    size_t dashes = strspn(given, "-");
    for (size_t i = 0; i < cli_n_options; i++) {
        const cli_option *row = &cli_options[i];
        if ((row->commands & command) == 0) continue;
        size_t length = strcspn(given + dashes, "=");
        if (dashes == 2 && strncmp(given + 2, row->name, length) == 0 &&
            row->name[length] == '\0') {
            return row;
        }
        if (dashes == 1 && row->letter != 0 && given[1] == row->letter) return row;
    }
    return NULL;
}

static isovae_status popt_failure(unsigned command, poptContext context, int code,
                                  isovae_error *err)
{
    const char *given = poptBadOption(context, POPT_BADOPTION_NOALIAS);
    if (given == NULL) given = "?";
    const cli_option *row = find_row(command, given);
    if (code == POPT_ERROR_BADOPT) return unknown_option(command, given, err);
    if (code == POPT_ERROR_NOARG && row != NULL) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "%s needs a value: %s", given, row->argument);
    }
    if (code == POPT_ERROR_UNWANTEDARG) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "%s takes no value", given);
    }
    return iv_fail(err, ISOVAE_ERR_ARGUMENT, "%s: %s", given, poptStrerror(code));
}

/* ---- parsing ---- */

/* popt takes the next word for the argument of an option whose argument may be left out; here it
 * must be joined with '=', so a bare one gets its implied value first. Words after -- are left. */
static void imply_values(unsigned command, int argc, const char **argv, char (*room)[MAX_WORD])
{
    size_t used = 0;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        for (size_t k = 0; k < cli_n_options && used < MAX_ROWS; k++) {
            const cli_option *row = &cli_options[k];
            if ((row->commands & command) == 0 || row->implied == NULL) continue;
            if (strncmp(argv[i], "--", 2) != 0 || strcmp(argv[i] + 2, row->name) != 0) continue;
            size_t name = strlen(argv[i]), value = strlen(row->implied);
            if (name + value + 2 > MAX_WORD) continue;
            memcpy(room[used], argv[i], name);
            room[used][name] = '=';
            memcpy(room[used] + name + 1, row->implied, value + 1);
            argv[i] = room[used++];
        }
    }
}

static isovae_status take_options(unsigned command, poptContext context,
                                  cli_value values[OPT_SLOTS], isovae_error *err)
{
    int code;
    while ((code = poptGetNextOpt(context)) > 0) {
        const cli_option *row = &cli_options[code - 1];
        cli_value *value = &values[row->slot];
        value->set = true;
        if (row->kind == CLI_FLAG) continue;
        char *text = poptGetOptArg(context);
        iv_free(value->text); /* the last one given counts */
        value->text = NULL;
        isovae_status status = iv_strdup(&value->text, text != NULL ? text : "", err);
        free(text);
        IV_TRY(status);
        IV_TRY(check_value(row, value, err));
    }
    if (code < -1) return popt_failure(command, context, code, err);
    return ISOVAE_OK;
}

static isovae_status take_arguments(poptContext context, char *arguments[CLI_MAX_ARGUMENTS],
                                    size_t *n_arguments, isovae_error *err)
{
    const char *word;
    while ((word = poptGetArg(context)) != NULL) {
        if (*n_arguments == CLI_MAX_ARGUMENTS) {
            return iv_fail(err, ISOVAE_ERR_ARGUMENT, "'%s' is one argument too many", word);
        }
        IV_TRY(iv_strdup(&arguments[*n_arguments], word, err));
        ++*n_arguments;
    }
    return ISOVAE_OK;
}

isovae_status cli_parse(unsigned command, int argc, char **argv, cli_value values[OPT_SLOTS],
                        char *arguments[CLI_MAX_ARGUMENTS], size_t *n_arguments, isovae_error *err)
{
    struct poptOption rows[MAX_ROWS + 1];
    char room[MAX_ROWS][MAX_WORD];
    size_t n = 0;
    memset(rows, 0, sizeof rows);
    for (size_t i = 0; i < cli_n_options && n < MAX_ROWS; i++) {
        if ((cli_options[i].commands & command) == 0) continue;
        rows[n].longName = cli_options[i].name;
        rows[n].shortName = cli_options[i].letter;
        rows[n].argInfo = cli_options[i].kind == CLI_FLAG ? POPT_ARG_NONE : POPT_ARG_STRING;
        rows[n].val = (int)i + 1;
        n++;
    }
    *n_arguments = 0;
    const char **words;
    IV_TRY(IV_NEW(words, (size_t)argc + 1, "arguments", err));
    for (int i = 0; i < argc; i++) words[i] = argv[i];
    imply_values(command, argc, words, room);

    isovae_status status;
    poptContext context = poptGetContext(NULL, argc, words, rows, POPT_CONTEXT_NO_EXEC);
    if (context == NULL) {
        status = iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for the options");
    } else {
        status = take_options(command, context, values, err);
        if (status == ISOVAE_OK) status = take_arguments(context, arguments, n_arguments, err);
        poptFreeContext(context);
    }
    iv_free(words);
    return status;
}

void cli_values_free(cli_value values[OPT_SLOTS], char *arguments[CLI_MAX_ARGUMENTS])
{
    for (size_t i = 0; i < OPT_SLOTS; i++) iv_free(values[i].text);
    for (size_t i = 0; i < CLI_MAX_ARGUMENTS; i++) iv_free(arguments[i]);
}
