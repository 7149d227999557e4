/* Status and error: the one way in which a call says what went wrong. */
#ifndef IV_BASE_STATUS_H
#define IV_BASE_STATUS_H

#include <isovae/isovae.h>

/* Writes the formatted message and `status` into `err` (may be NULL). */
void iv_set_error(isovae_error *err, isovae_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* iv_fail(err, status, format, ...): the same, and its value is `status`, so a failing function
 * ends in `return iv_fail(...)`. A macro, so that compilers and analysers see that value. */
#define iv_fail(err, status, ...)                                                                  \
    (iv_set_error((err), (status), __VA_ARGS__), iv_same_status(status))
static inline isovae_status iv_same_status(isovae_status status)
{
    return status;
}

/* Puts "PREFIX: " before the message already in `err`; returns err's status (or `status`). */
isovae_status iv_fail_prefix(isovae_error *err, isovae_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define IV_TRY(call)                                                                               \
    do {                                                                                           \
        isovae_status iv_try_status = (call);                                                      \
        if (iv_try_status != ISOVAE_OK) return iv_try_status;                                      \
    } while (0)

#endif
