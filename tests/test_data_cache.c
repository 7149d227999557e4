/* data/: rows that do not fit in the memory that is allowed, and the caches that hold them. */
#include "support_pictures.h"

#include "data/scaling.h"
#include "data/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { LIMIT = 1 << 20 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* The two hold the same, by every way of reading. */
static void assert_same(const iv_dataset *a, const iv_dataset *b)
{
    assert_int_equal(a->rows, b->rows);
    assert_int_equal(a->cols, b->cols);
    assert_true(a->hash == b->hash);
    assert_true(a->named == b->named && a->height == b->height && a->width == b->width &&
                a->channels == b->channels && a->bad_rows == b->bad_rows);
    assert_true((a->note == NULL) == (b->note == NULL));
    if (a->note != NULL) assert_string_equal(a->note, b->note);
    assert_memory_equal(a->status, b->status, a->rows);
    size_t cols = a->cols, *rows = malloc(a->rows * sizeof *rows);
    float *x = malloc(2 * cols * sizeof *x), *y = malloc(2 * cols * sizeof *y);
    assert_true(rows != NULL && x != NULL && y != NULL);
    for (size_t r = 0; r < a->rows; r++) rows[r] = r;
    iv_scaling s, t;
    assert_int_equal(iv_scaling_fit(IV_SCALE_STANDARD, a, rows, a->rows, &s, NULL), ISOVAE_OK);
    assert_int_equal(iv_scaling_fit(IV_SCALE_STANDARD, b, rows, a->rows, &t, NULL), ISOVAE_OK);
    assert_memory_equal(s.shift, t.shift, cols * sizeof *s.shift);
    assert_memory_equal(s.scale, t.scale, cols * sizeof *s.scale);
    for (size_t i = 0; i < 400; i++) {
        size_t pair[2] = {i * 7919 % a->rows, i * 104729 % a->rows};
        iv_dataset_row(a, pair[0], x);
        iv_dataset_row(b, pair[0], y);
        assert_memory_equal(x, y, cols * sizeof *x);
        iv_scaling_rows(&s, a, pair, 2, x);
        iv_scaling_rows(&t, b, pair, 2, y);
        assert_memory_equal(x, y, 2 * cols * sizeof *x);
        if (a->ids != NULL) assert_string_equal(a->ids[pair[0]], b->ids[pair[0]]);
        if (a->group != NULL) assert_true(a->group[pair[0]] == b->group[pair[0]]);
    }
    iv_scaling_free(&s);
    iv_scaling_free(&t);
    free(rows);
    free(x);
    free(y);
}

static iv_data_options limited(const album *a)
{
    iv_data_options options;
    iv_data_options_init(&options);
    options.memory = LIMIT;
    options.cache = a->cache;
    return options;
}

/* In memory, in a temporary cache, in a kept one, and from that one. Without a folder behind the
 * caller's back: all of them go with the data. */
static void check_ways(album *a, const char *spec, iv_data_options options)
{
    iv_data_options plain = options;
    plain.memory = 0;
    plain.cache = NULL;
    iv_dataset *memory = must_open(spec, &plain);
    assert_null(memory->store);
    plain.memory = LIMIT;
    iv_dataset *temporary = must_open(spec, &plain);
    assert_non_null(temporary->store);
    assert_same(memory, temporary);
    iv_dataset_free(temporary);
    assert_int_equal(files_in(a->cache), 0);
    iv_dataset *kept = must_open(spec, &options);
    assert_non_null(kept->store);
    assert_same(memory, kept);
    assert_int_equal(files_in(a->cache), 1);
    iv_dataset *again = must_open(spec, &options);
    assert_int_equal(files_in(a->cache), 1);
    assert_same(memory, again);
    iv_dataset_free(again);
    iv_dataset_free(kept);
    iv_dataset_free(memory);
}

static void make_table(iv_text *text, size_t rows, bool quotes)
{
    iv_text_puts(text, "name,a,b,c,group\n");
    for (size_t r = 0; r < rows; r++) {
        iv_text_printf(text, quotes ? "\"r,%zu\",%.4f,%zu,%d,%d\n" : "r%zu,%.4f,%zu,%d,%d\n", r,
                       sin((double)r) * 10, r % 977, (int)(r * 31 % 101) - 50, r % 10 == 0);
    }
    assert_false(text->failed);
}

static void test_csv(void **state)
{
    album *a = *state;
    iv_data_options options = limited(a);
    options.id = "name";
    options.split_by = "group";
    char path[128];
    for (int quotes = 0; quotes < 2; quotes++) {
        iv_text text = {0};
        make_table(&text, 120000, quotes == 1); /* 1.4 MB of rows, more of text */
        assert_true(text.length > 2 * LIMIT);
        album_put(a, "t.csv", text.data, text.length);
        snprintf(path, sizeof path, "%s/t.csv", a->folder);
        check_ways(a, path, options);
        empty_folder(a->cache);
        iv_text_free(&text);
    }
}

static void test_gzip(void **state)
{
    album *a = *state;
    iv_text text = {0};
    char path[128];
    make_table(&text, 120000, false);
    snprintf(path, sizeof path, "%s/t.csv.gz", a->folder);
    gzFile file = gzopen(path, "wb1");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, text.data, (unsigned)text.length), (int)text.length);
    assert_int_equal(gzclose(file), Z_OK);
    iv_text_free(&text);
    iv_data_options options = limited(a);
    options.drop = "name";
    check_ways(a, path, options);
    /* the file itself is cut: nothing stays behind */
    assert_int_equal(truncate(path, 300000), 0);
    must_fail(path, &options, ISOVAE_ERR_DATA, "cut off", NULL);
    assert_int_equal(files_in(a->cache), 1); /* that of the whole file */
}

static void test_arrays(void **state)
{
    album *a = *state;
    enum { ROWS = 5000, COLS = 300 };
    char path[128];
    unsigned char *bytes = malloc(ROWS * COLS);
    float *values = malloc(ROWS * COLS * sizeof *values);
    assert_true(bytes != NULL && values != NULL);
    for (size_t i = 0; i < ROWS * COLS; i++) {
        bytes[i] = (unsigned char)(i * i >> 5);
        values[i] = (float)bytes[i] / 7;
    }
    iv_text file = {0};
    put_npy(&file, 1, "|u1", "False", "(5000, 10, 10, 3)", bytes, ROWS * COLS);
    album_put_text(a, "u1.npy", file);
    snprintf(path, sizeof path, "%s/u1.npy", a->folder);
    check_ways(a, path, limited(a));
    empty_folder(a->cache);
    file = (iv_text){0};
    put_npy(&file, 1, "<f4", "False", "(5000, 300)", values, ROWS * COLS * sizeof *values);
    album_put(a, "f4.npy", file.data, file.length);
    snprintf(path, sizeof path, "%s/f4.npy", a->folder);
    check_ways(a, path, limited(a));
    empty_folder(a->cache);
    archive z = {0};
    archive_add(&z, "x.npy", file.data, file.length, (uint32_t)file.length);
    archive_put(&z, a, "z.npz");
    snprintf(path, sizeof path, "%s/z.npz:x", a->folder);
    check_ways(a, path, limited(a));
    iv_text_free(&file);
    free(bytes);
    free(values);
}

/* 300 pictures of 64 x 64 x 3: 3.5 MB. */
static void put_pictures(const album *a)
{
    static unsigned char pixels[64 * 64 * 3];
    for (unsigned i = 0; i < 300; i++) {
        char name[32];
        for (size_t k = 0; k < sizeof pixels; k++) pixels[k] = (unsigned char)(k * i >> 6);
        snprintf(name, sizeof name, "%03u.png", i);
        if (i % 50 == 20) {
            album_put(a, name, "none", 4);
        } else {
            album_put_text(a, name, simple_png(3, 64, 64, pixels));
        }
    }
}

static void test_pictures(void **state)
{
    album *a = *state;
    put_pictures(a);
    check_ways(a, a->folder, limited(a));
}

static void kept_path(const album *a, char *path, size_t size)
{
    DIR *folder = opendir(a->cache);
    assert_non_null(folder);
    const struct dirent *entry;
    assert_true(size >= sizeof a->cache + 257);
    path[0] = '\0';
    while ((entry = readdir(folder)) != NULL) {
        if (strstr(entry->d_name, ".rows") != NULL) {
            snprintf(path, size, "%s/%s", a->cache, entry->d_name);
        }
    }
    closedir(folder);
    assert_true(path[0] != '\0');
}

/* A kept cache serves for as long as source and options are those it was made from. */
static void test_reuse(void **state)
{
    album *a = *state;
    char path[128], cache[512], other[600];
    iv_text text = {0};
    make_table(&text, 120000, false);
    iv_data_options options = limited(a);
    options.drop = "name";
    snprintf(path, sizeof path, "%s/t.csv", a->folder);
    album_put(a, "t.csv", text.data, text.length);
    iv_dataset *data = must_open(path, &options);
    uint64_t hash = data->hash;
    iv_dataset_free(data);
    kept_path(a, cache, sizeof cache);

    /* other contents under the same size and time are not seen: so the cache was used */
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    int file = open(path, O_WRONLY);
    assert_true(file >= 0);
    assert_int_equal(pwrite(file, "9", 1, (off_t)text.length - 4), 1);
    const struct timespec times[2] = {info.st_atim, info.st_mtim};
    assert_int_equal(futimens(file, times), 0);
    data = must_open(path, &options);
    assert_true(data->hash == hash);
    iv_dataset_free(data);
    /* another time of change is */
    const struct timespec later[2] = {info.st_atim, {info.st_mtim.tv_sec + 1, 0}};
    assert_int_equal(futimens(file, later), 0);
    data = must_open(path, &options);
    assert_true(data->hash != hash);
    hash = data->hash;
    iv_dataset_free(data);
    assert_int_equal(files_in(a->cache), 2);
    /* and other options */
    options.drop = "name,b";
    data = must_open(path, &options);
    assert_int_equal(data->cols, 3);
    iv_dataset_free(data);
    options.drop = "name";
    close(file);

    /* damaged rows, a damaged end, a header of another key: made anew each time */
    const off_t places[3] = {(1 << 16) + 5000, -20, 40};
    for (size_t i = 0; i < 3; i++) {
        empty_folder(a->cache);
        iv_dataset_free(must_open(path, &options));
        kept_path(a, cache, sizeof cache);
        assert_int_equal(stat(cache, &info), 0);
        file = open(cache, O_RDWR);
        unsigned char byte;
        off_t at = places[i] < 0 ? info.st_size + places[i] : places[i];
        assert_int_equal(pread(file, &byte, 1, at), 1);
        byte ^= 0x10;
        assert_int_equal(pwrite(file, &byte, 1, at), 1);
        close(file);
        data = must_open(path, &options);
        iv_data_options plain = options;
        plain.memory = 0;
        plain.cache = NULL;
        iv_dataset *memory = must_open(path, &plain);
        assert_true(data->hash == hash);
        assert_memory_equal(data->values, memory->values,
                            data->rows * data->cols * sizeof *data->values);
        iv_dataset_free(memory);
        iv_dataset_free(data);
        assert_int_equal(files_in(a->cache), 1);
    }
    /* a cache that is cut short, and a part that a killed process left */
    assert_int_equal(truncate(cache, 100000), 0);
    snprintf(other, sizeof other, "%.*s.part", (int)(strlen(cache) - 5), cache);
    file = open(other, O_WRONLY | O_CREAT, 0666);
    assert_int_equal(write(file, "left", 4), 4);
    close(file);
    data = must_open(path, &options);
    assert_true(data->hash == hash);
    iv_dataset_free(data);
    assert_int_equal(files_in(a->cache), 1);
    iv_text_free(&text);
}

static bool cancel_at_half(void *user, const iv_progress_info *info)
{
    (void)user;
    return info->done < 0.6 * info->total;
}

/* What does not become complete leaves nothing. */
static void test_incomplete(void **state)
{
    album *a = *state;
    iv_data_options options = limited(a);
    char path[128];
    put_pictures(a);
    options.progress.call = cancel_at_half;
    must_fail(a->folder, &options, ISOVAE_ERR_CANCELLED, "cancelled", NULL);
    assert_int_equal(files_in(a->cache), 0);
    options.progress.call = NULL;
    options.strict = true;
    must_fail(a->folder, &options, ISOVAE_ERR_DATA, "020.png: neither JPEG nor PNG", NULL);
    assert_int_equal(files_in(a->cache), 0);
    options.strict = false;
    iv_text text = {0};
    make_table(&text, 120000, false);
    iv_text_puts(&text, "x,1,2,oops,0\n");
    album_put_text(a, "t.csv", text);
    snprintf(path, sizeof path, "%s/t.csv", a->folder);
    options.drop = "name";
    must_fail(path, &options, ISOVAE_ERR_DATA, "'oops' is not a number", "line 120002");
    assert_int_equal(files_in(a->cache), 0);
    /* a folder of caches that cannot be */
    options.cache = path;
    isovae_error err;
    iv_dataset *data;
    options.drop = NULL;
    assert_int_equal(iv_dataset_open(a->folder, &options, &data, &err), ISOVAE_ERR_IO);
    assert_non_null(strstr(err.message, "--cache"));
}

/* Two at once: the second does not touch what the first writes. */
static void test_two_writers(void **state)
{
    album *a = *state;
    iv_store *one, *two;
    isovae_error err;
    assert_int_equal(iv_store_new(4 * LIMIT, 1024, LIMIT, a->cache, 7, &one, &err), ISOVAE_OK);
    assert_int_equal(iv_store_new(4 * LIMIT, 1024, LIMIT, a->cache, 7, &two, &err), ISOVAE_OK);
    memset(iv_store_rows(one), 1, 4 * LIMIT);
    memset(iv_store_rows(two), 2, 4 * LIMIT);
    assert_int_equal(iv_store_seal(two, 4 * LIMIT, "two", 3, &err), ISOVAE_OK);
    iv_store_free(two);
    assert_int_equal(iv_store_seal(one, 4 * LIMIT, "one", 3, &err), ISOVAE_OK);
    iv_store_free(one);
    unsigned char *meta;
    size_t length;
    assert_int_equal(iv_store_find(a->cache, 7, LIMIT, &one, &meta, &length, &err), ISOVAE_OK);
    assert_non_null(one);
    assert_int_equal(length, 3);
    assert_memory_equal(meta, "one", 3);
    assert_int_equal(iv_store_rows(one)[12345], 1);
    iv_free(meta);
    iv_store_free(one);
    assert_int_equal(iv_store_find(a->cache, 8, LIMIT, &one, &meta, &length, &err), ISOVAE_OK);
    assert_null(one);
}

/* 96 MB of rows under a limit of 4 MB: the process stays small, in a child of its own so that the
 * peak is that of this alone. */
static void test_resident(void **state)
{
    album *a = *state;
#ifdef SANITIZED
    (void)a;
    skip(); /* the sanitizer's own memory is what would be measured */
#else
    enum { ROWS = 48000, COLS = 2000 };
    char path[128];
    iv_text head = {0};
    put_npy(&head, 1, "|u1", "False", "(48000, 2000)", "", 0);
    album_put_text(a, "big.npy", head);
    snprintf(path, sizeof path, "%s/big.npy", a->folder);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(truncate(path, info.st_size + (off_t)ROWS * COLS), 0);
    pid_t child = fork();
    if (child == 0) {
        struct rusage before, after;
        iv_data_options options;
        iv_dataset *data;
        iv_scaling scaling;
        iv_data_options_init(&options);
        options.memory = 4 << 20;
        getrusage(RUSAGE_SELF, &before);
        if (iv_dataset_open(path, &options, &data, NULL) != ISOVAE_OK) _exit(2);
        size_t *rows = malloc(ROWS * sizeof *rows);
        float *x = malloc(64 * COLS * sizeof *x);
        for (size_t r = 0; r < ROWS; r++) rows[r] = r;
        if (iv_scaling_fit(IV_SCALE_NONE, data, rows, ROWS, &scaling, NULL) != ISOVAE_OK) _exit(3);
        for (size_t r = 0; r < ROWS; r++) rows[r] = r * 7919 % ROWS;
        for (size_t r = 0; r + 64 <= ROWS; r += 64)
            iv_scaling_rows(&scaling, data, rows + r, 64, x);
        getrusage(RUSAGE_SELF, &after);
        _exit(after.ru_maxrss - before.ru_maxrss < 24 * 1024 ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
#endif
}

int main(void)
{
#define ALBUM(test) cmocka_unit_test_setup_teardown(test, album_open, album_close)
    const struct CMUnitTest tests[] = {
        ALBUM(test_csv),   ALBUM(test_gzip),       ALBUM(test_arrays),      ALBUM(test_pictures),
        ALBUM(test_reuse), ALBUM(test_incomplete), ALBUM(test_two_writers), ALBUM(test_resident),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
