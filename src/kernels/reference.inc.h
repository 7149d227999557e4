/* The reference table: each formula as it is written, one element after the other. Compiled twice,
 * with T float and double; K(f) the C library's function for T. The f64 one is what everything
 * else is checked against, so each formula is arranged to lose no digits to cancellation. */
#include "kernels/plain.inc.h"
#include "kernels/ssim.inc.h"
#include "kernels/tables.h"

/* Matrix product. The packed form is op(B) itself, row-major k x n. */

static size_t ref_pack_size(size_t k, size_t n)
{
    return k * n;
}

static void ref_pack(size_t k, size_t n, const void *bv, size_t ldb, bool b_transposed,
                     void *packed)
{
    const T *b = bv;
    T *y = packed;
    for (size_t p = 0; p < k; p++)
        for (size_t j = 0; j < n; j++)
            y[p * n + j] = b_transposed ? b[j * ldb + p] : b[p * ldb + j];
}

static T act_value(iv_act act, T parameter, T x);
static T act_slope(iv_act act, T parameter, T x);

/* Element (i, q) of op(A) in the stored A. */
static size_t ref_place(const iv_product *p, size_t i, size_t q)
{
    size_t row = p->a_transposed ? q : i, at = p->a_transposed ? i : q;
    size_t start = p->a_rows ? p->a_rows[row] : row * p->lda;
    if (p->pieces <= 1) return start + at;
    size_t length = (p->a_transposed ? p->m : p->k) / p->pieces;
    return start + at / length * p->piece_step + at % length;
}

/* Each element is a sum over k in order, started from zero: columns in blocks, so that a row of
 * sums can be kept beside the running row of B. */
static void ref_product(const iv_product *p)
{
    enum { BLOCK = 128 };
    const T *a = p->a, *b = p->packed ? p->packed : p->b, *bias = p->bias;
    size_t ldb = p->packed ? p->n : p->ldb;
    bool b_transposed = p->b_transposed && !p->packed;
    const T *scale = p->scale;
    T *c = p->c, *slope = p->slope;
    T sum[BLOCK];
    for (size_t i = 0; i < p->m; i++) {
        for (size_t j0 = 0; j0 < p->n; j0 += BLOCK) {
            size_t width = p->n - j0 < BLOCK ? p->n - j0 : BLOCK;
            for (size_t j = 0; j < width; j++) sum[j] = 0;
            for (size_t q = 0; q < p->k; q++) {
                T s = a[ref_place(p, i, q)];
                if (b_transposed) {
                    for (size_t j = 0; j < width; j++) sum[j] += s * b[(j0 + j) * ldb + q];
                } else {
                    const T *row = b + q * ldb + j0;
                    for (size_t j = 0; j < width; j++) sum[j] += s * row[j];
                }
            }
            for (size_t j = 0; j < width; j++) {
                size_t at = (p->c_rows ? p->c_rows[i] : i * p->ldc) + j0 + j;
                T value = sum[j];
                if (p->accumulate) value = c[at] + value;
                if (bias) value += bias[j0 + j];
                if (slope) slope[at] = act_slope(p->act, (T)p->act_parameter, value);
                c[at] = act_value(p->act, (T)p->act_parameter, value);
                if (scale) c[at] = value * scale[i % p->scale_rows * p->n + j0 + j];
            }
        }
    }
}

static void ref_product_masked(const iv_product *p, size_t rows, const void *mask, void *scratch)
{
    (void)rows, (void)mask, (void)scratch;
    ref_product(p);
}

/* Activations. exp(-|x|) never overflows; 1/(1 + it) and it/(1 + it) are sigmoid(|x|) and
 * sigmoid(-|x|), both to full relative precision. */

static T logistic(T x)
{
    T e = K(exp)(-K(fabs)(x));
    return (x < 0 ? e : 1) / (1 + e);
}

static T softplus(T x)
{
    return (x > 0 ? x : 0) + K(log1p)(K(exp)(x > 0 ? -x : x));
}

/* sigmoid'(x) = s (1 - s) */
static T logistic_slope(T x)
{
    T e = K(exp)(-K(fabs)(x));
    return e / ((1 + e) * (1 + e));
}

/* Phi(x), the normal distribution function; erfc keeps the digits of the lower tail. */
static T normal_below(T x)
{
    return (T)0.5 * K(erfc)((T)-0.70710678118654752440 * x);
}

static T normal_density(T x)
{
    return (T)0.39894228040143267794 * K(exp)((T)-0.5 * x * x);
}

static T hold(T x, T limit)
{
    return x > limit ? limit : x < -limit ? -limit : x;
}

static T act_value(iv_act act, T parameter, T x)
{
    switch (act) {
    case IV_ACT_RELU: return x < 0 ? 0 : x;
    case IV_ACT_LEAKY_RELU: return x < 0 ? parameter * x : x;
    case IV_ACT_ELU: return x < 0 ? parameter * K(expm1)(x) : x;
    case IV_ACT_SILU: return (x < 0 ? hold(x, (T)IV_SILU_LIMIT) : x) * logistic(x);
    case IV_ACT_GELU: return (x < 0 ? hold(x, (T)IV_GELU_LIMIT) : x) * normal_below(x);
    case IV_ACT_SOFTPLUS: return softplus(x);
    case IV_ACT_SIGMOID: return logistic(x);
    case IV_ACT_TANH: return K(tanh)(x);
    case IV_ACT_EXP: return K(exp)(x);
    case IV_ACT_NONE:
    case IV_ACT_COUNT: break;
    }
    return x;
}

static T act_slope(iv_act act, T parameter, T x)
{
    if (x != x && act != IV_ACT_NONE) return x;
    switch (act) {
    case IV_ACT_RELU: return x > 0 ? 1 : 0;
    case IV_ACT_LEAKY_RELU: return x > 0 ? 1 : parameter;
    case IV_ACT_ELU: return x > 0 ? 1 : parameter * K(exp)(x);
    case IV_ACT_SILU: /* s(x) (1 + x s(-x)) */
        x = hold(x, (T)IV_SILU_LIMIT);
        return logistic(x) * (1 + x * logistic(-x));
    case IV_ACT_GELU: /* Phi(x) + x phi(x) */
        x = hold(x, (T)IV_GELU_LIMIT);
        return normal_below(x) + x * normal_density(x);
    case IV_ACT_SOFTPLUS: return logistic(x);
    case IV_ACT_SIGMOID: return logistic_slope(x);
    case IV_ACT_TANH: return 4 * logistic_slope(2 * x); /* tanh(x) = 2 sigmoid(2 x) - 1 */
    case IV_ACT_EXP: return K(exp)(x);
    case IV_ACT_NONE:
    case IV_ACT_COUNT: break;
    }
    return 1;
}

static void ref_act_forward(iv_act act, double parameter, size_t n, const void *xv, void *yv)
{
    const T *x = xv;
    T *y = yv;
    for (size_t i = 0; i < n; i++) y[i] = act_value(act, (T)parameter, x[i]);
}

static void ref_act_derivative(iv_act act, double parameter, size_t n, const void *xv, void *dv)
{
    const T *x = xv;
    T *d = dv;
    for (size_t i = 0; i < n; i++) d[i] = act_slope(act, (T)parameter, x[i]);
}

static void ref_act_reverse(iv_act act, double parameter, size_t n, const void *xv, const void *gyv,
                            void *gxv, bool accumulate)
{
    const T *x = xv, *gy = gyv;
    T *gx = gxv;
    for (size_t i = 0; i < n; i++) {
        T g = act_slope(act, (T)parameter, x[i]) * gy[i];
        gx[i] = accumulate ? gx[i] + g : g;
    }
}

/* The Gaussian heads. */

static T clip(T x, double lo, double hi)
{
    return x < (T)lo ? (T)lo : x > (T)hi ? (T)hi : x;
}

static void ref_sample(size_t count, const void *muv, const void *logvarv, double lo, double hi,
                       const void *epsv, void *zv)
{
    const T *mu = muv, *logvar = logvarv, *eps = epsv;
    T *z = zv;
    for (size_t i = 0; i < count; i++)
        z[i] = mu[i] + K(exp)((T)0.5 * clip(logvar[i], lo, hi)) * eps[i];
}

static void ref_heads_reverse(size_t count, const void *muv, const void *logvarv, double lo,
                              double hi, const void *epsv, const void *g_zv, const void *g_hatv,
                              double kl_weight, void *g_muv, void *g_logvarv)
{
    const T *mu = muv, *logvar = logvarv, *eps = epsv, *g_z = g_zv, *g_hat = g_hatv;
    T *g_mu = g_muv, *g_logvar = g_logvarv;
    T weight = (T)kl_weight;
    for (size_t i = 0; i < count; i++) {
        T l = clip(logvar[i], lo, hi);
        T half_sigma = (T)0.5 * K(exp)((T)0.5 * l);
        T g = g_z[i] * eps[i] * half_sigma + (T)0.5 * weight * K(expm1)(l);
        /* A step goes against g: beyond a limit only the way back is open. */
        if (logvar[i] > (T)hi && g < 0) g = 0;
        if (logvar[i] < (T)lo && g > 0) g = 0;
        g_mu[i] = g_z[i] + (g_hat ? g_hat[i] : 0) + weight * mu[i];
        g_logvar[i] = g;
    }
}

/* sigma^2 - 1 - logvar as expm1(logvar) - logvar, in double: it vanishes with logvar squared. */
static void ref_kl_rows(size_t rows, size_t n, const void *muv, const void *logvarv, double lo,
                        double hi, double *kl)
{
    const T *mu = muv, *logvar = logvarv;
    for (size_t r = 0; r < rows; r++) {
        double sum = 0;
        for (size_t j = 0; j < n; j++) {
            double m = (double)mu[r * n + j], l = (double)clip(logvar[r * n + j], lo, hi);
            sum += 0.5 * (m * m + (expm1(l) - l));
        }
        kl[r] = sum;
    }
}

/* Pieces of metrics. */

static void ref_sse_rows(size_t rows, size_t d, const void *xv, const void *xhatv, const void *wv,
                         double *value)
{
    const T *x = xv, *xhat = xhatv, *w = wv;
    for (size_t r = 0; r < rows; r++) {
        double sum = 0;
        for (size_t i = 0; i < d; i++) {
            double e = (double)(xhat[r * d + i] - x[r * d + i]);
            sum += e * e * (w ? (double)w[i] : 1);
        }
        value[r] = sum;
    }
}

static double ref_sum_squares(size_t n, const void *xv)
{
    const T *x = xv;
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

static void ref_norm_rows(size_t rows, size_t d, const void *xv, double *value)
{
    const T *x = xv;
    for (size_t r = 0; r < rows; r++) value[r] = ref_sum_squares(d, x + r * d);
}

static void ref_bce_rows(size_t rows, size_t d, const void *xv, const void *logitsv, double *value)
{
    const T *x = xv, *l = logitsv;
    for (size_t r = 0; r < rows; r++) {
        double sum = 0;
        for (size_t i = 0; i < d; i++)
            sum += (double)softplus(l[r * d + i]) - (double)x[r * d + i] * (double)l[r * d + i];
        value[r] = sum;
    }
}

static void ref_bce_gradient(size_t rows, size_t d, const void *xv, const void *logitsv,
                             double factor, void *gv, bool accumulate)
{
    const T *x = xv, *l = logitsv;
    T *g = gv;
    T c = (T)factor;
    for (size_t i = 0; i < rows * d; i++) {
        T value = c * (logistic(l[i]) - x[i]);
        g[i] = accumulate ? g[i] + value : value;
    }
}

/* -x log x - (1 - x) log(1 - x), 0 at both ends */
static void ref_entropy_rows(size_t rows, size_t d, const void *xv, double *value)
{
    const T *x = xv;
    for (size_t r = 0; r < rows; r++) {
        double sum = 0;
        for (size_t i = 0; i < d; i++) {
            double t = (double)x[r * d + i];
            if (t > 0) sum -= t * log(t);
            if (t < 1) sum -= (1 - t) * log1p(-t);
            if (t != t) sum = t;
        }
        value[r] = sum;
    }
}

/* softplus(l) - softplus(h) - p (l - h) with p = sigmoid(h). It vanishes with (l - h)^2, so for
 * close logits it is taken as log(1 + p (e^t - 1)) - p t, t = l - h, turned so that t <= 0 (the
 * value is the same under a change of all signs, p becoming 1 - p). */
static double bce_pair(double h, double l)
{
    double t = l - h;
    if (fabs(t) <= 1) {
        double p = 1 / (1 + exp(t > 0 ? h : -h));
        t = -fabs(t);
        return log1p(p * expm1(t)) - p * t;
    }
    double eh = exp(-fabs(h)), el = exp(-fabs(l));
    double p = (h < 0 ? eh : 1) / (1 + eh);
    return (l > 0 ? l : 0) + log1p(el) - (h > 0 ? h : 0) - log1p(eh) - p * t;
}

static void ref_bce_pair_rows(size_t rows, size_t d, const void *lhatv, const void *lv,
                              double *value)
{
    const T *h = lhatv, *l = lv;
    for (size_t r = 0; r < rows; r++) {
        double sum = 0;
        for (size_t i = 0; i < d; i++) sum += bce_pair((double)h[r * d + i], (double)l[r * d + i]);
        value[r] = sum;
    }
}

/* g: sigmoid(l) - p = tanh((l - h)/2) (sigmoid(l) sigmoid(-h) + sigmoid(-l) sigmoid(h)); the
 * difference itself is good to the rounding of p, which is what single precision can ask. */
static void ref_bce_pair_gradient(size_t rows, size_t d, const void *lhatv, const void *lv,
                                  double factor, void *g_hatv, void *gv, bool accumulate_hat,
                                  bool accumulate)
{
    const T *h = lhatv, *l = lv;
    T *g_hat = g_hatv, *g = gv;
    T c = (T)factor;
    for (size_t i = 0; i < rows * d; i++) {
        T value_hat = c * (logistic_slope(h[i]) * (h[i] - l[i]));
        T value = c * (logistic(l[i]) - logistic(h[i]));
        if (g_hat) g_hat[i] = accumulate_hat ? g_hat[i] + value_hat : value_hat;
        if (g) g[i] = accumulate ? g[i] + value : value;
    }
}

static void ref_bce_metric(size_t n, const void *logitsv, size_t blocks, const void *vv,
                           size_t stride, void *yv, size_t y_stride)
{
    const T *l = logitsv, *v = vv;
    T *y = yv;
    for (size_t i = 0; i < n; i++) {
        T slope = logistic_slope(l[i]) / 2;
        for (size_t b = 0; b < blocks; b++) y[b * y_stride + i] = slope * v[b * stride + i];
    }
}

static void ref_student_rows(size_t rows, size_t d, const void *xv, const void *xhatv,
                             const void *av, const void *cv, double *value)
{
    const T *x = xv, *xhat = xhatv, *a = av, *c = cv;
    for (size_t r = 0; r < rows; r++) {
        double sum = 0;
        for (size_t i = 0; i < d; i++) {
            double e = (double)(xhat[r * d + i] - x[r * d + i]);
            sum += (double)c[i] * log1p((double)a[i] * e * e);
        }
        value[r] = sum;
    }
}

static void ref_gram(size_t n, size_t d, const void *av, size_t stride, const void *bv,
                     size_t b_stride, bool diagonal, double *gram)
{
    for (size_t j = 0; j < n; j++) {
        const T *a = (const T *)av + j * stride;
        for (size_t k = j; k < (diagonal ? j + 1 : n); k++) {
            const T *b = (const T *)bv + k * b_stride;
            double sum = 0;
            for (size_t i = 0; i < d; i++) sum += (double)a[i] * (double)b[i];
            gram[j * n + k] = gram[k * n + j] = sum;
        }
    }
}

#define REFERENCE_TABLE(table_name, table_dtype)                                                   \
    {                                                                                              \
        .name = table_name, .isa = "scalar", .dtype = table_dtype, .size = sizeof(T),              \
        .alloc = plain_alloc, .release = plain_release, .upload = plain_upload,                    \
        .upload_f32 = plain_upload_f32, .download = plain_download,                                \
        .download_f32 = plain_download_f32, .pack_size = ref_pack_size, .pack = ref_pack,          \
        .product = ref_product, .product_masked = ref_product_masked, .fill = plain_fill,          \
        .add = plain_add, .axpy = plain_axpy, .multiply = plain_multiply,                          \
        .multiply_add = plain_multiply_add, .copy_block = plain_copy_block,                        \
        .reorder = plain_reorder, .gather = plain_gather, .act_forward = ref_act_forward,          \
        .act_derivative = ref_act_derivative, .act_reverse = ref_act_reverse,                      \
        .column_sums = plain_column_sums, .normals = plain_normals, .sample = ref_sample,          \
        .heads_reverse = ref_heads_reverse, .kl_rows = ref_kl_rows, .sse_rows = ref_sse_rows,      \
        .sse_gradient = plain_sse_gradient, .norm_rows = ref_norm_rows,                            \
        .scale_rows = plain_scale_rows, .scale_columns = plain_scale_columns,                      \
        .bce_rows = ref_bce_rows, .bce_gradient = ref_bce_gradient,                                \
        .entropy_rows = ref_entropy_rows, .bce_pair_rows = ref_bce_pair_rows,                      \
        .bce_pair_gradient = ref_bce_pair_gradient, .bce_metric = ref_bce_metric,                  \
        .student_rows = ref_student_rows, .student_gradient = plain_student_gradient,              \
        .residual_columns = plain_residual_columns, .student_columns = plain_student_columns,      \
        .ssim_scratch = plain_ssim_scratch, .ssim_rows = plain_ssim_rows,                          \
        .ssim_gradient = plain_ssim_gradient, .ssim_metric = plain_ssim_metric, .gram = ref_gram,  \
        .adam = plain_adam, .sum_squares = ref_sum_squares, CHANNEL_KERNELS, GENERAL_KERNELS,      \
        POOL_KERNELS                                                                               \
    }
