/* add, multiply: two inputs of the same rank, elementwise; an axis of extent 1 is repeated to fit
 * the other input's (a gate per channel over its pixels). In reverse the repeated axes are summed.
 */
#include "graph/node.h"

isovae_status iv_arithmetic_shape(iv_node_shapes *shapes, isovae_error *err)
{
    const iv_shape *a = shapes->inputs[0], *b = shapes->inputs[1];
    iv_shape out = *a;
    bool fits = a->rank == b->rank;
    for (size_t i = 0; fits && i < a->rank; i++) {
        if (a->dim[i] == 1) out.dim[i] = b->dim[i];
        fits = a->dim[i] == b->dim[i] || a->dim[i] == 1 || b->dim[i] == 1;
    }
    if (!fits) {
        char text_a[IV_SHAPE_TEXT], text_b[IV_SHAPE_TEXT];
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': %s and %s do not go together: each axis must agree or be 1",
                       shapes->name, iv_shape_text(a, text_a), iv_shape_text(b, text_b));
    }
    shapes->outputs[0] = out;
    return ISOVAE_OK;
}

/* How an input is spread over the output: axes merged into runs that are all repeated or all not,
 * the batch first. */
typedef struct spread {
    size_t rank;
    size_t extent[IV_MAX_RANK + 1]; /* in the output */
    bool repeated[IV_MAX_RANK + 1];
    size_t in_size, out_size; /* of all rows */
} spread;

static spread spread_of(const iv_node_call *call, size_t input, size_t rows)
{
    bool last = call->out_last[0];
    iv_shape in = iv_layout_physical(&call->graph->values[call->node->inputs[input]].shape, last);
    iv_shape out = iv_layout_physical(&call->graph->values[call->node->outputs[0]].shape, last);
    spread s = {.rank = 1, .extent = {rows}};
    for (size_t i = 0; i < out.rank; i++) {
        bool repeated = in.dim[i] != out.dim[i];
        if (repeated == s.repeated[s.rank - 1]) {
            s.extent[s.rank - 1] *= out.dim[i];
        } else {
            s.extent[s.rank] = out.dim[i];
            s.repeated[s.rank++] = repeated;
        }
    }
    s.in_size = rows * call->in_size[input];
    s.out_size = rows * call->out_size[0];
    return s;
}

static bool is_spread(const spread *s)
{
    return s->rank > 1;
}

/* y = x with the repeated axes filled; x of in_size, y of out_size elements below this level. */
static void expand(const iv_kernels *k, const spread *s, size_t level, size_t in_size,
                   size_t out_size, const void *x, void *y)
{
    if (level == s->rank || (level + 1 == s->rank && !s->repeated[level])) {
        k->copy_block(1, out_size, x, out_size, y, out_size, false);
        return;
    }
    size_t extent = s->extent[level], inner_out = out_size / extent;
    if (s->repeated[level]) {
        expand(k, s, level + 1, in_size, inner_out, x, y);
        if (extent > 1) {
            k->copy_block(extent - 1, inner_out, y, 0, iv_at(k, y, inner_out), inner_out, false);
        }
        return;
    }
    size_t inner_in = in_size / extent;
    for (size_t i = 0; i < extent; i++) {
        expand(k, s, level + 1, inner_in, inner_out, iv_at(k, x, i * inner_in),
               iv_at(k, y, i * inner_out));
    }
}

/* The transpose of expand: x = the sum of y over the repeated axes, or x +=. */
static void reduce(const iv_kernels *k, const spread *s, size_t level, size_t in_size,
                   size_t out_size, const void *y, void *x, bool accumulate)
{
    if (level == s->rank || (level + 1 == s->rank && !s->repeated[level])) {
        k->copy_block(1, out_size, y, out_size, x, out_size, accumulate);
        return;
    }
    size_t extent = s->extent[level], inner_out = out_size / extent;
    if (s->repeated[level]) {
        if (level + 2 >= s->rank) { /* nothing repeated further in */
            k->column_sums(extent, inner_out, y, inner_out, x, accumulate);
            return;
        }
        for (size_t i = 0; i < extent; i++) {
            reduce(k, s, level + 1, in_size, inner_out, iv_at(k, y, i * inner_out), x,
                   accumulate || i > 0);
        }
        return;
    }
    size_t inner_in = in_size / extent;
    for (size_t i = 0; i < extent; i++) {
        reduce(k, s, level + 1, inner_in, inner_out, iv_at(k, y, i * inner_out),
               iv_at(k, x, i * inner_in), accumulate);
    }
}

static size_t scratch_part(const iv_node_call *call)
{
    return (call->out_size[0] + 15) / 16 * 16; /* each part starts at a cache line */
}

size_t iv_arithmetic_scratch(const iv_graph *graph, const iv_node *node, bool tangent)
{
    size_t size = graph->values[node->outputs[0]].size;
    if (graph->values[node->inputs[0]].size == size &&
        graph->values[node->inputs[1]].size == size) {
        return 0;
    }
    return ((size + 15) / 16 * 16) * (tangent ? 3 : 2);
}

/* An input as large as the output: itself, or spread into `room`. */
static const void *full(const iv_node_call *call, size_t input, size_t rows, const void *x,
                        void *room)
{
    spread s = spread_of(call, input, rows);
    if (!is_spread(&s)) return x;
    expand(call->kernels, &s, 0, s.in_size, s.out_size, x, room);
    return room;
}

void iv_add_forward(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    void *room = iv_at(k, call->scratch, call->rows * scratch_part(call));
    const void *a = full(call, 0, call->rows, call->in[0], call->scratch);
    const void *b = full(call, 1, call->rows, call->in[1], room);
    k->add(call->rows * call->out_size[0], a, b, call->out[0]);
}

void iv_add_reverse(const iv_node_call *call)
{
    for (size_t i = 0; i < 2; i++) {
        if (call->grad_in[i] == NULL) continue;
        spread s = spread_of(call, i, call->rows);
        reduce(call->kernels, &s, 0, s.in_size, s.out_size, call->grad_out[0], call->grad_in[i],
               call->accumulate[i]);
    }
}

void iv_add_tangent(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    size_t rows = call->tangents * call->rows, elements = rows * call->out_size[0];
    const void *t[2];
    for (size_t i = 0; i < 2; i++) {
        void *room = iv_at(k, call->scratch, i * rows * scratch_part(call));
        t[i] = call->tangent_in[i] == NULL ? NULL : full(call, i, rows, call->tangent_in[i], room);
    }
    if (t[0] != NULL && t[1] != NULL) {
        k->add(elements, t[0], t[1], call->tangent_out[0]);
    } else {
        k->copy_block(1, elements, t[0] != NULL ? t[0] : t[1], elements, call->tangent_out[0],
                      elements, false);
    }
}

void iv_multiply_forward(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    void *room = iv_at(k, call->scratch, call->rows * scratch_part(call));
    const void *a = full(call, 0, call->rows, call->in[0], call->scratch);
    const void *b = full(call, 1, call->rows, call->in[1], room);
    k->multiply(call->rows * call->out_size[0], a, b, call->out[0]);
}

/* g_a = sum over a's repeated axes of b g, and the other way round */
void iv_multiply_reverse(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    size_t elements = call->rows * call->out_size[0];
    void *room = iv_at(k, call->scratch, call->rows * scratch_part(call));
    for (size_t i = 0; i < 2; i++) {
        if (call->grad_in[i] == NULL) continue;
        const void *other = full(call, 1 - i, call->rows, call->in[1 - i], call->scratch);
        spread s = spread_of(call, i, call->rows);
        if (is_spread(&s)) {
            k->multiply(elements, other, call->grad_out[0], room);
            reduce(k, &s, 0, s.in_size, s.out_size, room, call->grad_in[i], call->accumulate[i]);
        } else if (call->accumulate[i]) {
            k->multiply_add(elements, other, call->grad_out[0], call->grad_in[i]);
        } else {
            k->multiply(elements, other, call->grad_out[0], call->grad_in[i]);
        }
    }
}

/* t_y = b t_a + a t_b */
void iv_multiply_tangent(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    size_t rows = call->rows, elements = rows * call->out_size[0], part = rows * scratch_part(call);
    const void *primal[2] = {full(call, 0, rows, call->in[0], call->scratch),
                             full(call, 1, rows, call->in[1], iv_at(k, call->scratch, part))};
    void *room = iv_at(k, call->scratch, 2 * part);
    for (size_t t = 0; t < call->tangents; t++) {
        void *y = iv_at(k, call->tangent_out[0], t * elements);
        bool written = false;
        for (size_t i = 0; i < 2; i++) {
            if (call->tangent_in[i] == NULL) continue;
            const void *v = iv_at(k, call->tangent_in[i], t * rows * call->in_size[i]);
            v = full(call, i, rows, v, room);
            if (written)
                k->multiply_add(elements, primal[1 - i], v, y);
            else
                k->multiply(elements, primal[1 - i], v, y);
            written = true;
        }
    }
}
