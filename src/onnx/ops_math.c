/* Operators that compute element by element, and sums. */
#include "onnx/loader.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const char *op_of(const iv_onnx_context *c)
{
    return c->node->proto->op_type;
}

/* ---- one input ---- */

#define FUNCTION(name, expression)                                                                 \
    static double name(double x, double a, double b)                                               \
    {                                                                                              \
        (void)a;                                                                                   \
        (void)b;                                                                                   \
        return expression;                                                                         \
    }
static double softplus_of(double x)
{
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}
static double sigmoid_of(double x)
{
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}
static double between(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}
FUNCTION(f_abs, fabs(x))
FUNCTION(f_neg, -x)
FUNCTION(f_sqrt, sqrt(x))
FUNCTION(f_reciprocal, 1 / x)
FUNCTION(f_log, log(x))
FUNCTION(f_exp, exp(x))
FUNCTION(f_expm1, expm1(x))
FUNCTION(f_erf, erf(x))
FUNCTION(f_erfc, erfc(x))
FUNCTION(f_sin, sin(x))
FUNCTION(f_cos, cos(x))
FUNCTION(f_tan, tan(x))
FUNCTION(f_asin, asin(x))
FUNCTION(f_acos, acos(x))
FUNCTION(f_atan, atan(x))
FUNCTION(f_sinh, sinh(x))
FUNCTION(f_cosh, cosh(x))
FUNCTION(f_tanh, tanh(x))
FUNCTION(f_sign, (double)((x > 0) - (x < 0)))
FUNCTION(f_floor, floor(x))
FUNCTION(f_ceil, ceil(x))
FUNCTION(f_round, nearbyint(x)) /* halves to even, as ONNX says */
FUNCTION(f_not, x == 0 ? 1 : 0)
FUNCTION(f_relu, x > 0 ? x : 0)
FUNCTION(f_leaky, x > 0 ? x : a * x)
FUNCTION(f_elu, x > 0 ? x : a * expm1(x))
FUNCTION(f_selu, x > 0 ? b * x : b * a * expm1(x))
FUNCTION(f_celu, x > 0 ? x : a * expm1(x / a))
FUNCTION(f_sigmoid, sigmoid_of(x))
FUNCTION(f_softplus, softplus_of(x))
FUNCTION(f_softsign, x / (1 + fabs(x)))
FUNCTION(f_mish, x *tanh(softplus_of(x)))
FUNCTION(f_hard_sigmoid, between(a *x + b, 0, 1))
FUNCTION(f_hard_swish, x *between(x / 6 + 0.5, 0, 1))
FUNCTION(f_gelu, 0.5 * x * erfc(-x * M_SQRT1_2))
FUNCTION(f_gelu_tanh, 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))))
FUNCTION(f_clip, x<a ? a : x> b ? b : x)

/* `first` and `second` are attributes with their defaults. */
static const struct {
    const char *op;
    iv_onnx_function *f;
    const char *kind; /* NULL: on constants alone */
    const char *first, *second;
    double defaults[2];
} functions[] = {
    {"Abs", f_abs, "abs", NULL, NULL, {0}},
    {"Neg", f_neg, "negate", NULL, NULL, {0}},
    {"Sqrt", f_sqrt, "sqrt", NULL, NULL, {0}},
    {"Reciprocal", f_reciprocal, "reciprocal", NULL, NULL, {0}},
    {"Log", f_log, "log", NULL, NULL, {0}},
    {"Exp", f_exp, "exp", NULL, NULL, {0}},
    {"Erf", f_erf, "erf", NULL, NULL, {0}},
    {"Sin", f_sin, "sin", NULL, NULL, {0}},
    {"Cos", f_cos, "cos", NULL, NULL, {0}},
    {"Tan", f_tan, NULL, NULL, NULL, {0}},
    {"Asin", f_asin, NULL, NULL, NULL, {0}},
    {"Acos", f_acos, NULL, NULL, NULL, {0}},
    {"Atan", f_atan, NULL, NULL, NULL, {0}},
    {"Sinh", f_sinh, NULL, NULL, NULL, {0}},
    {"Cosh", f_cosh, NULL, NULL, NULL, {0}},
    {"Tanh", f_tanh, "tanh", NULL, NULL, {0}},
    {"Sign", f_sign, "sign", NULL, NULL, {0}},
    {"Floor", f_floor, "floor", NULL, NULL, {0}},
    {"Ceil", f_ceil, "ceil", NULL, NULL, {0}},
    {"Round", f_round, "round", NULL, NULL, {0}},
    {"Relu", f_relu, "relu", NULL, NULL, {0}},
    {"LeakyRelu", f_leaky, "leaky_relu", "alpha", NULL, {0.01, 0}},
    {"Elu", f_elu, "elu", "alpha", NULL, {1, 0}},
    {"Selu",
     f_selu,
     "selu",
     "alpha",
     "gamma",
     {1.67326319217681884765625, 1.05070102214813232421875}},
    {"Celu", f_celu, "celu", "alpha", NULL, {1, 0}},
    {"Sigmoid", f_sigmoid, "sigmoid", NULL, NULL, {0}},
    {"Softplus", f_softplus, "softplus", NULL, NULL, {0}},
    {"Softsign", f_softsign, "softsign", NULL, NULL, {0}},
    {"Mish", f_mish, "mish", NULL, NULL, {0}},
    {"HardSigmoid", f_hard_sigmoid, "hard_sigmoid", "alpha", "beta", {0.2, 0.5}},
    {"HardSwish", f_hard_swish, "hard_swish", NULL, NULL, {0}},
};

isovae_status iv_onnx_read_unary(iv_onnx_context *c, iv_onnx_node *node)
{
    size_t i = 0;
    const iv_onnx_value *v;
    double a = NAN, b = NAN;
    while (strcmp(functions[i].op, op_of(c)) != 0) i++;
    const char *kind = functions[i].kind;
    IV_TRY(iv_onnx_input(c, 0, &v));
    if (functions[i].first != NULL) {
        IV_TRY(iv_onnx_get_float(c, functions[i].first, functions[i].defaults[0], &a));
    }
    if (functions[i].second != NULL) {
        IV_TRY(iv_onnx_get_float(c, functions[i].second, functions[i].defaults[1], &b));
    }
    if (functions[i].f == f_celu && a == 0) return IV_ONNX_FAIL(c, "its alpha is 0");
    if (functions[i].f == f_leaky && a == 0) kind = "relu";
    return iv_onnx_unary(c, functions[i].f, kind, a, b, v, &node->out[0]);
}

isovae_status iv_onnx_read_logical_not(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v;
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_unary(c, f_not, "not", NAN, NAN, v, &node->out[0]));
    node->out[0].type = IV_ONNX_BOOL;
    return ISOVAE_OK;
}

isovae_status iv_onnx_read_erfc(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v;
    iv_onnx_value erf, one;
    IV_TRY(iv_onnx_input(c, 0, &v));
    if (!v->live) return iv_onnx_fold1(c, f_erfc, NAN, NAN, v, &node->out[0]);
    IV_TRY(iv_onnx_unary(c, f_erf, "erf", NAN, NAN, v, &erf));
    IV_TRY(iv_onnx_number(c, 1, &one));
    return iv_onnx_binary(c, IV_ONNX_SUB, &one, &erf, &node->out[0]);
}

isovae_status iv_onnx_read_expm1(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v;
    iv_onnx_value power, one;
    IV_TRY(iv_onnx_input(c, 0, &v));
    if (!v->live) return iv_onnx_fold1(c, f_expm1, NAN, NAN, v, &node->out[0]);
    IV_TRY(iv_onnx_unary(c, f_exp, "exp", NAN, NAN, v, &power));
    IV_TRY(iv_onnx_number(c, 1, &one));
    return iv_onnx_binary(c, IV_ONNX_SUB, &power, &one, &node->out[0]);
}

isovae_status iv_onnx_read_gelu(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v;
    char *how;
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_get_string(c, "approximate", &how));
    bool tanh_form = how != NULL && strcmp(how, "tanh") == 0;
    return iv_onnx_unary(c, tanh_form ? f_gelu_tanh : f_gelu, tanh_form ? "gelu_tanh" : "gelu", NAN,
                         NAN, v, &node->out[0]);
}

/* A bound of Clip: a number where it is one; *v where it depends on the data. */
static isovae_status bound(iv_onnx_context *c, const char *attribute, size_t input, double *number,
                           const iv_onnx_value **v)
{
    *v = NULL;
    IV_TRY(iv_onnx_get_float(c, attribute, NAN, number));
    const iv_onnx_value *given = iv_onnx_optional(c, input);
    if (given == NULL) return ISOVAE_OK;
    if (given->live) {
        *v = given;
        return ISOVAE_OK;
    }
    IV_TRY(iv_onnx_scalar(c, given, number));
    if (fabs(*number) >= 3.4e38) *number = NAN; /* what exporters write for no bound */
    return ISOVAE_OK;
}

isovae_status iv_onnx_read_clip(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v, *low, *high;
    double a, b;
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(bound(c, "min", 1, &a, &low));
    IV_TRY(bound(c, "max", 2, &b, &high));
    iv_onnx_value now = *v;
    if (low != NULL) IV_TRY(iv_onnx_binary(c, IV_ONNX_MAX, &now, low, &now));
    if (high != NULL) IV_TRY(iv_onnx_binary(c, IV_ONNX_MIN, &now, high, &now));
    node->out[0] = now;
    if (isnan(a) && isnan(b)) return ISOVAE_OK;
    if (!now.live) {
        return iv_onnx_fold1(c, f_clip, isnan(a) ? -INFINITY : a, isnan(b) ? INFINITY : b, &now,
                             &node->out[0]);
    }
    return iv_onnx_unary(c, NULL, "clip", a, b, &now, &node->out[0]);
}

/* x where it is positive, else slope x: max(x, 0) + slope min(x, 0) */
isovae_status iv_onnx_read_prelu(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *x, *slope;
    iv_onnx_value zero, up, down;
    IV_TRY(iv_onnx_input(c, 0, &x));
    IV_TRY(iv_onnx_input(c, 1, &slope));
    if (!slope->live && slope->tensor->n == 1 && slope->dims.rank <= x->dims.rank) {
        double a;
        IV_TRY(iv_onnx_scalar(c, slope, &a));
        return iv_onnx_unary(c, f_leaky, a == 0 ? "relu" : "leaky_relu", a, NAN, x, &node->out[0]);
    }
    IV_TRY(iv_onnx_number(c, 0, &zero));
    IV_TRY(iv_onnx_unary(c, f_relu, "relu", NAN, NAN, x, &up));
    IV_TRY(iv_onnx_binary(c, IV_ONNX_MIN, x, &zero, &down));
    IV_TRY(iv_onnx_binary(c, IV_ONNX_MUL, &down, slope, &down));
    return iv_onnx_binary(c, IV_ONNX_ADD, &up, &down, &node->out[0]);
}

/* ---- two inputs and more ---- */

static const struct {
    const char *op;
    iv_onnx_op2 f;
} pairs[] = {
    {"Add", IV_ONNX_ADD},         {"Sub", IV_ONNX_SUB},
    {"Mul", IV_ONNX_MUL},         {"Div", IV_ONNX_DIV},
    {"Pow", IV_ONNX_POW},         {"Equal", IV_ONNX_EQUAL},
    {"Less", IV_ONNX_LESS},       {"LessOrEqual", IV_ONNX_LESS_EQUAL},
    {"Greater", IV_ONNX_GREATER}, {"GreaterOrEqual", IV_ONNX_GREATER_EQUAL},
    {"And", IV_ONNX_AND},         {"Or", IV_ONNX_OR},
    {"Xor", IV_ONNX_XOR},
};

isovae_status iv_onnx_read_binary(iv_onnx_context *c, iv_onnx_node *node)
{
    size_t i = 0;
    const iv_onnx_value *a, *b;
    while (strcmp(pairs[i].op, op_of(c)) != 0) i++;
    IV_TRY(iv_onnx_input(c, 0, &a));
    IV_TRY(iv_onnx_input(c, 1, &b));
    return iv_onnx_binary(c, pairs[i].f, a, b, &node->out[0]);
}

/* What is not equal to itself. */
isovae_status iv_onnx_read_is_nan(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v;
    iv_onnx_value equal;
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_binary(c, IV_ONNX_EQUAL, v, v, &equal));
    IV_TRY(iv_onnx_unary(c, f_not, "not", NAN, NAN, &equal, &node->out[0]));
    node->out[0].type = IV_ONNX_BOOL;
    return ISOVAE_OK;
}

isovae_status iv_onnx_read_is_inf(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v;
    int64_t up, down;
    iv_onnx_value x, most;
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_get_int(c, "detect_positive", 1, &up));
    IV_TRY(iv_onnx_get_int(c, "detect_negative", 1, &down));
    x = *v;
    if (up == 0) IV_TRY(iv_onnx_unary(c, f_neg, "negate", NAN, NAN, v, &x));
    if (up != 0 && down != 0) IV_TRY(iv_onnx_unary(c, f_abs, "abs", NAN, NAN, v, &x));
    IV_TRY(iv_onnx_number(c, up == 0 && down == 0 ? (double)INFINITY : (double)FLT_MAX, &most));
    return iv_onnx_binary(c, IV_ONNX_GREATER, &x, &most, &node->out[0]);
}

isovae_status iv_onnx_read_mod(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *a, *b;
    int64_t as_c;
    IV_TRY(iv_onnx_input(c, 0, &a));
    IV_TRY(iv_onnx_input(c, 1, &b));
    IV_TRY(iv_onnx_get_int(c, "fmod", 0, &as_c));
    return iv_onnx_binary(c, as_c ? IV_ONNX_FMOD : IV_ONNX_MOD, a, b, &node->out[0]);
}

isovae_status iv_onnx_read_variadic(iv_onnx_context *c, iv_onnx_node *node)
{
    const char *op = op_of(c);
    const iv_onnx_value *v;
    iv_onnx_op2 f = strcmp(op, "Min") == 0   ? IV_ONNX_MIN
                    : strcmp(op, "Max") == 0 ? IV_ONNX_MAX
                                             : IV_ONNX_ADD;
    IV_TRY(iv_onnx_input(c, 0, &v));
    iv_onnx_value now = *v;
    for (size_t i = 1; i < node->n_inputs; i++) {
        IV_TRY(iv_onnx_input(c, i, &v));
        IV_TRY(iv_onnx_binary(c, f, &now, v, &now));
    }
    if (strcmp(op, "Mean") == 0 && node->n_inputs > 1) {
        iv_onnx_value number;
        IV_TRY(iv_onnx_number(c, (double)node->n_inputs, &number));
        IV_TRY(iv_onnx_binary(c, IV_ONNX_DIV, &now, &number, &now));
    }
    node->out[0] = now;
    return ISOVAE_OK;
}

isovae_status iv_onnx_read_where(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *test, *a, *b;
    IV_TRY(iv_onnx_input(c, 0, &test));
    IV_TRY(iv_onnx_input(c, 1, &a));
    IV_TRY(iv_onnx_input(c, 2, &b));
    return iv_onnx_where(c, test, a, b, &node->out[0]);
}

/* ---- along axes ---- */

static const struct {
    const char *op;
    iv_onnx_sum f;
} sums[] = {
    {"ReduceSum", IV_ONNX_SUM},        {"ReduceMean", IV_ONNX_MEAN},
    {"ReduceMax", IV_ONNX_REDUCE_MAX}, {"ReduceMin", IV_ONNX_REDUCE_MIN},
    {"ReduceProd", IV_ONNX_PROD},      {"ReduceSumSquare", IV_ONNX_SUM_SQUARE},
    {"ReduceL1", IV_ONNX_L1},          {"ReduceL2", IV_ONNX_L2},
    {"ReduceLogSum", IV_ONNX_SUM},     {"ReduceLogSumExp", IV_ONNX_LOG_SUM_EXP},
};

isovae_status iv_onnx_read_reduce(iv_onnx_context *c, iv_onnx_node *node)
{
    size_t i = 0, n;
    const iv_onnx_value *v;
    const int64_t *axes;
    int64_t keep, none;
    bool gone[IV_ONNX_RANK] = {false};
    while (strcmp(sums[i].op, op_of(c)) != 0) i++;
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_get_int(c, "keepdims", 1, &keep));
    IV_TRY(iv_onnx_get_int(c, "noop_with_empty_axes", 0, &none));
    IV_TRY(iv_onnx_list(c, "axes", 1, &axes, &n));
    for (size_t k = 0; k < n; k++) {
        size_t axis;
        IV_TRY(iv_onnx_axis(c, axes[k], v->dims.rank, &axis));
        gone[axis] = true;
    }
    if (n == 0 && none == 1) {
        node->out[0] = *v;
        return ISOVAE_OK;
    }
    for (size_t k = 0; n == 0 && k < v->dims.rank; k++) gone[k] = true;
    IV_TRY(iv_onnx_reduce(c, sums[i].f, v, gone, keep != 0, &node->out[0]));
    if (strcmp(op_of(c), "ReduceLogSum") != 0) return ISOVAE_OK;
    iv_onnx_value sum = node->out[0];
    return iv_onnx_unary(c, f_log, "log", NAN, NAN, &sum, &node->out[0]);
}

isovae_status iv_onnx_read_softmax(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v;
    int64_t given;
    size_t axis;
    bool log = strcmp(op_of(c), "LogSoftmax") == 0;
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_get_int(c, "axis", node->opset < 13 ? 1 : -1, &given));
    IV_TRY(iv_onnx_axis(c, given, v->dims.rank, &axis));
    if (node->opset >= 13 || axis + 1 == v->dims.rank) {
        return iv_onnx_softmax(c, v, axis, log, &node->out[0]);
    }
    /* up to opset 12 all axes from that one on are one */
    iv_onnx_form flat[IV_ONNX_RANK], back[IV_ONNX_RANK];
    iv_onnx_value merged;
    if (v->dims.batch != IV_ONNX_NO_BATCH && v->dims.batch >= axis) {
        return IV_ONNX_REFUSE(c, "softmax from axis %zu on would mix rows of the batch", axis);
    }
    for (size_t i = 0; i < v->dims.rank; i++) {
        back[i] = iv_onnx_extent(c, &v->dims, i);
        if (i <= axis)
            flat[i] = back[i];
        else if (__builtin_mul_overflow(flat[axis].k, back[i].k, &flat[axis].k))
            return IV_ONNX_FAIL(c, "its input is too large");
    }
    IV_TRY(iv_onnx_reshape(c, v, axis + 1, flat, &merged));
    IV_TRY(iv_onnx_softmax(c, &merged, axis, log, &merged));
    return iv_onnx_reshape(c, &merged, v->dims.rank, back, &node->out[0]);
}
