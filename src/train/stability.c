#include "train/stability.h"

#include "base/file.h"
#include "kernels/kernels.h"
#include "model/file.h"
#include "theory/score.h"
#include "theory/statistics.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { COMMON_ROWS = 5000, LEAST_HELD_OUT = 500, MOST_DRAFT = 1 << 20 };
static const char hash_file[] = "options.hash";

/* ---- files ---- */

isovae_status iv_stability_path(const char *folder, uint64_t seed, bool checkpoint, iv_text *out,
                                isovae_error *err)
{
    iv_text_printf(out, "%s/run-%llu.%s", folder, (unsigned long long)seed,
                   checkpoint ? "ckpt" : "safetensors");
    return iv_text_check(out, err);
}

/* A description file counts by its content, not by its name. */
static isovae_status put_arch(const char *arch, iv_text *text, isovae_error *err)
{
    size_t length = arch != NULL ? strlen(arch) : 0;
    unsigned char *draft = NULL;
    if (length < 5 || strcmp(arch + length - 5, ".json") != 0) {
        iv_text_printf(text, "arch %s\n", arch != NULL ? arch : "-");
        return ISOVAE_OK;
    }
    isovae_status status = iv_file_read(arch, MOST_DRAFT, &draft, &length, err);
    if (status != ISOVAE_OK) return iv_fail_prefix(err, status, "--arch");
    iv_text_printf(text, "arch %016llx\n", (unsigned long long)iv_hash64(draft, length, 0));
    iv_free(draft);
    return ISOVAE_OK;
}

isovae_status iv_stability_fingerprint(const iv_dataset *data, const iv_fit_options *fit,
                                       uint64_t *out, isovae_error *err)
{
    const iv_kernels *k = iv_kernels_get(fit->precision, fit->isa);
    const iv_dataset *held = fit->validation_data;
    iv_text t = {0};
    isovae_status status = put_arch(fit->arch, &t, err);
    iv_text_printf(&t, "isovae %s %s %d\n", ISOVAE_VERSION, k != NULL ? k->isa : "-",
                   (int)fit->precision);
    iv_text_printf(
        &t, "data %016llx %016llx %016llx\n", (unsigned long long)data->hash,
        (unsigned long long)(held != NULL ? held->hash : 0),
        (unsigned long long)(data->group != NULL
                                 ? iv_hash64(data->group, data->rows * sizeof *data->group, 0)
                                 : 0));
    iv_text_printf(&t, "%zu %.17g %.17g %.17g %.17g %s %d %d %zu %zu %zu\n", fit->latent_dim,
                   fit->beta, fit->beta_floor, fit->beta_start, fit->kl_warmup,
                   fit->loss != NULL ? fit->loss : "-", (int)fit->objective, fit->activation,
                   fit->epochs, fit->steps, fit->batch_size);
    iv_text_printf(&t, "%.17g %d %d %.17g %.17g %d %d %zu %.17g %d %d\n", fit->rate,
                   (int)fit->schedule, (int)fit->schedule_set, fit->weight_decay, fit->validation,
                   (int)fit->init, fit->scale, fit->patience, fit->max_seconds,
                   (int)fit->no_restart, (int)fit->quick);
    iv_text_printf(&t, "%d %.17g %.17g %.17g %zu\n", fit->noise, fit->noise_floor, fit->noise_start,
                   fit->denoise, fit->rate_warmup);
    if (status == ISOVAE_OK) status = iv_text_check(&t, err);
    if (status == ISOVAE_OK) *out = iv_hash64(t.data, t.length, 0);
    iv_text_free(&t);
    return status;
}

/* *fresh: the folder has no runs of ours yet, and now says what it will hold. */
static isovae_status claim_folder(const char *folder, uint64_t hash, bool *fresh, isovae_error *err)
{
    iv_text path = {0};
    char wanted[24];
    unsigned char *seen = NULL;
    size_t length = 0;
    snprintf(wanted, sizeof wanted, "%016llx\n", (unsigned long long)hash);
    iv_text_printf(&path, "%s/%s", folder, hash_file);
    isovae_status status = iv_text_check(&path, err);
    if (status == ISOVAE_OK) {
        *fresh = access(path.data, F_OK) != 0;
        if (*fresh) {
            status = iv_file_write(path.data, wanted, strlen(wanted), err);
        } else {
            status = iv_file_read(path.data, 4096, &seen, &length, err);
        }
    }
    if (status == ISOVAE_OK && !*fresh &&
        (length != strlen(wanted) || memcmp(seen, wanted, length) != 0)) {
        status = iv_fail(err, ISOVAE_ERR_ARGUMENT,
                         "%s: holds runs of other data or options; name another folder, or remove "
                         "this one",
                         folder);
    }
    iv_free(seen);
    iv_text_free(&path);
    return status;
}

void iv_stability_clean(const iv_stability *s, const char *folder)
{
    iv_text path = {0};
    for (size_t i = 0; i < s->n_runs; i++) {
        for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
            isovae_error ignored;
            isovae_status status =
                iv_stability_path(folder, s->runs[i].seed, checkpoint == 1, &path, &ignored);
            if (status == ISOVAE_OK) unlink(path.data);
            iv_text_free(&path);
        }
    }
    iv_text_printf(&path, "%s/%s", folder, hash_file);
    if (!path.failed) unlink(path.data);
    iv_text_free(&path);
    rmdir(folder);
}

isovae_status iv_stability_same_split(const iv_dataset *data, const iv_fit_options *fit,
                                      double **group, isovae_error *err)
{
    iv_split split;
    *group = NULL;
    if (fit->validation_data != NULL || data->group != NULL) return ISOVAE_OK;
    IV_TRY(iv_split_rows(data, isnan(fit->validation) ? 0.1 : fit->validation, fit->seed, &split,
                         err));
    isovae_status status = IV_NEW(*group, data->rows, "the split", err);
    for (size_t i = 0; i < split.n_validation && status == ISOVAE_OK; i++) {
        (*group)[split.validation[i]] = 1;
    }
    iv_split_free(&split);
    return status;
}

/* ---- progress over all runs ---- */

typedef struct all_runs {
    const iv_progress *to;
    size_t run, runs;
    double share; /* of this run that is done */
    char stage[32];
} all_runs;

/* A run that begins anew does not go back; what comes after its steps stands at its end. */
static bool on_progress(void *user, const iv_progress_info *info)
{
    all_runs *a = user;
    iv_progress_info told = *info;
    bool training = info->stage != NULL && strcmp(info->stage, "training") == 0;
    double total = training && info->total > 0 ? info->total : 100;
    double share = training && info->total > 0 ? info->done / info->total : a->share;
    a->share = fmax(a->share, share);
    told.stage = a->stage;
    told.total = (double)a->runs * total;
    told.done = ((double)a->run + a->share) * total;
    told.unit = training ? info->unit : "%";
    if (!training) return a->to->call(a->to->user, &told);
    return iv_progress_report(a->to, &told);
}

/* ---- a run ---- */

/* What a model says of the common rows. */
static isovae_status measure(const iv_model *model, const iv_dataset *data, const iv_stability *s,
                             const iv_fit_options *fit, iv_stability_run *run, isovae_error *err)
{
    size_t n = model->n;
    double *y = NULL;
    run->n = n;
    run->beta = model->beta;
    run->steps = model->steps;
    run->restarts = model->restarts;
    run->folded = model->folded;
    IV_TRY(IV_NEW(run->latent, n, "latents", err));
    for (size_t j = 0; j < n; j++) {
        if (model->active[j]) run->latent[run->active++] = j;
    }
    size_t active = run->active;
    IV_TRY(IV_NEW(run->y, s->rows * active, "coordinates", err));
    IV_TRY(IV_NEW(run->variance, active, "coordinates", err));
    IV_TRY(IV_NEW(y, s->rows * n, "coordinates", err));
    isovae_status status =
        iv_encode_rows(model, data, s->row, s->rows, fit->pool, fit->isa, NULL, NULL, y, err);
    for (size_t k = 0; k < active && status == ISOVAE_OK; k++) {
        for (size_t r = 0; r < s->rows; r++) {
            run->y[r * active + k] = y[r * n + run->latent[k]];
        }
        run->variance[k] = iv_moments_of(s->rows, run->y + k, active).variance + model->beta / 2;
    }
    iv_free(y);
    return status;
}

static isovae_status train(const iv_dataset *data, const iv_fit_options *fit,
                           const char *checkpoint, const char *path, iv_model **out,
                           isovae_error *err)
{
    iv_fit_options options = *fit;
    iv_fit_result result;
    options.checkpoint = checkpoint;
    options.resume = access(checkpoint, R_OK) == 0 ? checkpoint : NULL;
    IV_TRY(iv_fit(data, &options, &result, err));
    isovae_status status = iv_model_save(result.model, path, err);
    if (status != ISOVAE_OK) {
        iv_model_free(result.model);
        return status;
    }
    unlink(checkpoint);
    *out = result.model;
    return ISOVAE_OK;
}

/* A model that stands in the folder is taken from there. One that cannot be read, or is of other
 * data or another seed, is made anew. */
static bool take_kept(const iv_dataset *data, const char *path, uint64_t seed, iv_model **out)
{
    isovae_error ignored;
    if (access(path, R_OK) != 0 || iv_model_load(path, out, &ignored) != ISOVAE_OK) return false;
    if ((*out)->seed == seed && (*out)->data_hash == data->hash && (*out)->d == data->cols) {
        return true;
    }
    iv_model_free(*out);
    *out = NULL;
    return false;
}

static isovae_status make_run(const iv_dataset *data, const iv_stability_options *options,
                              const iv_fit_options *fit, bool fresh, iv_stability *s,
                              iv_stability_run *run, isovae_error *err)
{
    iv_text path = {0}, checkpoint = {0};
    iv_model *model = NULL;
    isovae_status status = iv_stability_path(options->folder, fit->seed, false, &path, err);
    if (status == ISOVAE_OK) {
        status = iv_stability_path(options->folder, fit->seed, true, &checkpoint, err);
    }
    if (status == ISOVAE_OK) {
        run->seed = fit->seed;
        run->kept = !fresh && take_kept(data, path.data, fit->seed, &model);
        if (fresh) unlink(checkpoint.data);
        if (!run->kept) status = train(data, fit, checkpoint.data, path.data, &model, err);
    }
    if (status == ISOVAE_ERR_DIVERGED) {
        run->failed = true;
        s->failed++;
        snprintf(run->reason, sizeof run->reason, "%.150s", err != NULL ? err->message : "");
        status = s->failed == options->runs ? status : ISOVAE_OK;
    } else if (status == ISOVAE_OK) {
        s->kept += run->kept;
        status = measure(model, data, s, fit, run, err);
    }
    iv_model_free(model);
    iv_text_free(&path);
    iv_text_free(&checkpoint);
    return status;
}

/* ---- all runs ---- */

static isovae_status choose_rows(const iv_dataset *data, iv_stability *s, isovae_error *err)
{
    size_t *good = NULL, *held = NULL, n = 0, n_held = 0;
    isovae_status status = IV_NEW(good, data->rows, "row numbers", err);
    if (status == ISOVAE_OK) status = IV_NEW(held, data->rows, "row numbers", err);
    for (size_t r = 0; r < data->rows && status == ISOVAE_OK; r++) {
        if (data->status != NULL && data->status[r] != IV_ROW_OK) continue;
        good[n++] = r;
        if (data->group != NULL && data->group[r] != 0) held[n_held++] = r;
    }
    s->held_out = n_held >= LEAST_HELD_OUT;
    if (status == ISOVAE_OK) {
        status = iv_spread_rows(s->held_out ? held : good, s->held_out ? n_held : n, COMMON_ROWS,
                                &s->row, &s->rows, err);
    }
    iv_free(good);
    iv_free(held);
    return status;
}

static isovae_status compare(iv_stability *s, double least, isovae_error *err)
{
    iv_agreement_run *runs = NULL;
    IV_TRY(IV_NEW(runs, s->n_runs, "runs", err));
    for (size_t i = 0; i < s->n_runs; i++) {
        const iv_stability_run *run = &s->runs[i];
        runs[i] = (iv_agreement_run){run->active, run->latent, run->y, run->variance};
    }
    isovae_status status = iv_agree(s->n_runs, s->rows, runs, least, &s->agreement, err);
    iv_free(runs);
    return status;
}

static isovae_status make_all(const iv_dataset *data, const iv_stability_options *options,
                              iv_stability *s, isovae_error *err)
{
    iv_fit_options fit = options->fit;
    all_runs watch = {.to = &options->fit.progress, .runs = options->runs};
    uint64_t hash = 0;
    bool fresh = true;
    snprintf(watch.stage, sizeof watch.stage, "%zu runs", options->runs);
    if (fit.progress.call != NULL) fit.progress = (iv_progress){on_progress, &watch};
    fit.resume = fit.log = fit.tensorboard = fit.init_from = NULL;
    IV_TRY(iv_stability_fingerprint(data, &options->fit, &hash, err));
    IV_TRY(claim_folder(options->folder, hash, &fresh, err));
    IV_TRY(choose_rows(data, s, err));
    IV_TRY(IV_NEW(s->runs, options->runs, "runs", err));
    s->n_runs = options->runs;
    for (size_t i = 0; i < options->runs; i++) {
        watch.run = i;
        watch.share = 0;
        fit.seed = options->fit.seed + i;
        IV_TRY(make_run(data, options, &fit, fresh, s, &s->runs[i], err));
    }
    return compare(s, options->least, err);
}

isovae_status iv_stability_make(const iv_dataset *data, const iv_stability_options *options,
                                iv_stability **out, isovae_error *err)
{
    iv_stability *s = NULL;
    if (options->runs == 0 || options->runs > IV_STABILITY_MOST_RUNS) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--seeds: %zu runs; give 2 to %d", options->runs,
                       (int)IV_STABILITY_MOST_RUNS);
    }
    IV_TRY(IV_NEW(s, 1, "the runs", err));
    isovae_status status = make_all(data, options, s, err);
    if (status != ISOVAE_OK) {
        iv_stability_free(s);
        return status;
    }
    *out = s;
    return ISOVAE_OK;
}

void iv_stability_free(iv_stability *s)
{
    if (s == NULL) return;
    for (size_t i = 0; i < s->n_runs; i++) {
        iv_free(s->runs[i].latent);
        iv_free(s->runs[i].y);
        iv_free(s->runs[i].variance);
    }
    iv_free(s->runs);
    iv_free(s->row);
    iv_agreement_free(s->agreement);
    iv_free(s);
}
