/* Kernels that are plain loops: included by the reference and by the fast tables, where the
 * compiler vectorises them with the flags of the including file. Elements do not depend on each
 * other, so the bytes are the same however many lanes there are. No include guard: T (the element
 * type) and K (T's square root and the like, K(sqrt)) are defined by the including file.
 *
 * IV_LANES says that the iterations of a loop are independent, which the compiler cannot see
 * because y may be the same array as an input. */
#include "base/memory.h"
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

#if defined(__clang__)
/* A build without the vectoriser need not say so for every loop. */
#pragma clang diagnostic ignored "-Wpass-failed"
#define IV_LANES _Pragma("clang loop vectorize(assume_safety)")
#else
#define IV_LANES _Pragma("GCC ivdep")
#endif

static isovae_status plain_alloc(void **out, size_t elements, const char *what, isovae_error *err)
{
    return iv_alloc(out, elements, sizeof(T), what, err);
}

static void plain_release(void *memory)
{
    iv_free(memory);
}

static void plain_upload(void *to, const double *from, size_t n)
{
    T *y = to;
    IV_LANES
    for (size_t i = 0; i < n; i++) y[i] = (T)from[i];
}

static void plain_upload_f32(void *to, const float *from, size_t n)
{
    T *y = to;
    IV_LANES
    for (size_t i = 0; i < n; i++) y[i] = (T)from[i];
}

static void plain_download(double *to, const void *from, size_t n)
{
    const T *x = from;
    IV_LANES
    for (size_t i = 0; i < n; i++) to[i] = (double)x[i];
}

static void plain_download_f32(float *to, const void *from, size_t n)
{
    const T *x = from;
    IV_LANES
    for (size_t i = 0; i < n; i++) to[i] = (float)x[i];
}

static void plain_fill(size_t n, double value, void *yv)
{
    T *y = yv;
    T v = (T)value;
    for (size_t i = 0; i < n; i++) y[i] = v;
}

static void plain_add(size_t n, const void *av, const void *bv, void *yv)
{
    const T *a = av, *b = bv;
    T *y = yv;
    IV_LANES
    for (size_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

static void plain_axpy(size_t n, double alpha, const void *xv, void *yv)
{
    const T *x = xv;
    T *y = yv;
    T c = (T)alpha;
    IV_LANES
    for (size_t i = 0; i < n; i++) y[i] += c * x[i];
}

static void plain_multiply(size_t n, const void *av, const void *bv, void *yv)
{
    const T *a = av, *b = bv;
    T *y = yv;
    IV_LANES
    for (size_t i = 0; i < n; i++) y[i] = a[i] * b[i];
}

static void plain_multiply_add(size_t n, const void *av, const void *bv, void *yv)
{
    const T *a = av, *b = bv;
    T *y = yv;
    IV_LANES
    for (size_t i = 0; i < n; i++) y[i] += a[i] * b[i];
}

static void plain_copy_block(size_t rows, size_t cols, const void *xv, size_t ldx, void *yv,
                             size_t ldy, bool accumulate)
{
    const T *x = xv;
    T *y = yv;
    for (size_t r = 0; r < rows; r++, x += ldx, y += ldy) {
        if (accumulate) {
            IV_LANES
            for (size_t i = 0; i < cols; i++) y[i] += x[i];
        } else if (x != y && cols > 0) {
            memmove(y, x, cols * sizeof(T));
        }
    }
}

static void plain_reorder(const iv_reorder *p, const void *xv, void *yv, bool accumulate)
{
    const T *restrict x = xv;
    T *restrict y = yv;
    size_t rank = p->rank, index[IV_REORDER_AXES] = {0};
    size_t n = p->extent[rank - 1];
    ptrdiff_t from = p->from[rank - 1], to = p->to[rank - 1];
    for (size_t a = 0; a < rank; a++) {
        if (p->extent[a] == 0) return;
    }
    for (;;) {
        if (accumulate) {
            for (size_t i = 0; i < n; i++) y[(ptrdiff_t)i * to] += x[(ptrdiff_t)i * from];
        } else if (from == 1 && to == 1) {
            memcpy(y, x, n * sizeof(T));
        } else if (to == 1) {
            for (size_t i = 0; i < n; i++) y[i] = x[(ptrdiff_t)i * from];
        } else {
            for (size_t i = 0; i < n; i++) y[(ptrdiff_t)i * to] = x[(ptrdiff_t)i * from];
        }
        size_t a = rank - 1; /* count up the outer axes, like the digits of a number */
        while (a > 0) {
            a--;
            if (++index[a] < p->extent[a]) {
                x += p->from[a];
                y += p->to[a];
                break;
            }
            x -= (ptrdiff_t)(index[a] - 1) * p->from[a];
            y -= (ptrdiff_t)(index[a] - 1) * p->to[a];
            index[a] = 0;
            if (a == 0) return;
        }
        if (rank == 1) return;
    }
}

/* A run of elements, in steps of 16 that may write (and, with `inside`, read) up to 15 too many:
 * the runs are short, and a call of memcpy costs more than they do. */
static inline void plain_copy_run(T *y, const T *x, size_t n, bool inside)
{
    enum { STEP = IV_GATHER_SLACK };
    size_t i = 0;
    if (n > 8 * STEP || !inside) {
        memcpy(y, x, n * sizeof(T));
        return;
    }
    do {
        memcpy(y + i, x + i, STEP * sizeof(T));
        i += STEP;
    } while (i < n);
}

/* One row of taps of one window: x0 is the position of its first tap, taps [lo, hi) are in the
 * image, which ends at `end`. */
static inline void plain_gather_taps(const iv_gather *g, const T *row, const T *end, ptrdiff_t x0,
                                     size_t lo, size_t hi, T *y)
{
    size_t c = g->channels;
    if (lo > 0) memset(y, 0, lo * c * sizeof(T));
    if (g->x.spacing == 1 && g->pixel == c) {
        if (hi > lo) {
            const T *x = row + (x0 + (ptrdiff_t)lo) * (ptrdiff_t)c;
            size_t n = (hi - lo) * c;
            plain_copy_run(y + lo * c, x, n, (size_t)(end - x) >= n + IV_GATHER_SLACK);
        }
    } else {
        for (size_t j = lo; j < hi; j++) {
            const T *x = row + (x0 + (ptrdiff_t)j * g->x.spacing) * (ptrdiff_t)g->pixel;
            plain_copy_run(y + j * c, x, c, (size_t)(end - x) >= c + IV_GATHER_SLACK);
        }
    }
    if (hi < g->x.taps) memset(y + hi * c, 0, (g->x.taps - hi) * c * sizeof(T));
}

static void plain_gather(const iv_gather *g, size_t first, size_t count, const void *imagev,
                         void *columnsv)
{
    const T *image = imagev;
    T *columns = columnsv;
    const iv_window *wy = &g->y, *wx = &g->x;
    size_t ty = count > 0 ? first / wx->windows : 0, tx = first - ty * wx->windows;
    size_t run = wx->taps * g->channels;
    /* The last pixel may be one of which only these channels are there. */
    const T *end = image + (wy->extent * wx->extent - 1) * g->pixel + g->channels;
    for (size_t r = 0; r < count; r++, columns += g->ld) {
        ptrdiff_t x0 = wx->start + (ptrdiff_t)tx * wx->step;
        ptrdiff_t y0 = wy->start + (ptrdiff_t)ty * wy->step;
        size_t lo = 0, hi = wx->taps; /* few steps, and none away from the border */
        while (lo < hi && x0 + (ptrdiff_t)lo * wx->spacing < 0) lo++;
        while (hi > lo && x0 + (ptrdiff_t)(hi - 1) * wx->spacing >= (ptrdiff_t)wx->extent) hi--;
        T *y = columns;
        for (size_t j = 0; j < wy->taps; j++, y0 += wy->spacing, y += run) {
            if (y0 < 0 || y0 >= (ptrdiff_t)wy->extent) {
                memset(y, 0, run * sizeof(T));
            } else {
                plain_gather_taps(g, image + (size_t)y0 * wx->extent * g->pixel, end, x0, lo, hi,
                                  y);
            }
        }
        if (++tx == wx->windows) {
            tx = 0;
            ty++;
        }
    }
}

/* The columns go in blocks whose sums fit on the stack; each sum runs over the rows in order. */
static void plain_column_sums(size_t rows, size_t cols, const void *xv, size_t ldx, void *yv,
                              bool accumulate)
{
    enum { BLOCK = 512 };
    const T *x = xv;
    T *y = yv;
    double sum[BLOCK];
    for (size_t j = 0; j < cols; j += BLOCK) {
        size_t width = cols - j < BLOCK ? cols - j : BLOCK;
        for (size_t i = 0; i < width; i++) sum[i] = 0;
        for (size_t r = 0; r < rows; r++) {
            const T *row = x + r * ldx + j;
            for (size_t i = 0; i < width; i++) sum[i] += (double)row[i];
        }
        for (size_t i = 0; i < width; i++)
            y[j + i] = (T)(accumulate ? (double)y[j + i] + sum[i] : sum[i]);
    }
}

static void plain_normals(const iv_key *key, size_t rows, const size_t *row, size_t n, void *outv)
{
    iv_key at = *key;
    T *out = outv;
    for (size_t r = 0; r < rows; r++, out += n) {
        at.row = row[r];
        if (sizeof(T) == sizeof(float)) {
            iv_normals_f32(&at, n, (float *)(void *)out);
        } else {
            iv_normals_f64(&at, n, (double *)(void *)out);
            for (size_t j = 0; j < n; j++) out[j] = (T)(float)out[j];
        }
    }
}

/* z = mu + sigma eps and the like need exp; what follows needs none. */

/* d/dxhat of w (xhat - x)^2, times factor and the row's own weight. */
static void plain_sse_gradient(size_t rows, size_t d, const void *xv, const void *xhatv,
                               const void *wv, const double *row, double factor, void *gv,
                               bool accumulate)
{
    const T *x = xv, *xhat = xhatv, *w = wv;
    T *g = gv;
    for (size_t r = 0; r < rows; r++, x += d, xhat += d, g += d) {
        T c = (T)(2 * factor * (row ? row[r] : 1));
        if (w && accumulate) {
            IV_LANES
            for (size_t i = 0; i < d; i++) g[i] += c * (w[i] * (xhat[i] - x[i]));
        } else if (w) {
            IV_LANES
            for (size_t i = 0; i < d; i++) g[i] = c * (w[i] * (xhat[i] - x[i]));
        } else if (accumulate) {
            IV_LANES
            for (size_t i = 0; i < d; i++) g[i] += c * (xhat[i] - x[i]);
        } else {
            IV_LANES
            for (size_t i = 0; i < d; i++) g[i] = c * (xhat[i] - x[i]);
        }
    }
}

static void plain_scale_rows(size_t rows, size_t d, const double *row, const void *xv, void *yv,
                             bool accumulate)
{
    const T *x = xv;
    T *y = yv;
    for (size_t r = 0; r < rows; r++, x += d, y += d) {
        T c = (T)(row ? row[r] : 1);
        if (accumulate) {
            IV_LANES
            for (size_t i = 0; i < d; i++) y[i] += c * x[i];
        } else {
            IV_LANES
            for (size_t i = 0; i < d; i++) y[i] = c * x[i];
        }
    }
}

static void plain_scale_columns(size_t rows, size_t d, const void *wv, const void *xv, void *yv)
{
    const T *x = xv, *w = wv;
    T *y = yv;
    if (!w) {
        plain_copy_block(rows, d, x, d, y, d, false);
        return;
    }
    for (size_t r = 0; r < rows; r++, x += d, y += d) {
        IV_LANES
        for (size_t i = 0; i < d; i++) y[i] = x[i] * w[i];
    }
}

/* d/dxhat of c log(1 + a (xhat - x)^2), times factor. */
static void plain_student_gradient(size_t rows, size_t d, const void *xv, const void *xhatv,
                                   const void *av, const void *cv, double factor, void *gv,
                                   bool accumulate)
{
    const T *x = xv, *xhat = xhatv, *a = av, *c = cv;
    T *g = gv, twice = (T)(2 * factor), one = 1;
    for (size_t r = 0; r < rows; r++, x += d, xhat += d, g += d) {
        if (accumulate) {
            IV_LANES
            for (size_t i = 0; i < d; i++) {
                T e = xhat[i] - x[i], ae = a[i] * e;
                g[i] += twice * c[i] * ae / (one + ae * e);
            }
        } else {
            IV_LANES
            for (size_t i = 0; i < d; i++) {
                T e = xhat[i] - x[i], ae = a[i] * e;
                g[i] = twice * c[i] * ae / (one + ae * e);
            }
        }
    }
}

static void plain_residual_columns(size_t rows, size_t columns, const void *xv, const void *xhatv,
                                   size_t ld, double *squares)
{
    const T *x = xv, *xhat = xhatv;
    for (size_t r = 0; r < rows; r++, x += ld, xhat += ld) {
        for (size_t i = 0; i < columns; i++) {
            double e = (double)(xhat[i] - x[i]);
            squares[i] += e * e;
        }
    }
}

/* A logarithm for many rows: 1 + u is multiplied up until the product is large. */
static void plain_student_columns(size_t rows, size_t columns, const void *xv, const void *xhatv,
                                  size_t ld, const void *av, double *share, double *logs)
{
    enum { BLOCK = 64 };
    const double large = 1e100;
    for (size_t j = 0; j < columns; j += BLOCK) {
        size_t width = columns - j < BLOCK ? columns - j : BLOCK;
        const T *x = (const T *)xv + j, *xhat = (const T *)xhatv + j, *a = (const T *)av + j;
        double product[BLOCK];
        for (size_t i = 0; i < width; i++) product[i] = 1;
        for (size_t r = 0; r < rows; r++, x += ld, xhat += ld) {
            double most = 0;
            for (size_t i = 0; i < width; i++) {
                double e = (double)(xhat[i] - x[i]), u = (double)a[i] * e * e;
                share[j + i] += u / (1 + u);
                product[i] *= 1 + u;
                most = product[i] > most ? product[i] : most;
            }
            if (!(most > large)) continue;
            for (size_t i = 0; i < width; i++) {
                if (!(product[i] > large)) continue;
                logs[j + i] += log(product[i]);
                product[i] = 1;
            }
        }
        for (size_t i = 0; i < width; i++) logs[j + i] += log(product[i]);
    }
}

/* Adam (Kingma and Ba 2015) with the decay taken off the weight itself. Both moments are freed of
 * their start at zero by 1 - beta^step:
 * w = w (1 - rate decay) - rate m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + epsilon) */
static void plain_adam(size_t n, const iv_adam *adam, void *wv, const void *gv, void *mv, void *vv)
{
    T *w = wv, *m = mv, *v = vv;
    const T *g = gv;
    double steps = (double)adam->step;
    T b1 = (T)adam->beta1, c1 = (T)(1 - adam->beta1);
    T b2 = (T)adam->beta2, c2 = (T)(1 - adam->beta2);
    T keep = (T)(1 - adam->rate * adam->weight_decay);
    T rate = (T)(adam->rate / (1 - pow(adam->beta1, steps)));
    T scale = (T)(1 / sqrt(1 - pow(adam->beta2, steps)));
    T epsilon = (T)adam->epsilon;
    IV_LANES
    for (size_t i = 0; i < n; i++) {
        m[i] = b1 * m[i] + c1 * g[i];
        v[i] = b2 * v[i] + c2 * (g[i] * g[i]);
        w[i] = keep * w[i] - rate * m[i] / (K(sqrt)(v[i]) * scale + epsilon);
    }
}

#include "kernels/channels.inc.h"
#include "kernels/general.inc.h"
#include "kernels/pools.inc.h"
