/* Sheets of pictures: traversals, reconstructions, loading maps. */
#include "report/image.h"

#include "base/order.h"
#include "base/random.h"
#include "theory/score.h"
#include "theory/walk.h"

#include <math.h>
#include <string.h>

/* Data units to 0..255: bytes as they are, values of [0, 1] by 255, others by the range that the
 * model's data have. */
typedef struct tone {
    double shift, factor;
} tone;

static tone tone_of(const iv_report_context *context, const size_t *rows, size_t n_rows, size_t d)
{
    const iv_dataset *data = context->data;
    if (data->bytes != NULL) return (tone){0, 1};
    double lo = 0, hi = 1;
    for (size_t r = 0; data->values != NULL && r < n_rows; r++) {
        const float *x = data->values + rows[r] * d;
        for (size_t i = 0; i < d; i++) {
            if (x[i] < lo) lo = x[i];
            if (x[i] > hi) hi = x[i];
        }
        iv_dataset_use(data, IV_ROWS_TOUCHED, rows + r, 1);
    }
    return (tone){lo, 255 / (hi - lo)};
}

static unsigned char level(tone t, double value)
{
    double v = (value - t.shift) * t.factor;
    return !(v > 0) ? 0 : v >= 255 ? 255 : (unsigned char)lround(v);
}

static isovae_status picture_new(iv_picture *out, size_t height, size_t width, size_t channels,
                                 isovae_error *err)
{
    size_t size;
    *out = (iv_picture){.height = height, .width = width, .channels = channels};
    if (!iv_size_mul(height, width, &size) || !iv_size_mul(size, channels, &size)) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "a sheet of images is too large");
    }
    return IV_NEW(out->pixels, size, "a sheet of images", err);
}

/* Image number (row, column) of the sheet, from channel 0..2 of the data (one of two channels: the
 * first). */
static void put_image(iv_picture *sheet, const iv_facts *f, size_t row, size_t column, tone t,
                      const double *image)
{
    for (size_t y = 0; y < f->height; y++) {
        for (size_t x = 0; x < f->width; x++) {
            size_t to =
                ((row * f->height + y) * sheet->width + column * f->width + x) * sheet->channels;
            const double *from = image + (y * f->width + x) * f->channels;
            for (size_t c = 0; c < sheet->channels; c++) sheet->pixels[to + c] = level(t, from[c]);
        }
    }
}

static size_t sheet_channels(const iv_facts *f)
{
    return f->channels >= 3 ? 3 : 1;
}

/* Mean and standard deviation of y over the rows; the stored variance where rows were not kept. */
static void y_moments(const iv_analysis *a, size_t rank, double *mean, double *sd)
{
    const iv_latent_report *l = &a->latents[rank];
    double floor = isfinite(a->beta) ? a->beta / 2 : 0, spread = l->variance_y - floor;
    *mean = 0;
    if (!l->active && floor > 0) { /* sigma = 1: y = sqrt(beta/2) mu over the prior */
        *sd = sqrt(floor);
        return;
    }
    *sd = spread > 0 ? sqrt(spread) : sqrt(floor);
    if (a->y == NULL || a->rows == 0) return;
    for (size_t r = 0; r < a->rows; r++) *mean += a->y[r * a->n + rank];
    *mean /= (double)a->rows;
    if (!isfinite(*mean)) *mean = 0;
}

/* mu of latent `index` at coordinate y; without a stored spline sigma is taken as constant. */
static double mu_at(const iv_report_context *context, size_t rank, double y)
{
    const iv_model *m = context->model;
    const iv_latent_report *l = &context->analysis->latents[rank];
    bool fitted = l->active || context->analysis->unknown != IV_UNKNOWN_NOTHING;
    if (fitted && m->splines != NULL && m->splines[l->index].n > 0) {
        return iv_spline_mu(&m->splines[l->index], m->beta, y);
    }
    double sigma = l->active ? sqrt(l->sigma2_mean) : 1;
    return y * sigma / sqrt(m->beta / 2);
}

static isovae_status traverse_rank(const iv_report_context *context, const iv_facts *facts,
                                   size_t rank, size_t steps, tone t, double *z, double *images,
                                   iv_picture *sheet, size_t row, double *lengths,
                                   isovae_error *err)
{
    const iv_model *m = context->model;
    const iv_analysis *a = context->analysis;
    double mean, sd, dy;
    y_moments(a, rank, &mean, &sd);
    dy = steps > 1 ? 6 * sd / (double)(steps - 1) : 0;
    memset(z, 0, steps * m->n * sizeof *z);
    for (size_t k = 0; k < steps; k++) {
        double y = mean + (steps > 1 ? dy * (double)k - 3 * sd : 0);
        z[k * m->n + a->latents[rank].index] = mu_at(context, rank, y);
    }
    IV_TRY(iv_decode_rows(m, z, steps, context->pool, NULL, images, err));
    for (size_t k = 0; k < steps; k++) put_image(sheet, facts, row, k, t, images + k * m->d);
    if (lengths == NULL) return ISOVAE_OK;
    IV_TRY(iv_step_lengths(m, images, steps, lengths, err));
    lengths[0] = dy;
    return ISOVAE_OK;
}

isovae_status iv_traverse_picture(const iv_report_context *context, const iv_facts *facts,
                                  const size_t *ranks, size_t n_ranks, size_t steps,
                                  iv_picture *out, double *lengths, isovae_error *err)
{
    const iv_model *m = context->model;
    const iv_analysis *a = context->analysis;
    double *z = NULL, *images = NULL;
    size_t sample = a->rows < 100 ? a->rows : 100;
    *out = (iv_picture){0};
    if (!facts->image || n_ranks == 0 || steps == 0) {
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED, "only image models have a sheet of images");
    }
    tone t = tone_of(context, a->row_index, a->row_index != NULL ? sample : 0, m->d);
    isovae_status status =
        picture_new(out, n_ranks * facts->height, steps * facts->width, sheet_channels(facts), err);
    size_t z_size = 0, image_size = 0;
    if (status == ISOVAE_OK &&
        (!iv_size_mul(steps, m->n, &z_size) || !iv_size_mul(steps, m->d, &image_size))) {
        status = iv_fail(err, ISOVAE_ERR_MEMORY, "a sheet of images is too large");
    }
    if (status == ISOVAE_OK) status = IV_NEW(z, z_size, "a traversal", err);
    if (status == ISOVAE_OK) status = IV_NEW(images, image_size, "a traversal", err);
    for (size_t i = 0; status == ISOVAE_OK && i < n_ranks; i++) {
        status = traverse_rank(context, facts, ranks[i], steps, t, z, images, out, i,
                               lengths != NULL ? lengths + steps * i : NULL, err);
    }
    iv_free(z);
    iv_free(images);
    if (status != ISOVAE_OK) {
        iv_free(out->pixels);
        *out = (iv_picture){0};
    }
    return status;
}

/* ---- reconstructions ---- */

/* `count` rows at even quantiles of density, from the lowest to the highest. */
static isovae_status pick_rows(const iv_analysis *a, size_t count, size_t *rows, isovae_error *err)
{
    iv_ranked *all = NULL;
    IV_TRY(IV_NEW(all, a->rows, "an order of rows", err));
    for (size_t r = 0; r < a->rows; r++) {
        double key = a->density.values != NULL ? a->density.values[r] : (double)r;
        all[r] = (iv_ranked){isnan(key) ? -(double)INFINITY : key, r};
    }
    iv_sort_ranked(a->rows, all);
    for (size_t i = 0; i < count; i++) {
        size_t place = count > 1 ? (a->rows - 1) * i / (count - 1) : 0;
        rows[i] = all[place].place;
    }
    iv_free(all);
    return ISOVAE_OK;
}

/* mu of the picked rows in the model's order of latents: kept ones, else encoded again. */
static isovae_status codes_of(const iv_report_context *context, const size_t *rows,
                              const size_t *places, size_t count, double *z, isovae_error *err)
{
    const iv_analysis *a = context->analysis;
    if (a->mu == NULL) {
        return iv_encode_rows(context->model, context->data, places, count, context->pool, NULL, z,
                              NULL, NULL, err);
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < a->n; j++) {
            z[i * a->n + a->latents[j].index] = a->mu[rows[i] * a->n + j];
        }
    }
    return ISOVAE_OK;
}

static isovae_status fill_reconstructions(const iv_report_context *context, const iv_facts *facts,
                                          const size_t *rows, const size_t *places, size_t count,
                                          float *input, double *image, double *z, iv_picture *out,
                                          isovae_error *err)
{
    size_t d = context->model->d;
    tone t = tone_of(context, places, count, d);
    IV_TRY(codes_of(context, rows, places, count, z, err));
    for (size_t i = 0; i < count; i++) {
        iv_dataset_row(context->data, places[i], input);
        for (size_t k = 0; k < d; k++) image[k] = input[k];
        put_image(out, facts, 0, i, t, image);
    }
    IV_TRY(iv_decode_rows(context->model, z, count, context->pool, NULL, image, err));
    for (size_t i = 0; i < count; i++) put_image(out, facts, 1, i, t, image + i * d);
    return ISOVAE_OK;
}

isovae_status iv_reconstruction_picture(const iv_report_context *context, const iv_facts *facts,
                                        size_t count, iv_picture *out, size_t *rows,
                                        isovae_error *err)
{
    const iv_analysis *a = context->analysis;
    size_t *places = NULL;
    float *input = NULL;
    double *image = NULL, *z = NULL;
    *out = (iv_picture){0};
    isovae_status status = pick_rows(a, count, rows, err);
    if (status == ISOVAE_OK) status = IV_NEW(places, count, "places of rows", err);
    for (size_t i = 0; status == ISOVAE_OK && i < count; i++) {
        places[i] = a->row_index != NULL ? a->row_index[rows[i]] : rows[i];
    }
    if (status == ISOVAE_OK) status = IV_NEW(input, a->d, "an image", err);
    if (status == ISOVAE_OK) status = IV_NEW(image, count * a->d, "images", err);
    if (status == ISOVAE_OK) status = IV_NEW(z, count * a->n, "codes", err);
    if (status == ISOVAE_OK) {
        status =
            picture_new(out, 2 * facts->height, count * facts->width, sheet_channels(facts), err);
    }
    if (status == ISOVAE_OK) {
        status =
            fill_reconstructions(context, facts, rows, places, count, input, image, z, out, err);
    }
    iv_free(places);
    iv_free(input);
    iv_free(image);
    iv_free(z);
    if (status != ISOVAE_OK) {
        iv_free(out->pixels);
        *out = (iv_picture){0};
    }
    return status;
}

/* ---- samples ---- */

isovae_status iv_sample_picture(const iv_report_context *context, const iv_facts *facts,
                                size_t rows, size_t columns, iv_picture *out, isovae_error *err)
{
    const iv_model *m = context->model;
    const iv_analysis *a = context->analysis;
    size_t count = rows * columns, known = a->rows < 100 ? a->rows : 100;
    double *z = NULL, *images = NULL;
    *out = (iv_picture){0};
    isovae_status status = IV_NEW(z, count * m->n, "samples", err);
    if (status == ISOVAE_OK) status = IV_NEW(images, count * m->d, "samples", err);
    for (size_t r = 0; status == ISOVAE_OK && r < count; r++) {
        const iv_key key = {.seed = context->seed, .purpose = IV_PURPOSE_SAMPLE, .row = r};
        iv_normals_f64(&key, m->n, z + r * m->n);
    }
    if (status == ISOVAE_OK) {
        status = iv_decode_rows(m, z, count, context->pool, NULL, images, err);
    }
    if (status == ISOVAE_OK) {
        status = picture_new(out, rows * facts->height, columns * facts->width,
                             sheet_channels(facts), err);
    }
    if (status == ISOVAE_OK) {
        tone t = tone_of(context, a->row_index, a->row_index != NULL ? known : 0, m->d);
        for (size_t i = 0; i < count; i++)
            put_image(out, facts, i / columns, i % columns, t, images + i * m->d);
    }
    iv_free(z);
    iv_free(images);
    return status;
}

/* ---- loading maps ---- */

/* Over the channels of a pixel: the mean of signed loadings, the root of the mean square. */
static double pixel_loading(const double *loading, const iv_facts *facts, size_t pixel, bool rms)
{
    double sum = 0;
    for (size_t c = 0; loading != NULL && c < facts->channels; c++) {
        double value = loading[pixel * facts->channels + c];
        sum += (rms ? value * value : value) / (double)facts->channels;
    }
    return rms ? sqrt(sum) : sum;
}

isovae_status iv_loading_picture(const iv_report_context *context, const iv_facts *facts,
                                 const size_t *ranks, size_t n_ranks, bool rms, iv_picture *out,
                                 isovae_error *err)
{
    static const double rise[3] = {33, 92, 150}, fall[3] = {190, 98, 16}, moves[3] = {74, 20, 110};
    size_t size = facts->height * facts->width;
    double before = 0;
    IV_TRY(picture_new(out, n_ranks * facts->height, facts->width, 3, err));
    for (size_t i = 0; i < n_ranks; i++) {
        const iv_latent_report *l = &context->analysis->latents[ranks[i]];
        const double *loading = rms ? l->loading_rms : l->loading_mean;
        double most = 0;
        for (size_t k = 0; k < size; k++)
            most = fmax(most, fabs(pixel_loading(loading, facts, k, rms)));
        /* One that is off is drawn on the scale of the one before it: it would be all noise. */
        if (!l->active && before > most) most = before;
        before = most;
        for (size_t k = 0; k < size; k++) {
            double value = pixel_loading(loading, facts, k, rms);
            double part = most > 0 ? fabs(value) / most : 0;
            const double *colour = rms ? moves : value < 0 ? fall : rise;
            for (size_t c = 0; c < 3; c++) {
                double v = 250 + part * (colour[c] - 250);
                out->pixels[(i * size + k) * 3 + c] = (unsigned char)(v + 0.5);
            }
        }
    }
    return ISOVAE_OK;
}
