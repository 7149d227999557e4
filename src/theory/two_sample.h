/* Whether two samples come from one distribution. Three tests that need no model of it: a shift, a
 * change of spread, any change at all; and Holm's correction for many of them. Samples are taken as
 * independent rows. */
#ifndef IV_THEORY_TWO_SAMPLE_H
#define IV_THEORY_TWO_SAMPLE_H

#include "base/order.h"
#include "base/status.h"

#include <stddef.h>

typedef enum iv_two_sample_test {
    IV_TEST_SHIFT = 0,  /* Mann and Whitney 1947: midranks, variance corrected for ties */
    IV_TEST_SPREAD = 1, /* the same on |x - median of both together|, larger = wider */
    IV_TEST_SHAPE = 2,  /* Kolmogorov and Smirnov */
    IV_TWO_SAMPLE_TESTS = 3
} iv_two_sample_test;
const char *iv_two_sample_name(iv_two_sample_test test); /* "shift", "spread", "shape" */

typedef struct iv_two_sample {
    size_t n[2];
    double mean[2], sd[2]; /* biased (1/N) */
    double shift;          /* (mean[1] - mean[0]) / sd[0]; infinite or NaN where sd[0] is 0 */
    double spread;         /* sd[1] / sd[0] */
    double distance;       /* largest difference of the two distribution functions */
    double p[IV_TWO_SAMPLE_TESTS];
} iv_two_sample;

/* P(K > lambda) of Kolmogorov's distribution. */
double iv_kolmogorov_tail(double lambda);
/* P(|Z| > |z|) of a standard normal. */
double iv_normal_two_sided(double z);

/* The tests of a (n values) against b (m values), all finite; `room` holds n + m things. p is 1
 * where nothing can be said (a sample is empty, all values are equal). */
void iv_two_sample_of(size_t n, const double *a, size_t m, const double *b, iv_ranked *room,
                      iv_two_sample *out);

/* Holm 1979: adjusted p values; rejecting those at or below alpha keeps the chance of any false
 * one at alpha, whatever hangs together. NaN stays NaN and is not counted. */
isovae_status iv_holm(size_t n, const double *p, double *adjusted,
                      isovae_error *err) ISOVAE_MUST_CHECK;

#endif
