/* A small chart library: SVG as text. Coordinates are pixels from the top left. Colours come from
 * CSS classes, so that a page can switch them; a standalone file carries iv_svg_style. Text is
 * escaped here. */
#ifndef IV_REPORT_SVG_H
#define IV_REPORT_SVG_H

#include "base/memory.h"

/* Value to pixel: `lo` lies at `from`, `hi` at `to`; with `log` in decades (lo > 0). */
typedef struct iv_axis {
    double lo, hi, from, to;
    bool log;
} iv_axis;
double iv_axis_at(const iv_axis *axis, double value);
/* Widens lo and hi to whole ticks (linear) or to 1, 2 or 5 times a power of ten (log). */
void iv_axis_nice(iv_axis *axis, size_t ticks);
/* At most 24 round values between lo and hi, about `wanted` of them; returns their number. */
enum { IV_MAX_TICKS = 24 };
size_t iv_axis_ticks(const iv_axis *axis, size_t wanted, double *out);

typedef struct iv_svg {
    iv_text *out;
    double width, height;            /* of the picture */
    double left, right, top, bottom; /* edges of the plotting area */
    iv_axis x, y;
} iv_svg;

/* Opens <svg>; `title` and `alt` become its accessible name and description. A standalone picture
 * also shows its title and carries its style, light or dark by the viewer's preference; on a page
 * the page has both. `key` makes ids unique on a page. */
void iv_svg_open(iv_svg *svg, iv_text *out, double width, double height, const char *key,
                 const char *title, const char *alt, bool standalone);
void iv_svg_close(iv_svg *svg);
/* The rules for pictures on a page, whose colours are the page's variables --paper, --ink, --soft,
 * --grid, --s1, --s2, --s3, --alert, --over. */
void iv_svg_page_rules(iv_text *out);

/* Plotting area with room for axis labels on all sides; sets the pixel ends of both axes. */
void iv_svg_area(iv_svg *svg, double left, double top, double right, double bottom);
/* Ticks, grid lines and label; `label` may be NULL. */
void iv_svg_axis_y(iv_svg *svg, size_t wanted, const char *label);
void iv_svg_axis_x(iv_svg *svg, size_t wanted, const char *label);
/* The bottom line with a label for each of `n` equal slots, numbered from 0 (as many as fit). */
void iv_svg_slots_x(iv_svg *svg, size_t n, const char *label);
double iv_svg_slot(const iv_svg *svg, size_t n, size_t i); /* centre of slot i */

/* `tip` (may be NULL) is shown when the pointer rests on the mark. */
void iv_svg_rect(iv_svg *svg, const char *class, double x, double y, double width, double height,
                 const char *tip);
void iv_svg_line(iv_svg *svg, const char *class, double x1, double y1, double x2, double y2);
void iv_svg_circle(iv_svg *svg, const char *class, double x, double y, double r, const char *tip);
void iv_svg_diamond(iv_svg *svg, const char *class, double x, double y, double r, const char *tip);
/* Points with a coordinate that is not finite break the line. */
void iv_svg_path(iv_svg *svg, const char *class, const double *x, const double *y, size_t n);
typedef enum iv_anchor { IV_START = 0, IV_MIDDLE = 1, IV_END = 2 } iv_anchor;
void iv_svg_text(iv_svg *svg, const char *class, double x, double y, iv_anchor anchor,
                 const char *text);
/* Entries in a row from (left, 14), wrapping; mark: 'b' box, 'l' line, 'd' dashed line, 'c' circle,
 * 'o' ring, 'r' diamond. Returns the height used. */
typedef struct iv_legend {
    char mark;
    const char *class, *text;
} iv_legend;
double iv_svg_legend(iv_svg *svg, const iv_legend *entries, size_t n);

/* A tick's or a cell's number: short, plain where it can be. */
void iv_svg_number(char *out, size_t size, double value);

#endif
