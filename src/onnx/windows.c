#include "onnx/windows.h"

#include <string.h>

enum { LIMIT = 1 << 24 }; /* of each number of a window */

static isovae_status numbers(iv_onnx_context *c, const char *name, size_t n, int64_t least,
                             size_t otherwise, size_t *out)
{
    const int64_t *given;
    size_t count;
    IV_TRY(iv_onnx_get_ints(c, name, &given, &count));
    if (count != 0 && count != n) return IV_ONNX_FAIL(c, "its %s are %zu, not %zu", name, count, n);
    for (size_t i = 0; i < n; i++) {
        if (count != 0 && (given[i] < least || given[i] > LIMIT)) {
            return IV_ONNX_REFUSE(c, "its %s has the entry %lld, which is out of range", name,
                                  (long long)given[i]);
        }
        out[i] = count == 0 ? otherwise : (size_t)given[i];
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_windows_input(iv_onnx_context *c, const iv_onnx_value *v, iv_onnx_windows *w)
{
    char text[IV_ONNX_DIMS_TEXT];
    if (v->dims.rank < 3 || v->dims.rank > IV_ONNX_SPATIAL + 2 || v->dims.batch != 0 ||
        v->dims.before != 1) {
        return IV_ONNX_REFUSE(c,
                              "its input must be a batch of channels with one to three spatial "
                              "axes, the batch first, not %s",
                              iv_onnx_dims_text(&v->dims, text));
    }
    *w = (iv_onnx_windows){.rank = v->dims.rank - 2};
    for (size_t i = 0; i < w->rank; i++) {
        w->in[i] = v->dims.dim[i + 2];
        if (w->in[i] == 0 || w->in[i] > LIMIT) return IV_ONNX_REFUSE(c, "its input is too large");
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_windows_read(iv_onnx_context *c, iv_onnx_windows *w)
{
    size_t pads[2 * IV_ONNX_SPATIAL];
    char *how;
    for (size_t i = 0; i < w->rank; i++) {
        if (w->kernel[i] == 0 || w->kernel[i] > LIMIT)
            return IV_ONNX_FAIL(c, "its kernel is empty");
    }
    IV_TRY(numbers(c, "strides", w->rank, 1, 1, w->stride));
    IV_TRY(numbers(c, "dilations", w->rank, 1, 1, w->dilation));
    IV_TRY(numbers(c, "pads", 2 * w->rank, 0, 0, pads));
    IV_TRY(iv_onnx_get_string(c, "auto_pad", &how));
    w->upper = how != NULL && strcmp(how, "SAME_UPPER") == 0;
    w->same = w->upper || (how != NULL && strcmp(how, "SAME_LOWER") == 0);
    for (size_t i = 0; i < w->rank; i++) {
        w->before[i] = pads[i];
        w->after[i] = pads[w->rank + i];
        if (!w->same) continue;
        size_t out = (w->in[i] + w->stride[i] - 1) / w->stride[i];
        size_t span = (out - 1) * w->stride[i] + (w->kernel[i] - 1) * w->dilation[i] + 1;
        size_t total = span > w->in[i] ? span - w->in[i] : 0;
        w->before[i] = w->upper ? total / 2 : total - total / 2;
        w->after[i] = total - w->before[i];
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_windows_out(iv_onnx_context *c, iv_onnx_windows *w, bool ceil)
{
    for (size_t i = 0; i < w->rank; i++) {
        size_t span = (w->kernel[i] - 1) * w->dilation[i] + 1;
        size_t whole = w->in[i] + w->before[i] + w->after[i];
        if (whole < span) {
            return IV_ONNX_FAIL(c, "a kernel that spans %zu does not fit into %zu with its padding",
                                span, w->in[i]);
        }
        size_t room = whole - span;
        w->out[i] = room / w->stride[i] + 1;
        if (ceil && room % w->stride[i] != 0 &&
            w->out[i] * w->stride[i] < w->in[i] + w->before[i]) {
            w->out[i]++; /* one more that begins within the image */
        }
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_windows_map(iv_onnx_context *c, const iv_onnx_windows *w, bool transposed,
                                  int64_t **map, size_t *taps, size_t *places)
{
    size_t total;
    *taps = *places = 1;
    for (size_t i = 0; i < w->rank; i++) {
        if (!iv_size_mul(*taps, w->kernel[i], taps) || !iv_size_mul(*places, w->out[i], places)) {
            return IV_ONNX_REFUSE(c, "its windows are too many");
        }
    }
    if (!iv_size_mul(*taps, *places, &total)) return IV_ONNX_REFUSE(c, "its windows are too many");
    IV_TRY(iv_onnx_work(c, total));
    IV_TRY(IV_ONNX_NEW(c, *map, total));
    for (size_t k = 0; k < total; k++) {
        size_t tap = k / *places, place = k % *places, t[IV_ONNX_SPATIAL], p[IV_ONNX_SPATIAL];
        int64_t source = 0;
        for (size_t i = w->rank; i-- > 0;) {
            t[i] = tap % w->kernel[i];
            tap /= w->kernel[i];
            p[i] = place % w->out[i];
            place /= w->out[i];
        }
        for (size_t i = 0; i < w->rank && source >= 0; i++) {
            int64_t at, step = (int64_t)w->stride[i], offset = (int64_t)(t[i] * w->dilation[i]);
            bool inside = true;
            if (transposed) { /* stride s + offset - before = p */
                at = (int64_t)p[i] + (int64_t)w->before[i] - offset;
                inside = at >= 0 && at % step == 0;
                at /= step;
            } else {
                at = (int64_t)p[i] * step + offset - (int64_t)w->before[i];
            }
            inside = inside && at >= 0 && at < (int64_t)w->in[i];
            source = inside ? source * (int64_t)w->in[i] + at : -1;
        }
        (*map)[k] = source;
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_windows_take(iv_onnx_context *c, const iv_onnx_value *v,
                                   const iv_onnx_windows *w, bool transposed, double fill,
                                   iv_onnx_value *out, size_t *taps, size_t *places)
{
    int64_t *map;
    IV_TRY(iv_onnx_windows_map(c, w, transposed, &map, taps, places));
    /* [B T C, pixels], picked along the pixels */
    iv_onnx_value flat = *v;
    size_t pixels = 1;
    for (size_t i = 0; i < w->rank; i++) pixels *= w->in[i];
    flat.dims.rank = 2;
    flat.dims.dim[0] = v->dims.dim[0] * v->dims.dim[1];
    flat.dims.dim[1] = pixels;
    const size_t extents[] = {flat.dims.dim[0], *taps * *places};
    const int64_t *maps[] = {NULL, map};
    return iv_onnx_pick_axes(c, &flat, extents, maps, fill, out);
}
