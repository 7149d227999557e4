#include "data/toy.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "data/build.h"
#include "data/reader.h"

#include <math.h>
#include <string.h>

/* One axis of a mixture. */
typedef struct mixture {
    double weight[3], mean[3], sd[3];
} mixture;

static const mixture mix_axes[3] = {
    {{.3, .4, .3}, {-2, 0, 2}, {.6, .5, .6}},
    {{.5, .3, .2}, {-1.8, .3, 2.4}, {.6, .6, .6}},
    {{.25, .45, .3}, {-2.2, 0, 1.9}, {.6, .55, .6}},
};
static const mixture mixa_axes[3] = {
    {{.6, .25, .15}, {-.8, .5, 2}, {.5, .6, .7}},
    {{.15, .3, .55}, {-2, -.4, .8}, {.7, .6, .5}},
    {{.55, .3, .15}, {-.8, .6, 2.2}, {.5, .6, .7}},
};
static const char *const kind_names[] = {"norm", "mix", "mixa", "ramp", "tri"};
enum { N_KINDS = sizeof kind_names / sizeof kind_names[0] };
static const double log_2pi = 1.8378770664093454836;

bool iv_toy_kind_parse(const char *text, size_t length, iv_toy_kind *out)
{
    for (size_t i = 0; i < N_KINDS; i++) {
        if (strlen(kind_names[i]) != length || memcmp(kind_names[i], text, length) != 0) continue;
        *out = (iv_toy_kind)i;
        return true;
    }
    return false;
}

static const mixture *mixture_of(iv_toy_kind kind, size_t axis)
{
    return kind == IV_TOY_MIX ? &mix_axes[axis] : &mixa_axes[axis];
}

void iv_toy_raw_moments(iv_toy_kind kind, size_t axis, double *mean, double *sd)
{
    *mean = 0;
    *sd = 1;
    switch (kind) {
    case IV_TOY_NORM: return;
    case IV_TOY_RAMP: /* density 2t on [0, 1]; the second axis 2 (1 - t) */
        *mean = axis == 1 ? 1.0 / 3 : 2.0 / 3;
        *sd = sqrt(1.0 / 18);
        return;
    case IV_TOY_TRI: /* density 1 - |t| on [-1, 1] */ *sd = sqrt(1.0 / 6); return;
    case IV_TOY_MIX:
    case IV_TOY_MIXA: {
        const mixture *m = mixture_of(kind, axis);
        double second = 0;
        for (size_t k = 0; k < 3; k++) {
            *mean += m->weight[k] * m->mean[k];
            second += m->weight[k] * (m->sd[k] * m->sd[k] + m->mean[k] * m->mean[k]);
        }
        *sd = sqrt(second - *mean * *mean);
        return;
    }
    }
}

static double raw_log_density(iv_toy_kind kind, size_t axis, double t)
{
    switch (kind) {
    case IV_TOY_NORM: return -0.5 * (t * t + log_2pi);
    case IV_TOY_RAMP: return t >= 0 && t <= 1 ? log(2 * (axis == 1 ? 1 - t : t)) : -INFINITY;
    case IV_TOY_TRI: return fabs(t) <= 1 ? log(1 - fabs(t)) : -INFINITY;
    case IV_TOY_MIX:
    case IV_TOY_MIXA: {
        /* log sum w_k N(t; m_k, s_k^2), the largest term taken out */
        const mixture *m = mixture_of(kind, axis);
        double term[3], largest = -INFINITY, sum = 0;
        for (size_t k = 0; k < 3; k++) {
            double u = (t - m->mean[k]) / m->sd[k];
            term[k] = log(m->weight[k] / m->sd[k]) - 0.5 * (u * u + log_2pi);
            if (term[k] > largest) largest = term[k];
        }
        for (size_t k = 0; k < 3; k++) sum += exp(term[k] - largest);
        return largest + log(sum);
    }
    }
    return NAN;
}

double iv_toy_log_density(iv_toy_kind kind, size_t axis, double variance, double s)
{
    double mean, sd;
    iv_toy_raw_moments(kind, axis, &mean, &sd);
    double factor = sqrt(variance) / sd;
    return raw_log_density(kind, axis, s / factor + mean) - log(factor);
}

/* By inverse transform, or by choosing a component: u uniform on (0, 1), g standard normal. */
static double raw_draw(iv_toy_kind kind, size_t axis, double u, double g)
{
    switch (kind) {
    case IV_TOY_NORM: return g;
    case IV_TOY_RAMP: return axis == 1 ? 1 - sqrt(u) : sqrt(u);
    case IV_TOY_TRI: return u < 0.5 ? sqrt(2 * u) - 1 : 1 - sqrt(2 - 2 * u);
    case IV_TOY_MIX:
    case IV_TOY_MIXA: {
        const mixture *m = mixture_of(kind, axis);
        size_t k = u < m->weight[0] ? 0 : u < m->weight[0] + m->weight[1] ? 1 : 2;
        return m->mean[k] + m->sd[k] * g;
    }
    }
    return NAN;
}

void iv_toy_directions(double out[IV_TOY_FACTORS][IV_TOY_COLS])
{
    /* A key of its own, which no row has: rows use the steps of their kind. */
    for (size_t j = 0; j < IV_TOY_FACTORS; j++) {
        iv_key key = {.seed = 0, .purpose = IV_PURPOSE_TOY, .step = 1000, .row = j};
        iv_normals_f64(&key, IV_TOY_COLS, out[j]);
        /* Gram-Schmidt, twice for orthogonality to rounding */
        for (int pass = 0; pass < 2; pass++) {
            for (size_t k = 0; k < j; k++) {
                double dot = 0;
                for (size_t i = 0; i < IV_TOY_COLS; i++) dot += out[j][i] * out[k][i];
                for (size_t i = 0; i < IV_TOY_COLS; i++) out[j][i] -= dot * out[k][i];
            }
            double square = 0;
            for (size_t i = 0; i < IV_TOY_COLS; i++) square += out[j][i] * out[j][i];
            for (size_t i = 0; i < IV_TOY_COLS; i++) out[j][i] /= sqrt(square);
        }
    }
}

typedef struct toy_spec {
    iv_toy_kind kind;
    size_t n;
    uint64_t seed;
    double variance[IV_TOY_FACTORS];
} toy_spec;

static bool parse_u64(const char *text, size_t length, uint64_t *out)
{
    uint64_t value = 0;
    if (length == 0) return false;
    for (size_t i = 0; i < length; i++) {
        uint64_t digit = (uint64_t)(unsigned char)text[i] - '0';
        if (digit > 9 || value > (UINT64_MAX - digit) / 10) return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

static bool parse_variances(const char *text, size_t length, double out[IV_TOY_FACTORS])
{
    const char *end = text + length;
    for (size_t j = 0; j < IV_TOY_FACTORS; j++) {
        const char *colon = memchr(text, ':', (size_t)(end - text));
        if ((colon == NULL) != (j == IV_TOY_FACTORS - 1)) return false;
        const char *stop = colon != NULL ? colon : end;
        if (!iv_parse_double(text, (size_t)(stop - text), &out[j])) return false;
        if (!(out[j] >= 1e-12 && out[j] <= 1e12)) return false;
        text = stop + 1;
    }
    return true;
}

static isovae_status parse_option(const char *text, size_t length, toy_spec *spec,
                                  isovae_error *err)
{
    const char *equals = memchr(text, '=', length);
    size_t key = equals != NULL ? (size_t)(equals - text) : length;
    const char *value = text + key + (equals != NULL);
    size_t value_length = length - (size_t)(value - text);
    uint64_t number;
    if (equals != NULL && key == 1 && text[0] == 'n') {
        /* rows are numbered below 2^40 */
        if (parse_u64(value, value_length, &number) && number >= 1 && number < (1ULL << 40)) {
            spec->n = (size_t)number;
            return ISOVAE_OK;
        }
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "n=%s is not a number of rows, 1 or more",
                       iv_show(value, value_length).text);
    }
    if (equals != NULL && key == 4 && memcmp(text, "seed", 4) == 0) {
        if (parse_u64(value, value_length, &spec->seed)) return ISOVAE_OK;
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "seed=%s is not a whole number from 0",
                       iv_show(value, value_length).text);
    }
    if (equals != NULL && key == 3 && memcmp(text, "var", 3) == 0) {
        if (parse_variances(value, value_length, spec->variance)) return ISOVAE_OK;
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "var=%s is not three positive variances such as 1:1:4",
                       iv_show(value, value_length).text);
    }
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "unknown option '%s'; known are n=ROWS, seed=NUMBER and var=A:B:C",
                   iv_show(text, length).text);
}

static isovae_status parse_spec(const char *spec, toy_spec *out, isovae_error *err)
{
    const char *at = spec + strlen("toy:");
    size_t length = strcspn(at, ",");
    *out = (toy_spec){.n = 50000, .variance = {1.0 / 6, 2.0 / 3, 8.0 / 3}};
    if (!iv_toy_kind_parse(at, length, &out->kind)) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "there is no toy set '%s'; known are norm, mix, mixa, ramp and tri",
                       iv_show(at, length).text);
    }
    at += length;
    while (*at == ',') {
        at++;
        length = strcspn(at, ",");
        IV_TRY(parse_option(at, length, out, err));
        at += length;
    }
    return ISOVAE_OK;
}

static isovae_status fill_truth(iv_truth *truth, const toy_spec *spec, isovae_error *err)
{
    truth->n_factors = IV_TOY_FACTORS;
    IV_TRY(IV_NEW(truth->factor_names, IV_TOY_FACTORS, "factor names", err));
    IV_TRY(IV_NEW(truth->population_variances, IV_TOY_FACTORS, "factor variances", err));
    IV_TRY(IV_NEW(truth->factors, spec->n * IV_TOY_FACTORS, "true factors", err));
    IV_TRY(IV_NEW(truth->log_density, spec->n, "true densities", err));
    for (size_t j = 0; j < IV_TOY_FACTORS; j++) {
        char name[3] = {'s', (char)('1' + j), '\0'};
        IV_TRY(iv_strdup(&truth->factor_names[j], name, err));
        truth->population_variances[j] = spec->variance[j];
    }
    return ISOVAE_OK;
}

/* s = (raw - mean) sqrt(variance) / sd per factor; x = sum_j s_j v_j */
static isovae_status fill_rows(iv_dataset *data, const toy_spec *spec, const iv_progress *progress,
                               isovae_error *err)
{
    double direction[IV_TOY_FACTORS][IV_TOY_COLS], mean[IV_TOY_FACTORS], scale[IV_TOY_FACTORS];
    iv_toy_directions(direction);
    for (size_t j = 0; j < IV_TOY_FACTORS; j++) {
        double sd;
        iv_toy_raw_moments(spec->kind, j, &mean[j], &sd);
        scale[j] = sqrt(spec->variance[j]) / sd;
    }
    for (size_t row = 0; row < spec->n; row++) {
        iv_key key = {.seed = spec->seed,
                      .purpose = IV_PURPOSE_TOY,
                      .step = (uint64_t)spec->kind,
                      .row = row};
        double u[IV_TOY_FACTORS], g[IV_TOY_FACTORS];
        iv_uniforms_f64(&key, IV_TOY_FACTORS, u);
        key.draw = 1;
        iv_normals_f64(&key, IV_TOY_FACTORS, g);
        double *s = data->truth->factors + row * IV_TOY_FACTORS, log_density = 0;
        for (size_t j = 0; j < IV_TOY_FACTORS; j++) {
            double raw = raw_draw(spec->kind, j, u[j], g[j]);
            s[j] = (raw - mean[j]) * scale[j];
            log_density += raw_log_density(spec->kind, j, raw) - log(scale[j]);
        }
        data->truth->log_density[row] = log_density;
        float *x = data->values + row * IV_TOY_COLS;
        for (size_t i = 0; i < IV_TOY_COLS; i++) {
            double sum = 0;
            for (size_t j = 0; j < IV_TOY_FACTORS; j++) sum += s[j] * direction[j][i];
            x[i] = (float)sum;
        }
        IV_TRY(iv_build_progress(progress, row, spec->n, err));
    }
    return ISOVAE_OK;
}

static isovae_status fill(iv_dataset *data, const toy_spec *spec, const iv_data_options *options,
                          isovae_error *err)
{
    data->toy = true;
    data->named = true;
    for (size_t i = 0; i < IV_TOY_COLS; i++) {
        char name[8] = {'x'};
        iv_format_double(name + 1, sizeof name - 1, (double)(i + 1), 6);
        IV_TRY(iv_strdup(&data->names[i], name, err));
    }
    IV_TRY(IV_NEW(data->truth, 1, "truth of the toy set", err));
    IV_TRY(fill_truth(data->truth, spec, err));
    return fill_rows(data, spec, &options->progress, err);
}

isovae_status iv_toy_open(const char *spec, const iv_data_options *options, iv_dataset **out,
                          isovae_error *err)
{
    toy_spec parsed;
    *out = NULL;
    IV_TRY(iv_build_whole(options, err));
    IV_TRY(parse_spec(spec, &parsed, err));
    size_t limit = iv_build_limit(options), bytes;
    size_t per_row = IV_TOY_COLS * sizeof(float) + (IV_TOY_FACTORS + 1) * sizeof(double);
    if (!iv_size_mul(parsed.n, per_row, &bytes) || bytes > limit) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "n=%zu rows are above the limit of %zu bytes",
                       parsed.n, limit);
    }
    iv_dataset *data;
    IV_TRY(iv_build_new(parsed.n, IV_TOY_COLS, false, &data, err));
    isovae_status status = fill(data, &parsed, options, err);
    if (status != ISOVAE_OK) {
        iv_dataset_free(data);
        return status;
    }
    *out = data;
    return ISOVAE_OK;
}
