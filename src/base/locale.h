/* Text and numbers that do not depend on the locale of the host process. */
#ifndef IV_BASE_LOCALE_H
#define IV_BASE_LOCALE_H

#include <stdarg.h>
#include <stddef.h>

/* vsnprintf and strtod in the C locale: '.' is the decimal point whatever the process has set. The
 * process's own locale is as before afterwards. */
int iv_vsnprintf(char *buffer, size_t size, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));
double iv_strtod(const char *text, char **end);

/* The text of an errno value, at most size - 1 bytes, into `buffer`, which is returned. */
const char *iv_error_text(int number, char *buffer, size_t size);

#endif
