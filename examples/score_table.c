/* Trains on a table (or a built-in set), keeps the model, and prints the least probable rows.
 *
 *   score_table DATA MODEL.safetensors
 */
#include <isovae/isovae.h>

#include <stdio.h>
#include <stdlib.h>

static int fail(const isovae_error *error)
{
    fprintf(stderr, "%s\n", error->message);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s DATA MODEL.safetensors\n", argv[0]);
        return 2;
    }
    isovae_error error = {0};
    isovae_context *context = NULL;
    isovae_data *data = NULL;
    isovae_model *model = NULL;
    double *log_density = NULL;
    int status = 0;

    isovae_fit_config config;
    isovae_fit_config_init(&config);
    config.steps = 3000;
    if (isovae_context_new(NULL, &context, &error) ||
        isovae_data_open(context, argv[1], NULL, NULL, &data, &error) ||
        isovae_fit(context, data, &config, &model, &error) ||
        isovae_model_save(model, argv[2], &error)) {
        status = fail(&error);
        goto done;
    }
    printf("%zu of %zu latents carry information\n", isovae_model_active(model),
           isovae_model_latents(model));

    size_t rows = isovae_data_rows(data), least = 0;
    log_density = malloc(rows * sizeof *log_density);
    if (!log_density) {
        status = 1;
        goto done;
    }
    if (isovae_score(context, model, data, log_density, &error)) {
        status = fail(&error);
        goto done;
    }
    for (size_t r = 1; r < rows; r++)
        if (log_density[r] < log_density[least]) least = r;
    printf("the least probable row is row %zu, with log density %.3f nats\n", least + 1,
           log_density[least]);
done:
    free(log_density);
    isovae_model_free(model);
    isovae_data_free(data);
    isovae_context_free(context);
    return status;
}
