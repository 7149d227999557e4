/* The model file. The checksum is made right first, or nothing behind it would ever be reached.
 * What is read must be written and read again as the same bytes, and run. An input that begins with
 * a brace (no file does: its header's length is a multiple of 8) is the model's JSON instead, to go
 * with the tensors of an mlp:2 of 3 features and 2 latents, and of a second member like it. */
#include "base/memory.h"
#include "model/eval.h"
#include "model/file.h"
#include "model/file_parts.h"

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

static void use(iv_model *model, json_t *checkpoint)
{
    again(model, checkpoint);
    run(model);
    permute(model);
    json_decref(checkpoint);
    iv_model_free(model);
}

static void read_json(const char *text, size_t length)
{
    static const float values[8] = {1, -2, 3, -4, 5, -6, 7, -8};
#define TENSOR(label, rows, cols)                                                                  \
    {                                                                                              \
        .name = label, .shape = {.rank = (cols) > 0 ? 2 : 1, .dim = {rows, cols}},                 \
        .size = (cols) > 0 ? (rows) * (cols) : (rows), .data = values                              \
    }
    static iv_tensor tensors[] = {
        TENSOR("dec.fc1.bias", 2, 0),
        TENSOR("dec.fc1.weight", 2, 2),
        TENSOR("dec.out.bias", 3, 0),
        TENSOR("dec.out.weight", 3, 2),
        TENSOR("enc.fc1.bias", 2, 0),
        TENSOR("enc.fc1.weight", 2, 3),
        TENSOR("enc.logvar.bias", 2, 0),
        TENSOR("enc.logvar.weight", 2, 2),
        TENSOR("enc.mu.bias", 2, 0),
        TENSOR("enc.mu.weight", 2, 2),
        TENSOR("member1.dec.fc1.bias", 2, 0),
        TENSOR("member1.dec.fc1.weight", 2, 2),
        TENSOR("member1.dec.out.bias", 3, 0),
        TENSOR("member1.dec.out.weight", 3, 2),
        TENSOR("member1.enc.fc1.bias", 2, 0),
        TENSOR("member1.enc.fc1.weight", 2, 3),
        TENSOR("member1.enc.logvar.bias", 2, 0),
        TENSOR("member1.enc.logvar.weight", 2, 2),
        TENSOR("member1.enc.mu.bias", 2, 0),
        TENSOR("member1.enc.mu.weight", 2, 2),
    };
    const iv_safetensors file = {.n = sizeof tensors / sizeof tensors[0], .tensors = tensors};
    json_t *json;
    iv_model *model;
    isovae_error err;
    if (iv_json_load(text, length, "fuzz", "the model", &json, &err) != ISOVAE_OK) return;
    if (iv_model_from_json(json, &file, "fuzz", &model, &err) == ISOVAE_OK) use(model, NULL);
    json_decref(json);
}

static void read_file(unsigned char *bytes, size_t size)
{
    iv_model *model;
    json_t *checkpoint;
    isovae_error err;
    if (size >= DIGITS_AT + DIGITS) {
        char digits[DIGITS + 1];
        memset(bytes + DIGITS_AT, '0', DIGITS);
        (void)snprintf(digits, sizeof digits, "%016llx",
                       (unsigned long long)XXH3_64bits(bytes, size));
        memcpy(bytes + DIGITS_AT, digits, DIGITS);
    }
    if (iv_model_read(bytes, size, "fuzz", &model, &checkpoint, &err) == ISOVAE_OK) {
        use(model, checkpoint);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char *bytes = malloc(size + 1);
    if (bytes == NULL) return 0;
    memcpy(bytes, data, size);
    if (size > 0 && bytes[0] == '{') {
        read_json((const char *)bytes, size);
    } else {
        read_file(bytes, size);
    }
    free(bytes);
    return 0;
}
