/* The weight gradient of convolutions: for a run of taps, the product of the windows of the big
 * image, transposed, and the small image, summed over tiles of pixels of the whole batch in order.
 * The windows are the left operand, in place or gathered (conv_source.c).
 *
 * Taps are what the work is cut by, so nothing is gathered twice however many blocks there are; but
 * each block goes through the images once more, which pays for large kernels of few channels only
 * where a block has several rows of taps, and turns and frames them again. Of the taps of a block,
 * so many are summed while the images go by once that the sums stay in the second cache. */
#include "graph/conv_phase.h"

/* Taps worked on at once where columns must be gathered: their sums stay in the second cache beside
 * a tile of columns. */
static size_t taps_at_once(const iv_conv *conv)
{
    size_t big = conv->joined * conv->big_each, small = conv->joined * conv->small_each;
    size_t a = 512 / big, b = 65536 / (big * small), most = conv->kernel[0] * conv->kernel[1];
    size_t n = a < b ? a : b;
    return n == 0 ? 1 : n < most ? n : most;
}

typedef struct weight_plan {
    iv_source source;
    size_t taps;     /* of one product */
    size_t resident; /* whose sums are kept while the images go by */
    size_t rows, images;
    size_t columns, sums, source_work, small; /* elements */
} weight_plan;

static size_t round_up(size_t n)
{
    return (n + 15) / 16 * 16;
}

static weight_plan plan(const iv_conv *conv)
{
    size_t pixels = conv->small[0] * conv->small[1], n = conv->joined * conv->small_each;
    size_t sums = conv->joined * conv->big_each * n; /* of a tap */
    weight_plan w = {.source = iv_conv_source(conv, false, n <= IV_PRODUCT_THIN),
                     .taps = taps_at_once(conv),
                     .resident = 131072 / sums, /* half a MiB of sums */
                     .rows = IV_CONV_TILE};
    if (w.resident < w.taps) w.resident = w.taps;
    if (w.source.in_place) {
        w.taps = w.resident;
    } else {
        size_t ld = iv_conv_ld(w.taps * conv->joined * conv->big_each);
        w.rows = iv_conv_tile_rows(ld, n);
        w.columns = w.rows * ld + IV_GATHER_SLACK;
    }
    size_t small = pixels * conv->small_channels;
    w.sums = round_up(w.resident * sums);
    w.images = iv_conv_group(w.rows, pixels, w.source.image > small ? w.source.image : small);
    w.source_work = iv_conv_source_work(&w.source, w.images);
    w.small = w.images * small;
    return w;
}

size_t iv_conv_weight_work(const iv_conv *conv)
{
    weight_plan w = plan(conv);
    return w.columns + w.sums + w.source_work + w.small;
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

/* What one product reads: a run of images, as their windows are read, and the small images in
 * channels last. */
typedef struct operands {
    const void *big, *small;
} operands;

/* One tile of pixels of a run of images: row .. row + rows - 1. */
static void add_tile(const iv_kernels *k, const iv_conv_weight_run *run, const weight_plan *w,
                     const iv_phase *all, const chunk *c, const operands *images, size_t row,
                     size_t rows, bool accumulate, void *sums)
{
    const iv_conv *conv = run->conv;
    iv_phase phase = *all;
    iv_gather *g = &phase.gather;
    g->y.start += (ptrdiff_t)c->y * g->y.spacing;
    g->x.start += (ptrdiff_t)c->x * g->x.spacing;
    g->y.taps = c->ny;
    g->x.taps = c->nx;
    size_t m = c->ny * c->nx * g->channels;
    g->ld = iv_conv_ld(m);
    const void *big = iv_at(k, images->big, c->part * g->channels);
    iv_product p = {.m = m,
                    .n = phase.n,
                    .k = rows,
                    .a = run->work,
                    .lda = g->ld,
                    .a_transposed = true,
                    .b = iv_at(k, images->small, row * conv->small_channels + c->part * phase.n),
                    .ldb = conv->small_channels,
                    .c = sums,
                    .ldc = phase.n,
                    .accumulate = accumulate};
    uint32_t starts[IV_CONV_TILE];
    if (w->source.in_place) {
        iv_conv_starts(&w->source, &phase, row, rows, starts);
        p.a = big;
        p.a_rows = starts;
        p.pieces = c->ny;
        p.piece_step = iv_conv_run_step(&w->source, &phase);
    } else {
        iv_conv_columns(k, &w->source, &phase, row, rows, big, run->work);
    }
    k->product(&p);
}

/* The small images in channels last: as they lie, or turned into `room`. */
static const void *small_images(const iv_kernels *k, const iv_conv_weight_run *run, size_t first,
                                size_t count, void *room)
{
    const iv_conv *conv = run->conv;
    iv_shape shape = {3, {conv->small_channels, conv->small[0], conv->small[1]}};
    const void *from =
        iv_at(k, run->small, first * conv->small_channels * conv->small[0] * conv->small[1]);
    if (run->small_last) return from;
    iv_layout_to_last(k, &shape, count, from, room, false);
    return room;
}

/* Sums [tap][big channel][small channel] of taps first .. end - 1 over the whole batch. */
static void sum_taps(const iv_kernels *k, const iv_conv_weight_run *run, const weight_plan *w,
                     size_t first, size_t end, void *sums)
{
    const iv_conv *conv = run->conv;
    iv_phase phase;
    iv_conv_phase(conv, false, 0, &phase);
    void *room = iv_at(k, run->work, w->columns + w->sums);
    size_t big = conv->big[0] * conv->big[1] * conv->big_channels;
    for (size_t image = 0; image < run->images; image += w->images) {
        size_t count = run->images - image < w->images ? run->images - image : w->images;
        operands images = {iv_conv_load(k, &w->source, count, iv_at(k, run->big, image * big),
                                        run->big_last, room),
                           small_images(k, run, image, count, iv_at(k, room, w->source_work))};
        size_t total = count * phase.pixels, tiles = (total + w->rows - 1) / w->rows;
        for (size_t i = 0; i < tiles; i++) {
            size_t row = total * i / tiles, rows = total * (i + 1) / tiles - row;
            for (size_t tap = first; tap < end;) {
                chunk c = next_chunk(conv, tap, end, w->taps);
                add_tile(k, run, w, &phase, &c, &images, row, rows, image > 0 || i > 0,
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
