#include "train/run_log.h"

#include "base/file.h"
#include "base/locale.h"
#include "base/memory.h"
#include "train/events.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { VALUES = 12 };
static const size_t longest_log = (size_t)1 << 30;

struct iv_run_log {
    char *path;
    int descriptor; /* of the lines; -1: none */
    bool regular;   /* a file that can be cut, no pipe */
    iv_events *events;
};

/* The numbers of a line by name: keys of the JSON lines, tags of the events. */
static void values_of(const iv_log_line *l, iv_scalar out[VALUES])
{
    const iv_scalar all[VALUES] = {{"epoch", l->epoch},
                                   {"seconds", l->seconds},
                                   {"loss", l->loss},
                                   {"distortion", l->distortion},
                                   {"kl", l->kl},
                                   {"validation_loss", l->validation_loss},
                                   {"validation_distortion", l->validation_distortion},
                                   {"validation_kl", l->validation_kl},
                                   {"learning_rate", l->learning_rate},
                                   {"beta", l->beta},
                                   {"steps_per_second", l->steps_per_second},
                                   {"rows_per_second", l->rows_per_second}};
    memcpy(out, all, sizeof all);
}

static double wall_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static isovae_status fail_io(isovae_error *err, const char *path, const char *doing)
{
    char text[128];
    return iv_fail(err, ISOVAE_ERR_IO, "%s: %s: %s", path, doing,
                   iv_error_text(errno, text, sizeof text));
}

/* Whether a line belongs to what the checkpoint holds. */
static bool is_kept(const char *text, size_t length, uint64_t run, uint64_t step)
{
    json_t *line = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    const json_t *its_run = json_object_get(line, "run"), *its_step = json_object_get(line, "step");
    bool kept = json_is_integer(its_run) && json_is_integer(its_step);
    if (kept) {
        json_int_t r = json_integer_value(its_run), s = json_integer_value(its_step);
        kept =
            r >= 0 && s >= 0 && ((uint64_t)r < run || ((uint64_t)r == run && (uint64_t)s <= step));
    }
    json_decref(line);
    return kept;
}

/* Length of the beginning of the file that is kept: whole lines, up to the checkpoint. */
static isovae_status kept_length(const char *path, uint64_t run, uint64_t step, size_t *kept,
                                 isovae_error *err)
{
    unsigned char *bytes;
    size_t length;
    *kept = 0;
    if (access(path, F_OK) != 0) return ISOVAE_OK;
    IV_TRY(iv_file_read(path, longest_log, &bytes, &length, err));
    const char *text = (const char *)bytes;
    while (*kept < length) {
        const char *end = memchr(text + *kept, '\n', length - *kept);
        if (end == NULL || !is_kept(text + *kept, (size_t)(end - text) - *kept, run, step)) break;
        *kept = (size_t)(end - text) + 1;
    }
    iv_free(bytes);
    return ISOVAE_OK;
}

static isovae_status open_lines(iv_run_log *log, const char *path, bool resumed, uint64_t run,
                                uint64_t step, isovae_error *err)
{
    struct stat about;
    size_t kept = 0;
    IV_TRY(iv_strdup(&log->path, path, err));
    log->regular = stat(path, &about) != 0 || S_ISREG(about.st_mode);
    if (resumed && log->regular) IV_TRY(kept_length(path, run, step, &kept, err));
    log->descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (log->descriptor < 0) return fail_io(err, path, "the log cannot be opened");
    if (log->regular && ftruncate(log->descriptor, (off_t)kept) != 0)
        return fail_io(err, path, "the log cannot be cut to the step of the checkpoint");
    return ISOVAE_OK;
}

isovae_status iv_run_log_open(const char *lines, const char *events_folder, bool resumed,
                              uint64_t run, uint64_t step, iv_run_log **out, isovae_error *err)
{
    iv_run_log *log;
    *out = NULL;
    if (lines == NULL && events_folder == NULL) return ISOVAE_OK;
    IV_TRY(IV_NEW(log, 1, "a log", err));
    log->descriptor = -1;
    isovae_status status = ISOVAE_OK;
    if (lines != NULL) status = open_lines(log, lines, resumed, run, step, err);
    if (status == ISOVAE_OK && events_folder != NULL) {
        double wall = wall_time();
        status = iv_events_open(events_folder, wall, &log->events, err);
        if (status == ISOVAE_OK)
            status = iv_events_begin(log->events, wall, resumed ? step + 1 : 0, err);
    }
    if (status != ISOVAE_OK) {
        iv_run_log_close(log);
        return status;
    }
    *out = log;
    return ISOVAE_OK;
}

void iv_run_log_close(iv_run_log *log)
{
    if (log == NULL) return;
    if (log->descriptor >= 0) close(log->descriptor);
    iv_events_close(log->events);
    iv_free(log->path);
    iv_free(log);
}

isovae_status iv_run_log_again(iv_run_log *log, uint64_t run, isovae_error *err)
{
    if (log == NULL) return ISOVAE_OK;
    if (log->regular) {
        size_t kept;
        IV_TRY(kept_length(log->path, run, 0, &kept, err));
        if (ftruncate(log->descriptor, (off_t)kept) != 0)
            return fail_io(err, log->path, "the log cannot be cut to where the run began");
    }
    if (log->events == NULL) return ISOVAE_OK;
    return iv_events_begin(log->events, wall_time(), 0, err);
}

static isovae_status add_text(const iv_run_log *log, const iv_log_line *line,
                              const iv_scalar *values, isovae_error *err)
{
    iv_text text = {0};
    iv_text_printf(&text, "{\"run\":%llu,\"step\":%llu", (unsigned long long)line->run,
                   (unsigned long long)line->step);
    for (size_t i = 0; i < VALUES; i++) {
        char number[40] = "null";
        if (isfinite(values[i].value)) iv_format_double(number, sizeof number, values[i].value, 9);
        iv_text_printf(&text, ",\"%s\":%s", values[i].tag, number);
    }
    iv_text_puts(&text, "}\n");
    isovae_status status = iv_text_check(&text, err);
    for (size_t done = 0; status == ISOVAE_OK && done < text.length;) {
        ssize_t wrote = write(log->descriptor, text.data + done, text.length - done);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0)
            status = fail_io(err, log->path, "writing the log");
        else
            done += (size_t)wrote;
    }
    iv_text_free(&text);
    return status;
}

isovae_status iv_run_log_add(iv_run_log *log, const iv_log_line *line, isovae_error *err)
{
    iv_scalar values[VALUES];
    if (log == NULL) return ISOVAE_OK;
    values_of(line, values);
    if (log->descriptor >= 0) IV_TRY(add_text(log, line, values, err));
    if (log->events == NULL) return ISOVAE_OK;
    return iv_events_add(log->events, wall_time(), line->step, values, VALUES, err);
}
