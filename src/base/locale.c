#include "base/locale.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The C library hands out one static object for the C locale, so asking for it each time costs
 * little and keeps no state here. Where it fails the process's locale serves. */
static locale_t c_locale(void)
{
    return newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

static void release(locale_t locale)
{
    if (locale != (locale_t)0) freelocale(locale);
}

int iv_vsnprintf(char *buffer, size_t size, const char *format, va_list arguments)
{
    locale_t plain = c_locale();
    locale_t before = plain != (locale_t)0 ? uselocale(plain) : (locale_t)0;
    int length = vsnprintf(buffer, size, format, arguments);
    if (before != (locale_t)0) uselocale(before);
    release(plain);
    return length;
}

double iv_strtod(const char *text, char **end)
{
    locale_t plain = c_locale();
    double value = plain != (locale_t)0 ? strtod_l(text, end, plain) : strtod(text, end);
    release(plain);
    return value;
}

const char *iv_error_text(int number, char *buffer, size_t size)
{
    locale_t plain = c_locale();
    if (plain != (locale_t)0) {
        snprintf(buffer, size, "%s", strerror_l(number, plain));
    } else {
        snprintf(buffer, size, "error %d", number);
    }
    release(plain);
    return buffer;
}
