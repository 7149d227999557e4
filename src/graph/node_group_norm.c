/* layer_norm and group_norm: each row's groups of elements are brought to mean 0 and variance 1,
 *
 *   xhat = (x - mean) / sqrt(var + eps),  y = weight xhat + bias   (var biased, over the group)
 *   g_x = rstd (h - mean h - xhat mean(h xhat)),  h = weight g;  t_y = weight (the same from t)
 *
 * layer_norm: the axes from `axis` on, at each place of those before; weight and bias shaped like
 * them. group_norm: the
 * channels cut into `groups`, weight and bias per channel. Saved, per row: xhat, then rstd of each
 * group. Prepared: coefficients of channel_affine: with weight and bias, and with weight alone. */
#include "graph/node.h"

#include <math.h>

enum { WEIGHT = 0, BIAS = 1 };
enum { STATE_ZERO = 0, STATE_ROLE = 1, STATE_PARTS = 7 }; /* x channels; three for each role */

isovae_status iv_norm_eps(iv_node_shapes *shapes, isovae_error *err)
{
    double *eps = &shapes->attributes->eps;
    if (*eps == 0) *eps = 1e-5;
    if (isfinite(*eps) && *eps > 0) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': eps must be a number above 0", shapes->name);
}

isovae_status iv_layer_norm_shape(iv_node_shapes *shapes, isovae_error *err)
{
    const iv_shape *in = shapes->inputs[0];
    IV_TRY(iv_norm_eps(shapes, err));
    if (shapes->attributes->axis == 0) shapes->attributes->axis = 1;
    size_t before = shapes->attributes->axis - 1;
    if (before > 0 && before >= in->rank) {
        char text[IV_SHAPE_TEXT];
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': rows of %s have no axis %zu",
                       shapes->name, iv_shape_text(in, text), shapes->attributes->axis);
    }
    shapes->attributes->conv.groups = 0; /* which tells it from group_norm below */
    iv_shape inner = {.rank = in->rank - before};
    for (size_t i = 0; i < inner.rank; i++) inner.dim[i] = in->dim[before + i];
    shapes->params[WEIGHT] = shapes->params[BIAS] = inner;
    shapes->outputs[0] = *in;
    return ISOVAE_OK;
}

isovae_status iv_group_norm_shape(iv_node_shapes *shapes, isovae_error *err)
{
    const iv_shape *in = shapes->inputs[0];
    IV_TRY(iv_norm_eps(shapes, err));
    if (shapes->attributes->conv.groups == 0) shapes->attributes->conv.groups = 1;
    size_t groups = shapes->attributes->conv.groups;
    if (in->rank == 0 || in->dim[0] % groups != 0) {
        char text[IV_SHAPE_TEXT];
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': rows of %s cannot be cut into %zu groups of channels",
                       shapes->name, iv_shape_text(in, text), groups);
    }
    shapes->params[WEIGHT] = shapes->params[BIAS] = (iv_shape){1, {in->dim[0]}};
    shapes->outputs[0] = *in;
    return ISOVAE_OK;
}

/* What weight and bias are spread over, and the groups of one row. */
typedef struct extent {
    size_t size, channels, outer, inner;
    size_t row; /* of saved */
    iv_groups groups;
} extent;

/* layer_norm: places that are normalised each for itself. */
static size_t groups_of(const iv_graph *graph, const iv_node *node)
{
    const iv_value *in = &graph->values[node->inputs[0]];
    size_t groups = 1;
    if (node->attributes.conv.groups > 0) return node->attributes.conv.groups;
    for (size_t i = 0; i + 1 < node->attributes.axis; i++) groups *= in->shape.dim[i];
    return groups;
}

static size_t channels_of(const iv_graph *graph, const iv_node *node)
{
    const iv_value *in = &graph->values[node->inputs[0]];
    return node->attributes.conv.groups == 0 ? in->size / groups_of(graph, node) : in->shape.dim[0];
}

size_t iv_group_norm_saved(const iv_graph *graph, const iv_node *node)
{
    return graph->values[node->inputs[0]].size + groups_of(graph, node);
}

size_t iv_group_norm_scratch(const iv_graph *graph, const iv_node *node, bool tangent)
{
    (void)tangent;
    return graph->values[node->inputs[0]].size;
}

size_t iv_group_norm_prepared(const iv_kernels *kernels, const iv_graph *graph, const iv_node *node,
                              bool reverse)
{
    (void)kernels;
    (void)reverse;
    return 8 * channels_of(graph, node);
}

size_t iv_group_norm_state(const iv_graph *graph, const iv_node *node)
{
    return STATE_PARTS * channels_of(graph, node);
}

size_t iv_group_norm_parts(const iv_node *node, bool reverse)
{
    (void)node;
    (void)reverse;
    return 1;
}

static extent extent_of(const iv_node_call *call)
{
    extent e = {.size = call->in_size[0], .channels = channels_of(call->graph, call->node)};
    size_t pixels = e.size / e.channels, groups = groups_of(call->graph, call->node);
    bool last = call->in_last[0];
    e.row = e.size + groups;
    if (call->node->attributes.conv.groups == 0) {
        e.outer = groups;
        e.inner = 1;
        e.groups = (iv_groups){.groups = groups, .runs = 1, .width = e.channels};
        return e;
    }
    e.outer = last ? pixels : 1;
    e.inner = last ? 1 : pixels;
    e.groups = (iv_groups){.groups = groups,
                           .runs = e.outer,
                           .run_stride = e.channels,
                           .width = e.channels / groups * e.inner};
    return e;
}

void iv_group_norm_prepare(const iv_node_call *call, size_t task)
{
    (void)task;
    const iv_kernels *k = call->kernels;
    size_t c = channels_of(call->graph, call->node);
    k->fill(8 * c, 0, call->prepared);
    for (size_t set = 0; set < 2; set++) {
        void *at = iv_at(k, call->prepared, 4 * c * set);
        if (call->params[WEIGHT] != NULL)
            k->copy_block(1, c, call->params[WEIGHT], c, at, c, false);
        else
            k->fill(c, 1, at);
        if (set == 0 && call->params[BIAS] != NULL)
            k->copy_block(1, c, call->params[BIAS], c, iv_at(k, at, 3 * c), c, false);
    }
}

/* y = weight x (+ bias), n rows. */
static void affine(const iv_node_call *call, const extent *e, bool bias, size_t n, const void *x,
                   void *y)
{
    const iv_kernels *k = call->kernels;
    k->channel_affine(n * e->outer, e->channels, e->inner,
                      iv_at(k, call->prepared, bias ? 0 : 4 * e->channels), x, NULL, y, false);
}

void iv_group_norm_forward(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    extent e = extent_of(call);
    for (size_t r = 0; r < call->rows; r++) {
        void *y = iv_at(k, call->out[0], r * e.size), *xhat = y, *rstd = call->scratch;
        if (call->saved != NULL) { /* kept for derivatives only */
            xhat = iv_at(k, call->saved, r * e.row);
            rstd = iv_at(k, xhat, e.size);
        }
        k->normalise(&e.groups, call->node->attributes.eps, iv_at(k, call->in[0], r * e.size), xhat,
                     rstd);
        affine(call, &e, true, 1, xhat, y);
    }
}

void iv_group_norm_reverse(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    extent e = extent_of(call);
    if (call->grad_in[0] == NULL) return;
    affine(call, &e, false, call->rows, call->grad_out[0], call->scratch);
    for (size_t r = 0; r < call->rows; r++) {
        const void *xhat = iv_at(k, call->saved, r * e.row);
        k->normalise_reverse(&e.groups, xhat, iv_at(k, xhat, e.size),
                             iv_at(k, call->scratch, r * e.size),
                             iv_at(k, call->grad_in[0], r * e.size), call->accumulate[0]);
    }
}

void iv_group_norm_param_gradient(const iv_node_call *call, size_t role, void *grad,
                                  bool accumulate, size_t block, size_t blocks)
{
    (void)block;
    (void)blocks;
    const iv_kernels *k = call->kernels;
    extent e = extent_of(call);
    size_t c = e.channels;
    double *zero = call->state + STATE_ZERO * c, *sum = call->state + (STATE_ROLE + 3 * role) * c,
           *product = sum + c, *total = product + c;
    for (size_t i = 0; i < c; i++) total[i] = 0;
    if (accumulate) k->download(total, grad, c);
    for (size_t r = 0; r < call->rows; r++) {
        const void *g = iv_at(k, call->grad_out[0], r * e.size);
        const void *x = role == WEIGHT ? iv_at(k, call->saved, r * e.row) : g;
        k->channel_sums(e.outer, c, e.inner, x, zero, g, sum, product);
        const double *part = role == WEIGHT ? product : sum;
        for (size_t i = 0; i < c; i++) total[i] += part[i];
    }
    k->upload(grad, total, c);
}

void iv_group_norm_tangent(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    extent e = extent_of(call);
    for (size_t i = 0; i < call->tangents * call->rows; i++) {
        const void *xhat = iv_at(k, call->saved, i % call->rows * e.row);
        k->normalise_reverse(&e.groups, xhat, iv_at(k, xhat, e.size),
                             iv_at(k, call->tangent_in[0], i * e.size), call->scratch, false);
        affine(call, &e, false, 1, call->scratch, iv_at(k, call->tangent_out[0], i * e.size));
    }
}

double iv_group_norm_start(const iv_graph *graph, const iv_node *node, size_t role, size_t element)
{
    (void)graph;
    (void)node;
    (void)element;
    return role == WEIGHT ? 1 : 0;
}
