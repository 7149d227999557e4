/* Orders that are one and the same on every machine: equal values stand by their places. */
#ifndef IV_BASE_ORDER_H
#define IV_BASE_ORDER_H

#include <stddef.h>

typedef struct iv_ranked {
    double value; /* no NaN */
    size_t place;
} iv_ranked;

/* Ascending by value, equal ones by place. */
void iv_sort_ranked(size_t count, iv_ranked *items);

#endif
