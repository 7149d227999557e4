#include "data/hdf5_file.h"

#include "base/memory.h"

#include <pthread.h>
#include <string.h>

/* See the header: HDF5's own state is the process's, and so is what guards it. */
static pthread_mutex_t hdf5_lock = PTHREAD_MUTEX_INITIALIZER;

/* Deflate gets no further than 1032 to 1; the rest is for small datasets in large chunks. */
enum { MOST_RATIO = 1100, SLACK = 1 << 20, MAX_PATH = 1024 };

/* ---- the block as a file: no copy is made of it ---- */

static void *image_malloc(size_t size, H5FD_file_image_op_t operation, void *user)
{
    const iv_h5 *h5 = user;
    (void)operation;
    return size == h5->length ? (void *)(uintptr_t)h5->block : NULL;
}

static void *image_memcpy(void *to, const void *from, size_t size, H5FD_file_image_op_t operation,
                          void *user)
{
    (void)operation;
    (void)user;
    (void)size;
    return to == from ? to : NULL; /* it is the block itself */
}

static void *image_realloc(void *memory, size_t size, H5FD_file_image_op_t operation, void *user)
{
    (void)memory;
    (void)size;
    (void)operation;
    (void)user;
    return NULL; /* opened for reading only: it does not grow */
}

static herr_t image_free(void *memory, H5FD_file_image_op_t operation, void *user)
{
    (void)memory;
    (void)operation;
    (void)user;
    return 0;
}

static void *user_copy(void *user)
{
    return user;
}

static herr_t user_free(void *user)
{
    (void)user;
    return 0;
}

static isovae_status open_block(iv_h5 *h5, isovae_error *err)
{
    H5FD_file_image_callbacks_t calls = {
        image_malloc, image_memcpy, image_realloc, image_free, user_copy, user_free, h5};
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    isovae_status status = ISOVAE_OK;
    if (access >= 0 && H5Pset_fapl_core(access, 1 << 16, false) >= 0 &&
        H5Pset_file_image_callbacks(access, &calls) >= 0 &&
        H5Pset_file_image(access, (void *)(uintptr_t)h5->block, h5->length) >= 0) {
        h5->file = H5Fopen("memory", H5F_ACC_RDONLY, access);
    }
    if (h5->file < 0) status = iv_h5_fail("/", err);
    iv_h5_drop(access);
    return status;
}

isovae_status iv_h5_enter(const unsigned char *block, size_t length, size_t limit, iv_h5 *out,
                          isovae_error *err)
{
    *out = (iv_h5){.file = -1, .length = length, .limit = limit, .block = block};
    pthread_mutex_lock(&hdf5_lock);
    if (H5open() < 0 || H5Eget_auto2(H5E_DEFAULT, &out->report, &out->report_data) < 0 ||
        H5PLget_loading_state(&out->plugins) < 0) {
        pthread_mutex_unlock(&hdf5_lock);
        return iv_fail(err, ISOVAE_ERR_IO, "libhdf5 cannot be used here");
    }
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    (void)H5PLset_loading_state(0);
    isovae_status status = open_block(out, err);
    if (status != ISOVAE_OK) iv_h5_leave(out);
    return status;
}

void iv_h5_leave(iv_h5 *h5)
{
    iv_h5_drop(h5->file);
    (void)H5Eclear2(H5E_DEFAULT);
    (void)H5PLset_loading_state(h5->plugins);
    (void)H5Eset_auto2(H5E_DEFAULT, h5->report, h5->report_data);
    pthread_mutex_unlock(&hdf5_lock);
}

void iv_h5_drop(hid_t id)
{
    if (id >= 0) (void)H5Idec_ref(id);
}

/* The innermost message is the plainest. */
static herr_t first_message(unsigned n, const H5E_error2_t *error, void *user)
{
    const char **out = user;
    (void)n;
    if (*out == NULL) *out = error->desc;
    return 0;
}

isovae_status iv_h5_fail(const char *path, isovae_error *err)
{
    const char *why = NULL;
    (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, first_message, &why);
    iv_shown reason = iv_show(why != NULL ? why : "", why != NULL ? strlen(why) : 0);
    return iv_fail(err, ISOVAE_ERR_DATA, "'%s' cannot be read; the file is damaged%s%s%s",
                   iv_show(path, strlen(path)).text, why != NULL ? " (HDF5: " : "", reason.text,
                   why != NULL ? ")" : "");
}

/* ---- objects by path ---- */

/* Calls for each component: `at` is the group, which stays the caller's. -1: no such link, -2: not
 * a hard one. */
static int link_kind(hid_t at, const char *name)
{
    H5L_info_t info;
    if (H5Lexists(at, name, H5P_DEFAULT) <= 0) return -1;
    if (H5Lget_info(at, name, &info, H5P_DEFAULT) < 0) return -1;
    return info.type == H5L_TYPE_HARD ? 0 : -2;
}

/* -1: nothing there, -2: behind another link, -3: HDF5 failed, -4: too long */
static int walk(const iv_h5 *h5, const char *path, hid_t *out)
{
    char part[MAX_PATH];
    hid_t at = H5Oopen(h5->file, "/", H5P_DEFAULT);
    *out = -1;
    if (at < 0) return -3;
    for (const char *p = path;;) {
        while (*p == '/') p++;
        size_t length = strcspn(p, "/");
        if (length == 0) break;
        int kind = length >= sizeof part ? -4 : 0;
        if (kind == 0) {
            memcpy(part, p, length);
            part[length] = '\0';
            /* "." names the group itself to HDF5, and datasets have no links */
            kind = !iv_h5_is_group(at) || strcmp(part, ".") == 0 ? -1 : link_kind(at, part);
        }
        hid_t next = kind == 0 ? H5Oopen(at, part, H5P_DEFAULT) : -1;
        iv_h5_drop(at);
        if (kind != 0) return kind;
        if (next < 0) return -3;
        at = next;
        p += length;
    }
    *out = at;
    return 0;
}

isovae_status iv_h5_find(const iv_h5 *h5, const char *path, hid_t *out, isovae_error *err)
{
    iv_shown shown = iv_show(path, strlen(path));
    switch (walk(h5, path, out)) {
    case 0: return ISOVAE_OK;
    case -1:
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "there is no '%s' in the HDF5 file", shown.text);
    case -2:
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                       "'%s' lies behind a soft or external link, and those are not followed; name "
                       "the dataset itself",
                       shown.text);
    case -4: return iv_fail(err, ISOVAE_ERR_ARGUMENT, "the path '%s' is too long", shown.text);
    default: return iv_h5_fail(path, err);
    }
}

bool iv_h5_has(const iv_h5 *h5, const char *path)
{
    hid_t id;
    int found = walk(h5, path, &id);
    iv_h5_drop(id);
    return found == 0;
}

bool iv_h5_is_dataset(hid_t id)
{
    return H5Iget_type(id) == H5I_DATASET;
}

bool iv_h5_is_group(hid_t id)
{
    return H5Iget_type(id) == H5I_GROUP;
}

/* ---- datasets ---- */

static isovae_status check_filters(hid_t made, const char *path, isovae_error *err)
{
    int n = H5Pget_nfilters(made);
    if (n < 0) return iv_h5_fail(path, err);
    for (int i = 0; i < n; i++) {
        unsigned flags, config;
        size_t values = 0;
        H5Z_filter_t filter =
            H5Pget_filter2(made, (unsigned)i, &flags, &values, NULL, 0, NULL, &config);
        if (filter < 0) return iv_h5_fail(path, err);
        if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE &&
            filter != H5Z_FILTER_FLETCHER32 && filter != H5Z_FILTER_SZIP) {
            return iv_fail(
                err, ISOVAE_ERR_UNSUPPORTED,
                "'%s' is compressed by the HDF5 filter %d; deflate (gzip), szip, shuffle "
                "and fletcher32 can be read: write it anew with one of these",
                iv_show(path, strlen(path)).text, (int)filter);
        }
        if (H5Zfilter_avail(filter) <= 0) {
            return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                           "'%s' is compressed by a filter that this libhdf5 was built without; "
                           "write it anew with gzip",
                           iv_show(path, strlen(path)).text);
        }
    }
    return ISOVAE_OK;
}

/* Bytes in memory that so many bytes of storage can stand for. */
static bool plausible(size_t bytes, hsize_t storage, bool filtered)
{
    if (!filtered) return bytes <= storage;
    return bytes <= SLACK || (bytes - SLACK) / MOST_RATIO <= storage;
}

static isovae_status check_storage(hid_t set, hid_t made, const char *path,
                                   const iv_h5_shape *shape, isovae_error *err)
{
    iv_shown shown = iv_show(path, strlen(path));
    hid_t type = H5Dget_type(set);
    size_t stored_size = type >= 0 ? H5Tget_size(type) : 0, promised, chunk = 0;
    hsize_t storage = H5Dget_storage_size(set), dim[IV_H5_MAX_RANK];
    iv_h5_drop(type);
    H5D_layout_t layout = H5Pget_layout(made);
    if (stored_size == 0 || layout == H5D_LAYOUT_ERROR) return iv_h5_fail(path, err);
    if (layout == H5D_VIRTUAL) {
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                       "'%s' is a virtual dataset, made of others; write it out as one",
                       shown.text);
    }
    if (H5Pget_external_count(made) != 0) {
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                       "'%s' keeps its values in another file, and those are not opened",
                       shown.text);
    }
    IV_TRY(check_filters(made, path, err));
    bool filtered = H5Pget_nfilters(made) > 0,
         fits = iv_size_mul(shape->count, stored_size, &promised);
    if (layout == H5D_CHUNKED && fits) {
        int rank = H5Pget_chunk(made, IV_H5_MAX_RANK, dim);
        if (rank < 0 || (size_t)rank > IV_H5_MAX_RANK) return iv_h5_fail(path, err);
        chunk = stored_size;
        for (int i = 0; i < rank && fits; i++) {
            fits = dim[i] <= SIZE_MAX && iv_size_mul(chunk, (size_t)dim[i], &chunk);
        }
    }
    if (!fits || !plausible(promised, storage, filtered) || !plausible(chunk, storage, true)) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "'%s' promises more values than the %llu bytes that it has in the file; it "
                       "is damaged, or was never written",
                       shown.text, (unsigned long long)storage);
    }
    return ISOVAE_OK;
}

isovae_status iv_h5_check(const iv_h5 *h5, hid_t set, const char *path, size_t size,
                          iv_h5_shape *out, isovae_error *err)
{
    hsize_t dim[IV_H5_MAX_RANK];
    size_t bytes = size;
    hid_t space = H5Dget_space(set);
    int rank = space >= 0 ? H5Sget_simple_extent_ndims(space) : -1;
    bool simple = space >= 0 && H5Sget_simple_extent_type(space) == H5S_SIMPLE;
    if (rank < 0 || rank > IV_H5_MAX_RANK ||
        (simple && H5Sget_simple_extent_dims(space, dim, NULL) != rank)) {
        iv_h5_drop(space);
        return iv_h5_fail(path, err);
    }
    iv_h5_drop(space);
    iv_shown shown = iv_show(path, strlen(path));
    if (!simple || rank == 0) {
        return iv_fail(err, ISOVAE_ERR_DATA, "'%s' is a single value, not rows", shown.text);
    }
    *out = (iv_h5_shape){.rank = (size_t)rank, .count = 1};
    bool fits = true;
    for (int i = 0; i < rank; i++) {
        out->dim[i] = dim[i] <= SIZE_MAX ? (size_t)dim[i] : SIZE_MAX;
        fits = fits && iv_size_mul(out->count, out->dim[i], &out->count);
    }
    if (fits && out->count == 0) {
        return iv_fail(err, ISOVAE_ERR_DATA, "'%s' is empty (an axis has length 0)", shown.text);
    }
    if (!fits || !iv_size_mul(out->count, size, &bytes) || bytes > h5->limit) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "'%s' is larger than the limit of %zu bytes",
                       shown.text, h5->limit);
    }
    hid_t made = H5Dget_create_plist(set);
    if (made < 0) return iv_h5_fail(path, err);
    isovae_status status = check_storage(set, made, path, out, err);
    iv_h5_drop(made);
    return status;
}

static bool integer_of(size_t size, bool with_sign, iv_element *element, hid_t *memory)
{
    switch (size) {
    case 1:
        *element = with_sign ? IV_ELEMENT_I8 : IV_ELEMENT_U8;
        *memory = with_sign ? H5T_NATIVE_INT8 : H5T_NATIVE_UINT8;
        return true;
    case 2:
        *element = with_sign ? IV_ELEMENT_I16 : IV_ELEMENT_U16;
        *memory = with_sign ? H5T_NATIVE_INT16 : H5T_NATIVE_UINT16;
        return true;
    case 4:
        *element = with_sign ? IV_ELEMENT_I32 : IV_ELEMENT_U32;
        *memory = with_sign ? H5T_NATIVE_INT32 : H5T_NATIVE_UINT32;
        return true;
    case 8:
        *element = with_sign ? IV_ELEMENT_I64 : IV_ELEMENT_U64;
        *memory = with_sign ? H5T_NATIVE_INT64 : H5T_NATIVE_UINT64;
        return true;
    default: return false;
    }
}

bool iv_h5_number(hid_t set, iv_element *element, hid_t *memory)
{
    hid_t type = H5Dget_type(set);
    if (type < 0) return false;
    bool known = false;
    size_t size = H5Tget_size(type);
    switch (H5Tget_class(type)) {
    case H5T_INTEGER:
        known = integer_of(size, H5Tget_sign(type) != H5T_SGN_NONE, element, memory);
        break;
    case H5T_FLOAT:
        known = size > 0 && size <= 16;
        *element = size <= 4 ? IV_ELEMENT_F32 : IV_ELEMENT_F64;
        *memory = size <= 4 ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE;
        break;
    case H5T_ENUM: /* h5py's booleans: FALSE 0, TRUE 1 */
        known = size == 1 && H5Tget_nmembers(type) == 2;
        *element = IV_ELEMENT_BOOL;
        *memory = H5T_NATIVE_INT8;
        break;
    default: break;
    }
    iv_h5_drop(type);
    return known;
}

isovae_status iv_h5_read(hid_t set, const char *path, const iv_h5_shape *shape, hid_t memory,
                         size_t size, void **out, isovae_error *err)
{
    IV_TRY(iv_alloc(out, shape->count, size, "the values of the HDF5 file", err));
    if (H5Dread(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, *out) >= 0) return ISOVAE_OK;
    iv_free(*out);
    *out = NULL;
    return iv_h5_fail(path, err);
}

/* ---- attributes ---- */

bool iv_h5_text_attribute(hid_t id, const char *name, char *out, size_t size)
{
    if (H5Aexists(id, name) <= 0) return false;
    hid_t attribute = H5Aopen(id, name, H5P_DEFAULT);
    hid_t type = attribute >= 0 ? H5Aget_type(attribute) : -1;
    hid_t space = attribute >= 0 ? H5Aget_space(attribute) : -1, memory = -1;
    bool done = false;
    if (type >= 0 && H5Tget_class(type) == H5T_STRING && space >= 0 &&
        H5Sget_simple_extent_npoints(space) == 1) {
        memory = H5Tcopy(type);
        size_t stored = H5Tget_size(type);
        if (H5Tis_variable_str(type) > 0) {
            char *text = NULL;
            if (H5Aread(attribute, memory, &text) >= 0 && text != NULL) {
                done = strlen(text) < size;
                if (done) strcpy(out, text);
            }
            if (text != NULL) (void)H5free_memory(text);
        } else if (stored > 0 && stored < size) {
            memset(out, 0, size);
            done = H5Aread(attribute, memory, out) >= 0;
            if (done) out[stored] = '\0';
        }
    }
    iv_h5_drop(memory);
    iv_h5_drop(type);
    iv_h5_drop(space);
    iv_h5_drop(attribute);
    return done;
}
