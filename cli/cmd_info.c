/* isovae info MODEL */
#include "cli.h"

#include "base/file.h"
#include "model/file.h"
#include "report/values.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static size_t count_active(const iv_model *model)
{
    size_t active = 0;
    for (size_t j = 0; j < model->n; j++) active += model->active != NULL && model->active[j];
    return active;
}

static const char *objective_name(const iv_model *model)
{
    return model->objective == IV_OBJECTIVE_DECOMPOSED ? "decomposed" : "conventional";
}

static const char *or_unknown(const char *text)
{
    return text != NULL && *text != '\0' ? text : "unknown";
}

/* ---- for people ---- */

static void put_features(iv_text *text, const iv_model *model)
{
    enum { SHOWN = 8 };
    iv_text_printf(text, "features    %zu: ", model->d);
    if (model->height > 0) {
        iv_text_printf(text, "images of %zu x %zu x %zu\n", model->height, model->width,
                       model->channels);
        return;
    }
    for (size_t i = 0; i < model->d && i < SHOWN; i++) {
        iv_text_printf(text, "%s%s", i > 0 ? ", " : "", model->names[i]);
    }
    iv_text_puts(text, model->d > SHOWN ? ", ...\n" : "\n");
}

static void put_latents(iv_text *text, const iv_model *model)
{
    enum { SHOWN = 10 };
    size_t active = count_active(model), shown = 0;
    iv_text_printf(text, "latents     %zu, %zu active\n", model->n, active);
    if (model->variance_y == NULL || model->kl_mean == NULL || active == 0) return;
    iv_text_puts(text, "            latent  variance_y  KL (nats)\n");
    for (size_t j = 0; j < model->n && shown < SHOWN; j++) {
        if (!model->active[j]) continue;
        iv_text_printf(text, "            %6zu  %10.4g  %9.3g\n", j, model->variance_y[j],
                       model->kl_mean[j]);
        shown++;
    }
    if (active > shown) iv_text_printf(text, "            and %zu more\n", active - shown);
}

static void put_history(iv_text *text, const iv_model *model)
{
    if (model->n_history == 0) return;
    iv_text_puts(text, "history         step    beta        D       KL     loss  validation\n");
    size_t skip = (model->n_history + 19) / 20;
    for (size_t i = 0; i < model->n_history; i++) {
        const iv_history *h = &model->history[i];
        if (i % skip != 0 && i + 1 != model->n_history) continue;
        iv_text_printf(text, "            %8" PRIu64 " %7.3g %8.4g %8.4g %8.4g  %10.4g\n", h->step,
                       h->beta, h->distortion, h->kl, h->loss, h->validation);
    }
}

static void put_members(iv_text *text, const iv_model *ensemble, const iv_model *model)
{
    size_t members = iv_model_members(ensemble);
    if (members == 1) return;
    iv_text_printf(text,
                   "ensemble    %zu members, below is member %zu (--member K); scores are means "
                   "over all\n",
                   members, model->member);
    for (size_t k = 0; k < members; k++) {
        const iv_model *m = iv_model_member(ensemble, k);
        iv_text_printf(text, "            member %zu: %zu active, beta %.4g, loss %.5g", k,
                       count_active(m), m->beta, m->train_loss);
        if (isfinite(m->validation_loss)) {
            iv_text_printf(text, ", held-out %.5g", m->validation_loss);
        }
        iv_text_puts(text, "\n");
    }
}

/* Networks of isovae audit: nothing is known of how they were trained. */
static bool trained_elsewhere(const iv_model *model)
{
    return model->steps == 0 && model->train_rows == 0;
}

static void put_training(iv_text *text, const iv_model *ensemble, const iv_model *model)
{
    iv_text_puts(text, "trained     ");
    cli_count_text(text, model->steps);
    iv_text_puts(text, " steps");
    if (model->steps_asked > 0) {
        iv_text_puts(text, " (of ");
        cli_count_text(text, model->steps_asked);
        iv_text_printf(text, ", %s by --max-time)", model->cut_short ? "stopped" : "shortened");
    }
    iv_text_printf(text, ", seed %" PRIu64 ", on ", model->seed);
    cli_count_text(text, model->train_rows);
    iv_text_puts(text, " rows (");
    cli_count_text(text, model->validation_rows);
    iv_text_printf(text, " held out) of %s\n", or_unknown(model->data_source));
    if (model->denoise > 0) {
        iv_text_printf(text, "            with noise of SD %g on the encoder's input\n",
                       model->denoise);
    }
    iv_text_printf(text, "            data hash %016" PRIx64 ", isovae %s, %s arithmetic\n",
                   model->data_hash, or_unknown(model->version), or_unknown(model->isa));
    if (model->restarts > 0 || model->folded) {
        iv_text_printf(text, "            %zu restart%s%s\n", model->restarts,
                       model->restarts == 1 ? "" : "s", model->folded ? "; still folded" : "");
    }
    iv_text_printf(text, "            loss D + beta KL %.6g", model->train_loss);
    if (isfinite(model->validation_loss)) {
        iv_text_printf(text, ", on held-out rows %.6g", model->validation_loss);
    }
    iv_text_printf(text, "\nscores      %zu log densities of %s rows", ensemble->n_quantiles,
                   ensemble->validation_rows > 0 ? "held-out" : "training");
    if (ensemble->n_quantiles > 0) {
        iv_text_printf(text, ", median %.4g nats (higher = more probable)",
                       ensemble->quantiles[ensemble->n_quantiles / 2]);
    }
    iv_text_puts(text, "\n");
}

static void human(iv_text *text, const cli *c, const iv_model *ensemble, const iv_model *model,
                  uint64_t hash)
{
    char metric[64];
    iv_metric_format(&model->metric, metric, sizeof metric);
    iv_text_printf(text, "%s: isovae model, hash %016" PRIx64 "\n", c->argument[0], hash);
    iv_text_printf(text, "network     %s, %zu parameters (%s)\n", or_unknown(model->arch),
                   model->param_elements, model->dtype == IV_F64 ? "f64" : "f32");
    put_features(text, model);
    put_members(text, ensemble, model);
    put_latents(text, model);
    iv_text_printf(text, "loss        %s, scale %s, %s objective\n", metric,
                   iv_scale_kind_name(model->scaling.kind), objective_name(model));
    iv_text_printf(text, "beta        %.6g%s, D summed over features\n", model->beta,
                   model->beta_auto ? " (auto)" : "");
    cli_tell_beta(text, model);
    if (model->learned_elements > 0) {
        iv_text_printf(text, "noise       learned per feature, floor %g of the mean variance\n",
                       model->noise_floor);
    }
    if (trained_elsewhere(model)) {
        iv_text_printf(text,
                       "trained     elsewhere, read from ONNX files; latents were measured on rows "
                       "of %s (isovae %s)\n",
                       or_unknown(model->data_source), or_unknown(model->version));
        return;
    }
    put_training(text, ensemble, model);
    if (c->verbose) put_history(text, model);
}

/* ---- for programs ---- */

static json_t *hex(uint64_t value)
{
    char text[20];
    snprintf(text, sizeof text, "%016" PRIx64, value);
    return json_string(text);
}

static json_t *numbers(const double *values, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; values != NULL && i < n; i++)
        json_array_append_new(array, iv_json_number(values[i]));
    return array;
}

static json_t *latents_json(const iv_model *model)
{
    json_t *array = json_array();
    for (size_t j = 0; j < model->n; j++) {
        json_t *latent = json_object();
        json_object_set_new(latent, "index", json_integer((json_int_t)j));
        json_object_set_new(latent, "active", json_boolean(model->active && model->active[j]));
        json_object_set_new(latent, "variance_y",
                            model->variance_y ? iv_json_number(model->variance_y[j]) : json_null());
        json_object_set_new(latent, "kl_nats",
                            model->kl_mean ? iv_json_number(model->kl_mean[j]) : json_null());
        json_array_append_new(array, latent);
    }
    return array;
}

static json_t *history_json(const iv_model *model)
{
    json_t *array = json_array();
    for (size_t i = 0; i < model->n_history; i++) {
        const iv_history *h = &model->history[i];
        json_t *line = json_object();
        json_object_set_new(line, "step", json_integer((json_int_t)h->step));
        json_object_set_new(line, "beta", iv_json_number(h->beta));
        json_object_set_new(line, "rate", iv_json_number(h->rate));
        json_object_set_new(line, "loss", iv_json_number(h->loss));
        json_object_set_new(line, "distortion", iv_json_number(h->distortion));
        json_object_set_new(line, "kl_nats", iv_json_number(h->kl));
        json_object_set_new(line, "validation", iv_json_number(h->validation));
        json_array_append_new(array, line);
    }
    return array;
}

static void set_training(json_t *root, const iv_model *model)
{
    json_t *t = json_object();
    if (trained_elsewhere(model)) json_object_set_new(t, "elsewhere", json_true());
    json_object_set_new(t, "steps", json_integer((json_int_t)model->steps));
    if (model->steps_asked > 0) {
        json_object_set_new(t, "steps_asked", json_integer((json_int_t)model->steps_asked));
        json_object_set_new(t, "cut_short", json_boolean(model->cut_short));
    }
    json_object_set_new(t, "seed", json_integer((json_int_t)model->seed));
    json_object_set_new(t, "train_rows", json_integer((json_int_t)model->train_rows));
    json_object_set_new(t, "validation_rows", json_integer((json_int_t)model->validation_rows));
    json_object_set_new(t, "data_source", json_string(or_unknown(model->data_source)));
    json_object_set_new(t, "data_hash", hex(model->data_hash));
    json_object_set_new(t, "restarts", json_integer((json_int_t)model->restarts));
    json_object_set_new(t, "folded", json_boolean(model->folded));
    json_object_set_new(t, "train_loss", iv_json_number(model->train_loss));
    json_object_set_new(t, "validation_loss", iv_json_number(model->validation_loss));
    json_object_set_new(t, "history", history_json(model));
    json_object_set_new(root, "training", t);
}

static json_t *members_json(const iv_model *ensemble)
{
    json_t *array = json_array();
    for (size_t k = 0; k < iv_model_members(ensemble); k++) {
        const iv_model *m = iv_model_member(ensemble, k);
        json_t *member = json_object();
        json_object_set_new(member, "active_dim", json_integer((json_int_t)count_active(m)));
        json_object_set_new(member, "beta", iv_json_number(m->beta));
        json_object_set_new(member, "train_loss", iv_json_number(m->train_loss));
        json_object_set_new(member, "validation_loss", iv_json_number(m->validation_loss));
        json_array_append_new(array, member);
    }
    return array;
}

static json_t *machine(const iv_model *ensemble, const iv_model *model, uint64_t hash)
{
    char metric[64];
    json_t *root = json_object(), *names = json_array();
    iv_metric_format(&model->metric, metric, sizeof metric);
    for (size_t i = 0; i < model->d; i++) {
        json_array_append_new(names, json_string(model->names[i]));
    }
    json_object_set_new(root, "format", json_string("isovae-info/1"));
    json_object_set_new(root, "hash", hex(hash));
    json_object_set_new(root, "version", json_string(or_unknown(model->version)));
    json_object_set_new(root, "isa", json_string(or_unknown(model->isa)));
    json_object_set_new(root, "arch", json_string(or_unknown(model->arch)));
    json_object_set_new(root, "parameters", json_integer((json_int_t)model->param_elements));
    json_object_set_new(root, "dtype", json_string(model->dtype == IV_F64 ? "f64" : "f32"));
    json_object_set_new(root, "input_dim", json_integer((json_int_t)model->d));
    json_object_set_new(root, "latent_dim", json_integer((json_int_t)model->n));
    json_object_set_new(root, "active_dim", json_integer((json_int_t)count_active(model)));
    json_object_set_new(root, "loss", json_string(metric));
    json_object_set_new(root, "objective", json_string(objective_name(model)));
    json_object_set_new(root, "beta", iv_json_number(model->beta));
    json_object_set_new(root, "beta_auto", json_boolean(model->beta_auto));
    if (model->learned_elements > 0) {
        json_object_set_new(root, "noise_floor", iv_json_number(model->noise_floor));
    }
    json_object_set_new(root, "denoise", iv_json_number(model->denoise));
    json_object_set_new(root, "scale", json_string(iv_scale_kind_name(model->scaling.kind)));
    json_object_set_new(root, "features", names);
    json_object_set_new(root, "image",
                        model->height > 0 ? json_pack("[i,i,i]", (int)model->height,
                                                      (int)model->width, (int)model->channels)
                                          : json_null());
    json_object_set_new(root, "latents", latents_json(model));
    set_training(root, model);
    if (ensemble->n_more > 0) {
        json_object_set_new(root, "member", json_integer((json_int_t)model->member));
        json_object_set_new(root, "members", members_json(ensemble));
    }
    json_object_set_new(root, "score_quantiles",
                        numbers(ensemble->quantiles, ensemble->n_quantiles));
    return root;
}

isovae_status cmd_info(cli *c, isovae_error *err)
{
    iv_model *model = NULL;
    const iv_model *member = NULL;
    uint64_t hash = 0;
    iv_text text = {0};
    isovae_status status = cli_open_model(c, c->argument[0], &model, err);
    if (status == ISOVAE_OK) status = cli_member(c, model, &member, err);
    if (status == ISOVAE_OK) status = iv_model_hash(model, &hash, err);
    if (status == ISOVAE_OK && c->opt[OPT_JSON].set) {
        status = iv_json_text(machine(model, member, hash), &text, err);
    } else if (status == ISOVAE_OK) {
        human(&text, c, model, member, hash);
    }
    if (status == ISOVAE_OK) status = cli_print(&text, err);
    iv_text_free(&text);
    iv_model_free(model);
    return status;
}
