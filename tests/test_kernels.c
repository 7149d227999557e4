/* The matrix product of every table: against long double with the bound of rounding theory, in
 * every form that a caller can ask for, and byte for byte between the forms. */
#include "support_kernels.h"

typedef struct form {
    bool a_transposed, b_transposed, packed, bias, keep_slope, accumulate;
    iv_act act;
} form;

static const size_t sizes[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,
                               13, 14, 15, 16, 17, 18, 19, 20, 23, 31, 32, 33,
                               47, 48, 49, 63, 64, 65, 66, 67, 68, 69, 70};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* A rows x cols matrix with gaps between its rows, laid out transposed if asked. */
static double *laid_out(const double *x, size_t rows, size_t cols, bool transposed, size_t gap,
                        size_t *ld, size_t *total)
{
    size_t outer = transposed ? cols : rows, inner = transposed ? rows : cols;
    *ld = inner + gap;
    *total = outer * inner == 0 ? 0 : (outer - 1) * *ld + inner;
    double *y = must_alloc(*total * sizeof *y);
    for (size_t i = 0; i < *total; i++) y[i] = NAN; /* a gap must never be read */
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            y[transposed ? c * *ld + r : r * *ld + c] = x[r * cols + c];
    return y;
}

typedef struct problem {
    size_t m, n, k;
    double *a, *b, *bias, *before; /* row-major without gaps */
    long double *sum, *size;       /* A B and |A| |B| */
} problem;

static problem new_problem(size_t m, size_t n, size_t k)
{
    problem p = {m,
                 n,
                 k,
                 random_values(m * k, 1),
                 random_values(k * n, 1),
                 random_values(n, 1),
                 random_values(m * n, 1),
                 must_alloc(m * n * sizeof *p.sum),
                 must_alloc(m * n * sizeof *p.size)};
    for (size_t i = 0; i < m * n; i++) p.sum[i] = p.size[i] = 0;
    for (size_t i = 0; i < m; i++)
        for (size_t q = 0; q < k; q++)
            for (size_t j = 0; j < n; j++) {
                long double t = (long double)p.a[i * k + q] * p.b[q * n + j];
                p.sum[i * n + j] += t;
                p.size[i * n + j] += t < 0 ? -t : t;
            }
    return p;
}

static void free_problem(problem *p)
{
    free(p->a);
    free(p->b);
    free(p->bias);
    free(p->before);
    free(p->sum);
    free(p->size);
}

/* Runs one form; returns C (m x n, in the table's type), *slope likewise if kept. */
static void *run_form(const iv_kernels *t, const problem *p, form f, void **slope)
{
    size_t m = p->m, n = p->n, k = p->k, lda, ldb, total_a, total_b;
    double *a = laid_out(p->a, m, k, f.a_transposed, draw_below(4), &lda, &total_a);
    double *b = laid_out(p->b, k, n, f.b_transposed, draw_below(4), &ldb, &total_b);
    void *at = typed(t, a, total_a), *bt = typed(t, b, total_b), *bias = typed(t, p->bias, n);
    size_t ldc = n + draw_below(4), total = m * ldc;
    double *start = must_alloc(total * sizeof *start);
    for (size_t i = 0; i < total; i++) start[i] = 77;
    for (size_t i = 0; i < m * n; i++) start[i / n * ldc + i % n] = p->before[i];
    void *c = typed(t, start, total), *kept = typed(t, start, total), *packed = NULL;
    void *y = must_alloc(m * n * t->size), *z = must_alloc(m * n * t->size);
    if (f.packed) {
        isovae_error err;
        assert_int_equal(t->alloc(&packed, t->pack_size(k, n), "packed", &err), ISOVAE_OK);
        t->pack(k, n, bt, ldb, f.b_transposed, packed);
    }
    iv_product product = {.m = m,
                          .n = n,
                          .k = k,
                          .a = at,
                          .b = f.packed ? NULL : bt,
                          .packed = packed,
                          .lda = lda,
                          .ldb = ldb,
                          .a_transposed = f.a_transposed,
                          .b_transposed = f.b_transposed,
                          .c = c,
                          .ldc = ldc,
                          .accumulate = f.accumulate,
                          .bias = f.bias ? bias : NULL,
                          .act = f.act,
                          .act_parameter = 0.3,
                          .slope = f.keep_slope ? kept : NULL};
    t->product(&product);
    double *after = untyped(t, c, total), *after_kept = untyped(t, kept, total);
    for (size_t i = 0; i < total; i++) {
        if (i % ldc >= n) {
            assert_true(after[i] == 77);
            assert_true(after_kept[i] == 77);
        }
    }
    t->copy_block(m, n, c, ldc, y, n, false);
    t->copy_block(m, n, kept, ldc, z, n, false);
    void *lost[] = {a, b, at, bt, bias, start, c, kept, after, after_kept};
    for (size_t i = 0; i < sizeof lost / sizeof *lost; i++) free(lost[i]);
    t->release(packed);
    if (slope)
        *slope = z;
    else
        free(z);
    return y;
}

static void check_bound(const iv_kernels *t, const problem *p, form f, const void *result)
{
    double unit = t->dtype == IV_F32 ? 0x1p-24 : 0x1p-53;
    double *y = untyped(t, result, p->m * p->n);
    for (size_t i = 0; i < p->m * p->n; i++) {
        long double exact = p->sum[i], size = p->size[i];
        long double before = f.accumulate ? p->before[i] : 0, bias = f.bias ? p->bias[i % p->n] : 0;
        exact += before + bias;
        size += fabsl(before) + fabsl(bias);
        long double bound = ((long double)p->k + 2) * unit * size * 1.001L;
        if (!(fabsl(y[i] - exact) <= bound))
            fail_msg("%s %s: %zu x %zu x %zu, row %zu, column %zu: %.9g, exact %.9Lg, bound %.3Lg "
                     "(a_transposed %d, b_transposed %d, packed %d, bias %d, accumulate %d)",
                     t->name, t->isa, p->m, p->n, p->k, i / p->n, i % p->n, y[i], exact, bound,
                     f.a_transposed, f.b_transposed, f.packed, f.bias, f.accumulate);
    }
    free(y);
}

static void check_same(const iv_kernels *t, const problem *p, const void *x, const void *y,
                       const char *what)
{
    if (memcmp(x, y, p->m * p->n * t->size) != 0)
        fail_msg("%s %s: %zu x %zu x %zu: other bytes: %s", t->name, t->isa, p->m, p->n, p->k,
                 what);
}

/* Up to so many columns the bytes depend on how A is stored, and on the columns (kernels.h). */
enum { THIN = 4 };

/* All storage forms of one problem: each within the bound, and all with the same bytes. */
static void check_problem(const iv_kernels *t, const problem *p, form f)
{
    form sum = f;
    sum.act = IV_ACT_NONE;
    void *first = NULL;
    for (int layout = 7; layout >= 0; layout--) {
        sum.a_transposed = (layout & 4) != 0;
        sum.b_transposed = (layout & 2) != 0;
        sum.packed = layout & 1;
        void *y = run_form(t, p, sum, NULL);
        if (!first || (layout == 3 && p->n <= THIN)) {
            free(first);
            first = y;
            check_bound(t, p, f, y);
            continue;
        }
        check_same(t, p, first, y, "storage of the operands");
        free(y);
    }
    if (!f.accumulate) { /* the activation and its slope are the elementwise ones */
        size_t size = p->m * p->n;
        void *value = must_alloc(size * t->size), *slope = must_alloc(size * t->size), *kept;
        t->act_forward(f.act, 0.3, size, first, value);
        t->act_derivative(f.act, 0.3, size, first, slope);
        f.keep_slope = true;
        void *y = run_form(t, p, f, &kept);
        check_same(t, p, value, y, "fused activation");
        check_same(t, p, slope, kept, "slope of the fused activation");
        free(y);
        free(kept);
        f.keep_slope = false;
        y = run_form(t, p, f, NULL);
        check_same(t, p, value, y, "fused activation, slope not kept");
        free(y);
        free(value);
        free(slope);
    }
    free(first);
}

/* Rows of C times rows of a smaller matrix, over and over. */
static void row_scales(void **state)
{
    (void)state;
    random_state = 17;
    const iv_kernels *t;
    for (size_t number = 0; (t = table_number(number)); number++) {
        for (size_t scale_rows = 1; scale_rows < 40; scale_rows += 6) {
            size_t m = 3 * scale_rows + scale_rows / 2, n = 37, k = 5;
            problem p = new_problem(m, n, k), s = new_problem(scale_rows, n, 1);
            void *a = typed(t, p.a, m * k), *b = typed(t, p.b, k * n);
            void *scale = typed(t, s.before, scale_rows * n), *c = typed(t, p.before, m * n);
            void *plain = typed(t, p.before, m * n);
            iv_product product = {
                .m = m, .n = n, .k = k, .a = a, .lda = k, .b = b, .ldb = n, .c = plain, .ldc = n};
            t->product(&product);
            product.c = c;
            product.scale = scale;
            product.scale_rows = scale_rows;
            t->product(&product);
            for (size_t r = 0; r < m; r++) {
                void *row = iv_at(t, plain, r * n);
                t->multiply(n, row, iv_at(t, scale, r % scale_rows * n), row);
            }
            check_same(t, &p, plain, c, "scaled rows");
            void *lost[] = {a, b, scale, c, plain};
            for (size_t i = 0; i < sizeof lost / sizeof *lost; i++) free(lost[i]);
            free_problem(&p);
            free_problem(&s);
        }
    }
}

/* Leaving out the zeros of A that a mask tells changes no byte. */
static void masked_products(void **state)
{
    (void)state;
    random_state = 19;
    static const size_t shapes[][4] = {{1, 20, 33, 40}, {7, 20, 784, 90}, {5, 6, 40, 17},
                                       {3, 5, 20, 30},  {9, 33, 3, 50},   {2, 8, 16, 600}};
    const iv_kernels *t;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        size_t rows = shapes[s][0], blocks = shapes[s][1], n = shapes[s][2], k = shapes[s][3];
        for (unsigned share = 0; share <= 10; share += 2) { /* tenths that are zero */
            problem p = new_problem(rows * blocks, n, k), other = new_problem(rows, n, 1);
            double *mask = random_values(rows * k, 1);
            for (size_t i = 0; i < rows * k; i++)
                if (draw_below(10) < share) mask[i] = 0;
            for (size_t i = 0; i < rows * blocks * k; i++)
                if (mask[i % (rows * k)] == 0) p.a[i] = 0;
            for (size_t number = 0; (t = table_number(number)); number++) {
                void *a = typed(t, p.a, rows * blocks * k), *b = typed(t, p.b, k * n), *packed;
                void *c = typed(t, p.before, rows * blocks * n);
                void *d = typed(t, p.before, rows * blocks * n), *bias = typed(t, p.bias, n);
                void *where = typed(t, mask, rows * k), *scale = typed(t, other.before, rows * n);
                void *scratch = must_alloc(rows * (k + 1) * t->size);
                isovae_error err;
                assert_int_equal(t->alloc(&packed, t->pack_size(k, n), "packed", &err), ISOVAE_OK);
                t->pack(k, n, b, n, false, packed);
                iv_product product = {.m = rows * blocks,
                                      .n = n,
                                      .k = k,
                                      .a = a,
                                      .lda = k,
                                      .packed = packed,
                                      .c = c,
                                      .ldc = n,
                                      .bias = bias,
                                      .scale = share % 4 ? scale : NULL,
                                      .scale_rows = rows};
                t->product(&product);
                product.c = d;
                t->product_masked(&product, rows, where, scratch);
                check_same(t, &p, c, d, "masked product");
                t->release(packed);
                void *lost[] = {a, b, c, d, bias, where, scale, scratch};
                for (size_t i = 0; i < sizeof lost / sizeof *lost; i++) free(lost[i]);
            }
            free(mask);
            free_problem(&p);
            free_problem(&other);
        }
    }
}

/* Every shape from 1 to 70 in each dimension. For each k the largest product is checked against
 * the bound, and every smaller one against its bytes, in a form that changes from shape to shape.
 */
static void every_shape(void **state)
{
    (void)state;
    enum { MOST = 70 };
    random_state = 18;
    size_t stride = getenv("ISOVAE_TEST_SHORT") ? 7 : 1;
    problem p = new_problem(MOST, MOST, MOST);
    long double *sum = must_alloc(MOST * MOST * sizeof *sum);
    long double *size = must_alloc(MOST * MOST * sizeof *size);
    const iv_kernels *t;
    for (size_t number = 2; (t = table_number(number)); number++) {
        isovae_error err;
        double across[MOST * MOST], down[MOST * MOST];
        for (size_t i = 0; i < MOST * MOST; i++) {
            sum[i] = size[i] = 0;
            across[i % MOST * MOST + i / MOST] = p.a[i];
            down[i % MOST * MOST + i / MOST] = p.b[i];
        }
        void *a = typed(t, p.a, MOST * MOST), *at = typed(t, across, MOST * MOST);
        void *b = typed(t, p.b, MOST * MOST), *bt = typed(t, down, MOST * MOST), *packed;
        void *whole = typed(t, p.before, MOST * MOST), *part = typed(t, p.before, MOST * MOST);
        void *thin[THIN][2];
        for (size_t n = 0; n < THIN; n++)
            for (int across = 0; across < 2; across++)
                thin[n][across] = typed(t, p.before, MOST * MOST);
        assert_int_equal(t->alloc(&packed, t->pack_size(MOST, MOST + 31), "packed", &err),
                         ISOVAE_OK);
        for (size_t k = 1; k <= MOST; k++) {
            iv_product all = {.m = MOST,
                              .n = MOST,
                              .k = k,
                              .a = a,
                              .lda = MOST,
                              .b = b,
                              .ldb = MOST,
                              .c = whole,
                              .ldc = MOST};
            t->product(&all);
            double *y = untyped(t, whole, MOST * MOST);
            for (size_t i = 0; i < MOST * MOST; i++) {
                long double term = (long double)p.a[i / MOST * MOST + k - 1] *
                                   (long double)p.b[(k - 1) * MOST + i % MOST];
                sum[i] += term;
                size[i] += fabsl(term);
                long double bound = (long double)k * 0x1p-24L * size[i] * 1.001L;
                if (!(fabsl(y[i] - sum[i]) <= bound))
                    fail_msg("%s: k %zu, row %zu, column %zu", t->isa, k, i / MOST, i % MOST);
            }
            free(y);
            for (size_t n = 1; n <= THIN; n++) { /* what thin products are compared with */
                for (int across = 0; across < 2; across++) {
                    all.n = n;
                    all.a = across ? at : a;
                    all.a_transposed = across;
                    all.c = thin[n - 1][across];
                    t->product(&all);
                    double *z = untyped(t, all.c, MOST * MOST);
                    for (size_t i = 0; i < MOST * MOST; i++) {
                        if (i % MOST >= n) continue;
                        long double bound = (long double)k * 0x1p-24L * size[i] * 1.001L;
                        if (!(fabsl(z[i] - sum[i]) <= bound))
                            fail_msg("%s: %zu columns, k %zu, row %zu", t->isa, n, k, i / MOST);
                    }
                    free(z);
                }
            }
            for (size_t m = 1; m <= MOST; m += stride) {
                for (size_t n = 1; n <= MOST; n += stride) {
                    unsigned form = (unsigned)((m * 31 + n * 17 + k * 7) % 8);
                    iv_product one = {.m = m,
                                      .n = n,
                                      .k = k,
                                      .lda = MOST,
                                      .ldb = MOST,
                                      .c = part,
                                      .ldc = n,
                                      .a_transposed = form & 1,
                                      .b_transposed = (form & 2) != 0};
                    one.a = one.a_transposed ? at : a;
                    one.b = one.b_transposed ? bt : b;
                    if (form & 4) {
                        t->pack(k, n, one.b, MOST, one.b_transposed, packed);
                        one.packed = packed;
                    }
                    t->product(&one);
                    const void *want = n <= THIN ? thin[n - 1][one.a_transposed] : whole;
                    for (size_t r = 0; r < m; r++) {
                        if (memcmp(iv_at(t, part, r * n), iv_at(t, want, r * MOST), n * t->size) !=
                            0)
                            fail_msg("%s: %zu x %zu x %zu, row %zu", t->isa, m, n, k, r);
                    }
                }
            }
        }
        t->release(packed);
        void *lost[] = {a, at, b, bt, whole, part};
        for (size_t i = 0; i < sizeof lost / sizeof *lost; i++) free(lost[i]);
        for (size_t i = 0; i < 2 * (size_t)THIN; i++) free(thin[i / 2][i % 2]);
    }
    free(sum);
    free(size);
    free_problem(&p);
}

static void small_shapes(void **state)
{
    (void)state;
    random_state = 11;
    for (size_t i = 0; i < SIZES; i++) {
        for (size_t j = 0; j < SIZES; j++) {
            problem p = new_problem(sizes[i], sizes[j], sizes[draw_below(SIZES)]);
            form f = {.bias = draw_below(2),
                      .accumulate = draw_below(3) == 0,
                      .act = (iv_act)draw_below(IV_ACT_COUNT)};
            const iv_kernels *t;
            for (size_t n = 0; (t = table_number(n)); n++)
                if (n >= 2 || draw_below(8) == 0) check_problem(t, &p, f);
            free_problem(&p);
        }
    }
}

static void real_shapes(void **state)
{
    (void)state;
    random_state = 12;
    static const size_t shapes[][3] = {{200, 64, 64},  {200, 64, 16},   {128, 400, 784},
                                       {128, 20, 400}, {400, 784, 128}, {7, 3, 1500},
                                       {40, 37, 513},  {3, 5, 1024},    {33, 65, 1025}};
    const iv_kernels *t;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        problem p = new_problem(shapes[i][0], shapes[i][1], shapes[i][2]);
        for (size_t n = 2; (t = table_number(n)); n++) {
            check_problem(t, &p, (form){.bias = true, .act = IV_ACT_SILU});
            check_problem(t, &p, (form){.accumulate = true});
        }
        free_problem(&p);
    }
}

static void empty_sums(void **state)
{
    (void)state;
    const iv_kernels *t;
    for (size_t n = 0; (t = table_number(n)); n++) {
        problem p = new_problem(5, 9, 0);
        check_problem(t, &p, (form){.bias = true, .act = IV_ACT_TANH});
        check_problem(t, &p, (form){.accumulate = true});
        free_problem(&p);
        iv_product nothing = {.m = 0, .n = 4, .k = 4};
        t->product(&nothing);
        nothing = (iv_product){.m = 4, .n = 0, .k = 4};
        t->product(&nothing);
    }
}

/* Rows, and columns, cut in two at every place give the bytes of the whole. */
static void slices(void **state)
{
    (void)state;
    random_state = 13;
    static const size_t shapes[][3] = {{45, 21, 19}, {31, 70, 700}, {16, 33, 1030}, {200, 64, 64}};
    const iv_kernels *t;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        size_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
        problem p = new_problem(m, n, k);
        for (size_t number = 0; (t = table_number(number)); number++) {
            void *a = typed(t, p.a, m * k), *b = typed(t, p.b, k * n), *bias = typed(t, p.bias, n);
            void *whole = typed(t, p.before, m * n), *parts = typed(t, p.before, m * n);
            iv_product all = {.m = m,
                              .n = n,
                              .k = k,
                              .a = a,
                              .b = b,
                              .lda = k,
                              .ldb = n,
                              .c = whole,
                              .ldc = n,
                              .bias = bias,
                              .act = IV_ACT_SOFTPLUS};
            t->product(&all);
            for (size_t cut = 1; cut < m; cut += number < 2 ? 9 : 1) {
                t->fill(m * n, -1, parts);
                iv_product part = all;
                part.c = parts;
                part.m = cut;
                t->product(&part);
                part.m = m - cut;
                part.a = iv_at(t, a, cut * k);
                part.c = iv_at(t, parts, cut * n);
                t->product(&part);
                check_same(t, &p, whole, parts, "rows cut in two");
            }
            for (size_t cut = THIN + 1; cut + THIN < n; cut += number < 2 ? 9 : 1) {
                t->fill(m * n, -1, parts);
                iv_product part = all;
                part.c = parts;
                part.n = cut;
                t->product(&part);
                part.n = n - cut;
                part.b = iv_at(t, b, cut);
                part.bias = iv_at(t, bias, cut);
                part.c = iv_at(t, parts, cut);
                t->product(&part);
                check_same(t, &p, whole, parts, "columns cut in two");
            }
            void *lost[] = {a, b, bias, whole, parts};
            for (size_t i = 0; i < 5; i++) free(lost[i]);
        }
        free_problem(&p);
    }
}

static void choice_of_table(void **state)
{
    (void)state;
    const iv_kernels *best = iv_kernels_get(IV_PRECISION_F32, NULL);
    assert_non_null(best);
    assert_string_equal(best->name, "f32");
    assert_ptr_equal(best, iv_kernels_get(IV_PRECISION_F32, best->isa));
    assert_non_null(iv_kernels_get(IV_PRECISION_F32, "baseline"));
    assert_null(iv_kernels_get(IV_PRECISION_F32, "abacus"));
    assert_null(iv_kernels_get((iv_precision)9, NULL));
    assert_string_equal(iv_kernels_get(IV_PRECISION_F32_REFERENCE, NULL)->name, "f32-reference");
    const iv_kernels *wide = iv_kernels_get(IV_PRECISION_F64_REFERENCE, NULL);
    assert_string_equal(wide->name, "f64-reference");
    assert_int_equal(wide->size, 8);
#if defined(__x86_64__)
    /* A processor that has the instructions has the table: else all this tested nothing. */
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        assert_non_null(iv_kernels_get(IV_PRECISION_F32, "avx2"));
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        assert_string_equal(best->isa, "avx512");
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choice_of_table), cmocka_unit_test(small_shapes),
        cmocka_unit_test(every_shape),     cmocka_unit_test(masked_products),
        cmocka_unit_test(row_scales),      cmocka_unit_test(real_shapes),
        cmocka_unit_test(empty_sums),      cmocka_unit_test(slices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
