/* The Gram matrix of the decoder's Jacobian, and scores of many rows. */
#include "bench.h"

#include "base/memory.h"
#include "theory/gram.h"
#include "theory/score.h"

#include <math.h>
#include <string.h>

/* ---- J^T G J at given latents: decoder, its tangents, G, all pairs ---- */

typedef struct jacobian {
    const bench_net *net;
    iv_pass *pass;
    size_t rows;
    double *diagonal, *square; /* of each row, where a check wants them; else NULL */
} jacobian;

void *bench_jacobian_start(bench *b, const char *name)
{
    isovae_error err = {0};
    jacobian *j;
    bench_must(IV_NEW(j, 1, "a Jacobian", &err), &err);
    j->net = bench_net_of(b, name);
    j->rows = j->net->z_rows;
    iv_pass_plan plan = {.precision = IV_PRECISION_F32,
                         .isa = b->isa,
                         .pool = b->pool,
                         .rows = j->rows,
                         .full_gram = true};
    bench_must(iv_pass_new(j->net->model, NULL, &plan, &j->pass, &err), &err);
    return j;
}

static void gram_chunk(void *user, iv_lane *lane, size_t first, size_t count)
{
    const jacobian *j = user;
    size_t n = lane->pass->n;
    iv_lane_decode(lane, count, j->net->z + first * n);
    iv_lane_gram(lane, count, NULL);
    for (size_t r = 0; j->diagonal != NULL && r < count; r++) {
        const double *gram = lane->gram + r * n * n;
        for (size_t i = 0; i < n; i++) j->diagonal[first + r] += gram[i * n + i];
        for (size_t i = 0; i < n * n; i++) j->square[first + r] += gram[i] * gram[i];
    }
}

void bench_jacobian_once(void *state)
{
    jacobian *j = state;
    isovae_error err = {0};
    bench_must(iv_pass_run(j->pass, "Gram", j->rows, gram_chunk, NULL, j, &err), &err);
}

static double mean_of(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += values[i];
    return sum / (double)count;
}

json_t *bench_jacobian_check(void *state)
{
    jacobian *j = state;
    isovae_error err = {0};
    j->rows = j->net->check_rows;
    bench_must(IV_NEW(j->diagonal, j->rows, "sums", &err), &err);
    bench_must(IV_NEW(j->square, j->rows, "sums", &err), &err);
    bench_jacobian_once(j);
    json_t *answer = json_pack("{s:f, s:f}", "trace", mean_of(j->diagonal, j->rows), "norm",
                               sqrt(mean_of(j->square, j->rows)));
    iv_free(j->diagonal);
    iv_free(j->square);
    j->diagonal = j->square = NULL;
    j->rows = j->net->z_rows;
    return answer;
}

void bench_jacobian_stop(void *state)
{
    jacobian *j = state;
    iv_pass_free(j->pass);
    iv_free(j);
}

/* ---- scores: encoder, decoder, tangents, the diagonal of J^T G J, E6 ---- */

typedef struct scoring {
    bench *b;
    const bench_net *net;
    size_t *rows;
    iv_score *out;
} scoring;

void *bench_score_start(bench *b, const char *name)
{
    isovae_error err = {0};
    scoring *s;
    bench_must(IV_NEW(s, 1, "scoring", &err), &err);
    s->b = b;
    s->net = bench_net_of(b, name);
    bench_must(IV_NEW(s->rows, BENCH_ROWS, "rows", &err), &err);
    bench_must(IV_NEW(s->out, BENCH_ROWS, "scores", &err), &err);
    for (size_t i = 0; i < BENCH_ROWS; i++) s->rows[i] = i;
    return s;
}

void bench_score_once(void *state)
{
    scoring *s = state;
    isovae_error err = {0};
    bench_must(iv_score_rows(s->net->model, s->net->data, s->rows, BENCH_ROWS, IV_ESTIMATE_ELBO,
                             s->b->pool, s->b->isa, NULL, s->out, &err),
               &err);
}

json_t *bench_score_check(void *state)
{
    scoring *s = state;
    double sum = 0, squares = 0;
    bench_score_once(s);
    for (size_t i = 0; i < BENCH_ROWS; i++) sum += s->out[i].log_density;
    double mean = sum / BENCH_ROWS;
    for (size_t i = 0; i < BENCH_ROWS; i++) {
        squares += (s->out[i].log_density - mean) * (s->out[i].log_density - mean);
    }
    return json_pack("{s:f, s:f}", "mean", mean, "sd", sqrt(squares / BENCH_ROWS));
}

void bench_score_stop(void *state)
{
    scoring *s = state;
    iv_free(s->rows);
    iv_free(s->out);
    iv_free(s);
}
