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
    size_t depth;   /* values of k in this block, or in a piece of it */
    const float *a; /* first row (column, if transposed) of the tile at the block's first k */
    size_t lda;
    const uint32_t *a_rows; /* of the tile (of the block, if transposed), or NULL */
    size_t pieces, step;    /* of the rows, if not transposed; at least 1 */
    const float *b;         /* panel at the block's first k */
    size_t ldb;             /* PANEL where packed */
    const float *from;      /* what C holds already, or NULL to start from zero */
    float *to;              /* where the sums go; both with ldc */
    size_t ldc;
    const uint32_t *c_rows; /* of the tile, or NULL */
    size_t cols;            /* columns of C under the panel */
    const float *bias;      /* of these columns, at the end of the sum, or NULL */
    const float *scale;     /* factors of the tile's elements, at the very end, or NULL */
    size_t lds;
    const uint32_t *index; /* the values of k to sum over, depth of them; or NULL for all */
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

/* How A lies and which values of k count. SCATTERED: across, from rows that lie anywhere. */
typedef enum tile_form { ALONG = 0, ACROSS = 1, CHOSEN = 2, SCATTERED = 3 } tile_form;

/* One tile. `rows`, `wide` and `form` are constants where it is used, so each use is compiled
 * for its own. Row r has two sums, s_r and t_r, and (A not transposed) a pointer a_r; they are
 * variables of their own, not arrays, for only so do compilers keep them all in registers. */
INLINE void tile(const size_t rows, const bool wide, const tile_form form, const tile_job *job)
{
    const size_t ldc = job->ldc, ldb = job->ldb, lda = job->lda, depth = job->depth;
    const size_t cols_s = job->cols, cols_t = job->cols - (wide ? W : 0);
    const float *a = job->a, *b = job->b;

    const uint32_t *c_rows = job->c_rows;
#define ROW_START(r) vf s##r = set1(0.0f), t##r = s##r;
    EACH_ROW(ROW_START)
    if (job->from) {
#define ROW_LOAD(r)                                                                                \
    if (r <= rows) {                                                                               \
        const float *from = job->from + (c_rows ? c_rows[r - 1] : (r - 1) * ldc);                  \
        s##r = load_up_to(from, cols_s);                                                           \
        if (wide) t##r = load_up_to(from + W, cols_t);                                             \
    }
        EACH_ROW(ROW_LOAD)
    }

#define ROW_ADD(r, element)                                                                        \
    if (r <= rows) {                                                                               \
        vf x = set1(element);                                                                      \
        s##r = madd(x, b0, s##r);                                                                  \
        if (wide) t##r = madd(x, b1, t##r);                                                        \
    }
    if (form == ACROSS) {
        for (size_t p = 0; p < depth; p++, a += lda, b += ldb) {
            vf b0 = load(b), b1 = wide ? load(b + W) : b0;
#define ROW_ADD_ACROSS(r) ROW_ADD(r, a[r - 1])
            EACH_ROW(ROW_ADD_ACROSS)
        }
    } else if (form == SCATTERED) {
        const uint32_t *a_rows = job->a_rows;
        for (size_t p = 0; p < depth; p++, b += ldb) {
            const float *at = a + a_rows[p];
            vf b0 = load(b), b1 = wide ? load(b + W) : b0;
#define ROW_ADD_SCATTERED(r) ROW_ADD(r, at[r - 1])
            EACH_ROW(ROW_ADD_SCATTERED)
        }
    } else {
        const uint32_t *index = job->index, *a_rows = job->a_rows;
#define ROW_POINTER(r)                                                                             \
    const float *a##r = a + (r > rows ? 0 : a_rows ? a_rows[r - 1] : (r - 1) * lda);
        EACH_ROW(ROW_POINTER)
        for (size_t piece = job->pieces;;) {
            for (size_t q = 0; q < depth; q++) {
                const size_t p = form == CHOSEN ? index[q] : q;
                const float *bp = b + p * ldb;
                vf b0 = load(bp), b1 = wide ? load(bp + W) : b0;
#define ROW_ADD_ALONG(r) ROW_ADD(r, a##r[p])
                EACH_ROW(ROW_ADD_ALONG)
            }
            if (form == CHOSEN || --piece == 0) break;
            b += depth * ldb;
#define ROW_STEP(r) a##r += job->step;
            EACH_ROW(ROW_STEP)
        }
    }

    if (job->bias) {
        vf bias_s = load_up_to(job->bias, cols_s);
        vf bias_t = wide ? load_up_to(job->bias + W, cols_t) : bias_s;
#define ROW_BIAS(r) s##r = s##r + bias_s, t##r = t##r + bias_t;
        EACH_ROW(ROW_BIAS)
    }
    if (job->scale) {
        const float *scale = job->scale;
#define ROW_SCALE(r)                                                                               \
    if (r <= rows) {                                                                               \
        s##r = s##r * load_up_to(scale, cols_s);                                                   \
        if (wide) t##r = t##r * load_up_to(scale + W, cols_t);                                     \
        scale += job->lds;                                                                         \
    }
        EACH_ROW(ROW_SCALE)
        (void)scale;
    }
#define ROW_STORE(r)                                                                               \
    if (r <= rows) {                                                                               \
        float *to = job->to + (c_rows ? c_rows[r - 1] : (r - 1) * ldc);                            \
        store_up_to(to, s##r, cols_s);                                                             \
        if (wide) store_up_to(to + W, t##r, cols_t);                                               \
    }
    EACH_ROW(ROW_STORE)
}

#define TILE_FUNCTION(r, form, suffix)                                                             \
    static void tile_##r##_narrow##suffix(const tile_job *job)                                     \
    {                                                                                              \
        tile(r, false, form, job);                                                                 \
    }                                                                                              \
    static void tile_##r##_wide##suffix(const tile_job *job)                                       \
    {                                                                                              \
        tile(r, true, form, job);                                                                  \
    }
#define TILE_FUNCTIONS(r)                                                                          \
    TILE_FUNCTION(r, ALONG, )                                                                      \
    TILE_FUNCTION(r, ACROSS, _across)                                                              \
    TILE_FUNCTION(r, CHOSEN, _chosen)                                                              \
    TILE_FUNCTION(r, SCATTERED, _scattered)
EACH_ROW(TILE_FUNCTIONS)

typedef void (*tile_function)(const tile_job *job);
/* [form][wide][rows - 1] */
#define NARROW(r) tile_##r##_narrow,
#define WIDE(r) tile_##r##_wide,
#define NARROW_ACROSS(r) tile_##r##_narrow_across,
#define WIDE_ACROSS(r) tile_##r##_wide_across,
#define NARROW_CHOSEN(r) tile_##r##_narrow_chosen,
#define WIDE_CHOSEN(r) tile_##r##_wide_chosen,
#define NARROW_SCATTERED(r) tile_##r##_narrow_scattered,
#define WIDE_SCATTERED(r) tile_##r##_wide_scattered,
static const tile_function tiles[4][2][TILE_ROWS] = {
    {{EACH_ROW(NARROW)}, {EACH_ROW(WIDE)}},
    {{EACH_ROW(NARROW_ACROSS)}, {EACH_ROW(WIDE_ACROSS)}},
    {{EACH_ROW(NARROW_CHOSEN)}, {EACH_ROW(WIDE_CHOSEN)}},
    {{EACH_ROW(NARROW_SCATTERED)}, {EACH_ROW(WIDE_SCATTERED)}}};

/* a0 b0 a1 b1 ... of the lower and of the upper halves */
INLINE vf zip_low(vf a, vf b)
{
#if W == 16
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#elif W == 8
    return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#else
    return __builtin_shufflevector(a, b, 0, 4, 1, 5);
#endif
}
INLINE vf zip_high(vf a, vf b)
{
#if W == 16
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                   31);
#elif W == 8
    return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
    return __builtin_shufflevector(a, b, 2, 6, 3, 7);
#endif
}

/* Rows i and i + W/2 zipped into rows 2 i and 2 i + 1: doing so log2(W) times transposes. */
INLINE void transpose_square(const float *from, size_t ld_from, float *to, size_t ld_to)
{
    vf x[W], y[W];
    for (size_t i = 0; i < W; i++) x[i] = load(from + i * ld_from);
    for (size_t size = W; size > 1; size /= 2) {
        for (size_t i = 0; i < W / 2; i++) {
            y[2 * i] = zip_low(x[i], x[i + W / 2]);
            y[2 * i + 1] = zip_high(x[i], x[i + W / 2]);
        }
        for (size_t i = 0; i < W; i++) x[i] = y[i];
    }
    for (size_t i = 0; i < W; i++) store(to + i * ld_to, x[i]);
}

/* depth x cols of op(B), from its element b on, as a panel of full width. */
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
    for (; j + W <= cols; j += W) {
        const float *from = b + j * ldb;
        size_t p = 0;
        for (; p + W <= depth; p += W)
            transpose_square(from + p, ldb, panel + p * PANEL + j, PANEL);
        for (; p < depth; p++)
            for (size_t l = 0; l < W; l++) panel[p * PANEL + j + l] = from[l * ldb + p];
    }
    for (; j < PANEL; j++) {
        for (size_t p = 0; p < depth; p++) panel[p * PANEL + j] = j < cols ? b[j * ldb + p] : 0;
    }
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

#include "kernels/fast_thin.inc.h"

static size_t fast_pack_size(size_t k, size_t n)
{
    if (is_thin(k, n)) return n * thin_column(k);
    return (n + PANEL - 1) / PANEL * PANEL * k;
}

static void fast_pack(size_t k, size_t n, const void *bv, size_t ldb, bool b_transposed,
                      void *packed)
{
    const float *b = bv;
    float *panel = packed;
    if (is_thin(k, n)) {
        thin_pack(k, n, b, ldb, b_transposed, packed);
        return;
    }
    for (size_t j = 0; j < n; j += PANEL, panel += k * PANEL)
        pack_panel(k, n - j < PANEL ? n - j : PANEL, b_transposed ? b + j * ldb : b + j, ldb,
                   b_transposed, panel);
}

/* Element `at` of a stored row of A, which may lie in pieces. */
static size_t in_pieces(const iv_product *p, size_t at, size_t length)
{
    return p->pieces <= 1 ? at : at / length * p->piece_step + at % length;
}

/* Slopes and activations of a tile. */
static void finish_tile(const iv_product *p, const tile_job *job, size_t rows, size_t i, size_t j)
{
    float *slope = p->slope;
    if (!slope && p->act == IV_ACT_NONE) return;
    if (!job->c_rows) {
        act_rows(p->act, p->act_parameter, rows, job->cols, job->to, job->to,
                 slope ? slope + i * p->ldc + j : NULL, p->ldc);
        return;
    }
    for (size_t r = 0; r < rows; r++) {
        float *at = job->to + job->c_rows[r];
        act_rows(p->act, p->act_parameter, 1, job->cols, at, at,
                 slope ? slope + job->c_rows[r] + j : NULL, job->cols);
    }
}

/* The tiles of C's rows [start, start + m) under one panel and one block of k; job has what they
 * share. `last`: k ends here. `in_tile`: the tiles multiply by the scale themselves. */
static void panel_rows(const iv_product *p, tile_job *job, size_t start, size_t m, size_t j,
                       size_t q, bool last, bool in_tile)
{
    const float *a = p->a;
    float *c = p->c;
    const tile_form form = !p->a_transposed ? ALONG : p->a_rows ? SCATTERED : ACROSS;
    const tile_function *table = tiles[form][job->cols > W];
    const size_t count = (m + TILE_ROWS - 1) / TILE_ROWS;
    const size_t rows_each = m / count, rows_over = m % count;
    for (size_t t = 0, i = start; t < count; t++) {
        const size_t rows = rows_each + (t < rows_over);
        const size_t row = p->a_transposed ? q : i; /* of the stored A */
        job->a = a + (p->a_rows ? 0 : row * p->lda);
        if (p->a_rows) job->a_rows = p->a_rows + row;
        job->a += p->a_transposed ? in_pieces(p, i, p->m / (p->pieces ? p->pieces : 1))
                                  : in_pieces(p, q, p->k / (p->pieces ? p->pieces : 1));
        job->c_rows = p->c_rows ? p->c_rows + i : NULL;
        job->to = c + (p->c_rows ? 0 : i * p->ldc) + j;
        job->from = q > 0 || p->accumulate ? job->to : NULL;
        if (last && in_tile) job->scale = (const float *)p->scale + (i - start) * p->n + j;
        table[rows - 1](job);
        if (last) finish_tile(p, job, rows, i, j);
        if (last && p->scale && !in_tile) scale_tile(p, i, rows, j, job->cols, job->to);
        i += rows;
    }
}

/* One row of C under RUN whole panels at once: a single row has too few sums in a panel to keep the
 * adders busy. The same chains over k, so the same bytes. */
enum { RUN = 4 };

static void panel_run(const iv_product *p, size_t j)
{
    const float *a = p->a, *b = (const float *)p->packed + j * p->k, *bias = p->bias;
    float *c = (float *)p->c + j;
    const size_t k = p->k, step = p->a_transposed ? p->lda : 1, panel = k * PANEL;
    vf sum[2 * RUN];
    for (size_t v = 0; v < 2 * RUN; v++) sum[v] = p->accumulate ? load(c + v * W) : set1(0.0f);
    for (size_t q = 0; q < k; q++, a += step, b += PANEL) {
        const vf x = set1(*a);
        for (size_t v = 0; v < 2 * RUN; v++)
            sum[v] = madd(x, load(b + v / 2 * panel + v % 2 * W), sum[v]);
    }
    for (size_t v = 0; v < 2 * RUN; v++) {
        if (bias) sum[v] = sum[v] + load(bias + j + v * W);
        if (p->scale) sum[v] = sum[v] * load((const float *)p->scale + j + v * W);
        store(c + v * W, sum[v]);
    }
    if (p->slope || p->act != IV_ACT_NONE)
        act_rows(p->act, p->act_parameter, 1, RUN * PANEL, c, c,
                 p->slope ? (float *)p->slope + j : NULL, RUN * PANEL);
}

static void fast_product(const iv_product *p)
{
    const float *b = p->b, *packed = p->packed, *bias = p->bias;
    const size_t m = p->m, n = p->n, k = p->k;
    if (m == 0 || n == 0) return;
    if (is_thin(k, n)) {
        thin_product(p);
        return;
    }
    _Alignas(64) float stack_panel[DEPTH * PANEL];
    /* Few rows do not repay the packing of what can be read in place. */
    const bool in_place = !packed && !p->b_transposed && m <= 2 * TILE_ROWS;
    /* Where the scale's rows come round within a tile, the tile cannot apply them. */
    const bool in_tile = p->scale && p->scale_rows >= TILE_ROWS;
    const size_t pieces = p->pieces > 1 ? p->pieces : 1;
    const size_t band = in_tile ? p->scale_rows : p->a_transposed ? m / pieces : m;
    /* Along k, blocks of whole pieces. */
    const bool in_runs = pieces > 1 && !p->a_transposed;
    const size_t length = in_runs ? k / pieces : 1;
    const size_t depth = length >= DEPTH ? length : DEPTH / length * length;
    size_t j = 0;
    if (m == 1 && packed && !p->a_rows && !p->c_rows && !in_runs)
        for (; j + RUN * PANEL <= n; j += RUN * PANEL) panel_run(p, j);
    for (; j < n; j += PANEL) {
        const size_t cols = n - j < PANEL ? n - j : PANEL;
        for (size_t q = 0; q == 0 || q < k; q += depth) {
            const bool last = k - q <= depth;
            const size_t block = last ? k - q : depth;
            tile_job job = {.depth = in_runs ? length : block,
                            .pieces = in_runs ? block / length : 1,
                            .step = p->piece_step,
                            .lda = p->lda,
                            .ldb = PANEL,
                            .ldc = p->ldc,
                            .lds = n,
                            .cols = cols,
                            .bias = last && bias ? bias + j : NULL};
            if (packed) {
                job.b = packed + j * k + q * PANEL;
            } else if (in_place && cols == PANEL) {
                job.b = b + q * p->ldb + j;
                job.ldb = p->ldb;
            } else {
                pack_panel(block, cols, p->b_transposed ? b + j * p->ldb + q : b + q * p->ldb + j,
                           p->ldb, p->b_transposed, stack_panel);
                job.b = stack_panel;
            }
            for (size_t i = 0; i < m; i += band)
                panel_rows(p, &job, i, m - i < band ? m - i : band, j, q, last, in_tile);
        }
    }
}

/* The same product where row r of A (of every one of m / rows blocks of rows) is zero wherever row
 * r of `mask` is: those values of k are left out, which changes no byte as long as B is finite. The
 * rows of a tile are one row of each of several blocks, since they share the values that count. */
static void fast_product_masked(const iv_product *p, size_t rows, const void *maskv, void *scratch)
{
    enum { LEAST_BLOCKS = 6 };
    const size_t blocks = p->m / rows, n = p->n, k = p->k;
    const float *mask = maskv;
    uint32_t *index = scratch, *counts = index + rows * k; /* row r's from index + r k on */
    size_t total = 0;
    for (size_t r = 0; r < rows; r++) {
        uint32_t *to = index + r * k, found = 0;
        for (size_t q = 0; q < k; q++) {
            to[found] = (uint32_t)q;
            found += mask[r * k + q] != 0;
        }
        total += found;
        counts[r] = found;
    }
    /* Full tiles of neighbouring rows are a little faster than scattered ones. */
    if (blocks < LEAST_BLOCKS || is_thin(k, n) || !p->packed || p->a_transposed ||
        total * 8 > rows * k * 7) {
        fast_product(p);
        return;
    }
    const size_t count = (blocks + TILE_ROWS - 1) / TILE_ROWS;
    const size_t blocks_each = blocks / count, blocks_over = blocks % count;
    const float *a = p->a, *bias = p->bias, *scale = p->scale;
    float *c = p->c;
    for (size_t j = 0; j < n; j += PANEL) {
        tile_job job = {.lda = rows * p->lda,
                        .pieces = 1,
                        .b = (const float *)p->packed + j * k,
                        .ldb = PANEL,
                        .ldc = rows * p->ldc,
                        .lds = 0,
                        .cols = n - j < PANEL ? n - j : PANEL,
                        .bias = bias ? bias + j : NULL};
        const tile_function *table = tiles[CHOSEN][job.cols > W];
        for (size_t r = 0; r < rows; r++) {
            job.index = index + r * k;
            job.depth = counts[r];
            if (scale) job.scale = scale + r % p->scale_rows * n + j;
            for (size_t t = 0, block = 0; t < count; t++) {
                const size_t row = block * rows + r;
                job.a = a + row * p->lda;
                job.to = c + row * p->ldc + j;
                job.from = p->accumulate ? job.to : NULL;
                table[blocks_each + (t < blocks_over) - 1](&job);
                block += blocks_each + (t < blocks_over);
            }
        }
    }
}
