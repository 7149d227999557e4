#include "metric/quality.h"

#include "base/memory.h"

#include <math.h>

enum { WINDOW = IV_SSIM_WINDOW, SCALES = 5 };

static const double scale_weights[SCALES] = {0.0448, 0.2856, 0.3001, 0.2363, 0.1333};
static const double most_psnr = 100;

struct iv_quality_room {
    iv_metric_image image;
    double range, taps[WINDOW];
    size_t scales;
    double *x, *y;   /* one channel */
    double *down[5]; /* a row's width: x, y, x^2, y^2, x y averaged down the rows */
};

isovae_status iv_quality_new(const iv_metric_image *image, double range, iv_quality_room **out,
                             isovae_error *err)
{
    iv_quality_room *r;
    size_t plane, room;
    *out = NULL;
    if (!iv_size_mul(image->height, image->width, &plane) || !iv_size_mul(plane, 2, &room)) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "pictures of %zu x %zu are too large", image->height,
                       image->width);
    }
    IV_TRY(IV_NEW(r, 1, "picture quality", err));
    r->image = *image;
    r->range = range;
    size_t side = image->height < image->width ? image->height : image->width;
    for (; side >= WINDOW && r->scales < SCALES; side /= 2) r->scales++;
    double sum = 0;
    for (int t = 0; t < WINDOW; t++) sum += r->taps[t] = exp((t - 5) * (t - 5) / -4.5);
    for (int t = 0; t < WINDOW; t++) r->taps[t] /= sum;
    isovae_status status = IV_NEW(r->x, room, "picture quality", err);
    if (status == ISOVAE_OK) status = IV_NEW(r->down[0], 5 * image->width, "picture quality", err);
    if (status != ISOVAE_OK) {
        iv_quality_free(r);
        return status;
    }
    r->y = r->x + plane;
    for (size_t q = 1; q < 5; q++) r->down[q] = r->down[0] + q * image->width;
    *out = r;
    return ISOVAE_OK;
}

void iv_quality_free(iv_quality_room *room)
{
    if (room == NULL) return;
    iv_free(room->x);
    iv_free(room->down[0]);
    iv_free(room);
}

size_t iv_quality_scales(const iv_quality_room *room)
{
    return room->scales;
}

/* Sums over the windows of a channel: l cs, and cs alone. The channel lies in x and y, centred by
 * `centre`. */
static void add_windows(iv_quality_room *r, size_t height, size_t width, double centre,
                        double *whole, double *contrast)
{
    double c1 = 1e-4 * r->range * r->range, c2 = 9e-4 * r->range * r->range;
    for (size_t h = 0; h + WINDOW <= height; h++) {
        for (size_t i = 0; i < width; i++) {
            double s[5] = {0};
            for (size_t t = 0; t < WINDOW; t++) {
                double w = r->taps[t], x = r->x[(h + t) * width + i], y = r->y[(h + t) * width + i];
                s[0] += w * x;
                s[1] += w * y;
                s[2] += w * x * x;
                s[3] += w * y * y;
                s[4] += w * x * y;
            }
            for (size_t q = 0; q < 5; q++) r->down[q][i] = s[q];
        }
        for (size_t i = 0; i + WINDOW <= width; i++) {
            double s[5] = {0};
            for (size_t t = 0; t < WINDOW; t++) {
                for (size_t q = 0; q < 5; q++) s[q] += r->taps[t] * r->down[q][i + t];
            }
            double vx = s[2] - s[0] * s[0], vy = s[3] - s[1] * s[1], cov = s[4] - s[0] * s[1];
            double mx = s[0] + centre, my = s[1] + centre;
            double cs = (2 * cov + c2) / (fmax(vx, 0) + fmax(vy, 0) + c2);
            *whole += (2 * mx * my + c1) / (mx * mx + my * my + c1) * cs;
            *contrast += cs;
        }
    }
}

/* The average of 2 x 2; an odd last row or column is left out. In place. */
static void halve(double *x, size_t height, size_t width)
{
    size_t w = width / 2;
    for (size_t h = 0; h < height / 2; h++) {
        for (size_t i = 0; i < w; i++) {
            const double *at = x + 2 * h * width + 2 * i;
            x[h * w + i] = (at[0] + at[1] + at[width] + at[width + 1]) / 4;
        }
    }
}

/* One channel into the room, centred; returns the centre. */
static double load(iv_quality_room *r, const double *x, const double *y, size_t channel)
{
    const iv_metric_image *i = &r->image;
    size_t plane = i->height * i->width, step = i->planar ? 1 : i->channels;
    size_t first = i->planar ? channel * plane : channel;
    double sum = 0;
    for (size_t k = 0; k < plane; k++) sum += x[first + k * step];
    double centre = sum / (double)plane;
    for (size_t k = 0; k < plane; k++) {
        r->x[k] = x[first + k * step] - centre;
        r->y[k] = y[first + k * step] - centre;
    }
    return centre;
}

void iv_quality_of(iv_quality_room *r, const double *x, const double *y, iv_quality *out)
{
    const iv_metric_image *image = &r->image;
    size_t d = image->height * image->width * image->channels;
    double error = 0, ssim = 0, ms = 0, weights = 0;
    for (size_t k = 0; k < d; k++) error += (x[k] - y[k]) * (x[k] - y[k]);
    out->psnr = fmin(10 * log10(r->range * r->range * (double)d / error), most_psnr);
    for (size_t j = 0; j < r->scales; j++) weights += scale_weights[j];
    for (size_t c = 0; c < image->channels; c++) {
        size_t height = image->height, width = image->width;
        double centre = load(r, x, y, c), product = 1;
        for (size_t j = 0; j < r->scales; j++) {
            double whole = 0, contrast = 0;
            double windows = (double)((height - WINDOW + 1) * (width - WINDOW + 1));
            add_windows(r, height, width, centre, &whole, &contrast);
            if (j == 0) ssim += whole / windows;
            double part = (j + 1 == r->scales ? whole : contrast) / windows;
            product *= pow(fmax(part, 0), scale_weights[j] / weights);
            halve(r->x, height, width);
            halve(r->y, height, width);
            height /= 2;
            width /= 2;
        }
        ms += product;
    }
    double channels = (double)image->channels;
    out->ssim = r->scales > 0 ? ssim / channels : (double)NAN;
    out->ms_ssim = r->scales > 1 ? ms / channels : (double)NAN;
}
