/* The arithmetic, behind one table per backend.
 *
 * A `void *` handed out by `alloc` belongs to the backend: nothing above this folder dereferences
 * one; it may only be offset by whole elements (iv_at) and passed back in. Matrices are row-major
 * with a leading dimension in elements. There are three CPU tables: f32 fast, f32 reference and f64
 * reference; the references are one plain source compiled twice, and test the fast one.
 *
 * Determinism: an element's bytes depend on its own inputs and k only (in products of up to four
 * columns on their number, and on how A is stored, too), never on the number of rows of the call,
 * on its place in a tile, or on who computes its neighbours. So callers may cut the
 * rows of a batch, or the output of a product, in any way and get the same bytes. */
#ifndef IV_KERNELS_KERNELS_H
#define IV_KERNELS_KERNELS_H

#include "base/random.h"
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum iv_dtype { IV_F32 = 0, IV_F64 = 1 } iv_dtype;

typedef enum iv_act {
    IV_ACT_NONE = 0,
    IV_ACT_RELU,
    IV_ACT_LEAKY_RELU, /* parameter: slope for x < 0 */
    IV_ACT_ELU,        /* parameter: alpha */
    IV_ACT_SILU,
    IV_ACT_GELU, /* x Phi(x), with erfc so that the tail keeps its digits */
    IV_ACT_SOFTPLUS,
    IV_ACT_SIGMOID,
    IV_ACT_TANH,
    IV_ACT_EXP,
    IV_ACT_COUNT
} iv_act;

/* Functions of one number, for graphs from elsewhere: scalar loops in every table, each value
 * worked out in double and rounded once. p[0], p[1]: where the function has numbers of its own. */
typedef enum iv_function {
    IV_FUNCTION_NONE = 0,
    IV_FUNCTION_ABS,
    IV_FUNCTION_NEGATE,
    IV_FUNCTION_SQUARE,
    IV_FUNCTION_SQRT,
    IV_FUNCTION_RECIPROCAL,
    IV_FUNCTION_LOG,
    IV_FUNCTION_ERF,
    IV_FUNCTION_SIN,
    IV_FUNCTION_COS,
    IV_FUNCTION_SIGN, /* this and the four below have derivative 0 */
    IV_FUNCTION_FLOOR,
    IV_FUNCTION_CEIL,
    IV_FUNCTION_ROUND,        /* halves to even */
    IV_FUNCTION_NOT,          /* 1 where x is 0, else 0 */
    IV_FUNCTION_CLIP,         /* to [p0, p1] */
    IV_FUNCTION_SELU,         /* p1 x, and p1 p0 (exp(x) - 1) below 0 */
    IV_FUNCTION_CELU,         /* x, and p0 (exp(x / p0) - 1) below 0 */
    IV_FUNCTION_MISH,         /* x tanh(softplus(x)) */
    IV_FUNCTION_HARD_SIGMOID, /* p0 x + p1, held to [0, 1] */
    IV_FUNCTION_HARD_SWISH,   /* x times the hard sigmoid of 1/6 and 1/2 */
    IV_FUNCTION_LOG_SIGMOID,
    IV_FUNCTION_SOFTSIGN, /* x / (1 + |x|) */
    IV_FUNCTION_GELU_TANH /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
} iv_function;

/* Functions of two numbers. From IV_BINARY_EQUAL on the result is 0 or 1 and the derivative 0. */
typedef enum iv_binary {
    IV_BINARY_NONE = 0,
    IV_BINARY_ADD,
    IV_BINARY_SUBTRACT,
    IV_BINARY_MULTIPLY,
    IV_BINARY_DIVIDE,
    IV_BINARY_POWER,
    IV_BINARY_MINIMUM, /* of equal numbers each has half of the derivative */
    IV_BINARY_MAXIMUM,
    IV_BINARY_EQUAL,
    IV_BINARY_LESS,
    IV_BINARY_LESS_OR_EQUAL,
    IV_BINARY_GREATER,
    IV_BINARY_GREATER_OR_EQUAL,
    IV_BINARY_AND,
    IV_BINARY_OR
} iv_binary;

/* What becomes of the elements of some axes. */
typedef enum iv_reduce {
    IV_REDUCE_SUM = 0,
    IV_REDUCE_MEAN,
    IV_REDUCE_MAX, /* the derivative belongs to the first of equal ones */
    IV_REDUCE_MIN,
    IV_REDUCE_PROD,
    IV_REDUCE_SUM_SQUARE,
    IV_REDUCE_L1,
    IV_REDUCE_L2,
    IV_REDUCE_LOG_SUM_EXP,
    IV_REDUCE_COUNT
} iv_reduce;

/* The axes that stay, in the order of the output (which has no gaps), and those that go, each with
 * its distance between neighbours in the input. A rank of 0: one element. */
enum { IV_REDUCTION_AXES = 8 };
typedef struct iv_axes {
    size_t rank;
    size_t extent[IV_REDUCTION_AXES], stride[IV_REDUCTION_AXES];
} iv_axes;
typedef struct iv_reduction {
    iv_reduce op;
    iv_axes kept, gone;
} iv_reduction;

/* y[o][j][i] = x[o][map[j]][i], or `fill` where map[j] is below 0: x is outer x in x inner, y is
 * outer x out x inner. The map belongs to the host. */
typedef struct iv_take {
    size_t outer, in, out, inner;
    const int32_t *map;
    double fill;
} iv_take;

/* C (m x n) = [C +] op(A) (m x k) op(B) (k x n) [+ bias] [then act].
 * a_transposed: A is stored k x m. b_transposed: B is stored n x k.
 * packed: op(B) as laid out by pack for the same k, n; then b may be NULL. */
typedef struct iv_product {
    size_t m, n, k;
    const void *a, *b, *packed;
    size_t lda, ldb;
    bool a_transposed, b_transposed;
    void *c;
    size_t ldc;
    bool accumulate;  /* C += ...; not together with act */
    const void *bias; /* n, or NULL */
    iv_act act;
    double act_parameter;
    void *slope; /* where act' at the value before act is kept (ldc), or NULL */
    /* Row r of C is multiplied by row r mod scale_rows of `scale` (scale_rows x n); NULL: it is
     * not. Not together with act. */
    const void *scale;
    size_t scale_rows;
    /* Where the rows of the stored A (m; k where it is transposed) and those of C and slope (m)
     * begin, in elements, if not at multiples of lda and ldc; NULL. The stored rows of A may come
     * in `pieces` of equal length, each piece_step behind the one before (0 pieces: in one; more
     * than one and not transposed: packed only). All this only where n > IV_PRODUCT_THIN, and
     * without scale. So windows of an image are multiplied where they lie. */
    const uint32_t *a_rows, *c_rows;
    size_t pieces, piece_step;
} iv_product;

enum { IV_PRODUCT_THIN = 4 };

/* A copy of an array of `rank` axes, each side with its own strides in elements (negative ones walk
 * backwards): y[sum i_a to_a] = x[sum i_a from_a]. The last axis is the innermost loop. */
enum { IV_REORDER_AXES = 6 };
typedef struct iv_reorder {
    size_t rank; /* 1 .. IV_REORDER_AXES */
    size_t extent[IV_REORDER_AXES];
    ptrdiff_t from[IV_REORDER_AXES], to[IV_REORDER_AXES];
} iv_reorder;

enum { IV_GATHER_SLACK = 16 };
/* Windows slid over an image of pixels x channels (channels last). Along an axis, window t starts
 * at start + t step and has taps at every `spacing` positions from there; what lies outside of the
 * image is zero. Row r of the columns is window (r / x.windows, r % x.windows), its elements
 * [tap y][tap x][channel]; what stands behind them up to ld is of no meaning, and so are
 * IV_GATHER_SLACK elements behind the last row, which the columns must have room for. */
typedef struct iv_window {
    size_t extent;  /* of the image */
    size_t windows; /* how many */
    ptrdiff_t start, step;
    size_t taps;
    ptrdiff_t spacing; /* at least 1 */
} iv_window;
typedef struct iv_gather {
    iv_window y, x;
    size_t channels; /* taken of each pixel, from where the image pointer stands */
    size_t pixel;    /* elements from one pixel to the next */
    size_t ld;       /* elements from one row of the columns to the next */
} iv_gather;

/* Windows over an image of height x width x channels, axis by axis. Bilinear takes in and out only.
 */
typedef struct iv_pooling {
    size_t channels;
    size_t in[2], out[2], kernel[2], stride[2], pad[2]; /* pad: before the first pixel */
    bool count_padding;                                 /* the mean is over the whole window */
} iv_pooling;

/* Groups of elements: group g holds `runs` runs of `width` elements, run r at
 * g width + r run_stride. */
typedef struct iv_groups {
    size_t groups, runs, run_stride, width;
} iv_groups;

typedef struct iv_adam {
    double rate, beta1, beta2, epsilon, weight_decay; /* decay decoupled: w -= rate * decay * w */
    uint64_t step;                                    /* from 1 */
} iv_adam;

/* Pictures for structural similarity: `planes` of height x length elements one behind the other;
 * windows take elements `step` apart along a row. Channels innermost: one plane, length = width x
 * channels, step = channels; channels outermost: as many planes, length = width, step 1. Windows of
 * IV_SSIM_WINDOW must fit: height >= it, length >= it x step. */
enum { IV_SSIM_WINDOW = 11 };
typedef struct iv_ssim {
    size_t planes, height, length, step;
    double c1, c2; /* (0.01 R)^2, (0.03 R)^2 */
} iv_ssim;

typedef struct iv_kernels {
    const char *name; /* "f32", "f32-reference", "f64-reference" */
    const char *isa;  /* "scalar", "baseline", "avx2", "avx512" */
    iv_dtype dtype;
    size_t size; /* bytes of an element */

    /* Memory of the backend: zeroed, aligned to 64 bytes. */
    isovae_status (*alloc)(void **out, size_t elements, const char *what, isovae_error *err);
    void (*release)(void *memory);
    void (*upload)(void *to, const double *from, size_t n);
    void (*upload_f32)(void *to, const float *from, size_t n);
    void (*download)(double *to, const void *from, size_t n);
    void (*download_f32)(float *to, const void *from, size_t n);

    /* Matrix product. pack_size: elements of the packed form of a k x n matrix op(B). */
    size_t (*pack_size)(size_t k, size_t n);
    void (*pack)(size_t k, size_t n, const void *b, size_t ldb, bool b_transposed, void *packed);
    void (*product)(const iv_product *p);
    /* The same, told that A is m / rows blocks of rows, and that element q of row r of every block
     * is zero where mask[r][q] (rows x k) is: those need not be multiplied. Packed, scale_rows
     * equal to rows where there is a scale, no slope, no act. scratch: rows x (k + 1) elements. The
     * bytes are
     * those of product where B is finite. */
    void (*product_masked)(const iv_product *p, size_t rows, const void *mask, void *scratch);

    /* Elementwise; in-place use is allowed where the types agree. */
    void (*fill)(size_t n, double value, void *y);
    void (*add)(size_t n, const void *a, const void *b, void *y);
    void (*axpy)(size_t n, double alpha, const void *x, void *y);          /* y += alpha x */
    void (*multiply)(size_t n, const void *a, const void *b, void *y);     /* y = a b */
    void (*multiply_add)(size_t n, const void *a, const void *b, void *y); /* y += a b */
    void (*copy_block)(size_t rows, size_t cols, const void *x, size_t ldx, void *y, size_t ldy,
                       bool accumulate); /* y = x or y += x */
    /* The same for any order of axes; x and y do not overlap. */
    void (*reorder)(const iv_reorder *p, const void *x, void *y, bool accumulate);
    /* Windows first .. first + count - 1 of one image, as rows of a matrix. */
    void (*gather)(const iv_gather *g, size_t first, size_t count, const void *image,
                   void *columns);
    void (*act_forward)(iv_act act, double parameter, size_t n, const void *x, void *y);
    /* d = act'(x), from the value x before the activation */
    void (*act_derivative)(iv_act act, double parameter, size_t n, const void *x, void *d);
    /* gx = act'(x) gy, or gx += */
    void (*act_reverse)(iv_act act, double parameter, size_t n, const void *x, const void *gy,
                        void *gx, bool accumulate);
    /* y_j = sum over rows of x_rj, or y_j +=; summed in double, in the order of the rows */
    void (*column_sums)(size_t rows, size_t cols, const void *x, size_t ldx, void *y,
                        bool accumulate);

    /* out (rows x n): iv_normals_f32 of the key with each of the given rows in it; the same numbers
     * in every table */
    void (*normals)(const iv_key *key, size_t rows, const size_t *row, size_t n, void *out);
    /* The Gaussian heads (rows x n flattened to count). logvar is clipped to [lo, hi] where used;
     * outside, its gradient points back inside only. */
    void (*sample)(size_t count, const void *mu, const void *logvar, double lo, double hi,
                   const void *eps, void *z); /* z = mu + exp(logvar/2) eps */
    /* g_mu = g_z (+ g_hat) + kl_weight mu; g_logvar = g_z eps sigma/2 + kl_weight (sigma^2 - 1)/2.
     * g_hat: gradient that reached mu through Dec(mu), or NULL. */
    void (*heads_reverse)(size_t count, const void *mu, const void *logvar, double lo, double hi,
                          const void *eps, const void *g_z, const void *g_hat, double kl_weight,
                          void *g_mu, void *g_logvar);
    /* kl[r] = sum_j 1/2 (mu^2 + sigma^2 - logvar - 1), in double */
    void (*kl_rows)(size_t rows, size_t n, const void *mu, const void *logvar, double lo, double hi,
                    double *kl);

    /* Pieces of metrics. value[r] are sums over the d features, in double; w (d) may be NULL;
     * row (rows doubles) may be NULL; gradients are written, or added with accumulate. */
    void (*sse_rows)(size_t rows, size_t d, const void *x, const void *xhat, const void *w,
                     double *value);
    /* g = factor row[r] 2 w_i (xhat_i - x_i) */
    void (*sse_gradient)(size_t rows, size_t d, const void *x, const void *xhat, const void *w,
                         const double *row, double factor, void *g, bool accumulate);
    void (*norm_rows)(size_t rows, size_t d, const void *x, double *value); /* sum x_i^2 */
    /* y = row[r] x, or y += */
    void (*scale_rows)(size_t rows, size_t d, const double *row, const void *x, void *y,
                       bool accumulate);
    /* y[r][i] = x[r][i] w[i], w NULL is 1 */
    void (*scale_columns)(size_t rows, size_t d, const void *w, const void *x, void *y);
    /* Cross-entropy on logits l: value[r] = sum softplus(l) - x l, without overflow */
    void (*bce_rows)(size_t rows, size_t d, const void *x, const void *logits, double *value);
    void (*bce_gradient)(size_t rows, size_t d, const void *x, const void *logits, double factor,
                         void *g, bool accumulate); /* factor (sigmoid(l) - x) */
    void (*entropy_rows)(size_t rows, size_t d, const void *x, double *value); /* of x in [0, 1] */
    /* Pair of logits: value[r] = KL-like distance of Bernoulli(sigmoid(lhat)) to sigmoid(l):
     * sum softplus(l) - softplus(lhat) - p (l - lhat), p = sigmoid(lhat) */
    void (*bce_pair_rows)(size_t rows, size_t d, const void *lhat, const void *l, double *value);
    void (*bce_pair_gradient)(size_t rows, size_t d, const void *lhat, const void *l, double factor,
                              void *g_hat, void *g, bool accumulate_hat,
                              bool accumulate); /* g_hat: p (1 - p)(lhat - l); g: sigmoid(l) - p */
    /* G of bce, in logits: y[b][i] = p (1 - p)/2 v[b][i], p = sigmoid(logits[i]), on `blocks`
     * blocks of n elements whose starts are `stride` and `y_stride` apart. */
    void (*bce_metric)(size_t n, const void *logits, size_t blocks, const void *v, size_t stride,
                       void *y, size_t y_stride);

    /* Heavy tails: u = a_i (xhat_i - x_i)^2. value[r] = sum c_i log(1 + u), in double */
    void (*student_rows)(size_t rows, size_t d, const void *x, const void *xhat, const void *a,
                         const void *c, double *value);
    /* g = factor 2 a_i c_i (xhat_i - x_i) / (1 + u), or g += */
    void (*student_gradient)(size_t rows, size_t d, const void *x, const void *xhat, const void *a,
                             const void *c, double factor, void *g, bool accumulate);
    /* Sums over rows, in double and in the order of the rows, for `columns` columns of matrices
     * whose rows are ld apart; they are added to. squares: (xhat - x)^2; share: u / (1 + u), and
     * logs: log(1 + u). */
    void (*residual_columns)(size_t rows, size_t columns, const void *x, const void *xhat,
                             size_t ld, double *squares);
    void (*student_columns)(size_t rows, size_t columns, const void *x, const void *xhat, size_t ld,
                            const void *a, double *share, double *logs);

    /* gram[j][k] = sum_i a[j][i] b[k][i] for k >= j and mirrored (n x n), or for k = j alone; rows
     * of d elements, `stride` and `b_stride` apart; products and sums in double. */
    void (*gram)(size_t n, size_t d, const void *a, size_t stride, const void *b, size_t b_stride,
                 bool diagonal, double *gram);

    /* 1 - SSIM (docs/theory.md section 2), its gradients and G, for rows of whole pictures.
     * Scratch: ssim_scratch elements from alloc. */
    size_t (*ssim_scratch)(const iv_ssim *s);
    void (*ssim_rows)(const iv_ssim *s, size_t rows, const void *x, const void *y, void *scratch,
                      double *value);
    /* g_y = factor dD/dy; g_x += factor dD/dx where g_x is not NULL */
    void (*ssim_gradient)(const iv_ssim *s, size_t rows, const void *x, const void *y,
                          double factor, void *scratch, void *g_x, void *g_y);
    /* GV = G(x) V in blocks, as in metric.h */
    void (*ssim_metric)(const iv_ssim *s, size_t rows, const void *x, size_t blocks, const void *v,
                        size_t stride, void *scratch, void *gv, size_t gv_stride);

    /* Per channel, element (o, c, i) of outer x channels x inner (channels last: inner is 1), all
     * in double and in a fixed order. d = x - shift[c]; sum[c] = sum of g, product[c] = sum of g d;
     * with g NULL g is d. */
    void (*channel_sums)(size_t outer, size_t channels, size_t inner, const void *x,
                         const double *shift, const void *g, double *sum, double *product);
    /* y = a[c] (x - m[c]) + b[c] g + s[c], or y +=; g NULL: without. coefficients: a, m, b, s, one
     * behind the other, channels each. y may be x or g. */
    void (*channel_affine)(size_t outer, size_t channels, size_t inner, const void *coefficients,
                           const void *x, const void *g, void *y, bool accumulate);
    /* r = sqrt(s), inverse: 1 / sqrt(s); and 2 dL/ds for y = x r and g = dL/dy */
    void (*root)(size_t n, bool inverse, const void *s, void *r);
    void (*root_reverse)(size_t n, bool inverse, const void *g, const void *x, const void *r,
                         void *h);

    /* Each group to mean 0 and variance 1: xhat = (x - mean) rstd, rstd (one per group) =
     * 1 / sqrt(var + eps). And y = rstd (g - mean g - xhat mean(g xhat)), or y +=. */
    void (*normalise)(const iv_groups *p, double eps, const void *x, void *xhat, void *rstd);
    void (*normalise_reverse)(const iv_groups *p, const void *xhat, const void *rstd, const void *g,
                              void *y, bool accumulate);
    /* y_c = exp(x_c) / sum over the channels; g_x = y (g - sum over channels of g y), or += */
    void (*softmax)(size_t outer, size_t channels, size_t inner, const void *x, void *y);
    void (*softmax_reverse)(size_t outer, size_t channels, size_t inner, const void *y,
                            const void *g, void *gx, bool accumulate);

    /* y = x_c - log(sum over the channels of exp(x)); g_x = g - exp(y) sum over channels of g, or
     * += ; t_y = t - sum over channels of exp(y) t */
    void (*log_softmax)(size_t outer, size_t channels, size_t inner, const void *x, void *y);
    void (*log_softmax_reverse)(size_t outer, size_t channels, size_t inner, const void *y,
                                const void *g, void *gx, bool accumulate);
    void (*log_softmax_tangent)(size_t outer, size_t channels, size_t inner, const void *y,
                                const void *t, void *ty);

    /* The functions of graphs from elsewhere; x and y may be the same array. d: the derivative. */
    void (*function)(iv_function f, const double *p, size_t n, const void *x, void *y);
    void (*function_slope)(iv_function f, const double *p, size_t n, const void *x, void *d);
    /* rows x n; the rows of an operand are lda (ldb) elements apart: n, or 0 for one row that
     * serves all. slope: the derivative in the first (0) or the second (1) operand. */
    void (*binary)(iv_binary f, size_t rows, size_t n, const void *a, size_t lda, const void *b,
                   size_t ldb, void *y);
    void (*binary_slope)(iv_binary f, unsigned which, size_t rows, size_t n, const void *a,
                         size_t lda, const void *b, size_t ldb, void *d);
    /* y = a where c is not 0, else b; NULL for a or b is 0. y may be a or b. */
    void (*where)(size_t rows, size_t n, const void *c, size_t ldc, const void *a, size_t lda,
                  const void *b, size_t ldb, void *y);
    /* Sums in double, in the order of the axes. gx = slope g, or +=; ty = sum of slope t. Neither
     * overlaps x. */
    void (*reduce)(const iv_reduction *p, const void *x, void *y);
    void (*reduce_reverse)(const iv_reduction *p, const void *x, const void *g, void *gx,
                           bool accumulate);
    void (*reduce_tangent)(const iv_reduction *p, const void *x, const void *t, void *ty);
    /* take, and its transpose: gx += , in the order of the map */
    void (*take)(const iv_take *p, const void *x, void *y);
    void (*take_spread)(const iv_take *p, const void *g, void *gx);

    /* Pools. max_pool leaves in `tap` where each maximum was found (row of taps by row); follow
     * reads x there, y = x, or with spread adds x there, y +=. */
    void (*max_pool)(size_t images, const iv_pooling *p, const void *x, void *y, void *tap);
    void (*max_pool_follow)(size_t images, const iv_pooling *p, const void *tap, const void *x,
                            void *y, bool spread);
    void (*average_pool)(size_t images, const iv_pooling *p, const void *x, void *y);
    void (*average_pool_spread)(size_t images, const iv_pooling *p, const void *g,
                                void *gx); /* gx += */
    /* Bilinear interpolation to out, centres at halves, edges clamped; spread: the transpose, y +=.
     */
    void (*bilinear)(size_t images, const iv_pooling *p, const void *x, void *y, bool spread);

    /* Adam on n elements: w, first and second moment updated in place from g. */
    void (*adam)(size_t n, const iv_adam *adam, void *w, const void *g, void *m, void *v);
    /* sum of squares in double, and whether all are finite */
    double (*sum_squares)(size_t n, const void *x);
} iv_kernels;

/* Element `offset` of a backend buffer. */
static inline void *iv_at(const iv_kernels *k, const void *base, size_t offset)
{
    return (unsigned char *)(uintptr_t)base + offset * k->size;
}

typedef enum iv_precision {
    IV_PRECISION_F32 = 0,
    IV_PRECISION_F32_REFERENCE = 1,
    IV_PRECISION_F64_REFERENCE = 2
} iv_precision;

/* The table for a precision. `isa`: a name ("baseline", "avx2", "avx512"; meaningful for
 * IV_PRECISION_F32), or NULL for the one that the environment variable ISOVAE_ISA pins, else the
 * best this processor has; NULL is returned for a name that is unknown or not supported here.
 * Tables are constant and live for ever. */
const iv_kernels *iv_kernels_get(iv_precision precision, const char *isa);
/* What ISOVAE_ISA says, or NULL. */
const char *iv_kernels_pinned(void);

/* The floating-point state for the time of a computation: enter sets it for the calling thread
 * (rounding to nearest, no traps, numbers below the normal range flushed to zero) and returns what
 * stood before, leave restores that, status flags included. A host process never notices. */
unsigned iv_fp_enter(void);
void iv_fp_leave(unsigned before);

const char *iv_act_name(iv_act act); /* "relu", ... "none" */
bool iv_act_parse(const char *name, iv_act *out);
double iv_act_default_parameter(iv_act act); /* leaky_relu 0.01, elu 1, else 0 */

#endif
