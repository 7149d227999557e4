/* Labelled sheets of images, and the measured steps of walks along a latent. */
#include "support_fit.h"

#include "base/memory.h"
#include "report/plate.h"
#include "theory/walk.h"

#include <math.h>
#include <string.h>

static isovae_error err;

static unsigned char at(const iv_picture *p, size_t x, size_t y, size_t channel)
{
    assert_true(x < p->width && y < p->height && channel < p->channels);
    return p->pixels[(y * p->width + x) * p->channels + channel];
}

static size_t dark(const iv_picture *p, size_t x, size_t y, size_t width, size_t height)
{
    size_t n = 0;
    for (size_t i = 0; i < height; i++)
        for (size_t k = 0; k < width; k++)
            if (x + k < p->width && y + i < p->height) n += at(p, x + k, y + i, 0) == 0;
    return n;
}

static void letters(void **state)
{
    iv_picture p;
    (void)state;
    ok(iv_plate_new(&p, 9, 60, 3, &err), &err);
    assert_int_equal(dark(&p, 0, 0, 60, 9), 0);
    iv_plate_text(&p, 0, 0, "1-");
    /* the stem of the 1 is column 2, the bar of the - is row 3 */
    for (size_t y = 0; y < 7; y++) assert_int_equal(at(&p, 2, y, 1), 0);
    assert_int_equal(dark(&p, 0, 0, 6, 9), 10);
    assert_int_equal(dark(&p, 6, 0, 6, 9), 3);
    for (size_t x = 7; x < 10; x++) assert_int_equal(at(&p, x, 3, 2), 0);
    assert_int_equal(iv_plate_text_width("1-"), 12);
    /* every letter that labels need has its own dots; others are blank */
    static const char all[] = "0123456789abcdefghijklmnopqrstuvwxyz.,:-+=%/()";
    unsigned char seen[sizeof all][7 * 5];
    for (size_t i = 0; i + 1 < sizeof all; i++) {
        memset(p.pixels, 255, 9 * 60 * 3);
        iv_plate_text(&p, 0, 0, (char[]){all[i], '\0'});
        assert_true(dark(&p, 0, 0, 5, 7) >= 3);
        assert_int_equal(dark(&p, 0, 0, 60, 9), dark(&p, 0, 0, 5, 7));
        for (size_t k = 0; k < 35; k++) seen[i][k] = at(&p, k % 5, k / 5, 0);
        for (size_t j = 0; j < i; j++) assert_memory_not_equal(seen[i], seen[j], 35);
    }
    memset(p.pixels, 255, 9 * 60 * 3);
    iv_plate_text(&p, 0, 0, " ~\x80");
    assert_int_equal(dark(&p, 0, 0, 60, 9), 0);
    /* cut off at the edges */
    iv_plate_text(&p, 57, 5, "888");
    iv_plate_text(&p, 600, 700, "8");
    assert_int_equal(dark(&p, 0, 0, 57, 9), 0);
    assert_true(dark(&p, 57, 5, 3, 4) > 0);
    iv_free(p.pixels);
}

static void images(void **state)
{
    iv_picture p, grey = {.height = 1, .width = 2, .channels = 1};
    unsigned char two[2] = {10, 200};
    (void)state;
    grey.pixels = two;
    ok(iv_plate_new(&p, 8, 9, 3, &err), &err);
    iv_plate_image(&p, 1, 2, 3, &grey);
    for (size_t y = 0; y < 8; y++)
        for (size_t x = 0; x < 9; x++) {
            bool inside = y >= 2 && y < 5 && x >= 1 && x < 7;
            for (size_t c = 0; c < 3; c++)
                assert_int_equal(at(&p, x, y, c), !inside ? 255 : x < 4 ? 10 : 200);
        }
    iv_plate_image(&p, 8, 7, 3, &grey); /* cut off */
    assert_int_equal(at(&p, 8, 7, 0), 10);
    iv_free(p.pixels);
    assert_int_equal(iv_plate_new(&p, SIZE_MAX, 4, 3, &err), ISOVAE_ERR_MEMORY);
}

/* Two rows of three RGB images of 50 x 4: no enlargement. */
static void sheet(void **state)
{
    enum { ROWS = 2, COLUMNS = 3, H = 4, W = 50, C = 3, SIZE = H * W * C };
    static double pixels[ROWS * COLUMNS * SIZE];
    const double between[ROWS * COLUMNS] = {NAN, 1, 1, NAN, 1, 88.88};
    const char *names[] = {"latent 0\nvar 1", "b"}, *heads[] = {"-1sd", "0", "+1sd"};
    (void)state;
    for (size_t i = 0; i < ROWS * COLUMNS; i++)
        for (size_t k = 0; k < SIZE; k++) pixels[i * SIZE + k] = k % C == 2 ? 0.5 : (double)i / 5;
    iv_sheet s = {.rows = ROWS,
                  .columns = COLUMNS,
                  .height = H,
                  .width = W,
                  .channels = C,
                  .images = pixels,
                  .lo = 0,
                  .hi = 1,
                  .names = names,
                  .heads = heads,
                  .between = between};
    iv_picture p;
    ok(iv_sheet_draw(&s, &p, &err), &err);
    const size_t left = 6 + 8 * 6 + 6, top = 6 + 10, row = 2 * 9 + 3; /* two lines of name */
    assert_int_equal(p.channels, 3);
    assert_int_equal(p.width, left + 3 * 53 + 6);
    assert_int_equal(p.height, top + 2 * row + 6);
    for (size_t i = 0; i < ROWS * COLUMNS; i++) {
        size_t x = left + i % COLUMNS * 53, y = top + i / COLUMNS * row;
        assert_int_equal(at(&p, x, y, 0), 51 * i);
        assert_int_equal(at(&p, x + 49, y + 3, 1), 51 * i);
        assert_int_equal(at(&p, x, y, 2), 128);
        assert_int_equal(at(&p, x + 50, y, 0), 255); /* the gap */
    }
    /* names, heads, and the numbers under the gaps and nowhere else */
    assert_true(dark(&p, 6, top, 48, 9) > 40 && dark(&p, 6, top + 9, 48, 9) > 20);
    for (size_t k = 0; k < 3; k++) assert_true(dark(&p, left + 53 * k + 10, 6, 30, 9) > 5);
    size_t under = top + H + 2;
    assert_int_equal(dark(&p, left + 53 - 6, under, 9, 10), 10); /* "1", once */
    assert_int_equal(dark(&p, left, under, 40, 10), 0);
    assert_int_equal(dark(&p, left + 53 - 6, under + row, 9, 10), 10);
    assert_true(dark(&p, left + 106 - 14, under + row, 28, 10) > 40); /* "88.9" */
    iv_free(p.pixels);

    s.hi = 0;
    assert_int_equal(iv_sheet_draw(&s, &p, &err), ISOVAE_ERR_ARGUMENT);
    assert_null(p.pixels);
    s.hi = 1;
    s.columns = SIZE_MAX / 8;
    assert_int_equal(iv_sheet_draw(&s, &p, &err), ISOVAE_ERR_MEMORY);
    /* small pictures are enlarged; grey stays grey */
    s = (iv_sheet){.rows = 1,
                   .columns = 2,
                   .height = 5,
                   .width = 10,
                   .channels = 2,
                   .images = pixels,
                   .lo = 0,
                   .hi = 1,
                   .names = names + 1};
    ok(iv_sheet_draw(&s, &p, &err), &err);
    assert_int_equal(p.channels, 1);
    assert_int_equal(p.width, 6 + 6 + 6 + 2 * (50 + 3) + 6);
    assert_int_equal(p.height, 6 + 25 + 3 + 6);
    iv_free(p.pixels);
}

/* ---- measured steps ---- */

static iv_model *model_of(iv_loss loss, const double *weight)
{
    iv_dataset *data;
    iv_model *m;
    const double values[4] = {0, 1, 1, 0};
    const size_t rows[2] = {0, 1};
    ok(iv_dataset_from_rows(values, 2, 2, NULL, &data, &err), &err);
    ok(iv_model_new(&m, &err), &err);
    ok(iv_model_build(m, "linear", 2, 2, IV_ACT_NONE, IV_F32, &err), &err);
    iv_scaling_free(&m->scaling);
    ok(iv_scaling_fit(IV_SCALE_IDENTITY, data, rows, 2, &m->scaling, &err), &err);
    iv_dataset_free(data);
    m->metric.loss = loss;
    m->beta = 0.5;
    for (size_t i = 0; i < 2; i++) {
        m->scaling.scale[i] = 2;
        m->scaling.shift[i] = 1;
        m->scaling.weight[i] = weight[i];
    }
    return m;
}

static void step_lengths(void **state)
{
    const double weights[2] = {3, 0.5}, ones[2] = {1, 1};
    double x[6] = {1, 1, 2, 3, 2, 3}, length[3];
    (void)state;
    iv_model *m = model_of(IV_LOSS_SSE, weights);
    ok(iv_step_lengths(m, x, 3, length, &err), &err);
    assert_true(isnan(length[0]) && length[2] == 0);
    assert_true(fabs(length[1] - sqrt(3 * 0.25 + 0.5 * 1)) < 1e-12);
    iv_model_free(m);

    m = model_of(IV_LOSS_WEIGHTED, ones); /* a(x) = 2 + 4 |x'|^2, the mean of both ends */
    m->metric.c0 = 2;
    m->metric.c1 = 4;
    ok(iv_step_lengths(m, x, 2, length, &err), &err);
    double from = 2, to = 2 + 4 * (0.25 + 1);
    assert_true(fabs(length[1] - sqrt(0.5 * (from + to) * 1.25)) < 1e-12);
    iv_model_free(m);

    m = model_of(IV_LOSS_BCE, ones); /* probabilities (x - 1)/2 */
    const double p[4] = {1.4, 2.0, 1.5, 2.4};
    ok(iv_step_lengths(m, p, 2, length, &err), &err);
    double sum = 0;
    for (size_t i = 0; i < 2; i++) {
        double a = (p[i] - 1) / 2, b = (p[2 + i] - 1) / 2;
        sum += 0.5 * (a - b) * (log(a / (1 - a)) - log(b / (1 - b)));
    }
    assert_true(fabs(length[1] - sqrt(sum)) < 1e-6);
    const double edge[4] = {1, 3, 1, 3.5}; /* 0, 1 and beyond: finite */
    ok(iv_step_lengths(m, edge, 2, length, &err), &err);
    assert_true(length[1] == 0);
    iv_model_free(m);
}

static void walk_coordinates(void **state)
{
    const double ones[2] = {1, 1};
    double mu[40], sigma[40];
    (void)state;
    iv_model *m = model_of(IV_LOSS_SSE, ones);
    for (size_t i = 0; i < 40; i++) {
        mu[i] = (double)i / 10 - 2;
        sigma[i] = 0.25;
    }
    ok(iv_spline_fit(mu, sigma, 40, &m->splines[0], &err), &err);
    m->active[0] = 1;
    m->active[1] = 0;
    m->variance_y[0] = 4.25;
    m->variance_y[1] = 0.25;
    /* y = sqrt(beta/2)/sigma mu = 2 mu; the other one has sigma 1: y = mu/2 */
    assert_true(fabs(iv_walk_y(m, 0, 1.5) - 3) < 1e-9 && fabs(iv_walk_mu(m, 0, 3) - 1.5) < 1e-9);
    assert_true(fabs(iv_walk_y(m, 1, 1.5) - 0.75) < 1e-9 && fabs(iv_walk_mu(m, 1, 3) - 6) < 1e-9);
    assert_true(fabs(iv_walk_sd(m, 0) - 2) < 1e-12 && fabs(iv_walk_sd(m, 1) - 0.5) < 1e-12);
    iv_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters),      cmocka_unit_test(images),           cmocka_unit_test(sheet),
        cmocka_unit_test(step_lengths), cmocka_unit_test(walk_coordinates),
    };
    return cmocka_run_group_tests_name("sheets", tests, NULL, NULL);
}
