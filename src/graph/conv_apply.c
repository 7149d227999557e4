/* Convolutions and transposed convolutions as products (conv.h): one pass over a run of images. */
#include "graph/conv_phase.h"

/* Where the columns, two tiles of results and the source in channels last lie in `work`. */
typedef struct work_plan {
    size_t rows; /* of a tile */
    size_t images;
    size_t columns, tile, source;
} work_plan;

/* Merged phases: rows of windows, worked on together, and the image rows that they see with zeros
 * at both ends. */
static size_t padded_row(const iv_phase *phase)
{
    const iv_gather *g = &phase->gather;
    return (g->x.windows + g->x.taps - 1) * g->channels;
}

static work_plan plan_merged(const iv_conv *conv, bool up)
{
    iv_phase phase;
    iv_conv_phase(conv, up, 0, &phase);
    const iv_window *y = &phase.gather.y;
    size_t width = padded_row(&phase);
    size_t widest = phase.gather.x.windows * phase.n;
    size_t rows = iv_conv_tile_rows(width > widest ? width : widest, 1) / 8;
    if (rows > y->windows) rows = y->windows;
    work_plan w = {.rows = rows, .images = 1};
    w.columns = (rows + y->taps - 1) * width + IV_GATHER_SLACK;
    w.columns = (w.columns + 15) / 16 * 16;
    w.tile = (rows * widest + 15) / 16 * 16;
    w.source = conv->small[0] * conv->small[1] * conv->small_channels;
    return w;
}

static work_plan plan_work(const iv_conv *conv, bool up)
{
    work_plan w = {.rows = 504};
    size_t pixels = 1;
    if (iv_conv_merged(conv, up)) return plan_merged(conv, up);
    for (size_t i = 0; i < iv_conv_phases(conv, up); i++) {
        iv_phase phase;
        iv_conv_phase(conv, up, i, &phase);
        size_t rows = iv_conv_tile_rows(phase.gather.ld, phase.n);
        if (rows < w.rows) w.rows = rows;
        if (phase.pixels > pixels) pixels = phase.pixels;
        size_t columns = rows * phase.gather.ld + IV_GATHER_SLACK;
        if (columns > w.columns) w.columns = columns;
        if (rows * phase.n > w.tile) w.tile = rows * phase.n;
    }
    const size_t *side = up ? conv->small : conv->big;
    size_t image = side[0] * side[1] * (up ? conv->small_channels : conv->big_channels);
    w.images = iv_conv_group(w.rows, pixels, image);
    w.source = w.images * image;
    return w;
}

/* What one tile needs to know, beside the run. */
typedef struct tile_place {
    const iv_phase *phase;
    size_t height, width, channels; /* of the whole output */
    size_t offset;                  /* first channel of the part */
} tile_place;

/* Row of results by row of results into the output: `count` windows from `first` of an image. */
static void place(const iv_kernels *k, const tile_place *t, size_t first, size_t count,
                  const void *tile, void *image, bool last, bool accumulate)
{
    const iv_phase *phase = t->phase;
    const iv_phase_axis *ay = &phase->axis[0], *ax = &phase->axis[1];
    size_t windows = phase->gather.x.windows, n = phase->n, c = phase->channels;
    ptrdiff_t plane = (ptrdiff_t)(t->height * t->width), channels = (ptrdiff_t)t->channels;
    for (size_t done = 0; done < count;) {
        size_t ty = (first + done) / windows, tx = (first + done) % windows;
        size_t run = windows - tx < count - done ? windows - tx : count - done;
        for (size_t r = 0; r < ay->width * ax->width; r++) {
            size_t ry = r / ax->width, rx = r % ax->width;
            ptrdiff_t y = ay->first + (ptrdiff_t)(ty * ay->step + ry);
            ptrdiff_t x = ax->first + (ptrdiff_t)(tx * ax->step + rx);
            size_t skip = x < 0 ? 1 : 0, end = run; /* only the outermost can lie outside */
            if (end > skip && x + (ptrdiff_t)((run - 1) * ax->step) >= (ptrdiff_t)t->width) end--;
            if (y < 0 || y >= (ptrdiff_t)t->height || end <= skip) continue;
            x += (ptrdiff_t)(skip * ax->step);
            size_t pixel = (size_t)y * t->width + (size_t)x;
            ptrdiff_t step = (ptrdiff_t)ax->step;
            bool inner = last && c >= 16; /* whole runs of channels */
            iv_reorder p = {
                .rank = 2,
                .extent = {inner ? end - skip : c, inner ? c : end - skip},
                .from = {inner ? (ptrdiff_t)n : 1, inner ? 1 : (ptrdiff_t)n},
                .to = {inner  ? step * channels
                       : last ? 1
                              : plane,
                       inner  ? 1
                       : last ? step * channels
                              : step},
            };
            size_t at = last ? pixel * t->channels + t->offset : t->offset * (size_t)plane + pixel;
            k->reorder(&p, iv_at(k, tile, (done + skip) * n + r * c), iv_at(k, image, at),
                       accumulate);
        }
        done += run;
    }
}

/* The output of a phase is the whole output, and lies as the product writes it. */
static bool is_direct(const iv_conv_run *run, const iv_phase *phase)
{
    return run->to_last && phase->axis[0].step == 1 && phase->axis[1].step == 1;
}

/* The windows are the pixels themselves: no columns. */
static bool is_identity(const iv_phase *phase)
{
    const iv_window *windows[2] = {&phase->gather.y, &phase->gather.x};
    for (size_t i = 0; i < 2; i++) {
        const iv_window *w = windows[i];
        if (w->taps != 1 || w->start != 0 || w->step != 1 || w->windows != w->extent) return false;
    }
    return true;
}

/* Rows first .. first + count - 1 of a run of images, each of phase->pixels windows. */
void iv_conv_columns(const iv_kernels *k, const iv_gather *g, size_t pixels, size_t image_size,
                     size_t first, size_t count, const void *source, void *columns)
{
    for (size_t done = 0; done < count;) {
        size_t image = (first + done) / pixels, window = (first + done) % pixels;
        size_t n = pixels - window < count - done ? pixels - window : count - done;
        k->gather(g, window, n, iv_at(k, source, image * image_size),
                  iv_at(k, columns, done * g->ld));
        done += n;
    }
}

/* A tile that does not lie in the output as the product makes it: values, or slopes. */
static void place_rows(const iv_kernels *k, const tile_place *t, size_t image_size, size_t image0,
                       size_t first, size_t count, const void *tile, void *to, bool last,
                       bool accumulate)
{
    for (size_t done = 0; done < count;) {
        size_t pixels = t->phase->pixels;
        size_t image = (first + done) / pixels, window = (first + done) % pixels;
        size_t n = pixels - window < count - done ? pixels - window : count - done;
        place(k, t, window, n, iv_at(k, tile, done * t->phase->n),
              iv_at(k, to, (image0 + image) * image_size), last, accumulate);
        done += n;
    }
}

/* `spare` has room for another tile. */
static void place_tile(const iv_kernels *k, const iv_conv_run *run, const tile_place *t,
                       size_t image_size, size_t image0, size_t first, size_t count, void *tile,
                       void *spare)
{
    size_t n = count * t->phase->n;
    if (run->slope != NULL) {
        k->act_derivative(run->act, run->act_parameter, n, tile, spare);
        place_rows(k, t, image_size, image0, first, count, spare, run->slope, run->to_last, false);
    }
    if (run->act != IV_ACT_NONE) k->act_forward(run->act, run->act_parameter, n, tile, tile);
    place_rows(k, t, image_size, image0, first, count, tile, run->to, run->to_last,
               run->accumulate);
}

typedef struct group { /* of images that are worked on together */
    size_t first, count;
    const void *source; /* channels last */
} group;

/* The merged phases of one image. Their windows overlap so much that gathering them would take long
 * beside so few output channels; but along a row of windows each begins one pixel after the last,
 * so that with zeros at its ends a row of the image is, as it lies, the left operand of a row of
 * taps. */
static void apply_merged(const iv_kernels *k, const iv_conv_run *run, const work_plan *w,
                         const iv_phase *phase, const void *packed, const group *images)
{
    const iv_conv *conv = run->conv;
    const iv_gather *g = &phase->gather;
    tile_place t = {.phase = phase,
                    .height = conv->big[0],
                    .width = conv->big[1],
                    .channels = conv->big_channels};
    size_t width = padded_row(phase), windows = g->x.windows, taps = g->y.taps;
    size_t piece = iv_conv_packed(k, conv, run->up, phase) / taps;
    void *tile = iv_at(k, run->work, w->columns);
    iv_gather rows = {.y = g->y, .x = g->x, .channels = g->channels, .pixel = g->pixel};
    rows.x.windows = 1;
    rows.x.taps = width / g->channels;
    rows.y.taps = 1;
    rows.ld = width;
    for (size_t first = 0; first < g->y.windows; first += w->rows) {
        size_t count = g->y.windows - first < w->rows ? g->y.windows - first : w->rows;
        rows.y.start = g->y.start + (ptrdiff_t)first;
        k->gather(&rows, 0, count + taps - 1, images->source, run->work);
        for (size_t i = 0; i < count; i++) {
            for (size_t j = 0; j < taps; j++) {
                iv_product p = {.m = windows,
                                .n = phase->n,
                                .k = phase->k / taps,
                                .a = iv_at(k, run->work, (i + j) * width),
                                .lda = g->channels,
                                .ldb = phase->n,
                                .packed = iv_at(k, packed, j * piece),
                                .c = iv_at(k, tile, i * windows * phase->n),
                                .ldc = phase->n,
                                .bias = j + 1 == taps && run->bias != NULL ? run->packed : NULL,
                                .accumulate = j > 0};
                k->product(&p);
            }
        }
        place_tile(k, run, &t, t.height * t.width * t.channels, images->first, first * windows,
                   count * windows, tile, iv_at(k, tile, w->tile));
    }
}

static void apply_phase(const iv_kernels *k, const iv_conv_run *run, const work_plan *w,
                        const iv_phase *phase, size_t part, const void *packed, const group *images)
{
    const iv_conv *conv = run->conv;
    const size_t *from = run->up ? conv->small : conv->big, *to = run->up ? conv->big : conv->small;
    size_t from_size = from[0] * from[1] * phase->gather.pixel;
    tile_place t = {.phase = phase,
                    .height = to[0],
                    .width = to[1],
                    .channels = run->up ? conv->big_channels : conv->small_channels,
                    .offset = part * phase->channels};
    size_t to_size = t.height * t.width * t.channels;
    bool direct = is_direct(run, phase), identity = is_identity(phase);
    const void *source = iv_at(k, images->source, part * phase->gather.channels);
    void *tile = iv_at(k, run->work, w->columns);
    const void *bias = run->bias == NULL ? NULL : iv_at(k, run->bias, part * phase->channels);
    size_t total = images->count * phase->pixels;
    size_t most = iv_conv_tile_rows(phase->gather.ld, phase->n), tiles = (total + most - 1) / most;
    for (size_t i = 0; i < tiles; i++) {
        size_t first = total * i / tiles, count = total * (i + 1) / tiles - first;
        iv_product p = {.m = count,
                        .n = phase->n,
                        .k = phase->k,
                        .a = run->work,
                        .lda = phase->gather.ld,
                        .ldb = phase->n,
                        .packed = packed,
                        .c = tile,
                        .ldc = phase->n,
                        .bias = bias};
        if (identity) {
            p.a = iv_at(k, source, first * phase->gather.pixel);
            p.lda = phase->gather.pixel;
        } else {
            iv_conv_columns(k, &phase->gather, phase->pixels, from_size, first, count, source,
                            run->work);
        }
        if (direct) {
            size_t at = images->first * to_size + first * t.channels + t.offset;
            p.c = iv_at(k, run->to, at);
            p.ldc = t.channels;
            p.act = run->act;
            p.act_parameter = run->act_parameter;
            p.slope = run->slope == NULL ? NULL : iv_at(k, run->slope, at);
            p.accumulate = run->accumulate;
        }
        k->product(&p);
        if (direct) continue;
        place_tile(k, run, &t, to_size, images->first, first, count, tile, iv_at(k, tile, w->tile));
    }
}

void iv_conv_apply(const iv_kernels *k, const iv_conv_run *run)
{
    const iv_conv *conv = run->conv;
    const size_t *from = run->up ? conv->small : conv->big;
    iv_shape shape = {3, {run->up ? conv->small_channels : conv->big_channels, from[0], from[1]}};
    size_t from_size = shape.dim[0] * from[0] * from[1];
    work_plan w = plan_work(conv, run->up);
    void *logical = iv_at(k, run->work, w.columns + 2 * w.tile);
    bool merged = iv_conv_merged(conv, run->up);
    for (size_t first = 0; first < run->images; first += w.images) {
        group images = {.first = first, .count = run->images - first};
        if (images.count > w.images) images.count = w.images;
        images.source = iv_at(k, run->from, first * from_size);
        if (!run->from_last) {
            iv_layout_to_last(k, &shape, images.count, images.source, logical, false);
            images.source = logical;
        }
        size_t at = iv_conv_packed_start(conv, run->up);
        for (size_t i = 0; i < iv_conv_phases(conv, run->up); i++) {
            iv_phase phase;
            iv_conv_phase(conv, run->up, i, &phase);
            for (size_t part = 0; part < conv->parts; part++) {
                const void *packed = iv_at(k, run->packed, at);
                if (merged) {
                    apply_merged(k, run, &w, &phase, packed, &images);
                } else if (phase.pixels > 0) {
                    apply_phase(k, run, &w, &phase, part, packed, &images);
                }
                at += iv_conv_packed(k, conv, run->up, &phase);
            }
        }
    }
}

size_t iv_conv_work_size(const iv_conv *conv)
{
    size_t most = iv_conv_weight_work(conv);
    for (size_t up = 0; up < 2; up++) {
        work_plan w = plan_work(conv, up == 1);
        size_t size = w.columns + 2 * w.tile + w.source;
        if (size > most) most = size;
    }
    return most;
}
