/* SSIM against the reference files, against windows summed one by one, on pictures, and against
 * central differences; in both orders of the channels. */
#include "support_backend.h"

#include "base/memory.h"
#include "base/pool.h"
#include "base/random.h"
#include "data/dataset.h"
#include "metric/metric.h"
#include "metric/quality.h"
#include "model/model.h"
#include "theory/gram.h"
#include "theory/rows.h"
#include "theory/score.h"
#include "theory/walk.h"

#include <math.h>

enum { BLOCKS = 4 };

static const iv_kernels *tables[5];
static size_t n_tables;

static int setup(void **state)
{
    static const char *const isas[] = {"baseline", "avx2", "avx512"};
    (void)state;
    tables[n_tables++] = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    tables[n_tables++] = iv_kernels_get(IV_PRECISION_F32_REFERENCE, NULL);
    for (size_t i = 0; i < 3; i++) {
        const iv_kernels *k = iv_kernels_get(IV_PRECISION_F32, isas[i]);
        if (k != NULL) tables[n_tables++] = k;
    }
    return 0;
}

/* ---- plain memory ---- */

static double *room(size_t n)
{
    double *out = calloc(n, sizeof *out);
    assert_non_null(out);
    return out;
}

static iv_metric *ssim_of(const iv_kernels *k, const iv_metric_image *image, double range,
                          size_t lanes)
{
    iv_metric_spec spec = {.loss = IV_LOSS_SSIM, .range = range};
    iv_metric_use use = {
        .d = image->height * image->width * image->channels, .image = *image, .lanes = lanes};
    iv_metric *m;
    isovae_error err;
    assert_int_equal(iv_metric_new(&spec, k, &use, &m, &err), ISOVAE_OK);
    return m;
}

/* (c, h, w) to (h, w, c), count pictures */
static double *interleaved(const double *from, size_t count, const iv_metric_image *s)
{
    size_t plane = s->height * s->width, d = plane * s->channels;
    double *out = room(count * d);
    for (size_t n = 0; n < count; n++) {
        for (size_t c = 0; c < s->channels; c++) {
            for (size_t i = 0; i < plane; i++)
                out[n * d + i * s->channels + c] = from[n * d + c * plane + i];
        }
    }
    return out;
}

/* ---- the reference files ---- */

typedef struct reference {
    npz file;
    iv_metric_image shape; /* as in the file: planar */
    size_t rows, d;
    double range;
} reference;

static void run_reference(const reference *r, const iv_kernels *k, bool planar, double tolerance)
{
    iv_metric_image shape = r->shape;
    size_t n = r->rows * r->d, total = n * BLOCKS;
    static const char *const names[] = {"x", "xhat", "g_x", "g_xhat", "V", "GV"};
    double *arrays[6];
    shape.planar = planar;
    for (size_t i = 0; i < 6; i++) {
        const npz_array *a = npz_get(&r->file, names[i]);
        size_t count = i < 4 ? r->rows : r->rows * BLOCKS;
        assert_int_equal(a->count, count * r->d);
        if (planar) {
            arrays[i] = room(count * r->d);
            memcpy(arrays[i], a->values, count * r->d * sizeof(double));
        } else {
            arrays[i] = interleaved(a->values, count, &r->shape);
        }
    }
    iv_metric *m = ssim_of(k, &shape, r->range, 2);
    void *a = up(k, arrays[0], n), *b = up(k, arrays[1], n);
    double *got = room(r->rows), *want = room(total), *v = room(total);
    const double *value = npz_get(&r->file, "value")->values;
    m->kind->value(m, 1, r->rows, a, b, got);
    assert_near("value", got, value, r->rows, tolerance);
    m->kind->pair_value(m, 0, r->rows, b, a, got);
    assert_near("value of the pair exchanged", got, value, r->rows, tolerance);

    void *g = up(k, arrays[0], n); /* written over */
    for (size_t i = 0; i < n; i++) want[i] = -0.75 * arrays[3][i];
    m->kind->gradient(m, 0, r->rows, a, b, -0.75, g);
    check(k, "g_xhat", g, want, n, tolerance);
    void *g_x = up(k, arrays[0], n), *g_y = up(k, arrays[0], n); /* g_x is added to */
    m->kind->pair_gradient(m, 1, r->rows, a, b, -0.75, g_x, g_y);
    check(k, "pair g_xhat", g_y, want, n, tolerance);
    for (size_t i = 0; i < n; i++) want[i] = arrays[0][i] - 0.75 * arrays[2][i];
    check(k, "pair g_x", g_x, want, n, tolerance);

    /* V of the file is (row, block, d); blocks come first here */
    for (size_t row = 0; row < r->rows; row++) {
        for (size_t block = 0; block < BLOCKS; block++) {
            size_t from = (row * BLOCKS + block) * r->d, to = (block * r->rows + row) * r->d;
            memcpy(v + to, arrays[4] + from, r->d * sizeof(double));
            memcpy(want + to, arrays[5] + from, r->d * sizeof(double));
        }
    }
    void *from = up(k, v, total), *to = up(k, NULL, total);
    m->kind->apply_g(m, 1, r->rows, a, BLOCKS, from, n, to, n);
    check(k, "GV", to, want, total, tolerance);
    k->release(a);
    k->release(b);
    k->release(from);
    free(got);
    free(want);
    free(v);
    for (size_t i = 0; i < 6; i++) free(arrays[i]);
    iv_metric_free(m);
}

static void references(void **state)
{
    static const char *const files[] = {"metrics/ssim_c1.npz", "metrics/ssim_c3.npz"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        reference r = {0};
        if (!npz_open(&r.file, files[i])) skip();
        const npz_array *x = npz_get(&r.file, "x");
        assert_int_equal(x->rank, 4);
        r.rows = x->shape[0];
        r.shape = (iv_metric_image){
            .height = x->shape[2], .width = x->shape[3], .channels = x->shape[1], .planar = true};
        r.d = x->count / r.rows;
        r.range = npz_get(&r.file, "data_range")->values[0];
        for (size_t t = 0; t < n_tables; t++) {
            double tolerance = tables[t]->dtype == IV_F64 ? 1e-12 : 1e-5;
            run_reference(&r, tables[t], true, tolerance);
            run_reference(&r, tables[t], false, tolerance);
        }
        npz_close(&r.file);
    }
}

/* ---- windows one by one ---- */

typedef struct direct {
    double ssim, contrast; /* means of l cs and of cs */
} direct;

/* Straight from the definition, planes of (c, h, w): every window's 121 weights. */
static direct by_definition(const double *x, const double *y, const iv_metric_image *s,
                            double range)
{
    enum { N = 11 };
    double w[N][N], total = 0, c1 = 1e-4 * range * range, c2 = 9e-4 * range * range;
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            w[i][j] = exp(-(double)((i - 5) * (i - 5) + (j - 5) * (j - 5)) / (2 * 1.5 * 1.5));
            total += w[i][j];
        }
    }
    direct out = {0};
    size_t windows = 0;
    for (size_t c = 0; c < s->channels; c++) {
        for (size_t h = 0; h + N <= s->height; h++) {
            for (size_t k = 0; k + N <= s->width; k++) {
                double mx = 0, my = 0, vx = 0, vy = 0, cov = 0;
                for (int pass = 0; pass < 2; pass++) {
                    for (size_t i = 0; i < N; i++) {
                        for (size_t j = 0; j < N; j++) {
                            size_t at = (c * s->height + h + i) * s->width + k + j;
                            double weight = w[i][j] / total;
                            if (pass == 0) {
                                mx += weight * x[at];
                                my += weight * y[at];
                            } else {
                                vx += weight * (x[at] - mx) * (x[at] - mx);
                                vy += weight * (y[at] - my) * (y[at] - my);
                                cov += weight * (x[at] - mx) * (y[at] - my);
                            }
                        }
                    }
                }
                double l = (2 * mx * my + c1) / (mx * mx + my * my + c1);
                double cs = (2 * cov + c2) / (vx + vy + c2);
                out.ssim += l * cs;
                out.contrast += cs;
                windows++;
            }
        }
    }
    out.ssim /= (double)windows;
    out.contrast /= (double)windows;
    return out;
}

static double wave(size_t i)
{
    return sin(1.7 * (double)i + 0.3 * (double)(i * i % 11));
}

/* A picture spoilt in one of six ways. */
static void spoil(const double *x, const iv_metric_image *s, size_t way, double range, double *y)
{
    size_t d = s->height * s->width * s->channels;
    for (size_t i = 0; i < d; i++) {
        size_t column = i % s->width;
        switch (way % 6) {
        case 0: y[i] = x[i]; break;
        case 1: y[i] = x[i] + 0.1 * range * wave(i); break;
        case 2: y[i] = 0.5 * x[i] + 0.2 * range; break;
        case 3: y[i] = column > 0 ? x[i - 1] : x[i]; break;
        case 4: y[i] = range - x[i]; break;
        default: y[i] = x[i] + 1e-4 * range * wave(i); break;
        }
    }
}

/* All backends in both orders, and the quality of reports, against the definition. */
static void compare_picture(const double *x, const double *y, const iv_metric_image *planar,
                            double range, double tolerance)
{
    size_t d = planar->height * planar->width * planar->channels;
    direct want = by_definition(x, y, planar, range);
    for (size_t t = 0; t < n_tables; t++) {
        const iv_kernels *k = tables[t];
        for (int order = 0; order < 2; order++) {
            iv_metric_image shape = *planar;
            shape.planar = order == 0;
            double *a = interleaved(x, 1, planar), *b = interleaved(y, 1, planar), got;
            iv_metric *m = ssim_of(k, &shape, range, 1);
            void *x_up = up(k, order == 0 ? x : a, d), *y_up = up(k, order == 0 ? y : b, d);
            m->kind->value(m, 0, 1, x_up, y_up, &got);
            double allowed = k->dtype == IV_F64 ? 1e-12 : tolerance;
            if (!(fabs(got - (1 - want.ssim)) <= allowed))
                fail_msg("%s %s: %.12g, by definition %.12g", k->name, k->isa, got, 1 - want.ssim);
            k->release(x_up);
            k->release(y_up);
            iv_metric_free(m);
            free(a);
            free(b);
        }
    }
    for (int order = 0; order < 2; order++) {
        iv_metric_image shape = *planar;
        shape.planar = order == 0;
        double *a = interleaved(x, 1, planar), *b = interleaved(y, 1, planar);
        iv_quality_room *quality;
        iv_quality q;
        isovae_error err;
        assert_int_equal(iv_quality_new(&shape, range, &quality, &err), ISOVAE_OK);
        iv_quality_of(quality, order == 0 ? x : a, order == 0 ? y : b, &q);
        assert_true(fabs(q.ssim - want.ssim) <= 1e-11);
        iv_quality_free(quality);
        free(a);
        free(b);
    }
}

static const char *data_path(const char *name, char path[1024])
{
    char file[256];
    (void)snprintf(file, sizeof file, "../data/%s", name);
    return reference_path(file, path);
}

static void pictures(void **state)
{
    iv_metric_image shape = {.height = 28, .width = 28, .channels = 1, .planar = true};
    char path[1024];
    iv_dataset *data;
    isovae_error err;
    (void)state;
    if (access(data_path("fashion_mnist/t10k-images-idx3-ubyte.gz", path), R_OK) != 0) skip();
    assert_int_equal(iv_dataset_open(path, NULL, &data, &err), ISOVAE_OK);
    assert_int_equal(data->height, 28);
    double x[784], y[784];
    for (size_t row = 0; row < 60; row++) {
        for (size_t i = 0; i < 784; i++) x[i] = (double)data->bytes[row * 784 + i] / 255;
        spoil(x, &shape, row, 1, y);
        if (row % 7 == 6) {
            for (size_t i = 0; i < 784; i++)
                y[i] = (double)data->bytes[(row + 100) * 784 + i] / 255;
        }
        compare_picture(x, y, &shape, 1, 2e-6);
    }
    iv_dataset_free(data);
}

/* Without any data: odd shapes, several channels, flat parts, another range. */
static void made_up(void **state)
{
    static const iv_metric_image shapes[] = {
        {11, 11, 1, true}, {12, 31, 2, true}, {33, 13, 3, true}, {64, 64, 3, true}};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        const iv_metric_image *s = &shapes[i];
        size_t d = s->height * s->width * s->channels;
        double *x = room(d), *y = room(d), range = i == 2 ? 40 : 1;
        for (size_t way = 0; way < 6; way++) {
            for (size_t k = 0; k < d; k++) {
                bool flat = way % 2 == 0 && k % (s->height * s->width) < d / 3;
                x[k] = (float)(range * (flat ? 0.9 : 0.5 + 0.4 * wave(k / 3)));
            }
            spoil(x, s, way, range, y);
            for (size_t k = 0; k < d; k++) y[k] = (float)y[k];
            compare_picture(x, y, s, range, 2e-6);
        }
        free(x);
        free(y);
    }
}

/* Where pictures are nearly alike the distance is small and still right in single precision: the
 * textbook form would have lost it altogether. */
static void nearly_alike(void **state)
{
    iv_metric_image s = {.height = 24, .width = 24, .channels = 1, .planar = true};
    size_t d = 576;
    double *x = room(d), *y = room(d), got;
    (void)state;
    for (size_t i = 0; i < d; i++) {
        x[i] = (float)(0.5 + 0.1 * wave(i / 2));
        y[i] = (float)(x[i] + 2e-5 * wave(i + 9));
    }
    direct want = by_definition(x, y, &s, 1);
    double distance = 1 - want.ssim;
    assert_true(distance > 1e-10 && distance < 1e-6);
    for (size_t t = 0; t < n_tables; t++) {
        const iv_kernels *k = tables[t];
        iv_metric *m = ssim_of(k, &s, 1, 1);
        void *a = up(k, x, d), *b = up(k, y, d);
        m->kind->value(m, 0, 1, a, b, &got);
        assert_true(fabs(got - distance) < (k->dtype == IV_F64 ? 1e-6 : 1e-3) * distance);
        k->release(a);
        k->release(b);
        iv_metric_free(m);
    }
    free(x);
    free(y);
}

/* ---- derivatives ---- */

static double difference(const iv_metric *m, const double *x, const double *y, double *at)
{
    const double step = 1e-6;
    double plus, minus, was = *at;
    *at = was + step; /* f64 backend memory is host memory here */
    m->kind->value(m, 0, 1, x, y, &plus);
    *at = was - step;
    m->kind->value(m, 0, 1, x, y, &minus);
    *at = was;
    return (plus - minus) / (2 * step);
}

static void differences(void **state)
{
    (void)state;
    for (int planar = 0; planar < 2; planar++) {
        iv_metric_image s = {.height = 14, .width = 17, .channels = 2, .planar = planar != 0};
        enum { D = 14 * 17 * 2 };
        double x[D], y[D], g[D], g_x[D] = {0}, g_y[D], u[D], gu[D], value, form = 0;
        iv_metric *m = ssim_of(tables[0], &s, 2, 1);
        for (size_t i = 0; i < D; i++) {
            x[i] = wave(i);
            y[i] = 0.7 * wave(i) + 0.3 * wave(i + 77);
            u[i] = 1e-5 * wave(i + 500);
        }
        m->kind->gradient(m, 0, 1, x, y, 1, g);
        m->kind->pair_gradient(m, 0, 1, x, y, 1, g_x, g_y);
        for (size_t i = 0; i < D; i += 7) {
            assert_true(fabs(g[i] - difference(m, x, y, &y[i])) < 1e-9);
            assert_true(fabs(g_y[i] - g[i]) < 1e-15);
            assert_true(fabs(g_x[i] - difference(m, x, y, &x[i])) < 1e-9);
        }
        /* D(x, x + u) ~ u^T G u, and the gradient vanishes there */
        for (size_t i = 0; i < D; i++) y[i] = x[i] + u[i];
        m->kind->apply_g(m, 0, 1, x, 1, u, D, gu, D);
        m->kind->value(m, 0, 1, x, y, &value);
        for (size_t i = 0; i < D; i++) form += u[i] * gu[i];
        assert_true(form > 0 && fabs(value - form) < 1e-3 * form);
        m->kind->gradient(m, 0, 1, x, x, 1, g);
        for (size_t i = 0; i < D; i++) assert_true(fabs(g[i]) < 1e-16);
        iv_metric_free(m);
    }
}

/* A row's bytes are its own: not its neighbours', not the lane's, not the number of blocks'. */
static void rows_alone(void **state)
{
    enum { ROWS = 5, LANES = 3 };
    iv_metric_image s = {.height = 16, .width = 19, .channels = 3};
    size_t d = 16 * 19 * 3;
    (void)state;
    for (size_t t = 0; t < n_tables; t++) {
        const iv_kernels *k = tables[t];
        size_t bytes = d * k->size;
        double *x = room(ROWS * d), *y = room(ROWS * d), all[ROWS], one;
        for (size_t i = 0; i < ROWS * d; i++) {
            x[i] = 0.5 + 0.5 * wave(i);
            y[i] = 0.5 + 0.5 * wave(i + i / 5);
        }
        iv_metric *m = ssim_of(k, &s, 1, LANES);
        void *a = up(k, x, ROWS * d), *b = up(k, y, ROWS * d), *g = up(k, NULL, ROWS * d);
        void *g_one = up(k, NULL, d), *v = up(k, y, ROWS * d), *gv = up(k, NULL, 2 * ROWS * d);
        m->kind->value(m, 0, ROWS, a, b, all);
        m->kind->gradient(m, 0, ROWS, a, b, 0.3, g);
        /* two blocks of the same rows, half a picture apart from each other in V */
        m->kind->apply_g(m, 0, ROWS, a, 1, v, ROWS * d, gv, ROWS * d);
        m->kind->apply_g(m, 0, 1, a, 2, v, d, iv_at(k, gv, ROWS * d), d);
        assert_memory_equal(gv, iv_at(k, gv, ROWS * d), bytes); /* row 0, block 0 */
        for (size_t r = 0; r < ROWS; r++) {
            size_t lane = r % LANES;
            m->kind->value(m, lane, 1, iv_at(k, a, r * d), iv_at(k, b, r * d), &one);
            assert_memory_equal(&one, &all[r], sizeof one);
            m->kind->gradient(m, lane, 1, iv_at(k, a, r * d), iv_at(k, b, r * d), 0.3, g_one);
            assert_memory_equal(g_one, iv_at(k, g, r * d), bytes);
            m->kind->apply_g(m, lane, 1, iv_at(k, a, r * d), 1, iv_at(k, v, r * d), d, g_one, d);
            assert_memory_equal(g_one, iv_at(k, gv, r * d), bytes);
        }
        k->release(a);
        k->release(b);
        k->release(g);
        k->release(g_one);
        k->release(v);
        k->release(gv);
        iv_metric_free(m);
        free(x);
        free(y);
    }
}

/* ---- in a model: the theory's G, the residual and the quality of reports ---- */

typedef struct grams {
    const iv_rows *rows;
    double *gram, *steps; /* rows x n x n; rows x n: D(xhat, Dec(mu + h e_j))/h^2 */
} grams;

static void gram_chunk(void *user, iv_lane *lane, size_t first, size_t count)
{
    const double h = 1e-4;
    const grams *g = user;
    const iv_pass *pass = lane->pass;
    size_t n = pass->n;
    double *z = room(count * n), *value = room(count);
    iv_lane_load(lane, g->rows->index + first, count);
    iv_lane_decode(lane, count, g->rows->mu + first * n);
    iv_lane_gram(lane, count, g->rows->logvar + first * n);
    memcpy(g->gram + first * n * n, lane->gram, count * n * n * sizeof(double));
    for (size_t j = 0; j < n; j++) {
        memcpy(z, g->rows->mu + first * n, count * n * sizeof *z);
        for (size_t r = 0; r < count; r++) z[r * n + j] += h;
        iv_lane_decode(lane, count, z);
        pass->eval->metric->kind->value(pass->eval->metric, lane->index, count, lane->xhat,
                                        iv_lane_out(lane), value);
        for (size_t r = 0; r < count; r++) g->steps[(first + r) * n + j] = value[r] / (h * h);
    }
    free(z);
    free(value);
}

static void ok(isovae_status status, const isovae_error *err)
{
    if (status != ISOVAE_OK) fail_msg("%s", err->message);
}

static iv_model *picture_model(size_t height, size_t width, size_t channels, size_t n)
{
    isovae_error err;
    iv_model *m;
    iv_key key = {.seed = 4, .purpose = IV_PURPOSE_INIT};
    ok(iv_model_new(&m, &err), &err);
    ok(iv_model_build(m, "mlp:6", height * width * channels, n, IV_ACT_TANH, IV_F64, &err), &err);
    m->scaling = (iv_scaling){.kind = IV_SCALE_IDENTITY, .cols = m->d, .uniform = true};
    ok(IV_NEW(m->scaling.shift, m->d, "a test", &err), &err);
    ok(IV_NEW(m->scaling.scale, m->d, "a test", &err), &err);
    ok(IV_NEW(m->scaling.weight, m->d, "a test", &err), &err);
    for (size_t i = 0; i < m->d; i++) m->scaling.scale[i] = m->scaling.weight[i] = 1;
    iv_normals_f64(&key, m->param_elements, m->params);
    for (size_t i = 0; i < m->param_elements; i++) ((double *)m->params)[i] *= 0.2;
    ok(iv_metric_parse("ssim", &m->metric, &err), &err);
    m->height = height;
    m->width = width;
    m->channels = channels;
    m->beta = 0.01;
    for (size_t j = 0; j < n; j++) m->active[j] = 1;
    return m;
}

static iv_dataset *picture_data(const iv_model *m, size_t rows)
{
    iv_dataset *data;
    isovae_error err;
    double *values = room(rows * m->d);
    for (size_t i = 0; i < rows * m->d; i++) values[i] = 0.5 + 0.5 * wave(i + i / 17);
    ok(iv_dataset_from_rows(values, rows, m->d, NULL, &data, &err), &err);
    free(values);
    return data;
}

static void in_a_model(void **state)
{
    enum { ROWS = 40, N = 3 };
    isovae_error err;
    iv_model *m = picture_model(13, 12, 2, N);
    iv_dataset *data = picture_data(m, ROWS);
    size_t index[ROWS];
    (void)state;
    for (size_t i = 0; i < ROWS; i++) index[i] = i;
    iv_pass_plan plan = {.precision = IV_PRECISION_F64_REFERENCE, .full_gram = true};
    iv_pass *pass;
    iv_rows *rows;
    ok(iv_pass_new(m, data, &plan, &pass, &err), &err);
    ok(iv_rows_new(pass, index, ROWS, &rows, &err), &err);
    grams g = {rows, room(ROWS * N * N), room(ROWS * N)};
    ok(iv_pass_run(pass, "test", ROWS, gram_chunk, NULL, &g, &err), &err);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t j = 0; j < N; j++) {
            double want = g.steps[r * N + j], got = g.gram[(r * N + j) * N + j];
            assert_true(want > 0 && fabs(got - want) < 1e-2 * want);
        }
    }
    free(g.gram);
    free(g.steps);
    iv_rows_free(rows);
    iv_pass_free(pass);
    iv_dataset_free(data);
    iv_model_free(m);
}

/* The whole analysis: what it says of ssim, and that its two ways to SSIM agree. */
static void in_a_report(void **state)
{
    enum { ROWS = 50 };
    isovae_error err;
    iv_model *m = picture_model(24, 22, 1, 3);
    iv_dataset *data = picture_data(m, ROWS);
    (void)state;
    double first = 0;
    for (size_t threads = 1; threads <= 3; threads += 2) {
        iv_analysis_options options;
        iv_analysis *a;
        iv_pool *pool;
        iv_analysis_options_init(&options);
        options.iwae_draws = 0;
        ok(iv_pool_new(&pool, threads, &err), &err);
        options.pool = pool;
        ok(iv_analyse(m, data, &options, &a, &err), &err);
        const iv_image_quality *q = &a->image_quality;
        assert_int_equal(q->rows, ROWS);
        assert_int_equal(q->scales, 2);
        assert_true(fabs(q->range - 1) < 0.1);
        assert_string_equal(a->unit, "units of 1 - SSIM");
        assert_false(a->density.absolute);
        assert_false(a->pca.comparable);
        assert_true(isnan(a->elbo_nats));
        assert_true(isfinite(a->density.mean));
        /* the model's R is 1, the report's the range of the rows: nearly the same */
        assert_true(fabs(1 - a->distortion.transform - q->ssim) < 0.02);
        if (threads == 1) first = q->ssim + q->ms_ssim + q->psnr_db;
        assert_true(first == q->ssim + q->ms_ssim + q->psnr_db);
        iv_analysis_free(a);
        iv_pool_free(pool);
    }
    iv_score score[ROWS];
    size_t index[ROWS];
    for (size_t i = 0; i < ROWS; i++) index[i] = i;
    ok(iv_score_rows(m, data, index, ROWS, IV_ESTIMATE_LAPLACE, NULL, NULL, NULL, score, &err),
       &err);
    for (size_t i = 0; i < ROWS; i++) assert_true(isfinite(score[i].log_density));
    double feature[24 * 22], latent[3];
    assert_int_equal(iv_score_explain(m, data, 0, NULL, feature, latent, &err),
                     ISOVAE_ERR_UNSUPPORTED);
    /* a short step is as long as its gradient says */
    double step[2 * 24 * 22], *from = step, *to = step + 24 * 22, length[2];
    for (size_t i = 0; i < 24 * 22; i++) {
        from[i] = (double)data->values[i];
        to[i] = from[i] + 0.01 * wave(3 * i);
    }
    ok(iv_step_lengths(m, step, 2, length, &err), &err);
    direct want = by_definition(from, to, &(iv_metric_image){24, 22, 1, true}, 1);
    assert_true(fabs(length[1] - sqrt(1 - want.ssim)) < 1e-6);
    iv_dataset_free(data);
    iv_model_free(m);
}

/* Models whose pictures do not suit their metric are refused, not run. */
static void models_without_pictures(void **state)
{
    isovae_error err;
    iv_model *m = picture_model(12, 12, 1, 2);
    iv_dataset *data = picture_data(m, 3);
    iv_pass_plan plan = {.precision = IV_PRECISION_F32};
    iv_pass *pass;
    (void)state;
    m->height = m->width = m->channels = 0;
    assert_int_equal(iv_pass_new(m, data, &plan, &pass, &err), ISOVAE_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "pictures"));
    m->height = 72, m->width = 2, m->channels = 1;
    assert_int_equal(iv_pass_new(m, data, &plan, &pass, &err), ISOVAE_ERR_ARGUMENT);
    assert_null(pass);
    iv_dataset_free(data);
    iv_model_free(m);
}

/* Each lane works in scratch of its own: that of lane 0 stays as it is while lane 1 runs. */
static void lanes_apart(void **state)
{
    iv_metric_image s = {.height = 13, .width = 12, .channels = 1};
    enum { D = 13 * 12 };
    double x[D], y[D], g[D], h[D] = {0}, value;
    (void)state;
    iv_metric *m = ssim_of(tables[0], &s, 1, 2);
    double *scratch = m->scratch; /* f64 backend memory is host memory here */
    for (size_t i = 0; i < D; i++) x[i] = wave(i), y[i] = wave(i + 3);
    for (size_t i = 0; i < m->scratch_size; i++) scratch[i] = 7;
    m->kind->value(m, 1, 1, x, y, &value);
    m->kind->gradient(m, 1, 1, x, y, 1, g);
    m->kind->pair_gradient(m, 1, 1, x, y, 1, h, g);
    m->kind->apply_g(m, 1, 1, x, 1, y, D, g, D);
    for (size_t i = 0; i < m->scratch_size; i++) assert_true(scratch[i] == 7);
    m->kind->value(m, 0, 1, x, y, &value);
    assert_true(scratch[0] != 7);
    iv_metric_free(m);
}

/* A decoder whose output has three axes gives (c, h, w), a flat one (h, w, c). */
static void order_of_a_model(void **state)
{
    isovae_error err;
    iv_model *flat = picture_model(13, 12, 2, 3), *m;
    (void)state;
    iv_metric_image image = iv_model_image(flat);
    assert_true(image.height == 13 && image.width == 12 && image.channels == 2 && !image.planar);
    iv_model_free(flat);
    iv_graph *encoder, *decoder;
    size_t value, mu, logvar;
    iv_shape shape = {.rank = 1, .dim = {312}}, latents = {.rank = 1, .dim = {3}};
    ok(iv_graph_new(&encoder, &err), &err);
    ok(iv_graph_input(encoder, "x", &shape, &value, &err), &err);
    iv_node_spec spec = {.kind = "dense",
                         .name = "a",
                         .n_inputs = 1,
                         .inputs = {value},
                         .n_outputs = 1,
                         .outputs = {"mu"},
                         .units = 3};
    ok(iv_graph_node(encoder, &spec, &mu, &err), &err);
    spec.name = "b", spec.outputs[0] = "logvar";
    ok(iv_graph_node(encoder, &spec, &logvar, &err), &err);
    ok(iv_graph_output(encoder, mu, &err), &err);
    ok(iv_graph_output(encoder, logvar, &err), &err);
    ok(iv_graph_new(&decoder, &err), &err);
    ok(iv_graph_input(decoder, "z", &latents, &value, &err), &err);
    spec.name = "c", spec.outputs[0] = "flat", spec.inputs[0] = value, spec.units = 312;
    ok(iv_graph_node(decoder, &spec, &value, &err), &err);
    iv_node_spec reshape = {.kind = "reshape",
                            .name = "d",
                            .n_inputs = 1,
                            .inputs = {value},
                            .n_outputs = 1,
                            .outputs = {"out"},
                            .attributes = {.shape = {.rank = 3, .dim = {2, 13, 12}}}};
    ok(iv_graph_node(decoder, &reshape, &value, &err), &err);
    ok(iv_graph_output(decoder, value, &err), &err);
    ok(iv_model_new(&m, &err), &err);
    ok(iv_model_set_network(m, encoder, decoder, IV_F32, &err), &err);
    image = iv_model_image(m);
    assert_true(image.height == 13 && image.width == 12 && image.channels == 2 && image.planar);
    iv_model_free(m);
}

/* Pictures in another unit and range: the same model in scaled coordinates says the same, and bytes
 * that are scaled to 0..1 have R = 255. */
static void quality_units(void **state)
{
    enum { ROWS = 12 };
    isovae_error err;
    iv_quality_room *r;
    iv_quality q;
    (void)state;
    for (int bytes = 0; bytes < 2; bytes++) {
        iv_model *m = picture_model(12, 13, 1, 2);
        iv_dataset *data = picture_data(m, ROWS);
        m->scaling.kind = bytes ? IV_SCALE_UNIT : IV_SCALE_NONE;
        double scale = bytes ? 255 : 40, shift = bytes ? 0 : -3;
        for (size_t i = 0; i < m->d; i++) m->scaling.scale[i] = scale, m->scaling.shift[i] = shift;
        double low = INFINITY, high = -INFINITY;
        for (size_t i = 0; i < ROWS * m->d; i++) {
            data->values[i] = (float)(shift + scale * (double)data->values[i]);
            low = fmin(low, (double)data->values[i]);
            high = fmax(high, (double)data->values[i]);
        }
        iv_analysis_options options;
        iv_analysis *a;
        iv_analysis_options_init(&options);
        options.iwae_draws = 0;
        ok(iv_analyse(m, data, &options, &a, &err), &err);
        double range = bytes ? 255 : high - low, psnr = 0, ssim = 0;
        assert_true(fabs(a->image_quality.range - range) < 1e-9);
        double mu[ROWS * 2], *x = room(ROWS * m->d), *hat = room(ROWS * m->d);
        size_t index[ROWS];
        for (size_t i = 0; i < ROWS; i++) index[i] = i;
        ok(iv_encode_rows(m, data, index, ROWS, NULL, NULL, mu, NULL, NULL, &err), &err);
        ok(iv_decode_rows(m, mu, ROWS, NULL, NULL, hat, &err), &err);
        for (size_t i = 0; i < ROWS * m->d; i++) x[i] = (double)data->values[i];
        iv_metric_image image = iv_model_image(m);
        ok(iv_quality_new(&image, range, &r, &err), &err);
        for (size_t i = 0; i < ROWS; i++) {
            iv_quality_of(r, x + i * m->d, hat + i * m->d, &q);
            psnr += q.psnr / ROWS;
            ssim += q.ssim / ROWS;
        }
        assert_true(fabs(psnr - a->image_quality.psnr_db) < 1e-4);
        assert_true(fabs(ssim - a->image_quality.ssim) < 1e-5);
        iv_quality_free(r);
        iv_analysis_free(a);
        iv_dataset_free(data);
        iv_model_free(m);
        free(x);
        free(hat);
    }
}

/* ---- refusals ---- */

static void refuse(const iv_metric_use *use, const char *why)
{
    iv_metric_spec spec = {.loss = IV_LOSS_SSIM};
    iv_metric *m;
    isovae_error err;
    assert_int_equal(iv_metric_new(&spec, tables[0], use, &m, &err), ISOVAE_ERR_ARGUMENT);
    assert_null(m);
    assert_non_null(strstr(err.message, "--loss ssim"));
    if (strstr(err.message, why) == NULL) fail_msg("'%s' lacks '%s'", err.message, why);
}

static void refusals(void **state)
{
    double weight[121];
    (void)state;
    for (size_t i = 0; i < 121; i++) weight[i] = 2;
    refuse(&(iv_metric_use){.d = 121}, "pictures");
    refuse(&(iv_metric_use){.d = 121, .image = {.height = 11, .width = 11, .channels = 3}},
           "do not have 121");
    refuse(&(iv_metric_use){.d = 110, .image = {.height = 10, .width = 11, .channels = 1}},
           "smaller than its window");
    refuse(&(iv_metric_use){.d = 330, .image = {.height = 33, .width = 10, .channels = 1}},
           "smaller than its window");
    refuse(&(iv_metric_use){.d = 121,
                            .weight = weight,
                            .image = {.height = 11, .width = 11, .channels = 1}},
           "weights");
    refuse(
        &(iv_metric_use){
            .d = 6, .image = {.height = (size_t)1 << 40, .width = (size_t)1 << 40, .channels = 6}},
        "do not have 6");
}

/* ---- what reports say ---- */

static iv_quality quality_of(const iv_metric_image *s, double range, const double *x,
                             const double *y, size_t *scales)
{
    iv_quality_room *r;
    iv_quality q;
    isovae_error err;
    assert_int_equal(iv_quality_new(s, range, &r, &err), ISOVAE_OK);
    iv_quality_of(r, x, y, &q);
    *scales = iv_quality_scales(r);
    iv_quality_free(r);
    return q;
}

/* MS-SSIM from the definition: contrast of each scale, the whole at the last, usual weights. */
static double ms_by_definition(const double *x, const double *y, const iv_metric_image *shape,
                               double range, size_t scales)
{
    static const double usual[5] = {0.0448, 0.2856, 0.3001, 0.2363, 0.1333};
    double total = 0, product = 0;
    for (size_t j = 0; j < scales; j++) total += usual[j];
    for (size_t c = 0; c < shape->channels; c++) {
        iv_metric_image s = *shape;
        size_t d = s.height * s.width;
        double *a = room(d), *b = room(d), log_sum = 0;
        s.channels = 1;
        memcpy(a, x + c * d, d * sizeof *a);
        memcpy(b, y + c * d, d * sizeof *b);
        for (size_t j = 0; j < scales; j++) {
            direct now = by_definition(a, b, &s, range);
            double part = j + 1 == scales ? now.ssim : now.contrast;
            log_sum += usual[j] / total * log(part > 0 ? part : 0);
            size_t h = s.height / 2, w = s.width / 2;
            double *both[] = {a, b};
            for (size_t p = 0; p < 2; p++) {
                for (size_t i = 0; i < h; i++) {
                    for (size_t k = 0; k < w; k++) {
                        const double *at = both[p] + 2 * i * s.width + 2 * k;
                        both[p][i * w + k] = (at[0] + at[1] + at[s.width] + at[s.width + 1]) / 4;
                    }
                }
            }
            s.height = h;
            s.width = w;
        }
        product += exp(log_sum) / (double)shape->channels;
        free(a);
        free(b);
    }
    return product;
}

static void quality(void **state)
{
    static const struct {
        iv_metric_image shape;
        size_t scales;
    } cases[] = {{{16, 40, 1, true}, 1},
                 {{23, 22, 2, true}, 2},
                 {{64, 64, 3, true}, 3},
                 {{176, 177, 1, true}, 5},
                 {{400, 175, 1, true}, 4}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const iv_metric_image *s = &cases[i].shape;
        size_t d = s->height * s->width * s->channels, scales;
        double *x = room(d), *y = room(d), mse = 0;
        for (size_t k = 0; k < d; k++) {
            x[k] = 100 * (0.5 + 0.4 * sin(0.37 * (double)(k % s->width)) *
                                    cos(0.21 * (double)(k / s->width)));
            y[k] = x[k] + 5 * wave(k);
            mse += (x[k] - y[k]) * (x[k] - y[k]) / (double)d;
        }
        iv_quality q = quality_of(s, 100, x, y, &scales);
        assert_int_equal(scales, cases[i].scales);
        assert_true(fabs(q.psnr - 10 * log10(1e4 / mse)) < 1e-9);
        if (scales > 1) {
            double want = ms_by_definition(x, y, s, 100, scales);
            assert_true(want > 0.1 && want < 0.999);
            if (!(fabs(q.ms_ssim - want) < 1e-10)) fail_msg("%.12g, not %.12g", q.ms_ssim, want);
        } else {
            assert_true(isnan(q.ms_ssim));
        }
        q = quality_of(s, 100, x, x, &scales);
        assert_true(fabs(q.ssim - 1) < 1e-12);
        assert_true(q.psnr == 100);
        free(x);
        free(y);
    }
    /* too small for a window: PSNR alone */
    iv_metric_image small = {.height = 10, .width = 10, .channels = 1};
    double x[100] = {0}, y[100];
    size_t scales;
    for (size_t i = 0; i < 100; i++) y[i] = 0.1;
    iv_quality q = quality_of(&small, 1, x, y, &scales);
    assert_true(fabs(q.psnr - 20) < 1e-9 && isnan(q.ssim) && isnan(q.ms_ssim));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references),    cmocka_unit_test(pictures),
        cmocka_unit_test(made_up),       cmocka_unit_test(nearly_alike),
        cmocka_unit_test(differences),   cmocka_unit_test(rows_alone),
        cmocka_unit_test(in_a_model),    cmocka_unit_test(in_a_report),
        cmocka_unit_test(lanes_apart),   cmocka_unit_test(order_of_a_model),
        cmocka_unit_test(quality_units), cmocka_unit_test(models_without_pictures),
        cmocka_unit_test(refusals),      cmocka_unit_test(quality),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
