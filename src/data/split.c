#include "data/split.h"

#include "base/memory.h"
#include "base/random.h"

#include <math.h>

/* Held out are the places [first, end) of the permutation. */
static isovae_status split_into(const iv_dataset *data, size_t good, size_t first, size_t end,
                                uint64_t seed, iv_split *out, isovae_error *err)
{
    const iv_key key = {.seed = seed, .purpose = IV_PURPOSE_SPLIT};
    const iv_shuffle shuffle = iv_shuffle_new(&key, good);
    IV_TRY(IV_NEW(out->train, good, "training rows", err));
    IV_TRY(IV_NEW(out->validation, good, "validation rows", err));
    size_t index = 0; /* among the good rows */
    for (size_t row = 0; row < data->rows; row++) {
        if (data->status[row] != IV_ROW_OK) continue;
        bool held_out = data->group != NULL && data->group[row] != 0;
        if (data->group == NULL && end > first) {
            uint64_t place = iv_shuffle_at(&shuffle, index);
            held_out = place >= first && place < end;
        }
        index++;
        if (held_out) {
            out->validation[out->n_validation++] = row;
        } else {
            out->train[out->n_train++] = row;
        }
    }
    if (out->n_train == 0) {
        return iv_fail(err, ISOVAE_ERR_DATA,
                       "the --split-by column leaves no row to train on: 0 marks a training row");
    }
    return ISOVAE_OK;
}

isovae_status iv_split_rows(const iv_dataset *data, double fraction, uint64_t seed, iv_split *out,
                            isovae_error *err)
{
    return iv_split_fold(data, fraction, 0, seed, out, err);
}

isovae_status iv_split_fold(const iv_dataset *data, double fraction, size_t fold, uint64_t seed,
                            iv_split *out, isovae_error *err)
{
    *out = (iv_split){0};
    if (!(fraction >= 0 && fraction < 1)) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "the validation fraction %g is not in [0, 1): give 0.1 for a tenth",
                       fraction);
    }
    size_t good = 0;
    for (size_t row = 0; row < data->rows; row++) good += data->status[row] == IV_ROW_OK;
    if (good == 0) {
        return iv_fail(err, ISOVAE_ERR_DATA, "no row of the data is complete: none can be used");
    }
    size_t first = (size_t)round(fmin(fraction * (double)fold, 1) * (double)good);
    size_t end = (size_t)round(fmin(fraction * (double)(fold + 1), 1) * (double)good);
    if (end - first >= good) end = first + good - 1;
    isovae_status status = split_into(data, good, first, end, seed, out, err);
    if (status != ISOVAE_OK) iv_split_free(out);
    return status;
}

void iv_split_free(iv_split *split)
{
    iv_free(split->train);
    iv_free(split->validation);
    *split = (iv_split){0};
}

isovae_status iv_spread_rows(const size_t *rows, size_t n_rows, size_t most, size_t **out,
                             size_t *count, isovae_error *err)
{
    *count = n_rows < most ? n_rows : most;
    IV_TRY(IV_NEW(*out, *count, "the rows", err));
    for (size_t i = 0; i < *count; i++) (*out)[i] = rows[i * n_rows / *count];
    return ISOVAE_OK;
}

isovae_status iv_good_rows(const iv_dataset *data, size_t **out, size_t *count, isovae_error *err)
{
    *count = 0;
    IV_TRY(IV_NEW(*out, data->rows, "row numbers", err));
    for (size_t row = 0; row < data->rows; row++)
        if (data->status == NULL || data->status[row] == IV_ROW_OK) (*out)[(*count)++] = row;
    return ISOVAE_OK;
}

isovae_status iv_spread_good_rows(const iv_dataset *data, size_t most, size_t **out, size_t *count,
                                  isovae_error *err)
{
    size_t *good = NULL, n;
    isovae_status status = iv_good_rows(data, &good, &n, err);
    if (status == ISOVAE_OK) status = iv_spread_rows(good, n, most, out, count, err);
    iv_free(good);
    return status;
}
