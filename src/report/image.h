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
 * y over +-3 standard deviations about its mean (a latent that is off: of the prior). `even` (2 per
 * rank, may be NULL) receives the smallest and largest measured length of a step in the metric over
 * the length that y gives it: 1, 1 where the coordinates are truly isometric. */
isovae_status iv_traverse_picture(const iv_report_context *context, const iv_facts *facts,
                                  const size_t *ranks, size_t n_ranks, size_t steps,
                                  iv_picture *out, double *even,
                                  isovae_error *err) ISOVAE_MUST_CHECK;
/* Inputs above, reconstructions through mu beneath, of `count` rows in order of density, least
 * probable first. `rows` (count) receives their places in the analysis. */
isovae_status iv_reconstruction_picture(const iv_report_context *context, const iv_facts *facts,
                                        size_t count, iv_picture *out, size_t *rows,
                                        isovae_error *err) ISOVAE_MUST_CHECK;
/* Mean loadings of each rank as colours, one map under the other: blue where brightness rises,
 * orange where it falls, white where nothing moves. */
isovae_status iv_loading_picture(const iv_report_context *context, const iv_facts *facts,
                                 const size_t *ranks, size_t n_ranks, iv_picture *out,
                                 isovae_error *err) ISOVAE_MUST_CHECK;

#endif
