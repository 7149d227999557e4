/* Loads a model from memory and prints, to the last bit, what it says about made-up rows. Linked
 * with the full library and with libisovae-runtime it must print the same
 * (scripts/check-runtime.sh). */
#include <isovae/isovae.h>

#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 200 };

static void *read_file(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    *length = (size_t)ftell(file);
    rewind(file);
    void *bytes = malloc(*length + 1);
    if (bytes && fread(bytes, 1, *length, file) != *length) {
        free(bytes);
        bytes = NULL;
    }
    fclose(file);
    return bytes;
}

static void print(const char *what, const double *values, size_t count)
{
    for (size_t i = 0; i < count; i++) printf("%s %a\n", what, values[i]);
}

static int fail(const isovae_error *error)
{
    fprintf(stderr, "%s\n", error->message);
    return 1;
}

static int run(const isovae_model *model)
{
    static const char *const estimates[] = {"elbo", "posterior", "logdet", "laplace"};
    isovae_error error;
    size_t d = isovae_model_features(model), n = isovae_model_latents(model);
    float *rows = malloc(ROWS * d * sizeof *rows);
    double *out = malloc(ROWS * (d + 3 * n) * sizeof *out);
    unsigned long key = 1;
    if (!rows || !out) return 1;
    for (size_t i = 0; i < ROWS * d; i++) {
        key = (key * 1103515245u + 12345u) & 0x7fffffffu;
        rows[i] = (float)key / 1073741824.0f - 1;
    }
    printf("%zu features, %zu latents, %zu active, the first feature is %s\n", d, n,
           isovae_model_active(model), isovae_model_feature_name(model, 0));
    for (size_t e = 0; e < 4; e++) {
        isovae_scorer *scorer;
        isovae_scorer_config config;
        isovae_scorer_config_init(&config);
        config.estimate = estimates[e];
        if (isovae_scorer_new(model, &config, &scorer, &error) ||
            isovae_scorer_score(scorer, rows, ISOVAE_F32, ROWS, 0, 0, out, NULL, &error)) {
            return fail(&error);
        }
        print(estimates[e], out, ROWS);
        if (e == 0) printf("tail %a\n", isovae_tail_prob(model, out[0]));
        double *mu = out, *sigma = out + ROWS * n, *y = out + 2 * ROWS * n, *x = out + 3 * ROWS * n;
        if (isovae_scorer_encode(scorer, rows, ISOVAE_F32, ROWS, 0, 0, mu, sigma, y, NULL,
                                 &error) ||
            isovae_scorer_decode(scorer, mu, ISOVAE_F64, ROWS, 0, 0, x, NULL, &error)) {
            return fail(&error);
        }
        if (e == 0) print("code", out, ROWS * (d + 3 * n));
        isovae_scorer_free(scorer);
    }
    printf("quantile %a\n", isovae_model_quantile(model, 0.01));
    free(rows);
    free(out);
    return 0;
}

int main(int argc, char **argv)
{
    isovae_error error;
    isovae_model *model = NULL;
    size_t length = 0;
    void *bytes = argc == 2 ? read_file(argv[1], &length) : NULL;
    if (!bytes) {
        fprintf(stderr, "usage: %s MODEL.safetensors\n", argv[0]);
        return 2;
    }
    isovae_status status = isovae_model_load_memory(bytes, length, &model, &error);
    free(bytes);
    if (status) return fail(&error);
    int code = run(model);
    isovae_model_free(model);
    return code;
}
