/* gdn and gdn_inverse over the channels of each pixel (Balle, Laparra, Simoncelli 2016, 1x1 form):
 *
 *   s_i = beta_i + sum_j gamma_ij x_j^2,  y = x r,  r = 1 / sqrt(s), or sqrt(s) for the inverse
 *
 * With h = 2 dL/ds = g x q, where q = 2 dr/ds is -r^3 or 1/r:
 *   g_x = g r + x (gamma^T h),  g_beta = sum h / 2,  g_gamma_ij = sum h_i x_j^2 / 2
 *   t_y = r t + x q (gamma (x t))
 *
 * beta and gamma are stored raw (IV_PARAM_SQUARE). Saved: r. Prepared: effective beta and gamma,
 * coefficients that add beta to a plane of channels, gamma packed for forward and for reverse. */
#include "graph/node.h"

enum { BETA = 0, GAMMA = 1 };
enum { STATE_ZERO, STATE_SUM, STATE_PRODUCT, STATE_PARTS }; /* x channels */

isovae_status iv_gdn_shape(iv_node_shapes *shapes, isovae_error *err)
{
    const iv_shape *in = shapes->inputs[0];
    if (in->rank == 0) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': gdn needs an axis of channels",
                       shapes->name);
    }
    shapes->params[BETA] = (iv_shape){1, {in->dim[0]}};
    shapes->params[GAMMA] = (iv_shape){2, {in->dim[0], in->dim[0]}};
    shapes->outputs[0] = *in;
    return ISOVAE_OK;
}

static size_t channels_of(const iv_graph *graph, const iv_node *node)
{
    return graph->values[node->inputs[0]].shape.dim[0];
}

static bool is_inverse(const iv_node *node)
{
    return node->kind->forward == iv_gdn_inverse_forward;
}

size_t iv_gdn_size(const iv_graph *graph, const iv_node *node)
{
    return graph->values[node->inputs[0]].size;
}

size_t iv_gdn_scratch(const iv_graph *graph, const iv_node *node, bool tangent)
{
    (void)tangent;
    return iv_gdn_size(graph, node);
}

size_t iv_gdn_state(const iv_graph *graph, const iv_node *node)
{
    return STATE_PARTS * channels_of(graph, node);
}

/* Rows whose squares are made at once for a parameter's gradient: some thousand pixels. */
static size_t chunk_rows(size_t pixels)
{
    enum { PIXELS = 1024 };
    return pixels >= PIXELS ? 1 : PIXELS / pixels;
}

size_t iv_gdn_work(const iv_kernels *kernels, const iv_graph *graph, const iv_node *node)
{
    (void)kernels;
    size_t size = iv_gdn_size(graph, node);
    return size * chunk_rows(size / channels_of(graph, node));
}

static size_t aligned(size_t n)
{
    return (n + 15) / 16 * 16;
}

/* Where things lie in prepared memory. */
typedef struct places {
    size_t beta, gamma, add_beta, forward, reverse, own_gamma, end;
} places;

static places places_of(const iv_kernels *k, size_t channels, bool reverse)
{
    places p = {.gamma = aligned(channels)};
    p.add_beta = p.gamma + aligned(channels * channels);
    p.forward = p.add_beta + aligned(4 * channels);
    p.reverse = p.forward + aligned(k->pack_size(channels, channels));
    p.own_gamma = p.reverse + aligned(k->pack_size(channels, channels));
    p.end = reverse ? p.own_gamma + channels * channels : p.reverse;
    return p;
}

size_t iv_gdn_prepared(const iv_kernels *kernels, const iv_graph *graph, const iv_node *node,
                       bool reverse)
{
    return places_of(kernels, channels_of(graph, node), reverse).end;
}

size_t iv_gdn_prepare_parts(const iv_node *node, bool reverse)
{
    (void)node;
    return reverse ? 2 : 1;
}

/* Task 0 makes what forward needs. Task 1 may run beside it, so it has a gamma of its own, behind
 * its packed form. */
void iv_gdn_prepare(const iv_node_call *call, size_t task)
{
    const iv_kernels *k = call->kernels;
    size_t c = channels_of(call->graph, call->node);
    places p = places_of(k, c, true);
    void *gamma = iv_at(k, call->prepared, task == 0 ? p.gamma : p.own_gamma);
    iv_param_effective(k, IV_PARAM_SQUARE, c * c, call->params[GAMMA], gamma);
    if (task == 1) {
        k->pack(c, c, gamma, c, false, iv_at(k, call->prepared, p.reverse));
        return;
    }
    void *beta = iv_at(k, call->prepared, p.beta), *add = iv_at(k, call->prepared, p.add_beta);
    k->pack(c, c, gamma, c, true, iv_at(k, call->prepared, p.forward));
    iv_param_effective(k, IV_PARAM_SQUARE, c, call->params[BETA], beta);
    k->fill(c, 1, add);
    k->fill(2 * c, 0, iv_at(k, add, c));
    k->copy_block(1, c, beta, c, iv_at(k, add, 3 * c), c, false);
}

/* Rows of a value as pixels x channels (last), or row by row as channels x pixels. */
typedef struct extent {
    size_t channels, pixels, size;
    bool last;
    size_t piece; /* pixels (rows where channels are not last) that go through all steps at once */
    places at;
} extent;

/* Four buffers of a piece lie in the second cache; whole tiles of the product. */
static size_t piece_pixels(size_t channels)
{
    enum { ELEMENTS = 16384, TILES = 84 };
    size_t tiles = ELEMENTS / channels / TILES;
    return tiles == 0 ? TILES : tiles * TILES;
}

static extent extent_of(const iv_node_call *call)
{
    extent e = {.channels = channels_of(call->graph, call->node), .size = call->in_size[0]};
    e.pixels = e.size / e.channels;
    e.last = call->in_last[0] || e.pixels == 1;
    e.piece = e.last ? piece_pixels(e.channels) : 1;
    e.at = places_of(call->kernels, e.channels, true);
    return e;
}

/* A piece of a value: first element, elements, and its pixels or rows. */
typedef struct piece {
    size_t at, size, count;
} piece;

static bool next_piece(const iv_node_call *call, const extent *e, piece *p)
{
    size_t each = e->last ? e->channels : e->size, end = call->rows * e->size;
    p->at += p->size;
    p->count = (end - p->at) / each;
    if (p->count > e->piece) p->count = e->piece;
    p->size = p->count * each;
    return p->count > 0;
}

/* out = gamma in, or gamma^T in, for every pixel; + beta. `count` pixels or rows. */
static void mix(const iv_node_call *call, const extent *e, size_t count, bool transposed, bool beta,
                const void *in, void *out)
{
    const iv_kernels *k = call->kernels;
    size_t c = e->channels;
    const void *gamma = iv_at(k, call->prepared, e->at.gamma);
    if (e->last) {
        iv_product p = {.m = count,
                        .n = c,
                        .k = c,
                        .a = in,
                        .lda = c,
                        .ldb = c,
                        .packed =
                            iv_at(k, call->prepared, transposed ? e->at.reverse : e->at.forward),
                        .b_transposed = !transposed,
                        .c = out,
                        .ldc = c,
                        .bias = beta ? iv_at(k, call->prepared, e->at.beta) : NULL};
        k->product(&p);
        return;
    }
    for (size_t r = 0; r < count; r++) {
        iv_product p = {.m = c,
                        .n = e->pixels,
                        .k = c,
                        .a = gamma,
                        .lda = c,
                        .a_transposed = transposed,
                        .b = iv_at(k, in, r * e->size),
                        .ldb = e->pixels,
                        .c = iv_at(k, out, r * e->size),
                        .ldc = e->pixels};
        k->product(&p);
    }
    if (beta)
        k->channel_affine(count, c, e->pixels, iv_at(k, call->prepared, e->at.add_beta), out, NULL,
                          out, false);
}

static void forward(const iv_node_call *call, bool inverse)
{
    const iv_kernels *k = call->kernels;
    extent e = extent_of(call);
    void *roots = call->saved != NULL ? call->saved : call->out[0]; /* kept for derivatives only */
    for (piece p = {0}; next_piece(call, &e, &p);) {
        const void *x = iv_at(k, call->in[0], p.at);
        void *r = iv_at(k, roots, p.at);
        k->multiply(p.size, x, x, call->scratch);
        mix(call, &e, p.count, false, true, call->scratch, r);
        k->root(p.size, !inverse, r, r);
        k->multiply(p.size, x, r, iv_at(k, call->out[0], p.at));
    }
}

void iv_gdn_forward(const iv_node_call *call)
{
    forward(call, false);
}

void iv_gdn_inverse_forward(const iv_node_call *call)
{
    forward(call, true);
}

/* g_y becomes h in its place, where param_gradient finds it. */
void iv_gdn_reverse(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    extent e = extent_of(call);
    for (piece p = {0}; next_piece(call, &e, &p);) {
        const void *x = iv_at(k, call->in[0], p.at), *r = iv_at(k, call->saved, p.at);
        void *g = iv_at(k, call->grad_out[0], p.at);
        void *g_x = call->grad_in[0] != NULL ? iv_at(k, call->grad_in[0], p.at) : NULL;
        if (g_x != NULL && call->accumulate[0])
            k->multiply_add(p.size, g, r, g_x);
        else if (g_x != NULL)
            k->multiply(p.size, g, r, g_x);
        k->root_reverse(p.size, !is_inverse(call->node), g, x, r, g);
        if (g_x == NULL) continue;
        mix(call, &e, p.count, true, false, g, call->scratch);
        k->multiply_add(p.size, x, call->scratch, g_x);
    }
}

size_t iv_gdn_param_blocks(const iv_graph *graph, const iv_node *node, size_t role, size_t rows)
{
    size_t c = channels_of(graph, node), pixels = iv_gdn_size(graph, node) / c;
    if (role == BETA) return 1;
    double wanted = 2.0 * (double)rows * (double)pixels * (double)c * (double)c / 2e6;
    size_t blocks = wanted >= 8 ? 8 : wanted <= 1 ? 1 : (size_t)wanted, most = (c + 15) / 16;
    return blocks < most ? blocks : most;
}

static const double half = 0.5;

static void beta_gradient(const iv_node_call *call, const extent *e, void *grad, bool accumulate)
{
    const iv_kernels *k = call->kernels;
    size_t c = e->channels;
    double *zero = call->state + STATE_ZERO * c, *sum = call->state + STATE_SUM * c;
    const void *h = call->grad_out[0];
    k->channel_sums(e->last ? call->rows * e->pixels : call->rows, c, e->last ? 1 : e->pixels, h,
                    zero, h, sum, call->state + STATE_PRODUCT * c);
    k->upload(call->work, sum, c);
    k->scale_rows(1, c, &half, call->work, grad, accumulate);
}

void iv_gdn_param_gradient(const iv_node_call *call, size_t role, void *grad, bool accumulate,
                           size_t block, size_t blocks)
{
    const iv_kernels *k = call->kernels;
    extent e = extent_of(call);
    size_t c = e.channels, first, count;
    if (role == BETA) {
        beta_gradient(call, &e, grad, accumulate);
        return;
    }
    iv_param_block(&call->graph->params[call->node->params[GAMMA]], block, blocks, &first, &count);
    if (count == 0) return;
    size_t step = e.last ? chunk_rows(e.pixels) : 1, channel = first / c;
    for (size_t r = 0; r < call->rows; r += step) {
        size_t rows = call->rows - r < step ? call->rows - r : step;
        const void *x = iv_at(k, call->in[0], r * e.size);
        k->multiply(rows * e.size, x, x, call->work);
        if (accumulate) k->scale_rows(1, rows * e.size, &half, call->work, call->work, false);
        const void *h =
            iv_at(k, call->grad_out[0], r * e.size + (e.last ? channel : channel * e.pixels));
        iv_product p = {.m = count / c,
                        .n = c,
                        .k = rows * e.pixels,
                        .a = h,
                        .lda = e.last ? c : e.pixels,
                        .a_transposed = e.last,
                        .b = call->work,
                        .ldb = e.last ? c : e.pixels,
                        .b_transposed = !e.last,
                        .c = iv_at(k, grad, first),
                        .ldc = c,
                        .accumulate = accumulate || r > 0};
        k->product(&p);
    }
    void *sums = iv_at(k, grad, first);
    if (!accumulate) k->scale_rows(1, count, &half, sums, sums, false);
}

void iv_gdn_tangent(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    extent e = extent_of(call);
    size_t n = call->rows * e.size;
    for (piece p = {0}; next_piece(call, &e, &p);) {
        const void *x = iv_at(k, call->in[0], p.at), *r = iv_at(k, call->saved, p.at);
        for (size_t t = 0; t < call->tangents; t++) {
            const void *v = iv_at(k, call->tangent_in[0], t * n + p.at);
            void *out = iv_at(k, call->tangent_out[0], t * n + p.at);
            k->multiply(p.size, x, v, call->scratch);
            mix(call, &e, p.count, false, false, call->scratch, out);
            k->root_reverse(p.size, !is_inverse(call->node), out, x, r, out);
            k->multiply_add(p.size, r, v, out);
        }
    }
}

/* beta 1; gamma 0.1 on the diagonal and next to nothing beside it: the square has no slope at 0. */
double iv_gdn_start(const iv_graph *graph, const iv_node *node, size_t role, size_t element)
{
    size_t c = channels_of(graph, node);
    if (role == BETA) return 1;
    return element / c == element % c ? 0.1 : 2 * IV_PARAM_FLOOR;
}
