/* Derivatives as operators, of nodes that are linear and of those that compute element by element
 * (write_mixed.c has the others): tangents lie behind one another in the batch axis, (rows * n,
 * ...), so that layers take them as they are; what is multiplied by something of each row goes
 * through (rows, n, ...). */
#include "onnx/write_net.h"

#include "graph/node.h"

#include <math.h>
#include <string.h>

#define OP(...) iv_writer_op(net->w, __VA_ARGS__, NULL)

static const char *number(iv_net *net, double value)
{
    return iv_writer_number(net->w, value);
}

const char *iv_net_unfold(iv_net *net, const char *t, const iv_shape *shape)
{
    return iv_writer_reshape(net->w, t, -1, net->tangents, shape);
}

const char *iv_net_fold(iv_net *net, const char *t, const iv_shape *shape)
{
    return iv_writer_reshape(net->w, t, -1, 0, shape);
}

const char *iv_net_times(iv_net *net, const char *slope, const char *t, const iv_shape *shape)
{
    const char *y = OP("Mul", iv_net_unfold(net, t, shape), iv_writer_unsqueeze(net->w, slope, 1));
    return iv_net_fold(net, y, shape);
}

static const char *mask(iv_net *net, const char *op, const char *x, double limit)
{
    return iv_writer_cast(net->w, OP(op, x, number(net, limit)), IV_TENSOR_FLOAT);
}

/* s (1 - s) */
static const char *logistic_slope(iv_net *net, const char *s)
{
    return OP("Mul", s, OP("Sub", number(net, 1), s));
}

/* ---- functions of one number: y' from x and y ---- */

static const char *normal_density(iv_net *net, const char *x)
{
    const char *e = OP("Exp", OP("Mul", OP("Mul", x, x), number(net, -0.5)));
    return OP("Mul", e, number(net, 0.39894228040143267794));
}

static const char *gelu_slope(iv_net *net, const char *x)
{
    const char *erf = OP("Erf", OP("Mul", x, number(net, M_SQRT1_2)));
    const char *below = OP("Mul", OP("Add", erf, number(net, 1)), number(net, 0.5));
    return OP("Add", below, OP("Mul", x, normal_density(net, x)));
}

/* 1 where x is above 0, else `below`. */
static const char *kinked(iv_net *net, const char *x, const char *below)
{
    return OP("Where", OP("Greater", x, number(net, 0)), number(net, 1), below);
}

static const char *activation_slope(iv_net *net, iv_act act, double p, const char *x, const char *y)
{
    const char *s;
    switch (act) {
    case IV_ACT_RELU: return mask(net, "Greater", x, 0);
    case IV_ACT_LEAKY_RELU: return kinked(net, x, number(net, p));
    case IV_ACT_ELU: return kinked(net, x, OP("Add", y, number(net, p)));
    case IV_ACT_SILU: /* s + x s (1 - s) */
        s = OP("Sigmoid", x);
        return OP("Add", s, OP("Mul", x, logistic_slope(net, s)));
    case IV_ACT_GELU: return gelu_slope(net, x);
    case IV_ACT_SOFTPLUS: return OP("Sigmoid", x);
    case IV_ACT_SIGMOID: return logistic_slope(net, y);
    case IV_ACT_TANH: return OP("Sub", number(net, 1), OP("Mul", y, y));
    case IV_ACT_EXP: return y;
    case IV_ACT_NONE:
    case IV_ACT_COUNT: break;
    }
    return NULL;
}

static const char *scaled(iv_net *net, const char *x, double factor)
{
    return OP("Mul", x, number(net, factor));
}

/* Of x s(2 u) with u = c (x + 0.044715 x^3): s + x s (1 - s) 2 u'. */
static const char *gelu_tanh_slope(iv_net *net, const char *x)
{
    const char *square = OP("Mul", x, x), *cubic = scaled(net, square, 0.044715);
    const double c = 2 * 0.79788456080286535588;
    const char *u = scaled(net, OP("Mul", x, OP("Add", cubic, number(net, 1))), c);
    const char *s = OP("Sigmoid", u);
    const char *inner = scaled(net, OP("Add", scaled(net, cubic, 3), number(net, 1)), c);
    return OP("Add", s, OP("Mul", OP("Mul", x, inner), logistic_slope(net, s)));
}

/* Within low to high: 1. */
static const char *inside(iv_net *net, const char *x, double low, double high)
{
    const char *y = isinf(low) ? NULL : mask(net, "GreaterOrEqual", x, low);
    const char *z = isinf(high) ? NULL : mask(net, "LessOrEqual", x, high);
    if (y == NULL) return z;
    return z == NULL ? y : OP("Mul", y, z);
}

static const char *function_slope(iv_net *net, const iv_node *node, const char *x, const char *y,
                                  bool *zero)
{
    double p = iv_net_number(node, 0), q = iv_net_number(node, 1);
    const char *s, *u;
    switch (node->kind->function) {
    case IV_FUNCTION_ABS: return OP("Sign", x);
    case IV_FUNCTION_SQUARE: return scaled(net, x, 2);
    case IV_FUNCTION_SQRT: return OP("Div", number(net, 0.5), y);
    case IV_FUNCTION_RECIPROCAL: return OP("Neg", OP("Mul", y, y));
    case IV_FUNCTION_LOG: return OP("Reciprocal", x);
    case IV_FUNCTION_ERF:
        return scaled(net, OP("Exp", OP("Neg", OP("Mul", x, x))), 1.1283791670955125739);
    case IV_FUNCTION_SIN: return OP("Cos", x);
    case IV_FUNCTION_COS: return OP("Neg", OP("Sin", x));
    case IV_FUNCTION_CLIP: s = inside(net, x, p, q); return s != NULL ? s : number(net, 1);
    case IV_FUNCTION_SELU: /* below 0: y + alpha gamma; above: gamma */
        return OP("Where", OP("Less", x, number(net, 0)), OP("Add", y, number(net, p * q)),
                  number(net, q));
    case IV_FUNCTION_CELU: return kinked(net, x, OP("Exp", scaled(net, x, 1 / p)));
    case IV_FUNCTION_MISH: /* tanh(sp) + x (1 - tanh(sp)^2) sigmoid(x) */
        u = OP("Tanh", OP("Softplus", x));
        s = OP("Mul", OP("Mul", x, OP("Sigmoid", x)), OP("Sub", number(net, 1), OP("Mul", u, u)));
        return OP("Add", u, s);
    case IV_FUNCTION_HARD_SIGMOID:
        return scaled(net, inside(net, OP("Add", scaled(net, x, p), number(net, q)), 0, 1), p);
    case IV_FUNCTION_LOG_SIGMOID: return OP("Sigmoid", OP("Neg", x));
    case IV_FUNCTION_HARD_SWISH: /* 0 up to -3, 1 from 3 on, (2 x + 3) / 6 between */
        s = scaled(net, OP("Add", scaled(net, x, 2), number(net, 3)), 1.0 / 6);
        s = OP("Mul", s, OP("Mul", mask(net, "Greater", x, -3), mask(net, "Less", x, 3)));
        return OP("Add", s, mask(net, "GreaterOrEqual", x, 3));
    case IV_FUNCTION_GELU_TANH: return gelu_tanh_slope(net, x);
    case IV_FUNCTION_SOFTSIGN: /* 1 / (1 + |x|)^2 */
        u = OP("Reciprocal", OP("Add", OP("Abs", x), number(net, 1)));
        return OP("Mul", u, u);
    case IV_FUNCTION_NEGATE: return number(net, -1);
    case IV_FUNCTION_SIGN:
    case IV_FUNCTION_FLOOR:
    case IV_FUNCTION_CEIL:
    case IV_FUNCTION_ROUND:
    case IV_FUNCTION_NOT: *zero = true; return NULL;
    default: return NULL;
    }
}

/* ---- two operands: the slope in each, as operators on the (padded) operands; "": it is 1 ---- */

static const char *operand_slope(iv_net *net, const iv_node *node, size_t which,
                                 const char *const *x, const char *y)
{
    switch (node->kind->binary) {
    case IV_BINARY_ADD: return "";
    case IV_BINARY_SUBTRACT: return which == 0 ? "" : number(net, -1);
    case IV_BINARY_MULTIPLY: return x[1 - which];
    case IV_BINARY_DIVIDE:
        return which == 0 ? OP("Reciprocal", x[1]) : OP("Neg", OP("Div", y, x[1]));
    case IV_BINARY_POWER:
        if (which == 1) return OP("Mul", y, OP("Log", x[0]));
        return OP("Mul", x[1], OP("Pow", x[0], OP("Sub", x[1], number(net, 1))));
    case IV_BINARY_MINIMUM:
    case IV_BINARY_MAXIMUM:
        return iv_writer_cast(net->w, OP("Equal", x[which], y), IV_TENSOR_FLOAT);
    default: return NULL;
    }
}

/* The sum over the operands that move. Slopes that come from constants alone have no batch axis,
 * and go with every tangent as they are. */
static void operands(iv_net *net, const iv_node *node, const char *const *t, const char **out)
{
    iv_net_operand o[IV_MAX_ROLES];
    const char *x[3], *y = net->value[node->outputs[0]], *sum = NULL;
    const iv_shape *shape = iv_net_shape(net, node->outputs[0]);
    bool where = node->kind->operands == 3;
    size_t n = where ? 3 : 2;
    iv_net_operands(node, o);
    if (!where && node->kind->binary >= IV_BINARY_EQUAL) return;
    for (size_t i = 0; i < n; i++)
        x[i] = iv_net_operand_tensor(net, node, &o[i],
                                     o[i].constant ? "" : net->value[node->inputs[o[i].input]]);
    for (size_t i = where ? 1 : 0; i < n; i++) {
        if (o[i].constant || t[o[i].input] == NULL) continue;
        const iv_shape *own = iv_net_shape(net, node->inputs[o[i].input]);
        iv_shape padded = {.rank = shape->rank};
        for (size_t k = 0; k < shape->rank; k++) {
            size_t missing = shape->rank - own->rank;
            padded.dim[k] = k < missing ? 1 : own->dim[k - missing];
        }
        const char *v = iv_net_unfold(net, t[o[i].input], &padded), *slope;
        bool constant = false;
        if (where) {
            slope = iv_writer_cast(net->w, x[0], IV_TENSOR_BOOL);
            if (i == 2) slope = OP("Not", slope);
            slope = iv_writer_cast(net->w, slope, IV_TENSOR_FLOAT);
            constant = o[0].constant;
        } else {
            iv_binary f = node->kind->binary;
            slope = operand_slope(net, node, i, x, y);
            constant = (f == IV_BINARY_SUBTRACT) ||
                       ((f == IV_BINARY_MULTIPLY || (f == IV_BINARY_DIVIDE && i == 0)) &&
                        o[1 - i].constant);
        }
        if (slope[0] != '\0')
            v = OP("Mul", v, constant ? slope : iv_writer_unsqueeze(net->w, slope, 1));
        sum = sum == NULL ? v : OP("Add", sum, v);
    }
    if (sum == NULL) return;
    /* repeated to the output's shape where no term has it yet */
    int64_t dims[2 + IV_MAX_RANK] = {1, 1};
    for (size_t k = 0; k < shape->rank; k++) dims[2 + k] = (int64_t)shape->dim[k];
    bool full = false;
    for (size_t i = where ? 1 : 0; i < n; i++)
        full = full || (!o[i].constant && t[o[i].input] != NULL &&
                        iv_shape_equal(iv_net_shape(net, node->inputs[o[i].input]), shape));
    if (!full) sum = OP("Expand", sum, iv_writer_whole(net->w, 2 + shape->rank, dims));
    out[0] = iv_net_fold(net, sum, shape);
}

/* ---- all kinds ---- */

static bool is_linear(const iv_node *node)
{
    static const char *const kinds[] = {"dense",
                                        "conv",
                                        "conv_transpose",
                                        "take",
                                        "split",
                                        "reshape",
                                        "flatten",
                                        "transpose",
                                        "batch_norm",
                                        "average_pool",
                                        "global_average_pool",
                                        "upsample_nearest",
                                        "upsample_bilinear",
                                        "pixel_shuffle",
                                        "concat"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i], node->kind->name) == 0) return true;
    if (strcmp(node->kind->name, "matmul") == 0) return node->n_inputs == 1;
    return strcmp(node->kind->name, "reduce") == 0 &&
           (node->attributes.reduction == IV_REDUCE_SUM ||
            node->attributes.reduction == IV_REDUCE_MEAN);
}

static void refuse(iv_net *net, const iv_node *node)
{
    iv_writer_fail(net->w, ISOVAE_ERR_UNSUPPORTED,
                   "the decoder's node '%s' is of kind '%s', whose derivative cannot be written",
                   node->name, node->kind->name);
}

/* Tangents of 0, for an input that does not move beside one that does. */
static const char *still(iv_net *net, size_t value)
{
    const iv_shape *shape = iv_net_shape(net, value);
    int64_t dims[2 + IV_MAX_RANK] = {1, (int64_t)net->tangents};
    for (size_t k = 0; k < shape->rank; k++) dims[2 + k] = 1;
    const char *zero = scaled(net, iv_writer_unsqueeze(net->w, net->value[value], 1), 0);
    zero = OP("Expand", zero, iv_writer_whole(net->w, 2 + shape->rank, dims));
    return iv_net_fold(net, zero, shape);
}

static void tangent_of(iv_net *net, size_t place, const char *const *t, const char **out)
{
    const iv_node *node = &net->graph->nodes[place];
    const iv_shape *shape = iv_net_shape(net, node->outputs[0]);
    const char *kind = node->kind->name, *x = net->value[node->inputs[0]], *slope = NULL;
    const char *y = net->value[node->outputs[0]];
    iv_tangent_fn *mixed;
    bool zero = false;
    if (is_linear(node)) {
        const char *all[IV_MAX_PORTS];
        for (size_t k = 0; k < node->n_inputs; k++)
            all[k] = t[k] != NULL ? t[k] : still(net, node->inputs[k]);
        iv_emit_of(node)(net, node, true, all, out);
        if (net->before[place] == NULL) return;
        slope = activation_slope(net, node->attributes.act, node->attributes.parameter,
                                 net->before[place], y);
        out[0] = iv_net_times(net, slope, out[0], shape);
    } else if (node->kind->operands >= 2 && strcmp(kind, "matmul") != 0) {
        operands(net, node, t, out);
    } else if ((mixed = iv_net_mixed_tangent(node)) != NULL) {
        mixed(net, node, t, out);
    } else if (node->kind->act != IV_ACT_NONE) {
        slope = activation_slope(net, node->kind->act, node->attributes.parameter, x, y);
        out[0] = iv_net_times(net, slope, t[0], shape);
    } else if (node->kind->forward == iv_function_forward) {
        slope = function_slope(net, node, x, y, &zero);
        if (zero) return;
        if (slope == NULL)
            refuse(net, node);
        else if (node->kind->function == IV_FUNCTION_NEGATE)
            out[0] = OP("Neg", t[0]);
        else if (node->kind->function == IV_FUNCTION_CLIP && isinf(iv_net_number(node, 0)) &&
                 isinf(iv_net_number(node, 1)))
            out[0] = t[0];
        else
            out[0] = iv_net_times(net, slope, t[0], shape);
    } else {
        refuse(net, node);
    }
}

void iv_net_tangents(iv_net *net, size_t n, const char *input)
{
    const iv_graph *g = net->graph;
    net->tangents = n;
    net->tangent[g->inputs[0]] = input;
    for (size_t i = 0; i < g->n_nodes && iv_writer_ok(net->w); i++) {
        const iv_node *node = &g->nodes[i];
        const char *t[IV_MAX_PORTS] = {NULL}, *out[IV_MAX_PORTS] = {NULL};
        bool any = false;
        for (size_t k = 0; k < node->n_inputs; k++) {
            t[k] = net->tangent[node->inputs[k]];
            any = any || t[k] != NULL;
        }
        if (!any) continue;
        tangent_of(net, i, t, out);
        for (size_t k = 0; k < node->n_outputs; k++) net->tangent[node->outputs[k]] = out[k];
    }
}
