/* JSON values of the smaller reports. A number that does not exist is null; a failed allocation
 * stays NULL upwards through iv_json_put. */
#ifndef IV_REPORT_VALUES_H
#define IV_REPORT_VALUES_H

#include "base/memory.h"

#include <jansson.h>
#include <stdbool.h>

bool iv_json_put(json_t *object, const char *key, json_t *value); /* takes the value */
bool iv_json_append(json_t *array, json_t *value);
json_t *iv_json_number(double value);
json_t *iv_json_count(size_t value);
json_t *iv_json_seed(uint64_t value); /* text beyond the range of JSON integers */
json_t *iv_json_hash(uint64_t value);
json_t *iv_json_string(const char *value); /* NULL: null; made clean UTF-8 */
/* The text of `root`, whose reference is taken, with a newline; NULL: out of memory. */
isovae_status iv_json_text(json_t *root, iv_text *out, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
