/* Pictures of image models: base64, sheets of decoded images, loading maps. */
#ifndef IV_REPORT_IMAGE_H
#define IV_REPORT_IMAGE_H

#include "report/facts.h"

void iv_put_base64(iv_text *out, const unsigned char *bytes, size_t length);

/* 8-bit pixels, h x w x channels (1 or 3); release with iv_free. */
typedef struct iv_picture {
    unsigned char *pixels;
    size_t height, width, channels;
} iv_picture;
/* Appends "data:image/png;base64,..." */
isovae_status iv_put_png(iv_text *out, const iv_picture *picture,
                         isovae_error *err) ISOVAE_MUST_CHECK;

/* One row of `steps` decoded images per rank of `ranks`, the other latents at 0, stepped equally in
 * y over +-3 standard deviations about its mean (a latent that is off: of the prior). `lengths`
 * (steps per rank, may be NULL) receives the length of a step in y, then the measured length of
 * each of the steps - 1 steps in the metric: the same where the coordinates are truly isometric. */
isovae_status iv_traverse_picture(const iv_report_context *context, const iv_facts *facts,
                                  const size_t *ranks, size_t n_ranks, size_t steps,
                                  iv_picture *out, double *lengths,
                                  isovae_error *err) ISOVAE_MUST_CHECK;
/* Inputs above, reconstructions through mu beneath, of `count` rows in order of density, least
 * probable first. `rows` (count) receives their places in the analysis. */
isovae_status iv_reconstruction_picture(const iv_report_context *context, const iv_facts *facts,
                                        size_t count, iv_picture *out, size_t *rows,
                                        isovae_error *err) ISOVAE_MUST_CHECK;
/* rows x columns images decoded from the prior N(0, I), keyed by the context's seed: the first ones
 * of `isovae sample` with that seed. */
isovae_status iv_sample_picture(const iv_report_context *context, const iv_facts *facts,
                                size_t rows, size_t columns, iv_picture *out,
                                isovae_error *err) ISOVAE_MUST_CHECK;
/* Loadings of each rank as colours, one map under the other. The mean over rows: blue where
 * brightness rises, orange where it falls; `rms`, how far a pixel is moved either way: violet.
 * White where nothing moves. */
isovae_status iv_loading_picture(const iv_report_context *context, const iv_facts *facts,
                                 const size_t *ranks, size_t n_ranks, bool rms, iv_picture *out,
                                 isovae_error *err) ISOVAE_MUST_CHECK;

#endif
