/* batch_norm over axis 1 (channels; rows of one axis are channels without pixels):
 *
 *   xhat = (x - mean) / sqrt(var + eps),  y = weight xhat + bias
 *
 * Inference form: mean and var are the stored running ones, so y is affine in x. Training form:
 * those of the batch, var biased, and every derivative goes through them (M elements a channel):
 *
 *   g_x = weight rstd (g - sum g / M - xhat sum(g xhat) / M),  t_y likewise from t
 *
 * Prepared: coefficients of channel_affine for forward, reverse and tangent, 4 x channels each. */
#include "graph/node.h"

#include <math.h>

enum { WEIGHT = 0, BIAS = 1, MEAN = 2, VAR = 3 };
enum { FORWARD = 0, REVERSE = 4, TANGENT = 8, ALL = 12 }; /* x channels, in prepared */

/* State, by `channels` numbers. The rest are rooms for passing numbers. */
enum { STATE_SHIFT, STATE_MEAN, STATE_VAR, STATE_RSTD, STATE_SUM, STATE_PRODUCT };
enum { STATE_ROOM = 6, STATE_PARTS = 11 };

static const double momentum = 0.1; /* of the running statistics, as PyTorch's default */

isovae_status iv_batch_norm_shape(iv_node_shapes *shapes, isovae_error *err)
{
    const iv_shape *in = shapes->inputs[0];
    if (in->rank == 0) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': batch_norm needs an axis of channels",
                       shapes->name);
    }
    IV_TRY(iv_norm_eps(shapes, err));
    for (size_t i = 0; i < IV_MAX_ROLES; i++) shapes->params[i] = (iv_shape){1, {in->dim[0]}};
    shapes->outputs[0] = *in;
    return ISOVAE_OK;
}

static size_t channels_of(const iv_graph *graph, const iv_node *node)
{
    return graph->values[node->inputs[0]].shape.dim[0];
}

size_t iv_batch_norm_prepared(const iv_kernels *kernels, const iv_graph *graph, const iv_node *node,
                              bool reverse)
{
    (void)kernels;
    (void)reverse;
    return ALL * channels_of(graph, node);
}

size_t iv_batch_norm_state(const iv_graph *graph, const iv_node *node)
{
    return STATE_PARTS * channels_of(graph, node) + 1; /* the last: elements a channel */
}

size_t iv_batch_norm_sums(const iv_graph *graph, const iv_node *node)
{
    return 2 * channels_of(graph, node);
}

size_t iv_batch_norm_parts(const iv_node *node, bool reverse)
{
    (void)node;
    (void)reverse;
    return 1;
}

/* A value of `rows` rows as outer x channels x inner. */
typedef struct extent {
    size_t channels, outer, inner;
    double count; /* elements a channel */
} extent;

static extent extent_of(const iv_node_call *call, size_t rows)
{
    extent e = {.channels = channels_of(call->graph, call->node)};
    size_t pixels = call->in_size[0] / e.channels;
    bool last = call->in_last[0];
    e.outer = last ? rows * pixels : rows;
    e.inner = last ? 1 : pixels;
    e.count = (double)rows * (double)pixels;
    return e;
}

static double *part(const iv_node_call *call, const extent *e, size_t which)
{
    return call->state + which * e->channels;
}

/* One number as the kernels will hold it. */
static double held(const iv_kernels *k, double value)
{
    return k->dtype == IV_F32 ? (double)(float)value : value;
}

static void *prepared(const iv_node_call *call, const extent *e, size_t which)
{
    return iv_at(call->kernels, call->prepared, which * e->channels);
}

/* Coefficient `which` of a set (0 a, 1 m, 2 b, 3 s), from doubles. */
static void put(const iv_node_call *call, const extent *e, size_t set, size_t which,
                const double *values)
{
    call->kernels->upload(prepared(call, e, set + which), values, e->channels);
}

/* Effective weight or bias, into `out`; absent ones are neutral. */
static void get(const iv_node_call *call, const extent *e, size_t role, double *out)
{
    if (call->params[role] != NULL) {
        call->kernels->download(out, call->params[role], e->channels);
    } else {
        for (size_t c = 0; c < e->channels; c++) out[c] = role == WEIGHT ? 1 : 0;
    }
}

/* The forward set from mean and var in the state; and the reverse set of the inference form. The
 * mean is rounded where the kernels are single: what that takes off goes into the constant. */
static void put_forward(const iv_node_call *call, const extent *e)
{
    double *mean = part(call, e, STATE_MEAN), *var = part(call, e, STATE_VAR),
           *rstd = part(call, e, STATE_RSTD), *a = part(call, e, STATE_ROOM),
           *s = part(call, e, STATE_ROOM + 1);
    get(call, e, WEIGHT, a);
    get(call, e, BIAS, s);
    for (size_t c = 0; c < e->channels; c++) {
        rstd[c] = 1 / sqrt(var[c] + call->node->attributes.eps);
        a[c] *= rstd[c];
        s[c] += a[c] * (held(call->kernels, mean[c]) - mean[c]);
    }
    put(call, e, FORWARD, 0, a);
    put(call, e, FORWARD, 1, mean);
    put(call, e, FORWARD, 3, s);
    call->kernels->fill(4 * e->channels, 0, prepared(call, e, REVERSE));
    put(call, e, REVERSE, 0, a);
}

void iv_batch_norm_prepare(const iv_node_call *call, size_t task)
{
    (void)task;
    extent e = extent_of(call, 0);
    const iv_kernels *k = call->kernels;
    if (call->training) { /* the running mean is what the batch's sums are taken around */
        k->download(part(call, &e, STATE_SHIFT), call->params[MEAN], e.channels);
        return;
    }
    k->download(part(call, &e, STATE_MEAN), call->params[MEAN], e.channels);
    k->download(part(call, &e, STATE_VAR), call->params[VAR], e.channels);
    put_forward(call, &e);
}

void iv_batch_norm_reduce(const iv_node_call *call, iv_batch_pass pass, double *sums)
{
    extent e = extent_of(call, call->rows);
    bool forward = pass == IV_BATCH_FORWARD;
    call->kernels->channel_sums(e.outer, e.channels, e.inner, call->in[0],
                                part(call, &e, forward ? STATE_SHIFT : STATE_MEAN),
                                forward ? NULL : call->grad_out[0], sums, sums + e.channels);
}

static void settle_forward(const iv_node_call *call, const extent *e, const double *sums)
{
    double *shift = part(call, e, STATE_SHIFT), *mean = part(call, e, STATE_MEAN),
           *var = part(call, e, STATE_VAR);
    for (size_t c = 0; c < e->channels; c++) {
        double off = sums[c] / e->count;
        mean[c] = shift[c] + off;
        var[c] = fmax(sums[e->channels + c] / e->count - off * off, 0);
    }
    call->state[STATE_PARTS * e->channels] = e->count;
    put_forward(call, e);
}

/* Coefficients of weight rstd (v - sum / M - (x - mean) rstd^2 product / M), for v in place of g.
 */
static void put_through(const iv_node_call *call, const extent *e, size_t set, const double *sum,
                        const double *product)
{
    double *mean = part(call, e, STATE_MEAN), *rstd = part(call, e, STATE_RSTD),
           *a = part(call, e, STATE_ROOM), *b = part(call, e, STATE_ROOM + 1),
           *s = part(call, e, STATE_ROOM + 2);
    get(call, e, WEIGHT, b);
    for (size_t c = 0; c < e->channels; c++) {
        b[c] *= rstd[c];
        a[c] = -b[c] * rstd[c] * rstd[c] * product[c] / e->count;
        s[c] = -b[c] * sum[c] / e->count + a[c] * (held(call->kernels, mean[c]) - mean[c]);
    }
    put(call, e, set, 0, a);
    put(call, e, set, 1, mean);
    put(call, e, set, 2, b);
    put(call, e, set, 3, s);
}

void iv_batch_norm_settle(const iv_node_call *call, iv_batch_pass pass, const double *sums)
{
    extent e = extent_of(call, call->rows);
    if (pass == IV_BATCH_FORWARD) {
        settle_forward(call, &e, sums);
        return;
    }
    double *sum = part(call, &e, STATE_SUM), *product = part(call, &e, STATE_PRODUCT);
    for (size_t c = 0; c < e.channels; c++) {
        sum[c] = sums[c];
        product[c] = sums[e.channels + c];
    }
    put_through(call, &e, REVERSE, sum, product);
}

void iv_batch_norm_update(const iv_node_call *call, void *const *buffers)
{
    extent e = extent_of(call, 0);
    double count = call->state[STATE_PARTS * e.channels];
    if (!(count > 1)) return; /* one element has no variance */
    double *now = part(call, &e, STATE_ROOM), *mean = part(call, &e, STATE_MEAN),
           *var = part(call, &e, STATE_VAR);
    call->kernels->download(now, buffers[MEAN], e.channels);
    for (size_t c = 0; c < e.channels; c++) now[c] += momentum * (mean[c] - now[c]);
    call->kernels->upload(buffers[MEAN], now, e.channels);
    call->kernels->download(now, buffers[VAR], e.channels);
    for (size_t c = 0; c < e.channels; c++)
        now[c] += momentum * (var[c] * count / (count - 1) - now[c]);
    call->kernels->upload(buffers[VAR], now, e.channels);
}

void iv_batch_norm_forward(const iv_node_call *call)
{
    extent e = extent_of(call, call->rows);
    call->kernels->channel_affine(e.outer, e.channels, e.inner, prepared(call, &e, FORWARD),
                                  call->in[0], NULL, call->out[0], false);
}

void iv_batch_norm_reverse(const iv_node_call *call)
{
    if (call->grad_in[0] == NULL) return;
    extent e = extent_of(call, call->rows);
    const void *x = call->training ? call->in[0] : call->grad_out[0];
    call->kernels->channel_affine(e.outer, e.channels, e.inner, prepared(call, &e, REVERSE), x,
                                  call->training ? call->grad_out[0] : NULL, call->grad_in[0],
                                  call->accumulate[0]);
}

/* Sum g xhat for the weight, sum g for the bias; two roles work at once, each in rooms of its own.
 */
void iv_batch_norm_param_gradient(const iv_node_call *call, size_t role, void *grad,
                                  bool accumulate, size_t block, size_t blocks)
{
    (void)block;
    (void)blocks;
    extent e = extent_of(call, call->rows);
    const iv_kernels *k = call->kernels;
    double *sum = part(call, &e, STATE_ROOM + 2 * role), *product = sum + e.channels,
           *rstd = part(call, &e, STATE_RSTD);
    if (call->training) {
        const double *from = part(call, &e, role == BIAS ? STATE_SUM : STATE_PRODUCT);
        for (size_t c = 0; c < e.channels; c++) (role == BIAS ? sum : product)[c] = from[c];
    } else {
        k->channel_sums(e.outer, e.channels, e.inner, call->in[0], part(call, &e, STATE_MEAN),
                        call->grad_out[0], sum, product);
    }
    double *out = role == BIAS ? sum : product, *old = role == BIAS ? product : sum;
    for (size_t c = 0; role == WEIGHT && c < e.channels; c++) out[c] *= rstd[c];
    if (accumulate) {
        k->download(old, grad, e.channels);
        for (size_t c = 0; c < e.channels; c++) out[c] += old[c];
    }
    k->upload(grad, out, e.channels);
}

/* Inference: t_y = weight rstd t. Training: the rows are the whole batch. */
void iv_batch_norm_tangent(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    if (!call->training) {
        extent e = extent_of(call, call->tangents * call->rows);
        k->channel_affine(e.outer, e.channels, e.inner, prepared(call, &e, REVERSE),
                          call->tangent_in[0], NULL, call->tangent_out[0], false);
        return;
    }
    extent e = extent_of(call, call->rows);
    size_t size = call->rows * call->in_size[0];
    for (size_t t = 0; t < call->tangents; t++) {
        const void *v = iv_at(k, call->tangent_in[0], t * size);
        double *product = part(call, &e, STATE_ROOM + 3), *sum = part(call, &e, STATE_ROOM + 4);
        k->channel_sums(e.outer, e.channels, e.inner, call->in[0], part(call, &e, STATE_MEAN), v,
                        sum, product);
        put_through(call, &e, TANGENT, sum, product);
        k->channel_affine(e.outer, e.channels, e.inner, prepared(call, &e, TANGENT), call->in[0], v,
                          iv_at(k, call->tangent_out[0], t * size), false);
    }
}

double iv_batch_norm_start(const iv_graph *graph, const iv_node *node, size_t role, size_t element)
{
    (void)graph;
    (void)node;
    (void)element;
    return role == WEIGHT || role == VAR ? 1 : 0;
}
