/* What the processor is and does at most. */
#include "bench.h"

#include "base/memory.h"
#include "peak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static const peak_loops *loops_of(const bench *b)
{
#if defined(__x86_64__)
    if (strcmp(b->k->isa, "avx512") == 0) return &peak_avx512;
    if (strcmp(b->k->isa, "avx2") == 0) return &peak_avx2;
#endif
    (void)b;
    return &peak_baseline;
}

/* The value of the first line of /proc/cpuinfo that starts with `key`. */
static void cpu_info(const char *key, char *out, size_t size)
{
    char line[1024];
    FILE *file = fopen("/proc/cpuinfo", "r");
    (void)snprintf(out, size, "unknown");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) != 0 || colon == NULL) continue;
        line[strcspn(line, "\n")] = '\0';
        (void)snprintf(out, size, "%s", colon + 1 + strspn(colon + 1, " "));
        break;
    }
    if (file != NULL) fclose(file);
}

json_t *bench_machine(const bench *b)
{
    char cpu[256], family[64], model[64], full[512];
    struct utsname system;
    uname(&system);
    cpu_info("model name", cpu, sizeof cpu);
    cpu_info("cpu family", family, sizeof family);
    cpu_info("model\t", model, sizeof model);
    (void)snprintf(full, sizeof full, "%s (family %s, model %s)", cpu, family, model);
    json_t *caches = json_object();
    const struct {
        const char *name;
        int number;
    } levels[] = {{"l1d_bytes", _SC_LEVEL1_DCACHE_SIZE},
                  {"l2_bytes", _SC_LEVEL2_CACHE_SIZE},
                  {"l3_bytes", _SC_LEVEL3_CACHE_SIZE}};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        long bytes = sysconf(levels[i].number);
        if (bytes > 0) json_object_set_new(caches, levels[i].name, json_integer(bytes));
    }
    return json_pack("{s:s, s:I, s:s, s:o, s:s, s:s}", "cpu", full, "cores",
                     (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "isa", b->k->isa, "caches", caches,
                     "kernel", system.release, "compiler", __VERSION__);
}

/* Operations a nanosecond of trials of a few milliseconds: the best, for what a neighbour takes
 * away is no property of the core. */
static double best_peak(const peak_loops *loops)
{
    enum { TRIALS = 12 };
    size_t rounds = 10000;
    float sink;
    double best = 0;
    for (int i = 0; i < TRIALS; i++) {
        double begun = bench_seconds();
        double flops = loops->fma(rounds, &sink);
        double took = bench_seconds() - begun;
        if (flops / took > best) best = flops / took;
        if (took < 3e-3) rounds *= 2;
    }
    return best / 1e9;
}

double bench_peak_gflops(const bench *b)
{
    return best_peak(loops_of(b));
}

typedef struct together {
    const peak_loops *loops;
    double *gflops;
} together;

static void peak_task(void *argument, size_t task)
{
    const together *t = argument;
    t->gflops[task] = best_peak(t->loops);
}

double bench_peak_gflops_together(const bench *b)
{
    isovae_error err = {0};
    together t = {.loops = loops_of(b)};
    double sum = 0;
    bench_must(IV_NEW(t.gflops, b->threads, "peaks", &err), &err);
    iv_pool_run(b->pool, b->threads, peak_task, &t);
    for (size_t i = 0; i < b->threads; i++) sum += t.gflops[i];
    iv_free(t.gflops);
    return sum;
}

/* Gigabytes a second by the size of what is read over and over. The sizes are steps through the
 * cache levels, and the weights that encode, decode and score of the MNIST network read. */
json_t *bench_bandwidth(const bench *b)
{
    const peak_loops *loops = loops_of(b);
    const size_t kib = 1024;
    const size_t sizes[] = {16 * kib,   32 * kib,   128 * kib,   512 * kib,   1300 * kib,
                            2560 * kib, 8192 * kib, 65536 * kib, 262144 * kib};
    const size_t n = sizeof sizes / sizeof *sizes;
    isovae_error err = {0};
    float *memory, sink;
    json_t *rows = json_array();
    bench_must(IV_NEW(memory, sizes[n - 1] / sizeof(float), "memory to read", &err), &err);
    for (size_t i = 0; i < sizes[n - 1] / sizeof(float); i++) memory[i] = 1;
    for (size_t s = 0; s < n; s++) {
        size_t times = (16384 * kib + sizes[s] - 1) / sizes[s];
        double best = 0;
        loops->read(memory, sizes[s], &sink);
        for (int trial = 0; trial < 5; trial++) {
            double begun = bench_seconds();
            for (size_t i = 0; i < times; i++) loops->read(memory, sizes[s], &sink);
            double rate = (double)(times * sizes[s]) / (bench_seconds() - begun);
            if (rate > best) best = rate;
        }
        json_array_append_new(
            rows, json_pack("{s:I, s:f}", "bytes", (json_int_t)sizes[s], "gb_per_s", best / 1e9));
    }
    iv_free(memory);
    return json_pack("{s:o}", "levels", rows);
}
