/* Convolutions: by their node in one and two dimensions; in three, or where the batch is merged
 * with another axis, as windows times a matrix. */
#include "onnx/windows.h"

#include <string.h>

typedef struct conv {
    const iv_onnx_value *x;
    const double *weight, *bias; /* bias NULL: none */
    iv_onnx_windows w;
    size_t images; /* in one row: 1, or what is merged with the batch */
    size_t channels, out_channels, groups;
    size_t output_padding[IV_ONNX_SPATIAL];
} conv;

static isovae_status read_inputs(iv_onnx_context *c, bool transposed, iv_onnx_value *live,
                                 conv *out)
{
    const iv_onnx_value *x, *weight, *bias = iv_onnx_optional(c, 2);
    char text_a[IV_ONNX_DIMS_TEXT], text_b[IV_ONNX_DIMS_TEXT];
    int64_t groups;
    size_t n;
    IV_TRY(iv_onnx_input(c, 0, &x));
    IV_TRY(iv_onnx_input(c, 1, &weight));
    IV_TRY(iv_onnx_get_int(c, "group", 1, &groups));
    if (weight->live) return IV_ONNX_REFUSE(c, "its weights depend on the data");
    *live = *x;
    if (!x->live) {
        if (live->dims.rank > 0 && live->dims.batch == IV_ONNX_NO_BATCH && live->dims.dim[0] == 1) {
            live->dims.batch = 0;
            live->dims.before = 1;
        }
        iv_onnx_value constant = *live;
        IV_TRY(iv_onnx_enliven(c, &constant, live));
    }
    out->x = live;
    IV_TRY(iv_onnx_windows_input(c, live, &out->w));
    out->images = live->dims.dim[0];
    out->channels = live->dims.dim[1];
    const size_t *dim = weight->dims.dim;
    bool fits = weight->dims.rank == live->dims.rank && groups > 0 && groups <= INT32_MAX &&
                weight->dims.batch == IV_ONNX_NO_BATCH;
    out->groups = fits ? (size_t)groups : 1;
    if (fits && transposed) {
        fits = dim[0] == out->channels && out->channels % out->groups == 0 &&
               iv_size_mul(dim[1], out->groups, &out->out_channels);
    } else if (fits) {
        out->out_channels = dim[0];
        fits = out->channels % out->groups == 0 && dim[1] == out->channels / out->groups &&
               dim[0] % out->groups == 0;
    }
    if (!fits || out->out_channels == 0 || out->channels == 0) {
        return IV_ONNX_FAIL(c, "its weight %s does not go with %s in %lld groups",
                            iv_onnx_dims_text(&weight->dims, text_a),
                            iv_onnx_dims_text(&live->dims, text_b), (long long)groups);
    }
    for (size_t i = 0; i < out->w.rank; i++) out->w.kernel[i] = dim[i + 2];
    IV_TRY(iv_onnx_numbers(c, weight, &out->weight, &n));
    if (bias != NULL) {
        IV_TRY(iv_onnx_numbers(c, bias, &out->bias, &n));
        if (n != out->out_channels) {
            return IV_ONNX_FAIL(c, "its bias has %zu elements for %zu channels", n,
                                out->out_channels);
        }
    }
    return iv_onnx_windows_read(c, &out->w);
}

static iv_onnx_dims result_dims(const conv *v)
{
    iv_onnx_dims dims = v->x->dims;
    dims.dim[1] = v->out_channels;
    for (size_t i = 0; i < v->w.rank; i++) dims.dim[i + 2] = v->w.out[i];
    return dims;
}

static isovae_status by_node(iv_onnx_context *c, const conv *v, bool transposed, iv_onnx_value *out)
{
    const iv_onnx_windows *w = &v->w;
    size_t skip = 2 - w->rank, value; /* one dimension: a height of 1 */
    iv_shape row = {3, {v->channels, 1, w->in[w->rank - 1]}};
    if (skip == 0) row.dim[1] = w->in[0];
    iv_onnx_emission e = {
        .kind = transposed ? "conv_transpose" : "conv", .n_inputs = 1, .n_outputs = 1};
    iv_conv_attributes *a = &e.attributes.conv;
    *a = (iv_conv_attributes){
        .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}, .groups = v->groups};
    for (size_t i = 0; i < w->rank; i++) {
        a->kernel[i + skip] = w->kernel[i];
        a->stride[i + skip] = w->stride[i];
        a->dilation[i + skip] = w->dilation[i];
        a->pads[i + skip] = w->before[i];
        a->pads[i + skip + 2] = w->after[i];
        a->output_padding[i + skip] = v->output_padding[i];
    }
    IV_TRY(iv_onnx_rows(c, v->x, &row, &e.inputs[0]));
    e.params[0].shape = transposed ? (iv_shape){4, {v->channels, v->out_channels / v->groups}}
                                   : (iv_shape){4, {v->out_channels, v->channels / v->groups}};
    e.params[0].shape.dim[2] = a->kernel[0];
    e.params[0].shape.dim[3] = a->kernel[1];
    e.params[0].data = v->weight;
    e.params[1].shape = (iv_shape){1, {v->out_channels}};
    e.params[1].data = v->bias;
    IV_TRY(iv_onnx_emit(c, &e, &value));
    iv_onnx_dims dims = result_dims(v);
    *out = iv_onnx_made(value, IV_ONNX_FLOAT, &dims);
    return ISOVAE_OK;
}

/* (groups, out, in, taps) of a transposed one, which has (groups, in, out, taps). */
static isovae_status turn(iv_onnx_context *c, const conv *v, size_t taps, const double **weight)
{
    size_t in = v->channels / v->groups, out = v->out_channels / v->groups, n;
    double *turned;
    if (!iv_size_mul(v->channels * out, taps, &n)) return IV_ONNX_REFUSE(c, "it is too large");
    IV_TRY(iv_onnx_work(c, n));
    IV_TRY(IV_ONNX_NEW(c, turned, n));
    for (size_t k = 0; k < n; k++) {
        size_t tap = k % taps, i = k / taps % in, o = k / taps / in % out, g = k / taps / in / out;
        turned[k] = v->weight[((g * in + i) * out + o) * taps + tap];
    }
    *weight = turned;
    return ISOVAE_OK;
}

/* Windows of all taps, (images, groups, in taps, places), by the matrices (groups, out, in taps).
 */
static isovae_status by_windows(iv_onnx_context *c, const conv *v, bool transposed,
                                iv_onnx_value *out)
{
    size_t taps, places, value, in = v->channels / v->groups, each = v->out_channels / v->groups;
    iv_onnx_value windows;
    IV_TRY(iv_onnx_windows_take(c, v->x, &v->w, transposed, 0, &windows, &taps, &places));
    const double *weight = v->weight;
    if (transposed) IV_TRY(turn(c, v, taps, &weight));
    const iv_shape row = {4, {v->images, v->groups, in * taps, places}};
    iv_onnx_emission e = {
        .kind = "matmul", .n_inputs = 1, .n_outputs = 1, .attributes = {.constant_first = 1}};
    IV_TRY(iv_onnx_rows(c, &windows, &row, &e.inputs[0]));
    e.params[0].shape = (iv_shape){3, {v->groups, each, in * taps}};
    e.params[0].data = weight;
    IV_TRY(iv_onnx_emit(c, &e, &value));
    iv_onnx_dims dims = result_dims(v);
    *out = iv_onnx_made(value, IV_ONNX_FLOAT, &dims);
    if (v->bias == NULL) return ISOVAE_OK;
    iv_onnx_value bias, product = *out;
    double *f;
    iv_onnx_dims own = iv_onnx_dims_of(dims.rank - 1, dims.dim + 1);
    for (size_t i = 1; i < own.rank; i++) own.dim[i] = 1;
    IV_TRY(iv_onnx_new_float(c, &own, true, &bias, &f));
    memcpy(f, v->bias, v->out_channels * sizeof *f);
    return iv_onnx_binary(c, IV_ONNX_ADD, &product, &bias, out);
}

static bool has_node(const conv *v)
{
    const iv_onnx_windows *w = &v->w;
    bool small = w->rank <= 2 && v->images == 1;
    for (size_t i = 0; i < w->rank; i++) {
        small = small && w->in[i] <= IV_CONV_LIMIT && w->out[i] <= IV_CONV_LIMIT &&
                w->kernel[i] <= IV_CONV_LIMIT && w->stride[i] <= IV_CONV_LIMIT &&
                w->dilation[i] <= IV_CONV_LIMIT && w->before[i] <= IV_CONV_LIMIT &&
                w->after[i] <= IV_CONV_LIMIT;
        size_t most = w->stride[i] > w->dilation[i] ? w->stride[i] : w->dilation[i];
        small = small && v->output_padding[i] < most;
    }
    return small;
}

isovae_status iv_onnx_read_conv(iv_onnx_context *c, iv_onnx_node *node)
{
    iv_onnx_value live;
    conv v = {0};
    IV_TRY(read_inputs(c, false, &live, &v));
    IV_TRY(iv_onnx_windows_out(c, &v.w, false));
    return has_node(&v) ? by_node(c, &v, false, &node->out[0])
                        : by_windows(c, &v, false, &node->out[0]);
}

/* out = stride (in - 1) + output_padding + span - pads */
isovae_status iv_onnx_read_conv_transpose(iv_onnx_context *c, iv_onnx_node *node)
{
    iv_onnx_value live;
    conv v = {0};
    const int64_t *shape, *more;
    size_t n, n_more;
    IV_TRY(read_inputs(c, true, &live, &v));
    iv_onnx_windows *w = &v.w;
    IV_TRY(iv_onnx_get_ints(c, "output_shape", &shape, &n));
    IV_TRY(iv_onnx_get_ints(c, "output_padding", &more, &n_more));
    if ((n != 0 && n != w->rank) || (n_more != 0 && n_more != w->rank)) {
        return IV_ONNX_FAIL(c,
                            "its output_shape or output_padding has not one entry for each axis");
    }
    for (size_t i = 0; i < w->rank; i++) {
        size_t span = (w->kernel[i] - 1) * w->dilation[i] + 1;
        size_t full = w->stride[i] * (w->in[i] - 1) + span;
        if (n_more != 0) {
            if (more[i] < 0 || more[i] > INT16_MAX) {
                return IV_ONNX_REFUSE(c, "its output_padding is out of range");
            }
            v.output_padding[i] = (size_t)more[i];
        }
        full += v.output_padding[i];
        if (n != 0 || w->same) {
            size_t wanted = n != 0 ? (size_t)shape[i] : w->in[i] * w->stride[i];
            if (n != 0 && (shape[i] <= 0 || shape[i] > INT32_MAX)) {
                return IV_ONNX_FAIL(c, "its output_shape is out of range");
            }
            if (wanted > full) {
                v.output_padding[i] += wanted - full;
                full = wanted;
            }
            size_t total = full - wanted;
            w->before[i] = w->upper ? total / 2 : total - total / 2;
            w->after[i] = total - w->before[i];
        }
        if (full <= w->before[i] + w->after[i]) {
            return IV_ONNX_FAIL(c, "its pads take everything away");
        }
        w->out[i] = full - w->before[i] - w->after[i];
    }
    return has_node(&v) ? by_node(c, &v, true, &node->out[0])
                        : by_windows(c, &v, true, &node->out[0]);
}
