/* JSON values, as all reports write them. A number that does not exist is null; a failed allocation
 * stays NULL upwards through iv_json_put. */
#ifndef IV_REPORT_VALUES_H
#define IV_REPORT_VALUES_H

#include "base/memory.h"

#include <jansson.h>
#include <stdbool.h>

bool iv_json_put(json_t *object, const char *key, json_t *value); /* takes the value */
bool iv_json_append(json_t *array, json_t *value);
json_t *iv_json_number(double value);
json_t *iv_json_count(uint64_t value);
json_t *iv_json_seed(uint64_t value); /* text beyond the range of JSON integers */
json_t *iv_json_hash(uint64_t value);
json_t *iv_json_numbers(const double *values, size_t n); /* an array */
json_t *iv_json_string(
    const char *value); /* NULL: null; made clean UTF-8, as names and paths may be none */
/* The value, or with `ok` false NULL, and its reference is given back. */
json_t *iv_json_done(json_t *value, bool ok);
/* The text of `root`, whose reference is taken, with a newline; NULL: out of memory. */
isovae_status iv_json_text(json_t *root, iv_text *out, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
