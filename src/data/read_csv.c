/* Delimited text: commas, semicolons, tabs or blanks, found by looking; quotes; an optional line of
 * names. Opening counts the rows and looks at the first two; the cells are read row by row. */
#include "data/reader.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/columns.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* A place in the text, going from field to field. */
typedef struct scanner {
    const char *at, *end;
    char separator, newline;
    size_t line;
} scanner;

typedef enum field_end {
    FIELD_MORE, /* another field follows in this record */
    FIELD_LAST,
    FIELD_BAD_QUOTE, /* text follows the closing quote */
    FIELD_OPEN_QUOTE /* the text ends inside quotes */
} field_end;

/* Blanks that never belong to a field; a tab is one unless it separates. */
static inline bool is_blank(const scanner *s, char c)
{
    return c == ' ' || (c == '\r' && s->newline != '\r') || (c == '\t' && s->separator != '\t');
}

/* Goes to the next record that is not empty; false at the end of the text. */
static bool next_record(scanner *s)
{
    while (s->at < s->end) {
        const char *p = s->at;
        while (p < s->end && is_blank(s, *p)) p++;
        if (p == s->end) break;
        if (*p != s->newline) {
            if (s->separator == ' ') s->at = p;
            return true;
        }
        s->at = p + 1;
        s->line++;
    }
    s->at = s->end;
    return false;
}

/* Ends a field at p, which is at a separator, at a blank before one, at a newline or at the end. */
static field_end finish_field(scanner *s, const char *p, field_end otherwise)
{
    const char *blanks = p;
    while (p < s->end && is_blank(s, *p)) p++;
    if (p == s->end || *p == s->newline) {
        if (p < s->end) {
            p++;
            s->line++;
        }
        s->at = p;
        return FIELD_LAST;
    }
    if (s->separator == ' ' && p > blanks) {
        s->at = p;
        return FIELD_MORE;
    }
    if (s->separator != ' ' && *p == s->separator) {
        s->at = p + 1;
        return FIELD_MORE;
    }
    s->at = p;
    return otherwise;
}

static field_end quoted_field(scanner *s, iv_slice *out)
{
    const char *start = s->at + 1, *p = start;
    *out = (iv_slice){.data = start, .quoted = true};
    for (;;) {
        const char *quote = memchr(p, '"', (size_t)(s->end - p));
        const char *stop = quote != NULL ? quote : s->end;
        for (const char *q = p; (q = memchr(q, s->newline, (size_t)(stop - q))) != NULL; q++) {
            s->line++;
        }
        if (quote == NULL) {
            s->at = s->end;
            return FIELD_OPEN_QUOTE;
        }
        p = quote + 1;
        if (p < s->end && *p == '"') {
            out->escaped = true;
            p++;
            continue;
        }
        out->length = (size_t)(quote - start);
        return finish_field(s, p, FIELD_BAD_QUOTE);
    }
}

/* The next field of the record that the scanner stands in. */
static inline field_end next_field(scanner *s, iv_slice *out)
{
    const char *p = s->at;
    while (p < s->end && is_blank(s, *p)) p++;
    if (p < s->end && *p == '"') {
        s->at = p;
        return quoted_field(s, out);
    }
    const char *start = p;
    char separator = s->separator, newline = s->newline;
    if (separator == ' ') {
        while (p < s->end && *p != newline && !is_blank(s, *p)) p++;
        *out = (iv_slice){.data = start, .length = (size_t)(p - start)};
        return finish_field(s, p, FIELD_LAST);
    }
    while (p < s->end && *p != separator && *p != newline) p++;
    const char *last = p;
    while (last > start && is_blank(s, last[-1])) last--;
    *out = (iv_slice){.data = start, .length = (size_t)(last - start)};
    if (p < s->end && *p == separator) {
        s->at = p + 1;
        return FIELD_MORE;
    }
    if (p < s->end) {
        p++;
        s->line++;
    }
    s->at = p;
    return FIELD_LAST;
}

static isovae_status fail_quote(field_end end, size_t line, isovae_error *err)
{
    return iv_fail(err, ISOVAE_ERR_DATA,
                   end == FIELD_OPEN_QUOTE ? "line %zu: a quotation mark is never closed"
                                           : "line %zu: text follows a closing quotation mark",
                   line);
}

/* Fields of the record at `s`, which moves on to the next; *out is 0 where a quote is amiss. */
static field_end count_fields(scanner *s, size_t *out)
{
    iv_slice field;
    size_t n = 1;
    field_end end;
    while ((end = next_field(s, &field)) == FIELD_MORE) n++;
    *out = end == FIELD_LAST ? n : 0;
    return end;
}

static bool is_missing(const char *text, size_t length)
{
    static const char *const words[] = {"?", "na", "n/a", "nan", "null", "none"};
    if (length == 0) return true;
    if (length > 4) return false;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (iv_same_word(text, length, words[i])) return true;
    }
    return false;
}

/* Blanks inside quotes do not make a number another one. */
static iv_slice trimmed(iv_slice cell)
{
    while (cell.length > 0 && (*cell.data == ' ' || *cell.data == '\t')) {
        cell.data++;
        cell.length--;
    }
    while (cell.length > 0 &&
           (cell.data[cell.length - 1] == ' ' || cell.data[cell.length - 1] == '\t')) {
        cell.length--;
    }
    return cell;
}

/* A number, or NaN where the cell is missing; false for other text. */
static bool cell_number(iv_slice cell, double *out)
{
    if (cell.quoted) cell = trimmed(cell);
    if (iv_parse_double(cell.data, cell.length, out)) return true;
    *out = NAN;
    return is_missing(cell.data, cell.length);
}

typedef enum cell_kind { CELL_NUMBER, CELL_MISSING, CELL_TEXT } cell_kind;

static cell_kind kind_of(iv_slice cell)
{
    double value;
    if (!cell_number(cell, &value)) return CELL_TEXT;
    return isnan(value) ? CELL_MISSING : CELL_NUMBER;
}

static scanner scan_from(const iv_csv *csv, size_t at, size_t line)
{
    return (scanner){.at = csv->text + at,
                     .end = csv->text + csv->length,
                     .line = line,
                     .separator = csv->separator,
                     .newline = csv->newline};
}

/* The first candidate that cuts the first records into equally many fields, more than one; else
 * one that cuts the first record at all; else the text is a single column. */
static char find_separator(const iv_csv *csv)
{
    static const char candidates[] = {'\t', ';', ',', ' '};
    enum { RECORDS = 20 };
    char fallback = 0;
    for (size_t i = 0; i < sizeof candidates; i++) {
        scanner s = scan_from(csv, csv->start, csv->start_line);
        s.separator = candidates[i];
        size_t first = 0, n = 0, equal = 0, records = 0;
        while (records < RECORDS && next_record(&s)) {
            if (count_fields(&s, &n) != FIELD_LAST) break;
            if (records++ == 0) first = n;
            equal += n == first;
        }
        if (first < 2) continue;
        if (equal == records) return candidates[i];
        if (fallback == 0) fallback = candidates[i];
    }
    return fallback != 0 ? fallback : ',';
}

/* Whether the first record names the columns: it holds no number, and some of its words stand over
 * a number or a gap in the second record. */
static bool looks_like_header(const iv_csv *csv)
{
    scanner first = scan_from(csv, csv->start, csv->start_line), second;
    iv_slice a, b;
    size_t fields;
    if (!next_record(&first)) return false;
    second = first;
    if (count_fields(&second, &fields) != FIELD_LAST) return false;
    bool there = next_record(&second), word = false, word_over_number = false;
    field_end more = FIELD_MORE, more_below = there ? FIELD_MORE : FIELD_LAST;
    bool below = there;
    while (more == FIELD_MORE) {
        more = next_field(&first, &a);
        if (below) {
            more_below = next_field(&second, &b);
        }
        cell_kind kind = kind_of(a);
        if (kind == CELL_NUMBER) return false;
        if (kind == CELL_TEXT) {
            word = true;
            if (below && kind_of(b) != CELL_TEXT) word_over_number = true;
        }
        if (more_below != FIELD_MORE) below = false;
    }
    return there ? word_over_number : word;
}

static void free_names(char **names, size_t n)
{
    if (names == NULL) return;
    for (size_t i = 0; i < n; i++) iv_free(names[i]);
    iv_free(names);
}

static isovae_status read_names(scanner *s, iv_table *table, isovae_error *err)
{
    char **names;
    IV_TRY(IV_NEW(names, table->cols, "column names", err));
    isovae_status status = ISOVAE_OK;
    for (size_t i = 0; i < table->cols && status == ISOVAE_OK; i++) {
        iv_slice field;
        next_field(s, &field); /* these fields were counted before */
        status = iv_slice_copy(field, &names[i], err);
    }
    if (status == ISOVAE_OK) status = iv_names_make_unique(names, table->cols, err);
    if (status != ISOVAE_OK) {
        free_names(names, table->cols);
        return status;
    }
    table->names = names;
    return ISOVAE_OK;
}

static isovae_status fail_ragged(const iv_table *table, size_t line, size_t fields, bool more,
                                 isovae_error *err)
{
    return iv_fail(err, ISOVAE_ERR_DATA, "line %zu has %s%zu field%s where line %zu has %zu", line,
                   more ? "more than " : "", fields, fields == 1 ? "" : "s", table->csv.first_line,
                   table->cols);
}

/* Records from `s` to the end. Without quotes a record is a line. */
static isovae_status count_rows(scanner s, bool quotes, const iv_table *table, bool check,
                                size_t *out, isovae_error *err)
{
    size_t rows = 0, release = table->csv.release;
    const char *released = s.at;
    while (next_record(&s)) {
        size_t fields, line = s.line;
        if (quotes || check) {
            field_end end = count_fields(&s, &fields);
            if (end != FIELD_LAST) return fail_quote(end, line, err);
            if (check && fields != table->cols) {
                return fail_ragged(table, line, fields, false, err);
            }
        } else {
            const char *stop = memchr(s.at, s.newline, (size_t)(s.end - s.at));
            s.at = stop != NULL ? stop + 1 : s.end;
            s.line++;
        }
        rows++;
        if (release > 0 && (size_t)(s.at - released) >= release) {
            iv_pages_release(released, s.at);
            released = s.at;
        }
    }
    *out = rows;
    return ISOVAE_OK;
}

/* memchr that leaves no more than `release` bytes of a mapped block in memory; 0: all. */
static bool has_byte(const void *block, size_t length, int byte, size_t release)
{
    const unsigned char *at = block, *end = at + length;
    if (release == 0) return length > 0 && memchr(block, byte, length) != NULL;
    while (at < end) {
        size_t part = (size_t)(end - at) < release ? (size_t)(end - at) : release;
        if (memchr(at, byte, part) != NULL) return true;
        iv_pages_release(at, at + part);
        at += part;
    }
    return false;
}

static isovae_status check_is_text(const unsigned char *block, size_t length, size_t release,
                                   isovae_error *err)
{
    if (length >= 2 &&
        ((block[0] == 0xFF && block[1] == 0xFE) || (block[0] == 0xFE && block[1] == 0xFF))) {
        return iv_fail(err, ISOVAE_ERR_DATA, "the text is in UTF-16; save it as UTF-8");
    }
    if (has_byte(block, length, 0, release)) {
        return iv_fail(
            err, ISOVAE_ERR_DATA,
            "neither text nor a known binary format (.npy, .npz, .mat, IDX, or .gz of these, "
            "or a folder or zip of JPEG and PNG pictures)");
    }
    return ISOVAE_OK;
}

/* Lines at the head that begin with "# ", or hold # alone. */
static void skip_comments(iv_csv *csv)
{
    size_t at = 0, line = 1;
    while (at < csv->length && csv->text[at] == '#') {
        char after = at + 1 < csv->length ? csv->text[at + 1] : csv->newline;
        if (after != ' ' && after != '\t' && after != '\r' && after != csv->newline) break;
        const char *stop = memchr(csv->text + at, csv->newline, csv->length - at);
        at = stop != NULL ? (size_t)(stop - csv->text) + 1 : csv->length;
        line++;
    }
    csv->start = at;
    csv->start_line = line;
}

static isovae_status open_text(iv_table *table, int header, isovae_error *err)
{
    iv_csv *csv = &table->csv;
    csv->newline = has_byte(csv->text, csv->length, '\n', csv->release)   ? '\n'
                   : has_byte(csv->text, csv->length, '\r', csv->release) ? '\r'
                                                                          : '\n';
    skip_comments(csv);
    csv->separator = find_separator(csv);
    bool quotes = has_byte(csv->text, csv->length, '"', csv->release);
    scanner s = scan_from(csv, csv->start, csv->start_line);
    if (!next_record(&s)) return iv_fail(err, ISOVAE_ERR_DATA, "the file holds no data");
    csv->first_line = s.line;
    scanner after = s;
    field_end end = count_fields(&after, &table->cols);
    if (end != FIELD_LAST) return fail_quote(end, csv->first_line, err);
    if (header == 1 || (header < 0 && looks_like_header(csv))) {
        IV_TRY(read_names(&s, table, err));
    }
    csv->data_at = (size_t)(s.at - csv->text);
    csv->data_line = s.line;
    csv->at = csv->data_at;
    csv->line = csv->data_line;
    IV_TRY(count_rows(s, quotes, table, false, &table->rows, err));
    if (table->rows == 0) {
        return iv_fail(err, ISOVAE_ERR_DATA, "there are no rows below the column names");
    }
    /* A cell takes at least the byte that ends it. Where that cannot be, some line is too short:
     * find it before memory is asked for that no file this small can fill. */
    size_t cells;
    if (!iv_size_mul(table->rows, table->cols, &cells) || cells > csv->length + 1) {
        IV_TRY(count_rows(s, quotes, table, true, &table->rows, err));
    }
    return ISOVAE_OK;
}

isovae_status iv_read_csv(const unsigned char *block, size_t length, int header, iv_table *out,
                          isovae_error *err)
{
    return iv_read_csv_mapped(block, length, header, 0, out, err);
}

isovae_status iv_read_csv_mapped(const unsigned char *block, size_t length, int header,
                                 size_t release, iv_table *out, isovae_error *err)
{
    *out = (iv_table){.is_text = true};
    IV_TRY(check_is_text(block, length, release, err));
    if (length >= 3 && memcmp(block, "\xEF\xBB\xBF", 3) == 0) { /* the mark of UTF-8 */
        block += 3;
        length -= 3;
    }
    if (length == 0) return iv_fail(err, ISOVAE_ERR_DATA, "the file is empty");
    out->csv = (iv_csv){.text = (const char *)block, .length = length, .release = release};
    isovae_status status = open_text(out, header, err);
    if (status != ISOVAE_OK) iv_table_free(out);
    return status;
}

bool iv_csv_decimal_comma(const iv_table *table, iv_slice cell)
{
    char text[40];
    double value;
    const char *comma = memchr(cell.data, ',', cell.length);
    const char *blank = memchr(cell.data, ' ', cell.length);
    if (comma == NULL && blank != NULL && table->csv.separator == ',') {
        size_t before = (size_t)(blank - cell.data);
        return iv_parse_double(cell.data, before, &value) &&
               iv_parse_double(blank + 1, cell.length - before - 1, &value);
    }
    if (comma == NULL || cell.length >= sizeof text) return false;
    memcpy(text, cell.data, cell.length);
    text[comma - cell.data] = '.';
    return iv_parse_double(text, cell.length, &value);
}

static isovae_status fail_text(const iv_table *table, size_t column, iv_slice cell, size_t line,
                               isovae_error *err)
{
    const char *hint = "correct it, or leave the column out with --drop";
    if (iv_csv_decimal_comma(table, cell)) {
        hint = "decimals are written with a point";
    } else if (table->names == NULL && line == table->csv.first_line) {
        hint = "if the first line names the columns, say so with --header";
    }
    iv_shown shown = iv_show(cell.data, cell.length);
    if (table->names != NULL) {
        const char *name = table->names[column];
        return iv_fail(err, ISOVAE_ERR_DATA, "line %zu, column '%s': '%s' is not a number; %s",
                       line, iv_show(name, strlen(name)).text, shown.text, hint);
    }
    return iv_fail(err, ISOVAE_ERR_DATA, "line %zu, column %zu: '%s' is not a number; %s", line,
                   column + 1, shown.text, hint);
}

isovae_status iv_csv_next(iv_table *table, const iv_request *request, double *numbers,
                          iv_slice *texts, isovae_error *err)
{
    iv_csv *csv = &table->csv;
    scanner s = scan_from(csv, csv->at, csv->line);
    if (!next_record(&s)) {
        return iv_fail(err, ISOVAE_ERR_INTERNAL, "the text has fewer rows than were counted");
    }
    size_t line = s.line, cols = table->cols, j = 0;
    csv->record_line = line;
    field_end end;
    iv_slice cell;
    do {
        end = next_field(&s, &cell);
        if (end > FIELD_LAST) return fail_quote(end, line, err);
        if (j >= cols) return fail_ragged(table, line, cols, true, err);
        size_t slot = request->slots[j];
        if (slot > SIZE_MAX / 2 && slot != IV_SLOT_NONE) {
            texts[IV_SLOT_TEXT(0) - slot] = cell;
        } else if (slot != IV_SLOT_NONE) {
            if (!cell_number(cell, &numbers[slot])) {
                /* A line that is also too short or too long: that is then what is wrong. */
                size_t fields = j + 1, rest = 0;
                if (end == FIELD_MORE && count_fields(&s, &rest) == FIELD_LAST) fields += rest;
                if (fields != cols) return fail_ragged(table, line, fields, false, err);
                return fail_text(table, j, cell, line, err);
            }
        }
        j++;
    } while (end == FIELD_MORE);
    if (j != cols) return fail_ragged(table, line, j, false, err);
    csv->at = (size_t)(s.at - csv->text);
    csv->line = s.line;
    return ISOVAE_OK;
}

void iv_csv_rewind(iv_table *table)
{
    table->csv.at = table->csv.data_at;
    table->csv.line = table->csv.data_line;
    table->next_row = 0;
}

bool iv_csv_missing_word(iv_slice cell)
{
    return is_missing(cell.data, cell.length) && !iv_same_word(cell.data, cell.length, "none");
}

isovae_status iv_csv_text_columns(iv_table *table, const iv_block *block, size_t release,
                                  unsigned char *is_text, isovae_error *err)
{
    scanner s = scan_from(&table->csv, table->csv.data_at, table->csv.data_line);
    const char *released = s.at;
    memset(is_text, 0, table->cols);
    while (next_record(&s)) {
        field_end end = FIELD_MORE;
        size_t line = s.line;
        for (size_t j = 0; end == FIELD_MORE; j++) {
            iv_slice cell;
            end = next_field(&s, &cell);
            if (end > FIELD_LAST) return fail_quote(end, line, err);
            if (j < table->cols && !is_text[j]) is_text[j] = kind_of(cell) == CELL_TEXT;
        }
        if ((size_t)(s.at - released) >= release) {
            iv_block_release(block);
            released = s.at;
        }
    }
    return ISOVAE_OK;
}

isovae_status iv_csv_text_cells(const iv_table *table, unsigned char *is_text, iv_slice *first,
                                isovae_error *err)
{
    scanner s = scan_from(&table->csv, table->csv.data_at, table->csv.data_line);
    iv_slice cell;
    field_end end = FIELD_MORE;
    bool found = false;
    memset(is_text, 0, table->cols);
    next_record(&s);
    for (size_t j = 0; j < table->cols && end == FIELD_MORE; j++) {
        size_t line = s.line;
        end = next_field(&s, &cell);
        if (end > FIELD_LAST) return fail_quote(end, line, err);
        if (kind_of(cell) != CELL_TEXT) continue;
        is_text[j] = 1;
        if (!found) *first = cell;
        found = true;
    }
    return ISOVAE_OK;
}

isovae_status iv_slice_copy(iv_slice slice, char **out, isovae_error *err)
{
    IV_TRY(iv_strndup(out, slice.data, slice.length, err));
    if (!slice.escaped) return ISOVAE_OK;
    char *to = *out;
    for (size_t i = 0; i < slice.length; i++) {
        *to++ = slice.data[i];
        if (slice.data[i] == '"' && i + 1 < slice.length && slice.data[i + 1] == '"') i++;
    }
    *to = '\0';
    return ISOVAE_OK;
}
