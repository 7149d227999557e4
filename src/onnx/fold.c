/* Constants computed at load: floats in double (rounded to float where the file has floats),
 * integers exactly, with multiples of the batch carried along. */
#include "onnx/loader.h"

#include <float.h>
#include <math.h>

/* Distances of an operand's elements along the output's axes, 0 where it is repeated. */
static void strides_of(const iv_onnx_dims *own, const iv_onnx_dims *out, size_t *stride)
{
    iv_onnx_dims wide = iv_onnx_widened(own, out->rank);
    size_t step = 1;
    for (size_t i = out->rank; i-- > 0;) {
        stride[i] = wide.dim[i] == 1 ? 0 : step;
        step *= wide.dim[i];
    }
}

/* Goes through the elements of the output; offsets of `n` operands beside it. */
typedef struct walk {
    size_t rank, n, count;
    const size_t *extent;
    size_t at[IV_ONNX_RANK];
    size_t stride[3][IV_ONNX_RANK], offset[3];
} walk;

static void step(walk *w)
{
    for (size_t i = w->rank; i-- > 0;) {
        for (size_t j = 0; j < w->n; j++) w->offset[j] += w->stride[j][i];
        if (++w->at[i] < w->extent[i]) return;
        for (size_t j = 0; j < w->n; j++) w->offset[j] -= w->extent[i] * w->stride[j][i];
        w->at[i] = 0;
    }
}

static double rounded(double x, bool wide)
{
    return wide || isnan(x) ? x : (double)(float)x;
}

/* ---- two operands ---- */

static double float2(iv_onnx_op2 op, double a, double b)
{
    switch (op) {
    case IV_ONNX_ADD: return a + b;
    case IV_ONNX_SUB: return a - b;
    case IV_ONNX_MUL: return a * b;
    case IV_ONNX_DIV: return a / b;
    case IV_ONNX_POW: return pow(a, b);
    case IV_ONNX_MIN: return a < b || isnan(a) ? a : b;
    case IV_ONNX_MAX: return a > b || isnan(a) ? a : b;
    case IV_ONNX_MOD: { /* the sign of b */
        double r = fmod(a, b);
        return r != 0 && (r < 0) != (b < 0) ? r + b : r;
    }
    case IV_ONNX_FMOD: return fmod(a, b);
    case IV_ONNX_EQUAL: return a == b;
    case IV_ONNX_LESS: return a < b;
    case IV_ONNX_LESS_EQUAL: return a <= b;
    case IV_ONNX_GREATER: return a > b;
    case IV_ONNX_GREATER_EQUAL: return a >= b;
    case IV_ONNX_AND: return a != 0 && b != 0;
    case IV_ONNX_OR: return a != 0 || b != 0;
    case IV_ONNX_XOR: return (a != 0) != (b != 0);
    }
    return NAN;
}

static bool is_test(iv_onnx_op2 op)
{
    return op >= IV_ONNX_EQUAL;
}

/* A batch is taken as larger than any number beside it. */
static int compare(iv_onnx_form a, iv_onnx_form b)
{
    if (a.b != b.b) return a.b < b.b ? -1 : 1;
    return a.k < b.k ? -1 : a.k > b.k;
}

static bool int2(iv_onnx_op2 op, iv_onnx_form a, iv_onnx_form b, iv_onnx_form *out)
{
    int order = compare(a, b);
    *out = (iv_onnx_form){0, 0};
    switch (op) {
    case IV_ONNX_ADD:
        return !__builtin_add_overflow(a.k, b.k, &out->k) &&
               !__builtin_add_overflow(a.b, b.b, &out->b);
    case IV_ONNX_SUB:
        return !__builtin_sub_overflow(a.k, b.k, &out->k) &&
               !__builtin_sub_overflow(a.b, b.b, &out->b);
    case IV_ONNX_MUL:
        if (a.b != 0) {
            iv_onnx_form swap = a;
            a = b;
            b = swap;
        }
        return a.b == 0 && !__builtin_mul_overflow(a.k, b.k, &out->k) &&
               !__builtin_mul_overflow(a.k, b.b, &out->b);
    case IV_ONNX_DIV:
        if (a.b != 0 && a.k == 0 && b.k == 0 && b.b != 0 && a.b % b.b == 0) { /* 4 B / 2 B */
            out->k = a.b / b.b;
            return true;
        }
        if (b.b != 0 || b.k == 0 || b.k == -1) {
            if (b.b != 0 || b.k == 0 || a.k == INT64_MIN || a.b == INT64_MIN) return false;
        }
        if (a.b != 0 && (a.b % b.k != 0 || a.k % b.k != 0)) return false;
        out->k = a.k / b.k;
        out->b = a.b / b.k;
        return true;
    case IV_ONNX_POW: {
        double y = pow((double)a.k, (double)b.k);
        if (a.b != 0 || b.b != 0 || !(fabs(y) < 0x1p62)) return false;
        out->k = (int64_t)y;
        return true;
    }
    case IV_ONNX_MIN: *out = order < 0 ? a : b; return true;
    case IV_ONNX_MAX: *out = order > 0 ? a : b; return true;
    case IV_ONNX_MOD:
    case IV_ONNX_FMOD:
        if (b.b != 0 || b.k == 0 || b.k == -1 || a.b % b.k != 0) return b.k == -1 && b.b == 0;
        out->k = a.k % b.k;
        if (op == IV_ONNX_MOD && out->k != 0 && (out->k < 0) != (b.k < 0)) out->k += b.k;
        return true;
    case IV_ONNX_EQUAL: out->k = order == 0; return true;
    case IV_ONNX_LESS: out->k = order < 0; return true;
    case IV_ONNX_LESS_EQUAL: out->k = order <= 0; return true;
    case IV_ONNX_GREATER: out->k = order > 0; return true;
    case IV_ONNX_GREATER_EQUAL: out->k = order >= 0; return true;
    case IV_ONNX_AND: out->k = a.k != 0 && b.k != 0; return true;
    case IV_ONNX_OR: out->k = a.k != 0 || b.k != 0; return true;
    case IV_ONNX_XOR: out->k = (a.k != 0) != (b.k != 0); return true;
    }
    return false;
}

static iv_onnx_form form_at(const iv_onnx_tensor *t, size_t at)
{
    return (iv_onnx_form){t->i[at], t->b == NULL ? 0 : t->b[at]};
}

/* Constants alone never hold "the same for each row of the export": both sides plain. */
static isovae_status start(iv_onnx_context *c, const iv_onnx_value *const *v, size_t n,
                           iv_onnx_dims *dims, walk *w)
{
    *dims = v[0]->dims;
    for (size_t i = 1; i < n; i++) IV_TRY(iv_onnx_broadcast(c, dims, &v[i]->dims, dims));
    IV_TRY(iv_onnx_count(c, dims, &w->count));
    IV_TRY(iv_onnx_work(c, w->count));
    w->rank = dims->rank;
    w->extent = dims->dim;
    w->n = n;
    for (size_t i = 0; i < n; i++) {
        strides_of(&v[i]->dims, dims, w->stride[i]);
        iv_onnx_dims wide = iv_onnx_widened(&v[i]->dims, dims->rank);
        if (dims->batch != IV_ONNX_NO_BATCH && wide.dim[dims->batch] != dims->dim[dims->batch] &&
            wide.dim[dims->batch] != 1) {
            return IV_ONNX_REFUSE(c, "one constant has a row for each of the exported batch, "
                                     "another one for all");
        }
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_fold2(iv_onnx_context *c, iv_onnx_op2 op, const iv_onnx_value *a,
                            const iv_onnx_value *b, iv_onnx_value *out)
{
    iv_onnx_dims dims;
    walk w = {0};
    const iv_onnx_value left = *a, right = *b, *both[] = {&left, &right}; /* out may be one */
    a = &left;
    b = &right;
    if ((a->type == IV_ONNX_FLOAT) != (b->type == IV_ONNX_FLOAT)) {
        if (op != IV_ONNX_POW) return IV_ONNX_FAIL(c, "its inputs are of different types");
    }
    IV_TRY(start(c, both, 2, &dims, &w));
    if (a->type != IV_ONNX_FLOAT && b->type != IV_ONNX_FLOAT) {
        int64_t *k, *m;
        bool batch = !is_test(op) && (a->tensor->b != NULL || b->tensor->b != NULL);
        iv_onnx_type type = is_test(op) ? IV_ONNX_BOOL : a->type;
        IV_TRY(iv_onnx_new_int(c, &dims, type, batch, out, &k, &m));
        for (size_t i = 0; i < w.count; i++, step(&w)) {
            iv_onnx_form r;
            if (!int2(op, form_at(a->tensor, w.offset[0]), form_at(b->tensor, w.offset[1]), &r)) {
                return IV_ONNX_REFUSE(c, "it computes with sizes in a way that is not understood "
                                         "(a division by zero, an overflow, or a product of the "
                                         "batch's size)");
            }
            k[i] = r.k;
            if (batch) m[i] = r.b;
        }
        return ISOVAE_OK;
    }
    const double *x, *y;
    double *f = NULL;
    int64_t *t = NULL;
    size_t n;
    bool wide = a->type == IV_ONNX_FLOAT ? a->wide : b->wide;
    IV_TRY(iv_onnx_numbers(c, a, &x, &n));
    IV_TRY(iv_onnx_numbers(c, b, &y, &n));
    if (is_test(op))
        IV_TRY(iv_onnx_new_int(c, &dims, IV_ONNX_BOOL, false, out, &t, NULL));
    else
        IV_TRY(iv_onnx_new_float(c, &dims, wide, out, &f));
    for (size_t i = 0; i < w.count; i++, step(&w)) {
        double r = float2(op, x[w.offset[0]], y[w.offset[1]]);
        if (t != NULL)
            t[i] = r != 0;
        else if (f != NULL)
            f[i] = rounded(r, wide);
    }
    return ISOVAE_OK;
}

/* ---- one operand, a choice, a conversion ---- */

isovae_status iv_onnx_fold1(iv_onnx_context *c, iv_onnx_function *f, double alpha, double beta,
                            const iv_onnx_value *v, iv_onnx_value *out)
{
    const iv_onnx_value own = *v; /* out may be v */
    size_t n = v->tensor->n;
    v = &own;
    IV_TRY(iv_onnx_work(c, n));
    if (v->type == IV_ONNX_FLOAT) {
        double *y;
        IV_TRY(iv_onnx_new_float(c, &v->dims, v->wide, out, &y));
        for (size_t i = 0; i < n; i++) y[i] = rounded(f(v->tensor->f[i], alpha, beta), v->wide);
        return ISOVAE_OK;
    }
    const int64_t *x;
    int64_t *y;
    IV_TRY(iv_onnx_ints(c, v, &x, &n));
    IV_TRY(iv_onnx_new_int(c, &v->dims, v->type, false, out, &y, NULL));
    for (size_t i = 0; i < n; i++) {
        double r = f((double)x[i], alpha, beta);
        if (!(fabs(r) < 0x1p53)) return IV_ONNX_FAIL(c, "an integer grows beyond 2^53");
        y[i] = (int64_t)r;
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_fold_where(iv_onnx_context *c, const iv_onnx_value *test,
                                 const iv_onnx_value *a, const iv_onnx_value *b, iv_onnx_value *out)
{
    iv_onnx_dims dims;
    walk w = {0};
    const iv_onnx_value x = *test, y = *a, z = *b, *all[] = {&x, &y, &z}; /* out may be one */
    test = &x;
    a = &y;
    b = &z;
    if (test->type == IV_ONNX_FLOAT || a->type != b->type) {
        return IV_ONNX_FAIL(c, "its inputs are of the wrong types");
    }
    IV_TRY(start(c, all, 3, &dims, &w));
    const int64_t *chosen = test->tensor->i;
    if (a->type == IV_ONNX_FLOAT) {
        double *f;
        IV_TRY(iv_onnx_new_float(c, &dims, a->wide, out, &f));
        for (size_t i = 0; i < w.count; i++, step(&w)) {
            f[i] = chosen[w.offset[0]] ? a->tensor->f[w.offset[1]] : b->tensor->f[w.offset[2]];
        }
        return ISOVAE_OK;
    }
    int64_t *k, *m;
    bool batch = a->tensor->b != NULL || b->tensor->b != NULL;
    IV_TRY(iv_onnx_new_int(c, &dims, a->type, batch, out, &k, &m));
    for (size_t i = 0; i < w.count; i++, step(&w)) {
        iv_onnx_form r =
            chosen[w.offset[0]] ? form_at(a->tensor, w.offset[1]) : form_at(b->tensor, w.offset[2]);
        k[i] = r.k;
        if (batch) m[i] = r.b;
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_cast(iv_onnx_context *c, const iv_onnx_value *v, int64_t type,
                           iv_onnx_value *out)
{
    bool to_bool = type == ONNX__TENSOR_PROTO__DATA_TYPE__BOOL;
    bool wide = type == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE;
    bool to_float = wide || type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT ||
                    type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16 ||
                    type == ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16;
    size_t n = v->tensor->n;
    IV_TRY(iv_onnx_work(c, n));
    if (type == ONNX__TENSOR_PROTO__DATA_TYPE__STRING || type < 1 || type > 16) {
        return IV_ONNX_REFUSE(c, "a cast to type %lld is not supported", (long long)type);
    }
    if (to_float) {
        double *f;
        IV_TRY(iv_onnx_new_float(c, &v->dims, wide, out, &f));
        for (size_t i = 0; i < n; i++) {
            if (v->type == IV_ONNX_FLOAT) {
                f[i] = rounded(v->tensor->f[i], wide);
            } else { /* what hangs on the batch becomes NaN, and no integer again */
                bool batch = v->tensor->b != NULL && v->tensor->b[i] != 0;
                f[i] = batch ? (double)NAN : rounded((double)v->tensor->i[i], wide);
            }
        }
        return ISOVAE_OK;
    }
    int64_t *k, *m;
    bool batch = !to_bool && v->type != IV_ONNX_FLOAT && v->tensor->b != NULL;
    IV_TRY(iv_onnx_new_int(c, &v->dims, to_bool ? IV_ONNX_BOOL : IV_ONNX_INT, batch, out, &k, &m));
    for (size_t i = 0; i < n; i++) {
        if (v->type != IV_ONNX_FLOAT) {
            bool of_batch = v->tensor->b != NULL && v->tensor->b[i] != 0;
            k[i] = to_bool ? v->tensor->i[i] != 0 || of_batch : v->tensor->i[i];
            if (batch) m[i] = v->tensor->b[i];
        } else if (to_bool) {
            k[i] = v->tensor->f[i] != 0;
        } else if (fabs(v->tensor->f[i]) < 0x1p63) {
            k[i] = (int64_t)v->tensor->f[i];
        } else if (isinf(v->tensor->f[i])) {
            k[i] = v->tensor->f[i] > 0 ? INT64_MAX : INT64_MIN;
        } else {
            return IV_ONNX_REFUSE(c, "a number that hangs on the size of the batch, or is none, "
                                     "becomes an integer");
        }
    }
    return ISOVAE_OK;
}

/* ---- sums and products ---- */

typedef struct sums {
    double a, b; /* b: largest so far, for log-sum-exp */
    iv_onnx_form form;
    bool any;
} sums;

isovae_status iv_onnx_fold_reduce(iv_onnx_context *c, iv_onnx_sum op, const iv_onnx_value *v,
                                  const bool *axes, iv_onnx_value *out)
{
    iv_onnx_dims dims = v->dims;
    size_t n = v->tensor->n, stride[IV_ONNX_RANK], at[IV_ONNX_RANK] = {0}, step_size = 1, count;
    bool ints = v->type != IV_ONNX_FLOAT;
    double gone = 1;
    for (size_t i = 0; i < dims.rank; i++) {
        if (!axes[i]) continue;
        if (i == dims.batch) {
            return IV_ONNX_REFUSE(c, "summing over axis %zu would mix rows of the batch", i);
        }
        gone *= (double)dims.dim[i];
        dims.dim[i] = 1;
    }
    for (size_t i = dims.rank; i-- > 0;) {
        stride[i] = axes[i] ? 0 : step_size;
        step_size *= dims.dim[i];
    }
    IV_TRY(iv_onnx_count(c, &dims, &count));
    IV_TRY(iv_onnx_work(c, n));
    sums *s;
    IV_TRY(IV_ONNX_NEW(c, s, count));
    for (size_t k = 0; k < n; k++) {
        size_t to = 0;
        for (size_t i = 0; i < dims.rank; i++) to += at[i] * stride[i];
        sums *q = &s[to];
        if (ints) {
            iv_onnx_form x = form_at(v->tensor, k);
            iv_onnx_op2 f = op == IV_ONNX_PROD         ? IV_ONNX_MUL
                            : op == IV_ONNX_REDUCE_MAX ? IV_ONNX_MAX
                            : op == IV_ONNX_REDUCE_MIN ? IV_ONNX_MIN
                                                       : IV_ONNX_ADD;
            if (op != IV_ONNX_PROD && op != IV_ONNX_REDUCE_MAX && op != IV_ONNX_REDUCE_MIN &&
                op != IV_ONNX_SUM) {
                return IV_ONNX_REFUSE(c, "this sum over integers is not supported");
            }
            if (q->any && !int2(f, q->form, x, &x)) {
                return IV_ONNX_REFUSE(c, "it computes with the size of the batch in a way that is "
                                         "not understood");
            }
            q->form = x;
        } else {
            double x = v->tensor->f[k];
            switch (op) {
            case IV_ONNX_SUM:
            case IV_ONNX_MEAN: q->a += x; break;
            case IV_ONNX_REDUCE_MAX: q->a = q->any && !(x > q->a) ? q->a : x; break;
            case IV_ONNX_REDUCE_MIN: q->a = q->any && !(x < q->a) ? q->a : x; break;
            case IV_ONNX_PROD: q->a = q->any ? q->a * x : x; break;
            case IV_ONNX_SUM_SQUARE:
            case IV_ONNX_L2: q->a += x * x; break;
            case IV_ONNX_L1: q->a += fabs(x); break;
            case IV_ONNX_LOG_SUM_EXP:
                if (!q->any || x > q->b) {
                    q->a = q->any ? q->a * exp(q->b - x) + 1 : 1;
                    q->b = x;
                } else {
                    q->a += exp(x - q->b);
                }
                break;
            }
        }
        q->any = true;
        for (size_t i = v->dims.rank; i-- > 0;) {
            if (++at[i] < v->dims.dim[i]) break;
            at[i] = 0;
        }
    }
    if (ints) {
        int64_t *k, *m;
        IV_TRY(iv_onnx_new_int(c, &dims, v->type, v->tensor->b != NULL, out, &k, &m));
        for (size_t i = 0; i < count; i++) {
            k[i] = s[i].any ? s[i].form.k : op == IV_ONNX_PROD;
            if (m != NULL) m[i] = s[i].form.b;
        }
        return ISOVAE_OK;
    }
    double *f;
    IV_TRY(iv_onnx_new_float(c, &dims, v->wide, out, &f));
    for (size_t i = 0; i < count; i++) {
        double y = !s[i].any && op == IV_ONNX_PROD ? 1 : s[i].a;
        if (op == IV_ONNX_MEAN) y /= gone;
        if (op == IV_ONNX_L2) y = sqrt(y);
        if (op == IV_ONNX_LOG_SUM_EXP) y = s[i].b + log(y);
        f[i] = rounded(y, v->wide);
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_fold_matmul(iv_onnx_context *c, const iv_onnx_value *a,
                                  const iv_onnx_value *b, iv_onnx_value *out)
{
    iv_onnx_dims dims = a->dims;
    size_t rank = dims.rank, m = dims.dim[rank - 2], k = dims.dim[rank - 1],
           n = b->dims.dim[rank - 1], total, work;
    const double *x, *y;
    double *z;
    size_t count;
    dims.dim[rank - 1] = n;
    IV_TRY(iv_onnx_numbers(c, a, &x, &count));
    IV_TRY(iv_onnx_numbers(c, b, &y, &count));
    IV_TRY(iv_onnx_count(c, &dims, &total));
    if (!iv_size_mul(total, k, &work)) work = SIZE_MAX;
    IV_TRY(iv_onnx_work(c, work));
    bool wide = a->type == IV_ONNX_FLOAT && a->wide;
    IV_TRY(iv_onnx_new_float(c, &dims, wide, out, &z));
    for (size_t p = 0; p < total; p += m * n) {
        const double *xs = x + p / n * k, *ys = y + p / m * k;
        for (size_t i = 0; i < m; i++) {
            double *row = z + p + i * n;
            for (size_t l = 0; l < k; l++) {
                for (size_t j = 0; j < n; j++) row[j] += xs[i * k + l] * ys[l * n + j];
            }
            for (size_t j = 0; j < n; j++) row[j] = rounded(row[j], wide);
        }
    }
    return ISOVAE_OK;
}
