/* A VAE from networks that were trained elsewhere: encoder and decoder become those of an iv_model
 * whose rows are those of the data, so that all that is known of own models can be asked of it. */
#ifndef IV_ONNX_VAE_H
#define IV_ONNX_VAE_H

#include "data/dataset.h"
#include "model/model.h"

/* What the encoder says of the posterior's width. */
typedef enum iv_onnx_head {
    IV_ONNX_HEAD_UNKNOWN = 0,
    IV_ONNX_HEAD_LOGVAR, /* log sigma^2 */
    IV_ONNX_HEAD_LOGSIGMA,
    IV_ONNX_HEAD_VARIANCE,
    IV_ONNX_HEAD_SIGMA
} iv_onnx_head;
const char *iv_onnx_head_name(iv_onnx_head head);
bool iv_onnx_head_parse(const char *text, iv_onnx_head *out);

typedef enum iv_onnx_layout {
    IV_ONNX_LAYOUT_FOUND = 0, /* by the shapes, else by who exported it */
    IV_ONNX_NCHW,
    IV_ONNX_NHWC
} iv_onnx_layout;

enum { IV_ONNX_CHANNELS = 4 };
typedef struct iv_onnx_vae_options {
    /* Paths. Encoder alone: one file with sampling inside. Decoder alone: an encoder that knows
     * nothing takes the place (no_encoder below). */
    const char *encoder, *decoder;
    const char *mu, *width; /* names of tensors of the encoder; NULL: found */
    const char *z, *out;    /* of the decoder: its input and output; NULL: found */
    iv_onnx_head head;
    bool means_only;  /* the encoder gives means alone, or its width is not to be used */
    bool width_first; /* one output holds both, or two without telling names: width, then mu */
    iv_onnx_layout layout;
    /* The network's values of a picture's 0 to 255 (of other data: of their 0 to 1). */
    double low, high; /* both NaN: 0 to 1 for pictures, other data as they are */
    bool as_is;       /* rows are the network's values already, also of pictures */
    size_t n_channels;
    double mean[IV_ONNX_CHANNELS], sd[IV_ONNX_CHANNELS]; /* (x - mean)/sd per channel, after that */
    double out_low, out_high; /* the decoder's range where it is another than low to high; NaN */
    iv_metric_spec metric;
    double beta;
} iv_onnx_vae_options;
void iv_onnx_vae_options_init(iv_onnx_vae_options *options);

/* What was found, for people: each a line. */
typedef struct iv_onnx_vae {
    iv_model *model;      /* calibrated by nobody yet */
    bool no_width;        /* the encoder gave means alone: its logvar is 0 throughout */
    bool no_encoder;      /* there was none: mu and logvar are 0 throughout */
    bool sigmoid_cut;     /* bce: the decoder's last sigmoid is gone, its input is the logit */
    bool logit_of_output; /* bce: there was none, logits come from clipped outputs */
    size_t n_notes;
    char notes[16][200];
} iv_onnx_vae;

/* `data`: rows like those of the training; their number of features must be the encoder's. May be
 * NULL without encoder: then values are as the decoder gives them, pictures as its output's shape
 * says, and features have no names of their own. ISOVAE_ERR_FORMAT, _UNSUPPORTED name file and
 * node, ISOVAE_ERR_ARGUMENT the option that would help. Release out->model with iv_model_free. */
isovae_status iv_onnx_vae_load(const iv_dataset *data, const iv_onnx_vae_options *options,
                               iv_onnx_vae *out, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
