/* reduce: sums, means, largest ones and the like over some axes of a row, counted with the batch;
 * all of them where none is named. The formulas are in kernels/general.inc.h. */
#include "graph/node.h"

#include <stdint.h>
#include <string.h>

static const char *const names[IV_REDUCE_COUNT] = {
    [IV_REDUCE_SUM] = "sum", [IV_REDUCE_MEAN] = "mean", [IV_REDUCE_MAX] = "max",
    [IV_REDUCE_MIN] = "min", [IV_REDUCE_PROD] = "prod", [IV_REDUCE_SUM_SQUARE] = "sum_square",
    [IV_REDUCE_L1] = "l1",   [IV_REDUCE_L2] = "l2",     [IV_REDUCE_LOG_SUM_EXP] = "log_sum_exp",
};

const char *iv_reduce_name(iv_reduce reduction)
{
    return (unsigned)reduction < IV_REDUCE_COUNT ? names[reduction] : "unknown";
}

bool iv_reduce_parse(const char *name, iv_reduce *out)
{
    for (size_t i = 0; i < IV_REDUCE_COUNT; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *out = (iv_reduce)i;
        return true;
    }
    return false;
}

static bool is_gone(const iv_attributes *a, size_t axis)
{
    for (size_t i = 0; i < a->n_sizes; i++) {
        if (a->sizes[i] == axis + 1) return true;
    }
    return false;
}

isovae_status iv_reduce_shape(iv_node_shapes *shapes, isovae_error *err)
{
    iv_attributes *a = shapes->attributes;
    const iv_shape *in = shapes->inputs[0];
    bool fits = (unsigned)a->reduction < IV_REDUCE_COUNT && a->keepdims <= 1;
    if (!fits) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': 'function' must name a reduction, 'keepdims' be 0 or 1",
                       shapes->name);
    }
    if (a->n_sizes == 0) {
        for (size_t i = 0; i < in->rank; i++) a->sizes[i] = i + 1;
        a->n_sizes = in->rank;
    }
    for (size_t i = 0; i < a->n_sizes; i++) {
        fits = fits && a->sizes[i] >= 1 && a->sizes[i] <= in->rank;
        for (size_t j = 0; j < i; j++) fits = fits && a->sizes[i] != a->sizes[j];
    }
    if (!fits) {
        char text[IV_SHAPE_TEXT];
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': 'axes' must name axes of rows of %s, from 1, each once",
                       shapes->name, iv_shape_text(in, text));
    }
    iv_shape *out = &shapes->outputs[0];
    *out = (iv_shape){0};
    for (size_t i = 0; i < in->rank; i++) {
        if (!is_gone(a, i))
            out->dim[out->rank++] = in->dim[i];
        else if (a->keepdims == 1)
            out->dim[out->rank++] = 1;
    }
    return ISOVAE_OK;
}

static void add_axis(iv_axes *axes, size_t extent, size_t stride)
{
    size_t i = axes->rank;
    if (extent == 1) return;
    if (i > 0 && axes->stride[i - 1] == extent * stride) { /* neighbours in memory: one axis */
        axes->extent[i - 1] *= extent;
        axes->stride[i - 1] = stride;
        return;
    }
    axes->extent[i] = extent;
    axes->stride[i] = stride;
    axes->rank++;
}

/* Of `rows` rows, whatever the order in which either side lies. */
static iv_reduction plan(const iv_node_call *call, size_t rows)
{
    const iv_attributes *a = &call->node->attributes;
    const iv_shape *in = &call->graph->values[call->node->inputs[0]].shape;
    iv_reduction p = {.op = a->reduction};
    size_t stride[IV_MAX_RANK], kept[IV_MAX_RANK], n = 0, size = 1;
    for (size_t i = in->rank; i-- > 0;) {
        stride[i] = size;
        size *= in->dim[i];
    }
    if (call->in_last[0]) { /* C, H, W lying as H, W, C */
        stride[0] = 1;
        stride[2] = in->dim[0];
        stride[1] = in->dim[0] * in->dim[2];
    }
    add_axis(&p.kept, rows, size);
    for (size_t i = 0; i < in->rank; i++) {
        if (is_gone(a, i)) {
            add_axis(&p.gone, in->dim[i], stride[i]);
            if (a->keepdims == 1) kept[n++] = SIZE_MAX; /* extent 1 */
        } else {
            kept[n++] = i;
        }
    }
    size_t turn = call->out_last[0] ? 1 : 0;
    for (size_t i = 0; i < n; i++) {
        size_t axis = kept[(i + turn) % n];
        if (axis != SIZE_MAX) add_axis(&p.kept, in->dim[axis], stride[axis]);
    }
    return p;
}

void iv_reduce_forward(const iv_node_call *call)
{
    iv_reduction p = plan(call, call->rows);
    call->kernels->reduce(&p, call->in[0], call->out[0]);
}

void iv_reduce_reverse(const iv_node_call *call)
{
    iv_reduction p = plan(call, call->rows);
    if (call->grad_in[0] == NULL) return;
    call->kernels->reduce_reverse(&p, call->in[0], call->grad_out[0], call->grad_in[0],
                                  call->accumulate[0]);
}

void iv_reduce_tangent(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    iv_reduction p = plan(call, call->rows);
    for (size_t t = 0; t < call->tangents; t++) {
        k->reduce_tangent(&p, call->in[0],
                          iv_at(k, call->tangent_in[0], t * call->rows * call->in_size[0]),
                          iv_at(k, call->tangent_out[0], t * call->rows * call->out_size[0]));
    }
}
