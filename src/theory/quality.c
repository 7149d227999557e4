/* How near reconstructions are as pictures: PSNR, SSIM, MS-SSIM of Dec(mu) against the inputs. */
#include "metric/quality.h"

#include "base/memory.h"
#include "theory/summary.h"

#include <math.h>

typedef struct work {
    const iv_rows *rows;
    iv_quality_room **rooms; /* lanes */
    double *x;               /* lanes x d */
    iv_quality *quality;     /* rows */
} work;

static void quality_chunk(void *user, iv_lane *lane, size_t first, size_t count)
{
    const work *w = user;
    const iv_pass *pass = lane->pass;
    size_t d = pass->d;
    double *x = w->x + lane->index * d, *xhat = lane->stage;
    iv_lane_load(lane, w->rows->index + first, count);
    iv_lane_decode(lane, count, w->rows->mu + first * pass->n);
    iv_lane_data(lane, count, xhat);
    for (size_t r = 0; r < count; r++) {
        pass->k->download(x, iv_at(pass->k, iv_lane_x(lane), r * d), d);
        iv_scaling_undo(pass->scaling, 1, x);
        iv_quality_of(w->rooms[lane->index], x, xhat + r * d, &w->quality[first + r]);
    }
}

/* R in data units: what unit scaling divides by, 255 (1 for binary) for other bytes, else what the
 * rows have. */
static double data_range(const iv_scaling *scaling, const iv_dataset *data, const iv_rows *rows)
{
    double low = (double)INFINITY, high = -(double)INFINITY;
    if (scaling->kind == IV_SCALE_UNIT) return scaling->scale[0];
    for (size_t r = 0; r < rows->rows; r++) {
        size_t first = rows->index[r] * data->cols;
        for (size_t i = first; i < first + data->cols; i++) {
            double x = data->bytes != NULL ? (double)data->bytes[i] : (double)data->values[i];
            low = x < low ? x : low;
            high = x > high ? x : high;
        }
        iv_dataset_use(data, IV_ROWS_TOUCHED, rows->index + r, 1);
    }
    if (data->bytes != NULL) return high > 1 ? 255 : 1;
    return high > low ? high - low : 1;
}

static bool picture_shape(const iv_model *model, const iv_dataset *data, iv_metric_image *out)
{
    *out = iv_model_image(model);
    if (out->height == 0) {
        *out = (iv_metric_image){
            .height = data->height, .width = data->width, .channels = data->channels};
    }
    if (out->channels == 0) out->channels = 1;
    return out->height > 1 && out->width > 1 &&
           out->height * out->width * out->channels == model->d;
}

static isovae_status make_rooms(work *w, const iv_pass *pass, const iv_metric_image *image,
                                double range, isovae_error *err)
{
    IV_TRY(iv_alloc((void **)&w->rooms, pass->n_lanes, sizeof(void *), "picture quality", err));
    IV_TRY(IV_NEW(w->x, pass->n_lanes * pass->d, "picture quality", err));
    IV_TRY(IV_NEW(w->quality, w->rows->rows, "picture quality", err));
    for (size_t i = 0; i < pass->n_lanes; i++) {
        IV_TRY(iv_quality_new(image, range, &w->rooms[i], err));
    }
    return ISOVAE_OK;
}

isovae_status iv_summarise_quality(iv_summary *s, iv_pass *pass, isovae_error *err)
{
    iv_image_quality *q = &s->analysis->image_quality;
    work w = {.rows = s->rows};
    iv_metric_image image;
    *q = (iv_image_quality){0};
    if (!picture_shape(s->model, s->data, &image)) return ISOVAE_OK;
    q->range = data_range(s->scaling, s->data, s->rows);
    isovae_status status = make_rooms(&w, pass, &image, q->range, err);
    if (status == ISOVAE_OK) {
        status = iv_pass_run(pass, "pictures", s->rows->rows, quality_chunk, NULL, &w, err);
    }
    if (status == ISOVAE_OK) {
        double count = (double)s->rows->rows;
        q->rows = s->rows->rows;
        q->scales = iv_quality_scales(w.rooms[0]);
        for (size_t r = 0; r < q->rows; r++) {
            q->psnr_db += w.quality[r].psnr / count;
            q->ssim += w.quality[r].ssim / count;
            q->ms_ssim += w.quality[r].ms_ssim / count;
        }
    }
    for (size_t i = 0; w.rooms != NULL && i < pass->n_lanes; i++) iv_quality_free(w.rooms[i]);
    iv_free((void *)w.rooms);
    iv_free(w.x);
    iv_free(w.quality);
    return status;
}
