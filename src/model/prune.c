/* A model without some of its latents: rows of the heads and columns of the decoder's first layers
 * go, and what a dropped latent's mean adds behind such a column goes into that layer's bias. Where
 * these are no dense layers of their own, a take behind the head, or a take and the means in front
 * of the decoder, do the same around a network that stays as large. */
#include "base/memory.h"
#include "graph/node.h"
#include "model/file.h"
#include "model/latent_layers.h"
#include "model/model.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct pruning {
    const iv_model *model;
    const unsigned char *keep;
    const double *mean;
    size_t kept;
    const iv_node *mu, *logvar; /* NULL: no dense layer of its own */
    bool dense_readers;
    char means[64];        /* else the decoder's new constant: the means of the dropped, or 0 */
    const iv_graph *graph; /* whose shapes are asked for */
} pruning;

static bool in_head(const pruning *p, size_t param)
{
    const iv_node *heads[2] = {p->mu, p->logvar};
    for (size_t h = 0; h < 2; h++) {
        for (size_t i = 0; heads[h] != NULL && i < heads[h]->n_params; i++)
            if (heads[h]->params[i] == param) return true;
    }
    return false;
}

/* The layer that reads the latents through that parameter, or NULL. */
static const iv_node *reader_of(const pruning *p, size_t param, size_t role)
{
    const iv_graph *decoder = p->model->decoder;
    for (size_t i = 0; p->dense_readers && i < decoder->n_nodes; i++) {
        const iv_node *node = &decoder->nodes[i];
        if (iv_node_reads(node, decoder->inputs[0]) && node->params[role] == param) return node;
    }
    return NULL;
}

/* The bias that a layer without one gets. */
static void bias_name(const iv_node *node, char *name, size_t room)
{
    snprintf(name, room, "%s.bias", node->name);
}

static bool shape_of(void *user, const char *name, iv_shape *out)
{
    const pruning *p = user;
    const iv_graph *graph = p->graph;
    size_t param = iv_graph_find_param(graph, name);
    if (param == SIZE_MAX && strcmp(name, p->means) == 0) {
        *out = (iv_shape){.rank = 1, .dim = {p->model->n}};
        return true;
    }
    if (param == SIZE_MAX) { /* a new bias */
        for (size_t i = 0; i < graph->n_nodes; i++) {
            const iv_node *node = &graph->nodes[i];
            char bias[300];
            bias_name(node, bias, sizeof bias);
            if (strcmp(bias, name) != 0 || !iv_node_reads(node, graph->inputs[0])) continue;
            const iv_param *weight = &graph->params[node->params[IV_DENSE_WEIGHT]];
            *out = (iv_shape){.rank = 1, .dim = {weight->shape.dim[0]}};
            return true;
        }
        return false;
    }
    *out = graph->params[param].shape;
    if (graph == p->model->encoder && in_head(p, param)) out->dim[0] = p->kept;
    if (graph == p->model->decoder && reader_of(p, param, IV_DENSE_WEIGHT) != NULL)
        out->dim[1] = p->kept;
    return true;
}

/* In the list of the decoder's nodes, a bias for layers that read the latents and have none. */
static isovae_status add_biases(const iv_graph *decoder, json_t *nodes, isovae_error *err)
{
    for (size_t i = 0; i < decoder->n_nodes; i++) {
        const iv_node *node = &decoder->nodes[i];
        char name[300];
        if (!iv_node_reads(node, decoder->inputs[0]) || node->params[IV_DENSE_BIAS] != SIZE_MAX)
            continue;
        bias_name(node, name, sizeof name);
        json_t *params = json_object_get(json_array_get(nodes, i), "params");
        if (iv_graph_find_param(decoder, name) != SIZE_MAX ||
            json_object_set_new(params, "bias", json_string(name)) != 0)
            return iv_latents_fixed("no room for a bias in", node->name, err);
    }
    return ISOVAE_OK;
}

/* A name that the graph has not, for a value, a node or a parameter. */
static void fresh_name(const iv_graph *graph, const char *what, char *name, size_t room)
{
    for (size_t serial = 0;; serial++) {
        snprintf(name, room, "isovae.%s%zu", what, serial);
        bool used = iv_graph_find_value(graph, name) != SIZE_MAX ||
                    iv_graph_find_param(graph, name) != SIZE_MAX;
        for (size_t i = 0; i < graph->n_nodes && !used; i++)
            used = strcmp(graph->nodes[i].name, name) == 0;
        if (!used) return;
    }
}

static bool rename_in(json_t *node, const char *member, const char *from, const char *to)
{
    json_t *list = json_object_get(node, member);
    if (json_is_string(list) && strcmp(json_string_value(list), from) == 0)
        return json_object_set_new(node, member, json_string(to)) == 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name != NULL && strcmp(name, from) == 0 &&
            json_array_set_new(list, i, json_string(to)) != 0)
            return false;
    }
    return true;
}

static bool rename_value(json_t *nodes, const char *from, const char *to)
{
    bool ok = true;
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        json_t *node = json_array_get(nodes, i);
        ok = ok && rename_in(node, "inputs", from, to) && rename_in(node, "output", from, to) &&
             rename_in(node, "outputs", from, to);
    }
    return ok;
}

/* The places of the kept among all, or (`back`) of all among the kept, -1 for the others. */
static json_t *map_of(const pruning *p, bool back)
{
    json_t *map = json_array();
    json_int_t kept = 0;
    for (size_t j = 0; j < p->model->n; j++) {
        if (p->keep[j] || back)
            json_array_append_new(map,
                                  json_integer(back ? (p->keep[j] ? kept : -1) : (json_int_t)j));
        kept += p->keep[j] != 0;
    }
    return map;
}

static json_t *take_node(const pruning *p, bool back, const char *name, const char *from,
                         const char *to)
{
    return json_pack("{s:s,s:s,s:[s],s:s,s:{s:o,s:i}}", "name", name, "kind", "take", "inputs",
                     from, "output", to, "attributes", "map", map_of(p, back), "axis", 1);
}

/* Behind the encoder's value: it keeps its name with the kept latents alone. */
static bool take_behind(const pruning *p, const iv_graph *graph, size_t value, json_t *nodes)
{
    char all[64], node[64];
    const char *name = graph->values[value].name;
    snprintf(node, sizeof node, "%s.all", value == p->model->mu ? "mu" : "logvar");
    fresh_name(graph, node, all, sizeof all);
    snprintf(node, sizeof node, "%s.take", value == p->model->mu ? "mu" : "logvar");
    char fresh[64];
    fresh_name(graph, node, fresh, sizeof fresh);
    return rename_value(nodes, name, all) &&
           json_array_append_new(nodes, take_node(p, false, fresh, all, name)) == 0;
}

/* In front of the decoder: the kept at their old places, the means at the others. */
static bool spread_before(pruning *p, const iv_graph *graph, json_t *nodes)
{
    char all[64], spread[64], take[64], add[64];
    const char *z = graph->values[graph->inputs[0]].name;
    fresh_name(graph, "z.all", all, sizeof all);
    fresh_name(graph, "z.spread", spread, sizeof spread);
    fresh_name(graph, "z.take", take, sizeof take);
    fresh_name(graph, "z.add", add, sizeof add);
    fresh_name(graph, "z.means", p->means, sizeof p->means);
    json_t *sum = json_pack("{s:s,s:s,s:[s],s:s,s:{s:s}}", "name", add, "kind", "add", "inputs",
                            spread, "output", all, "params", "operand", p->means);
    return rename_value(nodes, z, all) && json_array_insert_new(nodes, 0, sum) == 0 &&
           json_array_insert_new(nodes, 0, take_node(p, true, take, z, spread)) == 0;
}

/* The list of nodes with what has to stand around a network that has no dense layers there. */
static isovae_status wrap(pruning *p, const iv_graph *graph, json_t *nodes, isovae_error *err)
{
    bool ok = true;
    if (graph == p->model->encoder) {
        if (p->mu == NULL) ok = take_behind(p, graph, p->model->mu, nodes);
        if (ok && p->logvar == NULL) ok = take_behind(p, graph, p->model->logvar, nodes);
    } else if (!p->dense_readers) {
        ok = spread_before(p, graph, nodes);
    }
    return ok ? ISOVAE_OK : iv_fail(err, ISOVAE_ERR_MEMORY, "no memory for a list of nodes");
}

static isovae_status smaller_graph(pruning *p, const iv_graph *graph, iv_graph **out,
                                   isovae_error *err)
{
    bool decoder = graph == p->model->decoder;
    const char *outputs[IV_MAX_PORTS];
    const iv_value *input = &graph->values[graph->inputs[0]];
    iv_shape shape = input->shape;
    if (decoder) shape = (iv_shape){.rank = 1, .dim = {p->kept}};
    for (size_t i = 0; i < graph->n_outputs; i++)
        outputs[i] = graph->values[graph->outputs[i]].name;
    p->graph = graph;
    json_t *nodes = iv_graph_to_json(graph);
    isovae_status status =
        nodes ? ISOVAE_OK : iv_fail(err, ISOVAE_ERR_MEMORY, "no memory for a list of nodes");
    if (status == ISOVAE_OK && decoder && p->dense_readers) status = add_biases(graph, nodes, err);
    if (status == ISOVAE_OK) status = wrap(p, graph, nodes, err);
    if (status == ISOVAE_OK)
        status = iv_graph_from_json(nodes, input->name, &shape, outputs, graph->n_outputs, shape_of,
                                    p, out, err);
    json_decref(nodes);
    return status;
}

static double get(const iv_model *model, size_t at)
{
    return model->dtype == IV_F64 ? ((const double *)model->params)[at]
                                  : (double)((const float *)model->params)[at];
}

static void put(iv_model *model, size_t at, double value)
{
    if (model->dtype == IV_F64)
        ((double *)model->params)[at] = value;
    else
        ((float *)model->params)[at] = (float)value;
}

/* Rows of a matrix (n, cols) that are kept; a bias has one column. */
static void keep_rows(const pruning *p, iv_model *out, size_t to, size_t from, size_t cols)
{
    for (size_t j = 0; j < p->model->n; j++) {
        if (!p->keep[j]) continue;
        for (size_t c = 0; c < cols; c++) put(out, to++, get(p->model, from + j * cols + c));
    }
}

static void keep_columns(const pruning *p, iv_model *out, size_t to, size_t from, size_t rows)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < p->model->n; j++)
            if (p->keep[j]) put(out, to++, get(p->model, from + r * p->model->n + j));
    }
}

/* bias + sum over the dropped of weight column times mean, in double. */
static void fold_means(const pruning *p, iv_model *out, const iv_node *reader, const iv_param *to)
{
    const iv_model *model = p->model;
    const iv_param *weight = &model->decoder->params[reader->params[IV_DENSE_WEIGHT]];
    size_t old = reader->params[IV_DENSE_BIAS];
    for (size_t r = 0; r < to->size; r++) {
        double sum = old == SIZE_MAX ? 0.0 : get(model, model->decoder->params[old].offset + r);
        for (size_t j = 0; j < model->n; j++)
            if (!p->keep[j]) sum += get(model, weight->offset + r * model->n + j) * p->mean[j];
        put(out, to->offset + r, sum);
    }
}

/* A bias belongs to one layer, as its weight does: folding would tell another reader's mean. */
static isovae_status check_biases(const iv_graph *decoder, isovae_error *err)
{
    for (size_t i = 0; i < decoder->n_nodes; i++) {
        const iv_node *first = &decoder->nodes[i];
        if (!iv_node_reads(first, decoder->inputs[0])) continue;
        size_t bias = first->params[IV_DENSE_BIAS];
        for (size_t k = 0; k < decoder->n_nodes && bias != SIZE_MAX; k++) {
            const iv_node *node = &decoder->nodes[k];
            for (size_t r = 0; r < node->n_params && k != i; r++)
                if (node->params[r] == bias)
                    return iv_latents_fixed("a bias is shared by", node->name, err);
        }
    }
    return ISOVAE_OK;
}

static void take_params(const pruning *p, iv_model *out)
{
    const iv_graph *pairs[2][2] = {{p->model->encoder, out->encoder},
                                   {p->model->decoder, out->decoder}};
    for (size_t g = 0; g < 2; g++) {
        const iv_graph *from = pairs[g][0], *to = pairs[g][1];
        bool decoder = g == 1;
        for (size_t i = 0; i < to->n_params; i++) {
            const iv_param *new = &to->params[i];
            size_t old = iv_graph_find_param(from, new->name);
            const iv_node *layer = NULL;
            if (decoder && !p->dense_readers && old == SIZE_MAX) {
                for (size_t j = 0; j < new->size; j++)
                    put(out, new->offset + j, p->keep[j] ? 0.0 : p->mean[j]);
                continue;
            }
            if (decoder && p->dense_readers) { /* the node at the same place of the list: a new bias
                                                  has no old one */
                for (size_t k = 0; k < to->n_nodes; k++)
                    if (iv_node_reads(&to->nodes[k], to->inputs[0]) &&
                        to->nodes[k].params[IV_DENSE_BIAS] == i)
                        layer = &from->nodes[k];
            }
            if (layer != NULL)
                fold_means(p, out, layer, new);
            else if (!decoder && in_head(p, old))
                keep_rows(p, out, new->offset, from->params[old].offset,
                          from->params[old].size / p->model->n);
            else if (decoder && reader_of(p, old, IV_DENSE_WEIGHT) != NULL)
                keep_columns(p, out, new->offset, from->params[old].offset,
                             from->params[old].size / p->model->n);
            else
                for (size_t e = 0; e < new->size; e++)
                    put(out, new->offset + e, get(p->model, from->params[old].offset + e));
        }
    }
    for (size_t e = 0; e < p->model->learned_elements; e++)
        put(out, out->learned_at + e, get(p->model, p->model->learned_at + e));
}

/* What is known of each latent, of those that are kept; the splines move. */
static void take_latents(const pruning *p, iv_model *out, unsigned char *active, double *kl_mean,
                         double *variance_y, iv_spline *splines)
{
    size_t to = 0;
    for (size_t j = 0; j < p->model->n; j++) {
        if (!p->keep[j]) continue;
        out->active[to] = active[j];
        out->kl_mean[to] = kl_mean[j];
        out->variance_y[to] = variance_y[j];
        out->splines[to++] = splines[j];
        splines[j] = (iv_spline){0};
    }
}

static isovae_status copy_of(const iv_model *model, iv_model **out, isovae_error *err)
{
    unsigned char *bytes = NULL;
    size_t length = 0;
    IV_TRY(iv_model_write(model, NULL, 0, NULL, &bytes, &length, err));
    isovae_status status = iv_model_read(bytes, length, "the model", out, NULL, err);
    iv_free(bytes);
    return status;
}

/* Gives the copy another network; what it had is released. */
static isovae_status replace_network(const pruning *p, iv_model *copy, iv_graph *encoder,
                                     iv_graph *decoder, isovae_error *err)
{
    iv_model old = *copy;
    iv_metric_spec metric = copy->metric;
    copy->encoder = copy->decoder = NULL;
    copy->params = NULL;
    copy->active = NULL;
    copy->kl_mean = copy->variance_y = NULL;
    copy->splines = NULL;
    copy->n = 0; /* no splines to release until there are new ones */
    isovae_status status = iv_model_set_network(copy, encoder, decoder, old.dtype, err);
    if (status == ISOVAE_OK) status = iv_model_set_metric(copy, &metric, err);
    if (status == ISOVAE_OK) {
        take_params(p, copy);
        take_latents(p, copy, old.active, old.kl_mean, old.variance_y, old.splines);
    }
    for (size_t j = 0; j < old.n; j++) iv_spline_free(&old.splines[j]);
    iv_free(old.splines);
    iv_free(old.active);
    iv_free(old.kl_mean);
    iv_free(old.variance_y);
    iv_free(old.params);
    iv_graph_free(old.encoder);
    iv_graph_free(old.decoder);
    return status;
}

isovae_status iv_model_prune(const iv_model *model, const unsigned char *keep, const double *mean,
                             iv_model **out, isovae_error *err)
{
    pruning p = {.model = model, .keep = keep, .mean = mean};
    iv_model *copy = NULL;
    iv_graph *encoder = NULL, *decoder = NULL;
    *out = NULL;
    for (size_t j = 0; j < model->n; j++) p.kept += keep[j] != 0;
    if (p.kept == 0)
        return iv_fail(err, ISOVAE_ERR_DATA, "all latents would be dropped, and no model be left");
    if (model->n_more > 0 || model->member > 0)
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                       "the networks of an ensemble keep different latents, and must have as many");
    isovae_error ignored;
    if (iv_latent_head(model->encoder, model->mu, true, &p.mu, &ignored)) p.mu = NULL;
    if (iv_latent_head(model->encoder, model->logvar, true, &p.logvar, &ignored)) p.logvar = NULL;
    p.dense_readers = iv_latent_readers_check(model->decoder, &ignored) == ISOVAE_OK &&
                      check_biases(model->decoder, &ignored) == ISOVAE_OK;
    isovae_status status = copy_of(model, &copy, err);
    if (status == ISOVAE_OK) status = smaller_graph(&p, model->encoder, &encoder, err);
    if (status == ISOVAE_OK) status = smaller_graph(&p, model->decoder, &decoder, err);
    if (status == ISOVAE_OK) {
        status = replace_network(&p, copy, encoder, decoder, err);
    } else {
        iv_graph_free(encoder);
        iv_graph_free(decoder);
    }
    if (status == ISOVAE_OK)
        *out = copy;
    else
        iv_model_free(copy);
    return status;
}
