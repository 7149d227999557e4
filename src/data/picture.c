#include "data/picture.h"

#include "base/memory.h"
#include "data/reader.h"

#include <png.h>
#include <stdint.h>
#include <string.h>
#include <turbojpeg.h>

struct iv_picture_reader {
    tjhandle jpeg;
    unsigned char *pixels, *cut; /* as decoded; cropped and in the wanted channels */
    size_t pixels_room, cut_room;
    float *line;
    size_t line_room;
    iv_resample_axis rows, columns;
};

/* ---- options ---- */

/* Decimal digits, at most 7 of them; *at moves behind them. */
static bool take_number(const char **at, size_t *out)
{
    size_t value = 0, digits = 0;
    for (; **at >= '0' && **at <= '9' && digits < 8; digits++, ++*at) {
        value = value * 10 + (size_t)(**at - '0');
    }
    *out = value;
    return digits > 0 && digits < 8;
}

isovae_status iv_size_parse(const char *text, size_t *height, size_t *width, isovae_error *err)
{
    const char *at = text;
    bool fine = take_number(&at, height);
    *width = *height;
    if (fine && *at == 'x') {
        at++;
        fine = take_number(&at, width);
    }
    if (!fine || *at != '\0') {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "--size: '%s' is neither a number such as 64 nor HEIGHTxWIDTH such as 64x48",
                       iv_show(text, strlen(text)).text);
    }
    if (*height < 1 || *width < 1 || *height > IV_PICTURE_SIDE || *width > IV_PICTURE_SIDE) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--size: sides are from 1 to %d pixels",
                       IV_PICTURE_SIDE);
    }
    return ISOVAE_OK;
}

isovae_status iv_crop_parse(const char *text, iv_crop *out, isovae_error *err)
{
    size_t *const parts[4] = {&out->height, &out->width, &out->top, &out->left};
    const char *at = text;
    *out = (iv_crop){.kind = IV_CROP_NONE};
    if (strcmp(text, "none") == 0) return ISOVAE_OK;
    out->kind = strcmp(text, "center") == 0 ? IV_CROP_CENTER : IV_CROP_RECTANGLE;
    if (out->kind == IV_CROP_CENTER) return ISOVAE_OK;
    bool fine = true;
    for (size_t i = 0; i < 4 && fine; i++) {
        fine = take_number(&at, parts[i]) && *at == (i < 3 ? ',' : '\0');
        at += fine && i < 3;
    }
    if (fine && out->height > 0 && out->width > 0) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                   "--crop: '%s' is none of none, center and HEIGHT,WIDTH,TOP,LEFT in pixels",
                   iv_show(text, strlen(text)).text);
}

isovae_status iv_crop_of(const iv_crop *crop, size_t height, size_t width, iv_crop *out,
                         isovae_error *err)
{
    *out = (iv_crop){.kind = IV_CROP_RECTANGLE, .height = height, .width = width};
    if (crop->kind == IV_CROP_CENTER) {
        size_t side = height < width ? height : width;
        out->top = (height - side) / 2;
        out->left = (width - side) / 2;
        out->height = out->width = side;
    } else if (crop->kind == IV_CROP_RECTANGLE) {
        *out = *crop;
        if (crop->top + crop->height > height || crop->left + crop->width > width) {
            return iv_fail(err, ISOVAE_ERR_DATA, "the crop reaches over the edge of %zux%zu",
                           height, width);
        }
    }
    return ISOVAE_OK;
}

/* ---- the workspace ---- */

isovae_status iv_picture_reader_new(iv_picture_reader **out, isovae_error *err)
{
    iv_picture_reader *reader;
    *out = NULL;
    IV_TRY(IV_NEW(reader, 1, "a picture reader", err));
    reader->jpeg = tjInitDecompress();
    if (reader->jpeg == NULL) {
        iv_free(reader);
        return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for a JPEG reader");
    }
    *out = reader;
    return ISOVAE_OK;
}

void iv_picture_reader_free(iv_picture_reader *reader)
{
    if (reader == NULL) return;
    tjDestroy(reader->jpeg);
    iv_free(reader->pixels);
    iv_free(reader->cut);
    iv_free(reader->line);
    iv_resample_axis_free(&reader->rows);
    iv_resample_axis_free(&reader->columns);
    iv_free(reader);
}

static isovae_status reserve(unsigned char **room, size_t *have, size_t want, isovae_error *err)
{
    if (*have >= want) return ISOVAE_OK;
    iv_free(*room);
    *room = NULL;
    *have = 0;
    IV_TRY(IV_NEW(*room, want, "a picture", err));
    *have = want;
    return ISOVAE_OK;
}

/* ---- JPEG ---- */

static isovae_status peek_jpeg(tjhandle jpeg, const unsigned char *bytes, size_t length,
                               iv_picture_info *out, isovae_error *err)
{
    int width = 0, height = 0, subsampling = -1, space = -1;
    if (length > UINT32_MAX) return iv_fail(err, ISOVAE_ERR_DATA, "too large a JPEG");
    /* It succeeds on tables without a picture, leaving the size alone, and fails on rare samplings
     * that it decodes all the same: the size tells. */
    (void)tjDecompressHeader3(jpeg, bytes, (unsigned long)length, &width, &height, &subsampling,
                              &space);
    if (width < 1 || height < 1 || space < 0) {
        return iv_fail(err, ISOVAE_ERR_DATA, "no readable JPEG header");
    }
    if (space == TJCS_CMYK || space == TJCS_YCCK) {
        return iv_fail(err, ISOVAE_ERR_DATA, "a CMYK JPEG");
    }
    *out = (iv_picture_info){.jpeg = true,
                             .height = (size_t)height,
                             .width = (size_t)width,
                             .color = space != TJCS_GRAY};
    return ISOVAE_OK;
}

static isovae_status decode_jpeg(iv_picture_reader *reader, const unsigned char *bytes,
                                 size_t length, const iv_picture_info *info, size_t *channels,
                                 isovae_error *err)
{
    *channels = info->color ? 3 : 1;
    IV_TRY(reserve(&reader->pixels, &reader->pixels_room, info->height * info->width * *channels,
                   err));
    if (tjDecompress2(reader->jpeg, bytes, (unsigned long)length, reader->pixels, (int)info->width,
                      0, (int)info->height, info->color ? TJPF_RGB : TJPF_GRAY,
                      TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS) == 0) {
        return ISOVAE_OK;
    }
    /* The one complaint that leaves the picture whole: bytes between its parts, as some cameras
     * write them. Everything else means that pixels are missing or wrong. */
    const char *text = tjGetErrorStr2(reader->jpeg);
    if (tjGetErrorCode(reader->jpeg) == TJERR_WARNING && text != NULL &&
        strstr(text, "extraneous bytes") != NULL) {
        return ISOVAE_OK;
    }
    bool cut = text != NULL && strstr(text, "remature end") != NULL;
    return iv_fail(err, ISOVAE_ERR_DATA, cut ? "a JPEG that is cut off" : "a damaged JPEG");
}

/* ---- PNG, by libpng's simplified interface: it keeps its errors and warnings to itself ---- */

static isovae_status begin_png(const unsigned char *bytes, size_t length, png_image *image,
                               iv_picture_info *out, isovae_error *err)
{
    memset(image, 0, sizeof *image);
    image->version = PNG_IMAGE_VERSION;
    if (png_image_begin_read_from_memory(image, bytes, length) == 0 || image->width == 0 ||
        image->height == 0) {
        png_image_free(image);
        return iv_fail(err, ISOVAE_ERR_DATA, "no readable PNG header");
    }
    *out = (iv_picture_info){.height = image->height,
                             .width = image->width,
                             .color = (image->format & PNG_FORMAT_FLAG_COLOR) != 0};
    return ISOVAE_OK;
}

static isovae_status decode_png(iv_picture_reader *reader, png_image *image, size_t *channels,
                                isovae_error *err)
{
    image->format &= PNG_FORMAT_FLAG_COLOR | PNG_FORMAT_FLAG_ALPHA; /* 8 bits, no palette */
    image->flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
    *channels = PNG_IMAGE_SAMPLE_CHANNELS(image->format);
    isovae_status status = reserve(&reader->pixels, &reader->pixels_room,
                                   (size_t)image->height * (size_t)image->width * *channels, err);
    if (status != ISOVAE_OK) {
        png_image_free(image);
        return status;
    }
    int done = png_image_finish_read(image, NULL, reader->pixels, 0, NULL);
    png_image_free(image);
    return done != 0 ? ISOVAE_OK
                     : iv_fail(err, ISOVAE_ERR_DATA, "a PNG that is cut off or damaged");
}

/* ---- both ---- */

static isovae_status check_size(const iv_picture_info *info, isovae_error *err)
{
    if (info->height <= IV_PICTURE_PIXELS / info->width) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_DATA, "%zux%zu pixels, above the %d read here", info->height,
                   info->width, IV_PICTURE_PIXELS);
}

static bool is_jpeg(const unsigned char *bytes, size_t length)
{
    return length >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0;
}

static isovae_status check_kind(const unsigned char *bytes, size_t length, isovae_error *err)
{
    if (is_jpeg(bytes, length)) return ISOVAE_OK;
    if (length >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_DATA, length == 0 ? "empty" : "neither JPEG nor PNG");
}

isovae_status iv_picture_peek(iv_picture_reader *reader, const unsigned char *bytes, size_t length,
                              iv_picture_info *out, isovae_error *err)
{
    IV_TRY(check_kind(bytes, length, err));
    if (is_jpeg(bytes, length)) {
        IV_TRY(peek_jpeg(reader->jpeg, bytes, length, out, err));
    } else {
        png_image image;
        IV_TRY(begin_png(bytes, length, &image, out, err));
        png_image_free(&image);
    }
    return check_size(out, err);
}

static isovae_status decode(iv_picture_reader *reader, const unsigned char *bytes, size_t length,
                            iv_picture_info *info, size_t *channels, isovae_error *err)
{
    IV_TRY(check_kind(bytes, length, err));
    if (is_jpeg(bytes, length)) {
        IV_TRY(peek_jpeg(reader->jpeg, bytes, length, info, err));
        IV_TRY(check_size(info, err));
        return decode_jpeg(reader, bytes, length, info, channels, err);
    }
    png_image image;
    IV_TRY(begin_png(bytes, length, &image, info, err));
    isovae_status status = check_size(info, err);
    if (status != ISOVAE_OK) {
        png_image_free(&image);
        return status;
    }
    return decode_png(reader, &image, channels, err);
}

static unsigned char over_black(unsigned value, unsigned alpha)
{
    return (unsigned char)((value * alpha + 127) / 255);
}

/* One row of pixels with 1 (grey), 2 (grey, alpha), 3 or 4 channels to 1 or 3. */
static void convert_row(const unsigned char *in, size_t from, size_t count, size_t to,
                        unsigned char *out)
{
    if (from == to) {
        memcpy(out, in, count * to);
        return;
    }
    for (size_t i = 0; i < count; i++, in += from, out += to) {
        bool color = from >= 3;
        unsigned alpha = from == 2 ? in[1] : from == 4 ? in[3] : 255;
        unsigned char rgb[3];
        for (size_t c = 0; c < 3; c++) rgb[c] = over_black(in[color ? c : 0], alpha);
        if (to == 3) {
            memcpy(out, rgb, 3);
        } else if (color) {
            *out = (unsigned char)((299U * rgb[0] + 587U * rgb[1] + 114U * rgb[2] + 500U) / 1000U);
        } else {
            *out = rgb[0];
        }
    }
}

isovae_status iv_picture_read(iv_picture_reader *reader, const unsigned char *bytes, size_t length,
                              const iv_crop *crop, size_t height, size_t width, size_t channels,
                              unsigned char *out, isovae_error *err)
{
    iv_picture_info info;
    iv_crop cut;
    size_t from;
    IV_TRY(decode(reader, bytes, length, &info, &from, err));
    IV_TRY(iv_crop_of(crop, info.height, info.width, &cut, err));
    bool same = cut.height == height && cut.width == width;
    unsigned char *target = out;
    if (!same) {
        IV_TRY(reserve(&reader->cut, &reader->cut_room, cut.height * cut.width * channels, err));
        target = reader->cut;
    }
    for (size_t y = 0; y < cut.height; y++) {
        const unsigned char *row = reader->pixels + ((cut.top + y) * info.width + cut.left) * from;
        convert_row(row, from, cut.width, channels, target + y * cut.width * channels);
    }
    if (same) return ISOVAE_OK;
    IV_TRY(iv_resample_axis_set(&reader->rows, cut.height, height, err));
    IV_TRY(iv_resample_axis_set(&reader->columns, cut.width, width, err));
    if (reader->line_room < cut.width * channels) {
        iv_free(reader->line);
        reader->line = NULL;
        reader->line_room = 0;
        IV_TRY(IV_NEW(reader->line, cut.width * channels, "a line of a picture", err));
        reader->line_room = cut.width * channels;
    }
    iv_resample(&reader->rows, &reader->columns, channels, reader->cut, reader->line, out);
    return ISOVAE_OK;
}
