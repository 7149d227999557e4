#include "theory/sample.h"

#include "base/memory.h"
#include "base/random.h"
#include "theory/score.h"

#include <math.h>

/* A draw of Student's t from two uniforms (Bailey 1994). */
static double student_draw(double nu, double u, double v)
{
    return sqrt(nu * (pow(u, -2 / nu) - 1)) * cos(2 * M_PI * v);
}

/* Learned noise: s_i times a normal or, for student, a t draw; `room` has 2 d numbers. */
static void add_learned_noise(const iv_model *model, const iv_key *key, double *x, double *room)
{
    bool student = model->metric.loss == IV_LOSS_STUDENT;
    if (student) {
        iv_uniforms_f64(key, 2 * model->d, room);
    } else {
        iv_normals_f64(key, model->d, room);
    }
    for (size_t i = 0; i < model->d; i++) {
        double nu = iv_model_noise_nu(model, i);
        double draw = student ? student_draw(nu, room[2 * i], room[2 * i + 1]) : room[i];
        x[i] += draw * iv_model_noise_s(model, i) * model->scaling.scale[i];
    }
}

/* Draw 1 of the row's key is the decoder's noise: a Gaussian of variance beta/2 in the metric, that
 * is beta/(2 weight) in network units, or a coin with the decoded probability. */
static void add_noise(const iv_model *model, uint64_t seed, size_t row, double *x, double *room)
{
    iv_key key = {.seed = seed, .purpose = IV_PURPOSE_SAMPLE, .row = row, .draw = 1};
    const iv_scaling *s = &model->scaling;
    if (model->metric.loss == IV_LOSS_BCE) {
        iv_uniforms_f64(&key, model->d, room);
        for (size_t i = 0; i < model->d; i++) {
            double probability = (x[i] - s->shift[i]) / s->scale[i];
            x[i] = s->shift[i] + (room[i] < probability ? s->scale[i] : 0);
        }
        return;
    }
    if (iv_loss_learned(model->metric.loss)) {
        add_learned_noise(model, &key, x, room);
        return;
    }
    iv_normals_f64(&key, model->d, room);
    for (size_t i = 0; i < model->d; i++) {
        if (iv_scaling_drops(s, i)) continue;
        x[i] += room[i] * s->scale[i] * sqrt(model->beta / (2 * s->weight[i]));
    }
}

isovae_status iv_sample_noise_known(const iv_model *model, isovae_error *err)
{
    iv_loss loss = model->metric.loss;
    if (iv_loss_absolute(loss) || loss == IV_LOSS_BCE) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                   "a model with loss %s has no noise that could be drawn",
                   loss == IV_LOSS_SSIM ? "ssim" : "weighted");
}

isovae_status iv_sample_rows(const iv_model *model, uint64_t seed, size_t n_rows, bool noise,
                             iv_pool *pool, const char *isa, double *x, isovae_error *err)
{
    size_t cells, n = model->n;
    double *z = NULL, *room = NULL;
    if (noise) IV_TRY(iv_sample_noise_known(model, err));
    if (!iv_size_mul(n_rows, n, &cells)) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "%zu rows are too many", n_rows);
    }
    isovae_status status = IV_NEW(z, cells, "samples", err);
    if (status == ISOVAE_OK) status = IV_NEW(room, 2 * model->d, "a sample", err);
    if (status == ISOVAE_OK) {
        for (size_t r = 0; r < n_rows; r++) {
            iv_key key = {.seed = seed, .purpose = IV_PURPOSE_SAMPLE, .row = r, .draw = 0};
            iv_normals_f64(&key, n, z + r * n);
        }
        status = iv_decode_rows(model, z, n_rows, pool, isa, x, err);
    }
    for (size_t r = 0; r < n_rows && noise && status == ISOVAE_OK; r++) {
        add_noise(model, seed, r, x + r * model->d, room);
    }
    iv_free(z);
    iv_free(room);
    return status;
}
