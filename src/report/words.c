/* Numbers and names as text (facts.h): clean, escaped, aligned, the same in every locale. */
#include "report/facts.h"

#include "base/file.h"

#include <math.h>
#include <string.h>

void iv_put_count(iv_text *out, uint64_t count)
{
    char digits[32];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + count % 10);
        count /= 10;
    } while (count > 0);
    while (n-- > 0) {
        iv_text_append(out, &digits[n], 1);
        if (n > 0 && n % 3 == 0) iv_text_puts(out, ",");
    }
}

/* -0.00 reads as an error: nothing is left of the number, so nothing is left of its sign. */
static void put_decimal(iv_text *out, double value, int decimals)
{
    double half = 0.5 * pow(10.0, -decimals);
    if (value < 0 && -value < half) value = 0;
    iv_text_printf(out, "%.*f", decimals, value);
}

void iv_put_number(iv_text *out, double value, int digits)
{
    if (isnan(value)) {
        iv_text_puts(out, "-");
        return;
    }
    double size = fabs(value);
    if (size == 0) {
        iv_text_puts(out, "0");
        return;
    }
    if (isinf(value) || size < 1e-4 || size >= 1e7) {
        iv_text_printf(out, "%.*g", digits, value);
        return;
    }
    int decimals = digits - 1 - (int)floor(log10(size) + 1e-12);
    if (decimals < 0) decimals = 0;
    put_decimal(out, value, decimals);
}

void iv_put_fixed(iv_text *out, double value, int decimals)
{
    if (isnan(value)) {
        iv_text_puts(out, "-");
    } else if (fabs(value) >= 1e9) {
        iv_text_printf(out, "%.3g", value);
    } else {
        put_decimal(out, value, decimals);
    }
}

int iv_decimals(const double *values, size_t n, int digits, int most)
{
    double large = 0, small = (double)INFINITY;
    for (size_t i = 0; i < n; i++) {
        double size = fabs(values[i]);
        if (!isfinite(size) || size == 0) continue;
        if (size > large) large = size;
        if (size < small) small = size;
    }
    if (large == 0) return digits - 1;
    int first = digits - 1 - (int)floor(log10(large)), last = digits - 2 - (int)floor(log10(small));
    int decimals = first > last ? first : last;
    if (decimals > most) decimals = most;
    return decimals < 0 ? 0 : decimals;
}

/* Length of the UTF-8 sequence at `s` (1 to 4), 0 where it is broken, overlong or a surrogate. */
static size_t sequence(const unsigned char *s)
{
    if (s[0] < 0x80) return 1;
    size_t length = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4) return 0;
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xC0) != 0x80) return 0;
    }
    if (s[0] == 0xE0 && s[1] < 0xA0) return 0;
    if (s[0] == 0xED && s[1] > 0x9F) return 0;
    if (s[0] == 0xF0 && s[1] < 0x90) return 0;
    if (s[0] == 0xF4 && s[1] > 0x8F) return 0;
    if (length == 3 && s[0] == 0xEF && s[1] == 0xBF && s[2] >= 0xBE) return 0; /* no characters */
    return length;
}

/* Control characters would move a terminal's cursor or make XML invalid. */
static bool is_control(const unsigned char *s, size_t length)
{
    return (length == 1 && (s[0] < 0x20 || s[0] == 0x7F)) ||
           (length == 2 && s[0] == 0xC2 && s[1] < 0xA0);
}

size_t iv_code_points(const char *text, size_t length)
{
    size_t n = 0;
    for (size_t i = 0; i < length; i++) n += ((unsigned char)text[i] & 0xC0) != 0x80;
    return n;
}

void iv_put_clean(iv_text *out, const char *text, size_t columns, bool ascii_marks)
{
    const unsigned char *s = (const unsigned char *)text;
    const char *mark = ascii_marks ? "?" : "\xEF\xBF\xBD";
    size_t total = 0;
    for (const unsigned char *p = s; *p != 0; total++) {
        size_t length = sequence(p);
        p += length > 0 ? length : 1;
    }
    for (size_t i = 0; *s != 0; i++) {
        if (columns > 0 && total > columns && i + 1 == columns) {
            iv_text_puts(out, "~");
            return;
        }
        size_t length = sequence(s);
        if (length == 0 || is_control(s, length)) {
            iv_text_puts(out, mark);
        } else {
            iv_text_append(out, (const char *)s, length);
        }
        s += length > 0 ? length : 1;
    }
}

void iv_put_escaped(iv_text *out, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    while (*s != 0) {
        size_t length = sequence(s);
        const char *name = NULL;
        switch (*s) {
        case '&': name = "&amp;"; break;
        case '<': name = "&lt;"; break;
        case '>': name = "&gt;"; break;
        case '"': name = "&quot;"; break;
        case '\'': name = "&#39;"; break;
        default: break;
        }
        if (name == NULL && (length == 0 || is_control(s, length))) name = "\xEF\xBF\xBD";
        if (name != NULL) {
            iv_text_puts(out, name);
        } else {
            iv_text_append(out, (const char *)s, length);
        }
        s += length > 0 ? length : 1;
    }
}

const char *iv_facts_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL && slash[1] != '\0' ? slash + 1 : path;
}
