#include "train/preset.h"

#include "base/file.h"

#include <string.h>

#define ALWAYS(text)                                                                               \
    {                                                                                              \
        text, text, text, text                                                                     \
    }

/* Heavy tails per feature with a floor under the noise (docs/theory.md section 5). None of it was
 * chosen by labels; the width, the start of the noise, the KL's warm-up and that many rows of many
 * columns need no denoising by the bound of held-out training rows. */
static const iv_preset_row anomaly[] = {
    {"loss", ALWAYS("student")},
    {"noise-floor", ALWAYS("0.1")},
    {"noise-start", ALWAYS("1")},
    {"scale", ALWAYS("mixed")},
    {"denoise", {"0.3", "0.3", "0.3", "0"}},
    {"kl-warmup", {"0", "0", "0", "0.3"}},
    {"arch", {"mlp:64,64", "mlp:64,64", "mlp:64,64", "mlp:256,256"}},
    {"activation", ALWAYS("silu")},
    {"latent-dim", {"8", "8", "8", "16"}},
    {"weight-decay", ALWAYS("0.01")},
    {"lr", {"0.002", "0.003", "0.002", "0.002"}},
    {"lr-schedule", ALWAYS("linear")},
    {"lr-warmup", ALWAYS("50")},
    {"batch-size", {"64", "256", "512", "512"}},
    {"steps", {"600", "2000", "10000", "10000"}},
    {"ensemble", ALWAYS("3")},
};

const iv_preset iv_presets[] = {
    {"anomaly", "anomalies in any table, without labels", anomaly,
     sizeof anomaly / sizeof anomaly[0]},
};
const size_t iv_n_presets = sizeof iv_presets / sizeof iv_presets[0];

const char *iv_preset_size_name(iv_preset_size size)
{
    static const char *const names[IV_PRESET_SIZES] = {"below 1,000 rows", "from 1,000 rows",
                                                       "from 20,000 rows",
                                                       "from 20,000 rows with 50 columns or more"};
    return names[size];
}

const iv_preset *iv_preset_find(const char *name)
{
    for (size_t i = 0; i < iv_n_presets; i++) {
        if (strcmp(iv_presets[i].name, name) == 0) return &iv_presets[i];
    }
    return NULL;
}

static iv_preset_size size_of(const iv_dataset *data)
{
    size_t rows = data->rows - data->bad_rows;
    if (rows < 1000) return IV_PRESET_FEW;
    if (rows < 20000) return IV_PRESET_SOME;
    return data->cols < 50 ? IV_PRESET_MANY : IV_PRESET_WIDE;
}

/* An option that presets may set. */
static bool set_option(iv_fit_options *o, const char *option, const char *value)
{
    const struct {
        const char *name;
        double *real;
        size_t *count;
        const char **text;
    } plain[] = {{"loss", NULL, NULL, &o->loss},
                 {"arch", NULL, NULL, &o->arch},
                 {"noise-floor", &o->noise_floor, NULL, NULL},
                 {"noise-start", &o->noise_start, NULL, NULL},
                 {"kl-warmup", &o->kl_warmup, NULL, NULL},
                 {"denoise", &o->denoise, NULL, NULL},
                 {"lr", &o->rate, NULL, NULL},
                 {"weight-decay", &o->weight_decay, NULL, NULL},
                 {"latent-dim", NULL, &o->latent_dim, NULL},
                 {"lr-warmup", NULL, &o->rate_warmup, NULL},
                 {"batch-size", NULL, &o->batch_size, NULL},
                 {"steps", NULL, &o->steps, NULL},
                 {"ensemble", NULL, &o->ensemble, NULL}};
    double number = 0;
    bool is_number = iv_parse_double(value, strlen(value), &number);
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        if (strcmp(plain[i].name, option) != 0) continue;
        if (plain[i].text != NULL) *plain[i].text = value;
        if (plain[i].real != NULL) *plain[i].real = number;
        if (plain[i].count != NULL) *plain[i].count = (size_t)number;
        return plain[i].text != NULL || is_number;
    }
    iv_scale_kind scale;
    iv_act act;
    if (strcmp(option, "scale") == 0 && iv_scale_kind_parse(value, &scale)) {
        o->scale = (int)scale;
    } else if (strcmp(option, "activation") == 0 && iv_act_parse(value, &act)) {
        o->activation = (int)act;
    } else if (strcmp(option, "lr-schedule") == 0 && strcmp(value, "linear") == 0) {
        o->schedule = IV_SCHEDULE_LINEAR;
        o->schedule_set = true;
    } else {
        return false;
    }
    return true;
}

isovae_status iv_preset_apply(const char *name, const iv_dataset *data, iv_fit_options *options,
                              isovae_error *err)
{
    const iv_preset *preset = iv_preset_find(name);
    if (preset == NULL) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--preset: '%.40s' is not known; there is anomaly",
                       name);
    }
    iv_preset_size size = size_of(data);
    for (size_t i = 0; i < preset->n_rows; i++) {
        const iv_preset_row *row = &preset->rows[i];
        if (set_option(options, row->option, row->value[size])) continue;
        return iv_fail(err, ISOVAE_ERR_INTERNAL, "the preset %s sets --%s to %s, which is none",
                       name, row->option, row->value[size]);
    }
    size_t most = data->cols > 1 ? data->cols - 1 : 1; /* as for the default */
    if (options->latent_dim > most) options->latent_dim = most;
    if (options->batch_size > data->rows) options->batch_size = 0;
    return ISOVAE_OK;
}
