/* Resize and Upsample: whole factors by their node; nearest as a pick along each axis; linear and
 * cubic as a constant matrix along each axis. */
#include "onnx/loader.h"

#include <math.h>
#include <string.h>

typedef struct resizing {
    const char *mode, *where, *nearest; /* coordinate_transformation_mode, nearest_mode */
    double cubic;
    bool exclude_outside;
} resizing;

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* Place in the input of element x of the output. In float, as runtimes compute it: at halves the
 * rounding decides which is nearest. */
static float source(const resizing *r, size_t x, float scale, size_t in, size_t out)
{
    float at = (float)x;
    if (is(r->where, "align_corners")) {
        return out == 1 ? 0 : at * (float)(in - 1) / (float)(out - 1);
    }
    if (is(r->where, "asymmetric")) return at / scale;
    if (is(r->where, "tf_half_pixel_for_nn")) return (at + 0.5F) / scale;
    if (is(r->where, "pytorch_half_pixel") && out == 1) return 0;
    if (is(r->where, "half_pixel_symmetric")) {
        float adjustment = (float)out / (scale * (float)in), center = (float)in / 2;
        return center * (1 - adjustment) + (at + 0.5F) / scale - 0.5F;
    }
    return (at + 0.5F) / scale - 0.5F;
}

static int64_t clamp(double at, size_t extent)
{
    return !(at > 0) ? 0 : at > (double)(extent - 1) ? (int64_t)extent - 1 : (int64_t)at;
}

static int64_t nearest(const resizing *r, float at, size_t in, float scale)
{
    double x = (double)at;
    if (is(r->nearest, "simple")) return clamp(scale < 1 ? ceil(x) : floor(x), in);
    if (is(r->nearest, "floor")) return clamp(floor(x), in);
    if (is(r->nearest, "ceil")) return clamp(ceil(x), in);
    if (is(r->nearest, "round_prefer_ceil")) return clamp(floor(x + 0.5), in);
    return clamp(ceil(x - 0.5), in);
}

/* Weights of the taps around `at`, edges repeated, added into a row of (in). */
static void weigh(const resizing *r, float at, size_t in, double *row)
{
    double x = (double)at, base = floor(x), t = x - base, w[4], sum = 0;
    int first = 0, n = 2;
    if (is(r->mode, "linear")) {
        if (x <= 0 || x >= (double)(in - 1)) { /* clamped before, and not after, weighing */
            row[clamp(x, in)] += 1;
            return;
        }
        w[0] = 1 - t;
        w[1] = t;
    } else {
        double a = r->cubic, d;
        first = -1;
        n = 4;
        for (int i = 0; i < 4; i++) {
            d = fabs(t + 1 - (double)i);
            w[i] = d <= 1  ? ((a + 2) * d - (a + 3)) * d * d + 1
                   : d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
                           : 0;
            double place = base + (double)(first + i);
            if (r->exclude_outside && (place < 0 || place > (double)(in - 1))) w[i] = 0;
            sum += w[i];
        }
        for (int i = 0; r->exclude_outside && sum != 0 && i < 4; i++) w[i] /= sum;
    }
    for (int i = 0; i < n; i++) row[clamp(base + (double)(first + i), in)] += w[i];
}

/* Axis i through a matrix (out, in): rows (before, in, behind). */
static isovae_status through(iv_onnx_context *c, const iv_onnx_value *v, size_t axis,
                             const resizing *r, size_t out_extent, float scale, iv_onnx_value *out)
{
    size_t in = v->dims.dim[axis], n, rank = v->dims.rank;
    double *f;
    iv_onnx_value matrix, flat = *v, product;
    const size_t shape[] = {out_extent, in};
    iv_onnx_dims dims = iv_onnx_dims_of(2, shape);
    if (v->dims.batch != IV_ONNX_NO_BATCH && v->dims.batch >= axis) {
        return IV_ONNX_REFUSE(c, "it resizes an axis before that of the batch");
    }
    IV_TRY(iv_onnx_count(c, &dims, &n));
    IV_TRY(iv_onnx_work(c, n));
    IV_TRY(iv_onnx_new_float(c, &dims, true, &matrix, &f));
    for (size_t k = 0; k < out_extent; k++) {
        weigh(r, source(r, k, scale, in, out_extent), in, f + k * in);
    }
    flat.dims.rank = 3;
    flat.dims.dim[0] = flat.dims.dim[2] = 1;
    flat.dims.dim[1] = in;
    for (size_t i = 0; i < rank; i++) {
        if (i != axis) flat.dims.dim[i < axis ? 0 : 2] *= v->dims.dim[i];
    }
    if (v->dims.batch != IV_ONNX_NO_BATCH) {
        size_t before = v->dims.before;
        for (size_t i = 0; i < v->dims.batch; i++) before *= v->dims.dim[i];
        flat.dims.batch = 0;
        flat.dims.before = before;
    }
    IV_TRY(iv_onnx_matmul(c, &matrix, &flat, &product));
    product.dims = v->dims;
    product.dims.dim[axis] = out_extent;
    *out = product;
    return ISOVAE_OK;
}

/* A whole factor on the last two of four axes, as the upsampling nodes have it; 0: none. */
static size_t factor_of(const iv_onnx_value *v, const size_t *out, size_t axis)
{
    size_t in = v->dims.dim[axis];
    return out[axis] % in == 0 && out[axis] / in <= IV_CONV_LIMIT ? out[axis] / in : 0;
}

static isovae_status by_node(iv_onnx_context *c, const iv_onnx_value *v, const size_t *out,
                             const char *kind, iv_onnx_value *result)
{
    size_t value;
    iv_onnx_emission e = {.kind = kind, .n_inputs = 1, .n_outputs = 1};
    iv_onnx_dims dims = v->dims;
    for (size_t i = 0; i < 2; i++) {
        e.attributes.scale[i] = factor_of(v, out, i + 2);
        dims.dim[i + 2] = out[i + 2];
    }
    IV_TRY(iv_onnx_as_is(c, v, &e.inputs[0]));
    IV_TRY(iv_onnx_emit(c, &e, &value));
    *result = iv_onnx_made(value, IV_ONNX_FLOAT, &dims);
    return ISOVAE_OK;
}

static isovae_status apply(iv_onnx_context *c, const iv_onnx_value *v, const resizing *r,
                           const size_t *out, const float *scale, iv_onnx_value *result)
{
    size_t rank = v->dims.rank;
    const int64_t *maps[IV_ONNX_RANK] = {NULL};
    bool plain = rank == 4 && v->live && v->dims.batch == 0 && v->dims.dim[0] == 1 &&
                 out[1] == v->dims.dim[1] && factor_of(v, out, 2) > 0 && factor_of(v, out, 3) > 0;
    if (is(r->mode, "nearest")) {
        for (size_t i = 0; i < rank; i++) {
            int64_t *map;
            size_t in = v->dims.dim[i], factor = in == 0 ? 0 : out[i] / in;
            if (out[i] == in && scale[i] == 1) continue;
            IV_TRY(iv_onnx_work(c, out[i]));
            IV_TRY(IV_ONNX_NEW(c, map, out[i]));
            for (size_t k = 0; k < out[i]; k++) {
                map[k] = nearest(r, source(r, k, scale[i], in, out[i]), in, scale[i]);
                plain = plain && (size_t)map[k] == k / factor;
            }
            maps[i] = map;
        }
        if (plain) return by_node(c, v, out, "upsample_nearest", result);
        return iv_onnx_pick_axes(c, v, out, maps, 0, result);
    }
    if (plain && is(r->mode, "linear") &&
        (is(r->where, "half_pixel") ||
         (is(r->where, "pytorch_half_pixel") && out[2] > 1 && out[3] > 1))) {
        return by_node(c, v, out, "upsample_bilinear", result);
    }
    iv_onnx_value now = *v;
    for (size_t i = 0; i < rank; i++) {
        if (out[i] == v->dims.dim[i] && scale[i] == 1) continue;
        iv_onnx_value next;
        if (i == v->dims.batch) return IV_ONNX_REFUSE(c, "it resizes the batch");
        IV_TRY(through(c, &now, i, r, out[i], scale[i], &next));
        now = next;
    }
    *result = now;
    return ISOVAE_OK;
}

/* Output extents and scales from a constant list of either, for the axes named (NULL: all). */
static isovae_status extents_of(iv_onnx_context *c, const iv_onnx_value *v,
                                const iv_onnx_value *scales, const iv_onnx_value *sizes,
                                const int64_t *axes, size_t n_axes, size_t *out, float *scale)
{
    const double *s = NULL;
    iv_onnx_form *forms = NULL;
    size_t n;
    for (size_t i = 0; i < v->dims.rank; i++) {
        out[i] = v->dims.dim[i];
        scale[i] = 1;
    }
    if (sizes != NULL)
        IV_TRY(iv_onnx_forms(c, sizes, &forms, &n));
    else
        IV_TRY(iv_onnx_numbers(c, scales, &s, &n));
    if (axes == NULL) n_axes = v->dims.rank;
    if (n != n_axes) return IV_ONNX_FAIL(c, "it has %zu scales or sizes for %zu axes", n, n_axes);
    for (size_t k = 0; k < n; k++) {
        size_t i = k;
        if (axes != NULL) IV_TRY(iv_onnx_axis(c, axes[k], v->dims.rank, &i));
        if (sizes != NULL) {
            iv_onnx_form own = iv_onnx_extent(c, &v->dims, i);
            if (forms[k].k == own.k && forms[k].b == own.b) continue;
            if (forms[k].b != 0 || forms[k].k <= 0 || i == v->dims.batch) {
                return IV_ONNX_REFUSE(c,
                                      "it resizes the batch, or to a size that is not understood");
            }
            out[i] = (size_t)forms[k].k;
            scale[i] = (float)out[i] / (float)v->dims.dim[i];
        } else if (s[k] != 1) {
            double extent = floor((double)((float)v->dims.dim[i] * (float)s[k]));
            if (!(s[k] > 0) || !(extent >= 1) || !(extent < 0x1p31)) {
                return IV_ONNX_FAIL(c, "its scale %g is out of range", s[k]);
            }
            out[i] = (size_t)extent;
            scale[i] = (float)s[k];
        }
        if (v->dims.dim[i] == 0) return IV_ONNX_REFUSE(c, "its input is empty");
        size_t cells;
        if (!iv_size_mul(out[i], v->dims.dim[i], &cells)) return IV_ONNX_FAIL(c, "it is too large");
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_read_resize(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v, *scales, *sizes = NULL;
    char *mode, *where, *how, *policy;
    const int64_t *axes;
    int64_t exclude, antialias;
    size_t n_axes, out[IV_ONNX_RANK];
    float scale[IV_ONNX_RANK];
    bool old = node->opset < 11;
    resizing r;
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_get_string(c, "mode", &mode));
    IV_TRY(iv_onnx_get_string(c, "coordinate_transformation_mode", &where));
    IV_TRY(iv_onnx_get_string(c, "nearest_mode", &how));
    IV_TRY(iv_onnx_get_string(c, "keep_aspect_ratio_policy", &policy));
    IV_TRY(iv_onnx_get_float(c, "cubic_coeff_a", -0.75, &r.cubic));
    IV_TRY(iv_onnx_get_int(c, "exclude_outside", 0, &exclude));
    IV_TRY(iv_onnx_get_int(c, "antialias", 0, &antialias));
    IV_TRY(iv_onnx_get_ints(c, "axes", &axes, &n_axes));
    r.mode = mode == NULL ? "nearest" : mode;
    r.where = where != NULL ? where : old ? "asymmetric" : "half_pixel";
    /* "simple": opset 10 does not say how it rounds; as the example in it and ONNX Runtime have it
     */
    r.nearest = how != NULL ? how : old ? "simple" : "round_prefer_floor";
    r.exclude_outside = exclude != 0;
    static const char *const places[] = {"half_pixel",           "pytorch_half_pixel",
                                         "align_corners",        "asymmetric",
                                         "half_pixel_symmetric", "tf_half_pixel_for_nn"};
    bool known = false;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        known = known || is(r.where, places[i]);
    }
    if (!known || (!is(r.mode, "nearest") && !is(r.mode, "linear") && !is(r.mode, "cubic"))) {
        return IV_ONNX_REFUSE(c, "its mode '%.40s' with '%.40s' is not supported", r.mode, r.where);
    }
    scales = iv_onnx_optional(c, old ? 1 : 2);
    if (!old) sizes = iv_onnx_optional(c, 3);
    if (scales != NULL && !scales->live && scales->tensor->n == 0) scales = NULL;
    if (sizes != NULL && !sizes->live && sizes->tensor->n == 0) sizes = NULL;
    if ((scales == NULL) == (sizes == NULL)) {
        return IV_ONNX_FAIL(c, "it must have either scales or sizes");
    }
    if (sizes != NULL && policy != NULL && !is(policy, "stretch")) {
        return IV_ONNX_REFUSE(c, "its keep_aspect_ratio_policy '%.40s' is not supported", policy);
    }
    IV_TRY(extents_of(c, v, scales, sizes, axes, n_axes, out, scale));
    for (size_t i = 0; antialias != 0 && i < v->dims.rank; i++) {
        if (scale[i] < 1)
            return IV_ONNX_REFUSE(c, "making smaller with antialias is not supported");
    }
    return apply(c, v, &r, out, scale, &node->out[0]);
}

isovae_status iv_onnx_read_upsample(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v, *scales = iv_onnx_optional(c, 1);
    iv_onnx_value given;
    char *mode;
    size_t out[IV_ONNX_RANK];
    float scale[IV_ONNX_RANK];
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_get_string(c, "mode", &mode));
    if (scales == NULL) { /* opset 7 and 8 */
        const Onnx__AttributeProto *a = iv_onnx_attribute(c, "scales");
        double *f;
        if (a == NULL) return IV_ONNX_FAIL(c, "it has no scales");
        iv_onnx_dims dims = iv_onnx_dims_of(1, &a->n_floats);
        IV_TRY(iv_onnx_new_float(c, &dims, true, &given, &f));
        for (size_t i = 0; i < a->n_floats; i++) f[i] = (double)a->floats[i];
        scales = &given;
    }
    const resizing r = {.mode = mode == NULL           ? "nearest"
                                : is(mode, "bilinear") ? "linear"
                                                       : mode,
                        .where = "asymmetric",
                        .nearest = "floor"};
    if (!is(r.mode, "nearest") && !is(r.mode, "linear")) {
        return IV_ONNX_REFUSE(c, "its mode '%.40s' is not supported", r.mode);
    }
    IV_TRY(extents_of(c, v, scales, NULL, NULL, 0, out, scale));
    return apply(c, v, &r, out, scale, &node->out[0]);
}
