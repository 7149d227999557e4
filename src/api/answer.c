#include "api/answer.h"

#include <stdlib.h>

enum { FORMS = 3 };

struct isovae_answer {
    char *form[FORMS]; /* by isovae_report_form; NULL: there is none */
};

static isovae_status keep(iv_text *text, char **out, isovae_error *err)
{
    if (!text) return ISOVAE_OK;
    IV_TRY(iv_text_check(text, err));
    return iv_strndup(out, text->data ? text->data : "", text->length, err);
}

static isovae_status keep_json(const json_t *json, char **out, isovae_error *err)
{
    char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    if (!text) return iv_fail(err, ISOVAE_ERR_MEMORY, "out of memory for the answer");
    isovae_status status = iv_strdup(out, text, err);
    free(text);
    return status;
}

isovae_status iv_answer_new(iv_text *text, json_t *json, iv_text *html, isovae_answer **out,
                            isovae_error *err)
{
    isovae_answer *answer;
    isovae_status status = IV_NEW(answer, 1, "an answer", err);
    if (!status) status = keep(text, &answer->form[ISOVAE_REPORT_TEXT], err);
    if (!status) status = keep_json(json, &answer->form[ISOVAE_REPORT_JSON], err);
    if (!status) status = keep(html, &answer->form[ISOVAE_REPORT_HTML], err);
    iv_text_free(text);
    json_decref(json);
    if (html) iv_text_free(html);
    if (status) {
        isovae_answer_free(answer);
        return status;
    }
    *out = answer;
    return ISOVAE_OK;
}

isovae_status isovae_answer_write(const isovae_answer *answer, isovae_report_form form, char **out,
                                  isovae_error *err)
{
    *out = NULL;
    if ((int)form < 0 || (int)form >= FORMS)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "form %d of an answer is not known", (int)form);
    if (!answer->form[form])
        return iv_fail(err, ISOVAE_ERR_UNSUPPORTED, "this answer has no page, but text and JSON");
    return iv_strdup(out, answer->form[form], err);
}

void isovae_answer_free(isovae_answer *answer)
{
    if (!answer) return;
    for (size_t i = 0; i < FORMS; i++) iv_free(answer->form[i]);
    iv_free(answer);
}
