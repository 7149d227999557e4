/* Products with at most THIN columns, where a panel would be nearly empty. The packed form of so
 * thin a B is its columns one behind the other, each filled up with zeros to whole vectors.
 *
 * Where A lies along k, so do the lanes: an element is W sums, each over every W-th k, folded in
 * halves. Where A lies across k, the lanes are rows of C, and an element is one chain over k. */

enum { THIN = IV_PRODUCT_THIN, THIN_ROWS = W / THIN, THIN_VECTORS = 4 };

static bool is_thin(size_t k, size_t n)
{
    return n <= THIN && k >= 2 * W;
}

static size_t thin_column(size_t k)
{
    return (k + W - 1) / W * W;
}

static void thin_pack(size_t k, size_t n, const float *b, size_t ldb, bool b_transposed,
                      float *packed)
{
    size_t column = thin_column(k);
    for (size_t j = 0; j < n; j++, packed += column) {
        for (size_t p = 0; p < k; p++) packed[p] = b_transposed ? b[j * ldb + p] : b[p * ldb + j];
        for (size_t p = k; p < column; p++) packed[p] = 0;
    }
}

/* Where op(B) lies: its element (q, j) is b[q * along + j * across]. */
typedef struct thin_b {
    const float *b;
    size_t along, across;
} thin_b;

static thin_b thin_place(const iv_product *p)
{
    if (p->packed) return (thin_b){p->packed, 1, thin_column(p->k)};
    if (p->b_transposed) return (thin_b){p->b, 1, p->ldb};
    return (thin_b){p->b, p->ldb, 1};
}

/* Elements (q, j) to (q + count - 1, j), the other lanes zero. */
INLINE vf thin_b_lanes(const thin_b *at, size_t count, size_t q, size_t j)
{
    const float *b = at->b + q * at->along + j * at->across;
    if (at->along == 1) return load_up_to(b, count);
    float lane[W] = {0};
    for (size_t l = 0; l < count; l++) lane[l] = b[l * at->along];
    return load(lane);
}

/* What follows the sums of C's rows from row i on. */
static void thin_finish(const iv_product *p, size_t i, size_t rows)
{
    float *c = (float *)p->c + i * p->ldc;
    float *slope = p->slope ? (float *)p->slope + i * p->ldc : NULL;
    if (slope || p->act != IV_ACT_NONE)
        act_rows(p->act, p->act_parameter, rows, p->n, c, c, slope, p->ldc);
    if (p->scale) scale_tile(p, i, rows, 0, p->n, c);
}

/* THIN_ROWS rows of A times n columns, in one vector: lane r THIN + j. Vectors are folded in pairs,
 * whose lanes stand interleaved afterwards, so log2(W) rounds leave one vector of all sums. */
INLINE vf thin_sums(const size_t n, const thin_b *b, size_t k, const float *const *a)
{
    vf sum[W];
    for (size_t i = 0; i < W; i++) sum[i] = set1(0.0f);
    size_t q = 0;
    if (b->along == 1) {
        for (; q + W <= k; q += W) { /* without a branch inside, the sums stay in registers */
            for (size_t r = 0; r < THIN_ROWS; r++) {
                vf x = load(a[r] + q);
                for (size_t j = 0; j < n; j++)
                    sum[r * THIN + j] = madd(x, load(b->b + j * b->across + q), sum[r * THIN + j]);
            }
        }
    }
    for (; q < k; q += W) {
        size_t count = k - q < W ? k - q : W;
        for (size_t r = 0; r < THIN_ROWS; r++) {
            vf x = load_up_to(a[r] + q, count);
            for (size_t j = 0; j < n; j++)
                sum[r * THIN + j] = madd(x, thin_b_lanes(b, count, q, j), sum[r * THIN + j]);
        }
    }
    for (size_t half = W / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            sum[i] = zip_low(sum[i], sum[i + half]) + zip_high(sum[i], sum[i + half]);
    return sum[0];
}

static void thin_along(const iv_product *p, const thin_b *b)
{
    const float *a = p->a, *bias = p->bias;
    for (size_t i = 0; i < p->m; i += THIN_ROWS) {
        const size_t rows = p->m - i < THIN_ROWS ? p->m - i : THIN_ROWS;
        const float *row[THIN_ROWS];
        float lane[W];
        for (size_t r = 0; r < THIN_ROWS; r++) row[r] = a + (i + (r < rows ? r : 0)) * p->lda;
        switch (p->n) {
        case 1: store(lane, thin_sums(1, b, p->k, row)); break;
        case 2: store(lane, thin_sums(2, b, p->k, row)); break;
        case 3: store(lane, thin_sums(3, b, p->k, row)); break;
        default: store(lane, thin_sums(4, b, p->k, row)); break;
        }
        for (size_t r = 0; r < rows; r++) {
            float *c = (float *)p->c + (i + r) * p->ldc;
            for (size_t j = 0; j < p->n; j++) {
                float value = lane[r * THIN + j];
                if (p->accumulate) value = c[j] + value;
                c[j] = bias ? value + bias[j] : value;
            }
        }
        thin_finish(p, i, rows);
    }
}

/* rows of C (up to vectors W) from row i on */
INLINE void thin_across_block(const size_t n, const size_t vectors, const iv_product *p,
                              const thin_b *b, size_t i, size_t rows)
{
    const float *a = (const float *)p->a + i, *bias = p->bias;
    float *c = (float *)p->c + i * p->ldc, lane[THIN_VECTORS * W];
    vf sum[THIN_VECTORS][THIN];
    for (size_t j = 0; j < n; j++) {
        for (size_t l = 0; l < vectors * W; l++)
            lane[l] = p->accumulate && l < rows ? c[l * p->ldc + j] : 0;
        for (size_t v = 0; v < vectors; v++) sum[v][j] = load(lane + v * W);
    }
    for (size_t q = 0; q < p->k; q++, a += p->lda) {
        vf x[THIN_VECTORS];
        for (size_t v = 0; v < vectors; v++)
            x[v] = vectors == 1 ? load_up_to(a, rows) : load(a + v * W);
        for (size_t j = 0; j < n; j++) {
            vf y = set1(b->b[q * b->along + j * b->across]);
            for (size_t v = 0; v < vectors; v++) sum[v][j] = madd(x[v], y, sum[v][j]);
        }
    }
    for (size_t j = 0; j < n; j++) {
        for (size_t v = 0; v < vectors; v++) store(lane + v * W, sum[v][j]);
        for (size_t l = 0; l < rows; l++) c[l * p->ldc + j] = bias ? lane[l] + bias[j] : lane[l];
    }
    thin_finish(p, i, rows);
}

INLINE void thin_across(const size_t n, const iv_product *p, const thin_b *b)
{
    size_t i = 0;
    for (; i + THIN_VECTORS * W <= p->m; i += THIN_VECTORS * W)
        thin_across_block(n, THIN_VECTORS, p, b, i, THIN_VECTORS * W);
    for (; i < p->m; i += W) thin_across_block(n, 1, p, b, i, p->m - i < W ? p->m - i : W);
}

static void thin_product(const iv_product *p)
{
    const thin_b b = thin_place(p);
    if (!p->a_transposed) {
        thin_along(p, &b);
        return;
    }
    switch (p->n) {
    case 1: thin_across(1, p, &b); break;
    case 2: thin_across(2, p, &b); break;
    case 3: thin_across(3, p, &b); break;
    default: thin_across(4, p, &b); break;
    }
}
