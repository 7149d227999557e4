/* Pools and bilinear upsampling of images that lie as height x width x channels (channels first is
 * images of one channel). Plain loops for the reference and the fast tables (see plain.inc.h). */

/* The taps of window `at` along an axis that fall on the image: [*first, *end). */
static void pool_taps(const iv_pooling *p, size_t axis, size_t at, size_t *first, size_t *end)
{
    size_t start = at * p->stride[axis]; /* counted with the padding before */
    *first = start < p->pad[axis] ? p->pad[axis] - start : 0;
    size_t room = p->in[axis] + p->pad[axis] - start;
    *end = p->kernel[axis] < room ? p->kernel[axis] : room;
}

/* Element (0) of the pixel under a tap, counted from the image's start. */
static size_t pool_pixel(const iv_pooling *p, size_t oy, size_t ox, size_t ty, size_t tx)
{
    size_t y = oy * p->stride[0] + ty - p->pad[0], x = ox * p->stride[1] + tx - p->pad[1];
    return (y * p->in[1] + x) * p->channels;
}

static void plain_max_pool(size_t images, const iv_pooling *p, const void *xv, void *yv, void *tapv)
{
    const T *x = xv;
    T *y = yv, *tap = tapv;
    size_t channels = p->channels;
    for (size_t n = 0; n < images; n++, x += p->in[0] * p->in[1] * channels) {
        for (size_t o = 0; o < p->out[0] * p->out[1]; o++, y += channels, tap += channels) {
            size_t oy = o / p->out[1], ox = o % p->out[1], y0, y1, x0, x1;
            pool_taps(p, 0, oy, &y0, &y1);
            pool_taps(p, 1, ox, &x0, &x1);
            for (size_t ty = y0; ty < y1; ty++) {
                for (size_t tx = x0; tx < x1; tx++) {
                    const T *from = x + pool_pixel(p, oy, ox, ty, tx);
                    T number = (T)(ty * p->kernel[1] + tx);
                    bool start = ty == y0 && tx == x0;
                    for (size_t c = 0; c < channels; c++) {
                        bool more = start || !(from[c] <= y[c]); /* a NaN wins */
                        y[c] = more ? from[c] : y[c];
                        tap[c] = more ? number : tap[c];
                    }
                }
            }
        }
    }
}

/* Along the taps that max_pool found: y = x there, or (spread) gx += g there. */
static void plain_max_pool_follow(size_t images, const iv_pooling *p, const void *tapv,
                                  const void *xv, void *yv, bool spread)
{
    const T *x = xv, *tap = tapv;
    T *y = yv;
    size_t channels = p->channels, image = p->in[0] * p->in[1] * channels;
    size_t window = p->out[0] * p->out[1];
    for (size_t n = 0; n < images; n++) {
        for (size_t o = 0; o < window; o++) {
            size_t at = (n * window + o) * channels;
            for (size_t c = 0; c < channels; c++) {
                size_t t = (size_t)tap[at + c];
                size_t under =
                    n * image + c +
                    pool_pixel(p, o / p->out[1], o % p->out[1], t / p->kernel[1], t % p->kernel[1]);
                if (spread)
                    y[under] += x[at + c];
                else
                    y[at + c] = x[under];
            }
        }
    }
}

static double pool_share(const iv_pooling *p, size_t taps)
{
    return 1 / (double)(p->count_padding ? p->kernel[0] * p->kernel[1] : taps);
}

static void plain_average_pool(size_t images, const iv_pooling *p, const void *xv, void *yv)
{
    enum { BLOCK = 64 }; /* channels whose sums fit on the stack */
    const T *x = xv;
    T *y = yv;
    size_t channels = p->channels;
    double sum[BLOCK];
    for (size_t n = 0; n < images; n++, x += p->in[0] * p->in[1] * channels) {
        for (size_t o = 0; o < p->out[0] * p->out[1]; o++, y += channels) {
            size_t oy = o / p->out[1], ox = o % p->out[1], y0, y1, x0, x1;
            pool_taps(p, 0, oy, &y0, &y1);
            pool_taps(p, 1, ox, &x0, &x1);
            double share = pool_share(p, (y1 - y0) * (x1 - x0));
            for (size_t b = 0; b < channels; b += BLOCK) {
                size_t width = channels - b < BLOCK ? channels - b : BLOCK;
                for (size_t c = 0; c < width; c++) sum[c] = 0;
                for (size_t ty = y0; ty < y1; ty++) {
                    for (size_t tx = x0; tx < x1; tx++) {
                        const T *from = x + b + pool_pixel(p, oy, ox, ty, tx);
                        for (size_t c = 0; c < width; c++) sum[c] += (double)from[c];
                    }
                }
                for (size_t c = 0; c < width; c++) y[b + c] = (T)(sum[c] * share);
            }
        }
    }
}

static void plain_average_pool_spread(size_t images, const iv_pooling *p, const void *gv, void *gxv)
{
    const T *g = gv;
    T *gx = gxv;
    size_t channels = p->channels;
    for (size_t n = 0; n < images; n++, gx += p->in[0] * p->in[1] * channels) {
        for (size_t o = 0; o < p->out[0] * p->out[1]; o++, g += channels) {
            size_t oy = o / p->out[1], ox = o % p->out[1], y0, y1, x0, x1;
            pool_taps(p, 0, oy, &y0, &y1);
            pool_taps(p, 1, ox, &x0, &x1);
            T share = (T)pool_share(p, (y1 - y0) * (x1 - x0));
            for (size_t ty = y0; ty < y1; ty++) {
                for (size_t tx = x0; tx < x1; tx++) {
                    T *to = gx + pool_pixel(p, oy, ox, ty, tx);
                    IV_LANES
                    for (size_t c = 0; c < channels; c++) to[c] += share * g[c];
                }
            }
        }
    }
}

/* The two pixels around output position `at`, pixel centres at halves, and the second's weight. */
static T bilinear_between(const iv_pooling *p, size_t axis, size_t at, size_t *low, size_t *high)
{
    double scale = (double)p->out[axis] / (double)p->in[axis];
    double from = ((double)at + 0.5) / scale - 0.5;
    if (from < 0) from = 0;
    *low = (size_t)from;
    *high = *low + 1 < p->in[axis] ? *low + 1 : *low;
    return (T)(from - (double)*low);
}

/* y from x; or (spread) the transpose: y, of the size of the input, += x, of that of the output. */
static void plain_bilinear(size_t images, const iv_pooling *p, const void *xv, void *yv,
                           bool spread)
{
    const T *x = xv;
    T *y = yv;
    size_t channels = p->channels;
    for (size_t n = 0; n < images; n++) {
        for (size_t o = 0; o < p->out[0] * p->out[1]; o++) {
            size_t r0, r1, c0, c1;
            T down = bilinear_between(p, 0, o / p->out[1], &r0, &r1);
            T right = bilinear_between(p, 1, o % p->out[1], &c0, &c1);
            const size_t at[4] = {(r0 * p->in[1] + c0) * channels, (r0 * p->in[1] + c1) * channels,
                                  (r1 * p->in[1] + c0) * channels, (r1 * p->in[1] + c1) * channels};
            const T w[4] = {(1 - down) * (1 - right), (1 - down) * right, down * (1 - right),
                            down * right};
            if (spread) { /* corners may be one pixel: one after the other */
                for (size_t i = 0; i < 4; i++) {
                    T *to = y + at[i];
                    IV_LANES
                    for (size_t c = 0; c < channels; c++) to[c] += w[i] * x[c];
                }
                x += channels;
            } else {
                IV_LANES
                for (size_t c = 0; c < channels; c++)
                    y[c] = (w[0] * x[at[0] + c] + w[1] * x[at[1] + c]) +
                           (w[2] * x[at[2] + c] + w[3] * x[at[3] + c]);
                y += channels;
            }
        }
        if (spread)
            y += p->in[0] * p->in[1] * channels;
        else
            x += p->in[0] * p->in[1] * channels;
    }
}

#define POOL_KERNELS                                                                               \
    .max_pool = plain_max_pool, .max_pool_follow = plain_max_pool_follow,                          \
    .average_pool = plain_average_pool, .average_pool_spread = plain_average_pool_spread,          \
    .bilinear = plain_bilinear
