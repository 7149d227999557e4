/* The workspace behind exec.h, shared by exec.c, exec_plan.c and tangent.c. */
#ifndef IV_GRAPH_EXEC_STATE_H
#define IV_GRAPH_EXEC_STATE_H

#include "graph/exec.h"
#include "graph/node.h"

#include <stdatomic.h>

/* One use of a parameter: node and role. The users of a parameter stand together. */
typedef struct iv_param_user {
    size_t node, role;
} iv_param_user;

typedef struct iv_param_task {
    size_t param, block, blocks;
    size_t first_user, n_users; /* none: the gradient is zero */
} iv_param_task;

typedef struct iv_prepare_task {
    size_t node, part;
} iv_prepare_task;

typedef struct iv_value_plan {
    size_t offset;         /* elements, in values and gradients */
    size_t tangent_offset; /* elements, in a lane's memory */
    bool has_gradient;     /* some output depends on it */
    bool trains;           /* it depends on a parameter (else only to_inputs wants its gradient) */
    bool is_port;          /* input or output of the graph */
    bool follows_first;    /* it depends on input 0 (else its tangent is zero in a Jacobian) */
    bool channels_last;    /* rows lie as H, W, C and not as C, H, W (layout.c) */
} iv_value_plan;

typedef struct iv_node_plan {
    size_t saved_offset, saved_size; /* elements; size per row */
    size_t prepared_offset;
    size_t state_offset;           /* numbers */
    bool active;                   /* some output depends on it */
    bool accumulate[IV_MAX_PORTS]; /* an earlier writer of the input's gradient is there */
} iv_node_plan;

struct iv_exec {
    const iv_graph *graph;
    const iv_kernels *kernels;
    iv_exec_plan plan;
    iv_value_plan *values;
    iv_node_plan *nodes;
    iv_param_user *users;
    iv_param_task *param_tasks;
    iv_prepare_task *prepare_tasks;
    size_t n_param_tasks, n_prepare_tasks;
    size_t lane_size, scratch_offset, work_offset; /* elements */
    atomic_flag *busy; /* per lane: its work memory serves a parameter gradient */

    void *value_memory, *gradient_memory, *saved_memory, *prepared_memory;
    void *lane_memory; /* lanes x lane_size: tangents, then scratch, then work */
    void *one;         /* one element, 1.0 */

    /* Segment s begins, in forward order, with node cuts[s]; cuts[n_segments] is the end. */
    size_t n_segments, *cuts;
    size_t sums_width;    /* numbers of the widest sums */
    double *state, *sums; /* of the nodes; of the slices of a batch */
};

/* Fills in what every callback needs, for rows from `first`. */
void iv_exec_call(const iv_exec *exec, const void *params, size_t node, size_t first, size_t rows,
                  size_t lane, iv_node_call *call);

/* Sums over rows [first, first + count) for the node at the start of a segment (segments.c). */
void iv_exec_batch_sums(iv_exec *exec, const void *params, size_t segment, iv_batch_pass pass,
                        size_t first, size_t count);
/* Decides channels_last of every value. */
isovae_status iv_exec_plan_layout(iv_exec *exec, isovae_error *err) ISOVAE_MUST_CHECK;

/* The plan (exec_plan.c): everything but the memory of the kernels; sizes in elements. */
typedef struct iv_exec_sizes {
    size_t values, saved, prepared, state;
} iv_exec_sizes;
isovae_status iv_exec_make_plan(iv_exec *exec, iv_exec_sizes *sizes,
                                isovae_error *err) ISOVAE_MUST_CHECK;

#endif
