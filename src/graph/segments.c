/* Between two segments: sums over the whole batch for the node that starts the later one. */
#include "graph/exec.h"

#include "graph/exec_state.h"

size_t iv_exec_segments(const iv_exec *exec)
{
    return exec->n_segments;
}

size_t iv_exec_statistics_tasks(const iv_exec *exec, size_t rows)
{
    (void)exec;
    return rows / IV_STATISTICS_ROWS + (rows % IV_STATISTICS_ROWS > 0);
}

/* False where no output depends on the node, so that its reverse never runs. */
static bool make_call(const iv_exec *exec, const void *params, size_t node, iv_batch_pass pass,
                      size_t first, size_t count, iv_node_call *call)
{
    iv_exec_call(exec, params, node, first, count, 0, call);
    if (pass == IV_BATCH_FORWARD) return true;
    size_t value = call->node->outputs[0];
    if (!exec->values[value].has_gradient) return false;
    call->grad_out[0] =
        iv_at(exec->kernels, iv_exec_gradient(exec, value), first * call->out_size[0]);
    return true;
}

static void sum_slice(iv_exec *exec, const void *params, size_t segment, iv_batch_pass pass,
                      size_t first, size_t count, size_t task)
{
    iv_node_call call;
    size_t start = task * IV_STATISTICS_ROWS, left = count - start;
    size_t rows = left < IV_STATISTICS_ROWS ? left : IV_STATISTICS_ROWS;
    if (make_call(exec, params, exec->cuts[segment], pass, first + start, rows, &call))
        call.node->kind->reduce(&call, pass, exec->sums + task * exec->sums_width);
}

/* Slices are added in pairs, pairs of pairs and so on: an order that only the number of rows
 * decides. */
static void settle(iv_exec *exec, const void *params, size_t segment, iv_batch_pass pass,
                   size_t first, size_t count)
{
    iv_node_call call;
    if (count == 0 || !make_call(exec, params, exec->cuts[segment], pass, first, count, &call))
        return;
    size_t slices = iv_exec_statistics_tasks(exec, count), width = exec->sums_width;
    for (size_t step = 1; step < slices; step *= 2) {
        for (size_t i = 0; i + step < slices; i += 2 * step) {
            double *into = exec->sums + i * width, *from = exec->sums + (i + step) * width;
            for (size_t j = 0; j < width; j++) into[j] += from[j];
        }
    }
    call.node->kind->settle(&call, pass, exec->sums);
}

void iv_exec_batch_sums(iv_exec *exec, const void *params, size_t segment, iv_batch_pass pass,
                        size_t first, size_t count)
{
    for (size_t task = 0; task < iv_exec_statistics_tasks(exec, count); task++)
        sum_slice(exec, params, segment, pass, first, count, task);
    settle(exec, params, segment, pass, first, count);
}

void iv_exec_statistics(iv_exec *exec, const void *params, size_t segment, bool reverse,
                        size_t rows, size_t task)
{
    sum_slice(exec, params, segment, reverse ? IV_BATCH_REVERSE : IV_BATCH_FORWARD, 0, rows, task);
}

void iv_exec_settle(iv_exec *exec, const void *params, size_t segment, bool reverse, size_t rows)
{
    settle(exec, params, segment, reverse ? IV_BATCH_REVERSE : IV_BATCH_FORWARD, 0, rows);
}

void iv_exec_update_buffers(const iv_exec *exec, void *params)
{
    for (size_t s = 1; s < exec->n_segments; s++) {
        iv_node_call call;
        void *buffers[IV_MAX_ROLES] = {NULL};
        iv_exec_call(exec, params, exec->cuts[s], 0, 0, 0, &call);
        for (size_t i = 0; i < call.node->n_params; i++) {
            if (call.params[i] != NULL && call.node->kind->buffer[i]) {
                buffers[i] =
                    iv_at(exec->kernels, params, exec->graph->params[call.node->params[i]].offset);
            }
        }
        call.node->kind->update(&call, buffers);
    }
}
