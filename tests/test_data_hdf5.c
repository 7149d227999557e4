/* HDF5 and AnnData files: written here with libhdf5, read by the reader; then damaged ones. */
#include "support_data.h"

#include "data/reader.h"

#include <dirent.h>
#include <hdf5.h>
#include <pthread.h>

enum { LIMIT = 1 << 24 };

/* ---- writing ---- */

static hid_t file_new(void)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    assert_true(H5Pset_fapl_core(access, 1 << 16, false) >= 0);
    hid_t file = H5Fcreate("isovae-test", H5F_ACC_TRUNC, H5P_DEFAULT, access);
    assert_true(file >= 0);
    H5Pclose(access);
    return file;
}

/* The file's bytes; closes it. */
static unsigned char *file_bytes(hid_t file, size_t *length)
{
    assert_true(H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0);
    ssize_t size = H5Fget_file_image(file, NULL, 0);
    assert_true(size > 0);
    unsigned char *out = malloc((size_t)size);
    assert_non_null(out);
    assert_true(H5Fget_file_image(file, out, (size_t)size) == size);
    assert_true(H5Fclose(file) >= 0);
    *length = (size_t)size;
    return out;
}

static void put(hid_t at, const char *name, hid_t stored, hid_t memory, int rank,
                const hsize_t *shape, hid_t made, const void *values)
{
    hid_t space = H5Screate_simple(rank, shape, NULL);
    hid_t set = H5Dcreate2(at, name, stored, space, H5P_DEFAULT, made, H5P_DEFAULT);
    assert_true(set >= 0);
    if (values != NULL)
        assert_true(H5Dwrite(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(set);
    H5Sclose(space);
}

static void put_ints(hid_t at, const char *name, size_t n, const int64_t *values)
{
    hsize_t shape[] = {n};
    put(at, name, H5T_STD_I32LE, H5T_NATIVE_INT64, 1, shape, H5P_DEFAULT, values);
}

static void put_doubles(hid_t at, const char *name, size_t rows, size_t cols, const double *values)
{
    hsize_t shape[] = {rows, cols};
    put(at, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, cols > 0 ? 2 : 1, shape, H5P_DEFAULT, values);
}

static hid_t text_type(size_t size)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, size > 0 ? size : H5T_VARIABLE);
    if (size == 0) H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

/* size 0: of variable length */
static void put_texts(hid_t at, const char *name, size_t n, const char *const *texts, size_t size)
{
    hid_t type = text_type(size);
    hsize_t shape[] = {n};
    char *fixed = size > 0 ? calloc(n, size) : NULL;
    for (size_t i = 0; i < n && size > 0; i++) {
        size_t length = strlen(texts[i]);
        memcpy(fixed + i * size, texts[i], length < size ? length : size);
    }
    put(at, name, type, type, 1, shape, H5P_DEFAULT, size > 0 ? (const void *)fixed : texts);
    free(fixed);
    H5Tclose(type);
}

static void put_text_attribute(hid_t at, const char *name, const char *text, bool fixed)
{
    hid_t type = text_type(fixed ? strlen(text) : 0), space = H5Screate(H5S_SCALAR);
    hid_t a = H5Acreate2(at, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Awrite(a, type, fixed ? (const void *)text : &text) >= 0);
    H5Aclose(a);
    H5Sclose(space);
    H5Tclose(type);
}

static void put_shape(hid_t at, const char *name, int64_t rows, int64_t cols)
{
    int64_t shape[] = {rows, cols};
    hsize_t two = 2;
    hid_t space = H5Screate_simple(1, &two, NULL);
    hid_t a = H5Acreate2(at, name, H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Awrite(a, H5T_NATIVE_INT64, shape) >= 0);
    H5Aclose(a);
    H5Sclose(space);
}

static hid_t group(hid_t at, const char *name)
{
    hid_t id = H5Gcreate2(at, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(id >= 0);
    return id;
}

/* 3 x 4 with an empty row and a column that comes twice:  . 1 . 2 / . . . . / 3+4 . 5 . */
typedef struct sparse {
    int64_t indptr[8], indices[8], rows, cols;
    double data[8];
    size_t n_indptr, n;
} sparse;
static const sparse usual = {{0, 2, 2, 5}, {1, 3, 0, 2, 0}, 3, 4, {1, 2, 3, 5, 4}, 4, 5};
static const double usual_dense[12] = {0, 1, 0, 2, 0, 0, 0, 0, 7, 0, 5, 0};

static void put_sparse(hid_t at, const char *name, const sparse *s, const char *format, bool old)
{
    hid_t g = group(at, name);
    hsize_t n = s->n;
    put_ints(g, "indptr", s->n_indptr, s->indptr);
    put_ints(g, "indices", s->n, s->indices);
    put(g, "data", H5T_IEEE_F32LE, H5T_NATIVE_DOUBLE, 1, &n, H5P_DEFAULT, s->data);
    put_text_attribute(g, old ? "h5sparse_format" : "encoding-type", format, !old);
    put_shape(g, old ? "h5sparse_shape" : "shape", s->rows, s->cols);
    H5Gclose(g);
}

static const char *const genes[] = {"CD8A", "GNLY", "CD8A", "na\xC3\xAF"};
static const char *const cells[] = {"AAAC-1", "AAAG-1", "TTTG-1"};

/* Current layout: X csr, layers dense and csc, raw with its own var, obsm. */
static hid_t anndata(void)
{
    hid_t file = file_new(), layers = group(file, "layers"), raw = group(file, "raw");
    hid_t var = group(file, "var"), obs = group(file, "obs"), obsm = group(file, "obsm");
    double counts[12], pca[6] = {1, 2, 3, 4, 5, 6};
    sparse csc = {{0, 1, 2, 3, 4}, {2, 0, 2, 0}, 3, 4, {7, 1, 5, 2}, 5, 4};
    for (size_t i = 0; i < 12; i++) counts[i] = (double)i;
    put_sparse(file, "X", &usual, "csr_matrix", false);
    put_doubles(layers, "counts", 3, 4, counts);
    put_sparse(layers, "columns", &csc, "csc_matrix", false);
    put_texts(var, "gene_ids", 4, genes, 0);
    put_text_attribute(var, "_index", "gene_ids", false);
    put_texts(obs, "_index", 3, cells, 6);
    put_doubles(obsm, "X_pca", 3, 2, pca);
    put_doubles(raw, "X", 3, 2, pca);
    hid_t raw_var = group(raw, "var");
    put_texts(raw_var, "index", 2, genes, 0);
    put_text_attribute(raw_var, "_index", "index", true);
    H5Gclose(raw_var);
    H5Gclose(layers);
    H5Gclose(raw);
    H5Gclose(var);
    H5Gclose(obs);
    H5Gclose(obsm);
    return file;
}

static const char *save(scratch *s, const char *name, hid_t file)
{
    size_t length;
    unsigned char *bytes = file_bytes(file, &length);
    const char *path = scratch_write(s, name, bytes, length);
    free(bytes);
    return path;
}

static void assert_cells(const iv_dataset *data, const double *want)
{
    for (size_t i = 0; i < data->rows * data->cols; i++) {
        if ((double)data->values[i] != want[i]) {
            fail_msg("value %zu is %g, not %g", i, (double)data->values[i], want[i]);
        }
    }
}

/* ---- what can be read ---- */

static void numbers(void **state)
{
    static const double want[6] = {0, 1, 2, 3, 100, 5};
    const hid_t types[] = {H5T_STD_I8LE,   H5T_STD_U16BE,  H5T_STD_I16LE, H5T_STD_U32LE,
                           H5T_STD_I32BE,  H5T_STD_I64LE,  H5T_STD_U64BE, H5T_IEEE_F32LE,
                           H5T_IEEE_F32BE, H5T_IEEE_F64LE, H5T_IEEE_F64BE};
    hsize_t shape[] = {2, 3};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        hid_t file = file_new();
        put(file, "a", types[i], H5T_NATIVE_DOUBLE, 2, shape, H5P_DEFAULT, want);
        iv_dataset *data = must_open(save(*state, "t.h5", file), NULL);
        assert_int_equal(data->rows, 2);
        assert_int_equal(data->cols, 3);
        assert_null(data->bytes);
        assert_null(data->ids);
        assert_false(data->named);
        assert_string_equal(data->names[2], "c3");
        assert_cells(data, want);
        iv_dataset_free(data);
    }
    /* h5py's booleans */
    int8_t no = 0, yes = 1, flags[] = {0, 1, 1, 0, 1, 0};
    hid_t file = file_new(), type = H5Tenum_create(H5T_NATIVE_INT8);
    H5Tenum_insert(type, "FALSE", &no);
    H5Tenum_insert(type, "TRUE", &yes);
    put(file, "a", type, type, 2, shape, H5P_DEFAULT, flags);
    H5Tclose(type);
    iv_dataset *data = must_open(save(*state, "t.h5", file), NULL);
    for (size_t i = 0; i < 6; i++) assert_true(data->values[i] == (float)flags[i]);
    iv_dataset_free(data);
}

static hid_t compressed(int rank, const hsize_t *chunk)
{
    hid_t made = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(made, rank, chunk);
    H5Pset_shuffle(made);
    H5Pset_deflate(made, 4);
    H5Pset_fletcher32(made);
    return made;
}

static void images(void **state)
{
    unsigned char bytes[4 * 5 * 6 * 3];
    hsize_t shape[] = {4, 5, 6, 3}, chunk[] = {3, 5, 4, 2};
    char spec[300];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 7);
    hid_t file = file_new(), g = group(file, "train"), made = compressed(4, chunk);
    put(g, "images", H5T_STD_U8LE, H5T_NATIVE_UINT8, 4, shape, made, bytes);
    H5Pclose(made);
    made = compressed(3, chunk);
    put(g, "grey", H5T_STD_U8LE, H5T_NATIVE_UINT8, 3, shape, made, bytes);
    H5Pclose(made);
    H5Gclose(g);
    snprintf(spec, sizeof spec, "%s:train/images", save(*state, "t.h5", file));
    iv_dataset *data = must_open(spec, NULL);
    assert_int_equal(data->rows, 4);
    assert_int_equal(data->height, 5);
    assert_int_equal(data->width, 6);
    assert_int_equal(data->channels, 3);
    assert_memory_equal(data->bytes, bytes, sizeof bytes);
    iv_dataset_free(data);
    snprintf(spec, sizeof spec, "%s:/train/grey", ((scratch *)*state)->path);
    data = must_open(spec, NULL);
    assert_int_equal(data->channels, 1);
    assert_memory_equal(data->bytes, bytes, 4 * 5 * 6);
    iv_dataset_free(data);
}

/* Floats within [0, 1] whose axes look like those of images are images; and only then are columns
 * without their names. */
static void float_images(void **state)
{
    static const char *const pixels[] = {"p1", "p2", "p3", "p4", "p5", "p6"};
    double values[2 * 2 * 3] = {0, 0.25, 1, 0.5, 0.125, 0.75, 0, 1, 0.5, 0.25, 0.5, 1};
    hsize_t shape[] = {2, 2, 3};
    for (size_t above = 0; above < 2; above++) {
        if (above) values[11] = 1.5;
        hid_t file = file_new(), frame = group(file, "var");
        put_text_attribute(frame, "_index", "index", false);
        put_texts(frame, "index", 6, pixels, 0);
        H5Gclose(frame);
        put(file, "X", H5T_IEEE_F32LE, H5T_NATIVE_DOUBLE, 3, shape, H5P_DEFAULT, values);
        iv_dataset *data = must_open(save(*state, "t.h5", file), NULL);
        assert_int_equal(data->cols, 6);
        assert_int_equal(data->height, above ? 0 : 2);
        assert_int_equal(data->width, above ? 0 : 3);
        assert_string_equal(data->names[5], above ? "p6" : "c6");
        assert_cells(data, values);
        iv_dataset_free(data);
    }
}

/* A file that is mapped, and rows and ids that come from a kept row cache. */
static void cached(void **state)
{
    char folder[] = "/tmp/isovae-test-XXXXXX", name[400];
    iv_data_options options;
    iv_data_options_init(&options);
    assert_non_null(mkdtemp(folder));
    options.cache = folder;
    options.memory = 4; /* bytes */
    const char *path = save(*state, "cells.h5ad", anndata());
    iv_dataset *plain = must_open(path, NULL);
    for (size_t time = 0; time < 2; time++) {
        iv_dataset *data = must_open(path, &options);
        assert_non_null(data->store);
        assert_true(data->hash == plain->hash);
        assert_cells(data, usual_dense);
        for (size_t r = 0; r < 3; r++) assert_string_equal(data->ids[r], plain->ids[r]);
        for (size_t i = 0; i < 4; i++) assert_string_equal(data->names[i], plain->names[i]);
        iv_dataset_free(data);
    }
    /* another layer is other data */
    snprintf(name, sizeof name, "%s:layers/counts", path);
    iv_dataset *layer = must_open(name, &options);
    assert_true(layer->hash != plain->hash);
    iv_dataset_free(layer);
    iv_dataset_free(plain);
    DIR *dir = opendir(folder);
    size_t files = 0;
    for (const struct dirent *at; (at = readdir(dir)) != NULL;) {
        if (at->d_name[0] == '.') continue;
        snprintf(name, sizeof name, "%s/%s", folder, at->d_name);
        assert_int_equal(unlink(name), 0);
        files++;
    }
    closedir(dir);
    assert_int_equal(files, 2);
    assert_int_equal(rmdir(folder), 0);
}

static void annotated(void **state)
{
    char spec[300];
    const char *path = save(*state, "cells.h5ad", anndata());
    iv_dataset *data = must_open(path, NULL);
    assert_int_equal(data->rows, 3);
    assert_int_equal(data->cols, 4);
    assert_true(data->named);
    assert_string_equal(data->names[0], "CD8A");
    assert_string_equal(data->names[2], "CD8A.2");
    assert_string_equal(data->names[3], "na\xC3\xAF");
    assert_string_equal(data->ids[0], "AAAC-1");
    assert_string_equal(data->ids[2], "TTTG-1");
    assert_cells(data, usual_dense);
    iv_dataset_free(data);

    /* columns by name, of the sparse matrix */
    iv_data_options options;
    iv_data_options_init(&options);
    options.columns = "CD8A.2,GNLY";
    data = must_open(path, &options);
    assert_int_equal(data->cols, 2);
    static const double chosen[] = {0, 1, 0, 0, 5, 0};
    assert_cells(data, chosen);
    iv_dataset_free(data);

    static const char *const layers[] = {"layers/counts", "layer=counts", "/layers/counts"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(spec, sizeof spec, "%s:%s", path, layers[i]);
        data = must_open(spec, NULL);
        for (size_t k = 0; k < 12; k++) assert_true(data->values[k] == (float)k);
        assert_string_equal(data->names[1], "GNLY");
        assert_string_equal(data->ids[1], "AAAG-1");
        iv_dataset_free(data);
    }
    snprintf(spec, sizeof spec, "%s:layer=columns", path);
    data = must_open(spec, NULL);
    assert_cells(data, usual_dense);
    iv_dataset_free(data);
    snprintf(spec, sizeof spec, "%s:raw/X", path);
    data = must_open(spec, NULL);
    assert_int_equal(data->cols, 2);
    assert_string_equal(data->names[1], "GNLY");
    assert_string_equal(data->ids[1], "AAAG-1");
    iv_dataset_free(data);
    snprintf(spec, sizeof spec, "%s:obsm/X_pca", path);
    data = must_open(spec, NULL);
    assert_false(data->named);
    assert_string_equal(data->ids[1], "AAAG-1");
    iv_dataset_free(data);
    /* a sparse matrix with a column as the ids instead */
    options.columns = NULL;
    options.id = "GNLY";
    data = must_open(path, &options);
    assert_int_equal(data->cols, 3);
    assert_string_equal(data->ids[0], "1");
    iv_dataset_free(data);
}

/* `var` and `obs` as tables of compound elements; names fixed, of variable length, or numbers. */
static void old_layout(void **state)
{
    typedef struct gene {
        float mean;
        char *name;
    } gene;
    typedef struct cell {
        char name[8];
        int64_t n;
    } cell;
    gene var[] = {{1, "CD3D"}, {2, "NKG7"}, {3, "LYZ"}, {4, ""}};
    cell obs[] = {{"c1", 4}, {"cell-two", 5}, {"c3   ", 6}};
    hsize_t n_var = 4, n_obs = 3;
    hid_t file = file_new(), text = text_type(0), fixed = text_type(8);
    hid_t type = H5Tcreate(H5T_COMPOUND, sizeof(gene));
    H5Tinsert(type, "means", HOFFSET(gene, mean), H5T_NATIVE_FLOAT);
    H5Tinsert(type, "index", HOFFSET(gene, name), text);
    put(file, "var", type, type, 1, &n_var, H5P_DEFAULT, var);
    H5Tclose(type);
    type = H5Tcreate(H5T_COMPOUND, sizeof(cell));
    H5Tinsert(type, "index", HOFFSET(cell, name), fixed);
    H5Tinsert(type, "n", HOFFSET(cell, n), H5T_NATIVE_INT64);
    put(file, "obs", type, type, 1, &n_obs, H5P_DEFAULT, obs);
    H5Tclose(type);
    H5Tclose(text);
    H5Tclose(fixed);
    put_sparse(file, "X", &usual, "csr", true);
    iv_dataset *data = must_open(save(*state, "old.h5ad", file), NULL);
    assert_cells(data, usual_dense);
    assert_string_equal(data->names[0], "CD3D");
    assert_string_equal(data->names[2], "LYZ");
    assert_string_equal(data->names[3], "c4");
    assert_string_equal(data->ids[0], "c1");
    assert_string_equal(data->ids[1], "cell-two");
    assert_string_equal(data->ids[2], "c3");
    iv_dataset_free(data);

    int64_t numbers_of_rows[] = {10, 20, -30};
    file = file_new();
    hid_t frame = group(file, "obs");
    put_ints(frame, "_index", 3, numbers_of_rows);
    H5Gclose(frame);
    put_sparse(file, "X", &usual, "csr_matrix", false);
    data = must_open(save(*state, "t.h5ad", file), NULL);
    assert_string_equal(data->ids[2], "-30");
    assert_false(data->named);
    iv_dataset_free(data);
}

static void which_array(void **state)
{
    static const double values[] = {1, 2, 3, 4};
    char spec[300];
    hid_t file = file_new();
    put_doubles(file, "labels", 4, 0, values);
    put_texts(file, "words", 4, genes, 0);
    put_doubles(file, "only", 2, 2, values);
    iv_dataset *data = must_open(save(*state, "t.h5", file), NULL);
    assert_cells(data, values);
    iv_dataset_free(data);

    file = file_new();
    put_doubles(file, "a", 2, 2, values);
    put_doubles(file, "b", 2, 2, values);
    hid_t g = group(file, "g");
    put_doubles(g, "c", 4, 0, values);
    H5Gclose(g);
    const char *path = save(*state, "t.h5", file);
    must_fail(path, NULL, ISOVAE_ERR_ARGUMENT, "FILE:a", "a 2x2, b 2x2");
    snprintf(spec, sizeof spec, "%s:c", path);
    must_fail(spec, NULL, ISOVAE_ERR_ARGUMENT, "no 'c'", NULL);
    snprintf(spec, sizeof spec, "%s:g", path);
    must_fail(spec, NULL, ISOVAE_ERR_ARGUMENT, "is a group", "g/NAME");
    snprintf(spec, sizeof spec, "%s:a/b", path);
    must_fail(spec, NULL, ISOVAE_ERR_ARGUMENT, "no 'a/b'", NULL);
    snprintf(spec, sizeof spec, "%s:.", path);
    must_fail(spec, NULL, ISOVAE_ERR_ARGUMENT, "no '.'", NULL);
    snprintf(spec, sizeof spec, "%s:g/c", path);
    data = must_open(spec, NULL); /* one column */
    assert_int_equal(data->rows, 4);
    iv_dataset_free(data);

    file = file_new();
    put_texts(file, "words", 4, genes, 0);
    path = save(*state, "t.h5", file);
    must_fail(path, NULL, ISOVAE_ERR_DATA, "no array of rows", NULL);
    snprintf(spec, sizeof spec, "%s:words", path);
    must_fail(spec, NULL, ISOVAE_ERR_DATA, "no plain numbers", NULL);
}

/* ---- what is refused ---- */

static isovae_status read_block(const unsigned char *block, size_t length, const char *path,
                                isovae_error *err)
{
    iv_table table;
    unsigned char *values;
    isovae_status status = iv_read_hdf5(block, length, path, LIMIT, &table, &values, err);
    if (status == ISOVAE_OK) {
        iv_table_free(&table);
        iv_free(values);
    } else {
        assert_null(values);
        assert_int_equal(table.rows, 0);
        assert_true(err->message[0] != '\0');
        assert_null(strchr(err->message, '\n'));
    }
    return status;
}

static void refuse(hid_t file, const char *path, isovae_status status, const char *why)
{
    size_t length;
    isovae_error err = {ISOVAE_OK, ""};
    unsigned char *bytes = file_bytes(file, &length);
    isovae_status got = read_block(bytes, length, path, &err);
    free(bytes);
    if (got != status || strstr(err.message, why) == NULL) {
        fail_msg("status %d (expected %d), \"%s\" should hold '%s'", (int)got, (int)status,
                 err.message, why);
    }
}

static void refuse_sparse(const sparse *s, const char *why)
{
    hid_t file = file_new();
    put_sparse(file, "X", s, "csr_matrix", false);
    refuse(file, "X", ISOVAE_ERR_DATA, why);
}

static void damaged_sparse(void **state)
{
    sparse s = usual;
    s.indptr[1] = 6;
    refuse_sparse(&s, "'indptr' goes from");
    s = usual;
    s.indptr[2] = 1;
    refuse_sparse(&s, "'indptr' goes from");
    s = usual;
    s.indptr[0] = 1;
    refuse_sparse(&s, "begins at 1");
    s = usual;
    s.indptr[1] = -1;
    refuse_sparse(&s, "'indptr' goes from");
    s = usual;
    s.indptr[3] = 4;
    refuse_sparse(&s, "ends at 4");
    s = usual;
    s.indices[4] = 4;
    refuse_sparse(&s, "an index is 4");
    s = usual;
    s.indices[0] = -1;
    refuse_sparse(&s, "an index is -1");
    s = usual;
    s.rows = 4;
    refuse_sparse(&s, "'indptr' has 4 values");
    s = usual;
    s.cols = 0;
    refuse_sparse(&s, "no shape");
    s = usual;
    s.rows = -3;
    refuse_sparse(&s, "no shape");
    s = usual;
    s.rows = INT64_MAX;
    refuse_sparse(&s, "'indptr' has 4 values");

    hid_t file = file_new(), g = group(file, "X");
    double data[2] = {1, 2};
    int64_t indptr[] = {0, 1}, indices[] = {0};
    put_text_attribute(g, "encoding-type", "csr_matrix", false);
    put_shape(g, "shape", 1, 1);
    put_ints(g, "indptr", 2, indptr);
    put_ints(g, "indices", 1, indices);
    put_doubles(g, "data", 2, 0, data);
    H5Gclose(g);
    refuse(file, "X", ISOVAE_ERR_DATA, "2 values in 'data', 1 in 'indices'");

    file = file_new(), g = group(file, "X");
    put_text_attribute(g, "encoding-type", "csr_matrix", false);
    put_shape(g, "shape", 1, 1);
    put_doubles(g, "indptr", 2, 0, data);
    H5Gclose(g);
    refuse(file, "X", ISOVAE_ERR_DATA, "no whole numbers");

    /* zeros cost nothing in the file, but here they do */
    s = usual;
    s.cols = (int64_t)1 << 50;
    file = file_new();
    put_sparse(file, "X", &s, "csr_matrix", false);
    refuse(file, "X", ISOVAE_ERR_MEMORY, "too large");
    sparse zeros = {{0, 0, 0, 0, 0, 0, 0, 1}, {0}, 7, 9000, {1}, 8, 1};
    file = file_new();
    put_sparse(file, "X", &zeros, "csr_matrix", false);
    iv_data_options options;
    iv_data_options_init(&options);
    options.max_bytes = 600000;
    const char *path = save(*state, "t.h5", file);
    iv_dataset *wide = must_open(path, &options);
    assert_int_equal(wide->cols, 9000);
    iv_dataset_free(wide);
    zeros.rows = 20, zeros.cols = 9000;
    int64_t starts[21] = {0};
    starts[20] = 1;
    file = file_new(), g = group(file, "X");
    put_text_attribute(g, "encoding-type", "csr_matrix", false);
    put_shape(g, "shape", 20, 9000);
    put_ints(g, "indptr", 21, starts);
    put_ints(g, "indices", 1, zeros.indices);
    put_doubles(g, "data", 1, 0, zeros.data);
    H5Gclose(g);
    path = save(*state, "t.h5", file);
    must_fail(path, &options, ISOVAE_ERR_MEMORY, "--columns", "20 rows of 9000");
    options.columns = "1-100";
    wide = must_open(path, &options);
    assert_true(wide->values[19 * 100] == 1);
    iv_dataset_free(wide);
}

static void hostile_datasets(void **state)
{
    static const double values[] = {1, 2, 3, 4};
    hsize_t huge[] = {1 << 10, 1 << 10}, wide[] = {(hsize_t)1 << 40, (hsize_t)1 << 40};
    hsize_t two[] = {2, 2}, chunk[] = {64, 64}, five[] = {1, 1, 1, 2, 2};
    (void)state;
    /* promised, never written: contiguous, chunked, compressed */
    hid_t file = file_new();
    put(file, "a", H5T_IEEE_F64LE, -1, 2, huge, H5P_DEFAULT, NULL);
    refuse(file, "a", ISOVAE_ERR_DATA, "promises more values");
    hid_t made = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(made, 2, chunk);
    file = file_new();
    put(file, "a", H5T_IEEE_F64LE, -1, 2, huge, made, NULL);
    refuse(file, "a", ISOVAE_ERR_DATA, "promises more values");
    H5Pset_deflate(made, 9);
    file = file_new();
    put(file, "a", H5T_IEEE_F64LE, -1, 2, huge, made, NULL);
    refuse(file, "a", ISOVAE_ERR_DATA, "promises more values");
    file = file_new();
    put(file, "a", H5T_IEEE_F64LE, -1, 2, wide, made, NULL);
    refuse(file, "a", ISOVAE_ERR_MEMORY, "larger than the limit");
    H5Pclose(made);
    /* a chunk far larger than what it holds */
    made = H5Pcreate(H5P_DATASET_CREATE);
    hsize_t large[] = {1 << 13, 1 << 13};
    H5Pset_chunk(made, 2, large);
    H5Pset_deflate(made, 1);
    file = file_new();
    put(file, "a", H5T_IEEE_F32LE, -1, 2, large, made, NULL);
    H5Pclose(made);
    refuse(file, "a", ISOVAE_ERR_MEMORY, "larger than the limit");
    /* more than the limit, honestly */
    file = file_new();
    hsize_t honest[] = {LIMIT / 8 + 1, 1};
    double *zeros = calloc(honest[0], sizeof *zeros);
    put(file, "a", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 2, honest, H5P_DEFAULT, zeros);
    free(zeros);
    refuse(file, "a", ISOVAE_ERR_MEMORY, "larger than the limit");
    /* values elsewhere */
    made = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(made, "/etc/passwd", 0, 32);
    file = file_new();
    put(file, "a", H5T_IEEE_F64LE, -1, 2, two, made, NULL);
    H5Pclose(made);
    refuse(file, "a", ISOVAE_ERR_UNSUPPORTED, "another file");
    made = H5Pcreate(H5P_DATASET_CREATE);
    hid_t space = H5Screate_simple(2, two, NULL);
    H5Pset_virtual(made, space, "other.h5", "x", space);
    H5Sclose(space);
    file = file_new();
    put(file, "a", H5T_IEEE_F64LE, -1, 2, two, made, NULL);
    H5Pclose(made);
    refuse(file, "a", ISOVAE_ERR_UNSUPPORTED, "virtual");
    /* a filter beyond those allowed */
    made = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(made, 2, two);
    H5Pset_scaleoffset(made, H5Z_SO_FLOAT_DSCALE, 2);
    file = file_new();
    put(file, "a", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 2, two, made, values);
    H5Pclose(made);
    refuse(file, "a", ISOVAE_ERR_UNSUPPORTED, "filter 6");
    /* links */
    file = file_new();
    put_doubles(file, "real", 2, 2, values);
    H5Lcreate_soft("/real", file, "soft", H5P_DEFAULT, H5P_DEFAULT);
    refuse(file, "soft", ISOVAE_ERR_UNSUPPORTED, "not followed");
    file = file_new();
    H5Lcreate_external("/tmp/other.h5", "/x", file, "outside", H5P_DEFAULT, H5P_DEFAULT);
    refuse(file, "outside/x", ISOVAE_ERR_UNSUPPORTED, "not followed");
    file = file_new();
    H5Lcreate_external("/tmp/other.h5", "/x", file, "X", H5P_DEFAULT, H5P_DEFAULT);
    refuse(file, NULL, ISOVAE_ERR_DATA, "no array of rows");
    /* shapes */
    file = file_new();
    put(file, "a", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 5, five, H5P_DEFAULT, values);
    refuse(file, "a", ISOVAE_ERR_DATA, "5 axes");
    file = file_new();
    hsize_t none[] = {0, 3};
    put(file, "a", H5T_IEEE_F64LE, -1, 2, none, H5P_DEFAULT, NULL);
    refuse(file, "a", ISOVAE_ERR_DATA, "empty");
    file = file_new();
    space = H5Screate(H5S_SCALAR);
    hid_t set = H5Dcreate2(file, "a", H5T_IEEE_F64LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dclose(set);
    H5Sclose(space);
    refuse(file, "a", ISOVAE_ERR_DATA, "single value");
    char path[400];
    memset(path, 'a', sizeof path);
    path[sizeof path - 1] = '\0';
    refuse(file_new(), path, ISOVAE_ERR_ARGUMENT, "characters");
    refuse(file_new(), "/", ISOVAE_ERR_ARGUMENT, "characters");
}

static void wrong_names(void **state)
{
    static const double values[] = {1, 2, 3, 4};
    (void)state;
    hid_t file = file_new(), var = group(file, "var");
    put_doubles(file, "X", 2, 2, values);
    put_texts(var, "_index", 3, genes, 0);
    H5Gclose(var);
    refuse(file, NULL, ISOVAE_ERR_DATA, "3 names for 2");
    /* an _index that leads nowhere, or to numbers that are no names: no names */
    static const char *const places[] = {"nowhere", "real"};
    for (size_t i = 0; i < 2; i++) {
        file = file_new(), var = group(file, "var");
        put_doubles(file, "X", 2, 2, values);
        put_doubles(var, "real", 2, 0, values);
        put_text_attribute(var, "_index", places[i], false);
        H5Gclose(var);
        size_t length;
        isovae_error err;
        unsigned char *bytes = file_bytes(file, &length);
        assert_int_equal(read_block(bytes, length, NULL, &err), ISOVAE_OK);
        free(bytes);
    }
}

/* Many references to one long name: what they come to is more than the file holds. */
static void names_that_swell(void **state)
{
    enum { N = 200, LONG = 5000 };
    static char long_name[LONG + 1];
    const char *texts[N];
    double values[2 * N] = {0};
    size_t length, at = 0;
    isovae_error err = {ISOVAE_OK, ""};
    (void)state;
    memset(long_name, 'n', LONG);
    for (size_t i = 0; i < N; i++) texts[i] = i == 0 ? long_name : "n";
    hid_t file = file_new(), obs = group(file, "obs");
    put_doubles(file, "X", N, 2, values);
    put_texts(obs, "_index", N, texts, 0);
    H5Gclose(obs);
    unsigned char *bytes = file_bytes(file, &length);
    assert_int_equal(read_block(bytes, length, NULL, &err), ISOVAE_OK);
    /* a reference: length (4 bytes), address (8), index (4); in this file N of them in a row */
    const unsigned char first[4] = {LONG & 255, LONG >> 8, 0, 0}, second[4] = {1, 0, 0, 0};
    for (size_t i = 0; i + 16 * N <= length && at == 0; i++) {
        if (memcmp(bytes + i, first, 4) == 0 && memcmp(bytes + i + 16, second, 4) == 0) at = i;
    }
    assert_true(at > 0);
    for (size_t i = 1; i < N; i++) memcpy(bytes + at + 16 * i, bytes + at, 16);
    assert_int_equal(read_block(bytes, length, NULL, &err), ISOVAE_ERR_DATA);
    free(bytes);
}

static herr_t shout(hid_t stack, void *user)
{
    (void)stack;
    ++*(int *)user;
    return 0;
}

/* Cut anywhere, it is refused (or, behind its last value, read); HDF5 says nothing, and its
 * settings are what they were. */
static void cut_short(void **state)
{
    size_t length;
    isovae_error err;
    int calls = 0;
    unsigned plugins = 0, after = 1;
    H5E_auto2_t was, now;
    void *user, *now_user;
    (void)state;
    unsigned char *bytes = file_bytes(anndata(), &length);
    assert_true(H5Eget_auto2(H5E_DEFAULT, &was, &user) >= 0);
    assert_true(H5Eset_auto2(H5E_DEFAULT, shout, &calls) >= 0);
    assert_true(H5PLset_loading_state(H5PL_ALL_PLUGIN) >= 0);
    assert_true(H5PLget_loading_state(&plugins) >= 0 && plugins != 0);
    size_t read = 0;
    for (size_t cut = 0; cut < length; cut += cut < 3000 ? 37 : 301) {
        unsigned char *part = malloc(cut + 1); /* of its own, so that a sanitizer sees its end */
        memcpy(part, bytes, cut);
        read += read_block(part, cut, NULL, &err) == ISOVAE_OK;
        free(part);
    }
    assert_true(read == 0);
    assert_int_equal(calls, 0);
    assert_true(H5PLget_loading_state(&after) >= 0);
    assert_int_equal(plugins, after);
    assert_true(H5Eget_auto2(H5E_DEFAULT, &now, &now_user) >= 0);
    assert_true(now == shout && now_user == &calls);
    (void)H5Eset_auto2(H5E_DEFAULT, was, user);
    assert_int_equal(read_block(bytes, length, NULL, &err), ISOVAE_OK);
    assert_int_equal(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL), 0); /* nothing left open */
    free(bytes);
}

typedef struct reading {
    const unsigned char *bytes;
    size_t length, right;
} reading;

static void *read_often(void *user)
{
    reading *r = user;
    isovae_error err;
    for (size_t i = 0; i < 50; i++) {
        iv_table table;
        unsigned char *values;
        const char *path = i % 3 == 0 ? "X" : i % 3 == 1 ? "layers/counts" : "nothing";
        if (iv_read_hdf5(r->bytes, r->length, path, LIMIT, &table, &values, &err) == ISOVAE_OK) {
            r->right += table.rows == 3 && table.ids != NULL;
            iv_table_free(&table);
            iv_free(values);
        }
    }
    return NULL;
}

static void threads(void **state)
{
    pthread_t id[4];
    reading r[4];
    size_t length;
    unsigned char *bytes = file_bytes(anndata(), &length);
    unsigned plugins = 0;
    (void)state;
    /* without the lock this setting would be put back in the wrong order, sooner or later */
    assert_true(H5PLset_loading_state(H5PL_ALL_PLUGIN) >= 0);
    for (size_t i = 0; i < 4; i++) {
        r[i] = (reading){bytes, length, 0};
        assert_int_equal(pthread_create(&id[i], NULL, read_often, &r[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(id[i], NULL);
        assert_int_equal(r[i].right, 34);
    }
    assert_true(H5PLget_loading_state(&plugins) >= 0 && plugins == (unsigned)H5PL_ALL_PLUGIN);
    free(bytes);
}

/* The file of the manifest: 700 x 765, dense, old layout; raw.X sparse with 174,400 values. */
static void real_file(void **state)
{
    char path[600], spec[700];
    const char *folder = getenv("ISOVAE_DATA");
    (void)state;
    snprintf(path, sizeof path, "%s/pbmc68k_reduced/10x_pbmc68k_reduced.h5ad",
             folder != NULL ? folder : "../shared/data");
    if (access(path, R_OK) != 0) skip();
    iv_dataset *data = must_open(path, NULL);
    assert_int_equal(data->rows, 700);
    assert_int_equal(data->cols, 765);
    assert_string_equal(data->names[0], "HES4");
    assert_string_equal(data->ids[0], "AAAGCCTGGCTAAC-1");
    double low = INFINITY, high = -INFINITY, sum = 0;
    for (size_t i = 0; i < 700 * 765; i++) {
        double x = (double)data->values[i];
        low = fmin(low, x);
        high = fmax(high, x);
        sum += x / (700 * 765);
    }
    assert_true(fabs(low + 2.032) < 1e-3 && fabs(high - 28.408) < 1e-3 &&
                fabs(sum + 0.0005) < 1e-4);
    iv_dataset_free(data);
    snprintf(spec, sizeof spec, "%s:raw.X", path);
    data = must_open(spec, NULL);
    assert_string_equal(data->names[0], "HES4");
    size_t stored = 0;
    low = INFINITY, high = 0;
    for (size_t i = 0; i < 700 * 765; i++) {
        double x = (double)data->values[i];
        if (x == 0) continue;
        stored++;
        low = fmin(low, x);
        high = fmax(high, x);
    }
    assert_int_equal(stored, 174400);
    assert_true(fabs(low - 0.719) < 1e-3 && fabs(high - 6.489) < 1e-3);
    iv_dataset_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(numbers, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(images, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(float_images, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(annotated, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(cached, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(old_layout, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(which_array, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(damaged_sparse, scratch_open, scratch_close),
        cmocka_unit_test(hostile_datasets),
        cmocka_unit_test(wrong_names),
        cmocka_unit_test(names_that_swell),
        cmocka_unit_test(cut_short),
        cmocka_unit_test(threads),
        cmocka_unit_test(real_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
