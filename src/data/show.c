/* Foreign text as it may stand in a message. */
#include "data/reader.h"

#include <string.h>

iv_shown iv_show(const char *text, size_t length)
{
    iv_shown shown = {{0}};
    size_t n = length < 40 ? length : 40;
    if (n < length) {
        while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80) n--; /* not inside a character */
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        shown.text[i] = c < 32 || c == 127 ? '?' : text[i];
    }
    if (n < length) memcpy(shown.text + n, "...", 3);
    return shown;
}
