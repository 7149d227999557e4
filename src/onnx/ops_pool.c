/* Pools: by their node in one and two dimensions, else as windows with a sum over the taps. */
#include "onnx/windows.h"

#include <float.h>
#include <string.h>

/* The padding behind the last window, as the node wants it; false where the node cannot. */
static bool has_node(const iv_onnx_windows *w, size_t images, bool average, bool count_padding,
                     size_t after[IV_ONNX_SPATIAL])
{
    bool good = w->rank <= 2 && images == 1;
    for (size_t i = 0; i < w->rank; i++) {
        size_t reach = (w->out[i] - 1) * w->stride[i] + w->kernel[i];
        size_t whole = w->in[i] + w->before[i];
        after[i] = reach > whole ? reach - whole : 0;
        if (after[i] < w->after[i] && reach + w->stride[i] > whole + w->after[i]) {
            after[i] = w->after[i];
        }
        good = good && w->dilation[i] == 1 && w->before[i] < w->kernel[i] &&
               after[i] < w->kernel[i] && w->in[i] <= IV_CONV_LIMIT &&
               w->kernel[i] <= IV_CONV_LIMIT && w->stride[i] <= IV_CONV_LIMIT &&
               !(average && count_padding && after[i] > w->after[i]);
    }
    return good;
}

static isovae_status by_node(iv_onnx_context *c, const iv_onnx_value *v, const iv_onnx_windows *w,
                             const size_t *after, bool average, bool count_padding, size_t *value)
{
    size_t skip = 2 - w->rank;
    iv_shape row = {3, {v->dims.dim[1], 1, w->in[w->rank - 1]}};
    if (skip == 0) row.dim[1] = w->in[0];
    iv_onnx_emission e = {.kind = average ? "average_pool" : "max_pool",
                          .n_inputs = 1,
                          .n_outputs = 1,
                          .attributes = {.count_include_pad = average && count_padding}};
    iv_conv_attributes *a = &e.attributes.conv;
    a->kernel[0] = a->stride[0] = 1;
    for (size_t i = 0; i < w->rank; i++) {
        a->kernel[i + skip] = w->kernel[i];
        a->stride[i + skip] = w->stride[i];
        a->pads[i + skip] = w->before[i];
        a->pads[i + skip + 2] = after[i];
    }
    IV_TRY(iv_onnx_rows(c, v, &row, &e.inputs[0]));
    return iv_onnx_emit(c, &e, value);
}

/* 1 / the number of elements in each window. */
static isovae_status shares(iv_onnx_context *c, const iv_onnx_windows *w, bool count_padding,
                            size_t places, const double **out)
{
    double *f;
    IV_TRY(iv_onnx_work(c, places));
    IV_TRY(IV_ONNX_NEW(c, f, places));
    for (size_t k = 0; k < places; k++) {
        size_t place = k;
        double count = 1;
        for (size_t i = w->rank; i-- > 0;) {
            int64_t at = (int64_t)(place % w->out[i] * w->stride[i]) - (int64_t)w->before[i];
            int64_t low = count_padding ? -(int64_t)w->before[i] : 0;
            int64_t high = (int64_t)w->in[i] + (count_padding ? (int64_t)w->after[i] : 0), n = 0;
            for (size_t t = 0; t < w->kernel[i]; t++, at += (int64_t)w->dilation[i]) {
                n += at >= low && at < high;
            }
            count *= (double)n;
            place /= w->out[i];
        }
        f[k] = count > 0 ? 1 / count : 0;
    }
    *out = f;
    return ISOVAE_OK;
}

isovae_status iv_onnx_read_pool(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *in;
    iv_onnx_value v, windows;
    iv_onnx_windows w;
    const int64_t *kernel;
    int64_t ceil, count_padding;
    size_t n, value, taps, places, after[IV_ONNX_SPATIAL];
    bool average = strcmp(node->proto->op_type, "AveragePool") == 0;
    IV_TRY(iv_onnx_input(c, 0, &in));
    IV_TRY(iv_onnx_enliven(c, in, &v));
    IV_TRY(iv_onnx_windows_input(c, &v, &w));
    IV_TRY(iv_onnx_get_int(c, "ceil_mode", 0, &ceil));
    IV_TRY(iv_onnx_get_int(c, "count_include_pad", 0, &count_padding));
    IV_TRY(iv_onnx_get_ints(c, "kernel_shape", &kernel, &n));
    if (n != w.rank)
        return IV_ONNX_FAIL(c, "its kernel_shape has %zu entries for %zu axes", n, w.rank);
    for (size_t i = 0; i < n; i++) w.kernel[i] = kernel[i] > 0 ? (size_t)kernel[i] : 0;
    IV_TRY(iv_onnx_windows_read(c, &w));
    IV_TRY(iv_onnx_windows_out(c, &w, ceil != 0));
    iv_onnx_dims dims = v.dims;
    for (size_t i = 0; i < w.rank; i++) dims.dim[i + 2] = w.out[i];
    if (has_node(&w, v.dims.dim[0], average, count_padding != 0, after)) {
        IV_TRY(by_node(c, &v, &w, after, average, count_padding != 0, &value));
        node->out[0] = iv_onnx_made(value, IV_ONNX_FLOAT, &dims);
        return ISOVAE_OK;
    }
    IV_TRY(iv_onnx_windows_take(c, &v, &w, false, average ? 0 : -(double)FLT_MAX, &windows, &taps,
                                &places));
    const iv_shape row = {3, {v.dims.dim[0] * v.dims.dim[1], taps, places}};
    iv_onnx_emission sum = {.kind = "reduce", .n_inputs = 1, .n_outputs = 1};
    sum.attributes.reduction = average ? IV_REDUCE_SUM : IV_REDUCE_MAX;
    sum.attributes.n_sizes = 1;
    sum.attributes.sizes[0] = 2;
    IV_TRY(iv_onnx_rows(c, &windows, &row, &sum.inputs[0]));
    IV_TRY(iv_onnx_emit(c, &sum, &value));
    if (average) {
        iv_onnx_emission share = {
            .kind = "multiply", .n_inputs = 1, .n_outputs = 1, .inputs = {value}};
        IV_TRY(shares(c, &w, count_padding != 0, places, &share.params[0].data));
        share.params[0].shape = (iv_shape){1, {places}};
        IV_TRY(iv_onnx_emit(c, &share, &value));
    }
    node->out[0] = iv_onnx_made(value, IV_ONNX_FLOAT, &dims);
    return ISOVAE_OK;
}

isovae_status iv_onnx_read_global_pool(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v;
    bool gone[IV_ONNX_RANK] = {false};
    bool average = strcmp(node->proto->op_type, "GlobalAveragePool") == 0;
    IV_TRY(iv_onnx_input(c, 0, &v));
    if (v->dims.rank < 2) return IV_ONNX_FAIL(c, "its input has no channels");
    for (size_t i = 2; i < v->dims.rank; i++) gone[i] = true;
    return iv_onnx_reduce(c, average ? IV_ONNX_MEAN : IV_ONNX_REDUCE_MAX, v, gone, true,
                          &node->out[0]);
}
