/* The workspace of the analysis: rows of a dataset run through a model in chunks, several chunks at
 * a time, one per lane. A chunk's length depends on the model (and on the rows, where those are
 * fewer), and what chunks add up is merged in their order, so every result has the same bytes
 * whatever the number of threads. */
#ifndef IV_THEORY_PASS_H
#define IV_THEORY_PASS_H

#include "base/pool.h"
#include "base/progress.h"
#include "data/dataset.h"
#include "model/eval.h"

typedef struct iv_pass iv_pass;

/* What one thread works with at a time. */
typedef struct iv_lane {
    iv_pass *pass;
    size_t index; /* the lane's number, for the executor's scratch */
    size_t slot;  /* its first row in the workspace */
    /* Backend memory; absent (NULL) where the plan does not ask for it. */
    void *xhat;                  /* chunk x d: Dec(mu) as the decoder gives it */
    void *sink;                  /* chunk x d: a gradient that nobody reads */
    void *mu, *logvar, *eps;     /* chunk x n */
    void *jacobian, *g_jacobian; /* n x tile x d */
    /* Host memory. */
    float *stage_f32;  /* chunk x d (f32 backends) */
    double *stage;     /* chunk x max(d, n) */
    double *column;    /* d: one column of the Jacobian of one row */
    double *gram;      /* chunk x n x n: J^T G J of each row (diagonals only without full_gram) */
    double *gram_data; /* chunk x n x n: J^T S^2 J, or NULL where it is not needed */
    double *factor;    /* chunk: a(xhat) of the weighted metric, else 1 */
    double *eps_host, *gz, *g_mu; /* chunk x n */
    double *row;                  /* chunk */
    double *scratch;              /* n x n */
    double *slope; /* tile x d: what turns a change of the decoder's output into one of xhat */
    /* Sums over the rows of the current chunk, merged after each wave. */
    double *abs_cosine, *gram_sum;    /* n x n */
    double *loading, *loading_square; /* n x d */
    double *residual;                 /* d: (x - Dec(z))^2, with draws and learned noise */
} iv_lane;

struct iv_pass {
    const iv_model *model;
    const iv_dataset *data;
    const iv_kernels *k;
    iv_eval *eval;
    iv_pool *pool;
    iv_progress progress;
    iv_scaling identity; /* used where the model has no scaling */
    const iv_scaling *scaling;
    void *scale;    /* d, backend: the scaling's, where there is a gram_data */
    double *weight; /* d: the diagonal of G where it has one, up to a(x); network units */
    size_t n, d;
    size_t chunk, tile; /* rows of a chunk, of a Jacobian tile */
    size_t n_lanes;
    iv_lane *lanes;
    bool jacobian, full_gram, data_gram, loadings, draws;
};

typedef struct iv_pass_plan {
    iv_precision precision;
    const char *isa; /* NULL: the best */
    iv_pool *pool;   /* may be NULL */
    iv_progress progress;
    size_t rows;    /* at most so many are run at a time; 0: not known */
    bool jacobian;  /* diagonal of J^T G J */
    bool full_gram; /* all of it; and J^T S^2 J where density needs it */
    bool loadings;
    bool draws; /* decoder at sampled z, with its reverse pass */
    /* The decoder's tangents for a caller who takes columns of the Jacobian one by one; the flags
     * above bring them anyway. */
    bool tangents;
    /* Packed weights to share (same model, precision and instruction set; without draws); it must
     * outlive the pass. NULL: own ones. */
    const iv_eval *weights;
} iv_pass_plan;

/* Borrows model, data and pool. `data` may be NULL where rows do not come from a dataset. */
isovae_status iv_pass_new(const iv_model *model, const iv_dataset *data, const iv_pass_plan *plan,
                          iv_pass **out, isovae_error *err) ISOVAE_MUST_CHECK;
void iv_pass_free(iv_pass *pass);

/* Calls `chunk` for the rows [first, first + count) of 0..rows-1, on some thread; then, in the
 * order of the chunks and on the caller's thread, `merge` (may be NULL). `chunk` writes results to
 * places of its own rows, and sums into its lane. */
typedef void iv_pass_chunk(void *user, iv_lane *lane, size_t first, size_t count);
typedef void iv_pass_merge(void *user, iv_lane *lane);
isovae_status iv_pass_run(iv_pass *pass, const char *stage, size_t rows, iv_pass_chunk *chunk,
                          iv_pass_merge *merge, void *user, isovae_error *err) ISOVAE_MUST_CHECK;

/* Pieces of a chunk's work. Rows of the dataset into the encoder's input, in network units: */
void iv_lane_load(iv_lane *lane, const size_t *rows, size_t count);
void *iv_lane_x(const iv_lane *lane);
void *iv_lane_out(const iv_lane *lane); /* decoder's output */
/* Encoder; mu and logvar (count x n) made finite, logvar clipped to the model's range. */
void iv_lane_encode(iv_lane *lane, size_t count, double *mu, double *logvar);
/* Decoder at given z (count x n doubles). */
void iv_lane_decode(iv_lane *lane, size_t count, const double *z);
/* Decoder at mu + sigma eps, eps from lane->eps_host; mu and logvar as put there by: */
void iv_lane_posterior(iv_lane *lane, size_t count, const double *mu, const double *logvar);
void iv_lane_sample(iv_lane *lane, size_t count);
/* What the decoder gave, count x d, in data units (bce: probabilities times the scale). */
void iv_lane_data(const iv_lane *lane, size_t count, double *x);
/* D(x, decoder's output) of each row, finite. */
void iv_lane_distance(iv_lane *lane, size_t count, double *out);

#endif
