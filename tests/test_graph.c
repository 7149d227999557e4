/* Whole graphs: derivatives against differences, ranges of rows, JSON, fusing, the Jacobian. */
#include "support_graph.h"
#include "support_npz.h"

#include <math.h>
#include <pthread.h>

/* Building, terse: values by name, parameters named after the node unless given. */
static void input(iv_graph *graph, const char *name, iv_shape shape)
{
    MUST(iv_graph_input(graph, name, &shape, NULL, err));
}

static iv_node_spec spec_of(const iv_graph *graph, const char *kind, const char *output,
                            const char *a, const char *b, const char *c)
{
    iv_node_spec spec = {.kind = kind, .name = output, .n_outputs = 1, .outputs = {output}};
    const char *inputs[] = {a, b, c};
    for (size_t i = 0; i < 3 && inputs[i] != NULL; i++) {
        spec.inputs[i] = iv_graph_find_value(graph, inputs[i]);
        if (spec.inputs[i] == SIZE_MAX) fail_msg("no value '%s'", inputs[i]);
        spec.n_inputs++;
    }
    return spec;
}

static void add_node(iv_graph *graph, const iv_node_spec *spec)
{
    MUST(iv_graph_node(graph, spec, NULL, err));
}

static void plain(iv_graph *graph, const char *kind, const char *output, const char *a,
                  const char *b)
{
    iv_node_spec spec = spec_of(graph, kind, output, a, b, NULL);
    add_node(graph, &spec);
}

static void dense(iv_graph *graph, const char *output, const char *from, size_t units, iv_act act,
                  double parameter)
{
    iv_node_spec spec = spec_of(graph, "dense", output, from, NULL, NULL);
    spec.units = units;
    spec.attributes.act = act;
    spec.attributes.parameter = parameter;
    add_node(graph, &spec);
}

static void output(iv_graph *graph, const char *name)
{
    MUST(iv_graph_output(graph, iv_graph_find_value(graph, name), err));
}

static void reshape(iv_graph *graph, const char *output, const char *from, iv_shape shape)
{
    iv_node_spec spec = spec_of(graph, "reshape", output, from, NULL, NULL);
    spec.attributes.shape = shape;
    add_node(graph, &spec);
}

static void concat(iv_graph *graph, const char *output, size_t axis, const char *a, const char *b,
                   const char *c)
{
    iv_node_spec spec = spec_of(graph, "concat", output, a, b, c);
    spec.attributes.axis = axis;
    add_node(graph, &spec);
}

/* Images: a gate per row of pixels, inputs spread along one, two or different axes. */
static void composite_images(iv_graph *graph)
{
    reshape(graph, "image", "square", (iv_shape){2, {2, 3}});
    dense(graph, "g", "s2", 2, IV_ACT_SIGMOID, 0);
    reshape(graph, "gate", "g", (iv_shape){2, {2, 1}});
    plain(graph, "multiply", "gated", "gate", "image");
    plain(graph, "add", "sided", "gated", "side");
    dense(graph, "row", "s1", 3, IV_ACT_LEAKY_RELU, 0.125);
    reshape(graph, "wide", "row", (iv_shape){2, {1, 3}});
    plain(graph, "multiply", "outer", "wide", "gate"); /* both are spread */
    concat(graph, "stack", 2, "sided", "outer", "side");
    plain(graph, "flatten", "flat", "stack", NULL); /* 14 */
    concat(graph, "dozen", 1, "x", "h", NULL);
    reshape(graph, "block", "dozen", (iv_shape){3, {2, 3, 2}});
    reshape(graph, "line", "row", (iv_shape){3, {1, 3, 1}});
    plain(graph, "multiply", "cubed", "block", "line"); /* spread along two axes apart */
    plain(graph, "add", "lined", "line", "cubed");
    plain(graph, "flatten", "cubes", "lined", NULL); /* 12 */
}

/* Every kind, shared weights, values read in many places before and behind, an output that is also
 * read inside, a dead branch, a part nobody reads, and two inputs. */
static iv_graph *composite(void)
{
    iv_graph *graph;
    MUST(iv_graph_new(&graph, err));
    input(graph, "x", (iv_shape){1, {6}});
    input(graph, "side", (iv_shape){2, {2, 1}});
    plain(graph, "softplus", "px", "x", NULL);
    reshape(graph, "rx", "x", (iv_shape){1, {6}});
    dense(graph, "d", "x", 8, IV_ACT_SILU, 0);
    iv_node_spec split = spec_of(graph, "split", "cut", "d", NULL, NULL);
    split.n_outputs = 3;
    split.outputs[0] = "s1";
    split.outputs[1] = "s2";
    split.outputs[2] = "unread";
    split.attributes = (iv_attributes){.axis = 1, .n_sizes = 3, .sizes = {3, 4, 1}};
    add_node(graph, &split);
    dense(graph, "h", "x", 6, IV_ACT_TANH, 0);
    iv_node_spec again = spec_of(graph, "dense", "h2", "h", NULL, NULL); /* h's weight, no bias */
    again.units = 6;
    again.params[0] = "h.weight";
    again.params[1] = "";
    again.attributes = (iv_attributes){.act = IV_ACT_ELU, .parameter = 1.25};
    add_node(graph, &again);
    plain(graph, "add", "r", "rx", "h2");
    plain(graph, "multiply", "m", "r", "h");
    plain(graph, "multiply", "square", "m", "m");
    composite_images(graph);
    concat(graph, "mix", 1, "flat", "s1", "px");
    concat(graph, "mixed", 1, "mix", "cubes", "d"); /* 43: d behind the split */
    plain(graph, "exp", "e", "h", NULL);
    dense(graph, "dead", "e", 5, IV_ACT_NONE, 0);
    dense(graph, "most", "mixed", 6, IV_ACT_GELU, 0);
    plain(graph, "multiply", "late", "most", "h"); /* h and px behind the concats */
    plain(graph, "multiply", "later", "late", "px");
    dense(graph, "out", "later", 4, IV_ACT_NONE, 0);
    output(graph, "out");
    output(graph, "m");
    return graph;
}

enum { ROWS = 5 };

static iv_exec_plan full_plan(size_t rows)
{
    return (iv_exec_plan){
        .rows = rows, .reverse = true, .tangent_rows = 3 * rows, .tangents = 3, .lanes = 2};
}

/* Random parameters, inputs and seeds, the same for every table. */
static void fill_net(net *n, uint64_t seed)
{
    const iv_graph *graph = n->graph;
    for (size_t i = 0; i < graph->n_params; i++) {
        double *w = noises(graph->params[i].size, seed + i);
        net_set_param(n, graph->params[i].name, w);
        free(w);
    }
    for (size_t i = 0; i < graph->n_inputs; i++) {
        const iv_value *value = &graph->values[graph->inputs[i]];
        double *x = noises(n->rows * value->size, seed + 100 + i);
        net_set(n, value->name, x);
        free(x);
    }
}

static void seed_net(net *n, uint64_t seed)
{
    for (size_t i = 0; i < n->graph->n_outputs; i++) {
        const iv_value *value = &n->graph->values[n->graph->outputs[i]];
        double *u = noises(n->rows * value->size, seed + 200 + i);
        net_seed(n, value->name, u);
        free(u);
    }
}

/* All outputs, one behind the other; released with free. */
static double *outputs_of(net *n, size_t *count)
{
    size_t room = 0, at = 0;
    net_forward(n);
    for (size_t i = 0; i < n->graph->n_outputs; i++) {
        room += n->rows * n->graph->values[n->graph->outputs[i]].size;
    }
    double *all = numbers(room);
    for (size_t i = 0; i < n->graph->n_outputs; i++) {
        size_t v = n->graph->outputs[i], size = n->rows * n->graph->values[v].size;
        n->k->download(all + at, iv_exec_value(n->exec, v), size);
        at += size;
    }
    *count = room;
    return all;
}

/* The seeds of seed_net, in the order of outputs_of. */
static double *seeds_of(const net *n, uint64_t seed, size_t count)
{
    double *all = numbers(count);
    for (size_t i = 0, at = 0; i < n->graph->n_outputs; i++) {
        size_t size = n->rows * n->graph->values[n->graph->outputs[i]].size;
        double *u = noises(size, seed + 200 + i);
        memcpy(all + at, u, size * sizeof *u);
        at += size;
        free(u);
    }
    return all;
}

/* The gradient at `count` doubles behind `at` by central differences of the outputs; they are
 * weighted only after subtracting, so that rounding stays at eps |y| / step, 1e-10. */
static void differences(net *n, uint64_t seed, void *at, const char *what, const double *gradient,
                        size_t count)
{
    const double step = 1e-6;
    double *values = download(n->k, at, count), *want = numbers(count);
    for (size_t i = 0; i < count; i++) {
        double middle = values[i], *side[2];
        size_t n_outputs = 0;
        for (size_t s = 0; s < 2; s++) {
            values[i] = middle + (s == 0 ? step : -step);
            n->k->upload(at, values, count);
            side[s] = outputs_of(n, &n_outputs);
        }
        values[i] = middle;
        n->k->upload(at, values, count);
        double *u = seeds_of(n, seed, n_outputs);
        for (size_t j = 0; j < n_outputs; j++) {
            want[i] += u[j] * ((side[0][j] - side[1][j]) / (2 * step));
        }
        free(u);
        free(side[0]);
        free(side[1]);
    }
    assert_near(what, gradient, want, count, 1e-8);
    free(values);
    free(want);
}

static void test_differences(void **state)
{
    (void)state;
    iv_graph *graph = composite();
    iv_exec_plan plan = full_plan(ROWS);
    net n = net_open(graph, iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL), &plan);
    fill_net(&n, 1);
    n.k->fill(graph->param_elements, 7, n.grads); /* every gradient is written, the dead one too */
    net_forward(&n);
    seed_net(&n, 1);
    net_reverse(&n);
    for (size_t i = 0; i < graph->n_inputs; i++) {
        size_t v = graph->inputs[i];
        double *g = net_gradient(&n, graph->values[v].name);
        differences(&n, 1, iv_exec_value(n.exec, v), graph->values[v].name, g,
                    ROWS * graph->values[v].size);
        free(g);
    }
    for (size_t i = 0; i < graph->n_params; i++) {
        const iv_param *p = &graph->params[i];
        double *g = net_param_gradient(&n, p->name);
        differences(&n, 1, iv_at(n.k, n.params, p->offset), p->name, g, p->size);
        if (strncmp(p->name, "dead", 4) == 0) assert_true(g[0] == 0 && g[p->size - 1] == 0);
        free(g);
    }
    net_close(&n);
    iv_graph_free(graph);
}

/* Without to_inputs the parameters' gradients are the same, and the inputs' are left alone. */
static void test_without_inputs(void **state)
{
    (void)state;
    iv_graph *graph = composite();
    iv_exec_plan plan = full_plan(ROWS);
    net n = net_open(graph, iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL), &plan);
    fill_net(&n, 2);
    net_forward(&n);
    seed_net(&n, 2);
    net_reverse(&n);
    double *before = download(n.k, n.grads, graph->param_elements);
    n.k->fill(graph->param_elements, 7, n.grads);
    n.k->fill(ROWS * 6, 3, iv_exec_gradient(n.exec, graph->inputs[0]));
    seed_net(&n, 2);
    iv_exec_reverse(n.exec, n.params, 0, ROWS, false, 1);
    for (size_t t = iv_exec_param_tasks(n.exec); t-- > 0;) {
        iv_exec_param_gradient(n.exec, n.params, n.grads, ROWS, t);
    }
    for (size_t i = 0; i < graph->n_params; i++) {
        double *after = net_param_gradient(&n, graph->params[i].name);
        assert_memory_equal(after, before + graph->params[i].offset,
                            graph->params[i].size * sizeof *after);
        free(after);
    }
    double *x = net_gradient(&n, "x");
    for (size_t i = 0; i < ROWS * 6; i++) assert_true(x[i] == 3);
    free(x);
    free(before);
    net_close(&n);
    iv_graph_free(graph);
}

/* <J v, u> = <v, J^T u> for each tangent, both inputs moving. */
static void test_adjoint(void **state)
{
    (void)state;
    iv_graph *graph = composite();
    iv_exec_plan plan = full_plan(ROWS);
    net n = net_open(graph, iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL), &plan);
    fill_net(&n, 3);
    net_forward(&n);
    seed_net(&n, 3);
    net_reverse(&n);
    double left[3] = {0}, right[3] = {0}, scale = 0;
    for (size_t i = 0; i < graph->n_inputs; i++) {
        const iv_value *value = &graph->values[graph->inputs[i]];
        size_t count = ROWS * value->size;
        double *v = noises(3 * count, 300 + i), *g = net_gradient(&n, value->name);
        n.k->upload(iv_exec_tangent_value(n.exec, graph->inputs[i], 1), v, 3 * count);
        for (size_t j = 0; j < 3 * count; j++) {
            right[j / count] += v[j] * g[j % count];
            scale += fabs(v[j] * g[j % count]);
        }
        free(v);
        free(g);
    }
    iv_exec_tangent(n.exec, n.params, 0, ROWS, 3, 1);
    for (size_t i = 0; i < graph->n_outputs; i++) {
        size_t count = ROWS * graph->values[graph->outputs[i]].size;
        double *u = noises(count, 203 + i);
        double *t = download(n.k, iv_exec_tangent_value(n.exec, graph->outputs[i], 1), 3 * count);
        for (size_t j = 0; j < 3 * count; j++) left[j / count] += t[j] * u[j % count];
        free(u);
        free(t);
    }
    for (size_t t = 0; t < 3; t++) {
        assert_true(fabs(right[t]) > 1e-3);
        if (!(fabs(left[t] - right[t]) <= 1e-12 * scale)) {
            fail_msg("<Jv, u> = %.17g, <v, J^T u> = %.17g", left[t], right[t]);
        }
    }
    assert_null(iv_exec_tangent_value(n.exec, net_value(&n, "flat"), 0));
    net_close(&n);
    iv_graph_free(graph);
}

/* All bytes that the passes leave: outputs, inputs' gradients, parameters' gradients, tangents. */
static unsigned char *everything(net *n, const size_t *cuts, size_t n_cuts, size_t *length)
{
    const iv_graph *graph = n->graph;
    const iv_kernels *k = n->k;
    size_t rows = n->rows, room = graph->param_elements, at = 0;
    for (size_t i = 0; i < graph->n_values; i++) room += 5 * rows * graph->values[i].size;
    unsigned char *all = calloc(room, k->size);
    assert_non_null(all);
    fill_net(n, 4);
    for (size_t t = iv_exec_prepare_tasks(n->exec); t-- > 0;) {
        iv_exec_prepare(n->exec, n->params, t);
    }
    seed_net(n, 4);
    for (size_t c = 0; c + 1 < n_cuts; c++) {
        iv_exec_forward(n->exec, n->params, cuts[c], cuts[c + 1] - cuts[c], c % 2);
    }
    for (size_t c = 0; c + 1 < n_cuts; c++) {
        iv_exec_reverse(n->exec, n->params, cuts[c], cuts[c + 1] - cuts[c], true, c % 2);
    }
    for (size_t c = 0; c + 1 < n_cuts; c++) {
        size_t first = cuts[c], count = cuts[c + 1] - cuts[c], lane = c % 2;
        for (size_t i = 0; i < graph->n_inputs; i++) {
            size_t v = graph->inputs[i], size = graph->values[v].size;
            void *tangent = iv_exec_tangent_value(n->exec, v, lane);
            double *values = noises(3 * rows * size, 500 + i);
            for (size_t t = 0; t < 3; t++) {
                k->upload(iv_at(k, tangent, t * count * size), values + (t * rows + first) * size,
                          count * size);
            }
            free(values);
        }
        iv_exec_tangent(n->exec, n->params, first, count, 3, lane);
        for (size_t i = 0; i < graph->n_outputs; i++) { /* in the order of an uncut run */
            size_t size = graph->values[graph->outputs[i]].size;
            void *tangent = iv_exec_tangent_value(n->exec, graph->outputs[i], lane);
            for (size_t t = 0; t < 3; t++) {
                memcpy(all + (at + (t * rows + first) * size) * k->size,
                       iv_at(k, tangent, t * count * size), count * size * k->size);
            }
            at += 3 * rows * size;
        }
        at = 0;
    }
    for (size_t i = 0; i < graph->n_outputs; i++) {
        at += 3 * rows * graph->values[graph->outputs[i]].size;
    }
    size_t tasks = iv_exec_param_tasks(n->exec);
    for (size_t t = 0; t < tasks; t++) {
        size_t task = n_cuts % 2 == 0 ? t : tasks - 1 - t;
        iv_exec_param_gradient(n->exec, n->params, n->grads, rows, task);
    }
    for (size_t i = 0; i < graph->n_inputs + graph->n_outputs; i++) {
        bool is_input = i < graph->n_inputs;
        size_t v = is_input ? graph->inputs[i] : graph->outputs[i - graph->n_inputs];
        size_t count = rows * graph->values[v].size;
        const void *from = is_input ? iv_exec_gradient(n->exec, v) : iv_exec_value(n->exec, v);
        memcpy(all + at * k->size, from, count * k->size);
        at += count;
    }
    for (size_t i = 0; i < graph->n_params; i++) {
        memcpy(all + at * k->size, iv_at(k, n->grads, graph->params[i].offset),
               graph->params[i].size * k->size);
        at += graph->params[i].size;
    }
    *length = at * k->size;
    return all;
}

/* Wide enough that weight gradients fall into several tasks. */
static iv_graph *wide_graph(void)
{
    iv_graph *graph;
    MUST(iv_graph_new(&graph, err));
    input(graph, "x", (iv_shape){1, {40}});
    dense(graph, "h", "x", 130, IV_ACT_RELU, 0); /* 9 tiles in 7 blocks */
    dense(graph, "out", "h", 50, IV_ACT_NONE, 0);
    output(graph, "out");
    return graph;
}

static void same_bytes(const iv_graph *graph, size_t rows, size_t least_tasks)
{
    const size_t cuts[][6] = {{0, rows}, {0, 1, rows}, {0, 3, 4, rows}, {0, 2, 3, 4, 5, rows}};
    const size_t n_cuts[] = {2, 3, 4, 6};
    for (size_t t = 0; kernels_at(t) != NULL; t++) {
        unsigned char *first = NULL;
        size_t length = 0;
        for (size_t c = 0; c < 4; c++) {
            iv_exec_plan plan = full_plan(rows);
            net n = net_open(graph, kernels_at(t), &plan);
            size_t other;
            unsigned char *all = everything(&n, cuts[c], n_cuts[c], &other);
            assert_true(iv_exec_param_tasks(n.exec) >= least_tasks);
            if (first == NULL) {
                first = all;
                length = other;
            } else {
                assert_int_equal(length, other);
                if (memcmp(first, all, length) != 0) {
                    fail_msg("%s %s: cutting the rows in way %zu changes bytes", n.k->name,
                             n.k->isa, c);
                }
                free(all);
            }
            net_close(&n);
        }
        free(first);
    }
}

static void test_ranges(void **state)
{
    (void)state;
    iv_graph *graph = composite();
    same_bytes(graph, 37, graph->n_params);
    iv_graph_free(graph);
    graph = wide_graph();
    same_bytes(graph, 150, graph->n_params + 6);
    iv_graph_free(graph);
}

/* Two threads on the halves of a batch, each in a lane of its own. */
typedef struct half {
    net *n;
    size_t first, count, lane;
    double *jacobian; /* of all rows */
} half;

static void keep_rows(void *user, size_t first_row, size_t rows, size_t columns,
                      const void *jacobian, size_t stride)
{
    const half *h = user;
    size_t row = stride / rows;
    for (size_t j = 0; j < columns; j++) {
        for (size_t r = 0; r < rows; r++) {
            h->n->k->download(h->jacobian + ((first_row + r) * columns + j) * row,
                              iv_at(h->n->k, jacobian, j * stride + r * row), row);
        }
    }
}

static void *run_half(void *argument)
{
    const half *h = argument;
    net *n = h->n;
    size_t output = n->graph->outputs[0];
    void *buffer = NULL;
    iv_exec_forward(n->exec, n->params, h->first, h->count, h->lane);
    iv_exec_reverse(n->exec, n->params, h->first, h->count, true, h->lane);
    if (n->k->alloc(&buffer, iv_exec_jacobian_buffer(n->exec, output, 4), "a Jacobian", NULL) ==
        ISOVAE_OK) {
        iv_exec_jacobian(n->exec, n->params, output, h->first, h->count, h->lane, buffer, 4,
                         keep_rows, argument);
        n->k->release(buffer);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    enum { BATCH = 24 };
    iv_graph *graph = composite();
    iv_exec_plan plan = full_plan(BATCH);
    net n[2];
    size_t jacobian_size = BATCH * 6 * graph->values[graph->outputs[0]].size;
    double *jacobian[2], *gradient[2];
    for (size_t i = 0; i < 2; i++) {
        n[i] = net_open(graph, iv_kernels_get(IV_PRECISION_F32, NULL), &plan);
        fill_net(&n[i], 8);
        iv_exec_prepare_all(n[i].exec, n[i].params);
        seed_net(&n[i], 8);
        jacobian[i] = numbers(jacobian_size);
    }
    half halves[2] = {{&n[0], 0, 11, 0, jacobian[0]}, {&n[0], 11, BATCH - 11, 1, jacobian[0]}};
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_half, &halves[i]), 0);
    }
    for (size_t i = 0; i < 2; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    half whole = {&n[1], 0, BATCH, 0, jacobian[1]};
    run_half(&whole);
    for (size_t i = 0; i < 2; i++) gradient[i] = net_gradient(&n[i], "x");
    assert_memory_equal(gradient[0], gradient[1], BATCH * 6 * sizeof *gradient[0]);
    assert_memory_equal(jacobian[0], jacobian[1], jacobian_size * sizeof *jacobian[0]);
    double sum = 0;
    for (size_t i = 0; i < jacobian_size; i++) sum += fabs(jacobian[0][i]);
    assert_true(sum > 1);
    for (size_t i = 0; i < 2; i++) {
        free(gradient[i]);
        free(jacobian[i]);
        net_close(&n[i]);
    }
    iv_graph_free(graph);
}

/* Weight gradients in many tasks against the f64 reference with its own sums, and a shared weight.
 */
static void test_tasks_cover(void **state)
{
    (void)state;
    iv_graph *graph = wide_graph();
    iv_exec_plan plan = full_plan(150);
    net exact = net_open(graph, iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL), &plan);
    fill_net(&exact, 5);
    net_forward(&exact);
    seed_net(&exact, 5);
    net_reverse(&exact);
    double *x = net_get(&exact, "x"), *h = net_get(&exact, "h"), *w = numbers(130 * 40);
    double *gh = net_gradient(&exact, "h"); /* in place: that before the activation */
    for (size_t r = 0; r < 150; r++) {
        for (size_t i = 0; i < 130; i++) {
            assert_true(h[r * 130 + i] > 0 || gh[r * 130 + i] == 0);
            for (size_t j = 0; j < 40; j++) w[i * 40 + j] += gh[r * 130 + i] * x[r * 40 + j];
        }
    }
    double *g = net_param_gradient(&exact, "h.weight");
    assert_near("dW by hand", g, w, 130 * 40, 1e-13);
    for (size_t t = 1; kernels_at(t) != NULL; t++) {
        net n = net_open(graph, kernels_at(t), &plan);
        fill_net(&n, 5);
        net_forward(&n);
        seed_net(&n, 5);
        net_reverse(&n);
        for (size_t i = 0; i < graph->n_params; i++) {
            double *got = net_param_gradient(&n, graph->params[i].name);
            double *want = net_param_gradient(&exact, graph->params[i].name);
            assert_near(graph->params[i].name, got, want, graph->params[i].size, 2e-6);
            free(got);
            free(want);
        }
        net_close(&n);
    }
    free(x);
    free(h);
    free(w);
    free(gh);
    free(g);
    net_close(&exact);
    iv_graph_free(graph);
}

static void test_fuse(void **state)
{
    (void)state;
    static const char *const acts[] = {"relu",     "leaky_relu", "elu",  "silu", "gelu",
                                       "softplus", "sigmoid",    "tanh", "exp"};
    for (size_t a = 0; a < sizeof acts / sizeof acts[0]; a++) {
        iv_graph *graphs[2];
        net nets[2];
        iv_exec_plan plan = full_plan(ROWS);
        for (size_t i = 0; i < 2; i++) {
            MUST(iv_graph_new(&graphs[i], err));
            input(graphs[i], "x", (iv_shape){1, {6}});
            dense(graphs[i], "a", "x", 9, IV_ACT_NONE, 0);
            iv_node_spec act = spec_of(graphs[i], acts[a], "b", "a", NULL, NULL);
            if (a < 3) act.attributes.parameter = 0.375;
            add_node(graphs[i], &act);
            dense(graphs[i], "c", "b", 4, IV_ACT_NONE, 0); /* stays: read by two */
            plain(graphs[i], "add", "c2", "c", "c");
            plain(graphs[i], acts[a], "d", "c", NULL);
            plain(graphs[i], "add", "e", "c2", "d");
            dense(graphs[i], "f", "e", 3, IV_ACT_NONE, 0); /* stays: an output */
            plain(graphs[i], acts[a], "g", "f", NULL);
            output(graphs[i], "f");
            output(graphs[i], "g");
        }
        iv_graph_fuse(graphs[1]);
        assert_int_equal(graphs[0]->n_nodes, 8);
        assert_int_equal(graphs[1]->n_nodes, 7);
        assert_int_equal(graphs[1]->n_values, graphs[0]->n_values - 1);
        assert_true(iv_graph_find_value(graphs[1], "a") == SIZE_MAX);
        for (size_t i = 0; i < 2; i++) {
            nets[i] = net_open(graphs[i], iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL), &plan);
            fill_net(&nets[i], 6);
            double *w = download(nets[i].k, nets[i].params, graphs[i]->param_elements);
            for (size_t j = 0; j < graphs[i]->param_elements; j++) w[j] *= 0.5; /* for exp of exp */
            nets[i].k->upload(nets[i].params, w, graphs[i]->param_elements);
            free(w);
            net_forward(&nets[i]);
            seed_net(&nets[i], 6);
            net_reverse(&nets[i]);
            double *v = noises(3 * ROWS * 6, 9);
            nets[i].k->upload(iv_exec_tangent_value(nets[i].exec, graphs[i]->inputs[0], 0), v,
                              3 * ROWS * 6);
            iv_exec_tangent(nets[i].exec, nets[i].params, 0, ROWS, 3, 0);
            free(v);
        }
        double *y[2], *g[2], *w[2], *t[2];
        for (size_t i = 0; i < 2; i++) {
            y[i] = net_get(&nets[i], "g");
            g[i] = net_gradient(&nets[i], "x");
            w[i] = download(nets[i].k, nets[i].grads, graphs[i]->param_elements);
            t[i] = download(nets[i].k,
                            iv_exec_tangent_value(nets[i].exec, net_value(&nets[i], "g"), 0),
                            3 * ROWS * 3);
        }
        assert_near(acts[a], y[1], y[0], ROWS * 3, 1e-15);
        assert_near(acts[a], g[1], g[0], ROWS * 6, 1e-15);
        assert_near(acts[a], w[1], w[0], graphs[0]->param_elements, 1e-15);
        assert_near(acts[a], t[1], t[0], 3 * ROWS * 3, 1e-15);
        for (size_t i = 0; i < 2; i++) {
            free(y[i]);
            free(g[i]);
            free(w[i]);
            free(t[i]);
            net_close(&nets[i]);
            iv_graph_free(graphs[i]);
        }
    }
}

/* A negative slope: the sign of y no longer tells that of its argument. */
static void test_negative_slope(void **state)
{
    (void)state;
    iv_graph *graph;
    MUST(iv_graph_new(&graph, err));
    input(graph, "x", (iv_shape){1, {4}});
    dense(graph, "y", "x", 7, IV_ACT_LEAKY_RELU, -0.5);
    output(graph, "y");
    iv_exec_plan plan = full_plan(ROWS);
    net n = net_open(graph, iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL), &plan);
    fill_net(&n, 11);
    net_forward(&n);
    seed_net(&n, 11);
    net_reverse(&n);
    double *g = net_gradient(&n, "x");
    differences(&n, 11, iv_exec_value(n.exec, graph->inputs[0]), "x", g, ROWS * 4);
    free(g);
    net_close(&n);
    iv_graph_free(graph);
}

/* The Jacobian, collected: rows x outputs x latents. */
typedef struct collected {
    const iv_kernels *k;
    size_t columns, size, next_row, most_rows;
    double *all;
} collected;

static void collect(void *user, size_t first_row, size_t rows, size_t columns, const void *jacobian,
                    size_t stride)
{
    collected *c = user;
    assert_int_equal(first_row, c->next_row);
    assert_int_equal(columns, c->columns);
    assert_true(rows > 0 && rows <= c->most_rows);
    for (size_t j = 0; j < columns; j++) {
        double *block = download(c->k, iv_at(c->k, jacobian, j * stride), rows * c->size);
        for (size_t r = 0; r < rows; r++) {
            for (size_t i = 0; i < c->size; i++) {
                c->all[((first_row + r) * c->size + i) * columns + j] = block[r * c->size + i];
            }
        }
        free(block);
    }
    c->next_row += rows;
}

static void test_jacobian(void **state)
{
    (void)state;
    const size_t plans[][3] = {/* tangent_rows, tangents, buffer_rows */
                               {60, 6, 10}, {6, 6, 1}, {8, 2, 3}, {7, 4, 5}, {5, 1, 2}, {3, 9, 2}};
    iv_graph *graph = composite();
    size_t outputs[] = {graph->outputs[0], graph->outputs[1]};
    for (size_t o = 0; o < 2; o++) {
        size_t size = graph->values[outputs[o]].size;
        double *want = numbers(ROWS * size * 6), *got = numbers(ROWS * size * 6);
        for (size_t p = 0; p < sizeof plans / sizeof plans[0]; p++) {
            iv_exec_plan plan = {.rows = ROWS,
                                 .tangent_rows = plans[p][0],
                                 .tangents = plans[p][1],
                                 .reverse = p == 0};
            net n = net_open(graph, iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL), &plan);
            fill_net(&n, 7);
            net_forward(&n);
            n.k->fill(2 * plans[p][0], 5, iv_exec_tangent_value(n.exec, graph->inputs[1], 0));
            void *buffer;
            MUST(n.k->alloc(&buffer, iv_exec_jacobian_buffer(n.exec, outputs[o], plans[p][2]),
                            "a Jacobian", err));
            collected c = {.k = n.k,
                           .columns = 6,
                           .size = size,
                           .most_rows = plans[p][2],
                           .all = p == 0 ? want : got};
            iv_exec_jacobian(n.exec, n.params, outputs[o], 0, ROWS, 0, buffer, plans[p][2], collect,
                             &c);
            assert_int_equal(c.next_row, ROWS);
            if (p > 0) {
                assert_memory_equal(got, want, ROWS * size * 6 * sizeof *got);
            } else { /* against reverse: row i of J is the gradient of output i */
                for (size_t i = 0; i < size; i++) {
                    for (size_t q = 0; q < 2; q++) {
                        size_t count = graph->values[outputs[q]].size;
                        double *u = numbers(ROWS * count);
                        for (size_t r = 0; q == o && r < ROWS; r++) u[r * count + i] = 1;
                        net_seed(&n, graph->values[outputs[q]].name, u);
                        free(u);
                    }
                    iv_exec_reverse(n.exec, n.params, 0, ROWS, true, 0);
                    double *g = net_gradient(&n, "x"), *row = numbers(ROWS * 6);
                    for (size_t r = 0; r < ROWS; r++) {
                        memcpy(row + r * 6, want + (r * size + i) * 6, 6 * sizeof *row);
                    }
                    assert_near("a row of J", row, g, ROWS * 6, 1e-13);
                    free(g);
                    free(row);
                }
            }
            n.k->release(buffer);
            net_close(&n);
        }
        free(want);
        free(got);
    }
    iv_graph_free(graph);
}

/* An output that does not follow the latents has a Jacobian of zeros. */
static void test_still_output(void **state)
{
    (void)state;
    iv_graph *graph;
    MUST(iv_graph_new(&graph, err));
    input(graph, "z", (iv_shape){1, {2}});
    input(graph, "c", (iv_shape){1, {3}});
    plain(graph, "tanh", "still", "c", NULL);
    plain(graph, "exp", "moving", "z", NULL);
    output(graph, "moving");
    output(graph, "still");
    iv_exec_plan plan = {.rows = 1, .tangent_rows = 2, .tangents = 2};
    net n = net_open(graph, iv_kernels_get(IV_PRECISION_F32_REFERENCE, NULL), &plan);
    net_forward(&n);
    double all[6] = {1, 1, 1, 1, 1, 1};
    size_t still = net_value(&n, "still");
    n.k->fill(6, 9, iv_exec_tangent_value(n.exec, still, 0));
    void *buffer;
    MUST(n.k->alloc(&buffer, iv_exec_jacobian_buffer(n.exec, still, 1), "a Jacobian", err));
    collected c = {.k = n.k, .columns = 2, .size = 3, .most_rows = 1, .all = all};
    iv_exec_jacobian(n.exec, n.params, still, 0, 1, 0, buffer, 1, collect, &c);
    assert_int_equal(c.next_row, 1);
    for (size_t i = 0; i < 6; i++) assert_true(all[i] == 0);
    n.k->release(buffer);
    net_close(&n);
    iv_graph_free(graph);
}

static void test_layout(void **state)
{
    (void)state;
    iv_graph *graph = composite();
    size_t end = iv_graph_layout(graph, 33), at = 48, sum = 48;
    for (size_t i = 0; i < graph->n_params; i++) {
        assert_int_equal(graph->params[i].offset % 16, 0);
        assert_true(graph->params[i].offset >= at);
        at = graph->params[i].offset + graph->params[i].size;
        sum += (graph->params[i].size + 15) / 16 * 16;
    }
    assert_int_equal(end, sum);
    assert_int_equal(graph->param_elements, end);
    iv_graph_free(graph);
}

/* Shapes of parameters as a file would give them. */
static bool shape_of(void *user, const char *name, iv_shape *out)
{
    const iv_graph *graph = user;
    size_t i = iv_graph_find_param(graph, name);
    if (i == SIZE_MAX) return false;
    *out = graph->params[i].shape;
    return true;
}

/* For JSON, whose graphs have one input: every kind with attributes, and a shared weight. */
static iv_graph *single_input(void)
{
    iv_graph *graph;
    MUST(iv_graph_new(&graph, err));
    input(graph, "x", (iv_shape){3, {2, 3, 2}});
    iv_node_spec split = spec_of(graph, "split", "cut", "x", NULL, NULL);
    split.n_outputs = 2;
    split.outputs[0] = "p";
    split.outputs[1] = "q";
    split.attributes = (iv_attributes){.axis = 2, .n_sizes = 2, .sizes = {1, 2}};
    add_node(graph, &split);
    plain(graph, "leaky_relu", "lp", "p", NULL);
    iv_node_spec elu = spec_of(graph, "elu", "eq", "q", NULL, NULL);
    elu.attributes.parameter = 0.1; /* not a round number in binary */
    add_node(graph, &elu);
    iv_node_spec join = spec_of(graph, "concat", "j", "eq", "lp", NULL);
    join.attributes.axis = 2;
    add_node(graph, &join);
    plain(graph, "multiply", "m", "j", "p");
    iv_node_spec reshape = spec_of(graph, "reshape", "v", "m", NULL, NULL);
    reshape.attributes.shape = (iv_shape){1, {12}};
    add_node(graph, &reshape);
    dense(graph, "h", "v", 12, IV_ACT_LEAKY_RELU, 0.3);
    iv_node_spec again = spec_of(graph, "dense", "h2", "h", NULL, NULL);
    again.units = 12;
    again.params[0] = "h.weight";
    again.params[1] = "";
    add_node(graph, &again);
    plain(graph, "add", "out", "h2", "v");
    output(graph, "h");
    output(graph, "out");
    return graph;
}

static void test_json_round_trip(void **state)
{
    (void)state;
    iv_graph *graph = single_input(), *back;
    const char *outputs[] = {"h", "out"};
    iv_shape shape = {3, {2, 3, 2}};
    json_t *json = iv_graph_to_json(graph);
    assert_non_null(json);
    char *text = json_dumps(json, 0);
    assert_non_null(text);
    json_t *read = json_loads(text, 0, NULL);
    assert_non_null(read);
    MUST(iv_graph_from_json(read, "x", &shape, outputs, 2, shape_of, graph, &back, err));
    json_t *second = iv_graph_to_json(back);
    assert_true(json_equal(json, second));
    assert_int_equal(back->n_nodes, graph->n_nodes);
    assert_int_equal(back->n_params, graph->n_params);
    assert_int_equal(back->param_elements, graph->param_elements);
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const iv_attributes *a = &graph->nodes[i].attributes, *b = &back->nodes[i].attributes;
        assert_true(graph->nodes[i].kind == back->nodes[i].kind);
        assert_true(a->act == b->act && a->parameter == b->parameter && a->axis == b->axis);
    }
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F32_REFERENCE, NULL);
    iv_exec_plan plan = full_plan(ROWS);
    net one = net_open(graph, k, &plan), two = net_open(back, k, &plan);
    const size_t cuts[] = {0, ROWS};
    size_t length, other;
    unsigned char *a = everything(&one, cuts, 2, &length), *b = everything(&two, cuts, 2, &other);
    assert_int_equal(length, other);
    assert_memory_equal(a, b, length);
    free(a);
    free(b);
    net_close(&one);
    net_close(&two);
    json_decref(json);
    json_decref(read);
    json_decref(second);
    free(text);
    iv_graph_free(graph);
    iv_graph_free(back);
}

static bool tensor_shape(void *user, const char *name, iv_shape *out)
{
    const json_t *dims = json_object_get(user, name);
    if (!json_is_array(dims) || json_array_size(dims) > IV_MAX_RANK) return false;
    out->rank = json_array_size(dims);
    for (size_t i = 0; i < out->rank; i++) {
        out->dim[i] = (size_t)json_integer_value(json_array_get(dims, i));
    }
    return true;
}

/* The graphs of the reference models come back as the same JSON. */
static void test_reference_graphs(void **state)
{
    (void)state;
    static const char *const models[] = {"a_toy_random", "b_toy_trained", "c_bce_random"};
    for (size_t i = 0; i < 3; i++) {
        char name[64], path[1024];
        snprintf(name, sizeof name, "models/%s/arch.json", models[i]);
        if (access(reference_path(name, path), R_OK) != 0) skip();
        json_t *arch = json_load_file(path, 0, NULL);
        assert_non_null(arch);
        iv_shape shape = {
            1,
            {(size_t)json_integer_value(json_array_get(json_object_get(arch, "input_shape"), 0))}};
        const char *outputs[] = {"mu", "logvar"};
        iv_graph *graph;
        json_t *nodes = json_object_get(arch, "encoder");
        MUST(iv_graph_from_json(nodes, "x", &shape, outputs, 2, tensor_shape,
                                json_object_get(arch, "tensors"), &graph, err));
        json_t *back = iv_graph_to_json(graph);
        assert_true(json_equal(nodes, back));
        json_decref(back);
        iv_graph_free(graph);
        json_decref(arch);
    }
}

/* Each: a list of nodes that must be refused, and a piece of the message. The input is x (6). */
static const struct {
    const char *nodes, *message;
} hostile[] = {
    {"{}", "no list"},
    {"[1]", "node 0"},
    {"[{}]", "node 0"},
    {"[{'name': 3, 'kind': 'relu', 'inputs': ['x'], 'output': 'y'}]", "node 0"},
    {"[{'name': '', 'kind': 'relu', 'inputs': ['x'], 'output': 'y'}]", "no name"},
    {"[{'name': 'a\\nb', 'kind': 'relu', 'inputs': ['x'], 'output': 'y'}]", "control character"},
    {"[{'name': 'a\\u007fb', 'kind': 'relu', 'inputs': ['x'], 'output': 'y'}]",
     "control character"},
    {"[{'name': 'a\\u0000b', 'kind': 'relu', 'inputs': ['x'], 'output': 'y'}]", "node 0"},
    {"[{'name': 'n', 'inputs': ['x'], 'output': 'y'}]", "node 'n': 'kind'"},
    {"[{'name': 'n', 'kind': 'teleport', 'inputs': ['x'], 'output': 'y'}]", "'teleport'"},
    {"[{'name': 'n', 'kind': 'relu', 'inputs': 'x', 'output': 'y'}]", "node 'n': 'inputs'"},
    {"[{'name': 'n', 'kind': 'relu', 'inputs': [], 'output': 'y'}]", "node 'n': 'inputs'"},
    {"[{'name': 'n', 'kind': 'relu', 'inputs': [7], 'output': 'y'}]", "input 0"},
    {"[{'name': 'n', 'kind': 'relu', 'inputs': ['x', 'x'], 'output': 'y'}]", "1 to 1 inputs"},
    {"[{'name': 'n', 'kind': 'add', 'inputs': ['x'], 'output': 'y'}]", "node 'n': it takes 2"},
    {"[{'name': 'n', 'kind': 'concat', 'inputs': ['x','x','x','x','x','x','x','x','x'],"
     " 'output': 'y'}]",
     "1 to 8"},
    {"[{'name': 'n', 'kind': 'relu', 'inputs': ['w'], 'output': 'y'}]", "node 'n': its input 'w'"},
    {"[{'name': 'n', 'kind': 'relu', 'inputs': ['y'], 'output': 'y'}]", "no cycle"},
    {"[{'name': 'a', 'kind': 'relu', 'inputs': ['q'], 'output': 'p'},"
     " {'name': 'b', 'kind': 'relu', 'inputs': ['p'], 'output': 'q'}]",
     "node 'a': its input 'q'"},
    {"[{'name': 'n', 'kind': 'relu', 'inputs': ['x']}]", "'output'"},
    {"[{'name': 'n', 'kind': 'relu', 'inputs': ['x'], 'output': 'y', 'outputs': ['y']}]", "either"},
    {"[{'name': 'n', 'kind': 'relu', 'inputs': ['x'], 'output': 4}]", "output 0"},
    {"[{'name': 'n', 'kind': 'relu', 'inputs': ['x'], 'outputs': ['y', 'z']}]", "1 to 1 outputs"},
    {"[{'name': 'n', 'kind': 'relu', 'inputs': ['x'], 'output': 'x'}]", "value 'x' already"},
    {"[{'name': 'n', 'kind': 'split', 'inputs': ['x'], 'outputs': ['y', 'y']}]",
     "value 'y' already"},
    {"[{'name': 'n', 'kind': 'relu', 'inputs': ['x'], 'output': 'y'},"
     " {'name': 'n', 'kind': 'relu', 'inputs': ['y'], 'output': 'z'}]",
     "node of that name"},
    {"[{'name': 'n', 'kind': 'relu', 'inputs': ['x'], 'output': 'y', 'color': 1}]", "'color'"},
    {"[{'name': 'n', 'kind': 'relu', 'inputs': ['x'], 'output': 'y', 'attributes': 1}]", "object"},
    {"[{'name': 'n', 'kind': 'relu', 'inputs': ['x'], 'output': 'y', 'attributes': {'alpha': 1}}]",
     "no attribute 'alpha'"},
    {"[{'name': 'n', 'kind': 'elu', 'inputs': ['x'], 'output': 'y', 'attributes': {'alpha': 'a'}}]",
     "must be a number"},
    {"[{'name': 'n', 'kind': 'relu', 'inputs': ['x'], 'output': 'y', 'params': {'weight': 'w'}}]",
     "no parameter 'weight'"},
    {"[{'name': 'n', 'kind': 'dense', 'inputs': ['x'], 'output': 'y', 'params': []}]", "object"},
    {"[{'name': 'n', 'kind': 'dense', 'inputs': ['x'], 'output': 'y'}]", "needs the parameter"},
    {"[{'name': 'n', 'kind': 'dense', 'inputs': ['x'], 'output': 'y', 'params': {'bias': 'b4'}}]",
     "needs the parameter 'weight'"},
    {"[{'name': 'n', 'kind': 'dense', 'inputs': ['x'], 'output': 'y', 'params': {'weight': 1}}]",
     "name of a tensor"},
    {"[{'name': 'n', 'kind': 'dense', 'inputs': ['x'], 'output': 'y', 'params': {'weight': 'no'}}]",
     "no tensor 'no'"},
    {"[{'name': 'n', 'kind': 'dense', 'inputs': ['x'], 'output': 'y', 'params': {'weight': "
     "'w45'}}]",
     "is 4x5, but must be 4x6"},
    {"[{'name': 'n', 'kind': 'dense', 'inputs': ['x'], 'output': 'y', 'params': {'weight': 'b4'}}]",
     "two axes"},
    {"[{'name': 'n', 'kind': 'dense', 'inputs': ['x'], 'output': 'y',"
     " 'params': {'weight': 'w46', 'bias': 'b6'}}]",
     "is 6, but must be 4"},
    {"[{'name': 'n', 'kind': 'dense', 'inputs': ['x'], 'output': 'y',"
     " 'params': {'weight': 'w46', 'bias': 'w46'}}]",
     "both"},
    {"[{'name': 'n', 'kind': 'dense', 'inputs': ['x'], 'output': 'y', 'params': {'weight': "
     "'w06'}}]",
     "empty"},
    {"[{'name': 'n', 'kind': 'dense', 'inputs': ['x'], 'output': 'y', 'params': {'weight': "
     "'huge'}}]",
     "too large"},
    {"[{'name': 'n', 'kind': 'dense', 'inputs': ['x'], 'output': 'y', 'params': {'weight': 'w46'},"
     " 'attributes': {'activation': 'warp'}}]",
     "name an activation"},
    {"[{'name': 'n', 'kind': 'reshape', 'inputs': ['x'], 'output': 'y'}]", "needs the attribute"},
    {"[{'name': 'n', 'kind': 'reshape', 'inputs': ['x'], 'output': 'y',"
     " 'attributes': {'shape': [2, 4]}}]",
     "cannot be reshaped"},
    {"[{'name': 'n', 'kind': 'reshape', 'inputs': ['x'], 'output': 'y',"
     " 'attributes': {'shape': [-1]}}]",
     "positive"},
    {"[{'name': 'n', 'kind': 'reshape', 'inputs': ['x'], 'output': 'y',"
     " 'attributes': {'shape': []}}]",
     "1 to 7"},
    {"[{'name': 'n', 'kind': 'reshape', 'inputs': ['x'], 'output': 'y',"
     " 'attributes': {'shape': [6,1,1,1,1,1,1,1]}}]",
     "1 to 7"},
    {"[{'name': 'n', 'kind': 'reshape', 'inputs': ['x'], 'output': 'y', 'attributes':"
     " {'shape': [9223372036854775807, 9223372036854775807, 6]}}]",
     "cannot be reshaped"},
    {"[{'name': 'n', 'kind': 'concat', 'inputs': ['x', 'x'], 'output': 'y',"
     " 'attributes': {'axis': 2}}]",
     "axis 2"},
    {"[{'name': 'n', 'kind': 'concat', 'inputs': ['x', 'x'], 'output': 'y',"
     " 'attributes': {'axis': 0}}]",
     "axis from 1"},
    {"[{'name': 'n', 'kind': 'concat', 'inputs': ['x', 'x'], 'output': 'y',"
     " 'attributes': {'axis': 1.5}}]",
     "axis from 1"},
    {"[{'name': 'n', 'kind': 'split', 'inputs': ['x'], 'outputs': ['y', 'z'],"
     " 'attributes': {'sizes': [3, 4]}}]",
     "sizes of split"},
    {"[{'name': 'n', 'kind': 'split', 'inputs': ['x'], 'outputs': ['y', 'z'],"
     " 'attributes': {'sizes': [9223372036854775807, 9223372036854775807]}}]",
     "sizes of split"},
    {"[{'name': 'n', 'kind': 'split', 'inputs': ['x'], 'outputs': ['y', 'z'],"
     " 'attributes': {'sizes': [6]}}]",
     "sizes of split"},
    {"[{'name': 'n', 'kind': 'split', 'inputs': ['x'], 'outputs': ['p','q','r','s','t'] }]",
     "sizes of split"},
    {"[{'name': 's', 'kind': 'split', 'inputs': ['x'], 'outputs': ['p', 'q'],"
     " 'attributes': {'sizes': [2, 4]}},"
     " {'name': 'n', 'kind': 'add', 'inputs': ['p', 'q'], 'output': 'y'}]",
     "do not go together"},
    {"[{'name': 'r', 'kind': 'reshape', 'inputs': ['x'], 'output': 'm', 'attributes':"
     " {'shape': [2, 3]}}, {'name': 'n', 'kind': 'multiply', 'inputs': ['x', 'm'],"
     " 'output': 'y'}]",
     "do not go together"},
    {"[{'name': 'r', 'kind': 'reshape', 'inputs': ['x'], 'output': 'm', 'attributes':"
     " {'shape': [2, 3]}}, {'name': 'n', 'kind': 'dense', 'inputs': ['m'], 'output': 'y',"
     " 'params': {'weight': 'w46'}}]",
     "put a flatten before it"},
    {"[{'name': 'n', 'kind': 'relu', 'inputs': ['x'], 'output': 'z'}]", "its output 'y'"},
    {"[]", "its output 'y'"},
};

static bool hostile_shape(void *user, const char *name, iv_shape *out)
{
    (void)user;
    static const struct {
        const char *name;
        iv_shape shape;
    } tensors[] = {{"w46", {2, {4, 6}}}, {"w45", {2, {4, 5}}}, {"w06", {2, {0, 6}}},
                   {"b4", {1, {4}}},     {"b6", {1, {6}}},     {"huge", {2, {SIZE_MAX / 4, 6}}}};
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++) {
        if (strcmp(tensors[i].name, name) != 0) continue;
        *out = tensors[i].shape;
        return true;
    }
    return false;
}

static isovae_status read_text(const char *text, iv_graph **graph, isovae_error *err)
{
    char *copy = strdup(text);
    assert_non_null(copy);
    for (char *c = copy; *c != '\0'; c++) {
        if (*c == '\'') *c = '"';
    }
    json_t *nodes = json_loads(copy, JSON_ALLOW_NUL, NULL);
    if (nodes == NULL) fail_msg("not JSON: %s", copy);
    free(copy);
    const char *outputs[] = {"y"};
    iv_shape shape = {1, {6}};
    isovae_status status =
        iv_graph_from_json(nodes, "x", &shape, outputs, 1, hostile_shape, NULL, graph, err);
    json_decref(nodes);
    return status;
}

static void test_hostile_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        iv_graph *graph = (iv_graph *)1;
        isovae_error err = {ISOVAE_OK, ""};
        isovae_status status = read_text(hostile[i].nodes, &graph, &err);
        if (status == ISOVAE_OK) fail_msg("accepted: %s", hostile[i].nodes);
        assert_null(graph);
        if (strstr(err.message, hostile[i].message) == NULL || strchr(err.message, '\n') != NULL) {
            fail_msg("\"%s\" should hold '%s', for %s", err.message, hostile[i].message,
                     hostile[i].nodes);
        }
        assert_int_equal(read_text(hostile[i].nodes, &graph, NULL), status);
    }
    iv_graph *graph; /* and a good one is read */
    MUST(read_text("[{'name': 'n', 'kind': 'dense', 'inputs': ['x'], 'output': 'y', 'params':"
                   " {'weight': 'w46', 'bias': 'b4'}, 'attributes': {'activation': 'elu'}}]",
                   &graph, err));
    assert_int_equal(graph->values[1].size, 4);
    assert_true(graph->nodes[0].attributes.parameter == 1);
    iv_graph_free(graph);
}

/* A refused node leaves the graph as it was. */
static void test_builder_refuses(void **state)
{
    (void)state;
    iv_graph *graph = single_input();
    json_t *before = iv_graph_to_json(graph);
    size_t values = graph->n_values, params = graph->n_params, elements = graph->param_elements;
    iv_node_spec spec = spec_of(graph, "dense", "bad", "v", NULL, NULL);
    assert_int_equal(iv_graph_node(graph, &spec, NULL, NULL), ISOVAE_ERR_FORMAT); /* no units */
    spec.units = 7;
    spec.params[0] = "h.weight"; /* shared, but 12x12 */
    spec.params[1] = "fresh";    /* must be 12 then; the unit count follows the weight */
    spec.outputs[0] = "out";     /* taken */
    assert_int_equal(iv_graph_node(graph, &spec, NULL, NULL), ISOVAE_ERR_FORMAT);
    spec.outputs[0] = "bad";
    spec.params[1] = "h.weight"; /* both roles */
    assert_int_equal(iv_graph_node(graph, &spec, NULL, NULL), ISOVAE_ERR_FORMAT);
    spec.kind = "no such kind";
    assert_int_equal(iv_graph_node(graph, &spec, NULL, NULL), ISOVAE_ERR_UNSUPPORTED);
    assert_int_equal(iv_graph_input(graph, "p", &(iv_shape){1, {3}}, NULL, NULL),
                     ISOVAE_ERR_FORMAT);
    assert_int_equal(iv_graph_input(graph, "e", &(iv_shape){1, {0}}, NULL, NULL),
                     ISOVAE_ERR_FORMAT);
    assert_int_equal(iv_graph_output(graph, 999, NULL), ISOVAE_ERR_FORMAT);
    assert_int_equal(iv_graph_output(graph, graph->outputs[0], NULL), ISOVAE_ERR_FORMAT);
    json_t *after = iv_graph_to_json(graph);
    assert_true(json_equal(before, after));
    assert_int_equal(graph->n_values, values);
    assert_int_equal(graph->n_params, params);
    assert_int_equal(graph->param_elements, elements);
    json_decref(before);
    json_decref(after);

    iv_exec *exec = (iv_exec *)1; /* a batch beyond the address space */
    iv_exec_plan plan = {.rows = SIZE_MAX / 4};
    assert_int_equal(
        iv_exec_new(graph, iv_kernels_get(IV_PRECISION_F32_REFERENCE, NULL), &plan, &exec, NULL),
        ISOVAE_ERR_MEMORY);
    assert_null(exec);
    iv_graph_free(graph);
}

/* Kernels whose n-th allocation fails: nothing leaks, whichever it is. */
static const iv_kernels *failing_base;
static size_t allocations_left, held;

static isovae_status failing_alloc(void **out, size_t elements, const char *what, isovae_error *err)
{
    *out = NULL;
    if (allocations_left-- == 0) return ISOVAE_ERR_MEMORY;
    isovae_status status = failing_base->alloc(out, elements, what, err);
    if (status == ISOVAE_OK) held++;
    return status;
}

static void counting_release(void *memory)
{
    held--;
    failing_base->release(memory);
}

static void test_no_memory(void **state)
{
    (void)state;
    iv_graph *graph = composite();
    failing_base = iv_kernels_get(IV_PRECISION_F32_REFERENCE, NULL);
    iv_kernels k = *failing_base;
    k.alloc = failing_alloc;
    k.release = counting_release;
    iv_exec_plan plan = full_plan(ROWS);
    iv_exec *exec = NULL;
    size_t allowed = 0;
    for (; exec == NULL && allowed < 50; allowed++) {
        allocations_left = allowed;
        isovae_status status = iv_exec_new(graph, &k, &plan, &exec, NULL);
        assert_int_equal(status, exec == NULL ? ISOVAE_ERR_MEMORY : ISOVAE_OK);
        assert_int_equal(held == 0, exec == NULL);
    }
    assert_non_null(exec);
    assert_true(allowed > 3);
    iv_exec_free(exec);
    assert_int_equal(held, 0);
    iv_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_differences),
                                       cmocka_unit_test(test_without_inputs),
                                       cmocka_unit_test(test_adjoint),
                                       cmocka_unit_test(test_ranges),
                                       cmocka_unit_test(test_threads),
                                       cmocka_unit_test(test_tasks_cover),
                                       cmocka_unit_test(test_fuse),
                                       cmocka_unit_test(test_negative_slope),
                                       cmocka_unit_test(test_jacobian),
                                       cmocka_unit_test(test_still_output),
                                       cmocka_unit_test(test_layout),
                                       cmocka_unit_test(test_json_round_trip),
                                       cmocka_unit_test(test_reference_graphs),
                                       cmocka_unit_test(test_hostile_json),
                                       cmocka_unit_test(test_builder_refuses),
                                       cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
