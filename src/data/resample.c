/* Separable resizing: rows first, one output row at a time, then along it. */
#include "data/picture.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

void iv_resample_axis_free(iv_resample_axis *axis)
{
    iv_free(axis->first);
    iv_free(axis->weight);
    *axis = (iv_resample_axis){0};
}

static void fill_weights(iv_resample_axis *axis)
{
    double scale = (double)axis->inputs / (double)axis->outputs, half = fmax(1, scale);
    for (size_t i = 0; i < axis->outputs; i++) {
        double center = ((double)i + 0.5) * scale, sum = 0;
        double from = floor(center - half);
        size_t first = from > 0 ? (size_t)from : 0;
        if (first + axis->taps > axis->inputs) first = axis->inputs - axis->taps;
        float *weight = axis->weight + i * axis->taps;
        for (size_t k = 0; k < axis->taps; k++) {
            sum += fmax(0, 1 - fabs((double)(first + k) + 0.5 - center) / half);
        }
        for (size_t k = 0; k < axis->taps; k++) {
            double w = fmax(0, 1 - fabs((double)(first + k) + 0.5 - center) / half);
            weight[k] = (float)(w / sum);
        }
        axis->first[i] = first;
    }
}

isovae_status iv_resample_axis_set(iv_resample_axis *axis, size_t inputs, size_t outputs,
                                   isovae_error *err)
{
    if (axis->inputs == inputs && axis->outputs == outputs) return ISOVAE_OK;
    iv_resample_axis_free(axis);
    double half = fmax(1, (double)inputs / (double)outputs);
    size_t taps = 2 * (size_t)ceil(half) + 1;
    iv_resample_axis made = {
        .inputs = inputs, .outputs = outputs, .taps = taps < inputs ? taps : inputs};
    size_t cells;
    if (!iv_size_mul(outputs, made.taps, &cells)) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "the picture is too large");
    }
    isovae_status status = IV_NEW(made.first, outputs, "a picture's weights", err);
    if (status == ISOVAE_OK) status = IV_NEW(made.weight, cells, "a picture's weights", err);
    if (status != ISOVAE_OK) {
        iv_resample_axis_free(&made);
        return status;
    }
    fill_weights(&made);
    *axis = made;
    return ISOVAE_OK;
}

static unsigned char to_byte(float value)
{
    float rounded = value + 0.5F; /* values are averages of bytes: never negative */
    return rounded >= 255.0F ? 255 : (unsigned char)rounded;
}

/* Along one row of floats. */
static void along(const iv_resample_axis *columns, size_t channels, const float *line,
                  unsigned char *out)
{
    for (size_t i = 0; i < columns->outputs; i++) {
        const float *weight = columns->weight + i * columns->taps;
        const float *from = line + columns->first[i] * channels;
        if (channels == 3) {
            float a = 0, b = 0, c = 0;
            for (size_t k = 0; k < columns->taps; k++) {
                a += weight[k] * from[3 * k];
                b += weight[k] * from[3 * k + 1];
                c += weight[k] * from[3 * k + 2];
            }
            out[3 * i] = to_byte(a);
            out[3 * i + 1] = to_byte(b);
            out[3 * i + 2] = to_byte(c);
            continue;
        }
        for (size_t c = 0; c < channels; c++) {
            float sum = 0;
            for (size_t k = 0; k < columns->taps; k++) sum += weight[k] * from[k * channels + c];
            out[i * channels + c] = to_byte(sum);
        }
    }
}

void iv_resample(const iv_resample_axis *rows, const iv_resample_axis *columns, size_t channels,
                 const unsigned char *in, float *line, unsigned char *out)
{
    size_t in_stride = columns->inputs * channels, out_stride = columns->outputs * channels;
    for (size_t y = 0; y < rows->outputs; y++) {
        const float *weight = rows->weight + y * rows->taps;
        memset(line, 0, in_stride * sizeof *line);
        for (size_t k = 0; k < rows->taps; k++) {
            if (weight[k] == 0) continue;
            const unsigned char *from = in + (rows->first[y] + k) * in_stride;
            float w = weight[k];
            for (size_t x = 0; x < in_stride; x++) line[x] += w * (float)from[x];
        }
        along(columns, channels, line, out + y * out_stride);
    }
}
