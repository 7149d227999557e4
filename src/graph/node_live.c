/* See live.h. The node hands rows as doubles to the caller's functions; one output is the decoder,
 * two are the encoder. */
#include "graph/live.h"

#include "base/memory.h"
#include "graph/node.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

struct iv_live {
    iv_live_functions f;
    pthread_mutex_t lock; /* over all below, and over the calls */
    unsigned host;        /* floating-point state of who made it */
    bool failed;
    isovae_error error;
};

isovae_status iv_live_new(const iv_live_functions *functions, iv_live **out, isovae_error *err)
{
    iv_live *live;
    *out = NULL;
    if (functions->encode == NULL || functions->decode == NULL || functions->pullback == NULL ||
        functions->pushforward == NULL || functions->features == 0 || functions->latents == 0)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "live networks need latents, encode, decode, pullback and pushforward");
    IV_TRY(IV_NEW(live, 1, "live networks", err));
    live->f = *functions;
    live->host = iv_fp_enter();
    iv_fp_leave(live->host);
    if (pthread_mutex_init(&live->lock, NULL) != 0) {
        iv_free(live);
        return iv_fail(err, ISOVAE_ERR_MEMORY, "no lock for live networks");
    }
    *out = live;
    return ISOVAE_OK;
}

void iv_live_free(iv_live *live)
{
    if (live == NULL) return;
    pthread_mutex_destroy(&live->lock);
    iv_free(live);
}

bool iv_live_failed(iv_live *live)
{
    pthread_mutex_lock(&live->lock);
    bool failed = live->failed;
    pthread_mutex_unlock(&live->lock);
    return failed;
}

isovae_status iv_live_error(iv_live *live, isovae_error *err)
{
    if (!iv_live_failed(live)) return ISOVAE_OK;
    if (err != NULL) *err = live->error; /* written once */
    return live->error.status;
}

bool iv_live_convolutional(const iv_live *live)
{
    return live->f.convolutional;
}

/* ---- graphs ---- */

static isovae_status one_node(iv_live *live, const char *name, const char *input, size_t size,
                              size_t n_outputs, const char *const *outputs, iv_graph **out,
                              isovae_error *err)
{
    iv_node_spec spec = {.kind = "live",
                         .name = name,
                         .n_inputs = 1,
                         .n_outputs = n_outputs,
                         .attributes = {.live = live}};
    size_t values[IV_MAX_PORTS];
    IV_TRY(iv_graph_new(out, err));
    isovae_status status =
        iv_graph_input(*out, input, &(iv_shape){1, {size}}, &spec.inputs[0], err);
    for (size_t i = 0; i < n_outputs; i++) spec.outputs[i] = outputs[i];
    if (!status) status = iv_graph_node(*out, &spec, values, err);
    for (size_t i = 0; !status && i < n_outputs; i++)
        status = iv_graph_output(*out, values[i], err);
    if (!status) return ISOVAE_OK;
    iv_graph_free(*out);
    *out = NULL;
    return status;
}

isovae_status iv_live_encoder(iv_live *live, iv_graph **out, isovae_error *err)
{
    static const char *const outputs[] = {"mu", "logvar"};
    return one_node(live, "encode", "x", live->f.features, 2, outputs, out, err);
}

isovae_status iv_live_decoder(iv_live *live, iv_graph **out, isovae_error *err)
{
    static const char *const outputs[] = {"out"};
    return one_node(live, "decode", "z", live->f.latents, 1, outputs, out, err);
}

isovae_status iv_live_shape(iv_node_shapes *shapes, isovae_error *err)
{
    const iv_live *live = shapes->attributes->live;
    if (live == NULL)
        return iv_fail(err, ISOVAE_ERR_FORMAT,
                       "node '%s': a live network is in no file: its functions are gone",
                       shapes->name);
    bool encoder = shapes->n_outputs == 2;
    for (size_t i = 0; i < shapes->n_outputs; i++)
        shapes->outputs[i] = (iv_shape){1, {encoder ? live->f.latents : live->f.features}};
    return ISOVAE_OK;
}

/* ---- calls ---- */

enum { MOST_BUFFERS = 3 };

/* What goes in and comes out of one call, in doubles. The lock is held from begin to end. */
typedef struct exchange {
    iv_live *live;
    const iv_kernels *k;
    double *buffer[MOST_BUFFERS];
    unsigned ours;
} exchange;

static void fail(exchange *e, isovae_status status, const char *what, const char *why)
{
    e->live->failed = true;
    (void)iv_fail(&e->live->error, status, "%s: %s", what, why);
}

/* False: nothing is to be called. */
static bool begin(exchange *e, const iv_node_call *call, const size_t *sizes, size_t n)
{
    *e = (exchange){.live = call->node->attributes.live, .k = call->kernels};
    pthread_mutex_lock(&e->live->lock);
    for (size_t i = 0; !e->live->failed && i < n; i++) {
        if (IV_NEW(e->buffer[i], sizes[i], "rows of live networks", &e->live->error) != ISOVAE_OK)
            e->live->failed = true;
    }
    return !e->live->failed;
}

static void leave(exchange *e) /* for the caller's function */
{
    e->ours = iv_fp_enter();
    iv_fp_leave(e->live->host);
}

static void come_back(exchange *e, const char *what, int result, size_t out, size_t rows,
                      size_t columns)
{
    iv_fp_leave(e->ours);
    if (result != 0) {
        fail(e, ISOVAE_ERR_DATA, what, "the caller's function failed");
        return;
    }
    for (size_t i = 0; i < rows * columns; i++) {
        if (isfinite(e->buffer[out][i])) continue;
        char why[160];
        (void)snprintf(why, sizeof why,
                       "gives a value that is not finite (number %zu of row %zu of a call)",
                       i % columns, i / columns);
        fail(e, ISOVAE_ERR_DATA, what, why);
        return;
    }
}

static void give(exchange *e, void *to, size_t buffer, size_t elements)
{
    if (e->live->failed)
        e->k->fill(elements, 0, to);
    else
        e->k->upload(to, e->buffer[buffer], elements);
}

static void end(exchange *e)
{
    for (size_t i = 0; i < MOST_BUFFERS; i++) iv_free(e->buffer[i]);
    pthread_mutex_unlock(&e->live->lock);
}

void iv_live_forward(const iv_node_call *call)
{
    exchange e;
    size_t in = call->rows * call->in_size[0], out = call->rows * call->out_size[0];
    bool encoder = call->node->n_outputs == 2;
    if (begin(&e, call, (const size_t[]){in, out, encoder ? out : 1}, 3)) {
        const iv_live_functions *f = &e.live->f;
        e.k->download(e.buffer[0], call->in[0], in);
        leave(&e);
        int result = encoder ? f->encode(f->user, call->rows, e.buffer[0], e.buffer[1], e.buffer[2])
                             : f->decode(f->user, call->rows, e.buffer[0], e.buffer[1]);
        const char *what = encoder ? "encode" : "decode";
        come_back(&e, what, result, 1, call->rows, call->out_size[0]);
        if (encoder && !e.live->failed) {
            e.ours = iv_fp_enter();
            come_back(&e, "encode, width", 0, 2, call->rows, call->out_size[1]);
        }
    }
    give(&e, call->out[0], 1, out);
    if (encoder) give(&e, call->out[1], 2, out);
    end(&e);
}

/* Of the decoder alone: nobody asks for the encoder's. */
void iv_live_reverse(const iv_node_call *call)
{
    exchange e;
    size_t in = call->rows * call->in_size[0], out = call->rows * call->out_size[0];
    if (call->grad_in[0] == NULL) return;
    bool wanted = call->node->n_outputs == 1 && call->grad_out[0] != NULL;
    if (!begin(&e, call, (const size_t[]){in, out, in}, 3)) {
        wanted = false;
    } else if (wanted) {
        const iv_live_functions *f = &e.live->f;
        e.k->download(e.buffer[0], call->in[0], in);
        e.k->download(e.buffer[1], call->grad_out[0], out);
        if (call->accumulate[0]) e.k->download(e.buffer[2], call->grad_in[0], in);
        leave(&e);
        int result = f->pullback(f->user, call->rows, e.buffer[0], e.buffer[1], e.buffer[2]);
        come_back(&e, "the gradient of decode", result, 2, call->rows, call->in_size[0]);
    }
    if (wanted)
        give(&e, call->grad_in[0], 2, in);
    else if (!call->accumulate[0])
        e.k->fill(in, 0, call->grad_in[0]);
    end(&e);
}

void iv_live_tangent(const iv_node_call *call)
{
    exchange e;
    size_t in = call->rows * call->in_size[0], out = call->rows * call->out_size[0];
    size_t t = call->tangents;
    bool decoder = call->node->n_outputs == 1;
    if (begin(&e, call, (const size_t[]){in, t * in, t * out}, 3) && decoder) {
        const iv_live_functions *f = &e.live->f;
        e.k->download(e.buffer[0], call->in[0], in);
        e.k->download(e.buffer[1], call->tangent_in[0], t * in);
        leave(&e);
        int result = f->pushforward(f->user, call->rows, e.buffer[0], t, e.buffer[1], e.buffer[2]);
        come_back(&e, "the Jacobian of decode", result, 2, t * call->rows, call->out_size[0]);
    }
    for (size_t i = 0; i < call->node->n_outputs; i++) give(&e, call->tangent_out[i], 2, t * out);
    end(&e);
}
