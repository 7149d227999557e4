/* A model as a folder of ONNX files (docs/export.md). Not in builds without ONNX. */
#ifndef IV_API_EXPORT_H
#define IV_API_EXPORT_H

#include "base/memory.h"
#include "model/model.h"

/* encoder.onnx, decoder.onnx (of an ensemble: in member0/, member1/, ...) and scorer.onnx into the
 * folder, made where absent. A scorer that cannot be written is left out, and one of an earlier
 * export taken away: `reason` then says why, else it stays empty. */
isovae_status iv_export_folder(const iv_model *model, const char *folder, iv_text *reason,
                               isovae_error *err) ISOVAE_MUST_CHECK;

#endif
