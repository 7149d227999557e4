#include "picture.h"

#include "base/file.h"

void cli_tone(const iv_model *model, const double *x, size_t n, double *lo, double *hi)
{
    *lo = 0;
    *hi = model->scaling.kind == IV_SCALE_UNIT ? model->scaling.scale[0] : 1;
    if (model->scaling.kind == IV_SCALE_UNIT) return;
    for (size_t i = 0; i < n; i++) {
        if (x[i] < *lo) *lo = x[i];
        if (x[i] > *hi) *hi = x[i];
    }
}

isovae_status cli_picture_write(const cli *c, const iv_picture *picture, isovae_error *err)
{
    unsigned char *bytes;
    size_t length;
    IV_TRY(iv_png_encode(picture->pixels, picture->height, picture->width, picture->channels,
                         &bytes, &length, err));
    isovae_status status = iv_file_write(c->opt[OPT_OUTPUT].text, bytes, length, err);
    iv_free(bytes);
    return status;
}
