/* What stands between libhdf5 and a table: a well-formed file is written from the input, with
 * whatever numbers, lengths and types it asks for, and read. (libhdf5 itself is not what is tried
 * here.) */
#include "drain.h"

#include <hdf5.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct input {
    const uint8_t *data;
    size_t left;
} input;

static uint8_t byte(input *in)
{
    if (in->left == 0) return 0;
    in->left--;
    return *in->data++;
}

/* Mostly small, now and then far out. */
static int64_t number(input *in)
{
    uint8_t b = byte(in);
    if (b < 240) return (int64_t)(b % 48) - 4;
    return (int64_t)(((uint64_t)byte(in) << (b % 64)) - 1);
}

static void put(hid_t at, const char *name, hid_t type, hid_t memory, hsize_t n, const void *values)
{
    hid_t space = H5Screate_simple(1, &n, NULL);
    hid_t set = H5Dcreate2(at, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (set >= 0 && n > 0) (void)H5Dwrite(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    H5Dclose(set);
    H5Sclose(space);
}

static void put_text(hid_t at, const char *name, const char *text)
{
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, strlen(text) + 1);
    hid_t a = H5Acreate2(at, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    (void)H5Awrite(a, type, text);
    H5Aclose(a);
    H5Sclose(space);
    H5Tclose(type);
}

static void put_numbers(input *in, hid_t at, const char *name)
{
    const hid_t stored[] = {H5T_STD_I8LE, H5T_STD_I64BE, H5T_IEEE_F32LE};
    int64_t values[32];
    size_t n = byte(in) % 32, kind = byte(in) % 16;
    for (size_t i = 0; i < n; i++) values[i] = number(in);
    put(at, name, stored[kind < 8 ? 1 : kind < 15 ? 0 : 2], H5T_NATIVE_INT64, n, values);
}

static void put_matrix(input *in, hid_t file)
{
    static const char *const formats[] = {"csr_matrix", "csc_matrix", "csr", "csc", "other"};
    uint8_t kind = byte(in);
    hsize_t two = kind % 11 == 10 ? 3 : 2;
    int64_t shape[3] = {number(in), number(in), 1};
    hid_t g = H5Gcreate2(file, "X", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    bool old = kind % 5 == 2 || kind % 5 == 3;
    put_text(g, old ? "h5sparse_format" : "encoding-type", formats[kind % 5]);
    hid_t space = H5Screate_simple(1, &two, NULL);
    hid_t a = H5Acreate2(g, old ? "h5sparse_shape" : "shape", H5T_STD_I64LE, space, H5P_DEFAULT,
                         H5P_DEFAULT);
    (void)H5Awrite(a, H5T_NATIVE_INT64, shape);
    H5Aclose(a);
    H5Sclose(space);
    put_numbers(in, g, "indptr");
    put_numbers(in, g, "indices");
    put_numbers(in, g, "data");
    H5Gclose(g);
}

/* Names: of variable or fixed length, as a dataset or in a table; numbers; or something else. */
static void put_frame(input *in, hid_t file, const char *name)
{
    uint8_t kind = byte(in) % 8;
    size_t n = byte(in) % 48, length = 1 + byte(in) % 8;
    char fixed[48 * 8 + 1] = {0}, texts[48][9], *pointers[48];
    if (kind == 0) return;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < 8; k++) {
            texts[i][k] = (char)byte(in);
            if (k < length) fixed[i * length + k] = texts[i][k];
        }
        texts[i][8] = '\0';
        pointers[i] = texts[i];
    }
    hid_t type = H5Tcopy(H5T_C_S1);
    bool variable = kind % 2 == 1;
    H5Tset_size(type, variable ? H5T_VARIABLE : length);
    const void *values = variable ? (const void *)pointers : fixed;
    if (kind < 3) {
        hid_t compound = H5Tcreate(H5T_COMPOUND, variable ? sizeof(char *) : length);
        (void)H5Tinsert(compound, kind == 1 ? "index" : "_index", 0, type);
        put(file, name, compound, compound, n, values);
        H5Tclose(compound);
    } else {
        hid_t g = H5Gcreate2(file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        put_text(g, "_index", kind == 6 ? "absent" : "names");
        if (kind == 7) {
            put_numbers(in, g, "names");
        } else {
            put(g, "names", type, type, n, values);
        }
        H5Gclose(g);
    }
    H5Tclose(type);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { LIMIT = 1 << 20 };
    input in = {data, size};
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    (void)H5Pset_fapl_core(access, 1 << 14, false);
    hid_t file = H5Fcreate("fuzz", H5F_ACC_TRUNC, H5P_DEFAULT, access);
    put_matrix(&in, file);
    put_frame(&in, file, "var");
    put_frame(&in, file, "obs");
    (void)H5Fflush(file, H5F_SCOPE_GLOBAL);
    ssize_t length = H5Fget_file_image(file, NULL, 0);
    uint8_t *image = malloc((size_t)length);
    if (image == NULL || H5Fget_file_image(file, image, (size_t)length) != length) abort();
    H5Fclose(file);
    H5Pclose(access);

    static const char *const paths[] = {NULL, "X", "X/data", "var", "var/names"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        iv_table table;
        unsigned char *values;
        isovae_error err;
        if (iv_read_hdf5(image, (size_t)length, paths[i], LIMIT, &table, &values, &err) !=
            ISOVAE_OK) {
            if (err.status == ISOVAE_ERR_INTERNAL || err.message[0] == '\0') abort();
            continue;
        }
        for (size_t j = 0; table.names != NULL && j < table.cols; j++) {
            if (table.names[j] == NULL) abort();
        }
        for (size_t r = 0; table.ids != NULL && r < table.rows; r++) {
            if (table.ids[r] == NULL) abort();
        }
        drain(&table, 0);
        iv_table_free(&table);
        iv_free(values);
    }
    if (H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL) != 0) abort(); /* an id was kept */
    free(image);
    return 0;
}
