#include "theory/scorer.h"
#include "api/handles.h"
#include "base/memory.h"

#include <pthread.h>
#include <string.h>

struct isovae_scorer {
    iv_scorer *scorer;
    isovae_progress_fn *progress;
    void *user;
};

/* ---- Weights that scorers share ---- */

enum { MAX_ISAS = 4 };

struct iv_shared_weights {
    pthread_mutex_t lock;       /* taken while a scorer is made, never while it works */
    size_t members;             /* of the model */
    iv_eval **of_isa[MAX_ISAS]; /* members each */
};

isovae_status iv_shared_weights_new(size_t members, iv_shared_weights **out, isovae_error *err)
{
    iv_shared_weights *shared;
    *out = NULL;
    IV_TRY(IV_NEW(shared, 1, "a model handle", err));
    if (pthread_mutex_init(&shared->lock, NULL) != 0) {
        iv_free(shared);
        return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for a lock");
    }
    shared->members = members;
    *out = shared;
    return ISOVAE_OK;
}

static void free_weights(iv_eval **weights, size_t members)
{
    for (size_t k = 0; weights && k < members; k++) iv_eval_free(weights[k]);
    iv_free((void *)weights);
}

void iv_shared_weights_free(iv_shared_weights *shared)
{
    if (!shared) return;
    for (size_t i = 0; i < MAX_ISAS; i++) free_weights(shared->of_isa[i], shared->members);
    pthread_mutex_destroy(&shared->lock);
    iv_free(shared);
}

static isovae_status make_weights(const iv_model *model, const char *isa, iv_eval ***out,
                                  isovae_error *err)
{
    size_t members = iv_model_members(model);
    iv_eval **weights = NULL;
    isovae_status status =
        iv_alloc((void **)&weights, members, sizeof(void *), "the weights of a model", err);
    for (size_t k = 0; k < members && status == ISOVAE_OK; k++) {
        status = iv_scorer_weights(iv_model_member(model, k), isa, &weights[k], err);
    }
    if (status == ISOVAE_OK) {
        *out = weights;
    } else {
        free_weights(weights, members);
    }
    return status;
}

/* Those of the instruction set that `isa` chooses. */
static isovae_status find_weights(const isovae_model *model, const char *isa, iv_eval *const **out,
                                  isovae_error *err)
{
    iv_shared_weights *shared = model->shared;
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F32, isa);
    isovae_status status = ISOVAE_OK;
    size_t i = 0;
    pthread_mutex_lock(&shared->lock);
    while (i < MAX_ISAS - 1 && shared->of_isa[i] && shared->of_isa[i][0]->k != k) i++;
    if (!shared->of_isa[i]) {
        status = make_weights(model->model, isa, &shared->of_isa[i], err);
    }
    *out = shared->of_isa[i];
    pthread_mutex_unlock(&shared->lock);
    return status;
}

/* ---- Making one ---- */

void isovae_scorer_config_init_(isovae_scorer_config *config, size_t struct_size)
{
    memset(config, 0, struct_size);
    config->struct_size = struct_size;
}

static isovae_status parse_estimate(const char *name, iv_estimate *out, isovae_error *err)
{
    if (iv_estimate_parse(name, out)) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "estimate: '%.40s' is not known; give elbo, posterior, logdet or laplace", name);
}

isovae_status isovae_scorer_new(const isovae_model *model, const isovae_scorer_config *config,
                                isovae_scorer **out, isovae_error *err)
{
    *out = NULL;
    iv_scorer_plan plan = {.estimate = IV_ESTIMATE_ELBO};
    if (config) {
        IV_TRY(iv_check_config("scorer", config->struct_size, sizeof *config, err));
        if (config->estimate) IV_TRY(parse_estimate(config->estimate, &plan.estimate, err));
        plan.batch = config->batch;
        plan.isa = config->isa;
    }
    isovae_scorer *scorer;
    iv_eval *const *weights;
    IV_TRY(find_weights(model, plan.isa, &weights, err));
    plan.weights = weights[0];
    plan.more_weights = weights + 1;
    IV_TRY(IV_NEW(scorer, 1, "a scorer", err));
    isovae_status status = iv_scorer_new(model->model, &plan, &scorer->scorer, err);
    if (status) {
        iv_free(scorer);
        return status;
    }
    if (config) {
        scorer->progress = config->progress;
        scorer->user = config->user;
    }
    *out = scorer;
    return ISOVAE_OK;
}

void isovae_scorer_free(isovae_scorer *scorer)
{
    if (!scorer) return;
    iv_scorer_free(scorer->scorer);
    iv_free(scorer);
}

/* ---- Rows ---- */

static bool forward(void *user, const iv_progress_info *info)
{
    const isovae_scorer *scorer = user;
    return scorer->progress(scorer->user, info->stage, info->done, info->total) != 0;
}

static iv_progress progress_of(isovae_scorer *scorer)
{
    iv_progress progress = {.call = scorer->progress ? forward : NULL, .user = scorer};
    return progress;
}

/* The caller's rows of `columns` values, stride 0 standing for no gaps. */
static isovae_status view_of(const void *rows, isovae_dtype dtype, size_t n_rows, size_t columns,
                             ptrdiff_t row_stride, ptrdiff_t column_stride, iv_row_view *view,
                             isovae_error *err)
{
    if (dtype != ISOVAE_F32 && dtype != ISOVAE_F64)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "dtype %d is not known; give ISOVAE_F32 or ISOVAE_F64", (int)dtype);
    if (!rows && n_rows > 0) return iv_fail(err, ISOVAE_ERR_ARGUMENT, "rows is NULL");
    ptrdiff_t element = dtype == ISOVAE_F32 ? (ptrdiff_t)sizeof(float) : (ptrdiff_t)sizeof(double);
    *view = (iv_row_view){.values = rows,
                          .dtype = dtype == ISOVAE_F32 ? IV_F32 : IV_F64,
                          .rows = n_rows,
                          .row_stride = row_stride ? row_stride : (ptrdiff_t)columns * element,
                          .column_stride = column_stride ? column_stride : element};
    return ISOVAE_OK;
}

isovae_status isovae_scorer_score(isovae_scorer *scorer, const void *rows, isovae_dtype dtype,
                                  size_t n_rows, ptrdiff_t row_stride, ptrdiff_t column_stride,
                                  double *log_density, unsigned char *row_status, isovae_error *err)
{
    iv_row_view view;
    iv_progress progress = progress_of(scorer);
    IV_TRY(view_of(rows, dtype, n_rows, iv_scorer_features(scorer->scorer), row_stride,
                   column_stride, &view, err));
    return iv_scorer_score(scorer->scorer, &view, log_density, row_status, &progress, err);
}

isovae_status isovae_scorer_encode(isovae_scorer *scorer, const void *rows, isovae_dtype dtype,
                                   size_t n_rows, ptrdiff_t row_stride, ptrdiff_t column_stride,
                                   double *mu, double *sigma, double *y, unsigned char *row_status,
                                   isovae_error *err)
{
    iv_row_view view;
    iv_progress progress = progress_of(scorer);
    IV_TRY(view_of(rows, dtype, n_rows, iv_scorer_features(scorer->scorer), row_stride,
                   column_stride, &view, err));
    return iv_scorer_encode(scorer->scorer, &view, mu, sigma, y, row_status, &progress, err);
}

isovae_status isovae_scorer_decode(isovae_scorer *scorer, const void *latents, isovae_dtype dtype,
                                   size_t n_rows, ptrdiff_t row_stride, ptrdiff_t column_stride,
                                   double *values, unsigned char *row_status, isovae_error *err)
{
    iv_row_view view;
    iv_progress progress = progress_of(scorer);
    IV_TRY(view_of(latents, dtype, n_rows, iv_scorer_latents(scorer->scorer), row_stride,
                   column_stride, &view, err));
    return iv_scorer_decode(scorer->scorer, &view, values, row_status, &progress, err);
}
