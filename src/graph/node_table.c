/* The table of node kinds: adding one is a file with its callbacks and a row here. */
#include "graph/node.h"

#include <stdint.h>
#include <string.h>

#define ACTIVATION(kind_name, onnx_name, which, ...)                                               \
    {                                                                                              \
        .name = kind_name, .onnx = onnx_name, .flags = IV_NODE_ELEMENTWISE, .act = which,          \
        .min_inputs = 1, .max_inputs = 1, .min_outputs = 1, .max_outputs = 1,                      \
        .attributes = {__VA_ARGS__}, .shape = iv_activation_shape,                                 \
        .scratch = iv_activation_scratch, .forward = iv_activation_forward,                        \
        .reverse = iv_activation_reverse, .tangent = iv_activation_tangent                         \
    }

static const iv_node_kind kinds[] = {
    {.name = "dense",
     .onnx = "Gemm",
     .min_inputs = 1,
     .max_inputs = 1,
     .min_outputs = 1,
     .max_outputs = 1,
     .roles = {"weight", "bias"},
     .optional = {false, true},
     .attributes = {{"activation", IV_ATTRIBUTE_ACT, false},
                    {"alpha", IV_ATTRIBUTE_PARAMETER, false}},
     .shape = iv_dense_shape,
     .saved = iv_dense_saved,
     .scratch = iv_dense_scratch,
     .prepared = iv_dense_prepared,
     .prepare_parts = iv_dense_prepare_parts,
     .prepare = iv_dense_prepare,
     .forward = iv_dense_forward,
     .reverse = iv_dense_reverse,
     .param_blocks = iv_dense_param_blocks,
     .param_gradient = iv_dense_param_gradient,
     .tangent = iv_dense_tangent},

    ACTIVATION("relu", "Relu", IV_ACT_RELU, {0}),
    ACTIVATION("leaky_relu", "LeakyRelu", IV_ACT_LEAKY_RELU,
               {"slope", IV_ATTRIBUTE_PARAMETER, false}),
    ACTIVATION("elu", "Elu", IV_ACT_ELU, {"alpha", IV_ATTRIBUTE_PARAMETER, false}),
    ACTIVATION("silu", NULL, IV_ACT_SILU, {0}), /* ONNX: x Sigmoid(x) */
    ACTIVATION("gelu", "Gelu", IV_ACT_GELU, {0}),
    ACTIVATION("softplus", "Softplus", IV_ACT_SOFTPLUS, {0}),
    ACTIVATION("sigmoid", "Sigmoid", IV_ACT_SIGMOID, {0}),
    ACTIVATION("tanh", "Tanh", IV_ACT_TANH, {0}),
    ACTIVATION("exp", "Exp", IV_ACT_EXP, {0}),

    {.name = "add",
     .onnx = "Add",
     .flags = IV_NODE_ELEMENTWISE,
     .min_inputs = 2,
     .max_inputs = 2,
     .min_outputs = 1,
     .max_outputs = 1,
     .shape = iv_arithmetic_shape,
     .scratch = iv_arithmetic_scratch,
     .forward = iv_add_forward,
     .reverse = iv_add_reverse,
     .tangent = iv_add_tangent},
    {.name = "multiply",
     .onnx = "Mul",
     .flags = IV_NODE_ELEMENTWISE,
     .min_inputs = 2,
     .max_inputs = 2,
     .min_outputs = 1,
     .max_outputs = 1,
     .shape = iv_arithmetic_shape,
     .scratch = iv_arithmetic_scratch,
     .forward = iv_multiply_forward,
     .reverse = iv_multiply_reverse,
     .tangent = iv_multiply_tangent},
    {.name = "concat",
     .onnx = "Concat",
     .flags = IV_NODE_ELEMENTWISE,
     .min_inputs = 1,
     .max_inputs = IV_MAX_PORTS,
     .min_outputs = 1,
     .max_outputs = 1,
     .attributes = {{"axis", IV_ATTRIBUTE_AXIS, false}},
     .shape = iv_concat_shape,
     .forward = iv_concat_forward,
     .reverse = iv_concat_reverse,
     .tangent = iv_concat_tangent},
    {.name = "split",
     .onnx = "Split",
     .flags = IV_NODE_ELEMENTWISE,
     .min_inputs = 1,
     .max_inputs = 1,
     .min_outputs = 1,
     .max_outputs = IV_MAX_PORTS,
     .attributes = {{"axis", IV_ATTRIBUTE_AXIS, false}, {"sizes", IV_ATTRIBUTE_SIZES, false}},
     .shape = iv_split_shape,
     .forward = iv_split_forward,
     .reverse = iv_split_reverse,
     .tangent = iv_split_tangent},
    {.name = "reshape",
     .onnx = "Reshape",
     .flags = IV_NODE_EITHER,
     .min_inputs = 1,
     .max_inputs = 1,
     .min_outputs = 1,
     .max_outputs = 1,
     .attributes = {{"shape", IV_ATTRIBUTE_SHAPE, true}},
     .shape = iv_reshape_shape,
     .scratch = iv_reshape_scratch,
     .forward = iv_reshape_forward,
     .reverse = iv_reshape_reverse,
     .tangent = iv_reshape_tangent},
    {.name = "flatten",
     .onnx = "Flatten",
     .flags = IV_NODE_EITHER,
     .min_inputs = 1,
     .max_inputs = 1,
     .min_outputs = 1,
     .max_outputs = 1,
     .shape = iv_flatten_shape,
     .scratch = iv_reshape_scratch,
     .forward = iv_reshape_forward,
     .reverse = iv_reshape_reverse,
     .tangent = iv_reshape_tangent},
};

const iv_node_kind *iv_node_kind_find(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
    }
    return NULL;
}
