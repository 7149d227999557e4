/* Which variable of a MATLAB 5 file, and its values as a table. */
#include "base/memory.h"
#include "data/mat_file.h"
#include "data/reader.h"
#include "data/sparse.h"

#include <matio.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MOST_LISTED = 12 };

/* ---- which one ---- */

typedef struct search {
    const char *want;                      /* or NULL */
    iv_mat_variable found, x, first, wide; /* element NULL: none */
    size_t matrices, wides, listed;
    iv_text list; /* "X 3772x6 double, y 3772x1 double" */
} search;

static void consider(search *s, const iv_mat_variable *v)
{
    if (!v->readable || v->name[0] == '\0') return;
    if (s->want != NULL && strncmp(s->want, v->name, IV_MAT_MAX_NAME - 1) == 0 &&
        s->found.element == NULL) {
        s->found = *v;
    }
    if (s->listed < MOST_LISTED) {
        iv_text_printf(&s->list, "%s%s", s->listed > 0 ? ", " : "",
                       iv_show(v->name, strlen(v->name)).text);
        for (size_t i = 0; i < v->rank; i++) {
            iv_text_printf(&s->list, "%s%zu", i > 0 ? "x" : " ", v->dim[i]);
        }
        iv_text_printf(&s->list, " %s", iv_mat_class_name(v));
    }
    s->listed++;
    if (!iv_mat_is_numbers(v) || v->rank != 2 || v->dim[0] == 0 || v->dim[1] == 0) return;
    if (s->matrices++ == 0) s->first = *v;
    if (v->dim[0] > 1 && v->dim[1] > 1 && s->wides++ == 0) s->wide = *v;
    if (strcmp(v->name, "X") == 0 && s->x.element == NULL) s->x = *v;
}

static isovae_status fail_choice(search *s, isovae_error *err)
{
    if (s->listed > MOST_LISTED) {
        iv_text_printf(&s->list, " and %zu more", s->listed - MOST_LISTED);
    }
    IV_TRY(iv_text_check(&s->list, err));
    if (s->listed == 0) return iv_fail(err, ISOVAE_ERR_DATA, "the MATLAB file has no variables");
    if (s->want != NULL) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "there is no variable '%s'; the file holds %s",
                       iv_show(s->want, strlen(s->want)).text, s->list.data);
    }
    if (s->matrices == 0) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "no variable is a matrix of numbers; the file holds %s", s->list.data);
    }
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "the file holds %zu matrices; name one, as in FILE.mat:%s (there are %s)",
                   s->matrices, s->first.name, s->list.data);
}

static isovae_status choose(const unsigned char *block, size_t length, const char *name,
                            iv_mat_variable *out, isovae_error *err)
{
    search s = {.want = name};
    size_t at = IV_MAT_HEADER;
    bool more = true;
    isovae_status status = ISOVAE_OK;
    while (more && status == ISOVAE_OK) {
        iv_mat_variable v;
        status = iv_mat_next(block, length, &at, &v, &more, err);
        if (status == ISOVAE_OK && more) consider(&s, &v);
    }
    if (status == ISOVAE_OK) {
        *out = name != NULL          ? s.found
               : s.x.element != NULL ? s.x
               : s.matrices == 1     ? s.first
               : s.wides == 1        ? s.wide
                                     : (iv_mat_variable){0};
        if (out->element == NULL) status = fail_choice(&s, err);
    }
    iv_text_free(&s.list);
    return status;
}

static isovae_status check_variable(const iv_mat_variable *v, size_t limit, isovae_error *err)
{
    iv_shown shown = iv_show(v->name, strlen(v->name));
    size_t bytes = sizeof(double);
    if (!iv_mat_is_numbers(v)) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "variable '%s' is of class %s; name a matrix of numbers", shown.text,
                       iv_mat_class_name(v));
    }
    if (v->rank > IV_MAX_RANK || (v->class == IV_MAT_SPARSE && v->rank != 2)) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "variable '%s' has %zu axes; 1 to 4 can be used (rows "
                       "first)",
                       shown.text, v->rank);
    }
    bool sparse = v->class == IV_MAT_SPARSE, fits = true;
    for (size_t i = 0; i < v->rank; i++) {
        if (v->dim[i] == 0) {
            return iv_fail(err, ISOVAE_ERR_DATA, "variable '%s' is empty (an axis has length 0)",
                           shown.text);
        }
        fits = fits && (sparse ? v->dim[i] <= limit / 64 : iv_size_mul(bytes, v->dim[i], &bytes));
    }
    if (!fits || bytes > limit) {
        return iv_fail(err, ISOVAE_ERR_MEMORY,
                       "variable '%s' is larger than the limit of %zu bytes", shown.text, limit);
    }
    return ISOVAE_OK;
}

/* ---- its values, by libmatio ---- */

static isovae_status fail_matio(const iv_mat_variable *v, isovae_error *err)
{
    return iv_fail(err, ISOVAE_ERR_DATA, "variable '%s' cannot be read; the file is damaged",
                   iv_show(v->name, strlen(v->name)).text);
}

static bool element_of(enum matio_classes class, iv_element *out)
{
    switch (class) {
    case MAT_C_DOUBLE: *out = IV_ELEMENT_F64; return true;
    case MAT_C_SINGLE: *out = IV_ELEMENT_F32; return true;
    case MAT_C_INT8: *out = IV_ELEMENT_I8; return true;
    case MAT_C_UINT8: *out = IV_ELEMENT_U8; return true;
    case MAT_C_INT16: *out = IV_ELEMENT_I16; return true;
    case MAT_C_UINT16: *out = IV_ELEMENT_U16; return true;
    case MAT_C_INT32: *out = IV_ELEMENT_I32; return true;
    case MAT_C_UINT32: *out = IV_ELEMENT_U32; return true;
    case MAT_C_INT64: *out = IV_ELEMENT_I64; return true;
    case MAT_C_UINT64: *out = IV_ELEMENT_U64; return true;
    default: return false;
    }
}

static bool element_of_type(enum matio_types type, iv_element *out)
{
    switch (type) {
    case MAT_T_DOUBLE: return element_of(MAT_C_DOUBLE, out);
    case MAT_T_SINGLE: return element_of(MAT_C_SINGLE, out);
    case MAT_T_INT8: return element_of(MAT_C_INT8, out);
    case MAT_T_UINT8: return element_of(MAT_C_UINT8, out);
    case MAT_T_INT16: return element_of(MAT_C_INT16, out);
    case MAT_T_UINT16: return element_of(MAT_C_UINT16, out);
    case MAT_T_INT32: return element_of(MAT_C_INT32, out);
    case MAT_T_UINT32: return element_of(MAT_C_UINT32, out);
    case MAT_T_INT64: return element_of(MAT_C_INT64, out);
    case MAT_T_UINT64: return element_of(MAT_C_UINT64, out);
    default: return false;
    }
}

static iv_array native_array(iv_element element)
{
    iv_array array = {.element = element, .fortran = true};
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    array.big_endian = true;
#endif
    return array;
}

static isovae_status dense(mat_t *mat, matvar_t *var, const iv_mat_variable *v, iv_table *out,
                           unsigned char **values, isovae_error *err)
{
    iv_element element;
    int start[IV_MAX_RANK] = {0}, stride[IV_MAX_RANK], edge[IV_MAX_RANK];
    size_t count = 1;
    if (!element_of(var->class_type, &element)) return fail_matio(v, err);
    iv_array array = native_array(element);
    array.rank = v->rank;
    for (size_t i = 0; i < v->rank; i++) {
        array.shape[i] = v->dim[i];
        count *= v->dim[i]; /* checked against the limit */
        stride[i] = 1;
        edge[i] = (int)v->dim[i];
    }
    if (v->logical) array.element = iv_element_size(element) == 1 ? IV_ELEMENT_BOOL : element;
    IV_TRY(iv_alloc((void **)values, count, iv_element_size(element),
                    "the values of the MATLAB "
                    "file",
                    err));
    if (Mat_VarReadData(mat, var, *values, start, stride, edge) != 0) return fail_matio(v, err);
    array.data = *values;
    return iv_table_from_array(&array, out, err);
}

static isovae_status sparse_parts(const mat_sparse_t *s, enum matio_types type, size_t cols,
                                  iv_sparse_parts *p, isovae_error *err)
{
    iv_element element;
    if (!element_of_type(type, &element)) {
        return iv_fail(err, ISOVAE_ERR_DATA, "the sparse matrix holds values of an unknown type");
    }
    iv_array array = native_array(element);
    array.data = s->data;
    size_t n = s->njc > cols ? s->jc[cols] : 0;
    if (s->njc <= cols || n > s->nir || n > s->ndata) {
        return iv_fail(err, ISOVAE_ERR_DATA, "the sparse matrix is damaged: it lacks values");
    }
    p->n_start = cols + 1;
    p->n_index = p->n_value = n;
    IV_TRY(IV_NEW(p->start, p->n_start, "the sparse matrix", err));
    IV_TRY(IV_NEW(p->index, n, "the sparse matrix", err));
    IV_TRY(IV_NEW(p->value, n, "the sparse matrix", err));
    for (size_t j = 0; j <= cols; j++) p->start[j] = s->jc[j];
    for (size_t k = 0; k < n; k++) p->index[k] = s->ir[k];
    for (size_t k = 0; k < n; k++) p->value[k] = iv_array_value(&array, k);
    return ISOVAE_OK;
}

static isovae_status sparse(mat_t *mat, matvar_t *var, const iv_mat_variable *v, iv_table *out,
                            isovae_error *err)
{
    if (Mat_VarReadDataAll(mat, var) != 0 || var->data == NULL) return fail_matio(v, err);
    iv_sparse_parts p = {0};
    size_t rows = v->dim[0], cols = v->dim[1];
    isovae_status status = sparse_parts(var->data, var->data_type, cols, &p, err);
    if (status == ISOVAE_OK) {
        status = iv_sparse_check(p.start, p.n_start, p.index, p.n_value, cols, rows, err);
    }
    if (status == ISOVAE_OK) {
        *out = (iv_table){.rows = rows, .cols = cols, .is_sparse = true};
        status = iv_sparse_by_rows(&p, true, rows, cols, &out->sparse, err);
    }
    iv_sparse_parts_free(&p);
    return status;
}

static isovae_status read_variable(int descriptor, const iv_mat_variable *v, iv_table *out,
                                   unsigned char **values, isovae_error *err)
{
    char path[40];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    mat_t *mat = Mat_Open(path, MAT_ACC_RDONLY);
    if (mat == NULL) return fail_matio(v, err);
    matvar_t *var = Mat_VarReadNextInfo(mat);
    bool same = var != NULL && var->rank == (int)v->rank && var->class_type == v->class;
    for (size_t i = 0; same && i < v->rank; i++) same = var->dims[i] == v->dim[i];
    isovae_status status;
    if (!same) {
        status = fail_matio(v, err);
    } else if (v->class == IV_MAT_SPARSE) {
        status = sparse(mat, var, v, out, err);
    } else {
        status = dense(mat, var, v, out, values, err);
    }
    Mat_VarFree(var);
    (void)Mat_Close(mat);
    return status;
}

isovae_status iv_read_mat(const unsigned char *block, size_t length, const char *name, size_t limit,
                          iv_table *out, unsigned char **values, isovae_error *err)
{
    iv_mat_variable v;
    int descriptor;
    *out = (iv_table){0};
    *values = NULL;
    IV_TRY(iv_mat_check(block, length, err));
    IV_TRY(choose(block, length, name, &v, err));
    IV_TRY(check_variable(&v, limit, err));
    IV_TRY(iv_mat_extract(block, &v, limit, &descriptor, err));
    isovae_status status = read_variable(descriptor, &v, out, values, err);
    close(descriptor);
    if (status != ISOVAE_OK) {
        iv_table_free(out);
        iv_free(*values);
        *values = NULL;
    }
    return status;
}
