/* The tangent pass: J times a tile of tangents, over the values that forward left; and the whole
 * Jacobian, tile by tile, into a consumer. */
#include "graph/exec.h"

#include "graph/exec_state.h"

#include <stdint.h>

static void *tangent_memory(const iv_exec *exec, size_t value, size_t lane)
{
    return iv_at(exec->kernels, exec->lane_memory,
                 lane * exec->lane_size + exec->values[value].tangent_offset);
}

void *iv_exec_tangent_value(const iv_exec *exec, size_t value, size_t lane)
{
    if (exec->plan.tangent_rows == 0 || !exec->values[value].is_port) return NULL;
    return tangent_memory(exec, value, lane);
}

/* With only_first, input 0 alone moves, and what does not follow it is never computed. */
static void run(iv_exec *exec, const void *params, size_t first, size_t count, size_t tangents,
                size_t lane, bool only_first)
{
    const iv_graph *graph = exec->graph;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const iv_node *node = &graph->nodes[i];
        iv_node_call call;
        if (only_first && !exec->values[node->outputs[0]].follows_first) continue;
        iv_exec_call(exec, params, i, first, count, lane, &call);
        call.tangents = tangents;
        for (size_t j = 0; j < node->n_inputs; j++) {
            size_t value = node->inputs[j];
            if (!only_first || exec->values[value].follows_first) {
                call.tangent_in[j] = tangent_memory(exec, value, lane);
            }
        }
        for (size_t j = 0; j < node->n_outputs; j++) {
            call.tangent_out[j] = tangent_memory(exec, node->outputs[j], lane);
        }
        node->kind->tangent(&call);
    }
}

void iv_exec_tangent(iv_exec *exec, const void *params, size_t first, size_t count, size_t tangents,
                     size_t lane)
{
    if (count > 0 && tangents > 0) run(exec, params, first, count, tangents, lane, false);
}

size_t iv_exec_jacobian_buffer(const iv_exec *exec, size_t output, size_t buffer_rows)
{
    return exec->graph->values[exec->graph->inputs[0]].size * buffer_rows *
           exec->graph->values[output].size;
}

/* Tangent t of every row becomes the unit vector of latent first_column + t. */
static void seed(const iv_exec *exec, size_t rows, size_t first_column, size_t tangents,
                 size_t lane)
{
    const iv_kernels *k = exec->kernels;
    size_t input = exec->graph->inputs[0], n = exec->graph->values[input].size;
    void *v = tangent_memory(exec, input, lane);
    k->fill(tangents * rows * n, 0, v);
    for (size_t t = 0; t < tangents; t++) {
        k->copy_block(rows, 1, exec->one, 0, iv_at(k, v, t * rows * n + first_column + t), n,
                      false);
    }
}

void iv_exec_jacobian(iv_exec *exec, const void *params, size_t output, size_t first, size_t count,
                      size_t lane, void *buffer, size_t buffer_rows, iv_jacobian_consumer *consume,
                      void *user)
{
    const iv_kernels *k = exec->kernels;
    size_t n = exec->graph->values[exec->graph->inputs[0]].size;
    size_t size = exec->graph->values[output].size;
    size_t tile = exec->plan.tangents < n ? exec->plan.tangents : n;
    if (tile == 0) return;
    size_t most = exec->plan.tangent_rows / tile;
    if (most > buffer_rows) most = buffer_rows;
    if (most == 0) return;
    for (size_t done = 0; done < count; done += most) {
        size_t rows = count - done < most ? count - done : most, stride = rows * size;
        const void *jacobian = buffer;
        for (size_t column = 0; column < n; column += tile) {
            size_t tangents = n - column < tile ? n - column : tile;
            seed(exec, rows, column, tangents, lane);
            run(exec, params, first + done, rows, tangents, lane, true);
            void *columns = tangent_memory(exec, output, lane);
            if (!exec->values[output].follows_first) k->fill(tangents * stride, 0, columns);
            if (tangents == n) {
                jacobian = columns; /* one tile is all of it */
            } else {
                k->copy_block(1, tangents * stride, columns, tangents * stride,
                              iv_at(k, buffer, column * stride), tangents * stride, false);
            }
        }
        consume(user, first + done, rows, n, jacobian, stride);
    }
}
