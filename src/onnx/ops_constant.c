/* Operators that make numbers: constants, from attributes or from shapes, and random ones. */
#include "onnx/loader.h"

#include <math.h>
#include <string.h>

isovae_status iv_onnx_read_constant(iv_onnx_context *c, iv_onnx_node *node)
{
    const Onnx__AttributeProto *a;
    double *f;
    int64_t *k;
    if ((a = iv_onnx_attribute(c, "value")) != NULL && a->t != NULL) {
        return iv_onnx_tensor_read(c, a->t, &node->out[0]);
    }
    bool one = true;
    if ((a = iv_onnx_attribute(c, "value_float")) == NULL) {
        a = iv_onnx_attribute(c, "value_floats");
        one = false;
    }
    if (a != NULL) {
        size_t n = one ? 1 : a->n_floats;
        iv_onnx_dims dims = iv_onnx_dims_of(one ? 0 : 1, &n);
        IV_TRY(iv_onnx_new_float(c, &dims, false, &node->out[0], &f));
        for (size_t i = 0; i < n; i++) f[i] = (double)(one ? a->f : a->floats[i]);
        return ISOVAE_OK;
    }
    one = true;
    if ((a = iv_onnx_attribute(c, "value_int")) == NULL) {
        a = iv_onnx_attribute(c, "value_ints");
        one = false;
    }
    if (a == NULL) return IV_ONNX_REFUSE(c, "its value is no tensor, number or list of numbers");
    size_t n = one ? 1 : a->n_ints;
    iv_onnx_dims dims = iv_onnx_dims_of(one ? 0 : 1, &n);
    IV_TRY(iv_onnx_new_int(c, &dims, IV_ONNX_INT, false, &node->out[0], &k, NULL));
    for (size_t i = 0; i < n; i++) k[i] = one ? a->i : a->ints[i];
    return ISOVAE_OK;
}

/* Dims of a new constant; an axis B is one that each row has alike. */
static isovae_status dims_of_forms(iv_onnx_context *c, const iv_onnx_form *forms, size_t n,
                                   iv_onnx_dims *dims)
{
    if (n > IV_ONNX_RANK) return IV_ONNX_REFUSE(c, "it makes more than %d axes", IV_ONNX_RANK);
    *dims = iv_onnx_dims_of(0, NULL);
    dims->rank = n;
    for (size_t i = 0; i < n; i++) {
        if (forms[i].b == 0 && forms[i].k >= 0) {
            dims->dim[i] = (size_t)forms[i].k;
        } else if (forms[i].b == 1 && forms[i].k == 0 && dims->batch == IV_ONNX_NO_BATCH) {
            dims->dim[i] = 1;
            dims->batch = i;
        } else {
            return IV_ONNX_REFUSE(c, "the shape that it makes is not understood");
        }
    }
    return ISOVAE_OK;
}

isovae_status iv_onnx_read_constant_of_shape(iv_onnx_context *c, iv_onnx_node *node)
{
    const Onnx__AttributeProto *a = iv_onnx_attribute(c, "value");
    const iv_onnx_value *shape;
    iv_onnx_value value = {.type = IV_ONNX_FLOAT};
    iv_onnx_form *forms;
    iv_onnx_dims dims;
    size_t n;
    IV_TRY(iv_onnx_input(c, 0, &shape));
    IV_TRY(iv_onnx_forms(c, shape, &forms, &n));
    IV_TRY(dims_of_forms(c, forms, n, &dims));
    if (a != NULL && a->t != NULL) {
        IV_TRY(iv_onnx_tensor_read(c, a->t, &value));
        if (value.tensor->n != 1) return IV_ONNX_FAIL(c, "its value is not one number");
    }
    IV_TRY(iv_onnx_count(c, &dims, &n));
    IV_TRY(iv_onnx_work(c, n));
    if (value.type == IV_ONNX_FLOAT) {
        double *f;
        IV_TRY(iv_onnx_new_float(c, &dims, value.wide, &node->out[0], &f));
        for (size_t i = 0; value.tensor != NULL && i < n; i++) f[i] = value.tensor->f[0];
        return ISOVAE_OK;
    }
    int64_t *k;
    IV_TRY(iv_onnx_new_int(c, &dims, value.type, false, &node->out[0], &k, NULL));
    for (size_t i = 0; i < n; i++) k[i] = value.tensor->i[0];
    return ISOVAE_OK;
}

isovae_status iv_onnx_read_range(iv_onnx_context *c, iv_onnx_node *node)
{
    double value[3];
    bool floats = false, wide = false;
    for (size_t i = 0; i < 3; i++) {
        const iv_onnx_value *v;
        IV_TRY(iv_onnx_input(c, i, &v));
        IV_TRY(iv_onnx_scalar(c, v, &value[i]));
        floats = floats || v->type == IV_ONNX_FLOAT;
        wide = wide || v->wide;
        if (!(fabs(value[i]) < 0x1p53)) return IV_ONNX_FAIL(c, "one of its numbers is too large");
    }
    double count = ceil((value[1] - value[0]) / value[2]);
    if (value[2] == 0 || !(count < 0x1p40)) return IV_ONNX_FAIL(c, "it has no end");
    size_t n = count > 0 ? (size_t)count : 0;
    iv_onnx_dims dims = iv_onnx_dims_of(1, &n);
    IV_TRY(iv_onnx_work(c, n));
    if (floats) {
        double *f;
        IV_TRY(iv_onnx_new_float(c, &dims, wide, &node->out[0], &f));
        for (size_t i = 0; i < n; i++) {
            double x = value[0] + (double)i * value[2];
            f[i] = wide ? x : (double)(float)x;
        }
        return ISOVAE_OK;
    }
    int64_t *k;
    IV_TRY(iv_onnx_new_int(c, &dims, IV_ONNX_INT, false, &node->out[0], &k, NULL));
    for (size_t i = 0; i < n; i++) k[i] = (int64_t)value[0] + (int64_t)i * (int64_t)value[2];
    return ISOVAE_OK;
}

isovae_status iv_onnx_read_eye_like(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *v;
    int64_t k;
    double *f;
    IV_TRY(iv_onnx_input(c, 0, &v));
    IV_TRY(iv_onnx_get_int(c, "k", 0, &k));
    if (v->dims.rank != 2 || v->dims.batch != IV_ONNX_NO_BATCH) {
        return IV_ONNX_REFUSE(c, "its input must be a constant of two axes");
    }
    IV_TRY(iv_onnx_new_float(c, &v->dims, false, &node->out[0], &f));
    for (size_t i = 0; i < v->dims.dim[0]; i++) {
        for (size_t j = 0; j < v->dims.dim[1]; j++) {
            f[i * v->dims.dim[1] + j] = (int64_t)j - (int64_t)i == k;
        }
    }
    return ISOVAE_OK;
}

/* Random numbers: their mean, or a refusal that says where to cut. */
isovae_status iv_onnx_read_random(iv_onnx_context *c, iv_onnx_node *node)
{
    const char *op = node->proto->op_type;
    const char *made = node->proto->n_output > 0 ? node->proto->output[0] : "";
    double mean, low, high;
    const int64_t *shape;
    size_t n;
    if (!c->options->random_as_mean) {
        return IV_ONNX_REFUSE(
            c,
            "it draws random numbers. Read the parts before and behind the "
            "sampling: name tensors before it as outputs, and the sampled latents "
            "(or its own output '%.100s') as an input",
            made);
    }
    IV_TRY(iv_onnx_get_float(c, "mean", 0, &mean));
    IV_TRY(iv_onnx_get_float(c, "low", 0, &low));
    IV_TRY(iv_onnx_get_float(c, "high", 1, &high));
    IV_TRY(iv_onnx_get_ints(c, "shape", &shape, &n));
    if (strncmp(op, "RandomUniform", 13) == 0) mean = (low + high) / 2;
    if (strstr(op, "Random") == NULL) return IV_ONNX_REFUSE(c, "it has no mean to stand for it");
    iv_onnx_dims dims = iv_onnx_dims_of(0, NULL);
    const iv_onnx_value *like = iv_onnx_optional(c, 0);
    if (strstr(op, "RandomNormalV2") != NULL || strstr(op, "StandardNormal") != NULL) {
        iv_onnx_form *forms; /* TensorFlow's have the shape as an input */
        IV_TRY(iv_onnx_input(c, 0, &like));
        IV_TRY(iv_onnx_forms(c, like, &forms, &n));
        IV_TRY(dims_of_forms(c, forms, n, &dims));
    } else if (like != NULL) {
        dims = like->dims;
        if (dims.batch != IV_ONNX_NO_BATCH) {
            if (dims.dim[dims.batch] != 1) {
                return IV_ONNX_REFUSE(c, "its batch is merged with another axis");
            }
            dims.before = 1;
        }
    } else {
        if (n > IV_ONNX_RANK) return IV_ONNX_REFUSE(c, "its shape has too many axes");
        dims.rank = n;
        for (size_t i = 0; i < n; i++) {
            if (shape[i] < 0) return IV_ONNX_FAIL(c, "its shape has a negative extent");
            dims.dim[i] = (size_t)shape[i];
        }
    }
    double *f;
    IV_TRY(iv_onnx_count(c, &dims, &n));
    IV_TRY(iv_onnx_work(c, n));
    IV_TRY(iv_onnx_new_float(c, &dims, false, &node->out[0], &f));
    for (size_t i = 0; i < n; i++) f[i] = mean;
    return iv_onnx_note(c, "node '%.100s' (%s): its random numbers were taken as their mean, %g",
                        node->proto->name == NULL ? "" : node->proto->name, op, mean);
}
