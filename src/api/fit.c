#include "api/handles.h"
#include "train/preset.h"
#include "train/train.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

/* The struct of the first header, which ended with the seed. */
enum { FIRST_SIZE = offsetof(isovae_fit_config, preset) };

void isovae_fit_config_init_(isovae_fit_config *config, size_t struct_size)
{
    isovae_fit_config all = {.struct_size = struct_size,
                             .beta = NAN,
                             .learning_rate = NAN,
                             .validation = NAN,
                             .noise_floor = NAN,
                             .beta_floor = NAN,
                             .beta_start = NAN,
                             .kl_warmup = NAN,
                             .denoise = NAN,
                             .weight_decay = NAN,
                             .noise_start = NAN};
    if (struct_size > sizeof all) memset(config, 0, struct_size);
    memcpy(config, &all, struct_size < sizeof all ? struct_size : sizeof all);
}

/* One of a few names, which stand in the order of their values and end with NULL. */
static isovae_status choose(const char *field, const char *given, const char *const *names,
                            int *out, isovae_error *err)
{
    for (int i = 0; given && names[i]; i++) {
        if (strcmp(names[i], given) != 0) continue;
        *out = i;
        return ISOVAE_OK;
    }
    if (!given) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_ARGUMENT, "%s: '%.40s' is none of %s, %s%s%s%s%s", field, given,
                   names[0], names[1], names[2] ? ", " : "", names[2] ? names[2] : "",
                   names[2] && names[3] ? ", " : "", names[2] && names[3] ? names[3] : "");
}

static isovae_status take_names(const isovae_fit_config *c, iv_fit_options *o, isovae_error *err)
{
    static const char *const objectives[] = {"conventional", "decomposed", NULL};
    static const char *const noises[] = {"common", "feature", NULL};
    static const char *const inits[] = {"default", "multimodal", NULL};
    static const char *const schedules[] = {"cosine", "step", "constant", "linear", NULL};
    int objective = (int)o->objective, init = (int)o->init, schedule = (int)o->schedule;
    IV_TRY(choose("objective", c->objective, objectives, &objective, err));
    IV_TRY(choose("noise", c->noise, noises, &o->noise, err));
    IV_TRY(choose("init", c->init, inits, &init, err));
    IV_TRY(choose("lr_schedule", c->lr_schedule, schedules, &schedule, err));
    o->objective = (iv_objective_kind)objective;
    o->init = (iv_init)init;
    o->schedule = (iv_schedule)schedule;
    o->schedule_set = o->schedule_set || c->lr_schedule;
    iv_act act;
    if (c->activation) {
        if (!iv_act_parse(c->activation, &act))
            return iv_fail(err, ISOVAE_ERR_ARGUMENT, "activation: '%.40s' is not known",
                           c->activation);
        o->activation = (int)act;
    }
    iv_scale_kind scale;
    if (c->scale) {
        if (!iv_scale_kind_parse(c->scale, &scale))
            return iv_fail(err, ISOVAE_ERR_ARGUMENT, "scale: '%.40s' is not known", c->scale);
        o->scale = (int)scale;
    }
    return ISOVAE_OK;
}

static void take_number(double given, double *out)
{
    if (!isnan(given)) *out = given;
}
static void take_count(size_t given, size_t *out)
{
    if (given) *out = given;
}

/* A preset's values, and over them what was given besides. */
static isovae_status translate(const isovae_fit_config *c, const iv_dataset *data,
                               iv_fit_options *o, isovae_error *err)
{
    if (c->steps && c->epochs)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "give steps or epochs, not both");
    if (c->quick && (c->steps || c->epochs))
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "quick and steps or epochs exclude each other");
    if (!(c->max_seconds >= 0))
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "max_seconds must not be below 0");
    if (c->preset) {
        IV_TRY(iv_preset_apply(c->preset, data, o, err));
        if (c->loss)
            o->noise_floor = o->noise_start = NAN; /* which belonged to the preset's loss */
        if (c->epochs || c->quick) o->steps = 0;
    }
    take_count(c->latent_dim, &o->latent_dim);
    take_count(c->steps, &o->steps);
    take_count(c->epochs, &o->epochs);
    take_count(c->batch_size, &o->batch_size);
    take_count(c->ensemble, &o->ensemble);
    take_count(c->lr_warmup, &o->rate_warmup);
    take_count(c->patience, &o->patience);
    take_number(c->beta, &o->beta);
    take_number(c->learning_rate, &o->rate);
    take_number(c->validation, &o->validation);
    take_number(c->noise_floor, &o->noise_floor);
    take_number(c->noise_start, &o->noise_start);
    take_number(c->beta_floor, &o->beta_floor);
    take_number(c->beta_start, &o->beta_start);
    take_number(c->kl_warmup, &o->kl_warmup);
    take_number(c->denoise, &o->denoise);
    take_number(c->weight_decay, &o->weight_decay);
    if (c->loss) o->loss = c->loss;
    if (c->arch) o->arch = c->arch;
    o->seed = c->seed;
    o->quick = c->quick != 0;
    o->no_restart = c->no_restart != 0;
    o->max_seconds = c->max_seconds;
    o->init_from = c->init_from;
    o->checkpoint = c->checkpoint;
    if (c->checkpoint && access(c->checkpoint, R_OK) == 0) o->resume = c->checkpoint;
    return take_names(c, o, err);
}

/* Rows to hold out have the columns of the data, in their order. */
static isovae_status take_validation(const isovae_data *held_out, const iv_dataset *data,
                                     iv_fit_options *o, isovae_error *err)
{
    if (!held_out) return ISOVAE_OK;
    const iv_dataset *set = held_out->set;
    if (!isnan(o->validation))
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "give rows to hold out or a share of the data (validation), not both");
    if (set->cols != data->cols || set->height != data->height || set->width != data->width)
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "the rows to hold out have %zu columns%s, the data %zu%s", set->cols,
                       set->height > 0 ? " of pictures" : "", data->cols,
                       data->height > 0 ? " of pictures" : "");
    for (size_t i = 0; i < data->cols; i++)
        if (strcmp(set->names[i], data->names[i]) != 0)
            return iv_fail(
                err, ISOVAE_ERR_DATA,
                "column %zu of the rows to hold out is '%.80s', that of the data '%.80s'", i + 1,
                set->names[i], data->names[i]);
    o->validation_data = set;
    return ISOVAE_OK;
}

/* The caller's configuration with what an older header lacks. */
static isovae_status read_config(const isovae_fit_config *config, isovae_fit_config *all,
                                 isovae_error *err)
{
    isovae_fit_config_init(all);
    if (!config) return ISOVAE_OK;
    if (config->struct_size < FIRST_SIZE || config->struct_size > sizeof *all)
        return iv_check_config("fit", config->struct_size, sizeof *all, err);
    memcpy(all, config, config->struct_size);
    return ISOVAE_OK;
}

static isovae_status take(isovae_context *context, const isovae_fit_config *all,
                          const iv_dataset *data, iv_fit_options *out, isovae_error *err)
{
    iv_fit_options_init(out);
    IV_TRY(translate(all, data, out, err));
    IV_TRY(take_validation(all->validation_data, data, out, err));
    out->pool = context->pool;
    out->isa = context->isa;
    out->progress = iv_context_progress(context);
    return ISOVAE_OK;
}

isovae_status iv_take_fit_config(isovae_context *context, const isovae_fit_config *config,
                                 const iv_dataset *data, iv_fit_options *out, isovae_error *err)
{
    isovae_fit_config all;
    IV_TRY(read_config(config, &all, err));
    return take(context, &all, data, out, err);
}

isovae_status isovae_fit(isovae_context *context, const isovae_data *data,
                         const isovae_fit_config *config, isovae_model **out, isovae_error *err)
{
    *out = NULL;
    isovae_fit_config all;
    iv_fit_options options;
    iv_fit_result result;
    IV_TRY(read_config(config, &all, err));
    IV_TRY(take(context, &all, data->set, &options, err));
    isovae_status status = iv_fit(data->set, &options, &result, err);
    for (size_t i = 0; all.note && i < result.n_notes; i++)
        all.note(all.note_user, result.notes[i].text);
    if (status) return status;
    status = iv_wrap_model(result.model, out, err);
    if (!status && options.checkpoint) unlink(options.checkpoint); /* it has served */
    return status;
}
