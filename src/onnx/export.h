/* A model as ONNX files (docs/export.md): what a runtime elsewhere needs to encode, decode and
 * score rows in data units. */
#ifndef IV_ONNX_EXPORT_H
#define IV_ONNX_EXPORT_H

#include "model/model.h"

/* What a score adds to D and KL, from above (theory/rows.h). */
typedef struct iv_onnx_score {
    double normaliser; /* iv_e6_normaliser */
    double changed;    /* iv_dropped_cost of one changed column */
} iv_onnx_score;

/* Each writes one file, whole or not at all; the same bytes for equal models. The network is that
 * of `model` alone (an ensemble's members one by one).
 *
 *   encoder   x (rows, d) -> mu, logvar (rows, n), and y where the model has coordinates
 *   decoder   z (rows, n) -> x (rows, d); bce: probabilities, in the data's range */
isovae_status iv_onnx_write_encoder(const iv_model *model, const char *path,
                                    isovae_error *err) ISOVAE_MUST_CHECK;
isovae_status iv_onnx_write_decoder(const iv_model *model, const char *path,
                                    isovae_error *err) ISOVAE_MUST_CHECK;
/* x (rows, d) -> log_density (rows), the mean over all members of an ensemble; `score` has one
 * entry for each. ISOVAE_ERR_UNSUPPORTED, with the reason, where the metric or the derivative of
 * the decoder cannot be written. */
isovae_status iv_onnx_write_scorer(const iv_model *model, const iv_onnx_score *score,
                                   const char *path, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
