/* data/: folders and zip archives of pictures. */
#include "support_pictures.h"

#include "base/pool.h"
#include "data/picture.h"
#include "data/picture_list.h"

#include <fcntl.h>

/* A picture whose every pixel tells its place. */
static void fill_pattern(unsigned char *pixels, size_t width, size_t height, size_t channels,
                         unsigned seed)
{
    for (size_t i = 0; i < width * height * channels; i++) {
        pixels[i] = (unsigned char)((i * 37 + seed * 101 + (i / width) * 11) & 255);
    }
}

static iv_text pattern_png(size_t side, size_t channels, unsigned seed)
{
    unsigned char pixels[64 * 64 * 3];
    fill_pattern(pixels, side, side, channels, seed);
    return simple_png(channels, (uint32_t)side, (uint32_t)side, pixels);
}

/* ---- resizing and cropping ---- */

/* The formula of picture.h, in double, over one axis. */
static void direct(const double *in, size_t inputs, size_t outputs, double *out)
{
    double scale = (double)inputs / (double)outputs, half = scale > 1 ? scale : 1;
    for (size_t i = 0; i < outputs; i++) {
        double center = ((double)i + 0.5) * scale, sum = 0, weights = 0;
        for (size_t j = 0; j < inputs; j++) {
            double w = 1 - fabs((double)j + 0.5 - center) / half;
            if (w <= 0) continue;
            sum += w * in[j];
            weights += w;
        }
        out[i] = sum / weights;
    }
}

static void resample_case(size_t h, size_t w, size_t to_h, size_t to_w, size_t channels)
{
    unsigned char in[40 * 40 * 3], out[64 * 64 * 3];
    float line[40 * 3];
    iv_resample_axis rows = {0}, columns = {0};
    fill_pattern(in, w, h, channels, 5);
    assert_int_equal(iv_resample_axis_set(&rows, h, to_h, NULL), ISOVAE_OK);
    assert_int_equal(iv_resample_axis_set(&columns, w, to_w, NULL), ISOVAE_OK);
    iv_resample(&rows, &columns, channels, in, line, out);
    for (size_t c = 0; c < channels; c++) {
        double down[64][40], column[40], made[64], across[64];
        for (size_t x = 0; x < w; x++) {
            for (size_t y = 0; y < h; y++) column[y] = in[(y * w + x) * channels + c];
            direct(column, h, to_h, made);
            for (size_t y = 0; y < to_h; y++) down[y][x] = made[y];
        }
        for (size_t y = 0; y < to_h; y++) {
            direct(down[y], w, to_w, across);
            for (size_t x = 0; x < to_w; x++) {
                double got = out[(y * to_w + x) * channels + c];
                assert_true(fabs(got - across[x]) < 0.501);
            }
        }
    }
    iv_resample_axis_free(&rows);
    iv_resample_axis_free(&columns);
}

static void test_resample(void **state)
{
    (void)state;
    resample_case(40, 32, 16, 16, 3);
    resample_case(40, 31, 7, 13, 1);
    resample_case(5, 8, 17, 8, 3);
    resample_case(3, 1, 1, 4, 1);
    resample_case(40, 40, 1, 1, 3);
    resample_case(1, 1, 9, 9, 3);
    /* halving an impulse by hand: weights 3/4, 3/4, 1/4 of 7/4 at the edge */
    const unsigned char in[4] = {0, 175, 0, 0};
    unsigned char out[2];
    float line[4];
    iv_resample_axis one = {0}, half = {0};
    assert_int_equal(iv_resample_axis_set(&one, 1, 1, NULL), ISOVAE_OK);
    assert_int_equal(iv_resample_axis_set(&half, 4, 2, NULL), ISOVAE_OK);
    iv_resample(&one, &half, 1, in, line, out);
    assert_int_equal(out[0], 75);
    assert_int_equal(out[1], 25);
    iv_resample_axis_free(&one);
    iv_resample_axis_free(&half);
}

static void test_options(void **state)
{
    (void)state;
    size_t h, w;
    iv_crop crop, cut;
    isovae_error err;
    assert_int_equal(iv_size_parse("64", &h, &w, &err), ISOVAE_OK);
    assert_true(h == 64 && w == 64);
    assert_int_equal(iv_size_parse("20x31", &h, &w, &err), ISOVAE_OK);
    assert_true(h == 20 && w == 31);
    const char *bad_sizes[] = {"",   "0",   "x",       "64x",         "64x0",
                               "-3", "64 ", "64x64x3", "99999999999", "1025"};
    for (size_t i = 0; i < sizeof bad_sizes / sizeof bad_sizes[0]; i++) {
        assert_int_equal(iv_size_parse(bad_sizes[i], &h, &w, &err), ISOVAE_ERR_ARGUMENT);
        assert_non_null(strstr(err.message, "--size"));
    }
    const char *bad_crops[] = {"",        "centre!", "1,2,3",    "1,2,3,4,5", "0,2,3,4",
                               "1,0,0,0", "1,2,,4",  "1,2,3,4 ", "1,2,3,-4"};
    for (size_t i = 0; i < sizeof bad_crops / sizeof bad_crops[0]; i++) {
        assert_int_equal(iv_crop_parse(bad_crops[i], &crop, &err), ISOVAE_ERR_ARGUMENT);
        assert_non_null(strstr(err.message, "--crop"));
    }
    assert_int_equal(iv_crop_parse("center", &crop, &err), ISOVAE_OK);
    assert_int_equal(iv_crop_of(&crop, 109, 89, &cut, &err), ISOVAE_OK);
    assert_true(cut.height == 89 && cut.width == 89 && cut.top == 10 && cut.left == 0);
    assert_int_equal(iv_crop_parse("89,89,15,0", &crop, &err), ISOVAE_OK);
    assert_int_equal(iv_crop_of(&crop, 109, 89, &cut, &err), ISOVAE_OK);
    assert_true(cut.height == 89 && cut.width == 89 && cut.top == 15 && cut.left == 0);
    assert_int_equal(iv_crop_of(&crop, 103, 89, &cut, &err), ISOVAE_ERR_DATA);
}

/* ---- formats ---- */

/* The one picture of the album, as it is read. */
static void check_pixels(album *a, bool grey, size_t height, size_t width, size_t channels,
                         const unsigned char *expected)
{
    iv_data_options options;
    iv_data_options_init(&options);
    options.grey = grey;
    iv_dataset *data = must_open(a->folder, &options);
    assert_int_equal(data->rows, 1);
    assert_true(data->height == height && data->width == width && data->channels == channels);
    assert_int_equal(data->cols, height * width * channels);
    assert_non_null(data->bytes);
    for (size_t i = 0; i < data->cols; i++) {
        if (data->bytes[i] != expected[i]) {
            fail_msg("byte %zu: %d, expected %d", i, data->bytes[i], expected[i]);
        }
    }
    iv_dataset_free(data);
}

static void test_png_kinds(void **state)
{
    album *a = *state;
    /* 2 x 2: red, green / blue, grey */
    const unsigned char rgb[12] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 100, 100, 100};
    const unsigned char luma[4] = {76, 150, 29, 100};
    album_put_text(a, "a", simple_png(3, 2, 2, rgb)); /* the name says nothing: content does */
    check_pixels(a, false, 2, 2, 3, rgb);
    check_pixels(a, true, 2, 2, 1, luma);
    const unsigned char grey[4] = {0, 1, 200, 255};
    album_put_text(a, "a", simple_png(1, 2, 2, grey));
    check_pixels(a, false, 2, 2, 1, grey);
    /* 16 bits: the samples 257 v are v */
    unsigned char deep[24];
    for (size_t i = 0; i < 12; i++) deep[2 * i] = deep[2 * i + 1] = rgb[i];
    album_put_text(a, "a", make_png((png_kind){.color = 2, .depth = 16}, 2, 2, deep, 12));
    check_pixels(a, false, 2, 2, 3, rgb);
    /* a palette, two bits a pixel */
    const unsigned char packed[2] = {0x40, 0xb0};
    const unsigned char palette[12] = {0, 255, 0, 255, 0, 0, 0, 0, 255, 100, 100, 100};
    const unsigned char palette_pixels[12] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 100, 100, 100};
    const png_kind indexed = {.color = 3, .depth = 2, .palette = palette, .palette_length = 12};
    album_put_text(a, "a", make_png(indexed, 2, 2, packed, 1));
    check_pixels(a, false, 2, 2, 3, palette_pixels);
    /* one bit of grey */
    const unsigned char bits[2] = {0x40, 0x80};
    const unsigned char bit_pixels[4] = {0, 255, 255, 0};
    album_put_text(a, "a", make_png((png_kind){.color = 0, .depth = 1}, 2, 2, bits, 1));
    check_pixels(a, false, 2, 2, 1, bit_pixels);
    /* alpha, over black */
    const unsigned char rgba[16] = {255, 0, 0, 255, 0, 255, 0, 0, 200, 101, 50, 128, 9, 9, 9, 255};
    const unsigned char over[12] = {255, 0, 0, 0, 0, 0, 100, 51, 25, 9, 9, 9};
    album_put_text(a, "a", make_png((png_kind){.color = 6, .depth = 8}, 2, 2, rgba, 8));
    check_pixels(a, false, 2, 2, 3, over);
    const unsigned char grey_alpha[8] = {200, 255, 200, 0, 200, 51, 7, 255};
    const unsigned char grey_over[4] = {200, 0, 40, 7};
    album_put_text(a, "a", make_png((png_kind){.color = 4, .depth = 8}, 2, 2, grey_alpha, 4));
    check_pixels(a, false, 2, 2, 1, grey_over);
}

static void test_jpeg_kinds(void **state)
{
    album *a = *state;
    unsigned char rgb[16 * 16 * 3], grey[16 * 16];
    for (size_t i = 0; i < 256; i++) {
        rgb[3 * i] = (unsigned char)(i / 2);
        rgb[3 * i + 1] = (unsigned char)(200 - i / 3);
        rgb[3 * i + 2] = 90;
        grey[i] = (unsigned char)(255 - i / 2);
    }
    album_put_text(a, "1.jpg", make_jpeg(TJPF_RGB, 16, 16, rgb));
    album_put_text(a, "2.jpg", make_jpeg(TJPF_GRAY, 16, 16, grey));
    iv_dataset *data = must_open(a->folder, NULL);
    assert_int_equal(data->rows, 2);
    assert_int_equal(data->channels, 3);
    assert_null(data->note);
    for (size_t i = 0; i < 256; i++) {
        for (size_t c = 0; c < 3; c++) {
            assert_true(abs(data->bytes[3 * i + c] - rgb[3 * i + c]) <= 12);
            assert_true(abs(data->bytes[768 + 3 * i + c] - grey[i]) <= 6);
        }
        assert_int_equal(data->bytes[768 + 3 * i], data->bytes[768 + 3 * i + 2]);
    }
    iv_dataset_free(data);
}

/* ---- odd pictures ---- */

static void test_odd(void **state)
{
    album *a = *state;
    unsigned char cmyk[8 * 8 * 4] = {0}, wide[8 * 8 * 3];
    fill_pattern(wide, 8, 8, 3, 1);
    album_put_text(a, "b.png", pattern_png(8, 3, 0));
    album_put_text(a, "a.png", pattern_png(8, 1, 1)); /* grey among RGB */
    iv_text cut = make_jpeg(TJPF_RGB, 8, 8, wide), damaged = pattern_png(8, 3, 2);
    album_put(a, "c.jpg", cut.data, cut.length - 40);
    album_put_text(a, "d.jpg", make_jpeg(TJPF_CMYK, 8, 8, cmyk));
    album_put(a, "e.txt", "hello\n", 6);
    album_put(a, "f.png", "", 0);
    damaged.data[damaged.length - 40] ^= 0x55;
    album_put_text(a, "g.png", damaged);
    album_put_text(a, "h.png",
                   make_png((png_kind){.color = 2, .depth = 8}, 100000, 90000, NULL, 0));
    album_put_text(a, "i.png",
                   make_png((png_kind){.color = 2, .depth = 8}, 0x7fffffff, 0x7fffffff, NULL, 0));
    album_put(a, "j.jpg", "\xff\xd8\xff\xe0 and then nothing", 22);
    album_put_text(a, "k.png", pattern_png(8, 3, 3));
    iv_text_free(&cut);
    iv_dataset *data = must_open(a->folder, NULL);
    assert_int_equal(data->rows, 3);
    assert_int_equal(data->channels, 3);
    assert_non_null(data->note);
    assert_non_null(strstr(data->note, "8 of 11 files left out: c.jpg (a JPEG that is cut off), "
                                       "d.jpg (a CMYK JPEG), e.txt (neither JPEG nor PNG) and 5 "
                                       "more"));
    assert_string_equal(data->ids[0], "a.png");
    assert_string_equal(data->ids[1], "b.png");
    assert_string_equal(data->ids[2], "k.png");
    unsigned char grey[64];
    fill_pattern(grey, 8, 8, 1, 1);
    for (size_t i = 0; i < 192; i++) assert_int_equal(data->bytes[i], grey[i / 3]);
    unsigned char last[192]; /* behind two that were found bad only when decoded */
    fill_pattern(last, 8, 8, 3, 3);
    assert_memory_equal(data->bytes + 2 * 192, last, 192);
    iv_dataset_free(data);
    iv_data_options options;
    iv_data_options_init(&options);
    options.strict = true;
    must_fail(a->folder, &options, ISOVAE_ERR_DATA, "c.jpg: a JPEG that is cut off", "--strict");
}

static void test_sizes(void **state)
{
    album *a = *state;
    iv_data_options options;
    iv_data_options_init(&options);
    unsigned char pixels[20 * 10 * 3];
    fill_pattern(pixels, 20, 10, 3, 4);
    album_put_text(a, "1.png", pattern_png(8, 3, 0));
    album_put_text(a, "2.png", simple_png(3, 20, 10, pixels));
    must_fail(a->folder, NULL, ISOVAE_ERR_DATA, "2.png has 10x20 pixels, 1.png 8x8", "--size");
    options.size = "6x5";
    iv_dataset *data = must_open(a->folder, &options);
    assert_true(data->rows == 2 && data->height == 6 && data->width == 5 && data->cols == 90);
    iv_dataset_free(data);
    /* the middle square of 10 x 20, in its own size; the first picture is too small for the
     * rectangle */
    options.size = NULL;
    options.crop = "10,10,0,5";
    data = must_open(a->folder, &options);
    assert_true(data->rows == 1 && data->height == 10 && data->width == 10);
    assert_non_null(strstr(data->note, "1 of 2 files left out: 1.png (the crop reaches over"));
    for (size_t y = 0; y < 10; y++) {
        assert_memory_equal(data->bytes + y * 30, pixels + (y * 20 + 5) * 3, 30);
    }
    iv_dataset_free(data);
    options.crop = "center";
    options.size = "8";
    options.grey = true;
    data = must_open(a->folder, &options);
    assert_true(data->rows == 2 && data->channels == 1 && data->cols == 64);
    iv_dataset_free(data);
    options.columns = "1-4";
    must_fail(a->folder, &options, ISOVAE_ERR_ARGUMENT, "pictures have no columns", NULL);
    options.columns = NULL;
    options.size = "axb";
    must_fail(a->folder, &options, ISOVAE_ERR_ARGUMENT, "--size", NULL);
    /* what is no set of pictures takes none of these options */
    options.size = "8";
    must_fail("toy:norm,n=10", &options, ISOVAE_ERR_ARGUMENT, "--size is for a folder", NULL);
}

/* A model's pictures come in its size without being asked for, unless their shape differs. */
static void test_model_size(void **state)
{
    album *a = *state;
    iv_data_options options;
    iv_data_options_init(&options);
    options.want_height = options.want_width = 4;
    options.want_channels = 1;
    options.n_want = 16;
    album_put_text(a, "1.png", pattern_png(8, 3, 0));
    iv_dataset *data = must_open(a->folder, &options);
    assert_true(data->height == 4 && data->width == 4 && data->channels == 1);
    iv_dataset_free(data);
    options.want_width = 8;
    options.n_want = 32;
    must_fail(a->folder, &options, ISOVAE_ERR_DATA, "1.png: 8x8 pixels are not of the shape",
              "--crop");
    options.size = "3";
    must_fail(a->folder, &options, ISOVAE_ERR_DATA, "pictures of 3x3x1 are 9 features", "--size");
}

static void test_nothing(void **state)
{
    album *a = *state;
    must_fail(a->folder, NULL, ISOVAE_ERR_DATA, "there is no file in it", "JPEG or PNG");
    album_put(a, ".hidden.png", "x", 1);
    must_fail(a->folder, NULL, ISOVAE_ERR_DATA, "there is no file in it", NULL);
    album_put(a, "a.csv", "1,2\n", 4);
    album_put(a, "b", "\0\0", 2);
    must_fail(a->folder, NULL, ISOVAE_ERR_DATA, "it holds 2 files, none of which can be used",
              "a.csv (neither JPEG nor PNG)");
    char path[128];
    album_put_text(a, "c.png", pattern_png(8, 3, 0));
    snprintf(path, sizeof path, "%s/c.png", a->folder);
    must_fail(path, NULL, ISOVAE_ERR_DATA, "this is one picture", "folder");
}

/* ---- archives ---- */

static void test_zip(void **state)
{
    album *a = *state;
    archive z = {0};
    char path[128];
    snprintf(path, sizeof path, "%s/z", a->folder);
    archive_add_text(&z, "p/2.png", pattern_png(8, 3, 2));
    archive_add_text(&z, "p/1.png", pattern_png(8, 3, 1));
    archive_add(&z, "p/", "", 0, 0);
    archive_add(&z, "p/.DS_Store", "x", 1, 1);
    archive_add(&z, "__MACOSX/p/1.png", "x", 1, 1);
    archive_add(&z, "p/3.txt", "text", 4, 4);
    iv_text lie = pattern_png(8, 3, 3);
    archive_add(&z, "p/4.png", lie.data, lie.length, (uint32_t)lie.length + 5);
    iv_text_free(&lie);
    archive_put(&z, a, "z");
    iv_dataset *data = must_open(path, NULL);
    assert_int_equal(data->rows, 2);
    assert_string_equal(data->ids[0], "p/1.png");
    assert_non_null(strstr(data->note, "2 of 4 files left out: p/3.txt (neither JPEG nor PNG), "
                                       "p/4.png ("));
    unsigned char pixels[192];
    fill_pattern(pixels, 8, 8, 3, 2);
    assert_memory_equal(data->bytes + 192, pixels, 192);
    iv_dataset_free(data);
    archive_put(&z, a, "z");
    must_fail(path, NULL, ISOVAE_ERR_DATA, "no .npy array and no picture", NULL);
}

static void test_bombs(void **state)
{
    album *a = *state;
    archive z = {0};
    char path[128];
    snprintf(path, sizeof path, "%s/z", a->folder);
    /* a hundred members that are one */
    iv_text png = pattern_png(32, 3, 2);
    uint32_t length = (uint32_t)png.length, crc = (uint32_t)crc32(0, (Bytef *)png.data, length);
    uint32_t offset = archive_add(&z, "0.png", png.data, png.length, length);
    for (int i = 1; i < 100; i++) archive_entry(&z, "0.png", 0, crc, length, length, offset);
    archive_put(&z, a, "z");
    must_fail(path, NULL, ISOVAE_ERR_DATA, "overlap", NULL);
    /* members that promise more than is read, or than deflate can hold */
    offset = archive_add(&z, "0.png", png.data, png.length, length);
    archive_entry(&z, "1.png", 8, crc, length, 0xfffffff0, offset);
    archive_entry(&z, "2.png", 8, crc, 10, 100000000, offset);
    archive_put(&z, a, "z");
    iv_text_free(&png);
    must_fail(path, NULL, ISOVAE_ERR_DATA, "overlap", NULL);
    /* honest deflate of zeros that claims to be a picture */
    enum { ZEROS = 3 << 20 };
    unsigned char *zeros = calloc(1, ZEROS);
    assert_non_null(zeros);
    z_stream s = {.next_in = zeros, .avail_in = ZEROS};
    unsigned char packed[8192];
    s.next_out = packed;
    s.avail_out = sizeof packed;
    assert_int_equal(deflateInit2(&s, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&s, Z_FINISH), Z_STREAM_END);
    deflateEnd(&s);
    crc = (uint32_t)crc32(0, zeros, ZEROS);
    free(zeros);
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"0.png", "1.png", "2.png"};
        const uint32_t promised[] = {ZEROS, 0xfffffff0, 1000};
        iv_text *b = &z.body;
        offset = (uint32_t)b->length;
        put_le(b, 0x04034b50, 4);
        put_le(b, 20, 2), put_le(b, 0, 2), put_le(b, 8, 2), put_le(b, 0, 2), put_le(b, 0x5821, 2);
        put_le(b, crc, 4), put_le(b, (uint32_t)s.total_out, 4), put_le(b, promised[i], 4);
        put_le(b, 5, 2), put_le(b, 0, 2);
        iv_text_append(b, names[i], 5);
        iv_text_append(b, (const char *)packed, s.total_out);
        archive_entry(&z, names[i], 8, crc, (uint32_t)s.total_out, promised[i], offset);
    }
    archive_put(&z, a, "z");
    must_fail(path, NULL, ISOVAE_ERR_DATA, "0.png (neither JPEG nor PNG), 1.png (larger than",
              "2.png (");
    album_put(a, "z", "PK\3\4garbage", 11);
    must_fail(path, NULL, ISOVAE_ERR_DATA, "the zip archive cannot be opened", NULL);
}

/* ---- threads ---- */

static void test_threads(void **state)
{
    album *a = *state;
    char name[32];
    for (unsigned i = 0; i < 150; i++) {
        snprintf(name, sizeof name, "%03u.%s", i, i % 3 == 0 ? "jpg" : "png");
        unsigned char pixels[20 * 20 * 3];
        fill_pattern(pixels, 20, 20, 3, i);
        if (i % 29 == 7) {
            album_put(a, name, "no picture", 10);
        } else {
            album_put_text(a, name,
                           i % 3 == 0 ? make_jpeg(TJPF_RGB, 20, 20, pixels)
                                      : simple_png(3, 20, 20, pixels));
        }
    }
    iv_data_options options;
    iv_data_options_init(&options);
    options.size = "13";
    iv_dataset *serial = must_open(a->folder, &options);
    assert_int_equal(serial->rows, 145);
    for (size_t threads = 2; threads <= 5; threads += 3) {
        isovae_error err;
        assert_int_equal(iv_pool_new(&options.pool, threads, &err), ISOVAE_OK);
        iv_dataset *data = must_open(a->folder, &options);
        assert_int_equal(data->rows, serial->rows);
        assert_memory_equal(data->bytes, serial->bytes, data->rows * data->cols);
        assert_true(data->hash == serial->hash);
        assert_string_equal(data->note, serial->note);
        for (size_t r = 0; r < data->rows; r++) assert_string_equal(data->ids[r], serial->ids[r]);
        iv_dataset_free(data);
        iv_pool_free(options.pool);
    }
    iv_dataset_free(serial);
}

/* ---- the public call ---- */

static void test_public(void **state)
{
    album *a = *state;
    isovae_data_config config;
    isovae_context *context;
    isovae_data *data;
    isovae_error err;
    album_put_text(a, "1.png", pattern_png(8, 3, 0));
    album_put(a, "2.png", "none", 4);
    assert_int_equal(isovae_context_new(NULL, &context, &err), ISOVAE_OK);
    isovae_data_config_init(&config);
    config.size = "5x4";
    config.grey = 1;
    assert_int_equal(isovae_data_open_config(context, a->folder, &config, &data, &err), ISOVAE_OK);
    assert_int_equal(isovae_data_rows(data), 1);
    assert_int_equal(isovae_data_cols(data), 20);
    isovae_data_free(data);
    config.strict = 1;
    assert_int_equal(isovae_data_open_config(context, a->folder, &config, &data, &err),
                     ISOVAE_ERR_DATA);
    assert_null(data);
    config.struct_size = 8;
    assert_int_equal(isovae_data_open_config(context, a->folder, &config, &data, &err),
                     ISOVAE_ERR_VERSION);
    assert_int_equal(isovae_data_open_config(NULL, a->folder, NULL, &data, &err), ISOVAE_OK);
    assert_int_equal(isovae_data_cols(data), 192);
    isovae_data_free(data);
    isovae_context_free(context);
}

/* ---- the real thing ---- */

static void test_faces(void **state)
{
    (void)state;
    enum { FACES = 200 };
    char path[512];
    if (real_data("celeba_10k/celeba_000001-010000_89x109.zip", path, sizeof path) == NULL) skip();
    const iv_spool spool = {.resident = SIZE_MAX, .limit = SIZE_MAX - 2};
    iv_block block;
    iv_picture_list list;
    iv_picture_reader *reader;
    isovae_error err;
    assert_int_equal(iv_block_read(path, &spool, &block, &err), ISOVAE_OK);
    assert_int_equal(iv_picture_list_zip(&block, &list, &err), ISOVAE_OK);
    assert_int_equal(list.n, 10000);
    assert_string_equal(list.entries[199].name + strlen(list.entries[199].name) - 10, "000200.jpg");
    assert_int_equal(iv_picture_reader_new(&reader, &err), ISOVAE_OK);
    const iv_crop whole = {.kind = IV_CROP_NONE};
    static unsigned char pixels[109 * 89 * 3];
    double mean[3] = {0};
    for (size_t i = 0; i < FACES; i++) {
        unsigned char *bytes;
        size_t length;
        iv_picture_info info;
        assert_int_equal(iv_picture_fetch(&list, i, &bytes, &length, &err), ISOVAE_OK);
        assert_int_equal(iv_picture_peek(reader, bytes, length, &info, &err), ISOVAE_OK);
        assert_true(info.jpeg && info.color && info.height == 109 && info.width == 89);
        assert_int_equal(iv_picture_read(reader, bytes, length, &whole, 109, 89, 3, pixels, &err),
                         ISOVAE_OK);
        for (size_t p = 0; p < sizeof pixels; p++) mean[p % 3] += pixels[p];
        iv_free(bytes);
    }
    for (size_t c = 0; c < 3; c++) {
        static const double all[3] = {129.12, 108.67, 97.88}; /* over the 10,000 */
        assert_true(fabs(mean[c] / (FACES * 109.0 * 89.0) - all[c]) < 4);
    }
    iv_picture_reader_free(reader);
    iv_picture_list_free(&list);
    iv_block_free(&block);
    if (getenv("ISOVAE_TEST_SHORT") != NULL) return;
    iv_data_options options;
    iv_data_options_init(&options);
    options.crop = "89,89,15,0";
    options.size = "64";
    iv_dataset *data = must_open(path, &options);
    assert_true(data->rows == 10000 && data->cols == 12288);
    assert_null(data->note);
    iv_dataset_free(data);
}

int main(void)
{
#define ALBUM(test) cmocka_unit_test_setup_teardown(test, album_open, album_close)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resample),
        cmocka_unit_test(test_options),
        ALBUM(test_png_kinds),
        ALBUM(test_jpeg_kinds),
        ALBUM(test_odd),
        ALBUM(test_sizes),
        ALBUM(test_model_size),
        ALBUM(test_nothing),
        ALBUM(test_zip),
        ALBUM(test_bombs),
        ALBUM(test_threads),
        cmocka_unit_test(test_faces),
        ALBUM(test_public),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
