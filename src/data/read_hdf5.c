/* Which dataset of an HDF5 file, and its values as a table. */
#include "base/memory.h"
#include "data/hdf5_file.h"

#include <stdio.h>
#include <string.h>

enum { MOST_LISTED = 8, MOST_LOOKED_AT = 1000, MAX_PATH = 256 };

/* MATLAB 7.3 writes HDF5: column after column, so that the axes come in reverse; and an attribute
 * says the class. */
static bool matlab_class(hid_t object, char *out, size_t size)
{
    return iv_h5_text_attribute(object, "MATLAB_class", out, size);
}

static isovae_status check_matlab(hid_t set, const char *path, bool *is_matlab, bool *logical,
                                  isovae_error *err)
{
    static const char *const kinds[] = {"double", "single", "int8",  "uint8",  "int16",  "uint16",
                                        "int32",  "uint32", "int64", "uint64", "logical"};
    char kind[32];
    iv_shown shown = iv_show(path, strlen(path));
    *is_matlab = matlab_class(set, kind, sizeof kind);
    *logical = *is_matlab && strcmp(kind, "logical") == 0;
    if (!*is_matlab) return ISOVAE_OK;
    if (H5Aexists(set, "MATLAB_empty") > 0) {
        return iv_fail(err, ISOVAE_ERR_DATA, "'%s' is empty (an axis has length 0)", shown.text);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kind, kinds[i]) == 0) return ISOVAE_OK;
    }
    return iv_fail(err, ISOVAE_ERR_DATA, "'%s' is of class %s; name a matrix of numbers",
                   shown.text, iv_show(kind, strlen(kind)).text);
}

static isovae_status dense(const iv_h5 *h5, hid_t set, const char *path, iv_table *out,
                           unsigned char **values, isovae_error *err)
{
    iv_array array = {0};
    iv_h5_shape shape;
    hid_t memory;
    void *data;
    bool logical;
    iv_shown shown = iv_show(path, strlen(path));
    IV_TRY(check_matlab(set, path, &array.fortran, &logical, err));
    if (!iv_h5_number(set, &array.element, &memory)) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "'%s' holds no plain numbers (it is text or a table); name an array of "
                       "numbers",
                       shown.text);
    }
    size_t size = iv_element_size(array.element);
    IV_TRY(iv_h5_check(h5, set, path, size, &shape, err));
    if (shape.rank > IV_MAX_RANK) {
        return iv_fail(err, ISOVAE_ERR_DATA, "'%s' has %zu axes; 1 to 4 can be used (rows first)",
                       shown.text, shape.rank);
    }
    array.rank = shape.rank;
    for (size_t i = 0; i < shape.rank; i++) {
        array.shape[i] = shape.dim[array.fortran ? shape.rank - 1 - i : i];
    }
    if (logical && size == 1) array.element = IV_ELEMENT_BOOL;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    array.big_endian = true;
#endif
    IV_TRY(iv_h5_read(set, path, &shape, memory, size, &data, err));
    *values = data;
    array.data = *values;
    IV_TRY(iv_table_from_array(&array, out, err));
    /* Before there are names: those of columns are for what is no image. */
    return iv_table_settle_image(out, &(iv_block){.data = *values}, err);
}

static isovae_status open_object(const iv_h5 *h5, hid_t object, const char *path, iv_table *out,
                                 unsigned char **values, isovae_error *err)
{
    if (iv_h5_is_dataset(object)) return dense(h5, object, path, out, values, err);
    if (iv_h5_is_group(object) && iv_h5_is_sparse(object)) {
        return iv_h5_sparse(h5, object, path, out, err);
    }
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "'%s' is a group, not a dataset; name one in it, as in FILE:%s/NAME",
                   iv_show(path, strlen(path)).text, iv_show(path, strlen(path)).text);
}

/* ---- a file without a path: what could be meant ---- */

typedef struct search {
    const iv_h5 *h5;
    size_t looked_at, found;
    bool x;                    /* one of them is MATLAB's and called X */
    size_t wide;               /* those with more than one row and column, */
    char first_wide[MAX_PATH]; /* and the first of them */
    char first[MAX_PATH];
    iv_text list;
} search;

/* Whether a dataset holds rows, with its shape as text; rank 1 is a single column. */
static bool holds_rows(hid_t set, bool *wide, char *text, size_t size)
{
    hsize_t dim[IV_MAX_RANK] = {0};
    char kind[32];
    hid_t memory, space;
    iv_element element;
    bool matlab, logical;
    if (!iv_h5_number(set, &element, &memory)) return false;
    if (check_matlab(set, "", &matlab, &logical, NULL) != ISOVAE_OK) return false;
    space = H5Dget_space(set);
    int rank = space >= 0 ? H5Sget_simple_extent_ndims(space) : -1;
    bool fits =
        rank >= 2 && rank <= IV_MAX_RANK && H5Sget_simple_extent_dims(space, dim, NULL) == rank;
    iv_h5_drop(space);
    if (!fits) return rank > IV_MAX_RANK;
    matlab = matlab_class(set, kind, sizeof kind);
    int used = 0;
    *wide = true;
    for (int i = 0; i < rank; i++) {
        unsigned long long n = dim[matlab ? rank - 1 - i : i];
        *wide = *wide && n > 1;
        if (used >= 0 && (size_t)used < size) {
            used += snprintf(text + used, size - (size_t)used, "%s%llu", i > 0 ? "x" : " ", n);
        }
    }
    return true;
}

static herr_t look(hid_t group, const char *name, const H5L_info_t *info, void *user)
{
    search *s = user;
    (void)group;
    if (s->looked_at++ >= MOST_LOOKED_AT) return 1;
    hid_t object;
    char shape[100] = "", kind[32];
    bool wide = true;
    if (info->type != H5L_TYPE_HARD || strlen(name) >= MAX_PATH ||
        iv_h5_find(s->h5, name, &object, NULL) != ISOVAE_OK) {
        return 0;
    }
    bool fits = (iv_h5_is_group(object) && iv_h5_is_sparse(object)) ||
                (iv_h5_is_dataset(object) && holds_rows(object, &wide, shape, sizeof shape));
    bool matlab = fits && matlab_class(object, kind, sizeof kind);
    iv_h5_drop(object);
    if (!fits) return 0;
    if (matlab && strcmp(name, "X") == 0) s->x = true;
    if (matlab && wide && s->wide++ == 0) strcpy(s->first_wide, name);
    if (s->found == 0) strcpy(s->first, name);
    if (s->found < MOST_LISTED) {
        iv_text_printf(&s->list, "%s%s%s", s->found > 0 ? ", " : "",
                       iv_show(name, strlen(name)).text, shape);
    } else if (s->found == MOST_LISTED) {
        iv_text_puts(&s->list, ", ...");
    }
    s->found++;
    return 0;
}

static isovae_status choose(const iv_h5 *h5, char path[MAX_PATH], isovae_error *err)
{
    if (iv_h5_has(h5, "X") && (iv_h5_has(h5, "var") || iv_h5_has(h5, "obs"))) {
        strcpy(path, "X");
        return ISOVAE_OK;
    }
    search s = {.h5 = h5};
    isovae_status status = ISOVAE_OK;
    if (H5Literate(h5->file, H5_INDEX_NAME, H5_ITER_INC, NULL, look, &s) < 0) {
        status = iv_h5_fail("/", err);
    } else if (s.x) {
        strcpy(path, "X");
    } else if (s.found == 1 || s.wide == 1) {
        strcpy(path, s.found == 1 ? s.first : s.first_wide);
    } else if (s.found == 0) {
        status = iv_fail(err, ISOVAE_ERR_DATA,
                         "the HDF5 file has no array of rows at its top; name one, as in "
                         "FILE:group/dataset");
    } else {
        status = iv_text_check(&s.list, err);
        if (status == ISOVAE_OK) {
            status = iv_fail(err, ISOVAE_ERR_ARGUMENT,
                             "the HDF5 file has %zu arrays; name one, as in FILE:%.60s (there are "
                             "%.400s)",
                             s.found, s.first, s.list.data);
        }
    }
    iv_text_free(&s.list);
    return status;
}

/* "layer=NAME" is "layers/NAME" */
static isovae_status spell_out(const char *path, char out[MAX_PATH], isovae_error *err)
{
    static const char layer[] = "layer=";
    const char *prefix = "";
    if (strncmp(path, layer, strlen(layer)) == 0) {
        prefix = "layers/";
        path += strlen(layer);
    }
    while (*path == '/') path++;
    if (*path == '\0' || strlen(prefix) + strlen(path) >= MAX_PATH) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "a path in an HDF5 file has 1 to %d characters, as in FILE:group/dataset",
                       MAX_PATH - 8);
    }
    strcpy(out, prefix);
    strcat(out, path);
    return ISOVAE_OK;
}

isovae_status iv_read_hdf5(const unsigned char *block, size_t length, const char *path,
                           size_t limit, iv_table *out, unsigned char **values, isovae_error *err)
{
    char spelled[MAX_PATH];
    iv_h5 h5;
    hid_t object = -1;
    *out = (iv_table){0};
    *values = NULL;
    if (path != NULL) IV_TRY(spell_out(path, spelled, err));
    IV_TRY(iv_h5_enter(block, length, limit, &h5, err));
    isovae_status status = path == NULL ? choose(&h5, spelled, err) : ISOVAE_OK;
    if (status == ISOVAE_OK) status = iv_h5_find(&h5, spelled, &object, err);
    if (status == ISOVAE_OK) status = open_object(&h5, object, spelled, out, values, err);
    if (status == ISOVAE_OK) status = iv_h5_annotate(&h5, spelled, out, err);
    iv_h5_drop(object);
    iv_h5_leave(&h5);
    if (status != ISOVAE_OK) {
        iv_table_free(out);
        iv_free(*values);
        *values = NULL;
    }
    return status;
}
