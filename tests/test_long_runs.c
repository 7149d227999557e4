/* What long runs need: the time budget, the log of a run, event files; and what they leave alone.
 */
#include "support_fit.h"

#include "base/file.h"
#include "base/memory.h"
#include "model/file.h"
#include "train/budget.h"
#include "train/events.h"
#include "train/plan.h"
#include "train/run_log.h"
#include "train/train.h"

#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static isovae_error err;
static char place[64];

static const char *in_place(const char *name)
{
    static char paths[4][128];
    static size_t next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", place, name);
    return path;
}

static int make_place(void **state)
{
    (void)state;
    snprintf(place, sizeof place, "/tmp/isovae-runs-XXXXXX");
    return mkdtemp(place) == NULL;
}

static void empty(const char *folder)
{
    DIR *list = opendir(folder);
    struct dirent *entry;
    while (list != NULL && (entry = readdir(list)) != NULL) {
        char path[512];
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (unlink(path) != 0) {
            empty(path);
            rmdir(path);
        }
    }
    if (list != NULL) closedir(list);
}

static int drop_place(void **state)
{
    (void)state;
    empty(place);
    return rmdir(place);
}

/* ---- the time budget, by a clock that is only an argument ---- */

/* A machine on which step s ends at seconds_of(s); returns when the run ends. */
typedef struct machine {
    double each, later; /* seconds a step; those after step `change` */
    uint64_t change;
    double from, to; /* or between these seconds; 0: never */
} machine;

typedef struct course {
    uint64_t made, planned, again, bends;
    bool out;
    double end;
} course;

static course drive(double limit, uint64_t asked, machine m)
{
    iv_budget b;
    course c = {.planned = asked};
    double now = 100;
    iv_budget_start(&b, limit, 0, now);
    iv_budget_attempt(&b, 0, asked, false, now);
    while (c.made < c.planned && !c.out) {
        bool later = c.made >= m.change ||
                     (m.from > 0 && now - 100 > m.from && (m.to <= 0 || now - 100 < m.to));
        now += later ? m.later : m.each;
        c.made++;
        switch (iv_budget_look(&b, now, c.made, &c.planned)) {
        case IV_BUDGET_GO: break;
        case IV_BUDGET_AGAIN:
            c.again++;
            c.made = 0;
            iv_budget_attempt(&b, 0, asked, false, now);
            break;
        case IV_BUDGET_BEND: c.bends++; break;
        case IV_BUDGET_OUT: c.out = true; break;
        }
    }
    c.end = now - 100;
    return c;
}

static void budget(void **state)
{
    (void)state;
    course c = drive(0, 1000, (machine){1, 1, 0, 0, 0}); /* no limit */
    assert_true(c.made == 1000 && c.planned == 1000 && !c.again && !c.bends && !c.out);
    c = drive(1000, 500, (machine){1, 1, 500, 0, 0}); /* all of it fits */
    assert_true(c.made == 500 && !c.again && !c.bends && !c.out);
    c = drive(1000, 5000, (machine){1, 1, 5000, 0, 0}); /* a fifth does */
    assert_true(c.again == 1 && c.bends == 0 && !c.out);
    assert_true(c.made == c.planned && c.made > 900 && c.made < 1000);
    assert_true(c.end <= 1000 && c.end > 950);
    c = drive(1000, 5000, (machine){1, 2, 300, 0, 0}); /* half as fast from step 300 on */
    assert_true(c.again == 1 && c.bends >= 1 && !c.out && c.made == c.planned);
    assert_true(c.made > 550 && c.made < 700 && c.end <= 1000 && c.end > 940);
    c = drive(1000, 5000, (machine){1, 2, 5000, 30, 0}); /* as soon as it has begun anew */
    assert_true(c.again == 1 && c.bends >= 1 && c.made == c.planned && c.made > 440);
    c = drive(1000, 5000, (machine){1, 4, 5000, 300, 420}); /* held up for a while */
    assert_true(c.again == 1 && c.bends >= 2 && !c.out && c.made == c.planned);
    assert_true(c.made > 800 && c.made < 900 && c.end <= 1000 && c.end > 850);
    c = drive(1000, 50000, (machine){1, 10, 50000, 0.5, 200}); /* busy when it was planned */
    assert_true(c.again == 1 && c.made > 650 && c.end <= 1000 && c.end > 850);
    c = drive(1000, 860, (machine){1, 4, 5000, 300, 420}); /* never more than asked */
    assert_true(c.again == 0 && c.bends >= 2 && c.made == 860 && c.end <= 1000);
    c = drive(1000, 5000,
              (machine){1, 500, 300, 0, 0}); /* nearly stands still: nothing can be planned */
    assert_true(c.made >= 300 && c.end <= 1000 + 500);
    c = drive(10, 5000, (machine){100, 100, 0, 0, 0}); /* one step is longer than the limit */
    assert_true(c.out && c.made == 1);
}

static void budget_of_a_resumed_run(void **state)
{
    iv_budget b;
    uint64_t steps = 1000;
    (void)state;
    iv_budget_start(&b, 100, 60, 5000);
    assert_true(fabs(iv_budget_seconds(&b, 5010) - 70) < 1e-9);
    iv_budget_attempt(&b, 500, 1000, false, 5000);
    for (uint64_t i = 1; i <= 2; i++)
        assert_int_equal(iv_budget_look(&b, 5000 + (double)i, 500 + i, &steps), IV_BUDGET_GO);
    iv_budget_word word = IV_BUDGET_GO;
    uint64_t step = 502;
    for (double now = 5002; word == IV_BUDGET_GO && now < 5030; now += 1)
        word = iv_budget_look(&b, now + 1, ++step, &steps);
    assert_int_equal(word, IV_BUDGET_BEND); /* never anew: what was learned counts */
    assert_true(steps > step && steps < 545);
    assert_int_equal(iv_budget_look(&b, 5040, step + 1, &steps), IV_BUDGET_OUT);
    assert_false(iv_budget_room(&b, 5030, false));
    assert_false(iv_budget_room(&b, 5031, true));
    assert_true(iv_budget_room(&b, 5019, false));
    assert_true(iv_budget_room(&b, 5029, true));
}

/* Whatever the bends, the schedule is continuous and ends at its end. */
static void bent_schedule(void **state)
{
    (void)state;
    iv_fit_plan plan = {.asked_steps = 1000, .batch = 10, .rate = 1, .beta = 1, .beta_start = 1};
    iv_plan_set_steps(&plan, 1000);
    assert_true(iv_plan_done(&plan, 250) == 0.25);
    double before = iv_plan_rate(&plan, 400);
    iv_plan_bend(&plan, 400, 600);
    assert_true(fabs(iv_plan_rate(&plan, 400) - before) < 1e-12);
    assert_true(fabs(iv_plan_done(&plan, 500) - 0.7) < 1e-12);
    assert_int_equal(plan.line_every, 6);
    iv_plan_bend(&plan, 500, 520);
    assert_true(fabs(iv_plan_done(&plan, 500) - 0.7) < 1e-12);
    assert_true(fabs(iv_plan_done(&plan, 520) - 1) < 1e-12);
    assert_true(iv_plan_rate(&plan, 519) < 0.001);
    for (uint64_t t = 500; t < 520; t++)
        assert_true(iv_plan_rate(&plan, t + 1) < iv_plan_rate(&plan, t));
    iv_plan_set_steps(&plan, 300);
    assert_true(plan.bend_step == 0 && iv_plan_done(&plan, 150) == 0.5);
}

/* ---- event files, read by a small reader of their own ---- */

typedef struct wire {
    const unsigned char *at, *end;
} wire;

static uint64_t fixed(wire *w, size_t bytes)
{
    uint64_t value = 0;
    assert_true((size_t)(w->end - w->at) >= bytes);
    for (size_t i = bytes; i-- > 0;) value = value << 8 | w->at[i];
    w->at += bytes;
    return value;
}

static uint64_t varint(wire *w)
{
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint64_t byte = fixed(w, 1);
        assert_true(shift < 64);
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80) return value;
    }
}

/* The next field; the value of a number, or the part of a message. */
static unsigned field(wire *w, uint64_t *number, wire *part)
{
    uint64_t key = varint(w);
    switch (key & 7) {
    case 0: *number = varint(w); break;
    case 1: *number = fixed(w, 8); break;
    case 5: *number = fixed(w, 4); break;
    default:
        assert_int_equal(key & 7, 2);
        *number = varint(w);
        assert_true(*number <= (uint64_t)(w->end - w->at));
        *part = (wire){w->at, w->at + *number};
        w->at += *number;
    }
    return (unsigned)(key >> 3);
}

/* Another way to the same sum: by a table. */
static uint32_t crc_by_table(const unsigned char *bytes, size_t length)
{
    uint32_t table[256], crc = UINT32_MAX;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int k = 0; k < 8; k++)
            table[i] = table[i] & 1 ? table[i] >> 1 ^ UINT32_C(0x82F63B78) : table[i] >> 1;
    }
    for (size_t i = 0; i < length; i++) crc = table[(crc ^ bytes[i]) & 255] ^ crc >> 8;
    crc = ~crc;
    return (uint32_t)((crc >> 15 | (uint64_t)crc << 17) + UINT32_C(0xa282ead8));
}

typedef struct event {
    double wall;
    uint64_t step;
    char version[32];
    bool start;
    size_t n;
    char tag[16][40];
    float value[16];
} event;

static double as_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void read_value(wire part, event *e)
{
    uint64_t number;
    wire text = {0};
    uint32_t bits = 0;
    while (part.at < part.end) {
        unsigned f = field(&part, &number, &text);
        if (f == 1) snprintf(e->tag[e->n], sizeof e->tag[0], "%.*s", (int)number, text.at);
        if (f == 2) bits = (uint32_t)number;
    }
    memcpy(&e->value[e->n++], &bits, sizeof bits);
}

static event read_event(wire w)
{
    event e = {0};
    uint64_t number;
    wire part = {0}, inner = {0};
    while (w.at < w.end) {
        switch (field(&w, &number, &part)) {
        case 1: e.wall = as_double(number); break;
        case 2: e.step = number; break;
        case 3: snprintf(e.version, sizeof e.version, "%.*s", (int)number, part.at); break;
        case 5:
            while (part.at < part.end) {
                assert_int_equal(field(&part, &number, &inner), 1);
                read_value(inner, &e);
            }
            break;
        case 7:
            assert_int_equal(field(&part, &number, &inner), 1);
            e.start = number == 1;
            break;
        default: fail_msg("an unknown field");
        }
    }
    return e;
}

/* The events of the file in `folder` whose name holds `name`. */
static size_t read_events(const char *folder, const char *name, event *out, size_t most)
{
    unsigned char *bytes;
    size_t length, n = 0, files = 0;
    char path[512];
    struct dirent *entry;
    DIR *list = opendir(folder);
    assert_non_null(list);
    while ((entry = readdir(list)) != NULL) {
        if (strstr(entry->d_name, ".tfevents.") == NULL || strstr(entry->d_name, name) == NULL)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        files++;
    }
    closedir(list);
    assert_int_equal(files, 1);
    ok(iv_file_read(path, 1 << 20, &bytes, &length, &err), &err);
    wire w = {bytes, bytes + length};
    while (w.at < w.end) {
        const unsigned char *start = w.at;
        uint64_t size = fixed(&w, 8);
        assert_int_equal(fixed(&w, 4), crc_by_table(start, 8));
        assert_true(size <= (uint64_t)(w.end - w.at));
        wire record = {w.at, w.at + size};
        w.at += size;
        assert_int_equal(fixed(&w, 4), crc_by_table(record.at, size));
        assert_true(n < most);
        out[n++] = read_event(record);
    }
    iv_free(bytes);
    return n;
}

static void events(void **state)
{
    iv_events *file, *second;
    event seen[8];
    (void)state;
    assert_int_equal(iv_crc32c("123456789", 9), 0xE3069283); /* the check value of CRC-32C */
    assert_int_equal(iv_crc32c("", 0), 0);
    const char *folder = in_place("events");
    ok(iv_events_open(folder, 1700000000.25, &file, &err), &err);
    ok(iv_events_open(folder, 1700000000.5, &second, &err), &err); /* the same second */
    iv_events_close(second);
    ok(iv_events_begin(file, 1700000001, 70000, &err), &err);
    const iv_scalar scalars[] = {{"loss", 1.5}, {"validation_loss", NAN}, {"beta", -2e-3}};
    ok(iv_events_add(file, 1700000002.5, UINT64_C(5000000000), scalars, 3, &err), &err);
    iv_events_close(file);
    assert_int_equal(read_events(folder, "1700000000.isovae.000", seen, 8), 3);
    assert_string_equal(seen[0].version, "brain.Event:2");
    assert_true(seen[0].wall == 1700000000.25 && seen[0].step == 0);
    assert_true(seen[1].start && seen[1].step == 70000 && seen[1].n == 0);
    assert_true(seen[2].step == UINT64_C(5000000000) && seen[2].wall == 1700000002.5);
    assert_int_equal(seen[2].n, 2); /* no NaN */
    assert_string_equal(seen[2].tag[0], "loss");
    assert_string_equal(seen[2].tag[1], "beta");
    assert_true(seen[2].value[0] == 1.5f && seen[2].value[1] == -2e-3f);
    assert_int_equal(read_events(folder, "isovae.001", seen, 8), 1);
    assert_int_equal(iv_events_open(in_place("no/folder"), 1, &file, &err), ISOVAE_ERR_IO);
    assert_non_null(strstr(err.message, "no/folder"));
}

/* ---- the log ---- */

static size_t read_lines(const char *path, json_t **out, size_t most)
{
    unsigned char *bytes;
    size_t length, n = 0;
    ok(iv_file_read(path, 1 << 20, &bytes, &length, &err), &err);
    for (char *at = (char *)bytes; *at != '\0'; n++) {
        char *end = strchr(at, '\n');
        assert_non_null(end);
        assert_true(n < most);
        out[n] = json_loadb(at, (size_t)(end - at), JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(out[n]);
        at = end + 1;
    }
    iv_free(bytes);
    return n;
}

static double value_of(const json_t *line, const char *key)
{
    return json_number_value(json_object_get(line, key));
}

static void add_lines(iv_run_log *log, uint64_t run, uint64_t first, uint64_t last)
{
    for (uint64_t s = first; s <= last; s += 10) {
        const iv_log_line line = {.run = run,
                                  .step = s,
                                  .loss = 1.0 / (double)s,
                                  .validation_loss = NAN,
                                  .beta = 0.003,
                                  .seconds = (double)s};
        ok(iv_run_log_add(log, &line, &err), &err);
    }
}

static void log_goes_on(void **state)
{
    iv_run_log *log;
    json_t *lines[64];
    const char *path = in_place("run.jsonl"), *folder = in_place("log-events");
    (void)state;
    ok(iv_run_log_open(NULL, NULL, false, 0, 0, &log, &err), &err);
    assert_null(log);
    ok(iv_run_log_add(log, &(iv_log_line){0}, &err), &err); /* no log: nothing happens */

    ok(iv_run_log_open(path, folder, false, 0, 0, &log, &err), &err);
    add_lines(log, 0, 10, 50);
    size_t n = read_lines(path, lines, 64); /* whole lines while the log is open */
    assert_int_equal(n, 5);
    assert_true(value_of(lines[4], "step") == 50);
    assert_true(fabs(value_of(lines[4], "loss") - 0.02) < 1e-9);
    assert_true(json_is_null(json_object_get(lines[4], "validation_loss")));
    for (size_t i = 0; i < n; i++) json_decref(lines[i]);
    ok(iv_run_log_again(log, 1, &err), &err);
    add_lines(log, 1, 10, 20);
    ok(iv_run_log_again(log, 1, &err), &err); /* a rehearsal leaves no lines */
    n = read_lines(path, lines, 64);
    assert_int_equal(n, 5);
    for (size_t i = 0; i < n; i++) json_decref(lines[i]);
    add_lines(log, 1, 10, 90);
    iv_run_log_close(log);

    /* killed while it wrote a line; the checkpoint is of step 40 of run 1 */
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    fputs("{\"run\":1,\"step\":1", file);
    fclose(file);
    ok(iv_run_log_open(path, NULL, true, 1, 40, &log, &err), &err);
    add_lines(log, 1, 50, 60);
    iv_run_log_close(log);
    n = read_lines(path, lines, 64);
    assert_int_equal(n, 5 + 6);
    for (size_t i = 0; i < n; i++) {
        assert_true(value_of(lines[i], "run") == (i < 5 ? 0 : 1));
        assert_true(value_of(lines[i], "step") == 10.0 * (double)(i < 5 ? i + 1 : i - 4));
        json_decref(lines[i]);
    }
    /* something else stands in the file: what is no log of this run is not kept */
    file = fopen(path, "w");
    fputs("[1]\nhello\n", file);
    fclose(file);
    ok(iv_run_log_open(path, NULL, true, 0, 100, &log, &err), &err);
    add_lines(log, 0, 10, 10);
    iv_run_log_close(log);
    n = read_lines(path, lines, 64);
    assert_int_equal(n, 1);
    json_decref(lines[0]);

    event seen[32];
    n = read_events(folder, "isovae.000", seen, 32);
    assert_int_equal(n, 1 + 1 + 5 + 1 + 2 + 1 + 9);
    assert_true(seen[1].start && seen[7].start && seen[7].step == 0 && seen[10].start);
    assert_true(seen[6].step == 50 && seen[19].step == 90);
    bool found = false;
    for (size_t i = 0; i < seen[19].n; i++) {
        if (strcmp(seen[19].tag[i], "loss") != 0) continue;
        assert_true(seen[19].value[i] == (float)(1.0 / 90.0));
        found = true;
    }
    assert_true(found);
    assert_int_equal(iv_run_log_open(in_place("no/log"), NULL, false, 0, 0, &log, &err),
                     ISOVAE_ERR_IO);
    if (access("/dev/full", W_OK) != 0) return;
    ok(iv_run_log_open("/dev/full", NULL, false, 0, 0, &log, &err), &err);
    assert_int_equal(iv_run_log_add(log, &(iv_log_line){0}, &err), ISOVAE_ERR_IO);
    iv_run_log_close(log);
}

/* ---- whole fits ---- */

static iv_model *fit(const iv_dataset *data, iv_fit_options *options, iv_fit_result *result)
{
    options->latent_dim = 3;
    options->beta = 0.01;
    options->batch_size = 100;
    options->no_restart = true;
    ok(iv_fit(data, options, result, &err), &err);
    return result->model;
}

/* Neither log nor limit leaves a trace in the model where the steps fit. */
static void same_model(void **state)
{
    iv_dataset *data = open_data("toy:norm,n=1000");
    iv_fit_options options;
    iv_fit_result result;
    unsigned char *plain = NULL, *logged = NULL;
    size_t length[2];
    (void)state;
    iv_fit_options_init(&options);
    options.steps = 60;
    iv_model *model = fit(data, &options, &result);
    ok(iv_model_write(model, NULL, 0, NULL, &plain, &length[0], &err), &err);
    iv_model_free(model);
    options.log = in_place("fit.jsonl");
    options.tensorboard = in_place("fit-events");
    options.checkpoint = in_place("fit.ckpt");
    options.checkpoint_seconds = 1e-9;
    options.max_seconds = 3600;
    model = fit(data, &options, &result);
    ok(iv_model_write(model, NULL, 0, NULL, &logged, &length[1], &err), &err);
    assert_true(length[0] == length[1] && memcmp(plain, logged, length[0]) == 0);
    assert_true(access(options.checkpoint, F_OK) == 0); /* by time */
    json_t *lines[200];
    size_t n = read_lines(options.log, lines, 200);
    assert_int_equal(n, model->n_history);
    for (size_t i = 0; i < n; i++) {
        const iv_history *h = &model->history[i];
        assert_true(value_of(lines[i], "step") == (double)h->step);
        assert_true(fabs(value_of(lines[i], "loss") / h->loss - 1) < 1e-7);
        assert_true(fabs(value_of(lines[i], "validation_loss") / h->validation - 1) < 1e-7);
        double parts = value_of(lines[i], "validation_distortion") +
                       value_of(lines[i], "beta") * value_of(lines[i], "validation_kl");
        assert_true(fabs(value_of(lines[i], "validation_loss") / parts - 1) < 1e-6);
        assert_true(value_of(lines[i], "rows_per_second") > 0);
        assert_true(fabs(value_of(lines[i], "epoch") - (double)h->step * 100 / 900) < 1e-6);
        json_decref(lines[i]);
    }
    iv_free(plain);
    iv_free(logged);
    iv_model_free(model);
    iv_dataset_free(data);
}

/* Steps that cannot be made in the time: fewer, with the schedule to its end; the file says so. */
static void fewer_steps(void **state)
{
    iv_dataset *data = open_data("toy:norm,n=1000");
    iv_fit_options options;
    iv_fit_result result;
    (void)state;
    iv_fit_options_init(&options);
    options.steps = 500000000;
    options.max_seconds = 0.5;
    iv_model *model = fit(data, &options, &result);
    assert_true(model->steps > 0 && model->steps < options.steps);
    assert_true(model->steps_asked == options.steps);
    assert_true(result.n_notes >= 1 && result.seconds < 60);
    const iv_history *last = &model->history[model->n_history - 1];
    assert_true(last->step == model->steps && model->n_history >= 1 && model->n_history <= 1000);
    if (!model->cut_short && model->steps > 20) /* a busy machine may make very few */
        assert_true(last->rate < 0.05 * model->history[0].rate);
    assert_true(strstr(result.notes[result.n_notes - 1].text, "--max-time") ||
                strstr(result.notes[0].text, "--max-time"));

    unsigned char *bytes;
    size_t length;
    iv_model *back;
    ok(iv_model_write(model, NULL, 0, NULL, &bytes, &length, &err), &err);
    ok(iv_model_read(bytes, length, "memory", &back, NULL, &err), &err);
    assert_true(back->steps_asked == model->steps_asked && back->cut_short == model->cut_short);
    iv_free(bytes);
    iv_model_free(back);
    iv_model_free(model);
    iv_dataset_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budget),        cmocka_unit_test(budget_of_a_resumed_run),
        cmocka_unit_test(bent_schedule), cmocka_unit_test(events),
        cmocka_unit_test(log_goes_on),   cmocka_unit_test(same_model),
        cmocka_unit_test(fewer_steps),
    };
    return cmocka_run_group_tests_name("long runs", tests, make_place, drop_place);
}
