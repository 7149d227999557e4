/* What AnnData adds to HDF5: sparse matrices, names of columns (var) and ids of rows (obs).
 *
 * Two layouts are in use. Current: `var` is a group whose attribute _index names the dataset of its
 * names; a sparse group says encoding-type csr_matrix and shape. Old (before 0.7): `var` is one
 * table of compound elements with a member "index"; a sparse group says h5sparse_format and
 * h5sparse_shape. */
#include "base/memory.h"
#include "data/columns.h"
#include "data/hdf5_file.h"
#include "data/sparse.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { MAX_PATH = 512, MAX_TEXT = 1 << 16 };

/* ---- sparse matrices ---- */

typedef enum layout { LAYOUT_NONE, LAYOUT_CSR, LAYOUT_CSC, LAYOUT_MATLAB } layout;

static layout layout_of(hid_t group)
{
    char text[32];
    if (H5Aexists(group, "MATLAB_sparse") > 0) return LAYOUT_MATLAB;
    if (!iv_h5_text_attribute(group, "encoding-type", text, sizeof text) &&
        !iv_h5_text_attribute(group, "h5sparse_format", text, sizeof text)) {
        return LAYOUT_NONE;
    }
    if (strcmp(text, "csr_matrix") == 0 || strcmp(text, "csr") == 0) return LAYOUT_CSR;
    if (strcmp(text, "csc_matrix") == 0 || strcmp(text, "csc") == 0) return LAYOUT_CSC;
    return LAYOUT_NONE;
}

bool iv_h5_is_sparse(hid_t group)
{
    return layout_of(group) != LAYOUT_NONE;
}

/* A whole number of `n` values, all positive, from an attribute. */
static bool positive_attribute(hid_t group, const char *name, size_t n, size_t *out)
{
    int64_t values[2] = {0, 0};
    if (H5Aexists(group, name) <= 0) return false;
    hid_t attribute = H5Aopen(group, name, H5P_DEFAULT);
    hid_t type = attribute >= 0 ? H5Aget_type(attribute) : -1;
    hid_t space = attribute >= 0 ? H5Aget_space(attribute) : -1;
    bool done = type >= 0 && space >= 0 && H5Tget_class(type) == H5T_INTEGER &&
                H5Sget_simple_extent_npoints(space) == (hssize_t)n &&
                H5Aread(attribute, H5T_NATIVE_INT64, values) >= 0;
    iv_h5_drop(type);
    iv_h5_drop(space);
    iv_h5_drop(attribute);
    for (size_t i = 0; i < n; i++) {
        done = done && values[i] > 0;
        out[i] = (size_t)values[i];
    }
    return done;
}

/* MATLAB says the rows alone; the columns are counted by their starts. */
static bool shape_of(hid_t group, layout kind, size_t n_start, size_t shape[2])
{
    if (kind == LAYOUT_MATLAB) {
        shape[1] = n_start - 1;
        return n_start > 1 && positive_attribute(group, "MATLAB_sparse", 1, shape);
    }
    const char *name = H5Aexists(group, "shape") > 0 ? "shape" : "h5sparse_shape";
    return positive_attribute(group, name, 2, shape);
}

static isovae_status read_vector(const iv_h5 *h5, const char *group, const char *name, bool whole,
                                 void **out, size_t *n, isovae_error *err)
{
    char path[MAX_PATH];
    hid_t set, memory;
    iv_element element;
    iv_h5_shape shape;
    (void)snprintf(path, sizeof path, "%s/%s", group, name);
    IV_TRY(iv_h5_find(h5, path, &set, err));
    isovae_status status = ISOVAE_OK;
    bool number = iv_h5_is_dataset(set) && iv_h5_number(set, &element, &memory);
    if (!number || (whole && (element == IV_ELEMENT_F32 || element == IV_ELEMENT_F64))) {
        status = iv_fail(err, ISOVAE_ERR_DATA, "'%s' holds no %snumbers",
                         iv_show(path, strlen(path)).text, whole ? "whole " : "");
    }
    if (status == ISOVAE_OK) status = iv_h5_check(h5, set, path, 8, &shape, err);
    if (status == ISOVAE_OK && shape.rank != 1) {
        status = iv_fail(err, ISOVAE_ERR_DATA, "'%s' has %zu axes, not one",
                         iv_show(path, strlen(path)).text, shape.rank);
    }
    if (status == ISOVAE_OK) {
        status = iv_h5_read(set, path, &shape, whole ? H5T_NATIVE_INT64 : H5T_NATIVE_DOUBLE, 8, out,
                            err);
        *n = shape.count;
    }
    iv_h5_drop(set);
    return status;
}

static isovae_status read_parts(const iv_h5 *h5, const char *path, layout kind, iv_sparse_parts *p,
                                isovae_error *err)
{
    void *start = NULL, *index = NULL, *value = NULL;
    const char *const starts = kind == LAYOUT_MATLAB ? "jc" : "indptr";
    const char *const indices = kind == LAYOUT_MATLAB ? "ir" : "indices";
    isovae_status status = read_vector(h5, path, starts, true, &start, &p->n_start, err);
    if (status == ISOVAE_OK) {
        status = read_vector(h5, path, indices, true, &index, &p->n_index, err);
    }
    if (status == ISOVAE_OK) {
        status = read_vector(h5, path, "data", false, &value, &p->n_value, err);
    }
    p->start = start;
    p->index = index;
    p->value = value;
    if (status == ISOVAE_OK && p->n_index != p->n_value) {
        status = iv_fail(err, ISOVAE_ERR_DATA,
                         "the sparse matrix is damaged: %zu values in 'data', %zu in '%s'",
                         p->n_value, p->n_index, indices);
    }
    return status;
}

isovae_status iv_h5_sparse(const iv_h5 *h5, hid_t group, const char *path, iv_table *out,
                           isovae_error *err)
{
    size_t shape[2] = {0, 0};
    layout kind = layout_of(group);
    bool columns = kind != LAYOUT_CSR;
    iv_sparse_parts p = {0};
    isovae_status status = read_parts(h5, path, kind, &p, err);
    if (status == ISOVAE_OK && !shape_of(group, kind, p.n_start, shape)) {
        status = iv_fail(err, ISOVAE_ERR_DATA,
                         "the sparse matrix '%s' has no shape of two positive numbers",
                         iv_show(path, strlen(path)).text);
    }
    size_t major = shape[columns ? 1 : 0], minor = shape[columns ? 0 : 1];
    if (status == ISOVAE_OK) {
        status = iv_sparse_check(p.start, p.n_start, p.index, p.n_value, major, minor, err);
    }
    /* The axis without a start for each takes room for names or sums. */
    if (status == ISOVAE_OK && minor > h5->limit / 64) {
        status = iv_fail(err, ISOVAE_ERR_MEMORY, "the sparse matrix '%s' is %zu x %zu: too large",
                         iv_show(path, strlen(path)).text, shape[0], shape[1]);
    }
    if (status == ISOVAE_OK) {
        *out = (iv_table){.rows = shape[0], .cols = shape[1], .is_sparse = true};
        status = iv_sparse_by_rows(&p, columns, shape[0], shape[1], &out->sparse, err);
    }
    iv_sparse_parts_free(&p);
    return status;
}

/* ---- names ---- */

/* Memory for strings of variable length: no more in all than the file has bytes, however often it
 * refers to one of them; and freed here, because libhdf5 loses what it had read where it fails. */
typedef union taken {
    union taken *next;
    max_align_t aligned; /* the string follows */
} taken;
typedef struct budget {
    size_t left;
    taken *all;
} budget;

static void *take(size_t size, void *user)
{
    budget *b = user;
    void *out;
    if (size > b->left || iv_alloc(&out, sizeof(taken) + size, 1, "names", NULL) != ISOVAE_OK) {
        return NULL;
    }
    taken *t = out;
    b->left -= size;
    t->next = b->all;
    b->all = t;
    return t + 1;
}

static void keep(void *memory, void *user)
{
    (void)memory;
    (void)user;
}

static void budget_free(budget *b)
{
    while (b->all != NULL) {
        taken *next = b->all->next;
        iv_free(b->all);
        b->all = next;
    }
}

/* How a name is stored, and what it is read as: text of variable or fixed length, or a number. */
typedef struct name_type {
    hid_t memory; /* released with iv_h5_drop */
    size_t size;  /* bytes in memory */
    bool variable, number;
} name_type;

static bool name_type_of(hid_t type, name_type *out)
{
    *out = (name_type){.memory = -1};
    H5T_class_t class = H5Tget_class(type);
    if (class == H5T_STRING) {
        out->variable = H5Tis_variable_str(type) > 0;
        out->size = out->variable ? sizeof(char *) : H5Tget_size(type);
        if (out->size == 0 || out->size > MAX_TEXT) return false;
        out->memory = H5Tcopy(type);
    } else if (class == H5T_INTEGER) {
        out->number = true;
        out->size = sizeof(int64_t);
        out->memory = H5Tcopy(H5T_NATIVE_INT64);
    }
    return out->memory >= 0;
}

static isovae_status name_at(const unsigned char *values, const name_type *t, size_t i, char **out,
                             isovae_error *err)
{
    const char *text = (const char *)values + i * t->size;
    char digits[32];
    size_t length;
    if (t->number) {
        int64_t number;
        memcpy(&number, text, sizeof number);
        (void)snprintf(digits, sizeof digits, "%lld", (long long)number);
        return iv_strdup(out, digits, err);
    }
    if (t->variable) {
        memcpy((void *)&text, values + i * t->size, sizeof text);
        return iv_strdup(out, text != NULL ? text : "", err);
    }
    length = strnlen(text, t->size);
    while (length > 0 && text[length - 1] == ' ') length--;
    return iv_strndup(out, text, length, err);
}

/* The names of a dataset of one axis; `member`: of compound elements, else NULL. */
static isovae_status read_names(const iv_h5 *h5, hid_t set, const char *path, hid_t memory,
                                const name_type *t, size_t n, char ***out, isovae_error *err)
{
    iv_h5_shape shape;
    IV_TRY(iv_h5_check(h5, set, path, t->size, &shape, err));
    if (shape.rank != 1 || shape.count != n) {
        return iv_fail(err, ISOVAE_ERR_DATA, "'%s' has %zu names for %zu",
                       iv_show(path, strlen(path)).text, shape.count, n);
    }
    budget b = {.left = h5->length};
    unsigned char *values;
    hid_t transfer = H5Pcreate(H5P_DATASET_XFER);
    if (transfer < 0 || H5Pset_vlen_mem_manager(transfer, take, &b, keep, &b) < 0) {
        iv_h5_drop(transfer);
        return iv_h5_fail(path, err);
    }
    isovae_status status = iv_alloc((void **)&values, n, t->size, "names", err);
    if (status == ISOVAE_OK) {
        if (H5Dread(set, memory, H5S_ALL, H5S_ALL, transfer, values) < 0) {
            status = iv_h5_fail(path, err);
        }
        if (status == ISOVAE_OK) status = iv_alloc((void **)out, n, sizeof **out, "names", err);
        for (size_t i = 0; i < n && status == ISOVAE_OK; i++) {
            status = name_at(values, t, i, &(*out)[i], err);
        }
        iv_free(values);
    }
    budget_free(&b);
    iv_h5_drop(transfer);
    return status;
}

/* One member of a table of compound elements: the old layout. */
static isovae_status texts_of_member(const iv_h5 *h5, hid_t set, const char *path, hid_t type,
                                     const char *name, size_t n, char ***out, isovae_error *err)
{
    int member = H5Tget_member_index(type, name);
    if (member < 0) return ISOVAE_OK;
    hid_t of_member = H5Tget_member_type(type, (unsigned)member), memory = -1;
    name_type t = {.memory = -1};
    isovae_status status = ISOVAE_OK;
    if (of_member >= 0 && name_type_of(of_member, &t)) {
        memory = H5Tcreate(H5T_COMPOUND, t.size);
        status = memory >= 0 && H5Tinsert(memory, name, 0, t.memory) >= 0
                     ? read_names(h5, set, path, memory, &t, n, out, err)
                     : iv_h5_fail(path, err);
    }
    iv_h5_drop(memory);
    iv_h5_drop(t.memory);
    iv_h5_drop(of_member);
    return status;
}

isovae_status iv_h5_texts(const iv_h5 *h5, hid_t set, const char *path, const char *member,
                          size_t n, char ***out, isovae_error *err)
{
    isovae_status status = ISOVAE_OK;
    name_type t = {.memory = -1};
    hid_t type = H5Dget_type(set);
    *out = NULL;
    if (type < 0) return iv_h5_fail(path, err);
    if (H5Tget_class(type) == H5T_COMPOUND) {
        if (member != NULL) {
            status = texts_of_member(h5, set, path, type, member, n, out, err);
        } else {
            const char *usual = H5Tget_member_index(type, "index") >= 0 ? "index" : "_index";
            status = texts_of_member(h5, set, path, type, usual, n, out, err);
        }
    } else if (name_type_of(type, &t)) {
        status = read_names(h5, set, path, t.memory, &t, n, out, err);
    }
    iv_h5_drop(t.memory);
    iv_h5_drop(type);
    return status;
}

/* Nothing where the file has no such names; an error where it has, but wrong ones. */
static isovae_status names_of(const iv_h5 *h5, const char *frame, size_t n, char ***out,
                              isovae_error *err)
{
    char path[MAX_PATH], index[MAX_PATH / 2];
    hid_t object;
    if (!iv_h5_has(h5, frame)) return ISOVAE_OK;
    IV_TRY(iv_h5_find(h5, frame, &object, err));
    if (iv_h5_is_dataset(object)) {
        isovae_status status = iv_h5_texts(h5, object, frame, NULL, n, out, err);
        iv_h5_drop(object);
        return status;
    }
    if (!iv_h5_text_attribute(object, "_index", index, sizeof index)) strcpy(index, "_index");
    iv_h5_drop(object);
    (void)snprintf(path, sizeof path, "%s/%s", frame, index);
    if (!iv_h5_has(h5, path)) return ISOVAE_OK;
    IV_TRY(iv_h5_find(h5, path, &object, err));
    isovae_status status = ISOVAE_OK;
    if (iv_h5_is_dataset(object)) status = iv_h5_texts(h5, object, path, NULL, n, out, err);
    iv_h5_drop(object);
    return status;
}

isovae_status iv_h5_annotate(const iv_h5 *h5, const char *path, iv_table *table, isovae_error *err)
{
    const char *var = NULL;
    if (!iv_h5_has(h5, "obs") && !iv_h5_has(h5, "var")) return ISOVAE_OK;
    if (strcmp(path, "X") == 0 || strncmp(path, "layers/", 7) == 0) var = "var";
    if (strcmp(path, "raw/X") == 0) var = "raw/var";
    if (strcmp(path, "raw.X") == 0) var = "raw.var";
    if (var == NULL && strncmp(path, "obsm/", 5) != 0) return ISOVAE_OK;
    if (var != NULL && table->height == 0) {
        IV_TRY(names_of(h5, var, table->cols, &table->names, err));
        if (table->names != NULL) IV_TRY(iv_names_make_unique(table->names, table->cols, err));
    }
    return names_of(h5, "obs", table->rows, &table->ids, err);
}
