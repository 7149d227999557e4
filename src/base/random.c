/* Philox4x32-10, and what is drawn from it.
 *
 * The key of Philox is the seed: {low 32 bits, high 32 bits}. Its counter of 128 bits says which
 * number is meant, from the lowest bit up:
 *
 *     block 16 | draw 24 | row 40 | step 40 | purpose 8
 *
 * A block gives four normals or two uniforms, so one key has 262,144 normals or 131,072 uniforms of
 * its own; a longer request runs on into the blocks of the next draw (and row), as the carry of an
 * addition does.
 *
 * Everything here is made of integer arithmetic and of the additions, products, divisions and roots
 * that IEEE 754 fixes to the last bit: the C library's log, sin and cos differ in the last place
 * between processors with and without fused multiply-add, and a seed must mean the same numbers on
 * all of them. (The build sets -ffp-contract=off.) */
#include "base/random.h"

#include <math.h>
#include <string.h>

static inline void philox_rounds(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < IV_PHILOX_ROUNDS; round++) {
        uint64_t p0 = (uint64_t)IV_PHILOX_MULTIPLIER_0 * c0;
        uint64_t p1 = (uint64_t)IV_PHILOX_MULTIPLIER_1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += IV_PHILOX_WEYL_0;
        k1 += IV_PHILOX_WEYL_1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

void iv_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4])
{
    philox_rounds(key, counter, out);
}

/* Philox's key and the counter of block 0 of a key; the counter as low and high half. */
typedef struct stream {
    uint32_t key[2];
    uint64_t low, high;
} stream;

static stream stream_of(const iv_key *key)
{
    uint64_t row = key->row & 0xFFFFFFFFFFu, step = key->step & 0xFFFFFFFFFFu;
    stream s;
    s.key[0] = (uint32_t)key->seed;
    s.key[1] = (uint32_t)(key->seed >> 32);
    s.low = ((uint64_t)(key->draw & 0xFFFFFFu) << 16) | (row << 40);
    s.high = (row >> 24) | (step << 16) | ((uint64_t)key->purpose << 56);
    return s;
}

void iv_philox_counter(const iv_key *key, uint32_t philox_key[2], uint32_t counter[4])
{
    stream s = stream_of(key);
    philox_key[0] = s.key[0];
    philox_key[1] = s.key[1];
    counter[0] = (uint32_t)s.low;
    counter[1] = (uint32_t)(s.low >> 32);
    counter[2] = (uint32_t)s.high;
    counter[3] = (uint32_t)(s.high >> 32);
}

static inline void draw_block(const stream *s, uint64_t block, uint32_t out[4])
{
    uint64_t low = s->low + block;
    uint64_t high = s->high + (low < block);
    uint32_t counter[4] = {(uint32_t)low, (uint32_t)(low >> 32), (uint32_t)high,
                           (uint32_t)(high >> 32)};
    philox_rounds(s->key, counter, out);
}

/* -log(u) for 0 < u < 1, by u = m 2^e with m in [sqrt(1/2), sqrt(2)) and
 * log m = 2 artanh(t) = 2 (t + t^3/3 + t^5/5 + ...), t = (m - 1) / (m + 1), |t| < 0.172; the first
 * term left out is below 1e-18 of the sum. */
static inline double minus_log(double u)
{
    uint64_t bits;
    memcpy(&bits, &u, sizeof bits);
    /* Adding 1 - sqrt(1/2) (as bits of the fraction) carries into the exponent where m >= sqrt(2).
     */
    int64_t exponent = (int64_t)((bits + 0x00095F619980C433u) >> 52) - 1023;
    bits -= (uint64_t)exponent << 52;
    double m;
    memcpy(&m, &bits, sizeof m);
    double t = (m - 1.0) / (m + 1.0), q = t * t;
    double sum = 1.0 / 23.0;
    sum = sum * q + 1.0 / 21.0;
    sum = sum * q + 1.0 / 19.0;
    sum = sum * q + 1.0 / 17.0;
    sum = sum * q + 1.0 / 15.0;
    sum = sum * q + 1.0 / 13.0;
    sum = sum * q + 1.0 / 11.0;
    sum = sum * q + 1.0 / 9.0;
    sum = sum * q + 1.0 / 7.0;
    sum = sum * q + 1.0 / 5.0;
    sum = sum * q + 1.0 / 3.0;
    sum = sum * q + 1.0;
    return -((double)exponent * 0.69314718055994530942 + 2.0 * t * sum);
}

/* cos and sin of 2 pi w / 2^32: the nearest quarter turn is taken off in integers, then the Taylor
 * series for an angle of at most pi/4. */
static inline void cos_sin_turn(uint32_t w, double *cosine, double *sine)
{
    uint32_t quarter = (w + 0x20000000u) >> 30;
    double a = (double)(int32_t)(w - (quarter << 30)) * (6.283185307179586476925 / 4294967296.0);
    double q = a * a;
    double s = 1.0 / 355687428096000.0; /* 1/17! */
    s = s * q - 1.0 / 1307674368000.0;
    s = s * q + 1.0 / 6227020800.0;
    s = s * q - 1.0 / 39916800.0;
    s = s * q + 1.0 / 362880.0;
    s = s * q - 1.0 / 5040.0;
    s = s * q + 1.0 / 120.0;
    s = s * q - 1.0 / 6.0;
    s = (s * q) * a + a;
    double c = 1.0 / 20922789888000.0; /* 1/16! */
    c = c * q - 1.0 / 87178291200.0;
    c = c * q + 1.0 / 479001600.0;
    c = c * q - 1.0 / 3628800.0;
    c = c * q + 1.0 / 40320.0;
    c = c * q - 1.0 / 720.0;
    c = c * q + 1.0 / 24.0;
    c = c * q - 0.5;
    c = c * q + 1.0;
    double x = (quarter & 1u) ? s : c, y = (quarter & 1u) ? c : s;
    *cosine = ((quarter + 1u) & 2u) ? -x : x;
    *sine = (quarter & 2u) ? -y : y;
}

/* Box and Muller: two uniforms of 32 bits, the radius' one at the middles of 2^32 cells of (0, 1),
 * so the largest normal is 6.76; two pairs a block. */
static inline void normals_of_block(const uint32_t w[4], double out[4])
{
    for (int pair = 0; pair < 2; pair++) {
        double u = ((double)w[2 * pair] + 0.5) * (1.0 / 4294967296.0), c, s;
        double radius = sqrt(2.0 * minus_log(u));
        cos_sin_turn(w[2 * pair + 1], &c, &s);
        out[2 * pair] = radius * c;
        out[2 * pair + 1] = radius * s;
    }
}

/* The normals from `done` on, a multiple of 4; how many of `count` they are. */
static inline size_t next_normals(const stream *s, size_t done, size_t count, double out[4])
{
    uint32_t words[4];
    draw_block(s, done / 4, words);
    normals_of_block(words, out);
    return count - done < 4 ? count - done : 4;
}

void iv_normals_f64(const iv_key *key, size_t count, double *out)
{
    stream s = stream_of(key);
    for (size_t done = 0; done < count; done += 4) {
        double normals[4];
        size_t take = next_normals(&s, done, count, normals);
        memcpy(out + done, normals, take * sizeof *out);
    }
}

void iv_normals_f32(const iv_key *key, size_t count, float *out)
{
    stream s = stream_of(key);
    for (size_t done = 0; done < count; done += 4) {
        double normals[4];
        size_t take = next_normals(&s, done, count, normals);
        for (size_t i = 0; i < take; i++) out[done + i] = (float)normals[i];
    }
}

/* 52 bits at the middles of their cells: neither 0 nor 1 occurs. */
void iv_uniforms_f64(const iv_key *key, size_t count, double *out)
{
    stream s = stream_of(key);
    for (size_t done = 0; done < count; done += 2) {
        uint32_t w[4];
        draw_block(&s, done / 2, w);
        for (size_t i = 0; i < 2 && done + i < count; i++) {
            uint64_t bits = ((uint64_t)w[2 * i + 1] << 32 | w[2 * i]) >> 12;
            out[done + i] = ((double)bits + 0.5) * (1.0 / 4503599627370496.0);
        }
    }
}

/* The round function: a 32-bit mixer (two odd products between shifts) of half a word and its key.
 */
static inline uint32_t mix(uint32_t half, uint32_t key)
{
    uint32_t x = half * 0x9E3779B1u ^ key;
    x ^= x >> 16;
    x *= 0x85EBCA6Bu;
    x ^= x >> 13;
    x *= 0xC2B2AE35u;
    x ^= x >> 16;
    return x;
}

/* A balanced Feistel network permutes words of 2h bits whatever its round function is; where the
 * image is not below n it is sent through again, which keeps a permutation of 0..n-1 (and ends,
 * since the cycle through `index` comes back to it). 2h is the bits of n - 1 rounded up to even, so
 * about four passes at worst; at least 8, since on a few bits the networks reach few of the
 * permutations. */
iv_shuffle iv_shuffle_new(const iv_key *key, uint64_t n)
{
    iv_shuffle shuffle = {.n = n, .half = 4};
    iv_key rounds_key = *key;
    rounds_key.row = 0;
    rounds_key.draw = 0;
    stream s = stream_of(&rounds_key);
    draw_block(&s, 0, shuffle.round_key);
    draw_block(&s, 1, shuffle.round_key + 4);
    while (n > 1 && shuffle.half < 32 && (n - 1) >> (2 * shuffle.half) != 0) shuffle.half++;
    return shuffle;
}

uint64_t iv_shuffle_at(const iv_shuffle *shuffle, uint64_t index)
{
    if (shuffle->n < 2) return 0;
    unsigned half = shuffle->half;
    uint64_t mask = (UINT64_C(1) << half) - 1;
    uint64_t x = index % shuffle->n;
    do {
        uint64_t left = x >> half, right = x & mask;
        for (int round = 0; round < IV_SHUFFLE_ROUNDS; round++) {
            uint64_t next = left ^ (mix((uint32_t)right, shuffle->round_key[round]) & mask);
            left = right;
            right = next;
        }
        x = left << half | right;
    } while (x >= shuffle->n);
    return x;
}

uint64_t iv_permute(const iv_key *key, uint64_t n, uint64_t index)
{
    iv_shuffle shuffle = iv_shuffle_new(key, n);
    return iv_shuffle_at(&shuffle, index);
}
