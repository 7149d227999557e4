/* Eight lanes with fused multiply-add: x86-64 from 2013 on. */
#if defined(__x86_64__) && defined(__AVX2__) && defined(__FMA__)
#define IV_WIDTH 8
#define FAST_ISA "avx2"
#include "kernels/fast.inc.h"

const iv_kernels *iv_kernels_fast_avx2(void)
{
    return &fast_table;
}
#else
#include "kernels/tables.h"

const iv_kernels *iv_kernels_fast_avx2(void)
{
    return NULL;
}
#endif
