/* Each node kind against the reference: forward, reverse, tangent, in every table of kernels. */
#include "support_graph.h"
#include "support_npz.h"

#include <math.h>

typedef struct node_case {
    const char *file, *kind;
    iv_attributes attributes;
} node_case;

static const node_case cases[] = {
    {"dense", "dense", {0}},
    {"dense_nobias_thin", "dense", {0}},
    {"tanh", "tanh", {0}},
    {"relu", "relu", {0}},
    {"leaky_relu", "leaky_relu", {.parameter = 0.2}},
    {"elu", "elu", {.parameter = 1}},
    {"silu", "silu", {0}},
    {"gelu", "gelu", {0}},
    {"softplus", "softplus", {0}},
    {"sigmoid", "sigmoid", {0}},
    {"exp", "exp", {0}},
    {"add", "add", {0}},
    {"concat", "concat", {.axis = 1}},
    {"multiply", "multiply", {0}},
    {"multiply_gate", "multiply", {0}},
};

static iv_shape row_shape(const npz_array *array)
{
    iv_shape shape = {.rank = array->rank - 1};
    for (size_t i = 1; i < array->rank; i++) shape.dim[i - 1] = array->shape[i];
    return shape;
}

static iv_graph *build(const npz *file, const node_case *c)
{
    static const char *const names[] = {"x", "a", "b"};
    iv_graph *graph;
    MUST(iv_graph_new(&graph, err));
    iv_node_spec spec = {.kind = c->kind,
                         .name = "node",
                         .attributes = c->attributes,
                         .n_outputs = 1,
                         .outputs = {"y"}};
    for (size_t i = 0; i < 3; i++) {
        const npz_array *input = npz_find(file, names[i]);
        if (input == NULL) continue;
        iv_shape shape = row_shape(input);
        MUST(iv_graph_input(graph, names[i], &shape, &spec.inputs[spec.n_inputs++], err));
    }
    if (npz_find(file, "weight") != NULL) {
        spec.units = npz_get(file, "weight")->shape[0];
        spec.params[0] = "weight";
        spec.params[1] = npz_find(file, "bias") != NULL ? "bias" : "";
    }
    size_t y;
    MUST(iv_graph_node(graph, &spec, &y, err));
    MUST(iv_graph_output(graph, y, err));
    return graph;
}

static void check_tangent(net *n, const npz *file, const char *label, double tolerance)
{
    char name[256];
    for (size_t i = 0; i < n->graph->n_inputs; i++) {
        size_t v = n->graph->inputs[i];
        snprintf(name, sizeof name, "V_%s", n->graph->values[v].name);
        const npz_array *tangents = npz_get(file, name);
        n->k->upload(iv_exec_tangent_value(n->exec, v, 0), tangents->values, tangents->count);
    }
    iv_exec_tangent(n->exec, n->params, 0, n->rows, 3, 0);
    const npz_array *want = npz_get(file, "JV");
    double *got = download(n->k, iv_exec_tangent_value(n->exec, net_value(n, "y"), 0), want->count);
    snprintf(name, sizeof name, "%s: JV", label);
    assert_near(name, got, want->values, want->count, tolerance);
    free(got);
}

static void check_table(const iv_graph *graph, const npz *file, const node_case *c,
                        const iv_kernels *k)
{
    double tolerance = k->dtype == IV_F64 ? 1e-13 : 2e-6;
    size_t rows = npz_get(file, "y")->shape[0];
    char label[96], name[256];
    snprintf(label, sizeof label, "%s, %s %s", c->file, k->name, k->isa);
    net n = net_open(
        graph, k,
        &(iv_exec_plan){.rows = rows, .reverse = true, .tangent_rows = 3 * rows, .tangents = 3});
    for (size_t i = 0; i < graph->n_params; i++) {
        net_set_param(&n, graph->params[i].name, npz_get(file, graph->params[i].name)->values);
    }
    for (size_t i = 0; i < graph->n_inputs; i++) {
        const char *input = graph->values[graph->inputs[i]].name;
        net_set(&n, input, npz_get(file, input)->values);
    }
    net_forward(&n);
    const npz_array *y = npz_get(file, "y");
    double *got = net_get(&n, "y");
    snprintf(name, sizeof name, "%s: y", label);
    assert_near(name, got, y->values, y->count, tolerance);
    free(got);

    net_seed(&n, "y", npz_get(file, "u")->values);
    net_reverse(&n);
    for (size_t i = 0; i < graph->n_inputs + graph->n_params; i++) {
        bool input = i < graph->n_inputs;
        const char *which =
            input ? graph->values[graph->inputs[i]].name : graph->params[i - graph->n_inputs].name;
        char key[96];
        snprintf(key, sizeof key, "g_%s", which);
        const npz_array *want = npz_get(file, key);
        got = input ? net_gradient(&n, which) : net_param_gradient(&n, which);
        snprintf(name, sizeof name, "%s: %s", label, key);
        assert_near(name, got, want->values, want->count, tolerance);
        free(got);
    }
    check_tangent(&n, file, label, tolerance);
    net_close(&n);
}

static void test_reference_cases(void **state)
{
    (void)state;
    size_t tables = 0, done = 0;
    while (kernels_at(tables) != NULL) tables++;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[128];
        npz file;
        snprintf(path, sizeof path, "nodes/%s.npz", cases[i].file);
        if (!npz_open(&file, path)) {
            if (i == 0) skip();
            fail_msg("%s is missing", path);
        }
        iv_graph *graph = build(&file, &cases[i]);
        for (size_t t = 0; t < tables; t++, done++) {
            check_table(graph, &file, &cases[i], kernels_at(t));
        }
        iv_graph_free(graph);
        npz_close(&file);
    }
    assert_true(tables >= 3);
    assert_int_equal(done, tables * 15);
}

/* Relative error element by element; 0 stands for what is below the smallest double. */
static void assert_relative(const char *what, const double *x, const double *got,
                            const double *want, size_t n, double tolerance)
{
    for (size_t i = 0; i < n; i++) {
        double limit = fabs(want[i]) * tolerance + 5e-324;
        if (!(fabs(got[i] - want[i]) <= limit) && got[i] != want[i]) {
            fail_msg("%s at x = %g: %.17g, expected %.17g, relative error %.3g", what, x[i], got[i],
                     want[i], fabs(got[i] - want[i]) / fabs(want[i]));
        }
    }
}

static void test_activations_far_out(void **state)
{
    (void)state;
    static const char *const kinds[] = {"tanh",     "elu",     "silu", "gelu",
                                        "softplus", "sigmoid", "exp"};
    npz file;
    if (!npz_open(&file, "nodes/activations_far_out.npz")) skip();
    const npz_array *x = npz_get(&file, "x");
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char y_key[32], dy_key[32];
        snprintf(y_key, sizeof y_key, "y_%s", kinds[i]);
        snprintf(dy_key, sizeof dy_key, "dy_%s", kinds[i]);
        double tolerance = strcmp(kinds[i], "gelu") == 0 ? 1e-12 : 1e-14;
        iv_graph *graph;
        size_t input, output;
        MUST(iv_graph_new(&graph, err));
        MUST(iv_graph_input(graph, "x", &(iv_shape){1, {1}}, &input, err));
        iv_node_spec spec = {.kind = kinds[i],
                             .name = "node",
                             .n_inputs = 1,
                             .inputs = {input},
                             .n_outputs = 1,
                             .outputs = {"y"}};
        MUST(iv_graph_node(graph, &spec, &output, err));
        MUST(iv_graph_output(graph, output, err));
        net n = net_open(
            graph, k,
            &(iv_exec_plan){
                .rows = x->count, .reverse = true, .tangent_rows = x->count, .tangents = 1});
        net_set(&n, "x", x->values);
        net_forward(&n);
        double *y = net_get(&n, "y");
        assert_relative(y_key, x->values, y, npz_get(&file, y_key)->values, x->count, tolerance);
        k->fill(x->count, 1, iv_exec_gradient(n.exec, output));
        net_reverse(&n);
        double *g = net_gradient(&n, "x");
        assert_relative(dy_key, x->values, g, npz_get(&file, dy_key)->values, x->count, tolerance);
        k->fill(x->count, 1, iv_exec_tangent_value(n.exec, input, 0));
        iv_exec_tangent(n.exec, n.params, 0, x->count, 1, 0);
        double *t = download(k, iv_exec_tangent_value(n.exec, output, 0), x->count);
        assert_relative(dy_key, x->values, t, npz_get(&file, dy_key)->values, x->count, tolerance);
        free(y);
        free(g);
        free(t);
        net_close(&n);
        iv_graph_free(graph);
    }
    npz_close(&file);
}

/* Kinds that only move data have no reference: what they do is known to the bit. */
static void test_moves(void **state)
{
    (void)state;
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    iv_graph *graph;
    size_t x, parts[3], flat, back;
    MUST(iv_graph_new(&graph, err));
    MUST(iv_graph_input(graph, "x", &(iv_shape){3, {2, 6, 2}}, &x, err));
    iv_node_spec split = {.kind = "split",
                          .name = "split",
                          .n_inputs = 1,
                          .inputs = {x},
                          .n_outputs = 3,
                          .outputs = {"p", "q", "r"},
                          .attributes = {.axis = 2, .n_sizes = 3, .sizes = {1, 3, 2}}};
    MUST(iv_graph_node(graph, &split, parts, err));
    iv_node_spec flatten = {.kind = "flatten",
                            .name = "flatten",
                            .n_inputs = 1,
                            .inputs = {parts[1]},
                            .n_outputs = 1,
                            .outputs = {"flat"}};
    MUST(iv_graph_node(graph, &flatten, &flat, err));
    iv_node_spec reshape = {.kind = "reshape",
                            .name = "reshape",
                            .n_inputs = 1,
                            .inputs = {flat},
                            .n_outputs = 1,
                            .outputs = {"back"},
                            .attributes = {.shape = {2, {4, 3}}}};
    MUST(iv_graph_node(graph, &reshape, &back, err));
    MUST(iv_graph_output(graph, back, err));
    MUST(iv_graph_output(graph, parts[0], err)); /* r is read by nobody */
    assert_int_equal(graph->values[flat].size, 12);
    net n = net_open(graph, k,
                     &(iv_exec_plan){.rows = 2, .reverse = true, .tangent_rows = 4, .tangents = 2});
    double in[2 * 24];
    for (size_t i = 0; i < 48; i++) in[i] = (double)i + 1;
    net_set(&n, "x", in);
    net_forward(&n);
    net_seed(&n, "back", in);
    net_seed(&n, "p", in);
    net_reverse(&n);
    double *got = net_get(&n, "back"), *p = net_get(&n, "p"), *g = net_gradient(&n, "x");
    for (size_t r = 0; r < 2; r++) {
        for (size_t c = 0; c < 2; c++) {
            for (size_t a = 0; a < 6; a++) {
                for (size_t b = 0; b < 2; b++) {
                    size_t at = ((r * 2 + c) * 6 + a) * 2 + b;
                    size_t q_at = ((r * 2 + c) * 3 + (a - 1)) * 2 + b, p_at = (r * 2 + c) * 2 + b;
                    if (a == 0) {
                        assert_true(p[p_at] == in[at]);
                        assert_true(g[at] == in[p_at]);
                    } else if (a < 4) {
                        assert_true(got[q_at] == in[at]);
                        assert_true(g[at] == in[q_at]);
                    } else {
                        assert_true(g[at] == 0);
                    }
                }
            }
        }
    }
    free(got);
    free(p);
    free(g);
    net_close(&n);
    iv_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reference_cases),
                                       cmocka_unit_test(test_activations_far_out),
                                       cmocka_unit_test(test_moves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
