/* Standard error, standard output and Ctrl-C. */
#include "cli.h"

#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* The one place where a status becomes an exit code. */
int cli_exit_code(isovae_status status)
{
    switch (status) {
    case ISOVAE_OK: return CLI_EXIT_OK;
    case ISOVAE_ERR_ARGUMENT: return CLI_EXIT_USAGE;
    case ISOVAE_ERR_UNSUPPORTED: return CLI_EXIT_USAGE;
    case ISOVAE_ERR_DATA: return CLI_EXIT_INPUT;
    case ISOVAE_ERR_FORMAT: return CLI_EXIT_INPUT;
    case ISOVAE_ERR_VERSION: return CLI_EXIT_INPUT;
    case ISOVAE_ERR_MEMORY: return CLI_EXIT_SYSTEM;
    case ISOVAE_ERR_IO: return CLI_EXIT_SYSTEM;
    case ISOVAE_ERR_DIVERGED: return CLI_EXIT_TRAINING;
    case ISOVAE_ERR_CANCELLED: return CLI_EXIT_INTERRUPTED;
    case ISOVAE_ERR_INTERNAL: return CLI_EXIT_SYSTEM;
    }
    return CLI_EXIT_SYSTEM;
}

/* ---- Ctrl-C ---- */

/* A signal handler can reach nothing else. The first signal asks the work to stop; the handler is
 * then gone, so the second one kills. */
static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

void cli_catch_interrupt(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    action.sa_flags = (int)(SA_RESETHAND | SA_RESTART);
    sigaction(SIGINT, &action, NULL);
}

bool cli_interrupted(void)
{
    return interrupted != 0;
}

/* ---- messages ---- */

size_t cli_width(FILE *stream)
{
    struct winsize size;
    if (!isatty(fileno(stream))) return 0;
    if (ioctl(fileno(stream), TIOCGWINSZ, &size) != 0 || size.ws_col < 20) return 80;
    return size.ws_col;
}

isovae_status cli_start(cli *c, int argc, char **argv, isovae_error *err)
{
    const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM");
    bool plain = (no_color != NULL && *no_color != '\0') ||
                 (terminal != NULL && strcmp(terminal, "dumb") == 0);
    c->color = isatty(STDOUT_FILENO) && !plain;
    c->terminal = isatty(STDERR_FILENO) && !(terminal != NULL && strcmp(terminal, "dumb") == 0);
    iv_text line = {0};
    iv_text_puts(&line, "isovae");
    for (int i = 1; i < argc; i++) {
        iv_text_puts(&line, " ");
        cli_quote(&line, argv[i]);
    }
    isovae_status status = iv_text_check(&line, err);
    if (status == ISOVAE_OK) status = iv_strdup(&c->typed, line.data, err);
    iv_text_free(&line);
    return status;
}

static void say(cli *c, const char *format, va_list arguments)
{
    cli_bar_clear(c);
    fprintf(stderr, c->command != NULL ? "isovae %s: " : "isovae: ",
            c->command != NULL ? c->command->name : "");
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

void cli_note(cli *c, const char *format, ...)
{
    va_list arguments;
    if (c->quiet) return;
    va_start(arguments, format);
    say(c, format, arguments);
    va_end(arguments);
}

void cli_hold(cli *c, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    if (c->quiet) return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    iv_text_printf(&c->held, "isovae %s: note: %s\n", c->command->name, text);
}

void cli_tell_held(cli *c)
{
    if (c->held.length == 0 || c->held.failed) return;
    cli_bar_clear(c);
    fputs(c->held.data, stderr);
    iv_text_free(&c->held);
}

void cli_detail(cli *c, const char *format, ...)
{
    va_list arguments;
    if (!c->verbose || c->quiet) return;
    va_start(arguments, format);
    say(c, format, arguments);
    va_end(arguments);
}

void cli_complain(cli *c, const char *message)
{
    cli_bar_clear(c);
    if (c->command != NULL) {
        fprintf(stderr, "isovae %s: %s\n", c->command->name, message);
    } else {
        fprintf(stderr, "isovae: %s\n", message);
    }
}

/* ---- progress ---- */

void cli_bar_clear(cli *c)
{
    if (!c->bar.shown) return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    c->bar.shown = false;
}

static void put_duration(char *out, size_t size, double seconds)
{
    long whole = (long)(seconds + 0.5);
    if (whole < 60) {
        snprintf(out, size, "%ld s", whole);
    } else if (whole < 3600) {
        snprintf(out, size, "%ld:%02ld min", whole / 60, whole % 60);
    } else {
        snprintf(out, size, "%ld:%02ld h", whole / 3600, whole % 3600 / 60);
    }
}

/* "training   43 %  5160 of 12000 steps, 812/s (324800 rows/s), 8 s left   D 0.0123  KL 7.31  beta
 * 0.003" */
static void progress_text(const cli *c, const iv_progress_info *info, double time, char *out,
                          size_t size)
{
    const cli_bar *bar = &c->bar;
    double elapsed = time - bar->started;
    double rate = elapsed > 0.2 ? (info->done - bar->first_done) / elapsed : 0;
    char left[32] = "", speed[72] = "", amount[64] = "", values[96] = "";
    if (rate > 0) {
        snprintf(speed, sizeof speed, rate < 10 ? ", %.2g/s" : ", %.0f/s", rate);
        if (info->rows > 0) {
            size_t used = strlen(speed);
            snprintf(speed + used, sizeof speed - used, " (%.0f rows/s)", rate * info->rows);
        }
        if (info->total > info->done && elapsed > 1) {
            char span[24];
            put_duration(span, sizeof span, (info->total - info->done) / rate);
            snprintf(left, sizeof left, ", %s left", span);
        }
    }
    if (info->total > 0) {
        snprintf(amount, sizeof amount, "%3.0f %%  %.0f of %.0f %s", 100 * info->done / info->total,
                 info->done, info->total, info->unit != NULL ? info->unit : "");
    } else {
        snprintf(amount, sizeof amount, "%.0f %s", info->done,
                 info->unit != NULL ? info->unit : "");
    }
    if (isfinite(info->distortion) && isfinite(info->rate_nats) && isfinite(info->beta) &&
        info->beta > 0) {
        snprintf(values, sizeof values, "   D %.4g  KL %.3g nats  beta %.3g", info->distortion,
                 info->rate_nats, info->beta);
    }
    snprintf(out, size, "%s %s%s%s%s", info->stage != NULL ? info->stage : "working", amount, speed,
             left, values);
}

static bool on_progress(void *user, const iv_progress_info *info)
{
    cli *c = user;
    cli_bar *bar = &c->bar;
    const char *stage = info->stage != NULL ? info->stage : "working";
    double time = iv_clock();
    if (info->done > 0 && strcmp(stage, "reading") != 0) cli_tell_held(c);
    /* a stage that goes back, as a run that begins anew, is timed anew */
    if (strncmp(bar->stage, stage, sizeof bar->stage - 1) != 0 || info->done < bar->last_done) {
        snprintf(bar->stage, sizeof bar->stage, "%s", stage);
        bar->started = time;
        bar->first_done = info->done;
        bar->last = 0;
        bar->tenths = 0;
    }
    bar->last_done = info->done;
    if (!c->quiet && c->terminal && time - bar->last > 0.1) {
        char line[320];
        size_t width = cli_width(stderr);
        progress_text(c, info, time, line, sizeof line);
        if (width > 0 && strlen(line) >= width) line[width - 1] = '\0';
        fprintf(stderr, "\r%s\033[K", line);
        fflush(stderr);
        bar->shown = true;
        bar->last = time;
    } else if (!c->quiet && c->verbose && !c->terminal && info->total > 0) {
        int tenths = (int)(10 * info->done / info->total);
        if (tenths > bar->tenths) {
            char line[320];
            progress_text(c, info, time, line, sizeof line);
            cli_detail(c, "%s", line);
            bar->tenths = tenths;
        }
    }
    return !cli_interrupted();
}

iv_progress cli_progress(cli *c)
{
    return (iv_progress){on_progress, c};
}

/* ---- standard output ---- */

isovae_status cli_print(const iv_text *text, isovae_error *err)
{
    IV_TRY(iv_text_check(text, err));
    if (text->length == 0) return ISOVAE_OK;
    if (fwrite(text->data, 1, text->length, stdout) != text->length) {
        return iv_fail(err, ISOVAE_ERR_IO, "standard output: %s", strerror(errno));
    }
    return ISOVAE_OK;
}

/* A full disk shows only here. */
isovae_status cli_close_output(isovae_error *err)
{
    int before = ferror(stdout);
    errno = 0;
    if (fflush(stdout) != 0 || before != 0) {
        return iv_fail(err, ISOVAE_ERR_IO, "standard output: %s",
                       strerror(errno != 0 ? errno : EIO));
    }
    if (fclose(stdout) != 0) {
        return iv_fail(err, ISOVAE_ERR_IO, "standard output: %s", strerror(errno));
    }
    return ISOVAE_OK;
}
