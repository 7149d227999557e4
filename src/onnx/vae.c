/* Which tensors are what, in which order pictures lie, in which range: from files to a model. */
#include "onnx/vae.h"

#include "base/memory.h"
#include "model/live.h"
#include "onnx/stack.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    iv_onnx_head head;
} heads[] = {{"logvar", IV_ONNX_HEAD_LOGVAR},
             {"logsigma", IV_ONNX_HEAD_LOGSIGMA},
             {"variance", IV_ONNX_HEAD_VARIANCE},
             {"sigma", IV_ONNX_HEAD_SIGMA}};

const char *iv_onnx_head_name(iv_onnx_head head)
{
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        if (heads[i].head == head) return heads[i].name;
    return "unknown";
}

bool iv_onnx_head_parse(const char *text, iv_onnx_head *out)
{
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        if (strcmp(heads[i].name, text) != 0) continue;
        *out = heads[i].head;
        return true;
    }
    return false;
}

void iv_onnx_vae_options_init(iv_onnx_vae_options *options)
{
    memset(options, 0, sizeof *options);
    options->low = options->high = options->out_low = options->out_high = NAN;
    options->metric.loss = IV_LOSS_SSE;
    options->beta = 1.0;
}

typedef struct work {
    const iv_dataset *data;
    iv_dataset *stand_in; /* a row of zeros, where there are no data */
    const iv_onnx_vae_options *options;
    iv_onnx_vae *out;
    iv_onnx_graph *encoder, *decoder;
    char *mu, *width, *sample; /* names of tensors where they were found by the sampling */
    iv_onnx_head head;
    bool width_first, split, no_width;
    size_t n;
    iv_onnx_layout layout; /* of what is one axis, or says nothing by its shape */
    isovae_error *err;
} work;

static void note(work *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(work *w, const char *format, ...)
{
    va_list arguments;
    if (w->out->n_notes == sizeof w->out->notes / sizeof w->out->notes[0]) return;
    va_start(arguments, format);
    vsnprintf(w->out->notes[w->out->n_notes++], sizeof w->out->notes[0], format, arguments);
    va_end(arguments);
}

static const char *base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static const char *decoder_path(const work *w)
{
    return w->options->decoder != NULL ? w->options->decoder : w->options->encoder;
}

/* ---- which tensors ---- */

/* "var", but not of "variable" or "variational". */
static bool says_variance(const char *low)
{
    for (const char *at = low; (at = strstr(at, "var")) != NULL; at += 3)
        if (strncmp(at, "variab", 6) != 0 && strncmp(at, "variat", 6) != 0) return true;
    return false;
}

/* What a name says of a width: "z_log_var", "fc_logvar", "posterior_std". */
static iv_onnx_head head_by_name(const char *name)
{
    char low[512];
    size_t n = 0;
    for (; name[n] != '\0' && n + 1 < sizeof low; n++)
        low[n] = (char)tolower((unsigned char)name[n]);
    low[n] = '\0';
    bool log = strstr(low, "log") != NULL || strstr(low, "lv") != NULL;
    if (says_variance(low) || strstr(low, "lv") != NULL)
        return log ? IV_ONNX_HEAD_LOGVAR : IV_ONNX_HEAD_VARIANCE;
    if (strstr(low, "sigma") != NULL || strstr(low, "std") != NULL ||
        strstr(low, "stddev") != NULL || strstr(low, "scale") != NULL)
        return log ? IV_ONNX_HEAD_LOGSIGMA : IV_ONNX_HEAD_SIGMA;
    return IV_ONNX_HEAD_UNKNOWN;
}

static isovae_status load(work *w, const char *path, const iv_onnx_options *options,
                          iv_onnx_graph **out)
{
    iv_onnx_options o = *options;
    o.dtype = IV_F32;
    return iv_onnx_load(path, &o, out, w->err);
}

static size_t size_of(const iv_onnx_graph *g, size_t output)
{
    return g->graph->values[g->graph->outputs[output]].size;
}

/* Without data the decoder's largest output says what rows are: pictures where it has the shape of
 * some. */
static isovae_status stand_in_for_data(work *w)
{
    const iv_graph *g = w->decoder->graph;
    size_t most = 0;
    for (size_t i = 1; i < w->decoder->graph->n_outputs; i++)
        if (size_of(w->decoder, i) > size_of(w->decoder, most)) most = i;
    const iv_shape *shape = &g->values[g->outputs[most]].shape;
    const size_t *dim = shape->dim;
    bool first = shape->rank == 3 && (dim[0] == 1 || dim[0] == 3);
    bool last = shape->rank == 3 && (dim[2] == 1 || dim[2] == 3);
    if (first && last) first = w->options->layout != IV_ONNX_NHWC;
    float zero = 0;
    iv_data_view view = {.values = &zero, .element = IV_VIEW_F32};
    if (first || last) {
        view.channels = first ? dim[0] : dim[2];
        view.height = first ? dim[1] : dim[0];
        view.width = first ? dim[2] : dim[1];
    }
    IV_TRY(iv_dataset_from_view(&view, 1, size_of(w->decoder, most), &w->stand_in, w->err));
    w->data = w->stand_in;
    return ISOVAE_OK;
}

static isovae_status load_decoder(work *w)
{
    const iv_onnx_vae_options *o = w->options;
    iv_onnx_options options = {.random_as_mean = true};
    const char *z = o->z != NULL ? o->z : w->sample;
    if (z != NULL) {
        options.n_inputs = 1;
        options.inputs[0] = (iv_onnx_cut){.name = z};
    }
    if (o->out != NULL) {
        options.n_outputs = 1;
        options.outputs[0] = o->out;
    }
    const char *path = decoder_path(w);
    IV_TRY(load(w, path, &options, &w->decoder));
    if (w->data == NULL) IV_TRY(stand_in_for_data(w));
    size_t chosen = SIZE_MAX;
    for (size_t i = 0; i < w->decoder->graph->n_outputs && chosen == SIZE_MAX; i++)
        if (size_of(w->decoder, i) == w->data->cols) chosen = i;
    if (chosen == SIZE_MAX) {
        char shape[IV_SHAPE_TEXT];
        const iv_graph *g = w->decoder->graph;
        return iv_fail(w->err, ISOVAE_ERR_DATA,
                       "%s: gives rows of %s, and the data have %zu features; pictures are brought "
                       "to a network's size with --size (and --grey)",
                       base(path), iv_shape_text(&g->values[g->outputs[0]].shape, shape),
                       w->data->cols);
    }
    if (w->decoder->graph->n_outputs == 1) return ISOVAE_OK;
    options.n_outputs = 1; /* again, with that output alone */
    options.outputs[0] = w->decoder->output_names[chosen];
    iv_onnx_graph *all = w->decoder;
    w->decoder = NULL;
    isovae_status status = load(w, path, &options, &w->decoder);
    iv_onnx_free(all);
    return status;
}

static isovae_status load_encoder(work *w, const char *mu, const char *width)
{
    iv_onnx_options options = {.random_as_mean = true};
    iv_onnx_free(w->encoder);
    w->encoder = NULL;
    if (mu != NULL) options.outputs[options.n_outputs++] = mu;
    if (width != NULL) options.outputs[options.n_outputs++] = width;
    return load(w, w->options->encoder, &options, &w->encoder);
}

/* The sampling of the file says what is what: sample = mean + deviation noise. */
static isovae_status by_sampling(work *w, bool *found)
{
    *found = false;
    for (size_t i = 0; i < w->encoder->n_samplings && !*found; i++) {
        const iv_onnx_sampling *s = &w->encoder->samplings[i];
        if (s->mean == NULL || s->deviation == NULL || s->sample == NULL) continue;
        IV_TRY(iv_strdup(&w->mu, s->mean, w->err));
        IV_TRY(iv_strdup(&w->width, s->deviation, w->err));
        if (w->options->decoder == NULL) IV_TRY(iv_strdup(&w->sample, s->sample, w->err));
        *found = true;
    }
    if (!*found) return ISOVAE_OK;
    w->head = IV_ONNX_HEAD_SIGMA;
    note(w, "the posterior was found at the sampling: mean '%.60s', deviation '%.60s'", w->mu,
         w->width);
    w->no_width = w->options->means_only;
    return load_encoder(w, w->mu, w->no_width ? NULL : w->width);
}

/* The encoder is to give means alone, or gives nothing else. */
static isovae_status means_alone(work *w, const char *mu)
{
    w->no_width = true;
    w->split = false;
    note(w,
         "'%.60s' is taken as the mean of the posterior, without a width: --logvar NAME tells one",
         mu);
    return load_encoder(w, mu, NULL);
}

/* Whether a width was spoken of, or an output is called one. */
static bool width_is_meant(const work *w)
{
    const iv_onnx_vae_options *o = w->options;
    if (o->head != IV_ONNX_HEAD_UNKNOWN || o->width_first) return true;
    for (size_t i = 0; i < w->encoder->graph->n_outputs; i++)
        if (head_by_name(w->encoder->output_names[i]) != IV_ONNX_HEAD_UNKNOWN) return true;
    return false;
}

static isovae_status no_width(const work *w)
{
    return iv_fail(w->err, ISOVAE_ERR_UNSUPPORTED,
                   "%s: gives one tensor of %zu numbers and no width of the posterior: without it "
                   "nothing can be said of beta and the optimum; if the file holds it under "
                   "another name, say --mu NAME --logvar NAME; --means-only goes on without",
                   base(w->options->encoder), w->n);
}

/* The only one of n names that speaks of a width behind what they all begin with; SIZE_MAX: none.
 */
static size_t only_width(char *const *names, const size_t *which, size_t n)
{
    size_t same = 0, width = SIZE_MAX;
    const char *first = names[which[0]];
    for (bool all = n > 1; all && first[same] != '\0'; same += all ? 1 : 0)
        for (size_t i = 1; i < n; i++) all = all && names[which[i]][same] == first[same];
    for (size_t i = 0; i < n; i++) {
        if (head_by_name(names[which[i]] + same) == IV_ONNX_HEAD_UNKNOWN) continue;
        if (width != SIZE_MAX) return SIZE_MAX;
        width = i;
    }
    return width;
}

/* Which of the encoder's n outputs `found` is the width: by their names, or by those of the layers
 * that make them (exporters number the outputs often), else by their order. */
static size_t find_width(work *w, const size_t *found, size_t n)
{
    const iv_onnx_graph *e = w->encoder;
    size_t width = only_width(e->output_names, found, n);
    if (width != SIZE_MAX) return width;
    for (size_t i = 0; i < n; i++)
        if (head_by_name(e->output_names[found[i]]) != IV_ONNX_HEAD_UNKNOWN) return i;
    width = only_width(e->output_makers, found, n);
    if (width != SIZE_MAX) {
        note(w, "'%.60s' is taken as the width by the name of its layer, '%.100s'",
             e->output_names[found[width]], e->output_makers[found[width]]);
        return width;
    }
    width = w->width_first ? 0 : 1;
    note(w,
         "no name tells which output is the mean: '%.60s' is taken for it, '%.60s' for the width",
         e->output_names[found[1 - width]], e->output_names[found[width]]);
    return width;
}

/* By the outputs: two of as many numbers as the decoder takes, or one of twice as many. */
static isovae_status by_outputs(work *w)
{
    const iv_onnx_graph *e = w->encoder;
    size_t found[IV_MAX_PORTS], n = 0;
    for (size_t i = 0; i < e->graph->n_outputs; i++)
        if (size_of(e, i) == w->n) found[n++] = i;
    if (n == 0) {
        for (size_t i = 0; i < e->graph->n_outputs; i++) {
            if (size_of(e, i) != 2 * w->n) continue;
            w->split = true;
            w->no_width = w->options->means_only;
            note(w, "'%.60s' was split in two: %s", e->output_names[i],
                 w->width_first ? "the width, then the mean" : "the mean, then the width");
            IV_TRY(iv_strdup(&w->mu, e->output_names[i], w->err));
            return load_encoder(w, w->mu, NULL);
        }
        return iv_fail(w->err, ISOVAE_ERR_DATA,
                       "%s: no output has the %zu numbers that %s takes, nor twice as many; say "
                       "--mu NAME --logvar NAME",
                       base(w->options->encoder), w->n, base(decoder_path(w)));
    }
    if (n == 1 || w->options->means_only) {
        size_t mean = found[0];
        for (size_t i = 0; i < n; i++) {
            if (head_by_name(e->output_names[found[i]]) != IV_ONNX_HEAD_UNKNOWN) continue;
            mean = found[i];
            break;
        }
        if (!w->options->means_only && width_is_meant(w)) return no_width(w);
        IV_TRY(iv_strdup(&w->mu, e->output_names[mean], w->err));
        return means_alone(w, w->mu);
    }
    size_t width = find_width(w, found, n);
    size_t mu = width == 0 ? 1 : 0;
    IV_TRY(iv_strdup(&w->mu, e->output_names[found[mu]], w->err));
    IV_TRY(iv_strdup(&w->width, e->output_names[found[width]], w->err));
    return load_encoder(w, w->mu, w->width);
}

/* Of what the encoder gives. */
static isovae_status check_sizes(const work *w)
{
    size_t want = w->split ? 2 * w->n : w->n;
    for (size_t i = 0; i < w->encoder->graph->n_outputs; i++) {
        if (size_of(w->encoder, i) == want) continue;
        if (w->split && size_of(w->encoder, i) == w->n) return no_width(w);
        return iv_fail(
            w->err, ISOVAE_ERR_DATA, "%s: '%.80s' has %zu numbers a row, the decoder takes %zu",
            base(w->options->encoder), w->encoder->output_names[i], size_of(w->encoder, i), w->n);
    }
    return ISOVAE_OK;
}

static isovae_status find_posterior(work *w)
{
    const iv_onnx_vae_options *o = w->options;
    bool found = false, width_meant = false;
    w->head = o->head;
    w->width_first = o->width_first;
    if (o->encoder == NULL) {
        IV_TRY(load_decoder(w));
        w->n = w->decoder->graph->values[w->decoder->graph->inputs[0]].size;
        return ISOVAE_OK;
    }
    if (o->mu != NULL) {
        w->split = o->width == NULL;
        if (w->split && !o->means_only) {
            IV_TRY(load_encoder(w, NULL, NULL)); /* what else the file gives */
            width_meant = width_is_meant(w);
        }
        IV_TRY(load_encoder(w, o->mu, o->width));
        if (o->width != NULL && w->head == IV_ONNX_HEAD_UNKNOWN) w->head = head_by_name(o->width);
    } else {
        IV_TRY(load_encoder(w, NULL, NULL));
        IV_TRY(by_sampling(w, &found));
    }
    if (o->decoder == NULL && !found && o->z == NULL)
        return iv_fail(w->err, ISOVAE_ERR_UNSUPPORTED,
                       "%s: no sampling was found at which the file could be cut; give --decoder "
                       "as a file of its own, or --mu, --logvar and --z as names of tensors",
                       base(o->encoder));
    IV_TRY(load_decoder(w));
    const iv_graph *d = w->decoder->graph;
    w->n = d->values[d->inputs[0]].size;
    if (o->mu == NULL && !found) IV_TRY(by_outputs(w));
    if (w->split && size_of(w->encoder, 0) == w->n && (o->means_only || !width_meant))
        IV_TRY(means_alone(w, o->mu));
    w->no_width = w->no_width || o->means_only;
    if (w->no_width) return check_sizes(w);
    if (w->head == IV_ONNX_HEAD_UNKNOWN && w->width != NULL) w->head = head_by_name(w->width);
    if (w->head == IV_ONNX_HEAD_UNKNOWN) {
        w->head = IV_ONNX_HEAD_LOGVAR;
        note(w, "the width of the posterior is taken as a log variance; --head tells otherwise");
    }
    return check_sizes(w);
}

/* ---- the order of a picture's values ---- */

/* What a network's shape says of rows that are pictures, h, w, c in the data. */
static iv_onnx_layout layout_of(const work *w, const iv_shape *shape)
{
    const iv_dataset *data = w->data;
    size_t dim[IV_MAX_RANK], rank = 0, h = data->height, width = data->width, c = data->channels;
    if (h == 0 || c <= 1) return IV_ONNX_NHWC; /* the same either way */
    for (size_t i = 0; i < shape->rank; i++)
        if (shape->dim[i] > 1) dim[rank++] = shape->dim[i];
    bool last = rank == 3 && dim[0] == h && dim[1] == width && dim[2] == c;
    bool first = rank == 3 && dim[0] == c && dim[1] == h && dim[2] == width;
    if (w->options->layout != IV_ONNX_LAYOUT_FOUND) return w->options->layout;
    if (last != first) return last ? IV_ONNX_NHWC : IV_ONNX_NCHW;
    return IV_ONNX_LAYOUT_FOUND;
}

static void find_layout(work *w)
{
    const iv_onnx_graph *any = w->encoder != NULL ? w->encoder : w->decoder;
    const iv_graph *d = w->decoder->graph;
    w->layout = IV_ONNX_LAYOUT_FOUND;
    if (w->encoder != NULL) {
        const iv_graph *e = w->encoder->graph;
        w->layout = layout_of(w, &e->values[e->inputs[0]].shape);
    }
    if (w->layout == IV_ONNX_LAYOUT_FOUND)
        w->layout = layout_of(w, &d->values[d->outputs[0]].shape);
    if (w->layout != IV_ONNX_LAYOUT_FOUND) return;
    const char *producer = any->producer;
    if (strncmp(producer, "isovae", 6) == 0) { /* our own files take rows of the data */
        w->layout = IV_ONNX_NHWC;
        return;
    }
    bool last = strncmp(producer, "tf", 2) == 0 || strncmp(producer, "keras", 5) == 0;
    w->layout = last ? IV_ONNX_NHWC : IV_ONNX_NCHW;
    note(w,
         "the networks' shapes do not tell the order of a picture's values; taken as %s: "
         "--layout tells otherwise",
         last ? "NHWC" : "NCHW");
}

/* Values in the data's order h, w, c to the network's or back. */
static isovae_status reorder(work *w, iv_stack *s, const iv_shape *network, bool back,
                             size_t *value)
{
    const iv_dataset *data = w->data;
    iv_onnx_layout layout = layout_of(w, network);
    if (layout == IV_ONNX_LAYOUT_FOUND) layout = w->layout;
    if (data->height == 0 || data->channels <= 1 || layout == IV_ONNX_NHWC) return ISOVAE_OK;
    iv_shape last = {3, {data->height, data->width, data->channels}};
    iv_shape first = {3, {data->channels, data->height, data->width}};
    iv_attributes perm = {.n_sizes = 3, .sizes = {3, 1, 2}};
    if (back) perm = (iv_attributes){.n_sizes = 3, .sizes = {2, 3, 1}};
    IV_TRY(iv_stack_shape(s, *value, back ? &first : &last, NULL, value));
    return iv_stack_node(s, "transpose", *value, &perm, NULL, value);
}

/* ---- the two graphs ---- */

static isovae_status constant(iv_stack *s, const char *kind, size_t input, double number,
                              size_t *out)
{
    iv_attributes a = {.number = {number}, .given = {true}};
    return iv_stack_node(s, kind, input, &a, NULL, out);
}

/* A width as log sigma^2. */
static isovae_status as_logvar(const work *w, iv_stack *s, size_t *value)
{
    bool log = w->head == IV_ONNX_HEAD_VARIANCE || w->head == IV_ONNX_HEAD_SIGMA;
    bool twice = w->head == IV_ONNX_HEAD_SIGMA || w->head == IV_ONNX_HEAD_LOGSIGMA;
    if (log) { /* 0 has no logarithm */
        IV_TRY(constant(s, "maximum", *value, 1e-15, value));
        IV_TRY(iv_stack_node(s, "log", *value, NULL, NULL, value));
    }
    return twice ? constant(s, "multiply", *value, 2, value) : ISOVAE_OK;
}

/* Where there is no encoder: mu and logvar are 0, whatever the row. */
static isovae_status build_ignorance(work *w, iv_graph **out)
{
    iv_stack s = {.prefix = "enc.", .err = w->err};
    iv_shape row = {1, {w->data->cols}};
    size_t value, mu, logvar;
    iv_attributes mean = {.reduction = IV_REDUCE_MEAN, .keepdims = 1};
    iv_attributes zero = {.number = {0, 0}, .given = {true, true}};
    IV_TRY(iv_graph_new(out, w->err));
    s.graph = *out;
    IV_TRY(iv_graph_input(s.graph, "x", &row, &value, w->err));
    IV_TRY(iv_stack_node(&s, "reduce", value, &mean, NULL, &value));
    iv_node_spec dense = {.kind = "dense", /* its weights stay 0 */
                          .name = "enc.isovae.none",
                          .n_inputs = 1,
                          .inputs = {value},
                          .n_outputs = 1,
                          .outputs = {"mu"},
                          .units = w->n,
                          .attributes = {.act = IV_ACT_NONE}};
    IV_TRY(iv_graph_node(s.graph, &dense, &mu, w->err));
    IV_TRY(iv_graph_output(s.graph, mu, w->err));
    IV_TRY(iv_stack_node(&s, "clip", mu, &zero, "logvar", &logvar));
    return iv_graph_output(s.graph, logvar, w->err);
}

static isovae_status build_encoder(work *w, iv_graph **out)
{
    if (w->encoder == NULL) return build_ignorance(w, out);
    iv_stack s = {.prefix = "enc.", .err = w->err};
    iv_shape row = {1, {w->data->cols}}, code = {1, {w->n}};
    size_t value, outputs[IV_MAX_PORTS], mu, width = 0;
    bool cut;
    const iv_graph *from = w->encoder->graph;
    const iv_shape *shape = &from->values[from->inputs[0]].shape;
    if (from->values[from->inputs[0]].size != w->data->cols) {
        char text[IV_SHAPE_TEXT];
        return iv_fail(w->err, ISOVAE_ERR_DATA,
                       "%s: takes rows of %s, and the data have %zu features; pictures are brought "
                       "to a network's size with --size (and --grey)",
                       base(w->options->encoder), iv_shape_text(shape, text), w->data->cols);
    }
    IV_TRY(iv_graph_new(out, w->err));
    s.graph = *out;
    IV_TRY(iv_graph_input(s.graph, "x", &row, &value, w->err));
    IV_TRY(reorder(w, &s, shape, false, &value));
    IV_TRY(iv_stack_network(&s, w->encoder, value, false, &cut, outputs));
    mu = outputs[0];
    if (w->split) {
        size_t halves[2];
        iv_shape both = {1, {2 * w->n}};
        IV_TRY(iv_stack_shape(&s, mu, &both, NULL, &mu));
        iv_node_spec split = {.kind = "split",
                              .name = "enc.isovae.halves",
                              .n_inputs = 1,
                              .inputs = {mu},
                              .n_outputs = 2,
                              .outputs = {"enc.isovae.first", "enc.isovae.second"}};
        IV_TRY(iv_graph_node(s.graph, &split, halves, w->err));
        mu = halves[w->width_first ? 1 : 0];
        width = halves[w->width_first ? 0 : 1];
    } else if (!w->no_width) {
        width = outputs[1];
    }
    if (!w->no_width) IV_TRY(as_logvar(w, &s, &width));
    IV_TRY(iv_stack_shape(&s, mu, &code, "mu", &mu));
    if (w->no_width) { /* sigma 1, whatever the mean */
        iv_attributes zero = {.number = {0, 0}, .given = {true, true}};
        IV_TRY(iv_stack_node(&s, "clip", mu, &zero, NULL, &width));
    }
    IV_TRY(iv_graph_output(s.graph, mu, w->err)); /* so that logvar does not take its name */
    IV_TRY(iv_stack_shape(&s, width, &code, "logvar", &width));
    return iv_graph_output(s.graph, width, w->err);
}

static isovae_status logit(work *w, iv_stack *s, size_t *value)
{
    const double least = 1e-7;
    size_t high, p, q;
    iv_attributes clip = {.number = {least, 1 - least}, .given = {true, true}};
    IV_TRY(iv_stack_node(s, "clip", *value, &clip, NULL, &p));
    iv_attributes minus = {.number = {1}, .given = {true}, .constant_first = 1};
    IV_TRY(iv_stack_node(s, "subtract", p, &minus, NULL, &q));
    IV_TRY(iv_stack_node(s, "log", p, NULL, NULL, &p));
    IV_TRY(iv_stack_node(s, "log", q, NULL, NULL, &high));
    iv_node_spec off = {.kind = "subtract",
                        .name = "dec.isovae.logit",
                        .n_inputs = 2,
                        .inputs = {p, high},
                        .n_outputs = 1,
                        .outputs = {"dec.isovae.logits"},
                        .params = {"", "", "", ""}};
    w->out->logit_of_output = true;
    note(w,
         "the decoder does not end in a sigmoid that could be cut: logits come from its outputs, "
         "clipped to %g from 0 and 1",
         least);
    return iv_graph_node(s->graph, &off, value, w->err);
}

static isovae_status build_decoder(work *w, iv_graph **out)
{
    const iv_onnx_vae_options *o = w->options;
    iv_stack s = {.prefix = "dec.", .err = w->err};
    iv_shape code = {1, {w->n}}, row = {1, {w->data->cols}};
    bool bce = o->metric.loss == IV_LOSS_BCE;
    size_t value, outputs[IV_MAX_PORTS];
    IV_TRY(iv_graph_new(out, w->err));
    s.graph = *out;
    IV_TRY(iv_graph_input(s.graph, "z", &code, &value, w->err));
    IV_TRY(iv_stack_network(&s, w->decoder, value, bce, &w->out->sigmoid_cut, outputs));
    value = outputs[0];
    if (bce && !w->out->sigmoid_cut) IV_TRY(logit(w, &s, &value));
    if (!bce && !isnan(o->out_low)) { /* the decoder's range to that of the encoder's input */
        double low = isnan(o->low) ? 0 : o->low, high = isnan(o->high) ? 1 : o->high;
        double factor = (high - low) / (o->out_high - o->out_low);
        IV_TRY(constant(&s, "multiply", value, factor, &value));
        IV_TRY(constant(&s, "add", value, low - factor * o->out_low, &value));
    }
    IV_TRY(reorder(w, &s, &s.graph->values[value].shape, true, &value));
    IV_TRY(iv_stack_shape(&s, value, &row, "out", &value));
    return iv_graph_output(s.graph, value, w->err);
}

/* ---- the model ---- */

/* The largest value of the first rows: bytes and floats from 0 to 255 are pictures in bytes. */
static double largest(const iv_dataset *data, double *least)
{
    double most = -INFINITY;
    *least = INFINITY;
    for (size_t r = 0; r < data->rows && r < 1000; r++) {
        if (data->status && data->status[r] != IV_ROW_OK) continue;
        for (size_t i = r * data->cols; i < (r + 1) * data->cols; i++) {
            double x = data->bytes ? (double)data->bytes[i] : (double)data->values[i];
            most = fmax(most, x);
            *least = fmin(*least, x);
        }
        iv_dataset_use(data, IV_ROWS_TOUCHED, &r, 1);
    }
    return most;
}

static isovae_status make_scaling(work *w, iv_scaling *s)
{
    const iv_onnx_vae_options *o = w->options;
    const iv_dataset *data = w->data;
    size_t d = data->cols, channels = data->channels ? data->channels : 1;
    double least, most = largest(data, &least), top = most > 1 ? 255 : 1;
    bool pictures = data->height > 0, ranged = !isnan(o->low) || o->n_channels > 0 || pictures;
    if (o->as_is) ranged = false;
    double low = isnan(o->low) ? 0 : o->low, high = isnan(o->high) ? 1 : o->high;
    if (!pictures) top = 1;
    if (o->n_channels > 1 && o->n_channels != channels)
        return iv_fail(w->err, ISOVAE_ERR_ARGUMENT,
                       "--mean: %zu values for %zu channels; give one, or one for each",
                       o->n_channels, channels);
    IV_TRY(IV_NEW(s->shift, d, "the scaling", w->err));
    IV_TRY(IV_NEW(s->scale, d, "the scaling", w->err));
    IV_TRY(IV_NEW(s->weight, d, "the scaling", w->err));
    s->cols = d;
    s->uniform = o->n_channels <= 1;
    s->kind = !ranged                                     ? IV_SCALE_IDENTITY
              : o->n_channels > 0                         ? IV_SCALE_STANDARD
              : low == 0 && high == 1 && data->height > 0 ? IV_SCALE_UNIT
                                                          : IV_SCALE_MINMAX;
    for (size_t i = 0; i < d; i++) {
        size_t channel = o->n_channels > 1 ? i % channels : 0;
        double mean = o->n_channels > 0 ? o->mean[channel] : 0;
        double sd = o->n_channels > 0 ? o->sd[channel] : 1;
        s->scale[i] = ranged ? top * sd / (high - low) : 1;
        s->shift[i] = ranged ? top * (mean - low) / (high - low) : 0;
        s->weight[i] = 1;
    }
    double from = (least - s->shift[0]) / s->scale[0], to = (most - s->shift[0]) / s->scale[0];
    if (o->metric.loss == IV_LOSS_BCE && (from < -1e-6 || to > 1 + 1e-6))
        return iv_fail(w->err, ISOVAE_ERR_DATA,
                       "--loss bce wants values from 0 to 1, and the network sees %.4g to %.4g; "
                       "--input-range 0:1 brings pictures there",
                       from, to);
    return ISOVAE_OK;
}

static isovae_status describe(work *w, iv_model *model)
{
    char arch[400];
    if (w->options->encoder == NULL)
        snprintf(arch, sizeof arch, "%.300s", base(w->options->decoder));
    else if (w->options->decoder != NULL)
        snprintf(arch, sizeof arch, "%.150s + %.150s", base(w->options->encoder),
                 base(w->options->decoder));
    else
        snprintf(arch, sizeof arch, "%.300s", base(w->options->encoder));
    model->beta = w->options->beta;
    model->own_order = true;
    return iv_model_describe(model, w->data, arch, w->err);
}

static isovae_status build(work *w)
{
    iv_graph *encoder = NULL, *decoder = NULL;
    iv_model *model;
    find_layout(w);
    isovae_status status = build_encoder(w, &encoder);
    if (!status) status = build_decoder(w, &decoder);
    if (!status) status = iv_model_new(&w->out->model, w->err);
    if (status) {
        iv_graph_free(encoder);
        iv_graph_free(decoder);
        return status;
    }
    model = w->out->model;
    IV_TRY(iv_model_set_network(model, encoder, decoder, IV_F32, w->err));
    if (w->encoder != NULL) iv_stack_params(model->encoder, "enc.", w->encoder, model->params);
    iv_stack_params(model->decoder, "dec.", w->decoder, model->params);
    IV_TRY(make_scaling(w, &model->scaling));
    IV_TRY(iv_model_set_metric(model, &w->options->metric, w->err));
    for (size_t i = 0; w->encoder != NULL && i < w->encoder->n_notes; i++)
        note(w, "encoder: %.180s", w->encoder->notes[i]);
    for (size_t i = 0; i < w->decoder->n_notes; i++)
        note(w, "decoder: %.180s", w->decoder->notes[i]);
    return describe(w, model);
}

isovae_status iv_onnx_vae_load(const iv_dataset *data, const iv_onnx_vae_options *options,
                               iv_onnx_vae *out, isovae_error *err)
{
    work w = {.data = data, .options = options, .out = out, .err = err};
    *out = (iv_onnx_vae){.no_encoder = options->encoder == NULL};
    if (data == NULL && options->encoder != NULL)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "an encoder needs data");
    isovae_status status = find_posterior(&w);
    if (!status) status = build(&w);
    out->no_width = w.no_width;
    if (status) {
        iv_model_free(out->model);
        out->model = NULL;
    }
    iv_onnx_free(w.encoder);
    iv_onnx_free(w.decoder);
    iv_free(w.mu);
    iv_free(w.width);
    iv_free(w.sample);
    iv_dataset_free(w.stand_in);
    return status;
}
