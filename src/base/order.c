#include "base/order.h"

#include <stdlib.h>

static int compare_ranked(const void *a, const void *b)
{
    const iv_ranked *p = a, *q = b;
    if (p->value < q->value) return -1;
    if (p->value > q->value) return 1;
    return p->place < q->place ? -1 : p->place > q->place;
}

void iv_sort_ranked(size_t count, iv_ranked *items)
{
    qsort(items, count, sizeof *items, compare_ranked);
}
