/* Values whose elements move and are not computed. */
#include "onnx/loader.h"

#include "graph/graph.h"

#include <math.h>
#include <string.h>

isovae_status iv_onnx_reshape(iv_onnx_context *c, const iv_onnx_value *v, size_t rank,
                              const iv_onnx_form *target, iv_onnx_value *out)
{
    iv_onnx_dims dims;
    IV_TRY(iv_onnx_reshaped(c, &v->dims, rank, target, &dims));
    *out = *v;
    out->dims = dims;
    return ISOVAE_OK;
}

/* ---- by a map over a whole row ---- */

static isovae_status pick_constant(iv_onnx_context *c, const iv_onnx_value *v,
                                   const iv_onnx_dims *dims, const int64_t *map, double fill,
                                   iv_onnx_value *out)
{
    size_t n;
    const iv_onnx_tensor *from = v->tensor;
    IV_TRY(iv_onnx_count(c, dims, &n));
    IV_TRY(iv_onnx_work(c, n));
    if (v->type == IV_ONNX_FLOAT) {
        double *f;
        IV_TRY(iv_onnx_new_float(c, dims, v->wide, out, &f));
        for (size_t i = 0; i < n; i++) f[i] = map[i] < 0 ? fill : from->f[map[i]];
        return ISOVAE_OK;
    }
    int64_t *k, *b;
    if (!(fabs(fill) < 0x1p53)) return IV_ONNX_FAIL(c, "%g is no integer to fill with", fill);
    IV_TRY(iv_onnx_new_int(c, dims, v->type, from->b != NULL, out, &k, &b));
    for (size_t i = 0; i < n; i++) {
        k[i] = map[i] < 0 ? (int64_t)fill : from->i[map[i]];
        if (b != NULL && map[i] >= 0) b[i] = from->b[map[i]];
    }
    return ISOVAE_OK;
}

static isovae_status take(iv_onnx_context *c, size_t value, const int64_t *map, size_t n,
                          size_t axis, const iv_shape *shape, double fill, size_t *out)
{
    int32_t *narrow;
    if (n > IV_MAP_LIMIT) {
        return IV_ONNX_REFUSE(c, "it picks %zu elements a row; %d are the most", n, IV_MAP_LIMIT);
    }
    IV_TRY(iv_onnx_work(c, n));
    IV_TRY(IV_ONNX_NEW(c, narrow, n));
    for (size_t i = 0; i < n; i++) narrow[i] = (int32_t)map[i];
    iv_onnx_emission e = {.kind = "take",
                          .n_inputs = 1,
                          .n_outputs = 1,
                          .inputs = {value},
                          .attributes = {.axis = axis, .map = narrow, .n_map = n}};
    if (axis == 0) e.attributes.shape = *shape;
    if (fill != 0) {
        e.attributes.given[0] = true;
        e.attributes.number[0] = fill;
    }
    return iv_onnx_emit(c, &e, out);
}

isovae_status iv_onnx_pick(iv_onnx_context *c, const iv_onnx_value *v, const iv_onnx_dims *dims,
                           const int64_t *map, double fill, iv_onnx_value *out)
{
    if (!v->live) return pick_constant(c, v, dims, map, fill, out);
    size_t n, n_in, value;
    iv_shape shape;
    IV_TRY(iv_onnx_count(c, dims, &n));
    IV_TRY(iv_onnx_count(c, &v->dims, &n_in));
    bool same = n == n_in;
    for (size_t i = 0; same && i < n; i++) same = map[i] == (int64_t)i;
    if (same) {
        *out = *v;
        out->dims = *dims;
        return ISOVAE_OK;
    }
    IV_TRY(iv_onnx_row_shape(c, dims, &shape));
    if (shape.rank == 0) shape = (iv_shape){1, {1}};
    IV_TRY(take(c, v->value, map, n, 0, &shape, fill, &value));
    *out = iv_onnx_made(value, v->type, dims);
    return ISOVAE_OK;
}

/* ---- axis by axis ---- */

static bool is_identity(const int64_t *map, size_t extent, size_t before)
{
    if (map == NULL) return true;
    if (extent != before) return false;
    for (size_t i = 0; i < extent; i++) {
        if (map[i] != (int64_t)i) return false;
    }
    return true;
}

/* One map over the whole row from those of the axes. */
static isovae_status whole_map(iv_onnx_context *c, const iv_onnx_dims *from, const iv_onnx_dims *to,
                               const int64_t *const *maps, int64_t **out)
{
    size_t n, at[IV_ONNX_RANK] = {0}, stride[IV_ONNX_RANK], step = 1;
    IV_TRY(iv_onnx_count(c, to, &n));
    IV_TRY(iv_onnx_work(c, n));
    IV_TRY(IV_ONNX_NEW(c, *out, n));
    for (size_t i = from->rank; i-- > 0;) {
        stride[i] = step;
        step *= from->dim[i];
    }
    for (size_t k = 0; k < n; k++) {
        int64_t source = 0;
        for (size_t i = 0; i < to->rank && source >= 0; i++) {
            int64_t place = maps[i] == NULL ? (int64_t)at[i] : maps[i][at[i]];
            source = place < 0 ? -1 : source + place * (int64_t)stride[i];
        }
        (*out)[k] = source;
        for (size_t i = to->rank; i-- > 0;) {
            if (++at[i] < to->dim[i]) break;
            at[i] = 0;
        }
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_pick_axes(iv_onnx_context *c, const iv_onnx_value *v, const size_t *extents,
                                const int64_t *const *maps, double fill, iv_onnx_value *out)
{
    iv_onnx_dims dims = v->dims;
    *out = *v;
    const int64_t *used[IV_ONNX_RANK] = {NULL};
    bool any = false;
    for (size_t i = 0; i < dims.rank; i++) {
        if (is_identity(maps[i], extents[i], dims.dim[i])) continue;
        if (i == dims.batch) {
            return IV_ONNX_REFUSE(c,
                                  "it picks along axis %zu, which holds the batch; only what "
                                  "treats each row alone can be read",
                                  i);
        }
        for (size_t k = 0; k < extents[i]; k++) {
            if (maps[i][k] < -1 || maps[i][k] >= (int64_t)dims.dim[i]) {
                return IV_ONNX_FAIL(c, "index %lld is outside of axis %zu, whose extent is %zu",
                                    (long long)maps[i][k], i, dims.dim[i]);
            }
        }
        if (extents[i] == 0 && v->live) return IV_ONNX_REFUSE(c, "its result is empty");
        used[i] = maps[i];
        dims.dim[i] = extents[i];
        any = true;
    }
    if (!any) return ISOVAE_OK;
    if (!v->live) {
        int64_t *map;
        IV_TRY(whole_map(c, &v->dims, &dims, used, &map));
        return pick_constant(c, v, &dims, map, fill, out);
    }
    size_t value;
    iv_onnx_value now = *v;
    for (int growing = 0; growing < 2; growing++) { /* what makes it smaller first */
        for (size_t i = 0; i < dims.rank; i++) {
            if (used[i] == NULL || (dims.dim[i] > v->dims.dim[i]) != (growing == 1)) continue;
            size_t axis;
            IV_TRY(iv_onnx_as_is(c, &now, &value));
            IV_TRY(iv_onnx_row_axis(c, &now.dims, i, "picking along", &axis));
            IV_TRY(take(c, value, used[i], dims.dim[i], axis + 1, NULL, fill, &value));
            iv_onnx_dims next = now.dims;
            next.dim[i] = dims.dim[i];
            now = iv_onnx_made(value, v->type, &next);
        }
    }
    *out = now;
    return ISOVAE_OK;
}

/* ---- transpose ---- */

static isovae_status transpose_map(iv_onnx_context *c, const iv_shape *shape, const size_t *perm,
                                   int64_t **out)
{
    size_t n, stride[IV_ONNX_RANK], at[IV_ONNX_RANK] = {0}, step = 1;
    if (!iv_shape_size(shape, &n)) n = SIZE_MAX / 64;
    IV_TRY(iv_onnx_work(c, n));
    IV_TRY(IV_ONNX_NEW(c, *out, n));
    for (size_t i = shape->rank; i-- > 0;) {
        stride[i] = step;
        step *= shape->dim[i];
    }
    for (size_t k = 0; k < n; k++) {
        size_t source = 0;
        for (size_t i = 0; i < shape->rank; i++) source += at[i] * stride[perm[i]];
        (*out)[k] = (int64_t)source;
        for (size_t i = shape->rank; i-- > 0;) {
            if (++at[i] < shape->dim[perm[i]]) break;
            at[i] = 0;
        }
    }
    return ISOVAE_OK;
}

/* Axes of extent 1 left out, neighbours that stay neighbours merged. */
static void simplify(iv_shape *shape, size_t *perm)
{
    iv_shape small = {0};
    size_t renamed[IV_ONNX_RANK] = {0}, order[IV_ONNX_RANK] = {0}, n = 0;
    for (size_t i = 0; i < shape->rank; i++) {
        renamed[i] = small.rank;
        if (shape->dim[i] != 1) small.dim[small.rank++] = shape->dim[i];
    }
    for (size_t i = 0; i < shape->rank; i++) {
        if (shape->dim[perm[i]] != 1) order[n++] = renamed[perm[i]];
    }
    for (size_t i = 0; i + 1 < n;) {
        if (order[i + 1] != order[i] + 1) {
            i++;
            continue;
        }
        size_t axis = order[i + 1];
        small.dim[axis - 1] *= small.dim[axis];
        memmove(&small.dim[axis], &small.dim[axis + 1],
                (small.rank - axis - 1) * sizeof small.dim[0]);
        small.rank--;
        memmove(&order[i + 1], &order[i + 2], (n - i - 2) * sizeof order[0]);
        n--;
        for (size_t j = 0; j < n; j++) {
            if (order[j] >= axis) order[j]--;
        }
    }
    *shape = small;
    memcpy(perm, order, n * sizeof order[0]);
}

isovae_status iv_onnx_transpose(iv_onnx_context *c, const iv_onnx_value *v, const size_t *perm,
                                iv_onnx_value *out)
{
    iv_onnx_dims dims = v->dims;
    iv_shape shape = {.rank = v->dims.rank <= IV_MAX_RANK ? v->dims.rank : 0};
    size_t order[IV_ONNX_RANK] = {0}, n = 0, place[IV_ONNX_RANK] = {0};
    for (size_t i = 0; i < dims.rank; i++) {
        dims.dim[i] = v->dims.dim[perm[i]];
        if (perm[i] == v->dims.batch) dims.batch = i;
    }
    IV_TRY(iv_onnx_row_shape(c, &v->dims, &shape));
    for (size_t i = 0; i < dims.rank; i++) {
        bool absent = i == v->dims.batch && v->dims.dim[i] == 1;
        place[i] = absent ? SIZE_MAX : n++;
    }
    n = 0;
    for (size_t i = 0; i < dims.rank; i++) {
        if (place[perm[i]] != SIZE_MAX) order[n++] = place[perm[i]];
    }
    simplify(&shape, order);
    *out = *v;
    out->dims = dims;
    if (shape.rank <= 1) return ISOVAE_OK; /* nothing moves within a row */
    int64_t *map;
    if (!v->live) {
        IV_TRY(transpose_map(c, &shape, order, &map));
        return pick_constant(c, v, &dims, map, 0, out);
    }
    size_t value;
    if (shape.rank > IV_REORDER_AXES - 1) {
        IV_TRY(transpose_map(c, &shape, order, &map));
        return iv_onnx_pick(c, v, &dims, map, 0, out);
    }
    IV_TRY(iv_onnx_rows(c, v, &shape, &value));
    iv_onnx_emission e = {.kind = "transpose", .n_inputs = 1, .n_outputs = 1, .inputs = {value}};
    e.attributes.n_sizes = shape.rank;
    for (size_t i = 0; i < shape.rank; i++) e.attributes.sizes[i] = order[i] + 1;
    IV_TRY(iv_onnx_emit(c, &e, &value));
    *out = iv_onnx_made(value, v->type, &dims);
    return ISOVAE_OK;
}

/* ---- concat ---- */

static isovae_status concat_constant(iv_onnx_context *c, size_t n,
                                     const iv_onnx_value *const *parts, size_t axis,
                                     const iv_onnx_dims *dims, iv_onnx_value *out)
{
    size_t outer = 1, at = 0, total = 0, elements;
    bool batch = false;
    double *f = NULL;
    int64_t *k = NULL, *b = NULL;
    iv_onnx_type type = parts[0]->type;
    IV_TRY(iv_onnx_count(c, dims, &elements));
    IV_TRY(iv_onnx_work(c, elements));
    for (size_t i = 0; i < n; i++) {
        if (parts[i]->type != type) return IV_ONNX_FAIL(c, "its inputs are of different types");
        if (type != IV_ONNX_FLOAT && parts[i]->tensor->b != NULL) batch = true;
    }
    if (type == IV_ONNX_FLOAT)
        IV_TRY(iv_onnx_new_float(c, dims, parts[0]->wide, out, &f));
    else
        IV_TRY(iv_onnx_new_int(c, dims, type, batch, out, &k, &b));
    for (size_t i = 0; i < axis; i++) outer *= dims->dim[i];
    if (outer == 0 || elements == 0) return ISOVAE_OK;
    total = elements / outer;
    for (size_t i = 0; i < n; i++) {
        const iv_onnx_tensor *t = parts[i]->tensor;
        size_t run = t->n / outer;
        for (size_t o = 0; o < outer && run > 0; o++) {
            size_t to = o * total + at, from = o * run;
            if (f != NULL) {
                memcpy(f + to, t->f + from, run * sizeof *f);
            } else {
                if (k != NULL) memcpy(k + to, t->i + from, run * sizeof *k);
                if (b != NULL && t->b != NULL) memcpy(b + to, t->b + from, run * sizeof *b);
            }
        }
        at += run;
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_concat(iv_onnx_context *c, size_t n, const iv_onnx_value *const *parts,
                             size_t axis, iv_onnx_value *out)
{
    bool live = false;
    iv_onnx_dims dims = parts[0]->dims;
    if (axis >= dims.rank) return IV_ONNX_FAIL(c, "axis %zu is not there", axis);
    for (size_t i = 0; i < n; i++) {
        if (parts[i]->live && !live) dims = parts[i]->dims;
        live = live || parts[i]->live;
    }
    if (live || dims.batch != IV_ONNX_NO_BATCH) {
        size_t unused;
        IV_TRY(iv_onnx_row_axis(c, &dims, axis, "joining along", &unused));
    }
    iv_onnx_value *spread;
    IV_TRY(IV_ONNX_NEW(c, spread, n));
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        iv_onnx_dims own = parts[i]->dims;
        spread[i] = *parts[i];
        size_t extent = axis < own.rank ? own.dim[axis] : 0;
        if (live && !parts[i]->live && own.rank == dims.rank) {
            /* the same in each row */
            const double *data;
            iv_onnx_dims as = dims;
            as.dim[axis] = extent;
            iv_onnx_value whole = *parts[i];
            double *copy;
            size_t count;
            IV_TRY(iv_onnx_spread(c, parts[i], &as, &data));
            IV_TRY(iv_onnx_new_float(c, &as, true, &whole, &copy));
            IV_TRY(iv_onnx_count(c, &as, &count));
            memcpy(copy, data, count * sizeof *copy);
            IV_TRY(iv_onnx_enliven(c, &whole, &spread[i]));
            own = as;
        }
        if (axis < own.rank) own.dim[axis] = dims.dim[axis];
        if (!iv_onnx_dims_equal(&own, &dims)) {
            char a[IV_ONNX_DIMS_TEXT], b[IV_ONNX_DIMS_TEXT];
            return IV_ONNX_FAIL(c, "%s and %s cannot be joined along axis %zu",
                                iv_onnx_dims_text(&parts[0]->dims, a),
                                iv_onnx_dims_text(&parts[i]->dims, b), axis);
        }
        if (!iv_size_add(total, extent, &total)) return IV_ONNX_FAIL(c, "the result is too large");
    }
    dims.dim[axis] = total;
    if (!live) return concat_constant(c, n, parts, axis, &dims, out);
    size_t row_axis, value = SIZE_MAX;
    IV_TRY(iv_onnx_row_axis(c, &dims, axis, "joining along", &row_axis));
    for (size_t i = 0; i < n;) { /* as many at a time as a node takes */
        iv_onnx_emission e = {
            .kind = "concat", .n_outputs = 1, .attributes = {.axis = row_axis + 1}};
        if (value != SIZE_MAX) e.inputs[e.n_inputs++] = value;
        for (; i < n && e.n_inputs < IV_MAX_PORTS; i++) {
            if (spread[i].dims.dim[axis] == 0) continue;
            IV_TRY(iv_onnx_as_is(c, &spread[i], &e.inputs[e.n_inputs++]));
        }
        if (e.n_inputs == 0) return IV_ONNX_REFUSE(c, "its result is empty");
        if (e.n_inputs == 1)
            value = e.inputs[0];
        else
            IV_TRY(iv_onnx_emit(c, &e, &value));
    }
    *out =
        iv_onnx_made(value, parts[0]->type == IV_ONNX_BOOL ? IV_ONNX_BOOL : IV_ONNX_FLOAT, &dims);
    return ISOVAE_OK;
}
