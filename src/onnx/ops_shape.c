/* Operators that move elements, and those that compute with shapes. */
#include "onnx/loader.h"

#include <math.h>
#include <string.h>

/* ---- constants ---- */

isovae_status iv_onnx_read_constant(iv_onnx_context *c, iv_onnx_node *node)
{
    const Onnx__AttributeProto *a;
    double *f;
    int64_t *k;
    if ((a = iv_onnx_attribute(c, "value")) != NULL && a->t != NULL) {
        return iv_onnx_tensor_read(c, a->t, &node->out[0]);
    }
    bool one = true;
    if ((a = iv_onnx_attribute(c, "value_float")) == NULL) {
        a = iv_onnx_attribute(c, "value_floats");
        one = false;
    }
    if (a != NULL) {
        size_t n = one ? 1 : a->n_floats;
        iv_onnx_dims dims = iv_onnx_dims_of(one ? 0 : 1, &n);
        IV_TRY(iv_onnx_new_float(c, &dims, false, &node->out[0], &f));
        for (size_t i = 0; i < n; i++) f[i] = (double)(one ? a->f : a->floats[i]);
        return ISOVAE_OK;
    }
    one = true;
    if ((a = iv_onnx_attribute(c, "value_int")) == NULL) {
        a = iv_onnx_attribute(c, "value_ints");
        one = false;
    }
    if (a == NULL) return IV_ONNX_REFUSE(c, "its value is no tensor, number or list of numbers");
    size_t n = one ? 1 : a->n_ints;
    iv_onnx_dims dims = iv_onnx_dims_of(one ? 0 : 1, &n);
    IV_TRY(iv_onnx_new_int(c, &dims, IV_ONNX_INT, false, &node->out[0], &k, NULL));
    for (size_t i = 0; i < n; i++) k[i] = one ? a->i : a->ints[i];
    return ISOVAE_OK;
}

/* Dims of a new constant; an axis B is one that each row has alike. */
static isovae_status dims_of_forms(iv_onnx_context *c, const iv_onnx_form *forms, size_t n,
                                   iv_onnx_dims *dims)
{
    if (n > IV_ONNX_RANK) return IV_ONNX_REFUSE(c, "it makes more than %d axes", IV_ONNX_RANK);
    *dims = iv_onnx_dims_of(0, NULL);
    dims->rank = n;
    for (size_t i = 0; i < n; i++) {
        if (forms[i].b == 0 && forms[i].k >= 0) {
            dims->dim[i] = (size_t)forms[i].k;
        } else if (forms[i].b == 1 && forms[i].k == 0 && dims->batch == IV_ONNX_NO_BATCH) {
            dims->dim[i] = 1;
            dims->batch = i;
        } else {
            return IV_ONNX_REFUSE(c, "the shape that it makes is not understood");
        }
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_read_constant_of_shape(iv_onnx_context *c, iv_onnx_node *node)
{
    const Onnx__AttributeProto *a = iv_onnx_attribute(c, "value");
    const iv_onnx_value *shape;
    iv_onnx_value value = {.type = IV_ONNX_FLOAT};
    iv_onnx_form *forms;
    iv_onnx_dims dims;
    size_t n;
    IV_TRY(iv_onnx_input(c, 0, &shape));
    IV_TRY(iv_onnx_forms(c, shape, &forms, &n));
    IV_TRY(dims_of_forms(c, forms, n, &dims));
    if (a != NULL && a->t != NULL) {
        IV_TRY(iv_onnx_tensor_read(c, a->t, &value));
        if (value.tensor->n != 1) return IV_ONNX_FAIL(c, "its value is not one number");
    }
    IV_TRY(iv_onnx_count(c, &dims, &n));
    IV_TRY(iv_onnx_work(c, n));
    if (value.type == IV_ONNX_FLOAT) {
        double *f;
        IV_TRY(iv_onnx_new_float(c, &dims, value.wide, &node->out[0], &f));
        for (size_t i = 0; value.tensor != NULL && i < n; i++) f[i] = value.tensor->f[0];
        return ISOVAE_OK;
    }
    int64_t *k;
    IV_TRY(iv_onnx_new_int(c, &dims, value.type, false, &node->out[0], &k, NULL));
    for (size_t i = 0; i < n; i++) k[i] = value.tensor->i[0];
    return ISOVAE_OK;
}

isovae_status iv_onnx_read_range(iv_onnx_context *c, iv_onnx_node *node)
{
    double value[3];
    bool floats = false, wide = false;
    for (size_t i = 0; i < 3; i++) {
        const iv_onnx_value *v;
        IV_TRY(iv_onnx_input(c, i, &v));
        IV_TRY(iv_onnx_scalar(c, v, &value[i]));
        floats = floats || v->type == IV_ONNX_FLOAT;
        wide = wide || v->wide;
    }
    double count = ceil((value[1] - value[0]) / value[2]);
    if (value[2] == 0 || !(count < 0x1p40)) return IV_ONNX_FAIL(c, "it has no end");
    size_t n = count > 0 ? (size_t)count : 0;
    iv_onnx_dims dims = iv_onnx_dims_of(1, &n);
    IV_TRY(iv_onnx_work(c, n));
    if (floats) {
        double *f;
        IV_TRY(iv_onnx_new_float(c, &dims, wide, &node->out[0], &f));
        for (size_t i = 0; i < n; i++) {
            double x = value[0] + (double)i * value[2];
            f[i] = wide ? x : (double)(float)x;
        }
        return ISOVAE_OK;
    }
    int64_t *k;
    IV_TRY(iv_onnx_new_int(c, &dims, IV_ONNX_INT, false, &node->out[0], &k, NULL));
    for (size_t i = 0; i < n; i++) k[i] = (int64_t)value[0] + (int64_t)i * (int64_t)value[2];
    return ISOVAE_OK;
}

isovae_status iv_onnx_read_eye_like(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v;
    int64_t k;
    double *f;
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_get_int(c, "k", 0, &k));
    if (v->dims.rank != 2 || v->dims.batch != IV_ONNX_NO_BATCH) {
        return IV_ONNX_REFUSE(c, "its input must be a constant of two axes");
    }
    IV_TRY(iv_onnx_new_float(c, &v->dims, false, &node->out[0], &f));
    for (size_t i = 0; i < v->dims.dim[0]; i++) {
        for (size_t j = 0; j < v->dims.dim[1]; j++) {
            f[i * v->dims.dim[1] + j] = (int64_t)j - (int64_t)i == k;
        }
    }
    return ISOVAE_OK;
}

/* Random numbers: their mean, or a refusal that says where to cut. */
isovae_status iv_onnx_read_random(iv_onnx_context *c, iv_onnx_node *node)
{
    const char *op = node->proto->op_type;
    const char *made = node->proto->n_output > 0 ? node->proto->output[0] : "";
    double mean, low, high;
    const int64_t *shape;
    size_t n;
    if (!c->options->random_as_mean) {
        return IV_ONNX_REFUSE(
            c,
            "it draws random numbers. Read the parts before and behind the "
            "sampling: name tensors before it as outputs, and the sampled latents "
            "(or its own output '%.100s') as an input",
            made);
    }
    IV_TRY(iv_onnx_get_float(c, "mean", 0, &mean));
    IV_TRY(iv_onnx_get_float(c, "low", 0, &low));
    IV_TRY(iv_onnx_get_float(c, "high", 1, &high));
    IV_TRY(iv_onnx_get_ints(c, "shape", &shape, &n));
    if (strncmp(op, "RandomUniform", 13) == 0) mean = (low + high) / 2;
    if (strncmp(op, "Random", 6) != 0) return IV_ONNX_REFUSE(c, "it has no mean to stand for it");
    iv_onnx_dims dims = iv_onnx_dims_of(0, NULL);
    const iv_onnx_value *like = iv_onnx_optional(c, 0);
    if (like != NULL) {
        dims = like->dims;
        if (dims.batch != IV_ONNX_NO_BATCH) {
            if (dims.dim[dims.batch] != 1) {
                return IV_ONNX_REFUSE(c, "its batch is merged with another axis");
            }
            dims.before = 1;
        }
    } else {
        if (n > IV_ONNX_RANK) return IV_ONNX_REFUSE(c, "its shape has too many axes");
        dims.rank = n;
        for (size_t i = 0; i < n; i++) {
            if (shape[i] < 0) return IV_ONNX_FAIL(c, "its shape has a negative extent");
            dims.dim[i] = (size_t)shape[i];
        }
    }
    double *f;
    IV_TRY(iv_onnx_count(c, &dims, &n));
    IV_TRY(iv_onnx_work(c, n));
    IV_TRY(iv_onnx_new_float(c, &dims, false, &node->out[0], &f));
    for (size_t i = 0; i < n; i++) f[i] = mean;
    return iv_onnx_note(c, "node '%.100s' (%s): its random numbers were taken as their mean, %g",
                        node->proto->name == NULL ? "" : node->proto->name, op, mean);
}

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

/* ---- shapes ---- */

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

/* ---- picking ---- */

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
