#include <immintrin.h>

#define PEAK_NAME peak_avx512
#define PEAK_WIDTH 16
#define PEAK_CHAINS 24
#define PEAK_MADD(a, b, c) ((lanes)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#include "peak.inc.h"
