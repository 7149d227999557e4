/* The fast f32 table for vectors of IV_WIDTH lanes; FAST_ISA is its name. Included once by each
 * fast_ISA.c, which the build compiles with that instruction set's flags. */
#define T float
#define K(name) name##f
#include "kernels/plain.inc.h"
#include "kernels/ssim.inc.h"
#include "kernels/tables.h"

#include "kernels/lanes.inc.h"

#include "kernels/fast_elementwise.inc.h"
#include "kernels/fast_normals.inc.h"
#include "kernels/fast_product.inc.h"

static const iv_kernels fast_table = {
    .name = "f32",
    .isa = FAST_ISA,
    .dtype = IV_F32,
    .size = sizeof(float),
    .alloc = plain_alloc,
    .release = plain_release,
    .upload = plain_upload,
    .upload_f32 = plain_upload_f32,
    .download = plain_download,
    .download_f32 = plain_download_f32,
    .pack_size = fast_pack_size,
    .pack = fast_pack,
    .product = fast_product,
    .product_masked = fast_product_masked,
    .fill = plain_fill,
    .add = plain_add,
    .axpy = plain_axpy,
    .multiply = plain_multiply,
    .multiply_add = plain_multiply_add,
    .copy_block = plain_copy_block,
    .reorder = plain_reorder,
    .gather = plain_gather,
    .act_forward = fast_act_forward,
    .act_derivative = fast_act_derivative,
    .act_reverse = fast_act_reverse,
    .column_sums = fast_column_sums,
    .normals = fast_normals,
    .sample = fast_sample,
    .heads_reverse = fast_heads_reverse,
    .kl_rows = fast_kl_rows,
    .sse_rows = fast_sse_rows,
    .sse_gradient = plain_sse_gradient,
    .norm_rows = fast_norm_rows,
    .scale_rows = plain_scale_rows,
    .scale_columns = plain_scale_columns,
    .bce_rows = fast_bce_rows,
    .bce_gradient = fast_bce_gradient,
    .entropy_rows = fast_entropy_rows,
    .bce_pair_rows = fast_bce_pair_rows,
    .bce_pair_gradient = fast_bce_pair_gradient,
    .bce_metric = fast_bce_metric,
    .student_rows = fast_student_rows,
    .student_gradient = plain_student_gradient,
    .residual_columns = plain_residual_columns,
    .student_columns = plain_student_columns,
    .ssim_scratch = plain_ssim_scratch,
    .ssim_rows = plain_ssim_rows,
    .ssim_gradient = plain_ssim_gradient,
    .ssim_metric = plain_ssim_metric,
    .gram = fast_gram,
    .adam = plain_adam,
    .sum_squares = fast_sum_squares,
    CHANNEL_KERNELS,
    GENERAL_KERNELS,
    POOL_KERNELS,
};
