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

#define CHANNEL_KERNELS                                                                            \
    .channel_sums = plain_channel_sums, .channel_affine = plain_channel_affine,                    \
    .root = plain_root, .root_reverse = plain_root_reverse
