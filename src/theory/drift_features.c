/* The two-sample tests of features, a block of columns at a time: rows come once per block, and
 * the columns of a block are tested by all threads. */
#include "theory/drift.h"

#include "base/memory.h"

#include <math.h>

enum { BLOCK_CELLS = 1 << 24 };

typedef struct block {
    size_t first, width;    /* columns */
    size_t n[2];            /* rows */
    const float *values[2]; /* width x n: a column is contiguous */
    iv_drift_item *items;   /* of the block */
    double *a[64], *b[64];  /* room per task */
    iv_ranked *room[64];
    size_t tasks;
} block;

static void test_columns(void *user, size_t task)
{
    const block *bl = user;
    for (size_t c = task; c < bl->width; c += bl->tasks) {
        const float *x = bl->values[0] + c * bl->n[0], *y = bl->values[1] + c * bl->n[1];
        for (size_t r = 0; r < bl->n[0]; r++) bl->a[task][r] = (double)x[r];
        for (size_t r = 0; r < bl->n[1]; r++) bl->b[task][r] = (double)y[r];
        iv_drift_item *item = &bl->items[c];
        item->what = IV_DRIFT_FEATURE;
        item->index = bl->first + c;
        item->tested = true;
        iv_two_sample_of(bl->n[0], bl->a[task], bl->n[1], bl->b[task], bl->room[task], &item->test);
    }
}

static void gather(const iv_dataset *data, const size_t *rows, size_t n, size_t first, size_t width,
                   float *row, float *out)
{
    iv_dataset_use(data, IV_ROWS_WANTED, rows, n);
    for (size_t r = 0; r < n; r++) {
        iv_dataset_row(data, rows[r], row);
        for (size_t c = 0; c < width; c++) out[c * n + r] = row[first + c];
    }
    iv_dataset_use(data, IV_ROWS_TOUCHED, rows, n);
}

isovae_status iv_drift_features(const iv_dataset *const data[2], size_t *const rows[2],
                                const size_t n_rows[2], const iv_drift_options *options,
                                iv_drift_item *items, isovae_error *err)
{
    size_t d = data[0]->cols, both = n_rows[0] + n_rows[1];
    size_t width = BLOCK_CELLS / both > 0 ? BLOCK_CELLS / both : 1;
    if (width > d) width = d;
    block b = {.n = {n_rows[0], n_rows[1]}, .tasks = iv_pool_threads(options->pool)};
    if (b.tasks > 64) b.tasks = 64;
    float *row = NULL, *values[2] = {NULL, NULL};
    isovae_status status = IV_NEW(row, d, "a row", err);
    for (size_t s = 0; s < 2 && status == ISOVAE_OK; s++) {
        status = IV_NEW(values[s], width * n_rows[s], "columns", err);
        b.values[s] = values[s];
    }
    for (size_t t = 0; t < b.tasks && status == ISOVAE_OK; t++) {
        status = IV_NEW(b.a[t], n_rows[0], "a column", err);
        if (status == ISOVAE_OK) status = IV_NEW(b.b[t], n_rows[1], "a column", err);
        if (status == ISOVAE_OK) status = IV_NEW(b.room[t], both, "a column", err);
    }
    for (size_t first = 0; first < d && status == ISOVAE_OK; first += width) {
        b.first = first;
        b.width = first + width < d ? width : d - first;
        b.items = items + first;
        if (!iv_progress_rows(&options->progress, "features", first, d)) {
            status = iv_fail(err, ISOVAE_ERR_CANCELLED, "interrupted");
            break;
        }
        for (size_t s = 0; s < 2; s++) {
            gather(data[s], rows[s], n_rows[s], first, b.width, row, values[s]);
        }
        iv_pool_run(options->pool, b.tasks, test_columns, &b);
    }
    for (size_t t = 0; t < b.tasks; t++) {
        iv_free(b.a[t]);
        iv_free(b.b[t]);
        iv_free(b.room[t]);
    }
    iv_free(row);
    iv_free(values[0]);
    iv_free(values[1]);
    return status;
}
