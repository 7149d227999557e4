/* Shapes with the batch in them. */
#include "onnx/loader.h"

#include <stdio.h>
#include <string.h>

iv_onnx_dims iv_onnx_dims_of(size_t rank, const size_t *dim)
{
    iv_onnx_dims dims = {.rank = rank, .batch = IV_ONNX_NO_BATCH, .before = 1};
    for (size_t i = 0; i < rank; i++) dims.dim[i] = dim[i];
    return dims;
}

bool iv_onnx_dims_equal(const iv_onnx_dims *a, const iv_onnx_dims *b)
{
    if (a->rank != b->rank || a->batch != b->batch) return false;
    if (a->batch != IV_ONNX_NO_BATCH && a->before != b->before) return false;
    return memcmp(a->dim, b->dim, a->rank * sizeof a->dim[0]) == 0;
}

const char *iv_onnx_dims_text(const iv_onnx_dims *dims, char text[IV_ONNX_DIMS_TEXT])
{
    size_t at = 1;
    text[0] = '[';
    for (size_t i = 0; i < dims->rank && at < IV_ONNX_DIMS_TEXT - 32; i++) {
        const char *comma = i == 0 ? "" : ",";
        int n = i != dims->batch    ? snprintf(text + at, 32, "%s%zu", comma, dims->dim[i])
                : dims->dim[i] == 1 ? snprintf(text + at, 32, "%sB", comma)
                                    : snprintf(text + at, 32, "%sB*%zu", comma, dims->dim[i]);
        at += (size_t)(n < 0 ? 0 : n > 31 ? 31 : n);
    }
    snprintf(text + at, IV_ONNX_DIMS_TEXT - at, "]");
    return text;
}

iv_onnx_form iv_onnx_extent(const iv_onnx_context *c, const iv_onnx_dims *dims, size_t axis)
{
    int64_t extent = (int64_t)dims->dim[axis];
    if (axis != dims->batch) return (iv_onnx_form){extent, 0};
    int64_t fixed;
    if (c->fixed == 0) return (iv_onnx_form){0, extent};
    if (__builtin_mul_overflow(extent, (int64_t)c->fixed, &fixed)) fixed = INT64_MAX;
    return (iv_onnx_form){fixed, 0};
}

isovae_status iv_onnx_row_shape(iv_onnx_context *c, const iv_onnx_dims *dims, iv_shape *out)
{
    *out = (iv_shape){0};
    for (size_t i = 0; i < dims->rank; i++) {
        if (i == dims->batch && dims->dim[i] == 1) continue;
        if (out->rank == IV_MAX_RANK) {
            return IV_ONNX_REFUSE(c, "its tensors have more than %d axes beside the batch",
                                  IV_MAX_RANK);
        }
        if (dims->dim[i] == 0) return IV_ONNX_REFUSE(c, "one of its tensors is empty");
        out->dim[out->rank++] = dims->dim[i];
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_row_axis(iv_onnx_context *c, const iv_onnx_dims *dims, size_t axis,
                               const char *doing, size_t *out)
{
    if (axis == dims->batch) {
        return IV_ONNX_REFUSE(c,
                              "%s axis %zu would mix rows of the batch; only what treats each row "
                              "alone can be read",
                              doing, axis);
    }
    *out = axis;
    if (dims->batch != IV_ONNX_NO_BATCH && dims->batch < axis && dims->dim[dims->batch] == 1) {
        (*out)--;
    }
    return ISOVAE_OK;
}

static isovae_status misfit(iv_onnx_context *c, const iv_onnx_dims *from, size_t rank,
                            const iv_onnx_form *target)
{
    char a[IV_ONNX_DIMS_TEXT], b[IV_ONNX_DIMS_TEXT];
    size_t at = 0;
    b[0] = '\0';
    for (size_t i = 0; i < rank && at < sizeof b - 48; i++) {
        int n = target[i].b == 0
                    ? snprintf(b + at, 48, "%s%lld", i == 0 ? "" : ",", (long long)target[i].k)
                    : snprintf(b + at, 48, "%s%lldB", i == 0 ? "" : ",", (long long)target[i].b);
        at += (size_t)(n < 0 ? 0 : n);
    }
    return IV_ONNX_FAIL(c, "%s cannot become [%s]%s", iv_onnx_dims_text(from, a), b,
                        c->fixed == 0 && from->batch != IV_ONNX_NO_BATCH
                            ? " (B is the batch: the numbers of elements in a row differ, or the "
                              "file was exported for one batch size but does not say which)"
                            : "");
}

/* The extents of a row around the batch: product before it and behind it. */
static bool around(const iv_onnx_dims *dims, size_t *before, size_t *after)
{
    *before = *after = 1;
    for (size_t i = 0; i < dims->rank; i++) {
        if (i == dims->batch) {
            if (!iv_size_mul(*before, dims->before, before)) return false;
            if (!iv_size_mul(*after, dims->dim[i] / dims->before, after)) return false;
        } else {
            size_t *side = dims->batch == IV_ONNX_NO_BATCH || i < dims->batch ? before : after;
            if (!iv_size_mul(*side, dims->dim[i], side)) return false;
        }
    }
    return true;
}

/* Whether the batch can be in axis j of the target, times u before it and v behind. */
static bool fits(const size_t *plain, size_t rank, size_t j, size_t extent, size_t before,
                 size_t after, size_t *u)
{
    size_t left = 1, right = 1;
    for (size_t i = 0; i < rank; i++) {
        size_t *side = i < j ? &left : &right;
        if (i != j && !iv_size_mul(*side, plain[i], side)) return false;
    }
    if (left == 0 || right == 0 || before % left != 0 || after % right != 0) return false;
    *u = before / left;
    size_t product;
    return iv_size_mul(*u, after / right, &product) && product == extent;
}

isovae_status iv_onnx_reshaped(iv_onnx_context *c, const iv_onnx_dims *from, size_t rank,
                               const iv_onnx_form *target, iv_onnx_dims *out)
{
    size_t plain[IV_ONNX_RANK] = {0}, marked = SIZE_MAX, before, after;
    if (rank > IV_ONNX_RANK) {
        return IV_ONNX_REFUSE(c, "tensors of more than %d axes are not supported", IV_ONNX_RANK);
    }
    if (!around(from, &before, &after)) return misfit(c, from, rank, target);
    for (size_t i = 0; i < rank; i++) {
        bool good = target[i].b == 0 ? target[i].k >= 0
                                     : target[i].k == 0 && target[i].b > 0 && marked == SIZE_MAX;
        if (!good) return misfit(c, from, rank, target);
        if (target[i].b != 0) marked = i;
        plain[i] = (size_t)(target[i].b != 0 ? target[i].b : target[i].k);
    }
    *out = iv_onnx_dims_of(rank, plain);
    if (from->batch == IV_ONNX_NO_BATCH) {
        size_t product = 1;
        for (size_t i = 0; i < rank; i++) {
            if (!iv_size_mul(product, plain[i], &product)) return misfit(c, from, rank, target);
        }
        if (marked != SIZE_MAX || product != before * after) return misfit(c, from, rank, target);
        return ISOVAE_OK;
    }
    if (marked != SIZE_MAX) {
        if (!fits(plain, rank, marked, plain[marked], before, after, &out->before)) {
            return misfit(c, from, rank, target);
        }
        out->batch = marked;
        return ISOVAE_OK;
    }
    /* The batch is one of the numbers: best where it is the whole of an axis. */
    for (int merged = 0; c->fixed != 0 && merged < 2; merged++) {
        for (size_t i = 0; i < rank; i++) {
            if (plain[i] % c->fixed != 0) continue;
            size_t extent = plain[i] / c->fixed;
            if ((!merged && extent != 1) ||
                !fits(plain, rank, i, extent, before, after, &out->before)) {
                continue;
            }
            out->batch = i;
            out->dim[i] = extent;
            return ISOVAE_OK;
        }
    }
    return misfit(c, from, rank, target);
}

iv_onnx_dims iv_onnx_widened(const iv_onnx_dims *dims, size_t rank)
{
    iv_onnx_dims wide = *dims;
    if (rank <= dims->rank) return wide;
    size_t more = rank - dims->rank;
    wide.rank = rank;
    for (size_t i = 0; i < rank; i++) wide.dim[i] = i < more ? 1 : dims->dim[i - more];
    if (dims->batch != IV_ONNX_NO_BATCH) wide.batch = dims->batch + more;
    return wide;
}

isovae_status iv_onnx_broadcast(iv_onnx_context *c, const iv_onnx_dims *a, const iv_onnx_dims *b,
                                iv_onnx_dims *out)
{
    size_t rank = a->rank > b->rank ? a->rank : b->rank;
    iv_onnx_dims x = iv_onnx_widened(a, rank), y = iv_onnx_widened(b, rank);
    char text_a[IV_ONNX_DIMS_TEXT], text_b[IV_ONNX_DIMS_TEXT];
    bool good = true;
    *out = x;
    if (x.batch != IV_ONNX_NO_BATCH && y.batch != IV_ONNX_NO_BATCH) {
        if (x.batch != y.batch) {
            return IV_ONNX_REFUSE(c,
                                  "%s and %s have the batch on different axes: together they would "
                                  "mix rows of the batch",
                                  iv_onnx_dims_text(a, text_a), iv_onnx_dims_text(b, text_b));
        }
        good = x.before == y.before && x.dim[x.batch] == y.dim[y.batch];
    } else if (y.batch != IV_ONNX_NO_BATCH) {
        out->batch = y.batch;
        out->before = y.before;
    }
    for (size_t i = 0; i < rank; i++) {
        size_t p = x.dim[i], q = y.dim[i];
        if (i == out->batch) {
            /* a constant is the same in each row, or says the same for each row of the export */
            bool one = x.batch == i && y.batch != i, other = y.batch == i && x.batch != i;
            if ((one && q != 1 && q != p * c->fixed) || (other && p != 1 && p != q * c->fixed)) {
                good = false;
            }
            out->dim[i] = one ? p : other ? q : p;
            continue;
        }
        if (p != q && p != 1 && q != 1) good = false;
        out->dim[i] = p == 1 ? q : p;
    }
    if (good) return ISOVAE_OK;
    return IV_ONNX_FAIL(c, "%s and %s do not go together", iv_onnx_dims_text(a, text_a),
                        iv_onnx_dims_text(b, text_b));
}

isovae_status iv_onnx_forms(iv_onnx_context *c, const iv_onnx_value *v, iv_onnx_form **out,
                            size_t *n)
{
    if (v->live) {
        return IV_ONNX_REFUSE(c, "one of its inputs that must be constant depends on the data");
    }
    if (v->type == IV_ONNX_FLOAT) return IV_ONNX_FAIL(c, "an input must be integers, not floats");
    *n = v->tensor->n;
    IV_TRY(IV_ONNX_NEW(c, *out, *n));
    for (size_t i = 0; i < *n; i++) {
        (*out)[i] = (iv_onnx_form){v->tensor->i[i], v->tensor->b == NULL ? 0 : v->tensor->b[i]};
    }
    return ISOVAE_OK;
}
