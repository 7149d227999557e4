/* Flush-to-zero, set and put back. Numbers below the normal range cost a hundred times a normal
 * operation and carry nothing here. */
#include "kernels/kernels.h"

#if defined(__SSE2__)
#include <immintrin.h>

#define FLUSH 0x8040u /* results (FTZ) and operands (DAZ) */

unsigned iv_fp_enter(void)
{
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | FLUSH);
    return before;
}

void iv_fp_leave(unsigned before)
{
    /* Only the two bits: status flags and the host's own settings stay as they are. */
    _mm_setcsr((_mm_getcsr() & ~FLUSH) | (before & FLUSH));
}

#elif defined(__aarch64__)

#define FLUSH (UINT64_C(1) << 24) /* FPCR.FZ */

static uint64_t control_read(void)
{
    uint64_t value;
    __asm__ volatile("mrs %0, fpcr" : "=r"(value));
    return value;
}

static void control_write(uint64_t value)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(value));
}

unsigned iv_fp_enter(void)
{
    uint64_t before = control_read();
    control_write(before | FLUSH);
    return (before & FLUSH) != 0;
}

void iv_fp_leave(unsigned before)
{
    uint64_t now = control_read();
    control_write(before ? now | FLUSH : now & ~FLUSH);
}

#else

unsigned iv_fp_enter(void)
{
    return 0;
}
void iv_fp_leave(unsigned before)
{
    (void)before;
}

#endif
