/* The loops of peak.h, built once for each instruction set. PEAK_WIDTH: floats in a register;
 * PEAK_CHAINS: sums that run side by side, enough to hide the latency and few enough for the
 * registers; PEAK_MADD(a, b, c). */
#include "peak.h"

#if defined(__x86_64__)
#define PEAK_REGISTER "+x"
#elif defined(__aarch64__)
#define PEAK_REGISTER "+w"
#else
#define PEAK_REGISTER "+m"
#endif

typedef float lanes __attribute__((vector_size(4 * PEAK_WIDTH)));

static double fma_loop(size_t rounds, float *sink)
{
    lanes sum[PEAK_CHAINS], scale, step;
    for (int l = 0; l < PEAK_WIDTH; l++) {
        scale[l] = 0.999f;
        step[l] = 0.001f;
    }
    for (int i = 0; i < PEAK_CHAINS; i++) sum[i] = scale * (float)i;
    /* The compiler may not know what the factors are, nor fold the rounds. */
    __asm__ volatile("" : PEAK_REGISTER(scale), PEAK_REGISTER(step));
    for (size_t r = 0; r < rounds; r++) {
#pragma GCC unroll 32
        for (int i = 0; i < PEAK_CHAINS; i++) sum[i] = PEAK_MADD(sum[i], scale, step);
    }
    lanes all = sum[0];
    for (int i = 1; i < PEAK_CHAINS; i++) all += sum[i];
    *sink = all[0];
    return 2.0 * (double)rounds * PEAK_CHAINS * PEAK_WIDTH;
}

static void read_loop(const float *memory, size_t bytes, float *sink)
{
    enum { SUMS = 8 };
    const lanes *at = (const lanes *)memory;
    lanes sum[SUMS] = {{0}};
    size_t count = bytes / sizeof(lanes);
    for (size_t i = 0; i < count; i += SUMS) {
#pragma GCC unroll 8
        for (size_t j = 0; j < SUMS; j++) sum[j] += at[i + j];
    }
    lanes all = sum[0];
    for (int j = 1; j < SUMS; j++) all += sum[j];
    *sink = all[0];
}

const peak_loops PEAK_NAME = {fma_loop, read_loop};
