/* From rows to the report's numbers; shared by the parts of iv_analyse. */
#ifndef IV_THEORY_SUMMARY_H
#define IV_THEORY_SUMMARY_H

#include "theory/analysis.h"
#include "theory/rows.h"

#include <stdarg.h>

typedef struct iv_summary {
    const iv_model *model;
    const iv_dataset *data;
    const iv_scaling *scaling;
    const iv_metric *metric;
    const double *weight; /* d: the diagonal of G, network units */
    const iv_analysis_options *options;
    const iv_rows *rows;                /* what is reported on */
    const iv_rows *train;               /* training rows beside them, or NULL */
    const double *y;                    /* rows x n, the model's order */
    const double *spline_rms;           /* n, the model's order */
    size_t *order;                      /* n: rank -> latent of the model */
    double clipped_gap, clipped_gap_se; /* validation gap without the weight of rows far off */
    iv_analysis *analysis;
} iv_summary;

/* sum_i log(scale_i / sqrt(weight_i)): log p in data units = log p in G's volume - this. */
double iv_log_volume(const iv_scaling *scaling, const double *weight);

/* Isometric coordinates of the rows, by the model's splines or, in a model without, by splines
 * fitted to these rows. y: rows x n; rms: n. */
isovae_status iv_rows_coordinates(const iv_rows *rows, const iv_model *model, double *y,
                                  double *rms, isovae_error *err) ISOVAE_MUST_CHECK;
/* Latents by descending variance_y. */
isovae_status iv_order_latents(size_t n, const double *variance_y, size_t *order,
                               isovae_error *err) ISOVAE_MUST_CHECK;
/* E_x[d xhat_i/d y_j] sd(y_j) and its root mean square, feature i of the latent j (model's order),
 * in data units; d each. */
void iv_loadings_of(const iv_rows *rows, const iv_scaling *scaling, size_t j, double sd_y,
                    double *mean, double *rms);

/* Each fills its part of the analysis, in this order. */
isovae_status iv_summarise_latents(iv_summary *s, isovae_error *err) ISOVAE_MUST_CHECK;
/* Needs latents; gives shares. */
isovae_status iv_summarise_distortion(iv_summary *s, isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status iv_summarise_density(iv_summary *s, const iv_iwae *iwae,
                                   isovae_error *err) ISOVAE_MUST_CHECK;
/* Pictures only; runs the decoder once more over the rows of the analysis. */
isovae_status iv_summarise_quality(iv_summary *s, iv_pass *pass,
                                   isovae_error *err) ISOVAE_MUST_CHECK;
/* Where the metric learns noise. */
isovae_status iv_summarise_noise(iv_summary *s, isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status iv_summarise_pca(iv_summary *s, isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status iv_summarise_truth(iv_summary *s, isovae_error *err) ISOVAE_MUST_CHECK;

/* The rows themselves, for pictures and tables; those of the latents with options->keep_rows. */
isovae_status iv_summarise_rows(iv_summary *s, isovae_error *err) ISOVAE_MUST_CHECK;

/* What the warnings look at beside the analysis itself. */
typedef struct iv_warning_facts {
    iv_loss loss;
    iv_objective_kind objective;
    bool beta_auto;
    double history_beta;         /* in force at the end of training; NaN where unknown */
    bool folded;                 /* so training said */
    bool convolutional;          /* a network for pictures */
    uint64_t steps, steps_asked; /* asked 0: all of them were made, else a time limit cut them */
    bool cut_short;              /* before the learning rate had fallen to its end */
    double transform_se;         /* standard errors over rows */
    double clipped_gap, clipped_gap_se;
    double log_volume;        /* of the scaling: densities in metric units = in data units + this */
    const double *e0, *e0_se; /* n, in the order of latents[]: E0 on training rows; NULL: unknown */
} iv_warning_facts;
/* Puts a warning into the analysis, which has room for IV_MOST_WARNINGS; more are left out. */
void iv_warn(iv_analysis *analysis, const char *code, bool note, double value, double limit,
             const char *format, ...) __attribute__((format(printf, 6, 7)));
void iv_warn_va(iv_analysis *analysis, const char *code, bool note, double value, double limit,
                const char *format, va_list arguments) __attribute__((format(printf, 6, 0)));
isovae_status iv_find_warnings(iv_analysis *analysis, const iv_warning_facts *facts,
                               isovae_error *err) ISOVAE_MUST_CHECK;

/* Where labels were given (label_report.c). */
isovae_status iv_summarise_labels(const iv_summary *s, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
