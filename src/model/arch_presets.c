/* The networks for pictures that are had by name.
 *
 * conv64: the one of the paper's second experiment (Nakagawa et al. 2021, 5.2): a convolution of 9
 * x 9 and three of 5 x 5 to 64 channels, each of stride 2 and followed by GDN, a dense layer of
 * 8,192 with softplus, the heads; the decoder is its mirror with inverse GDN. conv-small:
 * convolutions of 4 x 4, stride 2, to 32, 64, 128 and 256 channels, as many as the picture has room
 * for, with batch norm and leaky ReLU of slope 0.2; mirrored. */
#include "model/arch.h"

#include <stdio.h>
#include <string.h>

enum { LAYERS = 4 };

typedef struct layer {
    int kernel, pad;
    size_t channels;
} layer;

typedef struct preset {
    const char *name;
    layer layers[LAYERS];
    size_t least_side; /* of the picture at a layer's input; smaller ones get fewer layers */
    int dense;         /* units of the layer between convolutions and latents; 0: none */
    double rate;       /* GDN multiplies by what it learns: conv64 diverges at once above 5e-4 */
} preset;

static const preset presets[] = {
    {"conv64", {{9, 4, 64}, {5, 2, 64}, {5, 2, 64}, {5, 2, 64}}, 2, 8192, 3e-4},
    {"conv-small", {{4, 1, 32}, {4, 1, 64}, {4, 1, 128}, {4, 1, 256}}, 4, 0, 1e-3},
};

static const preset *find(const char *arch)
{
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++)
        if (strcmp(presets[i].name, arch) == 0) return &presets[i];
    return NULL;
}

bool iv_arch_is_preset(const char *arch)
{
    return find(arch) != NULL;
}

double iv_arch_preset_rate(const char *arch)
{
    const preset *p = find(arch);
    return p != NULL ? p->rate : 0;
}

/* The chain of nodes so far: each node reads what the one before it made. */
typedef struct chain {
    json_t *list;
    char value[24]; /* the last value */
    bool failed;
} chain;

/* Appends a node that makes `output`; takes over `rest`, what its kind wants beside the names. */
static void append(chain *c, const char *name, const char *kind, const char *output, json_t *rest)
{
    json_t *node = json_pack("{s:s, s:s, s:[s], s:s}", "name", name, "kind", kind, "inputs",
                             c->value, "output", output);
    if (node == NULL || rest == NULL || json_object_update(node, rest) != 0 ||
        json_array_append(c->list, node) != 0)
        c->failed = true;
    json_decref(node);
    json_decref(rest);
    (void)snprintf(c->value, sizeof c->value, "%s", output);
}

static void append_dense(chain *c, const char *name, const char *output, json_int_t units,
                         const char *act)
{
    json_t *rest =
        act != NULL ? json_pack("{s:I, s:{s:s}}", "units", units, "attributes", "activation", act)
                    : json_pack("{s:I}", "units", units);
    append(c, name, "dense", output, rest);
}

static size_t side_after(const layer *l, size_t side)
{
    return (side + 2 * (size_t)l->pad - (size_t)l->kernel) / 2 + 1;
}

/* What a layer of the decoder lacks to come out at `side`. */
static json_int_t lack(const layer *l, size_t small, size_t side)
{
    return (json_int_t)(side + 2 * (size_t)l->pad) - (json_int_t)(2 * (small - 1)) - l->kernel;
}

/* Sides of the picture before each layer and behind the last; returns the number of layers. */
static size_t plan(const preset *p, const iv_arch_image *image, size_t h[LAYERS + 1],
                   size_t w[LAYERS + 1])
{
    size_t n = 0;
    h[0] = image->height;
    w[0] = image->width;
    while (n < LAYERS && h[n] >= p->least_side && w[n] >= p->least_side) {
        h[n + 1] = side_after(&p->layers[n], h[n]);
        w[n + 1] = side_after(&p->layers[n], w[n]);
        n++;
    }
    return n;
}

/* GDN, or batch norm and leaky ReLU. */
static void append_norm(chain *c, const preset *p, const char *prefix, size_t i, bool inverse)
{
    char name[24], output[24];
    if (p->dense > 0) {
        (void)snprintf(name, sizeof name, "%s.gdn%zu", prefix, i);
        (void)snprintf(output, sizeof output, "%s.g%zu", prefix, i);
        append(c, name, inverse ? "gdn_inverse" : "gdn", output, json_object());
        return;
    }
    (void)snprintf(name, sizeof name, "%s.norm%zu", prefix, i);
    (void)snprintf(output, sizeof output, "%s.n%zu", prefix, i);
    append(c, name, "batch_norm", output, json_object());
    (void)snprintf(name, sizeof name, "%s.act%zu", prefix, i);
    (void)snprintf(output, sizeof output, "%s.a%zu", prefix, i);
    append(c, name, "leaky_relu", output, json_pack("{s:{s:f}}", "attributes", "slope", 0.2));
}

static void make_encoder(chain *c, const preset *p, size_t layers, size_t n)
{
    for (size_t i = 0; i < layers; i++) {
        const layer *l = &p->layers[i];
        char name[24], output[24];
        (void)snprintf(name, sizeof name, "enc.conv%zu", i + 1);
        (void)snprintf(output, sizeof output, "enc.c%zu", i + 1);
        /* Batch norm has a shift of its own. */
        append(c, name, "conv", output,
               json_pack("{s:I, s:i, s:b, s:{s:i, s:i}}", "units", (json_int_t)l->channels,
                         "kernel", l->kernel, "bias", p->dense > 0, "attributes", "stride", 2,
                         "pads", l->pad));
        append_norm(c, p, "enc", i + 1, false);
    }
    append(c, "enc.flat", "flatten", "enc.features", json_object());
    if (p->dense > 0) append_dense(c, "enc.fc", "enc.h", p->dense, "softplus");
    char last[sizeof c->value];
    memcpy(last, c->value, sizeof last);
    append_dense(c, "enc.mu", "mu", (json_int_t)n, NULL);
    memcpy(c->value, last, sizeof last);
    append_dense(c, "enc.logvar", "logvar", (json_int_t)n, NULL);
}

static void make_decoder(chain *c, const preset *p, size_t layers, const size_t *h, const size_t *w,
                         size_t image_channels)
{
    size_t deepest = layers > 0 ? p->layers[layers - 1].channels : image_channels;
    if (p->dense > 0) append_dense(c, "dec.fc", "dec.h", p->dense, "softplus");
    size_t features = deepest * h[layers] * w[layers];
    append_dense(c, "dec.spread", "dec.features", (json_int_t)features, NULL);
    append(c, "dec.planes", "reshape", layers > 0 ? "dec.p" : "image",
           json_pack("{s:{s:[I, I, I]}}", "attributes", "shape", (json_int_t)deepest,
                     (json_int_t)h[layers], (json_int_t)w[layers]));
    for (size_t i = layers; i-- > 0;) {
        const layer *l = &p->layers[i];
        char name[24], output[24];
        append_norm(c, p, "dec", layers - i, true);
        (void)snprintf(name, sizeof name, "dec.conv%zu", layers - i);
        (void)snprintf(output, sizeof output, "dec.c%zu", layers - i);
        append(c, name, "conv_transpose", i > 0 ? output : "image",
               json_pack("{s:I, s:i, s:b, s:{s:i, s:i, s:[I, I]}}", "units",
                         (json_int_t)(i > 0 ? p->layers[i - 1].channels : image_channels), "kernel",
                         l->kernel, "bias", p->dense > 0 || i == 0, "attributes", "stride", 2,
                         "pads", l->pad, "output_padding", lack(l, h[i + 1], h[i]),
                         lack(l, w[i + 1], w[i])));
    }
}

json_t *iv_arch_preset(const char *arch, const iv_arch_image *image, size_t n)
{
    const preset *p = find(arch);
    size_t h[LAYERS + 1], w[LAYERS + 1];
    if (p == NULL) return NULL;
    size_t layers = plan(p, image, h, w);
    chain encoder = {.list = json_array(), .value = "image"};
    chain decoder = {.list = json_array(), .value = "z"};
    make_encoder(&encoder, p, layers, n);
    make_decoder(&decoder, p, layers, h, w, image->channels);
    json_t *draft = json_pack("{s:s, s:b, s:o, s:o}", "format", "isovae-arch/1", "pictures", 1,
                              "encoder", encoder.list, "decoder", decoder.list);
    if (encoder.failed || decoder.failed) {
        json_decref(draft);
        return NULL;
    }
    return draft;
}
