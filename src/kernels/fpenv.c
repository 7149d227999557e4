/* The floating-point state of a computation, set and put back. Numbers below the normal range cost
 * a hundred times a normal operation and carry nothing here, so they are flushed to zero; and the
 * rounding mode and traps of a host program must neither change results nor stop them. */
#include "kernels/kernels.h"

#if defined(__SSE2__)
#include <immintrin.h>

#define FLUSH 0x8040u   /* results (FTZ) and operands (DAZ) */
#define DEFAULT 0x1f80u /* to nearest, all exceptions masked, no status flag */

unsigned iv_fp_enter(void)
{
    unsigned before = _mm_getcsr();
    _mm_setcsr(DEFAULT | FLUSH);
    return before;
}

void iv_fp_leave(unsigned before)
{
    _mm_setcsr(before); /* status flags too: the host sees none that it did not raise */
}

#elif defined(__aarch64__)

#define FLUSH (UINT64_C(1) << 24) /* FPCR.FZ; all other bits 0: to nearest, no traps */

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
    control_write(FLUSH);
    return (unsigned)before; /* the upper half is reserved */
}

void iv_fp_leave(unsigned before)
{
    control_write(before);
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
