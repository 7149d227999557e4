/* take: elements of a row by index. Along `axis`, y[.., j, ..] = x[.., map[j], ..]; without an axis
 * the row is one long axis, and the output has the shape that is given. Where the map says -1 the
 * output is `fill`. Slices, padding, repetition, flips and windows are maps along an axis each. */
#include "graph/node.h"

#include <math.h>

isovae_status iv_take_shape(iv_node_shapes *shapes, isovae_error *err)
{
    iv_attributes *a = shapes->attributes;
    const iv_shape *in = shapes->inputs[0];
    char text[IV_SHAPE_TEXT], text_in[IV_SHAPE_TEXT];
    size_t extent, wanted;
    if (a->n_map == 0 || a->n_map > IV_MAP_LIMIT || a->map == NULL) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': 'map' must have 1 to %d entries",
                       shapes->name, IV_MAP_LIMIT);
    }
    if (a->given[0] && !isfinite(a->number[0])) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': its 'fill' is not finite", shapes->name);
    }
    if (a->axis == 0) {
        shapes->outputs[0] = a->shape.rank > 0 ? a->shape : (iv_shape){1, {a->n_map}};
        if (!iv_shape_size(in, &extent) || !iv_shape_size(&shapes->outputs[0], &wanted) ||
            wanted != a->n_map) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': a map of %zu entries does not make a row of %s",
                           shapes->name, a->n_map, iv_shape_text(&shapes->outputs[0], text));
        }
    } else if (a->axis > in->rank || a->shape.rank > 0) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': 'axis' must be one of rows of %s, from 1, and 'shape' is for "
                       "takes without an axis",
                       shapes->name, iv_shape_text(in, text_in));
    } else {
        extent = in->dim[a->axis - 1];
        shapes->outputs[0] = *in;
        shapes->outputs[0].dim[a->axis - 1] = a->n_map;
    }
    for (size_t i = 0; i < a->n_map; i++) {
        if (a->map[i] >= -1 && (a->map[i] < 0 || (size_t)a->map[i] < extent)) continue;
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': entry %zu of 'map' is %d, but must be -1 or less than %zu",
                       shapes->name, i, (int)a->map[i], extent);
    }
    return ISOVAE_OK;
}

static iv_take plan(const iv_node_call *call, size_t rows)
{
    const iv_attributes *a = &call->node->attributes;
    const iv_shape *in = &call->graph->values[call->node->inputs[0]].shape;
    iv_take p = {.outer = rows,
                 .in = call->in_size[0],
                 .out = a->n_map,
                 .inner = 1,
                 .map = a->map,
                 .fill = a->given[0] ? a->number[0] : 0};
    if (a->axis == 0) return p;
    p.in = in->dim[a->axis - 1];
    for (size_t i = 0; i < in->rank; i++) {
        if (i + 1 < a->axis) p.outer *= in->dim[i];
        if (i + 1 > a->axis) p.inner *= in->dim[i];
    }
    return p;
}

void iv_take_forward(const iv_node_call *call)
{
    iv_take p = plan(call, call->rows);
    call->kernels->take(&p, call->in[0], call->out[0]);
}

void iv_take_reverse(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    iv_take p = plan(call, call->rows);
    if (call->grad_in[0] == NULL) return;
    if (!call->accumulate[0]) k->fill(call->rows * call->in_size[0], 0, call->grad_in[0]);
    k->take_spread(&p, call->grad_out[0], call->grad_in[0]);
}

void iv_take_tangent(const iv_node_call *call)
{
    iv_take p = plan(call, call->tangents * call->rows);
    p.fill = 0;
    call->kernels->take(&p, call->tangent_in[0], call->tangent_out[0]);
}
