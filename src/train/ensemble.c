/* A fit from beginning to end: one network, or the members of an ensemble one after the other, each
 * with its own start and its own fold of the rows held out. */
#include "base/clock.h"
#include "base/memory.h"
#include "theory/analysis.h"
#include "train/fit_parts.h"
#include "train/trainer.h"

#include <stdio.h>
#include <string.h>

typedef struct members {
    iv_model *model[IV_MAX_MEMBERS];
    size_t n; /* finished */
} members;

/* Says of which member the notes from `first` on are; what an earlier one said already is left out.
 */
static void name_notes(iv_fit_result *result, size_t first, size_t member)
{
    char prefix[32];
    size_t kept = first;
    int length = snprintf(prefix, sizeof prefix, "member %zu: ", member);
    for (size_t i = first; i < result->n_notes; i++) {
        iv_fit_note note;
        bool said = false;
        for (size_t j = 0; j < first && !said; j++) {
            const char *text = strstr(result->notes[j].text, ": ");
            said = text != NULL && strcmp(text + 2, result->notes[i].text) == 0;
        }
        if (said) continue;
        memcpy(note.text, prefix, (size_t)length);
        size_t room = sizeof note.text - (size_t)length - 1;
        size_t used = strnlen(result->notes[i].text, room);
        memcpy(note.text + length, result->notes[i].text, used);
        note.text[(size_t)length + used] = '\0';
        result->notes[kept++] = note;
    }
    result->n_notes = kept;
}

/* Held-out scores of the whole: of the same rows for all members, or of each one's fold. */
static isovae_status calibrate_scores(iv_model *model, const iv_dataset *data,
                                      const iv_fit_options *options, isovae_error *err)
{
    const iv_dataset *other = options->validation_data;
    bool own = model->validation_fraction > 0 && data->group == NULL && other == NULL;
    if (own) return iv_calibrate_folds(model, data, options->pool, options->isa, err);
    iv_split split;
    IV_TRY(iv_split_rows(other != NULL ? other : data, 0, model->seed, &split, err));
    bool held = other == NULL && split.n_validation > 0;
    isovae_status status = iv_calibrate_scores(
        model, other != NULL ? other : data, held ? split.validation : split.train,
        held ? split.n_validation : split.n_train, options->pool, options->isa, err);
    iv_split_free(&split);
    return status;
}

static isovae_status train_members(const iv_dataset *data, const iv_fit_options *options,
                                   size_t count, members *m, iv_fit_result *result,
                                   isovae_error *err)
{
    double seconds = 0.0;
    if (count > 1 && options->resume) {
        IV_TRY(iv_checkpoint_members(options->resume, m->model, &m->n, err));
        if (m->n >= count)
            return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                           "%s: was made with another --ensemble; resume with the options of the "
                           "first run, or delete it to begin anew",
                           options->resume);
    }
    size_t first = m->n;
    for (size_t k = first; k < count; k++) {
        size_t notes = result->n_notes;
        iv_fit_options one = *options;
        if (k > first) one.resume = NULL;
        IV_TRY(iv_fit_member(data, &one, k, m->model, &seconds, result, &m->model[k], err));
        m->n++;
        if (count > 1) name_notes(result, notes, k);
    }
    return ISOVAE_OK;
}

isovae_status iv_fit(const iv_dataset *data, const iv_fit_options *options, iv_fit_result *result,
                     isovae_error *err)
{
    memset(result, 0, sizeof *result);
    double begun = iv_clock();
    size_t count = options->ensemble > 1 ? options->ensemble : 1;
    members m = {.n = 0};
    isovae_status status = ISOVAE_OK;
    if (count > IV_MAX_MEMBERS)
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "--ensemble: has at most %d members",
                       IV_MAX_MEMBERS);
    status = train_members(data, options, count, &m, result, err);
    if (!status) status = iv_model_join(m.model[0], m.model + 1, count - 1, err);
    if (!status) {
        m.n = 1; /* which owns the others */
        if (count > 1) status = calibrate_scores(m.model[0], data, options, err);
    }
    result->cancelled = status == ISOVAE_ERR_CANCELLED;
    if (status) {
        for (size_t k = 0; k < m.n; k++) iv_model_free(m.model[k]);
        return status;
    }
    result->model = m.model[0];
    result->seconds = iv_clock() - begun;
    return ISOVAE_OK;
}
