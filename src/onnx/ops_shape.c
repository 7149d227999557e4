/* Operators that leave elements as they are or move whole axes, and those that tell extents. */
#include "onnx/loader.h"

#include <math.h>
#include <string.h>

/* ---- as it is ---- */

isovae_status iv_onnx_read_identity(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v;
    IV_TRY(iv_onnx_input(c, 0, &v));
    node->out[0] = *v;
    return ISOVAE_OK;
}

isovae_status iv_onnx_read_dropout(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *training = iv_onnx_optional(c, 2);
    IV_TRY(iv_onnx_read_identity(c, node));
    if (training == NULL) return ISOVAE_OK;
    double on = 1;
    if (!training->live) IV_TRY(iv_onnx_scalar(c, training, &on));
    if (on == 0) return ISOVAE_OK;
    return iv_onnx_note(c, "node '%.100s' (Dropout) is in its training form; it was left out",
                        node->proto->name == NULL ? "" : node->proto->name);
}

isovae_status iv_onnx_read_cast(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v, *like = iv_onnx_optional(c, 1);
    int64_t to;
    IV_TRY(iv_onnx_input(c, 0, &v));
    if (like != NULL) { /* CastLike */
        to = like->type == IV_ONNX_BOOL  ? ONNX__TENSOR_PROTO__DATA_TYPE__BOOL
             : like->type == IV_ONNX_INT ? ONNX__TENSOR_PROTO__DATA_TYPE__INT64
             : !like->live && like->wide ? ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE
                                         : ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    } else {
        IV_TRY(iv_onnx_get_int(c, "to", 0, &to));
    }
    if (!v->live) return iv_onnx_cast(c, v, to, &node->out[0]);
    node->out[0] = *v;
    if (to == ONNX__TENSOR_PROTO__DATA_TYPE__BOOL) {
        if (v->type == IV_ONNX_BOOL) return ISOVAE_OK;
        iv_onnx_value zero, equal;
        IV_TRY(iv_onnx_number(c, 0, &zero));
        IV_TRY(iv_onnx_binary(c, IV_ONNX_EQUAL, v, &zero, &equal));
        IV_TRY(iv_onnx_unary(c, NULL, "not", NAN, NAN, &equal, &node->out[0]));
        node->out[0].type = IV_ONNX_BOOL;
        return ISOVAE_OK;
    }
    bool to_float = to == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT ||
                    to == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE ||
                    to == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16 ||
                    to == ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16;
    if (!to_float && v->type != IV_ONNX_BOOL) {
        return IV_ONNX_REFUSE(c, "it makes integers of what depends on the data");
    }
    node->out[0].type = IV_ONNX_FLOAT;
    if (to == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16 ||
        to == ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16) {
        return iv_onnx_note(c, "what the file rounds to 16 bits on the way is not rounded here");
    }
    return ISOVAE_OK;
}

/* ---- extents ---- */

isovae_status iv_onnx_read_shape(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v;
    int64_t start, end, *k, *b;
    IV_TRY(iv_onnx_input(c, 0, &v));
    int64_t rank = (int64_t)v->dims.rank;
    IV_TRY(iv_onnx_get_int(c, "start", 0, &start));
    IV_TRY(iv_onnx_get_int(c, "end", rank, &end));
    start = start < -rank ? 0 : start < 0 ? start + rank : start > rank ? rank : start;
    end = end < -rank ? 0 : end < 0 ? end + rank : end > rank ? rank : end;
    size_t n = end > start ? (size_t)(end - start) : 0;
    iv_onnx_dims dims = iv_onnx_dims_of(1, &n);
    IV_TRY(iv_onnx_new_int(c, &dims, IV_ONNX_INT, true, &node->out[0], &k, &b));
    for (size_t i = 0; i < n; i++) {
        iv_onnx_form extent = iv_onnx_extent(c, &v->dims, (size_t)start + i);
        k[i] = extent.k;
        b[i] = extent.b;
    }
    return ISOVAE_OK;
}

/* The number of all elements, with the batch. */
static isovae_status total_of(iv_onnx_context *c, const iv_onnx_dims *dims, iv_onnx_form *out)
{
    size_t n;
    IV_TRY(iv_onnx_count(c, dims, &n));
    *out = (iv_onnx_form){(int64_t)n, 0};
    if (dims->batch == IV_ONNX_NO_BATCH) return ISOVAE_OK;
    if (c->fixed == 0) {
        *out = (iv_onnx_form){0, (int64_t)n};
    } else if (__builtin_mul_overflow(out->k, (int64_t)c->fixed, &out->k)) {
        return IV_ONNX_FAIL(c, "a tensor is too large");
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_read_size(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v;
    iv_onnx_form total;
    int64_t *k, *b;
    iv_onnx_dims dims = iv_onnx_dims_of(0, NULL);
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(total_of(c, &v->dims, &total));
    IV_TRY(iv_onnx_new_int(c, &dims, IV_ONNX_INT, true, &node->out[0], &k, &b));
    *k = total.k;
    *b = total.b;
    return ISOVAE_OK;
}

/* ---- axes ---- */

isovae_status iv_onnx_read_reshape(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v, *shape;
    int64_t allow_zero;
    iv_onnx_form *target, total, others = {1, 0};
    size_t n, open = SIZE_MAX;
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_input(c, 1, &shape));
    IV_TRY(iv_onnx_get_int(c, "allowzero", 0, &allow_zero));
    IV_TRY(iv_onnx_forms(c, shape, &target, &n));
    if (n > IV_ONNX_RANK) return IV_ONNX_REFUSE(c, "it makes more than %d axes", IV_ONNX_RANK);
    IV_TRY(total_of(c, &v->dims, &total));
    for (size_t i = 0; i < n; i++) {
        if (target[i].b == 0 && target[i].k == 0 && allow_zero == 0) {
            if (i >= v->dims.rank)
                return IV_ONNX_FAIL(c, "its shape copies axis %zu, which is not there", i);
            target[i] = iv_onnx_extent(c, &v->dims, i);
        }
        if (target[i].b == 0 && target[i].k == -1) {
            if (open != SIZE_MAX) return IV_ONNX_FAIL(c, "its shape has -1 twice");
            open = i;
            continue;
        }
        int64_t k, b;
        bool over = (others.b != 0 && target[i].b != 0) ||
                    __builtin_mul_overflow(others.k, target[i].k, &k) ||
                    __builtin_mul_overflow(others.b != 0 ? others.b : others.k,
                                           others.b != 0 ? target[i].k : target[i].b, &b);
        if (over || (target[i].b != 0 && target[i].k != 0)) {
            return IV_ONNX_REFUSE(c, "the shape that it makes is not understood");
        }
        others = (iv_onnx_form){others.b != 0 || target[i].b != 0 ? 0 : k, b};
    }
    if (open != SIZE_MAX) {
        if (others.b == 0 && others.k > 0) {
            bool whole = total.k % others.k == 0 && total.b % others.k == 0;
            if (!whole) return IV_ONNX_FAIL(c, "the numbers of elements do not agree");
            target[open] = (iv_onnx_form){total.k / others.k, total.b / others.k};
        } else if (others.b > 0 && total.b % others.b == 0 && total.k == 0) {
            target[open] = (iv_onnx_form){total.b / others.b, 0};
        } else {
            return IV_ONNX_FAIL(c, "the numbers of elements do not agree");
        }
    }
    return iv_onnx_reshape(c, v, n, target, &node->out[0]);
}

/* The shape as it is, axes first .. last - 1 as one. */
static isovae_status merge(iv_onnx_context *c, const iv_onnx_dims *dims, size_t first, size_t last,
                           iv_onnx_form *out)
{
    *out = (iv_onnx_form){1, 0};
    for (size_t i = first; i < last; i++) {
        iv_onnx_form e = iv_onnx_extent(c, dims, i), p = *out;
        bool over = __builtin_mul_overflow(p.k, e.k, &out->k) ||
                    __builtin_mul_overflow(p.b != 0 ? p.b : p.k, p.b != 0 ? e.k : e.b, &out->b);
        if (over) return IV_ONNX_FAIL(c, "a tensor is too large");
        if (p.b != 0 || e.b != 0) out->k = 0;
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_read_flatten(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v;
    int64_t given;
    iv_onnx_form target[2];
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_get_int(c, "axis", 1, &given));
    int64_t rank = (int64_t)v->dims.rank;
    if (given < -rank || given > rank) return IV_ONNX_FAIL(c, "its axis is not there");
    size_t axis = (size_t)(given < 0 ? given + rank : given);
    IV_TRY(merge(c, &v->dims, 0, axis, &target[0]));
    IV_TRY(merge(c, &v->dims, axis, v->dims.rank, &target[1]));
    return iv_onnx_reshape(c, v, 2, target, &node->out[0]);
}

isovae_status iv_onnx_read_squeeze(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v;
    const int64_t *axes;
    bool gone[IV_ONNX_RANK] = {false};
    iv_onnx_form target[IV_ONNX_RANK];
    size_t n, left = 0;
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_list(c, "axes", 1, &axes, &n));
    for (size_t i = 0; i < n; i++) {
        size_t axis;
        IV_TRY(iv_onnx_axis(c, axes[i], v->dims.rank, &axis));
        gone[axis] = true;
    }
    for (size_t i = 0; i < v->dims.rank; i++) {
        iv_onnx_form extent = iv_onnx_extent(c, &v->dims, i);
        bool one = extent.k == 1 && extent.b == 0;
        if (n == 0) gone[i] = one;
        if (gone[i] && !one) return IV_ONNX_FAIL(c, "axis %zu, which it takes away, is not 1", i);
        if (!gone[i]) target[left++] = extent;
    }
    if (v->dims.batch != IV_ONNX_NO_BATCH && gone[v->dims.batch]) {
        return iv_onnx_reshape(c, v, left, target, &node->out[0]);
    }
    node->out[0] = *v;
    iv_onnx_dims *dims = &node->out[0].dims;
    left = 0;
    for (size_t i = 0; i < v->dims.rank; i++) {
        if (gone[i]) continue;
        if (i == v->dims.batch) dims->batch = left;
        dims->dim[left++] = v->dims.dim[i];
    }
    dims->rank = left;
    return ISOVAE_OK;
}

isovae_status iv_onnx_read_unsqueeze(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v;
    const int64_t *axes;
    bool added[IV_ONNX_RANK] = {false};
    iv_onnx_form target[IV_ONNX_RANK];
    size_t n, from = 0;
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_list(c, "axes", 1, &axes, &n));
    size_t rank = v->dims.rank + n;
    if (rank > IV_ONNX_RANK) return IV_ONNX_REFUSE(c, "it makes more than %d axes", IV_ONNX_RANK);
    for (size_t i = 0; i < n; i++) {
        size_t axis;
        IV_TRY(iv_onnx_axis(c, axes[i], rank, &axis));
        if (added[axis]) return IV_ONNX_FAIL(c, "its axes name one twice");
        added[axis] = true;
    }
    iv_onnx_dims dims = v->dims;
    dims.rank = rank;
    for (size_t i = 0; i < rank; i++) {
        if (added[i]) {
            target[i] = (iv_onnx_form){1, 0};
            dims.dim[i] = 1;
            continue;
        }
        if (from == v->dims.batch) dims.batch = i;
        target[i] = iv_onnx_extent(c, &v->dims, from);
        dims.dim[i] = v->dims.dim[from++];
    }
    /* the batch of 1 that was squeezed away before may come back here */
    bool merged = v->dims.batch != IV_ONNX_NO_BATCH && v->dims.dim[v->dims.batch] != 1;
    if (merged && c->fixed == 1) return iv_onnx_reshape(c, v, rank, target, &node->out[0]);
    node->out[0] = *v;
    node->out[0].dims = dims;
    return ISOVAE_OK;
}

isovae_status iv_onnx_read_transpose(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v;
    const int64_t *given;
    size_t n, perm[IV_ONNX_RANK];
    bool used[IV_ONNX_RANK] = {false};
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_get_ints(c, "perm", &given, &n));
    if (n != 0 && n != v->dims.rank) {
        return IV_ONNX_FAIL(c, "its perm has %zu entries for %zu axes", n, v->dims.rank);
    }
    for (size_t i = 0; i < v->dims.rank; i++) {
        perm[i] = v->dims.rank - 1 - i;
        if (n != 0) IV_TRY(iv_onnx_axis(c, given[i], n, &perm[i]));
        if (used[perm[i]]) return IV_ONNX_FAIL(c, "its perm names an axis twice");
        used[perm[i]] = true;
    }
    return iv_onnx_transpose(c, v, perm, &node->out[0]);
}

isovae_status iv_onnx_read_concat(iv_onnx_context *c, iv_onnx_node *node)
{
    int64_t given;
    size_t axis;
    IV_TRY(iv_onnx_get_int(c, "axis", node->opset < 4 ? 1 : 0, &given));
    for (size_t i = 0; i < node->n_inputs; i++) {
        const iv_onnx_value *unused;
        IV_TRY(iv_onnx_input(c, i, &unused));
    }
    IV_TRY(iv_onnx_axis(c, given, node->in[0]->dims.rank, &axis));
    return iv_onnx_concat(c, node->n_inputs, node->in, axis, &node->out[0]);
}

/* Entries first .. first + n - 1 of an axis. */
static isovae_status piece(iv_onnx_context *c, const iv_onnx_value *v, size_t axis, size_t first,
                           size_t n, iv_onnx_value *out)
{
    const int64_t *maps[IV_ONNX_RANK] = {NULL};
    int64_t *map;
    size_t extents[IV_ONNX_RANK];
    IV_TRY(iv_onnx_work(c, n));
    IV_TRY(IV_ONNX_NEW(c, map, n));
    for (size_t i = 0; i < n; i++) map[i] = (int64_t)(first + i);
    for (size_t i = 0; i < v->dims.rank; i++) extents[i] = v->dims.dim[i];
    extents[axis] = n;
    maps[axis] = map;
    return iv_onnx_pick_axes(c, v, extents, maps, 0, out);
}

isovae_status iv_onnx_read_split(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v;
    const int64_t *sizes;
    int64_t given, parts;
    size_t axis, n, at = 0, *extent;
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_get_int(c, "axis", 0, &given));
    IV_TRY(iv_onnx_get_int(c, "num_outputs", (int64_t)node->n_outputs, &parts));
    IV_TRY(iv_onnx_axis(c, given, v->dims.rank, &axis));
    IV_TRY(iv_onnx_list(c, "split", 1, &sizes, &n));
    size_t whole = v->dims.dim[axis];
    if (n == 0) n = parts > 0 ? (size_t)parts : 0;
    if (n != node->n_outputs) {
        return IV_ONNX_FAIL(c, "it has %zu outputs for %zu parts", node->n_outputs, n);
    }
    IV_TRY(IV_ONNX_NEW(c, extent, n));
    size_t each = n == 0 ? 0 : whole / n + (whole % n != 0);
    for (size_t i = 0; i < n; i++) {
        int64_t size = sizes != NULL       ? sizes[i]
                       : at >= whole       ? 0
                       : whole - at < each ? (int64_t)(whole - at)
                                           : (int64_t)each;
        if (size < 0 || (size_t)size > whole - at) {
            return IV_ONNX_FAIL(c, "its parts do not sum to the extent %zu of axis %zu", whole,
                                axis);
        }
        extent[i] = (size_t)size;
        at += extent[i];
    }
    if (at != whole) {
        return IV_ONNX_FAIL(c, "its parts do not sum to the extent %zu of axis %zu", whole, axis);
    }
    bool by_node = v->live && n <= IV_MAX_PORTS;
    for (size_t i = 0; i < n; i++) by_node = by_node && extent[i] > 0;
    if (by_node && n > 1) {
        size_t row_axis, values[IV_MAX_PORTS];
        iv_onnx_emission e = {.kind = "split", .n_inputs = 1, .n_outputs = n};
        IV_TRY(iv_onnx_row_axis(c, &v->dims, axis, "splitting", &row_axis));
        IV_TRY(iv_onnx_as_is(c, v, &e.inputs[0]));
        e.attributes.axis = row_axis + 1;
        e.attributes.n_sizes = n;
        for (size_t i = 0; i < n; i++) e.attributes.sizes[i] = extent[i];
        IV_TRY(iv_onnx_emit(c, &e, values));
        for (size_t i = 0; i < n; i++) {
            iv_onnx_dims dims = v->dims;
            dims.dim[axis] = extent[i];
            node->out[i] = iv_onnx_made(values[i], v->type, &dims);
        }
        return ISOVAE_OK;
    }
    at = 0;
    for (size_t i = 0; i < n; i++) {
        IV_TRY(piece(c, v, axis, at, extent[i], &node->out[i]));
        at += extent[i];
    }
    return ISOVAE_OK;
}

/* ---- channels into pixels and back ---- */

/* Reshape to `open`, transpose, reshape to what the axes then are in pairs. */
static isovae_status shuffle(iv_onnx_context *c, const iv_onnx_value *v, const iv_onnx_form open[6],
                             const size_t perm[6], const iv_onnx_form closed[4], iv_onnx_value *out)
{
    iv_onnx_value wide, turned;
    IV_TRY(iv_onnx_reshape(c, v, 6, open, &wide));
    IV_TRY(iv_onnx_transpose(c, &wide, perm, &turned));
    return iv_onnx_reshape(c, &turned, 4, closed, out);
}

static isovae_status shuffle_input(iv_onnx_context *c, const iv_onnx_value **v, int64_t *block,
                                   iv_onnx_form e[4])
{
    IV_TRY(iv_onnx_input(c, 0, v));
    IV_TRY(iv_onnx_get_int(c, "blocksize", 0, block));
    if ((*v)->dims.rank != 4 || (*v)->dims.batch > 0 || *block < 1 || *block > 65535) {
        return IV_ONNX_FAIL(c, "its input must have four axes, the batch first, and its blocksize "
                               "be 1 or more");
    }
    for (size_t i = 0; i < 4; i++) {
        e[i] = iv_onnx_extent(c, &(*v)->dims, i);
        if (i > 0 && e[i].k > INT32_MAX) return IV_ONNX_FAIL(c, "its input is too large");
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_read_depth_to_space(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v;
    int64_t b;
    char *mode;
    iv_onnx_form e[4];
    IV_TRY(shuffle_input(c, &v, &b, e));
    IV_TRY(iv_onnx_get_string(c, "mode", &mode));
    if (e[1].k % (b * b) != 0) return IV_ONNX_FAIL(c, "its channels are no multiple of the block");
    iv_onnx_form channels = {e[1].k / (b * b), 0}, block = {b, 0};
    const iv_onnx_form closed[] = {e[0], channels, {e[2].k * b, 0}, {e[3].k * b, 0}};
    if (mode != NULL && strcmp(mode, "CRD") == 0) {
        static const size_t perm[] = {0, 1, 4, 2, 5, 3};
        const iv_onnx_form open[] = {e[0], channels, block, block, e[2], e[3]};
        return shuffle(c, v, open, perm, closed, &node->out[0]);
    }
    static const size_t perm[] = {0, 3, 4, 1, 5, 2};
    const iv_onnx_form open[] = {e[0], block, block, channels, e[2], e[3]};
    return shuffle(c, v, open, perm, closed, &node->out[0]);
}

isovae_status iv_onnx_read_space_to_depth(iv_onnx_context *c, iv_onnx_node *node)
{
    static const size_t perm[] = {0, 3, 5, 1, 2, 4};
    const iv_onnx_value *v;
    int64_t b;
    iv_onnx_form e[4];
    IV_TRY(shuffle_input(c, &v, &b, e));
    if (e[2].k % b != 0 || e[3].k % b != 0) {
        return IV_ONNX_FAIL(c, "its height and width are no multiples of the block");
    }
    iv_onnx_form block = {b, 0};
    const iv_onnx_form open[] = {e[0], e[1], {e[2].k / b, 0}, block, {e[3].k / b, 0}, block};
    const iv_onnx_form closed[] = {e[0], {e[1].k * b * b, 0}, {e[2].k / b, 0}, {e[3].k / b, 0}};
    return shuffle(c, v, open, perm, closed, &node->out[0]);
}
