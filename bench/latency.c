/* One row at a time, as a service asks: percentiles in microseconds. */
#include "bench.h"

#include "base/memory.h"
#include "base/random.h"
#include "theory/scorer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_CALLS = 10000000, MAX_CLIENTS = 256 };

/* What one client holds: a scorer of its own on the shared model and weights. */
typedef struct client {
    const bench_net *net;
    iv_scorer *scorer;
    double *mu, *sigma, *x; /* n, n, d */
    double sum;             /* keeps results alive */
    double *micros;         /* of each call */
    size_t count;
    uint64_t seed;
    void (*call)(struct client *c, size_t row);
} client;

static iv_row_view row_of(const client *c, size_t row)
{
    size_t d = c->net->model->d;
    return (iv_row_view){.values = c->net->x + row * d,
                         .dtype = IV_F32,
                         .rows = 1,
                         .row_stride = (ptrdiff_t)(d * sizeof(float)),
                         .column_stride = sizeof(float)};
}

static void score_one(client *c, size_t row)
{
    isovae_error err = {0};
    iv_row_view view = row_of(c, row);
    double log_density;
    bench_must(iv_scorer_score(c->scorer, &view, &log_density, NULL, NULL, &err), &err);
    c->sum += log_density;
}

static void encode_one(client *c, size_t row)
{
    isovae_error err = {0};
    iv_row_view view = row_of(c, row);
    bench_must(iv_scorer_encode(c->scorer, &view, c->mu, c->sigma, NULL, NULL, NULL, &err), &err);
    c->sum += c->mu[0];
}

static void decode_one(client *c, size_t row)
{
    isovae_error err = {0};
    size_t n = c->net->model->n;
    iv_row_view view = {.values = c->net->z + (row % BENCH_JACOBIAN_ROWS) * n,
                        .dtype = IV_F64,
                        .rows = 1,
                        .row_stride = (ptrdiff_t)(n * sizeof(double)),
                        .column_stride = sizeof(double)};
    bench_must(iv_scorer_decode(c->scorer, &view, c->x, NULL, NULL, &err), &err);
    c->sum += c->x[0];
}

static void open_client(const bench *b, const bench_net *net, const iv_eval *weights, size_t count,
                        client *c)
{
    isovae_error err = {0};
    iv_scorer_plan plan = {.estimate = IV_ESTIMATE_ELBO, .isa = b->isa, .weights = weights};
    bench_must(iv_scorer_new(net->model, &plan, &c->scorer, &err), &err);
    bench_must(IV_NEW(c->mu, net->model->n, "a row", &err), &err);
    bench_must(IV_NEW(c->sigma, net->model->n, "a row", &err), &err);
    bench_must(IV_NEW(c->x, net->model->d, "a row", &err), &err);
    bench_must(IV_NEW(c->micros, count, "times", &err), &err);
    c->net = net;
    c->count = count;
}

static void close_client(client *c)
{
    iv_scorer_free(c->scorer);
    iv_free(c->mu);
    iv_free(c->sigma);
    iv_free(c->x);
    iv_free(c->micros);
}

static void *serve_client(void *argument)
{
    client *c = argument;
    iv_key key = {.seed = c->seed, .purpose = IV_PURPOSE_SHUFFLE};
    for (size_t i = 0; i < c->count; i++) {
        size_t row = (size_t)iv_permute(&key, BENCH_ROWS, i % BENCH_ROWS);
        double begun = bench_seconds();
        c->call(c, row);
        c->micros[i] = 1e6 * (bench_seconds() - begun);
    }
    return NULL;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static json_t *percentiles(double *micros, size_t count)
{
    qsort(micros, count, sizeof *micros, compare);
    return json_pack("{s:f, s:f, s:f, s:I}", "p50_us", micros[count / 2], "p99_us",
                     micros[count - 1 - count / 100], "min_us", micros[0], "calls",
                     (json_int_t)count);
}

static const bench_net *net_named(const bench *b, const char *name)
{
    return strcmp(name, "toy") == 0 ? &b->toy : strcmp(name, "mnist") == 0 ? &b->mnist : NULL;
}

static size_t elements_of(const iv_graph *graph)
{
    size_t sum = 0;
    for (size_t i = 0; i < graph->n_params; i++) sum += graph->params[i].size;
    return sum;
}

json_t *bench_latency(bench *b, const char *name, const char *what, size_t count)
{
    const bench_net *net = net_named(b, name);
    client c = {.seed = 7};
    c.call = strcmp(what, "score") == 0    ? score_one
             : strcmp(what, "encode") == 0 ? encode_one
             : strcmp(what, "decode") == 0 ? decode_one
                                           : NULL;
    if (net == NULL || c.call == NULL || count < 1 || count > MAX_CALLS) {
        return json_pack("{s:s}", "error", "latency toy|mnist score|encode|decode COUNT");
    }
    open_client(b, net, NULL, count, &c);
    for (size_t i = 0; i < 100; i++) c.call(&c, i);
    serve_client(&c);
    json_t *answer = percentiles(c.micros, count);
    size_t elements = 0;
    if (c.call != decode_one) elements += elements_of(net->model->encoder);
    if (c.call != encode_one) elements += elements_of(net->model->decoder);
    json_object_set_new(answer, "weight_bytes",
                        json_integer((json_int_t)(elements * sizeof(float))));
    close_client(&c);
    return answer;
}

json_t *bench_serve(bench *b, const char *name, size_t clients, size_t count)
{
    isovae_error err = {0};
    const bench_net *net = net_named(b, name);
    if (net == NULL || clients < 1 || clients > MAX_CLIENTS || count < 1 || count > MAX_CALLS) {
        return json_pack("{s:s}", "error", "serve toy|mnist CLIENTS COUNT");
    }
    client *c;
    pthread_t *threads;
    double *all;
    iv_eval *weights;
    bench_must(iv_scorer_weights(net->model, b->isa, &weights, &err), &err);
    bench_must(IV_NEW(c, clients, "clients", &err), &err);
    bench_must(IV_NEW(threads, clients, "threads", &err), &err);
    bench_must(IV_NEW(all, clients * count, "times", &err), &err);
    for (size_t i = 0; i < clients; i++) {
        c[i].seed = 100 + i;
        c[i].call = score_one;
        open_client(b, net, weights, count, &c[i]);
    }
    size_t started = 0;
    double begun = bench_seconds();
    while (started < clients &&
           pthread_create(&threads[started], NULL, serve_client, &c[started]) == 0) {
        started++;
    }
    for (size_t i = 0; i < started; i++) pthread_join(threads[i], NULL);
    double took = bench_seconds() - begun;
    for (size_t i = 0; i < clients; i++) {
        memcpy(all + i * count, c[i].micros, count * sizeof *all);
        close_client(&c[i]);
    }
    json_t *answer = percentiles(all, started * count);
    json_object_set_new(answer, "clients", json_integer((json_int_t)started));
    json_object_set_new(answer, "rows_per_s", json_real((double)(started * count) / took));
    iv_eval_free(weights);
    iv_free(all);
    iv_free(threads);
    iv_free(c);
    return answer;
}

/* Resident memory in bytes, 0 where the system does not tell. */
static double resident(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    if (file != NULL) {
        if (fscanf(file, "%*u %lu", &pages) != 1) pages = 0;
        fclose(file);
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

json_t *bench_soak(bench *b, const char *name, size_t count)
{
    enum { WARM = 10000 };
    const bench_net *net = net_named(b, name);
    if (net == NULL || count < 1) return json_pack("{s:s}", "error", "soak toy|mnist COUNT");
    client c = {0};
    open_client(b, net, NULL, 1, &c);
    for (size_t i = 0; i < WARM; i++) score_one(&c, i % BENCH_ROWS);
    double before = resident(), begun = bench_seconds();
    for (size_t i = 0; i < count; i++) score_one(&c, i % BENCH_ROWS);
    double took = bench_seconds() - begun, after = resident();
    close_client(&c);
    return json_pack("{s:I, s:f, s:f, s:f}", "rows", (json_int_t)count, "rows_per_s",
                     (double)count / took, "resident_before", before, "resident_after", after);
}
