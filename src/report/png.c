/* PNG and base64, into memory. */
#include "report/image.h"

#include <png.h>
#include <string.h>

void iv_put_base64(iv_text *out, const unsigned char *bytes, size_t length)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char block[4 * 256];
    size_t used = 0;
    for (size_t i = 0; i < length; i += 3) {
        unsigned v = (unsigned)bytes[i] << 16;
        if (i + 1 < length) v |= (unsigned)bytes[i + 1] << 8;
        if (i + 2 < length) v |= bytes[i + 2];
        block[used++] = digits[v >> 18];
        block[used++] = digits[v >> 12 & 63];
        block[used++] = i + 1 < length ? digits[v >> 6 & 63] : '=';
        block[used++] = i + 2 < length ? digits[v & 63] : '=';
        if (used == sizeof block || i + 3 >= length) {
            iv_text_append(out, block, used);
            used = 0;
        }
    }
}

/* The simplified interface of libpng keeps its long jumps to itself: it first says how much memory
 * the file may take, then fills it. */
isovae_status iv_png_encode(const unsigned char *pixels, size_t height, size_t width,
                            size_t channels, unsigned char **bytes, size_t *length,
                            isovae_error *err)
{
    png_image image;
    unsigned char *buffer = NULL;
    *bytes = NULL;
    *length = 0;
    if (height == 0 || width == 0 || height > 0x7fffffff || width > 0x7fffffff / 4 ||
        (channels != 1 && channels != 3)) {
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                       "an image of %zu x %zu pixels and %zu channels cannot be a PNG (1 or 3 "
                       "channels)",
                       height, width, channels);
    }
    memset(&image, 0, sizeof image);
    image.version = PNG_IMAGE_VERSION;
    image.height = (png_uint_32)height;
    image.width = (png_uint_32)width;
    image.format = channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
    IV_TRY(IV_NEW(buffer, size, "a PNG image", err));
    if (png_image_write_to_memory(&image, buffer, &size, 0, pixels, 0, NULL) == 0) {
        isovae_status status =
            iv_fail(err, ISOVAE_ERR_INTERNAL, "writing a PNG image: %s", image.message);
        png_image_free(&image);
        iv_free(buffer);
        return status;
    }
    *bytes = buffer;
    *length = size;
    return ISOVAE_OK;
}

isovae_status iv_put_png(iv_text *out, const iv_picture *picture, isovae_error *err)
{
    unsigned char *bytes;
    size_t length;
    IV_TRY(iv_png_encode(picture->pixels, picture->height, picture->width, picture->channels,
                         &bytes, &length, err));
    iv_text_puts(out, "data:image/png;base64,");
    iv_put_base64(out, bytes, length);
    iv_free(bytes);
    return ISOVAE_OK;
}
