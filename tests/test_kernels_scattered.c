/* Products whose rows lie anywhere: the bytes are those of the same rows laid out one behind the
 * other, in every table. */
#include "support_kernels.h"

typedef struct shape {
    size_t m, n, k, pieces;
    bool a_transposed, accumulate, slope;
    bool rows_of_a, rows_of_c;
} shape;

/* Starts of `count` rows of `length`, in an order and at distances of their own; returns the size
 * of what holds them. */
static size_t draw_rows(size_t count, size_t length, uint32_t *rows)
{
    size_t at = draw_below(5);
    for (size_t i = 0; i < count; i++) {
        rows[i] = (uint32_t)at;
        at += length + draw_below(7);
    }
    for (size_t i = count; i > 1; i--) {
        size_t j = draw_below(i);
        uint32_t t = rows[i - 1];
        rows[i - 1] = rows[j];
        rows[j] = t;
    }
    return at;
}

/* The stored A of `stored` rows of `length`, cut into pieces and put at `rows` of `scattered`. */
static void scatter(const double *a, size_t stored, size_t length, size_t pieces, size_t step,
                    const uint32_t *rows, double *scattered)
{
    size_t each = length / pieces;
    for (size_t r = 0; r < stored; r++)
        for (size_t i = 0; i < length; i++)
            scattered[rows[r] + i / each * step + i % each] = a[r * length + i];
}

static void *must_table_alloc(const iv_kernels *t, size_t n)
{
    isovae_error err;
    void *p;
    assert_int_equal(t->alloc(&p, n, "test", &err), ISOVAE_OK);
    return p;
}

static void check_shape(const iv_kernels *t, const shape *s)
{
    size_t stored = s->a_transposed ? s->k : s->m, length = s->a_transposed ? s->m : s->k;
    size_t step = length / s->pieces + draw_below(9), ldc = s->n + draw_below(3);
    uint32_t *a_rows = must_alloc(stored * sizeof *a_rows);
    uint32_t *c_rows = must_alloc(s->m * sizeof *c_rows);
    size_t a_size, c_size = draw_rows(s->m, s->n, c_rows);
    if (s->rows_of_a) {
        a_size = draw_rows(stored, (s->pieces - 1) * step + length / s->pieces, a_rows);
    } else {
        step = length / s->pieces; /* rows of lda = length, pieces that touch */
        for (size_t r = 0; r < stored; r++) a_rows[r] = (uint32_t)(r * length);
        a_size = stored * length;
    }
    double *a = random_values(stored * length, 1), *b = random_values(s->k * s->n, 1);
    double *bias = random_values(s->n, 1), *before = random_values(s->m * s->n, 1);
    double *spread = random_values(a_size, 1), *c_spread = random_values(c_size, 1);
    scatter(a, stored, length, s->pieces, step, a_rows, spread);
    for (size_t r = 0; r < s->m; r++)
        for (size_t j = 0; j < s->n; j++) c_spread[c_rows[r] + j] = before[r * s->n + j];

    void *at = typed(t, a, stored * length), *bt = typed(t, b, s->k * s->n);
    void *spread_t = typed(t, spread, a_size), *bias_t = typed(t, bias, s->n);
    void *plain = typed(t, before, s->m * s->n), *plain_slope = typed(t, before, s->m * s->n);
    void *packed = must_table_alloc(t, t->pack_size(s->k, s->n));
    t->pack(s->k, s->n, bt, s->n, false, packed);
    iv_product p = {.m = s->m,
                    .n = s->n,
                    .k = s->k,
                    .a = at,
                    .lda = length,
                    .a_transposed = s->a_transposed,
                    .packed = packed,
                    .c = plain,
                    .ldc = s->n,
                    .bias = bias_t,
                    .accumulate = s->accumulate,
                    .act = s->slope ? IV_ACT_SILU : IV_ACT_NONE,
                    .slope = s->slope ? plain_slope : NULL};
    t->product(&p);

    size_t size = s->rows_of_c ? c_size : s->m * ldc;
    if (!s->rows_of_c) {
        for (size_t r = 0; r < s->m; r++) c_rows[r] = (uint32_t)(r * ldc);
        c_spread = realloc(c_spread, size * sizeof *c_spread);
        assert_non_null(c_spread);
        for (size_t r = 0; r < s->m; r++)
            for (size_t j = 0; j < s->n; j++) c_spread[c_rows[r] + j] = before[r * s->n + j];
    }
    void *c = typed(t, c_spread, size), *slope = typed(t, c_spread, size);
    p.a = s->rows_of_a ? spread_t : at;
    p.a_rows = s->rows_of_a ? a_rows : NULL;
    p.pieces = s->pieces;
    p.piece_step = step;
    p.c = c;
    p.ldc = ldc;
    p.c_rows = s->rows_of_c ? c_rows : NULL;
    p.slope = s->slope ? slope : NULL;
    for (size_t unpacked = 0; unpacked < 2; unpacked++) {
        if (unpacked == 1 && (!s->a_transposed || s->accumulate)) continue;
        if (unpacked == 1) { /* as convolutions do for their weight gradients */
            p.packed = NULL;
            p.b = bt;
            p.ldb = s->n;
        }
        t->product(&p);
        for (size_t r = 0; r < s->m; r++) {
            const char *want = (const char *)plain + r * s->n * t->size;
            assert_memory_equal((char *)c + c_rows[r] * t->size, want, s->n * t->size);
            if (!s->slope) continue;
            want = (const char *)plain_slope + r * s->n * t->size;
            assert_memory_equal((char *)slope + c_rows[r] * t->size, want, s->n * t->size);
        }
    }
    t->release(packed);
    void *lost[] = {a_rows, c_rows, a, b,     bias,  before,      spread, c_spread,
                    at,     bt,     c, slope, plain, plain_slope, bias_t, spread_t};
    for (size_t i = 0; i < sizeof lost / sizeof *lost; i++) free(lost[i]);
}

static void rows_anywhere(void **state)
{
    (void)state;
    random_state = 23;
    static const size_t some[] = {1, 2, 5, 13, 14, 15, 29, 70, 333};
    const iv_kernels *t;
    for (size_t i = 0; i < 300; i++) {
        shape s = {.m = some[draw_below(9)],
                   .n = IV_PRODUCT_THIN + 1 + draw_below(70),
                   .k = some[draw_below(9)],
                   .pieces = 1 + draw_below(5),
                   .a_transposed = draw_below(2),
                   .rows_of_a = draw_below(4) > 0,
                   .rows_of_c = draw_below(2)};
        s.accumulate = draw_below(2);
        s.slope = !s.accumulate && draw_below(2);
        if (s.a_transposed) s.m *= s.pieces;
        if (!s.a_transposed) s.k *= s.pieces;
        for (size_t number = 0; (t = table_number(number)); number++) check_shape(t, &s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_anywhere)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
