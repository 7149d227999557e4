/* matmul: C = A B over the last two axes, leading axes repeated to fit as in numpy; an operand of
 * one axis is a row on the left and a column on the right, and that axis is then left out. One of
 * the two may be a constant, or a trained weight. g_A = g B^T, g_B = A^T g, summed where repeated;
 * t_C = t_A B + A t_B. A constant matrix on the right makes one product of all rows. */
#include "graph/broadcast.h"

#include <stdint.h>

enum { WEIGHT = 0, OPERAND = 1 };

/* Which of the roles is there; SIZE_MAX: none. */
static size_t role_of(const iv_node *node)
{
    if (node->params[WEIGHT] != SIZE_MAX) return WEIGHT;
    return node->params[OPERAND] != SIZE_MAX ? OPERAND : SIZE_MAX;
}

typedef struct matrices {
    size_t m, n, k;
    size_t rank, extent[IV_MAX_RANK];                    /* leading axes of the output */
    size_t stride_a[IV_MAX_RANK], stride_b[IV_MAX_RANK]; /* 0: repeated */
    size_t row_a, row_b, row_c; /* elements from row to row; a constant: 0 */
    bool constant[2];
    bool folds; /* B is one constant matrix */
} matrices;

/* Distances of an operand, of matrices of `size` elements, along the output's leading axes. */
static void lead(const iv_shape *own, size_t size, size_t rank, const size_t *extent,
                 size_t *stride)
{
    for (size_t i = 0; i < rank; i++) { /* from the last one */
        size_t at = rank - 1 - i, dim = i < own->rank ? own->dim[own->rank - 1 - i] : 1;
        stride[at] = dim == 1 && extent[at] != 1 ? 0 : size;
        size *= dim;
    }
}

static bool arrange(const iv_shape *a, const iv_shape *b, matrices *out, iv_shape *c)
{
    if (a->rank == 0 || b->rank == 0) return false;
    matrices p = {.m = a->rank == 1 ? 1 : a->dim[a->rank - 2],
                  .n = b->rank == 1 ? 1 : b->dim[b->rank - 1],
                  .k = a->dim[a->rank - 1]};
    iv_shape leading_a = {.rank = a->rank < 2 ? 0 : a->rank - 2}, leading_b = {0}, leading;
    for (size_t i = 0; i < leading_a.rank; i++) leading_a.dim[i] = a->dim[i];
    leading_b.rank = b->rank < 2 ? 0 : b->rank - 2;
    for (size_t i = 0; i < leading_b.rank; i++) leading_b.dim[i] = b->dim[i];
    if (p.k != b->dim[b->rank == 1 ? 0 : b->rank - 2]) return false;
    if (!iv_broadcast_shape(&leading_a, &leading_b, &leading)) return false;
    p.rank = leading.rank;
    for (size_t i = 0; i < p.rank; i++) p.extent[i] = leading.dim[i];
    lead(&leading_a, p.m * p.k, p.rank, p.extent, p.stride_a);
    lead(&leading_b, p.k * p.n, p.rank, p.extent, p.stride_b);
    *c = leading;
    if (a->rank > 1) c->dim[c->rank++] = p.m;
    if (b->rank > 1) c->dim[c->rank++] = p.n;
    *out = p;
    return true;
}

isovae_status iv_matmul_shape(iv_node_shapes *shapes, isovae_error *err)
{
    iv_attributes *a = shapes->attributes;
    const iv_shape *in = shapes->inputs[0];
    size_t role = shapes->present[WEIGHT] ? WEIGHT : OPERAND;
    size_t constants = 0;
    if (shapes->present[WEIGHT]) constants++;
    if (shapes->present[OPERAND]) constants++;
    if (shapes->n_inputs + constants != 2 || a->constant_first > constants) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': matmul takes two inputs, or one and a 'weight' or 'operand' "
                       "(with 'constant_first' 1 on the left)",
                       shapes->name);
    }
    if (constants > 0 && !shapes->known[role]) {
        size_t inner = in->rank > 1 && a->constant_first ? in->rank - 2 : in->rank - 1;
        if (role == OPERAND || shapes->units == 0 || in->rank == 0) {
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': matmul needs 'units', the width of its weight, or a second "
                           "input",
                           shapes->name);
        }
        shapes->params[role] = a->constant_first ? (iv_shape){2, {shapes->units, in->dim[inner]}}
                                                 : (iv_shape){2, {in->dim[inner], shapes->units}};
    }
    const iv_shape *second = constants > 0 ? &shapes->params[role] : shapes->inputs[1];
    matrices p;
    if (a->constant_first) {
        const iv_shape *swap = in;
        in = second;
        second = swap;
    }
    if (!arrange(in, second, &p, &shapes->outputs[0])) {
        char text_a[IV_SHAPE_TEXT], text_b[IV_SHAPE_TEXT];
        return iv_fail(err, ISOVAE_ERR_FORMAT, "node '%s': %s and %s cannot be multiplied",
                       shapes->name, iv_shape_text(in, text_a), iv_shape_text(second, text_b));
    }
    return ISOVAE_OK;
}

static matrices matrices_of(const iv_graph *graph, const iv_node *node)
{
    size_t role = role_of(node);
    const iv_shape *shape[2];
    bool constant[2] = {false, false};
    size_t input = 0;
    for (size_t i = 0; i < 2; i++) {
        constant[i] = role != SIZE_MAX && i == (node->attributes.constant_first ? 0 : 1);
        shape[i] = constant[i] ? &graph->params[node->params[role]].shape
                               : &graph->values[node->inputs[input++]].shape;
    }
    matrices p = {0};
    iv_shape c;
    (void)arrange(shape[0], shape[1], &p, &c); /* the shape rule saw to it */
    for (size_t i = 0; i < 2; i++) p.constant[i] = constant[i];
    size_t size[3];
    (void)iv_shape_size(shape[0], &size[0]);
    (void)iv_shape_size(shape[1], &size[1]);
    (void)iv_shape_size(&c, &size[2]);
    p.row_a = constant[0] ? 0 : size[0];
    p.row_b = constant[1] ? 0 : size[1];
    p.row_c = size[2];
    p.folds = constant[1] && size[1] == p.k * p.n;
    return p;
}

/* Where the second pack starts: at a cache line. */
static size_t reverse_offset(const iv_kernels *k, const matrices *p)
{
    return iv_operand_part(k->pack_size(p->k, p->n));
}

size_t iv_matmul_prepared(const iv_kernels *kernels, const iv_graph *graph, const iv_node *node,
                          bool reverse)
{
    matrices p = matrices_of(graph, node);
    if (!p.folds) return 0;
    return reverse_offset(kernels, &p) + (reverse ? kernels->pack_size(p.n, p.k) : 0);
}

size_t iv_matmul_parts(const iv_node *node, bool reverse)
{
    if (role_of(node) == SIZE_MAX || node->attributes.constant_first) return 0;
    return reverse ? 2 : 1;
}

void iv_matmul_prepare(const iv_node_call *call, size_t part)
{
    const iv_kernels *k = call->kernels;
    matrices p = matrices_of(call->graph, call->node);
    if (!p.folds) return;
    const void *b = call->params[role_of(call->node)];
    if (part == 0)
        k->pack(p.k, p.n, b, p.n, false, call->prepared);
    else
        k->pack(p.n, p.k, b, p.n, true, iv_at(k, call->prepared, reverse_offset(k, &p)));
}

typedef enum target { TO_C, TO_A, TO_B } target;

/* One product of all rows, where B is one matrix. */
static void folded(const iv_node_call *call, const matrices *p, target to, size_t rows, void *a,
                   void *b, void *c, bool accumulate)
{
    const iv_kernels *k = call->kernels;
    size_t all = rows * (p->row_c / p->n);
    iv_product q;
    if (to == TO_C) {
        q = (iv_product){.m = all, .n = p->n, .k = p->k, .a = a, .lda = p->k, .ldb = p->n};
        q.packed = call->prepared;
        q.c = c;
        q.ldc = p->n;
    } else if (to == TO_A) {
        q = (iv_product){.m = all, .n = p->k, .k = p->n, .a = c, .lda = p->n, .ldb = p->n};
        q.b_transposed = true;
        q.packed = iv_at(k, call->prepared, reverse_offset(k, p));
        q.c = a;
        q.ldc = p->k;
    } else {
        q = (iv_product){.m = p->k, .n = p->n, .k = all, .a = a, .lda = p->k, .ldb = p->n};
        q.a_transposed = true;
        q.b = c;
        q.c = b;
        q.ldc = p->n;
    }
    q.accumulate = accumulate;
    k->product(&q);
}

static void one_product(const iv_kernels *k, const matrices *p, target to, void *a, void *b,
                        void *c, bool accumulate)
{
    iv_product q = {.m = p->m, .n = p->n, .k = p->k, .a = a, .lda = p->k, .b = b, .ldb = p->n};
    q.c = c;
    q.ldc = p->n;
    if (to == TO_A) {
        q = (iv_product){.m = p->m, .n = p->k, .k = p->n, .a = c, .lda = p->n, .b = b};
        q.ldb = p->n;
        q.b_transposed = true;
        q.c = a;
        q.ldc = p->k;
    } else if (to == TO_B) {
        q = (iv_product){.m = p->k, .n = p->n, .k = p->m, .a = a, .lda = p->k, .b = c};
        q.ldb = p->n;
        q.a_transposed = true;
        q.c = b;
        q.ldc = p->n;
    }
    q.accumulate = accumulate;
    k->product(&q);
}

/* The target is written, or added to; the others are read. What is repeated gets its sum, in the
 * order of rows and leading axes. */
static void multiply(const iv_node_call *call, const matrices *p, target to, size_t rows, void *a,
                     void *b, void *c, bool accumulate)
{
    const iv_kernels *k = call->kernels;
    if (p->folds) {
        folded(call, p, to, rows, a, b, c, accumulate);
        return;
    }
    const size_t *stride = to == TO_A ? p->stride_a : p->stride_b;
    for (size_t r = 0; r < rows; r++) {
        size_t index[IV_MAX_RANK] = {0}, at_a = r * p->row_a, at_b = r * p->row_b;
        size_t at_c = r * p->row_c;
        for (bool more = true; more; at_c += p->m * p->n) {
            bool again = accumulate;
            if (to == TO_A && p->row_a == 0) again = again || r > 0;
            if (to == TO_B && p->row_b == 0) again = again || r > 0;
            for (size_t i = 0; to != TO_C && i < p->rank; i++)
                again = again || (stride[i] == 0 && index[i] > 0);
            one_product(k, p, to, iv_at(k, a, at_a), iv_at(k, b, at_b), iv_at(k, c, at_c), again);
            more = false;
            for (size_t i = p->rank; i-- > 0 && !more;) {
                at_a += p->stride_a[i];
                at_b += p->stride_b[i];
                more = ++index[i] < p->extent[i];
                if (more) break;
                at_a -= p->extent[i] * p->stride_a[i];
                at_b -= p->extent[i] * p->stride_b[i];
                index[i] = 0;
            }
        }
    }
}

/* Operand i at the primals: memory that is only read. */
static void *primal(const iv_node_call *call, const matrices *p, size_t i)
{
    const void *at =
        p->constant[i] ? call->params[role_of(call->node)] : call->in[p->constant[0] ? 0 : i];
    return iv_at(call->kernels, at, 0);
}

void iv_matmul_forward(const iv_node_call *call)
{
    matrices p = matrices_of(call->graph, call->node);
    multiply(call, &p, TO_C, call->rows, primal(call, &p, 0), primal(call, &p, 1), call->out[0],
             false);
}

void iv_matmul_reverse(const iv_node_call *call)
{
    matrices p = matrices_of(call->graph, call->node);
    for (size_t i = 0; i < 2; i++) {
        size_t input = p.constant[0] ? 0 : i;
        if (p.constant[i] || call->grad_in[input] == NULL) continue;
        void *a = i == 0 ? call->grad_in[input] : primal(call, &p, 0);
        void *b = i == 1 ? call->grad_in[input] : primal(call, &p, 1);
        multiply(call, &p, i == 0 ? TO_A : TO_B, call->rows, a, b, call->grad_out[0],
                 call->accumulate[input]);
    }
}

void iv_matmul_param_gradient(const iv_node_call *call, size_t role, void *grad, bool accumulate,
                              size_t block, size_t blocks)
{
    (void)role;
    (void)blocks;
    matrices p = matrices_of(call->graph, call->node);
    if (block > 0) return; /* one block does all */
    void *a = p.constant[0] ? grad : primal(call, &p, 0);
    void *b = p.constant[1] ? grad : primal(call, &p, 1);
    multiply(call, &p, p.constant[0] ? TO_A : TO_B, call->rows, a, b, call->grad_out[0],
             accumulate);
}

void iv_matmul_tangent(const iv_node_call *call)
{
    const iv_kernels *k = call->kernels;
    matrices p = matrices_of(call->graph, call->node);
    size_t rows = call->rows;
    if (p.folds) {
        multiply(call, &p, TO_C, call->tangents * rows, iv_at(k, call->tangent_in[0], 0), NULL,
                 call->tangent_out[0], false);
        return;
    }
    for (size_t t = 0; t < call->tangents; t++) {
        void *y = iv_at(k, call->tangent_out[0], t * rows * p.row_c);
        bool written = false;
        for (size_t i = 0; i < 2; i++) {
            size_t input = p.constant[0] ? 0 : i;
            if (p.constant[i] || call->tangent_in[input] == NULL) continue;
            void *v = iv_at(k, call->tangent_in[input], t * rows * call->in_size[input]);
            multiply(call, &p, TO_C, rows, i == 0 ? v : primal(call, &p, 0),
                     i == 1 ? v : primal(call, &p, 1), y, written);
            written = true;
        }
    }
}
