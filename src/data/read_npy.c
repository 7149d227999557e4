/* NumPy's .npy: magic, version, a Python dictionary in text, then the raw elements. Versions 1 to 3
 * are the same but for the width of the header's length and its character set. */
#include "data/reader.h"

#include "base/memory.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

/* A cursor over the header's text. */
typedef struct cursor {
    const char *at, *end;
} cursor;

static void skip_blanks(cursor *c)
{
    while (c->at < c->end &&
           (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r')) {
        c->at++;
    }
}

static bool take(cursor *c, char wanted)
{
    skip_blanks(c);
    if (c->at == c->end || *c->at != wanted) return false;
    c->at++;
    return true;
}

static bool take_word(cursor *c, const char *word)
{
    size_t n = strlen(word);
    skip_blanks(c);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0) return false;
    c->at += n;
    return true;
}

/* A string without escapes, in either kind of quotes. */
static bool take_string(cursor *c, iv_slice *out)
{
    skip_blanks(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"')) return false;
    char quote = *c->at++;
    const char *close = memchr(c->at, quote, (size_t)(c->end - c->at));
    if (close == NULL) return false;
    *out = (iv_slice){.data = c->at, .length = (size_t)(close - c->at)};
    c->at = close + 1;
    return true;
}

static bool take_size(cursor *c, size_t *out)
{
    size_t value = 0, digits = 0;
    skip_blanks(c);
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
        if (!iv_size_mul(value, 10, &value)) return false;
        if (!iv_size_add(value, (size_t)(*c->at - '0'), &value)) return false;
        c->at++;
        digits++;
    }
    if (c->at < c->end && *c->at == 'L') c->at++; /* Python 2 wrote long integers so */
    *out = value;
    return digits > 0;
}

static isovae_status parse_descr(iv_slice descr, iv_array *array, isovae_error *err)
{
    static const struct {
        char name[3];
        iv_element element;
    } known[] = {
        {"f2", IV_ELEMENT_F16}, {"f4", IV_ELEMENT_F32}, {"f8", IV_ELEMENT_F64},
        {"i1", IV_ELEMENT_I8},  {"i2", IV_ELEMENT_I16}, {"i4", IV_ELEMENT_I32},
        {"i8", IV_ELEMENT_I64}, {"u1", IV_ELEMENT_U8},  {"u2", IV_ELEMENT_U16},
        {"u4", IV_ELEMENT_U32}, {"u8", IV_ELEMENT_U64}, {"b1", IV_ELEMENT_BOOL},
    };
    if (descr.length == 3 && strchr("<>|=", descr.data[0]) != NULL) {
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            if (memcmp(descr.data + 1, known[i].name, 2) != 0) continue;
            array->element = known[i].element;
            array->big_endian = descr.data[0] == '>';
            return ISOVAE_OK;
        }
    }
    const char *why = "only real numbers, integers and booleans can be used";
    if (memchr(descr.data, 'O', descr.length) != NULL) {
        why = "it holds pickled Python objects, which are never opened; save plain numbers";
    }
    return iv_fail(err, ISOVAE_ERR_DATA, "the array's type is '%s': %s",
                   iv_show(descr.data, descr.length).text, why);
}

static isovae_status parse_shape(cursor *c, iv_array *array, isovae_error *err)
{
    if (!take(c, '(')) return iv_fail(err, ISOVAE_ERR_DATA, "the .npy header has no shape tuple");
    while (!take(c, ')')) {
        size_t length;
        if (!take_size(c, &length)) {
            return iv_fail(err, ISOVAE_ERR_DATA, "the .npy header's shape is not a list of sizes");
        }
        if (array->rank == IV_MAX_RANK) {
            return iv_fail(err, ISOVAE_ERR_DATA,
                           "the array has more than 4 axes; 1 to 4 can be used (rows first)");
        }
        array->shape[array->rank++] = length;
        if (!take(c, ',')) {
            if (!take(c, ')')) {
                return iv_fail(err, ISOVAE_ERR_DATA, "the .npy header's shape is not closed");
            }
            break;
        }
    }
    if (array->rank == 0) {
        return iv_fail(err, ISOVAE_ERR_DATA, "the array is a single number, without rows");
    }
    return ISOVAE_OK;
}

static isovae_status parse_header(cursor *c, iv_array *array, isovae_error *err)
{
    bool has_descr = false, has_order = false, has_shape = false;
    if (!take(c, '{')) return iv_fail(err, ISOVAE_ERR_DATA, "the .npy header is no dictionary");
    while (!take(c, '}')) {
        iv_slice key, descr;
        if (!take_string(c, &key) || !take(c, ':')) {
            return iv_fail(err, ISOVAE_ERR_DATA, "the .npy header is damaged");
        }
        if (key.length == 5 && memcmp(key.data, "descr", 5) == 0 && !has_descr) {
            if (!take_string(c, &descr)) {
                return iv_fail(err, ISOVAE_ERR_DATA,
                               "the array has a structured type; save its fields as plain columns");
            }
            IV_TRY(parse_descr(descr, array, err));
            has_descr = true;
        } else if (key.length == 13 && memcmp(key.data, "fortran_order", 13) == 0 && !has_order) {
            array->fortran = take_word(c, "True");
            if (!array->fortran && !take_word(c, "False")) {
                return iv_fail(err, ISOVAE_ERR_DATA, "the .npy header's fortran_order is damaged");
            }
            has_order = true;
        } else if (key.length == 5 && memcmp(key.data, "shape", 5) == 0 && !has_shape) {
            IV_TRY(parse_shape(c, array, err));
            has_shape = true;
        } else {
            return iv_fail(err, ISOVAE_ERR_DATA,
                           "the .npy header has an unknown or repeated entry '%s'",
                           iv_show(key.data, key.length).text);
        }
        if (!take(c, ',')) {
            if (!take(c, '}')) return iv_fail(err, ISOVAE_ERR_DATA, "the .npy header is damaged");
            break;
        }
    }
    if (!has_descr || !has_order || !has_shape) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "the .npy header lacks one of descr, fortran_order and shape");
    }
    return ISOVAE_OK;
}

isovae_status iv_read_npy(const unsigned char *block, size_t length, iv_table *out,
                          isovae_error *err)
{
    *out = (iv_table){0};
    if (length < 10 || memcmp(block, "\x93NUMPY", 6) != 0) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       length < 10 ? "the .npy file ends inside its header" : "not a .npy file");
    }
    size_t start, header_length;
    if (block[6] == 1) {
        start = 10;
        header_length = (size_t)block[8] | (size_t)block[9] << 8;
    } else if (block[6] == 2 || block[6] == 3) {
        if (length < 12) {
            return iv_fail(err, ISOVAE_ERR_DATA, "the .npy file ends inside its header");
        }
        start = 12;
        header_length = (size_t)block[8] | (size_t)block[9] << 8 | (size_t)block[10] << 16 |
                        (size_t)block[11] << 24;
    } else {
        return iv_fail(err, ISOVAE_ERR_DATA, "the .npy file has version %d.%d; 1 to 3 are known",
                       block[6], block[7]);
    }
    if (header_length > length - start) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "the .npy file ends inside its header: it promises %zu bytes, %zu are there",
                       header_length, length - start);
    }
    cursor c = {(const char *)block + start, (const char *)block + start + header_length};
    iv_array array = {0};
    IV_TRY(parse_header(&c, &array, err));
    array.data = block + start + header_length;
    size_t there = length - start - header_length, promised = 0;
    if (!iv_array_bytes(&array, &promised)) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "the .npy header promises more elements than memory can address; the file "
                       "holds %zu bytes of them",
                       there);
    }
    if (promised > there) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "the .npy header promises %zu bytes of elements, the file holds %zu; it is "
                       "cut off or damaged",
                       promised, there);
    }
    if (promised < there) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "%zu bytes follow the array that the .npy header describes; one array per "
                       "file can be read",
                       there - promised);
    }
    return iv_table_from_array(&array, out, err);
}
