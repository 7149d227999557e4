/* Memory, work and notes of one load. */
#include "onnx/loader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A list with room for one more thing of `size` bytes. */
static isovae_status reserve(void **list, size_t n, size_t *room, size_t size, isovae_error *err)
{
    if (n < *room) return ISOVAE_OK;
    size_t wanted = *room == 0 ? 64 : *room * 2;
    void *grown;
    IV_TRY(iv_alloc(&grown, wanted, size, "the lists of an ONNX file", err));
    if (n > 0) memcpy(grown, *list, n * size);
    iv_free(*list);
    *list = grown;
    *room = wanted;
    return ISOVAE_OK;
}

isovae_status iv_onnx_take(iv_onnx_context *c, void **out, size_t count, size_t size)
{
    size_t bytes;
    *out = NULL;
    if (!iv_size_mul(count, size, &bytes) || !iv_size_add(bytes, 64, &bytes) ||
        bytes > c->memory_limit - c->memory) {
        return iv_fail(c->err, ISOVAE_ERR_MEMORY,
                       "its tensors would take more than the %zu MiB that are allowed for them",
                       c->memory_limit >> 20);
    }
    IV_TRY(reserve((void **)&c->blocks, c->n_blocks, &c->room_blocks, sizeof *c->blocks, c->err));
    IV_TRY(iv_alloc(out, count, size, "tensors of an ONNX file", c->err));
    c->blocks[c->n_blocks++] = *out;
    c->memory += bytes;
    return ISOVAE_OK;
}

isovae_status iv_onnx_work(iv_onnx_context *c, size_t elements)
{
    if (elements > c->work_limit - c->work) {
        return iv_fail(c->err, ISOVAE_ERR_FORMAT,
                       "computing its constants takes more than the %zu operations that are "
                       "allowed for it",
                       c->work_limit);
    }
    c->work += elements;
    return ISOVAE_OK;
}

isovae_status iv_onnx_note(iv_onnx_context *c, const char *format, ...)
{
    enum { MOST = 1000 };
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (size_t i = 0; i < c->n_notes; i++) {
        if (strcmp(c->notes[i], text) == 0) return ISOVAE_OK;
    }
    if (c->n_notes >= MOST) return ISOVAE_OK;
    IV_TRY(reserve((void **)&c->notes, c->n_notes, &c->room_notes, sizeof *c->notes, c->err));
    IV_TRY(iv_strdup(&c->notes[c->n_notes], text, c->err));
    c->n_notes++;
    return ISOVAE_OK;
}

isovae_status iv_onnx_add_param(iv_onnx_context *c, const char *name, const iv_shape *shape,
                                const double *data)
{
    IV_TRY(reserve((void **)&c->params, c->n_params, &c->room_params, sizeof *c->params, c->err));
    iv_onnx_param *param = &c->params[c->n_params];
    *param = (iv_onnx_param){.shape = *shape, .data = data};
    IV_TRY(iv_strdup(&param->name, name, c->err));
    c->n_params++;
    return ISOVAE_OK;
}

void iv_onnx_context_free(iv_onnx_context *c)
{
    for (size_t i = 0; i < c->n_blocks; i++) iv_free(c->blocks[i]);
    for (size_t i = 0; i < c->n_params; i++) iv_free(c->params[i].name);
    for (size_t i = 0; i < c->n_notes; i++) iv_free(c->notes[i]);
    iv_free(c->blocks);
    iv_free(c->params);
    iv_free(c->notes);
    iv_graph_free(c->graph);
    *c = (iv_onnx_context){0};
}
