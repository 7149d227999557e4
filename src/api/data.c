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

void isovae_rows_config_init_(isovae_rows_config *config, size_t struct_size)
{
    memset(config, 0, struct_size);
    config->struct_size = struct_size;
}

isovae_status isovae_data_from_array(const void *values, isovae_dtype dtype, size_t rows,
                                     size_t cols, ptrdiff_t row_stride, ptrdiff_t column_stride,
                                     const isovae_rows_config *config, isovae_data **out,
                                     isovae_error *err)
{
    *out = NULL;
    if (dtype != ISOVAE_F32 && dtype != ISOVAE_F64)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "dtype %d is not known; give ISOVAE_F32 or ISOVAE_F64", (int)dtype);
    ptrdiff_t element = dtype == ISOVAE_F32 ? (ptrdiff_t)sizeof(float) : (ptrdiff_t)sizeof(double);
    iv_data_view view = {.values = values,
                         .single = dtype == ISOVAE_F32,
                         .row_stride = row_stride ? row_stride : (ptrdiff_t)cols * element,
                         .column_stride = column_stride ? column_stride : element};
    if (config) {
        IV_TRY(iv_check_config("rows", config->struct_size, sizeof *config, err));
        view.names = config->names;
        view.height = config->height;
        view.width = config->width;
        view.channels = config->channels;
    }
    isovae_data *data;
    IV_TRY(IV_NEW(data, 1, "a data handle", err));
    isovae_status status = iv_dataset_from_view(&view, rows, cols, &data->set, err);
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
