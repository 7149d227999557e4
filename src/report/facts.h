/* What every form of the report says alike: the verdict, summary figures, names and numbers as
 * text. Appends to an iv_text, whose errors are sticky. */
#ifndef IV_REPORT_FACTS_H
#define IV_REPORT_FACTS_H

#include "report/report.h"

typedef struct iv_facts {
    /* Over rows and active latents (all latents where none is active): mean and SD of E1, mean of
     * E0 over the same latents, NaN where unknown. */
    double optimality, optimality_sd, stationarity;
    double share;        /* sum of the shares of the active latents */
    double variance;     /* sum of variance_y over the active latents */
    double pca_smallest; /* smallest comparable PCA eigenvalue held, NaN where none */
    bool image;          /* rows are pictures */
    bool one_group;      /* all active latents are one near-degenerate group */
    size_t height, width, channels;
    const char *loss;        /* "sse", "weighted", "bce" */
    double variance_y_floor; /* beta/2 */
} iv_facts;
void iv_facts_of(const iv_report_context *context, iv_facts *out);

typedef enum iv_mood { IV_MOOD_GOOD = 0, IV_MOOD_CAUTION = 1, IV_MOOD_BAD = 2 } iv_mood;
/* One plain sentence (no line break), and how good the news is. */
iv_mood iv_facts_verdict(const iv_report_context *context, const iv_facts *facts, iv_text *out);
const iv_warning *iv_facts_warning(const iv_analysis *analysis, const char *code);

/* Of an audit: the reconstruction beside the mean's and PCA's (without encoder: draws beside the
 * data), what beta the latents have, and of parts of a model what the Jacobian says. */
void iv_facts_check(const iv_report_context *context, iv_text *out);
void iv_facts_jacobian(const iv_report_context *context, iv_text *out);
void iv_facts_beta(const iv_report_context *context, iv_text *out);

/* The letter that marks a latent's near-degenerate group in tables, or 0. A group of all active
 * latents has none: it would tell no two of them apart, and a note says it once. */
char iv_facts_letter(const iv_report_context *context, const iv_facts *facts, size_t rank);

/* What a latent moves most, at most `items` features, each with + or - (one way everywhere) or ~
 * (both ways, the mean says little): "+age -income"; pictures: "+14,9 -7,20" (row, column counted
 * from 0, where brightness rises and falls most). Stays within `columns` characters. */
void iv_facts_moves(const iv_report_context *context, const iv_facts *facts, size_t rank,
                    size_t items, size_t columns, iv_text *out);
/* Whether loading `l` goes both ways over the data. */
bool iv_facts_mixed(const iv_loading *l);
/* "x3" where the model has no name for the feature. */
void iv_facts_feature(const iv_report_context *context, size_t feature, iv_text *out);
/* The last part of a path. */
const char *iv_facts_base(const char *path);
/* The model's default density estimate as words: "elbo". */
const char *iv_facts_loss(const iv_model *model);

/* Numbers. NaN gives "-". */
void iv_put_count(iv_text *out, uint64_t count);            /* 12,345 */
void iv_put_number(iv_text *out, double value, int digits); /* significant digits, plain decimal
                                                               between 1e-4 and 1e7 */
void iv_put_fixed(iv_text *out, double value, int decimals);
/* Decimals with which `values` line up: `digits` significant ones for the largest, and as many for
 * the smallest as `most` decimals allow. */
int iv_decimals(const double *values, size_t n, int digits, int most);

/* `text` as clean UTF-8: broken sequences and control characters become U+FFFD (or '?' with
 * `ascii_marks`); at most `columns` code points, the last one then "~" (0: all). */
void iv_put_clean(iv_text *out, const char *text, size_t columns, bool ascii_marks);
size_t iv_code_points(const char *text, size_t length);
/* Clean and escaped for XML and HTML, attribute values included. */
void iv_put_escaped(iv_text *out, const char *text);

#endif
