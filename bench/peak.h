/* What the machine can do at most, measured with the instruction set of the kernels. */
#ifndef BENCH_PEAK_H
#define BENCH_PEAK_H

#include <stddef.h>

typedef struct peak_loops {
    /* Multiply-adds on registers alone: performs them and returns how many floating-point
     * operations (two each, on every lane) that were. `sink` keeps the result alive. */
    double (*fma)(size_t rounds, float *sink);
    /* Reads `bytes` (a multiple of 1,024) of memory aligned to 64 bytes. */
    void (*read)(const float *memory, size_t bytes, float *sink);
} peak_loops;

extern const peak_loops peak_baseline;
#if defined(__x86_64__)
extern const peak_loops peak_avx2, peak_avx512;
#endif

#endif
