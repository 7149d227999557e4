/* Sums and affine maps per channel, for either layout: element (o, c, i) of outer x channels x
 * inner. Plain loops for the reference and the fast tables (see plain.inc.h). */

/* Sums of one channel's run of pixels: eight partial sums in lanes, folded in a fixed order. */
static void channel_run(size_t inner, const T *x, double shift, const T *g, double *sum,
                        double *product)
{
    double s[8] = {0}, p[8] = {0};
    size_t i = 0;
    for (; i + 8 <= inner; i += 8) {
        for (size_t j = 0; j < 8; j++) {
            double d = (double)x[i + j] - shift, v = g ? (double)g[i + j] : d;
            s[j] += v;
            p[j] += v * d;
        }
    }
    for (size_t j = 0; i + j < inner; j++) {
        double d = (double)x[i + j] - shift, v = g ? (double)g[i + j] : d;
        s[j] += v;
        p[j] += v * d;
    }
    *sum += ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
    *product += ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]));
}

static void plain_channel_sums(size_t outer, size_t channels, size_t inner, const void *xv,
                               const double *shift, const void *gv, double *restrict sum,
                               double *restrict product)
{
    const T *x = xv, *g = gv;
    for (size_t c = 0; c < channels; c++) sum[c] = product[c] = 0;
    for (size_t o = 0; o < outer; o++, x += channels * inner) {
        if (inner > 1) {
            for (size_t c = 0; c < channels; c++)
                channel_run(inner, x + c * inner, shift[c], g ? g + c * inner : NULL, &sum[c],
                            &product[c]);
        } else if (g) {
            for (size_t c = 0; c < channels; c++) {
                sum[c] += (double)g[c];
                product[c] += (double)g[c] * ((double)x[c] - shift[c]);
            }
        } else {
            for (size_t c = 0; c < channels; c++) {
                double d = (double)x[c] - shift[c];
                sum[c] += d;
                product[c] += d * d;
            }
        }
        if (g) g += channels * inner;
    }
}

static void plain_channel_affine(size_t outer, size_t channels, size_t inner, const void *coefv,
                                 const void *xv, const void *gv, void *yv, bool accumulate)
{
    const T *a = coefv, *m = a + channels, *b = m + channels, *s = b + channels;
    const T *x = xv, *g = gv;
    T *y = yv;
    size_t stride = channels * inner;
    for (size_t o = 0; o < outer; o++, x += stride, y += stride) {
        for (size_t c = 0; inner > 1 && c < channels; c++) {
            const T *xc = x + c * inner, *gc = g ? g + c * inner : NULL;
            T *yc = y + c * inner, ac = a[c], mc = m[c], bc = b[c], sc = s[c];
            if (g && accumulate) {
                IV_LANES
                for (size_t i = 0; i < inner; i++) yc[i] += ac * (xc[i] - mc) + bc * gc[i] + sc;
            } else if (g) {
                IV_LANES
                for (size_t i = 0; i < inner; i++) yc[i] = ac * (xc[i] - mc) + bc * gc[i] + sc;
            } else if (accumulate) {
                IV_LANES
                for (size_t i = 0; i < inner; i++) yc[i] += ac * (xc[i] - mc) + sc;
            } else {
                IV_LANES
                for (size_t i = 0; i < inner; i++) yc[i] = ac * (xc[i] - mc) + sc;
            }
        }
        if (inner == 1 && g && accumulate) {
            IV_LANES
            for (size_t c = 0; c < channels; c++) y[c] += a[c] * (x[c] - m[c]) + b[c] * g[c] + s[c];
        } else if (inner == 1 && g) {
            IV_LANES
            for (size_t c = 0; c < channels; c++) y[c] = a[c] * (x[c] - m[c]) + b[c] * g[c] + s[c];
        } else if (inner == 1 && accumulate) {
            IV_LANES
            for (size_t c = 0; c < channels; c++) y[c] += a[c] * (x[c] - m[c]) + s[c];
        } else if (inner == 1) {
            IV_LANES
            for (size_t c = 0; c < channels; c++) y[c] = a[c] * (x[c] - m[c]) + s[c];
        }
        if (g) g += stride;
    }
}

/* r = sqrt(s) or 1 / sqrt(s) */
static void plain_root(size_t n, bool inverse, const void *sv, void *rv)
{
    const T *s = sv;
    T *r = rv;
    if (inverse) {
        IV_LANES
        for (size_t i = 0; i < n; i++) r[i] = (T)1 / K(sqrt)(s[i]);
    } else {
        IV_LANES
        for (size_t i = 0; i < n; i++) r[i] = K(sqrt)(s[i]);
    }
}

/* With y = x r: h = 2 dL/ds = g x 2 dr/ds, r = sqrt(s) or 1 / sqrt(s) */
static void plain_root_reverse(size_t n, bool inverse, const void *gv, const void *xv,
                               const void *rv, void *hv)
{
    const T *g = gv, *x = xv, *r = rv;
    T *h = hv;
    if (inverse) {
        IV_LANES
        for (size_t i = 0; i < n; i++) h[i] = -(g[i] * x[i]) * (r[i] * r[i] * r[i]);
    } else {
        IV_LANES
        for (size_t i = 0; i < n; i++) h[i] = g[i] * x[i] / r[i];
    }
}

/* Sum of x, or of x y, over one group, in double; runs in order, eight lanes within a run. */
static double group_sum(const iv_groups *p, const T *x, const T *y, double shift)
{
    double sum = 0;
    for (size_t r = 0; r < p->runs; r++, x += p->run_stride, y += p->run_stride) {
        double s[8] = {0};
        size_t i = 0;
        for (; i + 8 <= p->width; i += 8)
            for (size_t j = 0; j < 8; j++)
                s[j] += ((double)x[i + j] - shift) * ((double)y[i + j] - shift);
        for (size_t j = 0; i + j < p->width; j++)
            s[j] += ((double)x[i + j] - shift) * ((double)y[i + j] - shift);
        sum += ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
    }
    return sum;
}

static double group_mean(const iv_groups *p, const T *x)
{
    double sum = 0;
    for (size_t r = 0; r < p->runs; r++, x += p->run_stride) {
        double s[8] = {0};
        size_t i = 0;
        for (; i + 8 <= p->width; i += 8)
            for (size_t j = 0; j < 8; j++) s[j] += (double)x[i + j];
        for (size_t j = 0; i + j < p->width; j++) s[j] += (double)x[i + j];
        sum += ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
    }
    return sum / ((double)p->runs * (double)p->width);
}

static void plain_normalise(const iv_groups *p, double eps, const void *xv, void *yv, void *rstdv)
{
    const T *x = xv;
    T *y = yv, *rstd = rstdv;
    for (size_t g = 0; g < p->groups; g++, x += p->width, y += p->width) {
        double mean = group_mean(p, x);
        double var = group_sum(p, x, x, mean) / ((double)p->runs * (double)p->width);
        double scale = 1 / sqrt(var + eps);
        T m = (T)mean, low = (T)(mean - (double)(T)mean), s = (T)scale;
        rstd[g] = s;
        for (size_t r = 0; r < p->runs; r++) {
            const T *from = x + r * p->run_stride;
            T *to = y + r * p->run_stride;
            IV_LANES
            for (size_t i = 0; i < p->width; i++) to[i] = ((from[i] - m) - low) * s;
        }
    }
}

static void plain_normalise_reverse(const iv_groups *p, const void *xhatv, const void *rstdv,
                                    const void *gv, void *yv, bool accumulate)
{
    const T *xhat = xhatv, *rstd = rstdv, *g = gv;
    T *y = yv;
    for (size_t i = 0; i < p->groups; i++, xhat += p->width, g += p->width, y += p->width) {
        T s = rstd[i], mean = (T)group_mean(p, g);
        T product = (T)(group_sum(p, xhat, g, 0) / ((double)p->runs * (double)p->width));
        for (size_t r = 0; r < p->runs; r++) {
            const T *h = xhat + r * p->run_stride, *from = g + r * p->run_stride;
            T *to = y + r * p->run_stride;
            if (accumulate) {
                IV_LANES
                for (size_t j = 0; j < p->width; j++)
                    to[j] += s * ((from[j] - mean) - h[j] * product);
            } else {
                IV_LANES
                for (size_t j = 0; j < p->width; j++)
                    to[j] = s * ((from[j] - mean) - h[j] * product);
            }
        }
    }
}

/* Channels of a pixel are `inner` apart. */
static void plain_softmax(size_t outer, size_t channels, size_t inner, const void *xv, void *yv)
{
    const T *x = xv;
    T *y = yv;
    for (size_t o = 0; o < outer; o++, x += channels * inner, y += channels * inner) {
        for (size_t i = 0; i < inner; i++) {
            T most = x[i];
            double sum = 0;
            for (size_t c = 1; c < channels; c++)
                if (x[c * inner + i] > most) most = x[c * inner + i];
            for (size_t c = 0; c < channels; c++) {
                T e = K(exp)(x[c * inner + i] - most);
                y[c * inner + i] = e;
                sum += (double)e;
            }
            for (size_t c = 0; c < channels; c++)
                y[c * inner + i] = (T)((double)y[c * inner + i] / sum);
        }
    }
}

static void plain_softmax_reverse(size_t outer, size_t channels, size_t inner, const void *yv,
                                  const void *gv, void *gxv, bool accumulate)
{
    const T *y = yv, *g = gv;
    T *gx = gxv;
    size_t stride = channels * inner;
    for (size_t o = 0; o < outer; o++, y += stride, g += stride, gx += stride) {
        for (size_t i = 0; i < inner; i++) {
            double sum = 0;
            for (size_t c = 0; c < channels; c++)
                sum += (double)g[c * inner + i] * (double)y[c * inner + i];
            for (size_t c = 0; c < channels; c++) {
                size_t at = c * inner + i;
                T v = (T)((double)y[at] * ((double)g[at] - sum));
                gx[at] = accumulate ? gx[at] + v : v;
            }
        }
    }
}

#define CHANNEL_KERNELS                                                                            \
    .channel_sums = plain_channel_sums, .channel_affine = plain_channel_affine,                    \
    .root = plain_root, .root_reverse = plain_root_reverse, .normalise = plain_normalise,          \
    .normalise_reverse = plain_normalise_reverse, .softmax = plain_softmax,                        \
    .softmax_reverse = plain_softmax_reverse
