/* The workspace, and its forward and reverse passes. */
#include "graph/exec.h"

#include "base/memory.h"
#include "graph/exec_state.h"

#include <stdint.h>

static isovae_status allocate(iv_exec *exec, const iv_exec_sizes *sizes, isovae_error *err)
{
    const iv_kernels *k = exec->kernels;
    size_t lanes;
    if (!iv_size_mul(exec->plan.lanes, exec->lane_size, &lanes)) {
        return iv_fail(err, ISOVAE_ERR_MEMORY,
                       "scratch of %zu threads is more than can be addressed", exec->plan.lanes);
    }
    IV_TRY(k->alloc(&exec->value_memory, sizes->values, "the values of a network", err));
    IV_TRY(k->alloc(&exec->saved_memory, sizes->saved, "the saved state of a network", err));
    if (exec->plan.weights != NULL) {
        exec->prepared_memory = exec->plan.weights->prepared_memory;
    } else {
        IV_TRY(k->alloc(&exec->prepared_memory, sizes->prepared, "packed weights", err));
    }
    IV_TRY(k->alloc(&exec->lane_memory, lanes, "tangents of a network", err));
    IV_TRY(k->alloc(&exec->one, 1, "a constant", err));
    if (sizes->state > 0) IV_TRY(IV_NEW(exec->state, sizes->state, "the state of a network", err));
    if (exec->n_segments > 1) {
        size_t sums;
        if (!iv_size_mul(exec->sums_width, iv_exec_statistics_tasks(exec, exec->plan.rows),
                         &sums)) {
            return iv_fail(err, ISOVAE_ERR_MEMORY, "the statistics of a batch are too large");
        }
        IV_TRY(IV_NEW(exec->sums, sums, "the statistics of a batch", err));
    }
    k->fill(1, 1.0, exec->one);
    IV_TRY(IV_NEW(exec->busy, exec->plan.lanes, "the plan of a network", err));
    for (size_t i = 0; i < exec->plan.lanes; i++) atomic_flag_clear(&exec->busy[i]);
    if (exec->plan.reverse) {
        IV_TRY(k->alloc(&exec->gradient_memory, sizes->values, "the gradients of a network", err));
    }
    return ISOVAE_OK;
}

static isovae_status make(iv_exec *exec, isovae_error *err)
{
    const iv_graph *graph = exec->graph;
    iv_exec_sizes sizes = {0};
    IV_TRY(IV_NEW(exec->values, graph->n_values, "the plan of a network", err));
    IV_TRY(IV_NEW(exec->nodes, graph->n_nodes, "the plan of a network", err));
    IV_TRY(iv_exec_make_plan(exec, &sizes, err));
    return allocate(exec, &sizes, err);
}

isovae_status iv_exec_new(const iv_graph *graph, const iv_kernels *kernels,
                          const iv_exec_plan *plan, iv_exec **out, isovae_error *err)
{
    iv_exec *exec;
    *out = NULL;
    if (graph->n_inputs == 0 || graph->n_outputs == 0) {
        return iv_fail(err, ISOVAE_ERR_FORMAT, "a network needs at least one input and one output");
    }
    if (plan->training && plan->weights != NULL) {
        return iv_fail(err, ISOVAE_ERR_INTERNAL, "a training workspace cannot share weights");
    }
    IV_TRY(IV_NEW(exec, 1, "a workspace", err));
    exec->graph = graph;
    exec->kernels = kernels;
    exec->plan = *plan;
    if (exec->plan.lanes == 0) exec->plan.lanes = 1;
    if (exec->plan.tangents == 0) exec->plan.tangents = 1;
    if (exec->plan.tangents > exec->plan.tangent_rows)
        exec->plan.tangents = exec->plan.tangent_rows;
    isovae_status status = make(exec, err);
    if (status != ISOVAE_OK) {
        iv_exec_free(exec);
        return status;
    }
    *out = exec;
    return ISOVAE_OK;
}

void iv_exec_free(iv_exec *exec)
{
    if (exec == NULL) return;
    if (exec->plan.weights != NULL) exec->prepared_memory = NULL; /* borrowed */
    void *memory[] = {exec->value_memory,    exec->gradient_memory, exec->saved_memory,
                      exec->prepared_memory, exec->lane_memory,     exec->one};
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++) {
        if (memory[i] != NULL) exec->kernels->release(memory[i]);
    }
    iv_free(exec->values);
    iv_free(exec->nodes);
    iv_free(exec->busy);
    iv_free(exec->users);
    iv_free(exec->param_tasks);
    iv_free(exec->prepare_tasks);
    iv_free(exec->cuts);
    iv_free(exec->state);
    iv_free(exec->sums);
    iv_free(exec);
}

const iv_kernels *iv_exec_kernels(const iv_exec *exec)
{
    return exec->kernels;
}

void *iv_exec_value(const iv_exec *exec, size_t value)
{
    return iv_at(exec->kernels, exec->value_memory, exec->values[value].offset);
}

void *iv_exec_gradient(const iv_exec *exec, size_t value)
{
    if (exec->gradient_memory == NULL) return NULL;
    return iv_at(exec->kernels, exec->gradient_memory, exec->values[value].offset);
}

void iv_exec_call(const iv_exec *exec, const void *params, size_t node_index, size_t first,
                  size_t rows, size_t lane, iv_node_call *call)
{
    const iv_kernels *k = exec->kernels;
    const iv_graph *graph = exec->graph;
    const iv_node *node = &graph->nodes[node_index];
    const iv_node_plan *plan = &exec->nodes[node_index];
    *call = (iv_node_call){.kernels = k, .graph = graph, .node = node, .rows = rows};
    for (size_t i = 0; i < node->n_inputs; i++) {
        call->in_size[i] = graph->values[node->inputs[i]].size;
        call->in_last[i] = exec->values[node->inputs[i]].channels_last;
        call->in[i] = iv_at(k, iv_exec_value(exec, node->inputs[i]), first * call->in_size[i]);
    }
    for (size_t i = 0; i < node->n_outputs; i++) {
        call->out_size[i] = graph->values[node->outputs[i]].size;
        call->out_last[i] = exec->values[node->outputs[i]].channels_last;
        call->out[i] = iv_at(k, iv_exec_value(exec, node->outputs[i]), first * call->out_size[i]);
    }
    for (size_t i = 0; i < node->n_params; i++) {
        if (node->params[i] != SIZE_MAX) {
            call->params[i] = iv_at(k, params, graph->params[node->params[i]].offset);
        }
    }
    if (plan->saved_size > 0) {
        call->saved = iv_at(k, exec->saved_memory, plan->saved_offset + first * plan->saved_size);
    }
    call->prepared = iv_at(k, exec->prepared_memory, plan->prepared_offset);
    call->training = exec->plan.training && (node->kind->flags & IV_NODE_WHOLE_BATCH);
    if (exec->state != NULL) call->state = exec->state + plan->state_offset;
    call->scratch = iv_at(k, exec->lane_memory, lane * exec->lane_size + exec->scratch_offset);
    call->work = iv_at(k, exec->lane_memory, lane * exec->lane_size + exec->work_offset);
}

size_t iv_exec_prepare_tasks(const iv_exec *exec)
{
    return exec->n_prepare_tasks;
}

void iv_exec_prepare(iv_exec *exec, const void *params, size_t task)
{
    iv_node_call call;
    const iv_prepare_task *t = &exec->prepare_tasks[task];
    iv_exec_call(exec, params, t->node, 0, 0, 0, &call);
    call.node->kind->prepare(&call, t->part);
}

void iv_exec_prepare_all(iv_exec *exec, const void *params)
{
    for (size_t i = 0; i < exec->n_prepare_tasks; i++) iv_exec_prepare(exec, params, i);
}

/* Rows that a node works on at once. Pictures are many numbers and few weights: some rows at a time
 * go through neighbouring nodes, so that what one wrote is still in the second cache for the next.
 * Elsewhere all rows, for the sake of the weights. */
static size_t rows_at_once(const iv_exec *exec, size_t node_index)
{
    enum { ELEMENTS = 65536, RANK = 3 };
    const iv_node *node = &exec->graph->nodes[node_index];
    size_t largest = 1;
    for (size_t i = 0; i < node->n_inputs + node->n_outputs; i++) {
        size_t value = i < node->n_inputs ? node->inputs[i] : node->outputs[i - node->n_inputs];
        const iv_value *v = &exec->graph->values[value];
        if (v->shape.rank != RANK) return SIZE_MAX;
        if (v->size > largest) largest = v->size;
    }
    return largest >= ELEMENTS ? 1 : ELEMENTS / largest;
}

/* The nodes [from, to) take the rows in pieces of `rows` in both directions: the end of the run of
 * such nodes that starts with `from`, or the start of the one that ends with `to`. */
static size_t run_end(const iv_exec *exec, size_t from, size_t to, size_t *rows)
{
    *rows = rows_at_once(exec, from);
    size_t end = from + 1;
    while (end < to && rows_at_once(exec, end) == *rows) end++;
    return end;
}

static size_t run_start(const iv_exec *exec, size_t from, size_t to, size_t *rows)
{
    *rows = rows_at_once(exec, to - 1);
    size_t start = to - 1;
    while (start > from && rows_at_once(exec, start - 1) == *rows) start--;
    return start;
}

static void forward_run(iv_exec *exec, const void *params, size_t from, size_t to, size_t first,
                        size_t count, size_t lane)
{
    for (size_t i = from; i < to; i++) {
        iv_node_call call;
        iv_exec_call(exec, params, i, first, count, lane, &call);
        call.node->kind->forward(&call);
    }
}

static void forward_nodes(iv_exec *exec, const void *params, size_t from, size_t to, size_t first,
                          size_t count, size_t lane)
{
    for (size_t i = from, end, rows; i < to && count > 0; i = end) {
        end = run_end(exec, i, to, &rows);
        for (size_t done = 0, n; done < count; done += n) {
            n = count - done < rows ? count - done : rows;
            forward_run(exec, params, i, end, first + done, n, lane);
        }
    }
}

void iv_exec_forward_segment(iv_exec *exec, const void *params, size_t segment, size_t first,
                             size_t count, size_t lane)
{
    forward_nodes(exec, params, exec->cuts[segment], exec->cuts[segment + 1], first, count, lane);
}

void iv_exec_forward(iv_exec *exec, const void *params, size_t first, size_t count, size_t lane)
{
    for (size_t s = 0; s < exec->n_segments; s++) {
        if (s > 0) iv_exec_batch_sums(exec, params, s, IV_BATCH_FORWARD, first, count);
        iv_exec_forward_segment(exec, params, s, first, count, lane);
    }
}

static void *gradient_rows(const iv_exec *exec, size_t value, size_t first)
{
    return iv_at(exec->kernels, iv_exec_gradient(exec, value),
                 first * exec->graph->values[value].size);
}

static void reverse_run(iv_exec *exec, const void *params, size_t from, size_t to, size_t first,
                        size_t count, bool to_inputs, size_t lane)
{
    for (size_t i = to; i-- > from;) {
        const iv_node *node = &exec->graph->nodes[i];
        const iv_node_plan *plan = &exec->nodes[i];
        iv_node_call call;
        if (!plan->active) continue;
        iv_exec_call(exec, params, i, first, count, lane, &call);
        bool wanted = to_inputs;
        for (size_t j = 0; j < node->n_outputs; j++) {
            size_t value = node->outputs[j];
            if (exec->values[value].trains) wanted = true;
            if (exec->values[value].has_gradient) {
                call.grad_out[j] = gradient_rows(exec, value, first);
            }
        }
        if (!wanted) continue;
        for (size_t j = 0; j < node->n_inputs; j++) {
            size_t value = node->inputs[j];
            if (to_inputs || exec->values[value].trains) {
                call.grad_in[j] = gradient_rows(exec, value, first);
                call.accumulate[j] = plan->accumulate[j];
            }
        }
        node->kind->reverse(&call);
    }
}

static void reverse_nodes(iv_exec *exec, const void *params, size_t from, size_t to, size_t first,
                          size_t count, bool to_inputs, size_t lane)
{
    for (size_t end = to, start, rows; end > from && count > 0; end = start) {
        start = run_start(exec, from, end, &rows);
        for (size_t done = 0, n; done < count; done += n) {
            n = count - done < rows ? count - done : rows;
            reverse_run(exec, params, start, end, first + done, n, to_inputs, lane);
        }
    }
}

/* The node at a cut waits for the sums of its output's gradient, so it belongs to the part below.
 */
void iv_exec_reverse_segment(iv_exec *exec, const void *params, size_t segment, size_t first,
                             size_t count, bool to_inputs, size_t lane)
{
    bool last = segment + 1 == exec->n_segments;
    size_t from = segment == 0 ? 0 : exec->cuts[segment] + 1;
    size_t to = last ? exec->graph->n_nodes : exec->cuts[segment + 1] + 1;
    reverse_nodes(exec, params, from, to, first, count, to_inputs, lane);
}

void iv_exec_reverse(iv_exec *exec, const void *params, size_t first, size_t count, bool to_inputs,
                     size_t lane)
{
    for (size_t s = exec->n_segments; s-- > 0;) {
        if (s + 1 < exec->n_segments)
            iv_exec_batch_sums(exec, params, s + 1, IV_BATCH_REVERSE, first, count);
        iv_exec_reverse_segment(exec, params, s, first, count, to_inputs, lane);
    }
}

size_t iv_exec_param_tasks(const iv_exec *exec)
{
    return exec->n_param_tasks;
}

/* Parameter gradients belong to no lane, but each needs work memory of its own while it runs: it
 * takes some lane's. No more of them run at once than there are lanes, else one waits here. What
 * is in that memory never reaches a result. */
static size_t take_work(iv_exec *exec)
{
    for (size_t lane = 0;; lane = (lane + 1) % exec->plan.lanes) {
        if (!atomic_flag_test_and_set_explicit(&exec->busy[lane], memory_order_acquire)) {
            return lane;
        }
    }
}

void iv_exec_param_gradient(iv_exec *exec, const void *params, void *grads, size_t rows,
                            size_t task)
{
    const iv_param_task *t = &exec->param_tasks[task];
    const iv_param *param = &exec->graph->params[t->param];
    void *grad = iv_at(exec->kernels, grads, param->offset);
    if (t->n_users == 0 || rows == 0) {
        exec->kernels->fill(param->size, 0, grad);
        return;
    }
    size_t lane = take_work(exec);
    for (size_t i = 0; i < t->n_users; i++) {
        const iv_param_user *user = &exec->users[t->first_user + i];
        const iv_node *node = &exec->graph->nodes[user->node];
        iv_node_call call;
        iv_exec_call(exec, params, user->node, 0, rows, lane, &call);
        for (size_t j = 0; j < node->n_outputs; j++) {
            if (exec->values[node->outputs[j]].has_gradient) {
                call.grad_out[j] = iv_exec_gradient(exec, node->outputs[j]);
            }
        }
        node->kind->param_gradient(&call, user->role, grad, i > 0, t->block, t->blocks);
    }
    if (param->parametrization != IV_PARAM_PLAIN) {
        size_t start, count;
        iv_param_block(param, t->block, t->blocks, &start, &count);
        iv_param_chain(exec->kernels, param->parametrization, count,
                       iv_at(exec->kernels, params, param->offset + start),
                       iv_at(exec->kernels, grad, start));
    }
    atomic_flag_clear_explicit(&exec->busy[lane], memory_order_release);
}
