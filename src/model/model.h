/* A variational autoencoder as it is stored and used: encoder, decoder, their parameters, metric,
 * beta, scaling, and what training found out (active set, isometric coordinates, score quantiles).
 * Immutable once loaded; may be shared by threads, each with an iv_eval (eval.h) of its own. */
#ifndef IV_MODEL_MODEL_H
#define IV_MODEL_MODEL_H

#include "data/categories.h"
#include "data/scaling.h"
#include "graph/graph.h"
#include "metric/metric.h"

typedef enum iv_objective_kind {
    IV_OBJECTIVE_CONVENTIONAL = 0,
    IV_OBJECTIVE_DECOMPOSED = 1
} iv_objective_kind;

/* 1/sigma_j as a function of mu_j: knots of a piecewise linear fit (E3); constant outside. */
typedef struct iv_spline {
    size_t n;      /* knots, 1..32 */
    double *u, *g; /* mean mu_j and mean 1/sigma_j of each group of rows, u ascending */
    double rms;    /* RMS(1/sigma_j - fit) / mean(1/sigma_j) on the rows of the fit */
} iv_spline;

/* One line of the training history. */
typedef struct iv_history {
    uint64_t step;
    double beta, rate;           /* in force at that step; learning rate */
    double loss, distortion, kl; /* mean over the training batches since the last line */
    double validation;           /* validation loss D + beta KL at that beta, NaN where none */
} iv_history;

typedef struct iv_model {
    /* Network. Values: encoder input 0 -> mu, logvar; decoder input 0 -> out. */
    iv_graph *encoder, *decoder;
    size_t mu, logvar, out; /* value indices in their graphs */
    iv_dtype dtype;
    void *params; /* host memory, param_elements of dtype: encoder's, decoder's, the metric's */
    size_t param_elements;
    size_t trained_elements;     /* those that are trained come first, buffers behind them */
    size_t learned_at;           /* behind all of these: what the metric learns, */
    size_t learned_elements;     /* iv_metric_learned of them */
    size_t d, n;                 /* features, latents */
    double logvar_lo, logvar_hi; /* clip of the log variance */

    /* What it was trained for. */
    iv_metric_spec metric;
    double noise_floor;    /* of a learned metric, as asked for: s_i^2 is at least this share of */
    double least_variance; /* the mean variance of the features; and that, in network units */
    double denoise;        /* SD of the noise on the encoder's input in training, network units */
    double beta;
    bool beta_auto; /* beta followed the residual variance */
    iv_objective_kind objective;
    iv_scaling scaling;
    char **names; /* d feature names */
    bool named;
    iv_categories categories; /* which features are columns of words */
    size_t height, width, channels;
    char *arch; /* "mlp:64,64", for people */

    bool own_order; /* latents stay where the networks have them (audits): not sorted, no signs
                       changed when they are calibrated. Not stored */

    /* Where it comes from. */
    uint64_t seed, steps;
    uint64_t data_hash;
    char *data_source;
    double validation_fraction; /* the split can be made again from this, the seed and the data */
    size_t train_rows, validation_rows;
    bool split_by_column;
    char *version, *isa; /* of the isovae that trained it */
    size_t n_history;
    iv_history *history;
    size_t restarts;                    /* trainings thrown away as folded */
    bool folded;                        /* the last one still is */
    uint64_t steps_asked;               /* where a time limit made them fewer; else 0 */
    bool cut_short;                     /* by that limit, before the schedule had ended */
    double train_loss, validation_loss; /* D + beta KL at the end, over all rows; NaN where none */

    /* What was found on the training rows (set by theory's iv_calibrate). */
    unsigned char *active; /* n: mean KL above 0.05 nats */
    double *kl_mean;       /* n */
    double *variance_y;    /* n: integrated importance, Var(y) + beta/2, descending */
    iv_spline *splines;    /* n */
    size_t n_quantiles;    /* scores of held-out rows (validation, else training), ascending */
    double *quantiles;     /* of an ensemble: its averaged scores, with member 0; others: none */

    /* An ensemble is its member 0, which owns the others; they have the same d, n and kind of loss,
     * and no members of their own. Scores average all; whoever wants one network takes one. */
    size_t member; /* which part of the rows it held out (iv_split_fold) */
    size_t n_more;
    struct iv_model **more; /* members 1 to n_more */
} iv_model;

enum { IV_MAX_MEMBERS = 64 };
static inline size_t iv_model_members(const iv_model *model)
{
    return 1 + model->n_more;
}
/* Member k of 0 .. members - 1. */
static inline const iv_model *iv_model_member(const iv_model *model, size_t k)
{
    return k == 0 ? model : model->more[k - 1];
}

isovae_status iv_model_new(iv_model **out, isovae_error *err) ISOVAE_MUST_CHECK;
void iv_model_free(iv_model *model);
/* Makes `first` an ensemble with the `n` models of `more`, which it takes over (the array stays the
 * caller's). Refuses members of another kind, and then takes nothing. */
isovae_status iv_model_join(iv_model *first, iv_model *const *more, size_t n,
                            isovae_error *err) ISOVAE_MUST_CHECK;

/* Gives the model its network (graphs already built, ownership taken also on failure), lays out one
 * parameter vector and allocates it (zeros), d, n and per-latent arrays too. Finds values "mu",
 * "logvar" and "out". */
isovae_status iv_model_set_network(iv_model *model, iv_graph *encoder, iv_graph *decoder,
                                   iv_dtype dtype, isovae_error *err) ISOVAE_MUST_CHECK;

/* The metric, with room for what it learns at the end of the parameter vector (zeros). After the
 * network. */
isovae_status iv_model_set_metric(iv_model *model, const iv_metric_spec *spec,
                                  isovae_error *err) ISOVAE_MUST_CHECK;
/* Hands a metric that was made for the model what the model's has learned. */
void iv_model_settle(const iv_model *model, iv_metric *metric);
/* A learned metric's s_i in network units and its nu_i (infinity where it has none). */
double iv_model_noise_s(const iv_model *model, size_t feature);
double iv_model_noise_nu(const iv_model *model, size_t feature);

/* The shape of a row that is a picture, in the order in which the network has its values: (c, h, w)
 * where the decoder's output has three axes, else (h, w, c). Height 0 where rows are no pictures.
 */
iv_metric_image iv_model_image(const iv_model *model);
/* What the model's metric is made for. */
iv_metric_use iv_model_metric_use(const iv_model *model, size_t lanes);

/* Rows that are pictures, height x width x channels (channels fastest); height 0: they are none. */
typedef struct iv_arch_image {
    size_t height, width, channels;
} iv_arch_image;

/* What a network is made for. */
typedef struct iv_model_plan {
    size_t d, n;
    iv_act act; /* of mlp */
    iv_dtype dtype;
    iv_arch_image image;
    const char *draft; /* the text of an architecture file (docs/architectures.md), or NULL */
} iv_model_plan;

/* Whether there are convolutions. Such a network keeps less than PCA of as many components with no
 * fold at all, so what PCA keeps is no bar for it. */
bool iv_model_convolves(const iv_model *model);

/* A network by its name, or by a draft, whose name `arch` then is. "conv64" and "conv-small" are
 * for pictures. */
isovae_status iv_model_build_plan(iv_model *model, const char *arch, const iv_model_plan *plan,
                                  isovae_error *err) ISOVAE_MUST_CHECK;

/* A network by its name: "mlp:A,B" (encoder d-A-B-(n, n), decoder n-B-A-d), "linear". */
isovae_status iv_model_build(iv_model *model, const char *arch, size_t d, size_t n, iv_act act,
                             iv_dtype dtype, isovae_error *err) ISOVAE_MUST_CHECK;

/* Latents reordered by `order` (new j is old order[j]) and multiplied by `sign` (+1 or -1): the
 * weights of the heads and of the decoder's first layers are permuted, the function is unchanged
 * otherwise. Per-latent arrays move along. ISOVAE_ERR_UNSUPPORTED where heads or first layers are
 * not dense. */
isovae_status iv_model_permute(iv_model *model, const size_t *order, const double *sign,
                               isovae_error *err) ISOVAE_MUST_CHECK;

/* A copy without the latents for which `keep` (n) is 0. Where those have the mean `mean` (n) for
 * every row, the decoder computes the same as before: the mean goes into its first layers' biases,
 * or where those are not dense is put in front of them. ISOVAE_ERR_UNSUPPORTED of an ensemble;
 * ISOVAE_ERR_DATA where nothing would be left. */
isovae_status iv_model_prune(const iv_model *model, const unsigned char *keep, const double *mean,
                             iv_model **out, isovae_error *err) ISOVAE_MUST_CHECK;

/* y_j(t) (E3), the exact integral of the spline from 0 to t, times sqrt(beta/2); and its inverse.
 */
double iv_spline_y(const iv_spline *spline, double beta, double t);
double iv_spline_mu(const iv_spline *spline, double beta, double y);

/* The fit, from mu_j and sigma_j of all rows: the rows sorted by mu_j are cut into at most 32
 * groups of at least 8, a knot is the mean of a group; `rms` is filled in. ISOVAE_ERR_DIVERGED
 * where mu is not finite or sigma not positive. Release with iv_spline_free, which leaves an empty
 * spline. */
isovae_status iv_spline_fit(const double *mu, const double *sigma, size_t rows, iv_spline *out,
                            isovae_error *err) ISOVAE_MUST_CHECK;
void iv_spline_free(iv_spline *spline);
/* The spline of -mu_j. */
void iv_spline_mirror(iv_spline *spline);

#endif
