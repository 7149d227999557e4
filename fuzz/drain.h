/* Reads every cell of a table, as dataset building would. */
#ifndef FUZZ_DRAIN_H
#define FUZZ_DRAIN_H

#include "base/memory.h"
#include "data/reader.h"

#include <stdint.h>
#include <stdlib.h>

static inline void drain(iv_table *table, size_t label_column)
{
    isovae_error err;
    size_t *slots, *columns, n = 0;
    double *numbers;
    char place[40];
    if (IV_NEW(slots, table->cols, "slots", &err) != ISOVAE_OK) abort();
    if (IV_NEW(columns, table->cols, "columns", &err) != ISOVAE_OK) abort();
    if (IV_NEW(numbers, table->cols, "numbers", &err) != ISOVAE_OK) abort();
    for (size_t j = 0; j < table->cols; j++) {
        if (table->is_text && j == label_column) {
            slots[j] = IV_SLOT_LABEL;
        } else {
            slots[j] = n;
            columns[n++] = j;
        }
    }
    iv_request request = {.slots = slots, .columns = columns, .n = n};
    for (size_t row = 0; row < table->rows; row++) {
        iv_slice label = {0};
        char *text = NULL;
        if (iv_table_next(table, &request, numbers, &label, &err) != ISOVAE_OK) {
            if (err.status == ISOVAE_ERR_INTERNAL || err.message[0] == '\0') abort();
            break;
        }
        iv_table_place(table, place, sizeof place);
        if (label.data != NULL && iv_slice_copy(label, &text, &err) != ISOVAE_OK) abort();
        iv_free(text);
    }
    iv_free(slots);
    iv_free(columns);
    iv_free(numbers);
}

#endif
