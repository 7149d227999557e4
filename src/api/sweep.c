#include "train/sweep.h"
#include "api/answer.h"
#include "report/sweep.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

void isovae_sweep_config_init_(isovae_sweep_config *config, size_t struct_size)
{
    memset(config, 0, struct_size);
    config->struct_size = struct_size;
    if (struct_size == sizeof *config) config->beta_from = config->beta_to = NAN;
}

static isovae_status translate(isovae_context *context, const isovae_fit_config *fit,
                               const isovae_sweep_config *config, const iv_dataset *data,
                               iv_sweep_options *o, isovae_error *err)
{
    iv_sweep_options_init(o);
    IV_TRY(iv_take_fit_config(context, fit, data, &o->fit, err));
    o->fit.steps = 0;
    o->fit.resume = o->fit.checkpoint = NULL;
    if (!config) return ISOVAE_OK;
    IV_TRY(iv_check_config("sweep", config->struct_size, sizeof *config, err));
    if (config->steps && o->fit.quick)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "quick and steps exclude each other");
    if (config->steps > 100000000)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "steps: at most 100000000 per beta");
    if (config->target) IV_TRY(iv_sweep_target_parse(config->target, &o->target, err));
    if (isnan(config->beta_from) != isnan(config->beta_to) ||
        (!isnan(config->beta_from) && !(isfinite(config->beta_from) && config->beta_to > 0 &&
                                        config->beta_from > config->beta_to)))
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "beta_from and beta_to: %g and %g are not two numbers above 0, the larger "
                       "one first",
                       config->beta_from, config->beta_to);
    o->points = config->points;
    o->steps = config->steps;
    o->seeds = config->seeds;
    o->beta_from = config->beta_from;
    o->beta_to = config->beta_to;
    o->no_retrain = config->no_retrain != 0;
    o->state = config->state;
    o->resume = config->state != NULL;
    return ISOVAE_OK;
}

static isovae_status tell(const iv_sweep *sweep, const iv_dataset *data, isovae_answer **out,
                          isovae_error *err)
{
    const iv_sweep_report report = {.sweep = sweep, .data = data};
    iv_text text = {0}, html = {0};
    json_t *json = NULL;
    isovae_status status = iv_sweep_text(&report, &text, err);
    if (!status) status = iv_sweep_html(&report, &html, err);
    if (!status) status = iv_sweep_json(&report, &json, err);
    if (!status) return iv_answer_new(&text, json, &html, out, err);
    iv_text_free(&text);
    iv_text_free(&html);
    return status;
}

isovae_status isovae_sweep(isovae_context *context, const isovae_data *data,
                           const isovae_fit_config *fit, const isovae_sweep_config *config,
                           isovae_answer **out, isovae_model **model, isovae_error *err)
{
    iv_sweep_options options;
    iv_sweep *sweep;
    *out = NULL;
    if (model) *model = NULL;
    IV_TRY(translate(context, fit, config, data->set, &options, err));
    IV_TRY(iv_sweep_run(data->set, &options, &sweep, err));
    isovae_status status = tell(sweep, data->set, out, err);
    if (!status && model && sweep->model) {
        iv_model *taken = sweep->model;
        sweep->model = NULL;
        status = iv_wrap_model(taken, model, err);
    }
    if (status) {
        isovae_answer_free(*out);
        *out = NULL;
    } else if (options.state) {
        unlink(options.state); /* it has served */
    }
    iv_sweep_free(sweep);
    return status;
}
