/* ONNX files, read within small limits. What is taken must have inputs and outputs, give every
 * parameter a place, and run where it is small. */
#include "base/memory.h"
#include "graph/exec.h"
#include "onnx/onnx.h"

#include <stdlib.h>
#include <string.h>

enum { SMALL = 1 << 14, MOST_BYTES = 1 << 18 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(const iv_onnx_graph *onnx)
{
    const iv_graph *graph = onnx->graph;
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F32_REFERENCE, NULL);
    const iv_exec_plan plan = {.rows = 1, .reverse = true};
    size_t work = graph->param_elements, maps = 0;
    iv_exec *exec;
    for (size_t i = 0; i < graph->n_values; i++) work += graph->values[i].size;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const iv_attributes *a = &graph->nodes[i].attributes;
        maps += a->n_map;
        for (size_t j = 0; j < 4; j++) work += a->conv.pads[j] * 64;
        work += a->conv.kernel[0] * a->conv.kernel[1];
    }
    if (work > SMALL || maps > SMALL || graph->n_nodes > 64) return;
    if (iv_exec_new(graph, k, &plan, &exec, NULL) != ISOVAE_OK) abort();
    iv_exec_prepare_all(exec, onnx->params);
    iv_exec_forward(exec, onnx->params, 0, 1, 0);
    iv_exec_reverse(exec, onnx->params, 0, 1, true, 0);
    iv_exec_free(exec);
}

static void load(const uint8_t *data, size_t size, const iv_onnx_options *options)
{
    iv_onnx_graph *onnx;
    isovae_error err = {ISOVAE_OK, ""};
    if (iv_onnx_load_memory(data, size, "fuzzed.onnx", NULL, options, &onnx, &err) != ISOVAE_OK) {
        if (onnx != NULL || strstr(err.message, "fuzzed.onnx") == NULL) abort();
        return;
    }
    const iv_graph *graph = onnx->graph;
    if (graph->n_inputs == 0 || graph->n_outputs == 0) abort();
    for (size_t i = 0; i < graph->n_params; i++) {
        if (graph->params[i].offset + graph->params[i].size > graph->param_elements) abort();
    }
    run(onnx);
    iv_onnx_free(onnx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    iv_onnx_options options = {.dtype = IV_F32,
                               .random_as_mean = true,
                               .memory_limit = (size_t)1 << 26,
                               .work_limit = (size_t)1 << 22};
    if (size > MOST_BYTES) return 0;
    load(data, size, &options);
    options.n_inputs = options.n_outputs = 1; /* a part, by names that seeds have */
    options.inputs[0].name = "a";
    options.outputs[0] = "y";
    load(data, size, &options);
    return 0;
}
