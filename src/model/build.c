/* Networks by name. */
#include "model/model.h"

#include "base/memory.h"
#include "model/arch.h"

#include <stdio.h>
#include <string.h>

enum { MAX_LAYERS = 16, MAX_WIDTH = 65536 };

static isovae_status bad_arch(const char *arch, const char *why, isovae_error *err)
{
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "--arch: '%.100s' %s; give mlp:A,B with the widths of the encoder's hidden "
                   "layers (for example mlp:64,64), linear, conv64 or conv-small for pictures, or "
                   "the name of a file that ends in .json",
                   arch, why);
}

/* "A,B,..." into widths */
static isovae_status parse_widths(const char *arch, const char *text, size_t *widths, size_t *count,
                                  isovae_error *err)
{
    *count = 0;
    for (const char *p = text;; p++) {
        size_t width = 0;
        if (*p < '0' || *p > '9') return bad_arch(arch, "has no width where one belongs", err);
        for (; *p >= '0' && *p <= '9'; p++) {
            if (width <= MAX_WIDTH) width = width * 10 + (size_t)(*p - '0');
        }
        if (width < 1 || width > MAX_WIDTH) {
            return bad_arch(arch, "has a width outside 1 to 65536", err);
        }
        if (*count == MAX_LAYERS) return bad_arch(arch, "has more than 16 hidden layers", err);
        widths[(*count)++] = width;
        if (*p == '\0') return ISOVAE_OK;
        if (*p != ',') return bad_arch(arch, "has something other than widths and commas", err);
    }
}

static isovae_status add_dense(iv_graph *graph, const char *node, size_t input, const char *output,
                               size_t units, iv_act act, size_t *value, isovae_error *err)
{
    iv_node_spec spec = {
        .kind = "dense",
        .name = node,
        .n_inputs = 1,
        .inputs = {input},
        .n_outputs = 1,
        .outputs = {output},
        .units = units,
        .attributes = {.act = act, .parameter = iv_act_default_parameter(act)},
    };
    return iv_graph_node(graph, &spec, value, err);
}

/* Input `input` of `size` elements and the hidden layers; `last` is the value they end in. */
static isovae_status add_hidden(iv_graph *graph, const char *prefix, const char *input, size_t size,
                                const size_t *widths, size_t count, iv_act act, size_t *last,
                                isovae_error *err)
{
    iv_shape shape = {.rank = 1, .dim = {size}};
    IV_TRY(iv_graph_input(graph, input, &shape, last, err));
    for (size_t i = 0; i < count; i++) {
        char node[32], output[32];
        (void)snprintf(node, sizeof node, "%s.fc%zu", prefix, i + 1);
        (void)snprintf(output, sizeof output, "%s.h%zu", prefix, i + 1);
        IV_TRY(add_dense(graph, node, *last, output, widths[i], act, last, err));
    }
    return ISOVAE_OK;
}

static isovae_status build_encoder(iv_graph *graph, size_t d, size_t n, const size_t *widths,
                                   size_t count, iv_act act, isovae_error *err)
{
    size_t last, mu, logvar;
    IV_TRY(add_hidden(graph, "enc", "x", d, widths, count, act, &last, err));
    IV_TRY(add_dense(graph, "enc.mu", last, "mu", n, IV_ACT_NONE, &mu, err));
    IV_TRY(add_dense(graph, "enc.logvar", last, "logvar", n, IV_ACT_NONE, &logvar, err));
    IV_TRY(iv_graph_output(graph, mu, err));
    return iv_graph_output(graph, logvar, err);
}

static isovae_status build_decoder(iv_graph *graph, size_t d, size_t n, const size_t *widths,
                                   size_t count, iv_act act, isovae_error *err)
{
    size_t last, out, mirrored[MAX_LAYERS];
    for (size_t i = 0; i < count; i++) mirrored[i] = widths[count - 1 - i];
    IV_TRY(add_hidden(graph, "dec", "z", n, mirrored, count, act, &last, err));
    IV_TRY(add_dense(graph, "dec.out", last, "out", d, IV_ACT_NONE, &out, err));
    return iv_graph_output(graph, out, err);
}

/* Graphs of "mlp:A,B" or "linear". */
static isovae_status layered(const char *arch, const iv_model_plan *plan, iv_graph **encoder,
                             iv_graph **decoder, isovae_error *err)
{
    static const char mlp[] = "mlp:";
    size_t widths[MAX_LAYERS], count = 0;
    if (strncmp(arch, mlp, strlen(mlp)) == 0) {
        IV_TRY(parse_widths(arch, arch + strlen(mlp), widths, &count, err));
    } else if (strcmp(arch, "linear") != 0) {
        return bad_arch(arch, "is not known", err);
    }
    IV_TRY(iv_graph_new(encoder, err));
    IV_TRY(iv_graph_new(decoder, err));
    IV_TRY(build_encoder(*encoder, plan->d, plan->n, widths, count, plan->act, err));
    return build_decoder(*decoder, plan->d, plan->n, widths, count, plan->act, err);
}

static isovae_status drafted(const char *arch, const iv_model_plan *plan, iv_graph **encoder,
                             iv_graph **decoder, isovae_error *err)
{
    json_t *draft;
    if (plan->draft != NULL) {
        json_error_t where;
        draft = json_loads(plan->draft, JSON_REJECT_DUPLICATES, &where);
        if (draft == NULL) {
            if (json_error_code(&where) == json_error_out_of_memory || where.text[0] == '\0')
                return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for a network");
            for (char *c = where.text; *c != '\0'; c++) /* it quotes the file */
                if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
            return iv_fail(err, ISOVAE_ERR_FORMAT, "--arch: %s: line %d: %s", arch, where.line,
                           where.text);
        }
    } else {
        if (plan->image.height == 0) {
            return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                           "--arch: %s is a network for pictures, and the data are none", arch);
        }
        draft = iv_arch_preset(arch, &plan->image, plan->n);
        if (draft == NULL) return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for a network");
    }
    isovae_status status =
        iv_arch_graphs(draft, &plan->image, plan->d, plan->n, encoder, decoder, err);
    json_decref(draft);
    if (status == ISOVAE_OK) return status;
    return iv_fail_prefix(err, status, "--arch: %s", arch);
}

isovae_status iv_model_build_plan(iv_model *model, const char *arch, const iv_model_plan *plan,
                                  isovae_error *err)
{
    if (plan->d == 0 || plan->n == 0) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "a model needs at least one feature and one latent, not %zu and %zu",
                       plan->d, plan->n);
    }
    char *copy;
    iv_graph *encoder = NULL, *decoder = NULL;
    IV_TRY(iv_strdup(&copy, arch, err));
    bool from_draft = plan->draft != NULL || iv_arch_is_preset(arch);
    isovae_status status = from_draft ? drafted(arch, plan, &encoder, &decoder, err)
                                      : layered(arch, plan, &encoder, &decoder, err);
    if (status != ISOVAE_OK) {
        iv_graph_free(encoder);
        iv_graph_free(decoder);
        iv_free(copy);
        return status;
    }
    iv_free(model->arch);
    model->arch = copy;
    return iv_model_set_network(model, encoder, decoder, plan->dtype, err);
}

isovae_status iv_model_build(iv_model *model, const char *arch, size_t d, size_t n, iv_act act,
                             iv_dtype dtype, isovae_error *err)
{
    iv_model_plan plan = {.d = d, .n = n, .act = act, .dtype = dtype};
    return iv_model_build_plan(model, arch, &plan, err);
}
