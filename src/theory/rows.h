/* What the rows of a dataset say about a model, row by row, in double. */
#ifndef IV_THEORY_ROWS_H
#define IV_THEORY_ROWS_H

#include "theory/analysis.h"
#include "theory/formulas.h"
#include "theory/pass.h"

/* Noise of draw `draw` for a row of the dataset: n standard normals. */
typedef void iv_draw_fn(void *user, size_t row, size_t draw, size_t n, double *eps);
typedef struct iv_draws {
    iv_draw_fn *call;
    void *user;
} iv_draws;

/* Keyed draws; with `antithetic` draw 2p + 1 is minus draw 2p. `stream` tells uses apart. */
typedef struct iv_keyed_draws {
    uint64_t seed, stream;
    bool antithetic;
} iv_keyed_draws;
void iv_keyed_draw(void *user, size_t row, size_t draw, size_t n, double *eps);

typedef struct iv_rows {
    size_t rows, n, d, m;
    const size_t *index; /* rows: places in the dataset (borrowed) */
    size_t *active;      /* m: the latents that count */
    double beta;
    double *mu, *logvar;     /* rows x n; finite, logvar clipped */
    double *dropped;         /* rows: nats for changed values of dropped columns; NULL: none */
    double *transform;       /* rows: D(x, Dec(mu)) */
    double *coding_jacobian; /* rows */
    double *norm;            /* rows x n, or NULL */
    /* By sampling, or NULL: */
    double *e0, *e0_plain; /* rows x n: E0 with the control variate, and without */
    double *shift;         /* rows x n: sigma_j dL/dmu_j / beta, 0 where mu is at its optimum */
    double *total;         /* rows: mean D(x, Dec(z)) */
    double *coding;        /* rows: mean D(xhat, Dec(z)) */
    /* Log densities in data units, nats; NULL where not computed. */
    double *estimate[IV_ESTIMATES];
    double *volume;      /* rows: 1/2 logdet(J^T G J) - 1/2 logdet(J^T S^2 J), over active */
    double *cosine_cost; /* rows */
    /* Sums over rows. */
    double *abs_cosine, *gram;        /* n x n; of J^T G J */
    double *loading, *loading_square; /* n x d: of sigma_j x_j, metric-independent network units */
    double *residual; /* d: of (x - Dec(z))^2, over the mean draws too; with learned noise only */
} iv_rows;

/* Encodes the rows: mu and logvar. `index` is borrowed. */
isovae_status iv_rows_new(iv_pass *pass, const size_t *index, size_t rows, iv_rows **out,
                          isovae_error *err) ISOVAE_MUST_CHECK;
void iv_rows_free(iv_rows *rows);

/* Mean KL of each latent over the rows (n). */
void iv_rows_mean_kl(const iv_rows *rows, double *kl);
/* The set of active latents, from one flag each. */
isovae_status iv_rows_set_active(iv_rows *rows, const unsigned char *active,
                                 isovae_error *err) ISOVAE_MUST_CHECK;

/* Runs the decoder at mu and fills what the pass's plan allows: transform always, norm and E6 with
 * the Jacobian, all densities with the full Gram matrix, sums of loadings; with draws (pass planned
 * for it, e0_draws or mean_draws above 0) E0 over the first e0_draws and the mean distances over
 * the first mean_draws. The active set must stand. */
typedef struct iv_rows_plan {
    const iv_draws *draws;
    size_t e0_draws, mean_draws;
    const char *stage; /* for progress */
} iv_rows_plan;
isovae_status iv_rows_evaluate(iv_rows *rows, iv_pass *pass, const iv_rows_plan *plan,
                               isovae_error *err) ISOVAE_MUST_CHECK;

/* E6's normaliser: -(d/2) log(pi beta) - log volume of the scaling for metrics that have one, else
 * 0. */
double iv_e6_normaliser(const iv_model *model, const iv_scaling *scaling);
/* Whether the model (all its members) has that estimate. */
isovae_status iv_check_estimate(const iv_model *model, iv_estimate estimate,
                                isovae_error *err) ISOVAE_MUST_CHECK;
/* What a row costs, in nats, that changes so many dropped columns (data/scaling.h): log(n + 1) for
 * each, n the number of training rows, none of which did. */
double iv_dropped_cost(const iv_model *model, size_t changes);

/* log p in data units minus log p in G's volume: 1/2 logdet(J^T G J) - 1/2 logdet(J^T S^2 J) over
 * active latents, for row r of the lane's chunk; 0 for bce, whose densities stay in G's volume.
 * lane->factor must stand and, in a pass with gram_data, the two matrices. */
double iv_lane_volume(const iv_lane *lane, const iv_row_in *row, size_t r);

/* The chunk's part of E0 and of the mean distances (stationarity.c); lane->gram and lane->xhat must
 * stand for the chunk's rows. */
typedef struct iv_draw_work {
    iv_rows *rows;
    const iv_rows_plan *plan;
} iv_draw_work;
void iv_lane_draws(iv_lane *lane, const iv_draw_work *work, size_t first, size_t count);

/* The importance-weighted estimate of log p(x) with `draws` draws (iwae.c): log_p and effective
 * sample size for rows 0, step, 2 step, ... */
typedef struct iv_iwae {
    size_t rows, draws;
    size_t *place;       /* rows: places in iv_rows */
    double *log_p, *ess; /* rows */
} iv_iwae;
isovae_status iv_iwae_new(const iv_rows *rows, iv_pass *pass, const iv_draws *draws, size_t n_draws,
                          size_t n_rows, iv_iwae **out, isovae_error *err) ISOVAE_MUST_CHECK;
void iv_iwae_free(iv_iwae *iwae);

#endif
