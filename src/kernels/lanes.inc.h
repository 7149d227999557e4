/* Vectors of IV_WIDTH floats and the functions on them, written once for every instruction set with
 * the compiler's vector extensions. Intrinsics stand only where those have no word: fused
 * multiply-add, minimum, maximum, part of a vector in memory.
 *
 * Bounds are in units in the last place of the float result, over the whole range of x; they are
 * measured against double in tests/test_kernels.c. NaN gives NaN. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline, unused))

#define W IV_WIDTH
typedef float vf __attribute__((vector_size(4 * W)));
typedef float vf_anywhere __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * W)));
typedef float vh __attribute__((vector_size(2 * W))); /* half as many */
typedef float vh_anywhere __attribute__((vector_size(2 * W), aligned(4), may_alias));
typedef double vd __attribute__((vector_size(4 * W)));

INLINE vf load(const float *p)
{
    return *(const vf_anywhere *)p;
}
INLINE void store(float *p, vf v)
{
    *(vf_anywhere *)p = v;
}

#if W == 16

INLINE vf set1(float x)
{
    return (vf)_mm512_set1_ps(x);
}
INLINE vf madd(vf a, vf b, vf c)
{
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
INLINE vd madd_wide(vd a, vd b, vd c)
{
    return (vd)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
INLINE vf least(vf limit, vf x)
{
    return (vf)_mm512_min_ps((__m512)limit, (__m512)x);
}
INLINE vf greatest(vf limit, vf x)
{
    return (vf)_mm512_max_ps((__m512)limit, (__m512)x);
}
INLINE __mmask16 first(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}
INLINE vf load_some(const float *p, size_t n)
{
    return (vf)_mm512_maskz_loadu_ps(first(n), p);
}
INLINE void store_some(float *p, vf v, size_t n)
{
    _mm512_mask_storeu_ps(p, first(n), (__m512)v);
}
INLINE vf keep(vf v, size_t n)
{
    return (vf)_mm512_maskz_mov_ps(first(n), (__m512)v);
}

#elif W == 8

static const int32_t masks[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
INLINE vf set1(float x)
{
    return (vf)_mm256_set1_ps(x);
}
INLINE vf madd(vf a, vf b, vf c)
{
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
INLINE vd madd_wide(vd a, vd b, vd c)
{
    return (vd)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
INLINE vf least(vf limit, vf x)
{
    return (vf)_mm256_min_ps((__m256)limit, (__m256)x);
}
INLINE vf greatest(vf limit, vf x)
{
    return (vf)_mm256_max_ps((__m256)limit, (__m256)x);
}
INLINE __m256i first(size_t n)
{
    return _mm256_loadu_si256((const __m256i *)(masks + 8 - n));
}
INLINE vf load_some(const float *p, size_t n)
{
    return (vf)_mm256_maskload_ps(p, first(n));
}
INLINE void store_some(float *p, vf v, size_t n)
{
    _mm256_maskstore_ps(p, first(n), (__m256)v);
}
INLINE vf keep(vf v, size_t n)
{
    return (vf)((vi)first(n) & (vi)v);
}

#else

INLINE vf set1(float x)
{
    return (vf){x, x, x, x};
}
#if defined(__aarch64__)
INLINE vf madd(vf a, vf b, vf c)
{
    return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
#else
INLINE vf madd(vf a, vf b, vf c)
{
    return a * b + c;
} /* two roundings: no such instruction */
#endif
INLINE vd madd_wide(vd a, vd b, vd c)
{
    return a * b + c;
}
INLINE vf load_some(const float *p, size_t n)
{
    vf v = {0};
    memcpy(&v, p, n * sizeof *p);
    return v;
}
INLINE void store_some(float *p, vf v, size_t n)
{
    memcpy(p, &v, n * sizeof *p);
}
INLINE vf keep(vf v, size_t n)
{
    return load_some((const float *)&v, n);
}
/* The second operand where either is NaN, as the x86 instructions do. */
INLINE vf least(vf limit, vf x)
{
    vi m = (vi)(limit < x);
    return (vf)((m & (vi)limit) | (~m & (vi)x));
}
INLINE vf greatest(vf limit, vf x)
{
    vi m = (vi)(limit > x);
    return (vf)((m & (vi)limit) | (~m & (vi)x));
}

#endif

/* n or all; the lanes beyond are zeros, and not stored */
INLINE vf load_up_to(const float *p, size_t n)
{
    return n >= W ? load(p) : load_some(p, n);
}
INLINE void store_up_to(float *p, vf v, size_t n)
{
    if (n >= W)
        store(p, v);
    else
        store_some(p, v, n);
}

INLINE vf choose(vi mask, vf a, vf b)
{
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}
INLINE vf absolute(vf x)
{
    return (vf)((vi)x & 0x7fffffff);
}
INLINE vf with_sign_of(vf x, vf sign)
{
    vi bit = (vi)set1(-0.0f);
    return (vf)((vi)x | ((vi)sign & bit));
}

/* c[0] + c[1] x + ... */
INLINE vf polynomial(const float *c, int degree, vf x)
{
    vf y = set1(c[degree]);
    for (int i = degree - 1; i >= 0; i--) y = madd(y, x, set1(c[i]));
    return y;
}

/* (e^r - 1 - r) / r^2 on |r| <= ln(2)/2, relative error 5e-9 of e^r */
static const float exp_terms[] = {5.000000000e-01f, 1.666651666e-01f, 4.166620225e-02f,
                                  8.369074203e-03f, 1.395080821e-03f};
/* (2 artanh(s)/s - 2) / s^2 in s^2, for |s| <= 1/3, relative error 2e-9 of the logarithm */
static const float log_terms[] = {6.666666865e-01f, 4.000005126e-01f, 2.856841087e-01f,
                                  2.230127901e-01f, 1.714952886e-01f, 2.178758085e-01f};
/* (a + 3) Phi(-a) e^(a^2/2) in t = (a - 3)/(a + 3), for 0 <= a <= 14.6 (beyond, e^(-a^2/2) is 0 in
 * single precision), relative error 6e-8 */
static const float tail_terms[] = {
    7.290837169e-01f, -5.093321800e-01f, 2.300176919e-01f,  -4.725815356e-02f, -1.046225801e-02f,
    6.937329192e-03f, 1.016388997e-03f,  -9.468281642e-04f, -2.029632305e-04f, 5.240151950e-05f};

#define LN2_HIGH 0.693359375f /* ln 2 in two parts; multiples of the first are exact */
#define LN2_LOW -2.12194440e-4f
#define LN2 0.69314718056f

/* x = n ln 2 + r; q is the polynomial above at r. */
typedef struct exp_parts {
    vf n, r, q;
} exp_parts;

/* x / ln 2, rounded to whole numbers; and what x has beside n ln 2 */
INLINE vf exp_whole(vf x)
{
    const vf shift = set1(12582912.0f); /* 1.5 * 2^23: adding it rounds */
    return madd(x, set1(1.44269504089f), shift) - shift;
}
INLINE vf exp_rest(vf x, vf n)
{
    return madd(n, set1(-LN2_LOW), madd(n, set1(-LN2_HIGH), x));
}

INLINE exp_parts exp_split(vf x)
{
    vf n = exp_whole(x), r = exp_rest(x, n);
    return (exp_parts){n, r, polynomial(exp_terms, 4, r)};
}

/* of hi + lo */
INLINE exp_parts exp_split_pair(vf hi, vf lo)
{
    vf n = exp_whole(hi + lo), r = exp_rest(hi, n) + lo;
    return (exp_parts){n, r, polynomial(exp_terms, 4, r)};
}

/* y 2^n for whole n from -150 to 128 */
INLINE vf times_power(vf y, vf n)
{
#if W == 16
    return (vf)_mm512_scalef_ps((__m512)y, (__m512)n);
#else
    /* In two factors, so that the ends of the range are reached by rounding. */
    vi whole = __builtin_convertvector(n, vi), half = whole >> 1;
    return y * (vf)((half + 127) << 23) * (vf)((whole - half + 127) << 23);
#endif
}

INLINE vf exp_join(exp_parts e)
{
    return times_power(madd(e.r * e.r, e.q, e.r) + set1(1.0f), e.n);
}

/* exp, 2 ULP; below the normal range to the nearest or, with flush-to-zero, zero */
INLINE vf exp_lanes(vf x)
{
    return exp_join(exp_split(least(set1(89.0f), greatest(set1(-104.0f), x))));
}

/* exp of x <= 0 */
INLINE vf exp_falling_lanes(vf x)
{
    return exp_join(exp_split(greatest(set1(-104.0f), x)));
}

/* e^x - 1 for x <= 88, 3 ULP: with t = 2^n it is t (r + r^2 q) + (t - 1) */
INLINE vf expm1_lanes(vf x)
{
    exp_parts e = exp_split(greatest(set1(-80.0f), x));
    vf t = times_power(set1(1.0f), e.n);
    return madd(t, madd(e.r * e.r, e.q, e.r), t - set1(1.0f));
}

/* e^x - 1 - x = t r^2 q + (t - 1)(1 + r) - n ln 2: keeps its digits where it vanishes */
INLINE vf exp_excess_lanes(vf x)
{
    vf held = least(set1(88.0f), greatest(set1(-80.0f), x));
    exp_parts e = exp_split(held);
    vf t = times_power(set1(1.0f), e.n);
    vf rest = madd(t - set1(1.0f), e.r, t - set1(1.0f)) - e.n * set1(LN2);
    return madd(t * (e.r * e.r), e.q, rest) + (held - x);
}

/* log(1 + e) with s = e / (2 + e) up to 1/3: 2 s + s^3 P(s^2), 3 ULP */
INLINE vf log1p_unit_lanes(vf e)
{
    vf s = e / (e + set1(2.0f));
    vf u = s * s;
    return madd(s * u, polynomial(log_terms, 5, u), s + s);
}

/* log of normal x > 0, or -inf for smaller ones, 3 ULP away from 1 */
INLINE vf log_lanes(vf x)
{
    vi bits = (vi)x;
    /* 2^n m with m from 0.7071 to 1.4142 */
    vi n = (bits - 0x3f3504f3) >> 23;
    vf m = (vf)(bits - (n << 23));
    vf s = (m - set1(1.0f)) / (m + set1(1.0f));
    vf u = s * s;
    vf k = __builtin_convertvector(n, vf);
    vf y = madd(s * u, polynomial(log_terms, 5, u), s + s);
    y = madd(k, set1(LN2_HIGH), madd(k, set1(LN2_LOW), y));
    return choose((vi)(x < set1(1.17549435e-38f)), set1(-__builtin_inff()), y);
}

/* Activations. Sigmoid, silu, softplus and tanh are good to 4 ULP, gelu and all slopes to 6;
 * a slope that passes through zero (silu, gelu) is so to 6 ULP of its terms. */

typedef struct logistic_parts {
    vf upper, lower; /* sigmoid(|x|), sigmoid(-|x|) */
} logistic_parts;

INLINE logistic_parts logistic_split(vf x)
{
    vf e = exp_falling_lanes(-absolute(x));
    vf upper = set1(1.0f) / (set1(1.0f) + e);
    return (logistic_parts){upper, e * upper};
}

INLINE vf logistic_lanes(vf x)
{
    logistic_parts s = logistic_split(x);
    return choose((vi)(x < set1(0.0f)), s.lower, s.upper);
}

INLINE vf logistic_slope_lanes(vf x)
{
    logistic_parts s = logistic_split(x);
    return s.lower * s.upper;
}

INLINE vf softplus_lanes(vf x)
{
    return greatest(set1(0.0f), x) + log1p_unit_lanes(exp_falling_lanes(-absolute(x)));
}

INLINE vf tanh_lanes(vf x)
{
    vf a = least(set1(10.0f), absolute(x));
    vf e = expm1_lanes(a + a);
    return with_sign_of(e / (e + set1(2.0f)), x);
}

/* e^(-x^2/2), with the square in two parts: its rounding alone would cost a hundred ULP */
INLINE exp_parts bell_split(vf x)
{
    vf top = (vf)((vi)x & -4096);
    vf rest = x - top;
    vf hi = set1(-0.5f) * (top * top), lo = set1(-0.5f) * (rest * (x + top));
    return exp_split_pair(hi, lo);
}

typedef struct normal_parts {
    vf below, bell; /* Phi(x); e^(-x^2/2) */
} normal_parts;

INLINE normal_parts normal_split(vf x)
{
    vf a = least(set1(15.0f), absolute(x));
    vf bell = exp_join(bell_split(a));
    vf r = set1(1.0f) / (a + set1(3.0f));
    vf tail = polynomial(tail_terms, 9, (a - set1(3.0f)) * r) * r * bell;
    vf below = choose((vi)(x < set1(0.0f)), tail, set1(1.0f) - tail);
    return (normal_parts){below, bell};
}
