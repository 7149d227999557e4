/* Time for measuring how long something takes; never for what is computed. */
#ifndef IV_BASE_CLOCK_H
#define IV_BASE_CLOCK_H

/* Seconds since some moment in the past, monotonic. */
double iv_clock(void);

#endif
