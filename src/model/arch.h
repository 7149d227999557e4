/* Networks for pictures, and networks that users describe. Both are drafts: lists of nodes as JSON
 * (docs/architectures.md), from which the graphs are made. */
#ifndef IV_MODEL_ARCH_H
#define IV_MODEL_ARCH_H

#include "model/model.h"

/* Is it a network of ours for pictures? */
bool iv_arch_is_preset(const char *arch);
/* The learning rate that suits a preset; 0 where it is none. */
double iv_arch_preset_rate(const char *arch);

/* The draft of a preset ("conv64", "conv-small"): a new object, NULL where memory is short. */
json_t *iv_arch_preset(const char *arch, const iv_arch_image *image, size_t n);

/* Encoder and decoder from a draft for d features and n latents. ISOVAE_ERR_FORMAT names the node
 * that is wrong; ISOVAE_ERR_ARGUMENT where the draft is for pictures and the data are none. */
isovae_status iv_arch_graphs(const json_t *draft, const iv_arch_image *image, size_t d, size_t n,
                             iv_graph **encoder, iv_graph **decoder,
                             isovae_error *err) ISOVAE_MUST_CHECK;

#endif
