/* conv and conv_transpose: the reference values, random descriptors against plain loops, order of
 * memory, bytes, JSON, and descriptors that must be refused. */
#include "support_graph.h"
#include "support_npz.h"

#include "base/pool.h"
#include "graph/exec_state.h"

#include <jansson.h>
#include <math.h>

/* Single precision against the largest value, in sums of up to some two thousand terms. */
#define LONG_SUMS 2e-5

/* A node between x and y with its descriptor, parameters and data, all as doubles. */
typedef struct conv_case {
    bool transposed;
    iv_shape in, out;
    iv_conv_attributes conv;
    iv_act act;
    bool bias;
    size_t rows, tangents;
    iv_graph *graph;
    size_t x_size, y_size, w_size;
    double *w, *b, *x, *u, *v; /* v: tangents */
    double *y, *gx, *gw, *gb, *jv;
} conv_case;

static void build_graph(conv_case *c, size_t channels)
{
    size_t value;
    MUST(iv_graph_new(&c->graph, err));
    MUST(iv_graph_input(c->graph, "x", &c->in, &value, err));
    iv_node_spec spec = {.kind = c->transposed ? "conv_transpose" : "conv",
                         .name = "node",
                         .n_inputs = 1,
                         .inputs = {value},
                         .n_outputs = 1,
                         .outputs = {"y"},
                         .params = {"weight", c->bias ? "bias" : ""},
                         .units = channels,
                         .attributes = {.act = c->act, .conv = c->conv}};
    MUST(iv_graph_node(c->graph, &spec, &value, err));
    MUST(iv_graph_output(c->graph, value, err));
    c->conv = c->graph->nodes[0].attributes.conv;
    c->out = c->graph->values[value].shape;
    c->x_size = c->graph->values[0].size;
    c->y_size = c->graph->values[value].size;
    c->w_size = c->graph->params[0].size;
}

static size_t at3(const iv_shape *shape, size_t row, size_t c, size_t y, size_t x)
{
    return ((row * shape->dim[0] + c) * shape->dim[1] + y) * shape->dim[2] + x;
}

/* The definition: `visit` of every product of a big and a small element with its weight. */
typedef void visitor(conv_case *c, size_t row, size_t big, size_t small, size_t weight);
static void walk(conv_case *c, size_t rows, visitor *visit)
{
    const iv_conv_attributes *a = &c->conv;
    const iv_shape *big = c->transposed ? &c->out : &c->in;
    const iv_shape *small = c->transposed ? &c->in : &c->out;
    size_t each = big->dim[0] / a->groups, small_each = small->dim[0] / a->groups;
    for (size_t r = 0; r < rows; r++)
        for (size_t s = 0; s < small->dim[0]; s++)
            for (size_t b = 0; b < each; b++)
                for (size_t i = 0; i < small->dim[1]; i++)
                    for (size_t j = 0; j < small->dim[2]; j++)
                        for (size_t ky = 0; ky < a->kernel[0]; ky++)
                            for (size_t kx = 0; kx < a->kernel[1]; kx++) {
                                size_t y = i * a->stride[0] + ky * a->dilation[0];
                                size_t x = j * a->stride[1] + kx * a->dilation[1];
                                if (y < a->pads[0] || x < a->pads[1]) continue;
                                y -= a->pads[0];
                                x -= a->pads[1];
                                if (y >= big->dim[1] || x >= big->dim[2]) continue;
                                size_t channel = s / small_each * each + b;
                                size_t weight =
                                    ((s * each + b) * a->kernel[0] + ky) * a->kernel[1] + kx;
                                visit(c, r, at3(big, r, channel, y, x), at3(small, r, s, i, j),
                                      weight);
                            }
}

static void visit_forward(conv_case *c, size_t row, size_t big, size_t small, size_t weight)
{
    (void)row;
    if (c->transposed)
        c->y[big] += c->x[small] * c->w[weight];
    else
        c->y[small] += c->x[big] * c->w[weight];
}

static void visit_reverse(conv_case *c, size_t row, size_t big, size_t small, size_t weight)
{
    size_t x = c->transposed ? small : big, y = c->transposed ? big : small;
    (void)row;
    c->gx[x] += c->u[y] * c->w[weight];
    c->gw[weight] += c->u[y] * c->x[x];
}

static void visit_tangent(conv_case *c, size_t row, size_t big, size_t small, size_t weight)
{
    (void)row;
    if (c->transposed)
        c->jv[big] += c->v[small] * c->w[weight];
    else
        c->jv[small] += c->v[big] * c->w[weight];
}

/* Fills in data and, by plain loops, results. */
static void expect(conv_case *c, uint64_t seed)
{
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    size_t ys = c->rows * c->y_size, xs = c->rows * c->x_size, channels = c->out.dim[0];
    size_t pixels = c->out.dim[1] * c->out.dim[2];
    c->w = noises(c->w_size, seed);
    c->b = noises(channels, seed + 1);
    c->x = noises(xs, seed + 2);
    c->u = noises(ys, seed + 3);
    c->v = noises(xs * c->tangents, seed + 4);
    c->y = numbers(ys);
    c->gx = numbers(xs);
    c->gw = numbers(c->w_size);
    c->gb = numbers(channels);
    c->jv = numbers(ys * c->tangents);
    double parameter = iv_act_default_parameter(c->act), *slope = numbers(ys), *u = c->u;
    if (c->bias) {
        for (size_t i = 0; i < ys; i++) c->y[i] = c->b[i / pixels % channels];
    }
    walk(c, c->rows, visit_forward);
    walk(c, c->rows * c->tangents, visit_tangent);
    if (c->act != IV_ACT_NONE) {
        k->act_derivative(c->act, parameter, ys, c->y, slope);
        k->act_forward(c->act, parameter, ys, c->y, c->y);
        for (size_t i = 0; i < ys * c->tangents; i++) c->jv[i] *= slope[i % ys];
        c->u = numbers(ys);
        for (size_t i = 0; i < ys; i++) c->u[i] = u[i] * slope[i];
    }
    for (size_t i = 0; i < ys; i++) c->gb[i / pixels % channels] += c->u[i];
    walk(c, c->rows, visit_reverse);
    if (c->act != IV_ACT_NONE) {
        free(c->u);
        c->u = u;
    }
    free(slope);
}

static void release(conv_case *c)
{
    double *all[] = {c->w, c->b, c->x, c->u, c->v, c->y, c->gx, c->gw, c->gb, c->jv};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
    iv_graph_free(c->graph);
}

static net open_case(const conv_case *c, const iv_kernels *k)
{
    net n = net_open(c->graph, k,
                     &(iv_exec_plan){.rows = c->rows,
                                     .reverse = true,
                                     .tangent_rows = c->tangents * c->rows,
                                     .tangents = c->tangents});
    net_set_param(&n, "weight", c->w);
    if (c->bias) net_set_param(&n, "bias", c->b);
    net_set(&n, "x", c->x);
    return n;
}

static void near(const char *label, const char *what, double *got, const double *want, size_t n,
                 double tolerance)
{
    char name[256];
    snprintf(name, sizeof name, "%s: %s", label, what);
    assert_near(name, got, want, n, tolerance);
    free(got);
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static void check_case(conv_case *c, const iv_kernels *k, const char *label, double tolerance)
{
    size_t ys = c->rows * c->y_size, xs = c->rows * c->x_size;
    net n = open_case(c, k);
    net_forward(&n);
    near(label, "y", net_get(&n, "y"), c->y, ys, tolerance);
    net_seed(&n, "y", c->u);
    net_reverse(&n);
    near(label, "g_x", net_gradient(&n, "x"), c->gx, xs, tolerance);
    near(label, "g_weight", net_param_gradient(&n, "weight"), c->gw, c->w_size, tolerance);
    if (c->bias)
        near(label, "g_bias", net_param_gradient(&n, "bias"), c->gb, c->out.dim[0], tolerance);
    k->upload(iv_exec_tangent_value(n.exec, net_value(&n, "x"), 0), c->v, c->tangents * xs);
    iv_exec_tangent(n.exec, n.params, 0, c->rows, c->tangents, 0);
    double *jv =
        download(k, iv_exec_tangent_value(n.exec, net_value(&n, "y"), 0), c->tangents * ys);
    double *gx = net_gradient(&n, "x"); /* <Jv, u> = <v, J^T u> */
    for (size_t t = 0; t < c->tangents; t++) {
        double a = dot(jv + t * ys, c->u, ys), b = dot(c->v + t * xs, gx, xs);
        double scale = sqrt(dot(gx, gx, xs) * dot(c->v, c->v, xs)) + 1e-30;
        if (!(fabs(a - b) <= tolerance * scale))
            fail_msg("%s: <Jv, u> %g, <v, Ju> %g", label, a, b);
    }
    free(gx);
    near(label, "JV", jv, c->jv, c->tangents * ys, tolerance);
    net_close(&n);
}

static size_t pick(uint64_t *state, size_t least, size_t most)
{
    double u = (noise(state) + 1) / 2;
    return least + (size_t)(u * (double)(most - least + 1));
}

/* False where the descriptor leaves no pixel. */
static bool random_case(uint64_t *s, conv_case *c)
{
    static const size_t joined[] = {1, 1, 1, 2, 3, 5, 16};
    static const iv_act acts[] = {IV_ACT_NONE, IV_ACT_NONE, IV_ACT_SILU, IV_ACT_RELU, IV_ACT_TANH};
    *c = (conv_case){.transposed = pick(s, 0, 1) == 1,
                     .act = acts[pick(s, 0, 4)],
                     .bias = pick(s, 0, 2) > 0,
                     .rows = pick(s, 1, 4),
                     .tangents = pick(s, 1, 2)};
    c->conv.groups = joined[pick(s, 0, 6)];
    bool wide = pick(s, 0, 5) == 0;
    size_t in = c->conv.groups * pick(s, 1, wide ? 20 : 4);
    size_t out = c->conv.groups * pick(s, 1, wide ? 20 : 4);
    c->in = (iv_shape){3, {in}};
    for (size_t i = 0; i < 2; i++) {
        c->in.dim[i + 1] = pick(s, 1, 11);
        c->conv.kernel[i] = pick(s, 1, 6);
        c->conv.stride[i] = pick(s, 1, 4);
        c->conv.dilation[i] = pick(s, 1, 3);
        c->conv.pads[i] = pick(s, 0, 4);
        c->conv.pads[i + 2] = pick(s, 0, 4);
        size_t window = c->conv.dilation[i] * (c->conv.kernel[i] - 1) + 1;
        size_t pads = c->conv.pads[i] + c->conv.pads[i + 2], extent = c->in.dim[i + 1];
        if (c->transposed) {
            size_t most =
                c->conv.stride[i] > c->conv.dilation[i] ? c->conv.stride[i] : c->conv.dilation[i];
            c->conv.output_padding[i] = pick(s, 0, most - 1);
            if ((extent - 1) * c->conv.stride[i] + window + c->conv.output_padding[i] <= pads)
                return false;
        } else if (extent + pads < window) {
            return false;
        }
    }
    build_graph(c, out);
    return true;
}

static void label_of(const conv_case *c, size_t number, const iv_kernels *k, char label[256])
{
    char in[IV_SHAPE_TEXT], out[IV_SHAPE_TEXT];
    const iv_conv_attributes *a = &c->conv;
    snprintf(label, 256,
             "%zu %s %.30s to %.30s k %zux%zu s %zux%zu d %zux%zu p %zu,%zu,%zu,%zu g %zu %s %s",
             number, c->transposed ? "transposed" : "conv", iv_shape_text(&c->in, in),
             iv_shape_text(&c->out, out), a->kernel[0], a->kernel[1], a->stride[0], a->stride[1],
             a->dilation[0], a->dilation[1], a->pads[0], a->pads[1], a->pads[2], a->pads[3],
             a->groups, iv_act_name(c->act), k->isa);
}

static void test_random(void **state)
{
    (void)state;
    uint64_t s = 7;
    size_t done = 0, transposed = 0;
    while (done < 300) {
        conv_case c;
        char label[256];
        if (!random_case(&s, &c)) continue;
        expect(&c, done);
        for (size_t t = 0; kernels_at(t) != NULL; t++) {
            const iv_kernels *k = kernels_at(t);
            label_of(&c, done, k, label);
            check_case(&c, k, label, k->dtype == IV_F64 ? 1e-12 : LONG_SUMS);
        }
        transposed += c.transposed;
        release(&c);
        done++;
    }
    assert_in_range(transposed, 80, 220);
}

/* The descriptors of the presets, and shapes that need several tiles. */
static void test_real_shapes(void **state)
{
    (void)state;
    static const struct {
        bool transposed;
        size_t in[3], out, kernel, stride, pad, output_padding, rows;
    } all[] = {{false, {3, 64, 64}, 64, 9, 2, 4, 0, 1}, {false, {64, 32, 32}, 64, 5, 2, 2, 0, 1},
               {false, {64, 8, 8}, 64, 5, 2, 2, 0, 7},  {true, {64, 32, 32}, 3, 9, 2, 4, 1, 1},
               {true, {64, 8, 8}, 64, 5, 2, 2, 1, 2},   {true, {64, 4, 4}, 64, 5, 2, 2, 1, 7},
               {false, {128, 8, 8}, 64, 4, 2, 1, 0, 2}, {true, {64, 4, 4}, 128, 4, 2, 1, 0, 2},
               {true, {32, 16, 16}, 1, 4, 2, 1, 0, 2},  {false, {64, 24, 24}, 64, 1, 1, 0, 0, 2},
               {false, {40, 13, 17}, 33, 3, 1, 1, 0, 3}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        size_t kernel = all[i].kernel, stride = all[i].stride, pad = all[i].pad;
        conv_case c = {.transposed = all[i].transposed,
                       .in = {3, {all[i].in[0], all[i].in[1], all[i].in[2]}},
                       .conv = {.kernel = {kernel, kernel},
                                .stride = {stride, stride},
                                .pads = {pad, pad, pad, pad},
                                .output_padding = {all[i].output_padding, all[i].output_padding}},
                       .bias = true,
                       .act = i % 2 == 0 ? IV_ACT_SOFTPLUS : IV_ACT_NONE,
                       .rows = all[i].rows,
                       .tangents = 1};
        char label[256];
        build_graph(&c, all[i].out);
        expect(&c, i);
        for (size_t t = 0; kernels_at(t) != NULL; t++) {
            const iv_kernels *k = kernels_at(t);
            if (k->isa != NULL && strcmp(k->name, "f32-reference") == 0) continue; /* slow */
            label_of(&c, i, k, label);
            check_case(&c, k, label, k->dtype == IV_F64 ? 1e-12 : LONG_SUMS);
        }
        release(&c);
    }
}

static void read_pair(const npz *file, const char *name, size_t *out, size_t n)
{
    const npz_array *array = npz_find(file, name);
    if (array == NULL) return;
    assert_int_equal(array->count, n);
    for (size_t i = 0; i < n; i++) out[i] = (size_t)array->values[i];
}

static double *copy_of(const npz *file, const char *name, size_t n)
{
    const npz_array *array = npz_get(file, name);
    double *values = numbers(n);
    assert_int_equal(array->count, n);
    memcpy(values, array->values, n * sizeof *values);
    return values;
}

static void test_reference(void **state)
{
    (void)state;
    static const char *const files[] = {"conv2d_1x1_nobias",
                                        "conv2d_3x3_depthwise",
                                        "conv2d_3x3_dil2",
                                        "conv2d_3x3_groups2",
                                        "conv2d_3x3_s1_p1",
                                        "conv2d_3x3_s2_asym",
                                        "conv2d_3x3_s2_depthwise_x2",
                                        "conv2d_3x5_s2x1",
                                        "conv2d_4x4_s2_p1",
                                        "conv2d_9x9_s1_p4",
                                        "conv2d_9x9_s2_p4",
                                        "conv_transpose2d_2x2_s3_nobias",
                                        "conv_transpose2d_3x3_dil2",
                                        "conv_transpose2d_3x3_s1_p1",
                                        "conv_transpose2d_3x3_s2_asym",
                                        "conv_transpose2d_3x3_s2_depthwise",
                                        "conv_transpose2d_3x3_s2_p1_op1",
                                        "conv_transpose2d_4x4_s2_groups2",
                                        "conv_transpose2d_4x4_s2_p1",
                                        "conv_transpose2d_9x9_s2_p4_op1"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[128];
        npz file;
        snprintf(path, sizeof path, "nodes/%s.npz", files[i]);
        if (!npz_open(&file, path)) {
            if (i == 0) skip();
            fail_msg("%s is missing", path);
        }
        const npz_array *x = npz_get(&file, "x"), *y = npz_get(&file, "y");
        const npz_array *w = npz_get(&file, "weight");
        conv_case c = {.transposed = strstr(files[i], "transpose") != NULL,
                       .in = {3, {x->shape[1], x->shape[2], x->shape[3]}},
                       .conv = {.kernel = {w->shape[2], w->shape[3]}},
                       .bias = npz_find(&file, "bias") != NULL,
                       .rows = x->shape[0],
                       .tangents = 3};
        read_pair(&file, "attr_stride", c.conv.stride, 2);
        read_pair(&file, "attr_dilation", c.conv.dilation, 2);
        read_pair(&file, "attr_pads", c.conv.pads, 4);
        read_pair(&file, "attr_output_padding", c.conv.output_padding, 2);
        read_pair(&file, "attr_groups", &c.conv.groups, 1);
        build_graph(&c, y->shape[1]);
        for (size_t j = 0; j < 3; j++) assert_int_equal(c.out.dim[j], y->shape[j + 1]);
        c.w = copy_of(&file, "weight", c.w_size);
        c.x = copy_of(&file, "x", c.rows * c.x_size);
        c.u = copy_of(&file, "u", c.rows * c.y_size);
        c.v = copy_of(&file, "V_x", 3 * c.rows * c.x_size);
        c.y = copy_of(&file, "y", c.rows * c.y_size);
        c.gx = copy_of(&file, "g_x", c.rows * c.x_size);
        c.gw = copy_of(&file, "g_weight", c.w_size);
        c.jv = copy_of(&file, "JV", 3 * c.rows * c.y_size);
        if (c.bias) {
            c.b = copy_of(&file, "bias", y->shape[1]);
            c.gb = copy_of(&file, "g_bias", y->shape[1]);
        }
        for (size_t t = 0; kernels_at(t) != NULL; t++) {
            const iv_kernels *k = kernels_at(t);
            char label[256];
            snprintf(label, sizeof label, "%s, %s %s", files[i], k->name, k->isa);
            check_case(&c, k, label, k->dtype == IV_F64 ? 1e-12 : 2e-6);
        }
        release(&c);
        npz_close(&file);
    }
}

/* Ranges of rows, and blocks of the weight gradient, in any cut: the same bytes. */
static void check_bytes(conv_case *c, const iv_kernels *k, uint64_t *s)
{
    size_t ys = c->rows * c->y_size, xs = c->rows * c->x_size, w = c->w_size;
    net whole = open_case(c, k), cut = open_case(c, k);
    net_forward(&whole);
    net_seed(&whole, "y", c->u);
    net_reverse(&whole);
    iv_exec_prepare_all(cut.exec, cut.params);
    net_seed(&cut, "y", c->u);
    for (size_t first = 0; first < c->rows;) {
        size_t count = pick(s, 1, c->rows - first);
        iv_exec_forward(cut.exec, cut.params, first, count, 0);
        iv_exec_reverse(cut.exec, cut.params, first, count, true, 0);
        first += count;
    }
    size_t x = net_value(&whole, "x"), y = net_value(&whole, "y");
    assert_memory_equal(iv_exec_value(whole.exec, y), iv_exec_value(cut.exec, y), ys * k->size);
    assert_memory_equal(iv_exec_gradient(whole.exec, x), iv_exec_gradient(cut.exec, x),
                        xs * k->size);
    for (size_t blocks = 1; blocks < 12; blocks++) {
        iv_node_call call;
        k->fill(w, NAN, cut.grads);
        iv_exec_call(cut.exec, cut.params, 0, 0, c->rows, 0, &call);
        call.grad_out[0] = iv_exec_gradient(cut.exec, y);
        for (size_t b = blocks; b-- > 0;)
            call.node->kind->param_gradient(&call, 0, cut.grads, false, b, blocks);
        assert_memory_equal(whole.grads, cut.grads, w * k->size);
    }
    net_close(&whole);
    net_close(&cut);
}

static void test_bytes(void **state)
{
    (void)state;
    uint64_t s = 99;
    for (size_t done = 0; done < 40;) {
        conv_case c;
        if (!random_case(&s, &c)) continue;
        expect(&c, done++);
        for (size_t t = 0; kernels_at(t) != NULL; t++) check_bytes(&c, kernels_at(t), &s);
        release(&c);
    }
    for (size_t transposed = 0; transposed < 2; transposed++) { /* more than one tile */
        conv_case c = {.transposed = transposed == 1,
                       .in = {3, {64, 8, 8}},
                       .conv = {.kernel = {5, 5}, .stride = {2, 2}, .pads = {2, 2, 2, 2}},
                       .bias = true,
                       .rows = 13,
                       .tangents = 1};
        build_graph(&c, 40);
        expect(&c, 5);
        check_bytes(&c, iv_kernels_get(IV_PRECISION_F32, NULL), &s);
        release(&c);
    }
}

static void gradient_task(void *argument, size_t task)
{
    net *n = argument;
    iv_exec_param_gradient(n->exec, n->params, n->grads, n->rows, task);
}

/* Parameter gradients on more threads than the workspace has lanes: they share the work memory of
 * its lanes, and the bytes are those of one thread. */
static void test_threads(void **state)
{
    (void)state;
    const iv_shape in = {3, {8, 20, 20}};
    iv_graph *graph;
    size_t value;
    MUST(iv_graph_new(&graph, err));
    MUST(iv_graph_input(graph, "x", &in, &value, err));
    static const char *const names[] = {"c1", "c2", "c3"};
    static const char *const outputs[] = {"a", "b", "y"};
    for (size_t i = 0; i < 3; i++) {
        iv_node_spec spec = {.kind = i == 1 ? "conv_transpose" : "conv",
                             .name = names[i],
                             .n_inputs = 1,
                             .inputs = {value},
                             .n_outputs = 1,
                             .outputs = {outputs[i]},
                             .units = 24,
                             .attributes = {.conv = {.kernel = {5, 5}, .stride = {2, 2}}}};
        MUST(iv_graph_node(graph, &spec, &value, err));
    }
    MUST(iv_graph_output(graph, value, err));
    net n = net_open(graph, iv_kernels_get(IV_PRECISION_F32, NULL),
                     &(iv_exec_plan){.rows = 12, .reverse = true, .lanes = 2});
    double *params = noises(graph->param_elements, 1), *x = noises(12 * 3200, 2);
    double *u = noises(12 * graph->values[value].size, 3);
    n.k->upload(n.params, params, graph->param_elements);
    net_set(&n, "x", x);
    net_forward(&n);
    net_seed(&n, "y", u);
    net_reverse(&n);
    size_t bytes = graph->param_elements * n.k->size;
    void *want = malloc(bytes);
    assert_non_null(want);
    memcpy(want, n.grads, bytes);
    iv_pool *pool;
    MUST(iv_pool_new(&pool, 4, err));
    assert_true(iv_exec_param_tasks(n.exec) >= 6);
    for (size_t i = 0; i < 100; i++) {
        memset(n.grads, 0, bytes);
        iv_pool_run(pool, iv_exec_param_tasks(n.exec), gradient_task, &n);
        assert_memory_equal(n.grads, want, bytes);
    }
    iv_pool_free(pool);
    free(want);
    free(params);
    free(x);
    free(u);
    net_close(&n);
    iv_graph_free(graph);
}

/* A network in which values between convolutions are channels last, and the same nodes one by one,
 * where every value is a port and so in logical order. */
static const char network[] =
    "[{'name':'c1','kind':'conv','inputs':['x'],'output':'a','params':{'weight':'c1.w','bias':"
    "'c1.b'},'attributes':{'stride':[2,1],'pads':[1,1,1,1]}},"
    "{'name':'act','kind':'silu','inputs':['a'],'output':'b'},"
    "{'name':'gate','kind':'conv','inputs':['b'],'output':'g','params':{'weight':'g.w'},"
    "'attributes':{'stride':[4,8],'activation':'sigmoid'}},"
    "{'name':'mul','kind':'multiply','inputs':['b','g'],'output':'m'},"
    "{'name':'cat','kind':'concat','inputs':['m','b'],'output':'n'},"
    "{'name':'split','kind':'split','inputs':['n'],'outputs':['s','t'],"
    "'attributes':{'axis':3,'sizes':[5,3]}},"
    "{'name':'rows','kind':'reshape','inputs':['s'],'output':'r','attributes':{'shape':[5,4,12]}},"
    "{'name':'c2','kind':'conv_transpose','inputs':['r'],'output':'d','params':{'weight':'c2.w',"
    "'bias':'c2.b'},'attributes':{'stride':2,'activation':'tanh'}},"
    "{'name':'c3','kind':'conv','inputs':['t'],'output':'e','params':{'weight':'c3.w'},"
    "'attributes':{'pads':1}},"
    "{'name':'f1','kind':'flatten','inputs':['d'],'output':'f'},"
    "{'name':'f2','kind':'flatten','inputs':['e'],'output':'h'},"
    "{'name':'all','kind':'concat','inputs':['f','h'],'output':'i'},"
    "{'name':'fc','kind':'dense','inputs':['i'],'output':'j','params':{'weight':'fc.w'}},"
    "{'name':'up','kind':'reshape','inputs':['j'],'output':'k','attributes':{'shape':[6,2,2]}},"
    "{'name':'c4','kind':'conv_transpose','inputs':['k'],'output':'y','params':{'weight':'c4.w',"
    "'bias':'c4.b'},'attributes':{'stride':2,'pads':1}}]";

static bool network_shape(void *user, const char *name, iv_shape *out)
{
    static const struct {
        const char *name;
        iv_shape shape;
    } all[] = {
        {"c1.w", {4, {6, 3, 3, 3}}}, {"c1.b", {1, {6}}},          {"g.w", {4, {6, 6, 4, 8}}},
        {"c2.w", {4, {5, 7, 3, 3}}}, {"c2.b", {1, {7}}},          {"c3.w", {4, {4, 12, 3, 3}}},
        {"fc.w", {2, {24, 1623}}},   {"c4.w", {4, {6, 3, 4, 4}}}, {"c4.b", {1, {3}}}};
    (void)user;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strcmp(all[i].name, name) != 0) continue;
        *out = all[i].shape;
        return true;
    }
    return false;
}

static json_t *parse(const char *text)
{
    char *copy = strdup(text);
    json_error_t error;
    assert_non_null(copy);
    for (char *p = copy; *p != '\0'; p++) {
        if (*p == '\'') *p = '"';
    }
    json_t *json = json_loads(copy, 0, &error);
    if (json == NULL) fail_msg("%s", error.text);
    free(copy);
    return json;
}

static iv_graph *read_network(bool all_ports)
{
    static const char *const one[] = {"y"};
    static const char *const ports[] = {"a", "b", "g", "m", "n", "r", "d", "y"};
    const iv_shape in = {3, {3, 8, 8}};
    iv_graph *graph;
    json_t *nodes = parse(network);
    MUST(iv_graph_from_json(nodes, "x", &in, all_ports ? ports : one, all_ports ? 8 : 1,
                            network_shape, NULL, &graph, err));
    json_decref(nodes);
    return graph;
}

static void test_layout(void **state)
{
    (void)state;
    enum { ROWS = 3, TANGENTS = 2 };
    static const char *const last[] = {"a", "b", "g", "m", "n", "s", "t", "r", "d", "e", "k"};
    iv_graph *graphs[2] = {read_network(false), read_network(true)};
    for (size_t t = 0; kernels_at(t) != NULL; t++) {
        const iv_kernels *k = kernels_at(t);
        double *y[2], *gx[2], *grads[2], *jv[2];
        size_t n_params = graphs[0]->param_elements, size = 3 * 8 * 8;
        double *x = noises(ROWS * size, 1), *v = noises(TANGENTS * ROWS * size, 2);
        double *params = noises(n_params, 3), *u = noises(ROWS * graphs[0]->n_values * 64, 4);
        for (size_t g = 0; g < 2; g++) {
            net n = net_open(graphs[g], k,
                             &(iv_exec_plan){.rows = ROWS,
                                             .reverse = true,
                                             .tangent_rows = ROWS * TANGENTS,
                                             .tangents = TANGENTS});
            for (size_t i = 0; i < sizeof last / sizeof last[0]; i++) {
                bool is = n.exec->values[net_value(&n, last[i])].channels_last;
                if (g == 0 && !is) fail_msg("'%s' is not channels last", last[i]);
                if (g == 1 && strchr("abgmnrdy", last[i][0]) != NULL) assert_false(is);
            }
            assert_false(n.exec->values[net_value(&n, "x")].channels_last);
            assert_false(n.exec->values[net_value(&n, "y")].channels_last);
            k->upload(n.params, params, n_params);
            net_set(&n, "x", x);
            net_forward(&n);
            y[g] = net_get(&n, "y");
            for (size_t i = 0; i < graphs[g]->n_outputs; i++) {
                size_t value = graphs[g]->outputs[i];
                k->fill(ROWS * graphs[g]->values[value].size, 0, iv_exec_gradient(n.exec, value));
            }
            net_seed(&n, "y", u);
            net_reverse(&n);
            gx[g] = net_gradient(&n, "x");
            grads[g] = download(k, n.grads, n_params);
            k->upload(iv_exec_tangent_value(n.exec, net_value(&n, "x"), 0), v,
                      TANGENTS * ROWS * size);
            iv_exec_tangent(n.exec, n.params, 0, ROWS, TANGENTS, 0);
            size_t out = TANGENTS * ROWS * n.graph->values[net_value(&n, "y")].size;
            jv[g] = download(k, iv_exec_tangent_value(n.exec, net_value(&n, "y"), 0), out);
            net_close(&n);
        }
        double tolerance = k->dtype == IV_F64 ? 1e-13 : 1e-6;
        size_t y_size = ROWS * graphs[0]->values[graphs[0]->outputs[0]].size;
        assert_near("y", y[0], y[1], y_size, tolerance);
        assert_near("g_x", gx[0], gx[1], ROWS * size, tolerance);
        assert_near("gradients", grads[0], grads[1], n_params, tolerance);
        assert_near("JV", jv[0], jv[1], TANGENTS * y_size, tolerance);
        double left = dot(jv[0], u, y_size), right = dot(v, gx[0], ROWS * size);
        if (k->dtype == IV_F64) assert_true(fabs(left - right) <= 1e-12 * fabs(left));
        for (size_t g = 0; g < 2; g++) {
            free(y[g]);
            free(gx[g]);
            free(grads[g]);
            free(jv[g]);
        }
        free(x);
        free(v);
        free(params);
        free(u);
    }
    iv_graph_free(graphs[0]);
    iv_graph_free(graphs[1]);
}

/* Values that nothing spatial touches stay as they are. */
static void test_layout_unwanted(void **state)
{
    (void)state;
    static const char text[] =
        "[{'name':'r','kind':'reshape','inputs':['x'],'output':'a','attributes':{'shape':[2,3,4]}},"
        "{'name':'t','kind':'tanh','inputs':['a'],'output':'b'},"
        "{'name':'f','kind':'flatten','inputs':['b'],'output':'y'}]";
    static const char *const outputs[] = {"y"};
    const iv_shape in = {1, {24}};
    json_t *nodes = parse(text);
    iv_graph *graph;
    MUST(iv_graph_from_json(nodes, "x", &in, outputs, 1, network_shape, NULL, &graph, err));
    net n = net_open(graph, kernels_at(0), &(iv_exec_plan){.rows = 1});
    for (size_t i = 0; i < graph->n_values; i++) assert_false(n.exec->values[i].channels_last);
    net_close(&n);
    iv_graph_free(graph);
    json_decref(nodes);
}

static void test_json(void **state)
{
    (void)state;
    iv_graph *graph = read_network(false);
    json_t *first = iv_graph_to_json(graph), *expected = parse(network);
    static const char *const outputs[] = {"y"};
    const iv_shape in = {3, {3, 8, 8}};
    iv_graph *again;
    assert_non_null(first);
    assert_int_equal(json_array_size(first), json_array_size(expected));
    /* Numbers that stand for both axes are written out, the rest as it was given. */
    const json_t *c2 = json_object_get(json_array_get(first, 7), "attributes");
    json_t *want = parse("{'stride':[2,2],'activation':'tanh'}");
    assert_true(json_equal(c2, want));
    json_decref(want);
    want = parse("{'stride':[2,2],'pads':[1,1,1,1]}");
    assert_true(json_equal(json_object_get(json_array_get(first, 14), "attributes"), want));
    json_decref(want);
    assert_true(json_equal(json_array_get(first, 0), json_array_get(expected, 0)));
    MUST(iv_graph_from_json(first, "x", &in, outputs, 1, network_shape, NULL, &again, err));
    json_t *second = iv_graph_to_json(again);
    assert_true(json_equal(first, second));
    json_decref(first);
    json_decref(second);
    json_decref(expected);
    iv_graph_free(graph);
    iv_graph_free(again);
}

/* Activations behind convolutions are taken into them, with the same results. */
static void test_fuse(void **state)
{
    (void)state;
    iv_graph *plain = read_network(false), *fused = read_network(false);
    size_t before = fused->n_nodes;
    iv_graph_fuse(fused);
    assert_int_equal(fused->n_nodes, before - 1);
    assert_int_equal(fused->nodes[0].attributes.act, IV_ACT_SILU);
    double *y[2];
    for (size_t g = 0; g < 2; g++) {
        const iv_graph *graph = g == 0 ? plain : fused;
        net n = net_open(graph, kernels_at(0), &(iv_exec_plan){.rows = 2});
        double *params = noises(graph->param_elements, 3), *x = noises(2 * 192, 1);
        n.k->upload(n.params, params, graph->param_elements);
        net_set(&n, "x", x);
        net_forward(&n);
        y[g] = net_get(&n, "y");
        free(params);
        free(x);
        net_close(&n);
    }
    assert_near("fused", y[1], y[0], 2 * 48, 1e-14);
    free(y[0]);
    free(y[1]);
    iv_graph_free(plain);
    iv_graph_free(fused);
}

static bool bad_shape(void *user, const char *name, iv_shape *out)
{
    const iv_shape *shapes = user;
    *out = shapes[strcmp(name, "w") == 0 ? 0 : 1];
    return true;
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const outputs[] = {"y"};
    static const struct {
        const char *kind, *attributes, *says;
        iv_shape in, weight;
        size_t bias;
    } all[] = {
        {"conv",
         "{'stride':[0,1]}",
         "'stride' must hold integers from 1 to",
         {3, {4, 8, 8}},
         {4, {6, 4, 3, 3}},
         6},
        {"conv",
         "{'stride':[1]}",
         "'stride' must be an integer or a list of 2",
         {3, {4, 8, 8}},
         {4, {6, 4, 3, 3}},
         6},
        {"conv",
         "{'stride':1.5}",
         "'stride' must be an integer or",
         {3, {4, 8, 8}},
         {4, {6, 4, 3, 3}},
         6},
        {"conv", "{'stride':99999999999}", "from 1 to 65535", {3, {4, 8, 8}}, {4, {6, 4, 3, 3}}, 6},
        {"conv",
         "{'pads':[0,0,0,-1]}",
         "'pads' must hold integers from 0",
         {3, {4, 8, 8}},
         {4, {6, 4, 3, 3}},
         6},
        {"conv",
         "{'pads':[0,0]}",
         "'pads' must be an integer or a list of 4",
         {3, {4, 8, 8}},
         {4, {6, 4, 3, 3}},
         6},
        {"conv", "{'dilation':0}", "'dilation' must hold", {3, {4, 8, 8}}, {4, {6, 4, 3, 3}}, 6},
        {"conv",
         "{'dilation':4}",
         "spans 9 does not fit into the height 8",
         {3, {4, 8, 8}},
         {4, {6, 4, 3, 3}},
         6},
        {"conv",
         "{'groups':[2]}",
         "'groups' must be an integer",
         {3, {4, 8, 8}},
         {4, {6, 4, 3, 3}},
         6},
        {"conv", "{'groups':0}", "'groups' must hold", {3, {4, 8, 8}}, {4, {6, 4, 3, 3}}, 6},
        {"conv", "{'groups':3}", "3 groups do not divide", {3, {4, 8, 8}}, {4, {6, 4, 3, 3}}, 6},
        {"conv", "{'groups':2}", "must be 6x2x3x3 to fit", {3, {4, 8, 8}}, {4, {6, 4, 3, 3}}, 6},
        {"conv", "{}", "must be 6x4x3x3 to fit", {3, {4, 8, 8}}, {4, {6, 5, 3, 3}}, 6},
        {"conv", "{}", "must be 6 to fit", {3, {4, 8, 8}}, {4, {6, 4, 3, 3}}, 5},
        {"conv", "{}", "has four axes", {3, {4, 8, 8}}, {2, {6, 4}}, 6},
        {"conv", "{}", "channels x height x width", {1, {256}}, {4, {6, 4, 3, 3}}, 6},
        {"conv", "{}", "does not fit into the height 8", {3, {4, 8, 8}}, {4, {6, 4, 9, 3}}, 6},
        {"conv", "{}", "convolutions take up to", {3, {1, 65536, 1}}, {4, {6, 1, 1, 1}}, 6},
        {"conv", "{}", "kernel is 65536", {3, {4, 8, 8}}, {4, {6, 4, 65536, 3}}, 6},
        {"conv", "{'pads':60000}", "convolutions make up to", {3, {4, 8, 8}}, {4, {6, 4, 3, 3}}, 6},
        {"conv",
         "{'output_padding':1}",
         "has no attribute 'output_padding'",
         {3, {4, 8, 8}},
         {4, {6, 4, 3, 3}},
         6},
        {"conv",
         "{'activation':'nothing'}",
         "must name an activation",
         {3, {4, 8, 8}},
         {4, {6, 4, 3, 3}},
         6},
        {"conv_transpose",
         "{'output_padding':2,'stride':2}",
         "must be smaller than stride",
         {3, {4, 8, 8}},
         {4, {4, 6, 3, 3}},
         6},
        {"conv_transpose", "{'pads':5}", "nothing is left", {3, {4, 8, 8}}, {4, {4, 6, 3, 3}}, 6},
        {"conv_transpose",
         "{'stride':65535}",
         "convolutions make up to",
         {3, {4, 8, 8}},
         {4, {4, 6, 3, 3}},
         6},
        {"conv_transpose", "{}", "must be 4x6x3x3 to fit", {3, {4, 8, 8}}, {4, {5, 6, 3, 3}}, 6},
        {"conv_transpose",
         "{'groups':65535}",
         "one output channel or more",
         {3, {4, 8, 8}},
         {4, {1, (size_t)1 << 56, 1, 1}},
         6},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char text[512];
        iv_shape shapes[2] = {all[i].weight, {1, {all[i].bias}}};
        snprintf(text, sizeof text,
                 "[{'name':'the node','kind':'%s','inputs':['x'],'output':'y','params':{'weight':"
                 "'w','bias':'b'},'attributes':%s}]",
                 all[i].kind, all[i].attributes);
        json_t *nodes = parse(text);
        iv_graph *graph;
        isovae_error err = {ISOVAE_OK, ""};
        isovae_status status =
            iv_graph_from_json(nodes, "x", &all[i].in, outputs, 1, bad_shape, shapes, &graph, &err);
        if (status != ISOVAE_ERR_FORMAT) fail_msg("%s was taken", text);
        assert_null(graph);
        if (strstr(err.message, all[i].says) == NULL || strstr(err.message, "'the node'") == NULL)
            fail_msg("case %zu says: %s", i, err.message);
        json_decref(nodes);
    }
}

/* By the builder, where no weight says what the kernel is. */
static void test_builder(void **state)
{
    (void)state;
    const iv_shape in = {3, {4, 8, 8}};
    iv_graph *graph;
    size_t x, y;
    isovae_error error = {ISOVAE_OK, ""};
    MUST(iv_graph_new(&graph, err));
    MUST(iv_graph_input(graph, "x", &in, &x, err));
    iv_node_spec spec = {.kind = "conv",
                         .name = "c",
                         .n_inputs = 1,
                         .inputs = {x},
                         .n_outputs = 1,
                         .outputs = {"y"},
                         .units = 5};
    assert_int_equal(iv_graph_node(graph, &spec, &y, &error), ISOVAE_ERR_FORMAT);
    assert_non_null(strstr(error.message, "kernel is 0"));
    spec.attributes.conv = (iv_conv_attributes){.kernel = {3, 2}, .output_padding = {1, 0}};
    assert_int_equal(iv_graph_node(graph, &spec, &y, &error), ISOVAE_ERR_FORMAT);
    assert_non_null(strstr(error.message, "belongs to conv_transpose"));
    spec.attributes.conv.output_padding[0] = 0;
    spec.units = 0;
    assert_int_equal(iv_graph_node(graph, &spec, &y, &error), ISOVAE_ERR_FORMAT);
    assert_non_null(strstr(error.message, "one output channel"));
    spec.units = 5;
    MUST(iv_graph_node(graph, &spec, &y, err));
    const iv_shape want = {3, {5, 6, 7}}, weight = {4, {5, 4, 3, 2}};
    assert_true(iv_shape_equal(&graph->values[y].shape, &want));
    assert_true(iv_shape_equal(&graph->params[0].shape, &weight));
    iv_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_real_shapes),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_layout_unwanted),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_fuse),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_builder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
