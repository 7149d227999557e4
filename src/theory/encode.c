/* Coordinates of rows, and data from coordinates. */
#include "theory/score.h"

#include "base/memory.h"
#include "theory/rows.h"

#include <math.h>

isovae_status iv_check_coordinates(const iv_model *model, isovae_error *err)
{
    if (model->splines != NULL && model->splines[0].n > 0) return ISOVAE_OK;
    return iv_fail(
        err, ISOVAE_ERR_UNSUPPORTED,
        "the model holds no isometric coordinates (it was not calibrated on its training "
        "data); encode without --isometric");
}

isovae_status iv_encode_rows(const iv_model *model, const iv_dataset *data, const size_t *rows,
                             size_t n_rows, iv_pool *pool, const char *isa, double *mu,
                             double *sigma, double *y, isovae_error *err)
{
    size_t n = model->n;
    if (y != NULL) IV_TRY(iv_check_coordinates(model, err));
    if (n_rows == 0) return ISOVAE_OK;
    iv_pass_plan plan = {.precision = IV_PRECISION_F32, .isa = isa, .pool = pool, .rows = n_rows};
    iv_pass *pass = NULL;
    iv_rows *r = NULL;
    isovae_status status = iv_pass_new(model, data, &plan, &pass, err);
    if (status == ISOVAE_OK) status = iv_rows_new(pass, rows, n_rows, &r, err);
    for (size_t i = 0; i < n_rows * n && status == ISOVAE_OK; i++) {
        if (mu != NULL) mu[i] = r->mu[i];
        if (sigma != NULL) sigma[i] = exp(r->logvar[i] / 2);
        if (y != NULL) y[i] = iv_spline_y(&model->splines[i % n], model->beta, r->mu[i]);
    }
    iv_rows_free(r);
    iv_pass_free(pass);
    return status;
}

typedef struct decoding {
    const double *z;
    double *x;
} decoding;

static void decode_chunk(void *user, iv_lane *lane, size_t first, size_t count)
{
    const decoding *c = user;
    iv_lane_decode(lane, count, c->z + first * lane->pass->n);
    iv_lane_data(lane, count, c->x + first * lane->pass->d);
}

isovae_status iv_decode_rows(const iv_model *model, const double *z, size_t n_rows, iv_pool *pool,
                             const char *isa, double *x, isovae_error *err)
{
    if (n_rows == 0) return ISOVAE_OK;
    iv_pass_plan plan = {.precision = IV_PRECISION_F32, .isa = isa, .pool = pool, .rows = n_rows};
    iv_pass *pass;
    IV_TRY(iv_pass_new(model, NULL, &plan, &pass, err));
    decoding c = {.z = z, .x = x};
    isovae_status status = iv_pass_run(pass, "decoding", n_rows, decode_chunk, NULL, &c, err);
    iv_pass_free(pass);
    return status;
}
