/* What a model learned, in numbers (docs/theory.md). Importance and distortion are in the metric's
 * squared units; information in nats; NaN where a number does not exist. */
#ifndef IV_THEORY_ANALYSIS_H
#define IV_THEORY_ANALYSIS_H

#include "base/pool.h"
#include "base/progress.h"
#include "data/dataset.h"
#include "model/model.h"
#include "theory/formulas.h"

enum { IV_TOP_LOADINGS = 10 };

/* What an analysis had to do without: it is one of parts of a model (theory/partial.h), and what
 * needs them is NaN, NULL or 0. */
typedef enum iv_unknown {
    IV_UNKNOWN_NOTHING = 0,
    IV_UNKNOWN_WIDTH,  /* no sigma: the encoder gives means alone */
    IV_UNKNOWN_ENCODER /* nor means: the rows are draws of z ~ N(0, I), decoded */
} iv_unknown;

typedef struct iv_loading {
    size_t feature;
    double mean;  /* E[d x_i / d y_j] sd(y_j), in data units of the feature */
    double share; /* of the latent's sum of squares of root-mean-square loadings, metric units */
    double sign;  /* |mean| / rms: 1 = moves the feature one way everywhere */
} iv_loading;

typedef struct iv_latent_report {
    size_t index; /* in the model (own models are sorted, so rank = index) */
    bool active;
    double importance; /* bound: beta/2 E[sigma^-2] (E4) */
    double importance_se;
    double variance_y; /* integrated: Var(y) + beta/2 */
    double variance_y_se;
    double share;         /* of sum of variance_y over active latents + residual */
    int degenerate_group; /* same number = near-degenerate neighbours; -1 none */
    double kl, sigma2_mean;
    double norm_mean, norm_sd;
    double optimality_mean, optimality_sd;     /* E1 */
    double stationarity_mean, stationarity_se; /* E0 */
    double spline_rms;                         /* E3 */
    /* Of the decoder's column x_j = d Dec/dz_j, where something is unknown: mean of its squared
     * length in G; SD of the length over rows by its mean; |E x_j|^2 / E |x_j|^2, 1 where the
     * column is the same everywhere. */
    double column_square, column_cv, column_straight;
    double rotation; /* largest mean |cosine| with another active latent */
    size_t n_top;
    iv_loading top[IV_TOP_LOADINGS];
    double *loading_mean, *loading_rms; /* d each, data units */
} iv_latent_report;

typedef struct iv_density_truth {
    double r, r_log, bias_nats, sd_nats;
    double r_uncorrected, r_log_uncorrected; /* were G's volume taken for that of the data */
} iv_density_truth;

enum { IV_MOST_WARNINGS = 24 }; /* of an analysis, which has room for them */
typedef struct iv_warning {
    char code[32]; /* "undertrained", "overfitted", "folded", "collapsed", ... */
    double value, limit;
    char text[256]; /* with the remedy */
    bool note;      /* worth knowing, but nothing is wrong */
} iv_warning;

/* Dec(mu) against the inputs, as pictures (metric/quality.h): means over rows. */
typedef struct iv_image_quality {
    size_t rows;                   /* 0: the rows are no pictures */
    double psnr_db, ssim, ms_ssim; /* NaN where the pictures are too small */
    size_t scales;                 /* of ms_ssim */
    double range;                  /* R in data units */
} iv_image_quality;

/* Learned noise of a feature. */
typedef struct iv_feature_noise {
    double s, s_scaled; /* in data units; in those of the network */
    double nu;          /* of student; infinity: Gaussian */
    double residual_sd; /* root mean square of x - Dec(z), data units; NaN without draws */
    bool at_floor;
} iv_feature_noise;

struct iv_labels;

/* How well a latent's y tells the labels (theory/labels.h). */
typedef struct iv_label_match {
    double share; /* R^2 of numbers, eta^2 of classes; NaN where y or the labels are constant */
    double auroc; /* of the class it tells best against the rest, 0.5 to 1; NaN: numbers, or none */
    size_t class; /* that class */
    bool low;     /* its rows have low y, not high */
} iv_label_match;

typedef struct iv_analysis {
    /* what was looked at */
    size_t rows, bad_rows, d, n, active;
    const char *row_set; /* "all", "validation", "training": static text */
    bool data_is_training_set;
    iv_unknown unknown;
    double beta;
    const char *unit;  /* of importance: "squared data units", "squared standard deviations", ... */
    const char *space; /* "data", "standardised", "min-max", "unit", "logits" */
    iv_latent_report *latents; /* n, by descending variance_y */

    /* E2, pairs of active latents: mean |cosine| over pairs and rows, the largest mean of a pair,
     * and
     * -(1/2) E logdet(cosines). */
    struct {
        double mean_abs_cosine, max_abs_cosine, cost_nats;
    } orthogonality;
    double *cosine; /* n x n, mean |cosine| over rows, in the order of latents[] */
    struct {
        double total;     /* E D(x, Dec(z)) */
        double transform; /* E D(x, Dec(mu)) */
        double coding;    /* E D(xhat, xbreve) */
        double coding_jacobian;
        double coding_predicted; /* E7 */
        double normaliser;       /* D(x, x), of a learned metric; it is in total and transform */
        double residual;         /* total - normaliser - n_active beta/2 */
    } distortion;
    double rate_nats, elbo_nats, elbo_se;
    double train_elbo_nats, validation_gap_nats; /* training minus these rows; NaN where unknown */

    struct {
        iv_estimate estimate;
        size_t dimension;
        double mean, sd;
        double quantiles[5];       /* 0.01 0.25 0.5 0.75 0.99 */
        double *values;            /* rows: the default estimate, data units, nats */
        double *all[IV_ESTIMATES]; /* rows each, or NULL where it does not exist */
        bool absolute;             /* a density; else a score that only ranks */
        /* Default estimate minus the importance-weighted one, over its rows; mean sample size. */
        struct {
            size_t k, rows;
            double mean_difference, sd, ess;
        } iwae;
    } density;

    struct {
        size_t n;           /* features; 0: the metric learns no noise */
        bool tails;         /* nu, too (student) */
        double floor;       /* s^2 is at least this share of the mean variance of the features */
        double heavy_limit; /* nu below it is called heavy tails */
        size_t at_floor, heavy; /* how many features */
        iv_feature_noise *features;
    } noise;

    struct {
        size_t n;                /* eigenvalues held (up to min(d, rows, 256)) */
        double *eigenvalues;     /* descending, of the same rows with the metric's weights */
        size_t active_predicted; /* above 1.105 beta/2; 0 where not comparable */
        double residual;         /* discarded variance at `active` components */
        bool comparable;         /* same scale as importance (sse) */
    } pca;

    /* per row, for pictures and --csv; in the order of latents[] where n appears */
    size_t *row_index;      /* rows: place in the dataset */
    double *mu, *sigma, *y; /* rows x n */
    double *transform_rows; /* rows: D(x, Dec(mu)) */

    struct {
        const struct iv_labels *of; /* the caller's; NULL: none were given */
        size_t rows;                /* of these rows, those with a label */
        size_t present;             /* classes among them */
        size_t *rows_of;            /* rows of each class */
        double chance;              /* expected share of a latent that knows nothing */
        iv_label_match *latents;    /* n, in the order of latents[] */
    } labels;

    size_t n_warnings;
    iv_warning *warnings;
    /* Nats that a better encoder would gain on these rows (stationarity row by row, in mu and sigma
     * of the active latents); near 0 where it follows its optimum. */
    double encoder_gap_nats;
    iv_image_quality image_quality;
    double beta_estimate; /* the beta for which E1 holds best over active latents */

    /* Where something is unknown: eigenvalues of C^(1/2) E[J^T G J] C^(1/2), C the covariance of
     * the codes, whatever axes the latents have (n, descending); and means of column_cv and
     * column_straight over the active latents, weighted by their importance. */
    struct {
        double *spectrum;
        double cv, straight;
    } jacobian;

    struct {
        bool known, density_known;
        size_t n_factors;
        double *variances; /* of these rows, per factor, decreasing */
        double *ratio;     /* variance_y of the matching latent over it */
        char **names;      /* borrowed order of variances: owned copies */
        size_t *latent;    /* rank of the matching latent */
        double *spearman;
        iv_density_truth density[IV_ESTIMATES];
    } truth;
} iv_analysis;

typedef struct iv_analysis_options { /* cli.h names it */
    const char *rows;                /* "auto", "all", "train", "validation" */
    uint64_t seed;
    size_t e0_draws;                /* antithetic pairs count twice; 16 */
    size_t elbo_draws;              /* 8 */
    size_t iwae_draws, iwae_rows;   /* 64, 1000; 0 draws: none */
    const struct iv_labels *labels; /* of all rows of the data (data/labels.h), or NULL; must
                                     * outlive the analysis */
    bool keep_rows;                 /* fill mu, sigma, y */
    iv_precision precision;
    const char *isa;
    iv_pool *pool; /* may be NULL */
    iv_progress progress;
} iv_analysis_options;
void iv_analysis_options_init(iv_analysis_options *options);

/* Analyses `model` on the good rows of `data` (features already matched to the model's). */
isovae_status iv_analyse(const iv_model *model, const iv_dataset *data,
                         const iv_analysis_options *options, iv_analysis **out,
                         isovae_error *err) ISOVAE_MUST_CHECK;
/* The space of the metric and the unit of distortion and importance, as static texts. */
void iv_unit_names(iv_loss loss, iv_scale_kind scale, const char **space, const char **unit);
void iv_analysis_free(iv_analysis *analysis);

/* How the members of an ensemble agree: mean and SD over them of the elbo of each on the rows that
 * it held out (on its training rows where none was), by the losses stored with them; NaN where the
 * loss has none. */
typedef struct iv_members_report {
    size_t n, least_active, most_active;
    bool held_out;
    double elbo_mean, elbo_sd;
} iv_members_report;
void iv_members_of(const iv_model *ensemble, iv_members_report *out);
/* One member's. */
double iv_stored_elbo(const iv_model *model, bool held_out);

/* After training: active set, kl_mean, splines and variance_y from `rows` of the data; then latents
 * sorted by variance_y and signs fixed (largest loading positive); then score quantiles from
 * `held_out` rows (or the training rows where there are none). Fills the model's fields. */
isovae_status iv_calibrate(iv_model *model, const iv_dataset *data, const size_t *rows,
                           size_t n_rows, const size_t *held_out, size_t n_held_out, iv_pool *pool,
                           const char *isa, isovae_error *err) ISOVAE_MUST_CHECK;
/* All of it but the scores: what each member of an ensemble knows by itself. */
isovae_status iv_calibrate_latents(iv_model *model, const iv_dataset *data, const size_t *rows,
                                   size_t n_rows, iv_pool *pool, const char *isa,
                                   isovae_error *err) ISOVAE_MUST_CHECK;
/* The score quantiles of an ensemble whose members held out different rows of the data: each such
 * row has the score of the member that did. (The mean over all would be that of rows that all but
 * one were trained on, and too high to compare new rows with.) */
isovae_status iv_calibrate_folds(iv_model *model, const iv_dataset *data, iv_pool *pool,
                                 const char *isa, isovae_error *err) ISOVAE_MUST_CHECK;
/* The score quantiles alone, from `rows` of other data (a validation file). */
isovae_status iv_calibrate_scores(iv_model *model, const iv_dataset *data, const size_t *rows,
                                  size_t n_rows, iv_pool *pool, const char *isa,
                                  isovae_error *err) ISOVAE_MUST_CHECK;

#endif
