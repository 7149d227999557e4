/* Gemm and MatMul. */
#include "onnx/loader.h"

isovae_status iv_onnx_read_matmul(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *a, *b;
    IV_TRY(iv_onnx_input(c, 0, &a));
    IV_TRY(iv_onnx_input(c, 1, &b));
    return iv_onnx_matmul(c, a, b, &node->out[0]);
}

/* alpha op(A) op(B) + beta C; the numbers go into constants where there are some. */
isovae_status iv_onnx_read_gemm(iv_onnx_context *c, iv_onnx_node *node)
{
    static const size_t swap[] = {1, 0};
    const iv_onnx_value *in[2], *bias = iv_onnx_optional(c, 2);
    iv_onnx_value x[2], product, number, scaled;
    double alpha, beta;
    IV_TRY(iv_onnx_get_float(c, "alpha", 1, &alpha));
    IV_TRY(iv_onnx_get_float(c, "beta", 1, &beta));
    for (size_t i = 0; i < 2; i++) {
        int64_t turned;
        IV_TRY(iv_onnx_input(c, i, &in[i]));
        IV_TRY(iv_onnx_get_int(c, i == 0 ? "transA" : "transB", 0, &turned));
        if (in[i]->dims.rank != 2) return IV_ONNX_FAIL(c, "its inputs must have two axes");
        x[i] = *in[i];
        if (turned != 0) IV_TRY(iv_onnx_transpose(c, in[i], swap, &x[i]));
    }
    if (alpha != 1) {
        size_t which = x[0].live && !x[1].live ? 1 : 0;
        IV_TRY(iv_onnx_number(c, alpha, &number));
        IV_TRY(iv_onnx_binary(c, IV_ONNX_MUL, &x[which], &number, &x[which]));
    }
    IV_TRY(iv_onnx_matmul(c, &x[0], &x[1], &product));
    node->out[0] = product;
    if (bias == NULL || beta == 0) return ISOVAE_OK;
    scaled = *bias;
    if (beta != 1) {
        IV_TRY(iv_onnx_number(c, beta, &number));
        IV_TRY(iv_onnx_binary(c, IV_ONNX_MUL, bias, &number, &scaled));
    }
    return iv_onnx_binary(c, IV_ONNX_ADD, &product, &scaled, &node->out[0]);
}
