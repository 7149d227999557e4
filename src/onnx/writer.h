/* An ONNX file in the making: operators put one behind the other, by the names of their tensors.
 *
 * Nothing here returns a status: the first failure stays in the writer, later calls do nothing and
 * give "", and iv_writer_save returns it. All memory is the writer's. Tensors have the batch as
 * axis 0; shapes below are those of rows, as in graph.h. */
#ifndef IV_ONNX_WRITER_H
#define IV_ONNX_WRITER_H

#include "graph/graph.h"

typedef struct iv_writer iv_writer;

/* The operator set that files are written in. 17 is the first with LayerNormalization, and runtimes
 * have had it since 2022; nothing that a network needs came later and cannot be composed. */
enum { IV_ONNX_OPSET = 17 };

typedef enum iv_tensor_type {
    IV_TENSOR_FLOAT = 1,
    IV_TENSOR_INT64 = 7,
    IV_TENSOR_BOOL = 9,
    IV_TENSOR_DOUBLE = 11
} iv_tensor_type;

isovae_status iv_writer_new(iv_writer **out, isovae_error *err) ISOVAE_MUST_CHECK;
void iv_writer_free(iv_writer *w); /* NULL is fine */
/* Fails for good, if nothing has failed before. */
void iv_writer_fail(iv_writer *w, isovae_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool iv_writer_ok(const iv_writer *w);
isovae_status iv_writer_status(const iv_writer *w);
/* Goes before the names of tensors made from now on ("encoder/"); kept, not copied. */
void iv_writer_scope(iv_writer *w, const char *scope);

/* What the file takes and gives. An output's tensor takes the name over. */
const char *iv_writer_input(iv_writer *w, const char *name, const iv_shape *shape);
void iv_writer_output(iv_writer *w, const char *name, const char *tensor, const iv_shape *shape,
                      const char *says);
void iv_writer_metadata(iv_writer *w, const char *key, const char *value);

/* An operator with one output. Inputs up to the first NULL are given; "" is an absent one. */
const char *iv_writer_op(iv_writer *w, const char *op, ...) __attribute__((sentinel));
void iv_writer_ops(iv_writer *w, const char *op, size_t n_in, const char *const *in, size_t n_out,
                   const char **out);
/* Attributes of the operator that was put last. */
void iv_writer_int(iv_writer *w, const char *name, int64_t value);
void iv_writer_ints(iv_writer *w, const char *name, size_t n, const int64_t *values);
void iv_writer_float(iv_writer *w, const char *name, double value);
void iv_writer_text(iv_writer *w, const char *name, const char *value);

/* Constants. A name of NULL is made up. */
const char *iv_writer_tensor(iv_writer *w, const char *name, const iv_shape *shape,
                             const double *values);
const char *iv_writer_tensor_f64(iv_writer *w, const iv_shape *shape, const double *values);
const char *iv_writer_number(iv_writer *w, double value);     /* float, rank 0 */
const char *iv_writer_number_f64(iv_writer *w, double value); /* double, rank 0 */
const char *iv_writer_whole(iv_writer *w, size_t n, const int64_t *values);
const char *iv_writer_flags(iv_writer *w, const iv_shape *shape, const bool *values);

/* The commonest. `lead`: extent of axis 0 and, with a `second` above 0, of an axis behind it: 0
 * copies it, -1 is what remains. */
const char *iv_writer_cast(iv_writer *w, const char *tensor, iv_tensor_type to);
const char *iv_writer_reshape(iv_writer *w, const char *tensor, int64_t lead, size_t second,
                              const iv_shape *row);
const char *iv_writer_unsqueeze(iv_writer *w, const char *tensor, int64_t axis);
/* Sum over an axis, which goes. */
const char *iv_writer_sum(iv_writer *w, const char *tensor, size_t n, const int64_t *axes);

/* The file, whole or not at all (base/file.h). */
isovae_status iv_writer_save(iv_writer *w, const char *path, isovae_error *err) ISOVAE_MUST_CHECK;

#endif
