#include "api/handles.h"
#include "base/memory.h"

#include <string.h>

void isovae_data_config_init_(isovae_data_config *config, size_t struct_size)
{
    memset(config, 0, struct_size);
    config->struct_size = struct_size;
}

static isovae_status open_data(isovae_context *context, const char *spec, iv_data_options *options,
                               isovae_data **out, isovae_error *err)
{
    if (context) {
        options->progress = iv_context_progress(context);
        options->pool = context->pool;
    }
    isovae_data *data;
    IV_TRY(IV_NEW(data, 1, "a data handle", err));
    isovae_status status = iv_dataset_open(spec, options, &data->set, err);
    if (status) {
        iv_free(data);
        return status;
    }
    *out = data;
    return ISOVAE_OK;
}

isovae_status isovae_data_open(isovae_context *context, const char *spec, const char *columns,
                               const char *drop, isovae_data **out, isovae_error *err)
{
    *out = NULL;
    iv_data_options options;
    iv_data_options_init(&options);
    options.columns = columns;
    options.drop = drop;
    return open_data(context, spec, &options, out, err);
}

isovae_status isovae_data_open_config(isovae_context *context, const char *spec,
                                      const isovae_data_config *config, isovae_data **out,
                                      isovae_error *err)
{
    *out = NULL;
    iv_data_options options;
    iv_data_options_init(&options);
    if (config) {
        IV_TRY(iv_check_config("data", config->struct_size, sizeof *config, err));
        options.columns = config->columns;
        options.drop = config->drop;
        options.size = config->size;
        options.crop = config->crop;
        options.grey = config->grey != 0;
        options.strict = config->strict != 0;
        options.cache = config->cache;
        options.memory = config->memory;
    }
    return open_data(context, spec, &options, out, err);
}

isovae_status isovae_data_from_rows(const double *values, size_t rows, size_t cols,
                                    const char *const *names, isovae_data **out, isovae_error *err)
{
    *out = NULL;
    isovae_data *data;
    IV_TRY(IV_NEW(data, 1, "a data handle", err));
    isovae_status status = iv_dataset_from_rows(values, rows, cols, names, &data->set, err);
    if (status) {
        iv_free(data);
        return status;
    }
    *out = data;
    return ISOVAE_OK;
}

/* The struct of the first header, which had no columns of words. */
enum { FIRST_SIZE = offsetof(isovae_rows_config, categories) };

void isovae_rows_config_init_(isovae_rows_config *config, size_t struct_size)
{
    memset(config, 0, struct_size);
    config->struct_size = struct_size;
}

/* The caller's columns of words in the form of the layers below, whose texts are borrowed. */
static isovae_status take_categories(const isovae_rows_config *config, iv_categories *out,
                                     isovae_error *err)
{
    if (config->n_categories == 0) return ISOVAE_OK;
    IV_TRY(IV_NEW(out->list, config->n_categories, "categories", err));
    out->n = config->n_categories;
    for (size_t i = 0; i < out->n; i++) {
        const isovae_category *c = &config->categories[i];
        bool whole = c->column != NULL && (c->n == 0 || c->values != NULL);
        for (size_t k = 0; whole && k < c->n; k++) whole = c->values[k] != NULL;
        if (!whole)
            return iv_fail(err, ISOVAE_ERR_ARGUMENT, "category %zu has no column or a value NULL",
                           i);
        out->list[i] = (iv_category){.first = c->first,
                                     .n = c->n,
                                     .column = (char *)(uintptr_t)c->column, /* only read */
                                     .values = (char **)(uintptr_t)c->values};
    }
    return ISOVAE_OK;
}

isovae_status isovae_data_from_array(const void *values, isovae_dtype dtype, size_t rows,
                                     size_t cols, ptrdiff_t row_stride, ptrdiff_t column_stride,
                                     const isovae_rows_config *config, isovae_data **out,
                                     isovae_error *err)
{
    static const ptrdiff_t size[] = {sizeof(float), sizeof(double), 1};
    *out = NULL;
    if (dtype != ISOVAE_F32 && dtype != ISOVAE_F64 && dtype != ISOVAE_U8)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "dtype %d is not known; give ISOVAE_F32, ISOVAE_F64 or ISOVAE_U8",
                       (int)dtype);
    ptrdiff_t element = size[dtype];
    iv_data_view view = {.values = values,
                         .element = dtype == ISOVAE_F32   ? IV_VIEW_F32
                                    : dtype == ISOVAE_F64 ? IV_VIEW_F64
                                                          : IV_VIEW_U8,
                         .row_stride = row_stride ? row_stride : (ptrdiff_t)cols * element,
                         .column_stride = column_stride ? column_stride : element};
    isovae_rows_config all = {0};
    if (config)
        IV_TRY(
            iv_take_config("rows", config, config->struct_size, FIRST_SIZE, sizeof all, &all, err));
    view.names = all.names;
    view.height = all.height;
    view.width = all.width;
    view.channels = all.channels;
    isovae_data *data;
    iv_categories categories = {0};
    IV_TRY(IV_NEW(data, 1, "a data handle", err));
    isovae_status status = take_categories(&all, &categories, err);
    view.categories = &categories;
    if (!status) status = iv_dataset_from_view(&view, rows, cols, &data->set, err);
    iv_free(categories.list); /* which borrowed all else */
    if (status) {
        iv_free(data);
        return status;
    }
    *out = data;
    return ISOVAE_OK;
}

size_t isovae_data_rows(const isovae_data *data)
{
    return data->set->rows;
}
size_t isovae_data_cols(const isovae_data *data)
{
    return data->set->cols;
}

void isovae_data_free(isovae_data *data)
{
    if (!data) return;
    iv_dataset_free(data->set);
    iv_free(data);
}

isovae_status iv_match_features(const isovae_model *model, const isovae_data *data,
                                const iv_dataset **out, isovae_error *err)
{
    const iv_model *m = model->model;
    const iv_dataset *set = data->set;
    *out = NULL;
    if (set->cols != m->d)
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "%s: %zu columns, the model was trained on %zu features; choose them with "
                       "columns or drop",
                       set->source, set->cols, m->d);
    for (size_t i = 0; m->named && set->named && i < m->d; i++)
        if (strcmp(set->names[i], m->names[i]) != 0)
            return iv_fail(
                err, ISOVAE_ERR_DATA,
                "%s: column %zu is '%s', the model's feature there is '%s'; open the data with "
                "the model's features as columns, in their order",
                set->source, i + 1, set->names[i], m->names[i]);
    *out = set;
    return ISOVAE_OK;
}
