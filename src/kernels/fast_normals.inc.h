/* Normals by Philox and Box and Muller, W/2 blocks of four at a time: the very operations of
 * base/random.c (see there for the why), in the lanes. Nothing here is fused, so the numbers are
 * the same on every instruction set. */

typedef uint64_t vu __attribute__((vector_size(4 * W)));

INLINE vu mul_low(vu a, uint32_t b) /* products of the lower halves of the lanes */
{
#if W == 16
    return (vu)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64((long long)b));
#elif W == 8
    return (vu)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x((long long)b));
#elif defined(__x86_64__)
    return (vu)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x((long long)b));
#else
    return (a & 0xFFFFFFFFu) * b;
#endif
}

INLINE vd root_wide(vd x)
{
#if W == 16
    return (vd)_mm512_sqrt_pd((__m512d)x);
#elif W == 8
    return (vd)_mm256_sqrt_pd((__m256d)x);
#else
    for (int l = 0; l < W / 2; l++) x[l] = sqrt(x[l]);
    return x;
#endif
}

INLINE vd choose_wide(vu mask, vd a, vd b)
{
    return (vd)((mask & (vu)a) | (~mask & (vu)b));
}

/* whole numbers below 2^32 as doubles: put below the exponent of 2^52, which is taken off again */
INLINE vd whole_wide(vu x)
{
    return (vd)(x | 0x4330000000000000u) - 4503599627370496.0;
}

INLINE void philox_wide(const uint32_t key[2], vu c[4])
{
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < IV_PHILOX_ROUNDS; round++) {
        vu p0 = mul_low(c[0], IV_PHILOX_MULTIPLIER_0), p1 = mul_low(c[2], IV_PHILOX_MULTIPLIER_1);
        c[0] = (p1 >> 32) ^ c[1] ^ k0;
        c[2] = (p0 >> 32) ^ c[3] ^ k1;
        c[1] = p1;
        c[3] = p0;
        k0 += IV_PHILOX_WEYL_0;
        k1 += IV_PHILOX_WEYL_1;
    }
    for (int i = 0; i < 4; i++) c[i] &= 0xFFFFFFFFu;
}

INLINE vd minus_log_wide(vd u)
{
    vu bits = (vu)u;
    vu biased = (bits + 0x00095F619980C433u) >> 52;
    vd exponent = whole_wide(biased) - 1023.0;
    bits -= (biased - 1023) << 52;
    vd m = (vd)bits;
    vd t = (m - 1.0) / (m + 1.0), q = t * t;
    vd sum = q * (1.0 / 23.0) + 1.0 / 21.0;
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
    return -(exponent * 0.69314718055994530942 + 2.0 * t * sum);
}

INLINE void cos_sin_turn_wide(vu w, vd *cosine, vd *sine)
{
    vu quarter = ((w + 0x20000000u) & 0xFFFFFFFFu) >> 30;
    vu rest = (w - (quarter << 30)) & 0xFFFFFFFFu; /* as a signed number of 32 bits */
    vd a =
        (whole_wide(rest ^ 0x80000000u) - 2147483648.0) * (6.283185307179586476925 / 4294967296.0);
    vd q = a * a;
    vd s = q * (1.0 / 355687428096000.0) - 1.0 / 1307674368000.0;
    s = s * q + 1.0 / 6227020800.0;
    s = s * q - 1.0 / 39916800.0;
    s = s * q + 1.0 / 362880.0;
    s = s * q - 1.0 / 5040.0;
    s = s * q + 1.0 / 120.0;
    s = s * q - 1.0 / 6.0;
    s = (s * q) * a + a;
    vd c = q * (1.0 / 20922789888000.0) - 1.0 / 87178291200.0;
    c = c * q + 1.0 / 479001600.0;
    c = c * q - 1.0 / 3628800.0;
    c = c * q + 1.0 / 40320.0;
    c = c * q - 1.0 / 720.0;
    c = c * q + 1.0 / 24.0;
    c = c * q - 0.5;
    c = c * q + 1.0;
    vu odd = -(quarter & 1);
    vd x = choose_wide(odd, s, c), y = choose_wide(odd, c, s);
    *cosine = (vd)((vu)x ^ (((quarter + 1) & 2) << 62));
    *sine = (vd)((vu)y ^ ((quarter & 2) << 62));
}

/* Philox words 2 pair and 2 pair + 1 of the blocks: two normals of each. */
INLINE void pair_wide(vu radius_word, vu angle_word, vh *even, vh *odd)
{
    vd u = (whole_wide(radius_word) + 0.5) * (1.0 / 4294967296.0), c, s;
    vd radius = root_wide(2.0 * minus_log_wide(u));
    cos_sin_turn_wide(angle_word, &c, &s);
    *even = __builtin_convertvector(radius * c, vh);
    *odd = __builtin_convertvector(radius * s, vh);
}

static void fast_normals(const iv_key *key, size_t rows, const size_t *row, size_t n, void *outv)
{
    float *out = outv;
    size_t per_row = (n + 3) / 4, total = rows * per_row;
    if (per_row > IV_PHILOX_BLOCKS) { /* runs into the next draw's blocks: carries */
        plain_normals(key, rows, row, n, out);
        return;
    }
    iv_key at = *key;
    uint32_t philox_key[2], counter[4];
    size_t r = 0, block = 0; /* of the next lane */
    for (size_t first = 0; first < total; first += W / 2) {
        union {
            vu lanes;
            uint64_t lane[W / 2];
        } c[4];
        size_t lanes = total - first < W / 2 ? total - first : W / 2, first_r = r,
               first_block = block;
        for (size_t l = 0; l < W / 2; l++) {
            if (l < lanes) {
                at.row = row[r];
                iv_philox_counter(&at, philox_key, counter);
                counter[0] += (uint32_t)block;
                if (++block == per_row) block = 0, r++;
            }
            for (int i = 0; i < 4; i++) c[i].lane[l] = counter[i];
        }
        vu words[4] = {c[0].lanes, c[1].lanes, c[2].lanes, c[3].lanes};
        union {
            vh lanes;
            float lane[W / 2];
        } normal[4];
        philox_wide(philox_key, words);
        pair_wide(words[0], words[1], &normal[0].lanes, &normal[1].lanes);
        pair_wide(words[2], words[3], &normal[2].lanes, &normal[3].lanes);
        for (size_t l = 0, i = first_r, b = first_block; l < lanes; l++) {
            size_t left = n - 4 * b;
            float *to = out + i * n + 4 * b;
            for (size_t q = 0; q < 4 && q < left; q++) to[q] = normal[q].lane[l];
            if (++b == per_row) b = 0, i++;
        }
    }
}
