#include "base/status.h"

#include "base/locale.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *isovae_status_name(isovae_status status)
{
    switch (status) {
    case ISOVAE_OK: return "ok";
    case ISOVAE_ERR_ARGUMENT: return "bad argument";
    case ISOVAE_ERR_DATA: return "bad data";
    case ISOVAE_ERR_FORMAT: return "damaged file";
    case ISOVAE_ERR_VERSION: return "newer version";
    case ISOVAE_ERR_MEMORY: return "out of memory";
    case ISOVAE_ERR_IO: return "input or output failed";
    case ISOVAE_ERR_DIVERGED: return "training failed";
    case ISOVAE_ERR_CANCELLED: return "cancelled";
    case ISOVAE_ERR_UNSUPPORTED: return "not supported";
    case ISOVAE_ERR_INTERNAL: return "internal error";
    }
    return "unknown status";
}

const char *isovae_version(void)
{
    return ISOVAE_VERSION;
}

/* A message that was cut ends in "..." and never inside a UTF-8 character. */
static void mark_cut(char *text, size_t size)
{
    size_t end = size - 4;
    while (end > 0 && ((unsigned char)text[end] & 0xC0u) == 0x80u) end--;
    memcpy(text + end, "...", 4);
}

static void format_into(char *text, size_t size, const char *format, va_list arguments)
{
    int length = iv_vsnprintf(text, size, format, arguments);
    if (length < 0) {
        text[0] = '\0';
    } else if ((size_t)length >= size) {
        mark_cut(text, size);
    }
}

void iv_set_error(isovae_error *err, isovae_status status, const char *format, ...)
{
    if (err == NULL) return;
    char text[sizeof err->message]; /* the arguments may point into err->message */
    va_list arguments;
    va_start(arguments, format);
    format_into(text, sizeof text, format, arguments);
    va_end(arguments);
    err->status = status;
    memcpy(err->message, text, sizeof text);
}

isovae_status iv_fail_prefix(isovae_error *err, isovae_status status, const char *format, ...)
{
    if (err == NULL) return status;
    char prefix[sizeof err->message], text[2 * sizeof err->message + 2];
    va_list arguments;
    va_start(arguments, format);
    format_into(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    int length = snprintf(text, sizeof text, "%s: %s", prefix, err->message);
    if (length >= (int)sizeof err->message) mark_cut(text, sizeof err->message);
    memcpy(err->message, text, strlen(text) + 1);
    if (err->status == ISOVAE_OK) err->status = status;
    return err->status;
}
