/* A checkpoint is a model file with the optimiser's state beside it. */
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "model/file.h"
#include "train/trainer.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { vectors = 5 };
static const char *const vector_names[vectors] = {"train.params", "train.moment1", "train.moment2",
                                                  "train.best", "train.kept"};

static void *vector(const iv_trainer *t, size_t i)
{
    void *all[vectors] = {t->params, t->moment1, t->moment2, t->best, t->kept};
    return all[i];
}

/* The numbers of the training state, by their names in the file. */
enum { counts = 9, reals = 13 };
static const char *const count_names[counts] = {"step",      "attempt",    "best_step",
                                                "stale",     "sum_steps",  "planned_steps",
                                                "bend_step", "line_every", "noise_steps"};
static const char *const real_names[reals] = {
    "beta",     "follow",         "best_value", "kept_value",  "kept_beta",
    "sum_loss", "sum_distortion", "sum_kl",     "rate_factor", "bend_done",
    "seconds",  "seconds_before", "norm"};
typedef struct numbers {
    uint64_t *count[counts];
    double *real[reals];
} numbers;

static numbers numbers_of(iv_trainer *t)
{
    iv_fit_plan *p = t->plan;
    return (numbers){.count = {&t->step, &t->attempt, &t->best_step, &t->stale, &t->sum_steps,
                               &p->steps, &p->bend_step, &p->line_every, &t->noise_steps},
                     .real = {&t->beta, &t->follow, &t->best_value, &t->kept_value, &t->kept_beta,
                              &t->sum_loss, &t->sum_distortion, &t->sum_kl, &t->rate_factor,
                              &p->bend_done, &t->budget.used, &t->seconds_before, &t->norm}};
}

/* As text: JSON has no infinity or NaN. 17 digits keep a double exactly. */
static json_t *exact(double value)
{
    char text[40];
    iv_format_double(text, sizeof text, value, 17);
    return json_string(text);
}

static bool read_exact(const json_t *object, const char *key, double *out)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text && iv_parse_double(text, strlen(text), out);
}

static bool read_count(const json_t *object, const char *key, uint64_t *out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

/* Everything that decides the bytes of the result, as text under the option that sets it, so that a
 * resume with other options can name the one that differs. */
static json_t *settings(const iv_trainer *t)
{
    const iv_fit_plan *p = t->plan;
    char metric[96], hash[24], seed[24];
    iv_metric_format(&p->metric, metric, sizeof metric);
    snprintf(hash, sizeof hash, "%016" PRIx64, t->data->hash);
    snprintf(seed, sizeof seed, "%" PRIu64, p->seed);
    json_t *o = json_object();
    json_object_set_new(o, "DATA", json_string(hash));
    json_object_set_new(o, "--seed", json_string(seed));
    json_object_set_new(o, "--latent-dim", json_integer((json_int_t)p->n));
    json_object_set_new(o, "--loss", json_string(metric));
    json_object_set_new(o, "--objective", json_integer((json_int_t)p->objective));
    json_object_set_new(o, "--arch", json_string(p->arch));
    json_object_set_new(o, "--activation", json_string(iv_act_name(p->act)));
    json_object_set_new(o, "--init", json_integer((json_int_t)p->init));
    json_object_set_new(o, "--scale", json_string(iv_scale_kind_name(p->scale)));
    json_object_set_new(o, "--steps", json_integer((json_int_t)p->asked_steps));
    json_object_set_new(o, "--batch-size", json_integer((json_int_t)p->batch));
    json_object_set_new(o, "--lr", exact(p->rate));
    json_object_set_new(o, "--lr-schedule", json_integer((json_int_t)p->schedule));
    json_object_set_new(o, "--lr-warmup", json_integer((json_int_t)p->rate_warmup));
    json_object_set_new(o, "--weight-decay", exact(p->weight_decay));
    json_object_set_new(o, "--kl-warmup", exact(p->kl_warmup));
    json_object_set_new(o, "--beta", exact(p->beta));
    json_object_set_new(o, "--beta-start", exact(p->beta_start));
    json_object_set_new(o, "--noise-floor", exact(p->noise_floor));
    json_object_set_new(o, "--noise-start", p->noise_at_once ? exact(p->noise_start) : json_null());
    json_object_set_new(o, "--denoise", exact(p->denoise));
    json_object_set_new(o, "--patience", json_integer((json_int_t)p->patience));
    json_object_set_new(o, "--validation", exact(p->validation));
    json_object_set_new(o, "--ensemble", json_integer((json_int_t)p->members));
    snprintf(hash, sizeof hash, "%016" PRIx64,
             t->options->validation_data ? t->options->validation_data->hash : 0);
    json_object_set_new(o, "--validation FILE", json_string(hash));
    return o;
}

isovae_status iv_checkpoint_write(const iv_trainer *t, const char *path, isovae_error *err)
{
    iv_model *model = t->model;
    iv_extra_tensor extra[vectors];
    for (size_t i = 0; i < vectors; i++)
        extra[i] = (iv_extra_tensor){
            .name = vector_names[i], .dtype = t->k->dtype, .size = model->param_elements};
    isovae_status status = ISOVAE_OK;
    for (size_t i = 0; i < vectors && !status; i++) {
        status = iv_alloc(&extra[i].data, model->param_elements, t->k->size, "a checkpoint", err);
        if (status) break;
        if (t->k->dtype == IV_F32)
            t->k->download_f32(extra[i].data, vector(t, i), model->param_elements);
        else
            t->k->download(extra[i].data, vector(t, i), model->param_elements);
    }
    json_t *state = NULL;
    unsigned char *bytes = NULL;
    size_t length = 0;
    if (!status) {
        state = json_object();
        json_object_set_new(state, "settings", settings(t));
        iv_trainer now = *t;
        now.budget.used = iv_budget_seconds(&t->budget, iv_clock());
        numbers all = numbers_of(&now);
        for (size_t i = 0; i < counts; i++)
            json_object_set_new(state, count_names[i], json_integer((json_int_t)*all.count[i]));
        for (size_t i = 0; i < reals; i++)
            json_object_set_new(state, real_names[i], exact(*all.real[i]));
        model->beta = t->beta > 0.0 ? t->beta : t->plan->beta;
        model->steps = t->step; /* whoever looks into a checkpoint sees what it has learned */
        if (t->k->dtype == IV_F32)
            t->k->download_f32(model->params, t->params, model->param_elements);
        else
            t->k->download(model->params, t->params, model->param_elements);
        /* the finished members go along as if they were this model's */
        model->more = (iv_model **)(uintptr_t)t->finished;
        model->n_more = t->plan->member;
        status = iv_model_write(model, extra, vectors, state, &bytes, &length, err);
        model->more = NULL;
        model->n_more = 0;
    }
    if (!status) status = iv_file_write(path, bytes, length, err);
    json_decref(state);
    iv_free(bytes);
    for (size_t i = 0; i < vectors; i++) iv_free(extra[i].data);
    return status;
}

/* Names the first option under which the checkpoint was made and this run was not. */
static isovae_status same_settings(const iv_trainer *t, const json_t *saved, const char *path,
                                   isovae_error *err)
{
    json_t *mine = settings(t);
    const char *key;
    json_t *value;
    isovae_status status = ISOVAE_OK;
    json_object_foreach(mine, key, value)
    {
        if (!json_equal(value, json_object_get(saved, key))) {
            status =
                iv_fail(err, ISOVAE_ERR_ARGUMENT,
                        "%s: was made with another %s; resume with the options (and the data) of "
                        "the first run, or delete it to begin anew",
                        path, key);
            break;
        }
    }
    json_decref(mine);
    return status;
}

/* What --max-time may have made of the plan. */
static bool plan_holds(const iv_fit_plan *plan, uint64_t step)
{
    return plan->steps >= 1 && plan->steps <= plan->asked_steps && plan->line_every >= 1 &&
           plan->bend_step <= step && (plan->bend_step == 0 || plan->bend_step < plan->steps) &&
           plan->bend_done >= 0.0 && plan->bend_done < 1.0;
}

static isovae_status restore(iv_trainer *t, const iv_model *saved, const json_t *state,
                             const unsigned char *bytes, size_t length, const char *path,
                             isovae_error *err)
{
    iv_model *model = t->model;
    IV_TRY(same_settings(t, json_object_get(state, "settings"), path, err));
    numbers all = numbers_of(t);
    bool complete = true;
    t->norm = 0.0; /* which earlier checkpoints lack: it is measured anew */
    for (size_t i = 0; i < counts && complete; i++)
        complete = read_count(state, count_names[i], all.count[i]);
    for (size_t i = 0; i < reals && complete; i++)
        complete = read_exact(state, real_names[i], all.real[i]) ||
                   (all.real[i] == &t->norm && !json_object_get(state, real_names[i]));
    if (!complete || t->attempt > 2 || t->step > t->plan->steps || !plan_holds(t->plan, t->step) ||
        !(t->budget.used >= 0.0 && isfinite(t->budget.used)) ||
        !(t->seconds_before >= 0.0 && isfinite(t->seconds_before)) ||
        !(t->norm >= 0.0 && isfinite(t->norm)))
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "%s: its training state is incomplete; delete it to begin anew", path);
    size_t size = model->param_elements;
    if (saved->param_elements != size || !iv_graph_same(saved->encoder, model->encoder) ||
        !iv_graph_same(saved->decoder, model->decoder))
        return iv_fail(err, ISOVAE_ERR_FORMAT, "%s: holds another network; delete it to begin anew",
                       path);
    void *staged;
    IV_TRY(iv_alloc(&staged, size, t->k->size, "a checkpoint", err));
    isovae_status status = ISOVAE_OK;
    for (size_t i = 0; i < vectors && !status; i++) {
        status =
            iv_model_read_tensor(bytes, length, vector_names[i], t->k->dtype, size, staged, err);
        if (status) break;
        if (t->k->dtype == IV_F32)
            t->k->upload_f32(vector(t, i), staged, size);
        else
            t->k->upload(vector(t, i), staged, size);
    }
    iv_free(staged);
    IV_TRY(status);
    /* the history grows at powers of two (trainer.c): give it that room */
    size_t room = 1;
    while (room < saved->n_history) room *= 2;
    iv_history *history;
    IV_TRY(IV_NEW(history, room, "the history", err));
    if (saved->n_history) memcpy(history, saved->history, saved->n_history * sizeof *history);
    iv_free(model->history);
    model->history = history;
    model->n_history = saved->n_history;
    model->restarts = saved->restarts;
    return ISOVAE_OK;
}

/* *saved is NULL where there is no such file. */
static isovae_status open_checkpoint(const char *path, unsigned char **bytes, size_t *length,
                                     iv_model **saved, json_t **state, isovae_error *err)
{
    struct stat about;
    *bytes = NULL;
    *saved = NULL;
    *state = NULL;
    if (stat(path, &about) != 0 && errno == ENOENT) return ISOVAE_OK;
    IV_TRY(iv_file_read(path, (size_t)1 << 36, bytes, length, err));
    isovae_status status = iv_model_read(*bytes, *length, path, saved, state, err);
    if (!status && !*state)
        status = iv_fail(
            err, ISOVAE_ERR_ARGUMENT,
            "%s: is a finished model, not a checkpoint; use --init-from to start from it", path);
    return status;
}

isovae_status iv_checkpoint_read(iv_trainer *t, const char *path, bool *found, isovae_error *err)
{
    unsigned char *bytes;
    size_t length = 0;
    iv_model *saved;
    json_t *state;
    isovae_status status = open_checkpoint(path, &bytes, &length, &saved, &state, err);
    if (!status && saved) status = restore(t, saved, state, bytes, length, path, err);
    *found = !status && saved;
    json_decref(state);
    iv_model_free(saved);
    iv_free(bytes);
    return status;
}

isovae_status iv_checkpoint_members(const char *path, iv_model **out, size_t *n, isovae_error *err)
{
    unsigned char *bytes;
    size_t length = 0;
    iv_model *saved;
    json_t *state;
    *n = 0;
    isovae_status status = open_checkpoint(path, &bytes, &length, &saved, &state, err);
    if (!status && saved && saved->member != saved->n_more)
        status =
            iv_fail(err, ISOVAE_ERR_FORMAT,
                    "%s: its members are not those of a training; delete it to begin anew", path);
    if (!status && saved) {
        for (size_t k = 0; k < saved->n_more; k++) out[k] = saved->more[k];
        *n = saved->n_more;
        saved->n_more = 0;
    }
    json_decref(state);
    iv_model_free(saved);
    iv_free(bytes);
    return status;
}
