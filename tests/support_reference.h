/* Models of the reference values as iv_model: arch.json and weights.safetensors of a folder there.
 */
#ifndef SUPPORT_REFERENCE_H
#define SUPPORT_REFERENCE_H

#include "support_npz.h"

#include "base/file.h"
#include "base/memory.h"
#include "model/model.h"
#include "model/safetensors.h"

#include <jansson.h>
#include <limits.h>

/* One array of a file by its path, and where a file of the reference lies (NULL: absent). */
typedef struct ref_array {
    size_t n, shape[4];
    double *values; /* released with free */
} ref_array;

static inline ref_array ref_load(const char *path, const char *key)
{
    npz file;
    ref_array out = {0};
    if (!npz_open_path(&file, path)) fail_msg("%s is missing", path);
    const npz_array *array = npz_get(&file, key);
    out.n = array->count;
    assert_true(array->rank <= 4);
    memcpy(out.shape, array->shape, array->rank * sizeof out.shape[0]);
    out.values = calloc(array->count + 1, sizeof(double));
    assert_non_null(out.values);
    memcpy(out.values, array->values, array->count * sizeof(double));
    npz_close(&file);
    return out;
}

static inline const char *ref_path(char *buffer, size_t size, const char *file)
{
    char path[1024];
    (void)snprintf(buffer, size, "%s", reference_path(file, path));
    return access(buffer, R_OK) == 0 ? buffer : NULL;
}

static inline void ref_ok(isovae_status status, const isovae_error *err)
{
    if (status != ISOVAE_OK) fail_msg("%s", err->message);
}

/* Element k of a tensor, whose bytes may stand anywhere. */
static inline double ref_element(const iv_tensor *tensor, size_t k)
{
    const unsigned char *at =
        (const unsigned char *)tensor->data + k * iv_dtype_size(tensor->dtype);
    return npz_number(at, 'f', iv_dtype_size(tensor->dtype));
}

static inline bool ref_shape(void *user, const char *name, iv_shape *out)
{
    const iv_tensor *tensor = iv_safetensors_find(user, name);
    if (tensor == NULL) return false;
    *out = tensor->shape;
    return true;
}

/* The nodes as they are listed: activations are nodes of their own. Some kinds have another name.
 */
static inline iv_graph *ref_graph(json_t *nodes, const char *input, const iv_shape *shape,
                                  const char *const *outputs, size_t n_outputs,
                                  iv_safetensors *weights)
{
    static const char *const names[][2] = {{"conv2d", "conv"},
                                           {"conv_transpose2d", "conv_transpose"},
                                           {"batch_norm_inference", "batch_norm"}};
    isovae_error err;
    iv_graph *graph;
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        json_t *node = json_array_get(nodes, i);
        const char *kind = json_string_value(json_object_get(node, "kind"));
        for (size_t j = 0; j < sizeof names / sizeof names[0]; j++) {
            if (strcmp(kind, names[j][0]) != 0) continue;
            json_object_set_new(node, "kind", json_string(names[j][1]));
            break;
        }
    }
    ref_ok(iv_graph_from_json(nodes, input, shape, outputs, n_outputs, ref_shape, weights, &graph,
                              &err),
           &err);
    return graph;
}

static inline void ref_params(iv_model *model, const iv_graph *graph, const iv_safetensors *weights)
{
    for (size_t i = 0; i < graph->n_params; i++) {
        const iv_param *param = &graph->params[i];
        const iv_tensor *tensor = iv_safetensors_find(weights, param->name);
        assert_non_null(tensor);
        assert_int_equal(tensor->size, param->size);
        for (size_t k = 0; k < param->size; k++) {
            double value = ref_element(tensor, k);
            if (model->dtype == IV_F64) {
                ((double *)model->params)[param->offset + k] = value;
            } else {
                ((float *)model->params)[param->offset + k] = (float)value;
            }
        }
    }
}

static inline void ref_identity_scaling(iv_model *model)
{
    isovae_error err;
    iv_scaling *s = &model->scaling;
    s->kind = IV_SCALE_IDENTITY;
    s->cols = model->d;
    s->uniform = true;
    ref_ok(IV_NEW(s->shift, model->d, "shift", &err), &err);
    ref_ok(IV_NEW(s->scale, model->d, "scale", &err), &err);
    ref_ok(IV_NEW(s->weight, model->d, "weight", &err), &err);
    for (size_t i = 0; i < model->d; i++) s->scale[i] = s->weight[i] = 1;
}

/* `folder` in the reference: "models/a_toy_random", "ppca/beta4", ... Scaling
 * identity, metric and beta from arch.json, nothing calibrated. False where the reference is
 * absent: skip. */
static inline bool ref_model(const char *folder, iv_dtype dtype, iv_model **out)
{
    static const char *const heads[] = {"mu", "logvar"}, *const result[] = {"out"};
    char path[1024], file[256];
    isovae_error err;
    iv_safetensors weights;
    unsigned char *bytes;
    size_t length;
    *out = NULL;
    (void)snprintf(file, sizeof file, "%s/arch.json", folder);
    if (access(reference_path(file, path), R_OK) != 0) return false;
    json_t *arch = json_load_file(path, 0, NULL);
    assert_non_null(arch);
    (void)snprintf(file, sizeof file, "%s/weights.safetensors", folder);
    ref_ok(iv_file_read(reference_path(file, path), (size_t)1 << 30, &bytes, &length, &err), &err);
    ref_ok(iv_safetensors_read(bytes, length, path, &weights, &err), &err);

    const json_t *sides = json_object_get(arch, "input_shape");
    iv_shape in = {.rank = json_array_size(sides)};
    for (size_t i = 0; i < in.rank; i++)
        in.dim[i] = (size_t)json_integer_value(json_array_get(sides, i));
    iv_shape latents = {1, {(size_t)json_integer_value(json_object_get(arch, "latent_dim"))}};
    iv_graph *encoder = ref_graph(json_object_get(arch, "encoder"), "x", &in, heads, 2, &weights);
    iv_graph *decoder =
        ref_graph(json_object_get(arch, "decoder"), "z", &latents, result, 1, &weights);
    iv_model *model;
    ref_ok(iv_model_new(&model, &err), &err);
    ref_ok(iv_model_set_network(model, encoder, decoder, dtype, &err), &err);
    ref_params(model, encoder, &weights);
    ref_params(model, decoder, &weights);
    ref_identity_scaling(model);
    model->beta = json_number_value(json_object_get(arch, "beta"));
    ref_ok(
        iv_metric_parse(json_string_value(json_object_get(arch, "metric")), &model->metric, &err),
        &err);
    json_decref(arch);
    iv_safetensors_free(&weights);
    iv_free(bytes);
    *out = model;
    return true;
}

#endif
