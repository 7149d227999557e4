/* Latents in another order and with other signs: rows of the heads and columns of the decoder's
 * first layers move, and the function stays what it was. */
#include "model/latent_layers.h"
#include "model/model.h"

#include "base/memory.h"
#include "graph/node.h"
#include "model/safetensors.h"

#include <stdint.h>
#include <string.h>

static isovae_status check_order(size_t n, const size_t *order, const double *sign,
                                 isovae_error *err)
{
    unsigned char *seen;
    bool ok = true;
    IV_TRY(IV_NEW(seen, n, "the order of the latents", err));
    for (size_t j = 0; j < n; j++) {
        ok = ok && order[j] < n && seen[order[j]] == 0 && (sign[j] == 1 || sign[j] == -1);
        if (ok) seen[order[j]] = 1;
    }
    iv_free(seen);
    if (ok) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "an order of latents must name each of the %zu once, with a sign of 1 or -1", n);
}

/* new[at] = sign old[from], in elements */
static void move(iv_model *model, const void *old, size_t at, size_t from, double sign)
{
    if (model->dtype == IV_F64) {
        ((double *)model->params)[at] = sign * ((const double *)old)[from];
    } else {
        ((float *)model->params)[at] = (float)sign * ((const float *)old)[from];
    }
}

/* Rows of a weight (n, cols) or elements of a bias (cols 1). */
static void move_rows(iv_model *model, const void *old, const iv_param *param, const size_t *order,
                      const double *sign)
{
    if (model->n == 0) return;
    size_t cols = param->size / model->n;
    for (size_t j = 0; j < model->n; j++) {
        for (size_t i = 0; i < cols; i++) {
            move(model, old, param->offset + j * cols + i, param->offset + order[j] * cols + i,
                 sign == NULL ? 1 : sign[j]);
        }
    }
}

static void move_head(iv_model *model, const void *old, const iv_node *head, const size_t *order,
                      const double *sign)
{
    for (size_t p = 0; p < head->n_params; p++) {
        if (head->params[p] == SIZE_MAX) continue;
        move_rows(model, old, &model->encoder->params[head->params[p]], order, sign);
    }
}

/* Columns of a weight (rows, n). A weight that two layers share is written twice, with the same. */
static void move_columns(iv_model *model, const void *old, const iv_param *param,
                         const size_t *order, const double *sign)
{
    for (size_t at = 0; at < param->size; at += model->n) {
        for (size_t j = 0; j < model->n; j++) {
            move(model, old, param->offset + at + j, param->offset + at + order[j], sign[j]);
        }
    }
}

typedef struct per_latent {
    void *params;
    unsigned char *active;
    double *kl_mean, *variance_y;
    iv_spline *splines;
} per_latent;

static void per_latent_free(per_latent *old)
{
    iv_free(old->params);
    iv_free(old->active);
    iv_free(old->kl_mean);
    iv_free(old->variance_y);
    iv_free(old->splines); /* their knots belong to the model */
}

static isovae_status copy_of(void **out, const void *from, size_t count, size_t size,
                             isovae_error *err)
{
    IV_TRY(iv_alloc(out, count, size, "a copy of the latents' parameters", err));
    memcpy(*out, from, count * size);
    return ISOVAE_OK;
}

static isovae_status copy_old(const iv_model *model, per_latent *old, isovae_error *err)
{
    size_t n = model->n;
    IV_TRY(copy_of(&old->params, model->params, model->param_elements, iv_dtype_size(model->dtype),
                   err));
    IV_TRY(copy_of((void **)&old->active, model->active, n, sizeof *old->active, err));
    IV_TRY(copy_of((void **)&old->kl_mean, model->kl_mean, n, sizeof *old->kl_mean, err));
    IV_TRY(copy_of((void **)&old->variance_y, model->variance_y, n, sizeof *old->variance_y, err));
    return copy_of((void **)&old->splines, model->splines, n, sizeof *old->splines, err);
}

isovae_status iv_model_permute(iv_model *model, const size_t *order, const double *sign,
                               isovae_error *err)
{
    const iv_node *mu, *logvar;
    per_latent old = {0};
    IV_TRY(check_order(model->n, order, sign, err));
    IV_TRY(iv_latent_head(model->encoder, model->mu, false, &mu, err));
    IV_TRY(iv_latent_head(model->encoder, model->logvar, false, &logvar, err));
    IV_TRY(iv_latent_readers_check(model->decoder, err));
    for (size_t j = 0; j < model->n; j++) {
        if (sign[j] < 0 && mu->attributes.act != IV_ACT_NONE) {
            return iv_latents_fixed("an activation follows", mu->name, err);
        }
    }
    isovae_status status = copy_old(model, &old, err);
    if (status != ISOVAE_OK) {
        per_latent_free(&old);
        return status;
    }
    move_head(model, old.params, mu, order, sign);
    move_head(model, old.params, logvar, order, NULL);
    for (size_t i = 0; i < model->decoder->n_nodes; i++) {
        const iv_node *node = &model->decoder->nodes[i];
        if (!iv_node_reads(node, model->decoder->inputs[0])) continue;
        move_columns(model, old.params, &model->decoder->params[node->params[IV_DENSE_WEIGHT]],
                     order, sign);
    }
    for (size_t j = 0; j < model->n; j++) {
        model->active[j] = old.active[order[j]];
        model->kl_mean[j] = old.kl_mean[order[j]];
        model->variance_y[j] = old.variance_y[order[j]];
        model->splines[j] = old.splines[order[j]];
        if (sign[j] < 0) iv_spline_mirror(&model->splines[j]);
    }
    per_latent_free(&old);
    return ISOVAE_OK;
}
