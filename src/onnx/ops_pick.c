/* Operators that pick elements by constant indices, repeat them, or put a constant beside them. */
#include "onnx/loader.h"

#include <string.h>

/* A bound of a slice in an axis of `extent`, negative ones from the end. */
static int64_t clamp(int64_t at, int64_t extent, int64_t low, int64_t high)
{
    if (at < 0) at = at < -extent ? -1 : at + extent;
    return at < low ? low : at > high ? high : at;
}

isovae_status iv_onnx_read_slice(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v, *input;
    iv_onnx_form *bound[2];
    const int64_t *axes = NULL, *steps = NULL, *list;
    size_t n = 0, n_axes = 0, n_steps = 0, extents[IV_ONNX_RANK];
    const int64_t *maps[IV_ONNX_RANK] = {NULL};
    static const char *const names[] = {"starts", "ends"};
    IV_TRY(iv_onnx_input(c, 0, &v));
    for (size_t s = 0; s < 2; s++) {
        size_t count;
        if (node->opset < 10) {
            IV_TRY(iv_onnx_get_ints(c, names[s], &list, &count));
            IV_TRY(IV_ONNX_NEW(c, bound[s], count));
            for (size_t i = 0; i < count; i++) bound[s][i] = (iv_onnx_form){list[i], 0};
        } else {
            IV_TRY(iv_onnx_input(c, s + 1, &input));
            IV_TRY(iv_onnx_forms(c, input, &bound[s], &count));
        }
        if (s == 1 && count != n)
            return IV_ONNX_FAIL(c, "it has %zu starts and %zu ends", n, count);
        n = count;
    }
    IV_TRY(iv_onnx_list(c, "axes", 3, &axes, &n_axes));
    input = node->opset < 10 ? NULL : iv_onnx_optional(c, 4);
    if (input != NULL) IV_TRY(iv_onnx_ints(c, input, &steps, &n_steps));
    if ((axes != NULL && n_axes != n) || (steps != NULL && n_steps != n) || n > v->dims.rank) {
        return IV_ONNX_FAIL(c, "its starts, ends, axes and steps are not equally many");
    }
    for (size_t i = 0; i < v->dims.rank; i++) extents[i] = v->dims.dim[i];
    for (size_t i = 0; i < n; i++) {
        size_t axis = i;
        int64_t stride = steps == NULL ? 1 : steps[i];
        if (axes != NULL) IV_TRY(iv_onnx_axis(c, axes[i], v->dims.rank, &axis));
        iv_onnx_form from = bound[0][i], to = bound[1][i],
                     whole = iv_onnx_extent(c, &v->dims, axis);
        if (stride == 0) return IV_ONNX_FAIL(c, "it has a step of 0");
        if (axis == v->dims.batch) {
            bool all = stride == 1 && from.k == 0 && from.b == 0 &&
                       (to.b > whole.b || (to.b == whole.b && to.k >= whole.k) ||
                        (c->fixed == 0 && to.k >= INT32_MAX));
            if (all) continue;
            return IV_ONNX_REFUSE(c, "it takes some rows of the batch; only what treats each row "
                                     "alone can be read");
        }
        int64_t extent = whole.k;
        if (from.b != 0 || to.b != 0) {
            return IV_ONNX_REFUSE(c, "where it cuts depends on the size of the batch");
        }
        int64_t first = clamp(from.k, extent, 0, stride > 0 ? extent : extent - 1);
        int64_t last = clamp(to.k, extent, stride > 0 ? 0 : -1, extent);
        if (stride > extent) stride = extent + 1;
        if (stride < -extent) stride = -extent - 1;
        int64_t count = stride > 0 ? (last - first + stride - 1) / stride
                                   : (first - last - stride - 1) / -stride;
        int64_t *map;
        extents[axis] = count > 0 ? (size_t)count : 0;
        IV_TRY(iv_onnx_work(c, extents[axis]));
        IV_TRY(IV_ONNX_NEW(c, map, extents[axis]));
        for (size_t k = 0; k < extents[axis]; k++) map[k] = first + (int64_t)k * stride;
        maps[axis] = map;
    }
    return iv_onnx_pick_axes(c, v, extents, maps, 0, &node->out[0]);
}

isovae_status iv_onnx_read_gather(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v, *which;
    const int64_t *indices;
    int64_t given, *map;
    size_t axis, n, extents[IV_ONNX_RANK];
    const int64_t *maps[IV_ONNX_RANK] = {NULL};
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_input(c, 1, &which));
    IV_TRY(iv_onnx_get_int(c, "axis", 0, &given));
    IV_TRY(iv_onnx_axis(c, given, v->dims.rank, &axis));
    if (which->live) return IV_ONNX_REFUSE(c, "what it picks depends on the data (a look-up)");
    IV_TRY(iv_onnx_ints(c, which, &indices, &n));
    size_t rank = v->dims.rank - 1 + which->dims.rank;
    if (rank > IV_ONNX_RANK) return IV_ONNX_REFUSE(c, "it makes more than %d axes", IV_ONNX_RANK);
    IV_TRY(iv_onnx_work(c, n));
    IV_TRY(IV_ONNX_NEW(c, map, n));
    for (size_t i = 0; i < v->dims.rank; i++) extents[i] = v->dims.dim[i];
    iv_onnx_value picked = *v;
    iv_onnx_form whole = iv_onnx_extent(c, &v->dims, axis);
    if (axis == v->dims.batch && whole.k == 1 && n == 1 && (indices[0] == 0 || indices[0] == -1)) {
        /* the one row of an export of one */
        iv_onnx_form target[IV_ONNX_RANK];
        size_t left = 0;
        for (size_t i = 0; i < v->dims.rank; i++) {
            if (i != axis) target[left++] = iv_onnx_extent(c, &v->dims, i);
            for (size_t j = 0; i == axis && j < which->dims.rank; j++) {
                target[left++] = (iv_onnx_form){1, 0};
            }
        }
        return iv_onnx_reshape(c, v, left, target, &node->out[0]);
    }
    for (size_t i = 0; i < n; i++) {
        map[i] = indices[i] < 0 ? indices[i] + (int64_t)v->dims.dim[axis] : indices[i];
        if (map[i] < 0) return IV_ONNX_FAIL(c, "an index is outside of axis %zu", axis);
    }
    extents[axis] = n;
    maps[axis] = map;
    if (axis == v->dims.batch) {
        return IV_ONNX_REFUSE(c, "it picks rows of the batch; only what treats each row alone can "
                                 "be read");
    }
    IV_TRY(iv_onnx_pick_axes(c, v, extents, maps, 0, &picked));
    iv_onnx_dims dims = picked.dims;
    dims.rank = 0;
    for (size_t i = 0; i < v->dims.rank; i++) {
        if (i == v->dims.batch) dims.batch = dims.rank;
        if (i != axis) dims.dim[dims.rank++] = picked.dims.dim[i];
        for (size_t j = 0; i == axis && j < which->dims.rank; j++) {
            dims.dim[dims.rank++] = which->dims.dim[j];
        }
    }
    node->out[0] = picked;
    node->out[0].dims = dims;
    return ISOVAE_OK;
}

/* Rows of constant indices into the first axes, as jax2onnx writes slices with steps. */
isovae_status iv_onnx_read_gather_nd(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v, *which;
    const int64_t *indices;
    int64_t batch_dims, *map;
    size_t n_indices, n, inner = 1;
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_input(c, 1, &which));
    IV_TRY(iv_onnx_get_int(c, "batch_dims", 0, &batch_dims));
    if (which->live) return IV_ONNX_REFUSE(c, "what it picks depends on the data (a look-up)");
    if (batch_dims != 0) return IV_ONNX_REFUSE(c, "its batch_dims is not 0");
    if (which->dims.rank == 0) return IV_ONNX_FAIL(c, "its indices have no axis");
    IV_TRY(iv_onnx_ints(c, which, &indices, &n_indices));
    size_t lead = which->dims.rank - 1, depth = which->dims.dim[lead];
    if (depth == 0 || depth > v->dims.rank) {
        return IV_ONNX_FAIL(c, "its indices have %zu numbers for %zu axes", depth, v->dims.rank);
    }
    if (v->dims.batch != IV_ONNX_NO_BATCH && v->dims.batch < depth) {
        return IV_ONNX_REFUSE(c, "it picks rows of the batch; only what treats each row alone can "
                                 "be read");
    }
    if (lead + v->dims.rank - depth > IV_ONNX_RANK) {
        return IV_ONNX_REFUSE(c, "it makes more than %d axes", IV_ONNX_RANK);
    }
    iv_onnx_dims dims = v->dims;
    dims.rank = 0;
    for (size_t i = 0; i < lead; i++) dims.dim[dims.rank++] = which->dims.dim[i];
    for (size_t i = depth; i < v->dims.rank; i++) {
        if (i == v->dims.batch) dims.batch = dims.rank;
        dims.dim[dims.rank++] = v->dims.dim[i];
        inner *= v->dims.dim[i];
    }
    IV_TRY(iv_onnx_count(c, &dims, &n));
    IV_TRY(iv_onnx_work(c, n));
    IV_TRY(IV_ONNX_NEW(c, map, n));
    for (size_t k = 0; k * inner < n; k++) {
        size_t at = 0;
        for (size_t i = 0; i < depth; i++) {
            int64_t extent = (int64_t)v->dims.dim[i], index = indices[k * depth + i];
            if (index < -extent || index >= extent) {
                return IV_ONNX_FAIL(c, "an index is outside of axis %zu", i);
            }
            at = at * v->dims.dim[i] + (size_t)(index < 0 ? index + extent : index);
        }
        for (size_t j = 0; j < inner; j++) map[k * inner + j] = (int64_t)(at * inner + j);
    }
    return iv_onnx_pick(c, v, &dims, map, 0, &node->out[0]);
}

isovae_status iv_onnx_read_expand(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v, *shape;
    iv_onnx_form *target;
    const int64_t *maps[IV_ONNX_RANK] = {NULL};
    size_t n, extents[IV_ONNX_RANK];
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_input(c, 1, &shape));
    IV_TRY(iv_onnx_forms(c, shape, &target, &n));
    size_t rank = n > v->dims.rank ? n : v->dims.rank;
    if (rank > IV_ONNX_RANK) return IV_ONNX_REFUSE(c, "it makes more than %d axes", IV_ONNX_RANK);
    iv_onnx_value wide = *v;
    wide.dims = iv_onnx_widened(&v->dims, rank);
    for (size_t i = 0; i < rank; i++) {
        iv_onnx_form own = iv_onnx_extent(c, &wide.dims, i);
        iv_onnx_form to = i + n < rank ? (iv_onnx_form){1, 0} : target[i + n - rank];
        int64_t *map;
        extents[i] = wide.dims.dim[i];
        if (to.k == own.k && to.b == own.b) continue;
        if (to.k == 1 && to.b == 0) continue;
        if (own.k != 1 || own.b != 0 || (to.b == 0 && to.k < 0)) {
            return IV_ONNX_FAIL(c, "axis %zu cannot be repeated to what its shape says", i);
        }
        if (to.b == 1 && to.k == 0 && !v->live && wide.dims.batch == IV_ONNX_NO_BATCH) {
            wide.dims.batch = i; /* the same in each row */
            wide.dims.before = 1;
            continue;
        }
        if (to.b != 0) return IV_ONNX_REFUSE(c, "it repeats rows of the batch");
        extents[i] = (size_t)to.k;
        IV_TRY(iv_onnx_work(c, extents[i]));
        IV_TRY(IV_ONNX_NEW(c, map, extents[i]));
        maps[i] = map;
    }
    return iv_onnx_pick_axes(c, &wide, extents, maps, 0, &node->out[0]);
}

isovae_status iv_onnx_read_tile(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v, *input;
    iv_onnx_form *repeats;
    const int64_t *maps[IV_ONNX_RANK] = {NULL};
    size_t n, extents[IV_ONNX_RANK];
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_input(c, 1, &input));
    IV_TRY(iv_onnx_forms(c, input, &repeats, &n));
    if (n != v->dims.rank) return IV_ONNX_FAIL(c, "it repeats %zu axes of %zu", n, v->dims.rank);
    iv_onnx_value own = *v;
    for (size_t i = 0; i < n; i++) {
        int64_t *map;
        extents[i] = v->dims.dim[i];
        if (repeats[i].k == 1 && repeats[i].b == 0) continue;
        if (repeats[i].b == 1 && repeats[i].k == 0 && !v->live && extents[i] == 1 &&
            own.dims.batch == IV_ONNX_NO_BATCH) {
            own.dims.batch = i;
            own.dims.before = 1;
            continue;
        }
        if (repeats[i].b != 0 || i == v->dims.batch) {
            return IV_ONNX_REFUSE(c, "it repeats rows of the batch");
        }
        if (repeats[i].k < 0 || !iv_size_mul(extents[i], (size_t)repeats[i].k, &extents[i])) {
            return IV_ONNX_FAIL(c, "its repeats are out of range");
        }
        IV_TRY(iv_onnx_work(c, extents[i]));
        IV_TRY(IV_ONNX_NEW(c, map, extents[i]));
        for (size_t k = 0; k < extents[i]; k++) map[k] = (int64_t)(k % v->dims.dim[i]);
        maps[i] = map;
    }
    return iv_onnx_pick_axes(c, &own, extents, maps, 0, &node->out[0]);
}

/* Where the element `at` of the padded axis comes from; -1: the fill. */
static int64_t padded(const char *mode, int64_t at, int64_t extent)
{
    if (at >= 0 && at < extent) return at;
    if (strcmp(mode, "edge") == 0) return at < 0 ? 0 : extent - 1;
    if (strcmp(mode, "wrap") == 0) return (at % extent + extent) % extent;
    if (strcmp(mode, "reflect") == 0 && extent > 1) {
        int64_t period = 2 * (extent - 1);
        at = (at % period + period) % period;
        return at < extent ? at : period - at;
    }
    return strcmp(mode, "reflect") == 0 ? 0 : -1;
}

isovae_status iv_onnx_read_pad(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v, *input;
    const int64_t *pads, *axes = NULL, *maps[IV_ONNX_RANK] = {NULL};
    double fill = 0;
    char *mode;
    size_t n, n_axes = 0, extents[IV_ONNX_RANK];
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_get_string(c, "mode", &mode));
    IV_TRY(iv_onnx_list(c, "pads", 1, &pads, &n));
    if (node->opset < 11) {
        IV_TRY(iv_onnx_get_float(c, "value", 0, &fill));
    } else if ((input = iv_onnx_optional(c, 2)) != NULL) {
        IV_TRY(iv_onnx_scalar(c, input, &fill));
    }
    if ((input = iv_onnx_optional(c, 3)) != NULL && node->opset >= 18) {
        IV_TRY(iv_onnx_ints(c, input, &axes, &n_axes));
    }
    const char *how = mode == NULL ? "constant" : mode;
    if (strcmp(how, "constant") != 0 && strcmp(how, "edge") != 0 && strcmp(how, "wrap") != 0 &&
        strcmp(how, "reflect") != 0) {
        return IV_ONNX_REFUSE(c, "its mode '%.40s' is not supported", how);
    }
    if (axes == NULL) n_axes = v->dims.rank;
    if (n != 2 * n_axes) return IV_ONNX_FAIL(c, "it has %zu pads for %zu axes", n, n_axes);
    for (size_t i = 0; i < v->dims.rank; i++) extents[i] = v->dims.dim[i];
    for (size_t i = 0; i < n_axes; i++) {
        size_t axis = i;
        int64_t before = pads[i], after = pads[n_axes + i], *map, size;
        if (axes != NULL) IV_TRY(iv_onnx_axis(c, axes[i], v->dims.rank, &axis));
        if (before == 0 && after == 0) continue;
        int64_t extent = (int64_t)v->dims.dim[axis];
        if (before > INT32_MAX || after > INT32_MAX || before < -extent || after < -extent ||
            (size = extent + before + after) <= 0 || extent == 0) {
            return IV_ONNX_FAIL(c, "its pads leave nothing of axis %zu, or are too large", axis);
        }
        extents[axis] = (size_t)size;
        IV_TRY(iv_onnx_work(c, extents[axis]));
        IV_TRY(IV_ONNX_NEW(c, map, extents[axis]));
        for (size_t k = 0; k < extents[axis]; k++) {
            map[k] = padded(how, (int64_t)k - before, extent);
        }
        maps[axis] = map;
    }
    return iv_onnx_pick_axes(c, v, extents, maps, fill, &node->out[0]);
}

isovae_status iv_onnx_read_trilu(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v, *diagonal;
    int64_t upper, *map;
    double k = 0;
    size_t n, rank;
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_get_int(c, "upper", 1, &upper));
    if ((diagonal = iv_onnx_optional(c, 1)) != NULL) IV_TRY(iv_onnx_scalar(c, diagonal, &k));
    rank = v->dims.rank;
    if (rank < 2) return IV_ONNX_FAIL(c, "its input has no matrix");
    if (v->dims.batch != IV_ONNX_NO_BATCH && v->dims.batch + 2 >= rank) {
        return IV_ONNX_REFUSE(c, "its matrix would mix rows of the batch");
    }
    IV_TRY(iv_onnx_count(c, &v->dims, &n));
    IV_TRY(iv_onnx_work(c, n));
    IV_TRY(IV_ONNX_NEW(c, map, n));
    size_t rows = v->dims.dim[rank - 2], columns = v->dims.dim[rank - 1];
    for (size_t i = 0; i < n; i++) {
        double offset = (double)(i % columns) - (double)(i / columns % rows);
        map[i] = (upper != 0 ? offset >= k : offset <= k) ? (int64_t)i : -1;
    }
    return iv_onnx_pick(c, v, &v->dims, map, 0, &node->out[0]);
}
