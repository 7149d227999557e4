/* Derivatives of nodes whose outputs each depend on several elements of a row: softmax,
 * normalisations, gdn, pools by the largest, sums, products of two computed matrices. Tangents are
 * as in write_tangents.c. */
#include "onnx/write_net.h"

#include "graph/node.h"

#include <math.h>
#include <string.h>

#define OP(...) iv_writer_op(net->w, __VA_ARGS__, NULL)

static const char *number(iv_net *net, double value)
{
    return iv_writer_number(net->w, value);
}

/* ---- softmax, normalisations, gdn ---- */

static const char *mean_over(iv_net *net, const char *x, size_t n, const int64_t *axes)
{
    const char *y = OP("ReduceMean", x);
    iv_writer_ints(net->w, "axes", n, axes);
    iv_writer_int(net->w, "keepdims", 1);
    return y;
}

static const char *sum_kept(iv_net *net, const char *x, int64_t axis)
{
    const char *y = OP("ReduceSum", x, iv_writer_whole(net->w, 1, &axis));
    iv_writer_int(net->w, "keepdims", 1);
    return y;
}

/* softmax: y (t - sum t y); log_softmax: t - sum t exp(y). */
static void softmax(iv_net *net, const iv_node *node, const char *const *t, const char **out)
{
    const iv_shape *shape = iv_net_shape(net, node->outputs[0]);
    bool log = strcmp(node->kind->name, "log_softmax") == 0;
    const char *y = net->value[node->outputs[0]], *v = iv_net_unfold(net, t[0], shape);
    if (log) y = OP("Exp", y);
    y = iv_writer_unsqueeze(net->w, y, 1);
    v = OP("Sub", v, sum_kept(net, OP("Mul", v, y), (int64_t)node->attributes.axis + 1));
    out[0] = iv_net_fold(net, log ? v : OP("Mul", v, y), shape);
}

/* rstd (t - mean t - xhat mean(t xhat)) over the last `n` axes of x and of t (rows, n, ...), which
 * have `rank` axes without the batch. */
static const char *normalised(iv_net *net, const char *x, const char *v, size_t rank, size_t n,
                              double eps)
{
    int64_t axes[IV_MAX_RANK], behind[IV_MAX_RANK];
    for (size_t i = 0; i < n; i++) {
        axes[i] = (int64_t)(rank - n + i + 1);
        behind[i] = axes[i] + 1;
    }
    x = OP("Sub", x, mean_over(net, x, n, axes));
    const char *var = mean_over(net, OP("Mul", x, x), n, axes);
    const char *rstd = OP("Reciprocal", OP("Sqrt", OP("Add", var, number(net, eps))));
    const char *xhat = iv_writer_unsqueeze(net->w, OP("Mul", x, rstd), 1);
    const char *along = OP("Mul", xhat, mean_over(net, OP("Mul", v, xhat), n, behind));
    v = OP("Sub", OP("Sub", v, mean_over(net, v, n, behind)), along);
    return OP("Mul", v, iv_writer_unsqueeze(net->w, rstd, 1));
}

static void layer_norm(iv_net *net, const iv_node *node, const char *const *t, const char **out)
{
    const iv_shape *shape = iv_net_shape(net, node->outputs[0]);
    const char *v = iv_net_unfold(net, t[0], shape);
    v = normalised(net, net->value[node->inputs[0]], v, shape->rank,
                   shape->rank - node->attributes.axis + 1, node->attributes.eps);
    if (iv_net_role(node, 0) != SIZE_MAX) v = OP("Mul", v, iv_net_param(net, node->params[0]));
    out[0] = iv_net_fold(net, v, shape);
}

static void group_norm(iv_net *net, const iv_node *node, const char *const *t, const char **out)
{
    const iv_shape *shape = iv_net_shape(net, node->outputs[0]);
    size_t groups = node->attributes.conv.groups, size = 1;
    (void)iv_shape_size(shape, &size);
    iv_shape grouped = {2, {groups, size / groups}};
    const char *x = iv_writer_reshape(net->w, net->value[node->inputs[0]], 0, 0, &grouped);
    const char *v =
        normalised(net, x, iv_net_unfold(net, t[0], &grouped), 2, 1, node->attributes.eps);
    v = iv_net_fold(net, v, shape);
    if (iv_net_role(node, 0) != SIZE_MAX) {
        int64_t dims[IV_MAX_RANK];
        for (size_t i = 0; i < shape->rank; i++) dims[i] = i == 0 ? (int64_t)shape->dim[0] : 1;
        v = OP("Mul", v,
               OP("Reshape", iv_net_param(net, node->params[0]),
                  iv_writer_whole(net->w, shape->rank, dims)));
    }
    out[0] = v;
}

/* r t + x q (gamma (x t)), with q = -r^3, of the inverse 1/r. */
static void gdn(iv_net *net, const iv_node *node, const char *const *t, const char **out)
{
    const iv_shape *shape = iv_net_shape(net, node->outputs[0]);
    const char *x = net->value[node->inputs[0]], *square = OP("Mul", x, x), *mixed, *r, *q;
    bool inverse = strcmp(node->kind->name, "gdn_inverse") == 0;
    /* s = beta + gamma x^2, as forward has it */
    const char *gamma_x;
    iv_emit_of(node)(net, node, true, &square, &gamma_x);
    int64_t dims[IV_MAX_RANK];
    for (size_t i = 0; i < shape->rank; i++) dims[i] = i == 0 ? (int64_t)shape->dim[0] : 1;
    const char *beta = OP("Reshape", iv_net_param(net, node->params[0]),
                          iv_writer_whole(net->w, shape->rank, dims));
    const char *root = OP("Sqrt", OP("Add", gamma_x, beta));
    r = inverse ? root : OP("Reciprocal", root);
    q = inverse ? OP("Reciprocal", root) : OP("Neg", OP("Mul", OP("Mul", r, r), r));
    const char *xt = iv_net_times(net, x, t[0], shape);
    iv_emit_of(node)(net, node, true, &xt, &mixed);
    out[0] = OP("Add", iv_net_times(net, r, t[0], shape),
                iv_net_times(net, OP("Mul", x, q), mixed, shape));
}

/* ---- the largest of several ---- */

/* Of t (rows, n, lead.., R) the elements that `index` (rows, lead.., K) names along the last axis;
 * `rank` axes without the batch. */
static const char *followed(iv_net *net, const char *t, const char *index, const iv_shape *picked)
{
    int64_t dims[2 + IV_MAX_RANK] = {1, (int64_t)net->tangents};
    for (size_t i = 0; i < picked->rank; i++) dims[2 + i] = (int64_t)picked->dim[i];
    index = OP("Expand", iv_writer_unsqueeze(net->w, index, 1),
               iv_writer_whole(net->w, 2 + picked->rank, dims));
    const char *y = OP("GatherElements", t, index);
    iv_writer_int(net->w, "axis", -1);
    return y;
}

/* MaxPool says where in its whole input each of its outputs came from. */
static void max_pool(iv_net *net, const iv_node *node, const char *const *t, const char **out)
{
    const iv_shape *from = iv_net_shape(net, node->inputs[0]);
    const iv_shape *to = iv_net_shape(net, node->outputs[0]);
    const iv_conv_attributes *conv = &node->attributes.conv;
    int64_t kernel[2], stride[2], pads[4], size;
    const char *in[1] = {net->value[node->inputs[0]]}, *both[2] = {"", ""};
    size_t n_from = 1, n_to = 1;
    (void)iv_shape_size(from, &n_from);
    (void)iv_shape_size(to, &n_to);
    for (size_t i = 0; i < 4; i++) pads[i] = (int64_t)conv->pads[i];
    for (size_t i = 0; i < 2; i++) {
        kernel[i] = (int64_t)conv->kernel[i];
        stride[i] = (int64_t)conv->stride[i];
    }
    iv_writer_ops(net->w, "MaxPool", 1, in, 2, both);
    iv_writer_ints(net->w, "kernel_shape", 2, kernel);
    iv_writer_ints(net->w, "strides", 2, stride);
    iv_writer_ints(net->w, "pads", 4, pads);
    size = (int64_t)n_from;
    const char *index = iv_writer_reshape(net->w, both[1], 0, 0, &(iv_shape){1, {n_to}});
    index = OP("Mod", index, iv_writer_whole(net->w, 1, &size));
    const char *v = iv_net_unfold(net, t[0], &(iv_shape){1, {n_from}});
    out[0] = iv_net_fold(net, followed(net, v, index, &(iv_shape){1, {n_to}}), to);
}

/* ---- sums ---- */

/* A node's input, or its tangents (`behind` 1), as (rows, .., kept, reduced). */
static const char *sorted(iv_net *net, const iv_node *node, const char *x, size_t behind,
                          iv_shape *flat)
{
    const iv_shape *shape = iv_net_shape(net, node->inputs[0]);
    const iv_attributes *a = &node->attributes;
    int64_t perm[2 + IV_MAX_RANK] = {0, 1};
    size_t n = 1 + behind;
    *flat = (iv_shape){2, {1, 1}};
    for (size_t reduced = 0; reduced < 2; reduced++) {
        for (size_t i = 0; i < shape->rank; i++) {
            bool gone = false;
            for (size_t k = 0; k < a->n_sizes; k++) gone = gone || a->sizes[k] == i + 1;
            if (gone != (reduced == 1)) continue;
            perm[n++] = (int64_t)(i + 1 + behind);
            flat->dim[reduced] *= shape->dim[i];
        }
    }
    x = OP("Transpose", x);
    iv_writer_ints(net->w, "perm", n, perm);
    return behind == 0 ? iv_writer_reshape(net->w, x, 0, 0, flat)
                       : iv_writer_reshape(net->w, x, -1, net->tangents, flat);
}

static const char *along_last(iv_net *net, const char *op, const char *x)
{
    const char *y = OP(op, x);
    iv_writer_int(net->w, "axis", -1);
    iv_writer_int(net->w, "keepdims", 1);
    return y;
}

/* The product of all others, for each of the last axis: no division, as one of them may be 0. */
static const char *others(iv_net *net, const char *x, size_t n)
{
    enum { MOST = 64 };
    bool own[MOST * MOST];
    if (n > MOST) {
        iv_writer_fail(net->w, ISOVAE_ERR_UNSUPPORTED,
                       "the derivative of a product of %zu elements (more than %d) is not written",
                       n, MOST);
        return "";
    }
    for (size_t i = 0; i < n * n; i++) own[i] = i % n == i / n;
    const char *all = OP("Where", iv_writer_flags(net->w, &(iv_shape){2, {n, n}}, own),
                         number(net, 1), iv_writer_unsqueeze(net->w, x, 2));
    int64_t axis = -1;
    const char *y = OP("ReduceProd", all);
    iv_writer_ints(net->w, "axes", 1, &axis);
    iv_writer_int(net->w, "keepdims", 0);
    return y;
}

/* sum over the reduced elements of t times the slope in each. */
static void reduce(iv_net *net, const iv_node *node, const char *const *t, const char **out)
{
    const iv_shape *to = iv_net_shape(net, node->outputs[0]);
    iv_shape flat;
    const char *x = sorted(net, node, net->value[node->inputs[0]], 0, &flat), *slope;
    const char *v = iv_net_unfold(net, t[0], iv_net_shape(net, node->inputs[0]));
    v = sorted(net, node, v, 1, &flat);
    iv_shape kept = {2, {flat.dim[0], 1}};
    const char *y = iv_writer_reshape(net->w, net->value[node->outputs[0]], 0, 0, &kept);
    switch (node->attributes.reduction) {
    case IV_REDUCE_MAX:
    case IV_REDUCE_MIN: /* the first of equal ones, as the graph has it */
        slope =
            along_last(net, node->attributes.reduction == IV_REDUCE_MAX ? "ArgMax" : "ArgMin", x);
        out[0] = iv_net_fold(net, followed(net, v, slope, &kept), to);
        return;
    case IV_REDUCE_PROD: slope = others(net, x, flat.dim[1]); break;
    case IV_REDUCE_SUM_SQUARE: slope = OP("Mul", x, number(net, 2)); break;
    case IV_REDUCE_L1: slope = OP("Sign", x); break;
    case IV_REDUCE_L2: /* 0 where all are 0 */
        slope = OP("Div", x, OP("Where", OP("Equal", y, number(net, 0)), number(net, 1), y));
        break;
    case IV_REDUCE_LOG_SUM_EXP: slope = OP("Exp", OP("Sub", x, y)); break;
    default: return; /* sums and means are linear */
    }
    v = OP("Mul", v, iv_writer_unsqueeze(net->w, slope, 1));
    out[0] = iv_net_fold(net, sum_kept(net, v, -1), to);
}

/* ---- two computed matrices ---- */

/* A'B + AB' */
static void matmul(iv_net *net, const iv_node *node, const char *const *t, const char **out)
{
    const iv_shape *to = iv_net_shape(net, node->outputs[0]);
    const char *in[2], *x[2], *sum = NULL;
    iv_shape shape[2];
    for (size_t i = 0; i < 2; i++) in[i] = net->value[node->inputs[i]];
    iv_net_matrices(net, node, in, x, shape);
    for (size_t i = 0; i < 2; i++) {
        if (t[i] == NULL) continue;
        const char *v = iv_net_unfold(net, t[i], &shape[i]);
        const char *other = iv_writer_unsqueeze(net->w, x[1 - i], 1);
        v = i == 0 ? OP("MatMul", v, other) : OP("MatMul", other, v);
        sum = sum == NULL ? v : OP("Add", sum, v);
    }
    out[0] = iv_net_fold(net, sum, to);
}

iv_tangent_fn *iv_net_mixed_tangent(const iv_node *node)
{
    static const struct {
        const char *kind;
        iv_tangent_fn *f;
    } rows[] = {{"softmax", softmax},
                {"log_softmax", softmax},
                {"layer_norm", layer_norm},
                {"group_norm", group_norm},
                {"gdn", gdn},
                {"gdn_inverse", gdn},
                {"max_pool", max_pool},
                {"reduce", reduce},
                {"matmul", matmul}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].kind, node->kind->name) == 0) return rows[i].f;
    return NULL;
}
