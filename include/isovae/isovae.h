/* isovae: variational autoencoders, trained and explained in numbers.
 *
 * The one public header. Handles are opaque, configurations are plain structs filled by an init
 * function, every call returns a status and may explain itself in a caller-owned isovae_error.
 * The library never exits, aborts or prints, and holds no global state but the lock under which it
 * calls libhdf5, which has some of its own.
 *
 * libisovae-runtime is the same library without data readers, training and reports, for programs
 * that only run models (docs/service.md). Its package files define ISOVAE_RUNTIME_ONLY, which
 * leaves here what it has: status and version, models, scorers. */
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

/* Of numbers in the caller's memory. */
typedef enum isovae_dtype {
    ISOVAE_F32 = 0,
    ISOVAE_F64 = 1,
    ISOVAE_U8 = 2 /* isovae_data_from_array alone: kept as bytes, as those of a picture file */
} isovae_dtype;

/* Called now and then during long work, from the thread that called the library. Return 0 to
 * cancel: the call then ends with ISOVAE_ERR_CANCELLED. total is 0 where unknown. */
typedef int isovae_progress_fn(void *user, const char *stage, double done, double total);

#ifndef ISOVAE_RUNTIME_ONLY

/* ---- Context: threads, instruction set, progress -------------------------------------------- */

typedef struct isovae_context isovae_context;

typedef struct isovae_context_config {
    size_t struct_size; /* set by the init function: sizeof as the caller was compiled */
    size_t threads;     /* 0: one per processor; results are the same bytes for any number */
    const char *isa;    /* "baseline", "avx2" or "avx512"; NULL: what the environment variable
                           ISOVAE_ISA says, else the best there is */
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

/* A file, folder or built-in set, as the command takes it: "table.csv", "images.npz:KEY",
 * "faces.zip", "toy:norm,n=1000". columns, drop: "1-16" or "a,b,c", or NULL. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_data_open(isovae_context *context,
                                                            const char *spec, const char *columns,
                                                            const char *drop, isovae_data **out,
                                                            isovae_error *err);
/* The same with what else decides how data are read (docs/data.md). NULL and 0 are the defaults. */
typedef struct isovae_data_config {
    size_t struct_size;  /* set by the init function */
    const char *columns; /* as above */
    const char *drop;    /* as above */
    const char *size;    /* pictures: "64" or "64x48", height x width */
    const char *crop;    /* pictures: "none", "center" or "HEIGHT,WIDTH,TOP,LEFT" */
    int grey;            /* pictures: luma alone */
    int strict;          /* pictures: one that cannot be used is an error, else it is left out */
    const char *cache;   /* folder where row caches are kept */
    size_t memory;       /* rows above this many bytes lie in a row cache file */
} isovae_data_config;

ISOVAE_API void isovae_data_config_init_(isovae_data_config *config, size_t struct_size);
#define isovae_data_config_init(config) isovae_data_config_init_((config), sizeof *(config))

/* config may be NULL. Strings are only read during the call. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_data_open_config(isovae_context *context,
                                                                   const char *spec,
                                                                   const isovae_data_config *config,
                                                                   isovae_data **out,
                                                                   isovae_error *err);
/* A copy of rows x cols doubles, row-major; names: cols strings, or NULL. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_data_from_rows(const double *values, size_t rows,
                                                                 size_t cols,
                                                                 const char *const *names,
                                                                 isovae_data **out,
                                                                 isovae_error *err);
/* A column of words among the features: feature first + i is 1 in rows that have its value i, else
 * 0 (all of them 0: another value). */
typedef struct isovae_category {
    size_t first, n;
    const char *column;        /* what the table calls it */
    const char *const *values; /* n, different, ascending by their bytes */
} isovae_category;

/* The same from an array of any layout, and what there is to know of it. */
typedef struct isovae_rows_config {
    size_t struct_size;                /* set by the init function */
    const char *const *names;          /* of the columns, or NULL; only read during the call */
    size_t height, width, channels;    /* of rows that are pictures, channels fastest, with as many
                                          values as there are columns; height 0: they are none */
    const isovae_category *categories; /* columns of words, ascending by `first`; their features are
                                          called COLUMN=VALUE whatever names says */
    size_t n_categories;
} isovae_rows_config;

ISOVAE_API void isovae_rows_config_init_(isovae_rows_config *config, size_t struct_size);
#define isovae_rows_config_init(config) isovae_rows_config_init_((config), sizeof *(config))

/* A copy. Value i of row r is a float, double or byte (dtype) at `values` + r * row_stride + i *
 * column_stride bytes, of any alignment; strides may be negative; 0 stands for values, and rows,
 * one behind the other. config may be NULL. Errors: ISOVAE_ERR_DATA (no row or column; a value that
 * is NaN or not finite in single precision, with its row and column; features of a column of words
 * that are not one 1 among zeros), ISOVAE_ERR_ARGUMENT, ISOVAE_ERR_MEMORY. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status
isovae_data_from_array(const void *values, isovae_dtype dtype, size_t rows, size_t cols,
                       ptrdiff_t row_stride, ptrdiff_t column_stride,
                       const isovae_rows_config *config, isovae_data **out, isovae_error *err);
ISOVAE_API size_t isovae_data_rows(const isovae_data *data);
ISOVAE_API size_t isovae_data_cols(const isovae_data *data);
ISOVAE_API void isovae_data_free(isovae_data *data);

#endif

typedef struct isovae_model isovae_model;

#ifndef ISOVAE_RUNTIME_ONLY

/* ---- Training -------------------------------------------------------------------------------- */

/* A remark of the training for the user: a restart, all latents active. `text` lives for the call.
 */
typedef void isovae_note_fn(void *user, const char *text);

/* Zero, NaN and NULL mean the default (docs/defaults.md), which is the preset's where one is given.
 * A caller that was compiled against an older header has a shorter struct: what it lacks is
 * default.
 */
typedef struct isovae_fit_config {
    size_t struct_size;
    size_t latent_dim;
    double beta;            /* of the summed metric: D + beta KL; NaN: found from the data */
    const char *loss;       /* "sse", "bce", "weighted:...", "ssim", "sse:feature", "student" */
    const char *objective;  /* "conventional", "decomposed" */
    const char *arch;       /* "mlp:64,64" */
    const char *activation; /* "silu", "relu", ... */
    const char *scale;      /* "none", "standard", "minmax", "unit" */
    size_t steps, epochs;   /* at most one of them */
    size_t batch_size;
    double learning_rate;
    double validation; /* fraction of the rows */
    uint64_t seed;
    const char *preset;      /* "anomaly" */
    size_t ensemble;         /* networks in one model; scores are their means */
    const char *noise;       /* of sse: "common" or "feature" (learned) */
    double noise_floor;      /* share of the mean feature variance */
    double beta_floor;       /* likewise, under beta/2 where beta is found from the data */
    double beta_start;       /* beta at the first step */
    double kl_warmup;        /* share of the steps over which the KL term grows */
    double denoise;          /* SD of noise on the encoder's input, scaled units */
    double weight_decay;     /* decoupled */
    const char *lr_schedule; /* "cosine", "step", "constant", "linear" */
    size_t lr_warmup;        /* steps over which the rate grows */
    size_t patience;         /* validations without gain; "constant" and "step" only */
    const char *init;        /* "default", "multimodal" */
    int quick;               /* fewer steps where neither steps nor epochs are given */
    int no_restart;          /* do not start again where a run has folded */
    double max_seconds;      /* of training; 0: no limit */
    isovae_note_fn *note;    /* may be NULL */
    void *note_user;
    double noise_start; /* learned noise starts at this share of the mean feature variance */
    const isovae_data *validation_data; /* rows to hold out instead of a share, of the same columns;
                                           borrowed for the call, NULL: none */
    const char *init_from;              /* a model file whose weights are the start */
    const char *checkpoint; /* a file that is written now and then and when the call is cancelled;
                               where it is there already the training goes on from it; removed at
                               the end */
} isovae_fit_config;

ISOVAE_API void isovae_fit_config_init_(isovae_fit_config *config, size_t struct_size);
#define isovae_fit_config_init(config) isovae_fit_config_init_((config), sizeof *(config))

/* config may be NULL. The model is owned by the caller, immutable, and may be shared by threads
 * that have a context each. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_fit(isovae_context *context,
                                                      const isovae_data *data,
                                                      const isovae_fit_config *config,
                                                      isovae_model **out, isovae_error *err);

#endif

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
/* The bytes of that file, for isovae_model_load_memory; release with isovae_bytes_free. Equal
 * models give equal bytes. Errors: ISOVAE_ERR_MEMORY, ISOVAE_ERR_DIVERGED (a weight is not finite).
 */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_model_save_memory(const isovae_model *model,
                                                                    void **bytes, size_t *length,
                                                                    isovae_error *err);
ISOVAE_API void isovae_bytes_free(void *bytes); /* NULL is fine */
ISOVAE_API void isovae_model_free(isovae_model *model);
ISOVAE_API size_t isovae_model_features(const isovae_model *model);
ISOVAE_API size_t isovae_model_latents(const isovae_model *model);
/* Networks of an ensemble (isovae fit --ensemble), else 1. Scores and their quantiles are of all
 * members, the mean of their log densities; everything else here is about member 0. */
ISOVAE_API size_t isovae_model_members(const isovae_model *model);
ISOVAE_API size_t
isovae_model_active(const isovae_model *model); /* latents that carry information */
ISOVAE_API double isovae_model_beta(const isovae_model *model);
/* Var(y_j) + beta/2 of latent j in the metric's squared units, descending; NaN out of range. */
ISOVAE_API double isovae_model_variance(const isovae_model *model, size_t latent);
/* Name of a feature, owned by the model; NULL where there is none of that number or no name. */
ISOVAE_API const char *isovae_model_feature_name(const isovae_model *model, size_t feature);
/* The log density (default estimate, nats) below which the share p of held-out rows lies: the
 * threshold that flags such a share of rows like them. p from 0 to 1, linear between the quantiles
 * that the model stores; NaN where it stores none or p is outside. */
ISOVAE_API double isovae_model_quantile(const isovae_model *model, double p);
/* The other way: the share of held-out rows with a lower log density. NaN without quantiles or for
 * NaN. */
ISOVAE_API double isovae_tail_prob(const isovae_model *model, double log_density);

/* ---- Scorers: a model in a service (docs/service.md) ---------------------------------------- */

/* The workspace of one thread over a model that many threads share. Making one takes all the memory
 * that it needs; after that no call allocates, locks or starts a thread, and each restores the
 * thread's floating-point state (computation runs in the default one). A scorer serves one call at
 * a time. */
typedef struct isovae_scorer isovae_scorer;

/* Why a row has no result. Its results are NaN; other rows are not touched by it. */
typedef enum isovae_row_status {
    ISOVAE_ROW_OK = 0,
    ISOVAE_ROW_MISSING = 1,   /* a value is NaN */
    ISOVAE_ROW_NOT_FINITE = 2 /* a value is infinite */
} isovae_row_status;

typedef struct isovae_scorer_config {
    size_t struct_size;   /* set by the init function */
    const char *estimate; /* NULL: "elbo" (E6); "posterior" (E5), "logdet", "laplace" */
    size_t batch;         /* rows of one pass of a long call; 0: 64; fewer for large models */
    const char *isa;      /* NULL: the best there is; else as in isovae_context_config */
    isovae_progress_fn *progress; /* asked between the passes of a long call; may be NULL */
    void *user;
} isovae_scorer_config;

ISOVAE_API void isovae_scorer_config_init_(isovae_scorer_config *config, size_t struct_size);
#define isovae_scorer_config_init(config) isovae_scorer_config_init_((config), sizeof *(config))

/* config may be NULL for the defaults. The model is borrowed: free it after its scorers. Scorers of
 * one model share its weights. Any thread may make one, also while others score. Errors:
 * ISOVAE_ERR_ARGUMENT (an estimate or isa that is not known; a density on the manifold of a model
 * without active latents), ISOVAE_ERR_MEMORY, ISOVAE_ERR_VERSION. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_scorer_new(const isovae_model *model,
                                                             const isovae_scorer_config *config,
                                                             isovae_scorer **out,
                                                             isovae_error *err);
ISOVAE_API void isovae_scorer_free(isovae_scorer *scorer); /* NULL is fine */

/* In the calls below rows lie in the caller's memory: value i of row r is a float or double (dtype)
 * at `rows` + r * row_stride + i * column_stride bytes, of any alignment; strides may be negative;
 * 0 stands for values, and rows, one behind the other. Results are doubles without gaps, in the
 * order of the rows. row_status: n_rows of isovae_row_status, or NULL. Errors: ISOVAE_ERR_ARGUMENT;
 * ISOVAE_ERR_CANCELLED by the callback: passes before it are done, what follows is as it was. */

/* Log density of each row in nats and data units (docs/theory.md E6, or the configured estimate);
 * higher is more probable; for float rows the bits that isovae_score gives. log_density: n_rows. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status
isovae_scorer_score(isovae_scorer *scorer, const void *rows, isovae_dtype dtype, size_t n_rows,
                    ptrdiff_t row_stride, ptrdiff_t column_stride, double *log_density,
                    unsigned char *row_status, isovae_error *err);
/* n_rows x latents each, any may be NULL: posterior mean and standard deviation, and y, in which
 * distances are distances in the data (E3; ISOVAE_ERR_UNSUPPORTED where the model has none). */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status
isovae_scorer_encode(isovae_scorer *scorer, const void *rows, isovae_dtype dtype, size_t n_rows,
                     ptrdiff_t row_stride, ptrdiff_t column_stride, double *mu, double *sigma,
                     double *y, unsigned char *row_status, isovae_error *err);
/* n_rows x features in data units, from rows of latents (values of z). */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status
isovae_scorer_decode(isovae_scorer *scorer, const void *latents, isovae_dtype dtype, size_t n_rows,
                     ptrdiff_t row_stride, ptrdiff_t column_stride, double *values,
                     unsigned char *row_status, isovae_error *err);

#ifndef ISOVAE_RUNTIME_ONLY

/* ---- What it says about data ---------------------------------------------------------------- */

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
/* rows x latents values of z from as many isometric coordinates y, the inverse of isovae_encode's:
 * exact but for rounding, constant sigma outside of what training saw. latents may be y itself.
 * Error: ISOVAE_ERR_UNSUPPORTED where the model has no such coordinates. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_from_isometric(const isovae_model *model,
                                                                 const double *y, size_t rows,
                                                                 double *latents,
                                                                 isovae_error *err);
/* rows x features doubles in data units: z of the prior, decoded; with noise != 0 the decoder's
 * noise, too (variance beta/2 in the metric for sse, what was learned for noise per feature and
 * student, a draw of 0 or 1 for bce; ISOVAE_ERR_UNSUPPORTED for other losses). Row r depends on
 * seed and r alone, and is the one of `isovae sample`. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_sample(isovae_context *context,
                                                         const isovae_model *model, uint64_t seed,
                                                         size_t rows, int noise, double *values,
                                                         isovae_error *err);

/* ---- Reports: one analysis, in many forms --------------------------------------------------- */

typedef struct isovae_report isovae_report;

typedef struct isovae_report_config {
    size_t struct_size;  /* set by the init function */
    const char *rows;    /* which: "auto" (NULL; the validation rows where the data are those of the
                            training, else all), "all", "train", "validation" */
    size_t iwae_draws;   /* of the importance-weighted estimate, 64, */
    size_t iwae_rows;    /* on so many rows, 1000 */
    int no_iwae;         /* leave it out */
    size_t member;       /* network of an ensemble */
    const char *command; /* for the provenance, or NULL */
    const double *labels; /* what is known of each row of the data, to tell how well each latent
                             knows it; NaN: unknown. A number (whole ones of at most 20 values are
                             classes), or a place in label_classes. NULL: none */
    const char *const *label_classes; /* n_label_classes names, or NULL */
    size_t n_label_classes;
    const char *label_name; /* what the report calls them; NULL: "labels" */
} isovae_report_config;

ISOVAE_API void isovae_report_config_init_(isovae_report_config *config, size_t struct_size);
#define isovae_report_config_init(config) isovae_report_config_init_((config), sizeof *(config))

/* config may be NULL. Context, model and data are borrowed: free them after the report. Errors:
 * ISOVAE_ERR_DATA where the columns are not the model's features or no row is left,
 * ISOVAE_ERR_ARGUMENT, ISOVAE_ERR_MEMORY, ISOVAE_ERR_CANCELLED. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status
isovae_report_new(isovae_context *context, const isovae_model *model, const isovae_data *data,
                  const isovae_report_config *config, isovae_report **out, isovae_error *err);
ISOVAE_API void isovae_report_free(isovae_report *report); /* NULL is fine */
typedef enum isovae_report_form {
    ISOVAE_REPORT_TEXT = 0, /* for a terminal of 80 columns */
    ISOVAE_REPORT_JSON = 1, /* "isovae-report/1", docs/report.schema.json */
    ISOVAE_REPORT_HTML = 2  /* one self-contained page */
} isovae_report_form;
/* Release *out with isovae_string_free. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_report_write(isovae_report *report,
                                                               isovae_report_form form, char **out,
                                                               isovae_error *err);
/* How each latent moves each feature, in the feature's units per standard deviation of y:
 * latents (in the model's order, that of isovae_encode) x features means and root mean squares over
 * the rows; either may be NULL. NaN for latents that are not active. */
ISOVAE_API void isovae_report_loadings(const isovae_report *report, double *mean, double *rms);

/* ---- Audits: a VAE that was trained elsewhere (docs/audit.md) -------------------------------- */

/* Networks as functions of the caller. Everything is in doubles, rows one behind the other; each
 * returns 0, or else the audit ends with ISOVAE_ERR_DATA. They are called by one thread at a time,
 * not always by the one that called the library. */
/* x (rows x features) -> mean and log variance of the posterior (rows x latents each) */
typedef int isovae_encode_fn(void *user, size_t rows, const double *x, double *mu, double *logvar);
/* z (rows x latents) -> reconstruction (rows x features; logits with bce) */
typedef int isovae_decode_fn(void *user, size_t rows, const double *z, double *out);
/* g (rows x features) -> J^T g (rows x latents), J the Jacobian of decode at each row's z */
typedef int isovae_pullback_fn(void *user, size_t rows, const double *z, const double *g,
                               double *out);
/* v (tangents x rows x latents) -> J v (tangents x rows x features) */
typedef int isovae_pushforward_fn(void *user, size_t rows, const double *z, size_t tangents,
                                  const double *v, double *out);

/* Either `encoder` (and `decoder`), or the functions. NULL, 0 and NaN are the defaults. */
typedef struct isovae_audit_config {
    size_t struct_size; /* set by the init function */
    /* ONNX files. Encoder alone: one file with the sampling inside. Decoder alone: what it says by
     * itself, on draws of N(0, I). */
    const char *encoder, *decoder;
    const char *mu, *logvar, *z, *reconstruction; /* names of tensors of the files */
    const char *head;   /* what the width is: "logvar", "logsigma", "variance", "sigma" */
    int width_first;    /* the width stands before the mean */
    int means_only;     /* of files: look at the means alone, as where they give no width */
    const char *layout; /* of pictures in the networks: "NCHW" or "NHWC" */
    int as_is;          /* rows are the networks' values already: else pictures go to 0..1, or */
    double input_low, input_high;   /* the networks' values for 0 and 255 (or 1) of the data */
    double output_low, output_high; /* the decoder's range, where it is another one */
    size_t n_channels;              /* of mean and sd: 1, or as many as pictures have, 4 at most */
    const double *mean, *sd;        /* (x - mean)/sd after that */
    size_t latents;                 /* of the functions, which see rows as they are */
    isovae_encode_fn *encode;
    isovae_decode_fn *decode;
    isovae_pullback_fn *pullback;
    isovae_pushforward_fn *pushforward;
    void *networks;           /* their first argument */
    int convolutional;        /* they hold convolutions: what PCA keeps is no bar for such */
    const char *const *notes; /* of how the networks were read, for the report */
    size_t n_notes;
    const char *loss;       /* "sse" (NULL), "bce", ... */
    double beta;            /* the weight of the KL term in the training's loss; NaN: estimated */
    const char *loss_scale; /* of that loss: "sum" (NULL), "mean", "half-sum", "half-mean" */
    const char *kl_scale;   /* "sum" (NULL), "mean" */
    uint64_t seed;          /* of draws from the posterior */
    size_t iwae_draws;      /* of the importance-weighted estimate, 64, */
    size_t iwae_rows;       /* on so many rows, 1000 */
    int no_iwae;            /* leave it out */
    const char *command;    /* for the provenance, or NULL */
} isovae_audit_config;

ISOVAE_API void isovae_audit_config_init_(isovae_audit_config *config, size_t struct_size);
#define isovae_audit_config_init(config) isovae_audit_config_init_((config), sizeof *(config))

/* Rows like those of the training; of a decoder alone may be NULL. Context and data are borrowed,
 * and functions too (a page with pictures decodes some): free them after the report. Texts are only
 * read during the call. Errors: ISOVAE_ERR_ARGUMENT; ISOVAE_ERR_FORMAT and ISOVAE_ERR_UNSUPPORTED
 * name file and node; ISOVAE_ERR_DATA, ISOVAE_ERR_MEMORY, ISOVAE_ERR_CANCELLED. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_audit(isovae_context *context,
                                                        const isovae_data *data,
                                                        const isovae_audit_config *config,
                                                        isovae_report **out, isovae_error *err);

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

/* ---- Questions: one answer, in many forms --------------------------------------------------- */

/* What a question below came to. */
typedef struct isovae_answer isovae_answer;
/* As isovae_report_write; ISOVAE_ERR_UNSUPPORTED for the page of drift, which has none. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_answer_write(const isovae_answer *answer,
                                                               isovae_report_form form, char **out,
                                                               isovae_error *err);
ISOVAE_API void isovae_answer_free(isovae_answer *answer); /* NULL is fine */

/* Which beta, how many latents (docs/sweep.md). Zero, NaN and NULL mean the default. */
typedef struct isovae_sweep_config {
    size_t struct_size;        /* set by the init function */
    const char *target;        /* "psnr=25", "rmse=", "r2=", "rate=", "active="; NULL: calibrated */
    size_t points;             /* betas; 16 */
    size_t steps;              /* of a training, two a beta */
    size_t seeds;              /* sweeps; 1 */
    double beta_from, beta_to; /* the largest and the smallest beta */
    int no_retrain;            /* no cold training of the chosen beta */
    const char *state; /* a file where what is finished is kept when the call is cancelled; where it
                          is there already the sweep goes on from it; removed at the end */
} isovae_sweep_config;

ISOVAE_API void isovae_sweep_config_init_(isovae_sweep_config *config, size_t struct_size);
#define isovae_sweep_config_init(config) isovae_sweep_config_init_((config), sizeof *(config))

/* `fit` is what each training is told (its beta, steps and checkpoint are not looked at); both
 * configurations may be NULL. *model, unless `model` is NULL: that of the cold training, the
 * caller's; NULL where there was none. That a target is not reached is no error: the JSON says so
 * (answer: found, reached). */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_sweep(isovae_context *context,
                                                        const isovae_data *data,
                                                        const isovae_fit_config *fit,
                                                        const isovae_sweep_config *config,
                                                        isovae_answer **out, isovae_model **model,
                                                        isovae_error *err);

/* Which latents are found again by other seeds (docs/stability.md). */
typedef struct isovae_stability_config {
    size_t struct_size; /* set by the init function */
    size_t runs;        /* 10; their seeds count up from that of `fit` */
    double match;       /* |correlation| from which a latent counts as found; NaN: 0.9 */
    int same_split;     /* all runs hold out the rows of the first */
    const char *folder; /* is there, and keeps the models of all runs: those that are there are not
                           made again; NULL: one that is removed at the end */
} isovae_stability_config;

ISOVAE_API void isovae_stability_config_init_(isovae_stability_config *config, size_t struct_size);
#define isovae_stability_config_init(config)                                                       \
    isovae_stability_config_init_((config), sizeof *(config))

/* Likewise; *model is that of the run that agrees best with the others. ISOVAE_ERR_DIVERGED where
 * every run did. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status
isovae_stability(isovae_context *context, const isovae_data *data, const isovae_fit_config *fit,
                 const isovae_stability_config *config, isovae_answer **out, isovae_model **model,
                 isovae_error *err);

/* Whether `fresh` rows are unlike those of `reference`, as the model sees them (docs/drift.md);
 * alpha: the chance of an alarm where nothing has changed, above 0 and below 1. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_drift(isovae_context *context,
                                                        const isovae_model *model,
                                                        const isovae_data *reference,
                                                        const isovae_data *fresh, double alpha,
                                                        isovae_answer **out, isovae_error *err);

/* Why rows score low: contributions in nats, which sum to residual/beta over the features and to
 * the KL divergence over the latents. feature: rows x features, latent: rows x latents.
 * ISOVAE_ERR_UNSUPPORTED for ssim. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_explain(isovae_context *context,
                                                          const isovae_model *model,
                                                          const isovae_data *data, double *feature,
                                                          double *latent, isovae_error *err);

typedef struct isovae_pruned {
    size_t latents, kept;
    size_t parameters, kept_parameters;
    size_t rows;                               /* that were looked at; 0: the three below are NaN */
    double change_rms, change_most, output_sd; /* of Dec(mu), data units: root mean square and
                                                  largest change, and how much it varies */
} isovae_pruned;

/* A model without the latents that carry nothing; *out is the caller's. The mean of each goes into
 * the decoder's biases: over the rows of `data`, or where that is NULL as training stored it.
 * `about` may be NULL. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_prune(isovae_context *context,
                                                        const isovae_model *model,
                                                        const isovae_data *data, isovae_model **out,
                                                        isovae_pruned *about, isovae_error *err);

/* encoder.onnx, decoder.onnx and scorer.onnx into a folder, made where absent (docs/export.md); of
 * an ensemble the first two into a folder for each member. *reason (isovae_string_free), unless
 * `reason` is NULL: why there is no scorer.onnx, NULL where there is one. ISOVAE_ERR_UNSUPPORTED
 * where the library was built without ONNX. */
ISOVAE_API ISOVAE_MUST_CHECK isovae_status isovae_export_onnx(const isovae_model *model,
                                                              const char *folder, char **reason,
                                                              isovae_error *err);

#endif

#ifdef __cplusplus
}
#endif
#endif
