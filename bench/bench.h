/* The benchmark program: one contender of bench/run.py, driven by lines on standard input. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "base/pool.h"
#include "data/dataset.h"
#include "kernels/kernels.h"
#include "model/model.h"

#include <jansson.h>

enum { BENCH_ROWS = 10000, BENCH_JACOBIAN_ROWS = 1000 };
/* Of the networks for pictures: eight batches; a check takes the first few latents. */
enum { BENCH_PICTURES = 512, BENCH_PICTURE_JACOBIANS = 100, BENCH_PICTURE_CHECKS = 10 };

/* A network with weights and data that every contender shares (nets.c). */
typedef struct bench_net {
    const char *name; /* "toy", "mnist", "conv64", "conv-small" */
    size_t batch;
    double rate;                     /* of Adam */
    size_t rows, z_rows, check_rows; /* of x; of z; those of z that a check takes */
    iv_model *model;                 /* NULL: not made yet */
    iv_dataset *data;                /* the rows; NULL for pictures */
    float *x;                        /* the same rows, rows x d */
    float *eps;                      /* batch x n: the noise of checks */
    double *z;                       /* z_rows x n: where Jacobians are taken */
} bench_net;

typedef struct bench {
    size_t threads;
    const char *isa; /* NULL: the best */
    iv_pool *pool;
    const iv_kernels *k;
    bench_net toy, mnist, conv64, conv_small;
} bench;

/* The program ends with a message where the library fails: there is nothing to measure then. */
void bench_die(const isovae_error *err) __attribute__((noreturn));
void bench_must(isovae_status status, const isovae_error *err);
double bench_seconds(void); /* monotonic clock */

void bench_make_nets(bench *b);
/* The network of a work, made at its first use where it is one for pictures. */
const bench_net *bench_net_of(bench *b, const char *work);
void bench_free_nets(bench *b);
/* Writes weights and data for the other contenders into `folder`: NET.f32, NET.json, fit.json. */
void bench_export(bench *b, const char *folder);

/* A unit of work that is timed. `once` runs it; `check` says what it computes on the shared numbers
 * (a JSON object that the driver compares between contenders; NULL: nothing to compare); `quality`
 * judges the last run's result outside of the timed part. */
typedef struct bench_work {
    const char *name;
    void *(*start)(bench *b, const char *name);
    void (*once)(void *state);
    json_t *(*check)(void *state);
    json_t *(*quality)(void *state);
    void (*stop)(void *state);
    double seconds;     /* a repeat runs it as often as fills this time; 0: once */
    double units;       /* how many of what is reported one run holds (steps); 0: 1 */
    bool (*here)(void); /* whether it can run on this machine; NULL: everywhere */
} bench_work;

extern const bench_work bench_works[];
extern const size_t bench_n_works;

/* machine.c */
json_t *bench_machine(const bench *b);
double bench_peak_gflops(const bench *b); /* of one core, the best of several short trials */
double bench_peak_gflops_together(const bench *b); /* of all the threads at once, summed */
json_t *bench_bandwidth(const bench *b);

/* works_step.c */
void *bench_step_start(bench *b, const char *name);
void bench_step_once(void *state);
json_t *bench_step_check(void *state);
void bench_step_stop(void *state);
enum { BENCH_TRAIN_STEPS = 100 }; /* of one run of the trainer */
void *bench_train_start(bench *b, const char *name);
void bench_train_once(void *state);
void bench_train_stop(void *state);

/* works_theory.c */
void *bench_jacobian_start(bench *b, const char *name);
void bench_jacobian_once(void *state);
json_t *bench_jacobian_check(void *state);
void bench_jacobian_stop(void *state);
void *bench_score_start(bench *b, const char *name);
void bench_score_once(void *state);
json_t *bench_score_check(void *state);
void bench_score_stop(void *state);

/* works_data.c: pictures decoded, cropped and resized; only where they lie on this machine. */
bool bench_decode_here(void);
void *bench_decode_start(bench *b, const char *name);
void bench_decode_once(void *state);
void bench_decode_stop(void *state);

/* works_fit.c */
void *bench_fit_start(bench *b, const char *name);
void bench_fit_once(void *state);
json_t *bench_fit_quality(void *state);
void bench_fit_stop(void *state);
json_t *bench_fit_recipe(const char *data_spec); /* the plan of the default fit, for peers */

/* latency.c: one row at a time, in microseconds. */
json_t *bench_latency(bench *b, const char *net, const char *what, size_t count);
/* One scorer, `count` rows one after the other: resident memory before and after. */
json_t *bench_soak(bench *b, const char *net, size_t count);
/* `clients` threads that score random rows of the shared model, `count` rows each. */
json_t *bench_serve(bench *b, const char *net, size_t clients, size_t count);

#endif
