/* The left operand of convolutions (conv_phase.h): images whose windows are rows of a matrix.
 *
 * In channels last, the taps of one row of a window lie together, so a window is as many runs of
 * the image as the kernel has rows, and products read those where they lie (iv_product: a_rows and
 * pieces). Only the zeros around the image must be there: a copy with a frame costs the image once,
 * where columns would cost it taps / stride^2 times. */
#include "graph/conv_phase.h"

/* The taps of one row of a window lie together. */
static bool lies_in_runs(const iv_gather *g)
{
    return g->x.taps <= 1 || (g->x.spacing == 1 && g->channels == g->pixel);
}

/* Takes what an axis of windows reads into [*least, *end). */
static void widen(const iv_window *w, ptrdiff_t *least, ptrdiff_t *end)
{
    if (w->windows == 0 || w->taps == 0) return;
    ptrdiff_t last =
        w->start + (ptrdiff_t)(w->windows - 1) * w->step + (ptrdiff_t)(w->taps - 1) * w->spacing;
    if (w->start < *least) *least = w->start;
    if (last + 1 > *end) *end = last + 1;
}

iv_source iv_conv_source(const iv_conv *conv, bool up, bool thin)
{
    const size_t *side = up ? conv->small : conv->big;
    iv_source s = {.side = {side[0], side[1]},
                   .channels = up ? conv->small_channels : conv->big_channels,
                   .in_place = !thin};
    ptrdiff_t end[2] = {(ptrdiff_t)side[0], (ptrdiff_t)side[1]};
    for (size_t i = 0; i < iv_conv_phases(conv, up); i++) {
        iv_phase phase;
        iv_conv_phase(conv, up, i, &phase);
        s.in_place = s.in_place && lies_in_runs(&phase.gather);
        widen(&phase.gather.y, &s.origin[0], &end[0]);
        widen(&phase.gather.x, &s.origin[1], &end[1]);
    }
    for (size_t i = 0; i < 2; i++) s.frame[i] = (size_t)(end[i] - s.origin[i]);
    s.image = s.channels * s.frame[0] * s.frame[1];
    if (s.image > UINT32_MAX / 2) s.in_place = false; /* places are kept in 32 bits */
    if (!s.in_place) {
        for (size_t i = 0; i < 2; i++) s.frame[i] = side[i], s.origin[i] = 0;
        s.image = s.channels * side[0] * side[1];
    }
    return s;
}

static bool is_framed(const iv_source *s)
{
    return s->frame[0] != s->side[0] || s->frame[1] != s->side[1];
}

static size_t turned_size(const iv_source *s, size_t images)
{
    return (images * s->channels * s->side[0] * s->side[1] + 15) / 16 * 16;
}

size_t iv_conv_source_work(const iv_source *s, size_t images)
{
    return turned_size(s, images) +
           (is_framed(s) ? (images * s->image + IV_GATHER_SLACK + 15) / 16 * 16 : 0);
}

const void *iv_conv_load(const iv_kernels *k, const iv_source *s, size_t images, const void *from,
                         bool last, void *work)
{
    if (!last) {
        iv_shape shape = {3, {s->channels, s->side[0], s->side[1]}};
        iv_layout_to_last(k, &shape, images, from, work, false);
        from = work;
    }
    if (!is_framed(s)) return from;
    void *framed = iv_at(k, work, turned_size(s, images));
    iv_gather rows = {.y = {.extent = s->side[0],
                            .windows = s->frame[0],
                            .start = s->origin[0],
                            .step = 1,
                            .taps = 1,
                            .spacing = 1},
                      .x = {.extent = s->side[1],
                            .windows = 1,
                            .start = s->origin[1],
                            .step = 1,
                            .taps = s->frame[1],
                            .spacing = 1},
                      .channels = s->channels,
                      .pixel = s->channels,
                      .ld = s->frame[1] * s->channels};
    size_t size = s->channels * s->side[0] * s->side[1];
    for (size_t i = 0; i < images; i++)
        k->gather(&rows, 0, s->frame[0], iv_at(k, from, i * size), iv_at(k, framed, i * s->image));
    return framed;
}

void iv_conv_starts(const iv_source *s, const iv_phase *phase, size_t first, size_t count,
                    uint32_t *starts)
{
    const iv_window *y = &phase->gather.y, *x = &phase->gather.x;
    size_t image = first / phase->pixels, window = first % phase->pixels;
    size_t ty = window / x->windows, tx = window % x->windows;
    for (size_t r = 0; r < count; r++) {
        ptrdiff_t py = y->start + (ptrdiff_t)ty * y->step - s->origin[0];
        ptrdiff_t px = x->start + (ptrdiff_t)tx * x->step - s->origin[1];
        size_t pixel = y->taps * x->taps == 0 ? 0 : (size_t)py * s->frame[1] + (size_t)px;
        starts[r] = (uint32_t)(image * s->image + pixel * s->channels);
        if (++tx < x->windows) continue;
        tx = 0;
        if (++ty < y->windows) continue;
        ty = 0;
        image++;
    }
}

size_t iv_conv_run_step(const iv_source *s, const iv_phase *phase)
{
    return (size_t)phase->gather.y.spacing * s->frame[1] * s->channels;
}

void iv_conv_columns(const iv_kernels *k, const iv_source *s, const iv_phase *phase, size_t first,
                     size_t count, const void *images, void *columns)
{
    size_t pixels = phase->pixels;
    for (size_t done = 0; done < count;) {
        size_t image = (first + done) / pixels, window = (first + done) % pixels;
        size_t n = pixels - window < count - done ? pixels - window : count - done;
        k->gather(&phase->gather, window, n, iv_at(k, images, image * s->image),
                  iv_at(k, columns, done * phase->gather.ld));
        done += n;
    }
}
