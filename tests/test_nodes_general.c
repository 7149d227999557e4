/* The node kinds that graphs from elsewhere need, each in several forms: forward against a loop
 * written here in double, derivatives against each other and against differences, f32 against f64,
 * any cut of the batch, both physical orders, and JSON. */
#include "support_graph.h"

#include "graph/node.h"

#include <math.h>

enum { ROWS = 5, TANGENTS = 2, INPUTS = 3 };

#define SHAPE(...)                                                                                 \
    {                                                                                              \
        sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t),                                          \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

/* What the numbers must be for the functions to have a derivative. */
typedef enum domain {
    ANY,
    POSITIVE,
    STEPS /* few values, many equal ones: no differences */
} domain;

typedef struct general_case {
    const char *kind;
    iv_shape inputs[INPUTS]; /* by operand; of rank 0: there is none */
    iv_shape constants[INPUTS];
    domain domain;
    bool weight;   /* matmul: the constant is trained */
    size_t matrix; /* constants are named by role; matmul's are the second role unless trained */
    iv_attributes a;
} general_case;

static const int32_t reversed_map[] = {3, 2, 1, 0}, padded_map[] = {-1, 0, 1, -1, 2, 2, 0},
                     flat_map[] = {5, 5, -1, 0, 11, 7, 3, -1, 2, 9}, one_map[] = {0, 0, 0};

#define VALUE(v) .number = {v}, .given = {true}
#define FIRST .constant_first = 1
#define AXES(...)                                                                                  \
    .n_sizes = sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t), .sizes = {__VA_ARGS__}

static const general_case cases[] = {
    {.kind = "abs", .inputs = {SHAPE(7)}},
    {.kind = "negate", .inputs = {SHAPE(2, 3)}},
    {.kind = "square", .inputs = {SHAPE(2, 3, 4)}},
    {.kind = "sqrt", .inputs = {SHAPE(7)}, .domain = POSITIVE},
    {.kind = "reciprocal", .inputs = {SHAPE(7)}, .domain = POSITIVE},
    {.kind = "log", .inputs = {SHAPE(2, 3, 4)}, .domain = POSITIVE},
    {.kind = "erf", .inputs = {SHAPE(2, 3, 4, 2, 2)}},
    {.kind = "sin", .inputs = {SHAPE(7)}},
    {.kind = "cos", .inputs = {SHAPE(7)}},
    {.kind = "sign", .inputs = {SHAPE(7)}, .domain = STEPS},
    {.kind = "floor", .inputs = {SHAPE(7)}, .domain = STEPS},
    {.kind = "ceil", .inputs = {SHAPE(7)}, .domain = STEPS},
    {.kind = "round", .inputs = {SHAPE(17)}, .domain = STEPS},
    {.kind = "not", .inputs = {SHAPE(7)}, .domain = STEPS},
    {.kind = "clip", .inputs = {SHAPE(9)}},
    {.kind = "clip", .inputs = {SHAPE(9)}, .a = {.number = {0, 6}, .given = {true, true}}},
    {.kind = "clip",
     .inputs = {SHAPE(3, 2, 2)},
     .a = {.number = {0, 0.25}, .given = {false, true}}},
    {.kind = "selu", .inputs = {SHAPE(9)}},
    {.kind = "selu", .inputs = {SHAPE(9)}, .a = {.number = {0.5, 2}, .given = {true, true}}},
    {.kind = "celu", .inputs = {SHAPE(9)}, .a = {VALUE(0.75)}},
    {.kind = "mish", .inputs = {SHAPE(9)}},
    {.kind = "hard_sigmoid", .inputs = {SHAPE(9)}},
    {.kind = "hard_sigmoid",
     .inputs = {SHAPE(9)},
     .a = {.number = {0.75, 0.4}, .given = {true, true}}},
    {.kind = "hard_swish", .inputs = {SHAPE(9)}},
    {.kind = "log_sigmoid", .inputs = {SHAPE(9)}},
    {.kind = "softsign", .inputs = {SHAPE(9)}},
    {.kind = "gelu_tanh", .inputs = {SHAPE(9)}},

    {.kind = "add", .inputs = {SHAPE(3, 4), SHAPE(3, 4)}},
    {.kind = "add", .inputs = {SHAPE(2, 1, 4), SHAPE(3, 1)}},
    {.kind = "add", .inputs = {SHAPE(1), SHAPE(2, 3, 1, 2, 2)}},
    {.kind = "add", .inputs = {SHAPE(3, 4, 5)}, .constants = {{0}, SHAPE(3, 1, 1)}},
    {.kind = "add", .inputs = {SHAPE(4)}, .constants = {{0}, SHAPE(3, 1)}},
    {.kind = "add", .inputs = {SHAPE(4)}, .a = {VALUE(0.5)}},
    {.kind = "subtract", .inputs = {SHAPE(3, 4), SHAPE(3, 4)}},
    {.kind = "subtract", .inputs = {SHAPE(3, 1), SHAPE(1, 4)}},
    {.kind = "subtract",
     .inputs = {{0}, SHAPE(3, 4, 2)},
     .constants = {SHAPE(1, 4, 1)},
     .a = {FIRST}},
    {.kind = "subtract", .inputs = {{0}, SHAPE(6)}, .a = {VALUE(1), FIRST}},
    {.kind = "multiply", .inputs = {SHAPE(2, 3, 4), SHAPE(2, 3, 4)}},
    {.kind = "multiply", .inputs = {SHAPE(2, 3, 4), SHAPE(2, 1, 1)}},
    {.kind = "multiply", .inputs = {SHAPE(2, 3, 4), SHAPE(4)}},
    {.kind = "multiply", .inputs = {SHAPE(2, 3, 4)}, .constants = {{0}, SHAPE(2, 1, 4)}},
    {.kind = "multiply", .inputs = {SHAPE(2, 3, 4)}, .constants = {{0}, SHAPE(1)}},
    {.kind = "divide", .inputs = {SHAPE(2, 3), SHAPE(2, 3)}, .domain = POSITIVE},
    {.kind = "divide", .inputs = {SHAPE(2, 1), SHAPE(3)}, .domain = POSITIVE},
    {.kind = "divide",
     .inputs = {SHAPE(2, 3, 2)},
     .constants = {{0}, SHAPE(3, 1)},
     .domain = POSITIVE},
    {.kind = "divide", .inputs = {{0}, SHAPE(5)}, .domain = POSITIVE, .a = {VALUE(2.5), FIRST}},
    {.kind = "power", .inputs = {SHAPE(2, 3), SHAPE(2, 3)}, .domain = POSITIVE},
    {.kind = "power", .inputs = {SHAPE(6)}, .a = {VALUE(2)}},
    {.kind = "power", .inputs = {SHAPE(6)}, .a = {VALUE(3)}},
    {.kind = "power",
     .inputs = {{0}, SHAPE(2, 3)},
     .constants = {SHAPE(3)},
     .domain = POSITIVE,
     .a = {FIRST}},
    {.kind = "minimum", .inputs = {SHAPE(2, 3), SHAPE(2, 3)}},
    {.kind = "minimum", .inputs = {SHAPE(2, 3)}, .a = {VALUE(0.125)}},
    {.kind = "maximum", .inputs = {SHAPE(4, 3), SHAPE(3)}},
    {.kind = "maximum", .inputs = {SHAPE(4, 3, 2)}, .constants = {{0}, SHAPE(4, 1, 1)}},
    {.kind = "equal", .inputs = {SHAPE(3, 4), SHAPE(4)}, .domain = STEPS},
    {.kind = "less", .inputs = {SHAPE(3, 4), SHAPE(3, 4)}, .domain = STEPS},
    {.kind = "less_or_equal", .inputs = {SHAPE(3, 4)}, .domain = STEPS, .a = {VALUE(0)}},
    {.kind = "greater",
     .inputs = {{0}, SHAPE(3, 4)},
     .constants = {SHAPE(4)},
     .domain = STEPS,
     .a = {FIRST}},
    {.kind = "greater_or_equal", .inputs = {SHAPE(3, 4, 2), SHAPE(3, 1, 1)}, .domain = STEPS},
    {.kind = "and", .inputs = {SHAPE(3, 4), SHAPE(3, 4)}, .domain = STEPS},
    {.kind = "or", .inputs = {SHAPE(3, 4), SHAPE(3, 1)}, .domain = STEPS},

    {.kind = "where", .inputs = {SHAPE(3, 4), SHAPE(3, 4), SHAPE(3, 4)}},
    {.kind = "where", .inputs = {SHAPE(3, 1), SHAPE(4), SHAPE(2, 1, 4)}},
    {.kind = "where", .inputs = {SHAPE(4), {0}, SHAPE(3, 1)}, .constants = {{0}, SHAPE(1)}},
    {.kind = "where",
     .inputs = {{0}, SHAPE(2, 3, 4), {0}},
     .constants = {SHAPE(3, 1), {0}, SHAPE(2, 1, 1)}},
    {.kind = "where",
     .inputs = {SHAPE(2, 3, 4)},
     .constants = {{0}, SHAPE(4), SHAPE(1)},
     .domain = STEPS},

    {.kind = "matmul", .inputs = {SHAPE(3, 4), SHAPE(4, 2)}},
    {.kind = "matmul", .inputs = {SHAPE(2, 3, 4), SHAPE(2, 4, 5)}},
    {.kind = "matmul", .inputs = {SHAPE(2, 1, 3, 4), SHAPE(3, 4, 2)}},
    {.kind = "matmul", .inputs = {SHAPE(4), SHAPE(2, 4, 3)}},
    {.kind = "matmul", .inputs = {SHAPE(2, 3, 4), SHAPE(4)}},
    {.kind = "matmul", .inputs = {SHAPE(4)}, .constants = {{0}, SHAPE(4, 6)}, .matrix = 1},
    {.kind = "matmul", .inputs = {SHAPE(2, 3, 4)}, .constants = {{0}, SHAPE(4, 17)}, .matrix = 1},
    {.kind = "matmul", .inputs = {SHAPE(2, 3, 4)}, .constants = {{0}, SHAPE(4)}, .matrix = 1},
    {.kind = "matmul", .inputs = {SHAPE(3, 4)}, .constants = {{0}, SHAPE(2, 4, 3)}, .matrix = 1},
    {.kind = "matmul",
     .inputs = {{0}, SHAPE(2, 4, 3)},
     .constants = {SHAPE(5, 4)},
     .matrix = 1,
     .a = {FIRST}},
    {.kind = "matmul",
     .inputs = {{0}, SHAPE(4)},
     .constants = {SHAPE(5, 4)},
     .matrix = 1,
     .a = {FIRST}},
    {.kind = "matmul", .inputs = {SHAPE(2, 3, 4)}, .constants = {{0}, SHAPE(4, 5)}, .weight = true},
    {.kind = "matmul",
     .inputs = {SHAPE(2, 3, 4)},
     .constants = {{0}, SHAPE(2, 1, 4, 5)},
     .weight = true},
    {.kind = "matmul",
     .inputs = {{0}, SHAPE(2, 4, 3)},
     .constants = {SHAPE(5, 4)},
     .weight = true,
     .a = {FIRST}},

    {.kind = "reduce", .inputs = {SHAPE(7)}, .a = {.reduction = IV_REDUCE_SUM}},
    {.kind = "reduce", .inputs = {SHAPE(2, 3, 4)}, .a = {.reduction = IV_REDUCE_SUM, AXES(2)}},
    {.kind = "reduce",
     .inputs = {SHAPE(2, 3, 4)},
     .a = {.reduction = IV_REDUCE_SUM, AXES(1, 3), .keepdims = 1}},
    {.kind = "reduce",
     .inputs = {SHAPE(2, 3, 4)},
     .a = {.reduction = IV_REDUCE_MEAN, AXES(2, 3), .keepdims = 1}},
    {.kind = "reduce", .inputs = {SHAPE(2, 3, 4)}, .a = {.reduction = IV_REDUCE_MEAN, AXES(3, 2)}},
    {.kind = "reduce",
     .inputs = {SHAPE(2, 3, 4)},
     .a = {.reduction = IV_REDUCE_MEAN, AXES(3), .keepdims = 1}},
    {.kind = "reduce",
     .inputs = {SHAPE(2, 3, 2, 2, 3)},
     .a = {.reduction = IV_REDUCE_MEAN, AXES(2, 4)}},
    {.kind = "reduce", .inputs = {SHAPE(5, 4)}, .a = {.reduction = IV_REDUCE_MAX, AXES(1)}},
    {.kind = "reduce", .inputs = {SHAPE(5, 4)}, .a = {.reduction = IV_REDUCE_MIN, AXES(2)}},
    {.kind = "reduce", .inputs = {SHAPE(5, 4)}, .a = {.reduction = IV_REDUCE_PROD, AXES(2)}},
    {.kind = "reduce", .inputs = {SHAPE(5, 4)}, .a = {.reduction = IV_REDUCE_SUM_SQUARE, AXES(2)}},
    {.kind = "reduce", .inputs = {SHAPE(5, 4)}, .a = {.reduction = IV_REDUCE_L1, AXES(2)}},
    {.kind = "reduce", .inputs = {SHAPE(5, 4, 2)}, .a = {.reduction = IV_REDUCE_L2, AXES(2)}},
    {.kind = "reduce",
     .inputs = {SHAPE(5, 4)},
     .a = {.reduction = IV_REDUCE_LOG_SUM_EXP, AXES(1, 2)}},
    {.kind = "reduce",
     .inputs = {SHAPE(5, 4, 3)},
     .a = {.reduction = IV_REDUCE_LOG_SUM_EXP, AXES(2)}},

    {.kind = "take", .inputs = {SHAPE(4)}, .a = {.axis = 1, .map = reversed_map, .n_map = 4}},
    {.kind = "take", .inputs = {SHAPE(2, 3, 4)}, .a = {.axis = 2, .map = padded_map, .n_map = 7}},
    {.kind = "take",
     .inputs = {SHAPE(2, 3)},
     .a = {.axis = 2, .map = padded_map, .n_map = 7, VALUE(-2.5)}},
    {.kind = "take", .inputs = {SHAPE(2, 1, 3)}, .a = {.axis = 2, .map = one_map, .n_map = 3}},
    {.kind = "take", .inputs = {SHAPE(2, 3, 2)}, .a = {.map = flat_map, .n_map = 10, VALUE(1)}},
    {.kind = "take",
     .inputs = {SHAPE(12)},
     .a = {.map = flat_map, .n_map = 10, .shape = SHAPE(5, 1, 2)}},

    {.kind = "softmax", .inputs = {SHAPE(5)}},
    {.kind = "softmax", .inputs = {SHAPE(2, 3, 4)}, .a = {.axis = 2}},
    {.kind = "softmax", .inputs = {SHAPE(2, 3, 4)}, .a = {.axis = 3}},
    {.kind = "log_softmax", .inputs = {SHAPE(5)}},
    {.kind = "log_softmax", .inputs = {SHAPE(2, 3, 4)}, .a = {.axis = 1}},
    {.kind = "log_softmax", .inputs = {SHAPE(2, 3, 4)}, .a = {.axis = 3}},
    {.kind = "layer_norm", .inputs = {SHAPE(2, 3, 4)}, .a = {.axis = 3}},
    {.kind = "layer_norm", .inputs = {SHAPE(2, 3, 4)}, .a = {.axis = 2}},
    {.kind = "layer_norm", .inputs = {SHAPE(6)}, .a = {.axis = 1}},
    {.kind = "group_norm", .inputs = {SHAPE(4, 5)}, .a = {.conv.groups = 4}},
    {.kind = "group_norm", .inputs = {SHAPE(4, 2, 3)}, .a = {.conv.groups = 4}},
    {.kind = "group_norm", .inputs = {SHAPE(4, 2, 3, 2)}, .a = {.conv.groups = 2}},
    {.kind = "batch_norm", .inputs = {SHAPE(4, 5)}, .domain = POSITIVE},
    {.kind = "batch_norm", .inputs = {SHAPE(3, 2, 2, 3)}, .domain = POSITIVE},
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

static bool is_there(const iv_shape *shape)
{
    return shape->rank > 0;
}

/* A condition is 0 or not: no differences along it. */
static bool is_condition(const general_case *c, size_t operand)
{
    return strcmp(c->kind, "where") == 0 && operand == 0;
}

static bool zero_slope(const general_case *c)
{
    static const char *const kinds[] = {"sign", "floor", "ceil", "round", "not"};
    const iv_node_kind *kind = iv_node_kind_find(c->kind);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i], c->kind) == 0) return true;
    return kind->binary >= IV_BINARY_EQUAL;
}

/* ---- the formulas, once more ---- */

static double function_of(const general_case *c, double x)
{
    const iv_attributes *a = &c->a;
    double p = a->given[0] ? a->number[0] : NAN, q = a->given[1] ? a->number[1] : NAN;
    const char *kind = c->kind;
    if (strcmp(kind, "abs") == 0) return fabs(x);
    if (strcmp(kind, "negate") == 0) return -x;
    if (strcmp(kind, "square") == 0) return x * x;
    if (strcmp(kind, "sqrt") == 0) return sqrt(x);
    if (strcmp(kind, "reciprocal") == 0) return 1 / x;
    if (strcmp(kind, "log") == 0) return log(x);
    if (strcmp(kind, "erf") == 0) return 1 - erfc(x);
    if (strcmp(kind, "sin") == 0) return sin(x);
    if (strcmp(kind, "cos") == 0) return cos(x);
    if (strcmp(kind, "sign") == 0) return (x > 0) - (x < 0);
    if (strcmp(kind, "floor") == 0) return floor(x);
    if (strcmp(kind, "ceil") == 0) return -floor(-x);
    if (strcmp(kind, "round") == 0) { /* halves to even */
        double low = floor(x), rest = x - low;
        if (rest < 0.5 || (rest == 0.5 && fmod(low, 2) == 0)) return low;
        return low + 1;
    }
    if (strcmp(kind, "not") == 0) return x == 0;
    if (strcmp(kind, "clip") == 0) return fmin(fmax(x, isnan(p) ? -99 : p), isnan(q) ? 99 : q);
    if (strcmp(kind, "selu") == 0) {
        double alpha = isnan(p) ? 1.67326319217681884765625 : p;
        double gamma = isnan(q) ? 1.05070102214813232421875 : q;
        return gamma * (x > 0 ? x : alpha * exp(x) - alpha);
    }
    if (strcmp(kind, "celu") == 0) return fmax(0, x) + fmin(0, p * (exp(x / p) - 1));
    if (strcmp(kind, "mish") == 0) return x * tanh(log(1 + exp(x)));
    if (strcmp(kind, "hard_sigmoid") == 0)
        return fmax(0, fmin(1, (isnan(p) ? 0.2 : p) * x + (isnan(q) ? 0.5 : q)));
    if (strcmp(kind, "hard_swish") == 0) return x * fmax(0, fmin(1, x / 6 + 0.5));
    if (strcmp(kind, "log_sigmoid") == 0) return log(1 / (1 + exp(-x)));
    if (strcmp(kind, "softsign") == 0) return x / (1 + fabs(x));
    if (strcmp(kind, "gelu_tanh") == 0)
        return x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    fail_msg("no formula for %s", kind);
    return 0;
}

static double pair_of(const char *kind, double a, double b)
{
    if (strcmp(kind, "add") == 0) return a + b;
    if (strcmp(kind, "subtract") == 0) return a - b;
    if (strcmp(kind, "multiply") == 0) return a * b;
    if (strcmp(kind, "divide") == 0) return a / b;
    if (strcmp(kind, "power") == 0) return pow(a, b);
    if (strcmp(kind, "minimum") == 0) return fmin(a, b);
    if (strcmp(kind, "maximum") == 0) return fmax(a, b);
    if (strcmp(kind, "equal") == 0) return a == b;
    if (strcmp(kind, "less") == 0) return a < b;
    if (strcmp(kind, "less_or_equal") == 0) return a <= b;
    if (strcmp(kind, "greater") == 0) return a > b;
    if (strcmp(kind, "greater_or_equal") == 0) return a >= b;
    if (strcmp(kind, "and") == 0) return a != 0 && b != 0;
    if (strcmp(kind, "or") == 0) return a != 0 || b != 0;
    fail_msg("no formula for %s", kind);
    return 0;
}

/* Element of `shape` that belongs to element `at` of `out`, axes counted from the last. */
static size_t broadcast_at(const iv_shape *shape, const iv_shape *out, size_t at)
{
    size_t place = 0, step = 1;
    for (size_t i = 0; i < out->rank; i++) {
        size_t extent = out->dim[out->rank - 1 - i], index = at % extent;
        at /= extent;
        if (i >= shape->rank) continue;
        size_t own = shape->dim[shape->rank - 1 - i];
        place += (own == 1 ? 0 : index) * step;
        step *= own;
    }
    return place;
}

typedef struct operand {
    iv_shape shape;
    const double *values;
    size_t row; /* from row to row */
} operand;

static double element(const operand *o, const iv_shape *out, size_t row, size_t at)
{
    return o->values[row * o->row + broadcast_at(&o->shape, out, at)];
}

static double matmul_of(const operand *a, const operand *b, const iv_shape *out, size_t row,
                        size_t at)
{
    iv_shape sa = a->shape, sb = b->shape, lead = *out, la, lb;
    if (sa.rank == 1) sa = (iv_shape){2, {1, sa.dim[0]}};
    if (sb.rank == 1) sb = (iv_shape){2, {sb.dim[0], 1}};
    size_t m = sa.dim[sa.rank - 2], k = sa.dim[sa.rank - 1], n = sb.dim[sb.rank - 1];
    size_t j = at % n, i = at / n % m, batch = at / n / m;
    lead.rank -= (a->shape.rank > 1 ? 1 : 0) + (size_t)(b->shape.rank > 1 ? 1 : 0);
    la = sa;
    lb = sb;
    la.rank -= 2;
    lb.rank -= 2;
    const double *pa = a->values + row * a->row + broadcast_at(&la, &lead, batch) * m * k;
    const double *pb = b->values + row * b->row + broadcast_at(&lb, &lead, batch) * k * n;
    double sum = 0;
    for (size_t q = 0; q < k; q++) sum += pa[i * k + q] * pb[q * n + j];
    return sum;
}

/* Where element `at` of a row goes when the axes are reduced; found by its index. */
static size_t reduced_at(const iv_shape *in, const iv_attributes *a, size_t at)
{
    size_t place = 0, step = 1;
    for (size_t i = in->rank; i-- > 0;) {
        size_t index = at % in->dim[i];
        bool gone = a->n_sizes == 0;
        at /= in->dim[i];
        for (size_t j = 0; j < a->n_sizes; j++) gone = gone || a->sizes[j] == i + 1;
        if (gone) continue;
        place += index * step;
        step *= in->dim[i];
    }
    return place;
}

static void reduce_of(const general_case *c, const double *x, size_t in, double *y, size_t out)
{
    const iv_reduce op = c->a.reduction;
    size_t count = in / out;
    for (size_t i = 0; i < out; i++)
        y[i] = op == IV_REDUCE_MAX    ? -INFINITY
               : op == IV_REDUCE_MIN  ? INFINITY
               : op == IV_REDUCE_PROD ? 1
                                      : 0;
    for (size_t i = 0; i < in; i++) {
        double *to = &y[reduced_at(&c->inputs[0], &c->a, i)], v = x[i];
        switch (op) {
        case IV_REDUCE_SUM: *to += v; break;
        case IV_REDUCE_MEAN: *to += v / (double)count; break;
        case IV_REDUCE_MAX: *to = fmax(*to, v); break;
        case IV_REDUCE_MIN: *to = fmin(*to, v); break;
        case IV_REDUCE_PROD: *to *= v; break;
        case IV_REDUCE_SUM_SQUARE:
        case IV_REDUCE_L2: *to += v * v; break;
        case IV_REDUCE_L1: *to += fabs(v); break;
        default: *to += exp(v); break;
        }
    }
    for (size_t i = 0; i < out; i++) {
        if (op == IV_REDUCE_L2) y[i] = sqrt(y[i]);
        if (op == IV_REDUCE_LOG_SUM_EXP) y[i] = log(y[i]);
    }
}

/* softmax and its logarithm, layer_norm without parameters: each element over its companions. */
static double over_axes(const general_case *c, const double *x, size_t size, size_t at)
{
    const iv_shape *shape = &c->inputs[0];
    size_t axis = c->a.axis == 0 ? 0 : c->a.axis - 1, inner = 1, extent = shape->dim[axis];
    for (size_t i = axis + 1; i < shape->rank; i++) inner *= shape->dim[i];
    if (strcmp(c->kind, "layer_norm") == 0) {
        size_t n = extent * inner, first = at / n * n;
        double mean = 0, var = 0;
        for (size_t i = 0; i < n; i++) mean += x[first + i] / (double)n;
        for (size_t i = 0; i < n; i++)
            var += (x[first + i] - mean) * (x[first + i] - mean) / (double)n;
        return (x[at] - mean) / sqrt(var + 1e-5);
    }
    size_t first = at / (inner * extent) * inner * extent + at % inner;
    double sum = 0;
    assert_true(first + (extent - 1) * inner < size);
    for (size_t i = 0; i < extent; i++) sum += exp(x[first + i * inner]);
    return strcmp(c->kind, "softmax") == 0 ? exp(x[at]) / sum : x[at] - log(sum);
}

static double group_norm_of(const general_case *c, const double *x, size_t size, size_t at)
{
    size_t n = size / c->a.conv.groups, first = at / n * n;
    double mean = 0, var = 0;
    for (size_t i = 0; i < n; i++) mean += x[first + i] / (double)n;
    for (size_t i = 0; i < n; i++) var += (x[first + i] - mean) * (x[first + i] - mean) / (double)n;
    return (x[at] - mean) / sqrt(var + 1e-5);
}

static double take_of(const general_case *c, const double *x, const iv_shape *out, size_t at)
{
    const iv_attributes *a = &c->a;
    size_t inner = 1, axis = a->axis;
    double fill = a->given[0] ? a->number[0] : 0;
    if (axis == 0) return a->map[at] < 0 ? fill : x[a->map[at]];
    for (size_t i = axis; i < out->rank; i++) inner *= out->dim[i];
    int32_t from = a->map[at / inner % a->n_map];
    size_t outer = at / inner / a->n_map, extent = c->inputs[0].dim[axis - 1];
    return from < 0 ? fill : x[(outer * extent + (size_t)from) * inner + at % inner];
}

static double *expected(const general_case *c, const operand *o, const iv_shape *out)
{
    size_t size;
    assert_true(iv_shape_size(out, &size));
    double *y = numbers(ROWS * size);
    const iv_node_kind *kind = iv_node_kind_find(c->kind);
    for (size_t r = 0; r < ROWS; r++) {
        const double *x = o[0].values == NULL ? NULL : o[0].values + r * o[0].row;
        if (strcmp(c->kind, "reduce") == 0) reduce_of(c, x, o[0].row, y + r * size, size);
        for (size_t i = 0; i < size; i++) {
            double *to = &y[r * size + i];
            if (kind->function != IV_FUNCTION_NONE) {
                *to = function_of(c, x[i]);
            } else if (kind->binary != IV_BINARY_NONE) {
                *to = pair_of(c->kind, element(&o[0], out, r, i), element(&o[1], out, r, i));
            } else if (strcmp(c->kind, "where") == 0) {
                bool yes = fabs(element(&o[0], out, r, i)) > 0;
                *to = element(&o[yes ? 1 : 2], out, r, i);
            } else if (strcmp(c->kind, "matmul") == 0) {
                *to = matmul_of(&o[0], &o[1], out, r, i);
            } else if (strcmp(c->kind, "take") == 0) {
                *to = take_of(c, x, out, i);
            } else if (strcmp(c->kind, "group_norm") == 0) {
                *to = group_norm_of(c, x, o[0].row, i);
            } else if (strcmp(c->kind, "batch_norm") == 0) { /* mean 0.5, variance 4 */
                *to = (x[i] - 0.5) / sqrt(4 + 1e-5);
            } else if (strcmp(c->kind, "reduce") != 0) {
                *to = over_axes(c, x, o[0].row, i);
            }
        }
    }
    return y;
}

/* ---- graphs of one such node ---- */

typedef struct setting {
    bool last;  /* the values of rank 3 lie with channels last */
    bool twice; /* each input is read by another node as well, so that gradients accumulate */
} setting;

static size_t add(iv_graph *graph, const char *kind, const char *name, size_t input,
                  const char *output, iv_attributes attributes)
{
    size_t value;
    iv_node_spec spec = {.kind = kind,
                         .name = name,
                         .n_inputs = 1,
                         .inputs = {input},
                         .n_outputs = 1,
                         .outputs = {output},
                         .attributes = attributes};
    MUST(iv_graph_node(graph, &spec, &value, err));
    return value;
}

static bool constant_shape(void *user, const char *name, iv_shape *out)
{
    const general_case *c = user;
    static const char *const names[INPUTS] = {"c0", "c1", "c2"};
    for (size_t i = 0; i < INPUTS; i++) {
        if (strcmp(name, names[i]) == 0) *out = c->constants[i];
    }
    if (strcmp(c->kind, "batch_norm") == 0) *out = (iv_shape){1, {c->inputs[0].dim[0]}};
    return true;
}

static iv_node_spec spec_of(const general_case *c)
{
    static const char *const names[INPUTS] = {"c0", "c1", "c2"};
    iv_node_spec spec = {
        .kind = c->kind, .name = "node", .n_outputs = 1, .outputs = {"y"}, .attributes = c->a};
    for (size_t i = 0; i < INPUTS; i++) {
        size_t role = strcmp(c->kind, "where") == 0 ? i : c->matrix;
        if (is_there(&c->constants[i])) spec.params[role] = names[i];
    }
    if (strstr(c->kind, "_norm") != NULL) spec.params[0] = spec.params[1] = "";
    return spec;
}

static iv_graph *build(const general_case *c, setting s)
{
    static const char *const names[INPUTS] = {"x0", "x1", "x2"};
    static const char *const inner[INPUTS] = {"i0", "i1", "i2"};
    static const char *const beside[INPUTS] = {"b0", "b1", "b2"};
    static const char *const other[INPUTS] = {"t0", "t1", "t2"};
    static const char *const tanhs[INPUTS] = {"th0", "th1", "th2"};
    static const char *const resh[INPUTS] = {"r0", "r1", "r2"};
    iv_graph *graph;
    MUST(iv_graph_new(&graph, err));
    iv_node_spec spec = spec_of(c);
    for (size_t i = 0; i < INPUTS; i++) {
        if (!is_there(&c->inputs[i])) continue;
        size_t x;
        MUST(iv_graph_input(graph, names[i], &c->inputs[i], &x, err));
        if (s.last) {
            x = add(graph, "reshape", resh[i], x, inner[i], (iv_attributes){.shape = c->inputs[i]});
            (void)add(graph, "gdn", inner[i], x, beside[i], (iv_attributes){0});
        }
        spec.inputs[spec.n_inputs++] = x;
    }
    size_t y;
    spec.outputs[0] = s.last ? "made" : "y";
    MUST(iv_graph_node_shaped(graph, &spec, constant_shape, (void *)(uintptr_t)c, &y, err));
    if (s.last) {
        iv_shape out = graph->values[y].shape;
        if (out.rank == 3) (void)add(graph, "gdn", "behind", y, "unused", (iv_attributes){0});
        if (out.rank == 0) out = (iv_shape){1, {1}};
        y = add(graph, "reshape", "after", y, "y", (iv_attributes){.shape = out});
    }
    MUST(iv_graph_output(graph, y, err));
    for (size_t i = 0, n = 0; s.twice && i < INPUTS; i++) {
        if (!is_there(&c->inputs[i])) continue;
        size_t t = add(graph, "tanh", tanhs[i], spec.inputs[n++], other[i], (iv_attributes){0});
        MUST(iv_graph_output(graph, t, err));
    }
    return graph;
}

static double *draw(const general_case *c, size_t n, uint64_t seed)
{
    double *x = noises(n, seed * 977 + 13);
    for (size_t i = 0; i < n; i++) {
        if (c->domain == POSITIVE) x[i] = 1.25 + 0.75 * x[i];
        if (c->domain == ANY) x[i] *= 2;
        if (c->domain == STEPS) x[i] = floor(4 * x[i]) / 2; /* -2, -1.5, ... 1.5 */
        x[i] = (double)(float)x[i];
    }
    return x;
}

/* A net with its inputs and constants set, the same in every table. */
typedef struct run {
    net n;
    iv_shape out;
    size_t size; /* of all rows of y */
    operand operands[INPUTS];
    double *values[INPUTS];
} run;

static run open_run(const general_case *c, const iv_graph *graph, const iv_kernels *k)
{
    static const char *const names[INPUTS] = {"x0", "x1", "x2"};
    static const char *const constants[INPUTS] = {"c0", "c1", "c2"};
    static const double number = 0;
    run r = {.n = net_open(graph, k,
                           &(iv_exec_plan){.rows = ROWS,
                                           .reverse = true,
                                           .tangent_rows = ROWS * TANGENTS,
                                           .tangents = TANGENTS})};
    size_t made = iv_graph_find_value(graph, "made");
    r.out = graph->values[made != SIZE_MAX ? made : net_value(&r.n, "y")].shape;
    r.size = ROWS * graph->values[net_value(&r.n, "y")].size;
    double *params = noises(graph->param_elements, 5);
    for (size_t i = 0; i < graph->param_elements; i++) params[i] = 0.6 + 0.1 * params[i];
    k->upload(r.n.params, params, graph->param_elements);
    free(params);
    for (size_t i = 0; i < INPUTS; i++) {
        bool constant = is_there(&c->constants[i]);
        const iv_shape *shape = constant ? &c->constants[i] : &c->inputs[i];
        size_t size;
        r.operands[i] = (operand){*shape, c->a.given[0] ? c->a.number : &number, 0};
        if (!is_there(shape)) continue;
        assert_true(iv_shape_size(shape, &size));
        size_t n = (constant ? 1 : ROWS) * size;
        r.values[i] = draw(c, n, i + 1);
        for (size_t j = 0; is_condition(c, i) && j < n; j++)
            if (fabs(r.values[i][j]) < 1) r.values[i][j] = 0;
        r.operands[i].values = r.values[i];
        r.operands[i].row = constant ? 0 : size;
        if (constant)
            net_set_param(&r.n, constants[i], r.values[i]);
        else
            net_set(&r.n, names[i], r.values[i]);
    }
    for (size_t i = 0; i < graph->n_params; i++) {
        const iv_param *param = &graph->params[i];
        bool mean = strcmp(param->name, "node.mean") == 0;
        if (mean || strcmp(param->name, "node.var") == 0)
            k->fill(param->size, mean ? 0.5 : 4, iv_at(k, r.n.params, param->offset));
    }
    return r;
}

static void close_run(run *r)
{
    for (size_t i = 0; i < INPUTS; i++) free(r->values[i]);
    net_close(&r->n);
}

static double largest(const double *x, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(x[i]));
    return most;
}

static void assert_close(const char *label, const char *what, const double *got, const double *want,
                         size_t n, double tolerance)
{
    double scale = fmax(1e-3, largest(want, n));
    for (size_t i = 0; i < n; i++) {
        if (!(fabs(got[i] - want[i]) <= tolerance * scale))
            fail_msg("%s, %s, element %zu: %.17g, expected %.17g", label, what, i, got[i], want[i]);
    }
}

static const char *label_of(const general_case *c, setting s, char text[128])
{
    char shape[IV_SHAPE_TEXT];
    snprintf(text, 128, "case %zu: %s of %.60s%s%s", (size_t)(c - cases), c->kind,
             iv_shape_text(&c->inputs[is_there(&c->inputs[0]) ? 0 : 1], shape),
             s.last ? ", channels last" : "", s.twice ? ", read twice" : "");
    return text;
}

/* Everything one pass of each kind gives, in doubles, one behind the other. */
typedef struct results {
    double *y, *tangent, *gradients, *params;
    size_t n_y, n_gradients, n_params;
} results;

static void set_tangents(run *r, const general_case *c)
{
    static const char *const names[INPUTS] = {"x0", "x1", "x2"};
    for (size_t i = 0; i < INPUTS; i++) {
        if (!is_there(&c->inputs[i])) continue;
        size_t n = TANGENTS * ROWS * r->operands[i].row;
        double *v = noises(n, 40 + i);
        r->n.k->upload(iv_exec_tangent_value(r->n.exec, net_value(&r->n, names[i]), 0), v, n);
        free(v);
    }
}

static results passes(run *r, const general_case *c, setting s)
{
    static const char *const names[INPUTS] = {"x0", "x1", "x2"};
    static const char *const tanhs[INPUTS] = {"t0", "t1", "t2"};
    const iv_kernels *k = r->n.k;
    results out = {.n_y = r->size, .n_params = r->n.graph->param_elements};
    net_forward(&r->n);
    out.y = net_get(&r->n, "y");
    set_tangents(r, c);
    iv_exec_tangent(r->n.exec, r->n.params, 0, ROWS, TANGENTS, 0);
    out.tangent =
        download(k, iv_exec_tangent_value(r->n.exec, net_value(&r->n, "y"), 0), TANGENTS * r->size);
    double *u = noises(r->size, 77);
    net_seed(&r->n, "y", u);
    free(u);
    for (size_t i = 0; s.twice && i < INPUTS; i++) {
        if (!is_there(&c->inputs[i])) continue;
        double *w = noises(ROWS * r->operands[i].row, 90 + i);
        net_seed(&r->n, tanhs[i], w);
        free(w);
    }
    net_reverse(&r->n);
    for (size_t i = 0; i < INPUTS; i++)
        if (is_there(&c->inputs[i])) out.n_gradients += ROWS * r->operands[i].row;
    out.gradients = numbers(out.n_gradients);
    size_t at = 0;
    for (size_t i = 0; i < INPUTS; i++) {
        if (!is_there(&c->inputs[i])) continue;
        double *g = net_gradient(&r->n, names[i]);
        for (size_t j = 0; j < ROWS * r->operands[i].row; j++) out.gradients[at++] = g[j];
        free(g);
    }
    out.params = download(k, r->n.grads, out.n_params);
    return out;
}

static void free_results(results *r)
{
    free(r->y);
    free(r->tangent);
    free(r->gradients);
    free(r->params);
}

/* Every table against the loops above (f64 to its last digits), and f32 against f64. */
static void check_values(const general_case *c, setting s)
{
    char label[128];
    label_of(c, s, label);
    iv_graph *graph = build(c, s);
    results exact = {0};
    for (size_t t = 0; kernels_at(t) != NULL; t++) {
        const iv_kernels *k = kernels_at(t);
        run r = open_run(c, graph, k);
        results got = passes(&r, c, s);
        double *want = expected(c, r.operands, &r.out);
        assert_close(label, k->name, got.y, want, got.n_y, k->dtype == IV_F64 ? 2e-15 : 4e-7);
        free(want);
        if (t == 0) {
            exact = got;
        } else {
            assert_close(label, "tangent", got.tangent, exact.tangent, TANGENTS * got.n_y, 2e-6);
            assert_close(label, "gradient", got.gradients, exact.gradients, got.n_gradients, 2e-6);
            assert_close(label, "params", got.params, exact.params, got.n_params, 2e-6);
            free_results(&got);
        }
        close_run(&r);
    }
    free_results(&exact);
    iv_graph_free(graph);
}

static void test_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        check_values(&cases[i], (setting){0});
        check_values(&cases[i], (setting){.twice = true});
    }
}

static void test_channels_last(void **state)
{
    (void)state;
    size_t done = 0;
    for (size_t i = 0; i < N_CASES; i++) {
        bool all = true;
        for (size_t j = 0; j < INPUTS; j++)
            all = all && (!is_there(&cases[i].inputs[j]) || cases[i].inputs[j].rank == 3);
        if (!all) continue;
        check_values(&cases[i], (setting){.last = true});
        done++;
    }
    assert_true(done > 20);
}

static double dot(const double *a, const double *b, size_t n, double *size)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
        *size += fabs(a[i] * b[i]);
    }
    return sum;
}

/* <u, y> with inputs and trained parameters moved by h along the first tangent and w. */
static double moved(const general_case *c, const iv_graph *graph, double h, const double *w)
{
    static const char *const names[INPUTS] = {"x0", "x1", "x2"};
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    run r = open_run(c, graph, k);
    for (size_t i = 0; i < INPUTS; i++) {
        if (!is_there(&c->inputs[i]) || is_condition(c, i)) continue;
        size_t n = ROWS * r.operands[i].row;
        double *v = noises(TANGENTS * n, 40 + i);
        for (size_t j = 0; j < n; j++) v[j] = r.values[i][j] + h * v[j];
        net_set(&r.n, names[i], v);
        free(v);
    }
    double *params = download(k, r.n.params, graph->param_elements);
    for (size_t i = 0; i < graph->param_elements; i++) params[i] += h * w[i];
    k->upload(r.n.params, params, graph->param_elements);
    net_forward(&r.n);
    double *y = net_get(&r.n, "y"), *u = noises(r.size, 77), size = 0;
    double value = dot(y, u, r.size, &size);
    free(y);
    free(u);
    free(params);
    close_run(&r);
    return value;
}

static void check_derivatives(const general_case *c)
{
    char label[128];
    label_of(c, (setting){0}, label);
    iv_graph *graph = build(c, (setting){0});
    run r = open_run(c, graph, iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL));
    results got = passes(&r, c, (setting){0});
    double *u = noises(r.size, 77), size = 0, *v = numbers(got.n_gradients);
    for (size_t i = 0, at = 0; i < INPUTS; i++) {
        if (!is_there(&c->inputs[i])) continue;
        size_t n = ROWS * r.operands[i].row;
        double *part = noises(TANGENTS * n, 40 + i);
        for (size_t j = 0; j < n; j++) v[at++] = part[j];
        free(part);
    }
    double forward = dot(got.tangent, u, r.size, &size);
    double reverse = dot(got.gradients, v, got.n_gradients, &size);
    if (!(fabs(forward - reverse) <= 1e-13 * size))
        fail_msg("%s: <Jv, u> = %.17g, <v, J^T u> = %.17g", label, forward, reverse);
    if (zero_slope(c)) {
        assert_true(largest(got.tangent, TANGENTS * r.size) == 0);
        assert_true(largest(got.gradients, got.n_gradients) == 0);
    } else {
        double *w = noises(graph->param_elements, 55), h = 1e-6;
        for (size_t i = 0; i < graph->n_params; i++)
            for (size_t j = 0; graph->params[i].buffer && j < graph->params[i].size; j++)
                w[graph->params[i].offset + j] = 0;
        double slope = reverse + dot(got.params, w, graph->param_elements, &size);
        if (c->weight) assert_true(largest(got.params, got.n_params) > 0.01);
        double difference = (moved(c, graph, h, w) - moved(c, graph, -h, w)) / (2 * h);
        if (!(fabs(difference - slope) <= 2e-8 * (size + 1)))
            fail_msg("%s: slope %.12g, difference %.12g", label, slope, difference);
        if (!(fabs(slope) > 1e-3)) fail_msg("%s: a slope of %g tells nothing", label, slope);
        free(w);
    }
    free(u);
    free(v);
    free_results(&got);
    close_run(&r);
    iv_graph_free(graph);
}

static void test_derivatives(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++)
        if (cases[i].domain != STEPS || zero_slope(&cases[i])) check_derivatives(&cases[i]);
}

/* The batch in pieces: the same bytes. */
static void test_ranges(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        char label[128];
        label_of(&cases[i], (setting){0}, label);
        iv_graph *graph = build(&cases[i], (setting){0});
        for (size_t t = 1; kernels_at(t) != NULL; t++) {
            run whole = open_run(&cases[i], graph, kernels_at(t));
            run parts = open_run(&cases[i], graph, kernels_at(t));
            results a = passes(&whole, &cases[i], (setting){0});
            results b = passes(&parts, &cases[i], (setting){0});
            double *u = noises(parts.size, 77);
            net_seed(&parts.n, "y", u);
            free(u);
            for (size_t first = 0; first < ROWS; first += 2) {
                size_t count = first + 2 > ROWS ? 1 : 2;
                iv_exec_forward(parts.n.exec, parts.n.params, first, count, 0);
                iv_exec_reverse(parts.n.exec, parts.n.params, first, count, true, 0);
            }
            for (size_t v = 0; v < graph->n_values; v++) {
                size_t bytes = ROWS * graph->values[v].size * parts.n.k->size;
                if (memcmp(iv_exec_value(whole.n.exec, v), iv_exec_value(parts.n.exec, v), bytes) ||
                    memcmp(iv_exec_gradient(whole.n.exec, v), iv_exec_gradient(parts.n.exec, v),
                           bytes))
                    fail_msg("%s: other bytes in pieces", label);
            }
            free_results(&a);
            free_results(&b);
            close_run(&whole);
            close_run(&parts);
        }
        iv_graph_free(graph);
    }
}

/* One value as both inputs: its gradient is written once and added once. */
static void test_same_value(void **state)
{
    (void)state;
    static const char *const kinds[] = {"multiply", "subtract", "power", "matmul", "maximum"};
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        iv_graph *graph;
        size_t x, y;
        MUST(iv_graph_new(&graph, err));
        MUST(iv_graph_input(graph, "x", &(iv_shape){2, {3, 3}}, &x, err));
        iv_node_spec spec = {.kind = kinds[i],
                             .name = "node",
                             .n_inputs = 2,
                             .inputs = {x, x},
                             .n_outputs = 1,
                             .outputs = {"y"}};
        MUST(iv_graph_node(graph, &spec, &y, err));
        MUST(iv_graph_output(graph, y, err));
        net n =
            net_open(graph, k,
                     &(iv_exec_plan){.rows = 1, .reverse = true, .tangent_rows = 1, .tangents = 1});
        double *values = noises(9, 3), *v = noises(9, 4), *u = noises(9, 5), size = 0;
        for (size_t j = 0; j < 9; j++) values[j] += 1.5;
        net_set(&n, "x", values);
        net_forward(&n);
        k->upload(iv_exec_tangent_value(n.exec, x, 0), v, 9);
        iv_exec_tangent(n.exec, n.params, 0, 1, 1, 0);
        double *jv = download(k, iv_exec_tangent_value(n.exec, y, 0), 9);
        net_seed(&n, "y", u);
        net_reverse(&n);
        double *g = net_gradient(&n, "x");
        double a = dot(jv, u, 9, &size), b = dot(g, v, 9, &size);
        assert_true(fabs(a - b) <= 1e-13 * (size + 1));
        for (size_t j = 0; j < 9; j++) { /* max(x, x) = x, x - x = 0 */
            if (strcmp(kinds[i], "maximum") == 0) assert_true(fabs(jv[j] - v[j]) < 1e-15);
            if (strcmp(kinds[i], "subtract") == 0) assert_true(jv[j] == 0 && g[j] == 0);
        }
        free(values);
        free(v);
        free(u);
        free(jv);
        free(g);
        net_close(&n);
        iv_graph_free(graph);
    }
}

/* softmax(Q K^T / 2) V of heads x places x width, against loops. */
static void test_attention(void **state)
{
    (void)state;
    enum { HEADS = 2, PLACES = 5, WIDTH = 4, SIZE = HEADS * PLACES * WIDTH };
    iv_graph *graph;
    size_t q, key, value, made;
    const iv_shape shape = {3, {HEADS, PLACES, WIDTH}};
    MUST(iv_graph_new(&graph, err));
    MUST(iv_graph_input(graph, "q", &shape, &q, err));
    MUST(iv_graph_input(graph, "k", &shape, &key, err));
    MUST(iv_graph_input(graph, "v", &shape, &value, err));
    made = add(graph, "transpose", "turn", key, "kt",
               (iv_attributes){.n_sizes = 3, .sizes = {1, 3, 2}});
    iv_node_spec spec = {.kind = "matmul",
                         .name = "scores",
                         .n_inputs = 2,
                         .inputs = {q, made},
                         .n_outputs = 1,
                         .outputs = {"s"}};
    MUST(iv_graph_node(graph, &spec, &made, err));
    made = add(graph, "multiply", "scale", made, "s2", (iv_attributes){VALUE(0.5)});
    made = add(graph, "softmax", "weigh", made, "p", (iv_attributes){.axis = 3});
    spec.name = "mix";
    spec.inputs[0] = made;
    spec.inputs[1] = value;
    spec.outputs[0] = "y";
    MUST(iv_graph_node(graph, &spec, &made, err));
    MUST(iv_graph_output(graph, made, err));
    for (size_t t = 0; kernels_at(t) != NULL; t++) {
        const iv_kernels *k = kernels_at(t);
        net n = net_open(graph, k, &(iv_exec_plan){.rows = ROWS, .reverse = true});
        double *in[3];
        for (size_t i = 0; i < 3; i++) {
            in[i] = noises(ROWS * SIZE, i + 1);
            net_set(&n, i == 0 ? "q" : i == 1 ? "k" : "v", in[i]);
        }
        net_forward(&n);
        double *y = net_get(&n, "y"), *want = numbers(ROWS * SIZE);
        for (size_t r = 0; r < ROWS * HEADS; r++) {
            for (size_t i = 0; i < PLACES; i++) {
                double weight[PLACES], sum = 0;
                for (size_t j = 0; j < PLACES; j++) {
                    double score = 0;
                    for (size_t w = 0; w < WIDTH; w++)
                        score += in[0][(r * PLACES + i) * WIDTH + w] *
                                 in[1][(r * PLACES + j) * WIDTH + w];
                    sum += weight[j] = exp(score / 2);
                }
                for (size_t j = 0; j < PLACES; j++)
                    for (size_t w = 0; w < WIDTH; w++)
                        want[(r * PLACES + i) * WIDTH + w] +=
                            weight[j] / sum * in[2][(r * PLACES + j) * WIDTH + w];
            }
        }
        assert_close("attention", k->name, y, want, ROWS * SIZE, k->dtype == IV_F64 ? 1e-15 : 4e-7);
        for (size_t i = 0; i < 3; i++) free(in[i]);
        free(y);
        free(want);
        net_close(&n);
    }
    iv_graph_free(graph);
}

/* Where formulas would break: zeros, ties, infinities, and far out. */
static void test_edges(void **state)
{
    (void)state;
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    const double none[2] = {0, 0}, far[] = {-1e4, -800, -50, 50, 800, 1e4};
    double y[6], d[6];
    k->function(IV_FUNCTION_MISH, none, 6, far, y);
    k->function_slope(IV_FUNCTION_MISH, none, 6, far, d);
    for (size_t i = 0; i < 6; i++) {
        assert_true(isfinite(y[i]) && isfinite(d[i]));
        if (far[i] > 0) assert_true(y[i] == far[i] && fabs(d[i] - 1) < 1e-14);
    }
    assert_true(fabs(y[2] / (-50 * exp(-50)) - 1) < 1e-13);
    k->function(IV_FUNCTION_GELU_TANH, none, 6, far, y);
    k->function_slope(IV_FUNCTION_GELU_TANH, none, 6, far, d);
    for (size_t i = 0; i < 6; i++) {
        assert_true(fabs(y[i] - (far[i] > 0 ? far[i] : 0)) < 1e-300);
        assert_true(fabs(d[i] - (far[i] > 0 ? 1 : 0)) < 1e-300);
    }
    k->function(IV_FUNCTION_LOG_SIGMOID, none, 6, far, y);
    assert_true(y[0] == -1e4 && fabs(y[3] + exp(-50)) < 1e-36);

    const double tie[2] = {0.5, 0.5}, zero[2] = {0, 0}, exponent[2] = {2, 0};
    k->binary_slope(IV_BINARY_MAXIMUM, 0, 1, 2, tie, 2, tie, 2, d);
    assert_true(d[0] == 0.5 && d[1] == 0.5);
    k->binary_slope(IV_BINARY_POWER, 0, 1, 2, zero, 2, exponent, 2, d);
    assert_true(d[0] == 0 && d[1] == 0);
    k->binary_slope(IV_BINARY_POWER, 1, 1, 2, zero, 2, exponent, 2, d);
    assert_true(d[0] == 0 && d[1] == 0);
    const double nan_pair[2] = {NAN, 1}, other_pair[2] = {1, NAN};
    k->binary(IV_BINARY_MAXIMUM, 1, 2, nan_pair, 2, other_pair, 2, y);
    assert_true(isnan(y[0]) && isnan(y[1]));

    /* products with zeros: one zero keeps its own slope, two leave none */
    const double x[6] = {2, 0, 3, 0, 0, 5}, one[2] = {1, 1};
    iv_reduction p = {IV_REDUCE_PROD, {1, {2}, {3}}, {1, {3}, {1}}};
    k->reduce(&p, x, y);
    assert_true(y[0] == 0 && y[1] == 0);
    k->reduce_reverse(&p, x, one, d, false);
    assert_true(d[0] == 0 && d[1] == 6 && d[2] == 0 && d[3] == 0 && d[4] == 0 && d[5] == 0);
    p.op = IV_REDUCE_MAX; /* of equal ones the first has the slope */
    const double equal[6] = {1, 1, 0, -3, -2, -2};
    k->reduce_reverse(&p, equal, one, d, false);
    assert_true(d[0] == 1 && d[1] == 0 && d[2] == 0 && d[3] == 0 && d[4] == 1 && d[5] == 0);
    p.op = IV_REDUCE_LOG_SUM_EXP;
    const double huge[6] = {1000, 1000, -1000, -INFINITY, -INFINITY, -INFINITY};
    k->reduce(&p, huge, y);
    assert_true(fabs(y[0] - (1000 + log(2))) < 1e-12 && y[1] == -INFINITY);
    p.op = IV_REDUCE_L2; /* at 0 the slope is 0 */
    k->reduce_reverse(&p, (double[6]){0}, one, d, false);
    assert_true(largest(d, 6) == 0);
}

/* ---- JSON ---- */

static bool some_tensor(void *user, const char *name, iv_shape *out)
{
    if (user != NULL) return constant_shape(user, name, out);
    static const struct {
        const char *name;
        iv_shape shape;
    } tensors[] = {{"c4", {1, {4}}}, {"c1", {1, {1}}}, {"c7", {1, {7}}}, {"w47", {2, {4, 7}}}};
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++) {
        if (strcmp(name, tensors[i].name) != 0) continue;
        *out = tensors[i].shape;
        return true;
    }
    return false;
}

static void test_json(void **state)
{
    (void)state;
    const char *outputs[] = {"y"};
    size_t done = 0;
    for (size_t i = 0; i < N_CASES; i++) {
        char label[128];
        iv_graph *graph = build(&cases[i], (setting){0}), *again = NULL;
        label_of(&cases[i], (setting){0}, label);
        if (graph->n_inputs == 1) {
            const iv_value *x = &graph->values[graph->inputs[0]];
            json_t *json = iv_graph_to_json(graph);
            assert_non_null(json);
            char *text = json_dumps(json, 0);
            assert_non_null(text);
            json_t *read = json_loads(text, 0, NULL);
            assert_non_null(read);
            isovae_error err = {0};
            if (iv_graph_from_json(read, x->name, &x->shape, outputs, 1, some_tensor,
                                   (void *)(uintptr_t)&cases[i], &again, &err) != ISOVAE_OK)
                fail_msg("%s: %s", label, err.message);
            assert_true(iv_graph_same(graph, again));
            const iv_attributes *a = &graph->nodes[0].attributes, *b = &again->nodes[0].attributes;
            assert_true(a->given[0] == b->given[0] && a->given[1] == b->given[1]);
            assert_true(!a->given[0] || !(fabs(a->number[0] - b->number[0]) > 0));
            assert_true(!a->given[1] || !(fabs(a->number[1] - b->number[1]) > 0));
            assert_true(a->reduction == b->reduction && a->keepdims == b->keepdims);
            assert_true(a->constant_first == b->constant_first && a->n_map == b->n_map);
            if (a->n_map > 0) assert_memory_equal(a->map, b->map, a->n_map * sizeof *a->map);
            assert_true(iv_shape_equal(&graph->values[graph->outputs[0]].shape,
                                       &again->values[again->outputs[0]].shape));
            json_decref(json);
            json_decref(read);
            free(text);
            iv_graph_free(again);
            done++;
        }
        iv_graph_free(graph);
    }
    assert_true(done > 60);
}

#define NODE(kind, rest)                                                                           \
    "[{\"name\":\"n\",\"kind\":\"" kind "\",\"inputs\":[\"x\"],\"output\":\"y\"" rest "}]"
#define WITH(kind, attributes) NODE(kind, ",\"attributes\":{" attributes "}")

/* Rows are 3 x 4. */
static const struct {
    const char *nodes, *says;
} hostile[] = {
    {WITH("clip", "\"min\":\"a\""), "'min'"},
    {WITH("clip", "\"max\":[1]"), "'max'"},
    {WITH("clip", "\"low\":1"), "no attribute"},
    {WITH("add", "\"value\":null"), "'value'"},
    {WITH("add", "\"value\":1,\"constant_first\":2"), "constant_first"},
    {WITH("add", "\"value\":1,\"constant_first\":true"), "constant_first"},
    {WITH("add", "\"value\":1,\"constant_first\":-1"), "constant_first"},
    {WITH("add", "\"constant_first\":1"), "2 operands"},
    {NODE("add", ",\"params\":{\"operand\":\"c4\"},\"attributes\":{\"value\":1}"), "2 operands"},
    {NODE("add", ",\"params\":{\"operand\":\"c7\"}"), "do not go together"},
    {NODE("add", ",\"params\":{\"operand\":\"none\"}"), "no tensor"},
    {NODE("add", ",\"params\":{\"weight\":\"c4\"}"), "no parameter"},
    {"[{\"name\":\"n\",\"kind\":\"add\",\"inputs\":[\"x\",\"x\"],\"output\":\"y\","
     "\"attributes\":{\"constant_first\":1}}]",
     "constant_first"},
    {"[{\"name\":\"n\",\"kind\":\"add\",\"inputs\":[\"x\",\"x\"],\"output\":\"y\","
     "\"params\":{\"operand\":\"c4\"}}]",
     "2 operands"},
    {NODE("where", ""), "3 operands"},
    {NODE("where", ",\"params\":{\"a\":\"c4\",\"b\":\"c7\"}"), "do not go together"},
    {NODE("where", ",\"params\":{\"a\":\"c4\",\"b\":\"c4\"}"), "both"},
    {NODE("matmul", ""), "two inputs"},
    {NODE("matmul", ",\"params\":{\"weight\":\"c7\"}"), "cannot be multiplied"},
    {NODE("matmul", ",\"params\":{\"weight\":\"w47\",\"operand\":\"c4\"}"), "two inputs"},
    {NODE("matmul", ",\"params\":{\"weight\":\"w47\"},\"attributes\":{\"constant_first\":1}"),
     "cannot be multiplied"},
    {NODE("matmul", ",\"params\":{\"weight\":\"w47\"},\"attributes\":{\"constant_first\":2}"),
     "constant_first"},
    {"[{\"name\":\"n\",\"kind\":\"matmul\",\"inputs\":[\"x\",\"x\"],\"output\":\"y\"}]",
     "cannot be multiplied"},
    {"[{\"name\":\"n\",\"kind\":\"matmul\",\"inputs\":[\"x\",\"x\"],\"output\":\"y\","
     "\"attributes\":{\"constant_first\":1}}]",
     "constant_first"},
    {NODE("reduce", ""), "function"},
    {WITH("reduce", "\"function\":\"median\""), "reduction"},
    {WITH("reduce", "\"function\":3"), "reduction"},
    {WITH("reduce", "\"function\":\"sum\",\"axes\":[3]"), "'axes'"},
    {WITH("reduce", "\"function\":\"sum\",\"axes\":[0]"), "positive"},
    {WITH("reduce", "\"function\":\"sum\",\"axes\":[]"), "list"},
    {WITH("reduce", "\"function\":\"sum\",\"axes\":[1,1]"), "once"},
    {WITH("reduce", "\"function\":\"sum\",\"keepdims\":2"), "keepdims"},
    {NODE("take", ""), "map"},
    {WITH("take", "\"map\":3"), "list"},
    {WITH("take", "\"map\":[]"), "list"},
    {WITH("take", "\"map\":[0,-2]"), "entry 1"},
    {WITH("take", "\"map\":[0.5]"), "entry 0"},
    {WITH("take", "\"map\":[4294967296]"), "entry 0"},
    {WITH("take", "\"map\":[12]"), "less than 12"},
    {WITH("take", "\"map\":[0,3],\"axis\":1"), "less than 3"},
    {WITH("take", "\"map\":[0,3],\"axis\":3"), "'axis'"},
    {WITH("take", "\"map\":[0],\"axis\":1,\"shape\":[1]"), "without an axis"},
    {WITH("take", "\"map\":[0,1],\"shape\":[3]"), "does not make"},
    {WITH("take", "\"map\":[0,1],\"shape\":[9223372036854775807,9223372036854775807]"),
     "does not make"},
    {WITH("take", "\"map\":[0],\"fill\":\"x\""), "'fill'"},
    {WITH("log_softmax", "\"axis\":3"), "axis 3"},
    {WITH("log_softmax", "\"axis\":0"), "'axis'"},
};

static void test_hostile(void **state)
{
    (void)state;
    const char *outputs[] = {"y"};
    const iv_shape shape = {2, {3, 4}};
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        isovae_error err = {0};
        iv_graph *graph = (iv_graph *)1;
        json_t *nodes = json_loads(hostile[i].nodes, 0, NULL);
        if (nodes == NULL) fail_msg("no JSON: %s", hostile[i].nodes);
        isovae_status status =
            iv_graph_from_json(nodes, "x", &shape, outputs, 1, some_tensor, NULL, &graph, &err);
        json_decref(nodes);
        assert_null(graph);
        if (status == ISOVAE_OK || strstr(err.message, hostile[i].says) == NULL ||
            strstr(err.message, "'n'") == NULL)
            fail_msg("%s: \"%s\" should hold '%s'", hostile[i].nodes, err.message, hostile[i].says);
    }
}

/* Empty axes, and constants in a draft, are refused; a draft's matmul makes its weight. */
static void test_drafts(void **state)
{
    (void)state;
    const char *outputs[] = {"y"};
    const iv_shape shape = {2, {3, 4}};
    iv_graph *graph;
    isovae_error err = {0};
    json_t *nodes = json_loads(NODE("matmul", ",\"units\":7"), 0, NULL);
    assert_non_null(nodes);
    MUST(iv_graph_from_json(nodes, "x", &shape, outputs, 1, NULL, NULL, &graph, err));
    assert_true(iv_shape_equal(&graph->params[0].shape, &(iv_shape){2, {4, 7}}));
    assert_true(iv_shape_equal(&graph->values[1].shape, &(iv_shape){2, {3, 7}}));
    assert_false(graph->params[0].buffer);
    json_decref(nodes);
    iv_graph_free(graph);
    nodes = json_loads(NODE("add", ",\"params\":{\"operand\":\"c\"}"), 0, NULL);
    assert_non_null(nodes);
    assert_int_equal(iv_graph_from_json(nodes, "x", &shape, outputs, 1, NULL, NULL, &graph, &err),
                     ISOVAE_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "'n'"));
    json_decref(nodes);
    MUST(iv_graph_new(&graph, err));
    size_t x;
    MUST(iv_graph_input(graph, "x", &shape, &x, err));
    const general_case empty = {.kind = "add", .constants = {{0}, SHAPE(0, 4)}};
    iv_node_spec spec = spec_of(&empty);
    spec.n_inputs = 1;
    spec.inputs[0] = x;
    assert_int_equal(
        iv_graph_node_shaped(graph, &spec, constant_shape, (void *)(uintptr_t)&empty, NULL, &err),
        ISOVAE_ERR_FORMAT);
    assert_non_null(strstr(err.message, "empty"));
    iv_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),      cmocka_unit_test(test_channels_last),
        cmocka_unit_test(test_derivatives), cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_same_value),  cmocka_unit_test(test_attention),
        cmocka_unit_test(test_edges),       cmocka_unit_test(test_json),
        cmocka_unit_test(test_hostile),     cmocka_unit_test(test_drafts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
