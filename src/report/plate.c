#include "report/plate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { GLYPH_WIDTH = 5, GLYPH_HEIGHT = 7, MARGIN = 6, GAP = 3, LEAST_CELL = 48 };

/* 5 x 7 dots, row by row. */
static const struct {
    char letter;
    const char *dots;
} glyphs[] = {
    {'0', ".###. #...# #..## #.#.# ##..# #...# .###."},
    {'1', "..#.. .##.. ..#.. ..#.. ..#.. ..#.. .###."},
    {'2', ".###. #...# ....# ...#. ..#.. .#... #####"},
    {'3', ".###. #...# ....# ..##. ....# #...# .###."},
    {'4', "...#. ..##. .#.#. #..#. ##### ...#. ...#."},
    {'5', "##### #.... ####. ....# ....# #...# .###."},
    {'6', ".###. #.... #.... ####. #...# #...# .###."},
    {'7', "##### ....# ...#. ...#. ..#.. ..#.. ..#.."},
    {'8', ".###. #...# #...# .###. #...# #...# .###."},
    {'9', ".###. #...# #...# .#### ....# ....# .###."},
    {'a', "..... ..... .###. ....# .#### #...# .####"},
    {'b', "#.... #.... ####. #...# #...# #...# ####."},
    {'c', "..... ..... .###. #.... #.... #.... .###."},
    {'d', "....# ....# .#### #...# #...# #...# .####"},
    {'e', "..... ..... .###. #...# ##### #.... .###."},
    {'f', "..##. .#... ####. .#... .#... .#... .#..."},
    {'g', "..... ..... .#### #...# .#### ....# .###."},
    {'h', "#.... #.... ####. #...# #...# #...# #...#"},
    {'i', "..#.. ..... .##.. ..#.. ..#.. ..#.. .###."},
    {'j', "...#. ..... ...#. ...#. ...#. #..#. .##.."},
    {'k', "#.... #.... #..#. #.#.. ##... #.#.. #..#."},
    {'l', ".##.. ..#.. ..#.. ..#.. ..#.. ..#.. .###."},
    {'m', "..... ..... ##.#. #.#.# #.#.# #.#.# #.#.#"},
    {'n', "..... ..... ####. #...# #...# #...# #...#"},
    {'o', "..... ..... .###. #...# #...# #...# .###."},
    {'p', "..... ..... ####. #...# ####. #.... #...."},
    {'q', "..... ..... .#### #...# .#### ....# ....#"},
    {'r', "..... ..... #.##. ##... #.... #.... #...."},
    {'s', "..... ..... .#### #.... .###. ....# ####."},
    {'t', ".#... .#... ####. .#... .#... .#... ..##."},
    {'u', "..... ..... #...# #...# #...# #...# .####"},
    {'v', "..... ..... #...# #...# #...# .#.#. ..#.."},
    {'w', "..... ..... #.#.# #.#.# #.#.# #.#.# .#.#."},
    {'x', "..... ..... #...# .#.#. ..#.. .#.#. #...#"},
    {'y', "..... ..... #...# #...# .#### ....# .###."},
    {'z', "..... ..... ##### ...#. ..#.. .#... #####"},
    {'.', "..... ..... ..... ..... ..... .##.. .##.."},
    {',', "..... ..... ..... ..... ..##. ..#.. .#..."},
    {':', "..... .##.. .##.. ..... .##.. .##.. ....."},
    {'-', "..... ..... ..... .###. ..... ..... ....."},
    {'+', "..... ..#.. ..#.. ##### ..#.. ..#.. ....."},
    {'=', "..... ..... ##### ..... ##### ..... ....."},
    {'%', "##..# ##.#. ...#. ..#.. .#... .#.## #..##"},
    {'/', "....# ...#. ...#. ..#.. .#... .#... #...."},
    {'(', "...#. ..#.. .#... .#... .#... ..#.. ...#."},
    {')', ".#... ..#.. ...#. ...#. ...#. ..#.. .#..."},
};

static const char *dots_of(char letter)
{
    if (letter >= 'A' && letter <= 'Z') letter = (char)(letter - 'A' + 'a');
    for (size_t i = 0; i < sizeof glyphs / sizeof *glyphs; i++) {
        if (glyphs[i].letter == letter) return glyphs[i].dots;
    }
    return NULL;
}

isovae_status iv_plate_new(iv_picture *out, size_t height, size_t width, size_t channels,
                           isovae_error *err)
{
    size_t size;
    *out = (iv_picture){.height = height, .width = width, .channels = channels};
    if (!iv_size_mul(height, width, &size) || !iv_size_mul(size, channels, &size)) {
        return iv_fail(err, ISOVAE_ERR_MEMORY, "a sheet of images is too large");
    }
    IV_TRY(IV_NEW(out->pixels, size, "a sheet of images", err));
    memset(out->pixels, 255, size);
    return ISOVAE_OK;
}

void iv_plate_image(iv_picture *plate, size_t x, size_t y, size_t zoom, const iv_picture *from)
{
    for (size_t row = 0; row < from->height * zoom && y + row < plate->height; row++) {
        for (size_t column = 0; column < from->width * zoom && x + column < plate->width;
             column++) {
            const unsigned char *pixel =
                from->pixels + (row / zoom * from->width + column / zoom) * from->channels;
            unsigned char *to =
                plate->pixels + ((y + row) * plate->width + x + column) * plate->channels;
            for (size_t c = 0; c < plate->channels; c++)
                to[c] = pixel[c < from->channels ? c : from->channels - 1];
        }
    }
}

void iv_plate_text(iv_picture *plate, size_t x, size_t y, const char *text)
{
    for (; *text != '\0'; text++, x += IV_LETTER_WIDTH) {
        const char *dots = dots_of(*text);
        for (size_t i = 0; dots != NULL && i < GLYPH_HEIGHT * GLYPH_WIDTH; i++) {
            size_t row = y + i / GLYPH_WIDTH, column = x + i % GLYPH_WIDTH;
            /* a blank stands between two rows */
            if (dots[i + i / GLYPH_WIDTH] != '#') continue;
            if (row >= plate->height || column >= plate->width) continue;
            memset(plate->pixels + (row * plate->width + column) * plate->channels, 0,
                   plate->channels);
        }
    }
}

size_t iv_plate_text_width(const char *text)
{
    return strlen(text) * IV_LETTER_WIDTH;
}

/* ---- sheets ---- */

typedef struct layout {
    size_t zoom, cell_width, cell_height; /* of an image as drawn */
    size_t left, top, row;                /* of the first image; from one row to the next */
    size_t width, height;
} layout;

static size_t widest_line(const char *text, size_t *lines)
{
    size_t widest = 0;
    for (*lines = 0; text != NULL; ++*lines) {
        size_t length = strcspn(text, "\n");
        if (length > widest) widest = length;
        text = text[length] == '\n' ? text + length + 1 : NULL;
    }
    return widest * IV_LETTER_WIDTH;
}

static bool lay_out(const iv_sheet *s, layout *l)
{
    size_t names = 0, most_lines = 0, images, room;
    for (size_t r = 0; r < s->rows; r++) {
        size_t lines, width = widest_line(s->names[r], &lines);
        if (width > names) names = width;
        if (lines > most_lines) most_lines = lines;
    }
    l->zoom = s->width < LEAST_CELL ? (LEAST_CELL + s->width - 1) / s->width : 1;
    if (!iv_size_mul(s->width, l->zoom, &l->cell_width) ||
        !iv_size_mul(s->height, l->zoom, &l->cell_height) ||
        !iv_size_mul(s->columns, l->cell_width + GAP, &images)) {
        return false;
    }
    l->left = MARGIN + names + (names > 0 ? MARGIN : 0);
    l->top = MARGIN;
    if (s->title != NULL) l->top += IV_LETTER_HEIGHT + 3;
    if (s->heads != NULL) l->top += IV_LETTER_HEIGHT + 1;
    l->row = l->cell_height + GAP;
    if (s->between != NULL) l->row += IV_LETTER_HEIGHT + 2;
    if (l->row < most_lines * IV_LETTER_HEIGHT + GAP) l->row = most_lines * IV_LETTER_HEIGHT + GAP;
    size_t title = s->title != NULL ? iv_plate_text_width(s->title) + 2 * MARGIN : 0;
    if (!iv_size_mul(s->rows, l->row, &room) || !iv_size_add(l->left, images, &l->width) ||
        !iv_size_add(l->top, room, &l->height)) {
        return false;
    }
    l->width += MARGIN;
    l->height += MARGIN;
    if (l->width < title) l->width = title;
    return true;
}

static void put_centred(iv_picture *plate, size_t centre, size_t y, const char *text)
{
    size_t half = iv_plate_text_width(text) / 2;
    iv_plate_text(plate, centre > half ? centre - half : 0, y, text);
}

static void put_lines(iv_picture *plate, size_t x, size_t y, const char *text)
{
    while (text != NULL) {
        char line[64];
        size_t length = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)(length < 60 ? length : 60), text);
        iv_plate_text(plate, x, y, line);
        y += IV_LETTER_HEIGHT;
        text = text[length] == '\n' ? text + length + 1 : NULL;
    }
}

static void to_bytes(const iv_sheet *s, const double *values, iv_picture *image)
{
    for (size_t i = 0; i < s->height * s->width; i++) {
        for (size_t c = 0; c < image->channels; c++) {
            double v = 255 * (values[i * s->channels + c] - s->lo) / (s->hi - s->lo);
            image->pixels[i * image->channels + c] = !(v > 0)   ? 0
                                                     : v >= 255 ? 255
                                                                : (unsigned char)lround(v);
        }
    }
}

isovae_status iv_sheet_draw(const iv_sheet *s, iv_picture *out, isovae_error *err)
{
    layout l;
    iv_picture image;
    size_t channels = s->channels >= 3 ? 3 : 1, size = s->height * s->width * s->channels;
    *out = (iv_picture){0};
    if (s->height == 0 || s->width == 0 || s->channels == 0 || !(s->hi > s->lo)) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "a sheet needs images and a range of brightness");
    }
    if (!lay_out(s, &l)) return iv_fail(err, ISOVAE_ERR_MEMORY, "a sheet of images is too large");
    IV_TRY(iv_plate_new(&image, s->height, s->width, channels, err));
    isovae_status status = iv_plate_new(out, l.height, l.width, channels, err);
    if (status != ISOVAE_OK) {
        iv_free(image.pixels);
        return status;
    }
    if (s->title != NULL) iv_plate_text(out, MARGIN, MARGIN, s->title);
    for (size_t k = 0; s->heads != NULL && k < s->columns; k++) {
        put_centred(out, l.left + k * (l.cell_width + GAP) + l.cell_width / 2,
                    l.top - IV_LETTER_HEIGHT - 1, s->heads[k]);
    }
    for (size_t r = 0; r < s->rows; r++) {
        size_t y = l.top + r * l.row;
        put_lines(out, MARGIN, y, s->names[r]);
        for (size_t k = 0; k < s->columns; k++) {
            size_t x = l.left + k * (l.cell_width + GAP);
            to_bytes(s, s->images + (r * s->columns + k) * size, &image);
            iv_plate_image(out, x, y, l.zoom, &image);
            if (s->between == NULL || k == 0) continue;
            char number[32];
            snprintf(number, sizeof number, "%.3g", s->between[r * s->columns + k]);
            put_centred(out, x - GAP / 2 - 1, y + l.cell_height + 3, number);
        }
    }
    iv_free(image.pixels);
    return ISOVAE_OK;
}
