/* The dense layers through which the latents pass: the heads of the encoder, and those of the
 * decoder that read them first. Only there can a latent be moved, mirrored or dropped without
 * changing what the network computes. */
#ifndef IV_MODEL_LATENT_LAYERS_H
#define IV_MODEL_LATENT_LAYERS_H

#include "graph/graph.h"

enum { IV_DENSE_WEIGHT = 0, IV_DENSE_BIAS = 1 }; /* roles of dense */

/* The dense node that writes `value`, if it alone has its parameters and nothing reads the value;
 * else ISOVAE_ERR_UNSUPPORTED. `through`: also one behind which functions of one number follow, as
 * a clip; there a latent can be dropped, but not mirrored. */
isovae_status iv_latent_head(const iv_graph *graph, size_t value, bool through, const iv_node **out,
                             isovae_error *err) ISOVAE_MUST_CHECK;
/* Likewise refused where a layer that is not dense reads the decoder's input, or another one has
 * the weights of one that does. */
isovae_status iv_latent_readers_check(const iv_graph *graph, isovae_error *err) ISOVAE_MUST_CHECK;
bool iv_node_reads(const iv_node *node, size_t value);
/* The refusal: "the latents cannot be moved: WHAT 'NAME'". */
isovae_status iv_latents_fixed(const char *what, const char *name, isovae_error *err);

#endif
