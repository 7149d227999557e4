/* Normalisations, GDN, softmax and the other nodes of image networks: against the reference, in
 * both physical orders and in every table of kernels; against differences; and the adjoint. */
#include "support_graph.h"
#include "support_npz.h"

#include "base/random.h"
#include "graph/exec_state.h"

#include <math.h>

typedef struct node_case {
    const char *file, *kind;
    iv_attributes attributes;
    bool training, logical; /* logical: never channels last */
} node_case;

static const node_case cases[] = {
    {"gdn", "gdn", {0}, false, false},
    {"gdn_inverse", "gdn_inverse", {0}, false, false},
    {"batch_norm_training", "batch_norm", {.eps = 1e-5}, true, false},
    {"batch_norm_inference", "batch_norm", {.eps = 1e-5}, false, false},
    {"batch_norm_training_2d", "batch_norm", {.eps = 1e-5}, true, false},
    {"batch_norm_inference_2d", "batch_norm", {0}, false, false},
    {"layer_norm", "layer_norm", {.axis = 1, .eps = 1e-5}, false, false},
    {"layer_norm_chw", "layer_norm", {.eps = 1e-5}, false, true},
    {"group_norm", "group_norm", {.conv = {.groups = 2}, .eps = 1e-5}, false, false},
    {"softmax_last", "softmax", {.axis = 1}, false, false},
    {"softmax_channels", "softmax", {.axis = 1}, false, false},
    {"max_pool_2x2_s2", "max_pool", {.conv = {.kernel = {2, 2}, .stride = {2, 2}}}, false, false},
    {"max_pool_3x3_s2_p1",
     "max_pool",
     {.conv = {.kernel = {3, 3}, .stride = {2, 2}, .pads = {1, 1, 1, 1}}},
     false,
     false},
    {"average_pool_2x2_s2",
     "average_pool",
     {.conv = {.kernel = {2, 2}, .stride = {2, 2}}, .count_include_pad = 1},
     false,
     false},
    {"average_pool_3x3_s2_p1_include0",
     "average_pool",
     {.conv = {.kernel = {3, 3}, .stride = {2, 2}, .pads = {1, 1, 1, 1}}},
     false,
     false},
    {"average_pool_3x3_s2_p1_include1",
     "average_pool",
     {.conv = {.kernel = {3, 3}, .stride = {2, 2}, .pads = {1, 1, 1, 1}}, .count_include_pad = 1},
     false,
     false},
    {"global_average_pool", "global_average_pool", {0}, false, false},
    {"upsample_nearest_x2", "upsample_nearest", {.scale = {2, 2}}, false, false},
    {"upsample_bilinear_x2", "upsample_bilinear", {.scale = {2, 2}}, false, false},
    {"pixel_shuffle", "pixel_shuffle", {.scale = {2}}, false, false},
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

static iv_shape row_shape(const npz_array *array)
{
    iv_shape shape = {.rank = array->rank - 1};
    for (size_t i = 1; i < array->rank; i++) shape.dim[i - 1] = array->shape[i];
    return shape;
}

static size_t add_node(iv_graph *graph, const char *kind, const char *name, size_t input,
                       const char *output, const iv_attributes *attributes)
{
    size_t value;
    iv_node_spec spec = {.kind = kind,
                         .name = name,
                         .n_inputs = 1,
                         .inputs = {input},
                         .n_outputs = 1,
                         .outputs = {output},
                         .attributes = *attributes};
    if (strcmp(name, "node") == 0) {
        const iv_node_kind *k = iv_node_kind_find(kind);
        for (size_t i = 0; i < IV_MAX_ROLES && k->roles[i] != NULL; i++)
            spec.params[i] = k->roles[i];
    }
    MUST(iv_graph_node(graph, &spec, &value, err));
    return value;
}

/* x -> node -> y; with `last` a reshape before and behind, which takes either order, and a gdn
 * beside it that asks for channels last. */
static iv_graph *build(const node_case *c, const iv_shape *in, bool last)
{
    iv_graph *graph;
    size_t x, y;
    MUST(iv_graph_new(&graph, err));
    MUST(iv_graph_input(graph, "x", in, &x, err));
    if (last) {
        x = add_node(graph, "reshape", "before", x, "inner", &(iv_attributes){.shape = *in});
        (void)add_node(graph, "gdn", "beside", x, "unused", &(iv_attributes){0});
    }
    y = add_node(graph, c->kind, "node", x, last ? "made" : "y", &c->attributes);
    if (last) {
        (void)add_node(graph, "gdn", "behind", y, "unused2", &(iv_attributes){0});
        iv_shape out = graph->values[y].shape;
        y = add_node(graph, "reshape", "after", y, "y", &(iv_attributes){.shape = out});
    }
    MUST(iv_graph_output(graph, y, err));
    return graph;
}

/* Raw values with these effective ones. */
static void set_effective(net *n, const char *name, const double *effective)
{
    const iv_param *param = &n->graph->params[iv_graph_find_param(n->graph, name)];
    double *raw = numbers(param->size);
    for (size_t i = 0; i < param->size; i++)
        raw[i] = iv_param_raw(param->parametrization, effective[i]);
    net_set_param(n, name, raw);
    free(raw);
}

static void check_gradients(net *n, const npz *file, const char *label, double tolerance)
{
    char key[64], name[256];
    double *got = net_gradient(n, "x");
    const npz_array *want = npz_get(file, "g_x");
    snprintf(name, sizeof name, "%s: g_x", label);
    assert_near(name, got, want->values, want->count, tolerance);
    free(got);
    for (size_t i = 0; i < n->graph->n_params; i++) {
        const iv_param *param = &n->graph->params[i];
        got = net_param_gradient(n, param->name);
        snprintf(key, sizeof key, "g_%s", param->name);
        snprintf(name, sizeof name, "%s: %s", label, key);
        if (strchr(param->name, '.') == NULL && !param->buffer) {
            want = npz_get(file, key);
            const npz_array *at = npz_get(file, param->name);
            double *raw = numbers(param->size);
            for (size_t j = 0; j < param->size; j++) {
                double slope = 2 * iv_param_raw(param->parametrization, at->values[j]);
                raw[j] = want->values[j] * (param->parametrization == IV_PARAM_PLAIN ? 1 : slope);
            }
            assert_near(name, got, raw, param->size, tolerance);
            free(raw);
        }
        for (size_t j = 0; param->buffer && j < param->size; j++) assert_true(got[j] == 0);
        free(got);
    }
}

static void check_tangent(net *n, const npz *file, const char *label, double tolerance)
{
    char name[256];
    const npz_array *tangents = npz_get(file, "V_x"), *want = npz_get(file, "JV");
    n->k->upload(iv_exec_tangent_value(n->exec, net_value(n, "x"), 0), tangents->values,
                 tangents->count);
    iv_exec_tangent(n->exec, n->params, 0, n->rows, 3, 0);
    double *got = download(n->k, iv_exec_tangent_value(n->exec, net_value(n, "y"), 0), want->count);
    snprintf(name, sizeof name, "%s: JV", label);
    assert_near(name, got, want->values, want->count, tolerance);
    free(got);
}

static net open_case(const iv_graph *graph, const npz *file, const node_case *c,
                     const iv_kernels *k, bool derivatives)
{
    size_t rows = npz_get(file, "y")->shape[0];
    net n = net_open(graph, k,
                     &(iv_exec_plan){.rows = rows,
                                     .reverse = derivatives,
                                     .tangent_rows = derivatives ? 3 * rows : 0,
                                     .tangents = derivatives ? 3 : 0,
                                     .training = c->training});
    for (size_t i = 0; i < graph->n_params; i++) {
        const iv_param *param = &graph->params[i];
        const npz_array *value = npz_find(file, param->name);
        double *ones = numbers(param->size);
        for (size_t j = 0; j < param->size; j++) ones[j] = 1;
        set_effective(&n, param->name, value != NULL ? value->values : ones);
        free(ones);
    }
    net_set(&n, "x", npz_get(file, "x")->values);
    return n;
}

static void check_case(const npz *file, const node_case *c, const iv_kernels *k, bool last)
{
    double tolerance = k->dtype == IV_F64 ? 1e-12 : 2e-6;
    char label[96], name[256];
    snprintf(label, sizeof label, "%s, %s %s%s", c->file, k->name, k->isa, last ? ", last" : "");
    iv_shape in = row_shape(npz_get(file, "x"));
    iv_graph *graph = build(c, &in, last);
    net n = open_case(graph, file, c, k, true), plain = open_case(graph, file, c, k, false);
    if (last) {
        assert_true(n.exec->values[net_value(&n, "inner")].channels_last == !c->logical);
        assert_true(n.exec->values[net_value(&n, "made")].channels_last == !c->logical);
    }
    net_forward(&n);
    const npz_array *y = npz_get(file, "y");
    double *got = net_get(&n, "y");
    snprintf(name, sizeof name, "%s: y", label);
    assert_near(name, got, y->values, y->count, tolerance);
    net_forward(&plain); /* a workspace that keeps nothing for derivatives gives the same */
    double *same = net_get(&plain, "y");
    assert_memory_equal(got, same, y->count * sizeof *got);
    free(same);
    free(got);
    net_close(&plain);
    check_tangent(&n, file, label, tolerance);
    net_seed(&n, "y", npz_get(file, "u")->values);
    net_reverse(&n);
    check_gradients(&n, file, label, tolerance);
    net_close(&n);
    iv_graph_free(graph);
}

static void test_reference_cases(void **state)
{
    (void)state;
    size_t tables = 0, done = 0, spatial = 0;
    while (kernels_at(tables) != NULL) tables++;
    for (size_t i = 0; i < N_CASES; i++) {
        char path[128];
        npz file;
        snprintf(path, sizeof path, "nodes/%s.npz", cases[i].file);
        if (!npz_open(&file, path)) {
            if (i == 0) skip();
            fail_msg("%s is missing", path);
        }
        bool both = npz_get(&file, "x")->rank == 4 && npz_get(&file, "y")->rank == 4;
        for (size_t t = 0; t < tables; t++, done++) {
            check_case(&file, &cases[i], kernels_at(t), false);
            if (both) check_case(&file, &cases[i], kernels_at(t), true);
        }
        spatial += both;
        npz_close(&file);
    }
    assert_true(tables >= 3 && spatial >= 7);
    assert_int_equal(done, tables * N_CASES);
}

/* Sum of u y at these parameters. */
static double scalar(net *n, const double *u)
{
    net_forward(n);
    double *y = net_get(n, "y"), sum = 0;
    size_t size = n->rows * n->graph->values[net_value(n, "y")].size;
    for (size_t i = 0; i < size; i++) sum += u[i] * y[i];
    free(y);
    return sum;
}

static double *draw(uint64_t row, size_t size)
{
    double *out = numbers(size);
    iv_key key = {.seed = 3, .purpose = IV_PURPOSE_TOY, .row = row};
    iv_normals_f64(&key, size, out);
    return out;
}

static double dot(const double *a, const double *b, size_t n, double *size)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
        *size += fabs(a[i] * b[i]);
    }
    return sum;
}

/* With random rows: <Jv, u> = <v, J^T u>; the gradients in input and parameters against a central
 * difference along one direction of all of them. */
static void check_derivatives(const node_case *c, const iv_shape *in, bool last)
{
    enum { ROWS = 19 };
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    iv_graph *graph = build(c, in, last);
    net n = net_open(graph, k,
                     &(iv_exec_plan){.rows = ROWS,
                                     .reverse = true,
                                     .tangent_rows = ROWS,
                                     .tangents = 1,
                                     .training = c->training});
    size_t size_x, size_y = ROWS * graph->values[net_value(&n, "y")].size;
    assert_true(iv_shape_size(in, &size_x));
    size_x *= ROWS;
    double *x = draw(1, size_x), *v = draw(2, size_x), *u = draw(3, size_y);
    double *params = draw(4, graph->param_elements), *w = draw(5, graph->param_elements);
    for (size_t i = 0; i < graph->param_elements; i++) params[i] = 0.6 + 0.1 * params[i];
    for (size_t i = 0; i < graph->n_params; i++) {
        for (size_t j = 0; graph->params[i].buffer && j < graph->params[i].size; j++)
            w[graph->params[i].offset + j] = 0;
    }
    k->upload(n.params, params, graph->param_elements);
    net_set(&n, "x", x);
    net_forward(&n);
    k->upload(iv_exec_tangent_value(n.exec, net_value(&n, "x"), 0), v, size_x);
    iv_exec_tangent(n.exec, n.params, 0, ROWS, 1, 0);
    double *jv = download(k, iv_exec_tangent_value(n.exec, net_value(&n, "y"), 0), size_y);
    net_seed(&n, "y", u);
    net_reverse(&n);
    double *g = net_gradient(&n, "x"), *g_params = download(k, n.grads, graph->param_elements);
    double size = 0, forward = dot(jv, u, size_y, &size), reverse = dot(g, v, size_x, &size);
    if (!(fabs(forward - reverse) <= 1e-13 * size))
        fail_msg("%s: <Jv, u> = %.17g, <v, J^T u> = %.17g", c->file, forward, reverse);

    double slope = reverse + dot(g_params, w, graph->param_elements, &size), step = 1e-6, value[2];
    for (size_t side = 0; side < 2; side++) {
        double h = side == 0 ? step : -step;
        double *moved = numbers(size_x), *moved_params = numbers(graph->param_elements);
        for (size_t i = 0; i < size_x; i++) moved[i] = x[i] + h * v[i];
        for (size_t i = 0; i < graph->param_elements; i++) moved_params[i] = params[i] + h * w[i];
        net_set(&n, "x", moved);
        k->upload(n.params, moved_params, graph->param_elements);
        value[side] = scalar(&n, u);
        free(moved);
        free(moved_params);
    }
    double difference = (value[0] - value[1]) / (2 * step);
    if (!(fabs(difference - slope) <= 1e-8 * size))
        fail_msg("%s: slope %.12g, difference %.12g", c->file, slope, difference);
    double *all[] = {x, v, u, params, w, jv, g, g_params};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
    net_close(&n);
    iv_graph_free(graph);
}

static void test_derivatives(void **state)
{
    (void)state;
    const iv_shape image = {3, {4, 5, 7}}, wide = {3, {18, 3, 3}}, vector = {1, {11}};
    for (size_t i = 0; i < N_CASES; i++) {
        bool any_rank = strstr(cases[i].kind, "norm") != NULL || strstr(cases[i].kind, "gdn") ||
                        strcmp(cases[i].kind, "softmax") == 0;
        check_derivatives(&cases[i], &image, false);
        check_derivatives(&cases[i], &image, true);
        if (any_rank || cases[i].attributes.scale[0] != 2 || cases[i].attributes.scale[1] == 2)
            check_derivatives(&cases[i], &wide, true);
        if (any_rank && cases[i].attributes.conv.groups == 0)
            check_derivatives(&cases[i], &vector, false);
    }
}

/* Tensors as a file would hold them. */
static bool any_tensor(void *user, const char *name, iv_shape *out)
{
    (void)user;
    *out = strcmp(name, "square") == 0 ? (iv_shape){2, {4, 4}} : (iv_shape){1, {4}};
    return strcmp(name, "none") != 0;
}

static isovae_status read_nodes(const char *text, iv_graph **out, isovae_error *err)
{
    static const char *const outputs[] = {"y"};
    json_t *nodes = json_loads(text, 0, NULL);
    assert_non_null(nodes);
    isovae_status status = iv_graph_from_json(nodes, "x", &(iv_shape){3, {4, 6, 6}}, outputs, 1,
                                              any_tensor, NULL, out, err);
    json_decref(nodes);
    return status;
}

#define NODE(kind, rest)                                                                           \
    "[{\"name\":\"n\",\"kind\":\"" kind "\",\"inputs\":[\"x\"],\"output\":\"y\"" rest "}]"
#define BATCH "\"mean\":\"m\",\"var\":\"v\""

/* What the file says comes back; what is missing gets its default. */
static void test_json(void **state)
{
    (void)state;
    static const char *const nodes[] = {
        NODE("batch_norm",
             ",\"params\":{" BATCH ",\"weight\":\"w\"},\"attributes\":{\"eps\":0.001}"),
        NODE("gdn", ",\"params\":{\"beta\":\"b\",\"gamma\":\"square\"},\"parametrization\":"
                    "{\"beta\":\"square\",\"gamma\":\"square\"}"),
        NODE("gdn_inverse", ",\"params\":{\"beta\":\"b\",\"gamma\":\"square\"}"),
        NODE("group_norm", ",\"attributes\":{\"groups\":2}"),
        NODE("group_norm", ",\"attributes\":{\"groups\":1}"),
        NODE("layer_norm", ""),
        NODE("softmax", ""),
        NODE("max_pool", ",\"attributes\":{\"kernel\":[1,2],\"stride\":2}"),
        NODE("max_pool", ",\"attributes\":{\"kernel\":1}"),
        NODE("average_pool", ",\"attributes\":{\"kernel\":3,\"pads\":[0,1,2,1],"
                             "\"count_include_pad\":1}"),
        NODE("global_average_pool", ""),
        NODE("upsample_nearest", ",\"attributes\":{\"scale\":[1,3]}"),
        NODE("upsample_bilinear", ",\"attributes\":{\"scale\":1}"),
        NODE("pixel_shuffle", ",\"attributes\":{\"factor\":2}"),
    };
    for (size_t i = 0; i < sizeof nodes / sizeof nodes[0]; i++) {
        isovae_error err = {0};
        iv_graph *graph, *again;
        if (read_nodes(nodes[i], &graph, &err) != ISOVAE_OK)
            fail_msg("%s: %s", nodes[i], err.message);
        json_t *json = iv_graph_to_json(graph);
        assert_non_null(json);
        char *text = json_dumps(json, JSON_SORT_KEYS);
        assert_non_null(text);
        if (read_nodes(text, &again, &err) != ISOVAE_OK) fail_msg("%s: %s", text, err.message);
        const iv_node *a = &graph->nodes[0], *b = &again->nodes[0];
        assert_memory_equal(&a->attributes.conv, &b->attributes.conv, sizeof a->attributes.conv);
        assert_memory_equal(a->attributes.scale, b->attributes.scale, sizeof a->attributes.scale);
        assert_int_equal(a->attributes.count_include_pad, b->attributes.count_include_pad);
        assert_int_equal(a->attributes.axis, b->attributes.axis);
        assert_true(!(a->attributes.eps < b->attributes.eps) &&
                    !(a->attributes.eps > b->attributes.eps));
        assert_true(iv_shape_equal(&graph->values[1].shape, &again->values[1].shape));
        free(text);
        json_decref(json);
        iv_graph_free(graph);
        iv_graph_free(again);
    }
    iv_graph *graph;
    MUST(read_nodes(nodes[9], &graph, err));
    assert_true(iv_shape_equal(&graph->values[1].shape, &(iv_shape){3, {4, 6, 6}}));
    iv_graph_free(graph);
    MUST(read_nodes(nodes[13], &graph, err));
    assert_true(iv_shape_equal(&graph->values[1].shape, &(iv_shape){3, {1, 12, 12}}));
    iv_graph_free(graph);
}

static void test_bad_nodes(void **state)
{
    (void)state;
    static const struct {
        const char *nodes, *says;
    } bad[] = {
        {NODE("batch_norm", ""), "needs the parameter"},
        {NODE("batch_norm", ",\"params\":{\"mean\":\"m\",\"var\":\"none\"}"), "no tensor"},
        {NODE("batch_norm", ",\"params\":{\"mean\":\"m\",\"var\":\"square\"}"), "must be 4"},
        {NODE("batch_norm", ",\"params\":{\"mean\":\"m\",\"var\":\"m\"}"), "both"},
        {NODE("batch_norm", ",\"params\":{" BATCH "},\"attributes\":{\"eps\":0}"), "above 0"},
        {NODE("batch_norm", ",\"params\":{" BATCH "},\"attributes\":{\"eps\":\"x\"}"), "above 0"},
        {NODE("gdn", ",\"params\":{\"beta\":\"b\"}"), "needs the parameter"},
        {NODE("gdn", ",\"params\":{\"beta\":\"b\",\"gamma\":\"g\"}"), "must be 4x4"},
        {NODE("gdn", ",\"params\":{\"beta\":\"b\",\"gamma\":\"square\"},\"parametrization\":"
                     "{\"beta\":\"cube\"}"),
         "parametrization"},
        {NODE("gdn", ",\"params\":{\"beta\":\"b\",\"gamma\":\"square\"},\"parametrization\":3"),
         "object"},
        {NODE("group_norm", ",\"attributes\":{\"groups\":3}"), "3 groups"},
        {NODE("group_norm", ",\"attributes\":{\"groups\":0}"), "groups"},
        {NODE("layer_norm", ",\"attributes\":{\"axis\":4}"), "axis 4"},
        {NODE("softmax", ",\"attributes\":{\"axis\":4}"), "axis 4"},
        {NODE("max_pool", ""), "kernel"},
        {NODE("max_pool", ",\"attributes\":{\"kernel\":0}"), "kernel"},
        {NODE("max_pool", ",\"attributes\":{\"kernel\":[2,2,2]}"), "2 integers"},
        {NODE("max_pool", ",\"attributes\":{\"kernel\":7}"), "do not fit"},
        {NODE("max_pool", ",\"attributes\":{\"kernel\":3,\"pads\":3}"), "do not fit"},
        {NODE("average_pool", ",\"attributes\":{\"kernel\":65535,\"pads\":65534}"), "do not fit"},
        {NODE("average_pool", ",\"attributes\":{\"kernel\":2,\"pads\":9999999999999}"), "pads"},
        {NODE("average_pool", ",\"attributes\":{\"kernel\":2,\"count_include_pad\":2}"), "0 or 1"},
        {NODE("upsample_nearest", ""), "scale"},
        {NODE("upsample_nearest", ",\"attributes\":{\"scale\":[2,-1]}"), "scale"},
        {NODE("upsample_bilinear", ",\"attributes\":{\"scale\":[2]}"), "scale"},
        {NODE("pixel_shuffle", ",\"attributes\":{\"factor\":3}"), "multiple"},
        {NODE("pixel_shuffle", ",\"attributes\":{\"factor\":65535}"), "multiple"},
        {"[{\"name\":\"a\",\"kind\":\"flatten\",\"inputs\":[\"x\"],\"output\":\"f\"},"
         "{\"name\":\"n\",\"kind\":\"max_pool\",\"inputs\":[\"f\"],\"output\":\"y\","
         "\"attributes\":{\"kernel\":2}}]",
         "three axes"},
        /* a running mean that another node would train */
        {"[{\"name\":\"a\",\"kind\":\"group_norm\",\"inputs\":[\"x\"],\"output\":\"f\","
         "\"params\":{\"weight\":\"m\"}},"
         "{\"name\":\"n\",\"kind\":\"batch_norm\",\"inputs\":[\"f\"],\"output\":\"y\","
         "\"params\":{" BATCH "}}]",
         "cannot share"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        isovae_error err = {0};
        iv_graph *graph;
        isovae_status status = read_nodes(bad[i].nodes, &graph, &err);
        assert_null(graph);
        if (status == ISOVAE_OK || strstr(err.message, bad[i].says) == NULL ||
            strstr(err.message, "'n'") == NULL)
            fail_msg("%s: '%s' does not say '%s'", bad[i].nodes, err.message, bad[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json), cmocka_unit_test(test_bad_nodes),
        cmocka_unit_test(test_reference_cases), cmocka_unit_test(test_derivatives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
