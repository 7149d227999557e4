/* One row for each kind of node: which operators make it. */
#include "onnx/write_net.h"

#include "base/memory.h"
#include "graph/broadcast.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define OP(...) iv_writer_op(net->w, __VA_ARGS__, NULL)

/* ---- parameters and shapes ---- */

size_t iv_net_role(const iv_node *node, size_t role)
{
    return role < node->n_params ? node->params[role] : SIZE_MAX;
}

static bool has(const iv_node *node, size_t role)
{
    return iv_net_role(node, role) != SIZE_MAX;
}

double *iv_net_numbers(iv_net *net, size_t param)
{
    const iv_param *p = &net->graph->params[param];
    double *values;
    isovae_error error;
    if (!iv_writer_ok(net->w)) return NULL;
    if (IV_NEW(values, p->size, "a parameter", &error) != ISOVAE_OK) {
        iv_writer_fail(net->w, ISOVAE_ERR_MEMORY, "%s", error.message);
        return NULL;
    }
    for (size_t i = 0; i < p->size; i++) {
        double raw = net->model->dtype == IV_F64
                         ? ((const double *)net->model->params)[p->offset + i]
                         : (double)((const float *)net->model->params)[p->offset + i];
        values[i] = p->parametrization == IV_PARAM_SQUARE ? raw * raw + IV_PARAM_FLOOR : raw;
    }
    return values;
}

const char *iv_net_param(iv_net *net, size_t param)
{
    char name[600];
    if (net->param[param] != NULL) return net->param[param];
    const iv_param *p = &net->graph->params[param];
    double *values = iv_net_numbers(net, param);
    if (values == NULL) return "";
    snprintf(name, sizeof name, "%.300s%.255s", net->scope, p->name);
    net->param[param] = iv_writer_tensor(net->w, name, &p->shape, values);
    iv_free(values);
    return net->param[param];
}

const iv_shape *iv_net_shape(const iv_net *net, size_t value)
{
    return &net->graph->values[value].shape;
}

static const iv_shape *in_shape(const iv_net *net, const iv_node *node, size_t i)
{
    return iv_net_shape(net, node->inputs[i]);
}

static const iv_shape *out_shape(const iv_net *net, const iv_node *node)
{
    return iv_net_shape(net, node->outputs[0]);
}

/* The tensor of a role, or the same number throughout where it is absent. */
static const char *param_or(iv_net *net, const iv_node *node, size_t role, const iv_shape *shape,
                            double otherwise)
{
    size_t n = 0;
    if (has(node, role)) return iv_net_param(net, node->params[role]);
    (void)iv_shape_size(shape, &n);
    double *values;
    isovae_error error;
    if (IV_NEW(values, n, "a parameter", &error) != ISOVAE_OK) {
        iv_writer_fail(net->w, ISOVAE_ERR_MEMORY, "%s", error.message);
        return "";
    }
    for (size_t i = 0; i < n; i++) values[i] = otherwise;
    const char *name = iv_writer_tensor(net->w, NULL, shape, values);
    iv_free(values);
    return name;
}

static const char *number(iv_net *net, double value)
{
    return iv_writer_number(net->w, value);
}

static void ints(iv_net *net, const char *name, size_t n, const size_t *values)
{
    int64_t copy[IV_MAX_PORTS];
    for (size_t i = 0; i < n; i++) copy[i] = (int64_t)values[i];
    iv_writer_ints(net->w, name, n, copy);
}

/* ---- layers ---- */

static void dense(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                  const char **out)
{
    const char *weight = iv_net_param(net, node->params[0]);
    if (!linear && has(node, 1))
        out[0] = OP("Gemm", in[0], weight, iv_net_param(net, node->params[1]));
    else
        out[0] = OP("Gemm", in[0], weight);
    iv_writer_int(net->w, "transB", 1);
}

static void window(iv_net *net, const iv_conv_attributes *conv, const size_t *kernel)
{
    ints(net, "kernel_shape", 2, kernel);
    ints(net, "strides", 2, conv->stride);
    ints(net, "pads", 4, conv->pads);
}

static void convolve(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                     const char **out)
{
    const iv_conv_attributes *conv = &node->attributes.conv;
    const char *weight = iv_net_param(net, node->params[0]);
    bool transposed = strcmp(node->kind->name, "conv_transpose") == 0;
    const char *op = transposed ? "ConvTranspose" : "Conv";
    if (!linear && has(node, 1))
        out[0] = OP(op, in[0], weight, iv_net_param(net, node->params[1]));
    else
        out[0] = OP(op, in[0], weight);
    window(net, conv, &net->graph->params[node->params[0]].shape.dim[2]);
    ints(net, "dilations", 2, conv->dilation);
    iv_writer_int(net->w, "group", (int64_t)conv->groups);
    if (transposed) ints(net, "output_padding", 2, conv->output_padding);
}

/* ---- functions ---- */

static const char *half_erfc(iv_net *net, const char *x) /* 1 + erf(x / sqrt 2) */
{
    return OP("Add", OP("Erf", OP("Mul", x, number(net, M_SQRT1_2))), number(net, 1));
}

const char *iv_net_activation(iv_net *net, iv_act act, double parameter, const char *x)
{
    const char *y;
    switch (act) {
    case IV_ACT_RELU: return OP("Relu", x);
    case IV_ACT_LEAKY_RELU:
        y = OP("LeakyRelu", x);
        iv_writer_float(net->w, "alpha", parameter);
        return y;
    case IV_ACT_ELU:
        y = OP("Elu", x);
        iv_writer_float(net->w, "alpha", parameter);
        return y;
    case IV_ACT_SILU: return OP("Mul", x, OP("Sigmoid", x));
    case IV_ACT_GELU: return OP("Mul", OP("Mul", x, number(net, 0.5)), half_erfc(net, x));
    case IV_ACT_SOFTPLUS: return OP("Softplus", x);
    case IV_ACT_SIGMOID: return OP("Sigmoid", x);
    case IV_ACT_TANH: return OP("Tanh", x);
    case IV_ACT_EXP: return OP("Exp", x);
    case IV_ACT_NONE:
    case IV_ACT_COUNT: break;
    }
    return x;
}

static void activation(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                       const char **out)
{
    (void)linear;
    out[0] = iv_net_activation(net, node->kind->act, node->attributes.parameter, in[0]);
}

double iv_net_number(const iv_node *node, size_t i)
{
    return node->attributes.given[i] ? node->attributes.number[i] : node->kind->numbers[i];
}

static const char *to_bool(iv_net *net, const char *x)
{
    return iv_writer_cast(net->w, x, IV_TENSOR_BOOL);
}

static const char *to_float(iv_net *net, const char *x)
{
    return iv_writer_cast(net->w, x, IV_TENSOR_FLOAT);
}

static const char *clip(iv_net *net, const iv_node *node, const char *x)
{
    double low = iv_net_number(node, 0), high = iv_net_number(node, 1);
    const char *a = isinf(low) ? "" : number(net, low), *b = isinf(high) ? "" : number(net, high);
    return isinf(high) ? isinf(low) ? OP("Identity", x) : OP("Clip", x, a) : OP("Clip", x, a, b);
}

static const char *with_numbers(iv_net *net, const iv_node *node, const char *op, const char *x,
                                const char *first, const char *second)
{
    const char *y = OP(op, x);
    iv_writer_float(net->w, first, iv_net_number(node, 0));
    if (second != NULL) iv_writer_float(net->w, second, iv_net_number(node, 1));
    return y;
}

static const char *gelu_tanh(iv_net *net, const char *x)
{
    const char *cubic = OP("Mul", OP("Mul", x, x), number(net, 0.044715));
    const char *inner = OP("Mul", x, OP("Add", cubic, number(net, 1)));
    /* 1/2 (1 + tanh(u)) = sigmoid(2 u) */
    return OP("Mul", x, OP("Sigmoid", OP("Mul", inner, number(net, 2 * 0.79788456080286535588))));
}

static void function(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                     const char **out)
{
    const char *x = in[0];
    (void)linear;
    switch (node->kind->function) {
    case IV_FUNCTION_SQUARE: out[0] = OP("Mul", x, x); return;
    case IV_FUNCTION_NOT: out[0] = to_float(net, OP("Not", to_bool(net, x))); return;
    case IV_FUNCTION_CLIP: out[0] = clip(net, node, x); return;
    case IV_FUNCTION_SELU: out[0] = with_numbers(net, node, "Selu", x, "alpha", "gamma"); return;
    case IV_FUNCTION_CELU: out[0] = with_numbers(net, node, "Celu", x, "alpha", NULL); return;
    case IV_FUNCTION_HARD_SIGMOID:
        out[0] = with_numbers(net, node, "HardSigmoid", x, "alpha", "beta");
        return;
    case IV_FUNCTION_MISH: out[0] = OP("Mul", x, OP("Tanh", OP("Softplus", x))); return;
    case IV_FUNCTION_LOG_SIGMOID: out[0] = OP("Neg", OP("Softplus", OP("Neg", x))); return;
    case IV_FUNCTION_GELU_TANH: out[0] = gelu_tanh(net, x); return;
    default: out[0] = OP(node->kind->onnx, x); return;
    }
}

/* ---- two operands ---- */

void iv_net_operands(const iv_node *node, iv_net_operand *out)
{
    iv_operands o = iv_operands_of(node);
    for (size_t i = 0; i < o.n; i++) {
        out[i].constant = o.constant[i];
        out[i].input = o.constant[i] ? SIZE_MAX : o.index[i];
        out[i].param =
            o.constant[i] && o.index[i] != SIZE_MAX ? node->params[o.index[i]] : SIZE_MAX;
    }
}

const char *iv_net_pad(iv_net *net, const char *tensor, const iv_shape *shape, size_t rank)
{
    iv_shape padded = {.rank = rank};
    if (shape->rank >= rank) return tensor;
    for (size_t i = 0; i < rank; i++) {
        size_t missing = rank - shape->rank;
        padded.dim[i] = i < missing ? 1 : shape->dim[i - missing];
    }
    return iv_writer_reshape(net->w, tensor, 0, 0, &padded);
}

const char *iv_net_operand_tensor(iv_net *net, const iv_node *node, const iv_net_operand *o,
                                  const char *input)
{
    size_t rank = out_shape(net, node)->rank;
    if (!o->constant) return iv_net_pad(net, input, in_shape(net, node, o->input), rank);
    if (o->param != SIZE_MAX) return iv_net_param(net, o->param);
    return number(net, node->attributes.number[0]);
}

static void arithmetic(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                       const char **out)
{
    iv_net_operand o[IV_MAX_ROLES];
    const char *x[2];
    (void)linear;
    iv_net_operands(node, o);
    for (size_t i = 0; i < 2; i++)
        x[i] = iv_net_operand_tensor(net, node, &o[i], o[i].constant ? "" : in[o[i].input]);
    iv_binary f = node->kind->binary;
    bool logical = f == IV_BINARY_AND || f == IV_BINARY_OR;
    for (size_t i = 0; i < 2 && logical; i++) x[i] = to_bool(net, x[i]);
    out[0] = OP(node->kind->onnx, x[0], x[1]);
    if (f >= IV_BINARY_EQUAL) out[0] = to_float(net, out[0]);
}

static void where(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                  const char **out)
{
    iv_net_operand o[IV_MAX_ROLES] = {0};
    const char *x[3];
    (void)linear;
    iv_net_operands(node, o);
    for (size_t i = 0; i < 3; i++)
        x[i] = iv_net_operand_tensor(net, node, &o[i], o[i].constant ? "" : in[o[i].input]);
    out[0] = OP("Where", to_bool(net, x[0]), x[1], x[2]);
}

/* An operand as matrices behind leading axes: a vector on the left is a row, on the right a column.
 */
static iv_shape as_matrix(const iv_shape *shape, bool right, size_t leading)
{
    iv_shape m = *shape, out = {.rank = leading + 2};
    if (m.rank == 1) {
        m.rank = 2;
        m.dim[1] = right ? 1 : m.dim[0];
        m.dim[0] = right ? shape->dim[0] : 1;
    }
    for (size_t i = 0; i < out.rank; i++) {
        size_t missing = out.rank - m.rank;
        out.dim[i] = i < missing ? 1 : m.dim[i - missing];
    }
    return out;
}

void iv_net_matrices(iv_net *net, const iv_node *node, const char *const *in, const char **x,
                     iv_shape *shape)
{
    const iv_shape *own[2];
    bool constant[2];
    size_t param = has(node, 0) ? node->params[0] : iv_net_role(node, 1), input = 0, leading = 0;
    for (size_t i = 0; i < 2; i++) {
        constant[i] = param != SIZE_MAX && i == (node->attributes.constant_first ? 0 : 1);
        own[i] = constant[i] ? &net->graph->params[param].shape : in_shape(net, node, input);
        x[i] = constant[i] ? iv_net_param(net, param) : in[input++];
        if (own[i]->rank > leading + 2) leading = own[i]->rank - 2;
    }
    for (size_t i = 0; i < 2; i++) {
        shape[i] = as_matrix(own[i], i == 1, leading);
        const iv_shape *m = &shape[i];
        if (constant[i] && own[i]->rank == 1) {
            int64_t dims[2] = {(int64_t)m->dim[m->rank - 2], (int64_t)m->dim[m->rank - 1]};
            x[i] = OP("Reshape", x[i], iv_writer_whole(net->w, 2, dims));
        } else if (!constant[i] && !iv_shape_equal(m, own[i])) {
            x[i] = iv_writer_reshape(net->w, x[i], 0, 0, m);
        }
    }
}

static void matmul(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                   const char **out)
{
    const char *x[2];
    iv_shape shape[2];
    size_t param = has(node, 0) ? node->params[0] : iv_net_role(node, 1);
    (void)linear;
    if (param != SIZE_MAX && !node->attributes.constant_first &&
        net->graph->params[param].shape.rank == 2) { /* ONNX has it so */
        out[0] = OP("MatMul", in[0], iv_net_param(net, param));
        return;
    }
    iv_net_matrices(net, node, in, x, shape);
    out[0] = iv_writer_reshape(net->w, OP("MatMul", x[0], x[1]), 0, 0, out_shape(net, node));
}

/* ---- reductions, softmax ---- */

static void reduce(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                   const char **out)
{
    static const char *const ops[IV_REDUCE_COUNT] = {
        [IV_REDUCE_SUM] = "ReduceSum",
        [IV_REDUCE_MEAN] = "ReduceMean",
        [IV_REDUCE_MAX] = "ReduceMax",
        [IV_REDUCE_MIN] = "ReduceMin",
        [IV_REDUCE_PROD] = "ReduceProd",
        [IV_REDUCE_SUM_SQUARE] = "ReduceSumSquare",
        [IV_REDUCE_L1] = "ReduceL1",
        [IV_REDUCE_L2] = "ReduceL2",
        [IV_REDUCE_LOG_SUM_EXP] = "ReduceLogSumExp",
    };
    const iv_attributes *a = &node->attributes;
    int64_t axes[IV_MAX_PORTS];
    (void)linear;
    if (a->n_sizes == 0) {
        iv_writer_fail(net->w, ISOVAE_ERR_UNSUPPORTED,
                       "node '%s': a reduction over no axis cannot be written", node->name);
        return;
    }
    for (size_t i = 0; i < a->n_sizes; i++) axes[i] = (int64_t)a->sizes[i];
    if (a->reduction == IV_REDUCE_SUM) { /* axes are an input of this one alone */
        out[0] = OP("ReduceSum", in[0], iv_writer_whole(net->w, a->n_sizes, axes));
    } else {
        out[0] = OP(ops[a->reduction], in[0]);
        iv_writer_ints(net->w, "axes", a->n_sizes, axes);
    }
    iv_writer_int(net->w, "keepdims", (int64_t)a->keepdims);
}

static void along_axis(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                       const char **out)
{
    (void)linear;
    out[0] = OP(node->kind->onnx, in[0]);
    iv_writer_int(net->w, "axis", (int64_t)node->attributes.axis);
}

/* ---- moves of elements ---- */

/* What a map of -1 leaves free is filled behind the Gather, which reads element 0 there. */
static const char *filled(iv_net *net, const iv_node *node, bool linear, const char *gathered,
                          const iv_shape *shape)
{
    const iv_attributes *a = &node->attributes;
    isovae_error error;
    bool *taken, holes = false;
    if (IV_NEW(taken, a->n_map, "a map", &error) != ISOVAE_OK) {
        iv_writer_fail(net->w, ISOVAE_ERR_MEMORY, "%s", error.message);
        return "";
    }
    for (size_t i = 0; i < a->n_map; i++) {
        taken[i] = a->map[i] >= 0;
        holes = holes || !taken[i];
    }
    if (holes) {
        double fill = linear || !a->given[0] ? 0 : a->number[0];
        gathered = OP("Where", iv_writer_flags(net->w, shape, taken), gathered, number(net, fill));
    }
    iv_free(taken);
    return gathered;
}

static void take(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                 const char **out)
{
    const iv_attributes *a = &node->attributes;
    const iv_shape *shape = in_shape(net, node, 0);
    const char *x = in[0];
    int64_t *map, axis = a->axis == 0 ? 1 : (int64_t)a->axis;
    isovae_error error;
    if (IV_NEW(map, a->n_map, "a map", &error) != ISOVAE_OK) {
        iv_writer_fail(net->w, ISOVAE_ERR_MEMORY, "%s", error.message);
        return;
    }
    for (size_t i = 0; i < a->n_map; i++) map[i] = a->map[i] < 0 ? 0 : a->map[i];
    if (a->axis == 0 && shape->rank != 1) {
        size_t size = 1;
        (void)iv_shape_size(shape, &size);
        x = iv_writer_reshape(net->w, x, 0, size, &(iv_shape){0});
    }
    x = OP("Gather", x, iv_writer_whole(net->w, a->n_map, map));
    iv_writer_int(net->w, "axis", axis);
    iv_free(map);
    iv_shape mask = {.rank = 1, .dim = {a->n_map}}; /* against the last axes */
    for (size_t i = a->axis; a->axis > 0 && i < shape->rank; i++) mask.dim[mask.rank++] = 1;
    x = filled(net, node, linear, x, &mask);
    if (a->axis == 0 && out_shape(net, node)->rank != 1)
        x = iv_writer_reshape(net->w, x, 0, 0, out_shape(net, node));
    out[0] = x;
}

static void concat(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                   const char **out)
{
    (void)linear;
    iv_writer_ops(net->w, "Concat", node->n_inputs, in, 1, out);
    iv_writer_int(net->w, "axis", (int64_t)node->attributes.axis);
}

static void split(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                  const char **out)
{
    int64_t sizes[IV_MAX_PORTS];
    size_t axis = node->attributes.axis;
    (void)linear;
    for (size_t i = 0; i < node->n_outputs; i++)
        sizes[i] = (int64_t)iv_net_shape(net, node->outputs[i])->dim[axis - 1];
    const char *both[2] = {in[0], iv_writer_whole(net->w, node->n_outputs, sizes)};
    iv_writer_ops(net->w, "Split", 2, both, node->n_outputs, out);
    iv_writer_int(net->w, "axis", (int64_t)axis);
}

static void reshape(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                    const char **out)
{
    (void)linear;
    out[0] = iv_writer_reshape(net->w, in[0], 0, 0, out_shape(net, node));
}

static void flatten(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                    const char **out)
{
    (void)linear;
    (void)node;
    out[0] = OP("Flatten", in[0]);
    iv_writer_int(net->w, "axis", 1);
}

static void transpose(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                      const char **out)
{
    int64_t perm[1 + IV_MAX_PORTS] = {0};
    const iv_attributes *a = &node->attributes;
    (void)linear;
    for (size_t i = 0; i < a->n_sizes; i++) perm[i + 1] = (int64_t)a->sizes[i];
    out[0] = OP("Transpose", in[0]);
    iv_writer_ints(net->w, "perm", a->n_sizes + 1, perm);
}

/* ---- normalisations ---- */

/* c, 1, 1, ...: one number for each channel of rows of that rank. */
static iv_shape by_channel(const iv_shape *row)
{
    iv_shape shape = {.rank = row->rank};
    for (size_t i = 0; i < row->rank; i++) shape.dim[i] = i == 0 ? row->dim[0] : 1;
    return shape;
}

/* weight / sqrt(var + eps) at each channel. */
static const char *batch_factor(iv_net *net, const iv_node *node)
{
    iv_shape shape = by_channel(in_shape(net, node, 0));
    double *var = iv_net_numbers(net, node->params[3]);
    double *weight = has(node, 0) ? iv_net_numbers(net, node->params[0]) : NULL;
    const char *name = "";
    if (iv_writer_ok(net->w)) {
        for (size_t i = 0; i < shape.dim[0]; i++)
            var[i] = (weight != NULL ? weight[i] : 1) / sqrt(var[i] + node->attributes.eps);
        name = iv_writer_tensor(net->w, NULL, &shape, var);
    }
    iv_free(var);
    iv_free(weight);
    return name;
}

static void batch_norm(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                       const char **out)
{
    iv_shape c = {1, {in_shape(net, node, 0)->dim[0]}};
    if (linear) {
        out[0] = OP("Mul", in[0], batch_factor(net, node));
        return;
    }
    const char *weight = param_or(net, node, 0, &c, 1), *bias = param_or(net, node, 1, &c, 0);
    out[0] = OP("BatchNormalization", in[0], weight, bias, iv_net_param(net, node->params[2]),
                iv_net_param(net, node->params[3]));
    iv_writer_float(net->w, "epsilon", node->attributes.eps);
}

static void layer_norm(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                       const char **out)
{
    const iv_shape *row = in_shape(net, node, 0);
    size_t axis = node->attributes.axis;
    iv_shape inner = {.rank = row->rank - (axis - 1)};
    (void)linear;
    for (size_t i = 0; i < inner.rank; i++) inner.dim[i] = row->dim[axis - 1 + i];
    const char *weight = param_or(net, node, 0, &inner, 1);
    out[0] = OP("LayerNormalization", in[0], weight, param_or(net, node, 1, &inner, 0));
    iv_writer_int(net->w, "axis", (int64_t)axis);
    iv_writer_float(net->w, "epsilon", node->attributes.eps);
}

/* Groups as channels of an InstanceNormalization, then weight and bias by the true channels. */
static void group_norm(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                       const char **out)
{
    const iv_shape *row = in_shape(net, node, 0);
    size_t groups = node->attributes.conv.groups, size = 1;
    (void)linear;
    (void)iv_shape_size(row, &size);
    iv_shape grouped = {2, {groups, size / groups}}, g = {1, {groups}}, c = by_channel(row);
    const char *x = iv_writer_reshape(net->w, in[0], 0, 0, &grouped);
    x = OP("InstanceNormalization", x, param_or(net, node, IV_MAX_ROLES, &g, 1),
           param_or(net, node, IV_MAX_ROLES, &g, 0));
    iv_writer_float(net->w, "epsilon", node->attributes.eps);
    x = iv_writer_reshape(net->w, x, 0, 0, row);
    int64_t dims[IV_MAX_RANK];
    for (size_t i = 0; i < c.rank; i++) dims[i] = (int64_t)c.dim[i];
    for (size_t role = 0; role < 2; role++) {
        if (!has(node, role)) continue;
        const char *p = OP("Reshape", iv_net_param(net, node->params[role]),
                           iv_writer_whole(net->w, c.rank, dims));
        x = OP(role == 0 ? "Mul" : "Add", x, p);
    }
    out[0] = x;
}

/* gamma x (+ beta) over the channels of each pixel. */
static const char *mix_channels(iv_net *net, const iv_node *node, bool with_beta, const char *x)
{
    const iv_shape *row = in_shape(net, node, 0);
    const char *gamma = iv_net_param(net, node->params[1]), *y;
    if (row->rank == 1) {
        y = with_beta ? OP("Gemm", x, gamma, iv_net_param(net, node->params[0]))
                      : OP("Gemm", x, gamma);
        iv_writer_int(net->w, "transB", 1);
        return y;
    }
    int64_t dims[1 + IV_MAX_RANK];
    for (size_t i = 0; i <= row->rank; i++) dims[i] = i < 2 ? (int64_t)row->dim[0] : 1;
    gamma = OP("Reshape", gamma, iv_writer_whole(net->w, row->rank + 1, dims));
    return with_beta ? OP("Conv", x, gamma, iv_net_param(net, node->params[0]))
                     : OP("Conv", x, gamma);
}

static void gdn(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                const char **out)
{
    bool inverse = strcmp(node->kind->name, "gdn_inverse") == 0;
    if (linear) { /* gamma alone; write_tangents.c asks for it */
        out[0] = mix_channels(net, node, false, in[0]);
        return;
    }
    const char *root = OP("Sqrt", mix_channels(net, node, true, OP("Mul", in[0], in[0])));
    out[0] = OP(inverse ? "Mul" : "Div", in[0], root);
}

/* ---- pictures ---- */

static void pool(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                 const char **out)
{
    const iv_conv_attributes *conv = &node->attributes.conv;
    (void)linear;
    out[0] = OP(node->kind->onnx, in[0]);
    if (strcmp(node->kind->onnx, "GlobalAveragePool") == 0) return;
    window(net, conv, conv->kernel);
    if (strcmp(node->kind->onnx, "AveragePool") == 0)
        iv_writer_int(net->w, "count_include_pad", (int64_t)node->attributes.count_include_pad);
}

static void enlarge(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                    const char **out)
{
    const size_t *s = node->attributes.scale;
    bool nearest = strcmp(node->kind->name, "upsample_nearest") == 0;
    double scales[4] = {1, 1, (double)s[0], (double)s[1]};
    (void)linear;
    out[0] = OP("Resize", in[0], "", iv_writer_tensor(net->w, NULL, &(iv_shape){1, {4}}, scales));
    iv_writer_text(net->w, "mode", nearest ? "nearest" : "linear");
    iv_writer_text(net->w, "coordinate_transformation_mode", nearest ? "asymmetric" : "half_pixel");
    if (nearest) iv_writer_text(net->w, "nearest_mode", "floor");
}

static void shuffle(iv_net *net, const iv_node *node, bool linear, const char *const *in,
                    const char **out)
{
    (void)linear;
    out[0] = OP("DepthToSpace", in[0]);
    iv_writer_int(net->w, "blocksize", (int64_t)node->attributes.scale[0]);
    iv_writer_text(net->w, "mode", "CRD");
}

/* Activations, functions and arithmetic have one for all of them. */
static const struct {
    const char *kind;
    iv_emit_fn *emit;
} rows[] = {{"dense", dense},
            {"conv", convolve},
            {"conv_transpose", convolve},
            {"where", where},
            {"matmul", matmul},
            {"reduce", reduce},
            {"softmax", along_axis},
            {"log_softmax", along_axis},
            {"take", take},
            {"concat", concat},
            {"split", split},
            {"reshape", reshape},
            {"flatten", flatten},
            {"transpose", transpose},
            {"batch_norm", batch_norm},
            {"layer_norm", layer_norm},
            {"group_norm", group_norm},
            {"gdn", gdn},
            {"gdn_inverse", gdn},
            {"max_pool", pool},
            {"average_pool", pool},
            {"global_average_pool", pool},
            {"upsample_nearest", enlarge},
            {"upsample_bilinear", enlarge},
            {"pixel_shuffle", shuffle}};

iv_emit_fn *iv_emit_of(const iv_node *node)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].kind, node->kind->name) == 0) return rows[i].emit;
    if (node->kind->act != IV_ACT_NONE) return activation;
    if (node->kind->operands == 2) return arithmetic;
    return function;
}

/* ---- whole networks ---- */

isovae_status iv_net_new(iv_writer *w, const iv_model *model, const iv_graph *graph,
                         const char *scope, iv_net *out, isovae_error *err)
{
    *out = (iv_net){.w = w, .model = model, .graph = graph, .scope = scope};
    isovae_status status = IV_NEW(out->value, graph->n_values, "names of tensors", err);
    if (!status) status = IV_NEW(out->tangent, graph->n_values, "names of tensors", err);
    if (!status) status = IV_NEW(out->before, graph->n_nodes, "names of tensors", err);
    if (!status) status = IV_NEW(out->param, graph->n_params, "names of tensors", err);
    if (status) iv_net_free(out);
    return status;
}

void iv_net_free(iv_net *net)
{
    iv_free(net->value);
    iv_free(net->tangent);
    iv_free(net->before);
    iv_free(net->param);
    *net = (iv_net){0};
}

void iv_net_forward(iv_net *net, const char *input)
{
    const iv_graph *g = net->graph;
    iv_writer_scope(net->w, net->scope);
    net->value[g->inputs[0]] = input;
    for (size_t i = 0; i < g->n_nodes && iv_writer_ok(net->w); i++) {
        const iv_node *node = &g->nodes[i];
        const char *in[IV_MAX_PORTS], *out[IV_MAX_PORTS];
        for (size_t k = 0; k < node->n_inputs; k++) in[k] = net->value[node->inputs[k]];
        for (size_t k = 0; k < node->n_outputs; k++) out[k] = "";
        iv_emit_of(node)(net, node, false, in, out);
        if ((node->kind->flags & IV_NODE_FUSES) != 0 && node->attributes.act != IV_ACT_NONE) {
            net->before[i] = out[0];
            out[0] =
                iv_net_activation(net, node->attributes.act, node->attributes.parameter, out[0]);
        }
        for (size_t k = 0; k < node->n_outputs; k++) net->value[node->outputs[k]] = out[k];
    }
}
