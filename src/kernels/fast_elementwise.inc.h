/* Elementwise kernels and sums on the lanes. The end of an array goes through the same instructions
 * as the rest of it, in lanes filled up with zeros, so that an element's bytes do not depend on its
 * place. */

INLINE vf act_lanes(iv_act act, vf parameter, vf x)
{
    const vf zero = set1(0.0f);
    switch (act) {
    case IV_ACT_RELU: return greatest(zero, x);
    case IV_ACT_LEAKY_RELU: return choose((vi)(x < zero), parameter * x, x);
    case IV_ACT_ELU: return choose((vi)(x < zero), parameter * expm1_lanes(least(zero, x)), x);
    case IV_ACT_SILU: return greatest(set1((float)-IV_SILU_LIMIT), x) * logistic_lanes(x);
    case IV_ACT_GELU: return greatest(set1((float)-IV_GELU_LIMIT), x) * normal_split(x).below;
    case IV_ACT_SOFTPLUS: return softplus_lanes(x);
    case IV_ACT_SIGMOID: return logistic_lanes(x);
    case IV_ACT_TANH: return tanh_lanes(x);
    case IV_ACT_EXP: return exp_lanes(x);
    case IV_ACT_NONE:
    case IV_ACT_COUNT: break;
    }
    return x;
}

/* 1 where x > 0, else low; NaN stays */
INLINE vf step_lanes(vf low, vf x)
{
    vf y = choose((vi)(x > set1(0.0f)), set1(1.0f), low);
    return choose((vi)(x == x), y, x);
}

INLINE vf act_slope_lanes(iv_act act, vf parameter, vf x)
{
    const vf zero = set1(0.0f), one = set1(1.0f);
    switch (act) {
    case IV_ACT_RELU: return step_lanes(zero, x);
    case IV_ACT_LEAKY_RELU: return step_lanes(parameter, x);
    case IV_ACT_ELU: return step_lanes(parameter * exp_lanes(least(zero, x)), x);
    case IV_ACT_SILU: { /* s(x) (1 + x s(-x)) */
        logistic_parts s = logistic_split(x);
        vi negative = (vi)(x < zero);
        vf held = least(set1((float)IV_SILU_LIMIT), greatest(set1((float)-IV_SILU_LIMIT), x));
        vf up = choose(negative, s.lower, s.upper), down = choose(negative, s.upper, s.lower);
        return up * madd(held, down, one);
    }
    case IV_ACT_GELU: { /* Phi(x) + x phi(x) */
        normal_parts s = normal_split(x);
        vf held = least(set1((float)IV_GELU_LIMIT), greatest(set1((float)-IV_GELU_LIMIT), x));
        return madd(held * s.bell, set1(0.39894228040f), s.below);
    }
    case IV_ACT_SOFTPLUS: return logistic_lanes(x);
    case IV_ACT_SIGMOID: return logistic_slope_lanes(x);
    case IV_ACT_TANH: return set1(4.0f) * logistic_slope_lanes(x + x);
    case IV_ACT_EXP: return exp_lanes(x);
    case IV_ACT_NONE:
    case IV_ACT_COUNT: break;
    }
    return one;
}

/* CASE(act) once for every activation, so that the loop inside it knows which it is. */
#define EACH_ACT(CASE)                                                                             \
    CASE(IV_ACT_NONE)                                                                              \
    CASE(IV_ACT_RELU)                                                                              \
    CASE(IV_ACT_LEAKY_RELU)                                                                        \
    CASE(IV_ACT_ELU)                                                                               \
    CASE(IV_ACT_SILU)                                                                              \
    CASE(IV_ACT_GELU)                                                                              \
    CASE(IV_ACT_SOFTPLUS)                                                                          \
    CASE(IV_ACT_SIGMOID)                                                                           \
    CASE(IV_ACT_TANH)                                                                              \
    CASE(IV_ACT_EXP)

/* rows x cols, for the tiles of a product too. With the slope beside the value what both need (an
 * exponential, mostly) is computed once. */
INLINE void act_block(iv_act act, vf parameter, size_t rows, size_t cols, const float *x, float *y,
                      float *slope, size_t ld)
{
    for (size_t at = 0; rows > 0; rows--, at += ld) {
        for (size_t i = at; i < at + cols; i += W) {
            size_t left = at + cols - i;
            vf v = load_up_to(x + i, left);
            vf value = act_lanes(act, parameter, v);
            if (slope) store_up_to(slope + i, act_slope_lanes(act, parameter, v), left);
            store_up_to(y + i, value, left);
        }
    }
}

static void act_rows(iv_act act, double parameter, size_t rows, size_t cols, const float *x,
                     float *y, float *slope, size_t ld)
{
#define CASE(which)                                                                                \
    case which:                                                                                    \
        if (slope)                                                                                 \
            act_block(which, set1((float)parameter), rows, cols, x, y, slope, ld);                 \
        else                                                                                       \
            act_block(which, set1((float)parameter), rows, cols, x, y, NULL, ld);                  \
        break;
    switch (act) {
        EACH_ACT(CASE) case IV_ACT_COUNT : break;
    }
#undef CASE
}

static void fast_act_forward(iv_act act, double parameter, size_t n, const void *x, void *y)
{
    act_rows(act, parameter, 1, n, x, y, NULL, n);
}

INLINE void slope_loop(iv_act act, vf parameter, size_t n, const float *x, float *d)
{
    for (size_t i = 0; i < n; i += W)
        store_up_to(d + i, act_slope_lanes(act, parameter, load_up_to(x + i, n - i)), n - i);
}

static void fast_act_derivative(iv_act act, double parameter, size_t n, const void *x, void *d)
{
#define CASE(which)                                                                                \
    case which: slope_loop(which, set1((float)parameter), n, x, d); break;
    switch (act) {
        EACH_ACT(CASE) case IV_ACT_COUNT : break;
    }
#undef CASE
}

INLINE void reverse_loop(iv_act act, vf parameter, size_t n, const float *x, const float *gy,
                         float *gx, bool accumulate)
{
    for (size_t i = 0; i < n; i += W) {
        size_t left = n - i;
        vf slope = act_slope_lanes(act, parameter, load_up_to(x + i, left));
        vf g = slope * load_up_to(gy + i, left);
        if (accumulate) g = load_up_to(gx + i, left) + g;
        store_up_to(gx + i, g, left);
    }
}

static void fast_act_reverse(iv_act act, double parameter, size_t n, const void *x, const void *gy,
                             void *gx, bool accumulate)
{
#define CASE(which)                                                                                \
    case which: reverse_loop(which, set1((float)parameter), n, x, gy, gx, accumulate); break;
    switch (act) {
        EACH_ACT(CASE) case IV_ACT_COUNT : break;
    }
#undef CASE
}

/* The Gaussian heads; formulas as in the reference. */

static void fast_sample(size_t count, const void *muv, const void *logvarv, double lo, double hi,
                        const void *epsv, void *zv)
{
    const float *mu = muv, *logvar = logvarv, *eps = epsv;
    float *z = zv;
    const vf low = set1((float)lo), high = set1((float)hi);
    for (size_t i = 0; i < count; i += W) {
        size_t left = count - i;
        vf l = least(high, greatest(low, load_up_to(logvar + i, left)));
        vf sigma = exp_lanes(set1(0.5f) * l);
        store_up_to(z + i, madd(sigma, load_up_to(eps + i, left), load_up_to(mu + i, left)), left);
    }
}

static void fast_heads_reverse(size_t count, const void *muv, const void *logvarv, double lo,
                               double hi, const void *epsv, const void *g_zv, const void *g_hatv,
                               double kl_weight, void *g_muv, void *g_logvarv)
{
    const float *mu = muv, *logvar = logvarv, *eps = epsv, *g_z = g_zv, *g_hat = g_hatv;
    float *g_mu = g_muv, *g_logvar = g_logvarv;
    const vf zero = set1(0.0f), half = set1(0.5f);
    const vf low = set1((float)lo), high = set1((float)hi), weight = set1((float)kl_weight);
    for (size_t i = 0; i < count; i += W) {
        size_t left = count - i;
        vf gz = load_up_to(g_z + i, left), free = load_up_to(logvar + i, left);
        vf l = least(high, greatest(low, free));
        vf half_sigma = half * exp_lanes(half * l);
        vf pull = half * weight * expm1_lanes(l);
        vf g = madd(gz * load_up_to(eps + i, left), half_sigma, pull);
        /* A step goes against g: beyond a limit only the way back is open. */
        g = choose((vi)(free > high), greatest(zero, g), g);
        g = choose((vi)(free < low), least(zero, g), g);
        vf gm = madd(weight, load_up_to(mu + i, left), gz);
        if (g_hat) gm = gm + load_up_to(g_hat + i, left);
        store_up_to(g_mu + i, gm, left);
        store_up_to(g_logvar + i, g, left);
    }
}

/* Sums in double: element i of a row belongs to lane i mod W, and the lanes are added in order. */

typedef struct lane_sum {
    vd lane[2];
} lane_sum;

INLINE vd widen(vh v)
{
    return __builtin_convertvector(v, vd);
}

INLINE void sum_add(lane_sum *sum, vf v)
{
    union {
        vf whole;
        vh half[2];
    } u = {v};
    sum->lane[0] += widen(u.half[0]);
    sum->lane[1] += widen(u.half[1]);
}

INLINE double sum_total(const lane_sum *sum)
{
    double total = 0;
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < W / 2; i++) total += sum->lane[h][i];
    return total;
}

/* One row of squares: w (a - b)^2, b and w may be NULL. The difference is in float. */
INLINE double squares(size_t n, const float *a, const float *b, const float *w)
{
    lane_sum sum = {{{0}, {0}}};
    for (size_t i = 0; i < n; i += W) {
        size_t left = n - i;
        union {
            vf whole;
            vh half[2];
        } e = {load_up_to(a + i, left)}, f = {set1(0.0f)};
        if (b) e.whole = e.whole - load_up_to(b + i, left);
        if (w) f.whole = load_up_to(w + i, left);
        for (int h = 0; h < 2; h++) {
            vd d = widen(e.half[h]);
            sum.lane[h] += w ? d * d * widen(f.half[h]) : d * d;
        }
    }
    return sum_total(&sum);
}

static void fast_sse_rows(size_t rows, size_t d, const void *xv, const void *xhatv, const void *wv,
                          double *value)
{
    const float *x = xv, *xhat = xhatv, *w = wv;
    for (size_t r = 0; r < rows; r++, x += d, xhat += d)
        value[r] = w ? squares(d, xhat, x, w) : squares(d, xhat, x, NULL);
}

static double fast_sum_squares(size_t n, const void *x)
{
    return squares(n, x, NULL, NULL);
}

static void fast_norm_rows(size_t rows, size_t d, const void *xv, double *value)
{
    const float *x = xv;
    for (size_t r = 0; r < rows; r++, x += d) value[r] = squares(d, x, NULL, NULL);
}

static void fast_kl_rows(size_t rows, size_t n, const void *muv, const void *logvarv, double lo,
                         double hi, double *kl)
{
    const float *mu = muv, *logvar = logvarv;
    const vf low = set1((float)lo), high = set1((float)hi);
    for (size_t r = 0; r < rows; r++, mu += n, logvar += n) {
        lane_sum sum = {{{0}, {0}}};
        for (size_t i = 0; i < n; i += W) {
            vf l = least(high, greatest(low, load_up_to(logvar + i, n - i)));
            sum_add(&sum, keep(exp_excess_lanes(l), n - i < W ? n - i : W));
        }
        kl[r] = 0.5 * (sum_total(&sum) + squares(n, mu, NULL, NULL));
    }
}

/* softplus(l) - x l = |l| times (1 - x or x) + log(1 + e^-|l|): both terms are positive */
static void fast_bce_rows(size_t rows, size_t d, const void *xv, const void *logitsv, double *value)
{
    const float *x = xv, *logits = logitsv;
    for (size_t r = 0; r < rows; r++, x += d, logits += d) {
        lane_sum sum = {{{0}, {0}}};
        for (size_t i = 0; i < d; i += W) {
            size_t left = d - i;
            vf l = load_up_to(logits + i, left), t = load_up_to(x + i, left), a = absolute(l);
            vf miss = choose((vi)(l > set1(0.0f)), set1(1.0f) - t, t);
            sum_add(&sum, keep(madd(a, miss, log1p_unit_lanes(exp_falling_lanes(-a))),
                               left < W ? left : W));
        }
        value[r] = sum_total(&sum);
    }
}

static void fast_bce_gradient(size_t rows, size_t d, const void *xv, const void *logitsv,
                              double factor, void *gv, bool accumulate)
{
    const float *x = xv, *l = logitsv;
    float *g = gv;
    size_t n = rows * d;
    const vf c = set1((float)factor);
    for (size_t i = 0; i < n; i += W) {
        size_t left = n - i;
        vf v = c * (logistic_lanes(load_up_to(l + i, left)) - load_up_to(x + i, left));
        if (accumulate) v = load_up_to(g + i, left) + v;
        store_up_to(g + i, v, left);
    }
}

/* -x log x - (1 - x) log(1 - x); log(1 - x) gets back what the rounding of 1 - x took */
INLINE vf entropy_lanes(vf x)
{
    const vf zero = set1(0.0f), one = set1(1.0f), tiny = set1(1.17549435e-38f);
    vf y = one - x;
    vf lost = (one - y) - x;
    vf held = greatest(tiny, x), held_y = greatest(tiny, y);
    vf upper = y * (log_lanes(held_y) + lost / held_y);
    vf lower = x * log_lanes(held);
    return choose((vi)(x == x), zero - (lower + upper), x);
}

static void fast_entropy_rows(size_t rows, size_t d, const void *xv, double *value)
{
    const float *x = xv;
    for (size_t r = 0; r < rows; r++, x += d) {
        lane_sum sum = {{{0}, {0}}};
        for (size_t i = 0; i < d; i += W)
            sum_add(&sum, entropy_lanes(load_up_to(x + i, d - i))); /* 0 has none */
        value[r] = sum_total(&sum);
    }
}

/* softplus(l) - softplus(h) - p (l - h), p = sigmoid(h), with all signs turned so that h <= 0 and
 * p <= 1/2. With t = l - h, v = p (e^t - 1) and s = v / (2 + v) it is
 * log(1 + v) - p t = p (e^t - 1 - t) - v s + s^3 P(s^2), which keeps its digits as t vanishes. */
INLINE vf bce_pair_lanes(vf h, vf l)
{
    const vf zero = set1(0.0f);
    l = choose((vi)(h > zero), -l, l);
    h = -absolute(h);
    vf t = l - h;
    vf e = exp_lanes(h);
    vf p = e / (set1(1.0f) + e);
    vf near_t = least(set1(1.0f), greatest(set1(-1.0f), t));
    vf v = p * expm1_lanes(near_t);
    vf s = v / (v + set1(2.0f)), u = s * s;
    vf near = madd(p, exp_excess_lanes(near_t), s * (u * polynomial(log_terms, 5, u) - v));
    vf far = softplus_lanes(l) - log1p_unit_lanes(e) - p * t;
    return choose((vi)(near_t == t), near, far);
}

static void fast_bce_pair_rows(size_t rows, size_t d, const void *lhatv, const void *lv,
                               double *value)
{
    const float *h = lhatv, *l = lv;
    for (size_t r = 0; r < rows; r++, h += d, l += d) {
        lane_sum sum = {{{0}, {0}}};
        for (size_t i = 0; i < d; i += W) /* equal logits, as in the lanes beyond d, have none */
            sum_add(&sum, bce_pair_lanes(load_up_to(h + i, d - i), load_up_to(l + i, d - i)));
        value[r] = sum_total(&sum);
    }
}

static void fast_bce_pair_gradient(size_t rows, size_t d, const void *lhatv, const void *lv,
                                   double factor, void *g_hatv, void *gv, bool accumulate_hat,
                                   bool accumulate)
{
    const float *h = lhatv, *l = lv;
    float *g_hat = g_hatv, *g = gv;
    size_t n = rows * d;
    const vf c = set1((float)factor);
    for (size_t i = 0; i < n; i += W) {
        size_t left = n - i;
        vf a = load_up_to(h + i, left), b = load_up_to(l + i, left);
        logistic_parts s = logistic_split(a);
        if (g_hat) {
            vf v = c * (s.lower * s.upper * (a - b));
            if (accumulate_hat) v = load_up_to(g_hat + i, left) + v;
            store_up_to(g_hat + i, v, left);
        }
        if (g) {
            vf p = choose((vi)(a < set1(0.0f)), s.lower, s.upper);
            vf v = c * (logistic_lanes(b) - p);
            if (accumulate) v = load_up_to(g + i, left) + v;
            store_up_to(g + i, v, left);
        }
    }
}

static void fast_bce_metric(size_t n, const void *logitsv, size_t blocks, const void *vv,
                            size_t stride, void *yv, size_t y_stride)
{
    const float *l = logitsv, *v = vv;
    float *y = yv;
    for (size_t i = 0; i < n; i += W) {
        size_t left = n - i;
        vf slope = set1(0.5f) * logistic_slope_lanes(load_up_to(l + i, left));
        for (size_t b = 0; b < blocks; b++) {
            vf x = load_up_to(v + b * stride + i, left);
            store_up_to(y + b * y_stride + i, slope * x, left);
        }
    }
}

/* c log(1 + a e^2); log(1 + u) = log(u) + log(1 + 1/u) where u is above 1 */
static void fast_student_rows(size_t rows, size_t d, const void *xv, const void *xhatv,
                              const void *av, const void *cv, double *value)
{
    const float *x = xv, *xhat = xhatv, *a = av, *c = cv;
    const vf one = set1(1.0f);
    for (size_t r = 0; r < rows; r++, x += d, xhat += d) {
        lane_sum sum = {{{0}, {0}}};
        for (size_t i = 0; i < d; i += W) {
            size_t left = d - i;
            vf e = load_up_to(xhat + i, left) - load_up_to(x + i, left);
            vf u = load_up_to(a + i, left) * e * e;
            vi large = (vi)(u > one);
            vf inside = choose(large, one / u, u);
            vf outside = choose(large, log_lanes(greatest(one, u)), set1(0.0f));
            vf v = load_up_to(c + i, left) * (outside + log1p_unit_lanes(inside));
            sum_add(&sum, v); /* beyond d: c = 0 and u = 0 */
        }
        value[r] = sum_total(&sum);
    }
}

INLINE vd load_wide(const float *p)
{
    return widen(*(const vh_anywhere *)p);
}

/* Each sum runs over the rows in order; a block of columns is summed in registers. */
static void fast_column_sums(size_t rows, size_t cols, const void *xv, size_t ldx, void *yv,
                             bool accumulate)
{
    enum { BLOCK = 4 };
    const float *x = xv;
    float *y = yv;
    size_t j = 0;
    for (; j + BLOCK * (W / 2) <= cols; j += BLOCK * (W / 2)) {
        vd sum[BLOCK] = {{0}};
        for (size_t r = 0; r < rows; r++)
            for (size_t b = 0; b < BLOCK; b++) sum[b] += load_wide(x + r * ldx + j + b * (W / 2));
        for (size_t b = 0; b < BLOCK; b++) {
            float *to = y + j + b * (W / 2);
            if (accumulate) sum[b] += load_wide(to);
            *(vh_anywhere *)to = __builtin_convertvector(sum[b], vh);
        }
    }
    plain_column_sums(rows, cols - j, x + j, ldx, y + j, accumulate);
}

/* Gram matrices. A product of two floats is exact in double, so it makes no difference whether an
 * addition is fused with it. Element i belongs to lane i mod W/2; lanes are added in order. */

INLINE vd load_wide_some(const float *p, size_t n)
{
    union {
        vf whole;
        vh half[2];
    } u = {load_some(p, n)};
    return widen(u.half[0]);
}

enum { GRAM_TILE = 4 };

/* rows x cols products of rows of a and b; which of them are wanted is the caller's matter. */
INLINE void gram_tile(const size_t rows, const size_t cols, size_t d, const float *a, size_t stride,
                      const float *b, size_t b_stride, double out[GRAM_TILE][GRAM_TILE])
{
    vd sum[GRAM_TILE][GRAM_TILE] = {{{0}}};
    vd y[GRAM_TILE];
    size_t i = 0;
    for (; i + W / 2 <= d; i += W / 2) {
        for (size_t k = 0; k < cols; k++) y[k] = load_wide(b + k * b_stride + i);
        for (size_t j = 0; j < rows; j++) {
            vd x = load_wide(a + j * stride + i);
            for (size_t k = 0; k < cols; k++) sum[j][k] = madd_wide(x, y[k], sum[j][k]);
        }
    }
    if (i < d) {
        for (size_t k = 0; k < cols; k++) y[k] = load_wide_some(b + k * b_stride + i, d - i);
        for (size_t j = 0; j < rows; j++) {
            vd x = load_wide_some(a + j * stride + i, d - i);
            for (size_t k = 0; k < cols; k++) sum[j][k] = madd_wide(x, y[k], sum[j][k]);
        }
    }
    for (size_t j = 0; j < rows; j++) {
        for (size_t k = 0; k < cols; k++) {
            double total = 0;
            for (int l = 0; l < W / 2; l++) total += sum[j][k][l];
            out[j][k] = total;
        }
    }
}

static void fast_gram(size_t n, size_t d, const void *av, size_t stride, const void *bv,
                      size_t b_stride, bool diagonal, double *gram)
{
    const float *a = av, *b = bv;
    double out[GRAM_TILE][GRAM_TILE];
    for (size_t j = 0; j < n; j += diagonal ? 1 : GRAM_TILE) {
        const float *aj = a + j * stride, *bj = b + j * b_stride;
        size_t rows = diagonal ? 1 : n - j < GRAM_TILE ? n - j : GRAM_TILE;
        for (size_t k = j; k < (diagonal ? j + 1 : n); k += GRAM_TILE) {
            const float *bk = bj + (k - j) * b_stride;
            size_t cols = diagonal ? 1 : n - k < GRAM_TILE ? n - k : GRAM_TILE;
            if (rows == GRAM_TILE && cols == GRAM_TILE)
                gram_tile(GRAM_TILE, GRAM_TILE, d, aj, stride, bk, b_stride, out);
            else if (rows == 3 && cols == 3)
                gram_tile(3, 3, d, aj, stride, bk, b_stride, out);
            else if (rows == 1 && cols == 1)
                gram_tile(1, 1, d, aj, stride, bk, b_stride, out);
            else
                gram_tile(rows, cols, d, aj, stride, bk, b_stride, out);
            for (size_t p = 0; p < rows; p++) {
                for (size_t q = 0; q < cols; q++) {
                    if (k + q < j + p) continue;
                    gram[(j + p) * n + k + q] = gram[(k + q) * n + j + p] = out[p][q];
                }
            }
        }
    }
}
