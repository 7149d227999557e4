/* A whole fit with the default recipe, from rows in memory to a calibrated model; and how good it
 * is, by the report against the known truth. */
#include "bench.h"

#include "base/memory.h"
#include "theory/analysis.h"
#include "train/plan.h"

#include <math.h>
#include <string.h>

typedef struct fit {
    bench *b;
    iv_dataset *data;
    bool quick; /* as fit --quick */
    iv_fit_result result;
} fit;

static iv_dataset *open_data(const char *spec)
{
    isovae_error err = {0};
    iv_data_options options;
    iv_dataset *data;
    iv_data_options_init(&options);
    bench_must(iv_dataset_open(spec, &options, &data, &err), &err);
    return data;
}

void *bench_fit_start(bench *b, const char *name)
{
    isovae_error err = {0};
    fit *f;
    bench_must(IV_NEW(f, 1, "a fit", &err), &err);
    f->b = b;
    f->quick = strcmp(name, "toy-fit-quick") == 0;
    f->data = open_data("toy:norm,n=50000");
    return f;
}

void bench_fit_once(void *state)
{
    fit *f = state;
    isovae_error err = {0};
    iv_fit_options options;
    iv_model_free(f->result.model);
    iv_fit_options_init(&options);
    options.quick = f->quick;
    options.isa = f->b->isa;
    options.pool = f->b->pool;
    bench_must(iv_fit(f->data, &options, &f->result, &err), &err);
}

json_t *bench_fit_quality(void *state)
{
    fit *f = state;
    isovae_error err = {0};
    iv_analysis_options options;
    iv_analysis *a;
    iv_analysis_options_init(&options);
    options.isa = f->b->isa;
    options.pool = f->b->pool;
    double begun = bench_seconds();
    bench_must(iv_analyse(f->result.model, f->data, &options, &a, &err), &err);
    double took = bench_seconds() - begun;
    json_t *norm = json_array(), *optimality = json_array(), *ratio = json_array();
    for (size_t j = 0; j < a->n; j++) {
        if (!a->latents[j].active) continue;
        json_array_append_new(norm, json_real(a->latents[j].norm_mean));
        json_array_append_new(optimality, json_real(a->latents[j].optimality_mean));
    }
    for (size_t j = 0; a->truth.known && j < a->truth.n_factors; j++) {
        json_array_append_new(ratio, json_real(a->truth.ratio[j]));
    }
    json_t *answer =
        json_pack("{s:f, s:I, s:I, s:I, s:o, s:o, s:o}", "report_ms", 1e3 * took, "steps",
                  (json_int_t)f->result.steps, "active", (json_int_t)a->active, "restarts",
                  (json_int_t)f->result.model->restarts, "norm", norm, "optimality", optimality,
                  "variance_ratio", ratio);
    double r = a->truth.density[IV_ESTIMATE_ELBO].r; /* the estimate that score takes */
    if (a->truth.density_known && isfinite(r)) json_object_set_new(answer, "r", json_real(r));
    iv_analysis_free(a);
    return answer;
}

void bench_fit_stop(void *state)
{
    fit *f = state;
    iv_model_free(f->result.model);
    iv_dataset_free(f->data);
    iv_free(f);
}

static json_t *indices(const size_t *values, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_integer((json_int_t)values[i]));
    return list;
}

/* Everything that the recipe decides, so that a peer can follow it step by step. */
json_t *bench_fit_recipe(const char *data_spec)
{
    isovae_error err = {0};
    iv_dataset *data = open_data(data_spec);
    iv_fit_options options;
    iv_fit_plan plan;
    iv_fit_result notes = {0};
    iv_fit_options_init(&options);
    bench_must(iv_fit_plan_make(data, &options, &plan, &notes, &err), &err);
    uint64_t quick_steps;
    iv_fit_plan quick;
    options.quick = true;
    bench_must(iv_fit_plan_make(data, &options, &quick, &notes, &err), &err);
    quick_steps = quick.steps;
    iv_fit_plan_free(&quick);
    json_t *shift = json_array();
    for (size_t i = 0; i < plan.d; i++)
        json_array_append_new(shift, json_real(plan.scaling.shift[i]));
    json_t *recipe = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:b, s:I, s:I, s:f, s:f, s:o, "
        "s:o}",
        "arch", plan.arch, "activation", iv_act_name(plan.act), "n", (json_int_t)plan.n, "d",
        (json_int_t)plan.d, "batch", (json_int_t)plan.batch, "steps", (json_int_t)plan.steps,
        "quick_steps", (json_int_t)quick_steps, "rate", plan.rate, "beta", plan.beta, "beta_start",
        plan.beta_start, "beta_cap", plan.beta_cap, "beta_auto", plan.beta_auto, "line_every",
        (json_int_t)plan.line_every, "varying", (json_int_t)plan.varying, "scale",
        plan.scaling.scale[0], "weight", plan.scaling.weight[0], "shift", shift, "validation",
        indices(plan.split.validation, plan.validation_rows < plan.split.n_validation
                                           ? plan.validation_rows
                                           : plan.split.n_validation));
    iv_fit_plan_free(&plan);
    iv_dataset_free(data);
    return recipe;
}
