/* Which table serves a precision on this processor. */
#include "kernels/tables.h"

#include <stdlib.h>
#include <string.h>

static const iv_kernels *fast_avx512(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("fma"))
        return iv_kernels_fast_avx512();
#endif
    return NULL;
}

static const iv_kernels *fast_avx2(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return iv_kernels_fast_avx2();
#endif
    return NULL;
}

static const iv_kernels *fast(const char *isa)
{
    const iv_kernels *table = NULL;
    if (!isa || strcmp(isa, "avx512") == 0) table = fast_avx512();
    if (!table && (!isa || strcmp(isa, "avx2") == 0)) table = fast_avx2();
    if (!table && (!isa || strcmp(isa, "baseline") == 0)) table = iv_kernels_fast_baseline();
    return table;
}

const char *iv_kernels_pinned(void)
{
    const char *isa = getenv("ISOVAE_ISA");
    return isa && *isa ? isa : NULL;
}

const iv_kernels *iv_kernels_get(iv_precision precision, const char *isa)
{
    switch (precision) {
    case IV_PRECISION_F32: return fast(isa ? isa : iv_kernels_pinned());
    case IV_PRECISION_F32_REFERENCE: return &iv_kernels_f32_reference;
    case IV_PRECISION_F64_REFERENCE: return &iv_kernels_f64_reference;
    }
    return NULL;
}
