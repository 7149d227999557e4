/* x86-64 without extensions has no fused multiply-add: a multiplication and an addition. */
#if defined(__aarch64__)
#include <arm_neon.h>
#define PEAK_MADD(a, b, c) ((lanes)vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#define PEAK_CHAINS 24
#else
#define PEAK_MADD(a, b, c) ((a) * (b) + (c))
#define PEAK_CHAINS 12
#endif
#define PEAK_NAME peak_baseline
#define PEAK_WIDTH 4
#include "peak.inc.h"
