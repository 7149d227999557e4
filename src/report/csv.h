/* Comma-separated text: quoted where a name needs it, numbers with 9 digits, NaN an empty cell. */
#ifndef IV_REPORT_CSV_H
#define IV_REPORT_CSV_H

#include "base/memory.h"

/* Cells of one line; `first` of a line takes no comma before it. End a line with iv_csv_end. */
void iv_csv_text(iv_text *out, bool first, const char *value);
void iv_csv_number(iv_text *out, bool first, double value);
void iv_csv_count(iv_text *out, bool first, size_t value);
void iv_csv_end(iv_text *out);

#endif
