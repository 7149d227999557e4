/* Planning a workspace: where each value, gradient and tangent lies, who writes a gradient first,
 * and how preparation and parameter gradients are cut into tasks. */
#include "graph/exec_state.h"

#include "base/memory.h"

#include <stdint.h>

enum { ALIGNMENT = 16 }; /* elements; a cache line of floats */

/* *at += count * size, rounded up; the start is handed out. */
static isovae_status take(size_t *at, size_t count, size_t size, size_t *start, isovae_error *err)
{
    size_t n, end;
    if (!iv_size_mul(count, size, &n) || !iv_size_add(n, ALIGNMENT - 1, &n) ||
        !iv_size_add(*at, n / ALIGNMENT * ALIGNMENT, &end)) {
        return iv_fail(err, ISOVAE_ERR_MEMORY,
                       "a batch of %zu rows of this network is more than can be addressed; take "
                       "smaller batches",
                       count);
    }
    *start = *at;
    *at = end;
    return ISOVAE_OK;
}

/* Which values some output depends on, and which depend on parameters and on input 0. */
static void mark_dependence(iv_exec *exec)
{
    const iv_graph *graph = exec->graph;
    exec->values[graph->inputs[0]].follows_first = true;
    for (size_t i = 0; i < graph->n_inputs; i++) exec->values[graph->inputs[i]].is_port = true;
    for (size_t i = 0; i < graph->n_outputs; i++) {
        exec->values[graph->outputs[i]].is_port = true;
        exec->values[graph->outputs[i]].has_gradient = true;
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const iv_node *node = &graph->nodes[i];
        bool trains = false;
        for (size_t j = 0; j < node->n_params; j++) trains = trains || node->params[j] != SIZE_MAX;
        bool follows = false;
        for (size_t j = 0; j < node->n_inputs; j++) {
            trains = trains || exec->values[node->inputs[j]].trains;
            follows = follows || exec->values[node->inputs[j]].follows_first;
        }
        for (size_t j = 0; j < node->n_outputs; j++) {
            exec->values[node->outputs[j]].trains = trains;
            exec->values[node->outputs[j]].follows_first = follows;
        }
    }
    for (size_t i = graph->n_nodes; i-- > 0;) {
        const iv_node *node = &graph->nodes[i];
        for (size_t j = 0; j < node->n_outputs; j++) {
            if (exec->values[node->outputs[j]].has_gradient) exec->nodes[i].active = true;
        }
        for (size_t j = 0; exec->nodes[i].active && j < node->n_inputs; j++) {
            exec->values[node->inputs[j]].has_gradient = true;
        }
    }
}

/* Walking backwards, the first to reach a value writes its gradient; what the caller seeded counts
 * as written. */
static isovae_status mark_writers(iv_exec *exec, isovae_error *err)
{
    const iv_graph *graph = exec->graph;
    bool *written;
    IV_TRY(IV_NEW(written, graph->n_values, "the plan of a reverse pass", err));
    for (size_t i = 0; i < graph->n_outputs; i++) written[graph->outputs[i]] = true;
    for (size_t i = graph->n_nodes; i-- > 0;) {
        const iv_node *node = &graph->nodes[i];
        for (size_t j = 0; exec->nodes[i].active && j < node->n_inputs; j++) {
            exec->nodes[i].accumulate[j] = written[node->inputs[j]];
            written[node->inputs[j]] = true;
        }
    }
    iv_free(written);
    return ISOVAE_OK;
}

static isovae_status place_values(iv_exec *exec, iv_exec_sizes *sizes, isovae_error *err)
{
    const iv_graph *graph = exec->graph;
    size_t rows = exec->plan.rows;
    bool derivatives = exec->plan.reverse || exec->plan.tangent_rows > 0;
    for (size_t i = 0; i < graph->n_values; i++) {
        IV_TRY(take(&sizes->values, rows, graph->values[i].size, &exec->values[i].offset, err));
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const iv_node *node = &graph->nodes[i];
        iv_node_plan *plan = &exec->nodes[i];
        if (derivatives && node->kind->saved != NULL) {
            plan->saved_size = node->kind->saved(graph, node);
        }
        IV_TRY(take(&sizes->saved, rows, plan->saved_size, &plan->saved_offset, err));
        size_t prepared =
            node->kind->prepared == NULL
                ? 0
                : node->kind->prepared(exec->kernels, graph, node, exec->plan.reverse);
        IV_TRY(take(&sizes->prepared, 1, prepared, &plan->prepared_offset, err));
        size_t state = node->kind->state == NULL ? 0 : node->kind->state(graph, node);
        IV_TRY(take(&sizes->state, 1, state, &plan->state_offset, err));
    }
    return ISOVAE_OK;
}

/* Tangents of inner values are dead after their last reader, so they share places: a tile that
 * stays in the cache is what makes the pass fast. Inputs and outputs keep a place of their own. */
typedef struct place {
    size_t size;
    bool free;
} place;

static size_t find_place(place *places, size_t *n, size_t size)
{
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < *n; i++) {
        if (!places[i].free) continue;
        bool fits = places[i].size >= size;
        if (best == SIZE_MAX) {
            best = i;
        } else if (fits && (places[best].size < size || places[i].size < places[best].size)) {
            best = i;
        } else if (!fits && places[best].size < size && places[i].size > places[best].size) {
            best = i;
        }
    }
    if (best == SIZE_MAX) {
        best = (*n)++;
        places[best].size = 0;
    }
    if (places[best].size < size) places[best].size = size;
    places[best].free = false;
    return best;
}

static void assign_places(const iv_exec *exec, size_t *last, size_t *place_of, place *places,
                          size_t *n)
{
    const iv_graph *graph = exec->graph;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        for (size_t j = 0; j < graph->nodes[i].n_inputs; j++) last[graph->nodes[i].inputs[j]] = i;
    }
    for (size_t i = 0; i < graph->n_inputs; i++) {
        size_t v = graph->inputs[i];
        place_of[v] = find_place(places, n, graph->values[v].size);
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const iv_node *node = &graph->nodes[i];
        for (size_t j = 0; j < node->n_outputs; j++) {
            size_t v = node->outputs[j];
            place_of[v] = find_place(places, n, graph->values[v].size);
            if (last[v] == SIZE_MAX) last[v] = i; /* unread: free at once */
        }
        for (size_t j = 0; j < node->n_inputs + node->n_outputs; j++) {
            size_t v = j < node->n_inputs ? node->inputs[j] : node->outputs[j - node->n_inputs];
            if (last[v] == i && !exec->values[v].is_port) places[place_of[v]].free = true;
        }
    }
}

static isovae_status place_tangents(iv_exec *exec, isovae_error *err)
{
    const iv_graph *graph = exec->graph;
    size_t n_values = graph->n_values, n = 0, rows = exec->plan.tangent_rows;
    size_t *last = NULL, *place_of = NULL, *start = NULL;
    place *places = NULL;
    isovae_status status = IV_NEW(last, n_values, "the plan of a tangent pass", err);
    if (status == ISOVAE_OK) status = IV_NEW(place_of, n_values, "the plan of a tangent pass", err);
    if (status == ISOVAE_OK) status = IV_NEW(start, n_values, "the plan of a tangent pass", err);
    if (status == ISOVAE_OK) status = IV_NEW(places, n_values, "the plan of a tangent pass", err);
    if (status == ISOVAE_OK) {
        for (size_t i = 0; i < n_values; i++) last[i] = SIZE_MAX;
        assign_places(exec, last, place_of, places, &n);
    }
    for (size_t i = 0; status == ISOVAE_OK && i < n; i++) {
        status = take(&exec->lane_size, rows, places[i].size, &start[i], err);
    }
    for (size_t i = 0; status == ISOVAE_OK && i < n_values; i++) {
        exec->values[i].tangent_offset = start[place_of[i]];
    }
    iv_free(last);
    iv_free(place_of);
    iv_free(start);
    iv_free(places);
    return status;
}

static isovae_status place_scratch(iv_exec *exec, isovae_error *err)
{
    const iv_graph *graph = exec->graph;
    size_t primal = 0, tangent = 0, work = 0;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const iv_node *node = &graph->nodes[i];
        if (node->kind->work != NULL) {
            size_t size = node->kind->work(exec->kernels, graph, node);
            if (size > work) work = size;
        }
        if (node->kind->scratch == NULL) continue;
        size_t a = node->kind->scratch(graph, node, false);
        size_t b = node->kind->scratch(graph, node, true);
        if (a > primal) primal = a;
        if (b > tangent) tangent = b;
    }
    if (exec->plan.tangent_rows == 0) tangent = 0;
    size_t end_a = exec->lane_size, end_b = exec->lane_size; /* both uses start at the same place */
    IV_TRY(take(&end_a, exec->plan.rows, primal, &exec->scratch_offset, err));
    IV_TRY(take(&end_b, exec->plan.tangent_rows, tangent, &exec->scratch_offset, err));
    exec->lane_size = end_a > end_b ? end_a : end_b;
    return take(&exec->lane_size, 1, work, &exec->work_offset, err);
}

static isovae_status list_prepare_tasks(iv_exec *exec, isovae_error *err)
{
    const iv_graph *graph = exec->graph;
    bool reverse = exec->plan.reverse;
    for (size_t pass = 0; pass < 2; pass++) {
        size_t n = 0;
        for (size_t i = 0; i < graph->n_nodes; i++) {
            const iv_node *node = &graph->nodes[i];
            if (node->kind->prepare_parts == NULL) continue;
            for (size_t part = 0; part < node->kind->prepare_parts(node, reverse); part++, n++) {
                if (pass == 1) exec->prepare_tasks[n] = (iv_prepare_task){i, part};
            }
        }
        exec->n_prepare_tasks = n;
        if (pass == 0) IV_TRY(IV_NEW(exec->prepare_tasks, n, "tasks of a network", err));
    }
    return ISOVAE_OK;
}

/* Groups the users by parameter; start has n_params + 1 entries. Only nodes that some output
 * depends on count. */
static void list_users(iv_exec *exec, size_t *start)
{
    const iv_graph *graph = exec->graph;
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < graph->n_nodes; i++) {
            const iv_node *node = &graph->nodes[i];
            for (size_t role = 0; exec->nodes[i].active && role < node->n_params; role++) {
                size_t param = node->params[role];
                if (param == SIZE_MAX || graph->params[param].buffer) continue;
                /* First pass: count. Second: fill, which moves each start to the next one's. */
                if (pass == 1) exec->users[start[param]] = (iv_param_user){i, role};
                start[param]++;
            }
        }
        size_t sum = 0;
        for (size_t i = 0; i <= graph->n_params; i++) {
            size_t count = start[i];
            if (pass == 0) {
                start[i] = sum;
                sum += count;
            } else {
                start[i] = sum;
                sum = count;
            }
        }
    }
}

/* As many blocks as the users agree on. A parameter without users has one: its gradient is zero. */
static size_t blocks_of(const iv_exec *exec, size_t first, size_t n)
{
    size_t blocks = 1;
    for (size_t i = 0; i < n; i++) {
        const iv_param_user *user = &exec->users[first + i];
        const iv_node *node = &exec->graph->nodes[user->node];
        size_t wanted =
            node->kind->param_blocks == NULL
                ? 1
                : node->kind->param_blocks(exec->graph, node, user->role, exec->plan.rows);
        /* One thread is served best by whole matrices. */
        if (exec->plan.lanes == 1) wanted = 1;
        if (i > 0 && wanted != blocks) return 1;
        blocks = wanted;
    }
    return blocks;
}

static isovae_status list_param_tasks(iv_exec *exec, isovae_error *err)
{
    const iv_graph *graph = exec->graph;
    size_t n_users = 0, n_tasks = 0, *start;
    for (size_t i = 0; i < graph->n_nodes; i++) n_users += graph->nodes[i].n_params;
    IV_TRY(IV_NEW(exec->users, n_users, "tasks of a network", err));
    IV_TRY(IV_NEW(start, graph->n_params + 1, "tasks of a network", err));
    list_users(exec, start);
    for (size_t i = 0; i < graph->n_params; i++) {
        n_tasks += blocks_of(exec, start[i], start[i + 1] - start[i]);
    }
    isovae_status status = IV_NEW(exec->param_tasks, n_tasks, "tasks of a network", err);
    for (size_t i = 0; status == ISOVAE_OK && i < graph->n_params; i++) {
        size_t users = start[i + 1] - start[i], blocks = blocks_of(exec, start[i], users);
        for (size_t block = 0; block < blocks; block++) {
            exec->param_tasks[exec->n_param_tasks++] = (iv_param_task){.param = i,
                                                                       .block = block,
                                                                       .blocks = blocks,
                                                                       .first_user = start[i],
                                                                       .n_users = users};
        }
    }
    iv_free(start);
    return status;
}

/* Where the whole batch must have passed before the next node goes on. */
static isovae_status cut_segments(iv_exec *exec, isovae_error *err)
{
    const iv_graph *graph = exec->graph;
    size_t n = 0;
    IV_TRY(IV_NEW(exec->cuts, graph->n_nodes + 2, "the plan of a network", err));
    exec->cuts[n++] = 0;
    for (size_t i = 0; exec->plan.training && i < graph->n_nodes; i++) {
        const iv_node *node = &graph->nodes[i];
        if (!(node->kind->flags & IV_NODE_WHOLE_BATCH)) continue;
        size_t width = node->kind->sums(graph, node);
        if (width > exec->sums_width) exec->sums_width = width;
        exec->cuts[n++] = i;
    }
    exec->n_segments = n;
    exec->cuts[n] = graph->n_nodes;
    return ISOVAE_OK;
}

isovae_status iv_exec_make_plan(iv_exec *exec, iv_exec_sizes *sizes, isovae_error *err)
{
    mark_dependence(exec);
    IV_TRY(cut_segments(exec, err));
    IV_TRY(mark_writers(exec, err));
    IV_TRY(iv_exec_plan_layout(exec, err));
    IV_TRY(place_values(exec, sizes, err));
    if (exec->plan.tangent_rows > 0) IV_TRY(place_tangents(exec, err));
    IV_TRY(place_scratch(exec, err));
    IV_TRY(list_prepare_tasks(exec, err));
    if (exec->plan.reverse) IV_TRY(list_param_tasks(exec, err));
    return ISOVAE_OK;
}
