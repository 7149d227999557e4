/* Convolutions and transposed convolutions as products (conv.h): one pass over a run of images. */
#include "graph/conv_phase.h"

/* Where the columns, two tiles of results and the source lie in `work`. */
typedef struct work_plan {
    iv_source source;
    size_t rows; /* of a tile; less where columns are wide */
    size_t images;
    size_t columns, tile; /* elements */
} work_plan;

static work_plan plan_work(const iv_conv *conv, bool up)
{
    iv_phase phase;
    iv_conv_phase(conv, up, 0, &phase);
    work_plan w = {.source = iv_conv_source(conv, up, phase.n <= IV_PRODUCT_THIN),
                   .rows = IV_CONV_TILE};
    size_t pixels = 1, widest = 0, columns = 0;
    for (size_t i = 0; i < iv_conv_phases(conv, up); i++) {
        iv_conv_phase(conv, up, i, &phase);
        size_t rows = iv_conv_tile_rows(phase.gather.ld, phase.n);
        if (rows < w.rows && !w.source.in_place) w.rows = rows;
        if (phase.pixels > pixels) pixels = phase.pixels;
        if (phase.n > widest) widest = phase.n;
        if (phase.gather.ld > columns) columns = phase.gather.ld;
    }
    if (!w.source.in_place) w.columns = w.rows * columns + IV_GATHER_SLACK;
    w.tile = (w.rows * widest + 15) / 16 * 16;
    w.images = iv_conv_group(w.rows, pixels, w.source.image);
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

/* The product writes pixels where they belong: whole runs of channels, one window a pixel. */
static bool is_direct(const iv_conv_run *run, const iv_phase *phase, size_t elements)
{
    if (!run->to_last || phase->axis[0].width * phase->axis[1].width != 1) return false;
    if (phase->axis[0].step == 1 && phase->axis[1].step == 1) return true;
    return phase->n > IV_PRODUCT_THIN && elements <= UINT32_MAX; /* by pixel_rows */
}

/* Where the pixels of windows first .. first + count - 1 of a run of images lie in the output. */
static void pixel_rows(const tile_place *t, size_t first, size_t count, uint32_t *rows)
{
    const iv_phase_axis *ay = &t->phase->axis[0], *ax = &t->phase->axis[1];
    size_t windows = t->phase->gather.x.windows;
    size_t image = first / t->phase->pixels, window = first % t->phase->pixels;
    for (size_t r = 0; r < count; r++) {
        size_t y = (size_t)ay->first + window / windows * ay->step;
        size_t x = (size_t)ax->first + window % windows * ax->step;
        rows[r] = (uint32_t)(((image * t->height + y) * t->width + x) * t->channels);
        if (++window == t->phase->pixels) {
            window = 0;
            image++;
        }
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
    const void *source; /* as iv_conv_load left it */
} group;

/* One tile of windows of a phase: its left operand. */
static void set_windows(const iv_kernels *k, const iv_conv_run *run, const work_plan *w,
                        const iv_phase *phase, const void *source, size_t first, size_t count,
                        uint32_t *starts, iv_product *p)
{
    if (!w->source.in_place) {
        iv_conv_columns(k, &w->source, phase, first, count, source, run->work);
        p->a = run->work;
        p->lda = phase->gather.ld;
        return;
    }
    iv_conv_starts(&w->source, phase, first, count, starts);
    p->a = source;
    p->a_rows = starts;
    p->pieces = phase->k > 0 ? phase->gather.y.taps : 0;
    p->piece_step = iv_conv_run_step(&w->source, phase);
}

static void apply_phase(const iv_kernels *k, const iv_conv_run *run, const work_plan *w,
                        const iv_phase *phase, size_t part, const void *packed, const group *images)
{
    const iv_conv *conv = run->conv;
    const size_t *to = run->up ? conv->big : conv->small;
    tile_place t = {.phase = phase,
                    .height = to[0],
                    .width = to[1],
                    .channels = run->up ? conv->big_channels : conv->small_channels,
                    .offset = part * phase->channels};
    size_t to_size = t.height * t.width * t.channels;
    bool direct = is_direct(run, phase, images->count * to_size),
         whole = phase->axis[0].step * phase->axis[1].step == 1;
    const void *source = iv_at(k, images->source, part * phase->gather.channels);
    void *tile = iv_at(k, run->work, w->columns);
    /* Merged phases have the bias of each column beside the packed weights. */
    bool merged = iv_conv_merged(conv, run->up);
    const void *bias = run->bias == NULL ? NULL
                       : merged          ? run->packed
                                         : iv_at(k, run->bias, part * phase->channels);
    size_t total = images->count * phase->pixels, tiles = (total + w->rows - 1) / w->rows;
    uint32_t starts[IV_CONV_TILE], pixels[IV_CONV_TILE];
    for (size_t i = 0; i < tiles; i++) {
        size_t first = total * i / tiles, count = total * (i + 1) / tiles - first;
        iv_product p = {.m = count,
                        .n = phase->n,
                        .k = phase->k,
                        .ldb = phase->n,
                        .packed = packed,
                        .c = tile,
                        .ldc = phase->n,
                        .bias = bias};
        set_windows(k, run, w, phase, source, first, count, starts, &p);
        if (direct) {
            size_t at = images->first * to_size + t.offset;
            if (whole) {
                at += first * t.channels;
            } else {
                pixel_rows(&t, first, count, pixels);
                p.c_rows = pixels;
            }
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
    size_t channels = run->up ? conv->small_channels : conv->big_channels;
    work_plan w = plan_work(conv, run->up);
    void *room = iv_at(k, run->work, w.columns + 2 * w.tile);
    for (size_t first = 0; first < run->images; first += w.images) {
        group images = {.first = first, .count = run->images - first};
        if (images.count > w.images) images.count = w.images;
        images.source = iv_conv_load(k, &w.source, images.count,
                                     iv_at(k, run->from, first * from[0] * from[1] * channels),
                                     run->from_last, room);
        size_t at = iv_conv_packed_start(conv, run->up);
        for (size_t i = 0; i < iv_conv_phases(conv, run->up); i++) {
            iv_phase phase;
            iv_conv_phase(conv, run->up, i, &phase);
            for (size_t part = 0; part < conv->parts; part++) {
                if (phase.pixels > 0)
                    apply_phase(k, run, &w, &phase, part, iv_at(k, run->packed, at), &images);
                at += iv_conv_packed(k, &phase);
            }
        }
    }
}

size_t iv_conv_work_size(const iv_conv *conv)
{
    size_t most = iv_conv_weight_work(conv);
    for (size_t up = 0; up < 2; up++) {
        work_plan w = plan_work(conv, up == 1);
        size_t size = w.columns + 2 * w.tile + iv_conv_source_work(&w.source, w.images);
        if (size > most) most = size;
    }
    return most;
}
