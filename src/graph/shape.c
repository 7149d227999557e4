/* Shapes of one row. */
#include "graph/graph.h"

#include "base/memory.h"

#include <stdio.h>

bool iv_shape_size(const iv_shape *shape, size_t *out)
{
    size_t size = 1;
    for (size_t i = 0; i < shape->rank; i++) {
        if (!iv_size_mul(size, shape->dim[i], &size)) return false;
    }
    *out = size;
    return true;
}

bool iv_shape_equal(const iv_shape *a, const iv_shape *b)
{
    if (a->rank != b->rank) return false;
    for (size_t i = 0; i < a->rank; i++) {
        if (a->dim[i] != b->dim[i]) return false;
    }
    return true;
}

const char *iv_shape_text(const iv_shape *shape, char text[IV_SHAPE_TEXT])
{
    size_t at = 0;
    snprintf(text, IV_SHAPE_TEXT, "1");
    for (size_t i = 0; i < shape->rank && at < IV_SHAPE_TEXT; i++) {
        int n = snprintf(text + at, IV_SHAPE_TEXT - at, "%s%zu", i == 0 ? "" : "x", shape->dim[i]);
        if (n < 0) break;
        at += (size_t)n;
    }
    return text;
}
