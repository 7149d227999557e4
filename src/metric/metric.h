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
    IV_LOSS_SSIM = 3
} iv_loss;

/* G = a(x) diag(w): what is known of it carries over to data units feature by feature. */
static inline bool iv_loss_by_feature(iv_loss loss)
{
    return loss == IV_LOSS_SSE || loss == IV_LOSS_WEIGHTED;
}

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
} iv_metric_kind;

struct iv_metric {
    const iv_metric_kind *kind;
    const iv_kernels *k;
    size_t d;
    void *weight;  /* d, backend; NULL: all 1 */
    double c0, c1; /* weighted: a(x) = c0 + c1 |x|^2 */
    bool inverse;  /* a(x) = 1 / (c0 + c1 |x|^2) */
    iv_ssim ssim;
    size_t lanes, scratch_size; /* elements a lane; 0: none */
    void *scratch;              /* lanes x scratch_size, backend */
};

/* A specification that is stored with the model: "sse", "bce", "weighted:down" (2/3, 2/21),
 * "weighted:up" (their inverse), "weighted:C0,C1", "weighted:inverse,C0,C1", "ssim" (data range 1),
 * "ssim:R". */
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
/* a(x) per row in double (1 for the others): G = a W there; for the restricted volume of E5. */
void iv_metric_row_factor(const iv_metric *m, size_t rows, const void *xhat, double *a);

#endif
