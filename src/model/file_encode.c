/* A model as JSON. Members that cannot be made (no memory) set `failed`; it is looked at once. */
#include "model/file_parts.h"

#include "base/memory.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct encoder {
    bool failed;
    const char *not_a_number; /* the first member that should be a number */
} encoder;

/* Takes over `value`; NULL is a failure. */
static void set(encoder *e, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) != 0) e->failed = true;
}

static void append(encoder *e, json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0) e->failed = true;
}

/* JSON has no infinities: the largest double stands for them. */
static json_t *number(encoder *e, const char *key, double value)
{
    if (isnan(value)) {
        if (e->not_a_number == NULL) e->not_a_number = key;
        value = 0;
    }
    return json_real(fmax(-DBL_MAX, fmin(DBL_MAX, value)));
}

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *numbers(encoder *e, const char *key, const double *values, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) append(e, array, number(e, key, values[i]));
    return array;
}

static json_t *integer(size_t value)
{
    return json_integer((json_int_t)value);
}

/* Length of the UTF-8 sequence at `s`, or 0 where there is none. */
static size_t utf8_length(const unsigned char *s)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (length == 1) return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4) return 0;
    uint32_t code = s[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        code = code << 6 | (s[i] & 0x3fu);
    }
    if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return 0;
    return length;
}

/* Names of columns and files may be any bytes; those that are no UTF-8 become question marks. */
static json_t *text(encoder *e, const char *string)
{
    if (string == NULL) return json_null();
    json_t *plain = json_string(string);
    if (plain != NULL) return plain;
    char *copy;
    if (iv_strdup(&copy, string, NULL) != ISOVAE_OK) {
        e->failed = true;
        return NULL;
    }
    for (size_t i = 0, length; copy[i] != '\0'; i += length) {
        length = utf8_length((const unsigned char *)copy + i);
        if (length == 0) {
            copy[i] = '?';
            length = 1;
        }
    }
    plain = json_string(copy);
    iv_free(copy);
    return plain;
}

static json_t *decimal(uint64_t value)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%" PRIu64, value);
    return json_string(digits);
}

static json_t *shape_of(encoder *e, const iv_shape *shape)
{
    json_t *array = json_array();
    for (size_t i = 0; i < shape->rank; i++) append(e, array, integer(shape->dim[i]));
    return array;
}

static json_t *network(encoder *e, const iv_graph *graph, const size_t *outputs, size_t n_outputs)
{
    const iv_value *input = &graph->values[graph->inputs[0]];
    json_t *object = json_object(), *names = json_array();
    for (size_t i = 0; i < n_outputs; i++) {
        append(e, names, json_string(graph->values[outputs[i]].name));
    }
    set(e, object, "input", json_string(input->name));
    set(e, object, "input_shape", shape_of(e, &input->shape));
    set(e, object, "nodes", iv_graph_to_json(graph));
    set(e, object, "outputs", names);
    return object;
}

static json_t *scaling(encoder *e, const iv_scaling *s)
{
    json_t *object = json_object();
    set(e, object, "kind", json_string(iv_scale_kind_name(s->kind)));
    set(e, object, "scale", numbers(e, "scaling.scale", s->scale, s->cols));
    set(e, object, "shift", numbers(e, "scaling.shift", s->shift, s->cols));
    set(e, object, "weight", numbers(e, "scaling.weight", s->weight, s->cols));
    return object;
}

static json_t *categories(encoder *e, const iv_categories *all)
{
    json_t *array = json_array();
    for (size_t i = 0; i < all->n; i++) {
        const iv_category *c = &all->list[i];
        json_t *object = json_object(), *values = json_array();
        for (size_t k = 0; k < c->n; k++) append(e, values, text(e, c->values[k]));
        set(e, object, "column", text(e, c->column));
        set(e, object, "first", integer(c->first));
        set(e, object, "values", values);
        append(e, array, object);
    }
    return array;
}

static json_t *features(encoder *e, const iv_model *model)
{
    json_t *object = json_object(), *names = json_null();
    if (model->names != NULL) {
        names = json_array();
        for (size_t i = 0; i < model->d; i++) append(e, names, text(e, model->names[i]));
    }
    if (model->categories.n > 0) set(e, object, "categories", categories(e, &model->categories));
    set(e, object, "named", json_boolean(model->named));
    set(e, object, "names", names);
    return object;
}

static json_t *history(encoder *e, const iv_model *model)
{
    json_t *array = json_array();
    for (size_t i = 0; i < model->n_history; i++) {
        const iv_history *h = &model->history[i];
        const double values[] = {h->beta, h->rate, h->loss, h->distortion, h->kl, h->validation};
        json_t *line = json_array();
        append(e, line, json_integer((json_int_t)h->step));
        for (size_t k = 0; k < sizeof values / sizeof values[0]; k++) {
            append(e, line, number_or_null(values[k]));
        }
        append(e, array, line);
    }
    return array;
}

/* Of a learned metric: the floor of its s_i. */
static json_t *noise(encoder *e, const iv_model *model)
{
    json_t *object = json_object();
    set(e, object, "floor", number(e, "noise.floor", model->noise_floor));
    set(e, object, "least_variance", number(e, "noise.least_variance", model->least_variance));
    return object;
}

static json_t *training(encoder *e, const iv_model *model)
{
    json_t *object = json_object();
    char hash[17];
    (void)snprintf(hash, sizeof hash, "%016" PRIx64, model->data_hash);
    if (model->steps_asked > 0) {
        set(e, object, "cut_short", json_boolean(model->cut_short));
    }
    set(e, object, "data_hash", json_string(hash));
    set(e, object, "data_source", text(e, model->data_source));
    if (model->denoise > 0) set(e, object, "denoise", number(e, "denoise", model->denoise));
    set(e, object, "folded", json_boolean(model->folded));
    set(e, object, "history", history(e, model));
    set(e, object, "isa", text(e, model->isa));
    if (model->member > 0) set(e, object, "member", integer(model->member));
    set(e, object, "restarts", integer(model->restarts));
    set(e, object, "seed", decimal(model->seed));
    set(e, object, "split_by_column", json_boolean(model->split_by_column));
    set(e, object, "steps", decimal(model->steps));
    if (model->steps_asked > 0) set(e, object, "steps_asked", decimal(model->steps_asked));
    set(e, object, "train_loss", number_or_null(model->train_loss));
    set(e, object, "train_rows", integer(model->train_rows));
    set(e, object, "validation_fraction",
        number(e, "validation_fraction", model->validation_fraction));
    set(e, object, "validation_loss", number_or_null(model->validation_loss));
    set(e, object, "validation_rows", integer(model->validation_rows));
    set(e, object, "version", text(e, model->version));
    return object;
}

static json_t *calibration(encoder *e, const iv_model *model)
{
    json_t *object = json_object(), *active = json_array(), *splines = json_array();
    for (size_t j = 0; j < model->n; j++) {
        const iv_spline *s = &model->splines[j];
        json_t *spline = json_object();
        set(e, spline, "g", numbers(e, "calibration.splines.g", s->g, s->n));
        set(e, spline, "rms", number(e, "calibration.splines.rms", s->rms));
        set(e, spline, "u", numbers(e, "calibration.splines.u", s->u, s->n));
        append(e, splines, spline);
        append(e, active, json_integer(model->active[j] != 0 ? 1 : 0));
    }
    set(e, object, "active", active);
    set(e, object, "kl_mean", numbers(e, "calibration.kl_mean", model->kl_mean, model->n));
    set(e, object, "quantiles",
        numbers(e, "calibration.quantiles", model->quantiles, model->n_quantiles));
    set(e, object, "splines", splines);
    set(e, object, "variance_y", numbers(e, "calibration.variance_y", model->variance_y, model->n));
    return object;
}

static json_t *image(encoder *e, const iv_model *model)
{
    json_t *array = json_array();
    append(e, array, integer(model->height));
    append(e, array, integer(model->width));
    append(e, array, integer(model->channels));
    return array;
}

/* Members of an ensemble leave out what they share with member 0. */
static json_t *whole(encoder *e, const iv_model *model, bool shares)
{
    json_t *object = json_object();
    const size_t heads[] = {model->mu, model->logvar};
    const double clip[] = {model->logvar_lo, model->logvar_hi};
    char metric[128];
    iv_metric_format(&model->metric, metric, sizeof metric);
    set(e, object, "arch", text(e, model->arch));
    set(e, object, "beta", number(e, "beta", model->beta));
    set(e, object, "beta_auto", json_boolean(model->beta_auto));
    set(e, object, "calibration", calibration(e, model));
    set(e, object, "decoder", network(e, model->decoder, &model->out, 1));
    set(e, object, "dtype", json_string(model->dtype == IV_F64 ? "F64" : "F32"));
    set(e, object, "encoder", network(e, model->encoder, heads, 2));
    if (model->n_more > 0) {
        json_t *more = json_array();
        for (size_t k = 0; k < model->n_more; k++) append(e, more, whole(e, model->more[k], true));
        set(e, object, "ensemble", more);
    }
    if (!shares) set(e, object, "features", features(e, model));
    if (!shares) set(e, object, "image", image(e, model));
    set(e, object, "logvar_clip", numbers(e, "logvar_clip", clip, 2));
    set(e, object, "metric", json_string(metric));
    if (model->learned_elements > 0) set(e, object, "noise", noise(e, model));
    set(e, object, "objective",
        json_string(model->objective == IV_OBJECTIVE_DECOMPOSED ? "decomposed" : "conventional"));
    set(e, object, "scaling", scaling(e, &model->scaling));
    set(e, object, "training", training(e, model));
    return object;
}

isovae_status iv_model_to_json(const iv_model *model, json_t **out, isovae_error *err)
{
    encoder e = {0};
    *out = NULL;
    if (model->encoder == NULL || model->scaling.cols != model->d) {
        return iv_fail(err, ISOVAE_ERR_INTERNAL,
                       "a model without network or scaling cannot be saved");
    }
    for (size_t k = 0; k < model->n_more; k++) {
        const iv_model *member = model->more[k];
        if (member->encoder == NULL || member->scaling.cols != member->d) {
            return iv_fail(err, ISOVAE_ERR_INTERNAL,
                           "a member without network or scaling cannot be saved");
        }
    }
    json_t *object = whole(&e, model, false);
    if (object != NULL && !e.failed && e.not_a_number == NULL) {
        *out = object;
        return ISOVAE_OK;
    }
    json_decref(object);
    if (e.not_a_number != NULL) {
        return iv_fail(err, ISOVAE_ERR_DIVERGED,
                       "the model's %s is not a number, so it is not saved: train with a lower "
                       "--lr",
                       e.not_a_number);
    }
    return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for the model's description");
}
