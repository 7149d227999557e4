/* Labels beside the matrix of an HDF5 file: a dataset of numbers or texts, or a column of an
 * AnnData's obs, in any of its layouts: a group NAME with codes and categories (from 0.8), codes
 * NAME with their texts in __categories/NAME (0.7), a member NAME of the table obs, with the texts
 * of codes in uns/NAME_categories (before). */
#include "base/memory.h"
#include "data/hdf5_file.h"
#include "data/labels.h"

#include <stdio.h>
#include <string.h>

enum { MAX_PATH = 512 };

static void free_texts(char **texts, size_t n)
{
    for (size_t i = 0; texts != NULL && i < n; i++) iv_free(texts[i]);
    iv_free(texts);
}

/* One value a row: one axis, or others of length 1. */
static isovae_status check_vector(const iv_h5 *h5, hid_t set, const char *path, size_t size,
                                  iv_h5_shape *shape, isovae_error *err)
{
    IV_TRY(iv_h5_check(h5, set, path, size, shape, err));
    for (size_t i = 0; i < shape->rank; i++) {
        if (shape->dim[i] != shape->count && shape->dim[i] != 1) {
            return iv_fail(err, ISOVAE_ERR_ARGUMENT, "'%s' has more than one value a row",
                           iv_show(path, strlen(path)).text);
        }
    }
    return ISOVAE_OK;
}

/* Numbers of a dataset, or of a member of its elements; *out NULL where they are none. */
static isovae_status numbers_of(const iv_h5 *h5, hid_t set, const char *path, const char *member,
                                double **out, size_t *n, isovae_error *err)
{
    iv_h5_shape shape;
    iv_element element;
    hid_t memory, type = H5Dget_type(set), of_member = -1, compound = -1;
    isovae_status status = ISOVAE_OK;
    void *values = NULL;
    bool known = false;
    *out = NULL;
    if (member == NULL) {
        known = iv_h5_number(set, &element, &memory);
        memory = H5T_NATIVE_DOUBLE;
        if (known && element == IV_ELEMENT_BOOL) memory = H5T_NATIVE_INT8;
    } else if (type >= 0 && H5Tget_member_index(type, member) >= 0) {
        of_member = H5Tget_member_type(type, (unsigned)H5Tget_member_index(type, member));
        H5T_class_t kind = of_member >= 0 ? H5Tget_class(of_member) : H5T_NO_CLASS;
        compound = H5Tcreate(H5T_COMPOUND, sizeof(double));
        known = (kind == H5T_INTEGER || kind == H5T_FLOAT) && compound >= 0 &&
                H5Tinsert(compound, member, 0, H5T_NATIVE_DOUBLE) >= 0;
        memory = compound;
    }
    if (known) {
        bool byte = memory == H5T_NATIVE_INT8;
        status = check_vector(h5, set, path, sizeof(double), &shape, err);
        if (status == ISOVAE_OK) {
            status = iv_h5_read(set, path, &shape, memory, sizeof(double), &values, err);
        }
        if (status == ISOVAE_OK) {
            *out = values;
            *n = shape.count;
        }
        for (size_t i = *out != NULL && byte ? *n : 0; i > 0; i--) { /* bytes, in place */
            (*out)[i - 1] = ((const signed char *)values)[i - 1] != 0;
        }
    }
    iv_h5_drop(compound);
    iv_h5_drop(of_member);
    iv_h5_drop(type);
    return status;
}

static isovae_status texts_at(const iv_h5 *h5, const char *path, char ***out, size_t *n,
                              isovae_error *err)
{
    hid_t set;
    iv_h5_shape shape;
    IV_TRY(iv_h5_find(h5, path, &set, err));
    isovae_status status = iv_h5_is_dataset(set)
                               ? iv_h5_check(h5, set, path, 1, &shape, err)
                               : iv_fail(err, ISOVAE_ERR_DATA, "'%s' holds no texts",
                                         iv_show(path, strlen(path)).text);
    if (status == ISOVAE_OK) {
        *n = shape.count;
        status = iv_h5_texts(h5, set, path, NULL, shape.count, out, err);
    }
    iv_h5_drop(set);
    if (status == ISOVAE_OK && *out == NULL) {
        status =
            iv_fail(err, ISOVAE_ERR_DATA, "'%s' holds no texts", iv_show(path, strlen(path)).text);
    }
    return status;
}

/* Codes with the texts that lie at `categories`. */
static isovae_status labels_of_codes(const iv_h5 *h5, const double *codes, size_t n,
                                     const char *categories, iv_labels **out, isovae_error *err)
{
    char **texts = NULL;
    size_t n_texts = 0;
    isovae_status status = texts_at(h5, categories, &texts, &n_texts, err);
    if (status == ISOVAE_OK) status = iv_labels_from_codes(codes, n, texts, n_texts, out, err);
    free_texts(texts, n_texts);
    return status;
}

/* A dataset at `path`, or a member of it; `categories`: where texts of codes may lie. */
static isovae_status labels_of_set(const iv_h5 *h5, hid_t set, const char *path, const char *member,
                                   const char *categories, iv_labels **out, isovae_error *err)
{
    double *numbers = NULL;
    char **texts = NULL;
    size_t n = 0;
    isovae_status status = numbers_of(h5, set, path, member, &numbers, &n, err);
    if (status == ISOVAE_OK && numbers != NULL) {
        status = categories != NULL && iv_h5_has(h5, categories)
                     ? labels_of_codes(h5, numbers, n, categories, out, err)
                     : iv_labels_from_numbers(numbers, n, out, err);
    } else if (status == ISOVAE_OK) {
        iv_h5_shape shape;
        status = iv_h5_check(h5, set, path, 1, &shape, err);
        if (status == ISOVAE_OK) {
            n = shape.count;
            status = iv_h5_texts(h5, set, path, member, n, &texts, err);
        }
        if (status == ISOVAE_OK && texts == NULL) {
            status = iv_fail(err, ISOVAE_ERR_DATA, "'%s' holds neither numbers nor texts",
                             iv_show(path, strlen(path)).text);
        }
        if (status == ISOVAE_OK) status = iv_labels_from_texts(texts, n, out, err);
        free_texts(texts, n);
    }
    iv_free(numbers);
    return status;
}

static isovae_status labels_of_group(const iv_h5 *h5, const char *path, iv_labels **out,
                                     isovae_error *err)
{
    char codes[MAX_PATH], categories[MAX_PATH];
    hid_t set;
    (void)snprintf(codes, sizeof codes, "%s/codes", path);
    (void)snprintf(categories, sizeof categories, "%s/categories", path);
    if (!iv_h5_has(h5, codes) || !iv_h5_has(h5, categories)) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "'%s' is a group without labels",
                       iv_show(path, strlen(path)).text);
    }
    IV_TRY(iv_h5_find(h5, codes, &set, err));
    isovae_status status = iv_h5_is_dataset(set)
                               ? labels_of_set(h5, set, codes, NULL, categories, out, err)
                               : iv_fail(err, ISOVAE_ERR_DATA, "'%s' holds no codes",
                                         iv_show(codes, strlen(codes)).text);
    iv_h5_drop(set);
    return status;
}

static isovae_status labels_at(const iv_h5 *h5, const char *path, iv_labels **out,
                               isovae_error *err)
{
    char categories[MAX_PATH];
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    int before = slash != NULL ? (int)(slash - path) : 0;
    hid_t object;
    IV_TRY(iv_h5_find(h5, path, &object, err));
    (void)snprintf(categories, sizeof categories, "%.*s/__categories/%s", before, path, name);
    isovae_status status = iv_h5_is_dataset(object)
                               ? labels_of_set(h5, object, path, NULL, categories, out, err)
                               : labels_of_group(h5, path, out, err);
    iv_h5_drop(object);
    return status;
}

/* `frame` is a table, as obs was once, and has the member. */
static bool has_member(const iv_h5 *h5, const char *frame, const char *member, hid_t *set)
{
    *set = -1;
    if (!iv_h5_has(h5, frame) || iv_h5_find(h5, frame, set, NULL) != ISOVAE_OK) return false;
    hid_t type = iv_h5_is_dataset(*set) ? H5Dget_type(*set) : -1;
    bool there =
        type >= 0 && H5Tget_class(type) == H5T_COMPOUND && H5Tget_member_index(type, member) >= 0;
    iv_h5_drop(type);
    if (!there) {
        iv_h5_drop(*set);
        *set = -1;
    }
    return there;
}

static isovae_status find(const iv_h5 *h5, const char *name, iv_labels **out, isovae_error *err)
{
    char path[MAX_PATH], categories[MAX_PATH];
    hid_t set;
    while (*name == '/') name++;
    if (*name == '\0' || strlen(name) > MAX_PATH / 2) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "a path in an HDF5 file has 1 to %d characters",
                       MAX_PATH / 2);
    }
    const char *member = strncmp(name, "obs/", 4) == 0 ? name + 4 : name;
    if (has_member(h5, "obs", member, &set)) {
        (void)snprintf(categories, sizeof categories, "uns/%s_categories", member);
        isovae_status status = labels_of_set(h5, set, "obs", member, categories, out, err);
        iv_h5_drop(set);
        return status;
    }
    (void)snprintf(path, sizeof path, "obs/%s", member);
    if (iv_h5_has(h5, path)) return labels_at(h5, path, out, err);
    return labels_at(h5, name, out, err);
}

isovae_status iv_h5_labels(const unsigned char *block, size_t length, const char *path,
                           size_t limit, iv_labels **out, isovae_error *err)
{
    iv_h5 h5;
    *out = NULL;
    if (path == NULL) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "an HDF5 file holds many things; name the labels, as in FILE:obs/NAME");
    }
    IV_TRY(iv_h5_enter(block, length, limit, &h5, err));
    isovae_status status = find(&h5, path, out, err);
    iv_h5_leave(&h5);
    return status;
}
