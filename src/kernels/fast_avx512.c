/* Sixteen lanes in 32 registers. */
#if defined(__x86_64__) && defined(__AVX512F__) && defined(__AVX512BW__) &&                        \
    defined(__AVX512DQ__) && defined(__AVX512VL__) && defined(__FMA__)
#define IV_WIDTH 16
#define FAST_ISA "avx512"
#include "kernels/fast.inc.h"

const iv_kernels *iv_kernels_fast_avx512(void)
{
    return &fast_table;
}
#else
#include "kernels/tables.h"

const iv_kernels *iv_kernels_fast_avx512(void)
{
    return NULL;
}
#endif
