/* From what is stored and trained to what is computed with, and gradients back. */
#include "graph/node.h"

#include <math.h>

double iv_param_raw(iv_parametrization parametrization, double effective)
{
    if (parametrization == IV_PARAM_PLAIN) return effective;
    return effective > IV_PARAM_FLOOR ? sqrt(effective - IV_PARAM_FLOOR) : 0;
}

void iv_param_effective(const iv_kernels *k, iv_parametrization parametrization, size_t n,
                        const void *raw, void *effective)
{
    if (parametrization == IV_PARAM_PLAIN) {
        k->copy_block(1, n, raw, n, effective, n, false);
    } else {
        k->fill(n, IV_PARAM_FLOOR, effective);
        k->multiply_add(n, raw, raw, effective);
    }
}

/* d effective / d raw = 2 raw */
void iv_param_chain(const iv_kernels *k, iv_parametrization parametrization, size_t n,
                    const void *raw, void *gradient)
{
    if (parametrization == IV_PARAM_PLAIN) return;
    k->multiply(n, raw, gradient, gradient);
    k->add(n, gradient, gradient, gradient);
}

const char *iv_parametrization_name(iv_parametrization parametrization)
{
    return parametrization == IV_PARAM_SQUARE ? "square" : "plain";
}

void iv_param_block(const iv_param *param, size_t block, size_t blocks, size_t *first,
                    size_t *count)
{
    size_t rows = param->shape.rank > 0 ? param->shape.dim[0] : 1, width = param->size / rows;
    size_t begin = rows / blocks * block + rows % blocks * block / blocks;
    size_t end = rows / blocks * (block + 1) + rows % blocks * (block + 1) / blocks;
    *first = begin * width;
    *count = (end - begin) * width;
}
