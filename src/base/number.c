/* Numbers from and to text, the same in every locale (base/file.h). */
#include "base/file.h"

#include "base/locale.h"
#include "base/memory.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

/* What was read of [sign] digits [. digits] [e [sign] digits]: the value is sign * mantissa *
 * 10^exponent where `exact`, i.e. where the digits fit into 64 bits. */
typedef struct decimal {
    bool negative, exact;
    uint64_t mantissa;
    long exponent;
} decimal;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void add_digit(decimal *number, char c, long shift)
{
    if (number->mantissa < UINT64_C(100000000000000000)) {
        number->mantissa = number->mantissa * 10 + (uint64_t)(c - '0');
        number->exponent -= shift;
    } else {
        number->exact = false; /* strtod reads it */
    }
}

/* False where the text is not wholly a decimal number. */
static bool scan_decimal(const char *text, size_t length, decimal *number)
{
    size_t i = 0, digits = 0;
    *number = (decimal){.exact = true};
    if (i < length && (text[i] == '-' || text[i] == '+')) number->negative = text[i++] == '-';
    for (; i < length && is_digit(text[i]); i++, digits++) add_digit(number, text[i], 0);
    if (i < length && text[i] == '.') {
        for (i++; i < length && is_digit(text[i]); i++, digits++) add_digit(number, text[i], 1);
    }
    if (digits == 0) return false;
    if (i < length && (text[i] == 'e' || text[i] == 'E')) {
        bool negative = false;
        long exponent = 0;
        size_t first;
        i++;
        if (i < length && (text[i] == '-' || text[i] == '+')) negative = text[i++] == '-';
        for (first = i; i < length && is_digit(text[i]); i++) {
            if (exponent < 100000) exponent = exponent * 10 + (text[i] - '0');
        }
        if (i == first) return false;
        number->exponent += negative ? -exponent : exponent;
    }
    return i == length;
}

/* ASCII letters only: the C library's comparison follows the locale. */
bool iv_same_word(const char *text, size_t length, const char *word)
{
    if (strlen(word) != length) return false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
        if (c != word[i]) return false;
    }
    return true;
}

/* nan, inf and infinity, in any case, with or without a sign. */
static bool parse_word(const char *text, size_t length, double *out)
{
    bool negative = false;
    if (length > 0 && (text[0] == '-' || text[0] == '+')) {
        negative = text[0] == '-';
        text++;
        length--;
    }
    double value;
    if (iv_same_word(text, length, "nan")) {
        value = (double)NAN;
    } else if (iv_same_word(text, length, "inf") || iv_same_word(text, length, "infinity")) {
        value = (double)INFINITY;
    } else {
        return false;
    }
    *out = negative ? -value : value;
    return true;
}

/* Texts longer than this are no numbers that anybody writes; beyond 800 digits none can count. */
enum { MAX_LENGTH = 1024 };

bool iv_parse_double(const char *text, size_t length, double *out)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    decimal number;
    if (length == 0 || length > MAX_LENGTH) return false;
    if (!scan_decimal(text, length, &number)) return parse_word(text, length, out);
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD == 0
    /* Both factors are exact doubles, so the one rounding of product or quotient is the right one.
     */
    if (number.exact && number.mantissa <= (UINT64_C(1) << 53) && number.exponent >= -22 &&
        number.exponent <= 22) {
        double value = (double)number.mantissa;
        value = number.exponent < 0 ? value / powers[-number.exponent]
                                    : value * powers[number.exponent];
        *out = number.negative ? -value : value;
        return true;
    }
#endif
    char copy[MAX_LENGTH + 1], *end;
    memcpy(copy, text, length);
    copy[length] = '\0';
    double value = iv_strtod(copy, &end); /* too large gives infinity, too small 0 */
    if (end != copy + length) return false;
    *out = value;
    return true;
}

static size_t format_plain(char *buffer, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static size_t format_plain(char *buffer, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = iv_vsnprintf(buffer, size, format, arguments);
    va_end(arguments);
    if (length < 0) length = 0;
    return (size_t)length < size ? (size_t)length : size - 1;
}

size_t iv_format_double(char *buffer, size_t size, double value, int digits)
{
    if (size == 0) return 0;
    if (isnan(value)) return format_plain(buffer, size, "nan");
    /* From 16 digits on the value itself is meant: the shortest text that reads back as it. */
    for (int tried = 15; digits > 15 && tried < digits; tried++) {
        double back;
        size_t length = format_plain(buffer, size, "%.*g", tried, value);
        if (iv_parse_double(buffer, length, &back) && back == value) return length;
    }
    return format_plain(buffer, size, "%.*g", digits, value);
}
