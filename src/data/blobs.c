#include "data/blobs.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "data/build.h"
#include "data/reader.h"

#include <math.h>
#include <string.h>

enum { LEAST_SIZE = 8, MOST_SIZE = 256, KEY_STEP = 2000 }; /* toy sets use the steps below */
static const double inside = 3;                            /* widths that stay within the image */

/* ---- the spec ---- */

static bool take_range(const char *text, size_t length, double *low, double *high)
{
    const char *colon = memchr(text, ':', length);
    if (colon == NULL) return false;
    size_t first = (size_t)(colon - text);
    return iv_parse_double(text, first, low) &&
           iv_parse_double(colon + 1, length - first - 1, high) && *low > 0 && *low < *high &&
           *high <= 1e6;
}

static bool take_number(const char *text, size_t length, double low, double high, double *out)
{
    return iv_parse_double(text, length, out) && *out >= low && *out <= high;
}

static bool take_count(const char *text, size_t length, uint64_t least, uint64_t most,
                       uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < length; i++) {
        uint64_t digit = (uint64_t)(unsigned char)text[i] - '0';
        if (digit > 9 || value > (UINT64_MAX - digit) / 10) return false;
        value = value * 10 + digit;
    }
    *out = value;
    return length > 0 && value >= least && value <= most;
}

static isovae_status take_option(const char *text, size_t length, iv_blobs *out, isovae_error *err)
{
    const char *equals = memchr(text, '=', length);
    size_t key = equals != NULL ? (size_t)(equals - text) : length;
    const char *value = equals != NULL ? equals + 1 : text + length;
    size_t n = length - (size_t)(value - text);
    uint64_t count = 0;
    bool fine = false, known = equals != NULL;
    if (known && iv_same_word(text, key, "n")) {
        fine = take_count(value, n, 1, (UINT64_C(1) << 40) - 1, &count);
        out->n = (size_t)count;
    } else if (known && iv_same_word(text, key, "size")) {
        fine = take_count(value, n, LEAST_SIZE, MOST_SIZE, &count);
        out->size = (size_t)count;
    } else if (known && iv_same_word(text, key, "seed")) {
        fine = take_count(value, n, 0, UINT64_MAX, &out->seed);
    } else if (known && iv_same_word(text, key, "x")) {
        fine = take_number(value, n, 1e-3, MOST_SIZE, &out->x);
    } else if (known && iv_same_word(text, key, "y")) {
        fine = take_number(value, n, 1e-3, MOST_SIZE, &out->y);
    } else if (known && iv_same_word(text, key, "width")) {
        fine = take_range(value, n, &out->width_low, &out->width_high);
    } else if (known && iv_same_word(text, key, "amplitude")) {
        fine = take_range(value, n, &out->amplitude_low, &out->amplitude_high);
    } else if (known && iv_same_word(text, key, "noise")) {
        fine = take_number(value, n, 0, 1e6, &out->noise);
    } else {
        known = false;
    }
    if (fine) return ISOVAE_OK;
    iv_shown shown = iv_show(text, length);
    if (!known) {
        return iv_fail(
            err, ISOVAE_ERR_ARGUMENT,
            "unknown option '%s'; known are n=IMAGES, size=PIXELS, seed=NUMBER, x=PIXELS, "
            "y=PIXELS, width=LOW:HIGH, amplitude=LOW:HIGH and noise=SD",
            shown.text);
    }
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "'%s' is out of range (docs/data.md): n from 1, size from %d to %d, positive "
                   "lengths, ranges as LOW:HIGH",
                   shown.text, LEAST_SIZE, MOST_SIZE);
}

static isovae_status check(const iv_blobs *b, isovae_error *err)
{
    double most = b->x > b->y ? b->x : b->y;
    if (b->width_low < 1) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "width=%g:%g: blobs narrower than a pixel are no longer smooth in it",
                       b->width_low, b->width_high);
    }
    if (most + inside * b->width_high <= (double)b->size / 2) return ISOVAE_OK;
    return iv_fail(
        err, ISOVAE_ERR_ARGUMENT,
        "blobs would reach over the edge: x or y (%g) and %g times the width (%g) exceed "
        "half the size (%g)",
        most, inside, b->width_high, (double)b->size / 2);
}

isovae_status iv_blobs_parse(const char *spec, iv_blobs *out, isovae_error *err)
{
    const char *at = spec + strlen("blobs:");
    *out = (iv_blobs){.n = 20000, .size = 32, .amplitude_low = 2.8, .amplitude_high = 5.2};
    while (*at != '\0') {
        size_t length = strcspn(at, ",");
        IV_TRY(take_option(at, length, out, err));
        at += length;
        if (*at == ',') at++;
    }
    double unit = (double)out->size / 32;
    if (out->x == 0) out->x = 3.9 * unit;
    if (out->y == 0) out->y = 2.5 * unit;
    if (out->width_high == 0) {
        out->width_low = fmax(1, 1.5 * unit);
        out->width_high = 4 * unit;
    }
    if (out->width_high <= out->width_low) out->width_high = 1.1 * out->width_low;
    return check(out, err);
}

/* ---- images ---- */

/* exp(-(i - middle - shift)^2 / (2 w^2)) at the pixels i, divided by its norm: |g| is the product
 * of the norms along the two axes. */
static void profile(size_t size, double shift, double width, double *out)
{
    double middle = ((double)size - 1) / 2, sum = 0;
    for (size_t i = 0; i < size; i++) {
        double u = ((double)i - middle - shift) / width;
        out[i] = exp(-0.5 * u * u);
        sum += out[i] * out[i];
    }
    for (size_t i = 0; i < size; i++) out[i] /= sqrt(sum);
}

void iv_blobs_draw(size_t size, const double factor[IV_BLOBS_FACTORS], double *out)
{
    double across[MOST_SIZE], down[MOST_SIZE];
    profile(size, factor[0], factor[2], across);
    profile(size, factor[1], factor[2], down);
    for (size_t i = 0; i < size; i++) {
        for (size_t j = 0; j < size; j++) out[i * size + j] = factor[3] * down[i] * across[j];
    }
}

/* E a^2 for a uniform; E 1/(2 w^2) for w log-uniform. */
static double mean_square(const iv_blobs *b)
{
    double low = b->amplitude_low, high = b->amplitude_high;
    return (low * low + low * high + high * high) / 3;
}

static double mean_slope(const iv_blobs *b)
{
    double low = 1 / (b->width_low * b->width_low), high = 1 / (b->width_high * b->width_high);
    return (low - high) / (4 * log(b->width_high / b->width_low));
}

void iv_blobs_variances(const iv_blobs *b, double out[IV_BLOBS_FACTORS])
{
    double square = mean_square(b), octave = log(b->width_high / b->width_low);
    double range = b->amplitude_high - b->amplitude_low;
    out[0] = b->x * b->x / 3 * square * mean_slope(b); /* a uniform of half-width x has x^2 / 3 */
    out[1] = b->y * b->y / 3 * square * mean_slope(b);
    out[2] = octave * octave / 12 * square;
    out[3] = range * range / 12;
}

/* log p of the factors less the logarithms of the lengths of the four tangents. */
static double log_density(const iv_blobs *b, double width, double amplitude)
{
    double octave = log(b->width_high / b->width_low);
    double factors =
        -log(2 * b->x) - log(2 * b->y) - log(octave) - log(b->amplitude_high - b->amplitude_low);
    return factors - 2 * log(amplitude / (sqrt(2) * width)) - log(amplitude); /* dw is w dlog w */
}

static isovae_status fill_rows(iv_dataset *data, const iv_blobs *b, double *image, double *noise,
                               const iv_progress *progress, isovae_error *err)
{
    size_t cols = data->cols;
    double octave = log(b->width_high / b->width_low);
    double slope = sqrt(mean_square(b) * mean_slope(b)), size = sqrt(mean_square(b));
    for (size_t row = 0; row < b->n; row++) {
        iv_key key = {.seed = b->seed, .purpose = IV_PURPOSE_TOY, .step = KEY_STEP, .row = row};
        double u[IV_BLOBS_FACTORS];
        iv_uniforms_f64(&key, IV_BLOBS_FACTORS, u);
        const double factor[IV_BLOBS_FACTORS] = {
            b->x * (2 * u[0] - 1), b->y * (2 * u[1] - 1), b->width_low * exp(octave * u[2]),
            b->amplitude_low + (b->amplitude_high - b->amplitude_low) * u[3]};
        iv_blobs_draw(b->size, factor, image);
        if (b->noise > 0) {
            key.draw = 1;
            iv_normals_f64(&key, cols, noise);
            for (size_t i = 0; i < cols; i++) image[i] += b->noise * noise[i];
        }
        float *x = data->values + row * cols;
        for (size_t i = 0; i < cols; i++) x[i] = (float)image[i];
        double *f = data->truth->factors + row * IV_BLOBS_FACTORS;
        f[0] = factor[0] * slope;
        f[1] = factor[1] * slope;
        f[2] = log(factor[2]) * size;
        f[3] = factor[3];
        if (data->truth->log_density != NULL) {
            data->truth->log_density[row] = log_density(b, factor[2], factor[3]);
        }
        IV_TRY(iv_build_progress(progress, row, b->n, err));
    }
    return ISOVAE_OK;
}

static isovae_status fill(iv_dataset *data, const iv_blobs *b, const iv_data_options *options,
                          isovae_error *err)
{
    static const char *const names[IV_BLOBS_FACTORS] = {"x", "y", "width", "amplitude"};
    data->toy = true;
    data->height = data->width = b->size;
    data->channels = 1;
    IV_TRY(iv_build_names(data, NULL, NULL, err));
    IV_TRY(IV_NEW(data->truth, 1, "truth of the blobs", err));
    iv_truth *truth = data->truth;
    truth->n_factors = IV_BLOBS_FACTORS;
    IV_TRY(IV_NEW(truth->factor_names, IV_BLOBS_FACTORS, "factor names", err));
    IV_TRY(IV_NEW(truth->population_variances, IV_BLOBS_FACTORS, "factor variances", err));
    IV_TRY(IV_NEW(truth->factors, b->n * IV_BLOBS_FACTORS, "true factors", err));
    /* With noise the images lie around the manifold; their density has no closed form. */
    if (b->noise == 0) IV_TRY(IV_NEW(truth->log_density, b->n, "true densities", err));
    for (size_t j = 0; j < IV_BLOBS_FACTORS; j++) {
        IV_TRY(iv_strdup(&truth->factor_names[j], names[j], err));
    }
    iv_blobs_variances(b, truth->population_variances);
    double *image = NULL, *noise = NULL;
    isovae_status status = IV_NEW(image, data->cols, "an image", err);
    if (status == ISOVAE_OK) status = IV_NEW(noise, data->cols, "an image", err);
    if (status == ISOVAE_OK) status = fill_rows(data, b, image, noise, &options->progress, err);
    iv_free(image);
    iv_free(noise);
    return status;
}

isovae_status iv_blobs_open(const char *spec, const iv_data_options *options, iv_dataset **out,
                            isovae_error *err)
{
    iv_blobs blobs;
    *out = NULL;
    IV_TRY(iv_build_whole(options, err));
    IV_TRY(iv_blobs_parse(spec, &blobs, err));
    size_t limit = iv_build_limit(options), bytes, cols = blobs.size * blobs.size;
    size_t per_row = cols * sizeof(float) + (IV_BLOBS_FACTORS + 1) * sizeof(double);
    if (!iv_size_mul(blobs.n, per_row, &bytes) || bytes > limit) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "n=%zu images of %zux%zu are above the limit of %zu bytes", blobs.n,
                       blobs.size, blobs.size, limit);
    }
    iv_dataset *data;
    IV_TRY(iv_build_new(blobs.n, cols, false, &data, err));
    isovae_status status = fill(data, &blobs, options, err);
    if (status != ISOVAE_OK) {
        iv_dataset_free(data);
        return status;
    }
    *out = data;
    return ISOVAE_OK;
}
