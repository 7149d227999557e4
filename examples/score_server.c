/* A program like a server: one model, some threads with a scorer each, rows scored one at a time at
 * random moments. Prints throughput and latency, and whether anything was allocated or memory grew
 * meanwhile, as text and as one line of JSON.
 *
 *   score_server MODEL.safetensors [-t THREADS] [-s SECONDS | -n ROWS] [-p PAUSE] [-b BATCH]
 *                [-w WORK] [-e ESTIMATE] [-r ROWS.f32]
 *
 *   -t  threads (8)
 *   -s  how long (5 seconds), or
 *   -n  how many rows in all
 *   -p  mean pause of a thread between two calls, in microseconds (500); 0: none
 *   -b  rows of one call (1)
 *   -w  what to do: score (the default), encode, decode
 *   -e  elbo (the default), posterior, logdet, laplace
 *   -r  rows as raw floats, in numpy: x.astype('float32').tofile('rows.f32'); else rows are drawn
 *       from the model
 *
 * Needs no more than libisovae-runtime.
 */
#define _GNU_SOURCE
#include <isovae/isovae.h>

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- Allocations are counted while the threads score ---- */

static atomic_bool counting;
static atomic_ulong allocations;

#ifdef __GLIBC__
#define COUNTED 1
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static void count(void)
{
    if (atomic_load_explicit(&counting, memory_order_relaxed)) allocations++;
}

/* These take the place of the C library's, for the whole process. */
void *malloc(size_t size)
{
    count();
    return __libc_malloc(size);
}
void *calloc(size_t n, size_t size)
{
    count();
    return __libc_calloc(n, size);
}
void *realloc(void *memory, size_t size)
{
    count();
    return __libc_realloc(memory, size);
}
void *aligned_alloc(size_t alignment, size_t size)
{
    count();
    return __libc_memalign(alignment, size);
}
int posix_memalign(void **out, size_t alignment, size_t size)
{
    count();
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : 12; /* ENOMEM */
}
#else
#define COUNTED 0
#endif

static long resident_kib(void)
{
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file) return 0;
    if (fscanf(file, "%ld %ld", &pages, &resident) != 2) resident = 0;
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/* ---- Time, and a histogram of it in steps of less than 1 % ---- */

enum { STEPS = 128, BUCKETS = 58 * STEPS };

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static size_t bucket_of(uint64_t ns)
{
    unsigned shift = 0;
    while ((ns >> shift) >= 2 * STEPS) shift++;
    return shift * STEPS + (size_t)(ns >> shift);
}

static double microseconds(size_t bucket)
{
    unsigned shift = bucket < 2 * STEPS ? 0 : (unsigned)(bucket / STEPS - 1);
    return ((double)(bucket - shift * STEPS) + 0.5) * (double)(UINT64_C(1) << shift) / 1000;
}

static double percentile(const uint64_t *histogram, uint64_t total, double share)
{
    uint64_t seen = 0, wanted = (uint64_t)ceil(share * (double)total);
    for (size_t i = 0; i < BUCKETS; i++) {
        seen += histogram[i];
        if (histogram[i] && seen >= wanted) return microseconds(i);
    }
    return 0;
}

/* ---- Random numbers ---- */

static uint64_t next(uint64_t *key)
{
    *key ^= *key << 13;
    *key ^= *key >> 7;
    *key ^= *key << 17;
    return *key;
}
static double uniform(uint64_t *key) /* in (0, 1) */
{
    return ((double)(next(key) >> 12) + 0.5) / 4503599627370496.0;
}
static double normal(uint64_t *key)
{
    return sqrt(-2 * log(uniform(key))) * cos(6.283185307179586 * uniform(key));
}

/* ---- The server ---- */

typedef struct server {
    const isovae_model *model; /* shared by all threads */
    isovae_scorer_config config;
    const float *rows;    /* n_rows x features */
    const float *latents; /* n_rows x n, for decode */
    size_t n_rows, features, n, batch;
    const char *work; /* "score", "encode", "decode" */
    double pause_us;
    uint64_t calls_each; /* of a thread; 0: until the time is over */
    atomic_bool over;
    pthread_barrier_t ready, done;
} server;

typedef struct client {
    server *of;
    pthread_t thread;
    uint64_t key, calls;
    uint64_t histogram[BUCKETS];
    double *results; /* of one call */
    double least;    /* of all results */
    isovae_status status;
    isovae_error error;
} client;

static void rest(server *of, uint64_t *key)
{
    double us = -of->pause_us * log(uniform(key));
    if (us > 50000) us = 50000;
    struct timespec pause = {.tv_sec = 0, .tv_nsec = (long)(us * 1000)};
    nanosleep(&pause, NULL);
}

static isovae_status call(const server *of, isovae_scorer *scorer, size_t first, double *results,
                          isovae_error *error)
{
    const float *rows = of->rows + first * of->features;
    switch (of->work[0]) {
    case 'e':
        return isovae_scorer_encode(scorer, rows, ISOVAE_F32, of->batch, 0, 0, results, NULL, NULL,
                                    NULL, error);
    case 'd':
        return isovae_scorer_decode(scorer, of->latents + first * of->n, ISOVAE_F32, of->batch, 0,
                                    0, results, NULL, error);
    default:
        return isovae_scorer_score(scorer, rows, ISOVAE_F32, of->batch, 0, 0, results, NULL, error);
    }
}

static void *serve(void *argument)
{
    client *me = argument;
    server *of = me->of;
    isovae_scorer *scorer = NULL;
    me->results = calloc(of->batch, (of->features + of->n) * sizeof *me->results);
    me->status = me->results ? isovae_scorer_new(of->model, &of->config, &scorer, &me->error)
                             : ISOVAE_ERR_MEMORY;
    pthread_barrier_wait(&of->ready); /* every scorer is made */
    pthread_barrier_wait(&of->ready); /* and the counting has begun */
    while (!me->status && !of->over && (of->calls_each == 0 || me->calls < of->calls_each)) {
        size_t first = (size_t)(next(&me->key) % (of->n_rows - of->batch + 1));
        uint64_t start = now_ns();
        me->status = call(of, scorer, first, me->results, &me->error);
        uint64_t taken = now_ns() - start;
        me->histogram[bucket_of(taken)]++;
        me->calls++;
        for (size_t i = 0; i < of->batch; i++) {
            if (me->results[i] < me->least) me->least = me->results[i];
        }
        if (of->pause_us > 0) rest(of, &me->key);
    }
    pthread_barrier_wait(&of->done);
    isovae_scorer_free(scorer);
    free(me->results);
    return NULL;
}

/* ---- Rows: from a file, or decoded from z ~ N(0, I) ---- */

static float *read_rows(const char *path, size_t features, size_t *n_rows)
{
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    size_t bytes =
        size > 0 ? (size_t)size / (features * sizeof(float)) * features * sizeof(float) : 0;
    float *rows = bytes > 0 ? malloc(bytes) : NULL;
    if (rows && fread(rows, 1, bytes, file) != bytes) {
        free(rows);
        rows = NULL;
    }
    fclose(file);
    *n_rows = bytes / (features * sizeof(float));
    return rows;
}

static float *draw_latents(size_t n_rows, size_t n)
{
    float *z = malloc(n_rows * n * sizeof *z);
    uint64_t key = 88172645463325252u;
    for (size_t i = 0; z && i < n_rows * n; i++) z[i] = (float)normal(&key);
    return z;
}

static float *decode_rows(const server *s, isovae_error *error)
{
    isovae_scorer *scorer = NULL;
    float *rows = malloc(s->n_rows * s->features * sizeof *rows);
    double *x = malloc(s->features * sizeof *x);
    isovae_status status = ISOVAE_ERR_MEMORY;
    if (rows && x) status = isovae_scorer_new(s->model, NULL, &scorer, error);
    for (size_t r = 0; !status && r < s->n_rows; r++) {
        status = isovae_scorer_decode(scorer, s->latents + r * s->n, ISOVAE_F32, 1, 0, 0, x, NULL,
                                      error);
        for (size_t i = 0; i < s->features; i++) rows[r * s->features + i] = (float)x[i];
    }
    isovae_scorer_free(scorer);
    free(x);
    if (status) {
        free(rows);
        rows = NULL;
    }
    return rows;
}

/* ---- The report ---- */

typedef struct outcome {
    double seconds;
    long rss_before, rss_after;
} outcome;

static void print_report(const server *s, const client *clients, size_t threads, const outcome *o)
{
    static uint64_t histogram[BUCKETS];
    uint64_t calls = 0;
    double longest = 0, least = INFINITY;
    for (size_t t = 0; t < threads; t++) {
        calls += clients[t].calls;
        if (clients[t].least < least) least = clients[t].least;
        for (size_t i = 0; i < BUCKETS; i++) histogram[i] += clients[t].histogram[i];
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        if (histogram[i]) longest = microseconds(i);
    }
    double rows = (double)calls * (double)s->batch, p50 = percentile(histogram, calls, 0.5);
    double p99 = percentile(histogram, calls, 0.99), p999 = percentile(histogram, calls, 0.999);
    unsigned long counted = allocations;
    printf("%zu threads, %.1f s: %.0f rows, %.0f a second\n", threads, o->seconds, rows,
           rows / o->seconds);
    printf("latency of a call (%s, rows: %zu), microseconds: p50 %.1f, p99 %.1f, p99.9 %.1f, "
           "max %.1f\n",
           s->work, s->batch, p50, p99, p999, longest);
    if (COUNTED) printf("allocations while scoring: %lu\n", counted);
    printf("resident memory: %ld KiB before, %ld KiB after\n", o->rss_before, o->rss_after);
    if (s->work[0] == 's') printf("least log density seen: %.3f nats\n", least);
    printf("{\"work\": \"%s\", \"threads\": %zu, \"seconds\": %.3f, \"batch\": %zu, \"pause_us\": "
           "%.1f, "
           "\"rows\": %.0f, \"rows_per_second\": %.1f, \"p50_us\": %.2f, \"p99_us\": %.2f, "
           "\"p999_us\": %.2f, \"max_us\": %.2f, ",
           s->work, threads, o->seconds, s->batch, s->pause_us, rows, rows / o->seconds, p50, p99,
           p999, longest);
    if (COUNTED) printf("\"allocations\": %lu, ", counted);
    printf("\"rss_before_kib\": %ld, \"rss_after_kib\": %ld}\n", o->rss_before, o->rss_after);
}

/* ---- Its life ---- */

static int run(server *s, client *clients, size_t threads, double seconds)
{
    outcome o;
    size_t started = 0;
    if (pthread_barrier_init(&s->ready, NULL, (unsigned)threads + 1) ||
        pthread_barrier_init(&s->done, NULL, (unsigned)threads + 1)) {
        return 1;
    }
    for (; started < threads; started++) {
        client *c = &clients[started];
        *c = (client){.of = s, .key = 0x9e3779b97f4a7c15u * (started + 1), .least = INFINITY};
        if (pthread_create(&c->thread, NULL, serve, c)) {
            fprintf(stderr, "thread %zu could not be started\n", started);
            exit(1);
        }
    }
    pthread_barrier_wait(&s->ready);
    o.rss_before = resident_kib();
    counting = true;
    uint64_t start = now_ns();
    pthread_barrier_wait(&s->ready);
    if (s->calls_each == 0) {
        struct timespec wait = {.tv_sec = (time_t)seconds,
                                .tv_nsec = (long)((seconds - floor(seconds)) * 1e9)};
        nanosleep(&wait, NULL);
        s->over = true;
    }
    pthread_barrier_wait(&s->done);
    counting = false;
    o.seconds = (double)(now_ns() - start) / 1e9;
    o.rss_after = resident_kib();
    for (size_t t = 0; t < threads; t++) {
        pthread_join(clients[t].thread, NULL);
        if (clients[t].status) {
            fprintf(stderr, "thread %zu: %s\n", t, clients[t].error.message);
            return 1;
        }
    }
    pthread_barrier_destroy(&s->ready);
    pthread_barrier_destroy(&s->done);
    print_report(s, clients, threads, &o);
    return 0;
}

static int usage(const char *program)
{
    fprintf(stderr,
            "usage: %s MODEL.safetensors [-t THREADS] [-s SECONDS | -n ROWS] [-p PAUSE_US] "
            "[-b BATCH] [-w WORK] [-e ESTIMATE] [-r ROWS.f32]\n",
            program);
    return 2;
}

int main(int argc, char **argv)
{
    isovae_error error = {0};
    isovae_model *model = NULL;
    const char *file = NULL;
    server s = {.n_rows = 1024, .batch = 1, .pause_us = 500, .work = "score"};
    size_t threads = 8;
    double seconds = 5, total = 0;
    int option;
    isovae_scorer_config_init(&s.config);
    while ((option = getopt(argc, argv, "t:s:n:p:b:w:e:r:")) != -1) {
        switch (option) {
        case 't': threads = (size_t)strtoul(optarg, NULL, 10); break;
        case 's': seconds = strtod(optarg, NULL); break;
        case 'n': total = strtod(optarg, NULL); break;
        case 'p': s.pause_us = strtod(optarg, NULL); break;
        case 'b': s.batch = (size_t)strtoul(optarg, NULL, 10); break;
        case 'w': s.work = optarg; break;
        case 'e': s.config.estimate = optarg; break;
        case 'r': file = optarg; break;
        default: return usage(argv[0]);
        }
    }
    if (optind + 1 != argc || threads < 1 || threads > 1024 || !(seconds > 0) || !(total >= 0) ||
        !(s.pause_us >= 0) || s.batch < 1 ||
        (strcmp(s.work, "score") && strcmp(s.work, "encode") && strcmp(s.work, "decode"))) {
        return usage(argv[0]);
    }
    if (isovae_model_load(argv[optind], &model, &error)) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    s.model = model;
    s.features = isovae_model_features(model);
    s.n = isovae_model_latents(model);
    if (s.n_rows < s.batch) s.n_rows = s.batch;
    if (file) s.rows = read_rows(file, s.features, &s.n_rows);
    s.latents = draw_latents(s.n_rows, s.n);
    if (!file && s.latents) s.rows = decode_rows(&s, &error);
    client *clients = malloc(threads * sizeof *clients);
    int code = 1;
    if (total > 0) s.calls_each = (uint64_t)ceil(total / (double)threads / (double)s.batch);
    if (!s.rows || !s.latents || s.n_rows < s.batch) {
        fprintf(stderr, "%s\n",
                file ? "the rows could not be read, or are too few" : error.message);
    } else if (clients) {
        code = run(&s, clients, threads, seconds);
    }
    free(clients);
    free((void *)s.rows);
    free((void *)s.latents);
    isovae_model_free(model);
    return code;
}
