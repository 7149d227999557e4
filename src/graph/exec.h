/* The three passes over a graph: forward, reverse and tangent, on a workspace planned once.
 *
 * Rows are worked on in ranges [first, first + count): every pass may be cut into ranges in any
 * way, by any thread, with the same bytes (kernels.h). Parameter gradients sum over the whole batch
 * and are cut by output instead: run every task in 0..tasks-1 once after all ranges are reversed.
 */
#ifndef IV_GRAPH_EXEC_H
#define IV_GRAPH_EXEC_H

#include "graph/graph.h"

typedef struct iv_exec iv_exec;

typedef struct iv_exec_plan {
    size_t rows;         /* capacity of the batch */
    bool reverse;        /* room for gradients of values */
    size_t tangent_rows; /* capacity of one tangent tile: rows x tangents; 0: no tangent pass */
    size_t tangents;
    size_t lanes; /* how many threads run passes at once (each has scratch of its own); 0: 1 */
    /* Batch norm uses the statistics of the batch (and not its running ones): see segments below.
     * Not together with `weights`. */
    bool training;
    /* Packed weights are read from this workspace (same graph, kernels and `reverse`, prepared
     * before the first pass, kept until this one is freed) and not packed again; NULL: own ones. */
    const iv_exec *weights;
} iv_exec_plan;

isovae_status iv_exec_new(const iv_graph *graph, const iv_kernels *kernels,
                          const iv_exec_plan *plan, iv_exec **out,
                          isovae_error *err) ISOVAE_MUST_CHECK;
void iv_exec_free(iv_exec *exec);

/* Batch of a value: rows x size. Inputs are written by the caller before forward. */
void *iv_exec_value(const iv_exec *exec, size_t value);
/* Its gradient: outputs' are written by the caller before each reverse (all of them; reverse uses
 * them up), inputs' are read after it. NULL without plan.reverse. */
void *iv_exec_gradient(const iv_exec *exec, size_t value);

/* After each change of the parameters: packs weights. `params` is the whole parameter vector that
 * the graph's offsets point into. Cut into iv_exec_prepare_tasks tasks. */
size_t iv_exec_prepare_tasks(const iv_exec *exec);
void iv_exec_prepare(iv_exec *exec, const void *params, size_t task);
void iv_exec_prepare_all(iv_exec *exec, const void *params);

/* lane: 0..plan.lanes-1, the scratch to use; two ranges that run at once use different ones. */
void iv_exec_forward(iv_exec *exec, const void *params, size_t first, size_t count, size_t lane);
/* Reverse mode from the outputs' gradients; inputs' gradients only with `to_inputs`. */
void iv_exec_reverse(iv_exec *exec, const void *params, size_t first, size_t count, bool to_inputs,
                     size_t lane);

/* Segments. A node that needs the whole batch (batch norm in training form) cuts the list of nodes:
 * all rows must have passed one segment before sums over them are taken and the next one starts.
 * Without such nodes there is one segment. Forward: segments 0, 1, ...; before each but the first,
 * every task of iv_exec_statistics once, then iv_exec_settle. Reverse: from the last segment down;
 * before each but the last the same with `reverse` and the segment above. The sums are taken over
 * slices of a few rows and added in a fixed binary tree, so their bytes do not depend on who took
 * them. iv_exec_forward and _reverse above do all of it for [first, first + count) as the whole
 * batch; tangents of such a workspace need the whole batch in one call, and one call at a time. */
enum { IV_STATISTICS_ROWS = 8 };
size_t iv_exec_segments(const iv_exec *exec);
void iv_exec_forward_segment(iv_exec *exec, const void *params, size_t segment, size_t first,
                             size_t count, size_t lane);
void iv_exec_reverse_segment(iv_exec *exec, const void *params, size_t segment, size_t first,
                             size_t count, bool to_inputs, size_t lane);
size_t iv_exec_statistics_tasks(const iv_exec *exec, size_t rows);
void iv_exec_statistics(iv_exec *exec, const void *params, size_t segment, bool reverse,
                        size_t rows, size_t task);
void iv_exec_settle(iv_exec *exec, const void *params, size_t segment, bool reverse, size_t rows);
/* Moves the running statistics in `params` towards those of the last batch (momentum 0.1, variance
 * unbiased). */
void iv_exec_update_buffers(const iv_exec *exec, void *params);

/* Gradients of the parameters, summed over rows [0, rows) into `grads` (a parameter vector). */
size_t iv_exec_param_tasks(const iv_exec *exec);
void iv_exec_param_gradient(iv_exec *exec, const void *params, void *grads, size_t rows,
                            size_t task);

/* Tangents over the saved primals of rows [first, first + count) (forward must have run on them).
 * Layout of every tangent value: [tangents][count][size], tangent slowest. Per lane. The caller
 * writes those of all inputs, and reads those of outputs; for inner values NULL, they share places.
 * count x tangents <= plan.tangent_rows. */
void *iv_exec_tangent_value(const iv_exec *exec, size_t value, size_t lane);
void iv_exec_tangent(iv_exec *exec, const void *params, size_t first, size_t count, size_t tangents,
                     size_t lane);
const iv_kernels *iv_exec_kernels(const iv_exec *exec);

/* The Jacobian of the value `output` (an output of the graph) in input 0, at the primals of rows
 * [first, first + count), handed out whole for at most `buffer_rows` rows at a time and never kept:
 * `consume` gets the columns of the first `columns` input elements as [column][row][size] with
 * column stride `stride` elements (backend memory, valid during the call only). Input 0 must be a
 * vector (the latents); other inputs do not move. `buffer` of iv_exec_jacobian_buffer elements is
 * the caller's (kernels->alloc), one per lane. */
size_t iv_exec_jacobian_buffer(const iv_exec *exec, size_t output, size_t buffer_rows);
typedef void iv_jacobian_consumer(void *user, size_t first_row, size_t rows, size_t columns,
                                  const void *jacobian, size_t stride);
void iv_exec_jacobian(iv_exec *exec, const void *params, size_t output, size_t first, size_t count,
                      size_t lane, void *buffer, size_t buffer_rows, iv_jacobian_consumer *consume,
                      void *user);

#endif
