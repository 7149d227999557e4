/* The physical order of spatial values. Shapes are C, H, W (the batch before them) and so lie the
 * values that callers see, a graph's in- and outputs; convolutions run on H, W, C. This pass says
 * which values lie that way in a workspace: those that some spatial node reads or writes and that
 * every node around them can take so, elementwise nodes handing the order on. */
#include "graph/exec_state.h"

#include "base/memory.h"

enum { SPATIAL_RANK = 3 };

static const unsigned any_order = IV_NODE_SPATIAL | IV_NODE_EITHER | IV_NODE_ELEMENTWISE;

static size_t n_ports(const iv_node *node)
{
    return node->n_inputs + node->n_outputs;
}

static size_t port(const iv_node *node, size_t i)
{
    return i < node->n_inputs ? node->inputs[i] : node->outputs[i - node->n_inputs];
}

/* If one value of an elementwise node has flag == value, all of them get it. True: something
 * changed. */
static bool spread_node(const iv_node *node, bool *flag, bool value)
{
    bool some = false, all = true;
    if (!(node->kind->flags & IV_NODE_ELEMENTWISE)) return false;
    for (size_t j = 0; j < n_ports(node); j++) {
        if (flag[port(node, j)] == value)
            some = true;
        else
            all = false;
    }
    if (!some || all) return false;
    for (size_t j = 0; j < n_ports(node); j++) flag[port(node, j)] = value;
    return true;
}

/* Forwards and backwards through the list until nothing changes. */
static void spread(const iv_graph *graph, bool *flag, bool value)
{
    bool changed = true;
    while (changed) {
        changed = false;
        for (size_t i = 0; i < graph->n_nodes; i++)
            changed = spread_node(&graph->nodes[i], flag, value) || changed;
        for (size_t i = graph->n_nodes; i-- > 0;)
            changed = spread_node(&graph->nodes[i], flag, value) || changed;
    }
}

isovae_status iv_exec_plan_layout(iv_exec *exec, isovae_error *err)
{
    const iv_graph *graph = exec->graph;
    bool *allowed = NULL, *wanted = NULL;
    isovae_status status = IV_NEW(allowed, graph->n_values, "the plan of a network", err);
    if (status == ISOVAE_OK) status = IV_NEW(wanted, graph->n_values, "the plan of a network", err);
    if (status == ISOVAE_OK) {
        for (size_t i = 0; i < graph->n_values; i++) {
            allowed[i] = graph->values[i].shape.rank == SPATIAL_RANK && !exec->values[i].is_port;
        }
        for (size_t i = 0; i < graph->n_nodes; i++) {
            const iv_node *node = &graph->nodes[i];
            for (size_t j = 0; j < n_ports(node); j++) {
                if (!(node->kind->flags & any_order)) allowed[port(node, j)] = false;
                if (node->kind->flags & IV_NODE_SPATIAL) wanted[port(node, j)] = true;
            }
        }
        spread(graph, allowed, false);
        spread(graph, wanted, true);
        for (size_t i = 0; i < graph->n_values; i++)
            exec->values[i].channels_last = allowed[i] && wanted[i];
    }
    iv_free(allowed);
    iv_free(wanted);
    return status;
}

iv_shape iv_layout_physical(const iv_shape *shape, bool last)
{
    if (!last || shape->rank != SPATIAL_RANK) return *shape;
    return (iv_shape){SPATIAL_RANK, {shape->dim[1], shape->dim[2], shape->dim[0]}};
}

/* y (rows x b x a) from x (rows x a x b), or added to it; in blocks of a, so that the cache lines
 * of y, written across, are still there when their next element comes. */
static void transpose(const iv_kernels *k, size_t rows, size_t a, size_t b, const void *x, void *y,
                      bool accumulate)
{
    enum { BLOCK = 16 };
    if (a == 1 || b == 1) {
        k->copy_block(1, rows * a * b, x, rows * a * b, y, rows * a * b, accumulate);
        return;
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < a; i += BLOCK) {
            size_t n = a - i < BLOCK ? a - i : BLOCK;
            bool across = n < b; /* the longer axis inside */
            iv_reorder p = {
                .rank = 2,
                .extent = {across ? n : b, across ? b : n},
                .from = {across ? (ptrdiff_t)b : 1, across ? 1 : (ptrdiff_t)b},
                .to = {across ? 1 : (ptrdiff_t)a, across ? (ptrdiff_t)a : 1},
            };
            k->reorder(&p, iv_at(k, x, (r * a + i) * b), iv_at(k, y, r * a * b + i), accumulate);
        }
    }
}

static void sides(const iv_shape *shape, size_t *channels, size_t *pixels)
{
    *channels = shape->rank == SPATIAL_RANK ? shape->dim[0] : 1;
    *pixels = 1;
    for (size_t i = shape->rank == SPATIAL_RANK ? 1 : 0; i < shape->rank; i++)
        *pixels *= shape->dim[i];
}

void iv_layout_to_last(const iv_kernels *k, const iv_shape *shape, size_t rows, const void *x,
                       void *y, bool accumulate)
{
    size_t channels, pixels;
    sides(shape, &channels, &pixels);
    transpose(k, rows, channels, pixels, x, y, accumulate);
}

void iv_layout_to_logical(const iv_kernels *k, const iv_shape *shape, size_t rows, const void *x,
                          void *y, bool accumulate)
{
    size_t channels, pixels;
    sides(shape, &channels, &pixels);
    transpose(k, rows, pixels, channels, x, y, accumulate);
}
