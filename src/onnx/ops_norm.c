/* Normalisations: by their node where it covers the case, else written out. */
#include "onnx/loader.h"

#include <math.h>
#include <string.h>

/* Numbers of an input that must be `n` of them; *live where it depends on the data. */
static isovae_status coefficients(iv_onnx_context *c, size_t input, size_t n, const double **out)
{
    const iv_onnx_value *v;
    size_t count;
    IV_TRY(iv_onnx_input(c, input, &v));
    IV_TRY(iv_onnx_numbers(c, v, out, &count));
    if (count == n) return ISOVAE_OK;
    return IV_ONNX_FAIL(c, "its input %zu has %zu elements, not %zu", input, count, n);
}

/* y = a x + b along axis 1; NULL: 1 and 0 */
static isovae_status affine(iv_onnx_context *c, const iv_onnx_value *x, const double *a,
                            const double *b, iv_onnx_value *out)
{
    const double *both[] = {a, b};
    iv_onnx_value now = *x;
    for (size_t s = 0; s < 2; s++) {
        iv_onnx_value constant, next;
        double *f;
        if (both[s] == NULL) continue;
        iv_onnx_dims dims = iv_onnx_dims_of(x->dims.rank - 1, x->dims.dim + 1);
        for (size_t i = 1; i < dims.rank; i++) dims.dim[i] = 1;
        IV_TRY(iv_onnx_new_float(c, &dims, true, &constant, &f));
        memcpy(f, both[s], dims.dim[0] * sizeof *f);
        IV_TRY(iv_onnx_binary(c, s == 0 ? IV_ONNX_MUL : IV_ONNX_ADD, &now, &constant, &next));
        now = next;
    }
    *out = now;
    return ISOVAE_OK;
}

/* A batch of channels that the nodes take: whole rows (C, ..). */
static bool is_plain(const iv_onnx_value *x)
{
    return x->live && x->dims.batch == 0 && x->dims.dim[0] == 1 && x->dims.rank >= 2;
}

isovae_status iv_onnx_read_batch_norm(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *x;
    const double *p[4]; /* scale, bias, mean, variance */
    double eps;
    int64_t training;
    IV_TRY(iv_onnx_input(c, 0, &x));
    IV_TRY(iv_onnx_get_float(c, "epsilon", 1e-5, &eps));
    IV_TRY(iv_onnx_get_int(c, "training_mode", 0, &training));
    if (training != 0) {
        return IV_ONNX_REFUSE(c, "it was exported in training form (statistics of the batch); call "
                                 "eval() before the export");
    }
    if (x->dims.rank < 2 || x->dims.batch == 1) {
        return IV_ONNX_REFUSE(c, "its input must have channels on axis 1");
    }
    size_t channels = x->dims.dim[1];
    for (size_t i = 0; i < 4; i++) IV_TRY(coefficients(c, i + 1, channels, &p[i]));
    for (size_t i = 0; i < channels; i++) {
        if (!(p[3][i] >= 0)) return IV_ONNX_FAIL(c, "a variance of it is negative, or no number");
    }
    if (is_plain(x) && eps > 0) {
        size_t value;
        iv_onnx_emission e = {.kind = "batch_norm", .n_inputs = 1, .n_outputs = 1};
        e.attributes.eps = eps;
        IV_TRY(iv_onnx_as_is(c, x, &e.inputs[0]));
        for (size_t i = 0; i < 4; i++) {
            e.params[i].shape = (iv_shape){1, {channels}};
            e.params[i].data = p[i];
        }
        IV_TRY(iv_onnx_emit(c, &e, &value));
        node->out[0] = iv_onnx_made(value, IV_ONNX_FLOAT, &x->dims);
        return ISOVAE_OK;
    }
    double *a, *b;
    IV_TRY(IV_ONNX_NEW(c, a, channels));
    IV_TRY(IV_ONNX_NEW(c, b, channels));
    for (size_t i = 0; i < channels; i++) {
        a[i] = p[0][i] / sqrt(p[3][i] + eps);
        b[i] = p[1][i] - p[2][i] * a[i];
    }
    return affine(c, x, a, b, &node->out[0]);
}

/* (x - mean) / sqrt(variance + eps) over some axes */
static isovae_status normalise(iv_onnx_context *c, const iv_onnx_value *x, const bool *axes,
                               double eps, iv_onnx_value *out)
{
    iv_onnx_value mean, apart, square, number, sum, root;
    IV_TRY(iv_onnx_reduce(c, IV_ONNX_MEAN, x, axes, true, &mean));
    IV_TRY(iv_onnx_binary(c, IV_ONNX_SUB, x, &mean, &apart));
    IV_TRY(iv_onnx_binary(c, IV_ONNX_MUL, &apart, &apart, &square));
    IV_TRY(iv_onnx_reduce(c, IV_ONNX_MEAN, &square, axes, true, &mean));
    IV_TRY(iv_onnx_number(c, eps, &number));
    IV_TRY(iv_onnx_binary(c, IV_ONNX_ADD, &mean, &number, &sum));
    IV_TRY(iv_onnx_number(c, 0.5, &number));
    IV_TRY(iv_onnx_binary(c, IV_ONNX_POW, &sum, &number, &root));
    return iv_onnx_binary(c, IV_ONNX_DIV, &apart, &root, out);
}

static isovae_status by_groups(iv_onnx_context *c, const iv_onnx_value *x, size_t groups,
                               double eps, const double *scale, const double *bias,
                               iv_onnx_value *out)
{
    size_t channels = x->dims.dim[1], value;
    if (is_plain(x) && eps > 0) {
        iv_onnx_emission e = {.kind = "group_norm", .n_inputs = 1, .n_outputs = 1};
        e.attributes.eps = eps;
        e.attributes.conv.groups = groups;
        IV_TRY(iv_onnx_as_is(c, x, &e.inputs[0]));
        e.params[0].shape = e.params[1].shape = (iv_shape){1, {channels}};
        e.params[0].data = scale;
        e.params[1].data = bias;
        IV_TRY(iv_onnx_emit(c, &e, &value));
        *out = iv_onnx_made(value, IV_ONNX_FLOAT, &x->dims);
        return ISOVAE_OK;
    }
    if (x->dims.batch != IV_ONNX_NO_BATCH && x->dims.batch > 0) {
        return IV_ONNX_REFUSE(c, "its input must have the batch first");
    }
    iv_onnx_value open = *x, normal;
    bool axes[IV_ONNX_RANK] = {false, false, true, true};
    size_t rest = 1;
    for (size_t i = 2; i < x->dims.rank; i++) rest *= x->dims.dim[i];
    open.dims.rank = 4;
    open.dims.dim[1] = groups;
    open.dims.dim[2] = channels / groups;
    open.dims.dim[3] = rest;
    IV_TRY(normalise(c, &open, axes, eps, &normal));
    normal.dims = x->dims;
    return affine(c, &normal, scale, bias, out);
}

isovae_status iv_onnx_read_instance_norm(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *x;
    const double *scale, *bias;
    double eps;
    IV_TRY(iv_onnx_input(c, 0, &x));
    IV_TRY(iv_onnx_get_float(c, "epsilon", 1e-5, &eps));
    if (x->dims.rank < 2 || x->dims.dim[1] == 0) return IV_ONNX_FAIL(c, "it has no channels");
    IV_TRY(coefficients(c, 1, x->dims.dim[1], &scale));
    IV_TRY(coefficients(c, 2, x->dims.dim[1], &bias));
    return by_groups(c, x, x->dims.dim[1], eps, scale, bias, &node->out[0]);
}

isovae_status iv_onnx_read_group_norm(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *x;
    const double *p[2];
    int64_t groups;
    double eps;
    IV_TRY(iv_onnx_input(c, 0, &x));
    IV_TRY(iv_onnx_get_float(c, "epsilon", 1e-5, &eps));
    IV_TRY(iv_onnx_get_int(c, "num_groups", 0, &groups));
    size_t channels = x->dims.rank < 2 ? 0 : x->dims.dim[1];
    if (groups < 1 || channels == 0 || channels % (size_t)groups != 0) {
        return IV_ONNX_FAIL(c, "%zu channels cannot be cut into %lld groups", channels,
                            (long long)groups);
    }
    size_t each = channels / (size_t)groups;
    for (size_t i = 0; i < 2; i++) {
        const iv_onnx_value *v;
        IV_TRY(iv_onnx_input(c, i + 1, &v));
        /* up to opset 20 one number for each group, from 21 on for each channel */
        bool by_group = !v->live && v->tensor->n == (size_t)groups && each > 1;
        IV_TRY(coefficients(c, i + 1, by_group ? (size_t)groups : channels, &p[i]));
        if (!by_group) continue;
        double *spread;
        IV_TRY(IV_ONNX_NEW(c, spread, channels));
        for (size_t k = 0; k < channels; k++) spread[k] = p[i][k / each];
        p[i] = spread;
    }
    return by_groups(c, x, (size_t)groups, eps, p[0], p[1], &node->out[0]);
}

isovae_status iv_onnx_read_layer_norm(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *x, *scale, *bias = iv_onnx_optional(c, 2);
    int64_t given;
    size_t axis;
    double eps;
    bool axes[IV_ONNX_RANK] = {false};
    IV_TRY(iv_onnx_input(c, 0, &x));
    IV_TRY(iv_onnx_input(c, 1, &scale));
    IV_TRY(iv_onnx_get_int(c, "axis", -1, &given));
    IV_TRY(iv_onnx_get_float(c, "epsilon", 1e-5, &eps));
    IV_TRY(iv_onnx_axis(c, given, x->dims.rank, &axis));
    for (size_t i = axis; i < x->dims.rank; i++) axes[i] = true;
    bool constant = !scale->live && (bias == NULL || !bias->live);
    if (x->live && constant && x->dims.batch < axis && eps > 0) {
        size_t value, row_axis;
        iv_onnx_emission e = {.kind = "layer_norm", .n_inputs = 1, .n_outputs = 1};
        iv_onnx_dims inner = iv_onnx_dims_of(x->dims.rank - axis, x->dims.dim + axis);
        IV_TRY(iv_onnx_row_axis(c, &x->dims, axis, "normalising over", &row_axis));
        e.attributes.axis = row_axis + 1;
        e.attributes.eps = eps;
        IV_TRY(iv_onnx_row_shape(c, &inner, &e.params[0].shape));
        e.params[1].shape = e.params[0].shape;
        IV_TRY(iv_onnx_spread(c, scale, &inner, &e.params[0].data));
        if (bias != NULL) IV_TRY(iv_onnx_spread(c, bias, &inner, &e.params[1].data));
        IV_TRY(iv_onnx_as_is(c, x, &e.inputs[0]));
        IV_TRY(iv_onnx_emit(c, &e, &value));
        node->out[0] = iv_onnx_made(value, IV_ONNX_FLOAT, &x->dims);
        return ISOVAE_OK;
    }
    iv_onnx_value normal, scaled;
    IV_TRY(normalise(c, x, axes, eps, &normal));
    IV_TRY(iv_onnx_binary(c, IV_ONNX_MUL, &normal, scale, &scaled));
    node->out[0] = scaled;
    if (bias == NULL) return ISOVAE_OK;
    return iv_onnx_binary(c, IV_ONNX_ADD, &scaled, bias, &node->out[0]);
}
