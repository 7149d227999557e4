/* The operators that are understood, with the opsets for which their reader is right. */
#include "onnx/loader.h"

#include <string.h>

#define R(name) iv_onnx_read_##name
#define ANY SIZE_MAX

static const iv_onnx_operator_row table[] = {
    /* name, opsets, inputs, outputs */
    {"Abs", 6, 0, 1, 1, 1, R(unary)},
    {"Acos", 7, 0, 1, 1, 1, R(unary)},
    {"Add", 7, 0, 2, 2, 1, R(binary)},
    {"And", 7, 0, 2, 2, 1, R(binary)},
    {"Asin", 7, 0, 1, 1, 1, R(unary)},
    {"Atan", 7, 0, 1, 1, 1, R(unary)},
    {"AveragePool", 7, 0, 1, 1, 1, R(pool)},
    {"BatchNormalization", 7, 0, 5, 5, 5, R(batch_norm)},
    {"Bernoulli", 15, 0, 1, 1, 1, R(random)},
    {"Cast", 6, 0, 1, 1, 1, R(cast)},
    {"CastLike", 15, 0, 2, 2, 1, R(cast)},
    {"Ceil", 6, 0, 1, 1, 1, R(unary)},
    {"Celu", 12, 0, 1, 1, 1, R(unary)},
    {"Clip", 6, 0, 1, 3, 1, R(clip)},
    {"Concat", 4, 0, 1, ANY, 1, R(concat)},
    {"Constant", 1, 0, 0, 0, 1, R(constant)},
    {"ConstantOfShape", 9, 0, 1, 1, 1, R(constant_of_shape)},
    {"Conv", 1, 0, 2, 3, 1, R(conv)},
    {"ConvTranspose", 1, 0, 2, 3, 1, R(conv_transpose)},
    {"Cos", 7, 0, 1, 1, 1, R(unary)},
    {"Cosh", 9, 0, 1, 1, 1, R(unary)},
    {"DepthToSpace", 1, 0, 1, 1, 1, R(depth_to_space)},
    {"Div", 7, 0, 2, 2, 1, R(binary)},
    {"Dropout", 7, 0, 1, 3, 2, R(dropout)},
    {"Einsum", 12, 0, 1, ANY, 1, R(einsum)},
    {"Elu", 6, 0, 1, 1, 1, R(unary)},
    {"Equal", 7, 0, 2, 2, 1, R(binary)},
    {"Erf", 9, 0, 1, 1, 1, R(unary)},
    {"Erfc", 9, 0, 1, 1, 1, R(erfc)}, /* of TensorFlow, where tf2onnx leaves it */
    {"Exp", 6, 0, 1, 1, 1, R(unary)},
    {"Expand", 8, 0, 2, 2, 1, R(expand)},
    {"Expm1", 6, 0, 1, 1, 1, R(expm1)}, /* the same */
    {"EyeLike", 9, 0, 1, 1, 1, R(eye_like)},
    {"Flatten", 1, 0, 1, 1, 1, R(flatten)},
    {"Floor", 6, 0, 1, 1, 1, R(unary)},
    {"Gather", 1, 0, 2, 2, 1, R(gather)},
    {"GatherND", 11, 0, 2, 2, 1, R(gather_nd)},
    {"Gelu", 20, 0, 1, 1, 1, R(gelu)},
    {"Gemm", 7, 0, 2, 3, 1, R(gemm)},
    {"GlobalAveragePool", 1, 0, 1, 1, 1, R(global_pool)},
    {"GlobalMaxPool", 1, 0, 1, 1, 1, R(global_pool)},
    {"Greater", 7, 0, 2, 2, 1, R(binary)},
    {"GreaterOrEqual", 12, 0, 2, 2, 1, R(binary)},
    {"GroupNormalization", 18, 0, 3, 3, 1, R(group_norm)},
    {"HardSigmoid", 6, 0, 1, 1, 1, R(unary)},
    {"HardSwish", 14, 0, 1, 1, 1, R(unary)},
    {"Identity", 1, 0, 1, 1, 1, R(identity)},
    {"InstanceNormalization", 6, 0, 3, 3, 1, R(instance_norm)},
    {"IsInf", 10, 0, 1, 1, 1, R(is_inf)},
    {"IsNaN", 9, 0, 1, 1, 1, R(is_nan)},
    {"LayerNormalization", 17, 0, 2, 3, 3, R(layer_norm)},
    {"LeakyRelu", 6, 0, 1, 1, 1, R(unary)},
    {"Less", 7, 0, 2, 2, 1, R(binary)},
    {"LessOrEqual", 12, 0, 2, 2, 1, R(binary)},
    {"Log", 6, 0, 1, 1, 1, R(unary)},
    {"LogSoftmax", 1, 0, 1, 1, 1, R(softmax)},
    {"MatMul", 1, 0, 2, 2, 1, R(matmul)},
    {"Max", 6, 0, 1, ANY, 1, R(variadic)},
    {"MaxPool", 1, 0, 1, 1, 2, R(pool)},
    {"Mean", 6, 0, 1, ANY, 1, R(variadic)},
    {"Min", 6, 0, 1, ANY, 1, R(variadic)},
    {"Mish", 18, 0, 1, 1, 1, R(unary)},
    {"Mod", 10, 0, 2, 2, 1, R(mod)},
    {"Mul", 7, 0, 2, 2, 1, R(binary)},
    {"Multinomial", 7, 0, 1, 1, 1, R(random)},
    {"Neg", 6, 0, 1, 1, 1, R(unary)},
    {"Not", 1, 0, 1, 1, 1, R(logical_not)},
    {"Or", 7, 0, 2, 2, 1, R(binary)},
    {"PRelu", 7, 0, 2, 2, 1, R(prelu)},
    {"Pad", 2, 0, 1, 4, 1, R(pad)},
    {"Pow", 7, 0, 2, 2, 1, R(binary)},
    {"RandomNormal", 1, 0, 0, 0, 1, R(random)},
    {"RandomNormalLike", 1, 0, 1, 1, 1, R(random)},
    {"RandomStandardNormal", 1, 0, 1, 1, 1, R(random)}, /* the same */
    {"RandomUniform", 1, 0, 0, 0, 1, R(random)},
    {"RandomUniformLike", 1, 0, 1, 1, 1, R(random)},
    {"Range", 11, 0, 3, 3, 1, R(range)},
    {"Reciprocal", 6, 0, 1, 1, 1, R(unary)},
    {"ReduceL1", 1, 0, 1, 2, 1, R(reduce)},
    {"ReduceL2", 1, 0, 1, 2, 1, R(reduce)},
    {"ReduceLogSum", 1, 0, 1, 2, 1, R(reduce)},
    {"ReduceLogSumExp", 1, 0, 1, 2, 1, R(reduce)},
    {"ReduceMax", 1, 0, 1, 2, 1, R(reduce)},
    {"ReduceMean", 1, 0, 1, 2, 1, R(reduce)},
    {"ReduceMin", 1, 0, 1, 2, 1, R(reduce)},
    {"ReduceProd", 1, 0, 1, 2, 1, R(reduce)},
    {"ReduceSum", 1, 0, 1, 2, 1, R(reduce)},
    {"ReduceSumSquare", 1, 0, 1, 2, 1, R(reduce)},
    {"Relu", 6, 0, 1, 1, 1, R(unary)},
    {"Reshape", 5, 0, 2, 2, 1, R(reshape)},
    {"Resize", 10, 0, 1, 4, 1, R(resize)},
    {"Round", 11, 0, 1, 1, 1, R(unary)},
    {"Selu", 6, 0, 1, 1, 1, R(unary)},
    {"Shape", 1, 0, 1, 1, 1, R(shape)},
    {"Sigmoid", 6, 0, 1, 1, 1, R(unary)},
    {"Sign", 9, 0, 1, 1, 1, R(unary)},
    {"Sin", 7, 0, 1, 1, 1, R(unary)},
    {"Sinh", 9, 0, 1, 1, 1, R(unary)},
    {"Size", 1, 0, 1, 1, 1, R(size)},
    {"Slice", 1, 0, 1, 5, 1, R(slice)},
    {"Softmax", 1, 0, 1, 1, 1, R(softmax)},
    {"Softplus", 1, 0, 1, 1, 1, R(unary)},
    {"Softsign", 1, 0, 1, 1, 1, R(unary)},
    {"SpaceToDepth", 1, 0, 1, 1, 1, R(space_to_depth)},
    {"Split", 2, 0, 1, 2, ANY, R(split)},
    {"Sqrt", 6, 0, 1, 1, 1, R(unary)},
    {"Squeeze", 1, 0, 1, 2, 1, R(squeeze)},
    {"StatelessRandomNormalV2", 1, 0, 1, 4, 1, R(random)}, /* the same */
    {"Sub", 7, 0, 2, 2, 1, R(binary)},
    {"Sum", 6, 0, 1, ANY, 1, R(variadic)},
    {"Tan", 7, 0, 1, 1, 1, R(unary)},
    {"Tanh", 6, 0, 1, 1, 1, R(unary)},
    {"Tile", 6, 0, 2, 2, 1, R(tile)},
    {"Transpose", 1, 0, 1, 1, 1, R(transpose)},
    {"Trilu", 14, 0, 1, 2, 1, R(trilu)},
    {"Unsqueeze", 1, 0, 1, 2, 1, R(unsqueeze)},
    {"Upsample", 7, 9, 1, 2, 1, R(upsample)},
    {"Where", 9, 0, 3, 3, 1, R(where)},
    {"Xor", 7, 0, 2, 2, 1, R(binary)},
};
enum { ROWS = sizeof table / sizeof table[0] };

const iv_onnx_operator_row *iv_onnx_find_operator(const char *name, int64_t opset,
                                                  const iv_onnx_operator_row **other)
{
    *other = NULL;
    if (name == NULL) return NULL; /* a node of no operator */
    for (size_t i = 0; i < ROWS; i++) {
        if (strcmp(table[i].name, name) != 0) continue;
        if (opset >= table[i].since && (table[i].until == 0 || opset <= table[i].until)) {
            return &table[i];
        }
        *other = &table[i];
    }
    return NULL;
}

bool iv_onnx_is_random(const char *op)
{
    return strncmp(op, "RandomNormal", 12) == 0 || strcmp(op, "RandomStandardNormal") == 0 ||
           strcmp(op, "StatelessRandomNormalV2") == 0 || strncmp(op, "RandomUniform", 13) == 0 ||
           strcmp(op, "Bernoulli") == 0 || strcmp(op, "Multinomial") == 0;
}

const char *iv_onnx_operator(size_t index)
{
    return index < ROWS ? table[index].name : NULL;
}
