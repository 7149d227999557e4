/* isovae fit DATA -o MODEL */
#include "cli.h"

#include "base/file.h"
#include "data/scaling.h"
#include "model/file.h"
#include "train/preset.h"
#include "train/train.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

isovae_status cli_fit_pairs(const cli *c, isovae_error *err)
{
    static const struct {
        cli_slot a, b;
        const char *names;
    } pairs[] = {{OPT_EPOCHS, OPT_STEPS, "--epochs and --steps"},
                 {OPT_QUICK, OPT_STEPS, "--quick and --steps"},
                 {OPT_QUICK, OPT_EPOCHS, "--quick and --epochs"},
                 {OPT_SPLIT_BY, OPT_VALIDATION, "--split-by and --validation"},
                 {OPT_RESUME, OPT_INIT_FROM, "--resume and --init-from"},
                 {OPT_ENSEMBLE, OPT_INIT_FROM, "--ensemble and --init-from"}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (c->opt[pairs[i].a].set && c->opt[pairs[i].b].set) {
            return iv_fail(err, ISOVAE_ERR_ARGUMENT, "%s exclude each other", pairs[i].names);
        }
    }
    return ISOVAE_OK;
}

static void take_number(const cli_value *value, double *out)
{
    if (value->set) *out = value->number;
}

static void take_count(const cli_value *value, size_t *out)
{
    if (value->set) *out = (size_t)value->count;
}

static void take_text(const cli_value *value, const char **out)
{
    if (value->set) *out = value->text;
}

/* A preset's values, and over them what was given. */
static isovae_status take_preset(const cli *c, const iv_dataset *data, iv_fit_options *o,
                                 isovae_error *err)
{
    const cli_value *v = c->opt;
    if (!v[OPT_PRESET].set || data == NULL) return ISOVAE_OK;
    IV_TRY(iv_preset_apply(v[OPT_PRESET].text, data, o, err));
    if (v[OPT_LOSS].set)
        o->noise_floor = o->noise_start = NAN; /* which belonged to the preset's loss */
    if (v[OPT_EPOCHS].set || v[OPT_QUICK].set) o->steps = 0;
    return ISOVAE_OK;
}

/* Everything but the data, whose size presets look at; NULL: without a preset. */
isovae_status cli_fit_options(cli *c, const iv_dataset *data, iv_fit_options *o, isovae_error *err)
{
    const cli_value *v = c->opt;
    iv_act act;
    iv_scale_kind scale;
    iv_fit_options_init(o);
    IV_TRY(take_preset(c, data, o, err));
    take_count(&v[OPT_LATENT_DIM], &o->latent_dim);
    take_number(&v[OPT_BETA], &o->beta);
    take_number(&v[OPT_BETA_FLOOR], &o->beta_floor);
    take_number(&v[OPT_BETA_START], &o->beta_start);
    take_number(&v[OPT_KL_WARMUP], &o->kl_warmup);
    take_text(&v[OPT_LOSS], &o->loss);
    if (v[OPT_NOISE].set) o->noise = strcmp(v[OPT_NOISE].text, "feature") == 0;
    take_number(&v[OPT_NOISE_FLOOR], &o->noise_floor);
    take_number(&v[OPT_NOISE_START], &o->noise_start);
    take_number(&v[OPT_DENOISE], &o->denoise);
    if (v[OPT_OBJECTIVE].set) {
        o->objective = strcmp(v[OPT_OBJECTIVE].text, "decomposed") == 0 ? IV_OBJECTIVE_DECOMPOSED
                                                                        : IV_OBJECTIVE_CONVENTIONAL;
    }
    take_text(&v[OPT_ARCH], &o->arch);
    if (v[OPT_ACTIVATION].set) {
        if (!iv_act_parse(v[OPT_ACTIVATION].text, &act)) {
            return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                           "--activation: '%s' is none of silu, tanh, relu, leaky_relu, elu, gelu, "
                           "softplus, sigmoid",
                           v[OPT_ACTIVATION].text);
        }
        o->activation = (int)act;
    }
    take_count(&v[OPT_EPOCHS], &o->epochs);
    take_count(&v[OPT_STEPS], &o->steps);
    take_count(&v[OPT_BATCH_SIZE], &o->batch_size);
    take_number(&v[OPT_LR], &o->rate);
    if (v[OPT_LR_SCHEDULE].set) {
        const char *name = v[OPT_LR_SCHEDULE].text;
        o->schedule_set = true;
        o->schedule = strcmp(name, "step") == 0       ? IV_SCHEDULE_STEP
                      : strcmp(name, "constant") == 0 ? IV_SCHEDULE_CONSTANT
                      : strcmp(name, "linear") == 0   ? IV_SCHEDULE_LINEAR
                                                      : IV_SCHEDULE_COSINE;
    }
    take_count(&v[OPT_LR_WARMUP], &o->rate_warmup);
    take_count(&v[OPT_ENSEMBLE], &o->ensemble);
    take_number(&v[OPT_WEIGHT_DECAY], &o->weight_decay);
    o->seed = cli_seed(c);
    if (v[OPT_INIT].set) {
        o->init =
            strcmp(v[OPT_INIT].text, "multimodal") == 0 ? IV_INIT_MULTIMODAL : IV_INIT_DEFAULT;
    }
    if (v[OPT_SCALE].set) {
        if (!iv_scale_kind_parse(v[OPT_SCALE].text, &scale)) {
            return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--scale: '%s' is unknown", v[OPT_SCALE].text);
        }
        o->scale = (int)scale;
    }
    take_count(&v[OPT_PATIENCE], &o->patience);
    take_count(&v[OPT_CHECKPOINT_EVERY], &o->checkpoint_every);
    take_number(&v[OPT_CHECKPOINT_EVERY], &o->checkpoint_seconds);
    take_number(&v[OPT_MAX_TIME], &o->max_seconds);
    take_text(&v[OPT_LOG], &o->log);
    take_text(&v[OPT_TENSORBOARD], &o->tensorboard);
    take_text(&v[OPT_RESUME], &o->resume);
    take_text(&v[OPT_INIT_FROM], &o->init_from);
    o->no_restart = v[OPT_NO_RESTART].set;
    o->quick = v[OPT_QUICK].set;
    o->isa = cli_isa(c);
    o->pool = c->pool;
    o->progress = cli_progress(c);
    return ISOVAE_OK;
}

/* --validation: a share, or a file whose features are matched to those of the data. */
isovae_status cli_open_validation(cli *c, const iv_dataset *data, iv_fit_options *o,
                                  iv_dataset **validation, isovae_error *err)
{
    const cli_value *value = &c->opt[OPT_VALIDATION];
    double share;
    if (!value->set) return ISOVAE_OK;
    if (iv_parse_double(value->text, strlen(value->text), &share)) {
        if (!(share >= 0 && share < 1)) {
            return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                           "--validation: '%s' is neither a share from 0 to below 1 nor a file",
                           value->text);
        }
        o->validation = share;
        return ISOVAE_OK;
    }
    iv_data_options options;
    IV_TRY(cli_data_options(c, NULL, &options, err));
    options.want = (const char *const *)data->names;
    options.n_want = data->cols;
    options.want_named = data->named;
    options.want_categories = &data->categories;
    options.categorical = NULL;
    options.want_height = data->height;
    options.want_width = data->width;
    options.want_channels = data->channels;
    isovae_status status = iv_dataset_open(value->text, &options, validation, err);
    if (status != ISOVAE_OK) return iv_fail_prefix(err, status, "--validation");
    o->validation_data = *validation;
    return ISOVAE_OK;
}

/* ---- the summary ---- */

static size_t count_active(const iv_model *model)
{
    size_t active = 0;
    for (size_t j = 0; j < model->n; j++) active += model->active != NULL && model->active[j];
    return active;
}

/* One line per member of an ensemble; the rest of the summary is about the first. */
static void tell_members(iv_text *text, const iv_model *model)
{
    size_t members = iv_model_members(model);
    if (members == 1) return;
    iv_text_printf(text, "  an ensemble of %zu; what follows is of member 0\n", members);
    for (size_t k = 0; k < members; k++) {
        const iv_model *m = iv_model_member(model, k);
        iv_text_printf(text, "    member %zu: %zu of %zu latents active, loss %.5g", k,
                       count_active(m), m->n, m->train_loss);
        if (isfinite(m->validation_loss)) {
            iv_text_printf(text, ", %.5g on its held-out rows", m->validation_loss);
        }
        iv_text_puts(text, "\n");
    }
}

static void tell_model(iv_text *text, const iv_model *model, const char *output)
{
    size_t active = count_active(model);
    char loss[64];
    iv_metric_format(&model->metric, loss, sizeof loss);
    iv_text_printf(text, "%s: %zu of %zu latents active\n", output, active, model->n);
    tell_members(text, model);
    iv_text_printf(text, "  %zu features, ", model->d);
    cli_count_text(text, model->train_rows);
    iv_text_puts(text, " training rows, ");
    cli_count_text(text, model->validation_rows);
    iv_text_puts(text, " held out");
    iv_text_printf(text, "; %s, loss %s, scale %s\n", model->arch, loss,
                   iv_scale_kind_name(model->scaling.kind));
    if (active > 0 && model->variance_y != NULL) {
        iv_text_puts(text, "  variance of the latents");
        for (size_t j = 0, shown = 0; j < model->n && shown < 6; j++) {
            if (!model->active[j]) continue;
            iv_text_printf(text, " %.4g", model->variance_y[j]);
            shown++;
        }
        if (active > 6) iv_text_puts(text, " ...");
        iv_text_puts(text, "\n");
    }
}

static void tell_run(iv_text *text, const iv_model *model, const iv_fit_result *result)
{
    iv_text_puts(text, "  ");
    cli_count_text(text, result->steps);
    iv_text_printf(text, " steps in %.1f s", result->seconds);
    iv_text_printf(text, "; loss D + beta KL %.5g on training rows", model->train_loss);
    if (isfinite(model->validation_loss)) {
        iv_text_printf(text, ", %.5g on held-out rows", model->validation_loss);
    }
    iv_text_printf(text, "\n  beta %.4g%s, D summed over features, KL over latents\n", model->beta,
                   model->beta_auto ? " (auto)" : "");
    cli_tell_beta(text, model);
}

static void tell_next(iv_text *text, const cli *c, const char *spec, const char *output)
{
    static const struct {
        cli_slot slot;
        const char *name;
    } kept[] = {{OPT_COLUMNS, "columns"},
                {OPT_DROP, "drop"},
                {OPT_ID, "id"},
                {OPT_SPLIT_BY, "split-by"},
                {OPT_MISSING, "missing"}};
    iv_text_puts(text, "next: isovae report ");
    cli_quote(text, output);
    iv_text_puts(text, " ");
    cli_quote(text, spec);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        if (!c->opt[kept[i].slot].set) continue;
        iv_text_printf(text, " --%s ", kept[i].name);
        cli_quote(text, c->opt[kept[i].slot].text);
    }
    if (c->opt[OPT_HEADER].set) iv_text_puts(text, " --header");
    if (c->opt[OPT_NO_HEADER].set) iv_text_puts(text, " --no-header");
    iv_text_puts(text, " --html report.html\n");
}

static void tell_notes(cli *c, const iv_fit_result *result)
{
    for (size_t i = 0; i < result->n_notes; i++) cli_note(c, "note: %s", result->notes[i].text);
}

static isovae_status tell(cli *c, const char *spec, const char *output, const iv_fit_result *result,
                          isovae_error *err)
{
    iv_text text = {0};
    tell_notes(c, result);
    if (c->quiet) return ISOVAE_OK;
    tell_model(&text, result->model, output);
    tell_run(&text, result->model, result);
    if (c->command->bit == CLI_FIT) tell_next(&text, c, spec, output);
    isovae_status status = cli_print(&text, err);
    iv_text_free(&text);
    return status;
}

/* ---- the work ---- */

/* What to type to go on: the same command, with --resume. */
static void tell_way_on(cli *c, const char *checkpoint)
{
    if (access(checkpoint, R_OK) != 0) {
        cli_note(c, "interrupted before the first checkpoint; nothing was written");
        return;
    }
    if (c->command->bit != CLI_FIT) {
        cli_note(c, "interrupted");
        unlink(checkpoint);
        return;
    }
    iv_text line = {0};
    iv_text_puts(&line, c->typed);
    if (!c->opt[OPT_RESUME].set) {
        iv_text_puts(&line, " --resume ");
        cli_quote(&line, checkpoint);
    }
    if (!line.failed) {
        cli_bar_clear(c);
        fprintf(stderr, "isovae fit: a checkpoint is in %s; to go on:\n  %s\n", checkpoint,
                line.data);
    }
    iv_text_free(&line);
}

static isovae_status fit_and_write(cli *c, const char *spec, const char *output,
                                   const char *checkpoint, iv_dataset **data,
                                   iv_dataset **validation, iv_fit_result *result,
                                   isovae_error *err)
{
    iv_fit_options options;
    IV_TRY(
        cli_fit_options(c, NULL, &options, err)); /* wrong options are told before data are read */
    IV_TRY(cli_open_data(c, spec, NULL, data, err));
    if (c->opt[OPT_PRESET].set) IV_TRY(cli_fit_options(c, *data, &options, err));
    IV_TRY(cli_open_validation(c, *data, &options, validation, err));
    options.checkpoint = checkpoint;
    isovae_status status = iv_fit(*data, &options, result, err);
    if (status == ISOVAE_ERR_CANCELLED) tell_way_on(c, checkpoint);
    if (status == ISOVAE_ERR_DIVERGED) tell_notes(c, result);
    if (status != ISOVAE_OK) return status;
    IV_TRY(iv_model_save(result->model, output, err));
    unlink(checkpoint); /* it has served; where none was written there is none to remove */
    return ISOVAE_OK;
}

isovae_status cli_fit_to_file(cli *c, const char *spec, const char *output, isovae_error *err)
{
    iv_dataset *data = NULL, *validation = NULL;
    iv_fit_result result;
    iv_text checkpoint = {0};
    memset(&result, 0, sizeof result);
    IV_TRY(cli_fit_pairs(c, err));
    IV_TRY(cli_check_writable(output, err));
    IV_TRY(cli_pool(c, err));
    iv_text_printf(&checkpoint, "%s.ckpt", output);
    isovae_status status = iv_text_check(&checkpoint, err);
    if (status == ISOVAE_OK) {
        status = fit_and_write(c, spec, output, checkpoint.data, &data, &validation, &result, err);
    }
    if (status == ISOVAE_OK) status = tell(c, spec, output, &result, err);
    iv_model_free(result.model);
    iv_dataset_free(data);
    iv_dataset_free(validation);
    iv_text_free(&checkpoint);
    return status;
}

isovae_status cmd_fit(cli *c, isovae_error *err)
{
    const char *output = c->opt[OPT_OUTPUT].text;
    if (output == NULL) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "-o MODEL is missing: name the model file to write");
    }
    if (strcmp(output, "-") == 0) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "-o: a model is written to a file, not to '-'");
    }
    return cli_fit_to_file(c, c->argument[0], output, err);
}
