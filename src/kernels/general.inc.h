/* Kernels of the node kinds that graphs from elsewhere need: functions by name, operations on two
 * operands, choices, sums over axes, taking by index. Plain loops for all tables (plain.inc.h);
 * what needs the C library is worked out in double, so that the f32 tables round once. */

#define EACH(expression)                                                                           \
    do {                                                                                           \
        IV_LANES                                                                                   \
        for (size_t i = 0; i < n; i++) {                                                           \
            const T v = x[i];                                                                      \
            y[i] = (T)(expression);                                                                \
        }                                                                                          \
    } while (0)

#define EACH_DOUBLE(expression)                                                                    \
    do {                                                                                           \
        for (size_t i = 0; i < n; i++) {                                                           \
            const double v = (double)x[i];                                                         \
            y[i] = (T)(expression);                                                                \
        }                                                                                          \
    } while (0)

static double general_softplus(double v)
{
    return (v > 0 ? v : 0) + log1p(exp(-fabs(v)));
}

static double general_logistic(double v)
{
    double e = exp(-fabs(v));
    return (v < 0 ? e : 1) / (1 + e);
}

/* tanh(softplus(v)) = (w^2 - 1) / (w^2 + 1) with w = 1 + e^v: e (e + 2) / (e (e + 2) + 2), and for
 * large v the same with the exponential turned round. */
static double general_mish_gate(double v)
{
    double e = exp(-fabs(v));
    return v < 0 ? e * (e + 2) / (e * (e + 2) + 2) : (1 + 2 * e) / (1 + 2 * e + 2 * e * e);
}

/* The inner function of the approximate gelu, times two: 1/2 (1 + tanh(u)) = logistic(2 u). */
static double general_gelu_inner(double v)
{
    return 2 * 0.79788456080286535588 * (v + 0.044715 * v * v * v);
}

/* x * gate: 0 where the gate is, also at minus infinity */
static double general_gated(double v, double gate)
{
    return gate == 0 ? 0 * gate : v * gate;
}

static double general_mish_slope(double v)
{
    double gate = general_mish_gate(v);
    return gate + general_gated(v, (1 - gate * gate) * general_logistic(v));
}

static double general_gelu_slope(double v)
{
    double u = general_gelu_inner(v), s = general_logistic(u);
    double inner = 2 * 0.79788456080286535588 * (1 + 3 * 0.044715 * v * v);
    return s + general_gated(v * inner, s * general_logistic(-u));
}

static double general_hold(double v, double lo, double hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

static void plain_function(iv_function f, const double *p, size_t n, const void *xv, void *yv)
{
    const T *x = xv;
    T *y = yv;
    const double p0 = p[0], p1 = p[1];
    switch (f) {
    case IV_FUNCTION_ABS: EACH(K(fabs)(v)); return;
    case IV_FUNCTION_NEGATE: EACH(-v); return;
    case IV_FUNCTION_SQUARE: EACH(v * v); return;
    case IV_FUNCTION_SQRT: EACH(K(sqrt)(v)); return;
    case IV_FUNCTION_RECIPROCAL: EACH((T)1 / v); return;
    case IV_FUNCTION_LOG: EACH_DOUBLE(log(v)); return;
    case IV_FUNCTION_ERF: EACH_DOUBLE(erf(v)); return;
    case IV_FUNCTION_SIN: EACH_DOUBLE(sin(v)); return;
    case IV_FUNCTION_COS: EACH_DOUBLE(cos(v)); return;
    case IV_FUNCTION_SIGN: EACH(v > 0 ? 1 : v < 0 ? -1 : v); return;
    case IV_FUNCTION_FLOOR: EACH(K(floor)(v)); return;
    case IV_FUNCTION_CEIL: EACH(K(ceil)(v)); return;
    case IV_FUNCTION_ROUND: EACH(K(rint)(v)); return;
    case IV_FUNCTION_NOT: EACH(v == 0 ? 1 : 0); return;
    case IV_FUNCTION_CLIP: EACH_DOUBLE(general_hold(v, p0, p1)); return;
    case IV_FUNCTION_SELU: EACH_DOUBLE(v < 0 ? p1 * p0 * expm1(v) : p1 * v); return;
    case IV_FUNCTION_CELU: EACH_DOUBLE(v < 0 ? p0 * expm1(v / p0) : v); return;
    case IV_FUNCTION_MISH: EACH_DOUBLE(general_gated(v, general_mish_gate(v))); return;
    case IV_FUNCTION_HARD_SIGMOID: EACH_DOUBLE(general_hold(p0 * v + p1, 0, 1)); return;
    case IV_FUNCTION_HARD_SWISH:
        EACH_DOUBLE(general_gated(v, general_hold(v / 6 + 0.5, 0, 1)));
        return;
    case IV_FUNCTION_LOG_SIGMOID: EACH_DOUBLE(-general_softplus(-v)); return;
    case IV_FUNCTION_SOFTSIGN: EACH(v / (1 + K(fabs)(v))); return;
    case IV_FUNCTION_GELU_TANH:
        EACH_DOUBLE(general_gated(v, general_logistic(general_gelu_inner(v))));
        return;
    case IV_FUNCTION_NONE: break;
    }
    EACH(v);
}

/* y = f'(x) */
static void plain_function_slope(iv_function f, const double *p, size_t n, const void *xv, void *yv)
{
    const T *x = xv;
    T *y = yv;
    const double p0 = p[0], p1 = p[1];
    switch (f) {
    case IV_FUNCTION_ABS: EACH(v > 0 ? 1 : v < 0 ? -1 : v); return;
    case IV_FUNCTION_NEGATE: plain_fill(n, -1, y); return;
    case IV_FUNCTION_SQUARE: EACH(v + v); return;
    case IV_FUNCTION_SQRT: EACH((T)0.5 / K(sqrt)(v)); return;
    case IV_FUNCTION_RECIPROCAL: EACH_DOUBLE(-1 / (v * v)); return;
    case IV_FUNCTION_LOG: EACH((T)1 / v); return;
    case IV_FUNCTION_ERF: EACH_DOUBLE(1.12837916709551257390 * exp(-v * v)); return;
    case IV_FUNCTION_SIN: EACH_DOUBLE(cos(v)); return;
    case IV_FUNCTION_COS: EACH_DOUBLE(-sin(v)); return;
    case IV_FUNCTION_SIGN:
    case IV_FUNCTION_FLOOR:
    case IV_FUNCTION_CEIL:
    case IV_FUNCTION_ROUND:
    case IV_FUNCTION_NOT: plain_fill(n, 0, y); return;
    case IV_FUNCTION_CLIP: EACH_DOUBLE(v < p0 || v > p1 ? 0 : 1); return;
    case IV_FUNCTION_SELU: EACH_DOUBLE(v < 0 ? p1 * p0 * exp(v) : p1); return;
    case IV_FUNCTION_CELU: EACH_DOUBLE(v < 0 ? exp(v / p0) : 1); return;
    case IV_FUNCTION_MISH: EACH_DOUBLE(general_mish_slope(v)); return;
    case IV_FUNCTION_HARD_SIGMOID: EACH_DOUBLE(p0 * v + p1 < 0 || p0 * v + p1 > 1 ? 0 : p0); return;
    case IV_FUNCTION_HARD_SWISH: EACH_DOUBLE(v < -3 ? 0 : v > 3 ? 1 : v / 3 + 0.5); return;
    case IV_FUNCTION_LOG_SIGMOID: EACH_DOUBLE(general_logistic(-v)); return;
    case IV_FUNCTION_SOFTSIGN: EACH_DOUBLE(1 / ((1 + fabs(v)) * (1 + fabs(v)))); return;
    case IV_FUNCTION_GELU_TANH: EACH_DOUBLE(general_gelu_slope(v)); return;
    case IV_FUNCTION_NONE: break;
    }
    plain_fill(n, 1, y);
}

#define PAIRS(expression)                                                                          \
    do {                                                                                           \
        for (size_t r = 0; r < rows; r++) {                                                        \
            const T *ar = a + r * lda, *br = b + r * ldb;                                          \
            T *yr = y + r * n;                                                                     \
            IV_LANES                                                                               \
            for (size_t i = 0; i < n; i++) {                                                       \
                const T p = ar[i], q = br[i];                                                      \
                yr[i] = (T)(expression);                                                           \
            }                                                                                      \
        }                                                                                          \
    } while (0)

static void plain_binary(iv_binary f, size_t rows, size_t n, const void *av, size_t lda,
                         const void *bv, size_t ldb, void *yv)
{
    const T *a = av, *b = bv;
    T *y = yv;
    switch (f) {
    case IV_BINARY_NONE:
    case IV_BINARY_ADD: PAIRS(p + q); return;
    case IV_BINARY_SUBTRACT: PAIRS(p - q); return;
    case IV_BINARY_MULTIPLY: PAIRS(p * q); return;
    case IV_BINARY_DIVIDE: PAIRS(p / q); return;
    case IV_BINARY_POWER: PAIRS(pow((double)p, (double)q)); return;
    case IV_BINARY_MINIMUM: PAIRS(p < q || p != p ? p : q); return;
    case IV_BINARY_MAXIMUM: PAIRS(p > q || p != p ? p : q); return;
    case IV_BINARY_EQUAL: PAIRS(p == q ? 1 : 0); return;
    case IV_BINARY_LESS: PAIRS(p < q ? 1 : 0); return;
    case IV_BINARY_LESS_OR_EQUAL: PAIRS(p <= q ? 1 : 0); return;
    case IV_BINARY_GREATER: PAIRS(p > q ? 1 : 0); return;
    case IV_BINARY_GREATER_OR_EQUAL: PAIRS(p >= q ? 1 : 0); return;
    case IV_BINARY_AND: PAIRS(p != 0 && q != 0 ? 1 : 0); return;
    case IV_BINARY_OR: PAIRS(p != 0 || q != 0 ? 1 : 0); return;
    }
}

/* d/da a^b, where 0^0 has none */
static double general_base_slope(double a, double b)
{
    return b == 0 ? 0 : b * pow(a, b - 1);
}

/* d/db a^b; of 0^b it is 0 */
static double general_exponent_slope(double a, double b)
{
    return a == 0 ? 0 : pow(a, b) * log(a);
}

static void plain_binary_slope(iv_binary f, unsigned which, size_t rows, size_t n, const void *av,
                               size_t lda, const void *bv, size_t ldb, void *yv)
{
    const T *a = av, *b = bv;
    T *y = yv;
    const T half = (T)0.5;
    bool first = which == 0;
    switch (f) {
    case IV_BINARY_NONE:
    case IV_BINARY_ADD: plain_fill(rows * n, 1, y); return;
    case IV_BINARY_SUBTRACT: plain_fill(rows * n, first ? 1 : -1, y); return;
    case IV_BINARY_MULTIPLY:
        if (first)
            PAIRS(((void)p, q));
        else
            PAIRS(((void)q, p));
        return;
    case IV_BINARY_DIVIDE:
        if (first)
            PAIRS(((void)p, (T)1 / q));
        else
            PAIRS(-(p / q) / q);
        return;
    case IV_BINARY_POWER:
        if (first)
            PAIRS(general_base_slope((double)p, (double)q));
        else
            PAIRS(general_exponent_slope((double)p, (double)q));
        return;
    case IV_BINARY_MINIMUM:
        if (first)
            PAIRS(p == q ? half : p > q ? 0 : 1);
        else
            PAIRS(p == q ? half : p < q ? 0 : 1);
        return;
    case IV_BINARY_MAXIMUM:
        if (first)
            PAIRS(p == q ? half : p < q ? 0 : 1);
        else
            PAIRS(p == q ? half : p > q ? 0 : 1);
        return;
    default: plain_fill(rows * n, 0, y); return;
    }
}

static void plain_where(size_t rows, size_t n, const void *cv, size_t ldc, const void *av,
                        size_t lda, const void *bv, size_t ldb, void *yv)
{
    const T *c = cv, *a = av, *b = bv;
    T *y = yv;
    for (size_t r = 0; r < rows; r++, c += ldc, y += n) {
        if (a && b) {
            IV_LANES
            for (size_t i = 0; i < n; i++) y[i] = c[i] != 0 ? a[i] : b[i];
        } else if (a) {
            IV_LANES
            for (size_t i = 0; i < n; i++) y[i] = c[i] != 0 ? a[i] : 0;
        } else {
            IV_LANES
            for (size_t i = 0; i < n; i++) y[i] = c[i] != 0 || !b ? 0 : b[i];
        }
        if (a) a += lda;
        if (b) b += ldb;
    }
}

/* Goes through the elements of some axes in order, like the digits of a number. */
typedef struct walk {
    const iv_axes *axes;
    size_t index[IV_REDUCTION_AXES];
    size_t at;
} walk;

static bool walk_on(walk *w)
{
    for (size_t a = w->axes->rank; a-- > 0;) {
        w->at += w->axes->stride[a];
        if (++w->index[a] < w->axes->extent[a]) return true;
        w->at -= w->axes->extent[a] * w->axes->stride[a];
        w->index[a] = 0;
    }
    return false;
}

/* Of the elements that make one output: what their slopes need. */
typedef struct gathered {
    double count, value; /* the output */
    double product;      /* of those that are not zero */
    size_t zeros, found; /* where the largest, or smallest, is */
} gathered;

static gathered reduce_gather(const iv_reduction *p, const T *x)
{
    gathered s = {.product = 1};
    walk w = {.axes = &p->gone};
    double most = (double)x[0], sum = 0;
    bool low = p->op == IV_REDUCE_MIN;
    do {
        double v = (double)x[w.at];
        s.count++;
        switch (p->op) {
        case IV_REDUCE_SUM:
        case IV_REDUCE_MEAN: sum += v; break;
        case IV_REDUCE_SUM_SQUARE:
        case IV_REDUCE_L2: sum += v * v; break;
        case IV_REDUCE_L1: sum += fabs(v); break;
        case IV_REDUCE_PROD:
            if (v == 0)
                s.zeros++;
            else
                s.product *= v;
            break;
        default:
            if ((low ? v < most : v > most) || (v != v && most == most)) {
                most = v;
                s.found = w.at;
            }
            break;
        }
    } while (walk_on(&w));
    s.value = sum;
    if (p->op == IV_REDUCE_MEAN) s.value = sum / s.count;
    if (p->op == IV_REDUCE_L2) s.value = sqrt(sum);
    if (p->op == IV_REDUCE_PROD) s.value = s.zeros > 0 ? 0 : s.product;
    if (p->op == IV_REDUCE_MAX || p->op == IV_REDUCE_MIN) s.value = most;
    if (p->op == IV_REDUCE_LOG_SUM_EXP) {
        w = (walk){.axes = &p->gone};
        if (isfinite(most)) {
            do sum += exp((double)x[w.at] - most);
            while (walk_on(&w));
        }
        s.value = isfinite(most) ? most + log(sum) : most;
    }
    return s;
}

/* d output / d x[at] */
static double reduce_slope(iv_reduce op, const gathered *s, double v, size_t at)
{
    switch (op) {
    case IV_REDUCE_SUM: return 1;
    case IV_REDUCE_MEAN: return 1 / s->count;
    case IV_REDUCE_SUM_SQUARE: return 2 * v;
    case IV_REDUCE_L1: return v > 0 ? 1 : v < 0 ? -1 : v;
    case IV_REDUCE_L2: return s->value == 0 ? 0 : v / s->value;
    case IV_REDUCE_PROD:
        if (s->zeros == 0) return s->product / v;
        return s->zeros == 1 && v == 0 ? s->product : 0;
    case IV_REDUCE_MAX:
    case IV_REDUCE_MIN: return at == s->found ? 1 : 0;
    case IV_REDUCE_LOG_SUM_EXP: return exp(v - s->value);
    case IV_REDUCE_COUNT: break;
    }
    return 0;
}

static void plain_reduce(const iv_reduction *p, const void *xv, void *yv)
{
    const T *x = xv;
    T *y = yv;
    walk w = {.axes = &p->kept};
    do *y++ = (T)reduce_gather(p, x + w.at).value;
    while (walk_on(&w));
}

/* Sums need nothing of x but its place. */
static gathered reduce_for_slopes(const iv_reduction *p, const T *x)
{
    gathered s = {.count = 1};
    if (p->op != IV_REDUCE_SUM && p->op != IV_REDUCE_MEAN && p->op != IV_REDUCE_SUM_SQUARE &&
        p->op != IV_REDUCE_L1)
        return reduce_gather(p, x);
    for (size_t a = 0; a < p->gone.rank; a++) s.count *= (double)p->gone.extent[a];
    return s;
}

static void plain_reduce_reverse(const iv_reduction *p, const void *xv, const void *gv, void *gxv,
                                 bool accumulate)
{
    const T *x = xv, *g = gv;
    T *gx = gxv;
    walk w = {.axes = &p->kept};
    do {
        gathered s = reduce_for_slopes(p, x + w.at);
        double gy = (double)*g++;
        walk v = {.axes = &p->gone};
        do {
            size_t at = w.at + v.at;
            T value = (T)(gy * reduce_slope(p->op, &s, (double)x[at], v.at));
            gx[at] = accumulate ? gx[at] + value : value;
        } while (walk_on(&v));
    } while (walk_on(&w));
}

static void plain_reduce_tangent(const iv_reduction *p, const void *xv, const void *tv, void *tyv)
{
    const T *x = xv, *t = tv;
    T *ty = tyv;
    walk w = {.axes = &p->kept};
    do {
        gathered s = reduce_for_slopes(p, x + w.at);
        double sum = 0;
        walk v = {.axes = &p->gone};
        do {
            size_t at = w.at + v.at;
            sum += (double)t[at] * reduce_slope(p->op, &s, (double)x[at], v.at);
        } while (walk_on(&v));
        *ty++ = (T)sum;
    } while (walk_on(&w));
}

static void plain_take(const iv_take *p, const void *xv, void *yv)
{
    const T *x = xv;
    T *y = yv, fill = (T)p->fill;
    size_t inner = p->inner;
    for (size_t o = 0; o < p->outer; o++, x += p->in * inner, y += p->out * inner) {
        if (inner == 1) {
            for (size_t j = 0; j < p->out; j++) y[j] = p->map[j] < 0 ? fill : x[p->map[j]];
            continue;
        }
        for (size_t j = 0; j < p->out; j++) {
            if (p->map[j] < 0)
                for (size_t i = 0; i < inner; i++) y[j * inner + i] = fill;
            else
                memcpy(y + j * inner, x + (size_t)p->map[j] * inner, inner * sizeof(T));
        }
    }
}

static void plain_take_spread(const iv_take *p, const void *gv, void *gxv)
{
    const T *g = gv;
    T *gx = gxv;
    size_t inner = p->inner;
    for (size_t o = 0; o < p->outer; o++, gx += p->in * inner, g += p->out * inner) {
        for (size_t j = 0; j < p->out; j++) {
            if (p->map[j] < 0) continue;
            T *to = gx + (size_t)p->map[j] * inner;
            IV_LANES
            for (size_t i = 0; i < inner; i++) to[i] += g[j * inner + i];
        }
    }
}

static void plain_log_softmax(size_t outer, size_t channels, size_t inner, const void *xv, void *yv)
{
    const T *x = xv;
    T *y = yv;
    size_t stride = channels * inner;
    for (size_t o = 0; o < outer; o++, x += stride, y += stride) {
        for (size_t i = 0; i < inner; i++) {
            double most = (double)x[i], sum = 0;
            for (size_t c = 1; c < channels; c++)
                if ((double)x[c * inner + i] > most) most = (double)x[c * inner + i];
            for (size_t c = 0; c < channels; c++) sum += exp((double)x[c * inner + i] - most);
            double shift = log(sum);
            for (size_t c = 0; c < channels; c++)
                y[c * inner + i] = (T)((double)x[c * inner + i] - most - shift);
        }
    }
}

static void plain_log_softmax_reverse(size_t outer, size_t channels, size_t inner, const void *yv,
                                      const void *gv, void *gxv, bool accumulate)
{
    const T *y = yv, *g = gv;
    T *gx = gxv;
    size_t stride = channels * inner;
    for (size_t o = 0; o < outer; o++, y += stride, g += stride, gx += stride) {
        for (size_t i = 0; i < inner; i++) {
            double sum = 0;
            for (size_t c = 0; c < channels; c++) sum += (double)g[c * inner + i];
            for (size_t c = 0; c < channels; c++) {
                size_t at = c * inner + i;
                T v = (T)((double)g[at] - exp((double)y[at]) * sum);
                gx[at] = accumulate ? gx[at] + v : v;
            }
        }
    }
}

static void plain_log_softmax_tangent(size_t outer, size_t channels, size_t inner, const void *yv,
                                      const void *tv, void *tyv)
{
    const T *y = yv, *t = tv;
    T *ty = tyv;
    size_t stride = channels * inner;
    for (size_t o = 0; o < outer; o++, y += stride, t += stride, ty += stride) {
        for (size_t i = 0; i < inner; i++) {
            double sum = 0;
            for (size_t c = 0; c < channels; c++)
                sum += (double)t[c * inner + i] * exp((double)y[c * inner + i]);
            for (size_t c = 0; c < channels; c++)
                ty[c * inner + i] = (T)((double)t[c * inner + i] - sum);
        }
    }
}

#undef EACH
#undef EACH_DOUBLE
#undef PAIRS

#define GENERAL_KERNELS                                                                            \
    .function = plain_function, .function_slope = plain_function_slope, .binary = plain_binary,    \
    .binary_slope = plain_binary_slope, .where = plain_where, .reduce = plain_reduce,              \
    .reduce_reverse = plain_reduce_reverse, .reduce_tangent = plain_reduce_tangent,                \
    .take = plain_take, .take_spread = plain_take_spread, .log_softmax = plain_log_softmax,        \
    .log_softmax_reverse = plain_log_softmax_reverse,                                              \
    .log_softmax_tangent = plain_log_softmax_tangent
