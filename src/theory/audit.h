/* What can be said of networks that were trained elsewhere, and of whether they were read aright.
 *
 * beta is often not known. From E0, exact at an optimum for any decoder, each active latent gives
 * one: beta_j = sigma_j E[eps_j dD/dz_j] / (1 - sigma_j^2). Latents that agree on it say what the
 * model was trained with; that it is at its optimum they cannot say then, for a wrong beta and too
 * little training look alike. */
#ifndef IV_THEORY_AUDIT_H
#define IV_THEORY_AUDIT_H

#include "theory/analysis.h"

typedef struct iv_audit {
    bool beta_known;
    double beta;        /* ratio of sums over the active latents; NaN where none says anything */
    double beta_spread; /* SD over them of beta_j / beta, weighted by 1 - sigma_j^2 */
    /* Slope of log M_jj/(1 - sigma_j^2) over log sigma_j^2 between active latents: -1 at an optimum
     * (E1), -2 where a sigma was read as a variance, -1/2 the other way; NaN where their widths are
     * too much alike to tell. */
    double width_slope, width_r2;
    double width_floor; /* share of rows and active latents whose width was none: 0 or below */
    double width_sd;    /* SD of log sigma^2 over rows and active latents */
    /* Squared error a row, network units: of Dec(mu), of the mean of these rows, and of PCA with as
     * many components as there are latents, on `rows` rows. */
    double error, mean_error, pca_error;
    size_t pca_components, rows;
    /* Without an encoder: the draws that were decoded, data units, to be released by the caller
     * with iv_dataset_free (else NULL); their total variance, that of the data, and the distance of
     * the means, in root total variances of the data (NaN without data). Network units. */
    iv_dataset *draws;
    double variance, data_variance, mean_distance;
    size_t n_notes; /* of how the files were read */
    char notes[16][200];
} iv_audit;

typedef struct iv_audit_options {
    bool beta_known;
    iv_unknown unknown; /* what the model lacks: then as in theory/partial.h */
    bool scores;        /* give the model the scores of the rows as well, for a tail_prob later */
    iv_analysis_options analysis;
} iv_audit_options;

/* The distance of a training as its loss is named ("sse", "bce", ...; NULL: sse). One whose noise
 * is learned is refused: it is part of a model of our own. */
isovae_status iv_audit_metric(const char *loss, iv_metric_spec *out,
                              isovae_error *err) ISOVAE_MUST_CHECK;

/* The weight of the KL term as a training had it, in our units: D summed over features, KL summed
 * over latents (docs/theory.md, units of beta). loss_scale: "sum", "mean", "half-sum", "half-mean";
 * kl_scale: "sum", "mean"; NULL: "sum". */
isovae_status iv_audit_beta(double weight, const char *loss_scale, const char *kl_scale, size_t d,
                            size_t n, double *beta, isovae_error *err) ISOVAE_MUST_CHECK;

/* Calibrates the model on the rows, sets its beta where it is not known, and analyses it. Verdicts
 * of the audit go into the analysis' warnings; those that need a known beta are taken out without
 * one. `data` may be NULL where the encoder is unknown. Release *out with iv_analysis_free, and
 * audit->draws, which is zeroed before as all of *audit but its notes may be. */
isovae_status iv_audit_run(iv_model *model, const iv_dataset *data, const iv_audit_options *options,
                           iv_audit *audit, iv_analysis **out, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
