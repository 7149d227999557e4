/* Convolutions and transposed convolutions as products (conv.h): geometry, phases, packed weights.
 */
#include "graph/conv_phase.h"

void iv_conv_geometry(const iv_conv_attributes *attributes, const iv_shape *in, const iv_shape *out,
                      bool transposed, iv_conv *conv)
{
    enum { LANES = 16 };
    const iv_shape *big = transposed ? out : in, *small = transposed ? in : out;
    *conv = (iv_conv){.big_channels = big->dim[0], .small_channels = small->dim[0]};
    for (size_t i = 0; i < 2; i++) {
        conv->big[i] = big->dim[i + 1];
        conv->small[i] = small->dim[i + 1];
        conv->kernel[i] = attributes->kernel[i];
        conv->stride[i] = attributes->stride[i];
        conv->dilation[i] = attributes->dilation[i];
        conv->pad[i] = attributes->pads[i];
    }
    size_t groups = attributes->groups;
    conv->big_each = conv->big_channels / groups;
    conv->small_each = conv->small_channels / groups;
    size_t widest = conv->big_each > conv->small_each ? conv->big_each : conv->small_each;
    conv->joined = 1;
    for (size_t n = 2; n <= groups && n * widest <= LANES; n++) {
        if (groups % n == 0) conv->joined = n;
    }
    conv->parts = groups / conv->joined;
}

static size_t round_up(size_t n)
{
    return (n + 15) / 16 * 16;
}

/* From one row of columns to the next: whole cache lines, and no multiple of 2 KiB, where the rows
 * of a tile would compete for the same places in the cache. */
size_t iv_conv_ld(size_t k)
{
    size_t ld = round_up(k);
    return ld % 512 == 0 ? ld + 16 : ld;
}

size_t iv_conv_tile_rows(size_t ld, size_t n)
{
    enum { ELEMENTS = 65536, LEAST = 56, MOST = 504 }; /* a quarter of a MiB; rows of tiles of 14 */
    size_t rows = ELEMENTS / (ld > n ? ld : n);
    return rows < LEAST ? LEAST : rows > MOST ? MOST : rows;
}

size_t iv_conv_group(size_t rows, size_t pixels, size_t image_size)
{
    enum { ELEMENTS = 131072 };
    size_t by_rows = rows / pixels, by_size = ELEMENTS / image_size;
    size_t n = by_rows < by_size ? by_rows : by_size;
    return n == 0 ? 1 : n;
}

static size_t gcd(size_t a, size_t b)
{
    while (b > 0) {
        size_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Thin images up: the phases go into one product over the union of their windows, with zeros where
 * a phase has no tap, since stride x stride x channels columns together fill a vector better. */
bool iv_conv_merged(const iv_conv *conv, bool up)
{
    size_t columns = conv->stride[0] * conv->stride[1] * conv->big_channels;
    return up && conv->parts == 1 && conv->big_channels <= 4 && columns > conv->big_channels &&
           columns <= 64 && conv->dilation[0] == 1 && conv->dilation[1] == 1;
}

/* No more phases than there are positions. */
static size_t phases_of(const iv_conv *conv, size_t i)
{
    return conv->stride[i] < conv->big[i] ? conv->stride[i] : conv->big[i];
}

size_t iv_conv_phases(const iv_conv *conv, bool up)
{
    return up && !iv_conv_merged(conv, up) ? phases_of(conv, 0) * phases_of(conv, 1) : 1;
}

/* Down: window t of an axis starts at t stride - pad. */
static void axis_down(const iv_conv *conv, size_t i, iv_phase_axis *axis, iv_window *window)
{
    *window = (iv_window){.extent = conv->big[i],
                          .windows = conv->small[i],
                          .start = -(ptrdiff_t)conv->pad[i],
                          .step = (ptrdiff_t)conv->stride[i],
                          .taps = conv->kernel[i],
                          .spacing = (ptrdiff_t)conv->dilation[i]};
    *axis = (iv_phase_axis){.step = 1, .width = 1, .tap = 0, .tap_step = 1};
}

/* Up, output positions phase + t stride: tap ky reads the source at (position + pad - ky dilation)
 * / stride, if that has no remainder, which is so for every (stride / gcd)-th tap or none. The last
 * of them reads the lowest position, so taps are counted from there. */
static void axis_phase(const iv_conv *conv, size_t i, size_t phase, iv_phase_axis *axis,
                       iv_window *window)
{
    size_t s = conv->stride[i], d = conv->dilation[i], common = gcd(s, d);
    size_t first = 0, each = s / common, at = phase + conv->pad[i];
    while (first < each && (first * d) % s != at % s) first++;
    *axis = (iv_phase_axis){.first = (ptrdiff_t)phase, .step = s, .width = 1};
    *window = (iv_window){.extent = conv->small[i], .step = 1, .spacing = (ptrdiff_t)(d / common)};
    if (phase < conv->big[i]) window->windows = (conv->big[i] - phase - 1) / s + 1;
    if (first >= each || first >= conv->kernel[i]) return; /* none: these pixels get the bias */
    window->taps = (conv->kernel[i] - 1 - first) / each + 1;
    axis->tap = first + (window->taps - 1) * each;
    axis->tap_step = -(ptrdiff_t)each;
    window->start = ((ptrdiff_t)at - (ptrdiff_t)(axis->tap * d)) / (ptrdiff_t)s;
}

/* Up, all phases: window t serves the positions t stride - pad + 0 .. stride - 1; tap ky of phase r
 * (ky = m stride + r) reads the source at t - m. */
static void axis_merged(const iv_conv *conv, size_t i, iv_phase_axis *axis, iv_window *window)
{
    size_t s = conv->stride[i], t0 = conv->pad[i] / s, m = (conv->kernel[i] - 1) / s;
    *axis = (iv_phase_axis){
        .first = (ptrdiff_t)(t0 * s) - (ptrdiff_t)conv->pad[i], .step = s, .width = s};
    *window = (iv_window){.extent = conv->small[i],
                          .windows = (conv->big[i] - 1 + conv->pad[i]) / s - t0 + 1,
                          .start = (ptrdiff_t)t0 - (ptrdiff_t)m,
                          .step = 1,
                          .taps = m + 1,
                          .spacing = 1};
}

void iv_conv_phase(const iv_conv *conv, bool up, size_t index, iv_phase *phase)
{
    size_t source = up ? conv->small_each : conv->big_each;
    iv_window *windows[2] = {&phase->gather.y, &phase->gather.x};
    *phase = (iv_phase){.channels = conv->joined * (up ? conv->big_each : conv->small_each)};
    phase->gather.channels = conv->joined * source;
    phase->gather.pixel = up ? conv->small_channels : conv->big_channels;
    for (size_t i = 0; i < 2; i++) {
        if (!up) {
            axis_down(conv, i, &phase->axis[i], windows[i]);
        } else if (iv_conv_merged(conv, up)) {
            axis_merged(conv, i, &phase->axis[i], windows[i]);
        } else {
            size_t n = phases_of(conv, 1), of_axis = i == 0 ? index / n : index % n;
            axis_phase(conv, i, of_axis, &phase->axis[i], windows[i]);
        }
    }
    phase->pixels = phase->gather.y.windows * phase->gather.x.windows;
    phase->k = phase->gather.y.taps * phase->gather.x.taps * phase->gather.channels;
    phase->n = phase->axis[0].width * phase->axis[1].width * phase->channels;
    phase->gather.ld = iv_conv_ld(phase->k);
}

static void move_axis(iv_reorder *p, size_t from, size_t to)
{
    for (; from != to; from += from < to ? 1 : (size_t)-1) {
        size_t next = from < to ? from + 1 : from - 1, extent = p->extent[from];
        ptrdiff_t a = p->from[from], b = p->to[from];
        p->extent[from] = p->extent[next];
        p->from[from] = p->from[next];
        p->to[from] = p->to[next];
        p->extent[next] = extent;
        p->from[next] = a;
        p->to[next] = b;
    }
}

/* The copy of taps into a matrix; axes are group, tap y, tap x, source channel, output channel. All
 * taps of a pair of channels lie together in the weight, so they are taken together, and those of
 * 16 output channels at once where these lie far apart: else each of them costs a cache line. */
static void copy_taps(const iv_kernels *k, iv_reorder p, bool up, const void *weight, void *matrix)
{
    enum { BLOCK = 16 };
    move_axis(&p, 3, 1); /* group, source channel, tap y, tap x, output channel */
    size_t n = p.extent[4], rest = n % BLOCK;
    ptrdiff_t step = p.from[4];
    if (up || n <= BLOCK) {
        k->reorder(&p, weight, matrix, false);
        return;
    }
    if (rest > 0) {
        p.extent[4] = rest;
        k->reorder(&p, iv_at(k, weight, (n - rest) * (size_t)step), iv_at(k, matrix, n - rest),
                   false);
    }
    p.rank = 6;
    p.extent[4] = BLOCK;
    p.extent[5] = n / BLOCK;
    p.from[5] = BLOCK * step;
    p.to[5] = BLOCK;
    move_axis(&p, 5, 1);
    k->reorder(&p, weight, matrix, false);
}

/* Weights (small, big / groups, kh, kw) to the rows [tap y][tap x][source channel] of a matrix with
 * one column per output channel, for one part; joined groups stand on its diagonal. */
static void matrix_of(const iv_kernels *k, const iv_conv *conv, bool up, const iv_phase *phase,
                      size_t part, const void *weight, void *matrix)
{
    const iv_gather *g = &phase->gather;
    ptrdiff_t n = (ptrdiff_t)phase->n, channels = (ptrdiff_t)g->channels;
    ptrdiff_t kw = (ptrdiff_t)conv->kernel[1], kk = (ptrdiff_t)conv->kernel[0] * kw;
    ptrdiff_t small_step = (ptrdiff_t)conv->big_each * kk; /* from one small channel to the next */
    size_t from_each = up ? conv->small_each : conv->big_each;
    size_t to_each = up ? conv->big_each : conv->small_each;
    size_t base = part * conv->joined * conv->small_each * (size_t)small_step;
    iv_reorder p = {
        .rank = 5, /* group, tap y, tap x, source channel, output channel */
        .extent = {conv->joined, g->y.taps, g->x.taps, from_each, to_each},
        .from = {(ptrdiff_t)conv->small_each * small_step, phase->axis[0].tap_step * kw,
                 phase->axis[1].tap_step, up ? small_step : kk, up ? kk : small_step},
        .to = {(ptrdiff_t)from_each * n + (ptrdiff_t)to_each, (ptrdiff_t)g->x.taps * channels * n,
               channels * n, n, 1},
    };
    if (phase->k == 0) return;
    bool merged = iv_conv_merged(conv, up);
    if (merged || conv->joined > 1) k->fill(phase->k * phase->n, 0, matrix);
    if (!merged) {
        base += phase->axis[0].tap * (size_t)kw + phase->axis[1].tap;
        copy_taps(k, p, up, iv_at(k, weight, base), matrix);
        return;
    }
    size_t s0 = conv->stride[0], s1 = conv->stride[1];
    p.from[1] = -(ptrdiff_t)s0 * kw;
    p.from[2] = -(ptrdiff_t)s1;
    for (size_t r = 0; r < s0 * s1; r++) {
        size_t ry = r / s1, rx = r % s1;
        if (ry >= conv->kernel[0] || rx >= conv->kernel[1]) continue;
        size_t my = (conv->kernel[0] - 1 - ry) / s0, mx = (conv->kernel[1] - 1 - rx) / s1;
        /* Taps my .. 0 of this phase are the last my + 1 of the union. */
        p.extent[1] = my + 1;
        p.extent[2] = mx + 1;
        size_t row = ((g->y.taps - 1 - my) * g->x.taps + g->x.taps - 1 - mx) * g->channels;
        size_t tap = (my * s0 + ry) * (size_t)kw + mx * s1 + rx;
        copy_taps(k, p, up, iv_at(k, weight, base + tap),
                  iv_at(k, matrix, row * phase->n + r * phase->channels));
    }
}

size_t iv_conv_packed(const iv_kernels *k, const iv_phase *phase)
{
    return round_up(k->pack_size(phase->k, phase->n));
}

/* Packed: the bias (one for each column of a merged phase), the matrix at work, then the packed
 * ones. */
static size_t bias_size(const iv_conv *conv, bool up)
{
    return iv_conv_merged(conv, up)
               ? round_up(conv->stride[0] * conv->stride[1] * conv->big_channels)
               : 0;
}

static size_t matrix_size(const iv_conv *conv, bool up)
{
    size_t most = 0;
    for (size_t i = 0; i < iv_conv_phases(conv, up); i++) {
        iv_phase phase;
        iv_conv_phase(conv, up, i, &phase);
        if (phase.k * phase.n > most) most = phase.k * phase.n;
    }
    return round_up(most);
}

size_t iv_conv_packed_start(const iv_conv *conv, bool up)
{
    return bias_size(conv, up) + matrix_size(conv, up);
}

size_t iv_conv_pack_size(const iv_kernels *k, const iv_conv *conv, bool up)
{
    size_t size = iv_conv_packed_start(conv, up);
    for (size_t i = 0; i < iv_conv_phases(conv, up); i++) {
        iv_phase phase;
        iv_conv_phase(conv, up, i, &phase);
        size += conv->parts * iv_conv_packed(k, &phase);
    }
    return size;
}

void iv_conv_pack(const iv_kernels *k, const iv_conv *conv, bool up, const void *weight,
                  const void *bias, void *packed)
{
    size_t at = bias_size(conv, up);
    void *matrix = iv_at(k, packed, at);
    if (at > 0 && bias != NULL) {
        iv_reorder p = {.rank = 2,
                        .extent = {conv->stride[0] * conv->stride[1], conv->big_channels},
                        .from = {0, 1},
                        .to = {(ptrdiff_t)conv->big_channels, 1}};
        k->reorder(&p, bias, packed, false);
    }
    at += matrix_size(conv, up);
    for (size_t i = 0; i < iv_conv_phases(conv, up); i++) {
        iv_phase phase;
        iv_conv_phase(conv, up, i, &phase);
        for (size_t part = 0; part < conv->parts; part++) {
            matrix_of(k, conv, up, &phase, part, weight, matrix);
            k->pack(phase.k, phase.n, matrix, phase.n, false, iv_at(k, packed, at));
            at += iv_conv_packed(k, &phase);
        }
    }
}
