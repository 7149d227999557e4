/* The weight gradient of convolutions: for a run of taps, the product of gathered windows of the
 * big image, transposed, and the small image, summed over tiles of pixels of the whole batch in
 * order. The windows are the left operand, which is read where it lies.
 *
 * Taps are what the work is cut by, so nothing is gathered twice however many blocks there are; but
 * each block goes through the images once more, which pays for large kernels of few channels only
 * where a block has several rows of taps (7 % of the time of a 5x5 of 64 channels in two blocks, 15
 * % in five), and turns those to channels last that are not. Of the taps of a block, so many are
 * summed while the images go by once that the sums stay in the second cache. */
#include "graph/conv_phase.h"

/* Taps worked on at once: their sums stay in the second cache beside a tile of columns. */
static size_t taps_at_once(const iv_conv *conv)
{
    size_t big = conv->joined * conv->big_each, small = conv->joined * conv->small_each;
    size_t a = 512 / big, b = 65536 / (big * small), most = conv->kernel[0] * conv->kernel[1];
    size_t n = a < b ? a : b;
    return n == 0 ? 1 : n < most ? n : most;
}

typedef struct weight_plan {
    size_t taps;     /* of one product */
    size_t resident; /* whose sums are kept while the images go by */
    size_t ld, rows, images;
    size_t columns, sums, big, small; /* elements */
} weight_plan;

static weight_plan plan(const iv_conv *conv)
{
    weight_plan w = {.taps = taps_at_once(conv)};
    size_t pixels = conv->small[0] * conv->small[1], n = conv->joined * conv->small_each;
    w.resident = 131072 / (conv->joined * conv->big_each * n); /* half a MiB of sums */
    if (w.resident < w.taps) w.resident = w.taps;
    w.ld = iv_conv_ld(w.taps * conv->joined * conv->big_each);
    w.rows = iv_conv_tile_rows(w.ld, n);
    w.columns = w.rows * w.ld + IV_GATHER_SLACK;
    w.sums = (w.resident * conv->joined * conv->big_each * n + 15) / 16 * 16;
    w.big = conv->big[0] * conv->big[1] * conv->big_channels;
    w.small = pixels * conv->small_channels;
    w.images = iv_conv_group(w.rows, pixels, w.big > w.small ? w.big : w.small);
    w.big *= w.images;
    w.small *= w.images;
    return w;
}

size_t iv_conv_weight_work(const iv_conv *conv)
{
    weight_plan w = plan(conv);
    return w.columns + w.sums + (w.big + 15) / 16 * 16 + w.small;
}

/* Taps of one part: whole rows of the kernel, or some of one row. */
typedef struct chunk {
    size_t part, y, x, ny, nx;
} chunk;

static chunk next_chunk(const iv_conv *conv, size_t first, size_t end, size_t most)
{
    size_t kw = conv->kernel[1], kk = conv->kernel[0] * kw;
    chunk c = {.part = first / kk, .y = first % kk / kw, .x = first % kw, .ny = 1};
    if (end > (c.part + 1) * kk) end = (c.part + 1) * kk;
    size_t n = end - first < most ? end - first : most;
    if (c.x == 0 && n >= kw) {
        c.ny = n / kw;
        c.nx = kw;
    } else {
        c.nx = n < kw - c.x ? n : kw - c.x;
    }
    return c;
}

/* A run of images in channels last: as they lie, or turned into `turned`. */
static const void *channels_last(const iv_kernels *k, size_t channels, const size_t *side,
                                 size_t first, size_t count, const void *from, bool last,
                                 void *turned)
{
    iv_shape shape = {3, {channels, side[0], side[1]}};
    const void *start = iv_at(k, from, first * channels * side[0] * side[1]);
    if (last) return start;
    iv_layout_to_last(k, &shape, count, start, turned, false);
    return turned;
}

/* One tile of pixels of a run of images: row .. row + rows - 1. */
static void add_tile(const iv_kernels *k, const iv_conv_weight_run *run, const iv_phase *phase,
                     const chunk *c, const void *big, const void *small, size_t row, size_t rows,
                     bool accumulate, void *sums)
{
    const iv_conv *conv = run->conv;
    iv_gather g = phase->gather;
    g.y.start += (ptrdiff_t)c->y * g.y.spacing;
    g.x.start += (ptrdiff_t)c->x * g.x.spacing;
    g.y.taps = c->ny;
    g.x.taps = c->nx;
    size_t m = c->ny * c->nx * g.channels;
    g.ld = iv_conv_ld(m);
    iv_conv_columns(k, &g, phase->pixels, conv->big[0] * conv->big[1] * conv->big_channels, row,
                    rows, iv_at(k, big, c->part * g.channels), run->work);
    iv_product p = {.m = m,
                    .n = phase->n,
                    .k = rows,
                    .a = run->work,
                    .lda = g.ld,
                    .a_transposed = true,
                    .b = iv_at(k, small, row * conv->small_channels + c->part * phase->n),
                    .ldb = conv->small_channels,
                    .c = sums,
                    .ldc = phase->n,
                    .accumulate = accumulate};
    k->product(&p);
}

/* Sums [tap][big channel][small channel] of taps first .. end - 1 over the whole batch. */
static void sum_taps(const iv_kernels *k, const iv_conv_weight_run *run, const weight_plan *w,
                     size_t first, size_t end, void *sums)
{
    const iv_conv *conv = run->conv;
    iv_phase phase;
    iv_conv_phase(conv, false, 0, &phase);
    void *turned = iv_at(k, run->work, w->columns + w->sums);
    void *turned_small = iv_at(k, turned, (w->big + 15) / 16 * 16);
    for (size_t image = 0; image < run->images; image += w->images) {
        size_t images = run->images - image < w->images ? run->images - image : w->images;
        const void *big = channels_last(k, conv->big_channels, conv->big, image, images, run->big,
                                        run->big_last, turned);
        const void *small = channels_last(k, conv->small_channels, conv->small, image, images,
                                          run->small, run->small_last, turned_small);
        size_t total = images * phase.pixels, tiles = (total + w->rows - 1) / w->rows;
        for (size_t i = 0; i < tiles; i++) {
            size_t row = total * i / tiles, rows = total * (i + 1) / tiles - row;
            for (size_t tap = first; tap < end;) {
                chunk c = next_chunk(conv, tap, end, w->taps);
                add_tile(k, run, &phase, &c, big, small, row, rows, image > 0 || i > 0,
                         iv_at(k, sums, (tap - first) * phase.gather.channels * phase.n));
                tap += c.ny * c.nx;
            }
        }
    }
}

/* The sums into the gradient (small, big / groups, kh, kw); of joined groups, the diagonal. */
static void write_chunk(const iv_kernels *k, const iv_conv_weight_run *run, const chunk *c,
                        const void *sums)
{
    const iv_conv *conv = run->conv;
    ptrdiff_t kw = (ptrdiff_t)conv->kernel[1], kk = (ptrdiff_t)conv->kernel[0] * kw;
    ptrdiff_t n = (ptrdiff_t)(conv->joined * conv->small_each);
    ptrdiff_t channels = (ptrdiff_t)(conv->joined * conv->big_each);
    ptrdiff_t step = (ptrdiff_t)conv->big_each * kk;
    iv_reorder p = {
        .rank = 5, /* group, small channel, tap y, tap x, big channel: near places together */
        .extent = {conv->joined, conv->small_each, c->ny, c->nx, conv->big_each},
        .from = {(ptrdiff_t)conv->big_each * n + (ptrdiff_t)conv->small_each, 1,
                 (ptrdiff_t)c->nx * channels * n, channels * n, n},
        .to = {(ptrdiff_t)conv->small_each * step, step, kw, 1, kk},
    };
    size_t at =
        c->part * conv->joined * conv->small_each * (size_t)step + c->y * conv->kernel[1] + c->x;
    k->reorder(&p, sums, iv_at(k, run->grad, at), run->accumulate);
}

void iv_conv_weight_gradient(const iv_kernels *k, const iv_conv_weight_run *run)
{
    const iv_conv *conv = run->conv;
    size_t each = conv->joined * conv->big_each * conv->joined * conv->small_each;
    weight_plan w = plan(conv);
    void *sums = iv_at(k, run->work, w.columns);
    for (size_t first = run->first; first < run->end; first += w.resident) {
        size_t end = run->end - first < w.resident ? run->end : first + w.resident;
        sum_taps(k, run, &w, first, end, sums);
        for (size_t tap = first; tap < end;) {
            chunk c = next_chunk(conv, tap, end, w.taps);
            write_chunk(k, run, &c, iv_at(k, sums, (tap - first) * each));
            tap += c.ny * c.nx;
        }
    }
}
