/* isovae-bench [--threads N] [--isa NAME]: reads commands, answers each with one line of JSON.
 *
 *   hello                          name, instruction set and works
 *   machine | peak | bandwidth     what the processor is and does at most
 *   export FOLDER                  weights and data for the other contenders
 *   check WORK                     what the work computes on the shared numbers
 *   run WORK REPEATS               milliseconds of each repeat
 *   latency NET WHAT COUNT         score, encode or decode of single rows: percentiles
 *   serve NET CLIENTS COUNT        threads that score random rows at the same time
 *   soak NET COUNT                 many rows through one scorer: does memory grow?
 *   quit
 *
 * An unknown command answers {"error": ...}. */
#include "bench.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STEP                                                                                       \
    .start = bench_step_start, .once = bench_step_once, .check = bench_step_check,                 \
    .stop = bench_step_stop
#define TRAIN                                                                                      \
    .start = bench_train_start, .once = bench_train_once, .stop = bench_train_stop,                \
    .units = BENCH_TRAIN_STEPS
#define JACOBIAN                                                                                   \
    .start = bench_jacobian_start, .once = bench_jacobian_once, .check = bench_jacobian_check,     \
    .stop = bench_jacobian_stop
#define SCORE                                                                                      \
    .start = bench_score_start, .once = bench_score_once, .check = bench_score_check,              \
    .stop = bench_score_stop
#define FIT                                                                                        \
    .start = bench_fit_start, .once = bench_fit_once, .quality = bench_fit_quality,                \
    .stop = bench_fit_stop

const bench_work bench_works[] = {
    {"toy-step", STEP, .seconds = 0.02},
    {"mnist-step", STEP, .seconds = 0.02},
    {"toy-train", TRAIN},
    {"mnist-train", TRAIN},
    {"toy-jacobian", JACOBIAN, .seconds = 0.02},
    {"mnist-jacobian", JACOBIAN, .seconds = 0.02},
    {"score", SCORE, .seconds = 0.02},
    {"mnist-score", SCORE, .seconds = 0.02},
    {"toy-fit", FIT},
    {"toy-fit-quick", FIT},
    {"conv64-step", STEP},
    {"conv-small-step", STEP},
    {"conv64-jacobian", JACOBIAN},
    {"decode-jpegs", .start = bench_decode_start, .once = bench_decode_once,
     .stop = bench_decode_stop, .here = bench_decode_here},
};
const size_t bench_n_works = sizeof bench_works / sizeof *bench_works;

enum { MAX_REPEATS = 100000, MAX_INNER = 2000 };

void bench_die(const isovae_error *err)
{
    fprintf(stderr, "isovae-bench: %s\n", err->message);
    exit(1);
}

void bench_must(isovae_status status, const isovae_error *err)
{
    if (status != ISOVAE_OK) bench_die(err);
}

double bench_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The work that ran last stays set up, so that blocks of repeats do not pay for it. */
typedef struct current {
    const bench_work *work;
    void *state;
    size_t inner;
} current;

static void leave(current *c)
{
    if (c->work != NULL) c->work->stop(c->state);
    *c = (current){0};
}

static bool is_here(const bench_work *work)
{
    return work->here == NULL || work->here();
}

static bool enter(bench *b, current *c, const char *name)
{
    if (c->work != NULL && strcmp(c->work->name, name) == 0) return true;
    leave(c);
    for (size_t i = 0; i < bench_n_works; i++) {
        if (strcmp(bench_works[i].name, name) != 0 || !is_here(&bench_works[i])) continue;
        c->work = &bench_works[i];
        c->state = c->work->start(b, name);
        return true;
    }
    return false;
}

/* How often the work fills the time of a repeat, from the fastest of three runs. */
static size_t choose_inner(const current *c)
{
    double best = 1e9;
    if (c->work->seconds == 0) return 1;
    for (int i = 0; i < 3; i++) {
        double begun = bench_seconds();
        c->work->once(c->state);
        double took = bench_seconds() - begun;
        if (took < best) best = took;
    }
    double inner = c->work->seconds / (best > 1e-9 ? best : 1e-9);
    return inner < 1 ? 1 : inner > MAX_INNER ? MAX_INNER : (size_t)inner;
}

static json_t *run(current *c, size_t repeats)
{
    json_t *ms = json_array();
    double units = c->work->units > 0 ? c->work->units : 1;
    if (c->inner == 0) c->inner = choose_inner(c);
    if (c->work->seconds > 0) c->work->once(c->state); /* caches hold another contender's data */
    for (size_t r = 0; r < repeats; r++) {
        double begun = bench_seconds();
        for (size_t i = 0; i < c->inner; i++) c->work->once(c->state);
        double took = bench_seconds() - begun;
        json_array_append_new(ms, json_real(1e3 * took / (units * (double)c->inner)));
    }
    json_t *answer = json_pack("{s:o, s:I}", "ms", ms, "inner", (json_int_t)c->inner);
    if (c->work->quality != NULL) {
        json_object_set_new(answer, "quality", c->work->quality(c->state));
    }
    return answer;
}

static json_t *hello(const bench *b)
{
    json_t *works = json_array();
    for (size_t i = 0; i < bench_n_works; i++) {
        if (is_here(&bench_works[i]))
            json_array_append_new(works, json_string(bench_works[i].name));
    }
    return json_pack("{s:s, s:s, s:s, s:I, s:o}", "name", "isovae", "version", ISOVAE_VERSION,
                     "isa", b->k->isa, "threads", (json_int_t)b->threads, "works", works);
}

static json_t *answer(bench *b, current *c, char *line)
{
    char *word[4] = {"", "", "", ""}, *rest = NULL;
    size_t words = 0;
    for (char *at = strtok_r(line, " \n", &rest); at != NULL && words < 4;
         at = strtok_r(NULL, " \n", &rest)) {
        word[words++] = at;
    }
    const char *command = word[0];
    if (strcmp(command, "hello") == 0) return hello(b);
    if (strcmp(command, "machine") == 0) return bench_machine(b);
    if (strcmp(command, "peak") == 0) {
        return json_pack("{s:f, s:f}", "gflops", bench_peak_gflops(b), "gflops_together",
                         bench_peak_gflops_together(b));
    }
    if (strcmp(command, "bandwidth") == 0) return bench_bandwidth(b);
    if (strcmp(command, "export") == 0 && words == 2) {
        bench_export(b, word[1]);
        return json_pack("{s:s}", "folder", word[1]);
    }
    if (strcmp(command, "check") == 0 && words == 2 && enter(b, c, word[1])) {
        return c->work->check != NULL ? c->work->check(c->state) : json_object();
    }
    if (strcmp(command, "run") == 0 && words == 3 && enter(b, c, word[1])) {
        unsigned long repeats = strtoul(word[2], NULL, 10);
        if (repeats >= 1 && repeats <= MAX_REPEATS) return run(c, repeats);
    }
    if (strcmp(command, "latency") == 0 && words == 4) {
        return bench_latency(b, word[1], word[2], strtoul(word[3], NULL, 10));
    }
    if (strcmp(command, "serve") == 0 && words == 4) {
        return bench_serve(b, word[1], strtoul(word[2], NULL, 10), strtoul(word[3], NULL, 10));
    }
    if (strcmp(command, "soak") == 0 && words == 3) {
        return bench_soak(b, word[1], strtoul(word[2], NULL, 10));
    }
    return json_pack("{s:s}", "error", "no such command or work");
}

static int usage(void)
{
    fputs("usage: isovae-bench [--threads N] [--isa NAME]\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    bench b = {.threads = 1};
    isovae_error err = {0};
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc) return usage();
        if (strcmp(argv[i], "--threads") == 0) {
            b.threads = strtoul(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--isa") == 0) {
            b.isa = argv[i + 1];
        } else {
            return usage();
        }
    }
    if (b.threads == 0) return usage();
    b.k = iv_kernels_get(IV_PRECISION_F32, b.isa);
    if (b.k == NULL) {
        fprintf(stderr, "isovae-bench: this processor has no '%s'\n", b.isa);
        return 2;
    }
    bench_must(iv_pool_new(&b.pool, b.threads, &err), &err);
    bench_make_nets(&b);

    current now = {0};
    char line[4096];
    while (fgets(line, sizeof line, stdin) != NULL && strcmp(line, "quit\n") != 0) {
        json_t *reply = answer(&b, &now, line);
        char *text = json_dumps(reply, JSON_COMPACT | JSON_REAL_PRECISION(12));
        puts(text != NULL ? text : "{\"error\": \"no JSON\"}");
        fflush(stdout);
        free(text);
        json_decref(reply);
    }
    leave(&now);
    bench_free_nets(&b);
    iv_pool_free(b.pool);
    return 0;
}
