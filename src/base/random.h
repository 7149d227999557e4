/* Counter-based random numbers (Philox4x32-10; Salmon et al., SC 2011). A number is a pure function
 * of its key, never drawn from a stream, so any thread or rank can draw its own. */
#ifndef IV_BASE_RANDOM_H
#define IV_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* What a number is for; the values are part of the reproducibility promise. */
typedef enum iv_purpose {
    IV_PURPOSE_NOISE = 1,    /* eps of z = mu + sigma eps in training */
    IV_PURPOSE_SHUFFLE = 2,  /* order of rows in an epoch */
    IV_PURPOSE_INIT = 3,     /* weights */
    IV_PURPOSE_SPLIT = 4,    /* validation rows */
    IV_PURPOSE_TOY = 5,      /* synthetic data */
    IV_PURPOSE_ANALYSIS = 6, /* draws of the report */
    IV_PURPOSE_SAMPLE = 7,   /* `isovae sample` */
    IV_PURPOSE_PCA = 8,      /* start of the subspace iteration */
    IV_PURPOSE_INPUT = 9     /* noise on the encoder's input */
} iv_purpose;

/* row < 2^40, step < 2^40, draw < 2^24, purpose < 2^8. */
typedef struct iv_key {
    uint64_t seed;
    iv_purpose purpose;
    uint64_t step, row;
    uint32_t draw;
} iv_key;

/* The numbers of Philox4x32-10. */
#define IV_PHILOX_ROUNDS 10
#define IV_PHILOX_MULTIPLIER_0 0xD2511F53u
#define IV_PHILOX_MULTIPLIER_1 0xCD9E8D57u
#define IV_PHILOX_WEYL_0 0x9E3779B9u
#define IV_PHILOX_WEYL_1 0xBB67AE85u
void iv_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]);
/* Philox's key, and the counter of the key's block 0; block b has b added to counter[0], for b
 * below: */
#define IV_PHILOX_BLOCKS 65536
void iv_philox_counter(const iv_key *key, uint32_t philox_key[2], uint32_t counter[4]);

/* `count` standard normals (uniforms on (0, 1)) for latents 0..count-1 of one key. The f32 values
 * are the f64 values rounded. (Many rows at once: normals of kernels.h.) */
void iv_normals_f32(const iv_key *key, size_t count, float *out);
void iv_normals_f64(const iv_key *key, size_t count, double *out);
void iv_uniforms_f64(const iv_key *key, size_t count, double *out);

/* The keys of one permutation of 0..n-1, for many places of it. */
enum { IV_SHUFFLE_ROUNDS = 8 };
typedef struct iv_shuffle {
    uint64_t n;
    unsigned half; /* bits of half a word */
    uint32_t round_key[IV_SHUFFLE_ROUNDS];
} iv_shuffle;
iv_shuffle iv_shuffle_new(const iv_key *key, uint64_t n);
uint64_t iv_shuffle_at(const iv_shuffle *shuffle, uint64_t index);

/* The image of `index` under a keyed permutation of 0..n-1 (Feistel network with cycle walking):
 * any place of a shuffle without holding the shuffle. key->row and key->draw are not used. */
uint64_t iv_permute(const iv_key *key, uint64_t n, uint64_t index);

#endif
