/* Values that are computed: constants at once, live ones by a node. */
#include "onnx/loader.h"

#include <math.h>
#include <string.h>

isovae_status iv_onnx_number(iv_onnx_context *c, double number, iv_onnx_value *out)
{
    double *f;
    iv_onnx_dims dims = iv_onnx_dims_of(0, NULL);
    IV_TRY(iv_onnx_new_float(c, &dims, true, out, &f));
    *f = number;
    return ISOVAE_OK;
}

isovae_status iv_onnx_spread(iv_onnx_context *c, const iv_onnx_value *v, const iv_onnx_dims *dims,
                             const double **out)
{
    const double *data;
    double *f;
    size_t n, count, stride[IV_ONNX_RANK], at[IV_ONNX_RANK] = {0}, step = 1;
    char a[IV_ONNX_DIMS_TEXT], b[IV_ONNX_DIMS_TEXT];
    iv_onnx_dims wide = iv_onnx_widened(&v->dims, dims->rank);
    size_t copies = 1; /* rows of the exported batch that the constant holds */
    IV_TRY(iv_onnx_numbers(c, v, &data, &n));
    IV_TRY(iv_onnx_count(c, dims, &count));
    bool fits = wide.rank == dims->rank;
    for (size_t i = dims->rank; fits && i-- > 0;) {
        if (i == dims->batch && wide.dim[i] != 1 && c->fixed > 1 &&
            wide.dim[i] == dims->dim[i] * c->fixed) {
            copies = c->fixed;
        } else {
            fits = wide.dim[i] == 1 || wide.dim[i] == dims->dim[i];
        }
        stride[i] = wide.dim[i] == 1 ? 0 : step;
        step *= wide.dim[i];
    }
    if (!fits) {
        return IV_ONNX_FAIL(c, "a constant of shape %s does not go with %s",
                            iv_onnx_dims_text(&v->dims, a), iv_onnx_dims_text(dims, b));
    }
    IV_TRY(iv_onnx_work(c, count * copies));
    IV_TRY(IV_ONNX_NEW(c, f, count));
    for (size_t k = 0; k < count; k++) {
        size_t from = 0, more = 0;
        for (size_t i = 0; i < dims->rank; i++) {
            if (i != dims->batch || copies == 1) {
                from += at[i] * stride[i];
                continue;
            }
            size_t behind = dims->dim[i] / dims->before; /* elements from one row to the next */
            from += (at[i] / behind * copies * behind + at[i] % behind) * stride[i];
            more = behind * stride[i];
        }
        f[k] = data[from];
        for (size_t r = 1; r < copies; r++) {
            if (data[from + r * more] == f[k]) continue;
            return IV_ONNX_REFUSE(c,
                                  "a constant has other values for each row of the batch of %zu "
                                  "that the file was exported with; export a batch of 1, or with a "
                                  "free batch axis",
                                  c->fixed);
        }
        for (size_t i = dims->rank; i-- > 0;) {
            if (++at[i] < dims->dim[i]) break;
            at[i] = 0;
        }
    }
    *out = f;
    return ISOVAE_OK;
}

/* ---- elementwise ---- */

/* Axes of an operand beside those of the result, the batch's left out where it stands alone. */
static isovae_status operand_shape(iv_onnx_context *c, const iv_onnx_dims *own,
                                   const iv_onnx_dims *out, iv_shape *shape)
{
    iv_onnx_dims wide = iv_onnx_widened(own, out->rank);
    *shape = (iv_shape){0};
    for (size_t i = 0; i < out->rank; i++) {
        if (i == out->batch && out->dim[i] == 1) continue;
        if (shape->rank == IV_MAX_RANK) return IV_ONNX_REFUSE(c, "it has too many axes");
        if (wide.dim[i] == 0) return IV_ONNX_REFUSE(c, "one of its tensors is empty");
        shape->dim[shape->rank++] = wide.dim[i];
    }
    return ISOVAE_OK;
}

/* A constant as a parameter of role `role`: small, where repeating makes it fit. */
static isovae_status as_constant(iv_onnx_context *c, const iv_onnx_value *v,
                                 const iv_onnx_dims *out, iv_onnx_emission *e, size_t role)
{
    iv_onnx_dims wide = iv_onnx_widened(&v->dims, out->rank), own = *out;
    for (size_t i = 0; i < out->rank; i++) {
        if (wide.dim[i] == 1 && i != out->batch) own.dim[i] = 1;
        if (i == out->batch && wide.dim[i] == 1) { /* not repeated here, but by the node */
            own.dim[i] = 1;
            own.before = 1;
        }
    }
    IV_TRY(iv_onnx_spread(c, v, &own, &e->params[role].data));
    return operand_shape(c, &own, out, &e->params[role].shape);
}

static isovae_status as_input(iv_onnx_context *c, const iv_onnx_value *v, const iv_onnx_dims *out,
                              iv_onnx_emission *e)
{
    iv_shape shape;
    IV_TRY(operand_shape(c, &v->dims, out, &shape));
    return iv_onnx_rows(c, v, &shape, &e->inputs[e->n_inputs++]);
}

static const char *const kinds[] = {
    [IV_ONNX_ADD] = "add",         [IV_ONNX_SUB] = "subtract",
    [IV_ONNX_MUL] = "multiply",    [IV_ONNX_DIV] = "divide",
    [IV_ONNX_POW] = "power",       [IV_ONNX_MIN] = "minimum",
    [IV_ONNX_MAX] = "maximum",     [IV_ONNX_MOD] = NULL,
    [IV_ONNX_FMOD] = NULL,         [IV_ONNX_EQUAL] = "equal",
    [IV_ONNX_LESS] = "less",       [IV_ONNX_LESS_EQUAL] = "less_or_equal",
    [IV_ONNX_GREATER] = "greater", [IV_ONNX_GREATER_EQUAL] = "greater_or_equal",
    [IV_ONNX_AND] = "and",         [IV_ONNX_OR] = "or",
    [IV_ONNX_XOR] = "equal", /* and not */
};

static bool is_number(const iv_onnx_value *v, double *number)
{
    if (v->live || v->tensor->n != 1) return false;
    if (v->type != IV_ONNX_FLOAT && v->tensor->b != NULL && v->tensor->b[0] != 0) return false;
    *number = v->type == IV_ONNX_FLOAT ? v->tensor->f[0] : (double)v->tensor->i[0];
    return isfinite(*number);
}

/* Powers that have a node of their own. */
static isovae_status easy_power(iv_onnx_context *c, double exponent, const iv_onnx_value *v,
                                bool *done, iv_onnx_value *out)
{
    const char *kind = exponent == 2      ? "square"
                       : exponent == 0.5  ? "sqrt"
                       : exponent == -1.0 ? "reciprocal"
                                          : NULL;
    *done = true;
    if (exponent == 1) {
        *out = *v;
        return ISOVAE_OK;
    }
    if (kind != NULL) return iv_onnx_unary(c, NULL, kind, NAN, NAN, v, out);
    *done = false;
    return ISOVAE_OK;
}

isovae_status iv_onnx_binary(iv_onnx_context *c, iv_onnx_op2 op, const iv_onnx_value *a,
                             const iv_onnx_value *b, iv_onnx_value *out)
{
    if (!a->live && !b->live) return iv_onnx_fold2(c, op, a, b, out);
    if (kinds[op] == NULL) return IV_ONNX_REFUSE(c, "it is supported on constants alone");
    iv_onnx_dims dims;
    double number;
    size_t value;
    IV_TRY(iv_onnx_broadcast(c, &a->dims, &b->dims, &dims));
    iv_onnx_emission e = {.kind = kinds[op], .n_outputs = 1};
    const iv_onnx_value *live = a->live ? a : b, *constant = a->live ? b : a;
    if (constant->live) {
        IV_TRY(as_input(c, a, &dims, &e));
        IV_TRY(as_input(c, b, &dims, &e));
    } else {
        if (op == IV_ONNX_POW && a->live && is_number(b, &number) && b->dims.rank <= a->dims.rank) {
            bool done;
            IV_TRY(easy_power(c, number, a, &done, out));
            if (done) return ISOVAE_OK;
        }
        e.attributes.constant_first = a->live ? 0 : 1;
        if (is_number(constant, &number) && constant->dims.rank <= live->dims.rank) {
            /* wherever it stands: the rows stay as they lie */
            e.attributes.given[0] = true;
            e.attributes.number[0] = number;
            e.n_inputs = 1;
            e.inputs[0] = live->value;
        } else {
            IV_TRY(as_input(c, live, &dims, &e));
            IV_TRY(as_constant(c, constant, &dims, &e, 0));
        }
    }
    IV_TRY(iv_onnx_emit(c, &e, &value));
    *out = iv_onnx_made(value, op >= IV_ONNX_EQUAL ? IV_ONNX_BOOL : IV_ONNX_FLOAT, &dims);
    if (op == IV_ONNX_XOR) {
        iv_onnx_value equal = *out;
        IV_TRY(iv_onnx_unary(c, NULL, "not", NAN, NAN, &equal, out));
        out->type = IV_ONNX_BOOL;
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_unary(iv_onnx_context *c, iv_onnx_function *f, const char *kind, double alpha,
                            double beta, const iv_onnx_value *v, iv_onnx_value *out)
{
    if (!v->live && f != NULL) return iv_onnx_fold1(c, f, alpha, beta, v, out);
    iv_onnx_value live;
    size_t value;
    if (kind == NULL) return IV_ONNX_REFUSE(c, "it is supported on constants alone");
    IV_TRY(iv_onnx_enliven(c, v, &live));
    iv_onnx_emission e = {.kind = kind, .n_inputs = 1, .n_outputs = 1, .inputs = {live.value}};
    if (!isnan(alpha)) {
        e.attributes.given[0] = true;
        e.attributes.number[0] = alpha;
        e.attributes.parameter = alpha;
    }
    if (!isnan(beta)) {
        e.attributes.given[1] = true;
        e.attributes.number[1] = beta;
    }
    IV_TRY(iv_onnx_emit(c, &e, &value));
    *out = iv_onnx_made(value, IV_ONNX_FLOAT, &live.dims);
    return ISOVAE_OK;
}

isovae_status iv_onnx_where(iv_onnx_context *c, const iv_onnx_value *test, const iv_onnx_value *a,
                            const iv_onnx_value *b, iv_onnx_value *out)
{
    const iv_onnx_value *all[] = {test, a, b};
    if (!test->live && !a->live && !b->live) return iv_onnx_fold_where(c, test, a, b, out);
    iv_onnx_dims dims = test->dims;
    size_t value;
    for (size_t i = 1; i < 3; i++) IV_TRY(iv_onnx_broadcast(c, &dims, &all[i]->dims, &dims));
    iv_onnx_emission e = {.kind = "where", .n_outputs = 1};
    for (size_t i = 0; i < 3; i++) {
        if (all[i]->live)
            IV_TRY(as_input(c, all[i], &dims, &e));
        else
            IV_TRY(as_constant(c, all[i], &dims, &e, i));
    }
    IV_TRY(iv_onnx_emit(c, &e, &value));
    bool truth = a->type == IV_ONNX_BOOL && b->type == IV_ONNX_BOOL;
    *out = iv_onnx_made(value, truth ? IV_ONNX_BOOL : IV_ONNX_FLOAT, &dims);
    return ISOVAE_OK;
}

/* ---- sums ---- */

static iv_reduce reduction_of(iv_onnx_sum op)
{
    static const iv_reduce all[] = {[IV_ONNX_SUM] = IV_REDUCE_SUM,
                                    [IV_ONNX_MEAN] = IV_REDUCE_MEAN,
                                    [IV_ONNX_REDUCE_MAX] = IV_REDUCE_MAX,
                                    [IV_ONNX_REDUCE_MIN] = IV_REDUCE_MIN,
                                    [IV_ONNX_PROD] = IV_REDUCE_PROD,
                                    [IV_ONNX_SUM_SQUARE] = IV_REDUCE_SUM_SQUARE,
                                    [IV_ONNX_L1] = IV_REDUCE_L1,
                                    [IV_ONNX_L2] = IV_REDUCE_L2,
                                    [IV_ONNX_LOG_SUM_EXP] = IV_REDUCE_LOG_SUM_EXP};
    return all[op];
}

/* Without the axes that go, which have extent 1. */
static void drop(iv_onnx_dims *dims, const bool *axes)
{
    size_t n = 0, batch = dims->batch;
    for (size_t i = 0; i < dims->rank; i++) {
        if (axes[i]) continue;
        if (i == batch) dims->batch = n;
        dims->dim[n++] = dims->dim[i];
    }
    dims->rank = n;
}

isovae_status iv_onnx_reduce(iv_onnx_context *c, iv_onnx_sum op, const iv_onnx_value *v,
                             const bool *axes, bool keep, iv_onnx_value *out)
{
    if (!v->live) {
        IV_TRY(iv_onnx_fold_reduce(c, op, v, axes, out));
        if (!keep) drop(&out->dims, axes);
        return ISOVAE_OK;
    }
    iv_onnx_emission e = {.kind = "reduce",
                          .n_inputs = 1,
                          .n_outputs = 1,
                          .attributes = {.reduction = reduction_of(op), .keepdims = 1}};
    iv_onnx_dims dims = v->dims;
    bool same = op == IV_ONNX_SUM || op == IV_ONNX_MEAN || op == IV_ONNX_PROD ||
                op == IV_ONNX_REDUCE_MAX || op == IV_ONNX_REDUCE_MIN || op == IV_ONNX_LOG_SUM_EXP;
    for (size_t i = 0; i < dims.rank; i++) {
        if (!axes[i]) continue;
        size_t axis;
        IV_TRY(iv_onnx_row_axis(c, &dims, i, "summing over", &axis));
        e.attributes.sizes[e.attributes.n_sizes++] = axis + 1;
        same = same && dims.dim[i] == 1;
    }
    for (size_t i = 0; i < dims.rank; i++) {
        if (axes[i]) dims.dim[i] = 1;
    }
    *out = *v;
    if (!same && e.attributes.n_sizes > 0) {
        size_t value;
        IV_TRY(iv_onnx_as_is(c, v, &e.inputs[0]));
        IV_TRY(iv_onnx_emit(c, &e, &value));
        *out = iv_onnx_made(value, IV_ONNX_FLOAT, &dims);
    } else if (!same) { /* over nothing, elementwise */
        const char *kind = op == IV_ONNX_SUM_SQUARE ? "square" : "abs";
        IV_TRY(iv_onnx_unary(c, NULL, kind, NAN, NAN, v, out));
    }
    out->dims = dims;
    if (!keep) drop(&out->dims, axes);
    return ISOVAE_OK;
}

isovae_status iv_onnx_softmax(iv_onnx_context *c, const iv_onnx_value *v, size_t axis, bool log,
                              iv_onnx_value *out)
{
    iv_onnx_value live;
    size_t row_axis, value;
    IV_TRY(iv_onnx_enliven(c, v, &live));
    axis += live.dims.rank - v->dims.rank;
    IV_TRY(iv_onnx_row_axis(c, &live.dims, axis, "softmax over", &row_axis));
    iv_onnx_emission e = {.kind = log ? "log_softmax" : "softmax",
                          .n_inputs = 1,
                          .n_outputs = 1,
                          .attributes = {.axis = row_axis + 1}};
    IV_TRY(iv_onnx_as_is(c, &live, &e.inputs[0]));
    IV_TRY(iv_onnx_emit(c, &e, &value));
    *out = iv_onnx_made(value, IV_ONNX_FLOAT, &live.dims);
    return ISOVAE_OK;
}

/* ---- products of matrices ---- */

static isovae_status mismatch(iv_onnx_context *c, const iv_onnx_value *a, const iv_onnx_value *b)
{
    char text_a[IV_ONNX_DIMS_TEXT], text_b[IV_ONNX_DIMS_TEXT];
    return IV_ONNX_FAIL(c, "%s and %s cannot be multiplied", iv_onnx_dims_text(&a->dims, text_a),
                        iv_onnx_dims_text(&b->dims, text_b));
}

/* Rows for matmul: leading axes without a batch that stands alone, and always two behind them. */
static isovae_status matrix_rows(iv_onnx_context *c, const iv_onnx_dims *dims, iv_shape *shape)
{
    *shape = (iv_shape){0};
    for (size_t i = 0; i < dims->rank; i++) {
        if (i == dims->batch && dims->dim[i] == 1 && i + 2 < dims->rank) continue;
        if (shape->rank == IV_MAX_RANK) return IV_ONNX_REFUSE(c, "it has too many axes");
        if (dims->dim[i] == 0) return IV_ONNX_REFUSE(c, "one of its matrices is empty");
        shape->dim[shape->rank++] = dims->dim[i];
    }
    return ISOVAE_OK;
}

/* All of a row through one constant matrix: dense. */
static isovae_status dense(iv_onnx_context *c, const iv_onnx_value *v, const double *weight,
                           size_t k, size_t n, size_t *value)
{
    double *turned;
    const iv_shape row = {1, {k}};
    if (weight == NULL) return IV_ONNX_REFUSE(c, "one of its matrices is empty");
    IV_TRY(iv_onnx_work(c, k * n));
    IV_TRY(IV_ONNX_NEW(c, turned, k * n));
    for (size_t i = 0; i < k; i++) {
        for (size_t j = 0; j < n; j++) turned[j * k + i] = weight[i * n + j];
    }
    iv_onnx_emission e = {.kind = "dense", .n_inputs = 1, .n_outputs = 1};
    IV_TRY(iv_onnx_rows(c, v, &row, &e.inputs[0]));
    e.params[0].shape = (iv_shape){2, {n, k}};
    e.params[0].data = turned;
    return iv_onnx_emit(c, &e, value);
}

/* Leading axes of both brought together, by repeating constants. */
static isovae_status fold_matmul(iv_onnx_context *c, iv_onnx_value *a, iv_onnx_value *b,
                                 const iv_onnx_dims *lead, iv_onnx_value *out)
{
    iv_onnx_value *both[] = {a, b};
    for (size_t s = 0; s < 2; s++) {
        const int64_t *maps[IV_ONNX_RANK] = {NULL};
        size_t extents[IV_ONNX_RANK];
        for (size_t i = 0; i < a->dims.rank; i++) {
            extents[i] = i < lead->rank ? lead->dim[i] : both[s]->dims.dim[i];
            if (extents[i] == both[s]->dims.dim[i]) continue;
            int64_t *zeros;
            IV_TRY(IV_ONNX_NEW(c, zeros, extents[i]));
            maps[i] = zeros;
        }
        iv_onnx_value whole;
        IV_TRY(iv_onnx_pick_axes(c, both[s], extents, maps, 0, &whole));
        *both[s] = whole;
    }
    return iv_onnx_fold_matmul(c, a, b, out);
}

static iv_onnx_dims leading(const iv_onnx_dims *dims)
{
    iv_onnx_dims lead = *dims;
    lead.rank -= 2;
    if (lead.batch != IV_ONNX_NO_BATCH && lead.batch >= lead.rank) lead.batch = IV_ONNX_NO_BATCH;
    return lead;
}

isovae_status iv_onnx_matmul(iv_onnx_context *c, const iv_onnx_value *left,
                             const iv_onnx_value *right, iv_onnx_value *out)
{
    iv_onnx_value a = *left, b = *right;
    bool no_m = a.dims.rank == 1, no_n = b.dims.rank == 1;
    if (a.dims.rank == 0 || b.dims.rank == 0) return mismatch(c, left, right);
    if (no_m) a.dims = iv_onnx_widened(&a.dims, 2);
    if (no_n) b.dims.dim[b.dims.rank++] = 1;
    size_t rank = a.dims.rank > b.dims.rank ? a.dims.rank : b.dims.rank;
    a.dims = iv_onnx_widened(&a.dims, rank);
    b.dims = iv_onnx_widened(&b.dims, rank);
    size_t k = a.dims.dim[rank - 1], n = b.dims.dim[rank - 1], value;
    if (a.dims.batch == rank - 1 || b.dims.batch == rank - 2) {
        return IV_ONNX_REFUSE(c, "the product sums over the batch, and so mixes its rows");
    }
    if (k != b.dims.dim[rank - 2]) return mismatch(c, left, right);
    bool in_m = a.dims.batch == rank - 2, in_n = b.dims.batch == rank - 1;
    if ((in_m && b.dims.batch != IV_ONNX_NO_BATCH) || (in_n && a.dims.batch != IV_ONNX_NO_BATCH)) {
        return IV_ONNX_REFUSE(c, "the product multiplies each row of the batch with each other");
    }
    iv_onnx_dims lead_a = leading(&a.dims), lead_b = leading(&b.dims), dims;
    IV_TRY(iv_onnx_broadcast(c, &lead_a, &lead_b, &dims));
    iv_onnx_dims lead = dims;
    dims.dim[rank - 2] = a.dims.dim[rank - 2];
    dims.dim[rank - 1] = n;
    dims.rank = rank;
    if (in_m || in_n) {
        dims.batch = in_m ? rank - 2 : rank - 1;
        dims.before = in_m ? a.dims.before : b.dims.before;
    }
    if (!a.live && !b.live) {
        IV_TRY(fold_matmul(c, &a, &b, &lead, out));
    } else {
        iv_onnx_emission e = {.kind = "matmul", .n_outputs = 1};
        size_t row_size, matrices, count;
        const double *weight = NULL;
        iv_shape shape;
        IV_TRY(iv_onnx_count(c, a.live ? &a.dims : &b.dims, &row_size));
        IV_TRY(iv_onnx_count(c, &lead_b, &matrices));
        if (!b.live) IV_TRY(iv_onnx_numbers(c, &b, &weight, &count));
        if (!b.live && matrices == 1 && row_size == k && k > 0 && n > 0) {
            IV_TRY(dense(c, &a, weight, k, n, &value));
        } else {
            const iv_onnx_value *both[] = {&a, &b};
            for (size_t i = 0; i < 2; i++) {
                if (both[i]->live) {
                    IV_TRY(matrix_rows(c, &both[i]->dims, &shape));
                    IV_TRY(iv_onnx_rows(c, both[i], &shape, &e.inputs[e.n_inputs++]));
                    continue;
                }
                /* its leading axes stand beside those of the result */
                iv_onnx_dims own = both[i]->dims;
                if (dims.batch < rank - 2 && own.dim[dims.batch] != 1) {
                    return IV_ONNX_REFUSE(c, "a constant holds a matrix for each row of the batch");
                }
                own.batch = dims.batch < rank - 2 && dims.dim[dims.batch] == 1 ? dims.batch
                                                                               : IV_ONNX_NO_BATCH;
                IV_TRY(matrix_rows(c, &own, &e.params[0].shape));
                IV_TRY(iv_onnx_numbers(c, both[i], &e.params[0].data, &count));
                e.attributes.constant_first = i == 0;
            }
            IV_TRY(iv_onnx_emit(c, &e, &value));
        }
        *out = iv_onnx_made(value, IV_ONNX_FLOAT, &dims);
    }
    if (no_m || no_n) {
        bool gone[IV_ONNX_RANK] = {false};
        gone[rank - 2] = no_m;
        gone[rank - 1] = no_n;
        drop(&out->dims, gone);
    }
    return ISOVAE_OK;
}
