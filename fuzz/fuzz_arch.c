/* Architecture files. The first byte says what they are for: a table, or pictures of some size. A
 * network that is taken must keep to what was asked for, be written and read again as itself, and
 * run where it is small. */
#include "base/memory.h"
#include "graph/exec.h"
#include "model/arch.h"

#include <stdlib.h>
#include <string.h>

enum { SMALL = 1 << 12, MOST_BYTES = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool shape_of(void *user, const char *name, iv_shape *out)
{
    const iv_graph *graph = user;
    size_t param = iv_graph_find_param(graph, name);
    if (param == SIZE_MAX) return false;
    *out = graph->params[param].shape;
    return true;
}

/* The list of nodes that a model file would hold. */
static void again(iv_graph *graph)
{
    const char *outputs[IV_MAX_PORTS];
    iv_graph *read;
    isovae_error err;
    json_t *nodes = iv_graph_to_json(graph);
    if (nodes == NULL) abort();
    for (size_t i = 0; i < graph->n_outputs; i++)
        outputs[i] = graph->values[graph->outputs[i]].name;
    const iv_value *input = &graph->values[graph->inputs[0]];
    if (iv_graph_from_json(nodes, input->name, &input->shape, outputs, graph->n_outputs, shape_of,
                           graph, &read, &err) != ISOVAE_OK)
        abort();
    if (!iv_graph_same(graph, read)) abort();
    json_decref(nodes);
    iv_graph_free(read);
}

static void run(const iv_graph *graph)
{
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F32_REFERENCE, NULL);
    const iv_exec_plan plan = {.rows = 2, .reverse = true};
    iv_exec *exec;
    void *params;
    size_t work = graph->param_elements;
    for (size_t i = 0; i < graph->n_values; i++) work += graph->values[i].size;
    if (work > SMALL || graph->n_nodes > 64) return;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const iv_conv_attributes *conv = &graph->nodes[i].attributes.conv;
        if (conv->pads[0] + conv->pads[1] + conv->pads[2] + conv->pads[3] > 256) return;
        if (conv->kernel[0] > 256 || conv->kernel[1] > 256) return;
    }
    if (iv_exec_new(graph, k, &plan, &exec, NULL) != ISOVAE_OK) abort();
    if (k->alloc(&params, graph->param_elements, "parameters", NULL) != ISOVAE_OK) abort();
    iv_exec_prepare_all(exec, params);
    iv_exec_forward(exec, params, 0, 2, 0);
    iv_exec_reverse(exec, params, 0, 2, true, 0);
    k->release(params);
    iv_exec_free(exec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const iv_arch_image images[] = {{0, 0, 0}, {8, 8, 1}, {5, 4, 3}, {1, 1, 1}};
    enum { N = 2, TABLE = 3 };
    if (size == 0 || size > MOST_BYTES) return 0;
    const iv_arch_image *image = &images[data[0] % 4];
    size_t d = image->height == 0 ? TABLE : image->height * image->width * image->channels;
    char *text = malloc(size);
    isovae_error err;
    if (text == NULL) return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    json_error_t where;
    json_t *draft = json_loads(text, JSON_REJECT_DUPLICATES, &where);
    free(text);
    iv_graph *encoder, *decoder;
    if (draft != NULL &&
        iv_arch_graphs(draft, image, d, N, &encoder, &decoder, &err) == ISOVAE_OK) {
        if (encoder->values[encoder->outputs[0]].size != N ||
            encoder->values[encoder->outputs[1]].size != N ||
            decoder->values[decoder->outputs[0]].size != d)
            abort();
        again(encoder);
        again(decoder);
        run(encoder);
        run(decoder);
        iv_graph_free(encoder);
        iv_graph_free(decoder);
    }
    json_decref(draft);
    return 0;
}
