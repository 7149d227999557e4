/* Tables over binary arrays: shape, element conversion, rows; and what all tables share. */
#include "data/reader.h"

#include "base/memory.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

size_t iv_element_size(iv_element element)
{
    switch (element) {
    case IV_ELEMENT_I8:
    case IV_ELEMENT_U8:
    case IV_ELEMENT_BOOL: return 1;
    case IV_ELEMENT_F16:
    case IV_ELEMENT_I16:
    case IV_ELEMENT_U16: return 2;
    case IV_ELEMENT_F32:
    case IV_ELEMENT_I32:
    case IV_ELEMENT_U32: return 4;
    case IV_ELEMENT_F64:
    case IV_ELEMENT_I64:
    case IV_ELEMENT_U64: return 8;
    }
    return 8;
}

bool iv_array_bytes(const iv_array *array, size_t *out)
{
    size_t bytes = iv_element_size(array->element);
    for (size_t i = 0; i < array->rank; i++) {
        if (!iv_size_mul(bytes, array->shape[i], &bytes)) return false;
    }
    *out = bytes;
    return true;
}

void iv_table_free(iv_table *table)
{
    if (table->names != NULL) {
        for (size_t i = 0; i < table->cols; i++) iv_free(table->names[i]);
    }
    iv_free(table->names);
    if (table->ids != NULL) {
        for (size_t i = 0; i < table->rows; i++) iv_free(table->ids[i]);
    }
    iv_free(table->ids);
    iv_free(table->sparse.start);
    iv_free(table->sparse.column);
    iv_free(table->sparse.value);
    iv_free(table->offsets);
    *table = (iv_table){0};
}

/* Channels come first where the second axis looks like channels and the last one does not. */
static bool channels_first(const iv_array *array)
{
    const size_t *shape = array->shape;
    bool first = shape[1] == 1 || shape[1] == 3;
    bool last = shape[3] == 1 || shape[3] == 3 || shape[3] == 4;
    return first && !last;
}

/* Floats and truth values of rank 3 or 4, where their axes look like those of images. */
static bool may_be_image(const iv_array *array)
{
    const size_t *shape = array->shape;
    bool element = array->element == IV_ELEMENT_F16 || array->element == IV_ELEMENT_F32 ||
                   array->element == IV_ELEMENT_F64 || array->element == IV_ELEMENT_BOOL;
    if (!element) return false;
    return array->rank == 3 || channels_first(array) || shape[3] == 1 || shape[3] == 3 ||
           shape[3] == 4;
}

static isovae_status make_table(const iv_array *array, bool may_be, iv_table *out,
                                isovae_error *err)
{
    *out = (iv_table){0};
    if (array->rank < 1 || array->rank > IV_MAX_RANK) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "the array has %zu axes; 1 to 4 can be used (rows first)", array->rank);
    }
    /* Inner sizes and strides as (a, b, c), c fastest among the columns. */
    size_t size[3] = {1, 1, 1}, stride[3] = {0, 0, 0}, step = 1, row_stride = 1;
    if (array->fortran) {
        for (size_t axis = 0; axis < array->rank; axis++) {
            if (axis == 0) {
                row_stride = step;
            } else {
                stride[axis - 1] = step;
            }
            step *= array->shape[axis]; /* checked by the reader through iv_array_bytes */
        }
    } else {
        for (size_t axis = array->rank; axis-- > 0;) {
            if (axis == 0) {
                row_stride = step;
            } else {
                stride[axis - 1] = step;
            }
            step *= array->shape[axis];
        }
    }
    for (size_t axis = 1; axis < array->rank; axis++) size[axis - 1] = array->shape[axis];
    out->rows = array->shape[0];
    out->cols = size[0] * size[1] * size[2];
    if (out->rows == 0 || out->cols == 0) {
        *out = (iv_table){0};
        return iv_fail(err, ISOVAE_ERR_DATA, "the array is empty (an axis has length 0)");
    }
    bool image =
        array->rank >= 3 && (array->element == IV_ELEMENT_U8 || (may_be && may_be_image(array)));
    if (image && array->rank == 4 && channels_first(array)) {
        size_t s = size[0], t = stride[0];
        size[0] = size[1], stride[0] = stride[1];
        size[1] = size[2], stride[1] = stride[2];
        size[2] = s, stride[2] = t;
    }
    isovae_status status = IV_NEW(out->offsets, out->cols, "column offsets", err);
    if (status != ISOVAE_OK) {
        *out = (iv_table){0};
        return status;
    }
    size_t column = 0;
    for (size_t a = 0; a < size[0]; a++) {
        for (size_t b = 0; b < size[1]; b++) {
            for (size_t c = 0; c < size[2]; c++) {
                out->offsets[column++] = a * stride[0] + b * stride[1] + c * stride[2];
            }
        }
    }
    if (image) {
        out->height = size[0];
        out->width = size[1];
        out->channels = size[2];
        out->unit_image = array->element != IV_ELEMENT_U8;
    }
    out->array = *array;
    out->row_stride = row_stride;
    return ISOVAE_OK;
}

isovae_status iv_table_from_array(const iv_array *array, iv_table *out, isovae_error *err)
{
    return make_table(array, true, out, err);
}

static double half_to_double(uint64_t bits)
{
    int exponent = (int)(bits >> 10 & 31);
    double fraction = (double)(bits & 1023);
    double value;
    if (exponent == 31) {
        value = fraction > 0 ? NAN : INFINITY;
    } else if (exponent == 0) {
        value = ldexp(fraction, -24);
    } else {
        value = ldexp(1024 + fraction, exponent - 25);
    }
    return bits >> 15 & 1 ? -value : value;
}

/* Assembled byte by byte: independent of the machine's byte order and alignment. */
double iv_array_value(const iv_array *array, size_t index)
{
    size_t size = iv_element_size(array->element);
    const unsigned char *p = array->data + index * size;
    uint64_t bits = 0;
    for (size_t i = 0; i < size; i++) {
        size_t shift = 8 * (array->big_endian ? size - 1 - i : i);
        bits |= (uint64_t)p[i] << shift;
    }
    switch (array->element) {
    case IV_ELEMENT_F16: return half_to_double(bits);
    case IV_ELEMENT_F32: {
        uint32_t low = (uint32_t)bits;
        float value;
        memcpy(&value, &low, sizeof value);
        return (double)value;
    }
    case IV_ELEMENT_F64: {
        double value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    case IV_ELEMENT_I8: return (double)(int8_t)bits;
    case IV_ELEMENT_I16: return (double)(int16_t)bits;
    case IV_ELEMENT_I32: return (double)(int32_t)bits;
    case IV_ELEMENT_I64: return (double)(int64_t)bits;
    case IV_ELEMENT_BOOL: return bits != 0 ? 1 : 0;
    case IV_ELEMENT_U8:
    case IV_ELEMENT_U16:
    case IV_ELEMENT_U32:
    case IV_ELEMENT_U64: return (double)bits;
    }
    return NAN;
}

isovae_status iv_table_settle_image(iv_table *table, const iv_block *block, isovae_error *err)
{
    enum { RELEASE = 1 << 15 };
    if (!table->unit_image) return ISOVAE_OK;
    const iv_array array = table->array;
    size_t n = table->rows * table->cols, i = 0;
    for (; i < n; i++) {
        double value = iv_array_value(&array, i);
        if (value < 0 || value > 1) break; /* NaN is a missing value, not another kind of array */
        if (i % RELEASE == 0) iv_block_release(block);
    }
    table->unit_image = false;
    if (i == n) return ISOVAE_OK;
    iv_table_free(table);
    return make_table(&array, false, table, err);
}

static void array_row(const iv_table *table, size_t row, const iv_request *request, double *numbers)
{
    const iv_array *array = &table->array;
    size_t start = row * table->row_stride;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (array->element == IV_ELEMENT_F64 && !array->big_endian) {
        for (size_t k = 0; k < request->n; k++) {
            size_t index = start + table->offsets[request->columns[k]];
            memcpy(&numbers[k], array->data + 8 * index, 8);
        }
        return;
    }
    if (array->element == IV_ELEMENT_F32 && !array->big_endian) {
        for (size_t k = 0; k < request->n; k++) {
            float value;
            size_t index = start + table->offsets[request->columns[k]];
            memcpy(&value, array->data + 4 * index, 4);
            numbers[k] = (double)value;
        }
        return;
    }
#endif
    for (size_t k = 0; k < request->n; k++) {
        numbers[k] = iv_array_value(array, start + table->offsets[request->columns[k]]);
    }
}

static void sparse_row(const iv_table *table, size_t row, const iv_request *request,
                       double *numbers)
{
    const iv_sparse *s = &table->sparse;
    memset(numbers, 0, request->n * sizeof *numbers);
    for (size_t k = s->start[row]; k < s->start[row + 1]; k++) {
        size_t slot = request->slots[s->column[k]];
        if (slot < request->n) numbers[slot] += s->value[k];
    }
}

isovae_status iv_table_next(iv_table *table, const iv_request *request, double *numbers,
                            iv_slice *texts, isovae_error *err)
{
    if (table->next_row >= table->rows) {
        return iv_fail(err, ISOVAE_ERR_INTERNAL, "a row was asked for after the last one");
    }
    if (table->is_text) {
        IV_TRY(iv_csv_next(table, request, numbers, texts, err));
    } else if (table->is_sparse) {
        sparse_row(table, table->next_row, request, numbers);
    } else {
        array_row(table, table->next_row, request, numbers);
    }
    table->next_row++;
    return ISOVAE_OK;
}

void iv_table_place(const iv_table *table, char *buffer, size_t size)
{
    if (table->is_text) {
        snprintf(buffer, size, "line %zu", table->csv.record_line);
    } else {
        snprintf(buffer, size, "row %zu", table->next_row);
    }
}
