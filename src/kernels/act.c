/* Names of the activations, as in model files and options. */
#include "kernels/kernels.h"

#include <string.h>

static const struct {
    const char *name;
    double parameter;
} acts[IV_ACT_COUNT] = {
    [IV_ACT_NONE] = {"none", 0},
    [IV_ACT_RELU] = {"relu", 0},
    [IV_ACT_LEAKY_RELU] = {"leaky_relu", 0.01},
    [IV_ACT_ELU] = {"elu", 1},
    [IV_ACT_SILU] = {"silu", 0},
    [IV_ACT_GELU] = {"gelu", 0},
    [IV_ACT_SOFTPLUS] = {"softplus", 0},
    [IV_ACT_SIGMOID] = {"sigmoid", 0},
    [IV_ACT_TANH] = {"tanh", 0},
    [IV_ACT_EXP] = {"exp", 0},
};

const char *iv_act_name(iv_act act)
{
    return (unsigned)act < IV_ACT_COUNT ? acts[act].name : "unknown";
}

bool iv_act_parse(const char *name, iv_act *out)
{
    for (int i = 0; i < IV_ACT_COUNT; i++) {
        if (strcmp(name, acts[i].name) == 0) {
            *out = (iv_act)i;
            return true;
        }
    }
    return false;
}

double iv_act_default_parameter(iv_act act)
{
    return (unsigned)act < IV_ACT_COUNT ? acts[act].parameter : 0;
}
