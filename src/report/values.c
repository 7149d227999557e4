#include "report/values.h"

#include "report/facts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

bool iv_json_put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0; /* NULL object or value: -1 */
}

bool iv_json_append(json_t *array, json_t *value)
{
    return json_array_append_new(array, value) == 0;
}

json_t *iv_json_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *iv_json_count(uint64_t value)
{
    return json_integer((json_int_t)value);
}

json_t *iv_json_seed(uint64_t value)
{
    char text[24];
    if (value <= (uint64_t)INT64_MAX) return json_integer((json_int_t)value);
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return json_string(text);
}

json_t *iv_json_hash(uint64_t value)
{
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)value);
    return json_string(text);
}

json_t *iv_json_string(const char *value)
{
    iv_text text = {0};
    if (value == NULL) return json_null();
    iv_text_puts(&text, "");
    iv_put_clean(&text, value, 0, false);
    json_t *out = text.failed ? NULL : json_stringn(text.data, text.length);
    iv_text_free(&text);
    return out;
}

json_t *iv_json_done(json_t *value, bool ok)
{
    if (ok) return value;
    json_decref(value);
    return NULL;
}

json_t *iv_json_numbers(const double *values, size_t n)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t i = 0; ok && i < n; i++) ok = iv_json_append(array, iv_json_number(values[i]));
    return iv_json_done(array, ok);
}

isovae_status iv_json_text(json_t *root, iv_text *out, isovae_error *err)
{
    char *dump = root != NULL ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(root);
    if (dump == NULL) return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for the JSON report");
    iv_text_puts(out, dump);
    iv_text_puts(out, "\n");
    free(dump);
    return iv_text_check(out, err);
}
