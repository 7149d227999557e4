/* Four lanes, which every x86-64 and every 64-bit ARM has; elsewhere the compiler makes do. */
#define IV_WIDTH 4
#define FAST_ISA "baseline"
#include "kernels/fast.inc.h"

const iv_kernels *iv_kernels_fast_baseline(void)
{
    return &fast_table;
}
