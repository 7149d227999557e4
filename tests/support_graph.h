/* For tests that run graphs: a graph with its workspace and parameters, filled and read as doubles.
 * Everything fails the test instead of returning an error. */
#ifndef SUPPORT_GRAPH_H
#define SUPPORT_GRAPH_H

#include "base/memory.h"
#include "graph/exec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct net {
    const iv_graph *graph;
    const iv_kernels *k;
    iv_exec *exec;
    size_t rows;
    void *params, *grads;
} net;

/* The tables to test, by index; NULL behind the last, and gaps (isa not there) are left out. */
static inline const iv_kernels *kernels_at(size_t i)
{
    static const struct {
        iv_precision precision;
        const char *isa;
    } all[] = {{IV_PRECISION_F64_REFERENCE, NULL},
               {IV_PRECISION_F32_REFERENCE, NULL},
               {IV_PRECISION_F32, "baseline"},
               {IV_PRECISION_F32, "avx2"},
               {IV_PRECISION_F32, "avx512"}};
    for (size_t j = 0; j < sizeof all / sizeof all[0]; j++) {
        const iv_kernels *k = iv_kernels_get(all[j].precision, all[j].isa);
        if (k != NULL && i-- == 0) return k;
    }
    return NULL;
}

#define MUST(call)                                                                                 \
    do {                                                                                           \
        isovae_error must_err = {ISOVAE_OK, ""};                                                   \
        isovae_error *err = &must_err;                                                             \
        if ((call) != ISOVAE_OK) fail_msg("%s", must_err.message);                                 \
    } while (0)

static inline net net_open(const iv_graph *graph, const iv_kernels *k, const iv_exec_plan *plan)
{
    net n = {.graph = graph, .k = k, .rows = plan->rows};
    MUST(iv_exec_new(graph, k, plan, &n.exec, err));
    MUST(k->alloc(&n.params, graph->param_elements, "parameters", err));
    MUST(k->alloc(&n.grads, graph->param_elements, "gradients", err));
    return n;
}

static inline void net_close(net *n)
{
    iv_exec_free(n->exec);
    n->k->release(n->params);
    n->k->release(n->grads);
}

static inline double *numbers(size_t n)
{
    double *values = calloc(n + 1, sizeof *values);
    assert_non_null(values);
    return values;
}

/* Released with free. */
static inline double *download(const iv_kernels *k, const void *from, size_t n)
{
    double *values = numbers(n);
    k->download(values, from, n);
    return values;
}

static inline void net_set_param(net *n, const char *name, const double *values)
{
    size_t i = iv_graph_find_param(n->graph, name);
    assert_true(i != SIZE_MAX);
    n->k->upload(iv_at(n->k, n->params, n->graph->params[i].offset), values,
                 n->graph->params[i].size);
}

static inline size_t net_value(const net *n, const char *name)
{
    size_t i = iv_graph_find_value(n->graph, name);
    if (i == SIZE_MAX) fail_msg("no value '%s'", name);
    return i;
}

static inline void net_set(net *n, const char *name, const double *values)
{
    size_t v = net_value(n, name);
    n->k->upload(iv_exec_value(n->exec, v), values, n->rows * n->graph->values[v].size);
}

static inline void net_seed(net *n, const char *name, const double *values)
{
    size_t v = net_value(n, name);
    n->k->upload(iv_exec_gradient(n->exec, v), values, n->rows * n->graph->values[v].size);
}

static inline double *net_get(const net *n, const char *name)
{
    size_t v = net_value(n, name);
    return download(n->k, iv_exec_value(n->exec, v), n->rows * n->graph->values[v].size);
}

static inline double *net_gradient(const net *n, const char *name)
{
    size_t v = net_value(n, name);
    return download(n->k, iv_exec_gradient(n->exec, v), n->rows * n->graph->values[v].size);
}

static inline double *net_param_gradient(const net *n, const char *name)
{
    size_t i = iv_graph_find_param(n->graph, name);
    assert_true(i != SIZE_MAX);
    return download(n->k, iv_at(n->k, n->grads, n->graph->params[i].offset),
                    n->graph->params[i].size);
}

static inline void net_forward(net *n)
{
    iv_exec_prepare_all(n->exec, n->params);
    iv_exec_forward(n->exec, n->params, 0, n->rows, 0);
}

static inline void net_reverse(net *n)
{
    iv_exec_reverse(n->exec, n->params, 0, n->rows, true, 0);
    for (size_t t = 0; t < iv_exec_param_tasks(n->exec); t++) {
        iv_exec_param_gradient(n->exec, n->params, n->grads, n->rows, t);
    }
}

/* Repeatable numbers in [-1, 1), exact in float. */
static inline double noise(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)((int64_t)(*state >> 40) - (INT64_C(1) << 23)) / (double)(1 << 23);
}

static inline double *noises(size_t n, uint64_t seed)
{
    double *values = numbers(n);
    for (size_t i = 0; i < n; i++) values[i] = noise(&seed);
    return values;
}

#endif
