/* Graphs from drafts (docs/architectures.md). */
#include "model/arch.h"

#include "base/memory.h"
#include "graph/node.h"

#include <string.h>

/* What a network may ask for: parameters, and numbers that one row makes on its way. The largest
 * networks of use have a hundredth of it. */
enum { MOST_PARAMETERS = 1 << 30, MOST_VALUES = 1 << 26 };

static bool has_image(const json_t *draft)
{
    return json_is_true(json_object_get(draft, "pictures"));
}

static isovae_status check_draft(const json_t *draft, const iv_arch_image *image, isovae_error *err)
{
    static const char *const known[] = {"format", "about", "pictures", "encoder", "decoder"};
    const char *key, *format = json_string_value(json_object_get(draft, "format"));
    const json_t *pictures = json_object_get(draft, "pictures");
    json_t *value;
    if (!json_is_object(draft) || format == NULL || strcmp(format, "isovae-arch/1") != 0) {
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "it is no object with \"format\": \"isovae-arch/1\"");
    }
    json_object_foreach((json_t *)(uintptr_t)draft, key, value)
    {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            found = found || strcmp(known[i], key) == 0;
        if (!found) {
            IV_TRY(iv_graph_check_name("member", key, err));
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "it has a member '%s'; there are format, about, pictures, encoder and "
                           "decoder",
                           key);
        }
    }
    if (pictures != NULL && !json_is_boolean(pictures))
        return iv_fail(err, ISOVAE_ERR_FORMAT, "'pictures' must be true or false");
    for (size_t i = 3; i < 5; i++) {
        if (!json_is_array(json_object_get(draft, known[i])))
            return iv_fail(err, ISOVAE_ERR_FORMAT, "'%s' must be a list of nodes", known[i]);
    }
    if (has_image(draft) && image->height == 0) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "the network is for pictures (\"pictures\": true), and the data are none");
    }
    return ISOVAE_OK;
}

static bool is_name(const json_t *value, const char *name)
{
    return json_is_string(value) && strcmp(json_string_value(value), name) == 0;
}

/* The decoder of pictures ends in "image"; what makes "out" of it is ours. */
static isovae_status check_image(const json_t *nodes, isovae_error *err)
{
    bool image = false, out = false;
    size_t i, j;
    json_t *node, *value;
    json_array_foreach(nodes, i, node)
    {
        image = image || is_name(json_object_get(node, "output"), "image");
        out = out || is_name(json_object_get(node, "output"), "out");
        json_array_foreach(json_object_get(node, "outputs"), j, value)
        {
            image = image || is_name(value, "image");
            out = out || is_name(value, "out");
        }
    }
    if (image && !out) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_FORMAT,
                   image ? "'out' is made from 'image' by itself; no node may make it"
                         : "no node makes the output 'image'");
}

/* "units": "latents" and "features" become numbers. */
static isovae_status put_numbers(json_t *nodes, size_t d, size_t n, isovae_error *err)
{
    size_t i;
    json_t *node;
    json_array_foreach(nodes, i, node)
    {
        const char *units = json_string_value(json_object_get(node, "units"));
        if (units == NULL) continue;
        bool latents = strcmp(units, "latents") == 0;
        if (!latents && strcmp(units, "features") != 0) {
            const char *name = json_string_value(json_object_get(node, "name"));
            IV_TRY(iv_graph_check_name("node", name, err));
            return iv_fail(err, ISOVAE_ERR_FORMAT,
                           "node '%s': 'units' must be a number, \"latents\" or \"features\"",
                           name);
        }
        if (json_object_set_new(node, "units", json_integer((json_int_t)(latents ? n : d))) != 0)
            return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for a network");
    }
    return ISOVAE_OK;
}

/* Rows of pictures lie channels last; the nodes want C, H, W under the name "image". */
static bool lead_in(json_t *nodes, const iv_arch_image *image)
{
    json_int_t h = (json_int_t)image->height, w = (json_int_t)image->width,
               c = (json_int_t)image->channels;
    if (c == 1) {
        return json_array_insert_new(nodes, 0,
                                     json_pack("{s:s, s:s, s:[s], s:s, s:{s:[I, I, I]}}", "name",
                                               "enc.planes", "kind", "reshape", "inputs", "x",
                                               "output", "image", "attributes", "shape", c, h,
                                               w)) == 0;
    }
    return json_array_insert_new(nodes, 0,
                                 json_pack("{s:s, s:s, s:[s], s:s, s:{s:[I, I, I]}}", "name",
                                           "enc.rows", "kind", "reshape", "inputs", "x", "output",
                                           "enc.pixels", "attributes", "shape", h, w, c)) == 0 &&
           json_array_insert_new(nodes, 1,
                                 json_pack("{s:s, s:s, s:[s], s:s, s:{s:[i, i, i]}}", "name",
                                           "enc.planes", "kind", "transpose", "inputs",
                                           "enc.pixels", "output", "image", "attributes", "perm", 3,
                                           1, 2)) == 0;
}

static bool lead_out(json_t *nodes, const iv_arch_image *image)
{
    const char *last = "image";
    if (image->channels > 1) {
        last = "dec.pixels";
        if (json_array_append_new(nodes,
                                  json_pack("{s:s, s:s, s:[s], s:s, s:{s:[i, i, i]}}", "name",
                                            "dec.rows", "kind", "transpose", "inputs", "image",
                                            "output", last, "attributes", "perm", 2, 3, 1)) != 0)
            return false;
    }
    return json_array_append_new(nodes,
                                 json_pack("{s:s, s:s, s:[s], s:s}", "name", "dec.flat", "kind",
                                           "flatten", "inputs", last, "output", "out")) == 0;
}

static isovae_status check_output(const iv_graph *graph, const char *name, size_t size,
                                  isovae_error *err)
{
    size_t value = iv_graph_find_value(graph, name);
    char text[IV_SHAPE_TEXT];
    if (graph->values[value].size == size) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_FORMAT, "'%s' comes out as %s; %zu numbers a row are wanted",
                   name, iv_shape_text(&graph->values[value].shape, text), size);
}

static isovae_status check_size(const iv_graph *encoder, const iv_graph *decoder, isovae_error *err)
{
    const iv_graph *graphs[2] = {encoder, decoder};
    size_t parameters = 0;
    for (size_t g = 0; g < 2; g++) {
        size_t values = 0;
        for (size_t i = 0; i < graphs[g]->n_values; i++) {
            if (!iv_size_add(values, graphs[g]->values[i].size, &values) || values > MOST_VALUES) {
                return iv_fail(err, ISOVAE_ERR_FORMAT,
                               "one row makes more than %d numbers on its way to '%s' (%s)",
                               MOST_VALUES, graphs[g]->values[i].name,
                               g == 0 ? "encoder" : "decoder");
            }
        }
        for (size_t i = 0; i < graphs[g]->n_params; i++) {
            if (!iv_size_add(parameters, graphs[g]->params[i].size, &parameters) ||
                parameters > MOST_PARAMETERS) {
                return iv_fail(err, ISOVAE_ERR_FORMAT,
                               "with '%s' the network has more than %d parameters",
                               graphs[g]->params[i].name, MOST_PARAMETERS);
            }
        }
    }
    return ISOVAE_OK;
}

static isovae_status make_encoder(json_t *nodes, const iv_arch_image *image, size_t d, size_t n,
                                  iv_graph **out, isovae_error *err)
{
    static const char *const outputs[] = {"mu", "logvar"};
    iv_shape shape = {1, {d}};
    IV_TRY(put_numbers(nodes, d, n, err));
    if (image != NULL && !lead_in(nodes, image))
        return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for a network");
    IV_TRY(iv_graph_from_json(nodes, "x", &shape, outputs, 2, NULL, NULL, out, err));
    for (size_t i = 0; i < 2; i++) IV_TRY(check_output(*out, outputs[i], n, err));
    return ISOVAE_OK;
}

static isovae_status make_decoder(json_t *nodes, const iv_arch_image *image, size_t d, size_t n,
                                  iv_graph **out, isovae_error *err)
{
    static const char *const outputs[] = {"out"};
    iv_shape shape = {1, {n}};
    IV_TRY(put_numbers(nodes, d, n, err));
    if (image != NULL) IV_TRY(check_image(nodes, err));
    if (image != NULL && !lead_out(nodes, image))
        return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for a network");
    IV_TRY(iv_graph_from_json(nodes, "z", &shape, outputs, 1, NULL, NULL, out, err));
    if (image != NULL) {
        iv_shape wanted = {3, {image->channels, image->height, image->width}};
        const iv_shape *made = &(*out)->values[iv_graph_find_value(*out, "image")].shape;
        char a[IV_SHAPE_TEXT], b[IV_SHAPE_TEXT];
        if (!iv_shape_equal(made, &wanted)) {
            return iv_fail(err, ISOVAE_ERR_FORMAT, "'image' comes out as %s, the pictures are %s",
                           iv_shape_text(made, a), iv_shape_text(&wanted, b));
        }
    }
    return check_output(*out, "out", d, err);
}

isovae_status iv_arch_graphs(const json_t *draft, const iv_arch_image *image, size_t d, size_t n,
                             iv_graph **encoder, iv_graph **decoder, isovae_error *err)
{
    *encoder = *decoder = NULL;
    IV_TRY(check_draft(draft, image, err));
    if (!has_image(draft)) image = NULL;
    json_t *copy = json_deep_copy(draft);
    if (copy == NULL) return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for a network");
    isovae_status status =
        make_encoder(json_object_get(copy, "encoder"), image, d, n, encoder, err);
    if (status != ISOVAE_OK) {
        status = iv_fail_prefix(err, status, "encoder");
    } else {
        status = make_decoder(json_object_get(copy, "decoder"), image, d, n, decoder, err);
        if (status != ISOVAE_OK) status = iv_fail_prefix(err, status, "decoder");
    }
    json_decref(copy);
    if (status == ISOVAE_OK) status = check_size(*encoder, *decoder, err);
    if (status == ISOVAE_OK) return ISOVAE_OK;
    iv_graph_free(*encoder);
    iv_graph_free(*decoder);
    *encoder = *decoder = NULL;
    return status;
}
