#include <immintrin.h>

#define PEAK_NAME peak_avx2
#define PEAK_WIDTH 8
#define PEAK_CHAINS 12
#define PEAK_MADD(a, b, c) ((lanes)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#include "peak.inc.h"
