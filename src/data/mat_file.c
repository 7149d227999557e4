#include "data/mat_file.h"

#include "base/locale.h"
#include "base/memory.h"
#include "data/reader.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

/* Types of elements, by their numbers in the file. */
enum { TYPE_INT8 = 1, TYPE_INT32 = 5, TYPE_UINT32 = 6, TYPE_MATRIX = 14, TYPE_COMPRESSED = 15 };
/* Deflate gets no further than 1032 to 1; a head is a tag, flags, dimensions and a name. */
enum { MAX_RATIO = 1032, SLACK = 1 << 12, HEAD = 512, SHOWN = 1 << 18 };

static bool is_big(const unsigned char *block)
{
    return block[126] == 'M'; /* "MI" is "IM" read the wrong way round */
}

static uint32_t word(const unsigned char *p, bool big)
{
    return big ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]
               : (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

/* The header's mark of version and byte order. */
static bool has_mark(const unsigned char *block, size_t length)
{
    return length >= IV_MAT_HEADER && memchr(block, 0, 4) == NULL &&
           (memcmp(block + 124, "\0\1IM", 4) == 0 || memcmp(block + 124, "\1\0MI", 4) == 0);
}

bool iv_is_mat(const unsigned char *block, size_t length)
{
    static const char usual[] = "MATLAB 5.0 MAT-file";
    enum { LENGTH = sizeof usual - 1 };
    return has_mark(block, length) || (length >= LENGTH && memcmp(block, usual, LENGTH) == 0);
}

isovae_status iv_mat_check(const unsigned char *block, size_t length, isovae_error *err)
{
    if (has_mark(block, length)) return ISOVAE_OK;
    return iv_fail(err, ISOVAE_ERR_DATA,
                   "the MATLAB file is cut off or damaged: its header lacks the mark of version 5");
}

bool iv_mat_is_numbers(const iv_mat_variable *v)
{
    return v->readable && !v->is_complex && v->class >= IV_MAT_SPARSE && v->class <= IV_MAT_UINT64;
}

const char *iv_mat_class_name(const iv_mat_variable *v)
{
    static const char *const names[] = {"?",      "cell",   "struct", "object", "char",    "sparse",
                                        "double", "single", "int8",   "uint8",  "int16",   "uint16",
                                        "int32",  "uint32", "int64",  "uint64", "function"};
    if (v->is_complex) return "complex";
    if (v->logical && v->class != IV_MAT_SPARSE) return "logical";
    return v->class < sizeof names / sizeof names[0] ? names[v->class] : names[0];
}

/* ---- parts of a variable ---- */

typedef struct part {
    unsigned type;
    const unsigned char *data;
    size_t length;
} part;

/* The part at *at of `length` bytes; false where it does not lie within them. Small parts are
 * packed into their tag. The last one need not be padded. */
static bool next_part(const unsigned char *data, size_t length, bool big, size_t *at, part *out)
{
    if (*at > length || length - *at < 8) return false;
    const unsigned char *p = data + *at;
    uint32_t first = word(p, big);
    if (first >> 16 != 0) {
        *out = (part){first & 0xffff, p + 4, first >> 16};
        *at += 8;
        return out->length <= 4;
    }
    *out = (part){first, p + 8, word(p + 4, big)};
    size_t left = length - *at - 8, padded = out->length;
    if (out->length > left) return false;
    while (padded % 8 != 0) padded++;
    *at += 8 + (padded < left ? padded : left);
    return true;
}

/* Flags, dimensions and name; *at is where the values begin. */
static bool read_head(const unsigned char *data, size_t length, bool big, size_t *at,
                      iv_mat_variable *out)
{
    part flags, dims, name;
    *at = 0;
    if (!next_part(data, length, big, at, &flags) || flags.type != TYPE_UINT32 ||
        flags.length != 8) {
        return false;
    }
    uint32_t bits = word(flags.data, big);
    out->class = bits & 0xff;
    out->is_complex = (bits & 0x800) != 0;
    out->logical = (bits & 0x200) != 0;
    if (out->class >= IV_MAT_OPAQUE) return false; /* built otherwise */
    if (!next_part(data, length, big, at, &dims) || dims.type != TYPE_INT32 ||
        dims.length % 4 != 0 || dims.length < 8 || dims.length / 4 > IV_MAT_MAX_RANK) {
        return false;
    }
    out->rank = dims.length / 4;
    for (size_t i = 0; i < out->rank; i++) {
        uint32_t n = word(dims.data + 4 * i, big);
        if (n > INT_MAX) return false;
        out->dim[i] = n;
    }
    if (!next_part(data, length, big, at, &name) || name.type != TYPE_INT8) return false;
    size_t n = name.length < IV_MAT_MAX_NAME - 1 ? name.length : IV_MAT_MAX_NAME - 1;
    memcpy(out->name, name.data, n);
    out->name[n] = '\0';
    return true;
}

/* Up to `size` bytes of a deflated element; false where it is damaged. */
static bool unpack(const unsigned char *packed, size_t length, unsigned char *out, size_t size,
                   size_t *got)
{
    z_stream z = {0};
    size_t given = 0;
    int code = Z_OK;
    *got = 0;
    if (inflateInit(&z) != Z_OK) return false;
    while (code == Z_OK && *got < size) {
        if (z.avail_in == 0) {
            if (given == length) break;
            size_t n = length - given < SHOWN ? length - given : SHOWN;
            z.next_in = (unsigned char *)(uintptr_t)(packed + given); /* only read */
            z.avail_in = (unsigned)n;
            given += n;
        }
        size_t room = size - *got < SHOWN ? size - *got : SHOWN;
        z.next_out = out + *got;
        z.avail_out = (unsigned)room;
        code = inflate(&z, Z_NO_FLUSH);
        *got += room - z.avail_out;
    }
    inflateEnd(&z);
    return code == Z_OK || code == Z_STREAM_END;
}

isovae_status iv_mat_next(const unsigned char *block, size_t length, size_t *at,
                          iv_mat_variable *out, bool *more, isovae_error *err)
{
    unsigned char head[HEAD];
    bool big = is_big(block);
    *out = (iv_mat_variable){0};
    *more = *at < length;
    if (!*more) return ISOVAE_OK;
    const unsigned char *p = block + *at;
    size_t left = length - *at, size = left >= 8 ? word(p + 4, big) : 0, ignored;
    if (left < 8 || size > left - 8) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "the MATLAB file is cut off or damaged: at byte %zu it promises more than "
                       "the %zu bytes that are left",
                       *at, left);
    }
    out->element = p;
    out->length = size + 8;
    out->packed = word(p, big) == TYPE_COMPRESSED;
    *at += 8 + size;
    if (!out->packed && word(p, big) != TYPE_MATRIX) return ISOVAE_OK; /* not for us */
    const unsigned char *body = p + 8;
    if (out->packed) {
        size_t got;
        if (!unpack(p + 8, size, head, sizeof head, &got) || got < 8 ||
            word(head, big) != TYPE_MATRIX) {
            return ISOVAE_OK;
        }
        body = head + 8;
        size = got - 8;
    }
    out->readable = read_head(body, size, big, &ignored, out);
    return ISOVAE_OK;
}

/* ---- one variable as a file ---- */

static size_t bytes_of_type(unsigned type)
{
    static const size_t bytes[] = {0, 1, 1, 2, 2, 4, 4, 4, 0, 8, 0, 0, 8, 8};
    return type < sizeof bytes / sizeof bytes[0] ? bytes[type] : 0;
}

static isovae_status fail_parts(const iv_mat_variable *v, const char *why, isovae_error *err)
{
    return iv_fail(err, ISOVAE_ERR_DATA, "variable '%s' is damaged: %s",
                   iv_show(v->name, strlen(v->name)).text, why);
}

/* Indices: signed by the format's description, unsigned by some writers. All of them whole: behind
 * half a one libmatio looks for the next part at another place than the padding says. */
static bool holds_words(const part *p)
{
    return (p->type == TYPE_INT32 || p->type == TYPE_UINT32) && p->length % 4 == 0;
}

/* The parts behind the head, as the shape wants them. */
static isovae_status check_parts(const unsigned char *body, size_t length, bool big,
                                 const iv_mat_variable *v, isovae_error *err)
{
    iv_mat_variable again = {0};
    part values, rows, starts;
    size_t at, count = 1, size;
    if (!read_head(body, length, big, &at, &again) || again.class != v->class ||
        again.rank != v->rank || memcmp(again.dim, v->dim, sizeof v->dim) != 0) {
        return fail_parts(v, "its head cannot be read", err);
    }
    if (v->class == IV_MAT_SPARSE) {
        if (!next_part(body, length, big, &at, &rows) || !holds_words(&rows) ||
            !next_part(body, length, big, &at, &starts) || !holds_words(&starts) ||
            starts.length / 4 != v->dim[1] + 1) {
            return fail_parts(v, "its indices do not fit its shape", err);
        }
        count = word(starts.data + 4 * v->dim[1], big);
        if (count > rows.length / 4) return fail_parts(v, "it has too few indices", err);
    } else {
        for (size_t i = 0; i < v->rank; i++) {
            if (!iv_size_mul(count, v->dim[i], &count)) {
                return fail_parts(v, "its shape is beyond all bounds", err);
            }
        }
    }
    if (!next_part(body, length, big, &at, &values)) {
        return fail_parts(v, "its values are cut off", err);
    }
    size = bytes_of_type(values.type);
    bool fits = size > 0 && values.length % size == 0;
    if (v->class == IV_MAT_SPARSE) {
        if (!fits || values.length / size < count) return fail_parts(v, "it lacks values", err);
    } else if (!fits || values.length / size != count) {
        return fail_parts(v, "it has not as many values as its shape asks for", err);
    }
    return ISOVAE_OK;
}

/* Bytes of the unpacked element, with its tag. */
static isovae_status size_of(const iv_mat_variable *v, bool big, size_t limit, size_t *out,
                             isovae_error *err)
{
    *out = v->length;
    if (v->packed) {
        unsigned char tag[8];
        size_t got, most;
        if (!unpack(v->element + 8, v->length - 8, tag, sizeof tag, &got) || got < sizeof tag) {
            return fail_parts(v, "it cannot be decompressed", err);
        }
        *out = (size_t)word(tag + 4, big) + 8;
        if (!iv_size_mul(v->length, MAX_RATIO, &most) || *out > most + SLACK) {
            return fail_parts(v, "it promises more than its packed bytes can hold", err);
        }
    }
    if (*out > limit) {
        return iv_fail(err, ISOVAE_ERR_MEMORY,
                       "variable '%s' is larger than the limit of %zu bytes",
                       iv_show(v->name, strlen(v->name)).text, limit);
    }
    return ISOVAE_OK;
}

static isovae_status fill(unsigned char *to, const unsigned char *block, const iv_mat_variable *v,
                          size_t size, isovae_error *err)
{
    size_t got = size;
    memcpy(to, block, IV_MAT_HEADER);
    memset(to, ' ', 124); /* no subsystem data there */
    if (!v->packed) {
        memcpy(to + IV_MAT_HEADER, v->element, size);
    } else if (!unpack(v->element + 8, v->length - 8, to + IV_MAT_HEADER, size, &got) ||
               got != size) {
        return fail_parts(v, "it cannot be decompressed to the size that it promises", err);
    }
    return check_parts(to + IV_MAT_HEADER + 8, size - 8, is_big(block), v, err);
}

isovae_status iv_mat_extract(const unsigned char *block, const iv_mat_variable *v, size_t limit,
                             int *descriptor, isovae_error *err)
{
    size_t size;
    *descriptor = -1;
    IV_TRY(size_of(v, is_big(block), limit, &size, err));
    int file = memfd_create("isovae-mat", MFD_CLOEXEC);
    void *to = MAP_FAILED;
    if (file >= 0 && ftruncate(file, (off_t)(IV_MAT_HEADER + size)) == 0) {
        to = mmap(NULL, IV_MAT_HEADER + size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    }
    isovae_status status;
    char text[128];
    if (to == MAP_FAILED) {
        status = iv_fail(err, ISOVAE_ERR_MEMORY, "no memory for variable '%s': %s",
                         iv_show(v->name, strlen(v->name)).text,
                         iv_error_text(errno, text, sizeof text));
    } else {
        status = fill(to, block, v, size, err);
        munmap(to, IV_MAT_HEADER + size);
    }
    if (status == ISOVAE_OK) {
        *descriptor = file;
    } else if (file >= 0) {
        close(file);
    }
    return status;
}
