/* Networks that were trained elsewhere: an ONNX file becomes an iv_graph and its parameters.
 *
 * The batch is axis 0 of the file's inputs. It may be free there (an axis without extent) or fixed
 * (an export of a batch of N, often 1: constants that repeat that N, in reshapes for instance, are
 * then understood as the batch). What mixes rows of the batch is refused. Everything constant is
 * computed at load; the order of axes stays the file's (an NHWC file has NHWC rows).
 *
 * Files are hostile: sizes, nesting, memory and work are bounded by the options; external data are
 * read from regular files inside the model's folder alone. */
#ifndef IV_ONNX_ONNX_H
#define IV_ONNX_ONNX_H

#include "graph/graph.h"

/* Where a part of the file is to be read from or to. */
typedef struct iv_onnx_cut {
    const char *name; /* of any tensor of the file */
    /* Inputs: shape of one row; rank 0 with known false: from the file, where it says it, else
     * found by running the shapes from the file's own inputs. */
    iv_shape shape;
    bool known;
} iv_onnx_cut;

typedef struct iv_onnx_options {
    iv_dtype dtype;  /* of the parameters */
    size_t n_inputs; /* 0: the file's own */
    iv_onnx_cut inputs[IV_MAX_PORTS];
    size_t n_outputs; /* 0: the file's own, all of them */
    const char *outputs[IV_MAX_PORTS];
    /* Random nodes on the way are taken as their mean (told in the notes); else they are an error
     * that says where to cut. */
    bool random_as_mean;
    size_t file_limit;   /* bytes of the file; 0: 2 GiB, the most that the format has */
    size_t memory_limit; /* bytes of tensors and index maps taken while loading; 0: 8 GiB */
    size_t work_limit;   /* elements computed while loading; 0: 2^33 */
} iv_onnx_options;

/* A random node, whether or not it was loaded. The pattern mean + deviation * noise is followed
 * where the file has it; the names that were not found are NULL. */
typedef struct iv_onnx_sampling {
    char *node, *op;
    char *noise;                     /* the node's output */
    char *deviation, *mean, *sample; /* tensors; sample = mean + deviation * noise */
} iv_onnx_sampling;

typedef struct iv_onnx_graph {
    iv_graph *graph; /* inputs and outputs in the order wanted */
    iv_dtype dtype;
    void *params; /* host memory, graph->param_elements of dtype */
    char *input_names[IV_MAX_PORTS], *output_names[IV_MAX_PORTS]; /* as in the file */
    /* The operator that makes an output, and the tensor that it is made from (so that a last
     * Sigmoid can be cut off by naming that one); "" where it is an input, or made in another way.
     */
    char *output_ops[IV_MAX_PORTS], *output_sources[IV_MAX_PORTS];
    /* What is written beside it: the node's name and those of what else it reads, which mostly tell
     * the layer where the output's own name does not. */
    char *output_makers[IV_MAX_PORTS];
    size_t fixed_batch; /* that the file was exported for; 0: free */
    int64_t opset;
    char *producer; /* "pytorch 2.1"; empty where the file does not say */
    size_t n_samplings;
    iv_onnx_sampling *samplings;
    size_t n_notes; /* what was dropped or approximated, each told once */
    char **notes;
} iv_onnx_graph;

isovae_status iv_onnx_load(const char *path, const iv_onnx_options *options, iv_onnx_graph **out,
                           isovae_error *err) ISOVAE_MUST_CHECK;
/* From memory; `name` stands for the path in messages. `folder` (NULL: none) is where external data
 * may lie. */
isovae_status iv_onnx_load_memory(const void *data, size_t length, const char *name,
                                  const char *folder, const iv_onnx_options *options,
                                  iv_onnx_graph **out, isovae_error *err) ISOVAE_MUST_CHECK;
void iv_onnx_free(iv_onnx_graph *graph); /* NULL is fine */

/* The operators that are understood, one by one; NULL behind the last. */
const char *iv_onnx_operator(size_t index);

#endif
