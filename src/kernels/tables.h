/* The tables that this build holds; table.c chooses among them. */
#ifndef IV_KERNELS_TABLES_H
#define IV_KERNELS_TABLES_H

#include "kernels/kernels.h"

extern const iv_kernels iv_kernels_f32_reference;
extern const iv_kernels iv_kernels_f64_reference;

/* The fast tables; NULL where the file was compiled without the instruction set. */
const iv_kernels *iv_kernels_fast_baseline(void);
const iv_kernels *iv_kernels_fast_avx2(void);
const iv_kernels *iv_kernels_fast_avx512(void);

/* Where x multiplies a factor that has vanished at this distance from zero it is held there, so
 * that infinity times zero is not formed. */
#define IV_SILU_LIMIT 800.0
#define IV_GELU_LIMIT 40.0

#endif
