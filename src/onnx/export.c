/* Encoder, decoder and scorer as files: the networks between data units, coordinates, density. */
#include "onnx/export.h"

#include "base/memory.h"
#include "model/file.h"
#include "onnx/write_net.h"

#include <jansson.h>

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OP(w, ...) iv_writer_op((w), __VA_ARGS__, NULL)

/* ---- scaling ---- */

typedef struct scaling {
    size_t d;
    double *a, *b; /* room for d numbers each */
    bool *kept;
} scaling;

/* A constant that goes with rows: one number where all are the same. */
static const char *by_feature(iv_writer *w, size_t d, const double *values)
{
    bool same = true;
    for (size_t i = 1; i < d; i++) same = same && values[i] == values[0];
    return same ? iv_writer_number(w, values[0])
                : iv_writer_tensor(w, NULL, &(iv_shape){1, {d}}, values);
}

static bool all_are(size_t d, const double *values, double value)
{
    for (size_t i = 0; i < d; i++)
        if (values[i] != value) return false;
    return true;
}

static bool drops(const iv_model *model)
{
    return model->scaling.cols > 0 && iv_scaling_kept(&model->scaling) < model->d;
}

static isovae_status scaling_new(const iv_model *model, scaling *s, isovae_error *err)
{
    s->d = model->d;
    IV_TRY(IV_NEW(s->a, s->d, "a scaling", err));
    IV_TRY(IV_NEW(s->b, s->d, "a scaling", err));
    IV_TRY(IV_NEW(s->kept, s->d, "a scaling", err));
    for (size_t i = 0; i < s->d; i++)
        s->kept[i] = model->scaling.cols == 0 || !iv_scaling_drops(&model->scaling, i);
    return ISOVAE_OK;
}

static void scaling_free(scaling *s)
{
    iv_free(s->a);
    iv_free(s->b);
    iv_free(s->kept);
}

/* x' = (x - shift) / scale. A shift is two floats, so that nothing is lost where it is much larger
 * than the scale: x - high is exact near it. */
static const char *to_network(iv_writer *w, const iv_model *model, scaling *s, const char *x)
{
    const iv_scaling *from = &model->scaling;
    if (from->cols == 0) return x;
    for (size_t i = 0; i < s->d; i++) {
        s->a[i] = (double)(float)from->shift[i];
        s->b[i] = (double)(float)(from->shift[i] - s->a[i]);
    }
    if (!all_are(s->d, s->a, 0)) x = OP(w, "Sub", x, by_feature(w, s->d, s->a));
    if (!all_are(s->d, s->b, 0)) x = OP(w, "Sub", x, by_feature(w, s->d, s->b));
    if (!all_are(s->d, from->scale, 1)) x = OP(w, "Div", x, by_feature(w, s->d, from->scale));
    if (drops(model))
        x = OP(w, "Where", iv_writer_flags(w, &(iv_shape){1, {s->d}}, s->kept), x,
               iv_writer_number(w, 0));
    return x;
}

static const char *to_data(iv_writer *w, const iv_model *model, scaling *s, const char *x)
{
    const iv_scaling *from = &model->scaling;
    if (from->cols == 0) return x;
    if (!all_are(s->d, from->scale, 1)) x = OP(w, "Mul", x, by_feature(w, s->d, from->scale));
    if (!all_are(s->d, from->shift, 0)) x = OP(w, "Add", x, by_feature(w, s->d, from->shift));
    if (drops(model))
        x = OP(w, "Where", iv_writer_flags(w, &(iv_shape){1, {s->d}}, s->kept), x,
               by_feature(w, s->d, from->shift));
    return x;
}

/* ---- what stands in every file ---- */

static void add_features(iv_writer *w, const iv_model *model)
{
    json_t *names = json_array();
    for (size_t i = 0; model->names != NULL && i < model->d; i++)
        json_array_append_new(names, json_string(model->names[i]));
    char *text = names != NULL ? json_dumps(names, JSON_COMPACT) : NULL;
    if (text == NULL)
        iv_writer_fail(w, ISOVAE_ERR_MEMORY, "no memory for the names of features");
    else
        iv_writer_metadata(w, "features", text);
    free(text);
    json_decref(names);
}

static void add_metadata(iv_writer *w, const iv_model *model)
{
    char text[128];
    uint64_t hash = 0;
    isovae_error error;
    isovae_status status = iv_model_hash(model, &hash, &error);
    if (status) iv_writer_fail(w, status, "%s", error.message);
    iv_writer_metadata(w, "isovae_version", ISOVAE_VERSION);
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    iv_writer_metadata(w, "model_hash", text);
    iv_metric_format(&model->metric, text, sizeof text);
    iv_writer_metadata(w, "loss", text);
    snprintf(text, sizeof text, "%.9g", model->beta);
    iv_writer_metadata(w, "beta", text);
    if (model->arch != NULL) iv_writer_metadata(w, "arch", model->arch);
    if (model->height > 0) {
        snprintf(text, sizeof text, "[%zu,%zu,%zu]", model->height, model->width, model->channels);
        iv_writer_metadata(w, "pictures", text);
    }
    if (model->named) add_features(w, model);
}

static const char *as_row(iv_net *net, size_t value, size_t size)
{
    iv_shape row = {1, {size}};
    const char *tensor = net->value[value];
    if (iv_shape_equal(iv_net_shape(net, value), &row)) return tensor;
    return iv_writer_reshape(net->w, tensor, 0, 0, &row);
}

/* The graph's input from a row. */
static const char *as_input(iv_net *net, const char *row, size_t size)
{
    const iv_shape *shape = iv_net_shape(net, net->graph->inputs[0]);
    if (iv_shape_equal(shape, &(iv_shape){1, {size}})) return row;
    return iv_writer_reshape(net->w, row, 0, 0, shape);
}

static const char *clipped(iv_writer *w, const iv_model *model, const char *logvar)
{
    return OP(w, "Clip", logvar, iv_writer_number(w, model->logvar_lo),
              iv_writer_number(w, model->logvar_hi));
}

/* ---- isometric coordinates ---- */

/* The integral of g from 0 on one side, as pieces of at most quadratic form: at a distance h into a
 * piece that begins at `from` it is h (g + c h), h held to [0, width]. */
typedef struct pieces {
    size_t n, room;
    double *from, *width, *g, *c; /* latents x room, filled up with pieces of no width */
} pieces;

static void put_piece(pieces *p, size_t latent, size_t *n, double from, double to, double g_from,
                      double g_to)
{
    size_t at = latent * p->room + (*n)++;
    p->from[at] = from;
    p->width[at] = isinf(to) ? FLT_MAX : to - from;
    p->g[at] = g_from;
    p->c[at] = isinf(to) || to <= from ? 0 : (g_to - g_from) / (to - from) / 2;
}

/* Knots u ascending, t >= 0. `side` -1 mirrors. */
static void fill_side(pieces *p, size_t latent, const iv_spline *s, double side)
{
    size_t n = 0, m = s->n;
    double at = 0, g = 0;
    bool begun = false;
    for (size_t i = 0; i < m; i++) {
        size_t k = side > 0 ? i : m - 1 - i;
        double u = side * s->u[k], height = s->g[k];
        if (u <= 0) {
            g = height;
            begun = true;
            continue;
        }
        if (at == 0 && n == 0) { /* g(0): between this knot and the one before, or the first's */
            size_t before = side > 0 ? k - 1 : k + 1;
            double last = begun ? side * s->u[before] : 0;
            if (!begun)
                g = height;
            else
                g += (height - g) * ((0 - last) / (u - last));
        }
        put_piece(p, latent, &n, at, u, g, height);
        at = u;
        g = height;
    }
    put_piece(p, latent, &n, at, INFINITY, g, g);
    if (n > p->n) p->n = n;
}

static const char *matrix(iv_writer *w, const pieces *p, size_t latents, double *values)
{
    for (size_t j = 0; j < latents; j++)
        memmove(values + j * p->n, values + j * p->room, p->n * sizeof *values);
    return iv_writer_tensor(w, NULL, &(iv_shape){2, {latents, p->n}}, values);
}

static const char *side_of(iv_writer *w, const iv_model *model, const char *t, double side,
                           isovae_error *err, isovae_status *status)
{
    pieces p = {.room = 2};
    size_t n = model->n, count;
    const int64_t last[1] = {2};
    const char *y = "";
    for (size_t j = 0; j < n; j++)
        if (model->splines[j].n + 2 > p.room) p.room = model->splines[j].n + 2;
    if (!iv_size_mul(n, p.room, &count))
        *status = iv_fail(err, ISOVAE_ERR_MEMORY, "%zu latents are too many", n);
    if (!*status) *status = IV_NEW(p.from, count, "coordinates", err);
    if (!*status) *status = IV_NEW(p.width, count, "coordinates", err);
    if (!*status) *status = IV_NEW(p.g, count, "coordinates", err);
    if (!*status) *status = IV_NEW(p.c, count, "coordinates", err);
    if (!*status) {
        for (size_t j = 0; j < n; j++) fill_side(&p, j, &model->splines[j], side);
        const char *h = OP(w, "Relu", OP(w, "Sub", t, matrix(w, &p, n, p.from)));
        h = OP(w, "Min", h, matrix(w, &p, n, p.width));
        const char *g = OP(w, "Add", OP(w, "Mul", h, matrix(w, &p, n, p.c)), matrix(w, &p, n, p.g));
        y = iv_writer_sum(w, OP(w, "Mul", h, g), 1, last);
    }
    iv_free(p.from);
    iv_free(p.width);
    iv_free(p.g);
    iv_free(p.c);
    return y;
}

/* y = sqrt(beta/2) (right - left) */
static const char *coordinates(iv_writer *w, const iv_model *model, const char *mu,
                               isovae_error *err, isovae_status *status)
{
    const char *t = iv_writer_unsqueeze(w, mu, 2);
    const char *right = side_of(w, model, t, 1, err, status);
    const char *left = side_of(w, model, OP(w, "Neg", t), -1, err, status);
    return OP(w, "Mul", OP(w, "Sub", right, left), iv_writer_number(w, sqrt(model->beta / 2)));
}

/* ---- encoder, decoder ---- */

static bool has_coordinates(const iv_model *model)
{
    return model->splines != NULL && model->splines[0].n > 0;
}

static isovae_status put_encoder(iv_writer *w, const iv_model *model, scaling *s, isovae_error *err)
{
    iv_net net;
    iv_shape row = {1, {model->d}}, code = {1, {model->n}};
    isovae_status status = iv_net_new(w, model, model->encoder, "encoder/", &net, err);
    if (status) return status;
    const char *x = to_network(w, model, s, iv_writer_input(w, "x", &row)), *y = "";
    iv_net_forward(&net, as_input(&net, x, model->d));
    if (iv_writer_ok(w)) {
        const char *mu = as_row(&net, model->mu, model->n);
        const char *logvar = clipped(w, model, as_row(&net, model->logvar, model->n));
        if (has_coordinates(model)) y = coordinates(w, model, mu, err, &status);
        /* Last of all, for an output's tensor takes its name. */
        iv_writer_output(w, "mu", mu, &code, "the posterior's mean");
        iv_writer_output(w, "logvar", logvar, &code, "the posterior's log variance");
        if (has_coordinates(model))
            iv_writer_output(w, "y", y, &code, "isometric coordinates, in the metric's units");
    }
    iv_net_free(&net);
    return status;
}

static isovae_status put_decoder(iv_writer *w, const iv_model *model, scaling *s, isovae_error *err)
{
    iv_net net;
    iv_shape row = {1, {model->d}}, code = {1, {model->n}};
    IV_TRY(iv_net_new(w, model, model->decoder, "decoder/", &net, err));
    const char *z = iv_writer_input(w, "z", &code);
    iv_net_forward(&net, as_input(&net, z, model->n));
    if (iv_writer_ok(w)) {
        const char *x = as_row(&net, model->out, model->d);
        if (model->metric.loss == IV_LOSS_BCE) x = OP(w, "Sigmoid", x);
        iv_writer_output(w, "x", to_data(w, model, s, x), &row, "a row in the units of the data");
    }
    iv_net_free(&net);
    return ISOVAE_OK;
}

typedef isovae_status put_fn(iv_writer *w, const iv_model *model, scaling *s, isovae_error *err);

static isovae_status write_one(const iv_model *model, put_fn *put, const char *path,
                               isovae_error *err)
{
    iv_writer *w = NULL;
    scaling s = {0};
    isovae_status status = iv_writer_new(&w, err);
    if (!status) status = scaling_new(model, &s, err);
    if (!status) status = put(w, model, &s, err);
    if (!status) {
        add_metadata(w, model);
        status = iv_writer_save(w, path, err);
    }
    scaling_free(&s);
    iv_writer_free(w);
    return status;
}

isovae_status iv_onnx_write_encoder(const iv_model *model, const char *path, isovae_error *err)
{
    return write_one(model, put_encoder, path, err);
}

isovae_status iv_onnx_write_decoder(const iv_model *model, const char *path, isovae_error *err)
{
    return write_one(model, put_decoder, path, err);
}

/* ---- scorer ---- */

typedef struct scoring {
    iv_writer *w;
    const iv_model *model;
    iv_metric *metric;
    double *weight; /* d: the diagonal of G where it does not depend on the row */
    double *other;  /* d */
} scoring;

static const char *f64(const scoring *s, const char *x)
{
    return iv_writer_cast(s->w, x, IV_TENSOR_DOUBLE);
}

static const char *f64_row(const scoring *s, const double *values)
{
    return iv_writer_tensor_f64(s->w, &(iv_shape){1, {s->model->d}}, values);
}

static const char *over_features(const scoring *s, const char *x)
{
    const int64_t axis = 1;
    return iv_writer_sum(s->w, x, 1, &axis);
}

/* D(x, Dec(mu)) of each row, in double (src/metric). */
static const char *distance(const scoring *s, const char *x, const char *out)
{
    iv_writer *w = s->w;
    const iv_model *model = s->model;
    const char *xd = f64(s, x), *od = f64(s, out), *one = iv_writer_number_f64(w, 1), *sum;
    if (model->metric.loss == IV_LOSS_BCE) { /* softplus(l) - x l */
        const char *soft =
            OP(w, "Log", OP(w, "Add", OP(w, "Exp", OP(w, "Neg", OP(w, "Abs", od))), one));
        soft = OP(w, "Add", soft, OP(w, "Max", od, iv_writer_number_f64(w, 0)));
        return over_features(s, OP(w, "Sub", soft, OP(w, "Mul", xd, od)));
    }
    const char *off = OP(w, "Sub", xd, od), *square = OP(w, "Mul", off, off);
    if (model->metric.loss == IV_LOSS_STUDENT) { /* (nu + 1)/2 log(1 + r^2/(nu s^2)) */
        for (size_t i = 0; i < model->d; i++) s->other[i] = (iv_model_noise_nu(model, i) + 1) / 2;
        const char *outer = f64_row(s, s->other);
        for (size_t i = 0; i < model->d; i++) s->other[i] = s->weight[i] / s->other[i];
        const char *u = OP(w, "Mul", square, f64_row(s, s->other));
        sum = over_features(s, OP(w, "Mul", OP(w, "Log", OP(w, "Add", u, one)), outer));
    } else {
        sum = over_features(s, OP(w, "Mul", square, f64_row(s, s->weight)));
    }
    if (s->metric->constant == 0) return sum;
    return OP(w, "Add", sum, iv_writer_number_f64(w, s->metric->constant));
}

/* sum_j sigma_j^2 (J^T G J)_jj: the tangents at mu start as sigma_j e_j. */
static const char *coding(const scoring *s, iv_net *net, const char *logvar, const char *out)
{
    iv_writer *w = s->w;
    const iv_model *model = s->model;
    size_t n = model->n;
    isovae_error error;
    double *eye;
    if (IV_NEW(eye, n * n, "a matrix", &error) != ISOVAE_OK) {
        iv_writer_fail(w, ISOVAE_ERR_MEMORY, "%s", error.message);
        return "";
    }
    for (size_t j = 0; j < n; j++) eye[j * n + j] = 1;
    const char *sigma = OP(w, "Exp", OP(w, "Mul", logvar, iv_writer_number(w, 0.5)));
    const char *t = OP(w, "Mul", iv_writer_unsqueeze(w, sigma, 2),
                       iv_writer_tensor(w, NULL, &(iv_shape){2, {n, n}}, eye));
    iv_free(eye);
    t = iv_writer_reshape(w, t, -1, 0, iv_net_shape(net, net->graph->inputs[0]));
    iv_net_tangents(net, n, t);
    if (!iv_writer_ok(w)) return "";
    t = net->tangent[model->out];
    if (t == NULL) return iv_writer_number_f64(w, 0); /* the decoder is constant */
    t = iv_writer_reshape(w, t, -1, n, &(iv_shape){1, {model->d}});
    const int64_t axis = 1;
    const char *squares = OP(w, "ReduceSumSquare", t);
    iv_writer_ints(w, "axes", 1, &axis);
    iv_writer_int(w, "keepdims", 0);
    squares = f64(s, squares);
    if (model->metric.loss == IV_LOSS_BCE) { /* G = p (1 - p)/2 */
        const char *p = OP(w, "Sigmoid", out), *q = OP(w, "Sigmoid", OP(w, "Neg", out));
        const char *g = OP(w, "Mul", f64(s, OP(w, "Mul", p, q)), iv_writer_number_f64(w, 0.5));
        return over_features(s, OP(w, "Mul", squares, g));
    }
    return over_features(s, OP(w, "Mul", squares, f64_row(s, s->weight)));
}

/* 1/2 sum (mu^2 + sigma^2 - logvar - 1) */
static const char *divergence(const scoring *s, const char *mu, const char *logvar)
{
    iv_writer *w = s->w;
    const char *m = f64(s, mu), *v = f64(s, logvar);
    const char *sum = OP(w, "Sub", OP(w, "Exp", v), OP(w, "Add", v, iv_writer_number_f64(w, 1)));
    sum = over_features(s, OP(w, "Add", OP(w, "Mul", m, m), sum));
    return OP(w, "Mul", sum, iv_writer_number_f64(w, 0.5));
}

/* What the changed values of dropped columns cost; "" where there are none. */
static const char *changes(const scoring *s, const scaling *scale, const char *x, double cost)
{
    iv_writer *w = s->w;
    const iv_model *model = s->model;
    if (!drops(model)) return "";
    iv_shape row = {1, {model->d}};
    const char *same = OP(w, "Equal", x, iv_writer_tensor(w, NULL, &row, model->scaling.shift));
    const char *fine = OP(w, "Or", same, iv_writer_flags(w, &row, scale->kept));
    const char *n = over_features(s, f64(s, OP(w, "Not", fine)));
    return OP(w, "Mul", n, iv_writer_number_f64(w, cost));
}

static isovae_status prepare(scoring *s, isovae_error *err)
{
    const iv_model *model = s->model;
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    iv_metric_use use = iv_model_metric_use(model, 1);
    IV_TRY(iv_metric_new(&model->metric, k, &use, &s->metric, err));
    iv_model_settle(model, s->metric);
    IV_TRY(IV_NEW(s->weight, model->d, "weights", err));
    IV_TRY(IV_NEW(s->other, model->d, "weights", err));
    if (model->metric.loss != IV_LOSS_BCE) iv_metric_diagonal(s->metric, use.weight, s->weight);
    return ISOVAE_OK;
}

/* One network's log density (rows), in double. */
static isovae_status score_of(scoring *s, iv_net *encoder, iv_net *decoder,
                              const iv_onnx_score *add, const char *row, const char **out,
                              isovae_error *err)
{
    iv_writer *w = s->w;
    const iv_model *model = s->model;
    scaling scale = {0};
    isovae_status status = prepare(s, err);
    if (!status) status = scaling_new(model, &scale, err);
    if (!status) {
        const char *x = to_network(w, model, &scale, row);
        iv_net_forward(encoder, as_input(encoder, x, model->d));
        if (iv_writer_ok(w)) {
            const char *mu = as_row(encoder, model->mu, model->n);
            const char *logvar = clipped(w, model, as_row(encoder, model->logvar, model->n));
            iv_net_forward(decoder, as_input(decoder, mu, model->n));
            const char *hat = iv_writer_ok(w) ? as_row(decoder, model->out, model->d) : "";
            const char *cost = OP(w, "Add", distance(s, x, hat), coding(s, decoder, logvar, hat));
            cost = OP(w, "Div", cost, iv_writer_number_f64(w, model->beta));
            cost = OP(w, "Add", cost, divergence(s, mu, logvar));
            const char *changed = changes(s, &scale, row, add->changed);
            if (changed[0] != '\0') cost = OP(w, "Add", cost, changed);
            *out = OP(w, "Sub", iv_writer_number_f64(w, add->normaliser), cost);
        }
    }
    scaling_free(&scale);
    iv_metric_free(s->metric);
    iv_free(s->weight);
    iv_free(s->other);
    return status;
}

static isovae_status put_member(iv_writer *w, const iv_model *model, size_t member, bool alone,
                                const iv_onnx_score *add, const char *x, char scopes[2][48],
                                const char **out, isovae_error *err)
{
    scoring s = {.w = w, .model = model};
    iv_net encoder = {0}, decoder = {0};
    char prefix[32] = "";
    if (!alone) snprintf(prefix, sizeof prefix, "member%zu/", member);
    snprintf(scopes[0], sizeof scopes[0], "%sencoder/", prefix);
    snprintf(scopes[1], sizeof scopes[1], "%sdecoder/", prefix);
    isovae_status status = iv_net_new(w, model, model->encoder, scopes[0], &encoder, err);
    if (!status) status = iv_net_new(w, model, model->decoder, scopes[1], &decoder, err);
    if (!status) status = score_of(&s, &encoder, &decoder, add, x, out, err);
    iv_net_free(&encoder);
    iv_net_free(&decoder);
    iv_writer_scope(w, "");
    return status;
}

isovae_status iv_onnx_write_scorer(const iv_model *model, const iv_onnx_score *score,
                                   const char *path, isovae_error *err)
{
    iv_writer *w = NULL;
    size_t members = iv_model_members(model);
    iv_loss loss = model->metric.loss;
    char scopes[2][48];
    const char *sum = NULL, *each = "";
    if (loss == IV_LOSS_SSIM || loss == IV_LOSS_WEIGHTED) {
        char name[64];
        iv_metric_format(&model->metric, name, sizeof name);
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED, "the distance of loss %s cannot be written",
                       name);
    }
    IV_TRY(iv_writer_new(&w, err));
    const char *x = iv_writer_input(w, "x", &(iv_shape){1, {model->d}});
    isovae_status status = ISOVAE_OK;
    for (size_t k = 0; !status && k < members; k++) {
        status = put_member(w, iv_model_member(model, k), k, members == 1, &score[k], x, scopes,
                            &each, err);
        sum = sum == NULL ? each : OP(w, "Add", sum, each);
    }
    if (!status && members > 1) sum = OP(w, "Div", sum, iv_writer_number_f64(w, (double)members));
    if (!status) {
        iv_writer_output(w, "log_density", iv_writer_cast(w, sum, IV_TENSOR_FLOAT), &(iv_shape){0},
                         iv_loss_absolute(loss)
                             ? "log density in nats, in data units; higher: more probable"
                             : "ranks rows, no absolute density; higher: more probable");
        add_metadata(w, model);
        status = iv_writer_save(w, path, err);
    }
    iv_writer_free(w);
    return status;
}
