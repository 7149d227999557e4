/* The matrix product.
 *
 * op(B) is cut into panels of PANEL = 2 W columns, a panel being stored k x PANEL without gaps (the
 * last one filled up with zeros), so that the innermost loop reads two whole vectors of it per k.
 * A tile of C, up to TILE_ROWS x PANEL, stays in registers over DEPTH values of k; longer sums are
 * set down in C and taken up again, which changes nothing: whatever tile an element lies in, it is
 * one chain of (fused) multiply-adds over k in order. That is the promise of kernels.h, and why
 * there are no partial sums, and why rows may be dealt to tiles as suits their number.
 *
 * A is read where it lies. Where B comes unpacked, each panel is packed on the stack. */

#define PANEL (2 * W)

#if W == 16
#define TILE_ROWS 14
#elif W == 8
#define TILE_ROWS 6
#elif defined(__aarch64__)
#define TILE_ROWS 8
#else
#define TILE_ROWS 4
#endif

#define DEPTH ((size_t)512)

typedef struct tile_job {
    size_t depth;   /* values of k in this block */
    const float *a; /* first row (column, if transposed) of the tile at the block's first k */
    size_t lda;
    const float *b;    /* panel at the block's first k */
    size_t ldb;        /* PANEL where packed */
    const float *from; /* what C holds already, or NULL to start from zero */
    float *to;         /* where the sums go; both with ldc */
    size_t ldc;
    size_t cols;       /* columns of C under the panel */
    const float *bias; /* of these columns, at the end of the sum, or NULL */
} tile_job;

#if TILE_ROWS == 14
#define EACH_ROW(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#elif TILE_ROWS == 8
#define EACH_ROW(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)
#elif TILE_ROWS == 6
#define EACH_ROW(X) X(1) X(2) X(3) X(4) X(5) X(6)
#else
#define EACH_ROW(X) X(1) X(2) X(3) X(4)
#endif

/* One tile. `rows`, `wide` and `transposed` are constants where it is used, so each use is compiled
 * for its own. Row r has two sums, s_r and t_r, and (A not transposed) a pointer a_r; they are
 * variables of their own, not arrays, for only so do compilers keep them all in registers. */
INLINE void tile(const size_t rows, const bool wide, const bool transposed, const tile_job *job)
{
    const size_t ldc = job->ldc, ldb = job->ldb, lda = job->lda, depth = job->depth;
    const size_t cols_s = job->cols, cols_t = job->cols - (wide ? W : 0);
    const float *a = job->a, *b = job->b;

#define ROW_START(r) vf s##r = set1(0.0f), t##r = s##r;
    EACH_ROW(ROW_START)
    if (job->from) {
        const float *from = job->from;
#define ROW_LOAD(r)                                                                                \
    if (r <= rows) {                                                                               \
        s##r = load_up_to(from, cols_s);                                                           \
        if (wide) t##r = load_up_to(from + W, cols_t);                                             \
        from += ldc;                                                                               \
    }
        EACH_ROW(ROW_LOAD)
    }

#define ROW_ADD(r, element)                                                                        \
    if (r <= rows) {                                                                               \
        vf x = set1(element);                                                                      \
        s##r = madd(x, b0, s##r);                                                                  \
        if (wide) t##r = madd(x, b1, t##r);                                                        \
    }
    if (transposed) {
        for (size_t p = 0; p < depth; p++, a += lda, b += ldb) {
            vf b0 = load(b), b1 = wide ? load(b + W) : b0;
#define ROW_ADD_ACROSS(r) ROW_ADD(r, a[r - 1])
            EACH_ROW(ROW_ADD_ACROSS)
        }
    } else {
#define ROW_POINTER(r) const float *a##r = a + (r <= rows ? (r - 1) * lda : 0);
        EACH_ROW(ROW_POINTER)
        for (size_t p = 0; p < depth; p++, b += ldb) {
            vf b0 = load(b), b1 = wide ? load(b + W) : b0;
#define ROW_ADD_ALONG(r) ROW_ADD(r, a##r[p])
            EACH_ROW(ROW_ADD_ALONG)
        }
    }

    float *to = job->to;
    if (job->bias) {
        vf bias_s = load_up_to(job->bias, cols_s);
        vf bias_t = wide ? load_up_to(job->bias + W, cols_t) : bias_s;
#define ROW_BIAS(r) s##r = s##r + bias_s, t##r = t##r + bias_t;
        EACH_ROW(ROW_BIAS)
    }
#define ROW_STORE(r)                                                                               \
    if (r <= rows) {                                                                               \
        store_up_to(to, s##r, cols_s);                                                             \
        if (wide) store_up_to(to + W, t##r, cols_t);                                               \
        to += ldc;                                                                                 \
    }
    EACH_ROW(ROW_STORE)
    (void)to;
}

#define TILE_FUNCTIONS(r)                                                                          \
    static void tile_##r##_narrow(const tile_job *job)                                             \
    {                                                                                              \
        tile(r, false, false, job);                                                                \
    }                                                                                              \
    static void tile_##r##_wide(const tile_job *job)                                               \
    {                                                                                              \
        tile(r, true, false, job);                                                                 \
    }                                                                                              \
    static void tile_##r##_narrow_t(const tile_job *job)                                           \
    {                                                                                              \
        tile(r, false, true, job);                                                                 \
    }                                                                                              \
    static void tile_##r##_wide_t(const tile_job *job)                                             \
    {                                                                                              \
        tile(r, true, true, job);                                                                  \
    }
EACH_ROW(TILE_FUNCTIONS)

typedef void (*tile_function)(const tile_job *job);
/* [transposed][wide][rows - 1] */
#define NARROW(r) tile_##r##_narrow,
#define WIDE(r) tile_##r##_wide,
#define NARROW_T(r) tile_##r##_narrow_t,
#define WIDE_T(r) tile_##r##_wide_t,
static const tile_function tiles[2][2][TILE_ROWS] = {{{EACH_ROW(NARROW)}, {EACH_ROW(WIDE)}},
                                                     {{EACH_ROW(NARROW_T)}, {EACH_ROW(WIDE_T)}}};

typedef float four __attribute__((vector_size(16)));
typedef float four_anywhere __attribute__((vector_size(16), aligned(4), may_alias));

/* depth x cols of op(B), from its element b on, as a panel of full width; transposed, by squares of
 * four. */
static void pack_panel(size_t depth, size_t cols, const float *b, size_t ldb, bool b_transposed,
                       float *panel)
{
    if (!b_transposed) {
        for (size_t p = 0; p < depth; p++, b += ldb, panel += PANEL) {
            vf low = load_up_to(b, cols);
            vf high = cols > W ? load_up_to(b + W, cols - W) : set1(0.0f);
            store(panel, low);
            store(panel + W, high);
        }
        return;
    }
    size_t j = 0;
    for (; j + 4 <= cols; j += 4) {
        const float *r0 = b + j * ldb, *r1 = r0 + ldb, *r2 = r1 + ldb, *r3 = r2 + ldb;
        float *to = panel + j;
        size_t p = 0;
        for (; p + 4 <= depth; p += 4, to += 4 * PANEL) {
            four x = *(const four_anywhere *)(r0 + p), y = *(const four_anywhere *)(r1 + p);
            four z = *(const four_anywhere *)(r2 + p), w = *(const four_anywhere *)(r3 + p);
            four xy = __builtin_shufflevector(x, y, 0, 4, 1, 5);
            four zw = __builtin_shufflevector(z, w, 0, 4, 1, 5);
            *(four_anywhere *)to = __builtin_shufflevector(xy, zw, 0, 1, 4, 5);
            *(four_anywhere *)(to + PANEL) = __builtin_shufflevector(xy, zw, 2, 3, 6, 7);
            xy = __builtin_shufflevector(x, y, 2, 6, 3, 7);
            zw = __builtin_shufflevector(z, w, 2, 6, 3, 7);
            *(four_anywhere *)(to + 2 * PANEL) = __builtin_shufflevector(xy, zw, 0, 1, 4, 5);
            *(four_anywhere *)(to + 3 * PANEL) = __builtin_shufflevector(xy, zw, 2, 3, 6, 7);
        }
        for (; p < depth; p++, to += PANEL) {
            to[0] = r0[p], to[1] = r1[p], to[2] = r2[p], to[3] = r3[p];
        }
    }
    for (; j < PANEL; j++) {
        for (size_t p = 0; p < depth; p++) panel[p * PANEL + j] = j < cols ? b[j * ldb + p] : 0;
    }
}

static size_t fast_pack_size(size_t k, size_t n)
{
    return (n + PANEL - 1) / PANEL * PANEL * k;
}

static void fast_pack(size_t k, size_t n, const void *bv, size_t ldb, bool b_transposed,
                      void *packed)
{
    const float *b = bv;
    float *panel = packed;
    for (size_t j = 0; j < n; j += PANEL, panel += k * PANEL)
        pack_panel(k, n - j < PANEL ? n - j : PANEL, b_transposed ? b + j * ldb : b + j, ldb,
                   b_transposed, panel);
}

/* The tile's rows, from row i of C on, times theirs of scale. */
static void scale_tile(const iv_product *p, size_t i, size_t rows, size_t j, size_t cols, float *c)
{
    const float *scale = (const float *)p->scale + j;
    size_t row = i % p->scale_rows;
    for (size_t r = 0; r < rows; r++, c += p->ldc) {
        const float *s = scale + row * p->n;
        for (size_t q = 0; q < cols; q += W)
            store_up_to(c + q, load_up_to(c + q, cols - q) * load_up_to(s + q, cols - q), cols - q);
        if (++row == p->scale_rows) row = 0;
    }
}

static void fast_product(const iv_product *p)
{
    const float *a = p->a, *b = p->b, *packed = p->packed, *bias = p->bias;
    const float *scale = p->scale;
    float *c = p->c, *slope = p->slope;
    const size_t m = p->m, n = p->n, k = p->k;
    if (m == 0 || n == 0) return;
    _Alignas(64) float stack_panel[DEPTH * PANEL];
    /* Few rows do not repay the packing of what can be read in place. */
    const bool in_place = !packed && !p->b_transposed && m <= 2 * TILE_ROWS;
    const size_t count = (m + TILE_ROWS - 1) / TILE_ROWS;
    const size_t rows_each = m / count, rows_over = m % count;
    for (size_t j = 0; j < n; j += PANEL) {
        const size_t cols = n - j < PANEL ? n - j : PANEL;
        for (size_t q = 0; q == 0 || q < k; q += DEPTH) {
            const bool last = k - q <= DEPTH;
            tile_job job = {.depth = last ? k - q : DEPTH,
                            .lda = p->lda,
                            .ldb = PANEL,
                            .ldc = p->ldc,
                            .cols = cols,
                            .bias = last && bias ? bias + j : NULL};
            if (packed) {
                job.b = packed + j * k + q * PANEL;
            } else if (in_place && cols == PANEL) {
                job.b = b + q * p->ldb + j;
                job.ldb = p->ldb;
            } else {
                pack_panel(job.depth, cols,
                           p->b_transposed ? b + j * p->ldb + q : b + q * p->ldb + j, p->ldb,
                           p->b_transposed, stack_panel);
                job.b = stack_panel;
            }
            const tile_function *table = tiles[p->a_transposed][cols > W];
            for (size_t t = 0, i = 0; t < count; t++) {
                const size_t rows = rows_each + (t < rows_over);
                float *at = c + i * p->ldc + j;
                job.a = p->a_transposed ? a + q * p->lda + i : a + i * p->lda + q;
                job.from = q > 0 || p->accumulate ? at : NULL;
                job.to = at;
                table[rows - 1](&job);
                if (last && (slope || p->act != IV_ACT_NONE))
                    act_rows(p->act, p->act_parameter, rows, cols, at, at,
                             slope ? slope + i * p->ldc + j : NULL, p->ldc);
                if (last && scale) scale_tile(p, i, rows, j, cols, at);
                i += rows;
            }
        }
    }
}
