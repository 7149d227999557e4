/* Arrays on a backend, for tests of what stands on kernels. */
#ifndef SUPPORT_BACKEND_H
#define SUPPORT_BACKEND_H

#include "support_npz.h"

#include "kernels/kernels.h"

/* n elements with these values, or zeros where they are NULL. */
static inline void *up(const iv_kernels *k, const double *values, size_t n)
{
    void *out;
    assert_int_equal(k->alloc(&out, n, "a test", NULL), ISOVAE_OK);
    if (values != NULL) k->upload(out, values, n);
    return out;
}

/* Downloads, compares, releases. */
static inline void check(const iv_kernels *k, const char *what, void *got, const double *want,
                         size_t n, double tolerance)
{
    double *values = calloc(n, sizeof *values);
    assert_non_null(values);
    k->download(values, got, n);
    assert_near(what, values, want, n, tolerance);
    free(values);
    k->release(got);
}

#endif
