/* isovae: variational autoencoders, trained and explained in numbers.
 *
 * The one public header. Handles are opaque, configurations are plain structs filled by an init
 * function, every call returns a status and may explain itself in a caller-owned isovae_error.
 * The library never exits, aborts or prints, and holds no global state. */
#ifndef ISOVAE_ISOVAE_H
#define ISOVAE_ISOVAE_H

#include <stddef.h>
#include <stdint.h>

#define ISOVAE_VERSION_MAJOR 0
#define ISOVAE_VERSION_MINOR 1
#define ISOVAE_VERSION_PATCH 0
#define ISOVAE_VERSION "0.1.0"

/* Changes whenever a public struct or the meaning of a call does. */
#define ISOVAE_ABI 1

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ISOVAE_API __attribute__((visibility("default")))
#define ISOVAE_MUST_CHECK __attribute__((warn_unused_result))
#else
#define ISOVAE_API
#define ISOVAE_MUST_CHECK
#endif

/* What a call came to. The values are pinned: they never change meaning. */
typedef enum isovae_status {
    ISOVAE_OK = 0,
    ISOVAE_ERR_ARGUMENT = 1,    /* an option or argument is out of its range */
    ISOVAE_ERR_DATA = 2,        /* a data file cannot be used as it is */
    ISOVAE_ERR_FORMAT = 3,      /* a model file is damaged or not one */
    ISOVAE_ERR_VERSION = 4,     /* a file or caller of a newer version */
    ISOVAE_ERR_MEMORY = 5,      /* out of memory, or a size beyond the address space */
    ISOVAE_ERR_IO = 6,          /* the system refused a read or write */
    ISOVAE_ERR_DIVERGED = 7,    /* training did not reach what was asked */
    ISOVAE_ERR_CANCELLED = 8,   /* the progress callback asked to stop */
    ISOVAE_ERR_UNSUPPORTED = 9, /* a known thing that this build cannot do */
    ISOVAE_ERR_INTERNAL = 10    /* a broken promise inside the library: please report it */
} isovae_status;

/* Owned by the caller; may be NULL wherever it is taken. `message` names the file, line, column,
 * tensor or option, and says what to do. */
typedef struct isovae_error {
    isovae_status status;
    char message[1024];
} isovae_error;

/* Static text for a status, never NULL. */
ISOVAE_API const char *isovae_status_name(isovae_status status);
ISOVAE_API const char *isovae_version(void);

/* ---- Context: threads, instruction set, progress -------------------------------------------- */

typedef struct isovae_context isovae_context;

/* Called now and then during long work, from the thread that called the library. Return 0 to
 * cancel: the call then ends with ISOVAE_ERR_CANCELLED. total is 0 where unknown. */
typedef int isovae_progress_fn(void *user, const char *stage, double done, double total);

typedef struct isovae_context_config {
    size_t struct_size;   /* set by the init function: sizeof as the caller was compiled */
    size_t threads;       /* 0: one per processor; results are the same bytes for any number */
    const char *isa;      /* NULL: the best there is; "baseline", "avx2", "avx512" pin one */
    isovae_progress_fn *progress;
    void *user;
} isovae_context_config;

ISOVAE_API void isovae_context_config_init_(isovae_context_config *config, size_t struct_size);
#define isovae_context_config_init(config) isovae_context_config_init_((config), sizeof *(config))

/* config may be NULL for the defaults. A context serves one call at a time. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_context_new(const isovae_context_config *config,
                                                              isovae_context **out,
                                                              isovae_error *err);
ISOVAE_API void isovae_context_free(isovae_context *context); /* NULL is fine */

/* ---- Data ------------------------------------------------------------------------------------ */

typedef struct isovae_data isovae_data;

/* A file or built-in set, as the command takes it: "table.csv", "images.npz:KEY", "toy:norm,n=1000".
 * columns, drop: "1-16" or "a,b,c", or NULL. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_data_open(isovae_context *context,
                                                            const char *spec, const char *columns,
                                                            const char *drop, isovae_data **out,
                                                            isovae_error *err);
/* A copy of rows x cols doubles, row-major; names: cols strings, or NULL. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_data_from_rows(const double *values, size_t rows,
                                                                 size_t cols,
                                                                 const char *const *names,
                                                                 isovae_data **out,
                                                                 isovae_error *err);
ISOVAE_API size_t isovae_data_rows(const isovae_data *data);
ISOVAE_API size_t isovae_data_cols(const isovae_data *data);
ISOVAE_API void isovae_data_free(isovae_data *data);

/* ---- Training -------------------------------------------------------------------------------- */

typedef struct isovae_model isovae_model;

/* Zero, NaN and NULL mean the default (docs/defaults.md). */
typedef struct isovae_fit_config {
    size_t struct_size;
    size_t latent_dim;
    double beta;           /* of the summed metric: D + beta KL; NaN: found from the data */
    const char *loss;      /* "sse", "bce", "weighted:..." */
    const char *objective; /* "conventional", "decomposed" */
    const char *arch;      /* "mlp:64,64" */
    const char *activation; /* "silu", "relu", ... */
    const char *scale;     /* "none", "standard", "minmax", "unit" */
    size_t steps, epochs;  /* at most one of them */
    size_t batch_size;
    double learning_rate;
    double validation;     /* fraction of the rows */
    uint64_t seed;
} isovae_fit_config;

ISOVAE_API void isovae_fit_config_init_(isovae_fit_config *config, size_t struct_size);
#define isovae_fit_config_init(config) isovae_fit_config_init_((config), sizeof *(config))

/* config may be NULL. The model is owned by the caller, immutable, and may be shared by threads that
 * have a context each. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_fit(isovae_context *context,
                                                      const isovae_data *data,
                                                      const isovae_fit_config *config,
                                                      isovae_model **out, isovae_error *err);

/* ---- Models ---------------------------------------------------------------------------------- */

ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_model_load(const char *path, isovae_model **out,
                                                             isovae_error *err);
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_model_load_memory(const void *bytes,
                                                                    size_t length,
                                                                    isovae_model **out,
                                                                    isovae_error *err);
/* Replaces the file whole or not at all. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_model_save(const isovae_model *model,
                                                             const char *path, isovae_error *err);
ISOVAE_API void isovae_model_free(isovae_model *model);
ISOVAE_API size_t isovae_model_features(const isovae_model *model);
ISOVAE_API size_t isovae_model_latents(const isovae_model *model);
ISOVAE_API size_t isovae_model_active(const isovae_model *model); /* latents that carry information */
ISOVAE_API double isovae_model_beta(const isovae_model *model);
/* Var(y_j) + beta/2 of latent j in the metric's squared units, descending; NaN out of range. */
ISOVAE_API double isovae_model_variance(const isovae_model *model, size_t latent);

/* ---- What it says about data ------------------------------------------------------------------ */

/* Log density of each row in nats and data units (docs/theory.md E6); higher is more probable.
 * log_density: rows doubles; NaN for a row that could not be used. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_score(isovae_context *context,
                                                        const isovae_model *model,
                                                        const isovae_data *data,
                                                        double *log_density, isovae_error *err);
/* rows x latents doubles: posterior means, or with isometric != 0 the coordinates y in which
 * distances are distances in the data (E3). */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_encode(isovae_context *context,
                                                         const isovae_model *model,
                                                         const isovae_data *data, int isometric,
                                                         double *latents, isovae_error *err);
/* rows x features doubles in data units from rows x latents values of z. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_decode(isovae_context *context,
                                                         const isovae_model *model,
                                                         const double *latents, size_t rows,
                                                         double *values, isovae_error *err);
/* The report as JSON text ("isovae-report/1") or as one HTML page; release with
 * isovae_string_free. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_report_json(isovae_context *context,
                                                              const isovae_model *model,
                                                              const isovae_data *data, char **out,
                                                              isovae_error *err);
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_report_html(isovae_context *context,
                                                              const isovae_model *model,
                                                              const isovae_data *data, char **out,
                                                              isovae_error *err);
ISOVAE_API void isovae_string_free(char *string);

#ifdef __cplusplus
}
#endif
#endif
