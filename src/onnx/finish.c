#include "onnx/finish.h"

#include "graph/node.h"

#include <stdio.h>
#include <string.h>

/* ---- merging ---- */

static size_t maker_of(const iv_graph *graph, size_t value)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        for (size_t j = 0; j < graph->nodes[i].n_outputs; j++) {
            if (graph->nodes[i].outputs[j] == value) return i;
        }
    }
    return SIZE_MAX;
}

static bool is_kind(const iv_node *node, const char *kind)
{
    return strcmp(node->kind->name, kind) == 0;
}

/* A constant added behind dense or a convolution that has no bias yet. */
static bool fuse_bias(iv_graph *graph, size_t add)
{
    const iv_node *sum = &graph->nodes[add];
    if (!is_kind(sum, "add") || sum->n_inputs != 1 || sum->params[0] == SIZE_MAX) return false;
    size_t between = sum->inputs[0], i = maker_of(graph, between);
    if (i == SIZE_MAX || iv_graph_only_reader(graph, between) != add) return false;
    iv_node *node = &graph->nodes[i];
    iv_param *bias = &graph->params[sum->params[0]];
    const iv_shape *row = &graph->values[between].shape;
    bool dense = is_kind(node, "dense"), fits = bias->size == row->dim[0];
    if (!dense && !is_kind(node, "conv") && !is_kind(node, "conv_transpose")) return false;
    if (node->params[1] != SIZE_MAX || node->attributes.act != IV_ACT_NONE) return false;
    if (!dense)
        fits = fits && bias->shape.rank >= 3 && bias->shape.dim[bias->shape.rank - 3] == bias->size;
    if (!fits || !iv_shape_equal(row, &graph->values[sum->outputs[0]].shape)) return false;
    node->params[1] = sum->params[0];
    bias->shape = (iv_shape){1, {bias->size}};
    bias->buffer = false;
    iv_graph_absorb(graph, i, add);
    return true;
}

/* x sigmoid(x), the sigmoid read by nothing else */
static bool fuse_silu(iv_graph *graph, size_t product)
{
    iv_node *node = &graph->nodes[product];
    if (!is_kind(node, "multiply") || node->n_inputs != 2) return false;
    for (size_t side = 0; side < 2; side++) {
        size_t x = node->inputs[side], s = node->inputs[1 - side], i = maker_of(graph, s);
        if (x == s || i == SIZE_MAX || !is_kind(&graph->nodes[i], "sigmoid")) continue;
        if (graph->nodes[i].inputs[0] != x || iv_graph_only_reader(graph, s) != product) continue;
        iv_node *gate = &graph->nodes[i];
        gate->kind = iv_node_kind_find("silu");
        gate->attributes.act = IV_ACT_SILU;
        iv_graph_absorb(graph, i, product);
        return true;
    }
    return false;
}

void iv_onnx_fuse(iv_graph *graph)
{
    for (size_t i = 0; i < graph->n_nodes;) {
        if (!fuse_bias(graph, i) && !fuse_silu(graph, i)) i++;
    }
    iv_graph_fuse(graph);
}

/* ---- outputs ---- */

static bool is_port(const iv_graph *graph, size_t value)
{
    bool port = false;
    for (size_t i = 0; i < graph->n_outputs; i++) port = port || graph->outputs[i] == value;
    for (size_t i = 0; i < graph->n_inputs; i++) port = port || graph->inputs[i] == value;
    return port;
}

static isovae_status add_output(iv_onnx_context *c, const char *name, const iv_onnx_value *given)
{
    iv_onnx_value v = *given, live;
    iv_shape row;
    size_t value;
    if (!v.live && v.dims.batch == IV_ONNX_NO_BATCH && v.dims.rank > 0 &&
        (v.dims.dim[0] == 1 || (c->fixed > 1 && v.dims.dim[0] == c->fixed))) {
        /* a constant with the batch's axis in front */
        const double *data;
        double *f;
        size_t n;
        iv_onnx_dims dims = v.dims;
        dims.batch = 0;
        dims.dim[0] = dims.before = 1;
        IV_TRY(iv_onnx_spread(c, &v, &dims, &data));
        IV_TRY(iv_onnx_count(c, &dims, &n));
        IV_TRY(iv_onnx_new_float(c, &dims, true, &v, &f));
        memcpy(f, data, n * sizeof *f);
    }
    if (!v.live) {
        IV_TRY(iv_onnx_note(c, "output '%.150s' is the same whatever the input", name));
    }
    IV_TRY(iv_onnx_enliven(c, &v, &live));
    IV_TRY(iv_onnx_row_shape(c, &live.dims, &row));
    if (row.rank == 0) row = (iv_shape){1, {1}};
    if (live.dims.batch != 0 || live.dims.dim[0] != 1) {
        char text[IV_ONNX_DIMS_TEXT], shape[IV_SHAPE_TEXT];
        IV_TRY(iv_onnx_note(c,
                            "output '%.150s' is %s in the file, B being the batch; its rows are "
                            "%s here",
                            name, iv_onnx_dims_text(&live.dims, text), iv_shape_text(&row, shape)));
    }
    IV_TRY(iv_onnx_rows(c, &live, &row, &value));
    if (is_port(c->graph, value)) { /* an output twice, or an input: a copy */
        iv_onnx_emission e = {.kind = "reshape",
                              .n_inputs = 1,
                              .n_outputs = 1,
                              .inputs = {value},
                              .attributes = {.shape = row}};
        IV_TRY(iv_onnx_emit(c, &e, &value));
    }
    size_t other = iv_graph_find_value(c->graph, name);
    if (other != SIZE_MAX && other != value && !is_port(c->graph, other)) {
        /* the same before its last reshape: the name is for what is read */
        char text[48];
        snprintf(text, sizeof text, "before output %zu", c->graph->n_outputs);
        IV_TRY(iv_onnx_rename(c, other, text));
    }
    IV_TRY(iv_onnx_rename(c, value, name));
    return iv_graph_output(c->graph, value, c->err);
}

/* ---- samplings ---- */

static const Onnx__NodeProto *reader_of(const Onnx__GraphProto *g, const char *tensor,
                                        const char **other)
{
    for (size_t i = 0; i < g->n_node; i++) {
        const Onnx__NodeProto *node = g->node[i];
        for (size_t j = 0; j < node->n_input; j++) {
            if (strcmp(node->input[j], tensor) != 0) continue;
            *other = node->n_input == 2 ? node->input[1 - j] : NULL;
            return node;
        }
    }
    return NULL;
}

static bool is_op(const Onnx__NodeProto *node, const char *op)
{
    return node != NULL && node->op_type != NULL && node->n_output > 0 &&
           strcmp(node->op_type, op) == 0;
}

static isovae_status copy(iv_onnx_context *c, char **out, const char *text)
{
    return iv_strdup(out, text == NULL ? "" : text, c->err);
}

static isovae_status find_maker(iv_onnx_context *c, iv_onnx_graph *out, size_t output)
{
    const Onnx__GraphProto *g = c->model->graph;
    const char *name = out->output_names[output], *op = "", *source = "";
    char beside[512] = "";
    for (size_t i = g->n_node; i-- > 0;) { /* makers stand before readers */
        const Onnx__NodeProto *node = g->node[i];
        bool makes = node->n_output > 0 && strcmp(node->output[0], name) == 0;
        if (!makes || node->n_input == 0) continue;
        source = node->input[0];
        if (is_op(node, "Identity")) {
            name = source;
            continue;
        }
        op = node->op_type == NULL ? "" : node->op_type;
        size_t n = 0;
        for (size_t k = 0; k < node->n_input && k < 4 && n < sizeof beside; k++) {
            const char *text = k == 0 ? node->name : node->input[k];
            n += (size_t)snprintf(beside + n, sizeof beside - n, "%s%.120s", k == 0 ? "" : " ",
                                  text == NULL ? "" : text);
        }
        break;
    }
    IV_TRY(copy(c, &out->output_makers[output], beside));
    IV_TRY(copy(c, &out->output_ops[output], op));
    return copy(c, &out->output_sources[output], op[0] == '\0' ? "" : source);
}

static isovae_status find_samplings(iv_onnx_context *c, iv_onnx_graph *out)
{
    enum { MOST = 64 };
    const Onnx__GraphProto *g = c->model->graph;
    IV_TRY(IV_NEW(out->samplings, MOST, "samplings of an ONNX file", c->err));
    for (size_t i = 0; i < g->n_node && out->n_samplings < MOST; i++) {
        const Onnx__NodeProto *node = g->node[i];
        if (node->op_type == NULL || !iv_onnx_is_random(node->op_type) || node->n_output == 0) {
            continue;
        }
        iv_onnx_sampling *s = &out->samplings[out->n_samplings++];
        IV_TRY(copy(c, &s->node, node->name));
        IV_TRY(copy(c, &s->op, node->op_type));
        IV_TRY(copy(c, &s->noise, node->output[0]));
        const char *other = NULL;
        const Onnx__NodeProto *next = reader_of(g, node->output[0], &other);
        for (int steps = 0; steps < 4 && (is_op(next, "Cast") || is_op(next, "Identity"));
             steps++) {
            next = reader_of(g, next->output[0], &other);
        }
        if (!is_op(next, "Mul") || other == NULL) continue;
        IV_TRY(copy(c, &s->deviation, other));
        next = reader_of(g, next->output[0], &other);
        if (!is_op(next, "Add") || other == NULL) continue;
        IV_TRY(copy(c, &s->mean, other));
        IV_TRY(copy(c, &s->sample, next->output[0]));
    }
    return ISOVAE_OK;
}

/* ---- parameters ---- */

static isovae_status fill_params(iv_onnx_context *c, iv_onnx_graph *out)
{
    iv_graph *graph = out->graph;
    size_t size = out->dtype == IV_F64 ? sizeof(double) : sizeof(float);
    iv_graph_layout(graph, 0);
    IV_TRY(
        iv_alloc(&out->params, graph->param_elements, size, "parameters of an ONNX file", c->err));
    size_t next = 0; /* both lists are in the order of making */
    for (size_t i = 0; i < graph->n_params; i++) {
        const iv_param *param = &graph->params[i];
        while (next < c->n_params && strcmp(c->params[next].name, param->name) != 0) next++;
        if (next == c->n_params) {
            return iv_fail(c->err, ISOVAE_ERR_INTERNAL, "no data for parameter '%s'", param->name);
        }
        const double *data = c->params[next].data;
        for (size_t k = 0; k < param->size; k++) {
            double raw = iv_param_raw(param->parametrization, data[k]);
            if (out->dtype == IV_F64)
                ((double *)out->params)[param->offset + k] = raw;
            else
                ((float *)out->params)[param->offset + k] = (float)raw;
        }
    }
    return ISOVAE_OK;
}

static isovae_status collect(iv_onnx_context *c, const char *const *outputs, size_t n,
                             const iv_onnx_value *values, int64_t opset, iv_onnx_graph *out)
{
    char text[256];
    for (size_t i = 0; i < n; i++) {
        isovae_status status = add_output(c, outputs[i], &values[i]);
        if (status != ISOVAE_OK) {
            return iv_fail_prefix(c->err, status, "output '%.150s'", outputs[i]);
        }
        IV_TRY(copy(c, &out->output_names[i], outputs[i]));
        IV_TRY(find_maker(c, out, i));
    }
    for (size_t i = 0; i < c->graph->n_inputs; i++) {
        IV_TRY(copy(c, &out->input_names[i], c->graph->values[c->graph->inputs[i]].name));
    }
    if (c->graph->n_inputs == 0) return IV_ONNX_REFUSE(c, "its outputs depend on no input");
    out->opset = opset;
    out->fixed_batch = c->fixed;
    out->dtype = c->options->dtype;
    snprintf(text, sizeof text, "%.100s%s%.100s",
             c->model->producer_name == NULL ? "" : c->model->producer_name,
             c->model->producer_version == NULL ? "" : " ",
             c->model->producer_version == NULL ? "" : c->model->producer_version);
    IV_TRY(copy(c, &out->producer, text));
    IV_TRY(find_samplings(c, out));
    iv_onnx_fuse(c->graph);
    out->graph = c->graph;
    c->graph = NULL;
    IV_TRY(fill_params(c, out));
    out->notes = c->notes;
    out->n_notes = c->n_notes;
    c->notes = NULL;
    c->n_notes = 0;
    return ISOVAE_OK;
}

isovae_status iv_onnx_finish(iv_onnx_context *c, const char *const *outputs, size_t n,
                             const iv_onnx_value *values, int64_t opset, iv_onnx_graph **out)
{
    IV_TRY(IV_NEW(*out, 1, "an ONNX graph", c->err));
    isovae_status status = collect(c, outputs, n, values, opset, *out);
    if (status == ISOVAE_OK) return status;
    iv_onnx_free(*out);
    *out = NULL;
    return status;
}

void iv_onnx_free(iv_onnx_graph *graph)
{
    if (graph == NULL) return;
    for (size_t i = 0; i < IV_MAX_PORTS; i++) {
        iv_free(graph->input_names[i]);
        iv_free(graph->output_names[i]);
        iv_free(graph->output_ops[i]);
        iv_free(graph->output_sources[i]);
        iv_free(graph->output_makers[i]);
    }
    for (size_t i = 0; i < graph->n_samplings; i++) {
        iv_onnx_sampling *s = &graph->samplings[i];
        iv_free(s->node);
        iv_free(s->op);
        iv_free(s->noise);
        iv_free(s->deviation);
        iv_free(s->mean);
        iv_free(s->sample);
    }
    for (size_t i = 0; i < graph->n_notes; i++) iv_free(graph->notes[i]);
    iv_free(graph->samplings);
    iv_free(graph->notes);
    iv_free(graph->producer);
    iv_free(graph->params);
    iv_graph_free(graph->graph);
    iv_free(graph);
}
