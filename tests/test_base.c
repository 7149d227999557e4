/* base/: status and messages, memory, text, numbers, files. */
#include "base/file.h"
#include "base/locale.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/status.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- status ---- */

static void test_status_names(void **state)
{
    (void)state;
    for (int i = 0; i <= 10; i++) {
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(isovae_status_name((isovae_status)i),
                                    isovae_status_name((isovae_status)j));
        }
    }
    assert_string_equal(isovae_status_name(ISOVAE_OK), "ok");
    assert_string_equal(isovae_status_name((isovae_status)999), "unknown status");
    assert_string_equal(isovae_version(), ISOVAE_VERSION);
}

static isovae_status passes_on(isovae_error *err)
{
    IV_TRY(iv_fail(err, ISOVAE_ERR_DATA, "inner %d", 7));
    return ISOVAE_OK;
}

static void test_fail(void **state)
{
    (void)state;
    isovae_error err = {ISOVAE_OK, ""};
    assert_int_equal(passes_on(&err), ISOVAE_ERR_DATA);
    assert_string_equal(err.message, "inner 7");
    assert_int_equal(passes_on(NULL), ISOVAE_ERR_DATA);
    assert_int_equal(iv_fail_prefix(&err, ISOVAE_ERR_IO, "row %d", 3), ISOVAE_ERR_DATA);
    assert_string_equal(err.message, "row 3: inner 7");
    assert_int_equal(iv_fail_prefix(NULL, ISOVAE_ERR_IO, "x"), ISOVAE_ERR_IO);
    /* a message may quote the one that it replaces */
    iv_fail(&err, ISOVAE_ERR_IO, "(%s)", err.message);
    assert_string_equal(err.message, "(row 3: inner 7)");
    assert_int_equal(err.status, ISOVAE_ERR_IO);
}

static void test_fail_cuts_long_messages(void **state)
{
    (void)state;
    isovae_error err;
    char text[3 * sizeof err.message];
    for (size_t shift = 0; shift < 2; shift++) { /* two-byte characters at both alignments */
        memset(text, 'a', shift);
        for (size_t i = shift; i + 2 < sizeof text; i += 2) memcpy(text + i, "\xC3\xA4", 3);
        iv_fail(&err, ISOVAE_ERR_DATA, "%s", text);
        size_t length = strlen(err.message);
        assert_in_range(length, sizeof err.message - 3, sizeof err.message - 1);
        assert_string_equal(err.message + length - 3, "...");
        assert_int_equal((unsigned char)err.message[length - 4], 0xA4); /* a whole character */
        iv_fail_prefix(&err, ISOVAE_ERR_DATA, "%s", "prefix");
        assert_memory_equal(err.message, "prefix: ", 8);
        assert_in_range(strlen(err.message), sizeof err.message - 3, sizeof err.message - 1);
    }
}

/* ---- memory ---- */

static void test_sizes(void **state)
{
    (void)state;
    size_t out = 5;
    assert_true(iv_size_mul(6, 7, &out) && out == 42);
    assert_true(iv_size_add(6, 7, &out) && out == 13);
    assert_false(iv_size_mul(SIZE_MAX / 2, 3, &out));
    assert_false(iv_size_add(SIZE_MAX, 1, &out));
    assert_true(out == 13);
    assert_true(iv_size_mul(SIZE_MAX, 1, &out) && out == SIZE_MAX);
}

static void test_alloc(void **state)
{
    (void)state;
    isovae_error err;
    const size_t counts[] = {0, 1, 7, 63, 64, 65, 1000003};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        double *p;
        assert_int_equal(IV_NEW(p, counts[i], "numbers", &err), ISOVAE_OK);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t j = 0; j < counts[i]; j++) assert_true(p[j] == 0.0);
        for (size_t j = 0; j < counts[i]; j++) p[j] = 1.0; /* dirt for the next one */
        iv_free(p);
    }
    iv_free(NULL);
}

static void test_alloc_refused(void **state)
{
    (void)state;
    isovae_error err;
    int dummy, *p = &dummy;
    assert_int_equal(IV_NEW(p, SIZE_MAX / 2, "weights of 'dense1'", &err), ISOVAE_ERR_MEMORY);
    assert_null(p);
    assert_non_null(strstr(err.message, "weights of 'dense1'"));
    assert_non_null(strstr(err.message, "4 bytes"));
    assert_int_equal(IV_NEW(p, (size_t)PTRDIFF_MAX / 4 + 1, "x", NULL), ISOVAE_ERR_MEMORY);
    void *q;
    assert_int_equal(iv_alloc(&q, SIZE_MAX, 1, "x", NULL), ISOVAE_ERR_MEMORY);
    assert_int_equal(iv_alloc(&q, SIZE_MAX - 10, 1, "x", NULL), ISOVAE_ERR_MEMORY);
    assert_null(q);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
    /* addressable, and refused by the system (the sanitizers end the program instead) */
    assert_int_equal(iv_alloc(&q, (size_t)PTRDIFF_MAX - 4096, 1, "the rows", &err),
                     ISOVAE_ERR_MEMORY);
    assert_non_null(strstr(err.message, "the rows"));
    assert_non_null(strstr(err.message, "9223372036854771711 bytes"));
#endif
}

static void test_strdup(void **state)
{
    (void)state;
    char *a, *b;
    assert_int_equal(iv_strdup(&a, "abc", NULL), ISOVAE_OK);
    assert_int_equal(iv_strndup(&b, "abcdef", 4, NULL), ISOVAE_OK);
    assert_string_equal(a, "abc");
    assert_string_equal(b, "abcd");
    iv_free(a);
    iv_free(b);
    assert_int_equal(iv_strndup(&a, "", SIZE_MAX, NULL), ISOVAE_ERR_MEMORY);
    assert_null(a);
}

static void test_text(void **state)
{
    (void)state;
    iv_text text = {0};
    char big[1000];
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = '\0';
    iv_text_puts(&text, "a");
    iv_text_append(&text, "bc\0d", 2);
    iv_text_printf(&text, "%d-%s", 12, "y");
    assert_string_equal(text.data, "abc12-y");
    iv_text_printf(&text, "%s%s", big, "end"); /* more than is at hand */
    assert_int_equal(text.length, 7 + 999 + 3);
    assert_string_equal(text.data + text.length - 3, "end");
    for (int i = 0; i < 5000; i++) iv_text_printf(&text, "%d,", i % 10);
    assert_int_equal(text.length, 7 + 999 + 3 + 10000);
    assert_int_equal(strlen(text.data), text.length);
    assert_int_equal(iv_text_check(&text, NULL), ISOVAE_OK);
    iv_text_append(&text, "z", SIZE_MAX); /* refused, and nothing after it either */
    iv_text_puts(&text, "later");
    isovae_error err;
    assert_int_equal(iv_text_check(&text, &err), ISOVAE_ERR_MEMORY);
    assert_int_equal(text.length, 7 + 999 + 3 + 10000);
    iv_text_free(&text);
    assert_null(text.data);
    iv_text_free(&text);
}

/* ---- numbers ---- */

static void check_number(const char *text, double expected)
{
    double value = -12345.0;
    if (!iv_parse_double(text, strlen(text), &value)) fail_msg("'%s' was refused", text);
    uint64_t a, b;
    memcpy(&a, &value, sizeof a);
    memcpy(&b, &expected, sizeof b);
    if (a != b) fail_msg("'%s' gave %.17g, not %.17g", text, value, expected);
}

static void test_parse_double(void **state)
{
    (void)state;
    check_number("0", 0.0);
    check_number("-0", -0.0);
    check_number("+12.5", 12.5);
    check_number(".5", 0.5);
    check_number("5.", 5.0);
    check_number("1e3", 1000.0);
    check_number("1E-3", 0.001);
    check_number("-1.25e+2", -125.0);
    check_number("0.1", 0.1);
    check_number("123456.789", 123456.789);
    check_number("9007199254740993", 9007199254740992.0); /* tie, to even */
    check_number("1e22", 1e22);
    check_number("1e23", 1e23);
    check_number("1.7976931348623157e308", 1.7976931348623157e308);
    check_number("4.9406564584124654e-324", 4.9406564584124654e-324);
    check_number("2.2250738585072011e-308", 2.2250738585072011e-308);
    check_number("0.000000000000000000000000000000000000000000001", 1e-45);
    check_number("100000000000000000000000000000000000", 1e35);
    check_number("0.3000000000000000444089209850062616169452667236328125", 0.3000000000000000444);
    check_number("1e999", (double)INFINITY);
    check_number("-1e-999", -0.0);
    check_number("1e-99999999999999999999", 0.0);
    check_number("inf", (double)INFINITY);
    check_number("-Infinity", -(double)INFINITY);
    double value;
    assert_true(iv_parse_double("NaN", 3, &value) && isnan(value));
    assert_true(iv_parse_double("1,5", 1, &value) && value == 1.0); /* length, not NUL, ends it */
}

static void test_parse_double_refuses(void **state)
{
    (void)state;
    const char *bad[] = {"",    " 1",    "1 ",  "abc", "1,5",  "1.2.3", "e5",     "1e",   "1e+",
                         "--1", "+",     ".",   "-.",  "0x10", "1f",    "nan(1)", "infi", "in",
                         "1_0", "1e5.0", "nul", "NA",  "1d3",  "\t1",   "1\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        double value = 77.0;
        if (iv_parse_double(bad[i], strlen(bad[i]), &value)) fail_msg("'%s' was taken", bad[i]);
        assert_true(value == 77.0);
    }
    double value;
    assert_false(iv_parse_double("1\0", 2, &value)); /* a NUL inside */
    char many[5000];
    memset(many, '1', sizeof many);
    assert_false(iv_parse_double(many, sizeof many, &value));
    assert_true(iv_parse_double(many, 300, &value) && value > 1e299);
}

/* Every text must give the double that the C library reads, through both ways of the parser. */
static void test_parse_double_agrees(void **state)
{
    (void)state;
    uint64_t x = 88172645463325252u;
    for (int i = 0; i < 200000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        char text[64];
        int digits = 1 + (int)(x >> 60) + (int)((x >> 57) & 3);
        double value;
        if (i % 2) {
            uint64_t bits = x;
            memcpy(&value, &bits, sizeof value);
            if (!isfinite(value)) continue;
        } else {
            value = (double)(int64_t)(x % 2000001 - 1000000) / 1000.0;
        }
        snprintf(text, sizeof text, "%.*g", digits, value);
        check_number(text, strtod(text, NULL));
    }
}

static void test_format_double(void **state)
{
    (void)state;
    const struct {
        double value;
        int digits;
        const char *text;
    } cases[] = {{0.1, 17, "0.1"},
                 {1.0 / 3.0, 17, "0.3333333333333333"},
                 {1.0 / 3.0, 4, "0.3333"},
                 {1234567.0, 4, "1.235e+06"},
                 {-2.5, 6, "-2.5"},
                 {0.0, 6, "0"},
                 {1e300, 17, "1e+300"},
                 {(double)NAN, 6, "nan"},
                 {-(double)INFINITY, 6, "-inf"}};
    char buffer[32];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t length = iv_format_double(buffer, sizeof buffer, cases[i].value, cases[i].digits);
        assert_string_equal(buffer, cases[i].text);
        assert_int_equal(length, strlen(buffer));
    }
    uint64_t x = 1234567;
    for (int i = 0; i < 20000; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        double value, back;
        memcpy(&value, &x, sizeof value);
        if (!isfinite(value)) continue;
        size_t length = iv_format_double(buffer, sizeof buffer, value, 17);
        assert_true(length < sizeof buffer);
        assert_true(iv_parse_double(buffer, length, &back) && back == value);
    }
    assert_int_equal(iv_format_double(buffer, 4, 123456.0, 6), 3);
    assert_string_equal(buffer, "123");
    assert_int_equal(iv_format_double(buffer, 0, 1.0, 6), 0);
}

/* A locale with a decimal comma must change nothing. Where the machine has none, one is compiled.
 */
static bool use_comma_locale(void)
{
    const char *names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE", "fr_FR"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (setlocale(LC_ALL, names[i]) != NULL) return true;
    }
    char folder[] = "/tmp/isovae-locale-XXXXXX", command[256];
    if (mkdtemp(folder) == NULL) return false;
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >/dev/null 2>&1",
             folder);
    int failed = system(command);
    setenv("LOCPATH", folder, 1);
    bool found = failed == 0 && setlocale(LC_ALL, "de_DE.UTF-8") != NULL;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command) != 0) found = false;
    return found;
}

static void test_locale(void **state)
{
    (void)state;
    if (!use_comma_locale()) skip();
    char buffer[32];
    snprintf(buffer, sizeof buffer, "%g", 1.5);
    bool comma = strcmp(buffer, "1,5") == 0;
    if (comma) {
        check_number("1.5", 1.5);
        check_number("1.2345678901234567890", 1.2345678901234567890); /* the strtod way */
        double value;
        assert_false(iv_parse_double("1,5", 3, &value));
        iv_format_double(buffer, sizeof buffer, 1.5, 6);
        assert_string_equal(buffer, "1.5");
        iv_text text = {0};
        iv_text_printf(&text, "%.2f", 2.25);
        assert_string_equal(text.data, "2.25");
        iv_text_free(&text);
        isovae_error err;
        iv_fail(&err, ISOVAE_ERR_DATA, "limit %g", 0.5);
        assert_string_equal(err.message, "limit 0.5");
        snprintf(buffer, sizeof buffer, "%g", 1.5); /* the process's own is as before */
        assert_string_equal(buffer, "1,5");
    }
    setlocale(LC_ALL, "C");
    if (!comma) skip();
}

/* ---- files ---- */

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/isovae-base-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static const char *in_folder(const char *name)
{
    static char paths[4][128];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static size_t files_in_folder(void)
{
    size_t count = 0;
    DIR *list = opendir(folder);
    assert_non_null(list);
    for (struct dirent *entry; (entry = readdir(list)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) count++;
    }
    closedir(list);
    return count;
}

static void check_content(const char *path, const char *expected, size_t expected_length)
{
    unsigned char *data;
    size_t length;
    isovae_error err;
    if (iv_file_read(path, 1 << 24, &data, &length, &err) != ISOVAE_OK) fail_msg("%s", err.message);
    assert_int_equal(length, expected_length);
    assert_memory_equal(data, expected, length);
    assert_int_equal(data[length], 0);
    iv_free(data);
}

static void test_write_and_read(void **state)
{
    (void)state;
    isovae_error err;
    const char *path = in_folder("a.bin");
    assert_int_equal(iv_file_write(path, "one\0two", 7, &err), ISOVAE_OK);
    check_content(path, "one\0two", 7);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(iv_file_write(path, "", 0, &err), ISOVAE_OK);
    check_content(path, "", 0);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640); /* kept */
    size_t size = 3000001;
    char *big = malloc(size);
    assert_non_null(big);
    for (size_t i = 0; i < size; i++) big[i] = (char)(i * 7 + i / 1000);
    assert_int_equal(iv_file_write(path, big, size, &err), ISOVAE_OK);
    check_content(path, big, size);
    free(big);
    assert_int_equal(files_in_folder(), 1); /* no temporary file stayed */
    assert_int_equal(iv_hash64("abc", 3, 0), iv_hash64("abc", 3, 0));
    assert_int_not_equal(iv_hash64("abc", 3, 0), iv_hash64("abd", 3, 0));
    assert_int_equal(iv_hash64("", 0, 0), 0x2d06800538d394c2); /* XXH3's published empty hash */
    unlink(path);
}

static void test_read_refuses(void **state)
{
    (void)state;
    unsigned char *data = (unsigned char *)folder;
    size_t length = 9;
    isovae_error err;
    const char *path = in_folder("limit.bin");
    assert_int_equal(iv_file_write(path, "12345678", 8, &err), ISOVAE_OK);
    assert_int_equal(iv_file_read(path, 7, &data, &length, &err), ISOVAE_ERR_DATA);
    assert_null(data);
    assert_int_equal(length, 0);
    assert_non_null(strstr(err.message, "limit.bin"));
    assert_int_equal(iv_file_read(path, 8, &data, &length, &err), ISOVAE_OK);
    iv_free(data);
    unlink(path);
    assert_int_equal(iv_file_read(path, 8, &data, &length, &err), ISOVAE_ERR_IO);
    assert_non_null(strstr(err.message, "limit.bin"));
    assert_non_null(strstr(err.message, "No such file"));
    assert_int_equal(iv_file_read(folder, 8, &data, &length, &err), ISOVAE_ERR_IO);
    assert_non_null(strstr(err.message, "folder"));
    assert_null(data);
}

/* A pipe tells no size: what is read grows, and the limit holds as well. */
static void test_read_pipe(void **state)
{
    (void)state;
    const char *path = in_folder("pipe");
    const size_t limits[] = {1 << 20, 300000, 299999};
    for (size_t turn = 0; turn < 3; turn++) {
        assert_int_equal(mkfifo(path, 0600), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            signal(SIGPIPE, SIG_IGN);
            FILE *stream = fopen(path, "w");
            for (int i = 0; stream != NULL && i < 300000; i++) fputc('a' + i % 26, stream);
            if (stream != NULL) fclose(stream);
            _exit(0);
        }
        unsigned char *data;
        size_t length;
        isovae_error err;
        isovae_status status = iv_file_read(path, limits[turn], &data, &length, &err);
        waitpid(child, NULL, 0);
        unlink(path);
        if (turn == 2) {
            assert_int_equal(status, ISOVAE_ERR_DATA);
            assert_null(data);
            continue;
        }
        assert_int_equal(status, ISOVAE_OK);
        assert_int_equal(length, 300000);
        for (size_t i = 0; i < length; i++) assert_int_equal(data[i], 'a' + i % 26);
        assert_int_equal(data[length], 0);
        iv_free(data);
    }
}

static void test_read_standard_input(void **state)
{
    (void)state;
    int ends[2], kept = dup(STDIN_FILENO);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "from stdin", 10), 10);
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    check_content("-", "from stdin", 10);
    dup2(kept, STDIN_FILENO);
    close(kept);
    check_content("/proc/self/comm", "test_base\n", 10); /* a regular file that tells size 0 */
}

/* The file system refuses bytes from the 4097th on, as a full one would. */
static void test_write_full_disk(void **state)
{
    (void)state;
    isovae_error err = {ISOVAE_OK, ""};
    const char *path = in_folder("full.bin");
    assert_int_equal(iv_file_write(path, "before", 6, &err), ISOVAE_OK);
    char data[10000] = {0};
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 4096;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    isovae_status replaced = iv_file_write(path, data, sizeof data, &err);
    isovae_status created = iv_file_write(in_folder("new.bin"), data, sizeof data, NULL);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
    assert_int_equal(replaced, ISOVAE_ERR_IO);
    assert_int_equal(created, ISOVAE_ERR_IO);
    assert_non_null(strstr(err.message, "full.bin: writing: File too large"));
    check_content(path, "before", 6);
    assert_int_equal(files_in_folder(), 1); /* neither new.bin nor a temporary file */
    unlink(path);
    assert_int_equal(iv_file_write("/dev/full", "x", 1, &err), ISOVAE_ERR_IO);
    assert_non_null(strstr(err.message, "No space left"));
}

static void test_write_refused(void **state)
{
    (void)state;
    isovae_error err;
    assert_int_equal(iv_file_write(in_folder("none/x"), "x", 1, &err), ISOVAE_ERR_IO);
    assert_non_null(strstr(err.message, "none/x"));
    assert_int_equal(iv_file_write(folder, "x", 1, &err), ISOVAE_ERR_IO);
    assert_non_null(strstr(err.message, "folder"));
    assert_int_equal(iv_file_write("", "x", 1, &err), ISOVAE_ERR_IO);
    char longer[300];
    memset(longer, 'n', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(iv_file_write(longer, "x", 1, &err), ISOVAE_ERR_IO);
    assert_int_equal(iv_file_write("/proc/isovae", "x", 1, &err),
                     ISOVAE_ERR_IO); /* no such place */
    assert_int_equal(files_in_folder(), 0);
    if (geteuid() != 0) {
        const char *path = in_folder("readonly");
        assert_int_equal(iv_file_write(path, "kept", 4, &err), ISOVAE_OK);
        chmod(path, 0444);
        assert_int_equal(iv_file_write(path, "x", 1, &err), ISOVAE_ERR_IO);
        check_content(path, "kept", 4);
        unlink(path);
    }
}

static void test_write_elsewhere(void **state)
{
    (void)state;
    isovae_error err;
    /* a link stays one */
    const char *target = in_folder("target"), *link = in_folder("link");
    assert_int_equal(iv_file_write(target, "old", 3, &err), ISOVAE_OK);
    assert_int_equal(symlink("target", link), 0);
    assert_int_equal(iv_file_write(link, "new", 3, &err), ISOVAE_OK);
    check_content(target, "new", 3);
    struct stat info;
    assert_int_equal(lstat(link, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    /* /dev/stdout goes on where the shell's redirection stands */
    fflush(stdout);
    int kept = dup(STDOUT_FILENO), file = open(target, O_WRONLY | O_APPEND);
    assert_true(file >= 0);
    dup2(file, STDOUT_FILENO);
    isovae_status status = iv_file_write("/dev/stdout", "er", 2, &err);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    assert_int_equal(status, ISOVAE_OK);
    char name[32];
    snprintf(name, sizeof name, "/dev/fd/%d", file);
    assert_int_equal(iv_file_write(name, "!", 1, &err), ISOVAE_OK);
    close(file);
    check_content(target, "newer!", 6);
    assert_int_equal(iv_file_write(name, "!", 1, &err), ISOVAE_ERR_IO); /* closed */
    assert_int_equal(iv_file_write("/dev/null", "x", 1, &err), ISOVAE_OK);
    assert_int_equal(stat("/dev/null", &info), 0);
    assert_true(S_ISCHR(info.st_mode));
    unlink(link);
    unlink(target);
}

/* ---- progress ---- */

static bool count_and_stop(void *user, const iv_progress_info *info)
{
    *(double *)user += info->done;
    return info->done < 2.0;
}

static void test_progress(void **state)
{
    (void)state;
    double sum = 0.0;
    iv_progress progress = {count_and_stop, &sum}, silent = {NULL, NULL};
    iv_progress_info info = {.stage = "training", .done = 1.0, .total = 2.0, .unit = "steps"};
    assert_true(iv_progress_report(NULL, &info));
    assert_true(iv_progress_report(&silent, &info));
    assert_true(iv_progress_report(&progress, &info));
    info.done = 2.0;
    assert_false(iv_progress_report(&progress, &info));
    assert_true(sum == 3.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_names),
        cmocka_unit_test(test_fail),
        cmocka_unit_test(test_fail_cuts_long_messages),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_alloc),
        cmocka_unit_test(test_alloc_refused),
        cmocka_unit_test(test_strdup),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_parse_double),
        cmocka_unit_test(test_parse_double_refuses),
        cmocka_unit_test(test_parse_double_agrees),
        cmocka_unit_test(test_format_double),
        cmocka_unit_test(test_locale),
        cmocka_unit_test_setup_teardown(test_write_and_read, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_read_refuses, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_read_pipe, make_folder, remove_folder),
        cmocka_unit_test(test_read_standard_input),
        cmocka_unit_test_setup_teardown(test_write_full_disk, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_write_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_write_elsewhere, make_folder, remove_folder),
        cmocka_unit_test(test_progress),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
