/* The table of metrics; specifications as text; a metric on a backend. */
#include "metric/metric.h"

#include "base/file.h"
#include "base/memory.h"
#include "metric/kinds.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* By iv_loss. */
static const iv_metric_kind *const kinds[] = {&iv_metric_sse,   &iv_metric_weighted,
                                              &iv_metric_bce,   &iv_metric_ssim,
                                              &iv_metric_noise, &iv_metric_student};

/* The paper's weights: a(x) = 2/3 + 2 |x|^2/21 (down-convex) or its inverse (up-convex). */
static const double paper_c0 = 2.0 / 3, paper_c1 = 2.0 / 21;

static isovae_status bad_spec(const char *text, isovae_error *err)
{
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "--loss: '%.60s' is not known; give sse, sse:feature, student, bce, ssim, "
                   "ssim:RANGE, weighted:down, weighted:up, weighted:C0,C1 or "
                   "weighted:inverse,C0,C1 with C0 > 0, C1 >= 0",
                   text);
}

/* "C0,C1" */
static bool parse_constants(const char *text, double *c0, double *c1)
{
    const char *comma = strchr(text, ',');
    return comma != NULL && iv_parse_double(text, (size_t)(comma - text), c0) &&
           iv_parse_double(comma + 1, strlen(comma + 1), c1) && isfinite(*c0) && isfinite(*c1) &&
           *c0 > 0 && *c1 >= 0;
}

isovae_status iv_metric_parse(const char *text, iv_metric_spec *out, isovae_error *err)
{
    static const char prefix[] = "weighted:", inverse[] = "inverse,", ssim[] = "ssim:";
    iv_metric_spec spec = {.loss = IV_LOSS_SSE};
    if (strcmp(text, "sse") == 0) {
        spec.loss = IV_LOSS_SSE;
    } else if (strcmp(text, "bce") == 0) {
        spec.loss = IV_LOSS_BCE;
    } else if (strcmp(text, "sse:feature") == 0) {
        spec.loss = IV_LOSS_NOISE;
    } else if (strcmp(text, "student") == 0) {
        spec.loss = IV_LOSS_STUDENT;
    } else if (strcmp(text, "ssim") == 0) {
        spec.loss = IV_LOSS_SSIM;
    } else if (strncmp(text, ssim, strlen(ssim)) == 0) {
        const char *rest = text + strlen(ssim);
        spec.loss = IV_LOSS_SSIM;
        if (!iv_parse_double(rest, strlen(rest), &spec.range) || !isfinite(spec.range) ||
            spec.range < 1e-12 || spec.range > 1e12) {
            return bad_spec(text, err);
        }
    } else if (strncmp(text, prefix, strlen(prefix)) == 0) {
        const char *rest = text + strlen(prefix);
        spec.loss = IV_LOSS_WEIGHTED;
        spec.c0 = paper_c0;
        spec.c1 = paper_c1;
        if (strcmp(rest, "down") == 0) {
            spec.inverse = false;
        } else if (strcmp(rest, "up") == 0) {
            spec.inverse = true;
        } else {
            spec.inverse = strncmp(rest, inverse, strlen(inverse)) == 0;
            if (spec.inverse) rest += strlen(inverse);
            if (!parse_constants(rest, &spec.c0, &spec.c1)) return bad_spec(text, err);
        }
    } else {
        return bad_spec(text, err);
    }
    *out = spec;
    return ISOVAE_OK;
}

static bool same(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

void iv_metric_format(const iv_metric_spec *spec, char *out, size_t size)
{
    if (spec->loss == IV_LOSS_SSIM && spec->range > 0) {
        char range[32];
        (void)iv_format_double(range, sizeof range, spec->range, 17);
        (void)snprintf(out, size, "ssim:%s", range);
    } else if (spec->loss != IV_LOSS_WEIGHTED) {
        (void)snprintf(out, size, "%s", kinds[spec->loss]->name);
    } else if (same(spec->c0, paper_c0) && same(spec->c1, paper_c1)) {
        (void)snprintf(out, size, "weighted:%s", spec->inverse ? "up" : "down");
    } else {
        char c0[32], c1[32];
        (void)iv_format_double(c0, sizeof c0, spec->c0, 17);
        (void)iv_format_double(c1, sizeof c1, spec->c1, 17);
        (void)snprintf(out, size, "weighted:%s%s,%s", spec->inverse ? "inverse," : "", c0, c1);
    }
}

static isovae_status upload_weight(iv_metric *m, const double *weight, isovae_error *err)
{
    bool plain = true, some = false;
    for (size_t i = 0; i < m->d; i++) {
        if (!isfinite(weight[i]) || weight[i] < 0) {
            return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                           "feature %zu has the weight %g in the metric; weights must be finite "
                           "and not negative",
                           i, weight[i]);
        }
        plain = plain && same(weight[i], 1.0);
        some = some || weight[i] > 0;
    }
    if (!some) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "no feature has a weight in the metric");
    }
    if (plain) return ISOVAE_OK;
    if (m->kind->logits) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--loss %s looks at the values themselves, in [0, 1], and takes no weights "
                       "of features; use --scale unit, minmax or identity",
                       m->kind->name);
    }
    if (m->kind->loss == IV_LOSS_SSIM) {
        return iv_fail(
            err, ISOVAE_ERR_ARGUMENT,
            "--loss ssim looks at pictures as they are and takes no weights of features; "
            "use --scale unit or identity");
    }
    IV_TRY(m->k->alloc(&m->weight, m->d, "the weights of the features", err));
    m->k->upload(m->weight, weight, m->d);
    return ISOVAE_OK;
}

isovae_status iv_metric_image_fits(const iv_metric_image *image, size_t d, isovae_error *err)
{
    size_t size;
    if (image->height == 0 || image->width == 0 || image->channels == 0) {
        return iv_fail(
            err, ISOVAE_ERR_ARGUMENT,
            "--loss ssim compares pictures, and these rows are none: give images, or use "
            "--loss sse");
    }
    if (!iv_size_mul(image->height, image->width, &size) ||
        !iv_size_mul(size, image->channels, &size) || size != d) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--loss ssim: %zu x %zu pictures of %zu channels do not have %zu values",
                       image->height, image->width, image->channels, d);
    }
    if (image->height < IV_SSIM_WINDOW || image->width < IV_SSIM_WINDOW) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--loss ssim: pictures of %zu x %zu are smaller than its window of %d x %d; "
                       "use larger ones, or --loss sse",
                       image->height, image->width, IV_SSIM_WINDOW, IV_SSIM_WINDOW);
    }
    return ISOVAE_OK;
}

static isovae_status set_ssim(iv_metric *m, const iv_metric_spec *spec, const iv_metric_use *use,
                              isovae_error *err)
{
    const iv_metric_image *i = &use->image;
    double range = spec->range > 0 ? spec->range : 1;
    size_t size;
    IV_TRY(iv_metric_image_fits(i, use->d, err));
    m->ssim = (iv_ssim){.planes = i->planar ? i->channels : 1,
                        .height = i->height,
                        .length = i->planar ? i->width : i->width * i->channels,
                        .step = i->planar ? 1 : i->channels,
                        .c1 = 0.0001 * range * range,
                        .c2 = 0.0009 * range * range};
    m->scratch_size = (m->k->ssim_scratch(&m->ssim) + 15) / 16 * 16;
    if (!iv_size_mul(m->lanes, m->scratch_size, &size)) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "pictures of %zu values are too large", use->d);
    }
    return m->k->alloc(&m->scratch, size, "the windows of ssim", err);
}

/* Of the weights, whose place learned noise takes, there remains which features have none. */
static isovae_status find_dropped(iv_metric *m, const double *weight, isovae_error *err)
{
    bool some = false;
    for (size_t i = 0; weight != NULL && i < m->d; i++) some = some || !(weight[i] > 0);
    if (!some) return ISOVAE_OK;
    IV_TRY(IV_NEW(m->dropped, m->d, "features that do not count", err));
    for (size_t i = 0; i < m->d; i++) m->dropped[i] = !(weight[i] > 0);
    return ISOVAE_OK;
}

static isovae_status set_learned(iv_metric *m, const double *weight, isovae_error *err)
{
    static const char what[] = "the learned noise";
    size_t count;
    if (!iv_size_mul(m->kind->n_learned, m->d, &count)) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "%zu features are too many", m->d);
    }
    IV_TRY(find_dropped(m, weight, err));
    IV_TRY(IV_NEW(m->learned, count, what, err));
    IV_TRY(IV_NEW(m->stage, m->d, what, err));
    IV_TRY(m->k->alloc(&m->weight, m->d, what, err));
    if (m->kind->loss == IV_LOSS_STUDENT) {
        IV_TRY(m->k->alloc(&m->inner, m->d, what, err));
        IV_TRY(m->k->alloc(&m->outer, m->d, what, err));
    }
    m->kind->settle(m);
    return ISOVAE_OK;
}

isovae_status iv_metric_new(const iv_metric_spec *spec, const iv_kernels *k,
                            const iv_metric_use *use, iv_metric **out, isovae_error *err)
{
    *out = NULL;
    iv_metric *m;
    IV_TRY(IV_NEW(m, 1, "a metric", err));
    *m = (iv_metric){.kind = kinds[spec->loss],
                     .k = k,
                     .d = use->d,
                     .lanes = use->lanes > 0 ? use->lanes : 1,
                     .c0 = spec->c0,
                     .c1 = spec->c1,
                     .inverse = spec->inverse};
    isovae_status status = ISOVAE_OK;
    if (m->kind->n_learned > 0) {
        status = set_learned(m, use->weight, err);
    } else if (use->weight != NULL) {
        status = upload_weight(m, use->weight, err);
    }
    if (status == ISOVAE_OK && spec->loss == IV_LOSS_SSIM) status = set_ssim(m, spec, use, err);
    if (status != ISOVAE_OK) {
        iv_metric_free(m);
        return status;
    }
    *out = m;
    return ISOVAE_OK;
}

void iv_metric_free(iv_metric *metric)
{
    if (metric == NULL) return;
    if (metric->weight != NULL) metric->k->release(metric->weight);
    if (metric->scratch != NULL) metric->k->release(metric->scratch);
    if (metric->inner != NULL) metric->k->release(metric->inner);
    if (metric->outer != NULL) metric->k->release(metric->outer);
    iv_free(metric->learned);
    iv_free(metric->stage);
    iv_free(metric->dropped);
    iv_free(metric);
}

void iv_metric_row_factor(const iv_metric *m, size_t rows, const void *xhat, double *a)
{
    if (m->kind->loss == IV_LOSS_WEIGHTED) {
        iv_weighted_factors(m, rows, xhat, a);
    } else {
        for (size_t r = 0; r < rows; r++) a[r] = 1;
    }
}

size_t iv_metric_learned(const iv_metric_spec *spec, size_t d)
{
    return kinds[spec->loss]->n_learned * d;
}

const char *const *iv_metric_learned_names(const iv_metric_spec *spec, size_t *n)
{
    *n = kinds[spec->loss]->n_learned;
    return kinds[spec->loss]->learned_names;
}

void iv_metric_settle(iv_metric *m, const void *learned)
{
    if (m->kind->n_learned == 0) return;
    m->k->download(m->learned, learned, m->kind->n_learned * m->d);
    m->kind->settle(m);
}

/* Vector 0 is log s, vector 1 log nu. */
void iv_metric_limit(const iv_metric *m, double log_floor, void *learned)
{
    for (size_t p = 0; p < m->kind->n_learned; p++) {
        void *vector = iv_at(m->k, learned, p * m->d);
        double lo = p == 0 ? log_floor : 0,
               hi = p == 0 ? IV_METRIC_MAX_LOG_S : log(IV_METRIC_MAX_NU);
        m->k->download(m->stage, vector, m->d);
        for (size_t i = 0; i < m->d; i++) m->stage[i] = fmin(fmax(m->stage[i], lo), hi);
        m->k->upload(vector, m->stage, m->d);
    }
}

void iv_metric_diagonal(const iv_metric *m, const double *weight, double *out)
{
    if (m->kind->diagonal != NULL) {
        m->kind->diagonal(m, out);
        return;
    }
    for (size_t i = 0; i < m->d; i++) out[i] = weight != NULL ? weight[i] : 1;
}
