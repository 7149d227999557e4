/* Repeated fits: what is kept is used again, what was stopped goes on to the same result, and
 * folders of other runs are refused. */
#include "support_fit.h"

#include "base/file.h"
#include "base/memory.h"
#include "train/stability.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/isovae-stability-XXXXXX";

static int make_place(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int remove_place(void **state)
{
    (void)state;
    return rmdir(folder); /* everything in it must be gone */
}

static iv_stability_options quick(size_t runs)
{
    iv_stability_options options;
    memset(&options, 0, sizeof options);
    iv_fit_options_init(&options.fit);
    options.fit.latent_dim = 4;
    options.fit.steps = short_run() ? 60 : 600;
    options.fit.seed = 7;
    options.runs = runs;
    options.folder = folder;
    options.least = 0.9;
    return options;
}

static iv_stability *made(const iv_dataset *data, const iv_stability_options *options)
{
    isovae_error err;
    iv_stability *s = NULL;
    ok(iv_stability_make(data, options, &s, &err), &err);
    return s;
}

static void same_numbers(const iv_stability *a, const iv_stability *b)
{
    assert_int_equal(a->n_runs, b->n_runs);
    assert_int_equal(a->rows, b->rows);
    for (size_t i = 0; i < a->n_runs; i++) {
        assert_int_equal(a->runs[i].seed, b->runs[i].seed);
        assert_int_equal(a->runs[i].active, b->runs[i].active);
        assert_memory_equal(a->runs[i].y, b->runs[i].y,
                            a->rows * a->runs[i].active * sizeof(double));
    }
}

static void runs_are_kept(void **state)
{
    (void)state;
    iv_dataset *data = open_data("toy:norm,n=1000");
    iv_stability_options options = quick(2);
    iv_stability *first = made(data, &options);
    assert_int_equal(first->kept, 0);
    assert_int_equal(first->runs[1].seed, 8);
    assert_false(first->held_out);
    assert_int_equal(first->rows, 1000);
    iv_stability *second = made(data, &options);
    assert_int_equal(second->kept, 2);
    same_numbers(first, second);
    iv_stability_free(second);
    options.runs = 3; /* one more is made, the others stand */
    second = made(data, &options);
    assert_int_equal(second->kept, 2);
    assert_int_equal(second->n_runs, 3);
    if (!short_run()) {
        assert_int_equal(second->agreement->n, 3);
        assert_int_equal(second->agreement->units[0].found, 3);
    }

    /* other options, other data */
    isovae_error err;
    iv_stability *refused = NULL;
    iv_stability_options others = options;
    others.fit.beta = 0.02;
    assert_int_equal(iv_stability_make(data, &others, &refused, &err), ISOVAE_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "other data or options"));
    iv_dataset *other = open_data("toy:norm,n=1000,seed=1");
    assert_int_equal(iv_stability_make(other, &options, &refused, &err), ISOVAE_ERR_ARGUMENT);
    assert_null(refused);
    iv_dataset_free(other);

    /* a model that was damaged is made again */
    iv_text path = {0};
    ok(iv_stability_path(folder, 8, false, &path, &err), &err);
    ok(iv_file_write(path.data, "no model", 8, &err), &err);
    iv_text_free(&path);
    iv_stability *mended = made(data, &options);
    assert_int_equal(mended->kept, 2);
    same_numbers(second, mended);
    iv_stability_free(mended);
    iv_stability_clean(second, folder);
    assert_int_not_equal(access(folder, F_OK), 0);
    assert_int_equal(mkdir(folder, 0700), 0);
    iv_stability_free(first);
    iv_stability_free(second);
    iv_dataset_free(data);
}

typedef struct watcher {
    double stop_at, last, total;
    bool backwards;
    size_t calls;
} watcher;

static bool watch(void *user, const iv_progress_info *info)
{
    watcher *w = user;
    double share = info->done / info->total;
    w->backwards = w->backwards || share < w->last - 1e-12;
    w->last = share;
    w->calls++;
    assert_string_equal(info->stage, "2 runs");
    return share < w->stop_at;
}

static void what_was_stopped_goes_on(void **state)
{
    (void)state;
    isovae_error err;
    iv_dataset *data = open_data("toy:norm,n=1000");
    iv_stability_options options = quick(2);
    watcher w = {.stop_at = 2};
    options.fit.progress = (iv_progress){watch, &w};
    iv_stability *whole = made(data, &options);
    assert_true(w.calls > 2 && !w.backwards);
    assert_true(w.last > 0.5 && w.last <= 1);
    iv_stability_clean(whole, folder);
    assert_int_equal(mkdir(folder, 0700), 0);

    iv_stability *none = NULL;
    w = (watcher){.stop_at = 0.6}; /* in the second run */
    assert_int_equal(iv_stability_make(data, &options, &none, &err), ISOVAE_ERR_CANCELLED);
    assert_null(none);
    w = (watcher){.stop_at = 2};
    iv_stability *resumed = made(data, &options);
    assert_int_equal(resumed->kept, 1);
    same_numbers(whole, resumed);
    iv_stability_clean(resumed, folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    iv_stability_free(whole);
    iv_stability_free(resumed);
    iv_dataset_free(data);
}

static void one_split_for_all(void **state)
{
    (void)state;
    iv_dataset *data = open_data("toy:norm,n=2000");
    isovae_error err;
    iv_stability_options options = quick(2);
    uint64_t plain, split;
    options.fit.steps = 30;
    ok(iv_stability_fingerprint(data, &options.fit, &plain, &err), &err);
    ok(IV_NEW(data->group, data->rows, "the split", &err), &err);
    for (size_t r = 0; r < data->rows; r += 4) data->group[r] = 1;
    ok(iv_stability_fingerprint(data, &options.fit, &split, &err), &err);
    assert_true(plain != split);
    iv_stability *s = made(data, &options);
    assert_true(s->held_out);
    assert_int_equal(s->rows, 500);
    assert_int_equal(s->row[1], 4);
    iv_stability_clean(s, folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    iv_stability_free(s);
    iv_dataset_free(data);
}

static void runs_that_diverge(void **state)
{
    (void)state;
    isovae_error err;
    iv_dataset *data = open_data("toy:norm,n=500");
    iv_stability_options options = quick(2);
    iv_stability *none = NULL;
    options.fit.loss = "weighted:down"; /* squared errors are held */
    options.fit.rate = 1;
    options.fit.no_restart = true;
    options.fit.steps = 200;
    assert_int_equal(iv_stability_make(data, &options, &none, &err), ISOVAE_ERR_DIVERGED);
    assert_null(none);
    char path[256];
    snprintf(path, sizeof path, "%s/options.hash", folder);
    assert_int_equal(unlink(path), 0);
    iv_dataset_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_are_kept),
        cmocka_unit_test(what_was_stopped_goes_on),
        cmocka_unit_test(one_split_for_all),
        cmocka_unit_test(runs_that_diverge),
    };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
