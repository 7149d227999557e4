#include "data/scaling.h"

#include "base/memory.h"
#include "data/reader.h"

#include <math.h>
#include <string.h>

static const char *const kind_names[] = {"none", "identity", "standard", "minmax", "unit", "mixed"};
enum { N_KINDS = sizeof kind_names / sizeof kind_names[0] };

const char *iv_scale_kind_name(iv_scale_kind kind)
{
    return (size_t)kind < N_KINDS ? kind_names[kind] : "unknown";
}

bool iv_scale_kind_parse(const char *text, iv_scale_kind *out)
{
    for (size_t i = 0; i < N_KINDS; i++) {
        if (strcmp(text, kind_names[i]) != 0) continue;
        *out = (iv_scale_kind)i;
        return true;
    }
    return false;
}

static double value_at(const iv_dataset *data, size_t row, size_t i)
{
    size_t at = row * data->cols + i;
    return data->bytes != NULL ? (double)data->bytes[at] : (double)data->values[at];
}

/* Per feature over the rows; variance is biased (1/N), as everywhere. */
typedef struct moments {
    double *mean, *variance, *low, *high;
    bool *between; /* some value is neither the lowest nor the highest */
} moments;

static void moments_free(moments *m)
{
    iv_free(m->mean);
    iv_free(m->variance);
    iv_free(m->low);
    iv_free(m->high);
    iv_free(m->between);
}

static isovae_status moments_new(const iv_dataset *data, const size_t *rows, size_t n, moments *m,
                                 isovae_error *err)
{
    size_t cols = data->cols;
    IV_TRY(IV_NEW(m->mean, cols, "means", err));
    IV_TRY(IV_NEW(m->variance, cols, "variances", err));
    IV_TRY(IV_NEW(m->low, cols, "minima", err));
    IV_TRY(IV_NEW(m->high, cols, "maxima", err));
    IV_TRY(IV_NEW(m->between, cols, "columns of two values", err));
    for (size_t i = 0; i < cols; i++) m->low[i] = m->high[i] = value_at(data, rows[0], i);
    for (size_t r = 0; r < n; r++) {
        for (size_t i = 0; i < cols; i++) {
            double value = value_at(data, rows[r], i);
            m->mean[i] += value;
            if (value < m->low[i]) m->low[i] = value;
            if (value > m->high[i]) m->high[i] = value;
        }
        iv_dataset_use(data, IV_ROWS_PASSED, NULL, 1);
    }
    for (size_t i = 0; i < cols; i++) m->mean[i] /= (double)n;
    for (size_t r = 0; r < n; r++) {
        for (size_t i = 0; i < cols; i++) {
            double value = value_at(data, rows[r], i), deviation = value - m->mean[i];
            m->variance[i] += deviation * deviation;
            if (value > m->low[i] && value < m->high[i]) m->between[i] = true;
        }
        iv_dataset_use(data, IV_ROWS_PASSED, NULL, 1);
    }
    for (size_t i = 0; i < cols; i++) {
        m->variance[i] /= (double)n;
        if (m->low[i] == m->high[i]) { /* exactly, whatever rounding says */
            m->mean[i] = m->low[i];
            m->variance[i] = 0;
        }
    }
    return ISOVAE_OK;
}

static void fit_none(const moments *m, iv_scaling *out)
{
    double sum = 0;
    for (size_t i = 0; i < out->cols; i++) sum += m->variance[i];
    double c = sqrt(sum / (double)out->cols);
    if (!(c > 0)) c = 1; /* nothing varies */
    for (size_t i = 0; i < out->cols; i++) {
        out->shift[i] = m->mean[i];
        out->scale[i] = c;
        out->weight[i] = c * c;
    }
}

static isovae_status fit_mixed(const moments *m, const iv_dataset *data, iv_scaling *out,
                               isovae_error *err)
{
    size_t dropped = 0;
    for (size_t i = 0; i < out->cols; i++) {
        bool constant = !(m->variance[i] > 0);
        out->shift[i] = m->mean[i];
        out->scale[i] = constant        ? 1
                        : m->between[i] ? sqrt(m->variance[i])
                                        : 0.5 * (m->high[i] - m->low[i]);
        out->weight[i] = constant ? 0 : 1;
        dropped += constant;
    }
    if (dropped < out->cols) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_DATA,
                   "%s: every column is constant on the training rows: there is nothing to learn",
                   data->source);
}

static isovae_status fit_unit(const moments *m, const iv_dataset *data, iv_scaling *out,
                              isovae_error *err)
{
    double low = m->low[0], high = m->high[0];
    size_t lowest = 0, highest = 0;
    for (size_t i = 0; i < out->cols; i++) {
        if (m->low[i] < low) low = m->low[i], lowest = i;
        if (m->high[i] > high) high = m->high[i], highest = i;
    }
    /* Bytes that are only 0 and 1 (binary images) are in the unit range already. */
    double scale = data->bytes != NULL && high > 1 ? 255 : 1;
    if (data->bytes == NULL && (low < 0 || high > 1)) {
        const char *name = data->names[low < 0 ? lowest : highest];
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "scaling 'unit' takes values in [0, 1]; column '%s' reaches %g (use --scale "
                       "minmax)",
                       iv_show(name, strlen(name)).text, low < 0 ? low : high);
    }
    for (size_t i = 0; i < out->cols; i++) {
        out->shift[i] = 0;
        out->scale[i] = scale;
        out->weight[i] = 1;
    }
    return ISOVAE_OK;
}

static isovae_status fit(iv_scale_kind kind, const iv_dataset *data, const moments *m,
                         iv_scaling *out, isovae_error *err)
{
    if (kind == IV_SCALE_NONE) {
        fit_none(m, out);
        return ISOVAE_OK;
    }
    if (kind == IV_SCALE_UNIT) return fit_unit(m, data, out, err);
    if (kind == IV_SCALE_MIXED) return fit_mixed(m, data, out, err);
    for (size_t i = 0; i < out->cols; i++) {
        double shift = 0, scale = 1;
        if (kind == IV_SCALE_STANDARD) {
            shift = m->mean[i];
            scale = sqrt(m->variance[i]);
        } else if (kind == IV_SCALE_MINMAX) {
            shift = m->low[i];
            scale = m->high[i] - m->low[i];
        }
        out->shift[i] = shift;
        out->scale[i] = scale > 0 ? scale : 1;
        out->weight[i] = 1;
    }
    return ISOVAE_OK;
}

static isovae_status allocate(size_t cols, iv_scaling *out, isovae_error *err)
{
    out->cols = cols;
    IV_TRY(IV_NEW(out->shift, cols, "scaling", err));
    IV_TRY(IV_NEW(out->scale, cols, "scaling", err));
    return IV_NEW(out->weight, cols, "scaling", err);
}

isovae_status iv_scaling_fit(iv_scale_kind kind, const iv_dataset *data, const size_t *rows,
                             size_t n_rows, iv_scaling *out, isovae_error *err)
{
    *out = (iv_scaling){.kind = kind};
    if (n_rows == 0) return iv_fail(err, ISOVAE_ERR_DATA, "there is no row to fit a scaling to");
    moments m = {0};
    isovae_status status = allocate(data->cols, out, err);
    if (status == ISOVAE_OK) status = moments_new(data, rows, n_rows, &m, err);
    if (status == ISOVAE_OK) status = fit(kind, data, &m, out, err);
    moments_free(&m);
    if (status != ISOVAE_OK) {
        iv_scaling_free(out);
        return status;
    }
    out->uniform = true;
    for (size_t i = 1; i < out->cols; i++) {
        if (out->scale[i] != out->scale[0] || out->weight[i] != out->weight[0])
            out->uniform = false;
    }
    return ISOVAE_OK;
}

isovae_status iv_scaling_copy(const iv_scaling *from, iv_scaling *out, isovae_error *err)
{
    *out = (iv_scaling){.kind = from->kind, .uniform = from->uniform};
    isovae_status status = allocate(from->cols, out, err);
    if (status != ISOVAE_OK) {
        iv_scaling_free(out);
        return status;
    }
    memcpy(out->shift, from->shift, from->cols * sizeof *out->shift);
    memcpy(out->scale, from->scale, from->cols * sizeof *out->scale);
    memcpy(out->weight, from->weight, from->cols * sizeof *out->weight);
    return ISOVAE_OK;
}

void iv_scaling_free(iv_scaling *scaling)
{
    iv_free(scaling->shift);
    iv_free(scaling->scale);
    iv_free(scaling->weight);
    *scaling = (iv_scaling){0};
}

size_t iv_scaling_kept(const iv_scaling *scaling)
{
    size_t kept = 0;
    for (size_t i = 0; i < scaling->cols; i++) kept += !iv_scaling_drops(scaling, i);
    return kept;
}

bool iv_scaling_changes_at(const iv_scaling *scaling, const iv_dataset *data, size_t row, size_t i)
{
    return iv_scaling_changed(scaling, i, value_at(data, row, i));
}

size_t iv_scaling_changes(const iv_scaling *scaling, const iv_dataset *data, size_t row)
{
    size_t changes = 0;
    if (scaling->kind != IV_SCALE_MIXED) return 0;
    for (size_t i = 0; i < scaling->cols; i++) {
        changes += iv_scaling_changes_at(scaling, data, row, i);
    }
    return changes;
}

/* Bytes under one shift and scale are looked up: there are but 256 of them. */
static void rows_of_bytes(const iv_scaling *scaling, const iv_dataset *data, const size_t *rows,
                          size_t n_rows, float *out)
{
    size_t cols = scaling->cols;
    float table[256];
    for (size_t v = 0; v < 256; v++) {
        table[v] = (float)(((double)v - scaling->shift[0]) / scaling->scale[0]);
    }
    for (size_t r = 0; r < n_rows; r++) {
        const unsigned char *from = data->bytes + rows[r] * cols;
        for (size_t i = 0; i < cols; i++) out[r * cols + i] = table[from[i]];
        iv_dataset_use(data, IV_ROWS_TOUCHED, rows + r, 1);
    }
}

void iv_scaling_rows(const iv_scaling *scaling, const iv_dataset *data, const size_t *rows,
                     size_t n_rows, float *out)
{
    size_t cols = scaling->cols;
    iv_dataset_use(data, IV_ROWS_WANTED, rows, n_rows);
    bool one = scaling->kind == IV_SCALE_UNIT || scaling->kind == IV_SCALE_IDENTITY;
    if (data->bytes != NULL && one && n_rows * cols > 1024) {
        rows_of_bytes(scaling, data, rows, n_rows, out);
        return;
    }
    for (size_t r = 0; r < n_rows; r++) {
        float *to = out + r * cols;
        if (data->bytes != NULL) {
            const unsigned char *from = data->bytes + rows[r] * cols;
            for (size_t i = 0; i < cols; i++) {
                to[i] = (float)(((double)from[i] - scaling->shift[i]) / scaling->scale[i]);
            }
        } else {
            const float *from = data->values + rows[r] * cols;
            for (size_t i = 0; i < cols; i++) {
                to[i] = (float)(((double)from[i] - scaling->shift[i]) / scaling->scale[i]);
            }
        }
        for (size_t i = 0; scaling->kind == IV_SCALE_MIXED && i < cols; i++) {
            if (iv_scaling_drops(scaling, i)) to[i] = 0;
        }
        iv_dataset_use(data, IV_ROWS_TOUCHED, rows + r, 1);
    }
}

void iv_scaling_rows_f64(const iv_scaling *scaling, const iv_dataset *data, const size_t *rows,
                         size_t n_rows, double *out)
{
    size_t cols = scaling->cols;
    iv_dataset_use(data, IV_ROWS_WANTED, rows, n_rows);
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t i = 0; i < cols; i++) {
            out[r * cols + i] =
                iv_scaling_drops(scaling, i)
                    ? 0
                    : (value_at(data, rows[r], i) - scaling->shift[i]) / scaling->scale[i];
        }
        iv_dataset_use(data, IV_ROWS_TOUCHED, rows + r, 1);
    }
}

void iv_scaling_undo(const iv_scaling *scaling, size_t n_rows, double *values)
{
    size_t cols = scaling->cols;
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t i = 0; i < cols; i++) {
            double *value = &values[r * cols + i];
            *value = iv_scaling_drops(scaling, i) ? scaling->shift[i]
                                                  : scaling->shift[i] + scaling->scale[i] * *value;
        }
    }
}

double iv_scaling_log_volume(const iv_scaling *scaling)
{
    double sum = 0;
    for (size_t i = 0; i < scaling->cols; i++) {
        if (!iv_scaling_drops(scaling, i)) sum += log(scaling->scale[i] / sqrt(scaling->weight[i]));
    }
    return sum;
}
