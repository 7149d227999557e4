/* A model from JSON and tensors. Everything is checked: the file may be anything. */
#include "model/file_parts.h"

#include "base/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* A value of the network larger than this, per row, is taken for an attack on memory. */
static const size_t max_value = (size_t)1 << 26;
enum { MAX_KNOTS = 32 };

typedef struct decoder {
    const char *file;
    const iv_safetensors *tensors;
    const char *prefix; /* of the tensors' names */
    isovae_error *err;
} decoder;

/* The tensor of a parameter. */
static const iv_tensor *find_tensor(const decoder *r, const char *name)
{
    char full[512];
    if (*r->prefix == '\0') return iv_safetensors_find(r->tensors, name);
    int length = snprintf(full, sizeof full, "%s%s", r->prefix, name);
    if (length < 0 || (size_t)length >= sizeof full) return NULL;
    return iv_safetensors_find(r->tensors, full);
}

static isovae_status bad(const decoder *r, const char *key, const char *want)
{
    return iv_fail(r->err, ISOVAE_ERR_FORMAT, "%s: the model's '%s' is missing or not %s", r->file,
                   key, want);
}

/* Members of an object by type. */

static isovae_status get_object(const decoder *r, const json_t *from, const char *key,
                                const json_t **out)
{
    *out = json_object_get(from, key);
    return json_is_object(*out) ? ISOVAE_OK : bad(r, key, "an object");
}

static bool to_number(const json_t *value, double *out)
{
    if (!json_is_number(value)) return false;
    *out = json_number_value(value);
    return isfinite(*out);
}

/* lo <= number <= hi */
static isovae_status get_number(const decoder *r, const json_t *from, const char *key, double lo,
                                double hi, double *out)
{
    double value;
    if (!to_number(json_object_get(from, key), &value) || value < lo || value > hi) {
        return bad(r, key, "a number in its range");
    }
    *out = value;
    return ISOVAE_OK;
}

static bool to_number_or_nan(const json_t *value, double *out)
{
    if (json_is_null(value)) {
        *out = (double)NAN;
        return true;
    }
    return to_number(value, out);
}

static isovae_status get_number_or_nan(const decoder *r, const json_t *from, const char *key,
                                       double *out)
{
    if (to_number_or_nan(json_object_get(from, key), out)) return ISOVAE_OK;
    return bad(r, key, "a number or null");
}

static bool to_size(const json_t *value, size_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = (size_t)json_integer_value(value);
    return true;
}

static isovae_status get_size(const decoder *r, const json_t *from, const char *key, size_t *out)
{
    if (to_size(json_object_get(from, key), out)) return ISOVAE_OK;
    return bad(r, key, "an integer of 0 or more");
}

static isovae_status get_bool(const decoder *r, const json_t *from, const char *key, bool *out)
{
    const json_t *value = json_object_get(from, key);
    if (!json_is_boolean(value)) return bad(r, key, "true or false");
    *out = json_is_true(value);
    return ISOVAE_OK;
}

static isovae_status get_string(const decoder *r, const json_t *from, const char *key,
                                const char **out)
{
    *out = json_string_value(json_object_get(from, key));
    return *out != NULL ? ISOVAE_OK : bad(r, key, "a string");
}

/* A copy, NULL for null. */
static isovae_status get_text(const decoder *r, const json_t *from, const char *key, char **out)
{
    const json_t *value = json_object_get(from, key);
    if (json_is_null(value)) return ISOVAE_OK;
    if (!json_is_string(value)) return bad(r, key, "a string or null");
    return iv_strdup(out, json_string_value(value), r->err);
}

/* Digits of base 10 or 16 into 64 bits, nothing else. */
static bool parse_digits(const char *text, unsigned base, uint64_t *out)
{
    uint64_t value = 0;
    if (*text == '\0') return false;
    for (const char *p = text; *p != '\0'; p++) {
        unsigned digit = *p >= '0' && *p <= '9'   ? (unsigned)(*p - '0')
                         : *p >= 'a' && *p <= 'f' ? (unsigned)(*p - 'a') + 10
                                                  : 99;
        if (digit >= base || __builtin_mul_overflow(value, (uint64_t)base, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value)) {
            return false;
        }
    }
    *out = value;
    return true;
}

static isovae_status get_digits(const decoder *r, const json_t *from, const char *key,
                                unsigned base, uint64_t *out)
{
    const char *text;
    IV_TRY(get_string(r, from, key, &text));
    return parse_digits(text, base, out) ? ISOVAE_OK : bad(r, key, "an integer of 64 bits");
}

/* `n` numbers, each >= lo (> lo with `above`), into new memory. */
static isovae_status get_numbers(const decoder *r, const json_t *from, const char *key, size_t n,
                                 double lo, bool above, double **out)
{
    const json_t *array = json_object_get(from, key);
    if (!json_is_array(array) || json_array_size(array) != n) {
        return iv_fail(r->err, ISOVAE_ERR_FORMAT,
                       "%s: the model's '%s' is missing or not an array of %zu numbers", r->file,
                       key, n);
    }
    IV_TRY(IV_NEW(*out, n, key, r->err));
    for (size_t i = 0; i < n; i++) {
        double value;
        if (!to_number(json_array_get(array, i), &value) || value < lo || (above && value <= lo)) {
            return bad(r, key, "an array of numbers in their range");
        }
        (*out)[i] = value;
    }
    return ISOVAE_OK;
}

static isovae_status check_ascending(const decoder *r, const char *key, const double *values,
                                     size_t n)
{
    for (size_t i = 1; i < n; i++) {
        if (values[i] < values[i - 1]) return bad(r, key, "in ascending order");
    }
    return ISOVAE_OK;
}

/* The network. */

static bool shape_of(void *user, const char *name, iv_shape *out)
{
    const iv_tensor *tensor = find_tensor(user, name);
    if (tensor == NULL) return false;
    *out = tensor->shape;
    return true;
}

static isovae_status get_shape(const decoder *r, const json_t *from, const char *key, iv_shape *out)
{
    const json_t *array = json_object_get(from, key);
    size_t size;
    *out = (iv_shape){.rank = json_array_size(array)};
    if (!json_is_array(array) || out->rank < 1 || out->rank > IV_MAX_RANK) {
        return bad(r, key, "1 to 7 integers");
    }
    for (size_t i = 0; i < out->rank; i++) {
        if (!to_size(json_array_get(array, i), &out->dim[i]) || out->dim[i] == 0) {
            return bad(r, key, "1 to 7 positive integers");
        }
    }
    return iv_shape_size(out, &size) ? ISOVAE_OK : bad(r, key, "of a size that can be");
}

static isovae_status get_network(const decoder *r, const json_t *from, const char *key,
                                 iv_graph **out)
{
    const json_t *object, *names;
    const char *input, *outputs[IV_MAX_PORTS];
    iv_shape shape;
    IV_TRY(get_object(r, from, key, &object));
    IV_TRY(get_string(r, object, "input", &input));
    IV_TRY(get_shape(r, object, "input_shape", &shape));
    names = json_object_get(object, "outputs");
    size_t n = json_array_size(names);
    if (!json_is_array(names) || n < 1 || n > IV_MAX_PORTS) return bad(r, "outputs", "names");
    for (size_t i = 0; i < n; i++) {
        outputs[i] = json_string_value(json_array_get(names, i));
        if (outputs[i] == NULL) return bad(r, "outputs", "names");
    }
    isovae_status status =
        iv_graph_from_json(json_object_get(object, "nodes"), input, &shape, outputs, n, shape_of,
                           (void *)(uintptr_t)r, out, r->err);
    if (status != ISOVAE_OK) return iv_fail_prefix(r->err, status, "%s: %s", r->file, key);
    for (size_t i = 0; i < (*out)->n_values; i++) {
        if ((*out)->values[i].size > max_value) {
            return iv_fail(r->err, ISOVAE_ERR_FORMAT, "%s: value '%.100s' of the %s is too large",
                           r->file, (*out)->values[i].name, key);
        }
    }
    return ISOVAE_OK;
}

/* d and n as the description's arrays have them, before memory is taken for either. */
static isovae_status check_counts(const decoder *r, const json_t *json, const iv_graph *encoder)
{
    const json_t *scaling, *calibration;
    IV_TRY(get_object(r, json, "scaling", &scaling));
    IV_TRY(get_object(r, json, "calibration", &calibration));
    size_t mu = iv_graph_find_value(encoder, "mu");
    size_t d = json_array_size(json_object_get(scaling, "shift"));
    size_t n = json_array_size(json_object_get(calibration, "kl_mean"));
    if (encoder->n_inputs != 1 || encoder->values[encoder->inputs[0]].size != d) {
        return iv_fail(r->err, ISOVAE_ERR_FORMAT,
                       "%s: the encoder's input does not have the %zu features of the scaling",
                       r->file, d);
    }
    if (mu == SIZE_MAX || encoder->values[mu].size != n) {
        return iv_fail(r->err, ISOVAE_ERR_FORMAT,
                       "%s: the encoder's 'mu' does not have the %zu latents of the calibration",
                       r->file, n);
    }
    return ISOVAE_OK;
}

static isovae_status read_params(const decoder *r, iv_model *model, const iv_graph *graph)
{
    size_t element = iv_dtype_size(model->dtype);
    for (size_t i = 0; i < graph->n_params; i++) {
        const iv_param *param = &graph->params[i];
        const iv_tensor *tensor = find_tensor(r, param->name);
        bool fits = tensor != NULL && tensor->dtype == model->dtype &&
                    tensor->shape.rank == param->shape.rank && tensor->size == param->size;
        for (size_t k = 0; fits && k < param->shape.rank; k++) {
            fits = tensor->shape.dim[k] == param->shape.dim[k];
        }
        if (!fits) {
            return iv_fail(r->err, ISOVAE_ERR_FORMAT,
                           "%s: tensor '%s' is missing or not of the type and shape of the network",
                           r->file, param->name);
        }
        if (!iv_tensor_finite(tensor)) {
            return iv_fail(r->err, ISOVAE_ERR_FORMAT, "%s: tensor '%s' is not finite", r->file,
                           param->name);
        }
        if (param->not_negative && iv_tensor_negative(tensor)) {
            return iv_fail(r->err, ISOVAE_ERR_FORMAT, "%s: tensor '%s' holds a negative variance",
                           r->file, param->name);
        }
        memcpy((unsigned char *)model->params + param->offset * element, tensor->data,
               param->size * element);
    }
    return ISOVAE_OK;
}

static isovae_status read_network(const decoder *r, const json_t *json, iv_model *model)
{
    const char *text;
    iv_graph *encoder = NULL, *network = NULL;
    IV_TRY(get_string(r, json, "dtype", &text));
    iv_dtype dtype = strcmp(text, "F64") == 0 ? IV_F64 : IV_F32;
    if (dtype == IV_F32 && strcmp(text, "F32") != 0) return bad(r, "dtype", "F32 or F64");
    isovae_status status = get_network(r, json, "encoder", &encoder);
    if (status == ISOVAE_OK) status = get_network(r, json, "decoder", &network);
    if (status == ISOVAE_OK) status = check_counts(r, json, encoder);
    if (status != ISOVAE_OK) {
        iv_graph_free(encoder);
        iv_graph_free(network);
        return status;
    }
    status = iv_model_set_network(model, encoder, network, dtype, r->err);
    if (status != ISOVAE_OK) return iv_fail_prefix(r->err, status, "%s", r->file);
    IV_TRY(read_params(r, model, model->encoder));
    return read_params(r, model, model->decoder);
}

/* What the metric learned. Its names are no parameter's: the network was read before. */
static isovae_status read_learned(const decoder *r, const json_t *json, iv_model *model)
{
    const json_t *from;
    size_t vectors, element = iv_dtype_size(model->dtype);
    const char *const *names = iv_metric_learned_names(&model->metric, &vectors);
    if (vectors == 0) return ISOVAE_OK;
    if (model->beta < 1 || model->beta > 1) return bad(r, "beta", "1, as this metric needs");
    IV_TRY(get_object(r, json, "noise", &from));
    IV_TRY(get_number(r, from, "floor", 0, 1, &model->noise_floor));
    IV_TRY(get_number(r, from, "least_variance", 0, HUGE_VAL, &model->least_variance));
    for (size_t p = 0; p < vectors; p++) {
        const iv_tensor *tensor = find_tensor(r, names[p]);
        if (tensor == NULL || tensor->dtype != model->dtype || tensor->shape.rank != 1 ||
            tensor->size != model->d || !iv_tensor_finite(tensor)) {
            return iv_fail(r->err, ISOVAE_ERR_FORMAT,
                           "%s: tensor '%s' is missing or not %zu finite numbers of the model's "
                           "type",
                           r->file, names[p], model->d);
        }
        if (iv_graph_find_param(model->encoder, names[p]) != SIZE_MAX ||
            iv_graph_find_param(model->decoder, names[p]) != SIZE_MAX) {
            return iv_fail(r->err, ISOVAE_ERR_FORMAT,
                           "%s: tensor '%s' belongs to the metric and to the network", r->file,
                           names[p]);
        }
        memcpy((unsigned char *)model->params + (model->learned_at + p * model->d) * element,
               tensor->data, model->d * element);
    }
    for (size_t i = 0; i < model->d; i++) {
        double s = iv_model_noise_s(model, i), nu = iv_model_noise_nu(model, i);
        double most = exp(IV_METRIC_MAX_LOG_S) * 1.001;
        bool tails = vectors < 2 || (nu >= 0.999 && nu <= IV_METRIC_MAX_NU * 1.001);
        if (s > most || s < 1 / most || !tails) {
            return iv_fail(r->err, ISOVAE_ERR_FORMAT,
                           "%s: the noise of feature %zu (s %g, nu %g) is out of range", r->file, i,
                           s, nu);
        }
    }
    return ISOVAE_OK;
}

/* The rest, section by section. */

static isovae_status read_purpose(const decoder *r, const json_t *json, iv_model *model)
{
    const char *metric, *objective;
    const json_t *clip = json_object_get(json, "logvar_clip");
    IV_TRY(get_text(r, json, "arch", &model->arch));
    IV_TRY(get_number(r, json, "beta", 0, HUGE_VAL, &model->beta));
    if (model->beta <= 0) return bad(r, "beta", "above 0");
    IV_TRY(get_bool(r, json, "beta_auto", &model->beta_auto));
    if (json_array_size(clip) != 2 || !to_number(json_array_get(clip, 0), &model->logvar_lo) ||
        !to_number(json_array_get(clip, 1), &model->logvar_hi) ||
        model->logvar_lo >= model->logvar_hi) {
        return bad(r, "logvar_clip", "two ascending numbers");
    }
    IV_TRY(get_string(r, json, "metric", &metric));
    iv_metric_spec spec;
    if (iv_metric_parse(metric, &spec, NULL) != ISOVAE_OK) {
        return bad(r, "metric", "one that this isovae knows");
    }
    IV_TRY(iv_model_set_metric(model, &spec, r->err));
    IV_TRY(read_learned(r, json, model));
    IV_TRY(get_string(r, json, "objective", &objective));
    if (strcmp(objective, "decomposed") == 0) {
        model->objective = IV_OBJECTIVE_DECOMPOSED;
    } else if (strcmp(objective, "conventional") == 0) {
        model->objective = IV_OBJECTIVE_CONVENTIONAL;
    } else {
        return bad(r, "objective", "conventional or decomposed");
    }
    return ISOVAE_OK;
}

static bool all_same(const double *values, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        if (values[i] < values[0] || values[i] > values[0]) return false;
    }
    return true;
}

static isovae_status read_scaling(const decoder *r, const json_t *json, iv_model *model)
{
    const json_t *object;
    const char *kind;
    iv_scaling *s = &model->scaling;
    IV_TRY(get_object(r, json, "scaling", &object));
    IV_TRY(get_string(r, object, "kind", &kind));
    if (!iv_scale_kind_parse(kind, &s->kind)) {
        return bad(r, "kind", "a scaling that this isovae knows");
    }
    s->cols = model->d;
    IV_TRY(get_numbers(r, object, "shift", model->d, -HUGE_VAL, false, &s->shift));
    IV_TRY(get_numbers(r, object, "scale", model->d, 0, true, &s->scale));
    /* 0 marks a column that mixed scaling drops */
    bool positive = s->kind != IV_SCALE_MIXED;
    IV_TRY(get_numbers(r, object, "weight", model->d, 0, positive, &s->weight));
    if (iv_scaling_kept(s) == 0) return bad(r, "weight", "above 0 for some feature");
    s->uniform = all_same(s->scale, model->d) && all_same(s->weight, model->d);
    return ISOVAE_OK;
}

static isovae_status read_category(const decoder *r, const json_t *from, iv_category *out)
{
    const char *column;
    const json_t *values = json_object_get(from, "values");
    IV_TRY(get_string(r, from, "column", &column));
    IV_TRY(iv_strdup(&out->column, column, r->err));
    IV_TRY(get_size(r, from, "first", &out->first));
    if (!json_is_array(values)) return bad(r, "values", "an array of strings");
    IV_TRY(IV_NEW(out->values, json_array_size(values), "categories", r->err));
    out->n = json_array_size(values);
    for (size_t i = 0; i < out->n; i++) {
        const char *text = json_string_value(json_array_get(values, i));
        if (text == NULL) return bad(r, "values", "an array of strings");
        IV_TRY(iv_strdup(&out->values[i], text, r->err));
    }
    return ISOVAE_OK;
}

static isovae_status read_categories(const decoder *r, const json_t *from, iv_model *model)
{
    const json_t *array = json_object_get(from, "categories");
    iv_categories *all = &model->categories;
    if (array == NULL) return ISOVAE_OK;
    if (!json_is_array(array)) return bad(r, "categories", "an array");
    IV_TRY(IV_NEW(all->list, json_array_size(array), "categories", r->err));
    all->n = json_array_size(array);
    for (size_t i = 0; i < all->n; i++) {
        IV_TRY(read_category(r, json_array_get(array, i), &all->list[i]));
    }
    if (iv_categories_fit(all, model->d)) return ISOVAE_OK;
    return bad(r, "categories", "made of columns in order, with different values that ascend");
}

static isovae_status read_features(const decoder *r, const json_t *json, iv_model *model)
{
    const json_t *object, *image = json_object_get(json, "image");
    size_t extent[3], size = 1;
    IV_TRY(get_object(r, json, "features", &object));
    IV_TRY(get_bool(r, object, "named", &model->named));
    const json_t *names = json_object_get(object, "names");
    if (!json_is_null(names)) {
        if (!json_is_array(names) || json_array_size(names) != model->d) {
            return bad(r, "names", "one string per feature, or null");
        }
        IV_TRY(iv_alloc((void **)&model->names, model->d, sizeof *model->names, "names", r->err));
        for (size_t i = 0; i < model->d; i++) {
            const json_t *name = json_array_get(names, i);
            if (!json_is_string(name)) return bad(r, "names", "one string per feature, or null");
            IV_TRY(iv_strdup(&model->names[i], json_string_value(name), r->err));
        }
    }
    IV_TRY(read_categories(r, object, model));
    if (json_array_size(image) != 3) return bad(r, "image", "three integers");
    for (size_t i = 0; i < 3; i++) {
        if (!to_size(json_array_get(image, i), &extent[i]) ||
            !iv_size_mul(size, extent[i], &size)) {
            return bad(r, "image", "three integers");
        }
    }
    if (size != model->d && (extent[0] != 0 || extent[1] != 0 || extent[2] != 0)) {
        return bad(r, "image", "a shape with as many pixels as features");
    }
    model->height = extent[0];
    model->width = extent[1];
    model->channels = extent[2];
    return ISOVAE_OK;
}

static isovae_status read_history(const decoder *r, const json_t *from, iv_model *model)
{
    const json_t *array = json_object_get(from, "history");
    if (!json_is_array(array)) return bad(r, "history", "an array");
    size_t n = json_array_size(array);
    IV_TRY(IV_NEW(model->history, n, "the training history", r->err));
    model->n_history = n;
    for (size_t i = 0; i < n; i++) {
        const json_t *line = json_array_get(array, i);
        iv_history *h = &model->history[i];
        double *fields[] = {&h->beta, &h->rate, &h->loss, &h->distortion, &h->kl, &h->validation};
        size_t step, n_fields = sizeof fields / sizeof fields[0];
        bool ok = json_array_size(line) == n_fields + 1 && to_size(json_array_get(line, 0), &step);
        for (size_t k = 0; ok && k < n_fields; k++) {
            ok = to_number_or_nan(json_array_get(line, k + 1), fields[k]);
        }
        if (!ok) return bad(r, "history", "made of lines of seven numbers");
        h->step = step;
    }
    return ISOVAE_OK;
}

static isovae_status read_training(const decoder *r, const json_t *json, iv_model *model)
{
    const json_t *from;
    IV_TRY(get_object(r, json, "training", &from));
    IV_TRY(get_digits(r, from, "data_hash", 16, &model->data_hash));
    IV_TRY(get_text(r, from, "data_source", &model->data_source));
    if (json_object_get(from, "denoise") != NULL) {
        IV_TRY(get_number(r, from, "denoise", 0, HUGE_VAL, &model->denoise));
    }
    IV_TRY(get_bool(r, from, "folded", &model->folded));
    IV_TRY(read_history(r, from, model));
    IV_TRY(get_text(r, from, "isa", &model->isa));
    if (json_object_get(from, "member") != NULL) {
        IV_TRY(get_size(r, from, "member", &model->member));
        if (model->member >= IV_MAX_MEMBERS) return bad(r, "member", "below 64");
    }
    IV_TRY(get_size(r, from, "restarts", &model->restarts));
    IV_TRY(get_digits(r, from, "seed", 10, &model->seed));
    IV_TRY(get_bool(r, from, "split_by_column", &model->split_by_column));
    IV_TRY(get_digits(r, from, "steps", 10, &model->steps));
    if (json_object_get(from, "steps_asked") != NULL) {
        IV_TRY(get_digits(r, from, "steps_asked", 10, &model->steps_asked));
        IV_TRY(get_bool(r, from, "cut_short", &model->cut_short));
    }
    IV_TRY(get_number_or_nan(r, from, "train_loss", &model->train_loss));
    IV_TRY(get_size(r, from, "train_rows", &model->train_rows));
    IV_TRY(get_number(r, from, "validation_fraction", 0, 1, &model->validation_fraction));
    IV_TRY(get_number_or_nan(r, from, "validation_loss", &model->validation_loss));
    IV_TRY(get_size(r, from, "validation_rows", &model->validation_rows));
    return get_text(r, from, "version", &model->version);
}

static isovae_status read_spline(const decoder *r, const json_t *from, iv_spline *out)
{
    if (!json_is_object(from)) return bad(r, "splines", "made of objects");
    size_t n = json_array_size(json_object_get(from, "u"));
    if (n > MAX_KNOTS) return bad(r, "splines", "of at most 32 knots");
    IV_TRY(get_numbers(r, from, "u", n, -HUGE_VAL, false, &out->u));
    IV_TRY(get_numbers(r, from, "g", n, 0, true, &out->g));
    IV_TRY(get_number(r, from, "rms", 0, HUGE_VAL, &out->rms));
    out->n = n;
    return check_ascending(r, "u", out->u, n);
}

/* Replaces an array that the network's layout made. */
static isovae_status replace_numbers(const decoder *r, const json_t *from, const char *key,
                                     size_t n, double lo, double **out)
{
    iv_free(*out);
    *out = NULL;
    return get_numbers(r, from, key, n, lo, false, out);
}

static isovae_status read_calibration(const decoder *r, const json_t *json, iv_model *model)
{
    const json_t *from;
    IV_TRY(get_object(r, json, "calibration", &from));
    const json_t *active = json_object_get(from, "active");
    const json_t *splines = json_object_get(from, "splines");
    const json_t *quantiles = json_object_get(from, "quantiles");
    if (!json_is_array(active) || json_array_size(active) != model->n) {
        return bad(r, "active", "an integer for each latent");
    }
    if (!json_is_array(splines) || json_array_size(splines) != model->n) {
        return bad(r, "splines", "an object for each latent");
    }
    for (size_t j = 0; j < model->n; j++) {
        size_t flag;
        if (!to_size(json_array_get(active, j), &flag) || flag > 1) {
            return bad(r, "active", "0 or 1 for each latent");
        }
        model->active[j] = (unsigned char)flag;
        IV_TRY(read_spline(r, json_array_get(splines, j), &model->splines[j]));
    }
    IV_TRY(replace_numbers(r, from, "kl_mean", model->n, -HUGE_VAL, &model->kl_mean));
    IV_TRY(replace_numbers(r, from, "variance_y", model->n, 0, &model->variance_y));
    size_t n = json_array_size(quantiles);
    IV_TRY(get_numbers(r, from, "quantiles", n, -HUGE_VAL, false, &model->quantiles));
    model->n_quantiles = n;
    return check_ascending(r, "quantiles", model->quantiles, n);
}

/* What the members of an ensemble share with member 0. */
static isovae_status share_features(const decoder *r, const iv_model *first, iv_model *model)
{
    if (model->d != first->d) {
        return iv_fail(r->err, ISOVAE_ERR_FORMAT, "%s: the members have not as many features",
                       r->file);
    }
    model->named = first->named;
    model->height = first->height;
    model->width = first->width;
    model->channels = first->channels;
    if (first->names == NULL) return ISOVAE_OK;
    IV_TRY(iv_alloc((void **)&model->names, model->d, sizeof *model->names, "names", r->err));
    for (size_t i = 0; i < model->d; i++) {
        IV_TRY(iv_strdup(&model->names[i], first->names[i], r->err));
    }
    return ISOVAE_OK;
}

/* `first` is member 0, for members after it. */
static isovae_status read_all(const decoder *r, const json_t *json, const iv_model *first,
                              iv_model *model)
{
    IV_TRY(read_network(r, json, model));
    IV_TRY(read_purpose(r, json, model));
    IV_TRY(read_scaling(r, json, model));
    IV_TRY(first != NULL ? share_features(r, first, model) : read_features(r, json, model));
    IV_TRY(read_training(r, json, model));
    return read_calibration(r, json, model);
}

void iv_member_prefix(size_t k, char out[IV_MEMBER_PREFIX])
{
    out[0] = '\0';
    if (k > 0) (void)snprintf(out, IV_MEMBER_PREFIX, "member%zu.", k);
}

bool iv_member_prefixed(const char *name)
{
    static const char word[] = "member";
    if (strncmp(name, word, sizeof word - 1) != 0) return false;
    const char *digits = name + sizeof word - 1;
    size_t length = strspn(digits, "0123456789");
    return length > 0 && digits[length] == '.';
}

static isovae_status check_prefixes(const decoder *r, const iv_graph *graph)
{
    for (size_t i = 0; i < graph->n_params; i++) {
        if (!iv_member_prefixed(graph->params[i].name)) continue;
        return iv_fail(r->err, ISOVAE_ERR_FORMAT,
                       "%s: the parameter '%.100s' of an ensemble has a name that is kept for the "
                       "members' tensors",
                       r->file, graph->params[i].name);
    }
    return ISOVAE_OK;
}

static isovae_status read_member(const decoder *first, const json_t *json, const iv_model *model,
                                 size_t k, iv_model **out)
{
    char prefix[IV_MEMBER_PREFIX];
    decoder r = *first;
    iv_member_prefix(k, prefix);
    r.prefix = prefix;
    if (!json_is_object(json) || json_object_get(json, "ensemble") != NULL) {
        return bad(&r, "ensemble", "made of models");
    }
    IV_TRY(iv_model_new(out, r.err));
    IV_TRY(read_all(&r, json, model, *out));
    IV_TRY(check_prefixes(&r, (*out)->encoder));
    return check_prefixes(&r, (*out)->decoder);
}

static isovae_status read_ensemble(const decoder *r, const json_t *json, iv_model *model)
{
    const json_t *array = json_object_get(json, "ensemble");
    iv_model *more[IV_MAX_MEMBERS] = {NULL};
    if (array == NULL) return ISOVAE_OK;
    size_t n = json_array_size(array);
    if (n < 1 || n >= IV_MAX_MEMBERS) return bad(r, "ensemble", "1 to 63 more models");
    IV_TRY(check_prefixes(r, model->encoder));
    IV_TRY(check_prefixes(r, model->decoder));
    isovae_status status = ISOVAE_OK;
    for (size_t k = 0; k < n && status == ISOVAE_OK; k++) {
        status = read_member(r, json_array_get(array, k), model, k + 1, &more[k]);
    }
    if (status == ISOVAE_OK) {
        status = iv_model_join(model, more, n, r->err);
        if (status != ISOVAE_OK) status = iv_fail_prefix(r->err, status, "%s", r->file);
    }
    for (size_t k = 0; k < n && status != ISOVAE_OK; k++) iv_model_free(more[k]);
    return status;
}

isovae_status iv_model_from_json(const json_t *json, const iv_safetensors *tensors,
                                 const char *file, iv_model **out, isovae_error *err)
{
    const decoder r = {.file = file, .tensors = tensors, .prefix = "", .err = err};
    iv_model *model;
    *out = NULL;
    IV_TRY(iv_model_new(&model, err));
    isovae_status status = read_all(&r, json, NULL, model);
    if (status == ISOVAE_OK) status = read_ensemble(&r, json, model);
    if (status != ISOVAE_OK) {
        iv_model_free(model);
        return status;
    }
    *out = model;
    return ISOVAE_OK;
}
