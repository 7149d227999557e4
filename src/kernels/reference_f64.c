/* The reference table in double precision. */
#define T double
#define K(name) name
#include "kernels/reference.inc.h"

const iv_kernels iv_kernels_f64_reference = REFERENCE_TABLE("f64-reference", IV_F64);
