/* Attributes and constant inputs of the node that is being read. */
#include "onnx/loader.h"

#include <math.h>
#include <string.h>

static const Onnx__AttributeProto *find(const Onnx__NodeProto *node, const char *name)
{
    for (size_t i = 0; i < node->n_attribute; i++) {
        const Onnx__AttributeProto *a = node->attribute[i];
        if (a->name != NULL && strcmp(a->name, name) == 0) return a;
    }
    return NULL;
}

const Onnx__AttributeProto *iv_onnx_attribute(const iv_onnx_context *c, const char *name)
{
    const Onnx__AttributeProto *a = find(c->node->proto, name);
    if (a != NULL && a->ref_attr_name != NULL && a->ref_attr_name[0] != '\0') {
        a = c->caller == NULL ? NULL : find(c->caller, a->ref_attr_name);
    }
    return a;
}

isovae_status iv_onnx_get_int(iv_onnx_context *c, const char *name, int64_t otherwise, int64_t *out)
{
    const Onnx__AttributeProto *a = iv_onnx_attribute(c, name);
    *out = otherwise;
    if (a == NULL) return ISOVAE_OK;
    if (!a->has_i) return IV_ONNX_FAIL(c, "its attribute '%s' is no integer", name);
    *out = a->i;
    return ISOVAE_OK;
}

isovae_status iv_onnx_get_float(iv_onnx_context *c, const char *name, double otherwise, double *out)
{
    const Onnx__AttributeProto *a = iv_onnx_attribute(c, name);
    *out = otherwise;
    if (a == NULL) return ISOVAE_OK;
    if (!a->has_f) return IV_ONNX_FAIL(c, "its attribute '%s' is no number", name);
    if (!isfinite((double)a->f)) return IV_ONNX_FAIL(c, "its attribute '%s' is not finite", name);
    *out = (double)a->f;
    return ISOVAE_OK;
}

isovae_status iv_onnx_get_ints(iv_onnx_context *c, const char *name, const int64_t **out, size_t *n)
{
    const Onnx__AttributeProto *a = iv_onnx_attribute(c, name);
    *out = NULL;
    *n = 0;
    if (a == NULL) return ISOVAE_OK;
    *out = a->ints;
    *n = a->n_ints;
    return ISOVAE_OK;
}

isovae_status iv_onnx_get_string(iv_onnx_context *c, const char *name, char **out)
{
    const Onnx__AttributeProto *a = iv_onnx_attribute(c, name);
    *out = NULL;
    if (a == NULL) return ISOVAE_OK;
    if (!a->has_s) return IV_ONNX_FAIL(c, "its attribute '%s' is no text", name);
    IV_TRY(IV_ONNX_NEW(c, *out, a->s.len + 1));
    if (a->s.len > 0) memcpy(*out, a->s.data, a->s.len);
    return ISOVAE_OK;
}

isovae_status iv_onnx_list(iv_onnx_context *c, const char *attribute, size_t input,
                           const int64_t **out, size_t *n)
{
    IV_TRY(iv_onnx_get_ints(c, attribute, out, n));
    if (*n > 0) return ISOVAE_OK;
    const iv_onnx_value *v = iv_onnx_optional(c, input);
    if (v == NULL) return ISOVAE_OK;
    return iv_onnx_ints(c, v, out, n);
}

const iv_onnx_value *iv_onnx_optional(const iv_onnx_context *c, size_t index)
{
    return index < c->node->n_inputs ? c->node->in[index] : NULL;
}

isovae_status iv_onnx_input(iv_onnx_context *c, size_t index, const iv_onnx_value **out)
{
    *out = iv_onnx_optional(c, index);
    if (*out != NULL) return ISOVAE_OK;
    return IV_ONNX_FAIL(c, "its input %zu is missing", index);
}

static isovae_status constant(iv_onnx_context *c, const iv_onnx_value *v)
{
    if (!v->live) return ISOVAE_OK;
    return IV_ONNX_REFUSE(c, "one of its inputs that must be constant depends on the data");
}

isovae_status iv_onnx_ints(iv_onnx_context *c, const iv_onnx_value *v, const int64_t **out,
                           size_t *n)
{
    IV_TRY(constant(c, v));
    if (v->type == IV_ONNX_FLOAT) return IV_ONNX_FAIL(c, "an input must be integers, not floats");
    if (v->tensor->b != NULL) {
        for (size_t i = 0; i < v->tensor->n; i++) {
            if (v->tensor->b[i] != 0) {
                return IV_ONNX_REFUSE(c, "it hangs on the size of the batch in a way that is not "
                                         "understood");
            }
        }
    }
    *out = v->tensor->i;
    *n = v->tensor->n;
    return ISOVAE_OK;
}

isovae_status iv_onnx_numbers(iv_onnx_context *c, const iv_onnx_value *v, const double **out,
                              size_t *n)
{
    IV_TRY(constant(c, v));
    *n = v->tensor->n;
    *out = v->tensor->f;
    if (v->type == IV_ONNX_FLOAT) return ISOVAE_OK;
    const int64_t *ints;
    double *copy;
    IV_TRY(iv_onnx_ints(c, v, &ints, n));
    IV_TRY(IV_ONNX_NEW(c, copy, *n));
    for (size_t i = 0; i < *n; i++) copy[i] = (double)ints[i];
    *out = copy;
    return ISOVAE_OK;
}

isovae_status iv_onnx_scalar(iv_onnx_context *c, const iv_onnx_value *v, double *out)
{
    const double *numbers;
    size_t n;
    IV_TRY(iv_onnx_numbers(c, v, &numbers, &n));
    if (n != 1) return IV_ONNX_FAIL(c, "an input must be one number, not %zu", n);
    *out = numbers[0];
    return ISOVAE_OK;
}

isovae_status iv_onnx_axis(iv_onnx_context *c, int64_t axis, size_t rank, size_t *out)
{
    int64_t wide = (int64_t)rank;
    if (axis < -wide || axis >= wide) {
        return IV_ONNX_FAIL(c, "axis %lld is none of the %zu that the tensor has", (long long)axis,
                            rank);
    }
    *out = (size_t)(axis < 0 ? axis + wide : axis);
    return ISOVAE_OK;
}
