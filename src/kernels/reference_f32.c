/* The reference table in single precision. */
#define T float
#define K(name) name##f
#include "kernels/reference.inc.h"

const iv_kernels iv_kernels_f32_reference = REFERENCE_TABLE("f32-reference", IV_F32);
