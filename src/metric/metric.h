/* Distances D(x, xhat) between data and reconstruction, summed over features (docs/theory.md
 * section 2). In network units x' (data/scaling.h); the scaling enters as feature weights. For bce
 * xhat is given as logits. Arrays are backend memory, rows x d; values are doubles. */
#ifndef IV_METRIC_METRIC_H
#define IV_METRIC_METRIC_H

#include "kernels/kernels.h"

typedef enum iv_loss {
    IV_LOSS_SSE = 0,
    IV_LOSS_WEIGHTED = 1,
    IV_LOSS_BCE = 2,
    IV_LOSS_SSIM = 3,
    IV_LOSS_NOISE = 4,  /* sse with learned noise per feature */
    IV_LOSS_STUDENT = 5 /* heavy tails, learned per feature */
} iv_loss;

/* Minus a log density whose parameters are learned with the network's; beta is 1. */
static inline bool iv_loss_learned(iv_loss loss)
{
    return loss == IV_LOSS_NOISE || loss == IV_LOSS_STUDENT;
}

/* A density in all features stands behind the loss (E6). */
static inline bool iv_loss_absolute(iv_loss loss)
{
    return loss == IV_LOSS_SSE || iv_loss_learned(loss);
}

/* G = a(x) diag(w): what is known of it carries over to data units feature by feature. */
static inline bool iv_loss_by_feature(iv_loss loss)
{
    return loss == IV_LOSS_SSE || loss == IV_LOSS_WEIGHTED || iv_loss_learned(loss);
}

/* Limits of learned parameters: 1 <= nu <= 1000 (beyond, the tails are Gaussian to every purpose),
 * and log s where its square still has an inverse in single precision. */
#define IV_METRIC_MAX_NU 1000.0
#define IV_METRIC_MAX_LOG_S 40.0
enum { IV_METRIC_MAX_LEARNED = 2, IV_METRIC_COLUMNS = 64 };

/* The shape of a row that is a picture, for metrics that look at neighbours; height 0: none. */
typedef struct iv_metric_image {
    size_t height, width, channels;
    bool planar; /* channels outermost (c, h, w); else innermost (h, w, c) */
} iv_metric_image;

typedef struct iv_metric iv_metric;
/* In every callback `lane` is the scratch to use, 0..lanes-1: calls that run at once use different
 * ones. */
typedef struct iv_metric_kind {
    const char *name;
    iv_loss loss;
    bool gaussian; /* -L/beta - (d/2) log(pi beta) is a density in metric coordinates (E6) */
    bool logits;   /* the decoder's output are logits */
    /* value[r] = D(x, xhat) */
    void (*value)(const iv_metric *m, size_t lane, size_t rows, const void *x, const void *xhat,
                  double *value);
    /* g = factor dD/dxhat */
    void (*gradient)(const iv_metric *m, size_t lane, size_t rows, const void *x, const void *xhat,
                     double factor, void *g);
    /* The decomposed form's coding term D(xhat, xbreve), both as the decoder gives them (bce: both
     * logits, the entropy of xhat subtracted): value, and factor times the gradients in both. */
    void (*pair_value)(const iv_metric *m, size_t lane, size_t rows, const void *xhat,
                       const void *xbreve, double *value);
    /* g_hat is added to, g_breve is written */
    void (*pair_gradient)(const iv_metric *m, size_t lane, size_t rows, const void *xhat,
                          const void *xbreve, double factor, void *g_hat, void *g_breve);
    /* GV = G(xhat) V for `blocks` blocks of rows x d; block b starts at b * stride elements. */
    void (*apply_g)(const iv_metric *m, size_t lane, size_t rows, const void *xhat, size_t blocks,
                    const void *v, size_t stride, void *gv, size_t gv_stride);
    /* Learned parameters: n_learned vectors of d numbers, one behind the other; their names as
     * tensors. The rest is NULL where there are none. */
    size_t n_learned;
    const char *const *learned_names;
    void (*settle)(iv_metric *m); /* after `learned` has changed */
    /* g[p d + i] += factor sum over rows of dD/dparameter_p,i for columns [first, first + columns),
     * at most IV_METRIC_COLUMNS; `pair`: of the decomposed form's coding term. Sums in double and
     * in the order of the rows. */
    void (*learn)(const iv_metric *m, size_t rows, size_t first, size_t columns, const void *x,
                  const void *xhat, double factor, bool pair, double *g);
    /* D(x, xhat) - D(x, x) of each feature, and the diagonal of G; in double, d numbers,
     * `out` may be x. */
    void (*parts)(const iv_metric *m, const double *x, const double *xhat, double *out);
    void (*diagonal)(const iv_metric *m, double *out);
} iv_metric_kind;

struct iv_metric {
    const iv_metric_kind *kind;
    const iv_kernels *k;
    size_t d;
    void *weight;  /* d, backend; NULL: all 1. Learned ones: the diagonal of G */
    double c0, c1; /* weighted: a(x) = c0 + c1 |x|^2 */
    bool inverse;  /* a(x) = 1 / (c0 + c1 |x|^2) */
    iv_ssim ssim;
    size_t lanes, scratch_size; /* elements a lane; 0: none */
    void *scratch;              /* lanes x scratch_size, backend */
    bool *dropped; /* learned ones: d, features that do not count (weight 0); NULL: all do */
    /* Learned parameters in double (host), a vector of d beside them, and what is made of them. */
    double *learned, *stage;
    double constant;     /* D(x, x) */
    void *inner, *outer; /* d, backend; student: 1/(nu s^2), (nu + 1)/2 */
};

/* A specification that is stored with the model: "sse", "bce", "weighted:down" (2/3, 2/21),
 * "weighted:up" (their inverse), "weighted:C0,C1", "weighted:inverse,C0,C1", "ssim" (data range 1),
 * "ssim:R", "sse:feature" (noise per feature), "student". */
typedef struct iv_metric_spec {
    iv_loss loss;
    double c0, c1;
    bool inverse;
    double range; /* ssim: R in network units; 0: not said, counts as 1 */
} iv_metric_spec;
isovae_status iv_metric_parse(const char *text, iv_metric_spec *out,
                              isovae_error *err) ISOVAE_MUST_CHECK;
void iv_metric_format(const iv_metric_spec *spec, char *out, size_t size);

/* What a metric is made for. */
typedef struct iv_metric_use {
    size_t d;
    const double *weight;  /* d squared-distance weights in network units, or NULL */
    iv_metric_image image; /* needed by ssim */
    size_t lanes;          /* 0: 1 */
} iv_metric_use;
isovae_status iv_metric_new(const iv_metric_spec *spec, const iv_kernels *k,
                            const iv_metric_use *use, iv_metric **out,
                            isovae_error *err) ISOVAE_MUST_CHECK;
/* Whether pictures of that shape and d values have room for a window of ssim; else why not. */
isovae_status iv_metric_image_fits(const iv_metric_image *image, size_t d,
                                   isovae_error *err) ISOVAE_MUST_CHECK;
void iv_metric_free(iv_metric *metric);
/* How many numbers the metric learns: n_learned x d. */
size_t iv_metric_learned(const iv_metric_spec *spec, size_t d);
/* Their names, n tensors of d numbers each; NULL where there are none. */
const char *const *iv_metric_learned_names(const iv_metric_spec *spec, size_t *n);
/* Takes them over from a vector in backend memory. They are 0 in a new metric. */
void iv_metric_settle(iv_metric *metric, const void *learned);
/* Moves them into their limits: log s >= log_floor. */
void iv_metric_limit(const iv_metric *metric, double log_floor, void *learned);
/* The diagonal of G: that of a learned metric, else the weights of the features. d numbers. */
void iv_metric_diagonal(const iv_metric *metric, const double *weight, double *out);
/* a(x) per row in double (1 for the others): G = a W there; for the restricted volume of E5. */
void iv_metric_row_factor(const iv_metric *m, size_t rows, const void *xhat, double *a);

#endif
