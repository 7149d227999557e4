/* The model file. The checksum is made right first, or nothing behind it would ever be reached.
 * What is read must be written and read again as the same bytes, and run. */
#include "base/memory.h"
#include "model/eval.h"
#include "model/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { DIGITS_AT = 37, DIGITS = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(isovae_status status)
{
    if (status != ISOVAE_OK) abort();
}

static void run(const iv_model *model)
{
    const iv_kernels *k = iv_kernels_get(IV_PRECISION_F32_REFERENCE, NULL);
    iv_eval_plan plan = {.rows = 2};
    iv_eval *eval;
    for (size_t i = 0; i < model->encoder->n_values; i++) {
        if (model->encoder->values[i].size > 4096) return;
    }
    for (size_t i = 0; i < model->decoder->n_values; i++) {
        if (model->decoder->values[i].size > 4096) return;
    }
    /* The metric may refuse weights. */
    if (iv_eval_new(model, k, &plan, &eval, NULL) != ISOVAE_OK) return;
    iv_eval_encode(eval, 0, 2, 0);
    iv_eval_decode(eval, 0, 2, 0);
    iv_eval_free(eval);
}

static void again(const iv_model *model, const json_t *checkpoint)
{
    unsigned char *first, *second;
    size_t n_first, n_second;
    iv_model *read;
    json_t *extra;
    must(iv_model_write(model, NULL, 0, checkpoint, &first, &n_first, NULL));
    must(iv_model_read(first, n_first, "again", &read, &extra, NULL));
    must(iv_model_write(read, NULL, 0, extra, &second, &n_second, NULL));
    if (n_first != n_second || memcmp(first, second, n_first) != 0) abort();
    json_decref(extra);
    iv_free(first);
    iv_free(second);
    iv_model_free(read);
}

static void permute(iv_model *model)
{
    size_t order[8];
    double sign[8];
    if (model->n > 8) return;
    for (size_t j = 0; j < model->n; j++) {
        order[j] = model->n - 1 - j;
        sign[j] = j % 2 == 0 ? -1 : 1;
        for (int t = -2; t <= 2; t++) {
            double y = iv_spline_y(&model->splines[j], model->beta, t);
            (void)iv_spline_mu(&model->splines[j], model->beta, y);
        }
    }
    if (iv_model_permute(model, order, sign, NULL) != ISOVAE_OK) return;
    again(model, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char *bytes = malloc(size + 1);
    iv_model *model;
    json_t *checkpoint;
    isovae_error err;
    if (bytes == NULL) return 0;
    memcpy(bytes, data, size);
    if (size >= DIGITS_AT + DIGITS) {
        char digits[DIGITS + 1];
        memset(bytes + DIGITS_AT, '0', DIGITS);
        (void)snprintf(digits, sizeof digits, "%016llx",
                       (unsigned long long)XXH3_64bits(bytes, size));
        memcpy(bytes + DIGITS_AT, digits, DIGITS);
    }
    if (iv_model_read(bytes, size, "fuzz", &model, &checkpoint, &err) == ISOVAE_OK) {
        again(model, checkpoint);
        run(model);
        permute(model);
        json_decref(checkpoint);
        iv_model_free(model);
    }
    free(bytes);
    return 0;
}
