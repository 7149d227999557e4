/* The answer to a question: its text, its JSON and, where there is one, its page, made at once. */
#ifndef IV_API_ANSWER_H
#define IV_API_ANSWER_H

#include "api/handles.h"
#include "base/memory.h"

#include <jansson.h>

/* Takes over the three, also on failure, and frees what the texts held; json may be NULL (there was
 * no memory for it), html NULL where there is no page. */
isovae_status iv_answer_new(iv_text *text, json_t *json, iv_text *html, isovae_answer **out,
                            isovae_error *err) ISOVAE_MUST_CHECK;

#endif
