/* IDX, the format of MNIST: two zero bytes, a type, the number of axes, the big-endian sizes, then
 * the big-endian elements. */
#include "data/reader.h"

#include "base/memory.h"

isovae_status iv_read_idx(const unsigned char *block, size_t length, iv_table *out,
                          isovae_error *err)
{
    *out = (iv_table){0};
    if (length < 4) return iv_fail(err, ISOVAE_ERR_DATA, "the IDX file ends inside its header");
    if (block[0] != 0 || block[1] != 0) return iv_fail(err, ISOVAE_ERR_DATA, "not an IDX file");
    iv_array array = {.big_endian = true};
    switch (block[2]) {
    case 0x08: array.element = IV_ELEMENT_U8; break;
    case 0x09: array.element = IV_ELEMENT_I8; break;
    case 0x0B: array.element = IV_ELEMENT_I16; break;
    case 0x0C: array.element = IV_ELEMENT_I32; break;
    case 0x0D: array.element = IV_ELEMENT_F32; break;
    case 0x0E: array.element = IV_ELEMENT_F64; break;
    default:
        return iv_fail(err, ISOVAE_ERR_DATA, "the IDX file has an unknown element type 0x%02x",
                       (unsigned)block[2]);
    }
    array.rank = block[3];
    if (array.rank < 1 || array.rank > IV_MAX_RANK) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "the IDX file has %zu axes; 1 to 4 can be used (rows first)", array.rank);
    }
    size_t start = 4 + 4 * array.rank;
    if (length < start) return iv_fail(err, ISOVAE_ERR_DATA, "the IDX file ends inside its header");
    for (size_t i = 0; i < array.rank; i++) {
        const unsigned char *p = block + 4 + 4 * i;
        array.shape[i] = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    }
    array.data = block + start;
    size_t there = length - start, promised = 0;
    if (!iv_array_bytes(&array, &promised) || promised > there) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "the IDX header promises more elements than the %zu bytes that follow it; "
                       "the file is cut off or damaged",
                       there);
    }
    if (promised < there) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "%zu bytes follow the elements that the IDX header promises",
                       there - promised);
    }
    return iv_table_from_array(&array, out, err);
}
