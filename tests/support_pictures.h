/* For the tests of pictures: a folder of its own, and PNG, JPEG and zip files made here. */
#ifndef SUPPORT_PICTURES_H
#define SUPPORT_PICTURES_H

#include "support_data.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <turbojpeg.h>

/* A folder whose files go with it; "cache" below it likewise. */
typedef struct album {
    char folder[64], cache[80];
} album;

static inline void empty_folder(const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL) return;
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (unlinkat(dirfd(folder), entry->d_name, 0) != 0) {
            unlinkat(dirfd(folder), entry->d_name, AT_REMOVEDIR);
        }
    }
    closedir(folder);
}

static inline size_t files_in(const char *path)
{
    DIR *folder = opendir(path);
    size_t n = 0;
    if (folder == NULL) return 0;
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) n += entry->d_name[0] != '.';
    closedir(folder);
    return n;
}

static inline int album_open(void **state)
{
    album *a = calloc(1, sizeof *a);
    if (a == NULL) return -1;
    strcpy(a->folder, "/tmp/isovae-album-XXXXXX");
    if (mkdtemp(a->folder) == NULL) return -1;
    snprintf(a->cache, sizeof a->cache, "%s.cache", a->folder);
    *state = a;
    return 0;
}

static inline int album_close(void **state)
{
    album *a = *state;
    empty_folder(a->cache);
    rmdir(a->cache);
    empty_folder(a->folder);
    int code = rmdir(a->folder);
    free(a);
    return code;
}

static inline void album_put(const album *a, const char *name, const void *data, size_t length)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", a->folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static inline void put_u32(iv_text *out, uint32_t v)
{
    const char bytes[4] = {(char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v};
    iv_text_append(out, bytes, 4);
}

static inline void put_chunk(iv_text *out, const char *type, const void *data, size_t length)
{
    put_u32(out, (uint32_t)length);
    size_t start = out->length;
    iv_text_append(out, type, 4);
    if (length > 0) iv_text_append(out, data, length);
    put_u32(out, (uint32_t)crc32(0, (const Bytef *)out->data + start, (uInt)(length + 4)));
}

typedef struct png_kind {
    int color; /* 0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGBA */
    int depth;
    const unsigned char *palette, *transparency;
    size_t palette_length, transparency_length;
} png_kind;

/* rows: height rows of `stride` bytes as PNG packs them. */
static inline iv_text make_png(png_kind kind, uint32_t width, uint32_t height,
                               const unsigned char *rows, size_t stride)
{
    iv_text out = {0}, raw = {0};
    unsigned char header[13] = {(unsigned char)(width >> 24),  (unsigned char)(width >> 16),
                                (unsigned char)(width >> 8),   (unsigned char)width,
                                (unsigned char)(height >> 24), (unsigned char)(height >> 16),
                                (unsigned char)(height >> 8),  (unsigned char)height,
                                (unsigned char)kind.depth,     (unsigned char)kind.color};
    iv_text_append(&out, "\x89PNG\r\n\x1a\n", 8);
    put_chunk(&out, "IHDR", header, sizeof header);
    if (kind.palette != NULL) put_chunk(&out, "PLTE", kind.palette, kind.palette_length);
    if (kind.transparency != NULL) {
        put_chunk(&out, "tRNS", kind.transparency, kind.transparency_length);
    }
    for (uint32_t y = 0; y < height && rows != NULL; y++) {
        iv_text_append(&raw, "\0", 1);
        iv_text_append(&raw, (const char *)rows + y * stride, stride);
    }
    uLongf packed = compressBound((uLong)raw.length);
    unsigned char *idat = malloc(packed);
    assert_non_null(idat);
    assert_int_equal(compress(idat, &packed, (const Bytef *)(raw.data != NULL ? raw.data : ""),
                              (uLong)raw.length),
                     Z_OK);
    put_chunk(&out, "IDAT", idat, packed);
    put_chunk(&out, "IEND", "", 0);
    free(idat);
    iv_text_free(&raw);
    assert_false(out.failed);
    return out;
}

/* 8-bit RGB (channels 3) or grey (1). */
static inline iv_text simple_png(size_t channels, uint32_t width, uint32_t height,
                                 const unsigned char *pixels)
{
    return make_png((png_kind){.color = channels == 3 ? 2 : 0, .depth = 8}, width, height, pixels,
                    width * channels);
}

/* format: TJPF_RGB, TJPF_GRAY or TJPF_CMYK. */
static inline iv_text make_jpeg(int format, int width, int height, const unsigned char *pixels)
{
    iv_text out = {0};
    unsigned char *data = NULL;
    unsigned long length = 0;
    tjhandle jpeg = tjInitCompress();
    assert_non_null(jpeg);
    int sampling = format == TJPF_GRAY ? TJSAMP_GRAY : TJSAMP_444;
    assert_int_equal(
        tjCompress2(jpeg, pixels, width, 0, height, format, &data, &length, sampling, 95, 0), 0);
    iv_text_append(&out, (const char *)data, length);
    tjFree(data);
    tjDestroy(jpeg);
    return out;
}

static inline void album_put_text(const album *a, const char *name, iv_text text)
{
    album_put(a, name, text.data, text.length);
    iv_text_free(&text);
}

/* ---- zip archives, member by member ---- */

typedef struct archive {
    iv_text body, directory;
    size_t n;
} archive;

static inline void put_le(iv_text *out, uint32_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) iv_text_append(out, &(const char){(char)(v >> 8 * i)}, 1);
}

/* One entry of the directory for the member at `offset`. */
static inline void archive_entry(archive *z, const char *name, int method, uint32_t crc,
                                 uint32_t packed, uint32_t size, uint32_t offset)
{
    iv_text *d = &z->directory;
    put_le(d, 0x02014b50, 4);
    put_le(d, 20, 2), put_le(d, 20, 2), put_le(d, 0, 2), put_le(d, (uint32_t)method, 2);
    put_le(d, 0, 2), put_le(d, 0x5821, 2), put_le(d, crc, 4);
    put_le(d, packed, 4), put_le(d, size, 4), put_le(d, (uint32_t)strlen(name), 2);
    put_le(d, 0, 4), put_le(d, 0, 4), put_le(d, 0, 4), put_le(d, offset, 4);
    iv_text_append(d, name, strlen(name));
    z->n++;
}

/* Stored; `promised` is the size that its headers tell. Returns its offset. */
static inline uint32_t archive_add(archive *z, const char *name, const void *data, size_t length,
                                   uint32_t promised)
{
    uint32_t offset = (uint32_t)z->body.length, crc = (uint32_t)crc32(0, data, (uInt)length);
    iv_text *b = &z->body;
    put_le(b, 0x04034b50, 4);
    put_le(b, 20, 2), put_le(b, 0, 2), put_le(b, 0, 2), put_le(b, 0, 2), put_le(b, 0x5821, 2);
    put_le(b, crc, 4), put_le(b, (uint32_t)length, 4), put_le(b, promised, 4);
    put_le(b, (uint32_t)strlen(name), 2), put_le(b, 0, 2);
    iv_text_append(b, name, strlen(name));
    iv_text_append(b, data, length);
    archive_entry(z, name, 0, crc, (uint32_t)length, promised, offset);
    return offset;
}

static inline void archive_add_text(archive *z, const char *name, iv_text text)
{
    archive_add(z, name, text.data, text.length, (uint32_t)text.length);
    iv_text_free(&text);
}

/* Ends the archive and writes it. */
static inline void archive_put(archive *z, const album *a, const char *name)
{
    size_t start = z->body.length, length = z->directory.length;
    if (length > 0) iv_text_append(&z->body, z->directory.data, length);
    put_le(&z->body, 0x06054b50, 4);
    put_le(&z->body, 0, 4);
    put_le(&z->body, (uint32_t)z->n, 2), put_le(&z->body, (uint32_t)z->n, 2);
    put_le(&z->body, (uint32_t)length, 4), put_le(&z->body, (uint32_t)start, 4);
    put_le(&z->body, 0, 2);
    assert_false(z->body.failed);
    album_put(a, name, z->body.data, z->body.length);
    iv_text_free(&z->body);
    iv_text_free(&z->directory);
    *z = (archive){0};
}

#endif
