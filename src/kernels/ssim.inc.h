/* Structural similarity of pictures: 11 x 11 Gaussian windows of sigma 1.5, those that lie inside.
 * Included after plain.inc.h by the reference and by the fast tables; no include guard.
 *
 * With u = x - y and v = x + y the distance of one window is
 *
 *   1 - SSIM = p + q - p q,   p = m_u^2/B1,  B1 = (m_u^2 + m_v^2)/2 + C1
 *                             q = V_u/B2,    B2 = (V_u + V_v)/2 + C2
 *
 * (m the window's mean, V its variance), which is exact algebra: four filtered numbers instead of
 * five, and nothing is lost where x and y are nearly alike. v is centred by the mean of the first
 * picture before it is squared.
 *
 * Windows run over the rows of a plane with their taps `step` elements apart, so pictures with the
 * channels innermost are one plane of rows height x (width channels), step = channels, and pictures
 * with the channels outermost are `planes` planes, step 1. Down the rows first, then along them;
 * the last WINDOW rows are kept in rings, so a picture needs room for rows, not for planes. */
enum { WINDOW = IV_SSIM_WINDOW, HALF = IV_SSIM_WINDOW / 2 };

/* exp(-t^2/4.5) for t = -5..0, normalised over all 11; the window is symmetric. */
static const double ssim_taps[HALF + 1] = {
    0.00102838008447911, 0.007598758135239185, 0.03600077212843083,
    0.10936068950970002, 0.2130055377112537,   0.26601172486179436,
};

/* out_i = sum_t w_t row_t,i */
static void ssim_filter(size_t n, const T *const row[WINDOW], T *out)
{
    const T *r0 = row[0], *r1 = row[1], *r2 = row[2], *r3 = row[3], *r4 = row[4], *r5 = row[5];
    const T *r6 = row[6], *r7 = row[7], *r8 = row[8], *r9 = row[9], *r10 = row[10];
    const T w0 = (T)ssim_taps[0], w1 = (T)ssim_taps[1], w2 = (T)ssim_taps[2];
    const T w3 = (T)ssim_taps[3], w4 = (T)ssim_taps[4], w5 = (T)ssim_taps[5];
    IV_LANES
    for (size_t i = 0; i < n; i++) {
        out[i] = w0 * (r0[i] + r10[i]) + w1 * (r1[i] + r9[i]) + w2 * (r2[i] + r8[i]) +
                 w3 * (r3[i] + r7[i]) + w4 * (r4[i] + r6[i]) + w5 * r5[i];
    }
}

/* Along a row: taps `step` apart, n results. */
static void ssim_along(size_t n, size_t step, const T *in, T *out)
{
    const T *row[WINDOW];
    for (size_t t = 0; t < WINDOW; t++) row[t] = in + t * step;
    ssim_filter(n, row, out);
}

/* What the scratch holds, all in elements; sums in double come first. */
typedef struct ssim_room {
    size_t length, out; /* of a row, of a row of windows */
    size_t rows_out;
    double *sum;
    T *ring;   /* 4 x WINDOW x length: u, v, u^2, v^2 of the last rows */
    T *down;   /* length: one filtered down the rows */
    T *means;  /* 4 x out: window averages of the four */
    T *padded; /* out + 2 (WINDOW - 1) step: a row of windows between zeros */
    T *back;   /* 4 x WINDOW x length: gradients spread along the last rows of windows */
    T *zeros;  /* length */
    T *spread; /* 4 x length: gradients in u, u^2, v, v^2 of one row */
} ssim_room;

static size_t ssim_pad(const iv_ssim *s)
{
    return (WINDOW - 1) * s->step;
}

/* Elements for the weights of a picture and what is beside them, so that the rest is aligned. */
static size_t ssim_weight_room(const iv_ssim *s)
{
    size_t size = 2 * s->planes * s->height * s->length, align = 64 / sizeof(T);
    return (size + align - 1) / align * align;
}

static size_t plain_ssim_scratch(const iv_ssim *s)
{
    size_t doubles = (s->length * sizeof(double) + sizeof(T) - 1) / sizeof(T);
    return ssim_weight_room(s) + doubles + s->length * (2 * 4 * WINDOW + 4 + 4 + 3) +
           2 * ssim_pad(s);
}

static ssim_room ssim_rooms(const iv_ssim *s, void *scratch)
{
    size_t length = s->length, doubles = (length * sizeof(double) + sizeof(T) - 1) / sizeof(T);
    ssim_room r = {.length = length, .out = length - ssim_pad(s), .rows_out = s->height - 2 * HALF};
    r.sum = scratch;
    r.ring = (T *)scratch + doubles;
    r.down = r.ring + 4 * WINDOW * length;
    r.means = r.down + length;
    r.back = r.means + 4 * length;
    r.zeros = r.back + 4 * WINDOW * length;
    r.spread = r.zeros + length;
    r.padded = r.spread + 4 * length;
    memset(r.padded, 0, (r.out + 2 * ssim_pad(s)) * sizeof(T));
    memset(r.zeros, 0, length * sizeof(T));
    return r;
}

static T ssim_centre(size_t n, const T *x)
{
    double sum[8] = {0}, rest = 0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (size_t l = 0; l < 8; l++) sum[l] += (double)x[i + l];
    }
    for (; i < n; i++) rest += (double)x[i];
    for (size_t l = 0; l < 8; l++) rest += sum[l];
    return (T)(rest / (double)n);
}

/* One picture row of u, v (centred) and their squares into the rings. */
static void ssim_push(const ssim_room *r, size_t h, const T *x, const T *y, T centre)
{
    size_t n = r->length;
    T *u = r->ring + (h % WINDOW) * n, *v = u + WINDOW * n, *uu = v + WINDOW * n;
    T *vv = uu + WINDOW * n, twice = 2 * centre;
    IV_LANES
    for (size_t i = 0; i < n; i++) {
        T a = x[i] - y[i], b = x[i] + y[i] - twice;
        u[i] = a;
        v[i] = b;
        uu[i] = a * a;
        vv[i] = b * b;
    }
}

/* The averages of the windows that end in row h. */
static void ssim_window_row(const iv_ssim *s, const ssim_room *r, size_t h)
{
    for (size_t q = 0; q < 4; q++) {
        const T *row[WINDOW], *ring = r->ring + q * WINDOW * r->length;
        for (size_t t = 0; t < WINDOW; t++) row[t] = ring + ((h + 1 + t) % WINDOW) * r->length;
        ssim_filter(r->length, row, r->down);
        ssim_along(r->out, s->step, r->down, r->means + q * r->length);
    }
}

/* Adds 1 - SSIM of a row of windows to the sums. */
static void ssim_add_values(const iv_ssim *s, const ssim_room *r, T centre)
{
    const T *mu = r->means, *mv = mu + r->length, *uu = mv + r->length, *vv = uu + r->length;
    const T c1 = (T)s->c1, c2 = (T)s->c2, twice = 2 * centre, half = (T)0.5;
    double *sum = r->sum;
    IV_LANES
    for (size_t i = 0; i < r->out; i++) {
        T m = mv[i] + twice, square = mu[i] * mu[i];
        T var_u = uu[i] - square, var_v = vv[i] - mv[i] * mv[i];
        var_u = var_u > 0 ? var_u : 0; /* rounding alone can make one negative */
        var_v = var_v > 0 ? var_v : 0;
        T p = square / (half * (square + m * m) + c1);
        T q = var_u / (half * (var_u + var_v) + c2);
        sum[i] += (double)(p + (1 - p) * q);
    }
}

static void plain_ssim_rows(const iv_ssim *s, size_t rows, const void *xv, const void *yv,
                            void *scratch, double *value)
{
    const T *x = xv, *y = yv;
    size_t plane = s->height * s->length, size = s->planes * plane;
    ssim_room r = ssim_rooms(s, scratch);
    double windows = (double)(s->planes * r.rows_out * r.out);
    for (size_t n = 0; n < rows; n++, x += size, y += size) {
        T centre = ssim_centre(size, x);
        memset(r.sum, 0, r.out * sizeof *r.sum);
        for (size_t p = 0; p < s->planes; p++) {
            for (size_t h = 0; h < s->height; h++) {
                size_t at = p * plane + h * s->length;
                ssim_push(&r, h, x + at, y + at, centre);
                if (h + 1 < WINDOW) continue;
                ssim_window_row(s, &r, h);
                ssim_add_values(s, &r, centre);
            }
        }
        double total = 0;
        for (size_t i = 0; i < r.out; i++) total += r.sum[i];
        value[n] = total / windows;
    }
}

/* The averages of a row of windows become derivatives of 1 - SSIM in them, in place:
 *   b_u = (1 - p)(2 - q)/(2 B2),  a_u = (1 - q)(2 - p) m_u/B1 - 2 m_u b_u
 *   b_v = -(1 - p) q/(2 B2),      a_v = -(1 - q) p m_v/B1 - 2 m~_v b_v   (m~: of the centred v) */
static void ssim_slopes(const iv_ssim *s, const ssim_room *r, T centre)
{
    T *mu = r->means, *mv = mu + r->length, *uu = mv + r->length, *vv = uu + r->length;
    const T c1 = (T)s->c1, c2 = (T)s->c2, twice = 2 * centre, half = (T)0.5;
    IV_LANES
    for (size_t i = 0; i < r->out; i++) {
        T m_u = mu[i], m_c = mv[i], m_v = m_c + twice, square = m_u * m_u;
        T var_u = uu[i] - square, var_v = vv[i] - m_c * m_c;
        var_u = var_u > 0 ? var_u : 0;
        var_v = var_v > 0 ? var_v : 0;
        T i1 = 1 / (half * (square + m_v * m_v) + c1), i2 = 1 / (half * (var_u + var_v) + c2);
        T p = square * i1, q = var_u * i2, rest = half * (1 - p) * i2;
        T b_u = rest * (2 - q), b_v = -(rest * q);
        mu[i] = (1 - q) * (2 - p) * (m_u * i1) - 2 * m_u * b_u;
        mv[i] = -((1 - q) * p * (m_v * i1)) - 2 * m_c * b_v;
        uu[i] = b_u;
        vv[i] = b_v;
    }
}

/* A row of windows' four derivatives, spread along the row, into the rings `back`. */
static void ssim_spread_row(const iv_ssim *s, const ssim_room *r, size_t h)
{
    for (size_t q = 0; q < 4; q++) {
        memcpy(r->padded + ssim_pad(s), r->means + q * r->length, r->out * sizeof(T));
        ssim_along(r->length, s->step, r->padded, r->back + (q * WINDOW + h % WINDOW) * r->length);
    }
}

/* Picture row h from the rows of windows h - 10 to h that exist, number q. */
static void ssim_gather(const ssim_room *r, size_t q, size_t h, T *out)
{
    const T *row[WINDOW];
    for (size_t t = 0; t < WINDOW; t++) {
        size_t at = h + t; /* + 1 - WINDOW: the row of windows */
        bool there = at + 1 >= WINDOW && at + 1 - WINDOW < r->rows_out;
        row[t] = there ? r->back + (q * WINDOW + (at + 1 - WINDOW) % WINDOW) * r->length : r->zeros;
    }
    ssim_filter(r->length, row, out);
}

/* The gradients of one picture row. */
static void ssim_finish_row(const ssim_room *r, size_t h, const T *x, const T *y, T centre,
                            T factor, T *g_x, T *g_y)
{
    size_t n = r->length;
    for (size_t q = 0; q < 4; q++) ssim_gather(r, q, h, r->spread + q * n);
    const T *au = r->spread, *av = au + n, *bu = av + n, *bv = bu + n;
    T twice = 2 * centre;
    if (g_x == NULL) {
        IV_LANES
        for (size_t i = 0; i < n; i++) {
            T g_u = au[i] + 2 * (x[i] - y[i]) * bu[i];
            T g_v = av[i] + 2 * (x[i] + y[i] - twice) * bv[i];
            g_y[i] = factor * (g_v - g_u);
        }
        return;
    }
    IV_LANES
    for (size_t i = 0; i < n; i++) {
        T g_u = au[i] + 2 * (x[i] - y[i]) * bu[i];
        T g_v = av[i] + 2 * (x[i] + y[i] - twice) * bv[i];
        g_x[i] += factor * (g_v + g_u);
        g_y[i] = factor * (g_v - g_u);
    }
}

static void plain_ssim_gradient(const iv_ssim *s, size_t rows, const void *xv, const void *yv,
                                double factor, void *scratch, void *g_xv, void *g_yv)
{
    const T *x = xv, *y = yv;
    T *g_x = g_xv, *g_y = g_yv;
    size_t plane = s->height * s->length, size = s->planes * plane;
    ssim_room r = ssim_rooms(s, scratch);
    T per_window = (T)(factor / (double)(s->planes * r.rows_out * r.out));
    for (size_t n = 0; n < rows * s->planes; n++) {
        size_t first = n * plane;
        T centre = ssim_centre(size, x + n / s->planes * size);
        for (size_t h = 0; h < s->height + WINDOW - 1; h++) {
            if (h < s->height) {
                size_t at = first + h * s->length;
                ssim_push(&r, h, x + at, y + at, centre);
            }
            if (h + 1 < WINDOW) continue;
            size_t done = h + 1 - WINDOW; /* this row of windows, and this picture row */
            if (h < s->height) {
                ssim_window_row(s, &r, h);
                ssim_slopes(s, &r, centre);
                ssim_spread_row(s, &r, done);
            }
            size_t at = first + done * s->length;
            ssim_finish_row(&r, done, x + at, y + at, centre, per_window,
                            g_x != NULL ? g_x + at : NULL, g_y + at);
        }
    }
}

/* ---- the metric tensor: G V = D o V + F^T((b - c) o F V), D = F^T c, b = 1/(2 m^2 + C1),
 *      c = 1/(2 V + C2) with the mean m and the variance V of the windows at x ---- */

/* The weights of one picture: b - c by window (in the first rows_out x out of each plane), and D by
 * pixel. */
static void ssim_weights(const iv_ssim *s, const ssim_room *r, const T *x, T *weight, T *diagonal)
{
    size_t plane = s->height * s->length;
    T centre = ssim_centre(s->planes * plane, x);
    const T c1 = (T)s->c1, c2 = (T)s->c2;
    for (size_t p = 0; p < s->planes; p++) {
        for (size_t h = 0; h < s->height + WINDOW - 1; h++) {
            /* v = x - centre twice over: y = x makes u 0 and v 2 (x - centre) */
            if (h < s->height) {
                const T *row = x + p * plane + h * s->length;
                ssim_push(r, h, row, row, centre);
            }
            if (h + 1 < WINDOW) continue;
            size_t done = h + 1 - WINDOW;
            if (h < s->height) {
                ssim_window_row(s, r, h);
                T *mv = r->means + r->length, *vv = mv + 2 * r->length;
                T *out = weight + p * plane + done * s->length, *c = r->padded + ssim_pad(s);
                IV_LANES
                for (size_t i = 0; i < r->out; i++) {
                    T m = (T)0.5 * mv[i] + centre;
                    T variance = (T)0.25 * (vv[i] - mv[i] * mv[i]);
                    c[i] = 1 / (2 * (variance > 0 ? variance : 0) + c2);
                    out[i] = 1 / (2 * m * m + c1) - c[i];
                }
                ssim_along(r->length, s->step, r->padded, r->back + done % WINDOW * r->length);
            }
            ssim_gather(r, 0, done, diagonal + p * plane + done * s->length);
        }
    }
}

/* One picture's v: F^T(weight o F v) + diagonal o v, over the number of windows. */
static void ssim_apply(const iv_ssim *s, const ssim_room *r, const T *weight, const T *diagonal,
                       T per_window, const T *v, T *gv)
{
    size_t n = s->length;
    for (size_t h = 0; h < s->height + WINDOW - 1; h++) {
        if (h < s->height) memcpy(r->ring + h % WINDOW * n, v + h * n, n * sizeof(T));
        if (h + 1 < WINDOW) continue;
        size_t done = h + 1 - WINDOW;
        if (h < s->height) {
            const T *row[WINDOW], *w = weight + done * n;
            T *windows = r->padded + ssim_pad(s);
            for (size_t t = 0; t < WINDOW; t++) row[t] = r->ring + ((h + 1 + t) % WINDOW) * n;
            ssim_filter(n, row, r->down);
            ssim_along(r->out, s->step, r->down, windows);
            IV_LANES
            for (size_t i = 0; i < r->out; i++) windows[i] *= w[i];
            ssim_along(n, s->step, r->padded, r->back + done % WINDOW * n);
        }
        ssim_gather(r, 0, done, r->spread);
        const T *d = diagonal + done * n, *own = r->ring + done % WINDOW * n, *f = r->spread;
        T *out = gv + done * n;
        IV_LANES
        for (size_t i = 0; i < n; i++) out[i] = per_window * (f[i] + d[i] * own[i]);
    }
}

static void plain_ssim_metric(const iv_ssim *s, size_t rows, const void *xv, size_t blocks,
                              const void *vv, size_t stride, void *scratch, void *gvv,
                              size_t gv_stride)
{
    const T *x = xv, *v = vv;
    T *gv = gvv;
    size_t plane = s->height * s->length, size = s->planes * plane;
    T *weight = scratch, *diagonal = weight + size;
    ssim_room r = ssim_rooms(s, weight + ssim_weight_room(s));
    T per_window = (T)(1 / (double)(s->planes * r.rows_out * r.out));
    for (size_t n = 0; n < rows; n++) {
        ssim_weights(s, &r, x + n * size, weight, diagonal);
        for (size_t b = 0; b < blocks; b++) {
            for (size_t p = 0; p < s->planes; p++) {
                size_t at = n * size + p * plane;
                ssim_apply(s, &r, weight + p * plane, diagonal + p * plane, per_window,
                           v + b * stride + at, gv + b * gv_stride + at);
            }
        }
    }
}
