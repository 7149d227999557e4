/* Results as a table: CSV to standard output, or CSV, JSON or npy to the file named by -o. */
#include "cli.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIGITS = 9 }; /* a float comes back the same */

/* ---- the table ---- */

isovae_status cli_sheet_new(cli_sheet *sheet, const char *kind, size_t rows, size_t columns,
                            isovae_error *err)
{
    memset(sheet, 0, sizeof *sheet);
    sheet->kind = kind;
    sheet->rows = rows;
    IV_TRY(IV_NEW(sheet->columns, columns, "result columns", err));
    sheet->n_columns = columns;
    return ISOVAE_OK;
}

isovae_status cli_sheet_numbers(cli_sheet *sheet, size_t column, bool whole, isovae_error *err,
                                const char *name, ...)
{
    char buffer[256];
    va_list arguments;
    va_start(arguments, name);
    vsnprintf(buffer, sizeof buffer, name, arguments);
    va_end(arguments);
    sheet->columns[column].whole = whole;
    IV_TRY(iv_strdup(&sheet->columns[column].name, buffer, err));
    return IV_NEW(sheet->columns[column].values, sheet->rows, "result", err);
}

isovae_status cli_sheet_texts(cli_sheet *sheet, size_t column, const char *name, isovae_error *err)
{
    IV_TRY(iv_strdup(&sheet->columns[column].name, name, err));
    return IV_NEW(sheet->columns[column].texts, sheet->rows, "result", err);
}

isovae_status cli_sheet_ids(cli_sheet *sheet, const iv_dataset *data, isovae_error *err)
{
    sheet->columns[0].label = true;
    if (data->ids != NULL) {
        IV_TRY(cli_sheet_texts(sheet, 0, "id", err));
        for (size_t r = 0; r < sheet->rows; r++) sheet->columns[0].texts[r] = data->ids[r];
        return ISOVAE_OK;
    }
    IV_TRY(cli_sheet_numbers(sheet, 0, true, err, "id"));
    for (size_t r = 0; r < sheet->rows; r++) sheet->columns[0].values[r] = (double)(r + 1);
    return ISOVAE_OK;
}

void cli_sheet_free(cli_sheet *sheet)
{
    for (size_t i = 0; i < sheet->n_columns; i++) {
        iv_free(sheet->columns[i].name);
        iv_free(sheet->columns[i].values);
        iv_free(sheet->columns[i].texts);
    }
    iv_free(sheet->columns);
    memset(sheet, 0, sizeof *sheet);
}

/* ---- formats ---- */

static void put_number(iv_text *out, const cli_column *column, size_t row, const char *not_a_number)
{
    char buffer[40];
    double value = column->values[row];
    if (isnan(value)) {
        iv_text_puts(out, not_a_number);
    } else if (column->whole) {
        iv_text_printf(out, "%.0f", value);
    } else {
        iv_format_double(buffer, sizeof buffer, value, DIGITS);
        iv_text_puts(out, buffer);
    }
}

static void put_csv_text(iv_text *out, const char *text)
{
    if (strpbrk(text, ",\"\r\n") == NULL) {
        iv_text_puts(out, text);
        return;
    }
    iv_text_puts(out, "\"");
    for (; *text != '\0'; text++) {
        if (*text == '"') iv_text_puts(out, "\"");
        iv_text_append(out, text, 1);
    }
    iv_text_puts(out, "\"");
}

static void write_csv(iv_text *out, const cli_sheet *sheet)
{
    for (size_t i = 0; i < sheet->n_columns; i++) {
        if (i > 0) iv_text_puts(out, ",");
        put_csv_text(out, sheet->columns[i].name);
    }
    iv_text_puts(out, "\n");
    for (size_t r = 0; r < sheet->rows; r++) {
        for (size_t i = 0; i < sheet->n_columns; i++) {
            const cli_column *column = &sheet->columns[i];
            if (i > 0) iv_text_puts(out, ",");
            if (column->texts != NULL) {
                put_csv_text(out, column->texts[r] != NULL ? column->texts[r] : "");
            } else {
                put_number(out, column, r, "");
            }
        }
        iv_text_puts(out, "\n");
    }
}

static void put_json_text(iv_text *out, const char *text)
{
    iv_text_puts(out, "\"");
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\') {
            iv_text_printf(out, "\\%c", *at);
        } else if (*at < 0x20) {
            iv_text_printf(out, "\\u%04x", *at);
        } else {
            iv_text_append(out, (const char *)at, 1);
        }
    }
    iv_text_puts(out, "\"");
}

/* JSON has no infinity: it becomes null, like a missing number. */
static void write_json(iv_text *out, const cli_sheet *sheet)
{
    iv_text_puts(out, "{\n  \"format\": ");
    put_json_text(out, sheet->kind);
    if (sheet->remark != NULL) {
        iv_text_puts(out, ",\n  \"remark\": ");
        put_json_text(out, sheet->remark);
    }
    iv_text_puts(out, ",\n  \"rows\": [");
    for (size_t r = 0; r < sheet->rows; r++) {
        iv_text_puts(out, r > 0 ? ",\n    {" : "\n    {");
        for (size_t i = 0; i < sheet->n_columns; i++) {
            const cli_column *column = &sheet->columns[i];
            if (i > 0) iv_text_puts(out, ", ");
            put_json_text(out, column->name);
            iv_text_puts(out, ": ");
            if (column->texts != NULL) {
                put_json_text(out, column->texts[r] != NULL ? column->texts[r] : "");
            } else if (isinf(column->values[r])) {
                iv_text_puts(out, "null");
            } else {
                put_number(out, column, r, "null");
            }
        }
        iv_text_puts(out, "}");
    }
    iv_text_puts(out, sheet->rows > 0 ? "\n  ]\n}\n" : "]\n}\n");
}

/* Little-endian bytes of the double, whatever the machine. */
static void put_double(char out[8], double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    for (size_t b = 0; b < 8; b++) out[b] = (char)(unsigned char)(bits >> (8 * b));
}

static bool is_numeric(const cli_column *column)
{
    return column->texts == NULL && !column->label;
}

/* npy version 1.0: magic, version, length of the header, header padded so that the data start at a
 * multiple of 64 bytes. Columns of text and ids are left out. */
static void write_npy(iv_text *out, const cli_sheet *sheet)
{
    size_t numeric = 0;
    for (size_t i = 0; i < sheet->n_columns; i++) numeric += is_numeric(&sheet->columns[i]);
    char header[128];
    int used = snprintf(header, sizeof header,
                        "{'descr': '<f8', 'fortran_order': False, 'shape': (%zu, %zu), }",
                        sheet->rows, numeric);
    while ((10 + used + 1) % 64 != 0) header[used++] = ' ';
    header[used++] = '\n';
    char start[10] = {(char)0x93,       'N', 'U', 'M', 'P', 'Y', 1, 0, (char)(used & 0xff),
                      (char)(used >> 8)};
    iv_text_append(out, start, sizeof start);
    iv_text_append(out, header, (size_t)used);
    for (size_t r = 0; r < sheet->rows; r++) {
        for (size_t i = 0; i < sheet->n_columns; i++) {
            char bytes[8];
            if (!is_numeric(&sheet->columns[i])) continue;
            put_double(bytes, sheet->columns[i].values[r]);
            iv_text_append(out, bytes, sizeof bytes);
        }
    }
}

/* ---- where it goes ---- */

static bool has_suffix(const char *path, const char *suffix)
{
    size_t length = strlen(path), end = strlen(suffix);
    return length >= end && strcasecmp(path + length - end, suffix) == 0;
}

isovae_status cli_check_writable(const char *path, isovae_error *err)
{
    struct stat info;
    if (stat(path, &info) == 0) {
        if (S_ISDIR(info.st_mode)) {
            return iv_fail(err, ISOVAE_ERR_IO, "%s: cannot be written: it is a folder", path);
        }
        if (!S_ISREG(info.st_mode)) return ISOVAE_OK;
        if (access(path, W_OK) != 0) {
            return iv_fail(err, ISOVAE_ERR_IO, "%s: cannot be written: %s", path, strerror(errno));
        }
    }
    iv_text probe = {0};
    iv_text_printf(&probe, "%s.%ld.probe", path, (long)getpid());
    isovae_status status = iv_text_check(&probe, err);
    if (status == ISOVAE_OK) {
        int descriptor = open(probe.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (descriptor < 0) {
            status =
                iv_fail(err, ISOVAE_ERR_IO, "%s: cannot be written: %s", path, strerror(errno));
        } else {
            close(descriptor);
            unlink(probe.data);
        }
    }
    iv_text_free(&probe);
    return status;
}

isovae_status cli_output_format(cli *c, bool pictures, cli_format *out, isovae_error *err)
{
    const char *path = c->opt[OPT_OUTPUT].text;
    *out = CLI_FORMAT_CSV;
    if (path == NULL || strcmp(path, "-") == 0) return ISOVAE_OK;
    if (has_suffix(path, ".json")) {
        *out = CLI_FORMAT_JSON;
    } else if (has_suffix(path, ".npy")) {
        *out = CLI_FORMAT_NPY;
    } else if (pictures && has_suffix(path, ".png")) {
        *out = CLI_FORMAT_PNG;
    } else if (!has_suffix(path, ".csv") && strncmp(path, "/dev/", 5) != 0) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "-o: '%s' does not tell the format; end its name in .csv, .json%s .npy%s",
                       path, pictures ? "," : " or", pictures ? " or .png" : "");
    }
    return cli_check_writable(path, err);
}

isovae_status cli_sheet_write(cli *c, const cli_sheet *sheet, cli_format format, isovae_error *err)
{
    const char *path = c->opt[OPT_OUTPUT].text;
    iv_text out = {0};
    if (format == CLI_FORMAT_JSON) {
        write_json(&out, sheet);
    } else if (format == CLI_FORMAT_NPY) {
        write_npy(&out, sheet);
    } else {
        write_csv(&out, sheet);
    }
    isovae_status status = iv_text_check(&out, err);
    if (status == ISOVAE_OK) {
        if (path == NULL || strcmp(path, "-") == 0) {
            status = cli_print(&out, err);
        } else {
            status = iv_file_write(path, out.data, out.length, err);
            if (status == ISOVAE_OK) cli_detail(c, "%s: %zu rows written", path, sheet->rows);
        }
    }
    iv_text_free(&out);
    return status;
}
